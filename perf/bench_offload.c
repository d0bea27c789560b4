/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the offload thread costs a worker. The device is emulated, and so is every figure's
 * "hardware". The worker has a processor of its own, everything else the other.
 *
 *	bench_offload --storm [--flows N] [--rounds N]
 *	bench_offload --invalidate [--flows N]
 *
 * --storm: one worker's p99 and p99.9 burst at full load while the offload thread inserts rules
 *into a device that takes 1 ms for each, over the same while that thread only takes the worker's
 * requests. Beside it a control: a thread that inserts nothing, sleeps as often and computes as
 * long. What it costs is the machine's doing, not the engine's. The three take turns.
 * --invalidate: all flows are in hardware, then every rule is wrong, for every next hop has another
 * MAC; the device takes 600,000 rules a second in and as many out. Samples are the worker's rate in
 * each second from then on over its rate before; and how long it takes until all rules are out and
 * all are in again. One JSON line. */

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "offload/engine.h"
#include "perf/harness.h"
#include "perf/ticks.h"

#define ROUNDS_MAX  64
#define ABSENT      77
#define RULES_A_SEC 600000
#define WORKER_CPU  1
#define OTHER_CPU   0
/* What hardware sees of each flow. */
#define PACKET_US 100000

static uint32_t n_flows = 1000000, rounds = 9;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t now_us(void)
{
	return now_ns(CLOCK_MONOTONIC) / 1000;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_offload: %s\n", what);
	exit(1);
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("cannot choose a processor");
}

static void nap(uint32_t us)
{
	struct timespec ts = {.tv_nsec = (long)us * 1000};

	nanosleep(&ts, NULL);
}

static void spin(uint64_t ns)
{
	uint64_t end = now_ns(CLOCK_THREAD_CPUTIME_ID) + ns;

	while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void print_case(const char *sep, const char *name, const double *samples, uint32_t n)
{
	printf("%s\"%s\": {\"status\": \"ok\", \"samples\": [", sep, name);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.4f", i ? ", " : "", samples[i]);
	printf("]}");
}

/* --- a device of nothing ------------------------------------------------------------------------
 */

/* A call returns when the device has done what it was given before, or after a millisecond of
 * sleep. */
struct device {
	bool firmware;
	uint64_t ready_ns;
	_Atomic uint64_t rules, inserted;
	uint64_t all;                     /* rules: when it is to be noted */
	_Atomic uint64_t none_us, all_us; /* that the last one left, and then that all were there */
};

static struct device device;

static void takes(uint64_t n)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);

	if (device.firmware) {
		nap(1000);
		return;
	}
	while (now < device.ready_ns)
		now = now_ns(CLOCK_MONOTONIC);
	device.ready_ns = now + n * (1000000000 / RULES_A_SEC);
}

static void one_less(void)
{
	if (atomic_fetch_sub(&device.rules, 1) == 1)
		atomic_store(&device.none_us, now_us());
}

static int d_facts(void *arg, uint16_t port, struct offload_port_facts *out)
{
	*out = (struct offload_port_facts){.driver = "nothing"};
	return 0;
}

static int d_validate(void *arg, const struct offload_rule *rule,
	const struct offload_dialect *dialect, struct offload_error *err)
{
	return 0;
}

static int d_nonsense(void *arg, uint16_t port, unsigned which, struct offload_error *err)
{
	return -22;
}

static int d_insert(void *arg, const struct offload_rule *rule,
	const struct offload_dialect *dialect, struct offload_handle **out,
	struct offload_error *err)
{
	takes(1);
	if (atomic_fetch_add(&device.rules, 1) + 1 == device.all && device.none_us != 0)
		atomic_store(&device.all_us, now_us());
	atomic_fetch_add(&device.inserted, 1);
	*out = (struct offload_handle *)&device;
	return 0;
}

