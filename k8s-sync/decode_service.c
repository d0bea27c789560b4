/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Decodes a Service. Data, not the type, decides what is served: node ports exist where nodePort
 * is set, load-balancer addresses come from the status. Pure functions; see decode.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/decode_util.h"

#define PROXY_NAME_LABEL "service.kubernetes.io/service-proxy-name"
#define RESET_ANNOTATION "sluice.io/reset-removed-endpoints"
#define AFFINITY_DEFAULT 10800 /* the API's default, seconds */
#define AFFINITY_MAX     86400

struct decoding {
	const struct k8s_decode_config *config;
	struct k8s_service *out;
	struct model_service *m;
	const struct jv *spec;
	bool families[IP_FAMILIES]; /* with a ClusterIP */
	bool no_memory;
};

void k8s_service_free(struct k8s_service *service)
{
	if (service == NULL)
		return;
	k8s_faults_free(service->faults);
	if (service->spec != NULL)
		model_service_free(service->spec);
	free(service);
}

/* Room for one more element behind the n there are, or NULL. */
static void *more(struct decoding *d, void **list, uint32_t n, size_t size)
{
	void *grown = reallocarray(*list, (size_t)n + 1, size);

	if (grown == NULL) {
		d->no_memory = true;
		return NULL;
	}
	*list = grown;
	return (char *)grown + n * size;
}

static void add_addr(
	struct decoding *d, struct ip_addr **list, uint32_t *n, const struct ip_addr *addr)
{
	struct ip_addr *slot;

	for (uint32_t i = 0; i < *n; i++) {
		if (ip_equal(&(*list)[i], addr))
			return;
	}
	slot = more(d, (void **)list, *n, sizeof(*slot));
	if (slot != NULL) {
		*slot = *addr;
		(*n)++;
	}
}

static void cluster_ip(struct decoding *d, const char *text, const char *family, const char *path)
{
	struct k8s_faults **faults = &d->out->faults;
	struct ip_addr addr;
	const char *reason = k8s_unicast(text, &addr);

	if (reason == NULL && family != NULL &&
		strcmp(family, ip_family(&addr) == IP_V4 ? "IPv4" : "IPv6") != 0)
		reason = "not of the family in spec.ipFamilies";
	if (reason == NULL && d->families[ip_family(&addr)])
		reason = "a second address of its family";
	if (reason != NULL) {
		k8s_fault(faults, reason, "%s", path);
		return;
	}
	d->families[ip_family(&addr)] = true;
	add_addr(d, &d->m->cluster_ips, &d->m->n_cluster_ips, &addr);
}

/* clusterIPs and ipFamilies are parallel; old servers have clusterIP alone. */
static void cluster_ips(struct decoding *d, const char *single)
{
	static const char *const paths[] = {"spec.clusterIPs[0]", "spec.clusterIPs[1]"};
	struct k8s_faults **faults = &d->out->faults;
	const struct jv *ips = k8s_array(faults, d->spec, "clusterIPs", "spec.clusterIPs");
	const struct jv *families = k8s_array(faults, d->spec, "ipFamilies", "spec.ipFamilies");
	const struct jv *value;
	size_t i;

	if (jv_count(ips) == 0 || jv_count(families) == 0) {
		cluster_ip(d, single, NULL, "spec.clusterIP");
		return;
	}
	jv_foreach (ips, i, value) {
		const char *text, *family;

		if (i >= 2) {
			k8s_fault(faults, "more than two", "spec.clusterIPs");
			break;
		}
		text = k8s_text(faults, value, "spec.clusterIPs[%zu]", i);
		family = k8s_text(faults, jv_at(families, i), "spec.ipFamilies[%zu]", i);
		if (text != NULL && family != NULL)
			cluster_ip(d, text, family, paths[i]);
	}
}

static bool duplicate_port(
	struct decoding *d, const char *name, uint8_t proto, uint16_t port, size_t i)
{
	for (uint32_t j = 0; j < d->m->n_ports; j++) {
		const struct model_service_port *other = &d->m->ports[j];

		if (other->proto == proto && other->port == port) {
			k8s_fault(&d->out->faults, "a second port of this number and protocol",
				"spec.ports[%zu].port", i);
			return true;
		}
		if (strcmp(other->name, name) == 0) {
			k8s_fault(&d->out->faults, "a second port of this name",
				"spec.ports[%zu].name", i);
			return true;
		}
	}
	return false;
}

static uint16_t node_port(struct decoding *d, const struct jv *entry, uint8_t proto, size_t i)
{
	int64_t value = 0;

	if (k8s_int(&d->out->faults, entry, "nodePort", 0, 65535, &value,
		    "spec.ports[%zu].nodePort", i) != 1 ||
		value == 0)
		return 0;
	for (uint32_t j = 0; j < d->m->n_ports; j++) {
		if (d->m->ports[j].node_port == value && d->m->ports[j].proto == proto) {
			k8s_fault(&d->out->faults, "a second node port of this number and protocol",
				"spec.ports[%zu].nodePort", i);
			return 0;
		}
	}
	return (uint16_t)value;
}

