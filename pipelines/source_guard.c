/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* source_guard: vport, source address and MAC to pass or drop. A pod sends only as itself.
 *
 * A filter over what classify sorted: it takes no set of its own. */

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

/* What nearly every packet of a pod has: its MAC and its first address of the family. */
struct usual {
	uint64_t mac[IP_FAMILIES]; /* no MAC where there is no such address */
	uint64_t src6[2];
	uint32_t src4;
};

static void usual_of(const struct vport *vp, struct usual *u)
{
	uint64_t mac = mac_constant(vp->peer_mac);

	*u = (struct usual){.mac = {UINT64_MAX, UINT64_MAX}};
	for (uint32_t n = 0; n < vp->n_addrs; n++) {
		const struct ip_prefix *p = &vp->addrs[n];

		if (p->family == IP_V4 && p->len == 32 && u->mac[IP_V4] != mac) {
			u->src4 = load_u32(p->addr.bytes + 12);
			u->mac[IP_V4] = mac;
		} else if (p->family == IP_V6 && p->len == 128 && u->mac[IP_V6] != mac) {
			memcpy(u->src6, p->addr.bytes, 16);
			u->mac[IP_V6] = mac;
		}
	}
}

static inline bool is_usual(const struct burst *b, lanes_t i, const struct usual *u)
{
	const uint8_t *src6 = b->key6[i].src;

	uint64_t mac = mac_word(b->data[i] + 6);

	if ((b->v6 & LANE(i)) == 0)
		return mac == u->mac[IP_V4] && b->key4[i].src == u->src4;
	return mac == u->mac[IP_V6] && load_u64(src6) == u->src6[0] &&
		load_u64(src6 + 8) == u->src6[1];
}

/* Those of in that come from one vport, from the first on, and may not: returned. *left: the lanes
 * behind. */
static lanes_t guard_run(struct worker *w, struct burst *b, lanes_t in, lanes_t *left)
{
	uint16_t id = b->in_vport[lanes_first(in)];
	const struct vport *vp = w->snap.vports->at[id];
	lanes_t odd = 0, spoofed = 0;
	struct usual u;

	*left = 0;
	usual_of(vp, &u);
	lanes_foreach (i, in) {
		if (__builtin_expect(b->in_vport[i] != id, 0)) {
			*left = in & ~(LANE(i) - 1);
			break;
		}
		/* classify has no key for errors */
		if (!PACKET_LIKELY(is_usual(b, i, &u)) || (b->to.icmp_error & LANE(i)) != 0)
			odd |= LANE(i);
	}
	if (!vp->source_guard)
		return 0;
	lanes_foreach (i, odd) {
		enum drop_reason reason = guard_lane(b, i, vp);

		if (reason == DROP_REASONS)
			continue;
		spoofed |= LANE(i);
		lane_drop(b, i, reason);
	}
	return spoofed;
}

void stage_source_guard(struct worker *w, struct burst *b)
{
	lanes_t in = b->to.flow | b->to.fragment | b->to.icmp_error;
	lanes_t spoofed = 0, left = in;

	COUNT(w->counters.stage_packets[STAGE_source_guard], lanes_count(in));
	while (left != 0)
		spoofed |= guard_run(w, b, left, &left);
	b->to.flow &= ~spoofed;
	b->to.fragment &= ~spoofed;
	b->to.icmp_error &= ~spoofed;
}
