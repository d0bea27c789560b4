/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Lists of the model's objects, and what documents have in common. A list is read in slices: the
 * model's lock is held for API_LOCK_BATCH objects at a time, and the cursor is a key, which stays
 * valid while objects come and go. API thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/api/api_internal.h"
#include "control/api/cursor.h"

int64_t api_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- documents ------------------------------------------------------------------------------- */

bool doc_begin(struct doc *d, struct http_request *req)
{
	d->req = req;
	d->out = evbuffer_new();
	if (d->out == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return false;
	}
	jw_init(&d->w, d->out);
	jw_object(&d->w, NULL);
	return true;
}

void doc_send(struct doc *d, int status)
{
	jw_object_end(&d->w);
	if (jw_finish(&d->w) < 0) {
		http_problem(d->req, 503, "ResourceExhausted", "out of memory");
	} else {
		evbuffer_add(d->out, "\n", 1);
		http_reply(d->req, status, "application/json", d->out);
	}
	evbuffer_free(d->out);
}

bool doc_list_begin(struct doc *d, struct http_request *req, const char *kind)
{
	if (!doc_begin(d, req))
		return false;
	jw_string(&d->w, "kind", kind);
	jw_string(&d->w, "apiVersion", API_VERSION);
	jw_array(&d->w, "items");
	return true;
}

void doc_list_send(struct doc *d)
{
	jw_array_end(&d->w);
	jw_object(&d->w, "metadata");
	jw_object_end(&d->w);
	doc_send(d, 200);
}

bool api_check_query(struct http_request *req, const char *const *names)
{
	const char *unknown = query_unknown(&req->query, names);

	if (unknown == NULL)
		return true;
	http_problem(req, 400, "BadRequest", "parameter \"%.64s\" is not known here", unknown);
	return false;
}

void api_write_metadata(struct jw *w, const char *ns, const char *name, enum model_owner owner,
	uint64_t rv, int64_t created_s)
{
	jw_object(w, "metadata");
	if (ns != NULL)
		jw_string(w, "namespace", ns);
	jw_string(w, "name", name);
	jw_counter(w, "resourceVersion", rv);
	jw_string(w, "managedBy", model_owner_names[owner]);
	if (created_s > 0)
		jw_time_ms(w, "creationTimestamp", created_s * 1000);
	jw_object_end(w);
}

void api_write_conditions(struct jw *w, const struct model_status *status)
{
	static const char *const truth[] = {
		[MODEL_PENDING] = "Unknown",
		[MODEL_APPLIED] = "True",
		[MODEL_ERROR] = "False",
	};

	jw_array(w, "conditions");
	jw_object(w, NULL);
	jw_string(w, "type", "Programmed");
	jw_string(w, "status", truth[status->state]);
	jw_string(w, "reason", model_state_names[status->state]);
	jw_string(w, "message", status->error != NULL ? status->error : "");
	jw_counter(w, "desiredVersion", status->version);
	jw_counter(w, "appliedVersion", status->applied_version);
	jw_object_end(w);
	jw_array_end(w);
}

/* --- lists ----------------------------------------------------------------------------------- */

/* Namespace and name of Kubernetes are at most 63 and 253 characters. */
#define KEY_MAX 512

struct list {
	struct api *api;
	const struct list_kind *kind;
	struct http_request *req; /* its query; ends after done() */
	struct jw *w;             /* inside produce() */
	uint64_t rv;
	uint64_t limit, shown;
	bool head_written, full;
	char after[KEY_MAX]; /* the last object that is wholly shown */
	bool has_after;
	char within[KEY_MAX]; /* an object of which item items were shown */
	uint32_t item;
	struct evbuffer *out;
};

struct list_cursor {
	char tag[4]; /* "L1" and the kind's first letters, so that cursors are not mixed up */
	uint32_t item;
	uint64_t rv;
	char key[KEY_MAX]; /* the tail that is not used is not encoded */
};

#define LIST_CURSOR_HEAD offsetof(struct list_cursor, key)

