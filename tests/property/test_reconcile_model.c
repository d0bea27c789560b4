/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* However the model came to be what it is, the dataplane is the same: random sequences of changes
 * are applied one by one to one reconciler, and the final model at once to a fresh one; both must
 * have published the same frontends, lists, routes and ranges. */

#include "unit/reconcile_fixture.h"

#define SERVICES 12
#define NODES    4
#define PODS     6

static const char config[] =
	"node: {name: n0, addresses: [192.0.2.10, '2001:db8::10']}\n"
	"vports:\n- {name: up, role: uplink, kind: tap, addresses: [192.0.2.10/24]}\n"
	"routes:\n- {prefix: 0.0.0.0/0, via: 192.0.2.1}\n";

/* What the model holds, so that the fresh one can be given the same. seed 0: absent. */
struct state {
	uint32_t service[SERVICES], node[NODES], pod[PODS];
	bool cidrs;
};

static struct model_service *make_service(unsigned i, uint32_t seed)
{
	uint64_t r = seed;
	char name[8], ip[32], ext[32];
	struct model_service *s;
	struct want w = {.name = name, .cluster_ip = ip};

	snprintf(name, sizeof(name), "s%u", i);
	snprintf(ip, sizeof(ip), "10.96.0.%u", (unsigned)(test_rand_r(&r) % 10));
	snprintf(ext, sizeof(ext), "203.0.113.%u", (unsigned)(test_rand_r(&r) % 3));
	if (test_rand_r(&r) % 2 == 0)
		w.external_ip = ext;
	if (test_rand_r(&r) % 3 == 0)
		w.lb_vip = "203.0.113.1";
	if (test_rand_r(&r) % 3 == 0)
		w.cluster_ip6 = "fd00:96::1";
	if (test_rand_r(&r) % 2 == 0)
		w.node_port = (uint16_t)(30000 + test_rand_r(&r) % 3);
	w.etp_local = test_rand_r(&r) % 2;
	w.itp_local = test_rand_r(&r) % 4 == 0;
	w.created = (int64_t)(test_rand_r(&r) % 3);
	w.n_backends = (unsigned)(test_rand_r(&r) % 6);
	w.first = (unsigned)(test_rand_r(&r) % 8);
	s = service(&w);
	s->affinity_seconds = test_rand_r(&r) % 2 ? 100 : 0;
	if (w.n_backends > 0 && test_rand_r(&r) % 2 == 0)
		s->ports[0].backends[0].terminating = true;
	if (w.n_backends > 1 && test_rand_r(&r) % 2 == 0)
		s->ports[0].backends[1].in_cluster = false;
	if (test_rand_r(&r) % 2 == 0) {
		s->source_ranges = calloc(1, sizeof(*s->source_ranges));
		s->source_ranges[s->n_source_ranges++] = P("10.0.0.0/8");
	}
	return s;
}

static struct model_node *make_node(unsigned i, uint32_t seed)
{
	char name[8], ip[32], cidr[32];

	snprintf(name, sizeof(name), "n%u", i);
	snprintf(ip, sizeof(ip), "192.0.2.%u", 10 + seed % 3);
	snprintf(cidr, sizeof(cidr), "10.244.%u.0/24", seed / 3 % 4);
	return node(name, i == 0, ip, NULL, cidr);
}

static struct model_vport *make_pod(unsigned i, uint32_t seed)
{
	struct model_vport *v;
	char name[8], ip[32];

	snprintf(name, sizeof(name), "p%u", i);
	snprintf(ip, sizeof(ip), "10.244.%u.%u/32", i % 2, 10 + i * 4 + seed % 3);
	v = model_vport_new(name);
	v->owner = OWNER_API;
	v->role = VPORT_POD;
	v->has_peer_mac = true;
	v->peer_mac[5] = (uint8_t)(seed % 5);
	v->addrs = calloc(1, sizeof(*v->addrs));
	v->addrs[v->n_addrs++] = P(ip);
	v->own_port = model_port_new(name);
	v->own_port->kind = PORT_TAP;
	v->own_port->queues = (uint16_t)(seed / 5 % 2 + 1);
	return v;
}

