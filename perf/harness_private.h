/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the harness's world (harness.c) and its traffic (harness_frames.c) share. */

#pragma once

#include <arpa/inet.h>
#include <string.h>

#include "perf/harness.h"

#define NODE_PORT 30080

_Noreturn void die(const char *what);

uint32_t pods(void);
uint32_t client_of(uint32_t pod); /* last bytes of its address, network order */
struct ip_addr pod_addr(uint32_t client);
struct ip_addr backend_addr(void);
uint32_t service_of(uint32_t flow);
struct ip_addr vip(uint32_t service);
uint8_t proto(void);

/* Templates, tuples and the cores' frame buffers. */
void frames_init(void);
/* later: the second half of a datagram. */
bool frame_is_right(uint32_t number, uint8_t *f, uint16_t out_vport, bool later);
