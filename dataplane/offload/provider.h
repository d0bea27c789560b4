/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The seam to whatever can hold rules: a NIC through rte_flow (provider_rte_flow.c), or memory
 * (tests, perf). Everything above this header is free of DPDK.
 *
 * All calls are the offload thread's. They may take as long as the device takes and return 0 or
 * -errno; the error text is the driver's own. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "offload/rule.h"

#define OFFLOAD_CAUSE_MAX 128

/* How a rule is said to a driver: one choice per part of it (see lower.h). Small enough to be
 * copied. */
struct offload_dialect {
	uint8_t port;  /* enum offload_port_dialect */
	uint8_t nat;   /* enum offload_nat_dialect */
	uint8_t ttl;   /* enum offload_ttl_dialect */
	uint8_t encap; /* enum offload_encap_dialect */
	uint8_t order; /* enum offload_order_dialect */
	uint8_t group; /* 0, or 1 behind a jump */
};

enum offload_port_dialect {
	OFFLOAD_PORT_REPRESENTED, /* on the proxy, REPRESENTED_PORT item and action */
	OFFLOAD_PORT_ID,          /* on the proxy, PORT_ID item and action */
	OFFLOAD_PORT_IMPLICIT,    /* on the port itself, no item, PORT_ID action */
	OFFLOAD_PORT_DIALECTS
};

enum offload_nat_dialect {
	OFFLOAD_NAT_SET,    /* SET_IPV4_SRC and its like */
	OFFLOAD_NAT_MODIFY, /* MODIFY_FIELD */
	OFFLOAD_NAT_DIALECTS
};

enum offload_ttl_dialect {
	OFFLOAD_TTL_SET, /* SET_TTL of the matched one less 1 */
	OFFLOAD_TTL_DEC, /* DEC_TTL */
	OFFLOAD_TTL_DIALECTS
};

enum offload_encap_dialect {
	OFFLOAD_ENCAP_VXLAN, /* VXLAN_ENCAP; what is no VXLAN cannot be said */
	OFFLOAD_ENCAP_RAW,
	OFFLOAD_ENCAP_DIALECTS
};

/* Where a tag is pushed; mlx5 and sfc contradict each other here alone. */
enum offload_order_dialect {
	OFFLOAD_ORDER_PUSH_FIRST, /* before the rewrites */
	OFFLOAD_ORDER_PUSH_LAST,  /* behind them */
	OFFLOAD_ORDER_DIALECTS
};

const char *offload_port_dialect_name(enum offload_port_dialect d);
const char *offload_nat_dialect_name(enum offload_nat_dialect d);
const char *offload_ttl_dialect_name(enum offload_ttl_dialect d);
const char *offload_encap_dialect_name(enum offload_encap_dialect d);
const char *offload_decap_dialect_name(enum offload_encap_dialect d);
const char *offload_order_dialect_name(enum offload_order_dialect d);

struct offload_error {
	uint8_t type; /* enum rte_flow_error_type; 0: none */
	char cause[OFFLOAD_CAUSE_MAX];
};

struct offload_count {
	uint64_t packets, bytes; /* since the rule was made */
};

struct offload_port_facts {
	uint16_t proxy;  /* the ethdev that takes transfer rules; itself if there is none */
	uint16_t domain; /* switch domain; OFFLOAD_NO_PORT: none */
	bool representor;
	bool mark_in_buffers; /* MARK reaches the packet buffers */
	char driver[32];
};

struct offload_handle; /* the device's */

struct offload_provider {
	const char *name;
	void *arg;
	/* -ENODEV: gone. */
	int (*facts)(void *arg, uint16_t port, struct offload_port_facts *out);
	int (*validate)(void *arg, const struct offload_rule *rule,
		const struct offload_dialect *dialect, struct offload_error *err);
	/* A rule that a driver must refuse (to a port of another domain, of a reserved bit, in a
	 * group that is not there, into a queue of no port: which = 0 .. OFFLOAD_NONSENSE - 1). 0:
	 * it was accepted, and nothing that this driver says is to be trusted. */
	int (*validate_nonsense)(
		void *arg, uint16_t port, unsigned which, struct offload_error *err);
	int (*insert)(void *arg, const struct offload_rule *rule,
		const struct offload_dialect *dialect, struct offload_handle **out,
		struct offload_error *err);
	/* The handle knows where the rule was made (facts.proxy or the rule's in port, as the
	 * dialect has it). 0: the handle is released; else it stays, and may be tried again. */
	int (*remove)(void *arg, struct offload_handle *handle, struct offload_error *err);
	int (*query)(void *arg, struct offload_handle *handle, struct offload_count *out,
		struct offload_error *err);
	/* Every rule of the port; handles of it are void afterwards, forget() each. */
	int (*flush)(void *arg, uint16_t port, struct offload_error *err);
	/* The last resort when neither remove nor flush work: no packet passes the port. */
	int (*stop)(void *arg, uint16_t port);
	/* Releases a handle whose rule went with its port; no call to the device. */
	void (*forget)(void *arg, struct offload_handle *handle);
	/* The call at or behind *cursor (0: the oldest that is kept) as lines of testpmd's, the
	 * last one a comment of what it returned; moves the cursor. The length needed, 0: there is
	 * none. Any thread. NULL: calls are not kept. */
	uint32_t (*operation)(void *arg, uint64_t *cursor, char *out, uint32_t size);
};

#define OFFLOAD_NONSENSE 4

/* Rules through rte_flow of the process' ethdevs. */
const struct offload_provider *offload_provider_rte_flow(void);
/* Whether MARK reaches the packet buffers of a port: agreed with its driver by whoever configures
 * the port (rte_eth_rx_metadata_negotiate()), and known to nobody else. Any thread. */
void offload_provider_rte_flow_marks(uint16_t port, bool reach);
