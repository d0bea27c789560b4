/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* /metrics in the text format of Prometheus 0.0.4: one contiguous group a family, base units,
 * escaped labels. Every value is a counter or a gauge that somebody keeps anyway; a scrape causes
 * no scan and asks no worker. README.md has the table of names. API thread. */

#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/api/api_internal.h"
#include "control/api/offload.h"
#include "control/health/health.h"
#include "control/health/kube_proxy.h"
#include "control/neighbours.h"
#include "control/reconcile.h"
#include "io/rim.h"
#include "pipelines/pipeline.h"

struct metrics {
	struct api *api;
	struct evbuffer *out;
	struct rim_port_info ports[RIM_PORTS_MAX];
	struct rim_port_stats stats[RIM_PORTS_MAX];
	uint32_t n_ports;
};

static void family(struct metrics *m, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(
		m->out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\n", name, help, name, type);
}

/* Label values come from configuration and cluster: '\', '"' and newline are escaped. */
static void put_label(struct evbuffer *out, const char *name, const char *value, bool first)
{
	evbuffer_add_printf(out, "%s%s=\"", first ? "" : ",", name);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\n')
			evbuffer_add(out, "\\n", 2);
		else if (*c == '"' || *c == '\\')
			evbuffer_add_printf(out, "\\%c", *c);
		else
			evbuffer_add(out, c, 1);
	}
	evbuffer_add(out, "\"", 1);
}

/* Labels as name, value pairs, ended by NULL. */
static void labels(struct metrics *m, const char *name, va_list ap)
{
	const char *label = va_arg(ap, const char *);
	bool first = true;

	evbuffer_add_printf(m->out, "sluice_%s", name);
	if (label == NULL)
		return;
	evbuffer_add(m->out, "{", 1);
	for (; label != NULL; label = va_arg(ap, const char *)) {
		put_label(m->out, label, va_arg(ap, const char *), first);
		first = false;
	}
	evbuffer_add(m->out, "}", 1);
}

static void sample(struct metrics *m, const char *name, uint64_t value, ...)
{
	va_list ap;

	va_start(ap, value);
	labels(m, name, ap);
	va_end(ap);
	evbuffer_add_printf(m->out, " %llu\n", (unsigned long long)value);
}

static void sample_real(struct metrics *m, const char *name, double value, ...)
{
	va_list ap;

	va_start(ap, value);
	labels(m, name, ap);
	va_end(ap);
	evbuffer_add_printf(m->out, " %.9g\n", value);
}

/* A family of one sample without labels. */
static void single(
	struct metrics *m, const char *name, const char *type, const char *help, uint64_t value)
{
	family(m, name, type, help);
	sample(m, name, value, NULL);
}

static const char *number(uint32_t n, char buf[12])
{
	snprintf(buf, 12, "%u", n);
	return buf;
}

/* --- the node -------------------------------------------------------------------------------- */

static void put_build(struct metrics *m)
{
	struct health_check checks[HEALTH_CHECKS_MAX];
	uint32_t n = api_checks(m->api, checks, false);

	family(m, "build_info", "gauge", "Version of the daemon and of DPDK.");
	sample(m, "build_info", 1, "version", SLUICE_VERSION, "dpdk", rim_dpdk_version(), NULL);
	family(m, "start_time_seconds", "gauge", "When the daemon started, since the epoch.");
	evbuffer_add_printf(
		m->out, "sluice_start_time_seconds %.3f\n", (double)m->api->started_ms / 1000);
	single(m, "kube_proxy_present", "gauge", "1 while there are traces of a kube-proxy.",
		kube_proxy_signs(m->api->deps.kube_proxy) != 0);
	family(m, "ready", "gauge", "Checks of /readyz: 1 passes, 0 fails.");
	for (uint32_t i = 0; i < n; i++)
		sample(m, "ready", checks[i].ok, "check", checks[i].name, NULL);
}

/* The names that every exporter has. */
static void process_value(
	struct metrics *m, const char *name, const char *type, const char *help, double value)
{
	evbuffer_add_printf(m->out,
		"# HELP process_%s %s\n# TYPE process_%s %s\nprocess_%s %.15g\n", name, help, name,
		type, name, value);
}

