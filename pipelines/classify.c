/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* classify: headers to offsets, family, protocol, fragment and flow key. Every length is checked
 * against the bytes held; what a router must not forward ends here. */

#include "pipelines/stage.h"

static inline bool mac_is_ours(const struct vport *vp, const uint8_t *frame)
{
	return ((load_u32(frame) ^ load_u32(vp->mac)) |
		       (uint32_t)(load_u16(frame + 4) ^ load_u16(vp->mac + 4))) == 0;
}

static inline void store_lane(struct burst *b, lanes_t i, const struct parsed *p)
{
	if (p->len != b->len[i]) {
		b->len[i] = p->len;
		b->resized |= LANE(i);
	}
	b->l3[i] = p->l3;
	b->l4[i] = p->l4;
	b->flags[i] |= p->flags;
	b->proto[i] = p->proto;
	b->tcp_flags[i] = p->tcp_flags;
	if ((p->flags & LANE_V6) != 0) {
		b->v6 |= LANE(i);
		b->key6[i] = p->key6;
	} else {
		b->key4[i] = p->key4;
	}
}

/* Whatever parse_fast() leaves. */
static __attribute__((noinline)) void classify_rare(
	struct burst *b, lanes_t i, const struct vport *vp)
{
	const uint8_t *frame = b->data[i];
	struct parsed p;

	parse_frame(frame, b->len[i], vp->zone, &p);
	if (p.kind == PARSE_DROP) {
		lane_drop(b, i, p.reason);
		return;
	}
	if (!mac_is_ours(vp, frame) && (frame[0] & 1) == 0) {
		lane_drop(b, i, DROP_NotForUs);
		return;
	}
	/* A unicast IP packet in a broadcast frame is not ours to forward (RFC 1812 5.3.4). */
	if ((frame[0] & 1) != 0 && p.kind != PARSE_NEIGHBOUR) {
		lane_drop(b, i, DROP_Multicast);
		return;
	}
	store_lane(b, i, &p);
	if (p.kind == PARSE_NEIGHBOUR)
		b->to.neighbour |= LANE(i);
	else if (p.kind == PARSE_ICMP_ERROR)
		b->to.icmp_error |= LANE(i);
	else if ((p.flags & LANE_FRAGMENT) != 0)
		b->to.fragment |= LANE(i);
	else
		b->to.flow |= LANE(i);
}

void stage_classify(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_classify, &b->to.classify);
	const struct vport *vp = NULL;
	uint32_t id = VPORTS_MAX;
	uint64_t bytes = 0, packets = 0;

	lanes_foreach (i, in)
		__builtin_prefetch(b->data[i]);
	lanes_foreach (i, in) {
		struct parsed p;

		/* Nearly always the whole burst is of one vport. */
		if (__builtin_expect(b->in_vport[i] != id, 0)) {
			if (id != VPORTS_MAX) {
				COUNT(w->counters.vport[id].rx_packets, packets);
				COUNT(w->counters.vport[id].rx_bytes, bytes);
			}
			id = b->in_vport[i];
			vp = w->snap.vports->at[id];
			packets = bytes = 0;
		}
		packets++;
		bytes += b->len[i];
		if (__builtin_expect(vp == NULL, 0))
			lane_drop(b, i, DROP_TxPortDown);
		else if (PACKET_LIKELY(parse_fast(b->data[i], b->len[i], vp->zone, &p) &&
				 mac_is_ours(vp, b->data[i]))) {
			store_lane(b, i, &p);
			b->to.flow |= LANE(i);
		} else {
			classify_rare(b, i, vp);
		}
	}
	if (id != VPORTS_MAX) {
		COUNT(w->counters.vport[id].rx_packets, packets);
		COUNT(w->counters.vport[id].rx_bytes, bytes);
	}
	COUNT(w->counters.received, __builtin_popcountll(in));
}
