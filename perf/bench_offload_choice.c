/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which flows are chosen for hardware, in virtual time. The device is emulated, and so is every
 * figure's "hardware".
 *
 *	bench_offload_choice [--flows N] [--slots N] [--mpps N] [--rounds N] [--rate N] [ZIPF ...]
 *
 * N flows of one direction, a slot each, share N million packets a second by Zipf's law with each
 *of the exponents. What a worker sees of them it nominates, and what the device has rules for it
 *does not see; the device takes N thousand rules a second. Samples are the share of packets in
 *hardware at an instant over that of an oracle with as many slots; beside it the share of first
 *come, first served: every flow takes a slot with its very first packet, as fast as the device
 *takes rules, until none is left; and the flows a second that left hardware for others. One thread;
 *one JSON line. */

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/offload_lab.h"
#include "offload/offload.h"

#define ROUNDS_MAX 16
#define LAWS_MAX   8
#define STEP_MS    1
/* Packets that one draw stands for: as many as the closest look of a worker. */
#define DRAW_SHIFT OFFLOAD_SHIFT_MIN
#define PARTS      65536

static const uint32_t instants[] = {100, 200, 500, 1000, 2000, 5000, 10000}; /* ms */

#define INSTANTS (sizeof(instants) / sizeof(instants[0]))

/* Of one exponent. */
struct law {
	double zipf, oracle;
	double chosen[INSTANTS][ROUNDS_MAX], first[INSTANTS][ROUNDS_MAX];
	double churn[ROUNDS_MAX]; /* of the slots, a second: the most in one */
};

static struct law laws[LAWS_MAX];
static uint32_t n_laws, n_flows = 1000000, slots = 65536, rounds = 1, rate = 600;
static double mpps = 40;

static void die(const char *what)
{
	fprintf(stderr, "bench_offload_choice: %s\n", what);
	exit(1);
}

static struct lab lab;
static double *upto;              /* [rank]: share of packets of the first so many */
static uint32_t *entries;         /* [rank] */
static uint32_t guide[PARTS + 1]; /* where the rank of a number lies, by its first bits */
static uint64_t state;

static double uniform(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double)(state >> 11) / (double)(UINT64_C(1) << 53);
}

