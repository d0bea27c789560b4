/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Counters of rules, asked for in turn: what hardware forwarded keeps its flow alive, tells how
 * fast it is, and what has not been hit for long loses its place.
 *
 * A wheel of 10 ms places says whose turn it is, lists by powers of two who is slowest. Queries do
 * not reset; a step backwards means that the device began anew, and is rebased. The flow's hot line
 * is touched here and not through its owner: a busy word keeps the entry from being given to
 * another flow, and any worker that sees a packet stores there as well. Offload thread. */

#include "offload/engine.h"

#define WHEEL_US ENGINE_TICK_US
/* A resident is no victim before. */
#define SWAP_AGE_US 5000000
/* Of each class so many are looked at for one of that age. */
#define SWAP_LOOKS 8
/* Packets of a sample that came to software long after the rule was made. */
#define SUSPECTS 3

/* --- lists -------------------------------------------------------------------------------------
 */

/* Of slots, through one of their links. head: next is the first, prev the last. */
#define LIST(name, member)                                                                    \
	static void name##_append(struct offload_engine *e, struct link *head, uint32_t slot) \
	{                                                                                     \
		struct link *l = &e->at[slot].member;                                         \
                                                                                              \
		l->next = SLOT_NONE;                                                          \
		l->prev = head->prev;                                                         \
		if (head->prev != SLOT_NONE)                                                  \
			e->at[head->prev].member.next = slot;                                 \
		else                                                                          \
			head->next = slot;                                                    \
		head->prev = slot;                                                            \
	}                                                                                     \
                                                                                              \
	static void name##_remove(struct offload_engine *e, struct link *head, uint32_t slot) \
	{                                                                                     \
		struct link *l = &e->at[slot].member;                                         \
                                                                                              \
		if (l->prev != SLOT_NONE)                                                     \
			e->at[l->prev].member.next = l->next;                                 \
		else                                                                          \
			head->next = l->next;                                                 \
		if (l->next != SLOT_NONE)                                                     \
			e->at[l->next].member.prev = l->prev;                                 \
		else                                                                          \
			head->prev = l->prev;                                                 \
	}

LIST(due, by_due)
LIST(lane, by_speed)

static unsigned speed_of(uint32_t pps)
{
	return pps == 0 ? 0 : 32 - (unsigned)__builtin_clz(pps);
}

void speed_add(struct offload_engine *e, uint32_t slot)
{
	struct resident *r = &e->at[slot];
	unsigned k = speed_of(r->pps);

	r->speed = (uint8_t)(k < SPEEDS ? k : SPEEDS - 1);
	lane_append(e, &e->speed[r->speed], slot);
}

void speed_remove(struct offload_engine *e, uint32_t slot)
{
	lane_remove(e, &e->speed[e->at[slot].speed], slot);
}

uint32_t speed_slowest(struct offload_engine *e, uint64_t now_us)
{
	for (unsigned k = 0; k < SPEEDS; k++) {
		uint32_t slot = e->speed[k].next;

		for (int look = 0; look < SWAP_LOOKS && slot != SLOT_NONE; look++) {
			if (now_us - e->at[slot].since_us >= SWAP_AGE_US)
				return slot;
			slot = e->at[slot].by_speed.next;
		}
	}
	return SLOT_NONE;
}

void poll_add(struct offload_engine *e, uint32_t slot, uint64_t in_us)
{
	uint64_t now = engine_now_us(e) / WHEEL_US, ticks = in_us / WHEEL_US;
	uint64_t from = e->wheel_tick != 0 && e->wheel_tick < now ? e->wheel_tick : now;
	uint64_t due = now + (ticks != 0 ? ticks : 1);
	struct resident *r = &e->at[slot];

	/* A round begins where polls have come to. When they are late, what is put further than a
	 * round would be found again in this one, and make them later. */
	if (due >= from + ENGINE_WHEEL)
		due = from + ENGINE_WHEEL - 1;
	r->due = (uint16_t)(due % ENGINE_WHEEL);
	due_append(e, &e->wheel[r->due], slot);
}

void poll_remove(struct offload_engine *e, uint32_t slot)
{
	due_remove(e, &e->wheel[e->at[slot].due], slot);
}

/* --- counters ----------------------------------------------------------------------------------
 */

