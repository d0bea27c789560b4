/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What packets do to a flow's state, and how long each state may be idle.
 *
 * Workers, for packets of flows they looked up. Both directions can be at work at once on two
 * workers: every change is a compare-and-swap from a live state, and FIN flags are set before the
 * state that follows from them is computed, so that the later of two FINs sees both. No sequence
 * numbers are checked: a packet that belongs to the 5-tuple is always translated. */

#include <string.h>

#include "core/flow.h"
#include "core/packet.h"

const char *flow_state_name(enum flow_state s)
{
	static const char *const names[FLOW_STATES] = {
		[FLOW_FREE] = "Free",
		[FLOW_DEAD] = "Dead",
		[FLOW_NEW] = "New",
		[FLOW_REPLIED] = "Replied",
		[FLOW_ESTABLISHED] = "Established",
		[FLOW_FIN] = "Fin",
		[FLOW_CLOSING] = "Closing",
		[FLOW_RESET] = "Reset",
	};

	return s < FLOW_STATES ? names[s] : "Unknown";
}

void flow_timeouts_default(struct flow_timeouts *t)
{
	static const struct flow_timeouts defaults = {
		.ms = {
			[FLOW_CLASS_TCP] =
				{
					[FLOW_NEW] = 30000,
					[FLOW_REPLIED] = 60000,
					[FLOW_ESTABLISHED] = 24 * 3600 * 1000,
					[FLOW_FIN] = 3600 * 1000,
					[FLOW_CLOSING] = 10000,
					[FLOW_RESET] = 10000,
				},
			[FLOW_CLASS_UDP] =
				{
					[FLOW_NEW] = 30000,
					[FLOW_REPLIED] = 120000,
					[FLOW_ESTABLISHED] = 120000,
					[FLOW_FIN] = 10000,
					[FLOW_CLOSING] = 10000,
					[FLOW_RESET] = 10000,
				},
			[FLOW_CLASS_ICMP] =
				{
					[FLOW_NEW] = 30000,
					[FLOW_REPLIED] = 30000,
					[FLOW_ESTABLISHED] = 30000,
					[FLOW_FIN] = 10000,
					[FLOW_CLOSING] = 10000,
					[FLOW_RESET] = 10000,
				},
			[FLOW_CLASS_SCTP] =
				{
					[FLOW_NEW] = 30000,
					[FLOW_REPLIED] = 210000,
					[FLOW_ESTABLISHED] = 210000,
					[FLOW_FIN] = 10000,
					[FLOW_CLOSING] = 10000,
					[FLOW_RESET] = 10000,
				},
		}};

	*t = defaults;
}

/* fin: the FIN flags seen so far, this packet's included. */
static enum flow_state tcp_next(
	enum flow_state s, enum lane_dir dir, uint8_t tcp_flags, uint8_t fin)
{
	const uint8_t both = FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY;

	if (tcp_flags & TCP_RST)
		return FLOW_RESET;
	/* A client that opens the same 5-tuple again after the end. */
	if ((tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && dir == DIR_FORWARD &&
		(s == FLOW_CLOSING || s == FLOW_RESET))
		return FLOW_NEW;
	if (s == FLOW_CLOSING || s == FLOW_RESET)
		return s;
	if (fin == both)
		return FLOW_CLOSING;
	if (fin != 0)
		return FLOW_FIN;
	if (s == FLOW_NEW && dir == DIR_REPLY)
		return tcp_flags & TCP_SYN ? FLOW_REPLIED : FLOW_ESTABLISHED;
	if (s == FLOW_REPLIED && dir == DIR_FORWARD && !(tcp_flags & TCP_SYN) &&
		(tcp_flags & TCP_ACK))
		return FLOW_ESTABLISHED;
	return s;
}

void flow_tcp_advance(struct flow_meta *m, enum lane_dir dir, uint8_t tcp_flags)
{
	const uint8_t both = FLOW_F_FIN_FORWARD | FLOW_F_FIN_REPLY;
	const uint8_t mine = dir == DIR_FORWARD ? FLOW_F_FIN_FORWARD : FLOW_F_FIN_REPLY;
	uint8_t state = atomic_load_explicit(&m->state, memory_order_relaxed);
	uint8_t flags = atomic_load_explicit(&m->flags, memory_order_relaxed);
	enum flow_state next;

	/* What nearly every packet is. */
	if (state == FLOW_ESTABLISHED && !(tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	if ((tcp_flags & TCP_FIN) && !(flags & mine))
		flags = atomic_fetch_or_explicit(&m->flags, mine, memory_order_acq_rel) | mine;
	do {
		if (state < FLOW_NEW)
			return;
		next = tcp_next((enum flow_state)state, dir, tcp_flags, flags & both);
		if (next == state)
			return;
		/* Before the state, so that no packet of the new connection finds old FINs. */
		if (next == FLOW_NEW && (flags & both) != 0) {
			atomic_fetch_and_explicit(&m->flags, (uint8_t)~both, memory_order_acq_rel);
			flags &= (uint8_t)~both;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&m->state, &state, (uint8_t)next, memory_order_acq_rel, memory_order_relaxed));
}

static void move_from_below(struct flow_meta *m, enum flow_state to)
{
	uint8_t state = atomic_load_explicit(&m->state, memory_order_relaxed);

	do {
		if (state < FLOW_NEW || state >= to)
			return;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->state, &state, (uint8_t)to, memory_order_acq_rel, memory_order_relaxed));
}

void flow_seen_reply(struct flow_meta *m)
{
	move_from_below(m, FLOW_REPLIED);
}

void flow_close(struct flow_meta *m)
{
	move_from_below(m, FLOW_CLOSING);
}
