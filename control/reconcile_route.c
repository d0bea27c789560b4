/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Routes: compiled whole from vports, nodes, static routes and neighbours, compared with those in
 * force, published with a new generation when they differ. The new set takes its next hops before
 * the old one gives its back, so that a neighbour both lead through keeps its id. Control thread.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/reconcile_private.h"

const char *const reconcile_route_source_names[] = {
	"Config", "Link", "VPort", "Node", "Local", "PodCIDR", "Neighbour"};

/* Of equal prefixes the greatest wins. */
enum route_order {
	ORDER_POD_CIDR,
	ORDER_NODE,
	ORDER_LINK,
	ORDER_NEIGHBOUR,
	ORDER_CONFIG,
	ORDER_VPORT,
	ORDER_LOCAL,
};

struct compile {
	struct reconciler *r;
	struct route_set *set;
};

/* --- the set -------------------------------------------------------------------------------------
 */

static bool room_for(void **at, uint32_t n, uint32_t *room, size_t size, bool *failed)
{
	uint32_t more = *room == 0 ? 64 : *room * 2;
	void *grown;

	if (n < *room)
		return true;
	grown = realloc(*at, more * size);
	if (grown == NULL) {
		*failed = true;
		return false;
	}
	*at = grown;
	*room = more;
	return true;
}

static void set_fini(struct reconciler *r, struct route_set *s)
{
	for (uint32_t i = 0; i < s->n_held; i++)
		neighbours_release(r->nb, s->held[i]);
	free(s->held);
	free(s->at);
	free(s->links);
	memset(s, 0, sizeof(*s));
}

static struct ip_prefix host_prefix(const struct ip_addr *a)
{
	struct ip_prefix p;

	memset(&p, 0, sizeof(p));
	p.addr = *a;
	p.family = (uint8_t)ip_family(a);
	p.len = p.family == IP_V4 ? 32 : 128;
	return p;
}

static void add(struct compile *c, const struct ip_prefix *prefix, uint16_t next_hop,
	enum next_hop_kind kind, uint8_t source, uint32_t order, uint16_t vport,
	const struct ip_addr *via)
{
	struct route_set *s = c->set;
	struct route_entry *e;

	if (next_hop == 0) {
		s->failed = true;
		return;
	}
	if (!room_for((void **)&s->at, s->n, &s->room, sizeof(*s->at), &s->failed))
		return;
	e = &s->at[s->n++];
	memset(e, 0, sizeof(*e));
	e->r.prefix.addr = prefix->addr;
	e->r.prefix.len = prefix->len;
	e->r.prefix.family = prefix->family;
	ip_prefix_mask(&e->r.prefix);
	e->r.next_hop = next_hop;
	e->r.kind = (uint8_t)kind;
	e->r.source = source;
	e->r.vport = vport;
	e->order = order;
	if (via != NULL)
		e->r.via = *via;
}

static void add_special(struct compile *c, const struct ip_prefix *prefix, enum next_hop_kind kind,
	uint8_t source, uint32_t order)
{
	add(c, prefix, neighbours_special(c->r->nb, kind), kind, source, order, 0, NULL);
}

static void add_glean(struct compile *c, const struct ip_prefix *prefix, uint16_t vport,
	uint8_t source, uint32_t order)
{
	add(c, prefix, neighbours_glean(c->r->nb, vport), NEXT_HOP_GLEAN, source, order, vport,
		NULL);
}

static void add_hop(struct compile *c, const struct ip_prefix *prefix, uint16_t vport,
	const struct ip_addr *peer, uint8_t source, uint32_t order, const struct ip_addr *via)
{
	struct route_set *s = c->set;
	uint16_t id;

	if (!room_for((void **)&s->held, s->n_held, &s->held_room, sizeof(*s->held), &s->failed))
		return;
	id = neighbours_hop(c->r->nb, vport, peer);
	if (id != 0)
		s->held[s->n_held++] = id;
	add(c, prefix, id, NEXT_HOP_FORWARD, source, order, vport, via);
}

/* --- links ----------------------------------------------------------------------------------- */

static void add_link(struct compile *c, const struct ip_prefix *prefix, uint16_t vport)
{
	struct route_set *s = c->set;

	if (!room_for(
		    (void **)&s->links, s->n_links, &s->links_room, sizeof(*s->links), &s->failed))
		return;
	memset(&s->links[s->n_links], 0, sizeof(*s->links));
	s->links[s->n_links].prefix = *prefix;
	ip_prefix_mask(&s->links[s->n_links].prefix);
	s->links[s->n_links++].vport = vport;
}

