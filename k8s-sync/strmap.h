/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A map from strings to pointers, for object keys ("namespace/name").
 *
 * Open addressing with linear probes and backward-shift deletion: no tombstones, so a map that
 * lives for months of churn stays as fast as a new one. The map borrows the key; it must live in
 * or as long as the value. One thread; no locks. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strmap_slot {
	const char *key; /* NULL: free */
	void *value;
	uint32_t hash;
};

struct strmap {
	struct strmap_slot *slots;
	uint32_t capacity; /* a power of two, or 0 */
	uint32_t count;
	uint32_t seed; /* keys come from outside */
};

void strmap_init(struct strmap *map, uint32_t seed);
/* Values are the caller's to free. Accepts a zeroed map. */
void strmap_fini(struct strmap *map);

/* Room for n keys in all, so that putting them does not move those there are. 0 or -ENOMEM. */
int strmap_reserve(struct strmap *map, uint32_t n);
void *strmap_get(const struct strmap *map, const char *key);
/* Adds, or replaces key and value of an equal key. old may be NULL. 0 or -ENOMEM. */
int strmap_put(struct strmap *map, const char *key, void *value, void **old);
/* The value removed, or NULL. */
void *strmap_del(struct strmap *map, const char *key);

/* Walks the slots: start with *cursor = 0, ends with NULL. The value just returned may be deleted
 * by strmap_del_at() while walking; then the walk may show an entry twice, never skip one. */
void *strmap_next(const struct strmap *map, uint32_t *cursor);
void strmap_del_at(struct strmap *map, uint32_t *cursor);
