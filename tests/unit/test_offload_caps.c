/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The probe on devices of every temper, and what errors mean: the matrix says what the device can
 * do, for the right reason, in the driver's own words; and no error of any call leaves a rule or a
 * handle behind. */

#include <errno.h>

#include "lib/offload_fake.h"
#include "offload/caps.h"
#include "offload/failure.h"
#include "unit/harness.h"

#define PLAIN    OFFLOAD_SHAPE_TTL
#define DNAT     (OFFLOAD_SHAPE_TTL | OFFLOAD_SHAPE_NAT_DST)
#define V6       OFFLOAD_SHAPE_V6
#define UDP      OFFLOAD_SHAPE_UDP
#define ROWS_MAX 256

struct bench {
	struct offload_fake *fake;
	struct offload_caps *caps;
	struct offload_caps_row row[ROWS_MAX];
	uint32_t n;
};

static struct offload_fake_port *bench_port(struct bench *b)
{
	return offload_fake_port(b->fake, 0);
}

static void bench_up(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	b->fake = offload_fake_new(64, 3);
	REQUIRE(b->fake != NULL);
	REQUIRE_EQ(offload_caps_new(offload_fake_provider(b->fake), 0, &b->caps), 0);
}

static int bench_probe(struct bench *b)
{
	uint64_t before = offload_fake_calls(b->fake, OFFLOAD_FAKE_VALIDATE);
	int rc = offload_caps_probe(b->caps, 1, 1000);

	CHECK_LE(offload_fake_calls(b->fake, OFFLOAD_FAKE_VALIDATE) - before, 200);
	b->n = offload_caps_rows(b->caps, b->row, ROWS_MAX);
	CHECK_LE(b->n, ROWS_MAX);
	return rc;
}

static void bench_down(struct bench *b)
{
	CHECK_EQ(offload_fake_handles(b->fake), 0);
	CHECK_EQ(offload_fake_rules(b->fake, OFFLOAD_NO_PORT), 0);
	offload_caps_free(b->caps);
	offload_fake_free(b->fake);
}

static const struct offload_caps_row *row_of(const struct bench *b, unsigned shape)
{
	static const struct offload_caps_row unknown;

	for (uint32_t i = 0; i < b->n; i++)
		if (b->row[i].shape == shape)
			return &b->row[i];
	return &unknown;
}

#define CHECK_SUPPORTED(b, shape) CHECK_EQ(row_of(b, shape)->support, OFFLOAD_SUPPORTED)
#define CHECK_REFUSED(b, shape, why)                                      \
	do {                                                              \
		CHECK_EQ(row_of(b, shape)->support, OFFLOAD_UNSUPPORTED); \
		CHECK_STR(reason_name(row_of(b, shape)->reason), why);    \
	} while (0)

static const char *reason_name(uint8_t r)
{
	static const char *const names[] = {
		"",
#define OFFLOAD_REASON(name, text) #name,
#include "core/offload_reasons.def"
#undef OFFLOAD_REASON
	};

	return r < OFFLOAD_REASONS ? names[r] : "?";
}

static struct offload_rule rule_of(bool v6, bool udp, uint8_t set)
{
	struct offload_rule r;

	memset(&r, 0, sizeof(r));
	r.match.family = v6 ? IP_V6 : IP_V4;
	r.match.proto = udp ? IP_PROTO_UDP : IP_PROTO_TCP;
	r.match.no_tcp_control = !udp;
	r.match.ttl = 64;
	r.match.src = v6 ? ip_from_v6("\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
				      "\x01")
			 : ip_from_v4(htonl(0x0a000001));
	r.match.dst = r.match.src;
	r.to.set = set | OFFLOAD_DEC_TTL;
	r.to.dst = r.match.dst;
	r.port = 1;
	r.count = true;
	return r;
}

static int find(
	struct bench *b, const struct offload_rule *r, uint32_t now_ms, struct offload_dialect *d)
{
	return offload_caps_find(b->caps, r, now_ms, d);
}

/* --- devices ---------------------------------------------------------------------------------- */

