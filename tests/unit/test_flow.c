/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The flow table at its edges: tiny capacities, one bucket with a chain, full, reclaim, sweep,
 * timeouts, states, kill by id, links that meet a kill. */

#include <errno.h>

#include "core/flow.h"
#include "core/flow_hash.h"
#include "core/packet.h"
#include "unit/flow_fixture.h"
#include "unit/harness.h"

static struct grace grace;
static struct flow_timeouts timeouts;

static struct flow_table *table(uint32_t capacity, uint32_t workers, uint32_t buckets)
{
	struct flow_config cfg = {.capacity = {capacity, capacity},
		.workers = workers,
		.salt = {test_seed(), 7},
		.buckets = buckets,
		.grace = &grace};
	struct flow_table *t = NULL;

	memset(&grace, 0, sizeof(grace));
	flow_timeouts_default(&timeouts);
	REQUIRE_EQ(flow_table_init(&cfg, &t), 0);
	return t;
}

static uint32_t used(struct flow_table *t, enum ip_family f, uint32_t worker)
{
	return flow_stats(t, f, worker)->used;
}

static void lookup_finds_both_directions(void)
{
	struct flow_table *t = table(8, 1, 0);

	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t n = 0; n < 8; n++)
			CHECK(fixture_is(t, f, n, FLOW_NONE));
		for (uint32_t n = 0; n < 8; n++) {
			CHECK_EQ(fixture_insert(t, f, 0, n, 1000), n);
			for (uint32_t m = 0; m < 8; m++)
				CHECK(fixture_is(t, f, m, m <= n ? m : FLOW_NONE));
		}
		CHECK_EQ(used(t, f, 0), 8);
		CHECK_EQ(flow_stats(t, f, 0)->high_water, 8);
		CHECK_EQ(flow_stats(t, f, 0)->created, 8);
	}
	flow_table_fini(t);
}

/* One bucket: 72 places with its chain, then a refusal; what is freed in the middle is found
 * again as place; empty overflow buckets go back to the pool after a grace period. */
static void one_bucket_chain(void)
{
	const uint32_t places = 8 * (FLOW_CHAIN_MAX + 1), flows = places / 2;
	struct flow_table *t = table(64, 1, 1);
	uint32_t buckets, in_use, total, other;
	struct flow_key6 fwd, reply;
	uint32_t extra;

	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t n = 0; n < flows; n++)
			REQUIRE_EQ(fixture_insert(t, f, 0, n, 0), n);
		flow_index_usage(t, f, &buckets, &in_use, &total);
		CHECK_EQ(buckets, 1);
		CHECK_EQ(in_use, FLOW_CHAIN_MAX);
		CHECK_EQ(total, FLOW_OVERFLOW_MIN);
		for (uint32_t n = 0; n < flows; n++)
			CHECK(fixture_is(t, f, n, n));

		fixture_keys(f, 1000, &fwd, &reply);
		extra = fixture_prepare(t, f, 0, &fwd, &reply, 0);
		REQUIRE_EQ(extra, flows);
		CHECK_EQ(flow_link(t, f, extra, DIR_REPLY, &other), -ENOSPC);
		CHECK_EQ(flow_stats(t, f, 0)->index_full, 1);
		CHECK(flow_kill(t, f, 20));
		CHECK_EQ(flow_link(t, f, extra, DIR_REPLY, &other), 0);
		CHECK_EQ(flow_link(t, f, extra, DIR_FORWARD, &other), 0);
		CHECK(fixture_is(t, f, 20, FLOW_NONE));
		CHECK(fixture_is(t, f, 1000, extra));

		for (uint32_t n = 0; n <= flows; n++)
			CHECK_EQ(flow_kill(t, f, n), n != 20);
		flow_index_usage(t, f, &buckets, &in_use, &total);
		CHECK_EQ(in_use, 0);
		fixture_grace(&grace);
		flow_sweep(t, 0, 0, &timeouts);
		flow_sweep(t, 0, 0, &timeouts);
		CHECK_EQ(used(t, f, 0), 0);
		/* Twice round the overflow pool: only reuse can serve this. */
		for (int round = 0; round < 4; round++) {
			for (uint32_t n = 0; n < flows; n++)
				REQUIRE(fixture_insert(t, f, 0, 5000 + n, 0) != FLOW_NONE);
			for (uint32_t n = 0; n < 64; n++)
				flow_kill(t, f, n);
			fixture_grace(&grace);
			flow_sweep(t, 0, 0, &timeouts);
			flow_sweep(t, 0, 0, &timeouts);
		}
	}
	flow_table_fini(t);
}

