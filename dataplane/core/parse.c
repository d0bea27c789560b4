/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Frames to offsets, flow keys and kinds (see packet.h): everything that parse_fast() leaves, and
 * the packets quoted by ICMP errors. Runs on workers; never reads a byte behind len, never loops
 * longer than the bound on extension headers. */

#include "core/limits.h"
#include "core/packet.h"

#define ND_ROUTER_SOLICIT 133
#define ND_REDIRECT       137

static void drop(struct parsed *out, enum drop_reason reason)
{
	out->kind = PARSE_DROP;
	out->reason = (uint8_t)reason;
}

static void set_key_tail(struct parsed *out, uint16_t zone, uint32_t ports)
{
	uint64_t tail = flow_key_tail(ports, zone, out->proto);

	if (out->flags & LANE_V6)
		memcpy(&out->key6.sport, &tail, 8);
	else
		memcpy(&out->key4.sport, &tail, 8);
}

static bool icmp_is_error(uint8_t type, bool v6)
{
	if (v6)
		return type >= 1 && type <= 4;        /* unreachable, too big, time, parameter */
	return type == 3 || type == 11 || type == 12; /* not quench and redirect: RFC 6633, 1812 */
}

static bool icmp_is_echo(uint8_t type, bool v6)
{
	return v6 ? type == 128 || type == 129 : type == 8 || type == 0;
}

static void parse_icmp(const uint8_t *frame, uint16_t zone, struct parsed *out)
{
	const uint8_t *l4 = frame + out->l4;
	bool v6 = (out->flags & LANE_V6) != 0;
	uint16_t room = (uint16_t)(out->len - out->l4);
	uint16_t id;

	if (icmp_is_echo(l4[0], v6)) {
		id = load_u16(l4 + offsetof(struct icmp_hdr, id));
		set_key_tail(out, zone, (uint32_t)id << 16 | id);
		return;
	}
	if (v6 && l4[0] >= ND_ROUTER_SOLICIT && l4[0] <= ND_REDIRECT &&
		(out->flags & LANE_FRAGMENT) == 0) {
		out->kind = PARSE_NEIGHBOUR;
		return;
	}
	if (!icmp_is_error(l4[0], v6)) {
		drop(out, DROP_IcmpUnsupported);
		return;
	}
	/* RFC 1812 4.3.2.3 and RFC 4443 2.4 keep errors below the size where they are cut. */
	if (out->flags & LANE_FRAGMENT) {
		drop(out, DROP_FragmentUnsupported);
		return;
	}
	if (!l4_csum_valid(frame, out->l3, out->l4, room, v6, out->proto)) {
		drop(out, DROP_BadIcmpChecksum);
		return;
	}
	out->kind = PARSE_ICMP_ERROR;
	out->flags |= LANE_ICMP_ERROR;
	set_key_tail(out, zone, 0);
}

/* Bytes of transport header that a packet or first fragment must hold, 0 for unknown protocols. */
static uint16_t l4_header_min(uint8_t proto, bool v6)
{
	switch (proto) {
	case IP_PROTO_TCP:
		return sizeof(struct tcp_hdr);
	case IP_PROTO_UDP:
		return sizeof(struct udp_hdr);
	case IP_PROTO_SCTP:
		return sizeof(struct sctp_hdr);
	case IP_PROTO_ICMP:
		return v6 ? 0 : sizeof(struct icmp_hdr);
	case IP_PROTO_ICMPV6:
		return v6 ? sizeof(struct icmp_hdr) : 0;
	}
	return 0;
}

/* A transport header at out->l4 of a whole packet or a first fragment. */
static void parse_l4(const uint8_t *frame, uint16_t zone, struct parsed *out)
{
	const uint8_t *l4 = frame + out->l4;
	bool first = (out->flags & LANE_FRAGMENT) != 0;
	uint16_t room = (uint16_t)(out->len - out->l4);
	uint16_t need = l4_header_min(out->proto, (out->flags & LANE_V6) != 0);
	enum drop_reason cut = first ? DROP_FragmentInvalid : DROP_TruncatedHeader;

	if (need == 0) {
		drop(out, DROP_UnknownProtocol);
		return;
	}
	if (room < need) {
		drop(out, cut);
		return;
	}
	out->kind = PARSE_FLOW;
	switch (out->proto) {
	case IP_PROTO_TCP:
		need = l4[12] >> 2 & 0x3c;
		/* At IPv4's least MTU of 68 the options may lie in the second fragment. */
		if (need < sizeof(struct tcp_hdr) || (need > room && !first)) {
			drop(out, DROP_TruncatedHeader);
			return;
		}
		out->tcp_flags = l4[13];
		if (tcp_flags_bad(out->tcp_flags)) {
			drop(out, DROP_BadTcpFlags);
			return;
		}
		break;
	case IP_PROTO_UDP:
		need = ntohs(load_u16(l4 + offsetof(struct udp_hdr, len)));
		if (need < sizeof(struct udp_hdr) || (need > room && !first)) {
			drop(out, DROP_TruncatedHeader);
			return;
		}
		break;
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMPV6:
		parse_icmp(frame, zone, out);
		return;
	}
	set_key_tail(out, zone, load_u32(l4));
}

