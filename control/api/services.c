/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Services, their backends, and nodes, as the model holds them. API thread. */

#include <stdio.h>
#include <string.h>

#include "control/api/api_internal.h"

static const char *type_name(enum service_type t)
{
	static const char *const names[] = {
		[SERVICE_CLUSTER_IP] = "ClusterIP",
		[SERVICE_NODE_PORT] = "NodePort",
		[SERVICE_LOAD_BALANCER] = "LoadBalancer",
	};

	return names[t];
}

static const char *backend_state_text(const struct model_backend *b)
{
	if (b->terminating)
		return b->serving ? "Draining" : "Terminating";
	return b->ready ? "Ready" : "NotReady";
}

/* --- services -------------------------------------------------------------------------------- */

static void write_frontend(struct jw *w, const char *kind, const struct ip_addr *addr,
	uint16_t port, const struct model_service_port *sp)
{
	char proto[12];

	jw_object(w, NULL);
	jw_string(w, "kind", kind);
	if (addr != NULL)
		jw_ip(w, "address", addr);
	jw_int(w, "port", port);
	jw_string(w, "protocol", ip_proto_name(sp->proto, proto));
	jw_string(w, "portName", sp->name != NULL ? sp->name : "");
	jw_object_end(w);
}

static void write_frontends(struct jw *w, const struct model_service *s)
{
	const struct {
		const char *kind;
		uint32_t n;
		const struct ip_addr *at;
	} sets[] = {
		{"ClusterIP", s->n_cluster_ips, s->cluster_ips},
		{"ExternalIP", s->n_external_ips, s->external_ips},
		{"LoadBalancer", s->n_lb_vips, s->lb_vips},
	};

	jw_array(w, "frontends");
	for (uint32_t p = 0; p < s->n_ports; p++) {
		const struct model_service_port *sp = &s->ports[p];

		for (size_t k = 0; k < sizeof(sets) / sizeof(sets[0]); k++)
			for (uint32_t i = 0; i < sets[k].n; i++)
				write_frontend(w, sets[k].kind, &sets[k].at[i], sp->port, sp);
		if (sp->node_port != 0)
			write_frontend(w, "NodePort", NULL, sp->node_port, sp);
	}
	jw_array_end(w);
}

static void write_backend_counts(struct jw *w, const struct model_service *s)
{
	uint32_t ready = 0, draining = 0, local = 0, chosen = 0, total = 0;

	for (uint32_t p = 0; p < s->n_ports; p++)
		for (uint32_t i = 0; i < s->ports[p].n_backends; i++) {
			const struct model_backend *b = &s->ports[p].backends[i];

			total++;
			ready += b->ready && !b->terminating;
			draining += b->terminating;
			local += b->local;
			chosen += b->in_cluster || b->in_local;
		}
	jw_object(w, "backends");
	jw_int(w, "total", total);
	jw_int(w, "ready", ready);
	jw_int(w, "terminating", draining);
	jw_int(w, "local", local);
	jw_int(w, "chosen", chosen);
	jw_object_end(w);
}

static void render_service(struct api *a, struct jw *w, const char *key, const void *object,
	const struct model_status *status, uint64_t rv)
{
	const struct model_service *s = object;

	jw_object(w, NULL);
	jw_string(w, "kind", "Service");
	jw_string(w, "apiVersion", API_VERSION);
	api_write_metadata(w, s->ns, s->name, s->owner, rv, s->created);
	jw_object(w, "spec");
	jw_string(w, "type", type_name(s->type));
	jw_string(w, "internalTrafficPolicy", s->itp_local ? "Local" : "Cluster");
	jw_string(w, "externalTrafficPolicy", s->etp_local ? "Local" : "Cluster");
	jw_string(w, "sessionAffinity", s->affinity_seconds != 0 ? "ClientIP" : "None");
	if (s->affinity_seconds != 0)
		jw_int(w, "sessionAffinitySeconds", s->affinity_seconds);
	if (s->health_check_node_port != 0)
		jw_int(w, "healthCheckNodePort", s->health_check_node_port);
	if (s->reset_removed)
		jw_bool(w, "resetRemoved", true);
	if (s->n_source_ranges != 0) {
		jw_array(w, "sourceRanges");
		for (uint32_t i = 0; i < s->n_source_ranges; i++)
			jw_prefix(w, NULL, &s->source_ranges[i]);
		jw_array_end(w);
	}
	write_frontends(w, s);
	jw_object_end(w);
	jw_object(w, "status");
	write_backend_counts(w, s);
	api_write_conditions(w, status);
	jw_object_end(w);
	jw_object_end(w);
}

