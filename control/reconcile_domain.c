/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The small records: what services have in common (ranges, NodePort addresses, readiness) and the
 * tunables with their source NAT. Each is built whole, compared with the one in force, and
 * published when it differs. Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/reconcile_private.h"

/* --- the node's addresses -------------------------------------------------------------------- */

static void add_addrs(struct node_addrs *list, const struct ip_addr *at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		bool known = false;

		for (uint32_t j = 0; j < list->n; j++)
			known |= ip_equal(&list->at[j], &at[i]);
		if (!known && list->n < sizeof(list->at) / sizeof(list->at[0]))
			list->at[list->n++] = at[i];
	}
}

/* Configuration wins; else the Node object's, InternalIPs first. An object that is gone, or that
 * says nothing, takes nothing away: NodePorts and source NAT go on. Marks what depends on them. */
void reconcile_node_addrs(struct reconciler *r)
{
	const struct model_node *self = model_node_self(r->model);
	struct node_addrs now;

	memset(&now, 0, sizeof(now));
	if (r->cfg->node.addresses.n != 0) {
		add_addrs(&now, r->cfg->node.addresses.at, r->cfg->node.addresses.n);
	} else if (self != NULL) {
		add_addrs(&now, self->internal_ips, self->n_internal_ips);
		add_addrs(&now, self->external_ips, self->n_external_ips);
	}
	if (now.n == 0) {
		now.n = r->node.n;
		memcpy(now.at, r->node.at, sizeof(now.at));
	}
	for (uint32_t i = 0; self != NULL && i < self->n_pod_cidrs; i++)
		if (now.n_pods < sizeof(now.pods) / sizeof(now.pods[0]))
			prefix_set(&now.pods[now.n_pods++], &self->pod_cidrs[i]);
	if (now.n_pods == 0) {
		now.n_pods = r->node.n_pods;
		memcpy(now.pods, r->node.pods, sizeof(now.pods));
	}
	if (memcmp(&now, &r->node, sizeof(now)) == 0)
		return;
	r->node = now;
	r->vports_dirty = r->routes_dirty = r->domain_dirty = r->tunables_dirty = true;
}

static struct ip_addr primary(const struct reconciler *r, enum ip_family f)
{
	static const struct ip_addr none;

	for (uint32_t i = 0; i < r->node.n; i++)
		if (ip_family(&r->node.at[i]) == f)
			return r->node.at[i];
	return none;
}

/* --- lists of prefixes ----------------------------------------------------------------------- */

struct prefixes {
	uint32_t n, room;
	struct ip_prefix *at;
	bool failed;
};

static void prefix_add(struct prefixes *p, const struct ip_prefix *prefix)
{
	if (p->n == p->room) {
		uint32_t room = p->room == 0 ? 32 : p->room * 2;
		struct ip_prefix *grown = realloc(p->at, room * sizeof(*grown));

		if (grown == NULL) {
			p->failed = true;
			return;
		}
		p->at = grown;
		p->room = room;
	}
	prefix_set(&p->at[p->n], prefix);
	ip_prefix_mask(&p->at[p->n++]);
}

static void prefix_add_addr(struct prefixes *p, const struct ip_addr *a)
{
	struct ip_prefix prefix = {.addr = *a, .family = (uint8_t)ip_family(a)};

	prefix.len = prefix.family == IP_V4 ? 32 : 128;
	prefix_add(p, &prefix);
}

static int prefix_compare(const void *x, const void *y)
{
	const struct ip_prefix *a = x, *b = y;
	int c;

	if (a->family != b->family)
		return (int)a->family - (int)b->family;
	c = ip_compare(&a->addr, &b->addr);
	return c != 0 ? c : (int)a->len - (int)b->len;
}

/* Two halves of one prefix, the lower one first. */
static bool siblings(const struct ip_prefix *a, const struct ip_prefix *b)
{
	struct ip_prefix parent = *a, other = *b;

	if (a->family != b->family || a->len != b->len || a->len == 0)
		return false;
	parent.len = other.len = (uint8_t)(a->len - 1);
	ip_prefix_mask(&parent);
	ip_prefix_mask(&other);
	return ip_equal(&parent.addr, &other.addr) && !ip_equal(&a->addr, &b->addr);
}

