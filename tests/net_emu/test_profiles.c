/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Each profile takes and refuses what its driver does, with the same errno and error type. */

#include "net_emu/nic_lab.h"

#define OK        0, 0
#define ATTR(x)   RTE_FLOW_ERROR_TYPE_ATTR_##x
#define ITEM      RTE_FLOW_ERROR_TYPE_ITEM
#define ITEM_MASK RTE_FLOW_ERROR_TYPE_ITEM_MASK
#define ACTION_E  RTE_FLOW_ERROR_TYPE_ACTION
#define CONF_E    RTE_FLOW_ERROR_TYPE_ACTION_CONF

static const struct frame_spec v4 = {
	.proto = IPPROTO_TCP, .src = "10.1.0.1", .dst = "10.96.0.10", .sport = 40000, .dport = 80};
static const struct frame_spec v6 = {.v6 = true,
	.proto = IPPROTO_TCP,
	.src = "fd00::1",
	.dst = "fd00:96::10",
	.sport = 40000,
	.dport = 80};

static void profile_up(const char *profile)
{
	char args[128];

	snprintf(args, sizeof(args), "representor=vf[0-1],step=1,stale_ms=0,profile=%s", profile);
	nic_up(args);
}

/* --- shapes -------------------------------------------------------------------------------------
 */

enum shape {
	NAT4,    /* TCP flags, SET_IPV4, SET_TP, SET_TTL, REPRESENTED_PORT item and action */
	NAT4_ID, /* the same with PORT_ID */
	NAT6_ID,
	NAT4_DEC, /* with DEC_TTL */
	MODIFY4,  /* with MODIFY_FIELD */
	SWITCH,   /* no change */
	MAC_DEC,  /* MACs, destination first, and DEC_TTL */
	MARK_QUEUE,
	SHAPES
};

static const char *const shape_names[SHAPES] = {
	"NAT4", "NAT4_ID", "NAT6_ID", "NAT4_DEC", "MODIFY4", "SWITCH", "MAC_DEC", "MARK_QUEUE"};

static void modify(struct rule *r, enum rte_flow_field_id field, const void *value, uint32_t bits)
{
	struct rte_flow_action_modify_field m = {.operation = RTE_FLOW_MODIFY_SET,
		.dst.field = field,
		.src.field = RTE_FLOW_FIELD_VALUE,
		.width = bits};

	memcpy(m.src.value, value, bits / 8);
	ACTION_OF(r, MODIFY_FIELD, m);
}

static void shape_build(struct rule *r, enum shape shape)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
	bool port_id = shape == NAT4_ID || shape == NAT6_ID;
	const struct frame_spec *s = shape == NAT6_ID ? &v6 : &v4;

	rule_init(r, shape != MARK_QUEUE);
	if (port_id)
		rule_in_port_id(r, 0);
	else if (shape != MARK_QUEUE)
		rule_in(r, 0);
	rule_flow(r, s, shape == NAT4 || port_id ? 64 : 0, shape == MARK_QUEUE ? 0 : 0x07);
	if (shape == MARK_QUEUE) {
		ACTION_OF(r, MARK, (struct rte_flow_action_mark){.id = 5});
		ACTION_OF(r, QUEUE, (struct rte_flow_action_queue){.index = 1});
		return;
	}
	ACTION(r, COUNT);
	if (shape == MAC_DEC) {
		act_mac(r, false, mac);
		act_mac(r, true, mac);
		ACTION(r, DEC_TTL);
	}
	if (shape == MODIFY4) {
		modify(r, RTE_FLOW_FIELD_IPV4_DST, (const uint8_t[]){10, 2, 0, 2}, 32);
		modify(r, RTE_FLOW_FIELD_TCP_PORT_DST, (const uint8_t[]){0x1f, 0x90}, 16);
	}
	if (shape <= NAT4_DEC) {
		act_ip(r, false, s->v6 ? "fd00:2::2" : "10.2.0.2");
		act_tp(r, false, 8080);
		if (shape == NAT4_DEC)
			ACTION(r, DEC_TTL);
		else
			act_ttl(r, 63);
	}
	if (port_id)
		act_out_port_id(r, 1);
	else
		act_out(r, 1);
}

