/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Route tables against a naive longest prefix match, and their edges. */

#include <errno.h>

#include "core/route.h"
#include "unit/harness.h"

#define ROUTES_MAX 300

static struct route route(const char *prefix, uint16_t next_hop)
{
	struct route r = {.next_hop = next_hop};

	REQUIRE_EQ(ip_prefix_parse(prefix, &r.prefix), 0);
	return r;
}

static uint16_t look(const struct fib *f, const char *dst, char text[IP_PREFIX_TEXT_MAX])
{
	struct ip_prefix matched;
	struct ip_addr a;
	uint16_t hop;

	REQUIRE_EQ(ip_parse(dst, &a), 0);
	hop = fib_explain(f, &a, &matched);
	CHECK_EQ(fib_lookup(f, &a), hop);
	ip_prefix_format(&matched, text);
	return hop;
}

static void longest_wins(void)
{
	struct route r[] = {route("0.0.0.0/0", 1), route("10.0.0.0/8", 2), route("10.1.0.0/16", 3),
		route("10.1.2.3/32", 4), route("::/0", 5), route("fd00::/8", 6),
		route("fd00:1::/32", 7), route("fd00:1::42/128", 8), route("10.1.0.0/16", 9)};
	char text[IP_PREFIX_TEXT_MAX];
	struct fib *f;

	REQUIRE_EQ(fib_new(r, sizeof(r) / sizeof(r[0]), &f), 0);
	CHECK_EQ(fib_count(f, IP_V4), 4);
	CHECK_EQ(fib_count(f, IP_V6), 4);
	CHECK_EQ(look(f, "192.0.2.1", text), 1);
	CHECK_STR(text, "0.0.0.0/0");
	CHECK_EQ(look(f, "10.2.0.1", text), 2);
	CHECK_STR(text, "10.0.0.0/8");
	/* The later of two equal prefixes. */
	CHECK_EQ(look(f, "10.1.2.4", text), 9);
	CHECK_EQ(look(f, "10.1.2.3", text), 4);
	CHECK_STR(text, "10.1.2.3/32");
	CHECK_EQ(look(f, "2001:db8::1", text), 5);
	CHECK_STR(text, "::/0");
	CHECK_EQ(look(f, "fd00:2::1", text), 6);
	CHECK_EQ(look(f, "fd00:1::41", text), 7);
	CHECK_EQ(look(f, "fd00:1::42", text), 8);
	CHECK_STR(text, "fd00:1::42/128");
	fib_free(f);
}

/* A default route of one family is none of the other's. */
static void families_are_apart(void)
{
	struct route v4 = route("0.0.0.0/0", 1), v6 = route("::/0", 2);
	char text[IP_PREFIX_TEXT_MAX];
	struct fib *f;

	REQUIRE_EQ(fib_new(&v4, 1, &f), 0);
	CHECK_EQ(look(f, "10.0.0.1", text), 1);
	CHECK_EQ(look(f, "fd00::1", text), 0);
	fib_free(f);
	REQUIRE_EQ(fib_new(&v6, 1, &f), 0);
	CHECK_EQ(look(f, "10.0.0.1", text), 0);
	CHECK_EQ(look(f, "fd00::1", text), 2);
	fib_free(f);
}

static void empty_and_bad(void)
{
	struct route bad = route("10.0.0.0/8", 1);
	char text[IP_PREFIX_TEXT_MAX];
	struct fib *f;

	REQUIRE_EQ(fib_new(NULL, 0, &f), 0);
	CHECK_EQ(look(f, "10.0.0.1", text), 0);
	CHECK_EQ(fib_count(f, IP_V4), 0);
	fib_free(f);
	CHECK_EQ(look(NULL, "10.0.0.1", text), 0);
	CHECK_EQ(fib_count(NULL, IP_V6), 0);
	fib_free(NULL);

	bad.prefix.len = 33;
	CHECK_EQ(fib_new(&bad, 1, &f), -EINVAL);
	bad = route("fd00::/8", 1);
	bad.prefix.len = 129;
	CHECK_EQ(fib_new(&bad, 1, &f), -EINVAL);
	bad.prefix.family = IP_V4;
	bad.prefix.len = 8;
	CHECK_EQ(fib_new(&bad, 1, &f), -EINVAL);
	bad.prefix.family = 2;
	CHECK_EQ(fib_new(&bad, 1, &f), -EINVAL);
	/* Host bits do not count. */
	REQUIRE_EQ(ip_parse("10.1.2.3", &bad.prefix.addr), 0);
	bad.prefix.family = IP_V4;
	bad.prefix.len = 16;
	REQUIRE_EQ(fib_new(&bad, 1, &f), 0);
	CHECK_EQ(look(f, "10.1.9.9", text), 1);
	CHECK_STR(text, "10.1.0.0/16");
	fib_free(f);
}

