/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Any bytes as a rule, sound or not, in any dialect: the compiler refuses it and says why, or says
 * all of it, in no more than its buffer. What it said is read back by a decoder of its own. */

#include <errno.h>

#include "fuzz/fuzz.h"
#include "lib/offload_decode.h"

static void canonical_tunnel(const struct offload_tunnel *in, struct offload_tunnel *out)
{
	out->kind = in->kind;
	out->family = in->family;
	out->ttl = in->ttl;
	out->vni = in->vni;
	out->src = in->src;
	out->dst = in->dst;
	out->sport = in->sport;
	out->dport = in->dport;
	memcpy(out->smac, in->smac, 6);
	memcpy(out->dmac, in->dmac, 6);
}

/* Two rules are one when every field is; bytes between the fields are nobody's. */
static void canonical(const struct offload_rule *in, struct offload_rule *out)
{
	memset(out, 0, sizeof(*out));
	out->match.port = in->match.port;
	out->match.vlan = in->match.vlan;
	out->match.family = in->match.family;
	out->match.proto = in->match.proto;
	out->match.ttl = in->match.ttl;
	out->match.no_tcp_control = in->match.no_tcp_control;
	out->match.not_fragment = in->match.not_fragment;
	memcpy(out->match.smac, in->match.smac, 6);
	memcpy(out->match.dmac, in->match.dmac, 6);
	out->match.src = in->match.src;
	out->match.dst = in->match.dst;
	out->match.sport = in->match.sport;
	out->match.dport = in->match.dport;
	canonical_tunnel(&in->match.tunnel, &out->match.tunnel);
	if (ip_is_zero(&in->match.tunnel.src)) /* any: 0.0.0.0 and :: say the same */
		memset(&out->match.tunnel.src, 0, 16);
	out->to.set = in->to.set;
	out->to.vlan = in->to.vlan;
	out->to.sport = in->to.sport;
	out->to.dport = in->to.dport;
	out->to.src = in->to.src;
	out->to.dst = in->to.dst;
	memcpy(out->to.smac, in->to.smac, 6);
	memcpy(out->to.dmac, in->to.dmac, 6);
	canonical_tunnel(&in->to.tunnel, &out->to.tunnel);
	/* Values that stay what they were. */
	if (!(in->to.set & OFFLOAD_SET_SRC))
		memset(&out->to.src, 0, sizeof(out->to.src));
	if (!(in->to.set & OFFLOAD_SET_DST))
		memset(&out->to.dst, 0, sizeof(out->to.dst));
	if (!(in->to.set & OFFLOAD_SET_SPORT))
		out->to.sport = 0;
	if (!(in->to.set & OFFLOAD_SET_DPORT))
		out->to.dport = 0;
	out->fate = in->fate;
	out->port = in->port;
	out->queue = in->queue;
	out->mark = in->mark;
	out->count = in->count;
}

static void compile(const struct offload_rule *rule, const struct offload_dialect *d, uint32_t size)
{
	struct offload_rule back, a, b;
	struct offload_lowered l;
	struct offload_error err;
	char why[128] = "", text[OFFLOAD_TEXT_MAX];
	uint8_t *buf = malloc(size > 0 ? size : 1);
	int rc;

	FUZZ_CHECK(buf != NULL);
	rc = offload_lower(rule, d, buf, size, &l, &err);
	FUZZ_CHECK(rc == 0 || rc == -EINVAL || rc == -ENOTSUP || rc == -ENOBUFS);
	FUZZ_CHECK(rc != -ENOBUFS || size < OFFLOAD_LOWER_BYTES);
	FUZZ_CHECK((rc == 0) == (err.cause[0] == '\0'));
	if (rc == 0) {
		FUZZ_CHECK(offload_decode(&l, rule->match.port, &back, why, sizeof(why)) == 0);
		canonical(rule, &a);
		canonical(&back, &b);
		FUZZ_CHECK(memcmp(&a, &b, sizeof(a)) == 0);
		FUZZ_CHECK(offload_lowered_text(&l, text, sizeof(text)) < sizeof(text));
	}
	free(buf);
}

FUZZ_TARGET(data, size)
{
	struct offload_dialect d;
	uint8_t bytes[OFFLOAD_RULE_BYTES] = {0};
	struct offload_rule rule;
	uint32_t room;
	uint8_t edit;

	if (size < 8)
		return;
	d = (struct offload_dialect){.port = data[0] & 3,
		.nat = data[1] & 3,
		.ttl = data[2] & 3,
		.encap = data[3] & 3,
		.group = data[4] & 3,
		.order = data[4] >> 2 & 3};
	room = data[5] < 128 ? OFFLOAD_LOWER_BYTES : (uint32_t)(data[6] << 4);
	edit = data[7];
	data += 8;
	size -= 8;
	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	offload_rule_of_bytes(bytes, &rule);
	compile(&rule, &d, room);
	/* A sound rule with a few bytes changed is most often one that must be refused. */
	for (unsigned n = 0; n < (edit & 3u) && 2 * n + 1 < size; n++)
		((uint8_t *)&rule)[data[size - 1 - 2 * n] % sizeof(rule)] = data[size - 2 - 2 * n];
	rule.match.no_tcp_control = (*(uint8_t *)&rule.match.no_tcp_control & 1) != 0;
	rule.match.not_fragment = (*(uint8_t *)&rule.match.not_fragment & 1) != 0;
	rule.count = (*(uint8_t *)&rule.count & 1) != 0;
	compile(&rule, &d, room);
}
