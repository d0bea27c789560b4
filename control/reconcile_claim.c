/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Who has a frontend. Services may claim the same externalIP or NodePort and the API does not stop
 * them: the ClusterIP wins over other kinds (or anybody could take over a cluster address), then
 * the oldest service, then its name. The others wait, are logged, and take over when it goes.
 * Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/addr_hash.h"
#include "control/log.h"
#include "control/reconcile_private.h"

#define BUCKETS_MIN 1024

static uint32_t hash_of(const struct reconciler *r, const struct svc_frontend_key *k)
{
	uint64_t number = (uint64_t)k->port << 16 | (uint64_t)k->proto << 8 | k->family;

	return (uint32_t)addr_hash(&k->addr, number, r->salt);
}

int claims_init(struct reconciler *r)
{
	r->n_frontend_buckets = BUCKETS_MIN;
	r->frontends = calloc(r->n_frontend_buckets, sizeof(*r->frontends));
	LIST_INIT(&r->conflicts);
	return r->frontends != NULL ? 0 : -ENOMEM;
}

void claims_fini(struct reconciler *r)
{
	free(r->frontends);
	r->frontends = NULL;
}

/* Field by field: the padding behind them may hold anything. */
static bool key_equal(const struct svc_frontend_key *a, const struct svc_frontend_key *b)
{
	return ip_equal(&a->addr, &b->addr) && a->port == b->port && a->proto == b->proto &&
		a->family == b->family;
}

static struct frontend *frontend_find(const struct reconciler *r, const struct svc_frontend_key *k)
{
	struct frontend *f;

	LIST_FOREACH (f, &r->frontends[hash_of(r, k) & (r->n_frontend_buckets - 1)], link)
		if (key_equal(&f->key, k))
			return f;
	return NULL;
}

/* Staying small is no fault: chains only get longer. */
static void grow(struct reconciler *r)
{
	uint32_t n = r->n_frontend_buckets * 4;
	struct frontend_list *grown;
	struct frontend *f;

	if (r->n_frontends < r->n_frontend_buckets)
		return;
	grown = calloc(n, sizeof(*grown));
	if (grown == NULL)
		return;
	for (uint32_t i = 0; i < r->n_frontend_buckets; i++)
		while ((f = LIST_FIRST(&r->frontends[i])) != NULL) {
			LIST_REMOVE(f, link);
			LIST_INSERT_HEAD(&grown[hash_of(r, &f->key) & (n - 1)], f, link);
		}
	free(r->frontends);
	r->frontends = grown;
	r->n_frontend_buckets = n;
}

static struct frontend *frontend_make(struct reconciler *r, const struct svc_frontend_key *k)
{
	struct frontend *f = frontend_find(r, k);

	if (f != NULL)
		return f;
	grow(r);
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	f->key = *k;
	LIST_INIT(&f->claims);
	LIST_INSERT_HEAD(&r->frontends[hash_of(r, k) & (r->n_frontend_buckets - 1)], f, link);
	r->n_frontends++;
	return f;
}

static int kind_rank(uint8_t kind)
{
	/* A VIP with source ranges before the same address without. */
	static const int ranks[SVC_FRONTEND_KINDS] = {
		[SVC_CLUSTER_IP] = 0, [SVC_LB_VIP] = 1, [SVC_EXTERNAL_IP] = 2, [SVC_NODE_PORT] = 3};

	return ranks[kind];
}

static bool better(const struct claim *a, const struct claim *b)
{
	const struct applied_service *s = a->service, *t = b->service;

	if ((a->kind == SVC_CLUSTER_IP) != (b->kind == SVC_CLUSTER_IP))
		return a->kind == SVC_CLUSTER_IP;
	if (s != t) {
		if (s->created != t->created)
			return s->created < t->created;
		return strcmp(s->key, t->key) < 0;
	}
	if (a->kind != b->kind)
		return kind_rank(a->kind) < kind_rank(b->kind);
	return a->port->id < b->port->id;
}

static void note_conflict(struct reconciler *r, struct frontend *f)
{
	const struct claim *c, *other = NULL;
	char buf[IP_TEXT_MAX], proto[12];
	bool conflict;

	/* An address that two services have is no frontend that one has to win. */
	if (f->key.proto != 0)
		LIST_FOREACH (c, &f->claims, of_frontend)
			if (f->winner != NULL && c->service != f->winner->service)
				other = c;
	conflict = other != NULL;
	if (conflict == f->conflict)
		return;
	pthread_mutex_lock(&r->lock);
	f->conflict = conflict;
	if (conflict)
		LIST_INSERT_HEAD(&r->conflicts, f, conflict_link);
	else
		LIST_REMOVE(f, conflict_link);
	r->stats.conflicts += conflict ? 1u : -1u;
	pthread_mutex_unlock(&r->lock);
	if (conflict)
		LOG_WARN(reconcile, "frontend_conflict",
			"addr=%s port=%u proto=%s winner=%s loser=%s",
			f->winner->kind == SVC_NODE_PORT ? "nodeport"
							 : ip_format(&f->key.addr, buf),
			ntohs(f->key.port), ip_proto_name(f->key.proto, proto),
			f->winner->service->key, other->service->key);
}