static void static_link(void *arg, struct model_object *o)
{
	const struct model_route *m = o->desired;
	struct compile *c = arg;
	struct applied_vport *v;

	if (m->kind != ROUTE_UNICAST || m->has_via)
		return;
	v = reconcile_vport_find(c->r, m->vport);
	if (v != NULL)
		add_link(c, &m->prefix, v->id);
}

/* Prefixes of uplinks' own addresses and static routes without a router. */
static void collect_links(struct compile *c)
{
	struct reconciler *r = c->r;

	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = r->vports[id];

		for (uint32_t i = 0; vport_present(v) && i < v->n_links; i++)
			if (v->links[i].len < (v->links[i].family == IP_V4 ? 32 : 128))
				add_link(c, &v->links[i], v->id);
	}
	model_objects_each(r->model, MODEL_ROUTE, static_link, c);
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		if (vport_present(r->vports[id]))
			reconcile_vport_neighbours(r, r->vports[id], c->set);
}

/* The vport on whose link the address is, by the longest prefix; 0: none. */
static uint16_t link_of(const struct compile *c, const struct ip_addr *a)
{
	const struct onlink *best = NULL;

	for (uint32_t i = 0; i < c->set->n_links; i++) {
		const struct onlink *l = &c->set->links[i];

		if (ip_prefix_contains(&l->prefix, a) &&
			(best == NULL || l->prefix.len > best->prefix.len))
			best = l;
	}
	return best != NULL ? best->vport : 0;
}

/* --- what routes come from ------------------------------------------------------------------- */

static void add_links(struct compile *c)
{
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = c->r->vports[id];

		for (uint32_t i = 0; vport_present(v) && i < v->n_links; i++)
			if (v->links[i].len < (v->links[i].family == IP_V4 ? 32 : 128))
				add_glean(c, &v->links[i], v->id, ROUTE_FROM_LINK, ORDER_LINK);
	}
}

static void add_static(void *arg, struct model_object *o)
{
	const struct model_route *m = o->desired;
	struct compile *c = arg;
	struct applied_vport *v = NULL;
	char why[128] = "", buf[IP_TEXT_MAX];
	uint16_t vport = 0;

	if (m->kind != ROUTE_UNICAST) {
		add_special(c, &m->prefix,
			m->kind == ROUTE_BLACKHOLE ? NEXT_HOP_BLACKHOLE : NEXT_HOP_PROHIBIT,
			ROUTE_FROM_CONFIG, ORDER_CONFIG);
		reconcile_applied(c->r, o, o->version, NULL);
		return;
	}
	if (m->vport != NULL) {
		v = reconcile_vport_find(c->r, m->vport);
		vport = v != NULL ? v->id : 0;
		if (vport == 0)
			snprintf(why, sizeof(why), "there is no vport %.60s", m->vport);
	} else {
		vport = link_of(c, &m->via);
		if (vport == 0)
			snprintf(why, sizeof(why), "%s is on no uplink's link",
				ip_format(&m->via, buf));
	}
	if (vport != 0 && m->has_via)
		add_hop(c, &m->prefix, vport, &m->via, ROUTE_FROM_CONFIG, ORDER_CONFIG, &m->via);
	else if (vport != 0)
		add_glean(c, &m->prefix, vport, ROUTE_FROM_CONFIG, ORDER_CONFIG);
	reconcile_applied(c->r, o, vport != 0 ? o->version : 0, why[0] != '\0' ? why : NULL);
}

/* How an address that is on no link is reached: by the longest static route with a router. */
static const struct reconcile_route *router_for(const struct compile *c, const struct ip_addr *a)
{
	const struct reconcile_route *best = NULL;

	for (uint32_t i = 0; i < c->set->n; i++) {
		const struct reconcile_route *r = &c->set->at[i].r;

		if (r->source == ROUTE_FROM_CONFIG && r->kind == NEXT_HOP_FORWARD &&
			ip_prefix_contains(&r->prefix, a) &&
			(best == NULL || r->prefix.len > best->prefix.len))
			best = r;
	}
	return best;
}

