/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Services from the model to the tables: the ready gate, frontends, conflicts, what one event
 * touches, memory, and time (control/reconcile.h). Routes and vports: test_reconcile_route.c. */

#include <pthread.h>
#include <stdatomic.h>

#include "unit/reconcile_fixture.h"

static const char plain[] = "node: {name: n1, addresses: [192.0.2.10, 'fd00::10']}\n"
			    "services: {cidrs: [10.96.0.0/16]}\n";

static void set(struct fixture *f, const struct want *w)
{
	CHECK_EQ(model_service_set(f->m, service(w)), 0);
}

static void nothing_before_all_sources_are_complete(void)
{
	struct fixture f;

	fixture_init(&f, plain);
	model_source_await(f.m, SOURCE_SERVICES);
	model_source_await(f.m, SOURCE_ENDPOINTS);
	set(&f, &(struct want){.name = "a", .cluster_ip = "10.96.0.1", .n_backends = 2});
	fixture_settle(&f);
	CHECK(!domain(&f)->ready);
	CHECK(frontend(&f, "10.96.0.1", 80, NULL) == NULL);
	/* Before it, service addresses drop instead of leaking to a route. */
	CHECK_EQ(domain(&f)->n_service_cidrs, 1);
	model_source_complete(f.m, SOURCE_SERVICES);
	fixture_settle(&f);
	CHECK(!domain(&f)->ready);
	CHECK(!reconcile_ready(f.r));
	model_source_complete(f.m, SOURCE_ENDPOINTS);
	fixture_settle(&f);
	CHECK(domain(&f)->ready);
	CHECK(reconcile_ready(f.r));
	CHECK(frontend(&f, "10.96.0.1", 80, NULL) != NULL);
	fixture_fini(&f);
}

/* Ready is published behind the last service of the first state, however many slices it takes. */
static void ready_only_behind_the_whole_first_state(void)
{
	struct fixture f;
	unsigned steps = 0;

	fixture_init(&f, plain);
	f.tick_ns = 1000000; /* each look at the clock costs a millisecond */
	for (unsigned i = 0; i < 50; i++) {
		char name[16], ip[32];

		snprintf(name, sizeof(name), "s%u", i);
		snprintf(ip, sizeof(ip), "10.96.0.%u", i + 1);
		set(&f, &(struct want){.name = name, .cluster_ip = ip, .n_backends = 1});
	}
	while (reconcile_step(f.r)) {
		CHECK(!domain(&f)->ready);
		steps++;
	}
	CHECK_GT(steps, 3);
	CHECK(domain(&f)->ready);
	CHECK(frontend(&f, "10.96.0.50", 80, NULL) != NULL);
	fixture_fini(&f);
}

