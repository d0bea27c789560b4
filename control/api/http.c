/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Routing and answering (see http.h). API thread. */

#include <ctype.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "control/api/http_internal.h"
#include "control/api/json_writer.h"

int64_t http_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* --- answers --------------------------------------------------------------------------------- */

void http_header(struct http_request *req, const char *name, const char *value)
{
	if (req->ev != NULL)
		evhttp_add_header(evhttp_request_get_output_headers(req->ev), name, value);
}

const char *http_request_header(const struct http_request *req, const char *name)
{
	return evhttp_find_header(evhttp_request_get_input_headers(req->ev), name);
}

void http_common_headers(struct http_request *req, const char *type)
{
	http_header(req, "X-Request-Id", req->id);
	http_header(req, "Cache-Control", "no-store");
	http_header(req, "X-Content-Type-Options", "nosniff");
	if (type != NULL)
		http_header(req, "Content-Type", type);
	/* An answer without a length ends with its connection in HTTP/1.0. */
	if (req->ev != NULL && req->ev->minor == 0)
		http_header(req, "Connection", "close");
}

void http_request_finish(struct http_request *req)
{
	struct http_server *s = req->server;

	if (req->route != NULL) {
		struct http_route_stats *st = &s->stats[req->route - s->routes];

		st->by_class[req->status / 100 % 6]++;
		st->us += (uint64_t)(http_now_us() - req->started_us);
	} else {
		s->unrouted++;
	}
	*req->prev = req->next;
	if (req->next != NULL)
		req->next->prev = req->prev;
	query_fini(&req->query);
	path_fini(&req->segments);
	free(req->body_copy);
	free(req->path_copy);
	free(req);
}

void http_reply(struct http_request *req, int status, const char *type, struct evbuffer *body)
{
	struct evhttp_connection *conn;

	req->status = status;
	if (req->ev == NULL) {
		/* The connection went down and took libevent's half with it. */
		http_request_finish(req);
		return;
	}
	http_common_headers(req, type);
	conn = evhttp_request_get_connection(req->ev);
	if (conn != NULL)
		evhttp_connection_set_closecb(conn, NULL, NULL);
	evhttp_send_reply(req->ev, status, NULL, body);
	http_request_finish(req);
}

static void problem(struct http_request *req, int status, const char *reason, const char *pointer,
	const char *detail)
{
	static const struct {
		int status;
		const char *title;
	} titles[] = {
		{400, "Bad request"},
		{403, "Forbidden"},
		{404, "Not found"},
		{405, "Method not allowed"},
		{409, "Conflict"},
		{410, "Gone"},
		{413, "Body too large"},
		{415, "Unsupported media type"},
		{422, "Invalid object"},
		{429, "Too many requests"},
		{503, "Service unavailable"},
		{504, "Timed out"},
	};
	struct evbuffer *out = evbuffer_new();
	const char *title = "Server error";
	struct jw w;

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (titles[i].status == status)
			title = titles[i].title;
	if (out != NULL) {
		jw_init(&w, out);
		jw_object(&w, NULL);
		jw_string(&w, "type", "about:blank");
		jw_string(&w, "title", title);
		jw_int(&w, "status", status);
		jw_string(&w, "reason", reason);
		jw_string(&w, "detail", detail);
		if (req->route != NULL)
			jw_string(&w, "instance", req->path);
		jw_string(&w, "requestId", req->id);
		if (pointer != NULL) {
			jw_array(&w, "errors");
			jw_object(&w, NULL);
			jw_string(&w, "pointer", pointer);
			jw_string(&w, "detail", detail);
			jw_object_end(&w);
			jw_array_end(&w);
		}
		jw_object_end(&w);
		jw_finish(&w);
		evbuffer_add(out, "\n", 1);
	}
	http_reply(req, status, "application/problem+json", out);
	if (out != NULL)
		evbuffer_free(out);
}

