/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The metrics of kube-proxy that exist here, under its names and labels, for dashboards and
 * alerts that know them. Sluice's own have their table in control/api/README.md. API thread. */

#include <event2/buffer.h>
#include <stdio.h>

#include "control/health/health_private.h"
#include "control/reconcile.h"

/* Quarters of a second, then seconds, tens of seconds and minutes, as kube-proxy has them. */
const double health_bucket_seconds[HEALTH_BUCKETS] = {0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15,
	20, 25, 30, 35, 40, 45, 50, 60, 120, 180, 300};

static void family(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(
		out, "# HELP kubeproxy_%s %s\n# TYPE kubeproxy_%s %s\n", name, help, name, type);
}

static void single(
	struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
	family(out, name, type, help);
	evbuffer_add_printf(out, "kubeproxy_%s %llu\n", name, (unsigned long long)value);
}

static void codes(
	struct evbuffer *out, const char *name, const char *help, const uint64_t answers[2])
{
	static const char *const code[2] = {"200", "503"};

	family(out, name, "counter", help);
	for (int i = 0; i < 2; i++)
		if (answers[i] != 0)
			evbuffer_add_printf(out, "kubeproxy_%s{code=\"%s\"} %llu\n", name, code[i],
				(unsigned long long)answers[i]);
}

static void times(struct evbuffer *out, const char *name, const char *help,
	const int64_t wall_ms[IP_FAMILIES])
{
	family(out, name, "gauge", help);
	for (int f = 0; f < IP_FAMILIES; f++)
		evbuffer_add_printf(out, "kubeproxy_%s{ip_family=\"%s\"} %.3f\n", name,
			health_family_names[f], (double)wall_ms[f] / 1e3);
}

static void put_changes(const struct proxy_health *h, struct evbuffer *out)
{
	struct model_source_state services, endpoints;
	struct model *m = h->api->deps.model;
	struct reconcile_stats rs;

	model_read_lock(m);
	model_source_get(m, SOURCE_SERVICES, &services);
	model_source_get(m, SOURCE_ENDPOINTS, &endpoints);
	model_read_unlock(m);
	reconcile_stats(h->api->deps.reconciler, &rs);
	single(out, "sync_proxy_rules_service_changes_total", "counter",
		"Events of Services received.", services.status.events);
	single(out, "sync_proxy_rules_endpoint_changes_total", "counter",
		"Events of endpoints received.", endpoints.status.events);
	single(out, "sync_proxy_rules_service_changes_pending", "gauge",
		"Objects changed by themselves or by their endpoints, not yet programmed.",
		rs.pending);
	single(out, "sync_proxy_rules_endpoint_changes_pending", "gauge",
		"The same: a change of endpoints is one of its Service.", rs.pending);
}

static void put_no_local(const struct proxy_health *h, struct evbuffer *out)
{
	static const char name[] = "sync_proxy_rules_no_local_endpoints_total";

	family(out, name, "gauge", "Service ports of a Local policy without a local endpoint.");
	for (int f = 0; f < IP_FAMILIES; f++) {
		evbuffer_add_printf(out,
			"kubeproxy_%s{traffic_policy=\"internal\",ip_family=\"%s\"} %u\n", name,
			health_family_names[f], h->no_local_internal[f]);
		evbuffer_add_printf(out,
			"kubeproxy_%s{traffic_policy=\"external\",ip_family=\"%s\"} %u\n", name,
			health_family_names[f], h->no_local_external[f]);
	}
}

/* n buckets that are not cumulative; le gives their bounds in seconds. */
static void histogram(struct evbuffer *out, const char *name, int f, const double *le,
	const uint64_t *bucket, uint32_t n, uint64_t count, double sum)
{
	const char *which = health_family_names[f];
	uint64_t below = 0;

	for (uint32_t b = 0; b < n; b++) {
		below += bucket[b];
		evbuffer_add_printf(out, "kubeproxy_%s_bucket{ip_family=\"%s\",le=\"%g\"} %llu\n",
			name, which, le[b], (unsigned long long)below);
	}
	evbuffer_add_printf(out,
		"kubeproxy_%s_bucket{ip_family=\"%s\",le=\"+Inf\"} %llu\n"
		"kubeproxy_%s_sum{ip_family=\"%s\"} %.9g\n"
		"kubeproxy_%s_count{ip_family=\"%s\"} %llu\n",
		name, which, (unsigned long long)count, name, which, sum, name, which,
		(unsigned long long)count);
}

static void put_programming(const struct proxy_health *h, struct evbuffer *out)
{
	static const char name[] = "network_programming_duration_seconds";

	family(out, name, "histogram", "From the change of an endpoint until it is programmed.");
	for (int f = 0; f < IP_FAMILIES; f++) {
		const struct health_histogram *g = &h->programming[f];

		histogram(out, name, f, health_bucket_seconds, g->bucket, HEALTH_BUCKETS, g->count,
			g->sum);
	}
}

/* A step of the reconciler programs both families: its time is that of either's sync. */
static void put_syncs(const struct proxy_health *h, struct evbuffer *out)
{
	static const char name[] = "sync_proxy_rules_duration_seconds";
	double le[RECONCILE_STEP_BUCKETS];
	struct reconcile_stats rs;

	for (uint32_t b = 0; b < RECONCILE_STEP_BUCKETS; b++)
		le[b] = (double)(1u << b) / 1e3;
	reconcile_stats(h->api->deps.reconciler, &rs);
	family(out, name, "histogram", "Steps of the reconciler that took in changes.");
	for (int f = 0; f < IP_FAMILIES; f++)
		histogram(out, name, f, le, rs.sync_bucket, RECONCILE_STEP_BUCKETS, rs.syncs,
			(double)rs.sync_ns / 1e9);
}

/* As client-go counts them, for the dashboards that look at them. */
static void put_requests(const struct proxy_health *h, struct evbuffer *out)
{
	static const char *const methods[] = {"GET", "POST", "PATCH"};
	const struct api_deps *d = &h->api->deps;
	char code[8];

	if (d->api_answers == NULL)
		return;
	evbuffer_add_printf(out,
		"# HELP rest_client_requests_total Requests to the API server by what came back.\n"
		"# TYPE rest_client_requests_total counter\n");
	for (uint32_t m = 0; m < 3; m++)
		for (uint32_t status = 0; status < 600; status++) {
			uint64_t n = d->api_answers(d->arg, m, status);

			if (n == 0)
				continue;
			snprintf(code, sizeof(code), "%u", status);
			evbuffer_add_printf(out,
				"rest_client_requests_total{code=\"%s\",method=\"%s\"} %llu\n",
				status == 0 ? "<error>" : code, methods[m], (unsigned long long)n);
		}
}

void proxy_health_metrics(const struct proxy_health *h, struct evbuffer *out)
{
	if (!h->metrics)
		return;
	put_changes(h, out);
	times(out, "sync_proxy_rules_last_timestamp_seconds",
		"When nothing was left to program, since the epoch.", h->updated_wall_ms);
	times(out, "sync_proxy_rules_last_queued_timestamp_seconds",
		"When a change last came, since the epoch.", h->queued_wall_ms);
	put_syncs(h, out);
	put_no_local(h, out);
	put_programming(h, out);
	codes(out, "proxy_healthz_total", "Answers of /healthz.", h->healthz);
	codes(out, "proxy_livez_total", "Answers of /livez.", h->livez);
	put_requests(h, out);
}
