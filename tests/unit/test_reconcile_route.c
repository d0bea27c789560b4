/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Vports, routes and owned addresses from the model to the tables, and what the rim is told in
 * which order (control/reconcile.h). */

#include "unit/reconcile_fixture.h"

static const char node_only[] = "node: {name: n1}\n";

static const char lab[] =
	"node: {name: n1, addresses: [192.0.2.10, '2001:db8:1::10']}\n"
	"vports:\n"
	"- {name: up, role: uplink, kind: tap, mac: 02:00:00:00:00:01,\n"
	"   addresses: [192.0.2.10/24, '2001:db8:1::10/64']}\n"
	"- {name: pod, role: pod, kind: tap, addresses: [10.244.1.5, 'fd00:244:1::5'],\n"
	"   peer-mac: 02:00:00:00:01:05, mtu: 1400}\n"
	"- {name: host, role: host, kind: tap, peer-mac: 02:00:00:00:01:01}\n"
	"routes:\n"
	"- {prefix: 0.0.0.0/0, via: 192.0.2.1}\n"
	"- {prefix: '::/0', via: '2001:db8:1::1'}\n"
	"- {prefix: 198.51.100.0/24, type: blackhole}\n"
	"- {prefix: 198.51.101.0/24, type: prohibit}\n"
	"- {prefix: 198.51.102.0/24, vport: up}\n";

static void start(struct fixture *f, const char *config)
{
	fixture_init(f, config);
	CHECK_EQ(config_apply_model(f->cfg, f->m), 0);
	fixture_settle(f);
}

static const struct vport *vport(struct fixture *f, const char *name)
{
	uint16_t id = reconcile_vport_id(f->r, name);

	return id != 0 ? atomic_load(&f->dp.vports)->at[id] : NULL;
}

static void vports_are_opened_published_and_started(void)
{
	const struct vport *v;
	struct fixture f;

	start(&f, lab);
	CHECK_EQ(f.opened, 3);
	CHECK_EQ(f.started, 3);
	v = vport(&f, "pod");
	REQUIRE(v != NULL);
	CHECK_EQ(v->role, VPORT_POD);
	CHECK_EQ(v->port, 7);
	CHECK_EQ(v->mtu, 1400);
	CHECK(v->up && v->source_guard && v->peer_mac_known);
	CHECK_EQ(v->n_addrs, 2);
	CHECK_EQ(v->mac[0], 0xee);
	CHECK_STR(v->name, "pod");
	v = vport(&f, "up");
	REQUIRE(v != NULL);
	CHECK_EQ(v->n_addrs, 0);
	CHECK_EQ(v->mac[5], 1);
	CHECK_EQ(v->mtu, 1500);
	v = vport(&f, "host");
	REQUIRE(v != NULL);
	CHECK_EQ(v->n_addrs, 2); /* the node's */
	CHECK(!v->source_guard);
	fixture_fini(&f);
	CHECK_EQ(f.stopped, 3);
	CHECK_EQ(f.closed, 3);
}

static void frames_wait_for_the_first_state(void)
{
	struct fixture f;

	fixture_init(&f, lab);
	model_source_await(f.m, SOURCE_SERVICES);
	CHECK_EQ(config_apply_model(f.cfg, f.m), 0);
	fixture_settle(&f);
	CHECK_EQ(f.opened, 3);
	CHECK_EQ(f.started, 0);
	model_source_complete(f.m, SOURCE_SERVICES);
	while (reconcile_step(f.r))
		;
	CHECK(reconcile_ready(f.r));
	CHECK_EQ(f.started, 3);
	fixture_fini(&f);
}

/* Pods reach each other although nobody says which services there are. */
static void frames_do_not_wait_for_ever(void)
{
	struct fixture f;

	fixture_init(&f, lab);
	model_source_await(f.m, SOURCE_SERVICES);
	CHECK_EQ(config_apply_model(f.cfg, f.m), 0);
	fixture_settle(&f);
	f.now_ns += UINT64_C(2500) * 1000000;
	fixture_settle(&f);
	CHECK_EQ(f.started, 0);
	f.now_ns += UINT64_C(1000) * 1000000;
	fixture_settle(&f);
	CHECK(!reconcile_ready(f.r));
	CHECK_EQ(f.started, 3);
	fixture_fini(&f);
}

