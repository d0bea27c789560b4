/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * From a request to its handler: authentication, path, verb, and the faults that concern any
 * request whatever it asks for. Requests that have to wait (stalls, delays, a resource version
 * from the future) are held here.
 */
#include "standin.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct held {
	LIST_ENTRY(held) link;
	struct standin *si;
	struct http_conn *conn;
	struct event *timer; /* NULL: until released */
	struct fault *fault;
	bool waited_rv;
};

static void serve(struct standin *si, struct http_conn *c, struct fault *fault, bool waited_rv);

/* ---- held requests ---- */

static void held_free(struct held *h)
{
	LIST_REMOVE(h, link);
	if (h->timer)
		event_free(h->timer);
	fault_put(h->fault);
	free(h);
}

static void held_closed(void *arg)
{
	held_free(arg);
}

static void held_resume(struct held *h)
{
	struct standin *si = h->si;
	struct http_conn *c = h->conn;
	bool waited_rv = h->waited_rv;

	http_watch_conn(c, NULL, NULL, NULL);
	held_free(h);
	serve(si, c, NULL, waited_rv);
}

static void held_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	held_resume(arg);
}

static struct held *hold(
	struct standin *si, struct http_conn *c, double seconds, struct fault *fault)
{
	struct held *h = xcalloc(1, sizeof(*h));
	struct timeval tv = {.tv_sec = (time_t)seconds,
		.tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};

	h->si = si;
	h->conn = c;
	h->fault = fault_get(fault);
	LIST_INSERT_HEAD(&si->held, h, link);
	http_watch_conn(c, NULL, held_closed, h);
	if (seconds >= 0) {
		h->timer = evtimer_new(si->base, held_due, h);
		evtimer_add(h->timer, &tv);
	}
	return h;
}

void api_hold(struct standin *si, struct http_conn *c, double seconds, struct fault *fault)
{
	hold(si, c, seconds, fault);
}

void api_release(struct standin *si)
{
	struct held *h, *next;

	/* a resumed request may be held anew by its list, at the head of the list */
	for (h = LIST_FIRST(&si->held); h; h = next) {
		next = LIST_NEXT(h, link);
		if (!h->timer && !(h->fault && h->fault->dead))
			held_resume(h);
	}
}

static void reply_rv_too_large(struct http_conn *c, uint64_t rv, uint64_t now)
{
	char message[96];
	json_t *status;

	snprintf(message, sizeof(message), "Too large resource version: %llu, current: %llu",
		(unsigned long long)rv, (unsigned long long)now);
	status = status_object(504, "Timeout", message);
	json_object_set_new(status, "details",
		json_pack("{s:[{s:s, s:s}], s:i}", "causes", "reason", "ResourceVersionTooLarge",
			"message", "Too large resource version", "retryAfterSeconds", 1));
	http_add_header(c, "Retry-After", "1");
	reply_json(c, 504, status);
	json_decref(status);
}

bool api_wait_rv(struct standin *si, struct http_conn *c, uint64_t rv)
{
	if (rv <= si->store.rv)
		return false;
	if (si->rv_waited || si->opt.rv_wait <= 0)
		reply_rv_too_large(c, rv, si->store.rv);
	else
		hold(si, c, si->opt.rv_wait, NULL)->waited_rv = true;
	return true;
}

/* ---- paths ---- */

static void route_fini(struct route *r)
{
	free(r->ns);
	free(r->name);
}

/* the next segment of the path, decoded by nobody: object names need no escapes */
static char *segment(const char **p)
{
	size_t n;
	char *s;

	if (**p == '/')
		(*p)++;
	n = strcspn(*p, "/");
	if (!n)
		return NULL;
	s = strndup(*p, n);
	*p += n;
	return s;
}

/* what follows /api/v1 or /apis/group/version */
static bool route_tail(
	struct standin *si, const char *group, const char *version, const char *p, struct route *r)
{
	char *first = segment(&p), *second = segment(&p), *third = segment(&p);
	int index;
	bool ok = false;

