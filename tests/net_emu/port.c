/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A port of the NIC as an ethdev: queues, start and stop, link, statistics.
 *
 * Control calls run on the program's thread, bursts on its workers. A burst only moves pointers
 * between rings: the e-switch does the rest. */

#include <inttypes.h>

#include <rte_errno.h>
#include <rte_malloc.h>

#include "emu.h"

#define MTU_MAX 9600

#define ADD(counter, n) atomic_fetch_add_explicit(&(counter), n, memory_order_relaxed)
#define GET(counter)    atomic_load_explicit(&(counter), memory_order_relaxed)

/* --- bursts -------------------------------------------------------------------------------------
 */

uint16_t emu_rx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct emu_rxq *q = queue;
	uint64_t bytes = 0;

	n = (uint16_t)rte_ring_sc_dequeue_burst(q->ring, (void **)pkts, n, NULL);
	if (n == 0)
		return 0;
	for (uint16_t i = 0; i < n; i++)
		bytes += rte_pktmbuf_pkt_len(pkts[i]);
	ADD(q->packets, n);
	ADD(q->bytes, bytes);
	return n;
}

uint16_t emu_tx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct emu_txq *q = queue;
	struct emu_port *port = q->port;
	uint64_t bytes = 0, len[EMU_BURST];
	uint16_t sent;

	if (port->nic->removed)
		return 0;
	n = RTE_MIN(n, EMU_BURST);
	/* Once in the ring a frame is the e-switch's. */
	for (uint16_t i = 0; i < n; i++)
		len[i] = rte_pktmbuf_pkt_len(pkts[i]);
	sent = (uint16_t)rte_ring_mp_enqueue_burst(port->tx_ring, (void **)pkts, n, NULL);
	for (uint16_t i = 0; i < sent; i++)
		bytes += len[i];
	ADD(q->packets, sent);
	ADD(q->bytes, bytes);
	ADD(q->full, n - sent);
	return sent;
}

/* --- queues -------------------------------------------------------------------------------------
 */

static void ring_drain(struct rte_ring *ring)
{
	void *m;

	while (ring != NULL && rte_ring_dequeue(ring, &m) == 0)
		rte_pktmbuf_free(m);
}

static void rxq_release(struct emu_port *port, uint16_t index)
{
	struct rte_ring *ring = atomic_exchange(&port->rxq[index].ring, NULL);

	emu_quiesce(port->nic);
	ring_drain(ring);
	rte_ring_free(ring);
	port->rxq[index].pool = NULL;
}

static void op_rxq_release(struct rte_eth_dev *eth, uint16_t index)
{
	if (eth->data->rx_queues != NULL && eth->data->rx_queues[index] != NULL)
		rxq_release(emu_port_of(eth), index);
}

