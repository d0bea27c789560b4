/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The flows that benchmarks of tables are filled with: the n-th connection from a range of clients
 * through one ClusterIP to one endpoint. */

#pragma once

#include "core/flow.h"

static inline void flow_keys_at(uint32_t n, enum lane_dir dir, struct flow_key4 *k)
{
	uint16_t port = (uint16_t)(n >> 16 | 0x400);

	*k = (struct flow_key4){.proto = IP_PROTO_TCP};
	if (dir == DIR_FORWARD) {
		k->src = 0x0a000000 + (n & 0xffff);
		k->dst = 0x0a600001;
		k->sport = port;
		k->dport = 80;
	} else {
		k->src = 0x0a010001;
		k->dst = 0x0a000000 + (n & 0xffff);
		k->sport = 8080;
		k->dport = port;
	}
}
