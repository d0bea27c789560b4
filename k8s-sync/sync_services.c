/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Services and their endpoints: the index that makes one event cost its own service only.
 *
 * An event changes an entry and marks its service dirty; at the end of the turn the dirty ones
 * are built anew and given to the model. Slices are kept also while their service is unknown.
 * Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "k8s-sync/sync_int.h"

static struct service_entry *of_ring(struct ring *ring)
{
	return (struct service_entry *)((char *)ring - offsetof(struct service_entry, ring));
}

static void mark_dirty(struct k8s_sync *sync, struct service_entry *entry)
{
	ring_append(&sync->dirty, &entry->ring);
	sync_touch(sync);
}

static struct service_entry *service_get(struct k8s_sync *sync, const char *key)
{
	struct service_entry *entry = strmap_get(&sync->services, key);
	size_t len = strlen(key) + 1;

	if (entry != NULL)
		return entry;
	entry = calloc(1, sizeof(*entry) + len);
	if (entry == NULL)
		return NULL;
	memcpy(entry->key, key, len);
	ring_init(&entry->ring);
	if (strmap_put(&sync->services, entry->key, entry, NULL) != 0) {
		free(entry);
		return NULL;
	}
	return entry;
}

static void service_entry_free(struct service_entry *entry)
{
	ring_leave(&entry->ring);
	if (entry->spec != NULL)
		model_service_free(entry->spec);
	free(entry->slices);
	free(entry);
}

/* Nothing is known of it any more. */
static void forget_if_empty(struct k8s_sync *sync, struct service_entry *entry)
{
	if (entry->spec != NULL || entry->n_slices > 0 || entry->in_model)
		return;
	strmap_del(&sync->services, entry->key);
	service_entry_free(entry);
}

/* --- events of Services ---------------------------------------------------------------------- */

static void *service_decode(void *arg, const char *ns, const char *name, const struct jv *object)
{
	const struct sync_source *source = arg;

	return k8s_service_decode(&source->sync->decode, ns, name, object);
}

static void service_drop(void *arg, void *decoded)
{
	k8s_service_free(decoded);
}

static void service_upsert(void *arg, const char *key, void *decoded)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct k8s_service *service = decoded;
	struct service_entry *entry;

	sync_report_faults(sync, sync_kind(source), key, service->faults);
	entry = service->refused ? NULL : service_get(sync, key);
	if (entry == NULL)
		goto out;
	if (entry->spec != NULL && service->spec != NULL &&
		model_service_equal(entry->spec, service->spec))
		goto out;
	if (entry->spec != NULL)
		model_service_free(entry->spec);
	entry->spec = service->spec;
	service->spec = NULL;
	mark_dirty(sync, entry);
out:
	k8s_service_free(service);
}

static void service_remove(void *arg, const char *key)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct service_entry *entry = strmap_get(&sync->services, key);

	sync_report_faults(sync, sync_kind(source), key, NULL);
	if (entry == NULL || entry->spec == NULL)
		return;
	model_service_free(entry->spec);
	entry->spec = NULL;
	mark_dirty(sync, entry);
}

static void service_expect(void *arg, uint32_t n)
{
	struct sync_source *source = arg;

	(void)strmap_reserve(&source->sync->services, n);
}

const struct reflector_ops sync_service_ops = {
	.expect = service_expect,
	.decode = service_decode,
	.drop = service_drop,
	.upsert = service_upsert,
	.remove = service_remove,
	.refuse = sync_op_refuse,
	.complete = sync_op_complete,
	.absent = sync_op_absent,
	.changed = sync_op_changed,
};

/* --- events of slices ------------------------------------------------------------------------ */

