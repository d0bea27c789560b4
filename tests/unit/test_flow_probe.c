/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The hit path in steps: the vector form of the tags' first match against the plain one; aim and
 * probe of a lane against a lookup of its key alone, with holes in buckets, full buckets and
 * chains; both families. */

#include "core/flow_probe.h"
#include "unit/flow_fixture.h"
#include "unit/harness.h"

static struct grace grace;
static struct burst b;

static void first_match_forms_agree(void)
{
	_Alignas(16) uint16_t tags[9];

	for (uint32_t n = 0; n < 50000; n++) {
		uint16_t tag = (uint16_t)(test_rand() & 3 ? 0x8000 | test_rand_below(4) : 0);
		uint32_t at = 99, plain_at = 99;
		bool found, plain;

		for (uint32_t i = 0; i < 9; i++)
			tags[i] = (uint16_t)(test_rand() & 1 ? 0x8000 | test_rand_below(6) : 0);
		found = simd_first8_u16(tags + n % 2, tag, &at);
		plain = plain_first8_u16(tags + n % 2, tag, &plain_at);
		CHECK_EQ(found, plain);
		CHECK_EQ(at, plain_at);
		CHECK_EQ(found, simd_match8_u16(tags + n % 2, tag) != 0);
		if (!found)
			continue;
		CHECK_EQ(tags[n % 2 + at], tag);
		for (uint32_t i = 0; i < at; i++)
			CHECK_NE(tags[n % 2 + i], tag);
	}
}

/* What a probe says of a lane whose key leads to slot (FLOW_NONE: to nothing). */
static void check_probe(struct flow_table *t, int f, lanes_t i, uint32_t slot)
{
	const struct flow_half *h = &t->half[f];
	const struct flow_bucket *bucket = b.bucket[i];
	uint32_t probed = FLOW_NONE, place = 0, before;
	bool found = flow_probe(&b, i, h->hot, f == IP_V6, false, &probed);

	CHECK(bucket >= h->buckets && bucket < h->buckets + h->n_buckets);
	CHECK_EQ(found, plain_first8_u16((const uint16_t *)bucket->tags, b.tag[i], &place));
	if (found)
		CHECK_EQ(probed, bucket->slots[place]);
	/* A key that is there and not what the probe names lies behind another of its tag, or in
	 * the chain: then the probe must not be the last word. */
	if (slot == FLOW_NONE || (found && probed == slot))
		return;
	CHECK(found || !flow_probe_final(&b, i));
	before = simd_match8_u16((const uint16_t *)bucket->tags, b.tag[i]);
	CHECK(!flow_probe_final(&b, i) || (before & (before - 1)) != 0);
}

static void probes_lead_to_entries(void)
{
	/* One bucket with a chain, a few full ones, many with holes. */
	static const uint32_t buckets[] = {1, 6, 40};

	for (unsigned n = 0; n < 3; n++) {
		struct flow_config cfg = {.capacity = {32, 32},
			.workers = 1,
			.salt = {test_seed(), n},
			.buckets = buckets[n],
			.grace = &grace};
		struct flow_table *t = NULL;

		memset(&grace, 0, sizeof(grace));
		REQUIRE_EQ(flow_table_init(&cfg, &t), 0);
		for (int f = 0; f < IP_FAMILIES; f++) {
			struct flow_aim aim = flow_aim_of(t, f == IP_V6);
			uint32_t led = 0;

			for (uint32_t k = 0; k < 32; k++)
				fixture_insert(t, f, 0, k, 0);
			for (uint32_t k = 0; k < 32; k += 5)
				flow_kill(t, f, k);
			for (uint32_t k = 0; k < 40; k++) {
				lanes_t i = k % BURST_MAX;
				uint32_t slot;

				fixture_keys(f, k, &b.key6[i], &b.key6[63 - i]);
				b.key4[i] = fixture_narrow(&b.key6[i]);
				flow_aim_lane(&aim, f == IP_V6, &b, i);
				slot = fixture_find(t, f, &b.key6[i]);
				CHECK_EQ(slot != FLOW_NONE, k < 32 && k % 5 != 0);
				check_probe(t, f, i, slot);
				led += slot != FLOW_NONE &&
					flow_probe(
						&b, i, t->half[f].hot, f == IP_V6, true, &slot) &&
					slot == fixture_find(t, f, &b.key6[i]);
			}
			/* In the first bucket there is room for eight keys at most. */
			CHECK(buckets[n] == 1 ? led <= 8 : led >= 10);
		}
		flow_table_fini(t);
	}
}

/* The words that classify has in its registers hash to what the key in memory does. */
static void words_and_keys_hash_alike(void)
{
	struct flow_salt salt;

	flow_salt_init(&salt, (const uint64_t[2]){test_rand(), test_rand()});
	for (uint32_t n = 0; n < 1000; n++) {
		struct flow_key6 k6;
		struct flow_key4 k4;
		uint64_t w[5];

		for (int i = 0; i < 5; i++)
			w[i] = test_rand();
		memcpy(&k6, w, sizeof(k6));
		memcpy(&k4, w, sizeof(k4));
		CHECK_EQ(flow_hash4(&salt, &k4), flow_hash4_words(&salt, w[0], w[1]));
		CHECK_EQ(flow_hash6(&salt, &k6), flow_hash6_words(&salt, w));
	}
}

TEST_SUITE("flow_probe", CASE(first_match_forms_agree), CASE(probes_lead_to_entries),
	CASE(words_and_keys_hash_alike))
