/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The service decision: where the first packet of a flow goes (see service.h). Workers, and the
 * API for explanations; pure.
 *
 * The verdicts are kube-proxy's: KEP-1669 (two lists with their own fallbacks, terminating
 * endpoints), KEP-2086 (internal traffic policy), KEP-2438 and KEP-3836 (the short cut of local
 * clients under externalTrafficPolicy Local). */

#include <string.h>

#include "core/service.h"

static bool in_service_cidr(const struct svc_domain *d, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < d->n_service_cidrs; i++)
		if (ip_prefix_contains(&d->service_cidrs[i], a))
			return true;
	return false;
}

static bool is_node_port_addr(const struct svc_domain *d, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < d->n_node_port_addrs; i++)
		if (ip_equal(&d->node_port_addrs[i], a))
			return true;
	return false;
}

static bool in_ranges(const struct svc_port *svc, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < svc->n_source_ranges; i++)
		if (ip_prefix_contains(&svc->source_ranges[i], a))
			return true;
	return false;
}

/* The host talks to a VIP that is bound locally: its source is then a VIP of the service, which
 * no range names. Allowed if the ranges admit the node itself. */
static bool is_own_vip(
	const struct svc_domain *d, const struct svc_port *svc, const struct svc_query *q)
{
	struct svc_frontend_key k = {.addr = q->src,
		.port = q->dport,
		.proto = q->proto,
		.family = (uint8_t)ip_family(&q->src)};
	const struct svc_frontend *f = svc_table_find(d->table, &k);

	if (f == NULL || f->kind != SVC_LB_VIP || f->svc_id != svc->id)
		return false;
	return in_ranges(svc, &d->node_addr[k.family]);
}

/* A family without a prefix is not configured, and then nobody is translated. */
static bool in_local_cidrs(const struct svc_domain *d, const struct ip_addr *a)
{
	bool any = false;

	for (uint32_t i = 0; i < d->n_local_cidrs; i++) {
		if (ip_prefix_contains(&d->local_cidrs[i], a))
			return true;
		any |= d->local_cidrs[i].family == ip_family(a);
	}
	return !any;
}

static bool is_local(const struct svc_domain *d, const struct svc_query *q)
{
	switch ((enum svc_detect_local)d->detect_local) {
	case SVC_LOCAL_NAME:
		return q->local_vport;
	case SVC_LOCAL_CIDR:
		return in_local_cidrs(d, &q->src);
	default:
		return q->source == SVC_FROM_POD;
	}
}

static void drop(struct svc_verdict *v, enum drop_reason reason)
{
	v->kind = SVC_DROP;
	v->reason = reason;
}

static void reject(struct svc_verdict *v, enum drop_reason reason)
{
	v->kind = SVC_REJECT;
	v->reason = reason;
}

/* The row and column of the verdict matrix: local list or cluster's, and whether the source is
 * translated. */
static bool wants_local(const struct svc_domain *d, const struct svc_query *q,
	const struct svc_frontend *f, bool *snat)
{
	enum svc_source source = (enum svc_source)q->source;

	if (f->kind == SVC_CLUSTER_IP) {
		*snat = d->masquerade_all || !is_local(d, q);
		return (f->flags & SVC_ITP_LOCAL) != 0;
	}
	if (!(f->flags & SVC_ETP_LOCAL)) {
		*snat = true;
		return false;
	}
	/* Local clients are not what the policy is about: any endpoint may serve them. */
	*snat = source == SVC_FROM_HOST;
	return source == SVC_FROM_OUTSIDE;
}

void svc_verdict_use(
	struct svc_verdict *v, const struct svc_query *q, const struct svc_backend *backend)
{
	v->backend = backend;
	/* Hairpin: a client that reaches itself must see the answer come from the service. */
	v->snat = v->snat_by_matrix || ip_equal(&backend->addr, &q->src);
}

/* The endpoint for this query, and in v->list the list; NULL: it has none. */
static const struct svc_backend *choose(
	const struct svc_frontend *f, const struct svc_query *q, bool local, struct svc_verdict *v)
{
	if (local == ((f->flags & SVC_FRONTEND_LOCAL) != 0)) {
		if (f->flags & SVC_FRONTEND_ONLY)
			return &f->only;
		v->list = f->list;
	} else {
		v->list = local ? f->svc->local : f->svc->cluster;
	}
	return v->list->n != 0 ? svc_list_pick(v->list, q->hash) : NULL;
}

