/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Merging and choosing endpoints (selection.h). Control thread and fuzzer; no state. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/selection.h"

struct candidate {
	struct ip_addr addr;
	uint16_t port;
	uint32_t order;
	const struct k8s_slice *slice;
	const struct k8s_endpoint *endpoint;
};

enum topology {
	TOPOLOGY_NONE,
	TOPOLOGY_ZONE,
	TOPOLOGY_NODE
};

/* What the endpoints of one family add up to. */
struct tally {
	uint32_t ready, serving_terminating;
	uint32_t local_ready, local_serving_terminating;
	uint32_t node_hints, zone_hints; /* ready endpoints that have some */
	bool our_node, our_zone;         /* one of them names ours */
};

static int by_address(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = ip_compare(&x->addr, &y->addr);

	if (order != 0)
		return order;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static bool served_family(const struct model_service *service, uint8_t family)
{
	for (uint32_t i = 0; i < service->n_cluster_ips; i++) {
		if (ip_family(&service->cluster_ips[i]) == family)
			return true;
	}
	return false;
}

static bool same_port(const struct k8s_slice *slice, const struct k8s_slice_port *p,
	const struct model_service_port *port)
{
	return p->proto == port->proto && strcmp(k8s_slice_string(slice, p->name), port->name) == 0;
}

/* Calls of each (endpoint, port) that belongs to the service port; candidates may be NULL to
 * count. */
static uint32_t collect(const struct model_service *service, const struct model_service_port *port,
	const struct k8s_slice *const *slices, uint32_t n_slices, struct candidate *candidates)
{
	uint32_t n = 0;

	for (uint32_t s = 0; s < n_slices; s++) {
		const struct k8s_slice *slice = slices[s];

		if (!served_family(service, slice->family))
			continue;
		for (uint32_t p = 0; p < slice->n_ports; p++) {
			if (!same_port(slice, &slice->ports[p], port))
				continue;
			for (uint32_t e = 0; e < slice->n_endpoints; e++, n++) {
				if (n == K8S_ENDPOINTS_MAX)
					return n;
				if (candidates == NULL)
					continue;
				candidates[n] = (struct candidate){
					.addr = slice->endpoints[e].addr,
					.port = slice->ports[p].port,
					.order = n,
					.slice = slice,
					.endpoint = &slice->endpoints[e],
				};
			}
		}
	}
	return n;
}

/* An address may be in two slices while it moves, or twice while a pod with a reused address
 * terminates: a later entry wins unless it terminates. */
static uint32_t merge(struct candidate *c, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct candidate *last = kept > 0 ? &c[kept - 1] : NULL;

		if (last == NULL || !ip_equal(&last->addr, &c[i].addr) || last->port != c[i].port)
			c[kept++] = c[i];
		else if (!c[i].endpoint->terminating)
			*last = c[i];
	}
	return kept;
}

static bool hint_names(const struct candidate *c, uint32_t first, uint32_t n, const char *name)
{
	for (uint32_t i = first; i < first + n; i++) {
		if (strcmp(k8s_slice_string(c->slice, c->slice->hints[i]), name) == 0)
			return true;
	}
	return false;
}

static bool names_our_zone(const struct candidate *c, const struct selection_self *self)
{
	return self->zone != NULL &&
		hint_names(c, c->endpoint->first_hint, c->endpoint->n_zone_hints, self->zone);
}

static bool names_our_node(const struct candidate *c, const struct selection_self *self)
{
	return hint_names(c, c->endpoint->first_hint + c->endpoint->n_zone_hints,
		c->endpoint->n_node_hints, self->node);
}

/* nodeName alone tells; an address of ours does not make an endpoint local. */
static bool is_local(const struct candidate *c, const struct selection_self *self)
{
	return c->endpoint->node != 0 &&
		strcmp(k8s_slice_string(c->slice, c->endpoint->node), self->node) == 0;
}

static void count(struct tally *t, const struct candidate *c, const struct selection_self *self)
{
	const struct k8s_endpoint *e = c->endpoint;

	if (e->ready) {
		t->ready++;
		t->local_ready += is_local(c, self);
		t->node_hints += e->n_node_hints > 0;
		t->zone_hints += e->n_zone_hints > 0;
		t->our_node = t->our_node || names_our_node(c, self);
		t->our_zone = t->our_zone || names_our_zone(c, self);
	} else if (e->serving && e->terminating) {
		t->serving_terminating++;
		t->local_serving_terminating += is_local(c, self);
	}
}

