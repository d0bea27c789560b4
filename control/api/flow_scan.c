/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Flows found one by one (see flow_scan.h).
 *
 * The walk goes over the entries by number, not over the index: an entry keeps its number while it
 * lives, so a flow alive for the whole walk is met exactly once, and the position is one number.
 * Entries are copied without a lock; ten million are not felt by a worker. API thread. */

#include <stdlib.h>
#include <string.h>

#include "control/api/flow_scan.h"
#include "control/api/offload.h"
#include "control/reconcile.h"
#include "io/rim.h"
#include "offload/offload.h"

/* A page ends behind so many entries or so much time, found or not, with a cursor to go on. */
#define FLOW_SCAN_ENTRIES 1000000
#define FLOW_SCAN_US      100000
/* Between two looks at the clock. */
#define FLOW_SCAN_BATCH 256

/* --- names ----------------------------------------------------------------------------------- */

/* Of service ports: a walk over a million flows asks for the same few again and again. */
#define NAME_CACHE    512
#define NAME_CACHE_MS 1000

struct flow_names {
	struct api *api;
	struct {
		uint32_t id;
		int64_t until_ms;
		char name[340];
	} at[NAME_CACHE];
};

static struct flow_names *names_of(struct api *a)
{
	if (a->flow_names == NULL) {
		a->flow_names = calloc(1, sizeof(*a->flow_names));
		if (a->flow_names != NULL)
			a->flow_names->api = a;
	}
	return a->flow_names;
}

const char *flow_service_name(void *arg, uint32_t id)
{
	struct api *a = arg;
	struct flow_names *names = names_of(a);
	int64_t now = api_now_ms();
	uint32_t slot = id % NAME_CACHE;

	if (id == 0 || names == NULL)
		return NULL;
	if (names->at[slot].id != id || now >= names->at[slot].until_ms) {
		names->at[slot].id = id;
		names->at[slot].until_ms = now + NAME_CACHE_MS;
		if (!reconcile_service_name(a->deps.reconciler, id, names->at[slot].name,
			    sizeof(names->at[slot].name)))
			names->at[slot].name[0] = '\0';
	}
	return names->at[slot].name[0] != '\0' ? names->at[slot].name : NULL;
}

static const char *vport_name(void *arg, uint16_t id)
{
	return api_vport_name(arg, id);
}

/* --- the walk -------------------------------------------------------------------------------- */

enum scan_result flow_scan_next(
	struct flow_scan *s, int64_t deadline_us, bool budget, struct flow_view *out)
{
	struct flow_table *t = s->api->deps.dp->flows;
	uint32_t until_clock = FLOW_SCAN_BATCH;

	if (s->limit != 0 && s->matched >= s->limit)
		return SCAN_LIMIT;
	while (s->family < IP_FAMILIES) {
		enum ip_family f = (enum ip_family)s->family;
		uint32_t end = flow_filter_family(&s->filter, f) ? flow_capacity(t, f) : 0;

		while (s->entry < end) {
			if (until_clock-- == 0) {
				until_clock = FLOW_SCAN_BATCH;
				if (http_now_us() >= deadline_us)
					return SCAN_SLICE;
			}
			if (budget &&
				(s->scanned >= FLOW_SCAN_ENTRIES || s->busy_us >= FLOW_SCAN_US))
				return SCAN_BUDGET;
			s->scanned++;
			s->api->scanned++;
			if (flow_read(t, f, s->entry++, out) < 0 ||
				!flow_filter_match(&s->filter, out, s->now_ms))
				continue;
			s->matched++;
			return SCAN_FOUND;
		}
		s->family++;
		s->entry = 0;
	}
	return SCAN_END;
}

static unsigned offload_places(
	void *arg, const struct flow_view *v, uint32_t now_ms, uint8_t why[2])
{
	struct offload_flow flow;
	unsigned in = 0;

	api_offload_flow(arg, v, now_ms, &flow);
	for (int d = 0; d < 2; d++) {
		why[d] = (uint8_t)flow.leg[d].reason;
		in |= (unsigned)api_offload_in_hardware(&flow.leg[d]) << d;
		in |= (unsigned)(flow.leg[d].state == OFFLOAD_PARTIAL) << (2 + d);
	}
	return in;
}

bool flow_scan_init(struct flow_scan *s, struct http_request *req)
{
	struct query_error err;

	memset(s, 0, sizeof(*s));
	s->api = api_of(req);
	s->now_ms = rim_now_ms(s->api->deps.rim);
	if (flow_filter_parse(&req->query, &s->filter, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return false;
	}
	s->filter.service_name = flow_service_name;
	s->filter.vport_name = vport_name;
	s->filter.offload = offload_places;
	s->filter.arg = s->api;
	return true;
}

bool flow_check_query(struct http_request *req, const char *const *extra)
{
	for (uint32_t i = 0; i < req->query.n; i++) {
		const char *const *sets[] = {flow_field_names, extra};
		bool known = false;

		for (size_t s = 0; s < 2; s++)
			for (const char *const *n = sets[s]; *n != NULL; n++)
				known = known || strcmp(*n, req->query.at[i].name) == 0;
		if (!known) {
			http_problem(req, 400, "BadRequest",
				"parameter \"%.64s\" is not known here", req->query.at[i].name);
			return false;
		}
	}
	return true;
}
