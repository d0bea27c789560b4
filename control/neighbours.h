/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Neighbours and the next hops that lead to them.
 *
 * Owns the ids and records of the dataplane's next hop table. A neighbour is (vport, address); it
 * is asked by ARP or ND when a worker or a route needs it, and its next hop's record is replaced
 * in place when the answer comes. Static peers are never asked. Neighbours that packets found on
 * an on-link prefix become host routes (neighbours_hosts_each). Callbacks are called with the
 * module's lock held and must not call back into it.
 *
 * States: incomplete -> reachable -> stale -> probe -> reachable, or failed when three requests a
 * second apart stay unanswered. Stale and probed neighbours go on being used.
 *
 * Control thread, but for neighbours_each() which any thread may call. Time is passed in:
 * monotonic milliseconds. Nothing here waits. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/retire.h"
#include "core/dataplane.h"
#include "core/ip.h"

/* On-link neighbours learned from packets, all vports together: a scan of a /64 must not grow the
 * route table without bound. */
#define NEIGHBOURS_DYNAMIC_MAX 8192
/* Those among them that have not answered yet: what a scan makes us send a second. */
#define NEIGHBOURS_PENDING_MAX 512

#define NEIGHBOUR_RETRY_MS     1000
#define NEIGHBOUR_TRIES        3
#define NEIGHBOUR_REACHABLE_MS 30000
#define NEIGHBOUR_STALE_MS     30000 /* stale this long: probed */
#define NEIGHBOUR_FAILED_MS    1000  /* a failed one is not asked again before */

enum neighbour_state {
	NEIGHBOUR_INCOMPLETE,
	NEIGHBOUR_REACHABLE,
	NEIGHBOUR_STALE,
	NEIGHBOUR_PROBE,
	NEIGHBOUR_FAILED,
	NEIGHBOUR_STATIC,
	NEIGHBOUR_STATES
};

extern const char *const neighbour_state_names[NEIGHBOUR_STATES];

struct neighbours;

struct neighbours_config {
	struct dataplane *dp;
	struct retire *retire;
	/* Sends a whole frame out of a vport; 0 or -errno. May be called at any time. */
	int (*send)(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len);
	/* The set of host routes changed: routes have to be published again. May be NULL. */
	void (*hosts_changed)(void *arg);
	void *arg;
};

/* How neighbours of a vport are asked and reached. */
struct neighbour_vport {
	uint16_t id, vlan, mtu;
	uint8_t role; /* enum vport_role */
	uint8_t mac[6];
	bool has_peer_mac;
	uint8_t peer_mac[6];
	struct ip_addr source[IP_FAMILIES]; /* of our requests; zero: the family is not asked */
	uint32_t n_links;                   /* prefixes inside which neighbours are learned */
	struct ip_prefix links[VPORT_ADDRS_MAX];
};

int neighbours_init(const struct neighbours_config *cfg, struct neighbours **out);
void neighbours_fini(struct neighbours *nb);

/* Adds or changes; records of its neighbours are renewed when MACs, VLAN or MTU differ. */
int neighbours_vport_set(struct neighbours *nb, const struct neighbour_vport *v);
/* Routes through it must be gone before: its next hops become NEXT_HOP_NONE. */
void neighbours_vport_remove(struct neighbours *nb, uint16_t vport);

/* Next hop ids, counted: each call is paired with neighbours_release(). 0: none left or no such
 * vport. A peer's address, through which a route leads: */
uint16_t neighbours_hop(struct neighbours *nb, uint16_t vport, const struct ip_addr *addr);
/* An on-link prefix of a vport: */
uint16_t neighbours_glean(struct neighbours *nb, uint16_t vport);
/* NEXT_HOP_LOCAL, NEXT_HOP_BLACKHOLE, NEXT_HOP_PROHIBIT: */
uint16_t neighbours_special(struct neighbours *nb, enum next_hop_kind kind);
/* The id is given again only a grace period later; call behind the publication of routes that do
 * not hold it. */
void neighbours_release(struct neighbours *nb, uint16_t next_hop);

/* Host routes of neighbours on uplinks' links, those with a MAC. The ids are not counted: they stay
 * valid until hosts_changed() and the next publication of routes. */
void neighbours_hosts_each(struct neighbours *nb,
	void (*fn)(void *arg, const struct ip_addr *addr, uint16_t next_hop), void *arg);
/* Routes without the hosts that are gone were published: their ids may be given again. */
void neighbours_hosts_published(struct neighbours *nb);

/* Takes in the workers' events (a bounded number) and runs the timers. Returns the milliseconds
 * after which it wants to be called again without an event, 0 when events are left. */
uint32_t neighbours_poll(struct neighbours *nb, uint64_t now_ms);
/* One event, as neighbours_poll() takes them from the workers. */
void neighbours_event(struct neighbours *nb, const struct worker_event *ev, uint64_t now_ms);
/* Gratuitous ARP or unsolicited NA of an address that is ours. */
void neighbours_announce(struct neighbours *nb, uint16_t vport, const struct ip_addr *addr);

struct neighbour_view {
	uint16_t vport;
	uint16_t next_hop;
	struct ip_addr addr;
	enum neighbour_state state;
	bool has_mac;
	uint8_t mac[6];
	bool dynamic;        /* found on a link, not asked for by a route */
	uint64_t updated_ms; /* last change of state or confirmation */
	uint64_t requests;
};

/* Any thread. Neighbours behind (vport, addr) of *after (NULL: from the first), in that order, at
 * most max; copies, so the caller may take its time with them. Returns how many. */
uint32_t neighbours_each(struct neighbours *nb, const struct neighbour_view *after, uint32_t max,
	struct neighbour_view *out);

struct neighbours_stats {
	uint32_t neighbours, dynamic, next_hops, next_hops_high;
	uint64_t requests, answers, failures, refused, events;
};
void neighbours_stats(struct neighbours *nb, struct neighbours_stats *out);
