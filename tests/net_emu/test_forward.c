/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The emulated NIC forwards what its rules say, exactly, and nothing else. */

#include <pthread.h>
#include <stdatomic.h>

#include "net_emu/nic_lab.h"

#define STEP        "representor=vf[0-1],step=1,stale_ms=0"
#define FIN         0x01
#define SYN         0x02
#define RST         0x04
#define ACK         0x10
#define FIN_SYN_RST 0x07

static const uint8_t router_mac[6] = {0x02, 0xaa, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {0x02, 0xbb, 0, 0, 0, 2};

/* DNAT with source port change, routed: from the uplink to the first representor. */
static void nat_rule(struct rule *r, const struct frame_spec *from, const struct frame_spec *to)
{
	rule_init(r, true);
	rule_in(r, 0);
	rule_flow(r, from, 64, FIN_SYN_RST);
	ACTION(r, COUNT);
	act_mac(r, true, router_mac);
	act_mac(r, false, peer_mac);
	act_ip(r, true, to->src);
	act_ip(r, false, to->dst);
	act_tp(r, true, to->sport);
	act_tp(r, false, to->dport);
	act_ttl(r, 63);
	act_out(r, 1);
}

static void set_macs(struct frame *f)
{
	memcpy(f->data, peer_mac, 6);
	memcpy(f->data + 6, router_mac, 6);
}

static const struct nat_case {
	struct frame_spec from, to;
} nat_cases[] = {
	{{.proto = IPPROTO_TCP,
		 .src = "10.1.0.1",
		 .dst = "10.96.0.10",
		 .sport = 40000,
		 .dport = 80,
		 .payload = 100},
		{.src = "192.0.2.10", .dst = "10.2.0.2", .sport = 50000, .dport = 8080}},
	{{.proto = IPPROTO_UDP,
		 .src = "10.1.0.1",
		 .dst = "10.96.0.10",
		 .sport = 40000,
		 .dport = 53,
		 .payload = 33},
		{.src = "192.0.2.10", .dst = "10.2.0.2", .sport = 50000, .dport = 5353}},
	{{.proto = IPPROTO_UDP,
		 .no_csum = true,
		 .src = "10.1.0.1",
		 .dst = "10.96.0.10",
		 .sport = 40000,
		 .dport = 53,
		 .payload = 33},
		{.src = "192.0.2.10", .dst = "10.2.0.2", .sport = 50000, .dport = 5353}},
	{{.v6 = true,
		 .proto = IPPROTO_TCP,
		 .src = "fd00::1",
		 .dst = "fd00:96::10",
		 .sport = 40000,
		 .dport = 80,
		 .payload = 100},
		{.src = "2001:db8::10", .dst = "fd00:2::2", .sport = 50000, .dport = 8080}},
	{{.v6 = true,
		 .proto = IPPROTO_UDP,
		 .src = "fd00::1",
		 .dst = "fd00:96::10",
		 .sport = 40000,
		 .dport = 53,
		 .payload = 33},
		{.src = "2001:db8::10", .dst = "fd00:2::2", .sport = 50000, .dport = 5353}},
};

#define NAT_CASES (sizeof(nat_cases) / sizeof(nat_cases[0]))

static struct frame_spec translated(const struct nat_case *c)
{
	struct frame_spec s = c->from;

	s.src = c->to.src;
	s.dst = c->to.dst;
	s.sport = c->to.sport;
	s.dport = c->to.dport;
	s.ttl = 63;
	return s;
}

static void a_rule_forwards_and_rewrites(void)
{
	nic_up(STEP);
	for (unsigned i = 0; i < NAT_CASES; i++) {
		struct frame_spec after = translated(&nat_cases[i]);
		struct frame in, want, got;
		struct rte_flow *flow;
		uint64_t hits, bytes;
		struct rule r;

		frame_build(&in, &nat_cases[i].from);
		frame_build(&want, &after);
		set_macs(&want);
		CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
		CHECK_MEM(got.data, in.data, in.len);

		nat_rule(&r, &nat_cases[i].from, &after);
		CHECK_EQ(rule_validate(0, &r), 0);
		flow = rule_create(0, &r);
		REQUIRE(flow != NULL);
		for (unsigned n = 1; n <= 3; n++) {
			CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
			CHECK_EQ(got.len, want.len);
			CHECK_MEM(got.data, want.data, want.len);
			CHECK(frame_right(got.data, got.len, 14));
			CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
			CHECK_EQ(hits, n);
			CHECK_EQ(bytes, (uint64_t)n * in.len);
		}
		/* The same frame from another port is another flow. */
		CHECK_EQ(nic_pass(2, 1, &in, &got), TO_CPU);
		CHECK_EQ(rule_destroy(0, flow), 0);
		CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
	}
	nic_balanced();
	CHECK_EQ(nic_counters().rules, 0);
	nic_down();
}

static void wrong_checksums_stay_wrong(void)
{
	nic_up(STEP);
	for (unsigned i = 0; i < NAT_CASES; i++) {
		struct frame_spec after = translated(&nat_cases[i]);
		struct frame in, got;
		struct rte_flow *flow;
		struct rule r;

		if (nat_cases[i].from.no_csum)
			continue;
		nat_rule(&r, &nat_cases[i].from, &after);
		flow = rule_create(0, &r);
		REQUIRE(flow != NULL);
		frame_build(&in, &nat_cases[i].from);
		in.data[in.end - 1] ^= 0x40;
		CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
		CHECK(!frame_right(got.data, got.len, 14));
		CHECK_EQ(rule_destroy(0, flow), 0);
	}
	nic_down();
}

/* Frames of an offloaded flow that software must see. */
static void exceptions_reach_software(void)
{
	const struct {
		uint8_t flags, ttl;
		bool more;
		uint16_t frag_off;
	} odd[] = {
		{.flags = SYN},
		{.flags = SYN | ACK},
		{.flags = FIN | ACK},
		{.flags = RST},
		{.ttl = 63},
		{.ttl = 1},
		{.more = true},
		{.frag_off = 1480},
	};

	nic_up(STEP);
	for (unsigned i = 0; i < NAT_CASES; i++) {
		struct frame_spec after = translated(&nat_cases[i]), s;
		struct frame in, got;
		struct rte_flow *flow;
		struct rule r;

		nat_rule(&r, &nat_cases[i].from, &after);
		flow = rule_create(0, &r);
		REQUIRE(flow != NULL);
		for (unsigned k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
			if (odd[k].flags != 0 && nat_cases[i].from.proto != IPPROTO_TCP)
				continue;
			s = nat_cases[i].from;
			s.tcp_flags = odd[k].flags;
			s.ttl = odd[k].ttl;
			s.more = odd[k].more;
			s.frag_off = odd[k].frag_off;
			if (s.v6 && (s.more || s.frag_off != 0))
				s.ext = "f";
			frame_build(&in, &s);
			CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
			CHECK_MEM(got.data, in.data, in.len);
		}
		CHECK_EQ(rule_destroy(0, flow), 0);
	}
	CHECK_EQ(nic_counters().forwarded, 0);
	nic_balanced();
	nic_down();
}

static void dec_ttl_leaves_the_last_hop_to_software(void)
{
	struct frame_spec s = nat_cases[0].from;
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_flow(&r, &s, 0, FIN_SYN_RST);
	ACTION(&r, DEC_TTL);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	CHECK_EQ(got.data[22], 63);
	CHECK(frame_right(got.data, got.len, 14));
	s.ttl = 1;
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
	CHECK_EQ(nic_counters().ttl_misses, 1);
	nic_down();
}

static void what_the_out_port_cannot_carry_is_dropped(void)
{
	struct frame_spec s = nat_cases[0].from;
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_flow(&r, &s, 0, 0);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	CHECK_EQ(rte_eth_dev_set_mtu(nic_port[1], 1280), 0);
	s.payload = 1280 - 40;
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	s.payload++;
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 1, &in, &got), NOWHERE);
	CHECK_EQ(nic_counters().mtu_drops, 1);
	CHECK_EQ(net_emu_command(nic, "link 1 down", NULL, 0), 0);
	s.payload = 10;
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 1, &in, &got), NOWHERE);
	CHECK_EQ(nic_counters().error_drops, 1);
	nic_balanced();
	nic_down();
}

