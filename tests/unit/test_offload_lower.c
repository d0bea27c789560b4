/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rule compiler: what it says in each vendor's dialect, word by word; each of its rules by
 * itself; and any rule, decoded back by a decoder written without it, is the rule that it was. */

#include <errno.h>
#include <stdalign.h>

#include <rte_flow.h>

#include "lib/offload_decode.h"
#include "unit/harness.h"

static const struct offload_dialect mlx5 = {.port = OFFLOAD_PORT_REPRESENTED,
	.nat = OFFLOAD_NAT_SET,
	.ttl = OFFLOAD_TTL_SET,
	.encap = OFFLOAD_ENCAP_VXLAN};
static const struct offload_dialect nfp = {.port = OFFLOAD_PORT_ID,
	.nat = OFFLOAD_NAT_SET,
	.ttl = OFFLOAD_TTL_SET,
	.encap = OFFLOAD_ENCAP_RAW};
static const struct offload_dialect bnxt = {.port = OFFLOAD_PORT_IMPLICIT,
	.nat = OFFLOAD_NAT_SET,
	.ttl = OFFLOAD_TTL_DEC,
	.encap = OFFLOAD_ENCAP_VXLAN};
static const struct offload_dialect sfc = {.port = OFFLOAD_PORT_REPRESENTED,
	.nat = OFFLOAD_NAT_SET,
	.ttl = OFFLOAD_TTL_DEC,
	.encap = OFFLOAD_ENCAP_VXLAN};
static const struct offload_dialect ntnic = {.port = OFFLOAD_PORT_ID,
	.nat = OFFLOAD_NAT_MODIFY,
	.ttl = OFFLOAD_TTL_SET,
	.encap = OFFLOAD_ENCAP_RAW};

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	REQUIRE_EQ(ip_parse(text, &a), 0);
	return a;
}

static void set_macs(struct offload_rule *r)
{
	memcpy(r->to.smac, "\x02\x00\x00\x00\x00\x01", 6);
	memcpy(r->to.dmac, "\x02\x00\x00\x00\x00\x02", 6);
	r->to.set |= OFFLOAD_SET_MAC;
}

/* A pod's packet to a ClusterIP: DNAT, routed. */
static struct offload_rule dnat4(void)
{
	struct offload_rule r;

	memset(&r, 0, sizeof(r));
	r.match.port = 1;
	r.match.family = IP_V4;
	r.match.proto = IP_PROTO_TCP;
	r.match.ttl = 64;
	r.match.no_tcp_control = true;
	r.match.not_fragment = true;
	memcpy(r.match.smac, "\x02\x00\x00\x00\x00\x04", 6);
	memcpy(r.match.dmac, "\x02\x00\x00\x00\x00\x05", 6);
	r.match.src = addr("10.244.0.5");
	r.match.dst = addr("10.96.0.10");
	r.match.sport = htons(40000);
	r.match.dport = htons(80);
	r.to.set = OFFLOAD_SET_DST | OFFLOAD_SET_DPORT | OFFLOAD_DEC_TTL;
	r.to.dst = addr("10.244.1.7");
	r.to.dport = htons(8080);
	set_macs(&r);
	r.port = 0;
	r.count = true;
	return r;
}

static struct offload_rule dnat_snat6(void)
{
	struct offload_rule r = dnat4();

	r.match.family = IP_V6;
	r.match.proto = IP_PROTO_UDP;
	r.match.no_tcp_control = false;
	r.match.src = addr("fd00:10:244::5");
	r.match.dst = addr("fd00:10:96::a");
	r.to.set |= OFFLOAD_SET_SRC | OFFLOAD_SET_SPORT;
	r.to.src = addr("fd00:1::1");
	r.to.dst = addr("fd00:10:244:1::7");
	r.to.sport = htons(50000);
	return r;
}

static struct offload_tunnel tunnel4(uint8_t kind)
{
	struct offload_tunnel t = {.kind = kind,
		.family = IP_V4,
		.ttl = 64,
		.vni = 0xabcdef,
		.src = addr("192.0.2.1"),
		.dst = addr("192.0.2.2"),
		.sport = htons(49999),
		.dport = htons(kind == OFFLOAD_TUNNEL_VXLAN ? 4789 : 6081)};

	memcpy(t.smac, "\x02\x00\x00\x00\x00\x0a", 6);
	memcpy(t.dmac, "\x02\x00\x00\x00\x00\x0b", 6);
	return t;
}

