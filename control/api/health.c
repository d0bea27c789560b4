/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Is it alive, is it ready: checks that prove that the datapath moves, for /livez, /readyz, the
 * overview and the metrics. Worker heartbeats are sampled each API_TICK_MS; the control thread is
 * asked for a sign of life each second. API thread, but for the ping's run(). */

#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "control/api/api_internal.h"
#include "control/reconcile.h"
#include "io/rim.h"

#define WORKER_STALLED_MS  2000
#define CONTROL_STALLED_MS 5000
#define CONTROL_PING_MS    1000
/* Bookmarks come about once a minute from an API server that is well. */
#define SOURCE_SILENT_MS 300000

/* --- signs of life --------------------------------------------------------------------------- */

static void ping_run(struct job *j)
{
}

static void ping_done(struct job *j, bool cancelled)
{
	struct api *a = (struct api *)((char *)j - offsetof(struct api, ping));

	a->ping_under_way = false;
	a->control_seen_ms = api_now_ms();
}

void api_health_init(struct api *a)
{
	a->ping.run = ping_run;
	a->ping.done = ping_done;
	a->control_seen_ms = api_now_ms();
	for (uint32_t n = 0; n < WORKERS_MAX; n++)
		a->beat_ms[n] = api_now_ms();
	for (uint32_t id = 0; id < SOURCES; id++)
		a->watching_ms[id] = api_now_ms();
}

static void see_sources(struct api *a, int64_t now)
{
	model_read_lock(a->deps.model);
	for (uint32_t id = 0; id < SOURCES; id++) {
		struct model_source_state st;

		model_source_get(a->deps.model, (enum model_source_id)id, &st);
		if (st.status.phase == NULL || strcmp(st.status.phase, "Watching") == 0 ||
			strcmp(st.status.phase, "Disabled") == 0)
			a->watching_ms[id] = now;
	}
	model_read_unlock(a->deps.model);
}

void api_health_tick(struct api *a)
{
	int64_t now = api_now_ms();

	see_sources(a, now);

	for (uint32_t n = 0; n < a->deps.dp->n_workers; n++) {
		uint64_t beat = atomic_load_explicit(
			&a->deps.dp->workers[n]->heartbeat, memory_order_relaxed);

		if (beat == a->beat[n])
			continue;
		a->beat[n] = beat;
		a->beat_ms[n] = now;
	}
	if (!a->ping_under_way && now - a->control_seen_ms >= CONTROL_PING_MS) {
		a->ping_under_way = true;
		handoff_submit(a->handoff, &a->ping);
	}
}

int64_t api_worker_beat_age_ms(const struct api *a, uint32_t worker)
{
	return api_now_ms() - a->beat_ms[worker];
}

bool api_worker_alive(const struct api *a, uint32_t worker)
{
	return api_worker_beat_age_ms(a, worker) < WORKER_STALLED_MS;
}

/* --- checks ---------------------------------------------------------------------------------- */

static void set(struct health_check *c, const char *name, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void set(struct health_check *c, const char *name, bool ok, const char *fmt, ...)
{
	va_list ap;

	snprintf(c->name, sizeof(c->name), "%s", name);
	c->ok = ok;
	va_start(ap, fmt);
	vsnprintf(c->detail, sizeof(c->detail), fmt, ap);
	va_end(ap);
}

static void check_workers(struct api *a, struct health_check *c)
{
	uint32_t n = a->deps.dp->n_workers, alive = 0, stalled = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (api_worker_alive(a, i))
			alive++;
		else
			stalled = i;
	}
	if (alive == n && n > 0)
		set(c, "workers", true, "%u of %u turn", alive, n);
	else if (n == 0)
		set(c, "workers", false, "there is none");
	else
		set(c, "workers", false, "%u of %u turn; worker %u has not for %lld ms", alive, n,
			stalled, (long long)api_worker_beat_age_ms(a, stalled));
}

static void check_control(struct api *a, struct health_check *c)
{
	int64_t age = api_now_ms() - a->control_seen_ms;

	set(c, "control", age < CONTROL_STALLED_MS, "answered %lld ms ago", (long long)age);
}

static uint32_t check_sources(struct api *a, struct health_check *c)
{
	uint32_t n = 0;

	model_read_lock(a->deps.model);
	for (uint32_t id = 0; id < SOURCES; id++) {
		struct model_source_state st;
		char name[32];
		int64_t age, away;

		model_source_get(a->deps.model, (enum model_source_id)id, &st);
		if (!st.awaited)
			continue;
		snprintf(name, sizeof(name), "kubernetes-%s", model_source_names[id]);
		age = api_now_ms() - st.status.last_activity_ms;
		away = api_now_ms() - a->watching_ms[id];
		if (!st.complete)
			set(&c[n++], name, false, "not yet complete%s%s",
				st.status.last_error != NULL ? ": " : "",
				st.status.last_error != NULL ? st.status.last_error : "");
		else if (st.status.last_activity_ms != 0 && age > SOURCE_SILENT_MS)
			set(&c[n++], name, false, "silent for %lld s", (long long)age / 1000);
		else if (away > SOURCE_SILENT_MS)
			set(&c[n++], name, false, "not watching for %lld s%s%s",
				(long long)away / 1000, st.status.last_error != NULL ? ": " : "",
				st.status.last_error != NULL ? st.status.last_error : "");
		else
			set(&c[n++], name, true, "%u objects, %s", st.status.objects,
				st.status.phase != NULL ? st.status.phase : "no report");
	}
	model_read_unlock(a->deps.model);
	return n;
}

