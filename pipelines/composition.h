/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The stages that every composition ends with; each composition's file lists all of its own, in
 * order, so that it reads as the packet meets them. */

#pragma once

#include "pipelines/pipeline.h"

#define PIPELINE_STAGE(name, ...)                                      \
	{                                                              \
		.id = STAGE_##name, .run = stage_##name, ##__VA_ARGS__ \
	}

#define PIPELINE_FRAGMENT                              \
	PIPELINE_STAGE(fragment, .table = "fragments", \
		.match = "source, destination, id, protocol", .actions = "take ports, hold, drop")
#define PIPELINE_FLOW                                                    \
	PIPELINE_STAGE(flow, .table = "flows", .match = "5-tuple, zone", \
		.actions = "rewrite, start anew, miss")
#define PIPELINE_ICMP_ERROR                                                           \
	PIPELINE_STAGE(icmp_error, .table = "flows", .match = "quoted 5-tuple, zone", \
		.actions = "translate, drop")
#define PIPELINE_SERVICE                                                                  \
	PIPELINE_STAGE(service, .table = "frontends", .match = "address, port, protocol", \
		.actions = "translate, reject, drop, echo, pass")
#define PIPELINE_SOURCE_NAT                                                             \
	PIPELINE_STAGE(source_nat, .table = "cluster_prefixes", .match = "destination", \
		.actions = "masquerade, keep")
#define PIPELINE_ROUTE                                                   \
	PIPELINE_STAGE(route, .table = "routes", .match = "destination", \
		.actions = "forward, local, reject, drop")
#define PIPELINE_TRANSMIT                                                      \
	PIPELINE_STAGE(transmit, .table = "next_hops", .match = "next hop id", \
		.actions = "send, fragment, hold, drop")
