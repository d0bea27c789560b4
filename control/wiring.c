/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The one place where the parts meet: starts them in order, gives each the others' functions, and
 * ends them in reverse. Control thread, but callbacks that say "any thread". */

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/api/api.h"
#include "control/hardware.h"
#include "control/health/kube_proxy.h"
#include "control/instance.h"
#include "control/log.h"
#include "control/model.h"
#include "control/neighbours.h"
#include "control/ports.h"
#include "control/reconcile.h"
#include "control/retire.h"
#include "control/sluiced.h"
#include "k8s-sync/events.h"
#include "offload/provider.h"
#include "pipelines/pipeline.h"

#define DRAIN_MS 2000
/* How long one that ends may keep us waiting: its drain, and some for its ports. */
#define CLAIM_S 10

/* --- callbacks between the parts -------------------------------------------------------------- */

static void rim_log(void *arg, enum rim_log_level level, const char *text)
{
	switch (level) {
	case RIM_LOG_ERROR:
		LOG_ERROR(rim, "dpdk", "text=%s", text);
		break;
	case RIM_LOG_WARNING:
		LOG_WARN(rim, "dpdk", "text=%s", text);
		break;
	case RIM_LOG_INFO:
		LOG_DEBUG(rim, "dpdk", "text=%s", text);
		break;
	case RIM_LOG_DEBUG:
		LOG_DEBUG(rim, "dpdk_debug", "text=%s", text);
		break;
	}
}

/* Links come up at the start; it is worth a notice only behind a loss. */
static void link_changed(void *arg, uint16_t port, bool up)
{
	struct rim_port_info info[RIM_PORTS_MAX];
	struct sluiced *s = arg;
	uint32_t n = s->rim != NULL ? rim_port_list(s->rim, info, RIM_PORTS_MAX) : 0;

	LOG_INFO(port, "link", "port=%u up=%s", port, up ? "true" : "false");
	for (uint32_t i = 0; i < n && i < RIM_PORTS_MAX; i++) {
		if (info[i].index != port || up != s->link_lost[port % RIM_PORTS_MAX])
			continue;
		NOTICE(s, !up, up ? "PortUp" : "PortDown", "port %s (%s) %s its link", info[i].name,
			info[i].where, up ? "has" : "lost");
		s->link_lost[port % RIM_PORTS_MAX] = !up;
	}
}

/* Any thread. */
static void notice_made(void *arg)
{
	const uint64_t one = 1;
	struct sluiced *s = arg;

	/* Full means that it is readable already. */
	if (write(s->notice_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		LOG_WARN(main, "eventfd", "error=%s", strerror(errno));
}

static bool next_event(void *arg, uint64_t after, struct k8s_event *out)
{
	struct sluiced *s = arg;
	const struct notice *n = &s->telling;

	if (notices_after(s->notices, after, 1, &s->telling) == 0)
		return false;
	*out = (struct k8s_event){.id = n->id,
		.version = n->version,
		.warning = n->warning,
		.count = n->count,
		.first_ms = n->first_ms,
		.last_ms = n->last_ms,
		.kind = n->kind,
		.ns = n->ns,
		.name = n->name,
		.reason = n->reason,
		.note = n->note};
	return true;
}

static int neighbour_send(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len)
{
	struct sluiced *s = arg;

	return rim_inject(s->rim, vport, frame, len);
}

static void hosts_changed(void *arg)
{
	struct sluiced *s = arg;

	reconcile_hosts_changed(s->reconciler);
	turn_wake(s);
}

static void model_changed(void *arg)
{
	struct sluiced *s = arg;

	turn_wake(s);
}

static void sync_log(void *arg, int level, const char *event, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	switch (level) {
	case LOG_LEVEL_ERROR:
		LOG_ERROR(k8s, "sync", "what=%s %s", event, text);
		break;
	case LOG_LEVEL_WARN:
		LOG_WARN(k8s, "sync", "what=%s %s", event, text);
		break;
	default:
		LOG_INFO(k8s, "sync", "what=%s %s", event, text);
		break;
	}
}

/* Any thread. */
static uint64_t api_answers(void *arg, uint32_t method, uint32_t status)
{
	const struct sluiced *s = arg;

	if (method >= HTTP_ANSWER_METHODS || status >= HTTP_STATUS_MAX)
		return 0;
	return atomic_load_explicit(&s->answers.by_status[method][status], memory_order_relaxed);
}

static void on_notice(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) == sizeof(n) && s->events != NULL)
		k8s_events_wake(s->events);
}

static void on_api(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;

	api_control_run(s->api);
}

/* --- start ------------------------------------------------------------------------------------ */

/* What DPDK made of eal-args may stand on that bus, as representors do. */
static bool needs_pci_bus(int kind)
{
	return kind == PORT_PCI || kind == PORT_ETHDEV;
}

