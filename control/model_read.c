/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Reading the model, under its read lock (see model.h). Nothing here changes anything, so slices
 * of a list can run on the API thread while control works. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/model_private.h"

const char *const model_state_names[] = {"Pending", "Applied", "Error"};
const char *const model_owner_names[] = {"Config", "Kubernetes", "API"};
const char *const model_source_names[] = {"services", "endpoints", "node", "servicecidrs"};
const char *const model_kind_names[MODEL_KINDS] = {"Service", "Node", "VPort", "Route"};

void model_read_lock(struct model *m)
{
	pthread_rwlock_rdlock(&m->lock);
}

void model_read_unlock(struct model *m)
{
	pthread_rwlock_unlock(&m->lock);
}

uint64_t model_version(const struct model *m)
{
	return m->version;
}

uint32_t model_count(const struct model *m, enum model_kind kind)
{
	return m->live[kind];
}

static void status_of(const struct object *o, struct model_status *out)
{
	out->state = o->state;
	out->resource_version = o->resource_version;
	out->version = o->pub.version;
	out->applied_version = o->applied_version;
	out->error = o->error;
}

const void *model_find(
	const struct model *m, enum model_kind kind, const char *key, struct model_status *status)
{
	struct omap_node *n = omap_find(&m->objects[kind], key);
	const struct object *o = n != NULL ? n->value : NULL;

	if (o == NULL || o->pub.desired == NULL)
		return NULL;
	if (status != NULL)
		status_of(o, status);
	return o->pub.desired;
}

const struct model_service *model_service_find(
	const struct model *m, const char *ns, const char *name, struct model_status *status)
{
	char key[520];

	if (snprintf(key, sizeof(key), "%s/%s", ns, name) >= (int)sizeof(key))
		return NULL;
	return model_find(m, MODEL_SERVICE, key, status);
}

const struct model_node *model_node_self(const struct model *m)
{
	for (struct omap_node *n = omap_after(&m->objects[MODEL_NODE], NULL); n; n = omap_next(n)) {
		const struct object *o = n->value;
		const struct model_node *node = o->pub.desired;

		if (node != NULL && node->is_self)
			return node;
	}
	return NULL;
}

uint32_t model_each(const struct model *m, enum model_kind kind, const char *after, uint32_t max,
	model_each_fn fn, void *arg)
{
	uint32_t shown = 0;

	for (struct omap_node *n = omap_after(&m->objects[kind], after); n; n = omap_next(n)) {
		const struct object *o = n->value;
		struct model_status status;

		if (o->pub.desired == NULL)
			continue;
		status_of(o, &status);
		shown++;
		if (!fn(arg, n->key, o->pub.desired, &status) || shown == max)
			break;
	}
	return shown;
}

int model_changes_each(
	const struct model *m, uint64_t since, uint32_t max, model_change_fn fn, void *arg)
{
	uint64_t first =
		m->changes_written > MODEL_CHANGES ? m->changes_written - MODEL_CHANGES : 0;
	uint64_t at = m->changes_written;
	uint32_t shown = 0;

	while (at > first && m->changes[(at - 1) % MODEL_CHANGES].version > since)
		at--;
	/* The oldest kept is still new to the reader: older ones may have been, too. */
	if (at == first && first > 0)
		return -ESTALE;
	for (uint64_t i = at; i < m->changes_written && (max == 0 || shown < max); i++) {
		const struct change *c = &m->changes[i % MODEL_CHANGES];

		if (c->key == NULL)
			return -ESTALE;
		fn(arg, c->version, c->kind, c->key, c->deleted);
		shown++;
	}
	return (int)shown;
}

uint32_t model_service_cidrs(const struct model *m, const struct ip_prefix **out)
{
	*out = m->cidrs;
	return m->n_cidrs;
}

void model_source_get(
	const struct model *m, enum model_source_id id, struct model_source_state *out)
{
	out->awaited = m->sources[id].awaited;
	out->complete = m->sources[id].complete;
	out->status = m->sources[id].status;
}

bool model_sources_complete(const struct model *m)
{
	for (int i = 0; i < SOURCES; i++)
		if (m->sources[i].awaited && !m->sources[i].complete)
			return false;
	return true;
}

uint32_t model_refusals_each(
	const struct model *m, const char *after, uint32_t max, model_refusal_fn fn, void *arg)
{
	uint32_t shown = 0;

	for (struct omap_node *n = omap_after(&m->refusals, after); n; n = omap_next(n)) {
		const struct refusal *r = n->value;

		if (r == NULL)
			continue;
		for (uint32_t i = 0; i < r->n; i++)
			if (!fn(arg, n->key, r->kind, r->ns, r->name, r->at[i].field,
				    r->at[i].reason))
				return shown;
		if (++shown == max)
			break;
	}
	return shown;
}

uint32_t model_refusals_count(const struct model *m)
{
	return m->refusals.count;
}

uint64_t model_refusals_total(const struct model *m)
{
	return m->refusals_total;
}
