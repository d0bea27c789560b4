/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Inside of the neighbours; included by neighbours*.c only. Control thread, under the lock. */

#pragma once

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "control/neighbours.h"
#include "control/next_hops.h"

#define NEIGHBOUR_BUCKETS    4096 /* a power of two */
#define NEIGHBOUR_FRAME_ROOM 128  /* ARP or ND, with a VLAN tag */

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
	struct neighbour_list buckets[NEIGHBOUR_BUCKETS];
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

static inline bool neighbour_usable(const struct neighbour *n)
{
	return n->v.has_mac && n->v.state != NEIGHBOUR_INCOMPLETE && n->v.state != NEIGHBOUR_FAILED;
}

static inline bool neighbour_on_link(const struct link_vport *lv, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < lv->v.n_links; i++)
		if (ip_prefix_contains(&lv->v.links[i], a))
			return true;
	return false;
}

static inline struct link_vport *neighbour_vport_of(struct neighbours *nb, uint16_t id)
{
	return id < VPORTS_MAX && nb->vports[id].present ? &nb->vports[id] : NULL;
}

struct neighbour *neighbour_find(struct neighbours *nb, uint16_t vport, const struct ip_addr *a);
struct neighbour *neighbour_new(
	struct neighbours *nb, uint16_t vport, const struct ip_addr *addr, bool dynamic);
void neighbour_free(struct neighbours *nb, struct neighbour *n);
void neighbour_state_set(struct neighbours *nb, struct neighbour *n, enum neighbour_state s);
/* Asked at the next look at the timers. */
void neighbour_ask_soon(struct neighbours *nb, struct neighbour *n);
/* Renews the next hop's record. */
void neighbour_record_write(struct neighbours *nb, const struct neighbour *n);
/* A host route exists for every usable neighbour on an uplink's link. */
void neighbour_host_update(struct neighbours *nb, struct neighbour *n);
