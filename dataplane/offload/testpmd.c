/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A compiled rule as a line for testpmd (see lower.h), so that a NIC's vendor can repeat what
 * Sluice asked of a driver. Where only a mask is printed the value is zero: testpmd of 22.11 takes
 * lines of 511 bytes, which long IPv6 addresses four times may still exceed. It prints what is
 * there, and so works for any list of the items and actions that lower.c makes. Any thread. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_flow.h>

#include "core/ip.h"
#include "offload/lower.h"

struct text {
	char *out;
	uint32_t size, len;
};

static __attribute__((format(printf, 2, 3))) void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->len < t->size ? t->out + t->len : NULL,
		t->len < t->size ? t->size - t->len : 0, format, args);
	va_end(args);
	t->len += n > 0 ? (uint32_t)n : 0;
}

/* Each of the three begins with a space. */
static void add_mac(struct text *t, const char *name, const void *mac)
{
	const uint8_t *m = mac;

	add(t, " %s %02x:%02x:%02x:%02x:%02x:%02x", name, m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void add_ip4(struct text *t, const char *name, uint32_t be)
{
	struct ip_addr a = ip_from_v4(be);
	char text[IP_TEXT_MAX];

	add(t, " %s %s", name, ip_format(&a, text));
}

static void add_ip6(struct text *t, const char *name, const void *bytes)
{
	struct ip_addr a = ip_from_v6(bytes);
	char text[IP_TEXT_MAX];

	add(t, " %s %s", name, ip_format(&a, text));
}

static bool any_set(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return true;
	return false;
}

/* --- items ------------------------------------------------------------------------------------ */

static void add_eth(
	struct text *t, const struct rte_flow_item_eth *spec, const struct rte_flow_item_eth *mask)
{
	add(t, "eth");
	if (any_set(&mask->hdr.dst_addr, 6))
		add_mac(t, "dst is", &spec->hdr.dst_addr);
	if (any_set(&mask->hdr.src_addr, 6))
		add_mac(t, "src is", &spec->hdr.src_addr);
	if (mask->hdr.ether_type != 0)
		add(t, " type is 0x%04x", rte_be_to_cpu_16(spec->hdr.ether_type));
}

static void add_vlan(struct text *t, const struct rte_flow_item_vlan *spec,
	const struct rte_flow_item_vlan *mask)
{
	add(t, "vlan vid is %u", rte_be_to_cpu_16(spec->hdr.vlan_tci) & 0xfff);
	if (mask->hdr.eth_proto != 0)
		add(t, " inner_type is 0x%04x", rte_be_to_cpu_16(spec->hdr.eth_proto));
}

static void add_ipv4(struct text *t, const struct rte_flow_item_ipv4 *spec,
	const struct rte_flow_item_ipv4 *mask)
{
	add(t, "ipv4");
	if (mask->hdr.src_addr != 0)
		add_ip4(t, "src is", spec->hdr.src_addr);
	if (mask->hdr.dst_addr != 0)
		add_ip4(t, "dst is", spec->hdr.dst_addr);
	if (mask->hdr.next_proto_id != 0)
		add(t, " proto is %u", spec->hdr.next_proto_id);
	if (mask->hdr.time_to_live != 0)
		add(t, " ttl is %u", spec->hdr.time_to_live);
	if (mask->hdr.fragment_offset != 0)
		add(t, " fragment_offset mask 0x%04x", rte_be_to_cpu_16(mask->hdr.fragment_offset));
}

static void add_ipv6(struct text *t, const struct rte_flow_item_ipv6 *spec,
	const struct rte_flow_item_ipv6 *mask)
{
	add(t, "ipv6");
	if (any_set(&mask->hdr.src_addr, 16))
		add_ip6(t, "src is", &spec->hdr.src_addr);
	if (any_set(&mask->hdr.dst_addr, 16))
		add_ip6(t, "dst is", &spec->hdr.dst_addr);
	if (mask->hdr.proto != 0)
		add(t, " proto is %u", spec->hdr.proto);
	if (mask->hdr.hop_limits != 0)
		add(t, " hop is %u", spec->hdr.hop_limits);
	if (mask->has_frag_ext)
		add(t, " has_frag_ext is %u", spec->has_frag_ext);
}

static void add_ports(struct text *t, const char *name, uint16_t sport, uint16_t sport_mask,
	uint16_t dport, uint16_t dport_mask)
{
	add(t, "%s", name);
	if (sport_mask != 0)
		add(t, " src is %u", rte_be_to_cpu_16(sport));
	if (dport_mask != 0)
		add(t, " dst is %u", rte_be_to_cpu_16(dport));
}

static void add_tcp(
	struct text *t, const struct rte_flow_item_tcp *spec, const struct rte_flow_item_tcp *mask)
{
	add_ports(t, "tcp", spec->hdr.src_port, mask->hdr.src_port, spec->hdr.dst_port,
		mask->hdr.dst_port);
	if (mask->hdr.tcp_flags != 0)
		add(t, " flags mask 0x%02x", mask->hdr.tcp_flags);
}

static uint32_t vni24(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
}

static void add_item(struct text *t, const struct rte_flow_item *item)
{
	const void *spec = item->spec, *mask = item->mask;

	switch ((int)item->type) {
	case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
		add(t, "represented_port ethdev_port_id is %u",
			((const struct rte_flow_item_ethdev *)spec)->port_id);
		break;
	case RTE_FLOW_ITEM_TYPE_PORT_ID:
		add(t, "port_id id is %u", ((const struct rte_flow_item_port_id *)spec)->id);
		break;
	case RTE_FLOW_ITEM_TYPE_ETH:
		add_eth(t, spec, mask);
		break;
	case RTE_FLOW_ITEM_TYPE_VLAN:
		add_vlan(t, spec, mask);
		break;
	case RTE_FLOW_ITEM_TYPE_IPV4:
		add_ipv4(t, spec, mask);
		break;
	case RTE_FLOW_ITEM_TYPE_IPV6:
		add_ipv6(t, spec, mask);
		break;
	case RTE_FLOW_ITEM_TYPE_TCP:
		add_tcp(t, spec, mask);
		break;
	case RTE_FLOW_ITEM_TYPE_UDP: {
		const struct rte_flow_item_udp *s = spec, *m = mask;

		add_ports(t, "udp", s->hdr.src_port, m->hdr.src_port, s->hdr.dst_port,
			m->hdr.dst_port);
		break;
	}
	case RTE_FLOW_ITEM_TYPE_VXLAN:
		add(t, "vxlan vni is %u",
			rte_be_to_cpu_32(((const struct rte_flow_item_vxlan *)spec)->hdr.vx_vni) >>
				8);
		break;
	case RTE_FLOW_ITEM_TYPE_GENEVE: {
		const struct rte_flow_item_geneve *s = spec;

		add(t, "geneve vni is %u protocol is 0x%04x optlen is %u", vni24(s->vni),
			rte_be_to_cpu_16(s->protocol),
			rte_be_to_cpu_16(s->ver_opt_len_o_c_rsvd0) >> 8 & 0x3f);
		break;
	}
	default:
		add(t, "item_%d", (int)item->type);
	}
}

/* --- actions ---------------------------------------------------------------------------------- */

static const char *field_name(int field)
{
	switch (field) {
	case RTE_FLOW_FIELD_MAC_SRC:
		return "mac_src";
	case RTE_FLOW_FIELD_MAC_DST:
		return "mac_dst";
	case RTE_FLOW_FIELD_IPV4_SRC:
		return "ipv4_src";
	case RTE_FLOW_FIELD_IPV4_DST:
		return "ipv4_dst";
	case RTE_FLOW_FIELD_IPV4_TTL:
		return "ipv4_ttl";
	case RTE_FLOW_FIELD_IPV6_SRC:
		return "ipv6_src";
	case RTE_FLOW_FIELD_IPV6_DST:
		return "ipv6_dst";
	case RTE_FLOW_FIELD_IPV6_HOPLIMIT:
		return "ipv6_hoplimit";
	case RTE_FLOW_FIELD_TCP_PORT_SRC:
		return "tcp_port_src";
	case RTE_FLOW_FIELD_TCP_PORT_DST:
		return "tcp_port_dst";
	case RTE_FLOW_FIELD_UDP_PORT_SRC:
		return "udp_port_src";
	case RTE_FLOW_FIELD_UDP_PORT_DST:
		return "udp_port_dst";
	}
	return "?";
}

static void add_modify(struct text *t, const struct rte_flow_action_modify_field *m)
{
	add(t, " modify_field op %s dst_type %s src_type value src_value ",
		m->operation == RTE_FLOW_MODIFY_SET ? "set" : "sub", field_name((int)m->dst.field));
	for (uint32_t n = 0; n < m->width / 8; n++)
		add(t, "%02x", m->src.value[n]);
	add(t, " width %u", m->width);
}

/* The actions that are one word and one value. */
static bool add_short(struct text *t, const struct rte_flow_action *a)
{
	const void *conf = a->conf;

	switch ((int)a->type) {
	case RTE_FLOW_ACTION_TYPE_MARK:
		add(t, " mark id %u", ((const struct rte_flow_action_mark *)conf)->id);
		return true;
	case RTE_FLOW_ACTION_TYPE_QUEUE:
		add(t, " queue index %u", ((const struct rte_flow_action_queue *)conf)->index);
		return true;
	case RTE_FLOW_ACTION_TYPE_JUMP:
		add(t, " jump group %u", ((const struct rte_flow_action_jump *)conf)->group);
		return true;
	case RTE_FLOW_ACTION_TYPE_DROP:
		add(t, " drop");
		return true;
	case RTE_FLOW_ACTION_TYPE_COUNT:
		add(t, " count");
		return true;
	case RTE_FLOW_ACTION_TYPE_DEC_TTL:
		add(t, " dec_ttl");
		return true;
	case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
		add(t, " vxlan_decap");
		return true;
	case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP:
		add(t, " vxlan_encap");
		return true;
	case RTE_FLOW_ACTION_TYPE_RAW_DECAP:
		add(t, " raw_decap index 0");
		return true;
	case RTE_FLOW_ACTION_TYPE_RAW_ENCAP:
		add(t, " raw_encap index 0");
		return true;
	case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
		add(t, " of_pop_vlan");
		return true;
	case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
		add(t, " of_push_vlan ethertype 0x%04x",
			rte_be_to_cpu_16(
				((const struct rte_flow_action_of_push_vlan *)conf)->ethertype));
		return true;
	case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
		add(t, " of_set_vlan_vid vlan_vid %u",
			rte_be_to_cpu_16(
				((const struct rte_flow_action_of_set_vlan_vid *)conf)->vlan_vid));
		return true;
	case RTE_FLOW_ACTION_TYPE_PORT_ID:
		add(t, " port_id id %u", ((const struct rte_flow_action_port_id *)conf)->id);
		return true;
	case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
		add(t, " represented_port ethdev_port_id %u",
			((const struct rte_flow_action_ethdev *)conf)->port_id);
		return true;
	case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
		add(t, " port_representor port_id %u",
			((const struct rte_flow_action_ethdev *)conf)->port_id);
		return true;
	}
	return false;
}

static void add_action(struct text *t, const struct rte_flow_action *a)
{
	const void *conf = a->conf;

	if (add_short(t, a))
		return;
	switch ((int)a->type) {
	case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
		add_mac(t, "set_mac_src mac_addr", conf);
		break;
	case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
		add_mac(t, "set_mac_dst mac_addr", conf);
		break;
	case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
		add_ip4(t, "set_ipv4_src ipv4_addr", *(const uint32_t *)conf);
		break;
	case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
		add_ip4(t, "set_ipv4_dst ipv4_addr", *(const uint32_t *)conf);
		break;
	case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
		add_ip6(t, "set_ipv6_src ipv6_addr", conf);
		break;
	case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
		add_ip6(t, "set_ipv6_dst ipv6_addr", conf);
		break;
	case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
		add(t, " set_tp_src port %u", rte_be_to_cpu_16(*(const uint16_t *)conf));
		break;
	case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
		add(t, " set_tp_dst port %u", rte_be_to_cpu_16(*(const uint16_t *)conf));
		break;
	case RTE_FLOW_ACTION_TYPE_SET_TTL:
		add(t, " set_ttl ttl_value %u", *(const uint8_t *)conf);
		break;
	case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD:
		add_modify(t, conf);
		break;
	default:
		add(t, " action_%d", (int)a->type);
	}
}

/* --- what testpmd takes by commands of their own ---------------------------------------------- */

static void add_vxlan_setup(struct text *t, const struct rte_flow_action_vxlan_encap *conf)
{
	const struct rte_flow_item *item = conf->definition;
	const struct rte_flow_item_eth *eth = item++->spec;
	const struct rte_flow_item_vlan *vlan =
		item->type == RTE_FLOW_ITEM_TYPE_VLAN ? item++->spec : NULL;
	bool v6 = item->type == RTE_FLOW_ITEM_TYPE_IPV6;
	const struct rte_flow_item_ipv6 *ip6 = item->spec;
	const struct rte_flow_item_ipv4 *ip4 = item++->spec;
	const struct rte_flow_item_udp *udp = item++->spec;
	const struct rte_flow_item_vxlan *vxlan = item->spec;

	add(t, "set vxlan%s ip-version %s vni %u udp-src %u udp-dst %u",
		vlan != NULL ? "-with-vlan" : "-tos-ttl", v6 ? "ipv6" : "ipv4",
		rte_be_to_cpu_32(vxlan->hdr.vx_vni) >> 8, rte_be_to_cpu_16(udp->hdr.src_port),
		rte_be_to_cpu_16(udp->hdr.dst_port));
	if (vlan == NULL)
		add(t, " ip-tos 0 ip-ttl %u", v6 ? ip6->hdr.hop_limits : ip4->hdr.time_to_live);
	if (v6) {
		add_ip6(t, "ip-src", &ip6->hdr.src_addr);
		add_ip6(t, "ip-dst", &ip6->hdr.dst_addr);
	} else {
		add_ip4(t, "ip-src", ip4->hdr.src_addr);
		add_ip4(t, "ip-dst", ip4->hdr.dst_addr);
	}
	if (vlan != NULL)
		add(t, " vlan-tci %u", rte_be_to_cpu_16(vlan->hdr.vlan_tci));
	add_mac(t, "eth-src", &eth->hdr.src_addr);
	add_mac(t, "eth-dst", &eth->hdr.dst_addr);
	add(t, "\n");
}

static uint16_t read16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The bytes read back to the headers that they are. */
static void add_raw_encap_setup(struct text *t, const struct rte_flow_action_raw_encap *raw)
{
	const uint8_t *p = raw->data;
	uint32_t be;

	add(t, "set raw_encap 0 eth");
	add_mac(t, "src is", p + 6);
	add_mac(t, "dst is", p);
	p += 12;
	if (read16(p) == RTE_ETHER_TYPE_VLAN) {
		add(t, " / vlan vid is %u", read16(p + 2));
		p += 4;
	}
	if (read16(p) == RTE_ETHER_TYPE_IPV6) {
		add(t, " / ipv6 hop is %u", p[2 + 7]);
		add_ip6(t, "src is", p + 2 + 8);
		add_ip6(t, "dst is", p + 2 + 24);
		p += 2 + 40;
	} else {
		add(t, " / ipv4 ttl is %u", p[2 + 8]);
		memcpy(&be, p + 2 + 12, 4);
		add_ip4(t, "src is", be);
		memcpy(&be, p + 2 + 16, 4);
		add_ip4(t, "dst is", be);
		p += 2 + 20;
	}
	add(t, " / udp src is %u dst is %u / %s vni is %u / end_set\n", read16(p), read16(p + 2),
		p[8] == 0x08 ? "vxlan" : "geneve", vni24(p + 12));
}

static void add_raw_decap_setup(struct text *t, const struct rte_flow_item *item)
{
	add(t, "set raw_decap 0");
	for (; item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
		bool last = item->type == RTE_FLOW_ITEM_TYPE_VXLAN ||
			item->type == RTE_FLOW_ITEM_TYPE_GENEVE;

		if (item->type == RTE_FLOW_ITEM_TYPE_PORT_ID ||
			item->type == RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT)
			continue;
		add(t, " ");
		add_item(t, item);
		add(t, " /");
		if (last)
			break;
	}
	add(t, " end_set\n");
}

uint32_t offload_lowered_text(const struct offload_lowered *l, char *out, uint32_t size)
{
	struct text t = {.out = out, .size = size};

	if (size > 0)
		out[0] = '\0';
	for (const struct rte_flow_action *a = l->actions; a->type != RTE_FLOW_ACTION_TYPE_END;
		a++) {
		if (a->type == RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP)
			add_vxlan_setup(&t, a->conf);
		if (a->type == RTE_FLOW_ACTION_TYPE_RAW_ENCAP)
			add_raw_encap_setup(&t, a->conf);
		if (a->type == RTE_FLOW_ACTION_TYPE_RAW_DECAP)
			add_raw_decap_setup(&t, l->items);
	}
	if (l->attr->group != 0)
		add(&t, "group %u ", l->attr->group);
	if (l->attr->priority != 0)
		add(&t, "priority %u ", l->attr->priority);
	add(&t, "%s pattern", l->attr->transfer ? "transfer" : "ingress");
	for (const struct rte_flow_item *i = l->items; i->type != RTE_FLOW_ITEM_TYPE_END; i++) {
		add(&t, " ");
		add_item(&t, i);
		add(&t, " /");
	}
	add(&t, " end actions");
	for (const struct rte_flow_action *a = l->actions; a->type != RTE_FLOW_ACTION_TYPE_END;
		a++) {
		add_action(&t, a);
		add(&t, " /");
	}
	add(&t, " end");
	return t.len;
}
