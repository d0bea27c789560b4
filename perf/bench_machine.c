/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the machine is worth at this moment, a fifth of a second: ticks a dependent addition (the
 * core's clock against the constant-rate counter), and ticks a dependent load from 24 MiB (whether
 * the last level cache is ours). The suite asks before and after every program: figures taken while
 * these moved are marked. Main thread only. Prints one line of JSON. */

#include <stdio.h>
#include <stdlib.h>

#include "perf/ticks.h"

enum {
	ADDS = 400000,
	TRIALS = 25,
	LINE = 64,
	LINES = (24 << 20) / LINE,
	LOADS = 200000,
};

struct line {
	struct line *next;
	char rest[LINE - sizeof(struct line *)];
};

static double ticks_an_addition(void)
{
	uint64_t best = UINT64_MAX;

	for (int trial = 0; trial < TRIALS; trial++) {
		uint64_t start = ticks(), value = start;

		for (int n = 0; n < ADDS; n++) {
			value++;
			__asm__ volatile("" : "+r"(value));
		}
		start = ticks() - start;
		best = start < best ? start : best;
	}
	return (double)best / ADDS;
}

/* One cycle through all lines in random order (Sattolo's algorithm). */
static void link_at_random(struct line *lines)
{
	uint64_t s = 88172645463325252ULL;

	for (uint32_t n = 0; n < LINES; n++)
		lines[n].next = &lines[n];
	for (uint32_t n = LINES - 1; n > 0; n--) {
		struct line *other, *mine = lines[n].next;

		s ^= s << 13;
		s ^= s >> 7;
		s ^= s << 17;
		other = &lines[s % n];
		lines[n].next = other->next;
		other->next = mine;
	}
}

static double ticks_a_load(void)
{
	struct line *lines = aligned_alloc(LINE, (size_t)LINES * LINE), *at;
	uint64_t start;

	if (lines == NULL)
		return 0;
	link_at_random(lines);
	at = lines;
	start = ticks();
	for (int n = 0; n < LOADS; n++) {
		at = at->next;
		__asm__ volatile("" : "+r"(at));
	}
	start = ticks() - start;
	free(lines);
	return (double)start / LOADS;
}

int main(void)
{
	double addition = ticks_an_addition();

	printf("{\"addition\": %.4f, \"load\": %.1f}\n", addition, ticks_a_load());
	return 0;
}