static alignas(16) uint8_t buffer[OFFLOAD_LOWER_BYTES];
static struct offload_error error;

static struct offload_lowered lower(const struct offload_rule *r, const struct offload_dialect *d)
{
	struct offload_lowered l = {0};
	int rc = offload_lower(r, d, buffer, sizeof(buffer), &l, &error);

	CHECK_STR(error.cause, "");
	REQUIRE_EQ(rc, 0);
	return l;
}

static void check_text(
	const struct offload_rule *r, const struct offload_dialect *d, const char *expected)
{
	struct offload_lowered l = lower(r, d);
	char text[OFFLOAD_TEXT_MAX];

	CHECK_LT(offload_lowered_text(&l, text, sizeof(text)), sizeof(text));
	CHECK_STR(text, expected);
}

/* --- word by word ----------------------------------------------------------------------------- */

#define ETH  "eth dst is 02:00:00:00:00:05 src is 02:00:00:00:00:04"
#define MACS "set_mac_dst mac_addr 02:00:00:00:00:02 / set_mac_src mac_addr 02:00:00:00:00:01 / "
#define MATCH4                                                                                 \
	ETH " type is 0x0800 / ipv4 src is 10.244.0.5 dst is 10.96.0.10 proto is 6 ttl is 64 " \
	    "fragment_offset mask 0x3fff / tcp src is 40000 dst is 80 "                        \
	    "flags mask 0x07 / end actions count / "
#define NAT4 "set_ipv4_dst ipv4_addr 10.244.1.7 / set_tp_dst port 8080 / "

static void golden_dnat_ipv4_tcp(void)
{
	struct offload_rule r = dnat4();

	check_text(&r, &mlx5,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH4 MACS
		"set_ttl ttl_value 63 / " NAT4 "represented_port ethdev_port_id 0 / end");
	check_text(&r, &nfp,
		"transfer pattern port_id id is 1 / " MATCH4 MACS "set_ttl ttl_value 63 / " NAT4
		"port_id id 0 / end");
	check_text(
		&r, &bnxt, "transfer pattern " MATCH4 MACS "dec_ttl / " NAT4 "port_id id 0 / end");
	check_text(&r, &sfc,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH4 MACS
		"dec_ttl / " NAT4 "represented_port ethdev_port_id 0 / end");
}

#define MATCH6                                                                                      \
	ETH " type is 0x86dd / ipv6 src is fd00:10:244::5 dst is fd00:10:96::a proto is 17 hop is " \
	    "64 has_frag_ext is 0 / udp src is 40000 dst is 80 / end actions count / "
#define NAT6                                                                            \
	"set_ipv6_src ipv6_addr fd00:1::1 / set_ipv6_dst ipv6_addr fd00:10:244:1::7 / " \
	"set_tp_src port 50000 / set_tp_dst port 8080 / "

static void golden_dnat_snat_ipv6_udp(void)
{
	struct offload_rule r = dnat_snat6();

	check_text(&r, &mlx5,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH6 MACS
		"set_ttl ttl_value 63 / " NAT6 "represented_port ethdev_port_id 0 / end");
	check_text(&r, &nfp,
		"transfer pattern port_id id is 1 / " MATCH6 MACS "set_ttl ttl_value 63 / " NAT6
		"port_id id 0 / end");
	check_text(
		&r, &bnxt, "transfer pattern " MATCH6 MACS "dec_ttl / " NAT6 "port_id id 0 / end");
	check_text(&r, &sfc,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH6 MACS
		"dec_ttl / " NAT6 "represented_port ethdev_port_id 0 / end");
}

static void golden_modify_field(void)
{
	struct offload_rule r = dnat4();

	check_text(&r, &ntnic,
		"transfer pattern port_id id is 1 / " MATCH4
		"modify_field op set dst_type mac_dst src_type value src_value 020000000002 width "
		"48 / modify_field op set dst_type mac_src src_type value src_value 020000000001 "
		"width 48 / modify_field op set dst_type ipv4_ttl src_type value src_value 3f "
		"width 8 / modify_field op set dst_type ipv4_dst src_type value src_value "
		"0af40107 width 32 / modify_field op set dst_type tcp_port_dst src_type value "
		"src_value 1f90 width 16 / port_id id 0 / end");
}