static void put(struct fixture *f, const struct state *s)
{
	struct ip_prefix cidr = P("10.96.0.0/16");

	for (unsigned i = 0; i < SERVICES; i++)
		if (s->service[i] != 0)
			CHECK_EQ(model_service_set(f->m, make_service(i, s->service[i])), 0);
	for (unsigned i = 0; i < NODES; i++)
		if (s->node[i] != 0)
			CHECK_EQ(model_node_set(f->m, make_node(i, s->node[i])), 0);
	for (unsigned i = 0; i < PODS; i++)
		if (s->pod[i] != 0)
			CHECK_EQ(model_vport_set(f->m, make_pod(i, s->pod[i])), 0);
	if (s->cidrs)
		model_service_cidrs_set(f->m, &cidr, 1);
}

static void change(struct fixture *f, struct state *s)
{
	uint32_t seed = test_rand_below(4) == 0 ? 0 : 1 + test_rand_below(1000000);
	struct ip_prefix cidr = P("10.96.0.0/16");
	unsigned i;
	char name[8];

	switch (test_rand_below(8)) {
	case 0:
		i = test_rand_below(NODES);
		snprintf(name, sizeof(name), "n%u", i);
		if (seed == 0)
			model_node_remove(f->m, name);
		else
			model_node_set(f->m, make_node(i, seed));
		s->node[i] = seed;
		return;
	case 1:
		i = test_rand_below(PODS);
		snprintf(name, sizeof(name), "p%u", i);
		if (seed == 0)
			model_vport_remove(f->m, name, OWNER_API);
		else
			model_vport_set(f->m, make_pod(i, seed));
		s->pod[i] = seed;
		return;
	case 2:
		s->cidrs = seed % 2;
		model_service_cidrs_set(f->m, &cidr, s->cidrs);
		return;
	default:
		i = test_rand_below(SERVICES);
		snprintf(name, sizeof(name), "s%u", i);
		if (seed == 0)
			model_service_remove(f->m, "ns", name, OWNER_KUBERNETES);
		else
			model_service_set(f->m, make_service(i, seed));
		s->service[i] = seed;
	}
}

/* --- comparing ------------------------------------------------------------------------------- */

static void same_list(const struct svc_list *a, const struct svc_list *b)
{
	CHECK_EQ(a->n, b->n);
	if (a->n != b->n)
		return;
	for (uint32_t i = 0; i < a->n; i++) {
		CHECK(ip_equal(&a->backends[i].addr, &b->backends[i].addr));
		CHECK_EQ(a->backends[i].port, b->backends[i].port);
		CHECK_EQ(a->backends[i].flags, b->backends[i].flags);
	}
	if (a->n > 1)
		CHECK_MEM(a->choice, b->choice, choice_words(a->n) * sizeof(a->choice[0]));
}

static void live_refs(struct fixture *f, const struct svc_list *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		CHECK_EQ(backend_state(domain(f)->backends, l->backends[i].ref),
			l->backends[i].flags & SVC_BACKEND_TERMINATING ? BACKEND_DRAINING
								       : BACKEND_READY);
}

static void same_frontend(struct fixture *a, struct fixture *b, const char *addr, uint16_t port)
{
	enum svc_frontend_kind ka = 0, kb = 0;
	const struct svc_port *x = frontend(a, addr, port, &ka), *y = frontend(b, addr, port, &kb);

	CHECK_EQ(x != NULL, y != NULL);
	if (x == NULL || y == NULL)
		return;
	CHECK_EQ(ka, kb);
	CHECK_STR(x->name, y->name);
	CHECK_EQ(x->flags, y->flags);
	CHECK_EQ(x->port, y->port);
	CHECK_EQ(x->affinity_seconds, y->affinity_seconds);
	CHECK_EQ(x->n_source_ranges, y->n_source_ranges);
	same_list(x->cluster, y->cluster);
	same_list(x->local, y->local);
	live_refs(a, x->cluster);
	live_refs(a, x->local);
}