static enum topology topology_of(const struct tally *t)
{
	if (t->ready == 0)
		return TOPOLOGY_NONE;
	if (t->node_hints == t->ready && t->our_node)
		return TOPOLOGY_NODE;
	if (t->zone_hints == t->ready && t->our_zone)
		return TOPOLOGY_ZONE;
	return TOPOLOGY_NONE;
}

static bool in_cluster(
	const struct candidate *c, const struct tally *t, const struct selection_self *self)
{
	const struct k8s_endpoint *e = c->endpoint;

	if (t->ready == 0)
		return e->serving && e->terminating;
	if (!e->ready)
		return false;
	switch (topology_of(t)) {
	case TOPOLOGY_NODE:
		return names_our_node(c, self);
	case TOPOLOGY_ZONE:
		return names_our_zone(c, self);
	default:
		return true;
	}
}

static bool in_local(
	const struct candidate *c, const struct tally *t, const struct selection_self *self)
{
	const struct k8s_endpoint *e = c->endpoint;

	if (!is_local(c, self))
		return false;
	return t->local_ready > 0 ? e->ready : !e->ready && e->serving && e->terminating;
}

static char *copy(const struct k8s_slice *slice, uint32_t offset, bool *ok)
{
	char *text;

	if (offset == 0)
		return NULL;
	text = strdup(k8s_slice_string(slice, offset));
	*ok = *ok && text != NULL;
	return text;
}

static void drop(struct model_service_port *port)
{
	for (uint32_t i = 0; i < port->n_backends; i++) {
		free(port->backends[i].node);
		free(port->backends[i].zone);
		free(port->backends[i].target);
	}
	free(port->backends);
	port->backends = NULL;
	port->n_backends = 0;
}

/* Which lists the port's frontends can ask for. */
static void lists_needed(const struct model_service *service, const struct model_service_port *port,
	bool *cluster, bool *local)
{
	bool external =
		port->node_port != 0 || service->n_lb_vips > 0 || service->n_external_ips > 0;

	*cluster = !service->itp_local || external;
	*local = service->itp_local || (service->etp_local && external);
}

static int emit(const struct model_service *service, struct model_service_port *port,
	const struct candidate *c, uint32_t n, const struct selection_self *self)
{
	struct tally tallies[IP_FAMILIES] = {0};
	bool cluster, local, ok = true;

	lists_needed(service, port, &cluster, &local);
	for (uint32_t i = 0; i < n; i++)
		count(&tallies[ip_family(&c[i].addr)], &c[i], self);
	for (int f = 0; f < IP_FAMILIES; f++)
		port->has_any[f] = tallies[f].ready > 0 || tallies[f].serving_terminating > 0;
	port->backends = calloc(n, sizeof(*port->backends));
	if (port->backends == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const struct tally *t = &tallies[ip_family(&c[i].addr)];
		const struct k8s_endpoint *e = c[i].endpoint;

		port->backends[port->n_backends++] = (struct model_backend){
			.addr = c[i].addr,
			.port = c[i].port,
			.ready = e->ready,
			.serving = e->serving,
			.terminating = e->terminating,
			.local = is_local(&c[i], self),
			.in_cluster = cluster && in_cluster(&c[i], t, self),
			.in_local = local && in_local(&c[i], t, self),
			.node = copy(c[i].slice, e->node, &ok),
			.zone = copy(c[i].slice, e->zone, &ok),
			.target = copy(c[i].slice, e->target, &ok),
		};
	}
	if (ok)
		return 0;
	drop(port);
	return -ENOMEM;
}

int selection_build(const struct model_service *service, struct model_service_port *port,
	const struct k8s_slice *const *slices, uint32_t n_slices, const struct selection_self *self)
{
	uint32_t n = collect(service, port, slices, n_slices, NULL);
	struct candidate *candidates;
	int rc;

	port->n_backends = 0;
	port->backends = NULL;
	port->has_any[IP_V4] = port->has_any[IP_V6] = false;
	if (n == 0)
		return 0;
	candidates = calloc(n, sizeof(*candidates));
	if (candidates == NULL)
		return -ENOMEM;
	collect(service, port, slices, n_slices, candidates);
	qsort(candidates, n, sizeof(*candidates), by_address);
	n = merge(candidates, n);
	rc = emit(service, port, candidates, n, self);
	free(candidates);
	return rc;
}

bool selection_has_zone_hints(const struct k8s_slice *slice)
{
	for (uint32_t i = 0; i < slice->n_endpoints; i++) {
		if (slice->endpoints[i].n_zone_hints > 0)
			return true;
	}
	return false;
}
