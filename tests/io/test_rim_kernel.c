/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rim on interfaces of the kernel: AF_PACKET and AF_XDP over veth pairs, TAP. The process moves
 * into a network namespace of its own, which goes with it. The test holds the other end of each
 * pair by a packet socket. Needs root; says so and skips (77) without. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "rim_lab.h"

static __attribute__((format(printf, 1, 2))) int ip(const char *fmt, ...)
{
	char command[256] = "ip ";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command + 3, sizeof(command) - 3, fmt, ap);
	va_end(ap);
	return system(command);
}

/* Both ends up and silent. */
static void veth(const char *ours, const char *theirs, const char *more)
{
	REQUIRE_EQ(ip("link add %s %s type veth peer name %s %s", ours, more, theirs, more), 0);
	REQUIRE_EQ(ip("link set %s up", ours), 0);
	REQUIRE_EQ(ip("link set %s up", theirs), 0);
}

static int peer_open(const char *iface)
{
	struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	int one = 1, room = 4 << 20;

	REQUIRE(fd >= 0);
	sa.sll_ifindex = (int)if_nametoindex(iface);
	CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)), 0);
	CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	CHECK_EQ(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* One frame, or -1; the kernel takes the tag off and tells it beside. */
static int peer_receive(int fd, uint8_t *frame, size_t size, uint16_t *vlan)
{
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	struct iovec iov = {.iov_base = frame, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t len = recvmsg(fd, &msg, 0);

	*vlan = 0;
	if (len < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if ((aux.tp_status & TP_STATUS_VLAN_VALID) != 0)
			*vlan = aux.tp_vlan_tci & 0xfff;
	}
	return (int)len;
}

/* Counts what came back of our kind. */
static uint32_t peer_count(int fd)
{
	uint8_t frame[2048];
	uint32_t n = 0;
	uint16_t vlan;

	while (peer_receive(fd, frame, sizeof(frame), &vlan) >= 0)
		n += frame[5] == 2 && frame[11] == 1;
	return n;
}

/* Sends count frames and waits until all are back. */
static void echo(int fd, uint32_t count)
{
	uint32_t back = 0;
	uint8_t frame[64];

	for (uint32_t sent = 0; sent < count;) {
		for (uint32_t n = 0; n < 200 && sent < count; n++, sent++) {
			lab_frame(frame, 0, LAB_ETHERTYPE, sent);
			REQUIRE_EQ(send(fd, frame, sizeof(frame), 0), sizeof(frame));
		}
		if (!WAIT_FOR((back += peer_count(fd)) >= sent))
			return;
	}
	CHECK_EQ(back, count);
}

static int packet_port(const char *iface, uint16_t queues)
{
	struct rim_port_config cfg = {.kind = RIM_PORT_AF_PACKET, .queues = queues};
	int port;

	snprintf(cfg.name, sizeof(cfg.name), "%s", iface);
	snprintf(cfg.iface, sizeof(cfg.iface), "%s", iface);
	port = lab_port(&cfg);
	WAIT_FOR(lab_up(port));
	return port;
}

/* --- cases --------------------------------------------------------------------------------------
 */

static void packet_sockets_carry(void)
{
	struct lab_totals before;
	int port, fd;

	lab();
	veth("a0", "b0", "");
	fd = peer_open("b0");
	port = packet_port("a0", 1);
	lab_vport(1, port, 0);
	before = lab_totals();
	echo(fd, 5000);
	CHECK_EQ(lab_totals().received - before.received, 5000);
	CHECK_EQ(lab_totals().sent - before.sent, 5000);
	CHECK_EQ(lab_totals().drops - before.drops, 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	CHECK_EQ(lab_in_use(), 0);
	close(fd);
	CHECK_EQ(ip("link del a0"), 0);
}

static uint16_t csum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t n = 0; n < len; n += 2)
		sum += (uint32_t)(p[n] << 8 | p[n + 1]);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static _Atomic bool hold_worker;

static void wait_for_release(struct worker *w, void *arg)
{
	atomic_store(&hold_worker, true);
	while (atomic_load(&hold_worker))
		;
}

/* Frames that the kernel threw away because the worker was late are counted by nobody else. */
static void a_full_ring_is_counted(void)
{
	struct rim_port_stats stats;
	uint8_t frame[64];
	uint64_t before;
	int port, fd;

	lab();
	veth("a0", "b0", "");
	fd = peer_open("b0");
	port = packet_port("a0", 1);
	lab_vport(1, port, 0);
	before = lab_vport_rx(1);
	CHECK_EQ(rim_call(lab_rim, 0, wait_for_release, NULL), 0);
	REQUIRE(WAIT_FOR(atomic_load(&hold_worker)));
	for (uint32_t n = 0; n < 3000; n++) {
		lab_frame(frame, 0, LAB_ETHERTYPE, n);
		CHECK_EQ(send(fd, frame, sizeof(frame), 0), sizeof(frame));
	}
	atomic_store(&hold_worker, false);
	WAIT_FOR(rim_port_stats(lab_rim, (uint16_t)port, &stats) == 0 &&
		stats.rx_packets + stats.rx_missed == 3000);
	CHECK_GT(stats.rx_missed, 0);
	WAIT_FOR(lab_vport_rx(1) - before == stats.rx_packets && lab_balanced());
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	close(fd);
	CHECK_EQ(ip("link del a0"), 0);
}

/* A fragment of a UDP datagram of 1480 + 520 bytes behind the IP header. */
static size_t fragment(uint8_t *out, bool first)
{
	uint16_t payload = first ? 1480 : 520;
	uint16_t total = (uint16_t)(20 + payload), sum;
	uint8_t *h = out + 14;

	lab_frame(out, 0, ETH_P_IP, 0);
	memset(h, 0, total);
	h[0] = 0x45;
	h[2] = (uint8_t)(total >> 8);
	h[3] = (uint8_t)total;
	h[5] = 77;
	h[6] = first ? 0x20 : 0;
	h[7] = first ? 0 : 1480 / 8;
	h[8] = 64;
	h[9] = 17;
	memcpy(h + 12, "\x0a\0\0\1\x0a\0\0\2", 8);
	sum = csum(h, 20);
	h[10] = (uint8_t)(sum >> 8);
	h[11] = (uint8_t)sum;
	return 14u + total;
}

/* The driver asks the kernel to put datagrams together; the rim must not let it. */
static void fragments_stay_fragments(void)
{
	for (uint16_t queues = 1; queues <= 2; queues++) {
		uint8_t frame[2048];
		int port, fd, len = -1;
		uint16_t vlan;

		lab();
		veth("a0", "b0", "");
		fd = peer_open("b0");
		port = packet_port("a0", queues);
		lab_vport(1, port, 0);
		for (int n = 0; n < 2; n++) {
			size_t size = fragment(frame, n == 0);

			CHECK_EQ(send(fd, frame, size, 0), size);
			WAIT_FOR((len = peer_receive(fd, frame, sizeof(frame), &vlan)) >= 0);
			CHECK_EQ(len, size);
		}
		CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
		lab_port_gone(port);
		close(fd);
		CHECK_EQ(ip("link del a0"), 0);
	}
}

/* What the host sends on its end of the pair must not look as if the pod had sent it. */
static void the_hosts_own_frames_are_not_seen(void)
{
	struct lab_totals before;
	int port, fd, own;
	uint8_t frame[64];

	lab();
	veth("a0", "b0", "");
	fd = peer_open("b0");
	own = peer_open("a0");
	port = packet_port("a0", 1);
	lab_vport(1, port, 0);
	before = lab_totals();
	lab_frame(frame, 0, LAB_ETHERTYPE, 1);
	CHECK_EQ(send(own, frame, sizeof(frame), 0), sizeof(frame));
	echo(fd, 1);
	/* That one was behind it in time. */
	CHECK_EQ(lab_totals().received - before.received, 1);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	close(fd);
	close(own);
	CHECK_EQ(ip("link del a0"), 0);
}

static void both_workers_share_a_port(void)
{
	const struct dataplane *dp = rim_dataplane(lab());
	uint64_t before[LAB_WORKERS], all;
	struct rim_port_info info[1];
	int port, fd;

	veth("a0", "b0", "");
	fd = peer_open("b0");
	port = packet_port("a0", 2);
	lab_vport(1, port, 0);
	CHECK_EQ(rim_port_list(lab_rim, info, 1), 1);
	CHECK_EQ(info[0].rx_queues, 2);
	CHECK_EQ(info[0].tx_shared, false);
	for (uint32_t n = 0; n < LAB_WORKERS; n++)
		before[n] = dp->workers[n]->counters.received;
	all = lab_vport_rx(1);
	/* Flows differ by address, so that the kernel's hash spreads them. */
	for (uint32_t n = 0; n < 64; n++) {
		uint8_t frame[2048];
		size_t size = fragment(frame, false);

		frame[14 + 6] = frame[14 + 7] = 0;
		frame[14 + 15] = (uint8_t)n;
		frame[14 + 10] = frame[14 + 11] = 0;
		frame[14 + 21] = (uint8_t)n;
		CHECK_EQ(send(fd, frame, size, 0), size);
	}
	WAIT_FOR(lab_vport_rx(1) - all == 64 && lab_balanced());
	for (uint32_t n = 0; n < LAB_WORKERS; n++)
		CHECK_GT(dp->workers[n]->counters.received, before[n]);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	close(fd);
	CHECK_EQ(ip("link del a0"), 0);
}

static void a_trunk_keeps_its_tags(void)
{
	uint8_t frame[2048];
	int port, fd, len;
	uint16_t vlan = 0;
	uint64_t before;

	lab();
	veth("a0", "b0", "");
	fd = peer_open("b0");
	port = packet_port("a0", 1);
	lab_vport(1, port, 0);
	lab_vport(2, port, 100);
	before = lab_vport_rx(2);
	lab_frame(frame, 100, LAB_ETHERTYPE, 1);
	CHECK_EQ(send(fd, frame, 64, 0), 64);
	WAIT_FOR((len = peer_receive(fd, frame, sizeof(frame), &vlan)) >= 0);
	CHECK_EQ(vlan, 100);
	CHECK_EQ(lab_vport_rx(2) - before, 1);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 2), 0);
	lab_port_gone(port);
	close(fd);
	CHECK_EQ(ip("link del a0"), 0);
}

