/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* From bytes to the key that rules are matched with.
 *
 * The e-switch runs it. A fragment, the first one included, has no layer 4 here: rules that name
 * one miss. So does a header that the frame does not hold wholly, and IPv6 with extension headers.
 * Tunnels are looked into when a UDP header says VXLAN or Geneve. */

#include <rte_ether.h>
#include <rte_geneve.h>
#include <rte_icmp.h>
#include <rte_ip.h>
#include <rte_sctp.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include "emu.h"

#define VLANS_MAX   2
#define GENEVE_PORT 6081

struct cursor {
	const uint8_t *data;
	uint32_t at, len;
};

static const void *take(struct cursor *c, uint32_t n)
{
	const void *p = c->data + c->at;

	if (c->len - c->at < n)
		return NULL;
	c->at += n;
	return p;
}

static void parse_l4(struct cursor *c, struct emu_layer *l, struct emu_headers *h)
{
	const struct rte_tcp_hdr *tcp;
	const struct rte_udp_hdr *udp;
	const struct rte_icmp_hdr *icmp;
	uint32_t want = 0;

	h->l4 = (uint16_t)c->at;
	switch (l->proto) {
	case IPPROTO_TCP:
		want = sizeof(*tcp);
		break;
	case IPPROTO_UDP:
		want = sizeof(*udp);
		break;
	case IPPROTO_SCTP:
		want = sizeof(struct rte_sctp_hdr);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		want = sizeof(*icmp);
		break;
	default:
		return;
	}
	udp = take(c, want);
	if (udp == NULL)
		return;
	l->l4 = l->proto;
	if (want == sizeof(*icmp) && l->l4 != IPPROTO_UDP) {
		memcpy(&l->sport, udp, 2);
		return;
	}
	l->sport = udp->src_port;
	l->dport = udp->dst_port;
	if (l->l4 == IPPROTO_TCP) {
		tcp = (const void *)udp;
		l->tcp_flags = tcp->tcp_flags;
	}
}

static void parse_ipv4(struct cursor *c, struct emu_layer *l, struct emu_headers *h)
{
	const struct rte_ipv4_hdr *ip = take(c, sizeof(*ip));
	uint32_t options;

	if (ip == NULL || ip->version_ihl >> 4 != 4 || (ip->version_ihl & 15) < 5)
		return;
	options = (ip->version_ihl & 15u) * 4 - (uint32_t)sizeof(*ip);
	if (options != 0 && take(c, options) == NULL)
		return;
	l->l3 = 4;
	l->ihl = ip->version_ihl & 15;
	l->tos = ip->type_of_service;
	l->ttl = ip->time_to_live;
	l->proto = ip->next_proto_id;
	memcpy(l->src, &ip->src_addr, 4);
	memcpy(l->dst, &ip->dst_addr, 4);
	l->frag = (ip->fragment_offset & RTE_BE16(0x3fff)) != 0;
	if (!l->frag)
		parse_l4(c, l, h);
}

static void parse_ipv6(struct cursor *c, struct emu_layer *l, struct emu_headers *h)
{
	const struct rte_ipv6_hdr *ip = take(c, sizeof(*ip));

	if (ip == NULL || (rte_be_to_cpu_32(ip->vtc_flow) >> 28) != 6)
		return;
	l->l3 = 6;
	l->tos = (uint8_t)(rte_be_to_cpu_32(ip->vtc_flow) >> 20);
	l->ttl = ip->hop_limits;
	l->proto = ip->proto;
	EMU_IPV6_COPY(l->src, ip->src_addr);
	EMU_IPV6_COPY(l->dst, ip->dst_addr);
	l->frag = ip->proto == IPPROTO_FRAGMENT;
	if (!l->frag)
		parse_l4(c, l, h);
}

