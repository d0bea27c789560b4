/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The parser, branch by branch: frames are built right, then one thing is changed. Every frame is
 * parsed from a buffer of its exact size, and cut at every length, so that the address sanitizer
 * sees a read behind it. */

#include <arpa/inet.h>

#include "core/packet.h"
#include "lib/frames.h"
#include "unit/harness.h"

#define ZONE 7

static void parse(const struct frame *f, struct parsed *p)
{
	uint8_t *copy = malloc(f->len + 1u);

	REQUIRE(copy != NULL);
	memcpy(copy, f->data, f->len);
	memset(p, 0xee, sizeof(*p));
	parse_frame(copy, f->len, ZONE, p);
	free(copy);
}

static void expect_drop(const struct frame *f, enum drop_reason reason, const char *what)
{
	struct parsed p;

	parse(f, &p);
	CHECK_TEXT_(p.kind == PARSE_DROP && p.reason == reason, 0,
		"%s: kind %u reason %s, expected %s", what, p.kind,
		p.kind == PARSE_DROP ? drop_reasons[p.reason].name : "none",
		drop_reasons[reason].name);
}

static void expect_kind(const struct frame *f, enum parse_kind kind, const char *what)
{
	struct parsed p;

	parse(f, &p);
	CHECK_TEXT_(p.kind == kind, 0, "%s: kind %u (%s), expected %u", what, p.kind,
		p.kind == PARSE_DROP ? drop_reasons[p.reason].name : "", kind);
}

static void build(struct frame *f, struct frame_spec s)
{
	frame_build(f, &s);
}

/* Both families of one description. */
#define BUILD(f_, v6_, ...) build(f_, (struct frame_spec){.v6 = (v6_) != 0, __VA_ARGS__})

/* --- what passes ------------------------------------------------------------------------------ */

static void flows_get_keys(void)
{
	static const uint8_t protos[] = {6, 17, 132};

	for (unsigned n = 0; n < 2 * sizeof(protos); n++) {
		bool v6 = n % 2 != 0;
		uint8_t proto = protos[n / 2];
		struct frame f;
		struct parsed p;

		BUILD(&f, v6, .proto = proto, .sport = 1025, .dport = 53, .payload = 33,
			.tcp_flags = TCP_SYN);
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FLOW);
		CHECK_EQ(p.proto, proto);
		CHECK_EQ(p.vlan, 0);
		CHECK_EQ(p.l3, 14);
		CHECK_EQ(p.l4, v6 ? 54 : 34);
		CHECK_EQ(p.len, f.len);
		CHECK_EQ(p.tcp_flags, proto == 6 ? TCP_SYN : 0);
		CHECK_EQ(p.flags, v6 ? LANE_V6 | LANE_DONT_FRAGMENT : 0);
		if (v6) {
			CHECK_MEM(p.key6.src, f.data + 22, 16);
			CHECK_MEM(p.key6.dst, f.data + 38, 16);
			CHECK_EQ(p.key6.sport, htons(1025));
			CHECK_EQ(p.key6.dport, htons(53));
			CHECK_EQ(p.key6.zone, ZONE);
			CHECK_EQ(p.key6.proto, proto);
			CHECK_EQ(p.key6.zero, 0);
		} else {
			CHECK_EQ(p.key4.src, inet_addr("10.1.0.1"));
			CHECK_EQ(p.key4.dst, inet_addr("10.2.0.2"));
			CHECK_EQ(p.key4.sport, htons(1025));
			CHECK_EQ(p.key4.dport, htons(53));
			CHECK_EQ(p.key4.zone, ZONE);
			CHECK_EQ(p.key4.proto, proto);
			CHECK_EQ(p.key4.zero, 0);
		}
	}
}

static void echo_is_keyed_by_identifier(void)
{
	static const uint8_t types[] = {8, 0, 128, 129};

	for (unsigned n = 0; n < 4; n++) {
		bool v6 = n >= 2;
		struct frame f;
		struct parsed p;

		BUILD(&f, v6, .proto = v6 ? 58 : 1, .icmp_type = types[n], .sport = 0x1234,
			.dport = 9, .payload = 56);
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FLOW);
		CHECK_EQ(v6 ? p.key6.sport : p.key4.sport, htons(0x1234));
		CHECK_EQ(v6 ? p.key6.dport : p.key4.dport, htons(0x1234));
	}
}

