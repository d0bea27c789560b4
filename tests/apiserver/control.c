/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The control paths, which begin with /_ and which no real API server has: order and clear faults,
 * compact the history, end watches, read the request log and the numbers, start churn.
 */
#include "manifest.h"
#include "reqlog.h"
#include "standin.h"
#include "synthetic.h"
#include "util.h"

#include <stdlib.h>
#include <string.h>

static void reply_free(struct http_conn *c, int code, json_t *body)
{
	reply_json(c, code, body);
	json_decref(body);
}

static void reply_done(struct http_conn *c)
{
	reply_free(c, 200, json_pack("{s:b}", "ok", 1));
}

/* the tables that ?resource= names, all without it; false when the name is unknown */
static bool pick_tables(struct standin *si, struct http_conn *c, const struct http_request *req,
	struct table **only)
{
	const char *name = http_query(req, "resource");
	int index;

	*only = NULL;
	if (!name)
		return true;
	index = resource_by_name(name);
	if (index < 0) {
		reply_status(c, 400, NULL, "resource: unknown resource '%s'", name);
		return false;
	}
	*only = &si->store.tables[index];
	return true;
}

/* ---- faults ---- */

static void accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct standin *si = arg;

	(void)fd;
	(void)what;
	http_accept_again(si->http);
}

static void refuse_connections(struct standin *si, struct http_conn *c, const struct fault *f)
{
	struct timeval tv = {.tv_sec = (time_t)f->seconds,
		.tv_usec = (suseconds_t)((f->seconds - (double)(time_t)f->seconds) * 1e6)};

	http_refuse(si->http, f->unlink);
	if (f->running)
		http_drop_all(si->http, c);
	if (f->seconds > 0)
		event_base_once(si->base, -1, EV_TIMEOUT, accept_again, si, &tv);
}

static size_t arm_running(struct standin *si, struct fault *f)
{
	size_t armed = 0;

	for (int i = 0; i < RESOURCE_COUNT; i++) {
		struct table *t = &si->store.tables[i];

		if (!fault_matches(f, t->res->plural, "watch"))
			continue;
		armed += watch_count(t);
		watch_arm(t, f);
	}
	return armed;
}

static void post_fault(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	json_t *body = json_loadb(req->body ? req->body : "", req->body_len, JSON_ALLOW_NUL, NULL);
	struct fault *f;
	char *error = NULL;
	size_t armed = 0;

	if (fault_from_json(body, &f, &error)) {
		reply_status(c, 400, NULL, "%s", error);
		free(error);
	} else if (f->kind == FAULT_REFUSE) {
		refuse_connections(si, c, f);
		fault_put(f);
		reply_done(c);
	} else {
		faults_add(&si->faults, f);
		if (f->running)
			armed = arm_running(si, f);
		reply_free(c, 200, json_pack("{s:i}", "watches", (int)armed));
	}
	json_decref(body);
}

static void delete_faults(struct standin *si, struct http_conn *c)
{
	faults_clear(&si->faults);
	for (int i = 0; i < RESOURCE_COUNT; i++)
		watch_release(&si->store.tables[i]);
	api_release(si);
	http_accept_again(si->http);
	reply_done(c);
}

static void fault_path(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	if (!strcmp(req->method, "POST"))
		post_fault(si, c, req);
	else if (!strcmp(req->method, "DELETE"))
		delete_faults(si, c);
	else
		reply_free(c, 200, faults_json(&si->faults));
}

/* ---- history, log, numbers ---- */

static void compact_path(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	struct table *only;

	if (!pick_tables(si, c, req, &only))
		return;
	store_compact(&si->store, only);
	reply_done(c);
}

static void close_watches_path(
	struct standin *si, struct http_conn *c, const struct http_request *req)
{
	struct table *only;

	if (!pick_tables(si, c, req, &only))
		return;
	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (!only || only == &si->store.tables[i])
			watch_close(&si->store.tables[i]);
	reply_done(c);
}

static void log_path(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	const char *since = http_query(req, "since");

	if (!strcmp(req->method, "DELETE")) {
		reqlog_clear(si->log);
		reply_done(c);
		return;
	}
	reply_free(c, 200, reqlog_json(si->log, since ? strtoull(since, NULL, 10) : 0));
}

static json_t *rv_string(uint64_t rv)
{
	json_t *s;
	char *text = xasprintf("%llu", (unsigned long long)rv);

	s = json_string(text);
	free(text);
	return s;
}

static void stats_path(struct standin *si, struct http_conn *c)
{
	json_t *tables = json_object();

	for (int i = 0; i < RESOURCE_COUNT; i++) {
		const struct table *t = &si->store.tables[i];

		json_object_set_new(tables, t->res->plural,
			json_pack("{s:b, s:i, s:i, s:i, s:o}", "served", t->served, "objects",
				(int)t->n, "watches", (int)watch_count(t), "history",
				(int)(t->next_seq - t->first_seq), "compactedVersion",
				rv_string(t->compacted_rv)));
	}
	reply_free(c, 200,
		json_pack("{s:o, s:I, s:I, s:I, s:i, s:i, s:o}", "resourceVersion",
			rv_string(si->store.rv), "requests", (json_int_t)reqlog_total(si->log),
			"events", (json_int_t)si->events_sent, "bookmarks",
			(json_int_t)si->bookmarks_sent, "connections",
			(int)http_connections(si->http), "brokenManifests",
			(int)manifests_broken(si->manifests), "resources", tables));
}

void control_request(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	const char *path = req->path;
	bool post = !strcmp(req->method, "POST");

	if (!strcmp(path, "/_fault"))
		fault_path(si, c, req);
	else if (!strcmp(path, "/_compact") && post)
		compact_path(si, c, req);
	else if (!strcmp(path, "/_closewatches") && post)
		close_watches_path(si, c, req);
	else if (!strcmp(path, "/_log"))
		log_path(si, c, req);
	else if (!strcmp(path, "/_stats"))
		stats_path(si, c);
	else if (!strcmp(path, "/_churn"))
		synthetic_request(si, c, req);
	else
		reply_plain_404(c);
}