static void port(struct decoding *d, const struct jv *entry, size_t i)
{
	struct k8s_faults **faults = &d->out->faults;
	const char *protocol, *name;
	struct model_service_port *slot;
	uint32_t before = *faults != NULL ? (*faults)->n : 0;
	uint8_t proto = IP_PROTO_TCP;
	int64_t number = 0;

	if (!jv_is(entry, JV_OBJECT)) {
		k8s_fault(faults, "not an object", "spec.ports[%zu]", i);
		return;
	}
	protocol = k8s_string(faults, entry, "protocol", "spec.ports[%zu].protocol", i);
	name = k8s_string(faults, entry, "name", "spec.ports[%zu].name", i);
	if (k8s_int(faults, entry, "port", 1, 65535, &number, "spec.ports[%zu].port", i) == 0)
		k8s_fault(faults, "missing", "spec.ports[%zu].port", i);
	if (protocol != NULL) {
		proto = ip_proto_parse(protocol);
		if (proto != IP_PROTO_TCP && proto != IP_PROTO_UDP && proto != IP_PROTO_SCTP)
			k8s_fault(faults, "not TCP, UDP or SCTP", "spec.ports[%zu].protocol", i);
	}
	if (name != NULL && strlen(name) > 63)
		k8s_fault(faults, "longer than 63", "spec.ports[%zu].name", i);
	if (name == NULL)
		name = "";
	if ((*faults != NULL ? (*faults)->n : 0) != before ||
		duplicate_port(d, name, proto, (uint16_t)number, i))
		return;
	slot = more(d, (void **)&d->m->ports, d->m->n_ports, sizeof(*slot));
	if (slot == NULL)
		return;
	*slot = (struct model_service_port){.proto = proto, .port = (uint16_t)number};
	slot->node_port = node_port(d, entry, proto, i);
	slot->name = strdup(name);
	d->no_memory |= slot->name == NULL;
	d->m->n_ports++;
}

static void ports(struct decoding *d)
{
	const struct jv *list = k8s_array(&d->out->faults, d->spec, "ports", "spec.ports");
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		if (d->m->n_ports == K8S_SERVICE_PORTS_MAX) {
			k8s_fault(&d->out->faults, "too many", "spec.ports");
			return;
		}
		port(d, entry, i);
	}
}

/* Addresses of a family without ClusterIP are not an error: the service is not there for it. */
static void external_addr(struct decoding *d, const char *text, struct ip_addr **list, uint32_t *n,
	const char *format, size_t i)
{
	struct ip_addr addr;
	const char *reason = k8s_unicast(text, &addr);
	char path[64];

	snprintf(path, sizeof(path), format, i);
	if (reason == NULL && *n >= K8S_SERVICE_ADDRS_MAX)
		reason = "too many addresses";
	if (reason != NULL)
		k8s_fault(&d->out->faults, reason, "%s", path);
	else if (d->families[ip_family(&addr)])
		add_addr(d, list, n, &addr);
}

static void external_ips(struct decoding *d)
{
	const struct jv *list =
		k8s_array(&d->out->faults, d->spec, "externalIPs", "spec.externalIPs");
	const struct jv *value;
	size_t i;

	if (!d->config->external_ips)
		return;
	jv_foreach (list, i, value) {
		const char *text = k8s_text(&d->out->faults, value, "spec.externalIPs[%zu]", i);

		if (text != NULL)
			external_addr(d, text, &d->m->external_ips, &d->m->n_external_ips,
				"spec.externalIPs[%zu]", i);
	}
}

/* An address whose balancer terminates connections (ipMode Proxy) is left to that balancer. */
static void lb_vips(struct decoding *d, const struct jv *object)
{
	struct k8s_faults **faults = &d->out->faults;
	const struct jv *status = k8s_object(faults, object, "status", "status");
	const struct jv *lb = k8s_object(faults, status, "loadBalancer", "status.loadBalancer");
	const struct jv *list = k8s_array(faults, lb, "ingress", "status.loadBalancer.ingress");
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		const char *ip =
			k8s_string(faults, entry, "ip", "status.loadBalancer.ingress[%zu].ip", i);
		const char *mode = k8s_string(
			faults, entry, "ipMode", "status.loadBalancer.ingress[%zu].ipMode", i);

		if (ip == NULL || ip[0] == '\0' || (mode != NULL && strcmp(mode, "Proxy") == 0))
			continue;
		if (mode != NULL && strcmp(mode, "VIP") != 0)
			k8s_fault(faults, "not VIP or Proxy",
				"status.loadBalancer.ingress[%zu].ipMode", i);
		else
			external_addr(d, ip, &d->m->lb_vips, &d->m->n_lb_vips,
				"status.loadBalancer.ingress[%zu].ip", i);
	}
}

