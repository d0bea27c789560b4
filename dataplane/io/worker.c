/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The worker loop: snapshot, receive and run each of its queues, mailbox, sweep, flush, quiescent.
 *
 * Worker threads (EAL lcores). Allocates nothing but packet buffers, logs nothing, waits for
 * nobody; the system calls are those of an idle worker's sleep (wait.c), outside of any read
 * section. What a driver of a kernel interface does inside its burst functions is the driver's. */

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include <rte_cycles.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#include "core/packet.h"
#include "io/rim_internal.h"

/* --- receive -----------------------------------------------------------------------------------
 */

static void drop_received(struct rim_worker *rw, struct rte_mbuf *m, enum drop_reason reason)
{
	COUNT(rw->w.counters.received, 1);
	COUNT(rw->w.counters.drops[reason], 1);
	rte_pktmbuf_free(m);
}

static bool is_tagged(const uint8_t *eth)
{
	const uint8_t tpid[2] = {ETH_TYPE_VLAN >> 8, ETH_TYPE_VLAN & 0xff};

	return memcmp(eth + 12, tpid, sizeof(tpid)) == 0;
}

/* What most buffers hold: one segment, at least a header, no tag taken off. */
static inline bool buffer_is_plain(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && m->data_len >= ETH_HLEN &&
		(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) == 0;
}

/* The vport of any other frame; 0: it was dropped. A tag that the NIC took off is put back: stages
 * see every frame as it was on the wire. */
static __attribute__((noinline)) uint16_t odd_frame(
	struct rim_worker *rw, uint8_t port, struct rte_mbuf *m)
{
	const struct rim_view *v = rw->view;
	const uint8_t *eth;
	uint16_t vport, vlan = 0;

	if (m->nb_segs > 1 && rte_pktmbuf_linearize(m) != 0) {
		drop_received(rw, m, DROP_NoBuffer);
		return 0;
	}
	if (m->data_len < ETH_HLEN) {
		drop_received(rw, m, DROP_RuntFrame);
		return 0;
	}
	if ((m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 && rte_vlan_insert(&m) != 0) {
		drop_received(rw, m, DROP_NoHeadroom);
		return 0;
	}
	eth = rte_pktmbuf_mtod(m, const uint8_t *);
	if (is_tagged(eth) && m->data_len >= ETH_HLEN + 4)
		vlan = (uint16_t)((eth[14] & 0x0f) << 8 | eth[15]);
	/* VLAN id 0 is a priority alone. */
	if (vlan == 0)
		vport = v->untagged[port];
	else
		vport = v->vlans[port] != NULL ? v->vlans[port][vlan] : 0;
	if (vport == 0)
		drop_received(rw, m, DROP_VlanUnknown);
	return vport;
}

static uint8_t frame_csum_flag(const struct rte_mbuf *m)
{
	return (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD
		? LANE_L4_CSUM_OK
		: 0;
}

/* Begins to load the headers of all; returns those that are not plain by what their buffers say. */
static lanes_t begin_lanes(struct burst *b, uint32_t n)
{
	lanes_t odd = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct rte_mbuf *m = b->buf[i];
		uint8_t *eth = rte_pktmbuf_mtod(m, uint8_t *);

		rte_prefetch0(eth);
		b->data[i] = eth;
		b->len[i] = m->data_len;
		if (!PACKET_LIKELY(buffer_is_plain(m)))
			odd |= LANE(i);
	}
	return odd;
}

/* Keeps the frames that the pipeline can take, as lanes 0 .. return value - 1. */
static __attribute__((noinline)) uint32_t sort_lanes(
	struct rim_worker *rw, const struct rim_rxq *q, uint32_t n, lanes_t odd)
{
	struct burst *b = &rw->w.burst;
	uint32_t lane = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint16_t vport = rw->view->untagged[q->port];
		struct rte_mbuf *m = b->buf[i];

		if ((odd & LANE(i)) != 0) {
			vport = odd_frame(rw, q->port, m);
			if (vport == 0)
				continue;
		}
		b->buf[lane] = m;
		b->data[lane] = rte_pktmbuf_mtod(m, uint8_t *);
		b->len[lane] = m->data_len;
		b->in_vport[lane] = vport;
		lane++;
	}
	return lane;
}

/* What was received, in b->buf, to lanes; returns how many. Most bursts are plain frames of the
 * port's untagged vport: theirs is one store for many lanes. */