/* What a profile says to each shape: errno and error type, 0 for accepted. */
static const struct {
	const char *profile;
	struct {
		int error;
		enum rte_flow_error_type type;
	} of[SHAPES];
} shapes[] = {
	{"mlx5-sws", {{OK}, {OK}, {OK}, {OK}, {OK}, {OK}, {OK}, {OK}}},
	{"mlx5-hws", {{OK}, {OK}, {OK}, {OK}, {OK}, {OK}, {OK}, {OK}}},
	{"nfp",
		{{ENOTSUP, ITEM}, {OK}, {OK}, {ENOTSUP, ITEM}, {ENOTSUP, ITEM}, {ENOTSUP, ITEM},
			{ENOTSUP, ITEM}, {ENOTSUP, ACTION_E}}},
	{"bnxt",
		{{ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}, {OK},
			{ENOTSUP, ACTION_E}, {OK}, {ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}}},
	{"sfc-22",
		{{ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E},
			{ENOTSUP, ACTION_E}, {OK}, {OK}, {OK}}},
	{"sfc-25",
		{{ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E}, {ENOTSUP, ACTION_E},
			{ENOTSUP, ACTION_E}, {OK}, {OK}, {OK}}},
	{"cnxk",
		{{ENOTSUP, ITEM_MASK}, {ENOTSUP, ITEM_MASK}, {ENOTSUP, ITEM_MASK},
			{ENOTSUP, ITEM_MASK}, {ENOTSUP, ITEM_MASK}, {ENOTSUP, ITEM_MASK},
			{ENOTSUP, ITEM_MASK}, {OK}}},
	{"ice",
		{{EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)},
			{EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)},
			{EINVAL, ATTR(INGRESS)}, {OK}}},
	{"i40e",
		{{EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)},
			{EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)}, {EINVAL, ATTR(INGRESS)},
			{EINVAL, ATTR(INGRESS)}, {OK}}},
	{"cxgbe-like",
		{{ENOTSUP, ITEM}, {ENOTSUP, ITEM}, {ENOTSUP, ITEM}, {ENOTSUP, ITEM},
			{ENOTSUP, ITEM}, {ENOTSUP, ITEM}, {ENOTSUP, ITEM}, {ENOTSUP, ACTION_E}}},
	{"tap-like",
		{{ENOTSUP, ATTR(INGRESS)}, {ENOTSUP, ATTR(INGRESS)}, {ENOTSUP, ATTR(INGRESS)},
			{ENOTSUP, ATTR(INGRESS)}, {ENOTSUP, ATTR(INGRESS)},
			{ENOTSUP, ATTR(INGRESS)}, {ENOTSUP, ATTR(INGRESS)}, {ENOTSUP, ACTION_E}}},
	{"none",
		{{ENOSYS, 1}, {ENOSYS, 1}, {ENOSYS, 1}, {ENOSYS, 1}, {ENOSYS, 1}, {ENOSYS, 1},
			{ENOSYS, 1}, {ENOSYS, 1}}},
};

static void each_profile_has_its_dialect(void)
{
	for (unsigned p = 0; p < sizeof(shapes) / sizeof(shapes[0]); p++) {
		profile_up(shapes[p].profile);
		for (enum shape s = 0; s < SHAPES; s++) {
			struct rte_flow *flow;
			struct rule r;
			int rc;

			shape_build(&r, s);
			rc = rule_validate(0, &r);
			CHECK_TEXT_(rc == -shapes[p].of[s].error &&
					(rc == 0 || rule_error.type == shapes[p].of[s].type),
				0, "%s %s: validate says %d, type %d: %s", shapes[p].profile,
				shape_names[s], rc, rule_error.type,
				rule_error.message ? rule_error.message : "");
			flow = rule_create(0, &r);
			CHECK_EQ(flow != NULL, shapes[p].of[s].error == 0);
			if (flow == NULL)
				CHECK_EQ(rte_errno, shapes[p].of[s].error);
			else
				CHECK_EQ(rule_destroy(0, flow), 0);
		}
		CHECK_EQ(nic_counters().rules, 0);
		nic_down();
	}
}

