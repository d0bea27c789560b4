/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Inside of the reconciler; included by reconcile*.c only. Control thread, but for what the
 * reader lock guards. */

#pragma once

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "control/reconcile.h"
#include "control/retire.h"

struct applied_port;
struct frontend;

/* --- services (reconcile_service.c) ---------------------------------------------------------- */

/* One service's wish for one frontend. */
struct claim {
	struct frontend *frontend;
	struct applied_service *service;
	struct applied_port *port; /* NULL: SVC_ADDRESS */
	uint8_t kind;              /* enum svc_frontend_kind */
	bool wanted;               /* by the change in progress */
	LIST_ENTRY(claim) of_frontend;
	LIST_ENTRY(claim) of_owner;
};

LIST_HEAD(claim_list, claim);

struct applied_backend {
	struct ip_addr addr;
	uint16_t port; /* host order */
	bool terminating;
	backend_ref ref;
};

struct applied_port {
	uint32_t id;
	uint8_t proto, family;
	uint16_t port; /* host order */
	bool wanted;
	struct applied_service *service;
	struct svc_port *svc;
	struct svc_list *cluster, *local; /* may be the reconciler's empty list, or each other */
	uint32_t n_backends;
	struct applied_backend *backends; /* sorted */
	struct claim_list claims;
	LIST_ENTRY(applied_port) of_service;
	LIST_ENTRY(applied_port) of_id;
};

LIST_HEAD(port_list, applied_port);

struct applied_service {
	const char *key; /* the model object's */
	struct model_object *object;
	int64_t created;
	uint64_t verified_ms; /* or applied; 0: in no queue */
	bool failed;          /* not wholly applied */
	TAILQ_ENTRY(applied_service) of_verify;
	struct port_list ports;
	struct claim_list addresses;
};

TAILQ_HEAD(service_queue, applied_service);

/* --- frontends and who has them (reconcile_claim.c) ------------------------------------------ */

struct frontend {
	struct svc_frontend_key key;
	struct claim_list claims;
	struct claim *winner; /* what the service table holds */
	bool conflict;
	LIST_ENTRY(frontend) link;
	LIST_ENTRY(frontend) conflict_link;
};

LIST_HEAD(frontend_list, frontend);

/* --- vports and routes ----------------------------------------------------------------------- */

enum vport_phase {
	VPORT_WAITING, /* could not be opened; tried again */
	VPORT_OPEN,    /* opened, not yet in the published table */
	VPORT_RUNNING,
	VPORT_LEAVING, /* removed, still in the published table */
	VPORT_CLOSING, /* waits for the grace period */
};

struct applied_vport {
	uint16_t id;
	enum vport_phase phase;
	struct model_object *object; /* NULL when leaving */
	char name[VPORT_NAME_MAX];
	char *device;            /* what it stands on, in one line: another means opening anew */
	struct vport opened;     /* port, MAC and MTU as the rim gave them */
	struct vport record;     /* as in the table, or to be */
	struct vport *published; /* in the table */
	uint32_t n_links;        /* uplink: its own addresses with their link's length */
	struct ip_prefix links[VPORT_ADDRS_MAX];
	bool tried;    /* could not be opened in this round */
	bool starting; /* frames may come once routes are published */
};

/* A prefix whose hosts are neighbours on a vport. */
struct onlink {
	struct ip_prefix prefix;
	uint16_t vport;
};

struct route_entry {
	struct reconcile_route r;
	uint32_t order; /* of equal prefixes the greatest wins */
};

struct route_set {
	uint32_t n, room;
	struct route_entry *at;
	uint32_t n_held, held_room;
	uint16_t *held; /* counted next hops */
	uint32_t n_links, links_room;
	struct onlink *links;
	bool failed; /* out of memory: not to be published */
};

/* --- the whole ------------------------------------------------------------------------------- */

#define SVC_ID_BUCKETS 16384
#define VPORT_RETRY_MS 5000
/* Addresses of the host that may have NodePorts: workers look through them. */
#define NODE_PORT_ADDRS_MAX 64
/* Until every port is open and the first state of the services is in force, or this long when it
 * does not come, no frame is taken in: half a state would answer "unreachable", and let replies of
 * services pass untranslated, which ends the connections of those who get them. */
#define START_WAIT_MS 3000
/* Routes that change in a burst are published this often at most. */
#define ROUTES_INTERVAL_NS 10000000

/* What is known of this node; it outlives the Node object, which a kubelet may make anew. */
/* --- acknowledgements (reconcile_settle.c) ---------------------------------------------------- */

struct settle_ack {
	struct model_object *object;
	uint64_t version;
	char *error;
};

enum settle_phase {
	SETTLE_DONE,
	SETTLE_GRACE,    /* workers may still go by what was */
	SETTLE_HARDWARE, /* rules may */
};

struct settle {
	enum settle_phase phase;
	bool touched; /* something was published since the last ticket */
	uint32_t stamp, n, room;
	uint64_t ticket, since_ms;
	struct settle_ack *acks;
};

struct node_addrs {
	uint32_t n, n_pods;
	struct ip_addr at[32];
	struct ip_prefix pods[16];
};

struct reconciler {
	struct dataplane *dp;
	struct model *model;
	struct neighbours *nb;
	struct retire *retire;
	const struct config *cfg;
	struct reconcile_io io;

