/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The affinity table under three workers with few sets and many clients: what is remembered for a
 * client is one of the two endpoints that were ever recorded for it, never half of a record. */

#include "core/affinity.h"
#include "stress/quiesce.h"
#include "unit/harness.h"

#define WORKERS  3
#define CLIENTS  40
#define SERVICES 3
#define ENDS     64

struct thread {
	struct quiesce *q;
	struct affinity_table *t;
	struct svc_list *list;
	uint64_t random, hits, records;
	pthread_t pthread;
};

static struct svc_port ports[SERVICES];

/* Which endpoints the pair may have: this one and the next. */
static uint32_t home(uint32_t svc, uint32_t n)
{
	return (svc * 31 + n * 7) % (ENDS - 1);
}

static void step(struct thread *th)
{
	uint32_t svc = (uint32_t)(test_rand_r(&th->random) % SERVICES);
	uint32_t n = (uint32_t)(test_rand_r(&th->random) % CLIENTS);
	uint32_t now = (uint32_t)(test_rand_r(&th->random) % 1000);
	const struct svc_backend *ends = th->list->backends;
	struct svc_query q = {.src = ip_from_v4(htonl(n))};
	struct svc_verdict v = {
		.kind = SVC_TRANSLATE, .svc = &ports[svc], .list = th->list, .backend = NULL};

	affinity_apply(th->t, &q, now, &v);
	if (v.backend != NULL) {
		th->hits++;
		if (v.backend != &ends[home(svc, n)] && v.backend != &ends[home(svc, n) + 1])
			fault(th->q, "client %u of service %u has endpoint %u", n, svc,
				v.backend->ref);
	}
	if (test_rand_r(&th->random) % 4 == 0) {
		v.backend = &ends[home(svc, n) + test_rand_r(&th->random) % 2];
		affinity_record(th->t, &q, now, &v);
		th->records++;
	}
}

static void *worker(void *arg)
{
	struct thread *th = arg;

	while (!atomic_load_explicit(&th->q->stop, memory_order_relaxed))
		for (int i = 0; i < 1000; i++)
			step(th);
	return NULL;
}

static void records_are_whole(void)
{
	static struct thread threads[WORKERS];
	static struct quiesce q;
	struct svc_backend b[ENDS];
	struct affinity_table *t;
	struct svc_list *list;
	double end;

	for (uint32_t i = 0; i < ENDS; i++)
		b[i] = (struct svc_backend){
			.addr = ip_from_v4(htonl(0x0a000000 + i)), .ref = i + 1};
	for (uint32_t i = 0; i < SERVICES; i++)
		ports[i] = (struct svc_port){.id = i + 1, .affinity_seconds = 3600};
	list = svc_list_new(b, ENDS);
	REQUIRE_EQ(affinity_init(16, test_rand(), &t), 0);
	for (int i = 0; i < WORKERS; i++) {
		threads[i] = (struct thread){.q = &q, .t = t, .list = list, .random = test_rand()};
		REQUIRE_EQ(pthread_create(&threads[i].pthread, NULL, worker, &threads[i]), 0);
	}
	end = stress_now() + stress_seconds();
	while (stress_now() < end && atomic_load(&q.faults) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	atomic_store(&q.stop, true);
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(threads[i].pthread, NULL);
		CHECK_GT(threads[i].hits, 100);
		CHECK_GT(threads[i].records, 100);
	}
	CHECK_EQ(affinity_used(t), affinity_capacity(t));
	CHECK_EQ(atomic_load(&q.faults), 0);
	affinity_fini(t);
	free(list);
}

TEST_SUITE("affinity threads", CASE(records_are_whole))
