/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Addresses and prefixes: text in both directions, masks, classes (core/ip.h). */

#include <errno.h>

#include "core/ip.h"
#include "unit/harness.h"

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	memset(&a, 0xee, sizeof(a));
	CHECK_EQ(ip_parse(text, &a), 0);
	return a;
}

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;

	memset(&p, 0xee, sizeof(p));
	CHECK_EQ(ip_prefix_parse(text, &p), 0);
	return p;
}

static void parses_and_prints_ipv4(void)
{
	static const struct {
		const char *in, *out;
	} good[] = {
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"10.96.0.1", "10.96.0.1"},
		{"010.001.009.099", "10.1.9.99"},
		{"000.000.000.008", "0.0.0.8"},
	};
	static const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 96, 0, 1};
	struct ip_addr a = addr("10.96.0.1");
	char buf[IP_TEXT_MAX];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct ip_addr b = addr(good[i].in);

		CHECK_EQ(ip_family(&b), IP_V4);
		CHECK_STR(ip_format(&b, buf), good[i].out);
	}
	CHECK_MEM(a.bytes, mapped, 16);
	CHECK_EQ(ip_v4(&a), htonl(0x0a600001));
}

static void refuses_bad_ipv4(void)
{
	static const char *const bad[] = {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4",
		"1..2.3", "256.1.1.1", "1.2.3.256", "1.2.3.0004", "99999999999.1.1.1", " 1.2.3.4",
		"1.2.3.4 ", "1.2.3.4\n", "1.2.3.-4", "+1.2.3.4", "0x7f.0.0.1", "1.2.3.4/24",
		"1,2,3,4", "localhost", "1.2.3.4a"};
	struct ip_addr a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (ip_parse(bad[i], &a) != -EINVAL)
			printf("accepted: %s\n", bad[i]);
		CHECK_EQ(ip_parse(bad[i], &a), -EINVAL);
	}
	CHECK_EQ(ip_parse(NULL, &a), -EINVAL);
}

/* The examples and rules of RFC 5952, section 4. */
static void prints_ipv6_as_rfc_5952(void)
{
	static const struct {
		const char *in, *out;
	} texts[] = {
		{"2001:0db8::0001", "2001:db8::1"},
		{"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:DB8:AAAA:BBBB:CCCC:DDDD:EEEE:AAAA",
			"2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa"},
		{"0:0:0:0:0:0:0:0", "::"},
		{"0:0:0:0:0:0:0:1", "::1"},
		{"1:0:0:0:0:0:0:0", "1::"},
		{"fe80::ecee:eeff:feee:eeee", "fe80::ecee:eeff:feee:eeee"},
		{"fd00:10:96::0a", "fd00:10:96::a"},
		{"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
	};
	char buf[IP_TEXT_MAX];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ip_addr a = addr(texts[i].in), again;

		CHECK_EQ(ip_family(&a), IP_V6);
		CHECK_STR(ip_format(&a, buf), texts[i].out);
		CHECK_EQ(ip_parse(buf, &again), 0);
		CHECK(ip_equal(&a, &again));
	}
}

static void refuses_bad_ipv6(void)
{
	static const char *const bad[] = {":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
		"1::2::3", "12345::", "g::", "::1%eth0", "[::1]", "::1/128", "::256.1.1.1",
		"1:2:3:4:5:6:7:8:", " ::1", "::1 "};
	struct ip_addr a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (ip_parse(bad[i], &a) != -EINVAL)
			printf("accepted: %s\n", bad[i]);
		CHECK_EQ(ip_parse(bad[i], &a), -EINVAL);
	}
}

static void mapped_ipv6_is_ipv4(void)
{
	struct ip_addr a = addr("::ffff:192.0.2.7"), b = addr("192.0.2.7");
	struct ip_addr c = addr("::ffff:c000:207");
	char buf[IP_TEXT_MAX];

	CHECK_EQ(ip_family(&a), IP_V4);
	CHECK(ip_equal(&a, &b));
	CHECK(ip_equal(&c, &b));
	CHECK_STR(ip_format(&a, buf), "192.0.2.7");
}

