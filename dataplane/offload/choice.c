/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See choice.h. The queue is a list a class of counts and a word that says which have somebody, so
 * that the best is found in a step. The calendar has a list per 10 ms of a second: a flow is put
 * where its second ends, so that halving costs the same in every tick. Offload thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/offload.h"
#include "offload/choice.h"

#define TICK_US      10000
#define WINDOW_TICKS 100
/* More lists than a second has ticks: a thread that a device held up is behind for a while, and
 * must not take a second that just began for one that is over. */
#define CALENDAR    256
#define BACKOFF_MAX 6 /* 64 s */
/* Counts below have no meaning: a nomination stands for as many at least. */
#define COUNT_MIN (1u << OFFLOAD_SHIFT_MIN)

struct list {
	uint32_t head, tail; /* id + 1 */
};

struct choice {
	struct choice_config cfg;
	struct nominee *at[IP_FAMILIES];
	uint64_t tick;               /* the last one that was looked at */
	uint32_t calendar[CALENDAR]; /* id + 1 */
	struct list class[CHOICE_CLASSES];
	uint64_t some; /* classes that have somebody */
	struct choice_stats stats;
};

int choice_new(const struct choice_config *cfg, struct choice **out)
{
	struct choice *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->cfg = *cfg;
	for (int f = 0; f < IP_FAMILIES; f++) {
		c->at[f] = calloc(cfg->flows[f] != 0 ? cfg->flows[f] : 1, sizeof(struct nominee));
		if (c->at[f] == NULL) {
			choice_free(c);
			return -ENOMEM;
		}
	}
	choice_configure(c, cfg->min_pps);
	*out = c;
	return 0;
}

void choice_free(struct choice *c)
{
	if (c == NULL)
		return;
	for (int f = 0; f < IP_FAMILIES; f++)
		free(c->at[f]);
	free(c);
}

void choice_configure(struct choice *c, uint32_t min_pps)
{
	c->cfg.min_pps = min_pps > COUNT_MIN ? min_pps : COUNT_MIN;
}

static struct nominee *at(const struct choice *c, uint32_t id)
{
	return &c->at[choice_family(id)][choice_entry(id)];
}

struct nominee *choice_at(struct choice *c, uint32_t id)
{
	return choice_entry(id) < c->cfg.flows[choice_family(id)] ? at(c, id) : NULL;
}

const struct choice_stats *choice_stats(const struct choice *c)
{
	return &c->stats;
}

static void set_state(struct nominee *n, enum nominee_state s)
{
	atomic_store_explicit(&n->state, (uint8_t)s, memory_order_release);
}

static enum nominee_state state_of(const struct nominee *n)
{
	return (enum nominee_state)atomic_load_explicit(&n->state, memory_order_relaxed);
}

static bool queued(const struct nominee *n)
{
	return state_of(n) == NOMINEE_SEEN || state_of(n) == NOMINEE_WAITING;
}

/* --- the queue ---------------------------------------------------------------------------------
 */

static uint8_t class_of(uint32_t count)
{
	unsigned log = 31 - (unsigned)__builtin_clz(count | 1);

	return (uint8_t)(log < 2 ? count : 4 * (log - 1) + (count >> (log - 2) & 3));
}

static void enqueue(struct choice *c, uint32_t id, struct nominee *n)
{
	struct list *l;

	n->class = class_of(n->count);
	l = &c->class[n->class];
	n->next = 0;
	n->prev = l->tail;
	if (l->tail != 0)
		at(c, l->tail - 1)->next = id + 1;
	else
		l->head = id + 1;
	l->tail = id + 1;
	c->some |= UINT64_C(1) << n->class;
	c->stats.waiting++;
}

static void dequeue(struct choice *c, struct nominee *n)
{
	struct list *l = &c->class[n->class];

	if (n->prev != 0)
		at(c, n->prev - 1)->next = n->next;
	else
		l->head = n->next;
	if (n->next != 0)
		at(c, n->next - 1)->prev = n->prev;
	else
		l->tail = n->prev;
	if (l->head == 0)
		c->some &= ~(UINT64_C(1) << n->class);
	c->stats.waiting--;
}

static void count(struct choice *c, uint32_t id, struct nominee *n, uint32_t packets)
{
	n->count = (uint16_t)(packets < UINT16_MAX ? packets : UINT16_MAX);
	if (class_of(n->count) == n->class)
		return;
	dequeue(c, n);
	enqueue(c, id, n);
}

uint32_t choice_best(struct choice *c, uint32_t patience_ms, uint64_t now_us)
{
	uint32_t now_ms = (uint32_t)(now_us / 1000);

	for (uint64_t left = c->some; left != 0;) {
		unsigned k = 63 - (unsigned)__builtin_clzll(left);
		uint32_t id = c->class[k].head - 1;
		const struct nominee *n = at(c, id);

		if (n->count < c->cfg.min_pps)
			return CHOICE_NONE;
		if (state_of(n) == NOMINEE_WAITING || now_ms - n->since >= patience_ms)
			return id;
		left &= ~(UINT64_C(1) << k);
	}
	return CHOICE_NONE;
}

