/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rim on ports that are memory alone: rings and null. Every case
 * checks that nothing is lost beside what is counted. The cases share one rim; each takes away the
 * ports it made. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "rim_lab.h"

#define RING_SIZE 1024

/* A port made of rings: the test is its wire. */
struct wire {
	int port;
	uint16_t queues;
	struct rte_ring *in[2], *out[2];
};

static struct rte_mempool *wire_pool;

static void wire_open(struct wire *wire, const char *name, uint16_t queues, uint32_t out_size)
{
	struct rim_port_config cfg = {.kind = RIM_PORT_ETHDEV, .queues = queues};

	lab();
	if (wire_pool == NULL)
		wire_pool = rte_pktmbuf_pool_create("wire", 8191, 0, 0, 2048 + 128, SOCKET_ID_ANY);
	REQUIRE(wire_pool != NULL);
	*wire = (struct wire){.queues = queues};
	for (uint32_t q = 0; q < queues; q++) {
		char ring[32];

		snprintf(ring, sizeof(ring), "%s-in%u", name, q);
		wire->in[q] = rte_ring_create(ring, RING_SIZE, SOCKET_ID_ANY, 0);
		snprintf(ring, sizeof(ring), "%s-out%u", name, q);
		wire->out[q] = rte_ring_create(ring, out_size, SOCKET_ID_ANY, 0);
		REQUIRE(wire->in[q] != NULL && wire->out[q] != NULL);
	}
	REQUIRE(rte_eth_from_rings(name, wire->in, queues, wire->out, queues, 0) >= 0);
	snprintf(cfg.name, sizeof(cfg.name), "%s", name);
	snprintf(cfg.pci, sizeof(cfg.pci), "net_ring_%s", name);
	wire->port = lab_port(&cfg);
}

static void wire_close(struct wire *wire)
{
	lab_port_gone(wire->port);
	for (uint32_t q = 0; q < wire->queues; q++) {
		rte_ring_free(wire->in[q]);
		rte_ring_free(wire->out[q]);
	}
}

static bool wire_send(struct wire *wire, uint16_t q, uint16_t vlan, uint16_t type, uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(wire_pool);
	uint8_t *data;

	if (m == NULL)
		return false;
	data = (uint8_t *)rte_pktmbuf_append(m, 64);
	if (data == NULL)
		return false;
	lab_frame(data, vlan, type, number);
	if (rte_ring_enqueue(wire->in[q], m) == 0)
		return true;
	rte_pktmbuf_free(m);
	return false;
}

/* Takes what came back: how many frames, and adds their numbers up. */
static uint32_t wire_receive(struct wire *wire, uint64_t *sum)
{
	uint32_t n = 0;

	for (uint16_t q = 0; q < wire->queues; q++) {
		void *obj;

		while (rte_ring_dequeue(wire->out[q], &obj) == 0) {
			struct rte_mbuf *m = obj;
			const uint8_t *d = rte_pktmbuf_mtod(m, const uint8_t *);
			uint32_t number;

			CHECK_EQ(d[5], 2); /* swapped */
			CHECK_EQ(d[11], 1);
			d += d[12] == 0x81 ? 18 : 14;
			memcpy(&number, d, sizeof(number));
			*sum += number;
			n++;
			rte_pktmbuf_free(m);
		}
	}
	return n;
}

/* --- cases --------------------------------------------------------------------------------------
 */

