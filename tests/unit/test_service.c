/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The frontend index against a naive map, and the service decision: the verdict matrix row by row,
 * for both families and every state of the endpoints, then its exceptions. */

#include <errno.h>

#include "core/service.h"
#include "unit/harness.h"

static struct grace grace;

/* --- the frontend index ----------------------------------------------------------------------- */

#define KEYS 400

/* Keys that differ in one field only, too. */
static struct svc_frontend_key key(uint32_t n)
{
	struct svc_frontend_key k = {.port = htons((uint16_t)(80 + n % 2)),
		.proto = n / 2 % 2 ? IP_PROTO_UDP : IP_PROTO_TCP,
		.family = n / 4 % 2 ? IP_V6 : IP_V4};

	if (n < 8)
		return k; /* as a NodePort's */
	if (k.family == IP_V4) {
		k.addr = ip_from_v4(htonl(0x0a600000 + n / 8));
	} else {
		k.addr.bytes[0] = 0xfd;
		k.addr.words[3] = htonl(n / 8);
	}
	return k;
}

static void end_grace(void)
{
	grace_complete(&grace, grace_open(&grace));
}

static void index_agrees_with_naive(void)
{
	static struct svc_port ports[8];
	const struct svc_port *svc[KEYS] = {NULL};
	bool there[KEYS] = {false};
	struct svc_list *none = svc_list_new(NULL, 0);
	struct svc_table *t;
	uint32_t used = 0;

	for (int i = 0; i < 8; i++)
		ports[i] = (struct svc_port){.cluster = none, .local = none};
	REQUIRE_EQ(svc_table_init(&grace, 0, &t), 0);
	for (int step = 0; step < 30000; step++) {
		/* Fills at first, then comes and goes, then empties. */
		bool remove = test_rand_below(10) < (step < 3000 ? 1 : step < 20000 ? 5 : 9);
		uint32_t n = test_rand_below(KEYS);
		struct svc_frontend_key k = key(n);
		const struct svc_frontend *found;
		uint64_t hash;

		if (remove) {
			CHECK_EQ(svc_table_remove(t, &k), there[n] ? 0 : -ENOENT);
			used -= there[n];
			there[n] = false;
		} else {
			svc[n] = &ports[test_rand_below(8)];
			CHECK_EQ(svc_table_set(t, &k, (enum svc_frontend_kind)(n % 5), svc[n]), 0);
			used += !there[n];
			there[n] = true;
		}
		CHECK_EQ(svc_table_used(t), used);
		for (int i = 0; i < 4; i++) {
			n = test_rand_below(KEYS);
			k = key(n);
			found = svc_table_find(t, &k);
			CHECK_EQ(found != NULL, there[n]);
			if (found != NULL) {
				CHECK(found->svc == svc[n]);
				CHECK_EQ(found->kind, n % 5);
			}
			hash = svc_table_aim(t, &k);
			CHECK(svc_table_confirm(t, &k, hash, svc_table_probe(t, hash)) == found);
		}
		if (step % 100 == 0) {
			end_grace();
			svc_table_reclaim(t);
		}
	}
	svc_table_fini(t);
	free(none);
}

/* A probe goes by 15 bits of the hash, and may lead to somebody else's frontend. */
static void index_probe_is_a_guess(void)
{
	struct svc_list *none = svc_list_new(NULL, 0);
	struct svc_port port = {.cluster = none, .local = none};
	struct svc_frontend_key a = key(9), b = key(10), absent = key(11);
	const struct svc_frontend *other;
	struct svc_table *t;

	REQUIRE_EQ(svc_table_init(&grace, 0, &t), 0);
	CHECK_EQ(svc_table_set(t, &a, SVC_CLUSTER_IP, &port), 0);
	CHECK_EQ(svc_table_set(t, &b, SVC_CLUSTER_IP, &port), 0);
	other = svc_table_find(t, &b);
	CHECK(svc_table_confirm(t, &a, svc_table_aim(t, &a), other) == svc_table_find(t, &a));
	CHECK(svc_table_confirm(t, &absent, svc_table_aim(t, &absent), other) == NULL);
	svc_table_fini(t);
	free(none);
}