static void every_frontend_kind_is_published(void)
{
	struct fixture f;
	enum svc_frontend_kind kind;
	const struct svc_port *svc;
	struct svc_frontend_key k;
	const struct svc_frontend *found;

	fixture_init(&f, plain);
	set(&f,
		&(struct want){.name = "a",
			.cluster_ip = "10.96.0.1",
			.cluster_ip6 = "fd00:96::1",
			.external_ip = "203.0.113.1",
			.lb_vip = "203.0.113.2",
			.node_port = 30080,
			.etp_local = true,
			.n_backends = 4,
			.first = 1});
	fixture_settle(&f);
	svc = frontend(&f, "10.96.0.1", 80, &kind);
	REQUIRE(svc != NULL);
	CHECK_EQ(kind, SVC_CLUSTER_IP);
	CHECK_STR(svc->name, "ns/a:http");
	CHECK_EQ(svc->port, htons(80));
	CHECK_EQ(svc->flags, SVC_ETP_LOCAL | SVC_HAS_ANY);
	CHECK_EQ(svc->cluster->n, 4);
	CHECK_EQ(svc->local->n, 2);
	CHECK_EQ(svc->cluster->backends[0].port, htons(8080));
	CHECK(frontend(&f, "203.0.113.1", 80, &kind) == svc);
	CHECK_EQ(kind, SVC_EXTERNAL_IP);
	CHECK(frontend(&f, "203.0.113.2", 80, &kind) == svc);
	CHECK_EQ(kind, SVC_LB_VIP);
	CHECK(frontend(&f, NULL, 30080, &kind) == svc);
	CHECK_EQ(kind, SVC_NODE_PORT);
	svc = frontend(&f, "fd00:96::1", 80, NULL);
	REQUIRE(svc != NULL);
	CHECK_EQ(svc->cluster->n, 0);
	CHECK_EQ(svc->flags, SVC_ETP_LOCAL);
	/* The NodePort of the other family is its own frontend. */
	memset(&k, 0, sizeof(k));
	k.port = htons(30080);
	k.proto = IP_PROTO_TCP;
	k.family = IP_V6;
	found = svc_table_find(domain(&f)->table, &k);
	CHECK(found != NULL && found->svc == svc);
	/* The address itself. */
	memset(&k, 0, sizeof(k));
	k.addr = A("10.96.0.1");
	found = svc_table_find(domain(&f)->table, &k);
	CHECK(found != NULL && found->kind == SVC_ADDRESS);
	fixture_fini(&f);
}

static void a_removed_service_leaves_nothing(void)
{
	struct reconcile_stats s;
	struct fixture f;
	char name[64];

	fixture_init(&f, plain);
	set(&f,
		&(struct want){.name = "a",
			.cluster_ip = "10.96.0.1",
			.external_ip = "203.0.113.1",
			.node_port = 30080,
			.n_backends = 3});
	fixture_settle(&f);
	CHECK(reconcile_service_name(
		f.r, frontend(&f, "10.96.0.1", 80, NULL)->id, name, sizeof(name)));
	CHECK_STR(name, "ns/a:http");
	CHECK_EQ(model_service_remove(f.m, "ns", "a", OWNER_KUBERNETES), 0);
	fixture_settle(&f);
	CHECK(frontend(&f, "10.96.0.1", 80, NULL) == NULL);
	CHECK(frontend(&f, NULL, 30080, NULL) == NULL);
	reconcile_stats(f.r, &s);
	CHECK_EQ(s.frontends, 0);
	CHECK_EQ(s.backends, 0);
	CHECK_EQ(s.services, 0);
	CHECK_EQ(s.svc_ports, 0);
	CHECK(!reconcile_service_name(f.r, 1, name, sizeof(name)));
	fixture_fini(&f);
}

static const struct svc_backend *backend_of(const struct svc_port *svc, const char *addr)
{
	struct ip_addr a = A(addr);

	for (uint32_t i = 0; svc != NULL && i < svc->cluster->n; i++)
		if (ip_equal(&svc->cluster->backends[i].addr, &a))
			return &svc->cluster->backends[i];
	return NULL;
}

