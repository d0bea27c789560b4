/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The emulated NIC fails as it is told to, ages and counts by its own clock, and goes away. */

#include "net_emu/nic_lab.h"

#define STEP "representor=vf[0-1],step=1,stale_ms=0"

static const struct frame_spec flow_spec = {.proto = IPPROTO_UDP,
	.src = "10.1.0.1",
	.dst = "10.96.0.10",
	.sport = 40000,
	.dport = 80,
	.payload = 22}; /* 64 bytes */

/* The n-th of as many rules as one likes, from the uplink to the first representor. */
static void rule_nth(struct rule *r, uint32_t n)
{
	struct frame_spec s = flow_spec;

	s.sport = (uint16_t)n;
	s.dport = (uint16_t)(n >> 16);
	rule_init(r, true);
	rule_in(r, 0);
	rule_flow(r, &s, 0, 0);
	ACTION(r, COUNT);
	act_out(r, 1);
}

static void frame_nth(struct frame *f, uint32_t n)
{
	struct frame_spec s = flow_spec;

	s.sport = (uint16_t)n;
	s.dport = (uint16_t)(n >> 16);
	frame_build(f, &s);
}

/* --- failures of calls --------------------------------------------------------------------------
 */

static void capacity_and_each_hundredth_fails(void)
{
	unsigned ok = 0, eio = 0, full = 0, other = 0;
	struct rule r;

	nic_up("representor=vf[0-1],step=1,cap=20000,fail_every=100");
	for (uint32_t n = 0; n < 20300; n++) {
		rule_nth(&r, n);
		if (rule_create(0, &r) != NULL)
			ok++;
		else if (rte_errno == EIO)
			eio++;
		else if (rte_errno == ENOSPC)
			full++;
		else
			other++;
	}
	CHECK_EQ(ok, 20000);
	CHECK_EQ(eio, 203);
	CHECK_EQ(full, 97);
	CHECK_EQ(other, 0);
	CHECK_EQ(nic_counters().rules, 20000);
	CHECK_EQ(nic_counters().creates_failed, 300);
	/* Room again as soon as one is gone, or the table grows. */
	nic_set("cap", 20001);
	nic_set("fail_every", 0);
	CHECK(rule_create(0, &r) != NULL);
	CHECK(rule_create(0, &r) == NULL);
	CHECK_EQ(rte_flow_flush(nic_port[0], &rule_error), 0);
	CHECK_EQ(nic_counters().rules, 0);
	CHECK(rule_create(0, &r) != NULL);
	nic_down();
}

static void creates_fail_by_number_and_errno(void)
{
	struct rule r;

	nic_up(STEP);
	nic_set("fail_nth", 3);
	nic_set("fail_errno", EBUSY);
	for (uint32_t n = 1; n <= 4; n++) {
		rule_nth(&r, n);
		CHECK_EQ(rule_create(0, &r) != NULL, n != 3);
		if (n == 3)
			CHECK_EQ(rte_errno, EBUSY);
	}
	nic_set("fail_next", -1);
	nic_set("fail_errno", ETIMEDOUT);
	for (uint32_t n = 5; n < 8; n++) {
		rule_nth(&r, n);
		CHECK(rule_create(0, &r) == NULL);
		CHECK_EQ(rte_errno, ETIMEDOUT);
	}
	nic_set("fail_next", 0);
	CHECK(rule_create(0, &r) != NULL);
	nic_down();
}

static void a_destroy_that_fails_leaves_the_rule(void)
{
	struct frame in, got;
	struct rte_flow *flow;
	uint64_t hits, bytes;
	struct rule r;

	nic_up(STEP);
	rule_nth(&r, 1);
	frame_nth(&in, 1);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	nic_set("destroy_fail", 2);
	CHECK_EQ(rule_destroy(0, flow), -EIO);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	CHECK_EQ(rule_destroy(0, flow), -EIO);
	nic_set("query_fail", 1);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), -EIO);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
	CHECK_EQ(hits, 1);
	nic_set("flush_fail", 1);
	CHECK_EQ(rte_flow_flush(nic_port[0], &rule_error), -EIO);
	CHECK_EQ(nic_counters().rules, 1);
	CHECK_EQ(rule_destroy(0, flow), 0);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
	CHECK_EQ(nic_counters().destroys_failed, 2);
	nic_down();
}

