/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Backend slots: states, old references, the order of reuse, a full table. */

#include <errno.h>

#include "core/service.h"
#include "unit/harness.h"

static void states(void)
{
	struct backend_table *t;
	backend_ref a, b;

	REQUIRE_EQ(backend_table_init(4, &t), 0);
	a = backend_alloc(t);
	b = backend_alloc(t);
	CHECK_NE(a, 0);
	CHECK_NE(a, b);
	CHECK_EQ(backend_used(t), 2);
	CHECK_EQ(backend_state(t, a), BACKEND_UNUSED);
	backend_set(t, a, BACKEND_READY);
	CHECK_EQ(backend_state(t, a), BACKEND_READY);
	CHECK_EQ(backend_state(t, b), BACKEND_UNUSED);
	backend_set(t, a, BACKEND_DRAINING);
	CHECK_EQ(backend_state(t, a), BACKEND_DRAINING);
	backend_release(t, a);
	CHECK_EQ(backend_state(t, a), BACKEND_GONE);
	CHECK_EQ(backend_used(t), 1);
	/* It is nobody's any more. */
	backend_set(t, a, BACKEND_READY);
	backend_release(t, a);
	CHECK_EQ(backend_state(t, a), BACKEND_GONE);
	CHECK_EQ(backend_used(t), 1);
	CHECK_EQ(backend_state(t, 0), BACKEND_GONE);
	CHECK_EQ(backend_state(t, 5), BACKEND_GONE);
	backend_table_fini(t);
	backend_table_fini(NULL);
}

static void full(void)
{
	struct backend_table *t;
	backend_ref ref[3];

	REQUIRE_EQ(backend_table_init(3, &t), 0);
	for (int i = 0; i < 3; i++)
		ref[i] = backend_alloc(t);
	CHECK_EQ(backend_alloc(t), 0);
	backend_release(t, ref[1]);
	CHECK_EQ(backend_alloc(t) & 0xffffff, ref[1] & 0xffffff);
	CHECK_EQ(backend_alloc(t), 0);
	backend_table_fini(t);
	CHECK_EQ(backend_table_init(0, &t), -EINVAL);
	CHECK_EQ(backend_table_init(BACKEND_SLOTS_MAX, &t), -EINVAL);
}

/* First in, first out; an old reference sees its slot's next holders as gone until 64 generations
 * of the slot have passed. */
static void old_references(void)
{
	struct backend_table *t;
	backend_ref ref[64 * 4];

	REQUIRE_EQ(backend_table_init(4, &t), 0);
	for (int i = 0; i < 64 * 4 - 4; i++) {
		ref[i] = backend_alloc(t);
		REQUIRE(ref[i] != 0);
		if (i >= 4)
			CHECK_EQ(ref[i] & 0xffffff, ref[i - 4] & 0xffffff);
		backend_set(t, ref[i], BACKEND_READY);
		/* A release counts a generation too. */
		for (int j = i > 120 ? i - 120 : 0; j < i; j++)
			CHECK_EQ(backend_state(t, ref[j]), BACKEND_GONE);
		CHECK_EQ(backend_state(t, ref[i]), BACKEND_READY);
		backend_release(t, ref[i]);
	}
	backend_table_fini(t);
}

/* Random gives and returns beside an array. */
static void model(void)
{
	enum {
		CAPACITY = 50
	};
	struct backend_table *t;
	backend_ref held[CAPACITY];
	uint8_t state[CAPACITY];
	uint32_t n = 0;

	REQUIRE_EQ(backend_table_init(CAPACITY, &t), 0);
	for (int step = 0; step < 20000; step++) {
		uint32_t i = n != 0 ? test_rand_below(n) : 0;

		switch (test_rand_below(3)) {
		case 0:
			if (n == CAPACITY) {
				CHECK_EQ(backend_alloc(t), 0);
				break;
			}
			held[n] = backend_alloc(t);
			CHECK_NE(held[n], 0);
			for (uint32_t j = 0; j < n; j++)
				CHECK_NE(held[n] & 0xffffff, held[j] & 0xffffff);
			state[n++] = BACKEND_UNUSED;
			break;
		case 1:
			if (n == 0)
				break;
			state[i] = test_rand() & 1 ? BACKEND_READY : BACKEND_DRAINING;
			backend_set(t, held[i], state[i]);
			break;
		default:
			if (n == 0)
				break;
			backend_release(t, held[i]);
			CHECK_EQ(backend_state(t, held[i]), BACKEND_GONE);
			held[i] = held[--n];
			state[i] = state[n];
		}
		CHECK_EQ(backend_used(t), n);
		if (n != 0)
			CHECK_EQ(backend_state(t, held[n / 2]), state[n / 2]);
	}
	backend_table_fini(t);
}

TEST_SUITE("backend", CASE(states), CASE(full), CASE(old_references), CASE(model))