static void decide_frontend(const struct svc_domain *d, const struct svc_query *q,
	const struct svc_frontend *f, struct svc_verdict *v)
{
	const struct svc_backend *backend;
	bool local;

	v->frontend = (enum svc_frontend_kind)f->kind;
	v->svc = f->svc;
	v->svc_id = f->svc_id;
	v->svc_flags = f->flags;
	if (!d->ready) {
		drop(v, DROP_ServicesNotReady);
		return;
	}
	if (f->kind == SVC_CLUSTER_IP && q->source == SVC_FROM_OUTSIDE && !d->cluster_ip_outside) {
		drop(v, DROP_ServiceOutsideClient);
		return;
	}
	/* Before the endpoints are looked at, for every source; families without a range are open.
	 */
	if (f->kind == SVC_LB_VIP && f->svc->n_source_ranges != 0 && !in_ranges(f->svc, &q->src) &&
		!is_own_vip(d, f->svc, q)) {
		drop(v, DROP_ServiceSourceRange);
		return;
	}
	local = wants_local(d, q, f, &v->snat_by_matrix);
	backend = choose(f, q, local, v);
	if (backend != NULL) {
		v->kind = SVC_TRANSLATE;
		svc_verdict_use(v, q, backend);
	} else if (local && (f->flags & SVC_HAS_ANY)) {
		/* Silence while others could serve: a load balancer that is late to notice should
		 * try again, not see an error. */
		drop(v, DROP_ServiceNoLocalBackend);
	} else {
		reject(v, DROP_ServiceNoBackend);
	}
}

/* The address is in use as a ClusterIP, or at least inside a service range: ours to answer for,
 * and never to forward. */
static bool decide_service_address(
	const struct svc_domain *d, const struct svc_query *q, bool echo, struct svc_verdict *v)
{
	struct svc_frontend_key k = {.addr = q->dst, .family = (uint8_t)ip_family(&q->dst)};
	bool in_range = in_service_cidr(d, &q->dst);
	const struct svc_frontend *f;

	if (!d->ready && in_range) {
		drop(v, DROP_ServicesNotReady);
		return true;
	}
	f = svc_table_find(d->table, &k);
	if (f != NULL) {
		v->frontend = (enum svc_frontend_kind)f->kind;
		if (!d->ready)
			drop(v, DROP_ServicesNotReady);
		else if (q->source == SVC_FROM_OUTSIDE && !d->cluster_ip_outside)
			drop(v, DROP_ServiceOutsideClient);
		else if (echo)
			v->kind = SVC_ECHO;
		else
			reject(v, DROP_ServiceUnknownPort);
		return true;
	}
	if (in_range)
		drop(v, DROP_ServiceUnknownAddress);
	return in_range;
}

void svc_decide_at(const struct svc_domain *d, const struct svc_query *q,
	const struct svc_frontend *f, struct svc_verdict *out)
{
	bool echo = q->proto == IP_PROTO_ICMP || q->proto == IP_PROTO_ICMPV6;
	struct svc_frontend_key k;

	*out = (struct svc_verdict){.kind = SVC_PASS};
	/* The most specific first: an address of its own wins over the NodePorts of all. An echo's
	 * identifier is no port, and protocol 0 is the key of an address without one. */
	if (!echo && f != NULL && f->svc != NULL) {
		decide_frontend(d, q, f, out);
		return;
	}
	if (decide_service_address(d, q, echo, out) || echo || !is_node_port_addr(d, &q->dst))
		return;
	k = svc_query_key(q);
	memset(&k.addr, 0, sizeof(k.addr));
	f = svc_table_find(d->table, &k);
	if (f != NULL)
		decide_frontend(d, q, f, out);
}

void svc_decide(const struct svc_domain *d, const struct svc_query *q, struct svc_verdict *out)
{
	struct svc_frontend_key k = svc_query_key(q);

	svc_decide_at(d, q, svc_table_find(d->table, &k), out);
}
