/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Neighbours: the table, states, requests, timers and events (see neighbours.h). Control thread,
 * under the lock that lets other threads copy the list. */

#include <stdlib.h>
#include <string.h>

#include "control/addr_hash.h"
#include "control/log.h"
#include "control/neighbours_private.h"
#include "core/packet.h"

#define SCAN_MS       50  /* how finely timers are looked at */
#define EVENTS_A_POLL 256 /* of one worker */
#define IDLE_MS       1000

const char *const neighbour_state_names[NEIGHBOUR_STATES] = {
	"Incomplete", "Reachable", "Stale", "Probe", "Failed", "Static"};

/* --- table ----------------------------------------------------------------------------------- */

static struct neighbour_list *bucket_of(
	struct neighbours *nb, uint16_t vport, const struct ip_addr *a)
{
	return &nb->buckets[addr_hash(a, vport, nb->salt) & (NEIGHBOUR_BUCKETS - 1)];
}

struct neighbour *neighbour_find(struct neighbours *nb, uint16_t vport, const struct ip_addr *a)
{
	struct neighbour *n;

	LIST_FOREACH (n, bucket_of(nb, vport, a), link)
		if (n->v.vport == vport && ip_equal(&n->v.addr, a))
			return n;
	return NULL;
}

static bool is_owned(const struct neighbours *nb, const struct ip_addr *a)
{
	const struct route_domain *r =
		atomic_load_explicit(&nb->cfg.dp->routes, memory_order_relaxed);

	for (uint32_t i = 0; i < r->n_owned; i++)
		if (ip_equal(&r->owned[i], a))
			return true;
	return false;
}

/* --- records --------------------------------------------------------------------------------- */

void neighbour_record_write(struct neighbours *nb, const struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];
	struct next_hop r = {.kind = NEXT_HOP_UNRESOLVED,
		.vport = n->v.vport,
		.mtu = lv->v.mtu,
		.gateway = n->v.addr};
	uint16_t at = 12;

	if (neighbour_usable(n)) {
		r.kind = NEXT_HOP_FORWARD;
		memcpy(r.l2, n->v.mac, 6);
		memcpy(r.l2 + 6, lv->v.mac, 6);
		if (lv->v.vlan != 0) {
			r.l2[at++] = ETH_TYPE_VLAN >> 8;
			r.l2[at++] = ETH_TYPE_VLAN & 0xff;
			r.l2[at++] = (uint8_t)(lv->v.vlan >> 8);
			r.l2[at++] = (uint8_t)lv->v.vlan;
		}
		r.l2[at++] = ETH_TYPE_IPV4 >> 8;
		r.l2[at++] = ETH_TYPE_IPV4 & 0xff;
		r.l2_len = (uint8_t)at;
	}
	if (next_hops_set(&nb->hops, n->v.next_hop, &r) < 0)
		LOG_ERROR(neighbour, "next_hop_not_updated", "id=%u reason=memory", n->v.next_hop);
}

static void hosts_changed(struct neighbours *nb)
{
	if (nb->cfg.hosts_changed != NULL)
		nb->cfg.hosts_changed(nb->cfg.arg);
}

/* A host route exists for every usable neighbour on an uplink's link. */
void neighbour_host_update(struct neighbours *nb, struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];
	bool host = neighbour_usable(n) && lv->v.role == VPORT_UPLINK &&
		neighbour_on_link(lv, &n->v.addr);

	if (host != n->host) {
		n->host = host;
		hosts_changed(nb);
	}
}

void neighbour_state_set(struct neighbours *nb, struct neighbour *n, enum neighbour_state s)
{
	static const uint32_t lifetimes[NEIGHBOUR_STATES] = {
		[NEIGHBOUR_INCOMPLETE] = NEIGHBOUR_RETRY_MS,
		[NEIGHBOUR_REACHABLE] = NEIGHBOUR_REACHABLE_MS,
		[NEIGHBOUR_STALE] = NEIGHBOUR_STALE_MS,
		[NEIGHBOUR_PROBE] = NEIGHBOUR_RETRY_MS,
	};
	bool was_pending = n->v.dynamic && n->v.state == NEIGHBOUR_INCOMPLETE;
	bool was_usable = neighbour_usable(n);

	n->v.state = s;
	n->v.updated_ms = nb->now_ms;
	n->tries = 0;
	n->deadline_ms = lifetimes[s] != 0 ? nb->now_ms + lifetimes[s] : 0;
	if (s == NEIGHBOUR_FAILED && n->v.dynamic)
		n->deadline_ms = nb->now_ms + NEIGHBOUR_FAILED_MS;
	nb->pending += (uint32_t)(n->v.dynamic && s == NEIGHBOUR_INCOMPLETE) - was_pending;
	if (neighbour_usable(n) != was_usable)
		neighbour_record_write(nb, n);
	neighbour_host_update(nb, n);
}

