/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The API's thread, its listeners and its table of routes (see api.h). Everything with a request
 * in its hands runs on the API thread. */

#include <errno.h>
#include <event2/event.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "control/api/api_internal.h"
#include "control/health/health.h"
#include "control/log.h"

/* Jobs that the control thread runs in one go. */
#define CONTROL_JOBS 8

/* Literals stand before the {…} that they would match. */
const struct http_route api_routes[] = {
	{"/livez", HTTP_GET, api_get_livez, HTTP_ROUTE_HEALTH},
	{"/healthz", HTTP_GET, api_get_livez, HTTP_ROUTE_HEALTH},
	{"/readyz", HTTP_GET, api_get_readyz, HTTP_ROUTE_HEALTH},
	{"/metrics", HTTP_GET, api_get_metrics, HTTP_ROUTE_HEALTH},
	{"/proxyMode", HTTP_GET, api_get_proxy_mode, HTTP_ROUTE_HEALTH},
	{"/openapi/v3.json", HTTP_GET, api_get_openapi, 0},
	{"/version", HTTP_GET, api_get_version, 0},
	{"/api/v1/version", HTTP_GET, api_get_version, 0},
	{"/api/v1/overview", HTTP_GET, api_get_overview, 0},
	{"/api/v1/config", HTTP_GET, api_get_config, 0},
	{"/api/v1/events", HTTP_GET, api_get_events, 0},
	{"/api/v1/services", HTTP_GET, api_get_services, 0},
	{"/api/v1/services/{namespace}/{name}", HTTP_GET, api_get_service, 0},
	{"/api/v1/services/{namespace}/{name}/backends", HTTP_GET, api_get_service_backends, 0},
	{"/api/v1/backends", HTTP_GET, api_get_backends, 0},
	{"/api/v1/nodes", HTTP_GET, api_get_nodes, 0},
	{"/api/v1/flows", HTTP_GET | HTTP_DELETE, api_flows, 0},
	{"/api/v1/flows/lookup", HTTP_GET, api_get_flow_lookup, 0},
	{"/api/v1/flows/{id}", HTTP_GET | HTTP_DELETE, api_flow, 0},
	{"/api/v1/vports", HTTP_GET | HTTP_POST, api_vports, 0},
	{"/api/v1/vports/{name}", HTTP_GET | HTTP_DELETE, api_vport, 0},
	{"/api/v1/ports", HTTP_GET, api_get_ports, 0},
	{"/api/v1/ports/{name}", HTTP_GET, api_get_port, 0},
	{"/api/v1/workers", HTTP_GET, api_get_workers, 0},
	{"/api/v1/workers/{id}", HTTP_GET, api_get_worker, 0},
	{"/api/v1/routes", HTTP_GET, api_get_routes, 0},
	{"/api/v1/routes/lookup", HTTP_GET, api_get_route_lookup, 0},
	{"/api/v1/neighbors", HTTP_GET, api_get_neighbors, 0},
	{"/api/v1/drops", HTTP_GET, api_get_drops, 0},
	{"/api/v1/drop-reasons", HTTP_GET, api_get_drop_reasons, 0},
	{"/api/v1/pipelines", HTTP_GET, api_get_pipelines, 0},
	{"/api/v1/pipelines/{name}", HTTP_GET, api_get_pipeline, 0},
	{"/api/v1/tables", HTTP_GET, api_get_tables, 0},
	{"/api/v1/offload", HTTP_GET, api_get_offload, 0},
	{"/api/v1/offload/tables", HTTP_GET, api_get_offload_tables, 0},
	{"/api/v1/offload/rejections", HTTP_GET, api_get_offload_rejections, 0},
	{"/api/v1/offload/operations", HTTP_GET, api_get_offload_operations, 0},
	{"/api/v1/refusals", HTTP_GET, api_get_refusals, 0},
	{"/api/v1/conflicts", HTTP_GET, api_get_conflicts, 0},
	{NULL, 0, NULL, 0},
};

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct api *a = arg;

	event_base_loopbreak(a->base);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct api *a = arg;

	handoff_reap(a->handoff);
	/* A change that was just taken in may be applied already. */
	api_changes_tick(a);
}

