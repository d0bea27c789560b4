/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861) on the wire: reading what came,
 * building answers, questions and announcements. No table of neighbours: the caller learns and
 * decides. Workers and control; pure. */

#include "core/frame_build.h"
#include "core/packet.h"

#define ARP_REQUEST 1
#define ARP_REPLY   2

#define ND_ROUTER_SOLICIT    133
#define ND_ROUTER_ADVERT     134
#define ND_NEIGHBOUR_SOLICIT 135
#define ND_NEIGHBOUR_ADVERT  136
#define ND_REDIRECT          137

#define ND_OPT_SOURCE_MAC 1
#define ND_OPT_TARGET_MAC 2

/* Flags of an advertisement. */
#define NA_ROUTER    0x80
#define NA_SOLICITED 0x40
#define NA_OVERRIDE  0x20

struct arp_pkt {
	uint16_t hw;
	uint16_t proto;
	uint8_t hw_len;
	uint8_t proto_len;
	uint16_t op;
	uint8_t sender_mac[6];
	uint32_t sender;
	uint8_t target_mac[6];
	uint32_t target;
} __attribute__((packed));

/* A solicitation or advertisement with one link-layer address option. */
struct nd_pkt {
	uint8_t type;
	uint8_t code;
	uint16_t csum;
	uint8_t flags;
	uint8_t reserved[3];
	uint8_t target[16];
	uint8_t opt_type;
	uint8_t opt_len; /* units of 8 bytes */
	uint8_t mac[6];
} __attribute__((packed));

_Static_assert(sizeof(struct arp_pkt) == 28, "RFC 826 for Ethernet and IPv4");
_Static_assert(sizeof(struct nd_pkt) == 32, "RFC 4861 4.3 and 4.6.1");

#define ND_TARGET_END 24 /* header and target, in front of the options */

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

static bool mac_is_station(const uint8_t mac[6])
{
	return (mac[0] & 1) == 0 && (load_u32(mac) != 0 || load_u16(mac + 4) != 0);
}

static bool v6_is_zero(const uint8_t *a)
{
	return load_u64(a) == 0 && load_u64(a + 8) == 0;
}

static bool v6_is_solicited_node(const uint8_t *a)
{
	static const uint8_t prefix[13] = {0xff, 0x02, [11] = 1, 0xff};

	return memcmp(a, prefix, sizeof(prefix)) == 0;
}

static void solicited_node(const uint8_t target[16], uint8_t out[16])
{
	static const uint8_t prefix[13] = {0xff, 0x02, [11] = 1, 0xff};

	memcpy(out, prefix, sizeof(prefix));
	memcpy(out + 13, target + 13, 3);
}