static void padding_and_tags(void)
{
	for (unsigned n = 0; n < 4; n++) {
		bool v6 = n % 2 != 0, tagged = n / 2 != 0;
		struct frame f;
		struct parsed p;

		BUILD(&f, v6, .proto = 17, .payload = 1, .pad = 17, .tagged = tagged, .vlan = 300);
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FLOW);
		CHECK_EQ(p.len, f.len - 17);
		CHECK_EQ(p.vlan, tagged ? 300 : 0);
		CHECK_EQ(p.l3, tagged ? 18 : 14);
		CHECK_EQ(p.l4 - p.l3, v6 ? 40 : 20);
	}
}

/* The inline path must say exactly what the general one says: a tag or an option sends a packet
 * the other way round. */
static void fast_and_general_agree(void)
{
	struct frame f;
	struct parsed fast, general;

	BUILD(&f, false, .proto = 6, .sport = 5, .dport = 6, .payload = 10, .dont_fragment = true);
	CHECK(parse_fast(f.data, f.len, ETH_HLEN, ZONE, &fast));
	BUILD(&f, false, .proto = 6, .sport = 5, .dport = 6, .payload = 10, .dont_fragment = true,
		.ip_options = 8);
	CHECK(!parse_fast(f.data, f.len, ETH_HLEN, ZONE, &general));
	parse(&f, &general);
	CHECK_EQ(general.kind, fast.kind);
	CHECK_EQ(general.flags, fast.flags | LANE_IP_OPTIONS);
	CHECK_EQ(general.l4, fast.l4 + 8);
	CHECK_EQ(general.len, fast.len + 8);
	CHECK_MEM(&general.key4, &fast.key4, sizeof(fast.key4));

	BUILD(&f, true, .proto = 17, .sport = 5, .dport = 6, .payload = 10);
	CHECK(parse_fast(f.data, f.len, ETH_HLEN, ZONE, &fast));
	BUILD(&f, true, .proto = 17, .sport = 5, .dport = 6, .payload = 10, .ext = "h");
	CHECK(!parse_fast(f.data, f.len, ETH_HLEN, ZONE, &general));
	parse(&f, &general);
	CHECK_EQ(general.flags, fast.flags | LANE_IP_OPTIONS);
	CHECK_EQ(general.l4, fast.l4 + 8);
	CHECK_MEM(&general.key6, &fast.key6, sizeof(fast.key6));
}

static void extension_chains(void)
{
	static const char *const good[] = {
		"h", "r", "d", "f", "hd", "hdrfd", "ddddddd", "hddddddd"};
	struct frame f;
	struct parsed p;

	for (unsigned n = 0; n < sizeof(good) / sizeof(good[0]); n++) {
		BUILD(&f, true, .proto = 6, .ext = good[n], .payload = 5);
		parse(&f, &p);
		CHECK_TEXT_(p.kind == PARSE_FLOW && p.l4 == f.l4, 0, "chain %s: kind %u", good[n],
			p.kind);
		CHECK_EQ(p.flags, LANE_V6 | LANE_DONT_FRAGMENT | LANE_IP_OPTIONS);
	}
	BUILD(&f, true, .proto = 6, .ext = "ddddddddd", .payload = 5);
	expect_drop(&f, DROP_ExtHeaderUnsupported, "nine headers");
	BUILD(&f, true, .proto = 6, .ext = "dh", .payload = 5);
	expect_drop(&f, DROP_ExtHeaderUnsupported, "hop-by-hop in the middle");
	BUILD(&f, true, .proto = 6, .ext = "ff", .payload = 5);
	expect_drop(&f, DROP_ExtHeaderUnsupported, "two fragment headers");
	BUILD(&f, true, .proto = 6, .ext = "r", .payload = 5);
	f.data[54 + 3] = 1;
	expect_drop(&f, DROP_ExtHeaderUnsupported, "segments left");
	BUILD(&f, true, .proto = 6, .ext = "d", .payload = 5);
	f.data[54 + 1] = 200;
	expect_drop(&f, DROP_TruncatedHeader, "a header longer than the packet");
	for (unsigned n = 0; n < 5; n++) {
		static const uint8_t unknown[] = {135, 139, 140, 253, 254};

		BUILD(&f, true, .proto = unknown[n], .payload = 40);
		expect_drop(&f, DROP_ExtHeaderUnsupported, "a header that is not known");
	}
	for (unsigned n = 0; n < 4; n++) {
		static const uint8_t unknown[] = {50, 51, 59, 1};

		BUILD(&f, true, .proto = unknown[n], .payload = 40);
		expect_drop(&f, DROP_UnknownProtocol, "ESP, AH, none, ICMPv4");
	}
}

