/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Translation against full recomputation: 10,000 random packets of both families are translated by
 * stored differences, and must equal, byte for byte, the packet built with the new fields and
 * checksums from scratch; translated back they are what they were. The same for ICMP errors that
 * quote them, cut anywhere. SLUICE_NAT_PACKETS asks for another number. */

#include "core/packet.h"
#include "lib/frames.h"
#include "unit/harness.h"

#define PACKETS 10000

static unsigned packets(void)
{
	const char *text = getenv("SLUICE_NAT_PACKETS");

	return text != NULL ? (unsigned)strtoul(text, NULL, 0) : PACKETS;
}

static bool chance(unsigned percent)
{
	return test_rand_below(100) < percent;
}

/* --- random packets --------------------------------------------------------------------------- */

static void random_spec(struct frame_spec *s)
{
	static const uint8_t protos[] = {6, 6, 17, 17, 132, 1};
	static const char *const chains[] = {"h", "d", "r", "hd", "hrd", "f", "hf", "hrfd", "ddd"};

	memset(s, 0, sizeof(*s));
	s->v6 = chance(50);
	s->proto = protos[test_rand_below(sizeof(protos))];
	s->sport = (uint16_t)test_rand();
	s->dport = (uint16_t)test_rand();
	s->payload = (uint16_t)(chance(20) ? test_rand_below(4) : test_rand_below(1400));
	s->tcp_flags = chance(20) ? TCP_SYN : TCP_ACK;
	s->tcp_options = (uint8_t)(chance(50) ? 4 * test_rand_below(11) : 0);
	s->no_csum = s->proto == 17 && !s->v6 && chance(30);
	s->ttl = (uint8_t)(2 + test_rand_below(254));
	s->id = (uint32_t)test_rand();
	s->tagged = chance(10);
	s->vlan = (uint16_t)test_rand_below(4096);
	s->pad = (uint16_t)(chance(20) ? test_rand_below(19) : 0);
	s->dont_fragment = chance(50);
	if (s->proto == 1) {
		s->icmp_type = chance(50) ? 8 : 0;
		if (s->v6) {
			s->proto = 58;
			s->icmp_type = s->icmp_type == 8 ? 128 : 129;
		}
		/* Messages of zeros are the one place where ones' complement has two zeros. */
		if (chance(5))
			s->sport = s->dport = s->payload = 0;
	}
	if (s->v6 && chance(30))
		s->ext = chains[test_rand_below(sizeof(chains) / sizeof(chains[0]))];
	if (!s->v6 && chance(20))
		s->ip_options = (uint8_t)(4 * (1 + test_rand_below(10)));
}

/* IPv4 takes the first four bytes, the rest stays zero. */
static void random_addr(bool v6, uint8_t out[16])
{
	uint64_t halves[2] = {test_rand(), test_rand()};

	memset(out, 0, 16);
	memcpy(out, halves, v6 ? 16 : 4);
	out[0] = v6 ? 0xfd : 10;
}

/* Everything that a translation changes, for both families. */
struct tuple {
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
};

static void random_tuple(const struct frame_spec *s, const struct tuple *from, struct tuple *to)
{
	*to = *from;
	if (chance(90))
		random_addr(s->v6, to->dst);
	if (chance(50))
		random_addr(s->v6, to->src);
	if (chance(70))
		to->dport = (uint16_t)test_rand();
	if (chance(50))
		to->sport = (uint16_t)test_rand();
	if (s->proto == 1 || s->proto == 58)
		to->dport = to->sport;
}

static void tuple_of_key(const struct parsed *p, struct tuple *t)
{
	memset(t, 0, sizeof(*t));
	if (p->flags & LANE_V6) {
		memcpy(t->src, p->key6.src, 16);
		memcpy(t->dst, p->key6.dst, 16);
		t->sport = p->key6.sport;
		t->dport = p->key6.dport;
	} else {
		memcpy(t->src, &p->key4.src, 4);
		memcpy(t->dst, &p->key4.dst, 4);
		t->sport = p->key4.sport;
		t->dport = p->key4.dport;
	}
}

static void key4_of_tuple(const struct tuple *t, uint8_t proto, struct flow_key4 *k)
{
	memset(k, 0, sizeof(*k));
	memcpy(&k->src, t->src, 4);
	memcpy(&k->dst, t->dst, 4);
	k->sport = t->sport;
	k->dport = t->dport;
	k->proto = proto;
}

