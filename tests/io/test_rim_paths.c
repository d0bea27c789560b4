/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rim on ports behind a path: pcap files, memif and vhost-user sockets. The cases share one
 * rim; each takes away the ports it made. */

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "rim_lab.h"

static void a_file_in_and_a_file_out(void)
{
	/* The header of a pcap file, and of one record (pcap-savefile(5)). */
	const uint32_t file_header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
	const uint32_t record[4] = {0, 0, 64, 64};
	char in[] = "/tmp/sluice-rim-in-XXXXXX", out[] = "/tmp/sluice-rim-out-XXXXXX";
	struct rim_port_config cfg = {.name = "file", .kind = RIM_PORT_PCAP};
	int in_fd = mkstemp(in), out_fd = mkstemp(out), port;
	struct lab_totals before;
	uint8_t frame[64];
	struct stat st;

	lab();
	before = lab_totals();
	REQUIRE(in_fd >= 0 && out_fd >= 0);
	CHECK_EQ(write(in_fd, file_header, sizeof(file_header)), sizeof(file_header));
	for (uint32_t n = 0; n < 100; n++) {
		lab_frame(frame, 0, LAB_ETHERTYPE, n);
		CHECK_EQ(write(in_fd, record, sizeof(record)), sizeof(record));
		CHECK_EQ(write(in_fd, frame, sizeof(frame)), sizeof(frame));
	}
	/* Workers may read the file before the vport is there: those frames are counted drops. */
	snprintf(cfg.path, sizeof(cfg.path), "%s", in);
	snprintf(cfg.tx_path, sizeof(cfg.tx_path), "%s", out);
	port = lab_port(&cfg);
	lab_vport(1, port, 0);
	WAIT_FOR(lab_totals().received - before.received == 100 && lab_balanced());
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	lab_port_gone(port);
	CHECK_EQ(fstat(out_fd, &st), 0);
	CHECK_EQ((uint64_t)st.st_size,
		sizeof(file_header) +
			(lab_totals().sent - before.sent) * (sizeof(record) + sizeof(frame)));
	CHECK_EQ(lab_in_use(), 0);
	unlink(in);
	unlink(out);
	close(in_fd);
	close(out_fd);
}

/* Frames that go in on one end of a pair of ports come out of the other. The link of vhost-user is
 * up before its guest has enabled the rings, and what is sent in between is a counted drop: so
 * probes go first, and the count starts when one has come back. */
static void pair_carries(int a, int b)
{
	uint64_t before, full;
	uint8_t frame[64];

	WAIT_FOR(lab_up(a) && lab_up(b));
	lab_vport(1, a, 0);
	lab_vport(2, b, 0);
	atomic_store(&lab_out[1], LAB_SINK);
	before = lab_vport_rx(1);
	WAIT_FOR(probe_returned(before));
	before = lab_vport_rx(1);
	full = lab_totals().by_reason[DROP_TxQueueFull];
	for (uint32_t n = 0; n < 50; n++) {
		lab_frame(frame, 0, LAB_ETHERTYPE, n);
		CHECK_EQ(rim_inject(lab_rim, 1, frame, 64), 0);
	}
	/* b reflects, a sinks; the last probes may still be on their way */
	WAIT_FOR(lab_vport_rx(1) - before >= 50);
	CHECK(WAIT_FOR(lab_balanced()));
	CHECK_EQ(lab_totals().by_reason[DROP_TxQueueFull], full);
	/* One at a time, there and back between two workers of which the other may sleep. */
	for (uint32_t n = 0; n < 200; n++) {
		if (n % 2 == 0)
			WAIT_FOR(lab_asleep() != 0);
		before = lab_vport_rx(1);
		lab_frame(frame, 0, LAB_ETHERTYPE, n);
		CHECK_EQ(rim_inject(lab_rim, 1, frame, 64), 0);
		if (!WAIT_SPIN(lab_vport_rx(1) - before == 1))
			break;
		lab_spin_ns(n * 997 % 97000);
	}
	CHECK(WAIT_FOR(lab_balanced()));
	atomic_store(&lab_out[1], 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 1), 0);
	CHECK_EQ(rim_vport_remove(lab_rim, 2), 0);
	lab_port_gone(b);
	lab_port_gone(a);
	WAIT_FOR(lab_in_use() == 0);
}

static void socket_path(char *out, size_t size, const char *name)
{
	snprintf(out, size, "/tmp/sluice-rim-%d-%s", (int)getpid(), name);
}

static void a_memif_pair(void)
{
	struct rim_port_config server = {.name = "memif-s", .kind = RIM_PORT_MEMIF, .server = true},
			       client = {.name = "memif-c", .kind = RIM_PORT_MEMIF};
	int a, b;

	socket_path(server.path, sizeof(server.path), "memif");
	memcpy(client.path, server.path, sizeof(client.path));
	a = lab_port(&server);
	b = lab_port(&client);
	pair_carries(a, b);
	unlink(server.path);
}

/* A socket that a dead daemon left is removed; anything else of that name is not. */
static void stale_sockets_are_removed(void)
{
	struct rim_port_config cfg = {.name = "vhost", .kind = RIM_PORT_VHOST_USER, .server = true};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct stat st;

	socket_path(cfg.path, sizeof(cfg.path), "stale");
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", cfg.path);
	unlink(cfg.path);
	CHECK_EQ(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	CHECK_EQ(listen(fd, 1), 0);
	refuse(cfg, "somebody listens");
	close(fd);
	lab_port_gone(lab_port(&cfg));
	unlink(cfg.path);
	fd = open(cfg.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK_GE(fd, 0);
	refuse(cfg, "is no socket");
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 1);
	close(fd);
	unlink(cfg.path);
}

static void a_vhost_user_pair(void)
{
	struct rim_port_config host = {.name = "vhost",
				       .kind = RIM_PORT_VHOST_USER,
				       .server = true},
			       guest = {.name = "virtio",
				       .kind = RIM_PORT_VIRTIO_USER,
				       .descriptors = 256};
	int a, b;

	socket_path(host.path, sizeof(host.path), "vhost");
	memcpy(guest.path, host.path, sizeof(guest.path));
	a = lab_port(&host);
	b = lab_port(&guest);
	pair_carries(a, b);
	unlink(host.path);
}

TEST_SUITE("rim_paths", CASE(a_file_in_and_a_file_out), CASE(a_memif_pair),
	CASE(stale_sockets_are_removed), CASE(a_vhost_user_pair),
	CASE(stops_and_every_buffer_is_back))
