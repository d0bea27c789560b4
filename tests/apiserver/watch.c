/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * GET with watch=true. A watch is a cursor into the history of its table; pump() moves it on as
 * long as the socket takes events, so that a slow, stalled or resumed watch sees exactly what it
 * missed, or learns that the history has left it behind. Faults in mid-stream act in pump().
 */
#include "standin.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUEUE_MAX = 1 << 20, /* bytes queued on a socket before the watch waits for it */
	MIN_TIMEOUT = 1800,  /* seconds; the real server picks 1 to 2 times this, too */
};

struct watch {
	LIST_ENTRY(watch) link;
	struct standin *si;
	struct http_conn *conn;
	struct table *table;
	struct filter filter;

	struct snapshot *initial; /* objects still to be sent as ADDED */
	size_t initial_pos;
	uint64_t initial_rv;
	bool end_mark; /* a bookmark with the end annotation closes the initial events */
	uint64_t seq;  /* the next change to look at */
	uint64_t from; /* only changes above this version; matters when it lies in the future */

	bool begun; /* the head of the answer is out */
	bool bookmarks;
	bool stalled;
	bool timed_out;
	struct event *timeout, *bookmark, *last_bookmark;

	struct fault *fault; /* still to act */
	unsigned int sent;   /* events since it was armed */
	struct evbuffer *gather;
	unsigned int gather_max, gathered;
	bool gather_half;
};

struct watch_query {
	uint64_t rv;
	bool rv_set, initial_events, list_events, bookmarks;
	double timeout;
};

static void pump(struct watch *w);

static void watch_free(struct watch *w)
{
	LIST_REMOVE(w, link);
	filter_fini(&w->filter);
	snapshot_put(w->initial);
	fault_put(w->fault);
	if (w->gather)
		evbuffer_free(w->gather);
	if (w->timeout)
		event_free(w->timeout);
	if (w->bookmark)
		event_free(w->bookmark);
	if (w->last_bookmark)
		event_free(w->last_bookmark);
	free(w);
}

static void on_closed(void *arg)
{
	watch_free(arg);
}

/* the watch is over; the connection lives on in the caller's hands */
static struct http_conn *detach(struct watch *w)
{
	struct http_conn *c = w->conn;

	http_watch_conn(c, NULL, NULL, NULL);
	watch_free(w);
	return c;
}

static void begin(struct watch *w)
{
	if (w->begun)
		return;
	w->begun = true;
	http_stream_begin(w->conn, 200, "application/json");
}

static void flush_gathered(struct watch *w)
{
	if (!w->gather || !evbuffer_get_length(w->gather))
		return;
	w->gathered = 0;
	http_stream_chunk(w->conn, w->gather);
}

static void finish(struct watch *w)
{
	begin(w);
	flush_gathered(w);
	http_stream_finish(detach(w));
}

static void cut(struct watch *w)
{
	http_cut(detach(w));
}

/* ---- sending ---- */

/* with half, the border between two chunks lies in the middle of the last event */
static void gather(struct watch *w, struct evbuffer *line)
{
	size_t len = evbuffer_get_length(line);
	size_t keep = w->gather_half ? len / 2 : 0;
	struct evbuffer *head;

	if (++w->gathered < w->gather_max) {
		evbuffer_add_buffer(w->gather, line);
		return;
	}
	head = evbuffer_new();
	evbuffer_remove_buffer(line, head, len - keep);
	evbuffer_add_buffer(w->gather, head);
	evbuffer_free(head);
	flush_gathered(w);
	http_stream_chunk(w->conn, line);
}

static void send_line(struct watch *w, struct evbuffer *line)
{
	begin(w);
	if (w->gather)
		gather(w, line);
	else
		http_stream_chunk(w->conn, line);
}

static void write_event(struct evbuffer *line, const char *type, const struct object *o,
	const struct resource *res, uint64_t rv)
{
	evbuffer_add_printf(line, "{\"type\":\"%s\",\"object\":", type);
	object_write(o, res, rv, true, line);
	evbuffer_add(line, "}\n", 2);
}

static void send_text(struct watch *w, const char *text)
{
	struct evbuffer *line = evbuffer_new();
	size_t n = strlen(text);

	evbuffer_add(line, text, n);
	if (!n || text[n - 1] != '\n')
		evbuffer_add(line, "\n", 1);
	send_line(w, line);
	evbuffer_free(line);
}

