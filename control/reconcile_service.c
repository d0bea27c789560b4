/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* One service: what is applied for it is compared with what is wanted, port by port and family by
 * family, and only what differs is built and replaced. Backends that stay keep their references,
 * lists that stay are not built again. Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/reconcile_private.h"

/* --- ids -----------------------------------------------------------------------------------------
 */

static struct port_list *id_bucket(struct reconciler *r, uint32_t id)
{
	return &r->ids[id & (SVC_ID_BUCKETS - 1)];
}

bool reconcile_service_name(struct reconciler *r, uint32_t svc_port_id, char *out, size_t size)
{
	const struct applied_port *p;
	bool found = false;

	pthread_mutex_lock(&r->lock);
	LIST_FOREACH (p, id_bucket(r, svc_port_id), of_id)
		if (p->id == svc_port_id && p->svc != NULL) {
			snprintf(out, size, "%s", p->svc->name);
			found = true;
		}
	pthread_mutex_unlock(&r->lock);
	return found;
}

/* --- backends ------------------------------------------------------------------------------------
 */

/* What is in a list, and what was and still serves: a UDP flow to an endpoint that only left the
 * lists, as one that terminates does, goes on. */
static bool wanted_backend(const struct model_backend *b, enum ip_family f)
{
	return (b->in_cluster || b->in_local || b->ready || b->serving) && ip_family(&b->addr) == f;
}

static int backend_order(const struct applied_backend *a, const struct model_backend *b)
{
	int c = ip_compare(&a->addr, &b->addr);

	return c != 0 ? c : (int)a->port - (int)b->port;
}

/* Walks both sorted lists. Endpoints that stay keep their references; those that go are released
 * only behind the publication (release_gone), so that no list in force holds a reference that was
 * given away. */
static struct applied_backend *merge_backends(struct reconciler *r, const struct applied_port *p,
	const struct model_service_port *want, uint32_t *n_out)
{
	struct applied_backend *now = malloc((want->n_backends + 1) * sizeof(*now));
	uint32_t n = 0, old = 0;

	if (now == NULL)
		return NULL;
	for (uint32_t i = 0; i < want->n_backends; i++) {
		const struct model_backend *b = &want->backends[i];
		backend_ref ref = 0;

		if (!wanted_backend(b, (enum ip_family)p->family))
			continue;
		while (old < p->n_backends && backend_order(&p->backends[old], b) < 0)
			old++;
		if (old < p->n_backends && backend_order(&p->backends[old], b) == 0)
			ref = p->backends[old].ref;
		if (ref == 0) {
			ref = backend_alloc(r->backends);
			if (ref == 0) {
				reconcile_fault(r,
					"all %u backends are taken: raise services.backends",
					backend_used(r->backends));
				continue;
			}
			backend_set(r->backends, ref,
				b->terminating ? BACKEND_DRAINING : BACKEND_READY);
		} else if (p->backends[old].terminating != b->terminating) {
			backend_set(r->backends, ref,
				b->terminating ? BACKEND_DRAINING : BACKEND_READY);
		}
		now[n++] = (struct applied_backend){.addr = b->addr,
			.port = b->port,
			.terminating = b->terminating,
			.ref = ref};
	}
	*n_out = n;
	return now;
}

/* References of before that are not in now. Both are sorted. */
static void release_gone(struct reconciler *r, const struct applied_backend *before,
	uint32_t n_before, const struct applied_backend *now, uint32_t n_now)
{
	for (uint32_t i = 0, j = 0; i < n_before; i++) {
		while (j < n_now && now[j].ref != before[i].ref &&
			(ip_compare(&now[j].addr, &before[i].addr) < 0 ||
				(ip_equal(&now[j].addr, &before[i].addr) &&
					now[j].port < before[i].port)))
			j++;
		if (j == n_now || now[j].ref != before[i].ref)
			backend_release(r->backends, before[i].ref);
	}
}

