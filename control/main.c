/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* sluiced: the one place where the parts meet. Starts them in order, runs the control thread's
 * event loop, and ends them in reverse. */

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/api/api.h"
#include "control/config.h"
#include "control/hardware.h"
#include "control/health/kube_proxy.h"
#include "control/instance.h"
#include "control/log.h"
#include "control/model.h"
#include "control/neighbours.h"
#include "control/notice.h"
#include "control/ports.h"
#include "control/reconcile.h"
#include "control/retire.h"
#include "io/rim.h"
#include "k8s-sync/events.h"
#include "k8s-sync/sync.h"
#include "offload/provider.h"
#include "pipelines/pipeline.h"

#define RIM_POLL_MS       100
#define SETTLE_POLL_MS    1
#define NEIGHBOUR_POLL_MS 2
#define DRAIN_MS          2000
/* Of the time under changes without end a fifth is the reconciler's. */
#define REST_FACTOR 4
#define REST_MAX_MS 50
/* How long one that ends may keep us waiting: its drain, and some for its ports. */
#define CLAIM_S 10

struct sluiced {
	const char *path;
	struct config *cfg;
	struct event_base *base;
	struct rim *rim;
	struct hardware *hardware;
	struct model *model;
	struct retire *retire;
	struct neighbours *neighbours;
	struct ports *ports;
	struct reconciler *reconciler;
	struct k8s_sync *sync;
	struct notices *notices;
	struct k8s_events *events;
	struct notice telling; /* the one that events is about to tell */
	int notice_fd;
	struct event *notice_ready;
	struct kube_proxy_watch *kube_proxy;
	struct http_answers answers;
	struct api *api;
	const struct svc_domain *domain_told;
	struct event *step, *neighbour_timer, *rim_timer, *api_ready, *term, *interrupt, *hangup;
	int claim; /* on the API socket; -1: none */
	bool announced;
	uint64_t worked_us; /* since something was left to do */
	uint32_t rest_ms;   /* 0: a step may follow at once */
	bool link_lost[RIM_PORTS_MAX];
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t now_ms(void)
{
	return now_us() / 1000;
}

static void arm(struct event *ev, uint32_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	event_add(ev, &tv);
}

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

/* About this node. */
#define NOTICE(s, warning, reason, ...) \
	notice_post((s)->notices, warning, "Node", "", (s)->cfg->node.name, reason, __VA_ARGS__)

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

/* A step as soon as the last one has been rested from. */
static void wake(struct sluiced *s)
{
	if (s->rest_ms == 0)
		event_active(s->step, EV_TIMEOUT, 0);
}

static void hosts_changed(void *arg)
{
	struct sluiced *s = arg;

	reconcile_hosts_changed(s->reconciler);
	wake(s);
}

static void model_changed(void *arg)
{
	struct sluiced *s = arg;

	wake(s);
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

/* --- events of the control thread ---------------------------------------------------------------
 */

/* healthCheckNodePorts are where NodePorts are; this thread publishes those. */
static void tell_node_ports(struct sluiced *s)
{
	const struct svc_domain *d =
		atomic_load_explicit(&rim_dataplane(s->rim)->services, memory_order_relaxed);
	const bool any[IP_FAMILIES] = {
		config_node_ports_any(s->cfg, IP_V4), config_node_ports_any(s->cfg, IP_V6)};

	if (s->api == NULL || d == s->domain_told)
		return;
	s->domain_told = d;
	api_set_node_ports(s->api, any, d->node_port_addrs, d->n_node_port_addrs);
}

/* Behind much work a rest, in which the streams are read that bring it: of many changes of a
 * service only the last one is built. The first state is not kept waiting. */
static bool step(struct sluiced *s)
{
	uint64_t began = now_us();
	bool more = reconcile_step(s->reconciler);

	s->worked_us += now_us() - began;
	s->rest_ms = 0;
	if (more)
		return true;
	if (s->announced && s->worked_us >= 1000)
		s->rest_ms = s->worked_us * REST_FACTOR / 1000 < REST_MAX_MS
			? (uint32_t)(s->worked_us * REST_FACTOR / 1000)
			: REST_MAX_MS;
	s->worked_us = 0;
	return false;
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;
	bool more;

	/* Sleeping workers do not, and some changes are acknowledged behind a grace period. */
	rim_grace_poll(s->rim);
	more = step(s);

	tell_node_ports(s);
	if (!s->announced && reconcile_ready(s->reconciler)) {
		s->announced = true;
		LOG_INFO(main, "ready");
		NOTICE(s, false, "Starting", "sluiced %s serves Services", SLUICE_VERSION);
	}
	arm(s->step,
		s->rest_ms != 0                             ? s->rest_ms
			: more                              ? 0
			: reconcile_settling(s->reconciler) ? SETTLE_POLL_MS
							    : RECONCILE_IDLE_MS);
}

static void on_neighbours(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;
	uint32_t next = neighbours_poll(s->neighbours, now_ms());

	arm(s->neighbour_timer, next < NEIGHBOUR_POLL_MS ? next : NEIGHBOUR_POLL_MS);
}

static void on_notice(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) == sizeof(n) && s->events != NULL)
		k8s_events_wake(s->events);
}

