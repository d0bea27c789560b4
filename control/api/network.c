/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Routes, neighbours, conflicts and refused objects: lists that are copied batch by batch through
 * readers that any thread may call, so that a long one holds nothing. A route lookup asks the
 * control thread, which owns the published routes. API thread otherwise. */

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_internal.h"
#include "control/api/query.h"
#include "control/neighbours.h"
#include "control/reconcile.h"

static const char *const no_parameters[] = {NULL};

/* Copies of one batch, and the last of it as the cursor of the next. */
#define BATCH 128

struct batch_list {
	struct api *api;
	struct jw w;
	const char *kind;
	/* Writes the next batch; the number of items, 0 at the end. */
	uint32_t (*next)(struct batch_list *l);
	bool head_written;
	bool started;
	struct reconcile_route route;
	struct neighbour_view neighbour;
	char refusal[1024];
	uint32_t conflicts;
};

static enum http_step batch_produce(void *arg, struct evbuffer *out, int64_t deadline_us)
{
	struct batch_list *l = arg;

	l->w.out = out;
	if (!l->head_written) {
		jw_object(&l->w, NULL);
		jw_string(&l->w, "kind", l->kind);
		jw_string(&l->w, "apiVersion", API_VERSION);
		jw_array(&l->w, "items");
		l->head_written = true;
	}
	if (l->next(l) > 0) {
		l->started = true;
		jw_flush(&l->w);
		return HTTP_MORE;
	}
	jw_array_end(&l->w);
	jw_object(&l->w, "metadata");
	jw_object_end(&l->w);
	jw_object_end(&l->w);
	jw_finish(&l->w);
	evbuffer_add(out, "\n", 1);
	return HTTP_END;
}

static void send_batches(
	struct http_request *req, const char *kind, uint32_t (*next)(struct batch_list *l))
{
	static const struct http_stream_ops ops = {batch_produce, free};
	struct batch_list *l;

	if (!api_check_query(req, no_parameters))
		return;
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	jw_init(&l->w, NULL);
	l->api = api_of(req);
	l->kind = kind;
	l->next = next;
	http_stream_begin(req, "application/json", HTTP_LIST, &ops, l);
}

/* --- routes ---------------------------------------------------------------------------------- */

static const char *next_hop_kind_name(uint8_t kind)
{
	static const char *const names[NEXT_HOP_KINDS] = {
		[NEXT_HOP_NONE] = "None",
		[NEXT_HOP_FORWARD] = "Forward",
		[NEXT_HOP_UNRESOLVED] = "Unresolved",
		[NEXT_HOP_GLEAN] = "OnLink",
		[NEXT_HOP_LOCAL] = "Local",
		[NEXT_HOP_BLACKHOLE] = "Blackhole",
		[NEXT_HOP_PROHIBIT] = "Prohibit",
	};

	return kind < NEXT_HOP_KINDS ? names[kind] : "None";
}

static void write_route(struct api *a, struct jw *w, const struct reconcile_route *r)
{
	jw_object(w, NULL);
	jw_string(w, "kind", "Route");
	jw_prefix(w, "prefix", &r->prefix);
	jw_string(w, "origin", reconcile_route_source_names[r->source]);
	jw_string(w, "type", next_hop_kind_name(r->kind));
	if (ip_is_zero(&r->via))
		jw_null(w, "via");
	else
		jw_ip(w, "via", &r->via);
	jw_string(w, "vport", api_vport_name(a, r->vport));
	jw_int(w, "nextHop", r->next_hop);
	jw_object_end(w);
}

static uint32_t next_routes(struct batch_list *l)
{
	struct reconcile_route r[BATCH];
	uint32_t n = reconcile_routes_each(
		l->api->deps.reconciler, l->started ? &l->route.prefix : NULL, BATCH, r);

	for (uint32_t i = 0; i < n; i++)
		write_route(l->api, &l->w, &r[i]);
	if (n > 0)
		l->route = r[n - 1];
	return n;
}

void api_get_routes(struct http_request *req)
{
	send_batches(req, "RouteList", next_routes);
}

struct route_lookup {
	struct job job;
	struct api *api;
	struct http_request *req;
	struct ip_addr dst;
	struct ip_prefix matched;
	struct next_hop hop;
	uint16_t id;
};

/* Control thread: nobody frees what is published meanwhile. */
static void lookup_run(struct job *j)
{
	struct route_lookup *l = (struct route_lookup *)j;
	struct dataplane *dp = l->api->deps.dp;
	const struct route_domain *routes = atomic_load(&dp->routes);
	const struct next_hop *hop;

	if (routes == NULL || routes->fib == NULL)
		return;
	l->id = fib_explain(routes->fib, &l->dst, &l->matched);
	hop = next_hop_get(dp->next_hops, l->id);
	if (hop != NULL)
		l->hop = *hop;
}

