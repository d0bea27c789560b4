/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Packets that a NIC has marked, through the real compositions: a mark leads to the flow's entry,
 * and one that misleads (stale, another flow's, another family's, out of a dead entry) changes
 * nothing but the way to it. What leaves is compared with what leaves without marks. */

#include "core/flow_probe.h"
#include "core/packet.h"
#include "packet/text.h"
#include "packet/world.h"
#include "unit/harness.h"

#define MARK 7

static const char *const statements[] = {
	"vport 1 pod mac=02:00:00:00:00:01 peer=02:00:00:00:01:01 addr=10.244.1.11 "
	"addr=fd00:10:244:1::11 guard",
	"vport 2 pod mac=02:00:00:00:00:02 peer=02:00:00:00:01:02 addr=10.244.1.12 "
	"addr=fd00:10:244:1::12 guard",
	"nexthop 1 forward vport=1 dmac=02:00:00:00:01:01",
	"nexthop 2 forward vport=2 dmac=02:00:00:00:01:02",
	"route 10.244.1.11/32 1",
	"route fd00:10:244:1::11/128 1",
	"route 10.244.1.12/32 2",
	"route fd00:10:244:1::12/128 2",
	"service TCP 10.96.0.10:80 -> 10.244.1.12:8080@local",
	"service TCP [fd00:10:96::10]:80 -> [fd00:10:244:1::12]:8080@local",
};

static struct world *world;
static struct bench *bench;

struct frame {
	uint8_t data[256];
	uint16_t len;
};

static void begin(void)
{
	char line[256], err[200];

	REQUIRE_EQ(world_new(&world), 0);
	for (unsigned i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		snprintf(line, sizeof(line), "%s", statements[i]);
		REQUIRE_EQ(world_statement(world, line, err, sizeof(err)), 1);
	}
	bench = world_bench(world);
}

static void end(void)
{
	char why[200] = "";

	CHECK(bench_balanced(bench, why, sizeof(why)));
	CHECK_STR(why, "");
	world_free(world);
}

/* Client's packet number of a connection from that port; to the service, or its answer. */
static void frame_of(
	struct frame *f, enum ip_family family, bool reply, uint16_t port, const char *flags)
{
	static const char *const client[] = {"10.244.1.11", "[fd00:10:244:1::11]"};
	static const char *const server[] = {"10.244.1.12", "[fd00:10:244:1::12]"};
	static const char *const vip[] = {"10.96.0.10", "[fd00:10:96::10]"};
	char line[200], err[200] = "";
	struct text_packet p;

	if (reply)
		snprintf(line, sizeof(line), "tcp %s:8080 > %s:%u %s len=20", server[family],
			client[family], port, flags);
	else
		snprintf(line, sizeof(line), "tcp %s:%u > %s:80 %s len=20", client[family], port,
			vip[family], flags);
	REQUIRE_EQ(text_parse(line, &p, err, sizeof(err)), 0);
	memcpy(p.dmac, reply ? "\x02\0\0\0\0\x02" : "\x02\0\0\0\0\x01", 6);
	memcpy(p.smac, reply ? "\x02\0\0\0\x01\x02" : "\x02\0\0\0\x01\x01", 6);
	f->len = text_build(&p, f->data, sizeof(f->data));
	text_free(&p);
}

/* One packet through the switch, with a mark or without (0); the vport it left by, 0: none. */
static uint16_t pass(const struct frame *in, bool reply, uint16_t mark, struct frame *out)
{
	const uint8_t *at = in->data;
	struct burst *b = &bench->w->burst;
	uint16_t to = 0;

	b->mark[0] = mark;
	b->marked = mark != 0 ? LANE(0) : 0;
	bench_receive(bench, reply ? 2 : 1, &at, &in->len, 1);
	b->marked = 0;
	CHECK_LE(bench->n_out, 1);
	if (bench->n_out == 1) {
		to = bench->out[0].vport;
		out->len = bench->out[0].len;
		memcpy(out->data, bench->out[0].data, out->len);
		bench_packet_free(bench, &bench->out[0]);
	}
	bench->n_out = 0;
	return to;
}

static void connect_from(enum ip_family family, uint16_t port)
{
	struct frame f, out;

	frame_of(&f, family, false, port, "S");
	REQUIRE_EQ(pass(&f, false, 0, &out), 2);
	frame_of(&f, family, true, port, "SA");
	REQUIRE_EQ(pass(&f, true, 0, &out), 1);
	frame_of(&f, family, false, port, "A");
	REQUIRE_EQ(pass(&f, false, 0, &out), 2);
}

static uint32_t slot_of(enum ip_family family, bool reply, uint16_t port)
{
	struct parsed p;
	struct frame f;
	uint32_t slot;

	frame_of(&f, family, reply, port, "A");
	parse_frame(f.data, f.len, 0, &p);
	slot = family == IP_V6 ? flow_lookup6(bench->dp.flows, &p.key6)
			       : flow_lookup4(bench->dp.flows, &p.key4);
	REQUIRE(slot != FLOW_NONE);
	return slot;
}

static struct flow_meta *meta_of(enum ip_family family, uint32_t slot)
{
	return flow_meta(bench->dp.flows, family, slot >> 1);
}

static void mark_flow(enum ip_family family, uint32_t slot, uint32_t age)
{
	flow_mark_set(bench->dp.flows, family, MARK, slot >> 1, slot & 1,
		meta_of(family, slot)->generation - age);
}

