/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Fragments: every fragment of a datagram gets the ports of its first one (RFC 3128's rules kept).
 *
 * A table a worker: NICs and the rim send all fragments of a datagram to one queue. Fragments that
 * come before the first are held, bounded in number and time. No reassembly. When the table is
 * full, the datagram seen longest ago makes room, but never one whose fragments are held. */

#pragma once

#include <stdint.h>

#include "core/burst.h"
#include "core/packet.h"

struct frag_table;

enum frag_verdict {
	FRAG_PASS, /* key's ports are filled */
	FRAG_HELD, /* the table has taken the buffer */
	FRAG_DROP, /* reason */
};

struct frag_packet {
	void *buf;
	uint8_t *data;
	uint16_t len;
	uint16_t in_vport;
	uint8_t flags; /* enum lane_flag as received (rim's part) */
};

struct frag_stats {
	uint64_t datagrams, held, released, timeouts, full;
	uint32_t entries, entries_high, held_now;
};

/* salt: fixed by tests. 1 <= entries <= FRAG_ENTRIES, held <= FRAG_HELD_MAX; NULL otherwise, or
 * when out of memory. */
struct frag_table *frag_table_new(uint32_t entries, uint32_t held, uint64_t salt);
void frag_table_free(struct frag_table *t); /* must hold no packet: frag_expire(all) first */

/* First fragment (parsed as PARSE_FLOW with LANE_FRAGMENT): remembers its ports; returns how many
 * held fragments of the datagram now wait to be taken with frag_take. */
uint32_t frag_first(struct frag_table *t, const struct parsed *p, uint32_t now_ms);
/* Next released fragment; false when none. */
bool frag_take(struct frag_table *t, struct frag_packet *out);
/* A later fragment: fills sport and dport of p's key (IPv6: the protocol too, which later fragments
 * do not always name), or takes pkt and holds it, or refuses. */
enum frag_verdict frag_later(struct frag_table *t, struct parsed *p, const struct frag_packet *pkt,
	uint32_t now_ms, enum drop_reason *reason);
/* Next held packet whose time is over (or any, when all); the caller drops it. */
bool frag_expire(struct frag_table *t, uint32_t now_ms, bool all, struct frag_packet *out);
void frag_stats(const struct frag_table *t, struct frag_stats *out);