static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_store_explicit(
		to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

int poll_leg(struct offload_engine *e, struct resident *r, enum lane_dir dir, uint64_t *delta)
{
	struct engine_port *p = &e->port[r->leg[dir].path.in];
	struct leg *leg = &r->leg[dir];
	struct offload_error err = {0};
	struct offload_count now;
	uint64_t bytes;
	int ret = e->env.provider->query(e->env.provider->arg, leg->handle, &now, &err);

	*delta = 0;
	e->stats.queries++;
	if (ret < 0) {
		e->stats.query_errors++;
		return ret;
	}
	if (now.packets < leg->device_packets || now.bytes < leg->device_bytes) {
		leg->device_packets = leg->device_bytes = 0;
		e->stats.rebased++;
	}
	*delta = now.packets - leg->device_packets;
	bytes = now.bytes - leg->device_bytes;
	leg->device_packets = now.packets;
	leg->device_bytes = now.bytes;
	add(&leg->packets, *delta);
	add(&leg->bytes, bytes);
	p->stats.packets += *delta;
	p->stats.bytes += bytes;
	e->stats.packets += *delta;
	e->stats.bytes += bytes;
	return 0;
}

/* The idle time of its state, a quarter of it at most. */
static uint64_t interval_us(const struct offload_engine *e, const struct flow_meta *m)
{
	const struct tunables *t;
	uint64_t us;

	if (e->env.enter != NULL)
		e->env.enter(e->env.arg);
	t = atomic_load_explicit(&e->env.dp->tunables, memory_order_acquire);
	us = (uint64_t)t->timeouts.ms[m->class][m->settled] * 1000 / 4;
	if (e->env.leave != NULL)
		e->env.leave(e->env.arg);
	return us < ENGINE_POLL_US ? us : ENGINE_POLL_US;
}

/* Is the flow as it was offloaded? A request that told otherwise may have been lost. */
static bool flow_stands(struct offload_engine *e, const struct resident *r)
{
	uint32_t id = atomic_load_explicit(&r->id, memory_order_relaxed);
	struct flow_meta *m = flow_meta(e->flows, choice_family(id), choice_entry(id));

	return atomic_load_explicit(&m->state, memory_order_relaxed) == m->settled &&
		atomic_load_explicit(&m->generation, memory_order_relaxed) == r->generation;
}

/* Rules of a shape that the device took and does not act by. */
static void quarantine(struct offload_engine *e, uint32_t slot)
{
	struct resident *r = &e->at[slot];

	for (int d = 0; d < 2; d++) {
		struct leg *leg = &r->leg[d];
		struct engine_port *p = &e->port[leg->path.in];
		char text[96];

		if (leg->handle == NULL || leg->marked != 0 ||
			atomic_load_explicit(&leg->packets, memory_order_relaxed) != 0)
			continue;
		offload_caps_quarantine(p->caps, leg->shape);
		p->stats.quarantined++;
		offload_shape_text(leg->shape, text, sizeof(text));
		if (e->env.alarm != NULL)
			e->env.alarm(e->env.arg, "shape_quarantined", text);
	}
	e->stats.refused[OFFLOAD_ShapeQuarantined]++;
	life_revoke(e, slot, OFFLOAD_ShapeQuarantined, false);
}

static void poll_one(struct offload_engine *e, uint32_t slot)
{
	struct resident *r = &e->at[slot];
	uint32_t id = atomic_load_explicit(&r->id, memory_order_relaxed);
	struct flow_meta *m = flow_meta(e->flows, choice_family(id), choice_entry(id));
	uint64_t now = engine_now_us(e), hits = 0, since, delta;
	uint64_t polled = atomic_load_explicit(&r->polled_us, memory_order_relaxed);

	if (r->state == RESIDENT_LEAVING) {
		life_revoke(e, slot, (enum offload_reason)r->reason, r->requeue);
		return;
	}
	if (!flow_stands(e, r) || r->suspect == UINT8_MAX) {
		e->stats.ended++;
		life_revoke(e, slot, OFFLOAD_NotEstablished, false);
		return;
	}
	for (int d = 0; d < 2; d++) {
		struct engine_port *p = &e->port[r->leg[d].path.in];
		int ret;

		if (r->leg[d].handle == NULL)
			continue;
		/* Its packets went through a worker, whose samples are all that is known. */
		if (r->leg[d].mark != 0) {
			hits += r->leg[d].marked - r->leg[d].marked_polled;
			r->leg[d].marked_polled = r->leg[d].marked;
			continue;
		}
		ret = poll_leg(e, r, (enum lane_dir)d, &delta);
		hits += delta;
		if (ret < 0 && ports_is_gone(e, p, ret)) {
			ports_gone(e, p);
			if (r->state == RESIDENT_IN)
				life_revoke(e, slot, OFFLOAD_PortGone, false);
			return;
		}
	}
	since = now - (polled != 0 ? polled : r->since_us);
	atomic_store_explicit(&r->polled_us, now, memory_order_relaxed);
	if (hits != 0) {
		r->hit_us = now;
		r->suspect = 0;
		flow_touch(m, engine_now_ms(e));
	} else if (r->suspect >= SUSPECTS) {
		quarantine(e, slot);
		return;
	} else if (now - r->hit_us > (uint64_t)e->cfg.idle_demote_ms * 1000) {
		e->stats.demoted++;
		life_revoke(e, slot, OFFLOAD_TooSlow, false);
		return;
	}
	speed_remove(e, slot);
	if (since != 0)
		r->pps = (uint32_t)(hits * 1000000 / since);
	speed_add(e, slot);
	poll_remove(e, slot);
	poll_add(e, slot, interval_us(e, m));
}

bool poll_due(struct offload_engine *e, uint64_t until_us)
{
	uint64_t now = engine_now_us(e), tick = now / WHEEL_US;

	if (e->wheel_tick == 0)
		e->wheel_tick = tick;
	while (e->wheel_tick <= tick) {
		struct link *place = &e->wheel[e->wheel_tick % ENGINE_WHEEL];

		while (place->next != SLOT_NONE) {
			poll_one(e, place->next);
			if (engine_now_us(e) >= until_us) {
				e->stats.poll_lag_us = (tick - e->wheel_tick) * WHEEL_US;
				return place->next != SLOT_NONE || e->wheel_tick < tick;
			}
		}
		e->wheel_tick++;
	}
	e->stats.poll_lag_us = 0;
	return false;
}