static void golden_tunnels(void)
{
	struct offload_rule r = dnat4();

	r.to.set = OFFLOAD_DEC_TTL;
	memset(&r.to.dst, 0, sizeof(r.to.dst));
	memset(r.to.smac, 0, 6);
	memset(r.to.dmac, 0, 6);
	r.to.dport = 0;
	r.to.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN);
	check_text(&r, &mlx5,
		"set vxlan-tos-ttl ip-version ipv4 vni 11259375 udp-src 49999 udp-dst 4789 "
		"ip-tos 0 ip-ttl 64 ip-src 192.0.2.1 ip-dst 192.0.2.2 eth-src 02:00:00:00:00:0a "
		"eth-dst 02:00:00:00:00:0b\n"
		"transfer pattern represented_port ethdev_port_id is 1 / " ETH " type is 0x0800 / "
		"ipv4 src is 10.244.0.5 dst is 10.96.0.10 proto is 6 ttl is 64 fragment_offset mask 0x3fff / tcp src is 40000 dst is 80 flags mask 0x07 / end actions count / set_ttl ttl_value 63 / vxlan_encap / "
		"represented_port ethdev_port_id 0 / end");
	r.to.tunnel = tunnel4(OFFLOAD_TUNNEL_GENEVE);
	check_text(&r, &nfp,
		"set raw_encap 0 eth src is 02:00:00:00:00:0a dst is 02:00:00:00:00:0b / ipv4 ttl "
		"is 64 src is 192.0.2.1 dst is 192.0.2.2 / udp src is 49999 dst is 6081 / geneve "
		"vni is 11259375 / end_set\n"
		"transfer pattern port_id id is 1 / " ETH
		" type is 0x0800 / ipv4 src is 10.244.0.5 "
		"dst is 10.96.0.10 proto is 6 ttl is 64 fragment_offset mask 0x3fff / tcp src is 40000 dst is 80 flags mask 0x07 / end actions count / set_ttl ttl_value 63 / raw_encap index 0 / "
		"port_id id 0 / end");
}

static void golden_decap(void)
{
	struct offload_rule r = dnat4();

	r.match.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN);
	r.match.tunnel.sport = 0;
	r.match.tunnel.ttl = 0;
	memset(r.match.tunnel.smac, 0, 6);
	memset(r.match.tunnel.dmac, 0, 6);
	r.to.set = OFFLOAD_DEC_TTL;
	memset(&r.to.dst, 0, sizeof(r.to.dst));
	r.to.dport = 0;
	set_macs(&r);
	check_text(&r, &mlx5,
		"transfer pattern represented_port ethdev_port_id is 1 / eth type is 0x0800 / "
		"ipv4 src is 192.0.2.1 dst is 192.0.2.2 proto is 17 fragment_offset mask 0x3fff / udp dst is 4789 / vxlan vni is 11259375 / " ETH
		" type "
		"is 0x0800 / ipv4 src is 10.244.0.5 dst is 10.96.0.10 proto is 6 ttl is 64 "
		"fragment_offset mask 0x3fff / tcp src is 40000 dst "
		"is 80 flags mask 0x07 / end actions vxlan_decap / count / " MACS
		"set_ttl ttl_value 63 / represented_port ethdev_port_id 0 / end");
}

static void golden_partial(void)
{
	struct offload_rule r = dnat4();

	memset(&r.to, 0, sizeof(r.to));
	r.match.ttl = 0;
	memset(r.match.smac, 0, 6);
	memset(r.match.dmac, 0, 6);
	r.match.no_tcp_control = r.match.not_fragment = false;
	r.fate = OFFLOAD_FATE_MARK;
	r.mark = 77;
	r.queue = 3;
	check_text(&r, &mlx5,
		"ingress pattern eth type is 0x0800 / ipv4 src is 10.244.0.5 dst is 10.96.0.10 "
		"proto is 6 / tcp src is 40000 dst is 80 / end actions mark id 77 / count / queue "
		"index 3 / end");
}

