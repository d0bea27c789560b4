/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A bounded ring between exactly one producer thread and one consumer thread.
 *
 * Elements are copied, of one size, capacity a power of two. Full: put returns false and the
 * caller counts. Nobody waits. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct spsc {
	uint32_t mask;
	uint32_t elem_size;
	_Atomic uint32_t head __attribute__((aligned(64))); /* producer's */
	_Atomic uint32_t tail __attribute__((aligned(64))); /* consumer's */
	uint8_t data[] __attribute__((aligned(64)));
};

static inline struct spsc *spsc_new(uint32_t capacity, uint32_t elem_size)
{
	size_t size = (sizeof(struct spsc) + (size_t)capacity * elem_size + 63) & ~(size_t)63;
	struct spsc *r;

	if (capacity == 0 || (capacity & (capacity - 1)) != 0)
		return NULL;
	r = aligned_alloc(64, size);
	if (r == NULL)
		return NULL;
	memset(r, 0, size);
	r->mask = capacity - 1;
	r->elem_size = elem_size;
	return r;
}

static inline bool spsc_put(struct spsc *r, const void *elem)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

	if (head - tail > r->mask)
		return false;
	memcpy(r->data + (size_t)(head & r->mask) * r->elem_size, elem, r->elem_size);
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return true;
}

static inline bool spsc_get(struct spsc *r, void *elem)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);

	if (head == tail)
		return false;
	memcpy(elem, r->data + (size_t)(tail & r->mask) * r->elem_size, r->elem_size);
	atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	return true;
}
