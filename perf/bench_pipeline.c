/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The pipeline in one process (harness.h): established flows, new ones, a flood, two workers.
 *
 *	bench_pipeline [--flows N] [--hot N] [--services N] [--rounds N] [--bursts N]
 *		[--v6] [--tcp] [--plain] [--nodeport] [--fragments] [--size BYTES[,BYTES]]
 *		[--zipf S] [--policy] [--marks] [--floor] [--small-pages]
 *		[--new | --memory | --flood N | --siege | --workers 2]
 *
 * Prints one line of JSON: ticks a packet (a flow with --new) of every round's median burst,
 * their means, and those of the source alone. Every packet has to be forwarded and every checked
 * one has to be right, or there is no number.
 *
 * --memory: bytes of the table a flow when four places in five are taken, with that many flows
 * established. --flood N: established packets beside N first packets each, as the part of their
 * rate that they keep. --siege: beside a queue of first packets that is never empty, whose own
 * time counts. --workers 2: how many times the rate of one worker two have. --policy: with a
 * stage that looks at first packets and accepts them. --floor: samples of the source alone.
 * --new: each packet is the first of a flow, flows live a fixed time and the sweep runs, so
 * that as many expire as begin. Under callgrind (--toggle-collect=measured) instructions a
 * packet are exact. Ends with 77 when there is not enough memory or there are not enough
 * processors. */

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "perf/harness.h"
#include "perf/ticks.h"

#define ROUNDS_MAX   1000
#define BURSTS_MAX   100000
#define FLOOD_BURSTS 2000
#define SIEGE_TURNS  31
#define ABSENT       77

static double samples[ROUNDS_MAX], means[ROUNDS_MAX], floors[ROUNDS_MAX];
static uint64_t by_burst[CORES_MAX][BURSTS_MAX]; /* of a round, by burst */
static uint32_t rounds = 15, bursts = 2000, flood_bursts = 10;
static bool with_policy, floor_only;

/* gcc clones functions under other names unless told noipa; clang does not, and knows no noipa. */
#if defined(__clang__)
#define ALONE __attribute__((noinline))
#else
#define ALONE __attribute__((noipa, externally_visible))
#endif

/* Under this name for callgrind, and so not static: link-time optimization renames those. */
ALONE void measured(struct worker *w);
ALONE void measured(struct worker *w)
{
	pipeline_run(w, &w->burst);
}

/* In the place of a pipeline, for the price of measuring. */
static void nothing(struct worker *w)
{
	w->burst.to.classify = 0;
}

/* --- a policy's place ---------------------------------------------------------------------------
 */

static struct pipeline_stage policy_stages[32];
static uint32_t n_policy_stages;
static uint64_t accepted;

static void stage_accept(struct worker *w, struct burst *b)
{
	accepted += lanes_count(b->to.source_nat);
}

/* The pods' composition with the stage behind the service's, where a verdict falls: after DNAT. */
static void policy_init(void)
{
	for (uint32_t n = 0; n < pipeline_pod.n_stages; n++) {
		policy_stages[n_policy_stages++] = pipeline_pod.stages[n];
		if (pipeline_pod.stages[n].id == STAGE_service)
			policy_stages[n_policy_stages++].run = stage_accept;
	}
}

static void measured_policy(struct worker *w)
{
	struct burst *b = &w->burst;

	/* As pipeline_run() begins. */
	b->v6 = 0;
	b->plain = 0;
	b->strangers = 0;
	b->resized = 0;
	for (uint32_t n = 0; n < n_policy_stages; n++)
		policy_stages[n].run(w, b);
}

/* --- rounds -------------------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double median(uint64_t *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return (double)v[n / 2];
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(double *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), by_number);
	return v[n / 2];
}

/* Ticks a packet: the median burst goes to *middle, the mean is returned. */
static double run_round(struct core *c, uint32_t *at, void (*run)(struct worker *w), double *middle)
{
	uint64_t *burst = by_burst[c->w.id];
	uint64_t sum = 0;

	for (uint32_t i = 0; i < bursts; i++) {
		uint64_t t0;

		harness_fill(c, at);
		t0 = ticks();
		run(&c->w);
		burst[i] = ticks() - t0;
		sum += burst[i];
	}
	*middle = median(burst, bursts) / BURST;
	return (double)sum / ((double)bursts * BURST);
}