static void all_is_supported_by_one_that_can_all(void)
{
	struct bench b;

	bench_up(&b);
	CHECK_EQ(bench_probe(&b), 0);
	for (unsigned kind = 0; kind <= (V6 | UDP); kind++) {
		CHECK_SUPPORTED(&b, kind | PLAIN);
		CHECK_SUPPORTED(&b, kind | DNAT);
		CHECK_SUPPORTED(&b, kind | DNAT | OFFLOAD_SHAPE_NAT_SRC);
		CHECK_SUPPORTED(&b, kind | DNAT | OFFLOAD_SHAPE_VLAN);
		CHECK_SUPPORTED(&b, kind | OFFLOAD_SHAPE_MARK);
		CHECK_EQ(row_of(&b, kind | PLAIN)->dialect.port, OFFLOAD_PORT_REPRESENTED);
		CHECK_EQ(row_of(&b, kind | PLAIN)->dialect.group, 1);
		CHECK_EQ(row_of(&b, kind | PLAIN)->error, 0);
	}
	CHECK_SUPPORTED(&b, PLAIN | OFFLOAD_SHAPE_ENCAP);
	CHECK(!offload_caps_untrusted(b.caps));
	/* Every row was made, counted and removed, not only validated. */
	CHECK_GE(offload_fake_calls(b.fake, OFFLOAD_FAKE_INSERT), b.n);
	CHECK_GE(offload_fake_calls(b.fake, OFFLOAD_FAKE_QUERY), b.n - 4);
	bench_down(&b);
}

/* nfp of 22.11: PORT_ID alone, SET_TTL alone, RAW_ENCAP for all. */
static void ladder_is_climbed_down(void)
{
	struct bench b;

	bench_up(&b);
	bench_port(&b)->port_dialects = 1 << OFFLOAD_PORT_IMPLICIT;
	bench_port(&b)->nat_dialects = 1 << OFFLOAD_NAT_MODIFY;
	bench_port(&b)->ttl_dialects = 1 << OFFLOAD_TTL_DEC;
	bench_port(&b)->encap_dialects = 1 << OFFLOAD_ENCAP_RAW;
	bench_port(&b)->no_group_jump = true;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_SUPPORTED(&b, DNAT);
	CHECK_EQ(row_of(&b, DNAT)->dialect.port, OFFLOAD_PORT_IMPLICIT);
	CHECK_EQ(row_of(&b, DNAT)->dialect.nat, OFFLOAD_NAT_MODIFY);
	CHECK_EQ(row_of(&b, DNAT)->dialect.ttl, OFFLOAD_TTL_DEC);
	CHECK_EQ(row_of(&b, DNAT)->dialect.group, 0);
	CHECK_EQ(row_of(&b, PLAIN | OFFLOAD_SHAPE_ENCAP)->dialect.encap, OFFLOAD_ENCAP_RAW);
	bench_down(&b);
}

static void reasons_name_what_is_missing(void)
{
	struct bench b;

	bench_up(&b);
	bench_port(&b)->no_tcp_flags = true;
	bench_port(&b)->no_ipv6_nat = true;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, PLAIN, "NoTcpFlagMatch");
	CHECK_REFUSED(&b, DNAT, "NoTcpFlagMatch");
	CHECK_STR(row_of(&b, PLAIN)->refusal.cause, "TCP flags mask is not supported");
	CHECK_EQ(row_of(&b, PLAIN)->error, -ENOTSUP);
	CHECK_SUPPORTED(&b, UDP | DNAT);
	CHECK_SUPPORTED(&b, UDP | V6 | PLAIN);
	CHECK_REFUSED(&b, UDP | V6 | DNAT, "ShapeUnsupported");
	CHECK_HAS(row_of(&b, UDP | V6 | DNAT)->refusal.cause, "IPv6");
	bench_down(&b);

	bench_up(&b);
	bench_port(&b)->ttl_dialects = 0;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, PLAIN, "NoTtlDialect");
	CHECK_REFUSED(&b, UDP | V6 | DNAT, "NoTtlDialect");
	bench_down(&b);

	/* Promiscuous as ports are, hardware would forward what software drops: not at all. */
	bench_up(&b);
	bench_port(&b)->no_mac_match = true;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, PLAIN, "NoMacMatch");
	CHECK_REFUSED(&b, UDP | V6 | DNAT, "NoMacMatch");
	CHECK_HAS(row_of(&b, DNAT)->refusal.cause, "Ethernet address");
	bench_down(&b);

	bench_up(&b);
	bench_port(&b)->no_full = true;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, DNAT, "ShapeUnsupported");
	CHECK_STR(row_of(&b, DNAT)->refusal.cause, "transfer is not supported");
	CHECK_SUPPORTED(&b, OFFLOAD_SHAPE_MARK);
	bench_down(&b);
}

