/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Offload under random faults and churn on the emulated NIC: what chaos_*.c share.
 *
 * The real worker loop runs the real pipelines on the NIC's ports, the offload engine makes rules
 * through rte_flow, the NIC's thread forwards by them. The main thread is everything else: clients
 * and servers on the wires, control, and whoever breaks things. The engine's turns run on a thread
 * of their own under a lock, so that the main thread can stop it between two turns and compare. */

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"
#include "io/rim.h"
#include "lib/frames.h"
#include "net_emu/net_emu.h"
#include "offload/engine.h"

/* --- what may happen, and what is checked ------------------------------------------------------
 */

#define CHAOS_KINDS(X)                                                      \
	X(capacity, "the NIC takes fewer rules")                            \
	X(counters_out, "the NIC has fewer counters")                       \
	X(latency, "calls take up to 2 ms")                                 \
	X(insert_every, "each n-th insert fails")                           \
	X(insert_shape, "inserts fail: not supported")                      \
	X(insert_full, "inserts fail: full")                                \
	X(insert_exists, "inserts fail: exists")                            \
	X(insert_device, "inserts fail: device, until the breaker opens")   \
	X(destroy_once, "a destroy fails once or twice")                    \
	X(destroy_more, "destroys fail until the port is flushed")          \
	X(flush_fails, "destroys and flushes fail: the port is stopped")    \
	X(query_fails, "queries fail")                                      \
	X(stale_counters, "counters are up to a second old")                \
	X(silent, "rules are accepted and never hit")                       \
	X(lost_event, "aged events are lost")                               \
	X(link, "a link goes down and up")                                  \
	X(port_restart, "a port stops and starts with its rules")           \
	X(port_again, "a port leaves the engine and is probed again")       \
	X(unplugged, "the device is pulled out under load, and comes back") \
	X(replaced, "the device is taken away in order, and comes back")    \
	X(killed, "the daemon dies, the NIC keeps its rules")               \
	X(killed_no_flush, "the same, and the first flushes fail")          \
	X(all_off, "an operator flushes the rules")                         \
	X(disabled, "offload is switched off and on")                       \
	X(smaller, "fewer rules are configured")                            \
	X(neighbour, "a neighbour has another MAC")                         \
	X(vport_gone, "a pod's vport is removed and added")                 \
	X(blackhole, "a route leads nowhere for a while")                   \
	X(mtu, "a next hop's MTU shrinks and grows")                        \
	X(endpoint, "an endpoint is removed and added")                     \
	X(flows_killed, "flows are killed by their ids")

#define CHAOS_CHECKS(X)                                                      \
	X(rules_same, "rules in the NIC = rules in our table")               \
	X(rule_has_flow, "a rule's flow entry is held by it")                \
	X(key_is_its_own, "a rule's tuple belongs to no other flow")         \
	X(sums, "the engine's sums = its table")                             \
	X(counted, "what the NIC told of hits = what was counted")           \
	X(counted_all, "in a quiet removal no hit is lost")                  \
	X(delivered_right, "a frame comes to whom it belongs, as it should") \
	X(denied, "a frame behind an acknowledged denial: it does not pass") \
	X(acknowledged, "a change is acknowledged")                          \
	X(stale_gone, "no rule of a former life is left after the start")    \
	X(polite, "a port that leaves in order has no rules")                \
	X(handles, "no call with a handle that is none")                     \
	X(nic_balance, "NIC: frames in = frames out + drops")                \
	X(switch_balance, "workers: received = sent + dropped + held")       \
	X(flows_back, "every flow entry is free again")                      \
	X(buffers_back, "every buffer is back")                              \
	X(no_growth, "memory and descriptors do not grow")

enum chaos_kind {
#define X(name, text) KIND_##name,
	CHAOS_KINDS(X)
#undef X
	KINDS
};

enum chaos_check {
#define X(name, text) CHECK_##name,
	CHAOS_CHECKS(X)
#undef X
	CHECKS
};

/* --- the switch (chaos_switch.c) ---------------------------------------------------------------
 */

#define PORTS     3 /* of the NIC: uplink, vf0, vf1; the vports on them are 3, 1, 2 */
#define ENDPOINTS 2
#define FLOWS     512 /* entries of a family */
#define RULES     160

extern const char *const chaos_client[IP_FAMILIES], *const chaos_server[IP_FAMILIES];
extern const char *const chaos_vip[IP_FAMILIES], *const chaos_outside[IP_FAMILIES];
extern const char *const chaos_node[IP_FAMILIES];
#define VIP_PORT      80
#define ENDPOINT_PORT 8080 /* and the next */
#define PLAIN_PORT    9000
#define SNAT_MIN      2000
#define SNAT_MAX      2031 /* few, so that they are given again all the time */

