/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Hardware does what software does, to the byte: the real pipelines make a flow, its rules are
 * derived, said in the dialect that the probe found, and the emulated e-switch gets the very
 * frames that the pipelines got. Every profile, both families and protocols, every kind of
 * translation, both directions; and what must come to software comes there untouched. */

#include "nic_lab.h"
#include "offload/caps.h"
#include "offload/derive.h"
#include "packet/text.h"
#include "packet/world.h"

/* --- the switch in software ------------------------------------------------------------------- */

static const char *const statements[] = {
	"vport 1 pod mac=02:00:00:00:00:01 peer=02:00:00:00:01:01 addr=10.244.1.11 "
	"addr=fd00:10:244:1::11 guard",
	"vport 2 pod mac=02:00:00:00:00:02 peer=02:00:00:00:01:02 addr=10.244.1.12 "
	"addr=fd00:10:244:1::12 guard",
	"vport 9 uplink mac=02:00:00:00:00:09 peer=02:00:00:00:09:01",
	"nexthop 1 forward vport=1 dmac=02:00:00:00:01:01",
	"nexthop 2 forward vport=2 dmac=02:00:00:00:01:02",
	"nexthop 9 forward vport=9 dmac=02:00:00:00:09:01",
	"route 10.244.1.11/32 1",
	"route fd00:10:244:1::11/128 1",
	"route 10.244.1.12/32 2",
	"route fd00:10:244:1::12/128 2",
	"route 0.0.0.0/0 9",
	"route ::/0 9",
	"owned 192.0.2.10",
	"owned 2001:db8:1::10",
	"snat 192.0.2.10 ports=1024-65535 avoid=30000-32767",
	"snat 2001:db8:1::10",
	"egress 10.244.0.0/16 fd00:10:244::/48 192.0.2.0/24 2001:db8:1::/64",
	"node-port-addr 192.0.2.10",
	"node-port-addr 2001:db8:1::10",
	"service TCP 10.96.0.10:80 -> 10.244.1.12:8080@local",
	"service UDP 10.96.0.10:80 -> 10.244.1.12:8080@local",
	"service TCP [fd00:10:96::10]:80 -> [fd00:10:244:1::12]:8080@local",
	"service UDP [fd00:10:96::10]:80 -> [fd00:10:244:1::12]:8080@local",
	"service TCP 192.0.2.10:30080 kind=nodeport -> 10.244.1.12:8080@local",
	"service UDP 192.0.2.10:30080 kind=nodeport -> 10.244.1.12:8080@local",
	"service TCP [2001:db8:1::10]:30080 kind=nodeport -> [fd00:10:244:1::12]:8080@local",
	"service UDP [2001:db8:1::10]:30080 kind=nodeport -> [fd00:10:244:1::12]:8080@local",
};

/* The vports' places in the NIC, which are the rim's indices here as well. */
static unsigned place_of(uint16_t vport)
{
	return vport == 9 ? 0 : vport;
}

enum kind {
	PLAIN,
	DNAT,
	SNAT,
	DNAT_SNAT,
	KINDS
};

/* From whom to whom, as the client says it. */
static const struct {
	uint16_t vport;
	const char *src[2], *dst[2];
} talks[KINDS] = {
	[PLAIN] = {1, {"10.244.1.11:4000", "[fd00:10:244:1::11]:4000"},
		{"10.244.1.12:9000", "[fd00:10:244:1::12]:9000"}},
	[DNAT] = {1, {"10.244.1.11:4000", "[fd00:10:244:1::11]:4000"},
		{"10.96.0.10:80", "[fd00:10:96::10]:80"}},
	[SNAT] = {1, {"10.244.1.11:4000", "[fd00:10:244:1::11]:4000"},
		{"8.8.8.8:9000", "[2001:db8:2::1]:9000"}},
	[DNAT_SNAT] = {9, {"203.0.114.7:5000", "[2001:db8:7::7]:5000"},
		{"192.0.2.10:30080", "[2001:db8:1::10]:30080"}},
};

struct software {
	struct world *world;
	struct bench *bench;
};

