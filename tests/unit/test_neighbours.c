/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Neighbours with a clock in the test's hands: states, retries, next hop records, bounds, what is
 * refused (control/neighbours.h). */

#include <errno.h>

#include "control/neighbours.h"
#include "core/packet.h"
#include "unit/harness.h"

struct world {
	struct dataplane dp;
	struct retire *retire;
	struct neighbours *nb;
	unsigned sent, changed;
	uint8_t frame[128];
	uint16_t frame_len;
};

static struct ip_addr A(const char *text) {
	struct ip_addr a;

	if (ip_parse(text, &a) < 0)
		abort();
	return a;
}

static int
send_frame(void *arg, uint16_t vport, const uint8_t *frame, uint16_t len)
{
	struct world *w = arg;

	(void)vport;
	w->sent++;
	w->frame_len = len;
	memcpy(w->frame, frame, len);
	return 0;
}

static void changed(void *arg)
{
	((struct world *)arg)->changed++;
}

static struct neighbour_vport uplink(uint16_t id)
{
	struct neighbour_vport v;

	memset(&v, 0, sizeof(v));
	v.id = id;
	v.mtu = 1500;
	v.role = VPORT_UPLINK;
	v.mac[0] = 2;
	v.mac[5] = 1;
	v.source[IP_V4] = A("192.0.2.10");
	v.source[IP_V6] = A("2001:db8::10");
	v.n_links = 2;
	ip_prefix_parse("192.0.2.0/24", &v.links[0]);
	ip_prefix_parse("2001:db8::/64", &v.links[1]);
	return v;
}

static void init(struct world *w)
{
	struct neighbours_config cfg = {
		.dp = &w->dp, .send = send_frame, .hosts_changed = changed, .arg = w};
	struct neighbour_vport v = uplink(1);

	memset(w, 0, sizeof(*w));
	if (dataplane_init(&w->dp, NULL) < 0 || retire_init(&w->dp.grace, &w->retire) < 0)
		abort();
	cfg.retire = w->retire;
	if (neighbours_init(&cfg, &w->nb) < 0)
		abort();
	CHECK_EQ(neighbours_vport_set(w->nb, &v), 0);
}

static void grace(struct world *w)
{
	grace_complete(&w->dp.grace, grace_open(&w->dp.grace));
	retire_poll(w->retire);
}

static void fini(struct world *w)
{
	retire_flush(w->retire);
	neighbours_fini(w->nb);
	retire_fini(w->retire);
	dataplane_fini(&w->dp);
}

static void event(struct world *w, enum worker_event_kind kind, const char *addr, uint16_t next_hop,
	uint8_t mac5, bool solicited, uint64_t now)
{
	struct worker_event e = {.kind = (uint8_t)kind,
		.vport = 1,
		.next_hop = next_hop,
		.addr = A(addr),
		.solicited = solicited};

	e.mac[0] = 2;
	e.mac[5] = mac5;
	neighbours_event(w->nb, &e, now);
}

static enum neighbour_state state(struct world *w, const char *addr)
{
	struct neighbour_view v[8];
	struct ip_addr a = A(addr);
	uint32_t n = neighbours_each(w->nb, NULL, 8, v);

	for (uint32_t i = 0; i < n; i++)
		if (ip_equal(&v[i].addr, &a))
			return v[i].state;
	return NEIGHBOUR_STATES;
}

static const struct next_hop *hop(struct world *w, uint16_t id)
{
	return next_hop_get(w->dp.next_hops, id);
}

static void is_asked_and_resolved_in_place(void)
{
	struct ip_addr a = A("192.0.2.1");
	const struct next_hop *before;
	struct world w;
	uint16_t id;

	init(&w);
	id = neighbours_hop(w.nb, 1, &a);
	REQUIRE(id != 0);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_UNRESOLVED);
	CHECK_EQ(hop(&w, id)->id, id);
	CHECK(ip_equal(&hop(&w, id)->gateway, &a));
	CHECK_EQ(w.sent, 0);
	neighbours_poll(w.nb, 1000);
	CHECK_EQ(w.sent, 1);
	/* Broadcast, from our MAC, an ARP request from our address. */
	CHECK_EQ(w.frame[0], 0xff);
	CHECK_EQ(w.frame[11], 1);
	CHECK_EQ(w.frame[21], 1);
	CHECK_EQ(w.frame[31], 10);
	CHECK_EQ(w.frame[41], 1);
	before = hop(&w, id);
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x33, true, 1100);
	CHECK(hop(&w, id) != before);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_FORWARD);
	CHECK_EQ(hop(&w, id)->l2[5], 0x33);
	CHECK_EQ(hop(&w, id)->l2[11], 1);
	CHECK_EQ(hop(&w, id)->l2_len, 14);
	CHECK_EQ(hop(&w, id)->mtu, 1500);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_REACHABLE);
	CHECK_EQ(retire_pending(w.retire), 1);
	grace(&w);
	CHECK_EQ(retire_pending(w.retire), 0);
	fini(&w);
}