static uint32_t order_length(void)
{
	return h.n_flows * 2 < 1u << 20 ? 1u << 20 : h.n_flows * 2;
}

static int all_came_out(uint64_t sent)
{
	if (harness_forwarded() == sent && harness_wrong() == 0 && harness_checked() != 0 &&
		harness_created() == h.n_flows)
		return 0;
	harness_complain(sent);
	return -1;
}

static int established(double zipf)
{
	void (*run)(struct worker * w) = with_policy ? measured_policy : measured;
	uint32_t at = 0;

	harness_establish();
	if (h.marks)
		harness_mark();
	harness_order(zipf, order_length());
	for (uint32_t r = 0; r < rounds; r++) {
		uint32_t before = at;

		run_round(&h.cores[0], &at, nothing, &floors[r]);
		at = before;
		means[r] = run_round(&h.cores[0], &at, run, &samples[r]);
	}
	return all_came_out((uint64_t)rounds * bursts * BURST);
}

/* --- first packets ------------------------------------------------------------------------------
 */

/* Time runs so that all tuples are used once in PASS_MS. A flow lives for a quarter of that and is
 * swept within a second more, so no tuple comes again before its flow is gone, and a quarter to
 * three quarters of the flows are live. */
#define PASS_MS 2000

static void live_for(struct flow_timeouts *life, uint32_t ms)
{
	for (int c = 0; c < FLOW_CLASSES; c++)
		for (int s = 0; s < FLOW_STATES; s++)
			life->ms[c][s] = ms;
}

static void grace_passes(void)
{
	uint32_t period = grace_open(&h.dp->grace);

	grace_complete(&h.dp->grace, period);
}

static int fresh(void)
{
	void (*run)(struct worker * w) = with_policy ? measured_policy : measured;
	struct core *c = &h.cores[0];
	struct flow_timeouts life = {0};
	uint64_t sent = 0;
	uint32_t at = 0;

	live_for(&life, PASS_MS / 4);
	harness_order_first();
	c->tcp_flags = h.tcp ? TCP_SYN : 0;
	/* One pass to fill the table, then the measured rounds. */
	for (uint32_t r = 0; r <= rounds; r++) {
		uint32_t n = r == 0 ? h.n_order / BURST : bursts;
		uint64_t sum = 0;

		for (uint32_t i = 0; i < n; i++) {
			uint64_t t0;

			harness_fill(c, &at);
			sent += BURST;
			c->w.now_ms = 5000 + (uint32_t)(sent * PASS_MS / h.n_flows);
			t0 = ticks();
			run(&c->w);
			for (int n_sweeps = 0; n_sweeps < 3; n_sweeps++)
				flow_sweep(h.dp->flows, 0, c->w.now_ms, &life);
			grace_passes();
			t0 = ticks() - t0;
			sum += t0;
			if (r > 0)
				by_burst[0][i] = t0;
		}
		if (r == 0)
			continue;
		samples[r - 1] = median(by_burst[0], n) / BURST;
		means[r - 1] = (double)sum / ((double)n * BURST);
	}
	if (harness_forwarded() == sent && harness_wrong() == 0 && harness_created() == sent &&
		(!with_policy || accepted == sent))
		return 0;
	harness_complain(sent);
	return -1;
}

/* --- a flood ------------------------------------------------------------------------------------
 */

static uint64_t established_burst(struct core *c, uint32_t *at, uint64_t *lost)
{
	uint64_t created = harness_created(), forwarded = c->forwarded, t0, spent;

	harness_fill(c, at);
	t0 = ticks();
	measured(&c->w);
	spent = ticks() - t0;
	*lost += BURST - (c->forwarded - forwarded) + (harness_created() - created);
	return spent;
}

/* Bursts of strangers, then an established one: its ticks, against those of an established burst
 * without strangers before, turn by turn, so that both meet the same machine. Medians, because a
 * burst that another process interrupts takes as long as the whole round. */
