/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The real decoder, selection, model, reconciler and pipelines behind one line of JSON a command,
 * for tests that compare them with a model. No network, no EAL, one thread, and time stands still
 * unless a packet moves it.
 *
 *	{"new": "YAML of the configuration", "node": "NAME"}        a switch without objects
 *	{"set": [object…], "delete": [{"kind", "ns", "name"}…], "packets": [packet…]}
 *
 * A packet is {"in": vport, "proto", "src", "dst", "sport", "dport"} and may hold "flags" (TCP, as
 * "S") and "advance" (milliseconds that pass before it). Each command is answered by one line;
 * packets by what came out of the switch: {"out", "proto", "src", …}, {"drop": reason} or, for an
 * ICMP error, {"out", "type", "code", "about": {…}}. */

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/config.h"
#include "control/model.h"
#include "control/neighbours.h"
#include "control/reconcile.h"
#include "control/retire.h"
#include "core/spsc.h"
#include "k8s-sync/sync_int.h"
#include "packet/bench.h"
#include "packet/text.h"

#define FLOWS     4096
#define BUCKETS   4096
#define PACKET_MS 20 /* between two packets: refills what limits resets and errors */

struct lab {
	struct bench bench;
	struct event_base *base;
	struct config *config;
	struct model *model;
	struct retire *retire;
	struct neighbours *neighbours;
	struct reconciler *reconciler;
	struct k8s_sync *sync;
	uint64_t seen[DROP_REASONS];
	bool told; /* the first list is complete */
};

/* --- what the reconciler needs ------------------------------------------------------------------
 */

static int vport_open(
	void *arg, const struct model_vport *want, struct vport *v, char *why, size_t size)
{
	if (v->mtu == 0)
		v->mtu = 1500;
	return 0;
}

static int vport_start(void *arg, const struct vport *v, char *why, size_t size)
{
	return 0;
}

static void vport_stop(void *arg, uint16_t id)
{
}

static uint64_t clock_ns(void *arg)
{
	struct lab *lab = arg;

	return (uint64_t)lab->bench.w->now_ms * 1000000;
}

/* Whoever is asked for answers at once. */
static int neighbour_send(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len)
{
	struct lab *lab = arg;
	struct worker_event e = {.kind = EVENT_NEIGHBOUR, .vport = vport, .solicited = true};
	struct text_packet p;
	char err[200];

	if (text_read(frame, len, &p, err, sizeof(err)) < 0)
		return -EINVAL;
	if ((p.kind == TEXT_ARP_REQUEST || p.kind == TEXT_SOLICIT) && !ip_equal(&p.src, &p.dst)) {
		e.addr = p.dst;
		memcpy(e.mac, "\x02\x00\x00\x00\x77", 5);
		e.mac[5] = p.dst.bytes[15];
		spsc_put(lab->bench.w->events, &e);
	}
	text_free(&p);
	return 0;
}

static void hosts_changed(void *arg)
{
	struct lab *lab = arg;

	if (lab->reconciler != NULL)
		reconcile_hosts_changed(lab->reconciler);
}

/* --- the life of a switch ----------------------------------------------------------------------
 */

static void lab_free(struct lab *lab)
{
	if (lab == NULL)
		return;
	k8s_sync_free(lab->sync);
	bench_stop(&lab->bench);
	if (lab->reconciler != NULL)
		reconcile_fini(lab->reconciler);
	if (lab->neighbours != NULL)
		neighbours_fini(lab->neighbours);
	if (lab->retire != NULL)
		retire_fini(lab->retire);
	model_free(lab->model);
	bench_fini(&lab->bench);
	config_free(lab->config);
	event_base_free(lab->base);
	free(lab);
}

static int lab_sync(struct lab *lab, const char *node)
{
	struct k8s_config k8s;

	k8s_config_defaults(&k8s);
	k8s.socket = "/nowhere"; /* never started: objects come by hand */
	k8s.node_name = node;
	k8s.endpoints = K8S_ENDPOINTS_SLICES;
	k8s.service_proxy_name = lab->config->kubernetes.service_proxy_name;
	k8s.external_ips = lab->config->kubernetes.external_ips;
	return k8s_sync_new(lab->base, &k8s, lab->model, &lab->sync);
}

