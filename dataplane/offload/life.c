/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The life of a rule: admitted, inserted as a pair, completed, revoked, let go.
 *
 * The word in the flow entry is made busy before the device hears of a rule and free only after it
 * confirmed that the rule is out, so that what the entry owns is never given again while the rule
 * may act (flow_hold()). Replacing is removing, then inserting: devices differ in which of two
 * overlapping rules wins. Offload thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/packet.h"
#include "offload/engine.h"

#define REMOVE_TRIES 3
#define RETRY_US     1000000
#define SLOW_CALL_US 1000000
/* One place in so many may change its flow a second: with what the bucket holds, a hundredth. */
#define SWAPS_SHARE 102
#define SWAPS_MIN   64

/* --- slots -------------------------------------------------------------------------------------
 */

int life_init(struct offload_engine *e)
{
	e->n_slots = e->cfg.capacity;
	e->at = calloc(e->n_slots, sizeof(*e->at));
	e->free = SLOT_NONE;
	e->free_marks = malloc(FLOW_MARKS * sizeof(*e->free_marks));
	if (e->at == NULL || e->free_marks == NULL)
		return -ENOMEM;
	for (uint16_t mark = 1; mark < FLOW_MARKS; mark++)
		e->free_marks[e->marks_tail++] = mark;
	return 0;
}

void life_fini(struct offload_engine *e)
{
	free(e->at);
	free(e->free_marks);
	e->at = NULL;
	e->free_marks = NULL;
}

static uint32_t slot_take(struct offload_engine *e)
{
	uint32_t slot = e->free;

	if (slot != SLOT_NONE) {
		e->free = e->at[slot].by_speed.next;
		return slot;
	}
	return e->high < e->n_slots ? e->high++ : SLOT_NONE;
}

static void slot_give(struct offload_engine *e, uint32_t slot)
{
	struct resident *r = &e->at[slot];

	atomic_store_explicit(&r->id, CHOICE_NONE, memory_order_release);
	r->state = RESIDENT_FREE;
	r->by_speed.next = e->free;
	e->free = slot;
}

static uint32_t id_of(const struct resident *r)
{
	return atomic_load_explicit(&r->id, memory_order_relaxed);
}

uint32_t life_find(struct offload_engine *e, uint32_t id, uint32_t generation)
{
	struct nominee *n = choice_at(e->choice, id);
	uint32_t slot;

	if (n == NULL || atomic_load_explicit(&n->state, memory_order_relaxed) != NOMINEE_RESIDENT)
		return SLOT_NONE;
	slot = atomic_load_explicit(&n->resident, memory_order_relaxed);
	if (atomic_load_explicit(&e->at[slot].generation, memory_order_relaxed) != generation)
		return SLOT_NONE;
	return slot;
}

/* --- marks -------------------------------------------------------------------------------------
 */

/* The next mark that mark_take() gives; 0: none. */
static uint16_t mark_next(const struct offload_engine *e)
{
	return e->marks_head != e->marks_tail ? e->free_marks[e->marks_head % FLOW_MARKS] : 0;
}

static void mark_take(struct offload_engine *e, const struct resident *r, enum lane_dir dir,
	uint32_t entry, enum ip_family f)
{
	flow_mark_set(e->flows, f, mark_next(e), entry, dir, r->generation);
	e->marks_head++;
}

/* First in, first out: a mark rests for as long as others are there. */
static void mark_give(struct offload_engine *e, uint16_t mark, enum ip_family f)
{
	flow_mark_clear(e->flows, f, mark);
	e->free_marks[e->marks_tail++ % FLOW_MARKS] = mark;
}

/* --- one rule ----------------------------------------------------------------------------------
 */

static void count_us(uint64_t *histogram, uint64_t us)
{
	unsigned k = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);

	histogram[k < OFFLOAD_HISTOGRAM ? k : OFFLOAD_HISTOGRAM - 1]++;
}

static void note_latency(struct offload_engine *e, struct engine_port *p, uint64_t us)
{
	count_us(e->stats.insert_us, us);
	if (us > SLOW_CALL_US)
		ports_failed(e, p);
}

static void refuse(struct offload_engine *e, enum offload_reason why)
{
	e->stats.refused[why]++;
}

/* What is to become of one direction. */
struct plan {
	bool seen;    /* a packet went by */
	bool derived; /* a full rule, whatever ports say to it */
	int full;     /* 0, or why not */
	int partial;
	struct offload_rule rule, mark_rule;
	struct offload_path path, mark_path;
	struct offload_dialect dialect, mark_dialect;
};

