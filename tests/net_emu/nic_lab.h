/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* For the tests of the emulated NIC: one EAL, a NIC a case, rules written as in a table.
 *
 * Include in one file of a program only. The case's thread is program, control and, in step mode,
 * e-switch at once. Each case makes its NIC with the device arguments that it wants and takes it
 * down with nic_down(), which checks that every buffer is back. */

#pragma once

#include <arpa/inet.h>
#include <sched.h>
#include <unistd.h>

#include <rte_bus_vdev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_malloc.h>

#include "lib/frames.h"
#include "net_emu/net_emu.h"
#include "unit/harness.h"

#define NIC_NAME    "net_emu0"
#define NIC_BUFFERS 8191
#define NIC_QUEUES  2
#define WAIT_S      10

/* A program uses what it needs of these. */
#define LAB __attribute__((unused)) static

static struct rte_mempool *nic_pool;
static struct emu_nic *nic;
static uint16_t nic_port[16]; /* ethdev ids */
static unsigned nic_ports;
static int nic_core = -1; /* of an e-switch with a thread */

LAB void eal_up(void)
{
	static char text[][20] = {"net_emu", "--no-huge", "-m256", "--no-pci", "--no-telemetry",
		"--no-shconf", "--lcores=0", "--log-level=error"};
	char *args[RTE_DIM(text) + 1] = {0};
	cpu_set_t allowed;

	if (nic_pool != NULL)
		return;
	/* The last CPU that this process may use; EAL takes the first for this thread. */
	if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET((size_t)cpu, &allowed))
				nic_core = cpu;
	for (unsigned i = 0; i < RTE_DIM(text); i++)
		args[i] = text[i];
	if (rte_eal_init(RTE_DIM(text), args) < 0) {
		fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
		exit(1);
	}
	nic_pool = rte_pktmbuf_pool_create("pool", NIC_BUFFERS, 0, 0, 2048 + 128, SOCKET_ID_ANY);
	if (nic_pool == NULL)
		exit(1);
}

