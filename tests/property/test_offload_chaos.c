/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The offload engine under random churn, changes of the configuration and faults of the device, in
 * virtual time; then every error at every call, one at a time.
 *
 * After each step: the device's rules are those the engine knows, each belongs to an entry that is
 * held, and no handle is lost. A new flow never meets a rule of its tuple's last one. Behind a
 * settled ticket no packet is carried by what the configuration took away. Counters add up to what
 * the device carried. SLUICE_CHAOS_SECONDS makes it longer. */

#include <errno.h>

#include "core/packet.h"
#include "lib/offload_lab.h"
#include "unit/harness.h"

#define NUMBERS 300
#define SECONDS 2

struct known {
	uint32_t entry, generation;
	uint8_t proto;
};

static struct lab lab;
static struct known known[IP_FAMILIES][NUMBERS];
static uint64_t carried, early, late, steps, made, ended;
static bool exact; /* no fault has eaten a counter */

static const int errors[] = {-EBUSY, -EIO, -ETIMEDOUT, -ENOSPC, -ENOMEM, -EAGAIN, -ENOENT, -EEXIST,
	-ENOTSUP, -EINVAL, -ENOSYS, -EPERM};
#define ERRORS (sizeof(errors) / sizeof(errors[0]))

static enum ip_family any_family(void)
{
	return test_rand_below(2) ? IP_V6 : IP_V4;
}

static bool alive(enum ip_family f, const struct known *k)
{
	struct flow_meta *m;

	if (k->proto == 0)
		return false;
	m = flow_meta(lab.flows, f, k->entry);
	return m->generation == k->generation && m->state >= FLOW_NEW;
}

/* In either direction. */
static uint64_t carry(enum ip_family f, const struct known *k, uint32_t packets)
{
	uint64_t n = 0;

	for (int d = 0; d < 2; d++)
		if (lab_packet(&lab, f, k->entry, (enum lane_dir)d, TCP_ACK, packets))
			n += packets;
	carried += n;
	return n;
}

static void make_flow(void)
{
	enum ip_family f = any_family();
	uint32_t n = test_rand_below(NUMBERS);
	struct known *k = &known[f][n];
	uint8_t proto = n % 2 ? IP_PROTO_TCP : IP_PROTO_UDP;
	uint32_t entry;

	if (alive(f, k))
		return;
	entry = lab_flow(&lab, f, proto, n % 3 ? n : n + LAB_PLAIN);
	if (entry == FLOW_NONE)
		return;
	*k = (struct known){.entry = entry,
		.generation = flow_meta(lab.flows, f, entry)->generation,
		.proto = proto};
	made++;
	/* Nothing of the tuple's last flow may act on this one. */
	early += carry(f, k, 1);
}

static void end_flow(struct known *k, enum ip_family f)
{
	struct flow_meta *m = flow_meta(lab.flows, f, k->entry);

	ended++;
	switch (test_rand_below(4)) {
	case 0:
		flow_tcp_advance(m, DIR_FORWARD, TCP_FIN | TCP_ACK);
		lab_request(&lab, OFFLOAD_ENDING, f, k->entry, DIR_FORWARD, 0, 0);
		break;
	case 1: /* the request was lost */
		flow_tcp_advance(m, DIR_REPLY, TCP_RST);
		break;
	case 2:
		flow_kill(lab.flows, f, k->entry);
		break;
	default:
		flow_kill_id(lab.flows, f, k->entry, k->generation);
		break;
	}
}

static void touch_flow(void)
{
	enum ip_family f = any_family();
	struct known *k = &known[f][test_rand_below(NUMBERS)];

	if (!alive(f, k))
		return;
	switch (test_rand_below(6)) {
	case 0:
		end_flow(k, f);
		break;
	case 1:
	case 2:
		carry(f, k, 1 + test_rand_below(50));
		break;
	default:
		lab_nominate(&lab, f, k->entry, DIR_REPLY, 1 + test_rand_below(4));
		lab_nominate(&lab, f, k->entry, DIR_FORWARD, test_rand_below(9));
		break;
	}
}

