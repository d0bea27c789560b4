/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* bench_rim idle: what a worker costs that has nothing to do, and how long the first packet then
 * takes, by kind of port.
 *
 * The table holds flows, which age meanwhile. A frame is sent some milliseconds behind the last
 * one; the time is from before the call that sends it until the worker has counted it, so a kernel
 * interface's own way is in it. Each comes back and is looked at. The kernel's own wake-up beside
 * it: a thread on the worker's CPU that waits in poll() on an eventfd, from before the write until
 * it has stored a word. In a network namespace of its own; the peer of memif and vhost-user is a
 * port of this process that the main thread drives. */

#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "perf/bench_rim.h"

#define WINDOWS    10
#define WAKES      600
#define GROUP      100 /* wake-ups of which one p50 and one p99 is told */
#define FRAME      64
#define ETHERTYPE  0x88b5
#define PEER_DEPTH 256
#define GAVE_UP_S  10

/* --- the wire's end -----------------------------------------------------------------------------
 */

struct end {
	int fd;       /* a packet socket, or -1 */
	uint16_t eth; /* the peer's port */
	struct rte_mempool *pool;
	char device[32], path[64];
};

struct kind {
	const char *name;
	enum rim_port_kind kind;
	const char *peer; /* the peer's device and arguments; NULL: a packet socket */
	bool wakes;       /* it wakes its worker; else the worker's sleeps are timed */
};

static const struct kind kinds[] = {
	{.name = "af_packet", .kind = RIM_PORT_AF_PACKET, .wakes = true},
	{.name = "af_xdp", .kind = RIM_PORT_AF_XDP, .wakes = true},
	{.name = "tap", .kind = RIM_PORT_TAP, .wakes = true},
	{.name = "vhost-user",
		.kind = RIM_PORT_VHOST_USER,
		.peer = "net_virtio_user31,queues=1,path=",
		.wakes = true},
	{.name = "memif",
		.kind = RIM_PORT_MEMIF,
		.peer = "net_memif31,role=client,id=0,socket-abstract=no,socket="},
};

static void shell(const char *command)
{
	if (system(command) != 0)
		fail("idle", command);
}

static void socket_open(struct end *e, const char *iface)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	sa.sll_ifindex = (int)if_nametoindex(iface);
	e->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	if (e->fd < 0 || bind(e->fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0)
		fail("idle", "no packet socket");
}

