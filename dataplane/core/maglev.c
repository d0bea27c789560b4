/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Maglev's table population (see maglev.h). Control thread; pure. */

#include <errno.h>
#include <stdbool.h>

#include "core/maglev.h"

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

int maglev_build(
	const uint64_t *seeds, uint32_t n, uint32_t size, uint16_t *table, uint32_t *scratch)
{
	/* One bit a place: 8 kB for the largest table, where the table itself would be 128. */
	uint64_t taken[(65537 + 63) / 64] = {0};
	uint32_t *order = scratch, *at = scratch + n, *skip = scratch + 2 * n;
	uint32_t filled = 0;

	if (n == 0 || n > 65535 || size < 2 || size > 65537 || n > size)
		return -EINVAL;
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
	while (true) {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t c = at[i], step = skip[i];

			while (taken[c / 64] >> (c % 64) & 1) {
				c += step;
				c -= c >= size ? size : 0;
			}
			taken[c / 64] |= UINT64_C(1) << (c % 64);
			table[c] = (uint16_t)order[i];
			c += step;
			at[i] = c >= size ? c - size : c;
			if (++filled == size)
				return 0;
		}
	}
}
