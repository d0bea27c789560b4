/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Makes the dataplane follow the model.
 *
 * Takes the model's dirty objects in order, compares each with what was applied for it, and
 * publishes the difference: one service's event costs that service. Routes, addresses and
 * tunables are small and rebuilt whole, once a step. Nothing is programmed before every awaited
 * source is complete; until then service addresses drop. What was replaced is freed a grace
 * period later.
 *
 * Control thread; a step works for at most RECONCILE_SLICE_NS and never waits. Readers of other
 * threads: the functions at the end say so. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config.h"
#include "control/model.h"
#include "control/neighbours.h"
#include "core/dataplane.h"

#define RECONCILE_SLICE_NS 10000000

struct reconciler;

/* What the reconciler needs of the rim. */
struct reconcile_io {
	void *arg;
	/* Opens what the vport stands on. v comes filled from the model (id, role, VLAN, …); the
	 * callee sets port, and mac and mtu where those are zero. 0, or -errno with a reason in why
	 * (size bytes) for people. */
	int (*vport_open)(
		void *arg, const struct model_vport *want, struct vport *v, char *why, size_t size);
	/* The vport is in the published table: frames may come and go. 0 or -errno. */
	int (*vport_start)(void *arg, const struct vport *v, char *why, size_t size);
	/* It is about to leave the table: no more frames from it. */
	void (*vport_stop)(void *arg, uint16_t id);
	/* It left the table a grace period ago. */
	void (*vport_close)(void *arg, uint16_t id);
	/* Returns when every worker has passed a grace period, or none runs. For the end only,
	 * where waiting is right. NULL: workers have stopped before reconcile_fini(). */
	void (*synchronize)(void *arg);
	/* Takes out of hardware what no longer follows from what is published, and tells when it is
	 * out; any object is acknowledged behind that. NULL: there is no hardware. */
	bool (*hardware_present)(void *hardware);
	uint64_t (*revalidate)(void *hardware);
	bool (*settled)(void *hardware, uint64_t ticket);
	void *arg_hardware;
	/* Monotonic; NULL: CLOCK_MONOTONIC. */
	uint64_t (*clock_ns)(void *arg);
};

/* The configuration is borrowed until the next reconcile_configure(). The neighbours' callbacks
 * stay the caller's; reconcile_hosts_changed() is what to wire as hosts_changed. */
int reconcile_init(struct dataplane *dp, struct model *m, struct neighbours *nb,
	struct retire *retire, const struct config *cfg, const struct reconcile_io *io,
	struct reconciler **out);
/* Takes back what it published, synchronizes, closes the vports and empties the retire queue.
 * Workers have stopped or receive nothing any more. Neighbours, the queue itself and the model are
 * ended after it. */
void reconcile_fini(struct reconciler *r);

/* Another configuration in force; keys that need a restart are the caller's to refuse. */
void reconcile_configure(struct reconciler *r, const struct config *cfg);
/* New flows are refused from the next step on (or taken again). */
void reconcile_drain(struct reconciler *r, bool draining);
void reconcile_hosts_changed(void *reconciler);

/* One slice of work. True: more is left, call again as soon as the loop allows. False: call again
 * when the model notifies, behind neighbours_poll(), and after RECONCILE_IDLE_MS in any case, for
 * what waits for a grace period or to be tried again. */
#define RECONCILE_IDLE_MS 50
bool reconcile_step(struct reconciler *r);
/* A grace period or the hardware is waited for: call again within a millisecond or so. */
bool reconcile_settling(const struct reconciler *r);

/* --- readers --------------------------------------------------------------------------------- */

/* Of steps by what they took: at most 1, 2, 4, … 16384 ms. */
#define RECONCILE_STEP_BUCKETS 15

struct reconcile_stats {
	bool ready; /* the first full state is applied */
	uint32_t services, svc_ports, frontends, backends, routes[IP_FAMILIES], vports;
	uint32_t conflicts;     /* frontends that several services claim, now */
	uint64_t steps, events; /* objects taken from the model */
	/* Steps that took any, both families in one. */
	uint64_t syncs, sync_ns, sync_bucket[RECONCILE_STEP_BUCKETS]; /* not cumulative */
	uint64_t ports_replaced, lists_built, frontends_set, frontends_removed, retired;
	uint64_t routes_published, errors;
	uint64_t verified,
		repairs; /* services looked at again; what differed is an error of ours */
	uint64_t last_event_ns, max_event_ns, busy_ns;
	uint64_t last_applied_ms; /* monotonic */
	uint32_t pending;         /* dirty objects */
};

/* Any thread. */
void reconcile_stats(struct reconciler *r, struct reconcile_stats *out);
bool reconcile_ready(const struct reconciler *r);

/* Any thread: "namespace/name:port" of a service port's id, as flows hold it; false when it is
 * gone. */
bool reconcile_service_name(struct reconciler *r, uint32_t svc_port_id, char *out, size_t size);
/* Any thread: the id of a vport by name, 0 when absent, and back. */
uint16_t reconcile_vport_id(struct reconciler *r, const char *name);

/* Any thread: copies of the routes in force behind *after (NULL: from the first), ordered by
 * family, address, length; at most max. */
enum reconcile_route_source {
	ROUTE_FROM_CONFIG,   /* static routes of any owner */
	ROUTE_FROM_LINK,     /* prefix of an uplink's address */
	ROUTE_FROM_VPORT,    /* an address behind a vport */
	ROUTE_FROM_NODE,     /* pods or addresses of another node */
	ROUTE_FROM_LOCAL,    /* addresses of Sluice itself */
	ROUTE_FROM_POD_CIDR, /* unused pod addresses of this node */
	ROUTE_FROM_NEIGHBOUR /* a host found on a link */
};

extern const char *const reconcile_route_source_names[];

struct reconcile_route {
	struct ip_prefix prefix;
	uint16_t next_hop;
	uint8_t kind;   /* enum next_hop_kind */
	uint8_t source; /* enum reconcile_route_source */
	uint16_t vport;
	struct ip_addr via; /* zero: none */
};
uint32_t reconcile_routes_each(struct reconciler *r, const struct ip_prefix *after, uint32_t max,
	struct reconcile_route *out);

/* Any thread: which services claim a frontend that another one has; kept until it is resolved. */
struct reconcile_conflict {
	struct ip_addr addr;
	uint16_t port; /* host order */
	uint8_t proto;
	char winner[320], loser[320]; /* "namespace/name" */
};
uint32_t reconcile_conflicts(
	struct reconciler *r, uint32_t from, uint32_t max, struct reconcile_conflict *out);
