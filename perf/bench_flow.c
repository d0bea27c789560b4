/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Prices of the tables, in ticks an operation: flow lookup, insert and delete, endpoint
 * lists and the frontend index.
 *
 *	bench_flow [--repeat N] [--loops N] [NAME]
 *
 * Each row is repeated; the least and the median are printed, since whatever else the machine does
 * only adds. Keys are made by arithmetic and their making is measured alone and taken off. Every
 * operation's answer is checked. NAME runs the rows whose name contains it, --repeat 1 --loops 1
 * suits callgrind. Main thread. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/flow.h"
#include "core/service.h"
#include "perf/flow_keys.h"
#include "perf/ticks.h"

#define REPEAT_MAX 101

static uint32_t repeat = 21, loops = 2000;
static const char *only;
static uint64_t random_state = 1;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_flow: %s\n", what);
	exit(1);
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static bool wanted(const char *name)
{
	return only == NULL || strstr(name, only) != NULL;
}

static void row(const char *name, double *samples, uint32_t n, const char *unit)
{
	qsort(samples, n, sizeof(*samples), compare_double);
	printf("%-44s %10.1f %10.1f  %s\n", name, samples[0], samples[n / 2], unit);
	fflush(stdout);
}

/* --- the flow table --------------------------------------------------------------------------- */

struct bench {
	struct grace grace;
	struct flow_table *t;
	enum ip_family f;
	enum flow_state state; /* of flows that are added */
	uint32_t n;
};

static void key6(uint32_t n, enum lane_dir dir, struct flow_key6 *k)
{
	struct flow_key4 k4;

	flow_keys_at(n, dir, &k4);
	memset(k, 0, sizeof(*k));
	memcpy(k->src + 12, &k4.src, 4);
	memcpy(k->dst + 12, &k4.dst, 4);
	k->src[0] = k->dst[0] = 0xfd;
	memcpy(&k->sport, &k4.sport, 8);
}

static void fill_lane(const struct bench *b, struct burst *u, uint32_t lane, uint32_t n)
{
	if (b->f == IP_V4)
		flow_keys_at(n, n & 1, &u->key4[lane]);
	else
		key6(n, n & 1, &u->key6[lane]);
}

static uint32_t add_flow(struct bench *b, uint32_t n)
{
	uint32_t e = flow_alloc(b->t, b->f, 0, 0), other;
	struct flow_meta *m;

	if (e == FLOW_NONE)
		return e;
	for (int dir = 0; dir < 2; dir++) {
		if (b->f == IP_V4)
			flow_keys_at(n, dir, &flow_array4(b->t)[e].key[dir]);
		else
			key6(n, dir, &flow_array6(b->t)[e].key[dir]);
	}
	m = flow_meta(b->t, b->f, e);
	m->class = FLOW_CLASS_TCP;
	if (flow_link(b->t, b->f, e, DIR_REPLY, &other) != 0)
		die("link of a reply key failed");
	atomic_store_explicit(&m->state, b->state, memory_order_release);
	if (flow_link(b->t, b->f, e, DIR_FORWARD, &other) != 0)
		die("link of a forward key failed");
	return e;
}

/* As the rim does: 4 kB pages would measure the TLB. */
static void *huge_alloc(void *arg, size_t size, size_t align, const char *name)
{
	const size_t huge = 2 << 20;
	void *mem;

	size = (size + huge - 1) & ~(huge - 1);
	mem = aligned_alloc(huge, size);
	if (mem != NULL)
		madvise(mem, size, MADV_HUGEPAGE);
	return mem;
}

static void huge_free(void *arg, void *mem)
{
	free(mem);
}

/* extra: free entries beside the n that are there. */
static void setup(struct bench *b, enum ip_family f, uint32_t n, uint32_t extra)
{
	struct flow_config cfg = {.workers = 1,
		.salt = {3, 4},
		.grace = &b->grace,
		.alloc = huge_alloc,
		.free = huge_free};

	memset(b, 0, sizeof(*b));
	cfg.capacity[f] = n + extra;
	cfg.capacity[1 - f] = 1;
	b->f = f;
	b->n = n;
	b->state = FLOW_ESTABLISHED;
	if (flow_table_init(&cfg, &b->t) < 0)
		die("no memory");
	for (uint32_t i = 0; i < n; i++)
		if (add_flow(b, i) == FLOW_NONE)
			die("the table is full");
}