/* sends an ERROR event and ends the watch in the regular way */
static void send_error(struct watch *w, int code, const char *reason, const char *message)
{
	json_t *event = json_pack(
		"{s:s, s:o}", "type", "ERROR", "object", status_object(code, reason, message));
	char *text = json_dumps(event, JSON_COMPACT);

	send_text(w, text);
	free(text);
	json_decref(event);
	finish(w);
}

static void send_bookmark(struct watch *w, uint64_t rv, bool end_mark)
{
	const struct resource *res = w->table->res;
	struct evbuffer *line = evbuffer_new();
	char version[64];

	evbuffer_add_printf(line,
		"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"%s\","
		"\"metadata\":{\"resourceVersion\":\"%llu\",\"creationTimestamp\":null%s}%s}}\n",
		res->kind, resource_api_version(res, version, sizeof(version)),
		(unsigned long long)rv,
		end_mark ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "",
		res->empty);
	w->si->bookmarks_sent++;
	send_line(w, line);
	flush_gathered(w);
	evbuffer_free(line);
}

/* false when the watch is gone */
static bool send_event(struct watch *w, const char *type, const struct object *o, uint64_t rv)
{
	struct evbuffer *line = evbuffer_new();
	bool truncate =
		w->fault && w->fault->kind == FAULT_TRUNCATE && w->sent >= w->fault->after_events;

	write_event(line, type, o, w->table->res, rv);
	w->sent++;
	w->si->events_sent++;
	if (truncate) {
		begin(w);
		http_stream_part(detach(w), line, evbuffer_get_length(line) / 2);
	} else {
		send_line(w, line);
	}
	evbuffer_free(line);
	return !truncate;
}

/* ---- faults in mid-stream ---- */

static void disarm(struct watch *w)
{
	fault_put(w->fault);
	w->fault = NULL;
}

static void start_gathering(struct watch *w, const struct fault *f)
{
	if (!w->gather)
		w->gather = evbuffer_new();
	w->gather_max = f->events;
	w->gather_half = f->half;
}

static const char *text_or(const struct fault *f, const char *fallback)
{
	return *f->text ? f->text : fallback;
}

/* faults that end or stop the watch; false when the fault is none of these */
static bool fault_ends(struct watch *w, const struct fault *f)
{
	switch (f->kind) {
	case FAULT_DROP:
		begin(w);
		cut(w);
		return true;
	case FAULT_CLOSE:
		finish(w);
		return true;
	case FAULT_GONE:
		send_error(w, 410, f->reason, "too old resource version");
		return true;
	case FAULT_ERROR_EVENT:
		send_error(w, f->code, f->reason, text_or(f, "injected fault"));
		return true;
	case FAULT_STALL:
		begin(w);
		w->stalled = true;
		return true;
	default:
		return false;
	}
}

/* faults after which the watch goes on */
static void fault_disturbs(struct watch *w, const struct fault *f)
{
	switch (f->kind) {
	case FAULT_MALFORMED:
		send_text(w,
			text_or(f,
				"{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":}}}"));
		break;
	case FAULT_UNKNOWN_EVENT:
		send_text(
			w, text_or(f, "{\"type\":\"SOMETHING\",\"object\":{\"kind\":\"Thing\"}}"));
		break;
	case FAULT_INJECT:
		send_text(w, f->text);
		break;
	case FAULT_COALESCE:
		start_gathering(w, f);
		break;
	case FAULT_SLOW:
		http_set_rate(w->conn, f->bytes_per_second);
		break;
	case FAULT_SPLIT:
		http_set_split(w->conn);
		break;
	case FAULT_NO_BOOKMARK:
		w->bookmarks = w->end_mark = false;
		break;
	default:
		break;
	}
}

/* true when pump() must stop: the watch is gone or stalled */
static bool fault_acts(struct watch *w)
{
	struct fault *f;
	bool stop;

	if (!w->fault || w->sent < w->fault->after_events || w->fault->kind == FAULT_TRUNCATE ||
		w->fault->kind == FAULT_DELAY_HEADERS)
		return false;
	f = fault_get(w->fault);
	if (f->kind != FAULT_STALL)
		disarm(w);
	stop = fault_ends(w, f);
	if (!stop)
		fault_disturbs(w, f);
	fault_put(f);
	return stop;
}

