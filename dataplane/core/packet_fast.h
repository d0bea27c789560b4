/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The part of packet.h that runs for every packet, inline so that the stages' loops hold it:
 * parsing of the common packets, translation, TTL. Straight-line for TCP and UDP; everything else
 * goes to functions that stay out of line. Included by packet.h, never alone.
 *
 * A stage parses so, and the compiler keeps p in registers because its address does not leave:
 *
 *	struct parsed p;
 *
 *	if (parse_fast(frame, len, zone, &p))
 *		... lanes from p; it is a TCP or UDP packet, whole ...
 *	else
 *		... a noinline function with its own struct parsed and parse_frame() ...
 */

#pragma once

#include <stddef.h>

#include "core/packet.h"

#define PACKET_LIKELY(x) __builtin_expect(!!(x), 1)

/* The second half of a key's last word: zone, protocol, zero. */
static inline uint64_t flow_key_tail(uint32_t ports, uint16_t zone, uint8_t proto)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return ports | (uint64_t)zone << 32 | (uint64_t)proto << 48;
#else
	return (uint64_t)ports << 32 | (uint64_t)zone << 16 | (uint64_t)proto << 8;
#endif
}

/* Flags that no segment has: none of FIN, SYN, RST and ACK, or SYN with FIN or RST. */
static inline bool tcp_flags_bad(uint8_t flags)
{
	/* Bit n: is the value n of FIN 1, SYN 2, RST 4, PSH 8, ACK 16 bad? */
	const uint32_t bad = UINT32_C(0xc8c8c9c9);

	return (bad >> (flags & 0x1f) & 1) != 0;
}

/* By first byte: 0/8, 127/8, multicast and above. Class E is left to the slow path, which lets it
 * pass. One load an address; compares cost twice as much. */
static const uint8_t ipv4_not_plain[256] = {[0] = 1, [127] = 1, [224 ... 255] = 1};

/* Frames below this take the general path: every byte that the fast one reads lies inside. */
#define PARSE_FAST_MIN (ETH_HLEN + 34)

/* TCP or UDP with room bytes from its header to the end of the IP packet: header whole, lengths
 * agree. 14 bytes may be read. */
static inline bool parse_fast_tcp(const uint8_t *l4, int32_t room, uint8_t *tcp_flags)
{
	int32_t header = l4[12] >> 2 & 0x3c;

	*tcp_flags = l4[13];
	return header >= 20 && header <= room && !tcp_flags_bad(l4[13]);
}

static inline bool parse_fast_udp(const uint8_t *l4, int32_t room)
{
	return ntohs(load_u16(l4 + 4)) == room && room >= 8;
}

