/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Any order of fragments over a small table: bounds hold, ports come from the newest first
 * fragment, and every buffer that went in comes out once. */

#include "core/frag.h"
#include "fuzz/fuzz_frames.h"

#define BUFFERS 256
#define IDS     8

struct run {
	struct frag_table *t;
	uint32_t entries, held_max, now;
	bool inside[BUFFERS];
	unsigned inside_count, next;
	uint16_t sport[IDS]; /* of the newest first fragment */
};

static void came_out(struct run *r, const struct frag_packet *pkt)
{
	uintptr_t n = (uintptr_t)pkt->buf;

	FUZZ_CHECK(n < BUFFERS && r->inside[n]);
	r->inside[n] = false;
	r->inside_count--;
}

static struct parsed fragment(const uint8_t op[4], bool first, uint16_t sport)
{
	struct parsed p = {.proto = 17, .flags = LANE_FRAGMENT};

	p.frag_id = op[1] % IDS;
	p.frag_len = (uint16_t)(1 + op[2]);
	p.kind = first ? PARSE_FLOW : PARSE_FRAGMENT_LATER;
	if (op[0] & 0x80)
		p.flags |= LANE_MORE_FRAGMENTS;
	if (!first) {
		p.flags |= LANE_FRAGMENT_LATER;
		p.frag_off = (uint16_t)(8 + op[3] * 8);
	}
	/* The family follows from the id, so that a datagram has one. */
	if (p.frag_id & 1) {
		p.flags |= LANE_V6;
		p.key6.sport = sport;
	} else {
		p.key4.sport = sport;
	}
	return p;
}

static void later(struct run *r, const uint8_t op[4])
{
	struct parsed p = fragment(op, false, 0);
	enum drop_reason reason = DROP_Internal;
	struct frag_packet pkt = {0};

	while (r->inside[r->next])
		r->next = (r->next + 1) % BUFFERS;
	pkt.buf = (void *)(uintptr_t)r->next;
	switch (frag_later(r->t, &p, &pkt, r->now, &reason)) {
	case FRAG_PASS:
		FUZZ_CHECK(
			(p.flags & LANE_V6 ? p.key6.sport : p.key4.sport) == r->sport[p.frag_id]);
		break;
	case FRAG_HELD:
		r->inside[r->next] = true;
		r->inside_count++;
		break;
	case FRAG_DROP:
		FUZZ_CHECK(reason == DROP_FragmentTableFull || reason == DROP_FragmentInvalid);
		break;
	}
	r->next = (r->next + 1) % BUFFERS;
}

static void step(struct run *r, const uint8_t op[4])
{
	struct frag_packet pkt;
	struct frag_stats s;
	struct parsed p;

	switch (op[0] & 7) {
	case 0:
		r->now += op[1] * 64u;
		break;
	case 1:
		if (frag_expire(r->t, r->now, false, &pkt))
			came_out(r, &pkt);
		break;
	case 2:
	case 3:
		if (frag_take(r->t, &pkt))
			came_out(r, &pkt);
		break;
	case 4:
	case 5:
		r->sport[op[1] % IDS] = load_u16(op + 2);
		p = fragment(op, true, load_u16(op + 2));
		p.flags |= LANE_MORE_FRAGMENTS;
		FUZZ_CHECK(frag_first(r->t, &p, r->now) <= FRAG_HELD_PER_DATAGRAM);
		break;
	default:
		later(r, op);
	}
	frag_stats(r->t, &s);
	FUZZ_CHECK(s.entries <= r->entries && s.held_now <= r->held_max);
	FUZZ_CHECK(s.held_now == r->inside_count);
}

FUZZ_TARGET(data, size)
{
	struct fuzz_input in = {data, size};
	struct frag_packet pkt;
	struct run r = {0};
	uint8_t head[4], op[4];

	fuzz_take(&in, head, sizeof(head));
	r.entries = 1 + head[0] % 8;
	r.held_max = head[1] % 32;
	r.now = (uint32_t)head[3] << 24;
	r.t = frag_table_new(r.entries, r.held_max, head[2]);
	FUZZ_CHECK(r.t != NULL);
	while (in.size > 0) {
		fuzz_take(&in, op, sizeof(op));
		step(&r, op);
	}
	while (frag_expire(r.t, r.now, true, &pkt))
		came_out(&r, &pkt);
	FUZZ_CHECK(r.inside_count == 0);
	frag_table_free(r.t);
}