/* --- attributes ---------------------------------------------------------------------------------
 */

static void refused(unsigned port, const struct rule *r, int error, enum rte_flow_error_type type)
{
	int rc = rule_validate(port, r);

	CHECK_TEXT_(rc == -error && (error == 0 || rule_error.type == type), 0,
		"validate says %d type %d (%s), expected %d type %d", rc, rule_error.type,
		rule_error.message ? rule_error.message : "", -error, type);
}

static void attributes_are_checked(void)
{
	struct rule r;

	profile_up("mlx5-sws");
	shape_build(&r, SWITCH);
	r.attr.ingress = 1;
	refused(0, &r, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR);
	r.attr.ingress = r.attr.transfer = 0;
	refused(0, &r, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR);
	r.attr.egress = 1;
	refused(0, &r, ENOTSUP, ATTR(EGRESS));
	shape_build(&r, SWITCH);
	r.attr.group = UINT32_MAX;
	refused(0, &r, ENOTSUP, ATTR(GROUP));
	shape_build(&r, SWITCH);
	r.attr.priority = 16;
	refused(0, &r, ENOTSUP, ATTR(PRIORITY));
	/* In its dialect of OVS the in-port is the port of the call. */
	rule_init(&r, true);
	rule_flow(&r, &v4, 0, 0);
	act_out_port_id(&r, 0);
	refused(2, &r, 0, 0);
	nic_down();
	profile_up("sfc-22");
	shape_build(&r, SWITCH);
	r.attr.priority = 1;
	refused(0, &r, ENOTSUP, ATTR(PRIORITY));
	nic_down();
}

static void items_and_masks_are_refused_not_ignored(void)
{
	struct rule r;
	unsigned i;

	profile_up("mlx5-sws");
	shape_build(&r, SWITCH);
	r.items[1].type = RTE_FLOW_ITEM_TYPE_GTP;
	refused(0, &r, ENOTSUP, ITEM);
	shape_build(&r, SWITCH);
	r.mask[2].ipv4.hdr.packet_id = 1;
	refused(0, &r, ENOTSUP, ITEM_MASK);
	shape_build(&r, SWITCH);
	r.mask[2].ipv4.hdr.fragment_offset = htons(0x2000);
	refused(0, &r, ENOTSUP, ITEM_MASK);
	shape_build(&r, SWITCH);
	r.mask[3].tcp.hdr.sent_seq = 1;
	refused(0, &r, ENOTSUP, ITEM_MASK);
	shape_build(&r, SWITCH);
	r.spec[4].ipv4.hdr.src_addr = UINT32_MAX;
	r.items[2].last = &r.spec[4];
	refused(0, &r, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST);
	/* Layer 4 without layer 3. */
	rule_init(&r, true);
	rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
	i = rule_item(&r, RTE_FLOW_ITEM_TYPE_UDP);
	r.mask[i].udp.hdr.dst_port = UINT16_MAX;
	act_out(&r, 1);
	refused(0, &r, EINVAL, ITEM);
	/* A port of no NIC of ours. */
	shape_build(&r, SWITCH);
	r.spec[0].ethdev.port_id = 31;
	refused(0, &r, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC);
	nic_down();
}

