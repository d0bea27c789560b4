/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* source_nat: which new flows need a source address of ours. Translated ones were decided with
 * their service; a pod's own traffic to somewhere outside the cluster is masqueraded. The port is
 * found, and so reserved, by commit. */

#include "pipelines/stage.h"

static bool in_cluster(const struct snat_config *s, const struct ip_addr *a)
{
	for (uint32_t n = 0; n < s->n_cluster; n++)
		if (ip_prefix_contains(&s->cluster[n], a))
			return true;
	return false;
}

void stage_source_nat(struct worker *w, struct burst *b)
{
	const struct snat_config *s = &w->snap.tunables->snat;
	lanes_t in = stage_take(w, STAGE_source_nat, &b->to.source_nat);

	lanes_foreach (i, in) {
		struct lane_decision *d = &b->decision[i];

		if (d->backend == NULL && s->egress && stage_in_vport(w, b, i)->role == VPORT_POD) {
			struct ip_addr dst = lane_dst(b, i);

			d->snat = !in_cluster(s, &dst);
		}
	}
	b->to.route |= in;
}