static void ipv6_is_asked_by_nd(void)
{
	struct ip_addr a = A("2001:db8::1");
	struct world w;
	uint16_t id;

	init(&w);
	id = neighbours_hop(w.nb, 1, &a);
	neighbours_poll(w.nb, 1000);
	CHECK_EQ(w.sent, 1);
	CHECK_EQ(w.frame[0], 0x33);
	CHECK_EQ(w.frame[12] << 8 | w.frame[13], ETH_TYPE_IPV6);
	CHECK_EQ(w.frame[54], 135);
	event(&w, EVENT_NEIGHBOUR, "2001:db8::1", 0, 0x44, true, 1100);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_FORWARD);
	fini(&w);
}

static void fails_after_three_requests_a_second_apart(void)
{
	struct ip_addr a = A("192.0.2.1");
	struct world w;
	uint16_t id;

	init(&w);
	id = neighbours_hop(w.nb, 1, &a);
	for (uint64_t now = 1000; now < 3950; now += 10)
		neighbours_poll(w.nb, now);
	CHECK_EQ(w.sent, 3);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_INCOMPLETE);
	for (uint64_t now = 3950; now < 20000; now += 10)
		neighbours_poll(w.nb, now);
	CHECK_EQ(w.sent, 3);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_FAILED);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_UNRESOLVED);
	/* A packet that needs it asks again, but not at once after a failure. */
	event(&w, EVENT_RESOLVE, "192.0.2.1", id, 0, false, 20000);
	CHECK_EQ(w.sent, 4);
	event(&w, EVENT_RESOLVE, "192.0.2.1", id, 0, false, 20001);
	CHECK_EQ(w.sent, 4);
	fini(&w);
}

static void ages_and_is_probed(void)
{
	struct ip_addr a = A("192.0.2.1");
	uint64_t now = 1000;
	struct world w;
	uint16_t id;

	init(&w);
	id = neighbours_hop(w.nb, 1, &a);
	neighbours_poll(w.nb, now);
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x33, true, now);
	w.sent = 0;
	for (; now < 1000 + NEIGHBOUR_REACHABLE_MS - 100; now += 100)
		neighbours_poll(w.nb, now);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_REACHABLE);
	for (; state(&w, "192.0.2.1") == NEIGHBOUR_REACHABLE && now < 100000; now += 100)
		neighbours_poll(w.nb, now);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_STALE);
	for (; state(&w, "192.0.2.1") == NEIGHBOUR_STALE && now < 100000; now += 100)
		neighbours_poll(w.nb, now);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_PROBE);
	CHECK_EQ(w.sent, 1);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_FORWARD); /* in use all the time */
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x33, true, now);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_REACHABLE);
	for (uint64_t end = now + 120000; now < end; now += 100)
		neighbours_poll(w.nb, now);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_FAILED);
	CHECK_EQ(w.sent, 4);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_UNRESOLVED);
	fini(&w);
}

static void a_new_mac_is_followed(void)
{
	struct ip_addr a = A("192.0.2.1");
	struct world w;
	uint16_t id;

	init(&w);
	id = neighbours_hop(w.nb, 1, &a);
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x33, true, 1000);
	/* Said unasked: used, but to be confirmed. */
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x34, false, 1100);
	CHECK_EQ(hop(&w, id)->l2[5], 0x34);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_STALE);
	/* The same again unasked confirms nothing. */
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x34, false, 1200);
	CHECK_EQ(state(&w, "192.0.2.1"), NEIGHBOUR_STALE);
	fini(&w);
}

