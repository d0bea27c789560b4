/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* ARP and neighbour discovery: messages that we build are read back, then spoiled one field at a
 * time. Buffers have their exact size. */

#include <arpa/inet.h>

#include "core/packet.h"
#include "lib/frames.h"
#include "unit/harness.h"

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 0xaa};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 0xbb};

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	REQUIRE_EQ(ip_parse(text, &a), 0);
	return a;
}

/* Parses a copy of exactly len bytes. */
static enum neighbour_kind read_message(
	const uint8_t *frame, uint16_t len, struct parsed *p, struct neighbour_msg *msg)
{
	uint8_t *copy = malloc(len + 1u);

	REQUIRE(copy != NULL);
	memcpy(copy, frame, len);
	parse_frame(copy, len, 0, p);
	neighbour_parse(copy, len, p, msg);
	free(copy);
	return msg->kind;
}

static enum neighbour_kind kind_of(const uint8_t *frame, uint16_t len)
{
	struct neighbour_msg msg;
	struct parsed p;

	return read_message(frame, len, &p, &msg);
}

/* Sets the checksum of an ND message without extension headers right. */
static void fix_nd(uint8_t *frame, uint16_t len, uint16_t l3)
{
	store_u16(frame + l3 + 4, htons((uint16_t)(len - l3 - 40)));
	frame_fix(frame, len, l3);
}

/* --- a question, its answer, an announcement -------------------------------------------------- */

static void question_and_answer(void)
{
	static const char *const pairs[][2] = {
		{"10.0.0.1", "10.0.0.9"}, {"fd00::1", "fd00::1234:5678"}};

	for (unsigned n = 0; n < 4; n++) {
		bool v6 = n % 2 != 0;
		uint16_t vlan = n / 2 != 0 ? 5 : 0;
		struct ip_addr source = addr(pairs[n % 2][0]), target = addr(pairs[n % 2][1]);
		uint8_t ask[128], out[128];
		struct neighbour_msg msg;
		struct parsed p;
		uint16_t len, answer;

		len = neighbour_request(&target, &source, peer_mac, vlan, ask, sizeof(ask));
		REQUIRE_EQ(len, (v6 ? 86 : 42) + (vlan ? 4 : 0));
		if (v6) {
			CHECK(frame_right(ask, len, vlan ? 18 : 14));
			CHECK_MEM(ask, "\x33\x33\xff\x34\x56\x78", 6);
		} else {
			CHECK_MEM(ask, "\xff\xff\xff\xff\xff\xff", 6);
		}
		CHECK_EQ(read_message(ask, len, &p, &msg), NEIGH_REQUEST);
		CHECK_EQ(p.kind, PARSE_NEIGHBOUR);
		CHECK_EQ(p.vlan, vlan);
		CHECK(ip_equal(&msg.sender, &source));
		CHECK(ip_equal(&msg.target, &target));
		CHECK(msg.has_mac && !msg.probe);
		CHECK_MEM(msg.mac, peer_mac, 6);

		answer = neighbour_answer(ask, len, &p, &msg, our_mac, out, sizeof(out));
		REQUIRE_EQ(answer, len);
		CHECK_MEM(out, peer_mac, 6);
		CHECK_MEM(out + 6, our_mac, 6);
		if (v6)
			CHECK(frame_right(out, answer, p.l3));
		/* In place gives the same. */
		CHECK_EQ(neighbour_answer(ask, len, &p, &msg, our_mac, ask, sizeof(ask)), answer);
		CHECK_MEM(ask, out, answer);
		for (uint16_t room = 0; room < answer; room++)
			CHECK_EQ(neighbour_answer(ask, len, &p, &msg, our_mac, out, room), 0);

		CHECK_EQ(read_message(out, answer, &p, &msg), NEIGH_REPLY);
		CHECK_EQ(p.vlan, vlan);
		CHECK(ip_equal(&msg.target, &target));
		CHECK(msg.has_mac && msg.solicited && msg.override);
		CHECK_MEM(msg.mac, our_mac, 6);
		CHECK_EQ(neighbour_answer(out, answer, &p, &msg, our_mac, ask, sizeof(ask)), 0);
	}
}

static void announcements(void)
{
	static const char *const addrs[] = {"10.0.0.9", "fd00::9"};

	for (unsigned n = 0; n < 4; n++) {
		bool v6 = n % 2 != 0;
		uint16_t vlan = n / 2 != 0 ? 5 : 0;
		struct ip_addr a = addr(addrs[n % 2]);
		uint8_t out[128];
		struct neighbour_msg msg;
		struct parsed p;
		uint16_t len = neighbour_announce(&a, our_mac, vlan, out, sizeof(out));

		REQUIRE_EQ(len, (v6 ? 86 : 42) + (vlan ? 4 : 0));
		CHECK(out[0] & 1);
		CHECK_EQ(read_message(out, len, &p, &msg), NEIGH_REPLY);
		CHECK(ip_equal(&msg.target, &a));
		CHECK(msg.has_mac && msg.override && !msg.solicited);
		CHECK_MEM(msg.mac, our_mac, 6);
		for (uint16_t room = 0; room < len; room++)
			CHECK_EQ(neighbour_announce(&a, our_mac, vlan, out, room), 0);
	}
}