/* --- what does not ---------------------------------------------------------------------------- */

static void every_cut_is_refused(void)
{
	static const struct frame_spec specs[] = {
		{.proto = 6, .payload = 8, .tcp_options = 12},
		{.proto = 17, .payload = 8, .ip_options = 12},
		{.proto = 1, .icmp_type = 8, .payload = 8},
		{.v6 = true, .proto = 6, .payload = 8, .tagged = true},
		{.v6 = true, .proto = 132, .payload = 8, .ext = "hdfd"},
	};
	struct frame f;

	for (unsigned n = 0; n < sizeof(specs) / sizeof(specs[0]); n++) {
		frame_build(&f, &specs[n]);
		expect_kind(&f, PARSE_FLOW, "whole");
		while (f.len-- > 0)
			expect_drop(&f, DROP_RuntFrame, "cut");
	}
}

/* As above, but the IP header knows of the cut. */
static void every_short_packet_is_refused(void)
{
	static const uint8_t protos[] = {6, 17, 132, 1, 58};
	static const uint8_t least[] = {20, 8, 12, 8, 8};

	for (unsigned n = 0; n < 5; n++) {
		bool v6 = protos[n] == 58;
		struct frame f, cut;

		BUILD(&f, v6, .proto = protos[n], .icmp_type = v6 ? 128 : 8);
		for (uint16_t room = 0; room < least[n]; room++) {
			uint16_t field = htons((uint16_t)(v6 ? room : 20 + room));

			cut = f;
			cut.len = (uint16_t)(cut.l4 + room);
			store_u16(cut.data + cut.l3 + (v6 ? 4 : 2), field);
			if (!v6) {
				store_u16(cut.data + cut.l3 + 10, 0);
				store_u16(cut.data + cut.l3 + 10,
					htons(naive_csum(cut.data + cut.l3, 20, 0)));
			}
			expect_drop(&cut, DROP_TruncatedHeader, "short");
		}
	}
}

static void ether_types(void)
{
	struct frame f;
	struct parsed p;

	BUILD(&f, false, .proto = 6);
	store_u16(f.data + 12, htons(0x88cc));
	expect_drop(&f, DROP_UnknownEtherType, "LLDP");
	store_u16(f.data + 12, htons(60));
	expect_drop(&f, DROP_UnknownEtherType, "802.3 length");
	BUILD(&f, false, .proto = 6, .tagged = true, .vlan = 5);
	store_u16(f.data + 16, htons(ETH_TYPE_VLAN));
	expect_drop(&f, DROP_UnknownEtherType, "two tags");
	BUILD(&f, false, .proto = 6, .tagged = true, .vlan = 0xf005);
	store_u16(f.data + 16, htons(ETH_TYPE_ARP));
	parse(&f, &p);
	CHECK_EQ(p.kind, PARSE_NEIGHBOUR);
	CHECK_EQ(p.l3, 18);
	CHECK_EQ(p.vlan, 5);
	CHECK_EQ(p.flags, 0);
}

