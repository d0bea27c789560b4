/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The scanner of framing.h. One byte at a time outside strings, eight and more inside them; what is
 * kept is copied in runs at the borders. It checks only what framing needs: the JSON parser
 * judges the object. Runs on the control thread and in the fuzzer; no I/O. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/framing.h"
#include "k8s-sync/plain_run.h"

#define KEY_MAX       96
#define TRACKED_DEPTH 64

struct buffer {
	char *data;
	size_t len, capacity;
};

struct framer {
	struct framer_config config;
	uint64_t skip_lengths; /* bit n: a member to be skipped has a name of n bytes */
	uint32_t depth;
	uint64_t objects; /* bit d: the container at depth d is an object */
	bool in_string, escape;
	bool expect_key; /* the next string of this object is a member name */
	bool string_is_key;
	bool started;  /* a byte of the document was seen */
	bool finished; /* list: the document is closed */
	bool in_items;
	bool in_object;   /* inside the object to hand over */
	bool in_target;   /* watch: inside the event's "object" */
	bool in_metadata; /* inside the object's metadata */
	bool over;        /* the object outgrew max_object */
	bool skipping;
	uint32_t skip_depth;
	char key[KEY_MAX];
	uint32_t key_len; /* KEY_MAX: too long to be one we know */
	char *capture;    /* where the current string value goes, or NULL */
	uint32_t capture_len, capture_max;
	struct buffer text, shell;
	struct frame frame;
};

int framer_new(const struct framer_config *config, struct framer **out)
{
	struct framer *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -ENOMEM;
	f->config = *config;
	for (const char *const *name = config->skip; name != NULL && *name != NULL; name++)
		f->skip_lengths |= UINT64_C(1) << (strlen(*name) & 63);
	*out = f;
	return 0;
}

void framer_free(struct framer *f)
{
	if (f == NULL)
		return;
	free(f->text.data);
	free(f->shell.data);
	free(f);
}

static void begin_frame(struct framer *f)
{
	f->frame.text = NULL;
	f->frame.len = 0;
	f->frame.size = 0;
	f->frame.type[0] = f->frame.ns[0] = f->frame.name[0] = f->frame.rv[0] = '\0';
	f->text.len = 0;
	f->over = false;
}

void framer_reset(struct framer *f)
{
	struct framer clean = {.config = f->config,
		.skip_lengths = f->skip_lengths,
		.text = f->text,
		.shell = f->shell};

	clean.text.len = 0;
	clean.shell.len = 0;
	*f = clean;
}

