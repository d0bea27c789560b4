/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the node is made of: ports, workers, routes, neighbours, drops, pipelines, refused objects.
 * Counters are read by relaxed loads, everything else through readers that any thread may call.
 * API thread, but for the job of a route lookup. */

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_internal.h"
#include "control/neighbours.h"
#include "control/reconcile.h"
#include "io/rim.h"
#include "pipelines/pipeline.h"

static const char *const no_parameters[] = {NULL};

uint64_t api_worker_sum(const struct api *a, size_t offset)
{
	uint64_t sum = 0;

	for (uint32_t n = 0; n < a->deps.dp->n_workers; n++) {
		const char *counters = (const char *)&a->deps.dp->workers[n]->counters;

		sum += counter_load((const uint64_t *)(counters + offset));
	}
	return sum;
}

/* --- ports ----------------------------------------------------------------------------------- */

static void write_port(struct api *a, struct jw *w, const struct rim_port_info *p)
{
	struct rim_port_stats st;

	memset(&st, 0, sizeof(st));
	rim_port_stats(a->deps.rim, p->index, &st);
	jw_object(w, NULL);
	jw_string(w, "kind", "Port");
	jw_string(w, "apiVersion", API_VERSION);
	jw_object(w, "metadata");
	jw_string(w, "name", p->name);
	jw_object_end(w);
	jw_object(w, "spec");
	jw_string(w, "type", rim_port_kind_name(p->kind));
	jw_string(w, "where", p->where);
	jw_int(w, "mtu", p->mtu);
	jw_object_end(w);
	jw_object(w, "status");
	jw_string(w, "driver", p->driver);
	jw_mac(w, "mac", p->mac);
	jw_object(w, "link");
	jw_string(w, "state", p->up ? "Up" : "Down");
	jw_int(w, "speedMbps", p->speed_mbps);
	jw_object_end(w);
	jw_object(w, "queues");
	jw_int(w, "rx", p->rx_queues);
	jw_int(w, "tx", p->tx_queues);
	jw_bool(w, "txShared", p->tx_shared);
	jw_array(w, "rxWorkers");
	for (uint32_t q = 0; q < p->rx_queues && q < RIM_QUEUES_MAX; q++)
		jw_int(w, NULL, p->rx_worker[q]);
	jw_array_end(w);
	jw_object_end(w);
	jw_bool(w, "rxChecksum", p->rx_checksum);
	jw_int(w, "vports", p->vports);
	jw_object(w, "counters");
	jw_counter(w, "rxPackets", st.rx_packets);
	jw_counter(w, "rxBytes", st.rx_bytes);
	jw_counter(w, "rxMissed", st.rx_missed);
	jw_counter(w, "rxErrors", st.rx_errors);
	jw_counter(w, "rxNoBuffer", st.rx_no_buffer);
	jw_counter(w, "txPackets", st.tx_packets);
	jw_counter(w, "txBytes", st.tx_bytes);
	jw_counter(w, "txErrors", st.tx_errors);
	jw_object_end(w);
	jw_object_end(w);
	jw_object_end(w);
}

uint32_t api_ports(struct api *a, struct rim_port_info *ports)
{
	uint32_t n = rim_port_list(a->deps.rim, ports, RIM_PORTS_MAX);

	return n < RIM_PORTS_MAX ? n : RIM_PORTS_MAX;
}

void api_get_ports(struct http_request *req)
{
	struct rim_port_info ports[RIM_PORTS_MAX];
	struct doc d;
	uint32_t n;

	if (!api_check_query(req, no_parameters) || !doc_list_begin(&d, req, "PortList"))
		return;
	n = api_ports(api_of(req), ports);
	for (uint32_t i = 0; i < n; i++)
		write_port(api_of(req), &d.w, &ports[i]);
	doc_list_send(&d);
}