LAB int port_up(uint16_t id)
{
	struct rte_eth_conf conf = {.rxmode.offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM};
	int rc = rte_eth_dev_configure(id, NIC_QUEUES, 1, &conf);

	for (uint16_t q = 0; rc == 0 && q < NIC_QUEUES; q++)
		rc = rte_eth_rx_queue_setup(id, q, 1024, 0, NULL, nic_pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(id, 0, 1024, 0, NULL);
	return rc;
}

/* A NIC with three ports, or as the arguments say; started. */
LAB void nic_up(const char *args)
{
	char more[256];

	eal_up();
	if (strstr(args, "step=1") == NULL && strstr(args, "core=") == NULL && nic_core >= 0)
		snprintf(more, sizeof(more), "%s%score=%d", args, args[0] != '\0' ? "," : "",
			nic_core);
	else
		snprintf(more, sizeof(more), "%s", args);
	REQUIRE_EQ(rte_vdev_init(NIC_NAME, more), 0);
	nic = net_emu_find(NIC_NAME);
	REQUIRE(nic != NULL);
	for (nic_ports = 0; net_emu_ethdev(nic, nic_ports) >= 0; nic_ports++) {
		nic_port[nic_ports] = (uint16_t)net_emu_ethdev(nic, nic_ports);
		REQUIRE_EQ(port_up(nic_port[nic_ports]), 0);
	}
	for (unsigned i = 0; i < nic_ports; i++)
		REQUIRE_EQ(rte_eth_dev_start(nic_port[i]), 0);
}

LAB void nic_down(void)
{
	CHECK_EQ(rte_vdev_uninit(NIC_NAME), 0);
	CHECK(net_emu_find(NIC_NAME) == NULL);
	CHECK_EQ(rte_mempool_in_use_count(nic_pool), 0);
	nic = NULL;
}

LAB struct net_emu_counters nic_counters(void)
{
	struct net_emu_counters c;

	net_emu_counters(nic, &c);
	return c;
}

LAB void nic_set(const char *knob, long value)
{
	char line[64];

	snprintf(line, sizeof(line), "set %s %ld", knob, value);
	CHECK_EQ(net_emu_command(nic, line, NULL, 0), 0);
}

/* Every frame that came is accounted for. */
LAB void nic_balanced(void)
{
	struct net_emu_counters c = nic_counters();

	CHECK_EQ(c.wire_rx,
		c.to_cpu + c.forwarded + c.rule_drops + c.mtu_drops + c.error_drops + c.rx_full);
}

/* --- frames ------------------------------------------------------------------------------------
 */

LAB uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The next frame of a port's receive queues into f: which queue, or -1. */
LAB int cpu_recv(unsigned port, struct frame *f, struct rte_mbuf *keep)
{
	struct rte_mbuf *m;

	for (uint16_t q = 0; q < NIC_QUEUES; q++) {
		if (rte_eth_rx_burst(nic_port[port], q, &m, 1) == 0)
			continue;
		f->len = rte_pktmbuf_data_len(m);
		memcpy(f->data, rte_pktmbuf_mtod(m, void *), f->len);
		if (keep != NULL)
			*keep = *m;
		rte_pktmbuf_free(m);
		return q;
	}
	return -1;
}

LAB bool wire_recv(unsigned port, struct frame *f)
{
	f->len = (uint16_t)net_emu_wire_recv(nic, port, f->data, sizeof(f->data));
	return f->len != 0;
}

LAB void wire_send(unsigned port, const struct frame *f)
{
	CHECK_EQ(net_emu_wire_send(nic, port, f->data, f->len), 0);
}

enum went {
	NOWHERE,
	TO_CPU,
	TO_WIRE
};

/* One frame through the NIC in step mode: where it went, and what came of it. */
LAB enum went nic_pass(unsigned port, unsigned out_port, const struct frame *in, struct frame *out)
{
	wire_send(port, in);
	net_emu_step(nic, 64, 1000);
	if (wire_recv(out_port, out))
		return TO_WIRE;
	return cpu_recv(port, out, NULL) >= 0 ? TO_CPU : NOWHERE;
}

/* --- rules -------------------------------------------------------------------------------------
 */

union conf {
	struct rte_flow_item_eth eth;
	struct rte_flow_item_vlan vlan;
	struct rte_flow_item_ipv4 ipv4;
	struct rte_flow_item_ipv6 ipv6;
	struct rte_flow_item_tcp tcp;
	struct rte_flow_item_udp udp;
	struct rte_flow_item_vxlan vxlan;
	struct rte_flow_item_ethdev ethdev;
	struct rte_flow_item_port_id port_id;
	struct rte_flow_action_modify_field modify;
	struct rte_flow_action_vxlan_encap vxlan_encap;
	struct rte_flow_action_raw_encap raw_encap;
	struct rte_flow_action_rss rss;
	struct rte_flow_action_age age;
	uint8_t bytes[128];
	uint32_t u32;
	uint16_t u16;
};

struct rule {
	struct rte_flow_attr attr;
	struct rte_flow_item items[16];
	union conf spec[16], mask[16];
	struct rte_flow_action actions[16];
	union conf conf[16];
	unsigned n_items, n_actions;
};

static struct rte_flow_error rule_error;

LAB void rule_init(struct rule *r, bool transfer)
{
	memset(r, 0, sizeof(*r));
	r->attr.transfer = transfer;
	r->attr.ingress = !transfer;
}

/* Returns the number of the item, for its spec and mask. */
LAB unsigned rule_item(struct rule *r, enum rte_flow_item_type type)
{
	unsigned i = r->n_items++;

	r->items[i] =
		(struct rte_flow_item){.type = type, .spec = &r->spec[i], .mask = &r->mask[i]};
	r->items[i + 1].type = RTE_FLOW_ITEM_TYPE_END;
	return i;
}

LAB void rule_action(struct rule *r, enum rte_flow_action_type type, const void *conf, size_t len)
{
	unsigned i = r->n_actions++;

	if (len != 0)
		memcpy(&r->conf[i], conf, len);
	r->actions[i] =
		(struct rte_flow_action){.type = type, .conf = len != 0 ? &r->conf[i] : NULL};
	r->actions[i + 1].type = RTE_FLOW_ACTION_TYPE_END;
}

#define ACTION(r, TYPE) rule_action(r, RTE_FLOW_ACTION_TYPE_##TYPE, NULL, 0)
#define ACTION_OF(r, TYPE, ...) \
	rule_action(r, RTE_FLOW_ACTION_TYPE_##TYPE, &(__VA_ARGS__), sizeof(__VA_ARGS__))

LAB void rule_in(struct rule *r, unsigned port)
{
	unsigned i = rule_item(r, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT);

	r->spec[i].ethdev.port_id = nic_port[port];
	r->mask[i].ethdev.port_id = UINT16_MAX;
}

LAB void rule_in_port_id(struct rule *r, unsigned port)
{
	unsigned i = rule_item(r, RTE_FLOW_ITEM_TYPE_PORT_ID);

	r->spec[i].port_id.id = nic_port[port];
	r->mask[i].port_id.id = UINT32_MAX;
}

/* ETH, IP and L4 items that a frame of that description matches exactly; ttl 0: any. */
LAB void rule_flow(struct rule *r, const struct frame_spec *s, uint8_t ttl, uint8_t no_flags)
{
	unsigned i = rule_item(r, RTE_FLOW_ITEM_TYPE_ETH);
	struct frame f;

	frame_build(&f, s);
	i = rule_item(r, s->v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4);
	if (s->v6) {
		memcpy((void *)&r->spec[i].ipv6.hdr.src_addr, f.data + f.l3 + 8, 32);
		memset((void *)&r->mask[i].ipv6.hdr.src_addr, 0xff, 32);
		r->spec[i].ipv6.hdr.hop_limits = ttl;
		r->mask[i].ipv6.hdr.hop_limits = ttl != 0 ? 0xff : 0;
	} else {
		memcpy(&r->spec[i].ipv4.hdr.src_addr, f.data + f.l3 + 12, 8);
		memset(&r->mask[i].ipv4.hdr.src_addr, 0xff, 8);
		r->spec[i].ipv4.hdr.time_to_live = ttl;
		r->mask[i].ipv4.hdr.time_to_live = ttl != 0 ? 0xff : 0;
	}
	i = rule_item(r, s->proto == IPPROTO_TCP ? RTE_FLOW_ITEM_TYPE_TCP : RTE_FLOW_ITEM_TYPE_UDP);
	r->spec[i].udp.hdr.src_port = htons(s->sport);
	r->spec[i].udp.hdr.dst_port = htons(s->dport);
	r->mask[i].udp.hdr.src_port = r->mask[i].udp.hdr.dst_port = UINT16_MAX;
	if (s->proto == IPPROTO_TCP)
		r->mask[i].tcp.hdr.tcp_flags = no_flags;
}

LAB void act_out(struct rule *r, unsigned port)
{
	ACTION_OF(r, REPRESENTED_PORT, (struct rte_flow_action_ethdev){.port_id = nic_port[port]});
}

LAB void act_out_port_id(struct rule *r, unsigned port)
{
	ACTION_OF(r, PORT_ID, (struct rte_flow_action_port_id){.id = nic_port[port]});
}

LAB void act_ip(struct rule *r, bool src, const char *text)
{
	uint8_t ip[16];
	bool v6 = strchr(text, ':') != NULL;

	REQUIRE_EQ(inet_pton(v6 ? AF_INET6 : AF_INET, text, ip), 1);
	if (v6)
		rule_action(r,
			src ? RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC : RTE_FLOW_ACTION_TYPE_SET_IPV6_DST,
			ip, 16);
	else
		rule_action(r,
			src ? RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC : RTE_FLOW_ACTION_TYPE_SET_IPV4_DST,
			ip, 4);
}

LAB void act_tp(struct rule *r, bool src, uint16_t port)
{
	struct rte_flow_action_set_tp tp = {.port = htons(port)};

	rule_action(r, src ? RTE_FLOW_ACTION_TYPE_SET_TP_SRC : RTE_FLOW_ACTION_TYPE_SET_TP_DST, &tp,
		sizeof(tp));
}

LAB void act_mac(struct rule *r, bool src, const uint8_t *mac)
{
	rule_action(r, src ? RTE_FLOW_ACTION_TYPE_SET_MAC_SRC : RTE_FLOW_ACTION_TYPE_SET_MAC_DST,
		mac, 6);
}

LAB void act_ttl(struct rule *r, uint8_t ttl)
{
	ACTION_OF(r, SET_TTL, (struct rte_flow_action_set_ttl){.ttl_value = ttl});
}

LAB struct rte_flow *rule_create(unsigned port, const struct rule *r)
{
	memset(&rule_error, 0, sizeof(rule_error));
	rte_errno = 0;
	return rte_flow_create(nic_port[port], &r->attr, r->items, r->actions, &rule_error);
}

LAB int rule_validate(unsigned port, const struct rule *r)
{
	memset(&rule_error, 0, sizeof(rule_error));
	return rte_flow_validate(nic_port[port], &r->attr, r->items, r->actions, &rule_error);
}

LAB int rule_destroy(unsigned port, struct rte_flow *rule)
{
	memset(&rule_error, 0, sizeof(rule_error));
	return rte_flow_destroy(nic_port[port], rule, &rule_error);
}

LAB int rule_query(unsigned port, struct rte_flow *rule, uint64_t *hits, uint64_t *bytes)
{
	const struct rte_flow_action count[] = {
		{.type = RTE_FLOW_ACTION_TYPE_COUNT}, {.type = RTE_FLOW_ACTION_TYPE_END}};
	struct rte_flow_query_count out = {0};
	int rc;

	memset(&rule_error, 0, sizeof(rule_error));
	rc = rte_flow_query(nic_port[port], rule, count, &out, &rule_error);
	*hits = out.hits;
	*bytes = out.bytes;
	return rc;
}
