/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See bench.h. One thread. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/frag.h"
#include "packet/bench.h"
#include "pipelines/pipeline.h"

static struct bench *bench_of(struct worker *w)
{
	return w->rim;
}

static void *io_alloc(struct worker *w, uint16_t len, uint8_t **data)
{
	uint8_t *buf = malloc(HEADROOM_MIN + (size_t)len);

	if (buf == NULL)
		return NULL;
	bench_of(w)->buffers++;
	*data = buf + HEADROOM_MIN;
	return buf;
}

static void io_free_one(struct worker *w, void *buf)
{
	bench_of(w)->buffers--;
	free(buf);
}

static void io_free_lanes(struct worker *w, struct burst *b, lanes_t lanes)
{
	lanes_foreach (i, lanes)
		io_free_one(w, b->buf[i]);
}

static void io_transmit_one(
	struct worker *w, void *buf, uint8_t *data, uint16_t len, uint16_t vport)
{
	struct bench *t = bench_of(w);

	if (t->tx_full || t->n_out == sizeof(t->out) / sizeof(t->out[0])) {
		COUNT(w->counters.drops[DROP_TxQueueFull], 1);
		io_free_one(w, buf);
		return;
	}
	COUNT(w->counters.sent, 1);
	t->out[t->n_out++] =
		(struct bench_packet){.buf = buf, .data = data, .len = len, .vport = vport};
}

static void io_transmit(struct worker *w, struct burst *b, lanes_t lanes)
{
	lanes_foreach (i, lanes)
		io_transmit_one(w, b->buf[i], b->data[i], b->len[i], b->out_vport[i]);
}

static const struct worker_io bench_io = {
	.alloc = io_alloc,
	.free_lanes = io_free_lanes,
	.transmit = io_transmit,
	.transmit_one = io_transmit_one,
	.free_one = io_free_one,
};

int bench_init(struct bench *t, uint32_t flows_v4, uint32_t flows_v6, uint32_t buckets)
{
	struct flow_config cfg = {
		.capacity = {[IP_V4] = flows_v4, [IP_V6] = flows_v6},
		.workers = 1,
		.salt = {1, 2},
		.buckets = buckets,
		.grace = &t->dp.grace,
	};
	struct flow_table *flows;
	int rc;

	memset(t, 0, sizeof(*t));
	rc = flow_table_init(&cfg, &flows);
	if (rc < 0)
		return rc;
	rc = dataplane_init(&t->dp, flows);
	if (rc < 0)
		return rc;
	t->w = aligned_alloc(64, (sizeof(struct worker) + 63) & ~(size_t)63);
	if (t->w == NULL)
		return -ENOMEM;
	memset(t->w, 0, sizeof(*t->w));
	rc = worker_init(t->w, &t->dp, 0, &bench_io);
	if (rc < 0)
		return rc;
	t->w->rim = t;
	t->w->now_ms = 1000000;
	atomic_store(&t->dp.vports, &t->vports);
	worker_load_snapshot(t->w);
	return 0;
}

void bench_stop(struct bench *t)
{
	worker_load_snapshot(t->w);
	pipeline_stop(t->w);
}

void bench_fini(struct bench *t)
{
	struct flow_table *flows = t->dp.flows;

	worker_fini(t->w);
	free(t->w);
	dataplane_fini(&t->dp);
	flow_table_fini(flows);
}

void bench_receive(struct bench *t, uint16_t vport, const uint8_t *const *frames,
	const uint16_t *lens, uint32_t n)
{
	struct burst *b = &t->w->burst;

	worker_load_snapshot(t->w);
	for (uint32_t i = 0; i < n; i++) {
		b->buf[i] = io_alloc(t->w, lens[i], &b->data[i]);
		memcpy(b->data[i], frames[i], lens[i]);
		b->len[i] = lens[i];
		b->in_vport[i] = vport;
		b->flags[i] = 0;
	}
	b->count = (uint16_t)n;
	b->to.classify = n == 64 ? ~UINT64_C(0) : LANE(n) - 1;
	pipeline_run(t->w, b);
}

void bench_loop(struct bench *t)
{
	worker_load_snapshot(t->w);
	pipeline_tick(t->w);
	flow_sweep(t->dp.flows, 0, t->w->now_ms, &t->w->snap.tunables->timeouts);
	grace_complete(&t->dp.grace, grace_open(&t->dp.grace));
}

void bench_packet_free(struct bench *t, struct bench_packet *p)
{
	io_free_one(t->w, p->buf);
	p->buf = NULL;
}

bool bench_balanced(const struct bench *t, char *why, size_t room)
{
	const struct worker_counters *c = &t->w->counters;
	struct frag_stats frags;
	uint64_t in = c->received + c->originated;
	uint64_t out = c->sent + t->w->held_count;

	frag_stats(t->w->frags, &frags);
	out += frags.held_now;
	for (int r = 0; r < DROP_REASONS; r++)
		out += c->drops[r];
	if (in == out)
		return true;
	snprintf(why, room,
		"received %llu + originated %llu is not sent %llu + held %u + drops: off by %lld",
		(unsigned long long)c->received, (unsigned long long)c->originated,
		(unsigned long long)c->sent, t->w->held_count + frags.held_now,
		(long long)(in - out));
	return false;
}
