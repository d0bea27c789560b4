/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A model, a switch without workers, and the reconciler between them, with a clock, a rim and a
 * grace period in the test's hands. Main thread. */

#pragma once

#include <arpa/inet.h>
#include <errno.h>

#include "control/reconcile.h"
#include "control/retire.h"
#include "unit/harness.h"

struct fixture {
	struct dataplane dp;
	struct model *m;
	struct retire *retire;
	struct neighbours *nb;
	struct config *cfg;
	struct reconciler *r;
	uint64_t now_ns;
	uint64_t tick_ns; /* the clock goes on by this much at each look */
	/* The rim's side. */
	unsigned opened, started, stopped, closed, sent;
	bool refuse_open;
	uint8_t last_frame[128];
	uint16_t last_vport;
};

static struct ip_addr A(const char *text) {
	struct ip_addr a;

	if (ip_parse(text, &a) < 0)
		abort();
	return a;
}

__attribute__((unused)) static struct ip_prefix
P(const char *text) {
	struct ip_prefix p;

	memset(&p, 0, sizeof(p));
	if (ip_prefix_parse(text, &p) < 0)
		abort();
	return p;
}

static uint64_t
fixture_clock(void *arg)
{
	struct fixture *f = arg;

	return f->now_ns += f->tick_ns;
}

static int fixture_open(
	void *arg, const struct model_vport *want, struct vport *v, char *why, size_t size)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x99};
	struct fixture *f = arg;

	(void)want;
	if (f->refuse_open) {
		snprintf(why, size, "no such interface");
		return -ENODEV;
	}
	f->opened++;
	v->port = 7;
	if (v->mtu == 0)
		v->mtu = 1500;
	if (v->mac[0] == 0 && v->mac[5] == 0)
		memcpy(v->mac, mac, 6);
	return 0;
}

static int fixture_start(void *arg, const struct vport *v, char *why, size_t size)
{
	struct fixture *f = arg;

	(void)v;
	(void)why;
	(void)size;
	f->started++;
	return 0;
}

static void fixture_stop(void *arg, uint16_t id)
{
	(void)id;
	((struct fixture *)arg)->stopped++;
}

static void fixture_close(void *arg, uint16_t id)
{
	(void)id;
	((struct fixture *)arg)->closed++;
}

static int fixture_send(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len)
{
	struct fixture *f = arg;

	f->sent++;
	f->last_vport = vport;
	memcpy(f->last_frame, frame, len < sizeof(f->last_frame) ? len : sizeof(f->last_frame));
	return 0;
}

/* neighbours' callbacks have one argument for both directions. */
static void fixture_hosts_changed(void *arg)
{
	struct fixture *f = arg;

	if (f->r != NULL)
		reconcile_hosts_changed(f->r);
}

__attribute__((unused)) static void fixture_grace(struct fixture *f)
{
	grace_complete(&f->dp.grace, grace_open(&f->dp.grace));
}

static struct config *fixture_config(const char *text)
{
	struct config_errors errors;
	struct config *c;

	if (config_load_text("t", text, strlen(text), &c, &errors) < 0) {
		fprintf(stderr, "%s", errors.text);
		abort();
	}
	return c;
}

static void quiet(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)line;
	(void)len;
}

static void fixture_init(struct fixture *f, const char *config)
{
	struct neighbours_config nc = {.dp = &f->dp,
		.send = fixture_send,
		.hosts_changed = fixture_hosts_changed,
		.arg = f};
	struct reconcile_io io = {.arg = f,
		.vport_open = fixture_open,
		.vport_start = fixture_start,
		.vport_stop = fixture_stop,
		.vport_close = fixture_close,
		.clock_ns = fixture_clock};

	memset(f, 0, sizeof(*f));
	log_set_sink(quiet, NULL);
	f->now_ns = 1000000000;
	f->m = model_new();
	f->cfg = fixture_config(config);
	if (dataplane_init(&f->dp, NULL) < 0 || retire_init(&f->dp.grace, &f->retire) < 0)
		abort();
	nc.retire = f->retire;
	if (neighbours_init(&nc, &f->nb) < 0 ||
		reconcile_init(&f->dp, f->m, f->nb, f->retire, f->cfg, &io, &f->r) < 0)
		abort();
}

static void fixture_fini(struct fixture *f)
{
	struct reconciler *r = f->r;

	reconcile_fini(r);
	f->r = NULL;
	neighbours_fini(f->nb);
	retire_fini(f->retire);
	model_free(f->m);
	config_free(f->cfg);
	dataplane_fini(&f->dp);
}

