/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Flows come to hardware and leave it: who is chosen, what ends a rule, what changes of the
 * configuration take out, what a device's errors do. On the device in memory, in virtual time. */

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

/* Both families, TCP and UDP, with and without translation: packets are carried, counted, and keep
 * the flow alive; control packets are not carried. */
static void elephants_come_to_hardware(void)
{
	static const uint8_t protos[] = {IP_PROTO_TCP, IP_PROTO_UDP};

	begin();
	for (int f = 0; f < IP_FAMILIES; f++)
		for (unsigned p = 0; p < 2; p++)
			for (unsigned plain = 0; plain < 2; plain++) {
				uint32_t n = 10 + p + (plain ? LAB_PLAIN : 0);
				uint32_t e = lab_flow(&lab, f, protos[p], n);

				REQUIRE(e != FLOW_NONE);
				CHECK(!lab_packet(&lab, f, e, DIR_FORWARD, TCP_ACK, 1));
				lab_offload(&lab, f, e);
				CHECK(lab_in_hardware(&lab, f, e));
				CHECK(lab_packet(&lab, f, e, DIR_FORWARD, TCP_ACK, 100));
				CHECK(lab_packet(&lab, f, e, DIR_REPLY, TCP_ACK, 7));
				if (protos[p] == IP_PROTO_TCP)
					CHECK(!lab_packet(
						&lab, f, e, DIR_FORWARD, TCP_ACK | TCP_FIN, 1));
			}
	CHECK_EQ(lab.e->n_in, 8);
	lab_run_ms(&lab, 1100);
	CHECK_EQ(lab.e->stats.packets, 8 * 107);
	CHECK_EQ(lab.e->stats.bytes, 8 * 107 * 1400);
	end();
}

static void idle_time_is_kept_by_hits(void)
{
	uint32_t e;

	begin();
	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	lab.tunables.timeouts.ms[FLOW_CLASS_UDP][FLOW_REPLIED] = 20000;
	lab_offload(&lab, IP_V4, e);
	for (int i = 0; i < 60; i++) {
		CHECK(lab_packet(&lab, IP_V4, e, DIR_FORWARD, 0, 10));
		lab_run_ms(&lab, 1000);
	}
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	/* Silence: it dies by its idle time, and its rules with it. */
	lab_run_ms(&lab, 32000);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	CHECK_EQ(flow_stats(lab.flows, IP_V4, 0)->used, 0);
	end();
}

/* Nominations stand for 64 packets, or for 8, whatever the engine would ask for. */
static void look_closely(bool closely)
{
	uint32_t shift = closely ? OFFLOAD_SHIFT_MIN : OFFLOAD_SHIFT_MAX;

	for (int i = 0; i < 8; i++) {
		lab_run_ms(&lab, 100);
		atomic_store(&lab.dp.offload_shift, shift);
	}
}

static void slow_flows_stay(void)
{
	struct lab_config cfg;
	uint32_t e;

	lab_config_default(&cfg);
	cfg.offload.min_pps = 128;
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
	look_closely(false);
	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 1);
	lab_run_ms(&lab, 2000);
	CHECK(!lab_in_hardware(&lab, IP_V4, e));
	CHECK_EQ(lab.e->stats.too_slow, 1);
	lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 1);
	lab_nominate(&lab, IP_V4, e, DIR_REPLY, 1);
	lab_run_ms(&lab, 20);
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	/* No hit for half a minute: the place is given up, the flow lives. */
	lab_run_ms(&lab, 60000);
	CHECK(!lab_in_hardware(&lab, IP_V4, e));
	CHECK_EQ(lab.e->stats.demoted, 1);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_TooSlow);
	CHECK_EQ(flow_stats(lab.flows, IP_V4, 0)->used, 1);
	end();
}

/* While the table is empty everything comes that was nominated; of the last places a flow that was
 * seen twice takes one before a flow that was seen once. */
