/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Decodes Node and ServiceCIDR: addresses, pod and service ranges, zone, and whether the node is
 * leaving. Pure functions; see decode.h. */

#include <stdlib.h>
#include <string.h>

#include "k8s-sync/decode_util.h"

#define ZONE_LABEL  "topology.kubernetes.io/zone"
#define DRAIN_TAINT "ToBeDeletedByClusterAutoscaler"

void k8s_node_free(struct k8s_node *node)
{
	if (node == NULL)
		return;
	k8s_faults_free(node->faults);
	if (node->node != NULL)
		model_node_free(node->node);
	free(node);
}

void k8s_cidrs_free(struct k8s_cidrs *cidrs)
{
	if (cidrs == NULL)
		return;
	k8s_faults_free(cidrs->faults);
	free(cidrs->cidrs);
	free(cidrs);
}

static bool push_addr(struct ip_addr **list, uint32_t *n, const struct ip_addr *addr)
{
	struct ip_addr *grown = reallocarray(*list, *n + 1, sizeof(*grown));

	if (grown == NULL)
		return false;
	*list = grown;
	grown[(*n)++] = *addr;
	return true;
}

static bool push_range(struct ip_prefix **list, uint32_t *n, const struct ip_prefix *range)
{
	struct ip_prefix *grown = reallocarray(*list, *n + 1, sizeof(*grown));

	if (grown == NULL)
		return false;
	*list = grown;
	grown[(*n)++] = *range;
	return true;
}

static bool addresses(struct k8s_node *out, const struct jv *object)
{
	struct k8s_faults **faults = &out->faults;
	const struct jv *status = k8s_object(faults, object, "status", "status");
	const struct jv *list = k8s_array(faults, status, "addresses", "status.addresses");
	const struct jv *entry;
	size_t i;

	jv_foreach (list, i, entry) {
		const char *type =
			k8s_string(faults, entry, "type", "status.addresses[%zu].type", i);
		const char *text =
			k8s_string(faults, entry, "address", "status.addresses[%zu].address", i);
		bool internal = type != NULL && strcmp(type, "InternalIP") == 0;
		struct model_node *node = out->node;
		struct ip_addr addr;
		const char *reason;

		if (text == NULL ||
			(!internal && (type == NULL || strcmp(type, "ExternalIP") != 0)))
			continue;
		reason = k8s_unicast(text, &addr);
		if (reason == NULL &&
			node->n_internal_ips + node->n_external_ips >= K8S_NODE_ADDRS_MAX)
			reason = "too many";
		if (reason != NULL)
			k8s_fault(faults, reason, "status.addresses[%zu].address", i);
		else if (!(internal ? push_addr(&node->internal_ips, &node->n_internal_ips, &addr)
				    : push_addr(&node->external_ips, &node->n_external_ips, &addr)))
			return false;
	}
	return true;
}

/* A range into a list of up to max, or a fault. false when out of memory. */
static bool add_range(struct k8s_faults **faults, const char *text, struct ip_prefix **list,
	uint32_t *n, uint32_t max, const char *path, size_t i)
{
	struct ip_prefix range;
	const char *reason;

	if (text == NULL || text[0] == '\0')
		return true;
	reason = k8s_range(text, &range);
	if (reason == NULL && *n >= max)
		reason = "too many";
	if (reason != NULL) {
		k8s_fault(faults, reason, "%s[%zu]", path, i);
		return true;
	}
	return push_range(list, n, &range);
}

static bool pod_cidrs(struct k8s_node *out, const struct jv *spec)
{
	struct k8s_faults **faults = &out->faults;
	const struct jv *list = k8s_array(faults, spec, "podCIDRs", "spec.podCIDRs");
	struct model_node *node = out->node;
	const struct jv *entry;
	size_t i;

	if (jv_count(list) == 0)
		return add_range(faults, k8s_string(faults, spec, "podCIDR", "spec.podCIDR"),
			&node->pod_cidrs, &node->n_pod_cidrs, K8S_POD_CIDRS_MAX, "spec.podCIDR", 0);
	jv_foreach (list, i, entry) {
		if (!add_range(faults, k8s_text(faults, entry, "spec.podCIDRs[%zu]", i),
			    &node->pod_cidrs, &node->n_pod_cidrs, K8S_POD_CIDRS_MAX,
			    "spec.podCIDRs", i))
			return false;
	}
	return true;
}

static void leaving(struct k8s_node *out, const struct jv *metadata, const struct jv *spec)
{
	const struct jv *taints = k8s_array(&out->faults, spec, "taints", "spec.taints");
	const struct jv *deleted = jv_get(metadata, "deletionTimestamp");
	const struct jv *taint;
	size_t i;

	out->node->deleting = !jv_absent(deleted);
	jv_foreach (taints, i, taint) {
		const char *key = jv_string(jv_get(taint, "key"));

		if (key != NULL && strcmp(key, DRAIN_TAINT) == 0)
			out->node->to_be_deleted = true;
	}
}

struct k8s_node *k8s_node_decode(const char *name, const struct jv *object)
{
	struct k8s_node *out = calloc(1, sizeof(*out));
	const struct jv *metadata = jv_get(object, "metadata");
	const struct jv *spec, *labels;
	const char *zone;

	if (out == NULL)
		return NULL;
	spec = k8s_object(&out->faults, object, "spec", "spec");
	labels = k8s_object(&out->faults, metadata, "labels", "metadata.labels");
	zone = k8s_string(&out->faults, labels, ZONE_LABEL, "metadata.labels[\"" ZONE_LABEL "\"]");
	if (out->faults != NULL) {
		out->refused = true;
		return out;
	}
	out->node = model_node_new(name);
	if (out->node == NULL)
		goto no_memory;
	if (zone != NULL && zone[0] != '\0') {
		out->node->zone = strdup(zone);
		if (out->node->zone == NULL)
			goto no_memory;
	}
	if (!addresses(out, object) || !pod_cidrs(out, spec))
		goto no_memory;
	leaving(out, metadata, spec);
	return out;
no_memory:
	k8s_node_free(out);
	return NULL;
}

struct k8s_cidrs *k8s_cidrs_decode(const struct jv *object)
{
	struct k8s_cidrs *out = calloc(1, sizeof(*out));
	const struct jv *spec, *list, *entry;
	size_t i;

	if (out == NULL)
		return NULL;
	spec = k8s_object(&out->faults, object, "spec", "spec");
	list = k8s_array(&out->faults, spec, "cidrs", "spec.cidrs");
	if (out->faults != NULL) {
		out->refused = true;
		return out;
	}
	jv_foreach (list, i, entry) {
		const char *text = k8s_text(&out->faults, entry, "spec.cidrs[%zu]", i);

		if (!add_range(&out->faults, text, &out->cidrs, &out->n, K8S_SERVICE_CIDRS_MAX,
			    "spec.cidrs", i)) {
			k8s_cidrs_free(out);
			return NULL;
		}
	}
	if (out->n == 0 && out->faults != NULL)
		out->refused = true;
	return out;
}