static void key6_of_tuple(const struct tuple *t, uint8_t proto, struct flow_key6 *k)
{
	memset(k, 0, sizeof(*k));
	memcpy(k->src, t->src, 16);
	memcpy(k->dst, t->dst, 16);
	k->sport = t->sport;
	k->dport = t->dport;
	k->proto = proto;
}

/* --- the two ways ----------------------------------------------------------------------------- */

/* From scratch: fields set, checksums made anew. */
static void rebuild(struct frame *f, const struct frame_spec *s, const struct tuple *to)
{
	uint8_t *ip = f->data + f->l3, *l4 = f->data + f->l4;

	if (s->v6) {
		memcpy(ip + 8, to->src, 16);
		memcpy(ip + 24, to->dst, 16);
	} else {
		memcpy(ip + 12, to->src, 4);
		memcpy(ip + 16, to->dst, 4);
	}
	if (s->proto == 1 || s->proto == 58) {
		memcpy(l4 + 4, &to->sport, 2);
	} else {
		memcpy(l4, &to->sport, 2);
		memcpy(l4 + 2, &to->dport, 2);
	}
	frame_fix(f->data, f->len, f->l3);
}

struct deltas {
	uint16_t l3, l4;
};

static void deltas_between(const struct frame_spec *s, const struct tuple *from,
	const struct tuple *to, struct deltas *d)
{
	memset(d, 0, sizeof(*d));
	if (s->v6) {
		struct flow_key6 a, b;

		key6_of_tuple(from, s->proto, &a);
		key6_of_tuple(to, s->proto, &b);
		nat_deltas6(&a, &b, &d->l4);
	} else {
		struct flow_key4 a, b;

		key4_of_tuple(from, s->proto, &a);
		key4_of_tuple(to, s->proto, &b);
		nat_deltas4(&a, &b, &d->l3, &d->l4);
	}
}

static void translate(struct frame *f, const struct frame_spec *s, const struct parsed *p,
	const struct tuple *to, const struct deltas *d)
{
	if (s->v6) {
		struct flow_key6 k;

		key6_of_tuple(to, s->proto, &k);
		nat_rewrite6(f->data, p->len, p->l3, p->l4, &k, d->l4, false);
	} else {
		struct flow_key4 k;

		key4_of_tuple(to, s->proto, &k);
		nat_rewrite4(f->data, p->len, p->l3, p->l4, &k, d->l3, d->l4, false);
	}
}

/* --- properties ------------------------------------------------------------------------------- */

static void packet_and_back(const struct frame_spec *s, const struct frame *original,
	struct frame *there, struct tuple *from, struct tuple *to)
{
	struct frame f = *original;
	struct deltas d;
	struct parsed p;

	parse_frame(f.data, f.len, 0, &p);
	REQUIRE_EQ(p.kind, PARSE_FLOW);
	CHECK_EQ(p.proto, s->proto);
	CHECK_EQ(p.l3, f.l3);
	CHECK_EQ(p.l4, f.l4);
	CHECK_EQ(p.len, f.end);
	CHECK_EQ(p.vlan, s->tagged ? s->vlan : 0);
	tuple_of_key(&p, from);
	CHECK_EQ(ntohs(from->sport), s->sport);
	random_tuple(s, from, to);

	*there = *original;
	rebuild(there, s, to);
	CHECK(frame_right(there->data, there->len, there->l3));
	deltas_between(s, from, to, &d);
	translate(&f, s, &p, to, &d);
	CHECK_MEM(f.data, there->data, f.len);

	d.l3 ^= 0xffff;
	d.l4 ^= 0xffff;
	translate(&f, s, &p, from, &d);
	CHECK_MEM(f.data, original->data, f.len);
}

static void ttl_goes_down(const struct frame *original, bool v6)
{
	struct frame f = *original, expected = *original;

	ttl_decrement(f.data + f.l3, v6);
	expected.data[expected.l3 + (v6 ? 7 : 8)]--;
	if (!v6)
		frame_fix(expected.data, expected.len, expected.l3);
	CHECK_MEM(f.data, expected.data, f.len);
}

/* No router cuts inside a checksum, and half of one cannot be followed. */
static uint16_t not_inside_csum(uint8_t proto, uint16_t l4_held)
{
	if (proto == 6 && l4_held == 17)
		return 16;
	if (proto == 132 && l4_held > 8 && l4_held < 12)
		return 8;
	return l4_held;
}

