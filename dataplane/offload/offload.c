/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The offload thread and what others may ask of it (see offload.h).
 *
 * Commands that must be done before the caller goes on are put beside the thread's turn under one
 * lock and waited for; all others are a number that the thread compares. The thread sleeps until
 * its next tick or until it is woken; nothing wakes it but control, workers never do. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "offload/engine.h"

enum command {
	COMMAND_NONE,
	COMMAND_ADD,
	COMMAND_REMOVE,
	COMMAND_CONFIGURE,
};

struct offload {
	struct offload_engine *e;
	pthread_t thread;
	bool started;
	_Atomic bool stop;
	_Atomic uint64_t settled; /* ticket */
	bool confirmed;

	pthread_mutex_t lock; /* the command */
	pthread_cond_t wake, done;
	bool woken;
	enum command command;
	uint16_t index, ethdev;
	uint16_t queue[WORKERS_MAX];
	bool ready; /* the port just added */
	struct offload_config cfg;
};

/* --- the thread --------------------------------------------------------------------------------
 */

static void run_command(struct offload *o)
{
	switch (o->command) {
	case COMMAND_ADD:
		if (ports_add(o->e, o->index, o->ethdev, o->queue) < 0 && o->e->env.alarm != NULL)
			o->e->env.alarm(o->e->env.arg, "port_refused", "see=offload");
		o->ready = o->index < OFFLOAD_PORTS_MAX && o->e->port[o->index].state == PORT_READY;
		break;
	case COMMAND_REMOVE:
		ports_remove(o->e, o->index);
		break;
	case COMMAND_CONFIGURE:
		engine_configure(o->e, &o->cfg);
		break;
	case COMMAND_NONE:
		return;
	}
	o->command = COMMAND_NONE;
	pthread_cond_broadcast(&o->done);
}

/* Sleeps at most us; less when somebody wakes it. */
static void sleep_until_woken(struct offload *o, uint32_t us)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += (long)us * 1000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	pthread_mutex_lock(&o->lock);
	while (!o->woken && o->command == COMMAND_NONE)
		if (pthread_cond_timedwait(&o->wake, &o->lock, &ts) == ETIMEDOUT)
			break;
	o->woken = false;
	run_command(o);
	pthread_mutex_unlock(&o->lock);
}

static void tell_settled(struct offload *o)
{
	uint64_t ticket = o->e->pass_done;

	if (ticket != atomic_load_explicit(&o->settled, memory_order_relaxed))
		atomic_store_explicit(&o->settled, ticket, memory_order_release);
}

static void *thread_main(void *arg)
{
	struct offload *o = arg;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_setname_np(pthread_self(), "sluice-offload");
	while (!atomic_load_explicit(&o->stop, memory_order_acquire)) {
		uint32_t wait = engine_turn(o->e);

		tell_settled(o);
		/* Commands are taken in every turn, however busy it is. */
		sleep_until_woken(o, wait);
	}
	o->confirmed = engine_stop(o->e);
	tell_settled(o);
	return NULL;
}

/* --- start and stop ----------------------------------------------------------------------------
 */

static void sync_init(struct offload *o)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->wake, &attr);
	pthread_cond_init(&o->done, NULL);
	pthread_condattr_destroy(&attr);
}

