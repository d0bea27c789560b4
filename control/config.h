/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The configuration file: one YAML document, checked key by key against one schema table.
 *
 * The table (config_schema.c) holds each key's type, default, range, whether SIGHUP applies it,
 * and its help text; reading, checking, printing and comparing all walk that table, so a key that
 * is not in it does not exist. Every error of a file is reported, as file:line: key: reason.
 *
 * Control thread; a struct config is constant once loaded. No threads, no network. */

#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "control/log.h"
#include "control/model.h"
#include "core/flow.h"
#include "core/ip.h"
#include "core/limits.h"

#define CONFIG_DEFAULT_PATH "/etc/sluice/sluice.yaml"

/* Hostile or mistaken files end early. */
#define CONFIG_BYTES_MAX  (1u << 20)
#define CONFIG_DEPTH_MAX  8
#define CONFIG_ERRORS_MAX 50

struct config_strings {
	uint32_t n;
	char **at;
};

struct config_addrs {
	uint32_t n;
	struct ip_addr *at;
};

struct config_prefixes {
	uint32_t n;
	struct ip_prefix *at;
};

struct config_range {
	uint16_t min, max;
};

struct config_mac {
	bool set;
	uint8_t bytes[6];
};

struct config_cpus {
	uint32_t n;
	uint16_t *at;
};

enum config_auto {
	CONFIG_AUTO,
	CONFIG_ON,
	CONFIG_OFF
};

enum config_endpoints {
	ENDPOINTS_AUTO,      /* slices where the server has them */
	ENDPOINTS_SLICES,    /* discovery.k8s.io/v1 EndpointSlice */
	ENDPOINTS_ENDPOINTS, /* v1 Endpoints */
};

enum config_detect_local {
	DETECT_LOCAL_POD,          /* a pod's vport */
	DETECT_LOCAL_CLUSTER_CIDR, /* detect_local_cidrs */
	DETECT_LOCAL_NODE_CIDR,    /* the Node object's podCIDRs */
	DETECT_LOCAL_BRIDGE,       /* the vport named detect_local_interface */
	DETECT_LOCAL_PREFIX,       /* vports whose names begin with it */
};

struct config_kubernetes {
	char *socket, *url; /* NULL when not set; both NULL: no Kubernetes */
	char *ca_file, *token_file, *client_cert_file, *client_key_file;
	int endpoints; /* enum config_endpoints */
	char *service_proxy_name;
	bool external_ips, events;
};

struct config_workers {
	uint32_t count;
	struct config_cpus lcores;                     /* n = 0: not pinned */
	uint32_t idle_spin_us;                         /* polled behind the last packet */
	uint32_t idle_sleep_min_us, idle_sleep_max_us; /* by a timer; max 0: never any */
};

struct config_memory {
	int hugepages;    /* enum config_auto */
	uint32_t size_mb; /* 0: what the buffers need */
	uint32_t buffers;
	uint32_t buffer_size;
	struct config_strings eal_args;
};

struct config_flow_timeouts {
	uint32_t tcp_new, tcp_replied, tcp_established, tcp_fin, tcp_closing;
	uint32_t udp, udp_replied, icmp;
	uint32_t sctp_new, sctp_established, sctp_closing;
};

struct config_flows {
	uint32_t capacity[IP_FAMILIES];
	bool tcp_pick_up;
	struct config_flow_timeouts timeouts; /* seconds */
};

struct config_offload {
	int mode; /* enum config_auto; auto is on where a port can */
	bool partial;
	uint32_t capacity;
	uint32_t min_age_ms, min_pps;
	uint32_t insert_share, inserts_max;
	uint32_t idle_demote; /* seconds */
	uint32_t revoke_deadline_ms;
};

struct config_snat {
	struct config_addrs addresses;
	struct config_range ports;
	bool egress_masquerade;
	bool masquerade_all;
	struct config_prefixes cluster_cidrs;
};

struct config_services {
	bool node_port_primary;
	struct config_prefixes node_port_cidrs; /* when not primary */
	struct config_range node_port_range;
	bool cluster_ip_outside;
	int detect_local_mode; /* enum config_detect_local */
	struct config_prefixes detect_local_cidrs;
	char *detect_local_interface;
	struct config_prefixes cidrs;
	uint32_t backends;
};

struct config_gateway {
	struct ip_addr addr[IP_FAMILIES];
	struct config_mac mac;
};

/* One entry of ports, or of vports with the port inline. */
struct config_port {
	char *name;
	int kind; /* enum port_kind, -1 when not given */
	char *iface, *path, *tx_path, *address, *device, *args;
	bool server, promiscuous;
	uint32_t memif_id, queues, descriptors, mtu;
	int line;
};