/* Any fragment, out->l4 behind the header that says so; false: dropped. */
static bool check_fragment(struct parsed *out, uint16_t off, bool more)
{
	bool v6 = (out->flags & LANE_V6) != 0;
	uint32_t payload = (uint32_t)(out->len - out->l4);
	uint16_t header = l4_header_min(out->proto, v6);

	out->flags |= LANE_FRAGMENT;
	out->frag_off = off;
	out->frag_len = (uint16_t)payload;
	if (more)
		out->flags |= LANE_MORE_FRAGMENTS;
	if (off != 0)
		out->flags |= LANE_FRAGMENT_LATER;
	/* A later fragment inside the transport header would rewrite it (RFC 1858, RFC 3128). */
	if (payload == 0 || (more && payload % 8 != 0) || off + payload > UINT16_MAX ||
		(off != 0 && off < header)) {
		drop(out, DROP_FragmentInvalid);
		return false;
	}
	if (header == 0 &&
		!(v6 && (out->proto == IPV6_DESTINATION || out->proto == IPV6_ROUTING))) {
		drop(out, DROP_UnknownProtocol);
		return false;
	}
	return true;
}

static void parse_later_fragment(uint16_t zone, struct parsed *out)
{
	out->kind = PARSE_FRAGMENT_LATER;
	set_key_tail(out, zone, 0);
}

/* --- IPv4 ------------------------------------------------------------------------------------- */

static enum drop_reason ipv4_fault(uint32_t src_be, uint32_t dst_be)
{
	uint32_t src = ntohl(src_be), dst = ntohl(dst_be);

	/* Class E may be used inside a cluster; only the last address of all means everybody. */
	if (dst >> 28 == 0xe || dst == UINT32_MAX)
		return DROP_Multicast;
	if (src >> 24 == 0 || src >> 24 == 127 || src >> 28 == 0xe || src == UINT32_MAX)
		return DROP_MartianSource;
	if (dst >> 24 == 0 || dst >> 24 == 127)
		return DROP_MartianDestination;
	return DROP_REASONS;
}

static void parse_ipv4(const uint8_t *frame, uint16_t len, uint16_t zone, struct parsed *out)
{
	const uint8_t *ip = frame + out->l3;
	uint16_t room = (uint16_t)(len - out->l3);
	uint16_t header, total, frag;
	enum drop_reason fault;

	if (room < sizeof(struct ipv4_hdr)) {
		drop(out, DROP_RuntFrame);
		return;
	}
	header = (ip[0] & 0x0f) * 4;
	total = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, total_len)));
	if (ip[0] >> 4 != 4 || header < sizeof(struct ipv4_hdr) || total < header) {
		drop(out, DROP_BadIpHeader);
		return;
	}
	if (total > room) {
		drop(out, DROP_RuntFrame);
		return;
	}
	if (csum_fold(csum_partial(ip, header, 0)) != 0xffff) {
		drop(out, DROP_BadIpChecksum);
		return;
	}
	out->l4 = (uint16_t)(out->l3 + header);
	out->len = (uint16_t)(out->l3 + total);
	out->proto = ip[offsetof(struct ipv4_hdr, proto)];
	if (header > sizeof(struct ipv4_hdr))
		out->flags |= LANE_IP_OPTIONS;
	memcpy(&out->key4.src, ip + offsetof(struct ipv4_hdr, src), 8);
	fault = ipv4_fault(out->key4.src, out->key4.dst);
	if (fault != DROP_REASONS) {
		drop(out, fault);
		return;
	}

	frag = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, frag)));
	if (frag & IPV4_DONT_FRAGMENT)
		out->flags |= LANE_DONT_FRAGMENT;
	if (frag & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) {
		out->frag_id = load_u16(ip + offsetof(struct ipv4_hdr, id));
		if (!check_fragment(out, (uint16_t)((frag & IPV4_OFFSET_MASK) * 8),
			    (frag & IPV4_MORE_FRAGMENTS) != 0))
			return;
		if (out->flags & LANE_FRAGMENT_LATER) {
			parse_later_fragment(zone, out);
			return;
		}
	}
	parse_l4(frame, zone, out);
}