static void put_process(struct metrics *m)
{
	unsigned long long size = 0, resident = 0;
	double page = (double)sysconf(_SC_PAGESIZE);
	struct rusage ru;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL) {
		if (fscanf(f, "%llu %llu", &size, &resident) != 2)
			size = resident = 0;
		fclose(f);
	}
	process_value(m, "resident_memory_bytes", "gauge", "Resident memory size in bytes.",
		page * (double)resident);
	process_value(m, "virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
		page * (double)size);
	process_value(m, "start_time_seconds", "gauge", "When it started, since the epoch.",
		(double)m->api->started_ms / 1000);
	if (getrusage(RUSAGE_SELF, &ru) == 0)
		process_value(m, "cpu_seconds_total", "counter",
			"User and system CPU time of all threads.",
			(double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
				(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
}

/* --- ports and vports ------------------------------------------------------------------------ */

static void put_ports(struct metrics *m)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} counters[] = {
#define PORT_COUNTER(n, field, h) {n, h, offsetof(struct rim_port_stats, field)}
		PORT_COUNTER("port_rx_packets_total", rx_packets, "Packets received by the port."),
		PORT_COUNTER("port_rx_bytes_total", rx_bytes, "Bytes received by the port."),
		PORT_COUNTER("port_tx_packets_total", tx_packets, "Packets sent by the port."),
		PORT_COUNTER("port_tx_bytes_total", tx_bytes, "Bytes sent by the port."),
		PORT_COUNTER("port_rx_missed_total", rx_missed,
			"Packets lost in the port because no worker took them in time."),
		PORT_COUNTER("port_rx_nombuf_total", rx_no_buffer,
			"Packets lost because no buffer was free."),
		PORT_COUNTER("port_rx_errors_total", rx_errors, "Packets received in error."),
		PORT_COUNTER("port_tx_errors_total", tx_errors, "Packets that failed to be sent."),
#undef PORT_COUNTER
	};

	for (size_t c = 0; c < sizeof(counters) / sizeof(counters[0]); c++) {
		family(m, counters[c].name, "counter", counters[c].help);
		for (uint32_t i = 0; i < m->n_ports; i++) {
			const char *st = (const char *)&m->stats[i];

			sample(m, counters[c].name, *(const uint64_t *)(st + counters[c].offset),
				"port", m->ports[i].name, NULL);
		}
	}
	family(m, "port_up", "gauge", "Link state: 1 up, 0 down.");
	for (uint32_t i = 0; i < m->n_ports; i++)
		sample(m, "port_up", m->ports[i].up, "port", m->ports[i].name, NULL);
	family(m, "port_speed_bits_per_second", "gauge", "Link speed, 0 when unknown.");
	for (uint32_t i = 0; i < m->n_ports; i++)
		sample(m, "port_speed_bits_per_second", (uint64_t)m->ports[i].speed_mbps * 1000000,
			"port", m->ports[i].name, NULL);
	family(m, "port_info", "gauge", "What the port is.");
	for (uint32_t i = 0; i < m->n_ports; i++)
		sample(m, "port_info", 1, "port", m->ports[i].name, "type",
			rim_port_kind_name(m->ports[i].kind), "driver", m->ports[i].driver, NULL);
}

static void put_vports(struct metrics *m)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} counters[] = {
#define VPORT_COUNTER(n, field, h) {n, h, offsetof(struct vport_counters, field)}
		VPORT_COUNTER("vport_rx_packets_total", rx_packets, "Packets from the vport."),
		VPORT_COUNTER("vport_rx_bytes_total", rx_bytes, "Bytes from the vport."),
		VPORT_COUNTER("vport_tx_packets_total", tx_packets, "Packets to the vport."),
		VPORT_COUNTER("vport_tx_bytes_total", tx_bytes, "Bytes to the vport."),
		VPORT_COUNTER(
			"vport_drops_total", drops, "Packets of the vport that were dropped."),
#undef VPORT_COUNTER
	};

	/* Names first: they are renewed under the model's lock. */
	api_vport_name(m->api, 1);
	for (size_t c = 0; c < sizeof(counters) / sizeof(counters[0]); c++) {
		family(m, counters[c].name, "counter", counters[c].help);
		for (uint32_t id = 1; id < VPORTS_MAX; id++) {
			size_t offset = offsetof(struct worker_counters, vport) +
				id * sizeof(struct vport_counters) + counters[c].offset;

			if (m->api->vport_name[id][0] != '\0')
				sample(m, counters[c].name, api_worker_sum(m->api, offset), "vport",
					m->api->vport_name[id], NULL);
		}
	}
}