/* Static routes are in the set already. False: no way to the node. */
static bool add_pod_cidr(
	struct compile *c, const struct ip_prefix *cidr, const struct model_node *n)
{
	for (uint32_t i = 0; i < n->n_internal_ips; i++) {
		const struct ip_addr *ip = &n->internal_ips[i];
		const struct reconcile_route *router;
		uint16_t vport;

		if (ip_family(ip) != cidr->family)
			continue;
		vport = link_of(c, ip);
		if (vport != 0) {
			add_hop(c, cidr, vport, ip, ROUTE_FROM_NODE, ORDER_NODE, ip);
			return true;
		}
		router = router_for(c, ip);
		if (router != NULL) {
			struct ip_addr via = router->via;

			add_hop(c, cidr, router->vport, &via, ROUTE_FROM_NODE, ORDER_NODE, &via);
			return true;
		}
	}
	return false;
}

static void add_node(void *arg, struct model_object *o)
{
	const struct model_node *n = o->desired;
	struct compile *c = arg;
	char why[160] = "", buf[IP_PREFIX_TEXT_MAX];

	for (uint32_t i = 0; i < n->n_pod_cidrs; i++) {
		if (n->is_self)
			add_special(c, &n->pod_cidrs[i], NEXT_HOP_PROHIBIT, ROUTE_FROM_POD_CIDR,
				ORDER_POD_CIDR);
		else if (!add_pod_cidr(c, &n->pod_cidrs[i], n))
			snprintf(why, sizeof(why),
				"no route to %s: no InternalIP of the node is on a link or behind "
				"a static route",
				ip_prefix_format(&n->pod_cidrs[i], buf));
	}
	reconcile_applied(c->r, o, o->version, why[0] != '\0' ? why : NULL);
}

static void add_vport(struct compile *c, const struct applied_vport *v)
{
	for (uint32_t i = 0; i < v->record.n_addrs; i++) {
		const struct ip_prefix *p = &v->record.addrs[i];

		/* A peer whose MAC is configured is the router of its prefixes. */
		if (p->len == (p->family == IP_V4 ? 32 : 128) || v->record.peer_mac_known)
			add_hop(c, p, v->id, &p->addr, ROUTE_FROM_VPORT, ORDER_VPORT, NULL);
		else
			add_glean(c, p, v->id, ROUTE_FROM_VPORT, ORDER_VPORT);
	}
}

static void add_host(void *arg, const struct ip_addr *addr, uint16_t next_hop)
{
	struct compile *c = arg;
	struct ip_prefix p = host_prefix(addr);

	add(c, &p, next_hop, NEXT_HOP_FORWARD, ROUTE_FROM_NEIGHBOUR, ORDER_NEIGHBOUR,
		next_hop_get(c->r->dp->next_hops, next_hop)->vport, NULL);
}

static bool behind_vport(const struct compile *c, const struct ip_addr *a)
{
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = c->r->vports[id];

		for (uint32_t i = 0; vport_present(v) && i < v->record.n_addrs; i++)
			if (ip_prefix_contains(&v->record.addrs[i], a))
				return true;
	}
	return false;
}

static void add_local(struct compile *c, const struct ip_addr *a)
{
	struct ip_prefix p = host_prefix(a);

	if (!ip_is_zero(a) && !behind_vport(c, a))
		add_special(c, &p, NEXT_HOP_LOCAL, ROUTE_FROM_LOCAL, ORDER_LOCAL);
}

static void add_locals(struct compile *c)
{
	struct reconciler *r = c->r;

	for (int f = 0; f < IP_FAMILIES; f++)
		add_local(c, &r->cfg->gateway.addr[f]);
	for (uint32_t i = 0; i < r->node.n; i++)
		add_local(c, &r->node.at[i]);
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = r->vports[id];

		for (uint32_t i = 0; vport_present(v) && i < v->n_links; i++)
			add_local(c, &v->links[i].addr);
	}
}

static int entry_compare(const void *x, const void *y)
{
	const struct route_entry *a = x, *b = y;
	int c;

	if (a->r.prefix.family != b->r.prefix.family)
		return (int)a->r.prefix.family - (int)b->r.prefix.family;
	c = ip_compare(&a->r.prefix.addr, &b->r.prefix.addr);
	if (c == 0)
		c = (int)a->r.prefix.len - (int)b->r.prefix.len;
	if (c == 0)
		c = (int)a->order - (int)b->order;
	if (c == 0)
		c = (int)a->r.vport - (int)b->r.vport;
	/* Of two nodes with one range the same wins every time, whatever the ids are. */
	return c != 0 ? c : ip_compare(&a->r.via, &b->r.via);
}

