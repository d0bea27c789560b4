/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Any ICMP error rewritten: nothing outside it is touched, it is as good an error as before, and it
 * quotes what was asked for. */

#include "fuzz/fuzz_frames.h"

static bool is_icmp(uint8_t proto)
{
	return proto == IP_PROTO_ICMP || proto == IP_PROTO_ICMPV6;
}

static void rewrite(uint8_t *frame, uint16_t len, const struct parsed *outer,
	const struct parsed *inner, const uint8_t fields[68])
{
	uint32_t ports = load_u32(fields + 64);
	struct parsed outer_after, inner_after;
	bool v6 = (outer->flags & LANE_V6) != 0;
	struct flow_key4 k4 = inner->key4;
	struct flow_key6 k6 = inner->key6;
	uint8_t addrs[64];

	memcpy(addrs, fields, 64);
	/* Addresses that the parser lets pass. */
	addrs[0] = addrs[16] = v6 ? 0xfd : 10;
	addrs[4] = 10;
	if (is_icmp(inner->proto))
		ports = (ports & 0xffff) * 0x10001;
	if (v6) {
		memcpy(k6.src, addrs + 32, 32);
		memcpy(&k6.sport, &ports, 4);
		icmp_error_rewrite6(frame, len, outer, inner, &k6, addrs, addrs + 16);
	} else {
		memcpy(&k4.src, addrs + 32, 8);
		memcpy(&k4.sport, &ports, 4);
		icmp_error_rewrite4(
			frame, len, outer, inner, &k4, load_u32(addrs), load_u32(addrs + 4));
	}
	parse_frame(frame, len, 0, &outer_after);
	FUZZ_CHECK(outer_after.kind == PARSE_ICMP_ERROR);
	FUZZ_CHECK(outer_after.l4 == outer->l4 && outer_after.len == outer->len);
	FUZZ_CHECK(parse_icmp_quoted(frame, outer->len, outer->l4, v6, 0, &inner_after));
	FUZZ_CHECK(inner_after.l4 == inner->l4 && inner_after.proto == inner->proto);
	if (v6) {
		FUZZ_CHECK(memcmp(outer_after.key6.src, addrs, 32) == 0);
		FUZZ_CHECK(flow_key6_equal(&inner_after.key6, &k6));
	} else {
		FUZZ_CHECK(memcmp(&outer_after.key4.src, addrs, 8) == 0);
		FUZZ_CHECK(flow_key4_equal(&inner_after.key4, &k4));
	}
}

FUZZ_TARGET(data, size)
{
	struct fuzz_input in = {data, size};
	uint8_t *frame, *original, fields[68];
	struct parsed outer, inner;
	uint16_t len;

	fuzz_take(&in, fields, sizeof(fields));
	frame = fuzz_frame(&in, true, &len);
	if (frame == NULL)
		return;
	parse_frame(frame, len, 0, &outer);
	if (outer.kind == PARSE_ICMP_ERROR &&
		parse_icmp_quoted(
			frame, outer.len, outer.l4, (outer.flags & LANE_V6) != 0, 0, &inner)) {
		original = fuzz_copy(frame, len);
		rewrite(frame, len, &outer, &inner, fields);
		FUZZ_CHECK(memcmp(frame, original, outer.l3) == 0);
		FUZZ_CHECK(memcmp(frame + outer.len, original + outer.len,
				   (size_t)(len - outer.len)) == 0);
		free(original);
	}
	free(frame);
}
