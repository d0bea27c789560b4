/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* An ordered map from strings to pointers: a skip list.
 *
 * Order is what lists with a cursor need: "behind this key" stays meaningful while objects come
 * and go, which no position in a hash does. Keys are copied. One writer or a lock around it;
 * lookups do not change it. */

#pragma once

#include <stdint.h>

#define OMAP_LEVELS 20

struct omap_node {
	char *key;
	void *value;
	struct omap_node *next[]; /* as many as its level */
};

struct omap {
	struct omap_node *head[OMAP_LEVELS];
	uint32_t count;
	uint32_t random; /* xorshift state: levels */
};

void omap_init(struct omap *m);
/* Values are the caller's; accepts a zeroed map. */
void omap_fini(struct omap *m);
struct omap_node *omap_find(const struct omap *m, const char *key);
/* The first node whose key is greater; key NULL: the first of all. */
struct omap_node *omap_after(const struct omap *m, const char *key);
static inline struct omap_node *omap_next(const struct omap_node *n)
{
	return n->next[0];
}
/* The node of key, made with value NULL if there is none; NULL when out of memory. */
struct omap_node *omap_put(struct omap *m, const char *key);
/* The value removed, or NULL. */
void *omap_remove(struct omap *m, const char *key);
