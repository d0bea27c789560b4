/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* classify: headers to offsets, family, protocol, fragment and flow key. Every length is checked
 * against the bytes held; what a router must not forward ends here. The rim has begun to load the
 * headers when it filled the burst. */

#include "pipelines/stage.h"

/* Fields one by one, so that what parse_fast*() found goes from registers to the lane. */
static inline void store_lane(struct burst *b, lanes_t i, const struct parsed *p)
{
	if (__builtin_expect(p->len != b->len[i], 0)) {
		b->len[i] = p->len;
		b->resized |= LANE(i);
	}
	b->l3[i] = p->l3;
	b->l4[i] = p->l4;
	b->proto[i] = p->proto;
	b->tcp_flags[i] = p->tcp_flags;
}

static inline void store_key4(struct burst *b, lanes_t i, const struct parsed *p)
{
	uint8_t *key = (uint8_t *)&b->key4[i];

	store_u64(key, p->key_words[0]);
	store_u64(key + 8, p->key_words[1]);
}

static inline void store_key6(struct burst *b, lanes_t i, const struct parsed *p)
{
	uint8_t *key = (uint8_t *)&b->key6[i];

	store_u64(key, p->key_words[0]);
	store_u64(key + 8, p->key_words[1]);
	store_u64(key + 16, p->key_words[2]);
	store_u64(key + 24, p->key_words[3]);
	store_u64(key + 32, p->key_words[4]);
	b->v6 |= LANE(i);
}

static inline __attribute__((always_inline)) bool classify_fast4(
	struct burst *b, lanes_t i, const uint8_t *frame, uint16_t zone)
{
	struct parsed p;

	if (!PACKET_LIKELY(parse_fast4(frame, b->len[i], ETH_HLEN, zone, &p)))
		return false;
	store_lane(b, i, &p);
	store_key4(b, i, &p);
	return true;
}

/* Out of line: the two families in one loop do not fit into the registers. */
static __attribute__((noinline)) bool classify_fast6(
	struct burst *b, lanes_t i, const uint8_t *frame, uint16_t zone)
{
	struct parsed p;

	if (!frame_is_plain6(frame, b->len[i]) ||
		!PACKET_LIKELY(parse_fast6(frame, b->len[i], ETH_HLEN, zone, &p)))
		return false;
	store_lane(b, i, &p);
	store_key6(b, i, &p);
	return true;
}

/* The common packets: untagged TCP and UDP to our MAC. False: classify_rare() has to look. */
static inline __attribute__((always_inline)) bool classify_fast(
	struct burst *b, lanes_t i, uint64_t mac, uint16_t zone)
{
	const uint8_t *frame = b->data[i];

	if (!PACKET_LIKELY(b->len[i] >= PARSE_FAST_MIN && mac_word(frame) == mac))
		return false;
	return PACKET_LIKELY(frame_is_plain4(frame)) ? classify_fast4(b, i, frame, zone)
						     : classify_fast6(b, i, frame, zone);
}

/* Whatever parse_fast() leaves. */
static __attribute__((noinline, cold)) void classify_rare(
	struct burst *b, lanes_t i, const struct vport *vp)
{
	const uint8_t *frame = b->data[i];
	struct parsed p;

	parse_frame(frame, b->len[i], vp->zone, &p);
	if (p.kind == PARSE_DROP) {
		lane_drop(b, i, p.reason);
		return;
	}
	if (memcmp(frame, vp->mac, 6) != 0 && (frame[0] & 1) == 0) {
		lane_drop(b, i, DROP_NotForUs);
		return;
	}
	/* A unicast IP packet in a broadcast frame is not ours to forward (RFC 1812 5.3.4). */
	if ((frame[0] & 1) != 0 && p.kind != PARSE_NEIGHBOUR) {
		lane_drop(b, i, DROP_Multicast);
		return;
	}
	store_lane(b, i, &p);
	b->flags[i] |= p.flags;
	if (p.kind == PARSE_FLOW && (p.proto == IP_PROTO_TCP || p.proto == IP_PROTO_UDP))
		b->plain |= LANE(i);
	if ((p.flags & LANE_V6) != 0)
		store_key6(b, i, &p);
	else
		store_key4(b, i, &p);
	if (p.kind == PARSE_NEIGHBOUR)
		b->to.neighbour |= LANE(i);
	else if (p.kind == PARSE_ICMP_ERROR)
		b->to.icmp_error |= LANE(i);
	else if ((p.flags & LANE_FRAGMENT) != 0)
		b->to.fragment |= LANE(i);
	else
		b->to.flow |= LANE(i);
}

/* Lanes of in (all of the burst from its first one on) that came from one vport; returns those
 * that follow. */
static lanes_t classify_run(struct worker *w, struct burst *b, lanes_t in)
{
	uint32_t id = b->in_vport[lanes_first(in)];
	const struct vport *vp = w->snap.vports->at[id];
	lanes_t rare = 0, left, i;
	uint64_t bytes = 0, mac;
	uint16_t zone;

	if (__builtin_expect(vp == NULL, 0)) {
		lane_drop(b, lanes_first(in), DROP_TxPortDown);
		return in & (in - 1);
	}
	mac = mac_constant(vp->mac);
	zone = vp->zone;
	for (i = lanes_first(in); i < b->count; i++) {
		if (__builtin_expect(b->in_vport[i] != id, 0))
			break;
		bytes += b->len[i];
		if (!PACKET_LIKELY(classify_fast(b, i, mac, zone)))
			rare |= LANE(i);
	}
	left = i < BURST_MAX ? in & ~(LANE(i) - 1) : 0;
	in &= ~left;
	b->to.flow |= in & ~rare;
	b->plain |= in & ~rare;
	lanes_foreach (k, rare)
		classify_rare(b, k, vp);
	COUNT(w->counters.vport[id].rx_packets, __builtin_popcountll(in));
	COUNT(w->counters.vport[id].rx_bytes, bytes);
	return left;
}

void stage_classify(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_classify, &b->to.classify);

	COUNT(w->counters.received, __builtin_popcountll(in));
	/* Nearly always the whole burst is of one vport. */
	while (in != 0)
		in = classify_run(w, b, in);
}