/* Overflow buckets that readers could still be in are not given. */
static void overflow_waits_for_grace(void)
{
	struct flow_table *t = table(512, 1, 1);
	const uint32_t flows = 4 * (FLOW_CHAIN_MAX + 1);

	for (int round = 0; round < 2; round++) {
		for (uint32_t n = 0; n < flows; n++)
			REQUIRE(fixture_insert(t, IP_V4, 0, n, 0) != FLOW_NONE);
		for (uint32_t n = 0; n < flows; n++)
			CHECK(flow_kill(t, IP_V4, flows * (uint32_t)round + n));
	}
	for (uint32_t n = 0; n < 4; n++)
		CHECK_NE(fixture_insert(t, IP_V4, 0, n, 0), FLOW_NONE);
	CHECK_EQ(fixture_insert(t, IP_V4, 0, 9, 0), FLOW_NONE);
	fixture_grace(&grace);
	CHECK_NE(fixture_insert(t, IP_V4, 0, 9, 0), FLOW_NONE);
	flow_table_fini(t);
}

static void link_does_not_overwrite(void)
{
	struct flow_table *t = table(8, 2, 0);
	struct flow_key6 fwd, reply, fwd2, reply2;
	uint32_t other = 0;

	for (int f = 0; f < IP_FAMILIES; f++) {
		uint32_t a, b;

		fixture_keys(f, 1, &fwd, &reply);
		fixture_keys(f, 2, &fwd2, &reply2);
		a = fixture_insert(t, f, 0, 1, 0);
		/* Another worker, another client, the same reply key: the source port is taken. */
		b = fixture_prepare(t, f, 1, &fwd2, &reply, 0);
		CHECK_EQ(flow_owner(t, f, a), 0);
		CHECK_EQ(flow_owner(t, f, b), 1);
		CHECK_EQ(flow_link(t, f, b, DIR_REPLY, &other), -EEXIST);
		CHECK_EQ(other, a << 1 | DIR_REPLY);
		CHECK_EQ(flow_stats(t, f, 1)->races, 1);
		/* The next port is free. */
		reply.dport++;
		if (f == IP_V4)
			flow_array4(t)[b].key[DIR_REPLY] = fixture_narrow(&reply);
		else
			flow_array6(t)[b].key[DIR_REPLY] = reply;
		CHECK_EQ(flow_link(t, f, b, DIR_REPLY, &other), 0);
		CHECK_EQ(flow_link(t, f, b, DIR_FORWARD, &other), 0);
		CHECK_EQ(fixture_find(t, f, &reply), b << 1 | DIR_REPLY);
		CHECK_EQ(fixture_find(t, f, &fwd2), b << 1 | DIR_FORWARD);

		/* A forward key that is there already: the loser learns the winner. */
		b = fixture_prepare(t, f, 1, &fwd, &reply2, 0);
		CHECK_EQ(flow_link(t, f, b, DIR_REPLY, &other), 0);
		CHECK_EQ(flow_link(t, f, b, DIR_FORWARD, &other), -EEXIST);
		CHECK_EQ(other, a << 1 | DIR_FORWARD);
		CHECK(flow_kill(t, f, b));
		CHECK_EQ(fixture_find(t, f, &reply2), FLOW_NONE);
		CHECK(fixture_is(t, f, 1, a));
	}
	flow_table_fini(t);
}