static int start_rim(struct sluiced *s)
{
	const struct config *c = s->cfg;
	struct rim_error err = {""};
	struct rim_config rc;
	const char **args;
	int ret;

	rim_config_default(&rc);
	args = calloc(c->memory.eal_args.n + 1, sizeof(*args));
	if (args == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->memory.eal_args.n; i++)
		args[i] = c->memory.eal_args.at[i];
	rc.hugepages = c->memory.hugepages == CONFIG_ON ? RIM_HUGEPAGES_ON
		: c->memory.hugepages == CONFIG_OFF     ? RIM_HUGEPAGES_OFF
							: RIM_HUGEPAGES_AUTO;
	rc.memory_mb = c->memory.size_mb;
	rc.buffers = c->memory.buffers;
	rc.n_workers = c->workers.count;
	for (uint32_t i = 0; i < rc.n_workers; i++)
		rc.cpu[i] =
			i < c->workers.lcores.n ? (int16_t)c->workers.lcores.at[i] : RIM_CPU_ANY;
	rc.idle.spin_us = c->workers.idle_spin_us;
	rc.idle.sleep_min_us = c->workers.idle_sleep_min_us;
	rc.idle.sleep_max_us = c->workers.idle_sleep_max_us;
	rc.eal_args = args;
	rc.flows[IP_V4] = c->flows.capacity[IP_V4];
	rc.flows[IP_V6] = c->flows.capacity[IP_V6];
	rc.run = pipeline_run;
	rc.tick = pipeline_tick;
	rc.drain = pipeline_stop;
	rc.log = rim_log;
	rc.link = link_changed;
	rc.arg = s;
	for (uint32_t i = 0; i < c->n_ports; i++)
		rc.pci |= needs_pci_bus(c->ports[i].kind);
	for (uint32_t i = 0; i < c->n_vports; i++)
		rc.pci |= needs_pci_bus(c->vports[i].own_port.kind);
	ret = rim_start(&rc, &s->rim, &err);
	free(args);
	if (ret < 0)
		LOG_ERROR(rim, "start_failed", "reason=%s", err.text);
	return ret;
}

static int start_control(struct sluiced *s)
{
	struct dataplane *dp = rim_dataplane(s->rim);
	struct reconcile_io io = {
		.vport_open = ports_vport_open,
		.vport_start = ports_vport_start,
		.vport_stop = ports_vport_stop,
		.vport_close = ports_vport_close,
		.synchronize = ports_synchronize,
		.hardware_present = hardware_present,
		.revalidate = hardware_revalidate,
		.settled = hardware_settled,
	};
	struct neighbours_config nc = {.dp = dp};
	struct rim_error err = {""};
	int ret;

	s->model = model_new();
	if (s->model == NULL)
		return -ENOMEM;
	ret = retire_init(&dp->grace, &s->retire);
	if (ret < 0)
		return ret;
	nc.retire = s->retire;
	nc.send = neighbour_send;
	nc.hosts_changed = hosts_changed;
	nc.arg = s;
	ret = neighbours_init(&nc, &s->neighbours);
	if (ret < 0)
		return ret;
	ret = hardware_start(s->rim, s->cfg, offload_provider_rte_flow(), &s->hardware);
	if (ret < 0)
		return ret;
	io.arg_hardware = s->hardware;
	ret = ports_init(s->rim, s->hardware, s->cfg, &s->ports, &err);
	if (ret < 0) {
		LOG_ERROR(port, "open_failed", "reason=%s", err.text);
		return ret;
	}
	io.arg = s->ports;
	ret = reconcile_init(dp, s->model, s->neighbours, s->retire, s->cfg, &io, &s->reconciler);
	if (ret < 0)
		return ret;
	model_set_notify(s->model, model_changed, s);
	return 0;
}

static int start_notices(struct sluiced *s)
{
	int ret = notices_new(&s->notices);

	if (ret < 0)
		return ret;
	s->notice_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->notice_fd < 0)
		return -errno;
	s->notice_ready = event_new(s->base, s->notice_fd, EV_READ | EV_PERSIST, on_notice, s);
	if (s->notice_ready == NULL || event_add(s->notice_ready, NULL) < 0)
		return -ENOMEM;
	notices_set_notify(s->notices, notice_made, s);
	return kube_proxy_watch_start(
		s->cfg->health.netns, s->cfg->node.name, s->notices, &s->kube_proxy);
}

static int start_kubernetes_events(struct sluiced *s)
{
	const struct config_kubernetes *k = &s->cfg->kubernetes;
	struct k8s_events_config ec = {
		.http = {.socket = k->socket,
			.url = k->url,
			.ca_file = k->ca_file,
			.token_file = k->token_file,
			.cert_file = k->client_cert_file,
			.key_file = k->client_key_file,
			.answers = &s->answers},
		.node_name = s->cfg->node.name,
		.next = next_event,
		.arg = s,
		.env = {.arg = s, .log = sync_log},
	};

	return k->events ? k8s_events_new(s->base, &ec, &s->events) : 0;
}