/* For whoever asks the flow why. */
static void keep_refusal(struct offload_engine *e, uint32_t id, enum lane_dir dir,
	enum offload_insert_result class, int error, const struct offload_error *err)
{
	atomic_store_explicit(&choice_at(e->choice, id)->refusal[dir],
		refusal_number(e, class, error, err), memory_order_release);
}

static bool plan_any(const struct plan *p)
{
	return p->seen && (p->full == 0 || p->partial == 0);
}

/* 0, a reason, or -ESRCH when the flow ended. */
static int leg_insert(struct offload_engine *e, struct resident *r, enum lane_dir dir,
	const struct plan *plan, const struct offload_seen *seen)
{
	bool partial = plan->full != 0;
	const struct offload_rule *rule = partial ? &plan->mark_rule : &plan->rule;
	const struct offload_path *path = partial ? &plan->mark_path : &plan->path;
	const struct offload_dialect *dialect = partial ? &plan->mark_dialect : &plan->dialect;
	enum ip_family f = choice_family(id_of(r));
	uint32_t entry = choice_entry(id_of(r));
	struct engine_port *p = &e->port[path->in];
	struct leg *leg = &r->leg[dir];
	struct offload_error err = {0};
	struct offload_handle *handle = NULL;
	uint64_t start;
	int ret;

	ret = ports_may_insert(e, p);
	if (ret != 0)
		return ret;
	if (!flow_hold(e->flows, f, entry, r->generation, dir,
		    engine_word(e, OFFLOAD_PENDING, OFFLOAD_REASON_NONE))) {
		p->breaker.trying = false;
		return -ESRCH;
	}
	/* The worker knows the mark before the device gives it. */
	if (partial)
		mark_take(e, r, dir, entry, f);
	start = engine_now_us(e);
	ret = e->env.provider->insert(e->env.provider->arg, rule, dialect, &handle, &err);
	note_latency(e, p, engine_now_us(e) - start);
	if (ret < 0) {
		enum offload_insert_result class;
		enum offload_reason why = ports_refused(e, p, rule, ret, &err, &class);

		/* The device may have been flushed meanwhile, and the slot with it. */
		keep_refusal(e, choice_id(f, entry), dir, class, ret, &err);
		if (partial)
			mark_give(e, (uint16_t)rule->mark, f);
		flow_let_go(e->flows, f, entry, dir, engine_word(e, OFFLOAD_SOFTWARE, why));
		return why;
	}
	ports_inserted(e, p);
	leg->handle = handle;
	leg->fingerprint = offload_fingerprint(rule);
	leg->device_packets = leg->device_bytes = 0;
	leg->seen = *seen;
	leg->path = *path;
	leg->ethdev = partial || dialect->port == OFFLOAD_PORT_IMPLICIT ? rule->match.port
									: p->facts.proxy;
	leg->mark = partial ? (uint16_t)rule->mark : 0;
	leg->why = partial ? (uint8_t)plan->full : OFFLOAD_REASON_NONE;
	leg->marked = leg->marked_polled = 0;
	leg->shape = (uint16_t)offload_shape_of(rule);
	leg->refusals = 0;
	e->cap.used++;
	p->stats.rules++;
	p->stats.partial += partial;
	e->stats.partial += partial;
	e->stats.inserted++;
	flow_hold_word(e->flows, f, entry, dir,
		engine_word(e, partial ? OFFLOAD_PARTIAL : OFFLOAD_HARDWARE,
			(enum offload_reason)leg->why));
	return 0;
}

/* The rule acts no more. */
static void leg_out(
	struct offload_engine *e, struct resident *r, enum lane_dir dir, enum offload_reason why)
{
	struct leg *leg = &r->leg[dir];

	leg->handle = NULL;
	e->cap.used--;
	e->port[leg->path.in].stats.rules--;
	if (leg->mark != 0) {
		e->port[leg->path.in].stats.partial--;
		e->stats.partial--;
		mark_give(e, leg->mark, choice_family(id_of(r)));
		leg->mark = 0;
	}
	e->stats.removed++;
	flow_let_go(e->flows, choice_family(id_of(r)), choice_entry(id_of(r)), dir,
		engine_word(e, OFFLOAD_SOFTWARE, why));
}