static void cursor_tag(const struct list_kind *kind, char tag[4])
{
	tag[0] = 'L';
	tag[1] = kind->name[0];
	tag[2] = kind->name[1];
	tag[3] = '1';
}

static void show_items(struct list *l, const char *key, const void *object)
{
	uint32_t n = l->kind->items(object);

	if (strcmp(l->within, key) != 0) {
		snprintf(l->within, sizeof(l->within), "%s", key);
		l->item = 0;
	}
	/* One chunk holds a few thousand items; the rest of a huge object is for the next turn. */
	while (l->item < n && !l->full && evbuffer_get_length(l->out) < HTTP_CHUNK / 2) {
		uint32_t i = l->item++;

		if (l->kind->matches != NULL && !l->kind->matches(&l->req->query, key, object, i))
			continue;
		l->kind->item(l->api, l->w, key, object, i);
		l->shown++;
		l->full = l->limit != 0 && l->shown >= l->limit;
	}
	if (l->item >= n)
		l->within[0] = '\0';
}

static bool show_object(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	struct list *l = arg;

	if (l->kind->items != NULL) {
		show_items(l, key, object);
		if (l->within[0] != '\0')
			return false;
	} else if (l->kind->matches == NULL || l->kind->matches(&l->req->query, key, object, 0)) {
		l->kind->render(l->api, l->w, key, object, status, status->resource_version);
		l->shown++;
		l->full = l->limit != 0 && l->shown >= l->limit;
	}
	snprintf(l->after, sizeof(l->after), "%s", key);
	l->has_after = true;
	return !l->full && evbuffer_get_length(l->out) < HTTP_CHUNK;
}

/* The metadata comes last: only then is it known whether there is more. */
static void write_tail(struct list *l, bool more)
{
	struct list_cursor c;
	char text[sizeof(c) * 4 / 3 + 4];
	size_t len;

	jw_array_end(l->w);
	jw_object(l->w, "metadata");
	jw_counter(l->w, "resourceVersion", l->rv);
	if (more) {
		memset(&c, 0, sizeof(c));
		cursor_tag(l->kind, c.tag);
		c.rv = l->rv;
		c.item = l->within[0] != '\0' ? l->item : 0;
		len = strlen(l->after);
		memcpy(c.key, l->after, len);
		cursor_encode(&c, LIST_CURSOR_HEAD + len, text);
		jw_string(l->w, "continue", text);
	}
	jw_object_end(l->w);
	jw_object_end(l->w);
}

static bool nothing_behind(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	*(bool *)arg = false;
	return false;
}

/* Under the lock. */
static bool list_at_end(struct list *l)
{
	bool end = true;

	if (l->within[0] != '\0')
		return false;
	model_each(l->api->deps.model, l->kind->model, l->has_after ? l->after : NULL, 1,
		nothing_behind, &end);
	return end;
}

/* The writer lives across chunks in w of the caller; its state is small enough to keep. */
struct list_stream {
	struct list list;
	struct jw w;
};

static enum http_step list_produce(void *arg, struct evbuffer *out, int64_t deadline_us)
{
	struct list_stream *ls = arg;
	struct list *l = &ls->list;
	struct model *m = l->api->deps.model;
	bool end;

	ls->w.out = out;
	l->out = out;
	l->w = &ls->w;
	if (!l->head_written) {
		jw_object(l->w, NULL);
		jw_stringf(l->w, "kind", "%sList", l->kind->name);
		jw_string(l->w, "apiVersion", API_VERSION);
		jw_array(l->w, "items");
		l->head_written = true;
	}
	model_read_lock(m);
	if (l->rv == 0)
		l->rv = model_version(m);
	model_each(
		m, l->kind->model, l->has_after ? l->after : NULL, API_LOCK_BATCH, show_object, l);
	end = l->full || list_at_end(l);
	if (end)
		write_tail(l, l->full && !list_at_end(l));
	model_read_unlock(m);
	jw_flush(l->w);
	if (!end)
		return HTTP_MORE;
	evbuffer_add(out, "\n", 1);
	return HTTP_END;
}

static void list_done(void *arg)
{
	free(arg);
}