static void an_endpoint_event_touches_its_service_only(void)
{
	struct reconcile_stats before, after;
	const struct svc_port *other;
	backend_ref stays, goes;
	struct fixture f;
	uint32_t id;

	fixture_init(&f, plain);
	set(&f,
		&(struct want){
			.name = "a", .cluster_ip = "10.96.0.1", .n_backends = 3, .first = 1});
	set(&f,
		&(struct want){
			.name = "b", .cluster_ip = "10.96.0.2", .n_backends = 3, .first = 1});
	fixture_settle(&f);
	other = frontend(&f, "10.96.0.2", 80, NULL);
	id = frontend(&f, "10.96.0.1", 80, NULL)->id;
	stays = backend_of(frontend(&f, "10.96.0.1", 80, NULL), "10.1.0.2")->ref;
	goes = backend_of(frontend(&f, "10.96.0.1", 80, NULL), "10.1.0.1")->ref;
	reconcile_stats(f.r, &before);

	set(&f,
		&(struct want){
			.name = "a", .cluster_ip = "10.96.0.1", .n_backends = 3, .first = 2});
	fixture_settle(&f);
	reconcile_stats(f.r, &after);
	CHECK_EQ(after.events - before.events, 1);
	CHECK_EQ(after.lists_built - before.lists_built, 1);
	CHECK_EQ(after.ports_replaced - before.ports_replaced, 1);
	CHECK_EQ(after.frontends_set - before.frontends_set, 1);
	CHECK_EQ(after.frontends_removed - before.frontends_removed, 0);
	CHECK_EQ(after.retired - before.retired, 2); /* the list and the port */
	CHECK_EQ(after.backends, before.backends);
	CHECK_EQ(after.routes_published, before.routes_published);
	CHECK(frontend(&f, "10.96.0.2", 80, NULL) == other);
	CHECK_EQ(frontend(&f, "10.96.0.1", 80, NULL)->id, id);
	CHECK_EQ(backend_of(frontend(&f, "10.96.0.1", 80, NULL), "10.1.0.2")->ref, stays);
	CHECK_EQ(backend_state(domain(&f)->backends, stays), BACKEND_READY);
	CHECK_EQ(backend_state(domain(&f)->backends, goes), BACKEND_GONE);
	fixture_fini(&f);
}

static void an_equal_set_changes_nothing(void)
{
	struct reconcile_stats before, after;
	const struct svc_port *svc;
	struct model_service *s;
	struct want w = {.name = "a", .cluster_ip = "10.96.0.1", .n_backends = 3};
	struct fixture f;

	fixture_init(&f, plain);
	set(&f, &w);
	fixture_settle(&f);
	reconcile_stats(f.r, &before);
	svc = frontend(&f, "10.96.0.1", 80, NULL);
	set(&f, &w);
	fixture_settle(&f);
	reconcile_stats(f.r, &after);
	CHECK_EQ(after.events, before.events);
	/* A change that does not reach the dataplane is taken in, and builds nothing. */
	s = service(&w);
	s->ports[0].backends[0].zone = strdup("z1");
	CHECK_EQ(model_service_set(f.m, s), 0);
	fixture_settle(&f);
	reconcile_stats(f.r, &after);
	CHECK_EQ(after.events, before.events + 1);
	CHECK_EQ(after.lists_built, before.lists_built);
	CHECK_EQ(after.ports_replaced, before.ports_replaced);
	CHECK(frontend(&f, "10.96.0.1", 80, NULL) == svc);
	fixture_fini(&f);
}

static void terminating_endpoints_drain(void)
{
	struct want w = {.name = "a", .cluster_ip = "10.96.0.1", .n_backends = 2, .first = 1};
	const struct svc_backend *b;
	struct model_service *s;
	struct fixture f;

	fixture_init(&f, plain);
	set(&f, &w);
	fixture_settle(&f);
	s = service(&w);
	s->ports[0].backends[0].ready = false;
	s->ports[0].backends[0].terminating = true;
	CHECK_EQ(model_service_set(f.m, s), 0);
	fixture_settle(&f);
	b = backend_of(frontend(&f, "10.96.0.1", 80, NULL), "10.1.0.1");
	REQUIRE(b != NULL);
	CHECK_EQ(backend_state(domain(&f)->backends, b->ref), BACKEND_DRAINING);
	CHECK((b->flags & SVC_BACKEND_TERMINATING) != 0);
	/* In no list any more, but it serves: its flows go on. */
	backend_ref ref = b->ref;

	s = service(&w);
	s->ports[0].backends[0].ready = false;
	s->ports[0].backends[0].terminating = true;
	s->ports[0].backends[0].in_cluster = s->ports[0].backends[0].in_local = false;
	CHECK_EQ(model_service_set(f.m, s), 0);
	fixture_settle(&f);
	CHECK(backend_of(frontend(&f, "10.96.0.1", 80, NULL), "10.1.0.1") == NULL);
	CHECK_EQ(backend_state(domain(&f)->backends, ref), BACKEND_DRAINING);
	/* It serves no more: gone for flows, too. */
	s = service(&w);
	s->ports[0].backends[0].ready = s->ports[0].backends[0].serving = false;
	s->ports[0].backends[0].in_cluster = s->ports[0].backends[0].in_local = false;
	CHECK_EQ(model_service_set(f.m, s), 0);
	fixture_settle(&f);
	CHECK_EQ(backend_state(domain(&f)->backends, ref), BACKEND_GONE);
	fixture_fini(&f);
}

