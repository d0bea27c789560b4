/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The vdev driver "net_tuples": a source of packets that costs little however many flows there are,
 *and a sink.
 *
 *	--vdev=net_tuples0,file=FILE.pcap
 *
 * The file's frames may differ in nothing but addresses, ports and checksums of IPv4 with UDP or
 *TCP. The first is kept whole, of each the 16 bytes that differ; a burst copies the one and writes
 *the other into fresh buffers, in the file's order and for ever. So a million flows are 16 MB that
 *are read in a row, where net_pcap holds a buffer a packet. What is sent is freed. A plug-in (EAL's
 *-d) that sluiced, testpmd and OVS-DPDK load alike; it refuses to work in another release of DPDK
 *than the one it was built for. One receive queue. Control calls run on the program's thread,
 *bursts on its workers. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_kvargs.h>
#include <rte_malloc.h>
#include <rte_version.h>

#define TXQ_MAX     16
#define FRAME_MAX   1514
#define PCAP_MAGIC  0xa1b2c3d4u
#define L3          14
#define L4          34
#define COPIED_FAST 64 /* bytes that every frame gets in one piece */

/* As they stand in the frame, network order. */
struct tuple {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint16_t ip_csum, l4_csum;
};

_Static_assert(sizeof(struct tuple) == 16, "four tuples a line");

struct source {
	struct tuple *tuples;
	uint32_t n, at;
	uint16_t len, l4_csum_at, port;
	struct rte_mempool *pool;
	uint64_t received, no_buffer;
	uint8_t frame[RTE_ALIGN(FRAME_MAX, COPIED_FAST)] __rte_cache_aligned;
};

/* A line each: workers send on their own. */
struct txq {
	uint64_t sent;
} __rte_cache_aligned;

RTE_LOG_REGISTER_DEFAULT(tuples_logtype, NOTICE)
#define SAY(...) rte_log(RTE_LOG_ERR, tuples_logtype, "net_tuples: " __VA_ARGS__)

/* --- bursts -------------------------------------------------------------------------------------
 */

static uint16_t receive(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct source *s = queue;
	uint32_t at = s->at;

	if (unlikely(rte_pktmbuf_alloc_bulk(s->pool, pkts, n) != 0)) {
		s->no_buffer++;
		return 0;
	}
	for (uint16_t i = 0; i < n; i++) {
		const struct tuple *t = &s->tuples[at];
		struct rte_mbuf *m = pkts[i];
		uint8_t *f = rte_pktmbuf_mtod(m, uint8_t *);

		memcpy(f, s->frame, COPIED_FAST);
		if (unlikely(s->len > COPIED_FAST))
			memcpy(f + COPIED_FAST, s->frame + COPIED_FAST, s->len - COPIED_FAST);
		memcpy(f + L3 + 10, &t->ip_csum, 2);
		memcpy(f + L3 + 12, &t->src, 8);
		memcpy(f + L4, &t->sport, 4);
		memcpy(f + s->l4_csum_at, &t->l4_csum, 2);
		m->data_len = s->len;
		m->pkt_len = s->len;
		m->port = s->port;
		at = at + 1 == s->n ? 0 : at + 1;
	}
	s->at = at;
	s->received += n;
	return n;
}

static uint16_t sink(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct txq *q = queue;

	rte_pktmbuf_free_bulk(pkts, n);
	q->sent += n;
	return n;
}

/* --- the file -----------------------------------------------------------------------------------
 */

static void split(const struct source *s, const uint8_t *f, struct tuple *t)
{
	memcpy(&t->ip_csum, f + L3 + 10, 2);
	memcpy(&t->src, f + L3 + 12, 8);
	memcpy(&t->sport, f + L4, 4);
	memcpy(&t->l4_csum, f + s->l4_csum_at, 2);
}

/* The frame with nothing in the places of a tuple. */
static void blank(const struct source *s, uint8_t *f)
{
	memset(f + L3 + 10, 0, 10);
	memset(f + L4, 0, 4);
	memset(f + s->l4_csum_at, 0, 2);
}

