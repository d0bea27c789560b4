/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* drop: one reason each, counted by reason and by vport; the buffers go back. */

#include "pipelines/stage.h"

void stage_drop(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_drop, &b->to.drop);

	if (in == 0)
		return;
	lanes_foreach (i, in) {
		COUNT(w->counters.drops[b->reason[i]], 1);
		COUNT(w->counters.vport[b->in_vport[i]].drops, 1);
	}
	w->io->free_lanes(w, b, in);
}
