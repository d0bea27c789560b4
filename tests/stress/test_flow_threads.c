/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The flow table under two workers that insert, look up, advance, kill and sweep, a reader that
 * only looks up, an offload thread that holds entries as if hardware acted on them, and control,
 * which reads by copy, kills by id and ends grace periods. The table
 * is small and its buckets few, so that chains grow and shrink and entries are reused all the
 * time.
 *
 * Checked: what a lookup finds carries the key looked for; a linked reply key belongs to no other
 * live or held flow; what is held is not reused; a copied view is of one flow; in the end every
 * entry and overflow bucket is back. */

#include <errno.h>
#include <sched.h>

#include "core/offload.h"
#include "stress/quiesce.h"
#include "unit/flow_fixture.h"
#include "unit/harness.h"

#define WORKERS  2
#define THREADS  3 /* that look up: workers and the reader */
#define CAPACITY 4096
#define KEYS     1600

struct shared {
	struct quiesce q;
	struct flow_table *t;
	struct flow_timeouts timeouts;
	_Atomic uint32_t now;
	/* Entry << 32 | generation that linked the reply key last, + 1. */
	_Atomic uint64_t claim[IP_FAMILIES][KEYS];
	/* Generation that hardware has of an entry, + 1. */
	_Atomic uint32_t held[IP_FAMILIES][CAPACITY];
};

struct thread {
	struct shared *s;
	uint32_t id;
	uint64_t random;
	uint64_t found, missed, linked, refused;
	struct burst burst;
	pthread_t pthread;
};

static struct shared shared;
static struct thread threads[THREADS];

static uint32_t pick(struct thread *th, uint32_t n)
{
	return (uint32_t)(test_rand_r(&th->random) % n);
}

static struct flow_key6 key(enum ip_family f, uint32_t n, enum lane_dir dir)
{
	struct flow_key6 k[2];

	fixture_keys(f, n, &k[0], &k[1]);
	return k[dir];
}

static bool carries(struct flow_table *t, enum ip_family f, uint32_t ref, const struct flow_key6 *k)
{
	struct flow_key4 k4 = fixture_narrow(k);

	return f == IP_V4 ? flow_key4_equal(&flow_array4(t)[ref >> 1].key[ref & 1], &k4)
			  : flow_key6_equal(&flow_array6(t)[ref >> 1].key[ref & 1], k);
}

static void look_up(struct thread *th)
{
	struct burst *b = &th->burst;
	lanes_t lanes = test_rand_r(&th->random), hits;
	uint32_t n[BURST_MAX];

	b->v6 = test_rand_r(&th->random);
	for (uint32_t i = 0; i < BURST_MAX; i++) {
		n[i] = pick(th, KEYS);
		b->key6[i] = key(b->v6 >> i & 1, n[i], i & 1);
		b->key4[i] = fixture_narrow(&b->key6[i]);
	}
	hits = flow_lookup_burst(th->s->t, b, lanes);
	lanes_foreach (i, hits) {
		enum ip_family f = b->v6 >> i & 1 ? IP_V6 : IP_V4;
		struct flow_meta *m = flow_meta(th->s->t, f, b->flow[i] >> 1);

		if (!carries(th->s->t, f, b->flow[i], &b->key6[i]))
			fault(&th->s->q, "burst: entry %u has another key than %u", b->flow[i] >> 1,
				n[i]);
		if (th->id < WORKERS) {
			static const uint8_t flags[] = {0x02, 0x12, 0x10, 0x10, 0x11, 0x04};

			flow_tcp_advance(m, b->flow[i] & 1, flags[pick(th, sizeof(flags))]);
			flow_touch(m, atomic_load_explicit(&th->s->now, memory_order_relaxed));
		}
	}
	th->found += (uint64_t)__builtin_popcountll(hits);
	th->missed += (uint64_t)__builtin_popcountll(lanes & ~hits);
}