/* What control may publish; the ticket settles, and nothing is carried that may not be. */
static void change_configuration(void)
{
	struct vport *v = &lab.vport[1 + test_rand_below(2)];
	bool down;

	switch (test_rand_below(4)) {
	case 0:
		v->up = !v->up;
		break;
	case 1:
		lab.hop[v->id].l2[5]++;
		break;
	case 2:
		lab.hop[v->id].kind = lab.hop[v->id].kind == NEXT_HOP_FORWARD ? NEXT_HOP_UNRESOLVED
									      : NEXT_HOP_FORWARD;
		break;
	default:
		lab.hop[v->id].mtu = lab.hop[v->id].mtu == 1500 ? 1300 : 1500;
		break;
	}
	if (!lab_revalidate(&lab)) {
		late++;
		return;
	}
	down = !lab.vport[1].up || !lab.vport[2].up;
	for (int f = 0; f < IP_FAMILIES && down; f++)
		for (uint32_t n = 0; n < NUMBERS; n++)
			if (known[f][n].proto != 0)
				late += carry((enum ip_family)f, &known[f][n], 1);
}

static void plug(uint16_t port)
{
	struct offload_fake_port *p = offload_fake_port(lab.fake, port);

	p->present = true;
	p->stopped = false;
	ports_add(lab.e, port, port, NULL);
}

static void change_device(void)
{
	static const enum offload_fake_call calls[] = {OFFLOAD_FAKE_INSERT, OFFLOAD_FAKE_INSERT,
		OFFLOAD_FAKE_REMOVE, OFFLOAD_FAKE_QUERY, OFFLOAD_FAKE_FLUSH, OFFLOAD_FAKE_STOP,
		OFFLOAD_FAKE_VALIDATE};
	uint16_t port = (uint16_t)test_rand_below(2);

	exact = false;
	switch (test_rand_below(5)) {
	case 0:
		offload_fake_set_capacity(lab.fake, 20 + test_rand_below(200));
		break;
	case 1:
		ports_remove(lab.e, port);
		lab_run_ms(&lab, test_rand_below(50));
		plug(port);
		break;
	case 2:
		if (test_rand_below(8) != 0)
			break;
		offload_fake_unplug(lab.fake, port);
		lab_run_ms(&lab, test_rand_below(2000));
		ports_remove(lab.e, port);
		plug(port);
		break;
	default:
		offload_fake_set_fault(lab.fake, calls[test_rand_below(7)], 1 + test_rand_below(20),
			1 + test_rand_below(6), errors[test_rand_below(ERRORS)]);
		break;
	}
}

static void step(bool faults)
{
	steps++;
	switch (test_rand_below(40)) {
	case 0:
		change_configuration();
		break;
	case 1:
		if (faults)
			change_device();
		break;
	case 2:
		lab_run_ms(&lab, test_rand_below(3000));
		break;
	default:
		for (int i = 0; i < 8; i++) {
			make_flow();
			touch_flow();
		}
		lab_run_ms(&lab, test_rand_below(20));
		break;
	}
}

