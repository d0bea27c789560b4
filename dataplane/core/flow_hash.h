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
	uint64_t word[8];
};

static inline uint64_t flow_mum(uint64_t a, uint64_t b)
{
#if defined(__x86_64__)
	/* GCC 12 sends half of the product through memory. */
	uint64_t low, high;

	__asm__("mulq %3" : "=a"(low), "=d"(high) : "%0"(a), "rm"(b) : "cc");
	return low ^ high;
#else
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
#endif
}

/* Eight words from the two that configuration gives (splitmix64's finalizer). */
static inline void flow_salt_init(struct flow_salt *s, const uint64_t seed[2])
{
	uint64_t state = seed[0];

	for (int i = 0; i < 8; i++) {
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
static inline uint64_t flow_mix(const struct flow_salt *s, uint64_t h)
{
	return flow_mum(h ^ s->word[2], s->word[3]);
}

static inline uint64_t flow_hash4_words(const struct flow_salt *s, uint64_t a, uint64_t b)
{
	return flow_mix(s, flow_mum(a ^ s->word[0], b ^ s->word[1]));
}

static inline uint64_t flow_hash6_words(const struct flow_salt *s, const uint64_t w[5])
{
	return flow_mix(s,
		flow_mum(w[0] ^ s->word[0], w[1] ^ s->word[1]) ^
			flow_mum(w[2] ^ s->word[4], w[3] ^ s->word[5]) ^
			flow_mum(w[4] ^ s->word[6], s->word[7]));
}

static inline uint64_t flow_hash4(const struct flow_salt *s, const struct flow_key4 *k)
{
	uint64_t w[2];

	memcpy(w, k, 16);
	return flow_hash4_words(s, w[0], w[1]);
}

static inline uint64_t flow_hash6(const struct flow_salt *s, const struct flow_key6 *k)
{
	uint64_t w[5];

	memcpy(w, k, 40);
	return flow_hash6_words(s, w);
}
