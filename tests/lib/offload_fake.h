/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A device that holds rules in memory: an offload provider for tests without EAL.
 *
 * What its ports can do, how many rules it takes, how long a call takes and which call fails is
 * the test's to say. Time is virtual: a call adds its latency to a clock that the test may read
 * and set. Packets are the test's as well: it asks whether one would be carried, which counts it.
 * Any thread; one lock around everything. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "offload/provider.h"

#define OFFLOAD_FAKE_PORTS 32

enum offload_fake_call {
	OFFLOAD_FAKE_FACTS,
	OFFLOAD_FAKE_VALIDATE,
	OFFLOAD_FAKE_NONSENSE,
	OFFLOAD_FAKE_INSERT,
	OFFLOAD_FAKE_REMOVE,
	OFFLOAD_FAKE_QUERY,
	OFFLOAD_FAKE_FLUSH,
	OFFLOAD_FAKE_STOP,
	OFFLOAD_FAKE_FORGET,
	OFFLOAD_FAKE_CALLS
};

/* Filled by offload_fake_new() for a port that can do everything, in switch domain 0 with port 0
 * as proxy; the test changes what it likes before the first call. */
struct offload_fake_port {
	struct offload_port_facts facts;
	bool present;
	/* One bit per dialect that the driver takes. */
	uint8_t port_dialects, nat_dialects, ttl_dialects, encap_dialects;
	bool no_full;       /* no transfer rules */
	bool no_partial;    /* no MARK */
	bool no_tcp_flags;  /* refuses a match of them */
	bool no_mac_match;  /* nor of Ethernet addresses */
	bool no_ipv6_nat;   /* bnxt of 22.11 */
	bool no_group_jump; /* group 1 is not there */
	bool nonsense;      /* accepts it */
	bool duplicates;    /* takes a second rule with the same match, which never acts */
	bool no_hit;        /* takes rules, and no packet hits them */
	bool stopped;       /* by offload_provider.stop */
	/* Makes validate pass what insert then refuses (a driver's firmware says no). */
	bool validate_lies;
};

struct offload_fake;

/* capacity: rules in all. NULL: no memory. */
struct offload_fake *offload_fake_new(uint32_t capacity, unsigned n_ports);
void offload_fake_free(struct offload_fake *f);
const struct offload_provider *offload_fake_provider(struct offload_fake *f);
struct offload_fake_port *offload_fake_port(struct offload_fake *f, uint16_t port);

/* Rules that fit; may be lowered below what is held, then nothing fits. At most new()'s. */
void offload_fake_set_capacity(struct offload_fake *f, uint32_t rules);
/* The calls of a kind take this long. */
void offload_fake_set_latency(struct offload_fake *f, enum offload_fake_call call, uint32_t us);
/* The nth call of the kind from now (1: the next) and the times - 1 after it return error
 * (-errno); nth 0 clears. One fault a kind. */
void offload_fake_set_fault(struct offload_fake *f, enum offload_fake_call call, uint32_t nth,
	uint32_t times, int error);
/* The port vanishes with its rules: every call about it is -ENODEV, -EIO where it has a handle. */
void offload_fake_unplug(struct offload_fake *f, uint16_t port);

uint64_t offload_fake_calls(struct offload_fake *f, enum offload_fake_call call);
/* The virtual clock, for the code under test as well. */
uint64_t offload_fake_now_us(struct offload_fake *f);
void offload_fake_advance_us(struct offload_fake *f, uint64_t us);

/* Whether hardware carries a packet: like gives in port, family, protocol, addresses and ports
 * (match.*, and match.tunnel.vni when there is one). Counts it. */
bool offload_fake_packet(struct offload_fake *f, const struct offload_rule *like, uint8_t ttl,
	uint8_t tcp_flags, uint32_t packets, uint64_t bytes);
/* The rule that acts for such packets; false: none. */
bool offload_fake_find(
	struct offload_fake *f, const struct offload_rule *like, struct offload_rule *out);
/* Rules in the device; port OFFLOAD_NO_PORT: of all. */
uint32_t offload_fake_rules(struct offload_fake *f, uint16_t port);
/* Calls fn for each rule, under the lock: fn calls nothing of this header. */
void offload_fake_foreach(
	struct offload_fake *f, void (*fn)(void *arg, const struct offload_rule *rule), void *arg);
/* Handles that were given out and neither removed nor forgotten. 0 at the end of a test. */
uint32_t offload_fake_handles(struct offload_fake *f);