/* As kube-proxy, which has its metrics there: a port that is taken keeps nobody from running. */
static void listen_health(struct api *a)
{
	int64_t now = api_now_ms();
	int rc;

	if (a->health_address == NULL || a->health_port != 0 || now < a->health_retry_ms)
		return;
	rc = http_listen_tcp(a->http, a->health_address, HTTP_HEALTH, a->netns, &a->health_port);
	a->health_retry_ms = now + HEALTH_RETRY_MS;
	if (rc == 0 && a->health_failed)
		LOG_INFO(api, "listening", "health=%s", a->health_address);
	if (rc < 0 && !a->health_failed) {
		LOG_WARN(api, "listen_failed",
			"reason=FailedToStartMetricServer address=%s error=%s", a->health_address,
			strerror(-rc));
		api_notice(a, true, NULL, NULL, "FailedToStartMetricServer",
			"metrics cannot be served on %s: %s", a->health_address, strerror(-rc));
	}
	a->health_failed = rc < 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct api *a = arg;

	api_health_tick(a);
	listen_health(a);
	proxy_health_tick(a->proxy_health);
	api_changes_tick(a);
	api_watches_tick(a);
	api_events_tick(a);
}

static void *run(void *arg)
{
	struct api *a = arg;

	pthread_setname_np(pthread_self(), "sluice-api");
	event_base_loop(a->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

static int fail(struct api_error *err, int rc, const char *what, const char *where)
{
	snprintf(err->text, sizeof(err->text), "%s %s: %s", what, where, strerror(-rc));
	return rc;
}

static int listen_all(struct api *a, const struct api_config *cfg, struct api_error *err)
{
	int rc = 0;

	if (cfg->socket_group != NULL && getgrnam(cfg->socket_group) == NULL) {
		snprintf(err->text, sizeof(err->text), "there is no group %.64s for the api socket",
			cfg->socket_group);
		return -EINVAL;
	}
	if (cfg->socket != NULL) {
		rc = http_listen_unix(a->http, cfg->socket,
			cfg->socket_mode != 0 ? cfg->socket_mode : 0660, cfg->socket_group,
			HTTP_ADMIN);
		if (rc < 0)
			return fail(err, rc, "api socket", cfg->socket);
	}
	if (cfg->listen != NULL) {
		rc = http_listen_tcp(a->http, cfg->listen,
			cfg->listen_writable ? HTTP_ADMIN : HTTP_VIEW, NULL, &a->listen_port);
		if (rc < 0)
			return fail(err, rc, "api listener", cfg->listen);
	}
	listen_health(a);
	return 0;
}

static int prepare(struct api *a, const struct api_config *cfg)
{
	const struct proxy_health_config health = {.bind_address = cfg->proxy_health,
		.netns = cfg->netns,
		.service_ports = cfg->service_health,
		.metrics = cfg->kube_proxy_names};
	struct event_config *ec = event_config_new();
	const struct timeval tick = {.tv_usec = API_TICK_MS * 1000};
	int rc;

	if (ec == NULL)
		return -ENOMEM;
	/* One thread uses this base: no locks. */
	event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK);
	a->base = event_base_new_with_config(ec);
	event_config_free(ec);
	if (a->base == NULL)
		return -ENOMEM;
	a->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (a->stop_fd < 0)
		return -errno;
	if (getrandom(&a->boot, sizeof(a->boot), 0) != sizeof(a->boot))
		return -EIO;
	a->health_address = cfg->health != NULL ? strdup(cfg->health) : NULL;
	a->netns = cfg->netns != NULL ? strdup(cfg->netns) : NULL;
	a->node_name = cfg->node_name != NULL ? strdup(cfg->node_name) : NULL;
	if ((cfg->node_name != NULL) != (a->node_name != NULL) ||
		(cfg->health != NULL) != (a->health_address != NULL) ||
		(cfg->netns != NULL) != (a->netns != NULL))
		return -ENOMEM;
	rc = handoff_new(&a->handoff);
	if (rc < 0)
		return rc;
	a->stop_event = event_new(a->base, a->stop_fd, EV_READ, on_stop, a);
	a->done_event =
		event_new(a->base, handoff_done_fd(a->handoff), EV_READ | EV_PERSIST, on_done, a);
	a->tick = event_new(a->base, -1, EV_PERSIST, on_tick, a);
	if (a->stop_event == NULL || a->done_event == NULL || a->tick == NULL ||
		event_add(a->stop_event, NULL) < 0 || event_add(a->done_event, NULL) < 0 ||
		event_add(a->tick, &tick) < 0)
		return -ENOMEM;
	rc = proxy_health_new(a, &health, &a->proxy_health);
	return rc < 0 ? rc : http_server_new(a->base, api_routes, a, &a->http);
}

int api_start(const struct api_deps *deps, const struct api_config *cfg, struct api **out,
	struct api_error *err)
{
	struct api *a = calloc(1, sizeof(*a));
	sigset_t all, before;
	int rc;

	if (a == NULL)
		return fail(err, -ENOMEM, "api", "start");
	a->deps = *deps;
	a->stop_fd = -1;
	a->started_ms = api_wall_ms();
	pthread_mutex_init(&a->config_lock, NULL);
	api_health_init(a);
	rc = prepare(a, cfg);
	if (rc < 0)
		fail(err, rc, "api", "start");
	else
		rc = listen_all(a, cfg, err);
	if (rc == 0) {
		/* Signals are the control thread's. */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		rc = -pthread_create(&a->thread, NULL, run, a);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		a->thread_runs = rc == 0;
		if (rc < 0)
			fail(err, rc, "api", "thread");
	}
	if (rc < 0) {
		api_stop(a);
		return rc;
	}
	LOG_INFO(api, "listening", "socket=%s listen=%s health=%s",
		cfg->socket != NULL ? cfg->socket : "none",
		cfg->listen != NULL ? cfg->listen : "none",
		cfg->health != NULL ? cfg->health : "none");
	*out = a;
	return 0;
}

void api_stop(struct api *a)
{
	const uint64_t one = 1;

	if (a == NULL)
		return;
	if (a->thread_runs && write(a->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(a->thread, NULL);
	/* From here this thread is alone. Jobs first: they hold requests. */
	handoff_free(a->handoff);
	api_changes_fini(a);
	api_flows_fini(a);
	http_server_free(a->http);
	proxy_health_free(a->proxy_health);
	if (a->stop_event != NULL)
		event_free(a->stop_event);
	if (a->done_event != NULL)
		event_free(a->done_event);
	if (a->tick != NULL)
		event_free(a->tick);
	if (a->base != NULL)
		event_base_free(a->base);
	if (a->stop_fd >= 0)
		close(a->stop_fd);
	pthread_mutex_destroy(&a->config_lock);
	free(a->config_json);
	free(a->node_name);
	free(a->health_address);
	free(a->netns);
	free(a);
}

int api_control_fd(const struct api *a)
{
	return handoff_control_fd(a->handoff);
}

void api_control_run(struct api *a)
{
	handoff_run(a->handoff, CONTROL_JOBS);
}

void api_set_node_ports(
	struct api *a, const bool any[IP_FAMILIES], const struct ip_addr *at, uint32_t n)
{
	struct api_node_ports *p = &a->node_ports;

	pthread_mutex_lock(&a->config_lock);
	p->version++;
	p->n = n < API_NODE_PORTS_MAX ? n : API_NODE_PORTS_MAX;
	memcpy(p->any, any, sizeof(p->any));
	memcpy(p->at, at, p->n * sizeof(*at));
	pthread_mutex_unlock(&a->config_lock);
}

bool api_node_ports(struct api *a, struct api_node_ports *out)
{
	bool newer;

	pthread_mutex_lock(&a->config_lock);
	newer = out->version != a->node_ports.version;
	if (newer)
		*out = a->node_ports;
	pthread_mutex_unlock(&a->config_lock);
	return newer;
}

uint16_t api_listen_port(const struct api *a)
{
	return a->listen_port;
}

uint16_t api_health_port(const struct api *a)
{
	return a->health_port;
}