static void last_places_are_for_flows_seen_again(void)
{
	struct lab_config cfg;
	uint32_t once, twice;

	lab_config_default(&cfg);
	cfg.capacity = 100;
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
	for (uint32_t n = 0; n < 90; n++)
		lab_nominate(&lab, IP_V4, lab_flow(&lab, IP_V4, IP_PROTO_UDP, n), DIR_FORWARD, 1);
	lab_run_ms(&lab, 800);
	CHECK_EQ(lab.e->cap.used, 90);
	once = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 100);
	twice = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 101);
	lab_nominate(&lab, IP_V4, once, DIR_FORWARD, 1);
	lab_nominate(&lab, IP_V4, twice, DIR_FORWARD, 2);
	lab_run_ms(&lab, 500);
	CHECK(lab_packet(&lab, IP_V4, twice, DIR_FORWARD, 0, 1));
	CHECK(!lab_packet(&lab, IP_V4, once, DIR_FORWARD, 0, 1));
	lab_run_ms(&lab, 400);
	CHECK(lab_packet(&lab, IP_V4, once, DIR_FORWARD, 0, 1));
	end();
}

/* Workers look closely while there is room that nominations fill, and no more when there is none,
 * or when nothing comes of it. */
static void workers_look_closely_while_it_pays(void)
{
	struct lab_config cfg;
	uint32_t e;

	lab_config_default(&cfg);
	cfg.capacity = 100;
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
	CHECK_EQ(atomic_load(&lab.dp.offload_shift), OFFLOAD_SHIFT_MIN);
	/* Nothing comes of flows that are no flows of ports of the NIC. */
	lab.vport[2].port = 9;
	for (uint32_t n = 0; n < 40; n++) {
		e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 100);
		lab_run_ms(&lab, 20);
	}
	CHECK_EQ(atomic_load(&lab.dp.offload_shift), OFFLOAD_SHIFT_MAX);
	lab.vport[2].port = 1;
	for (uint32_t n = 40; n < 80; n++) {
		e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 2);
		lab_run_ms(&lab, 10);
	}
	CHECK_EQ(lab.e->n_in, 40);
	CHECK_EQ(atomic_load(&lab.dp.offload_shift), OFFLOAD_SHIFT_MIN);
	for (uint32_t n = 80; n < 160; n++) {
		e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 2);
		lab_run_ms(&lab, 10);
	}
	CHECK_EQ(lab.e->cap.used, 99);
	CHECK_EQ(atomic_load(&lab.dp.offload_shift), OFFLOAD_SHIFT_MAX);
	end();
}

/* A device that is slow to answer makes polls late, not more. */
static void late_polls_are_no_more(void)
{
	uint64_t before;
	uint32_t e;

	begin();
	for (uint32_t n = 0; n < 60; n++) {
		e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 2);
	}
	lab_run_ms(&lab, 100);
	CHECK_EQ(lab.e->n_in, 60);
	offload_fake_set_latency(lab.fake, OFFLOAD_FAKE_QUERY, 20000);
	before = offload_fake_calls(lab.fake, OFFLOAD_FAKE_QUERY);
	for (int i = 0; i < 25; i++) {
		for (uint32_t n = 0; n < 60; n++)
			lab_packet(&lab, IP_V4, n, DIR_FORWARD, 0, 9);
		lab_run_ms(&lab, 1000);
	}
	/* At 1 s, 10 s later, and again. */
	CHECK_LE(offload_fake_calls(lab.fake, OFFLOAD_FAKE_QUERY) - before, 60 * 3);
	CHECK_EQ(lab.e->n_in, 60);
	end();
}

