/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* struct worker_io on mbufs: buffers given, taken back and sent.
 *
 * Worker threads. What is to be sent waits in one array a port until the end of the loop (or until
 * it is full), so that a driver sees bursts. A transmit queue that several workers share has a
 * lock; one of a worker's own has none. Nothing is retried without bound: what a port does not
 * take is a counted drop, and its buffer goes back. */

#include <string.h>

#include "core/packet.h"
#include "io/rim_internal.h"

#define VLAN_HLEN 4
/* As a set: bursts of at least 32 lanes are sent by themselves. Smaller ones are collected, since a
 * driver's call costs as much as several frames. */
#define WHOLE_MIN LANE(31)

static struct rim_worker *rim_worker_of(struct worker *w)
{
	return w->rim;
}

static void count_drop(struct rim_worker *rw, enum drop_reason reason, uint16_t vport, uint16_t len)
{
	struct worker_counters *c = &rw->w.counters;

	COUNT(c->drops[reason], 1);
	if (vport < VPORTS_MAX) {
		/* The transmit stage counted it when it handed it over. */
		c->vport[vport].tx_packets--;
		c->vport[vport].tx_bytes -= len;
		COUNT(c->vport[vport].drops, 1);
	}
}

/* Sends n frames of vports, or counts and frees them. */
static void port_send(struct rim_worker *rw, uint32_t index, struct rte_mbuf **m,
	const uint16_t *vport, uint32_t n)
{
	struct rim_port *p = rw->view->port[index];
	uint16_t queue = (uint16_t)(rw->w.id % p->n_txq);
	uint32_t done = 0, tries = 0;

	if (p->tx_shared)
		rte_spinlock_lock(&p->tx_lock[queue]);
	while (done < n) {
		uint16_t sent = rte_eth_tx_burst(p->eth, queue, m + done, (uint16_t)(n - done));

		done += sent;
		if (sent == 0 && ++tries > p->tx_retries)
			break;
	}
	if (p->tx_shared)
		rte_spinlock_unlock(&p->tx_lock[queue]);
	COUNT(rw->w.counters.sent, done);
	if (__builtin_expect(done < n, 0)) {
		for (uint32_t i = done; i < n; i++)
			count_drop(rw, DROP_TxQueueFull, vport[i], m[i]->data_len);
		rte_pktmbuf_free_bulk(m + done, n - done);
	}
}

static __attribute__((noinline)) void flush_port(struct rim_worker *rw, uint32_t index)
{
	struct rim_tx_buffer *t = &rw->tx[index];

	rw->tx_pending &= ~(1u << index);
	port_send(rw, index, t->m, t->vport, t->n);
	t->n = 0;
}

void rim_tx_flush(struct rim_worker *rw)
{
	while (rw->tx_pending != 0)
		flush_port(rw, (uint32_t)__builtin_ctz(rw->tx_pending));
}

static inline void buffer_put(
	struct rim_worker *rw, struct rim_tx_buffer *t, struct rte_mbuf *m, uint16_t vport)
{
	uint16_t n = t->n;

	t->vport[n] = vport;
	t->m[n] = m;
	t->n = (uint16_t)(n + 1);
	if (n + 1 == BURST_MAX) {
		uint32_t index = (uint32_t)(t - rw->tx);

		flush_port(rw, index);
		/* The next one of this burst may not look here again. */
		rw->tx_pending |= 1u << index;
	}
}

/* A tagged vport's frame whose header came from a stage that knows no tag (an answer in place to
 * a frame whose tag the NIC stripped). */
static bool tag_push(struct rte_mbuf *m, uint16_t vlan)
{
	uint8_t *eth = rte_pktmbuf_mtod(m, uint8_t *);
	uint8_t *front;

	if (eth[12] == (ETH_TYPE_VLAN >> 8) && eth[13] == (ETH_TYPE_VLAN & 0xff))
		return true;
	front = (uint8_t *)rte_pktmbuf_prepend(m, VLAN_HLEN);
	if (front == NULL)
		return false;
	memmove(front, eth, 12);
	front[12] = ETH_TYPE_VLAN >> 8;
	front[13] = ETH_TYPE_VLAN & 0xff;
	front[14] = (uint8_t)(vlan >> 8);
	front[15] = (uint8_t)vlan;
	return true;
}