static bool key_in_namespace(const struct query *q, const char *key)
{
	const char *ns = query_get(q, "namespace");
	size_t n;

	if (ns == NULL)
		return true;
	n = strlen(ns);
	return strncmp(key, ns, n) == 0 && key[n] == '/';
}

static bool service_matches(const struct query *q, const char *key, const void *object, uint32_t i)
{
	return key_in_namespace(q, key);
}

static const char *const service_filters[] = {"namespace", NULL};

static const struct list_kind service_kind = {
	.name = "Service",
	.model = MODEL_SERVICE,
	.render = render_service,
	.filters = service_filters,
	.matches = service_matches,
};

void api_get_services(struct http_request *req)
{
	api_list(req, &service_kind);
}

void api_get_service(struct http_request *req)
{
	char key[512];

	snprintf(key, sizeof(key), "%s/%s", req->param[0], req->param[1]);
	api_get_one(req, &service_kind, key);
}

/* --- backends -------------------------------------------------------------------------------- */

static uint32_t backend_count(const void *object)
{
	const struct model_service *s = object;
	uint32_t n = 0;

	for (uint32_t p = 0; p < s->n_ports; p++)
		n += s->ports[p].n_backends;
	return n;
}

static const struct model_backend *backend_at(
	const void *object, uint32_t i, const struct model_service_port **port)
{
	const struct model_service *s = object;

	for (uint32_t p = 0; p < s->n_ports; p++) {
		if (i < s->ports[p].n_backends) {
			*port = &s->ports[p];
			return &s->ports[p].backends[i];
		}
		i -= s->ports[p].n_backends;
	}
	return NULL;
}

static void write_backend(
	struct api *a, struct jw *w, const char *key, const void *object, uint32_t i)
{
	const struct model_service_port *port = NULL;
	const struct model_backend *b = backend_at(object, i, &port);
	char proto[12];

	jw_object(w, NULL);
	jw_string(w, "kind", "Backend");
	jw_string(w, "service", key);
	jw_string(w, "portName", port->name != NULL ? port->name : "");
	jw_ip(w, "address", &b->addr);
	jw_int(w, "port", b->port);
	jw_string(w, "protocol", ip_proto_name(port->proto, proto));
	jw_string(w, "state", backend_state_text(b));
	jw_string(w, "pod", b->target);
	jw_string(w, "node", b->node);
	jw_string(w, "zone", b->zone);
	jw_bool(w, "local", b->local);
	jw_bool(w, "inClusterList", b->in_cluster);
	jw_bool(w, "inLocalList", b->in_local);
	jw_object_end(w);
}

/* "port-name protocol address port"; the port name has no spaces (it is a DNS label). */
static void backend_id(const void *object, uint32_t i, char *out, size_t size)
{
	const struct model_service_port *port = NULL;
	const struct model_backend *b = backend_at(object, i, &port);
	char addr[IP_TEXT_MAX], proto[12];

	snprintf(out, size, "%s %s %s %u", port->name != NULL ? port->name : "",
		ip_proto_name(port->proto, proto), ip_format(&b->addr, addr), b->port);
}

static void backend_gone(struct jw *w, const char *key, const char *id)
{
	char name[128] = "", proto[16] = "", addr[IP_TEXT_MAX] = "";
	unsigned port = 0;

	if (id[0] == ' ')
		sscanf(id, " %15s %45s %u", proto, addr, &port);
	else
		sscanf(id, "%127s %15s %45s %u", name, proto, addr, &port);
	jw_string(w, "service", key);
	jw_string(w, "portName", name);
	jw_string(w, "address", addr);
	jw_int(w, "port", port);
	jw_string(w, "protocol", proto);
	jw_string(w, "state", "Gone");
}