/* A key whose entry is claimed by a killer but not yet unlinked may be taken at once. */
static void link_replaces_the_dead(void)
{
	struct flow_table *t = table(8, 1, 1);
	struct flow_key6 fwd, reply;
	uint32_t a, b, other;

	fixture_keys(IP_V4, 1, &fwd, &reply);
	a = fixture_insert(t, IP_V4, 0, 1, 0);
	flow_array4(t)[a].meta.state = FLOW_DEAD;
	CHECK_EQ(fixture_find(t, IP_V4, &fwd), FLOW_NONE);
	b = fixture_prepare(t, IP_V4, 0, &fwd, &reply, 0);
	CHECK_EQ(flow_link(t, IP_V4, b, DIR_REPLY, &other), 0);
	CHECK_EQ(flow_link(t, IP_V4, b, DIR_FORWARD, &other), 0);
	/* What the killer still does must not touch the new entry. */
	flow_unlink(t, IP_V4, a, DIR_FORWARD);
	flow_unlink(t, IP_V4, a, DIR_REPLY);
	CHECK(fixture_is(t, IP_V4, 1, b));
	flow_table_fini(t);
}

/* Killed by its id between the two links: the second is refused, the sweep gets the entry. */
static void link_meets_a_kill(void)
{
	struct flow_table *t = table(8, 1, 1);
	struct flow_key6 fwd, reply;
	uint32_t a, other;

	fixture_keys(IP_V6, 1, &fwd, &reply);
	a = fixture_prepare(t, IP_V6, 0, &fwd, &reply, 0);
	CHECK_EQ(flow_link(t, IP_V6, a, DIR_REPLY, &other), 0);
	CHECK(flow_kill_id(t, IP_V6, a, 0));
	CHECK_EQ(flow_link(t, IP_V6, a, DIR_FORWARD, &other), -ECANCELED);
	CHECK(!flow_kill(t, IP_V6, a));
	CHECK(fixture_is(t, IP_V6, 1, FLOW_NONE));

	/* The same before the first link; giving it back is the sweep's then, not ours. */
	a = fixture_prepare(t, IP_V6, 0, &fwd, &reply, 0);
	CHECK(flow_kill_id(t, IP_V6, a, 0));
	CHECK_EQ(flow_link(t, IP_V6, a, DIR_REPLY, &other), -ECANCELED);
	flow_unalloc(t, IP_V6, 0, a);
	CHECK_EQ(used(t, IP_V6, 0), 2);
	flow_sweep(t, 0, 0, &timeouts);
	CHECK_EQ(used(t, IP_V6, 0), 2);
	fixture_grace(&grace);
	flow_sweep(t, 0, 0, &timeouts);
	CHECK_EQ(used(t, IP_V6, 0), 0);
	flow_table_fini(t);
}

static void kill_by_id(void)
{
	struct flow_table *t = table(4, 1, 0);
	struct flow_view v;
	uint32_t a;

	for (int f = 0; f < IP_FAMILIES; f++) {
		a = fixture_insert(t, f, 0, 3, 500);
		REQUIRE_EQ(flow_read(t, f, a, &v), 0);
		CHECK_EQ(v.meta.generation, 0);
		CHECK_EQ(v.cold.created_ms, 500);
		CHECK_EQ(v.worker, 0);
		CHECK_EQ(v.family, f);
		CHECK(!flow_kill_id(t, f, a, 1));
		CHECK(!flow_kill_id(t, f, 4, 0));
		CHECK(flow_kill_id(t, f, a, 0));
		CHECK(!flow_kill_id(t, f, a, 0));
		CHECK_EQ(flow_read(t, f, a, &v), -ENOENT);
		CHECK_EQ(flow_read(t, f, 4, &v), -ENOENT);
		CHECK_EQ(flow_stats(t, f, 0)->killed, 1);
		fixture_grace(&grace);
		flow_sweep(t, 0, 500, &timeouts);
		/* The next life of the same entry has another name. */
		CHECK_EQ(fixture_insert(t, f, 0, 4, 600), a);
		CHECK(!flow_kill_id(t, f, a, 0));
		REQUIRE_EQ(flow_read(t, f, a, &v), 0);
		CHECK_EQ(v.meta.generation, 1);
		CHECK(flow_kill_id(t, f, a, 1));
	}
	flow_table_fini(t);
}

