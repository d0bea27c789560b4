/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The match-action stages and what they share.
 *
 * A stage takes the lanes of the set that carries its name (burst.h) and moves each to another
 * set. Stages run on worker threads: no allocation, no logging, no system call, no wait. One file
 * a stage; the order they run in is a composition's (pod.c, uplink.c). */

#pragma once

#include "core/dataplane.h"
#include "core/packet.h"

typedef void (*stage_fn)(struct worker *w, struct burst *b);

void stage_classify(struct worker *w, struct burst *b);
void stage_neighbour(struct worker *w, struct burst *b);
void stage_source_guard(struct worker *w, struct burst *b);
void stage_fragment(struct worker *w, struct burst *b);
void stage_flow(struct worker *w, struct burst *b);
void stage_icmp_error(struct worker *w, struct burst *b);
void stage_service(struct worker *w, struct burst *b);
void stage_source_nat(struct worker *w, struct burst *b);
void stage_route(struct worker *w, struct burst *b);
void stage_commit(struct worker *w, struct burst *b);
void stage_rewrite(struct worker *w, struct burst *b);
void stage_transmit(struct worker *w, struct burst *b);
void stage_local(struct worker *w, struct burst *b);
void stage_reject(struct worker *w, struct burst *b);
void stage_hold(struct worker *w, struct burst *b);
void stage_drop(struct worker *w, struct burst *b);

/* Sends what waited for a neighbour that is now known, drops what waited too long. Once a loop. */
void hold_retry(struct worker *w);
/* Before the worker ends. */
void hold_drop_all(struct worker *w);

/* To the offload thread, from the flow stage, when there is one (w->offload): what hits went by,
 * one in 2^dataplane.offload_shift; the end of a flow that hardware carries. */
static inline bool offload_wanted(const struct worker *w)
{
	return SLUICE_OFFLOAD && w->offload != NULL;
}

void offload_sample(struct worker *w, const struct burst *b, lanes_t hits);
void offload_ending(struct worker *w, const struct burst *b, lanes_t lane);

/* --- what stages share -------------------------------------------------------------------------
 */

static inline lanes_t stage_take(struct worker *w, enum stage_id id, lanes_t *set)
{
	lanes_t lanes = *set;

	*set = 0;
	COUNT(w->counters.stage_packets[id], __builtin_popcountll(lanes));
	return lanes;
}

static inline const struct vport *stage_in_vport(
	const struct worker *w, const struct burst *b, lanes_t lane)
{
	return w->snap.vports->at[b->in_vport[lane]];
}

static inline enum ip_family lane_family(const struct burst *b, lanes_t lane)
{
	return (b->v6 & LANE(lane)) != 0 ? IP_V6 : IP_V4;
}

/* May the packet not be cut? Read from its header: few packets are ever asked. */
static inline bool lane_dont_fragment(const struct burst *b, lanes_t lane)
{
	return (b->v6 & LANE(lane)) != 0 || (b->data[lane][b->hdr[lane].l3 + 6] & 0x40) != 0;
}

/* The packet is dropped for reason and its sender is told so, where that is allowed. */
static inline void lane_reject(
	struct burst *b, lanes_t lane, enum reject_kind kind, enum drop_reason reason)
{
	b->reject_kind[lane] = (uint8_t)kind;
	b->reason[lane] = (uint8_t)reason;
	b->to.reject |= LANE(lane);
}

static inline struct ip_addr lane_src(const struct burst *b, lanes_t lane)
{
	return lane_family(b, lane) == IP_V6 ? ip_from_v6(b->key6[lane].src)
					     : ip_from_v4(b->key4[lane].src);
}

static inline struct ip_addr lane_dst(const struct burst *b, lanes_t lane)
{
	return lane_family(b, lane) == IP_V6 ? ip_from_v6(b->key6[lane].dst)
					     : ip_from_v4(b->key4[lane].dst);
}

static inline uint16_t lane_sport(const struct burst *b, lanes_t lane)
{
	return lane_family(b, lane) == IP_V6 ? b->key6[lane].sport : b->key4[lane].sport;
}

static inline uint16_t lane_dport(const struct burst *b, lanes_t lane)
{
	return lane_family(b, lane) == IP_V6 ? b->key6[lane].dport : b->key4[lane].dport;
}

/* To the flow stage: the lane's key is known. */
void stage_to_flow(struct worker *w, struct burst *b, lanes_t lane);

/* What svc_decide() is asked about a lane. */
void lane_service_query(
	const struct worker *w, const struct burst *b, lanes_t lane, struct svc_query *out);

/* Of the 5-tuple, without a salt: which endpoint a flow gets must be the same on every node and
 * after every restart. */
uint32_t lane_tuple_hash(const struct burst *b, lanes_t lane);

/* To control; false when its ring is full (counted by the caller). */
static inline bool worker_event_send(struct worker *w, const struct worker_event *e)
{
	return w->events != NULL && spsc_put(w->events, e);
}