static void the_oldest_claim_wins_and_is_followed(void)
{
	struct reconcile_conflict c[4];
	struct reconcile_stats s;
	struct fixture f;

	fixture_init(&f, plain);
	set(&f,
		&(struct want){.name = "young",
			.cluster_ip = "10.96.0.1",
			.external_ip = "203.0.113.1",
			.created = 200});
	fixture_settle(&f);
	CHECK_STR(frontend(&f, "203.0.113.1", 80, NULL)->name, "ns/young:http");
	set(&f,
		&(struct want){.name = "old",
			.cluster_ip = "10.96.0.2",
			.external_ip = "203.0.113.1",
			.created = 100});
	fixture_settle(&f);
	CHECK_STR(frontend(&f, "203.0.113.1", 80, NULL)->name, "ns/old:http");
	reconcile_stats(f.r, &s);
	CHECK_EQ(s.conflicts, 1);
	REQUIRE_EQ(reconcile_conflicts(f.r, 0, 4, c), 1);
	CHECK_STR(c[0].winner, "ns/old");
	CHECK_STR(c[0].loser, "ns/young");
	CHECK_EQ(c[0].port, 80);
	/* Same age: the name decides. */
	set(&f,
		&(struct want){.name = "another",
			.cluster_ip = "10.96.0.3",
			.external_ip = "203.0.113.1",
			.created = 100});
	fixture_settle(&f);
	CHECK_STR(frontend(&f, "203.0.113.1", 80, NULL)->name, "ns/another:http");
	model_service_remove(f.m, "ns", "another", OWNER_KUBERNETES);
	model_service_remove(f.m, "ns", "old", OWNER_KUBERNETES);
	fixture_settle(&f);
	CHECK_STR(frontend(&f, "203.0.113.1", 80, NULL)->name, "ns/young:http");
	reconcile_stats(f.r, &s);
	CHECK_EQ(s.conflicts, 0);
	fixture_fini(&f);
}

static void a_cluster_ip_cannot_be_taken_over(void)
{
	enum svc_frontend_kind kind;
	struct fixture f;

	fixture_init(&f, plain);
	set(&f,
		&(struct want){.name = "thief",
			.cluster_ip = "10.96.0.9",
			.external_ip = "10.96.0.1",
			.created = 1});
	set(&f, &(struct want){.name = "victim", .cluster_ip = "10.96.0.1", .created = 500});
	fixture_settle(&f);
	CHECK_STR(frontend(&f, "10.96.0.1", 80, &kind)->name, "ns/victim:http");
	CHECK_EQ(kind, SVC_CLUSTER_IP);
	fixture_fini(&f);
}