static void a_static_peer_is_never_asked_nor_moved(void)
{
	struct neighbour_vport v = uplink(2);
	struct worker_event e = {.kind = EVENT_NEIGHBOUR, .vport = 2, .addr = A("10.1.0.5")};
	struct ip_addr a = A("10.1.0.5");
	struct neighbours_stats s;
	struct world w;
	uint16_t id;

	init(&w);
	v.role = VPORT_POD;
	v.n_links = 0;
	v.vlan = 0x123;
	v.has_peer_mac = true;
	v.peer_mac[0] = 2;
	v.peer_mac[5] = 0x55;
	CHECK_EQ(neighbours_vport_set(w.nb, &v), 0);
	id = neighbours_hop(w.nb, 2, &a);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_FORWARD);
	CHECK_EQ(hop(&w, id)->l2[5], 0x55);
	CHECK_EQ(hop(&w, id)->l2_len, 18);
	CHECK_EQ(hop(&w, id)->l2[12] << 8 | hop(&w, id)->l2[13], 0x8100);
	CHECK_EQ(hop(&w, id)->l2[14] << 8 | hop(&w, id)->l2[15], 0x0123);
	CHECK_EQ(hop(&w, id)->l2[16] << 8 | hop(&w, id)->l2[17], 0x0800);
	for (uint64_t now = 1000; now < 200000; now += 500)
		neighbours_poll(w.nb, now);
	CHECK_EQ(w.sent, 0);
	e.mac[0] = 2;
	neighbours_event(w.nb, &e, 200000);
	CHECK_EQ(hop(&w, id)->l2[5], 0x55);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.refused, 1);
	/* Configuration gives another: the record changes under the same id. */
	v.peer_mac[5] = 0x66;
	CHECK_EQ(neighbours_vport_set(w.nb, &v), 0);
	CHECK_EQ(hop(&w, id)->l2[5], 0x66);
	fini(&w);
}

static void only_an_on_link_route_makes_neighbours(void)
{
	struct neighbours_stats s;
	struct world w;
	uint16_t glean;

	init(&w);
	glean = neighbours_glean(w.nb, 1);
	REQUIRE(glean != 0);
	CHECK_EQ(neighbours_glean(w.nb, 1), glean);
	CHECK_EQ(hop(&w, glean)->kind, NEXT_HOP_GLEAN);
	/* Who only speaks is not noted. */
	event(&w, EVENT_NEIGHBOUR, "192.0.2.50", 0, 0x50, false, 1000);
	/* A next hop that is no longer the on-link one. */
	event(&w, EVENT_RESOLVE, "192.0.2.50", (uint16_t)(glean + 1), 0, false, 1000);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.neighbours, 0);
	CHECK_EQ(s.refused, 1);
	event(&w, EVENT_RESOLVE, "192.0.2.50", glean, 0, false, 1000);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.dynamic, 1);
	CHECK_EQ(w.sent, 1);
	CHECK_EQ(w.changed, 0); /* no route before it is resolved */
	event(&w, EVENT_NEIGHBOUR, "192.0.2.50", 0, 0x50, true, 1010);
	CHECK_EQ(w.changed, 1);
	fini(&w);
}

static void count_host(void *arg, const struct ip_addr *addr, uint16_t next_hop)
{
	(void)addr;
	CHECK_NE(next_hop, 0);
	(*(unsigned *)arg)++;
}

static void a_scan_is_bounded_and_forgotten(void)
{
	struct neighbours_stats s;
	unsigned hosts = 0;
	struct world w;
	uint16_t glean;

	init(&w);
	glean = neighbours_glean(w.nb, 1);
	for (unsigned i = 0; i < 4 * NEIGHBOURS_PENDING_MAX; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "2001:db8::%x", i + 0x1000);
		event(&w, EVENT_RESOLVE, addr, glean, 0, false, 1000);
	}
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.dynamic, NEIGHBOURS_PENDING_MAX);
	CHECK_EQ(w.sent, NEIGHBOURS_PENDING_MAX);
	for (uint64_t now = 1000; now < 10000; now += 50)
		neighbours_poll(w.nb, now);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.neighbours, 0);
	neighbours_hosts_each(w.nb, count_host, &hosts);
	CHECK_EQ(hosts, 0);
	/* Their ids come back when routes were published without them and a grace period passed. */
	CHECK_EQ(s.next_hops, NEIGHBOURS_PENDING_MAX + 1);
	neighbours_hosts_published(w.nb);
	grace(&w);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.next_hops, 1);
	fini(&w);
}

