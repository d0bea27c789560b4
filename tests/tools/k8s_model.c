/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The remembering model of k8s_model.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/strmap.h"
#include "tools/k8s_model.h"

static const char *const source_names[SOURCES] = {"services", "endpoints", "node", "serviceCIDRs"};

struct kept_service {
	struct model_service *s;
	char key[512];
};

struct model {
	struct strmap services;
	json_t *cidrs, *faults, *sources;
	struct strmap node_objects;
	bool awaited[SOURCES], complete[SOURCES];
	struct k8s_model_counts counts;
	void (*watch)(void *arg, const char *key, const struct model_service *s);
	void *watch_arg;
};

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	strmap_init(&m->services, 1);
	strmap_init(&m->node_objects, 2);
	m->cidrs = json_array();
	m->faults = json_object();
	m->sources = json_object();
	m->counts.services_min = UINT32_MAX;
	return m;
}

void model_free(struct model *m)
{
	struct kept_service *kept;
	struct model_node *node;
	uint32_t cursor = 0;

	while ((kept = strmap_next(&m->services, &cursor)) != NULL) {
		model_service_free(kept->s);
		free(kept);
	}
	cursor = 0;
	while ((node = strmap_next(&m->node_objects, &cursor)) != NULL)
		model_node_free(node);
	strmap_fini(&m->services);
	strmap_fini(&m->node_objects);
	json_decref(m->cidrs);
	json_decref(m->faults);
	json_decref(m->sources);
	free(m);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *addrs_json(const struct ip_addr *addrs, uint32_t n)
{
	json_t *list = json_array();
	char text[IP_TEXT_MAX];

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(ip_format(&addrs[i], text)));
	return list;
}

static json_t *prefixes_json(const struct ip_prefix *prefixes, uint32_t n)
{
	json_t *list = json_array();
	char text[IP_PREFIX_TEXT_MAX];

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(ip_prefix_format(&prefixes[i], text)));
	return list;
}

static json_t *backend_json(const struct model_backend *b)
{
	char text[IP_TEXT_MAX];

	return json_pack("{s:s, s:i, s:b, s:b, s:b, s:b, s:b, s:b, s:s?, s:s?, s:s?}", "addr",
		ip_format(&b->addr, text), "port", b->port, "ready", b->ready, "serving",
		b->serving, "terminating", b->terminating, "local", b->local, "inCluster",
		b->in_cluster, "inLocal", b->in_local, "node", b->node, "zone", b->zone, "target",
		b->target);
}

static json_t *port_json(const struct model_service_port *p)
{
	json_t *backends = json_array();
	char proto[12];

	for (uint32_t i = 0; i < p->n_backends; i++)
		json_array_append_new(backends, backend_json(&p->backends[i]));
	return json_pack("{s:s, s:s, s:i, s:i, s:[b,b], s:o}", "name", p->name, "protocol",
		ip_proto_name(p->proto, proto), "port", p->port, "nodePort", p->node_port, "hasAny",
		p->has_any[IP_V4], p->has_any[IP_V6], "backends", backends);
}