/* One lookup of a burst of random flows; hit: of those that are there. */
static void bench_lookup(
	const char *name, struct bench *b, uint32_t burst, bool hit, struct burst *u)
{
	lanes_t lanes = burst == 64 ? ~(lanes_t)0 : LANE(burst) - 1, found = 0;
	double samples[REPEAT_MAX], making = 1e30;

	u->v6 = b->f == IP_V6 ? ~(lanes_t)0 : 0;
	for (uint32_t r = 0; r < repeat; r++) {
		uint64_t start, make;

		start = ticks();
		for (uint32_t l = 0; l < loops; l++) {
			for (uint32_t i = 0; i < burst; i++)
				fill_lane(b, u, i,
					(uint32_t)(((next_random() & 0xffffffff) * b->n) >> 32));
			__asm__ volatile("" : : "r"(u) : "memory");
		}
		make = ticks() - start;
		if ((double)make < making)
			making = (double)make;
		start = ticks();
		for (uint32_t l = 0; l < loops; l++) {
			for (uint32_t i = 0; i < burst; i++)
				fill_lane(b, u, i,
					(uint32_t)(((next_random() & 0xffffffff) * b->n) >> 32) +
						(hit ? 0 : 0x40000000));
			found = flow_lookup_burst(b->t, u, lanes);
			if (found != (hit ? lanes : 0))
				die("a lookup has the wrong answer");
		}
		samples[r] = (double)(ticks() - start);
	}
	for (uint32_t r = 0; r < repeat; r++)
		samples[r] = (samples[r] - making) / loops / burst;
	row(name, samples, repeat, "ticks/lookup");
}

static void insert_burst(struct bench *b, uint32_t first, uint32_t burst)
{
	for (uint32_t i = 0; i < burst; i++) {
		for (int dir = 0; dir < 2; dir++) {
			struct flow_key4 k4;
			struct flow_key6 k6;

			if (b->f == IP_V4) {
				flow_keys_at(first + i, dir, &k4);
				flow_prefetch4(b->t, &k4);
			} else {
				key6(first + i, dir, &k6);
				flow_prefetch6(b->t, &k6);
			}
		}
	}
	for (uint32_t i = 0; i < burst; i++)
		if (add_flow(b, first + i) == FLOW_NONE)
			die("the table is full");
}

/* Bursts of new flows, buckets prefetched as the commit stage can, and their deaths by time: what
 * is idle is found by the sweep, killed, and freed a grace period later. */
static void bench_insert(const char *insert_name, const char *expire_name, struct bench *b)
{
	const uint32_t burst = 64, bursts = 200;
	double in[REPEAT_MAX], out[REPEAT_MAX];
	struct flow_timeouts timeouts;
	uint32_t now = 0;

	flow_timeouts_default(&timeouts);
	timeouts.ms[FLOW_CLASS_TCP][FLOW_NEW] = 1;
	for (uint32_t r = 0; r < repeat; r++) {
		uint32_t base = b->n + r * burst * bursts, killed = 0;
		uint64_t start = ticks();

		b->state = FLOW_NEW;
		for (uint32_t k = 0; k < bursts; k++)
			insert_burst(b, base + k * burst, burst);
		in[r] = (double)(ticks() - start) / bursts / burst;
		start = ticks();
		for (now += 10; killed < burst * bursts; now += 2)
			killed += flow_sweep(b->t, 0, now & 0xfffff, &timeouts);
		grace_complete(&b->grace, grace_open(&b->grace));
		while (flow_stats(b->t, b->f, 0)->used != b->n)
			flow_sweep(b->t, 0, now & 0xfffff, &timeouts);
		out[r] = (double)(ticks() - start) / bursts / burst;
	}
	row(insert_name, in, repeat, "ticks/flow");
	row(expire_name, out, repeat, "ticks/flow");
}

static void bench_flows(void)
{
	static const uint32_t sizes[] = {1000, 100000, 1000000};
	static struct burst burst;
	char name[64], other[64];

	for (int f = 0; f < IP_FAMILIES; f++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			struct bench b;

			snprintf(name, sizeof(name), "flow lookup insert expire v%c %u",
				f == IP_V4 ? '4' : '6', sizes[s]);
			if (only != NULL && strstr(only, "flow") == NULL && !wanted(name))
				continue;
			setup(&b, f, sizes[s], 64 * 200);
			for (uint32_t size = 32; size <= 64; size *= 2) {
				snprintf(name, sizeof(name), "flow lookup v%c, %u flows, burst %u",
					f == IP_V4 ? '4' : '6', sizes[s], size);
				if (wanted(name))
					bench_lookup(name, &b, size, true, &burst);
			}
			snprintf(name, sizeof(name), "flow lookup v%c, %u flows, miss",
				f == IP_V4 ? '4' : '6', sizes[s]);
			if (wanted(name))
				bench_lookup(name, &b, 64, false, &burst);
			snprintf(name, sizeof(name), "flow insert both v%c, %u flows",
				f == IP_V4 ? '4' : '6', sizes[s]);
			snprintf(other, sizeof(other), "flow expire v%c, %u flows",
				f == IP_V4 ? '4' : '6', sizes[s]);
			if (wanted(name))
				bench_insert(name, other, &b);
			flow_table_fini(b.t);
		}
	}
}