static void software_sends_to_the_wire(void)
{
	struct frame in, got;
	struct rte_mbuf *m;

	nic_up(STEP);
	frame_build(&in, &nat_cases[0].from);
	m = rte_pktmbuf_alloc(nic_pool);
	REQUIRE(m != NULL);
	memcpy(rte_pktmbuf_append(m, in.len), in.data, in.len);
	CHECK_EQ(rte_eth_tx_burst(nic_port[2], 0, &m, 1), 1);
	CHECK(!wire_recv(2, &got));
	CHECK_EQ(net_emu_step(nic, 1, 0), 1);
	CHECK(wire_recv(2, &got));
	CHECK_MEM(got.data, in.data, in.len);
	nic_down();
}

/* Many partial masks at once, as foreign programs make them; the lowest priority number wins. */
static void masks_and_priorities(void)
{
	struct frame_spec s = nat_cases[1].from;
	struct rte_flow *net;
	struct frame in, got;
	struct rule r;
	unsigned i;

	nic_up(STEP);
	/* 10.96.0.0/16 to port 2, with priority 5. */
	rule_init(&r, true);
	r.attr.priority = 5;
	rule_in(&r, 0);
	rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
	i = rule_item(&r, RTE_FLOW_ITEM_TYPE_IPV4);
	r.spec[i].ipv4.hdr.dst_addr = inet_addr("10.96.0.0");
	r.mask[i].ipv4.hdr.dst_addr = inet_addr("255.255.0.0");
	act_out(&r, 2);
	net = rule_create(0, &r);
	REQUIRE(net != NULL);
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 2, &in, &got), TO_WIRE);
	/* The flow itself to port 1, with priority 1. */
	rule_init(&r, true);
	r.attr.priority = 1;
	rule_in(&r, 0);
	rule_flow(&r, &s, 0, 0);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	s.sport++;
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 2, &in, &got), TO_WIRE);
	/* Everything is dropped, with priority 0. */
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
	ACTION(&r, DROP);
	REQUIRE(rule_create(0, &r) != NULL);
	CHECK_EQ(nic_pass(0, 2, &in, &got), NOWHERE);
	CHECK_EQ(nic_counters().rule_drops, 1);
	CHECK_EQ(rte_flow_flush(nic_port[0], &rule_error), 0);
	CHECK_EQ(nic_counters().rules, 0);
	CHECK_EQ(nic_pass(0, 2, &in, &got), TO_CPU);
	nic_balanced();
	nic_down();
}

