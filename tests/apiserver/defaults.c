/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * What a real API server fills into an object that is written to it, as far as clients depend on
 * it. A field of a wrong type is left as it is: bad objects must reach the client under test.
 */
#include "standin.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	NODE_PORT_FIRST = 30000,
	NODE_PORT_COUNT = 2768,
	CLUSTER_IP_BITS = 20, /* 10.96.0.0/12 */
};

static void set_missing(json_t *obj, const char *key, json_t *value)
{
	if (json_is_object(obj) && !json_object_get(obj, key))
		json_object_set(obj, key, value);
	json_decref(value);
}

static bool is(const json_t *obj, const char *key, const char *value)
{
	return !strcmp(jstr(obj, key), value);
}

/* the map under key, made when it is missing; NULL when it is something else */
static json_t *map_in(json_t *obj, const char *key)
{
	json_t *map;

	set_missing(obj, key, json_object());
	map = json_object_get(obj, key);
	return json_is_object(map) ? map : NULL;
}

void defaults_metadata(
	struct standin *si, const struct table *t, json_t *root, const struct object *former)
{
	json_t *meta = json_object_get(root, "metadata");
	const char *name = jstr(meta, "name");
	unsigned long long serial = si->store.rv + 1;
	char text[64];
	struct tm tm;
	time_t now = time(NULL);

	if (t->res->namespaced)
		set_missing(meta, "namespace", json_string("default"));
	if (former && *former->uid) {
		json_object_set_new(meta, "uid", json_string(former->uid));
	} else {
		snprintf(text, sizeof(text), "%08x-0000-4000-8000-%012llx",
			(unsigned int)fnv1a(FNV_START, name, strlen(name)),
			serial & 0xffffffffffffull);
		json_object_set_new(meta, "uid", json_string(text));
	}
	if (former && *former->created) {
		json_object_set_new(meta, "creationTimestamp", json_string(former->created));
	} else {
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
		json_object_set_new(meta, "creationTimestamp", json_string(text));
	}
	if (!strcmp(t->res->plural, "namespaces"))
		set_missing(
			map_in(meta, "labels"), "kubernetes.io/metadata.name", json_string(name));
}

/* ---- services ---- */

static bool cluster_ip_used(const struct table *t, const char *ip)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(object_field(t->items[i], 0), ip))
			return true;
	return false;
}

static void format_cluster_ip(uint32_t host, bool v6, char *buf, size_t len)
{
	unsigned int high = host >> 16, low = host & 0xffff;

	if (!v6)
		snprintf(buf, len, "10.%u.%u.%u", 96 + (host >> 16), (host >> 8) & 255, host & 255);
	else if (high)
		snprintf(buf, len, "fd00:10:96::%x:%x", high, low);
	else
		snprintf(buf, len, "fd00:10:96::%x", low);
}

static bool host_used(const struct table *t, uint32_t host)
{
	char v4[64], v6[64];

	format_cluster_ip(host, false, v4, sizeof(v4));
	format_cluster_ip(host, true, v6, sizeof(v6));
	return cluster_ip_used(t, v4) || cluster_ip_used(t, v6);
}

/* the same Service gets the same address in every run */
static void allocate_cluster_ips(const struct table *t, const json_t *meta, json_t *spec)
{
	const char *ns = jstr(meta, "namespace"), *name = jstr(meta, "name");
	uint32_t mask = (1u << CLUSTER_IP_BITS) - 1;
	uint32_t host = (uint32_t)fnv1a(fnv1a(FNV_START, ns, strlen(ns) + 1), name, strlen(name));
	const json_t *families = json_object_get(spec, "ipFamilies");
	const char *first = json_string_value(json_array_get(families, 0));
	bool v6_first = first && !strcmp(first, "IPv6");
	bool both = json_array_size(families) > 1 ||
		is(spec, "ipFamilyPolicy", "PreferDualStack") ||
		is(spec, "ipFamilyPolicy", "RequireDualStack");
	json_t *ips = json_array();
	char text[64];

	host &= mask;
	for (uint32_t tries = 0; tries < mask && (host < 16 || host_used(t, host)); tries++)
		host = (host + 1) & mask;
	format_cluster_ip(host, v6_first, text, sizeof(text));
	json_object_set_new(spec, "clusterIP", json_string(text));
	json_array_append_new(ips, json_string(text));
	if (both) {
		format_cluster_ip(host, !v6_first, text, sizeof(text));
		json_array_append_new(ips, json_string(text));
	}
	json_object_set_new(spec, "clusterIPs", ips);
}

