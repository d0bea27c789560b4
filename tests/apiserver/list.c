/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * GET on a collection without watch: which version is asked for, which page of it, and the
 * sending of it. A list is sent from a snapshot, piece by piece as the socket takes it; a short one
 * goes out at once with its length.
 */
#include "standin.h"
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PIECE = 256 << 10
};

/* ends in characters that must be percent-encoded, so that a client which forgets it fails */
#define TOKEN_END "/+="

struct list {
	struct standin *si;
	struct http_conn *conn;
	const struct resource *res;
	struct filter filter;
	struct snapshot *snap;
	uint64_t rv;
	size_t pos, end;
	bool first_item;
	bool streaming;
	struct evbuffer *piece;
};

struct list_query {
	const char *rv, *match, *token;
	uint64_t rv_value;
	uint64_t limit;
	char *start_key; /* from the token; NULL: from the beginning */
	bool exact;
};

static void list_free(struct list *l)
{
	filter_fini(&l->filter);
	snapshot_put(l->snap);
	evbuffer_free(l->piece);
	free(l);
}

static void list_closed(void *arg)
{
	list_free(arg);
}

int filter_from_request(struct http_conn *c, const struct http_request *req,
	const struct route *route, struct filter *f)
{
	char *error = NULL;

	memset(f, 0, sizeof(*f));
	if (selector_parse_labels(http_query(req, "labelSelector"), &f->labels, &error) ||
		selector_parse_fields(
			http_query(req, "fieldSelector"), route->table->res, &f->fields, &error)) {
		reply_status(c, 400, NULL, "%s", error);
		free(error);
		filter_fini(f);
		return -EINVAL;
	}
	if (route->ns)
		f->ns = xstrdup(route->ns);
	if (route->name)
		f->name = xstrdup(route->name);
	return 0;
}

/* tokens are opaque to clients; here: version, then the last key of the page */
static char *make_token(uint64_t rv, const char *key)
{
	return xasprintf("%llu/%s" TOKEN_END, (unsigned long long)rv, key);
}

static int parse_token(struct list_query *q)
{
	size_t n = strlen(q->token), end = strlen(TOKEN_END);
	char number[24];
	size_t digits = strcspn(q->token, "/");

	if (n < digits + 1 + end || digits >= sizeof(number) ||
		strcmp(q->token + n - end, TOKEN_END))
		return -EINVAL;
	memcpy(number, q->token, digits);
	number[digits] = '\0';
	q->start_key = strndup(q->token + digits + 1, n - digits - 1 - end);
	return parse_rv(number, &q->rv_value);
}

static int refuse(struct http_conn *c, int code, const char *message)
{
	reply_status(c, code, NULL, "%s", message);
	return -EINVAL;
}

static int check_match(struct http_conn *c, const struct list_query *q)
{
	if (!*q->match)
		return 0;
	if (*q->token)
		return refuse(c, 422, "resourceVersionMatch is forbidden with continue");
	if (!*q->rv)
		return refuse(c, 422, "resourceVersionMatch needs a resourceVersion");
	if (!strcmp(q->match, "NotOlderThan"))
		return 0;
	if (strcmp(q->match, "Exact"))
		return refuse(c, 422, "resourceVersionMatch must be Exact or NotOlderThan");
	if (!strcmp(q->rv, "0"))
		return refuse(c, 422, "resourceVersionMatch Exact is forbidden with version 0");
	return 0;
}

static const char *query_or_empty(const struct http_request *req, const char *name)
{
	const char *v = http_query(req, name);

	return v ? v : "";
}

static int parse_query(struct http_conn *c, const struct http_request *req, struct list_query *q)
{
	const char *limit = query_or_empty(req, "limit");

	q->rv = query_or_empty(req, "resourceVersion");
	q->match = query_or_empty(req, "resourceVersionMatch");
	q->token = query_or_empty(req, "continue");
	if (http_query(req, "sendInitialEvents"))
		return refuse(c, 422, "sendInitialEvents is forbidden for list");
	if (*limit && parse_rv(limit, &q->limit))
		return refuse(c, 400, "limit is not a number");
	if (check_match(c, q))
		return -EINVAL;
	if (*q->token) {
		if (*q->rv && strcmp(q->rv, "0"))
			return refuse(c, 400, "resourceVersion is not allowed with continue");
		if (parse_token(q))
			return refuse(c, 400, "continue key is not valid");
		q->exact = true;
		return 0;
	}
	if (*q->rv && parse_rv(q->rv, &q->rv_value))
		return refuse(c, 400, "resourceVersion is not a number");
	q->exact = q->rv_value && (!strcmp(q->match, "Exact") || (!*q->match && q->limit));
	/* the cache of a real server sends everything when any version will do */
	if (*q->rv && !q->rv_value)
		q->limit = 0;
	return 0;
}

static void reply_expired(
	struct standin *si, struct http_conn *c, const struct list_query *q, bool fresh)
{
	json_t *status = status_object(410, "Expired",
		*q->token
			? "The provided continue parameter is too old to display a consistent list "
			  "result."
			: "The resourceVersion for the provided list is too old.");

