/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Flows in hardware, as control and the API see it: one thread that does everything that touches
 * a device, started and ended by control.
 *
 * No DPDK type appears here, and nothing here waits for a device, but offload_stop() and
 * offload_port_remove(). A change of the configuration is safe only when what hardware still does
 * by the old one is out: publish, let a grace period pass, ask for offload_revalidate(), and call
 * the change applied when offload_settled() says so. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"
#include "core/offload.h"

struct offload;
struct offload_provider;
struct offload_caps_row;

struct offload_config {
	bool enabled;                /* off: nothing comes to hardware, what is there leaves */
	uint32_t capacity;           /* rules in all; a flow takes two */
	uint32_t min_age_ms;         /* younger flows stay in software */
	uint32_t min_pps;            /* slower ones too */
	uint32_t insert_share;       /* of the thread's time while counters are due, percent */
	uint32_t inserts_max;        /* a tick of 10 ms */
	uint32_t idle_demote_ms;     /* without a hit: the place is given up */
	uint32_t revoke_deadline_ms; /* later, the port's rules are flushed */
};

void offload_config_default(struct offload_config *cfg);

/* What the thread needs of others. */
struct offload_env {
	struct dataplane *dp;
	const struct offload_provider *provider; /* NULL: no device; everything stays in software */
	/* Around reads of what control publishes; NULL: not needed. */
	void (*enter)(void *arg);
	void (*leave)(void *arg);
	uint32_t (*now_ms)(void *arg);   /* the clock of worker.now_ms */
	uint64_t (*clock_us)(void *arg); /* monotonic, above 0 */
	/* Before an ethdev is stopped as the last resort: 0 when no worker is in its bursts, until
	 * it is called with false. NULL: there are no workers. */
	int (*fence)(void *arg, uint16_t ethdev, bool on);
	/* Something that an operator must see; any text. May be NULL. */
	void (*alarm)(void *arg, const char *what, const char *text);
	void *arg;
};

/* --- what it tells -----------------------------------------------------------------------------
 */

#define OFFLOAD_HISTOGRAM 24 /* [i]: below 2^i microseconds */

enum offload_insert_result {
	OFFLOAD_INSERT_OK,
	OFFLOAD_INSERT_SHAPE,    /* not supported */
	OFFLOAD_INSERT_CAPACITY, /* full */
	OFFLOAD_INSERT_DRIFT,    /* said to be there already */
	OFFLOAD_INSERT_DEVICE,   /* busy, I/O, timeout */
	OFFLOAD_INSERT_GONE,
	OFFLOAD_INSERT_RESULTS
};

extern const char *const offload_insert_result_names[OFFLOAD_INSERT_RESULTS];

struct offload_port_stats {
	uint16_t index, ethdev, proxy, domain; /* UINT16_MAX: none */
	const char *state;                     /* "Ready", … */
	const char *breaker;                   /* "Closed", "Open", "Trying" */
	char driver[32];
	bool representor, untrusted;
	uint32_t rules, partial; /* of the rules those that only mark */
	uint64_t inserts[OFFLOAD_INSERT_RESULTS];
	uint64_t removes, remove_errors, flushes, stops, breaker_opened;
	uint32_t quarantined;    /* shapes */
	uint64_t packets, bytes; /* that hardware forwarded from this port */
};

struct offload_stats {
	bool enabled;
	const char *provider;
	uint32_t flows, rules, partial, waiting, revoking;
	uint32_t capacity, capacity_learned;
	uint64_t requests, nominations, judged, too_slow, candidates;
	uint64_t refused[OFFLOAD_REASONS]; /* directions or flows, each time */
	uint64_t inserted, removed, evicted, demoted, revoked, ended, ttl_changed, unpaired;
	uint64_t queries, query_errors, rebased;
	uint64_t passes, escalations, unconfirmed, ticket;
	uint64_t poll_lag_us, pass_us, pass_max_us;
	uint64_t packets, bytes;
	uint64_t insert_us[OFFLOAD_HISTOGRAM], revoke_us[OFFLOAD_HISTOGRAM];
	struct offload_port_stats port[32];
	uint32_t n_ports;
};

/* A driver's answer to a rule that it did not take. */
struct offload_refusal {
	const char *class; /* of offload_insert_result_names */
	int error;         /* -errno */
	uint8_t type;      /* enum rte_flow_error_type */
	char text[128];    /* the driver's own */
};

/* Of one direction of a flow. */
struct offload_flow_leg {
	enum offload_state state;
	enum offload_reason reason;
	uint32_t since_ms; /* the worker's clock; 0: never asked */
	uint64_t packets, bytes;
	const struct offload_refusal *refusal; /* the last; NULL: none. Until offload_stop() */
};

struct offload_flow {
	struct offload_flow_leg leg[2];
	uint64_t polled_us;
};

/* --- control thread ----------------------------------------------------------------------------
 */

int offload_start(
	const struct offload_config *cfg, const struct offload_env *env, struct offload **out);
/* Everything out of hardware, then the thread ends. Accepts NULL. Workers must not run any more,
 * or have lost their rings (offload_ring()). False: a device did not confirm. */
bool offload_stop(struct offload *o);
void offload_configure(struct offload *o, const struct offload_config *cfg);
/* What worker.offload is to be, NULL when there is no such worker. Until offload_stop(). */
struct spsc *offload_ring(struct offload *o, uint32_t worker);

/* The rim's port of that index is that ethdev: it is probed, then may take part. queue: one that
 * each worker polls, UINT16_MAX when it polls none. True: it will take part. */
bool offload_port_add(
	struct offload *o, uint16_t index, uint16_t ethdev, const uint16_t queue[WORKERS_MAX]);
/* Its rules are out, or were flushed, when this returns: the port may be closed. */
void offload_port_remove(struct offload *o, uint16_t index);

/* Derives every rule again and takes out what is no longer right. Returns a ticket. */
uint64_t offload_revalidate(struct offload *o);
/* The same for every rule there is. */
uint64_t offload_flush(struct offload *o);
/* Have the destroys of that ticket, and all before it, returned? Any thread. */
bool offload_settled(const struct offload *o, uint64_t ticket);

/* --- any thread ---------------------------------------------------------------------------------
 */

void offload_stats_read(struct offload *o, struct offload_stats *out);
/* What is known of a flow that was just read. o may be NULL. */
void offload_flow_read(struct offload *o, enum ip_family f, uint32_t entry, uint32_t generation,
	const struct flow_view *view, uint32_t now_ms, struct offload_flow *out);
/* Rows of that port's matrix (see caps.h); how many there are. */
uint32_t offload_caps_read(
	struct offload *o, uint16_t index, struct offload_caps_row *out, uint32_t n);
/* The device's last calls, oldest first, as struct offload_provider.operation gives them. */
uint32_t offload_operation_read(struct offload *o, uint64_t *cursor, char *out, uint32_t size);
#define OFFLOAD_OPERATION_MAX 4608