/* --- IPv6 ------------------------------------------------------------------------------------- */

enum walk_result {
	WALK_TRANSPORT, /* proto and l4 say where */
	WALK_LATER,     /* a fragment that is not the first; l4 behind the fragment header */
	WALK_CUT,
	WALK_UNSUPPORTED,
};

struct ext_walk {
	uint8_t proto;
	uint16_t l4;
	const uint8_t *fragment; /* NULL: none; an atomic one too */
	bool options;
};

/* The chain from start to end; the first next header in w->proto. */
static enum walk_result walk_ext_headers(
	const uint8_t *frame, uint16_t start, uint16_t end, struct ext_walk *w)
{
	uint32_t at = start;

	for (unsigned n = 0; n <= IPV6_EXT_HEADERS_MAX; n++) {
		const uint8_t *ext = frame + at;

		w->l4 = (uint16_t)at;
		switch (w->proto) {
		case IPV6_HOP_BY_HOP:
			if (n != 0)
				return WALK_UNSUPPORTED;
			break;
		case IPV6_ROUTING:
		case IPV6_DESTINATION:
			break;
		case IPV6_FRAGMENT:
			if (w->fragment != NULL)
				return WALK_UNSUPPORTED;
			break;
		case 135: /* mobility, HIP, shim6 and the two for experiments (IANA's list) */
		case 139:
		case 140:
		case 253:
		case 254:
			return WALK_UNSUPPORTED;
		default:
			return WALK_TRANSPORT;
		}
		if (at + 8 > end)
			return WALK_CUT;
		w->options = true;
		if (w->proto == IPV6_FRAGMENT) {
			w->fragment = ext;
			w->proto = ext[0];
			at += 8;
			w->l4 = (uint16_t)at;
			if ((load_u16(ext + offsetof(struct frag6_hdr, off_m)) & htons(0xfff8)) !=
				0)
				return WALK_LATER;
			continue;
		}
		/* With segments left the checksum is made for another destination (RFC 8200 8.1).
		 */
		if (w->proto == IPV6_ROUTING && ext[3] != 0)
			return WALK_UNSUPPORTED;
		w->proto = ext[0];
		at += (ext[1] + 1u) * 8;
		if (at > end)
			return WALK_CUT;
	}
	return WALK_UNSUPPORTED;
}

bool ipv6_is_martian(const uint8_t a[16])
{
	if (load_u64(a) != 0)
		return false;
	return load_u32(a + 8) == htonl(0xffff) ||
		(load_u32(a + 8) == 0 && ntohl(load_u32(a + 12)) <= 1);
}

/* Neighbour messages may be multicast, and come from :: (RFC 4862 5.4.2). */
static enum drop_reason ipv6_fault(const uint8_t src[16], const uint8_t dst[16], bool nd)
{
	bool unspecified = load_u64(src) == 0 && load_u64(src + 8) == 0;

	if (dst[0] == 0xff && !nd)
		return DROP_Multicast;
	if (src[0] == 0xff || (ipv6_is_martian(src) && !(nd && unspecified)))
		return DROP_MartianSource;
	if (ipv6_is_martian(dst))
		return DROP_MartianDestination;
	return DROP_REASONS;
}

enum drop_reason packet_address_fault4(const struct flow_key4 *k)
{
	return ipv4_fault(k->src, k->dst);
}

enum drop_reason packet_address_fault6(const struct flow_key6 *k)
{
	return ipv6_fault(k->src, k->dst, false);
}

