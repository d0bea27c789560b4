/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* route: destination to a next hop, and the way back for replies. */

#include "core/route.h"
#include "pipelines/stage.h"

static struct ip_addr routed_dst(const struct burst *b, lanes_t i)
{
	const struct lane_decision *d = &b->decision[i];

	return d->backend != NULL ? d->backend->addr : lane_dst(b, i);
}

void stage_route(struct worker *w, struct burst *b)
{
	const struct route_domain *r = w->snap.routes;
	lanes_t in = stage_take(w, STAGE_route, &b->to.route);

	lanes_foreach (i, in) {
		struct lane_decision *d = &b->decision[i];
		struct ip_addr dst = routed_dst(b, i);
		struct ip_addr src = lane_src(b, i);
		uint16_t id = fib_lookup(r->fib, &dst);

		switch (next_hop_get(w->snap.next_hops, id)->kind) {
		case NEXT_HOP_FORWARD:
		case NEXT_HOP_UNRESOLVED:
		case NEXT_HOP_GLEAN:
			d->next_hop[DIR_FORWARD] = id;
			d->next_hop[DIR_REPLY] = fib_lookup(r->fib, &src);
			b->to.commit |= LANE(i);
			break;
		case NEXT_HOP_LOCAL:
			b->to.local |= LANE(i);
			break;
		case NEXT_HOP_BLACKHOLE:
			lane_drop(b, i, DROP_Blackhole);
			break;
		case NEXT_HOP_PROHIBIT:
			lane_reject(b, i, REJECT_PROHIBITED, DROP_Rejected);
			break;
		default:
			lane_reject(b, i, REJECT_NO_ROUTE, DROP_NoRoute);
			break;
		}
	}
}