/* Steps until nothing is left, with time going on and grace periods passing. */
static void fixture_settle(struct fixture *f)
{
	for (int i = 0; i < 6; i++) {
		while (reconcile_step(f->r))
			;
		neighbours_poll(f->nb, f->now_ns / 1000000);
		f->now_ns += 20000000;
		fixture_grace(f);
	}
}

/* --- objects --------------------------------------------------------------------------------- */

struct want {
	const char *name, *cluster_ip, *cluster_ip6, *external_ip, *lb_vip;
	uint16_t node_port;
	bool etp_local, itp_local;
	int64_t created;
	unsigned n_backends; /* 10.1.x.y from first, ready, in both lists */
	unsigned first;
};

__attribute__((unused)) static struct model_service *service(const struct want *w)
{
	struct model_service *s = model_service_new("ns", w->name);
	struct model_service_port *p;

	s->owner = OWNER_KUBERNETES;
	s->cluster_ips = calloc(2, sizeof(*s->cluster_ips));
	if (w->cluster_ip != NULL)
		s->cluster_ips[s->n_cluster_ips++] = A(w->cluster_ip);
	if (w->cluster_ip6 != NULL)
		s->cluster_ips[s->n_cluster_ips++] = A(w->cluster_ip6);
	if (w->external_ip != NULL) {
		s->external_ips = calloc(1, sizeof(*s->external_ips));
		s->external_ips[s->n_external_ips++] = A(w->external_ip);
	}
	if (w->lb_vip != NULL) {
		s->lb_vips = calloc(1, sizeof(*s->lb_vips));
		s->lb_vips[s->n_lb_vips++] = A(w->lb_vip);
	}
	s->etp_local = w->etp_local;
	s->itp_local = w->itp_local;
	s->created = w->created;
	s->n_ports = 1;
	s->ports = p = calloc(1, sizeof(*p));
	p->name = strdup("http");
	p->proto = IP_PROTO_TCP;
	p->port = 80;
	p->node_port = w->node_port;
	p->has_any[IP_V4] = w->n_backends > 0;
	p->backends = calloc(w->n_backends + 1, sizeof(*p->backends));
	for (unsigned i = 0; i < w->n_backends; i++) {
		struct model_backend *b = &p->backends[p->n_backends++];
		unsigned n = w->first + i;

		b->addr = ip_from_v4(htonl(0x0a010000 + n));
		b->port = 8080;
		b->ready = b->serving = b->in_cluster = true;
		b->local = b->in_local = n % 2 == 0;
	}
	return s;
}

__attribute__((unused)) static struct model_node *node(
	const char *name, bool self, const char *ip, const char *ip6, const char *cidr)
{
	struct model_node *n = model_node_new(name);

	n->is_self = self;
	n->internal_ips = calloc(2, sizeof(*n->internal_ips));
	if (ip != NULL)
		n->internal_ips[n->n_internal_ips++] = A(ip);
	if (ip6 != NULL)
		n->internal_ips[n->n_internal_ips++] = A(ip6);
	if (cidr != NULL) {
		n->pod_cidrs = calloc(1, sizeof(*n->pod_cidrs));
		n->pod_cidrs[n->n_pod_cidrs++] = P(cidr);
	}
	return n;
}

/* --- looking at what was published ----------------------------------------------------------- */

__attribute__((unused)) static const struct svc_domain *domain(struct fixture *f)
{
	return atomic_load(&f->dp.services);
}

/* NULL when there is no such frontend. addr NULL: NodePort of family 4. */
__attribute__((unused)) static const struct svc_port *frontend(
	struct fixture *f, const char *addr, uint16_t port, enum svc_frontend_kind *kind)
{
	struct svc_frontend_key k;
	const struct svc_frontend *found;

	memset(&k, 0, sizeof(k));
	if (addr != NULL) {
		k.addr = A(addr);
		k.family = (uint8_t)ip_family(&k.addr);
	}
	k.port = htons(port);
	k.proto = IP_PROTO_TCP;
	found = svc_table_find(domain(f)->table, &k);
	if (found == NULL)
		return NULL;
	if (kind != NULL)
		*kind = (enum svc_frontend_kind)found->kind;
	return found->svc;
}

__attribute__((unused)) static uint8_t route_kind(struct fixture *f, const char *dst)
{
	const struct route_domain *d = atomic_load(&f->dp.routes);
	struct ip_addr a = A(dst);

	return next_hop_get(f->dp.next_hops, fib_lookup(d->fib, &a))->kind;
}

__attribute__((unused)) static const struct next_hop *hop_to(struct fixture *f, const char *dst)
{
	const struct route_domain *d = atomic_load(&f->dp.routes);
	struct ip_addr a = A(dst);

	return next_hop_get(f->dp.next_hops, fib_lookup(d->fib, &a));
}
