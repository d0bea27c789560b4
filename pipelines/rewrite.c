/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* rewrite: entry to addresses, ports, TTL and checksums. What cannot go on (TTL, MTU) is refused
 * here, before a byte has changed, since the refusal quotes the packet as its sender knows it. */

#include "core/flow.h"
#include "pipelines/stage.h"

static void translate4(struct worker *w, struct burst *b, lanes_t i)
{
	const struct flow4 *e = &flow_array4(w->dp->flows)[b->flow[i] >> 1];
	unsigned dir = b->flow[i] & 1;
	uint16_t flip = dir == DIR_REPLY ? 0xffff : 0;
	struct flow_key4 to = flow_key4_mirror(&e->key[!dir]);

	nat_rewrite4(b->data[i], b->len[i], b->l3[i], b->l4[i], &to, e->meta.l3_delta ^ flip,
		e->meta.l4_delta ^ flip, (b->flags[i] & LANE_FRAGMENT_LATER) != 0);
}

static void translate6(struct worker *w, struct burst *b, lanes_t i)
{
	const struct flow6 *e = &flow_array6(w->dp->flows)[b->flow[i] >> 1];
	unsigned dir = b->flow[i] & 1;
	uint16_t flip = dir == DIR_REPLY ? 0xffff : 0;
	struct flow_key6 to = flow_key6_mirror(&e->key[!dir]);

	nat_rewrite6(b->data[i], b->len[i], b->l3[i], b->l4[i], &to, e->meta.l4_delta ^ flip,
		(b->flags[i] & LANE_FRAGMENT_LATER) != 0);
}

/* SCTP's checksum covers the whole packet: with one fragment of it in hand it cannot follow a
 * changed port. */
static bool sctp_fragment_changes_port(struct worker *w, const struct burst *b, lanes_t i)
{
	unsigned dir = b->flow[i] & 1;

	if (b->proto[i] != IP_PROTO_SCTP || (b->flags[i] & LANE_FRAGMENT) == 0)
		return false;
	if (lane_family(b, i) == IP_V6) {
		const struct flow_key6 *k = flow_array6(w->dp->flows)[b->flow[i] >> 1].key;

		return k[dir].sport != k[!dir].dport || k[dir].dport != k[!dir].sport;
	} else {
		const struct flow_key4 *k = flow_array4(w->dp->flows)[b->flow[i] >> 1].key;

		return k[dir].sport != k[!dir].dport || k[dir].dport != k[!dir].sport;
	}
}

static void rewrite_lane(struct worker *w, struct burst *b, lanes_t i)
{
	enum ip_family f = lane_family(b, i);
	const struct next_hop *nh = next_hop_get(w->snap.next_hops, b->next_hop[i]);
	const struct flow_meta *m = flow_meta(w->dp->flows, f, b->flow[i] >> 1);
	uint8_t *l3 = b->data[i] + b->l3[i];
	uint8_t ttl =
		f == IP_V6 ? ((struct ipv6_hdr *)l3)->hop_limit : ((struct ipv4_hdr *)l3)->ttl;

	if (__builtin_expect(ttl <= 1, 0)) {
		lane_reject(b, i, REJECT_TTL, DROP_TtlExpired);
		return;
	}
	if (__builtin_expect(nh->mtu != 0 && b->len[i] - b->l3[i] > nh->mtu, 0) &&
		(b->flags[i] & LANE_DONT_FRAGMENT) != 0) {
		b->reject_mtu[i] = nh->mtu;
		lane_reject(b, i, REJECT_TOO_BIG, DROP_MtuExceeded);
		return;
	}
	if ((m->flags & (FLOW_F_DNAT | FLOW_F_SNAT)) != 0) {
		if (__builtin_expect(sctp_fragment_changes_port(w, b, i), 0)) {
			lane_drop(b, i, DROP_FragmentUnsupported);
			return;
		}
		if (f == IP_V6)
			translate6(w, b, i);
		else
			translate4(w, b, i);
	}
	ttl_decrement(l3, f == IP_V6);
	b->to.transmit |= LANE(i);
}

void stage_rewrite(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_rewrite, &b->to.rewrite);

	lanes_foreach (i, in)
		rewrite_lane(w, b, i);
}
