/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The JSON reader of json.h: one pass, an explicit stack, strings unescaped in place (they never
 * grow by it). The text has been cut out by the framing scanner and is still hostile: every byte
 * is judged here. Any thread; no I/O. */

#include <errno.h>
#include <stdlib.h>

#include "k8s-sync/json.h"
#include "k8s-sync/plain_run.h"

struct parser {
	struct jv_doc *doc;
	char *p, *end;
	const char *error;
	uint32_t stack[JV_DEPTH_MAX]; /* open containers */
	uint32_t depth;
};

static bool fail(struct parser *ps, const char *error)
{
	if (ps->error == NULL)
		ps->error = error;
	return false;
}

static void skip_space(struct parser *ps)
{
	while (ps->p < ps->end &&
		(*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\r' || *ps->p == '\t'))
		ps->p++;
}

static bool next_is(struct parser *ps, char c)
{
	skip_space(ps);
	if (ps->p == ps->end || *ps->p != c)
		return false;
	ps->p++;
	return true;
}

/* --- strings --------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at p, 0 when it is none (RFC 3629: shortest form, no surrogates). */
static size_t utf8_len(const unsigned char *p, const unsigned char *end)
{
	size_t n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (n == 0 || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static char *put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
	} else if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	}
	return to;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const char *p, const char *end)
{
	int32_t value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int digit = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f'   ? c - 'a' + 10
			: c >= 'A' && c <= 'F'   ? c - 'A' + 10
						 : -1;

		if (digit < 0)
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* Behind "\u"; both halves of a surrogate pair are taken. */
static bool unicode_escape(struct parser *ps, char **to)
{
	int32_t high = hex4(ps->p, ps->end), low;

	if (high < 0)
		return fail(ps, "bad \\u escape");
	ps->p += 4;
	if (high >= 0xdc00 && high <= 0xdfff)
		return fail(ps, "lone surrogate");
	if (high < 0xd800 || high > 0xdbff) {
		*to = put_utf8(*to, (uint32_t)high);
		return true;
	}
	if (ps->end - ps->p < 6 || ps->p[0] != '\\' || ps->p[1] != 'u')
		return fail(ps, "lone surrogate");
	low = hex4(ps->p + 2, ps->end);
	if (low < 0xdc00 || low > 0xdfff)
		return fail(ps, "lone surrogate");
	ps->p += 6;
	*to = put_utf8(*to, 0x10000 + (((uint32_t)high & 0x3ff) << 10) + ((uint32_t)low & 0x3ff));
	return true;
}

/* Behind the backslash. */
static bool escape(struct parser *ps, char **to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (ps->p == ps->end)
		return fail(ps, "unfinished string");
	if (*ps->p == 'u') {
		ps->p++;
		return unicode_escape(ps, to);
	}
	at = memchr(from, *ps->p, sizeof(from) - 1);
	if (at == NULL)
		return fail(ps, "bad escape");
	ps->p++;
	*(*to)++ = into[at - from];
	return true;
}

/* Behind the opening quote. The closing quote, or a byte before it, becomes the NUL. */
static bool string(struct parser *ps, const char **text, uint32_t *len)
{
	char *start = ps->p, *to;

	ps->p += plain_run(ps->p, ps->end);
	to = ps->p;
	while (ps->p < ps->end && *ps->p != '"') {
		unsigned char c = (unsigned char)*ps->p;
		size_t n = 1;

		if (c < ' ')
			return fail(ps, "control character in a string");
		if (c == '\\') {
			ps->p++;
			if (!escape(ps, &to))
				return false;
			continue;
		}
		if (c >= 0x80) {
			n = utf8_len((const unsigned char *)ps->p, (const unsigned char *)ps->end);
			if (n == 0)
				return fail(ps, "bad UTF-8");
		}
		memmove(to, ps->p, n);
		to += n;
		ps->p += n;
	}
	if (ps->p == ps->end)
		return fail(ps, "unfinished string");
	*to = '\0';
	ps->p++;
	*text = start;
	*len = (uint32_t)(to - start);
	return true;
}

/* --- numbers and words ----------------------------------------------------------------------- */

static bool digits(struct parser *ps)
{
	char *start = ps->p;

	while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9')
		ps->p++;
	return ps->p > start;
}

static bool to_integer(const char *p, const char *end, int64_t *out)
{
	bool negative = *p == '-';
	int64_t value = 0;

	for (p += negative; p < end; p++) {
		if (__builtin_mul_overflow(value, INT64_C(10), &value) ||
			__builtin_sub_overflow(value, *p - '0', &value))
			return false;
	}
	/* Counted downwards: the negative range is the larger one. */
	return negative ? (*out = value, true) : !__builtin_sub_overflow(INT64_C(0), value, out);
}

static bool number(struct parser *ps, struct jv *v)
{
	char *start = ps->p;
	bool real = false;

	if (*ps->p == '-')
		ps->p++;
	if (ps->p < ps->end && *ps->p == '0')
		ps->p++;
	else if (!digits(ps))
		return fail(ps, "bad number");
	if (ps->p < ps->end && *ps->p == '.') {
		ps->p++;
		real = true;
		if (!digits(ps))
			return fail(ps, "bad number");
	}
	if (ps->p < ps->end && (*ps->p == 'e' || *ps->p == 'E')) {
		ps->p++;
		real = true;
		if (ps->p < ps->end && (*ps->p == '+' || *ps->p == '-'))
			ps->p++;
		if (!digits(ps))
			return fail(ps, "bad number");
	}
	v->type = !real && to_integer(start, ps->p, &v->integer) ? JV_INTEGER : JV_REAL;
	return true;
}

static bool word(struct parser *ps, struct jv *v)
{
	static const struct {
		const char *text;
		enum jv_type type;
	} words[] = {{"null", JV_NULL}, {"false", JV_FALSE}, {"true", JV_TRUE}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i].text);

		if ((size_t)(ps->end - ps->p) >= len && memcmp(ps->p, words[i].text, len) == 0) {
			ps->p += len;
			v->type = words[i].type;
			return true;
		}
	}
	return fail(ps, "unexpected character");
}

