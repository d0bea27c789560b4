/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A rim with a trivial pipeline, for the tests of dataplane/io: every frame goes back with its MACs
 * swapped, to the vport that lab_out names. Include in one file of a program only; one rim a
 * process, because EAL starts once. The workers run the pipeline, the test's thread is control. */

#pragma once

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "io/rim.h"
#include "unit/harness.h"

#define LAB_WORKERS   2
#define LAB_SLEEP_MS  30000
#define LAB_ETHERTYPE 0x88b5 /* for local experiments (IEEE 802) */
#define LAB_HOLD      0x88b6

static struct rim *lab_rim;
static struct rim_error lab_err;

/* Where frames of a vport leave: 0 means the same vport, LAB_SINK that they end there. */
#define LAB_SINK UINT16_MAX
static _Atomic uint16_t lab_out[VPORTS_MAX];

static void lab_swap_macs(uint8_t *eth)
{
	uint8_t dst[6];

	memcpy(dst, eth, 6);
	memcpy(eth, eth + 6, 6);
	memcpy(eth + 6, dst, 6);
}

static uint16_t lab_ethertype(const struct burst *b, lanes_t i)
{
	const uint8_t *d = b->data[i];

	if (d[12] == 0x81 && d[13] == 0)
		d += 4;
	return (uint16_t)(d[12] << 8 | d[13]);
}

/* The counting is what classify and transmit do in the real compositions. */
static void lab_run(struct worker *w, struct burst *b)
{
	lanes_t in = b->to.classify, out = 0;

	b->to.classify = 0;
	lanes_foreach (i, in) {
		struct vport_counters *c = &w->counters.vport[b->in_vport[i]];
		uint16_t to = atomic_load(&lab_out[b->in_vport[i]]);

		w->counters.received++;
		c->rx_packets++;
		c->rx_bytes += b->len[i];
		if (lab_ethertype(b, i) == LAB_HOLD && w->held_count < HOLD_MAX) {
			w->held[w->held_count++].buf = b->buf[i];
			continue;
		}
		if (to == LAB_SINK) {
			lane_drop(b, i, DROP_LocalUnsupported);
			continue;
		}
		lab_swap_macs(b->data[i]);
		b->out_vport[i] = to == 0 ? b->in_vport[i] : to;
		c = &w->counters.vport[b->out_vport[i]];
		c->tx_packets++;
		c->tx_bytes += b->len[i];
		out |= LANE(i);
	}
	if (out != 0)
		w->io->transmit(w, b, out);
	if (b->to.drop != 0) {
		w->counters.drops[DROP_LocalUnsupported] +=
			(uint64_t)__builtin_popcountll(b->to.drop);
		w->io->free_lanes(w, b, b->to.drop);
		b->to.drop = 0;
	}
}

/* Worker 1 stops here once, behind its mailbox and before it thinks of sleep. */
static _Atomic enum {
	LAB_RUNS,
	LAB_STOP,
	LAB_STOPPED
} lab_gate;

static void lab_tick(struct worker *w)
{
	if (w->id != 1 || atomic_load(&lab_gate) != LAB_STOP)
		return;
	atomic_store(&lab_gate, LAB_STOPPED);
	while (atomic_load(&lab_gate) == LAB_STOPPED)
		;
}

static void lab_drain(struct worker *w)
{
	while (w->held_count > 0) {
		w->counters.drops[DROP_Draining]++;
		w->io->free_one(w, w->held[--w->held_count].buf);
	}
}

struct lab_totals {
	uint64_t received, sent, originated, drops, held;
	uint64_t by_reason[DROP_REASONS];
};

static struct lab_totals lab_totals(void)
{
	const struct dataplane *dp = rim_dataplane(lab_rim);
	struct lab_totals t = {0};

	for (uint32_t n = 0; n < dp->n_workers; n++) {
		const volatile struct worker *w = dp->workers[n];

		t.received += w->counters.received;
		t.sent += w->counters.sent;
		t.originated += w->counters.originated;
		t.held += w->held_count;
		for (uint32_t r = 0; r < DROP_REASONS; r++) {
			t.by_reason[r] += w->counters.drops[r];
			t.drops += w->counters.drops[r];
		}
	}
	return t;
}

static bool lab_balanced(void)
{
	struct lab_totals t = lab_totals();

	return t.received + t.originated == t.sent + t.drops + t.held;
}

__attribute__((unused)) static uint64_t lab_vport_rx(uint16_t vport)
{
	const struct dataplane *dp = rim_dataplane(lab_rim);
	uint64_t n = 0;

	for (uint32_t w = 0; w < dp->n_workers; w++)
		n += ((const volatile struct worker *)dp->workers[w])
			     ->counters.vport[vport]
			     .rx_packets;
	return n;
}

static uint32_t lab_in_use(void)
{
	uint32_t in_use, total;

	rim_buffers(lab_rim, &in_use, &total);
	return in_use;
}

static uint64_t lab_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void lab_pause(void)
{
	struct timespec ts = {.tv_nsec = 200000};

	if (lab_rim != NULL)
		rim_poll(lab_rim);
	nanosleep(&ts, NULL);
}

