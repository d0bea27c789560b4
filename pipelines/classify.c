/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* classify: headers to offsets, family, protocol, fragment and flow key. Every length is checked
 * against the bytes held; what a router must not forward ends here. */

#include "pipelines/stage.h"

static bool mac_is_ours(const struct vport *vp, const uint8_t *frame)
{
	return memcmp(frame, vp->mac, 6) == 0 || (frame[0] & 1) != 0;
}

static void count_received(struct worker *w, struct burst *b, lanes_t in)
{
	lanes_foreach (i, in) {
		struct vport_counters *c = &w->counters.vport[b->in_vport[i]];

		COUNT(c->rx_packets, 1);
		COUNT(c->rx_bytes, b->len[i]);
	}
	COUNT(w->counters.received, __builtin_popcountll(in));
}

static void classify_lane(struct worker *w, struct burst *b, lanes_t i)
{
	const struct vport *vp = stage_in_vport(w, b, i);
	struct parsed p;

	if (vp == NULL) {
		lane_drop(b, i, DROP_TxPortDown);
		return;
	}
	parse_frame(b->data[i], b->len[i], vp->zone, &p);
	if (p.kind == PARSE_DROP) {
		lane_drop(b, i, p.reason);
		return;
	}
	if (!mac_is_ours(vp, b->data[i])) {
		lane_drop(b, i, DROP_NotForUs);
		return;
	}
	if (p.len != b->len[i]) {
		b->len[i] = p.len;
		b->resized |= LANE(i);
	}
	b->l3[i] = p.l3;
	b->l4[i] = p.l4;
	b->flags[i] |= p.flags;
	b->proto[i] = p.proto;
	b->tcp_flags[i] = p.tcp_flags;
	if (p.kind == PARSE_NEIGHBOUR) {
		b->to.neighbour |= LANE(i);
		return;
	}
	/* A unicast IP packet in a broadcast frame is not ours to forward (RFC 1812 5.3.4). */
	if ((b->data[i][0] & 1) != 0) {
		lane_drop(b, i, DROP_Multicast);
		return;
	}
	if ((p.flags & LANE_V6) != 0) {
		b->v6 |= LANE(i);
		b->key6[i] = p.key6;
	} else {
		b->key4[i] = p.key4;
	}
	if (p.kind == PARSE_ICMP_ERROR)
		b->to.icmp_error |= LANE(i);
	else if ((p.flags & LANE_FRAGMENT) != 0)
		b->to.fragment |= LANE(i);
	else
		b->to.flow |= LANE(i);
}

void stage_classify(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_classify, &b->to.classify);

	count_received(w, b, in);
	lanes_foreach (i, in)
		__builtin_prefetch(b->data[i]);
	lanes_foreach (i, in)
		classify_lane(w, b, i);
}
