/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Offload with all its threads: two workers that make, nominate, end and sweep flows, the offload
 * thread itself on a device in memory, a reader that asks as the API does, and control, which
 * publishes, revokes, flushes, configures, takes ports away and lets calls of the device fail.
 *
 * Checked: behind a settled ticket no rule is left of what the configuration took away; at the end
 * the device is empty, every handle is released, every entry is back. Races are the thread
 * sanitizer's to find. */

#include <errno.h>
#include <sched.h>

#include "core/packet.h"
#include "lib/offload_fake.h"
#include "offload/caps.h"
#include "offload/offload.h"
#include "stress/quiesce.h"
#include "unit/harness.h"

#define WORKERS  2
#define CAPACITY 512
#define RULES    300
#define KNOWN    64 /* flows that a worker has in mind */
#define PORTS    2

/* No worker polls a port: nothing is marked. */
static uint16_t no_queue[WORKERS_MAX];

struct known {
	enum ip_family f;
	uint32_t entry, generation;
};

struct shared {
	struct quiesce q;
	struct flow_table *t;
	struct dataplane dp;
	struct flow_timeouts timeouts;
	struct route_domain routes;
	struct fib *fib;
	struct vport_table *vports;
	struct vport vport[3];
	struct next_hop *hop[3];
	struct offload_fake *fake;
	struct offload *offload;
	pthread_rwlock_t gate; /* readers of what is published */
};

struct thread {
	uint32_t id;
	uint64_t random, made, asked, ended, lost, reads, hardware;
	struct known known[KNOWN];
	pthread_t pthread;
};

static struct shared s;
static struct thread threads[WORKERS + 1];

static uint64_t clock_us(void *arg)
{
	return (uint64_t)(stress_now() * 1e6);
}

static uint32_t now_ms(void *arg)
{
	return (uint32_t)(clock_us(arg) / 1000);
}

static void enter(void *arg)
{
	pthread_rwlock_rdlock(&s.gate);
}

static void leave(void *arg)
{
	pthread_rwlock_unlock(&s.gate);
}

/* Nobody reads any more what was replaced before. */
static void readers_passed(void)
{
	pthread_rwlock_wrlock(&s.gate);
	pthread_rwlock_unlock(&s.gate);
}

static uint32_t pick(uint64_t *random, uint32_t n)
{
	return (uint32_t)(test_rand_r(random) % n);
}

/* --- workers -----------------------------------------------------------------------------------
 */

/* Client n on vport 1 by a service address to an endpoint on vport 2. */
static void keys_fill(enum ip_family f, uint32_t entry, uint8_t proto, uint16_t n)
{
	const uint32_t v4[3] = {htonl(0x0a010000u | n), htonl(0x0a600001), htonl(0x0a020001)};
	struct flow_key6 *k6 = flow_array6(s.t)[entry].key;
	struct flow_key4 *k4 = flow_array4(s.t)[entry].key;

	if (f == IP_V4) {
		k4[0] = (struct flow_key4){
			.src = v4[0], .dst = v4[1], .sport = htons(n), .dport = 80};
		k4[1] = (struct flow_key4){
			.src = v4[2], .dst = v4[0], .sport = 8080, .dport = htons(n)};
		k4[0].proto = k4[1].proto = proto;
		return;
	}
	memset(k6, 0, 2 * sizeof(*k6));
	k6[0].src[0] = k6[0].dst[0] = k6[1].src[0] = k6[1].dst[0] = 0xfd;
	k6[0].src[1] = k6[1].dst[1] = 1;
	k6[0].dst[1] = 96;
	k6[1].src[1] = 2;
	memcpy(k6[0].src + 14, &n, 2);
	memcpy(k6[1].dst + 14, &n, 2);
	k6[0].sport = k6[1].dport = htons(n);
	k6[0].dport = 80;
	k6[1].sport = 8080;
	k6[0].proto = k6[1].proto = proto;
}