static void every_kind_of_route(void)
{
	const struct next_hop *nh;
	struct fixture f;

	start(&f, lab);
	nh = hop_to(&f, "10.244.1.5");
	CHECK_EQ(nh->kind, NEXT_HOP_FORWARD);
	CHECK_EQ(nh->vport, reconcile_vport_id(f.r, "pod"));
	CHECK_EQ(nh->l2_len, 14);
	CHECK_EQ(nh->l2[5], 5);
	CHECK_EQ(nh->l2[6], 0xee);
	CHECK_EQ(nh->l2[12] << 8 | nh->l2[13], 0x0800);
	CHECK_EQ(nh->mtu, 1400);
	CHECK_EQ(hop_to(&f, "fd00:244:1::5")->kind, NEXT_HOP_FORWARD);
	CHECK_EQ(hop_to(&f, "192.0.2.10")->vport, reconcile_vport_id(f.r, "host"));
	CHECK_EQ(route_kind(&f, "192.0.2.99"), NEXT_HOP_GLEAN);
	CHECK_EQ(route_kind(&f, "2001:db8:1::99"), NEXT_HOP_GLEAN);
	CHECK_EQ(route_kind(&f, "198.51.102.9"), NEXT_HOP_GLEAN);
	CHECK_EQ(route_kind(&f, "198.51.100.9"), NEXT_HOP_BLACKHOLE);
	CHECK_EQ(route_kind(&f, "198.51.101.9"), NEXT_HOP_PROHIBIT);
	CHECK_EQ(route_kind(&f, "169.254.1.1"), NEXT_HOP_LOCAL);
	CHECK_EQ(route_kind(&f, "fe80::ecee:eeff:feee:eeee"), NEXT_HOP_LOCAL);
	nh = hop_to(&f, "8.8.8.8");
	CHECK_EQ(nh->kind, NEXT_HOP_UNRESOLVED);
	struct ip_addr gw = A("192.0.2.1");

	CHECK(ip_equal(&nh->gateway, &gw));
	CHECK_EQ(route_kind(&f, "2600::1"), NEXT_HOP_UNRESOLVED);
	fixture_fini(&f);
}

static void without_a_host_vport_the_node_answers_itself(void)
{
	struct fixture f;

	start(&f,
		"node: {name: n1, addresses: [192.0.2.10]}\nvports:\n"
		"- {name: up, role: uplink, kind: tap, addresses: [192.0.2.10/24]}\n");
	CHECK_EQ(route_kind(&f, "192.0.2.10"), NEXT_HOP_LOCAL);
	CHECK_EQ(route_kind(&f, "192.0.2.11"), NEXT_HOP_GLEAN);
	CHECK_EQ(route_kind(&f, "8.8.8.8"), NEXT_HOP_NONE);
	fixture_fini(&f);
}

static void owned_addresses_and_icmp_sources(void)
{
	const struct route_domain *d;
	struct fixture f;
	struct ip_addr node4 = A("192.0.2.10"), gw = A("169.254.1.1"), snat = A("192.0.2.77");

	start(&f, lab);
	d = atomic_load(&f.dp.routes);
	REQUIRE_EQ(d->n_owned, 2);
	CHECK_EQ(ip_compare(&d->owned[0], &d->owned[1]) < 0, 1);
	CHECK(ip_equal(&d->icmp_source[IP_V4], &node4));
	CHECK(ip_equal(&d->gateway[IP_V4], &gw));
	fixture_fini(&f);

	start(&f, "node: {name: n1}\nsnat: {addresses: [192.0.2.77]}\n");
	d = atomic_load(&f.dp.routes);
	REQUIRE_EQ(d->n_owned, 1);
	CHECK(ip_equal(&d->owned[0], &snat));
	CHECK(ip_equal(&d->icmp_source[IP_V4], &gw));
	fixture_fini(&f);
}

