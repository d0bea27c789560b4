/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The DPDK rim as control sees it: one EAL, its ports, the vports above them, the workers.
 *
 * No DPDK type appears here. One rim a process, because EAL can be started once. Every call is for
 * the control thread (the one that called rim_start), unless it says "any thread". Calls that add
 * or remove a port take as long as the driver takes (milliseconds); no worker waits for them.
 * Errors: 0 or -errno, and a text for people in struct rim_error. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"

#define RIM_PORTS_MAX  32 /* DPDK's own limit, RTE_MAX_ETHPORTS of Debian */
#define RIM_QUEUES_MAX 16 /* of one port */
#define RIM_NAME_MAX   32
#define RIM_PATH_MAX   108 /* sun_path */
#define RIM_ARGS_MAX   256

struct rim;

struct rim_error {
	char text[320];
};

/* --- start and stop --------------------------------------------------------------------------- */

enum rim_hugepages {
	RIM_HUGEPAGES_AUTO, /* use them when enough are free */
	RIM_HUGEPAGES_ON,   /* refuse to start without */
	RIM_HUGEPAGES_OFF
};

enum rim_log_level {
	RIM_LOG_ERROR,
	RIM_LOG_WARNING,
	RIM_LOG_INFO,
	RIM_LOG_DEBUG
};

#define RIM_CPU_ANY (-1)

/* A worker polls for spin_us behind its last packet (for less where packets come more seldom than
 * that), then it sleeps until one of its ports has a packet, and looks around every wait_max_ms. A
 * port that cannot wake it (memif, pcap, null) makes that a sleep of sleep_min_us, doubling up to
 * sleep_max_us. sleep_max_us 0: never sleep. */
struct rim_idle {
	uint32_t spin_us;
	uint32_t sleep_min_us;
	uint32_t sleep_max_us;
	uint32_t wait_max_ms;
};

/* Zero in a field means its default (rim_config_default() shows them). */
struct rim_config {
	enum rim_hugepages hugepages;
	uint32_t memory_mb;   /* EAL memory; 0: what the buffers need */
	uint32_t buffers;     /* packet buffers of all ports and workers together */
	uint16_t buffer_size; /* bytes of the largest frame one holds, headroom not counted */
	uint32_t n_workers;
	int16_t cpu[WORKERS_MAX]; /* of each worker, or RIM_CPU_ANY */
	struct rim_idle idle;
	bool pci;                    /* a PCI port may come: scan that bus */
	const char *file_prefix;     /* NULL: from the process id */
	const char *const *eal_args; /* extra arguments, NULL-terminated; NULL: none */
	uint32_t flows[IP_FAMILIES]; /* flow capacity */
	uint32_t flow_buckets;       /* see struct flow_config */
	uint64_t flow_salt[2];       /* zero: random */
	void (*run)(struct worker *w, struct burst *b); /* the composition; required */
	void (*tick)(struct worker *w);                 /* about once a millisecond; may be NULL */
	/* Once, when the rim drains: frees the packets that stages hold. May be NULL. */
	void (*drain)(struct worker *w);
	/* Messages of DPDK and the rim; any thread. NULL: standard error. */
	void (*log)(void *arg, enum rim_log_level level, const char *text);
	/* A port's link went up or down; from rim_poll(). May be NULL. */
	void (*link)(void *arg, uint16_t port, bool up);
	void *arg; /* of log and link */
};

void rim_config_default(struct rim_config *cfg);

/* Starts EAL, the buffers, the flow table, the switch (see dataplane_init) and the workers, which
 * find no port yet. */
int rim_start(const struct rim_config *cfg, struct rim **out, struct rim_error *err);

/* Workers stop receiving, give back what their stages hold, flush. Returns when all have, or
 * -ETIMEDOUT after timeout_ms. */
int rim_drain(struct rim *rim, uint32_t timeout_ms);

/* Ends workers, ports and EAL. Accepts NULL. Returns how many packet buffers did not come back. */
uint32_t rim_stop(struct rim *rim);

struct dataplane *rim_dataplane(struct rim *rim);

/* One more thread than the workers may read what control publishes: between these two no grace
 * period ends. Any one thread. */
void rim_reader_enter(struct rim *rim);
void rim_reader_leave(struct rim *rim);

/* Every 100 ms or so: link states, memory that waits for a grace period. */
void rim_poll(struct rim *rim);

/* Advances the grace period as workers do; never waits. Any thread. */
void rim_grace_poll(struct rim *rim);

/* The clock that worker.now_ms shows. Any thread. */
uint32_t rim_now_ms(const struct rim *rim);
uint64_t rim_ticks_per_second(const struct rim *rim);

/* --- work for a worker ------------------------------------------------------------------------ */

/* Runs fn(w, arg) on that worker between two bursts; it must not block. -EAGAIN: mailbox full. */
int rim_call(struct rim *rim, uint32_t worker, void (*fn)(struct worker *w, void *arg), void *arg);

/* Sends a copy of a frame on a vport, counted as originated. -EAGAIN: mailbox full; -ENOBUFS. */
int rim_inject(struct rim *rim, uint16_t vport, const void *frame, uint16_t len);

