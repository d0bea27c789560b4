/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a service proxy owes to others about its health: /healthz and /livez on port 10256, one
 * server for each Service with a healthCheckNodePort, and kube-proxy's metric names.
 *
 * The servers follow the model and the NodePort addresses within API_TICK_MS. An address that is
 * taken is told once and tried again each second; it never keeps the daemon from running. API
 * thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

struct api;
struct evbuffer;
struct proxy_health;

struct proxy_health_config {
	const char *bind_address; /* copied, as is netns; NULL: no port 10256 */
	const char *netns;        /* where all of it listens; NULL: the process's own */
	bool service_ports;       /* serve healthCheckNodePorts */
	bool metrics;             /* kube-proxy's names in /metrics, too */
};

int proxy_health_new(
	struct api *a, const struct proxy_health_config *cfg, struct proxy_health **out);
/* Closes every port. Accepts NULL. */
void proxy_health_free(struct proxy_health *h);
/* Each API_TICK_MS: takes in changes of the model, opens and closes ports. */
void proxy_health_tick(struct proxy_health *h);
/* Adds nothing unless the configuration asks for it. */
void proxy_health_metrics(const struct proxy_health *h, struct evbuffer *out);
