/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Inside of the model; included by model*.c only (see model.h for threads). */

#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "control/model.h"
#include "control/omap.h"

/* Changes a reader may lag behind before it has to read everything again. */
#define MODEL_CHANGES 8192
/* Faults shown of one object; a hostile object must not fill memory with them. */
#define MODEL_REFUSALS_PER_OBJECT 32

/* Writers: control thread, under the write lock (dirty and link: control thread alone). */
struct object {
	struct model_object pub;
	enum model_state state;
	char *error;
	uint64_t resource_version;
	uint64_t applied_version;
	bool dirty;
	TAILQ_ENTRY(object) link;
};

TAILQ_HEAD(object_list, object);

struct change {
	uint64_t version;
	enum model_kind kind;
	bool deleted;
	char *key;
};

struct refusal {
	char *kind, *ns, *name;
	uint32_t n;
	struct {
		char *field, *reason;
	} at[MODEL_REFUSALS_PER_OBJECT];
};

struct source {
	bool awaited, complete;
	char *path, *phase, *rv, *last_error;
	struct model_source_status status;
};

struct model {
	pthread_rwlock_t lock;
	struct omap objects[MODEL_KINDS]; /* of struct object */
	struct object_list dirty[MODEL_KINDS];
	uint32_t dirty_count[MODEL_KINDS];
	uint32_t live[MODEL_KINDS]; /* objects whose desired is not NULL */
	uint64_t version;
	struct change changes[MODEL_CHANGES]; /* ring */
	uint64_t changes_written;
	struct omap refusals; /* of struct refusal */
	uint64_t refusals_total;
	struct source sources[SOURCES];
	uint32_t n_cidrs;
	struct ip_prefix *cidrs;
	bool globals_changed;
	void (*notify)(void *arg);
	void *notify_arg;
};

struct model_kind_ops {
	void (*free)(void *desired);
	bool (*equal)(const void *a, const void *b);
};

extern const struct model_kind_ops model_kind_ops[MODEL_KINDS];

/* 0 or -EINVAL: the object contradicts itself. */
int model_service_check(const struct model_service *s);
int model_node_check(const struct model_node *n);
int model_vport_check(const struct model_vport *v);
int model_route_check(const struct model_route *r);
