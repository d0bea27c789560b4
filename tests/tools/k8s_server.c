/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The scripted API server of k8s_server.h. */

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/k8s_server.h"

#define REQUESTS_MAX 4096
#define STEPS_MAX    256

struct connection {
	struct k8s_server *server;
	struct connection *next, **prev;
	struct bufferevent *bev;
	char path[256]; /* of the request that is held open */
	bool close_when_sent;
	/* A body that is sent piece by piece. */
	const struct k8s_step *step;
	size_t sent;
};

struct k8s_server {
	struct event_base *base;
	struct evconnlistener *listener;
	struct connection *connections;
	struct k8s_step steps[STEPS_MAX];
	bool used[STEPS_MAX];
	size_t n_steps;
	char *requests[REQUESTS_MAX];
	size_t n_requests;
	char faults[4096];
	char path[108];
};

static void connection_free(struct connection *c)
{
	if (c->next != NULL)
		c->next->prev = c->prev;
	*c->prev = c->next;
	bufferevent_free(c->bev);
	free(c);
}

static void check(struct k8s_server *s, const struct k8s_step *step, const char *target)
{
	char words[512], *save = NULL;

	if (step->expect == NULL)
		return;
	snprintf(words, sizeof(words), "%s", step->expect);
	for (char *w = strtok_r(words, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		bool wanted = w[0] != '-';
		size_t len = strlen(s->faults);

		if ((strstr(target, wanted ? w : w + 1) != NULL) != wanted)
			snprintf(s->faults + len, sizeof(s->faults) - len, "[%s in %s]", w, target);
	}
}

static struct k8s_step *next_step(struct k8s_server *s, const char *target)
{
	size_t len = strcspn(target, "?");

	for (size_t i = 0; i < s->n_steps; i++) {
		struct k8s_step *step = &s->steps[i];

		if (s->used[i] ||
			(step->path != NULL &&
				(strlen(step->path) != len ||
					strncmp(step->path, target, len) != 0)))
			continue;
		s->used[i] = true;
		check(s, step, target);
		return step;
	}
	return NULL;
}

static void send_chunk(struct connection *c, const char *text, size_t len)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (len == 0)
		return;
	if (c->step == NULL || c->step->framing == K8S_CHUNKED) {
		evbuffer_add_printf(out, "%zx\r\n", len);
		evbuffer_add(out, text, len);
		evbuffer_add(out, "\r\n", 2);
	} else {
		evbuffer_add(out, text, len);
	}
}

static void finish_body(struct connection *c)
{
	const struct k8s_step *step = c->step;

	c->step = NULL;
	if (step->end == K8S_END_CLEAN && step->framing == K8S_CHUNKED)
		bufferevent_write(c->bev, "0\r\n\r\n", 5);
	if (step->end == K8S_END_CUT ||
		(step->end == K8S_END_CLEAN && step->framing == K8S_UNTIL_CLOSE))
		c->close_when_sent = true;
	if (step->end != K8S_END_HOLD)
		c->path[0] = '\0';
}

static void send_more(struct connection *c)
{
	const struct k8s_step *step = c->step;
	size_t len = strlen(step->body != NULL ? step->body : "") - c->sent;
	size_t n = step->piece != 0 && step->piece < len ? step->piece : len;

	send_chunk(c, (step->body != NULL ? step->body : "") + c->sent, n);
	c->sent += n;
	if (n == len)
		finish_body(c);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;

	if (c->step != NULL)
		send_more(c);
	else if (c->close_when_sent)
		connection_free(c);
}