static void frontend_publish(struct reconciler *r, struct frontend *f)
{
	const struct claim *w = f->winner;
	int err = svc_table_set(r->table, &f->key, (enum svc_frontend_kind)w->kind,
		w->port != NULL ? w->port->svc : NULL);

	if (err < 0)
		reconcile_fault(r, "the service table took no frontend: %s", strerror(-err));
	r->stats.frontends_set++;
}

static void frontend_settle(struct reconciler *r, struct frontend *f, bool republish)
{
	struct claim *c, *best = NULL;

	LIST_FOREACH (c, &f->claims, of_frontend)
		if (best == NULL || better(c, best))
			best = c;
	if (best == NULL) {
		svc_table_remove(r->table, &f->key);
		r->stats.frontends_removed++;
		note_conflict(r, f);
		LIST_REMOVE(f, link);
		r->n_frontends--;
		free(f);
		return;
	}
	if (best != f->winner || republish) {
		bool moved = f->winner == NULL || f->winner->service != best->service;

		pthread_mutex_lock(&r->lock);
		f->winner = best;
		pthread_mutex_unlock(&r->lock);
		frontend_publish(r, f);
		/* UDP that went elsewhere must find the service. */
		if (moved && f->key.proto == IP_PROTO_UDP)
			dataplane_frontends_changed(r->dp);
	}
	note_conflict(r, f);
}

int claim_add(struct reconciler *r, struct claim_list *list, struct applied_service *s,
	struct applied_port *port, const struct svc_frontend_key *key, uint8_t kind)
{
	struct frontend *f;
	struct claim *c;

	LIST_FOREACH (c, list, of_owner)
		if (c->kind == kind && key_equal(&c->frontend->key, key)) {
			c->wanted = true;
			return 0;
		}
	f = frontend_make(r, key);
	c = f != NULL ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL) {
		if (f != NULL && LIST_EMPTY(&f->claims)) {
			LIST_REMOVE(f, link);
			r->n_frontends--;
			free(f);
		}
		reconcile_fault(r, "out of memory");
		return -ENOMEM;
	}
	c->frontend = f;
	c->service = s;
	c->port = port;
	c->kind = kind;
	c->wanted = true;
	pthread_mutex_lock(&r->lock);
	LIST_INSERT_HEAD(&f->claims, c, of_frontend);
	pthread_mutex_unlock(&r->lock);
	LIST_INSERT_HEAD(list, c, of_owner);
	return 0;
}

void claim_refresh(struct reconciler *r, struct claim *c, bool svc_changed)
{
	frontend_settle(r, c->frontend, svc_changed && c->frontend->winner == c);
}

void claim_remove(struct reconciler *r, struct claim *c)
{
	struct frontend *f = c->frontend;

	pthread_mutex_lock(&r->lock);
	LIST_REMOVE(c, of_frontend);
	if (f->winner == c)
		f->winner = NULL;
	pthread_mutex_unlock(&r->lock);
	LIST_REMOVE(c, of_owner);
	free(c);
	frontend_settle(r, f, false);
}

bool claim_repair(struct reconciler *r, struct claim *c)
{
	const struct svc_port *svc = c->port != NULL ? c->port->svc : NULL;
	const struct svc_frontend *have = svc_table_find(r->table, &c->frontend->key);

	if (c->frontend->winner != c || (have != NULL && have->kind == c->kind && have->svc == svc))
		return false;
	frontend_publish(r, c->frontend);
	return true;
}

uint32_t reconcile_conflicts(
	struct reconciler *r, uint32_t from, uint32_t max, struct reconcile_conflict *out)
{
	uint32_t n = 0, i = 0;
	const struct frontend *f;
	const struct claim *c;

	pthread_mutex_lock(&r->lock);
	LIST_FOREACH (f, &r->conflicts, conflict_link)
		LIST_FOREACH (c, &f->claims, of_frontend) {
			if (f->winner == NULL || c->service == f->winner->service || i++ < from ||
				n == max)
				continue;
			out[n].addr = f->key.addr;
			out[n].port = ntohs(f->key.port);
			out[n].proto = f->key.proto;
			snprintf(out[n].winner, sizeof(out[n].winner), "%s",
				f->winner->service->key);
			snprintf(out[n].loser, sizeof(out[n].loser), "%s", c->service->key);
			n++;
		}
	pthread_mutex_unlock(&r->lock);
	return n;
}