static void node_port_addresses_follow_node_and_configuration(void)
{
	struct config *cidrs = fixture_config(
		"node: {name: n1}\nservices: {node-port-addresses: [192.0.3.0/24]}\n");
	struct model_node *n;
	struct config *old;
	struct fixture f;

	fixture_init(&f, "node: {name: n1}\n");
	fixture_settle(&f);
	CHECK_EQ(domain(&f)->n_node_port_addrs, 0);
	n = node("n1", true, "192.0.2.10", "fd00::10", NULL);
	n->external_ips = calloc(1, sizeof(*n->external_ips));
	n->external_ips[n->n_external_ips++] = A("192.0.3.10");
	CHECK_EQ(model_node_set(f.m, n), 0);
	fixture_settle(&f);
	REQUIRE_EQ(domain(&f)->n_node_port_addrs, 2);
	struct ip_addr v4 = A("192.0.2.10"), v6 = A("fd00::10"), ext = A("192.0.3.10");

	CHECK(ip_equal(&domain(&f)->node_port_addrs[0], &v4));
	CHECK(ip_equal(&domain(&f)->node_port_addrs[1], &v6));
	/* A family without a prefix is served on all of its addresses. */
	old = f.cfg;
	f.cfg = cidrs;
	reconcile_configure(f.r, f.cfg);
	config_free(old);
	fixture_settle(&f);
	REQUIRE_EQ(domain(&f)->n_node_port_addrs, 2);
	CHECK(ip_equal(&domain(&f)->node_port_addrs[0], &v6));
	CHECK(ip_equal(&domain(&f)->node_port_addrs[1], &ext));
	fixture_fini(&f);
}

static void tunables_follow_the_configuration(void)
{
	const struct tunables *t, *again;
	struct fixture f;

	fixture_init(&f,
		"node: {name: n1}\nsnat: {ports: 2000-3000, addresses: [192.0.2.77]}\n"
		"flows: {tcp-pick-up: false, timeouts: {udp: 9}}\n");
	fixture_settle(&f);
	t = atomic_load(&f.dp.tunables);
	CHECK_EQ(t->timeouts.ms[FLOW_CLASS_UDP][FLOW_NEW], 9000);
	CHECK(!t->tcp_pick_up && !t->draining);
	CHECK_EQ(t->snat.port_min, 2000);
	CHECK_EQ(t->snat.avoid_max, 32767);
	CHECK_EQ(ntohl(ip_v4(&t->snat.addr[IP_V4])), 0xc000024d);
	CHECK_EQ(t->snat.n_cluster, 0);
	/* Pod ranges and addresses of all nodes are inside; neighbouring ranges are one. */
	model_node_set(f.m, node("n1", true, "192.0.2.10", "fd00::10", "10.244.0.0/24"));
	model_node_set(f.m, node("n2", false, "192.0.2.11", NULL, "10.244.1.0/24"));
	model_node_set(f.m, node("n3", false, "192.0.2.12", NULL, "10.244.2.0/23"));
	fixture_settle(&f);
	t = atomic_load(&f.dp.tunables);
	CHECK_EQ(ntohl(ip_v4(&t->snat.addr[IP_V4])), 0xc000024d);
	CHECK(!ip_is_zero(&t->snat.addr[IP_V6]));
	REQUIRE_EQ(t->snat.n_cluster, 4);
	char buf[IP_PREFIX_TEXT_MAX];

	CHECK_STR(ip_prefix_format(&t->snat.cluster[0], buf), "10.244.0.0/22");
	CHECK_STR(ip_prefix_format(&t->snat.cluster[1], buf), "192.0.2.10/31");
	/* The same again is not published again. */
	model_node_set(f.m, node("n3", false, "192.0.2.12", NULL, NULL));
	model_node_set(f.m, node("n3", false, "192.0.2.12", NULL, "10.244.2.0/23"));
	fixture_settle(&f);
	again = atomic_load(&f.dp.tunables);
	CHECK(again == t);
	reconcile_drain(f.r, true);
	fixture_settle(&f);
	again = atomic_load(&f.dp.tunables);
	CHECK(again->draining);
	fixture_fini(&f);
}