static uint32_t draw(void)
{
	double x = uniform();
	uint32_t part = (uint32_t)(x * PARTS);
	uint32_t low = guide[part], high = guide[part + 1];

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (upto[mid] > x)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static double share_of(uint32_t rank)
{
	return upto[rank] - (rank != 0 ? upto[rank - 1] : 0);
}

static void law_init(double zipf)
{
	double sum = 0;

	for (uint32_t r = 0; r < n_flows; r++)
		upto[r] = sum += pow(r + 1, -zipf);
	for (uint32_t r = 0; r < n_flows; r++)
		upto[r] /= sum;
	for (uint32_t part = 0, r = 0; part <= PARTS; part++) {
		while (r < n_flows - 1 && upto[r] <= (double)part / PARTS)
			r++;
		guide[part] = r;
	}
}

/* Which flow has which rank is random. */
static void flows_init(void)
{
	for (uint32_t r = 0; r < n_flows; r++) {
		entries[r] = lab_flow(&lab, IP_V4, IP_PROTO_UDP, r);
		if (entries[r] == FLOW_NONE)
			die("flow table full");
	}
	for (uint32_t r = n_flows - 1; r > 0; r--) {
		uint32_t other = (uint32_t)(uniform() * (r + 1)), e = entries[r];

		entries[r] = entries[other];
		entries[other] = e;
	}
}

static double in_hardware(void)
{
	double share = 0;

	for (uint32_t r = 0; r < n_flows; r++)
		if (offload_word_state(lab_word(&lab, IP_V4, entries[r], DIR_FORWARD)) ==
			OFFLOAD_HARDWARE)
			share += share_of(r);
	return share;
}

/* Every flow takes a slot with its first packet until none is left: the share at each instant. */
static void first_come(double oracle, double out[INSTANTS][ROUNDS_MAX], uint32_t round)
{
	uint8_t *has = calloc(n_flows, 1);
	double share = 0, packets = 0;
	uint32_t n = 0;

	if (has == NULL)
		die("no memory");
	for (uint32_t i = 0; i < INSTANTS; i++) {
		double come = mpps * 1e3 * instants[i];
		uint64_t may = (uint64_t)rate * instants[i];

		for (; n < slots && n < may && packets < come; packets++) {
			uint32_t r = draw();

			if (has[r])
				continue;
			has[r] = 1;
			share += share_of(r);
			n++;
		}
		out[i][round] = share / oracle;
	}
	free(has);
}

/* Packets of a millisecond: the e-switch forwards what it has rules for, and of the others one in
 * 2^shift is a nomination. */
static void traffic(double *owed, uint32_t *credit)
{
	uint32_t shift = atomic_load(&lab.dp.offload_shift);

	*owed += mpps * 1e6 * STEP_MS / 1000 / (1 << DRAW_SHIFT);
	for (; *owed >= 1; *owed -= 1) {
		uint32_t entry = entries[draw()];

		if (lab_packet(&lab, IP_V4, entry, DIR_FORWARD, 0, 1 << DRAW_SHIFT))
			continue;
		if (++*credit < 1u << (shift - DRAW_SHIFT))
			continue;
		*credit = 0;
		lab_nominate(&lab, IP_V4, entry, DIR_FORWARD, 1);
	}
}

static void run_ms(uint32_t ms)
{
	static uint32_t credit;
	double owed = 0;

	for (uint32_t t = 0; t < ms; t += STEP_MS) {
		traffic(&owed, &credit);
		lab_run_ms(&lab, STEP_MS);
	}
}

static void run_round(struct law *l, uint32_t round)
{
	struct lab_config cfg;
	uint64_t evicted = 0;
	uint32_t ms = 0;

	state = UINT64_C(0x9e3779b97f4a7c15) * (round + 1);
	lab_config_default(&cfg);
	cfg.flows = n_flows;
	cfg.capacity = slots;
	cfg.offload.inserts_max = rate * 10;
	if (lab_init(&lab, &cfg) < 0)
		die("no memory");
	flows_init();
	for (uint32_t i = 0; i < INSTANTS; i++) {
		while (ms < instants[i]) {
			uint32_t step = instants[i] - ms < 1000 ? instants[i] - ms : 1000;
			double gone;

			run_ms(step);
			ms += step;
			gone = (double)(lab.e->stats.evicted - evicted) * 1000 / step / slots;
			evicted = lab.e->stats.evicted;
			if (gone > l->churn[round])
				l->churn[round] = gone;
		}
		l->chosen[i][round] = in_hardware() / l->oracle;
	}
	if (offload_fake_rules(lab.fake, OFFLOAD_NO_PORT) != lab.e->cap.used)
		die("the device's rules are not the engine's");
	lab_fini(&lab);
	first_come(l->oracle, l->first, round);
}

static void print_samples(const double *samples)
{
	for (uint32_t i = 0; i < rounds; i++)
		printf("%s%.4f", i ? ", " : "", samples[i]);
}

static void print_case(const char *sep, const struct law *l, const char *what, const char *when,
	const double *samples)
{
	printf("%s\"zipf %.1f %s%s\": {\"status\": \"ok\", \"samples\": [", sep, l->zipf, what,
		when);
	print_samples(samples);
	printf("]}");
}

static void print_all(void)
{
	printf("{\"emulated\": true, \"flows\": %u, \"slots\": %u, \"mpps\": %.0f, "
	       "\"rules a second\": %u, \"results\": {",
		n_flows, slots, mpps, rate * 1000);
	for (uint32_t n = 0; n < n_laws; n++) {
		const struct law *l = &laws[n];

		print_case(n != 0 ? ", " : "", l, "exchanged a second", "", l->churn);
		for (uint32_t i = 0; i < INSTANTS; i++) {
			char when[32];

			snprintf(when, sizeof(when), ", %.1f s", instants[i] / 1000.0);
			print_case(", ", l, "chosen", when, l->chosen[i]);
			print_case(", ", l, "first come", when, l->first[i]);
		}
	}
	printf("}}\n");
}

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{"flows", required_argument, NULL, 'f'},
		{"slots", required_argument, NULL, 'n'},
		{"mpps", required_argument, NULL, 'm'},
		{"rounds", required_argument, NULL, 'r'},
		{"rate", required_argument, NULL, 'i'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'f')
			n_flows = (uint32_t)atof(optarg);
		else if (opt == 'n')
			slots = (uint32_t)atof(optarg);
		else if (opt == 'm')
			mpps = atof(optarg);
		else if (opt == 'r')
			rounds = (uint32_t)atoi(optarg);
		else if (opt == 'i')
			rate = (uint32_t)atof(optarg);
		else
			exit(2);
	}
	for (; optind < argc && n_laws < LAWS_MAX; optind++)
		laws[n_laws++].zipf = atof(argv[optind]);
	if (n_laws == 0 || rounds == 0 || rounds > ROUNDS_MAX || slots == 0 || slots >= n_flows ||
		mpps <= 0 || rate == 0 || rate > 6500) {
		fputs("usage: bench_offload_choice [--flows N] [--slots N] [--mpps N] [--rounds N] "
		      "[--rate THOUSANDS] ZIPF ...\n",
			stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	options_read(argc, argv);
	upto = malloc(n_flows * sizeof(*upto));
	entries = malloc(n_flows * sizeof(*entries));
	if (upto == NULL || entries == NULL)
		die("no memory");
	for (uint32_t n = 0; n < n_laws; n++) {
		law_init(laws[n].zipf);
		laws[n].oracle = upto[slots - 1];
		for (uint32_t round = 0; round < rounds; round++)
			run_round(&laws[n], round);
	}
	print_all();
	return 0;
}