static void flow_make(struct thread *th, struct known *k)
{
	enum ip_family f = pick(&th->random, 2) ? IP_V6 : IP_V4;
	uint8_t proto = pick(&th->random, 2) ? IP_PROTO_TCP : IP_PROTO_UDP;
	uint32_t entry = flow_alloc(s.t, f, th->id, now_ms(NULL)), other;
	struct flow_meta *m;

	if (entry == FLOW_NONE)
		return;
	keys_fill(f, entry, proto, (uint16_t)(1 + pick(&th->random, 400)));
	m = flow_meta(s.t, f, entry);
	m->class = proto == IP_PROTO_TCP ? FLOW_CLASS_TCP : FLOW_CLASS_UDP;
	m->settled = proto == IP_PROTO_TCP ? FLOW_ESTABLISHED : FLOW_REPLIED;
	atomic_store(&m->flags, FLOW_F_DNAT);
	flow_cold_array(s.t, f)[entry].created_ms = now_ms(NULL) - 2000;
	if (flow_link(s.t, f, entry, DIR_REPLY, &other) < 0) {
		flow_unalloc(s.t, f, th->id, entry);
		return;
	}
	atomic_store_explicit(&m->state, m->settled, memory_order_release);
	if (flow_link(s.t, f, entry, DIR_FORWARD, &other) < 0) {
		flow_kill(s.t, f, entry);
		return;
	}
	*k = (struct known){.f = f, .entry = entry, .generation = atomic_load(&m->generation)};
	th->made++;
}

static void ask(struct thread *th, const struct known *k, enum offload_request_kind kind,
	enum lane_dir dir, uint16_t len)
{
	struct offload_request q = {.entry = k->entry,
		.generation = k->generation,
		.len = len,
		.ttl = 64,
		.kind = (uint8_t)kind,
		.family = (uint8_t)k->f,
		.dir = (uint8_t)dir,
		.in_vport = dir == DIR_FORWARD ? 1 : 2};

	if (spsc_put(offload_ring(s.offload, th->id), &q))
		th->asked++;
	else
		th->lost++;
}

static void flow_use(struct thread *th, struct known *k)
{
	struct flow_meta *m = flow_meta(s.t, k->f, k->entry);
	enum lane_dir dir = (enum lane_dir)pick(&th->random, 2);

	switch (pick(&th->random, 64)) {
	case 0:
		flow_tcp_advance(m, dir, TCP_FIN | TCP_ACK);
		ask(th, k, OFFLOAD_ENDING, dir, 0);
		th->ended++;
		return;
	case 1:
		flow_kill_id(s.t, k->f, k->entry, k->generation);
		th->ended++;
		return;
	case 2:
		ask(th, k, OFFLOAD_EXCLUDE, dir, OFFLOAD_Fragments);
		return;
	default:
		flow_touch(m, now_ms(NULL));
		ask(th, k, OFFLOAD_NOMINATE, dir, 1400);
		return;
	}
}

static void *worker(void *arg)
{
	struct thread *th = arg;

	while (!atomic_load_explicit(&s.q.stop, memory_order_relaxed)) {
		for (int i = 0; i < 16; i++) {
			struct known *k = &th->known[pick(&th->random, KNOWN)];

			if (k->generation == 0 ||
				atomic_load(&flow_meta(s.t, k->f, k->entry)->generation) !=
					k->generation ||
				atomic_load(&flow_meta(s.t, k->f, k->entry)->state) < FLOW_NEW)
				flow_make(th, k);
			else
				flow_use(th, k);
		}
		flow_sweep(s.t, th->id, now_ms(NULL), &s.timeouts);
		quiesce_report(&s.q, th->id);
		sched_yield();
	}
	quiesce_report(&s.q, th->id);
	return NULL;
}

/* --- the reader --------------------------------------------------------------------------------
 */

static void *reader(void *arg)
{
	static struct offload_caps_row rows[512];
	static struct offload_stats stats;
	static char text[OFFLOAD_OPERATION_MAX];
	struct thread *th = arg;
	uint64_t cursor = 0;

	while (!atomic_load_explicit(&s.q.stop, memory_order_relaxed)) {
		enum ip_family f = pick(&th->random, 2) ? IP_V6 : IP_V4;
		uint32_t entry = pick(&th->random, CAPACITY);
		struct offload_flow of;
		struct flow_view v;

		if (flow_read(s.t, f, entry, &v) == 0) {
			offload_flow_read(
				s.offload, f, entry, v.meta.generation, &v, now_ms(NULL), &of);
			th->hardware += of.leg[0].state == OFFLOAD_HARDWARE;
		}
		th->reads++;
		quiesce_report(&s.q, th->id);
		if (th->reads % 64 != 0)
			continue;
		offload_stats_read(s.offload, &stats);
		offload_caps_read(s.offload, (uint16_t)pick(&th->random, PORTS), rows, 512);
		offload_operation_read(s.offload, &cursor, text, sizeof(text));
		sched_yield();
	}
	quiesce_report(&s.q, th->id);
	return NULL;
}

/* --- control -----------------------------------------------------------------------------------
 */