static void the_link_follows_the_interface(void)
{
	struct lab_totals before;
	uint8_t frame[64];
	int port, fd;

	lab();
	veth("a0", "b0", "");
	port = packet_port("a0", 1);
	lab_vport(1, port, 0);
	CHECK_EQ(ip("link set b0 down"), 0);
	WAIT_FOR(!lab_up(port));
	before = lab_totals();
	lab_frame(frame, 0, LAB_ETHERTYPE, 1);
	CHECK_EQ(rim_inject(lab_rim, 1, frame, 64), 0);
	WAIT_FOR(lab_totals().by_reason[DROP_TxPortDown] - before.by_reason[DROP_TxPortDown] == 1);
	CHECK_EQ(ip("link set b0 up"), 0);
	WAIT_FOR(lab_up(port));
	fd = peer_open("b0");
	echo(fd, 100);
	/* The interface goes away under the port: down, no crash, and it can be removed. */
	close(fd);
	CHECK_EQ(ip("link del a0"), 0);
	WAIT_FOR(!lab_up(port));
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	CHECK_EQ(lab_in_use(), 0);
}

static void a_tap_interface(void)
{
	struct rim_port_config cfg = {
		.name = "tap", .kind = RIM_PORT_TAP, .iface = "rtap0", .queues = 1};
	struct lab_totals before;
	uint16_t index;
	int port, fd;

	port = lab_port(&cfg);
	cfg.name[0] = 'q';
	CHECK_EQ(rim_port_add(lab_rim, &cfg, &index, &lab_err), -EEXIST);
	CHECK_HAS(lab_err.text, "rtap0");
	CHECK_EQ(ip("link set rtap0 up"), 0);
	WAIT_FOR(lab_up(port));
	lab_vport(1, port, 0);
	fd = peer_open("rtap0");
	before = lab_totals();
	echo(fd, 2000);
	CHECK_EQ(lab_totals().received - before.received, 2000);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	CHECK_EQ(if_nametoindex("rtap0"), 0);
	CHECK_EQ(lab_in_use(), 0);
	close(fd);
}

