/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* source_guard: vport, source address and MAC to pass or drop. A pod sends only as itself.
 *
 * A filter over what classify sorted: it takes no set of its own. */

#include "pipelines/stage.h"

static __attribute__((noinline)) enum drop_reason guard_lane(
	const struct burst *b, lanes_t i, const struct vport *vp)
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

/* Whether a plain lane, whose MACs classify has compared, has one of its vport's addresses. All are
 * looked at: where to stop is a branch that cannot be foretold when several take turns. A prefix
 * holds its own address, too. */
static inline bool has_own_address(const struct burst *b, lanes_t i, const struct vport *vp)
{
	struct ip_addr src = lane_src(b, i);
	bool own = false;

	for (uint32_t n = 0; n < vp->n_addrs; n++) {
		const uint64_t *a = vp->addrs[n].addr.dwords;

		own |= ((a[0] ^ src.dwords[0]) | (a[1] ^ src.dwords[1])) == 0;
	}
	return own;
}

void stage_source_guard(struct worker *w, struct burst *b)
{
	lanes_t in = b->to.flow | b->to.fragment | b->to.icmp_error, spoofed = 0;

	COUNT(w->counters.stage_packets[STAGE_source_guard], lanes_count(in));
	/* classify has compared the first address of what is plain. */
	lanes_foreach (i, in & (b->strangers | ~b->plain)) {
		const struct vport *vp = stage_in_vport(w, b, i);
		enum drop_reason reason;

		if (!vp->source_guard || ((b->plain & LANE(i)) != 0 && has_own_address(b, i, vp)))
			continue;
		reason = guard_lane(b, i, vp);
		if (reason == DROP_REASONS)
			continue;
		spoofed |= LANE(i);
		lane_drop(b, i, reason);
	}
	b->to.flow &= ~spoofed;
	b->to.fragment &= ~spoofed;
	b->to.icmp_error &= ~spoofed;
}
