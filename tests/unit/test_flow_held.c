/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Flow entries that hardware holds: killed by anybody, they keep keys and memory until the offload
 * thread lets go. One thread plays all. */

#include <errno.h>

#include "core/offload.h"
#include "unit/flow_fixture.h"
#include "unit/harness.h"

static struct grace grace;
static struct flow_timeouts timeouts;

static const uint32_t hardware = OFFLOAD_HARDWARE;

static struct flow_table *table(uint32_t capacity)
{
	struct flow_config cfg = {.capacity = {capacity, capacity},
		.workers = 1,
		.salt = {test_seed(), 7},
		.grace = &grace};
	struct flow_table *t = NULL;

	memset(&grace, 0, sizeof(grace));
	flow_timeouts_default(&timeouts);
	REQUIRE_EQ(flow_table_init(&cfg, &t), 0);
	return t;
}

static uint32_t generation(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	return atomic_load(&flow_meta(t, f, entry)->generation);
}

/* Sweeps and grace periods enough for any burial to end in a reuse. */
static void settle(struct flow_table *t)
{
	for (int i = 0; i < 4; i++) {
		fixture_grace(&grace);
		flow_sweep(t, 0, 0, &timeouts);
	}
}

static void keys_stay_until_let_go(void)
{
	for (int f = 0; f < IP_FAMILIES; f++) {
		struct flow_table *t = table(8);
		uint32_t a = fixture_insert(t, f, 0, 1, 0), b, other;
		struct flow_key6 fwd, reply;

		fixture_keys(f, 1, &fwd, &reply);
		CHECK(flow_hold(t, f, a, 0, DIR_FORWARD, hardware));
		CHECK(flow_hold(t, f, a, 0, DIR_REPLY, hardware));
		CHECK(flow_kill(t, f, a));
		CHECK(!flow_kill(t, f, a));
		settle(t);
		CHECK_EQ(generation(t, f, a), 0);
		CHECK_EQ(flow_stats(t, f, 0)->used, 1);
		/* Nobody finds it, and nobody gets its keys. */
		CHECK(fixture_is(t, f, 1, FLOW_NONE));
		b = fixture_prepare(t, f, 0, &fwd, &reply, 0);
		CHECK_NE(b, a);
		CHECK_EQ(flow_link(t, f, b, DIR_REPLY, &other), -EBUSY);
		CHECK_EQ(flow_link(t, f, b, DIR_FORWARD, &other), -EBUSY);

		CHECK_EQ(flow_held_take(t, f), a);
		CHECK_EQ(flow_held_take(t, f), FLOW_NONE);
		flow_let_go(t, f, a, DIR_FORWARD, 0);
		CHECK_EQ(flow_link(t, f, b, DIR_REPLY, &other), -EBUSY);
		flow_let_go(t, f, a, DIR_REPLY, 0);
		CHECK_EQ(flow_link(t, f, b, DIR_REPLY, &other), 0);
		CHECK_EQ(flow_link(t, f, b, DIR_FORWARD, &other), 0);
		CHECK(fixture_is(t, f, 1, b));
		settle(t);
		CHECK_EQ(generation(t, f, a), 1);
		CHECK_EQ(flow_stats(t, f, 0)->used, 1);
		flow_table_fini(t);
	}
}

/* The rules went between the death and the taking: the taking buries. */
static void let_go_before_taken(void)
{
	struct flow_table *t = table(8);
	uint32_t a = fixture_insert(t, IP_V4, 0, 1, 0), b = fixture_insert(t, IP_V4, 0, 2, 0);

	CHECK(flow_hold(t, IP_V4, a, 0, DIR_FORWARD, hardware));
	CHECK(flow_hold(t, IP_V4, b, 0, DIR_REPLY, hardware));
	CHECK(flow_kill_id(t, IP_V4, a, 0));
	CHECK(flow_kill(t, IP_V4, b));
	flow_let_go(t, IP_V4, a, DIR_FORWARD, 0);
	settle(t);
	CHECK_EQ(generation(t, IP_V4, a), 0);
	CHECK_EQ(flow_held_take(t, IP_V4), b);
	CHECK_EQ(flow_held_take(t, IP_V4), a);
	flow_let_go(t, IP_V4, b, DIR_REPLY, 0);
	settle(t);
	CHECK_EQ(generation(t, IP_V4, a), 1);
	CHECK_EQ(generation(t, IP_V4, b), 1);
	CHECK_EQ(flow_stats(t, IP_V4, 0)->used, 0);
	flow_table_fini(t);
}