static void publish_vports(bool up)
{
	struct vport_table *t = calloc(1, sizeof(*t)), *old = s.vports;
	struct vport *v = calloc(3, sizeof(*v)),
		     *old_v = old != NULL ? (void *)(uintptr_t)old->at[0] : NULL;

	REQUIRE(t != NULL && v != NULL);
	for (uint16_t id = 1; id <= 2; id++) {
		v[id] = (struct vport){
			.id = id, .role = VPORT_POD, .mtu = 1500, .port = id - 1, .up = up};
		t->at[id] = &v[id];
	}
	/* To find the records again; nobody looks at vport 0. */
	t->at[0] = v;
	atomic_store_explicit(&s.dp.vports, t, memory_order_release);
	readers_passed();
	free(old_v);
	free(old);
	s.vports = t;
}

static void publish_hop(uint16_t id, uint8_t mac)
{
	struct next_hop *nh = aligned_alloc(64, sizeof(*nh)), *old = s.hop[id];

	REQUIRE(nh != NULL);
	memset(nh, 0, sizeof(*nh));
	*nh = (struct next_hop){.kind = NEXT_HOP_FORWARD,
		.l2_len = ETH_HLEN,
		.vport = id,
		.mtu = 1500,
		.id = id,
		.l2 = {2, 0, 0, 0, mac, (uint8_t)id, 2, 0, 0, 0, 0, (uint8_t)id, 8, 0}};
	atomic_store_explicit(&s.dp.next_hops->at[id], nh, memory_order_release);
	atomic_fetch_add(&s.dp.next_hops->generation, 1);
	readers_passed();
	free(old);
	s.hop[id] = nh;
}

static void publish_routes(void)
{
	static const char *const prefixes[] = {
		"10.1.0.0/16", "10.2.0.0/16", "fd01::/16", "fd02::/16"};
	struct route routes[4];

	memset(routes, 0, sizeof(routes));
	for (uint16_t i = 0; i < 4; i++) {
		REQUIRE_EQ(ip_prefix_parse(prefixes[i], &routes[i].prefix), 0);
		routes[i].next_hop = 1 + i % 2;
	}
	REQUIRE_EQ(fib_new(routes, 4, &s.fib), 0);
	s.routes = (struct route_domain){.generation = 1, .fib = s.fib};
	atomic_store(&s.dp.routes, &s.routes);
}

static bool settle(uint64_t ticket)
{
	double late = stress_now() + 60;

	while (!offload_settled(s.offload, ticket) && stress_now() < late) {
		quiesce_poll(&s.q);
		sched_yield();
	}
	return offload_settled(s.offload, ticket);
}

static void vports_flap(void)
{
	publish_vports(false);
	if (!settle(offload_revalidate(s.offload)))
		fault(&s.q, "a change was not acknowledged");
	/* Every flow is between the two. */
	if (offload_fake_rules(s.fake, OFFLOAD_NO_PORT) != 0)
		fault(&s.q, "%u rules behind the acknowledgement",
			offload_fake_rules(s.fake, OFFLOAD_NO_PORT));
	publish_vports(true);
}

static void control_one(uint64_t *random, struct offload_config *cfg)
{
	static const int errors[] = {-EBUSY, -EIO, -ENOSPC, -EAGAIN, -ENOTSUP};
	static const enum offload_fake_call calls[] = {
		OFFLOAD_FAKE_INSERT, OFFLOAD_FAKE_REMOVE, OFFLOAD_FAKE_QUERY, OFFLOAD_FAKE_FLUSH};
	uint16_t port = (uint16_t)pick(random, PORTS);

	switch (pick(random, 8)) {
	case 0:
	case 1:
		vports_flap();
		return;
	case 2:
		publish_hop((uint16_t)(1 + port), (uint8_t)pick(random, 256));
		return;
	case 3:
		if (!settle(offload_flush(s.offload)))
			fault(&s.q, "a flush was not acknowledged");
		return;
	case 4:
		cfg->enabled = pick(random, 4) != 0;
		cfg->capacity = 50 + pick(random, RULES - 50);
		offload_configure(s.offload, cfg);
		return;
	case 5:
		offload_port_remove(s.offload, port);
		offload_fake_port(s.fake, port)->stopped = false;
		offload_port_add(s.offload, port, port, no_queue);
		return;
	default:
		offload_fake_set_fault(s.fake, calls[pick(random, 4)], 1 + pick(random, 8),
			1 + pick(random, 3), errors[pick(random, 5)]);
		return;
	}
}

/* --- the run -----------------------------------------------------------------------------------
 */