static void on_rim(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;

	rim_poll(s->rim);
	rim_grace_poll(s->rim);
	retire_poll(s->retire);
}

static void on_api(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;

	api_control_run(s->api);
}

static void on_terminate(evutil_socket_t sig, short what, void *arg)
{
	struct sluiced *s = arg;

	LOG_INFO(main, "stopping", "signal=%d", (int)sig);
	event_base_loopbreak(s->base);
}

/* Applies what can be applied while running, and says by name what cannot. */
static void on_hangup(evutil_socket_t sig, short what, void *arg)
{
	struct sluiced *s = arg;
	struct config_errors errors = {0};
	struct config_diff diff = {0};
	struct config *fresh;

	if (config_reload(s->path, &fresh, &errors) < 0) {
		LOG_ERROR(config, "reload_refused", "errors=%u first=%s", errors.n, errors.text);
		NOTICE(s, true, "ConfigRejected", "%u errors, the first: %.*s", errors.n,
			(int)strcspn(errors.text, "\n"), errors.text);
		config_errors_fini(&errors);
		return;
	}
	if (config_diff(s->cfg, fresh, &diff) == 0) {
		for (uint32_t i = 0; i < diff.n; i++) {
			const struct config_change *c = &diff.changes[i];

			if (c->applied)
				LOG_INFO(config, "reloaded", "key=%s from=%s to=%s", c->key,
					c->before, c->after);
			else
				LOG_WARN(config, "needs_restart", "key=%s from=%s to=%s", c->key,
					c->before, c->after);
		}
		LOG_INFO(config, "reload_done", "changes=%u", diff.n);
	}
	config_diff_fini(&diff);
	config_keep_running(fresh, s->cfg);
	config_apply_log(fresh);
	config_log_notes(fresh);
	if (config_apply_model(fresh, s->model) < 0)
		LOG_ERROR(config, "reload_incomplete", "see=vports,routes");
	hardware_configure(s->hardware, fresh);
	reconcile_configure(s->reconciler, fresh);
	api_set_config(s->api, fresh);
	config_free(s->cfg);
	s->cfg = fresh;
	s->domain_told = NULL;
	event_active(s->step, EV_TIMEOUT, 0);
}

/* --- start and stop -----------------------------------------------------------------------------
 */

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

static int start_events(struct sluiced *s)
{
	static const struct timeval rim_every = {.tv_usec = RIM_POLL_MS * 1000};

	s->base = event_base_new();
	if (s->base == NULL)
		return -ENOMEM;
	s->step = event_new(s->base, -1, 0, on_step, s);
	s->neighbour_timer = event_new(s->base, -1, 0, on_neighbours, s);
	s->rim_timer = event_new(s->base, -1, EV_PERSIST, on_rim, s);
	s->term = evsignal_new(s->base, SIGTERM, on_terminate, s);
	s->interrupt = evsignal_new(s->base, SIGINT, on_terminate, s);
	s->hangup = evsignal_new(s->base, SIGHUP, on_hangup, s);
	if (s->step == NULL || s->neighbour_timer == NULL || s->rim_timer == NULL ||
		s->term == NULL || s->interrupt == NULL || s->hangup == NULL)
		return -ENOMEM;
	event_add(s->rim_timer, &rim_every);
	event_add(s->term, NULL);
	event_add(s->interrupt, NULL);
	event_add(s->hangup, NULL);
	arm(s->step, 0);
	arm(s->neighbour_timer, 0);
	return 0;
}

