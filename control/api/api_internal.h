/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the resources of the API share: the API's state, documents, lists, jobs for the control
 * thread. API thread, unless a comment says otherwise. */

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "control/api/api.h"
#include "control/api/handoff.h"
#include "control/api/http.h"
#include "control/api/json_writer.h"
#include "control/model.h"
#include "core/dataplane.h"

struct event;
struct event_base;
struct proxy_health;

#define API_VERSION "sluice/v1"
/* Objects of the model looked at under one read lock: the control thread waits for it. */
#define API_LOCK_BATCH 32
/* How long control may take for a change before its caller is told 504. */
#define API_CHANGE_TIMEOUT_MS 10000
/* How often watches look for changes, and what is asked of the control thread is checked. */
#define API_TICK_MS     100
#define API_BOOKMARK_MS 30000
/* A health port that is taken is tried again. */
#define HEALTH_RETRY_MS 1000

/* Frontend conflicts that are told of as notices, at once. */
#define API_CONFLICTS_TOLD 64

/* Where NodePorts are. */
#define API_NODE_PORTS_MAX 32
struct api_node_ports {
	uint64_t version; /* 0: not told yet */
	bool any[IP_FAMILIES];
	uint32_t n;
	struct ip_addr at[API_NODE_PORTS_MAX];
};

struct api {
	struct api_deps deps;
	struct event_base *base;
	struct http_server *http;
	struct proxy_health *proxy_health;
	struct handoff *handoff;
	pthread_t thread;
	bool thread_runs;
	int stop_fd;
	struct event *stop_event, *done_event, *tick;
	uint16_t listen_port, health_port;
	/* Conflicts that were told of, by hash; see events.c. */
	uint64_t conflicts_told[API_CONFLICTS_TOLD];
	uint32_t n_conflicts_told;
	int64_t conflicts_ms;
	char *health_address, *netns; /* where health and metrics are to be; NULL: nowhere */
	bool health_failed;           /* said so already */
	int64_t health_retry_ms;
	int64_t started_ms; /* wall clock */
	uint64_t boot;      /* random; in cursors */
	uint64_t scanned;   /* flow entries looked at, ever */

	struct watch *watches;
	struct flow_delete *deletes;
	struct flow_names *flow_names;
	struct change *changes; /* waiting for the reconciler */

	pthread_mutex_t config_lock;
	char *config_json, *node_name; /* under config_lock, as are the next */
	struct api_node_ports node_ports;

	/* When each worker's heartbeat was last seen to move. */
	uint64_t beat[WORKERS_MAX];
	int64_t beat_ms[WORKERS_MAX];
	/* When each source was last seen watching; a client that tries again and again is not. */
	int64_t watching_ms[SOURCES];
	/* The control thread's sign of life. */
	struct job ping;
	bool ping_under_way;
	int64_t control_seen_ms;

	/* Names of vports by id, renewed when the model's version has moved. */
	uint64_t vport_names_version;
	char vport_name[VPORTS_MAX][VPORT_NAME_MAX];
};

/* --- routes: one handler a resource ---------------------------------------------------------- */

void api_get_services(struct http_request *req);
void api_get_service(struct http_request *req);
void api_get_service_backends(struct http_request *req);
void api_get_backends(struct http_request *req);
void api_get_nodes(struct http_request *req);
void api_vports(struct http_request *req); /* GET and POST */
void api_vport(struct http_request *req);  /* GET and DELETE */
void api_flows(struct http_request *req);  /* GET and DELETE */
void api_flow(struct http_request *req);   /* GET and DELETE */
void api_get_flow_lookup(struct http_request *req);
void api_get_ports(struct http_request *req);
void api_get_port(struct http_request *req);
void api_get_workers(struct http_request *req);
void api_get_worker(struct http_request *req);
void api_get_routes(struct http_request *req);
void api_get_route_lookup(struct http_request *req);
void api_get_neighbors(struct http_request *req);
void api_get_drops(struct http_request *req);
void api_get_drop_reasons(struct http_request *req);
void api_get_pipelines(struct http_request *req);
void api_get_pipeline(struct http_request *req);
void api_get_tables(struct http_request *req);
void api_get_offload(struct http_request *req);
void api_get_offload_tables(struct http_request *req);
void api_get_offload_rejections(struct http_request *req);
void api_get_offload_operations(struct http_request *req);
void api_get_refusals(struct http_request *req);
void api_get_conflicts(struct http_request *req);
void api_get_events(struct http_request *req);
void api_get_config(struct http_request *req);
void api_get_overview(struct http_request *req);
void api_get_version(struct http_request *req);
void api_get_openapi(struct http_request *req);
void api_get_livez(struct http_request *req);
void api_get_readyz(struct http_request *req);
void api_get_metrics(struct http_request *req);
void api_get_proxy_mode(struct http_request *req);