static void pods_of_other_nodes_are_behind_their_address(void)
{
	struct ip_addr other = A("192.0.2.11"), router = A("192.0.2.1");
	struct model_status st;
	struct fixture f;

	start(&f, lab);
	CHECK_EQ(model_node_set(f.m, node("n1", true, "192.0.2.10", NULL, "10.244.1.0/24")), 0);
	CHECK_EQ(model_node_set(f.m, node("n2", false, "192.0.2.11", NULL, "10.244.2.0/24")), 0);
	/* On another network: behind the default router. */
	CHECK_EQ(model_node_set(f.m, node("n3", false, "203.0.113.3", NULL, "10.244.3.0/24")), 0);
	fixture_settle(&f);
	CHECK_EQ(hop_to(&f, "10.244.2.7")->kind, NEXT_HOP_UNRESOLVED);
	CHECK(ip_equal(&hop_to(&f, "10.244.2.7")->gateway, &other));
	CHECK(ip_equal(&hop_to(&f, "10.244.3.7")->gateway, &router));
	/* An address of ours without a pod must not go round by the default route. */
	CHECK_EQ(route_kind(&f, "10.244.1.77"), NEXT_HOP_PROHIBIT);
	CHECK_EQ(route_kind(&f, "10.244.1.5"), NEXT_HOP_FORWARD);
	/* A family that the node has no address of. */
	CHECK_EQ(model_node_set(f.m, node("n4", false, "192.0.2.14", NULL, "fd00:244:4::/64")), 0);
	fixture_settle(&f);
	REQUIRE(model_find(f.m, MODEL_NODE, "n4", &st) != NULL);
	CHECK_EQ(st.state, MODEL_ERROR);
	CHECK_HAS(st.error, "no route to fd00:244:4::/64");
	CHECK_EQ(model_node_remove(f.m, "n2"), 0);
	fixture_settle(&f);
	CHECK(ip_equal(&hop_to(&f, "10.244.2.7")->gateway, &router));
	fixture_fini(&f);
}

static void a_route_that_cannot_be_is_told(void)
{
	struct model_route *r;
	struct model_status st;
	struct fixture f;
	struct ip_prefix p = P("203.0.113.0/24");

	start(&f, node_only);
	r = model_route_new(&p);
	r->owner = OWNER_API;
	r->has_via = true;
	r->via = A("192.0.2.1");
	CHECK_EQ(model_route_set(f.m, r), 0);
	fixture_settle(&f);
	REQUIRE(model_find(f.m, MODEL_ROUTE, "203.0.113.0/24", &st) != NULL);
	CHECK_EQ(st.state, MODEL_ERROR);
	CHECK_HAS(st.error, "192.0.2.1 is on no uplink's link");
	CHECK_EQ(model_route_remove(f.m, &p, OWNER_CONFIG), -EPERM);
	CHECK_EQ(model_route_remove(f.m, &p, OWNER_API), 0);
	fixture_settle(&f);
	CHECK(model_find(f.m, MODEL_ROUTE, "203.0.113.0/24", &st) == NULL);
	fixture_fini(&f);
}

static void a_vport_that_cannot_be_opened_is_tried_again(void)
{
	struct model_status st;
	struct fixture f;

	fixture_init(&f, lab);
	f.refuse_open = true;
	CHECK_EQ(config_apply_model(f.cfg, f.m), 0);
	fixture_settle(&f);
	CHECK_EQ(f.opened, 0);
	REQUIRE(model_find(f.m, MODEL_VPORT, "pod", &st) != NULL);
	CHECK_EQ(st.state, MODEL_ERROR);
	CHECK_STR(st.error, "no such interface");
	CHECK(vport(&f, "pod") == NULL);
	CHECK_EQ(route_kind(&f, "10.244.1.5"), NEXT_HOP_NONE);
	f.refuse_open = false;
	f.now_ns += 6000000000;
	fixture_settle(&f);
	CHECK_EQ(f.opened, 3);
	REQUIRE(model_find(f.m, MODEL_VPORT, "pod", &st) != NULL);
	CHECK_EQ(st.state, MODEL_APPLIED);
	CHECK_EQ(route_kind(&f, "10.244.1.5"), NEXT_HOP_FORWARD);
	fixture_fini(&f);
}

/* A driver takes its time; the loop has others to serve between two ports. */
static void slow_ports_are_opened_over_several_steps(void)
{
	struct fixture f;
	unsigned steps = 0;

	fixture_init(&f, lab);
	f.tick_ns = 6000000;
	CHECK_EQ(config_apply_model(f.cfg, f.m), 0);
	while (reconcile_step(f.r)) {
		CHECK_LT(f.opened, 3);
		steps++;
	}
	CHECK_GE(steps, 2);
	CHECK_EQ(f.opened, 3);
	fixture_settle(&f);
	CHECK_EQ(f.started, 3);
	fixture_fini(&f);
}

/* Frames stop first, then routes go, then the record, and the port is closed when no worker can
 * know it: one grace period later. */
