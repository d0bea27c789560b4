/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the files of io/ share and nobody else sees.
 *
 * Publication: ports and vports reach workers through one immutable struct rim_view, swapped by
 * pointer; what it replaced is freed a grace period later by rim_poll(). A worker loads the view
 * at the top of its loop, together with the snapshot. */

#pragma once

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>
#include <rte_spinlock.h>

#include "io/dpdk_compat.h"
#include "io/rim.h"

/* Behind the workers among the threads that grace periods wait for (rim_reader_enter()). */
#define RIM_READER          WORKERS_MAX
#define RIM_NO_PORT         UINT8_MAX
#define RIM_RXQS_MAX        128 /* receive queues one worker polls */
#define RIM_MAILBOX         1024
#define RIM_MAILBOX_BATCH   16 /* items a loop */
#define RIM_CACHE           256
#define RIM_BUFFERS         16384
#define RIM_BUFFER_SIZE     2048
#define RIM_DESCRIPTORS     1024
#define RIM_XDP_DESCRIPTORS 2048 /* small in memory, and the driver's other rings have as many */
#define RIM_ALLOCS_MAX      32
#define RIM_FLOW_PASS_MS    2000 /* the sweep looks at every entry about that often */
#define RIM_SWEEP_BACKLOG   256  /* sweeps a worker may owe after a long loop or a sleep */
#define RIM_SPIN_SHRINK     8    /* the least part of idle.spin_us that is polled */
#define RIM_GRACE_EVERY_MS  1
#define RIM_GRACE_WAIT_MS   2000 /* for a worker that should pass in microseconds */

/* --- ports -------------------------------------------------------------------------------------
 */

struct rim_sockets {
	uint32_t n;
	int fd[RIM_QUEUES_MAX];
};

/* What ends the sleep of a worker when a frame comes. */
enum rim_wake {
	RIM_WAKE_TIMER,      /* nothing: the worker looks again after a short while */
	RIM_WAKE_DESCRIPTOR, /* a descriptor a queue, readable while frames wait */
	RIM_WAKE_INTERRUPT,  /* the driver's receive interrupt, armed for each sleep */
};

/* Writers: control, before publication; then only the fields marked. Readers: workers through the
 * view, any thread under rim.lock. Lifetime: until a grace period after its removal. */
struct rim_port {
	struct rim_port_config cfg;
	struct rte_device *device;
	struct rte_mempool *pool; /* the rim's, or its own */
	uint16_t eth;
	uint8_t index;
	bool started;
	bool auto_queues; /* as many as the device has, up to one a worker */
	bool rx_csum;
	bool rx_interrupt; /* asked for, and not known to be missing */
	bool marks;        /* rules' marks come with the buffers */
	bool tx_shared;
	uint8_t tx_retries; /* without progress */
	uint16_t n_rxq, n_txq;
	uint8_t rx_worker[RIM_QUEUES_MAX];
	uint16_t mtu;
	bool up;           /* writer: rim_poll; workers read rim.ports_up */
	uint32_t speed;    /* writer: rim_poll */
	uint32_t n_vports; /* writer: control */
	char driver[32];
	uint8_t mac[6];
	enum rim_wake wake;
	int rx_fd[RIM_QUEUES_MAX];  /* RIM_WAKE_DESCRIPTOR; the driver owns them */
	struct rim_sockets sockets; /* AF_PACKET, AF_XDP */
	uint64_t missed;            /* under rim.lock: whoever reads statistics adds to it */
	rte_spinlock_t tx_lock[RIM_QUEUES_MAX];
};

/* What is different from one kind of port to the other (port_kinds.c). */
struct rim_port_ops {
	const char *name;
	const char *vdev;  /* driver's name and beginning of the device's; NULL: not a vdev */
	bool kernel_iface; /* link state and MTU are the interface's */
	bool rx_csum;      /* its word about checksums may be asked for */
	bool queue_pairs;  /* as many transmit queues as receive queues, for the peer's sake */
	bool rx_interrupt; /* its driver may have one a receive queue */
	bool rx_readable;  /* and what it gives for that is readable while frames wait */
	uint8_t tx_retries;
	/* Tells what is missing before the driver is asked. */
	int (*check)(const struct rim_port_config *cfg, struct rim_error *err);
	/* Appends to args; returns the length it would have, as snprintf does. */
	int (*args)(const struct rim_port_config *cfg, char *args, size_t size);
};