/* The life that linked this reply key before must be over. */
static void claim(struct thread *th, enum ip_family f, uint32_t entry, uint32_t n)
{
	struct flow_meta *m = flow_meta(th->s->t, f, entry);
	uint64_t mine = ((uint64_t)entry << 32 | m->generation) + 1, old;

	old = atomic_exchange(&th->s->claim[f][n], mine);
	if (old == 0)
		return;
	old--;
	m = flow_meta(th->s->t, f, (uint32_t)(old >> 32));
	if (atomic_load(&m->generation) == (uint32_t)old && atomic_load(&m->state) >= FLOW_NEW &&
		atomic_load(&m->generation) == (uint32_t)old)
		fault(&th->s->q, "reply key %u given twice: entries %u and %u", n,
			(uint32_t)(old >> 32), entry);
	if (atomic_load(&th->s->held[f][old >> 32]) == (uint32_t)old + 1)
		fault(&th->s->q, "reply key %u of entry %u given while held", n,
			(uint32_t)(old >> 32));
}

static void set_reply(struct shared *s, enum ip_family f, uint32_t entry, uint32_t n)
{
	struct flow_key6 k = key(f, n, DIR_REPLY);

	if (f == IP_V4)
		flow_array4(s->t)[entry].key[DIR_REPLY] = fixture_narrow(&k);
	else
		flow_array6(s->t)[entry].key[DIR_REPLY] = k;
}

/* As the commit stage does: a reply key by a few tries, then the forward key. */
static void insert(struct thread *th)
{
	enum ip_family f = pick(th, 2) ? IP_V6 : IP_V4;
	uint32_t n = pick(th, KEYS), reply = pick(th, KEYS), other = FLOW_NONE, entry;
	struct flow_key6 k = key(f, n, DIR_FORWARD);
	struct flow_table *t = th->s->t;
	int ret = -EEXIST;

	entry = flow_alloc(t, f, th->id, atomic_load(&th->s->now));
	if (entry == FLOW_NONE)
		return;
	if (flow_owner(t, f, entry) != th->id)
		fault(&th->s->q, "entry %u of another worker", entry);
	if (f == IP_V4)
		flow_array4(t)[entry].key[DIR_FORWARD] = fixture_narrow(&k);
	else
		flow_array6(t)[entry].key[DIR_FORWARD] = k;
	for (int try = 0; try < 4 && ret == -EEXIST; try++) {
		reply = (reply + 1) % KEYS;
		set_reply(th->s, f, entry, reply);
		ret = flow_link(t, f, entry, DIR_REPLY, &other);
	}
	if (ret < 0) {
		th->refused++;
		flow_unalloc(t, f, th->id, entry);
		return;
	}
	claim(th, f, entry, reply);
	atomic_store_explicit(&flow_meta(t, f, entry)->state, FLOW_NEW, memory_order_release);
	ret = flow_link(t, f, entry, DIR_FORWARD, &other);
	if (ret == -EEXIST && !carries(t, f, other, &k))
		fault(&th->s->q, "link: entry %u has another key than %u", other >> 1, n);
	if (ret < 0)
		flow_kill(t, f, entry);
	th->linked += ret == 0;
}

static void kill_some(struct thread *th)
{
	enum ip_family f = pick(th, 2) ? IP_V6 : IP_V4;
	struct flow_key6 k = key(f, pick(th, KEYS), pick(th, 2));
	uint32_t ref = fixture_find(th->s->t, f, &k);

	if (ref != FLOW_NONE)
		flow_kill(th->s->t, f, ref >> 1);
}

static void *worker(void *arg)
{
	struct thread *th = arg;
	struct shared *s = th->s;

	while (!atomic_load_explicit(&s->q.stop, memory_order_relaxed)) {
		look_up(th);
		for (int i = 0; i < 16 && th->id < WORKERS; i++) {
			insert(th);
			if (i % 8 == 0)
				kill_some(th);
		}
		if (th->id < WORKERS)
			flow_sweep(s->t, th->id, atomic_load(&s->now), &s->timeouts);
		quiesce_report(&s->q, th->id);
	}
	quiesce_report(&s->q, th->id);
	return NULL;
}

/* --- hardware ----------------------------------------------------------------------------------
 */

#define HOLDS 64

struct hold {
	enum ip_family f;
	uint32_t entry, generation, turns;
	bool used;
};

struct hardware {
	struct shared *s;
	uint64_t random, holds, deaths;
	struct hold at[HOLDS];
	pthread_t pthread;
};

static struct hardware hw;