static void handles_that_are_gone_are_counted(void)
{
	struct rte_flow *flow;
	__attribute__((unused)) uint64_t hits, bytes;
	struct rule r;

	nic_up(STEP);
	rule_nth(&r, 1);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	CHECK_EQ(rule_destroy(0, NULL), -ENOENT);
	CHECK_EQ(nic_counters().bad_handles, 1);
	CHECK_EQ(rule_destroy(0, flow), 0);
#ifndef EMU_RULES_FROM_LIBC /* a sanitizer ends the program here */
	CHECK_EQ(rule_destroy(0, flow), -ENOENT);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), -ENOENT);
	CHECK_EQ(nic_counters().bad_handles, 3);
#endif
	nic_down();
}

static void accepted_and_never_hit(void)
{
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	nic_set("nohit", 1);
	rule_nth(&r, 1);
	frame_nth(&in, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	nic_set("nohit", 0);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
	nic_down();
}

/* --- time ---------------------------------------------------------------------------------------
 */

static unsigned hook_calls[2];
static uint64_t hook_now;

static void hook(void *arg, enum net_emu_point point)
{
	struct frame *in = arg;
	struct frame got;

	hook_calls[point]++;
	hook_now = net_emu_now(nic);
	/* Inside of the call the world goes on: the rule acts already, or no more. */
	CHECK_EQ(nic_pass(0, 1, in, &got), point == NET_EMU_CREATED ? TO_WIRE : TO_CPU);
}

static void calls_take_virtual_time(void)
{
	struct rte_flow *flow;
	uint64_t start;
	struct frame in;
	struct rule r;

	nic_up(STEP ",ins_us=1000,del_us=250");
	frame_nth(&in, 1);
	rule_nth(&r, 1);
	net_emu_hook(nic, hook, &in);
	start = net_emu_now(nic);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	CHECK_EQ(hook_now - start, 1000000);
	start = net_emu_now(nic);
	CHECK_EQ(rule_destroy(0, flow), 0);
	CHECK_EQ(hook_now - start, 250000);
	CHECK_EQ(hook_calls[NET_EMU_CREATED], 1);
	CHECK_EQ(hook_calls[NET_EMU_DESTROYED], 1);
	net_emu_hook(nic, NULL, NULL);
	nic_down();
}

static void counters_are_stale_and_never_fall(void)
{
	uint64_t hits, bytes, last = 0;
	struct frame in, got;
	struct rte_flow *flow;
	struct rule r;

	nic_up("representor=vf[0-1],step=1,stale_ms=500");
	frame_nth(&in, 1);
	rule_nth(&r, 1);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	for (unsigned n = 0; n < 10; n++)
		CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
	CHECK_EQ(hits, 0);
	CHECK_EQ(bytes, 0);
	net_emu_step(nic, 0, 500000000);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
	CHECK_EQ(hits, 10);
	CHECK_EQ(bytes, 10u * in.len);
	for (unsigned n = 0; n < 2000; n++) {
		nic_pass(0, 1, &in, &got);
		net_emu_step(nic, 0, test_rand_below(3000000));
		CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
		CHECK_GE(hits, last);
		CHECK_LE(hits, 11u + n);
		last = hits;
	}
	net_emu_step(nic, 0, 500000000);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
	CHECK_EQ(hits, 2010);
	nic_down();
}

static void a_query_can_reset(void)
{
	const struct rte_flow_action count[] = {
		{.type = RTE_FLOW_ACTION_TYPE_COUNT}, {.type = RTE_FLOW_ACTION_TYPE_END}};
	struct rte_flow_query_count out = {.reset = 1};
	struct frame in, got;
	struct rte_flow *flow;
	struct rule r;

	nic_up(STEP);
	frame_nth(&in, 1);
	rule_nth(&r, 1);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	for (unsigned n = 1; n <= 3; n++) {
		for (unsigned k = 0; k < n; k++)
			nic_pass(0, 1, &in, &got);
		CHECK_EQ(rte_flow_query(nic_port[0], flow, count, &out, &rule_error), 0);
		CHECK_EQ(out.hits, n);
		CHECK_EQ(out.bytes, (uint64_t)n * in.len);
	}
	nic_down();
}

static unsigned aged_events, removed_events, destroyed_events, link_events;

static int event(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	aged_events += type == RTE_ETH_EVENT_FLOW_AGED;
	removed_events += type == RTE_ETH_EVENT_INTR_RMV;
	destroyed_events += type == RTE_ETH_EVENT_DESTROY;
	link_events += type == RTE_ETH_EVENT_INTR_LSC;
	return 0;
}

static void events_begin(void)
{
	aged_events = removed_events = destroyed_events = link_events = 0;
	for (unsigned i = 0; i < nic_ports; i++)
		for (enum rte_eth_event_type t = 0; t < RTE_ETH_EVENT_MAX; t++)
			CHECK_EQ(rte_eth_dev_callback_register(nic_port[i], t, event, NULL), 0);
}

static void events_end(void)
{
	for (unsigned i = 0; i < nic_ports; i++)
		for (enum rte_eth_event_type t = 0; t < RTE_ETH_EVENT_MAX; t++)
			rte_eth_dev_callback_unregister(nic_port[i], t, event, NULL);
}

static void rules_age_and_an_event_can_be_lost(void)
{
	int context[2];
	void *aged[4];
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	events_begin();
	frame_nth(&in, 0);
	for (uint32_t n = 0; n < 2; n++) {
		rule_nth(&r, n);
		r.n_actions = 0;
		ACTION_OF(&r, AGE,
			(struct rte_flow_action_age){.timeout = 2, .context = &context[n]});
		act_out(&r, 1);
		REQUIRE(rule_create(0, &r) != NULL);
	}
	net_emu_step(nic, 0, 1500000000);
	nic_pass(0, 1, &in, &got);
	net_emu_step(nic, 0, 1000000000);
	CHECK_EQ(aged_events, 1);
	CHECK_EQ(rte_flow_get_aged_flows(nic_port[0], NULL, 0, &rule_error), 1);
	CHECK_EQ(rte_flow_get_aged_flows(nic_port[0], aged, 4, &rule_error), 1);
	CHECK(aged[0] == &context[1]);
	CHECK_EQ(rte_flow_get_aged_flows(nic_port[0], aged, 4, &rule_error), 0);
	nic_set("lost_aged", 1);
	net_emu_step(nic, 0, 3000000000);
	CHECK_EQ(aged_events, 1);
	CHECK_EQ(nic_counters().aged, 1);
	CHECK_EQ(nic_counters().aged_lost, 1);
	events_end();
	nic_down();
}

/* --- ports come and go --------------------------------------------------------------------------
 */

static void the_link_goes_down_and_up(void)
{
	struct rte_eth_link link;
	struct frame in, got;

	nic_up(STEP);
	events_begin();
	CHECK_EQ(net_emu_command(nic, "link 0 down", NULL, 0), 0);
	CHECK_EQ(link_events, 1);
	CHECK_EQ(rte_eth_link_get_nowait(nic_port[0], &link), 0);
	CHECK_EQ(link.link_status, RTE_ETH_LINK_DOWN);
	frame_nth(&in, 1);
	CHECK_EQ(nic_pass(0, 1, &in, &got), NOWHERE);
	CHECK_EQ(net_emu_command(nic, "link 0 up", NULL, 0), 0);
	CHECK_EQ(link_events, 2);
	net_emu_step(nic, 1, 0);
	CHECK(cpu_recv(0, &got, NULL) >= 0);
	events_end();
	nic_down();
}

static void the_device_is_pulled_out_under_load(void)
{
	struct rte_flow *flow;
	struct frame in, got;
	struct rule r;

	nic_up("representor=vf[0-1]");
	events_begin();
	frame_nth(&in, 1);
	rule_nth(&r, 1);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	for (unsigned n = 0; n < 500; n++)
		wire_send(0, &in);
	CHECK_EQ(net_emu_command(nic, "remove", NULL, 0), 0);
	CHECK_EQ(removed_events, 3);
	CHECK_EQ(rte_eth_dev_is_removed(nic_port[0]), 1);
	CHECK_EQ(rule_destroy(0, flow), -EIO);
	rule_nth(&r, 2);
	CHECK(rule_create(0, &r) == NULL);
	CHECK_EQ(rte_errno, EIO);
	while (wire_recv(1, &got))
		;
	CHECK_EQ(cpu_recv(0, &got, NULL), -1);
	CHECK_EQ(rte_vdev_uninit(NIC_NAME), 0);
	CHECK_EQ(destroyed_events, 3);
	CHECK_EQ(rte_eth_dev_count_avail(), 0);
	CHECK_EQ(rte_mempool_in_use_count(nic_pool), 0);
	nic_up("representor=vf[0-3],step=1");
	CHECK_EQ(nic_ports, 5);
	CHECK_EQ(rte_eth_dev_count_avail(), 5);
	nic_down();
}

static void rules_go_with_their_port(void)
{
	struct net_emu_counters c;
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	rule_init(&r, true);
	rule_flow(&r, &flow_spec, 0, 0);
	act_out_port_id(&r, 0);
	REQUIRE(rule_create(2, &r) != NULL);
	frame_build(&in, &flow_spec);
	CHECK_EQ(nic_pass(2, 0, &in, &got), TO_WIRE);
	CHECK_EQ(rte_eth_dev_stop(nic_port[2]), 0);
	CHECK_EQ(rte_eth_dev_close(nic_port[2]), 0);
	c = nic_counters();
	CHECK_EQ(c.rules, 0);
	CHECK_EQ(c.rules_leaked, 1);
	nic_down();
}

static void what_the_ports_say_of_themselves(void)
{
	struct rte_eth_dev_info info[3];
	struct rte_ether_addr mac[3];

	nic_up(STEP);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(rte_eth_dev_info_get(nic_port[i], &info[i]), 0);
		CHECK_EQ(rte_eth_macaddr_get(nic_port[i], &mac[i]), 0);
		CHECK_EQ((*info[i].dev_flags & RTE_ETH_DEV_REPRESENTOR) != 0, i != 0);
		CHECK_EQ(info[i].switch_info.domain_id, info[0].switch_info.domain_id);
		CHECK((info[i].flow_type_rss_offloads & RTE_ETH_RSS_IP) == RTE_ETH_RSS_IP);
		CHECK((info[i].rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM) ==
			RTE_ETH_RX_OFFLOAD_CHECKSUM);
	}
	CHECK_NE(info[0].switch_info.domain_id, RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID);
	CHECK(!rte_is_same_ether_addr(&mac[0], &mac[1]));
	CHECK(!rte_is_same_ether_addr(&mac[1], &mac[2]));
	CHECK_EQ(rte_eth_representor_info_get(nic_port[0], NULL), 1);
	CHECK_EQ(rte_eth_dev_default_mac_addr_set(
			 nic_port[1], &(struct rte_ether_addr){{2, 0, 0, 0, 0, 7}}),
		0);
	nic_down();
}