static int lab_parts(struct lab *lab)
{
	const struct reconcile_io io = {
		.arg = lab,
		.vport_open = vport_open,
		.vport_start = vport_start,
		.vport_stop = vport_stop,
		.vport_close = vport_stop,
		.clock_ns = clock_ns,
	};
	const struct neighbours_config nb = {
		.dp = &lab->bench.dp,
		.send = neighbour_send,
		.hosts_changed = hosts_changed,
		.arg = lab,
	};
	struct neighbours_config filled;
	int rc = retire_init(&lab->bench.dp.grace, &lab->retire);

	if (rc < 0)
		return rc;
	filled = nb;
	filled.retire = lab->retire;
	rc = neighbours_init(&filled, &lab->neighbours);
	if (rc < 0)
		return rc;
	return reconcile_init(&lab->bench.dp, lab->model, lab->neighbours, lab->retire, lab->config,
		&io, &lab->reconciler);
}

static int lab_new(const char *yaml, const char *node, struct lab **out, char **why)
{
	struct config_errors errors = {0};
	struct lab *lab = calloc(1, sizeof(*lab));
	int rc;

	if (lab == NULL)
		return -ENOMEM;
	rc = bench_init(&lab->bench, FLOWS, FLOWS, BUCKETS);
	if (rc < 0) {
		free(lab);
		return rc;
	}
	lab->base = event_base_new();
	lab->model = model_new();
	rc = config_load_text("harness", yaml, strlen(yaml), &lab->config, &errors);
	if (rc < 0)
		*why = errors.text != NULL ? strdup(errors.text) : NULL;
	config_errors_fini(&errors);
	if (rc == 0)
		rc = config_apply_model(lab->config, lab->model);
	if (rc == 0)
		rc = lab_parts(lab);
	if (rc == 0)
		rc = lab_sync(lab, node);
	if (rc < 0) {
		lab_free(lab);
		return rc;
	}
	*out = lab;
	return 0;
}

/* Everything that control would do until nothing is left to do. */
static void settle(struct lab *lab)
{
	for (int round = 0; round < 6; round++) {
		event_base_loop(lab->base, EVLOOP_NONBLOCK);
		for (int i = 0; reconcile_step(lab->reconciler) && i < 10000; i++)
			bench_loop(&lab->bench);
		neighbours_poll(lab->neighbours, lab->bench.w->now_ms);
		bench_loop(&lab->bench);
		retire_poll(lab->retire);
	}
}

/* --- objects ------------------------------------------------------------------------------------
 */

