/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The desired state: writers and the reconciler's queue (see model.h; reading is in
 * model_read.c). Control thread; the write lock is held only while pointers change hands. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/model_private.h"

#define KEY_BYTES 520

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	if (pthread_rwlock_init(&m->lock, NULL) != 0) {
		free(m);
		return NULL;
	}
	for (int k = 0; k < MODEL_KINDS; k++) {
		omap_init(&m->objects[k]);
		TAILQ_INIT(&m->dirty[k]);
	}
	omap_init(&m->refusals);
	m->version = 1;
	return m;
}

static void object_free(struct object *o)
{
	if (o->pub.desired != NULL)
		model_kind_ops[o->pub.kind].free(o->pub.desired);
	free(o->error);
	free(o);
}

static void refusal_free(struct refusal *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		free(r->at[i].field);
		free(r->at[i].reason);
	}
	free(r->kind);
	free(r->ns);
	free(r->name);
	free(r);
}

void model_free(struct model *m)
{
	if (m == NULL)
		return;
	for (int k = 0; k < MODEL_KINDS; k++) {
		for (struct omap_node *n = omap_after(&m->objects[k], NULL); n; n = omap_next(n))
			object_free(n->value);
		omap_fini(&m->objects[k]);
	}
	for (struct omap_node *n = omap_after(&m->refusals, NULL); n != NULL; n = omap_next(n))
		refusal_free(n->value);
	omap_fini(&m->refusals);
	for (int i = 0; i < SOURCES; i++) {
		free(m->sources[i].path);
		free(m->sources[i].phase);
		free(m->sources[i].rv);
		free(m->sources[i].last_error);
	}
	for (uint32_t i = 0; i < MODEL_CHANGES; i++)
		free(m->changes[i].key);
	free(m->cidrs);
	pthread_rwlock_destroy(&m->lock);
	free(m);
}

void model_set_notify(struct model *m, void (*fn)(void *arg), void *arg)
{
	m->notify = fn;
	m->notify_arg = arg;
}

static bool anything_dirty(const struct model *m)
{
	if (m->globals_changed)
		return true;
	for (int k = 0; k < MODEL_KINDS; k++)
		if (m->dirty_count[k] != 0)
			return true;
	return false;
}

static void notify(struct model *m)
{
	if (m->notify != NULL)
		m->notify(m->notify_arg);
}

static void globals_dirty(struct model *m)
{
	bool was = anything_dirty(m);

	m->globals_changed = true;
	if (!was)
		notify(m);
}

/* Under the write lock. Out of memory: readers who have not seen it get -ESTALE by the NULL key. */
static void record_change(struct model *m, enum model_kind kind, const char *key, bool deleted)
{
	struct change *c = &m->changes[m->changes_written++ % MODEL_CHANGES];

	free(c->key);
	c->version = ++m->version;
	c->kind = kind;
	c->deleted = deleted;
	c->key = strdup(key);
}

static void make_dirty(struct model *m, struct object *o)
{
	bool was = anything_dirty(m);

	if (o->dirty)
		return;
	o->dirty = true;
	TAILQ_INSERT_TAIL(&m->dirty[o->pub.kind], o, link);
	m->dirty_count[o->pub.kind]++;
	if (!was)
		notify(m);
}

static struct object *find(const struct model *m, enum model_kind kind, const char *key)
{
	struct omap_node *n = omap_find(&m->objects[kind], key);

	return n != NULL ? n->value : NULL;
}

/* Takes ownership of desired, also on error. */
static int object_set(struct model *m, enum model_kind kind, const char *key,
	enum model_owner owner, void *desired)
{
	const struct model_kind_ops *ops = &model_kind_ops[kind];
	struct object *o = find(m, kind, key);
	void *before;

	if (o != NULL && o->pub.desired != NULL) {
		int err = o->pub.owner != owner ? -EPERM : 0;

		if (err < 0 || ops->equal(o->pub.desired, desired)) {
			ops->free(desired);
			return err;
		}
	}
	pthread_rwlock_wrlock(&m->lock);
	if (o == NULL) {
		struct omap_node *n = omap_put(&m->objects[kind], key);

		o = calloc(1, sizeof(*o));
		if (n == NULL || o == NULL) {
			if (n != NULL)
				omap_remove(&m->objects[kind], key);
			pthread_rwlock_unlock(&m->lock);
			free(o);
			ops->free(desired);
			return -ENOMEM;
		}
		n->value = o;
		o->pub.kind = kind;
		o->pub.key = n->key;
	}
	before = o->pub.desired;
	if (before == NULL)
		m->live[kind]++;
	o->pub.desired = desired;
	o->pub.owner = owner;
	record_change(m, kind, key, false);
	o->pub.version = o->resource_version = m->version;
	o->state = MODEL_PENDING;
	pthread_rwlock_unlock(&m->lock);
	if (before != NULL)
		ops->free(before);
	make_dirty(m, o);
	return 0;
}

static int object_remove(
	struct model *m, enum model_kind kind, const char *key, enum model_owner by)
{
	struct object *o = find(m, kind, key);
	void *before;

