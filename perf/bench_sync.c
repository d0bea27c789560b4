/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* From bytes on a socket to visible in the dataplane: the real Kubernetes sync and the real
 * reconciler, fed by the stand-in for the API server.
 *
 *	bench_sync APISERVER [--services N[,N...]] [--endpoints N] [--samples N] [--events N]
 *[--memory]
 *
 * Two threads. Control (the main one) runs sync and reconciler on one event loop, as the daemon
 * does. The wire relays between sync and stand-in, and takes the times: it holds what the server
 * says at first until the server has said all of it, lets it go, and stops the clock when the
 * reconciler has applied it; then it looks every service up. For an event it changes one
 * EndpointSlice at the server, hands the watch's bytes over, and looks the service up until the
 * change shows. Prints one line of JSON with the results of all sizes. --memory: bytes a service
 *and bytes a further endpoint instead. */

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/log.h"
#include "control/neighbours.h"
#include "control/reconcile.h"
#include "control/retire.h"
#include "k8s-sync/sync.h"
#include "perf/bench_sync.h"

#define GRACE_US   500
#define DEADLINE_S 300
#define SIZES_MAX  8

struct control {
	struct event_base *base;
	struct config *cfg;
	struct dataplane dp;
	struct model *model;
	struct retire *retire;
	struct neighbours *neighbours;
	struct reconciler *reconciler;
	struct k8s_sync *sync;
	struct event *step, *grace, *done;
	uint32_t period, seen;
	bool open;
};

struct bench bench;
static struct control control;
static char folder[64];
static pid_t standin = -1;

_Noreturn void bench_die(const char *what)
{
	fprintf(stderr, "bench_sync: %s (%s)\n", what, strerror(errno));
	if (standin > 0)
		kill(standin, SIGTERM);
	exit(1);
}

uint64_t bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- control ------------------------------------------------------------------------------------
 */

static void arm(struct event *ev, uint32_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	event_add(ev, &tv);
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	bool more = reconcile_step(control.reconciler);

	arm(control.step, more ? 0 : RECONCILE_IDLE_MS * 1000);
}

static void wake(void *arg)
{
	event_active(control.step, EV_TIMEOUT, 0);
}

/* The wire is the one reader: a period has passed when it looked once more, or does not look. */
static void on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct grace *g = &control.dp.grace;

	if (!control.open) {
		control.period = grace_open(g);
		control.seen = atomic_load(&bench.looks);
		control.open = true;
	} else if (!atomic_load(&bench.looking) || atomic_load(&bench.looks) != control.seen) {
		grace_complete(g, control.period);
		control.open = false;
		retire_poll(control.retire);
	}
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) == sizeof(n))
		event_base_loopbreak(control.base);
}

static int no_send(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len)
{
	return 0;
}

static void quiet(void *arg, const char *line, size_t len)
{
	if (getenv("SLUICE_BENCH_LOG") != NULL)
		fwrite(line, len, 1, stderr);
}

