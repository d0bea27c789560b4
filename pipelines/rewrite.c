/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* rewrite: entry to addresses, ports, TTL and checksums. What cannot go on (TTL, MTU) is refused
 * here, before a byte has changed, since the refusal quotes the packet as its sender knows it. */

#include "core/flow.h"
#include "pipelines/stage.h"

/* The difference to a header checksum that a TTL one lower makes. */
#define TTL_DELTA htons(0xfeff)

/* SCTP's checksum covers the whole packet: with one fragment of it in hand it cannot follow a
 * changed port. */
static bool sctp_fragment_changes_port(struct worker *w, const struct burst *b, lanes_t i)
{
	unsigned dir = b->flow[i] & 1;

	if (b->hdr[i].proto != IP_PROTO_SCTP || (b->flags[i] & LANE_FRAGMENT) == 0)
		return false;
	if (lane_family(b, i) == IP_V6) {
		const struct flow_key6 *k = flow_array6(w->dp->flows)[b->flow[i] >> 1].key;

		return k[dir].sport != k[!dir].dport || k[dir].dport != k[!dir].sport;
	} else {
		const struct flow_key4 *k = flow_array4(w->dp->flows)[b->flow[i] >> 1].key;

		return k[dir].sport != k[!dir].dport || k[dir].dport != k[!dir].sport;
	}
}

static __attribute__((noinline)) bool refused(
	struct burst *b, lanes_t i, const struct next_hop *nh, uint8_t ttl)
{
	if (ttl <= 1) {
		lane_reject(b, i, REJECT_TTL, DROP_TtlExpired);
		return true;
	}
	if (nh->mtu != 0 && b->len[i] - b->hdr[i].l3 > nh->mtu && lane_dont_fragment(b, i)) {
		b->reject_mtu[i] = nh->mtu;
		lane_reject(b, i, REJECT_TOO_BIG, DROP_MtuExceeded);
		return true;
	}
	return false;
}

/* False: the lane has left. */
static inline bool may_go_on(struct burst *b, lanes_t i, const struct next_hop *nh, uint8_t ttl)
{
	return PACKET_LIKELY(ttl > 1 && b->len[i] <= nh->plain_max) || !refused(b, i, nh, ttl);
}

static inline bool translated(const struct flow_meta *m)
{
	return (atomic_load_explicit(&m->flags, memory_order_relaxed) &
		       (FLOW_F_DNAT | FLOW_F_SNAT)) != 0;
}

/* Translations that are neither of a TCP nor of a UDP header: other protocols, later fragments.
 * False: the lane was dropped. TTL and its share of the checksum are done. */
static __attribute__((noinline, cold)) bool translate_other(
	struct worker *w, struct burst *b, lanes_t i, uint16_t l3_delta, uint16_t l4_delta)
{
	bool later = (b->flags[i] & LANE_FRAGMENT_LATER) != 0;
	uint32_t entry = b->flow[i] >> 1;
	unsigned dir = b->flow[i] & 1;

	if (sctp_fragment_changes_port(w, b, i)) {
		lane_drop(b, i, DROP_FragmentUnsupported);
		return false;
	}
	if (lane_family(b, i) == IP_V6) {
		struct flow_key6 to = flow_key6_mirror(&flow_array6(w->dp->flows)[entry].key[!dir]);

		nat_rewrite6(
			b->data[i], b->len[i], b->hdr[i].l3, b->hdr[i].l4, &to, l4_delta, later);
	} else {
		struct flow_key4 to = flow_key4_mirror(&flow_array4(w->dp->flows)[entry].key[!dir]);

		nat_rewrite4(b->data[i], b->len[i], b->hdr[i].l3, b->hdr[i].l4, &to, l3_delta,
			l4_delta, later);
	}
	return true;
}

/* What both loops read of the worker, by value for the compiler's sake. */
struct tables {
	const struct next_hop_table *hops;
	const struct flow4 *entries4;
	const struct flow6 *entries6;
};

static inline struct tables tables_of(const struct worker *w)
{
	return (struct tables){.hops = w->snap.next_hops,
		.entries4 = flow_array4(w->dp->flows),
		.entries6 = flow_array6(w->dp->flows)};
}

/* The reply's differences are the forward ones' complements: both fields in one word. */
static inline void deltas_of(
	const struct flow_meta *m, unsigned dir, uint16_t *l3_delta, uint16_t *l4_delta)
{
	uint32_t both = load_u32(&m->l3_delta) ^ -(uint32_t)dir;

	*l3_delta = ((const uint16_t *)&both)[0];
	*l4_delta = ((const uint16_t *)&both)[1];
}

/* Ports and checksum of a TCP or UDP header. For UDP the equation is turned round (RFC 1624 eqn.
 * 4): its sum is never zero, as UDP wants it. */