static void marks_that_reach_no_buffer_are_not_asked_for(void)
{
	struct bench b;

	bench_up(&b);
	bench_port(&b)->facts.mark_in_buffers = false;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_EQ(row_of(&b, OFFLOAD_SHAPE_MARK)->support, OFFLOAD_UNKNOWN);
	bench_down(&b);
}

static void who_accepts_nonsense_is_not_trusted(void)
{
	struct offload_rule r = rule_of(false, true, 0);
	struct offload_dialect d;
	struct bench b;

	bench_up(&b);
	bench_port(&b)->nonsense = true;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK(offload_caps_untrusted(b.caps));
	CHECK_EQ(find(&b, &r, 1000, &d), OFFLOAD_PortUntrusted);
	memset(&r.to, 0, sizeof(r.to));
	r.fate = OFFLOAD_FATE_MARK;
	CHECK_EQ(find(&b, &r, 1000, &d), 0);
	bench_down(&b);
}

/* Validate says yes and create says no: the canary knows. */
static void validate_alone_is_not_believed(void)
{
	struct bench b;

	bench_up(&b);
	bench_port(&b)->validate_lies = true;
	bench_port(&b)->nat_dialects = 0;
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, DNAT, "ShapeUnsupported");
	CHECK_SUPPORTED(&b, PLAIN);
	bench_down(&b);
}

/* tap without flower: EEXIST of rules that are not there, on a port just flushed. */
static void exists_on_an_empty_port_is_unsupported(void)
{
	struct bench b;

	bench_up(&b);
	offload_fake_set_fault(b.fake, OFFLOAD_FAKE_INSERT, 1, UINT32_MAX, -EEXIST);
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, PLAIN, "ShapeUnsupported");
	CHECK_EQ(row_of(&b, PLAIN)->error, -EEXIST);
	bench_down(&b);
}

static void full_table_says_nothing_of_a_shape(void)
{
	struct bench b;

	bench_up(&b);
	offload_fake_set_capacity(b.fake, 0);
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_SUPPORTED(&b, DNAT);
	bench_down(&b);
}

/* i40e counts nothing: such a rule would live for ever. */
static void rules_that_do_not_count_are_refused(void)
{
	struct bench b;

	bench_up(&b);
	offload_fake_set_fault(b.fake, OFFLOAD_FAKE_QUERY, 1, UINT32_MAX, -ENOTSUP);
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_REFUSED(&b, PLAIN, "ShapeUnsupported");
	CHECK_EQ(row_of(&b, PLAIN)->error, -ENOTSUP);
	CHECK_SUPPORTED(&b, OFFLOAD_SHAPE_MARK); /* a worker counts its packets */
	bench_down(&b);
}

static void who_does_not_take_back_gets_nothing(void)
{
	struct bench b;
	struct offload_rule r = rule_of(false, true, 0);
	struct offload_dialect d;

	bench_up(&b);
	offload_fake_set_fault(b.fake, OFFLOAD_FAKE_REMOVE, 1, UINT32_MAX, -EIO);
	CHECK_EQ(bench_probe(&b), 0);
	CHECK(offload_caps_untrusted(b.caps));
	CHECK_EQ(find(&b, &r, 1000, &d), OFFLOAD_PortUntrusted);
	bench_down(&b);
}

static void port_that_leaves_is_said(void)
{
	struct bench b;

	bench_up(&b);
	offload_fake_unplug(b.fake, 0);
	CHECK_EQ(bench_probe(&b), -ENODEV);
	bench_down(&b);
}

/* --- while flows come ------------------------------------------------------------------------- */

static void shapes_not_asked_for_are_asked_when_they_come(void)
{
	struct offload_rule r = rule_of(false, true, OFFLOAD_SET_DST);
	struct offload_dialect d = {.group = 7};
	struct bench b;
	uint64_t validates;

	bench_up(&b); /* never probed */
	CHECK_EQ(find(&b, &r, 5, &d), 0);
	CHECK_EQ(d.group, 0);
	validates = offload_fake_calls(b.fake, OFFLOAD_FAKE_VALIDATE);
	CHECK_EQ(find(&b, &r, 6, &d), 0);
	CHECK_EQ(offload_fake_calls(b.fake, OFFLOAD_FAKE_VALIDATE), validates);
	bench_down(&b);
}