static void commands_and_bad_arguments(void)
{
	char out[8192];
	struct rule r;

	nic_up(STEP);
	CHECK_EQ(net_emu_command(nic, "set nonsense 1", out, sizeof(out)), -ENOENT);
	CHECK_EQ(net_emu_command(nic, "dance", out, sizeof(out)), -EINVAL);
	CHECK_EQ(net_emu_command(nic, "link 9 up", out, sizeof(out)), -ENODEV);
	CHECK_EQ(net_emu_command(nic, "get", out, sizeof(out)), 0);
	CHECK_HAS(out, "cap 4194304");
	rule_nth(&r, 7);
	REQUIRE(rule_create(0, &r) != NULL);
	CHECK_EQ(net_emu_command(nic, "rules", out, sizeof(out)), 0);
	CHECK_HAS(out, "transfer group 0 priority 0 match in ");
	CHECK_HAS(out, "src 10.1.0.1 dst 10.96.0.10");
	CHECK_HAS(out, "sport 7 dport 0 actions count represented_port");
	CHECK_EQ(net_emu_command(nic, "counters", out, sizeof(out)), 0);
	CHECK_HAS(out, "rules 1\n");
	nic_down();
	CHECK_NE(rte_vdev_init(NIC_NAME, "profile=nosuch"), 0);
	CHECK_NE(rte_vdev_init(NIC_NAME, "cap=many"), 0);
	CHECK_NE(rte_vdev_init(NIC_NAME, "color=red"), 0);
	CHECK_NE(rte_vdev_init(NIC_NAME, "representor=vf[0-15]"), 0);
	CHECK_EQ(rte_eth_dev_count_avail(), 0);
}

TEST_SUITE("net_emu_faults", CASE(capacity_and_each_hundredth_fails),
	CASE(creates_fail_by_number_and_errno), CASE(a_destroy_that_fails_leaves_the_rule),
	CASE(handles_that_are_gone_are_counted), CASE(accepted_and_never_hit),
	CASE(calls_take_virtual_time), CASE(counters_are_stale_and_never_fall),
	CASE(a_query_can_reset), CASE(rules_age_and_an_event_can_be_lost),
	CASE(the_link_goes_down_and_up), CASE(the_device_is_pulled_out_under_load),
	CASE(rules_go_with_their_port), CASE(what_the_ports_say_of_themselves),
	CASE(commands_and_bad_arguments))