static void requests_need_one_family(void)
{
	struct ip_addr a = addr("10.0.0.1"), b = addr("fd00::1"), c = addr("fd00::2");
	uint8_t out[128];

	CHECK_EQ(neighbour_request(&a, &b, our_mac, 0, out, sizeof(out)), 0);
	CHECK_EQ(neighbour_request(&b, &a, our_mac, 0, out, sizeof(out)), 0);
	for (uint16_t room = 0; room < 86; room++)
		CHECK_EQ(neighbour_request(&b, &c, our_mac, 0, out, room), 0);
	for (uint16_t room = 0; room < 42; room++)
		CHECK_EQ(neighbour_request(&a, &a, our_mac, 0, out, room), 0);
}

/* --- duplicate address detection -------------------------------------------------------------- */

static void probes(void)
{
	struct ip_addr zero4 = addr("0.0.0.0"), target4 = addr("10.0.0.9");
	struct ip_addr source6 = addr("fd00::1"), target6 = addr("fd00::9");
	uint8_t ask[128], out[128];
	struct neighbour_msg msg;
	struct parsed p;
	uint16_t len;

	len = neighbour_request(&target4, &zero4, peer_mac, 0, ask, sizeof(ask));
	CHECK_EQ(read_message(ask, len, &p, &msg), NEIGH_REQUEST);
	CHECK(msg.probe);
	CHECK_EQ(neighbour_answer(ask, len, &p, &msg, our_mac, out, sizeof(out)), 42);
	CHECK_MEM(out, peer_mac, 6);
	CHECK_EQ(kind_of(out, 42), NEIGH_REPLY);

	/* From ::, without the option: who asks has no address to be answered at. */
	len = neighbour_request(&target6, &source6, peer_mac, 0, ask, sizeof(ask));
	memset(ask + 14 + 8, 0, 16);
	fix_nd(ask, len, 14);
	CHECK_EQ(kind_of(ask, len), NEIGH_INVALID);
	len -= 8;
	fix_nd(ask, len, 14);
	CHECK_EQ(read_message(ask, len, &p, &msg), NEIGH_REQUEST);
	CHECK(msg.probe && !msg.has_mac);
	len = neighbour_answer(ask, len, &p, &msg, our_mac, out, sizeof(out));
	REQUIRE_EQ(len, 86);
	CHECK_MEM(out, "\x33\x33\x00\x00\x00\x01", 6);
	CHECK_EQ(read_message(out, len, &p, &msg), NEIGH_REPLY);
	CHECK(!msg.solicited);

	/* To a unicast address it is none. */
	memcpy(ask + 14 + 24, target6.bytes, 16);
	fix_nd(ask, 78, 14);
	CHECK_EQ(kind_of(ask, 78), NEIGH_INVALID);
}

/* A unicast solicitation may come without the sender's MAC: the frame has it. */
static void answer_without_option(void)
{
	struct ip_addr source = addr("fd00::1"), target = addr("fd00::9");
	uint8_t ask[128], out[128];
	struct neighbour_msg msg;
	struct parsed p;

	REQUIRE_EQ(neighbour_request(&target, &source, peer_mac, 0, ask, sizeof(ask)), 86);
	fix_nd(ask, 78, 14);
	CHECK_EQ(read_message(ask, 78, &p, &msg), NEIGH_REQUEST);
	CHECK(!msg.has_mac);
	CHECK_EQ(neighbour_answer(ask, 78, &p, &msg, our_mac, out, sizeof(out)), 86);
	CHECK_MEM(out, peer_mac, 6);
}

/* --- refusals --------------------------------------------------------------------------------- */

struct spoil {
	uint16_t at;
	uint8_t value;
	const char *what;
};

static void spoiled(const uint8_t *good, uint16_t len, const struct spoil *s, size_t n, bool nd)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t frame[128];

		memcpy(frame, good, len);
		frame[s[i].at] = s[i].value;
		if (nd)
			fix_nd(frame, len, 14);
		CHECK_TEXT_(kind_of(frame, len) == NEIGH_INVALID, 0, "%s is accepted", s[i].what);
	}
}

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static void bad_arp(void)
{
	static const struct spoil cases[] = {
		{15, 6, "hardware type"},
		{16, 9, "protocol"},
		{18, 8, "hardware length"},
		{19, 16, "protocol length"},
		{21, 3, "operation"},
		{22, 3, "multicast sender MAC"},
		{28, 127, "loopback sender"},
		{28, 224, "multicast sender"},
		{28, 0, "sender in 0/8"},
		{38, 0, "target in 0/8"},
		{38, 127, "loopback target"},
		{38, 239, "multicast target"},
	};
	struct ip_addr source = addr("10.0.0.1"), target = addr("10.0.0.9");
	uint8_t good[64];
	uint16_t len = neighbour_request(&target, &source, peer_mac, 0, good, sizeof(good));

	CHECK_EQ(kind_of(good, len), NEIGH_REQUEST);
	spoiled(good, len, cases, COUNT_OF(cases), false);
	for (uint16_t n = 14; n < len; n++)
		CHECK_EQ(kind_of(good, n), NEIGH_INVALID);
	memset(good + 22, 0, 6);
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID);
	memcpy(good + 22, peer_mac, 6);
	memset(good + 28, 0, 4);
	good[21] = 2;
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID); /* a reply from nobody */
}