struct config_vport {
	char *name;
	int role; /* enum vport_role */
	char *port;
	struct config_port own_port; /* kind -1: none */
	uint32_t vlan, mtu;
	struct config_prefixes addresses; /* host bits kept */
	struct config_mac mac, peer_mac;
	bool source_guard;
	int line;
};

struct config_route {
	struct ip_prefix prefix;
	struct ip_addr via; /* zero: none */
	char *vport;
	int kind; /* enum model_route_kind */
	int line;
};

struct config_api {
	char *socket;
	uint32_t socket_mode;
	char *socket_group; /* NULL: the process's */
	char *listen;       /* NULL: none */
	bool tcp_writable;
};

struct config_health {
	char *bind_address; /* NULL: none */
	char *netns;        /* NULL: the process's own */
};

struct config_metrics {
	char *bind_address; /* NULL: none */
	bool kube_proxy_names;
};

struct config_log_module {
	char *name;
	int level;
};

struct config_log {
	int level;  /* enum log_level */
	int format; /* enum log_format */
	uint32_t n_modules;
	struct config_log_module *modules;
};

struct config {
	char *path;            /* the file's name in messages */
	int api_version, kind; /* one value each */
	struct {
		char *name; /* the machine's host name when not set */
		struct config_addrs addresses;
	} node;
	struct config_kubernetes kubernetes;
	struct config_workers workers;
	struct config_memory memory;
	struct config_flows flows;
	struct config_offload offload;
	struct config_snat snat;
	struct config_services services;
	struct config_gateway gateway;
	uint32_t n_ports;
	struct config_port *ports;
	uint32_t n_vports;
	struct config_vport *vports;
	uint32_t n_routes;
	struct config_route *routes;
	struct config_api api;
	struct config_health health;
	struct config_metrics metrics;
	struct config_log log;
	/* Fields of kube-proxy's that were accepted and have no meaning here, for the log. */
	struct config_strings notes;
};

/* Messages, one a line: "sluice.yaml:12: flows.capacity-v4: 7 is below 64". */
struct config_errors {
	uint32_t n; /* all that were found; the text holds the first CONFIG_ERRORS_MAX */
	char *text; /* NULL when n is 0 */
};

void config_errors_fini(struct config_errors *e);

/* 0 and a complete configuration with defaults filled in, or -errno with at least one error.
 * A missing file is an error like others. text does not need to end in NUL. */
int config_load(const char *path, struct config **out, struct config_errors *errors);
/* The same for a daemon that forwards: a file that sets nothing is an error, too. It is one that
 * was emptied, or is being written, and would take every vport away. */
int config_reload(const char *path, struct config **out, struct config_errors *errors);
int config_load_text(const char *path, const char *text, size_t len, struct config **out,
	struct config_errors *errors);
/* Everything at its default: a switch without ports. */
struct config *config_default(void);
void config_free(struct config *c);

/* The reference: every key with its help, type, range and default, as YAML that loads. */
int config_print_reference(FILE *f);

/* What becomes of each of kube-proxy's options, as Markdown. */
int config_print_kube_proxy(FILE *f);

struct config_change {
	const char *key;
	char *before, *after; /* canonical text of the values; of ports, vports and routes the
				 entries that differ */
	bool applied;         /* takes effect on reload; else it needs a restart */
};

struct config_diff {
	uint32_t n;
	struct config_change *changes;
};

/* What differs, key by key. 0 or -ENOMEM. */
int config_diff(const struct config *before, const struct config *after, struct config_diff *out);
void config_diff_fini(struct config_diff *d);

/* Puts the values in force of keys that need a restart into fresh, and fresh's into running, which
 * is about to be freed: what cannot be applied is not shown as if it were. */
void config_keep_running(struct config *fresh, struct config *running);

/* The configuration in force, nested like the file, defaults included. NULL when out of memory.
 * Files named in it are shown by name only: no secret is part of a configuration. */
json_t *config_to_json(const struct config *c);

/* Levels and format. */
void config_apply_log(const struct config *c);
/* A line for each of notes. */
void config_log_notes(const struct config *c);
/* Puts vports and routes into the model as OWNER_CONFIG and removes those that are no longer in
 * the file. 0, or the first error of the model; the others are applied. */
int config_apply_model(const struct config *c, struct model *m);
/* A port as the rim's wiring takes it, under the given name. NULL when out of memory. */
struct model_port *config_model_port(const struct config_port *from, const char *name);
/* NodePorts of the family are served on whatever address it has. */
bool config_node_ports_any(const struct config *c, enum ip_family f);
/* Flow timeouts as the dataplane takes them. */
void config_flow_timeouts(const struct config *c, struct flow_timeouts *out);