/* An AF_XDP port on one end of a veth, whose other end is the peer; false where there is none. */
static bool xdp_begin(uint16_t *index, int *peer)
{
	struct rim_port_config cfg = {.name = "xdp", .kind = RIM_PORT_AF_XDP, .iface = "x0"};

	lab();
	veth("x0", "y0", "");
	*peer = peer_open("y0");
	if (rim_port_add(lab_rim, &cfg, index, &lab_err) != 0) {
		printf("[not run: %s] ", lab_err.text);
		return false;
	}
	WAIT_FOR(lab_up(*index));
	lab_vport(1, *index, 0);
	return true;
}

static void xdp_sockets_carry(void)
{
	struct lab_totals before;
	uint16_t index;
	int fd;

	if (!xdp_begin(&index, &fd))
		goto out;
	before = lab_totals();
	echo(fd, 5000);
	CHECK_EQ(lab_totals().received - before.received, 5000);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(index);
	CHECK_EQ(lab_in_use(), 0);
out:
	close(fd);
	CHECK_EQ(ip("link del x0"), 0);
}

/* From one XDP port to the other in bursts, so that the buffers of both pools come around. */
static void xdp_sockets_carry_to_another(void)
{
	struct rim_port_config cfg = {.kind = RIM_PORT_AF_XDP};
	uint32_t sent = 0, back = 0;
	uint16_t index[2];
	int fd[2];

	lab();
	for (uint32_t n = 0; n < 2; n++) {
		char peer[16];

		snprintf(cfg.name, sizeof(cfg.name), "x%u", n);
		snprintf(cfg.iface, sizeof(cfg.iface), "x%u", n);
		snprintf(peer, sizeof(peer), "y%u", n);
		veth(cfg.iface, peer, "");
		fd[n] = peer_open(peer);
		if (rim_port_add(lab_rim, &cfg, &index[n], &lab_err) != 0) {
			printf("[not run: %s] ", lab_err.text);
			return;
		}
		WAIT_FOR(lab_up(index[n]));
		lab_vport((uint16_t)(n + 1), index[n], 0);
	}
	atomic_store(&lab_out[1], 2);
	while (sent < 20000) {
		uint8_t frame[1514] = {0};

		for (uint32_t n = 0; n < 500; n++, sent++) {
			lab_frame(frame, 0, LAB_ETHERTYPE, sent);
			REQUIRE_EQ(send(fd[0], frame, sizeof(frame), 0), sizeof(frame));
		}
		if (!WAIT_FOR((back += peer_count(fd[1])) >= sent))
			break;
	}
	CHECK_EQ(back, sent);
	atomic_store(&lab_out[1], 0);
	for (uint32_t n = 0; n < 2; n++) {
		CHECK_EQ(rim_vport_remove(lab_rim, (uint16_t)(n + 1)), 0);
		lab_port_gone(index[n]);
		close(fd[n]);
		CHECK_EQ(ip("link del x%u", n), 0);
	}
}