/* Removes one rule; true when it acts no more. */
static bool leg_remove(struct offload_engine *e, struct resident *r, enum lane_dir dir)
{
	const struct offload_provider *provider = e->env.provider;
	struct leg *leg = &r->leg[dir];
	struct engine_port *p = &e->port[leg->path.in], *made = ports_of(e, leg->ethdev);
	struct offload_handle *handle = leg->handle;
	uint64_t start = engine_now_us(e), delta;
	struct offload_error err = {0};
	int ret = -EAGAIN;

	flow_hold_word(e->flows, choice_family(id_of(r)), choice_entry(id_of(r)), dir,
		engine_word(e, OFFLOAD_REVOKING, (enum offload_reason)r->reason));
	if (leg->mark == 0)
		poll_leg(e, r, dir, &delta);
	for (int try = 0; try < REMOVE_TRIES && ret != 0; try++) {
		ret = provider->remove(provider->arg, handle, &err);
		if (ret != 0)
			p->stats.remove_errors++;
		if (ret == 0)
			break;
		/* A rule goes with the port that it was made on. */
		if (made != NULL && ports_is_gone(e, made, ret)) {
			ports_gone(e, made);
			return leg->handle == NULL;
		}
	}
	count_us(e->stats.revoke_us, engine_now_us(e) - start);
	if (ret != 0)
		return ports_escalate(e, leg->ethdev) && leg->handle == NULL;
	p->stats.removes++;
	leg_out(e, r, dir, (enum offload_reason)r->reason);
	return true;
}

/* --- one flow ----------------------------------------------------------------------------------
 */

/* No rule is left: the slot is free, and the flow may be nominated again. */
static void resident_out(struct offload_engine *e, uint32_t slot)
{
	struct resident *r = &e->at[slot];
	uint32_t id = id_of(r);
	bool again;

	poll_remove(e, slot);
	if (r->state == RESIDENT_IN) {
		speed_remove(e, slot);
		e->n_in--;
	} else {
		e->n_leaving--;
	}
	/* Without a hit at the last poll it need not hurry. */
	again = r->requeue && r->pps != 0;
	for (int d = 0; d < 2; d++)
		if (again)
			choice_at(e->choice, id)->seen[d] = r->leg[d].seen;
	choice_release(e->choice, id);
	if (again)
		choice_offer(e->choice, id, r->pps, engine_now_us(e));
	slot_give(e, slot);
}

bool life_revoke(struct offload_engine *e, uint32_t slot, enum offload_reason why, bool requeue)
{
	struct resident *r = &e->at[slot];
	bool out = true;

	r->reason = (uint8_t)why;
	r->requeue = requeue;
	for (int d = 0; d < 2; d++) {
		if (r->leg[d].handle != NULL && !leg_remove(e, r, (enum lane_dir)d))
			out = false;
		/* An escalation took both out, and the slot with them. */
		if (r->state == RESIDENT_FREE)
			return true;
	}
	if (out) {
		resident_out(e, slot);
		return true;
	}
	if (r->state == RESIDENT_IN) {
		speed_remove(e, slot);
		r->state = RESIDENT_LEAVING;
		e->n_in--;
		e->n_leaving++;
		e->stats.unconfirmed++;
	}
	poll_remove(e, slot);
	poll_add(e, slot, RETRY_US);
	return false;
}

void life_forget(struct offload_engine *e, uint16_t ethdev, enum offload_reason why)
{
	const struct offload_provider *provider = e->env.provider;

	for (uint32_t slot = 0; slot < e->high; slot++) {
		struct resident *r = &e->at[slot];

		if (r->state == RESIDENT_FREE)
			continue;
		for (int d = 0; d < 2; d++) {
			struct leg *leg = &r->leg[d];

			if (leg->handle == NULL || leg->ethdev != ethdev)
				continue;
			provider->forget(provider->arg, leg->handle);
			leg_out(e, r, (enum lane_dir)d, why);
		}
		/* Flushed, but the port stays: what is still right may come back at once. */
		r->requeue = why == OFFLOAD_Backoff;
		if (r->leg[0].handle == NULL && r->leg[1].handle == NULL)
			resident_out(e, slot);
		else if (r->state == RESIDENT_IN)
			/* Half of it is on another port: that goes by the next poll. */
			r->suspect = UINT8_MAX;
	}
}

/* What the next packets of the flow would need; -ENOENT: it ended. Marks are not taken yet: both
 * directions' plans name the next two. */
