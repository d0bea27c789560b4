/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Ports come and go while the others forward.
 *
 * Control thread. A port is probed, configured and started before a worker knows of it, and leaves
 * the workers' view a grace period before its driver is stopped. Each step of the way up has its
 * counterpart in rim_port_close(), which accepts a half-made port. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>

#include "io/rim_internal.h"

static int config_complete(struct rim *rim, struct rim_port_config *cfg, struct rim_error *err)
{
	bool running;
	int rc;

	if (cfg->kind >= RIM_PORT_KINDS)
		return rim_fail(err, -EINVAL, "kind: unknown");
	if (cfg->name[0] == '\0')
		return rim_fail(err, -EINVAL, "name: must be set");
	if (rim_port_find(rim, cfg->name) >= 0)
		return rim_fail(err, -EEXIST, "name: a port '%s' exists", cfg->name);
	if (cfg->kind == RIM_PORT_PCI && !rim->cfg.pci)
		return rim_fail(err, -ENOTSUP,
			"pci: the daemon was started without a PCI port and has not scanned the "
			"bus; restart it with the port in the configuration");
	if (cfg->queues > RIM_QUEUES_MAX)
		return rim_fail(
			err, -EINVAL, "queues: %u is not in 1-%u", cfg->queues, RIM_QUEUES_MAX);
	if (cfg->descriptors == 0)
		cfg->descriptors =
			cfg->kind == RIM_PORT_AF_XDP ? RIM_XDP_DESCRIPTORS : RIM_DESCRIPTORS;
	if (cfg->descriptors < 64 || cfg->descriptors > 32768 ||
		(cfg->descriptors & (cfg->descriptors - 1)) != 0)
		return rim_fail(err, -EINVAL, "descriptors: %u is not a power of two in 64-32768",
			cfg->descriptors);
	rc = rim_port_kinds[cfg->kind].check(cfg, err);
	if (rc != 0)
		return rc;
	if (cfg->queues == 0)
		cfg->queues = rim_port_queues_auto(cfg, rim->cfg.n_workers);
	if (cfg->mtu == 0 && rim_port_kinds[cfg->kind].kernel_iface)
		(void)rim_iface_get(cfg->iface, &running, &cfg->mtu);
	if (cfg->mtu == 0)
		cfg->mtu = 1500;
	if (cfg->mtu < 1280)
		return rim_fail(err, -EINVAL, "mtu: %u is below IPv6's 1280", cfg->mtu);
	if (cfg->mtu + 18u > rim->cfg.buffer_size)
		return rim_fail(err, -EINVAL,
			"mtu: %u does not fit into buffers of %u bytes; raise the buffer size",
			cfg->mtu, rim->cfg.buffer_size);
	return 0;
}

