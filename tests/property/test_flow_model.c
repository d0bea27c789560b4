/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Random operations on a flow table beside a naive list of flows, both families, small key spaces
 * so that keys collide, tables from one bucket to roomy. After each step some lookups are
 * compared; now and then everything is. */

#include <errno.h>

#include "unit/flow_fixture.h"
#include "unit/harness.h"

#define CAPACITY 64
#define WORKERS  2
#define KEYS     48

struct model_flow {
	bool live;
	uint32_t fwd, reply; /* numbers of the keys */
	uint32_t touched;
	uint8_t state;
};

struct model {
	struct flow_table *t;
	struct model_flow flow[IP_FAMILIES][CAPACITY];
	uint32_t now;
	uint32_t deaths;
};

static struct grace grace;
static struct flow_timeouts timeouts;

static struct flow_key6 key(enum ip_family f, uint32_t n, enum lane_dir dir)
{
	struct flow_key6 k[2];

	fixture_keys(f, n, &k[0], &k[1]);
	return k[dir];
}

/* Entry << 1 | direction by the list alone. A forward number and a reply number never make the
 * same key. */
static uint32_t model_find(const struct model *m, enum ip_family f, uint32_t n, enum lane_dir dir)
{
	for (uint32_t e = 0; e < CAPACITY; e++) {
		const struct model_flow *w = &m->flow[f][e];

		if (w->live && (dir == DIR_FORWARD ? w->fwd : w->reply) == n)
			return e << 1 | dir;
	}
	return FLOW_NONE;
}

static void compare_one(struct model *m, enum ip_family f, uint32_t n, enum lane_dir dir)
{
	struct flow_key6 k = key(f, n, dir);

	CHECK_EQ(fixture_find(m->t, f, &k), model_find(m, f, n, dir));
}

static void compare_all(struct model *m)
{
	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t n = 0; n < KEYS; n++) {
			compare_one(m, f, n, DIR_FORWARD);
			compare_one(m, f, n, DIR_REPLY);
		}
		for (uint32_t e = 0; e < CAPACITY; e++) {
			struct flow_view v;
			bool live = flow_read(m->t, f, e, &v) == 0;

			CHECK_EQ(live, m->flow[f][e].live);
			if (live)
				CHECK_EQ(v.meta.state, m->flow[f][e].state);
		}
	}
}

static void insert(struct model *m, enum ip_family f)
{
	uint32_t fwd = test_rand_below(KEYS), reply = test_rand_below(KEYS);
	struct flow_key6 kf = key(f, fwd, DIR_FORWARD), kr = key(f, reply, DIR_REPLY);
	uint32_t worker = test_rand_below(WORKERS), other = FLOW_NONE;
	uint32_t entry = fixture_prepare(m->t, f, worker, &kf, &kr, m->now);
	struct model_flow *w;
	int ret;

	/* A full pool killed some that never saw a reply. */
	if (entry == FLOW_NONE) {
		for (uint32_t e = 0; e < CAPACITY; e++) {
			struct flow_view v;

			w = &m->flow[f][e];
			if (w->live && flow_read(m->t, f, e, &v) < 0) {
				CHECK_EQ(w->state, FLOW_NEW);
				CHECK_EQ(flow_owner(m->t, f, e), worker);
				w->live = false;
				m->deaths++;
			}
		}
		return;
	}
	REQUIRE(entry < CAPACITY);
	CHECK_EQ(flow_owner(m->t, f, entry), worker);
	w = &m->flow[f][entry];
	CHECK(!w->live);
	ret = flow_link(m->t, f, entry, DIR_REPLY, &other);
	if (ret < 0) {
		if (ret == -EEXIST)
			CHECK_EQ(other, model_find(m, f, reply, DIR_REPLY));
		flow_unalloc(m->t, f, worker, entry);
		return;
	}
	CHECK_EQ(model_find(m, f, reply, DIR_REPLY), FLOW_NONE);
	ret = flow_link(m->t, f, entry, DIR_FORWARD, &other);
	if (ret < 0) {
		if (ret == -EEXIST)
			CHECK_EQ(other, model_find(m, f, fwd, DIR_FORWARD));
		CHECK(flow_kill(m->t, f, entry));
		return;
	}
	CHECK_EQ(model_find(m, f, fwd, DIR_FORWARD), FLOW_NONE);
	*w = (struct model_flow){
		.live = true, .fwd = fwd, .reply = reply, .touched = m->now, .state = FLOW_NEW};
}