static void a_jump_goes_on_in_a_group(void)
{
	struct frame_spec s = nat_cases[0].from;
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
	ACTION_OF(&r, JUMP, (struct rte_flow_action_jump){.group = 1});
	REQUIRE(rule_create(0, &r) != NULL);
	frame_build(&in, &s);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
	rule_init(&r, true);
	r.attr.group = 1;
	rule_in(&r, 0);
	rule_flow(&r, &s, 64, FIN_SYN_RST);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	/* Group 1 alone is not looked at by frames that did not jump. */
	CHECK_EQ(nic_pass(2, 1, &in, &got), TO_CPU);
	nic_down();
}

/* --- partial offload ----------------------------------------------------------------------------
 */

static void marks_and_queues(void)
{
	struct frame_spec s = nat_cases[0].from;
	struct rte_mbuf m;
	struct frame in, got;
	struct rule r;

	nic_up(STEP);
	frame_build(&in, &s);
	for (uint16_t q = 0; q < NIC_QUEUES; q++) {
		struct rte_flow *flow;

		rule_init(&r, false);
		rule_flow(&r, &s, 0, 0);
		ACTION_OF(&r, MARK, (struct rte_flow_action_mark){.id = 7u + q});
		ACTION(&r, COUNT);
		ACTION_OF(&r, QUEUE, (struct rte_flow_action_queue){.index = q});
		flow = rule_create(0, &r);
		REQUIRE(flow != NULL);
		wire_send(0, &in);
		net_emu_step(nic, 64, 0);
		CHECK_EQ(cpu_recv(0, &got, &m), q);
		CHECK((m.ol_flags & RTE_MBUF_F_RX_FDIR_ID) != 0);
		CHECK_EQ(m.hash.fdir.hi, 7u + q);
		CHECK_EQ(m.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, RTE_MBUF_F_RX_IP_CKSUM_GOOD);
		CHECK_EQ(m.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
		CHECK_MEM(got.data, in.data, in.len);
		CHECK_EQ(rule_destroy(0, flow), 0);
	}
	in.data[in.end - 1] ^= 1;
	wire_send(0, &in);
	net_emu_step(nic, 64, 0);
	CHECK(cpu_recv(0, &got, &m) >= 0);
	CHECK((m.ol_flags & RTE_MBUF_F_RX_FDIR_ID) == 0);
	CHECK_EQ(m.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_BAD);
	nic_down();
}

/* --- wires --------------------------------------------------------------------------------------
 */

/* Another ethdev as a wire: net_ring gives back what it is sent. */
static void another_ethdev_is_a_wire(void)
{
	struct frame_spec s = nat_cases[0].from;
	struct frame in, got;
	uint16_t wire, id;
	struct rule r;
	unsigned seen = 0;

	eal_up();
	REQUIRE_EQ(rte_vdev_init("net_ring_wire", NULL), 0);
	REQUIRE_EQ(rte_eth_dev_get_port_by_name("net_ring_wire", &wire), 0);
	nic_up(STEP ",wire1=net_ring_wire");
	RTE_ETH_FOREACH_DEV (id)
		seen += id == wire;
	CHECK_EQ(seen, 0);
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_flow(&r, &s, 0, 0);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	frame_build(&in, &s);
	wire_send(0, &in);
	net_emu_step(nic, 1, 0);
	CHECK_EQ(nic_counters().forwarded, 1);
	/* It comes back on port 1, where no rule is. */
	net_emu_step(nic, 1, 0);
	CHECK(cpu_recv(1, &got, NULL) >= 0);
	CHECK_MEM(got.data, in.data, in.len);
	nic_down();
	CHECK_EQ(rte_vdev_uninit("net_ring_wire"), 0);
	/* A wire that does not exist keeps the port from starting. */
	REQUIRE_EQ(rte_vdev_init(NIC_NAME, "wire=nosuch"), 0);
	id = (uint16_t)net_emu_ethdev(net_emu_find(NIC_NAME), 0);
	CHECK_EQ(port_up(id), 0);
	CHECK_EQ(rte_eth_dev_start(id), -ENODEV);
	CHECK_EQ(rte_vdev_uninit(NIC_NAME), 0);
}

/* --- the e-switch's own thread ------------------------------------------------------------------
 */

#define MANY 20000

static bool wire_send_soon(const struct frame *f)
{
	uint64_t end = now_ns() + WAIT_S * UINT64_C(1000000000);
	int rc;

	while ((rc = net_emu_wire_send(nic, 0, f->data, f->len)) == -ENOBUFS && now_ns() < end)
		usleep(50);
	return rc == 0;
}

static void the_thread_forwards_and_the_program_sees_nothing(void)
{
	struct frame_spec after = translated(&nat_cases[0]);
	struct frame in, want, got;
	struct rte_flow *flow;
	uint64_t hits, bytes, end;
	unsigned wrong = 0, came = 0;
	struct rule r;

	nic_up("representor=vf[0-1],stale_ms=0");
	nat_rule(&r, &nat_cases[0].from, &after);
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	frame_build(&in, &nat_cases[0].from);
	frame_build(&want, &after);
	set_macs(&want);
	end = now_ns() + WAIT_S * UINT64_C(1000000000);
	for (unsigned sent = 0; came < MANY && now_ns() < end;) {
		if (sent < MANY && sent - came < 1000) {
			CHECK(wire_send_soon(&in));
			sent++;
		}
		while (wire_recv(1, &got)) {
			wrong += got.len != want.len || memcmp(got.data, want.data, want.len) != 0;
			came++;
		}
	}
	CHECK_EQ(came, MANY);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(cpu_recv(0, &got, NULL), -1);
	CHECK_EQ(rule_query(0, flow, &hits, &bytes), 0);
	CHECK_EQ(hits, MANY);
	CHECK_EQ(bytes, (uint64_t)MANY * in.len);
	nic_down();
}

/* The wire's transmit callback runs inside of an e-switch round and holds it there. */
static _Atomic bool inside, release, destroyed;
static struct rte_flow *doomed;

static uint16_t hold(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, void *arg)
{
	inside = true;
	while (!release)
		usleep(100);
	return n;
}

static void *step_once(void *arg)
{
	net_emu_step(nic, 1, 0);
	return NULL;
}

static void *destroy_it(void *arg)
{
	struct rte_flow_error err;

	if (rte_flow_destroy(nic_port[0], doomed, &err) == 0)
		destroyed = true;
	return NULL;
}

static bool becomes(_Atomic bool *what, unsigned ms)
{
	uint64_t end = now_ns() + ms * UINT64_C(1000000);

	while (!*what && now_ns() < end)
		usleep(100);
	return *what;
}

/* When a destroy returns, the e-switch does not act by the rule any more: it waits for the round
 * that may have found it. */
static void a_destroy_is_a_barrier(void)
{
	struct frame in, got;
	pthread_t step, destroy;
	uint16_t wire;
	uint64_t end;
	struct rule r;

	eal_up();
	REQUIRE_EQ(rte_vdev_init("net_ring_hold", NULL), 0);
	REQUIRE_EQ(rte_eth_dev_get_port_by_name("net_ring_hold", &wire), 0);
	nic_up(STEP ",wire1=net_ring_hold");
	REQUIRE(rte_eth_add_tx_callback(wire, 0, hold, NULL) != NULL);
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_flow(&r, &nat_cases[0].from, 0, 0);
	act_out(&r, 1);
	doomed = rule_create(0, &r);
	REQUIRE(doomed != NULL);
	frame_build(&in, &nat_cases[0].from);
	wire_send(0, &in);
	REQUIRE_EQ(pthread_create(&step, NULL, step_once, NULL), 0);
	CHECK(becomes(&inside, WAIT_S * 1000));
	REQUIRE_EQ(pthread_create(&destroy, NULL, destroy_it, NULL), 0);
	end = now_ns() + WAIT_S * UINT64_C(1000000000);
	while (nic_counters().rules != 0 && now_ns() < end)
		usleep(100);
	CHECK_EQ(nic_counters().rules, 0);
	CHECK(!becomes(&destroyed, 50));
	release = true;
	CHECK(becomes(&destroyed, WAIT_S * 1000));
	pthread_join(step, NULL);
	pthread_join(destroy, NULL);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
	while (cpu_recv(1, &got, NULL) >= 0)
		;
	CHECK_EQ(nic_counters().forwarded, 1);
	nic_down();
	CHECK_EQ(rte_vdev_uninit("net_ring_hold"), 0);
}

/* Rules come and go under the thread's hands. */
static void rules_churn_under_the_thread(void)
{
	struct frame_spec after = translated(&nat_cases[0]);
	uint64_t sent = 0, came = 0, end = now_ns() + WAIT_S * UINT64_C(1000000000);
	struct frame in, got;
	struct rule r;

	nic_up("representor=vf[0-1],stale_ms=0");
	nat_rule(&r, &nat_cases[0].from, &after);
	frame_build(&in, &nat_cases[0].from);
	for (unsigned n = 0; n < 300; n++) {
		struct rte_flow *flow = rule_create(0, &r);

		REQUIRE(flow != NULL);
		for (unsigned k = 0; k < 40; k++, sent++)
			CHECK(wire_send_soon(&in));
		while (nic_counters().wire_rx < sent - 40 + n % 30 && now_ns() < end)
			usleep(10);
		CHECK_EQ(rule_destroy(0, flow), 0);
		while (wire_recv(1, &got) || cpu_recv(0, &got, NULL) >= 0)
			came++;
	}
	while (came < sent && now_ns() < end)
		if (wire_recv(1, &got) || cpu_recv(0, &got, NULL) >= 0)
			came++;
	CHECK_EQ(came, sent);
	nic_balanced();
	nic_down();
}

TEST_SUITE("net_emu_forward", CASE(a_rule_forwards_and_rewrites), CASE(wrong_checksums_stay_wrong),
	CASE(exceptions_reach_software), CASE(dec_ttl_leaves_the_last_hop_to_software),
	CASE(what_the_out_port_cannot_carry_is_dropped), CASE(software_sends_to_the_wire),
	CASE(masks_and_priorities), CASE(a_jump_goes_on_in_a_group), CASE(marks_and_queues),
	CASE(another_ethdev_is_a_wire), CASE(the_thread_forwards_and_the_program_sees_nothing),
	CASE(a_destroy_is_a_barrier), CASE(rules_churn_under_the_thread))