static int derive_both(struct offload_engine *e, uint32_t id, uint32_t generation,
	const struct offload_seen seen[2], struct plan plan[2])
{
	const struct offload_limits limits = {.min_age_ms = e->cfg.min_age_ms};
	uint32_t now = engine_now_ms(e);
	struct flow_view v;
	int ret;

	memset(plan, 0, 2 * sizeof(*plan));
	if (e->env.enter != NULL)
		e->env.enter(e->env.arg);
	ret = flow_read(e->flows, choice_family(id), choice_entry(id), &v);
	if (ret == 0 && v.meta.generation != generation)
		ret = -ENOENT;
	for (int d = 0; d < 2 && ret == 0; d++) {
		struct plan *p = &plan[d];

		p->seen = seen[d].vport != 0;
		if (!p->seen)
			continue;
		p->full = offload_derive(e->env.dp, &e->map, &limits, now, &v, (enum lane_dir)d,
			&seen[d], &p->rule, &p->path);
		p->partial = offload_derive_partial(e->env.dp, &e->map, &limits, now, &v,
			(enum lane_dir)d, &seen[d], mark_next(e), &p->mark_rule, &p->mark_path);
	}
	/* Of TCP both or none: hardware that carries half of it hides the other half's sense. */
	if (ret == 0 && v.key[0].proto == IP_PROTO_TCP && !(plan[0].seen && plan[1].seen))
		ret = -EAGAIN;
	if (e->env.leave != NULL)
		e->env.leave(e->env.arg);
	return ret;
}

/* How to say a rule to its port: 0, or why not. */
static int words_for(struct offload_engine *e, uint32_t id, enum lane_dir dir,
	const struct offload_path *path, const struct offload_rule *rule,
	struct offload_dialect *out)
{
	struct engine_port *p = &e->port[path->in];
	int why = p->caps != NULL ? ports_may_ask(e, p) : OFFLOAD_PortGone, error;
	const struct offload_error *err;

	if (why != 0)
		return why;
	why = offload_caps_find(p->caps, rule, engine_now_ms(e), out);
	err = why != 0 ? offload_caps_refusal(p->caps, rule, &error) : NULL;
	if (err != NULL)
		keep_refusal(e, id, dir, OFFLOAD_INSERT_SHAPE, error, err);
	return why;
}

/* What the ports take of it. 0, or why nothing of the flow can leave software. */
static int plan_settle(struct offload_engine *e, uint32_t id, struct plan plan[2])
{
	bool tcp = false, full = false, none = false, any = false;
	int why = 0;

	for (int d = 0; d < 2; d++) {
		struct plan *p = &plan[d];

		if (!p->seen)
			continue;
		p->derived = p->full == 0;
		if (p->full == 0)
			p->full =
				words_for(e, id, (enum lane_dir)d, &p->path, &p->rule, &p->dialect);
		tcp |= p->rule.match.proto == IP_PROTO_TCP ||
			p->mark_rule.match.proto == IP_PROTO_TCP;
	}
	/* Each by itself, but TCP as a pair. */
	for (int d = 0; d < 2 && tcp; d++)
		if (plan[d].full == 0 && plan[!d].full != 0)
			plan[d].full = plan[!d].full;
	for (int d = 0; d < 2; d++) {
		struct plan *p = &plan[d];

		if (!p->seen)
			continue;
		if (p->full != 0 && !offload_is_path_reason(p->full))
			p->partial = p->full;
		else if (p->full != 0 && p->partial == 0)
			p->partial = words_for(e, id, (enum lane_dir)d, &p->mark_path,
				&p->mark_rule, &p->mark_dialect);
		why = why == 0 ? p->full : why;
		full |= p->full == 0;
		/* Half of a UDP flow is worth having when a driver's words are all that lacks. */
		none |= !plan_any(p) && !(p->derived && offload_is_path_reason(p->full));
		any |= plan_any(p);
	}
	return !any || (full && none) ? why : 0;
}

static void note_reason(
	struct offload_engine *e, uint32_t id, uint32_t generation, enum offload_reason why)
{
	refuse(e, why);
	for (int d = 0; d < 2; d++)
		flow_note(e->flows, choice_family(id), choice_entry(id), generation,
			(enum lane_dir)d, engine_word(e, OFFLOAD_SOFTWARE, why));
}

/* The same, of one that is looked at again and again. */
static void note_once(
	struct offload_engine *e, uint32_t id, uint32_t generation, enum offload_reason why)
{
	const struct flow_cold *c = &flow_cold_array(e->flows, choice_family(id))[choice_entry(id)];
	uint32_t word = atomic_load_explicit(&c->offload[DIR_FORWARD], memory_order_relaxed);

	if (offload_word_reason(word) != why)
		note_reason(e, id, generation, why);
}