static void which_tcp_flags_can_be_masked(void)
{
	static const struct {
		const char *profile;
		uint8_t flags;
	} most[] = {{"mlx5-sws", 0xff}, {"nfp", 0x2f}, {"sfc-25", 0xff}, {"ice", 0}, {"i40e", 0},
		{"cxgbe-like", 0}, {"cnxk", 0}};

	for (unsigned p = 0; p < sizeof(most) / sizeof(most[0]); p++) {
		profile_up(most[p].profile);
		for (unsigned bit = 0; bit < 8; bit++) {
			bool transfer = most[p].flags != 0;
			struct rule r;

			rule_init(&r, transfer);
			rule_flow(&r, &v4, 0, (uint8_t)(1u << bit));
			ACTION(&r, DROP);
			if (most[p].flags & 1u << bit)
				refused(0, &r, 0, 0);
			else
				refused(0, &r, ENOTSUP, ITEM_MASK);
		}
		nic_down();
	}
	profile_up("bnxt");
	nic_set("tcp_flags", 0);
	{
		struct rule r;

		shape_build(&r, NAT4_DEC);
		refused(0, &r, ENOTSUP, ITEM_MASK);
	}
	nic_down();
}

/* --- actions ------------------------------------------------------------------------------------
 */

static void order_and_completeness(void)
{
	static const uint8_t outer[50] = {0};
	struct rte_flow_action_raw_encap raw = {.data = (void *)(uintptr_t)outer, .size = 50};
	struct rule r;

	for (unsigned hws = 0; hws < 2; hws++) {
		profile_up(hws ? "mlx5-hws" : "mlx5-sws");
		/* No IP item for SET_IPV4. */
		rule_init(&r, true);
		rule_in(&r, 0);
		rule_item(&r, RTE_FLOW_ITEM_TYPE_ETH);
		act_ip(&r, true, "10.0.0.1");
		act_out(&r, 1);
		refused(0, &r, EINVAL, ACTION_E);
		/* The other family's. */
		shape_build(&r, SWITCH);
		r.n_actions = 0;
		act_ip(&r, true, "fd00::1");
		act_out(&r, 1);
		refused(0, &r, EINVAL, ACTION_E);
		/* No fate, two fates. */
		r.n_actions = 0;
		ACTION(&r, COUNT);
		refused(0, &r, EINVAL, ACTION_E);
		act_out(&r, 1);
		act_out(&r, 2);
		refused(0, &r, EINVAL, ACTION_E);
		/* A change after the encapsulation; two encapsulations. */
		r.n_actions = 0;
		ACTION_OF(&r, RAW_ENCAP, raw);
		act_ip(&r, true, "10.0.0.1");
		act_out(&r, 1);
		refused(0, &r, EINVAL, ACTION_E);
		r.n_actions = 0;
		ACTION_OF(&r, RAW_ENCAP, raw);
		ACTION_OF(&r, RAW_ENCAP, raw);
		act_out(&r, 1);
		refused(0, &r, EINVAL, ACTION_E);
		/* Counting last: only the fixed order forbids it. */
		r.n_actions = 0;
		act_ip(&r, true, "10.0.0.1");
		ACTION(&r, COUNT);
		act_out(&r, 1);
		refused(0, &r, hws ? EINVAL : 0, ACTION_E);
		/* An action that does not exist here. */
		r.n_actions = 0;
		ACTION(&r, DEC_TCP_SEQ);
		act_out(&r, 1);
		refused(0, &r, ENOTSUP, ACTION_E);
		nic_down();
	}
	/* sfc: the destination MAC first, tags after all changes. */
	profile_up("sfc-22");
	shape_build(&r, MAC_DEC);
	refused(0, &r, 0, 0);
	r.n_actions = 0;
	act_mac(&r, true, outer);
	act_mac(&r, false, outer);
	act_out(&r, 1);
	refused(0, &r, ENOTSUP, ACTION_E);
	r.n_actions = 0;
	ACTION_OF(&r, OF_PUSH_VLAN,
		(struct rte_flow_action_of_push_vlan){.ethertype = htons(0x8100)});
	ACTION(&r, DEC_TTL);
	act_out(&r, 1);
	refused(0, &r, ENOTSUP, ACTION_E);
	nic_down();
}