static void software_up(struct software *s)
{
	char line[256], err[200];

	REQUIRE_EQ(world_new(&s->world), 0);
	for (unsigned i = 0; i < RTE_DIM(statements); i++) {
		snprintf(line, sizeof(line), "%s", statements[i]);
		REQUIRE_EQ(world_statement(s->world, line, err, sizeof(err)), 1);
	}
	s->bench = world_bench(s->world);
	for (uint16_t id = 1; id <= 9; id++) {
		struct vport *v = (struct vport *)(uintptr_t)s->bench->vports.at[id];

		if (v != NULL)
			v->port = (uint8_t)place_of(id);
	}
}

static void software_down(struct software *s)
{
	world_free(s->world);
}

/* One packet in, one out: its vport. */
static uint16_t software_pass(
	struct software *s, uint16_t vport, const struct frame *in, struct frame *out)
{
	const uint8_t *at = in->data;
	struct bench_packet *p = &s->bench->out[0];
	uint16_t to;

	bench_receive(s->bench, vport, &at, &in->len, 1);
	REQUIRE_EQ(s->bench->n_out, 1);
	out->len = p->len;
	memcpy(out->data, p->data, p->len);
	to = p->vport;
	bench_packet_free(s->bench, p);
	s->bench->n_out = 0;
	return to;
}

static void frame_of(struct software *s, uint16_t vport, struct text_packet *p, struct frame *out)
{
	const struct vport *v = s->bench->vports.at[vport];

	memcpy(p->dmac, v->mac, 6);
	memcpy(p->smac, v->peer_mac, 6);
	out->len = text_build(p, out->data, sizeof(out->data));
}

/* --- one conversation ------------------------------------------------------------------------- */

struct way {
	uint16_t in, out; /* vports */
	struct text_packet packet;
	struct frame sent, got; /* data, before and behind the switch */
};

struct talk {
	bool tcp;
	struct way way[2]; /* by direction */
	uint32_t entry;
	enum ip_family family;
};

static void send_one(struct software *s, struct way *w, bool tcp, uint8_t flags, uint16_t len)
{
	w->packet.flags = flags;
	w->packet.len = tcp && flags != 0x18 ? 0 : len;
	w->packet.ttl = 64;
	frame_of(s, w->in, &w->packet, &w->sent);
	w->out = software_pass(s, w->in, &w->sent, &w->got);
}

/* What the other side answers to what it got. */
static void answer_to(struct way *got, struct way *answer)
{
	char err[200];
	struct text_packet seen;

	REQUIRE_EQ(text_read(got->got.data, got->got.len, &seen, err, sizeof(err)), 0);
	answer->packet = got->packet;
	answer->packet.src = seen.dst;
	answer->packet.dst = seen.src;
	answer->packet.sport = seen.dport;
	answer->packet.dport = seen.sport;
	answer->in = got->out;
}

/* Until established both ways, then a data packet each. */
static void talk_in_software(struct software *s, struct talk *t, enum kind kind, bool v6, bool tcp)
{
	struct way *there = &t->way[0], *back = &t->way[1];
	char line[200], err[200];

	memset(t, 0, sizeof(*t));
	t->tcp = tcp;
	t->family = v6 ? IP_V6 : IP_V4;
	snprintf(line, sizeof(line), "%s %s > %s%s", tcp ? "tcp" : "udp", talks[kind].src[v6],
		talks[kind].dst[v6], tcp ? " S" : "");
	REQUIRE_EQ(text_parse(line, &there->packet, err, sizeof(err)), 0);
	there->in = talks[kind].vport;
	send_one(s, there, tcp, 0x02, 100);
	answer_to(there, back);
	send_one(s, back, tcp, 0x12, 101);
	send_one(s, there, tcp, 0x10, 102);
	send_one(s, there, tcp, 0x18, 1000);
	send_one(s, back, tcp, 0x18, 1001);
	send_one(s, there, tcp, 0x18, 1000);
}

static void entry_of(struct software *s, const struct talk *t, struct flow_view *v)
{
	for (uint32_t e = 0; e < flow_capacity(s->bench->dp.flows, t->family); e++)
		if (flow_read(s->bench->dp.flows, t->family, e, v) == 0)
			return;
	REQUIRE(false);
}

/* --- in hardware ------------------------------------------------------------------------------ */

