/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The stand-in for a device does what devices do: other tests of offload stand on it. */

#include <errno.h>

#include "lib/offload_fake.h"
#include "unit/harness.h"

static struct offload_rule rule(uint16_t sport)
{
	struct offload_rule r;

	memset(&r, 0, sizeof(r));
	r.match.family = IP_V4;
	r.match.proto = IP_PROTO_TCP;
	r.match.no_tcp_control = true;
	r.match.ttl = 64;
	r.match.src = ip_from_v4(htonl(0x0a000001));
	r.match.dst = ip_from_v4(htonl(0x0a600001));
	r.match.sport = htons(sport);
	r.match.dport = htons(80);
	r.to.set = OFFLOAD_SET_DST | OFFLOAD_DEC_TTL;
	r.port = 1;
	r.count = true;
	return r;
}

static const struct offload_dialect dialect;

static void carries_and_counts(void)
{
	struct offload_fake *f = offload_fake_new(4, 3);
	const struct offload_provider *p = offload_fake_provider(f);
	struct offload_rule r = rule(1000), other = rule(1001);
	struct offload_handle *h = NULL;
	struct offload_error err;
	struct offload_count count;

	CHECK_EQ(p->insert(p->arg, &r, &dialect, &h, &err), 0);
	CHECK(offload_fake_packet(f, &r, 64, 0x10, 3, 300));
	CHECK(!offload_fake_packet(f, &r, 63, 0x10, 1, 100));
	CHECK(!offload_fake_packet(f, &r, 64, 0x11, 1, 100));
	CHECK(!offload_fake_packet(f, &other, 64, 0x10, 1, 100));
	CHECK_EQ(p->query(p->arg, h, &count, &err), 0);
	CHECK_EQ(count.packets, 3);
	CHECK_EQ(count.bytes, 300);
	offload_fake_port(f, 0)->no_hit = true;
	CHECK(!offload_fake_packet(f, &r, 64, 0x10, 1, 100));
	CHECK_EQ(p->remove(p->arg, h, &err), 0);
	CHECK_EQ(offload_fake_rules(f, OFFLOAD_NO_PORT), 0);
	CHECK_EQ(offload_fake_handles(f), 0);
	offload_fake_free(f);
}

static void refuses(void)
{
	struct offload_fake *f = offload_fake_new(2, 2);
	const struct offload_provider *p = offload_fake_provider(f);
	struct offload_rule a = rule(1), b = rule(2), c = rule(3);
	struct offload_handle *h[3];
	struct offload_error err;

	offload_fake_port(f, 0)->no_tcp_flags = true;
	CHECK_EQ(p->validate(p->arg, &a, &dialect, &err), -ENOTSUP);
	CHECK_HAS(err.cause, "flags");
	offload_fake_port(f, 0)->no_tcp_flags = false;
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h[0], &err), 0);
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h[1], &err), -EEXIST);
	CHECK_EQ(p->insert(p->arg, &b, &dialect, &h[1], &err), 0);
	CHECK_EQ(p->insert(p->arg, &c, &dialect, &h[2], &err), -ENOSPC);
	CHECK_EQ(p->flush(p->arg, 0, &err), 0);
	CHECK_EQ(offload_fake_rules(f, 0), 0);
	CHECK_EQ(p->remove(p->arg, h[0], &err), -EIO);
	p->forget(p->arg, h[0]);
	p->forget(p->arg, h[1]);
	CHECK_EQ(offload_fake_handles(f), 0);
	offload_fake_free(f);
}

static void fails_when_asked(void)
{
	struct offload_fake *f = offload_fake_new(4, 2);
	const struct offload_provider *p = offload_fake_provider(f);
	struct offload_rule a = rule(1);
	struct offload_error err;
	struct offload_handle *h;

	offload_fake_set_latency(f, OFFLOAD_FAKE_INSERT, 1000);
	offload_fake_set_fault(f, OFFLOAD_FAKE_INSERT, 2, 2, -EBUSY);
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h, &err), 0);
	CHECK_EQ(p->remove(p->arg, h, &err), 0);
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h, &err), -EBUSY);
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h, &err), -EBUSY);
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h, &err), 0);
	CHECK_EQ(offload_fake_now_us(f), 4000);
	offload_fake_unplug(f, 0);
	CHECK_EQ(p->remove(p->arg, h, &err), -EIO);
	CHECK_EQ(p->insert(p->arg, &a, &dialect, &h, &err), -ENODEV);
	p->forget(p->arg, h);
	CHECK_EQ(offload_fake_handles(f), 0);
	offload_fake_free(f);
}

TEST_SUITE("offload_fake", CASE(carries_and_counts), CASE(refuses), CASE(fails_when_asked))
