/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * A small HTTP/1.1 server on libevent's bufferevents, over unix sockets, TCP and TLS. Own code
 * instead of evhttp, because the fault injector must be able to break an answer at any byte: cut
 * inside a chunk, one chunk per byte, no framing at all, bytes by the second.
 *
 * One thread. After http_cut, http_drop, http_reply* and http_stream_finish the caller must not
 * touch what it kept of the connection: it may be gone.
 */
#pragma once

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct http_server;
struct http_conn;

struct http_pair {
	char *name;
	char *value;
};

struct http_request {
	char *method;
	char *target; /* as sent: path and query */
	char *path;   /* as sent, without the query */
	struct http_pair *headers;
	size_t n_headers;
	struct http_pair *query; /* decoded */
	size_t n_query;
	char *body;
	size_t body_len;
	bool control; /* came in on the control socket */
	bool tcp;
	const char *listener;
};

typedef void (*http_handler)(void *arg, struct http_conn *conn, const struct http_request *req);

int http_server_new(
	struct event_base *base, http_handler handler, void *arg, struct http_server **out);
void http_server_free(struct http_server *srv);

/* the error text of a failed listen goes to the log */
int http_listen_unix(struct http_server *srv, const char *path, bool control);
/* address "127.0.0.1:8080" or "[::1]:0"; TLS when cert is given */
int http_listen_tcp(
	struct http_server *srv, const char *address, const char *cert, const char *key);
/* the address with the port that the kernel chose; NULL past the last listener */
const char *http_listener_name(const struct http_server *srv, size_t i);

/* stops listening on all but the control socket; unlink_socket also removes the file */
void http_refuse(struct http_server *srv, bool unlink_socket);
int http_accept_again(struct http_server *srv);
/* cuts every connection but except */
void http_drop_all(struct http_server *srv, const struct http_conn *except);
size_t http_connections(const struct http_server *srv);

const char *http_header(const struct http_request *req, const char *name); /* NULL: absent */
const char *http_query(const struct http_request *req, const char *name);  /* NULL: absent */

/* the request of a connection whose answer is still due */
const struct http_request *http_conn_request(const struct http_conn *c);

/* adds a header to the next answer */
void http_add_header(struct http_conn *c, const char *name, const char *value);
void http_reply(struct http_conn *c, int status, const char *type, const void *body, size_t len);
/* drains body */
void http_reply_buffer(struct http_conn *c, int status, const char *type, struct evbuffer *body);
/* promises the whole of body, sends its first part, then cuts the connection */
void http_reply_part(
	struct http_conn *c, int status, const char *type, struct evbuffer *body, size_t part);

/* an answer of unknown length; data goes out as one chunk a call */
void http_stream_begin(struct http_conn *c, int status, const char *type);
void http_stream_chunk(struct http_conn *c, struct evbuffer *piece);
/* the head of a chunk and the first part of it, then the connection is cut */
void http_stream_part(struct http_conn *c, struct evbuffer *piece, size_t part);
void http_stream_finish(struct http_conn *c);

/* sends what is queued, then closes without an end mark; at once */
void http_cut(struct http_conn *c);
void http_drop(struct http_conn *c);

/* bytes that wait for the socket */
size_t http_pending(const struct http_conn *c);
/* writable: the queue ran low during a stream; closed: the connection went away under it */
void http_watch_conn(
	struct http_conn *c, void (*writable)(void *arg), void (*closed)(void *arg), void *arg);

/* shape of this one answer */
void http_set_rate(struct http_conn *c, unsigned int bytes_per_second);
void http_set_split(struct http_conn *c);    /* one chunk per byte */
void http_set_unframed(struct http_conn *c); /* no length, no chunks: the end is the close */
