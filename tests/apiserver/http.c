/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Connections: requests in, answers out. Listeners are in http_listen.c, parsing in http_parse.c.
 * Everything runs on the one event loop; nothing here knows Kubernetes.
 */
#include "http_internal.h"
#include "util.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOW_WATER = 64 << 10, /* a stream's producer is called again below this */
	RATE_TICK_MS = 50,
	INPUT_MAX = 1 << 20,
};

int http_server_new(
	struct event_base *base, http_handler handler, void *arg, struct http_server **out)
{
	struct http_server *srv = xcalloc(1, sizeof(*srv));

	srv->base = base;
	srv->handler = handler;
	srv->arg = arg;
	TAILQ_INIT(&srv->conns);
	*out = srv;
	return 0;
}

void http_server_free(struct http_server *srv)
{
	struct http_conn *c;

	if (!srv)
		return;
	while ((c = TAILQ_FIRST(&srv->conns)))
		http_drop(c);
	http_listeners_fini(srv);
	free(srv);
}

static void conn_release(struct http_conn *c)
{
	http_request_fini(&c->req);
	evbuffer_free(c->extra);
	free(c);
}

void http_drop(struct http_conn *c)
{
	void (*closed)(void *) = c->closed;
	void *arg = c->arg;

	if (c->dead)
		return;
	c->dead = true;
	c->closed = NULL;
	TAILQ_REMOVE(&c->srv->conns, c, link);
	c->srv->n_conns--;
	bufferevent_free(c->bev);
	if (c->rate)
		ev_token_bucket_cfg_free(c->rate);
	if (closed)
		closed(arg);
	if (!c->in_advance)
		conn_release(c);
}

void http_drop_all(struct http_server *srv, const struct http_conn *except)
{
	struct http_conn *c, *next;

	for (c = TAILQ_FIRST(&srv->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c != except && !c->via->control)
			http_drop(c);
	}
}

size_t http_connections(const struct http_server *srv)
{
	return srv->n_conns;
}

static void forget_owner(struct http_conn *c)
{
	c->writable = NULL;
	c->closed = NULL;
	c->arg = NULL;
}

static void close_when_sent(struct http_conn *c)
{
	forget_owner(c);
	c->state = CONN_CLOSING;
	bufferevent_disable(c->bev, EV_READ);
	bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
	if (!http_pending(c))
		http_drop(c);
}

void http_cut(struct http_conn *c)
{
	c->clean_end = false;
	close_when_sent(c);
}

size_t http_pending(const struct http_conn *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

static void set_rate(struct http_conn *c, struct ev_token_bucket_cfg *cfg)
{
	bufferevent_set_rate_limit(c->bev, cfg);
	if (c->rate)
		ev_token_bucket_cfg_free(c->rate);
	c->rate = cfg;
}

void http_set_rate(struct http_conn *c, unsigned int bytes_per_second)
{
	struct timeval tick = {.tv_usec = RATE_TICK_MS * 1000};
	size_t per_tick = (size_t)bytes_per_second * RATE_TICK_MS / 1000;

	if (!per_tick) {
		/* slower than a byte a tick: one byte, with a longer tick */
		unsigned int ms = 1000 / (bytes_per_second ? bytes_per_second : 1);

		tick.tv_sec = ms / 1000;
		tick.tv_usec = (suseconds_t)(ms % 1000) * 1000;
		per_tick = 1;
	}
	set_rate(c,
		ev_token_bucket_cfg_new(
			EV_RATE_LIMIT_MAX, EV_RATE_LIMIT_MAX, per_tick, per_tick, &tick));
}

void http_set_split(struct http_conn *c)
{
	c->split = true;
}

void http_set_unframed(struct http_conn *c)
{
	c->unframed = true;
	c->keep_alive = false;
}

const struct http_request *http_conn_request(const struct http_conn *c)
{
	return &c->req;
}

void http_watch_conn(
	struct http_conn *c, void (*writable)(void *arg), void (*closed)(void *arg), void *arg)
{
	c->writable = writable;
	c->closed = closed;
	c->arg = arg;
}

void http_add_header(struct http_conn *c, const char *name, const char *value)
{
	evbuffer_add_printf(c->extra, "%s: %s\r\n", name, value);
}

static void send_head(struct http_conn *c, int status, const char *type, ssize_t length)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
	if (type)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
	evbuffer_add_buffer(out, c->extra);
	if (length >= 0)
		evbuffer_add_printf(out, "Content-Length: %zd\r\n", length);
	else if (!c->unframed)
		evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
	if (!c->keep_alive)
		evbuffer_add_printf(out, "Connection: close\r\n");
	evbuffer_add(out, "\r\n", 2);
}

/* the answer is complete: next request, or close */
static void answer_done(struct http_conn *c)
{
	forget_owner(c);
	if (!c->keep_alive) {
		c->clean_end = true;
		close_when_sent(c);
		return;
	}
	c->state = CONN_HEAD;
	/* a pipelined request waits for the loop: the caller still reads the present one */
	if (!c->in_advance && evbuffer_get_length(bufferevent_get_input(c->bev)))
		bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
}

