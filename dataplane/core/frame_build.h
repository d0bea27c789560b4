/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Small pieces of the frames that Sluice makes itself: Ethernet and IP headers of answers. Internal
 * to core; any thread; pure. */

#pragma once

#include "core/packet.h"

#define ANSWER_TTL 64

/* The Ethernet header with its tag, if it has one, goes back where it came from. l3 bytes. */
static inline void build_eth_back(uint8_t *out, const uint8_t *frame, uint16_t l3)
{
	uint8_t macs[12];

	memcpy(macs, frame + 6, 6);
	memcpy(macs + 6, frame, 6);
	memmove(out + 12, frame + 12, l3 - 12u);
	memcpy(out, macs, 12);
}

/* An Ethernet header, tagged when vlan is not 0; returns its length. */
static inline uint16_t build_eth(
	uint8_t *out, const uint8_t dst[6], const uint8_t src[6], uint16_t vlan, uint16_t type)
{
	memcpy(out, dst, 6);
	memcpy(out + 6, src, 6);
	if (vlan == 0) {
		store_u16(out + 12, htons(type));
		return ETH_HLEN;
	}
	store_u16(out + 12, htons(ETH_TYPE_VLAN));
	store_u16(out + 14, htons(vlan));
	store_u16(out + 16, htons(type));
	return ETH_HLEN + 4;
}

/* 20 bytes, don't fragment, checksum right. */
static inline void build_ipv4(
	uint8_t *out, uint16_t total, uint8_t tos, uint8_t proto, uint32_t src, uint32_t dst)
{
	struct ipv4_hdr ip = {
		.vihl = 0x45,
		.tos = tos,
		.total_len = htons(total),
		.frag = htons(IPV4_DONT_FRAGMENT),
		.ttl = ANSWER_TTL,
		.proto = proto,
		.src = src,
		.dst = dst,
	};

	ip.csum = ipv4_csum(&ip);
	memcpy(out, &ip, sizeof(ip));
}

static inline void build_ipv6(uint8_t *out, uint16_t payload, uint8_t next, uint8_t hop_limit,
	const uint8_t src[16], const uint8_t dst[16])
{
	struct ipv6_hdr ip = {
		.vtc_flow = htonl(UINT32_C(6) << 28),
		.payload_len = htons(payload),
		.next = next,
		.hop_limit = hop_limit,
	};

	memcpy(ip.src, src, 16);
	memcpy(ip.dst, dst, 16);
	memcpy(out, &ip, sizeof(ip));
}