static void unsupported_is_asked_again_in_ten_minutes(void)
{
	struct offload_rule r = rule_of(false, true, OFFLOAD_SET_DST);
	struct offload_dialect d;
	struct bench b;
	uint64_t validates;

	bench_up(&b);
	bench_port(&b)->nat_dialects = 0;
	CHECK_EQ(bench_probe(&b), 0);
	validates = offload_fake_calls(b.fake, OFFLOAD_FAKE_VALIDATE);
	CHECK_EQ(find(&b, &r, 1000, &d), OFFLOAD_ShapeUnsupported);
	CHECK_EQ(find(&b, &r, 1000 + 599999, &d), OFFLOAD_ShapeUnsupported);
	CHECK_EQ(offload_fake_calls(b.fake, OFFLOAD_FAKE_VALIDATE), validates);
	bench_port(&b)->nat_dialects = 3;
	CHECK_EQ(find(&b, &r, 1000 + 600000, &d), 0);
	bench_down(&b);
}

static void refused_inserts_climb_down_then_give_up(void)
{
	struct offload_rule r = rule_of(false, true, OFFLOAD_SET_DST);
	struct offload_error err = {.type = 16, .cause = "firmware says no"};
	struct offload_dialect d;
	struct bench b;
	unsigned tries = 0;

	bench_up(&b);
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_EQ(find(&b, &r, 1000, &d), 0);
	CHECK_EQ(d.group, 1);
	while (find(&b, &r, 1000, &d) == 0 && tries++ < 100)
		offload_caps_refused(b.caps, &r, -ENOTSUP, &err, 1000);
	/* Group 1, then three ways of ports by two of rewrites by two of the TTL. */
	CHECK_EQ(tries, 1 + 12);
	CHECK_EQ(find(&b, &r, 1000, &d), OFFLOAD_ShapeUnsupported);
	b.n = offload_caps_rows(b.caps, b.row, ROWS_MAX);
	CHECK_STR(row_of(&b, UDP | DNAT)->refusal.cause, "firmware says no");
	CHECK_SUPPORTED(&b, UDP | PLAIN);
	bench_down(&b);
}

static void quarantine_lasts_until_the_next_probe(void)
{
	struct offload_rule r = rule_of(false, true, OFFLOAD_SET_DST);
	struct offload_error err = {0};
	struct offload_dialect d;
	struct bench b;

	bench_up(&b);
	CHECK_EQ(bench_probe(&b), 0);
	offload_caps_quarantine(b.caps, offload_shape_of(&r));
	CHECK_EQ(find(&b, &r, 1000, &d), OFFLOAD_ShapeQuarantined);
	offload_caps_refused(b.caps, &r, -ENOTSUP, &err, 1000);
	CHECK_EQ(find(&b, &r, 1000 + 600000, &d), OFFLOAD_ShapeQuarantined);
	CHECK_EQ(bench_probe(&b), 0);
	CHECK_EQ(find(&b, &r, 1000, &d), 0);
	bench_down(&b);
}

static void device_errors_are_not_held_against_the_shape(void)
{
	struct offload_rule r = rule_of(false, true, OFFLOAD_SET_DST);
	struct offload_dialect d;
	struct bench b;

	bench_up(&b);
	offload_fake_set_fault(b.fake, OFFLOAD_FAKE_VALIDATE, 1, 1, -EBUSY);
	CHECK_EQ(find(&b, &r, 1000, &d), OFFLOAD_Backoff);
	CHECK_EQ(find(&b, &r, 1999, &d), OFFLOAD_Backoff);
	CHECK_EQ(find(&b, &r, 2000, &d), 0);
	bench_down(&b);
}

/* --- every error at every call ---------------------------------------------------------------- */

static void sweep_one(enum offload_fake_call call, int error, uint32_t nth, bool *reached)
{
	struct bench b;
	int rc;

	bench_up(&b);
	offload_fake_set_fault(b.fake, call, nth, 1, error);
	rc = bench_probe(&b);
	CHECK(rc == 0 || rc == -ENODEV);
	CHECK(rc == 0 || error == -ENODEV);
	*reached = offload_fake_calls(b.fake, call) >= nth;
	/* Where facts fail nothing is known, and shapes are asked when they come. */
	CHECK(rc != 0 || call == OFFLOAD_FAKE_FACTS || offload_caps_untrusted(b.caps) || b.n >= 20);
	bench_down(&b);
}

