/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Paths, queries, flow filters, cursors and ids of the API (control/api/query.h, flow_filter.h,
 * cursor.h). */

#include <errno.h>

#include "control/api/cursor.h"
#include "control/api/flow_filter.h"
#include "control/api/query.h"
#include "unit/harness.h"

/* --- paths and queries ----------------------------------------------------------------------- */

static void decodes_queries(void)
{
	struct query_error err;
	struct query q;

	REQUIRE_EQ(query_parse("a=1&b=x%20y%2fz&c&&d=&a=2&e=a+b=c", &q, &err), 0);
	CHECK_EQ(q.n, 6);
	CHECK_STR(query_get(&q, "a"), "1");
	CHECK_STR(query_get(&q, "b"), "x y/z");
	CHECK_STR(query_get(&q, "c"), "");
	CHECK_STR(query_get(&q, "d"), "");
	CHECK_STR(query_get(&q, "e"), "a+b=c");
	CHECK(query_get(&q, "f") == NULL);
	query_fini(&q);
	CHECK_EQ(query_parse(NULL, &q, &err), 0);
	CHECK_EQ(q.n, 0);
	query_fini(&q);
}

static void refuses_hidden_bytes(void)
{
	static const char *const queries[] = {
		"a=%00", "%00=a", "a=%", "a=%1", "a=%zz", "a=%0a", "a=\x7f", "a=%7F"};
	static const char *const paths[] = {
		"", "a", "/%00", "/a%2Fb", "/a%2fb", "/%", "/%0", "/a%0Ab", "/\x01"};
	struct query_error err;
	struct query q;
	struct path p;

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		CHECK_EQ(query_parse(queries[i], &q, &err), -EINVAL);
		query_fini(&q);
	}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		CHECK_EQ(path_parse(paths[i], &p, &err), -EINVAL);
		path_fini(&p);
	}
}

static void splits_paths(void)
{
	struct query_error err;
	struct path p;

	REQUIRE_EQ(path_parse("/api/v1/services/a%20b/c", &p, &err), 0);
	CHECK_EQ(p.n, 5);
	CHECK_STR(p.segment[3], "a b");
	path_fini(&p);
	REQUIRE_EQ(path_parse("//x/", &p, &err), 0);
	CHECK_EQ(p.n, 3);
	CHECK_STR(p.segment[0], "");
	CHECK_STR(p.segment[2], "");
	path_fini(&p);
	CHECK_EQ(path_parse("/1/2/3/4/5/6/7/8/9/10/11/12/13", &p, &err), -EINVAL);
	path_fini(&p);
}

static void reads_typed_values(void)
{
	static const char *const names[] = {"n", "b", NULL};
	struct query_error err;
	struct query q;
	uint64_t n;
	bool b;

	REQUIRE_EQ(query_parse("n=18446744073709551615&b", &q, &err), 0);
	CHECK_EQ(query_uint(&q, "n", 0, UINT64_MAX, 7, &n, &err), 0);
	CHECK(n == UINT64_MAX);
	CHECK_EQ(query_uint(&q, "n", 0, 100, 7, &n, &err), -EINVAL);
	CHECK_HAS(err.text, "n must be a whole number from 0 to 100");
	CHECK_EQ(query_uint(&q, "x", 0, 100, 7, &n, &err), 0);
	CHECK_EQ(n, 7);
	CHECK_EQ(query_bool(&q, "b", false, &b, &err), 0);
	CHECK(b);
	CHECK(query_unknown(&q, names) == NULL);
	query_fini(&q);
	REQUIRE_EQ(query_parse("n=1&n=2&b=maybe&c=1", &q, &err), 0);
	CHECK_EQ(query_uint(&q, "n", 0, 100, 7, &n, &err), -EINVAL);
	CHECK_HAS(err.text, "twice");
	CHECK_EQ(query_bool(&q, "b", false, &b, &err), -EINVAL);
	CHECK_STR(query_unknown(&q, names), "c");
	query_fini(&q);
	CHECK_EQ(parse_uint("18446744073709551616", UINT64_MAX, &n), -EINVAL);
	CHECK_EQ(parse_uint("", 9, &n), -EINVAL);
	CHECK_EQ(parse_uint("+1", 9, &n), -EINVAL);
	CHECK_EQ(parse_uint("0x1", 9, &n), -EINVAL);
}

/* --- filters --------------------------------------------------------------------------------- */

static struct flow_view view;

static void set_key(int dir, const char *src, uint16_t sport, const char *dst, uint16_t dport)
{
	struct ip_addr a, b;

	CHECK_EQ(ip_parse(src, &a), 0);
	CHECK_EQ(ip_parse(dst, &b), 0);
	memcpy(view.key[dir].src, a.bytes, 16);
	memcpy(view.key[dir].dst, b.bytes, 16);
	view.key[dir].sport = htons(sport);
	view.key[dir].dport = htons(dport);
	view.key[dir].proto = IP_PROTO_TCP;
}

