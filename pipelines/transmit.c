/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* transmit: next hop's header and vport to the port's buffer. A next hop that is not known yet
 * holds the packet; an IPv4 packet that is too big and may be cut is cut here. */

#include "core/route.h"
#include "pipelines/stage.h"

/* The frame now starts elsewhere: a tag more or less than it came with. */
static __attribute__((noinline)) void move_start(struct burst *b, lanes_t i, uint8_t l2_len)
{
	uint16_t l3 = b->hdr[i].l3;

	b->data[i] += l3 - l2_len;
	b->len[i] = (uint16_t)(b->len[i] - l3 + l2_len);
	b->hdr[i].l4 = (uint16_t)(b->hdr[i].l4 - l3 + l2_len);
	b->hdr[i].l3 = l2_len;
	b->resized |= LANE(i);
}

static void put_l2(struct burst *b, lanes_t i, const struct next_hop *nh)
{
	if (b->hdr[i].l3 != nh->l2_len)
		move_start(b, i, nh->l2_len);
	memcpy(b->data[i], nh->l2, nh->l2_len);
	if ((b->v6 & LANE(i)) != 0)
		store_u16(b->data[i] + nh->l2_len - 2, htons(ETH_TYPE_IPV6));
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
		len = ipv4_fragment(b->data[i], b->len[i], b->hdr[i].l3, nh->mtu, n, data, room);
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
	} else if (lane_dont_fragment(b, i)) {
		lane_drop(b, i, DROP_MtuExceeded);
	} else {
		put_l2(b, i, nh);
		send_fragments(w, b, i, nh);
	}
}

/* Tags, and whatever does not go out as it is. False: the lane went elsewhere. */
static __attribute__((noinline)) bool transmit_other(
	struct worker *w, struct burst *b, lanes_t i, const struct next_hop *nh)
{
	if (nh->kind != NEXT_HOP_FORWARD || (b->len[i] - b->hdr[i].l3 > nh->mtu && nh->mtu != 0)) {
		transmit_rare(w, b, i, nh);
		return false;
	}
	put_l2(b, i, nh);
	b->out_vport[i] = nh->vport;
	return true;
}

/* Untagged in and out: the EtherType is there already. False: the lane went elsewhere. */
static inline __attribute__((always_inline)) bool transmit_plain(
	struct worker *w, struct burst *b, lanes_t i, const struct next_hop_table *hops)
{
	const struct next_hop *nh = next_hop_get(hops, b->next_hop[i]);
	uint16_t len = b->len[i];
	uint8_t *l2 = b->data[i];

	if (!PACKET_LIKELY(len <= nh->plain_max))
		return transmit_other(w, b, i, nh);
	b->out_vport[i] = nh->vport;
	store_u64(l2, load_u64(nh->l2));
	store_u32(l2 + 8, load_u32(nh->l2 + 8));
	return true;
}

/* Bursts without holes that leave on one vport, as most do, are counted at once. */
static bool count_whole(struct worker *w, const struct burst *b, uint32_t n)
{
	uint32_t first = b->out_vport[0], other = 0, bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		other |= b->out_vport[i] ^ first;
		bytes += b->len[i];
	}
	if (other != 0)
		return false;
	COUNT(w->counters.vport[first].tx_packets, n);
	COUNT(w->counters.vport[first].tx_bytes, bytes);
	return true;
}

static void count_sent(struct worker *w, const struct burst *b, lanes_t in)
{
	if (PACKET_LIKELY(lanes_dense(in)) && count_whole(w, b, lanes_count(in)))
		return;
	lanes_foreach (i, in) {
		COUNT(w->counters.vport[b->out_vport[i]].tx_packets, 1);
		COUNT(w->counters.vport[b->out_vport[i]].tx_bytes, b->len[i]);
	}
}

void stage_transmit(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_transmit, &b->to.transmit);
	const struct next_hop_table *hops = w->snap.next_hops;
	lanes_t plain = in & b->plain, gone = 0;

	lanes_each(i, plain) if (!PACKET_LIKELY(transmit_plain(w, b, i, hops))) gone |= LANE(i);
	lanes_foreach (i, in & ~plain)
		if (!transmit_other(w, b, i, next_hop_get(hops, b->next_hop[i])))
			gone |= LANE(i);
	in &= ~gone;
	if (in == 0)
		return;
	count_sent(w, b, in);
	w->io->transmit(w, b, in);
}
