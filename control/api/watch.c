/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Watches of the model's objects: NDJSON in the framing of Kubernetes, fed from the model's log of
 * changes. A watch keeps which items it has told of, so that it can say ADDED, MODIFIED or DELETED
 * of each; what a slow client has not yet been told stays in the model's log, and a client that
 * falls behind the log is told 410 and ends. API thread. */

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_internal.h"

#define WATCH_BUCKETS 1024
#define ITEM_ID_MAX   160

struct told_item {
	uint64_t contents;
	bool seen;
	char *id;
};

/* One object and, of kinds with items, what was told of each. */
struct told {
	struct told *next;
	char *key;
	uint32_t n, capacity;
	struct told_item *items;
};

struct watch {
	struct api *api;
	const struct list_kind *kind;
	struct http_request *req;
	struct http_stream *stream;
	struct watch *next, **prev;
	struct told *told[WATCH_BUCKETS];
	bool initial; /* still walking what is there */
	bool silent;  /* the walk only fills told */
	bool stale;
	char after[512];
	bool has_after;
	uint64_t since; /* told of everything up to here */
	uint64_t start;
	int64_t bookmark_ms, end_ms;
	struct evbuffer *out; /* inside produce() */
};

static uint64_t hash_bytes(const char *s, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* --- what was told --------------------------------------------------------------------------- */

static struct told **told_slot(struct watch *wa, const char *key)
{
	struct told **t = &wa->told[hash_bytes(key, strlen(key)) % WATCH_BUCKETS];

	while (*t != NULL && strcmp((*t)->key, key) != 0)
		t = &(*t)->next;
	return t;
}

static struct told *told_add(struct told **slot, const char *key)
{
	struct told *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->key = strdup(key);
	if (t->key == NULL) {
		free(t);
		return NULL;
	}
	t->next = *slot;
	*slot = t;
	return t;
}

static void told_remove(struct told **slot)
{
	struct told *t = *slot;

	*slot = t->next;
	for (uint32_t i = 0; i < t->n; i++)
		free(t->items[i].id);
	free(t->items);
	free(t->key);
	free(t);
}

/* NULL when it is not there; *out of memory* is treated like "not told yet". */
static struct told_item *told_item(struct told *t, const char *id, bool add)
{
	struct told_item *items;

	for (uint32_t i = 0; i < t->n; i++)
		if (strcmp(t->items[i].id, id) == 0)
			return &t->items[i];
	if (!add)
		return NULL;
	if (t->n == t->capacity) {
		uint32_t capacity = t->capacity == 0 ? 4 : 2 * t->capacity;

		items = realloc(t->items, capacity * sizeof(*items));
		if (items == NULL)
			return NULL;
		t->items = items;
		t->capacity = capacity;
	}
	items = &t->items[t->n];
	memset(items, 0, sizeof(*items));
	items->id = strdup(id);
	if (items->id == NULL)
		return NULL;
	t->n++;
	return items;
}

/* --- events ---------------------------------------------------------------------------------- */

static void event_begin(struct watch *wa, struct jw *w, const char *type)
{
	jw_init(w, wa->out);
	jw_object(w, NULL);
	jw_string(w, "type", type);
}

static void event_end(struct watch *wa, struct jw *w)
{
	jw_object_end(w);
	jw_finish(w);
	evbuffer_add(wa->out, "\n", 1);
}

static void event_bookmark(struct watch *wa)
{
	struct jw w;

	event_begin(wa, &w, "BOOKMARK");
	jw_object(&w, "object");
	jw_string(&w, "kind", wa->kind->name);
	jw_string(&w, "apiVersion", API_VERSION);
	jw_object(&w, "metadata");
	jw_counter(&w, "resourceVersion", wa->since);
	jw_object_end(&w);
	jw_object_end(&w);
	event_end(wa, &w);
}

static void event_expired(struct watch *wa)
{
	struct jw w;

	event_begin(wa, &w, "ERROR");
	jw_object(&w, "object");
	jw_string(&w, "type", "about:blank");
	jw_string(&w, "title", "Gone");
	jw_int(&w, "status", 410);
	jw_string(&w, "reason", "Expired");
	jw_string(&w, "detail", "too many changes since that resourceVersion: list again");
	jw_string(&w, "requestId", wa->req->id);
	jw_object_end(&w);
	event_end(wa, &w);
}

/* A value of the kind's own writers inside an event. */
static void event_item(struct watch *wa, const char *type, const char *key, const void *object,
	const struct model_status *status, uint64_t rv, uint32_t i)
{
	struct evbuffer *value = evbuffer_new();
	struct jw w;

	if (value == NULL)
		return;
	jw_init(&w, value);
	if (wa->kind->items != NULL)
		wa->kind->item(wa->api, &w, key, object, i);
	else
		wa->kind->render(wa->api, &w, key, object, status, rv);
	if (jw_finish(&w) == 0) {
		evbuffer_add_printf(wa->out, "{\"type\":\"%s\",\"object\":", type);
		evbuffer_add_buffer(wa->out, value);
		evbuffer_add(wa->out, "}\n", 2);
	}
	evbuffer_free(value);
}

static void event_gone(struct watch *wa, const char *key, const char *id, uint64_t rv)
{
	struct jw w;

	event_begin(wa, &w, "DELETED");
	jw_object(&w, "object");
	jw_string(&w, "kind", wa->kind->name);
	if (id != NULL) {
		wa->kind->item_gone(&w, key, id);
	} else {
		const char *slash = strchr(key, '/');

		jw_object(&w, "metadata");
		if (wa->kind->model == MODEL_SERVICE && slash != NULL) {
			jw_stringf(&w, "namespace", "%.*s", (int)(slash - key), key);
			jw_string(&w, "name", slash + 1);
		} else {
			jw_string(&w, "name", key);
		}
		jw_counter(&w, "resourceVersion", rv);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	event_end(wa, &w);
}

/* --- one object's changes -------------------------------------------------------------------- */

static bool matches(const struct watch *wa, const char *key, const void *object, uint32_t i)
{
	return wa->kind->matches == NULL || wa->kind->matches(&wa->req->query, key, object, i);
}

static uint64_t item_contents(struct watch *wa, const char *key, const void *object, uint32_t i)
{
	struct evbuffer *value = evbuffer_new();
	uint64_t h = 0;
	struct jw w;

	if (value == NULL)
		return 0;
	jw_init(&w, value);
	wa->kind->item(wa->api, &w, key, object, i);
	jw_finish(&w);
	h = hash_bytes((const char *)evbuffer_pullup(value, -1), evbuffer_get_length(value));
	evbuffer_free(value);
	return h;
}

static void tell_items(
	struct watch *wa, struct told *t, const char *key, const void *object, uint64_t rv)
{
	uint32_t n = object != NULL ? wa->kind->items(object) : 0;
	char id[ITEM_ID_MAX];

	for (uint32_t i = 0; i < t->n; i++)
		t->items[i].seen = false;
	for (uint32_t i = 0; i < n; i++) {
		struct told_item *item;
		uint64_t contents;
		bool known;

		if (!matches(wa, key, object, i))
			continue;
		wa->kind->item_id(object, i, id, sizeof(id));
		contents = item_contents(wa, key, object, i);
		known = told_item(t, id, false) != NULL;
		item = told_item(t, id, true);
		if (item == NULL)
			continue;
		if (!wa->silent && (!known || item->contents != contents))
			event_item(wa, known ? "MODIFIED" : "ADDED", key, object, NULL, rv, i);
		item->contents = contents;
		item->seen = true;
	}
	for (uint32_t i = 0; i < t->n;) {
		if (t->items[i].seen) {
			i++;
			continue;
		}
		event_gone(wa, key, t->items[i].id, rv);
		free(t->items[i].id);
		t->items[i] = t->items[--t->n];
	}
}

static void tell(struct watch *wa, const char *key, const void *object,
	const struct model_status *status, uint64_t rv)
{
	struct told **slot = told_slot(wa, key);
	bool known = *slot != NULL;

	if (object != NULL && wa->kind->items == NULL && !matches(wa, key, object, 0))
		object = NULL;
	if (!known && object != NULL && told_add(slot, key) == NULL)
		return;
	if (*slot == NULL)
		return;
	if (wa->kind->items != NULL)
		tell_items(wa, *slot, key, object, rv);
	else if (object == NULL)
		event_gone(wa, key, NULL, rv);
	else if (!wa->silent)
		event_item(wa, known ? "MODIFIED" : "ADDED", key, object, status, rv, 0);
	if (object == NULL)
		told_remove(slot);
}

static bool tell_existing(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	struct watch *wa = arg;

	/* Newer than where the client stands: the log of changes will tell. */
	if (!wa->silent || status->version <= wa->start)
		tell(wa, key, object, status, status->resource_version);
	snprintf(wa->after, sizeof(wa->after), "%s", key);
	wa->has_after = true;
	return evbuffer_get_length(wa->out) < HTTP_CHUNK;
}

static void tell_change(
	void *arg, uint64_t version, enum model_kind kind, const char *key, bool deleted)
{
	struct watch *wa = arg;
	struct model_status status;
	const void *object;

	wa->since = version;
	if (kind != wa->kind->model)
		return;
	object = model_find(wa->api->deps.model, kind, key, &status);
	tell(wa, key, object, &status, version);
}

/* --- the stream ------------------------------------------------------------------------------ */

static enum http_step watch_produce(void *arg, struct evbuffer *out, int64_t deadline_us)
{
	struct watch *wa = arg;
	struct model *m = wa->api->deps.model;
	int64_t now = api_now_ms();
	int n = 0;

	if (wa->stale || (wa->end_ms != 0 && now >= wa->end_ms))
		return HTTP_END;
	wa->out = out;
	model_read_lock(m);
	if (wa->initial) {
		n = (int)model_each(m, wa->kind->model, wa->has_after ? wa->after : NULL,
			API_LOCK_BATCH, tell_existing, wa);
		if (n == 0) {
			wa->initial = false;
			wa->silent = false;
			n = 1;
		}
	} else {
		n = model_changes_each(m, wa->since, API_LOCK_BATCH, tell_change, wa);
	}
	model_read_unlock(m);
	if (n < 0) {
		event_expired(wa);
		wa->stale = true;
		return HTTP_END;
	}
	if (n > 0)
		return HTTP_MORE;
	if (now >= wa->bookmark_ms) {
		event_bookmark(wa);
		wa->bookmark_ms = now + API_BOOKMARK_MS;
	}
	return HTTP_WAIT;
}

static void watch_done(void *arg)
{
	struct watch *wa = arg;

	*wa->prev = wa->next;
	if (wa->next != NULL)
		wa->next->prev = wa->prev;
	for (uint32_t i = 0; i < WATCH_BUCKETS; i++)
		while (wa->told[i] != NULL)
			told_remove(&wa->told[i]);
	free(wa);
}

void api_watch(struct http_request *req, const struct list_kind *kind)
{
	static const struct http_stream_ops ops = {watch_produce, watch_done};
	struct api *a = api_of(req);
	const char *rv = query_get(&req->query, "resourceVersion");
	uint64_t since = 0, seconds = 0, newest;
	struct query_error err;
	struct watch *wa;
	bool initial;

	if (query_uint(&req->query, "resourceVersion", 0, UINT64_MAX, 0, &since, &err) < 0 ||
		query_uint(&req->query, "timeoutSeconds", 1, 86400, 0, &seconds, &err) < 0 ||
		query_bool(&req->query, "sendInitialEvents", since == 0, &initial, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	model_read_lock(a->deps.model);
	newest = model_version(a->deps.model);
	model_read_unlock(a->deps.model);
	if (since > newest) {
		http_problem(req, 410, "Expired",
			"resourceVersion %s is of an earlier life of this daemon: list again", rv);
		return;
	}
	if (kind->items != NULL && !initial) {
		http_problem(req, 410, "Expired",
			"these items are watched from their initial events on: ask for them");
		return;
	}
	wa = calloc(1, sizeof(*wa));
	if (wa == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	wa->api = a;
	wa->kind = kind;
	wa->req = req;
	wa->initial = true;
	wa->silent = !initial;
	/* With the initial events the walk begins now; changes during it are told twice, at most.
	 */
	wa->start = since != 0 && !initial ? since : newest;
	wa->since = wa->start;
	wa->bookmark_ms = api_now_ms(); /* one at once: it tells that the initial events are done */
	if (seconds != 0)
		wa->end_ms = api_now_ms() + (int64_t)seconds * 1000;
	wa->next = a->watches;
	wa->prev = &a->watches;
	if (wa->next != NULL)
		wa->next->prev = &wa->next;
	a->watches = wa;
	/* On failure done() has freed wa. */
	struct http_stream *stream =
		http_stream_begin(req, "application/x-ndjson", HTTP_WATCH, &ops, wa);
	if (stream != NULL)
		wa->stream = stream;
}

void api_watches_tick(struct api *a)
{
	uint64_t version;

	if (a->watches == NULL)
		return;
	model_read_lock(a->deps.model);
	version = model_version(a->deps.model);
	model_read_unlock(a->deps.model);
	for (struct watch *wa = a->watches; wa != NULL; wa = wa->next) {
		int64_t now = api_now_ms();

		if (wa->stream != NULL &&
			(version != wa->since || now >= wa->bookmark_ms ||
				(wa->end_ms != 0 && now >= wa->end_ms)))
			http_stream_wake(wa->stream);
	}
}