static double flooded_round(uint32_t *at, uint64_t *strangers, uint64_t *lost)
{
	static uint64_t flood[FLOOD_BURSTS], quiet[FLOOD_BURSTS];
	struct core *c = &h.cores[0];
	uint32_t n = FLOOD_BURSTS / (1 + flood_bursts);

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < flood_bursts; k++) {
			harness_fill_strangers(c, (uint32_t)(*strangers % h.n_flows));
			*strangers += BURST;
			measured(&c->w);
			/* 40 million a second: ten times what a worker is rated for */
			c->w.now_ms = 5000 + (uint32_t)(*strangers / 40000);
			flow_sweep(h.dp->flows, 0, c->w.now_ms, &c->w.snap.tunables->timeouts);
			grace_passes();
		}
		flood[i] = established_burst(c, at, lost);
		quiet[i] = established_burst(c, at, lost);
	}
	return median(quiet, n) / median(flood, n);
}

/* Two queues that are never empty, one of established flows and one of strangers, as the rim polls
 * them when the worker is behind: so many bursts of the first for one of the second. The ticks of
 * such a turn, the strangers' included, against those of a turn without: the sum of each place's
 * median over the turns, because in most turns some burst is interrupted. */
static double besieged_round(uint32_t *at, uint64_t *strangers, uint64_t *lost)
{
	static uint64_t siege[FLOW_SIT_OUT + 1][SIEGE_TURNS], quiet[FLOW_SIT_OUT][SIEGE_TURNS];
	struct admission *a = &h.cores[0].w.admission;
	struct core *c = &h.cores[0];
	double with, without = 0;

	a->behind = true;
	for (uint32_t i = 0; i < SIEGE_TURNS; i++) {
		uint64_t t0;

		for (uint32_t k = 0; k < FLOW_SIT_OUT; k++) {
			struct admission before = *a;

			quiet[k][i] = established_burst(c, at, lost);
			/* What it earned for first packets is not this siege's. */
			*a = before;
			siege[k][i] = established_burst(c, at, lost);
		}
		harness_fill_strangers(c, (uint32_t)(*strangers % h.n_flows));
		*strangers += BURST;
		t0 = ticks();
		measured(&c->w);
		flow_sweep(h.dp->flows, 0, c->w.now_ms, &c->w.snap.tunables->timeouts);
		siege[FLOW_SIT_OUT][i] = ticks() - t0;
		grace_passes();
	}
	with = median(siege[FLOW_SIT_OUT], SIEGE_TURNS);
	for (uint32_t k = 0; k < FLOW_SIT_OUT; k++) {
		with += median(siege[k], SIEGE_TURNS);
		without += median(quiet[k], SIEGE_TURNS);
	}
	return without / with;
}

/* What a flood of first packets, soon more than the table has room for, does to established flows.
 * *lost: packets that did not come out, or found their flow gone. */
static int flooded(double (*round)(uint32_t *at, uint64_t *strangers, uint64_t *lost))
{
	uint64_t lost = 0, strangers = 0;
	uint32_t at = 0;

	harness_establish();
	harness_order(0, order_length());
	/* Until the table is full. */
	while (strangers < h.n_flows)
		flooded_round(&at, &strangers, &lost);
	for (uint32_t r = 0; r < rounds; r++)
		samples[r] = round(&at, &strangers, &lost);
	if (lost == 0 && harness_wrong() == 0)
		return 0;
	fprintf(stderr, "%llu established packets lost or without their flow\n",
		(unsigned long long)lost);
	harness_complain(0);
	return -1;
}

/* --- two workers --------------------------------------------------------------------------------
 */

struct pair {
	pthread_barrier_t start;
	uint32_t at[CORES_MAX];
	double middle[CORES_MAX], mean[CORES_MAX];
	_Atomic bool end;
};

static struct pair pair;

static void pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *second(void *arg)
{
	pin(1);
	for (;;) {
		pthread_barrier_wait(&pair.start);
		if (pair.end)
			return NULL;
		pair.mean[1] = run_round(&h.cores[1], &pair.at[1], measured, &pair.middle[1]);
		pthread_barrier_wait(&pair.start);
	}
}

/* A round of the second worker; beside, if the first one runs too. */
static void second_round(bool beside)
{
	pthread_barrier_wait(&pair.start);
	if (beside)
		pair.mean[0] = run_round(&h.cores[0], &pair.at[0], measured, &pair.middle[0]);
	pthread_barrier_wait(&pair.start);
}

/* A round of each alone, a round together, and so on: the rate of two over the rate of one, which
 * is the mean of both alone, because processors that a hypervisor lends are not equally fast. */