/* Where key is, or belongs. */
static uint32_t slice_position(const struct service_entry *entry, const char *key)
{
	uint32_t low = 0, high = entry->n_slices;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(entry->slices[middle]->key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void unlink_slice(struct k8s_sync *sync, struct slice_entry *slice)
{
	struct service_entry *entry = slice->service;
	uint32_t at;

	if (entry == NULL)
		return;
	at = slice_position(entry, slice->key);
	/* Both kinds of endpoints may hold the same key for a moment. */
	while (entry->slices[at] != slice)
		at++;
	memmove(&entry->slices[at], &entry->slices[at + 1],
		(entry->n_slices - at - 1) * sizeof(*entry->slices));
	entry->n_slices--;
	slice->service = NULL;
	mark_dirty(sync, entry);
}

static int link_slice(struct k8s_sync *sync, struct slice_entry *slice, const char *service)
{
	struct service_entry *entry = service_get(sync, service);
	uint32_t at;

	if (entry == NULL)
		return -ENOMEM;
	if (entry->n_slices == entry->slices_capacity) {
		uint32_t capacity = entry->slices_capacity != 0 ? entry->slices_capacity * 2 : 1;
		void *grown = reallocarray(entry->slices, capacity, sizeof(*entry->slices));

		if (grown == NULL) {
			forget_if_empty(sync, entry);
			return -ENOMEM;
		}
		entry->slices = grown;
		entry->slices_capacity = capacity;
	}
	at = slice_position(entry, slice->key);
	memmove(&entry->slices[at + 1], &entry->slices[at],
		(entry->n_slices - at) * sizeof(*entry->slices));
	entry->slices[at] = slice;
	entry->n_slices++;
	slice->service = entry;
	mark_dirty(sync, entry);
	return 0;
}

static struct slice_entry *slice_get(struct strmap *map, const char *key)
{
	struct slice_entry *slice = strmap_get(map, key);
	size_t len = strlen(key) + 1;

	if (slice != NULL)
		return slice;
	slice = calloc(1, sizeof(*slice) + len);
	if (slice == NULL)
		return NULL;
	memcpy(slice->key, key, len);
	if (strmap_put(map, slice->key, slice, NULL) != 0) {
		free(slice);
		return NULL;
	}
	return slice;
}

static void *slice_decode(void *arg, const char *ns, const char *name, const struct jv *object)
{
	const struct sync_source *source = arg;

	if (source->resource == SYNC_ENDPOINTS)
		return k8s_endpoints_decode(ns, name, object);
	return k8s_slice_decode(ns, name, object);
}

static void slice_drop(void *arg, void *decoded)
{
	k8s_endpoints_free(decoded);
}

static void slice_upsert(void *arg, const char *key, void *decoded)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct k8s_endpoints *data = decoded;
	struct slice_entry *slice;

	sync_report_faults(sync, sync_kind(source), key, data->faults);
	slice = data->refused ? NULL : slice_get(source->objects, key);
	if (slice == NULL) {
		k8s_endpoints_free(data);
		return;
	}
	/* A slice that changed its label leaves the old service first. */
	if (slice->service != NULL &&
		(data->service == NULL || strcmp(slice->service->key, data->service) != 0))
		unlink_slice(sync, slice);
	k8s_endpoints_free(slice->data);
	slice->data = data;
	if (slice->service != NULL)
		mark_dirty(sync, slice->service);
	else if (data->service != NULL && link_slice(sync, slice, data->service) != 0)
		SYNC_LOG(sync, K8S_LOG_ERROR, "no_memory", "slice=%s", key);
}

static void slice_free(struct slice_entry *slice)
{
	k8s_endpoints_free(slice->data);
	free(slice);
}

static void slice_remove(void *arg, const char *key)
{
	struct sync_source *source = arg;
	struct slice_entry *slice = strmap_del(source->objects, key);

	sync_report_faults(source->sync, sync_kind(source), key, NULL);
	if (slice == NULL)
		return;
	unlink_slice(source->sync, slice);
	slice_free(slice);
}

/* Most services have one slice or two, and some of them may come before their service. */
static void slice_expect(void *arg, uint32_t n)
{
	struct sync_source *source = arg;

	(void)strmap_reserve(source->objects, n);
	(void)strmap_reserve(&source->sync->services, n);
}

const struct reflector_ops sync_slice_ops = {
	.expect = slice_expect,
	.decode = slice_decode,
	.drop = slice_drop,
	.upsert = slice_upsert,
	.remove = slice_remove,
	.refuse = sync_op_refuse,
	.complete = sync_op_complete,
	.absent = sync_op_absent,
	.changed = sync_op_changed,
};

/* --- building -------------------------------------------------------------------------------- */

/* A copy of n elements; *n is set only when it could be made. */
static bool copy_list(void **to, uint32_t *to_n, const void *from, uint32_t n, size_t size)
{
	if (n == 0)
		return true;
	*to = malloc(n * size);
	if (*to == NULL)
		return false;
	memcpy(*to, from, n * size);
	*to_n = n;
	return true;
}

/* The spec without its ports' backends; NULL when out of memory. */
static struct model_service *clone(const struct model_service *spec)
{
	struct model_service *s = model_service_new(spec->ns, spec->name);

	if (s == NULL)
		return NULL;
	s->owner = spec->owner;
	s->type = spec->type;
	s->etp_local = spec->etp_local;
	s->itp_local = spec->itp_local;
	s->affinity_seconds = spec->affinity_seconds;
	s->health_check_node_port = spec->health_check_node_port;
	s->reset_removed = spec->reset_removed;
	s->created = spec->created;
	if (!copy_list((void **)&s->cluster_ips, &s->n_cluster_ips, spec->cluster_ips,
		    spec->n_cluster_ips, sizeof(*s->cluster_ips)) ||
		!copy_list((void **)&s->external_ips, &s->n_external_ips, spec->external_ips,
			spec->n_external_ips, sizeof(*s->external_ips)) ||
		!copy_list((void **)&s->lb_vips, &s->n_lb_vips, spec->lb_vips, spec->n_lb_vips,
			sizeof(*s->lb_vips)) ||
		!copy_list((void **)&s->source_ranges, &s->n_source_ranges, spec->source_ranges,
			spec->n_source_ranges, sizeof(*s->source_ranges)))
		goto no_memory;
	s->ports = calloc(spec->n_ports, sizeof(*s->ports));
	if (s->ports == NULL)
		goto no_memory;
	for (; s->n_ports < spec->n_ports; s->n_ports++) {
		const struct model_service_port *from = &spec->ports[s->n_ports];
		struct model_service_port *to = &s->ports[s->n_ports];

		*to = (struct model_service_port){
			.proto = from->proto, .port = from->port, .node_port = from->node_port};
		to->name = strdup(from->name);
		if (to->name == NULL)
			goto no_memory;
	}
	return s;
no_memory:
	model_service_free(s);
	return NULL;
}

/* All parts of all slices, in the order of their keys. */
static int collect_slices(
	const struct service_entry *entry, const struct k8s_slice ***out, uint32_t *n)
{
	const struct k8s_slice *part;
	uint32_t total = 0;

	*out = NULL;
	*n = 0;
	for (uint32_t i = 0; i < entry->n_slices; i++) {
		for (part = entry->slices[i]->data->parts; part != NULL; part = part->next)
			total++;
	}
	if (total == 0)
		return 0;
	*out = calloc(total, sizeof(**out));
	if (*out == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < entry->n_slices; i++) {
		for (part = entry->slices[i]->data->parts; part != NULL; part = part->next)
			(*out)[(*n)++] = part;
	}
	return 0;
}

static int build(const struct k8s_sync *sync, const struct service_entry *entry,
	struct model_service **out, bool *hinted)
{
	const struct selection_self self = {.node = sync->config.node_name, .zone = sync->zone};
	struct model_service *s = clone(entry->spec);
	const struct k8s_slice **slices = NULL;
	uint32_t n_slices = 0;
	int rc = s != NULL ? collect_slices(entry, &slices, &n_slices) : -ENOMEM;

	for (uint32_t i = 0; rc == 0 && i < s->n_ports; i++)
		rc = selection_build(s, &s->ports[i], slices, n_slices, &self);
	*hinted = false;
	for (uint32_t i = 0; i < n_slices; i++)
		*hinted = *hinted || selection_has_zone_hints(slices[i]);
	for (uint32_t i = 0; rc == 0 && i < entry->n_slices; i++) {
		int64_t changed = entry->slices[i]->data->trigger_time_ns;

		if (changed > s->trigger_time_ns)
			s->trigger_time_ns = changed;
	}
	free(slices);
	if (rc != 0 && s != NULL)
		model_service_free(s);
	*out = s;
	return rc;
}

static void remove_from_model(struct k8s_sync *sync, struct service_entry *entry)
{
	char ns[256];
	size_t len = strcspn(entry->key, "/");

	if (entry->in_model && len < sizeof(ns)) {
		memcpy(ns, entry->key, len);
		ns[len] = '\0';
		model_service_remove(sync->model, ns, entry->key + len + 1, OWNER_KUBERNETES);
	}
	entry->in_model = false;
}

static void rebuild(struct k8s_sync *sync, struct service_entry *entry)
{
	struct model_service *s;
	bool hinted = false;
	int rc;

	if (entry->spec == NULL) {
		remove_from_model(sync, entry);
		forget_if_empty(sync, entry);
		return;
	}
	rc = build(sync, entry, &s, &hinted);
	if (rc == 0)
		rc = model_service_set(sync->model, s);
	if (rc == 0)
		entry->in_model = true;
	else
		sync_report_fault(sync, "Service", entry->key, "metadata.name",
			rc == -EPERM            ? "the name is taken by another owner"
				: rc == -EINVAL ? "the object contradicts itself"
						: strerror(-rc));
	if (hinted)
		ring_append(&sync->hinted, &entry->ring);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

bool sync_services_flush(struct k8s_sync *sync, int64_t budget_us)
{
	int64_t start = now_us();
	unsigned int n = 0;

	while (!ring_empty(&sync->dirty)) {
		struct service_entry *entry = of_ring(sync->dirty.next);

		ring_leave(&entry->ring);
		rebuild(sync, entry);
		if ((++n & 3) == 0 && now_us() - start > budget_us)
			return ring_empty(&sync->dirty);
	}
	return true;
}

void sync_services_zone_changed(struct k8s_sync *sync)
{
	ring_move(&sync->dirty, &sync->hinted);
	sync_touch(sync);
}

static void free_slices(struct strmap *map)
{
	struct slice_entry *slice;
	uint32_t cursor = 0;

	while ((slice = strmap_next(map, &cursor)) != NULL)
		slice_free(slice);
	strmap_fini(map);
}

void sync_services_fini(struct k8s_sync *sync)
{
	struct service_entry *entry;
	uint32_t cursor = 0;

	while ((entry = strmap_next(&sync->services, &cursor)) != NULL)
		service_entry_free(entry);
	strmap_fini(&sync->services);
	free_slices(&sync->slices);
	free_slices(&sync->endpoints);
}