static int first_frame(struct source *s, const uint8_t *f, uint32_t len)
{
	bool udp = f[L3 + 9] == 17, tcp = f[L3 + 9] == 6;

	if (len < 60 || len > FRAME_MAX || f[12] != 0x08 || f[13] != 0 || f[L3] != 0x45 ||
		(!udp && !tcp)) {
		SAY("frames must be IPv4 without options, UDP or TCP, of 60 to %d bytes\n",
			FRAME_MAX);
		return -EINVAL;
	}
	s->len = (uint16_t)len;
	s->l4_csum_at = (uint16_t)(L4 + (udp ? 6 : 16));
	memcpy(s->frame, f, len);
	blank(s, s->frame);
	return 0;
}

static int add_frame(struct source *s, const uint8_t *f, uint32_t len, uint32_t *room)
{
	uint8_t copy[FRAME_MAX];
	int rc = 0;

	if (s->n == 0)
		rc = first_frame(s, f, len);
	if (rc != 0)
		return rc;
	memcpy(copy, f, RTE_MIN(len, sizeof(copy)));
	if (len == s->len)
		blank(s, copy);
	if (len != s->len || memcmp(copy, s->frame, len) != 0) {
		SAY("frame %u differs from the first in more than addresses, ports and checksums\n",
			s->n);
		return -EINVAL;
	}
	if (s->n == *room) {
		struct tuple *more =
			rte_realloc(s->tuples, sizeof(*more) * *room * 2 + 64 * sizeof(*more), 64);

		if (more == NULL)
			return -ENOMEM;
		s->tuples = more;
		*room = *room * 2 + 64;
	}
	split(s, f, &s->tuples[s->n++]);
	return 0;
}

static int read_file(const char *key, const char *path, void *arg)
{
	struct source *s = arg;
	uint8_t f[FRAME_MAX];
	uint32_t head[6], record[4], room = 0;
	FILE *in = fopen(path, "rb");
	int rc = 0;

	if (in == NULL) {
		SAY("%s: %s\n", path, strerror(errno));
		return -errno;
	}
	if (fread(head, sizeof(head), 1, in) != 1 || head[0] != PCAP_MAGIC) {
		SAY("%s is no pcap file of this machine's byte order\n", path);
		rc = -EINVAL;
	}
	while (rc == 0 && fread(record, sizeof(record), 1, in) == 1) {
		if (record[2] > sizeof(f) || fread(f, record[2], 1, in) != 1)
			rc = -EINVAL;
		else
			rc = add_frame(s, f, record[2], &room);
	}
	fclose(in);
	if (rc == 0 && s->n == 0)
		rc = -EINVAL;
	return rc;
}

/* --- the device ---------------------------------------------------------------------------------
 */

static int op_nothing(struct rte_eth_dev *eth)
{
	return 0;
}

static int op_link(struct rte_eth_dev *eth, int wait)
{
	struct rte_eth_link link = {
		.link_speed = RTE_ETH_SPEED_NUM_100G,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
		.link_status = eth->data->dev_started,
	};

	return rte_eth_linkstatus_set(eth, &link);
}

static int op_start(struct rte_eth_dev *eth)
{
	eth->data->dev_started = 1;
	return op_link(eth, 0);
}

static int op_stop(struct rte_eth_dev *eth)
{
	eth->data->dev_started = 0;
	return op_link(eth, 0);
}

static int op_info(struct rte_eth_dev *eth, struct rte_eth_dev_info *info)
{
	info->max_mac_addrs = 1;
	info->max_rx_pktlen = 1518;
	info->max_mtu = 1500;
	info->max_rx_queues = 1;
	info->max_tx_queues = TXQ_MAX;
	info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	return 0;
}

static int op_mtu(struct rte_eth_dev *eth, uint16_t mtu)
{
	return 0;
}

static int op_rxq(struct rte_eth_dev *eth, uint16_t index, uint16_t descriptors, unsigned socket,
	const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct source *s = eth->data->dev_private;

	if (rte_pktmbuf_data_room_size(pool) <
		RTE_PKTMBUF_HEADROOM + RTE_ALIGN(s->len, COPIED_FAST))
		return -EINVAL;
	s->pool = pool;
	s->port = eth->data->port_id;
	eth->data->rx_queues[index] = s;
	return 0;
}