static bool backend_matches(const struct query *q, const char *key, const void *object, uint32_t i)
{
	const struct {
		const char *name;
		size_t offset;
	} texts[] = {
		{"node", offsetof(struct model_backend, node)},
		{"zone", offsetof(struct model_backend, zone)},
		{"pod", offsetof(struct model_backend, target)},
	};
	const struct model_service_port *port = NULL;
	const struct model_backend *b = backend_at(object, i, &port);
	const char *service = query_get(q, "service"), *state = query_get(q, "state");

	if (!key_in_namespace(q, key) || (service != NULL && strcmp(service, key) != 0))
		return false;
	if (state != NULL && strcmp(state, backend_state_text(b)) != 0)
		return false;
	for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
		const char *want = query_get(q, texts[t].name);
		const char *have = *(char *const *)((const char *)b + texts[t].offset);

		if (want != NULL && (have == NULL || strcmp(want, have) != 0))
			return false;
	}
	return true;
}

static const char *const backend_filters[] = {
	"namespace", "service", "state", "node", "zone", "pod", NULL};

static const struct list_kind backend_kind = {
	.name = "Backend",
	.model = MODEL_SERVICE,
	.items = backend_count,
	.item = write_backend,
	.item_id = backend_id,
	.item_gone = backend_gone,
	.filters = backend_filters,
	.matches = backend_matches,
};

void api_get_backends(struct http_request *req)
{
	api_list(req, &backend_kind);
}

/* All backends of one service are one object of the model, so this is one look. */
static void render_backend_list(struct api *a, struct jw *w, const char *key, const void *object,
	const struct model_status *status, uint64_t rv)
{
	uint32_t n = backend_count(object);

	jw_object(w, NULL);
	jw_string(w, "kind", "BackendList");
	jw_string(w, "apiVersion", API_VERSION);
	jw_array(w, "items");
	for (uint32_t i = 0; i < n; i++)
		write_backend(a, w, key, object, i);
	jw_array_end(w);
	jw_object(w, "metadata");
	jw_counter(w, "resourceVersion", rv);
	jw_object_end(w);
	jw_object_end(w);
}

static const struct list_kind service_backends_kind = {
	.name = "Service",
	.model = MODEL_SERVICE,
	.render = render_backend_list,
};

void api_get_service_backends(struct http_request *req)
{
	char key[512];

	snprintf(key, sizeof(key), "%s/%s", req->param[0], req->param[1]);
	api_get_one(req, &service_backends_kind, key);
}

/* --- nodes ----------------------------------------------------------------------------------- */

static void render_node(struct api *a, struct jw *w, const char *key, const void *object,
	const struct model_status *status, uint64_t rv)
{
	const struct model_node *n = object;

	jw_object(w, NULL);
	jw_string(w, "kind", "Node");
	jw_string(w, "apiVersion", API_VERSION);
	api_write_metadata(w, NULL, n->name, OWNER_KUBERNETES, rv, 0);
	jw_object(w, "spec");
	jw_bool(w, "self", n->is_self);
	jw_string(w, "zone", n->zone);
	jw_array(w, "podCIDRs");
	for (uint32_t i = 0; i < n->n_pod_cidrs; i++)
		jw_prefix(w, NULL, &n->pod_cidrs[i]);
	jw_array_end(w);
	jw_array(w, "internalIPs");
	for (uint32_t i = 0; i < n->n_internal_ips; i++)
		jw_ip(w, NULL, &n->internal_ips[i]);
	jw_array_end(w);
	jw_array(w, "externalIPs");
	for (uint32_t i = 0; i < n->n_external_ips; i++)
		jw_ip(w, NULL, &n->external_ips[i]);
	jw_array_end(w);
	jw_bool(w, "deleting", n->deleting);
	jw_bool(w, "toBeDeleted", n->to_be_deleted);
	jw_object_end(w);
	jw_object(w, "status");
	api_write_conditions(w, status);
	jw_object_end(w);
	jw_object_end(w);
}

static const struct list_kind node_kind = {
	.name = "Node",
	.model = MODEL_NODE,
	.render = render_node,
};

void api_get_nodes(struct http_request *req)
{
	api_list(req, &node_kind);
}
