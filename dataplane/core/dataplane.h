/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The switch: everything workers share, and what one worker owns.
 *
 * Publication: control builds an immutable record per domain and stores its pointer into struct
 * dataplane with release; a worker loads all pointers once at the top of its loop into
 * worker.snap and is quiescent at the end of it, so a packet sees one generation. Control frees
 * the old record a grace period later. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/affinity.h"
#include "core/burst.h"
#include "core/drop.h"
#include "core/flow.h"
#include "core/grace.h"
#include "core/ip.h"
#include "core/limits.h"
#include "core/offload.h"
#include "core/route.h"
#include "core/service.h"
#include "core/spsc.h"

/* --- vports ------------------------------------------------------------------------------------
 */

enum vport_role {
	VPORT_POD,    /* source guard on; gateway answered; all ARP and ND answered */
	VPORT_HOST,   /* the node's own stack; same as a pod, with the node's addresses */
	VPORT_UPLINK, /* other nodes and the outside; ARP and ND answered for owned addresses */
};

struct vport {
	uint16_t id;
	uint8_t role; /* enum vport_role */
	uint8_t n_addrs;
	uint16_t mtu; /* of an IP packet */
	uint16_t zone;
	uint16_t vlan; /* 0: untagged */
	uint16_t port; /* the rim's port index */
	bool up;
	bool source_guard;
	bool local_clients;  /* detect-local by name: its clients are local */
	bool peer_mac_known; /* else learned by ARP and ND, and the guard does not compare it */
	uint8_t mac[6];      /* ours, on this vport */
	uint8_t peer_mac[6]; /* the pod's */
	struct ip_prefix addrs[VPORT_ADDRS_MAX]; /* what the other side may send as; uplink: none */
	char name[VPORT_NAME_MAX];
};

static inline enum svc_source vport_svc_source(const struct vport *v)
{
	return v->role == VPORT_POD     ? SVC_FROM_POD
		: v->role == VPORT_HOST ? SVC_FROM_HOST
					: SVC_FROM_OUTSIDE;
}

struct vport_table {
	const struct vport *at[VPORTS_MAX]; /* by id; NULL when absent; [0] is never used */
};

/* --- routes -------------------------------------------------------------------------------------
 */

/* Addresses that Sluice or its host own: ARP and ND on uplinks answer for them. */
struct route_domain {
	uint32_t generation; /* never repeats; flows of another generation are routed again */
	const struct fib *fib;
	uint32_t n_owned;
	const struct ip_addr *owned;             /* sorted; node addresses and configured extras */
	struct ip_addr icmp_source[IP_FAMILIES]; /* of errors we send; zero: do not send */
	struct ip_addr gateway[IP_FAMILIES];     /* what pods and the host have as their router */
};

/* --- tunables ------------------------------------------------------------------------------------
 */

struct snat_config {
	struct ip_addr addr[IP_FAMILIES]; /* zero: none */
	uint16_t port_min, port_max;      /* host order, inclusive */
	uint16_t avoid_min, avoid_max;    /* the NodePort range, inside which no port is taken */
	bool egress;                      /* pods to outside the cluster are masqueraded */
	uint32_t n_cluster;               /* destinations never masqueraded: pod and node ranges */
	const struct ip_prefix *cluster;
};

struct tunables {
	struct flow_timeouts timeouts;
	struct snat_config snat;
	bool tcp_pick_up; /* mid-stream TCP without a flow makes one (after a restart) */
	bool draining;
};

/* --- what all workers share
 * ------------------------------------------------------------------------ */

struct dataplane {
	_Atomic(const struct vport_table *) vports;
	_Atomic(const struct svc_domain *) services;
	_Atomic(const struct route_domain *) routes;
	_Atomic(const struct tunables *) tunables;
	/* Moves when an address becomes a UDP service's: flows to it that were nobody's are judged
	 * anew. Writer: control, behind the change. */
	_Atomic uint32_t frontend_generation;
	struct next_hop_table *next_hops;
	struct flow_table *flows;
	struct affinity_table *affinity; /* ClientIP session affinity */
	struct grace grace;
	_Atomic uint32_t offload_shift; /* see core/offload.h; the offload thread writes it */
	uint32_t n_workers;
	struct worker *workers[WORKERS_MAX];
};

struct snapshot {
	const struct vport_table *vports;
	const struct svc_domain *services;
	const struct route_domain *routes;
	const struct tunables *tunables;
	struct next_hop_table *next_hops;
	/* Of routes and frontends together: flows of another one are judged anew. Both parts only
	 * grow, so equal sums are equal states. */
	uint32_t generation;
};

/* --- counters: one writer (the worker), any reader by relaxed loads
 * ---------------------------------- */

enum stage_id {
#define STAGE(name, text) STAGE_##name,
#include "core/stages.def"
#undef STAGE
	STAGES
};

extern const char *const stage_names[STAGES];
extern const char *const stage_texts[STAGES];

struct vport_counters {
	/* Packets and bytes of one direction apart: neighbours make GCC 12 add them as a vector,
	 * which costs twice as much. */
	uint64_t rx_packets, tx_packets, drops, rx_bytes, tx_bytes;
};

