/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A flow table of a test: keys by number, inserts as the commit stage makes them, grace periods
 * by hand. One thread unless the test says otherwise. */

#pragma once

#include <string.h>

#include "core/flow.h"

/* A forward key and the reply key of a flow that is translated: nothing of one is in the other. */
__attribute__((unused)) static void fixture_keys(
	enum ip_family f, uint32_t n, struct flow_key6 *fwd, struct flow_key6 *reply)
{
	uint8_t net = f == IP_V4 ? 10 : 0xfd;

	memset(fwd, 0, sizeof(*fwd));
	memset(reply, 0, sizeof(*reply));
	fwd->src[0] = net;
	memcpy(&fwd->src[8], &n, 4);
	fwd->dst[0] = net;
	fwd->dst[15] = 1;
	fwd->sport = (uint16_t)n;
	fwd->dport = 80;
	fwd->proto = IP_PROTO_TCP;
	reply->src[0] = net;
	reply->src[15] = 2;
	reply->dst[0] = net;
	memcpy(&reply->dst[8], &n, 4);
	reply->sport = 8080;
	reply->dport = (uint16_t)(n >> 16 ^ n);
	reply->proto = IP_PROTO_TCP;
}

/* The same as an IPv4 key: the words that tell keys apart are kept. */
__attribute__((unused)) static struct flow_key4 fixture_narrow(const struct flow_key6 *k)
{
	struct flow_key4 n = {
		.sport = k->sport, .dport = k->dport, .zone = k->zone, .proto = k->proto};

	memcpy(&n.src, &k->src[8], 4);
	memcpy(&n.dst, &k->dst[8], 4);
	n.src ^= (uint32_t)k->src[15] << 24 | k->src[0];
	n.dst ^= (uint32_t)k->dst[15] << 24 | k->dst[0];
	return n;
}

__attribute__((unused)) static uint32_t fixture_find(
	struct flow_table *t, enum ip_family f, const struct flow_key6 *k)
{
	struct flow_key4 k4 = fixture_narrow(k);

	return f == IP_V4 ? flow_lookup4(t, &k4) : flow_lookup6(t, k);
}

/* An entry filled as the commit stage fills it, live and not yet linked; FLOW_NONE when full. */
__attribute__((unused)) static uint32_t fixture_prepare(struct flow_table *t, enum ip_family f,
	uint32_t worker, const struct flow_key6 *fwd, const struct flow_key6 *reply,
	uint32_t now_ms)
{
	uint32_t entry = flow_alloc(t, f, worker, now_ms);
	struct flow_meta *m;

	if (entry == FLOW_NONE)
		return entry;
	if (f == IP_V4) {
		flow_array4(t)[entry].key[DIR_FORWARD] = fixture_narrow(fwd);
		flow_array4(t)[entry].key[DIR_REPLY] = fixture_narrow(reply);
	} else {
		flow_array6(t)[entry].key[DIR_FORWARD] = *fwd;
		flow_array6(t)[entry].key[DIR_REPLY] = *reply;
	}
	m = flow_meta(t, f, entry);
	m->class = FLOW_CLASS_TCP;
	atomic_store_explicit(&m->state, FLOW_NEW, memory_order_release);
	return entry;
}

/* Both keys linked, or nothing left behind and FLOW_NONE. */
__attribute__((unused)) static uint32_t fixture_insert_keys(struct flow_table *t, enum ip_family f,
	uint32_t worker, const struct flow_key6 *fwd, const struct flow_key6 *reply,
	uint32_t now_ms)
{
	uint32_t entry = fixture_prepare(t, f, worker, fwd, reply, now_ms), other;

	if (entry == FLOW_NONE)
		return entry;
	if (flow_link(t, f, entry, DIR_REPLY, &other) < 0) {
		flow_unalloc(t, f, worker, entry);
		return FLOW_NONE;
	}
	if (flow_link(t, f, entry, DIR_FORWARD, &other) < 0) {
		flow_kill(t, f, entry);
		return FLOW_NONE;
	}
	return entry;
}

__attribute__((unused)) static uint32_t fixture_insert(
	struct flow_table *t, enum ip_family f, uint32_t worker, uint32_t n, uint32_t now_ms)
{
	struct flow_key6 fwd, reply;

	fixture_keys(f, n, &fwd, &reply);
	return fixture_insert_keys(t, f, worker, &fwd, &reply, now_ms);
}

/* Is flow n found by both keys, in the right directions, as this entry? FLOW_NONE: by neither. */
__attribute__((unused)) static bool fixture_is(
	struct flow_table *t, enum ip_family f, uint32_t n, uint32_t entry)
{
	struct flow_key6 fwd, reply;
	uint32_t a, b;

	fixture_keys(f, n, &fwd, &reply);
	a = fixture_find(t, f, &fwd);
	b = fixture_find(t, f, &reply);
	if (entry == FLOW_NONE)
		return a == FLOW_NONE && b == FLOW_NONE;
	return a == (entry << 1 | DIR_FORWARD) && b == (entry << 1 | DIR_REPLY);
}

/* Every thread was quiescent. */
__attribute__((unused)) static void fixture_grace(struct grace *g)
{
	grace_complete(g, grace_open(g));
}