void http_problem(struct http_request *req, int status, const char *reason, const char *fmt, ...)
{
	char detail[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	problem(req, status, reason, NULL, detail);
}

void http_problem_field(struct http_request *req, int status, const char *reason,
	const char *pointer, const char *fmt, ...)
{
	char detail[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	problem(req, status, reason, pointer, detail);
}

/* --- routing --------------------------------------------------------------------------------- */

static const struct {
	enum http_method method;
	const char *name;
} method_names[] = {
	{HTTP_GET, "GET"},
	{HTTP_HEAD, "HEAD"},
	{HTTP_POST, "POST"},
	{HTTP_PUT, "PUT"},
	{HTTP_DELETE, "DELETE"},
	{HTTP_PATCH, "PATCH"},
};

static enum http_method method_of(const struct evhttp_request *ev)
{
	switch (evhttp_request_get_command(ev)) {
	case EVHTTP_REQ_GET:
		return HTTP_GET;
	case EVHTTP_REQ_HEAD:
		return HTTP_HEAD;
	case EVHTTP_REQ_POST:
		return HTTP_POST;
	case EVHTTP_REQ_PUT:
		return HTTP_PUT;
	case EVHTTP_REQ_DELETE:
		return HTTP_DELETE;
	case EVHTTP_REQ_PATCH:
		return HTTP_PATCH;
	default:
		return HTTP_OPTIONS;
	}
}

static unsigned answered_methods(const struct http_route *r)
{
	return r->methods | (r->methods & HTTP_GET ? HTTP_HEAD : 0);
}

/* Fills req->param when the pattern fits. */
static bool pattern_matches(const char *pattern, struct http_request *req)
{
	const char *at = pattern + 1;
	uint32_t params = 0;

	for (uint32_t i = 0; i < req->segments.n; i++) {
		const char *segment = req->segments.segment[i];
		const char *end = strchrnul(at, '/');
		size_t len = (size_t)(end - at);

		if (at[0] == '{') {
			if (segment[0] == '\0' || params == HTTP_PARAMS_MAX)
				return false;
			req->param[params++] = segment;
		} else if (strlen(segment) != len || memcmp(segment, at, len) != 0) {
			return false;
		}
		if (*end == '\0')
			return i + 1 == req->segments.n;
		at = end + 1;
	}
	return false;
}

static const struct http_route *find_route(
	struct http_server *s, struct http_request *req, bool health_only, unsigned *allowed)
{
	*allowed = 0;
	for (const struct http_route *r = s->routes; r->pattern != NULL; r++) {
		if (health_only && !(r->flags & HTTP_ROUTE_HEALTH))
			continue;
		if (!pattern_matches(r->pattern, req))
			continue;
		if (answered_methods(r) & req->method)
			return r;
		/* A literal hides the {…} of the same length behind it. */
		*allowed |= answered_methods(r);
		return NULL;
	}
	return NULL;
}

static void reply_not_allowed(struct http_request *req, unsigned allowed)
{
	char text[64] = "";

	for (size_t i = 0; i < sizeof(method_names) / sizeof(method_names[0]); i++) {
		if (!(allowed & method_names[i].method))
			continue;
		if (text[0] != '\0')
			strcat(text, ", ");
		strcat(text, method_names[i].name);
	}
	http_header(req, "Allow", text);
	http_problem(req, 405, "MethodNotAllowed", "this resource answers %s", text);
}

static bool name_is_local(const char *host, size_t len)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (len >= n && strncasecmp(host, names[i], n) == 0 && (len == n || host[n] == ':'))
			return true;
	}
	return false;
}

/* A page of the web must not talk to a loopback listener through somebody's browser. */
static bool origin_is_ours(const struct http_request *req)
{
	const char *host = http_request_header(req, "Host");
	const char *origin = http_request_header(req, "Origin");
	const char *after;

	if (host != NULL && !name_is_local(host, strlen(host)))
		return false;
	if (origin == NULL)
		return true;
	after = strstr(origin, "://");
	return after != NULL && name_is_local(after + 3, strlen(after + 3));
}

static bool content_type_is_json(const struct http_request *req)
{
	const char *type = http_request_header(req, "Content-Type");
	const size_t n = strlen("application/json");

	return type != NULL && strncasecmp(type, "application/json", n) == 0 &&
		(type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static int take_body(struct http_request *req)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req->ev);
	size_t len = evbuffer_get_length(in);

	req->body_copy = malloc(len + 1);
	if (req->body_copy == NULL)
		return -ENOMEM;
	evbuffer_remove(in, req->body_copy, len);
	req->body_copy[len] = '\0';
	req->body = req->body_copy;
	req->body_len = len;
	return 0;
}

