/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Publication: control replaces services one by one and whole route tables while workers decide
 * and route, and frees what it replaced a grace period later.
 *
 * Checked: a packet sees one generation of a route table, wholly, and never an older one than
 * before; a found service is the one asked for, with the endpoints of its own version; versions
 * of a service never run backwards; a released backend is gone. Freed memory in use is the
 * sanitizers' to find, or MALLOC_PERTURB_'s, which meson sets. */

#include "core/dataplane.h"
#include "stress/quiesce.h"
#include "unit/harness.h"

#define WORKERS  3
#define SERVICES 64
#define ROUTES   32

/* A service port with its list, freed as one. */
struct service {
	struct svc_port port;
	struct svc_list *list;
};

struct shared {
	struct quiesce q;
	struct dataplane dp;
	struct svc_table *table;
	struct backend_table *backends;
	struct svc_domain domain;
};

struct thread {
	struct shared *s;
	uint32_t id;
	uint64_t random, decided, routed;
	uint32_t newest[SERVICES]; /* version seen */
	uint32_t generation;
	struct worker worker;
	pthread_t pthread;
};

/* What control has published. */
struct control {
	struct shared *s;
	uint64_t random;
	struct service *service[SERVICES]; /* NULL: absent */
	uint32_t version;
	struct route_domain *routes;
	uint64_t changes;
};

static struct shared shared;
static struct thread threads[WORKERS];
static struct control control;

static struct svc_frontend_key frontend(uint32_t n)
{
	struct svc_frontend_key k = {.port = htons(80), .proto = IP_PROTO_TCP};

	if (n & 1) {
		k.addr.bytes[0] = 0xfd;
		k.addr.words[3] = htonl(n);
		k.family = IP_V6;
	} else {
		k.addr = ip_from_v4(htonl(0x0a600000 + n));
		k.family = IP_V4;
	}
	return k;
}

/* --- workers ---------------------------------------------------------------------------------- */

static void decide(struct thread *th)
{
	uint32_t n = (uint32_t)(test_rand_r(&th->random) % SERVICES), version;
	struct svc_frontend_key k = frontend(n);
	struct svc_query q = {.src = ip_from_v4(htonl(0x0a000001)),
		.dst = k.addr,
		.dport = k.port,
		.proto = k.proto,
		.source = SVC_FROM_POD,
		.hash = (uint32_t)test_rand_r(&th->random)};
	struct svc_verdict v;

	svc_decide(th->worker.snap.services, &q, &v);
	if (v.kind == SVC_PASS)
		return;
	if (v.kind != SVC_TRANSLATE || v.svc->id != n) {
		fault(&th->s->q, "service %u: verdict %d of service %u", n, v.kind,
			v.svc != NULL ? v.svc->id : 0);
		return;
	}
	th->decided++;
	version = v.svc->affinity_seconds;
	/* Every endpoint's address ends in the version of its service. */
	if (ntohl(v.backend->addr.words[3]) != version)
		fault(&th->s->q, "service %u of version %u has an endpoint of version %u", n,
			version, ntohl(v.backend->addr.words[3]));
	if ((int32_t)(version - th->newest[n]) < 0)
		fault(&th->s->q, "service %u went back from %u to %u", n, th->newest[n], version);
	th->newest[n] = version;
	if (backend_state(th->s->backends, v.backend->ref) == BACKEND_UNUSED)
		fault(&th->s->q, "service %u has an endpoint that was never set", n);
}

static void route_burst(struct thread *th)
{
	const struct route_domain *r = th->worker.snap.routes;

	if ((int32_t)(r->generation - th->generation) < 0)
		fault(&th->s->q, "routes went back from %u to %u", th->generation, r->generation);
	th->generation = r->generation;
	if (r->fib == NULL)
		return;
	for (int i = 0; i < 16; i++) {
		struct ip_addr dst = ip_from_v4(
			htonl(0x0a000000 + (uint32_t)(test_rand_r(&th->random) % (ROUTES << 8))));
		uint16_t hop = fib_lookup(r->fib, &dst);

		if (hop != (r->generation & 0x7fff) + 1)
			fault(&th->s->q, "a route of generation %u in the table of %u", hop,
				r->generation);
		th->routed++;
	}
}

static void *worker(void *arg)
{
	struct thread *th = arg;

	th->worker.dp = &th->s->dp;
	while (!atomic_load_explicit(&th->s->q.stop, memory_order_relaxed)) {
		worker_load_snapshot(&th->worker);
		route_burst(th);
		for (int i = 0; i < 64; i++)
			decide(th);
		route_burst(th);
		quiesce_report(&th->s->q, th->id);
	}
	quiesce_report(&th->s->q, th->id);
	return NULL;
}

/* --- control ---------------------------------------------------------------------------------- */

static struct service *service_new(struct control *c, uint32_t n)
{
	uint32_t count = 1 + (uint32_t)(test_rand_r(&c->random) % 12);
	struct service *s = calloc(1, sizeof(*s));
	struct svc_backend b[12];

	c->version++;
	for (uint32_t i = 0; i < count; i++) {
		b[i] = (struct svc_backend){
			.port = htons((uint16_t)(8000 + i)), .ref = backend_alloc(c->s->backends)};
		b[i].addr.words[0] = htonl(0xfd000000);
		b[i].addr.words[3] = htonl(c->version);
		backend_set(c->s->backends, b[i].ref, BACKEND_READY);
	}
	s->list = svc_list_new(b, count);
	s->port = (struct svc_port){.id = n,
		.proto = IP_PROTO_TCP,
		.port = htons(80),
		.flags = SVC_HAS_ANY,
		.affinity_seconds = c->version,
		.cluster = s->list,
		.local = s->list};
	return s;
}

