/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Flows as documents: pages, one by id or by tuple. API thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/flow_scan.h"
#include "control/api/offload.h"
#include "io/rim.h"

#define FLOW_LIMIT_DEFAULT 500
#define FLOW_LIMIT_MAX     5000

/* --- one flow -------------------------------------------------------------------------------- */

static void write_tuple(struct jw *w, const char *key, const struct flow_key6 *k)
{
	struct ip_addr src = ip_from_v6(k->src), dst = ip_from_v6(k->dst);

	jw_object(w, key);
	jw_ip(w, "src", &src);
	jw_int(w, "srcPort", ntohs(k->sport));
	jw_ip(w, "dst", &dst);
	jw_int(w, "dstPort", ntohs(k->dport));
	jw_object_end(w);
}

static void write_service(struct jw *w, const char *name)
{
	const char *slash = name != NULL ? strchr(name, '/') : NULL;
	const char *colon = slash != NULL ? strchr(slash, ':') : NULL;

	if (slash == NULL) {
		jw_null(w, "service");
		return;
	}
	if (colon == NULL)
		colon = slash + strlen(slash);
	jw_object(w, "service");
	jw_stringf(w, "namespace", "%.*s", (int)(slash - name), name);
	jw_stringf(w, "name", "%.*s", (int)(colon - slash) - 1, slash + 1);
	jw_string(w, "port", *colon == ':' ? colon + 1 : "");
	jw_object_end(w);
}

static void write_flow(struct api *a, struct jw *w, const struct flow_view *v, uint32_t now_ms)
{
	uint32_t seen = atomic_load_explicit(&v->meta.last_seen, memory_order_relaxed);
	uint8_t state = atomic_load_explicit(&v->meta.state, memory_order_relaxed);
	uint8_t flags = atomic_load_explicit(&v->meta.flags, memory_order_relaxed);
	struct ip_addr backend = ip_from_v6(v->key[DIR_REPLY].src);
	/* last_seen of a flow can be younger than the clock that was read before it. */
	uint32_t idle = (int32_t)(now_ms - seen) > 0 ? now_ms - seen : 0;
	uint32_t age = (int32_t)(now_ms - v->cold.created_ms) > 0 ? now_ms - v->cold.created_ms : 0;
	int64_t wall = api_wall_ms();
	char id[FLOW_ID_MAX], proto[12];

	flow_id_format(v->family, v->entry, v->meta.generation, id);
	jw_object(w, NULL);
	jw_string(w, "kind", "Flow");
	jw_string(w, "id", id);
	jw_string(w, "family", v->family == IP_V4 ? "IPv4" : "IPv6");
	jw_string(w, "protocol", ip_proto_name(v->key[DIR_FORWARD].proto, proto));
	jw_string(w, "state", flow_state_name((enum flow_state)state));
	write_tuple(w, "original", &v->key[DIR_FORWARD]);
	write_tuple(w, "reply", &v->key[DIR_REPLY]);
	jw_object(w, "nat");
	jw_string(w, "type", flow_nat_name(v));
	jw_object_end(w);
	write_service(w, flow_service_name(a, v->cold.svc_port_id));
	if (flags & FLOW_F_DNAT) {
		jw_object(w, "backend");
		jw_ip(w, "address", &backend);
		jw_int(w, "port", ntohs(v->key[DIR_REPLY].sport));
		jw_object_end(w);
	} else {
		jw_null(w, "backend");
	}
	jw_object(w, "ports");
	jw_string(w, "in", api_vport_name(a, v->cold.in_vport[DIR_FORWARD]));
	jw_string(w, "out", api_vport_name(a, v->cold.in_vport[DIR_REPLY]));
	jw_object_end(w);
	api_offload_write_flow(a, w, v, now_ms);
	jw_int(w, "zone", v->key[DIR_FORWARD].zone);
	jw_int(w, "worker", v->worker);
	jw_int(w, "idleSeconds", idle / 1000);
	jw_int(w, "ageSeconds", age / 1000);
	jw_time_ms(w, "createdAt", wall - age);
	jw_time_ms(w, "lastSeenAt", wall - idle);
	jw_object_end(w);
}

/* --- pages ----------------------------------------------------------------------------------- */

struct flow_list {
	struct flow_scan scan;
	struct jw w;
	bool head_written;
};

