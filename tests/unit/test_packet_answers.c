/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What Sluice says by itself: resets, ICMP errors, echo replies, and fragments of packets that are
 * too big. Each answer is checked as its receiver would. */

#include <arpa/inet.h>

#include "core/packet.h"
#include "lib/frames.h"
#include "unit/harness.h"

static struct ip_addr our_address(bool v6)
{
	struct ip_addr a;

	ip_parse(v6 ? "fd00:9::1" : "10.9.0.1", &a);
	return a;
}

static uint32_t get32(const uint8_t *p)
{
	return ntohl(load_u32(p));
}

/* --- resets ----------------------------------------------------------------------------------- */

static void reset_segments(void)
{
	static const struct {
		uint8_t flags, expected;
		uint16_t payload;
		uint32_t seq, ack;
	} cases[] = {
		{TCP_SYN, TCP_RST | TCP_ACK, 0, 0, 101},
		{TCP_SYN, TCP_RST | TCP_ACK, 10, 0, 111},
		{TCP_ACK, TCP_RST, 10, 5000, 0},
		{TCP_FIN | TCP_ACK, TCP_RST, 0, 5000, 0},
		{TCP_FIN, TCP_RST | TCP_ACK, 4, 0, 105},
		{TCP_SYN | TCP_ACK, TCP_RST, 0, 5000, 0},
	};

	for (unsigned n = 0; n < 2 * sizeof(cases) / sizeof(cases[0]); n++) {
		unsigned c = n / 2;
		bool v6 = n % 2 != 0;
		struct ip_addr source = our_address(v6);
		uint8_t out[128];
		struct parsed p, q;
		struct frame f;
		uint16_t len;

		frame_build(&f,
			&(struct frame_spec){.v6 = v6,
				.proto = 6,
				.sport = 1000,
				.dport = 80,
				.tcp_flags = cases[c].flags,
				.tagged = n > 6,
				.vlan = 9,
				.payload = cases[c].payload,
				.tcp_options = 8,
				.pad = 3});
		store_u32(f.data + f.l4 + 4, htonl(100));
		store_u32(f.data + f.l4 + 8, htonl(5000));
		frame_fix(f.data, f.len, f.l3);
		parse_frame(f.data, f.len, 0, &p);
		REQUIRE_EQ(p.kind, PARSE_FLOW);
		CHECK(reject_allowed(f.data, f.len, &p, REJECT_TCP_RESET));
		len = reject_build(
			f.data, f.len, &p, REJECT_TCP_RESET, 0, &source, out, sizeof(out));
		REQUIRE_EQ(len, f.l3 + (v6 ? 60 : 40));
		CHECK(frame_right(out, len, f.l3));
		CHECK_MEM(out, f.data + 6, 6);
		CHECK_MEM(out + 6, f.data, 6);
		parse_frame(out, len, 0, &q);
		REQUIRE_EQ(q.kind, PARSE_FLOW);
		CHECK_EQ(q.vlan, p.vlan);
		CHECK_EQ(q.tcp_flags, cases[c].expected);
		CHECK_EQ(get32(out + q.l4 + 4), cases[c].seq);
		CHECK_EQ(get32(out + q.l4 + 8), cases[c].ack);
		if (v6) {
			struct flow_key6 k = flow_key6_mirror(&p.key6);

			CHECK(flow_key6_equal(&q.key6, &k));
		} else {
			struct flow_key4 k = flow_key4_mirror(&p.key4);

			CHECK(flow_key4_equal(&q.key4, &k));
		}
		for (uint16_t room = 0; room < len; room++)
			CHECK_EQ(reject_build(f.data, f.len, &p, REJECT_TCP_RESET, 0, &source, out,
					 room),
				0);
	}
}

/* --- errors ----------------------------------------------------------------------------------- */