/* --- workers, stages, drops ------------------------------------------------------------------ */

static void put_worker_counter(struct metrics *m, const char *name, const char *help, size_t offset)
{
	const struct dataplane *dp = m->api->deps.dp;
	char buf[12];

	family(m, name, "counter", help);
	for (uint32_t n = 0; n < dp->n_workers; n++) {
		const char *c = (const char *)&dp->workers[n]->counters;

		sample(m, name, counter_load((const uint64_t *)(c + offset)), "worker",
			number(n, buf), NULL);
	}
}

static void put_workers(struct metrics *m)
{
	const struct dataplane *dp = m->api->deps.dp;
	double per_second = (double)rim_ticks_per_second(m->api->deps.rim);
	char buf[12];

	family(m, "worker_cycles_total", "counter", "Clock ticks by what the worker did.");
	for (uint32_t n = 0; n < dp->n_workers; n++) {
		const struct worker_counters *c = &dp->workers[n]->counters;
		struct rim_worker_info info = {.cpu = RIM_CPU_ANY};
		uint64_t idle = counter_load(&c->idle_ticks);

		rim_worker_info(m->api->deps.rim, n, &info);
		number(n, buf);
		sample(m, "worker_cycles_total", counter_load(&c->busy_ticks), "worker", buf,
			"state", "busy", NULL);
		sample(m, "worker_cycles_total",
			idle > info.slept_ticks ? idle - info.slept_ticks : 0, "worker", buf,
			"state", "idle", NULL);
		sample(m, "worker_cycles_total", info.slept_ticks, "worker", buf, "state", "sleep",
			NULL);
	}
	put_worker_counter(m, "worker_iterations_total", "Turns of the worker's loop.",
		offsetof(struct worker_counters, loops));
	put_worker_counter(m, "worker_batches_total", "Bursts that held packets.",
		offsetof(struct worker_counters, bursts));
	put_worker_counter(m, "worker_packets_total", "Packets received by the worker.",
		offsetof(struct worker_counters, received));
	put_worker_counter(m, "worker_sent_packets_total", "Packets sent by the worker.",
		offsetof(struct worker_counters, sent));
	put_worker_counter(m, "worker_originated_packets_total",
		"Packets made here: errors, resets, fragments, answers.",
		offsetof(struct worker_counters, originated));
	family(m, "worker_longest_iteration_seconds", "gauge", "The longest turn ever.");
	for (uint32_t n = 0; n < dp->n_workers; n++) {
		uint64_t ticks = counter_load(&dp->workers[n]->counters.longest_loop_ticks);

		sample_real(m, "worker_longest_iteration_seconds",
			per_second > 0 ? (double)ticks / per_second : 0, "worker", number(n, buf),
			NULL);
	}
	family(m, "worker_heartbeat_age_seconds", "gauge", "Since the worker was seen to turn.");
	for (uint32_t n = 0; n < dp->n_workers; n++)
		sample_real(m, "worker_heartbeat_age_seconds",
			(double)api_worker_beat_age_ms(m->api, n) / 1000, "worker", number(n, buf),
			NULL);
}

static void put_stages(struct metrics *m)
{
	family(m, "stage_packets_total", "counter", "Packets that the stage took.");
	for (uint32_t s = 0; s < STAGES; s++)
		sample(m, "stage_packets_total",
			api_worker_sum(m->api,
				offsetof(struct worker_counters, stage_packets) +
					s * sizeof(uint64_t)),
			"stage", stage_names[s], NULL);
	family(m, "drops_total", "counter", "Packets dropped, one reason each.");
	for (uint32_t r = 0; r < DROP_REASONS; r++)
		sample(m, "drops_total",
			api_worker_sum(m->api,
				offsetof(struct worker_counters, drops) + r * sizeof(uint64_t)),
			"reason", drop_reasons[r].name, "class",
			drop_class_name(drop_reasons[r].class), NULL);
}