/* A candidate that cannot come now. */
static void turn_away(struct offload_engine *e, uint32_t id, uint32_t generation, int why)
{
	/* What time or other flows decide is counted again at once; the rest would be refused
	 * again. */
	if (why < 0 || why == OFFLOAD_NotEstablished || why == OFFLOAD_TooYoung ||
		why == OFFLOAD_TableFull)
		choice_release(e->choice, id);
	else
		choice_refuse(e->choice, id, engine_now_us(e));
	if (why > 0)
		note_reason(e, id, generation, (enum offload_reason)why);
}

/* One direction has no way into hardware, while the other is marked there. */
static void leg_stays(struct offload_engine *e, struct resident *r, enum lane_dir dir, int why)
{
	r->leg[dir].neither = true;
	e->stats.unpaired++;
	refuse(e, (enum offload_reason)why);
	flow_note(e->flows, choice_family(id_of(r)), choice_entry(id_of(r)), r->generation, dir,
		engine_word(e, OFFLOAD_SOFTWARE, (enum offload_reason)why));
}

static uint32_t resident_new(struct offload_engine *e, uint32_t id, const struct nominee *n)
{
	uint32_t slot = slot_take(e);
	struct resident *r;

	if (slot == SLOT_NONE)
		return slot;
	r = &e->at[slot];
	atomic_store_explicit(&r->generation, n->generation, memory_order_relaxed);
	for (int d = 0; d < 2; d++) {
		atomic_store_explicit(&r->leg[d].packets, 0, memory_order_relaxed);
		atomic_store_explicit(&r->leg[d].bytes, 0, memory_order_relaxed);
		r->leg[d].handle = NULL;
		r->leg[d].mark = 0;
		r->leg[d].neither = false;
		r->leg[d].seen = n->seen[d];
	}
	atomic_store_explicit(&r->polled_us, 0, memory_order_relaxed);
	atomic_store_explicit(&r->id, id, memory_order_release);
	r->state = RESIDENT_IN;
	r->suspect = 0;
	r->requeue = false;
	r->pps = n->count;
	r->since_us = r->hit_us = engine_now_us(e);
	e->n_in++;
	speed_add(e, slot);
	/* Of one that comes back the rate is known. */
	poll_add(e, slot, n->known ? ENGINE_POLL_US : ENGINE_FIRST_POLL_US);
	return slot;
}

/* Has a packet ended the flow while its rules were made? */
static bool still_settled(struct offload_engine *e, const struct resident *r)
{
	struct flow_view v;

	return flow_read(e->flows, choice_family(id_of(r)), choice_entry(id_of(r)), &v) == 0 &&
		v.meta.generation == r->generation && v.meta.state == v.meta.settled;
}

static void admit_one(struct offload_engine *e, uint32_t id)
{
	struct nominee *n = choice_at(e->choice, id);
	uint32_t generation = n->generation, slot;
	struct plan plan[2];
	struct resident *r;
	int ret = derive_both(e, id, generation, n->seen, plan);

	if (ret == 0)
		ret = plan_settle(e, id, plan);
	if (ret != 0) {
		turn_away(e, id, generation, ret);
		return;
	}
	slot = resident_new(e, id, n);
	if (slot == SLOT_NONE) {
		turn_away(e, id, generation, OFFLOAD_TableFull);
		return;
	}
	r = &e->at[slot];
	atomic_store_explicit(&n->resident, slot, memory_order_relaxed);
	atomic_store_explicit(&n->state, NOMINEE_RESIDENT, memory_order_release);
	for (int d = 0; d < 2 && ret == 0; d++) {
		if (!plan[d].seen)
			continue;
		if (!plan_any(&plan[d])) {
			leg_stays(e, r, (enum lane_dir)d, plan[d].full);
			continue;
		}
		/* The other direction took the mark that both were told. */
		plan[d].mark_rule.mark = mark_next(e);
		ret = plan[d].full != 0 && plan[d].mark_rule.mark == 0
			? OFFLOAD_TableFull
			: leg_insert(e, r, (enum lane_dir)d, &plan[d], &n->seen[d]);
		e->insert_left -= e->insert_left != 0;
	}
	/* The device was flushed meanwhile, and this flow's first rule with it. */
	if (r->state == RESIDENT_FREE || id_of(r) != id)
		return;
	if (ret == 0 && still_settled(e, r))
		return;
	if (ret > 0 && r->leg[0].handle != NULL &&
		(r->leg[0].mark != 0 || plan[0].rule.match.proto != IP_PROTO_TCP)) {
		/* Half of a UDP flow is worth having, and half of the marks: nothing in it depends
		 * on the other half. */
		refuse(e, (enum offload_reason)ret);
		e->stats.unpaired++;
		return;
	}
	e->stats.unpaired += ret > 0 && r->leg[0].handle != NULL;
	if (!life_revoke(
		    e, slot, ret > 0 ? (enum offload_reason)ret : OFFLOAD_NotEstablished, false))
		return;
	turn_away(e, id, generation, ret > 0 ? ret : -ENOENT);
}