static void a_removed_vport_goes_in_order(void)
{
	struct fixture f;

	start(&f, lab);
	CHECK_EQ(model_vport_remove(f.m, "pod", OWNER_CONFIG), 0);
	reconcile_step(f.r);
	CHECK_EQ(f.stopped, 1);
	CHECK_EQ(f.closed, 0);
	CHECK(vport(&f, "pod") == NULL);
	CHECK_EQ(route_kind(&f, "10.244.1.5"), NEXT_HOP_UNRESOLVED); /* the default route */
	for (int i = 0; i < 3; i++) {
		f.now_ns += 20000000;
		reconcile_step(f.r);
	}
	CHECK_EQ(f.closed, 0);
	fixture_grace(&f);
	reconcile_step(f.r);
	CHECK_EQ(f.closed, 1);
	CHECK(model_find(f.m, MODEL_VPORT, "pod", NULL) == NULL);
	fixture_fini(&f);
}

/* Another address is a new record; another interface is closed and opened anew, not before the
 * old one is closed. */
static void a_changed_vport_is_opened_anew_only_if_it_must(void)
{
	const struct model_vport *m;
	struct model_vport *v;
	struct fixture f;
	uint16_t id;

	start(&f, lab);
	id = reconcile_vport_id(f.r, "pod");
	m = model_find(f.m, MODEL_VPORT, "pod", NULL);
	for (int round = 0; round < 2; round++) {
		v = model_vport_new("pod");
		v->owner = OWNER_CONFIG;
		v->role = m->role;
		v->mtu = 1300;
		v->has_peer_mac = true;
		v->peer_mac[5] = 9;
		v->addrs = calloc(1, sizeof(*v->addrs));
		v->addrs[v->n_addrs++] = P("10.244.1.6/32");
		v->own_port = model_port_new("pod");
		v->own_port->kind = PORT_TAP;
		v->own_port->promiscuous = true;
		v->own_port->mtu = 1400;
		v->own_port->iface = round == 1 ? strdup("other0") : NULL;
		CHECK_EQ(model_vport_set(f.m, v), 0);
		m = v;
		if (round == 1) {
			reconcile_step(f.r);
			CHECK_EQ(f.stopped, 1);
			CHECK_EQ(f.opened, 3);
		}
		fixture_settle(&f);
		CHECK_EQ(f.opened, round == 0 ? 3 : 4);
		CHECK_EQ(f.closed, round);
		CHECK_EQ(reconcile_vport_id(f.r, "pod") == id, round == 0);
		CHECK_EQ(route_kind(&f, "10.244.1.6"), NEXT_HOP_FORWARD);
		CHECK_EQ(hop_to(&f, "10.244.1.6")->l2[5], 9);
		CHECK_EQ(hop_to(&f, "10.244.1.6")->mtu, 1300);
		CHECK_EQ(route_kind(&f, "10.244.1.5"), NEXT_HOP_UNRESOLVED);
	}
	fixture_fini(&f);
}

/* A prefix routed to a pod: with its MAC configured there is nobody to ask for. */
static void a_peer_with_a_mac_is_the_router_of_its_prefixes(void)
{
	struct model_vport *v;
	struct fixture f;

	start(&f, lab);
	for (int known = 0; known < 2; known++) {
		v = model_vport_new("pod");
		v->owner = OWNER_CONFIG;
		v->role = VPORT_POD;
		v->has_peer_mac = known == 1;
		v->peer_mac[5] = 9;
		v->addrs = calloc(1, sizeof(*v->addrs));
		v->addrs[v->n_addrs++] = P("10.99.0.0/16");
		v->own_port = model_port_new("pod");
		v->own_port->kind = PORT_TAP;
		v->own_port->promiscuous = true;
		CHECK_EQ(model_vport_set(f.m, v), 0);
		fixture_settle(&f);
		CHECK_EQ(route_kind(&f, "10.99.1.2"), known ? NEXT_HOP_FORWARD : NEXT_HOP_GLEAN);
	}
	CHECK_EQ(hop_to(&f, "10.99.1.2")->l2[5], 9);
	CHECK_EQ(hop_to(&f, "10.99.200.1")->id, hop_to(&f, "10.99.1.2")->id);
	fixture_fini(&f);
}

static void equal_routes_keep_the_generation(void)
{
	const struct route_domain *a, *b;
	struct fixture f;

	start(&f, lab);
	a = atomic_load(&f.dp.routes);
	CHECK_GT(a->generation, 0);
	CHECK_EQ(model_node_set(f.m, node("n9", false, "192.0.2.19", NULL, NULL)), 0);
	fixture_settle(&f);
	b = atomic_load(&f.dp.routes);
	CHECK(a == b);
	CHECK_EQ(model_node_set(f.m, node("n9", false, "192.0.2.19", NULL, "10.9.0.0/24")), 0);
	fixture_settle(&f);
	b = atomic_load(&f.dp.routes);
	CHECK(a != b);
	fixture_fini(&f);
}