/* ---- the cursor ---- */

/* false when the watch is gone */
static bool pump_change(struct watch *w)
{
	const struct change *ch = store_change(w->table, w->seq++);
	bool now = ch->object && filter_match(&w->filter, ch->object);
	bool before = ch->former && filter_match(&w->filter, ch->former);

	if (ch->rv <= w->from)
		return true;
	if (now)
		return send_event(w, before ? "MODIFIED" : "ADDED", ch->object, ch->rv);
	/* gone, or out of the selector: the old content with the new version */
	return !before || send_event(w, "DELETED", ch->former, ch->rv);
}

/* false when the watch is gone */
static bool pump_initial(struct watch *w)
{
	while (w->initial_pos < w->initial->n) {
		const struct object *o = w->initial->items[w->initial_pos++];

		if (filter_match(&w->filter, o))
			return send_event(w, "ADDED", o, o->rv);
	}
	snapshot_put(w->initial);
	w->initial = NULL;
	if (w->end_mark)
		send_bookmark(w, w->initial_rv, true);
	w->end_mark = false;
	return true;
}

static void pump(struct watch *w)
{
	while (!w->stalled) {
		if (fault_acts(w))
			return;
		if (http_pending(w->conn) > QUEUE_MAX)
			return;
		if (w->initial) {
			if (!pump_initial(w))
				return;
		} else if (w->seq >= w->table->next_seq) {
			return;
		} else if (w->seq < w->table->first_seq) {
			send_error(w, 410, NULL, "too old resource version");
			return;
		} else if (!pump_change(w)) {
			return;
		}
	}
}

static void on_writable(void *arg)
{
	pump(arg);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	if (w->stalled)
		w->timed_out = true;
	else
		finish(w);
}

static void on_bookmark(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;

	(void)fd;
	(void)what;
	/* a bookmark promises that everything up to it was sent */
	if (w->bookmarks && w->begun && !w->stalled && !w->initial && w->seq == w->table->next_seq)
		send_bookmark(w, w->si->store.rv, false);
}

/* ---- the request ---- */

static int refuse(struct http_conn *c, int code, const char *message)
{
	reply_status(c, code, NULL, "%s", message);
	return -EINVAL;
}

static int parse_initial(struct standin *si, struct http_conn *c, const struct http_request *req,
	struct watch_query *q)
{
	const char *initial = http_query(req, "sendInitialEvents");
	const char *match = http_query(req, "resourceVersionMatch");

	if (http_query(req, "continue") && *http_query(req, "continue"))
		return refuse(c, 422, "continue is forbidden for watch");
	if (!initial || !*initial) {
		if (match && *match)
			return refuse(c, 422,
				"resourceVersionMatch is forbidden for watch unless "
				"sendInitialEvents is provided");
		return 0;
	}
	if (si->opt.no_watchlist)
		return refuse(c, 422,
			"sendInitialEvents is forbidden for watch unless the WatchList feature gate "
			"is enabled");
	if (!match || strcmp(match, "NotOlderThan"))
		return refuse(c, 422,
			"sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	q->initial_events = true;
	q->list_events = !strcmp(initial, "true") || !strcmp(initial, "1");
	return 0;
}

static int parse_query(struct standin *si, struct http_conn *c, const struct http_request *req,
	struct watch_query *q)
{
	const char *rv = http_query(req, "resourceVersion");
	const char *timeout = http_query(req, "timeoutSeconds");
	const char *bookmarks = http_query(req, "allowWatchBookmarks");

	memset(q, 0, sizeof(*q));
	if (rv && *rv) {
		if (parse_rv(rv, &q->rv))
			return refuse(c, 400, "resourceVersion is not a number");
		q->rv_set = q->rv > 0;
	}
	if (parse_initial(si, c, req, q))
		return -EINVAL;
	if (!q->initial_events)
		q->list_events = !q->rv_set;
	q->bookmarks = bookmarks && (!strcmp(bookmarks, "true") || !strcmp(bookmarks, "1"));
	q->timeout = timeout ? atof(timeout) : 0;
	if (q->timeout <= 0)
		q->timeout = MIN_TIMEOUT + rand() % MIN_TIMEOUT;
	return 0;
}

static struct event *start_timer(
	struct watch *w, double seconds, short flags, event_callback_fn callback)
{
	struct timeval tv = {.tv_sec = (time_t)seconds,
		.tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
	struct event *ev = event_new(w->si->base, -1, flags, callback, w);

