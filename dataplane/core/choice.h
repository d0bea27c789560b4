/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which of n endpoints serves a hash: consistent hashing by the endpoints' identities alone, equal
 * on every node and after every restart.
 *
 * Up to CHOICE_SEEDS_MAX endpoints: the highest score of hash and seed wins (rendezvous hashing;
 * Thaler, Ravishankar 1998). A hash changes its endpoint only when its own one goes, or a new one
 * takes it; the shares are even; the memory is one word an endpoint; four scores cost nine
 * instructions. Beyond: a sparse table. Each endpoint lies in one place, at random; a hash goes
 * from place to place, at random, until one is taken. It is as even, and an endpoint that goes
 * moves other ones' hashes only where another had made way for it in the table.
 *
 * Between the two, and where the table grows fourfold, nearly every hash changes its endpoint:
 * going from 256 to 257, from 1024 to 1025, from 4096 to 4097, from 16384 to 16385. What was
 * measured against Maglev is in perf/README.md. Control builds, workers pick; pure. */

#pragma once

#include <stdint.h>

/* Twice that many would cost a first packet more than the miss into a table does. */
#define CHOICE_SEEDS_MAX 256
#define CHOICE_MAX       65535

/* Words that choice_build() fills for n endpoints. */
uint32_t choice_words(uint32_t n);
/* identity[i] is the hash of endpoint i; the order must be the same everywhere, since of two equal
 * scores the later one wins. Two equal identities are told apart, or one would never be chosen. n
 * is 1 .. CHOICE_MAX. */
void choice_build(const uint64_t *identity, uint32_t n, uint32_t *words);
/* 0 .. n - 1. Bounded: at most CHOICE_SEEDS_MAX scores, or 128 places. */
uint32_t choice_pick(const uint32_t *words, uint32_t n, uint32_t hash);

/* Starts the loads of what choice_pick() will read. */
static inline void choice_prefetch(const uint32_t *words, uint32_t n)
{
	/* The table's places are many, and the processor runs ahead over them. */
	if (__builtin_expect(n > CHOICE_SEEDS_MAX, 0))
		return;
	for (uint32_t i = 0; i < n; i += 16)
		__builtin_prefetch(&words[i]);
	__builtin_prefetch(&words[n - 1]);
}