static int two_workers(void)
{
	static double ones[ROUNDS_MAX], both[ROUNDS_MAX];
	pthread_t thread;

	harness_establish();
	harness_order(0, order_length());
	pair.at[1] = h.n_order / (2 * BURST) * BURST;
	pthread_barrier_init(&pair.start, NULL, 2);
	pin(0);
	if (pthread_create(&thread, NULL, second, NULL) != 0)
		return -1;
	for (uint32_t r = 0; r < rounds; r++) {
		double alone, rate;

		run_round(&h.cores[0], &pair.at[0], measured, &alone);
		second_round(false);
		ones[r] = 2 / (1 / alone + 1 / pair.middle[1]);
		second_round(true);
		rate = 1 / pair.middle[0] + 1 / pair.middle[1];
		both[r] = 2 / rate;
		samples[r] = ones[r] * rate;
	}
	pair.end = true;
	pthread_barrier_wait(&pair.start);
	pthread_join(thread, NULL);
	fprintf(stderr, "one worker %.1f, two %.1f ticks a packet each\n", median_of(ones, rounds),
		median_of(both, rounds));
	return all_came_out((uint64_t)rounds * bursts * BURST * 4);
}

/* The table has a fourth more places than there are flows. */
static int memory_per_flow(void)
{
	harness_establish();
	rounds = 1;
	bursts = 0;
	samples[0] = (double)h.table_bytes / h.n_flows;
	if (harness_created() == h.n_flows)
		return 0;
	harness_complain(0);
	return -1;
}

/* --- options ------------------------------------------------------------------------------------
 */

enum mode {
	MODE_ESTABLISHED,
	MODE_NEW,
	MODE_MEMORY,
	MODE_FLOOD,
	MODE_SIEGE,
	MODE_WORKERS,
};

static double zipf;

/* Ticks a second, by the time the run took. */
static uint64_t begin_ticks;
static struct timespec begin_time;

static double ticks_per_second(void)
{
	uint64_t spent = ticks() - begin_ticks;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)spent /
		((double)(now.tv_sec - begin_time.tv_sec) +
			(double)(now.tv_nsec - begin_time.tv_nsec) / 1e9);
}

static void print_array(const char *name, const double *v)
{
	printf(", \"%s\": [", name);
	for (uint32_t r = 0; r < rounds; r++)
		printf("%s%.4g", r == 0 ? "" : ", ", v[r]);
	printf("]");
}

static void print(enum mode mode)
{
	static const char *const traffic[] = {"plain", "dnat", "nodeport"};

	printf("{\"family\": \"%s\", \"proto\": \"%s\", \"traffic\": \"%s\", \"flows\": %u, "
	       "\"services\": %u, \"zipf\": %.2f, \"packets\": %llu, \"checked\": %llu, "
	       "\"ticks_per_second\": %.0f",
		h.v6 ? "ipv6" : "ipv4", h.tcp ? "tcp" : "udp", traffic[h.traffic], h.n_flows,
		h.n_services, zipf, (unsigned long long)harness_forwarded(),
		(unsigned long long)harness_checked(), ticks_per_second());
	print_array("samples", floor_only ? floors : samples);
	if (mode == MODE_ESTABLISHED || mode == MODE_NEW)
		print_array("means", means);
	if (mode == MODE_ESTABLISHED)
		print_array("floor", floors);
	printf("}\n");
}

static int parse_sizes(char *text)
{
	char *save = NULL;

	h.n_sizes = 0;
	for (char *p = strtok_r(text, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
		unsigned long v = strtoul(p, NULL, 0);

		if (h.n_sizes == SIZES_MAX || v < (h.v6 ? 82 : 60) || v > 1514)
			return -1;
		h.sizes[h.n_sizes++] = (uint16_t)v;
	}
	return 0;
}

/* What tuples, order, table and services take; the kernel may promise more than there is. */
static bool memory_suffices(void)
{
	uint64_t need = (uint64_t)h.n_flows * (h.v6 ? 420 : 320) + (uint64_t)h.n_services * 512;
	char line[128];
	uint64_t have = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "MemAvailable: %lu", &have) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return have == 0 || have * 1024 > need + (512u << 20);
}