static int d_remove(void *arg, struct offload_handle *handle, struct offload_error *err)
{
	if (!device.firmware)
		takes(1);
	one_less();
	return 0;
}

/* Ten packets a second of each: no flow goes idle. */
static int d_query(void *arg, struct offload_handle *handle, struct offload_count *out,
	struct offload_error *err)
{
	uint64_t n = now_us() / PACKET_US;

	*out = (struct offload_count){.packets = n, .bytes = n * 64};
	return 0;
}

/* No faster than one rule after the other. All rules are of the proxy. */
static int d_flush(void *arg, uint16_t port, struct offload_error *err)
{
	takes(atomic_load(&device.rules));
	takes(0);
	return 0;
}

static int d_stop(void *arg, uint16_t port)
{
	return 0;
}

static void d_forget(void *arg, struct offload_handle *handle)
{
	one_less();
}

static const struct offload_provider provider = {.name = "emulated",
	.facts = d_facts,
	.validate = d_validate,
	.validate_nonsense = d_nonsense,
	.insert = d_insert,
	.remove = d_remove,
	.query = d_query,
	.flush = d_flush,
	.stop = d_stop,
	.forget = d_forget};

/* --- an engine, and a worker beside it ----------------------------------------------------------
 */

enum task {
	TASK_NOTHING,
	TASK_REQUESTS, /* those of the worker are taken, nothing else is done */
	TASK_CONTROL,  /* the same, and as much sleep and work as TASK_ENGINE has */
	TASK_ENGINE,
	TASK_END
};

static uint32_t d_now_ms(void *arg)
{
	return h.cores[0].w.now_ms;
}

static uint64_t d_clock_us(void *arg)
{
	return now_us();
}

static struct offload_engine *engine;
static pthread_t thread;
static _Atomic int task, doing;
static _Atomic uint64_t cpu_ns; /* of TASK_ENGINE */
static uint64_t control_ns;     /* of each millisecond of TASK_CONTROL */

static void engine_step(enum task what)
{
	uint64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);
	uint32_t wait = 1000;

	engine->cfg.enabled = what == TASK_ENGINE;
	if (what != TASK_NOTHING)
		wait = engine_turn(engine);
	if (what == TASK_ENGINE)
		atomic_fetch_add(&cpu_ns, now_ns(CLOCK_THREAD_CPUTIME_ID) - start);
	if (what == TASK_CONTROL) {
		spin(control_ns);
		wait = 1000;
	}
	if (wait != 0)
		nap(wait);
}

static void *engine_main(void *arg)
{
	enum task what;

	stay_on(OTHER_CPU);
	while ((what = (enum task)atomic_load(&task)) != TASK_END) {
		atomic_store(&doing, what);
		engine_step(what);
	}
	return NULL;
}

/* Returns when the thread does that. */
static void set_task(enum task what)
{
	atomic_store(&task, what);
	while (what != TASK_END && atomic_load(&doing) != (int)what)
		nap(100);
	if (what == TASK_END)
		pthread_join(thread, NULL);
}

/* A worker with n_flows established flows between two ports of the device. */
static void world_init(void)
{
	struct offload_env env = {
		.provider = &provider, .now_ms = d_now_ms, .clock_us = d_clock_us};
	struct offload_config cfg;

	h.n_flows = n_flows;
	h.n_cores = 1;
	h.traffic = TRAFFIC_DNAT;
	h.huge = true;
	if (harness_init(0) != 0)
		die("no memory");
	harness_establish();
	harness_order(0, 1 << 22);
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		h.vports[id].port = id == BACKEND_VPORT;
	env.dp = h.dp;
	offload_config_default(&cfg);
	cfg.capacity = 2 * h.n_flows;
	cfg.min_age_ms = 0;
	cfg.idle_demote_ms = 1u << 30;
	cfg.inserts_max = 65536;
	if (engine_new(&cfg, &env, &engine) < 0 || ports_add(engine, 0, 0, NULL) < 0 ||
		ports_add(engine, 1, 1, NULL) < 0)
		die("no engine");
	h.cores[0].w.offload = engine->ring[0];
	atomic_store(&device.rules, 0);
	atomic_store(&device.inserted, 0);
	device.ready_ns = 0;
	atomic_store(&device.none_us, 0);
	atomic_store(&device.all_us, 0);
}