static const struct {
	const char *kind;
	enum sync_resource resource;
	const struct reflector_ops *ops;
} kinds[] = {
	{"Service", SYNC_SERVICES, &sync_service_ops},
	{"EndpointSlice", SYNC_SLICES, &sync_slice_ops},
	{"Node", SYNC_NODES, &sync_node_ops},
	{"ServiceCIDR", SYNC_CIDRS, &sync_cidrs_ops},
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void object_key(const char *ns, const char *name, char *key, size_t size)
{
	snprintf(key, size, "%s%s%s", ns, ns[0] != '\0' ? "/" : "", name);
}

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static void object_set(struct lab *lab, const json_t *object)
{
	const json_t *meta = json_object_get(object, "metadata");
	const char *ns = member(meta, "namespace"), *name = member(meta, "name");
	char *text = json_dumps(object, JSON_COMPACT);
	struct jv_doc doc = {0};
	const struct jv *v = text != NULL ? jv_parse(&doc, text, strlen(text), NULL) : NULL;
	char key[600];

	object_key(ns, name, key, sizeof(key));
	for (size_t i = 0; v != NULL && i < N_KINDS; i++) {
		struct sync_source *source = &lab->sync->sources[kinds[i].resource];
		void *decoded;

		if (strcmp(kinds[i].kind, member(object, "kind")) != 0)
			continue;
		decoded = kinds[i].ops->decode(source, ns, name, v);
		if (decoded != NULL)
			kinds[i].ops->upsert(source, key, decoded);
	}
	jv_doc_fini(&doc);
	free(text);
}

static void object_delete(struct lab *lab, const json_t *id)
{
	char key[600];

	object_key(member(id, "ns"), member(id, "name"), key, sizeof(key));
	for (size_t i = 0; i < N_KINDS; i++)
		if (strcmp(kinds[i].kind, member(id, "kind")) == 0)
			kinds[i].ops->remove(&lab->sync->sources[kinds[i].resource], key);
}

static void objects_apply(struct lab *lab, const json_t *command)
{
	size_t i;
	json_t *v;

	json_array_foreach (json_object_get(command, "delete"), i, v)
		object_delete(lab, v);
	json_array_foreach (json_object_get(command, "set"), i, v)
		object_set(lab, v);
	for (size_t k = 0; !lab->told && k < N_KINDS; k++)
		kinds[k].ops->complete(&lab->sync->sources[kinds[k].resource]);
	lab->told = true;
	settle(lab);
}

/* --- packets ------------------------------------------------------------------------------------
 */

static const struct vport *vport_named(struct lab *lab, const char *name)
{
	const struct vport_table *t = atomic_load(&lab->bench.dp.vports);

	for (uint32_t i = 1; i < VPORTS_MAX; i++)
		if (t->at[i] != NULL && strcmp(t->at[i]->name, name) == 0)
			return t->at[i];
	return NULL;
}

static json_t *packet_json(const struct text_packet *p)
{
	char src[IP_TEXT_MAX], dst[IP_TEXT_MAX], name[12];
	json_t *j = json_object();

	json_object_set_new(j, "proto", json_string(ip_proto_name(p->proto, name)));
	json_object_set_new(j, "src", json_string(ip_format(&p->src, src)));
	json_object_set_new(j, "dst", json_string(ip_format(&p->dst, dst)));
	if (p->kind == TEXT_ERROR) {
		json_object_set_new(j, "type", json_integer(p->type));
		json_object_set_new(j, "code", json_integer(p->code));
		if (p->about != NULL)
			json_object_set_new(j, "about", packet_json(p->about));
		return j;
	}
	json_object_set_new(j, "sport", json_integer(p->sport));
	json_object_set_new(j, "dport", json_integer(p->dport));
	if (p->kind == TEXT_TCP)
		json_object_set_new(j, "flags", json_integer(p->flags));
	if (p->kind == TEXT_ECHO_REPLY)
		json_object_set_new(j, "reply", json_true());
	return j;
}

static json_t *output_json(struct lab *lab, const struct bench_packet *out)
{
	const struct vport_table *t = atomic_load(&lab->bench.dp.vports);
	const struct vport *v = t->at[out->vport];
	struct text_packet p;
	char err[200];
	json_t *j;

	if (text_read(out->data, out->len, &p, err, sizeof(err)) < 0)
		return json_pack("{s:s}", "broken", err);
	j = packet_json(&p);
	json_object_set_new(j, "out", json_string(v != NULL ? v->name : "?"));
	text_free(&p);
	return j;
}

/* Every output, and every reason that counted. */
static json_t *collect(struct lab *lab)
{
	struct bench *t = &lab->bench;
	json_t *outcome = json_object(), *outputs = json_array();

	for (uint32_t i = 0; i < t->n_out; i++) {
		json_array_append_new(outputs, output_json(lab, &t->out[i]));
		bench_packet_free(t, &t->out[i]);
	}
	t->n_out = 0;
	for (int d = 0; d < DROP_REASONS; d++) {
		if (t->w->counters.drops[d] != lab->seen[d])
			json_object_set_new(outcome, "drop", json_string(drop_reasons[d].name));
		lab->seen[d] = t->w->counters.drops[d];
	}
	if (json_array_size(outputs) == 1)
		json_object_update(outcome, json_array_get(outputs, 0));
	else if (json_array_size(outputs) > 1)
		json_object_set(outcome, "outputs", outputs);
	json_decref(outputs);
	return outcome;
}

static uint8_t tcp_flags(const char *text)
{
	uint8_t flags = 0;

	for (; *text != '\0'; text++)
		flags |= *text == 'F' ? 1 : *text == 'S' ? 2 : *text == 'R' ? 4 : 16;
	return flags;
}

static int packet_read(const json_t *j, struct text_packet *p)
{
	const char *flags = json_string_value(json_object_get(j, "flags"));
	const char *proto = member(j, "proto");

	memset(p, 0, sizeof(*p));
	if (ip_parse(member(j, "src"), &p->src) < 0 || ip_parse(member(j, "dst"), &p->dst) < 0)
		return -EINVAL;
	p->proto = ip_proto_parse(proto);
	p->kind = p->proto == IP_PROTO_TCP ? TEXT_TCP
		: p->proto == IP_PROTO_UDP ? TEXT_UDP
					   : TEXT_SCTP;
	if (strcmp(proto, "ICMP") == 0) {
		p->kind = TEXT_ECHO;
		p->proto = ip_family(&p->src) == IP_V4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6;
	}
	p->sport = (uint16_t)json_integer_value(json_object_get(j, "sport"));
	p->dport = (uint16_t)json_integer_value(json_object_get(j, "dport"));
	if (p->kind == TEXT_ECHO)
		p->dport = p->sport;
	p->flags = tcp_flags(flags != NULL ? flags : "S");
	p->ttl = 64;
	return 0;
}

static json_t *packet_run(struct lab *lab, const json_t *j)
{
	const struct vport *v = vport_named(lab, member(j, "in"));
	json_int_t advance = json_integer_value(json_object_get(j, "advance"));
	const uint8_t *at[1];
	uint8_t frame[2048];
	struct text_packet p;
	json_t *outcome;
	uint16_t len;
	char why[200];

	if (v == NULL || packet_read(j, &p) < 0)
		return json_pack("{s:s}", "broken", v == NULL ? "no such vport" : "address");
	memcpy(p.dmac, v->mac, 6);
	memcpy(p.smac, v->peer_mac_known ? v->peer_mac : (const uint8_t *)"\x02\0\0\0\x77\x01", 6);
	len = text_build(&p, frame, sizeof(frame));
	at[0] = frame;
	lab->bench.w->now_ms += (uint32_t)(advance > 0 ? advance : PACKET_MS);
	bench_loop(&lab->bench);
	bench_receive(&lab->bench, v->id, at, &len, 1);
	/* A neighbour nobody knew: the packet is held until it answers. */
	if (lab->bench.w->held_count != 0) {
		settle(lab);
		lab->bench.w->now_ms++; /* what is held is tried again once a millisecond */
		bench_loop(&lab->bench);
	}
	outcome = collect(lab);
	json_object_set_new(outcome, "now", json_integer(lab->bench.w->now_ms));
	if (!bench_balanced(&lab->bench, why, sizeof(why)))
		json_object_set_new(outcome, "broken", json_string(why));
	return outcome;
}

/* --- commands -----------------------------------------------------------------------------------
 */

static json_t *state_json(struct lab *lab)
{
	struct reconcile_stats st;

	reconcile_stats(lab->reconciler, &st);
	return json_pack("{s:b, s:i, s:i, s:I, s:i, s:i}", "ready", st.ready, "frontends",
		st.frontends, "backends", st.backends, "errors", (json_int_t)st.errors, "conflicts",
		st.conflicts, "pending", st.pending);
}

static json_t *run(struct lab **lab, const json_t *command)
{
	const char *yaml = json_string_value(json_object_get(command, "new"));
	json_t *answer = json_object(), *outcomes, *v;
	size_t i;

	if (yaml != NULL) {
		char *why = NULL;
		int rc;

		lab_free(*lab);
		*lab = NULL;
		rc = lab_new(yaml, member(command, "node"), lab, &why);
		if (rc < 0)
			json_object_set_new(
				answer, "error", json_string(why != NULL ? why : strerror(-rc)));
		free(why);
		return answer;
	}
	if (*lab == NULL) {
		json_object_set_new(answer, "error", json_string("no switch"));
		return answer;
	}
	if (json_object_get(command, "set") != NULL || json_object_get(command, "delete") != NULL) {
		objects_apply(*lab, command);
		json_object_set_new(answer, "state", state_json(*lab));
	}
	outcomes = json_array();
	json_array_foreach (json_object_get(command, "packets"), i, v)
		json_array_append_new(outcomes, packet_run(*lab, v));
	json_object_set_new(answer, "packets", outcomes);
	return answer;
}

int main(void)
{
	struct lab *lab = NULL;
	char *line = NULL;
	size_t room = 0;

	log_set_level(NULL, "error");
	while (getline(&line, &room, stdin) > 0) {
		json_error_t error;
		json_t *command = json_loads(line, 0, &error), *answer;

		answer = command != NULL ? run(&lab, command)
					 : json_pack("{s:s}", "error", error.text);
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(answer);
		json_decref(command);
	}
	lab_free(lab);
	free(line);
	return 0;
}