	if (fresh && q->start_key) {
		char *token = make_token(si->store.rv, q->start_key);

		json_object_set_new(
			json_object_get(status, "metadata"), "continue", json_string(token));
		free(token);
	}
	reply_json(c, 410, status);
	json_decref(status);
}

/* finds the last item of the page; says how many more would match, and the token for them */
static char *cut_page(struct list *l, uint64_t limit, size_t *remaining)
{
	size_t taken = 0, last = l->pos;

	*remaining = 0;
	l->end = l->snap->n;
	if (!limit)
		return NULL;
	for (size_t i = l->pos; i < l->snap->n; i++) {
		if (!filter_match(&l->filter, l->snap->items[i]))
			continue;
		if (taken < limit) {
			taken++;
			last = i;
		} else {
			(*remaining)++;
		}
	}
	if (!*remaining)
		return NULL;
	l->end = last + 1;
	return make_token(l->rv, l->snap->items[last]->key);
}

static void write_list_head(struct list *l, uint64_t limit)
{
	char version[64];
	size_t remaining;
	char *token = cut_page(l, limit, &remaining);

	evbuffer_add_printf(l->piece,
		"{\"kind\":\"%sList\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%llu\"",
		l->res->kind, resource_api_version(l->res, version, sizeof(version)),
		(unsigned long long)l->rv);
	if (token) {
		evbuffer_add_printf(l->piece, ",\"continue\":\"%s\"", token);
		if (!l->filter.labels.n && !l->filter.fields.n)
			evbuffer_add_printf(l->piece, ",\"remainingItemCount\":%zu", remaining);
	}
	evbuffer_add_printf(l->piece, "},\"items\":[");
	free(token);
}

/* false when the list is complete */
static bool fill_piece(struct list *l, size_t max)
{
	while (l->pos < l->end) {
		const struct object *o = l->snap->items[l->pos];

		if (evbuffer_get_length(l->piece) >= max)
			return true;
		l->pos++;
		if (!filter_match(&l->filter, o))
			continue;
		if (!l->first_item)
			evbuffer_add(l->piece, ",", 1);
		l->first_item = false;
		object_write(o, l->res, o->rv, false, l->piece);
	}
	evbuffer_add(l->piece, "]}\n", 3);
	return false;
}

static void list_writable(void *arg)
{
	struct list *l = arg;
	struct http_conn *c = l->conn;
	bool more = fill_piece(l, PIECE);

	http_stream_chunk(c, l->piece);
	if (more)
		return;
	http_watch_conn(c, NULL, NULL, NULL);
	list_free(l);
	http_stream_finish(c);
}

static void send_whole(struct list *l, bool pretty, const struct fault *fault)
{
	static const char type[] = "application/json";

	fill_piece(l, SIZE_MAX);
	if (pretty)
		make_pretty(l->piece);
	if (fault && fault->kind == FAULT_TRUNCATE)
		http_reply_part(l->conn, 200, type, l->piece, evbuffer_get_length(l->piece) / 2);
	else
		http_reply_buffer(l->conn, 200, type, l->piece);
	list_free(l);
}

static void send_list(
	struct list *l, const struct http_request *req, uint64_t limit, const struct fault *fault)
{
	bool pretty = wants_pretty(req);
	bool chunked = fault && fault->kind == FAULT_CHUNKED;
	bool more;

	write_list_head(l, limit);
	if (pretty || (fault && fault->kind == FAULT_TRUNCATE)) {
		send_whole(l, pretty, fault);
		return;
	}
	more = fill_piece(l, PIECE);
	if (!more && !chunked) {
		http_reply_buffer(l->conn, 200, "application/json", l->piece);
		list_free(l);
		return;
	}
	http_stream_begin(l->conn, 200, "application/json");
	http_stream_chunk(l->conn, l->piece);
	if (more) {
		http_watch_conn(l->conn, list_writable, list_closed, l);
		return;
	}
	http_stream_finish(l->conn);
	list_free(l);
}

void list_request(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *route, struct fault *fault)
{
	struct list_query q = {0};
	struct list *l = NULL;
	uint64_t rv;

	if (parse_query(c, req, &q))
		goto out;
	if (api_wait_rv(si, c, q.rv_value))
		goto out;
	if (fault && fault->kind == FAULT_GONE) {
		reply_expired(si, c, &q, true);
		goto out;
	}
	rv = q.exact ? q.rv_value : si->store.rv;
	if (fault && fault->kind == FAULT_STALE && !q.exact)
		rv = fault->rv;
	l = xcalloc(1, sizeof(*l));
	l->si = si;
	l->conn = c;
	l->res = route->table->res;
	l->rv = rv;
	l->first_item = true;
	l->piece = evbuffer_new();
	if (filter_from_request(c, req, route, &l->filter)) {
		list_free(l);
		goto out;
	}
	if (store_snapshot(&si->store, route->table, rv, &l->snap)) {
		reply_expired(si, c, &q, true);
		list_free(l);
		goto out;
	}
	if (q.start_key)
		l->pos = snapshot_after(l->snap, q.start_key);
	send_list(l, req, q.limit, fault);
out:
	free(q.start_key);
}