	if (o == NULL || o->pub.desired == NULL)
		return -ENOENT;
	if (o->pub.owner != by)
		return -EPERM;
	pthread_rwlock_wrlock(&m->lock);
	before = o->pub.desired;
	o->pub.desired = NULL;
	m->live[kind]--;
	record_change(m, kind, key, true);
	o->pub.version = o->resource_version = m->version;
	o->state = MODEL_PENDING;
	pthread_rwlock_unlock(&m->lock);
	model_kind_ops[kind].free(before);
	make_dirty(m, o);
	return 0;
}

static int service_key(const char *ns, const char *name, char key[KEY_BYTES])
{
	int n = snprintf(key, KEY_BYTES, "%s/%s", ns, name);

	return n < KEY_BYTES ? 0 : -EINVAL;
}

int model_service_set(struct model *m, struct model_service *s)
{
	char key[KEY_BYTES];

	if (model_service_check(s) < 0 || service_key(s->ns, s->name, key) < 0) {
		model_service_free(s);
		return -EINVAL;
	}
	return object_set(m, MODEL_SERVICE, key, s->owner, s);
}

int model_service_remove(struct model *m, const char *ns, const char *name, enum model_owner by)
{
	char key[KEY_BYTES];

	if (service_key(ns, name, key) < 0)
		return -ENOENT;
	return object_remove(m, MODEL_SERVICE, key, by);
}

int model_node_set(struct model *m, struct model_node *n)
{
	if (model_node_check(n) < 0) {
		model_node_free(n);
		return -EINVAL;
	}
	return object_set(m, MODEL_NODE, n->name, OWNER_KUBERNETES, n);
}

int model_node_remove(struct model *m, const char *name)
{
	return object_remove(m, MODEL_NODE, name, OWNER_KUBERNETES);
}

int model_vport_set(struct model *m, struct model_vport *v)
{
	if (model_vport_check(v) < 0) {
		model_vport_free(v);
		return -EINVAL;
	}
	return object_set(m, MODEL_VPORT, v->name, v->owner, v);
}

int model_vport_remove(struct model *m, const char *name, enum model_owner by)
{
	return object_remove(m, MODEL_VPORT, name, by);
}

int model_route_set(struct model *m, struct model_route *r)
{
	char key[IP_PREFIX_TEXT_MAX];

	if (model_route_check(r) < 0) {
		model_route_free(r);
		return -EINVAL;
	}
	ip_prefix_format(&r->prefix, key);
	return object_set(m, MODEL_ROUTE, key, r->owner, r);
}

int model_route_remove(struct model *m, const struct ip_prefix *prefix, enum model_owner by)
{
	char key[IP_PREFIX_TEXT_MAX];

	ip_prefix_format(prefix, key);
	return object_remove(m, MODEL_ROUTE, key, by);
}

int model_service_cidrs_set(struct model *m, const struct ip_prefix *cidrs, uint32_t n)
{
	struct ip_prefix *copy = NULL, *before = m->cidrs;

	if (n == m->n_cidrs) {
		uint32_t i = 0;

		while (i < n && cidrs[i].len == before[i].len &&
			cidrs[i].family == before[i].family &&
			ip_equal(&cidrs[i].addr, &before[i].addr))
			i++;
		if (i == n)
			return 0;
	}
	if (n > 0) {
		copy = malloc(n * sizeof(*copy));
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, cidrs, n * sizeof(*copy));
	}
	pthread_rwlock_wrlock(&m->lock);
	m->cidrs = copy;
	m->n_cidrs = n;
	m->version++;
	pthread_rwlock_unlock(&m->lock);
	free(before);
	globals_dirty(m);
	return 0;
}

/* --- sources -------------------------------------------------------------------------------------
 */

void model_source_await(struct model *m, enum model_source_id id)
{
	if (m->sources[id].awaited)
		return;
	pthread_rwlock_wrlock(&m->lock);
	m->sources[id].awaited = true;
	pthread_rwlock_unlock(&m->lock);
	globals_dirty(m);
}

void model_source_complete(struct model *m, enum model_source_id id)
{
	if (m->sources[id].complete)
		return;
	pthread_rwlock_wrlock(&m->lock);
	m->sources[id].complete = true;
	pthread_rwlock_unlock(&m->lock);
	/* The reconciler may know of dirty services, which it leaves alone until this. */
	m->globals_changed = true;
	notify(m);
}

/* Keeps the old text when there is no memory for the new one. */
static void text_set(char **to, const char *from)
{
	char *copy = NULL;

	if (from != NULL && *to != NULL && strcmp(from, *to) == 0)
		return;
	if (from != NULL) {
		copy = strdup(from);
		if (copy == NULL)
			return;
	}
	free(*to);
	*to = copy;
}

void model_source_report(
	struct model *m, enum model_source_id id, const struct model_source_status *st)
{
	struct source *s = &m->sources[id];

	pthread_rwlock_wrlock(&m->lock);
	text_set(&s->path, st->path);
	text_set(&s->phase, st->phase);
	text_set(&s->rv, st->rv);
	text_set(&s->last_error, st->last_error);
	s->status = *st;
	s->status.path = s->path;
	s->status.phase = s->phase;
	s->status.rv = s->rv;
	s->status.last_error = s->last_error;
	pthread_rwlock_unlock(&m->lock);
}

