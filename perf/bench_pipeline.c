/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The pipeline in one process (harness.h): established flows, or new ones.
 *
 *	bench_pipeline [--flows N] [--rounds N] [--bursts N] [--v6] [--tcp] [--plain] [--zipf S]
 *		[--small-pages] [--new] [--memory] [--flood]
 *
 * Prints one line of JSON: ticks a packet (a flow with --new) of every round's median burst,
 * their means, and those of the source alone. Every packet has to be forwarded and every checked
 * one has to be right, or there is no number. --memory: bytes of the table a flow when four places
 * in five are taken, with that many flows established. --flood: established packets beside a flood
 * of first ones, as a ratio. With --new each packet is the first of a flow, flows live a fixed time
 * and the sweep runs, so that as many expire as begin. Under callgrind (--toggle-collect=measured)
 *instructions a packet are exact. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "perf/harness.h"
#include "perf/ticks.h"

#define ROUNDS_MAX   1000
#define BURSTS_MAX   100000
#define FLOOD_BURSTS 2000

static double samples[ROUNDS_MAX], means[ROUNDS_MAX], floors[ROUNDS_MAX];
static uint64_t by_burst[BURSTS_MAX]; /* of a round, by burst */
static uint32_t rounds = 15, bursts = 2000;

/* gcc clones functions under other names unless told noipa; clang does not, and knows no noipa. */
#if defined(__clang__)
#define ALONE __attribute__((noinline))
#else
#define ALONE __attribute__((noipa))
#endif

/* Under this name for callgrind. */
ALONE static void measured(struct burst *b)
{
	pipeline_run(&h.w, b);
}

/* In the place of a pipeline, for the price of measuring. */
ALONE static void nothing(struct burst *b)
{
	b->to.classify = 0;
}

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

/* Ticks a packet: the median burst goes to *middle, the mean is returned. */
static double run_round(uint32_t *at, void (*run)(struct burst *b), double *middle)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < bursts; i++) {
		uint64_t t0;

		harness_fill(*at);
		*at = *at + BURST >= h.n_order ? 0 : *at + BURST;
		t0 = ticks();
		run(&h.w.burst);
		by_burst[i] = ticks() - t0;
		sum += by_burst[i];
	}
	*middle = median(by_burst, bursts) / BURST;
	return (double)sum / ((double)bursts * BURST);
}

static int established(double zipf)
{
	uint32_t packets = h.n_flows * 2 < 1u << 20 ? 1u << 20 : h.n_flows * 2;
	uint64_t sent = (uint64_t)rounds * bursts * BURST;
	uint32_t at = 0;

	harness_establish();
	harness_order(zipf, packets);
	for (uint32_t r = 0; r < rounds; r++) {
		uint32_t before = at;

		run_round(&at, nothing, &floors[r]);
		at = before;
		means[r] = run_round(&at, measured, &samples[r]);
	}
	if (h.forwarded == sent && h.wrong == 0 && h.checked != 0 && harness_created() == h.n_flows)
		return 0;
	harness_complain(sent);
	return -1;
}

/* Time runs so that all tuples are used once in PASS_MS. A flow lives for a quarter of that and is
 * swept within a second more, so no tuple comes again before its flow is gone, and a quarter to
 * three quarters of the flows are live. */
#define PASS_MS 2000

static int fresh(void)
{
	struct flow_timeouts life = {0};
	uint64_t sent = 0;
	uint32_t at = 0, period;

	for (int c = 0; c < FLOW_CLASSES; c++)
		for (int s = 0; s < FLOW_STATES; s++)
			life.ms[c][s] = PASS_MS / 4;
	harness_order_first();
	h.tcp_flags = h.tcp ? TCP_SYN : 0;
	/* One pass to fill the table, then the measured rounds. */
	for (uint32_t r = 0; r <= rounds; r++) {
		uint32_t n = r == 0 ? h.n_order / BURST : bursts;
		uint64_t sum = 0;

		for (uint32_t i = 0; i < n; i++) {
			uint64_t t0;

			harness_fill(at);
			at = at + BURST >= h.n_order ? 0 : at + BURST;
			sent += BURST;
			h.w.now_ms = 5000 + (uint32_t)(sent * PASS_MS / h.n_flows);
			t0 = ticks();
			measured(&h.w.burst);
			for (int n_sweeps = 0; n_sweeps < 3; n_sweeps++)
				flow_sweep(h.dp.flows, 0, h.w.now_ms, &life);
			period = grace_open(&h.dp.grace);
			grace_complete(&h.dp.grace, period);
			t0 = ticks() - t0;
			sum += t0;
			if (r > 0)
				by_burst[i] = t0;
		}
		if (r == 0)
			continue;
		samples[r - 1] = median(by_burst, n) / BURST;
		means[r - 1] = (double)sum / ((double)n * BURST);
	}
	if (h.forwarded == sent && harness_created() == sent)
		return 0;
	harness_complain(sent);
	return -1;
}

static void beside_bursts(uint32_t now_ms)
{
	uint32_t period;

	h.w.now_ms = now_ms;
	flow_sweep(h.dp.flows, 0, now_ms, &h.w.snap.tunables->timeouts);
	period = grace_open(&h.dp.grace);
	grace_complete(&h.dp.grace, period);
}

