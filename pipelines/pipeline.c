/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Runs bursts through compositions, and what has to happen beside packets once a loop. */

#include "pipelines/pipeline.h"
#include "core/frag.h"

const struct pipeline *const pipelines[] = {&pipeline_pod, &pipeline_uplink};
const uint32_t n_pipelines = sizeof(pipelines) / sizeof(pipelines[0]);

static lanes_t lanes_left(const struct burst *b)
{
	const struct burst_sets *s = &b->to;

	return s->classify | s->neighbour | s->fragment | s->flow | s->icmp_error | s->service |
		s->source_nat | s->route | s->commit | s->rewrite | s->transmit | s->local |
		s->reject | s->hold | s->drop;
}

static void run_stages(struct worker *w, struct burst *b, const struct pipeline *p)
{
	lanes_t left;

	for (uint32_t n = 0; n < p->n_stages; n++)
		p->stages[n].run(w, b);
	left = lanes_left(b);
	if (__builtin_expect(left == 0, 1))
		return;
	/* A bug in a stage must cost packets, not buffers. */
	b->to = (struct burst_sets){0};
	lanes_foreach (i, left)
		lane_drop(b, i, DROP_Internal);
	stage_drop(w, b);
}

void pipeline_run(struct worker *w, struct burst *b)
{
	const struct vport *vp = w->snap.vports->at[b->in_vport[0]];
	bool uplink = vp != NULL && vp->role == VPORT_UPLINK;

	COUNT(w->counters.bursts, 1);
	b->v6 = 0;
	b->plain = 0;
	b->strangers = 0;
	b->resized = 0;
	run_stages(w, b, uplink ? &pipeline_uplink : &pipeline_pod);
}

/* Fragments whose first one has come: they enter as if just received, but were counted then. */
static void release_fragments(struct worker *w)
{
	struct burst *b = &w->burst;
	struct frag_packet pkt;

	while (frag_take(w->frags, &pkt)) {
		struct vport_counters *c = &w->counters.vport[pkt.in_vport];

		b->buf[0] = pkt.buf;
		b->data[0] = pkt.data;
		b->len[0] = pkt.len;
		b->in_vport[0] = pkt.in_vport;
		b->flags[0] = pkt.flags;
		b->count = 1;
		b->to.classify = LANE(0);
		w->counters.received--;
		c->rx_packets--;
		c->rx_bytes -= pkt.len;
		pipeline_run(w, b);
	}
}

static void drop_fragments(struct worker *w, bool all)
{
	struct burst *b = &w->burst;
	struct frag_packet pkt;

	while (frag_expire(w->frags, w->now_ms, all, &pkt)) {
		b->buf[0] = pkt.buf;
		b->data[0] = pkt.data;
		b->len[0] = pkt.len;
		b->in_vport[0] = pkt.in_vport;
		b->count = 1;
		lane_drop(b, 0, DROP_FragmentTimeout);
		stage_drop(w, b);
	}
}

void pipeline_tick(struct worker *w)
{
	release_fragments(w);
	drop_fragments(w, false);
	hold_retry(w);
}

void pipeline_stop(struct worker *w)
{
	drop_fragments(w, true);
	hold_drop_all(w);
}

static void flow_usage(const struct dataplane *dp, enum ip_family f, struct table_usage *out)
{
	*out = (struct table_usage){
		.name = f == IP_V4 ? "flows_v4" : "flows_v6",
		.capacity = flow_capacity(dp->flows, f),
	};
	for (uint32_t n = 0; n < dp->n_workers; n++) {
		const struct flow_pool_stats *s = flow_stats(dp->flows, f, n);

		out->used += atomic_load_explicit(&s->used, memory_order_relaxed);
		out->high_water += atomic_load_explicit(&s->high_water, memory_order_relaxed);
		out->full += atomic_load_explicit(&s->full, memory_order_relaxed);
	}
}

uint32_t pipeline_table_usage(
	const struct dataplane *dp, struct table_usage out[PIPELINE_TABLES_MAX])
{
	struct table_usage *t = out;

	flow_usage(dp, IP_V4, t++);
	flow_usage(dp, IP_V6, t++);
	*t = (struct table_usage){
		.name = "affinity",
		.capacity = affinity_capacity(dp->affinity),
		.used = affinity_used(dp->affinity),
	};
	t->high_water = t->used; /* records are replaced, never given back */
	t++;
	*t = (struct table_usage){
		.name = "fragments",
		.capacity = (uint64_t)FRAG_ENTRIES * dp->n_workers,
	};
	for (uint32_t n = 0; n < dp->n_workers; n++) {
		struct frag_stats s;

		frag_stats(dp->workers[n]->frags, &s);
		t->used += s.entries;
		t->high_water += s.entries_high;
		t->full += s.full;
	}
	t++;
	*t = (struct table_usage){
		.name = "held_packets",
		.capacity = (uint64_t)HOLD_MAX * dp->n_workers,
	};
	for (uint32_t n = 0; n < dp->n_workers; n++) {
		const struct worker *w = dp->workers[n];

		t->used += w->held_count;
		t->high_water += w->counters.held_high;
		t->full += w->counters.drops[DROP_HoldQueueFull];
	}
	t++;
	return (uint32_t)(t - out);
}
