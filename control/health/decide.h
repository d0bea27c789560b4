/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What load balancers and node managers are told about this node: pure decisions from a state to
 * an answer, after kube-proxy's rules and KEP-3836. No clock, no lock, no socket; any thread.
 *
 * Times are milliseconds; of *_ms fields those named wall are since the epoch. */

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "control/model.h"

/* A change that waits for longer is overdue: twice kube-proxy's sync period. */
#define HEALTH_OVERDUE_MS 60000

struct health_state {
	int64_t now_wall_ms;
	int64_t updated_wall_ms[IP_FAMILIES]; /* last time that nothing was left to program */
	int64_t waiting_ms[IP_FAMILIES];      /* age of the oldest change not yet programmed */
	bool workers_turn;                    /* every one of them */
	bool uplinks_up;
	/* Without Kubernetes no node object is expected. */
	bool node_awaited, node_known, node_deleting, node_to_be_deleted;
};

enum health_question {
	HEALTH_HEALTHZ, /* may traffic of the whole cluster enter here? */
	HEALTH_LIVEZ,   /* does the proxy work? A node that drains does. */
	HEALTH_SERVICE, /* healthCheckNodePort: livez, and endpoints of one service */
};

struct health_answer {
	int status; /* 200 or 503 */
	bool healthy, node_eligible;
	bool family_healthy[IP_FAMILIES];
	int64_t last_updated_wall_ms;
};

/* endpoints counts for HEALTH_SERVICE only. */
void health_decide(const struct health_state *s, enum health_question q, uint32_t endpoints,
	struct health_answer *out);

/* Services whose last change is not yet programmed, the oldest first, a list for each family: one
 * must not hide the other. */
struct health_wait {
	TAILQ_ENTRY(health_wait) link[IP_FAMILIES];
	bool in[IP_FAMILIES];
	int64_t since_ms[IP_FAMILIES];
	uint64_t applied_version;
};

TAILQ_HEAD(health_waits, health_wait);

/* What is now known of a service. A change behind one that was applied begins to wait now; one
 * that is replaced while it waits has waited since the first. */
void health_wait_see(struct health_waits list[IP_FAMILIES], struct health_wait *w,
	const bool has[IP_FAMILIES], bool pending, uint64_t applied_version, int64_t now_ms);
void health_wait_forget(struct health_waits list[IP_FAMILIES], struct health_wait *w);
/* How long the oldest has waited, counted from not_before_ms at most; 0: none waits. */
int64_t health_waits_age(
	const struct health_waits *list, enum ip_family f, int64_t not_before_ms, int64_t now_ms);

/* The age of the oldest change that waits, from two counters of a queue that is first in, first
 * out: what waited at the mark is done once as many have been taken as waited then. */
struct health_queue {
	bool waits;
	uint64_t until;   /* taken, when the mark has been passed */
	int64_t since_ms; /* monotonic */
};

/* Returns how long the oldest has waited, 0 when nothing waits. */
int64_t health_queue_age(struct health_queue *q, uint64_t taken, uint64_t waiting, int64_t now_ms);

/* Distinct addresses of one family over all ports that are local and ready; one that terminates
 * does not count, even while it serves. -ENOMEM. */
int health_local_endpoints(const struct model_service *s, enum ip_family f, uint32_t *out);
/* Ports that have endpoints of the family but none that a Local policy allows. */
uint32_t health_ports_without_local(const struct model_service *s, enum ip_family f);
/* Whether the service has that family: by its ClusterIPs, else both. */
bool health_service_has(const struct model_service *s, enum ip_family f);
