/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What people can ask about ports. Any thread: the rim's lock keeps a port from being closed in
 * the middle; control holds it only to enter or strike a port, never while a driver works. */

#include <errno.h>
#include <string.h>

#include "io/rim_internal.h"

int rim_port_find(struct rim *rim, const char *name)
{
	int found = -ENOENT;

	pthread_mutex_lock(&rim->lock);
	for (int n = 0; n < RIM_PORTS_MAX; n++)
		if (rim->port[n] != NULL && strcmp(rim->port[n]->cfg.name, name) == 0)
			found = n;
	pthread_mutex_unlock(&rim->lock);
	return found;
}

static const char *where(const struct rim_port_config *cfg)
{
	if (cfg->pci[0] != '\0')
		return cfg->pci;
	if (cfg->iface[0] != '\0')
		return cfg->iface;
	return cfg->path[0] != '\0' ? cfg->path : cfg->tx_path;
}

static void info_fill(const struct rim_port *p, struct rim_port_info *out)
{
	*out = (struct rim_port_info){
		.index = p->index,
		.ethdev = p->eth,
		.kind = p->cfg.kind,
		.up = p->up,
		.marks = p->marks,
		.rx_checksum = p->rx_csum,
		.tx_shared = p->tx_shared,
		.speed_mbps = p->speed,
		.mtu = p->mtu,
		.rx_queues = p->n_rxq,
		.tx_queues = p->n_txq,
		.vports = (uint16_t)p->n_vports,
	};
	snprintf(out->name, sizeof(out->name), "%s", p->cfg.name);
	snprintf(out->where, sizeof(out->where), "%s", where(&p->cfg));
	snprintf(out->driver, sizeof(out->driver), "%s", p->driver);
	memcpy(out->mac, p->mac, sizeof(out->mac));
	memcpy(out->rx_worker, p->rx_worker, sizeof(out->rx_worker));
}

uint32_t rim_port_list(struct rim *rim, struct rim_port_info *info, uint32_t n)
{
	uint32_t found = 0;

	pthread_mutex_lock(&rim->lock);
	for (uint32_t i = 0; i < RIM_PORTS_MAX; i++) {
		if (rim->port[i] == NULL)
			continue;
		if (found < n)
			info_fill(rim->port[i], &info[found]);
		found++;
	}
	pthread_mutex_unlock(&rim->lock);
	return found;
}

int rim_port_stats(struct rim *rim, uint16_t index, struct rim_port_stats *out)
{
	uint64_t missed = 0;
	struct rte_eth_stats s;
	int rc = -ENOENT;

	pthread_mutex_lock(&rim->lock);
	if (index < RIM_PORTS_MAX && rim->port[index] != NULL) {
		struct rim_port *p = rim->port[index];

		if (p->cfg.kind == RIM_PORT_AF_PACKET)
			rim_sockets_missed(&p->sockets, &p->missed);
		missed = p->missed;
		rc = rte_eth_stats_get(p->eth, &s);
	}
	pthread_mutex_unlock(&rim->lock);
	if (rc != 0)
		return rc;
	*out = (struct rim_port_stats){
		.rx_packets = s.ipackets,
		.rx_bytes = s.ibytes,
		.rx_missed = s.imissed + missed,
		.rx_errors = s.ierrors,
		.rx_no_buffer = s.rx_nombuf,
		.tx_packets = s.opackets,
		.tx_bytes = s.obytes,
		.tx_errors = s.oerrors,
	};
	return 0;
}