static int op_txq(struct rte_eth_dev *eth, uint16_t index, uint16_t descriptors, unsigned socket,
	const struct rte_eth_txconf *conf)
{
	struct txq *q = rte_zmalloc("net_tuples", sizeof(*q), RTE_CACHE_LINE_SIZE);

	if (q == NULL)
		return -ENOMEM;
	eth->data->tx_queues[index] = q;
	return 0;
}

static void op_txq_release(struct rte_eth_dev *eth, uint16_t index)
{
	rte_free(eth->data->tx_queues[index]);
}

static int op_stats(struct rte_eth_dev *eth, struct rte_eth_stats *st)
{
	const struct source *s = eth->data->dev_private;

	st->ipackets = s->received;
	st->ibytes = s->received * s->len;
	st->rx_nombuf = s->no_buffer;
	for (uint32_t i = 0; i < eth->data->nb_tx_queues; i++)
		st->opackets += ((const struct txq *)eth->data->tx_queues[i])->sent;
	st->obytes = st->opackets * s->len;
	return 0;
}

static int op_stats_reset(struct rte_eth_dev *eth)
{
	struct source *s = eth->data->dev_private;

	s->received = s->no_buffer = 0;
	for (uint32_t i = 0; i < eth->data->nb_tx_queues; i++)
		((struct txq *)eth->data->tx_queues[i])->sent = 0;
	return 0;
}

static int op_close(struct rte_eth_dev *eth)
{
	struct source *s = eth->data->dev_private;

	rte_free(s->tuples);
	s->tuples = NULL;
	/* ethdev frees the addresses with the port; the rest of its private data, too. */
	eth->data->mac_addrs = NULL;
	return 0;
}

static const struct eth_dev_ops ops = {
	.dev_configure = op_nothing,
	.dev_start = op_start,
	.dev_stop = op_stop,
	.dev_close = op_close,
	.dev_infos_get = op_info,
	.link_update = op_link,
	.promiscuous_enable = op_nothing,
	.promiscuous_disable = op_nothing,
	.allmulticast_enable = op_nothing,
	.allmulticast_disable = op_nothing,
	.mtu_set = op_mtu,
	.rx_queue_setup = op_rxq,
	.tx_queue_setup = op_txq,
	.tx_queue_release = op_txq_release,
	.stats_get = op_stats,
	.stats_reset = op_stats_reset,
};

static int probe(struct rte_vdev_device *vdev)
{
	static struct rte_ether_addr mac = {{0x02, 0, 0, 0, 0, 0x10}};
	static const char *const keys[] = {"file", NULL};
	struct rte_kvargs *args;
	struct rte_eth_dev *eth;
	int rc;

	if (strcmp(rte_version(), TUPLES_BUILT_FOR) != 0) {
		SAY("built for %s, this is %s\n", TUPLES_BUILT_FOR, rte_version());
		return -EINVAL;
	}
	args = rte_kvargs_parse(rte_vdev_device_args(vdev), keys);
	if (args == NULL || rte_kvargs_count(args, "file") != 1) {
		SAY("wants file=FILE.pcap\n");
		rte_kvargs_free(args);
		return -EINVAL;
	}
	eth = rte_eth_vdev_allocate(vdev, sizeof(struct source));
	if (eth == NULL) {
		rte_kvargs_free(args);
		return -ENOMEM;
	}
	rc = rte_kvargs_process(args, "file", read_file, eth->data->dev_private);
	rte_kvargs_free(args);
	if (rc != 0) {
		rte_free(((struct source *)eth->data->dev_private)->tuples);
		rte_eth_dev_release_port(eth);
		return -EINVAL;
	}
	eth->data->mac_addrs = &mac;
	eth->data->nb_rx_queues = 1;
	eth->dev_ops = &ops;
	eth->rx_pkt_burst = receive;
	eth->tx_pkt_burst = sink;
	rte_eth_dev_probing_finish(eth);
	return 0;
}

static int removed(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *eth = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (eth == NULL)
		return 0;
	op_close(eth);
	return rte_eth_dev_release_port(eth);
}

static struct rte_vdev_driver driver = {.probe = probe, .remove = removed};

RTE_PMD_REGISTER_VDEV(net_tuples, driver);
RTE_PMD_REGISTER_PARAM_STRING(net_tuples, "file=<path>");