/* IPv4 keys are read in mapped form. */
static void read_widens(void)
{
	struct flow_table *t = table(4, 1, 0);
	struct ip_addr src = ip_from_v4(0);
	struct flow_key6 fwd, reply;
	struct flow_key4 want;
	struct flow_view v;

	fixture_keys(IP_V4, 77, &fwd, &reply);
	want = fixture_narrow(&fwd);
	src.words[3] = want.src;
	REQUIRE_EQ(flow_read(t, IP_V4, fixture_insert(t, IP_V4, 0, 77, 0), &v), 0);
	CHECK_MEM(v.key[DIR_FORWARD].src, src.bytes, 16);
	CHECK_EQ(v.key[DIR_FORWARD].sport, want.sport);
	CHECK_EQ(v.key[DIR_FORWARD].dport, want.dport);
	CHECK_EQ(v.key[DIR_FORWARD].proto, IP_PROTO_TCP);
	flow_table_fini(t);
}

/* Full: new ones are refused and counted, the replied stay, the unreplied make room. */
static void full_table_reclaims_the_unreplied(void)
{
	struct flow_table *t = table(8, 1, 0);
	const struct flow_pool_stats *s;

	for (int f = 0; f < IP_FAMILIES; f++) {
		s = flow_stats(t, f, 0);
		for (uint32_t n = 0; n < 8; n++)
			fixture_insert(t, f, 0, n, 0);
		for (uint32_t n = 0; n < 5; n++)
			flow_meta(t, f, n)->state = n & 1 ? FLOW_REPLIED : FLOW_ESTABLISHED;
		CHECK_EQ(fixture_insert(t, f, 0, 100, 0), FLOW_NONE);
		CHECK_EQ(s->full, 1);
		CHECK_EQ(s->reclaimed, 3);
		/* Readers may still hold them. */
		CHECK_EQ(fixture_insert(t, f, 0, 100, 0), FLOW_NONE);
		CHECK_EQ(s->full, 2);
		fixture_grace(&grace);
		for (uint32_t n = 100; n < 103; n++) {
			uint32_t entry = fixture_insert(t, f, 0, n, 0);

			REQUIRE(entry != FLOW_NONE);
			CHECK_GE(entry, 5);
			flow_meta(t, f, entry)->state = FLOW_ESTABLISHED;
		}
		/* Nothing unreplied is left: refused for good, nobody evicted. */
		for (int i = 0; i < 5; i++) {
			CHECK_EQ(fixture_insert(t, f, 0, 200, 0), FLOW_NONE);
			fixture_grace(&grace);
		}
		CHECK_EQ(s->reclaimed, 3);
		CHECK_EQ(s->full, 7);
		for (uint32_t n = 0; n < 5; n++)
			CHECK(fixture_is(t, f, n, n));
		CHECK_EQ(s->used, 8);
		CHECK_EQ(s->high_water, 8);
		/* Room comes back when flows end. */
		flow_kill(t, f, 2);
		flow_sweep(t, 0, 0, &timeouts);
		fixture_grace(&grace);
		CHECK_EQ(fixture_insert(t, f, 0, 200, 0), 2);
	}
	flow_table_fini(t);
}

