/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Encapsulation, decapsulation and VLAN tags, both families outside and inside. */

#include "net_emu/nic_lab.h"

#define STEP "representor=vf[0-1],step=1,stale_ms=0"
#define VNI  0x123456u

static const uint8_t outer_macs[12] = {0x02, 0xbb, 0, 0, 0, 2, 0x02, 0xaa, 0, 0, 0, 1};

static const struct frame_spec inner_specs[] = {
	{.proto = IPPROTO_TCP,
		.src = "10.1.0.1",
		.dst = "10.2.0.2",
		.sport = 40000,
		.dport = 80,
		.payload = 99},
	{.v6 = true,
		.proto = IPPROTO_UDP,
		.src = "fd00:1::1",
		.dst = "fd00:2::2",
		.sport = 40000,
		.dport = 80,
		.payload = 99},
};

/* Ethernet, IP, UDP and VXLAN headers as they are to stand before a frame of len bytes. */
static size_t outer_build(uint8_t *out, bool v6, uint16_t sport, size_t len)
{
	struct frame_spec s = {.v6 = v6,
		.proto = IPPROTO_UDP,
		.no_csum = true,
		.src = v6 ? "fd00:f::1" : "192.0.2.1",
		.dst = v6 ? "fd00:f::2" : "192.0.2.2",
		.sport = sport,
		.dport = 4789,
		.payload = (uint16_t)(8 + len)};
	struct frame f;
	size_t n;

	frame_build(&f, &s);
	memcpy(f.data, outer_macs, 12);
	n = f.l4 + 8u;
	memcpy(out, f.data, n);
	memcpy(out + n, (const uint8_t[]){8, 0, 0, 0, 0x12, 0x34, 0x56, 0}, 8);
	return n + 8;
}

static void act_vxlan_encap(struct rule *r, bool v6, struct rte_flow_item *def, union conf *spec)
{
	uint8_t header[128];

	outer_build(header, v6, 0, 0);
	memset(spec, 0, 5 * sizeof(*spec));
	memset(def, 0, 5 * sizeof(*def));
	memcpy(&spec[0], header, 12);
	if (v6) {
		memcpy((void *)&spec[1].ipv6.hdr.src_addr, header + 22, 32);
		spec[1].ipv6.hdr.hop_limits = 64;
	} else {
		memcpy(&spec[1].ipv4.hdr.src_addr, header + 26, 8);
	}
	spec[2].udp.hdr.dst_port = htons(4789);
	spec[3].vxlan.hdr.vx_vni = htonl(VNI << 8);
	def[0].type = RTE_FLOW_ITEM_TYPE_ETH;
	def[1].type = v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4;
	def[2].type = RTE_FLOW_ITEM_TYPE_UDP;
	def[3].type = RTE_FLOW_ITEM_TYPE_VXLAN;
	for (unsigned i = 0; i < 4; i++)
		def[i].spec = &spec[i];
	def[4].type = RTE_FLOW_ITEM_TYPE_END;
	ACTION_OF(r, VXLAN_ENCAP, (struct rte_flow_action_vxlan_encap){.definition = def});
}

/* got = outer headers + inner, whatever the entropy of the source port. */
static void check_encapsulated(const struct frame *got, const struct frame *inner, bool v6)
{
	uint8_t want[FRAME_ROOM];
	size_t at = v6 ? 54 : 34, n;
	uint16_t sport = (uint16_t)(got->data[at] << 8 | got->data[at + 1]);

	CHECK_GE(sport, 0xc000);
	n = outer_build(want, v6, sport, inner->len);
	memcpy(want + n, inner->data, inner->len);
	CHECK_EQ(got->len, n + inner->len);
	/* The IPv4 identification is free: no fragments are made. */
	CHECK_MEM(got->data, want, n + inner->len);
}

static void encapsulates(bool raw)
{
	uint16_t sports[2];

	nic_up(STEP);
	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned i = 0; i < 2; i++) {
			struct rte_flow_item def[5];
			union conf spec[5];
			uint8_t header[128];
			struct rte_flow_action_raw_encap conf = {.data = header};
			struct frame in, got;
			struct rte_flow *flow;
			struct rule r;

			rule_init(&r, true);
			rule_in(&r, 0);
			rule_flow(&r, &inner_specs[i], 0, 0x07);
			act_ttl(&r, 63);
			conf.size = outer_build(header, v6, 0, 0);
			if (raw)
				ACTION_OF(&r, RAW_ENCAP, conf);
			else
				act_vxlan_encap(&r, v6, def, spec);
			act_out(&r, 1);
			flow = rule_create(0, &r);
			REQUIRE(flow != NULL);
			frame_build(&in, &inner_specs[i]);
			CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
			in.data[i == 0 ? 22 : 21] = 63;
			frame_fix(in.data, in.len, 14);
			check_encapsulated(&got, &in, v6);
			memcpy(&sports[i], got.data + (v6 ? 54 : 34), 2);
			CHECK_EQ(rule_destroy(0, flow), 0);
		}
	CHECK_NE(sports[0], sports[1]);
	nic_down();
}

static void vxlan_encapsulates(void)
{
	encapsulates(false);
}

static void raw_headers_encapsulate(void)
{
	encapsulates(true);
}

