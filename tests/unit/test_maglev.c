/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Maglev tables: sizes, independence of order, balance, disruption, and golden checksums, since a
 * table that changes between two versions moves clients at an upgrade. */

#include <errno.h>

#include "core/maglev.h"
#include "core/service.h"
#include "unit/harness.h"

#define N_MAX 1000

static uint64_t seeds[N_MAX];
static uint32_t scratch[3 * N_MAX];
static uint16_t table[65537], other[65537];

static void fill_seeds(uint32_t n, uint64_t state)
{
	for (uint32_t i = 0; i < n; i++)
		seeds[i] = test_rand_r(&state);
}

static uint32_t checksum(const uint16_t *t, uint32_t size)
{
	uint32_t h = 2166136261u;

	for (uint32_t i = 0; i < size; i++) {
		h = (h ^ (t[i] & 0xff)) * 16777619u;
		h = (h ^ (t[i] >> 8)) * 16777619u;
	}
	return h;
}

static void sizes(void)
{
	static const struct {
		uint32_t n, size;
	} rows[] = {{0, 251}, {1, 251}, {2, 251}, {3, 509}, {5, 509}, {6, 1021}, {10, 1021},
		{11, 2039}, {20, 2039}, {21, 4093}, {40, 4093}, {41, 8191}, {81, 8191}, {82, 16381},
		{163, 16381}, {164, 32749}, {327, 32749}, {328, 65537}, {656, 65537},
		{65535, 65537}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(maglev_size_for(rows[i].n), rows[i].size);
}

static void refuses(void)
{
	fill_seeds(3, 1);
	CHECK_EQ(maglev_build(seeds, 0, 251, table, scratch), -EINVAL);
	CHECK_EQ(maglev_build(seeds, 3, 1, table, scratch), -EINVAL);
	CHECK_EQ(maglev_build(seeds, 3, 65539, table, scratch), -EINVAL);
	seeds[2] = seeds[0];
	CHECK_EQ(maglev_build(seeds, 3, 251, table, scratch), -EINVAL);
}

/* Slots by backend differ by one at most, so that the imbalance is below 1 % at 100 slots each. */
static void is_balanced(void)
{
	static const uint32_t counts[] = {1, 2, 3, 7, 10, 64, 100, 300, 655};

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		uint32_t n = counts[c], size = maglev_size_for(n), held[N_MAX] = {0};

		fill_seeds(n, test_seed() + c);
		REQUIRE_EQ(maglev_build(seeds, n, size, table, scratch), 0);
		for (uint32_t i = 0; i < size; i++) {
			REQUIRE(table[i] < n);
			held[table[i]]++;
		}
		for (uint32_t i = 0; i < n; i++) {
			CHECK_GE(held[i], size / n);
			CHECK_LE(held[i], (size + n - 1) / n);
			/* In hundredths of a percent above the even share. */
			CHECK_LE((uint64_t)held[i] * n * 10000 / size, 10100);
		}
	}
}

static void order_does_not_matter(void)
{
	for (uint32_t round = 0; round < 20; round++) {
		uint32_t n = 2 + test_rand_below(150), size = maglev_size_for(n);
		uint32_t from[N_MAX];
		uint64_t given[N_MAX];

		fill_seeds(n, test_rand());
		REQUIRE_EQ(maglev_build(seeds, n, size, table, scratch), 0);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t j = test_rand_below(i + 1);

			from[i] = i;
			from[i] = from[j];
			from[j] = i;
		}
		for (uint32_t i = 0; i < n; i++)
			given[i] = seeds[from[i]];
		REQUIRE_EQ(maglev_build(given, n, size, other, scratch), 0);
		for (uint32_t i = 0; i < size; i++)
			if (from[other[i]] != table[i]) {
				CHECK_EQ(from[other[i]], table[i]);
				break;
			}
	}
}

/* Slots that change although their backend is still there, when one of n goes (or, read the other
 * way, comes). The paper's algorithm moves some; a table made anew would move nearly all. In
 * hundredths of a percent, a mean over rounds. */
static void disruption_is_small(void)
{
	static const struct {
		uint32_t n, limit;
	} rows[] = {{3, 900}, {10, 350}, {100, 160}, {655, 100}};

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		const uint32_t rounds = 10;
		uint32_t n = rows[r].n, size = maglev_size_for(n);
		uint64_t moved = 0;

		for (uint32_t round = 0; round < rounds; round++) {
			uint32_t gone = test_rand_below(n);

			fill_seeds(n, test_rand());
			REQUIRE_EQ(maglev_build(seeds, n, size, table, scratch), 0);
			memmove(&seeds[gone], &seeds[gone + 1], (n - 1 - gone) * sizeof(seeds[0]));
			REQUIRE_EQ(maglev_build(seeds, n - 1, size, other, scratch), 0);
			for (uint32_t i = 0; i < size; i++) {
				uint32_t before = table[i];

				if (before == gone)
					continue;
				moved += other[i] != (before > gone ? before - 1 : before);
			}
		}
		CHECK_LT(moved * 10000 / (rounds * (uint64_t)size), rows[r].limit);
	}
}

