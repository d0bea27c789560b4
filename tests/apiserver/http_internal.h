/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * What the three files of the HTTP server share. Nobody else includes this.
 */
#pragma once

#include "http.h"

#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <openssl/types.h>
#include <sys/queue.h>

enum conn_state {
	CONN_HEAD,
	CONN_BODY,
	CONN_BUSY,
	CONN_CLOSING
};

struct http_conn {
	TAILQ_ENTRY(http_conn) link;
	struct http_server *srv;
	struct http_listener *via;
	struct bufferevent *bev;
	enum conn_state state;
	bool in_advance, dead, clean_end;

	struct http_request req;
	bool keep_alive;
	bool body_chunked, body_done;
	size_t body_left; /* of the body, or of the present chunk */
	struct evbuffer *body;

	struct evbuffer *extra; /* header lines for the next answer */
	bool split, unframed;
	struct ev_token_bucket_cfg *rate;
	void (*writable)(void *arg);
	void (*closed)(void *arg);
	void *arg;
};

enum {
	HTTP_LISTENERS_MAX = 8
};

struct http_listener {
	struct http_server *srv;
	struct evconnlistener *evl; /* NULL while refusing */
	char *name;
	bool tcp, control;
	SSL_CTX *tls;
};

struct http_server {
	struct event_base *base;
	http_handler handler;
	void *arg;
	TAILQ_HEAD(, http_conn) conns;
	size_t n_conns;
	struct http_listener listeners[HTTP_LISTENERS_MAX];
	size_t n_listeners;
};

void http_conn_new(struct http_listener *via, evutil_socket_t fd);
void http_conn_advance(struct http_conn *c);

/* 0 when a head is parsed (state becomes CONN_BODY), -EAGAIN, -EINVAL */
int http_parse_head(struct http_conn *c, struct evbuffer *in);
/* 0 on progress (body_done says whether it is complete), -EAGAIN, -EINVAL, -EMSGSIZE */
int http_parse_body(struct http_conn *c, struct evbuffer *in);
void http_request_fini(struct http_request *req);
const char *http_reason(int status);

void http_listeners_fini(struct http_server *srv);