/* --- flows and tables ------------------------------------------------------------------------ */

void api_flow_use(struct api *a, enum ip_family f, struct flow_use *out)
{
	memset(out, 0, sizeof(*out));
	out->capacity = flow_capacity(a->deps.dp->flows, f);
	for (uint32_t n = 0; n < a->deps.dp->n_workers; n++) {
		const struct flow_pool_stats *s = flow_stats(a->deps.dp->flows, f, n);

		out->used += atomic_load_explicit(&s->used, memory_order_relaxed);
		out->high_water += atomic_load_explicit(&s->high_water, memory_order_relaxed);
		out->created += atomic_load_explicit(&s->created, memory_order_relaxed);
		out->expired += atomic_load_explicit(&s->expired, memory_order_relaxed);
		out->killed += atomic_load_explicit(&s->killed, memory_order_relaxed);
		out->reclaimed += atomic_load_explicit(&s->reclaimed, memory_order_relaxed);
		out->full += atomic_load_explicit(&s->full, memory_order_relaxed);
		out->index_full += atomic_load_explicit(&s->index_full, memory_order_relaxed);
		out->races += atomic_load_explicit(&s->races, memory_order_relaxed);
	}
}

static void put_flows(struct metrics *m)
{
	static const char *const names[IP_FAMILIES] = {"IPv4", "IPv6"};
	static const struct {
		const char *name, *type, *help, *label, *value;
		size_t offset;
	} rows[] = {
#define FLOW_ROW(n, t, h, l, v, field) {n, t, h, l, v, offsetof(struct flow_use, field)}
		FLOW_ROW("conntrack_entries", "gauge", "Flows now.", NULL, NULL, used),
		FLOW_ROW("conntrack_capacity", "gauge", "Flows that fit.", NULL, NULL, capacity),
		FLOW_ROW("conntrack_high_water", "gauge", "The most flows at once, of each worker.",
			NULL, NULL, high_water),
		FLOW_ROW("conntrack_created_total", "counter", "Flows made.", NULL, NULL, created),
		FLOW_ROW("conntrack_removed_total", "counter", "Flows ended.", "cause", "Idle",
			expired),
		FLOW_ROW("conntrack_removed_total", NULL, NULL, "cause", "Killed", killed),
		FLOW_ROW("conntrack_removed_total", NULL, NULL, "cause", "Reclaimed", reclaimed),
		FLOW_ROW("conntrack_insert_failures_total", "counter", "Flows refused.", "reason",
			"FlowTableFull", full),
		FLOW_ROW("conntrack_insert_failures_total", NULL, NULL, "reason", "FlowIndexFull",
			index_full),
		FLOW_ROW("conntrack_insert_races_total", "counter",
			"Inserts that found the flow made by another worker.", NULL, NULL, races),
#undef FLOW_ROW
	};
	struct flow_use use[IP_FAMILIES];

	for (int f = 0; f < IP_FAMILIES; f++)
		api_flow_use(m->api, (enum ip_family)f, &use[f]);
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		if (rows[r].type != NULL)
			family(m, rows[r].name, rows[r].type, rows[r].help);
		for (int f = 0; f < IP_FAMILIES; f++) {
			const char *u = (const char *)&use[f];

			sample(m, rows[r].name, *(const uint64_t *)(u + rows[r].offset), "family",
				names[f], rows[r].label, rows[r].value, NULL);
		}
	}
}