/* A router or the far end complains about the translated packet; it quotes it as it got it, with
 * a lower TTL. What arrives is the complaint about the packet as sent. */
static void error_about(const struct frame_spec *s, const struct frame *original,
	const struct frame *there, const struct tuple *from, const struct tuple *to)
{
	uint16_t headers = (uint16_t)(original->l4 - original->l3 + 8);
	uint16_t whole = (uint16_t)(original->end - original->l3);
	uint16_t cut = (uint16_t)(headers + test_rand_below(whole - headers + 1u));
	uint8_t type = s->v6 ? 3 : 11;
	struct frame seen = *there, sent = *original, error, expected;
	struct parsed outer, inner;
	uint8_t router[16];
	struct tuple quoted;
	bool by_end = chance(30);

	if (chance(30))
		cut = chance(50) ? headers : whole;
	cut = (uint16_t)(headers - 8 + not_inside_csum(s->proto, (uint16_t)(cut - headers + 8)));
	random_addr(s->v6, router);
	ttl_decrement(seen.data + seen.l3, s->v6);
	ttl_decrement(sent.data + sent.l3, s->v6);
	frame_error(&error, &seen, type, 0, by_end ? to->dst : router, cut);
	frame_error(&expected, &sent, type, 0, by_end ? from->dst : router, cut);

	parse_frame(error.data, error.len, 0, &outer);
	REQUIRE_EQ(outer.kind, PARSE_ICMP_ERROR);
	REQUIRE(parse_icmp_quoted(error.data, outer.len, outer.l4, s->v6, 0, &inner));
	tuple_of_key(&inner, &quoted);
	CHECK_MEM(&quoted, to, sizeof(quoted));
	if (s->v6) {
		struct flow_key6 k;

		key6_of_tuple(from, s->proto, &k);
		icmp_error_rewrite6(error.data, error.len, &outer, &inner, &k,
			by_end ? from->dst : router, from->src);
	} else {
		struct flow_key4 k;
		uint32_t src;

		key4_of_tuple(from, s->proto, &k);
		memcpy(&src, by_end ? from->dst : router, 4);
		icmp_error_rewrite4(
			error.data, error.len, &outer, &inner, &k, src, load_u32(from->src));
	}
	CHECK_MEM(error.data, expected.data, error.len);
	CHECK(frame_right(error.data, error.len, error.l3));
}

static void there_and_back(void)
{
	struct frame original, there;
	struct tuple from, to;
	struct frame_spec s;
	unsigned failed = CU_get_number_of_failures();

	for (unsigned i = 0; i < packets(); i++) {
		random_spec(&s);
		frame_build(&original, &s);
		packet_and_back(&s, &original, &there, &from, &to);
		ttl_goes_down(&original, s.v6);
		error_about(&s, &original, &there, &from, &to);
		if (CU_get_number_of_failures() != failed) {
			printf("packet %u: v6 %d proto %u payload %u ext %s options %u\n", i, s.v6,
				s.proto, s.payload, s.ext != NULL ? s.ext : "", s.ip_options);
			break;
		}
	}
}

/* RFC 1624's own example, and every checksum against a step of every size. */
static void update_matches_recomputation(void)
{
	CHECK_EQ(ntohs(csum_update(htons(0xdd2f), htons(0xaaaa + 0x3285))), 0x0000);
	for (uint32_t csum = 0; csum < 0xffff; csum += 1 + test_rand_below(7)) {
		uint16_t old = (uint16_t)test_rand(), new = (uint16_t)test_rand();
		/* Two words: one makes the sum what csum says, the other changes. */
		uint32_t rest = (uint16_t)~csum + (uint32_t)(uint16_t)~old;
		uint16_t words[2] = {(uint16_t)((rest & 0xffff) + (rest >> 16)), new};
		uint16_t delta = csum_fold((uint64_t)(uint16_t)~old + new);
		uint32_t sum = (uint32_t)words[0] + words[1];

		sum = (sum & 0xffff) + (sum >> 16);
		if (sum == 0)
			continue;
		CHECK_EQ(csum_update((uint16_t)csum, delta), (uint16_t)~sum);
	}
}

TEST_SUITE("nat", CASE(update_matches_recomputation), CASE(there_and_back))