static void tunnels_of_representors_are_for_transfer_rules(void)
{
	static const uint8_t outer[50] = {0};
	struct rte_flow_action_raw_encap raw = {.data = (void *)(uintptr_t)outer, .size = 50};
	struct rule r;

	profile_up("mlx5-sws");
	rule_init(&r, false);
	rule_flow(&r, &v4, 0, 0);
	ACTION_OF(&r, RAW_ENCAP, raw);
	ACTION_OF(&r, QUEUE, (struct rte_flow_action_queue){.index = 0});
	refused(0, &r, 0, 0);
	refused(1, &r, ENOTSUP, ACTION_E);
	nic_down();
}

/* --- the same match twice -----------------------------------------------------------------------
 */

static void who_wins_of_two_equal_matches(void)
{
	static const struct {
		const char *profile;
		unsigned first, then; /* where it goes with both rules, and with the winner gone */
	} cases[] = {{"mlx5-sws", 1, 2}, {"mlx5-hws", 2, 1}, {"nfp", 1, 0}};

	for (unsigned c = 0; c < 3; c++) {
		struct rte_flow *rule[2];
		struct frame in, got;
		struct rule r;

		profile_up(cases[c].profile);
		frame_build(&in, &v4);
		for (unsigned i = 0; i < 2; i++) {
			rule_init(&r, true);
			rule_in_port_id(&r, 0);
			rule_flow(&r, &v4, 0, 0x07);
			act_out_port_id(&r, i + 1);
			rule[i] = rule_create(0, &r);
		}
		REQUIRE(rule[0] != NULL);
		CHECK_EQ(nic_pass(0, cases[c].first, &in, &got), TO_WIRE);
		if (cases[c].then == 0) {
			CHECK(rule[1] == NULL);
			CHECK_EQ(rule_error.type, RTE_FLOW_ERROR_TYPE_HANDLE);
			CHECK_EQ(rte_errno, EEXIST);
			CHECK_EQ(rule_destroy(0, rule[0]), 0);
		} else {
			REQUIRE(rule[1] != NULL);
			CHECK_EQ(rule_destroy(0, rule[cases[c].first - 1]), 0);
			CHECK_EQ(nic_pass(0, cases[c].then, &in, &got), TO_WIRE);
			CHECK_EQ(rule_destroy(0, rule[cases[c].then - 1]), 0);
		}
		CHECK_EQ(nic_pass(0, 1, &in, &got), TO_CPU);
		nic_down();
	}
}

/* Two matches that overlap, of one priority: any client to port 1, then one client to port 2. */
static void who_wins_of_two_overlapping_matches(void)
{
	struct frame in, got;
	struct rule r;

	for (unsigned hws = 0; hws < 2; hws++) {
		profile_up(hws ? "mlx5-hws" : "mlx5-sws");
		rule_init(&r, true);
		rule_in(&r, 0);
		rule_flow(&r, &v4, 0, 0);
		memset(&r.mask[2].ipv4.hdr.src_addr, 0, 4);
		memset(&r.spec[2].ipv4.hdr.src_addr, 0, 4);
		act_out(&r, 1);
		REQUIRE(rule_create(0, &r) != NULL);
		rule_init(&r, true);
		rule_in(&r, 0);
		rule_flow(&r, &v4, 0, 0);
		act_out(&r, 2);
		REQUIRE(rule_create(0, &r) != NULL);
		frame_build(&in, &v4);
		CHECK_EQ(nic_pass(0, hws ? 2 : 1, &in, &got), TO_WIRE);
		nic_down();
	}
}

/* --- mlx5 by hardware steering ------------------------------------------------------------------
 */