static void ipv4_headers(void)
{
	struct frame f;

	BUILD(&f, false, .proto = 6);
	f.data[14] = 0x55;
	expect_drop(&f, DROP_BadIpHeader, "version 5");
	f.data[14] = 0x44;
	expect_drop(&f, DROP_BadIpHeader, "header of 16 bytes");
	BUILD(&f, false, .proto = 6);
	store_u16(f.data + 16, htons(19));
	expect_drop(&f, DROP_BadIpHeader, "total below header");
	BUILD(&f, false, .proto = 6);
	store_u16(f.data + 16, htons(41));
	expect_drop(&f, DROP_RuntFrame, "total above frame");
	for (unsigned byte = 14; byte < 34; byte++) {
		BUILD(&f, false, .proto = 17, .payload = 24);
		if (byte == 14 || byte == 16 || byte == 17)
			continue;
		f.data[byte] ^= 0x10;
		expect_drop(&f, DROP_BadIpChecksum, "a flipped bit");
	}
	BUILD(&f, false, .proto = 47, .payload = 20);
	expect_drop(&f, DROP_UnknownProtocol, "GRE");
	BUILD(&f, false, .proto = 58, .payload = 20);
	expect_drop(&f, DROP_UnknownProtocol, "ICMPv6 over IPv4");
	BUILD(&f, true, .proto = 6);
	f.data[14] = 0x40;
	expect_drop(&f, DROP_BadIpHeader, "version 4 in an IPv6 frame");
}

static void addresses(void)
{
	static const struct {
		const char *src, *dst;
		enum drop_reason reason;
	} cases[] = {
		{"0.0.0.0", "10.0.0.1", DROP_MartianSource},
		{"0.1.2.3", "10.0.0.1", DROP_MartianSource},
		{"127.0.0.1", "10.0.0.1", DROP_MartianSource},
		{"224.0.0.1", "10.0.0.1", DROP_MartianSource},
		{"239.255.255.255", "10.0.0.1", DROP_MartianSource},
		{"255.255.255.255", "10.0.0.1", DROP_MartianSource},
		{"10.0.0.1", "224.0.0.251", DROP_Multicast},
		{"10.0.0.1", "255.255.255.255", DROP_Multicast},
		{"0.0.0.0", "255.255.255.255", DROP_Multicast},
		{"10.0.0.1", "127.0.0.1", DROP_MartianDestination},
		{"10.0.0.1", "0.0.0.0", DROP_MartianDestination},
		{"::", "fd00::1", DROP_MartianSource},
		{"::1", "fd00::1", DROP_MartianSource},
		{"ff02::1", "fd00::1", DROP_MartianSource},
		{"::ffff:10.0.0.1", "fd00::1", DROP_MartianSource},
		{"fd00::1", "ff02::1", DROP_Multicast},
		{"fd00::1", "ff05::1:3", DROP_Multicast},
		{"fd00::1", "::1", DROP_MartianDestination},
		{"fd00::1", "::", DROP_MartianDestination},
		{"fd00::1", "::ffff:10.0.0.1", DROP_MartianDestination},
	};
	static const char *const good[][2] = {
		{"240.0.0.1", "250.1.1.1"},
		{"1.0.0.0", "223.255.255.255"},
		{"126.0.0.1", "128.0.0.1"},
		{"64:ff9b::a00:1", "fe80::1"},
		{"fe80::1", "2001:db8::1"},
		{"::2", "0:0:0:0:1::"},
	};
	struct frame f;

	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		BUILD(&f, strchr(cases[n].src, ':') != NULL, .proto = 17, .src = cases[n].src,
			.dst = cases[n].dst, .payload = 24);
		expect_drop(&f, cases[n].reason, cases[n].src);
	}
	for (unsigned n = 0; n < sizeof(good) / sizeof(good[0]); n++) {
		BUILD(&f, strchr(good[n][0], ':') != NULL, .proto = 6, .src = good[n][0],
			.dst = good[n][1]);
		expect_kind(&f, PARSE_FLOW, good[n][0]);
	}
}