static void default_families(json_t *spec)
{
	const json_t *ips = json_object_get(spec, "clusterIPs");
	json_t *families = json_array();
	const json_t *ip;
	size_t i;

	json_array_foreach (ips, i, ip) {
		const char *s = json_string_value(ip);

		if (s && strcmp(s, "None"))
			json_array_append_new(
				families, json_string(strchr(s, ':') ? "IPv6" : "IPv4"));
	}
	set_missing(spec, "ipFamilyPolicy",
		json_string(json_array_size(families) > 1 ? "PreferDualStack" : "SingleStack"));
	if (!json_array_size(families))
		json_array_append_new(families, json_string("IPv4"));
	set_missing(spec, "ipFamilies", families);
}

static void default_cluster_ips(
	const struct table *t, json_t *root, json_t *spec, const struct object *former)
{
	const json_t *ips = json_object_get(spec, "clusterIPs");

	if (former && !json_object_get(spec, "clusterIP") && !ips) {
		json_t *old = object_json(former, t->res, false);
		const json_t *old_spec = json_object_get(old, "spec");

		if (!is(old_spec, "type", "ExternalName")) {
			json_object_set(spec, "clusterIP", json_object_get(old_spec, "clusterIP"));
			json_object_set(
				spec, "clusterIPs", json_object_get(old_spec, "clusterIPs"));
		}
		json_decref(old);
	}
	ips = json_object_get(spec, "clusterIPs");
	if (!ips && !*jstr(spec, "clusterIP") &&
		(!json_object_get(spec, "clusterIP") || is(spec, "clusterIP", "")))
		allocate_cluster_ips(t, json_object_get(root, "metadata"), spec);
	else if (!ips && *jstr(spec, "clusterIP"))
		json_object_set_new(spec, "clusterIPs", json_pack("[s]", jstr(spec, "clusterIP")));
	else if (json_is_string(json_array_get(ips, 0)))
		set_missing(spec, "clusterIP", json_incref(json_array_get(ips, 0)));
	default_families(spec);
}

static bool has_node_ports(const char *type)
{
	return !strcmp(type, "NodePort") || !strcmp(type, "LoadBalancer");
}

static bool node_port_used(const struct table *t, const char *key, int port)
{
	bool used = false;

	for (size_t i = 0; i < t->n && !used; i++) {
		const char *type = object_field(t->items[i], 1);
		json_t *svc, *p;
		size_t j;

		if (!has_node_ports(type) || !strcmp(t->items[i]->key, key))
			continue;
		svc = object_json(t->items[i], t->res, false);
		json_array_foreach (json_object_get(json_object_get(svc, "spec"), "ports"), j, p)
			used |= (int)jnum(p, "nodePort", 0) == port;
		json_decref(svc);
	}
	return used;
}

static bool port_in_spec(const json_t *ports, int node_port)
{
	const json_t *p;
	size_t i;

	json_array_foreach (ports, i, p) {
		if ((int)jnum(p, "nodePort", 0) == node_port)
			return true;
	}
	return false;
}

static void allocate_node_ports(const struct table *t, const json_t *root, const json_t *ports)
{
	const json_t *meta = json_object_get(root, "metadata");
	char *key = object_key(t->res, jstr(meta, "namespace"), jstr(meta, "name"));
	json_t *p;
	size_t i;

	json_array_foreach (ports, i, p) {
		uint64_t h = fnv1a(fnv1a(FNV_START, key, strlen(key)), &i, sizeof(i));
		int port, tries = 0;

		if (!json_is_object(p) || jnum(p, "nodePort", 0) != 0)
			continue;
		do {
			port = NODE_PORT_FIRST + (int)((h + (uint64_t)tries) % NODE_PORT_COUNT);
		} while (++tries < NODE_PORT_COUNT &&
			(port_in_spec(ports, port) || node_port_used(t, key, port)));
		json_object_set_new(p, "nodePort", json_integer(port));
	}
	free(key);
}