/* At the next look at the timers. 0 would be no deadline. */
void neighbour_ask_soon(struct neighbours *nb, struct neighbour *n)
{
	n->deadline_ms = nb->now_ms != 0 ? nb->now_ms : 1;
	nb->next_scan_ms = nb->now_ms;
}

struct neighbour *neighbour_new(
	struct neighbours *nb, uint16_t vport, const struct ip_addr *addr, bool dynamic)
{
	const struct link_vport *lv = &nb->vports[vport];
	struct neighbour *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->v.next_hop = next_hops_alloc(&nb->hops);
	if (n->v.next_hop == 0) {
		LOG_ERROR(neighbour, "no_next_hop_left", "used=%u", nb->hops.used);
		free(n);
		return NULL;
	}
	n->v.vport = vport;
	n->v.addr = *addr;
	n->v.dynamic = dynamic;
	n->v.state = NEIGHBOUR_FAILED; /* neither usable nor pending: what state_set starts from */
	nb->stats.neighbours++;
	nb->stats.dynamic += dynamic;
	LIST_INSERT_HEAD(bucket_of(nb, vport, addr), n, link);
	if (lv->v.has_peer_mac) {
		n->v.has_mac = true;
		memcpy(n->v.mac, lv->v.peer_mac, 6);
		neighbour_state_set(nb, n, NEIGHBOUR_STATIC);
	} else {
		neighbour_record_write(nb, n);
		neighbour_state_set(nb, n, NEIGHBOUR_INCOMPLETE);
		neighbour_ask_soon(nb, n);
	}
	return n;
}

/* The id stays taken until the next publication of routes: a published host route may hold it. */
static void id_release(struct neighbours *nb, uint16_t id)
{
	if (nb->n_gone == nb->gone_room) {
		uint32_t room = nb->gone_room == 0 ? 64 : nb->gone_room * 2;
		uint16_t *grown = realloc(nb->gone, room * sizeof(*grown));

		if (grown == NULL)
			return; /* the id is lost: the one thing that is always safe */
		nb->gone = grown;
		nb->gone_room = room;
	}
	nb->gone[nb->n_gone++] = id;
}

void neighbour_free(struct neighbours *nb, struct neighbour *n)
{
	LIST_REMOVE(n, link);
	nb->stats.neighbours--;
	nb->stats.dynamic -= n->v.dynamic;
	nb->pending -= n->v.dynamic && n->v.state == NEIGHBOUR_INCOMPLETE;
	id_release(nb, n->v.next_hop);
	free(n);
	hosts_changed(nb);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void ask(struct neighbours *nb, struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];
	const struct ip_addr *source = &lv->v.source[ip_family(&n->v.addr)];
	uint8_t frame[NEIGHBOUR_FRAME_ROOM];
	uint16_t len;

	n->tries++;
	n->deadline_ms = nb->now_ms + NEIGHBOUR_RETRY_MS;
	if (ip_is_zero(source) || nb->cfg.send == NULL)
		return;
	len = neighbour_request(&n->v.addr, source, lv->v.mac, lv->v.vlan, frame, sizeof(frame));
	if (len == 0)
		return;
	n->v.requests++;
	nb->stats.requests++;
	nb->cfg.send(nb->cfg.arg, n->v.vport, frame, len);
}

static void log_state(const struct neighbour *n, const char *event)
{
	char buf[IP_TEXT_MAX];

	LOG_DEBUG(neighbour, "state", "vport=%u addr=%s change=%s", n->v.vport,
		ip_format(&n->v.addr, buf), event);
}

/* False when the neighbour is gone. */
static bool timer(struct neighbours *nb, struct neighbour *n)
{
	switch (n->v.state) {
	case NEIGHBOUR_INCOMPLETE:
	case NEIGHBOUR_PROBE:
		if (n->tries < NEIGHBOUR_TRIES) {
			ask(nb, n);
			return true;
		}
		nb->stats.failures++;
		log_state(n, "failed");
		neighbour_state_set(nb, n, NEIGHBOUR_FAILED);
		return true;
	case NEIGHBOUR_REACHABLE:
		neighbour_state_set(nb, n, NEIGHBOUR_STALE);
		return true;
	case NEIGHBOUR_STALE:
		neighbour_state_set(nb, n, NEIGHBOUR_PROBE);
		ask(nb, n);
		return true;
	default:
		/* A dynamic one that failed. */
		neighbour_free(nb, n);
		return false;
	}
}

