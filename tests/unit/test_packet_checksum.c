/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Checksums against known values and the plainest code; vector code against its plain twin; what
 * translation does to the special values. */

#include <arpa/inet.h>

#include "core/packet.h"
#include "core/simd.h"
#include "lib/frames.h"
#include "unit/harness.h"

static void vectors_match_plain_code(void)
{
	uint8_t bytes[300];
	uint16_t tags[9];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)test_rand();
	for (uint32_t n = 0; n < 280; n++) {
		const uint8_t *p = bytes + n % 17; /* every alignment */

		CHECK_EQ(simd_crc32c(p, n, 77), plain_crc32c(p, n, 77));
		CHECK_EQ(simd_sum16(p, n, 5) % 0xffff, plain_sum16(p, n, 5) % 0xffff);
	}
	for (unsigned n = 0; n < 2000; n++) {
		uint16_t tag = (uint16_t)(n % 3 == 0 ? 0 : test_rand_below(4));
		unsigned expected = 0;

		for (unsigned i = 0; i < 9; i++)
			tags[i] =
				(uint16_t)(test_rand_below(2) ? 0x8000 | tag : test_rand_below(4));
		for (unsigned i = 0; i < 8; i++)
			expected |= (tags[n % 2 + i] == tag ? 1u : 0u) << i;
		CHECK_EQ(simd_match8_u16(tags + n % 2, tag), expected);
		CHECK_EQ(plain_match8_u16(tags + n % 2, tag), expected);
	}
	for (unsigned n = 0; n < 2000; n++) {
		uint32_t have[9], v = n % 9 == 8 ? 77 : 0;

		for (unsigned i = 0; i < 9; i++)
			have[i] = (uint32_t)(1 + test_rand_below(70000)) << 12;
		if (v == 0)
			v = have[n % 9];
		/* The ninth, or nobody: only when it is one of the eight by chance. */
		CHECK_EQ(plain_any8_u32(have + 1, v), simd_any8_u32(have + 1, v));
		CHECK_EQ(simd_any8_u32(have + n % 2, v ^ (n % 4 == 3)),
			plain_any8_u32(have + n % 2, v ^ (n % 4 == 3)));
		if (n % 9 != 8)
			CHECK(simd_any8_u32(have + (n % 9 == 0 ? 0 : 1), v));
	}
}

static void known_values(void)
{
	static const uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	uint8_t zeros[32] = {0}, ones[32];

	CHECK_EQ(ntohs(csum_fold(csum_partial(rfc1071, 8, 0))), 0xddf2);
	CHECK_EQ(csum_fold(csum_partial(rfc1071, 0, 0)), 0);
	/* RFC 3720 B.4 and the check value of the CRC catalogue. */
	memset(ones, 0xff, sizeof(ones));
	CHECK_EQ(crc32c("123456789", 9, 0), 0xe3069283);
	CHECK_EQ(crc32c(zeros, 32, 0), 0x8a9136aa);
	CHECK_EQ(crc32c(ones, 32, 0), 0x62a8ab43);
	CHECK_EQ(crc32c("6789", 4, crc32c("12345", 5, 0)), 0xe3069283);
}

static void folds_every_carry(void)
{
	CHECK_EQ(csum_fold(0), 0);
	CHECK_EQ(csum_fold(0xffff), 0xffff);
	CHECK_EQ(csum_fold(0x10000), 1);
	CHECK_EQ(csum_fold(UINT64_MAX), 0xffff);
	CHECK_EQ(csum_fold(0xfffffffeffffffff), 0xfffe);
	CHECK_EQ(csum_fold(0x00000001fffefffe), 0xfffe);
	/* Sums that carry again after a fold. */
	CHECK_EQ(csum_fold(0x00000000ffff0001), 1);
	CHECK_EQ(csum_fold(0x000000010000ffff), 1);
	CHECK_EQ(csum_fold(0xffff0000ffff0002), 2);
	CHECK_EQ(csum_fold(0x00010000ffffffff), 1);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t sum = test_rand() >> test_rand_below(40);

		if (i % 2 == 0)
			sum |= 0xffff0000ffff0000;
		CHECK_EQ(csum_fold(sum) % 0xffff, sum % 0xffff);
		CHECK(csum_fold(sum) != 0);
	}
}