void http_reply(struct http_conn *c, int status, const char *type, const void *body, size_t len)
{
	struct evbuffer *buf = evbuffer_new();

	evbuffer_add(buf, body, len);
	http_reply_buffer(c, status, type, buf);
	evbuffer_free(buf);
}

void http_reply_buffer(struct http_conn *c, int status, const char *type, struct evbuffer *body)
{
	if (c->split || c->unframed) {
		http_stream_begin(c, status, type);
		http_stream_chunk(c, body);
		http_stream_finish(c);
		return;
	}
	send_head(c, status, type, (ssize_t)evbuffer_get_length(body));
	bufferevent_write_buffer(c->bev, body);
	answer_done(c);
}

static void move_part(struct http_conn *c, struct evbuffer *from, size_t part)
{
	evbuffer_remove_buffer(from, bufferevent_get_output(c->bev), part);
}

void http_reply_part(
	struct http_conn *c, int status, const char *type, struct evbuffer *body, size_t part)
{
	send_head(c, status, type, (ssize_t)evbuffer_get_length(body));
	move_part(c, body, part);
	http_cut(c);
}

void http_stream_begin(struct http_conn *c, int status, const char *type)
{
	send_head(c, status, type, -1);
}

static void split_chunk(struct http_conn *c, struct evbuffer *piece)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	size_t len = evbuffer_get_length(piece);
	const unsigned char *data = evbuffer_pullup(piece, -1);
	char chunk[] = "1\r\n?\r\n";

	for (size_t i = 0; i < len; i++) {
		chunk[3] = (char)data[i];
		evbuffer_add(out, chunk, sizeof(chunk) - 1);
	}
	evbuffer_drain(piece, len);
}

void http_stream_chunk(struct http_conn *c, struct evbuffer *piece)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (!evbuffer_get_length(piece))
		return;
	if (c->unframed) {
		evbuffer_add_buffer(out, piece);
	} else if (c->split) {
		split_chunk(c, piece);
	} else {
		evbuffer_add_printf(out, "%zx\r\n", evbuffer_get_length(piece));
		evbuffer_add_buffer(out, piece);
		evbuffer_add(out, "\r\n", 2);
	}
}

void http_stream_part(struct http_conn *c, struct evbuffer *piece, size_t part)
{
	if (!c->unframed)
		evbuffer_add_printf(
			bufferevent_get_output(c->bev), "%zx\r\n", evbuffer_get_length(piece));
	move_part(c, piece, part);
	http_cut(c);
}

void http_stream_finish(struct http_conn *c)
{
	if (!c->unframed)
		evbuffer_add(bufferevent_get_output(c->bev), "0\r\n\r\n", 5);
	answer_done(c);
}

static void request_ready(struct http_conn *c)
{
	c->state = CONN_BUSY;
	c->split = c->unframed = false;
	if (c->rate)
		set_rate(c, NULL);
	c->req.control = c->via->control;
	c->req.tcp = c->via->tcp;
	c->req.listener = c->via->name;
	c->srv->handler(c->srv->arg, c, &c->req);
}

static void refuse_request(struct http_conn *c, int status)
{
	static const char text[] = "bad request\n";

	c->keep_alive = false;
	c->state = CONN_BUSY;
	http_reply(c, status, "text/plain", text, sizeof(text) - 1);
}

/* takes requests out of the input until one is not complete or its answer is still due */
void http_conn_advance(struct http_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	c->in_advance = true;
	while (!c->dead && (c->state == CONN_HEAD || c->state == CONN_BODY)) {
		int rc = c->state == CONN_HEAD ? http_parse_head(c, in) : http_parse_body(c, in);

		if (rc == -EAGAIN)
			break;
		if (rc < 0)
			refuse_request(c, rc == -EMSGSIZE ? 413 : 400);
		else if (c->state == CONN_BODY && c->body_done)
			request_ready(c);
	}
	c->in_advance = false;
	if (c->dead)
		conn_release(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;

	(void)bev;
	/* while an answer is due the input waits, bounded by the read watermark */
	if (c->state == CONN_HEAD || c->state == CONN_BODY)
		http_conn_advance(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;

	if (c->state == CONN_CLOSING) {
		if (http_pending(c))
			return;
		/* a clean end says goodbye in TLS too; a cut does not */
		if (c->clean_end && c->via->tls)
			SSL_shutdown(bufferevent_openssl_get_ssl(bev));
		http_drop(c);
	} else if (c->state == CONN_BUSY && c->writable) {
		c->writable(c->arg);
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)bev;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		http_drop(c);
}

void http_conn_new(struct http_listener *via, evutil_socket_t fd)
{
	struct http_server *srv = via->srv;
	struct http_conn *c = xcalloc(1, sizeof(*c));

	c->srv = srv;
	c->via = via;
	c->extra = evbuffer_new();
	if (via->tls)
		c->bev = bufferevent_openssl_socket_new(srv->base, fd, SSL_new(via->tls),
			BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	else
		c->bev = bufferevent_socket_new(srv->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		evutil_closesocket(fd);
		conn_release(c);
		return;
	}
	TAILQ_INSERT_TAIL(&srv->conns, c, link);
	srv->n_conns++;
	if (via->tls)
		bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, INPUT_MAX);
	bufferevent_setwatermark(c->bev, EV_WRITE, LOW_WATER, 0);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}
