/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What other documents say about hardware (offload.c). API thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/api/json_writer.h"
#include "core/flow.h"

struct api;
struct evbuffer;
struct offload_flow;
struct offload_flow_leg;

void api_offload_flow(
	struct api *a, const struct flow_view *v, uint32_t now_ms, struct offload_flow *out);
bool api_offload_in_hardware(const struct offload_flow_leg *leg);
/* The flow's member "offload". */
void api_offload_write_flow(
	struct api *a, struct jw *w, const struct flow_view *v, uint32_t now_ms);
void api_offload_metrics(struct api *a, struct evbuffer *out);