static void hws_transfer_is_the_proxys(void)
{
	uint16_t proxy = UINT16_MAX;
	struct frame in, got;
	struct rule r;

	profile_up("mlx5-hws");
	CHECK_EQ(rte_flow_pick_transfer_proxy(nic_port[2], &proxy, &rule_error), 0);
	CHECK_EQ(proxy, nic_port[0]);
	shape_build(&r, SWITCH);
	refused(1, &r, EPERM, ATTR(TRANSFER));
	/* On the proxy, no port item means every port. */
	rule_init(&r, true);
	rule_flow(&r, &v4, 0, 0);
	act_out(&r, 1);
	REQUIRE(rule_create(0, &r) != NULL);
	frame_build(&in, &v4);
	CHECK_EQ(nic_pass(0, 1, &in, &got), TO_WIRE);
	CHECK_EQ(nic_pass(2, 1, &in, &got), TO_WIRE);
	nic_down();
}

static void hws_stray_spec_bits_never_hit(void)
{
	struct frame in, got;
	struct rule r;

	for (unsigned hws = 0; hws < 2; hws++) {
		profile_up(hws ? "mlx5-hws" : "mlx5-sws");
		shape_build(&r, SWITCH);
		r.spec[2].ipv4.hdr.time_to_live = 64;
		r.mask[2].ipv4.hdr.time_to_live = 0;
		REQUIRE(rule_create(0, &r) != NULL);
		frame_build(&in, &v4);
		CHECK_EQ(nic_pass(0, 1, &in, &got), hws ? TO_CPU : TO_WIRE);
		nic_down();
	}
}

static void hws_proxy_starts_first_and_stops_last(void)
{
	struct rule r;

	profile_up("mlx5-hws");
	CHECK_EQ(rte_eth_dev_stop(nic_port[0]), -EBUSY);
	CHECK_EQ(rte_eth_dev_stop(nic_port[1]), 0);
	CHECK_EQ(rte_eth_dev_stop(nic_port[2]), 0);
	CHECK_EQ(rte_eth_dev_stop(nic_port[0]), 0);
	CHECK_EQ(rte_eth_dev_start(nic_port[1]), -EAGAIN);
	shape_build(&r, SWITCH);
	CHECK(rule_create(0, &r) == NULL);
	CHECK_EQ(rte_errno, EAGAIN);
	CHECK_EQ(rte_eth_dev_start(nic_port[0]), 0);
	CHECK_EQ(rte_eth_dev_start(nic_port[1]), 0);
	nic_down();
}

static void hws_counters_run_out(void)
{
	struct frame_spec s = v4;
	struct rte_flow *flow;
	struct rule r;

	nic_up("representor=vf[0-1],step=1,profile=mlx5-hws,counters=2");
	for (unsigned i = 0; i < 3; i++) {
		s.sport++;
		rule_init(&r, true);
		rule_in(&r, 0);
		rule_flow(&r, &s, 0, 0);
		ACTION(&r, COUNT);
		act_out(&r, 1);
		flow = rule_create(0, &r);
		CHECK_EQ(flow != NULL, i < 2);
		if (flow == NULL)
			CHECK_EQ(rte_errno, ENOENT);
		else if (i == 1)
			CHECK_EQ(rule_destroy(0, flow), 0);
		if (i != 1)
			continue;
		/* The freed one comes back with the next cycle of 500 ms. */
		CHECK(rule_create(0, &r) == NULL);
		CHECK_EQ(rte_errno, EAGAIN);
		net_emu_step(nic, 0, 500000000);
		CHECK(rule_create(0, &r) != NULL);
	}
	nic_down();
}

/* --- the others' habits -------------------------------------------------------------------------
 */