/* Neither the dead nor the next life of an entry can be held or noted by an id of the last. */
static void old_ids_hold_nothing(void)
{
	struct flow_table *t = table(1);
	uint32_t a = fixture_insert(t, IP_V6, 0, 1, 0);
	struct flow_cold *cold = &flow_cold_array(t, IP_V6)[a];

	CHECK(flow_kill(t, IP_V6, a));
	CHECK(!flow_hold(t, IP_V6, a, 0, DIR_FORWARD, hardware));
	settle(t);
	CHECK(!flow_hold(t, IP_V6, a, 0, DIR_FORWARD, hardware));
	CHECK(!flow_hold(t, IP_V6, a, 1, DIR_FORWARD, hardware));
	CHECK_EQ(fixture_insert(t, IP_V6, 0, 2, 0), a);
	CHECK(!flow_hold(t, IP_V6, a, 0, DIR_FORWARD, hardware));
	flow_note(t, IP_V6, a, 0, DIR_FORWARD, offload_word(OFFLOAD_SOFTWARE, OFFLOAD_TooSlow, 0));
	CHECK_EQ(cold->offload[DIR_FORWARD], 0);
	flow_note(t, IP_V6, a, 1, DIR_FORWARD,
		offload_word(OFFLOAD_SOFTWARE, OFFLOAD_TooSlow, 70000));
	CHECK_EQ(offload_word_reason(cold->offload[DIR_FORWARD]), OFFLOAD_TooSlow);
	CHECK_EQ(offload_word_since(cold->offload[DIR_FORWARD]), 70000 & ~255u);
	CHECK(flow_hold(t, IP_V6, a, 1, DIR_FORWARD, hardware));
	flow_let_go(t, IP_V6, a, DIR_FORWARD, 0);
	CHECK(flow_kill(t, IP_V6, a));
	settle(t);
	CHECK_EQ(flow_stats(t, IP_V6, 0)->used, 0);
	flow_table_fini(t);
}

/* An idle flow that hardware holds dies by the sweep, and is free only when it is let go. */
static void sweep_waits_too(void)
{
	struct flow_table *t = table(4);
	uint32_t a = fixture_insert(t, IP_V4, 0, 1, 0);
	uint32_t late = timeouts.ms[FLOW_CLASS_TCP][FLOW_NEW] + 1;

	CHECK(flow_hold(t, IP_V4, a, 0, DIR_FORWARD, hardware));
	CHECK_EQ(flow_sweep(t, 0, late, &timeouts), 1);
	for (int i = 0; i < 4; i++) {
		fixture_grace(&grace);
		flow_sweep(t, 0, late, &timeouts);
	}
	CHECK_EQ(flow_stats(t, IP_V4, 0)->used, 1);
	CHECK_EQ(flow_held_take(t, IP_V4), a);
	flow_let_go(t, IP_V4, a, DIR_FORWARD, 0);
	for (int i = 0; i < 4; i++) {
		fixture_grace(&grace);
		flow_sweep(t, 0, late, &timeouts);
	}
	CHECK_EQ(flow_stats(t, IP_V4, 0)->used, 0);
	flow_table_fini(t);
}

TEST_SUITE("flow held by hardware", CASE(keys_stay_until_let_go), CASE(let_go_before_taken),
	CASE(old_ids_hold_nothing), CASE(sweep_waits_too))
