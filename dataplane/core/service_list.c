/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Endpoint lists with their Maglev tables (see service.h). Control thread builds, workers read;
 * immutable from birth. */

#include <stdlib.h>
#include <string.h>

#include "core/maglev.h"
#include "core/service.h"

static int compare(const void *a, const void *b)
{
	const struct svc_backend *x = a, *y = b;
	int c = ip_compare(&x->addr, &y->addr);

	if (c != 0)
		return c;
	return (int)ntohs(x->port) - (int)ntohs(y->port);
}

/* Of address and port as bytes, so that it is equal on every machine and after every restart. */
static uint64_t identity(const struct svc_backend *b)
{
	uint64_t h = UINT64_C(0x536c7569636500a1);
	uint8_t bytes[18];

	memcpy(bytes, b->addr.bytes, 16);
	memcpy(bytes + 16, &b->port, 2);
	for (size_t i = 0; i < sizeof(bytes); i++)
		h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

/* Sorted; an endpoint given twice counts once. Returns how many are left. */
static uint32_t sort_unique(struct svc_backend *b, uint32_t n)
{
	uint32_t kept = 0;

	qsort(b, n, sizeof(*b), compare);
	for (uint32_t i = 0; i < n; i++)
		if (kept == 0 || compare(&b[kept - 1], &b[i]) != 0)
			b[kept++] = b[i];
	return kept;
}

static int table_build(const struct svc_list *l, uint16_t *table)
{
	uint64_t *seeds = malloc(l->n * (sizeof(*seeds) + 3 * sizeof(uint32_t)));
	int ret;

	if (seeds == NULL)
		return -1;
	for (uint32_t i = 0; i < l->n; i++)
		seeds[i] = identity(&l->backends[i]);
	ret = maglev_build(seeds, l->n, l->maglev_size, table, (uint32_t *)(seeds + l->n));
	free(seeds);
	return ret;
}

struct svc_list *svc_list_new(const struct svc_backend *backends, uint32_t n)
{
	struct svc_list *l;
	uint16_t *table;
	uint32_t size;

	if (n > SVC_BACKENDS_MAX)
		return NULL;
	/* A single endpoint, which most services have, needs no table to choose from. */
	size = n == 0 ? 0 : n == 1 ? 1 : maglev_size_for(n);
	l = calloc(1, sizeof(*l) + n * sizeof(struct svc_backend) + size * sizeof(uint16_t));
	if (l == NULL)
		return NULL;
	if (n == 0)
		return l;
	table = (uint16_t *)(l->backends + n);
	memcpy(l->backends, backends, n * sizeof(*backends));
	l->n = sort_unique(l->backends, n);
	l->maglev_size = l->n == 1 ? 1 : maglev_size_for(l->n);
	l->maglev = table;
	if (l->n > 1 && table_build(l, table) < 0) {
		free(l);
		return NULL;
	}
	return l;
}