struct hardware {
	const struct offload_provider *provider;
	struct offload_ports ports;
	struct offload_caps *caps[3];
	struct offload_handle *handle[2];
};

static void hardware_up(struct hardware *h, const char *profile)
{
	char args[128];

	snprintf(args, sizeof(args), "representor=vf[0-1],step=1,profile=%s", profile);
	nic_up(args);
	h->provider = offload_provider_rte_flow();
	memset(&h->ports, 0, sizeof(h->ports));
	for (unsigned i = 0; i < OFFLOAD_PORTS_MAX; i++)
		h->ports.at[i].ethdev = h->ports.at[i].domain = OFFLOAD_NO_PORT;
	for (unsigned i = 0; i < 3; i++) {
		struct offload_port_facts facts;

		REQUIRE_EQ(h->provider->facts(h->provider->arg, nic_port[i], &facts), 0);
		h->ports.at[i].ethdev = nic_port[i];
		h->ports.at[i].domain = facts.domain;
		REQUIRE_EQ(offload_caps_new(h->provider, nic_port[i], &h->caps[i]), 0);
	}
}

static void hardware_down(struct hardware *h)
{
	struct net_emu_counters c = nic_counters();

	CHECK_EQ(c.rules, 0);
	CHECK_EQ(c.bad_handles, 0);
	nic_balanced();
	for (unsigned i = 0; i < 3; i++)
		offload_caps_free(h->caps[i]);
	nic_down();
}

/* Into hardware; the reason when it cannot be. */
static int install(struct hardware *h, struct software *s, const struct flow_view *v,
	const struct talk *t, enum lane_dir dir)
{
	const struct way *w = &t->way[dir];
	struct offload_seen seen = {.vport = w->in, .len = w->sent.len, .ttl = 64};
	struct offload_limits limits = {0};
	struct offload_dialect dialect;
	struct offload_error err;
	struct offload_path path;
	struct offload_rule rule;
	int rc = offload_derive(&s->bench->dp, &h->ports, &limits, s->bench->w->now_ms, v, dir,
		&seen, &rule, &path);

	CHECK_STR(rc != 0 ? offload_reason_names[rc] : "", "");
	if (rc == 0)
		rc = offload_caps_find(h->caps[place_of(w->in)], &rule, 0, &dialect);
	if (rc != 0)
		return rc;
	rc = h->provider->insert(h->provider->arg, &rule, &dialect, &h->handle[dir], &err);
	CHECK_STR(rc != 0 ? err.cause : "", "");
	REQUIRE_EQ(rc, 0);
	return 0;
}

