/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* flow: 5-tuple and zone to an entry and a direction. A hit in a settled state goes straight to
 * rewrite; everything else about a flow's life is decided in the cold half below. */

#include "core/flow_probe.h"
#include "pipelines/stage.h"

#define TCP_CONTROL (TCP_FIN | TCP_SYN | TCP_RST)

/* Next hops under the routes of now. Several workers may do it at once: they store the same. */
static void flow_reroute(struct worker *w, enum ip_family f, uint32_t entry, struct flow_meta *m)
{
	const struct route_domain *r = w->snap.routes;
	struct ip_addr forward_dst, reply_dst;

	if (f == IP_V4) {
		const struct flow4 *e = &flow_array4(w->dp->flows)[entry];

		forward_dst = ip_from_v4(e->key[DIR_REPLY].src);
		reply_dst = ip_from_v4(e->key[DIR_FORWARD].src);
	} else {
		const struct flow6 *e = &flow_array6(w->dp->flows)[entry];

		forward_dst = ip_from_v6(e->key[DIR_REPLY].src);
		reply_dst = ip_from_v6(e->key[DIR_FORWARD].src);
	}
	atomic_store_explicit(
		&m->next_hop[DIR_FORWARD], fib_lookup(r->fib, &forward_dst), memory_order_relaxed);
	atomic_store_explicit(
		&m->next_hop[DIR_REPLY], fib_lookup(r->fib, &reply_dst), memory_order_relaxed);
}

/* Whether the address that a UDP flow was sent to is another service's now, or has become one's.
 * One that merely lost its service goes on while its endpoint serves. */
static bool changed_hands(
	const struct worker *w, const struct burst *b, lanes_t i, enum ip_family f, uint8_t flags)
{
	struct svc_verdict v;
	struct svc_query q;

	lane_service_query(w, b, i, &q);
	svc_decide(w->snap.services, &q, &v);
	if ((flags & FLOW_F_DNAT) == 0)
		return v.kind != SVC_PASS;
	return v.svc != NULL &&
		v.svc_id != flow_cold_array(w->dp->flows, f)[b->flow[i] >> 1].svc_port_id;
}

/* A flow judged under another configuration: routed anew; and a UDP flow ends when its address has
 * changed hands, or its sender would never reach the service. True: the entry is dead, and the
 * lane goes the way of a miss. */
static __attribute__((noinline)) bool flow_rejudged(
	struct worker *w, struct burst *b, lanes_t i, enum ip_family f, struct flow_meta *m)
{
	uint8_t flags = atomic_load_explicit(&m->flags, memory_order_relaxed);
	enum lane_dir dir = b->flow[i] & 1;

	flow_reroute(w, f, b->flow[i] >> 1, m);
	/* Only the forward key names what the sender asked for. */
	if (m->class == FLOW_CLASS_UDP && dir == DIR_REPLY)
		return false;
	if (m->class == FLOW_CLASS_UDP && dir == DIR_FORWARD && changed_hands(w, b, i, f, flags)) {
		flow_kill(w->dp->flows, f, b->flow[i] >> 1);
		COUNT(w->counters.flows_reselected, 1);
		b->to.service |= LANE(i);
		return true;
	}
	atomic_store_explicit(&m->config_gen, w->snap.generation, memory_order_relaxed);
	return false;
}

/* What the loop over the hits reads of the worker, by value for the compiler's sake. */
struct flow_now {
	uint32_t generation, ms;
	const struct backend_table *backends;
};

static inline struct flow_now flow_now_of(const struct worker *w)
{
	return (struct flow_now){.generation = w->snap.generation,
		.ms = w->now_ms,
		.backends = w->snap.services->backends};
}

static inline bool backend_gone(const struct backend_table *backends, const struct flow_meta *m)
{
	return backend_state(backends, m->backend) == BACKEND_GONE;
}

/* A new connection on a used tuple: a closed one is over, and one to a backend that is gone must
 * not be tried again. */