/* The reasons that derivation gives. */
static void what_may_not_come(void)
{
	struct flow_meta *m;
	uint32_t e;

	begin();
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	m = flow_meta(lab.flows, IP_V4, e);
	flow_cold_array(lab.flows, IP_V4)[e].created_ms = lab_now_ms(&lab) - 10;
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_TooYoung);
	m->state = FLOW_FIN;
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_NotEstablished);
	m->state = FLOW_ESTABLISHED;
	lab_run_ms(&lab, 1000);

	lab.vport[2].mtu = 1400;
	lab.hop[2].mtu = 1400;
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_MtuShrinks);
	lab.hop[2].mtu = 1500;
	lab.hop[2].kind = NEXT_HOP_UNRESOLVED;
	lab_run_ms(&lab, 1100);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_NextHopUnresolved);
	lab.hop[2].kind = NEXT_HOP_FORWARD;
	lab.hop[2].vport = 3;
	lab_run_ms(&lab, 2100);
	lab_offload(&lab, IP_V4, e);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_PortNotEthdev);
	lab.hop[2].vport = 2;
	lab.vport[1].source_guard = true;
	lab_run_ms(&lab, 4100);
	lab_offload(&lab, IP_V4, e);
	CHECK(!lab_in_hardware(&lab, IP_V4, e));
	lab.vport[1].source_guard = false;
	lab_run_ms(&lab, 8100);
	lab_offload(&lab, IP_V4, e);
	CHECK(lab_in_hardware(&lab, IP_V4, e));

	/* One direction only was ever seen: of TCP nothing, of UDP what was. */
	e = lab_flow(&lab, IP_V6, IP_PROTO_TCP, 2);
	lab_nominate(&lab, IP_V6, e, DIR_FORWARD, 9);
	lab_run_ms(&lab, 50);
	CHECK_EQ(lab_word(&lab, IP_V6, e, DIR_FORWARD), 0);
	e = lab_flow(&lab, IP_V6, IP_PROTO_UDP, 3);
	lab_nominate(&lab, IP_V6, e, DIR_FORWARD, 9);
	lab_run_ms(&lab, 50);
	CHECK(lab_packet(&lab, IP_V6, e, DIR_FORWARD, 0, 1));
	CHECK(!lab_packet(&lab, IP_V6, e, DIR_REPLY, 0, 1));
	/* The other follows when it is seen. */
	lab_nominate(&lab, IP_V6, e, DIR_REPLY, 1);
	lab_run_ms(&lab, 50);
	CHECK(lab_in_hardware(&lab, IP_V6, e));

	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 4);
	lab_request(&lab, OFFLOAD_EXCLUDE, IP_V4, e, DIR_FORWARD, OFFLOAD_Fragments, 0);
	lab_run_ms(&lab, 50);
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_Fragments);
	end();
}

/* FIN by a request, a kill by anybody, an id of another life. */
static void ends_take_the_rules_out(void)
{
	uint32_t e, other;

	begin();
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	lab_offload(&lab, IP_V4, e);
	flow_tcp_advance(flow_meta(lab.flows, IP_V4, e), DIR_FORWARD, TCP_FIN | TCP_ACK);
	lab_request(&lab, OFFLOAD_ENDING, IP_V4, e, DIR_FORWARD, 0, 0);
	lab_run_ms(&lab, 20);
	CHECK(!lab_packet(&lab, IP_V4, e, DIR_FORWARD, TCP_ACK, 1));
	CHECK(!lab_packet(&lab, IP_V4, e, DIR_REPLY, TCP_ACK, 1));
	CHECK_EQ(reason(IP_V4, e, DIR_REPLY), OFFLOAD_NotEstablished);

	/* The request was lost: the poll sees it. */
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 2);
	lab_offload(&lab, IP_V4, e);
	flow_tcp_advance(flow_meta(lab.flows, IP_V4, e), DIR_FORWARD, TCP_RST);
	lab_run_ms(&lab, 1100);
	CHECK(!lab_packet(&lab, IP_V4, e, DIR_FORWARD, TCP_ACK, 1));

	/* Killed: the same tuple is refused until the rules are out, and fresh afterwards. */
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 3);
	lab_offload(&lab, IP_V4, e);
	CHECK(flow_kill(lab.flows, IP_V4, e));
	CHECK_EQ(lab_flow(&lab, IP_V4, IP_PROTO_TCP, 3), FLOW_NONE);
	CHECK(lab_packet(&lab, IP_V4, e, DIR_FORWARD, TCP_ACK, 1));
	lab_run_ms(&lab, 20);
	CHECK(!lab_packet(&lab, IP_V4, e, DIR_FORWARD, TCP_ACK, 1));
	other = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 3);
	CHECK_NE(other, FLOW_NONE);
	CHECK_EQ(lab_word(&lab, IP_V4, other, DIR_FORWARD), 0);
	end();
}

