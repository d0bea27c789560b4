/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What an error of a device means. Read together with the call and what is known of the port,
 * never alone: drivers use the same numbers for different things. A pure function. */

#pragma once

#include <stdbool.h>

enum offload_call {
	OFFLOAD_CALL_VALIDATE,
	OFFLOAD_CALL_INSERT,
	OFFLOAD_CALL_REMOVE,
	OFFLOAD_CALL_QUERY,
	OFFLOAD_CALL_FLUSH,
};

enum offload_failure {
	OFFLOAD_FAILURE_NONE,
	OFFLOAD_FAILURE_SHAPE,    /* not supported: the next dialect, then the shape is given up */
	OFFLOAD_FAILURE_CAPACITY, /* full: a lower cap, and waiting */
	OFFLOAD_FAILURE_DRIFT,    /* the device has other rules than we think: flush, begin anew */
	OFFLOAD_FAILURE_DEVICE,   /* busy, broken, slow: the breaker counts it */
	OFFLOAD_FAILURE_GONE,     /* the port left, and its rules with it */
	OFFLOAD_FAILURES
};

struct offload_failure_context {
	enum offload_call call;
	bool gone;  /* facts() of the port say -ENODEV */
	bool fresh; /* we hold no rule on the port, or it was flushed a moment ago */
};

enum offload_failure offload_failure_of(int error, const struct offload_failure_context *ctx);
const char *offload_failure_name(enum offload_failure f);