static void sweep_honours_each_timeout(void)
{
	struct flow_table *t = table(4, 1, 0);

	for (int f = 0; f < IP_FAMILIES; f++) {
		for (int class = 0; class < FLOW_CLASSES; class ++) {
			for (int state = FLOW_NEW; state < FLOW_STATES; state++) {
				uint32_t start = UINT32_MAX - 5000; /* the clock wraps */
				uint32_t limit = timeouts.ms[class][state];
				uint32_t e = fixture_insert(t, f, 0, 1, start);

				REQUIRE(e != FLOW_NONE);
				CHECK_GT(limit, 0);
				flow_meta(t, f, e)->class = (uint8_t) class;
				flow_meta(t, f, e)->state = (uint8_t)state;
				CHECK_EQ(flow_sweep(t, 0, start + limit, &timeouts), 0);
				/* Another worker that is ahead of us touched it. */
				CHECK_EQ(flow_sweep(t, 0, start - 1, &timeouts), 0);
				CHECK(fixture_is(t, f, 1, e));
				CHECK_EQ(flow_sweep(t, 0, start + limit + 1, &timeouts), 1);
				CHECK(fixture_is(t, f, 1, FLOW_NONE));
				fixture_grace(&grace);
				flow_sweep(t, 0, start + limit + 1, &timeouts);
				CHECK_EQ(used(t, f, 0), 0);
			}
		}
		CHECK_EQ(flow_stats(t, f, 0)->expired, FLOW_CLASSES * (FLOW_STATES - FLOW_NEW));
		CHECK_EQ(flow_stats(t, f, 0)->killed, 0);
	}
	flow_table_fini(t);
}

/* A large pool is passed once a pass time, in bounded steps, and never stands still. */
static void sweep_is_paced(void)
{
	const uint32_t n = 4096;
	struct flow_table *t = table(n, 1, 0);
	uint32_t killed = 0, calls = 0, now = 0;

	for (uint32_t i = 0; i < n; i++)
		REQUIRE(fixture_insert(t, IP_V4, 0, i, 0) != FLOW_NONE);
	/* Give room, so that the pool's fill does not hurry it. */
	for (uint32_t i = 0; i < n / 4; i++)
		flow_kill(t, IP_V4, i);
	fixture_grace(&grace);
	for (; used(t, IP_V4, 0) > 3 * n / 4; calls++)
		flow_sweep(t, 0, now, &timeouts);
	now = timeouts.ms[FLOW_CLASS_TCP][FLOW_NEW] + 1;
	while (flow_sweep(t, 0, now, &timeouts) == FLOW_SWEEP_BATCH)
		killed += FLOW_SWEEP_BATCH;
	for (calls = 0; killed < 3 * n / 4 && calls < 10000; calls++) {
		uint32_t k = flow_sweep(t, 0, now, &timeouts);

		CHECK_LE(k, FLOW_SWEEP_BATCH);
		killed += k;
	}
	CHECK_LT(calls, 10000);
	fixture_grace(&grace);
	for (calls = 0; used(t, IP_V4, 0) != 0 && calls < 10000; calls++)
		flow_sweep(t, 0, now, &timeouts);
	CHECK_EQ(used(t, IP_V4, 0), 0);
	flow_table_fini(t);
}

static void touch_is_coarse(void)
{
	struct flow_meta m = {.last_seen = 1000};

	flow_touch(&m, 1000 + FLOW_TOUCH_MS - 1);
	CHECK_EQ(m.last_seen, 1000);
	flow_touch(&m, 1000 + FLOW_TOUCH_MS);
	CHECK_EQ(m.last_seen, 1000 + FLOW_TOUCH_MS);
}

