/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The walk over flow entries that listings and removals share. API thread. */

#pragma once

#include "control/api/api_internal.h"
#include "control/api/flow_filter.h"

struct flow_scan {
	struct api *api;
	struct flow_filter filter;
	uint32_t family, entry;
	uint64_t limit, matched, scanned, busy_us;
	uint32_t now_ms;
};

enum scan_result {
	SCAN_FOUND,
	SCAN_SLICE, /* time is up for now */
	SCAN_LIMIT,
	SCAN_BUDGET,
	SCAN_END,
};

/* From the request's filters; false when it is answered by an error. */
bool flow_scan_init(struct flow_scan *s, struct http_request *req);
/* The next flow that matches. deadline_us bounds this call, limit and (if asked) budget the page.
 */
enum scan_result flow_scan_next(
	struct flow_scan *s, int64_t deadline_us, bool budget, struct flow_view *out);
/* Fields of the filter and the names in extra (NULL ends); 400 and false otherwise. */
bool flow_check_query(struct http_request *req, const char *const *extra);
/* "namespace/name:port" of a service port; NULL when unknown. arg: struct api. */
const char *flow_service_name(void *arg, uint32_t id);

/* DELETE of those that match, and of one. */
void flows_delete(struct http_request *req);
void flow_delete_one(struct http_request *req, const struct flow_view *v);