static int child_start_stop(enum rim_hugepages hugepages)
{
	struct rim_config cfg = lab_config();
	struct rim *rim;
	uint8_t frame[64];
	int leaked;

	cfg.hugepages = hugepages;
	if (rim_start(&cfg, &rim, &lab_err) != 0) {
		fprintf(stderr, "child: %s\n", lab_err.text);
		return 1;
	}
	if (rim_hugepages_used(rim) != (hugepages == RIM_HUGEPAGES_ON))
		return 2;
	/* No such vport: a counted drop, and the buffer comes back. */
	if (rim_inject(rim, 7, frame, lab_frame(frame, 0, LAB_ETHERTYPE, 0)) != 0)
		return 3;
	/* The stop ends their sleep, not the other way round. */
	alarm(LAB_SLEEP_MS / 1000 / 2);
	lab_rim = rim;
	while (lab_asleep() == 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	leaked = (int)rim_stop(rim);
	return leaked == 0 ? 0 : 4;
}

/* EAL starts once a process, so other processes try it; none shares a name with another. */
static void several_daemons_run_at_once(void)
{
	pid_t pid[3];
	int status;

	REQUIRE(lab_rim == NULL);
	for (int n = 0; n < 3; n++) {
		pid[n] = fork();
		if (pid[n] == 0)
			_exit(child_start_stop(RIM_HUGEPAGES_OFF));
		CHECK_GT(pid[n], 0);
	}
	for (int n = 0; n < 3; n++) {
		CHECK_EQ(waitpid(pid[n], &status, 0), pid[n]);
		CHECK_EQ(status, 0);
	}
}

static void hugepages_need_no_mount(void)
{
	unsigned long pages = 0;
	int status;
	pid_t pid;
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");

	REQUIRE(lab_rim == NULL);
	if (f != NULL) {
		if (fscanf(f, "%lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	if (pages < 64 || geteuid() != 0) {
		printf("[not run: %lu free hugepages] ", pages);
		return;
	}
	pid = fork();
	if (pid == 0)
		_exit(child_start_stop(RIM_HUGEPAGES_ON));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void errors_say_what_to_do(void)
{
	refuse((struct rim_port_config){.kind = RIM_PORT_NULL}, "name: must be set");
	refuse(
		(struct rim_port_config){
			.name = "a", .kind = RIM_PORT_AF_PACKET, .iface = "nothere0"},
		"no interface 'nothere0'");
	refuse((struct rim_port_config){.name = "a", .kind = RIM_PORT_AF_PACKET}, "iface: must be");
	refuse((struct rim_port_config){.name = "a", .kind = RIM_PORT_PCI, .pci = "0000:99:00.0"},
		"restart it with the port");
	refuse((struct rim_port_config){.name = "a", .kind = RIM_PORT_NULL, .queues = 17},
		"queues: 17");
	refuse((struct rim_port_config){.name = "a", .kind = RIM_PORT_NULL, .descriptors = 1000},
		"descriptors: 1000");
	refuse((struct rim_port_config){.name = "a", .kind = RIM_PORT_NULL, .mtu = 9000},
		"mtu: 9000");
	refuse(
		(struct rim_port_config){
			.name = "a", .kind = RIM_PORT_MEMIF, .path = "/nothere/m.sock"},
		"no directory /nothere");
	refuse(
		(struct rim_port_config){
			.name = "a", .kind = RIM_PORT_NULL, .devargs = "nonsense=1"},
		"net_null");
	refuse((struct rim_port_config){.name = "a", .kind = RIM_PORT_PCAP, .path = "/nothere"},
		"/nothere");
	CHECK_EQ(rim_port_list(lab(), NULL, 0), 0);
	CHECK_EQ(rim_port_kind_parse("af_packet"), RIM_PORT_AF_PACKET);
	CHECK_LT(rim_port_kind_parse("afpacket"), 0);
}

/* In a child, because this rim scans the PCI bus: every device of the machine that has a kernel
 * driver of the usual kind must be left to it, with a text that says how to get it. */
static int child_pci(const char *device)
{
	struct rim_port_config port = {.name = "nic", .kind = RIM_PORT_PCI};
	struct rim_config cfg = lab_config();
	struct rim *rim;
	uint16_t index;
	bool ok;

	cfg.pci = true;
	if (rim_start(&cfg, &rim, &lab_err) != 0)
		return 1;
	snprintf(port.pci, sizeof(port.pci), "0000:ff:1f.7");
	ok = rim_port_add(rim, &port, &index, &lab_err) == -ENODEV &&
		strstr(lab_err.text, "there is no device 0000:ff:1f.7") != NULL;
	if (device[0] != '\0') {
		snprintf(port.pci, sizeof(port.pci), "%s", device);
		ok = ok && rim_port_add(rim, &port, &index, &lab_err) < 0 &&
			strstr(lab_err.text, "dpdk-devbind.py -b vfio-pci") != NULL;
	}
	if (!ok)
		fprintf(stderr, "child: %s\n", lab_err.text);
	return rim_stop(rim) == 0 && ok ? 0 : 2;
}

static void a_nic_that_is_not_bound_is_left_alone(void)
{
	DIR *d = opendir("/sys/bus/pci/devices");
	char device[64] = "";
	struct dirent *e;
	int status;
	pid_t pid;

	REQUIRE(lab_rim == NULL);
	/* Any device will do: none of a test machine's is bound to vfio-pci. */
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			snprintf(device, sizeof(device), "%.60s", e->d_name);
	if (d != NULL)
		closedir(d);
	pid = fork();
	if (pid == 0)
		_exit(child_pci(device));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void frames_go_back(void)
{
	struct rim_port_info info[2];
	uint64_t want = 0, got = 0;
	uint32_t sent = 0, back = 0;
	struct wire wire;

	wire_open(&wire, "reflect", 2, RING_SIZE);
	lab_vport(1, wire.port, 0);
	CHECK_EQ(rim_port_list(lab_rim, info, 2), 1);
	CHECK_EQ(info[0].rx_queues, 2);
	CHECK_NE(info[0].rx_worker[0], info[0].rx_worker[1]);
	CHECK_EQ(info[0].tx_shared, false);
	while (sent < 20000) {
		for (uint32_t n = 0; n < 100; n++, sent++) {
			CHECK(wire_send(&wire, sent & 1, 0, LAB_ETHERTYPE, sent));
			want += sent;
		}
		WAIT_FOR((back += wire_receive(&wire, &got)) == sent);
	}
	CHECK_EQ(got, want);
	CHECK_EQ(lab_vport_rx(1), 20000);
	CHECK(WAIT_FOR(lab_balanced()));
	for (uint32_t n = 0; n < LAB_WORKERS; n++)
		CHECK_EQ(rim_dataplane(lab_rim)->workers[n]->counters.received, 10000);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), -ENOENT);
	wire_close(&wire);
}

static void a_full_port_drops_and_counts(void)
{
	struct lab_totals before = lab_totals(), now;
	uint64_t sum = 0;
	struct wire wire;

	wire_open(&wire, "full", 1, 64);
	lab_vport(1, wire.port, 0);
	for (uint32_t n = 0; n < 200; n++)
		CHECK(wire_send(&wire, 0, 0, LAB_ETHERTYPE, n));
	WAIT_FOR(lab_totals().received - before.received == 200 && lab_balanced());
	now = lab_totals();
	CHECK_EQ(now.sent - before.sent, 63); /* a ring of 64 holds 63 */
	CHECK_EQ(now.by_reason[DROP_TxQueueFull] - before.by_reason[DROP_TxQueueFull], 137);
	CHECK_EQ(wire_receive(&wire, &sum), 63);
	CHECK_EQ(rte_mempool_in_use_count(wire_pool), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	wire_close(&wire);
}

/* Enqueued at once, so that the worker meets full bursts. tag(n): of the n-th frame. */
static void wire_send_many(struct wire *wire, uint32_t n, uint16_t (*tag)(uint32_t n))
{
	struct rte_mbuf *m[256];

	REQUIRE(n <= 256 && rte_pktmbuf_alloc_bulk(wire_pool, m, n) == 0);
	for (uint32_t i = 0; i < n; i++) {
		m[i]->data_len = m[i]->pkt_len = 64;
		lab_frame(rte_pktmbuf_mtod(m[i], uint8_t *), tag(i), LAB_ETHERTYPE, i);
	}
	CHECK_EQ(rte_ring_enqueue_bulk(wire->in[0], (void **)m, n, NULL), n);
}

static uint16_t tag_none(uint32_t n)
{
	return 0;
}

/* Of three: untagged, a vport's, nobody's. */
static uint16_t tag_mixed(uint32_t n)
{
	return n % 3 == 0 ? 0 : n % 3 == 1 ? 102 : 999;
}

static uint64_t vport_drops(uint16_t vport)
{
	uint64_t n = 0;

	for (uint32_t w = 0; w < LAB_WORKERS; w++)
		n += ((const volatile struct worker *)rim_dataplane(lab_rim)->workers[w])
			     ->counters.vport[vport]
			     .drops;
	return n;
}

/* Full bursts: of one vport, which are sent as they lie, and of two, with holes of dropped frames
 * between. */
static void full_bursts_leave_where_they_should(void)
{
	uint64_t drops = vport_drops(3), sum[2] = {0};
	struct lab_totals before = lab_totals(), now;
	struct wire in, out[2];
	uint32_t got[2] = {0};

	wire_open(&in, "bursts", 1, 64);
	wire_open(&out[0], "first", 1, 128);
	wire_open(&out[1], "second", 1, 128);
	lab_vport(1, in.port, 0);
	lab_vport(2, in.port, 102);
	lab_vport(3, out[0].port, 0);
	lab_vport(4, out[1].port, 0);
	atomic_store(&lab_out[1], 3);
	atomic_store(&lab_out[2], 4);
	wire_send_many(&in, 192, tag_mixed);
	WAIT_FOR((got[0] += wire_receive(&out[0], &sum[0])) == 64 &&
		(got[1] += wire_receive(&out[1], &sum[1])) == 64);
	CHECK_EQ(sum[0], 3 * (63 * 64 / 2));
	CHECK_EQ(sum[1], 3 * (63 * 64 / 2) + 64);
	CHECK_EQ(lab_totals().by_reason[DROP_VlanUnknown] - before.by_reason[DROP_VlanUnknown], 64);
	/* All to one port, whose ring holds 127. */
	before = lab_totals();
	wire_send_many(&in, 192, tag_none);
	WAIT_FOR(lab_totals().received - before.received == 192 && lab_balanced());
	now = lab_totals();
	CHECK_EQ(now.sent - before.sent, 127);
	CHECK_EQ(now.by_reason[DROP_TxQueueFull] - before.by_reason[DROP_TxQueueFull], 65);
	CHECK_EQ(vport_drops(3) - drops, 65);
	CHECK_EQ(wire_receive(&out[0], &sum[0]), 127);
	CHECK_EQ(sum[0], 3 * (63 * 64 / 2) + 126 * 127 / 2);
	CHECK_EQ(rte_mempool_in_use_count(wire_pool), 0);
	atomic_store(&lab_out[1], 0);
	atomic_store(&lab_out[2], 0);
	for (uint16_t n = 1; n <= 4; n++)
		CHECK_EQ(rim_vport_remove(lab_rim, n), 0);
	wire_close(&in);
	wire_close(&out[0]);
	wire_close(&out[1]);
}

static void what_no_vport_takes_is_counted(void)
{
	struct lab_totals before = lab_totals(), now;
	struct rte_mbuf *runt;
	struct wire wire;

	wire_open(&wire, "strays", 1, 64);
	CHECK(wire_send(&wire, 0, 0, LAB_ETHERTYPE, 1)); /* no vport at all */
	CHECK(WAIT_FOR(lab_totals().drops - before.drops == 1));
	lab_vport(1, wire.port, 0);
	CHECK(wire_send(&wire, 0, 7, LAB_ETHERTYPE, 1)); /* no vport with that tag */
	runt = rte_pktmbuf_alloc(wire_pool);
	REQUIRE(runt != NULL && rte_pktmbuf_append(runt, 13) != NULL);
	CHECK_EQ(rte_ring_enqueue(wire.in[0], runt), 0);
	CHECK(WAIT_FOR(lab_totals().drops - before.drops == 3));
	now = lab_totals();
	CHECK_EQ(now.by_reason[DROP_VlanUnknown] - before.by_reason[DROP_VlanUnknown], 2);
	CHECK_EQ(now.by_reason[DROP_RuntFrame] - before.by_reason[DROP_RuntFrame], 1);
	CHECK(lab_balanced());
	CHECK_EQ(rte_mempool_in_use_count(wire_pool), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	wire_close(&wire);
}

static void segments_become_one(void)
{
	struct rte_mbuf *a, *b;
	uint8_t *head, *tail;
	uint64_t sum = 0;
	uint32_t back = 0;
	struct wire wire;

	wire_open(&wire, "segments", 1, 64);
	lab_vport(1, wire.port, 0);
	a = rte_pktmbuf_alloc(wire_pool);
	b = rte_pktmbuf_alloc(wire_pool);
	REQUIRE(a != NULL && b != NULL);
	head = (uint8_t *)rte_pktmbuf_append(a, 64);
	tail = (uint8_t *)rte_pktmbuf_append(b, 500);
	if (head == NULL || tail == NULL)
		return;
	lab_frame(head, 0, LAB_ETHERTYPE, 9);
	memset(tail, 0, 500);
	CHECK_EQ(rte_pktmbuf_chain(a, b), 0);
	CHECK_EQ(rte_ring_enqueue(wire.in[0], a), 0);
	WAIT_FOR((back += wire_receive(&wire, &sum)) == 1);
	CHECK_EQ(sum, 9);
	CHECK_EQ(rte_mempool_in_use_count(wire_pool), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	wire_close(&wire);
}

static _Atomic uint32_t senders, overlaps;

/* Stays long enough in the driver's place that a second worker would be seen. */
static uint16_t linger(
	uint16_t port, uint16_t queue, struct rte_mbuf *pkts[], uint16_t n, void *arg)
{
	if (atomic_fetch_add(&senders, 1) != 0)
		atomic_fetch_add(&overlaps, 1);
	for (uint32_t k = 0; k < 2000; k++)
		__asm__ volatile("" ::: "memory");
	atomic_fetch_sub(&senders, 1);
	return n;
}

/* One transmit queue and two workers that send. */
static void workers_share_a_transmit_queue(void)
{
	struct rim_port_config cfg = {.name = "narrow", .kind = RIM_PORT_ETHDEV, .queues = 1};
	struct rte_ring *in, *out;
	struct rim_port_info info[2];
	uint32_t sent = 0, back = 0;
	struct wire wire;
	uint64_t sum = 0, want = 0;
	int port;

	wire_open(&wire, "wide", 2, 64);
	in = rte_ring_create("narrow-in", 64, SOCKET_ID_ANY, 0);
	out = rte_ring_create("narrow-out", 4096, SOCKET_ID_ANY, 0);
	REQUIRE(in != NULL && out != NULL);
	REQUIRE(rte_eth_from_rings("narrow", &in, 1, &out, 1, 0) >= 0);
	snprintf(cfg.pci, sizeof(cfg.pci), "net_ring_narrow");
	port = lab_port(&cfg);
	CHECK_EQ(rim_port_list(lab_rim, info, 2), 2);
	CHECK_EQ(info[1].tx_shared, true);
	REQUIRE(rte_eth_add_tx_callback(info[1].ethdev, 0, linger, NULL) != NULL);
	lab_vport(1, wire.port, 0);
	lab_vport(2, port, 0);
	atomic_store(&lab_out[1], 2);
	/* Full rings, so that both workers are at it for many bursts. */
	while (sent < 40000) {
		struct wire narrow = {.queues = 1, .out = {out}};

		for (uint32_t n = 0; n < 2000; n++, want += sent, sent++)
			CHECK(wire_send(&wire, sent & 1, 0, LAB_ETHERTYPE, sent));
		if (!WAIT_FOR((back += wire_receive(&narrow, &sum)) == sent))
			break;
	}
	CHECK_EQ(sum, want);
	CHECK_EQ(atomic_load(&overlaps), 0);
	atomic_store(&lab_out[1], 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 2), 0);
	lab_port_gone(port);
	rte_ring_free(in);
	rte_ring_free(out);
	wire_close(&wire);
}

static void one_port_carries_250_vports(void)
{
	struct rim_vport again = {.id = 400, .vlan = 7};
	uint64_t sum = 0, before[251];
	struct wire wire;
	uint32_t back = 0;

	wire_open(&wire, "trunk", 1, RING_SIZE);
	for (uint16_t n = 1; n <= 250; n++) {
		lab_vport(n, wire.port, (uint16_t)(n + 100));
		before[n] = lab_vport_rx(n);
	}
	again.port = (uint16_t)wire.port;
	again.vlan = 101;
	CHECK_EQ(rim_vport_add(lab_rim, &again, &lab_err), -EEXIST);
	CHECK_HAS(lab_err.text, "vport 1's");
	CHECK_EQ(rim_port_remove(lab_rim, (uint16_t)wire.port, &lab_err), -EBUSY);
	for (uint32_t n = 1; n <= 250; n++)
		for (uint32_t k = 0; k < 3; k++)
			CHECK(wire_send(&wire, 0, (uint16_t)(n + 100), LAB_ETHERTYPE, n));
	WAIT_FOR((back += wire_receive(&wire, &sum)) == 750);
	CHECK_EQ(sum, 3 * 250 * 251 / 2);
	for (uint16_t n = 1; n <= 250; n++) {
		CHECK_EQ(lab_vport_rx(n) - before[n], 3);
		CHECK_EQ(rim_vport_remove(lab_rim, n), 0);
	}
	wire_close(&wire);
}

/* Two vports of one trunk: the frame must leave with the tag of the vport it leaves on. */
static void the_tag_is_pushed_where_it_is_missing(void)
{
	uint8_t frame[64];
	struct rte_mbuf *m;
	struct wire wire;
	void *obj = NULL;

	wire_open(&wire, "tags", 1, 64);
	lab_vport(1, wire.port, 33);
	lab_frame(frame, 0, LAB_ETHERTYPE, 1);
	CHECK_EQ(rim_inject(lab_rim, 1, frame, 64), 0);
	REQUIRE(WAIT_FOR(rte_ring_dequeue(wire.out[0], &obj) == 0));
	m = obj;
	CHECK_EQ(m->pkt_len, 68);
	CHECK_MEM(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), "\x81\x00\x00\x21\x88\xb5", 6);
	rte_pktmbuf_free(m);
	lab_frame(frame, 33, LAB_ETHERTYPE, 1);
	CHECK_EQ(rim_inject(lab_rim, 1, frame, 64), 0);
	REQUIRE(WAIT_FOR(rte_ring_dequeue(wire.out[0], &obj) == 0));
	m = obj;
	CHECK_EQ(m->pkt_len, 64);
	rte_pktmbuf_free(m);
	CHECK_EQ(lab_in_use(), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	wire_close(&wire);
}

static void others_come_and_go_without_a_loss(void)
{
	struct rim_port_config null = {
		.name = "guest", .kind = RIM_PORT_NULL, .queues = 2, .devargs = "no-rx=1"};
	uint64_t want = 0, got = 0;
	uint32_t sent = 0, back = 0;
	struct wire wire;

	wire_open(&wire, "steady", 2, RING_SIZE);
	lab_vport(1, wire.port, 0);
	for (uint32_t round = 0; round < 20; round++) {
		int guest;

		for (uint32_t n = 0; n < 300; n++, want += sent, sent++)
			CHECK(wire_send(&wire, sent & 1, 0, LAB_ETHERTYPE, sent));
		guest = lab_port(&null);
		for (uint16_t v = 2; v < 20; v++)
			lab_vport(v, guest, v);
		lab_vport(20, wire.port, 99);
		back += wire_receive(&wire, &got);
		for (uint32_t n = 0; n < 100; n++, want += sent, sent++)
			CHECK(wire_send(&wire, sent & 1, 0, LAB_ETHERTYPE, sent));
		for (uint16_t v = 2; v <= 20; v++)
			CHECK_EQ(rim_vport_remove(lab_rim, v), 0);
		lab_port_gone(guest);
		WAIT_FOR((back += wire_receive(&wire, &got)) == sent);
	}
	CHECK_EQ(got, want);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	wire_close(&wire);
}

static _Atomic uint32_t called;

static void note_call(struct worker *w, void *arg)
{
	atomic_fetch_add(&called, (uint32_t)(uintptr_t)arg << (8 * w->id));
}

static void mailboxes_reach_each_worker(void)
{
	lab();
	CHECK_EQ(rim_call(lab_rim, 0, note_call, (void *)3), 0);
	CHECK_EQ(rim_call(lab_rim, 1, note_call, (void *)5), 0);
	CHECK_EQ(rim_call(lab_rim, LAB_WORKERS, note_call, NULL), -EINVAL);
	WAIT_FOR(atomic_load(&called) == 0x503);
}

static void held_packets_are_given_back(void)
{
	struct lab_totals before = lab_totals();
	struct wire wire;

	/* Freed by lab_drain() in the last case. */
	wire_open(&wire, "held", 1, 64);
	lab_vport(1, wire.port, 0);
	for (uint32_t n = 0; n < 10; n++)
		CHECK(wire_send(&wire, 0, 0, LAB_HOLD, n));
	CHECK(WAIT_FOR(lab_totals().held - before.held == 10));
	CHECK(lab_balanced());
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	wire_close(&wire);
}

/* Prints; nothing absolute is judged. */
static void what_a_packet_costs(void)
{
	struct rim_port_config cfg = {
		.name = "source", .kind = RIM_PORT_NULL, .queues = 1, .devargs = "size=64"};
	const struct worker_counters *c = &rim_dataplane(lab())->workers[0]->counters;
	struct rim_port_info info[1];
	uint64_t packets, ticks;
	int port = lab_port(&cfg);

	CHECK_EQ(rim_port_list(lab_rim, info, 1), 1);
	c = &rim_dataplane(lab())->workers[info[0].rx_worker[0]]->counters;
	lab_vport(1, port, 0);
	packets = *(volatile const uint64_t *)&c->sent;
	ticks = *(volatile const uint64_t *)&c->busy_ticks;
	WAIT_FOR(*(volatile const uint64_t *)&c->sent - packets > 2000000);
	ticks = *(volatile const uint64_t *)&c->busy_ticks - ticks;
	packets = *(volatile const uint64_t *)&c->sent - packets;
	CHECK_GT(packets, 0);
	printf("[null to null, MACs swapped: %.1f ticks a packet] ",
		(double)ticks / (double)packets);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	CHECK(lab_balanced());
	CHECK_EQ(lab_in_use(), 0);
}

/* What one thread of this process ran, if it is that worker (sched-stats in the kernel's
 * documentation). */
static uint64_t task_cpu_ns(const char *task, const char *worker)
{
	unsigned long long ns = 0;
	char path[320], name[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
	f = fopen(path, "re");
	if (f == NULL)
		return 0;
	if (fgets(name, sizeof(name), f) == NULL)
		name[0] = '\0';
	fclose(f);
	name[strcspn(name, "\n")] = '\0';
	if (strcmp(name, worker) != 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", task);
	f = fopen(path, "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static uint64_t worker_cpu_us(const char *worker)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	uint64_t ns = 0;

	while (d != NULL && (e = readdir(d)) != NULL)
		ns += task_cpu_ns(e->d_name, worker);
	if (d != NULL)
		closedir(d);
	return ns / 1000;
}

static _Atomic bool hold_worker;

static void hold(struct worker *w, void *arg)
{
	atomic_store(&hold_worker, true);
	while (atomic_load(&hold_worker))
		;
}

static void release(struct worker *w, void *arg)
{
	atomic_store(&hold_worker, false);
}

/* Beside a worker that spins, in the same time on the same machine. Rings cannot wake anybody: the
 * short sleeps are the dearer ones. */
static void an_idle_worker_costs_little(void)
{
	struct rim_worker_info before, after;
	uint64_t idle, spinning, start;
	struct wire wire;

	wire_open(&wire, "idle", 2, 64);
	CHECK_EQ(rim_worker_info(lab_rim, 1, &before), 0);
	CHECK_EQ(before.rx_queues, 1);
	CHECK_EQ(rim_call(lab_rim, 0, hold, NULL), 0);
	WAIT_FOR(atomic_load(&hold_worker));
	idle = worker_cpu_us("sluice-w1");
	spinning = worker_cpu_us("sluice-w0");
	CHECK_GT(spinning, 0);
	start = lab_us();
	WAIT_FOR(lab_us() - start > 500000 && rim_worker_info(lab_rim, 1, &after) == 0 &&
		after.sleeps > before.sleeps + 20);
	idle = worker_cpu_us("sluice-w1") - idle;
	spinning = worker_cpu_us("sluice-w0") - spinning;
	atomic_store(&hold_worker, false);
	CHECK_LT(2 * idle, spinning);
	printf("[%.1f %% of a spinning worker] ", 100 * (double)idle / (double)(spinning + 1));
	wire_close(&wire);
}

/* Control's requests end a sleep that nothing else ends here; most come when the worker is about to
 * sleep. */
static void no_request_is_slept_over(void)
{
	uint64_t start, spin_ns = lab_config().idle.spin_us * 1000ull;
	uint32_t calls = 0;

	lab();
	start = lab_us();
	while (lab_us() - start < 1000000) {
		atomic_store(&hold_worker, true);
		if (calls % 256 == 0)
			WAIT_FOR(lab_asleep() != 0);
		CHECK_EQ(rim_call(lab_rim, 0, release, NULL), 0);
		if (!WAIT_SPIN(!atomic_load(&hold_worker)))
			return;
		lab_spin_ns(spin_ns * 96 / 100 + calls++ * 37ull % (spin_ns * 8 / 100));
	}
	printf("[%u requests] ", calls);
}

/* The moment itself: a worker that was woken for nothing has looked into its mailbox, and does not
 * say yet that it sleeps, so nobody rings. */
static void a_request_behind_the_last_look_is_seen(void)
{
	struct rim_worker_info info;
	struct wire wire;

	wire_open(&wire, "late", 1, 64);
	for (uint32_t n = 0; n < 20; n++) {
		uint32_t before = rim_now_ms(lab_rim);

		WAIT_FOR(rim_now_ms(lab_rim) - before > 2 &&
			rim_worker_info(lab_rim, 1, &info) == 0 && info.asleep);
		atomic_store(&hold_worker, true);
		atomic_store(&lab_gate, LAB_STOP);
		lab_vport(1, wire.port, 0);
		if (!WAIT_SPIN(atomic_load(&lab_gate) == LAB_STOPPED))
			break;
		CHECK_EQ(rim_call(lab_rim, 1, release, NULL), 0);
		atomic_store(&lab_gate, LAB_RUNS);
		if (!WAIT_SPIN(!atomic_load(&hold_worker)))
			break;
		CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	}
	atomic_store(&lab_gate, LAB_RUNS);
	wire_close(&wire);
}

/* Who sleeps has let go of everything: a grace period ends without waking anybody. */
static void nobody_waits_for_a_sleeper(void)
{
	struct grace *g = &rim_dataplane(lab())->grace;
	uint64_t sleeps = 0;
	uint32_t stamp;

	WAIT_FOR((sleeps = lab_asleep()) != 0);
	stamp = grace_stamp(g);
	WAIT_FOR(grace_passed(g, stamp));
	CHECK_EQ(lab_asleep(), sleeps);
}

TEST_SUITE("rim", CASE(several_daemons_run_at_once), CASE(hugepages_need_no_mount),
	CASE(a_nic_that_is_not_bound_is_left_alone), CASE(errors_say_what_to_do),
	CASE(frames_go_back), CASE(a_full_port_drops_and_counts),
	CASE(what_no_vport_takes_is_counted), CASE(full_bursts_leave_where_they_should),
	CASE(segments_become_one), CASE(workers_share_a_transmit_queue),
	CASE(one_port_carries_250_vports), CASE(the_tag_is_pushed_where_it_is_missing),
	CASE(others_come_and_go_without_a_loss), CASE(mailboxes_reach_each_worker),
	CASE(what_a_packet_costs), CASE(an_idle_worker_costs_little),
	CASE(no_request_is_slept_over), CASE(a_request_behind_the_last_look_is_seen),
	CASE(nobody_waits_for_a_sleeper), CASE(held_packets_are_given_back),
	CASE(stops_and_every_buffer_is_back))