/* Asks the driver for the device: from here on there is an ethdev. */
static int probe(struct rim *rim, struct rim_port *p, struct rim_error *err)
{
	const struct rim_port_ops *ops = &rim_port_kinds[p->cfg.kind];
	char args[RIM_ARGS_MAX * 2], devargs[RIM_ARGS_MAX * 3 + 64], device[64];
	struct rte_eth_dev_info info;
	int rc;

	if (ops->args(&p->cfg, args, sizeof(args)) >= (int)sizeof(args))
		return rim_fail(
			err, -E2BIG, "%s: the device's arguments are too long", p->cfg.name);
	if (ops->vdev != NULL)
		snprintf(device, sizeof(device), "%s%u", ops->vdev, p->index);
	else
		snprintf(device, sizeof(device), "%s", p->cfg.pci);
	snprintf(devargs, sizeof(devargs), "%s%s%s%s%s", device, args[0] != '\0' ? "," : "", args,
		p->cfg.devargs[0] != '\0' ? "," : "", p->cfg.devargs);
	if (p->cfg.kind != RIM_PORT_ETHDEV) {
		rim_driver_error_clear();
		if (p->cfg.kind == RIM_PORT_AF_PACKET)
			rim_sockets_begin(p->cfg.queues, &p->sockets);
		rc = rte_dev_probe(devargs);
		rim_sockets_end();
		if (rc != 0)
			return rim_fail(err, rc, "%s: DPDK refuses %s: %s", p->cfg.name, devargs,
				rim_driver_error()[0] != '\0' ? rim_driver_error() : strerror(-rc));
		if (p->cfg.kind == RIM_PORT_AF_PACKET && p->sockets.n == 0)
			rim_log(rim, RIM_LOG_WARNING,
				"port %s: the kernel reassembles IPv4 fragments before they are "
				"received; datagrams larger than the MTU are cut off",
				p->cfg.name);
	}
	if (rte_eth_dev_get_port_by_name(device, &p->eth) != 0)
		return rim_fail(err, -ENODEV, "%s: %s made no ethdev", p->cfg.name, device);
	rc = rte_eth_dev_info_get(p->eth, &info);
	if (rc != 0)
		return rim_fail(err, rc, "%s: no information: %s", p->cfg.name, strerror(-rc));
	p->device = info.device;
	snprintf(p->driver, sizeof(p->driver), "%s", info.driver_name);
	return 0;
}

static void offloads_choose(
	const struct rim_port *p, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t csum = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
		RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	const uint64_t rss = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;

	if (rim_port_kinds[p->cfg.kind].rx_csum && (info->rx_offload_capa & csum) == csum)
		conf->rxmode.offloads |= csum;
	/* Not MBUF_FAST_FREE: buffers of AF_XDP ports come from other pools. */
	if (p->n_rxq > 1 && (info->flow_type_rss_offloads & rss) != 0) {
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & rss;
	}
	/* Interfaces of the kernel and shared memory keep the MTU they have. */
	if (rim_port_kinds[p->cfg.kind].vdev == NULL)
		conf->rxmode.mtu = p->cfg.mtu;
}

/* Whether marks of rules come with the buffers: some drivers want to be asked before the port is
 * configured. One that has no answer does what it always did, and the rules' first packets tell. */
static bool marks_agreed(const struct rim_port *p)
{
	uint64_t want = RTE_ETH_RX_METADATA_USER_MARK;
	int rc;

	if (!p->cfg.marks || (p->cfg.kind != RIM_PORT_PCI && p->cfg.kind != RIM_PORT_ETHDEV))
		return false;
	rc = rte_eth_rx_metadata_negotiate(p->eth, &want);
	return rc == -ENOTSUP || (rc == 0 && (want & RTE_ETH_RX_METADATA_USER_MARK) != 0);
}

static uint16_t smaller(uint32_t a, uint32_t b)
{
	return (uint16_t)(a < b ? a : b);
}

static int queues_setup(struct rim_port *p, uint16_t rxd, uint16_t txd)
{
	unsigned socket = (unsigned)rte_eth_dev_socket_id(p->eth);
	int rc = 0;

	if (p->cfg.kind == RIM_PORT_AF_XDP)
		rim_sockets_begin(p->n_rxq, &p->sockets);
	for (uint16_t q = 0; q < p->n_rxq && rc == 0; q++)
		rc = rte_eth_rx_queue_setup(p->eth, q, rxd, socket, NULL, p->pool);
	rim_sockets_end();
	for (uint16_t q = 0; q < p->n_txq && rc == 0; q++)
		rc = rte_eth_tx_queue_setup(p->eth, q, txd, socket, NULL);
	return rc;
}