static void parse_ipv6_payload(
	const uint8_t *frame, uint16_t zone, const struct ext_walk *w, struct parsed *out)
{
	uint16_t off_m = 0, off = 0;
	bool more = false;

	out->proto = w->proto;
	out->l4 = w->l4;
	if (w->fragment != NULL) {
		off_m = ntohs(load_u16(w->fragment + offsetof(struct frag6_hdr, off_m)));
		off = off_m & 0xfff8;
		more = (off_m & 1) != 0;
	}
	/* An atomic fragment is a whole packet (RFC 6946). */
	if (off != 0 || more) {
		out->l4 = (uint16_t)(w->fragment + sizeof(struct frag6_hdr) - frame);
		out->frag_id = load_u32(w->fragment + offsetof(struct frag6_hdr, id));
		if (!check_fragment(out, off, more))
			return;
		out->l4 = w->l4;
		if (off != 0) {
			parse_later_fragment(zone, out);
			return;
		}
	}
	if (w->proto == IPV6_NO_NEXT) {
		drop(out, DROP_UnknownProtocol);
		return;
	}
	parse_l4(frame, zone, out);
	if (out->kind == PARSE_NEIGHBOUR && w->fragment != NULL)
		drop(out, DROP_FragmentInvalid); /* RFC 6980 5 */
}

static void parse_ipv6(const uint8_t *frame, uint16_t len, uint16_t zone, struct parsed *out)
{
	const uint8_t *ip = frame + out->l3;
	uint16_t room = (uint16_t)(len - out->l3);
	struct ext_walk w = {0};
	enum drop_reason fault;
	uint32_t total;

	out->flags = LANE_V6 | LANE_DONT_FRAGMENT;
	if (room < sizeof(struct ipv6_hdr)) {
		drop(out, DROP_RuntFrame);
		return;
	}
	if (ip[0] >> 4 != 6) {
		drop(out, DROP_BadIpHeader);
		return;
	}
	total = ntohs(load_u16(ip + offsetof(struct ipv6_hdr, payload_len))) +
		(uint32_t)sizeof(struct ipv6_hdr);
	if (total > room) {
		drop(out, DROP_RuntFrame);
		return;
	}
	out->len = (uint16_t)(out->l3 + total);
	memcpy(&out->key6, ip + offsetof(struct ipv6_hdr, src), 32);
	w.proto = ip[offsetof(struct ipv6_hdr, next)];
	switch (walk_ext_headers(
		frame, (uint16_t)(out->l3 + sizeof(struct ipv6_hdr)), out->len, &w)) {
	case WALK_CUT:
		/* The first fragment holds the whole chain (RFC 7112). */
		drop(out, w.fragment != NULL ? DROP_FragmentInvalid : DROP_TruncatedHeader);
		break;
	case WALK_UNSUPPORTED:
		drop(out, DROP_ExtHeaderUnsupported);
		break;
	case WALK_TRANSPORT:
	case WALK_LATER:
		if (w.options)
			out->flags |= LANE_IP_OPTIONS;
		parse_ipv6_payload(frame, zone, &w, out);
		break;
	}
	/* Multicast is told before what is wrong inside it: the group's listeners are not here. */
	if (out->kind == PARSE_DROP && ip[offsetof(struct ipv6_hdr, dst)] != 0xff)
		return;
	fault = ipv6_fault(ip + offsetof(struct ipv6_hdr, src), ip + offsetof(struct ipv6_hdr, dst),
		out->kind == PARSE_NEIGHBOUR);
	if (fault != DROP_REASONS)
		drop(out, fault);
}

/* --- frames ----------------------------------------------------------------------------------- */

/* What parse_fast() takes, tagged or not: most of what stages leave to parse_frame(). */
static bool parse_common(const uint8_t *frame, uint16_t len, uint16_t zone, struct parsed *out)
{
	uint16_t l3 = ETH_HLEN;
	enum drop_reason fault;

	out->vlan = 0;
	if (len >= PARSE_FAST_MIN && load_u16(frame + 12) == htons(ETH_TYPE_VLAN)) {
		out->vlan = ntohs(load_u16(frame + ETH_HLEN)) & 0xfff;
		l3 += 4;
	}
	if (!parse_fast(frame, len, l3, zone, out))
		return false;
	fault = (out->flags & LANE_V6) != 0 ? packet_address_fault6(&out->key6)
					    : packet_address_fault4(&out->key4);
	if (fault != DROP_REASONS)
		drop(out, fault);
	return true;
}

