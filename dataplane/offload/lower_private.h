/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the two halves of the rule compiler share: the caller's buffer as it fills, and of the rule
 * what is not said yet. lower_items.c writes patterns, lower.c the rest. */

#pragma once

#include <string.h>

#include <rte_flow.h>

#include "offload/lower.h"

#define ITEMS_MAX   16
#define ACTIONS_MAX 20

struct build {
	const struct offload_rule *rule;
	const struct offload_dialect *dialect;
	struct offload_rule left; /* what is not said yet */
	struct offload_error *err;
	uint8_t *at, *end;
	struct rte_flow_item *items;
	uint16_t item_size[ITEMS_MAX];
	struct rte_flow_action *actions;
	unsigned n_items, n_actions;
	bool full; /* the buffer, or an array */
};

#define TAKE(b, field) memset(&(b)->left.field, 0, sizeof((b)->left.field))

/* Zeroed bytes of the buffer; when it is full, of somewhere else, and b->full is set. */
void *lower_bytes(struct build *b, size_t size);
/* Every spec AND its mask. */
void lower_mask_specs(struct build *b);
/* The rule's whole pattern. */
void lower_items(struct build *b);
/* The items of an outer header to put in front. */
void lower_items_encap(struct build *b);