static void errors_have_their_codes(void)
{
	static const struct {
		enum reject_kind kind;
		uint8_t v4[2], v6[2];
		uint32_t word;
	} cases[] = {
		{REJECT_PORT_UNREACHABLE, {3, 3}, {1, 4}, 0},
		{REJECT_HOST_UNREACHABLE, {3, 1}, {1, 3}, 0},
		{REJECT_NO_ROUTE, {3, 0}, {1, 0}, 0},
		{REJECT_PROHIBITED, {3, 13}, {1, 1}, 0},
		{REJECT_TTL, {11, 0}, {3, 0}, 0},
		{REJECT_TOO_BIG, {3, 4}, {2, 0}, 1400},
	};

	for (unsigned n = 0; n < 2 * sizeof(cases) / sizeof(cases[0]); n++) {
		unsigned c = n / 2;
		bool v6 = n % 2 != 0;
		struct ip_addr source = our_address(v6);
		uint8_t out[2048];
		struct parsed p, q, inner;
		struct frame f;
		uint16_t len;

		frame_build(&f,
			&(struct frame_spec){.v6 = v6,
				.proto = 17,
				.sport = 1000,
				.dport = 80,
				.payload = 40,
				.pad = 6});
		parse_frame(f.data, f.len, 0, &p);
		CHECK(reject_allowed(f.data, f.len, &p, cases[c].kind));
		len = reject_build(
			f.data, f.len, &p, cases[c].kind, 1400, &source, out, sizeof(out));
		REQUIRE_EQ(len, f.end + (v6 ? 48 : 28)); /* all of it, and no padding */
		CHECK(frame_right(out, len, f.l3));
		parse_frame(out, len, 0, &q);
		REQUIRE_EQ(q.kind, PARSE_ICMP_ERROR);
		CHECK_EQ(out[q.l4], v6 ? cases[c].v6[0] : cases[c].v4[0]);
		CHECK_EQ(out[q.l4 + 1], v6 ? cases[c].v6[1] : cases[c].v4[1]);
		CHECK_EQ(get32(out + q.l4 + 4), cases[c].word);
		CHECK_MEM(out + q.l4 + 8, f.data + f.l3, f.end - f.l3);
		REQUIRE(parse_icmp_quoted(out, len, q.l4, v6, 0, &inner));
		if (v6) {
			CHECK(flow_key6_equal(&inner.key6, &p.key6));
			CHECK_MEM(q.key6.dst, p.key6.src, 16);
			CHECK_MEM(q.key6.src, source.bytes, 16);
		} else {
			CHECK(flow_key4_equal(&inner.key4, &p.key4));
			CHECK_EQ(q.key4.dst, p.key4.src);
			CHECK_EQ(q.key4.src, ip_v4(&source));
		}
	}
}

static void errors_quote_what_fits(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct ip_addr source = our_address(v6 != 0), other = our_address(v6 == 0);
		uint8_t out[2048];
		struct parsed p, q;
		struct frame f;
		uint16_t len;

		frame_build(&f, &(struct frame_spec){.v6 = v6 != 0, .proto = 17, .payload = 1400});
		parse_frame(f.data, f.len, 0, &p);
		len = reject_build(f.data, f.len, &p, REJECT_TTL, 0, &source, out, sizeof(out));
		CHECK_EQ(len, f.l3 + (v6 ? 1280 : 576));
		CHECK(frame_right(out, len, f.l3));
		for (uint16_t room = 0; room < 300; room++) {
			uint8_t *small = malloc(room + 1u);

			REQUIRE(small != NULL);
			len = reject_build(f.data, f.len, &p, REJECT_TTL, 0, &source, small, room);
			if (room < f.l4 + (v6 ? 48 : 28) + 8) {
				CHECK_EQ(len, 0);
			} else {
				CHECK_EQ(len, room);
				parse_frame(small, len, 0, &q);
				CHECK_EQ(q.kind, PARSE_ICMP_ERROR);
			}
			free(small);
		}
		CHECK_EQ(reject_build(f.data, f.len, &p, REJECT_TTL, 0, &other, out, sizeof(out)),
			0);
		CHECK_EQ(reject_build(f.data, f.len, &p, REJECT_NONE, 0, &source, out, sizeof(out)),
			0);
	}
}

static bool allowed(struct frame_spec s, enum reject_kind kind)
{
	struct parsed p;
	struct frame f;

	frame_build(&f, &s);
	parse_frame(f.data, f.len, 0, &p);
	return reject_allowed(f.data, f.len, &p, kind);
}

