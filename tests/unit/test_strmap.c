/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The string map against a plain array of flags, through growth, churn and deleting walks. */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "k8s-sync/strmap.h"
#include "unit/harness.h"

#define KEYS 5000

static char keys[KEYS][24];
static bool present[KEYS];

static void make_keys(void)
{
	for (int i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "ns-%d/name-%d", i % 7, i);
		present[i] = false;
	}
}

static void check_all(const struct strmap *map)
{
	uint32_t count = 0;

	for (int i = 0; i < KEYS; i++) {
		CU_ASSERT_PTR_EQUAL(strmap_get(map, keys[i]), present[i] ? keys[i] : NULL);
		count += present[i];
	}
	CU_ASSERT_EQUAL(map->count, count);
}

static void matches_a_naive_set(void)
{
	struct strmap map;
	uint32_t random = 1;
	void *old;

	make_keys();
	strmap_init(&map, 42);
	CU_ASSERT_PTR_NULL(strmap_get(&map, "absent"));
	CU_ASSERT_PTR_NULL(strmap_del(&map, "absent"));
	for (int step = 0; step < 60000; step++) {
		int i;

		random = random * 1664525u + 1013904223u;
		i = (int)(random >> 8) % KEYS;
		if (random & 0x80) {
			CU_ASSERT_EQUAL(strmap_put(&map, keys[i], keys[i], &old), 0);
			CU_ASSERT_PTR_EQUAL(old, present[i] ? keys[i] : NULL);
			present[i] = true;
		} else {
			old = strmap_del(&map, keys[i]);
			CU_ASSERT_PTR_EQUAL(old, present[i] ? keys[i] : NULL);
			present[i] = false;
		}
	}
	check_all(&map);
	strmap_fini(&map);
}

static void replaces_the_value(void)
{
	struct strmap map;
	char key1[] = "a/b", key2[] = "a/b";
	void *old;

	strmap_init(&map, 0);
	CU_ASSERT_EQUAL(strmap_put(&map, key1, key1, NULL), 0);
	CU_ASSERT_EQUAL(strmap_put(&map, key2, key2, &old), 0);
	CU_ASSERT_PTR_EQUAL(old, key1);
	CU_ASSERT_PTR_EQUAL(strmap_get(&map, "a/b"), key2);
	CU_ASSERT_EQUAL(map.count, 1);
	strmap_fini(&map);
}

static void walk_may_delete(void)
{
	struct strmap map;
	uint32_t cursor = 0;
	char *key;

	make_keys();
	strmap_init(&map, 7);
	for (int i = 0; i < KEYS; i++) {
		CU_ASSERT_EQUAL(strmap_put(&map, keys[i], keys[i], NULL), 0);
		present[i] = true;
	}
	while ((key = strmap_next(&map, &cursor)) != NULL) {
		int i = (int)((size_t)(key - keys[0]) / sizeof(keys[0]));

		if (i % 3 != 0) {
			strmap_del_at(&map, &cursor);
			present[i] = false;
		}
	}
	for (int i = 0; i < KEYS; i++)
		CU_ASSERT_EQUAL(present[i], i % 3 == 0);
	check_all(&map);
	strmap_fini(&map);
}

static void reserved_room_does_not_move(void)
{
	const struct strmap_slot *slots;
	struct strmap map;

	make_keys();
	strmap_init(&map, 3);
	CU_ASSERT_EQUAL(strmap_put(&map, keys[0], keys[0], NULL), 0);
	CU_ASSERT_EQUAL(strmap_reserve(&map, KEYS), 0);
	slots = map.slots;
	for (int i = 0; i < KEYS; i++) {
		CU_ASSERT_EQUAL(strmap_put(&map, keys[i], keys[i], NULL), 0);
		present[i] = true;
	}
	CU_ASSERT_PTR_EQUAL(map.slots, slots);
	CU_ASSERT_EQUAL(strmap_reserve(&map, 1), 0);
	CU_ASSERT_PTR_EQUAL(map.slots, slots);
	check_all(&map);
	strmap_fini(&map);
}

TEST_SUITE("strmap", CASE(matches_a_naive_set), CASE(replaces_the_value), CASE(walk_may_delete),
	CASE(reserved_room_does_not_move))