/* Data of that connection and direction leaves with a mark as it does without. */
static void check_same(enum ip_family family, bool reply, uint16_t port, bool followed)
{
	struct worker_counters *c = &bench->w->counters;
	uint64_t good = c->marks_followed, stale = c->marks_stale;
	struct frame f, plain = {.len = 0}, marked = {.len = 0};

	frame_of(&f, family, reply, port, "A");
	CHECK_EQ(pass(&f, reply, 0, &plain), reply ? 1 : 2);
	CHECK_EQ(pass(&f, reply, MARK, &marked), reply ? 1 : 2);
	CHECK_EQ(plain.len, marked.len);
	CHECK(memcmp(plain.data, marked.data, plain.len) == 0);
	CHECK_EQ(c->marks_followed - good, followed);
	CHECK_EQ(c->marks_stale - stale, !followed);
}

static void a_mark_leads_to_the_flow(void)
{
	begin();
	for (int f = 0; f < IP_FAMILIES; f++) {
		connect_from(f, 4000);
		for (int reply = 0; reply < 2; reply++) {
			CHECK(!flow_marks_used(bench->dp.flows));
			mark_flow(f, slot_of(f, reply, 4000), 0);
			CHECK(flow_marks_used(bench->dp.flows));
			check_same(f, reply, 4000, true);
			flow_mark_clear(bench->dp.flows, f, MARK);
		}
	}
	end();
}

static void a_mark_that_misleads_is_harmless(void)
{
	begin();
	for (int f = 0; f < IP_FAMILIES; f++) {
		connect_from(f, 4000);
		connect_from(f, 4001);
		/* Of nobody any more. */
		check_same(f, false, 4000, false);
		/* Of the flow that had the entry before. */
		mark_flow(f, slot_of(f, false, 4000), 1);
		check_same(f, false, 4000, false);
		flow_mark_clear(bench->dp.flows, f, MARK);
		/* Of another flow, and of this flow's other direction. */
		mark_flow(f, slot_of(f, false, 4001), 0);
		check_same(f, false, 4000, false);
		check_same(f, true, 4001, false);
		flow_mark_clear(bench->dp.flows, f, MARK);
	}
	/* Of the other family. */
	mark_flow(IP_V4, slot_of(IP_V4, false, 4000), 0);
	check_same(IP_V6, false, 4000, false);
	flow_mark_clear(bench->dp.flows, IP_V4, MARK);
	end();
}

/* One burst of both kinds: each lane goes its own way. */
static void marked_and_unmarked_packets_mix(void)
{
	const uint8_t *at[64];
	uint16_t len[64];
	struct frame f[64];
	struct burst *b;

	begin();
	b = &bench->w->burst;
	for (int family = 0; family < IP_FAMILIES; family++)
		for (uint16_t port = 4000; port < 4008; port++)
			connect_from(family, port);
	mark_flow(IP_V4, slot_of(IP_V4, false, 4003), 0);
	mark_flow(IP_V6, slot_of(IP_V6, false, 4005), 0);
	b->marked = 0;
	for (unsigned i = 0; i < 64; i++) {
		frame_of(&f[i], i / 8 % 2, false, (uint16_t)(4000 + i % 8), "A");
		at[i] = f[i].data;
		len[i] = f[i].len;
		b->mark[i] = MARK;
		if (i % 3 == 0)
			b->marked |= LANE(i);
	}
	bench_receive(bench, 1, at, len, 64);
	b->marked = 0;
	CHECK_EQ(bench->n_out, 64);
	CHECK_EQ(bench->w->counters.marks_followed + bench->w->counters.marks_stale, 22);
	CHECK_GT(bench->w->counters.marks_followed, 0);
	for (uint32_t i = 0; i < bench->n_out; i++) {
		CHECK_EQ(bench->out[i].vport, 2);
		bench_packet_free(bench, &bench->out[i]);
	}
	bench->n_out = 0;
	flow_mark_clear(bench->dp.flows, IP_V4, MARK);
	flow_mark_clear(bench->dp.flows, IP_V6, MARK);
	end();
}

/* A NIC marks all packets of the tuple: what ends a connection, and what begins the next, too. */
static void marked_packets_move_the_flow(void)
{
	begin();
	for (int f = 0; f < IP_FAMILIES; f++) {
		uint32_t slot, generation;
		struct frame frame, out;

		connect_from(f, 4000);
		slot = slot_of(f, false, 4000);
		mark_flow(f, slot, 0);
		frame_of(&frame, f, false, 4000, "FA");
		CHECK_EQ(pass(&frame, false, MARK, &out), 2);
		CHECK_EQ(meta_of(f, slot)->state, FLOW_FIN);
		/* Dead: its mark brings it not back. */
		generation = meta_of(f, slot)->generation;
		CHECK(flow_kill(bench->dp.flows, f, slot >> 1));
		frame_of(&frame, f, false, 4000, "S");
		CHECK_EQ(pass(&frame, false, MARK, &out), 2);
		CHECK(slot_of(f, false, 4000) != slot ||
			meta_of(f, slot)->generation != generation);
		CHECK_EQ(meta_of(f, slot_of(f, false, 4000))->state, FLOW_NEW);
		flow_mark_clear(bench->dp.flows, f, MARK);
	}
	end();
}

TEST_SUITE("marks", CASE(a_mark_leads_to_the_flow), CASE(a_mark_that_misleads_is_harmless),
	CASE(marked_and_unmarked_packets_mix), CASE(marked_packets_move_the_flow))
