/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The stand-in's memory: one sorted table of objects per resource, the history of its changes,
 * and snapshots of it at any resource version that the history still covers.
 *
 * An object is immutable and counted: a change makes a new one. Its JSON text is made once; lists,
 * watches and snapshots copy or share that text and never serialise again.
 */
#pragma once

#include "resource.h"

#include <event2/buffer.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct object {
	unsigned int refs;
	uint64_t rv;
	char *key;        /* "namespace/name", or "name" */
	char *ns;         /* "" when the resource has no namespaces */
	const char *name; /* inside key */
	char *uid;
	char *created;
	char *labels; /* key NUL value NUL ... NUL */
	char *fields; /* one NUL-ended value per resource.fields */
	/* the text after the value of metadata.resourceVersion, up to the closing brace */
	char *tail;
	size_t tail_len;
};

/* one change; object is NULL for a deletion, former for a creation */
struct change {
	uint64_t rv;
	struct object *object;
	struct object *former;
};

struct snapshot {
	unsigned int refs;
	uint64_t seq; /* changes applied */
	struct object **items;
	size_t n;
};

struct watch;
LIST_HEAD(watch_list, watch);

struct table {
	const struct resource *res;
	bool served;
	struct object **items; /* sorted by key */
	size_t n, cap;

	struct change *ring; /* change s is ring[s % ring_cap], for first_seq <= s < next_seq */
	size_t ring_cap;
	uint64_t first_seq, next_seq;
	size_t ring_bytes;
	uint64_t compacted_rv; /* changes up to this one are gone */

	struct snapshot *cached; /* the last one that was asked for: pages of one list share it */
	struct watch_list watches;
};

struct store {
	uint64_t rv; /* of the last change of any resource, as in etcd */
	struct table tables[RESOURCE_COUNT];
	size_t history_max;
	size_t history_bytes_max;
	void (*changed)(void *arg, struct table *t); /* after each change */
	void *changed_arg;
};

void store_init(struct store *s, uint64_t first_rv, size_t history_max);
void store_fini(struct store *s);

/*
 * Makes an object, not yet stored, from a JSON document: takes the fields a selector may ask for,
 * drops kind, apiVersion and the old resource version. -EINVAL when there is no usable
 * metadata.name. root is changed but stays the caller's.
 */
int object_from_json(const struct resource *res, json_t *root, struct object **out);
/*
 * As above for text that is known to be right; all strings are copied but tail, which is taken.
 * labels is a packed list as in struct object, fields likewise (NULL: all empty).
 */
struct object *object_from_text(const struct resource *res, const char *ns, const char *name,
	const char *labels, size_t labels_len, const char *fields, char *tail, size_t tail_len);
struct object *object_get(struct object *o);
void object_put(struct object *o);
const char *object_label(const struct object *o, const char *key); /* NULL: not there */
const char *object_field(const struct object *o, int index);

/* appends the JSON text with the resource version rv; with kind and apiVersion, or without */
void object_write(const struct object *o, const struct resource *res, uint64_t rv, bool typed,
	struct evbuffer *out);
/* parses the text again; the caller drops the reference */
json_t *object_json(const struct object *o, const struct resource *res, bool typed);

char *object_key(const struct resource *res, const char *ns, const char *name);
struct object *store_find(const struct table *t, const char *ns, const char *name);
/* takes the reference to o; adds or replaces by key, gives it the next resource version */
void store_set(struct store *s, struct table *t, struct object *o);
/* -ENOENT when there is none; *former (may be NULL) is a new reference */
int store_delete(
	struct store *s, struct table *t, const char *ns, const char *name, struct object **former);

/* the first change after rv; -ESTALE when the history no longer reaches back to it */
int store_seq_after(const struct table *t, uint64_t rv, uint64_t *seq);
const struct change *store_change(const struct table *t, uint64_t seq);
/* the table as of rv; -ESTALE as above */
int store_snapshot(struct store *s, struct table *t, uint64_t rv, struct snapshot **out);
void snapshot_put(struct snapshot *snap);
/* the index of the first item whose key is greater than key */
size_t snapshot_after(const struct snapshot *snap, const char *key);

/* forgets the history of one table, or of all (t NULL) */
void store_compact(struct store *s, struct table *t);
