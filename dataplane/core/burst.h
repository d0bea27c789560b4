/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A burst: up to 64 packets as a structure of arrays, one lane a packet.
 *
 * Sets of lanes are 64-bit masks. Each stage owns its input set, named after it: it takes the
 * lanes from there and moves each to the input set of another stage or to an exit. A held lane is
 * in exactly one set between stages; the composition's end asserts that all are empty.
 *
 * Writers/Readers: the one worker that runs the burst. Lifetime: the worker's, reused each loop.
 * Lane fields hold the values that the stage named in the comment has set. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/drop.h"
#include "core/flow_key.h"
#include "core/limits.h"

typedef uint64_t lanes_t;

#define LANE(i) (UINT64_C(1) << (i))

/* Of a set that is not empty. */
static inline lanes_t lanes_first(lanes_t set)
{
	return (lanes_t)__builtin_ctzll(set);
}

/* Is the set lanes 0 ... n-1? Then a counting loop over n lanes does what lanes_foreach does, in
 * half the instructions; nearly every burst of the established path is such. */
static inline bool lanes_dense(lanes_t set)
{
	return (set & (set + 1)) == 0;
}

static inline uint32_t lanes_count(lanes_t set)
{
	return (uint32_t)__builtin_popcountll(set);
}

/* for each set bit i of set; the set may change inside, the copy does not */
#define lanes_foreach(i, set)                                                                 \
	for (lanes_t i##_left = (set), i; i##_left != 0 && (i = lanes_first(i##_left), true); \
		i##_left &= i##_left - 1)

/* The same by counting: cheaper where most lanes of the burst are in the set. */
#define lanes_each(i, set)                                                        \
	for (lanes_t i = 0, i##_left = (set); i##_left != 0; i++, i##_left >>= 1) \
		if ((i##_left & 1) != 0)

/* What classify found in the headers. */
enum lane_flag {
	LANE_V6 = 1 << 0,
	LANE_FRAGMENT = 1 << 1,       /* any fragment */
	LANE_FRAGMENT_LATER = 1 << 2, /* not the first: no transport header */
	LANE_ICMP_ERROR = 1 << 3,
	LANE_L4_CSUM_OK = 1 << 4, /* the NIC verified it and says so (rim) */
	LANE_MORE_FRAGMENTS = 1 << 5,
	LANE_IP_OPTIONS = 1 << 6,
	LANE_DONT_FRAGMENT = 1 << 7, /* IPv4 DF, or IPv6; parsed.flags only */
};

/* Which stage the flow's answer came from. */
enum lane_dir {
	DIR_FORWARD = 0,
	DIR_REPLY = 1
};

struct svc_backend;

/* What the miss stages decided for a lane; commit turns it into a flow entry. */
struct lane_decision {
	const struct svc_backend *backend; /* NULL: no service */
	uint32_t svc_id;
	uint16_t next_hop[2];
	uint8_t svc_flags;
	bool snat;
};

/* Each is the input of the stage, or the exit, of that name. The source guard has none: it filters
 * what classify put into fragment, flow and icmp_error. */
struct burst_sets {
	lanes_t classify;
	lanes_t neighbour; /* ARP and ND */
	lanes_t fragment;
	lanes_t flow;
	lanes_t icmp_error;
	lanes_t service;
	lanes_t source_nat;
	lanes_t route;
	lanes_t commit;
	lanes_t rewrite;
	lanes_t transmit;
	lanes_t local;  /* for Sluice itself: echo */
	lanes_t reject; /* answered by reset or ICMP error, see reject_kind[] */
	lanes_t hold;   /* waits for a neighbour */
	lanes_t drop;   /* see reason[] */
};

/* One word, so that classify stores what it found at once. */
struct lane_headers {
	uint16_t l3, l4; /* offsets from data */
	uint8_t proto, tcp_flags;
	uint16_t zero;
};

_Static_assert(sizeof(struct lane_headers) == 8, "one store a packet");

struct flow_bucket;

struct burst {
	struct burst_sets to;
	uint16_t count;  /* lanes 0 .. count-1 came from receive */
	lanes_t marked;  /* of the lanes that receive filled: those with a mark[] */
	lanes_t resized; /* data or len changed since receive: the rim must tell the buffer */

	/* --- receive --- */
	void *buf[BURST_MAX];     /* the rim's handle (an mbuf) */
	uint8_t *data[BURST_MAX]; /* the Ethernet header */
	uint16_t len[BURST_MAX];
	uint16_t in_vport[BURST_MAX];

	uint16_t mark[BURST_MAX]; /* the NIC's, for a flow's entry (flow.h); below FLOW_MARKS */

	/* --- classify --- */
	struct lane_headers hdr[BURST_MAX];
	uint8_t flags[BURST_MAX]; /* enum lane_flag; LANE_L4_CSUM_OK by receive */
	lanes_t v6;
	lanes_t plain;     /* untagged TCP or UDP behind an IP header without options */
	lanes_t strangers; /* of plain: the source is not the first address of its vport */
	struct flow_key4 key4[BURST_MAX];
	struct flow_key6 key6[BURST_MAX];

	/* --- where the key's lookup begins (flow_probe.h); set with the key of lanes for flow ---
	 */
	const struct flow_bucket *bucket[BURST_MAX];
	uint16_t tag[BURST_MAX];

	/* --- flow, commit --- */
	uint32_t flow[BURST_MAX]; /* entry << 1 | direction */
	struct lane_decision decision[BURST_MAX];

	/* --- rewrite, route --- */
	uint16_t next_hop[BURST_MAX];
	uint16_t out_vport[BURST_MAX];

	/* --- exits --- */
	uint8_t reason[BURST_MAX];      /* enum drop_reason */
	uint8_t reject_kind[BURST_MAX]; /* enum reject_kind */
	uint16_t reject_mtu[BURST_MAX];
};

static inline void lane_drop(struct burst *b, lanes_t lane, enum drop_reason reason)
{
	b->reason[lane] = (uint8_t)reason;
	b->to.drop |= LANE(lane);
}
