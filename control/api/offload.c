/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Hardware offload as documents: ports with what they can do, the table of rules, refusals by
 * reason; and a flow's part of it. Reads copies that the offload thread publishes each tick; never
 * a device. API thread. */

#include <event2/buffer.h>
#include <stdlib.h>

#include "control/api/api_internal.h"
#include "control/api/offload.h"
#include "io/rim.h"
#include "offload/caps.h"
#include "offload/offload.h"

static const char *const support_names[] = {
	[OFFLOAD_UNKNOWN] = "Unknown",
	[OFFLOAD_SUPPORTED] = "Supported",
	[OFFLOAD_UNSUPPORTED] = "Unsupported",
	[OFFLOAD_QUARANTINED] = "Quarantined",
};

/* --- a flow's part ------------------------------------------------------------------------------
 */

static const char *leg_state(const struct offload_flow_leg *leg)
{
	if (leg->state == OFFLOAD_PARTIAL)
		return "Partial";
	if (leg->state >= OFFLOAD_HARDWARE)
		return "Hardware";
	if (leg->state != OFFLOAD_SOFTWARE)
		return "Pending";
	switch (leg->reason) {
	case OFFLOAD_Backoff:
	case OFFLOAD_BreakerOpen:
	case OFFLOAD_ShapeUnsupported:
	case OFFLOAD_ShapeQuarantined:
	case OFFLOAD_NoTtlDialect:
	case OFFLOAD_NoTcpFlagMatch:
	case OFFLOAD_NoMacMatch:
	case OFFLOAD_PortUntrusted:
		return "Refused";
	case OFFLOAD_ProtocolExcluded:
	case OFFLOAD_Fragments:
	case OFFLOAD_IpOptions:
	case OFFLOAD_PortNotEthdev:
	case OFFLOAD_OtherSwitchDomain:
	case OFFLOAD_MtuShrinks:
	case OFFLOAD_Disabled:
		return "Ineligible";
	default:
		return "Software";
	}
}

bool api_offload_in_hardware(const struct offload_flow_leg *leg)
{
	return leg->state == OFFLOAD_HARDWARE || leg->state == OFFLOAD_REVOKING;
}

static const char *leg_place(const struct offload_flow_leg *leg)
{
	if (leg->state == OFFLOAD_PARTIAL)
		return "partial";
	return api_offload_in_hardware(leg) ? "hardware" : "software";
}

void api_offload_flow(
	struct api *a, const struct flow_view *v, uint32_t now_ms, struct offload_flow *out)
{
	offload_flow_read(a->deps.offload, v->family, v->entry, v->meta.generation, v, now_ms, out);
}

static void write_refusal(struct jw *w, const struct offload_refusal *r)
{
	jw_object(w, "lastError");
	jw_string(w, "class", r->class);
	jw_int(w, "errno", -r->error);
	jw_int(w, "errorType", r->type);
	jw_string(w, "text", r->text);
	jw_object_end(w);
}

void api_offload_write_flow(struct api *a, struct jw *w, const struct flow_view *v, uint32_t now_ms)
{
	static const char *const dirs[] = {"forward", "reply"};
	struct offload_flow flow;

	api_offload_flow(a, v, now_ms, &flow);
	jw_object(w, "offload");
	for (int d = 0; d < 2; d++) {
		const struct offload_flow_leg *leg = &flow.leg[d];

		jw_object(w, dirs[d]);
		jw_string(w, "in", leg_place(leg));
		jw_string(w, "state", leg_state(leg));
		if (leg->reason != OFFLOAD_REASON_NONE)
			jw_string(w, "reason", offload_reason_names[leg->reason]);
		if (leg->since_ms != 0)
			jw_time_ms(w, "since", api_wall_ms() - (int32_t)(now_ms - leg->since_ms));
		if (leg->refusal != NULL)
			write_refusal(w, leg->refusal);
		jw_counter(w, "hwPackets", leg->packets);
		jw_counter(w, "hwBytes", leg->bytes);
		jw_object_end(w);
	}
	jw_object_end(w);
}