static void same_routes(struct fixture *a, struct fixture *b)
{
	struct reconcile_route ra[128], rb[128];
	uint32_t n = reconcile_routes_each(a->r, NULL, 128, ra);

	CHECK_EQ(reconcile_routes_each(b->r, NULL, 128, rb), n);
	for (uint32_t i = 0; i < n; i++) {
		const struct next_hop *x = next_hop_get(a->dp.next_hops, ra[i].next_hop);
		const struct next_hop *y = next_hop_get(b->dp.next_hops, rb[i].next_hop);

		CHECK(ip_equal(&ra[i].prefix.addr, &rb[i].prefix.addr));
		CHECK_EQ(ra[i].prefix.len, rb[i].prefix.len);
		CHECK_EQ(ra[i].source, rb[i].source);
		CHECK_EQ(x->kind, y->kind);
		CHECK_EQ(x->mtu, y->mtu);
		CHECK_MEM(x->l2, y->l2, sizeof(x->l2));
		CHECK(ip_equal(&x->gateway, &y->gateway));
	}
}

static void same_everything(struct fixture *a, struct fixture *b)
{
	const struct tunables *ta = atomic_load(&a->dp.tunables),
			      *tb = atomic_load(&b->dp.tunables);
	struct reconcile_stats sa, sb;
	char addr[32];

	for (unsigned i = 0; i < 10; i++) {
		snprintf(addr, sizeof(addr), "10.96.0.%u", i);
		same_frontend(a, b, addr, 80);
	}
	for (unsigned i = 0; i < 3; i++) {
		snprintf(addr, sizeof(addr), "203.0.113.%u", i);
		same_frontend(a, b, addr, 80);
		same_frontend(a, b, NULL, (uint16_t)(30000 + i));
	}
	same_frontend(a, b, "fd00:96::1", 80);
	same_routes(a, b);
	CHECK_EQ(domain(a)->n_service_cidrs, domain(b)->n_service_cidrs);
	CHECK_EQ(ta->snat.n_cluster, tb->snat.n_cluster);
	if (ta->snat.n_cluster == tb->snat.n_cluster)
		CHECK_MEM(ta->snat.cluster, tb->snat.cluster,
			ta->snat.n_cluster * sizeof(*ta->snat.cluster));
	reconcile_stats(a->r, &sa);
	reconcile_stats(b->r, &sb);
	CHECK_EQ(sa.services, sb.services);
	CHECK_EQ(sa.svc_ports, sb.svc_ports);
	CHECK_EQ(sa.frontends, sb.frontends);
	CHECK_EQ(sa.backends, sb.backends);
	CHECK_EQ(sa.vports, sb.vports);
	CHECK_EQ(sa.conflicts, sb.conflicts);
}

static void any_way_to_a_model_gives_the_same_dataplane(void)
{
	for (unsigned round = 0; round < 12; round++) {
		struct state s = {0};
		struct fixture a, b;

		fixture_init(&a, config);
		CHECK_EQ(config_apply_model(a.cfg, a.m), 0);
		for (unsigned i = 0; i < 150; i++) {
			change(&a, &s);
			/* Steps, time and grace periods fall anywhere between the changes. */
			if (test_rand_below(3) == 0)
				reconcile_step(a.r);
			if (test_rand_below(3) == 0)
				a.now_ns += 20000000;
			if (test_rand_below(5) == 0)
				fixture_grace(&a);
		}
		fixture_settle(&a);

		fixture_init(&b, config);
		CHECK_EQ(config_apply_model(b.cfg, b.m), 0);
		put(&b, &s);
		fixture_settle(&b);
		same_everything(&a, &b);
		CHECK_EQ(retire_pending(a.retire), 0);
		fixture_fini(&a);
		fixture_fini(&b);
	}
}

TEST_SUITE("reconcile_model", CASE(any_way_to_a_model_gives_the_same_dataplane))
