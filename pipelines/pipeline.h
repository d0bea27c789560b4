/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Compositions: which stages a burst meets, in which order, and the tables they match on.
 *
 * The lists are constant; a burst runs through the one of its vport's role. The API shows the
 * pipelines from these descriptions. */

#pragma once

#include "core/dataplane.h"
#include "pipelines/stage.h"

struct pipeline_stage {
	enum stage_id id;
	stage_fn run;
	/* What an operator thinks of as a table; NULL: the stage matches on the packet alone. */
	const char *table;
	const char *match;
	const char *actions;
};

struct pipeline {
	const char *name;
	const char *text;
	uint32_t n_stages;
	const struct pipeline_stage *stages;
};

extern const struct pipeline pipeline_pod;
extern const struct pipeline pipeline_uplink;

extern const struct pipeline *const pipelines[];
extern const uint32_t n_pipelines;

/* Worker: runs the burst whose lanes the rim filled (b->to.classify, b->count) through the
 * composition of its vports; afterwards every set is empty and every buffer has an owner. All
 * vports of one port are uplinks, or none is (control checks). */
void pipeline_run(struct worker *w, struct burst *b);
/* Worker, once a loop: held packets, fragments that became complete or too old. */
void pipeline_tick(struct worker *w);
/* Worker, before it ends: gives back every held packet as a drop. */
void pipeline_stop(struct worker *w);

/* A table as it describes itself; n < capacity of out. */
struct table_usage {
	const char *name;
	uint64_t capacity, used, high_water, full;
};

#define PIPELINE_TABLES_MAX 16
uint32_t pipeline_table_usage(
	const struct dataplane *dp, struct table_usage out[PIPELINE_TABLES_MAX]);