static json_t *service_json(const struct model_service *s)
{
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer"};
	json_t *ports = json_array();

	for (uint32_t i = 0; i < s->n_ports; i++)
		json_array_append_new(ports, port_json(&s->ports[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:I, s:i, s:b, s:I, s:I, s:o}",
		"type", types[s->type], "clusterIPs", addrs_json(s->cluster_ips, s->n_cluster_ips),
		"externalIPs", addrs_json(s->external_ips, s->n_external_ips), "vips",
		addrs_json(s->lb_vips, s->n_lb_vips), "sourceRanges",
		prefixes_json(s->source_ranges, s->n_source_ranges), "etpLocal", s->etp_local,
		"itpLocal", s->itp_local, "affinitySeconds", (json_int_t)s->affinity_seconds,
		"healthCheckNodePort", s->health_check_node_port, "resetRemoved", s->reset_removed,
		"created", (json_int_t)s->created, "triggerTime", (json_int_t)s->trigger_time_ns,
		"ports", ports);
}

static json_t *node_json(const struct model_node *n)
{
	return json_pack("{s:b, s:o, s:o, s:o, s:s?, s:b, s:b}", "self", n->is_self, "internalIPs",
		addrs_json(n->internal_ips, n->n_internal_ips), "externalIPs",
		addrs_json(n->external_ips, n->n_external_ips), "podCIDRs",
		prefixes_json(n->pod_cidrs, n->n_pod_cidrs), "zone", n->zone, "deleting",
		n->deleting, "toBeDeleted", n->to_be_deleted);
}

json_t *k8s_model_json(const struct model *m)
{
	json_t *services = json_object(), *nodes = json_object();
	json_t *awaited = json_array(), *complete = json_array();
	const struct kept_service *kept;
	const struct model_node *node;
	uint32_t cursor = 0;

	while ((kept = strmap_next(&m->services, &cursor)) != NULL)
		json_object_set_new(services, kept->key, service_json(kept->s));
	cursor = 0;
	while ((node = strmap_next(&m->node_objects, &cursor)) != NULL)
		json_object_set_new(nodes, node->name, node_json(node));
	for (int i = 0; i < SOURCES; i++) {
		if (m->awaited[i])
			json_array_append_new(awaited, json_string(source_names[i]));
		if (m->complete[i])
			json_array_append_new(complete, json_string(source_names[i]));
	}
	return json_pack("{s:o, s:o, s:O, s:O, s:O, s:o, s:o}", "services", services, "nodes",
		nodes, "cidrs", m->cidrs, "faults", m->faults, "sources", m->sources, "awaited",
		awaited, "complete", complete);
}

/* --- writers --------------------------------------------------------------------------------- */

static void note_services(struct model *m)
{
	for (int i = 0; i < SOURCES; i++) {
		if (m->awaited[i] && !m->complete[i])
			return;
	}
	if (m->services.count < m->counts.services_min)
		m->counts.services_min = m->services.count;
}

int model_service_set(struct model *m, struct model_service *s)
{
	struct kept_service *kept, *fresh;
	char key[512];

	m->counts.service_sets++;
	snprintf(key, sizeof(key), "%s/%s", s->ns, s->name);
	kept = strmap_get(&m->services, key);
	if (kept != NULL) {
		if (model_service_equal(kept->s, s)) {
			model_service_free(s);
			return 0;
		}
		model_service_free(kept->s);
		kept->s = s;
	} else {
		fresh = calloc(1, sizeof(*fresh));
		if (fresh == NULL)
			abort();
		fresh->s = s;
		snprintf(fresh->key, sizeof(fresh->key), "%s", key);
		strmap_put(&m->services, fresh->key, fresh, NULL);
	}
	m->counts.service_changes++;
	note_services(m);
	if (m->watch != NULL)
		m->watch(m->watch_arg, key, s);
	return 0;
}

int model_service_remove(struct model *m, const char *ns, const char *name, enum model_owner by)
{
	struct kept_service *kept;
	char key[512];

	snprintf(key, sizeof(key), "%s/%s", ns, name);
	kept = strmap_del(&m->services, key);
	if (kept == NULL)
		return -ENOENT;
	m->counts.service_removes++;
	note_services(m);
	if (m->watch != NULL)
		m->watch(m->watch_arg, key, NULL);
	model_service_free(kept->s);
	free(kept);
	return 0;
}

int model_node_set(struct model *m, struct model_node *n)
{
	struct model_node *old = strmap_get(&m->node_objects, n->name);
	json_t *x = node_json(n), *y = old != NULL ? node_json(old) : NULL;

	if (y == NULL || !json_equal(x, y))
		m->counts.node_changes++;
	json_decref(x);
	json_decref(y);
	strmap_put(&m->node_objects, n->name, n, NULL);
	if (old != NULL)
		model_node_free(old);
	return 0;
}

int model_node_remove(struct model *m, const char *name)
{
	struct model_node *old = strmap_del(&m->node_objects, name);

	if (old == NULL)
		return -ENOENT;
	m->counts.node_removes++;
	model_node_free(old);
	return 0;
}

int model_service_cidrs_set(struct model *m, const struct ip_prefix *cidrs, uint32_t n)
{
	m->counts.cidr_sets++;
	json_decref(m->cidrs);
	m->cidrs = prefixes_json(cidrs, n);
	return 0;
}

void model_source_await(struct model *m, enum model_source_id id)
{
	m->awaited[id] = true;
}

void model_source_complete(struct model *m, enum model_source_id id)
{
	m->complete[id] = true;
	note_services(m);
}

void model_source_report(
	struct model *m, enum model_source_id id, const struct model_source_status *st)
{
	json_object_set_new(m->sources, source_names[id],
		json_pack("{s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path",
			st->path, "phase", st->phase, "rv", st->rv, "lastError", st->last_error,
			"lists", (json_int_t)st->lists, "watches", (json_int_t)st->watches,
			"events", (json_int_t)st->events, "bookmarks", (json_int_t)st->bookmarks,
			"errors", (json_int_t)st->errors, "unknownEvents",
			(json_int_t)st->unknown_events, "objects", (json_int_t)st->objects));
}

void model_refuse(struct model *m, const char *kind, const char *ns, const char *name,
	const char *field, const char *reason)
{
	char id[640];
	json_t *object;

	snprintf(id, sizeof(id), "%s %s%s%s", kind, ns, ns[0] != '\0' ? "/" : "", name);
	if (field == NULL) {
		json_object_del(m->faults, id);
		return;
	}
	m->counts.refusals++;
	object = json_object_get(m->faults, id);
	if (object == NULL) {
		json_object_set_new(m->faults, id, json_object());
		object = json_object_get(m->faults, id);
	}
	json_object_set_new(object, field, json_string(reason));
}

/* --- readers --------------------------------------------------------------------------------- */

const struct model_service *k8s_model_service(const struct model *m, const char *key)
{
	const struct kept_service *kept = strmap_get(&m->services, key);

	return kept != NULL ? kept->s : NULL;
}

const struct model_node *k8s_model_node(const struct model *m, const char *name)
{
	return strmap_get(&m->node_objects, name);
}

uint32_t k8s_model_services(const struct model *m)
{
	return m->services.count;
}

bool k8s_model_complete(const struct model *m, enum model_source_id id)
{
	return m->complete[id];
}

const char *k8s_model_fault(const struct model *m, const char *object, const char *field)
{
	return json_string_value(json_object_get(json_object_get(m->faults, object), field));
}

struct k8s_model_counts k8s_model_counts(const struct model *m)
{
	return m->counts;
}

void k8s_model_watch(struct model *m,
	void (*fn)(void *arg, const char *key, const struct model_service *s), void *arg)
{
	m->watch = fn;
	m->watch_arg = arg;
}
