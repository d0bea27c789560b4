/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* rewrite: entry to addresses, ports, TTL and checksums. What cannot go on (TTL, MTU) is refused
 * here, before a byte has changed, since the refusal quotes the packet as its sender knows it. */

#include "core/flow.h"
#include "pipelines/stage.h"

/* The difference to a header checksum that a TTL one lower makes. */
#define TTL_DELTA htons(0xfeff)

static inline uint16_t delta_add(uint16_t a, uint16_t b)
{
	uint32_t sum = (uint32_t)a + b;

	return (uint16_t)((sum & 0xffff) + (sum >> 16));
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

/* What cannot go on. True: the lane has left. */
static inline bool refused(struct burst *b, lanes_t i, const struct next_hop *nh, uint8_t ttl)
{
	if (__builtin_expect(ttl <= 1, 0)) {
		lane_reject(b, i, REJECT_TTL, DROP_TtlExpired);
		return true;
	}
	if (__builtin_expect(b->len[i] - b->l3[i] > nh->mtu, 0) && nh->mtu != 0 &&
		(b->flags[i] & LANE_DONT_FRAGMENT) != 0) {
		b->reject_mtu[i] = nh->mtu;
		lane_reject(b, i, REJECT_TOO_BIG, DROP_MtuExceeded);
		return true;
	}
	return false;
}

static inline bool translated(const struct flow_meta *m)
{
	return (atomic_load_explicit(&m->flags, memory_order_relaxed) &
		       (FLOW_F_DNAT | FLOW_F_SNAT)) != 0;
}

static inline void rewrite4(struct worker *w, struct burst *b, lanes_t i, const struct flow4 *e)
{
	const struct next_hop *nh = next_hop_get(w->snap.next_hops, b->next_hop[i]);
	struct ipv4_hdr *ip = (struct ipv4_hdr *)(b->data[i] + b->l3[i]);
	unsigned dir = b->flow[i] & 1;
	uint16_t flip = dir == DIR_REPLY ? 0xffff : 0;
	struct flow_key4 to;

	if (refused(b, i, nh, ip->ttl))
		return;
	b->to.transmit |= LANE(i);
	ip->ttl--;
	if (!translated(&e->meta)) {
		ip->csum = csum_update(ip->csum, TTL_DELTA);
		return;
	}
	if (__builtin_expect(b->proto[i] == IP_PROTO_SCTP, 0) &&
		sctp_fragment_changes_port(w, b, i)) {
		b->to.transmit &= ~LANE(i);
		lane_drop(b, i, DROP_FragmentUnsupported);
		return;
	}
	to = flow_key4_mirror(&e->key[!dir]);
	nat_rewrite4(b->data[i], b->len[i], b->l3[i], b->l4[i], &to,
		delta_add(e->meta.l3_delta ^ flip, TTL_DELTA), e->meta.l4_delta ^ flip,
		(b->flags[i] & LANE_FRAGMENT_LATER) != 0);
}

static inline void rewrite6(struct worker *w, struct burst *b, lanes_t i, const struct flow6 *e)
{
	const struct next_hop *nh = next_hop_get(w->snap.next_hops, b->next_hop[i]);
	struct ipv6_hdr *ip = (struct ipv6_hdr *)(b->data[i] + b->l3[i]);
	unsigned dir = b->flow[i] & 1;
	uint16_t flip = dir == DIR_REPLY ? 0xffff : 0;
	struct flow_key6 to;

	if (refused(b, i, nh, ip->hop_limit))
		return;
	b->to.transmit |= LANE(i);
	ip->hop_limit--;
	if (!translated(&e->meta))
		return;
	if (__builtin_expect(b->proto[i] == IP_PROTO_SCTP, 0) &&
		sctp_fragment_changes_port(w, b, i)) {
		b->to.transmit &= ~LANE(i);
		lane_drop(b, i, DROP_FragmentUnsupported);
		return;
	}
	to = flow_key6_mirror(&e->key[!dir]);
	nat_rewrite6(b->data[i], b->len[i], b->l3[i], b->l4[i], &to, e->meta.l4_delta ^ flip,
		(b->flags[i] & LANE_FRAGMENT_LATER) != 0);
}

void stage_rewrite(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_rewrite, &b->to.rewrite);
	const struct flow4 *entries4 = flow_array4(w->dp->flows);

	lanes_foreach (i, in & ~b->v6)
		rewrite4(w, b, i, &entries4[b->flow[i] >> 1]);
	if (__builtin_expect((in & b->v6) != 0, 0)) {
		const struct flow6 *entries6 = flow_array6(w->dp->flows);

		lanes_foreach (i, in & b->v6)
			rewrite6(w, b, i, &entries6[b->flow[i] >> 1]);
	}
}