static void references_are_counted(void)
{
	struct ip_addr a = A("192.0.2.1"), far = A("198.51.100.1");
	struct neighbours_stats s;
	struct world w;
	uint16_t id, id2;

	init(&w);
	id = neighbours_hop(w.nb, 1, &a);
	CHECK_EQ(neighbours_hop(w.nb, 1, &a), id);
	id2 = neighbours_hop(w.nb, 1, &far);
	CHECK_NE(id2, id);
	event(&w, EVENT_NEIGHBOUR, "192.0.2.1", 0, 0x33, true, 1000);
	neighbours_release(w.nb, id);
	neighbours_release(w.nb, id2);
	neighbours_hosts_published(w.nb);
	CHECK_EQ(hop(&w, id)->kind, NEXT_HOP_FORWARD);
	CHECK_EQ(hop(&w, id2)->kind, NEXT_HOP_NONE);
	/* The last route is gone, the neighbour on the link is still known. */
	neighbours_release(w.nb, id);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.neighbours, 1);
	CHECK_EQ(s.dynamic, 1);
	CHECK_EQ(neighbours_hop(w.nb, 1, &a), id);
	neighbours_stats(w.nb, &s);
	CHECK_EQ(s.dynamic, 0);
	fini(&w);
}

static void workers_events_are_taken_in(void)
{
	struct worker_event e = {.kind = EVENT_RESOLVE, .vport = 1, .addr = A("192.0.2.60")};
	static struct worker worker;
	struct world w;

	init(&w);
	e.next_hop = neighbours_glean(w.nb, 1);
	REQUIRE_EQ(worker_init(&worker, &w.dp, 0, NULL), 0);
	for (int i = 0; i < 300; i++)
		CHECK(spsc_put(worker.events, &e));
	CHECK_EQ(neighbours_poll(w.nb, 1000), 0); /* some are left */
	CHECK_GT(neighbours_poll(w.nb, 1000), 0);
	CHECK_EQ(w.sent, 1);
	worker_fini(&worker);
	fini(&w);
}

static void a_list_is_paged_in_order(void)
{
	static const char *const addrs[] = {"192.0.2.9", "192.0.2.1", "2001:db8::1", "192.0.2.5"};
	struct neighbour_view v[4], page[2];
	struct world w;

	init(&w);
	for (int i = 0; i < 4; i++) {
		struct ip_addr a = A(addrs[i]);

		CHECK_NE(neighbours_hop(w.nb, 1, &a), 0);
	}
	CHECK_EQ(neighbours_each(w.nb, NULL, 4, v), 4);
	for (int i = 1; i < 4; i++)
		CHECK_LT(ip_compare(&v[i - 1].addr, &v[i].addr), 0);
	CHECK_EQ(neighbours_each(w.nb, &v[1], 2, page), 2);
	CHECK(ip_equal(&page[0].addr, &v[2].addr));
	CHECK_EQ(neighbours_each(w.nb, &v[3], 2, page), 0);
	fini(&w);
}

static void announces_in_both_families(void)
{
	struct ip_addr v4 = A("192.0.2.10"), v6 = A("2001:db8::10");
	struct world w;

	init(&w);
	neighbours_announce(w.nb, 1, &v4);
	CHECK_EQ(w.frame[12] << 8 | w.frame[13], ETH_TYPE_ARP);
	CHECK_MEM(w.frame + 28, w.frame + 38, 4); /* sender and target are the same */
	neighbours_announce(w.nb, 1, &v6);
	CHECK_EQ(w.frame[54], 136);
	CHECK_EQ(w.sent, 2);
	fini(&w);
}

TEST_SUITE("neighbours", CASE(is_asked_and_resolved_in_place), CASE(ipv6_is_asked_by_nd),
	CASE(fails_after_three_requests_a_second_apart), CASE(ages_and_is_probed),
	CASE(a_new_mac_is_followed), CASE(a_static_peer_is_never_asked_nor_moved),
	CASE(only_an_on_link_route_makes_neighbours), CASE(a_scan_is_bounded_and_forgotten),
	CASE(references_are_counted), CASE(workers_events_are_taken_in),
	CASE(a_list_is_paged_in_order), CASE(announces_in_both_families))
