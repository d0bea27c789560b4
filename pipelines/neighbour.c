/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* neighbour: ARP and ND. Requests for what we own are answered, who speaks is told to control.
 *
 * A pod or host vport is a point-to-point link with us as the router: everything asked for is
 * answered, but for the other side's own addresses and its duplicate address detection. An uplink
 * is answered for the node's addresses only. */

#include "pipelines/stage.h"

static bool vport_has_address(const struct vport *vp, const struct ip_addr *a)
{
	for (uint32_t i = 0; i < vp->n_addrs; i++)
		if (ip_prefix_contains(&vp->addrs[i], a))
			return true;
	return false;
}

static bool is_owned(const struct route_domain *r, const struct ip_addr *a)
{
	uint32_t low = 0, high = r->n_owned;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		int c = ip_compare(&r->owned[mid], a);

		if (c == 0)
			return true;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static bool should_answer(
	const struct worker *w, const struct vport *vp, const struct neighbour_msg *msg)
{
	const struct route_domain *r = w->snap.routes;
	const struct ip_addr *target = &msg->target;

	if (vp->role == VPORT_UPLINK)
		return is_owned(r, target);
	if (ip_equal(target, &r->gateway[ip_family(target)]))
		return true;
	return !msg->probe && !ip_is_link_local(target) && !vport_has_address(vp, target);
}

static void learn(
	struct worker *w, const struct burst *b, lanes_t i, const struct neighbour_msg *msg)
{
	struct worker_event e = {.kind = EVENT_NEIGHBOUR, .vport = b->in_vport[i]};

	if (!msg->has_mac || msg->probe)
		return;
	e.addr = msg->kind == NEIGH_REPLY ? msg->target : msg->sender;
	e.solicited = msg->kind == NEIGH_REPLY && msg->solicited;
	memcpy(e.mac, msg->mac, sizeof(e.mac));
	worker_event_send(w, &e);
}

static void answer(struct worker *w, struct burst *b, lanes_t i, const struct parsed *p,
	const struct neighbour_msg *msg)
{
	const struct vport *vp = stage_in_vport(w, b, i);
	const uint16_t room = 128;
	uint16_t len;
	uint8_t *data;
	void *buf;

	buf = w->io->alloc(w, room, &data);
	if (buf == NULL) {
		lane_drop(b, i, DROP_NoBuffer);
		return;
	}
	len = neighbour_answer(b->data[i], b->len[i], p, msg, vp->mac, data, room);
	if (len == 0) {
		w->io->free_one(w, buf);
	} else {
		COUNT(w->counters.originated, 1);
		w->io->transmit_one(w, buf, data, len, vp->id);
	}
	lane_drop(b, i, DROP_NeighbourMessage);
}

void stage_neighbour(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_neighbour, &b->to.neighbour);

	lanes_foreach (i, in) {
		const struct vport *vp = stage_in_vport(w, b, i);
		struct neighbour_msg msg;
		struct parsed p;

		parse_frame(b->data[i], b->len[i], vp->zone, &p);
		neighbour_parse(b->data[i], b->len[i], &p, &msg);
		learn(w, b, i, &msg);
		if (msg.kind == NEIGH_REQUEST && should_answer(w, vp, &msg))
			answer(w, b, i, &p, &msg);
		else
			lane_drop(b, i, DROP_NeighbourMessage);
	}
}