static void golden_vlan_and_group(void)
{
	struct offload_rule r = dnat4();
	struct offload_dialect d = mlx5;

	d.group = 1;
	r.match.vlan = 100;
	r.to.vlan = 200;
	r.to.set = 0;
	memset(&r.to.dst, 0, sizeof(r.to.dst));
	r.to.dport = 0;
	memset(r.to.smac, 0, 6);
	memset(r.to.dmac, 0, 6);
	check_text(&r, &d,
		"group 1 transfer pattern represented_port ethdev_port_id is 1 / " ETH
		" / vlan vid "
		"is 100 inner_type is 0x0800 / ipv4 src is 10.244.0.5 dst is 10.96.0.10 proto is "
		"6 ttl is 64 fragment_offset mask 0x3fff / tcp src is "
		"40000 dst is 80 flags mask 0x07 / end actions of_pop_vlan / "
		"count / of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 200 / "
		"represented_port ethdev_port_id 0 / end");
}

/* mlx5 pushes a tag before it rewrites, sfc behind. */
static void golden_push_order(void)
{
	struct offload_rule r = dnat4();
	struct offload_dialect d = sfc;

	r.to.vlan = 200;
	check_text(&r, &d,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH4
		"of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 200 / " MACS
		"dec_ttl / " NAT4 "represented_port ethdev_port_id 0 / end");
	d.order = OFFLOAD_ORDER_PUSH_LAST;
	check_text(&r, &d,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH4 MACS
		"dec_ttl / " NAT4 "of_push_vlan ethertype 0x8100 / of_set_vlan_vid vlan_vid 200 / "
		"represented_port ethdev_port_id 0 / end");
}

/* --- rule by rule ----------------------------------------------------------------------------- */

static bool has_item(const struct offload_lowered *l, enum rte_flow_item_type type)
{
	for (const struct rte_flow_item *i = l->items; i->type != RTE_FLOW_ITEM_TYPE_END; i++)
		if (i->type == type)
			return true;
	return false;
}

/* Every layer up to L4, in a rule that matches as little as a rule can. */
static void items_are_complete(void)
{
	struct offload_rule r = dnat4();
	struct offload_lowered l;

	r.match.ttl = 0;
	r.match.not_fragment = r.match.no_tcp_control = false;
	r.to.set &= (uint8_t)~OFFLOAD_DEC_TTL;
	l = lower(&r, &bnxt);
	CHECK(has_item(&l, RTE_FLOW_ITEM_TYPE_ETH));
	CHECK(has_item(&l, RTE_FLOW_ITEM_TYPE_IPV4));
	CHECK(has_item(&l, RTE_FLOW_ITEM_TYPE_TCP));
	for (const struct rte_flow_item *i = l.items; i->type != RTE_FLOW_ITEM_TYPE_END; i++)
		CHECK(i->spec != NULL && i->mask != NULL && i->last == NULL);
}

static void full_is_transfer_and_partial_is_ingress(void)
{
	struct offload_rule r = dnat4();
	struct offload_lowered l = lower(&r, &mlx5);

	CHECK(l.attr->transfer && !l.attr->ingress && !l.attr->egress);
	CHECK_EQ(l.attr->group, 0);
	CHECK_EQ(l.attr->priority, 0);
	memset(&r.to, 0, sizeof(r.to));
	r.fate = OFFLOAD_FATE_MARK;
	l = lower(&r, &mlx5);
	CHECK(!l.attr->transfer && l.attr->ingress && !l.attr->egress);
	CHECK_EQ(offload_lower_port(&r, &mlx5, 0), 1);
}

static void told_to_the_proxy_or_the_port(void)
{
	struct offload_rule r = dnat4();

	CHECK_EQ(offload_lower_port(&r, &mlx5, 0), 0);
	CHECK_EQ(offload_lower_port(&r, &nfp, 0), 0);
	CHECK_EQ(offload_lower_port(&r, &bnxt, 0), 1);
}

static void check_refused(
	const struct offload_rule *r, const struct offload_dialect *d, int rc, const char *field)
{
	struct offload_lowered l;

	CHECK_EQ(offload_lower(r, d, buffer, sizeof(buffer), &l, &error), rc);
	CHECK_HAS(error.cause, field);
}

#define REFUSED(change, rc, field)                   \
	do {                                         \
		struct offload_rule r = dnat4();     \
                                                     \
		change;                              \
		check_refused(&r, &mlx5, rc, field); \
	} while (0)