/* What one packet makes of a state. */
static void tcp_states(void)
{
	enum {
		F = DIR_FORWARD,
		R = DIR_REPLY
	};
	static const struct {
		uint8_t from, dir, flags, fins, to;
	} table[] = {
		{FLOW_NEW, F, TCP_SYN, 0, FLOW_NEW},
		{FLOW_NEW, F, TCP_ACK, 0, FLOW_NEW},
		{FLOW_NEW, R, TCP_SYN | TCP_ACK, 0, FLOW_REPLIED},
		{FLOW_NEW, R, TCP_SYN, 0, FLOW_REPLIED},
		{FLOW_NEW, R, TCP_ACK, 0, FLOW_ESTABLISHED},
		{FLOW_NEW, R, TCP_RST | TCP_ACK, 0, FLOW_RESET},
		{FLOW_NEW, F, TCP_FIN | TCP_ACK, 0, FLOW_FIN},
		{FLOW_REPLIED, R, TCP_SYN | TCP_ACK, 0, FLOW_REPLIED},
		{FLOW_REPLIED, F, TCP_SYN, 0, FLOW_REPLIED},
		{FLOW_REPLIED, F, TCP_ACK, 0, FLOW_ESTABLISHED},
		{FLOW_REPLIED, F, TCP_RST, 0, FLOW_RESET},
		{FLOW_ESTABLISHED, F, TCP_ACK | TCP_PSH, 0, FLOW_ESTABLISHED},
		{FLOW_ESTABLISHED, F, TCP_SYN, 0, FLOW_ESTABLISHED},
		{FLOW_ESTABLISHED, F, TCP_FIN | TCP_ACK, 0, FLOW_FIN},
		{FLOW_ESTABLISHED, R, TCP_FIN | TCP_ACK, 0, FLOW_FIN},
		{FLOW_ESTABLISHED, R, TCP_RST, 0, FLOW_RESET},
		{FLOW_FIN, R, TCP_ACK, FLOW_F_FIN_FORWARD, FLOW_FIN},
		{FLOW_FIN, F, TCP_FIN | TCP_ACK, FLOW_F_FIN_FORWARD, FLOW_FIN},
		{FLOW_FIN, R, TCP_FIN | TCP_ACK, FLOW_F_FIN_FORWARD, FLOW_CLOSING},
		{FLOW_FIN, F, TCP_FIN | TCP_ACK, FLOW_F_FIN_REPLY, FLOW_CLOSING},
		{FLOW_CLOSING, F, TCP_ACK, FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY, FLOW_CLOSING},
		{FLOW_CLOSING, F, TCP_RST, FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY, FLOW_RESET},
		{FLOW_CLOSING, F, TCP_SYN, FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY, FLOW_NEW},
		{FLOW_CLOSING, R, TCP_SYN, FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY, FLOW_CLOSING},
		{FLOW_RESET, F, TCP_ACK, 0, FLOW_RESET},
		{FLOW_RESET, R, TCP_SYN | TCP_ACK, 0, FLOW_RESET},
		{FLOW_RESET, F, TCP_SYN, 0, FLOW_NEW},
		{FLOW_DEAD, F, TCP_SYN, 0, FLOW_DEAD},
		{FLOW_DEAD, R, TCP_RST, 0, FLOW_DEAD},
		{FLOW_FREE, F, TCP_SYN, 0, FLOW_FREE},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct flow_meta m = {.state = table[i].from, .flags = table[i].fins | FLOW_F_DNAT};

		flow_tcp_advance(&m, table[i].dir, table[i].flags);
		CHECK_TEXT_(m.state == table[i].to, 0, "row %zu: %s, expected %s", i,
			flow_state_name(m.state), flow_state_name(table[i].to));
		CHECK(m.flags & FLOW_F_DNAT);
		/* A connection opened again has seen no FIN. */
		if (table[i].to == FLOW_NEW && table[i].from > FLOW_FIN)
			CHECK_EQ(m.flags & (FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY), 0);
	}
}

static void other_protocols_states(void)
{
	for (int s = 0; s < FLOW_STATES; s++) {
		struct flow_meta m = {.state = (uint8_t)s};

		flow_seen_reply(&m);
		CHECK_EQ(m.state, s == FLOW_NEW ? FLOW_REPLIED : s);
		m.state = (uint8_t)s;
		flow_close(&m);
		CHECK_EQ(m.state, s >= FLOW_NEW && s < FLOW_CLOSING ? FLOW_CLOSING : s);
		CHECK_NE(strcmp(flow_state_name(s), "Unknown"), 0);
	}
	CHECK_STR(flow_state_name(FLOW_STATES), "Unknown");
}

