/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What http.c and http_stream.c share. API thread. */

#pragma once

#include <event2/http.h>

#include "control/api/http.h"

struct bufferevent;
struct event;
struct evconnlistener;

struct http_listener {
	struct http_server *server;
	struct evhttp *http;
	struct evconnlistener *accept;
	enum http_listener_kind kind;
	bool tcp;
	char *path; /* of a unix socket, removed at the end */
};

struct http_connection {
	int fd;
	uint64_t inode;
};

struct http_server {
	struct event_base *base;
	const struct http_route *routes;
	struct http_route_stats *stats;
	void *arg;
	uint32_t n_listeners;
	struct http_listener listener[HTTP_LISTENERS_MAX];
	struct http_request *requests; /* not yet finished */
	struct http_stream *streams;
	uint32_t n_by_kind[3]; /* enum http_stream_kind */
	uint64_t unrouted;
	uint64_t request_count;
	uint64_t boot;

	/* Connections: libevent 2.1 has no cap and tells of no end, so they are known by the
	 * inode behind their descriptor. */
	uint32_t n_connections, n_fresh;
	struct http_connection connection[HTTP_CONNECTIONS_MAX];
	struct bufferevent *fresh[HTTP_CONNECTIONS_MAX]; /* accepted, descriptor not yet seen */
	struct event *fresh_event, *full_event;
	bool full;
};

/* Headers of every answer. */
void http_common_headers(struct http_request *req, const char *type);
/* Counts and frees; ev belongs to libevent by now. */
void http_request_finish(struct http_request *req);
void http_streams_end(struct http_server *s);
/* An evhttp with our bounds and handler. */
int http_listener_start(struct http_listener *l);