static bool parse_layer(struct cursor *c, struct emu_layer *l, struct emu_headers *h)
{
	const struct rte_ether_hdr *eth = take(c, sizeof(*eth));
	unsigned vlans = 0;

	h->l2 = (uint16_t)(c->at - sizeof(*eth));
	if (eth == NULL)
		return false;
	memcpy(l->eth_dst, &eth->dst_addr, 6);
	memcpy(l->eth_src, &eth->src_addr, 6);
	l->eth_type = eth->ether_type;
	while (vlans < VLANS_MAX &&
		(l->eth_type == RTE_BE16(RTE_ETHER_TYPE_VLAN) ||
			l->eth_type == RTE_BE16(RTE_ETHER_TYPE_QINQ))) {
		const struct rte_vlan_hdr *vlan = take(c, sizeof(*vlan));

		if (vlan == NULL)
			return false;
		*(vlans++ == 0 ? &l->tci : &l->tci2) = vlan->vlan_tci;
		l->eth_type = vlan->eth_proto;
	}
	l->vlans = (uint8_t)((1 << vlans) - 1);
	h->l3 = (uint16_t)c->at;
	if (l->eth_type == RTE_BE16(RTE_ETHER_TYPE_IPV4))
		parse_ipv4(c, l, h);
	else if (l->eth_type == RTE_BE16(RTE_ETHER_TYPE_IPV6))
		parse_ipv6(c, l, h);
	return true;
}

static enum emu_tunnel parse_tunnel(struct cursor *c, const struct emu_layer *l, uint32_t *vni)
{
	const uint8_t *header;
	uint32_t options;

	if (l->l4 != IPPROTO_UDP)
		return EMU_TUNNEL_NONE;
	if (l->dport == RTE_BE16(RTE_VXLAN_DEFAULT_PORT)) {
		header = take(c, sizeof(struct rte_vxlan_hdr));
		if (header == NULL || (header[0] & 0x08) == 0)
			return EMU_TUNNEL_NONE;
		memcpy(vni, header + 4, 4);
		*vni &= RTE_BE32(0xffffff00);
		return EMU_TUNNEL_VXLAN;
	}
	if (l->dport != RTE_BE16(GENEVE_PORT))
		return EMU_TUNNEL_NONE;
	header = take(c, sizeof(struct rte_geneve_hdr));
	if (header == NULL || header[0] >> 6 != 0 ||
		memcmp(header + 2, &(uint16_t){RTE_BE16(RTE_ETHER_TYPE_TEB)}, 2) != 0)
		return EMU_TUNNEL_NONE;
	memcpy(vni, header + 4, 4);
	*vni &= RTE_BE32(0xffffff00);
	options = (header[0] & 0x3fu) * 4;
	if (options != 0 && take(c, options) == NULL)
		return EMU_TUNNEL_NONE;
	return EMU_TUNNEL_GENEVE;
}

void emu_parse(struct emu_packet *p)
{
	struct cursor c = {
		.data = rte_pktmbuf_mtod(p->m, const uint8_t *),
		.len = rte_pktmbuf_data_len(p->m),
	};
	uint16_t in_port = p->key.in_port;

	memset(&p->key, 0, sizeof(p->key));
	p->key.in_port = in_port;
	if (!parse_layer(&c, &p->key.at[0], &p->at[0]))
		return;
	p->key.tunnel = parse_tunnel(&c, &p->key.at[0], &p->key.vni);
	if (p->key.tunnel != EMU_TUNNEL_NONE)
		parse_layer(&c, &p->key.at[1], &p->at[1]);
}

/* Spreads flows over queues, as a NIC's hash does; the inner headers where there is a tunnel. */
uint32_t emu_flow_hash(const struct emu_key *key)
{
	const struct emu_layer *l = &key->at[key->tunnel != EMU_TUNNEL_NONE];
	uint64_t h = (uint64_t)l->proto << 32 | (uint32_t)l->sport << 16 | l->dport;
	uint64_t words[4];

	memcpy(words, l->src, 16);
	memcpy(words + 2, l->dst, 16);
	for (unsigned i = 0; i < 4; i++) {
		h = (h ^ words[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return (uint32_t)(h >> 32 ^ h);
}