static void default_protocols(const json_t *ports)
{
	json_t *p;
	size_t i;

	json_array_foreach (ports, i, p)
		set_missing(p, "protocol", json_string("TCP"));
}

static void default_service_status(json_t *root)
{
	json_t *balancer = map_in(map_in(root, "status"), "loadBalancer");
	json_t *ingress;
	size_t i;

	json_array_foreach (json_object_get(balancer, "ingress"), i, ingress) {
		if (*jstr(ingress, "ip"))
			set_missing(ingress, "ipMode", json_string("VIP"));
	}
}

/* a Service that goes back to ClusterIP gives up its node ports */
static void release_node_ports(const json_t *ports, const struct object *former)
{
	json_t *p;
	size_t i;

	if (!former || !has_node_ports(object_field(former, 1)))
		return;
	json_array_foreach (ports, i, p)
		json_object_del(p, "nodePort");
}

static void default_service(const struct table *t, json_t *root, const struct object *former)
{
	json_t *spec = map_in(root, "spec");
	json_t *ports = json_object_get(spec, "ports");
	bool balancer, node_ports;
	json_t *p;
	size_t i;

	default_service_status(root);
	if (!spec)
		return;
	set_missing(spec, "type", json_string("ClusterIP"));
	set_missing(spec, "sessionAffinity", json_string("None"));
	default_protocols(ports);
	json_array_foreach (ports, i, p) {
		if (json_object_get(p, "port"))
			set_missing(p, "targetPort", json_incref(json_object_get(p, "port")));
	}
	if (is(spec, "sessionAffinity", "ClientIP"))
		set_missing(map_in(map_in(spec, "sessionAffinityConfig"), "clientIP"),
			"timeoutSeconds", json_integer(10800));
	if (is(spec, "type", "ExternalName"))
		return;
	set_missing(spec, "internalTrafficPolicy", json_string("Cluster"));
	default_cluster_ips(t, root, spec, former);
	balancer = is(spec, "type", "LoadBalancer");
	node_ports = has_node_ports(jstr(spec, "type"));
	if (is(spec, "type", "ClusterIP"))
		release_node_ports(ports, former);
	if (balancer)
		set_missing(spec, "allocateLoadBalancerNodePorts", json_true());
	if (node_ports)
		set_missing(spec, "externalTrafficPolicy", json_string("Cluster"));
	if (node_ports && !json_is_false(json_object_get(spec, "allocateLoadBalancerNodePorts")))
		allocate_node_ports(t, root, ports);
}

/* ---- the others ---- */

static void default_slice(json_t *root)
{
	json_t *p;
	size_t i;

	json_array_foreach (json_object_get(root, "ports"), i, p) {
		set_missing(p, "name", json_string(""));
		set_missing(p, "protocol", json_string("TCP"));
	}
}

static void default_endpoints(json_t *root)
{
	const json_t *subset;
	size_t i;

	json_array_foreach (json_object_get(root, "subsets"), i, subset)
		default_protocols(json_object_get(subset, "ports"));
}

static void default_policy_rules(const json_t *rules)
{
	const json_t *rule;
	size_t i;

	json_array_foreach (rules, i, rule)
		default_protocols(json_object_get(rule, "ports"));
}

static void default_policy(json_t *root)
{
	json_t *spec = map_in(root, "spec");
	json_t *types = json_pack("[s]", "Ingress");

	if (json_array_size(json_object_get(spec, "egress")))
		json_array_append_new(types, json_string("Egress"));
	set_missing(spec, "policyTypes", types);
	default_policy_rules(json_object_get(spec, "ingress"));
	default_policy_rules(json_object_get(spec, "egress"));
}

void defaults_spec(const struct table *t, json_t *root, const struct object *former)
{
	const char *plural = t->res->plural;

	if (!strcmp(plural, "services"))
		default_service(t, root, former);
	else if (!strcmp(plural, "endpointslices"))
		default_slice(root);
	else if (!strcmp(plural, "endpoints"))
		default_endpoints(root);
	else if (!strcmp(plural, "networkpolicies"))
		default_policy(root);
	else if (!strcmp(plural, "namespaces"))
		set_missing(map_in(root, "status"), "phase", json_string("Active"));
	else if (!strcmp(plural, "pods"))
		set_missing(map_in(root, "status"), "phase", json_string("Pending"));
}