static int op_rxq_setup(struct rte_eth_dev *eth, uint16_t index, uint16_t descriptors,
	unsigned socket, const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct emu_port *port = emu_port_of(eth);
	struct emu_rxq *q = &port->rxq[index];
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *ring;

	snprintf(name, sizeof(name), "emu%u_%u_rx%u", port->nic->number, port->index, index);
	ring = rte_ring_create(name, rte_align32pow2(descriptors + 1u), SOCKET_ID_ANY,
		RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (ring == NULL)
		return -rte_errno;
	q->port = port;
	q->index = index;
	q->pool = pool;
	atomic_store_explicit(&q->ring, ring, memory_order_release);
	eth->data->rx_queues[index] = q;
	return 0;
}

static int op_txq_setup(struct rte_eth_dev *eth, uint16_t index, uint16_t descriptors,
	unsigned socket, const struct rte_eth_txconf *conf)
{
	struct emu_port *port = emu_port_of(eth);

	port->txq[index].port = port;
	eth->data->tx_queues[index] = &port->txq[index];
	return 0;
}

/* --- start and stop -----------------------------------------------------------------------------
 */

static int op_configure(struct rte_eth_dev *eth)
{
	return 0;
}

static int op_link_update(struct rte_eth_dev *eth, int wait)
{
	const struct emu_port *port = emu_port_of(eth);
	struct rte_eth_link link = {
		.link_speed = RTE_ETH_SPEED_NUM_25G,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
		.link_status = port->started && port->carrier && !port->nic->removed,
	};

	return rte_eth_linkstatus_set(eth, &link);
}

void emu_port_link(struct emu_port *port, bool up)
{
	port->carrier = up;
	if (op_link_update(port->eth, 0) == 0)
		rte_eth_dev_callback_process(port->eth, RTE_ETH_EVENT_INTR_LSC, NULL);
}

static int op_start(struct rte_eth_dev *eth)
{
	struct emu_port *port = emu_port_of(eth);
	int rc;

	if (port->nic->removed)
		return -EIO;
	if (port->nic->profile->proxy_first && port->index != 0 && !port->nic->port[0]->started) {
		EMU_LOG(ERR, "%s: the transfer proxy starts first", eth->data->name);
		return -EAGAIN;
	}
	rc = emu_wire_open(port);
	if (rc != 0)
		return rc;
	port->n_rxq = eth->data->nb_rx_queues;
	atomic_store_explicit(&port->started, true, memory_order_release);
	op_link_update(eth, 0);
	return 0;
}

static bool others_started(const struct emu_port *port)
{
	for (uint16_t i = 1; i < port->nic->n_ports; i++)
		if (port->nic->port[i] != NULL && port->nic->port[i]->started)
			return true;
	return false;
}

static int op_stop(struct rte_eth_dev *eth)
{
	struct emu_port *port = emu_port_of(eth);
	struct emu_nic *nic = port->nic;

	if (nic->profile->proxy_first && port->index == 0 && !nic->removed &&
		others_started(port)) {
		EMU_LOG(ERR, "%s: the transfer proxy stops last", eth->data->name);
		return -EBUSY;
	}
	if (!TAILQ_EMPTY(&port->rules))
		nic->fc.stops_with_rules++;
	atomic_store_explicit(&port->started, false, memory_order_release);
	emu_quiesce(nic);
	ring_drain(port->tx_ring);
	for (uint16_t i = 0; i < EMU_QUEUES_MAX; i++)
		ring_drain(port->rxq[i].ring);
	if (nic->profile->at_stop == EMU_STOP_VANISH)
		emu_flow_drop_all(port);
	op_link_update(eth, 0);
	return 0;
}

int emu_port_close(struct rte_eth_dev *eth)
{
	struct emu_port *port = emu_port_of(eth);
	struct emu_nic *nic = port->nic;
	struct rte_flow *rule;

	atomic_store_explicit(&port->started, false, memory_order_release);
	TAILQ_FOREACH (rule, &port->rules, of_port)
		nic->fc.rules_leaked++;
	emu_flow_drop_all(port);
	atomic_store_explicit(&nic->port[port->index], NULL, memory_order_release);
	emu_quiesce(nic);
	emu_wire_close(port);
	for (uint16_t i = 0; i < EMU_QUEUES_MAX; i++)
		rxq_release(port, i);
	ring_drain(port->tx_ring);
	rte_ring_free(port->tx_ring);
	port->tx_ring = NULL;
	/* ethdev releases the queues after this call. */
	for (uint16_t i = 0; i < eth->data->nb_rx_queues; i++)
		eth->data->rx_queues[i] = NULL;
	return 0;
}

/* --- what it is ---------------------------------------------------------------------------------
 */

static int op_info(struct rte_eth_dev *eth, struct rte_eth_dev_info *info)
{
	const struct emu_port *port = emu_port_of(eth);

	info->max_mac_addrs = 1;
	info->max_rx_pktlen = MTU_MAX + RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN;
	info->max_mtu = MTU_MAX;
	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_rx_queues = EMU_QUEUES_MAX;
	info->max_tx_queues = EMU_QUEUES_MAX;
	info->min_rx_bufsize = 0;
	info->speed_capa = RTE_ETH_LINK_SPEED_25G;
	info->rx_offload_capa = RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH;
	info->rx_queue_offload_capa = 0;
	info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	/* Accepted and ignored: one hash serves all. */
	info->flow_type_rss_offloads = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
	info->hash_key_size = 40;
	info->rx_desc_lim = (struct rte_eth_desc_lim){.nb_max = 32768, .nb_min = 32, .nb_align = 1};
	info->tx_desc_lim = info->rx_desc_lim;
	info->default_rxportconf.ring_size = 1024;
	info->default_txportconf.ring_size = 1024;
	info->switch_info.name = port->nic->name;
	info->switch_info.domain_id = port->nic->switch_domain;
	info->switch_info.port_id = port->index;
	if (port->nic->profile->at_stop == EMU_STOP_KEEP)
		info->dev_capa |= RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP;
	else
		info->dev_capa &= ~RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP;
	return 0;
}

static int op_representors(struct rte_eth_dev *eth, struct rte_eth_representor_info *info)
{
	const struct emu_nic *nic = emu_port_of(eth)->nic;

	if (info == NULL)
		return 1;
	info->controller = 0;
	info->pf = 0;
	info->nb_ranges = info->nb_ranges_alloc != 0;
	if (info->nb_ranges == 0)
		return 1;
	memset(&info->ranges[0], 0, sizeof(info->ranges[0]));
	info->ranges[0].type = RTE_ETH_REPRESENTOR_VF;
	info->ranges[0].controller = -1;
	info->ranges[0].pf = -1;
	info->ranges[0].id_end = (uint32_t)(nic->n_ports > 1 ? nic->n_ports - 2 : 0);
	snprintf(info->ranges[0].name, sizeof(info->ranges[0].name), "vf");
	return 1;
}

static int op_is_removed(struct rte_eth_dev *eth)
{
	return emu_port_of(eth)->nic->removed;
}

static int op_mtu(struct rte_eth_dev *eth, uint16_t mtu)
{
	emu_port_of(eth)->mtu = mtu;
	return 0;
}

static int op_mac(struct rte_eth_dev *eth, struct rte_ether_addr *mac)
{
	return 0;
}

/* Every frame of the wire comes up: there is no filter to switch. */
static int op_nothing(struct rte_eth_dev *eth)
{
	return 0;
}

static int op_rss(struct rte_eth_dev *eth, struct rte_eth_rss_conf *conf)
{
	return 0;
}

static int op_metadata(struct rte_eth_dev *eth, uint64_t *features)
{
	const struct emu_profile *pf = emu_port_of(eth)->nic->profile;

	*features &= pf->actions[EMU_INGRESS] & EMU_A(MARK)
		? RTE_ETH_RX_METADATA_USER_MARK | RTE_ETH_RX_METADATA_USER_FLAG
		: 0;
	return 0;
}

static int op_flow_ops(struct rte_eth_dev *eth, const struct rte_flow_ops **ops)
{
	*ops = &emu_flow_ops;
	return 0;
}

/* --- statistics ---------------------------------------------------------------------------------
 */

static int op_stats(struct rte_eth_dev *eth, struct rte_eth_stats *st)
{
	const struct emu_port *port = emu_port_of(eth);

	for (unsigned i = 0; i < EMU_QUEUES_MAX; i++) {
		st->ipackets += GET(port->rxq[i].packets);
		st->ibytes += GET(port->rxq[i].bytes);
		st->imissed += GET(port->rxq[i].missed);
		st->opackets += GET(port->txq[i].packets);
		st->obytes += GET(port->txq[i].bytes);
	}
	st->oerrors = GET(port->tx_lost);
	return 0;
}

static int op_stats_reset(struct rte_eth_dev *eth)
{
	struct emu_port *port = emu_port_of(eth);

	for (unsigned i = 0; i < EMU_QUEUES_MAX; i++) {
		port->rxq[i].packets = port->rxq[i].bytes = port->rxq[i].missed = 0;
		port->txq[i].packets = port->txq[i].bytes = port->txq[i].full = 0;
	}
	port->tx_lost = 0;
	return 0;
}

/* Per port, then the NIC's, which every port shows. */
static int xstats_fill(const struct emu_port *port, struct rte_eth_xstat_name *names,
	struct rte_eth_xstat *values, unsigned n)
{
	const struct emu_nic *nic = port->nic;
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"wire_rx_packets", GET(port->wire_rx)},
		{"wire_tx_packets", GET(port->wire_tx)},
		{"hw_packets", GET(port->hw_packets)},
		{"hw_bytes", GET(port->hw_bytes)},
		{"nic_to_cpu_packets", GET(nic->sw.to_cpu)},
		{"nic_rule_drops", GET(nic->sw.rule_drops)},
		{"nic_mtu_drops", GET(nic->sw.mtu_drops)},
		{"nic_error_drops", GET(nic->sw.error_drops)},
		{"nic_ttl_misses", GET(nic->sw.ttl_misses)},
		{"nic_rules", GET(nic->fc.rules)},
		{"nic_rule_creates", GET(nic->fc.creates)},
		{"nic_rule_creates_failed", GET(nic->fc.creates_failed)},
		{"nic_rule_destroys", GET(nic->fc.destroys)},
		{"nic_rule_destroys_failed", GET(nic->fc.destroys_failed)},
		{"nic_bad_handles", GET(nic->fc.bad_handles)},
	};

	for (unsigned i = 0; i < RTE_DIM(all) && i < n; i++) {
		if (names != NULL)
			snprintf(names[i].name, sizeof(names[i].name), "%s", all[i].name);
		if (values != NULL)
			values[i] = (struct rte_eth_xstat){.id = i, .value = all[i].value};
	}
	return RTE_DIM(all);
}

