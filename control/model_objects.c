/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The model's objects by themselves: made, freed, compared, checked against their own rules.
 * Pure; any thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/model_private.h"
#include "core/dataplane.h"

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool addrs_equal(
	const struct ip_addr *a, uint32_t n_a, const struct ip_addr *b, uint32_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint32_t i = 0; i < n_a; i++)
		if (!ip_equal(&a[i], &b[i]))
			return false;
	return true;
}

static bool prefixes_equal(
	const struct ip_prefix *a, uint32_t n_a, const struct ip_prefix *b, uint32_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint32_t i = 0; i < n_a; i++)
		if (a[i].len != b[i].len || a[i].family != b[i].family ||
			!ip_equal(&a[i].addr, &b[i].addr))
			return false;
	return true;
}

/* --- services -----------------------------------------------------------------------------------
 */

struct model_service *model_service_new(const char *ns, const char *name)
{
	struct model_service *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->ns = strdup(ns);
	s->name = strdup(name);
	if (s->ns == NULL || s->name == NULL) {
		model_service_free(s);
		return NULL;
	}
	return s;
}

void model_service_free(struct model_service *s)
{
	if (s == NULL)
		return;
	for (uint32_t i = 0; s->ports != NULL && i < s->n_ports; i++) {
		struct model_service_port *p = &s->ports[i];

		for (uint32_t j = 0; p->backends != NULL && j < p->n_backends; j++) {
			free(p->backends[j].node);
			free(p->backends[j].zone);
			free(p->backends[j].target);
		}
		free(p->backends);
		free(p->name);
	}
	free(s->ports);
	free(s->cluster_ips);
	free(s->external_ips);
	free(s->lb_vips);
	free(s->source_ranges);
	free(s->ns);
	free(s->name);
	free(s);
}

static bool backend_equal(const struct model_backend *a, const struct model_backend *b)
{
	return ip_equal(&a->addr, &b->addr) && a->port == b->port && a->ready == b->ready &&
		a->serving == b->serving && a->terminating == b->terminating &&
		a->local == b->local && a->in_cluster == b->in_cluster &&
		a->in_local == b->in_local && text_equal(a->node, b->node) &&
		text_equal(a->zone, b->zone) && text_equal(a->target, b->target);
}

static bool port_equal(const struct model_service_port *a, const struct model_service_port *b)
{
	if (!text_equal(a->name, b->name) || a->proto != b->proto || a->port != b->port ||
		a->node_port != b->node_port || a->has_any[IP_V4] != b->has_any[IP_V4] ||
		a->has_any[IP_V6] != b->has_any[IP_V6] || a->n_backends != b->n_backends)
		return false;
	for (uint32_t i = 0; i < a->n_backends; i++)
		if (!backend_equal(&a->backends[i], &b->backends[i]))
			return false;
	return true;
}

/* trigger_time_ns is no part of the desired state: it tells when the change was asked for. */
bool model_service_equal(const struct model_service *a, const struct model_service *b)
{
	if (!text_equal(a->ns, b->ns) || !text_equal(a->name, b->name) || a->owner != b->owner ||
		a->type != b->type || a->etp_local != b->etp_local ||
		a->itp_local != b->itp_local || a->affinity_seconds != b->affinity_seconds ||
		a->health_check_node_port != b->health_check_node_port ||
		a->reset_removed != b->reset_removed || a->created != b->created ||
		a->n_ports != b->n_ports)
		return false;
	if (!addrs_equal(a->cluster_ips, a->n_cluster_ips, b->cluster_ips, b->n_cluster_ips) ||
		!addrs_equal(
			a->external_ips, a->n_external_ips, b->external_ips, b->n_external_ips) ||
		!addrs_equal(a->lb_vips, a->n_lb_vips, b->lb_vips, b->n_lb_vips) ||
		!prefixes_equal(
			a->source_ranges, a->n_source_ranges, b->source_ranges, b->n_source_ranges))
		return false;
	for (uint32_t i = 0; i < a->n_ports; i++)
		if (!port_equal(&a->ports[i], &b->ports[i]))
			return false;
	return true;
}

