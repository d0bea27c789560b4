/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The choice of an endpoint: even shares, no more change than must be, independence of order, and
 * golden checksums, since a choice that differs between two versions moves clients at an upgrade.
 */

#include "core/choice.h"
#include "core/service.h"
#include "unit/harness.h"

#define N_MAX  1000
#define HASHES 65536

static uint64_t identities[N_MAX];
static uint32_t words[8192], other[8192];

static void fill_identities(uint32_t n, uint64_t state)
{
	for (uint32_t i = 0; i < n; i++)
		identities[i] = test_rand_r(&state);
}

/* Evenly over all hashes. */
static uint32_t hash_at(uint32_t i)
{
	return i * (UINT32_MAX / HASHES) + i;
}

static uint32_t checksum(const uint32_t *choice, uint32_t n)
{
	uint32_t h = 2166136261u;

	for (uint32_t i = 0; i < HASHES; i++) {
		uint32_t at = choice_pick(choice, n, hash_at(i));

		h = (h ^ (at & 0xff)) * 16777619u;
		h = (h ^ (at >> 8)) * 16777619u;
	}
	return h;
}

/* Words are what the lists' memory is made of: no more than are needed, and never fewer for more
 * endpoints, since a list is made before the ones that are given twice are known. */
static void memory(void)
{
	static const struct {
		uint32_t n, words;
	} rows[] = {{1, 4}, {3, 4}, {4, 4}, {5, 8}, {256, 256}, {257, 2048}, {1024, 2048},
		{1025, 8192}, {4096, 8192}, {4097, 32768}, {16385, 131072}, {65535, 131072}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_EQ(choice_words(rows[i].n), rows[i].words);
	for (uint32_t n = 2; n <= CHOICE_MAX; n++)
		REQUIRE(choice_words(n) >= choice_words(n - 1));
}

/* Within five standard deviations of what even shares of so many random hashes are. */
static void is_even(void)
{
	static const uint32_t counts[] = {2, 3, 7, 10, 64, 100, 256, 257, 655, 1000};
	const uint32_t draws = 1 << 20;

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		uint32_t n = counts[c], held[N_MAX] = {0};
		double mean = (double)draws / n;

		fill_identities(n, test_seed() + c);
		choice_build(identities, n, words);
		for (uint32_t i = 0; i < draws; i++) {
			uint32_t at = choice_pick(words, n, (uint32_t)test_rand());

			REQUIRE(at < n);
			held[at]++;
		}
		for (uint32_t i = 0; i < n; i++) {
			double off = held[i] - mean;

			CHECK_TEXT_(off * off < 25 * mean, 0, "%u of %u endpoints: %u of %.0f", i,
				n, held[i], mean);
		}
	}
}

/* Neighbouring hashes, and hashes that differ in their upper bits alone, spread as well. */
static void spreads_any_hashes(void)
{
	static const uint32_t counts[] = {3, 100, 655};

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++)
		for (uint32_t shift = 0; shift <= 16; shift += 4) {
			uint32_t n = counts[c], held[N_MAX] = {0};

			fill_identities(n, test_seed() + c);
			choice_build(identities, n, words);
			for (uint32_t i = 0; i < HASHES; i++)
				held[choice_pick(words, n, i << shift)]++;
			for (uint32_t i = 0; i < n; i++)
				CHECK_LT(held[i], HASHES / n * 2);
		}
}

/* Of the table, but for the few hashes that find no place. Lists are sorted (below), since of two
 * equal scores the later one wins. */
static void order_does_not_matter(void)
{
	static const uint32_t counts[] = {257, 1000};

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		uint32_t n = counts[c], from[N_MAX], differ = 0;
		uint64_t given[N_MAX];

		fill_identities(n, test_rand());
		choice_build(identities, n, words);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t j = test_rand_below(i + 1);

			from[i] = i;
			from[i] = from[j];
			from[j] = i;
		}
		for (uint32_t i = 0; i < n; i++)
			given[i] = identities[from[i]];
		choice_build(given, n, other);
		for (uint32_t i = 0; i < HASHES; i++)
			differ += from[choice_pick(other, n, hash_at(i))] !=
				choice_pick(words, n, hash_at(i));
		CHECK_LT(differ, HASHES / 1000);
	}
}

/* Hashes whose endpoint changes although it is still there, when one of n goes (or, read the other
 * way, comes): in hundredths of a percent, a mean over all that may go. None of a short list. */
static void moves_only_what_must(void)
{
	static const struct {
		uint32_t n, limit;
	} rows[] = {{2, 0}, {3, 0}, {10, 0}, {100, 0}, {256, 0}, {258, 20}, {400, 20}, {655, 20},
		{1000, 20}};

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		uint32_t n = rows[r].n, rounds = n < 20 ? n : 20;
		uint64_t moved = 0;

		fill_identities(n, test_rand());
		choice_build(identities, n, words);
		for (uint32_t round = 0; round < rounds; round++) {
			uint32_t gone = n * round / rounds, k = 0;
			uint64_t rest[N_MAX];

			for (uint32_t i = 0; i < n; i++)
				if (i != gone)
					rest[k++] = identities[i];
			choice_build(rest, n - 1, other);
			for (uint32_t i = 0; i < HASHES; i++) {
				uint32_t at = choice_pick(words, n, hash_at(i));
				uint32_t now = choice_pick(other, n - 1, hash_at(i));

				moved += at != gone && now + (now >= gone) != at;
			}
		}
		CHECK_LE(moved * 10000 / (rounds * (uint64_t)HASHES), rows[r].limit);
		if (rows[r].limit == 0)
			CHECK_EQ(moved, 0);
	}
}

/* Two of one identity, which no two addresses should have, both get their share. */
static void equal_identities(void)
{
	static const uint32_t counts[] = {2, 5, 256, 300};

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		uint32_t n = counts[c], held[N_MAX] = {0};

		fill_identities(n, test_rand());
		identities[n - 1] = identities[0];
		choice_build(identities, n, words);
		for (uint32_t i = 0; i < HASHES; i++)
			held[choice_pick(words, n, hash_at(i))]++;
		CHECK_GT(held[0], HASHES / n / 2);
		CHECK_GT(held[n - 1], HASHES / n / 2);
	}
}

static void golden_choices(void)
{
	fill_identities(10, 42);
	choice_build(identities, 10, words);
	CHECK_EQ(checksum(words, 10), 3614335191);
	fill_identities(655, 43);
	choice_build(identities, 655, words);
	CHECK_EQ(checksum(words, 655), 2501885680);
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
	CHECK_EQ(checksum(l->choice, l->n), 249849624);
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
	CHECK_MEM(l->choice, shuffled->choice, choice_words(l->n) * sizeof(l->choice[0]));
	free(l);
	free(shuffled);
}

static void short_lists(void)
{
	struct svc_backend b[2];
	struct svc_list *l = svc_list_new(NULL, 0);

	REQUIRE(l != NULL);
	CHECK_EQ(l->n, 0);
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

TEST_SUITE("choice", CASE(memory), CASE(is_even), CASE(spreads_any_hashes),
	CASE(order_does_not_matter), CASE(moves_only_what_must), CASE(equal_identities),
	CASE(golden_choices), CASE(golden_list), CASE(list_is_sorted_and_unique), CASE(short_lists),
	CASE(pick_is_even))
