/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Ties Kubernetes sync together: one reflector a resource, the end of each event-loop turn, faults
 * and progress in the model. Control thread. */

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "k8s-sync/framing.h"
#include "k8s-sync/limits.h"
#include "k8s-sync/sync_int.h"

#define PROXY_NAME_LABEL "service.kubernetes.io/service-proxy-name"

/* Members nobody reads; dropped before the JSON parser sees them. */
#define SKIP_METADATA                                                                        \
	"managedFields", "ownerReferences", "finalizers", "generateName", "selfLink", "uid", \
		"kubectl.kubernetes.io/last-applied-configuration"

static const char *const skip_service[] = {SKIP_METADATA, "selector", "conditions", NULL};
static const char *const skip_slice[] = {SKIP_METADATA, "deprecatedTopology", NULL};
static const char *const skip_node[] = {SKIP_METADATA, "images", "nodeInfo", "conditions",
	"capacity", "allocatable", "volumesInUse", "volumesAttached", "daemonEndpoints",
	"runtimeHandlers", "features", NULL};
static const char *const skip_other[] = {SKIP_METADATA, NULL};

static const struct {
	const char *path, *kind, *label_selector, *field_selector;
	const char *const *skip;
	const struct reflector_ops *ops;
	enum model_source_id source;
} resources[SYNC_RESOURCES] = {
	[SYNC_SERVICES] = {"/api/v1/services", "Service", "!" PROXY_NAME_LABEL,
		"spec.clusterIP!=None", skip_service, &sync_service_ops, SOURCE_SERVICES},
	[SYNC_SLICES] = {"/apis/discovery.k8s.io/v1/endpointslices", "EndpointSlice",
		"!service.kubernetes.io/headless", NULL, skip_slice, &sync_slice_ops,
		SOURCE_ENDPOINTS},
	[SYNC_ENDPOINTS] = {"/api/v1/endpoints", "Endpoints", "!service.kubernetes.io/headless",
		NULL, skip_other, &sync_slice_ops, SOURCE_ENDPOINTS},
	[SYNC_NODES] = {"/api/v1/nodes", "Node", NULL, NULL, skip_node, &sync_node_ops,
		SOURCE_NODE},
	[SYNC_CIDRS] = {"/apis/networking.k8s.io/v1/servicecidrs", "ServiceCIDR", NULL, NULL,
		skip_other, &sync_cidrs_ops, SOURCE_SERVICE_CIDRS},
};

/* --- faults ---------------------------------------------------------------------------------- */

static void split(const char *key, char *ns, size_t size, const char **name)
{
	const char *slash = strchr(key, '/');

	ns[0] = '\0';
	*name = key;
	if (slash != NULL) {
		snprintf(ns, size, "%.*s", (int)(slash - key), key);
		*name = slash + 1;
	}
}

/* Remembers that the object has faults; false: it has some already. */
static void remember_faulty(struct k8s_sync *sync, const char *id)
{
	char *copy;

	if (strmap_get(&sync->faulty, id) != NULL)
		return;
	copy = strdup(id);
	if (copy != NULL && strmap_put(&sync->faulty, copy, copy, NULL) != 0)
		free(copy);
}

void sync_report_fault(struct k8s_sync *sync, const char *kind, const char *key, const char *field,
	const char *reason)
{
	char id[640], ns[256];
	const char *name;

	snprintf(id, sizeof(id), "%s %s", kind, key);
	split(key, ns, sizeof(ns), &name);
	remember_faulty(sync, id);
	SYNC_LOG(sync, K8S_LOG_WARNING, "object_fault",
		"kind=%s namespace=%s name=%s field=\"%s\" reason=\"%s\"", kind, ns, name, field,
		reason);
	model_refuse(sync->model, kind, ns, name, field, reason);
}

static void clear_faults(struct k8s_sync *sync, const char *kind, const char *key)
{
	char id[640], ns[256];
	const char *name;

	if (sync->faulty.count == 0)
		return;
	snprintf(id, sizeof(id), "%s %s", kind, key);
	if (strmap_get(&sync->faulty, id) == NULL)
		return;
	free(strmap_del(&sync->faulty, id));
	split(key, ns, sizeof(ns), &name);
	model_refuse(sync->model, kind, ns, name, NULL, NULL);
}

