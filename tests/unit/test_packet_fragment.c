/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The fragment table, scenario by scenario: order, bounds, time, reuse of identifications. */

#include "core/frag.h"
#include "lib/frames.h"
#include "unit/harness.h"

#define SALT 42

/* Numbers stand for buffers: the table must not look into them. */
static void *buffer(uintptr_t n)
{
	return (void *)n;
}

static struct frag_packet packet(uintptr_t n)
{
	return (struct frag_packet){.buf = buffer(n), .len = (uint16_t)(1000 + n), .in_vport = 3};
}

/* A fragment of datagram id from off, n bytes. */
static struct parsed fragment(bool v6, uint32_t id, uint16_t off, uint16_t n, bool more)
{
	struct parsed p;
	struct frame f;

	frame_build(&f,
		&(struct frame_spec){.v6 = v6,
			.proto = 17,
			.sport = (uint16_t)(id + 1),
			.dport = (uint16_t)(id + 2),
			.frag_off = off,
			.payload = (uint16_t)(off == 0 ? n - 8 : n),
			.more = more,
			.id = id,
			.ext = "f"});
	parse_frame(f.data, f.len, 0, &p);
	REQUIRE(p.kind == (off == 0 ? PARSE_FLOW : PARSE_FRAGMENT_LATER));
	return p;
}

static enum frag_verdict later(struct frag_table *t, struct parsed *p, uintptr_t buf, uint32_t now)
{
	struct frag_packet pkt = packet(buf);
	enum drop_reason reason = DROP_Internal;
	enum frag_verdict verdict = frag_later(t, p, &pkt, now, &reason);

	CHECK(verdict != FRAG_DROP || reason != DROP_Internal);
	return verdict;
}

static enum drop_reason later_reason(struct frag_table *t, struct parsed *p, uint32_t now)
{
	struct frag_packet pkt = packet(99);
	enum drop_reason reason = DROP_Internal;

	CHECK_EQ(frag_later(t, p, &pkt, now, &reason), FRAG_DROP);
	return reason;
}

static uint32_t entries(const struct frag_table *t)
{
	struct frag_stats s;

	frag_stats(t, &s);
	return s.entries;
}

static uint32_t held_now(const struct frag_table *t)
{
	struct frag_stats s;

	frag_stats(t, &s);
	return s.held_now;
}

/* --- order ------------------------------------------------------------------------------------ */

static void in_order(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct parsed first = fragment(v6 != 0, 5, 0, 64, true);
		struct parsed second = fragment(v6 != 0, 5, 64, 64, true);
		struct parsed last = fragment(v6 != 0, 5, 128, 11, false);

		CHECK_EQ(frag_first(t, &first, 10), 0);
		CHECK_EQ(entries(t), 1);
		CHECK_EQ(later(t, &second, 1, 11), FRAG_PASS);
		CHECK_EQ(v6 ? second.key6.sport : second.key4.sport, htons(6));
		CHECK_EQ(v6 ? second.key6.dport : second.key4.dport, htons(7));
		CHECK_EQ(later(t, &last, 2, 12), FRAG_PASS);
		CHECK_EQ(v6 ? last.key6.dport : last.key4.dport, htons(7));
		/* All bytes have passed: the entry has ended. */
		CHECK_EQ(entries(t), 0);
	}
	frag_table_free(t);
}

static void out_of_order(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct parsed first = fragment(v6 != 0, 5, 0, 64, true);
		struct parsed second = fragment(v6 != 0, 5, 64, 64, true);
		struct parsed last = fragment(v6 != 0, 5, 128, 11, false);
		struct frag_packet out;

		CHECK_EQ(later(t, &last, 1, 10), FRAG_HELD);
		CHECK_EQ(later(t, &second, 2, 11), FRAG_HELD);
		CHECK_EQ(held_now(t), 2);
		CHECK(!frag_take(t, &out));
		CHECK_EQ(frag_first(t, &first, 12), 2);
		CHECK(frag_take(t, &out));
		CHECK(out.buf == buffer(1) && out.len == 1001 && out.in_vport == 3);
		CHECK_EQ(later(t, &last, 1, 12), FRAG_PASS);
		CHECK_EQ(last.flags & LANE_V6 ? last.key6.sport : last.key4.sport, htons(6));
		CHECK(frag_take(t, &out));
		CHECK(out.buf == buffer(2));
		CHECK_EQ(later(t, &second, 2, 12), FRAG_PASS);
		CHECK(!frag_take(t, &out));
		CHECK_EQ(held_now(t), 0);
		CHECK_EQ(entries(t), 0);
	}
	frag_table_free(t);
}