/* --- services --------------------------------------------------------------------------------- */

static void bench_list(uint32_t n)
{
	struct svc_backend *backends = calloc(n, sizeof(*backends));
	double samples[REPEAT_MAX];
	char name[64];

	snprintf(name, sizeof(name), "svc_list_new, %u endpoints", n);
	for (uint32_t i = 0; i < n; i++)
		backends[i] = (struct svc_backend){
			.addr = ip_from_v4((uint32_t)next_random()), .port = 80, .ref = i + 1};
	for (uint32_t r = 0; wanted(name) && r < repeat; r++) {
		uint64_t start = ticks();
		struct svc_list *l = svc_list_new(backends, n);

		samples[r] = (double)(ticks() - start);
		if (l == NULL)
			die("svc_list_new failed");
		free(l);
	}
	if (wanted(name))
		row(name, samples, repeat, "ticks/list");
	free(backends);
}

static struct svc_frontend_key frontend(uint32_t n)
{
	struct svc_frontend_key k = {.addr = ip_from_v4(htonl(0x0a600000 + n)),
		.port = htons(80),
		.proto = IP_PROTO_TCP,
		.family = IP_V4};

	return k;
}

static void bench_find(uint32_t n)
{
	struct svc_port *ports = calloc(n, sizeof(*ports));
	struct svc_list *none = svc_list_new(NULL, 0);
	struct grace g = {0};
	struct svc_table *t;
	double samples[REPEAT_MAX];
	char name[64];

	snprintf(name, sizeof(name), "svc find, %u frontends, burst 32", n);
	if (none == NULL || svc_table_init(&g, 0, &t) < 0)
		die("no memory");
	for (uint32_t i = 0; i < n; i++) {
		struct svc_frontend_key k = frontend(i);

		ports[i].id = i;
		ports[i].cluster = ports[i].local = none;
		if (svc_table_set(t, &k, SVC_CLUSTER_IP, &ports[i]) < 0)
			die("svc_table_set failed");
	}
	for (uint32_t r = 0; wanted(name) && r < repeat; r++) {
		uint64_t start = ticks();

		for (uint32_t l = 0; l < loops; l++) {
			const struct svc_frontend *f[32];
			struct svc_frontend_key k[32];
			uint64_t hash[32];

			for (uint32_t i = 0; i < 32; i++) {
				k[i] = frontend(
					(uint32_t)(((next_random() & 0xffffffff) * n) >> 32));
				hash[i] = svc_table_aim(t, &k[i]);
			}
			for (uint32_t i = 0; i < 32; i++)
				f[i] = svc_table_probe(t, hash[i]);
			for (uint32_t i = 0; i < 32; i++) {
				f[i] = svc_table_confirm(t, &k[i], hash[i], f[i]);
				if (f[i] == NULL ||
					htonl(0x0a600000 + f[i]->svc_id) != ip_v4(&k[i].addr))
					die("a frontend has the wrong service");
			}
		}
		samples[r] = (double)(ticks() - start) / loops / 32;
	}
	if (wanted(name))
		row(name, samples, repeat, "ticks/find");
	svc_table_fini(t);
	free(none);
	free(ports);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--repeat") == 0 && i + 1 < argc)
			repeat = (uint32_t)strtoul(argv[++i], NULL, 0);
		else if (strcmp(argv[i], "--loops") == 0 && i + 1 < argc)
			loops = (uint32_t)strtoul(argv[++i], NULL, 0);
		else if (argv[i][0] != '-' && only == NULL)
			only = argv[i];
		else
			die("usage: bench_flow [--repeat N] [--loops N] [NAME]");
	}
	if (repeat == 0 || repeat > REPEAT_MAX || loops == 0)
		die("--repeat takes 1 to 101, --loops at least 1");
	printf("%-44s %10s %10s\n", "", "least", "median");
	bench_flows();
	bench_list(3);
	bench_list(100);
	bench_find(1000);
	bench_find(100000);
	return 0;
}
