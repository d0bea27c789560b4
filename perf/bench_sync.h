/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the two threads of bench_sync share (see bench_sync.c). */

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"

struct reconciler;

struct bench {
	/* Set before the threads start. */
	uint32_t services, endpoints, n_events;
	char wire_path[100], server_path[100];
	int done_fd;
	pthread_t control;
	const struct dataplane *dp;
	struct reconciler *reconciler;
	/* Writer: the wire. Readers: control's grace period. */
	_Atomic uint32_t looks;
	_Atomic bool looking;
	/* Writer: the wire, read when it has ended. */
	double sync_seconds, sync_cpu_seconds;
	double *event_us;
	char failed[128];
	/* Control's own. */
	size_t bytes;
};

extern struct bench bench;

_Noreturn void bench_die(const char *what);
uint64_t bench_now_ns(void);
void bench_pin(uint32_t cpu);

/* The relay between sync and server. */
void wire_open(void);
void *wire_main(void *arg);
void wire_close(void);