/* --- sleepers -----------------------------------------------------------------------------------
 */

static uint32_t one_frame(int fd, uint32_t number)
{
	uint8_t frame[64];

	lab_frame(frame, 0, LAB_ETHERTYPE, number);
	REQUIRE_EQ(send(fd, frame, sizeof(frame), 0), sizeof(frame));
	return number + 1;
}

/* Frames one at a time: to workers that sleep, then for a second to workers that are about to, at
 * every distance behind the last frame. A frame that wakes nobody is not seen for LAB_SLEEP_MS. */
static void each_frame_wakes(int fd)
{
	uint32_t sent = 0, back = 0;
	uint64_t start;

	peer_count(fd);
	while (sent < 100) {
		WAIT_FOR(lab_asleep() != 0);
		sent = one_frame(fd, sent);
		if (!WAIT_SPIN((back += peer_count(fd)) == sent))
			return;
	}
	start = lab_us();
	while (lab_us() - start < 1000000) {
		sent = one_frame(fd, sent);
		if (!WAIT_SPIN((back += peer_count(fd)) == sent))
			return;
		lab_spin_ns(sent * 7013 % 97000);
	}
	CHECK_GT(sent, 100);
	printf("[%u frames] ", sent);
}

static void each_frame_wakes_from_a_packet_socket(void)
{
	int port, fd;

	lab();
	veth("a0", "b0", "");
	fd = peer_open("b0");
	port = packet_port("a0", 1);
	lab_vport(1, port, 0);
	each_frame_wakes(fd);
	/* The interface goes down and comes back: the error of the socket does not stay. */
	CHECK_EQ(ip("link set a0 down"), 0);
	WAIT_FOR(!lab_up(port));
	CHECK_EQ(ip("link set a0 up"), 0);
	WAIT_FOR(lab_up(port));
	each_frame_wakes(fd);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	close(fd);
	CHECK_EQ(ip("link del a0"), 0);
}

static void each_frame_wakes_from_tap(void)
{
	struct rim_port_config cfg = {
		.name = "tap", .kind = RIM_PORT_TAP, .iface = "rtap0", .queues = 1};
	int port = lab_port(&cfg), fd;

	CHECK_EQ(ip("link set rtap0 up"), 0);
	WAIT_FOR(lab_up(port));
	lab_vport(1, port, 0);
	fd = peer_open("rtap0");
	each_frame_wakes(fd);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	close(fd);
}

static void each_frame_wakes_from_xdp(void)
{
	uint16_t index;
	int fd;

	if (!xdp_begin(&index, &fd))
		goto out;
	each_frame_wakes(fd);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(index);
out:
	close(fd);
	CHECK_EQ(ip("link del x0"), 0);
}

/* Before main, because EAL's threads must be born inside the namespace. */
static __attribute__((constructor)) void own_namespace(void)
{
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		printf("skipped: a network namespace needs root\n");
		exit(77);
	}
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			printf("IPv6 stays on\n");
		close(fd);
	}
}

TEST_SUITE("rim_kernel", CASE(packet_sockets_carry), CASE(a_full_ring_is_counted),
	CASE(fragments_stay_fragments), CASE(the_hosts_own_frames_are_not_seen),
	CASE(both_workers_share_a_port), CASE(a_trunk_keeps_its_tags),
	CASE(the_link_follows_the_interface), CASE(a_tap_interface), CASE(xdp_sockets_carry),
	CASE(xdp_sockets_carry_to_another), CASE(each_frame_wakes_from_a_packet_socket),
	CASE(each_frame_wakes_from_tap), CASE(each_frame_wakes_from_xdp),
	CASE(stops_and_every_buffer_is_back))