static uint32_t fill_burst(struct rim_worker *rw, const struct rim_rxq *q, uint32_t n)
{
	uint16_t untagged = rw->view->untagged[q->port];
	struct burst *b = &rw->w.burst;
	lanes_t odd = begin_lanes(b, n);

	for (uint32_t i = 0; i < n; i++)
		if (!PACKET_LIKELY(!is_tagged(b->data[i])))
			odd |= LANE(i);
	for (uint32_t i = 0; i < BURST_MAX; i++)
		b->in_vport[i] = untagged;
	if (untagged == 0)
		odd = ~UINT64_C(0);
	if (!PACKET_LIKELY(odd == 0))
		n = sort_lanes(rw, q, n, odd);
	memset(b->flags, 0, sizeof(b->flags));
	for (uint32_t i = 0; q->csum && i < n; i++)
		b->flags[i] = frame_csum_flag(b->buf[i]);
	return n;
}

/* Marks of the NIC's rules, from the buffers to the lanes. */
static __attribute__((noinline)) void take_marks(struct burst *b, uint32_t lanes)
{
	lanes_t marked = 0;

	for (uint32_t lane = 0; lane < lanes; lane++) {
		const struct rte_mbuf *m = b->buf[lane];
		bool has =
			(m->ol_flags & RTE_MBUF_F_RX_FDIR_ID) != 0 && m->hash.fdir.hi < FLOW_MARKS;

		b->mark[lane] = has ? (uint16_t)m->hash.fdir.hi : 0;
		marked |= (lanes_t)has << lane;
	}
	b->marked = marked;
}

static uint32_t receive_queue(struct rim_worker *rw, const struct rim_rxq *q, uint8_t *sit_out)
{
	struct worker *w = &rw->w;
	uint64_t refused = w->counters.drops[DROP_NewFlowRefused];
	uint32_t n =
		rte_eth_rx_burst(q->eth, q->queue, (struct rte_mbuf **)w->burst.buf, BURST_MAX);
	uint32_t lanes;

	if (n == 0)
		return 0;
	COUNT(w->counters.stage_packets[STAGE_receive], n);
	lanes = fill_burst(rw, q, n);
	if (lanes == 0)
		return n;
	/* The burst before has left all of its sets empty. */
	w->burst.to.classify = ~UINT64_C(0) >> (BURST_MAX - lanes);
	w->burst.count = (uint16_t)lanes;
	w->burst.resized = 0;
	w->burst.marked = 0;
	if (__builtin_expect(q->marks, 0) && flow_marks_used(w->dp->flows))
		take_marks(&w->burst, lanes);
	w->admission.behind = n == BURST_MAX;
	rw->rim->cfg.run(w, &w->burst);
	if (__builtin_expect(w->counters.drops[DROP_NewFlowRefused] != refused, 0))
		*sit_out = FLOW_SIT_OUT;
	return n;
}

static uint32_t receive(struct rim_worker *rw)
{
	const struct rim_view *v = rw->view;
	uint32_t id = rw->w.id, n = 0;

	for (uint32_t q = 0; q < v->n_rxq[id]; q++) {
		if (__builtin_expect(rw->sit_out[q] != 0, 0))
			rw->sit_out[q]--;
		else if (__builtin_expect(rw->fenced >> v->rxq[id][q].port & 1, 0))
			continue;
		else
			n += receive_queue(rw, &v->rxq[id][q], &rw->sit_out[q]);
	}
	return n;
}

/* --- what happens beside packets ---------------------------------------------------------------
 */

static uint32_t mailbox_run(struct rim_worker *rw)
{
	struct rim_work item;
	uint32_t n = 0;

	while (n < RIM_MAILBOX_BATCH && spsc_get(rw->mailbox, &item)) {
		item.fn(&rw->w, item.arg);
		n++;
	}
	return n;
}

/* Advances now_ms; returns the milliseconds that passed. No system call: the TSC was calibrated
 * by EAL. */
static uint32_t clock_advance(struct rim_worker *rw, uint64_t tsc)
{
	uint64_t ms;

	if (tsc - rw->ms_tsc < rw->rim->ticks_per_ms)
		return 0;
	ms = (tsc - rw->ms_tsc) / rw->rim->ticks_per_ms;
	rw->ms_tsc += ms * rw->rim->ticks_per_ms;
	rw->w.now_ms += (uint32_t)ms;
	return (uint32_t)ms;
}

/* Sweeps are paced by time, not by loops: an idle worker loops a million times a second. */
static void sweep(struct rim_worker *rw, uint32_t ms)
{
	struct worker *w = &rw->w;

	if (ms != 0) {
		uint64_t due = rw->sweep_rest + (uint64_t)ms * rw->rim->sweeps_per_ms_256;

		rw->sweep_rest = due & 0xff;
		rw->sweeps_due += (uint32_t)(due >> 8);
		if (rw->sweeps_due > RIM_SWEEP_BACKLOG)
			rw->sweeps_due = RIM_SWEEP_BACKLOG;
	}
	if (rw->sweeps_due == 0)
		return;
	rw->sweeps_due--;
	flow_sweep(w->dp->flows, w->id, w->now_ms, &w->snap.tunables->timeouts);
}