/* --- lists ----------------------------------------------------------------------------------- */

enum which_list {
	LIST_CLUSTER,
	LIST_LOCAL
};

/* The members of a list as the dataplane holds them; scratch has room for all backends. */
static uint32_t members(const struct applied_port *p, const struct model_service_port *want,
	const struct applied_backend *now, uint32_t n_now, enum which_list which,
	struct svc_backend *scratch)
{
	uint32_t n = 0;

	for (uint32_t i = 0, j = 0; i < want->n_backends; i++) {
		const struct model_backend *b = &want->backends[i];

		if (!(which == LIST_CLUSTER ? b->in_cluster : b->in_local) ||
			ip_family(&b->addr) != (enum ip_family)p->family)
			continue;
		while (j < n_now && backend_order(&now[j], b) < 0)
			j++;
		if (j == n_now || backend_order(&now[j], b) != 0)
			continue; /* no reference was left for it */
		memset(&scratch[n], 0, sizeof(scratch[n]));
		scratch[n].addr = b->addr;
		scratch[n].port = htons(b->port);
		scratch[n].flags = (uint16_t)((b->local ? SVC_BACKEND_LOCAL : 0) |
			(b->terminating ? SVC_BACKEND_TERMINATING : 0));
		scratch[n].ref = now[j].ref;
		n++;
	}
	return n;
}