static void tcp_flags(void)
{
	for (unsigned flags = 0; flags < 256; flags++) {
		bool syn = flags & TCP_SYN, fin = flags & TCP_FIN, rst = flags & TCP_RST;
		bool bad = (!syn && !fin && !rst && !(flags & TCP_ACK)) || (syn && (fin || rst));
		struct frame f;

		for (unsigned v6 = 0; v6 < 2; v6++) {
			BUILD(&f, v6, .proto = 6);
			f.data[f.l4 + 13] = (uint8_t)flags;
			if (bad)
				expect_drop(&f, DROP_BadTcpFlags, "flags");
			else
				expect_kind(&f, PARSE_FLOW, "flags");
			/* And where the inline path does not look. */
			if (v6)
				BUILD(&f, v6, .proto = 6, .ext = "d");
			else
				BUILD(&f, v6, .proto = 6, .ip_options = 4);
			f.data[f.l4 + 13] = (uint8_t)flags;
			if (bad)
				expect_drop(&f, DROP_BadTcpFlags, "flags");
			else
				expect_kind(&f, PARSE_FLOW, "flags");
		}
	}
}

static void transport_lengths(void)
{
	/* Short packets go the general way, longer ones the inline one. */
	static const uint16_t payloads[] = {3, 33};

	for (unsigned n = 0; n < 4; n++) {
		uint16_t payload = payloads[n / 2];
		bool v6 = n % 2 != 0;
		struct frame f;

		BUILD(&f, v6, .proto = 6, .payload = payload);
		f.data[f.l4 + 12] = 0x40;
		expect_drop(&f, DROP_TruncatedHeader, "TCP header of 16 bytes");
		f.data[f.l4 + 12] = (uint8_t)((20 + payload) / 4 + 1) << 4;
		expect_drop(&f, DROP_TruncatedHeader, "TCP options behind the end");
		BUILD(&f, v6, .proto = 17, .payload = payload);
		store_u16(f.data + f.l4 + 4, htons(7));
		expect_drop(&f, DROP_TruncatedHeader, "UDP length below its header");
		store_u16(f.data + f.l4 + 4, htons(payload + 9));
		expect_drop(&f, DROP_TruncatedHeader, "UDP length behind the end");
		store_u16(f.data + f.l4 + 4, htons(payload + 7));
		expect_kind(&f, PARSE_FLOW, "UDP shorter than its packet");
	}
}

/* --- ICMP ------------------------------------------------------------------------------------- */

static void icmp_types(void)
{
	struct frame f;

	for (unsigned type = 0; type < 256; type++) {
		BUILD(&f, false, .proto = 1, .icmp_type = (uint8_t)type, .payload = 28);
		if (type == 0 || type == 8)
			expect_kind(&f, PARSE_FLOW, "echo");
		else if (type == 3 || type == 11 || type == 12)
			expect_kind(&f, PARSE_ICMP_ERROR, "error");
		else
			expect_drop(&f, DROP_IcmpUnsupported, "other");
		BUILD(&f, true, .proto = 58, .icmp_type = (uint8_t)type, .payload = 48);
		if (type == 128 || type == 129)
			expect_kind(&f, PARSE_FLOW, "echo");
		else if (type >= 1 && type <= 4)
			expect_kind(&f, PARSE_ICMP_ERROR, "error");
		else if (type >= 133 && type <= 137)
			expect_kind(&f, PARSE_NEIGHBOUR, "neighbour discovery");
		else
			expect_drop(&f, DROP_IcmpUnsupported, "other");
	}
}

static void icmp_errors(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame f;
		struct parsed p;

		BUILD(&f, v6, .proto = v6 ? 58 : 1, .icmp_type = 3, .payload = 60);
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_ICMP_ERROR);
		CHECK(p.flags & LANE_ICMP_ERROR);
		if (v6) {
			CHECK_MEM(p.key6.src, f.data + 22, 32);
			CHECK_EQ(p.key6.sport, 0);
			CHECK_EQ(p.key6.proto, 58);
		} else {
			CHECK_EQ(p.key4.src, inet_addr("10.1.0.1"));
			CHECK_EQ(p.key4.zone, ZONE);
			CHECK_EQ(p.key4.sport, 0);
		}
		f.data[f.l4 + 20] ^= 1;
		expect_drop(&f, DROP_BadIcmpChecksum, "a damaged error");
		BUILD(&f, v6, .proto = v6 ? 58 : 1, .icmp_type = 3, .payload = 48, .more = true,
			.ext = "f");
		expect_drop(&f, DROP_FragmentUnsupported, "an error in fragments");
	}
}

