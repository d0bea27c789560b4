/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Decodes an EndpointSlice (discovery.k8s.io/v1). A slice belongs to the service its label names;
 * of each endpoint the first address counts; conditions have their API defaults filled in. Pure
 * functions; see decode.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/decode_slice.h"
#include "k8s-sync/decode_util.h"

#define SERVICE_LABEL      "kubernetes.io/service-name"
#define HEADLESS_LABEL     "service.kubernetes.io/headless"
#define TRIGGER_ANNOTATION "endpoints.kubernetes.io/last-change-trigger-time"

/* --- building -------------------------------------------------------------------------------- */

/* Room for n more elements. */
static bool reserve(struct slice_builder *b, void **list, uint32_t used, uint32_t n,
	uint32_t *capacity, size_t size)
{
	uint32_t wanted = *capacity != 0 ? *capacity : 4;
	void *grown;

	if (b->no_memory)
		return false;
	if (used + n <= *capacity)
		return true;
	while (wanted < used + n)
		wanted *= 2;
	grown = reallocarray(*list, wanted, size);
	if (grown == NULL) {
		b->no_memory = true;
		return false;
	}
	*list = grown;
	*capacity = wanted;
	return true;
}

void slice_begin(struct slice_builder *b, enum ip_family family)
{
	*b = (struct slice_builder){.slice = calloc(1, sizeof(*b->slice))};
	if (b->slice == NULL) {
		b->no_memory = true;
		return;
	}
	b->slice->family = (uint8_t)family;
	if (reserve(b, (void **)&b->slice->strings, 0, 1, &b->strings_capacity, 1))
		b->slice->strings[b->slice->strings_len++] = '\0';
}

struct k8s_slice *slice_end(struct slice_builder *b)
{
	struct k8s_slice *slice = b->slice;

	b->slice = NULL;
	if (slice != NULL && (b->no_memory || slice->n_ports == 0 || slice->n_endpoints == 0)) {
		slice_free(slice);
		return NULL;
	}
	return slice;
}

uint32_t slice_string(struct slice_builder *b, const char *text)
{
	uint32_t len, at;

	if (text == NULL || text[0] == '\0' || b->slice == NULL)
		return 0;
	len = (uint32_t)strlen(text) + 1;
	if (!reserve(b, (void **)&b->slice->strings, b->slice->strings_len, len,
		    &b->strings_capacity, 1))
		return 0;
	at = b->slice->strings_len;
	memcpy(b->slice->strings + at, text, len);
	b->slice->strings_len += len;
	return at;
}

void slice_port(struct slice_builder *b, const char *name, uint8_t proto, uint16_t port)
{
	struct k8s_slice *s = b->slice;
	uint32_t at = slice_string(b, name);

	if (s != NULL &&
		reserve(b, (void **)&s->ports, s->n_ports, 1, &b->ports_capacity,
			sizeof(*s->ports)))
		s->ports[s->n_ports++] =
			(struct k8s_slice_port){.name = at, .proto = proto, .port = port};
}

void slice_hint(struct slice_builder *b, const char *text)
{
	struct k8s_slice *s = b->slice;
	uint32_t at = slice_string(b, text);

	if (s != NULL &&
		reserve(b, (void **)&s->hints, s->n_hints, 1, &b->hints_capacity,
			sizeof(*s->hints)))
		s->hints[s->n_hints++] = at;
}

void slice_endpoint(struct slice_builder *b, const struct k8s_endpoint *endpoint)
{
	struct k8s_slice *s = b->slice;

	if (s != NULL &&
		reserve(b, (void **)&s->endpoints, s->n_endpoints, 1, &b->endpoints_capacity,
			sizeof(*s->endpoints)))
		s->endpoints[s->n_endpoints++] = *endpoint;
}

void slice_free(struct k8s_slice *slice)
{
	if (slice == NULL)
		return;
	free(slice->ports);
	free(slice->endpoints);
	free(slice->hints);
	free(slice->strings);
	free(slice);
}