/* A document that is one value of a writer. */
static void send_value(struct http_request *req, struct evbuffer *out, struct jw *w)
{
	if (jw_finish(w) < 0) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
	} else {
		evbuffer_add(out, "\n", 1);
		http_reply(req, 200, "application/json", out);
	}
	evbuffer_free(out);
}

static struct evbuffer *begin_value(struct http_request *req, struct jw *w)
{
	struct evbuffer *out = evbuffer_new();

	if (out == NULL)
		http_problem(req, 503, "ResourceExhausted", "out of memory");
	else
		jw_init(w, out);
	return out;
}

void api_get_port(struct http_request *req)
{
	struct rim_port_info ports[RIM_PORTS_MAX];
	struct evbuffer *out;
	struct jw w;
	uint32_t n;

	if (!api_check_query(req, no_parameters))
		return;
	n = api_ports(api_of(req), ports);
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(ports[i].name, req->param[0]) != 0)
			continue;
		out = begin_value(req, &w);
		if (out == NULL)
			return;
		write_port(api_of(req), &w, &ports[i]);
		send_value(req, out, &w);
		return;
	}
	http_problem(req, 404, "NotFound", "no Port of that name");
}

/* --- workers --------------------------------------------------------------------------------- */

static double ratio(uint64_t part, uint64_t whole)
{
	return whole == 0 ? 0.0 : (double)part / (double)whole;
}

static void write_worker(struct api *a, struct jw *w, uint32_t n)
{
	const struct worker *worker = a->deps.dp->workers[n];
	const struct worker_counters *c = &worker->counters;
	uint64_t busy = counter_load(&c->busy_ticks), idle = counter_load(&c->idle_ticks);
	uint64_t per_second = rim_ticks_per_second(a->deps.rim);
	struct rim_worker_info info = {.cpu = RIM_CPU_ANY};

	rim_worker_info(a->deps.rim, n, &info);
	jw_object(w, NULL);
	jw_string(w, "kind", "Worker");
	jw_string(w, "apiVersion", API_VERSION);
	jw_object(w, "metadata");
	jw_stringf(w, "name", "%u", n);
	jw_object_end(w);
	jw_object(w, "status");
	jw_string(w, "state", api_worker_alive(a, n) ? "Running" : "Stalled");
	if (info.cpu == RIM_CPU_ANY)
		jw_null(w, "cpu");
	else
		jw_int(w, "cpu", info.cpu);
	jw_int(w, "rxQueues", info.rx_queues);
	jw_bool(w, "asleep", info.asleep);
	jw_int(w, "heartbeatAgeMilliseconds", api_worker_beat_age_ms(a, n));
	jw_number(w, "busyPercent", 100 * ratio(busy, busy + idle), 1);
	jw_number(w, "sleepPercent", 100 * ratio(info.slept_ticks, busy + idle), 1);
	jw_number(w, "cyclesPerPacket", ratio(busy, counter_load(&c->received)), 1);
	jw_number(w, "packetsPerBatch", ratio(counter_load(&c->received), counter_load(&c->bursts)),
		1);
	jw_number(w, "longestLoopMicroseconds",
		1e6 * ratio(counter_load(&c->longest_loop_ticks), per_second), 1);
	jw_int(w, "mailboxWaiting", info.mailbox_waiting);
	jw_object(w, "counters");
	jw_counter(w, "received", counter_load(&c->received));
	jw_counter(w, "sent", counter_load(&c->sent));
	jw_counter(w, "originated", counter_load(&c->originated));
	jw_counter(w, "loops", counter_load(&c->loops));
	jw_counter(w, "busyLoops", counter_load(&c->busy_loops));
	jw_counter(w, "bursts", counter_load(&c->bursts));
	jw_counter(w, "sleeps", info.sleeps);
	jw_object_end(w);
	jw_object_end(w);
	jw_object_end(w);
}