/* A client behind source NAT (192.0.2.1:2000) talks to a service. */
static void make_view(void)
{
	memset(&view, 0, sizeof(view));
	set_key(DIR_FORWARD, "10.244.1.7", 41822, "10.96.0.10", 443);
	set_key(DIR_REPLY, "10.244.3.9", 8443, "192.0.2.1", 2000);
	view.family = IP_V4;
	view.worker = 2;
	view.cold.svc_port_id = 5;
	view.cold.in_vport[0] = 3;
	view.cold.created_ms = 10000;
	atomic_store(&view.meta.state, FLOW_ESTABLISHED);
	atomic_store(&view.meta.flags, FLOW_F_DNAT | FLOW_F_SNAT);
	atomic_store(&view.meta.last_seen, 60000);
}

static const char *service_name(void *arg, uint32_t id)
{
	return id == 5 ? "shop/cart:https" : NULL;
}

static const char *vport_name(void *arg, uint16_t id)
{
	return id == 3 ? "pod-1" : NULL;
}

/* 1 match, 0 no match, -1 refused; at 100 s. */
static int match(const char *text)
{
	struct query_error err;
	struct flow_filter f;
	struct query q;
	int rc;

	REQUIRE_EQ(query_parse(text, &q, &err), 0);
	rc = flow_filter_parse(&q, &f, &err);
	f.service_name = service_name;
	f.vport_name = vport_name;
	if (rc == 0)
		rc = flow_filter_match(&f, &view, 100000);
	else
		rc = -1;
	query_fini(&q);
	return rc;
}

static void filters_match(void)
{
	static const struct {
		const char *query;
		int expected;
	} cases[] = {
		{"", 1},
		{"limit=3&continue=x", 1},
		/* Both sides of the translation. */
		{"src=10.244.1.7", 1},
		{"src=192.0.2.1", 1},
		{"src=10.96.0.10", 0},
		{"dst=10.96.0.10", 1},
		{"dst=10.244.3.9", 1},
		{"dst=10.244.1.7", 0},
		{"ip=10.244.3.0/24", 1},
		{"ip=10.244.4.0/24", 0},
		{"ip=::/0", 0},
		{"ip=0.0.0.0/0", 1},
		{"srcPort=41822", 1},
		{"srcPort=2000", 1},
		{"srcPort=443", 0},
		{"dstPort=443", 1},
		{"dstPort=8443", 1},
		{"port=8000-9000", 1},
		{"port=1-79", 0},
		/* Alternatives, all, and not. */
		{"dstPort=80&dstPort=443", 1},
		{"dstPort=80&dstPort=81", 0},
		{"dstPort=443&srcPort=1", 0},
		{"dstPort=443&src=10.244.0.0/16", 1},
		{"dstPort=!443", 0},
		{"dstPort=!80", 1},
		{"dstPort=443&dstPort=!8443", 0},
		{"src=10.244.0.0/16&src=!10.244.1.0/24", 0},
		{"proto=tcp", 1},
		{"proto=TCP", 1},
		{"proto=6", 1},
		{"proto=udp&proto=tcp", 1},
		{"proto=17", 0},
		{"family=IPv4", 1},
		{"family=ipv6", 0},
		{"service=shop/cart", 1},
		{"service=shop/cart:https", 1},
		{"service=shop/cart:http", 0},
		{"service=shop/car", 0},
		{"service=sho/cart", 0},
		{"namespace=shop", 1},
		{"namespace=sho", 0},
		{"backend=10.244.3.9", 1},
		{"backend=10.244.3.9:8443", 1},
		{"backend=10.244.3.9:443", 0},
		{"backend=[::1]:8443", 0},
		{"state=established", 1},
		{"state=New", 0},
		{"state=New&state=Established", 1},
		{"nat=Full", 1},
		{"nat=Dnat", 0},
		{"unreplied=true", 0},
		{"unreplied=false", 1},
		{"worker=2", 1},
		{"worker=0-1", 0},
		{"inPort=pod-1", 1},
		{"inPort=pod", 0},
		{"minAgeSeconds=90", 1},
		{"minAgeSeconds=91", 0},
		{"minIdleSeconds=40", 1},
		{"minIdleSeconds=41", 0},
		/* Refused. */
		{"src=", -1},
		{"src=!", -1},
		{"src=10.0.0.0/33", -1},
		{"port=65536", -1},
		{"port=5-4", -1},
		{"port=-5", -1},
		{"port=5-", -1},
		{"proto=256", -1},
		{"family=4", -1},
		{"service=cart", -1},
		{"namespace=", -1},
		{"backend=10.0.0.1:", -1},
		{"backend=[::1", -1},
		{"backend=10.0.0.0/8", -1},
		{"state=Free", -1},
		{"state=Dead", -1},
		{"nat=Half", -1},
		{"unreplied=yes", -1},
		{"worker=16", -1},
		{"minAgeSeconds=1-2", -1},
	};

	make_view();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (match(cases[i].query) != cases[i].expected)
			printf("query: %s\n", cases[i].query);
		CHECK_EQ(match(cases[i].query), cases[i].expected);
	}
}

