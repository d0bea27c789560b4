/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The node as a whole: version, configuration in force, the overview behind "sluicectl status", and
 * the API's own description. API thread; api_set_config() is the control thread's. */

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_internal.h"
#include "control/config.h"
#include "control/health/kube_proxy.h"
#include "control/reconcile.h"
#include "io/rim.h"

static const char *const no_parameters[] = {NULL};

void api_get_openapi(struct http_request *req)
{
	struct evbuffer *out = evbuffer_new();

	if (out != NULL)
		evbuffer_add_reference(out, openapi_json, openapi_json_len, NULL, NULL);
	http_reply(req, out != NULL ? 200 : 503, "application/json", out);
	if (out != NULL)
		evbuffer_free(out);
}

void api_get_version(struct http_request *req)
{
	struct doc d;

	if (!api_check_query(req, no_parameters) || !doc_begin(&d, req))
		return;
	jw_string(&d.w, "kind", "Version");
	jw_string(&d.w, "version", SLUICE_VERSION);
	jw_string(&d.w, "apiVersion", API_VERSION);
	jw_string(&d.w, "dpdk", rim_dpdk_version());
	jw_string(&d.w, "compiler", __VERSION__);
	doc_send(&d, 200);
}

/* --- configuration --------------------------------------------------------------------------- */

/* {"effective": {…}, "changed": [{"key", "default", "value", "reloadable"}]}: what differs from the
 * defaults came from the file. */
static char *config_text(const struct config *cfg)
{
	struct config *defaults = config_default();
	struct config_diff diff = {0};
	json_t *root = json_object(), *changed = json_array();
	char *text = NULL;

	if (defaults != NULL && config_diff(defaults, cfg, &diff) == 0 && root != NULL) {
		for (uint32_t i = 0; i < diff.n; i++)
			json_array_append_new(changed,
				json_pack("{s:s, s:s?, s:s?, s:b}", "key", diff.changes[i].key,
					"default", diff.changes[i].before, "value",
					diff.changes[i].after, "reloadable",
					(int)diff.changes[i].applied));
		config_diff_fini(&diff);
		json_object_set_new(root, "kind", json_string("Config"));
		json_object_set_new(root, "apiVersion", json_string(API_VERSION));
		json_object_set_new(
			root, "file", cfg->path != NULL ? json_string(cfg->path) : json_null());
		json_object_set_new(root, "effective", config_to_json(cfg));
		json_object_set(root, "changed", changed);
		text = json_dumps(root, JSON_COMPACT);
	}
	json_decref(root);
	json_decref(changed);
	config_free(defaults);
	return text;
}

void api_set_config(struct api *a, const struct config *cfg)
{
	char *text = config_text(cfg), *old;
	char *name = cfg->node.name != NULL ? strdup(cfg->node.name) : NULL, *old_name;

	pthread_mutex_lock(&a->config_lock);
	old = a->config_json;
	old_name = a->node_name;
	a->config_json = text;
	a->node_name = name;
	pthread_mutex_unlock(&a->config_lock);
	free(old);
	free(old_name);
}

