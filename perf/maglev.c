/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Maglev's table population (see maglev.h). Pure. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "perf/maglev.h"

#define TAIL_MAX 256

uint32_t maglev_size_for(uint32_t n)
{
	static const uint32_t sizes[] = {251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537};
	const uint32_t last = sizeof(sizes) / sizeof(sizes[0]) - 1;

	for (uint32_t i = 0; i < last; i++)
		if (sizes[i] / 100 >= n)
			return sizes[i];
	return sizes[last];
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Heap sort of order[] by seed: no memory, no worst case, no callback. */
static void sift(uint32_t *order, const uint64_t *seeds, uint32_t at, uint32_t n)
{
	uint32_t moving = order[at];

	while (2 * at + 1 < n) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < n && seeds[order[child + 1]] > seeds[order[child]])
			child++;
		if (seeds[order[child]] <= seeds[moving])
			break;
		order[at] = order[child];
		at = child;
	}
	order[at] = moving;
}

static void sort_by_seed(uint32_t *order, const uint64_t *seeds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t i = n / 2; i-- > 0;)
		sift(order, seeds, i, n);
	for (uint32_t i = n; i-- > 1;) {
		uint32_t top = order[0];

		order[0] = order[i];
		order[i] = top;
		sift(order, seeds, 0, i);
	}
}

static inline uint32_t next_of(uint32_t c, uint32_t step, uint32_t size)
{
	c += step;
	return c >= size ? c - size : c;
}

/* The first free place from c on. Four at a time: how many are taken is no branch to be guessed. */
static inline uint32_t next_free(const uint8_t *taken, uint32_t c, uint32_t step, uint32_t size)
{
	while (true) {
		uint32_t at[4] = {c};
		uint32_t full = taken[c];

		for (uint32_t k = 1; k < 4; k++) {
			at[k] = next_of(at[k - 1], step, size);
			full |= (uint32_t)taken[at[k]] << k;
		}
		if (full != 15)
			return at[__builtin_ctz(~full)];
		c = next_of(at[3], step, size);
	}
}

/* x with x * a == 1 modulo the prime p, 0 < a < p (extended Euclid). */
static uint32_t inverse(uint32_t a, uint32_t p)
{
	int64_t x = 1, y = 0;
	uint32_t r = a, s = p;

	while (r > 1) {
		uint32_t q = s / r, rest = s % r;
		int64_t next = y - (int64_t)q * x;

		s = r;
		r = rest;
		y = x;
		x = next;
	}
	return (uint32_t)(x < 0 ? x + p : x);
}

/* Places that are filled the other way round: with f of m places free, walking finds one in m / f
 * steps, and asking the free ones takes f. Less than the square root of size. */
static uint32_t tail_of(uint32_t size)
{
	uint32_t tail = 1;

	while (tail * tail < size)
		tail *= 2;
	return tail / 2;
}

/* Which of the n free places comes first in the permutation that is at c and goes on by step? */
static uint32_t nearest(
	const uint32_t *free_places, uint32_t n, uint32_t c, uint32_t step, uint32_t size)
{
	uint64_t reciprocal = UINT64_MAX / size + 1, per_step = inverse(step, size);
	uint32_t best = 0, best_steps = size;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t ahead =
			free_places[k] >= c ? free_places[k] - c : free_places[k] + size - c;
		/* The remainder by size, exact for products of two such numbers. */
		uint64_t x = ahead * per_step;
		uint32_t steps =
			(uint32_t)(x - (uint64_t)((unsigned __int128)x * reciprocal >> 64) * size);

		if (steps < best_steps) {
			best_steps = steps;
			best = k;
		}
	}
	return best;
}

/* The last places, from the turn of the one after i; their number is tail. */
static void fill_tail(const uint8_t *taken, uint32_t size, uint32_t tail, uint32_t i, uint32_t n,
	const uint32_t *order, uint32_t *at, const uint32_t *skip, uint16_t *table)
{
	uint32_t free_places[TAIL_MAX], left = 0;

	for (uint32_t c = 0; c < size && left < tail; c++)
		if (!taken[c])
			free_places[left++] = c;
	while (left > 0) {
		uint32_t k, c;

		i = i + 1 < n ? i + 1 : 0;
		k = nearest(free_places, left, at[i], skip[i], size);
		c = free_places[k];
		table[c] = (uint16_t)order[i];
		at[i] = next_of(c, skip[i], size);
		free_places[k] = free_places[--left];
	}
}

int maglev_build(
	const uint64_t *seeds, uint32_t n, uint32_t size, uint16_t *table, uint32_t *scratch)
{
	/* Half of the table's size, and a test is one load. */
	uint8_t taken[65537];
	uint32_t *order = scratch, *at = scratch + n, *skip = scratch + 2 * n;
	uint32_t left = size, tail;

	if (n == 0 || n > 65535 || size < 2 || size > 65537 || n > size)
		return -EINVAL;
	memset(taken, 0, size);
	tail = tail_of(size);
	sort_by_seed(order, seeds, n);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t seed = seeds[order[i]];

		if (i > 0 && seed == seeds[order[i - 1]])
			return -EINVAL;
		at[i] = (uint32_t)(mix(seed) % size);
		skip[i] = (uint32_t)(mix(seed ^ UINT64_C(0x9e3779b97f4a7c15)) % (size - 1)) + 1;
	}
	/* Each in turn takes the next free place of its own permutation. The turns go by seed, so
	 * that the order of the input does not matter. */
	for (uint32_t i = 0;; i = i + 1 < n ? i + 1 : 0) {
		uint32_t c = next_free(taken, at[i], skip[i], size);

		taken[c] = 1;
		table[c] = (uint16_t)order[i];
		at[i] = next_of(c, skip[i], size);
		if (--left == tail) {
			fill_tail(taken, size, tail, i, n, order, at, skip, table);
			return 0;
		}
	}
}
