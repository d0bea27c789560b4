/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rim's life: start, drain, stop; and control's requests to workers.
 *
 * Control thread unless a function says otherwise. rim_stop() accepts what a failed rim_start()
 * left, so there is one way down. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_malloc.h>

#include "io/rim_internal.h"

void rim_config_default(struct rim_config *cfg)
{
	*cfg = (struct rim_config){
		.buffers = RIM_BUFFERS,
		.buffer_size = RIM_BUFFER_SIZE,
		.n_workers = 1,
		.idle = {.spin_us = 50, .sleep_min_us = 5, .sleep_max_us = 250, .wait_max_ms = 10},
		.flows = {FLOWS_DEFAULT, FLOWS_DEFAULT},
	};
	for (uint32_t n = 0; n < WORKERS_MAX; n++)
		cfg->cpu[n] = RIM_CPU_ANY;
}

static int config_check(struct rim_config *cfg, struct rim_error *err)
{
	if (cfg->run == NULL)
		return rim_fail(err, -EINVAL, "no pipeline");
	if (cfg->n_workers == 0 || cfg->n_workers > WORKERS_MAX)
		return rim_fail(
			err, -EINVAL, "workers: %u is not in 1-%u", cfg->n_workers, WORKERS_MAX);
	if (cfg->buffers == 0)
		cfg->buffers = RIM_BUFFERS;
	if (cfg->buffers < 1024)
		return rim_fail(err, -EINVAL, "buffers: %u is below 1024", cfg->buffers);
	if (cfg->buffer_size == 0)
		cfg->buffer_size = RIM_BUFFER_SIZE;
	if (cfg->buffer_size < 1600 || cfg->buffer_size > 16384)
		return rim_fail(
			err, -EINVAL, "buffer size: %u is not in 1600-16384", cfg->buffer_size);
	if (cfg->idle.sleep_max_us > 100000)
		return rim_fail(
			err, -EINVAL, "idle sleep: %u us is above 100000", cfg->idle.sleep_max_us);
	if (cfg->idle.sleep_min_us == 0)
		cfg->idle.sleep_min_us = 1;
	if (cfg->idle.sleep_min_us > cfg->idle.sleep_max_us)
		cfg->idle.sleep_min_us = cfg->idle.sleep_max_us;
	for (uint32_t f = 0; f < IP_FAMILIES; f++)
		if (cfg->flows[f] == 0)
			cfg->flows[f] = FLOWS_DEFAULT;
	return 0;
}

