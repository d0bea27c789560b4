/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The part of packet.h that runs for every packet, inline so that the stages' loops hold it:
 * parsing of the common packets, translation, TTL. Straight-line for TCP and UDP; everything else
 * goes to functions that stay out of line. Included by packet.h, never alone.
 *
 * A stage that parses keeps struct parsed in registers as long as its address does not leave: what
 * parse_fast4() refuses goes to a noinline function with a struct parsed of its own. */

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

/* struct lane_headers as one word: put together in memory it costs five stores. */
static inline uint64_t headers_word(uint16_t l3, uint16_t l4, uint8_t proto, uint8_t tcp_flags)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return l3 | (uint64_t)l4 << 16 | (uint64_t)proto << 32 | (uint64_t)tcp_flags << 40;
#else
	return (uint64_t)l3 << 48 | (uint64_t)l4 << 32 | (uint64_t)proto << 24 |
		(uint64_t)tcp_flags << 16;
#endif
}

/* Flags that no segment has: none of FIN, SYN, RST and ACK, or SYN with FIN or RST. */
static inline bool tcp_flags_bad(uint8_t flags)
{
	/* Bit n: is the value n of FIN 1, SYN 2, RST 4, PSH 8, ACK 16 bad? */
	const uint32_t bad = UINT32_C(0xc8c8c9c9);

	return (bad >> (flags & 0x1f) & 1) != 0;
}

/* Frames below this take the general path: every byte that the fast one reads lies inside. */
#define PARSE_FAST_MIN (ETH_HLEN + 34)

/* Ones' complement sum of two; zero only of zeros. */
static inline uint64_t csum_add64(uint64_t a, uint64_t b)
{
	a += b;
	return a + (a < b);
}

/* TCP with room bytes from its header to the end of the IP packet, 14 at least: header whole,
 * flags possible. */
static inline bool parse_fast_tcp(const uint8_t *l4, int32_t room)
{
	int32_t header = l4[12] >> 2 & 0x3c;

	return header >= 20 && header <= room && !tcp_flags_bad(l4[13]);
}

static inline bool parse_fast_udp(const uint8_t *l4, int32_t room)
{
	return ntohs(load_u16(l4 + 4)) == room;
}

/* Where the IP packet that begins at l3 says it ends. */
static inline uint32_t ipv4_end(const uint8_t *frame, uint16_t l3)
{
	return l3 + (uint32_t)ntohs(load_u16(frame + l3 + 2));
}

static inline uint32_t ipv6_end(const uint8_t *frame, uint16_t l3)
{
	return l3 + 40 + (uint32_t)ntohs(load_u16(frame + l3 + 4));
}

/* IPv4 at l3 with a header of 20 bytes, len >= l3 + 34 and no padding behind it. Addresses are not
 * judged (packet_address_fault): those of a flow's packets were when it began. */
static inline bool parse_fast4(
	const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t zone, struct parsed *out)
{
	const uint8_t *ip = frame + l3;
	uint64_t addrs = load_u64(ip + 12);
	uint64_t sum = csum_add64(csum_add64(load_u32(ip), load_u64(ip + 4)), addrs);
	int32_t room = len - l3 - 20;

	/* A right header adds up to 0xffff, and to zero modulo it (never to zero: version 4). */
	if (!PACKET_LIKELY(sum % 0xffff == 0 && ipv4_end(frame, l3) == len))
		return false;
	if (!PACKET_LIKELY((load_u16(ip + 6) & htons(IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK)) == 0))
		return false;
	out->key_words[0] = addrs;
	if (PACKET_LIKELY(ip[9] == IP_PROTO_TCP)) {
		if (!PACKET_LIKELY(parse_fast_tcp(ip + 20, room)))
			return false;
		out->headers = headers_word(l3, (uint16_t)(l3 + 20), IP_PROTO_TCP, ip[33]);
		out->key_words[1] = flow_key_tail(load_u32(ip + 20), zone, IP_PROTO_TCP);
	} else {
		if (ip[9] != IP_PROTO_UDP || !PACKET_LIKELY(parse_fast_udp(ip + 20, room)))
			return false;
		out->headers = headers_word(l3, (uint16_t)(l3 + 20), IP_PROTO_UDP, 0);
		out->key_words[1] = flow_key_tail(load_u32(ip + 20), zone, IP_PROTO_UDP);
	}
	out->kind = PARSE_FLOW;
	out->reason = 0;
	out->flags = (uint8_t)((ip[6] & 0x40) << 1); /* DF is LANE_DONT_FRAGMENT */
	out->len = len;
	return true;
}

/* IPv6 at l3 without extension headers, len >= l3 + 54 and no padding; as above. */
static inline bool parse_fast6(
	const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t zone, struct parsed *out)
{
	const uint8_t *ip = frame + l3;
	int32_t room = len - l3 - 40;

	if (!PACKET_LIKELY((ip[0] & 0xf0) == 0x60 && ipv6_end(frame, l3) == len))
		return false;
	for (unsigned i = 0; i < 4; i++)
		out->key_words[i] = load_u64(ip + 8 + 8 * i);
	if (PACKET_LIKELY(ip[6] == IP_PROTO_TCP)) {
		if (!PACKET_LIKELY(parse_fast_tcp(ip + 40, room)))
			return false;
		out->headers = headers_word(l3, (uint16_t)(l3 + 40), IP_PROTO_TCP, ip[53]);
		out->key_words[4] = flow_key_tail(load_u32(ip + 40), zone, IP_PROTO_TCP);
	} else {
		if (ip[6] != IP_PROTO_UDP || !PACKET_LIKELY(parse_fast_udp(ip + 40, room)))
			return false;
		out->headers = headers_word(l3, (uint16_t)(l3 + 40), IP_PROTO_UDP, 0);
		out->key_words[4] = flow_key_tail(load_u32(ip + 40), zone, IP_PROTO_UDP);
	}
	out->kind = PARSE_FLOW;
	out->reason = 0;
	out->flags = LANE_V6 | LANE_DONT_FRAGMENT;
	out->len = len;
	return true;
}

/* Whole and sane IPv4 or IPv6 at l3, TCP or UDP, by the EtherType in front of it: fills all of out
 * but tag and fragment fields. False says nothing about the frame: ask parse_frame(). */
static inline bool parse_fast(
	const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t zone, struct parsed *out)
{
	uint16_t least = (uint16_t)(l3 - ETH_HLEN + PARSE_FAST_MIN);
	uint32_t end;

	if (!PACKET_LIKELY(len >= least))
		return false;
	if (load_u16(frame + l3 - 2) == htons(ETH_TYPE_IPV4)) {
		end = ipv4_end(frame, l3);
		return frame[l3] == 0x45 && end <= len && end >= least &&
			parse_fast4(frame, (uint16_t)end, l3, zone, out);
	}
	end = ipv6_end(frame, l3);
	return load_u16(frame + l3 - 2) == htons(ETH_TYPE_IPV6) && end <= len &&
		end >= least + 20u && parse_fast6(frame, (uint16_t)end, l3, zone, out);
}

/* A sum of a few 16-bit words, folded. */
static inline uint32_t csum_fold3(uint32_t sum)
{
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
