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

#include "io/rim_internal.h"

#define XDP_FILL_RING  2048 /* the driver's own constant */
#define POOL_LINGER_MS (10 * FRAG_TIMEOUT_MS)

struct rim_old_pool {
	struct rim_old_pool *next;
	struct rte_mempool *pool;
	uint32_t since_ms;
};

static struct rte_mempool *pool_new(
	const struct rim *rim, const char *name, uint32_t buffers, uint32_t cache)
{
	return rte_pktmbuf_pool_create(name, buffers, cache, 0,
		(uint16_t)(RTE_PKTMBUF_HEADROOM + rim->cfg.buffer_size), SOCKET_ID_ANY);
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