static void neighbour_discovery(void)
{
	struct frame f;

	BUILD(&f, true, .proto = 58, .icmp_type = 135, .payload = 24,
		.src = "::", .dst = "ff02::1:ff00:1");
	expect_kind(&f, PARSE_NEIGHBOUR, "duplicate address detection");
	BUILD(&f, true, .proto = 58, .icmp_type = 136, .payload = 24, .dst = "ff02::1");
	expect_kind(&f, PARSE_NEIGHBOUR, "multicast advertisement");
	BUILD(&f, true, .proto = 58, .icmp_type = 135, .payload = 24, .src = "::1");
	expect_drop(&f, DROP_MartianSource, "from loopback");
	BUILD(&f, true, .proto = 58, .icmp_type = 135, .payload = 24, .ext = "f");
	expect_drop(&f, DROP_FragmentInvalid, "in an atomic fragment");
	BUILD(&f, true, .proto = 58, .icmp_type = 143, .payload = 24, .ext = "h",
		.dst = "ff02::16");
	expect_drop(&f, DROP_Multicast, "multicast listener report");
}

/* --- fragments -------------------------------------------------------------------------------- */

static void first_fragments(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame f;
		struct parsed p;

		BUILD(&f, v6, .proto = 17, .sport = 7, .dport = 8, .payload = 64, .more = true,
			.id = 0xabcd, .ext = "fd");
		store_u16(f.data + f.l4 + 4, htons(5000)); /* of the whole datagram */
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FLOW);
		CHECK_EQ(p.flags & (LANE_FRAGMENT | LANE_FRAGMENT_LATER | LANE_MORE_FRAGMENTS),
			LANE_FRAGMENT | LANE_MORE_FRAGMENTS);
		CHECK_EQ(p.frag_off, 0);
		CHECK_EQ(p.frag_len, v6 ? 16 + 72 : 72);
		CHECK_EQ(p.frag_id, v6 ? htonl(0xabcd) : htons(0xabcd));
		CHECK_EQ(v6 ? p.key6.sport : p.key4.sport, htons(7));

		BUILD(&f, v6, .proto = 6, .payload = 44, .more = true, .ext = "f");
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FLOW);
		CHECK_EQ(p.flags & (LANE_FRAGMENT | LANE_MORE_FRAGMENTS),
			LANE_FRAGMENT | LANE_MORE_FRAGMENTS);

		BUILD(&f, v6, .proto = 6, .payload = 20, .tcp_options = 40, .more = true,
			.ext = "f");
		f.len = f.end = (uint16_t)(f.l4 + 48);
		store_u16(f.data + f.l3 + (v6 ? 4 : 2), htons(v6 ? 8 + 48 : 20 + 48));
		frame_fix(f.data, f.len, f.l3);
		expect_kind(&f, PARSE_FLOW, "TCP options cut at the least MTU");
	}
}

static void tiny_first_fragments(void)
{
	static const uint8_t protos[] = {6, 6, 132, 17};
	static const uint8_t room[] = {8, 16, 8, 0};

	for (unsigned n = 0; n < 8; n++) {
		bool v6 = n % 2 != 0;
		uint16_t bytes = room[n / 2];
		struct frame f;

		BUILD(&f, v6, .proto = protos[n / 2], .payload = 64, .more = true, .ext = "f");
		f.len = f.end = (uint16_t)(f.l4 + bytes);
		store_u16(f.data + f.l3 + (v6 ? 4 : 2), htons((uint16_t)((v6 ? 8 : 20) + bytes)));
		frame_fix(f.data, f.len, f.l3);
		expect_drop(&f, DROP_FragmentInvalid, "tiny first fragment");
	}
}

