/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The desired state of the node, whoever asked for it.
 *
 * Kubernetes sync, REST and the configuration file write the model; the reconciler reads what
 * changed and publishes it to the dataplane. Objects given to model_*_set() are complete
 * replacements, and ownership of them passes to the model, also on error.
 *
 * Threads: every writer runs on the control thread. The API thread reads under
 * model_read_lock(), in short slices; control takes the write lock inside the set/remove calls.
 * Addresses are struct ip_addr (network order), ports and counts are in host order, times are
 * seconds since the epoch unless the name says otherwise. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ip.h"

struct model;

enum model_owner {
	OWNER_CONFIG,
	OWNER_KUBERNETES,
	OWNER_API
};

enum service_type {
	SERVICE_CLUSTER_IP,
	SERVICE_NODE_PORT,
	SERVICE_LOAD_BALANCER,
};

/* An endpoint of one service port. Two of one port never share addr and port (service-proxy
 * merging rule). The flags are the EndpointSlice conditions with their defaults filled in. */
struct model_backend {
	struct ip_addr addr;
	uint16_t port;
	bool ready;
	bool serving;
	bool terminating;
	bool local;      /* nodeName is ours */
	bool in_cluster; /* chosen for the cluster list */
	bool in_local;   /* chosen for the local list */
	char *node;      /* may be NULL; so may zone and target */
	char *zone;
	char *target; /* "namespace/pod" */
};

struct model_service_port {
	char *name; /* "" when unnamed */
	uint8_t proto;
	uint16_t port;
	uint16_t node_port; /* 0: none */
	/* Some endpoint anywhere could serve, by family: an empty list is then a drop, else a
	 * reject. */
	bool has_any[IP_FAMILIES];
	uint32_t n_backends; /* sorted by address, then port */
	struct model_backend *backends;
};

struct model_service {
	char *ns;
	char *name;
	enum model_owner owner;
	enum service_type type;
	uint32_t n_cluster_ips, n_external_ips, n_lb_vips, n_source_ranges;
	struct ip_addr *cluster_ips; /* at most one a family */
	struct ip_addr *external_ips;
	struct ip_addr *lb_vips;
	struct ip_prefix *source_ranges;
	bool etp_local;
	bool itp_local;
	uint32_t affinity_seconds; /* 0: no session affinity */
	uint16_t health_check_node_port;
	bool reset_removed; /* reset TCP of removed endpoints (annotation) */
	int64_t created;
	int64_t trigger_time_ns; /* endpoints' last-change-trigger-time; 0: unknown */
	uint32_t n_ports;
	struct model_service_port *ports;
};

struct model_node {
	char *name;
	bool is_self;
	uint32_t n_internal_ips, n_external_ips, n_pod_cidrs;
	struct ip_addr *internal_ips;
	struct ip_addr *external_ips;
	struct ip_prefix *pod_cidrs;
	char *zone;         /* topology.kubernetes.io/zone, may be NULL */
	bool deleting;      /* deletionTimestamp */
	bool to_be_deleted; /* the cluster autoscaler's taint */
};

/* --- ports, vports, routes: from the configuration file, REST or the CNI plugin -------------- */

enum port_kind {
	PORT_PCI,         /* a NIC or one of its functions, by PCI address */
	PORT_AF_PACKET,   /* a kernel interface through a packet socket */
	PORT_AF_XDP,      /* a kernel interface through an XDP socket */
	PORT_TAP,         /* a kernel interface that Sluice makes */
	PORT_MEMIF,       /* shared memory with a userspace pod */
	PORT_VHOST_USER,  /* virtio with a virtual machine or a userspace pod */
	PORT_VIRTIO_USER, /* the other end of vhost-user */
	PORT_PCAP,        /* files, for tests */
	PORT_NULL,        /* swallows everything, for tests */
	PORT_ETHDEV,      /* a port that DPDK has already: a representor, a plug-in driver's */
	PORT_KINDS
};

/* As in the configuration: "pci", "af_packet", … */
extern const char *const port_kind_names[PORT_KINDS + 1];

struct model_port {
	char *name;
	uint8_t kind;         /* enum port_kind */
	char *iface;          /* AF_PACKET, AF_XDP, TAP: the kernel interface */
	char *path;           /* memif, vhost-user: socket; pcap: file to read */
	char *tx_path;        /* pcap: file to write, may be NULL */
	char *address;        /* PCI */
	char *device;         /* ethdev: DPDK's name of it */
	char *args;           /* further driver arguments, key=value,key=value; may be NULL */
	bool promiscuous;     /* model_port_new(): true */
	bool server;          /* memif, vhost-user, virtio-user: we make the socket */
	uint32_t memif_id;    /* memif: interface number on the socket */
	uint16_t queues;      /* receive and transmit; 0: one a worker, as far as the port can */
	uint16_t descriptors; /* a queue; 0: the driver's choice */
	uint16_t mtu;         /* 0: the port's own */
};

