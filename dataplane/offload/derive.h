/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What hardware would have to do for one direction of a flow, under the configuration of now.
 *
 * A rule is a function of the flow's entry and of what control has published; so a rule in
 * hardware is still right if and only if it is derived again as it was. Reads shared records: call
 * it between offload_env.enter and leave, and inside a grace period of theirs. Any thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"
#include "offload/rule.h"

#define OFFLOAD_PORTS_MAX 32 /* the rim's ports, by its index */

/* Which of the rim's ports are a NIC's, as the offload thread knows them. */
struct offload_ports {
	struct {
		uint16_t ethdev;             /* OFFLOAD_NO_PORT: not for offload */
		uint16_t domain;             /* OFFLOAD_NO_PORT: none */
		bool gone;                   /* removed under us, or stopped as the last resort */
		bool marks;                  /* partial rules may be made */
		uint16_t queue[WORKERS_MAX]; /* one that the worker polls */
	} at[OFFLOAD_PORTS_MAX];
};

/* Of the packets that went by; one per direction. */
struct offload_seen {
	uint16_t vport; /* 0: none seen yet */
	uint16_t len;   /* longest */
	uint8_t ttl;
	uint8_t worker; /* that saw it */
};

struct offload_limits {
	uint32_t min_age_ms;
};

/* The ports that a rule is about, as the rim numbers them. */
struct offload_path {
	uint8_t in, out;
	uint16_t in_vport, out_vport;
};

/* 0, or why not (enum offload_reason, positive); *out and *path are filled wholly on 0. */
int offload_derive(const struct dataplane *dp, const struct offload_ports *ports,
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v,
	enum lane_dir dir, const struct offload_seen *seen, struct offload_rule *out,
	struct offload_path *path);

/* The same where hardware only marks the packets and gives them to the worker that saw them: asked
 * for when a full rule cannot be. mark 0: none is left. */
int offload_derive_partial(const struct dataplane *dp, const struct offload_ports *ports,
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v,
	enum lane_dir dir, const struct offload_seen *seen, uint32_t mark, struct offload_rule *out,
	struct offload_path *path);

/* Does the reason lie on the packet's way, so that marking it is still worth something? */
bool offload_is_path_reason(int reason);

/* What of the flow itself forbids it, whatever the ports can; 0: nothing. Any thread. */
int offload_flow_allows(
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v);

/* Equal rules have equal fingerprints; others share one with a chance of 2^-64. The record was
 * all zero before it was filled. */
uint64_t offload_fingerprint(const struct offload_rule *rule);