/* --- documents ----------------------------------------------------------------------------------
 */

static struct offload_stats *stats_of(struct http_request *req)
{
	static const char *const none[] = {NULL};
	struct api *a = api_of(req);
	struct offload_stats *s;

	if (!api_check_query(req, none))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return NULL;
	}
	s->provider = "none";
	if (a->deps.offload != NULL)
		offload_stats_read(a->deps.offload, s);
	return s;
}

static void write_histogram(struct jw *w, const char *name, const uint64_t *count)
{
	jw_array(w, name);
	for (unsigned k = 0; k < OFFLOAD_HISTOGRAM; k++) {
		if (count[k] == 0)
			continue;
		jw_object(w, NULL);
		jw_int(w, "belowMicroseconds", (int64_t)1 << k);
		jw_counter(w, "count", count[k]);
		jw_object_end(w);
	}
	jw_array_end(w);
}

/* Of a dialect the words that the shape needs. */
static void write_dialect(struct jw *w, const struct offload_caps_row *row)
{
	const struct offload_dialect *d = &row->dialect;

	jw_object(w, "dialect");
	if (row->shape & OFFLOAD_SHAPE_MARK) {
		jw_string(w, "fate", "MARK QUEUE");
	} else {
		jw_string(w, "port", offload_port_dialect_name((enum offload_port_dialect)d->port));
		jw_string(w, "nat", offload_nat_dialect_name((enum offload_nat_dialect)d->nat));
		if (row->shape & OFFLOAD_SHAPE_TTL)
			jw_string(w, "ttl",
				offload_ttl_dialect_name((enum offload_ttl_dialect)d->ttl));
		if (row->shape & OFFLOAD_SHAPE_ENCAP)
			jw_string(w, "encap",
				offload_encap_dialect_name((enum offload_encap_dialect)d->encap));
		if (row->shape & OFFLOAD_SHAPE_DECAP)
			jw_string(w, "decap",
				offload_decap_dialect_name((enum offload_encap_dialect)d->encap));
		if (row->shape & OFFLOAD_SHAPE_VLAN)
			jw_string(w, "order",
				offload_order_dialect_name((enum offload_order_dialect)d->order));
	}
	jw_int(w, "group", d->group);
	jw_object_end(w);
}

static void write_row(struct jw *w, const struct offload_caps_row *row)
{
	char shape[96];

	offload_shape_text(row->shape, shape, sizeof(shape));
	jw_object(w, NULL);
	jw_string(w, "shape", shape);
	jw_string(w, "support", support_names[row->support]);
	if (row->support == OFFLOAD_SUPPORTED) {
		write_dialect(w, row);
	} else {
		if (row->reason != OFFLOAD_REASON_NONE && row->reason < OFFLOAD_REASONS)
			jw_string(w, "reason", offload_reason_names[row->reason]);
		jw_int(w, "errno", -row->error);
		jw_int(w, "errorType", row->refusal.type);
		jw_string(w, "driverSays", row->refusal.cause);
	}
	jw_object_end(w);
}

static void write_matrix(struct api *a, struct jw *w, uint16_t index)
{
	struct offload_caps_row *rows = calloc(OFFLOAD_SHAPES, sizeof(*rows));
	uint32_t n = 0;

	if (rows != NULL)
		n = offload_caps_read(a->deps.offload, index, rows, OFFLOAD_SHAPES);
	jw_array(w, "matrix");
	for (uint32_t i = 0; i < n && i < OFFLOAD_SHAPES; i++)
		write_row(w, &rows[i]);
	jw_array_end(w);
	free(rows);
}

static const char *port_name(struct api *a, uint16_t index, struct rim_port_info *info)
{
	uint32_t n = rim_port_list(a->deps.rim, info, RIM_PORTS_MAX);

	for (uint32_t i = 0; i < n && i < RIM_PORTS_MAX; i++)
		if (info[i].index == index)
			return info[i].name;
	return "";
}