/* On an uplink, addrs are our own addresses with the length of the link's prefix; on others they
 * are what the peer may send as. Host bits are kept. */
struct model_vport {
	char *name;
	enum model_owner owner;
	uint8_t role;                /* enum vport_role */
	char *port;                  /* a configured port; NULL with own_port */
	struct model_port *own_port; /* made and removed with this vport */
	uint16_t vlan;               /* 0: untagged */
	uint16_t mtu;                /* 0: the port's */
	uint16_t zone;
	bool source_guard;
	bool has_mac, has_peer_mac; /* else the port's MAC or the gateway's; learned */
	uint8_t mac[6], peer_mac[6];
	uint32_t n_addrs;
	struct ip_prefix *addrs;
};

enum model_route_kind {
	ROUTE_UNICAST,   /* to via, or on-link on vport */
	ROUTE_BLACKHOLE, /* dropped silently */
	ROUTE_PROHIBIT,  /* answered by an ICMP error */
};

struct model_route {
	struct ip_prefix prefix; /* its text is the name */
	enum model_owner owner;
	uint8_t kind; /* enum model_route_kind */
	bool has_via;
	struct ip_addr via;
	char *vport; /* NULL: the one on whose link via is */
};

struct model *model_new(void);
void model_free(struct model *m);

/* --- writers: control thread ----------------------------------------------------------------- */

/* 0, or -EINVAL when the object contradicts itself, -EPERM when another owner holds the name.
 * Setting an equal object is not a change. */
int model_service_set(struct model *m, struct model_service *s);
int model_service_remove(struct model *m, const char *ns, const char *name, enum model_owner by);
int model_node_set(struct model *m, struct model_node *n);
int model_node_remove(struct model *m, const char *name);
/* The whole list of service ranges; copied. n = 0: unknown, nothing is dropped for it. */
int model_service_cidrs_set(struct model *m, const struct ip_prefix *cidrs, uint32_t n);

int model_vport_set(struct model *m, struct model_vport *v);
int model_vport_remove(struct model *m, const char *name, enum model_owner by);
int model_route_set(struct model *m, struct model_route *r);
int model_route_remove(struct model *m, const struct ip_prefix *prefix, enum model_owner by);

/* Objects built by a caller start from these; free accepts half-built ones. */
struct model_service *model_service_new(const char *ns, const char *name);
void model_service_free(struct model_service *s);
bool model_service_equal(const struct model_service *a, const struct model_service *b);
struct model_node *model_node_new(const char *name);
void model_node_free(struct model_node *n);
struct model_vport *model_vport_new(const char *name);
void model_vport_free(struct model_vport *v);
struct model_port *model_port_new(const char *name);
void model_port_free(struct model_port *p);
struct model_route *model_route_new(const struct ip_prefix *prefix);
void model_route_free(struct model_route *r);

/* The first complete state of a source is in the model: with every awaited source complete, the
 * reconciler starts to publish services. Called once a source; later calls do nothing. */
enum model_source_id {
	SOURCE_SERVICES,
	SOURCE_ENDPOINTS,
	SOURCE_NODE,
	SOURCE_SERVICE_CIDRS,
	SOURCES
};
void model_source_await(struct model *m, enum model_source_id id);
void model_source_complete(struct model *m, enum model_source_id id);

/* How a watched resource fares; shown by readyz, metrics and status. Strings are copied. */
struct model_source_status {
	const char *path;       /* "/api/v1/services" */
	const char *phase;      /* "Disabled", "Listing", "Watching", "BackOff" */
	const char *rv;         /* last resourceVersion */
	const char *last_error; /* NULL: none since the last success */
	uint64_t lists, watches, events, bookmarks, errors, unknown_events;
	int64_t last_activity_ms; /* monotonic milliseconds */
	uint32_t objects;
};
void model_source_report(
	struct model *m, enum model_source_id id, const struct model_source_status *st);

/* An object, or a part of it, was refused: shown by name until it is set again without fault or
 * removed. field is a JSON path ("spec.ports[1].port"); all strings are copied. Calling with
 * field NULL clears the object's faults. */
void model_refuse(struct model *m, const char *kind, const char *ns, const char *name,
	const char *field, const char *reason);

/* --- readers: any thread, between lock and unlock; the control thread needs no lock --------------
 */