static int append(struct buffer *b, const char *data, size_t len, size_t max)
{
	if (len > max || b->len > max - len)
		return -EMSGSIZE;
	/* One byte more than the text: it is handed over with a terminator. */
	if (b->len + len + 1 > b->capacity) {
		size_t capacity = b->capacity != 0 ? b->capacity : 1024;
		char *grown;

		while (capacity < b->len + len + 1)
			capacity *= 2;
		grown = realloc(b->data, capacity);
		if (grown == NULL)
			return -ENOMEM;
		b->data = grown;
		b->capacity = capacity;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

/* Stores a run of the current document where it belongs. */
static int store(struct framer *f, const char *data, size_t len)
{
	int rc;

	if (f->skipping || len == 0)
		return 0;
	if (f->in_object) {
		if (f->over)
			return 0;
		rc = append(&f->text, data, len, f->config.max_object);
		if (rc == -EMSGSIZE) {
			f->over = true;
			/* Do not keep megabytes for one bad object. */
			free(f->text.data);
			f->text = (struct buffer){0};
			return 0;
		}
		return rc;
	}
	if (f->config.mode == FRAMER_LIST && !f->in_items)
		return append(&f->shell, data, len, f->config.max_shell);
	return 0;
}

static bool is_object_at(const struct framer *f, uint32_t depth)
{
	return depth > 0 && depth < TRACKED_DEPTH && (f->objects >> depth & 1) != 0;
}

static bool key_is(const struct framer *f, const char *name)
{
	size_t len = strlen(name);

	return f->key_len == len && memcmp(f->key, name, len) == 0;
}

static uint32_t object_depth(const struct framer *f)
{
	return f->config.mode == FRAMER_LIST ? 3 : 2;
}

static void begin_capture(struct framer *f, char *to, uint32_t max)
{
	f->capture = to;
	f->capture_len = 0;
	f->capture_max = max;
	to[0] = '\0';
}

/* A string opens: is it a member name, or a value worth keeping? */
static void begin_string(struct framer *f)
{
	f->in_string = true;
	f->capture = NULL;
	f->string_is_key = f->expect_key;
	if (f->expect_key) {
		f->key_len = 0;
		f->expect_key = false;
		return;
	}
	if (!f->in_object || f->skipping)
		return;
	if (f->config.mode == FRAMER_WATCH && f->depth == 1 && key_is(f, "type"))
		begin_capture(f, f->frame.type, sizeof(f->frame.type));
	else if (!f->in_metadata || f->depth != object_depth(f) + 1)
		return;
	else if (key_is(f, "name"))
		begin_capture(f, f->frame.name, sizeof(f->frame.name));
	else if (key_is(f, "namespace"))
		begin_capture(f, f->frame.ns, sizeof(f->frame.ns));
	else if (key_is(f, "resourceVersion"))
		begin_capture(f, f->frame.rv, sizeof(f->frame.rv));
}

static void string_bytes(struct framer *f, const char *data, size_t len)
{
	if (f->string_is_key) {
		if (f->key_len + len >= KEY_MAX) {
			f->key_len = KEY_MAX;
			return;
		}
		memcpy(f->key + f->key_len, data, len);
		f->key_len += (uint32_t)len;
	} else if (f->capture != NULL) {
		if (f->capture_len + len >= f->capture_max) {
			f->capture[0] = '\0';
			f->capture = NULL;
			return;
		}
		memcpy(f->capture + f->capture_len, data, len);
		f->capture_len += (uint32_t)len;
		f->capture[f->capture_len] = '\0';
	}
}

static bool skip_key(const struct framer *f)
{
	const char *const *name = f->config.skip;

	if (!f->in_object || f->key_len == KEY_MAX ||
		(f->skip_lengths >> (f->key_len & 63) & 1) == 0)
		return false;
	for (; *name != NULL; name++) {
		if (key_is(f, *name))
			return true;
	}
	return false;
}

static void open_container(struct framer *f, bool object)
{
	if (f->config.mode == FRAMER_WATCH && f->depth == 0) {
		begin_frame(f);
		f->in_object = true;
	} else if (f->config.mode == FRAMER_LIST && f->depth == 2 && f->in_items && object) {
		begin_frame(f);
		f->in_object = true;
	}
	if (f->in_object && object && !f->skipping) {
		if (f->config.mode == FRAMER_WATCH && f->depth == 1)
			f->in_target = key_is(f, "object");
		else if (f->depth == object_depth(f) && key_is(f, "metadata"))
			f->in_metadata = f->in_target || f->config.mode == FRAMER_LIST;
	}
	f->depth++;
	if (f->depth < TRACKED_DEPTH) {
		if (object)
			f->objects |= UINT64_C(1) << f->depth;
		else
			f->objects &= ~(UINT64_C(1) << f->depth);
	}
	f->expect_key = object;
	f->key_len = 0;
}

/* 1 when the byte closes the object to hand over. */
static int close_container(struct framer *f, bool object)
{
	if (f->depth == 0)
		return -EPROTO;
	if (f->depth < TRACKED_DEPTH && is_object_at(f, f->depth) != object)
		return -EPROTO;
	f->depth--;
	f->expect_key = false;
	if (f->depth <= object_depth(f))
		f->in_metadata = false;
	if (f->depth <= 1)
		f->in_target = false;
	if (f->in_object && f->depth == object_depth(f) - (f->config.mode == FRAMER_LIST ? 1 : 2))
		return 1;
	if (f->config.mode == FRAMER_LIST && f->depth == 0)
		f->finished = true;
	return 0;
}

static int emit(struct framer *f)
{
	f->in_object = false;
	f->in_metadata = false;
	if (!f->over) {
		f->frame.text = f->text.data;
		f->frame.len = f->text.len;
	}
	return f->config.fn(f->config.arg, &f->frame);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The state while a piece is read: bytes from run on are not stored yet. */
struct piece {
	const char *run, *p, *end;
};

static int flush(struct framer *f, struct piece *piece, const char *upto)
{
	int rc = store(f, piece->run, (size_t)(upto - piece->run));

	piece->run = upto;
	return rc;
}

static void scan_string(struct framer *f, struct piece *piece)
{
	const char *start = piece->p;

	while (piece->p < piece->end) {
		char c;

		if (!f->escape) {
			piece->p += plain_run(piece->p, piece->end);
			if (piece->p == piece->end)
				break;
		}
		c = *piece->p;
		if (f->escape) {
			f->escape = false;
		} else if (c == '\\') {
			f->escape = true;
		} else if (c == '"') {
			string_bytes(f, start, (size_t)(piece->p - start));
			f->in_string = false;
			f->capture = NULL;
			piece->p++;
			return;
		}
		piece->p++;
	}
	string_bytes(f, start, (size_t)(piece->p - start));
}

/* ':' behind a member name. */
static int scan_colon(struct framer *f, struct piece *piece)
{
	int rc;

	if (f->skipping || !skip_key(f))
		return 0;
	rc = flush(f, piece, piece->p);
	if (rc == 0)
		rc = store(f, "null", 4);
	f->skipping = true;
	f->skip_depth = f->depth;
	return rc;
}

static int scan_open(struct framer *f, struct piece *piece, bool object)
{
	bool was_outside = !f->in_object;
	int rc = 0;

	if (f->config.mode == FRAMER_LIST && f->depth == 1 && !object && key_is(f, "items")) {
		rc = flush(f, piece, piece->p - 1);
		if (rc == 0)
			rc = store(f, "null", 4);
		f->in_items = true;
	}
	open_container(f, object);
	if (was_outside && f->in_object)
		piece->run = piece->p - 1;
	return rc;
}

static int scan_close(struct framer *f, struct piece *piece, bool object)
{
	int rc, emitted;

	if (f->skipping && f->depth == f->skip_depth) {
		f->skipping = false;
		piece->run = piece->p - 1;
	}
	rc = close_container(f, object);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		rc = flush(f, piece, piece->p);
		if (rc == 0) {
			emitted = emit(f);
			piece->run = piece->p;
			return emitted;
		}
		return rc;
	}
	if (f->in_items && f->depth == 1) {
		f->in_items = false;
		piece->run = piece->p;
	}
	return 0;
}

/* One structural byte; piece->p already points behind it. */
static int scan_byte(struct framer *f, struct piece *piece, char c)
{
	switch (c) {
	case '"':
		begin_string(f);
		return 0;
	case '{':
		return scan_open(f, piece, true);
	case '[':
		return scan_open(f, piece, false);
	case '}':
		return scan_close(f, piece, true);
	case ']':
		return scan_close(f, piece, false);
	case ',':
		if (f->skipping && f->depth == f->skip_depth) {
			f->skipping = false;
			piece->run = piece->p - 1;
		}
		f->expect_key = is_object_at(f, f->depth);
		f->key_len = 0;
		return 0;
	case ':':
		return scan_colon(f, piece);
	default:
		return 0;
	}
}

int framer_feed(struct framer *f, const char *data, size_t len, size_t *used)
{
	struct piece piece = {.run = data, .p = data, .end = data + len};
	int rc = 0, stored;

	while (piece.p < piece.end && rc == 0) {
		const char *before = piece.p;

		if (f->in_string) {
			scan_string(f, &piece);
		} else {
			char c = *piece.p;

			/* Between documents only white space is allowed, and a brace. */
			if (f->depth == 0 && !is_space(c)) {
				if (c != '{' || f->finished) {
					rc = -EPROTO;
					break;
				}
				f->started = true;
			}
			piece.p++;
			rc = scan_byte(f, &piece, c);
		}
		if (f->in_object) {
			f->frame.size += (size_t)(piece.p - before);
			if (f->frame.size > f->config.max_skip)
				rc = -EMSGSIZE;
		}
	}
	/* Also behind a fault: what stands before it may be too much, and then that came first. */
	stored = flush(f, &piece, piece.p);
	*used = (size_t)(piece.p - data);
	if (stored < 0)
		return stored;
	return rc < 0 ? rc : 0;
}

bool framer_at_end(const struct framer *f)
{
	return f->config.mode == FRAMER_LIST ? f->finished : f->depth == 0;
}

const char *framer_shell(const struct framer *f, size_t *len)
{
	*len = f->shell.len;
	return f->shell.data;
}