/* A pass takes out what would be made otherwise now, and only that. */
static void configuration_takes_rules_out(void)
{
	uint32_t a, b;

	begin();
	a = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	b = lab_flow(&lab, IP_V6, IP_PROTO_UDP, LAB_PLAIN);
	lab_offload(&lab, IP_V4, a);
	lab_offload(&lab, IP_V6, b);
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(lab.e->stats.removed, 0);

	/* The neighbour's address changed: said anew, and in again without being counted. */
	lab.hop[2].l2[5] = 77;
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(lab.e->stats.revoked, 2);
	lab_run_ms(&lab, 50);
	CHECK(lab_in_hardware(&lab, IP_V4, a));
	CHECK(lab_in_hardware(&lab, IP_V6, b));

	/* A pod's vport goes down: nothing passes once the ticket has settled. */
	lab.vport[2].up = false;
	CHECK(lab_revalidate(&lab));
	CHECK(!lab_packet(&lab, IP_V4, a, DIR_FORWARD, TCP_ACK, 1));
	CHECK(!lab_packet(&lab, IP_V6, b, DIR_REPLY, 0, 1));
	CHECK_EQ(reason(IP_V4, a, DIR_FORWARD), OFFLOAD_PortGone);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	end();
}

static void ttl_is_matched(void)
{
	uint32_t e;

	begin();
	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK(lab_packet(&lab, IP_V4, e, DIR_FORWARD, 0, 100));
	lab_run_ms(&lab, 1500);
	lab_request(&lab, OFFLOAD_NOMINATE, IP_V4, e, DIR_FORWARD, 1400, LAB_TTL - 1);
	lab_run_ms(&lab, 50);
	CHECK_EQ(lab.e->stats.ttl_changed, 1);
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	CHECK(!lab_packet(&lab, IP_V4, e, DIR_FORWARD, 0, 100));
	end();
}

/* Accepted, and never hit: packets keep coming although a rule is there. */
static void silent_rules_are_quarantined(void)
{
	uint32_t e;

	begin();
	offload_fake_port(lab.fake, 0)->no_hit = true;
	offload_fake_port(lab.fake, 1)->no_hit = true;
	e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	for (int i = 0; i < 40; i++) {
		lab_run_ms(&lab, 1000);
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 5);
	}
	lab_run_ms(&lab, 100);
	CHECK(!lab_in_hardware(&lab, IP_V4, e));
	CHECK_EQ(reason(IP_V4, e, DIR_FORWARD), OFFLOAD_ShapeQuarantined);
	CHECK_GT(lab.alarms, 0);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	end();
}

/* The device is smaller than said: the table learns, nothing is retried in a storm. */
static void full_device(void)
{
	uint64_t calls;
	uint32_t e;

	begin();
	offload_fake_set_capacity(lab.fake, 20);
	for (uint32_t n = 0; n < 30; n++) {
		e = lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
		lab_nominate(&lab, IP_V4, e, DIR_REPLY, 2);
		lab_nominate(&lab, IP_V4, e, DIR_FORWARD, 8);
	}
	lab_run_ms(&lab, 2000);
	CHECK_LE(lab.e->cap.learned, 20);
	CHECK_EQ(lab.e->cap.used, 20);
	calls = offload_fake_calls(lab.fake, OFFLOAD_FAKE_INSERT);
	for (uint32_t n = 0; n < 30; n++)
		lab_nominate(&lab, IP_V4, n, DIR_FORWARD, 8);
	lab_run_ms(&lab, 3000);
	CHECK_LT(offload_fake_calls(lab.fake, OFFLOAD_FAKE_INSERT) - calls, 8);
	/* It has grown: found out again, a step at a time. */
	offload_fake_set_capacity(lab.fake, 256);
	for (int i = 0; i < 60; i++) {
		for (uint32_t n = 0; n < 30; n++) {
			lab_nominate(&lab, IP_V4, n, DIR_FORWARD, 8);
			lab_packet(&lab, IP_V4, n, DIR_FORWARD, 0, 100);
		}
		lab_run_ms(&lab, 5000);
	}
	CHECK_GT(lab.e->cap.learned, 24);
	end();
}

