/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the fuzz targets over frames share: input taken apart, and frames in buffers of their exact
 * size, so that the address sanitizer sees a read behind them. Single thread. */

#pragma once

#include <stdbool.h>

#include "core/packet.h"
#include "fuzz/fuzz.h"

struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

/* The next n bytes, with zeros behind the end. */
__attribute__((unused)) static void fuzz_take(struct fuzz_input *in, void *out, size_t n)
{
	size_t have = in->size < n ? in->size : n;

	memset(out, 0, n);
	if (have != 0)
		memcpy(out, in->data, have);
	in->data += have;
	in->size -= have;
}

__attribute__((unused)) static uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size);

	FUZZ_CHECK(copy != NULL || size == 0);
	if (size != 0)
		memcpy(copy, data, size);
	return copy;
}

__attribute__((unused)) static uint16_t fuzz_l3(const uint8_t *frame, uint16_t len)
{
	bool tagged = len >= 14 && load_u16(frame + 12) == htons(ETH_TYPE_VLAN);

	return tagged ? ETH_HLEN + 4 : ETH_HLEN;
}

/* Random bytes never have a right checksum: sets those that the parser looks at. */
__attribute__((unused)) static void fuzz_fix(uint8_t *frame, uint16_t len)
{
	uint16_t l3 = fuzz_l3(frame, len);
	struct parsed p;

	if (len >= l3 + 20 && frame[l3] >> 4 == 4 && l3 + (frame[l3] & 15u) * 4 <= len &&
		(frame[l3] & 15) >= 5)
		store_u16(frame + l3 + 10, ipv4_csum((const struct ipv4_hdr *)(frame + l3)));
	parse_frame(frame, len, 0, &p);
	if ((p.kind == PARSE_DROP && p.reason == DROP_BadIcmpChecksum) ||
		(p.kind == PARSE_NEIGHBOUR && (p.flags & LANE_V6) != 0)) {
		bool v6 = (p.flags & LANE_V6) != 0;

		store_u16(frame + p.l4 + 2,
			l4_csum(frame, p.l3, p.l4, (uint16_t)(p.len - p.l4), v6, p.proto));
	}
}

/* The input's rest as a frame; NULL when it is too long for one. The first byte of the input chose
 * whether checksums are set right. The caller frees it. */
__attribute__((unused)) static uint8_t *fuzz_frame(struct fuzz_input *in, bool fix, uint16_t *len)
{
	uint8_t *frame;

	if (in->size > 9000)
		return NULL;
	*len = (uint16_t)in->size;
	frame = fuzz_copy(in->data, in->size);
	if (fix && frame != NULL)
		fuzz_fix(frame, *len);
	return frame;
}
