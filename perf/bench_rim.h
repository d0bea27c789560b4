/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the files of bench_rim share: one rim with one worker, and the harness's world in it. The
 * main thread is control. */

#pragma once

#include "io/rim.h"
#include "perf/harness.h"

extern struct rim *rim;
extern double seconds; /* of a measurement */

_Noreturn void fail(const char *what, const char *why);
void pin(long cpu);
void pause_ms(uint32_t ms);
struct worker_counters *counters(void);
uint64_t dropped(void);
void add_vport(uint16_t id, uint16_t port);
/* CPU time of the worker's thread, in seconds. */
double worker_cpu(void);
/* A member of the results: "name": {...} and a comma unless it is the last. */
void print_windows(const char *name, const double *v, uint32_t n, bool last);

/* The daemon's defaults, the harness's services between two rings, their flows established. */
void world(void (*run)(struct worker *w, struct burst *b));
/* Takes the rings away; services and flows stay. */
void world_unwire(void);

void idle(const char *only); /* a kind of port; NULL: all */
