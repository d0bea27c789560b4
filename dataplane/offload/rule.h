/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* One direction of a flow as hardware is to carry it: the neutral form between the flow table and
 * a driver's dialect.
 *
 * The match is exact in every field that the decision read, and so never wider than it. All
 * actions are collapsed: what leaves the port is what the workers would have sent. Multi-byte
 * header fields are in network order; ids and counts in host order. Values only, no thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/ip.h"

#define OFFLOAD_NO_PORT UINT16_MAX

enum offload_tunnel_kind {
	OFFLOAD_TUNNEL_NONE,
	OFFLOAD_TUNNEL_VXLAN,
	OFFLOAD_TUNNEL_GENEVE,
};

/* Outer headers: matched (decapsulation) or put in front (encapsulation). Zero MACs and ports are
 * not matched; an encapsulation gives them all. */
struct offload_tunnel {
	uint8_t kind; /* enum offload_tunnel_kind */
	uint8_t family;
	uint8_t ttl;
	uint32_t vni; /* host order, 24 bits */
	struct ip_addr src, dst;
	uint16_t sport, dport;
	uint8_t smac[6], dmac[6];
};

enum offload_set {
	/* A value without its bit is zero, or what is matched. */
	OFFLOAD_SET_SRC = 1 << 0,
	OFFLOAD_SET_DST = 1 << 1,
	OFFLOAD_SET_SPORT = 1 << 2,
	OFFLOAD_SET_DPORT = 1 << 3,
	OFFLOAD_SET_MAC = 1 << 4, /* both */
	OFFLOAD_DEC_TTL = 1 << 5, /* match.ttl is exact and above 1 */
};

enum offload_fate {
	OFFLOAD_FATE_PORT, /* full: out of another port of the switch domain */
	OFFLOAD_FATE_MARK, /* partial: to a worker's queue, with a mark in place of a lookup */
	OFFLOAD_FATE_DROP,
};

struct offload_rule {
	struct {
		uint16_t port; /* the ethdev it comes in by */
		uint16_t vlan; /* 0: untagged */
		uint8_t family;
		uint8_t proto;       /* IP_PROTO_TCP or IP_PROTO_UDP */
		uint8_t ttl;         /* exact; 0: not matched */
		bool no_tcp_control; /* FIN, SYN and RST are clear */
		bool not_fragment;
		/* Zero: any. A promiscuous port hears what is for others, and a pod may claim to be
		 * another; what workers drop must not be forwarded. */
		uint8_t smac[6], dmac[6];
		struct ip_addr src, dst;
		uint16_t sport, dport;
		struct offload_tunnel tunnel;
	} match;
	struct {
		uint8_t set; /* enum offload_set */
		uint16_t vlan;
		uint16_t sport, dport;
		struct ip_addr src, dst;
		uint8_t smac[6], dmac[6];
		struct offload_tunnel tunnel;
	} to;
	uint8_t fate;   /* enum offload_fate */
	uint16_t port;  /* FATE_PORT: the ethdev it leaves by */
	uint16_t queue; /* FATE_MARK */
	uint32_t mark;  /* FATE_MARK */
	bool count;
};
