/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A growing ring of what waits for its grace period (see retire.h). Control thread. */

#include <errno.h>
#include <stdlib.h>

#include "control/retire.h"

struct retired {
	retire_fn fn;
	void *arg, *mem;
	uint32_t stamp;
};

struct retire {
	const struct grace *grace;
	struct retired *ring;
	uint32_t capacity; /* a power of two */
	uint32_t head, tail;
};

int retire_init(const struct grace *g, struct retire **out)
{
	struct retire *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->grace = g;
	r->capacity = 64;
	r->ring = malloc(r->capacity * sizeof(*r->ring));
	if (r->ring == NULL) {
		free(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

static void give_back(struct retire *r)
{
	struct retired x = r->ring[r->tail++ & (r->capacity - 1)];

	if (x.fn != NULL)
		x.fn(x.arg, x.mem);
	else
		free(x.mem);
}

void retire_flush(struct retire *r)
{
	while (r->tail != r->head)
		give_back(r);
}

void retire_fini(struct retire *r)
{
	if (r == NULL)
		return;
	retire_flush(r);
	free(r->ring);
	free(r);
}

static bool grow(struct retire *r)
{
	struct retired *ring = malloc(2 * (size_t)r->capacity * sizeof(*ring));

	if (ring == NULL)
		return false;
	for (uint32_t i = r->tail; i != r->head; i++)
		ring[i & (2 * r->capacity - 1)] = r->ring[i & (r->capacity - 1)];
	free(r->ring);
	r->ring = ring;
	r->capacity *= 2;
	return true;
}

void retire(struct retire *r, retire_fn fn, void *arg, void *mem)
{
	if (mem == NULL)
		return;
	if (r->head - r->tail == r->capacity && !grow(r))
		return;
	r->ring[r->head++ & (r->capacity - 1)] =
		(struct retired){.fn = fn, .arg = arg, .mem = mem, .stamp = grace_stamp(r->grace)};
}

uint32_t retire_poll(struct retire *r)
{
	uint32_t n = 0;

	while (r->tail != r->head &&
		grace_passed(r->grace, r->ring[r->tail & (r->capacity - 1)].stamp)) {
		give_back(r);
		n++;
	}
	return n;
}

uint32_t retire_pending(const struct retire *r)
{
	return r->head - r->tail;
}
