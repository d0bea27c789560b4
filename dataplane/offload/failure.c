/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Errors of devices to what they mean (see failure.h). Any thread; no state. */

#include <errno.h>

#include "offload/failure.h"

enum offload_failure offload_failure_of(int error, const struct offload_failure_context *ctx)
{
	bool makes = ctx->call == OFFLOAD_CALL_VALIDATE || ctx->call == OFFLOAD_CALL_INSERT;

	if (error == 0)
		return OFFLOAD_FAILURE_NONE;
	if (error == -ENODEV || ctx->gone)
		return OFFLOAD_FAILURE_GONE;
	switch (-error) {
	case ENOTSUP:
	case EINVAL:
	case ENOSYS:
	case EPERM:  /* mlx5 with hardware steering: transfer on a representor */
	case ERANGE: /* nfp: a port that is none of its own */
		return makes ? OFFLOAD_FAILURE_SHAPE : OFFLOAD_FAILURE_DEVICE;
	case ENOENT: /* mlx5: out of counters; of a rule: it is not there */
		return makes ? OFFLOAD_FAILURE_CAPACITY : OFFLOAD_FAILURE_DRIFT;
	case ENOSPC:
	case ENOMEM:
	case EAGAIN:
		return makes ? OFFLOAD_FAILURE_CAPACITY : OFFLOAD_FAILURE_DEVICE;
	case EEXIST: /* tap without flower says it of every rule that it could express */
		return ctx->fresh && makes ? OFFLOAD_FAILURE_SHAPE : OFFLOAD_FAILURE_DRIFT;
	}
	return OFFLOAD_FAILURE_DEVICE;
}

const char *offload_failure_name(enum offload_failure f)
{
	static const char *const names[] = {
		[OFFLOAD_FAILURE_NONE] = "none",
		[OFFLOAD_FAILURE_SHAPE] = "shape",
		[OFFLOAD_FAILURE_CAPACITY] = "capacity",
		[OFFLOAD_FAILURE_DRIFT] = "drift",
		[OFFLOAD_FAILURE_DEVICE] = "device",
		[OFFLOAD_FAILURE_GONE] = "gone",
	};

	return (unsigned)f < OFFLOAD_FAILURES ? names[f] : "?";
}