extern const struct rim_port_ops rim_port_kinds[RIM_PORT_KINDS];

/* How many queues a port gets that names no number. */
uint16_t rim_port_queues_auto(const struct rim_port_config *cfg, uint32_t workers);
/* The interface's flags and MTU; -errno when it is not there. */
int rim_iface_get(const char *iface, bool *running, uint16_t *mtu);
/* Packet and XDP sockets opened by this thread until the matching end are noted in sockets (their
 * driver owns them), and the kernel reassembles nothing for them. */
void rim_sockets_begin(uint16_t queues, struct rim_sockets *sockets);
void rim_sockets_end(void);
/* Adds the frames that found the ring of a packet socket full since the last time. */
void rim_sockets_missed(const struct rim_sockets *sockets, uint64_t *missed);

/* --- the view ----------------------------------------------------------------------------------
 */

struct rim_rxq {
	uint16_t eth;
	uint16_t queue;
	uint8_t port;
	bool csum;
	bool marks;
};

struct rim_view {
	struct rim_port *port[RIM_PORTS_MAX];
	uint16_t untagged[RIM_PORTS_MAX];     /* vport, 0: none */
	const uint16_t *vlans[RIM_PORTS_MAX]; /* vport by VLAN id; NULL: no tagged vport */
	uint8_t vport_port[VPORTS_MAX];       /* RIM_NO_PORT: none */
	uint16_t vport_vlan[VPORTS_MAX];
	uint32_t n_rxq[WORKERS_MAX];
	struct rim_rxq rxq[WORKERS_MAX][RIM_RXQS_MAX];
};

#define RIM_VLANS 4096

/* --- workers ------------------------------------------------------------------------------------
 */

struct rim_tx_buffer {
	uint16_t n;
	uint16_t vport[BURST_MAX];
	struct rte_mbuf *m[BURST_MAX];
};

struct rim_work {
	void (*fn)(struct worker *w, void *arg);
	void *arg;
};

/* Writer: its worker. Others read the atomics. */
struct rim_worker {
	struct worker w;
	struct rim *rim;
	const struct rim_view *view;   /* of this loop */
	uint32_t ports_up;             /* of this loop, a bit a port */
	uint32_t fenced;               /* the same; those are in nobody's bursts */
	uint32_t tx_pending;           /* ports with something in tx[] */
	uint8_t sit_out[RIM_RXQS_MAX]; /* loops left, by queue */
	struct spsc *mailbox;          /* of struct rim_work, from control */
	uint64_t ms_tsc;               /* when now_ms became what it is */
	uint32_t grace_ms;
	uint32_t sweeps_due, sweep_rest;
	uint64_t busy_tsc;   /* when there was something to do for the last time */
	uint64_t spin_ticks; /* polls that long behind it, before it sleeps */
	uint32_t sleep_us;   /* of the next timed sleep */
	bool slept;
	bool armed; /* interrupts, for this sleep */
	bool timed; /* a queue has nothing that would end this sleep */
	bool vain;  /* a queue ended the last sleep, and nothing was in any since */
	bool launched;
	_Atomic uint32_t asleep; /* 1 from before the last look; written by read-modify-write */
	_Atomic bool drained;
	_Atomic uint64_t sleeps, slept_ticks;
	int bell, interrupts; /* descriptors: an eventfd, an epoll set */
	uint32_t n_poll;
	struct pollfd poll[RIM_RXQS_MAX + 2];
	struct rim_tx_buffer tx[RIM_PORTS_MAX];
} __attribute__((aligned(64)));

int rim_worker_main(void *rim_worker);
extern const struct worker_io rim_worker_io;
void rim_tx_flush(struct rim_worker *rw);
/* Takes the buffer; counts it as sent, or as a drop of that vport. */
void rim_tx_put(struct rim_worker *rw, struct rte_mbuf *m, uint16_t vport);