/* All flows are known, as after some seconds of traffic. */
static void offer_all(void)
{
	for (uint32_t e = 0; e < flow_capacity(h.dp->flows, IP_V4); e++) {
		uint32_t id = choice_id(IP_V4, e);
		struct nominee *n = choice_at(engine->choice, id);
		struct flow_view v;

		if (flow_read(h.dp->flows, IP_V4, e, &v) < 0)
			continue;
		n->generation = v.meta.generation;
		n->seen[DIR_FORWARD] = (struct offload_seen){
			.vport = v.cold.in_vport[DIR_FORWARD], .ttl = 64, .len = 64};
		n->seen[DIR_REPLY] =
			(struct offload_seen){.vport = BACKEND_VPORT, .ttl = 64, .len = 64};
		choice_offer(engine->choice, id, 640, now_us());
	}
}

static void begin(void)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		puts("needs two processors");
		exit(ABSENT);
	}
	world_init();
	offer_all();
	stay_on(WORKER_CPU);
	if (pthread_create(&thread, NULL, engine_main, NULL) != 0)
		die("no thread");
}

/* --- insertion storm ----------------------------------------------------------------------------
 */

#define BURSTS 50000

static uint32_t at;

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

struct tail {
	double p99, p999;
};

static struct tail measure(void)
{
	static uint64_t took[BURSTS];
	struct core *c = &h.cores[0];

	for (uint32_t i = 0; i < BURSTS; i++) {
		uint64_t start;

		harness_fill(c, &at);
		start = ticks();
		pipeline_run(&c->w, &c->w.burst);
		took[i] = ticks() - start;
	}
	qsort(took, BURSTS, sizeof(took[0]), by_value);
	return (struct tail){(double)took[BURSTS / 100 * 99], (double)took[BURSTS / 1000 * 999]};
}

static void storm(void)
{
	static const enum task order[3][3] = {{TASK_REQUESTS, TASK_CONTROL, TASK_ENGINE},
		{TASK_CONTROL, TASK_ENGINE, TASK_REQUESTS},
		{TASK_ENGINE, TASK_REQUESTS, TASK_CONTROL}};
	static double p99[2][ROUNDS_MAX], p999[2][ROUNDS_MAX];
	uint64_t rules;

	device.firmware = true;
	begin();
	set_task(TASK_ENGINE);
	measure();
	rules = atomic_load(&device.inserted);
	control_ns = rules != 0 ? atomic_load(&cpu_ns) / rules : 0;
	for (uint32_t r = 0; r < rounds; r++) {
		struct tail got[TASK_END];

		for (int turn = 0; turn < 3; turn++) {
			set_task(order[r % 3][turn]);
			got[order[r % 3][turn]] = measure();
		}
		for (int k = 0; k < 2; k++) {
			const struct tail *t = &got[k == 0 ? TASK_ENGINE : TASK_CONTROL];

			p99[k][r] = t->p99 / got[TASK_REQUESTS].p99;
			p999[k][r] = t->p999 / got[TASK_REQUESTS].p999;
		}
	}
	rules = atomic_load(&device.inserted);
	set_task(TASK_END);
	if (rules == 0 || harness_wrong() != 0)
		die("no rule was inserted, or a packet was wrong");
	printf("{\"emulated\": true, \"flows\": %u, \"firmware us\": 1000, "
	       "\"rules inserted\": %llu, \"candidates left\": %u, "
	       "\"thread's ns a rule\": %llu, \"results\": {",
		h.n_flows, (unsigned long long)rules, choice_stats(engine->choice)->waiting,
		(unsigned long long)control_ns);
	print_case("", "p99, storm", p99[0], rounds);
	print_case(", ", "p99, control", p99[1], rounds);
	print_case(", ", "p99.9, storm", p999[0], rounds);
	print_case(", ", "p99.9, control", p999[1], rounds);
	printf("}}\n");
}