	if (first && third && !strcmp(first, "namespaces") &&
		resource_by_plural(group, version, third) >= 0) {
		/* namespaces/<ns>/<resource>... */
		free(first);
		r->ns = second;
		first = third;
		second = segment(&p);
		third = segment(&p);
	}
	index = first ? resource_by_plural(group, version, first) : -1;
	if (index >= 0 && si->store.tables[index].served && !*p) {
		r->table = &si->store.tables[index];
		r->name = second;
		second = NULL;
		r->status = third && !strcmp(third, "status") && r->table->res->has_status;
		ok = (!third || r->status) && (!r->ns || r->table->res->namespaced) &&
			(!r->name || r->ns || !r->table->res->namespaced);
	}
	free(first);
	free(second);
	free(third);
	return ok;
}

static bool route_parse(struct standin *si, const char *path, struct route *r)
{
	char *group = NULL, *version = NULL;
	bool ok = false;

	memset(r, 0, sizeof(*r));
	if (!strncmp(path, "/api/v1/", 8)) {
		ok = route_tail(si, "", "v1", path + 7, r);
	} else if (!strncmp(path, "/apis/", 6)) {
		path += 5;
		group = segment(&path);
		version = segment(&path);
		ok = group && version && route_tail(si, group, version, path, r);
	}
	free(group);
	free(version);
	return ok;
}

static bool path_unclean(const char *path)
{
	size_t n = strlen(path);

	return strstr(path, "//") || strstr(path, "/./") || strstr(path, "/../") ||
		(n >= 2 && !strcmp(path + n - 2, "/.")) || (n >= 3 && !strcmp(path + n - 3, "/.."));
}

/* ---- verbs and their faults ---- */

static bool wants_watch(const struct http_request *req)
{
	const char *w = http_query(req, "watch");

	return w && strcmp(w, "0") && strcmp(w, "false");
}

static const char *verb_of(const struct http_request *req, const struct route *r)
{
	if (!strcmp(req->method, "GET")) {
		if (wants_watch(req))
			return "watch";
		return r->name ? "get" : "list";
	}
	if (!strcmp(req->method, "POST"))
		return "create";
	if (!strcmp(req->method, "PUT"))
		return "update";
	if (!strcmp(req->method, "PATCH"))
		return "patch";
	return !strcmp(req->method, "DELETE") ? "delete" : NULL;
}

static void fault_status(struct http_conn *c, const struct fault *f)
{
	json_t *status = status_object(f->code, f->reason, *f->text ? f->text : "injected fault");
	json_t *details = json_object();
	char seconds[16];

	if (*f->cause)
		json_object_set_new(details, "causes",
			json_pack("[{s:s, s:s}]", "reason", f->cause, "message", f->cause));
	if (f->kind == FAULT_TOO_MANY_REQUESTS) {
		snprintf(seconds, sizeof(seconds), "%u", f->retry_after);
		http_add_header(c, "Retry-After", seconds);
		json_object_set_new(
			details, "retryAfterSeconds", json_integer((json_int_t)f->retry_after));
	}
	if (json_object_size(details))
		json_object_set(status, "details", details);
	json_decref(details);
	reply_json(c, f->code, status);
	json_decref(status);
}

static void fault_text(struct http_conn *c, const struct fault *f)
{
	static const char dial[] = "dial tcp 127.0.0.1:6443: connect: connection refused\n";
	const char *text = *f->text ? f->text : dial;

	http_reply(c, f->code, "text/plain; charset=utf-8", text, strlen(text));
}

/* faults that shape the bytes of an otherwise right answer */
static void fault_shape(struct http_conn *c, const struct fault *f)
{
	if (f->kind == FAULT_WARNING)
		http_add_header(
			c, "Warning", *f->text ? f->text : "299 - \"this API is a stand-in\"");
	else if (f->kind == FAULT_UNFRAMED)
		http_set_unframed(c);
	else if (f->kind == FAULT_SLOW && !f->after_events)
		http_set_rate(c, f->bytes_per_second);
	else if (f->kind == FAULT_SPLIT && !f->after_events)
		http_set_split(c);
}