static bool tcp_restarts(const struct worker *w, const struct burst *b, lanes_t i,
	const struct flow_meta *m, enum lane_dir dir)
{
	uint8_t flags = atomic_load_explicit(&m->flags, memory_order_relaxed);
	uint8_t state = atomic_load_explicit(&m->state, memory_order_relaxed);

	if (dir != DIR_FORWARD || (b->hdr[i].tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return false;
	return state == FLOW_CLOSING || state == FLOW_RESET || state == FLOW_FIN ||
		((flags & FLOW_F_DNAT) != 0 && backend_gone(w->snap.services->backends, m));
}

/* A packet that may move its flow's state. True: the entry is dead, and the lane goes the way of a
 * miss in the same burst. */
static __attribute__((noinline)) bool flow_unsettled(struct worker *w, struct burst *b, lanes_t i,
	enum ip_family f, struct flow_meta *m, enum lane_dir dir)
{
	uint32_t entry = b->flow[i] >> 1;

	if ((b->flags[i] & LANE_FRAGMENT_LATER) != 0)
		return false;
	if (m->class != FLOW_CLASS_TCP) {
		if (dir == DIR_REPLY)
			flow_seen_reply(m);
		return false;
	}
	if (tcp_restarts(w, b, i, m, dir)) {
		flow_kill(w->dp->flows, f, entry);
		b->to.service |= LANE(i);
		return true;
	}
	flow_tcp_advance(m, dir, b->hdr[i].tcp_flags);
	if (offload_wanted(w) && (b->hdr[i].tcp_flags & TCP_CONTROL) != 0)
		offload_ending(w, b, i);
	return false;
}

/* The sender of a flow whose endpoint is gone. UDP goes the way of a miss: a sender must not feed
 * an endpoint that is gone (a reply from it may still pass). TCP, of services that asked for it, is
 * reset; but a SYN begins anew, and what ends the connection itself may go on. True: the entry is
 * dead. */
static __attribute__((noinline)) bool flow_orphaned(
	struct worker *w, struct burst *b, lanes_t i, enum ip_family f, const struct flow_meta *m)
{
	if (m->class == FLOW_CLASS_TCP && (b->flags[i] & LANE_FRAGMENT_LATER) == 0 &&
		(b->hdr[i].tcp_flags & (TCP_SYN | TCP_RST)) != 0)
		return false;
	flow_kill(w->dp->flows, f, b->flow[i] >> 1);
	if (m->class == FLOW_CLASS_TCP) {
		lane_reject(b, i, REJECT_TCP_RESET, DROP_ServiceBackendRemoved);
		return true;
	}
	COUNT(w->counters.flows_reselected, 1);
	b->to.service |= LANE(i);
	return true;
}

/* Can the packet not move its flow, which is live and judged under what is now? */
static inline bool flow_settled(const struct flow_meta *m, uint8_t tcp_flags, uint32_t generation)
{
	return atomic_load_explicit(&m->state, memory_order_relaxed) == m->settled &&
		(tcp_flags & TCP_CONTROL) == 0 &&
		atomic_load_explicit(&m->config_gen, memory_order_relaxed) == generation;
}

static inline bool flow_feeds_gone(
	const struct backend_table *backends, uint32_t slot, const struct flow_meta *m)
{
	return (slot & 1) == DIR_FORWARD &&
		(atomic_load_explicit(&m->flags, memory_order_relaxed) &
			(FLOW_F_CHECK_BACKEND | FLOW_F_RESET_BACKEND)) != 0 &&
		__builtin_expect(backend_gone(backends, m), 0);
}

static inline void flow_leave(
	struct burst *b, lanes_t i, uint32_t slot, struct flow_meta *m, uint32_t now_ms)
{
	flow_touch(m, now_ms);
	b->next_hop[i] = atomic_load_explicit(&m->next_hop[slot & 1], memory_order_relaxed);
}

/* What a settled packet of a settled flow does not need. False: the lane went elsewhere. */
static __attribute__((noinline)) bool flow_hit_rare(
	struct worker *w, struct burst *b, lanes_t i, enum ip_family f, struct flow_meta *m)
{
	enum lane_dir dir = b->flow[i] & 1;

	if (atomic_load_explicit(&m->config_gen, memory_order_relaxed) != w->snap.generation &&
		flow_rejudged(w, b, i, f, m))
		return false;
	if (flow_feeds_gone(w->snap.services->backends, b->flow[i], m) &&
		flow_orphaned(w, b, i, f, m))
		return false;
	return !flow_unsettled(w, b, i, f, m, dir);
}

/* Before a burst: a worker that keeps up takes every first packet. */
static inline void admission_begin(struct admission *a)
{
	if (PACKET_LIKELY(!a->behind))
		a->credit = FLOW_NEW_CREDIT * FLOW_NEW_PER_HITS;
	else if (a->credit < FLOW_NEW_BURST_MIN * FLOW_NEW_PER_HITS)
		a->credit = FLOW_NEW_BURST_MIN * FLOW_NEW_PER_HITS;
}

/* Behind a burst: packets of flows that exist earn room for first packets. */
static inline void admission_end(struct admission *a, uint32_t hits)
{
	a->quiet = hits != 0 ? 0 : a->quiet + (a->quiet < FLOW_QUIET_BURSTS);
	if (a->credit < FLOW_NEW_CREDIT * FLOW_NEW_PER_HITS)
		a->credit += hits;
}

static inline bool admitted(struct admission *a)
{
	if (a->credit >= FLOW_NEW_PER_HITS) {
		a->credit -= FLOW_NEW_PER_HITS;
		return true;
	}
	return a->quiet == FLOW_QUIET_BURSTS || !a->behind;
}

/* What may start a flow. */
static void flow_miss(struct worker *w, struct burst *b, lanes_t i, enum ip_family f)
{
	uint8_t tcp = b->hdr[i].tcp_flags;
	enum drop_reason fault;

	if (!admitted(&w->admission)) {
		lane_drop(b, i, DROP_NewFlowRefused);
		return;
	}
	fault = f == IP_V6 ? packet_address_fault6(&b->key6[i])
			   : packet_address_fault4(&b->key4[i]);
	if (fault != DROP_REASONS) {
		lane_drop(b, i, fault);
		return;
	}

	if (b->hdr[i].proto == IP_PROTO_TCP && (b->flags[i] & LANE_FRAGMENT_LATER) == 0) {
		bool opens = (tcp & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;

		/* Neither a reset nor half of a handshake starts anything; other packets of a
		 * connection that is older than this process may. */
		if (!opens &&
			((tcp & (TCP_RST | TCP_SYN)) != 0 || !w->snap.tunables->tcp_pick_up)) {
			lane_drop(b, i, DROP_FlowInvalidState);
			return;
		}
	} else if (b->hdr[i].proto == IP_PROTO_ICMP || b->hdr[i].proto == IP_PROTO_ICMPV6) {
		const uint8_t *icmp = b->data[i] + b->hdr[i].l4;

		/* An echo reply that nobody asked for (ICMP 0, ICMPv6 129). */
		if ((b->flags[i] & LANE_FRAGMENT_LATER) == 0 && (icmp[0] == 0 || icmp[0] == 129)) {
			lane_drop(b, i, DROP_FlowInvalidState);
			return;
		}
	}
	b->to.service |= LANE(i);
}

static bool entry_live(const struct flow_meta *m)
{
	return atomic_load_explicit(&m->state, memory_order_relaxed) >= FLOW_NEW;
}

/* The entry that a lookup of this lane alone finds. */
static __attribute__((noinline)) bool flow_find_lane(
	struct worker *w, struct burst *b, lanes_t i, enum ip_family f)
{
	uint32_t found = flow_lookup_aimed(w->dp->flows, b, i, f == IP_V6);

	b->flow[i] = found;
	return found != FLOW_NONE;
}

/* Lanes whose probe did not lead to their entry; returns those that go on to rewrite. missed: no
 * tag was theirs. */
static __attribute__((noinline)) lanes_t flow_again(
	struct worker *w, struct burst *b, lanes_t lanes, enum ip_family f, lanes_t missed)
{
	lanes_t out = 0;

	lanes_foreach (i, lanes) {
		bool nothing = (missed & LANE(i)) != 0 && flow_probe_final(b, i);

		if (nothing || !flow_find_lane(w, b, i, f))
			flow_miss(w, b, i, f);
		else if (flow_hit_rare(w, b, i, f, flow_meta(w->dp->flows, f, b->flow[i] >> 1)))
			out |= LANE(i);
	}
	lanes_foreach (i, out)
		flow_leave(
			b, i, b->flow[i], flow_meta(w->dp->flows, f, b->flow[i] >> 1), w->now_ms);
	return out;
}

/* So many lanes are worked on while the entries of as many arrive. */
#define GROUP 16

/* Which lanes of a family went where. */
struct flow_lanes {
	lanes_t missed; /* by their tags */
	lanes_t again;  /* the probe did not lead to their entry */
	lanes_t gone;   /* elsewhere than to rewrite */
};

static inline __attribute__((always_inline)) void probe_lane(struct burst *b, lanes_t i,
	const void *entries, const enum ip_family f, const bool far, struct flow_lanes *out)
{
	uint32_t slot;

	if (!PACKET_LIKELY(flow_probe(b, i, entries, f == IP_V6, far, &slot))) {
		/* Entry 0 stands in: its key is another, or the lane's after all. */
		slot = 0;
		out->missed |= LANE(i);
	}
	b->flow[i] = slot;
}

/* Compares the keys and decides in one visit of the entry. */
static inline __attribute__((always_inline)) void visit_lane(struct worker *w, struct burst *b,
	lanes_t i, void *entries, const enum ip_family f, const struct flow_now *now,
	struct flow_lanes *out)
{
	uint32_t slot = b->flow[i];
	struct flow4 *e4 = (struct flow4 *)entries + (slot >> 1);
	struct flow6 *e6 = (struct flow6 *)entries + (slot >> 1);
	struct flow_meta *m = f == IP_V6 ? &e6->meta : &e4->meta;
	bool same = f == IP_V6 ? flow_key6_equal(&e6->key[slot & 1], &b->key6[i])
			       : flow_key4_equal(&e4->key[slot & 1], &b->key4[i]);

	if (PACKET_LIKELY(same && flow_settled(m, b->hdr[i].tcp_flags, now->generation))) {
		if (flow_feeds_gone(now->backends, slot, m) && flow_orphaned(w, b, i, f, m)) {
			out->gone |= LANE(i);
			return;
		}
	} else if (!same || !entry_live(m)) {
		out->again |= LANE(i);
		return;
	} else if (!flow_hit_rare(w, b, i, f, m)) {
		out->gone |= LANE(i);
		return;
	}
	flow_leave(b, i, slot, m, now->ms);
}

/* Groups follow each other by one: while the entries of the next arrive, this one is visited.
 * Compiled for each family, for sets without holes, and these for far entries. */
static inline __attribute__((always_inline)) void flow_lanes(struct worker *w, struct burst *b,
	lanes_t in, const enum ip_family f, const bool dense, const bool far)
{
	lanes_t count = BURST_MAX - (lanes_t)__builtin_clzll(in);
	void *entries =
		f == IP_V6 ? (void *)flow_array6(w->dp->flows) : (void *)flow_array4(w->dp->flows);
	struct flow_now now = flow_now_of(w);
	struct flow_lanes out = {0};

	for (lanes_t at = 0; at < count + GROUP; at += GROUP) {
		lanes_t end = at + GROUP < count ? at + GROUP : count;

		for (lanes_t i = at; i < end; i++)
			if (dense || (in >> i & 1) != 0)
				probe_lane(b, i, entries, f, far, &out);
		end = at < count ? at : count;
		for (lanes_t i = at < GROUP ? 0 : at - GROUP; far && i < end; i++)
			flow_approach(entries, f == IP_V6, b->flow[i]);
		for (lanes_t i = at < GROUP ? 0 : at - GROUP; i < end; i++)
			if (dense || (in >> i & 1) != 0)
				visit_lane(w, b, i, entries, f, &now, &out);
	}
	if (!PACKET_LIKELY(out.again == 0))
		out.gone |= out.again & ~flow_again(w, b, out.again, f, out.missed);
	b->to.rewrite |= in & ~out.gone;
}

/* Packets whose entry the NIC has named: one line to look at, no hash, no bucket. A mark is a hint
 * and may be older than what the entry is now; lanes that it misled are returned, and looked up as
 * all others are. */
static inline __attribute__((always_inline)) lanes_t follow_marks(
	struct worker *w, struct burst *b, lanes_t in, const enum ip_family f)
{
	void *entries =
		f == IP_V6 ? (void *)flow_array6(w->dp->flows) : (void *)flow_array4(w->dp->flows);
	struct flow_aim aim = flow_aim_of(w->dp->flows, f == IP_V6);
	struct flow_now now = flow_now_of(w);
	struct flow_lanes out = {0};

	lanes_foreach (i, in) {
		uint32_t slot, generation;
		const struct flow_meta *m;

		if (!flow_mark_read(w->dp->flows, f == IP_V6, b->mark[i], &slot, &generation)) {
			out.again |= LANE(i);
			continue;
		}
		m = flow_meta(w->dp->flows, f, slot >> 1);
		if (atomic_load_explicit(&m->generation, memory_order_relaxed) != generation) {
			out.again |= LANE(i);
			continue;
		}
		b->flow[i] = slot;
		visit_lane(w, b, i, entries, f, &now, &out);
	}
	COUNT(w->counters.marks_followed, lanes_count(in & ~out.again));
	COUNT(w->counters.marks_stale, lanes_count(out.again));
	b->to.rewrite |= in & ~(out.again | out.gone);
	lanes_foreach (i, out.again)
		flow_aim_lane(&aim, f == IP_V6, b, i);
	return out.again;
}

static __attribute__((noinline)) lanes_t flow_marked(struct worker *w, struct burst *b, lanes_t in)
{
	lanes_t misled = 0;

	if ((in & ~b->v6) != 0)
		misled |= follow_marks(w, b, in & ~b->v6, IP_V4);
	if ((in & b->v6) != 0)
		misled |= follow_marks(w, b, in & b->v6, IP_V6);
	return misled;
}

/* By this worker's part of them, as if the others had as many. */
static bool flows_far(const struct worker *w, enum ip_family f)
{
	const struct flow_pool_stats *s = flow_stats(w->dp->flows, f, w->id);

	return atomic_load_explicit(&s->used, memory_order_relaxed) * w->dp->n_workers >= FLOW_FAR;
}

static void flow_family(struct worker *w, struct burst *b, lanes_t in, enum ip_family f)
{
	if (!PACKET_LIKELY(lanes_dense(in)))
		f == IP_V6 ? flow_lanes(w, b, in, IP_V6, false, false)
			   : flow_lanes(w, b, in, IP_V4, false, false);
	else if (flows_far(w, f))
		f == IP_V6 ? flow_lanes(w, b, in, IP_V6, true, true)
			   : flow_lanes(w, b, in, IP_V4, true, true);
	else
		f == IP_V6 ? flow_lanes(w, b, in, IP_V6, true, false)
			   : flow_lanes(w, b, in, IP_V4, true, false);
}

void stage_flow(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_flow, &b->to.flow);
	lanes_t v6 = in & b->v6, v4 = in & ~b->v6;

	if (in == 0)
		return;
	admission_begin(&w->admission);
	if (__builtin_expect(b->marked != 0, 0)) {
		lanes_t left = (in & ~b->marked) | flow_marked(w, b, in & b->marked);

		v6 &= left;
		v4 &= left;
	}
	if (v4 != 0)
		flow_family(w, b, v4, IP_V4);
	if (v6 != 0)
		flow_family(w, b, v6, IP_V6);
	admission_end(&w->admission, lanes_count(in & b->to.rewrite));
	if (__builtin_expect(offload_wanted(w), 0))
		offload_sample(w, b, in & b->to.rewrite);
}

void stage_to_flow(struct worker *w, struct burst *b, lanes_t i)
{
	bool v6 = (b->v6 & LANE(i)) != 0;
	struct flow_aim aim = flow_aim_of(w->dp->flows, v6);

	flow_aim_lane(&aim, v6, b, i);
	b->to.flow |= LANE(i);
}
