/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* One turn of the offload thread, in the order of what must not wait: flows that ended,
 * revocations, workers' requests, candidates, counters.
 *
 * A pass derives every rule again under what control has published and takes out those that differ.
 * It needs no list of what changed: whatever a rule depends on is in its derivation, so nothing can
 * be forgotten. It runs in slices, between which ended flows and requests are served. Offload
 * thread, but for engine_revalidate(). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "offload/engine.h"

#define REQUESTS_A_TURN 8192
#define REQUESTS_BATCH  32
#define PASS_BATCH      64
#define SLICE_US        2000
/* More nominations a tick than these are not asked for: a fifth of the thread's time. */
#define ASKED_MAX 20000
/* While hardware has so much room, workers are asked for more, if one in so many leads to a rule.
 */
#define ROOM_PART   64
#define USEFUL_PART 64
/* A sample is on its way for a tick or two; later it tells that the rule did not act. */
#define IN_FLIGHT_US 1000000

const char *const offload_insert_result_names[OFFLOAD_INSERT_RESULTS] = {
	[OFFLOAD_INSERT_OK] = "ok",
	[OFFLOAD_INSERT_SHAPE] = "shape",
	[OFFLOAD_INSERT_CAPACITY] = "capacity",
	[OFFLOAD_INSERT_DRIFT] = "drift",
	[OFFLOAD_INSERT_DEVICE] = "device",
	[OFFLOAD_INSERT_GONE] = "gone",
};

void offload_config_default(struct offload_config *cfg)
{
	*cfg = (struct offload_config){
		.enabled = true,
		.capacity = 65536,
		.min_age_ms = 200,
		.min_pps = 8,
		.insert_share = 50,
		.inserts_max = 8192,
		.idle_demote_ms = 30000,
		.revoke_deadline_ms = 5000,
	};
}

/* --- life --------------------------------------------------------------------------------------
 */

static void config_tell(struct offload_engine *e)
{
	atomic_store_explicit(&e->enabled, e->cfg.enabled, memory_order_relaxed);
	atomic_store_explicit(&e->min_age_ms, e->cfg.min_age_ms, memory_order_relaxed);
}

int engine_new(const struct offload_config *cfg, const struct offload_env *env,
	struct offload_engine **out)
{
	struct choice_config cc = {.min_pps = cfg->min_pps};
	struct offload_engine *e = calloc(1, sizeof(*e));
	int ret = -ENOMEM;

	if (e == NULL)
		return -ENOMEM;
	pthread_mutex_init(&e->lock, NULL);
	e->cfg = *cfg;
	config_tell(e);
	e->env = *env;
	e->flows = env->dp->flows;
	e->cap.limit = e->cap.learned = cfg->capacity;
	/* The table is empty: from now on, unless that leads to nothing. */
	e->answered = ASKED_MAX;
	atomic_store_explicit(&env->dp->offload_shift, OFFLOAD_SHIFT_MIN, memory_order_relaxed);
	for (int i = 0; i < OFFLOAD_PORTS_MAX; i++)
		e->map.at[i].ethdev = e->map.at[i].domain = OFFLOAD_NO_PORT;
	for (int i = 0; i < SPEEDS; i++)
		e->speed[i] = (struct link){SLOT_NONE, SLOT_NONE};
	for (int i = 0; i < ENGINE_WHEEL; i++)
		e->wheel[i] = (struct link){SLOT_NONE, SLOT_NONE};
	for (int f = 0; f < IP_FAMILIES; f++)
		cc.flows[f] = flow_capacity(e->flows, (enum ip_family)f);
	if (choice_new(&cc, &e->choice) < 0 || life_init(e) < 0)
		goto fail;
	for (uint32_t w = 0; w < env->dp->n_workers; w++) {
		e->ring[w] = spsc_new(OFFLOAD_REQUESTS_MAX, sizeof(struct offload_request));
		if (e->ring[w] == NULL)
			goto fail;
	}
	*out = e;
	return 0;
fail:
	engine_free(e);
	return ret;
}

void engine_configure(struct offload_engine *e, const struct offload_config *cfg)
{
	bool was = e->cfg.enabled;

	e->cfg = *cfg;
	if (e->cfg.capacity > e->n_slots)
		e->cfg.capacity = e->n_slots;
	config_tell(e);
	e->cap.limit = e->cap.learned = e->cfg.capacity;
	choice_configure(e->choice, cfg->min_pps);
	if (was && !cfg->enabled)
		engine_revalidate(e, false);
}