static void vxlan_is_matched_and_taken_off(void)
{
	nic_up(STEP);
	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned i = 0; i < 2; i++) {
			struct frame inner, in = {0}, got;
			struct rte_flow *flow;
			struct rule r;
			unsigned n;
			size_t len;

			frame_build(&inner, &inner_specs[i]);
			len = outer_build(in.data, v6, 50000, inner.len);
			memcpy(in.data + len, inner.data, inner.len);
			in.len = (uint16_t)(len + inner.len);

			rule_init(&r, true);
			rule_in(&r, 0);
			rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
			rule_item(&r, v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4);
			rule_item(&r, RTE_FLOW_ITEM_TYPE_UDP);
			n = rule_item(&r, RTE_FLOW_ITEM_TYPE_VXLAN);
			r.spec[n].vxlan.hdr.vx_vni = htonl(VNI << 8);
			r.mask[n].vxlan.hdr.vx_vni = htonl(0xffffff00);
			rule_flow(&r, &inner_specs[i], 64, 0x07);
			ACTION(&r, VXLAN_DECAP);
			act_tp(&r, false, 8080);
			act_ttl(&r, 63);
			act_out(&r, 1);
			flow = rule_create(0, &r);
			REQUIRE(flow != NULL);
			CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
			inner.data[i == 0 ? 22 : 21] = 63;
			inner.data[inner.l4 + 2] = 8080 >> 8;
			inner.data[inner.l4 + 3] = 8080 & 0xff;
			frame_fix(inner.data, inner.len, 14);
			CHECK_EQ(got.len, inner.len);
			CHECK_MEM(got.data, inner.data, inner.len);
			/* Another VNI. */
			in.data[len - 2] ^= 1;
			CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
			/* A FIN inside. */
			in.data[len - 2] ^= 1;
			if (i == 0) {
				in.data[len + inner.l4 + 13] |= 1;
				CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
			}
			CHECK_EQ(rule_destroy(0, flow), 0);
		}
	nic_down();
}

static void raw_headers_are_taken_off(void)
{
	struct rte_flow_action_raw_decap conf;
	struct frame inner, in = {0}, got;
	struct rule r;
	size_t len;

	nic_up(STEP);
	frame_build(&inner, &inner_specs[0]);
	len = outer_build(in.data, false, 50000, inner.len);
	memcpy(in.data + len, inner.data, inner.len);
	in.len = (uint16_t)(len + inner.len);
	conf = (struct rte_flow_action_raw_decap){.size = len};
	rule_init(&r, true);
	rule_in(&r, 0);
	rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
	rule_item(&r, RTE_FLOW_ITEM_TYPE_IPV4);
	ACTION_OF(&r, RAW_DECAP, conf);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	CHECK_EQ(got.len, inner.len);
	CHECK_MEM(got.data, inner.data, inner.len);
	nic_down();
}

static void tags_are_pushed_matched_and_popped(void)
{
	nic_up(STEP);
	for (unsigned i = 0; i < 2; i++) {
		struct frame_spec tagged_spec = inner_specs[i];
		struct frame plain, tagged, got;
		struct rule r;
		unsigned n;

		tagged_spec.tagged = true;
		tagged_spec.vlan = 0x6123; /* priority 3, id 0x123 */
		frame_build(&plain, &inner_specs[i]);
		frame_build(&tagged, &tagged_spec);
		rule_init(&r, true);
		rule_in(&r, 0);
		n = rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
		r.mask[n].eth.has_vlan = 1;
		r.mask[n].eth.hdr.ether_type = UINT16_MAX;
		r.spec[n].eth.hdr.ether_type = htons(i == 0 ? 0x0800 : 0x86dd);
		ACTION_OF(&r, OF_PUSH_VLAN,
			(struct rte_flow_action_of_push_vlan){.ethertype = htons(0x8100)});
		ACTION_OF(&r, OF_SET_VLAN_VID,
			(struct rte_flow_action_of_set_vlan_vid){.vlan_vid = htons(0x123)});
		ACTION_OF(&r, OF_SET_VLAN_PCP,
			(struct rte_flow_action_of_set_vlan_pcp){.vlan_pcp = 3});
		act_out(&r, 1);
		REQUIRE(rule_create(0, &r) != NULL);
		CHECK_EQ(nic_pass(0, 1, &plain, &got), TO_WIRE);
		CHECK_EQ(got.len, tagged.len);
		CHECK_MEM(got.data, tagged.data, tagged.len);
		/* It is for untagged frames alone. */
		CHECK_EQ(nic_pass(0, 1, &tagged, &got), TO_CPU);

		rule_init(&r, true);
		rule_in(&r, 1);
		rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
		n = rule_item(&r, RTE_FLOW_ITEM_TYPE_VLAN);
		r.spec[n].vlan.hdr.vlan_tci = htons(0x123);
		r.mask[n].vlan.hdr.vlan_tci = htons(0xfff);
		ACTION(&r, OF_POP_VLAN);
		act_out(&r, 0);
		REQUIRE(rule_create(0, &r) != NULL);
		CHECK_EQ(nic_pass(1, 0, &tagged, &got), TO_WIRE);
		CHECK_EQ(got.len, plain.len);
		CHECK_MEM(got.data, plain.data, plain.len);
		CHECK_EQ(nic_pass(1, 0, &plain, &got), TO_CPU);
		tagged.data[15] ^= 1;
		CHECK_EQ(nic_pass(1, 0, &tagged, &got), TO_CPU);
		CHECK_EQ(rte_flow_flush(nic_port[0], &rule_error), 0);
	}
	nic_down();
}

TEST_SUITE("net_emu_tunnels", CASE(vxlan_encapsulates), CASE(raw_headers_encapsulate),
	CASE(vxlan_is_matched_and_taken_off), CASE(raw_headers_are_taken_off),
	CASE(tags_are_pushed_matched_and_popped))