/* Sorts, drops what others cover and joins halves: workers walk the list for each new flow, and
 * the pod ranges of thousands of nodes are usually one range. */
static void prefixes_aggregate(struct prefixes *p)
{
	uint32_t n = 0;

	if (p->n != 0)
		qsort(p->at, p->n, sizeof(*p->at), prefix_compare);
	for (uint32_t i = 0; i < p->n; i++) {
		if (n > 0 && p->at[n - 1].family == p->at[i].family &&
			ip_prefix_contains(&p->at[n - 1], &p->at[i].addr))
			continue;
		p->at[n++] = p->at[i];
		while (n > 1 && siblings(&p->at[n - 2], &p->at[n - 1])) {
			n--;
			p->at[n - 1].len--;
		}
	}
	p->n = n;
}

/* --- services in common ---------------------------------------------------------------------- */

static bool in_cidrs(const struct config_prefixes *cidrs, const struct ip_addr *a)
{
	bool any = false;

	for (uint32_t i = 0; i < cidrs->n; i++) {
		if (ip_prefix_contains(&cidrs->at[i], a))
			return true;
		any |= cidrs->at[i].family == ip_family(a);
	}
	/* A family without a prefix is served on all addresses. */
	return !any;
}

struct addr_list {
	uint32_t n;
	struct ip_addr at[NODE_PORT_ADDRS_MAX];
};

static void addr_list_add(struct addr_list *l, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (ip_equal(&l->at[i], a))
			return;
	if (l->n < NODE_PORT_ADDRS_MAX)
		l->at[l->n++] = *a;
}

/* The node's own, and what else the host's interfaces have. */
static void host_addrs(const struct reconciler *r, struct addr_list *out)
{
	for (uint32_t i = 0; i < r->node.n; i++)
		addr_list_add(out, &r->node.at[i]);
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = r->vports[id];

		if (!vport_present(v) || v->record.role != VPORT_HOST)
			continue;
		for (uint32_t i = 0; i < v->record.n_addrs; i++) {
			const struct ip_prefix *p = &v->record.addrs[i];

			if (p->len == (p->family == IP_V4 ? 32 : 128))
				addr_list_add(out, &p->addr);
		}
	}
}

static void node_port_addrs(const struct reconciler *r, struct addr_list *out)
{
	struct addr_list all = {0};

	out->n = 0;
	if (r->cfg->services.node_port_primary) {
		for (int f = 0; f < IP_FAMILIES; f++) {
			struct ip_addr a = primary(r, (enum ip_family)f);

			if (!ip_is_zero(&a))
				addr_list_add(out, &a);
		}
		return;
	}
	host_addrs(r, &all);
	for (uint32_t i = 0; i < all.n; i++)
		if (in_cidrs(&r->cfg->services.node_port_cidrs, &all.at[i]))
			addr_list_add(out, &all.at[i]);
}

static enum svc_detect_local detect_local(const struct config_services *s)
{
	static const uint8_t modes[] = {
		[DETECT_LOCAL_POD] = SVC_LOCAL_POD,
		[DETECT_LOCAL_CLUSTER_CIDR] = SVC_LOCAL_CIDR,
		[DETECT_LOCAL_NODE_CIDR] = SVC_LOCAL_CIDR,
		[DETECT_LOCAL_BRIDGE] = SVC_LOCAL_NAME,
		[DETECT_LOCAL_PREFIX] = SVC_LOCAL_NAME,
	};

	return (enum svc_detect_local)modes[s->detect_local_mode];
}

/* Which prefixes make a client local, where prefixes do. */
static uint32_t local_cidrs(const struct reconciler *r, const struct ip_prefix **out)
{
	const struct config_services *s = &r->cfg->services;

	*out = NULL;
	if (s->detect_local_mode == DETECT_LOCAL_CLUSTER_CIDR) {
		*out = s->detect_local_cidrs.at;
		return s->detect_local_cidrs.n;
	}
	if (s->detect_local_mode != DETECT_LOCAL_NODE_CIDR)
		return 0;
	*out = r->node.pods;
	return r->node.n_pods;
}