static bool list_is(const struct svc_list *l, const struct svc_backend *m, uint32_t n)
{
	if (l == NULL || l->n != n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (!ip_equal(&l->backends[i].addr, &m[i].addr) ||
			l->backends[i].port != m[i].port || l->backends[i].flags != m[i].flags ||
			l->backends[i].ref != m[i].ref)
			return false;
	return true;
}

/* One that is there already, or a new one. NULL: out of memory. */
static struct svc_list *list_for(struct reconciler *r, const struct applied_port *p,
	struct svc_list *other, const struct svc_backend *m, uint32_t n)
{
	if (n == 0)
		return r->empty;
	if (list_is(p->cluster, m, n))
		return p->cluster;
	if (list_is(p->local, m, n))
		return p->local;
	if (list_is(other, m, n))
		return other;
	r->stats.lists_built++;
	return svc_list_new(m, n);
}

/* --- service ports --------------------------------------------------------------------------- */

static uint8_t flags_of(
	const struct model_service *s, const struct model_service_port *p, uint8_t family)
{
	return (uint8_t)((s->etp_local ? SVC_ETP_LOCAL : 0) | (s->itp_local ? SVC_ITP_LOCAL : 0) |
		(p->has_any[family] ? SVC_HAS_ANY : 0) |
		(s->reset_removed ? SVC_RESET_REMOVED : 0));
}

/* A new record in one allocation: the struct, its source ranges, its name. */
static struct svc_port *svc_new(const struct applied_port *p, const struct model_service *s,
	const struct model_service_port *want, const struct svc_list *cluster,
	const struct svc_list *local)
{
	struct svc_port *svc;
	struct ip_prefix *ranges;
	uint32_t n = 0;
	char name[600], *text;
	size_t len;

	len = (size_t)snprintf(name, sizeof(name), "%s/%s:%s", s->ns, s->name, want->name);
	if (want->name[0] == '\0')
		len = (size_t)snprintf(name, sizeof(name), "%s/%s:%u", s->ns, s->name, want->port);
	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	for (uint32_t i = 0; i < s->n_source_ranges; i++)
		n += s->source_ranges[i].family == p->family;
	svc = calloc(1, sizeof(*svc) + n * sizeof(*ranges) + len + 1);
	if (svc == NULL)
		return NULL;
	ranges = (struct ip_prefix *)(svc + 1);
	text = (char *)(ranges + n);
	memcpy(text, name, len);
	svc->id = p->id;
	svc->proto = p->proto;
	svc->flags = flags_of(s, want, p->family);
	svc->port = htons(p->port);
	svc->affinity_seconds = s->affinity_seconds;
	svc->cluster = cluster;
	svc->local = local;
	for (uint32_t i = 0; i < s->n_source_ranges; i++)
		if (s->source_ranges[i].family == p->family)
			ranges[svc->n_source_ranges++] = s->source_ranges[i];
	svc->source_ranges = ranges;
	svc->name = text;
	return svc;
}

static bool svc_equal(const struct svc_port *a, const struct svc_port *b)
{
	if (a->flags != b->flags || a->affinity_seconds != b->affinity_seconds ||
		a->cluster != b->cluster || a->local != b->local ||
		a->n_source_ranges != b->n_source_ranges || strcmp(a->name, b->name) != 0)
		return false;
	for (uint32_t i = 0; i < a->n_source_ranges; i++)
		if (a->source_ranges[i].len != b->source_ranges[i].len ||
			!ip_equal(&a->source_ranges[i].addr, &b->source_ranges[i].addr))
			return false;
	return true;
}

static void retire_mem(struct reconciler *r, void *mem)
{
	if (mem == NULL)
		return;
	svc_table_retire(r->table, mem);
	r->stats.retired++;
}

/* Lists of before that now does not use any more. */
static void retire_lists(struct reconciler *r, struct svc_list *cluster, struct svc_list *local,
	const struct svc_list *now_cluster, const struct svc_list *now_local)
{
	if (cluster != NULL && cluster != r->empty && cluster != now_cluster &&
		cluster != now_local)
		retire_mem(r, cluster);
	if (local != NULL && local != cluster && local != r->empty && local != now_cluster &&
		local != now_local)
		retire_mem(r, local);
}

/* Builds lists and record from now. 1 when the record is another than before: its frontends have
 * to be set again, and only then may the caller retire what the port had. 0: the same. -ENOMEM:
 * what was in force stays. */
static int port_build(struct reconciler *r, struct applied_port *p, const struct model_service *s,
	const struct model_service_port *want, const struct applied_backend *now, uint32_t n_now,
	struct svc_port **before)
{
	struct svc_backend *scratch = malloc((want->n_backends + 1) * sizeof(*scratch));
	struct svc_list *cluster = NULL, *local = NULL;
	struct svc_port *svc = NULL;

	*before = NULL;
	if (scratch != NULL)
		cluster = list_for(
			r, p, NULL, scratch, members(p, want, now, n_now, LIST_CLUSTER, scratch));
	/* Nobody asks for the local list unless a policy is Local. */
	if (cluster != NULL)
		local = !s->etp_local && !s->itp_local
			? r->empty
			: list_for(r, p, cluster, scratch,
				  members(p, want, now, n_now, LIST_LOCAL, scratch));
	free(scratch);
	if (local != NULL)
		svc = svc_new(p, s, want, cluster, local);
	if (svc == NULL) {
		reconcile_fault(r, "out of memory");
		retire_lists(r, cluster, local, p->cluster, p->local);
		return -ENOMEM;
	}
	if (p->svc != NULL && svc_equal(p->svc, svc)) {
		free(svc);
		return 0;
	}
	pthread_mutex_lock(&r->lock);
	*before = p->svc;
	p->svc = svc;
	pthread_mutex_unlock(&r->lock);
	p->cluster = cluster;
	p->local = local;
	r->stats.ports_replaced++;
	return 1;
}

/* --- frontends ------------------------------------------------------------------------------- */

static void claim_addrs(struct reconciler *r, struct applied_port *p, const struct ip_addr *addrs,
	uint32_t n, uint8_t kind)
{
	for (uint32_t i = 0; i < n; i++) {
		struct svc_frontend_key k = {.addr = addrs[i],
			.port = htons(p->port),
			.proto = p->proto,
			.family = p->family};

		if (ip_family(&addrs[i]) == (enum ip_family)p->family)
			claim_add(r, &p->claims, p->service, p, &k, kind);
	}
}

static void settle_claims(struct reconciler *r, struct claim_list *list, bool svc_changed)
{
	struct claim *c, *next;

	for (c = LIST_FIRST(list); c != NULL; c = next) {
		next = LIST_NEXT(c, of_owner);
		if (c->wanted)
			claim_refresh(r, c, svc_changed);
		else
			claim_remove(r, c);
	}
}

static void unwant(struct claim_list *list)
{
	struct claim *c;

	LIST_FOREACH (c, list, of_owner)
		c->wanted = false;
}

static void port_claims(struct reconciler *r, struct applied_port *p, const struct model_service *s,
	const struct model_service_port *want, bool svc_changed)
{
	unwant(&p->claims);
	claim_addrs(r, p, s->cluster_ips, s->n_cluster_ips, SVC_CLUSTER_IP);
	claim_addrs(r, p, s->external_ips, s->n_external_ips, SVC_EXTERNAL_IP);
	claim_addrs(r, p, s->lb_vips, s->n_lb_vips, SVC_LB_VIP);
	if (want->node_port != 0) {
		struct svc_frontend_key k = {
			.port = htons(want->node_port), .proto = p->proto, .family = p->family};

		claim_add(r, &p->claims, p->service, p, &k, SVC_NODE_PORT);
	}
	settle_claims(r, &p->claims, svc_changed);
}

static void address_claims(
	struct reconciler *r, struct applied_service *a, const struct model_service *s)
{
	unwant(&a->addresses);
	for (uint32_t i = 0; i < s->n_cluster_ips; i++) {
		struct svc_frontend_key k = {.addr = s->cluster_ips[i],
			.family = (uint8_t)ip_family(&s->cluster_ips[i])};

		claim_add(r, &a->addresses, a, NULL, &k, SVC_ADDRESS);
	}
	settle_claims(r, &a->addresses, false);
}

/* --- one port -------------------------------------------------------------------------------- */

static struct applied_port *port_make(struct reconciler *r, struct applied_service *a,
	const struct model_service_port *want, uint8_t family)
{
	struct applied_port *p;

	LIST_FOREACH (p, &a->ports, of_service)
		if (p->proto == want->proto && p->port == want->port && p->family == family)
			return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL) {
		reconcile_fault(r, "out of memory");
		return NULL;
	}
	p->id = ++r->next_svc_id;
	p->proto = want->proto;
	p->port = want->port;
	p->family = family;
	p->service = a;
	LIST_INIT(&p->claims);
	LIST_INSERT_HEAD(&a->ports, p, of_service);
	pthread_mutex_lock(&r->lock);
	LIST_INSERT_HEAD(id_bucket(r, p->id), p, of_id);
	r->stats.svc_ports++;
	pthread_mutex_unlock(&r->lock);
	return p;
}