/* --- refusals ------------------------------------------------------------------------------------
 */

static int refusal_key(const char *kind, const char *ns, const char *name, char key[KEY_BYTES])
{
	int n = snprintf(key, KEY_BYTES, "%s/%s/%s", kind, ns, name);

	return n < KEY_BYTES ? 0 : -EINVAL;
}

static struct refusal *refusal_make(
	struct model *m, const char *key, const char *kind, const char *ns, const char *name)
{
	struct omap_node *n = omap_put(&m->refusals, key);
	struct refusal *r;

	if (n == NULL || n->value != NULL)
		return n != NULL ? n->value : NULL;
	r = calloc(1, sizeof(*r));
	if (r != NULL) {
		r->kind = strdup(kind);
		r->ns = strdup(ns);
		r->name = strdup(name);
	}
	if (r == NULL || r->kind == NULL || r->ns == NULL || r->name == NULL) {
		if (r != NULL)
			refusal_free(r);
		omap_remove(&m->refusals, key);
		return NULL;
	}
	n->value = r;
	return r;
}

/* True when this fault is new. */
static bool refusal_add(struct refusal *r, const char *field, const char *reason)
{
	uint32_t i = 0;
	char *f, *why;

	while (i < r->n && strcmp(r->at[i].field, field) != 0)
		i++;
	if (i == MODEL_REFUSALS_PER_OBJECT)
		return false;
	if (i < r->n) {
		if (strcmp(r->at[i].reason, reason) == 0)
			return false;
		text_set(&r->at[i].reason, reason);
		return true;
	}
	f = strdup(field);
	why = strdup(reason);
	if (f == NULL || why == NULL) {
		free(f);
		free(why);
		return false;
	}
	r->at[i].field = f;
	r->at[i].reason = why;
	r->n++;
	return true;
}

void model_refuse(struct model *m, const char *kind, const char *ns, const char *name,
	const char *field, const char *reason)
{
	struct refusal *gone, *r;
	char key[KEY_BYTES];
	bool fresh = false;

	ns = ns != NULL ? ns : "";
	if (refusal_key(kind, ns, name, key) < 0)
		return;
	pthread_rwlock_wrlock(&m->lock);
	if (field == NULL) {
		gone = omap_remove(&m->refusals, key);
		pthread_rwlock_unlock(&m->lock);
		if (gone != NULL)
			refusal_free(gone);
		return;
	}
	r = refusal_make(m, key, kind, ns, name);
	if (r != NULL)
		fresh = refusal_add(r, field, reason);
	if (fresh)
		m->refusals_total++;
	pthread_rwlock_unlock(&m->lock);
	if (fresh)
		LOG_WARN(model, "object_refused", "kind=%s ns=%s name=%s field=%s reason=%s", kind,
			ns, name, field, reason);
}

/* --- the reconciler's side ------------------------------------------------------------------- */

struct model_object *model_dirty_next(struct model *m, enum model_kind kind)
{
	struct object *o = TAILQ_FIRST(&m->dirty[kind]);

	if (o == NULL)
		return NULL;
	TAILQ_REMOVE(&m->dirty[kind], o, link);
	m->dirty_count[kind]--;
	o->dirty = false;
	return &o->pub;
}

uint32_t model_dirty_count(const struct model *m, enum model_kind kind)
{
	return m->dirty_count[kind];
}

void model_objects_each(struct model *m, enum model_kind kind,
	void (*fn)(void *arg, struct model_object *o), void *arg)
{
	for (struct omap_node *n = omap_after(&m->objects[kind], NULL); n; n = omap_next(n)) {
		struct object *o = n->value;

		if (o->pub.desired != NULL)
			fn(arg, &o->pub);
	}
}

bool model_globals_changed(struct model *m)
{
	bool changed = m->globals_changed;

	m->globals_changed = false;
	return changed;
}

void model_applied(struct model *m, struct model_object *pub, uint64_t version, const char *error)
{
	struct object *o = (struct object *)pub; /* pub is its first member */
	enum model_state state = error != NULL ? MODEL_ERROR : MODEL_APPLIED;
	bool same;

	if (pub->desired == NULL && pub->applied == NULL && !o->dirty) {
		pthread_rwlock_wrlock(&m->lock);
		omap_remove(&m->objects[pub->kind], pub->key);
		pthread_rwlock_unlock(&m->lock);
		object_free(o);
		return;
	}
	same = o->state == state && o->applied_version == version &&
		(error == NULL ? o->error == NULL
			       : o->error != NULL && strcmp(error, o->error) == 0);
	if (same)
		return;
	pthread_rwlock_wrlock(&m->lock);
	o->state = state;
	o->applied_version = version;
	text_set(&o->error, error);
	if (pub->desired != NULL) {
		record_change(m, pub->kind, pub->key, false);
		o->resource_version = m->version;
	}
	pthread_rwlock_unlock(&m->lock);
}