static void a_full_backend_table_is_told_by_name(void)
{
	struct model_status st;
	struct fixture f;

	fixture_init(&f, "node: {name: n1}\nservices: {backends: 16}\n");
	set(&f, &(struct want){.name = "big", .cluster_ip = "10.96.0.1", .n_backends = 20});
	fixture_settle(&f);
	REQUIRE(model_service_find(f.m, "ns", "big", &st) != NULL);
	CHECK_EQ(st.state, MODEL_ERROR);
	CHECK_HAS(st.error, "raise services.backends");
	CHECK_EQ(frontend(&f, "10.96.0.1", 80, NULL)->cluster->n, 16);
	set(&f, &(struct want){.name = "big", .cluster_ip = "10.96.0.1", .n_backends = 10});
	fixture_settle(&f);
	REQUIRE(model_service_find(f.m, "ns", "big", &st) != NULL);
	CHECK_EQ(st.state, MODEL_APPLIED);
	CHECK_EQ(st.applied_version, st.version);
	CHECK(st.error == NULL);
	fixture_fini(&f);
}

/* After any churn the tables hold what they held before; the sanitizer's leak check sees the
 * rest. */
static void churn_returns_everything(void)
{
	struct reconcile_stats before, after;
	struct fixture f;

	fixture_init(&f, plain);
	set(&f, &(struct want){.name = "stays", .cluster_ip = "10.96.1.1", .n_backends = 5});
	fixture_settle(&f);
	reconcile_stats(f.r, &before);
	for (unsigned i = 0; i < 500; i++) {
		char name[16], ip[32], ext[32];

		snprintf(name, sizeof(name), "s%u", test_rand_below(20));
		snprintf(ip, sizeof(ip), "10.96.0.%u", 1 + test_rand_below(30));
		snprintf(ext, sizeof(ext), "203.0.113.%u", 1 + test_rand_below(4));
		if (test_rand_below(4) == 0)
			model_service_remove(f.m, "ns", name, OWNER_KUBERNETES);
		else
			set(&f,
				&(struct want){.name = name,
					.cluster_ip = ip,
					.external_ip = ext,
					.node_port = (uint16_t)(30000 + test_rand_below(5)),
					.etp_local = test_rand_below(2),
					.created = test_rand_below(3),
					.n_backends = test_rand_below(9),
					.first = test_rand_below(5)});
		reconcile_step(f.r);
		if (i % 7 == 0)
			fixture_grace(&f);
	}
	for (unsigned i = 0; i < 20; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", i);
		model_service_remove(f.m, "ns", name, OWNER_KUBERNETES);
	}
	fixture_settle(&f);
	reconcile_stats(f.r, &after);
	CHECK_EQ(after.services, before.services);
	CHECK_EQ(after.frontends, before.frontends);
	CHECK_EQ(after.backends, before.backends);
	CHECK_EQ(after.conflicts, 0);
	CHECK_EQ(retire_pending(f.retire), 0);
	CHECK_EQ(model_count(f.m, MODEL_SERVICE), 1);
	fixture_fini(&f);
}

static struct fixture *shared;
static _Atomic bool stop;

/* What the API thread asks, without a check: CUnit takes no lock. */
static void *reader(void *arg)
{
	static struct reconcile_conflict conflicts[16];
	static struct reconcile_route routes[64];
	static struct neighbour_view views[64];
	struct neighbours_stats neighbours;
	struct reconcile_stats stats;
	unsigned *rounds = arg;
	char name[64];

	while (!atomic_load(&stop) || *rounds == 0) {
		reconcile_stats(shared->r, &stats);
		reconcile_ready(shared->r);
		for (uint32_t id = 0; id < 50; id++)
			reconcile_service_name(shared->r, id, name, sizeof(name));
		reconcile_conflicts(shared->r, 0, 16, conflicts);
		reconcile_routes_each(shared->r, NULL, 64, routes);
		reconcile_vport_id(shared->r, "up");
		neighbours_each(shared->nb, NULL, 64, views);
		neighbours_stats(shared->nb, &neighbours);
		(*rounds)++;
	}
	return NULL;
}

