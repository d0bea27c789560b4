/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* pod: what pods and the host send. They speak as themselves only. */

#include "pipelines/composition.h"

static const struct pipeline_stage stages[] = {
	PIPELINE_STAGE(classify),
	PIPELINE_STAGE(neighbour),
	PIPELINE_STAGE(source_guard, .table = "vports", .match = "vport, source address, MAC",
		.actions = "pass, drop"),
	PIPELINE_FRAGMENT,
	PIPELINE_FLOW,
	PIPELINE_ICMP_ERROR,
	PIPELINE_SERVICE,
	PIPELINE_SOURCE_NAT,
	PIPELINE_ROUTE,
	PIPELINE_STAGE(commit),
	PIPELINE_STAGE(rewrite),
	PIPELINE_TRANSMIT,
	PIPELINE_STAGE(local),
	PIPELINE_STAGE(reject),
	PIPELINE_STAGE(hold),
	PIPELINE_STAGE(drop),
};

const struct pipeline pipeline_pod = {
	.name = "pod",
	.text = "from pods and the host",
	.n_stages = sizeof(stages) / sizeof(stages[0]),
	.stages = stages,
};