struct uplinks {
	struct api *api;
	struct rim_port_info ports[RIM_PORTS_MAX];
	uint32_t n_ports, wanted, up;
	char down[VPORT_NAME_MAX];
};

static bool check_uplink(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	const struct model_vport *v = object;
	struct uplinks *u = arg;
	const char *name = v->port != NULL ? v->port : v->own_port != NULL ? v->own_port->name : "";
	bool up = false;

	if (v->role != VPORT_UPLINK)
		return true;
	u->wanted++;
	for (uint32_t i = 0; i < u->n_ports; i++)
		up = up || (strcmp(u->ports[i].name, name) == 0 && u->ports[i].up);
	u->up += up;
	if (!up)
		snprintf(u->down, sizeof(u->down), "%s", key);
	return true;
}

static void check_uplinks(struct api *a, struct health_check *c)
{
	struct uplinks u = {.api = a};

	u.n_ports = api_ports(a, u.ports);
	model_read_lock(a->deps.model);
	model_each(a->deps.model, MODEL_VPORT, NULL, 0, check_uplink, &u);
	model_read_unlock(a->deps.model);
	if (u.up == u.wanted)
		set(c, "uplinks", true, "%u of %u up", u.up, u.wanted);
	else
		set(c, "uplinks", false, "%u of %u up; %s is down", u.up, u.wanted, u.down);
}

uint32_t api_checks(struct api *a, struct health_check out[HEALTH_CHECKS_MAX], bool live_only)
{
	char why[128] = "";
	uint32_t n = 0;

	check_workers(a, &out[n++]);
	check_control(a, &out[n++]);
	if (live_only)
		return n;
	n += check_sources(a, &out[n]);
	if (reconcile_ready(a->deps.reconciler))
		set(&out[n++], "services", true, "the first full state is programmed");
	else
		set(&out[n++], "services", false, "not yet programmed");
	check_uplinks(a, &out[n++]);
	if (a->deps.ready != NULL) {
		bool ok = a->deps.ready(a->deps.arg, why, sizeof(why));

		set(&out[n++], "daemon", ok, "%s",
			why[0] != '\0' ? why
				: ok   ? "running"
				       : "not ready");
	}
	return n;
}

/* --- endpoints ------------------------------------------------------------------------------- */

static bool excluded(const struct query *q, const char *name)
{
	for (uint32_t i = 0; i < q->n; i++)
		if (strcmp(q->at[i].name, "exclude") == 0 && strcmp(q->at[i].value, name) == 0)
			return true;
	return false;
}

static void answer(struct http_request *req, const char *what, bool live_only)
{
	static const char *const names[] = {"verbose", "exclude", NULL};
	struct health_check checks[HEALTH_CHECKS_MAX];
	struct query_error err;
	struct evbuffer *out;
	bool verbose, ok = true;
	uint32_t n;

	if (!api_check_query(req, names))
		return;
	if (query_bool(&req->query, "verbose", false, &verbose, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	n = api_checks(api_of(req), checks, live_only);
	for (uint32_t i = 0; i < n; i++)
		ok = ok && (checks[i].ok || excluded(&req->query, checks[i].name));
	out = evbuffer_new();
	if (out != NULL && ok && !verbose)
		evbuffer_add_printf(out, "ok");
	for (uint32_t i = 0; out != NULL && (verbose || !ok) && i < n; i++) {
		if (excluded(&req->query, checks[i].name))
			evbuffer_add_printf(out, "[+]%s excluded: ok\n", checks[i].name);
		else
			evbuffer_add_printf(out, "[%c]%s %s: %s\n", checks[i].ok ? '+' : '-',
				checks[i].name, checks[i].ok ? "ok" : "failed", checks[i].detail);
	}
	if (out != NULL && (verbose || !ok))
		evbuffer_add_printf(out, "%s check %s\n", what, ok ? "passed" : "failed");
	http_reply(req, ok ? 200 : 503, "text/plain; charset=utf-8", out);
	if (out != NULL)
		evbuffer_free(out);
}

/* What tools ask a kube-proxy before they look for its rules. */
void api_get_proxy_mode(struct http_request *req)
{
	struct evbuffer *out;

	if (!api_check_query(req, (const char *const[]){NULL}))
		return;
	out = evbuffer_new();
	if (out != NULL)
		evbuffer_add_printf(out, "sluice");
	http_reply(req, out != NULL ? 200 : 503, "text/plain; charset=utf-8", out);
	if (out != NULL)
		evbuffer_free(out);
}

void api_get_livez(struct http_request *req)
{
	answer(req, "livez", true);
}

void api_get_readyz(struct http_request *req)
{
	answer(req, "readyz", false);
}