void k8s_endpoints_free(struct k8s_endpoints *endpoints)
{
	struct k8s_slice *slice;

	if (endpoints == NULL)
		return;
	while ((slice = endpoints->parts) != NULL) {
		endpoints->parts = slice->next;
		slice_free(slice);
	}
	k8s_faults_free(endpoints->faults);
	free(endpoints->service);
	free(endpoints);
}

const char *slice_target(const char *ns, const struct jv *endpoint, char *buf, size_t size)
{
	const struct jv *target = jv_get(endpoint, "targetRef");
	const char *kind = jv_string(jv_get(target, "kind"));
	const char *name = jv_string(jv_get(target, "name"));
	const char *target_ns = jv_string(jv_get(target, "namespace"));

	if (kind == NULL || name == NULL || strcmp(kind, "Pod") != 0)
		return "";
	if ((size_t)snprintf(buf, size, "%s/%s", target_ns != NULL ? target_ns : ns, name) >= size)
		return "";
	return buf;
}

int64_t slice_trigger_time(const struct jv *metadata)
{
	const struct jv *annotations = jv_get(metadata, "annotations");
	const char *text = jv_string(jv_get(annotations, TRIGGER_ANNOTATION));
	int64_t ns = 0;

	return text != NULL && k8s_time(text, &ns) == 0 ? ns : 0;
}

/* --- EndpointSlice --------------------------------------------------------------------------- */

static void ports(struct slice_builder *b, struct k8s_faults **faults, const struct jv *object)
{
	const struct jv *list = k8s_array(faults, object, "ports", "ports");
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		const char *protocol =
			k8s_string(faults, entry, "protocol", "ports[%zu].protocol", i);
		const char *name = k8s_string(faults, entry, "name", "ports[%zu].name", i);
		uint8_t proto = protocol != NULL ? ip_proto_parse(protocol) : IP_PROTO_TCP;
		int64_t port = 0;

		if (i >= K8S_SLICE_PORTS_MAX) {
			k8s_fault(faults, "too many", "ports");
			return;
		}
		/* A port without number stands for all ports: nothing to proxy. The same goes for
		 * 0, but no server writes that; and servers write "" for no name. */
		if (k8s_int(faults, entry, "port", 1, 65535, &port, "ports[%zu].port", i) != 1)
			continue;
		if (proto != IP_PROTO_TCP && proto != IP_PROTO_UDP && proto != IP_PROTO_SCTP)
			k8s_fault(faults, "not TCP, UDP or SCTP", "ports[%zu].protocol", i);
		else if (name != NULL)
			slice_port(b, name, proto, (uint16_t)port);
	}
}

static uint8_t hints(struct slice_builder *b, struct k8s_faults **faults, const struct jv *hint,
	const char *member, size_t i)
{
	const struct jv *list =
		k8s_array(faults, hint, member, "endpoints[%zu].hints.%s", i, member);
	const struct jv *entry;
	uint8_t n = 0;
	size_t j;

	jv_foreach (list, j, entry) {
		const char *name = jv_string(jv_get(entry, "name"));

		if (n == K8S_HINTS_MAX)
			break;
		if (name == NULL || name[0] == '\0')
			continue;
		slice_hint(b, name);
		n++;
	}
	return n;
}

static void conditions(
	struct k8s_faults **faults, const struct jv *entry, struct k8s_endpoint *e, size_t i)
{
	const struct jv *list =
		k8s_object(faults, entry, "conditions", "endpoints[%zu].conditions", i);

	e->ready = true;
	e->serving = true;
	/* A condition that cannot be read must not attract traffic. */
	if (k8s_bool(faults, list, "ready", &e->ready, "endpoints[%zu].conditions.ready", i) < 0)
		e->ready = false;
	if (k8s_bool(faults, list, "serving", &e->serving, "endpoints[%zu].conditions.serving", i) <
		0)
		e->serving = false;
	(void)k8s_bool(faults, list, "terminating", &e->terminating,
		"endpoints[%zu].conditions.terminating", i);
}