static void fault_sweep(void)
{
	static const int errors[] = {EPERM, ENOENT, EIO, E2BIG, EAGAIN, ENOMEM, EACCES, EBUSY,
		EEXIST, ENODEV, EINVAL, ENOSPC, ERANGE, ENOSYS, ENOTSUP, ETIMEDOUT, EFAULT, EPROTO};
	static const enum offload_fake_call calls[] = {OFFLOAD_FAKE_FACTS, OFFLOAD_FAKE_VALIDATE,
		OFFLOAD_FAKE_NONSENSE, OFFLOAD_FAKE_INSERT, OFFLOAD_FAKE_REMOVE,
		OFFLOAD_FAKE_QUERY};
	bool reached;

	for (unsigned c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
		for (unsigned e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
			reached = true;
			for (uint32_t nth = 1; reached && nth < 300; nth++)
				sweep_one(calls[c], -errors[e], nth, &reached);
		}
}

/* --- what errors mean --------------------------------------------------------------------------
 */

static void check_means(int error, enum offload_call call, bool gone, bool fresh, const char *name)
{
	struct offload_failure_context ctx = {.call = call, .gone = gone, .fresh = fresh};

	CHECK_STR(offload_failure_name(offload_failure_of(error, &ctx)), name);
}

static void errors_mean(void)
{
	check_means(0, OFFLOAD_CALL_INSERT, false, false, "none");
	check_means(-ENOTSUP, OFFLOAD_CALL_INSERT, false, false, "shape");
	check_means(-EINVAL, OFFLOAD_CALL_VALIDATE, false, false, "shape");
	check_means(-ENOSYS, OFFLOAD_CALL_INSERT, false, false, "shape");
	check_means(-EPERM, OFFLOAD_CALL_INSERT, false, false, "shape");
	check_means(-ENOSPC, OFFLOAD_CALL_INSERT, false, false, "capacity");
	check_means(-ENOMEM, OFFLOAD_CALL_INSERT, false, false, "capacity");
	check_means(-EAGAIN, OFFLOAD_CALL_INSERT, false, false, "capacity");
	check_means(-ENOENT, OFFLOAD_CALL_INSERT, false, false, "capacity");
	check_means(-ENOENT, OFFLOAD_CALL_REMOVE, false, false, "drift");
	check_means(-ENOENT, OFFLOAD_CALL_QUERY, false, false, "drift");
	check_means(-EEXIST, OFFLOAD_CALL_INSERT, false, true, "shape");
	check_means(-EEXIST, OFFLOAD_CALL_INSERT, false, false, "drift");
	check_means(-EBUSY, OFFLOAD_CALL_INSERT, false, false, "device");
	check_means(-EIO, OFFLOAD_CALL_INSERT, false, false, "device");
	check_means(-ETIMEDOUT, OFFLOAD_CALL_REMOVE, false, false, "device");
	check_means(-EINVAL, OFFLOAD_CALL_REMOVE, false, false, "device");
	check_means(-EAGAIN, OFFLOAD_CALL_REMOVE, false, false, "device");
	check_means(-EIO, OFFLOAD_CALL_INSERT, true, false, "gone");
	check_means(-ENODEV, OFFLOAD_CALL_REMOVE, false, false, "gone");
	check_means(-ENOTSUP, OFFLOAD_CALL_FLUSH, true, false, "gone");
}

static void shapes_print_themselves(void)
{
	char text[96];

	offload_shape_text(V6 | UDP | DNAT, text, sizeof(text));
	CHECK_STR(text, "ipv6 udp dnat ttl full");
	offload_shape_text(OFFLOAD_SHAPE_MARK, text, sizeof(text));
	CHECK_STR(text, "ipv4 tcp partial");
	offload_shape_text(OFFLOAD_SHAPES - 1, text, sizeof(text));
	CHECK_HAS(text, "encap");
}

TEST_SUITE("offload_caps", CASE(all_is_supported_by_one_that_can_all), CASE(ladder_is_climbed_down),
	CASE(reasons_name_what_is_missing), CASE(marks_that_reach_no_buffer_are_not_asked_for),
	CASE(who_accepts_nonsense_is_not_trusted), CASE(validate_alone_is_not_believed),
	CASE(exists_on_an_empty_port_is_unsupported), CASE(full_table_says_nothing_of_a_shape),
	CASE(rules_that_do_not_count_are_refused), CASE(who_does_not_take_back_gets_nothing),
	CASE(port_that_leaves_is_said), CASE(shapes_not_asked_for_are_asked_when_they_come),
	CASE(unsupported_is_asked_again_in_ten_minutes),
	CASE(refused_inserts_climb_down_then_give_up), CASE(quarantine_lasts_until_the_next_probe),
	CASE(device_errors_are_not_held_against_the_shape), CASE(fault_sweep), CASE(errors_mean),
	CASE(shapes_print_themselves))