void rim_tx_put(struct rim_worker *rw, struct rte_mbuf *m, uint16_t vport)
{
	const struct rim_view *v = rw->view;
	uint8_t index = vport < VPORTS_MAX ? v->vport_port[vport] : RIM_NO_PORT;
	struct rim_tx_buffer *t;

	if (__builtin_expect(index == RIM_NO_PORT || (rw->ports_up & (1u << index)) == 0, 0)) {
		count_drop(rw, DROP_TxPortDown, vport, m->data_len);
		rte_pktmbuf_free(m);
		return;
	}
	if (v->vport_vlan[vport] != 0 && !tag_push(m, v->vport_vlan[vport])) {
		count_drop(rw, DROP_NoHeadroom, vport, m->data_len);
		rte_pktmbuf_free(m);
		return;
	}
	t = &rw->tx[index];
	rw->tx_pending |= 1u << index;
	buffer_put(rw, t, m, vport);
}

static void mbuf_set(struct rte_mbuf *m, const uint8_t *data, uint16_t len)
{
	m->data_off = (uint16_t)(data - (const uint8_t *)m->buf_addr);
	m->data_len = len;
	m->pkt_len = len;
}

static void *io_alloc(struct worker *w, uint16_t len, uint8_t **data)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(rim_worker_of(w)->rim->pool);

	if (m == NULL)
		return NULL;
	if (rte_pktmbuf_tailroom(m) < len) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	*data = rte_pktmbuf_mtod(m, uint8_t *);
	return m;
}

static void io_free_lanes(struct worker *w, struct burst *b, lanes_t lanes)
{
	struct rte_mbuf *m[BURST_MAX];
	unsigned n = 0;

	lanes_foreach (i, lanes)
		m[n++] = b->buf[i];
	rte_pktmbuf_free_bulk(m, n);
}

/* The buffer of an untagged vport whose port is up: nothing is left to do for its frames. */
static struct rim_tx_buffer *plain_buffer(struct rim_worker *rw, uint16_t vport)
{
	const struct rim_view *v = rw->view;
	uint8_t index = vport < VPORTS_MAX ? v->vport_port[vport] : RIM_NO_PORT;

	if (index == RIM_NO_PORT || (rw->ports_up & (1u << index)) == 0 ||
		v->vport_vlan[vport] != 0)
		return NULL;
	return &rw->tx[index];
}

/* The one vport that lanes 0 .. n - 1 leave on; 0 when they differ. */
static uint16_t common_vport(const struct burst *b, uint32_t n)
{
	uint16_t first = b->out_vport[0], other = 0;

	for (uint32_t i = 1; i < n; i++)
		other |= b->out_vport[i] ^ first;
	return other == 0 ? first : 0;
}

/* Most bursts leave whole, on one vport. A large one is sent from where it lies; but not past
 * frames that wait. False: it is for the buffers. */
static bool send_whole(struct rim_worker *rw, struct burst *b, uint32_t n)
{
	uint16_t vport = common_vport(b, n);
	struct rim_tx_buffer *t = vport != 0 ? plain_buffer(rw, vport) : NULL;

	if (t == NULL || t->n != 0)
		return false;
	port_send(rw, (uint32_t)(t - rw->tx), (struct rte_mbuf **)b->buf, b->out_vport, n);
	return true;
}

static void io_transmit(struct worker *w, struct burst *b, lanes_t lanes)
{
	struct rim_worker *rw = rim_worker_of(w);
	struct rim_tx_buffer *t = NULL;
	uint32_t last = UINT32_MAX;

	lanes_foreach (i, lanes & b->resized)
		mbuf_set(b->buf[i], b->data[i], b->len[i]);
	if (lanes_dense(lanes) && lanes >= WHOLE_MIN && send_whole(rw, b, lanes_count(lanes)))
		return;
	lanes_foreach (i, lanes) {
		struct rte_mbuf *m = b->buf[i];
		uint16_t vport = b->out_vport[i];

		/* Many leave on the vport of the one before. */
		if (vport != last) {
			t = plain_buffer(rw, vport);
			last = vport;
			if (t != NULL)
				rw->tx_pending |= 1u << (t - rw->tx);
		}
		if (__builtin_expect(t != NULL, 1))
			buffer_put(rw, t, m, vport);
		else
			rim_tx_put(rw, m, vport);
	}
}

static void io_transmit_one(
	struct worker *w, void *buf, uint8_t *data, uint16_t len, uint16_t vport)
{
	mbuf_set(buf, data, len);
	rim_tx_put(rim_worker_of(w), buf, vport);
}

static void io_free_one(struct worker *w, void *buf)
{
	rte_pktmbuf_free(buf);
}

const struct worker_io rim_worker_io = {
	.alloc = io_alloc,
	.free_lanes = io_free_lanes,
	.transmit = io_transmit,
	.transmit_one = io_transmit_one,
	.free_one = io_free_one,
};