void engine_free(struct offload_engine *e)
{
	if (e == NULL)
		return;
	for (uint32_t w = 0; w < WORKERS_MAX; w++)
		free(e->ring[w]);
	for (int i = 0; i < OFFLOAD_PORTS_MAX; i++)
		offload_caps_free(e->port[i].caps);
	choice_free(e->choice);
	life_fini(e);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

/* --- flows that ended --------------------------------------------------------------------------
 */

static void drain_held(struct offload_engine *e)
{
	for (int f = 0; f < IP_FAMILIES; f++) {
		uint32_t entry;

		while ((entry = flow_held_take(e->flows, (enum ip_family)f)) != FLOW_NONE) {
			uint32_t id = choice_id((enum ip_family)f, entry);
			uint32_t generation = atomic_load_explicit(
				&flow_meta(e->flows, (enum ip_family)f, entry)->generation,
				memory_order_relaxed);
			uint32_t slot = life_find(e, id, generation);

			e->stats.ended++;
			if (slot != SLOT_NONE)
				life_revoke(e, slot, OFFLOAD_NotEstablished, false);
		}
	}
}

/* --- requests ----------------------------------------------------------------------------------
 */

static uint32_t id_of(const struct resident *r)
{
	return atomic_load_explicit(&r->id, memory_order_relaxed);
}

/* A packet of a flow in hardware came to a worker. */
static void resident_seen(struct offload_engine *e, uint32_t slot, const struct offload_request *q,
	const struct offload_seen *seen)
{
	struct resident *r = &e->at[slot];
	struct leg *leg = &r->leg[q->dir & 1];

	if (leg->handle == NULL) {
		life_complete(e, slot, q->dir & 1, seen);
		return;
	}
	if (leg->mark != 0 && q->marked) {
		leg->marked += UINT64_C(1) << q->shift;
		return;
	}
	if (engine_now_us(e) - r->since_us < IN_FLIGHT_US || r->state != RESIDENT_IN)
		return;
	if ((leg->mark == 0 && seen->ttl != leg->seen.ttl) || seen->vport != leg->seen.vport) {
		e->stats.ttl_changed++;
		leg->seen = *seen;
		life_revoke(e, slot, OFFLOAD_Budget, true);
		return;
	}
	/* Judged at the next poll, when its counter is known. */
	if (r->suspect < UINT8_MAX - 1)
		r->suspect++;
}

static void serve(
	struct offload_engine *e, const struct offload_request *q, uint32_t worker, uint64_t now_us)
{
	uint32_t id = choice_id((enum ip_family)(q->family & 1), q->entry);
	uint32_t slot = life_find(e, id, q->generation);
	struct offload_seen seen = {
		.vport = q->in_vport, .len = q->len, .ttl = q->ttl, .worker = (uint8_t)worker};

	e->stats.requests++;
	switch (q->kind) {
	case OFFLOAD_ENDING:
		if (slot == SLOT_NONE)
			return;
		e->stats.ended++;
		life_revoke(e, slot, OFFLOAD_NotEstablished, false);
		return;
	case OFFLOAD_EXCLUDE:
		/* Rules leave out what this one was: what is in hardware may stay. */
		if (slot != SLOT_NONE || q->len >= OFFLOAD_REASONS)
			return;
		e->stats.refused[q->len]++;
		flow_note(e->flows, (enum ip_family)(q->family & 1), q->entry, q->generation,
			q->dir & 1, engine_word(e, OFFLOAD_SOFTWARE, (enum offload_reason)q->len));
		return;
	case OFFLOAD_NOMINATE:
		if (slot != SLOT_NONE) {
			resident_seen(e, slot, q, &seen);
			return;
		}
		if (!e->cfg.enabled || e->env.provider == NULL)
			return;
		choice_nominate(
			e->choice, id, q->generation, q->dir & 1, &seen, 1u << q->shift, now_us);
		return;
	default:
		return;
	}
}

/* What a request is about is far in memory: a batch's lines come side by side. */
static void requests_prefetch(struct offload_engine *e, const struct offload_request *q, uint32_t n)
{
	const struct nominee *about[REQUESTS_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		about[i] = choice_at(
			e->choice, choice_id((enum ip_family)(q[i].family & 1), q[i].entry));
		if (about[i] != NULL)
			__builtin_prefetch(about[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		if (about[i] != NULL &&
			atomic_load_explicit(&about[i]->state, memory_order_relaxed) ==
				NOMINEE_RESIDENT)
			__builtin_prefetch(&e->at[atomic_load_explicit(
				&about[i]->resident, memory_order_relaxed)]);
}

static bool drain_rings(struct offload_engine *e)
{
	uint64_t now = engine_now_us(e);
	struct offload_request q[REQUESTS_BATCH];
	bool more = false;

	for (uint32_t w = 0; w < WORKERS_MAX; w++) {
		uint32_t left = REQUESTS_A_TURN, n = 0;

		do {
			for (n = 0; e->ring[w] != NULL && n < REQUESTS_BATCH; n++)
				if (!spsc_get(e->ring[w], &q[n]))
					break;
			requests_prefetch(e, q, n);
			for (uint32_t i = 0; i < n; i++)
				serve(e, &q[i], w, now);
			left -= n;
		} while (n == REQUESTS_BATCH && left > 0);
		more |= left == 0;
	}
	return more;
}

/* --- the pass ----------------------------------------------------------------------------------
 */

uint64_t engine_revalidate(struct offload_engine *e, bool flush)
{
	uint64_t ticket;

	pthread_mutex_lock(&e->lock);
	ticket = ++e->pass_wanted;
	e->flush_wanted |= flush;
	pthread_mutex_unlock(&e->lock);
	return ticket;
}

/* A neighbour's address is nobody's to acknowledge: the thread looks for itself. */
static bool hops_moved(struct offload_engine *e)
{
	uint32_t now =
		atomic_load_explicit(&e->env.dp->next_hops->generation, memory_order_acquire);
	bool moved = now != e->hops;

	e->hops = now;
	return moved;
}

static void pass_begin(struct offload_engine *e)
{
	bool moved = hops_moved(e);

	pthread_mutex_lock(&e->lock);
	if (e->pass_wanted != e->pass_taken || (moved && e->n_in != 0)) {
		e->pass_taken = e->pass_wanted;
		e->pass_flush = e->flush_wanted;
		e->flush_wanted = false;
		e->pass_runs = true;
		e->pass_at = 0;
		e->pass_start_us = engine_now_us(e);
		e->pass_deadline_us = e->pass_start_us + (uint64_t)e->cfg.revoke_deadline_ms * 1000;
	}
	pthread_mutex_unlock(&e->lock);
}

/* 0 when the rule of one direction is what it would be made now. full: of the flow, 0 or why not.
 */
static int leg_derived_anew(struct offload_engine *e, const struct flow_view *v,
	const struct leg *leg, enum lane_dir dir, const struct offload_rule *rule, int full)
{
	/* Age was judged when it came. */
	static const struct offload_limits limits;
	struct offload_rule marks;
	struct offload_path path;
	int ret;

	if (leg->mark == 0)
		return full != 0                                        ? full
			: offload_fingerprint(rule) != leg->fingerprint ? OFFLOAD_Budget
									: 0;
	/* What stood in the way of more is gone: it comes back as a full one. What a device refused
	 * is asked again when the flow comes again. */
	if (full == 0 &&
		(leg->why == OFFLOAD_PortNotEthdev || leg->why == OFFLOAD_MtuShrinks ||
			leg->why == OFFLOAD_OtherSwitchDomain))
		return OFFLOAD_Budget;
	if (full != 0 && !offload_is_path_reason(full))
		return full;
	ret = offload_derive_partial(e->env.dp, &e->map, &limits, engine_now_ms(e), v, dir,
		&leg->seen, leg->mark, &marks, &path);
	return ret != 0                                           ? ret
		: offload_fingerprint(&marks) != leg->fingerprint ? OFFLOAD_Budget
								  : 0;
}

/* 0 when the rules are what they would be made now. */
static int derived_anew(struct offload_engine *e, const struct resident *r)
{
	static const struct offload_limits limits;
	struct offload_rule rule[2];
	struct offload_path path;
	struct flow_view v;
	int full[2] = {0, 0}, ret = 0;

	if (e->pass_flush || !e->cfg.enabled)
		return e->cfg.enabled ? OFFLOAD_Budget : OFFLOAD_Disabled;
	if (flow_read(e->flows, choice_family(id_of(r)), choice_entry(id_of(r)), &v) < 0)
		return OFFLOAD_NotEstablished;
	for (int d = 0; d < 2; d++)
		if (r->leg[d].seen.vport != 0)
			full[d] = offload_derive(e->env.dp, &e->map, &limits, engine_now_ms(e), &v,
				(enum lane_dir)d, &r->leg[d].seen, &rule[d], &path);
	/* A mark that is there for the other direction's sake stays as long as that reason does. */
	for (int d = 0; d < 2 && ret == 0; d++)
		if (r->leg[d].handle != NULL)
			ret = leg_derived_anew(e, &v, &r->leg[d], (enum lane_dir)d, &rule[d],
				full[d] == 0 && r->leg[d].mark != 0 &&
						v.key[0].proto == IP_PROTO_TCP
					? full[!d]
					: full[d]);
	return ret;
}

/* The next few residents: who must go, and why. */
static uint32_t pass_collect(
	struct offload_engine *e, uint32_t slots[PASS_BATCH], int why[PASS_BATCH])
{
	uint32_t n = 0;

	if (e->env.enter != NULL)
		e->env.enter(e->env.arg);
	for (uint32_t look = 0; look < PASS_BATCH && e->pass_at < e->high; look++, e->pass_at++) {
		const struct resident *r = &e->at[e->pass_at];

		if (r->state != RESIDENT_IN)
			continue;
		why[n] = derived_anew(e, r);
		if (why[n] != 0)
			slots[n++] = e->pass_at;
	}
	if (e->env.leave != NULL)
		e->env.leave(e->env.arg);
	return n;
}

/* Too late: whole ports at once. */
static void pass_overdue(struct offload_engine *e)
{
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++)
		if (e->port[i].state == PORT_READY &&
			(e->port[i].facts.proxy == e->map.at[i].ethdev ||
				e->port[i].stats.partial != 0))
			ports_escalate(e, e->map.at[i].ethdev);
}

static void pass_end(struct offload_engine *e)
{
	uint64_t took = engine_now_us(e) - e->pass_start_us;

	/* What the device has not confirmed may still act: no ticket settles before. */
	if (e->n_leaving != 0)
		return;
	e->pass_runs = false;
	e->stats.passes++;
	e->stats.pass_us = took;
	if (took > e->stats.pass_max_us)
		e->stats.pass_max_us = took;
	pthread_mutex_lock(&e->lock);
	e->pass_done = e->pass_taken;
	pthread_mutex_unlock(&e->lock);
}

/* True while there is more to do at once. */
static bool pass_turn(struct offload_engine *e)
{
	uint64_t until = engine_now_us(e) + SLICE_US;

	while (e->pass_at < e->high) {
		uint32_t slots[PASS_BATCH];
		int why[PASS_BATCH];
		uint32_t n = pass_collect(e, slots, why);

		for (uint32_t i = 0; i < n; i++) {
			uint64_t now = engine_now_us(e);

			if (now > e->pass_deadline_us) {
				pass_overdue(e);
				e->pass_deadline_us =
					now + (uint64_t)e->cfg.revoke_deadline_ms * 1000;
			}
			if (e->at[slots[i]].state != RESIDENT_IN)
				continue;
			e->stats.revoked++;
			/* One that only has to be said differently may come back at once. */
			life_revoke(
				e, slots[i], (enum offload_reason)why[i], why[i] == OFFLOAD_Budget);
		}
		if (engine_now_us(e) >= until)
			return true;
	}
	pass_end(e);
	return false;
}

/* --- a turn ------------------------------------------------------------------------------------
 */

static void publish_stats(struct offload_engine *e)
{
	static const char *const states[] = {
		[PORT_ABSENT] = "Absent",
		[PORT_READY] = "Ready",
		[PORT_USELESS] = "NoSwitchDomain",
		[PORT_GONE] = "Gone",
		[PORT_STOPPED] = "Stopped",
	};
	const struct choice_stats *c = choice_stats(e->choice);
	struct offload_stats *s = &e->stats;

	s->enabled = e->cfg.enabled && e->env.provider != NULL;
	s->provider = e->env.provider != NULL ? e->env.provider->name : "none";
	s->flows = e->n_in;
	s->revoking = e->n_leaving;
	s->rules = e->cap.used;
	s->capacity = e->cap.limit;
	s->capacity_learned = e->cap.learned;
	s->waiting = c->waiting;
	s->nominations = c->nominations;
	s->judged = c->judged;
	s->too_slow = c->too_slow;
	s->candidates = c->candidates;
	s->n_ports = 0;
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++) {
		struct engine_port *p = &e->port[i];
		struct offload_port_stats *o = &s->port[s->n_ports];

		if (p->state == PORT_ABSENT)
			continue;
		*o = p->stats;
		o->index = i;
		o->ethdev = e->map.at[i].ethdev;
		o->proxy = p->facts.proxy;
		o->domain = p->facts.domain;
		o->representor = p->facts.representor;
		o->untrusted = p->caps != NULL && offload_caps_untrusted(p->caps);
		o->state = states[p->state];
		o->breaker = p->breaker.open_ms == 0 ? "Closed"
			: p->breaker.trying          ? "Trying"
						     : "Open";
		memcpy(o->driver, p->facts.driver, sizeof(o->driver));
		s->n_ports++;
	}
	pthread_mutex_lock(&e->lock);
	s->ticket = e->pass_done;
	e->stats_out = *s;
	pthread_mutex_unlock(&e->lock);
}

/* How closely workers look: more so while there are places that nominations fill. */
static void sample(struct offload_engine *e)
{
	uint32_t shift = atomic_load_explicit(&e->env.dp->offload_shift, memory_order_relaxed);
	uint32_t now = shift, room = e->cap.learned / ROOM_PART + 2;
	uint64_t asked = e->stats.requests, answered = e->stats.inserted;

	e->asked += ((double)(asked - e->asked_before) - e->asked) / 4;
	e->answered += ((double)(answered - e->answered_before) - e->answered) / 4;
	e->asked_before = asked;
	e->answered_before = answered;
	if (e->cap.used + room > e->cap.learned || e->asked > ASKED_MAX ||
		e->answered * USEFUL_PART < e->asked) {
		if (now < OFFLOAD_SHIFT_MAX)
			now++;
	} else if (now > OFFLOAD_SHIFT_MIN && e->asked < ASKED_MAX / 2.0) {
		now--;
	}
	if (now != shift)
		atomic_store_explicit(&e->env.dp->offload_shift, now, memory_order_relaxed);
}

static void tick(struct offload_engine *e, uint64_t now)
{
	bool full = e->cap.used + 2 > e->cap.learned;

	e->tick_us = now;
	e->insert_left = e->cfg.inserts_max;
	atomic_store_explicit(&e->full, full, memory_order_relaxed);
	sample(e);
	choice_tick(e->choice, !full, now);
	publish_stats(e);
}

/* Inserts have their share of the time and polls the rest, while both have something to do. True:
 * they have. */
static bool insert_and_poll(struct offload_engine *e)
{
	uint64_t start = engine_now_us(e), took, until = start + SLICE_US;
	bool more = false;

	if (e->cfg.enabled)
		more = life_admit(e, start + SLICE_US * e->cfg.insert_share / 100);
	if (more) {
		took = engine_now_us(e) - start;
		until = start + took + took * (100 - e->cfg.insert_share) / e->cfg.insert_share;
	}
	return poll_due(e, until) || more;
}

uint32_t engine_turn(struct offload_engine *e)
{
	uint64_t now = engine_now_us(e), end, wait = ENGINE_TICK_US;
	bool more, passing;

	drain_held(e);
	/* One that only waits for confirmations does not keep the next from starting. */
	if (!e->pass_runs || e->pass_at >= e->high)
		pass_begin(e);
	passing = e->pass_runs && pass_turn(e);
	more = drain_rings(e) || passing;
	if (now - e->tick_us >= ENGINE_TICK_US)
		tick(e, now);
	/* Requests that keep coming do not hold up what they ask for. */
	if (!passing && e->env.provider != NULL)
		more |= insert_and_poll(e);
	ports_canaries(e);
	end = engine_now_us(e);
	if (more || end - e->tick_us >= ENGINE_TICK_US)
		return 0;
	wait = e->tick_us + ENGINE_TICK_US - end;
	/* Rings fill faster while workers look closely. */
	if (atomic_load_explicit(&e->env.dp->offload_shift, memory_order_relaxed) <
			OFFLOAD_SHIFT_MAX &&
		wait > SLICE_US)
		wait = SLICE_US;
	return (uint32_t)wait;
}

bool engine_stop(struct offload_engine *e)
{
	e->cfg.enabled = false;
	config_tell(e);
	engine_revalidate(e, true);
	drain_held(e);
	pass_begin(e);
	while (e->pass_runs && pass_turn(e))
		;
	drain_held(e);
	if (e->env.provider != NULL)
		for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++)
			if (e->n_leaving != 0 && e->port[i].state == PORT_READY)
				ports_escalate(e, e->map.at[i].ethdev);
	publish_stats(e);
	return e->n_in == 0 && e->n_leaving == 0;
}