static void endpoint(struct slice_builder *b, struct k8s_faults **faults, const char *ns,
	const struct jv *entry, size_t i)
{
	const struct jv *addresses =
		k8s_array(faults, entry, "addresses", "endpoints[%zu].addresses", i);
	const struct jv *hint = k8s_object(faults, entry, "hints", "endpoints[%zu].hints", i);
	struct k8s_endpoint e = {0};
	const char *text, *reason;
	char target[320];

	if (!jv_is(entry, JV_OBJECT)) {
		k8s_fault(faults, "not an object", "endpoints[%zu]", i);
		return;
	}
	if (jv_count(addresses) == 0)
		return;
	text = k8s_text(faults, jv_at(addresses, 0), "endpoints[%zu].addresses[0]", i);
	if (text == NULL)
		return;
	reason = k8s_unicast(text, &e.addr);
	if (reason == NULL && b->slice != NULL && ip_family(&e.addr) != b->slice->family)
		reason = "not of the slice's addressType";
	if (reason != NULL) {
		k8s_fault(faults, reason, "endpoints[%zu].addresses[0]", i);
		return;
	}
	conditions(faults, entry, &e, i);
	e.node = slice_string(
		b, k8s_string(faults, entry, "nodeName", "endpoints[%zu].nodeName", i));
	e.zone = slice_string(b, k8s_string(faults, entry, "zone", "endpoints[%zu].zone", i));
	e.target = slice_string(b, slice_target(ns, entry, target, sizeof(target)));
	e.first_hint = b->slice != NULL ? b->slice->n_hints : 0;
	e.n_zone_hints = hints(b, faults, hint, "forZones", i);
	e.n_node_hints = hints(b, faults, hint, "forNodes", i);
	slice_endpoint(b, &e);
}

static void endpoints(struct slice_builder *b, struct k8s_faults **faults, const char *ns,
	const struct jv *object)
{
	const struct jv *list = k8s_array(faults, object, "endpoints", "endpoints");
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		if (i >= K8S_SLICE_ENDPOINTS_MAX) {
			k8s_fault(faults, "more than the API allows", "endpoints");
			return;
		}
		endpoint(b, faults, ns, entry, i);
	}
}

/* A list of another type is no empty list: then the last good state is better. */
static bool is_list(const struct jv *object, const char *member)
{
	const struct jv *value = jv_get(object, member);

	return jv_absent(value) || jv_is(value, JV_ARRAY);
}

struct k8s_endpoints *k8s_slice_decode(const char *ns, const char *name, const struct jv *object)
{
	struct k8s_endpoints *out = calloc(1, sizeof(*out));
	const struct jv *metadata = jv_get(object, "metadata");
	struct slice_builder b = {0};
	const struct jv *labels;
	const char *service, *type;

	if (out == NULL)
		return NULL;
	labels = k8s_object(&out->faults, metadata, "labels", "metadata.labels");
	service = k8s_string(
		&out->faults, labels, SERVICE_LABEL, "metadata.labels[\"" SERVICE_LABEL "\"]");
	type = k8s_string(&out->faults, object, "addressType", "addressType");
	if (ns[0] == '\0')
		k8s_fault(&out->faults, "missing", "metadata.namespace");
	if (!is_list(object, "endpoints"))
		k8s_fault(&out->faults, "not an array", "endpoints");
	if (!is_list(object, "ports"))
		k8s_fault(&out->faults, "not an array", "ports");
	if (out->faults != NULL) {
		out->refused = true;
		return out;
	}
	if (service == NULL || service[0] == '\0' || jv_get(labels, HEADLESS_LABEL) != NULL)
		return out;
	if (asprintf(&out->service, "%s/%s", ns, service) < 0) {
		out->service = NULL;
		goto no_memory;
	}
	out->trigger_time_ns = slice_trigger_time(metadata);
	/* FQDN and types to come give nothing to proxy. */
	if (type == NULL || (strcmp(type, "IPv4") != 0 && strcmp(type, "IPv6") != 0)) {
		if (type == NULL)
			k8s_fault(&out->faults, "missing", "addressType");
		return out;
	}
	slice_begin(&b, strcmp(type, "IPv4") == 0 ? IP_V4 : IP_V6);
	ports(&b, &out->faults, object);
	endpoints(&b, &out->faults, ns, object);
	out->parts = slice_end(&b);
	if (!b.no_memory)
		return out;
no_memory:
	k8s_endpoints_free(out);
	return NULL;
}