/* --- everything invalid at once -----------------------------------------------------------------
 */

/* Packets a second of the worker, by its own thread's CPU time: what others take of the machine is
 * not the offload thread's doing. */
static double rate(double seconds)
{
	uint64_t packets = 0, end = now_us() + (uint64_t)(seconds * 1e6), start;
	struct core *c = &h.cores[0];

	start = now_ns(CLOCK_THREAD_CPUTIME_ID);
	while (now_us() < end)
		for (int i = 0; i < 64; i++) {
			harness_fill(c, &at);
			pipeline_run(&c->w, &c->w.burst);
			packets += BURST;
		}
	return (double)packets * 1e9 / (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - start);
}

static void print_invalidated(
	uint64_t began, double before, double *samples, uint32_t n, uint64_t flushes)
{
	double out = (double)(device.none_us - began) / 1e6;
	double back = (double)(device.all_us - began) / 1e6;
	double in = (double)device.all / RULES_A_SEC, least = samples[0], part;

	for (uint32_t i = 1; i < n; i++)
		if (samples[i] < least)
			least = samples[i];
	printf("{\"emulated\": true, \"flows\": %u, \"rules\": %llu, "
	       "\"device rules a second\": %u, \"own pps\": %.0f, \"flushes\": %llu, "
	       "\"seconds\": [",
		h.n_flows, (unsigned long long)device.all, RULES_A_SEC, before,
		(unsigned long long)flushes);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.3f", i ? ", " : "", samples[i]);
	printf("], \"results\": {");
	print_case("", "rate in the first second", samples, 1);
	print_case(", ", "rate in the worst second", &least, 1);
	print_case(", ", "until all are out", &out, 1);
	print_case(", ", "until all are in again", &back, 1);
	part = in / (back - out);
	print_case(", ", "insert rate", &part, 1);
	printf("}}\n");
}

static void invalidate(void)
{
	static double samples[ROUNDS_MAX];
	uint64_t flushes, began;
	uint32_t n = 0;
	double before;

	begin();
	device.all = 2 * (uint64_t)h.n_flows;
	set_task(TASK_ENGINE);
	while (atomic_load(&device.rules) < device.all)
		rate(0.2);
	rate(2);
	before = rate(2);
	flushes = engine->stats.escalations;
	began = now_us();
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		h.hops[id].l2[5] ^= 0x10;
	engine_revalidate(engine, false);
	do
		samples[n++] = rate(1) / before;
	while (n < ROUNDS_MAX && atomic_load(&device.all_us) == 0);
	set_task(TASK_END);
	if (device.all_us == 0 || harness_wrong() != 0)
		die("not all flows came back, or a packet was wrong");
	print_invalidated(began, before, samples, n, engine->stats.escalations - flushes);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"storm", no_argument, NULL, 's'},
		{"invalidate", no_argument, NULL, 'i'},
		{"flows", required_argument, NULL, 'f'},
		{"rounds", required_argument, NULL, 'r'},
		{0},
	};
	void (*mode)(void) = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			mode = storm;
		else if (opt == 'i')
			mode = invalidate;
		else if (opt == 'f')
			n_flows = (uint32_t)atof(optarg);
		else if (opt == 'r')
			rounds = (uint32_t)atoi(optarg);
		else
			return 2;
	}
	if (mode == NULL || n_flows == 0 || rounds == 0 || rounds > ROUNDS_MAX) {
		fputs("usage: bench_offload --storm | --invalidate [--flows N] [--rounds N]\n",
			stderr);
		return 2;
	}
	mode();
	return 0;
}
