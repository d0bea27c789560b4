/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Translation by stored differences (see packet.h): what commit computes once for a flow, and the
 * rewriting that is too rare to be inline. Runs on workers; pure. */

#include <endian.h>

#include "core/nat.h"
#include "core/packet.h"
#include "core/simd.h"

/* sum(~old) + sum(new), unfolded: words of any width are congruent to their 16-bit pieces. */
static inline uint64_t delta64(const void *from, const void *to)
{
	return csum_add64(~load_u64(from), load_u64(to));
}

/* The key's port fields are what the transport's checksum covers, but for SCTP. */
static uint16_t delta_l4(uint64_t addrs, const uint16_t *from, const uint16_t *to, uint8_t proto)
{
	switch (proto) {
	case IP_PROTO_SCTP:
		return 0;
	case IP_PROTO_ICMP:
		return csum_fold((uint64_t)(uint16_t) ~*from + *to);
	case IP_PROTO_ICMPV6:
		return csum_fold(csum_add64(addrs, (uint64_t)(uint16_t) ~*from + *to));
	default:
		return csum_fold(
			csum_add64(addrs, (uint64_t)(uint32_t)~load_u32(from) + load_u32(to)));
	}
}

void nat_deltas4(
	const struct flow_key4 *from, const struct flow_key4 *to, uint16_t *l3, uint16_t *l4)
{
	uint64_t addrs = delta64(&from->src, &to->src);

	*l3 = csum_fold(addrs);
	*l4 = delta_l4(addrs, &from->sport, &to->sport, from->proto);
}

void nat_deltas6(const struct flow_key6 *from, const struct flow_key6 *to, uint16_t *l4)
{
	uint64_t src = csum_add64(delta64(from->src, to->src), delta64(from->src + 8, to->src + 8));
	uint64_t dst = csum_add64(delta64(from->dst, to->dst), delta64(from->dst + 8, to->dst + 8));

	*l4 = delta_l4(csum_add64(src, dst), &from->sport, &to->sport, from->proto);
}

/* CRCs are linear: the CRC of a changed message differs by the CRC register of the change alone,
 * which is the ports' difference with zeros behind it. */
void sctp_csum_adjust(uint8_t *field, uint32_t old_ports, uint32_t new_ports, uint32_t sctp_len)
{
	static const uint8_t zeros[256];
	uint32_t diff = old_ports ^ new_ports;
	uint32_t reg, rest;

	if (diff == 0 || sctp_len < sizeof(struct sctp_hdr))
		return;
	reg = simd_crc32c((const uint8_t *)&diff, 4, 0);
	for (rest = sctp_len - 4; rest > sizeof(zeros); rest -= sizeof(zeros))
		reg = simd_crc32c(zeros, sizeof(zeros), reg);
	reg = simd_crc32c(zeros, rest, reg);
	store_u32(field, load_u32(field) ^ htole32(reg));
}

void icmp_csum_of_zeros(uint8_t *icmp, uint32_t len)
{
	uint8_t *field = icmp + offsetof(struct icmp_hdr, csum);

	if (load_u16(field) == 0 && csum_partial(icmp, len, 0) == 0)
		store_u16(field, 0xffff);
}

/* Bytes from l4 to the end of the IP packet by its own header. */
static uint32_t transport_len(const uint8_t *frame, uint16_t l3, uint16_t l4)
{
	const uint8_t *ip = frame + l3;
	uint32_t end;

	if (ip[0] >> 4 == 6)
		end = ntohs(load_u16(ip + offsetof(struct ipv6_hdr, payload_len))) +
			(uint32_t)sizeof(struct ipv6_hdr);
	else
		end = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, total_len)));
	return l3 + end > l4 ? l3 + end - l4 : 0;
}

__attribute__((cold)) void nat_rewrite_other(
	uint8_t *frame, uint16_t l3, uint16_t l4, uint32_t ports, uint8_t proto, uint16_t l4_delta)
{
	uint8_t *p = frame + l4;
	uint32_t old;

	if (proto == IP_PROTO_SCTP) {
		old = load_u32(p);
		store_u32(p, ports);
		sctp_csum_adjust(p + offsetof(struct sctp_hdr, csum), old, ports,
			transport_len(frame, l3, l4));
		return;
	}
	memcpy(p + offsetof(struct icmp_hdr, id), &ports, 2);
	csum_adjust(p + offsetof(struct icmp_hdr, csum), l4_delta);
	if (proto == IP_PROTO_ICMP)
		icmp_csum_of_zeros(p, transport_len(frame, l3, l4));
}