/* true when the fault was the answer */
static bool fault_answers(
	struct standin *si, struct http_conn *c, const struct http_request *req, struct fault *f)
{
	bool watch = wants_watch(req);

	switch (f->kind) {
	case FAULT_TOO_MANY_REQUESTS:
	case FAULT_STATUS:
		fault_status(c, f);
		return true;
	case FAULT_ERROR_TEXT:
		fault_text(c, f);
		return true;
	case FAULT_BODY:
		http_reply(c, f->code, "application/json", f->text, strlen(f->text));
		return true;
	case FAULT_GONE:
		if ((watch && !f->as_http) || f->fresh_continue)
			return false;
		fault_status(c, f);
		return true;
	case FAULT_DELAY_HEADERS:
		if (f->seconds <= 0)
			return false;
		api_hold(si, c, f->seconds, f);
		return true;
	case FAULT_DROP:
		if (!watch)
			http_cut(c);
		return !watch;
	case FAULT_STALL:
		if (!watch)
			api_hold(si, c, -1, f);
		return !watch;
	default:
		fault_shape(c, f);
		return false;
	}
}

static bool accepts_json(const struct http_request *req)
{
	const char *accept = http_header(req, "Accept");

	return !accept || !*accept || strstr(accept, "application/json") || strstr(accept, "*/*") ||
		strstr(accept, "application/*");
}

static bool authorised(const struct standin *si, const struct http_request *req)
{
	const char *auth = http_header(req, "Authorization");
	char token[4096] = "";
	FILE *f;

	if (!si->opt.token_file || !req->tcp)
		return true;
	/* read each time: tokens are rotated by replacing the file */
	f = fopen(si->opt.token_file, "r");
	if (!f)
		return false;
	if (!fgets(token, sizeof(token), f))
		*token = '\0';
	fclose(f);
	token[strcspn(token, "\r\n")] = '\0';
	return *token && auth && !strncmp(auth, "Bearer ", 7) && !strcmp(auth + 7, token);
}

static void serve_get(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r, struct fault *fault)
{
	const struct object *o;

	if (wants_watch(req)) {
		watch_request(si, c, req, r, fault);
	} else if (!r->name) {
		list_request(si, c, req, r, fault);
	} else {
		o = store_find(r->table, r->ns ? r->ns : "", r->name);
		if (o)
			reply_object(c, req, 200, o, r->table->res);
		else
			reply_not_found(c, r->table->res, r->name);
	}
}

static void serve(struct standin *si, struct http_conn *c, struct fault *fault, bool waited_rv)
{
	const struct http_request *req = http_conn_request(c);
	struct route r;

	if (!route_parse(si, req->path, &r)) {
		if (!discovery_request(si, c, req))
			reply_plain_404(c);
	} else if (!verb_of(req, &r)) {
		reply_status(c, 405, NULL, "the server does not allow this method");
	} else if (!accepts_json(req)) {
		reply_status(c, 406, NULL, "only application/json is served");
	} else if (!strcmp(req->method, "GET")) {
		si->rv_waited = waited_rv;
		serve_get(si, c, req, &r, fault);
		si->rv_waited = false;
	} else {
		write_request(si, c, req, &r);
	}
	route_fini(&r);
}

static struct fault *take_fault(struct standin *si, const struct http_request *req)
{
	struct route r;
	struct fault *f;
	const char *verb;

	if (route_parse(si, req->path, &r)) {
		verb = verb_of(req, &r);
		f = faults_take(&si->faults, r.table->res->plural, verb ? verb : "",
			http_query(req, "continue"));
	} else {
		f = faults_take(&si->faults, "", "", false);
	}
	route_fini(&r);
	return f;
}

void api_request(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	struct fault *f;

	if (!authorised(si, req)) {
		reply_status(c, 401, NULL, "Unauthorized");
		return;
	}
	if (path_unclean(req->path)) {
		http_add_header(c, "Location", "/");
		http_reply(c, 301, "text/html; charset=utf-8", "", 0);
		return;
	}
	f = take_fault(si, req);
	if (!f || !fault_answers(si, c, req, f))
		serve(si, c, f, false);
	fault_put(f);
}