static void every_text_form_survives_a_round_trip(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		struct ip_addr a, b;
		char buf[IP_TEXT_MAX];

		a.dwords[0] = test_rand();
		a.dwords[1] = test_rand();
		/* Runs of zeros are what the compression rules are about. */
		for (unsigned w = 0, zero = test_rand_below(256); w < 8; w++)
			if (zero & (1u << w))
				a.bytes[2 * w] = a.bytes[2 * w + 1] = 0;
		if (i % 4 == 0)
			a = ip_from_v4((uint32_t)test_rand());

		CHECK_EQ(ip_parse(ip_format(&a, buf), &b), 0);
		CHECK(ip_equal(&a, &b));
		CHECK(strlen(buf) < IP_TEXT_MAX);
	}
}

static void longest_texts_fit(void)
{
	struct ip_addr a = addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	struct ip_prefix p = prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
	char buf[IP_TEXT_MAX], pbuf[IP_PREFIX_TEXT_MAX];

	CHECK_STR(ip_format(&a, buf), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	CHECK_STR(ip_prefix_format(&p, pbuf), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
}

static void parses_prefixes_and_masks_host_bits(void)
{
	static const struct {
		const char *in, *out;
		unsigned len;
		enum ip_family family;
	} good[] = {
		{"10.244.1.7/24", "10.244.1.0/24", 24, IP_V4},
		{"10.244.1.7/32", "10.244.1.7/32", 32, IP_V4},
		{"10.255.255.255/9", "10.128.0.0/9", 9, IP_V4},
		{"1.2.3.4/0", "0.0.0.0/0", 0, IP_V4},
		{"255.255.255.255/31", "255.255.255.254/31", 31, IP_V4},
		{"fd00:10:244:1::5/64", "fd00:10:244:1::/64", 64, IP_V6},
		{"fd00:10:96::ffff/112", "fd00:10:96::/112", 112, IP_V6},
		{"ffff::/3", "e000::/3", 3, IP_V6},
		{"fd00::1/128", "fd00::1/128", 128, IP_V6},
		{"fd00::1/0", "::/0", 0, IP_V6},
	};
	static const char *const bad[] = {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
		"10.0.0.0/+1", "10.0.0.0/ 8", "10.0.0.0/8 ", "10.0.0.0/8/8", "/8", "fd00::/129",
		"fd00::/4294967360", "fd00::/99999999999999999999", "10.0.0/8", "10.0.0.0/0x8",
		"0000000000000000000000000000000000000000000000000001.2.3.4/8"};
	char buf[IP_PREFIX_TEXT_MAX];
	struct ip_prefix p;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		p = prefix(good[i].in);
		CHECK_EQ(p.len, good[i].len);
		CHECK_EQ(p.family, good[i].family);
		CHECK_STR(ip_prefix_format(&p, buf), good[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (ip_prefix_parse(bad[i], &p) != -EINVAL)
			printf("accepted: %s\n", bad[i]);
		CHECK_EQ(ip_prefix_parse(bad[i], &p), -EINVAL);
	}
	CHECK_EQ(ip_prefix_parse(NULL, &p), -EINVAL);
}

static void contains_by_prefix(void)
{
	static const struct {
		const char *prefix, *addr;
		bool in;
	} cases[] = {
		{"10.244.1.0/24", "10.244.1.0", true},
		{"10.244.1.0/24", "10.244.1.255", true},
		{"10.244.1.0/24", "10.244.2.0", false},
		{"10.244.1.0/24", "10.244.0.255", false},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "ffff::1", true},
		/* An IPv4 address is held mapped, but ::/0 is about IPv6. */
		{"::/0", "10.0.0.1", false},
		{"fd00:10:96::/112", "fd00:10:96::1:0", false},
		{"fd00:10:96::/112", "fd00:10:96::ffff", true},
		{"10.0.0.1/32", "10.0.0.1", true},
		{"10.0.0.1/32", "10.0.0.2", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip_prefix p = prefix(cases[i].prefix);
		struct ip_addr a = addr(cases[i].addr);

		CHECK_EQ(ip_prefix_contains(&p, &a), cases[i].in);
	}
}

/* Every length of both families against a count of bits done the slow way. */
static void masks_every_length(void)
{
	for (unsigned family = 0; family < IP_FAMILIES; family++) {
		unsigned bits = family == IP_V4 ? 32 : 128, first = family == IP_V4 ? 96 : 0;

		for (unsigned len = 0; len <= bits; len++) {
			struct ip_prefix p = {.len = (uint8_t)len, .family = (uint8_t)family};
			unsigned set = 0;

			memset(p.addr.bytes, 0xff, 16);
			if (family == IP_V4)
				p.addr = ip_from_v4(0xffffffff);
			ip_prefix_mask(&p);
			for (unsigned i = first; i < 128; i++) {
				bool bit = p.addr.bytes[i / 8] & (0x80 >> (i % 8));

				set += bit;
				CHECK_EQ(bit, i - first < len);
			}
			CHECK_EQ(set, len);
		}
	}
}

static void knows_the_classes(void)
{
	static const struct {
		const char *addr;
		bool loopback, link_local, multicast, zero;
	} cases[] = {
		{"127.0.0.1", true, false, false, false},
		{"127.255.255.255", true, false, false, false},
		{"128.0.0.1", false, false, false, false},
		{"126.255.255.255", false, false, false, false},
		{"::1", true, false, false, false},
		{"::2", false, false, false, false},
		{"1::1", false, false, false, false},
		{"169.254.0.1", false, true, false, false},
		{"169.255.0.1", false, false, false, false},
		{"169.253.255.255", false, false, false, false},
		{"fe80::1", false, true, false, false},
		{"febf:ffff::1", false, true, false, false},
		{"fec0::1", false, false, false, false},
		{"fe7f::1", false, false, false, false},
		{"224.0.0.1", false, false, true, false},
		{"239.255.255.255", false, false, true, false},
		{"240.0.0.1", false, false, false, false},
		{"223.255.255.255", false, false, false, false},
		{"ff02::1", false, false, true, false},
		{"feff::1", false, false, false, false},
		{"0.0.0.0", false, false, false, true},
		{"::", false, false, false, true},
		{"0.0.0.1", false, false, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip_addr a = addr(cases[i].addr);

		CHECK_EQ(ip_is_loopback(&a), cases[i].loopback);
		CHECK_EQ(ip_is_link_local(&a), cases[i].link_local);
		CHECK_EQ(ip_is_multicast(&a), cases[i].multicast);
		CHECK_EQ(ip_is_zero(&a), cases[i].zero);
	}
}

static void orders_addresses(void)
{
	static const char *const sorted[] = {"::1", "0.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.1.0",
		"255.0.0.0", "fd00::1", "fd00::2"};
	const size_t n = sizeof(sorted) / sizeof(sorted[0]);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			struct ip_addr a = addr(sorted[i]), b = addr(sorted[j]);
			int c = ip_compare(&a, &b);

			CHECK_EQ((c > 0) - (c < 0), (i > j) - (i < j));
			CHECK_EQ(ip_equal(&a, &b), i == j);
		}
}

static void names_protocols(void)
{
	static const char *const names[] = {"TCP", "UDP", "SCTP", "ICMP", "ICMPv6"};
	static const uint8_t protos[] = {6, 17, 132, 1, 58};
	char buf[12];

	for (size_t i = 0; i < sizeof(protos); i++) {
		CHECK_STR(ip_proto_name(protos[i], buf), names[i]);
		CHECK_EQ(ip_proto_parse(names[i]), protos[i]);
	}
	CHECK_STR(ip_proto_name(255, buf), "proto-255");
	CHECK_STR(ip_proto_name(0, buf), "proto-0");
	CHECK_EQ(ip_proto_parse("tcp"), 0);
	CHECK_EQ(ip_proto_parse(""), 0);
	CHECK_EQ(ip_proto_parse("TCPX"), 0);
}

TEST_SUITE("ip", CASE(parses_and_prints_ipv4), CASE(refuses_bad_ipv4),
	CASE(prints_ipv6_as_rfc_5952), CASE(refuses_bad_ipv6), CASE(mapped_ipv6_is_ipv4),
	CASE(every_text_form_survives_a_round_trip), CASE(longest_texts_fit),
	CASE(parses_prefixes_and_masks_host_bits), CASE(contains_by_prefix),
	CASE(masks_every_length), CASE(knows_the_classes), CASE(orders_addresses),
	CASE(names_protocols))
