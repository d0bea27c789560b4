/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The inside of Kubernetes sync: sync.c owns the reflectors and the turn, sync_services.c the
 * index from services to their slices, sync_nodes.c nodes and service ranges. Control thread. */

#pragma once

#include "control/model.h"
#include "k8s-sync/decode.h"
#include "k8s-sync/http.h"
#include "k8s-sync/selection.h"
#include "k8s-sync/strmap.h"
#include "k8s-sync/sync.h"

struct event;

/* A ring of services: an entry leaves whichever ring it is in without knowing it, and a whole
 * ring moves into another at once. */
struct ring {
	struct ring *next, *prev;
};

/* What of one service is known: it, its slices, or both; events come in any order. */
struct service_entry {
	struct ring ring; /* in sync->dirty, in sync->hinted, or alone */
	bool in_model;
	struct model_service *spec;  /* without backends; NULL: not known, or nothing to serve */
	struct slice_entry **slices; /* sorted by key */
	uint32_t n_slices, slices_capacity;
	char key[]; /* "namespace/name" */
};

/* An EndpointSlice, or an Endpoints object. */
struct slice_entry {
	struct service_entry *service; /* NULL: belongs to none */
	struct k8s_endpoints *data;    /* NULL: refused at first sight */
	char key[];
};

struct cidrs_entry {
	struct k8s_cidrs *data;
	char key[];
};

enum sync_resource {
	SYNC_SERVICES,
	SYNC_SLICES,
	SYNC_ENDPOINTS,
	SYNC_NODES,
	SYNC_CIDRS,
	SYNC_RESOURCES,
};

struct sync_source {
	struct k8s_sync *sync;
	enum sync_resource resource;
	struct reflector *reflector;
	struct strmap *objects; /* slices or Endpoints: where they are kept */
	bool following;
	bool changed;  /* its status is to be reported */
	bool complete; /* listed once, or known to be missing */
};

struct k8s_sync {
	struct model *model;
	struct http_client *http;
	struct event *turn, *next_turn;
	struct k8s_config config; /* its strings are owned */
	struct k8s_decode_config decode;
	char *service_selector;
	struct reflector_shared shared;
	struct sync_source sources[SYNC_RESOURCES];

	struct strmap services;          /* "ns/name" -> service_entry */
	struct strmap slices, endpoints; /* "ns/name" -> slice_entry */
	struct strmap cidrs;
	struct strmap faulty; /* "Kind ns/name" whose faults are shown */
	struct ring dirty;    /* to be rebuilt */
	struct ring hinted;   /* not dirty, and depend on our zone */
	bool cidrs_dirty;
	bool services_told; /* both sources reported complete to the model */
	bool self_seen;
	char *zone; /* of our node; NULL: none */
};

/* sync.c */

/* The end of this event-loop turn has work. */
void sync_touch(struct k8s_sync *sync);
/* Makes the shown faults of an object those given; NULL: none. */
void sync_report_faults(
	struct k8s_sync *sync, const char *kind, const char *key, const struct k8s_faults *faults);
void sync_report_fault(struct k8s_sync *sync, const char *kind, const char *key, const char *field,
	const char *reason);
/* The members of reflector_ops that all resources share. */
void sync_op_refuse(void *arg, const char *ns, const char *name, const char *reason);
void sync_op_complete(void *arg);
void sync_op_absent(void *arg, int status);
void sync_op_changed(void *arg);
const char *sync_kind(const struct sync_source *source);

#define SYNC_LOG(sync, level, event, ...)                                                          \
	do {                                                                                       \
		if ((sync)->config.env.log != NULL)                                                \
			(sync)->config.env.log((sync)->config.env.arg, level, event, __VA_ARGS__); \
	} while (0)

static inline void ring_init(struct ring *ring)
{
	ring->next = ring->prev = ring;
}

static inline bool ring_empty(const struct ring *ring)
{
	return ring->next == ring;
}

static inline void ring_leave(struct ring *ring)
{
	ring->next->prev = ring->prev;
	ring->prev->next = ring->next;
	ring_init(ring);
}

static inline void ring_append(struct ring *head, struct ring *ring)
{
	ring_leave(ring);
	ring->prev = head->prev;
	ring->next = head;
	head->prev->next = ring;
	head->prev = ring;
}

/* Moves all of from behind the end of to. */
static inline void ring_move(struct ring *to, struct ring *from)
{
	if (ring_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	ring_init(from);
}

/* sync_services.c */
extern const struct reflector_ops sync_service_ops, sync_slice_ops;
void sync_services_fini(struct k8s_sync *sync);
/* Our zone changed: what depends on it is to be computed again. */
void sync_services_zone_changed(struct k8s_sync *sync);
/* Rebuilds dirty services for about budget_us. true: nothing is left. */
bool sync_services_flush(struct k8s_sync *sync, int64_t budget_us);

/* sync_nodes.c */
extern const struct reflector_ops sync_node_ops, sync_cidrs_ops;
void sync_nodes_fini(struct k8s_sync *sync);
void sync_cidrs_flush(struct k8s_sync *sync);