static void free_event(struct event *ev)
{
	if (ev != NULL)
		event_free(ev);
}

/* Accepts a half-started daemon. Returns the exit status. */
static int stop(struct sluiced *s, int status)
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
	free_event(s->step);
	free_event(s->neighbour_timer);
	free_event(s->rim_timer);
	free_event(s->api_ready);
	free_event(s->term);
	free_event(s->interrupt);
	free_event(s->hangup);
	if (s->base != NULL)
		event_base_free(s->base);
	config_free(s->cfg);
	LOG_INFO(main, "stopped", "status=%d", status);
	if (s->claim >= 0)
		close(s->claim);
	return status;
}

static int run(struct sluiced *s)
{
	config_apply_log(s->cfg);
	config_log_notes(s->cfg);
	LOG_INFO(main, "starting", "version=%s node=%s", SLUICE_VERSION, s->cfg->node.name);
	if (s->cfg->api.socket != NULL &&
		instance_claim(s->cfg->api.socket, CLAIM_S, &s->claim) < 0)
		return stop(s, EXIT_FAILURE);
	if (start_events(s) < 0 || start_notices(s) < 0 || start_rim(s) < 0 ||
		start_control(s) < 0 || start_sync(s) < 0 || start_api(s) < 0)
		return stop(s, EXIT_FAILURE);
	if (config_apply_model(s->cfg, s->model) < 0) {
		LOG_ERROR(config, "not_applied", "see=vports,routes");
		return stop(s, EXIT_FAILURE);
	}
	if (s->sync != NULL)
		k8s_sync_start(s->sync);
	event_base_dispatch(s->base);
	return stop(s, EXIT_SUCCESS);
}

static void usage(FILE *f)
{
	fputs("usage: sluiced [--config FILE] [--check-config]\n"
	      "       sluiced --print-config-reference | --print-kube-proxy-options | --version | "
	      "--help\n\n"
	      "  --config FILE            default " CONFIG_DEFAULT_PATH "\n"
	      "  --check-config           read the file, say what is wrong with it, and end\n"
	      "  --print-config-reference every key with its default, as YAML\n"
	      "  --print-kube-proxy-options\n"
	      "                           what becomes of kube-proxy's options, as Markdown\n\n"
	      "SIGHUP reads the file again, SIGTERM drains and ends.\n",
		f);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'n'},
		{"print-config-reference", no_argument, NULL, 'p'},
		{"print-kube-proxy-options", no_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct sluiced s = {.path = CONFIG_DEFAULT_PATH, .claim = -1, .notice_fd = -1};
	struct config_errors errors = {0};
	bool check = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			s.path = optarg;
			break;
		case 'n':
			check = true;
			break;
		case 'p':
			return config_print_reference(stdout) < 0;
		case 'k':
			return config_print_kube_proxy(stdout) < 0;
		case 'v':
			printf("sluiced %s (%s)\n", SLUICE_VERSION, rim_dpdk_version());
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc) {
		usage(stderr);
		return 2;
	}
	if (config_load(s.path, &s.cfg, &errors) < 0) {
		fputs(errors.text, stderr);
		config_errors_fini(&errors);
		return 1;
	}
	if (check) {
		for (uint32_t i = 0; i < s.cfg->notes.n; i++)
			printf("%s: %s\n", s.path, s.cfg->notes.at[i]);
		printf("%s: good\n", s.path);
		config_free(s.cfg);
		return 0;
	}
	signal(SIGPIPE, SIG_IGN);
	return run(&s);
}