static int configure(struct rim *rim, struct rim_port *p, struct rim_error *err)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	uint16_t rxd = p->cfg.descriptors, txd = p->cfg.descriptors;
	int rc = rte_eth_dev_info_get(p->eth, &info);

	if (rc != 0)
		return rim_fail(err, rc, "%s: no information: %s", p->cfg.name, strerror(-rc));
	p->n_rxq = smaller(p->cfg.queues, info.max_rx_queues);
	p->n_txq = smaller(rim->cfg.n_workers, info.max_tx_queues);
	if (rim_port_kinds[p->cfg.kind].queue_pairs)
		p->n_txq = p->n_rxq;
	if (p->n_txq > RIM_QUEUES_MAX)
		p->n_txq = RIM_QUEUES_MAX;
	if (p->n_rxq == 0 || p->n_txq == 0)
		return rim_fail(err, -ENODEV, "%s: the device has no queues", p->cfg.name);
	if (p->n_rxq < p->cfg.queues && !p->auto_queues)
		return rim_fail(err, -EINVAL, "%s: queues: %u, but the device has %u", p->cfg.name,
			p->cfg.queues, info.max_rx_queues);
	offloads_choose(p, &info, &conf);
	conf.intr_conf.rxq = p->rx_interrupt;
	p->marks = marks_agreed(p);
	rc = rte_eth_dev_configure(p->eth, p->n_rxq, p->n_txq, &conf);
	if (rc != 0)
		return rim_fail(err, rc, "%s: cannot be configured: %s", p->cfg.name,
			rim_driver_error()[0] != '\0' ? rim_driver_error() : strerror(-rc));
	rc = rim_port_pool(rim, p, err);
	if (rc != 0)
		return rc;
	(void)rte_eth_dev_adjust_nb_rx_tx_desc(p->eth, &rxd, &txd);
	rc = queues_setup(p, rxd, txd);
	if (rc != 0)
		return rim_fail(err, rc, "%s: queues: %s", p->cfg.name,
			rim_driver_error()[0] != '\0' ? rim_driver_error() : strerror(-rc));
	p->rx_csum = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0;
	p->tx_shared = p->n_txq < rim->cfg.n_workers;
	p->tx_retries = rim_port_kinds[p->cfg.kind].tx_retries;
	for (uint32_t q = 0; q < RIM_QUEUES_MAX; q++)
		rte_spinlock_init(&p->tx_lock[q]);
	p->mtu = p->cfg.mtu;
	if (rte_eth_macaddr_get(p->eth, &mac) == 0)
		memcpy(p->mac, mac.addr_bytes, sizeof(p->mac));
	return 0;
}

static int start(struct rim *rim, struct rim_port *p, struct rim_error *err)
{
	int rc = rte_eth_dev_start(p->eth);

	if (rc != 0)
		return rim_fail(err, rc, "%s: does not start: %s", p->cfg.name,
			rim_driver_error()[0] != '\0' ? rim_driver_error() : strerror(-rc));
	p->started = true;
	if (p->cfg.not_promiscuous)
		return 0;
	rc = rte_eth_promiscuous_enable(p->eth);
	if (rc != 0 && rc != -ENOTSUP)
		rim_log(rim, RIM_LOG_WARNING, "port %s: not promiscuous: %s", p->cfg.name,
			strerror(-rc));
	return 0;
}

/* A driver that cannot have receive interrupts here may say so by not starting. */
static int bring_up(struct rim *rim, struct rim_port *p, struct rim_error *err)
{
	int rc;

	p->rx_interrupt = rim_port_kinds[p->cfg.kind].rx_interrupt;
	rc = configure(rim, p, err);
	if (rc == 0)
		rc = start(rim, p, err);
	if (rc == 0 || !p->rx_interrupt)
		return rc;
	rim_log(rim, RIM_LOG_INFO, "%s; tried again without receive interrupts", err->text);
	p->rx_interrupt = false;
	rc = configure(rim, p, err);
	return rc != 0 ? rc : start(rim, p, err);
}

