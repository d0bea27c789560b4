/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A node in one process, without EAL: pods that talk to one service, a backend that answers, a
 * worker, and a source that writes frames from a tuple array.
 *
 * Clients are pods of FLOWS_PER_POD flows each, every one a vport with its own address and the
 * source guard on; replies come from the backend's vport. A burst is of one vport, as a queue
 * gives it. What is sent is counted, and one packet a thousand is checked whole: addresses, ports,
 * both checksums. One thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"
#include "core/packet.h"
#include "pipelines/pipeline.h"

#define BURST         64 /* what a worker under load takes from a queue */
#define FLOWS_PER_POD 16384
#define BACKEND_VPORT 1000

enum traffic {
	TRAFFIC_PLAIN, /* pod to pod */
	TRAFFIC_DNAT,  /* pod to ClusterIP */
};

/* What differs from packet to packet of one direction. */
struct tuple {
	uint32_t client; /* last four bytes of the address */
	uint16_t port;
	uint16_t ip_csum, l4_csum;
	uint16_t pod;
	bool reply;
};

struct harness {
	struct dataplane dp;
	struct worker w;
	struct vport vports[VPORTS_MAX];
	struct vport_table table;
	struct next_hop hops[VPORTS_MAX];
	struct svc_domain services;
	struct route_domain routes;
	struct tunables tunables;
	struct svc_port svc;
	uint32_t n_flows;
	bool v6, tcp, huge;
	enum traffic traffic;

	struct tuple *tuples; /* forward, then replies, then strangers: as forward, other ports */
	uint32_t *order;      /* tuples in the order they are sent, BURST of one vport at a time */
	uint32_t n_order;

	uint64_t forwarded, checked, wrong;
	uint64_t table_bytes; /* of the flow table of this family */
	uint32_t capacity;
	uint8_t frames[BURST][192];
	uint8_t template[2][128];
	uint16_t frame_len;
	uint8_t tcp_flags; /* of the frames to come */
};

extern struct harness h;

/* From the fields n_flows, v6, tcp, huge, traffic; capacity: flow entries. */
int harness_init(uint32_t capacity);
/* Draws the order: uniform random (zipf 0), or by Zipf's law with that exponent. */
void harness_order(double zipf, uint32_t packets);
/* Each flow's first packet, in random order. */
void harness_order_first(void);
/* Fills the worker's burst with the next BURST packets of order from at. */
void harness_fill(uint32_t at);
/* The same with first packets of strangers, from the at-th on. */
void harness_fill_strangers(uint32_t at);
/* Creates all flows and brings them to their established state. */
void harness_establish(void);
uint64_t harness_created(void);
/* Why packets were lost, to standard error. */
void harness_complain(uint64_t sent);
uint64_t harness_random(void);
