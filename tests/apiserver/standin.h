/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The stand-in as a whole: what its parts know of each other. One thread, one event loop; every
 * part is called from HTTP requests, timers or inotify on that loop.
 */
#pragma once

#include "fault.h"
#include "http.h"
#include "selector.h"
#include "store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct manifests;
struct synthetic;
struct reqlog;
struct held;
LIST_HEAD(held_list, held);

struct options {
	double bookmark_interval; /* seconds between bookmarks on a quiet watch */
	double rv_wait;           /* seconds before "too large resource version" */
	bool no_watchlist;
	bool manifest_defaults;
	const char *token_file; /* TCP requests must carry its content as bearer token */
};

struct standin {
	struct event_base *base;
	struct http_server *http;
	struct store store;
	struct faults faults;
	struct options opt;
	struct manifests *manifests;
	struct synthetic *synthetic;
	struct reqlog *log;
	struct held_list held;
	bool rv_waited; /* the request in hand has waited for its resource version */
	uint64_t events_sent;
	uint64_t bookmarks_sent;
};

/* what a path names */
struct route {
	struct table *table;
	char *ns;   /* NULL: not in the path */
	char *name; /* NULL: the collection */
	bool status;
};

/* api.c: every request that is none of the control paths */
void api_request(struct standin *si, struct http_conn *c, const struct http_request *req);
/* answers a request after some seconds, or (seconds < 0) when held requests are released */
void api_hold(struct standin *si, struct http_conn *c, double seconds, struct fault *fault);
/* answers what a stall holds back, but for stalls that were ordered as dead */
void api_release(struct standin *si);
/* the RV of a list or watch-list lies in the future: true when the request is held or answered */
bool api_wait_rv(struct standin *si, struct http_conn *c, uint64_t rv);

/* list.c, watch.c: GET on a collection. The fault may be NULL; a reference is taken if needed. */
void list_request(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *route, struct fault *fault);
void watch_request(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *route, struct fault *fault);
/* the selectors of a request; an answer was sent when this is not 0 */
int filter_from_request(struct http_conn *c, const struct http_request *req,
	const struct route *route, struct filter *f);
/* a change was recorded in the table */
void watch_changed(struct table *t);
/* arms a fault on the running watches of a table; they act on it at once when it is due */
void watch_arm(struct table *t, struct fault *fault);
/* lets stalled watches go on */
void watch_release(struct table *t);
/* ends the watches of a table in the regular way */
void watch_close(struct table *t);
size_t watch_count(const struct table *t);

/* write.c: POST, PUT, PATCH, DELETE */
void write_request(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *route);

/* discovery.c: /version, /api, /apis, ...; false when the path is none of these */
bool discovery_request(struct standin *si, struct http_conn *c, const struct http_request *req);

/* control.c: the paths that begin with /_ */
void control_request(struct standin *si, struct http_conn *c, const struct http_request *req);

/* defaults.c: what a real server fills in. Both change root in place. */
void defaults_metadata(
	struct standin *si, const struct table *t, json_t *root, const struct object *former);
void defaults_spec(const struct table *t, json_t *root, const struct object *former);

/* patch.c */
void patch_merge(json_t *target, const json_t *patch);
void patch_strategic(const struct resource *res, json_t *target, const json_t *patch);

/* status.c: answers */
void reply_json(struct http_conn *c, int code, const json_t *body);
void reply_object(struct http_conn *c, const struct http_request *req, int code,
	const struct object *o, const struct resource *res);
void reply_status(struct http_conn *c, int code, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void reply_not_found(struct http_conn *c, const struct resource *res, const char *name);
void reply_plain_404(struct http_conn *c);
json_t *status_object(int code, const char *reason, const char *message);
const char *status_reason(int code);
/* a reader with a browser or curl gets indented text, as from a real server */
bool wants_pretty(const struct http_request *req);
/* reindents what is in buf */
void make_pretty(struct evbuffer *buf);
