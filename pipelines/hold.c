/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* hold: finished packets whose next hop has no MAC yet. Control is asked once a target and held
 * packet; when routes or next hops change the packets are looked at again, and dropped when their
 * time is over. Bounded in all and for one target, so that an address that never answers cannot
 * starve the pool. */

#include "core/route.h"
#include "pipelines/stage.h"

static struct ip_addr frame_dst(const uint8_t *l3)
{
	return l3[0] >> 4 == 6 ? ip_from_v6(((const struct ipv6_hdr *)l3)->dst)
			       : ip_from_v4(((const struct ipv4_hdr *)l3)->dst);
}

static struct ip_addr target_of(const struct next_hop *nh, const uint8_t *l3)
{
	return nh->kind == NEXT_HOP_GLEAN ? frame_dst(l3) : nh->gateway;
}

static void hold_lane(struct worker *w, struct burst *b, lanes_t i)
{
	const struct next_hop *nh = next_hop_get(w->snap.next_hops, b->next_hop[i]);
	struct worker_event e = {.kind = EVENT_RESOLVE, .vport = nh->vport, .next_hop = nh->id};
	struct held_packet *h;
	uint32_t same = 0;

	e.addr = target_of(nh, b->data[i] + b->hdr[i].l3);
	for (uint32_t n = 0; n < w->held_count; n++)
		same += ip_equal(&w->held[n].target, &e.addr);
	if (w->held_count == HOLD_MAX || same >= HOLD_PER_TARGET) {
		lane_drop(b, i, DROP_HoldQueueFull);
		return;
	}
	if (!worker_event_send(w, &e)) {
		lane_drop(b, i, DROP_PuntQueueFull);
		return;
	}
	h = &w->held[w->held_count++];
	h->buf = b->buf[i];
	h->data = b->data[i];
	h->len = b->len[i];
	h->l3 = b->hdr[i].l3;
	h->in_vport = b->in_vport[i];
	h->flags = b->flags[i];
	h->target = e.addr;
	h->deadline_ms = w->now_ms + HOLD_TIMEOUT_MS;
	COUNT(w->counters.held_total, 1);
	if (w->held_count > w->counters.held_high)
		w->counters.held_high = w->held_count;
}

void stage_hold(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_hold, &b->to.hold);

	lanes_foreach (i, in)
		hold_lane(w, b, i);
}

/* What is known about a held packet's way: its lane goes to transmit, or to drop, or stays. */
static void to_lane(struct burst *b, lanes_t i, const struct held_packet *h)
{
	b->buf[i] = h->buf;
	b->data[i] = h->data;
	b->len[i] = h->len;
	b->hdr[i].l3 = h->l3;
	b->hdr[i].l4 = h->l3;
	b->in_vport[i] = h->in_vport;
	b->flags[i] = h->flags;
	b->resized |= LANE(i);
	if (h->data[h->l3] >> 4 == 6)
		b->v6 |= LANE(i);
}

static bool release(struct worker *w, struct burst *b, const struct held_packet *h)
{
	struct ip_addr dst = frame_dst(h->data + h->l3);
	uint16_t id = fib_lookup(w->snap.routes->fib, &dst);
	const struct next_hop *nh = next_hop_get(w->snap.next_hops, id);
	bool waits = nh->kind == NEXT_HOP_UNRESOLVED || nh->kind == NEXT_HOP_GLEAN;
	bool late = (int32_t)(w->now_ms - h->deadline_ms) >= 0;
	lanes_t i = b->count;

	if (waits && !late)
		return false;
	b->count++;
	to_lane(b, i, h);
	b->next_hop[i] = id;
	if (waits)
		lane_drop(b, i, DROP_NeighbourUnresolved);
	else
		b->to.transmit |= LANE(i);
	return true;
}

void hold_retry(struct worker *w)
{
	struct burst *b = &w->burst;
	uint32_t kept = 0;

	if (w->held_count == 0 || w->held_tried_ms == w->now_ms)
		return;
	w->held_tried_ms = w->now_ms;
	b->count = 0;
	b->v6 = 0;
	b->plain = 0;
	b->resized = 0;
	for (uint32_t n = 0; n < w->held_count; n++)
		if (b->count == BURST_MAX || !release(w, b, &w->held[n]))
			w->held[kept++] = w->held[n];
	w->held_count = kept;
	stage_transmit(w, b);
	stage_drop(w, b);
}

void hold_drop_all(struct worker *w)
{
	struct burst *b = &w->burst;

	while (w->held_count > 0) {
		to_lane(b, 0, &w->held[--w->held_count]);
		b->count = 1;
		lane_drop(b, 0, DROP_Draining);
		stage_drop(w, b);
	}
}