static void write_page_end(struct flow_list *l, enum scan_result why)
{
	struct flow_scan *s = &l->scan;
	char text[FLOW_CURSOR_TEXT_MAX];
	struct flow_cursor c = {
		.boot = s->api->boot,
		.filter = s->filter.hash,
		.family = (uint8_t)s->family,
		.entry = s->entry,
	};

	jw_array_end(&l->w);
	jw_object(&l->w, "metadata");
	if (why != SCAN_END) {
		flow_cursor_encode(&c, text);
		jw_string(&l->w, "continue", text);
		jw_string(&l->w, "truncatedBy", why == SCAN_LIMIT ? "Limit" : "ScanBudget");
	}
	jw_counter(&l->w, "scanned", s->scanned);
	jw_counter(&l->w, "matched", s->matched);
	jw_time_ms(&l->w, "asOf", api_wall_ms());
	jw_bool(&l->w, "weaklyConsistent", true);
	jw_object_end(&l->w);
	jw_object_end(&l->w);
	jw_flush(&l->w);
}

static enum http_step flow_list_produce(void *arg, struct evbuffer *out, int64_t deadline_us)
{
	struct flow_list *l = arg;
	int64_t begun = http_now_us();
	enum scan_result r = SCAN_FOUND;
	struct flow_view v;

	l->w.out = out;
	if (!l->head_written) {
		jw_object(&l->w, NULL);
		jw_string(&l->w, "kind", "FlowList");
		jw_string(&l->w, "apiVersion", API_VERSION);
		jw_array(&l->w, "items");
		l->head_written = true;
	}
	/* A flow costs some microseconds of text; look at the clock for each. */
	while (evbuffer_get_length(out) < HTTP_CHUNK && http_now_us() < deadline_us) {
		r = flow_scan_next(&l->scan, deadline_us, true, &v);
		if (r != SCAN_FOUND)
			break;
		write_flow(l->scan.api, &l->w, &v, l->scan.now_ms);
	}
	l->scan.busy_us += (uint64_t)(http_now_us() - begun);
	if (r == SCAN_FOUND || r == SCAN_SLICE) {
		jw_flush(&l->w);
		return HTTP_MORE;
	}
	write_page_end(l, r);
	evbuffer_add(out, "\n", 1);
	return HTTP_END;
}

static bool take_flow_cursor(struct flow_list *l, struct http_request *req)
{
	const char *text = query_get(&req->query, "continue");
	struct flow_cursor c;

	if (text == NULL || text[0] == '\0')
		return true;
	if (flow_cursor_decode(text, &c) < 0) {
		http_problem(req, 400, "BadRequest", "parameter continue is not a cursor");
		return false;
	}
	if (c.boot != l->scan.api->boot) {
		http_problem(req, 410, "Expired",
			"the cursor is of an earlier life of this daemon: begin again");
		return false;
	}
	if (c.filter != l->scan.filter.hash) {
		http_problem(req, 400, "BadRequest",
			"parameter continue belongs to a listing with another filter");
		return false;
	}
	l->scan.family = c.family;
	l->scan.entry = c.entry;
	return true;
}