/* A table without entries and one that does not exist yet find nothing. */
static void index_empty(void)
{
	struct svc_frontend_key k = key(1);
	struct svc_table *t;

	CHECK(svc_table_find(NULL, &k) == NULL);
	CHECK(svc_table_probe(NULL, svc_table_aim(NULL, &k)) == NULL);
	REQUIRE_EQ(svc_table_init(&grace, 1000, &t), 0);
	CHECK(svc_table_find(t, &k) == NULL);
	CHECK(svc_table_probe(t, svc_table_aim(t, &k)) == NULL);
	CHECK_EQ(svc_table_remove(t, &k), -ENOENT);
	svc_table_retire(t, NULL);
	svc_table_retire(t, malloc(10));
	svc_table_reclaim(t);
	svc_table_fini(t);
	svc_table_fini(NULL);
}

/* --- the decision ------------------------------------------------------------------------------
 */

/* What every case runs in: one service with all kinds of frontends, another address in use, a
 * node address. */
struct world {
	enum ip_family f;
	struct svc_table *table;
	struct svc_domain domain;
	struct svc_port svc;
	struct svc_list *cluster, *local, *empty;
	struct ip_prefix cidr;
	struct ip_addr node, client, pod, vip[4]; /* by frontend kind: ClusterIP, external, LB */
	struct ip_prefix ranges[2];
};

static struct ip_addr addr(enum ip_family f, const char *v4, const char *v6)
{
	struct ip_addr a;

	REQUIRE_EQ(ip_parse(f == IP_V4 ? v4 : v6, &a), 0);
	return a;
}

static struct ip_prefix prefix(enum ip_family f, const char *v4, const char *v6)
{
	struct ip_prefix p;

	REQUIRE_EQ(ip_prefix_parse(f == IP_V4 ? v4 : v6, &p), 0);
	return p;
}

static void set(
	struct world *w, const struct ip_addr *a, uint16_t port, enum svc_frontend_kind kind)
{
	struct svc_frontend_key k = {
		.port = htons(port), .proto = port == 0 ? 0 : IP_PROTO_TCP, .family = w->f};

	if (a != NULL)
		k.addr = *a;
	CHECK_EQ(svc_table_set(w->table, &k, kind, kind == SVC_ADDRESS ? NULL : &w->svc), 0);
}

/* Again after each change of svc: the table has copies of it. */
static void publish(struct world *w)
{
	set(w, &w->vip[SVC_CLUSTER_IP], 80, SVC_CLUSTER_IP);
	set(w, &w->vip[SVC_CLUSTER_IP], 0, SVC_ADDRESS);
	set(w, &w->vip[SVC_EXTERNAL_IP], 80, SVC_EXTERNAL_IP);
	set(w, &w->vip[SVC_LB_VIP], 80, SVC_LB_VIP);
	set(w, NULL, 30080, SVC_NODE_PORT);
	end_grace();
	svc_table_reclaim(w->table);
}

static void world_init(struct world *w, enum ip_family f)
{
	struct svc_backend b[4];

	memset(w, 0, sizeof(*w));
	memset(b, 0, sizeof(b));
	w->f = f;
	REQUIRE_EQ(svc_table_init(&grace, 0, &w->table), 0);
	w->cidr = prefix(f, "10.96.0.0/16", "fd96::/112");
	w->node = addr(f, "192.0.2.10", "2001:db8::10");
	w->client = addr(f, "198.51.100.7", "2001:db8:7::7");
	w->pod = addr(f, "10.244.1.5", "fd00:1::5");
	w->vip[SVC_CLUSTER_IP] = addr(f, "10.96.0.10", "fd96::a");
	w->vip[SVC_EXTERNAL_IP] = addr(f, "203.0.113.1", "2001:db8:e::1");
	w->vip[SVC_LB_VIP] = addr(f, "203.0.113.2", "2001:db8:e::2");
	w->vip[SVC_NODE_PORT] = w->node;
	for (int i = 0; i < 4; i++) {
		b[i].addr = addr(f, "10.244.2.1", "fd00:2::1");
		b[i].addr.bytes[15] = (uint8_t)(i + 1);
		b[i].port = htons(8080);
		b[i].ref = (backend_ref)(i + 1);
	}
	w->cluster = svc_list_new(b, 4);
	w->local = svc_list_new(b + 3, 1);
	w->empty = svc_list_new(NULL, 0);
	w->svc = (struct svc_port){.id = 7,
		.proto = IP_PROTO_TCP,
		.port = htons(80),
		.flags = SVC_HAS_ANY,
		.cluster = w->cluster,
		.local = w->local};
	w->domain = (struct svc_domain){.ready = true,
		.table = w->table,
		.n_service_cidrs = 1,
		.service_cidrs = &w->cidr,
		.n_node_port_addrs = 1,
		.node_port_addrs = &w->node,
		.node_addr = {[IP_V4] = w->node, [IP_V6] = w->node},
		.cluster_ip_outside = true};
	publish(w);
}

