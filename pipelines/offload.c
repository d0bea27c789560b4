/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a worker tells the offload thread: which flows its packets are of, and which have ended.
 *
 * Sampling counts packets, not flows, and stores into no line that workers share: the offload
 * thread does the counting. A full ring loses the request and says so in a counter; nothing waits.
 * Worker threads. */

#include "core/offload.h"
#include "pipelines/stage.h"

static void request_send(struct worker *w, const struct offload_request *r)
{
	if (spsc_put(w->offload, r))
		COUNT(w->counters.offload_requests, 1);
	else
		COUNT(w->counters.offload_lost, 1);
}

static struct offload_request request(
	const struct worker *w, const struct burst *b, lanes_t i, enum offload_request_kind kind)
{
	enum ip_family f = lane_family(b, i);
	const struct flow_meta *m = flow_meta(w->dp->flows, f, b->flow[i] >> 1);

	return (struct offload_request){
		.entry = b->flow[i] >> 1,
		.generation = atomic_load_explicit(&m->generation, memory_order_relaxed),
		.kind = (uint8_t)kind,
		.family = (uint8_t)f,
		.dir = b->flow[i] & 1,
		.shift = w->offload_shift & 15,
		.marked = (b->marked & LANE(i)) != 0,
		.in_vport = b->in_vport[i],
	};
}

static void nominate(struct worker *w, const struct burst *b, lanes_t i)
{
	struct offload_request r = request(w, b, i, OFFLOAD_NOMINATE);
	const uint8_t *l3 = b->data[i] + b->hdr[i].l3;

	if (b->hdr[i].proto != IP_PROTO_TCP && b->hdr[i].proto != IP_PROTO_UDP)
		return;
	r.len = (uint16_t)(b->len[i] - b->hdr[i].l3);
	r.ttl = r.family == IP_V6 ? l3[7] : l3[8];
	if ((b->flags[i] & (LANE_FRAGMENT | LANE_IP_OPTIONS)) != 0) {
		r.kind = OFFLOAD_EXCLUDE;
		r.len = (b->flags[i] & LANE_FRAGMENT) != 0 ? OFFLOAD_Fragments : OFFLOAD_IpOptions;
	}
	request_send(w, &r);
}

/* Before rewrite: headers are as received. The distance to the next sample is random around its
 * mean, so that no pattern of bursts hides a flow. */
void offload_sample(struct worker *w, const struct burst *b, lanes_t hits)
{
	int32_t n = (int32_t)lanes_count(hits), at = 0;

	while (w->offload_credit < n) {
		for (; at < w->offload_credit; at++)
			hits &= hits - 1;
		nominate(w, b, lanes_first(hits));
		w->random ^= w->random << 13;
		w->random ^= w->random >> 17;
		w->random ^= w->random << 5;
		w->offload_shift =
			atomic_load_explicit(&w->dp->offload_shift, memory_order_relaxed);
		/* 1 to 2^(shift + 1) - 1. */
		w->offload_credit +=
			1 + (int32_t)((uint64_t)w->random * ((2u << w->offload_shift) - 1) >> 32);
	}
	w->offload_credit -= n;
}

/* The entry's cold line is read for these packets alone. */
void offload_ending(struct worker *w, const struct burst *b, lanes_t i)
{
	struct flow_cold *c = &flow_cold_array(w->dp->flows, lane_family(b, i))[b->flow[i] >> 1];
	struct offload_request r = request(w, b, i, OFFLOAD_ENDING);

	if (atomic_load_explicit(&c->offload[0], memory_order_seq_cst) != 0 ||
		atomic_load_explicit(&c->offload[1], memory_order_seq_cst) != 0)
		request_send(w, &r);
}