static void port_apply(struct reconciler *r, struct applied_port *p, const struct model_service *s,
	const struct model_service_port *want)
{
	struct svc_list *cluster = p->cluster, *local = p->local;
	struct applied_backend *now, *gone = p->backends;
	uint32_t n_now, n_gone = p->n_backends;
	struct svc_port *before;
	int changed;

	p->wanted = true;
	now = merge_backends(r, p, want, &n_now);
	if (now == NULL) {
		reconcile_fault(r, "out of memory");
		return;
	}
	changed = port_build(r, p, s, want, now, n_now, &before);
	if (changed < 0) {
		release_gone(r, now, n_now, gone, n_gone);
		free(now);
		return;
	}
	port_claims(r, p, s, want, changed != 0);
	if (changed != 0) {
		retire_mem(r, before);
		retire_lists(r, cluster, local, p->cluster, p->local);
	}
	release_gone(r, gone, n_gone, now, n_now);
	p->backends = now;
	p->n_backends = n_now;
	free(gone);
}

static void port_drop(struct reconciler *r, struct applied_port *p)
{
	unwant(&p->claims);
	settle_claims(r, &p->claims, false);
	LIST_REMOVE(p, of_service);
	pthread_mutex_lock(&r->lock);
	LIST_REMOVE(p, of_id);
	r->stats.svc_ports--;
	pthread_mutex_unlock(&r->lock);
	retire_mem(r, p->svc);
	retire_lists(r, p->cluster, p->local, NULL, NULL);
	for (uint32_t i = 0; i < p->n_backends; i++)
		backend_release(r->backends, p->backends[i].ref);
	free(p->backends);
	free(p);
}