static void answer(struct connection *c, const char *target)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	const struct k8s_step *step = next_step(c->server, target);

	snprintf(c->path, sizeof(c->path), "%.*s", (int)strcspn(target, "?"), target);
	if (step == NULL || step->end == K8S_END_STALL)
		return;
	evbuffer_add_printf(out, "HTTP/1.1 %d X\r\n", step->status != 0 ? step->status : 200);
	if (step->headers == NULL || strstr(step->headers, "Content-Type") == NULL)
		evbuffer_add_printf(out, "Content-Type: application/json\r\n");
	if (step->headers != NULL)
		evbuffer_add_printf(out, "%s", step->headers);
	if (step->framing == K8S_CHUNKED)
		evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
	else if (step->framing == K8S_LENGTH)
		evbuffer_add_printf(out, "Content-Length: %zu\r\n",
			strlen(step->body != NULL ? step->body : "") +
				(step->end == K8S_END_CUT ? 100 : 0));
	else
		evbuffer_add_printf(out, "Connection: close\r\n");
	evbuffer_add_printf(out, "\r\n");
	c->step = step;
	c->sent = 0;
	send_more(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct connection *c = arg;
	struct k8s_server *s = c->server;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	char *head, target[8192];
	const char *length;
	size_t size;

	if (end.pos < 0)
		return;
	size = (size_t)end.pos + 4;
	head = calloc(1, evbuffer_get_length(in) + 1);
	if (head == NULL)
		abort();
	evbuffer_copyout(in, head, evbuffer_get_length(in));
	length = strcasestr(head, "\r\nContent-Length:");
	if (length != NULL && length < head + size)
		size += strtoul(length + 17, NULL, 10);
	if (size > evbuffer_get_length(in)) {
		free(head);
		return;
	}
	evbuffer_drain(in, size);
	head[size] = '\0';
	if (sscanf(head, "%*s %8191s", target) != 1)
		target[0] = '\0';
	if (s->n_requests < REQUESTS_MAX)
		s->requests[s->n_requests++] = head;
	else
		free(head);
	answer(c, target);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	connection_free(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa,
	int len, void *arg)
{
	struct k8s_server *s = arg;
	struct connection *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->server = s;
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->next = s->connections;
	c->prev = &s->connections;
	if (c->next != NULL)
		c->next->prev = &c->next;
	s->connections = c;
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

struct k8s_server *k8s_server_new(struct event_base *base, const char *path)
{
	struct k8s_server *s = calloc(1, sizeof(*s));
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	if (s == NULL)
		abort();
	/* Clients hang up in the middle of an answer. */
	signal(SIGPIPE, SIG_IGN);
	s->base = base;
	snprintf(s->path, sizeof(s->path), "%s", path);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	unlink(path);
	s->listener = evconnlistener_new_bind(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE, 16,
		(struct sockaddr *)&sun, sizeof(sun));
	if (s->listener == NULL)
		abort();
	return s;
}

void k8s_server_drop(struct k8s_server *s)
{
	while (s->connections != NULL)
		connection_free(s->connections);
}

void k8s_server_free(struct k8s_server *s)
{
	k8s_server_drop(s);
	evconnlistener_free(s->listener);
	unlink(s->path);
	for (size_t i = 0; i < s->n_requests; i++)
		free(s->requests[i]);
	free(s);
}

void k8s_server_script(struct k8s_server *s, const struct k8s_step *steps, size_t n)
{
	if (s->n_steps + n > STEPS_MAX)
		abort();
	memcpy(&s->steps[s->n_steps], steps, n * sizeof(*steps));
	s->n_steps += n;
}

size_t k8s_server_unused(const struct k8s_server *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_steps; i++)
		n += !s->used[i];
	return n;
}

size_t k8s_server_requests(const struct k8s_server *s)
{
	return s->n_requests;
}

const char *k8s_server_request(const struct k8s_server *s, size_t i)
{
	return i < s->n_requests ? s->requests[i] : "";
}

const char *k8s_server_faults(const struct k8s_server *s)
{
	return s->faults;
}

void k8s_server_raw(struct k8s_server *s, const char *path, const char *text)
{
	for (struct connection *c = s->connections; c != NULL; c = c->next) {
		if (strcmp(c->path, path) == 0)
			bufferevent_write(c->bev, text, strlen(text));
	}
}

void k8s_server_push(struct k8s_server *s, const char *path, const char *text)
{
	for (struct connection *c = s->connections; c != NULL; c = c->next) {
		if (strcmp(c->path, path) == 0)
			send_chunk(c, text, strlen(text));
	}
}