/* --- the rim ------------------------------------------------------------------------------------
 */

struct rim_retired {
	struct rim_retired *next;
	uint32_t stamp;
	void *mem;
};

struct rim {
	struct rim_config cfg;
	struct dataplane dp;
	bool dp_ready, hugepages, eal_ready;
	struct rte_mempool *pool;
	uint64_t tsc_hz, ticks_per_ms, tsc_start;
	uint32_t ms_start;
	uint32_t sweeps_per_ms_256; /* a 256th of a sweep, each millisecond */
	uint32_t wait_ms;           /* the longest sleep that sweeps can make up for */
	uint64_t spin_ticks;        /* idle.spin_us */

	_Atomic(const struct rim_view *) view;
	_Atomic uint32_t ports_up;
	_Atomic uint32_t fenced;
	_Atomic bool stop, draining;

	struct rte_rcu_qsbr *qsbr;
	rte_spinlock_t grace_lock;
	bool grace_open; /* under grace_lock */
	uint32_t grace_ended;
	uint64_t grace_token;

	/* Control's; others read ports under lock. */
	pthread_mutex_t lock;
	struct rim_port *port[RIM_PORTS_MAX];
	struct rim_retired *retired;
	struct rim_old_pool *old_pools;
	uint32_t pools_made;
	uint32_t inject_next;
	struct {
		void *mem;
		size_t size;
		bool mapped;
	} allocs[RIM_ALLOCS_MAX];
	struct rim_worker *worker[WORKERS_MAX];
};

int rim_fail(struct rim_error *err, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void rim_log(struct rim *rim, enum rim_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* eal.c */
int rim_eal_start(struct rim *rim, struct rim_error *err);
void rim_eal_stop(struct rim *rim);
/* The last error that DPDK logged since rim_driver_error_clear(), or "". */
const char *rim_driver_error(void);
void rim_driver_error_clear(void);
/* What DPDK logs on this thread meanwhile is no error. */
void rim_driver_quiet(bool quiet);
void *rim_flow_alloc(void *rim, size_t size, size_t align, const char *name);
void rim_flow_free(void *rim, void *mem);

/* buffers.c */
int rim_pool_start(struct rim *rim, struct rim_error *err);
int rim_port_pool(struct rim *rim, struct rim_port *p, struct rim_error *err);
void rim_port_pool_gone(struct rim *rim, struct rim_port *p);
void rim_pools_reap(struct rim *rim, bool all);

/* wait.c; control */
int rim_wait_init(struct rim_worker *rw, struct rim_error *err);
void rim_wait_fini(struct rim_worker *rw);
/* Ends the worker's sleep, behind the store of what it shall see. */
void rim_wake(struct rim_worker *rw);
void rim_wake_all(struct rim *rim);
/* Finds what wakes the workers of a port whose queues are assigned; port.wake says it. */
void rim_wait_port(struct rim *rim, struct rim_port *p);
void rim_wait_port_gone(struct rim *rim, struct rim_port *p);
/* wait.c; the worker. Between arm and disarm it looks once more, and waits when that found nothing
 * and the view is still the one that arm returned. */
const struct rim_view *rim_wait_arm(struct rim_worker *rw);
void rim_wait(struct rim_worker *rw);
void rim_wait_disarm(struct rim_worker *rw);

/* view.c */
int rim_view_edit(struct rim *rim, struct rim_view **out);
/* Swaps the view in; the old one is retired. */
void rim_view_publish(struct rim *rim, struct rim_view *view);
/* Frees mem when no worker can see it any more; on lack of memory after waiting. */
void rim_retire(struct rim *rim, void *mem);
void rim_reap(struct rim *rim, bool all);
/* Until every worker has passed; -ETIMEDOUT. */
int rim_grace_wait(struct rim *rim);

/* port.c */
int rim_port_close(struct rim *rim, struct rim_port *p);
void rim_ports_poll(struct rim *rim);
