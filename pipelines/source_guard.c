/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* source_guard: vport, source address and MAC to pass or drop. A pod sends only as itself.
 *
 * A filter over what classify sorted: it takes no set of its own. */

#include "core/simd.h"
#include "pipelines/stage.h"

static enum drop_reason guard_lane(const struct burst *b, lanes_t i, const struct vport *vp)
{
	const struct eth_hdr *eth = (const struct eth_hdr *)b->data[i];
	struct ip_addr src = lane_src(b, i);

	if (vp->peer_mac_known && memcmp(eth->src, vp->peer_mac, 6) != 0)
		return DROP_SourceMacSpoofed;
	for (uint32_t n = 0; n < vp->n_addrs; n++) {
		const struct ip_prefix *p = &vp->addrs[n];
		bool host = p->len == (p->family == IP_V4 ? 32 : 128);

		if (host ? ip_equal(&p->addr, &src) : ip_prefix_contains(p, &src))
			return DROP_REASONS;
	}
	return DROP_SourceIpSpoofed;
}

/* Lanes, of plain IPv4 packets, that come from a host address of their vport; those of another
 * vport than the first one's are left out. All addresses are compared: where to stop is a branch
 * that cannot be foretold when several take turns. */
static lanes_t from_hosts4(const struct worker *w, const struct burst *b, lanes_t in)
{
	uint32_t id = b->in_vport[lanes_first(in)];
	const struct vport *vp = w->snap.vports->at[id];
	uint32_t host[VPORT_ADDRS_MAX] = {0}; /* 0: none */
	lanes_t own = 0;

	for (uint32_t n = 0; n < vp->n_addrs; n++)
		if (vp->addrs[n].family == IP_V4 && vp->addrs[n].len == 32)
			host[n] = ip_v4(&vp->addrs[n].addr);
	lanes_foreach (i, in) {
		uint32_t src = b->key4[i].src;
		bool same = simd_any8_u32(host, src) & (src != 0) & (b->in_vport[i] == id);

		own |= (lanes_t)same << i;
	}
	return own;
}

_Static_assert(VPORT_ADDRS_MAX == 8, "as many as one comparison takes");

void stage_source_guard(struct worker *w, struct burst *b)
{
	lanes_t in = b->to.flow | b->to.fragment | b->to.icmp_error, spoofed = 0, look, plain4;

	COUNT(w->counters.stage_packets[STAGE_source_guard], lanes_count(in));
	/* classify has compared the MACs of what is plain, and the first address. */
	look = in & (b->strangers | ~b->plain);
	plain4 = look & b->plain & ~b->v6;
	if (plain4 != 0)
		look &= ~from_hosts4(w, b, plain4);
	lanes_foreach (i, look) {
		const struct vport *vp = stage_in_vport(w, b, i);
		enum drop_reason reason = vp->source_guard ? guard_lane(b, i, vp) : DROP_REASONS;

		if (reason == DROP_REASONS)
			continue;
		spoofed |= LANE(i);
		lane_drop(b, i, reason);
	}
	b->to.flow &= ~spoofed;
	b->to.fragment &= ~spoofed;
	b->to.icmp_error &= ~spoofed;
}