static void put_tables(struct metrics *m)
{
	static const struct {
		const char *name, *type, *help;
		size_t offset;
		bool some; /* not of every table: 0 is none */
	} rows[] = {
#define TABLE_ROW(n, t, field, s, h) {n, t, h, offsetof(struct table_usage, field), s}
		TABLE_ROW("table_entries", "gauge", used, false, "Entries in use."),
		TABLE_ROW("table_capacity", "gauge", capacity, true,
			"Entries that fit; tables that grow have none."),
		TABLE_ROW(
			"table_high_water", "gauge", high_water, true, "The most entries at once."),
		TABLE_ROW("table_full_total", "counter", full, false,
			"Entries refused because the table was full."),
#undef TABLE_ROW
	};
	struct table_usage t[API_TABLES_MAX];
	uint32_t n = api_tables(m->api, t);

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		family(m, rows[r].name, rows[r].type, rows[r].help);
		for (uint32_t i = 0; i < n; i++) {
			uint64_t value = *(const uint64_t *)((const char *)&t[i] + rows[r].offset);

			if (value != 0 || !rows[r].some)
				sample(m, rows[r].name, value, "table", t[i].name, NULL);
		}
	}
	single(m, "snat_ports_tried_total", "counter", "Source ports tried for new flows.",
		API_WORKER_SUM(m->api, snat_ports_tried));
	single(m, "snat_ports_kept_total", "counter", "Flows that kept their own source port.",
		API_WORKER_SUM(m->api, snat_port_kept));
	single(m, "flows_reselected_total", "counter",
		"Flows that moved to another backend because theirs was gone.",
		API_WORKER_SUM(m->api, flows_reselected));
}

/* --- control --------------------------------------------------------------------------------- */

static void put_services(struct metrics *m)
{
	struct neighbours_stats nb;
	struct reconcile_stats rs;
	uint32_t known, refused;
	uint64_t refusals;

	reconcile_stats(m->api->deps.reconciler, &rs);
	neighbours_stats(m->api->deps.neighbours, &nb);
	model_read_lock(m->api->deps.model);
	known = model_count(m->api->deps.model, MODEL_SERVICE);
	refused = model_refusals_count(m->api->deps.model);
	refusals = model_refusals_total(m->api->deps.model);
	model_read_unlock(m->api->deps.model);

	single(m, "services", "gauge", "Services known.", known);
	single(m, "services_programmed", "gauge", "Services in the dataplane.", rs.services);
	single(m, "service_frontends", "gauge", "Address, port and protocol triples served.",
		rs.frontends);
	single(m, "backends", "gauge", "Backends in the dataplane.", rs.backends);
	single(m, "service_conflicts", "gauge", "Frontends that several services claim.",
		rs.conflicts);
	single(m, "sync_pending", "gauge", "Changed objects that are not yet applied.", rs.pending);
	single(m, "sync_events_total", "counter", "Objects taken in by the reconciler.", rs.events);
	single(m, "sync_errors_total", "counter", "Objects that could not be applied wholly.",
		rs.errors);
	single(m, "sync_verified_total", "counter", "Services looked at again without a change.",
		rs.verified);
	single(m, "sync_repairs_total", "counter",
		"Services that were not as they had been applied, and are again.", rs.repairs);
	family(m, "sync_busy_seconds_total", "counter", "Time the reconciler worked.");
	sample_real(m, "sync_busy_seconds_total", (double)rs.busy_ns / 1e9, NULL);
	family(m, "sync_longest_event_seconds", "gauge", "The longest that one object took.");
	sample_real(m, "sync_longest_event_seconds", (double)rs.max_event_ns / 1e9, NULL);
	single(m, "refused_objects", "gauge", "Objects now refused, wholly or in part.", refused);
	single(m, "refusals_total", "counter", "Refusals since the start.", refusals);
	single(m, "neighbors", "gauge", "Neighbours known.", nb.neighbours);
	single(m, "neighbor_requests_total", "counter", "ARP and ND requests sent.", nb.requests);
	single(m, "neighbor_failures_total", "counter", "Neighbours that did not answer.",
		nb.failures);
}