static int start_sync(struct sluiced *s)
{
	const struct config_kubernetes *k = &s->cfg->kubernetes;
	struct k8s_config kc;
	int ret;

	if (k->socket == NULL && k->url == NULL)
		return 0;
	k8s_config_defaults(&kc);
	kc.socket = k->socket;
	kc.url = k->url;
	kc.ca_file = k->ca_file;
	kc.token_file = k->token_file;
	kc.cert_file = k->client_cert_file;
	kc.key_file = k->client_key_file;
	kc.node_name = s->cfg->node.name;
	kc.answers = &s->answers;
	kc.endpoints = k->endpoints == ENDPOINTS_SLICES ? K8S_ENDPOINTS_SLICES
		: k->endpoints == ENDPOINTS_ENDPOINTS   ? K8S_ENDPOINTS_OBJECTS
							: K8S_ENDPOINTS_AUTO;
	kc.service_proxy_name = k->service_proxy_name;
	kc.external_ips = k->external_ips;
	kc.env.log = sync_log;
	kc.env.arg = s;
	ret = k8s_sync_new(s->base, &kc, s->model, &s->sync);
	if (ret == 0)
		ret = start_kubernetes_events(s);
	if (ret < 0)
		LOG_ERROR(k8s, "start_failed", "reason=%s", strerror(-ret));
	return ret;
}

static int start_api(struct sluiced *s)
{
	const struct config_api *c = &s->cfg->api;
	struct api_deps deps = {
		.model = s->model,
		.dp = rim_dataplane(s->rim),
		.reconciler = s->reconciler,
		.neighbours = s->neighbours,
		.rim = s->rim,
		.offload = hardware_offload(s->hardware),
		.notices = s->notices,
		.kube_proxy = s->kube_proxy,
		.api_answers = s->sync != NULL ? api_answers : NULL,
		.arg = s,
	};
	struct api_config ac = {
		.node_name = s->cfg->node.name,
		.socket = c->socket,
		.socket_mode = c->socket_mode,
		.socket_group = c->socket_group,
		.listen = c->listen,
		.listen_writable = c->tcp_writable,
		.health = s->cfg->metrics.bind_address,
		.netns = s->cfg->health.netns,
		.proxy_health = s->cfg->health.bind_address,
		.service_health = true,
		.kube_proxy_names =
			s->cfg->metrics.kube_proxy_names || s->cfg->metrics.bind_address != NULL,
	};
	struct api_error err = {""};
	int ret = api_start(&deps, &ac, &s->api, &err);

	if (ret < 0) {
		LOG_ERROR(api, "start_failed", "reason=%s", err.text);
		return ret;
	}
	api_set_config(s->api, s->cfg);
	s->api_ready = event_new(s->base, api_control_fd(s->api), EV_READ | EV_PERSIST, on_api, s);
	return s->api_ready == NULL || event_add(s->api_ready, NULL) < 0 ? -ENOMEM : 0;
}

int sluiced_start(struct sluiced *s)
{
	int (*const parts[])(struct sluiced *) = {
		turn_start, start_notices, start_rim, start_control, start_sync, start_api};
	int ret;

	if (s->cfg->api.socket != NULL) {
		ret = instance_claim(s->cfg->api.socket, CLAIM_S, &s->claim);
		if (ret < 0)
			return ret;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		ret = parts[i](s);
		if (ret < 0)
			return ret;
	}
	ret = config_apply_model(s->cfg, s->model);
	if (ret < 0) {
		LOG_ERROR(config, "not_applied", "see=vports,routes");
		return ret;
	}
	if (s->sync != NULL)
		k8s_sync_start(s->sync);
	return 0;
}

/* --- stop ------------------------------------------------------------------------------------- */

int sluiced_stop(struct sluiced *s, int status)
{
	uint32_t lost;

	api_stop(s->api);
	kube_proxy_watch_stop(s->kube_proxy);
	k8s_events_free(s->events);
	if (s->sync != NULL) {
		k8s_sync_stop(s->sync);
		k8s_sync_free(s->sync);
	}
	if (s->reconciler != NULL) {
		reconcile_drain(s->reconciler, true);
		reconcile_step(s->reconciler);
	}
	hardware_drain(s->hardware);
	if (s->rim != NULL && rim_drain(s->rim, DRAIN_MS) < 0)
		LOG_WARN(rim, "drain_incomplete", "after_ms=%u", DRAIN_MS);
	reconcile_fini(s->reconciler);
	ports_fini(s->ports);
	hardware_stop(s->hardware);
	neighbours_fini(s->neighbours);
	retire_fini(s->retire);
	lost = rim_stop(s->rim);
	if (lost != 0) {
		LOG_ERROR(rim, "buffers_lost", "count=%u", lost);
		status = EXIT_FAILURE;
	}
	model_free(s->model);
	notices_free(s->notices);
	free_event(s->notice_ready);
	if (s->notice_fd >= 0)
		close(s->notice_fd);
	free_event(s->api_ready);
	turn_stop(s);
	config_free(s->cfg);
	LOG_INFO(main, "stopped", "status=%d", status);
	if (s->claim >= 0)
		close(s->claim);
	return status;
}