void sync_report_faults(
	struct k8s_sync *sync, const char *kind, const char *key, const struct k8s_faults *faults)
{
	char text[64];

	clear_faults(sync, kind, key);
	if (faults == NULL)
		return;
	for (uint32_t i = 0; i < faults->n && i < K8S_FAULTS_MAX; i++) {
		const struct k8s_fault *fault = &faults->list[i];

		sync_report_fault(sync, kind, key, fault->field != NULL ? fault->field : "",
			fault->reason != NULL ? fault->reason : "");
	}
	if (faults->n > K8S_FAULTS_MAX) {
		snprintf(text, sizeof(text), "%u more faults", faults->n - K8S_FAULTS_MAX);
		sync_report_fault(sync, kind, key, "metadata.name", text);
	}
}

/* --- what reflectors tell -------------------------------------------------------------------- */

const char *sync_kind(const struct sync_source *source)
{
	return resources[source->resource].kind;
}

void sync_op_refuse(void *arg, const char *ns, const char *name, const char *reason)
{
	struct sync_source *source = arg;
	char key[FRAME_NAME_MAX * 2];

	snprintf(key, sizeof(key), "%s%s%s", ns, ns[0] != '\0' ? "/" : "", name);
	clear_faults(source->sync, sync_kind(source), key);
	sync_report_fault(source->sync, sync_kind(source), key, "", reason);
}

static void follow(struct sync_source *source, bool on)
{
	if (source->following == on)
		return;
	source->following = on;
	if (on)
		reflector_start(source->reflector);
	else
		reflector_stop(source->reflector);
}

/* A server that has learned slices: Endpoints are not needed any more. */
static void leave_endpoints(struct k8s_sync *sync)
{
	struct sync_source *source = &sync->sources[SYNC_ENDPOINTS];

	if (!source->following)
		return;
	SYNC_LOG(sync, K8S_LOG_INFO, "endpoints_source", "source=EndpointSlice");
	follow(source, false);
	reflector_forget(source->reflector);
	source->complete = false;
}

void sync_op_complete(void *arg)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	bool first = !source->complete;

	source->complete = true;
	sync_touch(sync);
	switch (source->resource) {
	case SYNC_SLICES:
		if (sync->config.endpoints == K8S_ENDPOINTS_AUTO)
			leave_endpoints(sync);
		break;
	case SYNC_NODES:
		if (first && !sync->self_seen)
			SYNC_LOG(sync, K8S_LOG_WARNING, "own_node_missing",
				"name=%s hint=\"the node name is configuration\"",
				sync->config.node_name);
		break;
	default:
		break;
	}
}

/* What may be missing must not keep services from being served. */
void sync_op_absent(void *arg, int status)
{
	struct sync_source *source = arg;
	struct k8s_sync *sync = source->sync;
	struct sync_source *endpoints = &sync->sources[SYNC_ENDPOINTS];

	switch (source->resource) {
	case SYNC_SLICES:
		if (status != 404 || sync->config.endpoints != K8S_ENDPOINTS_AUTO ||
			endpoints->following)
			return;
		SYNC_LOG(sync, K8S_LOG_INFO, "endpoints_source", "source=Endpoints");
		follow(endpoints, true);
		return;
	case SYNC_NODES:
	case SYNC_CIDRS:
		source->complete = true;
		sync_touch(sync);
		return;
	default:
		return;
	}
}

void sync_op_changed(void *arg)
{
	struct sync_source *source = arg;

	source->changed = true;
	sync_touch(source->sync);
}

/* --- the end of a turn ----------------------------------------------------------------------- */

void sync_touch(struct k8s_sync *sync)
{
	event_active(sync->turn, EV_TIMEOUT, 0);
}

