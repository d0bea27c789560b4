/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Building a k8s_slice piece by piece, for the decoders of EndpointSlice and Endpoints. Strings
 * and hints of all endpoints share two arrays: a slice is a handful of allocations, whatever it
 * holds. Any thread; no state. */

#pragma once

#include "k8s-sync/decode.h"

struct slice_builder {
	struct k8s_slice *slice;
	uint32_t strings_capacity, hints_capacity, ports_capacity, endpoints_capacity;
	bool no_memory;
};

void slice_begin(struct slice_builder *b, enum ip_family family);
/* The slice, or NULL when empty or out of memory (then no_memory is set). */
struct k8s_slice *slice_end(struct slice_builder *b);
/* Offset of a copy, 0 for NULL and "". */
uint32_t slice_string(struct slice_builder *b, const char *text);
void slice_port(struct slice_builder *b, const char *name, uint8_t proto, uint16_t port);
void slice_hint(struct slice_builder *b, const char *text);
void slice_endpoint(struct slice_builder *b, const struct k8s_endpoint *endpoint);
void slice_free(struct k8s_slice *slice);

/* "namespace/pod" of a targetRef, or "". */
const char *slice_target(const char *ns, const struct jv *endpoint, char *buf, size_t size);
/* endpoints.kubernetes.io/last-change-trigger-time, 0 when absent. */
int64_t slice_trigger_time(const struct jv *metadata);