/* Notices of what is only found by looking. */
void api_events_tick(struct api *a);
/* A notice about this node, or about a Service when ns is not NULL. */
void api_notice(struct api *a, bool warning, const char *ns, const char *name, const char *reason,
	const char *fmt, ...) __attribute__((format(printf, 6, 7)));

void api_flows_fini(struct api *a);
void api_changes_fini(struct api *a);

extern const struct http_route api_routes[];

/* --- health ---------------------------------------------------------------------------------- */

struct health_check {
	char name[32];
	bool ok;
	char detail[200];
};

#define HEALTH_CHECKS_MAX (8 + SOURCES)

/* True: out was not of the present version and is now. */
bool api_node_ports(struct api *a, struct api_node_ports *out);

void api_health_init(struct api *a);
void api_health_tick(struct api *a);
uint32_t api_checks(struct api *a, struct health_check out[HEALTH_CHECKS_MAX], bool live_only);
int64_t api_worker_beat_age_ms(const struct api *a, uint32_t worker);
bool api_worker_alive(const struct api *a, uint32_t worker);

/* --- what several resources show ------------------------------------------------------------- */

struct flow_use {
	uint64_t used, capacity, high_water, created, expired, killed, reclaimed, full, index_full,
		races;
};

void api_flow_use(struct api *a, enum ip_family f, struct flow_use *out);

#define API_TABLES_MAX 32
struct table_usage;
struct rim_port_info;
uint32_t api_tables(struct api *a, struct table_usage *out);  /* API_TABLES_MAX of them */
uint32_t api_ports(struct api *a, struct rim_port_info *out); /* RIM_PORTS_MAX of them */

/* --- documents ------------------------------------------------------------------------------- */

/* A whole answer of bounded size. */
struct doc {
	struct http_request *req;
	struct evbuffer *out;
	struct jw w;
};

/* False: out of memory, and the request is answered. */
bool doc_begin(struct doc *d, struct http_request *req);
void doc_send(struct doc *d, int status);
/* Opens a list document and its items; closed by doc_list_send(). */
bool doc_list_begin(struct doc *d, struct http_request *req, const char *kind);
void doc_list_send(struct doc *d);

/* False, and the request is answered by 400, when a parameter is not one of names (NULL ends). */
bool api_check_query(struct http_request *req, const char *const *names);

static inline struct api *api_of(const struct http_request *req)
{
	return req->arg;
}

static inline int64_t api_now_ms(void)
{
	return http_now_us() / 1000;
}

int64_t api_wall_ms(void);

/* Another thread's counter; each has one writer. */
static inline uint64_t counter_load(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

/* Sum over workers of the counter at that offset in struct worker_counters. */
uint64_t api_worker_sum(const struct api *a, size_t offset);
#define API_WORKER_SUM(a, field) api_worker_sum(a, offsetof(struct worker_counters, field))

/* "" when unknown. */
const char *api_vport_name(struct api *a, uint16_t id);
extern const char *const api_role_names[]; /* by enum vport_role */

/* --- lists and watches of the model ---------------------------------------------------------- */

/* Writes one object of the model as JSON values: a service is one, its backends are many. rv is
 * what to show as resourceVersion. */
struct list_kind {
	const char *name; /* "Service"; lists are "ServiceList" */
	enum model_kind model;
	/* key is the model's; object is NULL when the object is gone. */
	void (*render)(struct api *a, struct jw *w, const char *key, const void *object,
		const struct model_status *status, uint64_t rv);
	/* Of kinds that have many items in one object, else NULL: how many, and one. */
	uint32_t (*items)(const void *object);
	void (*item)(struct api *a, struct jw *w, const char *key, const void *object, uint32_t i);
	/* Identity and contents of one, for watches. */
	void (*item_id)(const void *object, uint32_t i, char *out, size_t size);
	void (*item_gone)(struct jw *w, const char *key, const char *id);
	/* Parameters beyond limit, continue, watch, …; NULL ends. */
	const char *const *filters;
	/* True: shown. i is 0 for whole objects. */
	bool (*matches)(const struct query *q, const char *key, const void *object, uint32_t i);
};

/* Answers a list or, with ?watch=true, a watch. */
void api_list(struct http_request *req, const struct list_kind *kind);
/* One object by its key, or 404. */
void api_get_one(struct http_request *req, const struct list_kind *kind, const char *key);
void api_watch(struct http_request *req, const struct list_kind *kind);
/* Each API_TICK_MS. */
void api_watches_tick(struct api *a);
void api_changes_tick(struct api *a);

void api_write_metadata(struct jw *w, const char *ns, const char *name, enum model_owner owner,
	uint64_t rv, int64_t created_s);
void api_write_conditions(struct jw *w, const struct model_status *status);

/* Text of /openapi/v3.json, built in. */
extern const unsigned char openapi_json[];
extern const unsigned int openapi_json_len;