void parse_frame(const uint8_t *frame, uint16_t len, uint16_t zone, struct parsed *out)
{
	uint16_t type;

	if (parse_common(frame, len, zone, out))
		return;
	memset(out, 0, sizeof(*out));
	out->kind = PARSE_DROP;
	out->l3 = ETH_HLEN;
	out->len = len;
	if (len < ETH_HLEN) {
		drop(out, DROP_RuntFrame);
		return;
	}
	type = ntohs(load_u16(frame + offsetof(struct eth_hdr, type)));
	if (type == ETH_TYPE_VLAN) {
		if (len < ETH_HLEN + 4) {
			drop(out, DROP_RuntFrame);
			return;
		}
		type = ntohs(load_u16(frame + ETH_HLEN + 2));
		out->vlan = ntohs(load_u16(frame + ETH_HLEN)) & 0xfff;
		out->l3 = ETH_HLEN + 4;
	}
	out->l4 = out->l3;
	switch (type) {
	case ETH_TYPE_IPV4:
		parse_ipv4(frame, len, zone, out);
		break;
	case ETH_TYPE_IPV6:
		parse_ipv6(frame, len, zone, out);
		break;
	case ETH_TYPE_ARP:
		out->kind = PARSE_NEIGHBOUR;
		break;
	default:
		drop(out, DROP_UnknownEtherType);
	}
}

/* --- quoted packets --------------------------------------------------------------------------- */

/* An IPv4 header at out->l3 of which a router gives at least 8 bytes more (RFC 792). */
static bool quoted_ipv4(const uint8_t *frame, uint16_t len, struct parsed *out)
{
	const uint8_t *ip = frame + out->l3;
	uint32_t header;
	uint16_t frag;

	if (out->l3 + sizeof(struct ipv4_hdr) > len)
		return false;
	header = (ip[0] & 0x0fu) * 4;
	frag = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, frag)));
	if (ip[0] >> 4 != 4 || header < sizeof(struct ipv4_hdr) || (frag & IPV4_OFFSET_MASK) != 0 ||
		out->l3 + header > len)
		return false;
	if (frag & IPV4_MORE_FRAGMENTS)
		out->flags |= LANE_FRAGMENT | LANE_MORE_FRAGMENTS;
	out->proto = ip[offsetof(struct ipv4_hdr, proto)];
	out->l4 = (uint16_t)(out->l3 + header);
	memcpy(&out->key4.src, ip + offsetof(struct ipv4_hdr, src), 8);
	return true;
}

static bool quoted_ipv6(const uint8_t *frame, uint16_t len, struct parsed *out)
{
	const uint8_t *ip = frame + out->l3;
	struct ext_walk w = {0};

	if (out->l3 + sizeof(struct ipv6_hdr) > len || ip[0] >> 4 != 6)
		return false;
	w.proto = ip[offsetof(struct ipv6_hdr, next)];
	if (walk_ext_headers(frame, (uint16_t)(out->l3 + sizeof(struct ipv6_hdr)), len, &w) !=
		WALK_TRANSPORT)
		return false;
	out->flags |= LANE_V6;
	if (w.fragment != NULL && (w.fragment[3] & 1) != 0)
		out->flags |= LANE_FRAGMENT | LANE_MORE_FRAGMENTS;
	out->proto = w.proto;
	out->l4 = w.l4;
	memcpy(&out->key6, ip + offsetof(struct ipv6_hdr, src), 32);
	return true;
}

bool parse_icmp_quoted(
	const uint8_t *frame, uint16_t len, uint16_t l4, bool v6, uint16_t zone, struct parsed *out)
{
	const uint8_t *inner;
	uint16_t id;

	memset(out, 0, sizeof(*out));
	if (l4 + sizeof(struct icmp_hdr) > len)
		return false;
	out->l3 = (uint16_t)(l4 + sizeof(struct icmp_hdr));
	out->len = len;
	if (!(v6 ? quoted_ipv6(frame, len, out) : quoted_ipv4(frame, len, out)))
		return false;
	if (l4_header_min(out->proto, v6) == 0 || out->l4 + 8 > len)
		return false;
	inner = frame + out->l4;
	if (out->proto == IP_PROTO_ICMP || out->proto == IP_PROTO_ICMPV6) {
		if (!icmp_is_echo(inner[0], v6))
			return false;
		id = load_u16(inner + offsetof(struct icmp_hdr, id));
		set_key_tail(out, zone, (uint32_t)id << 16 | id);
	} else {
		set_key_tail(out, zone, load_u32(inner));
	}
	out->kind = PARSE_FLOW;
	return true;
}
