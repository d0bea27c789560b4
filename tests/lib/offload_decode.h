/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The other way round than the rule compiler, written without it: rte_flow items and actions back
 * to a rule. What it does not know, a mask that is not whole, a bit of a spec outside its mask and
 * an order that a driver refuses are errors. And rules out of bytes, for what wants any rule.
 * No state. */

#pragma once

#include <stddef.h>

#include "offload/lower.h"
#include "offload/rule.h"

/* told: the ethdev that is told the rule. 0, or -1 with the reason in why. */
int offload_decode(const struct offload_lowered *l, uint16_t told, struct offload_rule *out,
	char *why, size_t size);

/* Any sound rule: the same for the same bytes, every kind of rule for random ones. */
#define OFFLOAD_RULE_BYTES 256
void offload_rule_of_bytes(const uint8_t bytes[OFFLOAD_RULE_BYTES], struct offload_rule *out);