/* Polls a condition, at most ten seconds. */
#define WAIT_FOR(cond)                                                    \
	({                                                                \
		uint64_t wait_end_ = lab_us() + 10000000;                 \
		bool wait_ok_;                                            \
                                                                          \
		while (!(wait_ok_ = (cond)) && lab_us() < wait_end_)      \
			lab_pause();                                      \
		CHECK_TEXT_(wait_ok_, 0, "never became true: %s", #cond); \
		wait_ok_;                                                 \
	})

/* The same without a pause and without a word to the rim. */
#define WAIT_SPIN(cond)                                                   \
	({                                                                \
		uint64_t wait_end_ = lab_us() + 10000000;                 \
		bool wait_ok_;                                            \
                                                                          \
		while (!(wait_ok_ = (cond)) && lab_us() < wait_end_)      \
			;                                                 \
		CHECK_TEXT_(wait_ok_, 0, "never became true: %s", #cond); \
		wait_ok_;                                                 \
	})

static void lab_log(void *arg, enum rim_log_level level, const char *text)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	if (level <= RIM_LOG_WARNING || getenv("SLUICE_TEST_LOG") != NULL)
		fprintf(stderr, "  [%s] %s\n", names[level], text);
}

static struct rim_config lab_config(void)
{
	static const char *const talk[] = {"--log-level=pmd.*:debug", NULL};
	struct rim_config cfg;

	rim_config_default(&cfg);
	if (getenv("SLUICE_TEST_LOG") != NULL)
		cfg.eal_args = talk;
	cfg.hugepages = RIM_HUGEPAGES_OFF;
	cfg.buffers = 8192;
	cfg.n_workers = LAB_WORKERS;
	cfg.flows[IP_V4] = cfg.flows[IP_V6] = 1024;
	/* A wake-up that is lost is a frame that does not come before WAIT_FOR() ends. */
	cfg.idle.wait_max_ms = LAB_SLEEP_MS;
	cfg.run = lab_run;
	cfg.tick = lab_tick;
	cfg.drain = lab_drain;
	cfg.log = lab_log;
	return cfg;
}

/* The process's rim, started by the first case that asks. */
static struct rim *lab(void)
{
	struct rim_config cfg = lab_config();

	if (lab_rim != NULL)
		return lab_rim;
	if (rim_start(&cfg, &lab_rim, &lab_err) != 0) {
		fprintf(stderr, "rim_start: %s\n", lab_err.text);
		exit(1);
	}
	return lab_rim;
}

static int lab_port(const struct rim_port_config *cfg)
{
	uint16_t index;
	int rc = rim_port_add(lab(), cfg, &index, &lab_err);

	CHECK_TEXT_(rc == 0, 1, "port %s: %s", cfg->name, lab_err.text);
	return index;
}

static void lab_vport(uint16_t id, int port, uint16_t vlan)
{
	struct rim_vport vp = {.id = id, .port = (uint16_t)port, .vlan = vlan};
	int rc = rim_vport_add(lab(), &vp, &lab_err);

	CHECK_TEXT_(rc == 0, 1, "vport %u: %s", id, lab_err.text);
}

static void lab_port_gone(int port)
{
	int rc = rim_port_remove(lab(), (uint16_t)port, &lab_err);

	CHECK_TEXT_(rc == 0, 0, "port %d: %s", port, lab_err.text);
}

__attribute__((unused)) static void refuse(struct rim_port_config cfg, const char *text)
{
	uint16_t index;

	lab_err.text[0] = '\0';
	CHECK_LT(rim_port_add(lab(), &cfg, &index, &lab_err), 0);
	CHECK_HAS(lab_err.text, text);
}

__attribute__((unused)) static bool lab_up(int port)
{
	struct rim_port_info info[RIM_PORTS_MAX];
	uint32_t n = rim_port_list(lab_rim, info, RIM_PORTS_MAX);

	for (uint32_t i = 0; i < n; i++)
		if (info[i].index == port)
			return info[i].up;
	return false;
}

/* How often workers slept, all together; 0 unless all sleep now. */
__attribute__((unused)) static uint64_t lab_asleep(void)
{
	uint64_t sleeps = 1;

	for (uint32_t n = 0; n < LAB_WORKERS; n++) {
		struct rim_worker_info info;

		if (rim_worker_info(lab_rim, n, &info) != 0 || !info.asleep)
			return 0;
		sleeps += info.sleeps;
	}
	return sleeps;
}

/* Not a pause: what happens at the end of it shall meet every step of a worker that goes to sleep,
 * which takes it microseconds. */
__attribute__((unused)) static void lab_spin_ns(uint64_t ns)
{
	struct timespec ts;
	uint64_t now, end = 0;

	do {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		end = end == 0 ? now + ns : end;
	} while (now < end);
}

/* A frame with a number in it; returns its length. */
static uint16_t lab_frame(uint8_t *out, uint16_t vlan, uint16_t type, uint32_t number)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	uint16_t at = 12;

	memset(out, 0, 64);
	memcpy(out, macs, 12);
	if (vlan != 0) {
		out[at++] = 0x81;
		out[at++] = 0;
		out[at++] = (uint8_t)(vlan >> 8);
		out[at++] = (uint8_t)vlan;
	}
	out[at++] = (uint8_t)(type >> 8);
	out[at++] = (uint8_t)type;
	memcpy(out + at, &number, sizeof(number));
	return 64;
}

/* Last case of every program: all that came in went out, and every buffer is back. */
static void stops_and_every_buffer_is_back(void)
{
	lab();
	CHECK_EQ(rim_drain(lab_rim, 5000), 0);
	CHECK(lab_balanced());
	CHECK_EQ(lab_totals().held, 0);
	CHECK_EQ(rim_stop(lab_rim), 0);
	lab_rim = NULL;
}

/* One frame into vport 1; has one come back since? */
static inline bool probe_returned(uint64_t before)
{
	uint8_t frame[64];

	lab_frame(frame, 0, LAB_ETHERTYPE, 0);
	rim_inject(lab_rim, 1, frame, 64);
	return lab_vport_rx(1) != before;
}
