/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Next hop ids and records (see next_hops.h). Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/next_hops.h"

static const struct next_hop none = {.kind = NEXT_HOP_NONE};

int next_hops_init(struct next_hops *nh, struct next_hop_table *table, struct retire *retire_queue)
{
	memset(nh, 0, sizeof(*nh));
	nh->table = table;
	nh->retire = retire_queue;
	nh->free_ids = malloc((NEXT_HOPS_MAX - 1) * sizeof(*nh->free_ids));
	if (nh->free_ids == NULL)
		return -ENOMEM;
	for (uint32_t id = NEXT_HOPS_MAX - 1; id > 0; id--)
		nh->free_ids[nh->n_free++] = (uint16_t)id;
	return 0;
}

/* Publishes record in place of what id had, and returns that. */
static const struct next_hop *exchange(
	struct next_hops *nh, uint16_t id, const struct next_hop *record)
{
	const struct next_hop *before = next_hop_get(nh->table, id);

	atomic_store_explicit(&nh->table->at[id], record, memory_order_release);
	atomic_fetch_add_explicit(&nh->table->generation, 1, memory_order_release);
	return before;
}

void next_hops_fini(struct next_hops *nh)
{
	if (nh->free_ids == NULL)
		return;
	for (uint32_t id = 1; id < NEXT_HOPS_MAX; id++) {
		const struct next_hop *before = exchange(nh, (uint16_t)id, &none);

		if (before->id != 0)
			free((void *)before);
	}
	free(nh->free_ids);
	nh->free_ids = NULL;
}

uint16_t next_hops_alloc(struct next_hops *nh)
{
	if (nh->n_free == 0)
		return 0;
	nh->used++;
	if (nh->used > nh->high)
		nh->high = nh->used;
	return nh->free_ids[--nh->n_free];
}

/* Records of ours carry their id; the constant ones of core and this file have id 0. */
int next_hops_set(struct next_hops *nh, uint16_t id, const struct next_hop *record)
{
	struct next_hop *copy = aligned_alloc(64, sizeof(*copy));
	const struct next_hop *before;

	if (copy == NULL)
		return -ENOMEM;
	*copy = *record;
	copy->id = id;
	next_hop_seal(copy);
	before = exchange(nh, id, copy);
	if (before->id != 0)
		retire(nh->retire, NULL, NULL, (void *)before);
	return 0;
}

static void id_free(void *arg, void *mem)
{
	struct next_hops *nh = arg;

	nh->free_ids[nh->n_free++] = (uint16_t)(uintptr_t)mem;
	nh->used--;
}

void next_hops_release(struct next_hops *nh, uint16_t id)
{
	const struct next_hop *before = exchange(nh, id, &none);

	if (before->id != 0)
		retire(nh->retire, NULL, NULL, (void *)before);
	retire(nh->retire, id_free, nh, (void *)(uintptr_t)id);
}