static void choose_id(struct http_request *req)
{
	const char *id = http_request_header(req, "X-Request-Id");
	size_t n = 0;

	while (id != NULL && n < sizeof(req->id) - 1 &&
		(isalnum((unsigned char)id[n]) || strchr("-_.", id[n]) != NULL) && id[n] != '\0')
		n++;
	if (id != NULL && n > 0 && id[n] == '\0') {
		memcpy(req->id, id, n + 1);
		return;
	}
	snprintf(req->id, sizeof(req->id), "%08llx-%llu",
		(unsigned long long)(req->server->boot & 0xffffffff),
		(unsigned long long)req->server->request_count);
}

/* The connection of a request whose handler has not answered yet goes down. */
static void request_lost(struct evhttp_connection *conn, void *arg)
{
	struct http_request *req = arg;

	req->gone = true;
	if (evhttp_request_get_connection(req->ev) == NULL)
		evhttp_send_reply_end(req->ev);
	req->ev = NULL;
}

static void route(struct http_request *req, struct http_listener *l)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req->ev);
	struct query_error err = {"out of memory"};
	const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
	unsigned allowed;
	int rc;

	/* An answer may come when libevent's half of the request has gone. */
	req->path_copy = strdup(path != NULL ? path : "");
	req->path = req->path_copy != NULL ? req->path_copy : "";
	if (req->server->routes[0].flags & HTTP_ROUTE_ANY) {
		req->route = &req->server->routes[0];
		req->route->handle(req);
		return;
	}
	if (l->tcp && l->kind != HTTP_HEALTH && !origin_is_ours(req)) {
		http_problem(req, 403, "Forbidden", "the Host or Origin header is not local");
		return;
	}
	rc = path_parse(req->path, &req->segments, &err);
	if (rc == 0)
		rc = query_parse(evhttp_uri_get_query(uri), &req->query, &err);
	if (rc == 0)
		rc = take_body(req);
	if (rc < 0) {
		http_problem(req, rc == -EINVAL ? 400 : 503,
			rc == -EINVAL ? "BadRequest" : "ResourceExhausted", "%s", err.text);
		return;
	}
	req->route = find_route(req->server, req, l->kind == HTTP_HEALTH, &allowed);
	if (req->route == NULL && allowed != 0)
		reply_not_allowed(req, allowed);
	else if (req->route == NULL)
		http_problem(req, 404, "NotFound", "no such resource; see /openapi/v3.json");
	else if (l->kind != HTTP_ADMIN && !(req->method & (HTTP_GET | HTTP_HEAD)))
		http_problem(req, 403, "Forbidden",
			"this listener is read-only; changes go through the unix socket");
	else if (req->body_len > 0 && !content_type_is_json(req))
		http_problem(req, 415, "UnsupportedMediaType", "a body must be application/json");
	else
		req->route->handle(req);
}

static void on_request(struct evhttp_request *ev, void *arg)
{
	struct http_listener *l = arg;
	struct http_server *s = l->server;
	struct http_request *req = calloc(1, sizeof(*req));

	s->request_count++;
	if (req == NULL) {
		evhttp_send_error(ev, 503, NULL);
		return;
	}
	req->server = s;
	req->arg = s->arg;
	req->ev = ev;
	req->method = method_of(ev);
	req->started_us = http_now_us();
	req->next = s->requests;
	req->prev = &s->requests;
	if (req->next != NULL)
		req->next->prev = &req->next;
	s->requests = req;
	evhttp_connection_set_closecb(evhttp_request_get_connection(ev), request_lost, req);
	choose_id(req);
	route(req, l);
}

/* --- server ---------------------------------------------------------------------------------- */

int http_listener_start(struct http_listener *l)
{
	l->http = evhttp_new(l->server->base);
	if (l->http == NULL)
		return -ENOMEM;
	evhttp_set_max_headers_size(l->http, HTTP_HEADERS_MAX);
	evhttp_set_max_body_size(l->http, HTTP_BODY_MAX);
	evhttp_set_timeout(l->http, HTTP_IDLE_SECONDS);
	evhttp_set_allowed_methods(l->http,
		EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
			EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH | EVHTTP_REQ_OPTIONS);
	evhttp_set_gencb(l->http, on_request, l);
	return 0;
}

const struct http_route_stats *http_route_stats(const struct http_server *s, uint32_t i)
{
	return &s->stats[i];
}

uint32_t http_connections(const struct http_server *s)
{
	return s->n_connections;
}

uint32_t http_streams(const struct http_server *s)
{
	return s->n_by_kind[HTTP_WATCH];
}

uint64_t http_unrouted(const struct http_server *s)
{
	return s->unrouted;
}