static void peer_open(struct end *e, const struct kind *k)
{
	struct rte_eth_conf conf = {0};
	char args[160];

	snprintf(args, sizeof(args), "%s%s", k->peer, e->path);
	snprintf(e->device, sizeof(e->device), "%.*s", (int)strcspn(args, ","), args);
	e->fd = -1;
	e->pool = rte_pktmbuf_pool_create(
		e->device, 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (e->pool == NULL || rte_dev_probe(args) != 0 ||
		rte_eth_dev_get_port_by_name(e->device, &e->eth) != 0 ||
		rte_eth_dev_configure(e->eth, 1, 1, &conf) != 0 ||
		rte_eth_rx_queue_setup(e->eth, 0, PEER_DEPTH, SOCKET_ID_ANY, NULL, e->pool) != 0 ||
		rte_eth_tx_queue_setup(e->eth, 0, PEER_DEPTH, SOCKET_ID_ANY, NULL) != 0 ||
		rte_eth_dev_start(e->eth) != 0)
		fail(k->name, "no peer");
}

static bool frame_send(const struct end *e, const uint8_t *frame)
{
	struct rte_mbuf *m;

	if (e->fd >= 0)
		return send(e->fd, frame, FRAME, 0) == FRAME;
	m = rte_pktmbuf_alloc(e->pool);
	if (m == NULL)
		return false;
	memcpy(rte_pktmbuf_append(m, FRAME), frame, FRAME);
	if (rte_eth_tx_burst(e->eth, 0, &m, 1) == 1)
		return true;
	rte_pktmbuf_free(m);
	return false;
}

/* What has come, or nothing: true and FRAME bytes. */
static bool frame_take(const struct end *e, uint8_t *frame)
{
	struct rte_mbuf *m;
	bool ours;

	if (e->fd >= 0)
		return recv(e->fd, frame, FRAME, 0) == FRAME;
	if (rte_eth_rx_burst(e->eth, 0, &m, 1) == 0)
		return false;
	ours = m->data_len >= FRAME;
	if (ours)
		memcpy(frame, rte_pktmbuf_mtod(m, void *), FRAME);
	rte_pktmbuf_free(m);
	return ours;
}

/* --- the port -----------------------------------------------------------------------------------
 */

static void iface_gone(const struct kind *k)
{
	if (k->peer == NULL && k->kind != RIM_PORT_TAP)
		shell("ip link del idle0");
}

/* Its index, or -errno and why. */
static int port_open(const struct kind *k, struct end *e, struct rim_error *err)
{
	struct rim_port_config cfg = {.kind = k->kind, .queues = 1, .server = true};
	uint16_t port;
	int rc;

	snprintf(cfg.name, sizeof(cfg.name), "%s", k->name);
	snprintf(e->path, sizeof(e->path), "/tmp/sluice-idle-%d", (int)getpid());
	if (k->peer != NULL)
		snprintf(cfg.path, sizeof(cfg.path), "%s", e->path);
	else
		snprintf(cfg.iface, sizeof(cfg.iface), "idle0");
	if (k->peer == NULL && k->kind != RIM_PORT_TAP)
		shell("ip link add idle0 type veth peer name idle1 && ip link set idle0 up && "
		      "ip link set idle1 up");
	rc = rim_port_add(rim, &cfg, &port, err);
	if (rc < 0) {
		iface_gone(k);
		return rc;
	}
	if (k->kind == RIM_PORT_TAP)
		shell("ip link set idle0 up");
	if (k->peer != NULL)
		peer_open(e, k);
	else
		socket_open(e, k->kind == RIM_PORT_TAP ? "idle0" : "idle1");
	add_vport(1, port);
	return port;
}

static void port_close(const struct kind *k, struct end *e, uint16_t port)
{
	struct rim_error err = {""};

	if (k->peer != NULL) {
		(void)rte_eth_dev_stop(e->eth);
		(void)rte_eth_dev_close(e->eth);
	} else {
		close(e->fd);
	}
	if (rim_vport_remove(rim, 1) < 0 || rim_port_remove(rim, port, &err) < 0)
		fail(k->name, err.text);
	if (k->peer != NULL)
		unlink(e->path);
	iface_gone(k);
}

/* --- the worker ---------------------------------------------------------------------------------
 */

static atomic_bool echoing;

static void echo(struct worker *w, struct burst *b)
{
	lanes_t in = b->to.classify;

	if (!atomic_load_explicit(&echoing, memory_order_relaxed)) {
		pipeline_run(w, b);
		return;
	}
	b->to.classify = 0;
	COUNT(w->counters.received, lanes_count(in));
	lanes_foreach (i, in) {
		uint8_t mac[6];

		memcpy(mac, b->data[i], 6);
		memcpy(b->data[i], b->data[i] + 6, 6);
		memcpy(b->data[i] + 6, mac, 6);
		b->out_vport[i] = b->in_vport[i];
	}
	w->io->transmit(w, b, in);
}

static uint64_t received(void)
{
	return *(const volatile uint64_t *)&counters()->received;
}

/* There and back; the time until the worker had it, in ticks. NULL, or what did not happen. */
static const char *round_trip(const struct end *e, uint32_t number, double within, uint64_t *took)
{
	uint8_t frame[FRAME] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, back[FRAME];
	uint64_t before = received(), start, end;

	frame[12] = ETHERTYPE >> 8;
	frame[13] = ETHERTYPE & 0xff;
	memcpy(frame + 14, &number, sizeof(number));
	start = rte_rdtsc();
	end = start + (uint64_t)(within * (double)rte_get_tsc_hz());
	if (!frame_send(e, frame))
		return "a frame could not be sent";
	while (received() == before)
		if (rte_rdtsc() > end)
			return "a frame did not wake the worker";
	*took = rte_rdtsc() - start;
	for (;;) {
		if (frame_take(e, back) && memcmp(back, frame + 6, 6) == 0 &&
			memcmp(back + 6, frame, 6) == 0 &&
			memcmp(back + 14, frame + 14, sizeof(number)) == 0)
			return NULL;
		if (rte_rdtsc() > end)
			return "a frame did not come back";
	}
}

/* --- the measurements ---------------------------------------------------------------------------
 */

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void print_named(
	const char *what, const struct kind *k, const double *v, uint32_t n, bool last)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s, %s", k->wakes ? "" : "timed: ", what, k->name);
	print_windows(name, v, n, last);
}

static void print_absent(const char *what, const struct kind *k, const char *why)
{
	printf("\"%s%s, %s\": {\"status\": \"absent\", \"message\": \"%.*s\"}, ",
		k->wakes ? "" : "timed: ", what, k->name, (int)strcspn(why, "\"\\\n"), why);
}