/* Later IPv6 fragments may name an extension header where the first one leads to the transport. */
static void transport_comes_from_the_first(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);
	struct parsed first, second;
	struct frame f;

	frame_build(&f,
		&(struct frame_spec){.v6 = true,
			.proto = 6,
			.sport = 8,
			.dport = 9,
			.payload = 44,
			.more = true,
			.id = 1,
			.ext = "fd"});
	parse_frame(f.data, f.len, 0, &first);
	frame_build(&f,
		&(struct frame_spec){.v6 = true,
			.proto = 60,
			.payload = 40,
			.frag_off = 80,
			.id = 1,
			.ext = "f"});
	parse_frame(f.data, f.len, 0, &second);
	CHECK_EQ(second.proto, 60);
	frag_first(t, &first, 0);
	CHECK_EQ(later(t, &second, 1, 0), FRAG_PASS);
	CHECK_EQ(second.proto, 6);
	CHECK_EQ(second.key6.proto, 6);
	CHECK_EQ(second.key6.sport, htons(8));
	frag_table_free(t);
}

static void datagrams_are_told_apart(void)
{
	struct frag_table *t = frag_table_new(16, 16, SALT);
	struct parsed first = fragment(false, 5, 0, 64, true), other;
	struct frag_packet out;

	frag_first(t, &first, 0);
	other = fragment(false, 6, 64, 8, true);
	CHECK_EQ(later(t, &other, 1, 0), FRAG_HELD);
	other = fragment(false, 5, 64, 8, true);
	other.key4.src ^= htonl(1);
	CHECK_EQ(later(t, &other, 2, 0), FRAG_HELD);
	other = fragment(false, 5, 64, 8, true);
	other.key4.zone = 9;
	CHECK_EQ(later(t, &other, 3, 0), FRAG_HELD);
	other = fragment(false, 5, 64, 8, true);
	other.proto = 132;
	CHECK_EQ(later(t, &other, 4, 0), FRAG_HELD);
	other = fragment(false, 5, 64, 8, true);
	CHECK_EQ(later(t, &other, 5, 0), FRAG_PASS);
	while (frag_expire(t, 0, true, &out))
		;
	CHECK_EQ(held_now(t), 0);
	CHECK_EQ(entries(t), 0);
	frag_table_free(t);
}

/* --- hostile or unlucky ----------------------------------------------------------------------- */

static void overlap_with_the_first_is_refused(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);
	struct parsed first = fragment(false, 5, 0, 64, true);
	struct parsed inside = fragment(false, 5, 56, 64, true);

	frag_first(t, &first, 0);
	CHECK_EQ(later_reason(t, &inside, 0), DROP_FragmentInvalid);
	frag_table_free(t);
}

static void identification_is_used_again(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);
	struct parsed first = fragment(false, 5, 0, 64, true), second;

	frag_first(t, &first, 0);
	first.key4.sport = htons(4000);
	CHECK_EQ(frag_first(t, &first, 10), 0);
	CHECK_EQ(entries(t), 1);
	second = fragment(false, 5, 64, 64, false);
	CHECK_EQ(later(t, &second, 1, 11), FRAG_PASS);
	CHECK_EQ(second.key4.sport, htons(4000));
	CHECK_EQ(entries(t), 0);
	frag_table_free(t);
}

static void ports_are_forgotten_in_time(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);
	struct parsed first = fragment(false, 5, 0, 64, true);
	struct parsed second = fragment(false, 5, 64, 64, true);
	uint32_t start = UINT32_MAX - 100; /* the clock wraps in between */
	struct frag_packet out;

	frag_first(t, &first, start);
	CHECK_EQ(later(t, &second, 1, start + FRAG_TIMEOUT_MS - 1), FRAG_PASS);
	CHECK_EQ(later(t, &second, 1, start + FRAG_TIMEOUT_MS), FRAG_HELD);
	CHECK(frag_expire(t, 0, true, &out));
	frag_first(t, &first, start);
	CHECK(!frag_expire(t, start + FRAG_TIMEOUT_MS - 1, false, &out));
	CHECK_EQ(entries(t), 1);
	CHECK(!frag_expire(t, start + FRAG_TIMEOUT_MS, false, &out));
	CHECK_EQ(entries(t), 0);
	frag_table_free(t);
}