void life_complete(
	struct offload_engine *e, uint32_t slot, enum lane_dir dir, const struct offload_seen *seen)
{
	struct resident *r = &e->at[slot];
	struct offload_seen both[2] = {r->leg[0].seen, r->leg[1].seen};
	struct plan plan[2];
	int ret;

	both[dir] = *seen;
	if (r->state != RESIDENT_IN || r->leg[dir].neither || e->insert_left == 0 ||
		e->cap.used >= e->cap.learned)
		return;
	ret = derive_both(e, id_of(r), r->generation, both, plan);
	if (ret == 0)
		ret = plan_settle(e, id_of(r), plan);
	if (ret == 0 && plan_any(&plan[dir]))
		ret = leg_insert(e, r, dir, &plan[dir], seen);
	else if (ret >= 0)
		leg_stays(e, r, dir, plan[dir].full);
	e->insert_left--;
	if (ret > 0)
		refuse(e, (enum offload_reason)ret);
	else if (ret < 0)
		life_revoke(e, slot, OFFLOAD_NotEstablished, false);
}

/* --- admission ---------------------------------------------------------------------------------
 */

/* A place for a candidate: the slowest resident's, if the candidate is twice as fast. What it
 * counts is of up to two seconds, and one nomination is luck. */
static bool swap_for(struct offload_engine *e, const struct nominee *n)
{
	uint64_t now = engine_now_us(e);
	double most = (double)e->cap.learned / SWAPS_SHARE;
	uint32_t slot;

	if (most < SWAPS_MIN)
		most = SWAPS_MIN;
	e->cap.swaps += (double)(now - e->cap.swaps_us) * most / 1e6;
	if (e->cap.swaps > most / 64)
		e->cap.swaps = most / 64;
	e->cap.swaps_us = now;
	slot = speed_slowest(e, now);
	if (e->cap.swaps < 1 || slot == SLOT_NONE ||
		atomic_load_explicit(&n->state, memory_order_relaxed) != NOMINEE_WAITING ||
		n->count <= 4 * (uint64_t)e->at[slot].pps)
		return false;
	for (int d = 0; d < 2; d++)
		e->cap.swaps -= e->at[slot].leg[d].handle != NULL;
	e->stats.evicted++;
	return life_revoke(e, slot, OFFLOAD_TableFull, false);
}

/* A smaller table than thought is tried again, a little more each time. */
static void capacity_raise(struct offload_engine *e)
{
	uint64_t now = engine_now_us(e);
	uint32_t more = e->cap.limit / 100 + 1;

	if (e->cap.learned >= e->cap.limit || now - e->cap.raised_us < 10000000)
		return;
	e->cap.raised_us = now;
	e->cap.learned =
		e->cap.limit - e->cap.learned > more ? e->cap.learned + more : e->cap.limit;
}

/* One packet in eight or 64 does not tell an elephant from a mouse, and a mouse with a place keeps
 * it: who was seen once waits for who is seen twice, up to a second for the last places. */
static uint32_t patience_ms(const struct offload_engine *e)
{
	uint64_t part = ((uint64_t)e->cap.used << 10) / (e->cap.learned + 1);

	return (uint32_t)(part * part * part * 1000 >> 30);
}

bool life_admit(struct offload_engine *e, uint64_t until_us)
{
	capacity_raise(e);
	while (e->insert_left > 0) {
		uint64_t now = engine_now_us(e);
		uint32_t id = choice_best(e->choice, patience_ms(e), now);
		const struct nominee *n;

		if (id == CHOICE_NONE)
			return false;
		if (now >= until_us)
			return true;
		n = choice_at(e->choice, id);
		if (e->cap.used + 2 > e->cap.learned && !swap_for(e, n)) {
			/* Others are no faster. */
			note_once(e, id, n->generation, OFFLOAD_TableFull);
			return false;
		}
		choice_take(e->choice, id);
		admit_one(e, id);
	}
	return false;
}