static void timers(struct neighbours *nb)
{
	uint64_t next = nb->now_ms + IDLE_MS;

	for (uint32_t i = 0; i < NEIGHBOUR_BUCKETS; i++) {
		struct neighbour *n = LIST_FIRST(&nb->buckets[i]), *after;

		for (; n != NULL; n = after) {
			after = LIST_NEXT(n, link);
			if (n->deadline_ms != 0 && n->deadline_ms <= nb->now_ms && !timer(nb, n))
				continue;
			if (n->deadline_ms != 0 && n->deadline_ms < next)
				next = n->deadline_ms;
		}
	}
	if (next < nb->now_ms + SCAN_MS)
		next = nb->now_ms + SCAN_MS;
	nb->next_scan_ms = next;
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_resolve(struct neighbours *nb, const struct worker_event *ev)
{
	struct link_vport *lv = neighbour_vport_of(nb, ev->vport);
	struct neighbour *n;

	if (lv == NULL)
		return;
	n = neighbour_find(nb, ev->vport, &ev->addr);
	if (n == NULL) {
		bool glean = lv->glean != 0 && ev->next_hop == lv->glean;

		/* Only what an on-link route led to, and not without bound. */
		if (!glean || nb->stats.dynamic >= NEIGHBOURS_DYNAMIC_MAX ||
			nb->pending >= NEIGHBOURS_PENDING_MAX || is_owned(nb, &ev->addr)) {
			nb->stats.refused++;
			return;
		}
		n = neighbour_new(nb, ev->vport, &ev->addr, true);
		if (n != NULL && n->v.state == NEIGHBOUR_INCOMPLETE)
			ask(nb, n);
		return;
	}
	if (n->v.state == NEIGHBOUR_FAILED && nb->now_ms - n->v.updated_ms >= NEIGHBOUR_FAILED_MS) {
		neighbour_state_set(nb, n, NEIGHBOUR_INCOMPLETE);
		ask(nb, n);
	}
}

static void on_neighbour(struct neighbours *nb, const struct worker_event *ev)
{
	struct link_vport *lv = neighbour_vport_of(nb, ev->vport);
	struct neighbour *n;
	bool same;

	if (lv == NULL || (ev->mac[0] & 1) != 0)
		return;
	n = neighbour_find(nb, ev->vport, &ev->addr);
	if (n == NULL)
		return;
	if (n->v.state == NEIGHBOUR_STATIC) {
		nb->stats.refused += memcmp(n->v.mac, ev->mac, 6) != 0;
		return;
	}
	same = n->v.has_mac && memcmp(n->v.mac, ev->mac, 6) == 0;
	/* What nobody asked for confirms nothing (RFC 4861 7.2.5). */
	if (same && neighbour_usable(n) && !ev->solicited)
		return;
	nb->stats.answers++;
	if (!same) {
		bool was_usable = neighbour_usable(n);

		n->v.has_mac = true;
		memcpy(n->v.mac, ev->mac, 6);
		if (was_usable)
			neighbour_record_write(nb, n);
		log_state(n, "mac");
	}
	neighbour_state_set(nb, n, ev->solicited ? NEIGHBOUR_REACHABLE : NEIGHBOUR_STALE);
}

static void event_locked(struct neighbours *nb, const struct worker_event *ev)
{
	nb->stats.events++;
	if (ev->kind == EVENT_RESOLVE)
		on_resolve(nb, ev);
	else if (ev->kind == EVENT_NEIGHBOUR)
		on_neighbour(nb, ev);
}

void neighbours_event(struct neighbours *nb, const struct worker_event *ev, uint64_t now_ms)
{
	pthread_mutex_lock(&nb->lock);
	nb->now_ms = now_ms;
	event_locked(nb, ev);
	pthread_mutex_unlock(&nb->lock);
}

uint32_t neighbours_poll(struct neighbours *nb, uint64_t now_ms)
{
	bool more = false;
	uint64_t wait;

	pthread_mutex_lock(&nb->lock);
	nb->now_ms = now_ms;
	for (uint32_t i = 0; i < nb->cfg.dp->n_workers; i++) {
		struct worker *w = nb->cfg.dp->workers[i];
		struct worker_event ev;
		uint32_t n = 0;

		while (w != NULL && n < EVENTS_A_POLL && spsc_get(w->events, &ev)) {
			event_locked(nb, &ev);
			n++;
		}
		more |= n == EVENTS_A_POLL;
	}
	if (now_ms >= nb->next_scan_ms)
		timers(nb);
	wait = nb->next_scan_ms > now_ms ? nb->next_scan_ms - now_ms : 1;
	pthread_mutex_unlock(&nb->lock);
	return more ? 0 : (uint32_t)wait;
}