void model_read_lock(struct model *m);
void model_read_unlock(struct model *m);

enum model_state {
	MODEL_PENDING, /* not yet looked at by the reconciler */
	MODEL_APPLIED,
	MODEL_ERROR, /* error tells why; what could be applied is */
};

extern const char *const model_state_names[];  /* "Pending", "Applied", "Error" */
extern const char *const model_owner_names[];  /* "Config", "Kubernetes", "API" */
extern const char *const model_source_names[]; /* "services", "endpoints", "node", … */

struct model_status {
	enum model_state state;
	uint64_t resource_version; /* of the last change of desired or of what follows it */
	uint64_t version;          /* of the last change of desired */
	uint64_t applied_version;  /* what the dataplane follows; 0: nothing yet */
	const char *error;         /* NULL: none */
};

/* Grows with every change of any object; starts at 1. */
uint64_t model_version(const struct model *m);

enum model_kind {
	MODEL_SERVICE,
	MODEL_NODE,
	MODEL_VPORT,
	MODEL_ROUTE,
	MODEL_KINDS
};

extern const char *const model_kind_names[MODEL_KINDS]; /* "Service", "Node", … */

uint32_t model_count(const struct model *m, enum model_kind kind);

/* One object, or NULL. status may be NULL. Keys: "namespace/name" of services, names of nodes and
 * vports, prefixes of routes. */
const void *model_find(
	const struct model *m, enum model_kind kind, const char *key, struct model_status *status);
const struct model_service *model_service_find(
	const struct model *m, const char *ns, const char *name, struct model_status *status);
const struct model_node *model_node_self(const struct model *m);

/* Objects whose keys sort behind "after" (NULL: from the first), in key order, at most max (0: all)
 * or until fn returns false. The key of the last object shown is the cursor; it stays valid while
 * objects come and go. Returns how many were shown. */
typedef bool (*model_each_fn)(
	void *arg, const char *key, const void *object, const struct model_status *status);
uint32_t model_each(const struct model *m, enum model_kind kind, const char *after, uint32_t max,
	model_each_fn fn, void *arg);

/* What happened behind version since, oldest first; applied states count too. -ESTALE when it is
 * too long ago (read everything again), else the number of changes shown. */
typedef void (*model_change_fn)(
	void *arg, uint64_t version, enum model_kind kind, const char *key, bool deleted);
int model_changes_each(
	const struct model *m, uint64_t since, uint32_t max, model_change_fn fn, void *arg);

uint32_t model_service_cidrs(const struct model *m, const struct ip_prefix **out);

struct model_source_state {
	bool awaited, complete;
	struct model_source_status status; /* strings valid under the lock */
};
void model_source_get(
	const struct model *m, enum model_source_id id, struct model_source_state *out);
bool model_sources_complete(const struct model *m);

/* Refused objects in the order of "kind/namespace/name", cursor as above. */
typedef bool (*model_refusal_fn)(void *arg, const char *key, const char *kind, const char *ns,
	const char *name, const char *field, const char *reason);
uint32_t model_refusals_each(
	const struct model *m, const char *after, uint32_t max, model_refusal_fn fn, void *arg);
uint32_t model_refusals_count(const struct model *m); /* objects now refused, wholly or in part */
uint64_t model_refusals_total(const struct model *m); /* refusals since the start */

/* --- the reconciler (control thread) --------------------------------------------------------- */

/* One object's place in the model. It outlives its removal until the reconciler has taken that
 * in: desired is NULL then. applied belongs to the reconciler. */
struct model_object {
	enum model_kind kind;
	enum model_owner owner;
	const char *key;
	void *desired;
	void *applied;
	uint64_t version;
};

/* Called on the control thread when something becomes dirty and nothing was. */
void model_set_notify(struct model *m, void (*fn)(void *arg), void *arg);
/* Takes the object that has been dirty for longest, or NULL. */
struct model_object *model_dirty_next(struct model *m, enum model_kind kind);
uint32_t model_dirty_count(const struct model *m, enum model_kind kind);
/* The reconciler is done with what model_dirty_next() gave: it follows version, or says why not
 * wholly. A removed object goes away here, when its applied is NULL. */
void model_applied(struct model *m, struct model_object *o, uint64_t version, const char *error);
/* Every object of a kind that is wanted, in key order. fn may call model_applied() on it. */
void model_objects_each(struct model *m, enum model_kind kind,
	void (*fn)(void *arg, struct model_object *o), void *arg);
/* Service ranges or the completeness of sources changed since the last call. */
bool model_globals_changed(struct model *m);