static int take_cursor(struct list *l, const char *text, struct query_error *err)
{
	struct list_cursor c;
	char tag[4];
	int n;

	memset(&c, 0, sizeof(c));
	cursor_tag(l->kind, tag);
	n = cursor_decode(text, &c, sizeof(c) - 1);
	if (n < (int)LIST_CURSOR_HEAD || memcmp(c.tag, tag, sizeof(tag)) != 0 ||
		memchr(c.key, '\0', sizeof(c.key)) != c.key + (n - (int)LIST_CURSOR_HEAD)) {
		query_error_set(err, "parameter continue is not a cursor of this list");
		return -EINVAL;
	}
	strcpy(l->after, c.key);
	l->has_after = l->after[0] != '\0';
	l->rv = c.rv;
	l->item = c.item;
	return 0;
}

static const char *const list_parameters[] = {"limit", "continue", "watch", "resourceVersion",
	"sendInitialEvents", "timeoutSeconds", NULL};

static bool check_list_query(struct http_request *req, const struct list_kind *kind)
{
	for (uint32_t i = 0; i < req->query.n; i++) {
		const char *const *sets[] = {list_parameters, kind->filters};
		bool known = false;

		for (size_t s = 0; s < 2; s++)
			for (const char *const *n = sets[s]; n != NULL && *n != NULL; n++)
				known = known || strcmp(*n, req->query.at[i].name) == 0;
		if (!known) {
			http_problem(req, 400, "BadRequest",
				"parameter \"%.64s\" is not known here", req->query.at[i].name);
			return false;
		}
	}
	return true;
}

/* An object with many items may be cut in its middle: the cursor then names the object before it
 * and the number of items shown. */
static bool find_within(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	struct list *l = arg;

	snprintf(l->within, sizeof(l->within), "%s", key);
	return false;
}

void api_list(struct http_request *req, const struct list_kind *kind)
{
	static const struct http_stream_ops ops = {list_produce, list_done};
	const char *cursor = query_get(&req->query, "continue");
	struct query_error err;
	struct list_stream *ls;
	bool watch;

	if (!check_list_query(req, kind))
		return;
	if (query_bool(&req->query, "watch", false, &watch, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	if (watch) {
		api_watch(req, kind);
		return;
	}
	ls = calloc(1, sizeof(*ls));
	if (ls == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	ls->list.api = api_of(req);
	ls->list.kind = kind;
	ls->list.req = req;
	if (query_uint(&req->query, "limit", 1, 100000, 0, &ls->list.limit, &err) < 0 ||
		(cursor != NULL && cursor[0] != '\0' && take_cursor(&ls->list, cursor, &err) < 0)) {
		free(ls);
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	if (ls->list.item > 0) {
		model_read_lock(ls->list.api->deps.model);
		model_each(ls->list.api->deps.model, kind->model,
			ls->list.has_after ? ls->list.after : NULL, 1, find_within, &ls->list);
		model_read_unlock(ls->list.api->deps.model);
	}
	jw_init(&ls->w, NULL);
	http_stream_begin(req, "application/json", HTTP_LIST, &ops, ls);
}

void api_get_one(struct http_request *req, const struct list_kind *kind, const char *key)
{
	static const char *const none[] = {NULL};
	struct api *a = api_of(req);
	struct model_status status;
	const void *object;
	struct evbuffer *out;
	struct jw w;

	if (!api_check_query(req, none))
		return;
	out = evbuffer_new();
	if (out == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	jw_init(&w, out);
	model_read_lock(a->deps.model);
	object = model_find(a->deps.model, kind->model, key, &status);
	if (object != NULL)
		kind->render(a, &w, key, object, &status, status.resource_version);
	model_read_unlock(a->deps.model);
	if (object == NULL) {
		http_problem(req, 404, "NotFound", "no %s of that name", kind->name);
	} else if (jw_finish(&w) < 0) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
	} else {
		evbuffer_add(out, "\n", 1);
		http_reply(req, 200, "application/json", out);
	}
	evbuffer_free(out);
}
