/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Neighbours: the table, their next hops, requests and timers (see neighbours.h). Control thread;
 * a mutex lets other threads copy the list. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "control/addr_hash.h"
#include "control/log.h"
#include "control/neighbours.h"
#include "control/next_hops.h"
#include "core/packet.h"

#define BUCKETS       4096 /* a power of two */
#define SCAN_MS       50   /* how finely timers are looked at */
#define EVENTS_A_POLL 256  /* of one worker */
#define IDLE_MS       1000
#define REQUEST_ROOM  128

const char *const neighbour_state_names[NEIGHBOUR_STATES] = {
	"Incomplete", "Reachable", "Stale", "Probe", "Failed", "Static"};

struct neighbour {
	struct neighbour_view v;
	uint32_t refs; /* routes that lead through it */
	uint32_t tries;
	uint64_t deadline_ms; /* 0: no timer */
	bool host;            /* given out as a host route */
	LIST_ENTRY(neighbour) link;
};

LIST_HEAD(neighbour_list, neighbour);

struct link_vport {
	bool present;
	struct neighbour_vport v;
	uint16_t glean; /* next hop id; 0: none yet */
};

struct neighbours {
	pthread_mutex_t lock;
	struct neighbours_config cfg;
	struct next_hops hops;
	struct neighbour_list buckets[BUCKETS];
	struct link_vport vports[VPORTS_MAX];
	uint16_t special[NEXT_HOP_KINDS];
	uint64_t salt;
	uint64_t now_ms;
	uint64_t next_scan_ms;
	uint32_t pending; /* dynamic and incomplete */
	/* Ids of hosts that are gone but may be in the published routes. */
	uint16_t *gone;
	uint32_t n_gone, gone_room;
	struct neighbours_stats stats;
};

/* --- table
 * ---------------------------------------------------------------------------------------- */

static struct neighbour_list *bucket_of(
	struct neighbours *nb, uint16_t vport, const struct ip_addr *a)
{
	return &nb->buckets[addr_hash(a, vport, nb->salt) & (BUCKETS - 1)];
}

static struct neighbour *find(struct neighbours *nb, uint16_t vport, const struct ip_addr *a)
{
	struct neighbour *n;

	LIST_FOREACH (n, bucket_of(nb, vport, a), link)
		if (n->v.vport == vport && ip_equal(&n->v.addr, a))
			return n;
	return NULL;
}

static struct link_vport *vport_of(struct neighbours *nb, uint16_t id)
{
	return id < VPORTS_MAX && nb->vports[id].present ? &nb->vports[id] : NULL;
}

static bool on_link(const struct link_vport *lv, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < lv->v.n_links; i++)
		if (ip_prefix_contains(&lv->v.links[i], a))
			return true;
	return false;
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

static bool usable(const struct neighbour *n)
{
	return n->v.has_mac && n->v.state != NEIGHBOUR_INCOMPLETE && n->v.state != NEIGHBOUR_FAILED;
}

/* --- records
 * -------------------------------------------------------------------------------------- */

static void record_write(struct neighbours *nb, const struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];
	struct next_hop r = {.kind = NEXT_HOP_UNRESOLVED,
		.vport = n->v.vport,
		.mtu = lv->v.mtu,
		.gateway = n->v.addr};
	uint16_t at = 12;

	if (usable(n)) {
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
static void host_update(struct neighbours *nb, struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];
	bool host = usable(n) && lv->v.role == VPORT_UPLINK && on_link(lv, &n->v.addr);

	if (host != n->host) {
		n->host = host;
		hosts_changed(nb);
	}
}

static void state_set(struct neighbours *nb, struct neighbour *n, enum neighbour_state s)
{
	static const uint32_t lifetimes[NEIGHBOUR_STATES] = {
		[NEIGHBOUR_INCOMPLETE] = NEIGHBOUR_RETRY_MS,
		[NEIGHBOUR_REACHABLE] = NEIGHBOUR_REACHABLE_MS,
		[NEIGHBOUR_STALE] = NEIGHBOUR_STALE_MS,
		[NEIGHBOUR_PROBE] = NEIGHBOUR_RETRY_MS,
	};
	bool was_pending = n->v.dynamic && n->v.state == NEIGHBOUR_INCOMPLETE;
	bool was_usable = usable(n);

	n->v.state = s;
	n->v.updated_ms = nb->now_ms;
	n->tries = 0;
	n->deadline_ms = lifetimes[s] != 0 ? nb->now_ms + lifetimes[s] : 0;
	if (s == NEIGHBOUR_FAILED && n->v.dynamic)
		n->deadline_ms = nb->now_ms + NEIGHBOUR_FAILED_MS;
	nb->pending += (uint32_t)(n->v.dynamic && s == NEIGHBOUR_INCOMPLETE) - was_pending;
	if (usable(n) != was_usable)
		record_write(nb, n);
	host_update(nb, n);
}

