/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A switch without a rim: buffers from malloc, transmit into a queue, everything counted.
 *
 * The packet tests, and benchmarks that need no EAL, run the real compositions on it. Each buffer
 * is exactly as large as its packet plus headroom, so that ASan sees every byte too far. */

#pragma once

#include "core/dataplane.h"

struct bench_packet {
	void *buf;
	uint8_t *data;
	uint16_t len;
	uint16_t vport;
};

struct bench {
	struct dataplane dp;
	struct worker *w;
	struct vport_table vports;
	uint32_t buffers; /* alive */
	uint32_t n_out;
	struct bench_packet out[512];
	bool tx_full; /* transmit drops everything */
};

int bench_init(struct bench *t, uint32_t flows_v4, uint32_t flows_v6, uint32_t buckets);
/* Gives back what is held; afterwards t->buffers must be 0 if every output was taken. */
void bench_stop(struct bench *t);
void bench_fini(struct bench *t);

/* Runs packets through the compositions as one burst; the frames are copied. */
void bench_receive(struct bench *t, uint16_t vport, const uint8_t *const *frames,
	const uint16_t *lens, uint32_t n);
/* The end of a worker's loop: sweep, tick, a grace period passes. */
void bench_loop(struct bench *t);
void bench_packet_free(struct bench *t, struct bench_packet *p);
/* received + originated = sent + dropped + held; message in *why when not. */
bool bench_balanced(const struct bench *t, char *why, size_t room);