static void drop_vips(struct decoding *d, enum ip_family family)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < d->m->n_lb_vips; i++) {
		if (ip_family(&d->m->lb_vips[i]) != family)
			d->m->lb_vips[kept++] = d->m->lb_vips[i];
	}
	d->m->n_lb_vips = kept;
}

/* "" or the trimmed text; Kubernetes allows blanks around ranges. */
static const char *trimmed(const char *text, char *buf, size_t size)
{
	size_t len;

	text += strspn(text, " \t");
	len = strcspn(text, " \t");
	if (len >= size || text[len + strspn(text + len, " \t")] != '\0')
		return "";
	memcpy(buf, text, len);
	buf[len] = '\0';
	return buf;
}

/* A family without ranges is unrestricted, so ranges that cannot be read must not turn into
 * none: then the load-balancer addresses of that family are not served. */
static void source_ranges(struct decoding *d)
{
	struct k8s_faults **faults = &d->out->faults;
	const struct jv *list = k8s_array(
		faults, d->spec, "loadBalancerSourceRanges", "spec.loadBalancerSourceRanges");
	uint32_t good[IP_FAMILIES] = {0}, bad[IP_FAMILIES] = {0};
	const struct jv *value;
	size_t i;

	if (list == NULL && !jv_absent(jv_get(d->spec, "loadBalancerSourceRanges")))
		bad[IP_V4] = bad[IP_V6] = 1;
	jv_foreach (list, i, value) {
		const char *text = k8s_text(faults, value, "spec.loadBalancerSourceRanges[%zu]", i);
		struct ip_prefix range, *slot;
		char buf[64];

		if (text == NULL) {
			bad[IP_V4]++;
			bad[IP_V6]++;
		} else if (d->m->n_source_ranges == K8S_SERVICE_RANGES_MAX) {
			k8s_fault(faults, "too many", "spec.loadBalancerSourceRanges");
			break;
		} else if (ip_prefix_parse(trimmed(text, buf, sizeof(buf)), &range) != 0) {
			k8s_fault(
				faults, "not an IP range", "spec.loadBalancerSourceRanges[%zu]", i);
			bad[strchr(text, ':') != NULL ? IP_V6 : IP_V4]++;
		} else {
			slot = more(d, (void **)&d->m->source_ranges, d->m->n_source_ranges,
				sizeof(*slot));
			if (slot == NULL)
				return;
			*slot = range;
			d->m->n_source_ranges++;
			good[range.family]++;
		}
	}
	for (int family = 0; family < IP_FAMILIES; family++) {
		if (bad[family] == 0 || good[family] > 0)
			continue;
		if (d->m->n_lb_vips > 0)
			k8s_fault(faults,
				family == IP_V4
					? "no IPv4 range is valid: IPv4 addresses are not served"
					: "no IPv6 range is valid: IPv6 addresses are not served",
				"status.loadBalancer.ingress");
		drop_vips(d, (enum ip_family)family);
	}
}

static bool is_local(struct decoding *d, const char *member, const char *path)
{
	const char *text = k8s_string(&d->out->faults, d->spec, member, "%s", path);

	if (text == NULL || text[0] == '\0' || strcmp(text, "Cluster") == 0)
		return false;
	if (strcmp(text, "Local") == 0)
		return true;
	k8s_fault(&d->out->faults, "not Cluster or Local", "%s", path);
	return false;
}

static void affinity(struct decoding *d)
{
	struct k8s_faults **faults = &d->out->faults;
	const char *text = k8s_string(faults, d->spec, "sessionAffinity", "spec.sessionAffinity");
	const struct jv *config =
		k8s_object(faults, d->spec, "sessionAffinityConfig", "spec.sessionAffinityConfig");
	const struct jv *client =
		k8s_object(faults, config, "clientIP", "spec.sessionAffinityConfig.clientIP");
	int64_t seconds = AFFINITY_DEFAULT;

	if (text == NULL || text[0] == '\0' || strcmp(text, "None") == 0)
		return;
	if (strcmp(text, "ClientIP") != 0) {
		k8s_fault(faults, "not None or ClientIP", "spec.sessionAffinity");
		return;
	}
	(void)k8s_int(faults, client, "timeoutSeconds", 1, AFFINITY_MAX, &seconds,
		"spec.sessionAffinityConfig.clientIP.timeoutSeconds");
	d->m->affinity_seconds = (uint32_t)seconds;
}