static void world_fini(struct world *w)
{
	svc_table_fini(w->table);
	free(w->cluster);
	free(w->local);
	free(w->empty);
}

static struct svc_query query(
	const struct world *w, enum svc_frontend_kind kind, enum svc_source source)
{
	return (struct svc_query){.src = source == SVC_FROM_POD ? w->pod
			: source == SVC_FROM_HOST               ? w->node
								: w->client,
		.dst = w->vip[kind],
		.sport = htons(40000),
		.dport = htons(kind == SVC_NODE_PORT ? 30080 : 80),
		.proto = IP_PROTO_TCP,
		.source = (uint8_t)source,
		.hash = (uint32_t)test_rand()};
}

/* Lists of the matrix. */
enum {
	C, /* cluster */
	L  /* local */
};

/* kind, policy flag, then per source (pod, host, outside): list and source NAT. */
static const struct {
	uint8_t kind, policy;
	struct {
		uint8_t list;
		bool snat;
	} at[3];
} matrix[] = {
	{SVC_CLUSTER_IP, 0, {{C, false}, {C, true}, {C, true}}},
	{SVC_CLUSTER_IP, SVC_ITP_LOCAL, {{L, false}, {L, true}, {L, true}}},
	{SVC_CLUSTER_IP, SVC_ETP_LOCAL, {{C, false}, {C, true}, {C, true}}},
	{SVC_NODE_PORT, 0, {{C, true}, {C, true}, {C, true}}},
	{SVC_NODE_PORT, SVC_ITP_LOCAL, {{C, true}, {C, true}, {C, true}}},
	{SVC_NODE_PORT, SVC_ETP_LOCAL, {{C, false}, {C, true}, {L, false}}},
	{SVC_LB_VIP, 0, {{C, true}, {C, true}, {C, true}}},
	{SVC_LB_VIP, SVC_ITP_LOCAL, {{C, true}, {C, true}, {C, true}}},
	{SVC_LB_VIP, SVC_ETP_LOCAL, {{C, false}, {C, true}, {L, false}}},
	{SVC_EXTERNAL_IP, 0, {{C, true}, {C, true}, {C, true}}},
	{SVC_EXTERNAL_IP, SVC_ITP_LOCAL, {{C, true}, {C, true}, {C, true}}},
	{SVC_EXTERNAL_IP, SVC_ETP_LOCAL, {{C, false}, {C, true}, {L, false}}},
};

#define ROWS (sizeof(matrix) / sizeof(matrix[0]))

