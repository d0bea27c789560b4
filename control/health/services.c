/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* One HTTP server for each Service with a healthCheckNodePort and each of its families, opened
 * and closed as services change, on the addresses that have NodePorts. The model's log of changes
 * is followed, so a tick costs what changed. Which changes still wait to be programmed is kept
 * here, too. API thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/health/health_private.h"
#include "control/log.h"

/* Changes looked at under one read lock, and such pieces a tick: as many changes as are kept. */
#define CHANGES_BATCH   64
#define CHANGES_BATCHES 128

/* --- ports ----------------------------------------------------------------------------------- */

static void tell_failure(
	const struct health_port *p, const char *address, const char *event, int rc)
{
	const struct health_service *s = p->service;

	LOG_WARN(health, "listen_failed", "reason=%s address=%s service=%s/%s error=%s", event,
		address, s != NULL ? s->ns : "", s != NULL ? s->name : "", strerror(-rc));
	api_notice(p->health->api, true, s != NULL ? s->ns : NULL, s != NULL ? s->name : NULL,
		event, "health checks cannot be answered on %s: %s%s", address, strerror(-rc),
		rc == -EADDRINUSE ? ", perhaps by a kube-proxy" : "");
}

bool health_port_open(struct health_port *p, const char (*address)[HEALTH_ADDRESS_MAX], uint32_t n,
	const struct http_route *routes, const char *event)
{
	const struct proxy_health *h = p->health;
	int64_t now = api_now_ms();
	uint32_t i = 0;
	int rc;

	if (now < p->retry_ms)
		return false;
	rc = http_server_new(h->api->base, routes, p, &p->http);
	for (; rc == 0 && i < n; i++)
		rc = http_listen_tcp(p->http, address[i],
			p->service != NULL ? HTTP_PROBE : HTTP_HEALTH, h->netns, NULL);
	if (rc == 0) {
		if (p->failed)
			LOG_INFO(health, "listening", "address=%s", address[0]);
		p->open = p->wanted;
		p->addrs_version = h->addrs.version;
		p->failed = false;
		return true;
	}
	/* On all of its addresses or on none: half a port would pass some probes only. */
	http_server_free(p->http);
	p->http = NULL;
	if (!p->failed)
		tell_failure(p, address[i > 0 ? i - 1 : 0], event, rc);
	p->failed = true;
	p->retry_ms = now + HEALTH_RETRY_MS;
	return false;
}

void health_port_close(struct health_port *p)
{
	http_server_free(p->http);
	p->http = NULL;
	p->open = 0;
}

/* --- answers --------------------------------------------------------------------------------- */

static char *quoted(const char *text)
{
	json_t *s = json_string(text);
	char *out = s != NULL ? json_dumps(s, JSON_ENCODE_ANY) : NULL;

	json_decref(s);
	return out;
}

static void on_probe(struct http_request *req)
{
	const struct health_port *p = req->arg;
	const struct health_service *s = p->service;
	uint32_t endpoints = s->endpoints[p->family];
	char *ns = quoted(s->ns), *name = quoted(s->name), weight[16];
	struct evbuffer *out = evbuffer_new();
	struct health_answer answer;
	struct health_state state;

	health_state_now(p->health, &state);
	health_decide(&state, HEALTH_SERVICE, endpoints, &answer);
	if (out == NULL || ns == NULL || name == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
	} else {
		evbuffer_add_printf(out,
			"{\n\t\"service\": {\n\t\t\"namespace\": %s,\n\t\t\"name\": %s\n\t},\n"
			"\t\"localEndpoints\": %u,\n\t\"serviceProxyHealthy\": %s\n}",
			ns, name, endpoints, answer.healthy ? "true" : "false");
		snprintf(weight, sizeof(weight), "%u", endpoints);
		http_header(req, "X-Load-Balancing-Endpoint-Weight", weight);
		http_reply(req, answer.status, HEALTH_TEXT_TYPE, out);
	}
	if (out != NULL)
		evbuffer_free(out);
	free(ns);
	free(name);
}

static const struct http_route probe_routes[] = {
	{"/", HTTP_GET, on_probe, HTTP_ROUTE_ANY},
	{NULL, 0, NULL, 0},
};

/* --- following the model --------------------------------------------------------------------- */

static void unsettle(struct proxy_health *h, struct health_service *s)
{
	if (s->unsettled)
		return;
	s->unsettled = true;
	TAILQ_INSERT_TAIL(&h->unsettled, s, link);
}

static void service_free(struct health_service *s)
{
	free(s->ns);
	free(s->name);
	free(s);
}