/* --- one service ----------------------------------------------------------------------------- */

/* The families a service is of: those of its ClusterIPs, else of its other addresses, else both. */
static void families_of(const struct model_service *s, bool has[IP_FAMILIES])
{
	has[IP_V4] = has[IP_V6] = false;
	for (uint32_t i = 0; i < s->n_cluster_ips; i++)
		has[ip_family(&s->cluster_ips[i])] = true;
	if (s->n_cluster_ips != 0)
		return;
	for (uint32_t i = 0; i < s->n_external_ips; i++)
		has[ip_family(&s->external_ips[i])] = true;
	for (uint32_t i = 0; i < s->n_lb_vips; i++)
		has[ip_family(&s->lb_vips[i])] = true;
	if (!has[IP_V4] && !has[IP_V6])
		has[IP_V4] = has[IP_V6] = true;
}

static struct applied_service *service_new(struct model_object *o)
{
	struct applied_service *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->key = o->key;
	a->object = o;
	LIST_INIT(&a->ports);
	LIST_INIT(&a->addresses);
	o->applied = a;
	return a;
}

void reconcile_service_drop(struct reconciler *r, struct applied_service *a)
{
	struct applied_port *p;

	if (a == NULL)
		return;
	reconcile_verify_forget(r, a);
	unwant(&a->addresses);
	settle_claims(r, &a->addresses, false);
	while ((p = LIST_FIRST(&a->ports)) != NULL)
		port_drop(r, p);
	free(a);
	r->stats.services--;
}

void reconcile_service_apply(struct reconciler *r, struct model_object *o)
{
	const struct model_service *s = o->desired;
	struct applied_service *a = o->applied;
	struct applied_port *p, *next;
	bool has[IP_FAMILIES];

	if (s == NULL) {
		reconcile_service_drop(r, a);
		o->applied = NULL;
		return;
	}
	if (a == NULL) {
		a = service_new(o);
		if (a == NULL) {
			reconcile_fault(r, "out of memory");
			return;
		}
		r->stats.services++;
	}
	a->created = s->created;
	LIST_FOREACH (p, &a->ports, of_service)
		p->wanted = false;
	families_of(s, has);
	for (uint32_t i = 0; i < s->n_ports; i++)
		for (uint8_t f = 0; f < IP_FAMILIES; f++) {
			p = has[f] ? port_make(r, a, &s->ports[i], f) : NULL;
			if (p != NULL)
				port_apply(r, p, s, &s->ports[i]);
		}
	for (p = LIST_FIRST(&a->ports); p != NULL; p = next) {
		next = LIST_NEXT(p, of_service);
		if (!p->wanted)
			port_drop(r, p);
	}
	/* Behind the ports: an address without its ports would be rejected for a moment. */
	address_claims(r, a, s);
}

void reconcile_service_take(struct reconciler *r, struct model_object *o)
{
	bool failed;

	r->fault[0] = '\0';
	reconcile_service_apply(r, o);
	failed = r->fault[0] != '\0';
	if (failed) {
		r->stats.errors++;
		LOG_WARN(reconcile, "service_not_wholly_applied", "name=%s reason=%s", o->key,
			r->fault);
	}
	if (o->applied != NULL)
		reconcile_verify_later(r, o->applied, failed);
	reconcile_applied(r, o, o->version, failed ? r->fault : NULL);
}
