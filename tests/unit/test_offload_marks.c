/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Flows that hardware only marks, and what a flow tells of its driver's answers. On the device in
 * memory, in virtual time. */

#include <errno.h>

#include "core/packet.h"
#include "lib/offload_lab.h"
#include "unit/harness.h"

static struct lab lab;

static void begin(void)
{
	struct lab_config cfg;

	lab_config_default(&cfg);
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
}

static void end(void)
{
	CHECK_EQ(lab_check(&lab), 0);
	CHECK(lab_fini(&lab));
}

static enum offload_reason reason(enum ip_family f, uint32_t entry, enum lane_dir dir)
{
	return offload_word_reason(lab_word(&lab, f, entry, dir));
}

static void begin_with_marks(void)
{
	struct lab_config cfg;

	lab_config_default(&cfg);
	cfg.marks = true;
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
	/* The endpoints are behind a port that is no NIC's: nothing can be forwarded wholly. */
	lab.hop[2].vport = 3;
}

static enum offload_state state(enum ip_family f, uint32_t entry, enum lane_dir dir)
{
	return offload_word_state(lab_word(&lab, f, entry, dir));
}

static void count_marks(void *arg, const struct offload_rule *rule)
{
	*(uint32_t *)arg += rule->fate == OFFLOAD_FATE_MARK && rule->mark != 0 && !rule->count &&
		!rule->match.no_tcp_control && rule->to.set == 0;
}

static uint32_t mark_rules(void)
{
	uint32_t n = 0;

	offload_fake_foreach(lab.fake, count_marks, &n);
	return n;
}

/* What cannot go wholly is marked, and says why no more; it ends as other rules do. */
static void marked_where_full_is_refused(void)
{
	uint32_t e;

	for (int f = 0; f < IP_FAMILIES; f++) {
		begin_with_marks();
		e = lab_flow(&lab, f, IP_PROTO_TCP, 1);
		lab_offload(&lab, f, e);
		for (int d = 0; d < 2; d++) {
			CHECK_EQ(state(f, e, d), OFFLOAD_PARTIAL);
			CHECK_EQ(reason(f, e, d), OFFLOAD_PortNotEthdev);
			CHECK(!lab_packet(&lab, f, e, d, TCP_ACK, 1));
		}
		CHECK_EQ(mark_rules(), 2);
		CHECK_EQ(lab.e->stats.partial, 2);
		CHECK(flow_marks_used(lab.flows));
		CHECK_EQ(lab_check(&lab), 0);
		/* Its samples are what keeps it there. */
		for (int s = 0; s < 40; s++) {
			lab_nominate(&lab, f, e, DIR_FORWARD, 4);
			lab_run_ms(&lab, 1000);
		}
		CHECK_EQ(state(f, e, DIR_FORWARD), OFFLOAD_PARTIAL);
		/* FIN comes to the worker, which tells. */
		flow_tcp_advance(flow_meta(lab.flows, f, e), DIR_FORWARD, TCP_FIN | TCP_ACK);
		lab_request(&lab, OFFLOAD_ENDING, f, e, DIR_FORWARD, 0, 0);
		lab_run_ms(&lab, 20);
		CHECK_EQ(mark_rules(), 0);
		CHECK_EQ(lab.e->stats.partial, 0);
		CHECK(!flow_marks_used(lab.flows));
		end();
	}
}

/* UDP: each direction for itself. */
static void one_direction_marked_the_other_forwarded(void)
{
	uint32_t e;

	begin_with_marks();
	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(state(IP_V4, e, DIR_FORWARD), OFFLOAD_PARTIAL);
	CHECK_EQ(state(IP_V4, e, DIR_REPLY), OFFLOAD_HARDWARE);
	CHECK_EQ(reason(IP_V4, e, DIR_REPLY), OFFLOAD_REASON_NONE);
	CHECK(lab_packet(&lab, IP_V4, e, DIR_REPLY, 0, 5));
	/* Killed: both rules go, and then the tuple is free. */
	CHECK(flow_kill(lab.flows, IP_V4, e));
	lab_run_ms(&lab, 20);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	end();
}

/* A change is acknowledged when the device took the mark rules back, too; and when the way opens,
 * the flow comes back as a full one. */
static void marks_are_behind_the_barrier(void)
{
	uint64_t ticket;
	uint32_t e;

	begin_with_marks();
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(mark_rules(), 2);
	/* Nothing that concerns it: it stays. */
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(mark_rules(), 2);
	lab.vport[1].up = false;
	offload_fake_set_latency(lab.fake, OFFLOAD_FAKE_REMOVE, 300000);
	ticket = engine_revalidate(lab.e, false);
	engine_turn(lab.e);
	CHECK(lab.e->pass_done < ticket || mark_rules() == 0);
	lab_run_ms(&lab, 2000);
	CHECK_GE(lab.e->pass_done, ticket);
	CHECK_EQ(mark_rules(), 0);
	offload_fake_set_latency(lab.fake, OFFLOAD_FAKE_REMOVE, 0);
	lab.vport[1].up = true;
	lab_run_ms(&lab, 70000);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(mark_rules(), 2);
	lab.hop[2].vport = 2;
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(mark_rules(), 0);
	lab_run_ms(&lab, 100);
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	end();
}

/* The driver takes such rules, and the packets come without their marks. */
static void marks_that_do_not_come_are_given_up(void)
{
	uint32_t e;

	begin_with_marks();
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(mark_rules(), 2);
	lab.unmarked = true;
	for (int s = 0; s < 15; s++) {
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 1);
		lab_run_ms(&lab, 1000);
	}
	CHECK_EQ(mark_rules(), 0);
	CHECK_GT(lab.alarms, 0);
	end();
}

/* A flow tells what its driver said. */
static void refusals_are_kept(void)
{
	const struct offload_refusal *r;
	struct offload_error other = {.type = 1};
	uint32_t e;

	begin();
	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	CHECK(refusal_read(lab.e, choice_at(lab.e->choice, choice_id(IP_V4, e))->refusal[0]) ==
		NULL);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_INSERT, 1, 1, -EBUSY);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_Backoff);
	r = refusal_read(lab.e, choice_at(lab.e->choice, choice_id(IP_V4, e))->refusal[0]);
	REQUIRE(r != NULL);
	CHECK_STR(r->class, "device");
	CHECK_EQ(r->error, -EBUSY);
	CHECK_NE(r->text[0], 0);
	/* Answers that are the same are kept once, and there is an end to those that are not. */
	CHECK_EQ(refusal_number(lab.e, OFFLOAD_INSERT_SHAPE, -EINVAL, &other),
		refusal_number(lab.e, OFFLOAD_INSERT_SHAPE, -EINVAL, &other));
	for (int n = 0; n < 1000; n++) {
		snprintf(other.cause, sizeof(other.cause), "at address %d", n);
		CHECK_NE(refusal_number(lab.e, OFFLOAD_INSERT_SHAPE, -EINVAL, &other), 0);
	}
	CHECK_EQ(lab.e->n_refusals, REFUSALS_MAX);
	CHECK_STR(refusal_read(lab.e, REFUSALS_MAX + 1)->class, "other");
	CHECK_STR(refusal_read(lab.e, 1)->class, r->class);
	end();
}

TEST_SUITE("offload marks", CASE(marked_where_full_is_refused),
	CASE(one_direction_marked_the_other_forwarded), CASE(marks_are_behind_the_barrier),
	CASE(marks_that_do_not_come_are_given_up), CASE(refusals_are_kept))