static void contradictions_are_refused_by_name(void)
{
	REFUSED(r.match.family = 2, -EINVAL, "match.family");
	REFUSED(r.match.proto = IP_PROTO_ICMP, -EINVAL, "match.proto");
	REFUSED(r.match.src = addr("fd00::1"), -EINVAL, "match.src");
	REFUSED(r.match.dst = addr("fd00::1"), -EINVAL, "match.dst");
	REFUSED(r.to.dst = addr("fd00::1"), -EINVAL, "to.dst");
	REFUSED((r.to.set |= OFFLOAD_SET_SRC, r.to.src = addr("fd00::1")), -EINVAL, "to.src");
	REFUSED(r.match.ttl = 0, -EINVAL, "match.ttl");
	REFUSED(r.match.ttl = 1, -EINVAL, "match.ttl");
	REFUSED(r.match.vlan = 4095, -EINVAL, "match.vlan");
	REFUSED(r.to.vlan = 4095, -EINVAL, "to.vlan");
	REFUSED(r.to.set |= 0x80, -EINVAL, "to.set");
	REFUSED(r.fate = 3, -EINVAL, "fate");
	REFUSED(r.port = OFFLOAD_NO_PORT, -EINVAL, "port");
	REFUSED(r.match.port = OFFLOAD_NO_PORT, -EINVAL, "match.port");
	REFUSED((r.fate = OFFLOAD_FATE_MARK, r.mark = 65534), -EINVAL, "mark");
	REFUSED((r.to.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN), r.to.tunnel.vni = 1 << 24), -EINVAL,
		"to.tunnel");
	REFUSED((r.to.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN), r.to.tunnel.family = IP_V6), -EINVAL,
		"to.tunnel");
	REFUSED((r.match.tunnel = tunnel4(3)), -EINVAL, "match.tunnel");
}

/* A field that nothing said is a rule wider, or another, than the decision. */
static void fields_left_over_are_refused_by_name(void)
{
	struct offload_rule geneve = dnat4();
	struct offload_dialect unknown = mlx5;

	REFUSED(r.to.src = addr("10.0.0.1"), -ENOTSUP, "to.src");
	REFUSED(r.to.sport = htons(1), -ENOTSUP, "to.sport");
	REFUSED((r.to.set &= (uint8_t)~OFFLOAD_SET_MAC), -ENOTSUP, "to.smac");
	REFUSED(r.queue = 1, -ENOTSUP, "queue");
	REFUSED(r.mark = 1, -ENOTSUP, "mark");
	REFUSED(r.fate = OFFLOAD_FATE_DROP, -ENOTSUP, "to.set");
	REFUSED(r.fate = OFFLOAD_FATE_MARK, -ENOTSUP, "to.set");
	REFUSED((memset(&r.to, 0, sizeof(r.to)), r.fate = OFFLOAD_FATE_DROP, r.port = 2), -ENOTSUP,
		"port");
	REFUSED(r.match.proto = IP_PROTO_UDP, -ENOTSUP, "match.no_tcp_control");
	REFUSED(r.match.tunnel.vni = 5, -ENOTSUP, "match.tunnel.vni");
	REFUSED(r.to.tunnel.dport = 5, -ENOTSUP, "to.tunnel.dport");
	geneve.to.tunnel = tunnel4(OFFLOAD_TUNNEL_GENEVE);
	check_refused(&geneve, &mlx5, -ENOTSUP, "to.tunnel.kind");
	unknown.port = OFFLOAD_PORT_DIALECTS;
	geneve = dnat4();
	check_refused(&geneve, &unknown, -EINVAL, "dialect");
}

/* A value that is said and stays what it was needs no word. */
static void unchanged_values_need_no_word(void)
{
	struct offload_rule r = dnat4();

	r.to.src = r.match.src;
	r.to.sport = r.match.sport;
	check_text(&r, &mlx5,
		"transfer pattern represented_port ethdev_port_id is 1 / " MATCH4 MACS
		"set_ttl ttl_value 63 / " NAT4 "represented_port ethdev_port_id 0 / end");
}

static void tag_of_a_tunnel_is_the_outer_headers(void)
{
	struct offload_rule r = dnat4();
	struct offload_lowered l;
	struct offload_rule back;
	char why[128] = "";

	r.to.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN);
	r.to.vlan = 7;
	for (unsigned encap = 0; encap < OFFLOAD_ENCAP_DIALECTS; encap++) {
		struct offload_dialect d = mlx5;

		d.encap = (uint8_t)encap;
		l = lower(&r, &d);
		for (const struct rte_flow_action *a = l.actions; a->type != 0; a++)
			CHECK_NE(a->type, RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN);
		CHECK_EQ(offload_decode(&l, 0, &back, why, sizeof(why)), 0);
		CHECK_EQ(back.to.vlan, 7);
	}
}