static void report(struct k8s_sync *sync, struct sync_source *source)
{
	struct reflector_status st;
	struct model_source_status out;

	if (!source->changed)
		return;
	source->changed = false;
	/* Of the two kinds of endpoints only one is shown. */
	if (source->resource == SYNC_SLICES && sync->sources[SYNC_ENDPOINTS].following)
		return;
	if (source->resource == SYNC_ENDPOINTS && !source->following)
		return;
	reflector_status(source->reflector, &st);
	out = (struct model_source_status){
		.path = resources[source->resource].path,
		.phase = reflector_phase_name(st.phase),
		.rv = st.rv,
		.last_error = st.last_error,
		.lists = st.lists,
		.watches = st.watches,
		.events = st.events,
		.bookmarks = st.bookmarks,
		.errors = st.errors,
		.unknown_events = st.unknown_events,
		.last_activity_ms = st.last_activity_ms,
		.objects = st.objects,
	};
	model_source_report(sync->model, resources[source->resource].source, &out);
}

static bool endpoints_complete(const struct k8s_sync *sync)
{
	return sync->sources[SYNC_SLICES].complete || sync->sources[SYNC_ENDPOINTS].complete;
}

static void tell_complete(struct k8s_sync *sync)
{
	if (sync->sources[SYNC_NODES].complete)
		model_source_complete(sync->model, SOURCE_NODE);
	if (sync->sources[SYNC_CIDRS].complete)
		model_source_complete(sync->model, SOURCE_SERVICE_CIDRS);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval zero;
	struct k8s_sync *sync = arg;

	sync_cidrs_flush(sync);
	tell_complete(sync);
	/* Until both are known every service would be built with half of what makes it up. */
	if (sync->sources[SYNC_SERVICES].complete && endpoints_complete(sync)) {
		if (!sync_services_flush(sync, K8S_TURN_BUDGET_US)) {
			event_add(sync->next_turn, &zero);
			return;
		}
		if (!sync->services_told) {
			sync->services_told = true;
			model_source_complete(sync->model, SOURCE_SERVICES);
			model_source_complete(sync->model, SOURCE_ENDPOINTS);
		}
	}
	for (int i = 0; i < SYNC_RESOURCES; i++)
		report(sync, &sync->sources[i]);
}

/* --- life ------------------------------------------------------------------------------------ */

void k8s_config_defaults(struct k8s_config *config)
{
	*config = (struct k8s_config){.timings = k8s_timings_default, .external_ips = true};
}

static int copy(const char **to)
{
	if (*to == NULL)
		return 0;
	*to = strdup(*to);
	return *to != NULL ? 0 : -ENOMEM;
}

/* Copies every string, or leaves those behind the failed one NULL. */
static int copy_config(struct k8s_config *config, const struct k8s_config *from)
{
	const char **strings[] = {&config->socket, &config->url, &config->ca_file,
		&config->token_file, &config->cert_file, &config->key_file, &config->node_name,
		&config->service_proxy_name};
	int rc = 0;

	*config = *from;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		if (rc == 0)
			rc = copy(strings[i]);
		else
			*strings[i] = NULL;
	}
	return rc;
}

static void free_config(struct k8s_config *config)
{
	free((char *)config->socket);
	free((char *)config->url);
	free((char *)config->ca_file);
	free((char *)config->token_file);
	free((char *)config->cert_file);
	free((char *)config->key_file);
	free((char *)config->node_name);
	free((char *)config->service_proxy_name);
}

static int init_source(struct k8s_sync *sync, struct event_base *base, enum sync_resource resource)
{
	struct sync_source *source = &sync->sources[resource];
	struct reflector_config config = {
		.path = resources[resource].path,
		.kind = resources[resource].kind,
		.label_selector = resources[resource].label_selector,
		.field_selector = resources[resource].field_selector,
		.skip = resources[resource].skip,
		.timings = &sync->config.timings,
		.env = &sync->config.env,
		.shared = &sync->shared,
		.ops = resources[resource].ops,
		.arg = source,
	};

	source->sync = sync;
	source->resource = resource;
	if (resource == SYNC_SERVICES && sync->service_selector != NULL)
		config.label_selector = sync->service_selector;
	if (resource == SYNC_SLICES)
		source->objects = &sync->slices;
	else if (resource == SYNC_ENDPOINTS)
		source->objects = &sync->endpoints;
	return reflector_new(base, sync->http, &config, &source->reflector);
}