static void count_out(struct proxy_health *h, struct health_service *s)
{
	for (int f = 0; f < IP_FAMILIES; f++) {
		h->no_local_external[f] -= s->no_local_external[f];
		h->no_local_internal[f] -= s->no_local_internal[f];
		s->no_local_external[f] = s->no_local_internal[f] = 0;
	}
}

/* Its ports are closed here: a service that takes one of them may be next. */
static void forget(struct proxy_health *h, const char *key)
{
	struct health_service *s = omap_remove(&h->services, key);

	if (s == NULL)
		return;
	count_out(h, s);
	health_wait_forget(h->waits, &s->wait);
	for (int f = 0; f < IP_FAMILIES; f++)
		health_port_close(&s->port[f]);
	if (s->unsettled)
		TAILQ_REMOVE(&h->unsettled, s, link);
	service_free(s);
}

static struct health_service *service_of(
	struct proxy_health *h, const char *key, const struct model_service *m)
{
	struct omap_node *n = omap_put(&h->services, key);
	struct health_service *s;

	if (n == NULL || n->value != NULL)
		return n != NULL ? n->value : NULL;
	s = calloc(1, sizeof(*s));
	if (s != NULL) {
		s->ns = strdup(m->ns);
		s->name = strdup(m->name);
	}
	if (s == NULL || s->ns == NULL || s->name == NULL) {
		if (s != NULL)
			service_free(s);
		omap_remove(&h->services, key);
		return NULL;
	}
	for (int f = 0; f < IP_FAMILIES; f++)
		s->port[f] = (struct health_port){
			.health = h, .service = s, .family = (enum ip_family)f};
	n->value = s;
	return s;
}

static void measure(struct proxy_health *h, struct health_service *s, const struct model_service *m,
	const struct model_status *status)
{
	double took = (double)api_wall_ms() / 1e3 - (double)m->trigger_time_ns / 1e9;

	if (status->state == MODEL_PENDING || m->trigger_time_ns == 0 ||
		m->trigger_time_ns == s->trigger_ns)
		return;
	s->trigger_ns = m->trigger_time_ns;
	/* What changed before the start was not waiting for us. */
	if (m->trigger_time_ns / 1000000 < h->api->started_ms || took < 0)
		return;
	for (int f = 0; f < IP_FAMILIES; f++) {
		struct health_histogram *g = &h->programming[f];
		uint32_t b = 0;

		if (!health_service_has(m, (enum ip_family)f))
			continue;
		while (b < HEALTH_BUCKETS && took > health_bucket_seconds[b])
			b++;
		if (b < HEALTH_BUCKETS)
			g->bucket[b]++;
		g->count++;
		g->sum += took;
	}
}

static void follow(struct proxy_health *h, const char *key, const struct model_service *m,
	const struct model_status *status)
{
	bool served = h->service_ports && m->health_check_node_port != 0;
	bool pending = status->state == MODEL_PENDING, has[IP_FAMILIES];
	struct health_service *s;

	if (!served && !h->metrics && !pending) {
		forget(h, key);
		return;
	}
	s = service_of(h, key, m);
	if (s == NULL) {
		h->rescan = true;
		return;
	}
	count_out(h, s);
	for (int i = 0; i < IP_FAMILIES; i++) {
		enum ip_family f = (enum ip_family)i;
		uint16_t wanted;

		has[f] = health_service_has(m, f);
		wanted = served && has[f] ? m->health_check_node_port : 0;
		if (has[f] && s->version != status->version)
			h->queued_wall_ms[f] = api_wall_ms();
		if (health_local_endpoints(m, f, &s->endpoints[f]) < 0)
			h->rescan = true;
		if (has[f] && m->etp_local)
			s->no_local_external[f] = health_ports_without_local(m, f);
		if (has[f] && m->itp_local)
			s->no_local_internal[f] = health_ports_without_local(m, f);
		h->no_local_external[f] += s->no_local_external[f];
		h->no_local_internal[f] += s->no_local_internal[f];
		if (wanted != s->port[f].wanted)
			s->port[f].retry_ms = 0;
		s->port[f].wanted = wanted;
		if (s->port[f].open != wanted)
			unsettle(h, s);
	}
	s->version = status->version;
	health_wait_see(h->waits, &s->wait, has, pending, status->applied_version, api_now_ms());
	if (h->metrics)
		measure(h, s, m, status);
}

static void on_change(
	void *arg, uint64_t version, enum model_kind kind, const char *key, bool deleted)
{
	struct proxy_health *h = arg;
	const struct model_service *m;
	struct model_status status;

	h->version = version;
	if (kind != MODEL_SERVICE)
		return;
	m = model_find(h->api->deps.model, MODEL_SERVICE, key, &status);
	if (m != NULL)
		follow(h, key, m, &status);
	else
		forget(h, key);
}

