/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The hash of flow keys: folded 128-bit products of salted words.
 *
 * Every key word meets 64 secret bits before the multiplication, so that who does not know the
 * salt cannot choose colliding keys; a CRC, whose collisions do not depend on its seed, would let
 * him. tests/unit/test_flow.c measures the spread. Pure; any thread. */

#pragma once

#include <stdint.h>
#include <string.h>

#include "core/flow_key.h"

struct flow_salt {
	uint64_t word[6];
};

static inline uint64_t flow_mum(uint64_t a, uint64_t b)
{
#if defined(__x86_64__)
	/* GCC 12 sends half of the product through memory. */
	__asm__("mulq %1" : "+a"(a), "+d"(b) : : "cc");
	return a ^ b;
#else
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
#endif
}

/* Six words from the two that configuration gives (splitmix64's finalizer). */
static inline void flow_salt_init(struct flow_salt *s, const uint64_t seed[2])
{
	uint64_t state = seed[0];

	for (int i = 0; i < 6; i++) {
		uint64_t z;

		state += UINT64_C(0x9e3779b97f4a7c15);
		z = state ^ (i & 1 ? seed[1] : 0);
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		s->word[i] = z ^ (z >> 31);
	}
}

/* One product alone keeps some of the order of its input: under one salt in a few hundred, runs of
 * addresses fill buckets unevenly. */
static inline uint64_t flow_mix(uint64_t h)
{
	h = (h ^ h >> 32) * UINT64_C(0xa0761d6478bd642f);
	return h ^ h >> 32;
}

static inline uint64_t flow_hash4(const struct flow_salt *s, const struct flow_key4 *k)
{
	uint64_t w[2];

	memcpy(w, k, 16);
	return flow_mix(flow_mum(w[0] ^ s->word[0], w[1] ^ s->word[1]));
}

static inline uint64_t flow_hash6(const struct flow_salt *s, const struct flow_key6 *k)
{
	uint64_t w[5];

	memcpy(w, k, 40);
	return flow_mix(flow_mum(w[0] ^ s->word[0], w[1] ^ s->word[1]) ^
		flow_mum(w[2] ^ s->word[2], w[3] ^ s->word[3]) ^
		flow_mum(w[4] ^ s->word[4], s->word[5]));
}