static void write_port(struct api *a, struct jw *w, const struct offload_port_stats *p)
{
	struct rim_port_info info[RIM_PORTS_MAX];

	jw_object(w, NULL);
	jw_string(w, "kind", "OffloadPort");
	jw_string(w, "name", port_name(a, p->index, info));
	jw_string(w, "driver", p->driver);
	jw_string(w, "state", p->state);
	jw_string(w, "breaker", p->breaker);
	jw_bool(w, "representor", p->representor);
	jw_bool(w, "untrusted", p->untrusted);
	if (p->domain != UINT16_MAX)
		jw_int(w, "switchDomain", p->domain);
	jw_counter(w, "rules", p->rules);
	jw_counter(w, "partialRules", p->partial);
	jw_object(w, "inserts");
	for (int i = 0; i < OFFLOAD_INSERT_RESULTS; i++)
		jw_counter(w, offload_insert_result_names[i], p->inserts[i]);
	jw_object_end(w);
	jw_counter(w, "removes", p->removes);
	jw_counter(w, "removeErrors", p->remove_errors);
	jw_counter(w, "flushes", p->flushes);
	jw_counter(w, "stops", p->stops);
	jw_counter(w, "breakerOpened", p->breaker_opened);
	jw_counter(w, "quarantined", p->quarantined);
	jw_counter(w, "hwPackets", p->packets);
	jw_counter(w, "hwBytes", p->bytes);
	write_matrix(a, w, p->index);
	jw_object_end(w);
}

/* Of what the workers and the hardware forwarded, the hardware's share. */
static double bypass(struct api *a, const struct offload_stats *s)
{
	uint64_t software = API_WORKER_SUM(a, sent);

	return s->packets + software != 0 ? (double)s->packets / (double)(s->packets + software)
					  : 0;
}

void api_get_offload(struct http_request *req)
{
	struct offload_stats *s = stats_of(req);
	struct api *a = api_of(req);
	struct doc doc;

	if (s == NULL)
		return;
	if (doc_begin(&doc, req)) {
		jw_string(&doc.w, "kind", "Offload");
		jw_bool(&doc.w, "enabled", s->enabled);
		jw_string(&doc.w, "provider", s->provider);
		jw_counter(&doc.w, "flows", s->flows);
		jw_counter(&doc.w, "rules", s->rules);
		jw_counter(&doc.w, "partialRules", s->partial);
		jw_counter(&doc.w, "marksFollowed", API_WORKER_SUM(a, marks_followed));
		jw_counter(&doc.w, "marksStale", API_WORKER_SUM(a, marks_stale));
		jw_counter(&doc.w, "waiting", s->waiting);
		jw_counter(&doc.w, "revoking", s->revoking);
		jw_counter(&doc.w, "capacity", s->capacity);
		jw_counter(&doc.w, "capacityLearned", s->capacity_learned);
		jw_counter(&doc.w, "hwPackets", s->packets);
		jw_counter(&doc.w, "hwBytes", s->bytes);
		jw_stringf(&doc.w, "bypassRatio", "%.4f", bypass(a, s));
		jw_counter(&doc.w, "requests", s->requests);
		jw_counter(&doc.w, "requestsLost", API_WORKER_SUM(a, offload_lost));
		jw_counter(&doc.w, "inserted", s->inserted);
		jw_counter(&doc.w, "removed", s->removed);
		jw_counter(&doc.w, "evicted", s->evicted);
		jw_counter(&doc.w, "demoted", s->demoted);
		jw_counter(&doc.w, "revoked", s->revoked);
		jw_counter(&doc.w, "ended", s->ended);
		jw_counter(&doc.w, "ttlChanged", s->ttl_changed);
		jw_counter(&doc.w, "escalations", s->escalations);
		jw_counter(&doc.w, "passes", s->passes);
		jw_counter(&doc.w, "passMicroseconds", s->pass_us);
		jw_counter(&doc.w, "longestPassMicroseconds", s->pass_max_us);
		jw_counter(&doc.w, "pollLagMicroseconds", s->poll_lag_us);
		write_histogram(&doc.w, "insertLatency", s->insert_us);
		write_histogram(&doc.w, "revokeLatency", s->revoke_us);
		jw_array(&doc.w, "items");
		for (uint32_t i = 0; i < s->n_ports; i++)
			write_port(a, &doc.w, &s->port[i]);
		jw_array_end(&doc.w);
		doc_send(&doc, 200);
	}
	free(s);
}

