/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The daemon's worker loop on DPDK ports: its floor, its latency, its idling.
 *
 *	bench_rim floor FILE FILE [--seconds S] [--no-huge]
 *	bench_rim latency [--load PERCENT] [--seconds S]
 *	bench_rim idle [KIND] [--seconds S]
 *
 * floor: two pcap ports that play files for ever; every frame goes to the other port with its MACs
 * swapped, and nothing else happens: what the rim costs beside testpmd's macswap. latency: the
 * harness's world between two rings, half of the packets replies; a frame carries the time it was
 *put into the ring of its port, and is looked at as soon as the other ring has it, so the figure
 *holds the wire's own turn as well. idle: see bench_rim_idle.c. Idling is as the daemon's
 *configuration has it by default. Every packet has to come out, and one a thousand is checked
 *whole. One line of JSON. The main thread is the wire, on CPU 0; the worker is on the last CPU.
 *Ends with 77 on a machine with one. */

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>

#include "control/config.h"
#include "io/rim.h"
#include "perf/bench_rim.h"
#include "perf/harness.h"

#define ABSENT    77
#define RING_SIZE 2048
/* Holds all that can be on its way, should the wire be kept from looking. */
#define OUT_SIZE    16384
#define FLOWS       10048
#define WINDOW_S    0.002
#define WINDOWS_MAX 2000

struct rim *rim;
double seconds = 2;
static uint32_t load_percent = 50;
static bool quit_loud, ordinary_memory;

_Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "bench_rim: %s: %s\n", what, why);
	exit(1);
}

static void no_log(void *arg, enum rim_log_level level, const char *text)
{
	if (level <= RIM_LOG_WARNING && quit_loud)
		fprintf(stderr, "%s\n", text);
}

static void idle_as_daemon(struct rim_config *rc)
{
	static const char text[] = "apiVersion: sluice/v1\nkind: Config\n";
	struct config_errors errors = {0};
	struct config *c;

	if (config_load_text("bench", text, sizeof(text) - 1, &c, &errors) < 0)
		fail("configuration", errors.text);
	rc->idle.spin_us = c->workers.idle_spin_us;
	rc->idle.sleep_min_us = c->workers.idle_sleep_min_us;
	rc->idle.sleep_max_us = c->workers.idle_sleep_max_us;
	config_free(c);
}

