/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* classify: headers to offsets, family, protocol, fragment and flow key. Every length is checked
 * against the bytes held; what a router must not forward ends here. The rim has begun to load the
 * headers when it filled the burst; here begins the load of what the key's lookup needs.
 *
 * A burst is nearly always of one vport, and so is what most of its frames begin with: both MACs,
 * EtherType, version and header length are compared as two words. */

#include "core/flow_probe.h"
#include "pipelines/stage.h"

/* What most frames of one vport and family have in common. */
struct usual {
	uint64_t front[2], mask[2]; /* the first 16 bytes, and which of their bits are compared */
	uint32_t src4;              /* the vport's first address of the family */
	uint64_t src6[2];
	struct flow_aim aim;
	const struct flow_table *flows;
	uint16_t zone;
};

static inline void usual_of(
	const struct worker *w, const struct vport *vp, enum ip_family f, struct usual *u)
{
	const uint8_t version[4] = {
		f == IP_V6 ? 0x86 : 0x08, f == IP_V6 ? 0xdd : 0x00, f == IP_V6 ? 0x60 : 0x45};
	bool guarded = vp->source_guard && vp->peer_mac_known;
	uint8_t front[16], mask[16];

	memcpy(front, vp->mac, 6);
	memcpy(front + 6, vp->peer_mac, 6);
	memcpy(front + 12, version, 4);
	memset(mask, 0xff, 6);
	memset(mask + 6, guarded ? 0xff : 0, 6);
	memcpy(mask + 12, (const uint8_t[]){0xff, 0xff, f == IP_V6 ? 0xf0 : 0xff, 0}, 4);
	/* Nobody has these. */
	u->src4 = UINT32_MAX;
	u->src6[0] = u->src6[1] = UINT64_MAX;
	for (int n = 0; n < 2; n++) {
		u->mask[n] = load_u64(mask + 8 * n);
		u->front[n] = load_u64(front + 8 * n) & u->mask[n];
	}
	for (uint32_t n = 0; n < vp->n_addrs; n++) {
		const struct ip_prefix *p = &vp->addrs[n];

		if (p->family != f || p->len != (f == IP_V6 ? 128 : 32))
			continue;
		memcpy(u->src6, p->addr.bytes, 16);
		u->src4 = load_u32(p->addr.bytes + 12);
		break;
	}
	u->aim = flow_aim_of(w->dp->flows, f == IP_V6);
	u->flows = w->dp->flows;
	u->zone = vp->zone;
}

static inline bool front_is_usual(const uint8_t *frame, const struct usual *u)
{
	return (((load_u64(frame) & u->mask[0]) ^ u->front[0]) |
		       ((load_u64(frame + 8) & u->mask[1]) ^ u->front[1])) == 0;
}

/* Where the lookup begins: at the entry that a NIC's mark names, else at the key's bucket. */
static inline __attribute__((always_inline)) bool aim_marked(
	const struct usual *u, const struct burst *b, lanes_t i, const bool v6, const bool marks)
{
	if (!marks || (b->marked & LANE(i)) == 0)
		return false;
	flow_mark_aim(u->flows, v6, b->mark[i]);
	return true;
}

/* TCP and UDP from where most come. False: not such a packet. marks: there may be some. */
static inline __attribute__((always_inline)) bool classify4(
	struct burst *b, lanes_t i, const struct usual *u, lanes_t *strangers, const bool marks)
{
	uint8_t *key = (uint8_t *)&b->key4[i];
	const uint8_t *frame = b->data[i];
	uint16_t len = b->len[i];
	struct parsed p;

	if (!PACKET_LIKELY(len >= PARSE_FAST_MIN && front_is_usual(frame, u) &&
		    parse_fast4(frame, len, ETH_HLEN, u->zone, &p)))
		return false;
	if (!PACKET_LIKELY(load_u32(frame + ETH_HLEN + 12) == u->src4))
		*strangers |= LANE(i);
	store_u64(&b->hdr[i], p.headers);
	store_u64(key, p.key_words[0]);
	store_u64(key + 8, p.key_words[1]);
	if (!aim_marked(u, b, i, false, marks))
		flow_aim_hash(&u->aim, b, i,
			flow_hash4_words(&u->aim.salt, p.key_words[0], p.key_words[1]));
	return true;
}

static inline __attribute__((always_inline)) bool classify6(
	struct burst *b, lanes_t i, const struct usual *u, lanes_t *strangers, const bool marks)
{
	uint8_t *key = (uint8_t *)&b->key6[i];
	const uint8_t *frame = b->data[i];
	uint16_t len = b->len[i];
	struct parsed p;

	if (!PACKET_LIKELY(len >= PARSE_FAST_MIN + 20 && front_is_usual(frame, u) &&
		    parse_fast6(frame, len, ETH_HLEN, u->zone, &p)))
		return false;
	if (!PACKET_LIKELY(((p.key_words[0] ^ u->src6[0]) | (p.key_words[1] ^ u->src6[1])) == 0))
		*strangers |= LANE(i);
	store_u64(&b->hdr[i], p.headers);
	for (unsigned n = 0; n < 5; n++)
		store_u64(key + 8 * n, p.key_words[n]);
	if (!aim_marked(u, b, i, true, marks))
		flow_aim_hash(&u->aim, b, i, flow_hash6_words(&u->aim.salt, p.key_words));
	return true;
}

