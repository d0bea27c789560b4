/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Packet buffers: one pool for everything, and one more for each AF_XDP port.
 *
 * Control thread. The af_xdp driver keeps a few thousand buffers in the kernel's rings and never
 * gives them back, not even when it is closed; in the common pool each port that comes and goes
 * would leave a hole. So such a port has a pool of its own, which goes some time after the port:
 * stages may still hold packets of it (for FRAG_TIMEOUT_MS at most), and so may the transmit ring
 * of a NIC, for as long as it sends nothing. */

#include <errno.h>
#include <stdlib.h>

#include <rte_eal.h>

#include "io/rim_internal.h"

#define XDP_FILL_RING  2048 /* the driver's own constant */
#define POOL_LINGER_MS (10 * FRAG_TIMEOUT_MS)

struct rim_old_pool {
	struct rim_old_pool *next;
	struct rte_mempool *pool;
	uint32_t since_ms;
};

/* Without the flag, objects may not cross a page, because each must be contiguous for a device.
 * With IOVA as VA they are anyway; but for 4096-byte pages the rule leaves a gap behind every
 * buffer, and the af_xdp driver, which counts on none, gives only the first part of the pool to
 * the kernel: frames in the rest are lost. */
static struct rte_mempool *pool_new(
	const struct rim *rim, const char *name, uint32_t buffers, uint32_t cache)
{
	uint16_t room = (uint16_t)(RTE_PKTMBUF_HEADROOM + rim->cfg.buffer_size);
	struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = room};
	unsigned flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
	struct rte_mempool *mp;

	mp = rte_mempool_create_empty(name, buffers, (unsigned)(sizeof(struct rte_mbuf) + room),
		cache, sizeof(priv), SOCKET_ID_ANY, flags);
	if (mp == NULL)
		return NULL;
	rte_pktmbuf_pool_init(mp, &priv);
	if (rte_mempool_populate_default(mp) < 0) {
		rte_mempool_free(mp);
		return NULL;
	}
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return mp;
}

int rim_pool_start(struct rim *rim, struct rim_error *err)
{
	const struct rim_config *cfg = &rim->cfg;

	rim->pool = pool_new(rim, "sluice", cfg->buffers, RIM_CACHE);
	if (rim->pool == NULL)
		return rim_fail(err, -ENOMEM,
			"%u buffers of %u bytes do not fit into %u MB; raise the memory or lower "
			"the buffers",
			cfg->buffers, cfg->buffer_size, cfg->memory_mb);
	return 0;
}

int rim_port_pool(struct rim *rim, struct rim_port *p, struct rim_error *err)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	uint32_t buffers =
		(XDP_FILL_RING + 2u * p->cfg.descriptors) * p->n_rxq + RIM_CACHE * WORKERS_MAX / 4;

	p->pool = rim->pool;
	if (p->cfg.kind != RIM_PORT_AF_XDP)
		return 0;
	snprintf(name, sizeof(name), "sluice-xdp%u", rim->pools_made++);
	p->pool = pool_new(rim, name, buffers, RIM_CACHE / 4);
	if (p->pool == NULL)
		return rim_fail(err, -ENOMEM,
			"%s: %u buffers of its own do not fit into EAL's memory; raise it",
			p->cfg.name, buffers);
	return 0;
}

void rim_port_pool_gone(struct rim *rim, struct rim_port *p)
{
	struct rim_old_pool *old;

	if (p->pool == NULL || p->pool == rim->pool)
		return;
	old = malloc(sizeof(*old));
	if (old == NULL)
		return; /* EAL's memory ends with the process */
	old->pool = p->pool;
	old->since_ms = rim_now_ms(rim);
	old->next = rim->old_pools;
	rim->old_pools = old;
	p->pool = NULL;
}

/* Ports whose driver may keep a sent buffer without bound. */
static bool any_nic(const struct rim *rim)
{
	for (uint32_t n = 0; n < RIM_PORTS_MAX; n++)
		if (rim->port[n] != NULL && rim_port_kinds[rim->port[n]->cfg.kind].vdev == NULL)
			return true;
	return false;
}

void rim_pools_reap(struct rim *rim, bool all)
{
	struct rim_old_pool **at = &rim->old_pools;

	while (*at != NULL) {
		struct rim_old_pool *old = *at;

		if (!all && (any_nic(rim) || rim_now_ms(rim) - old->since_ms < POOL_LINGER_MS)) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		rte_mempool_free(old->pool);
		free(old);
	}
}

void rim_buffers(const struct rim *rim, uint32_t *in_use, uint32_t *total)
{
	*in_use = rte_mempool_in_use_count(rim->pool);
	*total = rim->pool->size;
}