	struct svc_table *table;
	struct backend_table *backends;
	struct svc_list *empty;
	uint32_t next_svc_id;
	struct port_list ids[SVC_ID_BUCKETS];
	struct frontend_list *frontends;
	uint32_t n_frontend_buckets, n_frontends;
	uint64_t salt;
	struct frontend_list conflicts;
	char fault[200]; /* of the object being applied; "" none */

	struct node_addrs node;
	struct applied_vport *vports[VPORTS_MAX];
	uint16_t last_vport_id;
	struct route_set routes; /* published */
	uint32_t generation;
	uint64_t routes_ns; /* of the last publication */
	uint64_t vport_retry_ms;

	/* What core published at first, and our own records in force. */
	const struct svc_domain *first_services;
	const struct tunables *first_tunables;
	const struct route_domain *first_routes;
	const struct vport_table *first_vports;
	const void *domain_mine, *tunables_mine, *routes_mine, *vports_mine;

	struct service_queue verify[2]; /* those that failed apart; the longest ago first */
	struct settle settle;
	bool ready, draining;
	bool opening;   /* some of the ports wait for their turn */
	bool admitting; /* frames are taken in, from now on for good */
	uint64_t admit_by_ms;
	_Atomic bool ready_published;
	bool domain_dirty, routes_dirty, tunables_dirty, vports_dirty;

	pthread_mutex_t lock;             /* ids, routes, vports, conflicts, stats: for readers */
	struct reconcile_stats stats;     /* being counted */
	struct reconcile_stats published; /* as of the last step */
};

/* Remembers why the object being applied is not wholly in force; the first reason stays. */
__attribute__((format(printf, 2, 3))) void reconcile_fault(
	struct reconciler *r, const char *fmt, ...);
uint64_t reconcile_now_ns(const struct reconciler *r);

/* The object is in force as of version, once what went before it is not. */
void reconcile_applied(
	struct reconciler *r, struct model_object *o, uint64_t version, const char *error);
/* Behind a step's publications. */
void reconcile_settle_begin(struct reconciler *r);
/* True when nothing is awaited: the next step may be taken. */
bool reconcile_settle_poll(struct reconciler *r);
void reconcile_settle_fini(struct reconciler *r);

void reconcile_service_apply(struct reconciler *r, struct model_object *o);
void reconcile_service_drop(struct reconciler *r, struct applied_service *s);
/* Applies and tells the model how that went. */
void reconcile_service_take(struct reconciler *r, struct model_object *o);

/* The service has just been applied, wholly or not. */
void reconcile_verify_later(struct reconciler *r, struct applied_service *s, bool failed);
void reconcile_verify_forget(struct reconciler *r, struct applied_service *s);
/* Looks again at those whose time has come, a few at once. */
void reconcile_verify(struct reconciler *r, uint64_t now_ms);

/* Finds or makes the claim in list; 0 or -ENOMEM. */
int claim_add(struct reconciler *r, struct claim_list *list, struct applied_service *s,
	struct applied_port *port, const struct svc_frontend_key *key, uint8_t kind);
/* Publishes frontends whose best claim is another than before, or has another svc_port. */
void claim_refresh(struct reconciler *r, struct claim *c, bool svc_changed);
void claim_remove(struct reconciler *r, struct claim *c);
/* Sets the frontend in the service table again when it does not hold what the claim won. */
bool claim_repair(struct reconciler *r, struct claim *c);
int claims_init(struct reconciler *r);
void claims_fini(struct reconciler *r);

void reconcile_node_addrs(struct reconciler *r);
bool reconcile_publish_domain(struct reconciler *r);
bool reconcile_publish_tunables(struct reconciler *r);
void reconcile_domain_fini(struct reconciler *r);

void reconcile_vport_apply(struct reconciler *r, struct model_object *o);
/* Opens what waits, fills records, publishes the table. True when some are left for the next
 * step. */
bool reconcile_publish_vports(struct reconciler *r);
/* Behind the publication of routes: starts new vports, takes leaving ones out of the table. */
void reconcile_vports_settle(struct reconciler *r);
/* No frames any more. */
void reconcile_vports_stop(struct reconciler *r);
void reconcile_vports_fini(struct reconciler *r);
struct applied_vport *reconcile_vport_find(struct reconciler *r, const char *name);
void reconcile_announce(struct reconciler *r, const struct applied_vport *v);

/* Records are compared as bytes: what an assignment leaves in the padding must not count. */
static inline void prefix_set(struct ip_prefix *to, const struct ip_prefix *from)
{
	memset(to, 0, sizeof(*to));
	to->addr = from->addr;
	to->len = from->len;
	to->family = from->family;
}

/* In force or about to be. */
static inline bool vport_present(const struct applied_vport *v)
{
	return v != NULL && (v->phase == VPORT_OPEN || v->phase == VPORT_RUNNING);
}

/* Tells the neighbours how to ask and reach on v; links are the prefixes on its link. */
void reconcile_vport_neighbours(
	struct reconciler *r, const struct applied_vport *v, const struct route_set *set);
bool reconcile_publish_routes(struct reconciler *r);
void reconcile_routes_fini(struct reconciler *r);