/* A full table: twice as fast as the slowest takes its place, after five seconds. */
static void faster_flows_take_places(void)
{
	struct lab_config cfg;
	uint32_t slow, fast;

	lab_config_default(&cfg);
	cfg.capacity = 2;
	REQUIRE_EQ(lab_init(&lab, &cfg), 0);
	slow = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	fast = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 2);
	lab_nominate(&lab, IP_V4, fast, DIR_REPLY, 1);
	lab_offload(&lab, IP_V4, slow);
	for (int i = 0; i < 30; i++) {
		CHECK(lab_packet(&lab, IP_V4, slow, DIR_FORWARD, 0, 40));
		lab_nominate(&lab, IP_V4, fast, DIR_FORWARD, 1);
		lab_run_ms(&lab, 100);
	}
	CHECK(lab_in_hardware(&lab, IP_V4, slow));
	CHECK_EQ(reason(IP_V4, fast, DIR_FORWARD), OFFLOAD_TableFull);
	for (int i = 0; i < 150 && !lab_in_hardware(&lab, IP_V4, fast); i++) {
		lab_packet(&lab, IP_V4, slow, DIR_FORWARD, 0, 4);
		lab_nominate(&lab, IP_V4, fast, DIR_FORWARD, 2);
		lab_run_ms(&lab, 100);
	}
	CHECK(lab_in_hardware(&lab, IP_V4, fast));
	CHECK(!lab_in_hardware(&lab, IP_V4, slow));
	CHECK_EQ(lab.e->stats.evicted, 1);
	end();
}

static void breaker_opens_and_closes(void)
{
	uint64_t calls, probed;

	begin();
	probed = offload_fake_calls(lab.fake, OFFLOAD_FAKE_INSERT);
	for (uint32_t n = 0; n < 20; n++)
		lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_INSERT, 1, 1000, -EBUSY);
	for (uint32_t n = 0; n < 20; n++)
		lab_offload(&lab, IP_V4, n);
	CHECK_EQ(lab.e->port[0].stats.breaker_opened, 1);
	calls = offload_fake_calls(lab.fake, OFFLOAD_FAKE_INSERT);
	CHECK_EQ(calls - probed, 8);
	CHECK_EQ(reason(IP_V4, 19, DIR_FORWARD), OFFLOAD_BreakerOpen);
	/* One tries, and fails: longer. */
	lab_run_ms(&lab, 64000);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_INSERT, 1, 1, -EBUSY);
	lab_offload(&lab, IP_V4, 0);
	lab_offload(&lab, IP_V4, 1);
	CHECK_EQ(offload_fake_calls(lab.fake, OFFLOAD_FAKE_INSERT), calls + 1);
	lab_run_ms(&lab, 2100);
	lab_offload(&lab, IP_V4, 2);
	CHECK(lab_in_hardware(&lab, IP_V4, 2));
	lab_offload(&lab, IP_V4, 3);
	CHECK(lab_in_hardware(&lab, IP_V4, 3));
	end();
}

