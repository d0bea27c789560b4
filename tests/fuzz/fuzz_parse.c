/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Any frame through the parser: offsets lie inside, keys are what the bytes say; and what Sluice
 * answers to it or cuts it into is itself a good frame. */

#include "fuzz/fuzz_frames.h"
#include "lib/frames.h"

static void check_flow(const uint8_t *frame, const struct parsed *p)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	const uint8_t *ip = frame + p->l3;
	bool icmp = p->proto == IP_PROTO_ICMP || p->proto == IP_PROTO_ICMPV6;
	uint16_t sport = load_u16(frame + p->l4 + (icmp ? 4 : 0));
	uint16_t dport = load_u16(frame + p->l4 + (icmp ? 4 : 2));

	FUZZ_CHECK(p->l4 + 8 <= p->len);
	if (v6) {
		FUZZ_CHECK(memcmp(p->key6.src, ip + 8, 32) == 0);
		FUZZ_CHECK(p->key6.sport == sport && p->key6.dport == dport);
		FUZZ_CHECK(p->key6.proto == p->proto && p->key6.zone == 5 && p->key6.zero == 0);
		FUZZ_CHECK(ip[8] != 0xff && ip[24] != 0xff);
	} else {
		FUZZ_CHECK(memcmp(&p->key4.src, ip + 12, 8) == 0);
		FUZZ_CHECK(p->key4.sport == sport && p->key4.dport == dport);
		FUZZ_CHECK(p->key4.proto == p->proto && p->key4.zone == 5 && p->key4.zero == 0);
		FUZZ_CHECK(ip[12] != 127 && ip[12] != 0 && ip[16] >> 4 != 0xe);
	}
}

static void answer(const uint8_t *frame, uint16_t len, const struct parsed *p)
{
	struct ip_addr source = {0};
	struct parsed q;

	source.bytes[0] = 0xfd;
	if ((p->flags & LANE_V6) == 0)
		source = ip_from_v4(htonl(0x0a000001));
	for (int kind = REJECT_TCP_RESET; kind <= REJECT_TOO_BIG; kind++) {
		uint16_t room = (uint16_t)(64 + len % 1400);
		uint8_t *out;
		uint16_t n;

		if (!reject_allowed(frame, len, p, (enum reject_kind)kind))
			continue;
		out = malloc(room);
		FUZZ_CHECK(out != NULL);
		n = reject_build(frame, len, p, (enum reject_kind)kind, 1400, &source, out, room);
		FUZZ_CHECK(n <= room);
		if (n != 0) {
			FUZZ_CHECK(frame_right(out, n, p->l3));
			parse_frame(out, n, 5, &q);
			FUZZ_CHECK(q.kind ==
				(kind == REJECT_TCP_RESET ? PARSE_FLOW : PARSE_ICMP_ERROR));
			FUZZ_CHECK(q.len == n);
		}
		free(out);
	}
}

static void echo(const uint8_t *frame, uint16_t len, const struct parsed *p)
{
	uint8_t *copy = fuzz_copy(frame, len);
	struct parsed q;

	if (echo_reply(copy, len, p->l3, p->l4, (p->flags & LANE_V6) != 0)) {
		parse_frame(copy, len, 5, &q);
		FUZZ_CHECK(q.kind == PARSE_FLOW && q.proto == p->proto && q.l4 == p->l4);
	}
	free(copy);
}

static void cut(const uint8_t *frame, uint16_t len, const struct parsed *p)
{
	uint16_t mtu = (uint16_t)(68 + len % 500), n = 0, got;
	uint8_t *out = malloc((size_t)p->l3 + mtu);

	FUZZ_CHECK(out != NULL);
	for (;; n++) {
		struct parsed q;

		got = ipv4_fragment(frame, len, p->l3, mtu, n, out, (uint16_t)(p->l3 + mtu));
		if (got == 0)
			break;
		FUZZ_CHECK(got <= p->l3 + mtu && n < 1000);
		parse_frame(out, got, 5, &q);
		FUZZ_CHECK(q.kind != PARSE_DROP || q.reason != DROP_BadIpChecksum);
		FUZZ_CHECK(q.kind != PARSE_DROP || q.reason != DROP_BadIpHeader);
		FUZZ_CHECK(q.kind != PARSE_DROP || q.reason != DROP_RuntFrame);
	}
	free(out);
}

FUZZ_TARGET(data, size)
{
	struct fuzz_input in = {data, size};
	uint8_t *frame, mode;
	struct parsed p, inner;
	uint16_t len;

	fuzz_take(&in, &mode, 1);
	frame = fuzz_frame(&in, mode & 1, &len);
	if (frame == NULL)
		return;
	parse_frame(frame, len, 5, &p);
	FUZZ_CHECK(p.kind <= PARSE_DROP && p.len <= len);
	if (p.kind != PARSE_DROP)
		FUZZ_CHECK(p.l3 <= p.l4 && p.l4 <= p.len);
	if (p.kind == PARSE_FLOW) {
		check_flow(frame, &p);
		answer(frame, len, &p);
		if (p.proto == IP_PROTO_ICMP || p.proto == IP_PROTO_ICMPV6)
			echo(frame, len, &p);
	}
	if (p.kind == PARSE_ICMP_ERROR &&
		parse_icmp_quoted(frame, p.len, p.l4, (p.flags & LANE_V6) != 0, 5, &inner))
		FUZZ_CHECK(inner.l3 == p.l4 + 8 && inner.l4 > inner.l3 && inner.l4 + 8 <= p.len);
	if ((p.kind == PARSE_FLOW || p.kind == PARSE_FRAGMENT_LATER) && (p.flags & LANE_V6) == 0)
		cut(frame, len, &p);
	free(frame);
}