static void bad_discovery(void)
{
	static const struct spoil solicit[] = {
		{14 + 7, 254, "hop limit"},
		{54 + 1, 1, "code"},
		{54 + 8, 0xff, "multicast target"},
		{54 + 25, 0, "option of no length"},
		{54 + 25, 2, "option behind the end"},
		{54 + 26, 1, "multicast MAC"},
	};
	static const struct spoil advert[] = {
		{14 + 7, 64, "hop limit"},
		{54 + 8, 0xff, "multicast target"},
		{54 + 4, 0x60, "solicited, and to all nodes"},
		{54 + 25, 9, "option behind the end"},
	};
	struct ip_addr source = addr("fd00::1"), target = addr("fd00::9");
	uint8_t good[128];
	uint16_t len = neighbour_request(&target, &source, peer_mac, 0, good, sizeof(good));

	CHECK_EQ(kind_of(good, len), NEIGH_REQUEST);
	spoiled(good, len, solicit, COUNT_OF(solicit), true);
	good[54 + 20] ^= 1; /* checksum */
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID);
	good[54 + 20] ^= 1;
	for (uint16_t n = 54; n < len; n++) {
		uint8_t cut[128];

		memcpy(cut, good, n);
		fix_nd(cut, n, 14);
		CHECK_EQ(kind_of(cut, n), n == 78 ? NEIGH_REQUEST : NEIGH_INVALID);
	}
	memset(good + 54 + 8, 0, 16);
	fix_nd(good, len, 14);
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID); /* target :: */
	good[54 + 8 + 15] = 1;
	fix_nd(good, len, 14);
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID); /* target ::1 */
	good[54 + 8 + 10] = good[54 + 8 + 11] = 0xff;
	good[54 + 8 + 12] = 10;
	fix_nd(good, len, 14);
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID); /* a mapped target */

	len = neighbour_announce(&target, peer_mac, 0, good, sizeof(good));
	CHECK_EQ(kind_of(good, len), NEIGH_REPLY);
	spoiled(good, len, advert, COUNT_OF(advert), true);
	memset(good + 14 + 8, 0, 16);
	fix_nd(good, len, 14);
	CHECK_EQ(kind_of(good, len), NEIGH_INVALID); /* from :: */
}

static void routers(void)
{
	struct ip_addr source = addr("fe80::1"), target = addr("fd00::9");
	uint8_t frame[128];
	struct neighbour_msg msg;
	struct parsed p;

	REQUIRE_EQ(neighbour_request(&target, &source, peer_mac, 0, frame, sizeof(frame)), 86);
	/* Solicitation: 8 bytes, then options. */
	memmove(frame + 62, frame + 78, 8);
	frame[54] = 133;
	fix_nd(frame, 70, 14);
	CHECK_EQ(read_message(frame, 70, &p, &msg), NEIGH_ROUTER_SOLICIT);
	CHECK(msg.has_mac);
	CHECK(ip_equal(&msg.sender, &source));
	frame[63] = 3;
	fix_nd(frame, 70, 14);
	CHECK_EQ(kind_of(frame, 70), NEIGH_INVALID);
	frame[63] = 1;
	memset(frame + 22, 0, 16);
	fix_nd(frame, 70, 14);
	CHECK_EQ(kind_of(frame, 70), NEIGH_INVALID); /* from :: with the option */
	fix_nd(frame, 62, 14);
	CHECK_EQ(kind_of(frame, 62), NEIGH_ROUTER_SOLICIT);
	memcpy(frame + 22, source.bytes, 16);
	for (uint8_t type = 134; type <= 137; type++) {
		frame[54] = type;
		fix_nd(frame, 62, 14);
		CHECK_EQ(kind_of(frame, 62),
			type == 134 || type == 137 ? NEIGH_OTHER : NEIGH_INVALID);
	}
}

static void other_frames_are_no_messages(void)
{
	struct neighbour_msg msg;
	struct parsed p;
	struct frame f;

	frame_build(&f, &(struct frame_spec){.proto = 17});
	CHECK_EQ(read_message(f.data, f.len, &p, &msg), NEIGH_INVALID);
	frame_build(
		&f, &(struct frame_spec){.v6 = true, .proto = 58, .icmp_type = 128, .ttl = 255});
	CHECK_EQ(read_message(f.data, f.len, &p, &msg), NEIGH_INVALID);
}

TEST_SUITE("packet_neighbour", CASE(question_and_answer), CASE(announcements),
	CASE(requests_need_one_family), CASE(probes), CASE(answer_without_option), CASE(bad_arp),
	CASE(bad_discovery), CASE(routers), CASE(other_frames_are_no_messages))
