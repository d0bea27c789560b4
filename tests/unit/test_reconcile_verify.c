/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the reconciler finds when it looks again: nothing, what somebody broke, and what can be
 * applied by now (control/reconcile_verify.c). */

#include "unit/reconcile_fixture.h"

#define HOUR_NS UINT64_C(3600000000000)

static struct reconcile_stats stats(struct fixture *f)
{
	struct reconcile_stats s;

	reconcile_stats(f->r, &s);
	return s;
}

static void start(struct fixture *f, const char *config, unsigned services)
{
	fixture_init(f, config);
	for (unsigned i = 0; i < services; i++) {
		char name[16], ip[32];

		snprintf(name, sizeof(name), "s%u", i);
		snprintf(ip, sizeof(ip), "10.96.0.%u", i + 1);
		CHECK_EQ(model_service_set(f->m,
				 service(&(struct want){.name = name,
					 .cluster_ip = ip,
					 .node_port = (uint16_t)(30000 + i),
					 .n_backends = 3})),
			0);
	}
	fixture_settle(f);
}

static void each_is_looked_at_once_an_hour(void)
{
	struct reconcile_stats before, after;
	struct fixture f;

	start(&f, "node: {name: n1}\n", 20);
	before = stats(&f);
	CHECK_EQ(before.verified, 0);
	f.now_ns += HOUR_NS - UINT64_C(1000000000);
	fixture_settle(&f);
	CHECK_EQ(stats(&f).verified, 0);
	f.now_ns += UINT64_C(1000000000);
	fixture_settle(&f);
	after = stats(&f);
	CHECK_EQ(after.verified, 20);
	CHECK_EQ(after.repairs, 0);
	/* A look changes nothing. */
	CHECK_EQ(after.ports_replaced, before.ports_replaced);
	CHECK_EQ(after.frontends_set, before.frontends_set);
	CHECK_EQ(after.lists_built, before.lists_built);
	CHECK_EQ(after.events, before.events);
	fixture_fini(&f);
}

static void what_was_lost_is_set_again(void)
{
	struct svc_frontend_key k = {
		.addr = A("10.96.0.2"), .port = htons(80), .proto = IP_PROTO_TCP, .family = IP_V4};
	struct fixture f;

	start(&f, "node: {name: n1}\n", 3);
	REQUIRE(frontend(&f, "10.96.0.2", 80, NULL) != NULL);
	svc_table_remove((struct svc_table *)domain(&f)->table, &k);
	CHECK(frontend(&f, "10.96.0.2", 80, NULL) == NULL);
	f.now_ns += HOUR_NS;
	fixture_settle(&f);
	CHECK(frontend(&f, "10.96.0.2", 80, NULL) != NULL);
	CHECK_EQ(stats(&f).verified, 3);
	CHECK_EQ(stats(&f).repairs, 1);
	fixture_fini(&f);
}

static void what_failed_is_tried_again_soon(void)
{
	struct model_status st;
	struct fixture f;

	/* Room for one of them. */
	fixture_init(&f, "node: {name: n1}\nservices: {backends: 16}\n");
	for (unsigned i = 0; i < 2; i++)
		model_service_set(f.m,
			service(&(struct want){.name = i == 0 ? "a" : "b",
				.cluster_ip = i == 0 ? "10.96.0.1" : "10.96.0.2",
				.first = 100 * i,
				.n_backends = 12}));
	fixture_settle(&f);
	REQUIRE(model_service_find(f.m, "ns", "b", &st) != NULL);
	CHECK_EQ(st.state, MODEL_ERROR);
	model_service_remove(f.m, "ns", "a", OWNER_KUBERNETES);
	fixture_settle(&f);
	REQUIRE(model_service_find(f.m, "ns", "b", &st) != NULL);
	CHECK_EQ(st.state, MODEL_ERROR);
	f.now_ns += UINT64_C(30000000000);
	fixture_settle(&f);
	REQUIRE(model_service_find(f.m, "ns", "b", &st) != NULL);
	CHECK_EQ(st.state, MODEL_APPLIED);
	CHECK_EQ(frontend(&f, "10.96.0.2", 80, NULL)->cluster->n, 12);
	/* That was no error of ours. */
	CHECK_EQ(stats(&f).repairs, 0);
	fixture_fini(&f);
}

TEST_SUITE("reconcile_verify", CASE(each_is_looked_at_once_an_hour),
	CASE(what_was_lost_is_set_again), CASE(what_failed_is_tried_again_soon))