static int service_port_check(const struct model_service_port *p)
{
	if (p->name == NULL || p->port == 0)
		return -EINVAL;
	if (p->proto != IP_PROTO_TCP && p->proto != IP_PROTO_UDP && p->proto != IP_PROTO_SCTP)
		return -EINVAL;
	if (p->n_backends > SVC_BACKENDS_MAX || (p->n_backends > 0 && p->backends == NULL))
		return -EINVAL;
	for (uint32_t i = 0; i < p->n_backends; i++) {
		const struct model_backend *b = &p->backends[i];
		int order;

		if (b->port == 0 || ip_is_zero(&b->addr))
			return -EINVAL;
		if (i == 0)
			continue;
		order = ip_compare(&b[-1].addr, &b->addr);
		if (order > 0 || (order == 0 && b[-1].port >= b->port))
			return -EINVAL;
	}
	return 0;
}

int model_service_check(const struct model_service *s)
{
	if (s->ns[0] == '\0' || s->name[0] == '\0' || strchr(s->ns, '/') != NULL ||
		strchr(s->name, '/') != NULL)
		return -EINVAL;
	if (s->n_cluster_ips > IP_FAMILIES || s->n_source_ranges > SVC_SOURCE_RANGES_MAX)
		return -EINVAL;
	if (s->n_cluster_ips == 2 && ip_family(&s->cluster_ips[0]) == ip_family(&s->cluster_ips[1]))
		return -EINVAL;
	for (uint32_t i = 0; i < s->n_ports; i++) {
		int err = service_port_check(&s->ports[i]);

		if (err < 0)
			return err;
		for (uint32_t j = 0; j < i; j++)
			if (s->ports[j].proto == s->ports[i].proto &&
				s->ports[j].port == s->ports[i].port)
				return -EINVAL;
	}
	return 0;
}

/* --- nodes --------------------------------------------------------------------------------------
 */

struct model_node *model_node_new(const char *name)
{
	struct model_node *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->name = strdup(name);
	if (n->name == NULL) {
		free(n);
		return NULL;
	}
	return n;
}

void model_node_free(struct model_node *n)
{
	if (n == NULL)
		return;
	free(n->name);
	free(n->internal_ips);
	free(n->external_ips);
	free(n->pod_cidrs);
	free(n->zone);
	free(n);
}

static bool node_equal(const struct model_node *a, const struct model_node *b)
{
	return text_equal(a->name, b->name) && a->is_self == b->is_self &&
		a->deleting == b->deleting && a->to_be_deleted == b->to_be_deleted &&
		text_equal(a->zone, b->zone) &&
		addrs_equal(
			a->internal_ips, a->n_internal_ips, b->internal_ips, b->n_internal_ips) &&
		addrs_equal(
			a->external_ips, a->n_external_ips, b->external_ips, b->n_external_ips) &&
		prefixes_equal(a->pod_cidrs, a->n_pod_cidrs, b->pod_cidrs, b->n_pod_cidrs);
}

int model_node_check(const struct model_node *n)
{
	return n->name[0] != '\0' ? 0 : -EINVAL;
}

/* --- ports and vports ----------------------------------------------------------------------------
 */

const char *const port_kind_names[PORT_KINDS + 1] = {"pci", "af_packet", "af_xdp", "tap", "memif",
	"vhost-user", "virtio-user", "pcap", "null", "ethdev"};

struct model_port *model_port_new(const char *name)
{
	struct model_port *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->name = strdup(name);
	if (p->name == NULL) {
		free(p);
		return NULL;
	}
	p->promiscuous = true;
	return p;
}

void model_port_free(struct model_port *p)
{
	if (p == NULL)
		return;
	free(p->name);
	free(p->iface);
	free(p->path);
	free(p->tx_path);
	free(p->address);
	free(p->device);
	free(p->args);
	free(p);
}

