/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Any packet translated and back: it is what it was, and a right checksum stays right on the way.
 */

#include "fuzz/fuzz_frames.h"
#include "lib/frames.h"

static bool is_icmp(const struct parsed *p)
{
	return p->proto == IP_PROTO_ICMP || p->proto == IP_PROTO_ICMPV6;
}

/* Ones' complement has two zeros, of which a checksum in the wild may have either; UDP's and a
 * CRC have a meaning for each. */
static void canonical(uint8_t *frame, const struct parsed *p)
{
	uint8_t *fields[2] = {NULL, NULL};

	if ((p->flags & LANE_V6) == 0)
		fields[0] = frame + p->l3 + 10;
	if (p->kind == PARSE_FLOW && p->proto == IP_PROTO_TCP)
		fields[1] = frame + p->l4 + 16;
	else if (p->kind == PARSE_FLOW && is_icmp(p))
		fields[1] = frame + p->l4 + 2;
	for (unsigned i = 0; i < 2; i++)
		if (fields[i] != NULL && load_u16(fields[i]) == 0xffff)
			store_u16(fields[i], 0);
}

static void translate4(uint8_t *frame, const struct parsed *p, struct flow_key4 to, bool back)
{
	bool later = p->kind == PARSE_FRAGMENT_LATER;
	uint16_t l3, l4;

	nat_deltas4(&p->key4, &to, &l3, &l4);
	if (back)
		nat_rewrite4(
			frame, p->len, p->l3, p->l4, &p->key4, l3 ^ 0xffff, l4 ^ 0xffff, later);
	else
		nat_rewrite4(frame, p->len, p->l3, p->l4, &to, l3, l4, later);
}

static void translate6(uint8_t *frame, const struct parsed *p, struct flow_key6 to, bool back)
{
	bool later = p->kind == PARSE_FRAGMENT_LATER;
	uint16_t l4;

	nat_deltas6(&p->key6, &to, &l4);
	if (back)
		nat_rewrite6(frame, p->len, p->l3, p->l4, &p->key6, l4 ^ 0xffff, later);
	else
		nat_rewrite6(frame, p->len, p->l3, p->l4, &to, l4, later);
}

static void translate(
	uint8_t *frame, const struct parsed *p, const uint8_t addrs[32], uint32_t ports, bool back)
{
	if (is_icmp(p))
		ports = (ports & 0xffff) * 0x10001;
	if (p->flags & LANE_V6) {
		struct flow_key6 to = p->key6;

		memcpy(to.src, addrs, 32);
		memcpy(&to.sport, &ports, 4);
		translate6(frame, p, to, back);
	} else {
		struct flow_key4 to = p->key4;

		memcpy(&to.src, addrs, 8);
		memcpy(&to.sport, &ports, 4);
		translate4(frame, p, to, back);
	}
}

FUZZ_TARGET(data, size)
{
	struct fuzz_input in = {data, size};
	uint8_t *frame, *original, mode, addrs[32];
	struct parsed p;
	uint32_t ports;
	uint16_t len;
	bool right;

	fuzz_take(&in, &mode, 1);
	fuzz_take(&in, addrs, sizeof(addrs));
	fuzz_take(&in, &ports, sizeof(ports));
	frame = fuzz_frame(&in, true, &len);
	if (frame == NULL)
		return;
	parse_frame(frame, len, 0, &p);
	if (p.kind != PARSE_FLOW && p.kind != PARSE_FRAGMENT_LATER) {
		free(frame);
		return;
	}
	if (mode & 1)
		frame_fix(frame, len, p.l3);
	right = frame_right(frame, len, p.l3);
	original = fuzz_copy(frame, len);
	translate(frame, &p, addrs, ports, false);
	FUZZ_CHECK(!right || frame_right(frame, len, p.l3));
	translate(frame, &p, addrs, ports, true);
	canonical(frame, &p);
	canonical(original, &p);
	FUZZ_CHECK(memcmp(frame, original, len) == 0);
	free(original);
	free(frame);
}