/* The one that may try is refused before the device is asked: the next one tries. */
static void breaker_waits_for_a_call(void)
{
	uint32_t refused, e;

	begin();
	refused = lab_flow(&lab, IP_V6, IP_PROTO_UDP, 1);
	lab_offload(&lab, IP_V6, refused);
	CHECK(lab_in_hardware(&lab, IP_V6, refused));
	for (int d = 0; d < 2; d++)
		offload_caps_quarantine(lab.e->port[d].caps, lab.e->at[0].leg[d].shape);
	engine_revalidate(lab.e, true);
	CHECK(lab_revalidate(&lab));
	for (uint32_t n = 0; n < 8; n++)
		lab_flow(&lab, IP_V4, IP_PROTO_UDP, n);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_INSERT, 1, 8, -EBUSY);
	for (e = 0; e < 8; e++)
		lab_offload(&lab, IP_V4, e);
	CHECK_EQ(lab.e->port[0].stats.breaker_opened, 1);
	lab_run_ms(&lab, 2000);
	lab_offload(&lab, IP_V6, refused);
	CHECK(!lab_in_hardware(&lab, IP_V6, refused));
	lab_offload(&lab, IP_V4, 0);
	CHECK(lab_in_hardware(&lab, IP_V4, 0));
	end();
}

/* Stale rules of an earlier life that do not go: the port does not take part, and does not pass. */
static void port_that_cannot_be_flushed(void)
{
	begin();
	ports_remove(lab.e, 1);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_FLUSH, 1, 2, -EIO);
	CHECK_EQ(ports_add(lab.e, 1, 1, NULL), 0);
	CHECK_EQ(lab.e->port[1].state, PORT_READY);
	ports_remove(lab.e, 1);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_FLUSH, 1, 3, -EIO);
	CHECK_EQ(ports_add(lab.e, 1, 1, NULL), -EIO);
	CHECK_EQ(lab.e->port[1].state, PORT_STOPPED);
	CHECK(offload_fake_port(lab.fake, 1)->stopped);
	end();
}

/* Both ports of a flow have another one as proxy, and are to be added again. */
static void give_proxy(void)
{
	for (uint16_t port = 0; port < 2; port++) {
		ports_remove(lab.e, port);
		offload_fake_port(lab.fake, port)->facts.proxy = 2;
	}
	offload_fake_port(lab.fake, 2)->facts.proxy = 2;
}

/* Both ports of a flow have another one as proxy, and it leaves with them. */
static void device_leaves_with_its_proxy(void)
{
	uint32_t e;

	begin();
	give_proxy();
	for (uint16_t port = 3; port-- > 0;)
		CHECK_EQ(ports_add(lab.e, port, port, NULL), 0);
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	for (uint16_t port = 0; port < 3; port++)
		offload_fake_unplug(lab.fake, port);
	lab.vport[2].up = false;
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(lab.e->cap.used, 0);
	CHECK_EQ(lab.e->port[2].state, PORT_GONE);
	end();
}

/* A proxy comes back: what others had on it is out by its flush, and known to be. */
static void proxy_comes_back(void)
{
	uint32_t e;

	begin();
	give_proxy();
	for (uint16_t port = 0; port < 2; port++)
		CHECK_EQ(ports_add(lab.e, port, port, NULL), 0);
	e = lab_flow(&lab, IP_V4, IP_PROTO_TCP, 1);
	lab_offload(&lab, IP_V4, e);
	CHECK(lab_in_hardware(&lab, IP_V4, e));
	CHECK_EQ(ports_add(lab.e, 2, 2, NULL), 0);
	CHECK_EQ(lab_check(&lab), 0);
	end();
}

/* The probe's own rule cannot be removed: a flush takes it. */
static void canary_does_not_stay(void)
{
	begin();
	ports_remove(lab.e, 1);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_REMOVE, 1, 3, -EIO);
	CHECK_EQ(ports_add(lab.e, 1, 1, NULL), 0);
	/* The device in memory lets go of a rule with its handle: the flush is what can be seen. */
	CHECK_GT(lab.e->stats.escalations, 0);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	end();
}