static void multicast_mac(const uint8_t group[16], uint8_t mac[6])
{
	mac[0] = mac[1] = 0x33;
	memcpy(mac + 2, group + 12, 4);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool ipv4_is_host(uint32_t be)
{
	uint32_t a = ntohl(be);

	return a >> 24 != 0 && a >> 24 != 127 && a >> 28 != 0xe && a != UINT32_MAX;
}

static void parse_arp(
	const uint8_t *frame, uint16_t len, const struct parsed *p, struct neighbour_msg *out)
{
	struct arp_pkt arp;

	if (p->l3 + sizeof(arp) > len)
		return;
	memcpy(&arp, frame + p->l3, sizeof(arp));
	if (arp.hw != htons(1) || arp.proto != htons(ETH_TYPE_IPV4) || arp.hw_len != 6 ||
		arp.proto_len != 4 || !mac_is_station(arp.sender_mac))
		return;
	out->probe = arp.sender == 0;
	if (!out->probe && !ipv4_is_host(arp.sender))
		return;
	out->has_mac = true;
	memcpy(out->mac, arp.sender_mac, 6);
	out->sender = ip_from_v4(arp.sender);
	out->target = ip_from_v4(arp.target);
	if (arp.op == htons(ARP_REQUEST) && arp.sender != arp.target) {
		if (ipv4_is_host(arp.target))
			out->kind = NEIGH_REQUEST;
		return;
	}
	if ((arp.op != htons(ARP_REPLY) && arp.op != htons(ARP_REQUEST)) || out->probe)
		return;
	/* A reply (to a probe: to 0.0.0.0), or a request for oneself, which is an announcement
	 * (RFC 5227 3). */
	out->kind = NEIGH_REPLY;
	out->target = out->sender;
	out->override = true;
	out->solicited = arp.sender != arp.target;
}

/* The MAC in option type; false when an option is malformed. */
static bool nd_options(
	const uint8_t *at, const uint8_t *end, uint8_t type, struct neighbour_msg *out)
{
	while (at < end) {
		uint32_t len;

		if (end - at < 8)
			return false;
		len = at[1] * 8u;
		if (len == 0 || len > (size_t)(end - at))
			return false;
		if (at[0] == type && len == 8) {
			if (!mac_is_station(at + 2))
				return false;
			out->has_mac = true;
			memcpy(out->mac, at + 2, 6);
		}
		at += len;
	}
	return true;
}

/* RFC 4861 7.1.1 and 7.1.2. */
static void parse_nd_neighbour(
	const uint8_t *ip, const uint8_t *icmp, uint32_t icmp_len, struct neighbour_msg *out)
{
	const uint8_t *src = ip + offsetof(struct ipv6_hdr, src);
	const uint8_t *dst = ip + offsetof(struct ipv6_hdr, dst);
	const uint8_t *target = icmp + offsetof(struct nd_pkt, target);
	bool solicit = icmp[0] == ND_NEIGHBOUR_SOLICIT;
	uint8_t flags;

	if (icmp_len < ND_TARGET_END || target[0] == 0xff || ipv6_is_martian(target))
		return;
	flags = icmp[offsetof(struct nd_pkt, flags)];
	if (!nd_options(icmp + ND_TARGET_END, icmp + icmp_len,
		    solicit ? ND_OPT_SOURCE_MAC : ND_OPT_TARGET_MAC, out))
		return;
	out->sender = ip_from_v6(src);
	out->target = ip_from_v6(target);
	if (solicit) {
		out->probe = v6_is_zero(src);
		if (out->probe && (out->has_mac || !v6_is_solicited_node(dst)))
			return;
		out->kind = NEIGH_REQUEST;
		return;
	}
	out->solicited = (flags & NA_SOLICITED) != 0;
	out->override = (flags & NA_OVERRIDE) != 0;
	if (v6_is_zero(src) || (dst[0] == 0xff && out->solicited))
		return;
	out->kind = NEIGH_REPLY;
}

static void parse_nd(
	const uint8_t *frame, uint16_t len, const struct parsed *p, struct neighbour_msg *out)
{
	const uint8_t *ip = frame + p->l3, *icmp = frame + p->l4;
	uint16_t icmp_len;

	if (p->len > len || p->l4 + 8 > p->len || p->l4 < p->l3 + sizeof(struct ipv6_hdr))
		return;
	icmp_len = (uint16_t)(p->len - p->l4);
	/* 255 proves that no router forwarded it. */
	if (ip[offsetof(struct ipv6_hdr, hop_limit)] != 255 || icmp[1] != 0 ||
		!l4_csum_valid(frame, p->l3, p->l4, icmp_len, true, IP_PROTO_ICMPV6))
		return;
	switch (icmp[0]) {
	case ND_NEIGHBOUR_SOLICIT:
	case ND_NEIGHBOUR_ADVERT:
		parse_nd_neighbour(ip, icmp, icmp_len, out);
		break;
	case ND_ROUTER_SOLICIT: /* RFC 4861 6.1.1 */
		if (!nd_options(icmp + 8, icmp + icmp_len, ND_OPT_SOURCE_MAC, out))
			return;
		out->sender = ip_from_v6(ip + offsetof(struct ipv6_hdr, src));
		out->probe = v6_is_zero(out->sender.bytes);
		if (!(out->probe && out->has_mac))
			out->kind = NEIGH_ROUTER_SOLICIT;
		break;
	case ND_ROUTER_ADVERT:
	case ND_REDIRECT:
		out->kind = NEIGH_OTHER;
		break;
	}
}

void neighbour_parse(
	const uint8_t *frame, uint16_t len, const struct parsed *p, struct neighbour_msg *out)
{
	memset(out, 0, sizeof(*out));
	if (p->kind != PARSE_NEIGHBOUR)
		return;
	if (p->flags & LANE_V6)
		parse_nd(frame, len, p, out);
	else
		parse_arp(frame, len, p, out);
}

/* --- building --------------------------------------------------------------------------------- */

static uint16_t build_arp(uint8_t *out, uint16_t l3, uint16_t op, const uint8_t sender_mac[6],
	uint32_t sender, const uint8_t target_mac[6], uint32_t target)
{
	struct arp_pkt arp = {
		.hw = htons(1),
		.proto = htons(ETH_TYPE_IPV4),
		.hw_len = 6,
		.proto_len = 4,
		.op = htons(op),
		.sender = sender,
		.target = target,
	};

	memcpy(arp.sender_mac, sender_mac, 6);
	memcpy(arp.target_mac, target_mac, 6);
	memcpy(out + l3, &arp, sizeof(arp));
	return (uint16_t)(l3 + sizeof(arp));
}

static uint16_t build_nd(uint8_t *out, uint16_t l3, uint8_t type, uint8_t flags,
	const uint8_t target[16], const uint8_t mac[6], const uint8_t src[16],
	const uint8_t dst[16])
{
	uint16_t l4 = (uint16_t)(l3 + sizeof(struct ipv6_hdr));
	struct nd_pkt nd = {
		.type = type,
		.flags = flags,
		.opt_type = type == ND_NEIGHBOUR_SOLICIT ? ND_OPT_SOURCE_MAC : ND_OPT_TARGET_MAC,
		.opt_len = 1,
	};

	memcpy(nd.target, target, 16);
	memcpy(nd.mac, mac, 6);
	build_ipv6(out + l3, sizeof(nd), IP_PROTO_ICMPV6, 255, src, dst);
	memcpy(out + l4, &nd, sizeof(nd));
	store_u16(out + l4 + offsetof(struct nd_pkt, csum),
		l4_csum(out, l3, l4, sizeof(nd), true, IP_PROTO_ICMPV6));
	return (uint16_t)(l4 + sizeof(nd));
}

static uint16_t arp_room(uint16_t l3)
{
	return (uint16_t)(l3 + sizeof(struct arp_pkt));
}

static uint16_t nd_room(uint16_t l3)
{
	return (uint16_t)(l3 + sizeof(struct ipv6_hdr) + sizeof(struct nd_pkt));
}

uint16_t neighbour_answer(const uint8_t *frame, uint16_t len, const struct parsed *p,
	const struct neighbour_msg *msg, const uint8_t mac[6], uint8_t *out, uint16_t room)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	uint8_t flags = NA_ROUTER | NA_OVERRIDE;
	const uint8_t *dst = msg->sender.bytes;
	uint8_t to[6];

	if (msg->kind != NEIGH_REQUEST || room < (v6 ? nd_room(p->l3) : arp_room(p->l3)))
		return 0;
	/* A solicitation that is unicast may leave its option out: then to who sent the frame. */
	memcpy(to, msg->has_mac ? msg->mac : frame + 6, 6);
	build_eth_back(out, frame, p->l3);
	memcpy(out, to, 6);
	memcpy(out + 6, mac, 6);
	if (!v6)
		return build_arp(
			out, p->l3, ARP_REPLY, mac, ip_v4(&msg->target), to, ip_v4(&msg->sender));
	if (msg->probe) {
		dst = all_nodes;
		multicast_mac(all_nodes, out);
	} else {
		flags |= NA_SOLICITED;
	}
	return build_nd(out, p->l3, ND_NEIGHBOUR_ADVERT, flags, msg->target.bytes, mac,
		msg->target.bytes, dst);
}

