/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Answers to packets that are refused, and to pings of our own addresses (see packet.h). Runs on
 * workers; the caller limits the rate and brings the buffer. */

#include "core/frame_build.h"
#include "core/packet.h"

/* An error quotes what fits: RFC 1812 4.3.2.3 and RFC 4443 2.4 c. */
#define ICMP4_ERROR_MAX 576
#define ICMP6_ERROR_MAX 1280

/* Internetwork control precedence, as RFC 1812 4.3.2.5 asks of ICMP errors. */
#define ICMP_ERROR_TOS 0xc0

struct icmp_code {
	uint8_t type;
	uint8_t code;
};

static const struct {
	struct icmp_code v4, v6;
} error_codes[] = {
	[REJECT_PORT_UNREACHABLE] = {{3, 3}, {1, 4}},
	[REJECT_HOST_UNREACHABLE] = {{3, 1}, {1, 3}},
	[REJECT_NO_ROUTE] = {{3, 0}, {1, 0}},
	[REJECT_PROHIBITED] = {{3, 13}, {1, 1}},
	[REJECT_TTL] = {{11, 0}, {3, 0}},
	[REJECT_TOO_BIG] = {{3, 4}, {2, 0}},
};

/* --- permission ------------------------------------------------------------------------------- */

/* One host, whom an answer reaches: RFC 1122 3.2.2, RFC 4443 2.4 e.6. */
static bool answerable(const uint8_t *addr, bool v6)
{
	if (v6)
		return addr[0] != 0xff && (load_u64(addr) != 0 || load_u64(addr + 8) != 0);
	return addr[0] != 0 && addr[0] != 127 && addr[0] >> 4 != 0xe &&
		load_u32(addr) != UINT32_MAX;
}

bool reject_allowed(
	const uint8_t *frame, uint16_t len, const struct parsed *p, enum reject_kind kind)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	const uint8_t *addrs = frame + p->l3 +
		(v6 ? offsetof(struct ipv6_hdr, src) : offsetof(struct ipv4_hdr, src));

	if (kind == REJECT_NONE || p->kind != PARSE_FLOW ||
		(p->flags & (LANE_FRAGMENT_LATER | LANE_ICMP_ERROR)) != 0)
		return false;
	if (kind == REJECT_TCP_RESET && (p->proto != IP_PROTO_TCP || p->tcp_flags & TCP_RST))
		return false;
	if (frame[0] & 1) /* to a group of stations */
		return false;
	return answerable(addrs, v6) && answerable(addrs + (v6 ? 16 : 4), v6);
}

/* --- TCP reset -------------------------------------------------------------------------------- */

/* Sequence space that the segment takes. */
static uint32_t tcp_segment_len(const uint8_t *tcp, const struct parsed *p)
{
	uint32_t room = (uint32_t)(p->len - p->l4);
	uint32_t header = tcp[12] >> 2 & 0x3cu;
	uint32_t len = room > header ? room - header : 0;

	return len + (p->tcp_flags & TCP_SYN ? 1 : 0) + (p->tcp_flags & TCP_FIN ? 1 : 0);
}

/* RFC 9293 3.10.7.1: what a host without the connection answers. */
static void fill_reset(const uint8_t *tcp, const struct parsed *p, uint8_t *out)
{
	struct tcp_hdr in, rst = {.off = 5 << 4};

	memcpy(&in, tcp, sizeof(in));
	rst.src = in.dst;
	rst.dst = in.src;
	if (in.flags & TCP_ACK) {
		rst.seq = in.ack;
		rst.flags = TCP_RST;
	} else {
		rst.ack = htonl(ntohl(in.seq) + tcp_segment_len(tcp, p));
		rst.flags = TCP_RST | TCP_ACK;
	}
	memcpy(out, &rst, sizeof(rst));
}

static uint16_t build_reset(
	const uint8_t *frame, const struct parsed *p, uint8_t *out, uint16_t room)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	const uint8_t *ip = frame + p->l3;
	uint16_t l4 = (uint16_t)(p->l3 + (v6 ? sizeof(struct ipv6_hdr) : sizeof(struct ipv4_hdr)));
	uint16_t len = (uint16_t)(l4 + sizeof(struct tcp_hdr));

	if (p->proto != IP_PROTO_TCP || len > room)
		return 0;
	build_eth_back(out, frame, p->l3);
	if (v6)
		build_ipv6(out + p->l3, sizeof(struct tcp_hdr), IP_PROTO_TCP, ANSWER_TTL,
			ip + offsetof(struct ipv6_hdr, dst), ip + offsetof(struct ipv6_hdr, src));
	else
		build_ipv4(out + p->l3, sizeof(struct ipv4_hdr) + sizeof(struct tcp_hdr), 0,
			IP_PROTO_TCP, load_u32(ip + offsetof(struct ipv4_hdr, dst)),
			load_u32(ip + offsetof(struct ipv4_hdr, src)));
	fill_reset(frame + p->l4, p, out + l4);
	store_u16(out + l4 + offsetof(struct tcp_hdr, csum),
		l4_csum(out, p->l3, l4, sizeof(struct tcp_hdr), v6, IP_PROTO_TCP));
	return len;
}

/* --- ICMP errors ------------------------------------------------------------------------------ */

