/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Decodes Endpoints (core v1), for servers without EndpointSlices. Each subset becomes one slice a
 * family; an address is ready or not ready, and knows no termination. Pure functions; see
 * decode.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/decode_slice.h"
#include "k8s-sync/decode_util.h"

#define HEADLESS_LABEL "service.kubernetes.io/headless"

struct decoding {
	struct k8s_endpoints *out;
	const char *ns;
	uint32_t addresses; /* of the whole object */
};

static void ports(struct slice_builder b[IP_FAMILIES], struct k8s_faults **faults,
	const struct jv *subset, size_t s)
{
	const struct jv *list = k8s_array(faults, subset, "ports", "subsets[%zu].ports", s);
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		const char *protocol = k8s_string(
			faults, entry, "protocol", "subsets[%zu].ports[%zu].protocol", s, i);
		const char *name =
			k8s_string(faults, entry, "name", "subsets[%zu].ports[%zu].name", s, i);
		uint8_t proto = protocol != NULL ? ip_proto_parse(protocol) : IP_PROTO_TCP;
		int64_t port = 0;

		if (i >= K8S_SLICE_PORTS_MAX) {
			k8s_fault(faults, "too many", "subsets[%zu].ports", s);
			return;
		}
		if (k8s_int(faults, entry, "port", 1, 65535, &port, "subsets[%zu].ports[%zu].port",
			    s, i) != 1)
			continue;
		if (proto != IP_PROTO_TCP && proto != IP_PROTO_UDP && proto != IP_PROTO_SCTP) {
			k8s_fault(faults, "not TCP, UDP or SCTP",
				"subsets[%zu].ports[%zu].protocol", s, i);
			continue;
		}
		slice_port(&b[IP_V4], name, proto, (uint16_t)port);
		slice_port(&b[IP_V6], name, proto, (uint16_t)port);
	}
}

static void addresses(struct decoding *d, struct slice_builder b[IP_FAMILIES],
	const struct jv *subset, const char *member, bool ready, size_t s)
{
	struct k8s_faults **faults = &d->out->faults;
	const struct jv *list = k8s_array(faults, subset, member, "subsets[%zu].%s", s, member);
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		struct k8s_endpoint e = {.ready = ready, .serving = ready};
		const char *text =
			k8s_string(faults, entry, "ip", "subsets[%zu].%s[%zu].ip", s, member, i);
		const char *reason = text != NULL ? k8s_unicast(text, &e.addr) : "missing";
		struct slice_builder *to;
		char target[320];

		if (reason == NULL && d->addresses >= K8S_ENDPOINTS_MAX)
			reason = "too many addresses";
		if (reason != NULL) {
			k8s_fault(faults, reason, "subsets[%zu].%s[%zu].ip", s, member, i);
			continue;
		}
		d->addresses++;
		to = &b[ip_family(&e.addr)];
		e.node = slice_string(to,
			k8s_string(faults, entry, "nodeName", "subsets[%zu].%s[%zu].nodeName", s,
				member, i));
		e.target = slice_string(to, slice_target(d->ns, entry, target, sizeof(target)));
		slice_endpoint(to, &e);
	}
}

/* false when out of memory */
static bool subset(struct decoding *d, const struct jv *entry, size_t s)
{
	struct slice_builder b[IP_FAMILIES];
	bool ok = true;

	for (int family = 0; family < IP_FAMILIES; family++)
		slice_begin(&b[family], (enum ip_family)family);
	ports(b, &d->out->faults, entry, s);
	addresses(d, b, entry, "addresses", true, s);
	addresses(d, b, entry, "notReadyAddresses", false, s);
	for (int family = 0; family < IP_FAMILIES; family++) {
		struct k8s_slice *part = slice_end(&b[family]);

		ok = ok && !b[family].no_memory;
		if (part != NULL) {
			part->next = d->out->parts;
			d->out->parts = part;
		}
	}
	return ok;
}

struct k8s_endpoints *k8s_endpoints_decode(
	const char *ns, const char *name, const struct jv *object)
{
	struct k8s_endpoints *out = calloc(1, sizeof(*out));
	struct decoding d = {.out = out, .ns = ns};
	const struct jv *metadata = jv_get(object, "metadata");
	const struct jv *labels = jv_get(metadata, "labels");
	const struct jv *list, *entry;
	size_t s;

	if (out == NULL)
		return NULL;
	list = k8s_array(&out->faults, object, "subsets", "subsets");
	if (ns[0] == '\0')
		k8s_fault(&out->faults, "missing", "metadata.namespace");
	if (out->faults != NULL) {
		out->refused = true;
		return out;
	}
	if (jv_get(labels, HEADLESS_LABEL) != NULL)
		return out;
	if (asprintf(&out->service, "%s/%s", ns, name) < 0) {
		out->service = NULL;
		goto no_memory;
	}
	out->trigger_time_ns = slice_trigger_time(metadata);
	jv_foreach (list, s, entry) {
		if (!jv_is(entry, JV_OBJECT))
			k8s_fault(&out->faults, "not an object", "subsets[%zu]", s);
		else if (!subset(&d, entry, s))
			goto no_memory;
	}
	return out;
no_memory:
	k8s_endpoints_free(out);
	return NULL;
}