/* Mixed families, hits and misses, lanes left out, several tables of load. */
static void burst_agrees_with_single(void)
{
	static struct burst b;

	for (uint32_t buckets = 0; buckets < 3; buckets++) {
		struct flow_table *t = table(64, 1, buckets);

		for (uint32_t n = 0; n < 32; n++)
			for (int f = 0; f < IP_FAMILIES; f++)
				fixture_insert(t, f, 0, n, 0);
		flow_kill(t, IP_V4, 3);
		flow_kill(t, IP_V6, 5);
		for (int round = 0; round < 200; round++) {
			lanes_t lanes = test_rand(), hits, want = 0;

			b.v6 = round == 0 ? 0 : round == 1 ? ~(lanes_t)0 : test_rand();
			for (uint32_t i = 0; i < BURST_MAX; i++) {
				struct flow_key6 k[2];

				fixture_keys(b.v6 >> i & 1, test_rand_below(40), &k[0], &k[1]);
				b.key6[i] = k[test_rand_below(2)];
				b.key4[i] = fixture_narrow(&b.key6[i]);
				b.flow[i] = 0xdead;
			}
			hits = flow_lookup_burst(t, &b, lanes);
			lanes_foreach (i, lanes) {
				uint32_t one =
					fixture_find(t, b.v6 >> i & 1 ? IP_V6 : IP_V4, &b.key6[i]);

				if (one == FLOW_NONE)
					continue;
				want |= LANE(i);
				CHECK_EQ(b.flow[i], one);
			}
			CHECK_EQ(hits, want);
		}
		flow_table_fini(t);
	}
}

/* Many keys share a tag; a lookup must not believe it. */
static void tags_do_not_decide(void)
{
	static struct burst b;

	for (int f = 0; f < IP_FAMILIES; f++) {
		struct flow_table *t = table(8, 1, 1);

		for (uint32_t n = 0; n < 4; n++)
			fixture_insert(t, f, 0, n, 0);
		b.v6 = f == IP_V4 ? 0 : ~(lanes_t)0;
		/* Eight tags of 15 bits: about 30 of these meet one. */
		for (uint32_t n = 0; n < 2048; n++) {
			for (uint32_t i = 0; i < BURST_MAX; i++) {
				struct flow_key6 reply;

				fixture_keys(f, 100 + n * BURST_MAX + i, &b.key6[i], &reply);
				b.key4[i] = fixture_narrow(&b.key6[i]);
			}
			CHECK_EQ(flow_lookup_burst(t, &b, ~(lanes_t)0), 0);
			CHECK_EQ(fixture_find(t, f, &b.key6[n % BURST_MAX]), FLOW_NONE);
		}
		flow_table_fini(t);
	}
}

static unsigned allocations, failing;

static void *failing_alloc(void *arg, size_t size, size_t align, const char *name)
{
	if (failing-- == 0)
		return NULL;
	allocations++;
	return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void counting_free(void *arg, void *mem)
{
	allocations--;
	free(mem);
}

static void init_unwinds(void)
{
	struct flow_config cfg = {.capacity = {16, 16},
		.workers = 2,
		.grace = &grace,
		.alloc = failing_alloc,
		.free = counting_free};
	struct flow_table *t;
	int ret;

	for (unsigned n = 0;; n++) {
		failing = n;
		allocations = 0;
		ret = flow_table_init(&cfg, &t);
		if (ret == 0)
			break;
		CHECK_EQ(ret, -ENOMEM);
		CHECK_EQ(allocations, 0);
		REQUIRE(n < 100);
	}
	CHECK_EQ(allocations, 10);
	flow_table_fini(t);
	CHECK_EQ(allocations, 0);
	flow_table_fini(NULL);
	cfg.workers = 0;
	CHECK_EQ(flow_table_init(&cfg, &t), -EINVAL);
	cfg.workers = WORKERS_MAX + 1;
	CHECK_EQ(flow_table_init(&cfg, &t), -EINVAL);
}

/* The goals: 160 bytes an IPv4 connection and 256 an IPv6 one at 80 % of the capacity, all in. */
static size_t bytes[IP_FAMILIES];

static void *sizing_alloc(void *arg, size_t size, size_t align, const char *name)
{
	if (strchr(name, '4') != NULL)
		bytes[IP_V4] += size;
	else if (strchr(name, '6') != NULL)
		bytes[IP_V6] += size;
	return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void bytes_a_connection(void)
{
	const uint32_t n = 65536;
	struct flow_config cfg = {.capacity = {n, n},
		.workers = 1,
		.salt = {1, 2},
		.grace = &grace,
		.alloc = sizing_alloc,
		.free = counting_free};
	struct flow_table *t;

	REQUIRE_EQ(flow_table_init(&cfg, &t), 0);
	CHECK_LE(bytes[IP_V4] * 10 / 8, 160 * (size_t)n);
	CHECK_LE(bytes[IP_V6] * 10 / 8, 256 * (size_t)n);
	/* Every entry finds its place at the full load. */
	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t i = 0; i < n; i++)
			REQUIRE(fixture_insert(t, f, 0, i * 2654435761u, 0) != FLOW_NONE);
		CHECK_EQ(flow_stats(t, f, 0)->index_full, 0);
	}
	flow_table_fini(t);
}