void api_get_offload_tables(struct http_request *req)
{
	struct offload_stats *s = stats_of(req);
	struct doc doc;

	if (s == NULL)
		return;
	if (doc_begin(&doc, req)) {
		jw_string(&doc.w, "kind", "OffloadTableList");
		jw_array(&doc.w, "items");
		for (uint32_t i = 0; i < s->n_ports; i++) {
			const struct offload_port_stats *p = &s->port[i];
			struct rim_port_info info[RIM_PORTS_MAX];

			jw_object(&doc.w, NULL);
			jw_string(&doc.w, "kind", "OffloadTable");
			jw_string(&doc.w, "name", port_name(api_of(req), p->index, info));
			jw_counter(&doc.w, "rules", p->rules);
			jw_counter(&doc.w, "capacityLearned", s->capacity_learned);
			jw_counter(&doc.w, "full", p->inserts[OFFLOAD_INSERT_CAPACITY]);
			jw_object_end(&doc.w);
		}
		jw_array_end(&doc.w);
		doc_send(&doc, 200);
	}
	free(s);
}

void api_get_offload_rejections(struct http_request *req)
{
	struct offload_stats *s = stats_of(req);
	struct doc doc;

	if (s == NULL)
		return;
	if (doc_begin(&doc, req)) {
		jw_string(&doc.w, "kind", "OffloadRejectionList");
		jw_array(&doc.w, "items");
		for (int r = 1; r < OFFLOAD_REASONS; r++) {
			uint64_t n = r == OFFLOAD_RequestRingFull
				? API_WORKER_SUM(api_of(req), offload_lost)
				: s->refused[r];

			jw_object(&doc.w, NULL);
			jw_string(&doc.w, "kind", "OffloadRejection");
			jw_string(&doc.w, "reason", offload_reason_names[r]);
			jw_string(&doc.w, "meaning", offload_reason_texts[r]);
			jw_counter(&doc.w, "count", n);
			jw_object_end(&doc.w);
		}
		jw_array_end(&doc.w);
		doc_send(&doc, 200);
	}
	free(s);
}

/* One a call: what was asked, and behind the last newline, as a comment, what was answered. */
static void write_operation(struct jw *w, uint64_t number, char *text)
{
	char *answer = strrchr(text, '\n');

	if (answer != NULL)
		*answer++ = '\0';
	jw_object(w, NULL);
	jw_string(w, "kind", "OffloadOperation");
	jw_counter(w, "number", number);
	jw_string(w, "call", text);
	jw_string(w, "answer", answer != NULL && strncmp(answer, "# ", 2) == 0 ? answer + 2 : "");
	jw_object_end(w);
}

void api_get_offload_operations(struct http_request *req)
{
	static const char *const none[] = {NULL};
	struct offload *o = api_of(req)->deps.offload;
	char text[OFFLOAD_OPERATION_MAX];
	uint64_t cursor = 0;
	struct doc doc;

	if (!api_check_query(req, none) || !doc_begin(&doc, req))
		return;
	jw_string(&doc.w, "kind", "OffloadOperationList");
	jw_array(&doc.w, "items");
	while (o != NULL && offload_operation_read(o, &cursor, text, sizeof(text)) != 0)
		write_operation(&doc.w, cursor - 1, text);
	jw_array_end(&doc.w);
	doc_send(&doc, 200);
}

/* --- metrics ------------------------------------------------------------------------------------
 */

static void head(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(out, "# HELP sluice_offload_%s %s\n# TYPE sluice_offload_%s %s\n", name,
		help, name, type);
}

