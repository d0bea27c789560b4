/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Tables, history and snapshots. A table is a sorted array: lists are a walk, a lookup is a binary
 * search, and appending in order (as the generator does) costs nothing. A snapshot of an older
 * version is the present one with the changes since undone, so nothing has to be kept for a
 * client that may never ask for its next page.
 */
#include "store.h"

#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	RING_START = 256,
	HISTORY_BYTES = 256 << 20,
};

void store_init(struct store *s, uint64_t first_rv, size_t history_max)
{
	memset(s, 0, sizeof(*s));
	s->rv = first_rv;
	s->history_max = history_max;
	s->history_bytes_max = HISTORY_BYTES;
	for (int i = 0; i < RESOURCE_COUNT; i++) {
		s->tables[i].res = &resources[i];
		s->tables[i].served = true;
		s->tables[i].compacted_rv = first_rv;
		LIST_INIT(&s->tables[i].watches);
	}
}

static void items_free(struct object **items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		object_put(items[i]);
	free(items);
}

void store_fini(struct store *s)
{
	store_compact(s, NULL);
	for (int i = 0; i < RESOURCE_COUNT; i++) {
		struct table *t = &s->tables[i];

		items_free(t->items, t->n);
		free(t->ring);
	}
	memset(s, 0, sizeof(*s));
}

/* the index of the first item whose key is not less than key */
static size_t lower_bound(struct object *const *items, size_t n, const char *key)
{
	size_t lo = 0;

	/* in-order inserts of the generator */
	if (n && strcmp(items[n - 1]->key, key) < 0)
		return n;
	while (n > lo) {
		size_t mid = lo + (n - lo) / 2;

		if (strcmp(items[mid]->key, key) < 0)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo;
}

static bool key_at(struct object *const *items, size_t n, size_t i, const char *key)
{
	return i < n && !strcmp(items[i]->key, key);
}

static void insert_at(struct object **items, size_t n, size_t i, struct object *o)
{
	memmove(&items[i + 1], &items[i], (n - i) * sizeof(*items));
	items[i] = o;
}

static void remove_at(struct object **items, size_t n, size_t i)
{
	memmove(&items[i], &items[i + 1], (n - i - 1) * sizeof(*items));
}

struct object *store_find(const struct table *t, const char *ns, const char *name)
{
	char *key = object_key(t->res, ns, name);
	size_t i = lower_bound(t->items, t->n, key);
	struct object *o = key_at(t->items, t->n, i, key) ? t->items[i] : NULL;

	free(key);
	return o;
}

static size_t change_bytes(const struct change *c)
{
	return sizeof(*c) + (c->object ? c->object->tail_len : 0);
}

static void drop_oldest(struct table *t)
{
	struct change *c = &t->ring[t->first_seq % t->ring_cap];

	t->compacted_rv = c->rv;
	t->ring_bytes -= change_bytes(c);
	object_put(c->object);
	object_put(c->former);
	memset(c, 0, sizeof(*c));
	t->first_seq++;
}

static void ring_grow(struct table *t)
{
	size_t cap = t->ring_cap ? t->ring_cap * 2 : RING_START;
	struct change *ring = xcalloc(cap, sizeof(*ring));

	for (uint64_t s = t->first_seq; s < t->next_seq; s++)
		ring[s % cap] = t->ring[s % t->ring_cap];
	free(t->ring);
	t->ring = ring;
	t->ring_cap = cap;
}

/* takes both references */
static void record(struct store *s, struct table *t, struct object *o, struct object *former)
{
	struct change c = {.rv = s->rv, .object = o, .former = former};

	while (t->next_seq > t->first_seq &&
		(t->next_seq - t->first_seq >= s->history_max ||
			t->ring_bytes + change_bytes(&c) > s->history_bytes_max))
		drop_oldest(t);
	if (t->next_seq - t->first_seq >= t->ring_cap)
		ring_grow(t);
	t->ring[t->next_seq % t->ring_cap] = c;
	t->ring_bytes += change_bytes(&c);
	t->next_seq++;
	if (s->changed)
		s->changed(s->changed_arg, t);
}

void store_set(struct store *s, struct table *t, struct object *o)
{
	size_t i = lower_bound(t->items, t->n, o->key);
	struct object *former = NULL;

	o->rv = ++s->rv;
	if (key_at(t->items, t->n, i, o->key)) {
		former = t->items[i];
		t->items[i] = o;
	} else {
		if (t->n == t->cap) {
			t->cap = t->cap ? t->cap * 2 : 64;
			t->items = xrealloc(t->items, t->cap * sizeof(struct object *));
		}
		insert_at(t->items, t->n++, i, o);
	}
	record(s, t, object_get(o), former);
}

int store_delete(
	struct store *s, struct table *t, const char *ns, const char *name, struct object **former)
{
	char *key = object_key(t->res, ns, name);
	size_t i = lower_bound(t->items, t->n, key);
	bool found = key_at(t->items, t->n, i, key);
	struct object *o;

	free(key);
	if (!found)
		return -ENOENT;
	o = t->items[i];
	remove_at(t->items, t->n--, i);
	s->rv++;
	if (former)
		*former = object_get(o);
	record(s, t, NULL, o);
	return 0;
}

const struct change *store_change(const struct table *t, uint64_t seq)
{
	return &t->ring[seq % t->ring_cap];
}

int store_seq_after(const struct table *t, uint64_t rv, uint64_t *seq)
{
	uint64_t lo = t->first_seq, hi = t->next_seq;

	if (rv < t->compacted_rv)
		return -ESTALE;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (store_change(t, mid)->rv <= rv)
			lo = mid + 1;
		else
			hi = mid;
	}
	*seq = lo;
	return 0;
}