/* How far the filling of 1024 buckets by 8192 keys is from a random one: the sum of squares of the
 * deviations over their mean, about 1 for a fair hash, and far above it when runs of keys meet. */
static double spread(const struct flow_salt *salt, enum ip_family f, int pattern, bool tags)
{
	enum {
		CELLS = 1024,
		ROUNDS = 8192
	};
	static uint32_t cell[CELLS];
	double sum = 0;

	memset(cell, 0, sizeof(cell));
	for (uint32_t n = 0; n < ROUNDS; n++) {
		struct flow_key6 k = {.proto = IP_PROTO_TCP, .dport = htons(80)};
		uint32_t low = pattern == 1 ? n : pattern == 2 ? n << 8 : n / 64, host;
		uint16_t port = pattern == 0 ? (uint16_t)n : (uint16_t)(1024 + n % 64);
		struct flow_key4 k4;
		uint64_t hash;

		host = htonl(0x0a000000 + low);
		memcpy(&k.src[pattern == 2 ? 4 : 12], &host, 4);
		k.src[0] = k.dst[0] = 0xfd;
		k.dst[15] = 1;
		k.sport = htons(port);
		k4 = (struct flow_key4){.src = host,
			.dst = htonl(0x0a600001),
			.sport = k.sport,
			.dport = k.dport,
			.proto = k.proto};
		hash = f == IP_V4 ? flow_hash4(salt, &k4) : flow_hash6(salt, &k);
		cell[tags ? hash % CELLS : (hash >> 32) * CELLS >> 32]++;
	}
	for (int i = 0; i < CELLS; i++)
		sum += (cell[i] - 8.0) * (cell[i] - 8.0) / 8.0;
	return sum / CELLS;
}

/* Runs of ports, of hosts and of networks, under many salts: better than random is as good. */
static void hash_spreads_runs(void)
{
	for (int f = 0; f < IP_FAMILIES; f++) {
		for (int pattern = 0; pattern < 4; pattern++) {
			double worst = 0, sum = 0;

			for (int i = 0; i < 50; i++) {
				uint64_t seed[2] = {test_rand(), test_rand()};
				struct flow_salt salt;
				double a, b;

				flow_salt_init(&salt, seed);
				a = spread(&salt, f, pattern, false);
				b = spread(&salt, f, pattern, true);
				sum += a + b;
				worst = a > worst ? a : worst;
				worst = b > worst ? b : worst;
			}
			CHECK_TEXT_(sum / 100 < 1.3 && worst < 4, 0,
				"family %d pattern %d: mean %.2f worst %.2f", f, pattern, sum / 100,
				worst);
		}
	}
}

TEST_SUITE("flow", CASE(lookup_finds_both_directions), CASE(one_bucket_chain),
	CASE(overflow_waits_for_grace), CASE(link_does_not_overwrite), CASE(link_replaces_the_dead),
	CASE(link_meets_a_kill), CASE(kill_by_id), CASE(read_widens),
	CASE(full_table_reclaims_the_unreplied), CASE(sweep_honours_each_timeout),
	CASE(sweep_is_paced), CASE(touch_is_coarse), CASE(tcp_states), CASE(other_protocols_states),
	CASE(burst_agrees_with_single), CASE(tags_do_not_decide), CASE(init_unwinds),
	CASE(bytes_a_connection), CASE(hash_spreads_runs))