#define ALLOWED(kind_, v6_, ...) allowed((struct frame_spec){.v6 = (v6_) != 0, __VA_ARGS__}, kind_)

static void errors_that_must_not_be(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		uint8_t icmp = v6 ? 58 : 1;
		struct parsed p;
		struct frame f;

		CHECK(ALLOWED(REJECT_TTL, v6, .proto = 6, .tcp_flags = TCP_RST));
		CHECK(!ALLOWED(REJECT_TCP_RESET, v6, .proto = 6, .tcp_flags = TCP_RST));
		CHECK(!ALLOWED(REJECT_TCP_RESET, v6, .proto = 17));
		CHECK(!ALLOWED(REJECT_NONE, v6, .proto = 17));
		CHECK(ALLOWED(REJECT_TTL, v6, .proto = icmp, .icmp_type = v6 ? 128 : 8));
		CHECK(!ALLOWED(REJECT_TTL, v6, .proto = icmp, .icmp_type = 3, .payload = 60));
		CHECK(!ALLOWED(
			REJECT_TTL, v6, .proto = 17, .payload = 64, .frag_off = 64, .ext = "f"));
		CHECK(ALLOWED(
			REJECT_TTL, v6, .proto = 17, .payload = 64, .more = true, .ext = "f"));
		CHECK(!ALLOWED(REJECT_TTL, v6, .proto = 17, .dst = v6 ? "ff02::1" : "224.0.0.1"));
		CHECK(!ALLOWED(REJECT_TTL, v6, .proto = 17, .src = v6 ? "::" : "0.0.0.0"));

		/* The parser refuses these, and the answer does not rely on it. */
		frame_build(&f, &(struct frame_spec){.v6 = v6 != 0, .proto = 17});
		parse_frame(f.data, f.len, 0, &p);
		memset(f.data + f.l3 + (v6 ? 8 : 12), 0, v6 ? 16 : 4);
		CHECK(!reject_allowed(f.data, f.len, &p, REJECT_TTL));
		memset(f.data + f.l3 + (v6 ? 8 : 12), 0xff, v6 ? 16 : 4);
		CHECK(!reject_allowed(f.data, f.len, &p, REJECT_TTL));
		f.data[f.l3 + (v6 ? 8 : 12)] = 10;
		CHECK(reject_allowed(f.data, f.len, &p, REJECT_TTL));
		f.data[f.l3 + (v6 ? 24 : 16)] = v6 ? 0xff : 225;
		CHECK(!reject_allowed(f.data, f.len, &p, REJECT_TTL));
		f.data[f.l3 + (v6 ? 24 : 16)] = 10;
		f.data[0] |= 1;
		CHECK(!reject_allowed(f.data, f.len, &p, REJECT_TTL));
	}
}

/* --- echo ------------------------------------------------------------------------------------- */

static void echo_is_answered(void)
{
	for (unsigned n = 0; n < 8; n++) {
		bool v6 = n & 1, tagged = n & 2, options = n & 4;
		struct frame f, asked;

		frame_build(&f,
			&(struct frame_spec){.v6 = v6,
				.proto = v6 ? 58 : 1,
				.icmp_type = v6 ? 128 : 8,
				.sport = 77,
				.dport = 3,
				.payload = 57,
				.ttl = 3,
				.tagged = tagged,
				.vlan = 4,
				.ip_options = options ? 4 : 0,
				.ext = options ? "d" : NULL,
				.pad = 2});
		asked = f;
		CHECK(echo_reply(f.data, f.len, f.l3, f.l4, v6));
		CHECK(frame_right(f.data, f.len, f.l3));
		CHECK_EQ(f.data[f.l4], v6 ? 129 : 0);
		CHECK_MEM(f.data, asked.data + 6, 6);
		CHECK_MEM(f.data + 6, asked.data, 6);
		CHECK_MEM(f.data + 12, asked.data + 12, f.l3 - 12u);
		CHECK_EQ(f.data[f.l3 + (v6 ? 7 : 8)], 64);
		CHECK_MEM(f.data + f.l3 + (v6 ? 8 : 12), asked.data + f.l3 + (v6 ? 24 : 16),
			v6 ? 16 : 4);
		CHECK_MEM(f.data + f.l4 + 4, asked.data + f.l4 + 4, f.len - f.l4 - 4u);
	}
}

