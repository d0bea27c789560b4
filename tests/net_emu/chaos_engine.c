/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The offload engine of the chaos program: started, ended in order, and killed.
 *
 * Its thread does what dataplane/offload/offload.c does, under a lock, so that the main thread can
 * compare its tables between two turns. Killing leaves what SIGKILL leaves: the device's rules,
 * and nobody who knows of them. */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net_emu/chaos.h"

#define ACKNOWLEDGED_S 30

static void enter(void *arg)
{
	struct chaos *c = arg;

	rim_reader_enter(c->rim);
}

static void leave(void *arg)
{
	struct chaos *c = arg;

	rim_reader_leave(c->rim);
}

static uint32_t now_ms(void *arg)
{
	const struct chaos *c = arg;

	return rim_now_ms(c->rim);
}

static uint64_t clock_us(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int fence(void *arg, uint16_t ethdev, bool on)
{
	struct chaos *c = arg;

	return rim_port_fence(c->rim, ethdev, on);
}

static void alarm_seen(void *arg, const char *what, const char *text)
{
	struct chaos *c = arg;

	c->alarms++;
	if (getenv("SLUICE_TEST_LOG") != NULL)
		fprintf(stderr, "  alarm %s %s\n", what, text);
}

void chaos_lock(struct chaos *c)
{
	atomic_fetch_add(&c->wanted, 1);
	pthread_mutex_lock(&c->lock);
	atomic_fetch_sub(&c->wanted, 1);
}

void chaos_unlock(struct chaos *c)
{
	pthread_mutex_unlock(&c->lock);
}

static void *turns(void *arg)
{
	struct chaos *c = arg;

	while (!atomic_load(&c->stop)) {
		struct timespec ts = {0};
		uint32_t us;

		pthread_mutex_lock(&c->lock);
		us = engine_turn(c->e);
		pthread_mutex_unlock(&c->lock);
		ts.tv_nsec = (long)(us < 10000 ? us : 10000) * 1000;
		if (us != 0)
			nanosleep(&ts, NULL);
		while (atomic_load(&c->wanted) != 0 && !atomic_load(&c->stop))
			sched_yield();
	}
	return NULL;
}

static void take_ring(struct worker *w, void *arg)
{
	w->offload = arg;
}

static void set_ring(struct chaos *c, struct spsc *ring)
{
	while (rim_call(c->rim, 0, take_ring, ring) != 0)
		sched_yield();
	chaos_grace(c);
	/* The call may have run in the very loop that was seen to pass. */
	chaos_grace(c);
}

void chaos_ports_add(struct chaos *c)
{
	chaos_lock(c);
	for (unsigned i = 0; i < PORTS; i++)
		ports_add(c->e, c->index[i], c->ethdev[i], NULL);
	chaos_unlock(c);
}

void chaos_engine_up(struct chaos *c)
{
	struct offload_env env = {.dp = c->dp,
		.provider = offload_provider_rte_flow(),
		.enter = enter,
		.leave = leave,
		.now_ms = now_ms,
		.clock_us = clock_us,
		.fence = fence,
		.alarm = alarm_seen,
		.arg = c};

	if (engine_new(&c->cfg, &env, &c->e) < 0)
		chaos_die("no engine");
	chaos_ports_add(c);
	atomic_store(&c->stop, false);
	if (pthread_create(&c->thread, NULL, turns, c) != 0)
		chaos_die("no thread");
	set_ring(c, c->e->ring[0]);
}

static void stats_keep(struct chaos *c)
{
	const struct offload_stats *s = &c->e->stats;
	struct offload_stats *to = &c->before;

	to->inserted += s->inserted;
	to->removed += s->removed;
	to->revoked += s->revoked;
	to->ended += s->ended;
	to->evicted += s->evicted;
	to->demoted += s->demoted;
	to->escalations += s->escalations;
	to->unconfirmed += s->unconfirmed;
	to->passes += s->passes;
	c->packets_before += s->packets;
}

/* The process is gone with its memory: flow table, handles. */
static void forget_all(struct chaos *c)
{
	struct flow_table *t = c->dp->flows;
	struct offload_engine *e = c->e;

	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t entry = 0; entry < FLOWS; entry++)
			flow_kill(t, (enum ip_family)f, entry);
	for (uint32_t slot = 0; slot < e->high; slot++)
		for (int d = 0; d < 2; d++) {
			struct resident *r = &e->at[slot];
			uint32_t id = atomic_load(&r->id);

			if (r->state == RESIDENT_FREE || r->leg[d].handle == NULL)
				continue;
			e->env.provider->forget(e->env.provider->arg, r->leg[d].handle);
			flow_let_go(t, choice_family(id), choice_entry(id), (enum lane_dir)d, 0);
		}
	for (int f = 0; f < IP_FAMILIES; f++)
		while (flow_held_take(t, (enum ip_family)f) != FLOW_NONE)
			;
}

void chaos_engine_down(struct chaos *c, bool polite)
{
	set_ring(c, NULL);
	atomic_store(&c->stop, true);
	pthread_join(c->thread, NULL);
	if (polite)
		CHAOS_CHECK(c, polite, engine_stop(c->e), "the engine left rules");
	else
		forget_all(c);
	stats_keep(c);
	engine_free(c->e);
	c->e = NULL;
}

void chaos_acknowledge(struct chaos *c, bool flush)
{
	uint64_t ticket = engine_revalidate(c->e, flush);
	double late = chaos_now() + ACKNOWLEDGED_S;
	bool done = false;

	while (!done && chaos_now() < late) {
		chaos_lock(c);
		done = c->e->pass_done >= ticket;
		chaos_unlock(c);
		if (!done)
			chaos_traffic(c, 4);
	}
	CHAOS_CHECK(c, acknowledged, done, "a change is not acknowledged: %u flows are leaving",
		c->e->n_leaving);
}

bool chaos_needs_nic(struct chaos *c)
{
	bool needs = false;

	chaos_lock(c);
	for (unsigned i = 0; i < PORTS; i++)
		needs |= c->e->port[c->index[i]].state != PORT_READY;
	chaos_unlock(c);
	return needs;
}