/* --- ports ------------------------------------------------------------------------------------ */

enum rim_port_kind {
	RIM_PORT_PCI,
	RIM_PORT_AF_PACKET,
	RIM_PORT_AF_XDP,
	RIM_PORT_TAP,
	RIM_PORT_MEMIF,
	RIM_PORT_VHOST_USER,
	RIM_PORT_VIRTIO_USER,
	RIM_PORT_PCAP,
	RIM_PORT_NULL,
	RIM_PORT_ETHDEV, /* made by somebody else in this process; tests and plug-in drivers */
	RIM_PORT_KINDS
};

const char *rim_port_kind_name(enum rim_port_kind kind);
/* The kind of that name, or -EINVAL. */
int rim_port_kind_parse(const char *name);

struct rim_port_config {
	char name[RIM_NAME_MAX]; /* for people; unique */
	enum rim_port_kind kind;
	char pci[32];               /* pci: 0000:03:00.0; ethdev: its name */
	char iface[16];             /* af_packet, af_xdp, tap (to be made), pcap (live) */
	char path[RIM_PATH_MAX];    /* memif, vhost-user, virtio-user: socket; pcap: file read */
	char tx_path[RIM_PATH_MAX]; /* pcap: file written */
	char devargs[RIM_ARGS_MAX]; /* appended: key=value,key=value */
	bool server;                /* memif, vhost-user, virtio-user: makes the socket */
	uint16_t id;                /* memif: connection on that socket */
	uint16_t queues;            /* receive queues; 0: one a worker, as far as the port can */
	uint16_t descriptors;       /* per queue; 0: 1024 */
	uint16_t mtu;               /* 0: the interface's, else 1500 */
	bool not_promiscuous;
	bool marks; /* rules of this port may mark packets; pci, ethdev */
};

struct rim_port_info {
	uint16_t index;
	uint16_t ethdev; /* DPDK's port id */
	enum rim_port_kind kind;
	char name[RIM_NAME_MAX];
	char where[RIM_PATH_MAX]; /* address, interface or path */
	char driver[32];
	uint8_t mac[6];
	bool up;
	bool marks;          /* the marks of its rules reach the buffers */
	bool rx_checksum;    /* the driver checks and its word is taken */
	bool tx_shared;      /* fewer transmit queues than workers: they take a lock */
	uint32_t speed_mbps; /* 0: unknown */
	uint16_t mtu;
	uint16_t rx_queues, tx_queues;
	uint8_t rx_worker[RIM_QUEUES_MAX]; /* which worker polls each queue */
	uint16_t vports;
};

struct rim_port_stats {
	uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, rx_no_buffer;
	uint64_t tx_packets, tx_bytes, tx_errors;
};

int rim_port_add(
	struct rim *rim, const struct rim_port_config *cfg, uint16_t *index, struct rim_error *err);
/* -EBUSY while vports are on it. */
int rim_port_remove(struct rim *rim, uint16_t index, struct rim_error *err);
/* On: behind this no worker is inside that ethdev's bursts, nor will be until it is off again or
 * the port is removed, so that its driver may be stopped under workers that run. 0, or -ETIMEDOUT
 * when a worker does not pass. Any thread. */
int rim_port_fence(struct rim *rim, uint16_t ethdev, bool on);
/* Index of the port of that name, or -ENOENT. Any thread. */
int rim_port_find(struct rim *rim, const char *name);
/* Fills up to n, returns how many there are. Any thread. */
uint32_t rim_port_list(struct rim *rim, struct rim_port_info *info, uint32_t n);
int rim_port_stats(struct rim *rim, uint16_t index, struct rim_port_stats *out); /* any thread */

/* --- vports ----------------------------------------------------------------------------------- */

/* Frames of that port with that VLAN id (0: untagged) are of vport id, and back. The record that
 * stages read (struct vport) is control's: publish it first, remove it last. */
struct rim_vport {
	uint16_t id;
	uint16_t port;
	uint16_t vlan;
};

int rim_vport_add(struct rim *rim, const struct rim_vport *vport, struct rim_error *err);
int rim_vport_remove(struct rim *rim, uint16_t id);

/* --- what there is ---------------------------------------------------------------------------- */

struct rim_worker_info {
	uint32_t id;
	int cpu; /* RIM_CPU_ANY */
	uint32_t rx_queues;
	uint64_t heartbeat;
	bool asleep;
	uint64_t sleeps;
	uint64_t slept_ticks; /* part of the counters' idle_ticks */
	uint32_t mailbox_waiting;
};

int rim_worker_info(struct rim *rim, uint32_t worker, struct rim_worker_info *out); /* any thread */
/* Packet buffers in use and in all, without those of AF_XDP ports, which have their own. Any
 * thread. */
void rim_buffers(const struct rim *rim, uint32_t *in_use, uint32_t *total);
bool rim_hugepages_used(const struct rim *rim); /* any thread */
const char *rim_dpdk_version(void);             /* any thread */
