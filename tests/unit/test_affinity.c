/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Session affinity: records come, stick, expire, leave with their endpoint, and push out the
 * oldest of a full set; one key is service port and client, whatever the frontend. */

#include <errno.h>

#include "core/affinity.h"
#include "unit/harness.h"

#define N 8

static struct svc_backend backends[N];

static struct ip_addr client(uint32_t n)
{
	struct ip_addr a = ip_from_v4(htonl(0x0a000000 + n));

	if (n & 1) {
		memset(&a, 0, sizeof(a));
		a.bytes[0] = 0xfd;
		a.words[3] = htonl(n);
	}
	return a;
}

/* The list of backends first to last, as control would build it. */
static struct svc_list *list(uint32_t first, uint32_t last)
{
	for (uint32_t i = 0; i < N; i++)
		backends[i] = (struct svc_backend){
			.addr = ip_from_v4(htonl(0x0af40001 + i)), .port = htons(80), .ref = i + 1};
	return svc_list_new(backends + first, last - first + 1);
}

static struct svc_verdict verdict(
	const struct svc_port *svc, const struct svc_list *l, const struct svc_query *q)
{
	struct svc_verdict v = {.kind = SVC_TRANSLATE, .svc = svc, .list = l};

	svc_verdict_use(&v, q, svc_list_pick(l, q->hash));
	return v;
}

/* The backend a new flow of this client gets now; recorded if record. */
static backend_ref connect_one(struct affinity_table *t, const struct svc_port *svc,
	const struct svc_list *l, uint32_t n, uint32_t now, bool record)
{
	struct svc_query q = {.src = client(n), .hash = (uint32_t)test_rand()};
	struct svc_verdict v = verdict(svc, l, &q);

	affinity_apply(t, &q, now, &v);
	if (record)
		affinity_record(t, &q, now, &v);
	return v.backend->ref;
}

static bool varies(struct affinity_table *t, const struct svc_port *svc, const struct svc_list *l,
	uint32_t n, uint32_t now)
{
	backend_ref first = connect_one(t, svc, l, n, now, false);

	for (int i = 0; i < 100; i++)
		if (connect_one(t, svc, l, n, now, false) != first)
			return true;
	return false;
}

static void sticks_until_idle_too_long(void)
{
	struct svc_port svc = {.id = 1, .affinity_seconds = 100}, other = {.id = 2};
	struct svc_list *l = list(0, N - 1);
	struct affinity_table *t;

	REQUIRE_EQ(affinity_init(64, test_seed(), &t), 0);
	for (uint32_t n = 0; n < 2; n++) {
		uint32_t now = UINT32_MAX - 50000; /* the clock wraps meanwhile */
		backend_ref ref;

		CHECK(varies(t, &svc, l, n, now));
		ref = connect_one(t, &svc, l, n, now, true);
		for (int i = 0; i < 30; i++)
			CHECK_EQ(connect_one(t, &svc, l, n, now + 100000, false), ref);
		/* Another worker's clock is behind. */
		CHECK_EQ(connect_one(t, &svc, l, n, now - 5, false), ref);
		CHECK(varies(t, &svc, l, n, now + 100001));
		/* A new connection starts the time anew. */
		CHECK_EQ(connect_one(t, &svc, l, n, now + 90000, true), ref);
		CHECK(!varies(t, &svc, l, n, now + 180000));
		/* Other ports and clients are others. */
		other.affinity_seconds = 100;
		CHECK(varies(t, &other, l, n, now));
		CHECK(varies(t, &svc, l, n + 100, now));
	}
	CHECK_EQ(affinity_used(t), 2);
	free(l);
	affinity_fini(t);
}

static void switched_off_does_nothing(void)
{
	struct svc_port svc = {.id = 1, .affinity_seconds = 0};
	struct svc_list *l = list(0, N - 1);
	struct svc_verdict v = {.kind = SVC_DROP, .svc = &svc, .list = l};
	struct svc_query q = {.src = client(1)};
	struct affinity_table *t;

	REQUIRE_EQ(affinity_init(64, 1, &t), 0);
	connect_one(t, &svc, l, 1, 0, true);
	CHECK(varies(t, &svc, l, 1, 0));
	svc.affinity_seconds = 10;
	affinity_record(t, &q, 0, &v);
	affinity_apply(t, &q, 0, &v);
	CHECK(v.backend == NULL);
	CHECK_EQ(affinity_used(t), 0);
	/* Passed traffic has no service at all. */
	v = (struct svc_verdict){.kind = SVC_PASS};
	affinity_record(t, &q, 0, &v);
	affinity_apply(t, &q, 0, &v);
	free(l);
	affinity_fini(t);
}