static int run_mode(enum mode mode)
{
	if (harness_init(0) < 0)
		return -1;
	policy_init();
	switch (mode) {
	case MODE_NEW:
		return fresh();
	case MODE_MEMORY:
		return memory_per_flow();
	case MODE_FLOOD:
		return flooded(flooded_round);
	case MODE_SIEGE:
		return flooded(besieged_round);
	case MODE_WORKERS:
		return two_workers();
	case MODE_ESTABLISHED:
		break;
	}
	return established(zipf);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"flows", required_argument, NULL, 'f'},
		{"hot", required_argument, NULL, 'h'},
		{"services", required_argument, NULL, 'S'},
		{"rounds", required_argument, NULL, 'r'},
		{"bursts", required_argument, NULL, 'b'},
		{"v6", no_argument, NULL, '6'},
		{"tcp", no_argument, NULL, 't'},
		{"plain", no_argument, NULL, 'p'},
		{"nodeport", no_argument, NULL, 'N'},
		{"fragments", no_argument, NULL, 'F'},
		{"size", required_argument, NULL, 'B'},
		{"zipf", required_argument, NULL, 'z'},
		{"policy", no_argument, NULL, 'P'},
		{"marks", no_argument, NULL, 'M'},
		{"floor", no_argument, NULL, 'o'},
		{"small-pages", no_argument, NULL, 's'},
		{"new", no_argument, NULL, 'n'},
		{"memory", no_argument, NULL, 'm'},
		{"flood", required_argument, NULL, 'd'},
		{"siege", no_argument, NULL, 'G'},
		{"workers", required_argument, NULL, 'w'},
		{0},
	};
	enum mode mode = MODE_ESTABLISHED;
	char *sizes = NULL;
	int opt;

	begin_ticks = ticks();
	clock_gettime(CLOCK_MONOTONIC, &begin_time);
	h.n_flows = 10000;
	h.huge = true;
	h.n_cores = 1;
	h.traffic = TRAFFIC_DNAT;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint32_t number = optarg != NULL ? (uint32_t)strtoul(optarg, NULL, 0) : 0;

		switch (opt) {
		case 'f':
			h.n_flows = number;
			break;
		case 'h':
			h.n_hot = number;
			break;
		case 'S':
			h.n_services = number;
			break;
		case 'r':
			rounds = number;
			break;
		case 'b':
			bursts = number;
			break;
		case '6':
			h.v6 = true;
			break;
		case 't':
			h.tcp = true;
			break;
		case 'p':
			h.traffic = TRAFFIC_PLAIN;
			break;
		case 'N':
			h.traffic = TRAFFIC_NODEPORT;
			break;
		case 'F':
			h.fragments = true;
			break;
		case 'B':
			sizes = optarg;
			break;
		case 'z':
			zipf = strtod(optarg, NULL);
			break;
		case 'P':
			with_policy = true;
			break;
		case 'M':
			h.marks = true;
			break;
		case 'o':
			floor_only = true;
			break;
		case 's':
			h.huge = false;
			break;
		case 'n':
			mode = MODE_NEW;
			break;
		case 'm':
			mode = MODE_MEMORY;
			break;
		case 'd':
			mode = MODE_FLOOD;
			flood_bursts = number;
			break;
		case 'G':
			mode = MODE_SIEGE;
			break;
		case 'w':
			mode = MODE_WORKERS;
			h.n_cores = number;
			break;
		default:
			return 2;
		}
	}
	if (rounds == 0 || rounds > ROUNDS_MAX || bursts == 0 || bursts > BURSTS_MAX ||
		h.n_flows == 0 || h.n_hot > h.n_flows || flood_bursts == 0 ||
		flood_bursts >= FLOOD_BURSTS || (h.marks && (h.n_hot == 0 || h.n_hot > 32766)) ||
		(mode == MODE_WORKERS && h.n_cores != CORES_MAX) ||
		(sizes != NULL && parse_sizes(sizes) < 0)) {
		fprintf(stderr,
			"bench_pipeline: 1 to %d rounds, 1 to %d bursts, at least one flow, two "
			"workers, frames of at most 1514 bytes\n",
			ROUNDS_MAX, BURSTS_MAX);
		return 2;
	}
	if (!memory_suffices() || (h.n_cores > 1 && sysconf(_SC_NPROCESSORS_ONLN) < 2)) {
		printf("not enough memory or processors\n");
		return ABSENT;
	}
	if (run_mode(mode) < 0)
		return 1;
	print(mode);
	return 0;
}