static inline unsigned chaos_place(uint16_t vport)
{
	return vport == 3 ? 0 : vport;
}

/* As published last. Numbers of frames: those sent behind it must see the change. */
struct chaos_truth {
	uint8_t mac[4];                 /* [vport]: version of its peer's */
	uint64_t mac_since[4];          /* acknowledged before this frame; 0: not yet */
	uint64_t gone_vport[4];         /* nothing passes to or from that vport */
	uint64_t hole_since;            /* nothing passes to the server */
	uint64_t gone_since[ENDPOINTS]; /* no UDP frame comes to it */
};

struct chaos {
	uint64_t seed, random;
	const char *profile;
	double end;
	uint64_t frame;     /* number of the last */
	uint64_t killed_at; /* the last one when flows were killed under traffic */
	uint64_t broken, kinds[KINDS], checks[CHECKS];

	struct rim *rim;
	struct dataplane *dp;
	struct emu_nic *nic;
	bool pulled;           /* the device, and nobody has noticed yet */
	uint16_t index[PORTS]; /* the rim's */
	uint16_t ethdev[PORTS];
	struct chaos_truth truth;

	pthread_t thread;
	pthread_mutex_t lock; /* of e; held during a turn */
	_Atomic bool stop;
	_Atomic int wanted; /* somebody waits for the lock */
	struct offload_engine *e;
	struct offload_config cfg;
	uint32_t alarms;

	/* Of engines and NICs that are gone. */
	struct offload_stats before;
	uint64_t packets_before;
	struct net_emu_counters nic_before;

	struct {
		uint64_t heap, memory;
		uint32_t fds;
	} baseline;
};

static inline uint32_t chaos_below(struct chaos *c, uint32_t n)
{
	uint64_t z = c->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) % n);
}

double chaos_now(void);
/* A broken invariant. The first few are told. */
void chaos_broken(struct chaos *c, enum chaos_check check, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Counts a check; what is not so is told. */
#define CHAOS_CHECK(c, name, cond, ...)                               \
	do {                                                          \
		(c)->checks[CHECK_##name]++;                          \
		if (!(cond))                                          \
			chaos_broken((c), CHECK_##name, __VA_ARGS__); \
	} while (0)
/* The machine cannot run this. */
void chaos_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

void chaos_nic_up(struct chaos *c);
/* polite: the engine's rules are out before. */
void chaos_nic_down(struct chaos *c, bool polite);
void chaos_set(struct chaos *c, const char *knob, long value);
struct net_emu_counters chaos_counters(struct chaos *c);

void chaos_switch_up(struct chaos *c);
void chaos_switch_down(struct chaos *c);
/* Publish; a grace period is over when they return. */
void chaos_publish_vports(struct chaos *c, const bool there[4]);
/* The rim's side of it: published first, removed last. */
void chaos_vport(struct chaos *c, uint16_t id, bool there);
void chaos_publish_next_hop(struct chaos *c, uint16_t vport, uint16_t mtu);
void chaos_publish_routes(struct chaos *c, bool hole);
void chaos_publish_services(struct chaos *c, const bool ready[ENDPOINTS]);
void chaos_grace(struct chaos *c);

/* --- the engine (chaos_engine.c) ---------------------------------------------------------------
 */

void chaos_lock(struct chaos *c);
void chaos_unlock(struct chaos *c);
void chaos_engine_up(struct chaos *c);
/* polite: everything out first; else as after SIGKILL: the device keeps what it has. */
void chaos_engine_down(struct chaos *c, bool polite);
void chaos_ports_add(struct chaos *c);
/* Runs traffic until what was published is acknowledged. */
void chaos_acknowledge(struct chaos *c, bool flush);
/* Ports that were stopped as the last resort, or found gone. */
bool chaos_needs_nic(struct chaos *c);

/* --- wires (chaos_traffic.c) -------------------------------------------------------------------
 */

void chaos_traffic_init(struct chaos *c);
/* So many rounds: clients send, servers answer, all is looked at. */
void chaos_traffic(struct chaos *c, unsigned rounds);
/* Takes what still comes until every buffer is back; nobody answers. */
void chaos_drain(struct chaos *c);
/* Flows that servers know are forgotten; clients begin anew. */
void chaos_traffic_reset(struct chaos *c);
uint64_t chaos_answered(void);

/* --- invariants (chaos_check.c) ----------------------------------------------------------------
 */

/* At any time. */
void chaos_check(struct chaos *c);
/* Stops traffic, takes everything out, compares every sum, and goes on. */
void chaos_calm(struct chaos *c);