static void fill_error(uint8_t *icmp, enum reject_kind kind, uint16_t mtu, bool v6,
	const uint8_t *quote, uint16_t n)
{
	const struct icmp_code *c = v6 ? &error_codes[kind].v6 : &error_codes[kind].v4;
	uint32_t word = 0;

	if (kind == REJECT_TOO_BIG)
		word = htonl(mtu); /* IPv4: the lower half (RFC 1191 4); IPv6: all (RFC 4443 3.2) */
	icmp[0] = c->type;
	icmp[1] = c->code;
	store_u16(icmp + 2, 0);
	store_u32(icmp + 4, word);
	memcpy(icmp + sizeof(struct icmp_hdr), quote, n);
}

static uint16_t build_error(const uint8_t *frame, const struct parsed *p, enum reject_kind kind,
	uint16_t mtu, const struct ip_addr *source, uint8_t *out, uint16_t room)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	uint8_t proto = v6 ? IP_PROTO_ICMPV6 : IP_PROTO_ICMP;
	const uint8_t *ip = frame + p->l3;
	uint16_t l4 = (uint16_t)(p->l3 + (v6 ? sizeof(struct ipv6_hdr) : sizeof(struct ipv4_hdr)));
	uint16_t headers = (uint16_t)(l4 + sizeof(struct icmp_hdr));
	uint16_t most = (uint16_t)(p->l3 + (v6 ? ICMP6_ERROR_MAX : ICMP4_ERROR_MAX));
	uint16_t quote = (uint16_t)(p->len - p->l3);
	uint16_t icmp_len;

	if (most > room)
		most = room;
	/* The quote must reach the ports to be of use. */
	if (headers + (p->l4 - p->l3) + 8 > most || (enum ip_family)v6 != ip_family(source))
		return 0;
	if (quote > most - headers)
		quote = (uint16_t)(most - headers);
	icmp_len = (uint16_t)(sizeof(struct icmp_hdr) + quote);
	build_eth_back(out, frame, p->l3);
	if (v6)
		build_ipv6(out + p->l3, icmp_len, proto, ANSWER_TTL, source->bytes,
			ip + offsetof(struct ipv6_hdr, src));
	else
		build_ipv4(out + p->l3, (uint16_t)(sizeof(struct ipv4_hdr) + icmp_len),
			ICMP_ERROR_TOS, proto, ip_v4(source),
			load_u32(ip + offsetof(struct ipv4_hdr, src)));
	fill_error(out + l4, kind, mtu, v6, ip, quote);
	store_u16(out + l4 + offsetof(struct icmp_hdr, csum),
		l4_csum(out, p->l3, l4, icmp_len, v6, proto));
	return (uint16_t)(headers + quote);
}

uint16_t reject_build(const uint8_t *frame, uint16_t len, const struct parsed *p,
	enum reject_kind kind, uint16_t mtu, const struct ip_addr *icmp_source, uint8_t *out,
	uint16_t room)
{
	if (kind == REJECT_NONE || p->len > len)
		return 0;
	if (kind == REJECT_TCP_RESET)
		return build_reset(frame, p, out, room);
	return build_error(frame, p, kind, mtu, icmp_source, out, room);
}

/* --- echo ------------------------------------------------------------------------------------- */

/* End of the IP packet by its header, which parse_frame() checked against the frame. */
static uint16_t ip_end(const uint8_t *frame, uint16_t l3, bool v6)
{
	const uint8_t *ip = frame + l3;

	if (v6)
		return (uint16_t)(l3 + sizeof(struct ipv6_hdr) +
			ntohs(load_u16(ip + offsetof(struct ipv6_hdr, payload_len))));
	return (uint16_t)(l3 + ntohs(load_u16(ip + offsetof(struct ipv4_hdr, total_len))));
}

static void swap_addresses(uint8_t *a, uint32_t n)
{
	uint8_t tmp[16];

	memcpy(tmp, a, n);
	memcpy(a, a + n, n);
	memcpy(a + n, tmp, n);
}

bool echo_reply(uint8_t *frame, uint16_t len, uint16_t l3, uint16_t l4, bool v6)
{
	uint8_t *ip = frame + l3, *icmp = frame + l4;
	uint8_t proto = v6 ? IP_PROTO_ICMPV6 : IP_PROTO_ICMP;
	uint8_t request = v6 ? 128 : 8, reply = v6 ? 129 : 0;
	uint16_t end, frag;

	if (l4 + sizeof(struct icmp_hdr) > len || icmp[0] != request || icmp[1] != 0)
		return false;
	end = ip_end(frame, l3, v6);
	if (end > len || end < l4 + sizeof(struct icmp_hdr))
		return false;
	frag = v6 ? 0 : load_u16(ip + offsetof(struct ipv4_hdr, frag));
	if ((frag & htons(IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) != 0 ||
		!l4_csum_valid(frame, l3, l4, (uint16_t)(end - l4), v6, proto))
		return false;
	if (frame[0] & 1)
		return false;
	build_eth_back(frame, frame, l3);
	if (v6) {
		swap_addresses(ip + offsetof(struct ipv6_hdr, src), 16);
		ip[offsetof(struct ipv6_hdr, hop_limit)] = ANSWER_TTL;
	} else {
		struct ipv4_hdr *ip4 = (struct ipv4_hdr *)(void *)ip;

		swap_addresses(ip + offsetof(struct ipv4_hdr, src), 4);
		ip4->ttl = ANSWER_TTL;
		ip4->csum = ipv4_csum(ip4);
	}
	icmp[0] = reply;
	store_u16(icmp + offsetof(struct icmp_hdr, csum),
		l4_csum(frame, l3, l4, (uint16_t)(end - l4), v6, proto));
	return true;
}