static void later_fragments(void)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct frame f;
		struct parsed p;

		BUILD(&f, v6, .proto = 17, .payload = 61, .frag_off = 1480, .id = 77, .ext = "f");
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FRAGMENT_LATER);
		CHECK_EQ(p.flags & (LANE_FRAGMENT | LANE_FRAGMENT_LATER | LANE_MORE_FRAGMENTS),
			LANE_FRAGMENT | LANE_FRAGMENT_LATER);
		CHECK_EQ(p.frag_off, 1480);
		CHECK_EQ(p.frag_len, 61);
		CHECK_EQ(p.proto, 17);
		CHECK_EQ(v6 ? p.key6.sport : p.key4.sport, 0);
		CHECK_EQ(v6 ? p.key6.zone : p.key4.zone, ZONE);

		BUILD(&f, v6, .proto = 17, .payload = 61, .frag_off = 1480, .more = true,
			.ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "not in eights, and more follow");
		BUILD(&f, v6, .proto = 17, .payload = 60, .frag_off = 1480, .more = true,
			.ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "in fours, and more follow");
		BUILD(&f, v6, .proto = 17, .payload = 8, .frag_off = 65528, .ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "behind 65535");
		BUILD(&f, v6, .proto = 17, .payload = 7, .frag_off = 65528, .ext = "f");
		expect_kind(&f, PARSE_FRAGMENT_LATER, "up to 65535");
		BUILD(&f, v6, .proto = 17, .payload = 64, .frag_off = 65528, .ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "behind 65535");
		BUILD(&f, v6, .proto = 17, .payload = 0, .frag_off = 64, .ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "empty");
		BUILD(&f, v6, .proto = 6, .payload = 64, .frag_off = 8, .ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "inside the TCP header at 8");
		BUILD(&f, v6, .proto = 6, .payload = 64, .frag_off = 16, .ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "inside the TCP header at 16");
		BUILD(&f, v6, .proto = 132, .payload = 64, .frag_off = 8, .ext = "f");
		expect_drop(&f, DROP_FragmentInvalid, "inside the SCTP header");
		BUILD(&f, v6, .proto = 17, .payload = 64, .frag_off = 8, .ext = "f");
		expect_kind(&f, PARSE_FRAGMENT_LATER, "behind the UDP header");
		BUILD(&f, v6, .proto = 47, .payload = 64, .frag_off = 8, .ext = "f");
		expect_drop(&f, DROP_UnknownProtocol, "GRE");
	}
}

/* A last fragment that carries what looks like a transport header. */
static void later_fragments_in_disguise(void)
{
	static const uint8_t protos[] = {6, 17};

	for (unsigned n = 0; n < 2; n++) {
		struct frame f;
		struct parsed p;

		BUILD(&f, false, .proto = protos[n], .sport = 1, .dport = 2, .payload = 44);
		store_u16(f.data + f.l3 + 6, htons(8));
		frame_fix(f.data, f.len, f.l3);
		parse(&f, &p);
		CHECK_EQ(p.kind, PARSE_FRAGMENT_LATER);
		CHECK_EQ(p.key4.sport, 0);
	}
}

static void fragment_chains(void)
{
	struct frame f;
	struct parsed p;

	BUILD(&f, true, .proto = 60, .payload = 64, .frag_off = 64, .ext = "hf");
	expect_kind(&f, PARSE_FRAGMENT_LATER, "the first one has destination options");
	BUILD(&f, true, .proto = 6, .payload = 0, .more = true, .ext = "fd");
	f.len = f.end = (uint16_t)(f.l4 - 8);
	store_u16(f.data + f.l3 + 4, htons(16));
	expect_drop(&f, DROP_FragmentInvalid, "chain cut by the fragment");
	BUILD(&f, true, .proto = 6, .payload = 9, .ext = "f", .id = 3);
	parse(&f, &p);
	CHECK_EQ(p.kind, PARSE_FLOW);
	CHECK_EQ(p.flags & LANE_FRAGMENT, 0);
}

/* --- quoted packets --------------------------------------------------------------------------- */