static void list_flows(struct http_request *req)
{
	static const struct http_stream_ops ops = {flow_list_produce, free};
	static const char *const extra[] = {"limit", "continue", NULL};
	struct query_error err;
	struct flow_list *l;

	if (!flow_check_query(req, extra))
		return;
	l = calloc(1, sizeof(*l));
	if (l == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	jw_init(&l->w, NULL);
	if (!flow_scan_init(&l->scan, req)) {
		free(l);
		return;
	}
	if (query_uint(&req->query, "limit", 1, FLOW_LIMIT_MAX, FLOW_LIMIT_DEFAULT, &l->scan.limit,
		    &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		free(l);
		return;
	}
	if (!take_flow_cursor(l, req)) {
		free(l);
		return;
	}
	http_stream_begin(req, "application/json", HTTP_SCAN, &ops, l);
}

void api_flows(struct http_request *req)
{
	if (req->method == HTTP_DELETE)
		flows_delete(req);
	else
		list_flows(req);
}

/* --- one by id, one by tuple ----------------------------------------------------------------- */

static bool view_by_id(struct http_request *req, struct flow_view *v)
{
	struct flow_table *t = api_of(req)->deps.dp->flows;
	enum ip_family family;
	uint32_t entry, generation;

	if (flow_id_parse(req->param[0], &family, &entry, &generation) < 0) {
		http_problem(req, 400, "BadRequest",
			"a flow's id looks like 4-0001f3a9-7 (family, entry, generation)");
		return false;
	}
	if (entry >= flow_capacity(t, family) || flow_read(t, family, entry, v) < 0 ||
		v->meta.generation != generation) {
		http_problem(req, 404, "NotFound", "no such flow; it may have ended");
		return false;
	}
	return true;
}

static void send_flow(struct http_request *req, const struct flow_view *v)
{
	struct api *a = api_of(req);
	struct evbuffer *out = evbuffer_new();
	struct jw w;

	if (out == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	jw_init(&w, out);
	write_flow(a, &w, v, rim_now_ms(a->deps.rim));
	jw_finish(&w);
	evbuffer_add(out, "\n", 1);
	http_reply(req, 200, "application/json", out);
	evbuffer_free(out);
}

void api_flow(struct http_request *req)
{
	static const char *const none[] = {NULL};
	struct flow_view v;

	if (!api_check_query(req, none) || !view_by_id(req, &v))
		return;
	if (req->method != HTTP_DELETE) {
		send_flow(req, &v);
		return;
	}
	flow_delete_one(req, &v);
}

static uint32_t lookup(struct flow_table *t, enum ip_family f, const struct flow_key6 *k)
{
	struct flow_key4 k4 = {
		.sport = k->sport, .dport = k->dport, .zone = k->zone, .proto = k->proto};

	if (f == IP_V6)
		return flow_lookup6(t, k);
	memcpy(&k4.src, k->src + 12, 4);
	memcpy(&k4.dst, k->dst + 12, 4);
	return flow_lookup4(t, &k4);
}

/* A packet of the flow looks like one of its keys where it comes in, and like the mirror of the
 * other where it goes out. */
static bool view_by_tuple(
	struct flow_table *t, enum ip_family f, const struct flow_key6 *k, struct flow_view *v)
{
	struct flow_key6 mirror = flow_key6_mirror(k);
	const struct flow_key6 *tries[] = {k, &mirror};

	for (size_t i = 0; i < 2; i++) {
		uint32_t ref = lookup(t, f, tries[i]);

		if (ref != FLOW_NONE && flow_read(t, f, ref >> 1, v) == 0 &&
			flow_key6_equal(&v->key[ref & 1], tries[i]))
			return true;
	}
	return false;
}

void api_get_flow_lookup(struct http_request *req)
{
	static const char *const names[] = {
		"proto", "src", "srcPort", "dst", "dstPort", "zone", NULL};
	const char *proto = query_get(&req->query, "proto");
	const char *texts[2] = {query_get(&req->query, "src"), query_get(&req->query, "dst")};
	struct flow_key6 k = {.proto = IP_PROTO_TCP};
	uint64_t sport, dport, zone;
	struct ip_addr addr[2];
	struct query_error err;
	struct flow_view v;

	if (!api_check_query(req, names))
		return;
	for (int i = 0; i < 2; i++)
		if (texts[i] == NULL || ip_parse(texts[i], &addr[i]) < 0) {
			http_problem(req, 400, "BadRequest", "parameter %s must be an IP address",
				i == 0 ? "src" : "dst");
			return;
		}
	if (query_uint(&req->query, "srcPort", 0, UINT16_MAX, 0, &sport, &err) < 0 ||
		query_uint(&req->query, "dstPort", 0, UINT16_MAX, 0, &dport, &err) < 0 ||
		query_uint(&req->query, "zone", 0, UINT16_MAX, 0, &zone, &err) < 0) {
		http_problem(req, 400, "BadRequest", "%s", err.text);
		return;
	}
	if (proto != NULL && flow_proto_parse(proto, &k.proto) < 0) {
		http_problem(req, 400, "BadRequest",
			"parameter proto must be TCP, UDP, SCTP, ICMP, ICMPv6 or a number");
		return;
	}
	if (ip_family(&addr[0]) != ip_family(&addr[1])) {
		http_problem(req, 400, "BadRequest", "src and dst are of different families");
		return;
	}
	memcpy(k.src, addr[0].bytes, 16);
	memcpy(k.dst, addr[1].bytes, 16);
	k.sport = htons((uint16_t)sport);
	k.dport = htons((uint16_t)dport);
	k.zone = (uint16_t)zone;
	if (view_by_tuple(api_of(req)->deps.dp->flows, ip_family(&addr[0]), &k, &v))
		send_flow(req, &v);
	else
		http_problem(req, 404, "NotFound", "no flow with that tuple");
}
