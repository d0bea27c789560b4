/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Ending flows: ids are collected here in slices, the control thread kills them batch by batch.
 * API thread, but for delete_run(). */

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/flow_scan.h"

#define KILL_BATCH 256

struct flow_delete {
	struct job job;
	struct api *api;
	struct http_request *req;
	struct flow_scan scan;
	struct event *turn;
	struct flow_delete *next, **prev; /* those that still scan */
	bool dry_run, at_end, only_one;
	uint64_t killed;
	uint32_t n;
	struct {
		enum ip_family family;
		uint32_t entry, generation;
	} victim[KILL_BATCH];
};

static void delete_run(struct job *j)
{
	struct flow_delete *d = (struct flow_delete *)j;

	for (uint32_t i = 0; i < d->n; i++)
		d->killed += flow_kill_id(d->api->deps.dp->flows, d->victim[i].family,
			d->victim[i].entry, d->victim[i].generation);
}

static void delete_free(struct flow_delete *d)
{
	if (d->prev != NULL) {
		*d->prev = d->next;
		if (d->next != NULL)
			d->next->prev = d->prev;
	}
	if (d->turn != NULL)
		event_free(d->turn);
	free(d);
}

void api_flows_fini(struct api *a)
{
	/* Their requests end with the server. */
	while (a->deletes != NULL)
		delete_free(a->deletes);
	free(a->flow_names);
}

static void delete_answer(struct flow_delete *d)
{
	struct doc doc;

	if (d->only_one && d->killed == 0 && !d->dry_run) {
		http_problem(d->req, 404, "NotFound", "the flow has ended");
	} else if (doc_begin(&doc, d->req)) {
		jw_string(&doc.w, "kind", "FlowDeletion");
		jw_counter(&doc.w, "matched", d->scan.matched);
		jw_counter(&doc.w, "deleted", d->killed);
		jw_bool(&doc.w, "dryRun", d->dry_run);
		doc_send(&doc, 200);
	}
	delete_free(d);
}

static void delete_done(struct job *j, bool cancelled)
{
	struct flow_delete *d = (struct flow_delete *)j;
	const struct timeval now = {0};

	d->n = 0;
	if (cancelled || d->at_end)
		delete_answer(d);
	else
		event_add(d->turn, &now);
}

static void delete_turn(evutil_socket_t fd, short what, void *arg)
{
	struct flow_delete *d = arg;
	const struct timeval now = {0};
	enum scan_result r = SCAN_FOUND;
	struct flow_view v;

	while (d->n < KILL_BATCH) {
		r = flow_scan_next(&d->scan, http_now_us() + HTTP_SLICE_US, false, &v);
		if (r != SCAN_FOUND)
			break;
		if (d->dry_run)
			continue;
		d->victim[d->n].family = v.family;
		d->victim[d->n].entry = v.entry;
		d->victim[d->n].generation = v.meta.generation;
		d->n++;
	}
	d->at_end = r == SCAN_END;
	if (d->n > 0)
		handoff_submit(d->api->handoff, &d->job);
	else if (d->at_end)
		delete_answer(d);
	else
		event_add(d->turn, &now);
}

static struct flow_delete *delete_new(struct http_request *req)
{
	struct flow_delete *d = calloc(1, sizeof(*d));

	if (d == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return NULL;
	}
	d->job.run = delete_run;
	d->job.done = delete_done;
	d->api = api_of(req);
	d->req = req;
	return d;
}

void flows_delete(struct http_request *req)
{
	static const char *const extra[] = {"all", "dryRun", NULL};
	const char *dry = query_get(&req->query, "dryRun");
	const struct timeval now = {0};
	struct query_error err;
	struct flow_delete *d;
	bool all;

	if (!flow_check_query(req, extra))
		return;
	if (query_bool(&req->query, "all", false, &all, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	if (dry != NULL && strcmp(dry, "All") != 0) {
		http_problem(req, 400, "BadRequest", "parameter dryRun must be All");
		return;
	}
	d = delete_new(req);
	if (d == NULL)
		return;
	d->dry_run = dry != NULL;
	if (!flow_scan_init(&d->scan, req)) {
		free(d);
		return;
	}
	if (d->scan.filter.n == 0 && !all) {
		http_problem(req, 400, "BadRequest", "name a filter, or all=true for every flow");
		free(d);
		return;
	}
	d->turn = event_new(d->api->base, -1, 0, delete_turn, d);
	if (d->turn == NULL || event_add(d->turn, &now) < 0) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		if (d->turn != NULL)
			event_free(d->turn);
		free(d);
		return;
	}
	d->next = d->api->deletes;
	d->prev = &d->api->deletes;
	if (d->next != NULL)
		d->next->prev = &d->next;
	d->api->deletes = d;
}

void flow_delete_one(struct http_request *req, const struct flow_view *v)
{
	struct flow_delete *d;

	d = delete_new(req);
	if (d == NULL)
		return;
	d->scan.matched = 1;
	d->at_end = true;
	d->only_one = true;
	d->n = 1;
	d->victim[0].family = v->family;
	d->victim[0].entry = v->entry;
	d->victim[0].generation = v->meta.generation;
	handoff_submit(d->api->handoff, &d->job);
}
