/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the health endpoints answer to which state (control/health/decide.h). */

#include "control/health/decide.h"
#include "unit/harness.h"

static const struct health_state good = {.now_wall_ms = 1000000,
	.updated_wall_ms = {900000, 800000},
	.workers_turn = true,
	.uplinks_up = true,
	.node_awaited = true,
	.node_known = true};

static struct health_answer ask(
	const struct health_state *s, enum health_question q, uint32_t endpoints)
{
	struct health_answer a = {0};

	health_decide(s, q, endpoints, &a);
	return a;
}

/* Status of /healthz, /livez, a service with one endpoint and one with none, as four digits. */
static int statuses(const struct health_state *s)
{
	return (ask(s, HEALTH_HEALTHZ, 0).status == 200) * 1000 +
		(ask(s, HEALTH_LIVEZ, 0).status == 200) * 100 +
		(ask(s, HEALTH_SERVICE, 1).status == 200) * 10 +
		(ask(s, HEALTH_SERVICE, 0).status == 200);
}

static void a_good_node_is_healthy(void)
{
	struct health_answer a = ask(&good, HEALTH_HEALTHZ, 0);

	CHECK_EQ(statuses(&good), 1110);
	CHECK(a.healthy && a.node_eligible && a.family_healthy[IP_V4] && a.family_healthy[IP_V6]);
	CHECK_EQ(a.last_updated_wall_ms, good.now_wall_ms);
}

static void a_node_that_goes_takes_no_cluster_traffic(void)
{
	struct health_state s = good;

	s.node_to_be_deleted = true;
	CHECK_EQ(statuses(&s), 110);
	CHECK(ask(&s, HEALTH_HEALTHZ, 0).healthy);
	CHECK(!ask(&s, HEALTH_HEALTHZ, 0).node_eligible);
	s = good;
	s.node_deleting = true;
	CHECK_EQ(statuses(&s), 110);
	s = good;
	s.node_known = false;
	CHECK_EQ(statuses(&s), 110);
	s.node_awaited = false;
	CHECK_EQ(statuses(&s), 1110);
}

static void an_overdue_change_of_either_family_counts(void)
{
	for (int f = 0; f < IP_FAMILIES; f++) {
		struct health_state s = good;
		struct health_answer a;

		s.waiting_ms[f] = HEALTH_OVERDUE_MS;
		CHECK_EQ(statuses(&s), 1110);
		s.waiting_ms[f]++;
		CHECK_EQ(statuses(&s), 0);
		a = ask(&s, HEALTH_LIVEZ, 0);
		CHECK(!a.healthy && !a.family_healthy[f] && a.family_healthy[1 - f]);
		/* The family that was updated longest ago. */
		CHECK_EQ(a.last_updated_wall_ms, 800000);
	}
}

static void workers_and_uplinks_count(void)
{
	struct health_state s = good;

	s.workers_turn = false;
	CHECK_EQ(statuses(&s), 0);
	s = good;
	s.uplinks_up = false;
	CHECK_EQ(statuses(&s), 110);
	CHECK(!ask(&s, HEALTH_HEALTHZ, 0).healthy);
}

static void a_queue_that_moves_is_never_old(void)
{
	struct health_queue q = {0};

	CHECK_EQ(health_queue_age(&q, 0, 0, 5), 0);
	/* Ten wait at 10 ms; new ones come as fast as old ones are taken. */
	CHECK_EQ(health_queue_age(&q, 0, 10, 10), 0);
	CHECK_EQ(health_queue_age(&q, 9, 10, 500), 490);
	CHECK_EQ(health_queue_age(&q, 10, 10, 600), 0);
	CHECK_EQ(health_queue_age(&q, 19, 1, 900), 300);
	/* Nothing is taken any more. */
	CHECK_EQ(health_queue_age(&q, 19, 5000, 70000), 69400);
	CHECK_EQ(health_queue_age(&q, 5019, 0, 70001), 0);
	CHECK_EQ(health_queue_age(&q, 5019, 1, 70002), 0);
}