/* A rule that cannot be removed: its port is flushed, then stopped. */
static void revocation_escalates(void)
{
	uint32_t a, b;

	begin();
	a = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	b = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 2);
	lab_offload(&lab, IP_V4, a);
	lab_offload(&lab, IP_V4, b);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_REMOVE, 1, 1000, -EBUSY);
	lab.vport[2].up = false;
	CHECK(lab_revalidate(&lab));
	CHECK_EQ(lab.e->stats.escalations, 1);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	CHECK_EQ(lab_check(&lab), 0);

	lab.vport[2].up = true;
	lab_run_ms(&lab, 1000);
	lab_offload(&lab, IP_V4, a);
	CHECK(lab_in_hardware(&lab, IP_V4, a));
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_FLUSH, 1, 1000, -EBUSY);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_STOP, 1, 3, -EIO);
	lab.vport[2].up = false;
	/* Nothing confirms: no ticket settles, and it is tried again. */
	CHECK_EQ(engine_revalidate(lab.e, false), 2);
	lab_run_ms(&lab, 500);
	CHECK_EQ(lab.e->pass_done, 1);
	CHECK(lab_packet(&lab, IP_V4, a, DIR_FORWARD, 0, 1));
	lab_run_ms(&lab, 5000);
	CHECK_EQ(lab.e->pass_done, 2);
	CHECK(offload_fake_port(lab.fake, 0)->stopped);
	CHECK(!lab_packet(&lab, IP_V4, a, DIR_FORWARD, 0, 1));
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_REMOVE, 0, 0, 0);
	offload_fake_set_fault(lab.fake, OFFLOAD_FAKE_FLUSH, 0, 0, 0);
	CHECK(lab_fini(&lab));
}

static void port_leaves(void)
{
	uint32_t a, b;

	begin();
	a = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	b = lab_flow(&lab, IP_V6, IP_PROTO_TCP, 2);
	lab_offload(&lab, IP_V4, a);
	lab_offload(&lab, IP_V6, b);
	offload_fake_unplug(lab.fake, 0);
	lab_run_ms(&lab, 1100);
	CHECK(!lab_in_hardware(&lab, IP_V4, a));
	CHECK_EQ(reason(IP_V6, b, DIR_FORWARD), OFFLOAD_PortGone);
	CHECK_EQ(lab.e->port[0].state, PORT_GONE);
	CHECK_EQ(lab.e->cap.used, 0);
	end();

	/* Politely. */
	begin();
	a = lab_flow(&lab, IP_V4, IP_PROTO_UDP, 1);
	lab_offload(&lab, IP_V4, a);
	ports_remove(lab.e, 1);
	CHECK_EQ(offload_fake_rules(lab.fake, OFFLOAD_NO_PORT), 0);
	CHECK_EQ(reason(IP_V4, a, DIR_FORWARD), OFFLOAD_PortGone);
	lab_run_ms(&lab, 2000);
	CHECK_EQ(ports_add(lab.e, 1, 1, NULL), 0);
	lab_offload(&lab, IP_V4, a);
	CHECK(lab_in_hardware(&lab, IP_V4, a));
	end();
}

TEST_SUITE("offload engine", CASE(elephants_come_to_hardware), CASE(idle_time_is_kept_by_hits),
	CASE(slow_flows_stay), CASE(last_places_are_for_flows_seen_again),
	CASE(workers_look_closely_while_it_pays), CASE(late_polls_are_no_more),
	CASE(what_may_not_come), CASE(ends_take_the_rules_out), CASE(configuration_takes_rules_out),
	CASE(ttl_is_matched), CASE(silent_rules_are_quarantined), CASE(full_device),
	CASE(faster_flows_take_places), CASE(breaker_opens_and_closes),
	CASE(breaker_waits_for_a_call), CASE(port_that_cannot_be_flushed),
	CASE(device_leaves_with_its_proxy), CASE(proxy_comes_back), CASE(canary_does_not_stay),
	CASE(revocation_escalates), CASE(port_leaves))
