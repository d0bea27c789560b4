/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rule compiler: a rule in one driver's dialect, as rte_flow says it.
 *
 * Pure functions over a buffer of the caller's: no allocation, no EAL, any thread. What comes out
 * points into the buffer. The match is never wider than the rule: each field of it ends in an item
 * or an action, or the compiler refuses and names the field. */

#pragma once

#include <stdint.h>

#include "offload/provider.h"
#include "offload/rule.h"

struct rte_flow_attr;
struct rte_flow_item;
struct rte_flow_action;

/* The longest rule (decapsulation, every rewrite, RAW_ENCAP over IPv6) takes less; asserted by
 * the tests over random rules. */
#define OFFLOAD_LOWER_BYTES 4096

struct offload_lowered {
	const struct rte_flow_attr *attr;
	const struct rte_flow_item *items;     /* END-terminated */
	const struct rte_flow_action *actions; /* END-terminated */
};

/* 0; -EINVAL: the rule contradicts itself; -ENOTSUP: the dialect has no words for a field;
 * -ENOBUFS: size is too small (never with OFFLOAD_LOWER_BYTES). err->cause names the field. buf is
 * aligned as malloc() aligns. */
int offload_lower(const struct offload_rule *rule, const struct offload_dialect *dialect, void *buf,
	uint32_t size, struct offload_lowered *out, struct offload_error *err);

/* The ethdev that is told the rule; proxy: of the rule's in port. */
uint16_t offload_lower_port(
	const struct offload_rule *rule, const struct offload_dialect *dialect, uint16_t proxy);

/* The rule as testpmd's command line reads it: "transfer pattern … / end actions … / end", without
 * a verb. What testpmd takes by other commands first (VXLAN_ENCAP, RAW_ENCAP, RAW_DECAP: "set
 * vxlan …") comes before, each with a newline. Always terminated; returns the length that it
 * needs. */
uint32_t offload_lowered_text(const struct offload_lowered *l, char *out, uint32_t size);
#define OFFLOAD_TEXT_MAX 2048
