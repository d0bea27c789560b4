/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The ids and records of the dataplane's next hop table.
 *
 * A record is immutable; setting an id replaces it by one store and frees the old one a grace
 * period later. A released id is given again only then, too: no worker routes by it any more.
 * Control thread. */

#pragma once

#include "control/retire.h"
#include "core/dataplane.h"

struct next_hops {
	struct next_hop_table *table;
	struct retire *retire;
	uint16_t *free_ids; /* stack */
	uint32_t n_free;
	_Atomic uint32_t used, high; /* read by others */
};

int next_hops_init(struct next_hops *nh, struct next_hop_table *table, struct retire *retire);
/* No worker runs. Every id has a NEXT_HOP_NONE record afterwards; the retire queue must be empty
 * of ids, that is, finished before. */
void next_hops_fini(struct next_hops *nh);
/* 0 when none is left. */
uint16_t next_hops_alloc(struct next_hops *nh);
/* Copies record; its id field is set. 0 or -ENOMEM, and then the old record stays. */
int next_hops_set(struct next_hops *nh, uint16_t id, const struct next_hop *record);
void next_hops_release(struct next_hops *nh, uint16_t id);
