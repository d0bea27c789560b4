/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the control thread does when an event comes: a step of the reconciler, neighbours, the rim's
 * own business, SIGHUP and the signals that end it. Nothing here waits. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/api/api.h"
#include "control/hardware.h"
#include "control/log.h"
#include "control/neighbours.h"
#include "control/reconcile.h"
#include "control/retire.h"
#include "control/sluiced.h"

#define RIM_POLL_MS       100
#define SETTLE_POLL_MS    1
#define NEIGHBOUR_POLL_MS 2
/* Of the time under changes without end a fifth is the reconciler's. */
#define REST_FACTOR 4
#define REST_MAX_MS 50

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

void turn_wake(struct sluiced *s)
{
	if (s->rest_ms == 0)
		event_active(s->step, EV_TIMEOUT, 0);
}

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

static void on_rim(evutil_socket_t fd, short what, void *arg)
{
	struct sluiced *s = arg;

	rim_poll(s->rim);
	rim_grace_poll(s->rim);
	retire_poll(s->retire);
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

int turn_start(struct sluiced *s)
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

void turn_stop(struct sluiced *s)
{
	free_event(s->step);
	free_event(s->neighbour_timer);
	free_event(s->rim_timer);
	free_event(s->term);
	free_event(s->interrupt);
	free_event(s->hangup);
	if (s->base != NULL)
		event_base_free(s->base);
}
