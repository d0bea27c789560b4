/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* reject: TCP reset or ICMP error to the sender, bounded in rate; the packet itself is dropped for
 * its reason. The frame is still as it was received. */

#include "pipelines/stage.h"

/* A token bucket a worker (RFC 1812 4.3.2.8, RFC 4443 2.4 f). */
static bool take_token(struct worker *w)
{
	uint32_t elapsed = w->now_ms - w->reject_refilled_ms;
	uint32_t earned = (uint32_t)((uint64_t)elapsed * REJECT_PER_SECOND / 1000);

	if (earned > 0) {
		uint64_t tokens = (uint64_t)w->reject_tokens + earned;

		w->reject_tokens = tokens > REJECT_BURST ? REJECT_BURST : (uint32_t)tokens;
		w->reject_refilled_ms = w->now_ms;
	}
	if (w->reject_tokens == 0)
		return false;
	w->reject_tokens--;
	return true;
}

static void send_answer(struct worker *w, struct burst *b, lanes_t i)
{
	const uint16_t room = 1500; /* RFC 4443: up to the minimum MTU of 1280 */
	const struct vport *vp = stage_in_vport(w, b, i);
	const struct ip_addr *source = &w->snap.routes->icmp_source[lane_family(b, i)];
	struct vport_counters *c;
	struct parsed p;
	uint8_t *data;
	uint16_t len;
	void *buf;

	parse_frame(b->data[i], b->len[i], vp->zone, &p);
	if (!reject_allowed(b->data[i], b->len[i], &p, b->reject_kind[i]))
		return;
	if (b->reject_kind[i] != REJECT_TCP_RESET && ip_is_zero(source))
		return;
	if (!take_token(w)) {
		b->reason[i] = DROP_RejectRateLimited;
		return;
	}
	buf = w->io->alloc(w, room, &data);
	if (buf == NULL) {
		b->reason[i] = DROP_NoBuffer;
		return;
	}
	len = reject_build(
		b->data[i], b->len[i], &p, b->reject_kind[i], b->reject_mtu[i], source, data, room);
	if (len == 0) {
		w->io->free_one(w, buf);
		return;
	}
	c = &w->counters.vport[vp->id];
	COUNT(w->counters.originated, 1);
	COUNT(c->tx_packets, 1);
	COUNT(c->tx_bytes, len);
	w->io->transmit_one(w, buf, data, len, vp->id);
}

void stage_reject(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_reject, &b->to.reject);

	lanes_foreach (i, in)
		send_answer(w, b, i);
	b->to.drop |= in;
}
