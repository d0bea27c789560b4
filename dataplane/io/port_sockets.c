/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The sockets that drivers open for kernel interfaces, known without asking the drivers, which do
 * not tell: this file defines setsockopt(), which their shared objects then find in our program
 * instead of in libc, and which looks on while rim_port_add() makes a port on this thread. What is
 * noted there, a socket a receive queue, in order, is what an idle worker waits on (wait.c), and
 * what the kernel is asked how many frames found a ring full.
 *
 * af_packet joins every socket to a fanout group with PACKET_FANOUT_FLAG_DEFRAG, and offers no
 * argument against it: a 2000-byte datagram would arrive as one frame larger than the MTU, cut off
 * at the ring's frame size. The flag cannot be taken back from a socket, so it is taken out here. A
 * port of one queue joins no group at all. The socket is also told not to show us frames that the
 * host itself sends on the interface: they would look as if the pod had sent them.
 *
 * Every other call goes straight to the kernel. Any thread. */

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/rim_internal.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static _Thread_local struct {
	bool active;
	uint16_t queues;
	struct rim_sockets *sockets;
} probing;

void rim_sockets_begin(uint16_t queues, struct rim_sockets *sockets)
{
	probing.active = true;
	probing.queues = queues;
	probing.sockets = sockets;
	sockets->n = 0;
}

void rim_sockets_end(void)
{
	probing.active = false;
}

void rim_sockets_missed(const struct rim_sockets *sockets, uint64_t *missed)
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

static void note(int fd)
{
	if (probing.sockets->n < RIM_QUEUES_MAX)
		probing.sockets->fd[probing.sockets->n++] = fd;
}

static int join_fanout(int fd, const void *value, socklen_t size)
{
	uint32_t arg;
	int one = 1;

	note(fd);
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
	/* The call that makes it a socket that receives. */
	if (probing.active && level == SOL_XDP && option == XDP_RX_RING)
		note(fd);
	return set(fd, level, option, value, size);
}
