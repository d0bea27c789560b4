/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Endpoint lists and how one of them is chosen (see service.h). Control thread builds, workers
 * read; immutable from birth. */

#include <stdlib.h>
#include <string.h>

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

struct svc_list *svc_list_new(const struct svc_backend *backends, uint32_t n)
{
	struct svc_backend *own;
	uint64_t *identities;
	struct svc_list *l;
	size_t size;

	if (n > SVC_BACKENDS_MAX)
		return NULL;
	/* Whole multiples of 8 bytes: the endpoints are behind. */
	size = sizeof(*l) + (n > 1 ? (choice_words(n) + 1) / 2 * 2 * sizeof(l->choice[0]) : 0);
	l = calloc(1, size + n * sizeof(*own));
	if (l == NULL || n == 0)
		return l;
	own = (struct svc_backend *)((char *)l + size);
	memcpy(own, backends, n * sizeof(*own));
	l->n = sort_unique(own, n);
	l->backends = own;
	/* A single endpoint, which most services have, is no choice. */
	if (l->n == 1)
		return l;
	identities = malloc(l->n * sizeof(*identities));
	if (identities == NULL) {
		free(l);
		return NULL;
	}
	for (uint32_t i = 0; i < l->n; i++)
		identities[i] = identity(&own[i]);
	choice_build(identities, l->n, l->choice);
	free(identities);
	return l;
}