static void full_sums_match_naive_ones(void)
{
	static const uint8_t protos[] = {6, 17, 1, 58};

	for (unsigned n = 0; n < 400; n++) {
		uint8_t proto = protos[n % 4];
		struct frame_spec s = {.v6 = n % 4 == 3 || (n % 4 < 2 && n % 8 < 4),
			.proto = proto,
			.payload = (uint16_t)test_rand_below(300),
			.sport = (uint16_t)test_rand(),
			.icmp_type = 8};
		struct frame f;
		uint16_t room, stored, at = proto == 6 ? 16 : proto == 17 ? 6 : 2;

		frame_build(&f, &s);
		room = (uint16_t)(f.len - f.l4);
		stored = load_u16(f.data + f.l4 + at);
		CHECK_EQ(l4_csum(f.data, f.l3, f.l4, room, s.v6, proto), stored);
		CHECK(l4_csum_valid(f.data, f.l3, f.l4, room, s.v6, proto));
		if (!s.v6)
			CHECK_EQ(ipv4_csum((struct ipv4_hdr *)(f.data + f.l3)),
				load_u16(f.data + f.l3 + 10));
		f.data[f.l4 + at] ^= 0x40;
		CHECK_EQ(l4_csum(f.data, f.l3, f.l4, room, s.v6, proto), stored);
		CHECK(!l4_csum_valid(f.data, f.l3, f.l4, room, s.v6, proto));
	}
}

static void udp_without_checksum_is_not_valid(void)
{
	struct frame f;

	frame_build(&f, &(struct frame_spec){.proto = 17, .no_csum = true, .payload = 9});
	CHECK(!l4_csum_valid(f.data, f.l3, f.l4, (uint16_t)(f.len - f.l4), false, 17));
}

/* --- translation's special values ------------------------------------------------------------- */

/* A source port that makes the checksum of f translated to it zero. */
static uint16_t port_for_zero(
	const struct frame *f, struct flow_key4 *to, const struct flow_key4 *from)
{
	for (uint32_t port = 1; port < 65536; port++) {
		uint16_t l3, l4;

		to->sport = (uint16_t)port;
		nat_deltas4(from, to, &l3, &l4);
		if (csum_update(load_u16(f->data + f->l4 + 6), l4) == 0)
			return (uint16_t)port;
	}
	return 0;
}

static void computed_zero_is_sent_as_ones(void)
{
	struct frame f, original;
	struct flow_key4 from, to;
	struct parsed p;
	uint16_t l3, l4;

	frame_build(&f, &(struct frame_spec){.proto = 17, .sport = 9, .dport = 10, .payload = 12});
	original = f;
	parse_frame(f.data, f.len, 0, &p);
	from = to = p.key4;
	to.dst = inet_addr("10.7.7.7");
	REQUIRE(port_for_zero(&f, &to, &from) != 0);
	nat_deltas4(&from, &to, &l3, &l4);
	nat_rewrite4(f.data, f.len, f.l3, f.l4, &to, l3, l4, false);
	CHECK_EQ(load_u16(f.data + f.l4 + 6), 0xffff);
	CHECK(frame_right(f.data, f.len, f.l3));
	nat_rewrite4(f.data, f.len, f.l3, f.l4, &from, l3 ^ 0xffff, l4 ^ 0xffff, false);
	CHECK_MEM(f.data, original.data, f.len);
}

static void no_checksum_stays_none(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame f;
		struct parsed p;
		uint16_t l3, l4;

		frame_build(&f,
			&(struct frame_spec){
				.v6 = v6 != 0, .proto = 17, .no_csum = true, .payload = 12});
		parse_frame(f.data, f.len, 0, &p);
		if (v6) {
			struct flow_key6 to = p.key6;

			to.dport = htons(5353);
			nat_deltas6(&p.key6, &to, &l4);
			nat_rewrite6(f.data, f.len, f.l3, f.l4, &to, l4, false);
		} else {
			struct flow_key4 to = p.key4;

			to.dport = htons(5353);
			nat_deltas4(&p.key4, &to, &l3, &l4);
			nat_rewrite4(f.data, f.len, f.l3, f.l4, &to, l3, l4, false);
		}
		CHECK_EQ(load_u16(f.data + f.l4 + 2), htons(5353));
		CHECK_EQ(load_u16(f.data + f.l4 + 6), 0);
	}
}