static void offload_free(struct offload *o)
{
	engine_free(o->e);
	pthread_cond_destroy(&o->wake);
	pthread_cond_destroy(&o->done);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

int offload_start(
	const struct offload_config *cfg, const struct offload_env *env, struct offload **out)
{
	struct offload *o = calloc(1, sizeof(*o));
	int ret;

	if (o == NULL)
		return -ENOMEM;
	sync_init(o);
	ret = engine_new(cfg, env, &o->e);
	if (ret == 0)
		ret = -pthread_create(&o->thread, NULL, thread_main, o);
	if (ret < 0) {
		offload_free(o);
		return ret;
	}
	o->started = true;
	*out = o;
	return 0;
}

static void wake(struct offload *o)
{
	pthread_mutex_lock(&o->lock);
	o->woken = true;
	pthread_cond_signal(&o->wake);
	pthread_mutex_unlock(&o->lock);
}

bool offload_stop(struct offload *o)
{
	bool confirmed;

	if (o == NULL)
		return true;
	atomic_store_explicit(&o->stop, true, memory_order_release);
	wake(o);
	pthread_join(o->thread, NULL);
	confirmed = o->confirmed;
	offload_free(o);
	return confirmed;
}

/* One caller, the control thread: no command waits for another. */
static void command(struct offload *o, enum command c)
{
	pthread_mutex_lock(&o->lock);
	o->command = c;
	pthread_cond_signal(&o->wake);
	while (o->command != COMMAND_NONE)
		pthread_cond_wait(&o->done, &o->lock);
	pthread_mutex_unlock(&o->lock);
}

void offload_configure(struct offload *o, const struct offload_config *cfg)
{
	o->cfg = *cfg;
	command(o, COMMAND_CONFIGURE);
}

struct spsc *offload_ring(struct offload *o, uint32_t worker)
{
	return worker < WORKERS_MAX ? o->e->ring[worker] : NULL;
}

bool offload_port_add(
	struct offload *o, uint16_t index, uint16_t ethdev, const uint16_t queue[WORKERS_MAX])
{
	memcpy(o->queue, queue, sizeof(o->queue));
	o->index = index;
	o->ethdev = ethdev;
	command(o, COMMAND_ADD);
	return o->ready;
}

void offload_port_remove(struct offload *o, uint16_t index)
{
	o->index = index;
	command(o, COMMAND_REMOVE);
}

uint64_t offload_revalidate(struct offload *o)
{
	uint64_t ticket = engine_revalidate(o->e, false);

	wake(o);
	return ticket;
}

uint64_t offload_flush(struct offload *o)
{
	uint64_t ticket = engine_revalidate(o->e, true);

	wake(o);
	return ticket;
}

bool offload_settled(const struct offload *o, uint64_t ticket)
{
	return atomic_load_explicit(&o->settled, memory_order_acquire) >= ticket;
}

/* --- readers -----------------------------------------------------------------------------------
 */

void offload_stats_read(struct offload *o, struct offload_stats *out)
{
	pthread_mutex_lock(&o->e->lock);
	*out = o->e->stats_out;
	pthread_mutex_unlock(&o->e->lock);
}

/* Counters of the flow's rules, if the slot is its own before and after. */
static void read_counters(struct offload_engine *e, const struct nominee *n, uint32_t id,
	uint32_t generation, struct offload_flow *out)
{
	uint32_t slot = atomic_load_explicit(&n->resident, memory_order_relaxed);
	uint64_t packets[2], bytes[2], polled;
	const struct resident *r;

	if (slot >= e->n_slots)
		return;
	r = &e->at[slot];
	if (atomic_load_explicit(&r->id, memory_order_acquire) != id ||
		atomic_load_explicit(&r->generation, memory_order_relaxed) != generation)
		return;
	for (int d = 0; d < 2; d++) {
		packets[d] = atomic_load_explicit(&r->leg[d].packets, memory_order_acquire);
		bytes[d] = atomic_load_explicit(&r->leg[d].bytes, memory_order_acquire);
	}
	polled = atomic_load_explicit(&r->polled_us, memory_order_acquire);
	if (atomic_load_explicit(&r->id, memory_order_relaxed) != id)
		return;
	for (int d = 0; d < 2; d++) {
		out->leg[d].packets = packets[d];
		out->leg[d].bytes = bytes[d];
	}
	out->polled_us = polled;
}

/* Of a flow that nobody has tried to offload. */
static enum offload_reason plain_reason(
	struct offload *o, const struct flow_view *v, uint32_t now_ms)
{
	struct offload_limits limits;
	int why;

	if (o == NULL || o->e->env.provider == NULL ||
		!atomic_load_explicit(&o->e->enabled, memory_order_relaxed))
		return OFFLOAD_Disabled;
	limits.min_age_ms = atomic_load_explicit(&o->e->min_age_ms, memory_order_relaxed);
	why = offload_flow_allows(&limits, now_ms, v);
	return why != 0 ? (enum offload_reason)why : OFFLOAD_TooSlow;
}

void offload_flow_read(struct offload *o, enum ip_family f, uint32_t entry, uint32_t generation,
	const struct flow_view *view, uint32_t now_ms, struct offload_flow *out)
{
	uint32_t id = choice_id(f, entry);
	const struct nominee *n = o != NULL ? choice_at(o->e->choice, id) : NULL;
	uint8_t state = NOMINEE_IDLE;

	memset(out, 0, sizeof(*out));
	if (n != NULL)
		state = atomic_load_explicit(&n->state, memory_order_acquire);
	for (int d = 0; d < 2; d++) {
		uint32_t word = atomic_load_explicit(&view->cold.offload[d], memory_order_relaxed);
		struct offload_flow_leg *leg = &out->leg[d];

		leg->state = offload_word_state(word);
		leg->reason = offload_word_reason(word);
		leg->since_ms = offload_word_since(word);
		/* A word that was never written is of a flow that nobody has asked for. */
		if (word != 0 && n != NULL)
			leg->refusal = refusal_read(
				o->e, atomic_load_explicit(&n->refusal[d], memory_order_acquire));
		if (leg->state == OFFLOAD_SOFTWARE && leg->reason == OFFLOAD_REASON_NONE)
			leg->reason = plain_reason(o, view, now_ms);
		if (leg->state == OFFLOAD_SOFTWARE && state == NOMINEE_WAITING) {
			leg->state = OFFLOAD_QUEUED;
			leg->reason = atomic_load_explicit(&o->e->full, memory_order_relaxed)
				? OFFLOAD_TableFull
				: OFFLOAD_Budget;
		}
	}
	if (state == NOMINEE_RESIDENT)
		read_counters(o->e, n, id, generation, out);
}

uint32_t offload_caps_read(
	struct offload *o, uint16_t index, struct offload_caps_row *out, uint32_t n)
{
	uint32_t rows = 0;

	if (index >= OFFLOAD_PORTS_MAX)
		return 0;
	/* Ports come and go by command: not while this is held. */
	pthread_mutex_lock(&o->lock);
	if (o->e->port[index].caps != NULL)
		rows = offload_caps_rows(o->e->port[index].caps, out, n);
	pthread_mutex_unlock(&o->lock);
	return rows;
}

uint32_t offload_operation_read(struct offload *o, uint64_t *cursor, char *out, uint32_t size)
{
	const struct offload_provider *p = o->e->env.provider;

	return p != NULL && p->operation != NULL ? p->operation(p->arg, cursor, out, size) : 0;
}