/* The middle and the 99th of each group of a hundred. */
static void groups(double *wake, double *middle, double *longest)
{
	for (uint32_t i = 0; i < WAKES / GROUP; i++) {
		double *v = wake + (size_t)i * GROUP;

		qsort(v, GROUP, sizeof(*v), by_value);
		middle[i] = v[GROUP / 2];
		longest[i] = v[GROUP * 99 / 100 - 1];
	}
}

static void measure(const struct kind *k)
{
	static double cpu[WINDOWS], wake[WAKES], middle[WAKES / GROUP], longest[WAKES / GROUP];
	double hz = (double)rte_get_tsc_hz();
	struct rim_error err = {""};
	struct end e;
	int port = port_open(k, &e, &err);
	uint64_t start = rte_rdtsc(), ticks;
	const char *why;

	if (port < 0) {
		print_absent("CPU", k, err.text);
		print_absent("wake-up p50", k, err.text);
		print_absent("wake-up p99", k, err.text);
		return;
	}
	/* Links come up when control looks. */
	do {
		pause_ms(20);
		rim_poll(rim);
		why = round_trip(&e, 0, 0.1, &ticks);
		if (why != NULL && (double)(rte_rdtsc() - start) > GAVE_UP_S * hz)
			fail(k->name, why);
	} while (why != NULL);
	pause_ms(300);
	for (uint32_t i = 0; i < WINDOWS; i++) {
		double before = worker_cpu();
		uint64_t t0 = rte_rdtsc();

		pause_ms((uint32_t)(seconds * 1000 / WINDOWS));
		cpu[i] = 100 * (worker_cpu() - before) * hz / (double)(rte_rdtsc() - t0);
	}
	for (uint32_t i = 0; i < WAKES; i++) {
		pause_ms(1 + (uint32_t)(harness_random() % 5));
		why = round_trip(&e, i + 1, GAVE_UP_S, &ticks);
		if (why != NULL)
			fail(k->name, why);
		wake[i] = (double)ticks * 1e6 / hz;
	}
	groups(wake, middle, longest);
	print_named("CPU", k, cpu, WINDOWS, false);
	print_named("wake-up p50", k, middle, WAKES / GROUP, false);
	print_named("wake-up p99", k, longest, WAKES / GROUP, false);
	port_close(k, &e, (uint16_t)port);
}

static struct {
	int bell;
	_Atomic uint32_t heard;
} sleeper;

static void *sleep_and_hear(void *arg)
{
	struct pollfd p = {.fd = sleeper.bell, .events = POLLIN};
	uint64_t n;

	pin(sysconf(_SC_NPROCESSORS_ONLN) - 1);
	for (uint32_t i = 0; i < WAKES; i++) {
		if (poll(&p, 1, -1) != 1)
			fail("kernel", strerror(errno));
		atomic_fetch_add_explicit(&sleeper.heard, 1, memory_order_release);
		if (read(sleeper.bell, &n, sizeof(n)) != sizeof(n))
			fail("kernel", strerror(errno));
	}
	return NULL;
}

static void kernels_own(void)
{
	static double wake[WAKES], middle[WAKES / GROUP], longest[WAKES / GROUP];
	const uint64_t one = 1;
	pthread_t thread;

	sleeper.bell = eventfd(0, EFD_CLOEXEC);
	if (sleeper.bell < 0 || pthread_create(&thread, NULL, sleep_and_hear, NULL) != 0)
		fail("kernel", "no thread");
	for (uint32_t i = 0; i < WAKES; i++) {
		uint64_t start;

		pause_ms(1 + (uint32_t)(harness_random() % 5));
		start = rte_rdtsc();
		if (write(sleeper.bell, &one, sizeof(one)) != sizeof(one))
			fail("kernel", strerror(errno));
		while (atomic_load_explicit(&sleeper.heard, memory_order_acquire) != i + 1)
			;
		wake[i] = (double)(rte_rdtsc() - start) * 1e6 / (double)rte_get_tsc_hz();
	}
	pthread_join(thread, NULL);
	groups(wake, middle, longest);
	print_windows("kernel's wake-up p50", middle, WAKES / GROUP, false);
	print_windows("kernel's wake-up p99", longest, WAKES / GROUP, true);
}

void idle(const char *only)
{
	if (unshare(CLONE_NEWNET) != 0) {
		printf("a network namespace needs root\n");
		exit(77);
	}
	shell("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	world(echo);
	world_unwire();
	atomic_store(&echoing, true);
	printf("{\"results\": {");
	for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (only == NULL || strcmp(only, kinds[i].name) == 0)
			measure(&kinds[i]);
	kernels_own();
	printf("}, \"packets\": %lu}\n", received());
}