static inline __attribute__((always_inline)) void rewrite_l4(
	uint8_t *l4, uint8_t proto, uint32_t ports, uint16_t delta)
{
	uint32_t sum;

	store_u32(l4, ports);
	if (proto == IP_PROTO_TCP) {
		csum_adjust(l4 + offsetof(struct tcp_hdr, csum), delta);
		return;
	}
	sum = load_u16(l4 + offsetof(struct udp_hdr, csum));
	if (__builtin_expect(sum == 0, 0))
		return;
	sum = sum - delta + 0xffff;
	store_u16(l4 + offsetof(struct udp_hdr, csum), (uint16_t)((sum & 0xffff) + (sum >> 16)));
}

/* Plain lanes have their headers where constants say (burst.h). Whatever is read of the burst is
 * read first: the compiler has to take a store to the packet for one to the burst.
 * True: the lane goes to transmit. */
static inline __attribute__((always_inline)) bool rewrite4(
	struct worker *w, struct burst *b, lanes_t i, const struct tables *t, const bool plain)
{
	const struct next_hop *nh = next_hop_get(t->hops, b->next_hop[i]);
	const struct flow4 *e = &t->entries4[b->flow[i] >> 1];
	unsigned dir = b->flow[i] & 1;
	uint16_t l3_delta, l4_delta;
	const struct flow_key4 *from = &e->key[!dir];
	uint8_t *l3 = b->data[i] + (plain ? ETH_HLEN : b->hdr[i].l3);
	struct ipv4_hdr *ip = (struct ipv4_hdr *)l3;

	if (!PACKET_LIKELY(may_go_on(b, i, nh, ip->ttl)))
		return false;
	ip->ttl--;
	if (!translated(&e->meta)) {
		ip->csum = csum_update(ip->csum, TTL_DELTA);
		return true;
	}
	deltas_of(&e->meta, dir, &l3_delta, &l4_delta);
	if (!plain) {
		ip->csum = csum_update(ip->csum, TTL_DELTA);
		return translate_other(w, b, i, l3_delta, l4_delta);
	}
	ip->csum = (uint16_t)~csum_fold3(0xffffu - ip->csum + l3_delta + TTL_DELTA);
	store_u64(&ip->src, flow_key4_mirror_addrs(from));
	rewrite_l4(l3 + sizeof(*ip), ip->proto, flow_mirror_ports(&from->sport), l4_delta);
	return true;
}

static inline __attribute__((always_inline)) bool rewrite6(
	struct worker *w, struct burst *b, lanes_t i, const struct tables *t, const bool plain)
{
	const struct next_hop *nh = next_hop_get(t->hops, b->next_hop[i]);
	const struct flow6 *e = &t->entries6[b->flow[i] >> 1];
	unsigned dir = b->flow[i] & 1;
	uint16_t l3_delta, l4_delta;
	const struct flow_key6 *from = &e->key[!dir];
	uint8_t *l3 = b->data[i] + (plain ? ETH_HLEN : b->hdr[i].l3);
	struct ipv6_hdr *ip = (struct ipv6_hdr *)l3;

	if (!PACKET_LIKELY(may_go_on(b, i, nh, ip->hop_limit)))
		return false;
	ip->hop_limit--;
	if (!translated(&e->meta))
		return true;
	deltas_of(&e->meta, dir, &l3_delta, &l4_delta);
	if (!plain)
		return translate_other(w, b, i, 0, l4_delta);
	memcpy(ip->src, from->dst, 16);
	memcpy(ip->dst, from->src, 16);
	rewrite_l4(l3 + sizeof(*ip), ip->next, flow_mirror_ports(&from->sport), l4_delta);
	return true;
}

static lanes_t rewrite_lanes4(struct worker *w, struct burst *b, lanes_t in)
{
	struct tables t = tables_of(w);
	lanes_t plain = in & b->plain, gone = 0;

	lanes_each(i, plain) if (!PACKET_LIKELY(rewrite4(w, b, i, &t, true))) gone |= LANE(i);
	lanes_foreach (i, in & ~plain)
		if (!rewrite4(w, b, i, &t, false))
			gone |= LANE(i);
	return in & ~gone;
}

static lanes_t rewrite_lanes6(struct worker *w, struct burst *b, lanes_t in)
{
	struct tables t = tables_of(w);
	lanes_t plain = in & b->plain, gone = 0;

	lanes_each(i, plain) if (!PACKET_LIKELY(rewrite6(w, b, i, &t, true))) gone |= LANE(i);
	lanes_foreach (i, in & ~plain)
		if (!rewrite6(w, b, i, &t, false))
			gone |= LANE(i);
	return in & ~gone;
}

void stage_rewrite(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_rewrite, &b->to.rewrite);

	if ((in & ~b->v6) != 0)
		b->to.transmit |= rewrite_lanes4(w, b, in & ~b->v6);
	if ((in & b->v6) != 0)
		b->to.transmit |= rewrite_lanes6(w, b, in & b->v6);
}
