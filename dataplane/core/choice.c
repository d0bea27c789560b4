/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Seeds and scores, and the sparse table of long lists (see choice.h). Pure. */

#include <stdbool.h>
#include <string.h>

#include "core/choice.h"

#define LANES 4
/* Scores carry their endpoint's number in their low bits, so that the highest one names it. */
#define INDEX_MASK (CHOICE_SEEDS_MAX - 1)
#define FREE       0xffff
#define SEEN_BITS  2048u
/* At the least load, a sixteenth, one hash in 4000 finds no taken place in so many. */
#define TRIES_MAX 128

/* The table is a sixteenth to a quarter full; it grows fourfold, since growing moves everybody. */
static uint32_t place_bits(uint32_t n)
{
	return (uint32_t)(32 - __builtin_clz(4 * n - 1) + 1) & ~1u;
}

uint32_t choice_words(uint32_t n)
{
	if (n > CHOICE_SEEDS_MAX)
		return 1u << (place_bits(n) - 1); /* two places a word */
	return (n + LANES - 1) / LANES * LANES;
}

/* --- scores ---------------------------------------------------------------------------------- */

/* Equal seeds have equal scores, of which the later would always win. */
static bool is_among(const uint32_t *seeds, uint32_t n, uint32_t seed)
{
	uint32_t equal = 0;

	for (uint32_t i = 0; i < n; i++)
		equal |= seeds[i] == seed;
	return equal != 0;
}

/* Seeds whose upper bits nobody had before need not be looked for. */
static void build_seeds(const uint64_t *identity, uint32_t n, uint32_t *seeds)
{
	uint64_t seen[SEEN_BITS / 64] = {0};
	uint32_t i;

	for (i = 0; i < n; i++) {
		uint64_t id = identity[i], *word, bit;

		while (true) {
			uint32_t upper = (uint32_t)(id >> 32) / (UINT32_MAX / SEEN_BITS + 1);

			word = &seen[upper / 64];
			bit = UINT64_C(1) << upper % 64;
			if ((*word & bit) == 0 || !is_among(seeds, i, (uint32_t)(id >> 32)))
				break;
			id = id * UINT64_C(0x9e3779b97f4a7c15) + 1;
		}
		*word |= bit;
		seeds[i] = (uint32_t)(id >> 32);
	}
	/* The last one again: when a copy wins, the last one does. */
	for (; i % LANES != 0; i++)
		seeds[i] = seeds[n - 1];
}

/* The loop is made for the compiler: whole vectors, one maximum, no branch. */
static uint32_t pick_seed(const uint32_t *seeds, uint32_t n, uint32_t hash)
{
	uint32_t padded = (n + LANES - 1) & ~(LANES - 1u), best = 0;

	for (uint32_t i = 0; i < padded; i++) {
		uint32_t score = (hash ^ seeds[i]) * UINT32_C(0x85ebca6b);

		score ^= score >> 15;
		score *= UINT32_C(0xc2b2ae35);
		score = (score & ~(uint32_t)INDEX_MASK) | i;
		best = score > best ? score : best;
	}
	best &= INDEX_MASK;
	return best < n ? best : n - 1;
}

/* --- the sparse table ------------------------------------------------------------------------ */

/* A random walk: the places are its state's upper bits (Knuth's multiplier). */
static inline uint64_t walk(uint64_t state)
{
	return state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
}

/* Each endpoint goes to the first place of its walk that none of lower identity has. Whoever comes
 * first, the table is the same: who is displaced goes on from there. */
static void build_places(const uint64_t *identity, uint32_t n, uint16_t *places)
{
	uint32_t bits = place_bits(n), shift = 64 - bits;

	memset(places, 0xff, sizeof(*places) << bits);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t state = identity[i];
		uint32_t moving = i;

		while (true) {
			uint16_t *place = &places[state >> shift];
			uint32_t there = *place;

			if (there == FREE || identity[moving] < identity[there]) {
				*place = (uint16_t)moving;
				if (there == FREE)
					break;
				moving = there;
				for (uint64_t at = state >> shift, from = identity[moving];;
					from = walk(from))
					if (from >> shift == at) {
						state = from;
						break;
					}
			}
			state = walk(state);
		}
	}
}

static uint32_t pick_place(const uint16_t *places, uint32_t n, uint32_t hash)
{
	uint64_t state = hash * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t shift = 64 - place_bits(n);

	state = (state ^ state >> 32) * UINT64_C(0xd6e8feb86659fd93);
	for (uint32_t try = 0; try < TRIES_MAX; try++) {
		uint32_t there = places[state >> shift];

		if (there != FREE)
			return there;
		state = walk(state);
	}
	return (uint32_t)((uint64_t)hash * n >> 32);
}

/* --- both ------------------------------------------------------------------------------------ */

void choice_build(const uint64_t *identity, uint32_t n, uint32_t *words)
{
	if (n > CHOICE_SEEDS_MAX)
		build_places(identity, n, (uint16_t *)words);
	else
		build_seeds(identity, n, words);
}

uint32_t choice_pick(const uint32_t *words, uint32_t n, uint32_t hash)
{
	if (n == 1)
		return 0;
	if (__builtin_expect(n > CHOICE_SEEDS_MAX, 0))
		return pick_place((const uint16_t *)words, n, hash);
	return pick_seed(words, n, hash);
}
