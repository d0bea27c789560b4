/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Backends: slots that keep their number while an endpoint lives, and one byte of state each (see
 * service.h). Control gives, sets and releases; any thread reads a state by one load. Slots are
 * given again first-in first-out, so that an old reference meets its turn again as late as
 * can be. */

#include <errno.h>
#include <stdlib.h>

#include "core/service.h"

#define TURN 4 /* a turn leaves the two low bits to the state */

static inline uint32_t slot_of(backend_ref ref)
{
	return ref & (BACKEND_SLOTS_MAX - 1);
}

int backend_table_init(uint32_t capacity, struct backend_table **out)
{
	struct backend_table *t;

	if (capacity == 0 || capacity >= BACKEND_SLOTS_MAX)
		return -EINVAL;
	t = calloc(1, sizeof(*t) + capacity + 1);
	if (t == NULL)
		return -ENOMEM;
	t->capacity = capacity;
	t->ring = malloc(sizeof(*t->ring) * capacity);
	t->turn = calloc(1, (size_t)capacity + 1);
	if (t->ring == NULL || t->turn == NULL) {
		backend_table_fini(t);
		return -ENOMEM;
	}
	atomic_init(&t->byte[0], BACKEND_GONE);
	for (uint32_t i = 0; i < capacity; i++)
		t->ring[i] = i + 1;
	*out = t;
	return 0;
}

void backend_table_fini(struct backend_table *t)
{
	if (t == NULL)
		return;
	free(t->ring);
	free(t->turn);
	free(t);
}

backend_ref backend_alloc(struct backend_table *t)
{
	uint32_t slot;

	if (t->used == t->capacity)
		return 0;
	slot = t->ring[t->head];
	t->head = t->head + 1 < t->capacity ? t->head + 1 : 0;
	t->used++;
	t->turn[slot] += TURN;
	atomic_store_explicit(
		&t->byte[slot], (uint8_t)(t->turn[slot] | BACKEND_UNUSED), memory_order_release);
	return (uint32_t)t->turn[slot] << 24 | slot;
}

/* Is ref the slot's present holder? */
static bool current(const struct backend_table *t, backend_ref ref)
{
	uint32_t slot = slot_of(ref);

	return slot != 0 && slot <= t->capacity && t->turn[slot] == ref >> 24;
}

void backend_set(struct backend_table *t, backend_ref ref, enum backend_state s)
{
	if (current(t, ref))
		atomic_store_explicit(
			&t->byte[slot_of(ref)], (uint8_t)(ref >> 24 | s), memory_order_release);
}

void backend_release(struct backend_table *t, backend_ref ref)
{
	uint32_t slot = slot_of(ref);

	if (!current(t, ref))
		return;
	backend_set(t, ref, BACKEND_GONE);
	/* From here ref is nobody's, so that a second release is none; the state byte keeps the
	 * old turn, and so says GONE, until the slot is given again. */
	t->turn[slot] += TURN;
	t->ring[t->tail] = slot;
	t->tail = t->tail + 1 < t->capacity ? t->tail + 1 : 0;
	t->used--;
}

uint32_t backend_used(const struct backend_table *t)
{
	return t->used;
}