/* One allocation: the struct, addresses, ranges. */
static struct svc_domain *domain_new(
	const struct reconciler *r, const struct prefixes *cidrs, size_t *size)
{
	const struct ip_prefix *local;
	uint32_t n_local = local_cidrs(r, &local);
	struct addr_list addrs;
	struct ip_prefix *ranges;
	struct svc_domain *d;
	struct ip_addr *at;

	node_port_addrs(r, &addrs);
	*size = sizeof(*d) + (cidrs->n + n_local) * sizeof(*ranges) + addrs.n * sizeof(*at) + 16;
	d = calloc(1, *size);
	if (d == NULL)
		return NULL;
	at = (struct ip_addr *)(((uintptr_t)(d + 1) + 15) & ~(uintptr_t)15);
	ranges = (struct ip_prefix *)(at + addrs.n);
	memcpy(at, addrs.at, addrs.n * sizeof(*at));
	if (cidrs->n != 0)
		memcpy(ranges, cidrs->at, cidrs->n * sizeof(*ranges));
	if (n_local != 0)
		memcpy(ranges + cidrs->n, local, n_local * sizeof(*ranges));
	d->ready = r->ready;
	d->detect_local = (uint8_t)detect_local(&r->cfg->services);
	d->n_local_cidrs = n_local;
	d->local_cidrs = ranges + cidrs->n;
	for (int f = 0; f < IP_FAMILIES; f++)
		d->node_addr[f] = primary(r, (enum ip_family)f);
	d->table = r->table;
	d->backends = r->backends;
	d->n_service_cidrs = cidrs->n;
	d->service_cidrs = ranges;
	d->n_node_port_addrs = addrs.n;
	d->node_port_addrs = at;
	d->masquerade_all = r->cfg->snat.masquerade_all;
	d->cluster_ip_outside = r->cfg->services.cluster_ip_outside;
	return d;
}

static bool prefixes_equal(const struct ip_prefix *a, const struct ip_prefix *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!ip_equal(&a[i].addr, &b[i].addr) || a[i].len != b[i].len ||
			a[i].family != b[i].family)
			return false;
	return true;
}

static bool domain_equal(const struct svc_domain *a, const struct svc_domain *b)
{
	return a->ready == b->ready && a->table == b->table && a->backends == b->backends &&
		a->masquerade_all == b->masquerade_all && a->detect_local == b->detect_local &&
		memcmp(a->node_addr, b->node_addr, sizeof(a->node_addr)) == 0 &&
		a->n_local_cidrs == b->n_local_cidrs &&
		prefixes_equal(a->local_cidrs, b->local_cidrs, a->n_local_cidrs) &&
		a->cluster_ip_outside == b->cluster_ip_outside &&
		a->n_service_cidrs == b->n_service_cidrs &&
		a->n_node_port_addrs == b->n_node_port_addrs &&
		memcmp(a->service_cidrs, b->service_cidrs,
			a->n_service_cidrs * sizeof(*a->service_cidrs)) == 0 &&
		memcmp(a->node_port_addrs, b->node_port_addrs,
			a->n_node_port_addrs * sizeof(*a->node_port_addrs)) == 0;
}

/* The first record in dp is a constant of core: only ours are retired. */
static void retire_old(struct reconciler *r, const void *old, const void **mine, const void *now)
{
	if (*mine == old)
		retire(r->retire, NULL, NULL, (void *)old);
	*mine = now;
}

bool reconcile_publish_domain(struct reconciler *r)
{
	const struct svc_domain *old = atomic_load_explicit(&r->dp->services, memory_order_relaxed);
	const struct ip_prefix *from_model;
	struct prefixes cidrs = {0};
	struct svc_domain *d = NULL;
	uint32_t n;
	size_t size;

	n = model_service_cidrs(r->model, &from_model);
	for (uint32_t i = 0; i < n; i++)
		prefix_add(&cidrs, &from_model[i]);
	for (uint32_t i = 0; i < r->cfg->services.cidrs.n; i++)
		prefix_add(&cidrs, &r->cfg->services.cidrs.at[i]);
	prefixes_aggregate(&cidrs);
	if (!cidrs.failed)
		d = domain_new(r, &cidrs, &size);
	free(cidrs.at);
	if (d == NULL)
		return false;
	if (r->domain_mine == old && domain_equal(old, d)) {
		free(d);
		return true;
	}
	atomic_store_explicit(&r->dp->services, d, memory_order_release);
	retire_old(r, old, &r->domain_mine, d);
	dataplane_frontends_changed(r->dp);
	LOG_INFO(reconcile, "services_published", "ready=%s ranges=%u node_port_addrs=%u",
		d->ready ? "true" : "false", d->n_service_cidrs, d->n_node_port_addrs);
	return true;
}