/* ticks: from this loop's start to the next one's, its sleep included. */
static void account(struct rim_worker *rw, uint64_t ticks, bool was_busy)
{
	struct worker_counters *c = &rw->w.counters;

	COUNT(c->loops, 1);
	if (was_busy) {
		COUNT(c->busy_loops, 1);
		COUNT(c->busy_ticks, ticks);
	} else {
		COUNT(c->idle_ticks, ticks);
	}
	if (rw->slept) {
		rw->slept = false;
		atomic_fetch_add_explicit(&rw->slept_ticks, ticks, memory_order_relaxed);
	} else if (ticks > c->longest_loop_ticks) {
		c->longest_loop_ticks = ticks;
	}
}

/* One loop; returns what it did: packets and mailbox items. */
static uint32_t loop_once(struct rim_worker *rw, uint64_t tsc)
{
	struct worker *w = &rw->w;
	struct rim *rim = rw->rim;
	uint32_t ms, n = 0;

	rw->view = atomic_load_explicit(&rim->view, memory_order_acquire);
	rw->fenced = atomic_load_explicit(&rim->fenced, memory_order_relaxed);
	rw->ports_up = atomic_load_explicit(&rim->ports_up, memory_order_relaxed) & ~rw->fenced;
	worker_load_snapshot(w);
	ms = clock_advance(rw, tsc);
	if (__builtin_expect(!atomic_load_explicit(&rim->draining, memory_order_relaxed), 1)) {
		n = receive(rw);
	} else if (!atomic_load_explicit(&rw->drained, memory_order_relaxed)) {
		if (rim->cfg.drain != NULL)
			rim->cfg.drain(w);
		rim_tx_flush(rw);
		atomic_store_explicit(&rw->drained, true, memory_order_release);
	}
	n += mailbox_run(rw);
	sweep(rw, ms);
	if ((n != 0 || ms != 0) && rim->cfg.tick != NULL)
		rim->cfg.tick(w);
	rim_tx_flush(rw);
	rte_rcu_qsbr_quiescent(rim->qsbr, w->id);
	atomic_store_explicit(&w->heartbeat,
		atomic_load_explicit(&w->heartbeat, memory_order_relaxed) + 1,
		memory_order_relaxed);
	if (ms != 0)
		rim_grace_poll(rim);
	return n;
}

/* --- idling -------------------------------------------------------------------------------------
 */

static void busy(struct rim_worker *rw, uint64_t tsc)
{
	rw->busy_tsc = tsc;
	rw->vain = false;
	rw->sleep_us = rw->rim->cfg.idle.sleep_min_us;
}

/* Whether the last look before the sleep found something to do. */
static bool nap(struct rim_worker *rw)
{
	const struct rim_view *armed = rim_wait_arm(rw);
	bool found = loop_once(rw, rte_rdtsc()) != 0;

	if (found)
		busy(rw, rte_rdtsc());
	else if (rw->view == armed && rw->sweeps_due == 0 &&
		!atomic_load_explicit(&rw->rim->stop, memory_order_relaxed))
		rim_wait(rw);
	rim_wait_disarm(rw);
	return found;
}

static bool idle(struct rim_worker *rw, uint64_t tsc)
{
	if (tsc - rw->busy_tsc >= rw->spin_ticks && rw->sweeps_due == 0 &&
		rw->rim->cfg.idle.sleep_max_us != 0)
		return nap(rw);
	rte_pause();
	return false;
}

static void thread_prepare(struct rim_worker *rw)
{
	char name[16];
	sigset_t all;

	/* Signals are control's: the tap driver raises one per wake-up. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	/* The default slack of 50 us would double a short sleep. */
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	snprintf(name, sizeof(name), "sluice-w%u", rw->w.id);
	dpdk_thread_name(name);
}

int rim_worker_main(void *arg)
{
	struct rim_worker *rw = arg;
	struct rim *rim = rw->rim;
	bool was_busy = false;
	uint64_t tsc;

	thread_prepare(rw);
	rte_rcu_qsbr_thread_register(rim->qsbr, rw->w.id);
	rte_rcu_qsbr_thread_online(rim->qsbr, rw->w.id);
	tsc = rte_rdtsc();
	while (!atomic_load_explicit(&rim->stop, memory_order_relaxed)) {
		uint64_t now = rte_rdtsc();

		account(rw, now - tsc, was_busy);
		tsc = now;
		was_busy = loop_once(rw, now) != 0;
		if (was_busy)
			busy(rw, now);
		else
			was_busy = idle(rw, now);
	}
	rte_rcu_qsbr_thread_offline(rim->qsbr, rw->w.id);
	rte_rcu_qsbr_thread_unregister(rim->qsbr, rw->w.id);
	return 0;
}
