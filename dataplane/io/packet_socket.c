/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Keeps the kernel from reassembling IPv4 datagrams before the af_packet driver sees them.
 *
 * The driver joins every socket to a fanout group with PACKET_FANOUT_FLAG_DEFRAG, and offers no
 * argument against it: a 2000-byte datagram would arrive as one frame larger than the MTU, cut off
 * at the ring's frame size. The flag cannot be taken back from a socket. So this file defines
 * setsockopt(), which the driver's shared object then finds in our program instead of in libc, and
 * which takes the flag out while rim_port_add() probes such a port on this thread. A port of one
 * queue joins no group at all. The socket is also told not to show us frames that the host itself
 * sends on the interface: they would look as if the pod had sent them.
 *
 * Knowing the sockets, the rim can also ask the kernel how many frames found the ring full, which
 * the driver does not tell.
 *
 * Every other call goes straight to the kernel. Any thread. */

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/rim_internal.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static _Thread_local struct {
	bool active;
	uint16_t queues;
	struct rim_packet_sockets *sockets;
} probing;

void rim_packet_sockets_begin(uint16_t queues, struct rim_packet_sockets *sockets)
{
	probing.active = true;
	probing.queues = queues;
	probing.sockets = sockets;
	sockets->n = 0;
}

void rim_packet_sockets_end(void)
{
	probing.active = false;
}

void rim_packet_sockets_missed(const struct rim_packet_sockets *sockets, uint64_t *missed)
{
	for (uint32_t n = 0; n < sockets->n; n++) {
		struct tpacket_stats st;
		socklen_t size = sizeof(st);

		if (getsockopt(sockets->fd[n], SOL_PACKET, PACKET_STATISTICS, &st, &size) == 0)
			*missed += st.tp_drops;
	}
}

static int set(int fd, int level, int option, const void *value, socklen_t size)
{
	return (int)syscall(SYS_setsockopt, fd, level, option, value, size);
}

static int join_fanout(int fd, const void *value, socklen_t size)
{
	uint32_t arg;
	int one = 1;

	if (probing.sockets->n < RIM_QUEUES_MAX)
		probing.sockets->fd[probing.sockets->n++] = fd;
	/* Since Linux 4.20; older kernels show the host's own frames. */
	(void)set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	if (probing.queues == 1 || size != sizeof(arg))
		return 0;
	memcpy(&arg, value, sizeof(arg));
	arg &= ~((uint32_t)PACKET_FANOUT_FLAG_DEFRAG << 16);
	return set(fd, SOL_PACKET, PACKET_FANOUT, &arg, sizeof(arg));
}

__attribute__((visibility("default"))) int setsockopt(
	int fd, int level, int option, const void *value, socklen_t size)
{
	if (probing.active && level == SOL_PACKET && option == PACKET_FANOUT)
		return join_fanout(fd, value, size);
	return set(fd, level, option, value, size);
}
