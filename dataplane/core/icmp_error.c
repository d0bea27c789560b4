/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* ICMP errors about translated packets (RFC 5508 4.2): the quoted packet becomes what its sender
 * had sent. Runs on workers; lengths were checked by parse_icmp_quoted, and nothing behind the
 * outer packet's end is touched. */

#include "core/nat.h"
#include "core/packet.h"

/* Everything of the quoted packet that can change lies in its first bytes. */
#define QUOTED_IPV4_ADDRS 10 /* checksum and addresses: bytes 10 to 19 */
#define QUOTED_L4         20 /* TCP's header, the longest */

static uint32_t quoted_l4_len(const struct parsed *outer, const struct parsed *inner)
{
	uint32_t held = (uint32_t)(outer->len - inner->l4);

	return held < QUOTED_L4 ? held : QUOTED_L4;
}

/* Length of the quoted transport when it was sent; 0 if its header does not make sense. */
static uint32_t quoted_sent_len(const uint8_t *frame, const struct parsed *inner)
{
	const uint8_t *ip = frame + inner->l3;
	uint32_t headers = (uint32_t)(inner->l4 - inner->l3), total;

	if (inner->flags & LANE_V6)
		total = ntohs(load_u16(ip + offsetof(struct ipv6_hdr, payload_len))) +
			(uint32_t)sizeof(struct ipv6_hdr);
	else
		total = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, total_len)));
	return total > headers ? total - headers : 0;
}

/* Ports or identifier of the quoted transport, and its checksum where it is inside held bytes. */
static void rewrite_quoted_l4(
	uint8_t *frame, const struct parsed *inner, uint32_t held, uint32_t ports, uint16_t delta)
{
	uint8_t *l4 = frame + inner->l4;
	uint32_t old = load_u32(l4);

	switch (inner->proto) {
	case IP_PROTO_TCP:
		store_u32(l4, ports);
		if (held >= offsetof(struct tcp_hdr, csum) + 2)
			csum_adjust(l4 + offsetof(struct tcp_hdr, csum), delta);
		break;
	case IP_PROTO_UDP:
		store_u32(l4, ports);
		csum_adjust_udp(l4 + offsetof(struct udp_hdr, csum), delta);
		break;
	case IP_PROTO_SCTP:
		store_u32(l4, ports);
		/* A fragment's CRC covers bytes that its header does not count. */
		if (held >= sizeof(struct sctp_hdr) && (inner->flags & LANE_FRAGMENT) == 0)
			sctp_csum_adjust(l4 + offsetof(struct sctp_hdr, csum), old, ports,
				quoted_sent_len(frame, inner));
		break;
	default:
		memcpy(l4 + offsetof(struct icmp_hdr, id), &ports, 2);
		csum_adjust(l4 + offsetof(struct icmp_hdr, csum), delta);
		if (inner->proto == IP_PROTO_ICMP)
			icmp_csum_of_zeros(l4, held);
	}
}

static uint64_t changed_sum(
	const uint8_t *ip, uint32_t ip_len, const uint8_t *l4, uint32_t l4_len, uint64_t sum)
{
	return csum_partial(l4, l4_len, csum_partial(ip, ip_len, sum));
}

void icmp_error_rewrite4(uint8_t *frame, uint16_t len, const struct parsed *outer,
	const struct parsed *inner, const struct flow_key4 *quoted, uint32_t src, uint32_t dst)
{
	uint8_t *ip = frame + outer->l3;
	uint8_t *changed = frame + inner->l3 + QUOTED_IPV4_ADDRS;
	uint8_t *l4 = frame + inner->l4;
	uint32_t held = quoted_l4_len(outer, inner);
	uint16_t l3_delta, l4_delta, old, new;
	uint32_t addrs[2] = {src, dst};
	uint64_t sum;

	nat_deltas4(&inner->key4, quoted, &l3_delta, &l4_delta);
	old = csum_fold(changed_sum(changed, 10, l4, held, 0));
	memcpy(frame + inner->l3 + offsetof(struct ipv4_hdr, src), &quoted->src, 8);
	csum_adjust(changed, l3_delta);
	rewrite_quoted_l4(frame, inner, held, load_u32(&quoted->sport), l4_delta);
	new = csum_fold(changed_sum(changed, 10, l4, held, (uint16_t)~old));
	csum_adjust(frame + outer->l4 + offsetof(struct icmp_hdr, csum), new);

	sum = csum_partial(ip + offsetof(struct ipv4_hdr, src), 8, 0);
	sum = csum_partial(addrs, 8, (uint16_t)~csum_fold(sum));
	memcpy(ip + offsetof(struct ipv4_hdr, src), addrs, 8);
	csum_adjust(ip + offsetof(struct ipv4_hdr, csum), csum_fold(sum));
}

void icmp_error_rewrite6(uint8_t *frame, uint16_t len, const struct parsed *outer,
	const struct parsed *inner, const struct flow_key6 *quoted, const uint8_t src[16],
	const uint8_t dst[16])
{
	uint8_t *addrs = frame + outer->l3 + offsetof(struct ipv6_hdr, src);
	uint8_t *changed = frame + inner->l3 + offsetof(struct ipv6_hdr, src);
	uint8_t *l4 = frame + inner->l4;
	uint32_t held = quoted_l4_len(outer, inner);
	uint16_t l4_delta, old;
	uint64_t sum;

	nat_deltas6(&inner->key6, quoted, &l4_delta);
	/* The outer addresses are part of ICMPv6's checksum (RFC 4443 2.3). */
	old = csum_fold(csum_partial(addrs, 32, changed_sum(changed, 32, l4, held, 0)));
	memcpy(changed, quoted->src, 32);
	rewrite_quoted_l4(frame, inner, held, load_u32(&quoted->sport), l4_delta);
	memcpy(addrs, src, 16);
	memcpy(addrs + 16, dst, 16);
	sum = changed_sum(changed, 32, l4, held, (uint16_t)~old);
	sum = csum_partial(addrs, 32, sum);
	csum_adjust(frame + outer->l4 + offsetof(struct icmp_hdr, csum), csum_fold(sum));
}