static void begin(struct offload_config *cfg)
{
	struct flow_config fc = {.capacity = {CAPACITY, CAPACITY},
		.workers = WORKERS,
		.salt = {test_rand(), test_rand()},
		.grace = &s.q.grace};
	struct offload_env env = {.dp = &s.dp,
		.enter = enter,
		.leave = leave,
		.now_ms = now_ms,
		.clock_us = clock_us};

	memset(no_queue, 0xff, sizeof(no_queue));
	s.q.threads = WORKERS + 1;
	pthread_rwlock_init(&s.gate, NULL);
	flow_timeouts_default(&s.timeouts);
	REQUIRE_EQ(flow_table_init(&fc, &s.t), 0);
	REQUIRE_EQ(dataplane_init(&s.dp, s.t), 0);
	s.dp.n_workers = WORKERS;
	publish_vports(true);
	publish_routes();
	for (uint16_t id = 1; id <= 2; id++)
		publish_hop(id, 0);
	s.fake = offload_fake_new(RULES, PORTS);
	REQUIRE(s.fake != NULL);
	env.provider = offload_fake_provider(s.fake);
	REQUIRE_EQ(offload_start(cfg, &env, &s.offload), 0);
	for (uint16_t port = 0; port < PORTS; port++)
		REQUIRE(offload_port_add(s.offload, port, port, no_queue));
}

static void end(void)
{
	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t e = 0; e < CAPACITY; e++)
			flow_kill(s.t, (enum ip_family)f, e);
	CHECK(offload_stop(s.offload));
	CHECK_EQ(offload_fake_rules(s.fake, OFFLOAD_NO_PORT), 0);
	CHECK_EQ(offload_fake_handles(s.fake), 0);
	for (uint32_t i = 0; i < 3 * CAPACITY; i++) {
		grace_complete(&s.q.grace, grace_open(&s.q.grace));
		for (uint32_t w = 0; w < WORKERS; w++)
			flow_sweep(s.t, w, now_ms(NULL), &s.timeouts);
	}
	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t w = 0; w < WORKERS; w++)
			CHECK_EQ(flow_stats(s.t, (enum ip_family)f, w)->used, 0);
	offload_fake_free(s.fake);
	dataplane_fini(&s.dp);
	flow_table_fini(s.t);
	fib_free(s.fib);
	free((void *)(uintptr_t)s.vports->at[0]);
	free(s.vports);
	free(s.hop[1]);
	free(s.hop[2]);
}

static void all_threads(void)
{
	uint64_t random = test_rand(), changes = 0;
	struct offload_config cfg;
	struct offload_stats stats;
	double until;

	offload_config_default(&cfg);
	cfg.capacity = RULES;
	cfg.min_age_ms = 0;
	cfg.min_pps = 64;
	begin(&cfg);
	until = stress_now() + stress_seconds();
	for (uint32_t i = 0; i <= WORKERS; i++) {
		threads[i].id = i;
		threads[i].random = test_rand();
		REQUIRE_EQ(pthread_create(&threads[i].pthread, NULL, i < WORKERS ? worker : reader,
				   &threads[i]),
			0);
	}
	for (double next = 0; stress_now() < until;) {
		quiesce_poll(&s.q);
		if (stress_now() >= next) {
			control_one(&random, &cfg);
			changes++;
			next = stress_now() + 0.01;
		}
		sched_yield();
	}
	for (int call = 0; call < OFFLOAD_FAKE_CALLS; call++)
		offload_fake_set_fault(s.fake, (enum offload_fake_call)call, 0, 0, 0);
	cfg.enabled = false;
	offload_configure(s.offload, &cfg);
	CHECK(settle(offload_flush(s.offload)));
	atomic_store(&s.q.stop, true);
	for (uint32_t i = 0; i <= WORKERS; i++)
		pthread_join(threads[i].pthread, NULL);
	offload_stats_read(s.offload, &stats);
	printf("%" PRIu64 " changes, %" PRIu64 " flows, %" PRIu64 " requests, %" PRIu64
	       " lost, %" PRIu64 " ended; %" PRIu64 " rules inserted, %" PRIu64 " removed, %" PRIu64
	       " revoked, %" PRIu64 " escalations; %" PRIu64 " reads, %" PRIu64
	       " of flows in hardware\n",
		changes, threads[0].made + threads[1].made, threads[0].asked + threads[1].asked,
		threads[0].lost + threads[1].lost, threads[0].ended + threads[1].ended,
		stats.inserted, stats.removed, stats.revoked, stats.escalations,
		threads[WORKERS].reads, threads[WORKERS].hardware);
	CHECK_GT(stats.inserted, 50);
	CHECK_GT(stats.revoked, 5);
	CHECK_GT(threads[WORKERS].hardware, 0);
	CHECK_EQ(atomic_load(&s.q.faults), 0);
	end();
}

TEST_SUITE("offload threads", CASE(all_threads))
