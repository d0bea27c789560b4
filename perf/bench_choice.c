/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The choice of an endpoint beside Maglev's: what it costs to build and to ask, how evenly it
 * spreads, and how little moves when an endpoint goes.
 *
 *	bench_choice [--repeat N]
 *
 * Slots are what is built: a list's seeds, or the places of a table. Maglev's tables have the least
 * of its sizes with a hundred places an endpoint. Imbalance is what one endpoint has above the
 * mean, of HASHES_EACH hashes an endpoint (chance alone makes 0.6 % with 655 endpoints), and of
 * Maglev's places. Disruption takes one endpoint away, each of a sample in turn: hashes that
 * changed endpoint, less those that had to, in points of all. One line of JSON. Main thread. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/choice.h"
#include "perf/maglev.h"

#define REPEAT_MAX  101
#define REMOVALS    20
#define BUILD_SLOTS 131072
#define HASHES_EACH 250000
#define HASHES      (1u << 20)
#define PICKS       (1u << 16)

enum kind {
	OURS,
	MAGLEV
};

struct choice {
	enum kind kind;
	uint32_t n, slots;
	uint64_t *identities;
	uint32_t *words, *scratch;
	uint16_t *table;
};

static uint32_t repeat = 15;
static bool again;

static void die(const char *what)
{
	fprintf(stderr, "bench_choice: %s\n", what);
	exit(1);
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t identity_of(uint64_t n)
{
	return mix((n + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static uint32_t hash_of(uint32_t n)
{
	return (uint32_t)(mix(n + UINT64_C(0x1234567890)) >> 32);
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void choice_init(struct choice *c, enum kind kind, uint32_t n)
{
	uint32_t words = choice_words(n);

	*c = (struct choice){.kind = kind, .n = n};
	c->slots = kind == MAGLEV ? maglev_size_for(n) : n > CHOICE_SEEDS_MAX ? 2 * words : n;
	c->identities = malloc(n * sizeof(*c->identities));
	c->words = malloc(words * sizeof(*c->words));
	c->table = malloc(maglev_size_for(n) * sizeof(*c->table));
	c->scratch = malloc(3 * (size_t)n * sizeof(*c->scratch));
	if (c->identities == NULL || c->words == NULL || c->table == NULL || c->scratch == NULL)
		die("no memory");
	for (uint32_t i = 0; i < n; i++)
		c->identities[i] = identity_of(i);
}

static void choice_fini(struct choice *c)
{
	free(c->identities);
	free(c->words);
	free(c->table);
	free(c->scratch);
}

static void build(struct choice *c)
{
	if (c->kind == OURS)
		choice_build(c->identities, c->n, c->words);
	else if (maglev_build(c->identities, c->n, c->slots, c->table, c->scratch) < 0)
		die("maglev_build failed");
}

static uint32_t pick(const struct choice *c, uint32_t hash)
{
	if (c->kind == OURS)
		return choice_pick(c->words, c->n, hash);
	return c->table[(uint64_t)hash * c->slots >> 32];
}

static void begin(enum kind kind, const char *what, uint32_t n)
{
	printf("%s\"%s%s, %u endpoints\": {\"status\": \"ok\", \"samples\": [", again ? ", " : "",
		kind == MAGLEV ? "Maglev: " : "", what, n);
	again = true;
}

static void bench_build(enum kind kind, uint32_t n)
{
	double each[REPEAT_MAX];
	struct choice c;
	uint32_t times;

	choice_init(&c, kind, n);
	times = BUILD_SLOTS / c.slots;
	begin(kind, "build", n);
	for (uint32_t r = 0; r < repeat; r++) {
		double start = now_ns();

		for (uint32_t i = 0; i < times; i++)
			build(&c);
		each[r] = (now_ns() - start) / times;
		printf("%s%.3f", r == 0 ? "" : ", ", each[r] / c.slots);
	}
	printf("]}");
	begin(kind, "whole build", n);
	for (uint32_t r = 0; r < repeat; r++)
		printf("%s%.4f", r == 0 ? "" : ", ", each[r] / 1e3);
	printf("]}");
	choice_fini(&c);
}

static void bench_pick(enum kind kind, uint32_t n)
{
	uint32_t *hashes = malloc(PICKS * sizeof(*hashes));
	struct choice c;

	if (hashes == NULL)
		die("no memory");
	for (uint32_t i = 0; i < PICKS; i++)
		hashes[i] = hash_of(i);
	choice_init(&c, kind, n);
	build(&c);
	begin(kind, "pick", n);
	for (uint32_t r = 0; r < repeat; r++) {
		double start = now_ns();
		uint64_t sum = 0;

		for (uint32_t i = 0; i < PICKS; i++)
			sum += pick(&c, hashes[i]);
		/* Half of the numbers' mean at the least, or nobody picked. */
		if (sum < (uint64_t)PICKS * (n - 1) / 4)
			die("not what a choice among all looks like");
		printf("%s%.3f", r == 0 ? "" : ", ", (now_ns() - start) / PICKS);
	}
	printf("]}");
	choice_fini(&c);
	free(hashes);
}

static void bench_balance(enum kind kind, uint32_t n)
{
	uint32_t *owned = calloc(n, sizeof(*owned)), most = 0, total = n * HASHES_EACH;
	struct choice c;

	choice_init(&c, kind, n);
	if (owned == NULL)
		die("no memory");
	build(&c);
	if (kind == MAGLEV)
		total = c.slots;
	for (uint32_t i = 0; i < total; i++) {
		uint32_t at = kind == MAGLEV ? c.table[i] : pick(&c, hash_of(i));

		if (at >= n)
			die("an endpoint that there is not");
		owned[at]++;
	}
	for (uint32_t i = 0; i < n; i++)
		if (owned[i] > most)
			most = owned[i];
	begin(kind, "imbalance", n);
	printf("%.4f]}", 100.0 * ((double)most * n / total - 1));
	choice_fini(&c);
	free(owned);
}

static double disruption(struct choice *rest, const uint16_t *before, uint32_t gone)
{
	uint32_t moved = 0;

	for (uint32_t i = 0, k = 0; i <= rest->n; i++)
		if (i != gone)
			rest->identities[k++] = identity_of(i);
	build(rest);
	for (uint32_t i = 0; i < HASHES; i++) {
		uint32_t now = pick(rest, hash_of(i));

		moved += before[i] != gone && before[i] != now + (now >= gone);
	}
	return 100.0 * moved / HASHES;
}

static void bench_disruption(enum kind kind, uint32_t n)
{
	uint16_t *before = malloc(HASHES * sizeof(*before));
	struct choice all, rest;

	choice_init(&all, kind, n);
	choice_init(&rest, kind, n - 1);
	if (before == NULL)
		die("no memory");
	build(&all);
	for (uint32_t i = 0; i < HASHES; i++)
		before[i] = (uint16_t)pick(&all, hash_of(i));
	begin(kind, "disruption", n);
	for (uint32_t r = 0; r < REMOVALS; r++)
		printf("%s%.4f", r == 0 ? "" : ", ",
			disruption(&rest, before, (uint32_t)((uint64_t)r * n / REMOVALS)));
	printf("]}");
	choice_fini(&all);
	choice_fini(&rest);
	free(before);
}

int main(int argc, char **argv)
{
	static const uint32_t builds[] = {3, 100, 1000}, spread[] = {10, 100, 160, 655},
			      picks[] = {3, 10, 100, 256, 1000};

	if (argc == 3 && strcmp(argv[1], "--repeat") == 0)
		repeat = (uint32_t)strtoul(argv[2], NULL, 0);
	else if (argc != 1)
		die("usage: bench_choice [--repeat N]");
	if (repeat == 0 || repeat > REPEAT_MAX)
		die("--repeat takes 1 to 101");
	printf("{\"results\": {");
	for (int kind = OURS; kind <= MAGLEV; kind++) {
		for (size_t i = 0; i < sizeof(builds) / sizeof(builds[0]); i++)
			bench_build((enum kind)kind, builds[i]);
		for (size_t i = 0; i < sizeof(picks) / sizeof(picks[0]); i++)
			bench_pick((enum kind)kind, picks[i]);
		for (size_t i = 0; i < sizeof(spread) / sizeof(spread[0]); i++) {
			bench_balance((enum kind)kind, spread[i]);
			bench_disruption((enum kind)kind, spread[i]);
		}
	}
	printf("}}\n");
	return 0;
}
