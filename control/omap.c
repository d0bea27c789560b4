/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Skip list (see omap.h); expected O(log n), levels from a private random sequence. */

#include <stdlib.h>
#include <string.h>

#include "control/omap.h"

void omap_init(struct omap *m)
{
	memset(m, 0, sizeof(*m));
	m->random = 0x9e3779b9;
}

void omap_fini(struct omap *m)
{
	struct omap_node *n = m->head[0];

	while (n != NULL) {
		struct omap_node *next = n->next[0];

		free(n->key);
		free(n);
		n = next;
	}
	memset(m, 0, sizeof(*m));
}

/* The last links whose targets sort in front of key, from the top level down. */
static void seek(const struct omap *m, const char *key, struct omap_node ***links)
{
	struct omap_node **at = (struct omap_node **)m->head;

	for (int level = OMAP_LEVELS - 1; level >= 0; level--) {
		while (at[level] != NULL && strcmp(at[level]->key, key) < 0)
			at = at[level]->next;
		links[level] = &at[level];
	}
}

struct omap_node *omap_find(const struct omap *m, const char *key)
{
	struct omap_node **links[OMAP_LEVELS], *n;

	seek(m, key, links);
	n = *links[0];
	return n != NULL && strcmp(n->key, key) == 0 ? n : NULL;
}

struct omap_node *omap_after(const struct omap *m, const char *key)
{
	struct omap_node **links[OMAP_LEVELS], *n;

	if (key == NULL)
		return m->head[0];
	seek(m, key, links);
	n = *links[0];
	return n != NULL && strcmp(n->key, key) == 0 ? n->next[0] : n;
}

static int random_level(struct omap *m)
{
	int level = 1;

	m->random ^= m->random << 13;
	m->random ^= m->random >> 17;
	m->random ^= m->random << 5;
	for (uint32_t bits = m->random; (bits & 3) == 0 && level < OMAP_LEVELS; bits >>= 2)
		level++;
	return level;
}

struct omap_node *omap_put(struct omap *m, const char *key)
{
	struct omap_node **links[OMAP_LEVELS], *n;
	int level;

	seek(m, key, links);
	n = *links[0];
	if (n != NULL && strcmp(n->key, key) == 0)
		return n;
	level = random_level(m);
	n = malloc(sizeof(*n) + (size_t)level * sizeof(n->next[0]));
	if (n == NULL)
		return NULL;
	n->key = strdup(key);
	n->value = NULL;
	if (n->key == NULL) {
		free(n);
		return NULL;
	}
	for (int i = 0; i < level; i++) {
		n->next[i] = *links[i];
		*links[i] = n;
	}
	m->count++;
	return n;
}

void *omap_remove(struct omap *m, const char *key)
{
	struct omap_node **links[OMAP_LEVELS], *n;
	void *value;

	seek(m, key, links);
	n = *links[0];
	if (n == NULL || strcmp(n->key, key) != 0)
		return NULL;
	for (int i = 0; i < OMAP_LEVELS && *links[i] == n; i++)
		*links[i] = n->next[i];
	m->count--;
	value = n->value;
	free(n->key);
	free(n);
	return value;
}