static void lookup_done(struct job *j, bool cancelled)
{
	struct route_lookup *l = (struct route_lookup *)j;
	struct doc d;

	if (cancelled) {
		http_problem(l->req, 503, "NotReady", "the daemon is stopping");
	} else if (l->id == 0) {
		http_problem(l->req, 404, "NoRoute", "no route to that destination");
	} else if (doc_begin(&d, l->req)) {
		jw_string(&d.w, "kind", "RouteLookup");
		jw_ip(&d.w, "dst", &l->dst);
		jw_prefix(&d.w, "prefix", &l->matched);
		jw_object(&d.w, "nextHop");
		jw_int(&d.w, "id", l->id);
		jw_string(&d.w, "type", next_hop_kind_name(l->hop.kind));
		jw_string(&d.w, "vport", api_vport_name(l->api, l->hop.vport));
		if (ip_is_zero(&l->hop.gateway))
			jw_null(&d.w, "via");
		else
			jw_ip(&d.w, "via", &l->hop.gateway);
		if (l->hop.kind == NEXT_HOP_FORWARD && l->hop.l2_len >= 12)
			jw_mac(&d.w, "mac", l->hop.l2);
		else
			jw_null(&d.w, "mac");
		jw_int(&d.w, "mtu", l->hop.mtu);
		jw_object_end(&d.w);
		doc_send(&d, 200);
	}
	free(l);
}

void api_get_route_lookup(struct http_request *req)
{
	static const char *const names[] = {"dst", NULL};
	const char *dst = query_get(&req->query, "dst");
	struct route_lookup *l;
	struct ip_addr addr;

	if (!api_check_query(req, names))
		return;
	if (dst == NULL || ip_parse(dst, &addr) < 0) {
		http_problem(req, 400, "BadRequest", "parameter dst must be an IP address");
		return;
	}
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	l->job.run = lookup_run;
	l->job.done = lookup_done;
	l->api = api_of(req);
	l->req = req;
	l->dst = addr;
	handoff_submit(l->api->handoff, &l->job);
}

/* --- neighbours ------------------------------------------------------------------------------ */

static void write_neighbour(struct api *a, struct jw *w, const struct neighbour_view *n)
{
	int64_t since = api_now_ms() - (int64_t)n->updated_ms;

	jw_object(w, NULL);
	jw_string(w, "kind", "Neighbor");
	jw_ip(w, "address", &n->addr);
	if (n->has_mac)
		jw_mac(w, "mac", n->mac);
	else
		jw_null(w, "mac");
	jw_string(w, "vport", api_vport_name(a, n->vport));
	jw_string(w, "state", neighbour_state_names[n->state]);
	jw_bool(w, "dynamic", n->dynamic);
	jw_int(w, "updatedSeconds", since > 0 ? since / 1000 : 0);
	jw_counter(w, "requests", n->requests);
	jw_int(w, "nextHop", n->next_hop);
	jw_object_end(w);
}

static uint32_t next_neighbours(struct batch_list *l)
{
	struct neighbour_view v[BATCH];
	uint32_t n = neighbours_each(
		l->api->deps.neighbours, l->started ? &l->neighbour : NULL, BATCH, v);

	for (uint32_t i = 0; i < n; i++)
		write_neighbour(l->api, &l->w, &v[i]);
	if (n > 0)
		l->neighbour = v[n - 1];
	return n;
}

void api_get_neighbors(struct http_request *req)
{
	send_batches(req, "NeighborList", next_neighbours);
}

/* --- frontends that several services claim ---------------------------------------------------- */

static uint32_t next_conflicts(struct batch_list *l)
{
	struct reconcile_conflict c[16];
	uint32_t n = reconcile_conflicts(
		l->api->deps.reconciler, l->conflicts, sizeof(c) / sizeof(c[0]), c);
	char proto[12];

	for (uint32_t i = 0; i < n; i++) {
		jw_object(&l->w, NULL);
		jw_string(&l->w, "kind", "Conflict");
		/* A NodePort is served on every NodePort address. */
		if (ip_is_zero(&c[i].addr))
			jw_null(&l->w, "address");
		else
			jw_ip(&l->w, "address", &c[i].addr);
		jw_int(&l->w, "port", c[i].port);
		jw_string(&l->w, "protocol", ip_proto_name(c[i].proto, proto));
		jw_string(&l->w, "winner", c[i].winner);
		jw_string(&l->w, "loser", c[i].loser);
		jw_object_end(&l->w);
	}
	l->conflicts += n;
	return n;
}

void api_get_conflicts(struct http_request *req)
{
	send_batches(req, "ConflictList", next_conflicts);
}

/* --- refused objects ------------------------------------------------------------------------- */

static bool write_refusal(void *arg, const char *key, const char *kind, const char *ns,
	const char *name, const char *field, const char *reason)
{
	struct batch_list *l = arg;

	jw_object(&l->w, NULL);
	jw_string(&l->w, "kind", "Refusal");
	jw_object(&l->w, "regarding");
	jw_string(&l->w, "kind", kind);
	jw_string(&l->w, "namespace", ns != NULL ? ns : "");
	jw_string(&l->w, "name", name != NULL ? name : "");
	jw_object_end(&l->w);
	jw_string(&l->w, "field", field);
	jw_string(&l->w, "reason", reason);
	jw_object_end(&l->w);
	snprintf(l->refusal, sizeof(l->refusal), "%s", key);
	return true;
}

static uint32_t next_refusals(struct batch_list *l)
{
	struct model *m = l->api->deps.model;
	uint32_t n;

	model_read_lock(m);
	n = model_refusals_each(
		m, l->started ? l->refusal : NULL, API_LOCK_BATCH, write_refusal, l);
	model_read_unlock(m);
	return n;
}

void api_get_refusals(struct http_request *req)
{
	send_batches(req, "RefusalList", next_refusals);
}