static void other_messages_are_not(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame_spec s = {.v6 = v6 != 0,
			.proto = v6 ? 58 : 1,
			.icmp_type = v6 ? 128 : 8,
			.payload = 30};
		struct frame f, before;

		frame_build(&f, &s);
		before = f;
		f.data[f.len - 1] ^= 1;
		CHECK(!echo_reply(f.data, f.len, f.l3, f.l4, v6 != 0));
		f.data[f.len - 1] ^= 1;
		CHECK(!echo_reply(f.data, (uint16_t)(f.len - 1), f.l3, f.l4, v6 != 0));
		CHECK(!echo_reply(f.data, (uint16_t)(f.l4 + 7), f.l3, f.l4, v6 != 0));
		f.data[0] |= 1;
		CHECK(!echo_reply(f.data, f.len, f.l3, f.l4, v6 != 0));
		f.data[0] &= 0xfe;
		CHECK_MEM(f.data, before.data, f.len);
		s.icmp_type = v6 ? 129 : 0;
		frame_build(&f, &s);
		CHECK(!echo_reply(f.data, f.len, f.l3, f.l4, v6 != 0));
		s.icmp_type = v6 ? 128 : 8;
		s.icmp_code = 1;
		frame_build(&f, &s);
		CHECK(!echo_reply(f.data, f.len, f.l3, f.l4, v6 != 0));
		s.icmp_code = 0;
		s.payload = 32;
		s.more = true;
		s.ext = "f";
		frame_build(&f, &s);
		CHECK(!echo_reply(f.data, f.len, f.l3, f.l4, v6 != 0));
	}
}

/* --- cutting ---------------------------------------------------------------------------------- */

/* Puts the fragments together again, as the receiver would; returns the payload's length. */
static uint32_t reassemble(const struct frame *f, uint16_t mtu, uint8_t *payload, unsigned *count)
{
	uint32_t at = 0;
	bool more = true;

	for (*count = 0; *count < 1000; (*count)++) {
		uint8_t *out = malloc((size_t)f->l3 + mtu);
		struct parsed p;
		uint16_t len, header;

		REQUIRE(out != NULL);
		len = ipv4_fragment(f->data, f->len, f->l3, mtu, (uint16_t)*count, out,
			(uint16_t)(f->l3 + mtu));
		if (len == 0) {
			free(out);
			break;
		}
		CHECK(more);
		CHECK_LE(len - f->l3, mtu);
		CHECK_MEM(out, f->data, f->l3);
		parse_frame(out, len, 0, &p);
		CHECK_NE(p.kind, PARSE_DROP);
		CHECK_EQ(p.len, len);
		CHECK_EQ(load_u16(out + f->l3 + 4), load_u16(f->data + f->l3 + 4));
		CHECK_EQ(out[f->l3 + 8], f->data[f->l3 + 8]);
		header = (uint16_t)(p.l4 - p.l3);
		more = (p.flags & LANE_MORE_FRAGMENTS) != 0;
		if (p.flags & LANE_FRAGMENT)
			CHECK_EQ(p.frag_off, at);
		memcpy(payload + at, out + f->l3 + header, (size_t)(len - f->l3 - header));
		at += (uint32_t)(len - f->l3 - header);
		free(out);
	}
	CHECK(!more);
	return at;
}

static void packets_are_cut(void)
{
	static const uint16_t mtus[] = {68, 100, 576, 1280, 1499};
	static const uint8_t options[] = {0, 8, 40};

	for (unsigned n = 0; n < 15; n++) {
		uint16_t mtu = mtus[n % 5];
		struct frame f;
		uint8_t payload[4096];
		unsigned count;
		uint32_t len;

		frame_build(&f,
			&(struct frame_spec){.proto = 17,
				.payload = 1472,
				.id = 99,
				.ip_options = options[n / 5],
				.tagged = n % 2 != 0,
				.pad = 1});
		len = reassemble(&f, mtu, payload, &count);
		CHECK_EQ(len, f.end - f.l4);
		CHECK_MEM(payload, f.data + f.l4, len);
		CHECK_GT(count, 1);
	}
}

