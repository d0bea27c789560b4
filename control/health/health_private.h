/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What health.c, services.c and metrics.c share. API thread. */

#pragma once

#include <sys/queue.h>

#include "control/api/api_internal.h"
#include "control/health/decide.h"
#include "control/health/health.h"
#include "control/omap.h"

#define HEALTH_TEXT_TYPE "application/json"
#define HEALTH_BUCKETS   24

/* One port, on one address or on those of NodePorts; closed when http is NULL. */
struct health_port {
	struct proxy_health *health;
	struct health_service *service; /* NULL: port 10256 */
	enum ip_family family;
	uint16_t wanted, open;  /* 0: none */
	uint64_t addrs_version; /* of the addresses it is open on */
	bool failed;            /* said so already */
	int64_t retry_ms;
	struct http_server *http;
};

struct health_service {
	char *ns, *name;
	uint32_t endpoints[IP_FAMILIES];
	/* Ports of a Local policy without an endpoint. */
	uint32_t no_local_external[IP_FAMILIES], no_local_internal[IP_FAMILIES];
	int64_t trigger_ns; /* the last that was measured */
	struct health_port port[IP_FAMILIES];
	struct health_wait wait;
	uint64_t version; /* of the last change seen */
	bool unsettled;   /* in the list of those whose ports are not as wanted */
	TAILQ_ENTRY(health_service) link;
};

/* From the change of an endpoint until it is programmed, in seconds. */
struct health_histogram {
	uint64_t bucket[HEALTH_BUCKETS]; /* not cumulative */
	uint64_t count;
	double sum;
};

struct proxy_health {
	struct api *api;
	char *bind_address, *netns;
	bool service_ports, metrics;
	struct health_port main;
	struct health_queue queue; /* of everything; counts where no family has a part in it */
	struct health_waits waits[IP_FAMILIES];
	int64_t ready_ms; /* monotonic; 0: not yet */
	int64_t waiting_ms[IP_FAMILIES], updated_wall_ms[IP_FAMILIES], queued_wall_ms[IP_FAMILIES];
	struct api_node_ports addrs;
	uint64_t version;
	bool rescan;
	struct omap services; /* of struct health_service, by the model's key */
	TAILQ_HEAD(, health_service) unsettled;
	uint64_t healthz[2], livez[2]; /* answers: 200, 503 */
	uint32_t no_local_external[IP_FAMILIES], no_local_internal[IP_FAMILIES];
	struct health_histogram programming[IP_FAMILIES];
};

extern const double health_bucket_seconds[HEALTH_BUCKETS];
extern const char *const health_family_names[IP_FAMILIES]; /* "IPv4", "IPv6" */

void health_state_now(struct proxy_health *h, struct health_state *out);

/* --- services.c ------------------------------------------------------------------------------ */

void health_services_tick(struct proxy_health *h);
void health_services_fini(struct proxy_health *h);
/* Opens p on each of the addresses; one try each HEALTH_RETRY_MS. True: it is open. event names
 * the failure. */
#define HEALTH_ADDRESS_MAX 64
bool health_port_open(struct health_port *p, const char (*address)[HEALTH_ADDRESS_MAX], uint32_t n,
	const struct http_route *routes, const char *event);
void health_port_close(struct health_port *p);