static bool model_port_equal(const struct model_port *a, const struct model_port *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return text_equal(a->name, b->name) && a->kind == b->kind &&
		text_equal(a->iface, b->iface) && text_equal(a->path, b->path) &&
		text_equal(a->tx_path, b->tx_path) && text_equal(a->address, b->address) &&
		text_equal(a->device, b->device) && text_equal(a->args, b->args) &&
		a->promiscuous == b->promiscuous && a->server == b->server &&
		a->memif_id == b->memif_id && a->queues == b->queues &&
		a->descriptors == b->descriptors && a->mtu == b->mtu;
}

struct model_vport *model_vport_new(const char *name)
{
	struct model_vport *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	v->name = strdup(name);
	if (v->name == NULL) {
		free(v);
		return NULL;
	}
	return v;
}

void model_vport_free(struct model_vport *v)
{
	if (v == NULL)
		return;
	free(v->name);
	free(v->port);
	model_port_free(v->own_port);
	free(v->addrs);
	free(v);
}

static bool vport_equal(const struct model_vport *a, const struct model_vport *b)
{
	return text_equal(a->name, b->name) && a->owner == b->owner && a->role == b->role &&
		text_equal(a->port, b->port) && model_port_equal(a->own_port, b->own_port) &&
		a->vlan == b->vlan && a->mtu == b->mtu && a->zone == b->zone &&
		a->source_guard == b->source_guard && a->has_mac == b->has_mac &&
		a->has_peer_mac == b->has_peer_mac &&
		(!a->has_mac || memcmp(a->mac, b->mac, 6) == 0) &&
		(!a->has_peer_mac || memcmp(a->peer_mac, b->peer_mac, 6) == 0) &&
		prefixes_equal(a->addrs, a->n_addrs, b->addrs, b->n_addrs);
}

int model_vport_check(const struct model_vport *v)
{
	if (v->name[0] == '\0' || strlen(v->name) >= VPORT_NAME_MAX || v->vlan > 4094)
		return -EINVAL;
	if (v->role > VPORT_UPLINK || v->n_addrs > VPORT_ADDRS_MAX)
		return -EINVAL;
	if ((v->port == NULL) == (v->own_port == NULL))
		return -EINVAL;
	return 0;
}

/* --- routes --------------------------------------------------------------------------------------
 */

struct model_route *model_route_new(const struct ip_prefix *prefix)
{
	struct model_route *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->prefix = *prefix;
	ip_prefix_mask(&r->prefix);
	return r;
}

void model_route_free(struct model_route *r)
{
	if (r == NULL)
		return;
	free(r->vport);
	free(r);
}

static bool route_equal(const struct model_route *a, const struct model_route *b)
{
	return prefixes_equal(&a->prefix, 1, &b->prefix, 1) && a->owner == b->owner &&
		a->kind == b->kind && a->has_via == b->has_via &&
		(!a->has_via || ip_equal(&a->via, &b->via)) && text_equal(a->vport, b->vport);
}

int model_route_check(const struct model_route *r)
{
	if (r->kind != ROUTE_UNICAST)
		return r->has_via || r->vport != NULL ? -EINVAL : 0;
	if (!r->has_via && r->vport == NULL)
		return -EINVAL;
	if (r->has_via && ip_family(&r->via) != r->prefix.family)
		return -EINVAL;
	return 0;
}

/* --- by kind -------------------------------------------------------------------------------------
 */

static void service_free(void *p)
{
	model_service_free(p);
}

static void node_free(void *p)
{
	model_node_free(p);
}

static void vport_free(void *p)
{
	model_vport_free(p);
}

static void route_free(void *p)
{
	model_route_free(p);
}

static bool services_equal(const void *a, const void *b)
{
	return model_service_equal(a, b);
}

static bool nodes_equal(const void *a, const void *b)
{
	return node_equal(a, b);
}

static bool vports_equal(const void *a, const void *b)
{
	return vport_equal(a, b);
}

static bool routes_equal(const void *a, const void *b)
{
	return route_equal(a, b);
}

const struct model_kind_ops model_kind_ops[MODEL_KINDS] = {
	[MODEL_SERVICE] = {service_free, services_equal},
	[MODEL_NODE] = {node_free, nodes_equal},
	[MODEL_VPORT] = {vport_free, vports_equal},
	[MODEL_ROUTE] = {route_free, routes_equal},
};