void api_get_config(struct http_request *req)
{
	struct api *a = api_of(req);
	struct evbuffer *out;
	bool known;

	if (!api_check_query(req, no_parameters))
		return;
	out = evbuffer_new();
	if (out == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	pthread_mutex_lock(&a->config_lock);
	known = a->config_json != NULL;
	if (known)
		evbuffer_add_printf(out, "%s\n", a->config_json);
	pthread_mutex_unlock(&a->config_lock);
	if (known)
		http_reply(req, 200, "application/json", out);
	else
		http_problem(req, 503, "NotReady", "no configuration was set yet");
	evbuffer_free(out);
}

/* --- overview -------------------------------------------------------------------------------- */

static bool write_checks(struct api *a, struct jw *w)
{
	struct health_check checks[HEALTH_CHECKS_MAX];
	uint32_t n = api_checks(a, checks, false);
	bool ok = true;

	jw_array(w, "checks");
	for (uint32_t i = 0; i < n; i++) {
		jw_object(w, NULL);
		jw_string(w, "name", checks[i].name);
		jw_string(w, "status", checks[i].ok ? "Ok" : "Failed");
		jw_string(w, "detail", checks[i].detail);
		jw_object_end(w);
		ok = ok && checks[i].ok;
	}
	jw_array_end(w);
	return ok;
}

/* What is not as it should be, though everything here works. */
static void write_conditions(struct api *a, struct jw *w)
{
	unsigned signs = kube_proxy_signs(a->deps.kube_proxy);
	char text[120];

	kube_proxy_text(signs, text, sizeof(text));
	jw_array(w, "conditions");
	jw_object(w, NULL);
	jw_string(w, "type", "KubeProxyPresent");
	jw_string(w, "status", signs != 0 ? "True" : "False");
	jw_string(w, "message", text);
	jw_object_end(w);
	jw_array_end(w);
}

static void write_flow_use(struct api *a, struct jw *w)
{
	static const char *const names[IP_FAMILIES] = {"IPv4", "IPv6"};

	jw_object(w, "flows");
	for (int f = 0; f < IP_FAMILIES; f++) {
		struct flow_use u;

		api_flow_use(a, (enum ip_family)f, &u);
		jw_object(w, names[f]);
		jw_counter(w, "used", u.used);
		jw_counter(w, "capacity", u.capacity);
		jw_counter(w, "highWater", u.high_water);
		jw_counter(w, "created", u.created);
		jw_counter(w, "full", u.full + u.index_full);
		jw_object_end(w);
	}
	jw_object_end(w);
}

static void write_sources(struct api *a, struct jw *w)
{
	jw_array(w, "kubernetes");
	model_read_lock(a->deps.model);
	for (uint32_t id = 0; id < SOURCES; id++) {
		struct model_source_state st;

		model_source_get(a->deps.model, (enum model_source_id)id, &st);
		if (!st.awaited)
			continue;
		jw_object(w, NULL);
		jw_string(w, "source", model_source_names[id]);
		jw_string(w, "path", st.status.path);
		jw_string(w, "phase", st.status.phase);
		jw_bool(w, "complete", st.complete);
		jw_string(w, "resourceVersion", st.status.rv);
		jw_int(w, "objects", st.status.objects);
		if (st.status.last_activity_ms != 0)
			jw_int(w, "lastActivitySeconds",
				(api_now_ms() - st.status.last_activity_ms) / 1000);
		else
			jw_null(w, "lastActivitySeconds");
		jw_string(w, "lastError", st.status.last_error);
		jw_object_end(w);
	}
	model_read_unlock(a->deps.model);
	jw_array_end(w);
}

static void write_services(struct api *a, struct jw *w)
{
	struct reconcile_stats rs;

	reconcile_stats(a->deps.reconciler, &rs);
	jw_object(w, "services");
	jw_int(w, "programmed", rs.services);
	jw_int(w, "ports", rs.svc_ports);
	jw_int(w, "frontends", rs.frontends);
	jw_int(w, "backends", rs.backends);
	jw_int(w, "conflicts", rs.conflicts);
	jw_int(w, "pending", rs.pending);
	model_read_lock(a->deps.model);
	jw_int(w, "known", model_count(a->deps.model, MODEL_SERVICE));
	jw_int(w, "refusedObjects", model_refusals_count(a->deps.model));
	model_read_unlock(a->deps.model);
	jw_object_end(w);
}

/* The largest first, at most that many. */
#define OVERVIEW_DROPS 8

static void write_drops(struct api *a, struct jw *w)
{
	uint64_t count[DROP_REASONS], total = 0;

	for (uint32_t r = 0; r < DROP_REASONS; r++) {
		count[r] = api_worker_sum(
			a, offsetof(struct worker_counters, drops) + r * sizeof(uint64_t));
		total += count[r];
	}
	jw_object(w, "drops");
	jw_counter(w, "packets", total);
	jw_array(w, "top");
	for (int i = 0; i < OVERVIEW_DROPS; i++) {
		uint32_t top = 0;

		for (uint32_t r = 1; r < DROP_REASONS; r++)
			if (count[r] > count[top])
				top = r;
		if (count[top] == 0)
			break;
		jw_object(w, NULL);
		jw_string(w, "reason", drop_reasons[top].name);
		jw_string(w, "class", drop_class_name(drop_reasons[top].class));
		jw_counter(w, "packets", count[top]);
		jw_object_end(w);
		count[top] = 0;
	}
	jw_array_end(w);
	jw_object_end(w);
}

static void write_parts(struct api *a, struct jw *w)
{
	struct rim_port_info ports[RIM_PORTS_MAX];
	uint32_t n = api_ports(a, ports), up = 0, alive = 0, in_use, total;

	for (uint32_t i = 0; i < n; i++)
		up += ports[i].up;
	for (uint32_t i = 0; i < a->deps.dp->n_workers; i++)
		alive += api_worker_alive(a, i);
	jw_object(w, "workers");
	jw_int(w, "total", a->deps.dp->n_workers);
	jw_int(w, "running", alive);
	jw_object_end(w);
	jw_object(w, "ports");
	jw_int(w, "total", n);
	jw_int(w, "up", up);
	jw_object_end(w);
	model_read_lock(a->deps.model);
	jw_int(w, "vports", model_count(a->deps.model, MODEL_VPORT));
	model_read_unlock(a->deps.model);
	rim_buffers(a->deps.rim, &in_use, &total);
	jw_object(w, "buffers");
	jw_int(w, "used", in_use);
	jw_int(w, "total", total);
	jw_bool(w, "hugepages", rim_hugepages_used(a->deps.rim));
	jw_object_end(w);
	jw_object(w, "packets");
	jw_counter(w, "received", API_WORKER_SUM(a, received));
	jw_counter(w, "sent", API_WORKER_SUM(a, sent));
	jw_counter(w, "originated", API_WORKER_SUM(a, originated));
	jw_object_end(w);
}

static void write_node(struct api *a, struct jw *w)
{
	pthread_mutex_lock(&a->config_lock);
	jw_string(w, "node", a->node_name);
	pthread_mutex_unlock(&a->config_lock);
	jw_string(w, "version", SLUICE_VERSION);
	jw_string(w, "dpdk", rim_dpdk_version());
	jw_time_ms(w, "startedAt", a->started_ms);
	jw_int(w, "uptimeSeconds", (api_wall_ms() - a->started_ms) / 1000);
	jw_time_ms(w, "asOf", api_wall_ms());
}

void api_get_overview(struct http_request *req)
{
	struct api *a = api_of(req);
	struct doc d;
	bool ok;

	if (!api_check_query(req, no_parameters) || !doc_begin(&d, req))
		return;
	jw_string(&d.w, "kind", "Overview");
	jw_string(&d.w, "apiVersion", API_VERSION);
	write_node(a, &d.w);
	ok = write_checks(a, &d.w);
	write_conditions(a, &d.w);
	jw_string(&d.w, "status", ok ? "Ready" : "NotReady");
	write_parts(a, &d.w);
	write_flow_use(a, &d.w);
	write_services(a, &d.w);
	write_sources(a, &d.w);
	write_drops(a, &d.w);
	doc_send(&d, 200);
}