static void policies(struct decoding *d)
{
	bool external = d->m->type != SERVICE_CLUSTER_IP || d->m->n_external_ips > 0;
	int64_t check_port = 0;

	d->m->etp_local =
		is_local(d, "externalTrafficPolicy", "spec.externalTrafficPolicy") && external;
	d->m->itp_local = is_local(d, "internalTrafficPolicy", "spec.internalTrafficPolicy");
	(void)k8s_int(&d->out->faults, d->spec, "healthCheckNodePort", 0, 65535, &check_port,
		"spec.healthCheckNodePort");
	if (d->m->type == SERVICE_LOAD_BALANCER && d->m->etp_local)
		d->m->health_check_node_port = (uint16_t)check_port;
}

/* 1: served, 0: not for us, -1: refused. */
static int service_kind(struct decoding *d, const struct jv *metadata, enum service_type *type)
{
	struct k8s_faults **faults = &d->out->faults;
	const char *ours = d->config->service_proxy_name;
	const struct jv *labels = k8s_object(faults, metadata, "labels", "metadata.labels");
	const char *proxy = k8s_string(
		faults, labels, PROXY_NAME_LABEL, "metadata.labels[\"" PROXY_NAME_LABEL "\"]");
	const char *text = k8s_string(faults, d->spec, "type", "spec.type");

	if (ours == NULL ? proxy != NULL : proxy == NULL || strcmp(proxy, ours) != 0)
		return 0;
	*type = SERVICE_CLUSTER_IP;
	if (text == NULL && !jv_absent(jv_get(d->spec, "type")))
		return -1;
	if (text == NULL || text[0] == '\0' || strcmp(text, "ClusterIP") == 0)
		return 1;
	if (strcmp(text, "ExternalName") == 0)
		return 0;
	if (strcmp(text, "NodePort") == 0)
		*type = SERVICE_NODE_PORT;
	else if (strcmp(text, "LoadBalancer") == 0)
		*type = SERVICE_LOAD_BALANCER;
	else {
		k8s_fault(faults, "unknown type", "spec.type");
		return -1;
	}
	return 1;
}

static void decode_served(
	struct decoding *d, const struct jv *object, const struct jv *metadata, const char *single)
{
	struct k8s_faults **faults = &d->out->faults;
	const struct jv *annotations =
		k8s_object(faults, metadata, "annotations", "metadata.annotations");
	const char *reset = jv_string(jv_get(annotations, RESET_ANNOTATION));
	const char *created =
		k8s_string(faults, metadata, "creationTimestamp", "metadata.creationTimestamp");
	int64_t ns = 0;

	cluster_ips(d, single);
	ports(d);
	external_ips(d);
	lb_vips(d, object);
	source_ranges(d);
	policies(d);
	affinity(d);
	d->m->reset_removed = reset != NULL && strcmp(reset, "true") == 0;
	if (created != NULL && k8s_time(created, &ns) != 0)
		k8s_fault(faults, "not a time", "metadata.creationTimestamp");
	d->m->created = ns / 1000000000;
	if (d->m->n_cluster_ips == 0)
		d->out->refused = true;
	if (d->m->n_ports == 0 && d->out->faults != NULL)
		d->out->refused = true;
}

struct k8s_service *k8s_service_decode(const struct k8s_decode_config *config, const char *ns,
	const char *name, const struct jv *object)
{
	struct k8s_service *out = calloc(1, sizeof(*out));
	struct decoding d = {.config = config, .out = out};
	const struct jv *metadata = jv_get(object, "metadata");
	enum service_type type = SERVICE_CLUSTER_IP;
	const char *single;
	int kind;

	if (out == NULL)
		return NULL;
	d.spec = k8s_object(&out->faults, object, "spec", "spec");
	if (ns[0] == '\0')
		k8s_fault(&out->faults, "missing", "metadata.namespace");
	else if (d.spec == NULL && out->faults == NULL)
		k8s_fault(&out->faults, "missing", "spec");
	if (out->faults != NULL) {
		out->refused = true;
		return out;
	}
	kind = service_kind(&d, metadata, &type);
	single = k8s_string(&out->faults, d.spec, "clusterIP", "spec.clusterIP");
	out->refused = kind < 0 || (single == NULL && out->faults != NULL);
	if (kind <= 0 || out->refused || single == NULL || single[0] == '\0' ||
		strcmp(single, "None") == 0)
		return out;
	d.m = model_service_new(ns, name);
	if (d.m == NULL) {
		k8s_service_free(out);
		return NULL;
	}
	d.m->owner = OWNER_KUBERNETES;
	d.m->type = type;
	decode_served(&d, object, metadata, single);
	if (out->refused || d.m->n_ports == 0 || d.no_memory)
		model_service_free(d.m);
	else
		out->spec = d.m;
	if (d.no_memory) {
		k8s_service_free(out);
		return NULL;
	}
	return out;
}