void api_get_workers(struct http_request *req)
{
	struct api *a = api_of(req);
	struct doc d;

	if (!api_check_query(req, no_parameters) || !doc_list_begin(&d, req, "WorkerList"))
		return;
	for (uint32_t n = 0; n < a->deps.dp->n_workers; n++)
		write_worker(a, &d.w, n);
	doc_list_send(&d);
}

void api_get_worker(struct http_request *req)
{
	struct api *a = api_of(req);
	struct evbuffer *out;
	struct jw w;
	uint64_t n;

	if (!api_check_query(req, no_parameters))
		return;
	if (parse_uint(req->param[0], WORKERS_MAX, &n) < 0 || n >= a->deps.dp->n_workers) {
		http_problem(req, 404, "NotFound", "no Worker of that number");
		return;
	}
	out = begin_value(req, &w);
	if (out == NULL)
		return;
	write_worker(a, &w, (uint32_t)n);
	send_value(req, out, &w);
}

/* --- drops ----------------------------------------------------------------------------------- */

void api_get_drops(struct http_request *req)
{
	static const char *const names[] = {"all", NULL};
	struct api *a = api_of(req);
	struct query_error err;
	struct doc d;
	bool all;

	if (!api_check_query(req, names))
		return;
	if (query_bool(&req->query, "all", false, &all, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	if (!doc_list_begin(&d, req, "DropList"))
		return;
	for (uint32_t r = 0; r < DROP_REASONS; r++) {
		size_t offset = offsetof(struct worker_counters, drops) + r * sizeof(uint64_t);
		uint64_t total = api_worker_sum(a, offset);

		if (total == 0 && !all)
			continue;
		jw_object(&d.w, NULL);
		jw_string(&d.w, "kind", "Drop");
		jw_string(&d.w, "reason", drop_reasons[r].name);
		jw_string(&d.w, "class", drop_class_name(drop_reasons[r].class));
		jw_string(&d.w, "text", drop_reasons[r].text);
		jw_string(&d.w, "remedy", drop_reasons[r].remedy);
		jw_counter(&d.w, "packets", total);
		jw_object(&d.w, "byWorker");
		for (uint32_t n = 0; n < a->deps.dp->n_workers; n++) {
			uint64_t one = counter_load(&a->deps.dp->workers[n]->counters.drops[r]);
			char name[12];

			snprintf(name, sizeof(name), "%u", n);
			if (one != 0)
				jw_counter(&d.w, name, one);
		}
		jw_object_end(&d.w);
		jw_object_end(&d.w);
	}
	doc_list_send(&d);
}

void api_get_drop_reasons(struct http_request *req)
{
	struct doc d;

	if (!api_check_query(req, no_parameters) || !doc_list_begin(&d, req, "DropReasonList"))
		return;
	for (uint32_t r = 0; r < DROP_REASONS; r++) {
		jw_object(&d.w, NULL);
		jw_string(&d.w, "kind", "DropReason");
		jw_string(&d.w, "name", drop_reasons[r].name);
		jw_int(&d.w, "code", r);
		jw_string(&d.w, "class", drop_class_name(drop_reasons[r].class));
		jw_string(&d.w, "text", drop_reasons[r].text);
		jw_string(&d.w, "remedy", drop_reasons[r].remedy);
		jw_object_end(&d.w);
	}
	doc_list_send(&d);
}

/* --- pipelines ------------------------------------------------------------------------------- */

uint32_t api_tables(struct api *a, struct table_usage *out)
{
	uint32_t n = pipeline_table_usage(a->deps.dp, out);
	struct neighbours_stats nb;
	struct reconcile_stats rs;

	reconcile_stats(a->deps.reconciler, &rs);
	neighbours_stats(a->deps.neighbours, &nb);
	const struct table_usage more[] = {
		{.name = "frontends", .used = rs.frontends},
		{.name = "backends", .used = rs.backends, .capacity = BACKEND_SLOTS_MAX},
		{.name = "routes_v4", .used = rs.routes[IP_V4]},
		{.name = "routes_v6", .used = rs.routes[IP_V6]},
		{.name = "next_hops",
			.used = nb.next_hops,
			.high_water = nb.next_hops_high,
			.capacity = NEXT_HOPS_MAX},
		{.name = "neighbours", .used = nb.neighbours},
		{.name = "vports", .used = rs.vports, .capacity = VPORTS_MAX - 1},
	};

	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		out[n++] = more[i];
	return n;
}

/* "flows" of a stage is "flows_v4" and "flows_v6" of the tables. */
static bool table_belongs(const char *table, const char *wanted)
{
	size_t n = strlen(wanted);

	return strncmp(table, wanted, n) == 0 &&
		(table[n] == '\0' || strcmp(table + n, "_v4") == 0 ||
			strcmp(table + n, "_v6") == 0);
}

static void write_table(struct jw *w, const struct table_usage *t)
{
	jw_object(w, NULL);
	jw_string(w, "name", t->name);
	if (t->capacity != 0)
		jw_counter(w, "capacity", t->capacity);
	jw_counter(w, "used", t->used);
	if (t->high_water != 0 || t->capacity != 0)
		jw_counter(w, "highWater", t->high_water);
	jw_counter(w, "full", t->full);
	jw_object_end(w);
}

static void write_pipeline(struct api *a, struct jw *w, const struct pipeline *p)
{
	struct table_usage tables[API_TABLES_MAX];
	uint32_t n = api_tables(a, tables);

	jw_object(w, NULL);
	jw_string(w, "kind", "Pipeline");
	jw_string(w, "apiVersion", API_VERSION);
	jw_object(w, "metadata");
	jw_string(w, "name", p->name);
	jw_object_end(w);
	jw_string(w, "text", p->text);
	jw_array(w, "stages");
	for (uint32_t i = 0; i < p->n_stages; i++) {
		const struct pipeline_stage *s = &p->stages[i];
		size_t offset = offsetof(struct worker_counters, stage_packets) +
			(size_t)s->id * sizeof(uint64_t);

		jw_object(w, NULL);
		jw_string(w, "name", stage_names[s->id]);
		jw_string(w, "text", stage_texts[s->id]);
		jw_string(w, "match", s->match);
		jw_string(w, "actions", s->actions);
		jw_counter(w, "packets", api_worker_sum(a, offset));
		jw_array(w, "tables");
		for (uint32_t t = 0; s->table != NULL && t < n; t++)
			if (table_belongs(tables[t].name, s->table))
				write_table(w, &tables[t]);
		jw_array_end(w);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
}

void api_get_pipelines(struct http_request *req)
{
	struct doc d;

	if (!api_check_query(req, no_parameters) || !doc_list_begin(&d, req, "PipelineList"))
		return;
	for (uint32_t i = 0; i < n_pipelines; i++)
		write_pipeline(api_of(req), &d.w, pipelines[i]);
	doc_list_send(&d);
}

void api_get_pipeline(struct http_request *req)
{
	struct evbuffer *out;
	struct jw w;

	if (!api_check_query(req, no_parameters))
		return;
	for (uint32_t i = 0; i < n_pipelines; i++) {
		if (strcmp(pipelines[i]->name, req->param[0]) != 0)
			continue;
		out = begin_value(req, &w);
		if (out == NULL)
			return;
		write_pipeline(api_of(req), &w, pipelines[i]);
		send_value(req, out, &w);
		return;
	}
	http_problem(req, 404, "NotFound", "no Pipeline of that name");
}

void api_get_tables(struct http_request *req)
{
	struct table_usage tables[API_TABLES_MAX];
	struct doc d;
	uint32_t n;

	if (!api_check_query(req, no_parameters) || !doc_list_begin(&d, req, "TableList"))
		return;
	n = api_tables(api_of(req), tables);
	for (uint32_t t = 0; t < n; t++)
		write_table(&d.w, &tables[t]);
	doc_list_send(&d);
}
