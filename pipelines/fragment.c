/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* fragment: source, destination, id and protocol to the first fragment's ports, so that every
 * fragment of a datagram meets the same flow. Strays are held by the fragment table; pipeline_tick
 * brings them back once the first fragment came. */

#include "core/frag.h"
#include "pipelines/stage.h"

void stage_fragment(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_fragment, &b->to.fragment);

	lanes_foreach (i, in) {
		const struct vport *vp = stage_in_vport(w, b, i);
		struct frag_packet pkt = {
			.buf = b->buf[i],
			.data = b->data[i],
			.len = b->len[i],
			.in_vport = b->in_vport[i],
			.flags = b->flags[i] & LANE_L4_CSUM_OK,
		};
		enum drop_reason reason = DROP_Internal;
		struct parsed p;

		parse_frame(b->data[i], b->len[i], vp->zone, &p);
		if (p.kind != PARSE_FRAGMENT_LATER) {
			frag_first(w->frags, &p, w->now_ms);
			stage_to_flow(w, b, i);
			continue;
		}
		switch (frag_later(w->frags, &p, &pkt, w->now_ms, &reason)) {
		case FRAG_PASS:
			b->hdr[i].proto = p.proto; /* IPv6 names it in the first fragment only */
			if (lane_family(b, i) == IP_V6)
				b->key6[i] = p.key6;
			else
				b->key4[i] = p.key4;
			stage_to_flow(w, b, i);
			break;
		case FRAG_HELD:
			break;
		case FRAG_DROP:
			lane_drop(b, i, reason);
			break;
		}
	}
}