static void a_neighbour_on_the_link_becomes_a_host_route(void)
{
	struct worker_event ev = {.kind = EVENT_RESOLVE, .addr = A("192.0.2.99")};
	struct reconcile_route routes[64];
	uint16_t glean, up;
	struct fixture f;
	uint32_t n;
	bool seen = false;

	start(&f, lab);
	up = reconcile_vport_id(f.r, "up");
	glean = hop_to(&f, "192.0.2.99")->id;
	ev.vport = up;
	ev.next_hop = glean;
	f.sent = 0;
	neighbours_event(f.nb, &ev, f.now_ns / 1000000);
	CHECK_EQ(f.sent, 1);
	CHECK_EQ(f.last_vport, up);
	CHECK_EQ(f.last_frame[12] << 8 | f.last_frame[13], 0x0806);
	ev.kind = EVENT_NEIGHBOUR;
	ev.solicited = 1;
	ev.mac[0] = 2;
	ev.mac[5] = 0x42;
	neighbours_event(f.nb, &ev, f.now_ns / 1000000);
	fixture_settle(&f);
	CHECK_EQ(hop_to(&f, "192.0.2.99")->kind, NEXT_HOP_FORWARD);
	CHECK_EQ(hop_to(&f, "192.0.2.99")->l2[5], 0x42);
	CHECK_EQ(hop_to(&f, "192.0.2.98")->id, glean);
	n = reconcile_routes_each(f.r, NULL, 64, routes);
	CHECK_GT(n, 10);
	for (uint32_t i = 0; i < n; i++)
		seen |= routes[i].source == ROUTE_FROM_NEIGHBOUR;
	CHECK(seen);
	/* Silent for long: asked three times, then on-link again. */
	for (int i = 0; i < 80; i++) {
		f.now_ns += 1000000000;
		fixture_settle(&f);
	}
	CHECK_EQ(hop_to(&f, "192.0.2.99")->id, glean);
	fixture_fini(&f);
}

static void routes_are_listed_in_pages(void)
{
	struct reconcile_route all[64], page[3];
	struct fixture f;
	uint32_t n, got, at = 0;

	start(&f, lab);
	n = reconcile_routes_each(f.r, NULL, 64, all);
	do {
		got = reconcile_routes_each(f.r, at == 0 ? NULL : &all[at - 1].prefix, 3, page);
		for (uint32_t i = 0; i < got; i++, at++) {
			CHECK_LT(at, n);
			CHECK_MEM(&page[i], &all[at], sizeof(page[i]));
		}
	} while (got == 3);
	CHECK_EQ(at, n);
	fixture_fini(&f);
}

static void uplinks_announce_what_is_owned(void)
{
	struct fixture f;

	start(&f, lab);
	/* One gratuitous ARP, one unsolicited NA; requests for the two routers; none for static
	 * peers. */
	CHECK_GE(f.sent, 2);
	f.sent = 0;
	struct model_node *n = node("n1", true, "192.0.2.10", NULL, NULL);

	CHECK_EQ(model_node_set(f.m, n), 0);
	fixture_settle(&f);
	CHECK_EQ(f.sent, 0);
	fixture_fini(&f);
}

TEST_SUITE("reconcile_route", CASE(vports_are_opened_published_and_started),
	CASE(frames_wait_for_the_first_state), CASE(frames_do_not_wait_for_ever),
	CASE(every_kind_of_route), CASE(without_a_host_vport_the_node_answers_itself),
	CASE(owned_addresses_and_icmp_sources), CASE(pods_of_other_nodes_are_behind_their_address),
	CASE(a_route_that_cannot_be_is_told), CASE(a_vport_that_cannot_be_opened_is_tried_again),
	CASE(slow_ports_are_opened_over_several_steps), CASE(a_removed_vport_goes_in_order),
	CASE(a_changed_vport_is_opened_anew_only_if_it_must),
	CASE(a_peer_with_a_mac_is_the_router_of_its_prefixes),
	CASE(equal_routes_keep_the_generation), CASE(a_neighbour_on_the_link_becomes_a_host_route),
	CASE(routes_are_listed_in_pages), CASE(uplinks_announce_what_is_owned))