static void golden_tables(void)
{
	fill_seeds(10, 42);
	REQUIRE_EQ(maglev_build(seeds, 10, 1021, table, scratch), 0);
	CHECK_EQ(checksum(table, 1021), 1300517809);
	fill_seeds(655, 43);
	REQUIRE_EQ(maglev_build(seeds, 655, 65537, table, scratch), 0);
	CHECK_EQ(checksum(table, 65537), 3797337616);
}

/* --- endpoint lists --------------------------------------------------------------------------- */

static void fill_endpoints(struct svc_backend *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		b[i] = (struct svc_backend){.port = htons((uint16_t)(8080 + i % 3)), .ref = i + 1};
		if (i % 2)
			b[i].addr = ip_from_v4(htonl(0x0a000100 + i));
		else
			ip_parse("fd00::1:0", &b[i].addr);
		b[i].addr.bytes[15] = (uint8_t)(0xe0 - i);
	}
}

static void golden_list(void)
{
	struct svc_backend b[12];
	struct svc_list *l;

	fill_endpoints(b, 12);
	l = svc_list_new(b, 12);
	REQUIRE(l != NULL);
	CHECK_EQ(l->n, 12);
	CHECK_EQ(l->maglev_size, 2039);
	CHECK_EQ(checksum(l->maglev, l->maglev_size), 4212993124);
	free(l);
}

static void list_is_sorted_and_unique(void)
{
	struct svc_backend b[40];
	struct svc_list *l, *shuffled;

	fill_endpoints(b, 20);
	l = svc_list_new(b, 20);
	for (uint32_t i = 19; i > 0; i--) {
		uint32_t j = test_rand_below(i + 1);
		struct svc_backend t = b[i];

		b[i] = b[j];
		b[j] = t;
	}
	memcpy(b + 20, b, 20 * sizeof(b[0]));
	shuffled = svc_list_new(b, 40);
	REQUIRE(l != NULL && shuffled != NULL);
	REQUIRE_EQ(l->n, 20);
	REQUIRE_EQ(shuffled->n, 20);
	for (uint32_t i = 0; i < 20; i++) {
		CHECK(ip_equal(&l->backends[i].addr, &shuffled->backends[i].addr));
		CHECK_EQ(l->backends[i].port, shuffled->backends[i].port);
		CHECK_EQ(l->backends[i].ref, shuffled->backends[i].ref);
		if (i > 0)
			CHECK_LE(ip_compare(&l->backends[i - 1].addr, &l->backends[i].addr), 0);
	}
	REQUIRE_EQ(l->maglev_size, shuffled->maglev_size);
	CHECK_MEM(l->maglev, shuffled->maglev, l->maglev_size * 2);
	free(l);
	free(shuffled);
}

static void short_lists(void)
{
	struct svc_backend b[2];
	struct svc_list *l = svc_list_new(NULL, 0);

	REQUIRE(l != NULL);
	CHECK_EQ(l->n, 0);
	CHECK_EQ(l->maglev_size, 0);
	free(l);
	fill_endpoints(b, 2);
	l = svc_list_new(b, 1);
	CHECK(svc_list_pick(l, 0) == &l->backends[0]);
	CHECK(svc_list_pick(l, UINT32_MAX) == &l->backends[0]);
	free(l);
	/* Two that are one. */
	b[1] = b[0];
	l = svc_list_new(b, 2);
	CHECK_EQ(l->n, 1);
	CHECK(svc_list_pick(l, 0x80000000) == &l->backends[0]);
	free(l);
	CHECK(svc_list_new(b, SVC_BACKENDS_MAX + 1) == NULL);
}

/* Random hashes reach all endpoints about evenly, and only them. */
static void pick_is_even(void)
{
	struct svc_backend b[12];
	uint32_t got[13] = {0};
	struct svc_list *l;

	fill_endpoints(b, 12);
	l = svc_list_new(b, 12);
	for (int i = 0; i < 120000; i++)
		got[svc_list_pick(l, (uint32_t)test_rand())->ref]++;
	for (int i = 1; i <= 12; i++) {
		CHECK_GT(got[i], 9000);
		CHECK_LT(got[i], 11000);
	}
	free(l);
}

TEST_SUITE("maglev", CASE(sizes), CASE(refuses), CASE(is_balanced), CASE(order_does_not_matter),
	CASE(disruption_is_small), CASE(golden_tables), CASE(golden_list),
	CASE(list_is_sorted_and_unique), CASE(short_lists), CASE(pick_is_even))