static void check_same_frame(const struct frame *a, const struct frame *b)
{
	CHECK_EQ(a->len, b->len);
	CHECK(a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

/* Data goes the short way and comes out the same; a packet that is another's matter does not. */
static void check_carried(struct software *s, struct way *w, bool tcp)
{
	unsigned in = place_of(w->in), out = place_of(w->out);
	struct text_packet p = w->packet;
	struct frame f, got;

	CHECK_EQ(nic_pass(in, out, &w->sent, &got), TO_WIRE);
	check_same_frame(&got, &w->got);
	p.has |= HAS_TTL;
	p.ttl = 63;
	frame_of(s, w->in, &p, &f);
	CHECK_EQ(nic_pass(in, out, &f, &got), TO_CPU);
	check_same_frame(&got, &f);
	p.ttl = 64;
	p.sport ^= 1;
	frame_of(s, w->in, &p, &f);
	CHECK_EQ(nic_pass(in, out, &f, &got), TO_CPU);
	p.sport ^= 1;
	for (unsigned flag = 1; tcp && flag <= 4; flag <<= 1) {
		p.flags = (uint8_t)(0x10 | flag);
		frame_of(s, w->in, &p, &f);
		CHECK_EQ(nic_pass(in, out, &f, &got), TO_CPU);
		check_same_frame(&got, &f);
	}
	/* A promiscuous port hears what is for others, and a guarded pod may claim to be one. */
	f = w->sent;
	f.data[5] ^= 0x40;
	CHECK_EQ(nic_pass(in, out, &f, &got), TO_CPU);
	if (s->bench->vports.at[w->in]->source_guard) {
		f = w->sent;
		f.data[11] ^= 0x40;
		CHECK_EQ(nic_pass(in, out, &f, &got), TO_CPU);
	}
	/* A first fragment has the ports and yet is not the flow's. */
	f = w->sent;
	if (f.data[12] == 0x08) {
		f.data[20] |= 0x20;
		frame_fix(f.data, f.len, 14);
		CHECK_EQ(nic_pass(in, out, &f, &got), TO_CPU);
	}
}

static void check_counted(struct hardware *h, enum lane_dir dir, uint64_t packets)
{
	struct offload_count count = {0};
	struct offload_error err;

	net_emu_step(nic, 0, 3000000000ull); /* counters are as old as the profile says */
	CHECK_EQ(h->provider->query(h->provider->arg, h->handle[dir], &count, &err), 0);
	CHECK_EQ(count.packets, packets);
}

/* One conversation on one device; what of it hardware carries: a bit a direction. */
static unsigned converse(struct hardware *h, enum kind kind, bool v6, bool tcp)
{
	struct software s;
	struct offload_error err;
	struct flow_view v;
	struct talk t;
	unsigned carried = 0;

	software_up(&s);
	talk_in_software(&s, &t, kind, v6, tcp);
	entry_of(&s, &t, &v);
	for (int dir = 0; dir < 2; dir++) {
		struct frame got;

		if (install(h, &s, &v, &t, (enum lane_dir)dir) == 0) {
			carried |= 1u << dir;
			check_carried(&s, &t.way[dir], tcp);
			check_counted(h, (enum lane_dir)dir, 1);
			continue;
		}
		CHECK_EQ(nic_pass(place_of(t.way[dir].in), place_of(t.way[dir].out),
				 &t.way[dir].sent, &got),
			TO_CPU);
		check_same_frame(&got, &t.way[dir].sent);
	}
	for (int dir = 0; dir < 2; dir++)
		if (carried & 1u << dir)
			CHECK_EQ(h->provider->remove(h->provider->arg, h->handle[dir], &err), 0);
	software_down(&s);
	return carried;
}

/* --- every profile ---------------------------------------------------------------------------- */

enum {
	NEVER = 0,
	BOTH = 3
};

/* carried[kind][v6], for TCP and UDP alike. */
static void check_profile(const char *profile, const uint8_t carried[KINDS][2])
{
	struct hardware h;

	hardware_up(&h, profile);
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned v6 = 0; v6 < 2; v6++)
			for (unsigned tcp = 0; tcp < 2; tcp++)
				CHECK_EQ(converse(&h, (enum kind)kind, v6, tcp), carried[kind][v6]);
	hardware_down(&h);
}

static const uint8_t all[KINDS][2] = {{BOTH, BOTH}, {BOTH, BOTH}, {BOTH, BOTH}, {BOTH, BOTH}};
static const uint8_t nothing[KINDS][2];

static void mlx5_sws(void)
{
	check_profile("mlx5-sws", all);
}

static void mlx5_hws(void)
{
	check_profile("mlx5-hws", all);
}

static void nfp(void)
{
	check_profile("nfp", all);
}

static void sfc_22_switches_and_translates_nothing(void)
{
	static const uint8_t plain[KINDS][2] = {[PLAIN] = {BOTH, BOTH}};

	check_profile("sfc-22", plain);
}

static void sfc_25_translates_ipv4(void)
{
	static const uint8_t ipv4[KINDS][2] = {
		{BOTH, BOTH}, {BOTH, NEVER}, {BOTH, NEVER}, {BOTH, NEVER}};

	check_profile("sfc-25", ipv4);
}

/* bnxt of 22.11 changes no MACs, and whatever is routed gets new ones. */
static void nothing_where_it_cannot_be(void)
{
	static const char *const names[] = {
		"bnxt", "cnxk", "ice", "i40e", "cxgbe-like", "tap-like", "none"};

	for (unsigned i = 0; i < RTE_DIM(names); i++)
		check_profile(names[i], nothing);
}

TEST_SUITE("net_emu_offload_same", CASE(mlx5_sws), CASE(mlx5_hws), CASE(nfp),
	CASE(sfc_22_switches_and_translates_nothing), CASE(sfc_25_translates_ipv4),
	CASE(nothing_where_it_cannot_be))