/* Ends with everything healed: all tickets settle, nothing is left. */
static void chaos(bool faults, double seconds)
{
	const char *text = getenv("SLUICE_CHAOS_SECONDS");
	struct lab_config cfg;
	struct timespec start, now;

	if (text != NULL)
		seconds = atof(text) / 2;
	lab_config_default(&cfg);
	cfg.flows = 400;
	cfg.capacity = 240;
	cfg.marks = true;
	cfg.offload.idle_demote_ms = 8000;
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
	memset(known, 0, sizeof(known));
	carried = early = late = steps = made = ended = 0;
	exact = true;
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		step(faults);
		if (lab_check(&lab) != 0)
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 <
		seconds);
	for (int c = 0; c < OFFLOAD_FAKE_CALLS; c++)
		offload_fake_set_fault(lab.fake, (enum offload_fake_call)c, 0, 0, 0);
	CHECK_EQ(lab_check(&lab), 0);
	CHECK_EQ(early, 0);
	CHECK_EQ(late, 0);
	CHECK(lab_revalidate(&lab));
	engine_revalidate(lab.e, true);
	lab.e->cfg.enabled = false;
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	if (exact)
		CHECK_EQ(lab.e->stats.packets, carried);
	CHECK_LE(lab.e->stats.packets, carried);
	printf("%" PRIu64 " steps, %" PRIu64 " flows, %" PRIu64 " ended, %" PRIu64
	       " packets carried, %" PRIu64 " inserted, %" PRIu64 " removed, %" PRIu64
	       " revoked, %" PRIu64 " escalations, %u alarms\n",
		steps, made, ended, carried, lab.e->stats.inserted, lab.e->stats.removed,
		lab.e->stats.revoked, lab.e->stats.escalations, lab.alarms);
	CHECK_GT(lab.e->stats.inserted, 50);
	CHECK_GT(lab.e->stats.revoked, 5);
	CHECK(lab_fini(&lab));
}

static void churn(void)
{
	chaos(false, SECONDS / 2.0);
}

static void churn_and_faults(void)
{
	chaos(true, SECONDS / 2.0);
}

/* --- every error at every call ------------------------------------------------------------------
 */

static void script(void)
{
	uint32_t tcp = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	uint32_t udp = lab_flow(&lab, IP_V6, IP_PROTO_UDP, 2);
	uint32_t plain = lab_flow(&lab, IP_V4, IP_PROTO_UDP, LAB_PLAIN + 4);

	lab_offload(&lab, IP_V4, tcp);
	lab_offload(&lab, IP_V6, udp);
	lab_offload(&lab, IP_V4, plain);
	lab_packet(&lab, IP_V4, tcp, DIR_FORWARD, TCP_ACK, 5);
	lab_run_ms(&lab, 1100);
	lab.hop[2].l2[5]++;
	CHECK(lab_revalidate(&lab));
	lab_run_ms(&lab, 2500);
	flow_tcp_advance(flow_meta(lab.flows, IP_V4, tcp), DIR_FORWARD, TCP_FIN | TCP_ACK);
	lab_request(&lab, OFFLOAD_ENDING, IP_V4, tcp, DIR_FORWARD, 0, 0);
	flow_kill(lab.flows, IP_V6, udp);
	lab_run_ms(&lab, 1100);
	ports_remove(lab.e, 1);
	lab_run_ms(&lab, 20);
	ports_add(lab.e, 1, 1, NULL);
	lab_nominate(&lab, IP_V4, plain, DIR_REPLY, 2);
	lab_nominate(&lab, IP_V4, plain, DIR_FORWARD, 8);
	lab_run_ms(&lab, 50);
}

static void every_error_at_every_call(void)
{
	static const enum offload_fake_call calls[] = {OFFLOAD_FAKE_FACTS, OFFLOAD_FAKE_VALIDATE,
		OFFLOAD_FAKE_NONSENSE, OFFLOAD_FAKE_INSERT, OFFLOAD_FAKE_REMOVE, OFFLOAD_FAKE_QUERY,
		OFFLOAD_FAKE_FLUSH};
	struct lab_config cfg;

	lab_config_default(&cfg);
	cfg.flows = 16;
	cfg.capacity = 128;
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
		for (size_t e = 0; e < ERRORS; e++)
			for (uint32_t nth = 1; nth <= 6; nth++) {
				REQUIRE_EQ(lab_init(&lab, &cfg), 0);
				offload_fake_set_fault(
					lab.fake, calls[c], nth, 1 + nth % 4, errors[e]);
				script();
				offload_fake_set_fault(lab.fake, calls[c], 0, 0, 0);
				lab_run_ms(&lab, 1100);
				CHECK_EQ(lab_check(&lab), 0);
				CHECK(lab_fini(&lab));
			}
}

TEST_SUITE("offload chaos", CASE(churn), CASE(churn_and_faults), CASE(every_error_at_every_call))
