/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4): what core/choice.h is
 * measured beside.
 *
 * Any thread; pure. The table depends on the names alone, not on their order, the node or the
 * build. */

#pragma once

#include <stdint.h>

/* The smallest of 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537 that is >= 100 n, or the
 * largest. */
uint32_t maglev_size_for(uint32_t n);

/* Fills table[size] with indices 0..n-1; size is a prime up to 65537. seeds[i] is the identity hash
 * of backend i; equal seeds are a caller's error. scratch holds 3 * n words. 0, or -EINVAL. */
int maglev_build(
	const uint64_t *seeds, uint32_t n, uint32_t size, uint16_t *table, uint32_t *scratch);