static void undo(struct snapshot *snap, const struct change *c)
{
	struct object *o = c->object ? c->object : c->former;
	size_t i = lower_bound(snap->items, snap->n, o->key);

	if (c->object && c->former)
		snap->items[i] = c->former;
	else if (c->object)
		remove_at(snap->items, snap->n--, i);
	else
		insert_at(snap->items, snap->n++, i, c->former);
}

int store_snapshot(struct store *s, struct table *t, uint64_t rv, struct snapshot **out)
{
	struct snapshot *snap;
	uint64_t seq, back;
	int rc = store_seq_after(t, rv, &seq);

	if (rc)
		return rc;
	if (t->cached && t->cached->seq == seq) {
		t->cached->refs++;
		*out = t->cached;
		return 0;
	}
	back = t->next_seq - seq;
	snap = xcalloc(1, sizeof(*snap));
	snap->refs = 2;
	snap->seq = seq;
	snap->items = xcalloc(t->n + back, sizeof(struct object *));
	snap->n = t->n;
	if (t->n)
		memcpy(snap->items, t->items, t->n * sizeof(struct object *));
	while (back--)
		undo(snap, store_change(t, seq + back));
	for (size_t i = 0; i < snap->n; i++)
		object_get(snap->items[i]);
	snapshot_put(t->cached);
	t->cached = snap;
	*out = snap;
	return 0;
}

void snapshot_put(struct snapshot *snap)
{
	if (!snap || --snap->refs)
		return;
	items_free(snap->items, snap->n);
	free(snap);
}

size_t snapshot_after(const struct snapshot *snap, const char *key)
{
	size_t i = lower_bound(snap->items, snap->n, key);

	return key_at(snap->items, snap->n, i, key) ? i + 1 : i;
}

static void compact_table(struct store *s, struct table *t)
{
	while (t->first_seq < t->next_seq)
		drop_oldest(t);
	t->compacted_rv = s->rv;
	snapshot_put(t->cached);
	t->cached = NULL;
}

void store_compact(struct store *s, struct table *t)
{
	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (!t || t == &s->tables[i])
			compact_table(s, &s->tables[i]);
}
