/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Kubernetes sync: Services, their endpoints, Nodes and ServiceCIDRs of an API server, kept in the
 * model for as long as the process runs.
 *
 * Everything runs on the thread of the event base (control) and never blocks. Nothing but the
 * model is written. While the server is away the model keeps its last state. The process must
 * ignore SIGPIPE: TLS libraries write to closed connections. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "k8s-sync/http.h"
#include "k8s-sync/reflector.h"

struct event_base;
struct k8s_sync;
struct model;

enum k8s_endpoints_source {
	K8S_ENDPOINTS_AUTO,    /* slices, or Endpoints where the server has no slices */
	K8S_ENDPOINTS_SLICES,  /* discovery.k8s.io/v1 EndpointSlice */
	K8S_ENDPOINTS_OBJECTS, /* core v1 Endpoints */
};

struct k8s_config {
	const char *socket; /* path of a unix socket: kubectl proxy or the like */
	const char *url;    /* or "http[s]://host[:port][/prefix]" */
	const char *ca_file, *token_file, *cert_file, *key_file; /* https only; may be NULL */
	const char *node_name; /* our Node object's name; never guessed from the host's name */
	enum k8s_endpoints_source endpoints;
	const char *service_proxy_name; /* serve only services with this label value; may be NULL */
	bool external_ips;              /* honour spec.externalIPs */
	struct http_answers *answers;   /* counts requests; may be NULL */
	struct k8s_timings timings;
	struct k8s_env env; /* log and test hooks */
};

void k8s_config_defaults(struct k8s_config *config);
/* Strings are copied. Awaits the sources in the model (model_source_await). 0, -EINVAL when the
 * endpoint or the node name is missing or contradictory, -ENOMEM. */
int k8s_sync_new(struct event_base *base, const struct k8s_config *config, struct model *model,
	struct k8s_sync **out);
void k8s_sync_start(struct k8s_sync *sync);
/* Ends requests; the model keeps what it has. */
void k8s_sync_stop(struct k8s_sync *sync);
void k8s_sync_free(struct k8s_sync *sync);