/* --- structure ------------------------------------------------------------------------------- */

static struct jv *add(struct parser *ps)
{
	struct jv_doc *doc = ps->doc;

	if (doc->n == doc->capacity) {
		uint32_t capacity = doc->capacity != 0 ? doc->capacity * 2 : 64;
		struct jv *grown = reallocarray(doc->values, capacity, sizeof(*grown));

		if (grown == NULL) {
			fail(ps, "no memory");
			return NULL;
		}
		doc->values = grown;
		doc->capacity = capacity;
	}
	doc->values[doc->n] = (struct jv){.span = 1};
	return &doc->values[doc->n++];
}

/* The open container has one child more. */
static void count_child(struct parser *ps)
{
	if (ps->depth > 0)
		ps->doc->values[ps->stack[ps->depth - 1]].n++;
}

/* A value, or the opening of a container. */
static bool value(struct parser *ps, const char *key, uint32_t key_len)
{
	struct jv *v;

	skip_space(ps);
	if (ps->p == ps->end)
		return fail(ps, "unfinished");
	count_child(ps);
	v = add(ps);
	if (v == NULL)
		return false;
	v->key = key;
	v->key_len = key_len;
	switch (*ps->p) {
	case '"':
		ps->p++;
		v->type = JV_STRING;
		return string(ps, &v->text, &v->n);
	case '{':
	case '[':
		if (ps->depth == JV_DEPTH_MAX)
			return fail(ps, "nested too deep");
		v->type = *ps->p++ == '{' ? JV_OBJECT : JV_ARRAY;
		ps->stack[ps->depth++] = ps->doc->n - 1;
		return true;
	case '-':
	case '0' ... '9':
		return number(ps, v);
	default:
		return word(ps, v);
	}
}

/* The next member or element of the innermost container, or its end. */
static bool step(struct parser *ps)
{
	uint32_t at = ps->stack[ps->depth - 1];
	struct jv *container = &ps->doc->values[at];
	bool object = container->type == JV_OBJECT;
	const char *key = NULL;
	uint32_t key_len = 0;

	if (next_is(ps, object ? '}' : ']')) {
		container->span = ps->doc->n - at;
		ps->depth--;
		return true;
	}
	if (container->n > 0 && !next_is(ps, ','))
		return fail(ps, "no comma between values");
	if (object) {
		if (!next_is(ps, '"'))
			return fail(ps, "no member name");
		if (!string(ps, &key, &key_len))
			return false;
		if (!next_is(ps, ':'))
			return fail(ps, "no colon behind a member name");
	}
	return value(ps, key, key_len);
}

const struct jv *jv_parse(struct jv_doc *doc, char *text, size_t len, const char **error)
{
	struct parser ps = {.doc = doc, .p = text, .end = text + len};

	doc->n = 0;
	if (len > UINT32_MAX / 2)
		fail(&ps, "too long");
	else if (value(&ps, NULL, 0)) {
		while (ps.depth > 0 && step(&ps))
			continue;
		skip_space(&ps);
		if (ps.depth == 0 && ps.p < ps.end)
			fail(&ps, "something behind the value");
	}
	if (ps.error == NULL)
		return doc->values;
	if (error != NULL)
		*error = ps.error;
	return NULL;
}

const struct jv *jv_parse_copy(struct jv_doc *doc, const char *text, size_t len, const char **error)
{
	char *copy = realloc(doc->copy, len + 1);

	if (copy == NULL) {
		if (error != NULL)
			*error = "no memory";
		return NULL;
	}
	doc->copy = copy;
	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return jv_parse(doc, copy, len, error);
}

void jv_doc_fini(struct jv_doc *doc)
{
	free(doc->values);
	free(doc->copy);
	*doc = (struct jv_doc){0};
}

const struct jv *jv_get_len(const struct jv *object, const char *name, size_t len)
{
	const struct jv *found = NULL, *v;

	if (!jv_is(object, JV_OBJECT))
		return NULL;
	v = object + 1;
	for (uint32_t i = 0; i < object->n; i++, v += v->span) {
		if (v->key_len == len && memcmp(v->key, name, len) == 0)
			found = v;
	}
	return found;
}