static struct ip_addr random_addr(bool v6)
{
	struct ip_addr a = ip_from_v4((uint32_t)test_rand());

	if (v6) {
		a.dwords[0] = test_rand();
		a.dwords[1] = test_rand();
	}
	/* Few different leading bytes, so that prefixes nest. */
	for (int i = v6 ? 0 : 12; i < 16; i++)
		if (test_rand_below(8) != 0)
			a.bytes[i] = (uint8_t)(i == (v6 ? 0 : 12) ? 10 : test_rand_below(2));
	return a;
}

static const struct route *naive(const struct route *r, uint32_t n, const struct ip_addr *a)
{
	const struct route *best = NULL;

	for (uint32_t i = 0; i < n; i++)
		if (ip_prefix_contains(&r[i].prefix, a) &&
			(best == NULL || r[i].prefix.len >= best->prefix.len))
			best = &r[i];
	return best;
}

static void agrees_with_naive(void)
{
	static struct route r[ROUTES_MAX];

	for (int round = 0; round < 60; round++) {
		uint32_t n = 1 + test_rand_below(ROUTES_MAX);
		struct fib *f;

		for (uint32_t i = 0; i < n; i++) {
			bool v6 = test_rand() & 1;

			r[i].prefix = (struct ip_prefix){.addr = random_addr(v6),
				.len = (uint8_t)test_rand_below(v6 ? 129 : 33),
				.family = v6 ? IP_V6 : IP_V4};
			ip_prefix_mask(&r[i].prefix);
			r[i].next_hop = (uint16_t)(1 + test_rand_below(65535));
			/* The mask may have made a mapped IPv4 address of it. */
			r[i].prefix.family = (uint8_t)ip_family(&r[i].prefix.addr);
			if (v6 && r[i].prefix.family == IP_V4)
				r[i].prefix.len = 0;
		}
		REQUIRE_EQ(fib_new(r, n, &f), 0);
		for (int i = 0; i < 2000; i++) {
			struct ip_addr a = random_addr(test_rand() & 1);
			const struct route *want;
			struct ip_prefix matched;
			uint16_t hop;

			if (i % 4 == 0)
				a = r[test_rand_below(n)].prefix.addr;
			want = naive(r, n, &a);
			hop = fib_explain(f, &a, &matched);
			CHECK_EQ(hop, want != NULL ? want->next_hop : 0);
			CHECK_EQ(fib_lookup(f, &a), hop);
			if (want != NULL)
				CHECK_EQ(matched.len, want->prefix.len);
		}
		fib_free(f);
	}
}

/* Addresses that follow each other, as a node's pods have them, in any byte: a lookup must not walk
 * along all of them. Linear probing at a load of a half has runs of a dozen or two. */
static void runs_of_addresses_spread(void)
{
	static struct route r[256];

	for (int byte = 0; byte < 20; byte++) {
		struct fib *f;

		for (uint32_t n = 0; n < 256; n++) {
			r[n] = byte < 4 ? route("10.244.1.2/32", 1)
					: route("fd00:10:244::2/128", 1);
			r[n].prefix.addr.bytes[byte < 4 ? 12 + byte : byte - 4] = (uint8_t)n;
			/* Those that would be the other family's. */
			if (byte >= 4 && r[n].prefix.addr.dwords[0] == 0)
				r[n].prefix.addr.bytes[0] = 0xfd;
		}
		REQUIRE_EQ(fib_new(r, 256, &f), 0);
		CHECK(fib_longest_probe(f) <= 40);
		for (uint32_t n = 0; n < 256; n++)
			CHECK_EQ(fib_lookup(f, &r[n].prefix.addr), 1);
		fib_free(f);
	}
}

TEST_SUITE("fib", CASE(longest_wins), CASE(families_are_apart), CASE(empty_and_bad),
	CASE(agrees_with_naive), CASE(runs_of_addresses_spread))