/* For the thread sanitizer above all. */
static void other_threads_read_while_it_works(void)
{
	static struct fixture f;
	unsigned rounds = 0;
	pthread_t thread;

	fixture_init(&f,
		"node: {name: n1, addresses: [192.0.2.10]}\nvports:\n"
		"- {name: up, role: uplink, kind: tap, addresses: [192.0.2.10/24]}\n");
	CHECK_EQ(config_apply_model(f.cfg, f.m), 0);
	shared = &f;
	atomic_store(&stop, false);
	REQUIRE_EQ(pthread_create(&thread, NULL, reader, &rounds), 0);
	for (unsigned i = 0; i < 600; i++) {
		struct want w = {.name = i % 2 ? "a" : "b",
			.cluster_ip = i % 2 ? "10.96.0.1" : "10.96.0.2",
			.external_ip = "203.0.113.1",
			.created = i % 3,
			.n_backends = i % 5};

		if (i % 7 == 0)
			model_service_remove(f.m, "ns", w.name, OWNER_KUBERNETES);
		else
			model_service_set(f.m, service(&w));
		if (i % 10 == 0)
			model_node_set(f.m,
				node("n2", false, i % 20 ? "192.0.2.11" : "192.0.2.12", NULL,
					"10.244.2.0/24"));
		if (i == 300)
			model_vport_remove(f.m, "up", OWNER_CONFIG);
		if (i == 400)
			config_apply_model(f.cfg, f.m);
		fixture_settle(&f);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	CHECK_GT(rounds, 0);
	CHECK_NE(reconcile_vport_id(f.r, "up"), 0);
	fixture_fini(&f);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The figures are printed; the bounds are wide enough for a sanitizer on a busy machine. */
static void ten_thousand_services(void)
{
	struct reconcile_stats s;
	struct fixture f;
	double start, full, one;

	fixture_init(&f, plain);
	for (unsigned i = 0; i < 10000; i++) {
		char name[16], ip[32];

		snprintf(name, sizeof(name), "s%u", i);
		snprintf(ip, sizeof(ip), "10.96.%u.%u", i / 256, i % 256);
		set(&f,
			&(struct want){.name = name,
				.cluster_ip = ip,
				.n_backends = 3,
				.first = i % 1000});
	}
	start = seconds();
	while (reconcile_step(f.r))
		;
	full = seconds() - start;
	start = seconds();
	for (unsigned i = 0; i < 1000; i++) {
		set(&f,
			&(struct want){.name = "s5000",
				.cluster_ip = "10.96.19.136",
				.n_backends = 3,
				.first = i});
		while (reconcile_step(f.r))
			;
		fixture_grace(&f);
	}
	one = (seconds() - start) / 1000;
	reconcile_stats(f.r, &s);
	printf("10000 services applied in %.0f ms, one event in %.1f us with its step\n",
		full * 1e3, one * 1e6);
	CHECK_EQ(s.services, 10000);
	CHECK_EQ(s.frontends, 20000);
	CHECK(full < 5);
	CHECK(one < 0.005);
	fixture_fini(&f);
}

TEST_SUITE("reconcile", CASE(nothing_before_all_sources_are_complete),
	CASE(ready_only_behind_the_whole_first_state), CASE(every_frontend_kind_is_published),
	CASE(a_removed_service_leaves_nothing), CASE(an_endpoint_event_touches_its_service_only),
	CASE(an_equal_set_changes_nothing), CASE(terminating_endpoints_drain),
	CASE(the_oldest_claim_wins_and_is_followed), CASE(a_cluster_ip_cannot_be_taken_over),
	CASE(node_port_addresses_follow_node_and_configuration),
	CASE(tunables_follow_the_configuration), CASE(a_full_backend_table_is_told_by_name),
	CASE(churn_returns_everything), CASE(other_threads_read_while_it_works),
	CASE(ten_thousand_services))