static void options_without_the_flag_go_once(void)
{
	struct frame f;
	struct parsed p;
	uint8_t out[200];

	frame_build(&f, &(struct frame_spec){.proto = 17, .payload = 400, .ip_options = 12});
	/* Record route (not copied), then router alert (copied), then the end. */
	memcpy(f.data + f.l3 + 20, "\x07\x07\x04\x00\x00\x00\x00\x94\x04\x00\x00\x00", 12);
	frame_fix(f.data, f.len, f.l3);
	REQUIRE(ipv4_fragment(f.data, f.len, f.l3, 100, 0, out, sizeof(out)) != 0);
	CHECK_MEM(out + f.l3 + 20, f.data + f.l3 + 20, 12);
	REQUIRE(ipv4_fragment(f.data, f.len, f.l3, 100, 1, out, sizeof(out)) != 0);
	parse_frame(out, sizeof(out), 0, &p);
	CHECK_EQ(p.l4 - p.l3, 24);
	CHECK_MEM(out + f.l3 + 20, "\x94\x04\x00\x00", 4);
	/* An option whose length is a lie is not followed. */
	f.data[f.l3 + 21] = 200;
	frame_fix(f.data, f.len, f.l3);
	REQUIRE(ipv4_fragment(f.data, f.len, f.l3, 100, 1, out, sizeof(out)) != 0);
	parse_frame(out, sizeof(out), 0, &p);
	CHECK_EQ(p.l4 - p.l3, 20);
}

static void fragments_are_cut_again(void)
{
	struct frame f;
	struct parsed p;
	uint8_t out[700];
	uint16_t len;

	frame_build(&f,
		&(struct frame_spec){
			.proto = 17, .payload = 800, .frag_off = 1600, .more = true, .id = 5});
	len = ipv4_fragment(f.data, f.len, f.l3, 576, 0, out, sizeof(out));
	parse_frame(out, len, 0, &p);
	CHECK_EQ(p.frag_off, 1600);
	CHECK(p.flags & LANE_MORE_FRAGMENTS);
	len = ipv4_fragment(f.data, f.len, f.l3, 576, 1, out, sizeof(out));
	parse_frame(out, len, 0, &p);
	CHECK_EQ(p.frag_off, 1600 + 552);
	CHECK(p.flags & LANE_MORE_FRAGMENTS); /* the cut's last, not the datagram's */
	CHECK_EQ(ipv4_fragment(f.data, f.len, f.l3, 576, 2, out, sizeof(out)), 0);
}

static void what_is_not_cut(void)
{
	struct frame f;
	uint8_t out[2048];

	frame_build(&f, &(struct frame_spec){.proto = 17, .payload = 800, .dont_fragment = true});
	CHECK_EQ(ipv4_fragment(f.data, f.len, f.l3, 576, 0, out, sizeof(out)), 0);
	frame_build(&f, &(struct frame_spec){.proto = 17, .payload = 800});
	CHECK_EQ(ipv4_fragment(f.data, f.len, f.l3, 27, 0, out, sizeof(out)), 0);
	CHECK_EQ(ipv4_fragment(f.data, f.len, f.l3, 576, 0, out, 500), 0);
	CHECK_EQ(ipv4_fragment(f.data, (uint16_t)(f.len - 1), f.l3, 576, 0, out, sizeof(out)), 0);
	CHECK_EQ(ipv4_fragment(f.data, f.len, f.l3, 576, UINT16_MAX, out, sizeof(out)), 0);
	/* One that fits comes out as it is. */
	CHECK_EQ(ipv4_fragment(f.data, f.len, f.l3, 1500, 0, out, sizeof(out)), f.len);
	CHECK_MEM(out, f.data, f.len);
}

TEST_SUITE("packet_answers", CASE(reset_segments), CASE(errors_have_their_codes),
	CASE(errors_quote_what_fits), CASE(errors_that_must_not_be), CASE(echo_is_answered),
	CASE(other_messages_are_not), CASE(packets_are_cut), CASE(options_without_the_flag_go_once),
	CASE(fragments_are_cut_again), CASE(what_is_not_cut))