/* A damaged packet must not leave with a good checksum: no recomputation on the way. */
static void damage_stays_damage(void)
{
	static const uint8_t protos[] = {6, 17, 132, 1};

	for (unsigned n = 0; n < 8; n++) {
		bool v6 = n % 2 != 0;
		uint8_t proto = v6 && n / 2 == 3 ? 58 : protos[n / 2];
		struct frame f;
		struct parsed p;
		uint16_t l3 = 0, l4;

		frame_build(&f,
			&(struct frame_spec){.v6 = v6,
				.proto = proto,
				.payload = 100,
				.icmp_type = v6 ? 128 : 8});
		f.data[f.len - 3] ^= 0x20;
		CHECK(!frame_right(f.data, f.len, f.l3));
		parse_frame(f.data, f.len, 0, &p);
		REQUIRE_EQ(p.kind, PARSE_FLOW);
		if (v6) {
			struct flow_key6 to = p.key6;

			to.dst[7] = 0x99;
			to.sport = to.dport = htons(4444);
			nat_deltas6(&p.key6, &to, &l4);
			nat_rewrite6(f.data, f.len, f.l3, f.l4, &to, l4, false);
		} else {
			struct flow_key4 to = p.key4;

			to.dst = inet_addr("10.3.3.3");
			to.sport = to.dport = htons(4444);
			nat_deltas4(&p.key4, &to, &l3, &l4);
			nat_rewrite4(f.data, f.len, f.l3, f.l4, &to, l3, l4, false);
		}
		CHECK(!frame_right(f.data, f.len, f.l3));
		f.data[f.len - 3] ^= 0x20;
		CHECK(frame_right(f.data, f.len, f.l3));
	}
}

static void later_fragments_change_addresses_only(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame f, expected;
		struct parsed p;
		uint16_t l3, l4;

		frame_build(&f,
			&(struct frame_spec){.v6 = v6 != 0,
				.proto = 6,
				.payload = 100,
				.frag_off = 1480,
				.ext = "f"});
		expected = f;
		parse_frame(f.data, f.len, 0, &p);
		REQUIRE_EQ(p.kind, PARSE_FRAGMENT_LATER);
		if (v6) {
			struct flow_key6 to = p.key6;

			to.dst[15] = 0x77;
			to.sport = 1;
			nat_deltas6(&p.key6, &to, &l4);
			nat_rewrite6(f.data, f.len, p.l3, p.l4, &to, l4, true);
			expected.data[expected.l3 + 24 + 15] = 0x77;
		} else {
			struct flow_key4 to = p.key4;

			to.dst = inet_addr("10.8.8.8");
			to.sport = 1;
			nat_deltas4(&p.key4, &to, &l3, &l4);
			nat_rewrite4(f.data, f.len, p.l3, p.l4, &to, l3, l4, true);
			store_u32(expected.data + expected.l3 + 16, to.dst);
			frame_fix(expected.data, expected.len, expected.l3);
		}
		CHECK_MEM(f.data, expected.data, f.len);
	}
}

/* A quote that ends in front of TCP's checksum has 8 bytes of its header: nothing behind the end
 * may be touched. The buffer has the exact size. */
static void quote_of_eight_bytes(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct parsed outer, inner;
		struct frame f, error;
		uint8_t router[16] = {10, 4, 4, 4}, *copy;

		frame_build(&f, &(struct frame_spec){.v6 = v6 != 0, .proto = 6, .payload = 40});
		frame_error(&error, &f, v6 ? 1 : 3, 1, router, v6 ? 48 : 28);
		copy = malloc(error.len);
		REQUIRE(copy != NULL);
		memcpy(copy, error.data, error.len);
		parse_frame(copy, error.len, 0, &outer);
		REQUIRE_EQ(outer.kind, PARSE_ICMP_ERROR);
		REQUIRE(parse_icmp_quoted(copy, error.len, outer.l4, v6 != 0, 0, &inner));
		if (v6) {
			struct flow_key6 k = inner.key6;

			k.dport = htons(80);
			icmp_error_rewrite6(copy, error.len, &outer, &inner, &k, router, k.src);
		} else {
			struct flow_key4 k = inner.key4;

			k.dport = htons(80);
			icmp_error_rewrite4(
				copy, error.len, &outer, &inner, &k, load_u32(router), k.src);
		}
		CHECK_EQ(load_u16(copy + error.len - 6), htons(80));
		CHECK(frame_right(copy, error.len, error.l3));
		free(copy);
	}
}

TEST_SUITE("packet_checksum", CASE(vectors_match_plain_code), CASE(known_values),
	CASE(folds_every_carry), CASE(full_sums_match_naive_ones),
	CASE(udp_without_checksum_is_not_valid), CASE(computed_zero_is_sent_as_ones),
	CASE(no_checksum_stays_none), CASE(damage_stays_damage),
	CASE(later_fragments_change_addresses_only), CASE(quote_of_eight_bytes))