static void clock_start(struct rim *rim)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	rim->tsc_start = rte_rdtsc();
	rim->ms_start = (uint32_t)((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
	rim->tsc_hz = rte_get_tsc_hz();
	rim->ticks_per_ms = rim->tsc_hz / 1000;
	rim->spin_ticks = rim->cfg.idle.spin_us * rim->ticks_per_ms / 1000;
}

static int tables_start(struct rim *rim, struct rim_error *err)
{
	struct rim_config *cfg = &rim->cfg;
	struct flow_config fc = {
		.capacity = {cfg->flows[IP_V4], cfg->flows[IP_V6]},
		.workers = cfg->n_workers,
		.salt = {cfg->flow_salt[0], cfg->flow_salt[1]},
		.buckets = cfg->flow_buckets,
		.grace = &rim->dp.grace,
		.alloc = rim_flow_alloc,
		.free = rim_flow_free,
		.arg = rim,
	};
	uint32_t most =
		cfg->flows[IP_V4] > cfg->flows[IP_V6] ? cfg->flows[IP_V4] : cfg->flows[IP_V6];
	struct flow_table *flows;
	int rc;

	if (fc.salt[0] == 0 && fc.salt[1] == 0 &&
		getrandom(fc.salt, sizeof(fc.salt), 0) != sizeof(fc.salt))
		return rim_fail(err, -errno, "no random numbers: %s", strerror(errno));
	rc = flow_table_init(&fc, &flows);
	if (rc != 0)
		return rim_fail(err, rc, "flow tables of %u and %u entries: %s", cfg->flows[IP_V4],
			cfg->flows[IP_V6], strerror(-rc));
	rc = dataplane_init(&rim->dp, flows);
	if (rc != 0) {
		flow_table_fini(flows);
		return rim_fail(err, rc, "switch: %s", strerror(-rc));
	}
	rim->dp_ready = true;
	rim->sweeps_per_ms_256 = (uint32_t)((uint64_t)most / cfg->n_workers * 256 /
					 FLOW_SWEEP_BATCH / RIM_FLOW_PASS_MS) +
		1;
	rim->wait_ms = RIM_SWEEP_BACKLOG * 256 / rim->sweeps_per_ms_256;
	if (rim->wait_ms > cfg->idle.wait_max_ms)
		rim->wait_ms = cfg->idle.wait_max_ms;
	if (rim->wait_ms == 0)
		rim->wait_ms = 1;
	return 0;
}

static int view_start(struct rim *rim, struct rim_error *err)
{
	struct rim_view *v = calloc(1, sizeof(*v));
	size_t size = rte_rcu_qsbr_get_memsize(RIM_READER + 1);

	if (v == NULL)
		return rim_fail(err, -ENOMEM, "no memory");
	memset(v->vport_port, RIM_NO_PORT, sizeof(v->vport_port));
	atomic_store_explicit(&rim->view, v, memory_order_release);
	rim->qsbr = rte_zmalloc("qsbr", size, RTE_CACHE_LINE_SIZE);
	if (rim->qsbr == NULL || rte_rcu_qsbr_init(rim->qsbr, RIM_READER + 1) != 0 ||
		rte_rcu_qsbr_thread_register(rim->qsbr, RIM_READER) != 0)
		return rim_fail(err, -ENOMEM, "no memory for grace periods");
	rte_spinlock_init(&rim->grace_lock);
	return 0;
}

static int worker_start(struct rim *rim, uint32_t id, struct rim_error *err)
{
	struct rim_worker *rw = rte_zmalloc("worker", sizeof(*rw), RTE_CACHE_LINE_SIZE);
	int rc;

	if (rw == NULL)
		return rim_fail(err, -ENOMEM, "worker %u: no memory", id);
	rim->worker[id] = rw;
	rw->bell = rw->interrupts = -1;
	rc = worker_init(&rw->w, &rim->dp, id, &rim_worker_io);
	if (rc != 0)
		return rim_fail(err, rc, "worker %u: %s", id, strerror(-rc));
	rw->rim = rim;
	rw->w.rim = rw;
	rw->w.now_ms = rim->ms_start;
	rw->ms_tsc = rim->tsc_start;
	rw->sleep_us = rim->cfg.idle.sleep_min_us;
	rw->spin_ticks = rim->spin_ticks;
	rc = rim_wait_init(rw, err);
	if (rc != 0)
		return rc;
	rw->mailbox = spsc_new(RIM_MAILBOX, sizeof(struct rim_work));
	if (rw->mailbox == NULL)
		return rim_fail(err, -ENOMEM, "worker %u: no memory", id);
	return 0;
}

static int workers_launch(struct rim *rim, struct rim_error *err)
{
	for (uint32_t id = 0; id < rim->cfg.n_workers; id++) {
		int rc = rte_eal_remote_launch(rim_worker_main, rim->worker[id], id + 1);

		if (rc != 0)
			return rim_fail(err, rc, "worker %u: %s", id, strerror(-rc));
		rim->worker[id]->launched = true;
	}
	return 0;
}

int rim_start(const struct rim_config *cfg, struct rim **out, struct rim_error *err)
{
	struct rim *rim = calloc(1, sizeof(*rim));
	int rc;

	if (rim == NULL)
		return rim_fail(err, -ENOMEM, "no memory");
	rim->cfg = *cfg;
	pthread_mutex_init(&rim->lock, NULL);
	rc = config_check(&rim->cfg, err);
	if (rc == 0)
		rc = rim_eal_start(rim, err);
	if (rc == 0)
		rc = rim_pool_start(rim, err);
	if (rc == 0) {
		clock_start(rim);
		rc = view_start(rim, err);
	}
	if (rc == 0)
		rc = tables_start(rim, err);
	for (uint32_t id = 0; rc == 0 && id < rim->cfg.n_workers; id++)
		rc = worker_start(rim, id, err);
	if (rc == 0)
		rc = workers_launch(rim, err);
	if (rc != 0) {
		rim_stop(rim);
		return rc;
	}
	*out = rim;
	return 0;
}

int rim_drain(struct rim *rim, uint32_t timeout_ms)
{
	uint32_t start = rim_now_ms(rim);
	struct timespec pause = {.tv_nsec = 100000};
	uint32_t id = 0;

	atomic_store_explicit(&rim->draining, true, memory_order_relaxed);
	rim_wake_all(rim);
	while (id < rim->cfg.n_workers) {
		if (atomic_load_explicit(&rim->worker[id]->drained, memory_order_acquire)) {
			id++;
			continue;
		}
		if (rim_now_ms(rim) - start > timeout_ms)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void workers_stop(struct rim *rim)
{
	atomic_store_explicit(&rim->stop, true, memory_order_relaxed);
	rim_wake_all(rim);
	for (uint32_t id = 0; id < rim->cfg.n_workers; id++)
		if (rim->worker[id] != NULL && rim->worker[id]->launched)
			rte_eal_wait_lcore(id + 1);
}

/* Workers are gone: what waits in a mailbox is done here, because it may hold a buffer. */
static void worker_free(struct rim_worker *rw)
{
	struct rim_work item;

	if (rw == NULL)
		return;
	if (rw->rim != NULL)
		rw->view = atomic_load_explicit(&rw->rim->view, memory_order_relaxed);
	rw->ports_up = 0;
	while (rw->mailbox != NULL && spsc_get(rw->mailbox, &item))
		item.fn(&rw->w, item.arg);
	free(rw->mailbox);
	rim_wait_fini(rw);
	worker_fini(&rw->w);
	rte_free(rw);
}

/* The last first: a NIC's uplink, which is named before its representors, stops after them. */
static void ports_stop(struct rim *rim)
{
	for (uint32_t n = RIM_PORTS_MAX; n-- > 0;) {
		struct rim_port *p = rim->port[n];

		pthread_mutex_lock(&rim->lock);
		rim->port[n] = NULL;
		pthread_mutex_unlock(&rim->lock);
		if (p == NULL)
			continue;
		rim_port_close(rim, p);
		free(p);
	}
}

static void view_stop(struct rim *rim)
{
	struct rim_view *v = (struct rim_view *)(uintptr_t)atomic_load_explicit(
		&rim->view, memory_order_relaxed);

	rim_reap(rim, true);
	for (uint32_t n = 0; v != NULL && n < RIM_PORTS_MAX; n++)
		free((void *)(uintptr_t)v->vlans[n]);
	free(v);
	rte_free(rim->qsbr);
}

uint32_t rim_stop(struct rim *rim)
{
	uint32_t in_use = 0, total;

	if (rim == NULL)
		return 0;
	workers_stop(rim);
	for (uint32_t id = 0; id < WORKERS_MAX; id++) {
		worker_free(rim->worker[id]);
		rim->worker[id] = NULL;
	}
	ports_stop(rim);
	if (rim->pool != NULL)
		rim_buffers(rim, &in_use, &total);
	if (rim->dp_ready) {
		struct flow_table *flows = rim->dp.flows;

		dataplane_fini(&rim->dp);
		flow_table_fini(flows);
	}
	view_stop(rim);
	rim_pools_reap(rim, true);
	rim_eal_stop(rim);
	pthread_mutex_destroy(&rim->lock);
	free(rim);
	return in_use;
}

struct dataplane *rim_dataplane(struct rim *rim)
{
	return &rim->dp;
}

void rim_poll(struct rim *rim)
{
	rim_grace_poll(rim);
	rim_reap(rim, false);
	rim_pools_reap(rim, false);
	rim_ports_poll(rim);
}

uint32_t rim_now_ms(const struct rim *rim)
{
	return rim->ms_start + (uint32_t)((rte_rdtsc() - rim->tsc_start) / rim->ticks_per_ms);
}

uint64_t rim_ticks_per_second(const struct rim *rim)
{
	return rim->tsc_hz;
}

int rim_call(struct rim *rim, uint32_t worker, void (*fn)(struct worker *w, void *arg), void *arg)
{
	struct rim_work item = {.fn = fn, .arg = arg};

	if (worker >= rim->cfg.n_workers)
		return -EINVAL;
	if (!spsc_put(rim->worker[worker]->mailbox, &item))
		return -EAGAIN;
	rim_wake(rim->worker[worker]);
	return 0;
}

/* The vport travels in the buffer's own field for such things. */
static void inject(struct worker *w, void *arg)
{
	struct rte_mbuf *m = arg;
	uint16_t vport = (uint16_t)m->hash.usr;

	COUNT(w->counters.originated, 1);
	if (vport < VPORTS_MAX) {
		COUNT(w->counters.vport[vport].tx_packets, 1);
		COUNT(w->counters.vport[vport].tx_bytes, m->data_len);
	}
	rim_tx_put(w->rim, m, vport);
}

int rim_inject(struct rim *rim, uint16_t vport, const void *frame, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(rim->pool);
	uint8_t *data;
	int rc;

	if (m == NULL)
		return -ENOBUFS;
	data = (uint8_t *)rte_pktmbuf_append(m, len);
	if (data == NULL) {
		rte_pktmbuf_free(m);
		return -EMSGSIZE;
	}
	memcpy(data, frame, len);
	m->hash.usr = vport;
	rc = rim_call(rim, rim->inject_next++ % rim->cfg.n_workers, inject, m);
	if (rc != 0)
		rte_pktmbuf_free(m);
	return rc;
}

int rim_worker_info(struct rim *rim, uint32_t worker, struct rim_worker_info *out)
{
	const struct rim_worker *rw;
	const struct spsc *box;

	if (worker >= rim->cfg.n_workers)
		return -ENOENT;
	rw = rim->worker[worker];
	box = rw->mailbox;
	*out = (struct rim_worker_info){
		.id = worker,
		.cpu = rim->cfg.cpu[worker],
		.heartbeat = atomic_load_explicit(&rw->w.heartbeat, memory_order_relaxed),
		.asleep = atomic_load_explicit(&rw->asleep, memory_order_relaxed) != 0,
		.sleeps = atomic_load_explicit(&rw->sleeps, memory_order_relaxed),
		.slept_ticks = atomic_load_explicit(&rw->slept_ticks, memory_order_relaxed),
		.mailbox_waiting = atomic_load_explicit(&box->head, memory_order_relaxed) -
			atomic_load_explicit(&box->tail, memory_order_relaxed),
	};
	pthread_mutex_lock(&rim->lock);
	for (uint32_t n = 0; n < RIM_PORTS_MAX; n++)
		for (uint32_t q = 0; rim->port[n] != NULL && q < rim->port[n]->n_rxq; q++)
			out->rx_queues += rim->port[n]->rx_worker[q] == worker;
	pthread_mutex_unlock(&rim->lock);
	return 0;
}

bool rim_hugepages_used(const struct rim *rim)
{
	return rim->hugepages;
}

const char *rim_dpdk_version(void)
{
	return rte_version();
}