static void let_go(struct hold *h)
{
	struct shared *s = hw.s;
	struct flow_meta *m = flow_meta(s->t, h->f, h->entry);

	if (atomic_load(&m->generation) != h->generation || atomic_load(&m->state) == FLOW_FREE)
		fault(&s->q, "entry %u was reused while held", h->entry);
	atomic_store(&s->held[h->f][h->entry], 0);
	flow_let_go(s->t, h->f, h->entry, DIR_FORWARD, 0);
	flow_let_go(s->t, h->f, h->entry, DIR_REPLY, 0);
	h->used = false;
}

static void take_hold(struct hold *h)
{
	struct shared *s = hw.s;
	uint32_t word = OFFLOAD_HARDWARE;

	h->f = test_rand_r(&hw.random) & 1 ? IP_V6 : IP_V4;
	h->entry = (uint32_t)(test_rand_r(&hw.random) % flow_capacity(s->t, h->f));
	h->turns = (uint32_t)(test_rand_r(&hw.random) % 64);
	h->generation = atomic_load(&flow_meta(s->t, h->f, h->entry)->generation);
	if (atomic_load(&s->held[h->f][h->entry]) != 0 ||
		!flow_hold(s->t, h->f, h->entry, h->generation, DIR_FORWARD, word))
		return;
	/* Marked between the two: from here on the key may not be given. */
	atomic_store(&s->held[h->f][h->entry], h->generation + 1);
	h->used = true;
	hw.holds++;
	/* It may have died meanwhile. */
	flow_hold(s->t, h->f, h->entry, h->generation, DIR_REPLY, word);
}

static void *hardware(void *arg)
{
	while (!atomic_load_explicit(&hw.s->q.stop, memory_order_relaxed)) {
		for (uint32_t i = 0; i < HOLDS; i++) {
			if (!hw.at[i].used)
				take_hold(&hw.at[i]);
			else if (hw.at[i].turns-- == 0)
				let_go(&hw.at[i]);
		}
		for (int f = 0; f < IP_FAMILIES; f++)
			while (flow_held_take(hw.s->t, f) != FLOW_NONE)
				hw.deaths++;
		sched_yield();
	}
	for (uint32_t i = 0; i < HOLDS; i++)
		if (hw.at[i].used)
			let_go(&hw.at[i]);
	return NULL;
}

/* A view must be of one flow: its two keys were never made together but by one insert. */
static void read_some(struct shared *s, uint64_t *random, uint64_t *views)
{
	enum ip_family f = test_rand_r(random) & 1 ? IP_V6 : IP_V4;
	uint32_t entry = (uint32_t)(test_rand_r(random) % flow_capacity(s->t, f));
	struct flow_view v;

	if (flow_read(s->t, f, entry, &v) < 0)
		return;
	(*views)++;
	if (v.meta.state < FLOW_NEW || v.key[DIR_FORWARD].proto != IP_PROTO_TCP ||
		v.key[DIR_REPLY].proto != IP_PROTO_TCP || v.key[DIR_REPLY].sport != 8080 ||
		v.key[DIR_FORWARD].dport != 80)
		fault(&s->q, "view of entry %u is not of a flow", entry);
	if (test_rand_r(random) % 16 == 0)
		flow_kill_id(s->t, f, entry, v.meta.generation);
}

static void check_all_returned(struct shared *s)
{
	uint32_t buckets, overflow, total;

	for (int f = 0; f < IP_FAMILIES; f++) {
		while (flow_held_take(s->t, f) != FLOW_NONE)
			;
		for (uint32_t e = 0; e < flow_capacity(s->t, f); e++)
			flow_kill(s->t, f, e);
	}
	for (uint32_t i = 0; i < 3 * CAPACITY; i++) {
		fixture_grace(&s->q.grace);
		for (uint32_t w = 0; w < WORKERS; w++)
			flow_sweep(s->t, w, atomic_load(&s->now), &s->timeouts);
	}
	for (int f = 0; f < IP_FAMILIES; f++) {
		for (uint32_t w = 0; w < WORKERS; w++)
			CHECK_EQ(flow_stats(s->t, f, w)->used, 0);
		flow_index_usage(s->t, f, &buckets, &overflow, &total);
		CHECK_EQ(overflow, 0);
	}
}

