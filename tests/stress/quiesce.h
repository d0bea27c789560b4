/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the rim has from a library of its own: threads that report quiescence, and a control
 * thread that turns their reports into grace periods without waiting. Also how stress tests end
 * and report, since CUnit's assertions take no lock. */

#pragma once

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/grace.h"

#define QUIESCE_MAX 8

/* Writers: control opens periods; each thread its own seen[]. */
struct quiesce {
	struct grace grace;
	_Atomic uint64_t period;
	uint32_t threads;
	uint32_t ended; /* stamp of the open period */
	bool open;
	struct {
		_Atomic uint64_t seen;
	} __attribute__((aligned(64))) at[QUIESCE_MAX];
	_Atomic bool stop;
	_Atomic uint32_t faults;
};

/* A thread that holds no reference now. */
__attribute__((unused)) static void quiesce_report(struct quiesce *q, uint32_t thread)
{
	atomic_store_explicit(&q->at[thread].seen,
		atomic_load_explicit(&q->period, memory_order_acquire), memory_order_release);
}

/* Control: one step; true when a period ended. */
__attribute__((unused)) static bool quiesce_poll(struct quiesce *q)
{
	uint64_t period = atomic_load_explicit(&q->period, memory_order_relaxed);

	if (!q->open) {
		q->ended = grace_open(&q->grace);
		atomic_store_explicit(&q->period, period + 1, memory_order_release);
		q->open = true;
		return false;
	}
	for (uint32_t i = 0; i < q->threads; i++)
		if (atomic_load_explicit(&q->at[i].seen, memory_order_acquire) < period)
			return false;
	grace_complete(&q->grace, q->ended);
	q->open = false;
	return true;
}

/* A broken invariant; the first few are told. */
__attribute__((unused, format(printf, 2, 3))) static void fault(
	struct quiesce *q, const char *format, ...)
{
	va_list args;

	if (atomic_fetch_add(&q->faults, 1) > 5)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

__attribute__((unused)) static double stress_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* How long to run, from SLUICE_STRESS_SECONDS. */
__attribute__((unused)) static double stress_seconds(void)
{
	const char *text = getenv("SLUICE_STRESS_SECONDS");

	return text != NULL && atof(text) > 0 ? atof(text) : 2;
}
