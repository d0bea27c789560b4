/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* icmp_error: the packet quoted by an ICMP error names the flow the error is about (RFC 5508 4).
 *
 * The quoted packet is one that we forwarded, as it left us: its mirror is the key of the other
 * direction. The error goes where that direction goes; outside and inside become what the
 * receiver knows. */

#include "core/flow.h"
#include "pipelines/stage.h"

static uint32_t quoted_flow(struct worker *w, bool v6, const struct parsed *inner)
{
	if (v6) {
		struct flow_key6 k = flow_key6_mirror(&inner->key6);

		return flow_lookup6(w->dp->flows, &k);
	} else {
		struct flow_key4 k = flow_key4_mirror(&inner->key4);

		return flow_lookup4(w->dp->flows, &k);
	}
}

/* The error's direction is dir: its receiver sent packets with key[!dir]. The outer source is
 * replaced only where the far end itself complains; a router in between keeps its address. */
static void translate4(struct worker *w, struct burst *b, lanes_t i, const struct parsed *outer,
	const struct parsed *inner, uint32_t entry, enum lane_dir dir)
{
	const struct flow4 *e = &flow_array4(w->dp->flows)[entry];
	const struct flow_key4 *quoted = &e->key[!dir];
	uint32_t src = outer->key4.src;

	if (src == inner->key4.dst)
		src = quoted->dst;
	icmp_error_rewrite4(b->data[i], b->len[i], outer, inner, quoted, src, quoted->src);
}

static void translate6(struct worker *w, struct burst *b, lanes_t i, const struct parsed *outer,
	const struct parsed *inner, uint32_t entry, enum lane_dir dir)
{
	const struct flow6 *e = &flow_array6(w->dp->flows)[entry];
	const struct flow_key6 *quoted = &e->key[!dir];
	const uint8_t *src = outer->key6.src;

	if (memcmp(src, inner->key6.dst, 16) == 0)
		src = quoted->dst;
	icmp_error_rewrite6(b->data[i], b->len[i], outer, inner, quoted, src, quoted->src);
}

static uint8_t lane_ttl(const struct burst *b, lanes_t i, bool v6)
{
	const uint8_t *l3 = b->data[i] + b->hdr[i].l3;

	return v6 ? ((const struct ipv6_hdr *)l3)->hop_limit : ((const struct ipv4_hdr *)l3)->ttl;
}

void stage_icmp_error(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_icmp_error, &b->to.icmp_error);

	lanes_foreach (i, in) {
		const struct vport *vp = stage_in_vport(w, b, i);
		bool v6 = lane_family(b, i) == IP_V6;
		struct parsed outer, inner;
		struct flow_meta *m;
		enum lane_dir dir;
		uint32_t ref;

		parse_frame(b->data[i], b->len[i], vp->zone, &outer);
		if (!parse_icmp_quoted(b->data[i], b->len[i], outer.l4, v6, vp->zone, &inner)) {
			lane_drop(b, i, DROP_IcmpErrorUnmatched);
			continue;
		}
		ref = quoted_flow(w, v6, &inner);
		if (ref == FLOW_NONE) {
			lane_drop(b, i, DROP_IcmpErrorUnmatched);
			continue;
		}
		if (lane_ttl(b, i, v6) <= 1) {
			lane_drop(b, i, DROP_TtlExpired);
			continue;
		}
		dir = ref & 1;
		m = flow_meta(w->dp->flows, v6 ? IP_V6 : IP_V4, ref >> 1);
		if (v6)
			translate6(w, b, i, &outer, &inner, ref >> 1, dir);
		else
			translate4(w, b, i, &outer, &inner, ref >> 1, dir);
		ttl_decrement(b->data[i] + b->hdr[i].l3, v6);
		/* An error never refreshes the flow it is about. */
		b->next_hop[i] = atomic_load_explicit(&m->next_hop[dir], memory_order_relaxed);
		b->to.transmit |= LANE(i);
	}
}
