/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the offload thread costs a worker. The device is emulated, and so is every figure's
 * "hardware".
 *
 *	bench_offload --storm [--flows N] [--rounds N]
 *	bench_offload --invalidate [--flows N]
 *
 * --storm: one worker's p99 burst while a thread inserts rules of 1 ms each as fast as it may, over
 * the same without inserts.
 * --invalidate: all flows are in hardware, then none may stay; samples are a worker's rate in each
 * second from then on over its rate before, and the time until all are back. One JSON line. */

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "offload/engine.h"
#include "perf/harness.h"
#include "perf/ticks.h"

#define ROUNDS_MAX 64

static uint32_t n_flows = 1000000, rounds = 3;
static double samples[ROUNDS_MAX];

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_offload: %s\n", what);
	exit(1);
}

static void print_samples(uint32_t n)
{
	printf("\"emulated\": true, \"samples\": [");
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.4f", i ? ", " : "", samples[i]);
	printf("], \"means\": [], \"floor\": []}\n");
}

/* --- a device of nothing, and a worker beside it ------------------------------------------------
 */

struct device {
	uint32_t insert_ns;
	bool sleeps;
	_Atomic uint64_t rules;
};

static struct device device;

static void takes(uint32_t ns)
{
	struct timespec pause = {.tv_nsec = ns}, start, now;

	if (device.sleeps) {
		nanosleep(&pause, NULL);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((uint64_t)(now.tv_sec - start.tv_sec) * 1000000000 + (uint64_t)now.tv_nsec -
			(uint64_t)start.tv_nsec <
		ns);
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
	takes(device.insert_ns);
	atomic_fetch_add(&device.rules, 1);
	*out = (struct offload_handle *)&device;
	return 0;
}

static int d_remove(void *arg, struct offload_handle *handle, struct offload_error *err)
{
	if (!device.sleeps)
		takes(device.insert_ns);
	atomic_fetch_sub(&device.rules, 1);
	return 0;
}

/* Always a packet more: no flow goes idle, none is suspected. */
static int d_query(void *arg, struct offload_handle *handle, struct offload_count *out,
	struct offload_error *err)
{
	static uint64_t n;

	n++;
	*out = (struct offload_count){.packets = n, .bytes = n * 64};
	return 0;
}

static int d_flush(void *arg, uint16_t port, struct offload_error *err)
{
	return 0;
}

static int d_stop(void *arg, uint16_t port)
{
	return 0;
}

static void d_forget(void *arg, struct offload_handle *handle)
{
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

static uint32_t d_now_ms(void *arg)
{
	return h.cores[0].w.now_ms;
}

static uint64_t d_clock_us(void *arg)
{
	return now_us();
}

static struct offload_engine *engine;
static _Atomic bool stop, pause_engine = true;

static void *engine_main(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint32_t wait = 1000;

		if (!atomic_load_explicit(&pause_engine, memory_order_relaxed))
			wait = engine_turn(engine);
		if (wait != 0) {
			struct timespec ts = {.tv_nsec = (long)wait * 1000};

			nanosleep(&ts, NULL);
		}
	}
	return NULL;
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
	device.rules = 0;
}

/* All flows are known as elephants, as after some seconds of traffic. */
static void offer_all(void)
{
	for (uint32_t e = 0; e < flow_capacity(h.dp->flows, IP_V4); e++) {
		uint32_t id = choice_id(IP_V4, e);
		struct flow_view v;
		struct nominee *n = choice_at(engine->choice, id);

		if (flow_read(h.dp->flows, IP_V4, e, &v) < 0 || n->state != NOMINEE_IDLE)
			continue;
		n->generation = v.meta.generation;
		n->seen[DIR_FORWARD] = (struct offload_seen){
			.vport = v.cold.in_vport[DIR_FORWARD], .ttl = 64, .len = 64};
		n->seen[DIR_REPLY] =
			(struct offload_seen){.vport = BACKEND_VPORT, .ttl = 64, .len = 64};
		choice_offer(engine->choice, id, 640, now_us());
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

#define BURSTS 20000

static uint32_t at;

static double p99(void)
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
	return (double)took[BURSTS * 99 / 100];
}

static void storm(void)
{
	double quiet[ROUNDS_MAX], loud[ROUNDS_MAX];
	pthread_t thread;
	uint64_t rules;

	device = (struct device){.insert_ns = 1000000, .sleeps = true};
	world_init();
	offer_all();
	if (pthread_create(&thread, NULL, engine_main, NULL) != 0)
		die("no thread");
	for (uint32_t r = 0; r < rounds; r++) {
		/* Which comes first changes, so that neither has the warmer moment. */
		for (int turn = 0; turn < 2; turn++) {
			bool on = (turn ^ (r & 1)) != 0;

			atomic_store(&pause_engine, !on);
			p99();
			*(on ? &loud[r] : &quiet[r]) = p99();
		}
		samples[r] = loud[r] / quiet[r];
	}
	rules = atomic_load(&device.rules);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	if (rules == 0 || harness_wrong() != 0)
		die("no rule was inserted, or a packet was wrong");
	printf("{\"flows\": %u, \"firmware us\": 1000, \"rules inserted\": %llu, "
	       "\"candidates\": %u, ",
		h.n_flows, (unsigned long long)rules, choice_stats(engine->choice)->waiting);
	print_samples(rounds);
}

/* Packets a second of the worker, by its own thread's CPU time: what others take of the machine is
 * not the offload thread's doing. */
static double rate(double seconds)
{
	struct core *c = &h.cores[0];
	uint64_t packets = 0, end = now_us() + (uint64_t)(seconds * 1e6);
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	while (now_us() < end)
		for (int i = 0; i < 64; i++) {
			harness_fill(c, &at);
			pipeline_run(&c->w, &c->w.burst);
			packets += BURST;
		}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (double)packets /
		((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
}

static void invalidate(void)
{
	uint64_t began, out_us = 0, back_us = 0;
	double before;
	pthread_t thread;
	uint32_t n = 0, rules;

	device = (struct device){.insert_ns = 1667};
	world_init();
	offer_all();
	if (pthread_create(&thread, NULL, engine_main, NULL) != 0)
		die("no thread");
	atomic_store(&pause_engine, false);
	rules = 2 * h.n_flows;
	while (atomic_load(&device.rules) < rules)
		rate(0.2);
	rate(1);
	before = rate(2);
	began = now_us();
	engine_revalidate(engine, true);
	while (n < ROUNDS_MAX && back_us == 0) {
		samples[n++] = rate(1) / before;
		if (out_us == 0 && engine->pass_done != 0)
			out_us = engine->stats.pass_us;
		if (out_us != 0 && atomic_load(&device.rules) >= rules)
			back_us = now_us() - began;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	if (back_us == 0 || harness_wrong() != 0)
		die("not all flows came back, or a packet was wrong");
	printf("{\"flows\": %u, \"rules\": %u, \"device rules a second\": 600000, "
	       "\"own pps\": %.0f, \"all out after s\": %.2f, \"all in again after s\": %.2f, ",
		h.n_flows, rules, before, (double)out_us / 1e6, (double)back_us / 1e6);
	print_samples(n);
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
		switch (opt) {
		case 's':
			mode = storm;
			break;
		case 'i':
			mode = invalidate;
			break;
		case 'f':
			n_flows = (uint32_t)atof(optarg);
			break;
		case 'r':
			rounds = (uint32_t)atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (mode == NULL || n_flows == 0 || rounds == 0 || rounds > ROUNDS_MAX) {
		fputs("usage: bench_offload --storm | --invalidate [--flows N] [--rounds N]\n",
			stderr);
		return 2;
	}
	mode();
	return 0;
}