static uint64_t established_burst(uint32_t *at, uint64_t *lost)
{
	uint64_t created = harness_created(), forwarded = h.forwarded, t0, spent;

	harness_fill(*at);
	*at = *at + BURST >= h.n_order ? 0 : *at + BURST;
	t0 = ticks();
	measured(&h.w.burst);
	spent = ticks() - t0;
	*lost += BURST - (h.forwarded - forwarded) + (harness_created() - created);
	return spent;
}

/* Two established bursts, a burst of strangers, two established ones, ...: the ticks of the first
 * behind strangers over those of the other, turn by turn, so that both meet the same machine.
 * Medians, because a burst that another process interrupts takes as long as the whole round. */
static double flooded_round(uint32_t *at, uint64_t *strangers, uint64_t *lost)
{
	static uint64_t flood[FLOOD_BURSTS], quiet[FLOOD_BURSTS];

	for (uint32_t i = 0; i < FLOOD_BURSTS; i++) {
		harness_fill_strangers((uint32_t)(*strangers % h.n_flows));
		*strangers += BURST;
		measured(&h.w.burst);
		beside_bursts(5000 + (uint32_t)(*strangers / 2500));
		flood[i] = established_burst(at, lost);
		quiet[i] = established_burst(at, lost);
	}
	return median(flood, FLOOD_BURSTS) / median(quiet, FLOOD_BURSTS);
}

/* What a flood of first packets, soon more than the table has room for, does to established flows.
 * *lost: packets that did not come out, or found their flow gone. */
static int flooded(void)
{
	uint64_t lost = 0, strangers = 0;
	uint32_t at = 0;

	harness_establish();
	harness_order(0, h.n_flows * 2 < 1u << 20 ? 1u << 20 : h.n_flows * 2);
	/* Until the table is full. */
	while (strangers < h.n_flows)
		flooded_round(&at, &strangers, &lost);
	for (uint32_t r = 0; r < rounds; r++)
		samples[r] = flooded_round(&at, &strangers, &lost);
	if (lost == 0 && h.wrong == 0)
		return 0;
	fprintf(stderr, "%llu established packets lost or without their flow\n",
		(unsigned long long)lost);
	harness_complain(0);
	return -1;
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

static void print_array(const char *name, const double *v)
{
	printf(", \"%s\": [", name);
	for (uint32_t r = 0; r < rounds; r++)
		printf("%s%.2f", r == 0 ? "" : ", ", v[r]);
	printf("]");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"flows", required_argument, NULL, 'f'},
		{"rounds", required_argument, NULL, 'r'},
		{"bursts", required_argument, NULL, 'b'},
		{"v6", no_argument, NULL, '6'},
		{"tcp", no_argument, NULL, 't'},
		{"plain", no_argument, NULL, 'p'},
		{"zipf", required_argument, NULL, 'z'},
		{"small-pages", no_argument, NULL, 's'},
		{"new", no_argument, NULL, 'n'},
		{"memory", no_argument, NULL, 'm'},
		{"flood", no_argument, NULL, 'd'},
		{0},
	};
	bool new_flows = false, memory = false, flood = false;
	double zipf = 0;
	int opt, rc;

	h.n_flows = 10000;
	h.huge = true;
	h.traffic = TRAFFIC_DNAT;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'f')
			h.n_flows = (uint32_t)strtoul(optarg, NULL, 0);
		else if (opt == 'r')
			rounds = (uint32_t)strtoul(optarg, NULL, 0);
		else if (opt == 'b')
			bursts = (uint32_t)strtoul(optarg, NULL, 0);
		else if (opt == '6')
			h.v6 = true;
		else if (opt == 't')
			h.tcp = true;
		else if (opt == 'p')
			h.traffic = TRAFFIC_PLAIN;
		else if (opt == 'z')
			zipf = strtod(optarg, NULL);
		else if (opt == 's')
			h.huge = false;
		else if (opt == 'n')
			new_flows = true;
		else if (opt == 'm')
			memory = true;
		else if (opt == 'd')
			flood = true;
		else
			return 2;
	}
	if (rounds == 0 || rounds > ROUNDS_MAX || bursts == 0 || bursts > BURSTS_MAX ||
		h.n_flows == 0) {
		fprintf(stderr,
			"bench_pipeline: 1 to %d rounds, 1 to %d bursts, at least one flow\n",
			ROUNDS_MAX, BURSTS_MAX);
		return 2;
	}
	if (harness_init(0) < 0)
		return 1;
	if (memory)
		rc = memory_per_flow();
	else if (flood)
		rc = flooded();
	else
		rc = new_flows ? fresh() : established(zipf);
	if (rc < 0)
		return 1;
	printf("{\"family\": \"%s\", \"proto\": \"%s\", \"traffic\": \"%s\", \"flows\": %u, "
	       "\"zipf\": %.2f, \"packets\": %llu, \"checked\": %llu",
		h.v6 ? "ipv6" : "ipv4", h.tcp ? "tcp" : "udp",
		h.traffic == TRAFFIC_PLAIN ? "plain" : "dnat", h.n_flows, zipf,
		(unsigned long long)rounds * bursts * BURST, (unsigned long long)h.checked);
	print_array("samples", samples);
	if (!memory && !flood)
		print_array("means", means);
	if (!new_flows && !memory && !flood)
		print_array("floor", floors);
	printf("}\n");
	return 0;
}