/* IPv4 at l3 with a header of 20 bytes, len >= l3 + 34. */
static inline bool parse_fast4(
	const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t zone, struct parsed *out)
{
	const uint8_t *ip = frame + l3;
	uint16_t total = ntohs(load_u16(ip + 2));
	uint64_t sum = load_u32(ip);
	uint8_t proto = ip[9];

	sum += load_u32(ip + 4);
	sum += load_u32(ip + 8);
	sum += load_u32(ip + 12);
	sum += load_u32(ip + 16);
	/* A right header adds up to 0xffff, and to zero modulo it (never to zero: version 4). */
	if (!PACKET_LIKELY(sum % 0xffff == 0 && total + l3 <= len))
		return false;
	if (!PACKET_LIKELY((load_u16(ip + 6) & htons(IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) == 0))
		return false;
	if (!PACKET_LIKELY((ipv4_not_plain[ip[12]] | ipv4_not_plain[ip[16]]) == 0))
		return false;
	if (PACKET_LIKELY(proto == IP_PROTO_TCP)) {
		if (!PACKET_LIKELY(parse_fast_tcp(ip + 20, total - 20, &out->tcp_flags)))
			return false;
	} else {
		if (proto != IP_PROTO_UDP || !PACKET_LIKELY(parse_fast_udp(ip + 20, total - 20)))
			return false;
		out->tcp_flags = 0;
	}

	out->kind = PARSE_FLOW;
	out->reason = 0;
	out->flags = (uint8_t)((ip[6] & 0x40) << 1); /* DF is LANE_DONT_FRAGMENT */
	out->proto = proto;
	out->l3 = l3;
	out->l4 = (uint16_t)(l3 + 20);
	out->len = (uint16_t)(l3 + total);
	out->key_words[0] = load_u64(ip + 12);
	out->key_words[1] = flow_key_tail(load_u32(ip + 20), zone, proto);
	return true;
}

/* IPv6 at l3 without extension headers, len >= l3 + 54. */
static inline bool parse_fast6(
	const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t zone, struct parsed *out)
{
	const uint8_t *ip = frame + l3;
	uint16_t payload = ntohs(load_u16(ip + 4));
	uint8_t proto = ip[6];

	if (!PACKET_LIKELY((ip[0] & 0xf0) == 0x60 && payload + l3 + 40 <= len))
		return false;
	/* ::/64 holds the unspecified, loopback and IPv4-mapped addresses. */
	if (load_u64(ip + 8) == 0 || load_u64(ip + 24) == 0 || ip[8] == 0xff || ip[24] == 0xff)
		return false;
	if (PACKET_LIKELY(proto == IP_PROTO_TCP)) {
		if (!PACKET_LIKELY(parse_fast_tcp(ip + 40, payload, &out->tcp_flags)))
			return false;
	} else {
		if (proto != IP_PROTO_UDP || !PACKET_LIKELY(parse_fast_udp(ip + 40, payload)))
			return false;
		out->tcp_flags = 0;
	}

	out->kind = PARSE_FLOW;
	out->reason = 0;
	out->flags = LANE_V6 | LANE_DONT_FRAGMENT;
	out->proto = proto;
	out->l3 = l3;
	out->l4 = (uint16_t)(l3 + 40);
	out->len = (uint16_t)(l3 + 40 + payload);
	for (unsigned i = 0; i < 4; i++)
		out->key_words[i] = load_u64(ip + 8 + 8 * i);
	out->key_words[4] = flow_key_tail(load_u32(ip + 40), zone, proto);
	return true;
}

/* Which of the two a frame of at least PARSE_FAST_MIN bytes could be: EtherType, version, length of
 * the IPv4 header. */
static inline bool frame_is_plain4(const uint8_t *frame)
{
	return (load_u32(frame + 12) & htonl(0xffffff00)) ==
		htonl((uint32_t)ETH_TYPE_IPV4 << 16 | 0x4500);
}

static inline bool frame_is_plain6(const uint8_t *frame, uint16_t len)
{
	return load_u16(frame + 12) == htons(ETH_TYPE_IPV6) && len >= PARSE_FAST_MIN + 20;
}

/* Untagged IPv4 or IPv6, TCP or UDP, whole and sane: fills all of out but the fragment fields.
 * False says nothing about the frame: ask parse_frame(). */
static inline bool parse_fast(const uint8_t *frame, uint16_t len, uint16_t zone, struct parsed *out)
{
	if (!PACKET_LIKELY(len >= PARSE_FAST_MIN))
		return false;
	out->vlan = 0;
	if (PACKET_LIKELY(frame_is_plain4(frame)))
		return parse_fast4(frame, len, ETH_HLEN, zone, out);
	return frame_is_plain6(frame, len) && parse_fast6(frame, len, ETH_HLEN, zone, out);
}

/* Ones' complement sum of three, folded. */
static inline uint32_t csum_add3(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t sum = a + b + c;

	sum += sum << 16 | sum >> 16;
	return sum >> 16;
}

static inline void csum_adjust(uint8_t *field, uint16_t delta)
{
	store_u16(field, csum_update(load_u16(field), delta));
}

/* UDP's checksum at field: none stays none, a computed zero is sent as ones (RFC 768). */
static inline void csum_adjust_udp(uint8_t *field, uint16_t delta)
{
	uint16_t csum = load_u16(field);

	if (csum == 0)
		return;
	csum = csum_update(csum, delta);
	store_u16(field, csum != 0 ? csum : 0xffff);
}

/* Ports or identifier and checksum of what is neither TCP nor UDP. */
void nat_rewrite_other(
	uint8_t *frame, uint16_t l3, uint16_t l4, uint32_t ports, uint8_t proto, uint16_t l4_delta);

static inline void nat_rewrite_l4(
	uint8_t *frame, uint16_t l3, uint16_t l4, uint32_t ports, uint8_t proto, uint16_t l4_delta)
{
	if (PACKET_LIKELY(proto == IP_PROTO_TCP)) {
		store_u32(frame + l4, ports);
		csum_adjust(frame + l4 + offsetof(struct tcp_hdr, csum), l4_delta);
	} else if (PACKET_LIKELY(proto == IP_PROTO_UDP)) {
		store_u32(frame + l4, ports);
		csum_adjust_udp(frame + l4 + offsetof(struct udp_hdr, csum), l4_delta);
	} else {
		nat_rewrite_other(frame, l3, l4, ports, proto, l4_delta);
	}
}

/* Rewrites addresses, ports or identifier and checksums of a packet or first fragment that was
 * parsed: to names the same protocol. later = true: a later fragment, L3 only. TTL is not touched.
 *
 * UDP's "no checksum" stays so. SCTP's CRC32c is changed by difference too, so that a damaged
 * packet stays damaged; it covers the whole packet: the caller must not change the ports of a
 * fragment (DROP_FragmentUnsupported). */
static inline void nat_rewrite4(uint8_t *frame, uint16_t len, uint16_t l3, uint16_t l4,
	const struct flow_key4 *to, uint16_t l3_delta, uint16_t l4_delta, bool later)
{
	uint8_t *ip = frame + l3;

	store_u64(ip + offsetof(struct ipv4_hdr, src), load_u64(&to->src));
	csum_adjust(ip + offsetof(struct ipv4_hdr, csum), l3_delta);
	if (PACKET_LIKELY(!later))
		nat_rewrite_l4(frame, l3, l4, load_u32(&to->sport), to->proto, l4_delta);
}

static inline void nat_rewrite6(uint8_t *frame, uint16_t len, uint16_t l3, uint16_t l4,
	const struct flow_key6 *to, uint16_t l4_delta, bool later)
{
	memcpy(frame + l3 + offsetof(struct ipv6_hdr, src), to->src, 32);
	if (PACKET_LIKELY(!later))
		nat_rewrite_l4(frame, l3, l4, load_u32(&to->sport), to->proto, l4_delta);
}

/* Lowers TTL or hop limit by one with its checksum. The caller checked it is > 1. */
static inline void ttl_decrement(uint8_t *l3, bool v6)
{
	if (v6) {
		l3[offsetof(struct ipv6_hdr, hop_limit)]--;
		return;
	}
	l3[offsetof(struct ipv4_hdr, ttl)]--;
	csum_adjust(l3 + offsetof(struct ipv4_hdr, csum), htons(0xfeff)); /* minus 0x0100 */
}
