/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* When may memory that workers could still see be reused?
 *
 * Whoever unlinks something stamps it with grace_stamp() after the unlinking store; it may be
 * reused once grace_passed(stamp). Advanced by the rim from rte_rcu_qsbr (or by a test), so core
 * needs no RCU of its own.
 *
 * Writers: one thread at a time, the one that advances. Readers: any. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct grace {
	_Atomic uint32_t current;   /* stamp for what is unlinked now */
	_Atomic uint32_t completed; /* every stamp below this has passed; wraps */
};

/* A read-modify-write, although it changes nothing: a plain load may pass the unlinking store, so
 * that a period which opens in between would not wait for readers that still find the link. As it
 * is, grace_open() of the stamped period sees this and so everything before it. */
static inline uint32_t grace_stamp(const struct grace *g)
{
	_Atomic uint32_t *current = (_Atomic uint32_t *)(uintptr_t)&g->current;

	return atomic_fetch_add_explicit(current, 0, memory_order_seq_cst);
}

static inline bool grace_passed(const struct grace *g, uint32_t stamp)
{
	uint32_t done = atomic_load_explicit(&g->completed, memory_order_acquire);

	return (int32_t)(done - stamp) > 0;
}

/* Opens a new period and returns the one that just ended: when every worker was quiescent after
 * this call, pass the result to grace_complete(). */
static inline uint32_t grace_open(struct grace *g)
{
	return atomic_fetch_add_explicit(&g->current, 1, memory_order_seq_cst);
}

static inline void grace_complete(struct grace *g, uint32_t ended)
{
	atomic_store_explicit(&g->completed, ended + 1, memory_order_release);
}