void choice_take(struct choice *c, uint32_t id)
{
	struct nominee *n = at(c, id);

	dequeue(c, n);
	set_state(n, NOMINEE_IDLE);
	c->stats.candidates++;
}

void choice_offer(struct choice *c, uint32_t id, uint32_t pps, uint64_t now_us)
{
	struct nominee *n = at(c, id);

	if (pps < c->cfg.min_pps)
		pps = c->cfg.min_pps;
	n->count = (uint16_t)(pps < UINT16_MAX ? pps : UINT16_MAX);
	n->since = (uint32_t)(now_us / 1000);
	n->known = true;
	set_state(n, NOMINEE_WAITING);
	enqueue(c, id, n);
}

void choice_release(struct choice *c, uint32_t id)
{
	struct nominee *n = at(c, id);

	if (queued(n))
		dequeue(c, n);
	n->count = 0;
	n->backoff = 0;
	n->known = false;
	set_state(n, NOMINEE_IDLE);
}

void choice_refuse(struct choice *c, uint32_t id, uint64_t now_us)
{
	struct nominee *n = at(c, id);
	uint8_t backoff = n->backoff;

	choice_release(c, id);
	n->not_before = (uint32_t)(now_us / 1000) + (1000u << backoff);
	n->backoff = backoff < BACKOFF_MAX ? backoff + 1 : backoff;
}

/* --- counting ----------------------------------------------------------------------------------
 */

/* When its second ends, unless one that ended early still runs. */
static void list_second(struct choice *c, uint32_t id, struct nominee *n, uint64_t tick)
{
	uint32_t *list = &c->calendar[(tick + WINDOW_TICKS) % CALENDAR];

	if (n->listed)
		return;
	n->listed = true;
	n->next_second = *list;
	*list = id + 1;
}

/* Another flow has the entry. What hardware holds is ended where that is found. */
static void begin_anew(struct choice *c, uint32_t id, struct nominee *n, uint32_t generation)
{
	choice_release(c, id);
	n->generation = generation;
	n->not_before = 0;
	memset(n->seen, 0, sizeof(n->seen));
	n->refusal[0] = n->refusal[1] = 0;
}

static bool backs_off(struct nominee *n, uint64_t now_us)
{
	if (n->not_before == 0)
		return false;
	if ((int32_t)((uint32_t)(now_us / 1000) - n->not_before) < 0)
		return true;
	n->not_before = 0;
	return false;
}

void choice_nominate(struct choice *c, uint32_t id, uint32_t generation, enum lane_dir dir,
	const struct offload_seen *seen, uint32_t packets, uint64_t now_us)
{
	struct nominee *n = choice_at(c, id);

	c->stats.nominations++;
	if (n == NULL || state_of(n) == NOMINEE_RESIDENT)
		return;
	if (n->generation != generation)
		begin_anew(c, id, n, generation);
	n->seen[dir].vport = seen->vport;
	n->seen[dir].ttl = seen->ttl;
	n->seen[dir].worker = seen->worker;
	if (seen->len > n->seen[dir].len)
		n->seen[dir].len = seen->len;
	if (queued(n)) {
		set_state(n, NOMINEE_WAITING);
		count(c, id, n, n->count + packets);
		return;
	}
	if (backs_off(n, now_us))
		return;
	n->count = (uint16_t)packets;
	n->since = (uint32_t)(now_us / 1000);
	set_state(n, NOMINEE_SEEN);
	enqueue(c, id, n);
	list_second(c, id, n, now_us / TICK_US);
}

/* Its second is over: what it had counts half from now on. */
static void halve(struct choice *c, uint32_t id, bool room)
{
	struct nominee *n = at(c, id);

	n->listed = false;
	if (!queued(n))
		return;
	c->stats.judged++;
	/* What waits for nothing but its turn keeps the rate that hardware measured. */
	if (!n->known || !room) {
		if (n->count / 2 < c->cfg.min_pps) {
			c->stats.too_slow++;
			choice_release(c, id);
			return;
		}
		count(c, id, n, n->count / 2);
	}
	list_second(c, id, n, c->tick);
}

void choice_tick(struct choice *c, bool room, uint64_t now_us)
{
	uint64_t now = now_us / TICK_US;

	if (c->tick == 0 || now - c->tick > CALENDAR)
		c->tick = c->tick == 0 ? now : now - CALENDAR;
	while (c->tick < now) {
		uint32_t *list = &c->calendar[++c->tick % CALENDAR], id = *list;

		*list = 0;
		while (id != 0) {
			uint32_t next = at(c, id - 1)->next_second;

			halve(c, id - 1, room);
			id = next;
		}
	}
}