/* --- tunables -------------------------------------------------------------------------------- */

static bool add_node_ranges(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	const struct model_node *n = object;
	struct prefixes *p = arg;

	(void)key;
	(void)status;
	for (uint32_t i = 0; i < n->n_pod_cidrs; i++)
		prefix_add(p, &n->pod_cidrs[i]);
	for (uint32_t i = 0; i < n->n_internal_ips; i++)
		prefix_add_addr(p, &n->internal_ips[i]);
	return true;
}

/* What must not be masqueraded for being outside. Our own pods and addresses never are. */
static void cluster_ranges(struct reconciler *r, struct prefixes *p)
{
	const struct config_prefixes *given = &r->cfg->snat.cluster_cidrs;

	for (uint32_t i = 0; i < given->n; i++)
		prefix_add(p, &given->at[i]);
	if (given->n == 0)
		model_each(r->model, MODEL_NODE, NULL, 0, add_node_ranges, p);
	for (uint32_t i = 0; i < r->node.n; i++)
		prefix_add_addr(p, &r->node.at[i]);
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = r->vports[id];

		if (v == NULL || v->phase == VPORT_LEAVING || v->phase == VPORT_CLOSING)
			continue;
		for (uint32_t i = 0; i < v->record.n_addrs; i++)
			prefix_add(p, &v->record.addrs[i]);
	}
	prefixes_aggregate(p);
}

static struct tunables *tunables_new(struct reconciler *r, const struct prefixes *cluster)
{
	const struct config *c = r->cfg;
	struct tunables *t = calloc(1, sizeof(*t) + cluster->n * sizeof(*cluster->at));
	struct ip_prefix *ranges;

	if (t == NULL)
		return NULL;
	ranges = (struct ip_prefix *)(t + 1);
	config_flow_timeouts(c, &t->timeouts);
	t->tcp_pick_up = c->flows.tcp_pick_up;
	t->draining = r->draining;
	for (int f = 0; f < IP_FAMILIES; f++)
		t->snat.addr[f] = primary(r, (enum ip_family)f);
	for (uint32_t i = 0; i < c->snat.addresses.n; i++)
		t->snat.addr[ip_family(&c->snat.addresses.at[i])] = c->snat.addresses.at[i];
	t->snat.port_min = c->snat.ports.min;
	t->snat.port_max = c->snat.ports.max;
	t->snat.avoid_min = c->services.node_port_range.min;
	t->snat.avoid_max = c->services.node_port_range.max;
	t->snat.egress = c->snat.egress_masquerade;
	t->snat.n_cluster = cluster->n;
	t->snat.cluster = ranges;
	if (cluster->n != 0)
		memcpy(ranges, cluster->at, cluster->n * sizeof(*ranges));
	return t;
}

static bool tunables_equal(const struct tunables *a, const struct tunables *b)
{
	struct tunables x = *a, y = *b;

	if (x.snat.n_cluster != y.snat.n_cluster ||
		memcmp(x.snat.cluster, y.snat.cluster,
			x.snat.n_cluster * sizeof(*x.snat.cluster)) != 0)
		return false;
	x.snat.cluster = y.snat.cluster = NULL;
	return memcmp(&x, &y, sizeof(x)) == 0;
}

bool reconcile_publish_tunables(struct reconciler *r)
{
	const struct tunables *old = atomic_load_explicit(&r->dp->tunables, memory_order_relaxed);
	struct prefixes cluster = {0};
	struct tunables *t = NULL;

	cluster_ranges(r, &cluster);
	if (!cluster.failed)
		t = tunables_new(r, &cluster);
	free(cluster.at);
	if (t == NULL)
		return false;
	if (r->tunables_mine == old && tunables_equal(old, t)) {
		free(t);
		return true;
	}
	atomic_store_explicit(&r->dp->tunables, t, memory_order_release);
	retire_old(r, old, &r->tunables_mine, t);
	return true;
}

/* Core's empty records are back in force. */
void reconcile_domain_fini(struct reconciler *r)
{
	free((void *)r->domain_mine);
	free((void *)r->tunables_mine);
	r->domain_mine = r->tunables_mine = NULL;
}
