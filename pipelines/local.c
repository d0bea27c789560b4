/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* local: packets for Sluice itself, which is a router without services of its own: echo is
 * answered, other transports are told that nobody listens. */

#include "pipelines/stage.h"

void stage_local(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_local, &b->to.local);
	lanes_t out = 0;

	lanes_foreach (i, in) {
		bool v6 = lane_family(b, i) == IP_V6;

		if ((b->flags[i] & LANE_FRAGMENT) != 0) {
			lane_drop(b, i, DROP_LocalUnsupported);
		} else if (b->hdr[i].proto == IP_PROTO_TCP) {
			lane_reject(b, i, REJECT_TCP_RESET, DROP_LocalUnsupported);
		} else if (b->hdr[i].proto == IP_PROTO_UDP) {
			lane_reject(b, i, REJECT_PORT_UNREACHABLE, DROP_LocalUnsupported);
		} else if (echo_reply(b->data[i], b->len[i], b->hdr[i].l3, b->hdr[i].l4, v6)) {
			struct vport_counters *c = &w->counters.vport[b->in_vport[i]];

			b->out_vport[i] = b->in_vport[i];
			COUNT(c->tx_packets, 1);
			COUNT(c->tx_bytes, b->len[i]);
			out |= LANE(i);
		} else {
			lane_drop(b, i, DROP_LocalUnsupported);
		}
	}
	if (out != 0)
		w->io->transmit(w, b, out);
}