static void a_flow_without_translation_has_no_backend(void)
{
	make_view();
	atomic_store(&view.meta.flags, 0);
	CHECK_EQ(match("backend=10.244.3.9"), 0);
	CHECK_EQ(match("nat=None"), 1);
	view.cold.svc_port_id = 0;
	CHECK_EQ(match("service=shop/cart"), 0);
	CHECK_EQ(match("service=!shop/cart"), 1);
	/* Seen by its worker after our clock was read. */
	atomic_store(&view.meta.last_seen, 100005);
	CHECK_EQ(match("minIdleSeconds=1"), 0);
}

static bool family_wanted(const char *text, enum ip_family family)
{
	struct query_error err;
	struct flow_filter f;
	struct query q;
	bool wanted;

	REQUIRE_EQ(query_parse(text, &q, &err), 0);
	REQUIRE_EQ(flow_filter_parse(&q, &f, &err), 0);
	wanted = flow_filter_family(&f, family);
	query_fini(&q);
	return wanted;
}

static void a_scan_skips_the_other_family(void)
{
	CHECK(family_wanted("", IP_V4));
	CHECK(family_wanted("family=IPv4", IP_V4));
	CHECK(!family_wanted("family=IPv4", IP_V6));
	CHECK(family_wanted("family=IPv4&family=IPv6", IP_V6));
	CHECK(!family_wanted("family=!IPv6", IP_V6));
	CHECK(family_wanted("family=!IPv6", IP_V4));
}

static void too_many_terms(void)
{
	char text[512] = "";

	for (int i = 0; i < FLOW_FILTER_TERMS_MAX + 1; i++)
		strcat(text, "port=1&");
	CHECK_EQ(match(text), -1);
}

/* --- cursors and ids ------------------------------------------------------------------------- */

static void cursors_survive_a_round_trip(void)
{
	for (int i = 0; i < 1000; i++) {
		struct flow_cursor c = {.boot = test_rand(),
			.filter = test_rand(),
			.entry = (uint32_t)test_rand(),
			.family = (uint8_t)test_rand_below(IP_FAMILIES)};
		char text[FLOW_CURSOR_TEXT_MAX];
		struct flow_cursor d;

		flow_cursor_encode(&c, text);
		CHECK(strlen(text) < sizeof(text));
		REQUIRE_EQ(flow_cursor_decode(text, &d), 0);
		CHECK(c.boot == d.boot && c.filter == d.filter && c.entry == d.entry &&
			c.family == d.family);
		/* One text a cursor. */
		text[test_rand_below((uint32_t)strlen(text))] = '*';
		CHECK_EQ(flow_cursor_decode(text, &d), -EINVAL);
	}
}

static void cursor_bytes_of_every_length(void)
{
	uint8_t in[40] = {0}, back[40] = {0};
	char text[80];

	for (size_t n = 0; n <= sizeof(in); n++) {
		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)test_rand();
		cursor_encode(in, n, text);
		CHECK_EQ(cursor_decode(text, back, sizeof(back)), (int)n);
		CHECK_MEM(back, in, n);
		if (n > 0)
			CHECK_EQ(cursor_decode(text, back, n - 1), -EINVAL);
	}
	/* Bits that no byte takes must be zero; a single letter is no byte. */
	CHECK_EQ(cursor_decode("AB", back, sizeof(back)), -EINVAL);
	CHECK_EQ(cursor_decode("A", back, sizeof(back)), -EINVAL);
	CHECK_EQ(cursor_decode("AA", back, sizeof(back)), 1);
}

static void flow_ids(void)
{
	static const char *const bad[] = {"", "4", "4-", "5-00000000-1", "4-0000000-1",
		"4-00000000", "4-00000000-", "4-00000000-4294967296", "4-0000000G-1",
		"4-000000AB-1", "4-00000000-1 ", "4_00000000-1"};
	uint32_t entry, generation;
	enum ip_family family;
	char text[FLOW_ID_MAX];

	flow_id_format(IP_V6, 0xffffffff, 0xffffffff, text);
	CHECK_STR(text, "6-ffffffff-4294967295");
	CHECK_EQ(flow_id_parse(text, &family, &entry, &generation), 0);
	CHECK(family == IP_V6 && entry == 0xffffffff && generation == 0xffffffff);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(flow_id_parse(bad[i], &family, &entry, &generation), -EINVAL);
}

TEST_SUITE("api_query", CASE(decodes_queries), CASE(refuses_hidden_bytes), CASE(splits_paths),
	CASE(reads_typed_values), CASE(filters_match),
	CASE(a_flow_without_translation_has_no_backend), CASE(a_scan_skips_the_other_family),
	CASE(too_many_terms), CASE(cursors_survive_a_round_trip),
	CASE(cursor_bytes_of_every_length), CASE(flow_ids))
