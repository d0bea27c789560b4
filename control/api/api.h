/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The REST API, the health checks and the metrics, on a thread of their own.
 *
 * Reads look at the model under its read lock in short slices, at counters by relaxed loads and at
 * flows by copy; they never wait for a worker and never run on the control thread. Changes are
 * parsed and checked here, handed to the control thread through a queue, and answered when it is
 * done. Nothing else touches the dataplane.
 *
 * Start and stop are the control thread's, as is everything not marked "any thread". */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/ip.h"

struct api;
struct config;
struct dataplane;
struct kube_proxy_watch;
struct model;
struct neighbours;
struct notices;
struct reconciler;
struct rim;

/* All of it outlives the API. */
struct offload;

struct api_deps {
	struct model *model;
	struct dataplane *dp;
	struct reconciler *reconciler;
	struct neighbours *neighbours;
	struct rim *rim;
	struct offload *offload; /* NULL: nothing is offloaded */
	struct notices *notices;
	struct kube_proxy_watch *kube_proxy; /* may be NULL */
	/* Asks for more, or less, of /readyz; NULL: nothing. Any thread; the text is for people. */
	bool (*ready)(void *arg, char *why, uint32_t size);
	/* Requests to the API server by method (GET, POST, PATCH) and status, 0: no answer; NULL:
	 * there is no API server. Any thread. */
	uint64_t (*api_answers)(void *arg, uint32_t method, uint32_t status);
	void *arg;
};

struct api_config {
	const char *node_name;    /* in notices, until api_set_config(); may be NULL */
	const char *socket;       /* NULL: none */
	uint32_t socket_mode;     /* 0: 0660 */
	const char *socket_group; /* NULL: the process's */
	const char *listen;       /* "127.0.0.1:8585"; NULL: none */
	bool listen_writable;     /* else changes go through the socket only */
	/* "127.0.0.1:10249": health and metrics only; NULL: none. Tried again when it is taken. */
	const char *health;
	const char *netns; /* file of the network namespace of health listeners; NULL: ours */
	/* What kube-proxy has: see control/health/health.h. */
	const char *proxy_health; /* "0.0.0.0:10256"; NULL: none */
	bool service_health;      /* healthCheckNodePorts */
	bool kube_proxy_names;    /* its metrics under its names */
};

struct api_error {
	char text[256];
};

int api_start(const struct api_deps *deps, const struct api_config *cfg, struct api **out,
	struct api_error *err);
/* Ends every stream, joins the thread. Accepts NULL. */
void api_stop(struct api *a);

/* Readable when changes wait for the control thread, which then calls api_control_run(). It does
 * at most a few milliseconds of work a call. */
int api_control_fd(const struct api *a);
void api_control_run(struct api *a);

/* The configuration that /config shows from now on; copied. */
void api_set_config(struct api *a, const struct config *cfg);
/* Where NodePorts are served from now on: any[f]: on all addresses of the family, else on those of
 * at that are of it. Copied; the first API_NODE_PORTS_MAX. Until then healthCheckNodePorts have no
 * address. */
void api_set_node_ports(
	struct api *a, const bool any[IP_FAMILIES], const struct ip_addr *at, uint32_t n);
/* The ports that were bound, for listeners on port 0. */
uint16_t api_listen_port(const struct api *a);
uint16_t api_health_port(const struct api *a);