static void kill(struct model *m, enum ip_family f)
{
	uint32_t e = test_rand_below(CAPACITY);

	CHECK_EQ(flow_kill(m->t, f, e), m->flow[f][e].live);
	m->flow[f][e].live = false;
}

static void packet(struct model *m, enum ip_family f)
{
	static const uint8_t flags[] = {0x02, 0x12, 0x10, 0x11, 0x04};
	uint32_t e = test_rand_below(CAPACITY);
	struct flow_meta *meta = flow_meta(m->t, f, e);

	if (!m->flow[f][e].live)
		return;
	flow_tcp_advance(meta, test_rand() & 1 ? DIR_REPLY : DIR_FORWARD,
		flags[test_rand_below(sizeof(flags))]);
	flow_touch(meta, m->now);
	m->flow[f][e].state = meta->state;
	m->flow[f][e].touched = meta->last_seen;
}

static void sweep(struct model *m)
{
	uint32_t expected = 0, worker = test_rand_below(WORKERS);

	if (test_rand_below(4) == 0)
		m->now += test_rand_below(40000);
	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t e = 0; e < CAPACITY; e++) {
			struct model_flow *w = &m->flow[f][e];

			if (!w->live || flow_owner(m->t, f, e) != worker ||
				m->now - w->touched <= timeouts.ms[FLOW_CLASS_TCP][w->state])
				continue;
			w->live = false;
			expected++;
		}
	}
	m->deaths += expected;
	CHECK_EQ(flow_sweep(m->t, worker, m->now, &timeouts), expected);
}

/* Everything dies, and after a grace period everything is free. */
static void drain(struct model *m)
{
	uint32_t buckets, overflow, total;

	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t e = 0; e < CAPACITY; e++)
			CHECK_EQ(flow_kill(m->t, f, e), m->flow[f][e].live);
	for (int i = 0; i < 3; i++) {
		fixture_grace(&grace);
		for (uint32_t w = 0; w < WORKERS; w++)
			flow_sweep(m->t, w, m->now, &timeouts);
	}
	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t w = 0; w < WORKERS; w++)
			CHECK_EQ(flow_stats(m->t, f, w)->used, 0);
		flow_index_usage(m->t, f, &buckets, &overflow, &total);
		CHECK_EQ(overflow, 0);
	}
}

static void run(uint32_t buckets, uint32_t steps)
{
	struct flow_config cfg = {.capacity = {CAPACITY, CAPACITY},
		.workers = WORKERS,
		.salt = {test_rand(), test_rand()},
		.buckets = buckets,
		.grace = &grace};
	static struct model m;

	memset(&m, 0, sizeof(m));
	memset(&grace, 0, sizeof(grace));
	flow_timeouts_default(&timeouts);
	REQUIRE_EQ(flow_table_init(&cfg, &m.t), 0);
	for (uint32_t step = 0; step < steps; step++) {
		enum ip_family f = test_rand() & 1 ? IP_V6 : IP_V4;

		switch (test_rand_below(10)) {
		case 0:
			kill(&m, f);
			break;
		case 1:
			sweep(&m);
			break;
		case 2:
			fixture_grace(&grace);
			break;
		case 3:
		case 4:
			packet(&m, f);
			break;
		default:
			insert(&m, f);
		}
		compare_one(&m, f, test_rand_below(KEYS), DIR_FORWARD);
		compare_one(&m, f, test_rand_below(KEYS), DIR_REPLY);
		if (step % 97 == 0)
			compare_all(&m);
		if (CU_get_number_of_failures() > 20)
			break;
	}
	compare_all(&m);
	CHECK_GT(m.deaths, steps / 1000);
	drain(&m);
	flow_table_fini(m.t);
}

static void one_bucket(void)
{
	run(1, 40000);
}

static void few_buckets(void)
{
	run(3, 40000);
}

static void default_load(void)
{
	run(0, 40000);
}

TEST_SUITE("flow model", CASE(one_bucket), CASE(few_buckets), CASE(default_load))