uint16_t neighbour_request(const struct ip_addr *target, const struct ip_addr *source,
	const uint8_t mac[6], uint16_t vlan, uint8_t *out, uint16_t room)
{
	static const uint8_t unknown[6];
	uint16_t l3 = vlan == 0 ? ETH_HLEN : ETH_HLEN + 4;
	uint8_t group[16], to[6];

	if (ip_family(target) != ip_family(source))
		return 0;
	if (ip_family(target) == IP_V4) {
		if (room < arp_room(l3))
			return 0;
		build_eth(out, mac_broadcast, mac, vlan, ETH_TYPE_ARP);
		return build_arp(out, l3, ARP_REQUEST, mac, ip_v4(source), unknown, ip_v4(target));
	}
	if (room < nd_room(l3))
		return 0;
	solicited_node(target->bytes, group);
	multicast_mac(group, to);
	build_eth(out, to, mac, vlan, ETH_TYPE_IPV6);
	return build_nd(out, l3, ND_NEIGHBOUR_SOLICIT, 0, target->bytes, mac, source->bytes, group);
}

uint16_t neighbour_announce(const struct ip_addr *addr, const uint8_t mac[6], uint16_t vlan,
	uint8_t *out, uint16_t room)
{
	static const uint8_t unknown[6];
	uint16_t l3 = vlan == 0 ? ETH_HLEN : ETH_HLEN + 4;
	uint8_t to[6];

	if (ip_family(addr) == IP_V4) {
		if (room < arp_room(l3))
			return 0;
		build_eth(out, mac_broadcast, mac, vlan, ETH_TYPE_ARP);
		return build_arp(out, l3, ARP_REQUEST, mac, ip_v4(addr), unknown, ip_v4(addr));
	}
	if (room < nd_room(l3))
		return 0;
	multicast_mac(all_nodes, to);
	build_eth(out, to, mac, vlan, ETH_TYPE_IPV6);
	return build_nd(out, l3, ND_NEIGHBOUR_ADVERT, NA_ROUTER | NA_OVERRIDE, addr->bytes, mac,
		addr->bytes, all_nodes);
}