struct scan {
	struct proxy_health *health;
	char key[520];
};

static bool on_each(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	struct scan *s = arg;

	follow(s->health, key, object, status);
	snprintf(s->key, sizeof(s->key), "%s", key);
	return true;
}

static void forget_gone(struct proxy_health *h)
{
	struct omap_node *n = omap_after(&h->services, NULL), *next;

	for (; n != NULL; n = next) {
		next = omap_next(n);
		model_read_lock(h->api->deps.model);
		if (model_find(h->api->deps.model, MODEL_SERVICE, n->key, NULL) == NULL)
			forget(h, n->key);
		model_read_unlock(h->api->deps.model);
	}
}

/* All of it, in slices: when changes were too many to be kept. What changes meanwhile is in the
 * log of changes behind the version of the beginning. */
static void scan(struct proxy_health *h)
{
	struct model *m = h->api->deps.model;
	struct scan s = {.health = h};
	uint32_t shown;

	h->rescan = false;
	model_read_lock(m);
	h->version = model_version(m);
	model_read_unlock(m);
	forget_gone(h);
	do {
		model_read_lock(m);
		shown = model_each(m, MODEL_SERVICE, s.key[0] != '\0' ? s.key : NULL,
			API_LOCK_BATCH, on_each, &s);
		model_read_unlock(m);
	} while (shown == API_LOCK_BATCH);
}

/* Where NodePorts of the family are, with a port: none, 0.0.0.0 or ::, or some of the node's. */
static uint32_t addresses(const struct proxy_health *h, enum ip_family f, uint16_t port,
	char out[API_NODE_PORTS_MAX][HEALTH_ADDRESS_MAX])
{
	char text[IP_TEXT_MAX];
	uint32_t n = 0;

	if (h->addrs.any[f]) {
		snprintf(out[0], sizeof(out[0]), f == IP_V4 ? "0.0.0.0:%u" : "[::]:%u", port);
		return 1;
	}
	for (uint32_t i = 0; i < h->addrs.n; i++)
		if (ip_family(&h->addrs.at[i]) == f)
			snprintf(out[n++], sizeof(out[0]), f == IP_V4 ? "%s:%u" : "[%s]:%u",
				ip_format(&h->addrs.at[i], text), port);
	return n;
}

static bool is_settled(const struct proxy_health *h, const struct health_port *p)
{
	return p->open == p->wanted && (p->open == 0 || p->addrs_version == h->addrs.version);
}

static void settle(struct proxy_health *h)
{
	char address[API_NODE_PORTS_MAX][HEALTH_ADDRESS_MAX];
	struct health_service *s, *next;

	/* A port that moves from one service to another: close before opening. */
	TAILQ_FOREACH (s, &h->unsettled, link)
		for (int f = 0; f < IP_FAMILIES; f++)
			if (!is_settled(h, &s->port[f]))
				health_port_close(&s->port[f]);
	for (s = TAILQ_FIRST(&h->unsettled); s != NULL; s = next) {
		bool done = true;

		next = TAILQ_NEXT(s, link);
		for (int f = 0; f < IP_FAMILIES; f++) {
			struct health_port *p = &s->port[f];
			uint32_t n;

			if (is_settled(h, p))
				continue;
			n = addresses(h, (enum ip_family)f, p->wanted, address);
			/* Without an address it is looked at again when there is one. */
			if (n != 0)
				done &= health_port_open(p, address, n, probe_routes,
					"FailedToStartServiceHealthcheck");
		}
		if (!done)
			continue;
		s->unsettled = false;
		TAILQ_REMOVE(&h->unsettled, s, link);
	}
}

static void see_addresses(struct proxy_health *h)
{
	struct omap_node *n;

	if (!api_node_ports(h->api, &h->addrs))
		return;
	for (n = omap_after(&h->services, NULL); n != NULL; n = omap_next(n))
		unsettle(h, n->value);
}

void health_services_tick(struct proxy_health *h)
{
	struct model *m = h->api->deps.model;
	int changes = CHANGES_BATCH;

	see_addresses(h);
	for (uint32_t i = 0; i < CHANGES_BATCHES && changes == CHANGES_BATCH; i++) {
		model_read_lock(m);
		changes = model_changes_each(m, h->version, CHANGES_BATCH, on_change, h);
		model_read_unlock(m);
	}
	if (changes < 0)
		h->rescan = true;
	if (h->rescan)
		scan(h);
	settle(h);
}

void health_services_fini(struct proxy_health *h)
{
	struct omap_node *n;

	while ((n = omap_after(&h->services, NULL)) != NULL)
		forget(h, n->key);
	omap_fini(&h->services);
}