/* Unpublished already. */
static void service_retire(struct control *c, struct service *old)
{
	if (old == NULL)
		return;
	for (uint32_t i = 0; i < old->list->n; i++) {
		backend_release(c->s->backends, old->list->backends[i].ref);
		if (backend_state(c->s->backends, old->list->backends[i].ref) != BACKEND_GONE)
			fault(&c->s->q, "a released backend is not gone");
	}
	svc_table_retire(c->s->table, old->list);
	svc_table_retire(c->s->table, old);
}

static void change_service(struct control *c)
{
	uint32_t n = (uint32_t)(test_rand_r(&c->random) % SERVICES);
	struct svc_frontend_key k = frontend(n);
	struct service *old = c->service[n];

	if (old != NULL && test_rand_r(&c->random) % 4 == 0) {
		c->service[n] = NULL;
		if (svc_table_remove(c->s->table, &k) < 0)
			fault(&c->s->q, "service %u was not there", n);
	} else {
		c->service[n] = service_new(c, n);
		if (svc_table_set(c->s->table, &k, SVC_CLUSTER_IP, &c->service[n]->port) < 0)
			fault(&c->s->q, "service %u could not be set", n);
	}
	service_retire(c, old);
	c->changes++;
}

static struct route_domain *routes_new(uint32_t generation)
{
	struct route_domain *d = calloc(1, sizeof(*d));
	struct route routes[ROUTES];
	struct fib *fib = NULL;

	for (uint32_t i = 0; i < ROUTES; i++)
		routes[i] =
			(struct route){.prefix = {.addr = ip_from_v4(htonl(0x0a000000 + (i << 8))),
					       .len = 24,
					       .family = IP_V4},
				.next_hop = (uint16_t)((generation & 0x7fff) + 1)};
	if (fib_new(routes, ROUTES, &fib) < 0)
		abort();
	d->generation = generation;
	d->fib = fib;
	return d;
}

static void change_routes(struct control *c)
{
	struct route_domain *old = c->routes;

	c->routes = routes_new(old != NULL ? old->generation + 1 : 1);
	atomic_store_explicit(&c->s->dp.routes, c->routes, memory_order_release);
	if (old == NULL)
		return;
	svc_table_retire(c->s->table, (void *)(uintptr_t)old->fib);
	svc_table_retire(c->s->table, old);
}

static void finish(struct control *c)
{
	for (uint32_t n = 0; n < SERVICES; n++) {
		struct svc_frontend_key k = frontend(n);

		if (c->service[n] != NULL)
			CHECK_EQ(svc_table_remove(c->s->table, &k), 0);
		service_retire(c, c->service[n]);
	}
	CHECK_EQ(svc_table_used(c->s->table), 0);
	CHECK_EQ(backend_used(c->s->backends), 0);
	fib_free((struct fib *)(uintptr_t)c->routes->fib);
	free(c->routes);
	grace_complete(&c->s->q.grace, grace_open(&c->s->q.grace));
	svc_table_reclaim(c->s->table);
	svc_table_fini(c->s->table);
	backend_table_fini(c->s->backends);
	dataplane_fini(&c->s->dp);
}

static void snapshots_and_services(void)
{
	struct shared *s = &shared;
	double end = stress_now() + stress_seconds();
	uint64_t periods = 0;

	s->q.threads = WORKERS;
	control.s = s;
	control.random = test_rand();
	REQUIRE_EQ(dataplane_init(&s->dp, NULL), 0);
	/* Small at first: the index grows and is cleaned under the readers. */
	REQUIRE_EQ(svc_table_init(&s->q.grace, 4, &s->table), 0);
	REQUIRE_EQ(backend_table_init(20000, &s->backends), 0);
	s->domain = (struct svc_domain){.ready = true, .table = s->table, .backends = s->backends};
	atomic_store(&s->dp.services, &s->domain);
	for (uint32_t i = 0; i < WORKERS; i++) {
		threads[i].s = s;
		threads[i].id = i;
		threads[i].random = test_rand();
		REQUIRE_EQ(pthread_create(&threads[i].pthread, NULL, worker, &threads[i]), 0);
	}
	while (stress_now() < end) {
		for (int i = 0; i < 8; i++)
			change_service(&control);
		change_routes(&control);
		/* Bounds the memory that waits. */
		do {
			periods += quiesce_poll(&s->q);
			svc_table_reclaim(s->table);
		} while (control.changes / 200 > periods && stress_now() < end);
	}
	atomic_store(&s->q.stop, true);
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(threads[i].pthread, NULL);
		printf("thread %u: %" PRIu64 " decided, %" PRIu64 " routed\n", i,
			threads[i].decided, threads[i].routed);
		CHECK_GT(threads[i].decided, 100);
		CHECK_GT(threads[i].routed, 100);
	}
	printf("%" PRIu64 " changes, %" PRIu64 " grace periods\n", control.changes, periods);
	CHECK_GT(control.changes, 100);
	CHECK_GT(periods, 2);
	finish(&control);
	CHECK_EQ(atomic_load(&s->q.faults), 0);
}

TEST_SUITE("publication", CASE(snapshots_and_services))
