/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A node in one process, without EAL: pods that talk to services, a backend that answers, one or
 * two workers, and a source that writes frames from a tuple array.
 *
 * Clients are pods of FLOWS_PER_POD flows each, every one a vport with its own address and the
 * source guard on; replies come from the backend's vport. For a NodePort the one client is behind
 * an uplink. A burst is of one vport, as a queue gives it. What is sent is counted, and one packet
 * a thousand is checked whole: addresses, ports, both checksums. One thread a core. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"
#include "core/packet.h"
#include "pipelines/pipeline.h"

#define BURST         64 /* what a worker under load takes from a queue */
#define CORES_MAX     2
#define FLOWS_PER_POD 28672 /* 16.5 million flows are 576 pods */
#define BACKEND_VPORT 1000
#define SIZES_MAX     3
#define SERVICES_MAX  1000000

enum traffic {
	TRAFFIC_PLAIN,    /* pod to pod */
	TRAFFIC_DNAT,     /* pod to ClusterIP */
	TRAFFIC_NODEPORT, /* from outside to the node's address, with source NAT */
};

/* What differs from packet to packet of one direction. */
struct tuple {
	uint32_t client; /* last four bytes of the address */
	uint16_t port;
	uint16_t ip_csum, l4_csum;
	uint16_t pod;
	bool reply;
	uint8_t size; /* index in harness.sizes */
};

/* A worker and what it sent. Writer: its thread. */
struct core {
	struct worker w; /* first: the rim's calls get it alone */
	uint64_t forwarded, checked, wrong;
	uint8_t tcp_flags; /* of the frames to come */
	uint32_t datagrams;
	uint8_t *frames; /* BURST times harness.stride */
};

struct harness {
	/* Set by the caller before harness_init(). */
	uint32_t n_flows, n_services, n_cores;
	uint32_t n_hot; /* packets are of the first so many flows only; 0: of all */
	bool v6, tcp, huge;
	bool fragments; /* each datagram in two */
	bool marks;     /* a NIC marked the packets of the hot flows */
	enum traffic traffic;
	uint16_t sizes[SIZES_MAX]; /* of frames, in turn by flow; 0: the smallest */
	uint32_t n_sizes;

	struct core *cores;
	struct dataplane *dp; /* its own, or a rim's */
	struct dataplane own;
	struct vport vports[VPORTS_MAX];
	struct vport_table table;
	struct next_hop hops[VPORTS_MAX];
	struct svc_domain services;
	struct route_domain routes;
	struct tunables tunables;
	struct svc_port *svcs;
	struct ip_addr node_addr;

	struct tuple *tuples; /* forward, then replies, then strangers: as forward, other ports */
	uint32_t *order;      /* tuples in the order they are sent, BURST of one vport at a time */
	uint32_t n_order;
	uint32_t step; /* places of order that one burst takes */

	uint64_t table_bytes; /* of the flow table of this family */
	uint32_t capacity;
	uint32_t stride;
	uint8_t template[2][SIZES_MAX][128];
};

extern struct harness h;

/* From the fields above; capacity: flow entries, 0: a fourth more than flows. */
int harness_init(uint32_t capacity);
/* The same world in a dataplane that somebody else made, without cores. */
void harness_init_in(struct dataplane *dp);
/* Writes frame number n (of tuples) and returns its length; 128 bytes of room. */
uint16_t harness_write(uint8_t *f, uint32_t n);
/* A frame that was sent on a vport is what its tuple should have become. */
bool harness_right(uint32_t n, uint8_t *f, uint16_t out_vport);
/* Marks for the hot flows (h.marks), which are established: at most 32766. */
void harness_mark(void);
/* Draws the order: uniform random (zipf 0), or by Zipf's law with that exponent. */
void harness_order(double zipf, uint32_t packets);
/* Each flow's first packet, in random order. */
void harness_order_first(void);
/* Fills the worker's burst with the next packets of order from *at, and moves it on. */
void harness_fill(struct core *c, uint32_t *at);
/* The same with first packets of strangers, from the at-th on. */
void harness_fill_strangers(struct core *c, uint32_t at);
/* Creates all flows and brings them to their established state. Each core makes its share; the
 * replies come to the next core. */
void harness_establish(void);
uint64_t harness_forwarded(void);
uint64_t harness_checked(void);
/* Looked at, and wrong. */
uint64_t harness_wrong(void);
uint64_t harness_created(void);
/* Why packets were lost, to standard error. */
void harness_complain(uint64_t sent);
uint64_t harness_random(void);