static void check_row(struct world *w, size_t row, int source, bool cluster, bool local)
{
	bool wants_local = matrix[row].at[source].list == L;
	bool full = wants_local ? local : cluster, any = cluster || local;
	struct svc_query q = query(w, matrix[row].kind, source);
	struct svc_verdict v;

	w->svc.cluster = cluster ? w->cluster : w->empty;
	w->svc.local = local ? w->local : w->empty;
	w->svc.flags = matrix[row].policy | (any ? SVC_HAS_ANY : 0);
	publish(w);
	svc_decide(&w->domain, &q, &v);
	CHECK(v.svc == &w->svc);
	CHECK_EQ(v.svc_id, w->svc.id);
	CHECK_EQ(v.frontend, matrix[row].kind);
	if (full) {
		const struct svc_list *list = wants_local ? w->local : w->cluster;

		CHECK_TEXT_(v.kind == SVC_TRANSLATE && v.snat == matrix[row].at[source].snat &&
				(v.list == list || (v.list == NULL && list->n == 1)) &&
				v.backend->ref == svc_list_pick(list, q.hash)->ref,
			0, "row %zu source %d: verdict %d, source NAT %d", row, source, v.kind,
			v.snat);
	} else if (!any) {
		CHECK_TEXT_(v.kind == SVC_REJECT && v.reason == DROP_ServiceNoBackend, 0,
			"row %zu source %d without endpoints: verdict %d", row, source, v.kind);
	} else if (wants_local) {
		CHECK_TEXT_(v.kind == SVC_DROP && v.reason == DROP_ServiceNoLocalBackend, 0,
			"row %zu source %d without local endpoints: verdict %d", row, source,
			v.kind);
	} else {
		CHECK_TEXT_(v.kind == SVC_REJECT, 0, "row %zu source %d, cluster list empty: %d",
			row, source, v.kind);
	}
}

static void verdict_matrix(void)
{
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		for (size_t row = 0; row < ROWS; row++)
			for (int source = 0; source < 3; source++)
				for (int state = 0; state < 4; state++)
					check_row(&w, row, source, state & 1, state & 2);
		world_fini(&w);
	}
}

static void one(struct world *w, const struct svc_query *q, enum svc_verdict_kind kind,
	enum drop_reason reason, bool snat)
{
	struct svc_verdict v;

	publish(w);
	svc_decide(&w->domain, q, &v);
	CHECK_EQ(v.kind, kind);
	if (kind == SVC_DROP || kind == SVC_REJECT)
		CHECK_EQ(v.reason, reason);
	CHECK_EQ(v.snat, snat);
}

/* The chosen endpoint is the sender: source NAT in any cell, by pods and by the host. */
static void hairpin(void)
{
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		for (size_t row = 0; row < ROWS; row++) {
			for (int source = 0; source < 3; source++) {
				struct svc_query q = query(&w, matrix[row].kind, source);

				w.svc.flags = matrix[row].policy | SVC_HAS_ANY;
				w.svc.cluster = w.local;
				q.src = w.local->backends[0].addr;
				one(&w, &q, SVC_TRANSLATE, 0, true);
			}
		}
		world_fini(&w);
	}
}

/* A list of one is not looked at, unless affinity has to know which list it was. */
static void only_endpoint(void)
{
	struct svc_query q;
	struct svc_verdict v;
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		q = query(&w, SVC_CLUSTER_IP, SVC_FROM_POD);
		w.svc.cluster = w.local;
		publish(&w);
		svc_decide(&w.domain, &q, &v);
		CHECK_EQ(v.kind, SVC_TRANSLATE);
		CHECK_EQ(v.backend->ref, w.local->backends[0].ref);
		CHECK(v.list == NULL);
		w.svc.affinity_seconds = 10;
		publish(&w);
		svc_decide(&w.domain, &q, &v);
		CHECK(v.list == w.local && v.backend == &w.local->backends[0]);
		/* The address as such, which protocol 0 and port 0 would name. */
		q.proto = 0;
		q.dport = 0;
		one(&w, &q, SVC_REJECT, DROP_ServiceUnknownPort, false);
		world_fini(&w);
	}
}

static void masquerade_all_is_for_cluster_ips(void)
{
	struct svc_query q;
	struct world w;

	world_init(&w, IP_V4);
	w.domain.masquerade_all = true;
	q = query(&w, SVC_CLUSTER_IP, SVC_FROM_POD);
	one(&w, &q, SVC_TRANSLATE, 0, true);
	w.svc.flags |= SVC_ETP_LOCAL;
	q = query(&w, SVC_LB_VIP, SVC_FROM_POD);
	one(&w, &q, SVC_TRANSLATE, 0, false);
	world_fini(&w);
}

