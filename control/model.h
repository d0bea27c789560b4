/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The desired state of the node, whoever asked for it.
 *
 * Kubernetes sync, REST and the configuration file write the model; the reconciler reads what
 * changed and publishes it to the dataplane. Objects given to model_*_set() are complete
 * replacements, and ownership of them passes to the model, also on error.
 *
 * Threads: every writer runs on the control thread. The API thread reads under
 * model_read_lock(), in short slices; control takes the write lock inside the set/remove calls.
 * Addresses are struct ip_addr (network order), ports and counts are in host order, times are
 * seconds since the epoch unless the name says otherwise. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ip.h"

struct model;

enum model_owner {
	OWNER_CONFIG,
	OWNER_KUBERNETES,
	OWNER_API
};

enum service_type {
	SERVICE_CLUSTER_IP,
	SERVICE_NODE_PORT,
	SERVICE_LOAD_BALANCER,
};

/* An endpoint of one service port. Two of one port never share addr and port (service-proxy
 * merging rule). The flags are the EndpointSlice conditions with their defaults filled in. */
struct model_backend {
	struct ip_addr addr;
	uint16_t port;
	bool ready;
	bool serving;
	bool terminating;
	bool local;      /* nodeName is ours */
	bool in_cluster; /* chosen for the cluster list */
	bool in_local;   /* chosen for the local list */
	char *node;      /* may be NULL; so may zone and target */
	char *zone;
	char *target; /* "namespace/pod" */
};

struct model_service_port {
	char *name; /* "" when unnamed */
	uint8_t proto;
	uint16_t port;
	uint16_t node_port; /* 0: none */
	/* Some endpoint anywhere could serve, by family: an empty list is then a drop, else a
	 * reject. */
	bool has_any[IP_FAMILIES];
	uint32_t n_backends; /* sorted by address, then port */
	struct model_backend *backends;
};

struct model_service {
	char *ns;
	char *name;
	enum model_owner owner;
	enum service_type type;
	uint32_t n_cluster_ips, n_external_ips, n_lb_vips, n_source_ranges;
	struct ip_addr *cluster_ips; /* at most one a family */
	struct ip_addr *external_ips;
	struct ip_addr *lb_vips;
	struct ip_prefix *source_ranges;
	bool etp_local;
	bool itp_local;
	uint32_t affinity_seconds; /* 0: no session affinity */
	uint16_t health_check_node_port;
	bool reset_removed; /* reset TCP of removed endpoints (annotation) */
	int64_t created;
	int64_t trigger_time_ns; /* endpoints' last-change-trigger-time; 0: unknown */
	uint32_t n_ports;
	struct model_service_port *ports;
};

struct model_node {
	char *name;
	bool is_self;
	uint32_t n_internal_ips, n_external_ips, n_pod_cidrs;
	struct ip_addr *internal_ips;
	struct ip_addr *external_ips;
	struct ip_prefix *pod_cidrs;
	char *zone;         /* topology.kubernetes.io/zone, may be NULL */
	bool deleting;      /* deletionTimestamp */
	bool to_be_deleted; /* the cluster autoscaler's taint */
};

struct model *model_new(void);
void model_free(struct model *m);

/* --- writers: control thread ---------------------------------------------------------------- */

/* 0, or -EINVAL when the object contradicts itself, -EPERM when another owner holds the name.
 * Setting an equal object is not a change. */
int model_service_set(struct model *m, struct model_service *s);
int model_service_remove(struct model *m, const char *ns, const char *name, enum model_owner by);
int model_node_set(struct model *m, struct model_node *n);
int model_node_remove(struct model *m, const char *name);
/* The whole list of service ranges; copied. n = 0: unknown, nothing is dropped for it. */
int model_service_cidrs_set(struct model *m, const struct ip_prefix *cidrs, uint32_t n);

/* Objects built by a caller start from these; free accepts half-built ones. */
struct model_service *model_service_new(const char *ns, const char *name);
void model_service_free(struct model_service *s);
bool model_service_equal(const struct model_service *a, const struct model_service *b);
struct model_node *model_node_new(const char *name);
void model_node_free(struct model_node *n);

/* The first complete state of a source is in the model: with every awaited source complete, the
 * reconciler starts to publish services. Called once a source; later calls do nothing. */
enum model_source_id {
	SOURCE_SERVICES,
	SOURCE_ENDPOINTS,
	SOURCE_NODE,
	SOURCE_SERVICE_CIDRS,
	SOURCES
};
void model_source_await(struct model *m, enum model_source_id id);
void model_source_complete(struct model *m, enum model_source_id id);

/* How a watched resource fares; shown by readyz, metrics and status. Strings are copied. */
struct model_source_status {
	const char *path;       /* "/api/v1/services" */
	const char *phase;      /* "Disabled", "Listing", "Watching", "BackOff" */
	const char *rv;         /* last resourceVersion */
	const char *last_error; /* NULL: none since the last success */
	uint64_t lists, watches, events, bookmarks, errors, unknown_events;
	int64_t last_activity_ms; /* monotonic milliseconds */
	uint32_t objects;
};
void model_source_report(
	struct model *m, enum model_source_id id, const struct model_source_status *st);

/* An object, or a part of it, was refused: shown by name until it is set again without fault or
 * removed. field is a JSON path ("spec.ports[1].port"); all strings are copied. Calling with
 * field NULL clears the object's faults. */
void model_refuse(struct model *m, const char *kind, const char *ns, const char *name,
	const char *field, const char *reason);
