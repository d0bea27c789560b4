/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The string map of strmap.h: at most three quarters full, so probes stay short. Any thread that
 * owns the map; no I/O. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/strmap.h"

#define FIRST_CAPACITY 64

/* Multiply and fold, eight bytes at a step. */
static uint32_t hash_key(const char *key, uint32_t seed)
{
	size_t len = strlen(key);
	uint64_t h = seed ^ (uint64_t)len * 0x9e3779b97f4a7c15u;
	uint64_t word;

	for (; len >= 8; key += 8, len -= 8) {
		memcpy(&word, key, 8);
		h = (h ^ word) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, key, len);
	h = (h ^ word) * 0xc4ceb9fe1a85ec53u;
	h ^= h >> 29;
	h *= 0xff51afd7ed558ccdu;
	return (uint32_t)(h >> 32);
}

void strmap_init(struct strmap *map, uint32_t seed)
{
	*map = (struct strmap){.seed = seed};
}

void strmap_fini(struct strmap *map)
{
	free(map->slots);
	*map = (struct strmap){0};
}

/* The slot that holds key, or the free one where it belongs. */
static struct strmap_slot *find(const struct strmap *map, const char *key, uint32_t hash)
{
	uint32_t mask = map->capacity - 1;
	uint32_t i = hash & mask;

	while (map->slots[i].key != NULL &&
		(map->slots[i].hash != hash || strcmp(map->slots[i].key, key) != 0))
		i = (i + 1) & mask;
	return &map->slots[i];
}

static int resize(struct strmap *map, uint32_t capacity)
{
	struct strmap_slot *slots = calloc(capacity, sizeof(*slots)), *old = map->slots;
	uint32_t old_capacity = map->capacity;

	if (slots == NULL)
		return -ENOMEM;
	map->slots = slots;
	map->capacity = capacity;
	for (uint32_t i = 0; i < old_capacity; i++) {
		uint32_t j;

		if (old[i].key == NULL)
			continue;
		j = old[i].hash & (capacity - 1);
		while (slots[j].key != NULL)
			j = (j + 1) & (capacity - 1);
		slots[j] = old[i];
	}
	free(old);
	return 0;
}

int strmap_reserve(struct strmap *map, uint32_t n)
{
	uint32_t capacity = map->capacity != 0 ? map->capacity : FIRST_CAPACITY;

	while (n > capacity / 4 * 3) {
		if (capacity > UINT32_MAX / 2)
			return -ENOMEM;
		capacity *= 2;
	}
	return capacity == map->capacity ? 0 : resize(map, capacity);
}

void *strmap_get(const struct strmap *map, const char *key)
{
	if (map->count == 0)
		return NULL;
	return find(map, key, hash_key(key, map->seed))->value;
}

int strmap_put(struct strmap *map, const char *key, void *value, void **old)
{
	uint32_t hash = hash_key(key, map->seed);
	struct strmap_slot *slot;

	if (old != NULL)
		*old = NULL;
	if (map->count + 1 > map->capacity / 4 * 3 && strmap_reserve(map, map->count + 1) != 0)
		return -ENOMEM;
	slot = find(map, key, hash);
	if (slot->key == NULL)
		map->count++;
	else if (old != NULL)
		*old = slot->value;
	*slot = (struct strmap_slot){.key = key, .value = value, .hash = hash};
	return 0;
}

static void remove_slot(struct strmap *map, uint32_t hole)
{
	uint32_t mask = map->capacity - 1;

	for (uint32_t i = (hole + 1) & mask; map->slots[i].key != NULL; i = (i + 1) & mask) {
		uint32_t home = map->slots[i].hash & mask;

		/* An entry may move back to the hole unless its home lies behind the hole. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole] = (struct strmap_slot){0};
	map->count--;
}

void *strmap_del(struct strmap *map, const char *key)
{
	struct strmap_slot *slot;
	void *value;

	if (map->count == 0)
		return NULL;
	slot = find(map, key, hash_key(key, map->seed));
	if (slot->key == NULL)
		return NULL;
	value = slot->value;
	remove_slot(map, (uint32_t)(slot - map->slots));
	return value;
}

void *strmap_next(const struct strmap *map, uint32_t *cursor)
{
	while (*cursor < map->capacity) {
		const struct strmap_slot *slot = &map->slots[(*cursor)++];

		if (slot->key != NULL)
			return slot->value;
	}
	return NULL;
}

void strmap_del_at(struct strmap *map, uint32_t *cursor)
{
	remove_slot(map, --(*cursor));
}
