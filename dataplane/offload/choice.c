/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See choice.h. The calendar has a list per 10 ms of a second: a flow is put where its second
 * ends, so that judging costs the same in every tick. Offload thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "offload/choice.h"

#define TICK_US      10000
#define WINDOW_TICKS 100
/* More lists than a second has ticks: a thread that a device held up is behind for a while, and
 * must not take a second that just began for one that is over. */
#define CALENDAR    256
#define BACKOFF_MAX 6 /* 64 s */
/* Counts that the histogram of judged flows tells apart. */
#define COUNTS 16

struct list {
	uint32_t head, tail; /* id + 1 */
};

struct choice {
	struct choice_config cfg;
	struct nominee *at[IP_FAMILIES];
	uint64_t tick;               /* the last one judged */
	uint32_t room;               /* at the last tick */
	uint32_t calendar[CALENDAR]; /* id + 1 */
	struct list waiting[CHOICE_CLASSES];
	/* Flows judged in the last second or so, by count, times 256. */
	uint64_t judged[COUNTS];
	struct choice_stats stats;
};

int choice_new(const struct choice_config *cfg, struct choice **out)
{
	struct choice *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->cfg = *cfg;
	c->room = UINT32_MAX;
	for (int f = 0; f < IP_FAMILIES; f++) {
		c->at[f] = calloc(cfg->flows[f] != 0 ? cfg->flows[f] : 1, sizeof(struct nominee));
		if (c->at[f] == NULL) {
			choice_free(c);
			return -ENOMEM;
		}
	}
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

void choice_configure(struct choice *c, uint32_t min_count, uint32_t elephant)
{
	c->cfg.min_count = min_count;
	c->cfg.elephant = elephant;
}

struct nominee *choice_at(struct choice *c, uint32_t id)
{
	enum ip_family f = choice_family(id);

	return choice_entry(id) < c->cfg.flows[f] ? &c->at[f][choice_entry(id)] : NULL;
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

/* --- candidates --------------------------------------------------------------------------------
 */

static unsigned class_of(uint32_t count)
{
	unsigned log = 31 - (unsigned)__builtin_clz(count | 1);

	return log < CHOICE_CLASSES ? log : CHOICE_CLASSES - 1;
}

void choice_offer(struct choice *c, uint32_t id, uint32_t count)
{
	struct nominee *n = choice_at(c, id), *last;
	struct list *l;

	n->count = (uint16_t)(count < UINT16_MAX ? count : UINT16_MAX);
	l = &c->waiting[class_of(n->count)];
	n->next_waiting = 0;
	set_state(n, NOMINEE_WAITING);
	if (l->head == 0) {
		l->head = id + 1;
	} else {
		last = choice_at(c, l->tail - 1);
		last->next_waiting = id + 1;
	}
	l->tail = id + 1;
	c->stats.waiting++;
	c->stats.candidates++;
}

uint32_t choice_take(struct choice *c)
{
	for (unsigned k = CHOICE_CLASSES; k-- > 0;) {
		struct list *l = &c->waiting[k];
		uint32_t id = l->head - 1;

		if (l->head == 0)
			continue;
		l->head = choice_at(c, id)->next_waiting;
		c->stats.waiting--;
		return id;
	}
	return CHOICE_NONE;
}

uint32_t choice_best(const struct choice *c)
{
	for (unsigned k = CHOICE_CLASSES; k-- > 0;)
		if (c->waiting[k].head != 0) {
			uint32_t id = c->waiting[k].head - 1;

			return c->at[choice_family(id)][choice_entry(id)].count;
		}
	return 0;
}

void choice_release(struct choice *c, uint32_t id)
{
	struct nominee *n = choice_at(c, id);

	n->count = 0;
	n->backoff = 0;
	set_state(n, NOMINEE_IDLE);
}

void choice_refuse(struct choice *c, uint32_t id, uint64_t now_us)
{
	struct nominee *n = choice_at(c, id);

	n->not_before = (uint32_t)(now_us / 1000) + (1000u << n->backoff);
	if (n->backoff < BACKOFF_MAX)
		n->backoff++;
	n->count = 0;
	set_state(n, NOMINEE_IDLE);
}

/* --- counting ----------------------------------------------------------------------------------
 */

static void start_second(struct choice *c, uint32_t id, struct nominee *n, uint64_t now_us)
{
	uint32_t *list = &c->calendar[(now_us / TICK_US + WINDOW_TICKS) % CALENDAR];

	n->count = 0;
	set_state(n, NOMINEE_COUNTED);
	/* Still listed from a second that ended early: it will be judged at that one's end. */
	if (n->listed)
		return;
	n->listed = true;
	n->next = *list;
	*list = id + 1;
}

struct nominee *choice_nominate(struct choice *c, uint32_t id, uint32_t generation,
	enum lane_dir dir, const struct offload_seen *seen, uint64_t now_us)
{
	struct nominee *n = choice_at(c, id);

	c->stats.nominations++;
	if (n == NULL)
		return NULL;
	if (n->generation != generation) {
		/* Another flow has the entry. What hardware holds, and what waits for its turn, is
		 * ended where it is found. */
		if (state_of(n) >= NOMINEE_WAITING)
			return n;
		n->generation = generation;
		n->not_before = 0;
		n->backoff = 0;
		n->count = 0;
		memset(n->seen, 0, sizeof(n->seen));
	}
	if (state_of(n) == NOMINEE_RESIDENT)
		return n;
	n->seen[dir].vport = seen->vport;
	n->seen[dir].ttl = seen->ttl;
	if (seen->len > n->seen[dir].len)
		n->seen[dir].len = seen->len;
	if (state_of(n) == NOMINEE_WAITING)
		return n;
	if (n->not_before != 0) {
		if ((int32_t)((uint32_t)(now_us / 1000) - n->not_before) < 0)
			return n;
		n->not_before = 0;
	}
	if (state_of(n) == NOMINEE_IDLE)
		start_second(c, id, n, now_us);
	if (n->count < UINT16_MAX)
		n->count++;
	/* Who has to be compared is counted to the end. */
	if (n->count >= c->cfg.elephant && c->room > c->stats.waiting)
		choice_offer(c, id, n->count);
	return n;
}

/* The least count with which there is room for all flows that have as many. */
static uint32_t threshold(const struct choice *c, uint32_t room)
{
	uint64_t flows = 0;
	uint32_t k;

	for (k = COUNTS - 1; k > c->cfg.min_count; k--) {
		flows += c->judged[k] / 256;
		if (flows > room)
			return k + 1;
	}
	flows += c->judged[c->cfg.min_count] / 256;
	return flows > room ? c->cfg.min_count + 1 : c->cfg.min_count;
}

static void judge(struct choice *c, uint32_t list, uint32_t least)
{
	while (list != 0) {
		uint32_t id = list - 1;
		struct nominee *n = choice_at(c, id);

		list = n->next;
		n->listed = false;
		if (state_of(n) != NOMINEE_COUNTED)
			continue;
		c->stats.judged++;
		c->judged[n->count < COUNTS ? n->count : COUNTS - 1] += 256;
		if (n->count >= least) {
			choice_offer(c, id, n->count);
		} else {
			c->stats.too_slow++;
			n->count = 0;
			set_state(n, NOMINEE_IDLE);
		}
	}
}

void choice_tick(struct choice *c, uint32_t room, uint64_t now_us)
{
	uint64_t now = now_us / TICK_US;

	c->room = room;
	if (c->tick == 0 || now - c->tick > CALENDAR)
		c->tick = c->tick == 0 ? now : now - CALENDAR;
	while (c->tick < now) {
		uint32_t *list = &c->calendar[++c->tick % CALENDAR];
		uint32_t first = *list;
		uint32_t left = room > c->stats.waiting ? room - c->stats.waiting : 0;

		*list = 0;
		judge(c, first, threshold(c, left));
		for (uint32_t k = 0; k < COUNTS; k++)
			c->judged[k] -= c->judged[k] / WINDOW_TICKS;
	}
}