static void put_sources(struct metrics *m)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} rows[] = {
#define SOURCE_ROW(n, field, h) {n, h, offsetof(struct model_source_status, field)}
		SOURCE_ROW("k8s_lists_total", lists, "Lists read."),
		SOURCE_ROW("k8s_watches_total", watches, "Watches opened."),
		SOURCE_ROW("k8s_events_total", events, "Events received."),
		SOURCE_ROW("k8s_bookmarks_total", bookmarks, "Bookmarks received."),
		SOURCE_ROW("k8s_errors_total", errors, "Requests that failed, watches that broke."),
		SOURCE_ROW("k8s_unknown_events_total", unknown_events,
			"Events of a type that is not known."),
#undef SOURCE_ROW
	};
	struct model_source_state st[SOURCES];

	/* Numbers are copied; the strings inside are not used outside the lock. */
	model_read_lock(m->api->deps.model);
	for (uint32_t id = 0; id < SOURCES; id++)
		model_source_get(m->api->deps.model, (enum model_source_id)id, &st[id]);
	model_read_unlock(m->api->deps.model);
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		family(m, rows[r].name, "counter", rows[r].help);
		for (uint32_t id = 0; id < SOURCES; id++) {
			const char *s = (const char *)&st[id].status;

			if (st[id].awaited)
				sample(m, rows[r].name, *(const uint64_t *)(s + rows[r].offset),
					"resource", model_source_names[id], NULL);
		}
	}
	family(m, "k8s_synced", "gauge", "1 when the first full state has arrived.");
	for (uint32_t id = 0; id < SOURCES; id++)
		if (st[id].awaited)
			sample(m, "k8s_synced", st[id].complete, "resource", model_source_names[id],
				NULL);
	family(m, "k8s_objects", "gauge", "Objects known from the server.");
	for (uint32_t id = 0; id < SOURCES; id++)
		if (st[id].awaited)
			sample(m, "k8s_objects", st[id].status.objects, "resource",
				model_source_names[id], NULL);
	family(m, "k8s_silence_seconds", "gauge", "Since the server was last heard.");
	for (uint32_t id = 0; id < SOURCES; id++)
		if (st[id].awaited && st[id].status.last_activity_ms != 0)
			sample_real(m, "k8s_silence_seconds",
				(double)(api_now_ms() - st[id].status.last_activity_ms) / 1000,
				"resource", model_source_names[id], NULL);
}

/* --- the API itself -------------------------------------------------------------------------- */

static void put_api(struct metrics *m)
{
	static const char *const classes[] = {NULL, "1xx", "2xx", "3xx", "4xx", "5xx"};
	struct http_server *s = m->api->http;
	uint32_t in_use, total;

	family(m, "http_requests_total", "counter", "Requests answered.");
	for (uint32_t r = 0; api_routes[r].pattern != NULL; r++)
		for (uint32_t c = 1; c < 6; c++) {
			uint64_t n = http_route_stats(s, r)->by_class[c];

			if (n != 0)
				sample(m, "http_requests_total", n, "route", api_routes[r].pattern,
					"code", classes[c], NULL);
		}
	sample(m, "http_requests_total", http_unrouted(s), "route", "", "code", "4xx", NULL);
	family(m, "http_request_seconds_total", "counter", "Time from request to last byte.");
	for (uint32_t r = 0; api_routes[r].pattern != NULL; r++)
		if (http_route_stats(s, r)->us != 0)
			sample_real(m, "http_request_seconds_total",
				(double)http_route_stats(s, r)->us / 1e6, "route",
				api_routes[r].pattern, NULL);
	single(m, "http_streams", "gauge", "Watches now.", http_streams(s));
	single(m, "http_connections", "gauge", "Connections, some of which may have just ended.",
		http_connections(s));
	single(m, "scan_records_total", "counter", "Flow entries looked at by listings.",
		m->api->scanned);
	rim_buffers(m->api->deps.rim, &in_use, &total);
	family(m, "mempool_objects", "gauge", "Packet buffers.");
	sample(m, "mempool_objects", in_use, "pool", "packets", "state", "used", NULL);
	sample(m, "mempool_objects", total - in_use, "pool", "packets", "state", "free", NULL);
}

void api_get_metrics(struct http_request *req)
{
	struct metrics m = {.api = api_of(req), .out = evbuffer_new()};

	if (m.out == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	m.n_ports = api_ports(m.api, m.ports);
	for (uint32_t i = 0; i < m.n_ports; i++)
		if (rim_port_stats(m.api->deps.rim, m.ports[i].index, &m.stats[i]) < 0)
			memset(&m.stats[i], 0, sizeof(m.stats[i]));
	put_build(&m);
	put_ports(&m);
	put_vports(&m);
	put_workers(&m);
	put_stages(&m);
	put_flows(&m);
	put_tables(&m);
	put_services(&m);
	put_sources(&m);
	put_api(&m);
	put_process(&m);
	api_offload_metrics(m.api, m.out);
	proxy_health_metrics(m.api->proxy_health, m.out);
	http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", m.out);
	evbuffer_free(m.out);
}