static __attribute__((noinline)) lanes_t classify_lanes6(
	const struct worker *w, struct burst *b, const struct vport *vp, lanes_t in)
{
	lanes_t others = 0, strangers = 0;
	struct usual u;

	usual_of(w, vp, IP_V6, &u);
	if (__builtin_expect(b->marked != 0, 0)) {
		lanes_foreach (i, in)
			if (!classify6(b, i, &u, &strangers, true))
				others |= LANE(i);
	} else {
		lanes_each(i, in) if (!PACKET_LIKELY(classify6(b, i, &u, &strangers, false)))
			others |= LANE(i);
	}
	b->v6 |= in & ~others;
	b->strangers |= strangers;
	return others;
}

/* Those that are longer than their packet, as frames of 60 bytes are: the padding is cut off. */
static __attribute__((noinline)) lanes_t classify_padded4(
	const struct worker *w, struct burst *b, const struct vport *vp, lanes_t in)
{
	lanes_t others = 0, strangers = 0;
	struct usual u;

	usual_of(w, vp, IP_V4, &u);
	lanes_foreach (i, in) {
		uint32_t end = b->len[i] < PARSE_FAST_MIN ? 0 : ipv4_end(b->data[i], ETH_HLEN);
		uint16_t len = b->len[i];

		if (end < PARSE_FAST_MIN || end >= len || !front_is_usual(b->data[i], &u)) {
			others |= LANE(i);
			continue;
		}
		b->len[i] = (uint16_t)end;
		b->resized |= LANE(i);
		if (!classify4(b, i, &u, &strangers, b->marked != 0))
			others |= LANE(i);
	}
	b->strangers |= strangers;
	return others;
}

/* All the rest. */
static __attribute__((noinline, cold)) void classify_rare(
	struct worker *w, struct burst *b, lanes_t i, const struct vport *vp)
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
	if (p.len != b->len[i]) {
		b->len[i] = p.len;
		b->resized |= LANE(i);
	}
	store_u64(&b->hdr[i], p.headers);
	b->flags[i] |= p.flags;
	if ((p.flags & LANE_V6) != 0) {
		b->key6[i] = p.key6;
		b->v6 |= LANE(i);
	} else {
		b->key4[i] = p.key4;
	}
	if (p.kind == PARSE_NEIGHBOUR)
		b->to.neighbour |= LANE(i);
	else if (p.kind == PARSE_ICMP_ERROR)
		b->to.icmp_error |= LANE(i);
	else if ((p.flags & LANE_FRAGMENT) != 0)
		b->to.fragment |= LANE(i);
	else
		stage_to_flow(w, b, i);
}

/* Lanes of in (all of the burst from its first one on) that came from one vport; returns those
 * that follow. Compiled for bursts with marks, and for those without. */
static inline __attribute__((always_inline)) lanes_t classify_run(
	struct worker *w, struct burst *b, lanes_t in, const bool marks)
{
	lanes_t first = lanes_first(in), others = 0, strangers = 0, left, i;
	uint32_t id = b->in_vport[first], count = b->count;
	const struct vport *vp = w->snap.vports->at[id];
	uint64_t bytes = 0;
	struct usual u;

	if (__builtin_expect(vp == NULL, 0)) {
		lane_drop(b, first, DROP_TxPortDown);
		return in & (in - 1);
	}
	usual_of(w, vp, IP_V4, &u);
	for (i = first; i < count && PACKET_LIKELY(b->in_vport[i] == id); i++) {
		bytes += b->len[i];
		if (!PACKET_LIKELY(classify4(b, i, &u, &strangers, marks)))
			others |= LANE(i);
	}
	left = i < BURST_MAX ? in & ~(LANE(i) - 1) : 0;
	in &= ~left;
	b->strangers |= strangers;
	if (!PACKET_LIKELY(others == 0))
		others = classify_lanes6(w, b, vp, others);
	if (!PACKET_LIKELY(others == 0))
		others = classify_padded4(w, b, vp, others);
	b->to.flow |= in & ~others;
	b->plain |= in & ~others;
	lanes_foreach (k, others)
		classify_rare(w, b, k, vp);
	COUNT(w->counters.vport[id].rx_packets, lanes_count(in));
	COUNT(w->counters.vport[id].rx_bytes, bytes);
	return left;
}

static __attribute__((noinline)) lanes_t classify_marked(
	struct worker *w, struct burst *b, lanes_t in)
{
	while (in != 0)
		in = classify_run(w, b, in, true);
	return 0;
}

void stage_classify(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_classify, &b->to.classify);

	COUNT(w->counters.received, lanes_count(in));
	if (__builtin_expect(b->marked != 0, 0))
		in = classify_marked(w, b, in);
	while (in != 0)
		in = classify_run(w, b, in, false);
}
