/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Cutting an IPv4 packet that is too big for its next hop (RFC 791 3.2; see packet.h). Runs on
 * workers; pure: each call makes one fragment. */

#include "core/packet.h"

#define IPV4_HEADER_MAX 60

/* Options of the first fragment that the later ones repeat: those with the copied flag. Writes the
 * header's options padded to words; returns their length. */
static uint32_t copied_options(const uint8_t *opt, uint32_t len, uint8_t *out)
{
	uint32_t n = 0, i = 0;

	while (i < len && opt[i] != 0) {
		uint32_t one = 1;

		if (opt[i] != 1) { /* not a no-operation */
			one = i + 1 < len ? opt[i + 1] : 0;
			if (one < 2 || i + one > len)
				break;
			if (opt[i] & 0x80) {
				memcpy(out + n, opt + i, one);
				n += one;
			}
		}
		i += one;
	}
	while (n % 4 != 0)
		out[n++] = 0;
	return n;
}

uint16_t ipv4_fragment(const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t mtu, uint16_t n,
	uint8_t *out, uint16_t room)
{
	const uint8_t *ip = frame + l3;
	struct ipv4_hdr *hdr = (struct ipv4_hdr *)(void *)(out + l3);
	uint32_t header, out_header, total, payload, chunk, at, size;
	uint16_t frag;

	if (l3 + sizeof(struct ipv4_hdr) > len)
		return 0;
	header = (ip[0] & 0x0fu) * 4;
	total = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, total_len)));
	frag = ntohs(load_u16(ip + offsetof(struct ipv4_hdr, frag)));
	if (header < sizeof(struct ipv4_hdr) || total <= header || l3 + total > len ||
		(frag & IPV4_DONT_FRAGMENT) != 0 || mtu < header + 8)
		return 0;
	payload = total - header;
	chunk = (mtu - header) & ~7u;
	if (total <= mtu)
		chunk = payload;
	at = n * chunk;
	if (at >= payload)
		return 0;
	size = payload - at < chunk ? payload - at : chunk;
	if (l3 + header + size > room)
		return 0;

	memcpy(out, frame, l3 + sizeof(struct ipv4_hdr));
	out_header = sizeof(struct ipv4_hdr);
	if (header > out_header) {
		uint8_t options[IPV4_HEADER_MAX];
		uint32_t opt_len = header - out_header;
		bool first = (frag & IPV4_OFFSET_MASK) == 0 && n == 0;

		if (first)
			memcpy(options, ip + sizeof(struct ipv4_hdr), opt_len);
		else
			opt_len = copied_options(ip + sizeof(struct ipv4_hdr), opt_len, options);
		memcpy(out + l3 + out_header, options, opt_len);
		out_header += opt_len;
	}
	memcpy(out + l3 + out_header, ip + header + at, size);
	hdr->vihl = (uint8_t)(0x40 | out_header / 4);
	hdr->total_len = htons((uint16_t)(out_header + size));
	/* More follow: of this cut, or of one that was made before. */
	hdr->frag = htons((uint16_t)(((frag & IPV4_OFFSET_MASK) + at / 8) |
		(at + size < payload ? IPV4_MORE_FRAGMENTS : frag & IPV4_MORE_FRAGMENTS)));
	hdr->csum = ipv4_csum(hdr);
	return (uint16_t)(l3 + out_header + size);
}
