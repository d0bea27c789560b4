/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a test can do with an emulated NIC beyond DPDK's API: send and take frames on its wires,
 * advance its clock, set faults, read its counters.
 *
 * Link the driver's objects into the test program, or look the functions up with dlsym() after EAL
 * has loaded the plug-in. Any thread may call; net_emu_step() only for a NIC made with step=1. The
 * same commands are served on a unix socket for tests of another process (devarg control=PATH). */

#pragma once

#include <stddef.h>
#include <stdint.h>

struct emu_nic;

/* The NIC of that vdev name ("net_emu0"), or NULL. It lives until the vdev is removed. */
struct emu_nic *net_emu_find(const char *name);

/* DPDK's port id of a NIC's port (0: uplink, n: representor n - 1), or -ENODEV. */
int net_emu_ethdev(struct emu_nic *nic, unsigned port);

/* One line of text in, an answer of lines out; README.md lists the commands. Returns 0, or -errno
 * with the reason in out. */
int net_emu_command(struct emu_nic *nic, const char *line, char *out, size_t size);

/* --- wires (wire=ring) --- */

/* A frame arrives from the wire of a port. -ENETDOWN: port not started, -ENOBUFS: ring or pool. */
int net_emu_wire_send(struct emu_nic *nic, unsigned port, const void *frame, uint16_t len);
/* Takes the next frame that left on a port's wire: its length, or 0 when there is none. */
int net_emu_wire_recv(struct emu_nic *nic, unsigned port, void *frame, uint16_t size);

/* --- step mode --- */

/* Moves the virtual clock by ns, then lets the e-switch take at most that many frames from each
 * wire and from each transmit queue. Returns how many it took, or -EBUSY without step=1. */
int net_emu_step(struct emu_nic *nic, unsigned packets, uint64_t ns);
/* The NIC's clock: virtual with step=1, else the machine's monotonic one. */
uint64_t net_emu_now(struct emu_nic *nic);

/* Called inside a create or destroy, after the rule became active or ceased to be and before the
 * call returns: the place where a slow driver lets the world move on. */
enum net_emu_point {
	NET_EMU_CREATED,
	NET_EMU_DESTROYED
};
void net_emu_hook(
	struct emu_nic *nic, void (*hook)(void *arg, enum net_emu_point point), void *arg);

/* --- counters --- */

/* After every step: wire_rx = to_cpu + forwarded + dropped by any of the three below + rx_full. */
struct net_emu_counters {
	uint64_t wire_rx;   /* frames from the wires */
	uint64_t wire_tx;   /* frames to the wires, forwarded and sent by the program */
	uint64_t tx_lost;   /* frames a wire did not take */
	uint64_t forwarded; /* moved by a rule; the program never sees them */
	uint64_t forwarded_bytes;
	uint64_t to_cpu;      /* given to receive queues */
	uint64_t rx_full;     /* receive queue full */
	uint64_t rule_drops;  /* action DROP */
	uint64_t mtu_drops;   /* longer than the out port's MTU */
	uint64_t error_drops; /* a rule's action did not fit the frame, or the out port is down */
	uint64_t ttl_misses;  /* DEC_TTL with TTL <= 1: to the program */
	uint64_t rules;       /* now */
	uint64_t creates, creates_failed, destroys, destroys_failed, queries;
	uint64_t bad_handles; /* calls with a handle that is no live rule: the caller's bug */
	uint64_t stops_with_rules;
	uint64_t rules_leaked; /* still there at close */
	uint64_t told_hits;    /* by queries; each hit once */
	uint64_t lost_hits;    /* of rules that went before anybody asked */
	uint64_t aged, aged_lost;
};

void net_emu_counters(struct emu_nic *nic, struct net_emu_counters *out);