static void workers_and_control(void)
{
	struct shared *s = &shared;
	struct flow_config cfg = {.capacity = {CAPACITY, CAPACITY},
		.workers = WORKERS,
		.salt = {test_rand(), test_rand()},
		.buckets = 150,
		.grace = &s->q.grace};
	uint64_t random = test_rand(), periods = 0, views = 0;
	double end = stress_now() + stress_seconds();

	s->q.threads = THREADS;
	flow_timeouts_default(&s->timeouts);
	s->timeouts.ms[FLOW_CLASS_TCP][FLOW_NEW] = 2000;
	s->timeouts.ms[FLOW_CLASS_TCP][FLOW_REPLIED] = 5000;
	REQUIRE_EQ(flow_table_init(&cfg, &s->t), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		threads[i].s = s;
		threads[i].id = i;
		threads[i].random = test_rand();
		REQUIRE_EQ(pthread_create(&threads[i].pthread, NULL, worker, &threads[i]), 0);
	}
	hw.s = s;
	hw.random = test_rand();
	REQUIRE_EQ(pthread_create(&hw.pthread, NULL, hardware, NULL), 0);
	while (stress_now() < end) {
		for (int i = 0; i < 50; i++)
			read_some(s, &random, &views);
		periods += quiesce_poll(&s->q);
		atomic_fetch_add(&s->now, 1);
	}
	atomic_store(&s->q.stop, true);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i].pthread, NULL);
	pthread_join(hw.pthread, NULL);
	if (s->q.open)
		quiesce_poll(&s->q);
	check_all_returned(s);
	for (uint32_t i = 0; i < THREADS; i++) {
		printf("thread %u: %" PRIu64 " found, %" PRIu64 " missed, %" PRIu64
		       " linked, %" PRIu64 " refused\n",
			i, threads[i].found, threads[i].missed, threads[i].linked,
			threads[i].refused);
		CHECK_GT(threads[i].found, 100);
		if (i < WORKERS)
			CHECK_GT(threads[i].linked, 100);
	}
	printf("%" PRIu64 " grace periods, %" PRIu64 " views, %" PRIu64 " holds, %" PRIu64
	       " deaths while held\n",
		periods, views, hw.holds, hw.deaths);
	CHECK_GT(hw.holds, 100);
	CHECK_GT(hw.deaths, 10);
	CHECK_GT(periods, 10);
	CHECK_GT(views, 100);
	CHECK_EQ(atomic_load(&s->q.faults), 0);
	flow_table_fini(s->t);
}

/* --- two killers of one entry ------------------------------------------------------------------
 */

#define DUELS 20000

struct duel {
	struct flow_table *t;
	_Atomic uint32_t round;
	_Atomic uint32_t done;
	_Atomic uint32_t wins;
};

static void *duellist(void *arg)
{
	struct duel *d = arg;

	for (uint32_t round = 1; round <= DUELS; round++) {
		while (atomic_load_explicit(&d->round, memory_order_acquire) < round)
			sched_yield();
		atomic_fetch_add(&d->wins, flow_kill(d->t, IP_V4, 0));
		atomic_fetch_add(&d->done, 1);
	}
	return NULL;
}

static void one_killer_wins(void)
{
	struct grace grace = {0};
	struct flow_config cfg = {
		.capacity = {1, 1}, .workers = 1, .salt = {1, 2}, .grace = &grace};
	struct flow_timeouts timeouts;
	struct duel d = {0};
	pthread_t pthread[2];
	uint32_t round;

	flow_timeouts_default(&timeouts);
	REQUIRE_EQ(flow_table_init(&cfg, &d.t), 0);
	for (int i = 0; i < 2; i++)
		REQUIRE_EQ(pthread_create(&pthread[i], NULL, duellist, &d), 0);
	for (round = 1; round <= DUELS; round++) {
		uint32_t entry = fixture_insert(d.t, IP_V4, 0, round, 0);

		atomic_store_explicit(&d.round, round, memory_order_release);
		while (atomic_load(&d.done) < 2 * round)
			sched_yield();
		if (entry != 0 || atomic_load(&d.wins) != round)
			break;
		fixture_grace(&grace);
		flow_sweep(d.t, 0, 0, &timeouts);
		fixture_grace(&grace);
	}
	CHECK_EQ(round, DUELS + 1);
	atomic_store(&d.round, DUELS);
	for (int i = 0; i < 2; i++)
		pthread_join(pthread[i], NULL);
	CHECK_EQ(flow_stats(d.t, IP_V4, 0)->killed, DUELS);
	flow_table_fini(d.t);
}

TEST_SUITE("flow threads", CASE(workers_and_control), CASE(one_killer_wins))