static void what_waits_is_told_a_family(void)
{
	static const bool both[IP_FAMILIES] = {true, true}, v6[IP_FAMILIES] = {false, true};
	struct health_waits list[IP_FAMILIES];
	struct health_wait a = {0}, b = {0};

	TAILQ_INIT(&list[IP_V4]);
	TAILQ_INIT(&list[IP_V6]);
	CHECK_EQ(health_waits_age(&list[IP_V4], IP_V4, 0, 50), 0);
	health_wait_see(list, &b, v6, true, 0, 100);
	health_wait_see(list, &a, both, true, 0, 300);
	CHECK_EQ(health_waits_age(&list[IP_V4], IP_V4, 0, 500), 200);
	CHECK_EQ(health_waits_age(&list[IP_V6], IP_V6, 0, 500), 400);
	/* What waited before the start counts from the start. */
	CHECK_EQ(health_waits_age(&list[IP_V6], IP_V6, 350, 500), 150);
	/* Changed again while it waits: the first change counts. */
	health_wait_see(list, &b, v6, true, 0, 450);
	CHECK_EQ(health_waits_age(&list[IP_V6], IP_V6, 0, 500), 400);
	/* Applied, and changed since: the new one counts, behind the other. */
	health_wait_see(list, &b, v6, true, 7, 450);
	CHECK_EQ(health_waits_age(&list[IP_V6], IP_V6, 0, 500), 200);
	health_wait_see(list, &a, both, false, 8, 500);
	CHECK_EQ(health_waits_age(&list[IP_V4], IP_V4, 0, 500), 0);
	CHECK_EQ(health_waits_age(&list[IP_V6], IP_V6, 0, 500), 50);
	/* A family that a service loses has nothing to wait for. */
	health_wait_see(list, &a, both, true, 8, 600);
	health_wait_see(list, &a, v6, true, 8, 700);
	CHECK(TAILQ_EMPTY(&list[IP_V4]));
	health_wait_forget(list, &a);
	health_wait_forget(list, &b);
	health_wait_forget(list, &b);
	CHECK(TAILQ_EMPTY(&list[IP_V6]));
}

/* "a.b.c.d flags": r ready, t terminating, l on this node, L in the local list. */
static void add(struct model_backend *b, const char *addr, const char *flags)
{
	memset(b, 0, sizeof(*b));
	REQUIRE_EQ(ip_parse(addr, &b->addr), 0);
	b->ready = strchr(flags, 'r') != NULL;
	b->serving = true;
	b->terminating = strchr(flags, 't') != NULL;
	b->local = strchr(flags, 'l') != NULL;
	b->in_local = strchr(flags, 'L') != NULL;
}

static void endpoints_are_counted_once_a_family(void)
{
	struct model_backend http[5], https[2];
	struct model_service_port ports[2] = {
		{.n_backends = 5, .backends = http, .has_any = {true, true}},
		{.n_backends = 2, .backends = https, .has_any = {true, false}}};
	struct model_service s = {.n_ports = 2, .ports = ports};
	uint32_t n;

	add(&http[0], "10.0.0.1", "rlL");
	add(&http[1], "10.0.0.2", "rlL");
	add(&http[2], "10.0.0.3", "tlL"); /* serves, but goes */
	add(&http[3], "10.0.1.4", "r");   /* elsewhere */
	add(&http[4], "fd00::1", "rl");
	add(&https[0], "10.0.0.2", "rl");
	add(&https[1], "10.0.0.9", "rl");
	REQUIRE_EQ(health_local_endpoints(&s, IP_V4, &n), 0);
	CHECK_EQ(n, 3);
	REQUIRE_EQ(health_local_endpoints(&s, IP_V6, &n), 0);
	CHECK_EQ(n, 1);
	CHECK_EQ(health_ports_without_local(&s, IP_V4), 1);
	CHECK_EQ(health_ports_without_local(&s, IP_V6), 1);
	s.n_ports = 0;
	REQUIRE_EQ(health_local_endpoints(&s, IP_V4, &n), 0);
	CHECK_EQ(n, 0);
}

static void families_are_those_of_the_cluster_ips(void)
{
	struct ip_addr ip;
	struct model_service s = {.cluster_ips = &ip};

	CHECK(health_service_has(&s, IP_V4) && health_service_has(&s, IP_V6));
	REQUIRE_EQ(ip_parse("10.96.0.1", &ip), 0);
	s.n_cluster_ips = 1;
	CHECK(health_service_has(&s, IP_V4) && !health_service_has(&s, IP_V6));
}

TEST_SUITE("health", CASE(a_good_node_is_healthy), CASE(a_node_that_goes_takes_no_cluster_traffic),
	CASE(an_overdue_change_of_either_family_counts), CASE(workers_and_uplinks_count),
	CASE(a_queue_that_moves_is_never_old), CASE(what_waits_is_told_a_family),
	CASE(endpoints_are_counted_once_a_family), CASE(families_are_those_of_the_cluster_ips))
