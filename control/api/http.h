/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The HTTP server of the API: the only file pair that knows evhttp (libevent 2.1).
 *
 * Listeners (unix socket, loopback TCP), limits, routes, problem documents (RFC 9457), and streams
 * that are produced on demand: the next piece is made when the last one has left, so a slow client
 * costs one piece of memory and slows only itself.
 *
 * Everything here runs on the thread of its event base. A request belongs to its handler until one
 * of http_reply*(), http_problem*() or http_stream_begin() is called, exactly once; later is
 * allowed. evhttp answers what it cannot parse by itself, in HTML: broken request lines, oversized
 * headers, unknown methods (501). */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/api/query.h"

struct event_base;
struct evbuffer;
struct evhttp_request;
struct http_server;

/* --- bounds ---------------------------------------------------------------------------------- */

#define HTTP_HEADERS_MAX (16 * 1024) /* libevent's own default is: none */
#define HTTP_BODY_MAX    (1024 * 1024)
/* What a client may have sent ahead while its answer is streamed; evhttp would keep it all. */
#define HTTP_STREAM_INPUT_MAX 4096
#define HTTP_IDLE_SECONDS     30 /* between bytes of a request, and between requests */
#define HTTP_STALL_SECONDS    30 /* a client that takes nothing of its answer for so long */
#define HTTP_CONNECTIONS_MAX  128
#define HTTP_STREAMS_MAX      32 /* watches at once */
#define HTTP_SCANS_MAX        8  /* flow scans at once; each gets its slice in turn */
#define HTTP_CHUNK            (64 * 1024)
#define HTTP_SLICE_US         500 /* work for one stream before others have their turn */
#define HTTP_LISTENERS_MAX    32  /* a health port has one for each of the node's addresses */

/* --- requests -------------------------------------------------------------------------------- */

enum http_method {
	HTTP_GET = 1 << 0,
	HTTP_HEAD = 1 << 1,
	HTTP_POST = 1 << 2,
	HTTP_PUT = 1 << 3,
	HTTP_DELETE = 1 << 4,
	HTTP_PATCH = 1 << 5,
	HTTP_OPTIONS = 1 << 6,
};

#define HTTP_PARAMS_MAX 4

struct http_request {
	struct http_server *server;
	void *arg; /* of http_server_new */
	enum http_method method;
	const struct http_route *route;
	const char *param[HTTP_PARAMS_MAX]; /* segments that matched {…}, in order */
	struct query query;
	const char *path; /* as sent, without the query */
	const char *body; /* NUL behind it */
	size_t body_len;
	char id[65];

	/* The seam's own. */
	struct evhttp_request *ev;
	struct path segments;
	char *body_copy, *path_copy;
	int status;
	int64_t started_us;
	bool gone; /* the client left; the answer goes nowhere */
	struct http_request *next, **prev;
};

typedef void (*http_handler)(struct http_request *req);

enum http_route_flag {
	HTTP_ROUTE_HEALTH = 1 << 0, /* also on health listeners */
	/* Takes every path, method and body; the first of its table, and alone there. */
	HTTP_ROUTE_ANY = 1 << 1,
};

struct http_route {
	const char *pattern; /* "/api/v1/services/{namespace}/{name}"; literals before {…} */
	unsigned methods;    /* enum http_method; GET answers HEAD as well */
	http_handler handle;
	unsigned flags;
};

/* Requests answered, by route and status class; read on the server's thread. */
struct http_route_stats {
	uint64_t by_class[6]; /* [1] 1xx … [5] 5xx */
	uint64_t us;          /* time until the last byte was handed over */
};

/* --- server ---------------------------------------------------------------------------------- */

/* routes and arg stay valid; routes ends in a NULL pattern. */
int http_server_new(struct event_base *base, const struct http_route *routes, void *arg,
	struct http_server **out);
/* Ends every connection and stream. */
void http_server_free(struct http_server *s);

enum http_listener_kind {
	HTTP_ADMIN,  /* may change things */
	HTTP_VIEW,   /* reads only */
	HTTP_HEALTH, /* health and metrics only; 0.0.0.0 is both families, as kube-proxy's is */
	/* The same for one family, and an address need not be there yet. */
	HTTP_PROBE,
};

/* path: removed first when nobody listens on it (-EADDRINUSE when somebody does). group NULL: the
 * process's. */
int http_listen_unix(struct http_server *s, const char *path, uint32_t mode, const char *group,
	enum http_listener_kind kind);
/* "127.0.0.1:8585", "[::1]:0". -EPERM for an address that is not loopback, unless kind is
 * HTTP_HEALTH or HTTP_PROBE. netns is the file of the network namespace to listen in, NULL the
 * process's own. *bound, if not NULL, becomes the port. */
int http_listen_tcp(struct http_server *s, const char *address, enum http_listener_kind kind,
	const char *netns, uint16_t *bound);

const struct http_route_stats *http_route_stats(const struct http_server *s, uint32_t route);
uint32_t http_connections(const struct http_server *s);
uint32_t http_streams(const struct http_server *s);
uint64_t http_unrouted(const struct http_server *s); /* answered without a route */

/* --- answers --------------------------------------------------------------------------------- */

/* Takes the contents of body (may be NULL). */
void http_reply(struct http_request *req, int status, const char *type, struct evbuffer *body);
void http_header(struct http_request *req, const char *name, const char *value);
const char *http_request_header(const struct http_request *req, const char *name);

/* reason is Kubernetes-like CamelCase. */
void http_problem(struct http_request *req, int status, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, naming the field at fault by a JSON Pointer into the body. */
void http_problem_field(struct http_request *req, int status, const char *reason,
	const char *pointer, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* --- streams --------------------------------------------------------------------------------- */

enum http_step {
	HTTP_MORE, /* call again, soon */
	HTTP_WAIT, /* nothing now; http_stream_wake() tells when */
	HTTP_END,
};

struct http_stream;

struct http_stream_ops {
	/* Adds a piece to out, a few kilobytes; may add nothing. deadline_us is on the clock of
	 * http_now_us(): a scan returns HTTP_MORE when it has passed. */
	enum http_step (*produce)(void *arg, struct evbuffer *out, int64_t deadline_us);
	/* Once, whatever happened. The stream is gone. */
	void (*done)(void *arg);
};

enum http_stream_kind {
	HTTP_LIST,  /* ends by itself */
	HTTP_SCAN,  /* counts as a scan */
	HTTP_WATCH, /* counts as a stream */
};

/* NULL when the cap is reached: 429 was sent and done() called. HEAD gets the headers only. */
struct http_stream *http_stream_begin(struct http_request *req, const char *type,
	enum http_stream_kind kind, const struct http_stream_ops *ops, void *arg);
void http_stream_wake(struct http_stream *st);

int64_t http_now_us(void);