void pin(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void start(void (*run)(struct worker *w, struct burst *b), void (*tick)(struct worker *w))
{
	struct rim_error err = {""};
	struct rim_config cfg;

	rim_config_default(&cfg);
	idle_as_daemon(&cfg);
	cfg.run = run;
	cfg.tick = tick;
	cfg.log = no_log;
	cfg.buffers = 32768;
	if (ordinary_memory)
		cfg.hugepages = RIM_HUGEPAGES_OFF;
	cfg.cpu[0] = (int16_t)(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (rim_start(&cfg, &rim, &err) < 0)
		fail("start", err.text);
	pin(0);
}

struct worker_counters *counters(void)
{
	return &rim_dataplane(rim)->workers[0]->counters;
}

static uint64_t load(const uint64_t *v)
{
	return *(const volatile uint64_t *)v;
}

uint64_t dropped(void)
{
	uint64_t n = 0;

	for (int r = 0; r < DROP_REASONS; r++)
		n += load(&counters()->drops[r]);
	return n;
}

void add_vport(uint16_t id, uint16_t port)
{
	struct rim_vport v = {.id = id, .port = port};
	struct rim_error err = {""};

	if (rim_vport_add(rim, &v, &err) < 0)
		fail("vport", err.text);
}

void pause_ms(uint32_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

static int worker_thread(void)
{
	static int found;
	char path[64], comm[32];

	for (int tid = getpid(); found == 0 && tid < getpid() + 256; tid++) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		if (fgets(comm, sizeof(comm), f) != NULL && strncmp(comm, "sluice-w0", 9) == 0)
			found = tid;
		fclose(f);
	}
	if (found == 0)
		fail("worker", "no thread sluice-w0");
	return found;
}

/* CPU time of the worker's thread, in seconds. */
double worker_cpu(void)
{
	char path[64];
	uint64_t ns;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", worker_thread());
	f = fopen(path, "r");
	if (f == NULL || fscanf(f, "%lu", &ns) != 1)
		fail(path, strerror(errno));
	fclose(f);
	return (double)ns / 1e9;
}

/* --- floor --------------------------------------------------------------------------------------
 */

static void swap_macs(struct worker *w, struct burst *b)
{
	lanes_t in = b->to.classify;

	b->to.classify = 0;
	lanes_foreach (i, in) {
		uint8_t *f = b->data[i], mac[6];

		memcpy(mac, f, 6);
		memcpy(f, f + 6, 6);
		memcpy(f + 6, mac, 6);
		b->out_vport[i] = 3 - b->in_vport[i];
	}
	COUNT(w->counters.received, lanes_count(in));
	w->io->transmit(w, b, in);
}

static void floor_of(char **files)
{
	const uint32_t n = 10;
	uint64_t packets, busy, all;
	double cpu;

	start(swap_macs, NULL);
	for (uint16_t p = 0; p < 2; p++) {
		struct rim_port_config cfg = {.kind = RIM_PORT_PCAP, .devargs = "infinite_rx=1"};
		struct rim_error err = {""};
		uint16_t port;

		snprintf(cfg.name, sizeof(cfg.name), "p%u", p);
		snprintf(cfg.path, sizeof(cfg.path), "%s", files[p]);
		if (rim_port_add(rim, &cfg, &port, &err) < 0)
			fail(files[p], err.text);
		add_vport((uint16_t)(p + 1), port);
	}
	pause_ms(200);
	cpu = worker_cpu();
	all = load(&counters()->received);
	printf("{\"samples\": [");
	for (uint32_t i = 0; i < n; i++) {
		packets = load(&counters()->received);
		busy = load(&counters()->busy_ticks);
		pause_ms((uint32_t)(seconds * 1000 / n));
		packets = load(&counters()->received) - packets;
		busy = load(&counters()->busy_ticks) - busy;
		printf("%s%.2f", i == 0 ? "" : ", ", (double)busy / (double)(packets + !packets));
	}
	all = load(&counters()->received) - all;
	cpu = worker_cpu() - cpu;
	printf("], \"cpu_ticks\": %.2f}\n", cpu * (double)rte_get_tsc_hz() / (double)all);
	/* Frames that came before their port had a vport are dropped; none behind that. */
	if (load(&counters()->sent) + dropped() + 64 < load(&counters()->received))
		fail("floor", "not every frame was sent");
}

/* --- the wire -----------------------------------------------------------------------------------
 */

struct port {
	struct rte_ring *in, *out;
	uint16_t vport, index;
};

static struct port ports[2]; /* clients, backend */
static struct rte_mempool *pool;
static uint64_t sent, come, checked;

static void add_ring(struct port *p, const char *name, uint16_t vport)
{
	struct rim_port_config cfg = {.kind = RIM_PORT_ETHDEV};
	struct rim_error err = {""};
	char ring[32];

	snprintf(ring, sizeof(ring), "%s-in", name);
	p->in = rte_ring_create(ring, RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	snprintf(ring, sizeof(ring), "%s-out", name);
	p->out = rte_ring_create(ring, OUT_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (p->in == NULL || p->out == NULL ||
		rte_eth_from_rings(name, &p->in, 1, &p->out, 1, 0) < 0)
		fail(name, "no ring port");
	snprintf(cfg.name, sizeof(cfg.name), "%s", name);
	snprintf(cfg.pci, sizeof(cfg.pci), "net_ring_%s", name);
	if (rim_port_add(rim, &cfg, &p->index, &err) < 0)
		fail(name, err.text);
	p->vport = vport;
	add_vport(vport, p->index);
}

/* One frame into the ring of its port; false when that is full. */
static bool send_one(uint32_t n)
{
	struct port *p = &ports[h.tuples[n].reply];
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (m == NULL)
		return false;
	m->data_len = harness_write(rte_pktmbuf_mtod(m, uint8_t *), n);
	m->pkt_len = m->data_len;
	m->dynfield1[0] = n;
	*(uint64_t *)&m->dynfield1[2] = rte_rdtsc();
	if (rte_ring_enqueue(p->in, m) != 0) {
		rte_pktmbuf_free(m);
		return false;
	}
	sent++;
	return true;
}

/* What has come out; each is told with its time in ticks. */
static uint32_t take(void (*each)(uint64_t ticks))
{
	uint32_t total = 0;

	for (uint32_t k = 0; k < 2; k++) {
		struct rte_mbuf *m[64];
		uint32_t n = rte_ring_dequeue_burst(ports[k].out, (void **)m, 64, NULL);
		uint64_t now = rte_rdtsc();

		for (uint32_t i = 0; i < n; i++) {
			if (each != NULL)
				each(now - *(uint64_t *)&m[i]->dynfield1[2]);
			if (++come % 1024 == 0) {
				checked++;
				if (!harness_right(m[i]->dynfield1[0],
					    rte_pktmbuf_mtod(m[i], uint8_t *), ports[k].vport))
					fail("check", "a wrong frame");
			}
		}
		rte_pktmbuf_free_bulk(m, n);
		total += n;
	}
	return total;
}

/* Until everything that was sent is back. */
static void settle(void)
{
	uint64_t end = rte_rdtsc() + 2 * rte_get_tsc_hz();

	while (come < sent)
		if (take(NULL) == 0 && rte_rdtsc() > end) {
			fprintf(stderr, "%lu of %lu packets came out, %lu dropped\n", come, sent,
				dropped());
			fail("check", "packets are missing");
		}
}

/* A few at a time: a worker whose queue is full refuses first packets. */
static void establish(void)
{
	for (uint32_t pass = 0; pass < 3; pass++) {
		for (uint32_t n = 0; n < h.n_flows; n++) {
			while (!send_one(pass == 1 ? n + h.n_flows : n))
				take(NULL);
			if (n % 32 == 31)
				settle();
		}
		settle();
	}
}

void world(void (*run)(struct worker *w, struct burst *b))
{
	start(run, pipeline_tick);
	h.n_flows = FLOWS;
	h.traffic = TRAFFIC_DNAT;
	harness_init_in(rim_dataplane(rim));
	pool = rte_pktmbuf_pool_create(
		"wire", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL)
		fail("wire", "no buffers");
	add_ring(&ports[0], "clients", 1);
	add_ring(&ports[1], "backend", BACKEND_VPORT);
	pause_ms(50);
	establish();
	harness_order(0, 1u << 20);
}

void world_unwire(void)
{
	struct rim_error err = {""};

	for (uint32_t k = 0; k < 2; k++)
		if (rim_vport_remove(rim, ports[k].vport) < 0 ||
			rim_port_remove(rim, ports[k].index, &err) < 0)
			fail("wire", err.text);
}

/* --- latency ------------------------------------------------------------------------------------
 */

/* A tenth of a microsecond each, and the rest. */
#define BINS 100000

static uint32_t bins[BINS];
static uint64_t in_bins;
static double ticks_per_bin;

static void count(uint64_t ticks)
{
	uint32_t bin = (uint32_t)((double)ticks / ticks_per_bin);

	bins[bin < BINS ? bin : BINS - 1]++;
	in_bins++;
}

static double percentile(double part)
{
	uint64_t want = (uint64_t)((double)in_bins * part), n = 0;

	for (uint32_t b = 0; b < BINS; b++) {
		n += bins[b];
		if (n > want)
			return (b + 1) / 10.0;
	}
	return BINS / 10.0;
}

static uint32_t next_number(void)
{
	static uint32_t at;

	at = at + 1 >= h.n_order ? 0 : at + 1;
	return h.order[at];
}

/* Sends for that long, a packet every gap ticks or as fast as rings take them. */
static void offer(double s, double gap, void (*each)(uint64_t ticks))
{
	uint64_t begin = rte_rdtsc(), end = begin + (uint64_t)(s * (double)rte_get_tsc_hz());
	double due = (double)begin;

	while (rte_rdtsc() < end) {
		uint64_t now = rte_rdtsc();

		for (uint32_t k = 0; k < 16 && due <= (double)now; k++) {
			if (!send_one(next_number()))
				break;
			due += gap;
		}
		/* What could not be sent for a while is not made up for in a burst. */
		if (due + 64 * gap < (double)now)
			due = (double)now;
		take(each);
	}
}

/* The least of many short times: what another process does in between only adds. */
static double busy_ticks(void)
{
	double least = 1e9;

	for (uint32_t i = 0; i < 30; i++) {
		uint64_t packets = load(&counters()->received),
			 busy = load(&counters()->busy_ticks);
		double ticks;

		offer(0.02, 0, NULL);
		packets = load(&counters()->received) - packets;
		busy = load(&counters()->busy_ticks) - busy;
		/* The worker counts at the end of a loop: few packets are not a measurement. */
		ticks = packets > 5000 ? (double)busy / (double)packets : least;
		least = ticks < least ? ticks : least;
	}
	settle();
	if (least == 1e9)
		fail("latency", "too few packets to tell what a full worker takes");
	return least;
}

void print_windows(const char *name, const double *v, uint32_t n, bool last)
{
	printf("\"%s\": {\"status\": \"ok\", \"samples\": [", name);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.3f", i == 0 ? "" : ", ", v[i]);
	printf("]}%s", last ? "" : ", ");
}

struct window {
	double p50, p99, p999;
	bool disturbed;
};

/* Times that the kernel took the wire or the worker off its CPU. */
static uint64_t interruptions(void)
{
	struct rusage u;
	char path[64], line[128];
	uint64_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", worker_thread());
	f = fopen(path, "r");
	if (f == NULL)
		fail(path, strerror(errno));
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n) == 1)
			break;
	fclose(f);
	getrusage(RUSAGE_THREAD, &u);
	return n + (uint64_t)u.ru_nivcsw;
}

static void measure(struct window *w, double gap)
{
	uint64_t before;

	/* A packet there and back: the worker is on its CPU. */
	while (!send_one(next_number()))
		take(NULL);
	settle();
	memset(bins, 0, sizeof(bins));
	in_bins = 0;
	before = interruptions();
	offer(WINDOW_S, gap, count);
	w->p50 = percentile(0.5);
	w->p99 = percentile(0.99);
	w->p999 = percentile(0.999);
	w->disturbed = interruptions() != before;
}

static void print_kind(const char *name, const struct window *w, uint32_t n, bool disturbed,
	size_t field, bool last)
{
	static double v[WINDOWS_MAX];
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++)
		if (w[i].disturbed == disturbed)
			v[k++] = *(const double *)((const char *)&w[i] + field);
	print_windows(name, v, k, last);
}

static void latency(void)
{
	static struct window w[WINDOWS_MAX];
	uint32_t n = (uint32_t)(seconds / WINDOW_S), clean = 0;
	uint64_t before, start_tsc;
	double ticks, gap, rate;

	n = n < WINDOWS_MAX ? n : WINDOWS_MAX;
	world(pipeline_run);
	ticks_per_bin = (double)rte_get_tsc_hz() / 1e7;
	ticks = busy_ticks();
	gap = ticks * 100 / load_percent;
	before = sent;
	start_tsc = rte_rdtsc();
	for (uint32_t i = 0; i < n; i++) {
		measure(&w[i], gap);
		clean += !w[i].disturbed;
	}
	rate = (double)(sent - before) * (double)rte_get_tsc_hz() /
		(double)(rte_rdtsc() - start_tsc);
	settle();
	if (dropped() != 0)
		fail("check", "packets were dropped");
	if (clean == 0)
		fail("latency", "other processes interrupted every window");
	printf("{\"results\": {");
	print_kind("p50", w, n, false, offsetof(struct window, p50), false);
	print_kind("p99", w, n, false, offsetof(struct window, p99), false);
	print_kind("p99.9", w, n, false, offsetof(struct window, p999), clean == n);
	if (clean < n)
		print_kind(
			"p99, disturbed windows", w, n, true, offsetof(struct window, p99), true);
	printf("}, \"load_percent\": %u, \"busy_ticks_a_packet\": %.1f, \"packets_per_second\": %.0f, "
	       "\"windows\": %u, \"disturbed\": %u, \"packets\": %lu, \"checked\": %lu}\n",
		load_percent, ticks, rate, n, n - clean, come, checked);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 's'},
		{"load", required_argument, NULL, 'l'},
		{"no-huge", no_argument, NULL, 'n'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			seconds = strtod(optarg, NULL);
		else if (opt == 'l')
			load_percent = (uint32_t)strtoul(optarg, NULL, 0);
		else if (opt == 'n')
			ordinary_memory = true;
		else
			return 2;
	}
	quit_loud = getenv("SLUICE_BENCH_LOG") != NULL;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("one processor: the wire and the worker need one each\n");
		return ABSENT;
	}
	if (argc - optind == 3 && strcmp(argv[optind], "floor") == 0)
		floor_of(argv + optind + 1);
	else if (argc - optind == 1 && strcmp(argv[optind], "latency") == 0 && load_percent > 0)
		latency();
	else if (argc - optind >= 1 && argc - optind <= 2 && strcmp(argv[optind], "idle") == 0)
		idle(argv[optind + 1]);
	else
		fail("usage",
			"floor FILE FILE | latency [--load PERCENT] | idle [KIND]; [--seconds S]");
	fflush(stdout);
	/* Workers and ports end with the process. */
	_exit(0);
}
