/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What others ask of the neighbours: vports, counted next hops, host routes, announcements, the
 * list, birth and end (see neighbours.h). Control thread, the list any. */

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "control/neighbours_private.h"
#include "core/packet.h"

/* --- vports ---------------------------------------------------------------------------------- */

/* The other side's MAC was set, changed or unset by configuration. */
static void follow_peer_mac(struct neighbours *nb, struct neighbour *n, const struct link_vport *lv)
{
	if (lv->v.has_peer_mac) {
		n->v.has_mac = true;
		memcpy(n->v.mac, lv->v.peer_mac, 6);
		neighbour_state_set(nb, n, NEIGHBOUR_STATIC);
	} else if (n->v.state == NEIGHBOUR_STATIC) {
		n->v.has_mac = false;
		neighbour_state_set(nb, n, NEIGHBOUR_INCOMPLETE);
		neighbour_ask_soon(nb, n);
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
	for (uint32_t i = 0; renew && i < NEIGHBOUR_BUCKETS; i++) {
		struct neighbour *n = LIST_FIRST(&nb->buckets[i]), *after;

		for (; n != NULL; n = after) {
			after = LIST_NEXT(n, link);
			if (n->v.vport != v->id)
				continue;
			follow_peer_mac(nb, n, lv);
			neighbour_record_write(nb, n);
			neighbour_host_update(nb, n);
			if (n->v.dynamic && !neighbour_on_link(lv, &n->v.addr))
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
	lv = neighbour_vport_of(nb, vport);
	for (uint32_t i = 0; lv != NULL && i < NEIGHBOUR_BUCKETS; i++) {
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

/* --- next hops ------------------------------------------------------------------------------- */

uint16_t neighbours_hop(struct neighbours *nb, uint16_t vport, const struct ip_addr *addr)
{
	struct neighbour *n = NULL;

	pthread_mutex_lock(&nb->lock);
	if (neighbour_vport_of(nb, vport) != NULL) {
		n = neighbour_find(nb, vport, addr);
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
	lv = neighbour_vport_of(nb, vport);
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
	if (neighbour_usable(n) && n->v.state != NEIGHBOUR_STATIC &&
		neighbour_on_link(lv, &n->v.addr)) {
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
		n = neighbour_find(nb, r->vport, &r->gateway);
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
	for (uint32_t i = 0; i < NEIGHBOUR_BUCKETS; i++)
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
	uint8_t frame[NEIGHBOUR_FRAME_ROOM];
	uint16_t len;

	pthread_mutex_lock(&nb->lock);
	lv = neighbour_vport_of(nb, vport);
	if (lv != NULL && nb->cfg.send != NULL) {
		len = neighbour_announce(addr, lv->v.mac, lv->v.vlan, frame, sizeof(frame));
		if (len != 0)
			nb->cfg.send(nb->cfg.arg, vport, frame, len);
	}
	pthread_mutex_unlock(&nb->lock);
}

/* --- readers --------------------------------------------------------------------------------- */

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
	for (uint32_t i = 0; all != NULL && i < NEIGHBOUR_BUCKETS; i++)
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

/* --- life ------------------------------------------------------------------------------------ */

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
	for (uint32_t i = 0; i < NEIGHBOUR_BUCKETS; i++)
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

void neighbours_fini(struct neighbours *nb)
{
	if (nb == NULL)
		return;
	for (uint32_t i = 0; i < NEIGHBOUR_BUCKETS; i++) {
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
