/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* An offload engine on the device in memory: a switch with two ports of a NIC and one that is none,
 * flows by number, requests as workers make them, virtual time. One thread.
 *
 * Flow n goes from a client on vport 1 by a service address to an endpoint on vport 2; n of a
 * plain flow is above LAB_PLAIN. */

#pragma once

#include "core/dataplane.h"
#include "lib/offload_fake.h"
#include "offload/engine.h"

#define LAB_PLAIN 1000000u
#define LAB_TTL   64

struct lab {
	struct grace grace;
	struct flow_table *flows;
	struct dataplane dp;
	struct vport vport[4]; /* [1], [2]: the NIC's; [3]: another device's */
	struct vport_table vports;
	struct route_domain routes;
	struct fib *fib;
	struct next_hop hop[4];
	struct tunables tunables;
	struct offload_fake *fake;
	struct offload_engine *e;
	uint32_t alarms;
	bool unmarked; /* packets come without the marks of their rules */
};

struct lab_config {
	uint32_t flows;    /* of each family */
	uint32_t capacity; /* rules, of device and configuration */
	bool marks;        /* the NIC's ports mark packets where they cannot forward them */
	struct offload_config offload;
};

void lab_config_default(struct lab_config *cfg);
/* 0 or -errno. */
int lab_init(struct lab *lab, const struct lab_config *cfg);
/* Everything out of hardware; false when something was left. */
bool lab_fini(struct lab *lab);

uint32_t lab_now_ms(struct lab *lab);
/* A live, settled flow, two seconds old; FLOW_NONE when the table is full. */
uint32_t lab_flow(struct lab *lab, enum ip_family f, uint8_t proto, uint32_t n);
/* n packets of that direction were sampled. */
void lab_nominate(struct lab *lab, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t n);
void lab_request(struct lab *lab, enum offload_request_kind kind, enum ip_family f, uint32_t entry,
	enum lane_dir dir, uint16_t len, uint8_t ttl);
/* Both directions as an elephant's, and turns until it is in hardware or was judged. */
void lab_offload(struct lab *lab, enum ip_family f, uint32_t entry);
/* Turns for so much virtual time, grace periods and sweeps beside them. */
void lab_run_ms(struct lab *lab, uint32_t ms);
/* A packet of that direction: does hardware carry it? */
bool lab_packet(struct lab *lab, enum ip_family f, uint32_t entry, enum lane_dir dir,
	uint8_t tcp_flags, uint32_t packets);
uint32_t lab_word(struct lab *lab, enum ip_family f, uint32_t entry, enum lane_dir dir);
bool lab_in_hardware(struct lab *lab, enum ip_family f, uint32_t entry);
/* Asks for a pass and runs until it has settled; false after a minute of virtual time. */
bool lab_revalidate(struct lab *lab);
/* Rules of the device, rules of the engine, words of the flows: the same set. 0, or what differs
 * on standard error. */
int lab_check(struct lab *lab);
