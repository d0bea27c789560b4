/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Checksums in full (see packet.h): sums over headers and packets, CRC32c. Incremental changes are
 * inline in packet_fast.h. Any thread; pure. */

#include "core/packet.h"
#include "core/simd.h"

uint64_t csum_partial(const void *data, uint32_t len, uint64_t sum)
{
	return simd_sum16(data, len, sum);
}

uint16_t ipv4_csum(const struct ipv4_hdr *ip)
{
	uint32_t header = (ip->vihl & 0x0fu) * 4;
	uint64_t sum = csum_partial(ip, header, 0);

	return (uint16_t)~csum_fold(sum + (uint16_t)~ip->csum);
}

static uint64_t pseudo_sum(
	const uint8_t *frame, uint16_t l3, uint16_t l4_len, bool v6, uint8_t proto)
{
	uint64_t sum = (uint64_t)htons(l4_len) + htons(proto);

	if (v6)
		return csum_partial(frame + l3 + offsetof(struct ipv6_hdr, src), 32, sum);
	if (proto == IP_PROTO_ICMP)
		return 0;
	return csum_partial(frame + l3 + offsetof(struct ipv4_hdr, src), 8, sum);
}

static uint16_t csum_offset(uint8_t proto)
{
	switch (proto) {
	case IP_PROTO_TCP:
		return offsetof(struct tcp_hdr, csum);
	case IP_PROTO_UDP:
		return offsetof(struct udp_hdr, csum);
	default:
		return offsetof(struct icmp_hdr, csum);
	}
}

uint16_t l4_csum(
	const uint8_t *frame, uint16_t l3, uint16_t l4, uint16_t l4_len, bool v6, uint8_t proto)
{
	uint64_t sum = pseudo_sum(frame, l3, l4_len, v6, proto);
	uint16_t csum;

	sum = csum_partial(frame + l4, l4_len, sum);
	sum += (uint16_t)~load_u16(frame + l4 + csum_offset(proto));
	csum = (uint16_t)~csum_fold(sum);
	return csum == 0 && proto == IP_PROTO_UDP ? 0xffff : csum;
}

bool l4_csum_valid(
	const uint8_t *frame, uint16_t l3, uint16_t l4, uint16_t l4_len, bool v6, uint8_t proto)
{
	uint64_t sum = pseudo_sum(frame, l3, l4_len, v6, proto);

	if (proto == IP_PROTO_UDP && load_u16(frame + l4 + csum_offset(proto)) == 0)
		return false;
	return csum_fold(csum_partial(frame + l4, l4_len, sum)) == 0xffff;
}

uint32_t crc32c(const void *data, uint32_t len, uint32_t crc)
{
	return ~simd_crc32c(data, len, ~crc);
}
