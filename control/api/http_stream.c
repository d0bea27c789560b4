/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Streamed answers (see http.h). A stream is produced in slices: at most HTTP_SLICE_US and
 * HTTP_CHUNK at a time, the next one when libevent says that the last has left. API thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>

#include "control/api/http_internal.h"

struct http_stream {
	struct http_server *server;
	struct http_request *req;
	const struct http_stream_ops *ops;
	void *arg;
	enum http_stream_kind kind;
	struct event *turn;
	bool in_flight; /* a chunk is on its way */
	struct http_stream *next, **prev;
};

static void stream_free(struct http_stream *st)
{
	st->server->n_by_kind[st->kind]--;
	*st->prev = st->next;
	if (st->next != NULL)
		st->next->prev = st->prev;
	if (st->turn != NULL)
		event_free(st->turn);
	st->ops->done(st->arg);
	free(st);
}

static void set_limits(struct evhttp_connection *conn, bool streaming)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(conn);
	const struct timeval idle = {.tv_sec = HTTP_IDLE_SECONDS};
	const struct timeval stall = {.tv_sec = HTTP_STALL_SECONDS};

	/* evhttp listens for input again after the first chunk: a watcher that never sends would
	 * be cut at the read timeout, and one that sends without end would fill memory. */
	bufferevent_set_timeouts(bev, streaming ? NULL : &idle, &stall);
	bufferevent_setwatermark(bev, EV_READ, 0,
		streaming ? HTTP_STREAM_INPUT_MAX : HTTP_HEADERS_MAX + HTTP_BODY_MAX);
}

/* The client is there and has been given everything. */
static void stream_finish(struct http_stream *st)
{
	struct http_request *req = st->req;
	struct evhttp_connection *conn = evhttp_request_get_connection(req->ev);

	evhttp_connection_set_closecb(conn, NULL, NULL);
	set_limits(conn, false);
	evhttp_send_reply_end(req->ev);
	stream_free(st);
	http_request_finish(req);
}

/* The connection goes down. When libevent has let go of the request it must still be ended, which
 * frees it; else libevent frees it right after this call. */
static void stream_lost(struct evhttp_connection *conn, void *arg)
{
	struct http_stream *st = arg;
	struct http_request *req = st->req;

	req->gone = true;
	if (evhttp_request_get_connection(req->ev) == NULL)
		evhttp_send_reply_end(req->ev);
	stream_free(st);
	http_request_finish(req);
}

static void chunk_left(struct evhttp_connection *conn, void *arg)
{
	struct http_stream *st = arg;

	st->in_flight = false;
	event_active(st->turn, EV_TIMEOUT, 1);
}

static void stream_turn(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval now = {0};
	struct http_stream *st = arg;
	int64_t deadline = http_now_us() + HTTP_SLICE_US;
	enum http_step step = HTTP_MORE;
	struct evbuffer *out;

	if (st->in_flight)
		return;
	out = evbuffer_new();
	if (out == NULL) {
		event_add(st->turn, &now);
		return;
	}
	while (step == HTTP_MORE && evbuffer_get_length(out) < HTTP_CHUNK) {
		step = st->ops->produce(st->arg, out, deadline);
		if (http_now_us() >= deadline)
			break;
	}
	if (evbuffer_get_length(out) > 0) {
		st->in_flight = true;
		evhttp_send_reply_chunk_with_cb(st->req->ev, out, chunk_left, st);
	}
	evbuffer_free(out);
	if (step == HTTP_END)
		stream_finish(st);
	else if (step == HTTP_MORE && !st->in_flight)
		event_add(st->turn, &now); /* through the loop, so that others get their turn */
}

void http_stream_wake(struct http_stream *st)
{
	if (!st->in_flight)
		event_active(st->turn, EV_TIMEOUT, 1);
}

struct http_stream *http_stream_begin(struct http_request *req, const char *type,
	enum http_stream_kind kind, const struct http_stream_ops *ops, void *arg)
{
	static const uint32_t caps[] = {
		[HTTP_LIST] = HTTP_CONNECTIONS_MAX,
		[HTTP_SCAN] = HTTP_SCANS_MAX,
		[HTTP_WATCH] = HTTP_STREAMS_MAX,
	};
	struct http_server *s = req->server;
	struct evhttp_connection *conn;
	struct http_stream *st;

	if (req->gone || req->method == HTTP_HEAD) {
		ops->done(arg);
		http_reply(req, 200, type, NULL);
		return NULL;
	}
	if (s->n_by_kind[kind] >= caps[kind]) {
		ops->done(arg);
		http_header(req, "Retry-After", "1");
		http_problem(req, 429, "TooManyRequests", "%s",
			kind == HTTP_WATCH ? "too many watches at once"
					   : "too many flow scans at once");
		return NULL;
	}
	st = calloc(1, sizeof(*st));
	if (st != NULL)
		st->turn = event_new(s->base, -1, 0, stream_turn, st);
	if (st == NULL || st->turn == NULL) {
		free(st);
		ops->done(arg);
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return NULL;
	}
	st->server = s;
	st->req = req;
	st->ops = ops;
	st->arg = arg;
	st->kind = kind;
	st->next = s->streams;
	st->prev = &s->streams;
	if (st->next != NULL)
		st->next->prev = &st->next;
	s->streams = st;
	s->n_by_kind[kind]++;

	req->status = 200;
	http_common_headers(req, type);
	evhttp_send_reply_start(req->ev, 200, NULL);
	conn = evhttp_request_get_connection(req->ev);
	set_limits(conn, true);
	evhttp_connection_set_closecb(conn, stream_lost, st);
	event_active(st->turn, EV_TIMEOUT, 1);
	return st;
}

void http_streams_end(struct http_server *s)
{
	while (s->streams != NULL) {
		struct http_stream *st = s->streams;
		struct http_request *req = st->req;
		struct evhttp_connection *conn = evhttp_request_get_connection(req->ev);

		/* evhttp_free() follows and frees the request with its connection. */
		if (conn != NULL)
			evhttp_connection_set_closecb(conn, NULL, NULL);
		stream_free(st);
		http_request_finish(req);
	}
}
