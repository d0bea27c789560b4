/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Kubernetes objects as plain data.
 *
 * An API server's word is not proof: every address, port, name and type is checked again here. A
 * bad part is left out and named as a fault; when nothing sound is left the object is refused as
 * a whole, and its receiver keeps the last good state. Absent and null are the same, unknown
 * fields are ignored. Pure functions of one object: no state, no I/O, any thread.
 *
 * Field rules: Kubernetes API reference v1 and discovery.k8s.io/v1, as kube-proxy reads them. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/model.h"
#include "k8s-sync/json.h"
#include "k8s-sync/limits.h"

struct k8s_fault {
	char *field; /* JSON path: "spec.ports[1].port" */
	char *reason;
};

/* Faults of one object; a NULL pointer means none. */
struct k8s_faults {
	uint32_t n; /* found; the first K8S_FAULTS_MAX are kept */
	struct k8s_fault list[K8S_FAULTS_MAX];
};

void k8s_faults_free(struct k8s_faults *faults);

struct k8s_decode_config {
	const char *service_proxy_name; /* NULL: services without that label are ours */
	bool external_ips;              /* honour spec.externalIPs */
};

struct k8s_service {
	struct k8s_faults *faults;
	bool refused;
	/* Without backends. NULL when refused, or when there is nothing to serve: headless,
	 * ExternalName, no ClusterIP yet, another proxy's. */
	struct model_service *spec;
};

struct k8s_endpoint {
	struct ip_addr addr;
	/* Offsets into the slice's strings, 0: none. */
	uint32_t node, zone, target;
	/* In the slice's hints: zones first, then nodes. */
	uint32_t first_hint;
	uint8_t n_zone_hints, n_node_hints;
	bool ready, serving, terminating;
};

struct k8s_slice_port {
	uint32_t name; /* offset into strings; "" when unnamed */
	uint16_t port;
	uint8_t proto;
};

/* One EndpointSlice, or one part of an Endpoints object: equal ports, one family. */
struct k8s_slice {
	struct k8s_slice *next;
	uint8_t family;
	uint32_t n_ports, n_endpoints, n_hints, strings_len;
	struct k8s_slice_port *ports;
	struct k8s_endpoint *endpoints;
	uint32_t *hints;
	char *strings; /* starts with a NUL: offset 0 is "" */
};

struct k8s_endpoints {
	struct k8s_faults *faults;
	bool refused;
	char *service; /* "namespace/name"; NULL: belongs to none, or is not for proxies */
	struct k8s_slice *parts; /* NULL: gives nothing to proxy */
	int64_t trigger_time_ns;
};

struct k8s_node {
	struct k8s_faults *faults;
	bool refused;
	struct model_node *node; /* is_self is left to the receiver */
};

struct k8s_cidrs {
	struct k8s_faults *faults;
	bool refused;
	uint32_t n;
	struct ip_prefix *cidrs;
};

/* Each returns NULL only when out of memory. */
struct k8s_service *k8s_service_decode(const struct k8s_decode_config *config, const char *ns,
	const char *name, const struct jv *object);
void k8s_service_free(struct k8s_service *service);
struct k8s_endpoints *k8s_slice_decode(const char *ns, const char *name, const struct jv *object);
/* The old Endpoints object of core v1. */
struct k8s_endpoints *k8s_endpoints_decode(
	const char *ns, const char *name, const struct jv *object);
void k8s_endpoints_free(struct k8s_endpoints *endpoints);
struct k8s_node *k8s_node_decode(const char *name, const struct jv *object);
void k8s_node_free(struct k8s_node *node);
struct k8s_cidrs *k8s_cidrs_decode(const struct jv *object);
void k8s_cidrs_free(struct k8s_cidrs *cidrs);

static inline const char *k8s_slice_string(const struct k8s_slice *slice, uint32_t offset)
{
	return slice->strings + offset;
}
