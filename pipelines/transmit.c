/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* transmit: next hop's header and vport to the port's buffer. A next hop that is not known yet
 * holds the packet; an IPv4 packet that is too big and may be cut is cut here. */

#include "core/route.h"
#include "pipelines/stage.h"

/* The frame now starts elsewhere: a tag more or less than it came with. */
static __attribute__((noinline)) void move_start(struct burst *b, lanes_t i, uint8_t l2_len)
{
	uint16_t l3 = b->l3[i];

	b->data[i] += l3 - l2_len;
	b->len[i] = (uint16_t)(b->len[i] - l3 + l2_len);
	b->l4[i] = (uint16_t)(b->l4[i] - l3 + l2_len);
	b->l3[i] = l2_len;
	b->resized |= LANE(i);
}

static inline void put_l2(struct burst *b, lanes_t i, const struct next_hop *nh)
{
	uint8_t *l2;

	if (__builtin_expect(b->l3[i] != nh->l2_len, 0))
		move_start(b, i, nh->l2_len);
	l2 = b->data[i];
	memcpy(l2, nh->l2, 12);
	if (__builtin_expect(nh->l2_len == ETH_HLEN, 1))
		memcpy(l2 + 12, nh->l2 + 12, 2);
	else
		memcpy(l2 + 12, nh->l2 + 12, 6);
	if ((b->v6 & LANE(i)) != 0) {
		l2[nh->l2_len - 2] = ETH_TYPE_IPV6 >> 8;
		l2[nh->l2_len - 1] = ETH_TYPE_IPV6 & 0xff;
	}
}

static void send_fragments(struct worker *w, struct burst *b, lanes_t i, const struct next_hop *nh)
{
	struct vport_counters *c = &w->counters.vport[nh->vport];
	uint16_t room = (uint16_t)(nh->mtu + nh->l2_len);

	for (uint16_t n = 0;; n++) {
		uint8_t *data;
		uint16_t len;
		void *buf;

		buf = w->io->alloc(w, room, &data);
		if (buf == NULL) {
			lane_drop(b, i, DROP_NoBuffer);
			return;
		}
		len = ipv4_fragment(b->data[i], b->len[i], b->l3[i], nh->mtu, n, data, room);
		if (len == 0) {
			w->io->free_one(w, buf);
			break;
		}
		COUNT(w->counters.originated, 1);
		COUNT(c->tx_packets, 1);
		COUNT(c->tx_bytes, len);
		w->io->transmit_one(w, buf, data, len, nh->vport);
	}
	lane_drop(b, i, DROP_Fragmented);
}

/* Unknown, gone or too narrow next hops. */
static __attribute__((noinline)) void transmit_rare(
	struct worker *w, struct burst *b, lanes_t i, const struct next_hop *nh)
{
	if (nh->kind == NEXT_HOP_UNRESOLVED || nh->kind == NEXT_HOP_GLEAN) {
		b->to.hold |= LANE(i);
	} else if (nh->kind != NEXT_HOP_FORWARD) {
		lane_drop(b, i, DROP_NoRoute);
	} else if ((b->v6 & LANE(i)) != 0 || (b->flags[i] & LANE_DONT_FRAGMENT) != 0) {
		lane_drop(b, i, DROP_MtuExceeded);
	} else {
		put_l2(b, i, nh);
		send_fragments(w, b, i, nh);
	}
}

void stage_transmit(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_transmit, &b->to.transmit);
	lanes_t out = 0;

	lanes_foreach (i, in) {
		const struct next_hop *nh = next_hop_get(w->snap.next_hops, b->next_hop[i]);
		struct vport_counters *c = &w->counters.vport[nh->vport];

		if (__builtin_expect(nh->kind != NEXT_HOP_FORWARD ||
				    (b->len[i] - b->l3[i] > nh->mtu && nh->mtu != 0),
			    0)) {
			transmit_rare(w, b, i, nh);
			continue;
		}
		put_l2(b, i, nh);
		b->out_vport[i] = nh->vport;
		COUNT(c->tx_packets, 1);
		COUNT(c->tx_bytes, b->len[i]);
		out |= LANE(i);
	}
	if (out != 0)
		w->io->transmit(w, b, out);
}