/* Of a tunnel's peer only: a packet's own addresses are always matched. The fuzzer found it. */
static void zero_is_any_of_a_tunnels_source_only(void)
{
	struct offload_rule r = dnat4(), back;
	struct offload_lowered l;
	char why[128] = "";

	r.match.src = addr("0.0.0.0");
	r.match.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN);
	memset(&r.match.tunnel.src, 0, 16);
	l = lower(&r, &mlx5);
	CHECK_EQ(offload_decode(&l, 1, &back, why, sizeof(why)), 0);
	CHECK(ip_equal(&back.match.src, &r.match.src));
	CHECK(ip_equal(&back.match.tunnel.src, &r.match.tunnel.src));
}

/* Cut at every length: never a byte behind the buffer (which ends where the sanitizer sees it). */
static void short_buffers_are_refused(void)
{
	struct offload_rule r = dnat_snat6();
	struct offload_lowered l;
	uint32_t needed = 0;

	r.to.tunnel = tunnel4(OFFLOAD_TUNNEL_VXLAN);
	r.match.tunnel = tunnel4(OFFLOAD_TUNNEL_GENEVE);
	for (uint32_t size = 0; size <= OFFLOAD_LOWER_BYTES; size += 16) {
		void *buf = malloc(size + 1);
		int rc;

		REQUIRE(buf != NULL);
		rc = offload_lower(&r, &mlx5, buf, size, &l, &error);
		CHECK(rc == 0 || rc == -ENOBUFS);
		CHECK(needed == 0 || rc == 0);
		if (rc == 0 && needed == 0)
			needed = size;
		free(buf);
	}
	CHECK_GT(needed, 1000);
}

/* --- any rule --------------------------------------------------------------------------------- */

static bool says(const struct offload_rule *r, const struct offload_dialect *d)
{
	return r->to.tunnel.kind != OFFLOAD_TUNNEL_GENEVE || d->encap == OFFLOAD_ENCAP_RAW;
}

static void decoded_is_what_it_was(void)
{
	uint8_t bytes[OFFLOAD_RULE_BYTES];
	struct offload_rule r, back;
	unsigned said = 0;
	char why[128];

	for (unsigned n = 0; n < 20000; n++) {
		struct offload_dialect d = {.port = (uint8_t)test_rand_below(OFFLOAD_PORT_DIALECTS),
			.nat = (uint8_t)test_rand_below(OFFLOAD_NAT_DIALECTS),
			.ttl = (uint8_t)test_rand_below(OFFLOAD_TTL_DIALECTS),
			.encap = (uint8_t)test_rand_below(OFFLOAD_ENCAP_DIALECTS),
			.order = (uint8_t)test_rand_below(OFFLOAD_ORDER_DIALECTS)};
		struct offload_lowered l;
		int rc;

		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)test_rand();
		offload_rule_of_bytes(bytes, &r);
		rc = offload_lower(&r, &d, buffer, sizeof(buffer), &l, &error);
		CHECK_EQ(rc, says(&r, &d) ? 0 : -ENOTSUP);
		if (rc != 0)
			continue;
		said++;
		snprintf(why, sizeof(why), "differs");
		if (offload_decode(&l, offload_lower_port(&r, &d, 99), &back, why, sizeof(why)) !=
				0 ||
			memcmp(&r, &back, sizeof(r)) != 0) {
			CHECK_STR(why, "");
			return;
		}
	}
	CHECK_GT(said, 10000);
}

TEST_SUITE("offload_lower", CASE(golden_dnat_ipv4_tcp), CASE(golden_dnat_snat_ipv6_udp),
	CASE(golden_modify_field), CASE(golden_tunnels), CASE(golden_decap), CASE(golden_partial),
	CASE(golden_vlan_and_group), CASE(golden_push_order), CASE(unchanged_values_need_no_word),
	CASE(items_are_complete), CASE(full_is_transfer_and_partial_is_ingress),
	CASE(told_to_the_proxy_or_the_port), CASE(contradictions_are_refused_by_name),
	CASE(fields_left_over_are_refused_by_name), CASE(tag_of_a_tunnel_is_the_outer_headers),
	CASE(zero_is_any_of_a_tunnels_source_only), CASE(short_buffers_are_refused),
	CASE(decoded_is_what_it_was))
