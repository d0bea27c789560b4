/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Pattern items to key and mask.
 *
 * Runs in flow calls, on the caller's thread. Every byte of an item's mask is either translated or
 * the item is refused: nothing is ignored. Error types are those that real drivers give: ITEM for
 * an unknown item, ITEM_MASK for a field that cannot be matched, ITEM_LAST for a range. */

#include <rte_geneve.h>
#include <rte_vxlan.h>

#include "emu.h"

#define REFUSE(err, rc, kind, what, text) \
	rte_flow_error_set(err, rc, RTE_FLOW_ERROR_TYPE_##kind, what, text)

#define AT(spec, field) \
	offsetof(struct emu_key, at[0].field) + (spec)->inner * sizeof(struct emu_layer)
#define UNION_ITEM(name) struct rte_flow_item_##name name

union item_body {
	UNION_ITEM(eth);
	UNION_ITEM(vlan);
	UNION_ITEM(ipv4);
	UNION_ITEM(ipv6);
	UNION_ITEM(tcp);
	UNION_ITEM(udp);
	UNION_ITEM(sctp);
	UNION_ITEM(icmp);
	UNION_ITEM(icmp6);
	UNION_ITEM(vxlan);
	UNION_ITEM(geneve);
	UNION_ITEM(port_id);
	UNION_ITEM(ethdev);
	UNION_ITEM(ipv6_frag_ext);
	uint8_t bytes[64];
};

/* One item: its values, and of its mask what is not yet translated. */
struct item {
	const struct rte_flow_item *item;
	union item_body spec, mask;
	struct rte_flow_error *err;
};

/* Moves a field into the key and clears it in the item's mask. */
static void put(struct emu_rule_spec *s, size_t at, const void *spec, void *mask, size_t len)
{
	uint8_t *key_to = (uint8_t *)&s->key + at, *mask_to = (uint8_t *)&s->mask + at;
	const uint8_t *from = spec;
	uint8_t *bits = mask;

	for (size_t i = 0; i < len; i++) {
		s->stray_spec |= (from[i] & ~bits[i]) != 0;
		key_to[i] = (uint8_t)((key_to[i] & ~bits[i]) | (from[i] & bits[i]));
		mask_to[i] |= bits[i];
		bits[i] = 0;
	}
}

static void put_byte(struct emu_rule_spec *s, size_t at, uint8_t value, uint8_t mask)
{
	put(s, at, &value, &mask, 1);
}

#define PUT(s, it, to, field) \
	put(s, AT(s, to), &(it)->spec.field, &(it)->mask.field, sizeof((it)->mask.field))

static bool is_tag(rte_be16_t type)
{
	return type == RTE_BE16(RTE_ETHER_TYPE_VLAN) || type == RTE_BE16(RTE_ETHER_TYPE_QINQ);
}

static int item_eth(struct emu_rule_spec *s, struct item *it)
{
	PUT(s, it, eth_dst, eth.hdr.dst_addr);
	PUT(s, it, eth_src, eth.hdr.src_addr);
	if (it->mask.eth.hdr.ether_type == RTE_BE16(0xffff) &&
		is_tag(it->spec.eth.hdr.ether_type)) {
		it->mask.eth.hdr.ether_type = 0;
		put_byte(s, AT(s, vlans), 1, 1);
	}
	if (it->mask.eth.has_vlan)
		put_byte(s, AT(s, vlans), it->spec.eth.has_vlan, 1);
	it->mask.eth.has_vlan = 0;
	if (it->mask.eth.hdr.ether_type != 0)
		put_byte(s, AT(s, vlans), 0, 1);
	PUT(s, it, eth_type, eth.hdr.ether_type);
	return 0;
}

static int item_vlan(struct emu_rule_spec *s, struct item *it)
{
	struct emu_layer *m = &s->mask.at[s->inner], *k = &s->key.at[s->inner];
	bool second = (m->vlans & k->vlans & 1) != 0 && (k->zero & 1) != 0;

	if (second) {
		put_byte(s, AT(s, vlans), 3, 3);
		PUT(s, it, tci2, vlan.hdr.vlan_tci);
	} else {
		/* A type that the ETH item demanded was the tag's. */
		put_byte(s, AT(s, vlans), 1, 1);
		PUT(s, it, tci, vlan.hdr.vlan_tci);
	}
	k->zero = 1;
	if (it->mask.vlan.has_more_vlan)
		put_byte(s, AT(s, vlans), it->spec.vlan.has_more_vlan ? 2 : 0, 2);
	it->mask.vlan.has_more_vlan = 0;
	if (it->mask.vlan.hdr.eth_proto == RTE_BE16(0xffff) &&
		is_tag(it->spec.vlan.hdr.eth_proto)) {
		it->mask.vlan.hdr.eth_proto = 0;
		put_byte(s, AT(s, vlans), 2, 2);
	}
	PUT(s, it, eth_type, vlan.hdr.eth_proto);
	return 0;
}

static int item_ipv4(struct emu_rule_spec *s, struct item *it)
{
	put_byte(s, AT(s, l3), 4, 0xff);
	PUT(s, it, tos, ipv4.hdr.type_of_service);
	PUT(s, it, ttl, ipv4.hdr.time_to_live);
	PUT(s, it, proto, ipv4.hdr.next_proto_id);
	PUT(s, it, src, ipv4.hdr.src_addr);
	PUT(s, it, dst, ipv4.hdr.dst_addr);
	if ((it->mask.ipv4.hdr.fragment_offset & RTE_BE16(0x3fff)) == RTE_BE16(0x3fff) &&
		(it->spec.ipv4.hdr.fragment_offset & it->mask.ipv4.hdr.fragment_offset) == 0 &&
		(it->mask.ipv4.hdr.fragment_offset & RTE_BE16(0xc000)) == 0) {
		put_byte(s, AT(s, frag), 0, 0xff);
		it->mask.ipv4.hdr.fragment_offset = 0;
	}
	if (s->profile->ihl_match && (it->mask.ipv4.hdr.version_ihl & 0x0f) != 0) {
		it->spec.ipv4.hdr.version_ihl &= 0x0f;
		it->mask.ipv4.hdr.version_ihl &= 0x0f;
		PUT(s, it, ihl, ipv4.hdr.version_ihl);
	}
	return 0;
}

static int item_ipv6(struct emu_rule_spec *s, struct item *it)
{
	uint32_t vtc = rte_be_to_cpu_32(it->spec.ipv6.hdr.vtc_flow);
	uint32_t vtc_mask = rte_be_to_cpu_32(it->mask.ipv6.hdr.vtc_flow);

	put_byte(s, AT(s, l3), 6, 0xff);
	if ((vtc_mask & ~0x0ff00000u) == 0) {
		put_byte(s, AT(s, tos), (uint8_t)(vtc >> 20), (uint8_t)(vtc_mask >> 20));
		it->mask.ipv6.hdr.vtc_flow = 0;
	}
	PUT(s, it, ttl, ipv6.hdr.hop_limits);
	PUT(s, it, proto, ipv6.hdr.proto);
	PUT(s, it, src, ipv6.hdr.src_addr);
	PUT(s, it, dst, ipv6.hdr.dst_addr);
	if (it->mask.ipv6.has_frag_ext)
		put_byte(s, AT(s, frag), it->spec.ipv6.has_frag_ext, 0xff);
	it->mask.ipv6.has_frag_ext = 0;
	return 0;
}

static int item_ipv6_frag_ext(struct emu_rule_spec *s, struct item *it)
{
	put_byte(s, AT(s, frag), 1, 0xff);
	return 0;
}

static int put_l4(struct emu_rule_spec *s, struct item *it, uint8_t protocol)
{
	if (s->mask.at[s->inner].l3 == 0)
		return REFUSE(
			it->err, EINVAL, ITEM, it->item, "a layer 3 item is needed before layer 4");
	put_byte(s, AT(s, l4), protocol, 0xff);
	return 0;
}

static int item_tcp(struct emu_rule_spec *s, struct item *it)
{
	uint8_t allowed = s->profile->tcp_flags;
	int64_t knob = s->port->nic->knobs.tcp_flags;

	if (knob >= 0)
		allowed = (uint8_t)knob;
	PUT(s, it, sport, tcp.hdr.src_port);
	PUT(s, it, dport, tcp.hdr.dst_port);
	if ((it->mask.tcp.hdr.tcp_flags & ~allowed) == 0)
		PUT(s, it, tcp_flags, tcp.hdr.tcp_flags);
	return put_l4(s, it, IPPROTO_TCP);
}

static int item_udp(struct emu_rule_spec *s, struct item *it)
{
	PUT(s, it, sport, udp.hdr.src_port);
	PUT(s, it, dport, udp.hdr.dst_port);
	return put_l4(s, it, IPPROTO_UDP);
}

static int item_sctp(struct emu_rule_spec *s, struct item *it)
{
	PUT(s, it, sport, sctp.hdr.src_port);
	PUT(s, it, dport, sctp.hdr.dst_port);
	return put_l4(s, it, IPPROTO_SCTP);
}

static int item_icmp(struct emu_rule_spec *s, struct item *it)
{
	put(s, AT(s, sport), &it->spec.icmp.hdr.icmp_type, &it->mask.icmp.hdr.icmp_type, 1);
	put(s, AT(s, sport) + 1, &it->spec.icmp.hdr.icmp_code, &it->mask.icmp.hdr.icmp_code, 1);
	return put_l4(s, it, IPPROTO_ICMP);
}

static int item_icmp6(struct emu_rule_spec *s, struct item *it)
{
	put(s, AT(s, sport), &it->spec.icmp6.type, &it->mask.icmp6.type, 1);
	put(s, AT(s, sport) + 1, &it->spec.icmp6.code, &it->mask.icmp6.code, 1);
	return put_l4(s, it, IPPROTO_ICMPV6);
}

static int put_tunnel(struct emu_rule_spec *s, struct item *it, enum emu_tunnel tunnel)
{
	if (s->inner != 0)
		return REFUSE(it->err, ENOTSUP, ITEM, it->item, "one tunnel in a pattern");
	put_byte(s, offsetof(struct emu_key, tunnel), (uint8_t)tunnel, 0xff);
	s->inner = 1;
	s->layers = 2;
	return 0;
}

static int item_vxlan(struct emu_rule_spec *s, struct item *it)
{
	const size_t vni = offsetof(struct emu_key, vni);

	if (it->spec.vxlan.hdr.vx_flags == RTE_BE32(0x08000000))
		it->mask.vxlan.hdr.vx_flags = 0;
	it->spec.vxlan.hdr.vx_vni &= RTE_BE32(0xffffff00);
	put(s, vni, &it->spec.vxlan.hdr.vx_vni, &it->mask.vxlan.hdr.vx_vni, 4);
	return put_tunnel(s, it, EMU_TUNNEL_VXLAN);
}

static int item_geneve(struct emu_rule_spec *s, struct item *it)
{
	put(s, offsetof(struct emu_key, vni), it->spec.geneve.vni, it->mask.geneve.vni, 3);
	if (it->spec.geneve.protocol == RTE_BE16(RTE_ETHER_TYPE_TEB))
		it->mask.geneve.protocol = 0;
	return put_tunnel(s, it, EMU_TUNNEL_GENEVE);
}

static int put_in_port(struct emu_rule_spec *s, struct item *it, uint32_t ethdev)
{
	int port = emu_port_by_ethdev(s->port->nic, ethdev);

	if (s->domain != EMU_TRANSFER)
		return REFUSE(it->err, ENOTSUP, ITEM, it->item,
			"a port item stands in transfer rules only");
	if (port < 0)
		return REFUSE(it->err, EINVAL, ITEM_SPEC, it->item->spec,
			"the port is not of this switch domain");
	s->key.in_port = (uint16_t)port;
	s->mask.in_port = 0xffff;
	return 0;
}

static int item_port_id(struct emu_rule_spec *s, struct item *it)
{
	if (it->mask.port_id.id != UINT32_MAX)
		return 0;
	it->mask.port_id.id = 0;
	return put_in_port(s, it, it->spec.port_id.id);
}

static int item_represented_port(struct emu_rule_spec *s, struct item *it)
{
	if (it->mask.ethdev.port_id != UINT16_MAX)
		return 0;
	it->mask.ethdev.port_id = 0;
	return put_in_port(s, it, it->spec.ethdev.port_id);
}

static const struct item_kind {
	enum rte_flow_item_type type;
	enum emu_item item;
	int (*parse)(struct emu_rule_spec *s, struct item *it);
	size_t size;
	const void *default_mask;
} kinds[] = {
#define KIND(NAME, name, body, def)                                      \
	{                                                                \
		RTE_FLOW_ITEM_TYPE_##NAME, EMU_ITEM_##NAME, item_##name, \
			sizeof(struct rte_flow_item_##body), def         \
	}
	KIND(ETH, eth, eth, &rte_flow_item_eth_mask),
	KIND(VLAN, vlan, vlan, &rte_flow_item_vlan_mask),
	KIND(IPV4, ipv4, ipv4, &rte_flow_item_ipv4_mask),
	KIND(IPV6, ipv6, ipv6, &rte_flow_item_ipv6_mask),
	KIND(IPV6_FRAG_EXT, ipv6_frag_ext, ipv6_frag_ext, NULL),
	KIND(TCP, tcp, tcp, &rte_flow_item_tcp_mask),
	KIND(UDP, udp, udp, &rte_flow_item_udp_mask),
	KIND(SCTP, sctp, sctp, &rte_flow_item_sctp_mask),
	KIND(ICMP, icmp, icmp, &rte_flow_item_icmp_mask),
	KIND(ICMP6, icmp6, icmp6, &rte_flow_item_icmp6_mask),
	KIND(VXLAN, vxlan, vxlan, &rte_flow_item_vxlan_mask),
	KIND(GENEVE, geneve, geneve, &rte_flow_item_geneve_mask),
	KIND(PORT_ID, port_id, port_id, &rte_flow_item_port_id_mask),
	KIND(REPRESENTED_PORT, represented_port, ethdev, &rte_flow_item_ethdev_mask),
#undef KIND
};

static const struct item_kind *kind_of(const struct emu_rule_spec *s, enum rte_flow_item_type type)
{
	for (unsigned i = 0; i < RTE_DIM(kinds); i++)
		if (kinds[i].type == type)
			return s->profile->items[s->domain] & 1ull << kinds[i].item ? &kinds[i]
										    : NULL;
	return NULL;
}

static bool zero(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		if (b[i] != 0)
			return false;
	return true;
}

static int parse_one(
	struct emu_rule_spec *s, const struct rte_flow_item *item, struct rte_flow_error *err)
{
	const struct item_kind *kind = kind_of(s, item->type);
	struct item it = {.item = item, .err = err};
	int rc;

	if (kind == NULL)
		return REFUSE(err, ENOTSUP, ITEM, item, "item not supported");
	if (item->spec == NULL && (item->mask != NULL || item->last != NULL))
		return REFUSE(err, EINVAL, ITEM_SPEC, item, "mask or last without spec");
	if (item->spec != NULL) {
		const void *mask = item->mask != NULL ? item->mask : kind->default_mask;

		memcpy(&it.spec, item->spec, kind->size);
		if (mask != NULL)
			memcpy(&it.mask, mask, kind->size);
	}
	if (item->last != NULL && memcmp(item->last, item->spec, kind->size) != 0 &&
		!zero(item->last, kind->size))
		return REFUSE(err, ENOTSUP, ITEM_LAST, item, "ranges are not supported");
	rc = kind->parse(s, &it);
	if (rc != 0)
		return rc;
	if (!zero(&it.mask, kind->size))
		return REFUSE(err, ENOTSUP, ITEM_MASK, item->mask,
			"the mask names a field that cannot be matched");
	return 0;
}

int emu_items_parse(
	struct emu_rule_spec *s, const struct rte_flow_item *items, struct rte_flow_error *err)
{
	s->layers = 1;
	for (; items->type != RTE_FLOW_ITEM_TYPE_END; items++) {
		int rc;

		if (items->type == RTE_FLOW_ITEM_TYPE_VOID)
			continue;
		rc = parse_one(s, items, err);
		if (rc != 0)
			return rc;
	}
	/* Set while parsing to know a second VLAN item. */
	s->key.at[0].zero = s->key.at[1].zero = 0;
	if (s->mask.in_port == 0 &&
		!(s->domain == EMU_TRANSFER && s->profile->proxy_all_ports &&
			s->port->index == 0)) {
		s->key.in_port = s->port->index;
		s->mask.in_port = 0xffff;
	}
	return 0;
}
