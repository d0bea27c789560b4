/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Routes and next hops.
 *
 * A route table is immutable and swapped whole; a next hop is an immutable record behind an id
 * that stays the same while its contents are replaced (a neighbour resolved again, a tunnel moved),
 * so that flows can keep ids. Control writes; workers read what they loaded at the top of their
 * loop. Control frees what it replaced a grace period later. */

#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "core/ip.h"
#include "core/limits.h"

enum next_hop_kind {
	NEXT_HOP_NONE,       /* no route */
	NEXT_HOP_FORWARD,    /* l2 header is complete */
	NEXT_HOP_UNRESOLVED, /* hold the packet, ask control for gateway */
	NEXT_HOP_GLEAN,      /* on-link prefix: the neighbour is the destination itself */
	NEXT_HOP_LOCAL,      /* Sluice itself: echo and nothing else */
	NEXT_HOP_BLACKHOLE,
	NEXT_HOP_PROHIBIT, /* ICMP administratively prohibited */
	NEXT_HOP_KINDS
};

struct next_hop {
	uint8_t kind;   /* enum next_hop_kind */
	uint8_t l2_len; /* 14, or 18 with a VLAN tag */
	uint16_t vport;
	uint16_t mtu; /* of the IP packet */
	uint16_t id;
	uint8_t l2[24]; /* destination MAC, source MAC, (tag,) EtherType of IPv4; IPv6 is patched */
	struct ip_addr gateway; /* whom to resolve, for UNRESOLVED */
	/* The longest untagged frame that may leave with its MACs exchanged and nothing else to
	 * ask; 0: none. By next_hop_seal(). */
	uint16_t plain_max;
	uint8_t pad[14];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct next_hop) == 64, "one line a next hop");

/* The last step of making a record. One that was not sealed works, only slower. */
static inline void next_hop_seal(struct next_hop *nh)
{
	nh->plain_max = nh->kind == NEXT_HOP_FORWARD && nh->l2_len == 14 && nh->mtu != 0
		? (uint16_t)(nh->mtu + 14)
		: 0;
}

struct next_hop_table {
	_Atomic(const struct next_hop *) at[NEXT_HOPS_MAX]; /* [0] is a NEXT_HOP_NONE record */
	_Atomic uint32_t generation; /* moves behind each change: rules in hardware copy records */
};

static inline const struct next_hop *next_hop_get(const struct next_hop_table *t, uint16_t id)
{
	return atomic_load_explicit(&t->at[id], memory_order_acquire);
}

struct route {
	struct ip_prefix prefix;
	uint16_t next_hop;
};

struct fib; /* immutable, both families */

/* Builds from routes in any order; a later duplicate prefix replaces an earlier one. */
int fib_new(const struct route *routes, uint32_t n, struct fib **out);
void fib_free(struct fib *f);
/* Longest prefix match; the next hop's id, 0 when none. */
uint16_t fib_lookup(const struct fib *f, const struct ip_addr *dst);
/* The same and the matched prefix, for people. */
uint16_t fib_explain(const struct fib *f, const struct ip_addr *dst, struct ip_prefix *matched);
/* The most entries that one probe of a lookup may have to pass, for tests. */
uint32_t fib_longest_probe(const struct fib *f);
uint32_t fib_count(const struct fib *f, enum ip_family family);