int rim_port_close(struct rim *rim, struct rim_port *p)
{
	struct rte_device *device = p->device;
	int rc = 0;

	if (p->started)
		rc = rte_eth_dev_stop(p->eth);
	p->started = false;
	if (rte_eth_dev_is_valid_port(p->eth) && rte_eth_dev_close(p->eth) != 0)
		rc = -EIO;
	/* Close releases the ethdev; the device below goes with its bus's help. One that we did not
	 * make may carry other ports: a NIC its representors. */
	if (device != NULL && p->cfg.kind != RIM_PORT_ETHDEV)
		(void)rte_dev_remove(device);
	rim_port_pool_gone(rim, p);
	if (rc != 0)
		rim_log(rim, RIM_LOG_WARNING, "port %s: did not stop cleanly: %s", p->cfg.name,
			strerror(-rc));
	return rc;
}

/* Each queue goes to the worker with the fewest, of several the lowest. */
static int queues_assign(struct rim *rim, struct rim_view *v, struct rim_port *p)
{
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		uint32_t best = 0;

		for (uint32_t n = 1; n < rim->cfg.n_workers; n++)
			if (v->n_rxq[n] < v->n_rxq[best])
				best = n;
		if (v->n_rxq[best] == RIM_RXQS_MAX)
			return -ENOSPC;
		v->rxq[best][v->n_rxq[best]++] = (struct rim_rxq){.eth = p->eth,
			.queue = q,
			.port = p->index,
			.csum = p->rx_csum,
			.marks = p->marks};
		p->rx_worker[q] = (uint8_t)best;
	}
	return 0;
}

static int link_update(struct rim_port *p, bool *up, uint32_t *speed)
{
	struct rte_eth_link link = {0};
	bool running = true;
	uint16_t mtu;

	*up = false;
	*speed = 0;
	if (rte_eth_link_get_nowait(p->eth, &link) != 0)
		return -EIO;
	/* Packet and XDP sockets say up whatever the interface does. */
	if (rim_port_kinds[p->cfg.kind].kernel_iface &&
		rim_iface_get(p->cfg.iface, &running, &mtu) != 0)
		running = false;
	*up = link.link_status == RTE_ETH_LINK_UP && running;
	if (link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN)
		*speed = link.link_speed;
	return 0;
}

static void link_publish(struct rim *rim, struct rim_port *p)
{
	bool up, changed;
	uint32_t speed;

	(void)link_update(p, &up, &speed);
	pthread_mutex_lock(&rim->lock);
	changed = up != p->up;
	p->speed = speed;
	p->up = up;
	pthread_mutex_unlock(&rim->lock);
	if (!changed)
		return;
	if (up) {
		atomic_fetch_or_explicit(&rim->ports_up, 1u << p->index, memory_order_relaxed);
		rim_wake_all(rim);
	} else
		atomic_fetch_and_explicit(&rim->ports_up, ~(1u << p->index), memory_order_relaxed);
	rim_log(rim, RIM_LOG_INFO, "port %s: link %s", p->cfg.name, up ? "up" : "down");
	if (rim->cfg.link != NULL)
		rim->cfg.link(rim->cfg.arg, p->index, up);
}

void rim_ports_poll(struct rim *rim)
{
	for (uint32_t n = 0; n < RIM_PORTS_MAX; n++)
		if (rim->port[n] != NULL)
			link_publish(rim, rim->port[n]);
}

static int publish(struct rim *rim, struct rim_port *p, struct rim_error *err)
{
	struct rim_view *v;

	if (rim_view_edit(rim, &v) != 0)
		return rim_fail(err, -ENOMEM, "%s: no memory", p->cfg.name);
	if (queues_assign(rim, v, p) != 0) {
		free(v);
		return rim_fail(err, -ENOSPC, "%s: the workers poll %u queues each already",
			p->cfg.name, RIM_RXQS_MAX);
	}
	rim_wait_port(rim, p);
	v->port[p->index] = p;
	pthread_mutex_lock(&rim->lock);
	rim->port[p->index] = p;
	pthread_mutex_unlock(&rim->lock);
	rim_view_publish(rim, v);
	link_publish(rim, p);
	return 0;
}