static void what_a_stop_does_to_rules(void)
{
	static const struct {
		const char *profile;
		bool keep_capability, vanish;
	} cases[] = {{"mlx5-sws", false, false}, {"bnxt", false, true}, {"cnxk", true, false}};

	for (unsigned c = 0; c < 3; c++) {
		struct rte_eth_dev_info info;
		struct rte_flow *flow;
		struct rule r;

		profile_up(cases[c].profile);
		CHECK_EQ(rte_eth_dev_info_get(nic_port[0], &info), 0);
		CHECK_EQ((info.dev_capa & RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP) != 0,
			cases[c].keep_capability);
		rule_init(&r, true);
		rule_in(&r, 0);
		rule_flow(&r, &v4, 0, 0);
		act_out(&r, 1);
		flow = rule_create(0, &r);
		REQUIRE(flow != NULL);
		CHECK_EQ(rte_eth_dev_stop(nic_port[0]), 0);
		CHECK_EQ(nic_counters().rules, cases[c].vanish ? 0 : 1);
		CHECK_EQ(nic_counters().stops_with_rules, 1);
		if (!cases[c].vanish)
			CHECK_EQ(rule_destroy(0, flow), 0);
		CHECK_EQ(nic_counters().rules, 0);
		nic_down();
	}
}

static void conflicting_input_sets(void)
{
	struct rte_flow *flow;
	struct rule r, other;

	profile_up("i40e");
	rule_init(&r, false);
	rule_flow(&r, &v4, 0, 0);
	ACTION_OF(&r, QUEUE, (struct rte_flow_action_queue){.index = 1});
	flow = rule_create(0, &r);
	REQUIRE(flow != NULL);
	other = r;
	for (unsigned i = 0; i < other.n_items; i++) {
		other.items[i].spec = &other.spec[i];
		other.items[i].mask = &other.mask[i];
	}
	other.actions[0].conf = &other.conf[0];
	other.mask[2].tcp.hdr.src_port = 0;
	refused(0, &other, EINVAL, ITEM_MASK);
	CHECK(rule_create(0, &other) == NULL);
	/* Another class of packets has a set of its own. */
	{
		struct frame_spec udp = v4;
		struct rule r2;

		udp.proto = IPPROTO_UDP;
		rule_init(&r2, false);
		rule_flow(&r2, &udp, 64, 0);
		ACTION_OF(&r2, QUEUE, (struct rte_flow_action_queue){.index = 1});
		refused(0, &r2, 0, 0);
	}
	CHECK_EQ(rule_destroy(0, flow), 0);
	refused(0, &other, 0, 0);
	nic_down();
}

static void a_transfer_rule_that_is_not_one(void)
{
	struct frame in, got;
	struct rule r;

	profile_up("cxgbe-like");
	rule_init(&r, true);
	rule_flow(&r, &v4, 0, 0);
	ACTION(&r, DROP);
	REQUIRE(rule_create(0, &r) != NULL);
	frame_build(&in, &v4);
	CHECK_EQ(nic_pass(0, 1, &in, &got), NOWHERE);
	CHECK_EQ(nic_pass(1, 2, &in, &got), TO_CPU);
	nic_down();
}

static void eexist_that_means_unsupported(void)
{
	struct rule r;

	profile_up("tap-like");
	rule_init(&r, false);
	rule_flow(&r, &v4, 0, 0);
	ACTION_OF(&r, QUEUE, (struct rte_flow_action_queue){.index = 0});
	refused(0, &r, EEXIST, RTE_FLOW_ERROR_TYPE_UNSPECIFIED);
	CHECK(rule_create(0, &r) == NULL);
	CHECK_EQ(rte_errno, EEXIST);
	nic_down();
}

TEST_SUITE("net_emu_profiles", CASE(each_profile_has_its_dialect), CASE(attributes_are_checked),
	CASE(items_and_masks_are_refused_not_ignored), CASE(which_tcp_flags_can_be_masked),
	CASE(order_and_completeness), CASE(tunnels_of_representors_are_for_transfer_rules),
	CASE(who_wins_of_two_equal_matches), CASE(who_wins_of_two_overlapping_matches),
	CASE(hws_transfer_is_the_proxys), CASE(hws_stray_spec_bits_never_hit),
	CASE(hws_proxy_starts_first_and_stops_last), CASE(hws_counters_run_out),
	CASE(what_a_stop_does_to_rules), CASE(conflicting_input_sets),
	CASE(a_transfer_rule_that_is_not_one), CASE(eexist_that_means_unsupported))