static void one(
	struct evbuffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	evbuffer_add_printf(out, "sluice_offload_%s %llu\n", name, (unsigned long long)value);
}

static void histogram(
	struct evbuffer *out, const char *name, const char *help, const uint64_t *count)
{
	unsigned long long sum = 0;

	head(out, name, "histogram", help);
	for (unsigned k = 0; k + 1 < OFFLOAD_HISTOGRAM; k++) {
		sum += count[k];
		evbuffer_add_printf(out, "sluice_offload_%s_bucket{le=\"%g\"} %llu\n", name,
			(double)((uint64_t)1 << k) / 1e6, sum);
	}
	sum += count[OFFLOAD_HISTOGRAM - 1];
	evbuffer_add_printf(out, "sluice_offload_%s_bucket{le=\"+Inf\"} %llu\n", name, sum);
	evbuffer_add_printf(out, "sluice_offload_%s_count %llu\n", name, sum);
}

void api_offload_metrics(struct api *a, struct evbuffer *out)
{
	struct offload_stats *s = calloc(1, sizeof(*s));
	struct rim_port_info info[RIM_PORTS_MAX];

	if (s == NULL || a->deps.offload == NULL) {
		free(s);
		return;
	}
	offload_stats_read(a->deps.offload, s);
	one(out, "flows", "gauge", "Flows in hardware.", s->flows);
	one(out, "capacity", "gauge", "Rules that the hardware is thought to hold.",
		s->capacity_learned);
	one(out, "queue_depth", "gauge", "Candidates that wait for their turn.", s->waiting);
	head(out, "rules", "gauge", "Rules in hardware.");
	for (uint32_t i = 0; i < s->n_ports; i++)
		evbuffer_add_printf(out,
			"sluice_offload_rules{port=\"%s\",state=\"hardware\"} %u\n"
			"sluice_offload_rules{port=\"%s\",state=\"partial\"} %u\n",
			port_name(a, s->port[i].index, info), s->port[i].rules - s->port[i].partial,
			port_name(a, s->port[i].index, info), s->port[i].partial);
	head(out, "inserts_total", "counter", "Rules that a device was asked to take.");
	for (uint32_t i = 0; i < s->n_ports; i++)
		for (int r = 0; r < OFFLOAD_INSERT_RESULTS; r++)
			evbuffer_add_printf(out,
				"sluice_offload_inserts_total{port=\"%s\",result=\"%s\"} %llu\n",
				port_name(a, s->port[i].index, info),
				offload_insert_result_names[r],
				(unsigned long long)s->port[i].inserts[r]);
	head(out, "refused_total", "counter", "Directions that stayed in software, each time.");
	for (int r = 1; r < OFFLOAD_REASONS; r++)
		evbuffer_add_printf(out, "sluice_offload_refused_total{reason=\"%s\"} %llu\n",
			offload_reason_names[r], (unsigned long long)s->refused[r]);
	head(out, "packets_total", "counter", "Packets forwarded, by where.");
	evbuffer_add_printf(out,
		"sluice_offload_packets_total{path=\"hardware\"} %llu\n"
		"sluice_offload_packets_total{path=\"software\"} %llu\n",
		(unsigned long long)s->packets, (unsigned long long)API_WORKER_SUM(a, sent));
	one(out, "bytes_total", "counter", "Bytes forwarded by hardware.", s->bytes);
	one(out, "revoked_total", "counter", "Rules taken out by a change of configuration.",
		s->revoked);
	one(out, "evicted_total", "counter", "Flows that gave way to faster ones.", s->evicted);
	one(out, "aged_total", "counter", "Flows that were not hit for long.", s->demoted);
	one(out, "requests_lost_total", "counter", "Nominations that found the ring full.",
		API_WORKER_SUM(a, offload_lost));
	one(out, "escalations_total", "counter", "Flushes because a rule could not be removed.",
		s->escalations);
	histogram(out, "insert_seconds", "What an insert took.", s->insert_us);
	histogram(out, "revoke_seconds", "What a removal took.", s->revoke_us);
	free(s);
}
