/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The e-switch: frames from wires meet rules and leave on wires or go up to the program; what the
 * program sent goes out.
 *
 * Runs on a thread of its own (devarg core=), or with step=1 on whoever calls net_emu_step(). It
 * never runs inside a program's receive or transmit call: what a rule forwards, no worker touches.
 * Events are raised between two rounds, so that a callback may destroy rules. */

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_pause.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "emu.h"

#define SECOND_NS     1000000000ull
#define AGE_SCAN_NS   100000000ull
#define IDLE_ROUNDS   256
#define IDLE_SLEEP_NS 50000

#define ADD(counter, n) atomic_fetch_add_explicit(&(counter), n, memory_order_relaxed)

uint64_t emu_clock(struct emu_nic *nic)
{
	struct timespec ts;

	if (nic->step)
		return atomic_load(&nic->clock);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

/* --- rounds -------------------------------------------------------------------------------------
 */

static void round_enter(struct emu_nic *nic)
{
	atomic_fetch_add(&nic->round, 1);
	atomic_thread_fence(memory_order_seq_cst);
	nic->now = emu_clock(nic);
}

static void round_leave(struct emu_nic *nic)
{
	atomic_fetch_add_explicit(&nic->round, 1, memory_order_release);
}

/* Returns when no round runs that started before the call. Not to be called inside of one. */
void emu_quiesce(struct emu_nic *nic)
{
	uint64_t round;

	atomic_thread_fence(memory_order_seq_cst);
	round = atomic_load(&nic->round);
	if ((round & 1) == 0)
		return;
	for (unsigned n = 0; atomic_load_explicit(&nic->round, memory_order_acquire) == round;
		n++) {
		rte_pause();
		/* The e-switch may share this CPU. */
		if (n > 64)
			sched_yield();
	}
}

static struct emu_port *port_at(struct emu_nic *nic, unsigned i)
{
	struct emu_port *port = atomic_load_explicit(&nic->port[i], memory_order_acquire);

	return port != NULL && atomic_load_explicit(&port->started, memory_order_acquire) ? port
											  : NULL;
}

static void out_flush(struct emu_nic *nic, uint16_t port)
{
	struct emu_port *to = port_at(nic, port);
	uint16_t n = nic->out_n[port];

	nic->out_n[port] = 0;
	if (n == 0)
		return;
	if (to == NULL) {
		rte_pktmbuf_free_bulk(nic->out[port], n);
		return;
	}
	emu_wire_tx(to, nic->out[port], n);
}

/* --- up to the program --------------------------------------------------------------------------
 */

static uint16_t l4_sum(const struct emu_packet *p)
{
	const struct emu_layer *l = &p->key.at[0];
	const void *ip = rte_pktmbuf_mtod_offset(p->m, const void *, p->at[0].l3);
	const void *l4 = rte_pktmbuf_mtod_offset(p->m, const void *, p->at[0].l4);

	return l->l3 == 4 ? rte_ipv4_udptcp_cksum_verify(ip, l4) == 0
			  : rte_ipv6_udptcp_cksum_verify(ip, l4) == 0;
}

static uint64_t checksum_flags(const struct emu_packet *p)
{
	const struct emu_layer *l = &p->key.at[0];
	const struct rte_udp_hdr *udp;
	const struct rte_ipv4_hdr *ip;
	uint64_t flags = 0;
	uint32_t have = rte_pktmbuf_data_len(p->m) - p->at[0].l3, says;

	if (l->l3 == 4) {
		ip = rte_pktmbuf_mtod_offset(p->m, const void *, p->at[0].l3);
		flags = rte_raw_cksum(ip, l->ihl * 4u) == 0xffff ? RTE_MBUF_F_RX_IP_CKSUM_GOOD
								 : RTE_MBUF_F_RX_IP_CKSUM_BAD;
		says = rte_be_to_cpu_16(ip->total_length);
	} else if (l->l3 == 6) {
		says = (uint32_t)sizeof(struct rte_ipv6_hdr) +
			rte_be_to_cpu_16(((const struct rte_ipv6_hdr *)rte_pktmbuf_mtod_offset(
						  p->m, const void *, p->at[0].l3))
						 ->payload_len);
	} else {
		return 0;
	}
	if (says > have || (l->l4 != IPPROTO_TCP && l->l4 != IPPROTO_UDP))
		return flags;
	udp = rte_pktmbuf_mtod_offset(p->m, const void *, p->at[0].l4);
	if (l->l4 == IPPROTO_UDP && l->l3 == 4 && udp->dgram_cksum == 0)
		return flags | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return flags | (l4_sum(p) ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : RTE_MBUF_F_RX_L4_CKSUM_BAD);
}

static void hit(struct emu_nic *nic, struct rte_flow *rule, uint32_t len)
{
	uint64_t period = emu_period(nic, nic->now);
	uint64_t hits = atomic_load_explicit(&rule->hits, memory_order_relaxed);
	uint64_t bytes = atomic_load_explicit(&rule->bytes, memory_order_relaxed);

	if (atomic_load_explicit(&rule->period, memory_order_relaxed) != period) {
		atomic_store_explicit(&rule->shown_hits, hits, memory_order_relaxed);
		atomic_store_explicit(&rule->shown_bytes, bytes, memory_order_relaxed);
		atomic_store_explicit(&rule->period, period, memory_order_release);
	}
	atomic_store_explicit(&rule->hits, hits + 1, memory_order_release);
	atomic_store_explicit(&rule->bytes, bytes + len, memory_order_release);
	atomic_store_explicit(&rule->last_hit, nic->now, memory_order_relaxed);
}

static uint16_t pick_queue(const struct emu_port *port, const struct rte_flow *rule, uint32_t hash)
{
	const struct emu_op *op = rule != NULL ? emu_rule_ops(rule) : NULL;
	uint16_t n = port->n_rxq, queue;

	for (; op != NULL && op < emu_rule_ops_end(rule); op = emu_op_next(op)) {
		if (op->type != EMU_OP_QUEUES)
			continue;
		memcpy(&queue, op->data + hash % (op->len / 2u) * 2, 2);
		if (queue < n)
			return queue;
	}
	return (uint16_t)(n != 0 ? hash % n : 0);
}

static void drop(struct rte_mbuf *m, _Atomic uint64_t *counter)
{
	ADD(*counter, 1);
	rte_pktmbuf_free(m);
}

/* Through the port's ingress rules into a receive queue. */
static void deliver(struct emu_nic *nic, struct emu_port *port, struct emu_packet *p)
{
	struct rte_flow *rule = NULL;
	uint64_t offloads = port->eth->data->dev_conf.rxmode.offloads;
	struct rte_ring *ring;
	struct emu_rxq *q;
	uint32_t hash;

	p->key.in_port = port->index;
	p->m->port = port->ethdev;
	p->m->ol_flags = 0;
	for (uint16_t group = 0; nic->fc.domain_rules[EMU_INGRESS] != 0;) {
		rule = emu_match_lookup(nic, EMU_INGRESS, group, &p->key);
		if (rule == NULL || !emu_ttl_passes(p, emu_rule_ops(rule), emu_rule_ops_end(rule)))
			break;
		hit(nic, rule, rte_pktmbuf_pkt_len(p->m));
		if (emu_rewrite(p, emu_rule_ops(rule), emu_rule_ops_end(rule)) != 0) {
			drop(p->m, &nic->sw.error_drops);
			return;
		}
		if (rule->fate != EMU_FATE_JUMP)
			break;
		group = rule->jump;
	}
	if (rule != NULL && rule->fate == EMU_FATE_DROP) {
		drop(p->m, &nic->sw.rule_drops);
		return;
	}
	hash = emu_flow_hash(&p->key);
	q = &port->rxq[pick_queue(port, rule, hash)];
	if ((offloads & RTE_ETH_RX_OFFLOAD_CHECKSUM) != 0)
		p->m->ol_flags |= checksum_flags(p);
	if ((offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0) {
		p->m->hash.rss = hash;
		p->m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
	}
	ring = atomic_load_explicit(&q->ring, memory_order_acquire);
	if (ring == NULL || rte_ring_sp_enqueue(ring, p->m) != 0) {
		drop(p->m, &q->missed);
		return;
	}
	ADD(nic->sw.to_cpu, 1);
}

/* --- rules --------------------------------------------------------------------------------------
 */

static void forward(struct emu_nic *nic, struct emu_port *from, uint16_t to, struct emu_packet *p)
{
	struct emu_port *out = port_at(nic, to);

	if (out == NULL || !out->carrier) {
		drop(p->m, &nic->sw.error_drops);
		return;
	}
	if (p->key.at[0].l3 != 0 && rte_pktmbuf_pkt_len(p->m) - p->at[0].l3 > out->mtu) {
		drop(p->m, &nic->sw.mtu_drops);
		return;
	}
	ADD(from->hw_packets, 1);
	ADD(from->hw_bytes, rte_pktmbuf_pkt_len(p->m));
	nic->out[to][nic->out_n[to]++] = p->m;
	if (nic->out_n[to] == EMU_BURST)
		out_flush(nic, to);
}

static void act(struct emu_nic *nic, struct emu_port *port, const struct rte_flow *rule,
	struct emu_packet *p)
{
	struct emu_port *cpu;

	switch (rule->fate) {
	case EMU_FATE_PORT:
		forward(nic, port, rule->out_port, p);
		return;
	case EMU_FATE_CPU:
		cpu = port_at(nic, rule->out_port);
		if (cpu != NULL)
			deliver(nic, cpu, p);
		else
			drop(p->m, &nic->sw.error_drops);
		return;
	default:
		drop(p->m, &nic->sw.rule_drops);
		return;
	}
}

static void from_wire(struct emu_nic *nic, struct emu_port *port, struct rte_mbuf *m)
{
	struct emu_packet p = {.m = m, .key.in_port = port->index};
	uint16_t group = 0;

	emu_parse(&p);
	for (unsigned jumps = 0; jumps < EMU_JUMPS_MAX; jumps++) {
		struct rte_flow *rule = NULL;

		if (nic->fc.domain_rules[EMU_TRANSFER] != 0)
			rule = emu_match_lookup(nic, EMU_TRANSFER, group, &p.key);
		if (rule == NULL)
			break;
		if (!emu_ttl_passes(&p, emu_rule_ops(rule), emu_rule_ops_end(rule))) {
			ADD(nic->sw.ttl_misses, 1);
			break;
		}
		hit(nic, rule, rte_pktmbuf_pkt_len(m));
		if (emu_rewrite(&p, emu_rule_ops(rule), emu_rule_ops_end(rule)) != 0) {
			drop(m, &nic->sw.error_drops);
			return;
		}
		if (rule->fate != EMU_FATE_JUMP) {
			act(nic, port, rule, &p);
			return;
		}
		group = rule->jump;
	}
	deliver(nic, port, &p);
}

/* --- the built-in generator ---------------------------------------------------------------------
 */

/* One UDP flow, 198.51.100.1:1000 to 198.51.100.2:2000, 64 bytes. */
static void generate(struct emu_nic *nic, struct emu_port *port)
{
	static const uint8_t frame[64] = {0x02, 0xe0, 0, 0, 0, 0, 0x02, 0xe0, 0, 0, 0, 0xfe, 0x08,
		0, 0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, IPPROTO_UDP, 0xe6, 0x50, 198, 51, 100, 1, 198,
		51, 100, 2, 0x03, 0xe8, 0x07, 0xd0, 0, 30, 0, 0};
	uint64_t rate = (uint64_t)nic->knobs.gen;
	unsigned made = 0;

	if (rate == 0 || rate > SECOND_NS || port->rxq[0].pool == NULL)
		return;
	if (nic->next_gen == 0 || nic->next_gen + SECOND_NS < nic->now)
		nic->next_gen = nic->now;
	for (; nic->next_gen <= nic->now && made < EMU_BURST; made++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(port->rxq[0].pool);

		nic->next_gen += SECOND_NS / rate;
		if (m == NULL)
			return;
		memcpy(rte_pktmbuf_append(m, sizeof(frame)), frame, sizeof(frame));
		ADD(port->wire_rx, 1);
		from_wire(nic, port, m);
	}
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static unsigned one_round(struct emu_nic *nic, unsigned limit)
{
	struct rte_mbuf *pkts[EMU_BURST];
	unsigned taken = 0;
	uint16_t n;

	limit = RTE_MIN(limit, (unsigned)EMU_BURST);
	round_enter(nic);
	for (uint16_t i = 0; i < nic->n_ports && !nic->removed; i++) {
		struct emu_port *port = port_at(nic, i);

		if (port == NULL || !port->carrier)
			continue;
		n = emu_wire_rx(port, pkts, (uint16_t)limit);
		ADD(port->wire_rx, n);
		for (uint16_t k = 0; k < n; k++)
			from_wire(nic, port, pkts[k]);
		taken += n;
		if (i == 0)
			generate(nic, port);
		n = (uint16_t)rte_ring_sc_dequeue_burst(port->tx_ring, (void **)pkts, limit, NULL);
		emu_wire_tx(port, pkts, n);
		taken += n;
	}
	for (uint16_t i = 0; i < nic->n_ports; i++)
		out_flush(nic, i);
	round_leave(nic);
	if (nic->now >= nic->next_age_scan) {
		nic->next_age_scan = nic->now + AGE_SCAN_NS;
		emu_age_scan(nic);
	}
	return taken;
}

int net_emu_step(struct emu_nic *nic, unsigned packets, uint64_t ns)
{
	unsigned taken = 0, n;

	if (!nic->step)
		return -EBUSY;
	pthread_mutex_lock(&nic->step_lock);
	atomic_fetch_add(&nic->clock, ns);
	do {
		n = one_round(nic, RTE_MIN(packets, (unsigned)EMU_BURST));
		taken += n;
		packets -= RTE_MIN(packets, (unsigned)EMU_BURST);
	} while (n != 0 && packets != 0);
	pthread_mutex_unlock(&nic->step_lock);
	return (int)taken;
}

static void pin(const struct emu_nic *nic)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	/* The thread that probes is pinned to the main lcore: without core= run anywhere else. */
	for (int cpu = 0; cpu < CPU_SETSIZE && nic->core < 0; cpu++)
		CPU_SET((size_t)cpu, &set);
	if (nic->core >= 0)
		CPU_SET((size_t)nic->core, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
		EMU_LOG(WARNING, "%s: cannot run on core %d", nic->name, nic->core);
}

static void *thread_main(void *arg)
{
	const struct timespec nap = {.tv_nsec = IDLE_SLEEP_NS};
	struct emu_nic *nic = arg;
	unsigned idle = 0;

	pthread_setname_np(pthread_self(), "net_emu");
	pin(nic);
	while (!atomic_load_explicit(&nic->stop, memory_order_relaxed)) {
		idle = one_round(nic, EMU_BURST) != 0 ? 0 : idle + 1;
		if (idle > IDLE_ROUNDS)
			nanosleep(&nap, NULL);
		else
			rte_pause();
	}
	return NULL;
}

int emu_eswitch_start(struct emu_nic *nic)
{
	int rc;

	if (nic->step)
		return 0;
	rc = pthread_create(&nic->thread, NULL, thread_main, nic);
	nic->thread_runs = rc == 0;
	return -rc;
}

void emu_eswitch_stop(struct emu_nic *nic)
{
	atomic_store(&nic->stop, true);
	if (nic->thread_runs)
		pthread_join(nic->thread, NULL);
	nic->thread_runs = false;
}
