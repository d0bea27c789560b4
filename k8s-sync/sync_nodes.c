/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Nodes and ServiceCIDRs into the model. Our own node's zone steers the choice of endpoints, so a
 * change of it marks the services that have zone hints. Control thread. */

#include <stdlib.h>
#include <string.h>

#include "k8s-sync/sync_int.h"

/* --- nodes ----------------------------------------------------------------------------------- */

static void *node_decode(void *arg, const char *ns, const char *name, const struct jv *object)
{
	return k8s_node_decode(name, object);
}

static void node_drop(void *arg, void *decoded)
{
	k8s_node_free(decoded);
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void own_node(struct k8s_sync *sync, const struct model_node *node)
{
	sync->self_seen = true;
	if (same_text(sync->zone, node->zone))
		return;
	SYNC_LOG(sync, K8S_LOG_INFO, "zone_changed", "zone=%s",
		node->zone != NULL ? node->zone : "none");
	free(sync->zone);
	sync->zone = node->zone != NULL ? strdup(node->zone) : NULL;
	sync_services_zone_changed(sync);
}

static void node_upsert(void *arg, const char *key, void *decoded)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct k8s_node *node = decoded;

	sync_report_faults(sync, sync_kind(source), key, node->faults);
	if (!node->refused) {
		node->node->is_self = strcmp(key, sync->config.node_name) == 0;
		if (node->node->is_self)
			own_node(sync, node->node);
		if (model_node_set(sync->model, node->node) != 0)
			sync_report_fault(sync, sync_kind(source), key, "metadata.name",
				"the object contradicts itself");
		node->node = NULL;
	}
	k8s_node_free(node);
}

/* Our zone stays as it was: a Node object that is created anew says it again. */
static void node_remove(void *arg, const char *key)
{
	struct sync_source *source = arg;

	sync_report_faults(source->sync, sync_kind(source), key, NULL);
	model_node_remove(source->sync->model, key);
}

const struct reflector_ops sync_node_ops = {
	.decode = node_decode,
	.drop = node_drop,
	.upsert = node_upsert,
	.remove = node_remove,
	.refuse = sync_op_refuse,
	.complete = sync_op_complete,
	.absent = sync_op_absent,
	.changed = sync_op_changed,
};

/* --- service ranges -------------------------------------------------------------------------- */

static void *cidrs_decode(void *arg, const char *ns, const char *name, const struct jv *object)
{
	return k8s_cidrs_decode(object);
}

static void cidrs_drop(void *arg, void *decoded)
{
	k8s_cidrs_free(decoded);
}

static void cidrs_upsert(void *arg, const char *key, void *decoded)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct cidrs_entry *entry = strmap_get(&sync->cidrs, key);
	struct k8s_cidrs *data = decoded;
	size_t len = strlen(key) + 1;

	sync_report_faults(sync, sync_kind(source), key, data->faults);
	if (data->refused)
		goto drop;
	if (entry == NULL) {
		entry = calloc(1, sizeof(*entry) + len);
		if (entry == NULL)
			goto drop;
		memcpy(entry->key, key, len);
		if (strmap_put(&sync->cidrs, entry->key, entry, NULL) != 0) {
			free(entry);
			goto drop;
		}
	}
	k8s_cidrs_free(entry->data);
	entry->data = data;
	sync->cidrs_dirty = true;
	sync_touch(sync);
	return;
drop:
	k8s_cidrs_free(data);
}

static void cidrs_remove(void *arg, const char *key)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct cidrs_entry *entry = strmap_del(&sync->cidrs, key);

	sync_report_faults(sync, sync_kind(source), key, NULL);
	if (entry == NULL)
		return;
	k8s_cidrs_free(entry->data);
	free(entry);
	sync->cidrs_dirty = true;
	sync_touch(sync);
}

const struct reflector_ops sync_cidrs_ops = {
	.decode = cidrs_decode,
	.drop = cidrs_drop,
	.upsert = cidrs_upsert,
	.remove = cidrs_remove,
	.refuse = sync_op_refuse,
	.complete = sync_op_complete,
	.absent = sync_op_absent,
	.changed = sync_op_changed,
};

static int by_range(const void *a, const void *b)
{
	const struct ip_prefix *x = a, *y = b;
	int order = ip_compare(&x->addr, &y->addr);

	if (order != 0)
		return order;
	return x->len == y->len ? 0 : x->len < y->len ? -1 : 1;
}

/* The model takes the whole list: sorted and without repetition, so that equal is equal. */
void sync_cidrs_flush(struct k8s_sync *sync)
{
	struct ip_prefix list[K8S_SERVICE_CIDRS_MAX];
	struct cidrs_entry *entry;
	uint32_t cursor = 0, n = 0, kept = 0;

	if (!sync->cidrs_dirty)
		return;
	sync->cidrs_dirty = false;
	while ((entry = strmap_next(&sync->cidrs, &cursor)) != NULL) {
		for (uint32_t i = 0; i < entry->data->n; i++) {
			if (n == K8S_SERVICE_CIDRS_MAX) {
				sync_report_fault(sync, "ServiceCIDR", entry->key, "spec.cidrs",
					"too many ranges in all");
				break;
			}
			list[n++] = entry->data->cidrs[i];
		}
	}
	qsort(list, n, sizeof(*list), by_range);
	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || by_range(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
	}
	if (model_service_cidrs_set(sync->model, list, kept) != 0)
		SYNC_LOG(sync, K8S_LOG_ERROR, "service_cidrs_refused", "ranges=%u", kept);
}

void sync_nodes_fini(struct k8s_sync *sync)
{
	struct cidrs_entry *entry;
	uint32_t cursor = 0;

	while ((entry = strmap_next(&sync->cidrs, &cursor)) != NULL) {
		k8s_cidrs_free(entry->data);
		free(entry);
	}
	strmap_fini(&sync->cidrs);
}
