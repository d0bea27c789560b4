/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The key of one direction of a flow, as its packets arrive.
 *
 * Addresses and ports in network order. ICMP echo: sport = dport = identifier. Zero padding is
 * part of the key: compared and hashed by words. The peer's direction of an untranslated flow is
 * the mirror; what a translated packet becomes is the mirror of the other direction's key, so
 * that an entry needs no field for it. */

#pragma once

#include <stdint.h>
#include <string.h>

struct flow_key4 {
	uint32_t src;
	uint32_t dst;
	uint16_t sport;
	uint16_t dport;
	uint16_t zone;
	uint8_t proto;
	uint8_t zero;
};

struct flow_key6 {
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t sport;
	uint16_t dport;
	uint16_t zone;
	uint8_t proto;
	uint8_t zero;
};

_Static_assert(sizeof(struct flow_key4) == 16, "compared as two words");
_Static_assert(sizeof(struct flow_key6) == 40, "compared as five words");

/* Addresses and ports of the mirror as they lie in headers, by a rotation each. */
static inline uint64_t flow_key4_mirror_addrs(const struct flow_key4 *k)
{
	uint64_t w;

	memcpy(&w, &k->src, 8);
	return w >> 32 | w << 32;
}

static inline uint32_t flow_mirror_ports(const uint16_t *sport)
{
	uint32_t w;

	memcpy(&w, sport, 4);
	return w >> 16 | w << 16;
}

static inline struct flow_key4 flow_key4_mirror(const struct flow_key4 *k)
{
	struct flow_key4 m = *k;

	m.src = k->dst;
	m.dst = k->src;
	m.sport = k->dport;
	m.dport = k->sport;
	return m;
}

static inline struct flow_key6 flow_key6_mirror(const struct flow_key6 *k)
{
	struct flow_key6 m = *k;

	memcpy(m.src, k->dst, 16);
	memcpy(m.dst, k->src, 16);
	m.sport = k->dport;
	m.dport = k->sport;
	return m;
}

static inline int flow_key4_equal(const struct flow_key4 *a, const struct flow_key4 *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, 16);
	memcpy(y, b, 16);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static inline int flow_key6_equal(const struct flow_key6 *a, const struct flow_key6 *b)
{
	uint64_t x[5], y[5];

	memcpy(x, a, 40);
	memcpy(y, b, 40);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}
