/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The outer side of a port: nothing, a pair of rings that a test fills and empties, or another
 * ethdev (af_packet on a veth, tap, pcap), used through the public API.
 *
 * Opened and closed by port start and close, used by the e-switch; the rings' far ends by tests. An
 * ethdev wire is owned, so that programs that take every port leave it alone. It receives into the
 * port's own buffer pool and stays open over a stop: some drivers cannot start twice. */

#include <rte_errno.h>

#include "emu.h"

#define ADD(counter, n) atomic_fetch_add_explicit(&(counter), n, memory_order_relaxed)

static int ring_new(struct emu_port *port, const char *what, struct rte_ring **out)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "emu%u_%u_%s", port->nic->number, port->index, what);
	*out = rte_ring_create(name, EMU_RING_SIZE, SOCKET_ID_ANY, 0);
	return *out != NULL ? 0 : -rte_errno;
}

static int ethdev_open(struct emu_port *port)
{
	struct emu_wire *w = &port->wire;
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_owner owner = {0};
	uint16_t rx = 1024, tx = 1024;
	int rc = rte_eth_dev_get_port_by_name(w->dev, &w->ethdev);

	if (rc != 0) {
		EMU_LOG(ERR, "%s: there is no ethdev %s to be its wire", port->eth->data->name,
			w->dev);
		return -ENODEV;
	}
	rc = rte_eth_dev_owner_new(&owner.id);
	snprintf(owner.name, sizeof(owner.name), "%s", port->eth->data->name);
	if (rc == 0)
		rc = rte_eth_dev_owner_set(w->ethdev, &owner);
	if (rc != 0)
		return rc;
	w->owner = owner.id;
	rc = rte_eth_dev_configure(w->ethdev, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(w->ethdev, &rx, &tx);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(
			w->ethdev, 0, rx, SOCKET_ID_ANY, NULL, port->rxq[0].pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(w->ethdev, 0, tx, SOCKET_ID_ANY, NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(w->ethdev);
	if (rc != 0) {
		EMU_LOG(ERR, "%s: its wire %s does not start", port->eth->data->name, w->dev);
		rte_eth_dev_owner_unset(w->ethdev, w->owner);
		return rc;
	}
	rte_eth_promiscuous_enable(w->ethdev);
	return 0;
}

int emu_wire_open(struct emu_port *port)
{
	struct emu_wire *w = &port->wire;
	int rc = 0;

	if (w->open)
		return 0;
	if (w->kind == EMU_WIRE_RING) {
		rc = ring_new(port, "in", &w->in);
		if (rc == 0)
			rc = ring_new(port, "out", &w->out);
	} else if (w->kind == EMU_WIRE_ETHDEV) {
		rc = ethdev_open(port);
	}
	w->open = true;
	if (rc != 0)
		emu_wire_close(port);
	return rc;
}

static void ring_free(struct rte_ring **ring)
{
	void *m;

	while (*ring != NULL && rte_ring_dequeue(*ring, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(*ring);
	*ring = NULL;
}

void emu_wire_close(struct emu_port *port)
{
	struct emu_wire *w = &port->wire;

	if (!w->open)
		return;
	w->open = false;
	ring_free(&w->in);
	ring_free(&w->out);
	if (w->kind == EMU_WIRE_ETHDEV && w->owner != 0) {
		(void)rte_eth_dev_stop(w->ethdev);
		rte_eth_dev_owner_unset(w->ethdev, w->owner);
		w->owner = 0;
	}
}

uint16_t emu_wire_rx(struct emu_port *port, struct rte_mbuf **pkts, uint16_t n)
{
	struct emu_wire *w = &port->wire;

	switch (w->kind) {
	case EMU_WIRE_RING:
		return (uint16_t)rte_ring_dequeue_burst(w->in, (void **)pkts, n, NULL);
	case EMU_WIRE_ETHDEV:
		return rte_eth_rx_burst(w->ethdev, 0, pkts, n);
	default:
		return 0;
	}
}

void emu_wire_tx(struct emu_port *port, struct rte_mbuf **pkts, uint16_t n)
{
	struct emu_wire *w = &port->wire;
	uint16_t sent = n;

	if (n == 0)
		return;
	if (w->kind == EMU_WIRE_RING)
		sent = (uint16_t)rte_ring_enqueue_burst(w->out, (void **)pkts, n, NULL);
	else if (w->kind == EMU_WIRE_ETHDEV)
		sent = rte_eth_tx_burst(w->ethdev, 0, pkts, n);
	else
		rte_pktmbuf_free_bulk(pkts, n);
	ADD(port->wire_tx, sent);
	ADD(port->tx_lost, n - sent);
	if (sent < n)
		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
}

/* --- the far end, for tests ---------------------------------------------------------------------
 */

int net_emu_wire_send(struct emu_nic *nic, unsigned index, const void *frame, uint16_t len)
{
	struct emu_port *port = index < nic->n_ports ? nic->port[index] : NULL;
	struct rte_mbuf *m;
	char *data;

	if (port == NULL || !port->started || port->wire.in == NULL)
		return -ENETDOWN;
	m = rte_pktmbuf_alloc(port->rxq[0].pool);
	if (m == NULL)
		return -ENOBUFS;
	data = rte_pktmbuf_append(m, len);
	if (data == NULL) {
		rte_pktmbuf_free(m);
		return -EMSGSIZE;
	}
	memcpy(data, frame, len);
	if (rte_ring_enqueue(port->wire.in, m) != 0) {
		rte_pktmbuf_free(m);
		return -ENOBUFS;
	}
	return 0;
}

int net_emu_wire_recv(struct emu_nic *nic, unsigned index, void *frame, uint16_t size)
{
	struct emu_port *port = index < nic->n_ports ? nic->port[index] : NULL;
	struct rte_mbuf *m;
	const void *data;
	uint32_t len;
	void *ptr;

	if (port == NULL || port->wire.out == NULL || rte_ring_dequeue(port->wire.out, &ptr) != 0)
		return 0;
	m = ptr;
	len = RTE_MIN(rte_pktmbuf_pkt_len(m), size);
	data = rte_pktmbuf_read(m, 0, len, frame);
	if (data != frame && data != NULL)
		memcpy(frame, data, len);
	rte_pktmbuf_free(m);
	return (int)len;
}
