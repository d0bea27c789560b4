/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Patterns of the rule compiler (see lower.h): complete from Ethernet to L4 even where a field is
 * not matched, since drivers refuse to rewrite a header that the pattern does not name. Any
 * thread; no state; no call to DPDK. */

#include "core/packet.h"
#include "offload/lower_private.h"

#define FRAGMENT_BITS 0x3fff /* IPv4: more fragments, and the offset */

/* --- the buffer ------------------------------------------------------------------------------- */

/* Something to write to, even when nothing is left: the result is refused at the end. */
void *lower_bytes(struct build *b, size_t size)
{
	static __thread uint64_t sink[16];
	uint8_t *p = b->at;

	size = (size + 15) & ~(size_t)15;
	if (b->full || size > (size_t)(b->end - b->at)) {
		b->full = true;
		return size <= sizeof(sink) ? sink : NULL;
	}
	b->at += size;
	memset(p, 0, size);
	return p;
}

/* An item's spec, zero, and its mask behind it. */
static void *add_item(struct build *b, enum rte_flow_item_type type, size_t size, void **mask)
{
	void *spec = lower_bytes(b, size);

	*mask = lower_bytes(b, size);
	if (b->n_items == ITEMS_MAX - 1) {
		b->full = true;
		return spec;
	}
	b->item_size[b->n_items] = (uint16_t)size;
	b->items[b->n_items++] = (struct rte_flow_item){.type = type, .spec = spec, .mask = *mask};
	return spec;
}

/* A bit outside the mask is accepted by some drivers, and such a rule is never hit. */
void lower_mask_specs(struct build *b)
{
	for (unsigned i = 0; i < b->n_items; i++) {
		uint8_t *spec = (uint8_t *)(uintptr_t)b->items[i].spec;
		const uint8_t *mask = b->items[i].mask;

		for (unsigned n = 0; n < b->item_size[i]; n++)
			spec[n] &= mask[n];
	}
}

/* --- items ------------------------------------------------------------------------------------ */

static void item_port(struct build *b)
{
	struct rte_flow_item_ethdev *dev, *dev_mask;
	struct rte_flow_item_port_id *id, *id_mask;

	if (b->rule->fate != OFFLOAD_FATE_MARK) {
		switch (b->dialect->port) {
		case OFFLOAD_PORT_REPRESENTED:
			dev = add_item(b, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, sizeof(*dev),
				(void **)&dev_mask);
			dev->port_id = b->rule->match.port;
			dev_mask->port_id = UINT16_MAX;
			break;
		case OFFLOAD_PORT_ID:
			id = add_item(
				b, RTE_FLOW_ITEM_TYPE_PORT_ID, sizeof(*id), (void **)&id_mask);
			id->id = b->rule->match.port;
			id_mask->id = UINT32_MAX;
			break;
		}
	}
	TAKE(b, match.port); /* else the port that is told the rule */
}

/* Family gives the type behind all tags. A frame with a tag has another type in its Ethernet
 * header, and so an untagged rule never takes it. */