static void init_maps(struct k8s_sync *sync)
{
	struct strmap *maps[] = {
		&sync->services, &sync->slices, &sync->endpoints, &sync->cidrs, &sync->faulty};
	uint32_t seed = 0;

	/* Names come from outside; a seed nobody knows keeps them from colliding on purpose. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint32_t)(uintptr_t)sync;
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		strmap_init(maps[i], seed + (uint32_t)i);
	ring_init(&sync->dirty);
	ring_init(&sync->hinted);
}

static int init_sync(
	struct k8s_sync *sync, struct event_base *base, const struct k8s_config *config)
{
	struct http_config http = {
		.answers = config->answers,
		.socket = config->socket,
		.url = config->url,
		.ca_file = config->ca_file,
		.token_file = config->token_file,
		.cert_file = config->cert_file,
		.key_file = config->key_file,
	};
	int rc = copy_config(&sync->config, config);

	if (rc != 0)
		return rc;
	sync->decode.service_proxy_name = sync->config.service_proxy_name;
	sync->decode.external_ips = config->external_ips;
	if (config->service_proxy_name != NULL &&
		asprintf(&sync->service_selector, "%s=%s", PROXY_NAME_LABEL,
			config->service_proxy_name) < 0) {
		sync->service_selector = NULL;
		return -ENOMEM;
	}
	sync->turn = event_new(base, -1, 0, on_turn, sync);
	sync->next_turn = evtimer_new(base, on_turn, sync);
	if (sync->turn == NULL || sync->next_turn == NULL)
		return -ENOMEM;
	rc = http_client_new(base, &http, &sync->http);
	for (int i = 0; rc == 0 && i < SYNC_RESOURCES; i++)
		rc = init_source(sync, base, (enum sync_resource)i);
	return rc;
}

int k8s_sync_new(struct event_base *base, const struct k8s_config *config, struct model *model,
	struct k8s_sync **out)
{
	struct k8s_sync *sync;
	int rc;

	if (config->node_name == NULL || config->node_name[0] == '\0')
		return -EINVAL;
	sync = calloc(1, sizeof(*sync));
	if (sync == NULL)
		return -ENOMEM;
	sync->model = model;
	init_maps(sync);
	rc = init_sync(sync, base, config);
	if (rc != 0) {
		k8s_sync_free(sync);
		return rc;
	}
	model_source_await(model, SOURCE_SERVICES);
	model_source_await(model, SOURCE_ENDPOINTS);
	model_source_await(model, SOURCE_NODE);
	*out = sync;
	return 0;
}

void k8s_sync_start(struct k8s_sync *sync)
{
	follow(&sync->sources[SYNC_SERVICES], true);
	follow(&sync->sources[SYNC_NODES], true);
	follow(&sync->sources[SYNC_CIDRS], true);
	if (sync->config.endpoints == K8S_ENDPOINTS_OBJECTS)
		follow(&sync->sources[SYNC_ENDPOINTS], true);
	else
		follow(&sync->sources[SYNC_SLICES], true);
}

void k8s_sync_stop(struct k8s_sync *sync)
{
	for (int i = 0; i < SYNC_RESOURCES; i++)
		follow(&sync->sources[i], false);
}

void k8s_sync_free(struct k8s_sync *sync)
{
	uint32_t cursor = 0;
	char *id;

	if (sync == NULL)
		return;
	for (int i = 0; i < SYNC_RESOURCES; i++)
		reflector_free(sync->sources[i].reflector);
	http_client_free(sync->http);
	if (sync->turn != NULL)
		event_free(sync->turn);
	if (sync->next_turn != NULL)
		event_free(sync->next_turn);
	sync_services_fini(sync);
	sync_nodes_fini(sync);
	while ((id = strmap_next(&sync->faulty, &cursor)) != NULL)
		free(id);
	strmap_fini(&sync->faulty);
	free_config(&sync->config);
	free(sync->service_selector);
	free(sync->zone);
	free(sync);
}