/* At the next look at the timers. 0 would be no deadline. */
static void ask_soon(struct neighbours *nb, struct neighbour *n)
{
	n->deadline_ms = nb->now_ms != 0 ? nb->now_ms : 1;
	nb->next_scan_ms = nb->now_ms;
}

static struct neighbour *neighbour_new(
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
		state_set(nb, n, NEIGHBOUR_STATIC);
	} else {
		record_write(nb, n);
		state_set(nb, n, NEIGHBOUR_INCOMPLETE);
		ask_soon(nb, n);
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

static void neighbour_free(struct neighbours *nb, struct neighbour *n)
{
	LIST_REMOVE(n, link);
	nb->stats.neighbours--;
	nb->stats.dynamic -= n->v.dynamic;
	nb->pending -= n->v.dynamic && n->v.state == NEIGHBOUR_INCOMPLETE;
	id_release(nb, n->v.next_hop);
	free(n);
	hosts_changed(nb);
}

/* --- asking
 * --------------------------------------------------------------------------------------- */

static void ask(struct neighbours *nb, struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];
	const struct ip_addr *source = &lv->v.source[ip_family(&n->v.addr)];
	uint8_t frame[REQUEST_ROOM];
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
		state_set(nb, n, NEIGHBOUR_FAILED);
		return true;
	case NEIGHBOUR_REACHABLE:
		state_set(nb, n, NEIGHBOUR_STALE);
		return true;
	case NEIGHBOUR_STALE:
		state_set(nb, n, NEIGHBOUR_PROBE);
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

	for (uint32_t i = 0; i < BUCKETS; i++) {
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

/* --- events
 * --------------------------------------------------------------------------------------- */

static void on_resolve(struct neighbours *nb, const struct worker_event *ev)
{
	struct link_vport *lv = vport_of(nb, ev->vport);
	struct neighbour *n;

	if (lv == NULL)
		return;
	n = find(nb, ev->vport, &ev->addr);
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
		state_set(nb, n, NEIGHBOUR_INCOMPLETE);
		ask(nb, n);
	}
}

static void on_neighbour(struct neighbours *nb, const struct worker_event *ev)
{
	struct link_vport *lv = vport_of(nb, ev->vport);
	struct neighbour *n;
	bool same;

	if (lv == NULL || (ev->mac[0] & 1) != 0)
		return;
	n = find(nb, ev->vport, &ev->addr);
	if (n == NULL)
		return;
	if (n->v.state == NEIGHBOUR_STATIC) {
		nb->stats.refused += memcmp(n->v.mac, ev->mac, 6) != 0;
		return;
	}
	same = n->v.has_mac && memcmp(n->v.mac, ev->mac, 6) == 0;
	/* What nobody asked for confirms nothing (RFC 4861 7.2.5). */
	if (same && usable(n) && !ev->solicited)
		return;
	nb->stats.answers++;
	if (!same) {
		bool was_usable = usable(n);

		n->v.has_mac = true;
		memcpy(n->v.mac, ev->mac, 6);
		if (was_usable)
			record_write(nb, n);
		log_state(n, "mac");
	}
	state_set(nb, n, ev->solicited ? NEIGHBOUR_REACHABLE : NEIGHBOUR_STALE);
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

/* --- vports
 * --------------------------------------------------------------------------------------- */

/* The other side's MAC was set, changed or unset by configuration. */
static void follow_peer_mac(struct neighbours *nb, struct neighbour *n, const struct link_vport *lv)
{
	if (lv->v.has_peer_mac) {
		n->v.has_mac = true;
		memcpy(n->v.mac, lv->v.peer_mac, 6);
		state_set(nb, n, NEIGHBOUR_STATIC);
	} else if (n->v.state == NEIGHBOUR_STATIC) {
		n->v.has_mac = false;
		state_set(nb, n, NEIGHBOUR_INCOMPLETE);
		ask_soon(nb, n);
	}
}

int neighbours_vport_set(struct neighbours *nb, const struct neighbour_vport *v)
{
	struct link_vport *lv = &nb->vports[v->id];
	bool renew;

	if (v->id == 0 || v->id >= VPORTS_MAX)
		return -EINVAL;
	pthread_mutex_lock(&nb->lock);
	renew = lv->present &&
		(lv->v.vlan != v->vlan || lv->v.mtu != v->mtu || lv->v.role != v->role ||
			lv->v.has_peer_mac != v->has_peer_mac || lv->v.n_links != v->n_links ||
			memcmp(lv->v.mac, v->mac, 6) != 0 ||
			memcmp(lv->v.peer_mac, v->peer_mac, 6) != 0 ||
			memcmp(lv->v.links, v->links, sizeof(v->links)) != 0);
	lv->present = true;
	lv->v = *v;
	for (uint32_t i = 0; renew && i < BUCKETS; i++) {
		struct neighbour *n = LIST_FIRST(&nb->buckets[i]), *after;

		for (; n != NULL; n = after) {
			after = LIST_NEXT(n, link);
			if (n->v.vport != v->id)
				continue;
			follow_peer_mac(nb, n, lv);
			record_write(nb, n);
			host_update(nb, n);
			if (n->v.dynamic && !on_link(lv, &n->v.addr))
				neighbour_free(nb, n);
		}
	}
	pthread_mutex_unlock(&nb->lock);
	return 0;
}

void neighbours_vport_remove(struct neighbours *nb, uint16_t vport)
{
	struct link_vport *lv;

	pthread_mutex_lock(&nb->lock);
	lv = vport_of(nb, vport);
	for (uint32_t i = 0; lv != NULL && i < BUCKETS; i++) {
		struct neighbour *n = LIST_FIRST(&nb->buckets[i]), *after;

		for (; n != NULL; n = after) {
			after = LIST_NEXT(n, link);
			if (n->v.vport == vport)
				neighbour_free(nb, n);
		}
	}
	if (lv != NULL) {
		if (lv->glean != 0)
			next_hops_release(&nb->hops, lv->glean);
		memset(lv, 0, sizeof(*lv));
	}
	pthread_mutex_unlock(&nb->lock);
}

/* --- next hops
 * ------------------------------------------------------------------------------------ */

uint16_t neighbours_hop(struct neighbours *nb, uint16_t vport, const struct ip_addr *addr)
{
	struct neighbour *n = NULL;

	pthread_mutex_lock(&nb->lock);
	if (vport_of(nb, vport) != NULL) {
		n = find(nb, vport, addr);
		if (n == NULL)
			n = neighbour_new(nb, vport, addr, false);
		if (n != NULL && n->v.dynamic) {
			nb->pending -= n->v.state == NEIGHBOUR_INCOMPLETE;
			nb->stats.dynamic--;
			n->v.dynamic = false;
		}
		if (n != NULL)
			n->refs++;
	}
	pthread_mutex_unlock(&nb->lock);
	return n != NULL ? n->v.next_hop : 0;
}

uint16_t neighbours_glean(struct neighbours *nb, uint16_t vport)
{
	struct link_vport *lv;
	uint16_t id = 0;

	pthread_mutex_lock(&nb->lock);
	lv = vport_of(nb, vport);
	if (lv != NULL && lv->glean == 0) {
		struct next_hop r = {.kind = NEXT_HOP_GLEAN, .vport = vport, .mtu = lv->v.mtu};

		id = next_hops_alloc(&nb->hops);
		if (id != 0 && next_hops_set(&nb->hops, id, &r) < 0) {
			next_hops_release(&nb->hops, id);
			id = 0;
		}
		lv->glean = id;
	}
	id = lv != NULL ? lv->glean : 0;
	pthread_mutex_unlock(&nb->lock);
	return id;
}

uint16_t neighbours_special(struct neighbours *nb, enum next_hop_kind kind)
{
	struct next_hop r = {.kind = (uint8_t)kind};
	uint16_t id;

	pthread_mutex_lock(&nb->lock);
	id = nb->special[kind];
	if (id == 0) {
		id = next_hops_alloc(&nb->hops);
		if (id != 0 && next_hops_set(&nb->hops, id, &r) < 0) {
			next_hops_release(&nb->hops, id);
			id = 0;
		}
		nb->special[kind] = id;
	}
	pthread_mutex_unlock(&nb->lock);
	return id;
}

/* Without routes a neighbour on a link goes on as one that packets found. */
static void unref(struct neighbours *nb, struct neighbour *n)
{
	const struct link_vport *lv = &nb->vports[n->v.vport];

	if (n->refs == 0 || --n->refs != 0)
		return;
	if (usable(n) && n->v.state != NEIGHBOUR_STATIC && on_link(lv, &n->v.addr)) {
		n->v.dynamic = true;
		nb->stats.dynamic++;
		return;
	}
	neighbour_free(nb, n);
}

void neighbours_release(struct neighbours *nb, uint16_t next_hop)
{
	const struct next_hop *r;
	struct neighbour *n;

	pthread_mutex_lock(&nb->lock);
	r = next_hop_get(nb->cfg.dp->next_hops, next_hop);
	if (r->kind == NEXT_HOP_FORWARD || r->kind == NEXT_HOP_UNRESOLVED) {
		n = find(nb, r->vport, &r->gateway);
		if (n != NULL && n->v.next_hop == next_hop)
			unref(nb, n);
	}
	pthread_mutex_unlock(&nb->lock);
}

void neighbours_hosts_each(struct neighbours *nb,
	void (*fn)(void *arg, const struct ip_addr *addr, uint16_t next_hop), void *arg)
{
	struct neighbour *n;

	pthread_mutex_lock(&nb->lock);
	for (uint32_t i = 0; i < BUCKETS; i++)
		LIST_FOREACH (n, &nb->buckets[i], link)
			if (n->host)
				fn(arg, &n->v.addr, n->v.next_hop);
	pthread_mutex_unlock(&nb->lock);
}

void neighbours_hosts_published(struct neighbours *nb)
{
	pthread_mutex_lock(&nb->lock);
	for (uint32_t i = 0; i < nb->n_gone; i++)
		next_hops_release(&nb->hops, nb->gone[i]);
	nb->n_gone = 0;
	pthread_mutex_unlock(&nb->lock);
}

void neighbours_announce(struct neighbours *nb, uint16_t vport, const struct ip_addr *addr)
{
	struct link_vport *lv;
	uint8_t frame[REQUEST_ROOM];
	uint16_t len;

	pthread_mutex_lock(&nb->lock);
	lv = vport_of(nb, vport);
	if (lv != NULL && nb->cfg.send != NULL) {
		len = neighbour_announce(addr, lv->v.mac, lv->v.vlan, frame, sizeof(frame));
		if (len != 0)
			nb->cfg.send(nb->cfg.arg, vport, frame, len);
	}
	pthread_mutex_unlock(&nb->lock);
}

/* --- readers
 * -------------------------------------------------------------------------------------- */

static int view_compare(const void *x, const void *y)
{
	const struct neighbour_view *a = x, *b = y;

	if (a->vport != b->vport)
		return a->vport < b->vport ? -1 : 1;
	return ip_compare(&a->addr, &b->addr);
}

uint32_t neighbours_each(struct neighbours *nb, const struct neighbour_view *after, uint32_t max,
	struct neighbour_view *out)
{
	struct neighbour_view *all;
	struct neighbour *n;
	uint32_t count = 0;

	pthread_mutex_lock(&nb->lock);
	all = malloc((nb->stats.neighbours + 1) * sizeof(*all));
	for (uint32_t i = 0; all != NULL && i < BUCKETS; i++)
		LIST_FOREACH (n, &nb->buckets[i], link)
			if (after == NULL || view_compare(&n->v, after) > 0)
				all[count++] = n->v;
	pthread_mutex_unlock(&nb->lock);
	if (all == NULL)
		return 0;
	qsort(all, count, sizeof(*all), view_compare);
	if (count > max)
		count = max;
	memcpy(out, all, count * sizeof(*all));
	free(all);
	return count;
}

void neighbours_stats(struct neighbours *nb, struct neighbours_stats *out)
{
	pthread_mutex_lock(&nb->lock);
	*out = nb->stats;
	out->next_hops = nb->hops.used;
	out->next_hops_high = nb->hops.high;
	pthread_mutex_unlock(&nb->lock);
}

/* --- life
 * ----------------------------------------------------------------------------------------- */

int neighbours_init(const struct neighbours_config *cfg, struct neighbours **out)
{
	struct neighbours *nb = calloc(1, sizeof(*nb));
	int err;

	if (nb == NULL)
		return -ENOMEM;
	nb->cfg = *cfg;
	nb->now_ms = 1; /* a deadline of 0 means none, and neighbours come before the first poll */
	if (getrandom(&nb->salt, sizeof(nb->salt), GRND_NONBLOCK) != sizeof(nb->salt))
		nb->salt = (uint64_t)(uintptr_t)nb;
	for (uint32_t i = 0; i < BUCKETS; i++)
		LIST_INIT(&nb->buckets[i]);
	err = next_hops_init(&nb->hops, cfg->dp->next_hops, cfg->retire);
	if (err < 0) {
		free(nb);
		return err;
	}
	pthread_mutex_init(&nb->lock, NULL);
	*out = nb;
	return 0;
}

void neighbours_set_callbacks(struct neighbours *nb,
	int (*send)(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len),
	void (*hosts_changed_fn)(void *arg), void *arg)
{
	nb->cfg.send = send;
	nb->cfg.hosts_changed = hosts_changed_fn;
	nb->cfg.arg = arg;
}

void neighbours_fini(struct neighbours *nb)
{
	if (nb == NULL)
		return;
	for (uint32_t i = 0; i < BUCKETS; i++) {
		struct neighbour *n;

		while ((n = LIST_FIRST(&nb->buckets[i])) != NULL) {
			LIST_REMOVE(n, link);
			free(n);
		}
	}
	next_hops_fini(&nb->hops);
	free(nb->gone);
	pthread_mutex_destroy(&nb->lock);
	free(nb);
}