static void item_eth(
	struct build *b, const uint8_t *src, const uint8_t *dst, uint16_t vlan, uint8_t family)
{
	static const uint8_t any[6];
	uint16_t type = RTE_BE16(family == IP_V6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	struct rte_flow_item_eth *eth, *eth_mask;
	struct rte_flow_item_vlan *tag, *tag_mask;

	eth = add_item(b, RTE_FLOW_ITEM_TYPE_ETH, sizeof(*eth), (void **)&eth_mask);
	if (memcmp(src, any, 6) != 0) {
		memcpy(&eth->hdr.src_addr, src, 6);
		memset(&eth_mask->hdr.src_addr, 0xff, 6);
	}
	if (memcmp(dst, any, 6) != 0) {
		memcpy(&eth->hdr.dst_addr, dst, 6);
		memset(&eth_mask->hdr.dst_addr, 0xff, 6);
	}
	if (vlan == 0) {
		eth->hdr.ether_type = type;
		eth_mask->hdr.ether_type = UINT16_MAX;
		return;
	}
	tag = add_item(b, RTE_FLOW_ITEM_TYPE_VLAN, sizeof(*tag), (void **)&tag_mask);
	tag->hdr.vlan_tci = rte_cpu_to_be_16(vlan);
	tag_mask->hdr.vlan_tci = RTE_BE16(0x0fff);
	tag->hdr.eth_proto = type;
	tag_mask->hdr.eth_proto = UINT16_MAX;
}

/* src NULL: any. */
static void item_ip4(struct build *b, const struct ip_addr *src, const struct ip_addr *dst,
	uint8_t proto, uint8_t ttl, bool not_fragment)
{
	struct rte_flow_item_ipv4 *ip, *mask;

	ip = add_item(b, RTE_FLOW_ITEM_TYPE_IPV4, sizeof(*ip), (void **)&mask);
	ip->hdr.next_proto_id = proto;
	mask->hdr.next_proto_id = UINT8_MAX;
	ip->hdr.time_to_live = ttl;
	mask->hdr.time_to_live = ttl != 0 ? UINT8_MAX : 0;
	mask->hdr.fragment_offset = not_fragment ? RTE_BE16(FRAGMENT_BITS) : 0;
	if (src != NULL) {
		ip->hdr.src_addr = ip_v4(src);
		mask->hdr.src_addr = UINT32_MAX;
	}
	ip->hdr.dst_addr = ip_v4(dst);
	mask->hdr.dst_addr = UINT32_MAX;
}

/* The exact next header leaves every extension header out, where a driver reads it as the
 * header's own field; has_frag_ext does where it reads it as the last one's. */
static void item_ip6(struct build *b, const struct ip_addr *src, const struct ip_addr *dst,
	uint8_t proto, uint8_t ttl, bool not_fragment)
{
	struct rte_flow_item_ipv6 *ip, *mask;

	_Static_assert(sizeof(ip->hdr.src_addr) == 16, "an array, or a structure since 24.11");
	ip = add_item(b, RTE_FLOW_ITEM_TYPE_IPV6, sizeof(*ip), (void **)&mask);
	ip->hdr.proto = proto;
	mask->hdr.proto = UINT8_MAX;
	ip->hdr.hop_limits = ttl;
	mask->hdr.hop_limits = ttl != 0 ? UINT8_MAX : 0;
	mask->has_frag_ext = not_fragment;
	if (src != NULL) {
		memcpy(&ip->hdr.src_addr, src->bytes, 16);
		memset(&mask->hdr.src_addr, 0xff, 16);
	}
	memcpy(&ip->hdr.dst_addr, dst->bytes, 16);
	memset(&mask->hdr.dst_addr, 0xff, 16);
}

static void item_ip(struct build *b, uint8_t family, const struct ip_addr *src,
	const struct ip_addr *dst, uint8_t proto, uint8_t ttl, bool not_fragment)
{
	if (family == IP_V6)
		item_ip6(b, src, dst, proto, ttl, not_fragment);
	else
		item_ip4(b, src, dst, proto, ttl, not_fragment);
}

static void item_udp(struct build *b, uint16_t sport, uint16_t dport, bool any_sport)
{
	struct rte_flow_item_udp *udp, *mask;

	udp = add_item(b, RTE_FLOW_ITEM_TYPE_UDP, sizeof(*udp), (void **)&mask);
	udp->hdr.src_port = sport;
	mask->hdr.src_port = any_sport ? 0 : UINT16_MAX;
	udp->hdr.dst_port = dport;
	mask->hdr.dst_port = UINT16_MAX;
}

static void item_tcp(struct build *b)
{
	const struct offload_rule *r = b->rule;
	struct rte_flow_item_tcp *tcp, *mask;

	tcp = add_item(b, RTE_FLOW_ITEM_TYPE_TCP, sizeof(*tcp), (void **)&mask);
	tcp->hdr.src_port = r->match.sport;
	mask->hdr.src_port = UINT16_MAX;
	tcp->hdr.dst_port = r->match.dport;
	mask->hdr.dst_port = UINT16_MAX;
	if (r->match.no_tcp_control)
		mask->hdr.tcp_flags = RTE_TCP_FIN_FLAG | RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG;
	TAKE(b, match.no_tcp_control);
}

static void item_vni(struct build *b, const struct offload_tunnel *t)
{
	struct rte_flow_item_vxlan *vxlan, *vxlan_mask;
	struct rte_flow_item_geneve *geneve, *geneve_mask;

	if (t->kind == OFFLOAD_TUNNEL_VXLAN) {
		vxlan = add_item(b, RTE_FLOW_ITEM_TYPE_VXLAN, sizeof(*vxlan), (void **)&vxlan_mask);
		vxlan->hdr.vx_vni = rte_cpu_to_be_32(t->vni << 8);
		vxlan_mask->hdr.vx_vni = RTE_BE32(0xffffff00);
		return;
	}
	geneve = add_item(b, RTE_FLOW_ITEM_TYPE_GENEVE, sizeof(*geneve), (void **)&geneve_mask);
	geneve->protocol = RTE_BE16(RTE_ETHER_TYPE_TEB);
	geneve_mask->protocol = UINT16_MAX;
	/* No options: they would be read as the inner frame. */
	geneve_mask->ver_opt_len_o_c_rsvd0 = RTE_BE16(0x3f00);
	geneve->vni[0] = (uint8_t)(t->vni >> 16);
	geneve->vni[1] = (uint8_t)(t->vni >> 8);
	geneve->vni[2] = (uint8_t)t->vni;
	memset(geneve_mask->vni, 0xff, 3);
}

/* The outer headers of a packet to decapsulate. */
static void items_tunnel(struct build *b)
{
	const struct offload_tunnel *t = &b->rule->match.tunnel;

	item_eth(b, t->smac, t->dmac, b->rule->match.vlan, t->family);
	item_ip(b, t->family, ip_is_zero(&t->src) ? NULL : &t->src, &t->dst, IP_PROTO_UDP, t->ttl,
		b->rule->match.not_fragment);
	item_udp(b, t->sport, t->dport, t->sport == 0);
	item_vni(b, t);
	TAKE(b, match.tunnel);
}

void lower_items(struct build *b)
{
	const struct offload_rule *r = b->rule;
	bool inner = r->match.tunnel.kind != OFFLOAD_TUNNEL_NONE;

	item_port(b);
	if (inner)
		items_tunnel(b);
	item_eth(b, r->match.smac, r->match.dmac, inner ? 0 : r->match.vlan, r->match.family);
	item_ip(b, r->match.family, &r->match.src, &r->match.dst, r->match.proto, r->match.ttl,
		r->match.not_fragment);
	if (r->match.proto == IP_PROTO_TCP)
		item_tcp(b);
	else
		item_udp(b, r->match.sport, r->match.dport, false);
	TAKE(b, match.vlan);
	TAKE(b, match.smac);
	TAKE(b, match.dmac);
	TAKE(b, match.family);
	TAKE(b, match.src);
	TAKE(b, match.dst);
	TAKE(b, match.proto);
	TAKE(b, match.ttl);
	TAKE(b, match.not_fragment);
	TAKE(b, match.sport);
	TAKE(b, match.dport);
}

void lower_items_encap(struct build *b)
{
	const struct offload_tunnel *t = &b->rule->to.tunnel;

	item_eth(b, t->smac, t->dmac, b->rule->to.vlan, t->family);
	item_ip(b, t->family, &t->src, &t->dst, IP_PROTO_UDP, t->ttl, false);
	item_udp(b, t->sport, t->dport, t->sport == 0);
	item_vni(b, t);
}