static void cluster_ips_from_outside_can_be_switched_off(void)
{
	struct svc_query q;
	struct world w;

	world_init(&w, IP_V6);
	w.domain.cluster_ip_outside = false;
	q = query(&w, SVC_CLUSTER_IP, SVC_FROM_OUTSIDE);
	one(&w, &q, SVC_DROP, DROP_ServiceOutsideClient, false);
	/* Nor do other ports of the address tell that it is there. */
	q.dport = htons(4);
	one(&w, &q, SVC_DROP, DROP_ServiceOutsideClient, false);
	q = query(&w, SVC_CLUSTER_IP, SVC_FROM_HOST);
	one(&w, &q, SVC_TRANSLATE, 0, true);
	q = query(&w, SVC_LB_VIP, SVC_FROM_OUTSIDE);
	one(&w, &q, SVC_TRANSLATE, 0, true);
	world_fini(&w);
}

/* Addresses and ports that no service has. */
static void not_a_service(void)
{
	struct svc_query q;
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		for (int source = 0; source < 3; source++) {
			q = query(&w, SVC_CLUSTER_IP, source);
			q.dport = htons(81);
			one(&w, &q, SVC_REJECT, DROP_ServiceUnknownPort, false);
			q.dport = htons(80);
			q.proto = IP_PROTO_UDP;
			one(&w, &q, SVC_REJECT, DROP_ServiceUnknownPort, false);
			q.dst = addr(f, "10.96.99.99", "fd96::9999");
			one(&w, &q, SVC_DROP, DROP_ServiceUnknownAddress, false);
			q.proto = f == IP_V4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6;
			one(&w, &q, SVC_DROP, DROP_ServiceUnknownAddress, false);

			for (int kind = SVC_EXTERNAL_IP; kind <= SVC_NODE_PORT; kind++) {
				q = query(&w, kind, source);
				q.dport = htons(22);
				one(&w, &q, SVC_PASS, 0, false);
				/* A NodePort's number on another address is nobody's. */
				q.dport = htons(kind == SVC_NODE_PORT ? 80 : 30080);
				one(&w, &q, SVC_PASS, 0, false);
			}
			q = query(&w, SVC_NODE_PORT, source);
			q.proto = IP_PROTO_UDP;
			one(&w, &q, SVC_PASS, 0, false);
			q.dst = addr(f, "10.244.9.9", "fd00:9::9");
			one(&w, &q, SVC_PASS, 0, false);
		}
		world_fini(&w);
	}
}

/* An identifier that equals a service's port is no port. */
static void echo(void)
{
	struct svc_query q;
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		uint8_t proto = f == IP_V4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6;

		world_init(&w, f);
		q = query(&w, SVC_CLUSTER_IP, SVC_FROM_POD);
		q.proto = proto;
		one(&w, &q, SVC_ECHO, 0, false);
		for (int kind = SVC_EXTERNAL_IP; kind <= SVC_NODE_PORT; kind++) {
			q = query(&w, kind, SVC_FROM_OUTSIDE);
			q.proto = proto;
			one(&w, &q, SVC_PASS, 0, false);
		}
		world_fini(&w);
	}
}

/* A LoadBalancer VIP on a node's own address wins over the NodePort of the same number. */
static void specific_address_first(void)
{
	struct svc_port other;
	struct svc_frontend_key k;
	struct svc_verdict v;
	struct svc_query q;
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		other = w.svc;
		k = (struct svc_frontend_key){.addr = w.node,
			.port = htons(30080),
			.proto = IP_PROTO_TCP,
			.family = (uint8_t)f};
		CHECK_EQ(svc_table_set(w.table, &k, SVC_LB_VIP, &other), 0);
		q = query(&w, SVC_NODE_PORT, SVC_FROM_OUTSIDE);
		svc_decide(&w.domain, &q, &v);
		CHECK(v.svc == &other);
		CHECK_EQ(v.frontend, SVC_LB_VIP);
		CHECK_EQ(svc_table_remove(w.table, &k), 0);
		svc_decide(&w.domain, &q, &v);
		CHECK(v.svc == &w.svc);
		CHECK_EQ(v.frontend, SVC_NODE_PORT);
		/* NodePorts are for the addresses listed, and families have their own. */
		w.domain.n_node_port_addrs = 0;
		one(&w, &q, SVC_PASS, 0, false);
		world_fini(&w);
	}
}

