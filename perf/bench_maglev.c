/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Maglev tables: what one costs to build, how evenly it spreads, and how little moves when an
 *endpoint goes.
 *
 *	bench_maglev [--repeat N]
 *
 * Sizes are those that lists get (maglev_size_for), and for balance the least that has a hundred
 * places an endpoint. Disruption takes one endpoint away, each of a sample in turn: places that
 * changed owner, less those that had to, in points of all places. Each table is checked: every
 * place has an owner. One line of JSON. Main thread. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/maglev.h"

#define REPEAT_MAX 101
#define REMOVALS   20

static uint32_t repeat = 15;
static bool again;

static void die(const char *what)
{
	fprintf(stderr, "bench_maglev: %s\n", what);
	exit(1);
}

static uint64_t seed_of(uint64_t n)
{
	uint64_t z = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

struct table {
	uint32_t n, size;
	uint64_t *seeds;
	uint16_t *at;
	uint32_t *scratch, *owned;
};

static void table_init(struct table *t, uint32_t n, uint32_t size)
{
	*t = (struct table){.n = n, .size = size};
	t->seeds = malloc(n * sizeof(*t->seeds));
	t->at = malloc(size * sizeof(*t->at));
	t->scratch = malloc(3 * (size_t)n * sizeof(*t->scratch));
	t->owned = calloc(n, sizeof(*t->owned));
	if (t->seeds == NULL || t->at == NULL || t->scratch == NULL || t->owned == NULL)
		die("no memory");
	for (uint32_t i = 0; i < n; i++)
		t->seeds[i] = seed_of(i);
}

static void table_fini(struct table *t)
{
	free(t->seeds);
	free(t->at);
	free(t->scratch);
	free(t->owned);
}

static void build(struct table *t)
{
	if (maglev_build(t->seeds, t->n, t->size, t->at, t->scratch) < 0)
		die("maglev_build failed");
}

static void count_owned(struct table *t)
{
	memset(t->owned, 0, t->n * sizeof(*t->owned));
	for (uint32_t i = 0; i < t->size; i++) {
		if (t->at[i] >= t->n)
			die("a place without an owner");
		t->owned[t->at[i]]++;
	}
}

static void begin(const char *kind, uint32_t n, uint32_t size)
{
	printf("%s\"%s, %u in %u\": {\"status\": \"ok\", \"samples\": [", again ? ", " : "", kind,
		n, size);
	again = true;
}

static void bench_build(uint32_t n)
{
	struct table t;

	table_init(&t, n, maglev_size_for(n));
	begin("build", n, t.size);
	for (uint32_t r = 0; r < repeat; r++) {
		double start = now_ns();

		build(&t);
		printf("%s%.3f", r == 0 ? "" : ", ", (now_ns() - start) / t.size);
	}
	printf("]}");
	count_owned(&t);
	table_fini(&t);
}

/* The most that one endpoint has above the mean, in percent. */
static void bench_balance(uint32_t n, uint32_t size)
{
	struct table t;
	uint32_t most = 0;

	table_init(&t, n, size);
	build(&t);
	count_owned(&t);
	for (uint32_t i = 0; i < n; i++)
		if (t.owned[i] > most)
			most = t.owned[i];
	begin("imbalance", n, size);
	printf("%.4f]}", 100.0 * ((double)most * n / size - 1));
	table_fini(&t);
}

static double disruption(struct table *t, const uint16_t *before, uint32_t gone)
{
	uint32_t moved = 0;

	for (uint32_t i = 0, k = 0; i <= t->n; i++)
		if (i != gone)
			t->seeds[k++] = seed_of(i);
	build(t);
	for (uint32_t i = 0; i < t->size; i++)
		if (before[i] != gone)
			moved += before[i] != t->at[i] + (t->at[i] >= gone);
	return 100.0 * moved / t->size;
}

static void bench_disruption(uint32_t n, uint32_t size)
{
	struct table all, rest;

	table_init(&all, n, size);
	table_init(&rest, n - 1, size);
	build(&all);
	begin("disruption", n, size);
	for (uint32_t r = 0; r < REMOVALS; r++)
		printf("%s%.4f", r == 0 ? "" : ", ",
			disruption(&rest, all.at, (uint32_t)((uint64_t)r * n / REMOVALS)));
	printf("]}");
	table_fini(&all);
	table_fini(&rest);
}

int main(int argc, char **argv)
{
	static const struct {
		uint32_t n, size;
	} spread[] = {{10, 1021}, {100, 16381}, {160, 16381}, {655, 65537}};

	if (argc == 3 && strcmp(argv[1], "--repeat") == 0)
		repeat = (uint32_t)strtoul(argv[2], NULL, 0);
	else if (argc != 1)
		die("usage: bench_maglev [--repeat N]");
	if (repeat == 0 || repeat > REPEAT_MAX)
		die("--repeat takes 1 to 101");
	printf("{\"results\": {");
	bench_build(3);
	bench_build(100);
	bench_build(1000);
	for (size_t i = 0; i < sizeof(spread) / sizeof(spread[0]); i++) {
		bench_balance(spread[i].n, spread[i].size);
		bench_disruption(spread[i].n, spread[i].size);
	}
	printf("}}\n");
	return 0;
}