static bool same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->family == b->family && a->len == b->len && ip_equal(&a->addr, &b->addr);
}

static void compile(struct reconciler *r, struct route_set *set)
{
	struct compile c = {.r = r, .set = set};
	uint32_t n = 0;

	collect_links(&c);
	model_objects_each(r->model, MODEL_ROUTE, add_static, &c);
	model_objects_each(r->model, MODEL_NODE, add_node, &c);
	add_links(&c);
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		if (vport_present(r->vports[id]))
			add_vport(&c, r->vports[id]);
	neighbours_hosts_each(r->nb, add_host, &c);
	add_locals(&c);
	if (set->n != 0)
		qsort(set->at, set->n, sizeof(*set->at), entry_compare);
	for (uint32_t i = 0; i < set->n; i++)
		if (i + 1 == set->n || !same_prefix(&set->at[i].r.prefix, &set->at[i + 1].r.prefix))
			set->at[n++] = set->at[i];
	set->n = n;
}

/* --- publication ----------------------------------------------------------------------------- */

static int addr_compare(const void *a, const void *b)
{
	return ip_compare(a, b);
}

/* Addresses for which ARP and ND on uplinks answer: sorted, each once. */
static uint32_t owned_addrs(const struct reconciler *r, struct ip_addr *out, uint32_t room)
{
	const struct config_addrs *snat = &r->cfg->snat.addresses;
	uint32_t n = 0, kept = 0;

	for (uint32_t i = 0; i < r->node.n && n < room; i++)
		out[n++] = r->node.at[i];
	for (uint32_t i = 0; i < snat->n && n < room; i++)
		out[n++] = snat->at[i];
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = r->vports[id];

		for (uint32_t i = 0; vport_present(v) && i < v->n_links && n < room; i++)
			out[n++] = v->links[i].addr;
	}
	qsort(out, n, sizeof(*out), addr_compare);
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || !ip_equal(&out[kept - 1], &out[i]))
			out[kept++] = out[i];
	return kept;
}

static void icmp_sources(const struct reconciler *r, struct ip_addr out[IP_FAMILIES])
{
	for (int f = 0; f < IP_FAMILIES; f++)
		out[f] = r->cfg->gateway.addr[f];
	for (uint32_t id = VPORTS_MAX - 1; id > 0; id--) {
		const struct applied_vport *v = r->vports[id];

		for (uint32_t i = vport_present(v) ? v->n_links : 0; i > 0; i--)
			out[v->links[i - 1].family] = v->links[i - 1].addr;
	}
	for (uint32_t i = r->node.n; i > 0; i--)
		out[ip_family(&r->node.at[i - 1])] = r->node.at[i - 1];
}

#define OWNED_MAX 256

static struct route_domain *domain_new(struct reconciler *r, const struct route_set *set)
{
	struct route_domain *d = calloc(1, sizeof(*d) + OWNED_MAX * sizeof(struct ip_addr));
	struct route *routes = malloc((set->n + 1) * sizeof(*routes));
	struct ip_addr *owned;
	struct fib *fib;

	if (d == NULL || routes == NULL)
		goto fail;
	for (uint32_t i = 0; i < set->n; i++)
		routes[i] = (struct route){
			.prefix = set->at[i].r.prefix, .next_hop = set->at[i].r.next_hop};
	if (fib_new(routes, set->n, &fib) < 0)
		goto fail;
	free(routes);
	owned = (struct ip_addr *)(d + 1);
	d->fib = fib;
	d->owned = owned;
	d->n_owned = owned_addrs(r, owned, OWNED_MAX);
	icmp_sources(r, d->icmp_source);
	for (int f = 0; f < IP_FAMILIES; f++)
		d->gateway[f] = r->cfg->gateway.addr[f];
	return d;
fail:
	free(routes);
	free(d);
	return NULL;
}

static bool sets_equal(const struct route_set *a, const struct route_set *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!same_prefix(&a->at[i].r.prefix, &b->at[i].r.prefix) ||
			a->at[i].r.next_hop != b->at[i].r.next_hop)
			return false;
	return true;
}