static void source_ranges(void)
{
	struct svc_query q;
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		w.ranges[0] = prefix(f, "198.51.100.0/24", "2001:db8:7::/48");
		w.svc.source_ranges = w.ranges;
		w.svc.n_source_ranges = 1;
		q = query(&w, SVC_LB_VIP, SVC_FROM_OUTSIDE);
		one(&w, &q, SVC_TRANSLATE, 0, true);
		q.src = addr(f, "198.51.101.1", "2001:db8:8::1");
		one(&w, &q, SVC_DROP, DROP_ServiceSourceRange, false);
		for (int source = SVC_FROM_POD; source <= SVC_FROM_HOST; source++) {
			q = query(&w, SVC_LB_VIP, source);
			one(&w, &q, SVC_DROP, DROP_ServiceSourceRange, false);
		}
		/* For LoadBalancer VIPs only. */
		for (int kind = 0; kind <= SVC_NODE_PORT; kind++) {
			if (kind == SVC_LB_VIP)
				continue;
			q = query(&w, kind, SVC_FROM_OUTSIDE);
			q.src = addr(f, "198.51.101.1", "2001:db8:8::1");
			one(&w, &q, SVC_TRANSLATE, 0, true);
		}
		/* Checked before the endpoints. */
		w.svc.cluster = w.svc.local = w.empty;
		w.svc.flags = 0;
		q = query(&w, SVC_LB_VIP, SVC_FROM_POD);
		one(&w, &q, SVC_DROP, DROP_ServiceSourceRange, false);
		q = query(&w, SVC_LB_VIP, SVC_FROM_OUTSIDE);
		one(&w, &q, SVC_REJECT, DROP_ServiceNoBackend, false);
		w.svc.cluster = w.cluster;
		w.svc.flags = SVC_HAS_ANY;

		/* The host from a VIP that is bound on it: only if the node itself may. */
		q = query(&w, SVC_LB_VIP, SVC_FROM_HOST);
		q.src = q.dst;
		one(&w, &q, SVC_DROP, DROP_ServiceSourceRange, false);
		w.ranges[1] = prefix(f, "192.0.2.0/24", "2001:db8::/64");
		w.svc.n_source_ranges = 2;
		one(&w, &q, SVC_TRANSLATE, 0, true);
		q.src = w.vip[SVC_EXTERNAL_IP];
		one(&w, &q, SVC_DROP, DROP_ServiceSourceRange, false);
		/* No range of this family: open. */
		w.svc.n_source_ranges = 0;
		one(&w, &q, SVC_TRANSLATE, 0, true);
		world_fini(&w);
	}
}

static void nothing_before_the_first_full_state(void)
{
	static const struct svc_domain empty;
	struct svc_query q;
	struct world w;

	for (int f = 0; f < IP_FAMILIES; f++) {
		world_init(&w, f);
		w.domain.ready = false;
		for (int kind = 0; kind <= SVC_NODE_PORT; kind++) {
			q = query(&w, kind, SVC_FROM_POD);
			one(&w, &q, SVC_DROP, DROP_ServicesNotReady, false);
			q.dport = htons(22);
			if (kind == SVC_CLUSTER_IP)
				one(&w, &q, SVC_DROP, DROP_ServicesNotReady, false);
			else
				one(&w, &q, SVC_PASS, 0, false);
		}
		q = query(&w, SVC_CLUSTER_IP, SVC_FROM_POD);
		q.dst = addr(f, "10.96.99.99", "fd96::9999");
		one(&w, &q, SVC_DROP, DROP_ServicesNotReady, false);
		/* Without any table, as at the very start. */
		w.domain = empty;
		one(&w, &q, SVC_PASS, 0, false);
		world_fini(&w);
	}
}

TEST_SUITE("service", CASE(index_agrees_with_naive), CASE(index_probe_is_a_guess),
	CASE(index_empty), CASE(verdict_matrix), CASE(hairpin), CASE(only_endpoint),
	CASE(masquerade_all_is_for_cluster_ips), CASE(cluster_ips_from_outside_can_be_switched_off),
	CASE(not_a_service), CASE(echo), CASE(specific_address_first), CASE(source_ranges),
	CASE(nothing_before_the_first_full_state))
