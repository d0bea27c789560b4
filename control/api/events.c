/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Notices (control/notice.h) over REST, and those that the API thread makes: frontends that
 * several services claim are found by looking, once a second while there are any. API thread. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_internal.h"
#include "control/notice.h"
#include "control/reconcile.h"

#define CONFLICTS_MS 1000

static void write_notice(struct jw *w, const struct notice *n)
{
	jw_object(w, NULL);
	jw_string(w, "kind", "Event");
	jw_string(w, "type", n->warning ? "Warning" : "Normal");
	jw_string(w, "reason", n->reason);
	jw_object(w, "regarding");
	jw_string(w, "kind", n->kind);
	jw_string(w, "namespace", n->ns);
	jw_string(w, "name", n->name);
	jw_object_end(w);
	jw_string(w, "note", n->note);
	jw_int(w, "count", n->count);
	jw_time_ms(w, "firstAt", n->first_ms);
	jw_time_ms(w, "lastAt", n->last_ms);
	jw_object_end(w);
}

void api_get_events(struct http_request *req)
{
	static const char *const no_parameters[] = {NULL};
	struct notice *n;
	uint32_t found;
	struct doc d;

	if (!api_check_query(req, no_parameters))
		return;
	n = malloc(NOTICES_MAX * sizeof(*n));
	if (n == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	if (doc_list_begin(&d, req, "EventList")) {
		found = notices_after(api_of(req)->deps.notices, 0, NOTICES_MAX, n);
		for (uint32_t i = 0; i < found; i++)
			write_notice(&d.w, &n[i]);
		doc_list_send(&d);
	}
	free(n);
}

void api_notice(struct api *a, bool warning, const char *ns, const char *name, const char *reason,
	const char *fmt, ...)
{
	char note[NOTICE_NOTE_MAX], node[NOTICE_NAME_MAX] = "";
	va_list ap;

	pthread_mutex_lock(&a->config_lock);
	if (a->node_name != NULL)
		snprintf(node, sizeof(node), "%s", a->node_name);
	pthread_mutex_unlock(&a->config_lock);
	va_start(ap, fmt);
	vsnprintf(note, sizeof(note), fmt, ap);
	va_end(ap);
	/* A Service is the same on every node; the trouble is one node's. */
	if (ns != NULL)
		notice_post(a->deps.notices, warning, "Service", ns, name, reason, "node %s: %s",
			node, note);
	else
		notice_post(a->deps.notices, warning, "Node", "", node, reason, "%s", note);
}

/* --- conflicts ------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct reconcile_conflict *c)
{
	const struct {
		const void *at;
		size_t len;
	} parts[] = {{&c->addr, sizeof(c->addr)}, {&c->port, sizeof(c->port)}, {&c->proto, 1},
		{c->winner, strlen(c->winner) + 1}, {c->loser, strlen(c->loser)}};
	uint64_t h = 14695981039346656037u;

	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
		for (size_t i = 0; i < parts[p].len; i++)
			h = (h ^ ((const uint8_t *)parts[p].at)[i]) * 1099511628211u;
	return h;
}

static void tell_conflict(struct api *a, const struct reconcile_conflict *c)
{
	char ns[NOTICE_SHORT_MAX], addr[IP_TEXT_MAX], proto[12];
	const char *slash = strchr(c->loser, '/');

	if (slash == NULL)
		return;
	snprintf(ns, sizeof(ns), "%.*s", (int)(slash - c->loser), c->loser);
	api_notice(a, true, ns, slash + 1, "FrontendConflict",
		"%s port %u/%s is served by %s: ClusterIPs come first, then the oldest Service",
		ip_is_zero(&c->addr) ? "node" : ip_format(&c->addr, addr), c->port,
		ip_proto_name(c->proto, proto), c->winner);
}

static bool was_told(const struct api *a, uint64_t hash)
{
	for (uint32_t i = 0; i < a->n_conflicts_told; i++)
		if (a->conflicts_told[i] == hash)
			return true;
	return false;
}

void api_events_tick(struct api *a)
{
	uint64_t seen[API_CONFLICTS_TOLD];
	struct reconcile_conflict c[8];
	struct reconcile_stats rs;
	uint32_t n = 0, got;

	if (api_now_ms() - a->conflicts_ms < CONFLICTS_MS)
		return;
	a->conflicts_ms = api_now_ms();
	reconcile_stats(a->deps.reconciler, &rs);
	if (rs.conflicts == 0) {
		a->n_conflicts_told = 0;
		return;
	}
	do {
		got = reconcile_conflicts(a->deps.reconciler, n, sizeof(c) / sizeof(c[0]), c);
		for (uint32_t i = 0; i < got && n < API_CONFLICTS_TOLD; i++) {
			seen[n] = hash_of(&c[i]);
			if (!was_told(a, seen[n++]))
				tell_conflict(a, &c[i]);
		}
	} while (got > 0 && n < API_CONFLICTS_TOLD);
	memcpy(a->conflicts_told, seen, n * sizeof(*seen));
	a->n_conflicts_told = n;
}