static const char *const wakes[] = {
	[RIM_WAKE_TIMER] = "timer",
	[RIM_WAKE_DESCRIPTOR] = "descriptor",
	[RIM_WAKE_INTERRUPT] = "interrupt",
};

int rim_port_add(
	struct rim *rim, const struct rim_port_config *cfg, uint16_t *index, struct rim_error *err)
{
	struct rim_port *p = calloc(1, sizeof(*p));
	int rc;

	if (p == NULL)
		return rim_fail(err, -ENOMEM, "%s: no memory", cfg->name);
	p->cfg = *cfg;
	p->auto_queues = cfg->queues == 0;
	p->eth = RTE_MAX_ETHPORTS;
	while (p->index < RIM_PORTS_MAX && rim->port[p->index] != NULL)
		p->index++;
	if (p->index == RIM_PORTS_MAX) {
		rc = rim_fail(err, -ENOSPC, "there are %u ports already", RIM_PORTS_MAX);
		goto fail;
	}
	rc = config_complete(rim, &p->cfg, err);
	if (rc != 0)
		goto fail;
	rc = probe(rim, p, err);
	if (rc == 0)
		rc = bring_up(rim, p, err);
	if (rc == 0)
		rc = publish(rim, p, err);
	if (rc != 0) {
		rim_port_close(rim, p);
		goto fail;
	}
	*index = p->index;
	rim_log(rim, RIM_LOG_INFO, "port %s: %s, %u receive and %u transmit queues%s, wakes by %s",
		p->cfg.name, p->driver, p->n_rxq, p->n_txq, p->tx_shared ? " (shared)" : "",
		wakes[p->wake]);
	return 0;
fail:
	free(p);
	return rc;
}

/* Takes the port out of the copy: its queues, and itself. */
static void view_drop_port(struct rim_view *v, const struct rim *rim, uint32_t index)
{
	for (uint32_t n = 0; n < rim->cfg.n_workers; n++) {
		uint32_t kept = 0;

		for (uint32_t q = 0; q < v->n_rxq[n]; q++)
			if (v->rxq[n][q].port != index)
				v->rxq[n][kept++] = v->rxq[n][q];
		v->n_rxq[n] = kept;
	}
	v->port[index] = NULL;
}

int rim_port_remove(struct rim *rim, uint16_t index, struct rim_error *err)
{
	struct rim_view *v;
	struct rim_port *p;
	int rc;

	if (index >= RIM_PORTS_MAX || rim->port[index] == NULL)
		return rim_fail(err, -ENOENT, "there is no port %u", index);
	p = rim->port[index];
	if (p->n_vports != 0)
		return rim_fail(err, -EBUSY, "%s: %u vports are on it; remove them first",
			p->cfg.name, p->n_vports);
	if (rim_view_edit(rim, &v) != 0)
		return rim_fail(err, -ENOMEM, "%s: no memory", p->cfg.name);
	view_drop_port(v, rim, index);
	rim_view_publish(rim, v);
	rc = rim_grace_wait(rim);
	if (rc == 0)
		rim_wait_port_gone(rim, p);
	else
		return rim_fail(err, rc,
			"%s: a worker does not pass; the port is out of use but its driver stays",
			p->cfg.name);
	pthread_mutex_lock(&rim->lock);
	rim->port[index] = NULL;
	atomic_fetch_and_explicit(&rim->ports_up, ~(1u << index), memory_order_relaxed);
	atomic_fetch_and_explicit(&rim->fenced, ~(1u << index), memory_order_relaxed);
	pthread_mutex_unlock(&rim->lock);
	rc = rim_port_close(rim, p);
	if (rc != 0)
		rim_fail(err, rc, "%s: did not stop cleanly: %s", p->cfg.name, strerror(-rc));
	free(p);
	return rc;
}
