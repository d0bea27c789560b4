/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A model that only remembers: it implements what Kubernetes sync needs of control/model.h (its
 * objects are the real ones', model_objects.c), so
 * that the client can be tested alone. Single thread. */

#pragma once

#include <jansson.h>

#include "control/model.h"

struct k8s_model_counts {
	uint64_t service_sets, service_changes, service_removes;
	uint64_t node_changes, node_removes, cidr_sets;
	uint64_t refusals;
	/* Smallest number of services since the sources were complete. */
	uint32_t services_min;
};

/* Everything as one object, keys sorted when dumped with JSON_SORT_KEYS:
 * {"services":{"ns/name":{..}}, "nodes":{..}, "cidrs":[..], "faults":{"Kind ns/name":{field:
 * reason}}, "sources":{name:{..}}, "awaited":[..], "complete":[..]}. */
json_t *k8s_model_json(const struct model *m);
const struct model_service *k8s_model_service(const struct model *m, const char *key);
const struct model_node *k8s_model_node(const struct model *m, const char *name);
uint32_t k8s_model_services(const struct model *m);
bool k8s_model_complete(const struct model *m, enum model_source_id id);
/* The reason shown for a field of an object ("Service ns/name"), or NULL. */
const char *k8s_model_fault(const struct model *m, const char *object, const char *field);
struct k8s_model_counts k8s_model_counts(const struct model *m);
/* Called for each service set or removed (s NULL). */
void k8s_model_watch(struct model *m,
	void (*fn)(void *arg, const char *key, const struct model_service *s), void *arg);