	event_add(ev, &tv);
	return ev;
}

static void start_timers(struct watch *w, double timeout)
{
	double interval = w->si->opt.bookmark_interval;

	w->timeout = start_timer(w, timeout, 0, on_timeout);
	if (!w->bookmarks)
		return;
	if (interval > 0)
		w->bookmark = start_timer(w, interval, EV_PERSIST, on_bookmark);
	/* one shortly before the end, so that the next watch starts where this one ended */
	w->last_bookmark = start_timer(w, timeout > 4 ? timeout - 2 : timeout / 2, 0, on_bookmark);
}

/* where the watch starts; -ESTALE when the history does not reach back */
static int start_at(struct watch *w, const struct watch_query *q)
{
	struct store *store = &w->si->store;
	int rc;

	if (!q->list_events) {
		w->from = q->rv_set ? q->rv : store->rv;
		return store_seq_after(w->table, w->from, &w->seq);
	}
	rc = store_snapshot(store, w->table, store->rv, &w->initial);
	if (rc)
		return rc;
	w->initial_rv = store->rv;
	w->end_mark = q->initial_events && q->bookmarks;
	w->seq = w->table->next_seq;
	return 0;
}

void watch_request(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *route, struct fault *fault)
{
	struct filter filter;
	struct watch_query q;
	struct watch *w;
	int rc;

	if (parse_query(si, c, req, &q))
		return;
	if (q.initial_events && api_wait_rv(si, c, q.rv))
		return;
	if (filter_from_request(c, req, route, &filter))
		return;
	w = xcalloc(1, sizeof(*w));
	w->si = si;
	w->conn = c;
	w->table = route->table;
	w->filter = filter;
	w->bookmarks = q.bookmarks;
	w->fault = fault_get(fault);
	LIST_INSERT_HEAD(&w->table->watches, w, link);
	http_watch_conn(c, on_writable, on_closed, w);
	start_timers(w, q.timeout);
	rc = start_at(w, &q);
	if (!fault || fault->kind != FAULT_DELAY_HEADERS)
		begin(w);
	if (rc)
		send_error(w, 410, NULL, "too old resource version");
	else
		pump(w);
}

/* ---- from outside ---- */

void watch_changed(struct table *t)
{
	struct watch *w, *next;

	for (w = LIST_FIRST(&t->watches); w; w = next) {
		next = LIST_NEXT(w, link);
		pump(w);
	}
}

/* half an event, although nothing happened */
static void truncate_now(struct watch *w)
{
	const struct object *o = w->table->n ? w->table->items[0] : NULL;

	if (o)
		send_event(w, "MODIFIED", o, o->rv);
	else
		cut(w);
}

void watch_arm(struct table *t, struct fault *fault)
{
	struct watch *w, *next;

	for (w = LIST_FIRST(&t->watches); w; w = next) {
		next = LIST_NEXT(w, link);
		disarm(w);
		w->fault = fault_get(fault);
		w->sent = 0;
		fault->hits++;
		if (fault->kind == FAULT_TRUNCATE && !fault->after_events)
			truncate_now(w);
		else
			pump(w);
	}
}

void watch_release(struct table *t)
{
	struct watch *w, *next;

	for (w = LIST_FIRST(&t->watches); w; w = next) {
		next = LIST_NEXT(w, link);
		if (w->stalled && w->fault && w->fault->dead)
			continue;
		w->stalled = false;
		disarm(w);
		if (w->timed_out)
			finish(w);
		else
			pump(w);
	}
}

void watch_close(struct table *t)
{
	struct watch *w, *next;

	for (w = LIST_FIRST(&t->watches); w; w = next) {
		next = LIST_NEXT(w, link);
		if (!w->stalled)
			finish(w);
	}
}

size_t watch_count(const struct table *t)
{
	const struct watch *w;
	size_t n = 0;

	LIST_FOREACH (w, &t->watches, link)
		n++;
	return n;
}
