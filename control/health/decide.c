/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The decisions of decide.h. Pure functions; any thread. */

#include <errno.h>
#include <stdlib.h>

#include "control/health/decide.h"

void health_decide(const struct health_state *s, enum health_question q, uint32_t endpoints,
	struct health_answer *out)
{
	int64_t oldest = s->updated_wall_ms[0];
	bool good;

	out->healthy = s->workers_turn;
	for (int f = 0; f < IP_FAMILIES; f++) {
		out->family_healthy[f] = s->waiting_ms[f] <= HEALTH_OVERDUE_MS;
		out->healthy = out->healthy && out->family_healthy[f];
		if (s->updated_wall_ms[f] < oldest)
			oldest = s->updated_wall_ms[f];
	}
	if (q == HEALTH_HEALTHZ)
		out->healthy = out->healthy && s->uplinks_up;
	out->node_eligible =
		!s->node_awaited || (s->node_known && !s->node_deleting && !s->node_to_be_deleted);
	good = out->healthy;
	if (q == HEALTH_HEALTHZ)
		good = good && out->node_eligible;
	if (q == HEALTH_SERVICE)
		good = good && endpoints > 0;
	out->status = good ? 200 : 503;
	out->last_updated_wall_ms = good ? s->now_wall_ms : oldest;
}

static void leave(struct health_waits *list, struct health_wait *w, int f)
{
	if (w->in[f])
		TAILQ_REMOVE(list, w, link[f]);
	w->in[f] = false;
}

void health_wait_see(struct health_waits list[IP_FAMILIES], struct health_wait *w,
	const bool has[IP_FAMILIES], bool pending, uint64_t applied_version, int64_t now_ms)
{
	bool other = applied_version != w->applied_version;

	w->applied_version = applied_version;
	for (int f = 0; f < IP_FAMILIES; f++) {
		if (!pending || !has[f] || other)
			leave(&list[f], w, f);
		if (!pending || !has[f] || w->in[f])
			continue;
		w->in[f] = true;
		w->since_ms[f] = now_ms;
		TAILQ_INSERT_TAIL(&list[f], w, link[f]);
	}
}

void health_wait_forget(struct health_waits list[IP_FAMILIES], struct health_wait *w)
{
	for (int f = 0; f < IP_FAMILIES; f++)
		leave(&list[f], w, f);
}

int64_t health_waits_age(
	const struct health_waits *list, enum ip_family f, int64_t not_before_ms, int64_t now_ms)
{
	const struct health_wait *oldest = TAILQ_FIRST(list);

	if (oldest == NULL)
		return 0;
	return now_ms - (oldest->since_ms[f] > not_before_ms ? oldest->since_ms[f] : not_before_ms);
}

int64_t health_queue_age(struct health_queue *q, uint64_t taken, uint64_t waiting, int64_t now_ms)
{
	if (waiting == 0) {
		q->waits = false;
		return 0;
	}
	if (!q->waits || taken >= q->until) {
		q->waits = true;
		q->until = taken + waiting;
		q->since_ms = now_ms;
	}
	return now_ms - q->since_ms;
}

static int by_address(const void *a, const void *b)
{
	return ip_compare(*(const struct ip_addr *const *)a, *(const struct ip_addr *const *)b);
}

int health_local_endpoints(const struct model_service *s, enum ip_family f, uint32_t *out)
{
	const struct ip_addr **found;
	uint32_t room = 0, n = 0;

	*out = 0;
	for (uint32_t p = 0; p < s->n_ports; p++)
		room += s->ports[p].n_backends;
	if (room == 0)
		return 0;
	found = malloc(room * sizeof(*found));
	if (found == NULL)
		return -ENOMEM;
	for (uint32_t p = 0; p < s->n_ports; p++)
		for (uint32_t i = 0; i < s->ports[p].n_backends; i++) {
			const struct model_backend *b = &s->ports[p].backends[i];

			if (b->local && b->ready && !b->terminating && ip_family(&b->addr) == f)
				found[n++] = &b->addr;
		}
	qsort(found, n, sizeof(*found), by_address);
	for (uint32_t i = 0; i < n; i++)
		*out += i == 0 || !ip_equal(found[i], found[i - 1]);
	free(found);
	return 0;
}

uint32_t health_ports_without_local(const struct model_service *s, enum ip_family f)
{
	uint32_t n = 0;

	for (uint32_t p = 0; p < s->n_ports; p++) {
		const struct model_service_port *port = &s->ports[p];
		bool local = false;

		for (uint32_t i = 0; i < port->n_backends && !local; i++)
			local = port->backends[i].in_local &&
				ip_family(&port->backends[i].addr) == f;
		n += port->has_any[f] && !local;
	}
	return n;
}

bool health_service_has(const struct model_service *s, enum ip_family f)
{
	for (uint32_t i = 0; i < s->n_cluster_ips; i++)
		if (ip_family(&s->cluster_ips[i]) == f)
			return true;
	return s->n_cluster_ips == 0;
}
