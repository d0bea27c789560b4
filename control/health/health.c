/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Port 10256: what the proxy and the node are fit for (see health.h). The state is gathered here,
 * decide.c decides, services.c has the ports of services. API thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/health/health_private.h"
#include "control/reconcile.h"

const char *const health_family_names[IP_FAMILIES] = {"IPv4", "IPv6"};

/* --- state ----------------------------------------------------------------------------------- */

static void see_node(struct proxy_health *h, struct health_state *s)
{
	struct model *m = h->api->deps.model;
	struct model_source_state source;
	const struct model_node *n;

	model_read_lock(m);
	model_source_get(m, SOURCE_NODE, &source);
	n = model_node_self(m);
	s->node_awaited = source.awaited;
	s->node_known = n != NULL;
	s->node_deleting = n != NULL && n->deleting;
	s->node_to_be_deleted = n != NULL && n->to_be_deleted;
	model_read_unlock(m);
}

void health_state_now(struct proxy_health *h, struct health_state *s)
{
	struct health_check checks[HEALTH_CHECKS_MAX];
	int64_t silent = api_now_ms() - h->api->control_seen_ms;
	uint32_t n = api_checks(h->api, checks, false);

	memset(s, 0, sizeof(*s));
	s->now_wall_ms = api_wall_ms();
	/* A control thread that has hung does not say what waits. */
	for (int f = 0; f < IP_FAMILIES; f++) {
		s->updated_wall_ms[f] = h->updated_wall_ms[f];
		s->waiting_ms[f] = silent > HEALTH_OVERDUE_MS ? silent : h->waiting_ms[f];
	}
	s->workers_turn = s->uplinks_up = true;
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(checks[i].name, "workers") == 0)
			s->workers_turn = checks[i].ok;
		else if (strcmp(checks[i].name, "uplinks") == 0)
			s->uplinks_up = checks[i].ok;
	}
	see_node(h, s);
}

static void see_queue(struct proxy_health *h)
{
	int64_t now = api_now_ms(), other;
	struct reconcile_stats rs;

	reconcile_stats(h->api->deps.reconciler, &rs);
	/* Until everything awaited has arrived, changes wait by design. */
	if (!rs.ready)
		return;
	if (h->ready_ms == 0)
		h->ready_ms = now;
	/* Removed services, nodes, vports: what is in no family's list concerns both. */
	other = health_queue_age(&h->queue, rs.events, rs.pending, now);
	if (!TAILQ_EMPTY(&h->waits[IP_V4]) || !TAILQ_EMPTY(&h->waits[IP_V6]))
		other = 0;
	for (int i = 0; i < IP_FAMILIES; i++) {
		enum ip_family f = (enum ip_family)i;
		int64_t age = health_waits_age(&h->waits[f], f, h->ready_ms, now);

		h->waiting_ms[f] = age > other ? age : other;
		if (TAILQ_EMPTY(&h->waits[f]) && rs.last_applied_ms != 0)
			h->updated_wall_ms[f] = api_wall_ms() - (now - h->api->control_seen_ms);
	}
}

/* --- answers --------------------------------------------------------------------------------- */

static void write_answer(struct jw *w, const struct health_state *s, const struct health_answer *a,
	enum health_question q)
{
	jw_object(w, NULL);
	jw_time_ms(w, "lastUpdated", a->last_updated_wall_ms);
	jw_time_ms(w, "currentTime", s->now_wall_ms);
	if (q == HEALTH_HEALTHZ)
		jw_bool(w, "nodeEligible", a->node_eligible);
	jw_bool(w, "healthy", a->healthy);
	jw_object(w, "status");
	for (int f = 0; f < IP_FAMILIES; f++) {
		jw_object(w, health_family_names[f]);
		jw_time_ms(w, "lastUpdated",
			a->family_healthy[f] ? s->now_wall_ms : s->updated_wall_ms[f]);
		jw_bool(w, "healthy", a->family_healthy[f]);
		jw_object_end(w);
	}
	jw_object_end(w);
	jw_object_end(w);
}

static void on_main(struct http_request *req)
{
	const struct health_port *p = req->arg;
	struct proxy_health *h = p->health;
	bool healthz = strcmp(req->path, "/healthz") == 0;
	enum health_question q = healthz ? HEALTH_HEALTHZ : HEALTH_LIVEZ;
	struct health_answer answer;
	struct health_state state;
	struct evbuffer *out;
	struct jw w;

	if (!healthz && strcmp(req->path, "/livez") != 0) {
		http_problem(req, 404, "NotFound", "there is /healthz and /livez");
		return;
	}
	out = evbuffer_new();
	if (out == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	health_state_now(h, &state);
	health_decide(&state, q, 0, &answer);
	(healthz ? h->healthz : h->livez)[answer.status == 200 ? 0 : 1]++;
	jw_init(&w, out);
	write_answer(&w, &state, &answer, q);
	if (jw_finish(&w) < 0)
		http_problem(req, 503, "ResourceExhausted", "out of memory");
	else
		http_reply(req, answer.status, HEALTH_TEXT_TYPE, out);
	evbuffer_free(out);
}

static const struct http_route main_routes[] = {
	{"/", HTTP_GET, on_main, HTTP_ROUTE_HEALTH | HTTP_ROUTE_ANY},
	{NULL, 0, NULL, 0},
};

/* --- life ------------------------------------------------------------------------------------ */

static int copy(char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL ? 0 : -ENOMEM;
}

int proxy_health_new(
	struct api *a, const struct proxy_health_config *cfg, struct proxy_health **out)
{
	struct proxy_health *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	h->api = a;
	h->service_ports = cfg->service_ports;
	h->metrics = cfg->metrics;
	for (int f = 0; f < IP_FAMILIES; f++) {
		h->updated_wall_ms[f] = h->queued_wall_ms[f] = api_wall_ms();
		TAILQ_INIT(&h->waits[f]);
	}
	h->main.health = h;
	h->main.wanted = cfg->bind_address != NULL;
	omap_init(&h->services);
	TAILQ_INIT(&h->unsettled);
	if (copy(&h->bind_address, cfg->bind_address) < 0 || copy(&h->netns, cfg->netns) < 0) {
		proxy_health_free(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

void proxy_health_free(struct proxy_health *h)
{
	if (h == NULL)
		return;
	health_services_fini(h);
	health_port_close(&h->main);
	free(h->bind_address);
	free(h->netns);
	free(h);
}

void proxy_health_tick(struct proxy_health *h)
{
	char address[1][HEALTH_ADDRESS_MAX];

	health_services_tick(h);
	see_queue(h);
	if (h->main.wanted == 0 || h->main.http != NULL)
		return;
	snprintf(address[0], sizeof(address[0]), "%s", h->bind_address);
	health_port_open(&h->main, address, 1, main_routes, "FailedToStartProxierHealthcheck");
}