struct worker_counters {
	uint64_t received, sent;
	uint64_t originated; /* packets we made: errors, resets, fragments */
	uint64_t loops, busy_loops, bursts;
	uint64_t busy_ticks, idle_ticks;
	uint64_t longest_loop_ticks;
	uint64_t stage_packets[STAGES];
	uint64_t drops[DROP_REASONS];
	uint64_t snat_ports_tried, snat_port_kept, flows_reselected, held_total, held_high;
	uint64_t offload_requests, offload_lost; /* to the offload thread; its ring was full */
	uint64_t marks_followed,
		marks_stale; /* NIC's marks that led to the packet's flow, or not */
	struct vport_counters vport[VPORTS_MAX];
};

#define COUNT(field, n) ((field) += (uint64_t)(n))

/* --- events to control
 * ---------------------------------------------------------------------------------- */

enum worker_event_kind {
	EVENT_RESOLVE,   /* ask for addr on vport */
	EVENT_NEIGHBOUR, /* addr on vport has mac; override tells ND's O flag, solicited its S flag
			  */
};

struct worker_event {
	uint8_t kind;
	uint8_t mac[6];
	uint8_t solicited;
	uint16_t vport;
	uint16_t next_hop;
	struct ip_addr addr;
};

/* --- the rim, as stages see it
 * ---------------------------------------------------------------------------- */

struct worker;

/* Indirect calls, one a burst or on slow paths only. */
struct worker_io {
	/* A buffer with len bytes of room and headroom in front; NULL when none. */
	void *(*alloc)(struct worker *w, uint16_t len, uint8_t **data);
	/* Gives back the buffers of lanes. */
	void (*free_lanes)(struct worker *w, struct burst *b, lanes_t lanes);
	/* Sends lanes on b->out_vport. Those that cannot be sent are counted as drops by reason and
	 * freed; the call owns all lanes afterwards. */
	void (*transmit)(struct worker *w, struct burst *b, lanes_t lanes);
	/* Sends one packet that alloc gave. */
	void (*transmit_one)(
		struct worker *w, void *buf, uint8_t *data, uint16_t len, uint16_t vport);
	void (*free_one)(struct worker *w, void *buf);
};

struct frag_table;

struct held_packet {
	void *buf;
	uint8_t *data;
	uint16_t len;
	uint16_t l3;
	uint16_t in_vport;
	uint8_t flags;
	uint32_t deadline_ms;
	struct ip_addr target; /* who must answer */
};

/* Which first packets a worker that is behind still takes (pipelines/flow.c). */
struct admission {
	bool behind;     /* by the rim before each burst: its queue holds more than the burst */
	uint32_t quiet;  /* bursts since one had a packet of a flow that exists */
	uint32_t credit; /* first packets that may be taken, in parts of FLOW_NEW_PER_HITS */
};

/* Writers/Readers: its own thread; counters and heartbeat are read by others. */
struct worker {
	uint32_t id;
	uint32_t now_ms; /* monotonic, wraps; set by the loop */
	struct dataplane *dp;
	struct snapshot snap;
	const struct worker_io *io;
	struct frag_table *frags;
	struct spsc *events; /* of struct worker_event, to control */
	/* Of struct offload_request, to the offload thread; NULL: off. Set before the worker runs.
	 */
	struct spsc *offload;
	int32_t offload_credit; /* packets until the next nomination */
	uint32_t offload_shift; /* by which that distance was drawn */
	uint32_t random;        /* xorshift state, never 0 */
	struct admission admission;
	uint32_t reject_tokens;
	uint32_t reject_refilled_ms;
	uint32_t held_count;
	uint32_t held_tried_ms;
	struct held_packet held[HOLD_MAX];
	struct burst burst;
	struct worker_counters counters;
	_Atomic uint64_t heartbeat; /* loops done */
	void *rim;                  /* the rim's own part */
};

/* Control thread, behind a change that makes an address a UDP service's. */
static inline void dataplane_frontends_changed(struct dataplane *dp)
{
	atomic_fetch_add_explicit(&dp->frontend_generation, 1, memory_order_release);
}

static inline void worker_load_snapshot(struct worker *w)
{
	struct dataplane *dp = w->dp;
	/* Loaded first: what is seen later is at least as new, so nothing passes for judged that
	 * was not. */
	uint32_t frontends = atomic_load_explicit(&dp->frontend_generation, memory_order_acquire);

	w->snap.vports = atomic_load_explicit(&dp->vports, memory_order_acquire);
	w->snap.services = atomic_load_explicit(&dp->services, memory_order_acquire);
	w->snap.routes = atomic_load_explicit(&dp->routes, memory_order_acquire);
	w->snap.tunables = atomic_load_explicit(&dp->tunables, memory_order_acquire);
	w->snap.next_hops = dp->next_hops;
	w->snap.generation = frontends + w->snap.routes->generation;
}

/* Control thread: prepares an empty, working switch (no vports, services not ready, no routes,
 * default tunables) around an existing flow table. The records it publishes are constants of
 * core: who replaces them must not free them. Every next hop id has a record, NEXT_HOP_NONE at
 * first. Records that control published stay control's at the end. */
int dataplane_init(struct dataplane *dp, struct flow_table *flows);
void dataplane_fini(struct dataplane *dp);
/* Enters the worker into dp and loads its first snapshot. */
int worker_init(struct worker *w, struct dataplane *dp, uint32_t id, const struct worker_io *io);
void worker_fini(struct worker *w);