static bool domains_equal(const struct route_domain *a, const struct route_domain *b)
{
	return a->n_owned == b->n_owned &&
		memcmp(a->owned, b->owned, a->n_owned * sizeof(*a->owned)) == 0 &&
		memcmp(a->icmp_source, b->icmp_source, sizeof(a->icmp_source)) == 0 &&
		memcmp(a->gateway, b->gateway, sizeof(a->gateway)) == 0;
}

static void fib_retired(void *arg, void *mem)
{
	(void)arg;
	fib_free(mem);
}

static void domain_free(struct route_domain *d)
{
	if (d != NULL)
		fib_free((struct fib *)d->fib);
	free(d);
}

static void announce_new(
	struct reconciler *r, const struct route_domain *old, const struct route_domain *d)
{
	for (uint32_t i = 0; i < d->n_owned; i++) {
		if (old->n_owned != 0 &&
			bsearch(&d->owned[i], old->owned, old->n_owned, sizeof(*old->owned),
				addr_compare) != NULL)
			continue;
		for (uint32_t id = 1; id < VPORTS_MAX; id++) {
			const struct applied_vport *v = r->vports[id];

			if (vport_present(v) && !v->starting && v->record.role == VPORT_UPLINK)
				neighbours_announce(r->nb, v->id, &d->owned[i]);
		}
	}
}

static void publish(struct reconciler *r, struct route_domain *d)
{
	const struct route_domain *old = atomic_load_explicit(&r->dp->routes, memory_order_relaxed);

	/* 0 is what a flow never judged has. */
	if (++r->generation == 0)
		r->generation = 1;
	d->generation = r->generation;
	atomic_store_explicit(&r->dp->routes, d, memory_order_release);
	announce_new(r, old, d);
	if (r->routes_mine == old) {
		retire(r->retire, fib_retired, NULL, (void *)old->fib);
		retire(r->retire, NULL, NULL, (void *)old);
	}
	r->routes_mine = d;
	r->stats.routes_published++;
	for (int f = 0; f < IP_FAMILIES; f++)
		r->stats.routes[f] = fib_count(d->fib, (enum ip_family)f);
	LOG_DEBUG(reconcile, "routes_published", "generation=%u v4=%u v6=%u owned=%u",
		d->generation, r->stats.routes[IP_V4], r->stats.routes[IP_V6], d->n_owned);
}

bool reconcile_publish_routes(struct reconciler *r)
{
	const struct route_domain *old = atomic_load_explicit(&r->dp->routes, memory_order_relaxed);
	struct route_set now = {0}, before;
	struct route_domain *d;

	compile(r, &now);
	d = now.failed ? NULL : domain_new(r, &now);
	if (d == NULL) {
		LOG_ERROR(reconcile, "routes_not_published", "reason=%s",
			"out of memory or of next hops");
		r->stats.errors++;
		set_fini(r, &now);
		return false;
	}
	if (r->routes_mine == old && sets_equal(&r->routes, &now) && domains_equal(old, d))
		domain_free(d);
	else
		publish(r, d);
	pthread_mutex_lock(&r->lock);
	before = r->routes;
	r->routes = now;
	pthread_mutex_unlock(&r->lock);
	set_fini(r, &before);
	neighbours_hosts_published(r->nb);
	return true;
}

uint32_t reconcile_routes_each(struct reconciler *r, const struct ip_prefix *after, uint32_t max,
	struct reconcile_route *out)
{
	uint32_t n = 0;

	pthread_mutex_lock(&r->lock);
	for (uint32_t i = 0; i < r->routes.n && n < max; i++) {
		struct route_entry key;

		if (after != NULL) {
			memset(&key, 0, sizeof(key));
			key.r.prefix = *after;
			key.order = r->routes.at[i].order;
			key.r.vport = r->routes.at[i].r.vport;
			key.r.via = r->routes.at[i].r.via;
			if (entry_compare(&r->routes.at[i], &key) <= 0)
				continue;
		}
		out[n++] = r->routes.at[i].r;
	}
	pthread_mutex_unlock(&r->lock);
	return n;
}

void reconcile_routes_fini(struct reconciler *r)
{
	domain_free((struct route_domain *)r->routes_mine);
	r->routes_mine = NULL;
	set_fini(r, &r->routes);
}