static void held_packets_come_back_in_time(void)
{
	struct frag_table *t = frag_table_new(4, 4, SALT);
	struct parsed p = fragment(true, 5, 64, 64, true);
	struct frag_packet out;
	struct frag_stats s;

	CHECK_EQ(later(t, &p, 1, 100), FRAG_HELD);
	CHECK_EQ(later(t, &p, 2, 200), FRAG_HELD);
	CHECK(!frag_expire(t, 100 + FRAG_TIMEOUT_MS - 1, false, &out));
	CHECK(frag_expire(t, 100 + FRAG_TIMEOUT_MS, false, &out));
	CHECK(out.buf == buffer(1));
	CHECK(frag_expire(t, 100 + FRAG_TIMEOUT_MS, false, &out));
	CHECK(out.buf == buffer(2));
	CHECK(!frag_expire(t, 100 + FRAG_TIMEOUT_MS, false, &out));
	frag_stats(t, &s);
	CHECK_EQ(s.timeouts, 2);
	CHECK_EQ(s.held, 2);
	CHECK_EQ(s.entries, 0);
	CHECK_EQ(s.held_now, 0);
	frag_table_free(t);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void held_packets_are_bounded(void)
{
	struct frag_table *t = frag_table_new(16, FRAG_HELD_PER_DATAGRAM + 2, SALT);
	struct parsed p = fragment(false, 5, 64, 64, true);
	struct parsed first = fragment(false, 5, 0, 64, true);
	struct frag_packet out;

	for (unsigned i = 0; i < FRAG_HELD_PER_DATAGRAM; i++)
		CHECK_EQ(later(t, &p, i, 0), FRAG_HELD);
	CHECK_EQ(later_reason(t, &p, 0), DROP_FragmentTableFull);
	p = fragment(false, 6, 64, 64, true);
	CHECK_EQ(later(t, &p, 50, 0), FRAG_HELD);
	CHECK_EQ(later(t, &p, 51, 0), FRAG_HELD);
	CHECK_EQ(later_reason(t, &p, 0), DROP_FragmentTableFull);
	p = fragment(false, 7, 64, 64, true);
	CHECK_EQ(later_reason(t, &p, 0), DROP_FragmentTableFull);
	CHECK_EQ(entries(t), 2); /* the one refused left no entry */
	/* What is released counts until it is taken. */
	CHECK_EQ(frag_first(t, &first, 0), FRAG_HELD_PER_DATAGRAM);
	CHECK_EQ(later_reason(t, &p, 0), DROP_FragmentTableFull);
	CHECK(frag_take(t, &out));
	CHECK_EQ(later(t, &p, 60, 0), FRAG_HELD);
	while (frag_expire(t, 0, true, &out))
		;
	CHECK_EQ(held_now(t), 0);
	frag_table_free(t);
}

static void oldest_known_makes_room(void)
{
	struct frag_table *t = frag_table_new(2, 2, SALT);
	struct parsed first, p;
	struct frag_packet out;
	struct frag_stats s;

	for (uint32_t id = 1; id <= 3; id++) {
		first = fragment(false, id, 0, 64, true);
		frag_first(t, &first, id);
	}
	p = fragment(false, 1, 64, 64, true);
	CHECK_EQ(later(t, &p, 1, 4), FRAG_HELD); /* pushed out by 3; pushes out 2 */
	p = fragment(false, 3, 64, 64, true);
	CHECK_EQ(later(t, &p, 1, 4), FRAG_PASS);
	p = fragment(false, 2, 64, 64, true);
	CHECK_EQ(later(t, &p, 2, 4), FRAG_HELD); /* pushes out 3 */
	/* Only entries that wait are left, and they stay. */
	first = fragment(false, 9, 0, 64, true);
	CHECK_EQ(frag_first(t, &first, 5), 0);
	p = fragment(false, 9, 64, 64, true);
	CHECK_EQ(later_reason(t, &p, 5), DROP_FragmentTableFull);
	frag_stats(t, &s);
	CHECK_EQ(s.entries, 2);
	CHECK_EQ(s.held_now, 2);
	CHECK_GE(s.full, 4);
	first = fragment(false, 1, 0, 64, true);
	CHECK_EQ(frag_first(t, &first, 6), 1);
	CHECK(frag_take(t, &out));
	while (frag_expire(t, 0, true, &out))
		;
	CHECK_EQ(held_now(t), 0);
	frag_table_free(t);
}

static void capacities_are_checked(void)
{
	struct frag_table *t = frag_table_new(1, 0, SALT);
	struct parsed p = fragment(false, 5, 64, 64, true);

	CHECK(frag_table_new(0, 1, SALT) == NULL);
	CHECK(frag_table_new(FRAG_ENTRIES + 1, 1, SALT) == NULL);
	CHECK(frag_table_new(1, FRAG_HELD_MAX + 1, SALT) == NULL);
	REQUIRE(t != NULL);
	CHECK_EQ(later_reason(t, &p, 0), DROP_FragmentTableFull);
	frag_table_free(t);
	frag_table_free(NULL);
}

TEST_SUITE("packet_fragment", CASE(in_order), CASE(out_of_order),
	CASE(transport_comes_from_the_first), CASE(datagrams_are_told_apart),
	CASE(overlap_with_the_first_is_refused), CASE(identification_is_used_again),
	CASE(ports_are_forgotten_in_time), CASE(held_packets_come_back_in_time),
	CASE(held_packets_are_bounded), CASE(oldest_known_makes_room), CASE(capacities_are_checked))