static int op_xstats(struct rte_eth_dev *eth, struct rte_eth_xstat *values, unsigned n)
{
	return xstats_fill(emu_port_of(eth), NULL, values, n);
}

static int op_xstats_names(struct rte_eth_dev *eth, struct rte_eth_xstat_name *names, unsigned n)
{
	return xstats_fill(emu_port_of(eth), names, NULL, n);
}

#define PORT_OPS                                                                            \
	.dev_configure = op_configure, .dev_start = op_start, .dev_stop = op_stop,          \
	.dev_close = emu_port_close, .dev_infos_get = op_info, .is_removed = op_is_removed, \
	.link_update = op_link_update, .promiscuous_enable = op_nothing,                    \
	.promiscuous_disable = op_nothing, .allmulticast_enable = op_nothing,               \
	.allmulticast_disable = op_nothing, .mac_addr_set = op_mac, .mtu_set = op_mtu,      \
	.stats_get = op_stats, .stats_reset = op_stats_reset, .xstats_get = op_xstats,      \
	.xstats_get_names = op_xstats_names, .rx_queue_setup = op_rxq_setup,                \
	.rx_queue_release = op_rxq_release, .tx_queue_setup = op_txq_setup,                 \
	.rss_hash_update = op_rss, .rx_metadata_negotiate = op_metadata,                    \
	.representor_info_get = op_representors

const struct eth_dev_ops emu_port_ops = {PORT_OPS, .flow_ops_get = op_flow_ops};
const struct eth_dev_ops emu_port_ops_no_flow = {PORT_OPS};