static void sync_log(void *arg, int level, const char *event, const char *fmt, ...)
{
	va_list ap;

	if (getenv("SLUICE_BENCH_LOG") == NULL)
		return;
	va_start(ap, fmt);
	fprintf(stderr, "%s ", event);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

static void start_reconciler(void)
{
	static const char text[] = "apiVersion: sluice/v1\nkind: Config\nnode: {name: node-0}\n"
				   "services: {backends: 4194304}\n";
	struct reconcile_io io = {0};
	struct neighbours_config nc = {.dp = &control.dp, .send = no_send, .hosts_changed = wake};
	struct config_errors errors = {0};

	control.model = model_new();
	if (control.model == NULL ||
		config_load_text("bench", text, sizeof(text) - 1, &control.cfg, &errors) < 0)
		bench_die("configuration");
	if (dataplane_init(&control.dp, NULL) < 0 ||
		retire_init(&control.dp.grace, &control.retire) < 0)
		bench_die("dataplane");
	nc.retire = control.retire;
	if (neighbours_init(&nc, &control.neighbours) < 0 ||
		reconcile_init(&control.dp, control.model, control.neighbours, control.retire,
			control.cfg, &io, &control.reconciler) < 0)
		bench_die("reconciler");
	model_set_notify(control.model, wake, NULL);
}

static void start_control(void)
{
	struct timeval every = {.tv_usec = GRACE_US};
	struct k8s_config kc;

	memset(&control, 0, sizeof(control));
	control.base = event_base_new();
	control.step = event_new(control.base, -1, 0, on_step, NULL);
	control.grace = event_new(control.base, -1, EV_PERSIST, on_grace, NULL);
	control.done = event_new(control.base, bench.done_fd, EV_READ | EV_PERSIST, on_done, NULL);
	start_reconciler();
	event_add(control.grace, &every);
	event_add(control.done, NULL);
	arm(control.step, 0);
	k8s_config_defaults(&kc);
	kc.socket = bench.wire_path;
	kc.node_name = "node-0";
	kc.endpoints = K8S_ENDPOINTS_SLICES;
	kc.env.log = sync_log;
	if (k8s_sync_new(control.base, &kc, control.model, &control.sync) < 0)
		bench_die("sync");
	bench.dp = &control.dp;
	bench.reconciler = control.reconciler;
}

static void stop_control(void)
{
	k8s_sync_stop(control.sync);
	k8s_sync_free(control.sync);
	reconcile_fini(control.reconciler);
	neighbours_fini(control.neighbours);
	retire_fini(control.retire);
	dataplane_fini(&control.dp);
	model_free(control.model);
	config_free(control.cfg);
	event_free(control.step);
	event_free(control.grace);
	event_free(control.done);
	event_base_free(control.base);
}

static size_t allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* One start of the daemon's control side, until the wire says that it is done. */
static void run_once(uint32_t n_events)
{
	size_t before = allocated();
	pthread_t wire;

	bench.n_events = n_events;
	start_control();
	wire_open();
	if (pthread_create(&wire, NULL, wire_main, NULL) != 0)
		bench_die("thread");
	bench_pin(0);
	k8s_sync_start(control.sync);
	event_base_dispatch(control.base);
	pthread_join(wire, NULL);
	bench.bytes = allocated() - before;
	stop_control();
	wire_close();
	if (bench.failed[0] != '\0') {
		errno = 0;
		bench_die(bench.failed);
	}
}

/* --- the stand-in -------------------------------------------------------------------------------
 */

static void start_standin(const char *program, uint32_t services, uint32_t endpoints)
{
	char spec[64], line[256];
	int out[2];
	FILE *f;

	snprintf(spec, sizeof(spec), "services=%u,endpoints=%u", services, endpoints);
	if (pipe2(out, O_CLOEXEC) < 0)
		bench_die("pipe");
	standin = fork();
	if (standin == 0) {
		bench_pin(1);
		dup2(out[1], 1);
		execl(program, program, "--socket", bench.server_path, "--synthetic", spec,
			"--bookmark-interval", "0", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strcmp(line, "ready\n") == 0)
			break;
	if (f == NULL || feof(f))
		bench_die("the stand-in did not start");
	fclose(f);
}

static void stop_standin(void)
{
	kill(standin, SIGTERM);
	waitpid(standin, NULL, 0);
	standin = -1;
	unlink(bench.server_path);
}

/* --- results ------------------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_samples(const char *kind, uint32_t services, const double *v, uint32_t n)
{
	static bool again;
	char count[16];

	if (services % 1000 == 0)
		snprintf(count, sizeof(count), "%uk", services / 1000);
	else
		snprintf(count, sizeof(count), "%u", services);
	printf("%s\"%s %s\": {\"status\": \"ok\", \"samples\": [", again ? ", " : "", kind, count);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.4g", i == 0 ? "" : ", ", v[i]);
	printf("]}");
	again = true;
}

#define BATCH 100

/* Median and 99th percentile of each hundred events, in microseconds. */
static void print_events(uint32_t services)
{
	uint32_t batches = bench.n_events / BATCH;
	double *p50 = calloc(batches + 1, sizeof(double)),
	       *p99 = calloc(batches + 1, sizeof(double));

	for (uint32_t i = 0; i < batches; i++) {
		double *v = bench.event_us + i * BATCH;

		qsort(v, BATCH, sizeof(*v), by_value);
		p50[i] = v[BATCH / 2];
		p99[i] = v[BATCH * 99 / 100];
	}
	print_samples("event p50", services, p50, batches);
	print_samples("event p99", services, p99, batches);
	free(p50);
	free(p99);
}

static void measure(const char *program, uint32_t services, uint32_t n_samples, uint32_t n_events)
{
	double seconds[64], cpu[64];

	bench.services = services;
	start_standin(program, services, bench.endpoints);
	for (uint32_t i = 0; i < n_samples; i++) {
		run_once(i + 1 == n_samples ? n_events : 0);
		seconds[i] = bench.sync_seconds;
		cpu[i] = bench.sync_cpu_seconds;
		fprintf(stderr, "%u services: %.3f s\n", services, seconds[i]);
	}
	stop_standin();
	print_samples("full sync", services, seconds, n_samples);
	print_samples("CPU time of a full sync", services, cpu, n_samples);
	print_events(services);
}

static void measure_memory(const char *program, uint32_t services)
{
	uint32_t endpoints = bench.endpoints;
	double a, b;

	bench.services = services;
	bench.endpoints = 1;
	start_standin(program, services, 1);
	run_once(0);
	run_once(0); /* what libraries keep for good is there now */
	a = (double)bench.bytes;
	stop_standin();
	bench.endpoints = endpoints;
	start_standin(program, services, endpoints);
	run_once(0);
	b = ((double)bench.bytes - a) / services / (endpoints - 1);
	stop_standin();
	a /= services;
	print_samples("bytes a service with one endpoint,", services, &a, 1);
	print_samples("bytes a further endpoint,", services, &b, 1);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"services", required_argument, NULL, 's'},
		{"endpoints", required_argument, NULL, 'e'},
		{"samples", required_argument, NULL, 'n'},
		{"events", required_argument, NULL, 'v'},
		{"memory", no_argument, NULL, 'm'},
		{0},
	};
	uint32_t sizes[SIZES_MAX] = {1000}, n_sizes = 1, n_samples = 5, n_events = 1000;
	bool memory = false;
	int opt;

	bench.endpoints = 3;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		char *save = NULL;

		switch (opt) {
		case 's':
			n_sizes = 0;
			for (char *p = strtok_r(optarg, ",", &save);
				p != NULL && n_sizes < SIZES_MAX; p = strtok_r(NULL, ",", &save))
				sizes[n_sizes++] = (uint32_t)strtoul(p, NULL, 0);
			break;
		case 'e':
			bench.endpoints = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'n':
			n_samples = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'v':
			n_events = (uint32_t)strtoul(optarg, NULL, 0) / BATCH * BATCH;
			break;
		case 'm':
			memory = true;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc || n_samples == 0 || n_samples > 64 || bench.endpoints < 2) {
		fprintf(stderr,
			"usage: bench_sync APISERVER [--services N[,N...]] [--endpoints N] "
			"[--samples 1..64] [--events N] [--memory]\n");
		return 2;
	}
	bench.control = pthread_self();
	signal(SIGPIPE, SIG_IGN);
	log_set_sink(quiet, NULL);
	strcpy(folder, "/tmp/sluice-perf-XXXXXX");
	if (mkdtemp(folder) == NULL)
		bench_die("folder");
	snprintf(bench.wire_path, sizeof(bench.wire_path), "%s/wire.sock", folder);
	snprintf(bench.server_path, sizeof(bench.server_path), "%s/server.sock", folder);
	bench.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bench.event_us = calloc(n_events + 1, sizeof(double));
	printf("{\"results\": {");
	for (uint32_t i = 0; i < n_sizes; i++)
		if (memory)
			measure_memory(argv[optind], sizes[i]);
		else
			measure(argv[optind], sizes[i], n_samples, n_events);
	printf("}, \"endpoints\": %u}\n", bench.endpoints);
	rmdir(folder);
	return 0;
}