static bool quoted(const struct frame *about, uint16_t n, struct parsed *p)
{
	bool v6 = about->data[about->l3] >> 4 == 6, ok;
	struct frame e;
	uint8_t router[16] = {10, 9, 9, 9}, *copy;

	frame_error(&e, about, v6 ? 1 : 3, 0, router, n);
	copy = malloc(e.len);
	REQUIRE(copy != NULL);
	memcpy(copy, e.data, e.len);
	ok = parse_icmp_quoted(copy, e.len, e.l4, v6, ZONE, p);
	free(copy);
	return ok;
}

static void quoted_packets(void)
{
	static const uint8_t protos[] = {6, 17, 132};

	for (unsigned n = 0; n < 6; n++) {
		bool v6 = n % 2 != 0;
		struct frame f;
		struct parsed p;
		uint16_t least;

		BUILD(&f, v6, .proto = protos[n / 2], .sport = 10, .dport = 20, .payload = 100,
			.ip_options = 8, .ext = "hd");
		least = (uint16_t)(f.l4 - f.l3 + 8);
		for (uint16_t cut = 0; cut < least; cut++)
			CHECK(!quoted(&f, cut, &p));
		CHECK(quoted(&f, least, &p));
		CHECK_EQ(p.proto, protos[n / 2]);
		CHECK_EQ(p.l3, 14 + (v6 ? 48 : 28));
		CHECK_EQ(p.l4 - p.l3, least - 8);
		CHECK_EQ(v6 ? p.key6.sport : p.key4.sport, htons(10));
		CHECK_EQ(v6 ? p.key6.dport : p.key4.dport, htons(20));
		CHECK_EQ(v6 ? p.key6.zone : p.key4.zone, ZONE);
		CHECK_MEM(v6 ? (void *)p.key6.src : (void *)&p.key4.src,
			f.data + f.l3 + (v6 ? 8 : 12), v6 ? 32 : 8);
	}
}

static void quoted_but_not_trackable(void)
{
	struct frame f;
	struct parsed p;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		BUILD(&f, v6, .proto = v6 ? 58 : 1, .icmp_type = v6 ? 128 : 8, .sport = 5,
			.payload = 30);
		CHECK(quoted(&f, (uint16_t)(f.len - f.l3), &p));
		CHECK_EQ(v6 ? p.key6.dport : p.key4.dport, htons(5));
		BUILD(&f, v6, .proto = v6 ? 58 : 1, .icmp_type = 3, .payload = 30);
		CHECK(!quoted(&f, (uint16_t)(f.len - f.l3), &p)); /* an error about an error */
		BUILD(&f, v6, .proto = 47, .payload = 30);
		CHECK(!quoted(&f, (uint16_t)(f.len - f.l3), &p));
		BUILD(&f, v6, .proto = 17, .payload = 64, .frag_off = 64, .ext = "f");
		CHECK(!quoted(&f, (uint16_t)(f.len - f.l3), &p)); /* no ports in it */
		BUILD(&f, v6, .proto = 17, .payload = 64, .more = true, .ext = "f");
		CHECK(quoted(&f, (uint16_t)(f.len - f.l3), &p));
		CHECK(p.flags & LANE_FRAGMENT);
		BUILD(&f, v6, .proto = 17, .payload = 64);
		f.data[14] = v6 ? 0x40 : 0x44;
		if (!v6)
			CHECK(!quoted(&f, (uint16_t)(f.len - f.l3), &p));
	}
	BUILD(&f, true, .proto = 17, .payload = 64, .ext = "dddddddddd");
	CHECK(!quoted(&f, (uint16_t)(f.len - f.l3), &p));
}

TEST_SUITE("packet_parse", CASE(flows_get_keys), CASE(echo_is_keyed_by_identifier),
	CASE(padding_and_tags), CASE(fast_and_general_agree), CASE(extension_chains),
	CASE(every_cut_is_refused), CASE(every_short_packet_is_refused), CASE(ether_types),
	CASE(ipv4_headers), CASE(addresses), CASE(tcp_flags), CASE(transport_lengths),
	CASE(icmp_types), CASE(icmp_errors), CASE(neighbour_discovery), CASE(first_fragments),
	CASE(tiny_first_fragments), CASE(later_fragments), CASE(later_fragments_in_disguise),
	CASE(fragment_chains), CASE(quoted_packets), CASE(quoted_but_not_trackable))
