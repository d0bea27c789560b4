/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Cells that the table of columns names. Pure. */

#pragma once

#include "control/cli/cli.h"

#define CELL(name) \
	void cell_##name(const json_t *item, const json_t *parent, char *out, size_t size)

CELL(cluster_ips);
CELL(external_ips);
CELL(service_ports);
CELL(ready);
CELL(programmed);
CELL(message);
CELL(age);
CELL(policies);
CELL(address);
CELL(lists);
CELL(flow_src);
CELL(flow_dst);
CELL(flow_backend);
CELL(flow_reply);
CELL(flow_service);
CELL(flow_offload);
CELL(flow_last_error);
CELL(flow_hw_packets);
CELL(flow_why);
CELL(offload_shapes);
CELL(flow_idle);
CELL(flow_age);
CELL(updated);
CELL(vport_port);
CELL(queues);
CELL(parent_name);
CELL(stage_tables);
CELL(capacity);
