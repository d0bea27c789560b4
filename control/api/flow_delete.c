/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Ending flows: ids are collected here in slices, the control thread kills them batch by batch. The
 * answer is an acknowledgement: no worker is in the middle of a burst with such a flow, and no NIC
 * forwards by one. API thread, but for delete_run(). */

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/flow_scan.h"
#include "offload/offload.h"

#define KILL_BATCH 256
#define SETTLE_MS                                                                      \
	15000 /* longer than a NIC's flush takes at the worst; then the answer says so \
	       */

struct flow_delete {
	struct job job;
	struct api *api;
	struct http_request *req;
	struct flow_scan scan;
	struct event *turn;
	struct flow_delete *next, **prev; /* those without an answer */
	bool dry_run, at_end, only_one, settling;
	uint64_t killed;
	uint64_t ticket; /* of the offload thread */
	uint32_t stamp;  /* of the workers' grace period */
	uint32_t waited_ms;
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
	if (d->at_end && d->api->deps.offload != NULL) {
		d->stamp = grace_stamp(&d->api->deps.dp->grace);
		d->ticket = offload_revalidate(d->api->deps.offload);
		d->settling = true;
	}
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

static bool settled(const struct flow_delete *d)
{
	return !d->settling ||
		(grace_passed(&d->api->deps.dp->grace, d->stamp) &&
			offload_settled(d->api->deps.offload, d->ticket));
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
		jw_bool(&doc.w, "settled", settled(d));
		doc_send(&doc, 200);
	}
	delete_free(d);
}

/* Until what was killed acts nowhere. */
static void delete_settle(struct flow_delete *d)
{
	const struct timeval ms = {.tv_usec = 1000};

	if (settled(d) || d->waited_ms++ >= SETTLE_MS)
		delete_answer(d);
	else
		event_add(d->turn, &ms);
}

static void delete_done(struct job *j, bool cancelled)
{
	struct flow_delete *d = (struct flow_delete *)j;
	const struct timeval now = {0};

	d->n = 0;
	if (cancelled)
		delete_answer(d);
	else if (d->at_end)
		delete_settle(d);
	else
		event_add(d->turn, &now);
}

static void delete_turn(evutil_socket_t fd, short what, void *arg)
{
	struct flow_delete *d = arg;
	const struct timeval now = {0};
	enum scan_result r = SCAN_FOUND;
	struct flow_view v;

	if (d->at_end) {
		delete_settle(d);
		return;
	}
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
	if (d->n > 0 || (d->at_end && d->killed > 0))
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
	d->turn = event_new(d->api->base, -1, 0, delete_turn, d);
	if (d->turn == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		free(d);
		return NULL;
	}
	d->next = d->api->deletes;
	d->prev = &d->api->deletes;
	if (d->next != NULL)
		d->next->prev = &d->next;
	d->api->deletes = d;
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
		delete_free(d);
		return;
	}
	if (d->scan.filter.n == 0 && !all) {
		http_problem(req, 400, "BadRequest", "name a filter, or all=true for every flow");
		delete_free(d);
		return;
	}
	event_add(d->turn, &now);
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
