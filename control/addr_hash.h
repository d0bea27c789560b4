/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Salted hash of an address and a number, for the control thread's maps. Every bit of the input
 * reaches every bit of the result: IPv4 addresses differ in a few high bits of one word only. */

#pragma once

#include <stdint.h>

#include "core/ip.h"

static inline uint64_t addr_hash_mix(uint64_t h)
{
	h = (h ^ (h >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	h = (h ^ (h >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	return h ^ (h >> 32);
}

static inline uint64_t addr_hash(const struct ip_addr *a, uint64_t number, uint64_t salt)
{
	uint64_t h = addr_hash_mix(a->dwords[0] ^ salt);

	return addr_hash_mix(addr_hash_mix(h ^ a->dwords[1]) ^ number);
}