/* An endpoint that left the list gets nothing more; the same endpoint in a list of another order
 * still does. */
static void follows_the_list(void)
{
	struct svc_port svc = {.id = 1, .affinity_seconds = 100};
	struct svc_list *all = list(0, N - 1), *late = list(3, N - 1), *early = list(0, 2);
	struct affinity_table *t;

	REQUIRE_EQ(affinity_init(64, 1, &t), 0);
	for (uint32_t n = 0; n < 40; n++) {
		backend_ref ref = connect_one(t, &svc, all, n, 0, true);
		struct svc_list *has = ref > 3 ? late : early, *hasnt = ref > 3 ? early : late;

		CHECK_EQ(connect_one(t, &svc, has, n, 0, false), ref);
		CHECK(varies(t, &svc, hasnt, n, 0));
		ref = connect_one(t, &svc, hasnt, n, 0, true);
		for (int i = 0; i < 20; i++)
			CHECK_EQ(connect_one(t, &svc, all, n, 0, false), ref);
	}
	free(all);
	free(late);
	free(early);
	affinity_fini(t);
}

static void oldest_goes_first(void)
{
	struct svc_port svc = {.id = 1, .affinity_seconds = 100};
	struct svc_list *l = list(0, N - 1);
	struct affinity_table *t;
	backend_ref ref[10];

	REQUIRE_EQ(affinity_init(1, 1, &t), 0);
	CHECK_EQ(affinity_capacity(t), 4);
	for (uint32_t n = 0; n < 10; n++)
		ref[n] = connect_one(t, &svc, l, n, 10 * n, true);
	CHECK_EQ(affinity_used(t), 4);
	for (uint32_t n = 0; n < 10; n++)
		CHECK_EQ(varies(t, &svc, l, n, 100), n < 6);
	for (uint32_t n = 6; n < 10; n++)
		CHECK_EQ(connect_one(t, &svc, l, n, 100, false), ref[n]);
	/* Used again, the oldest is the newest. */
	CHECK_EQ(connect_one(t, &svc, l, 6, 110, true), ref[6]);
	connect_one(t, &svc, l, 20, 120, true);
	CHECK_EQ(connect_one(t, &svc, l, 6, 120, false), ref[6]);
	CHECK(varies(t, &svc, l, 7, 120));
	free(l);
	affinity_fini(t);
	affinity_fini(NULL);
}

/* Source NAT follows the endpoint that affinity chose. */
static void hairpin_follows(void)
{
	struct svc_port svc = {.id = 1, .affinity_seconds = 100};
	struct svc_list *l = list(0, 1);
	struct affinity_table *t;
	struct svc_verdict v;
	struct svc_query q;

	REQUIRE_EQ(affinity_init(64, 1, &t), 0);
	for (int self = 0; self < 2; self++) {
		const struct svc_backend *mine = &l->backends[self];

		svc.id++;
		q = (struct svc_query){.src = l->backends[0].addr};
		v = verdict(&svc, l, &q);
		svc_verdict_use(&v, &q, mine);
		affinity_record(t, &q, 0, &v);
		for (int i = 0; i < 20; i++) {
			q.hash = (uint32_t)test_rand();
			v = verdict(&svc, l, &q);
			affinity_apply(t, &q, 0, &v);
			CHECK(v.backend == mine);
			CHECK_EQ(v.snat, self == 0);
			v = verdict(&svc, l, &q);
			v.snat_by_matrix = true;
			affinity_apply(t, &q, 0, &v);
			CHECK_EQ(v.snat, 1);
		}
	}
	free(l);
	affinity_fini(t);
}

TEST_SUITE("affinity", CASE(sticks_until_idle_too_long), CASE(switched_off_does_nothing),
	CASE(follows_the_list), CASE(oldest_goes_first), CASE(hairpin_follows))
