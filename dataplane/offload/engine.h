/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The offload thread's inside: ports, rules in hardware, and what one turn of it does. For the
 * files of this folder, their tests and perf/; everybody else has offload.h.
 *
 * One thread calls everything here; what others read of it is atomic, or copied under
 * offload_engine.lock. No EAL and no clock: time and device come through struct offload_env. */

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/dataplane.h"
#include "core/spsc.h"
#include "offload/caps.h"
#include "offload/choice.h"
#include "offload/derive.h"
#include "offload/offload.h"
#include "offload/provider.h"

#define ENGINE_TICK_US 10000
/* Rules are asked for their counters this often at least; the wheel is a little longer. */
#define ENGINE_POLL_US       10000000
#define ENGINE_WHEEL         1024
#define ENGINE_FIRST_POLL_US 1000000
#define SLOT_NONE            UINT32_MAX
#define REFUSALS_MAX         254 /* kinds of drivers' answers that are kept */

/* --- ports (ports.c) -------------------------------------------------------------------------- */

enum port_state {
	PORT_ABSENT,
	PORT_READY,
	PORT_USELESS, /* in no switch domain: nothing can be offloaded */
	PORT_GONE,    /* the device left under us */
	PORT_STOPPED  /* the last resort: rules that could not be revoked */
};

/* Eight failures in a second open it for a while; then one rule tries. */
struct breaker {
	uint64_t window_us, open_until_us;
	uint32_t failures, open_ms;
	bool trying;
};

struct engine_port {
	enum port_state state;
	struct offload_caps *caps;
	struct offload_port_facts facts;
	struct breaker breaker;
	uint64_t relearned_us; /* of the last flush because of drift */
	uint64_t full_until_us;
	uint32_t full_ms; /* grows while the device says full */
	bool probed, probed_with_peer;
	struct offload_port_stats stats;
};

/* --- rules (life.c) --------------------------------------------------------------------------- */

struct leg {
	struct offload_handle *handle; /* NULL: no rule */
	uint64_t fingerprint;
	/* Since the flow came to hardware; only ever grow. Readers: any. */
	_Atomic uint64_t packets, bytes;
	uint64_t device_packets, device_bytes; /* as last read */
	struct offload_seen seen;
	struct offload_path path;
	uint16_t ethdev; /* whose flush takes the rule with it */
	uint16_t shape;
	uint8_t refusals; /* of its removal */
	/* Partial: mark 0 is a full rule. Its packets are the worker's, and nobody counts them but
	 * the samples that say so. */
	uint16_t mark;
	uint8_t why;     /* enum offload_reason: not full */
	bool neither;    /* the way gives room for no rule at all */
	uint64_t marked; /* packets, by samples */
	uint64_t marked_polled;
};

enum resident_state {
	RESIDENT_FREE,
	RESIDENT_IN,
	RESIDENT_LEAVING /* the device did not confirm yet */
};

struct link {
	uint32_t prev, next; /* slots; SLOT_NONE */
};

/* One flow in hardware. */
struct resident {
	_Atomic uint32_t id, generation; /* choice_id(); readers look before and after */
	uint8_t state;
	uint8_t reason;  /* why it leaves */
	uint8_t speed;   /* which list it is on */
	uint8_t suspect; /* packets that came although a rule was there */
	bool requeue;    /* it may come back as soon as it has left */
	uint32_t pps;
	uint16_t due; /* wheel place */
	struct link by_speed, by_due;
	uint64_t since_us, hit_us;
	_Atomic uint64_t polled_us;
	struct leg leg[2];
};

#define SPEEDS 32 /* powers of two */

struct capacity {
	uint32_t limit;   /* rules, as configured */
	uint32_t learned; /* what the device seems to take */
	uint32_t used;    /* rules it has, those being removed too */
	uint64_t raised_us;
	double swaps; /* rules that may make room now */
	uint64_t swaps_us;
};

struct offload_engine {
	struct offload_config cfg;
	struct offload_env env;
	struct flow_table *flows;
	struct choice *choice;
	struct offload_ports map;
	struct engine_port port[OFFLOAD_PORTS_MAX];
	struct spsc *ring[WORKERS_MAX]; /* requests; NULL: no such worker */

	struct resident *at;          /* [cfg.capacity] */
	uint32_t n_slots, high, free; /* free: list through by_speed.next */
	uint32_t n_in, n_leaving;
	struct link speed[SPEEDS]; /* prev: last, next: first */
	struct link wheel[ENGINE_WHEEL];
	uint64_t wheel_tick;
	struct capacity cap;
	uint64_t tick_us;     /* when the last tick began */
	uint32_t insert_left; /* that this tick may still make */
	_Atomic bool full;    /* at the last tick: no place is free */
	/* What the last ticks saw, each counted less than the one before. */
	double asked, answered; /* requests; rules made */
	uint64_t asked_before, answered_before;
	/* Marks that nobody has, the longest unused first. */
	uint16_t *free_marks; /* ring of FLOW_MARKS */
	uint32_t marks_head, marks_tail;

	/* The pass that derives every rule again. */
	uint64_t pass_wanted, pass_taken, pass_done; /* tickets; wanted under lock */
	uint64_t pass_start_us, pass_deadline_us;
	uint32_t pass_at;
	uint32_t hops; /* next hops' generation that the last pass saw */
	bool pass_runs, pass_flush;
	bool flush_wanted; /* of the next; under lock */

	/* Of cfg, for readers. */
	_Atomic bool enabled;
	_Atomic uint32_t min_age_ms;

	struct offload_refusal refusal[REFUSALS_MAX];
	uint8_t n_refusals;

	pthread_mutex_t lock; /* stats_out and ports' stats as others see them */
	struct offload_stats stats, stats_out;
};

/* --- life.c ----------------------------------------------------------------------------------- */

/* Takes the next candidates while room and budget last, until the clock says until_us. True: more
 * could come at once. */
bool life_admit(struct offload_engine *e, uint64_t until_us);
/* Both rules out; false while the device does not confirm (it is tried again). */
bool life_revoke(struct offload_engine *e, uint32_t slot, enum offload_reason why, bool requeue);
/* The rule that is missing of a flow whose other direction is in, once it is seen. */
void life_complete(struct offload_engine *e, uint32_t slot, enum lane_dir dir,
	const struct offload_seen *seen);
/* The flow's slot, or SLOT_NONE. */
uint32_t life_find(struct offload_engine *e, uint32_t id, uint32_t generation);
/* Every rule made on that ethdev is out already: handles are let go without the device. */
void life_forget(struct offload_engine *e, uint16_t ethdev, enum offload_reason why);
/* Rule tables empty and lists whole; for init. */
int life_init(struct offload_engine *e);
void life_fini(struct offload_engine *e);

/* --- poll.c ----------------------------------------------------------------------------------- */

void poll_add(struct offload_engine *e, uint32_t slot, uint64_t in_us);
void poll_remove(struct offload_engine *e, uint32_t slot);
/* Asks for the counters that are due, until the clock says until_us. True: more are due. */
bool poll_due(struct offload_engine *e, uint64_t until_us);
/* One leg's counters into the flow's; 0 or the device's error. */
int poll_leg(struct offload_engine *e, struct resident *r, enum lane_dir dir, uint64_t *delta);
void speed_add(struct offload_engine *e, uint32_t slot);
void speed_remove(struct offload_engine *e, uint32_t slot);
/* The slowest resident that is old enough to be swapped, or SLOT_NONE. */
uint32_t speed_slowest(struct offload_engine *e, uint64_t now_us);

/* --- ports.c ---------------------------------------------------------------------------------- */

/* queue: of each worker; NULL: 0. */
int ports_add(struct offload_engine *e, uint16_t index, uint16_t ethdev,
	const uint16_t queue[WORKERS_MAX]);
void ports_remove(struct offload_engine *e, uint16_t index);
/* Does this error of a call mean that the device left? */
bool ports_is_gone(struct offload_engine *e, struct engine_port *p, int error);
/* Its rules went with it. */
void ports_gone(struct offload_engine *e, struct engine_port *p);
/* The port whose ethdev that is, or NULL. */
struct engine_port *ports_of(struct offload_engine *e, uint16_t ethdev);
/* 0, or why nothing may be inserted now: BreakerOpen, TableFull, PortGone. Behind an open breaker
 * one insert tries. */
int ports_may_ask(struct offload_engine *e, const struct engine_port *p);
int ports_may_insert(struct offload_engine *e, struct engine_port *p);
/* What an insert told about the port. Returns the reason for the flow. */
enum offload_reason ports_refused(struct offload_engine *e, struct engine_port *p,
	const struct offload_rule *rule, int error, const struct offload_error *err,
	enum offload_insert_result *class);
void ports_inserted(struct offload_engine *e, struct engine_port *p);
void ports_failed(struct offload_engine *e, struct engine_port *p);
/* Rules of probes that could not be removed are flushed. */
void ports_canaries(struct offload_engine *e);
/* Flush, then stop: rules that could not be removed one by one. True: they act no more. */
bool ports_escalate(struct offload_engine *e, uint16_t ethdev);

/* --- refusals.c ------------------------------------------------------------------------------- */

/* What nominee.refusal keeps of a driver's answer. */
uint8_t refusal_number(struct offload_engine *e, enum offload_insert_result class, int error,
	const struct offload_error *err);
/* NULL: number 0. Any thread. */
const struct offload_refusal *refusal_read(const struct offload_engine *e, uint8_t number);

/* --- engine.c --------------------------------------------------------------------------------- */

int engine_new(const struct offload_config *cfg, const struct offload_env *env,
	struct offload_engine **out);
/* Everything out of hardware first; false when something could not be confirmed. */
bool engine_stop(struct offload_engine *e);
void engine_free(struct offload_engine *e);
/* One turn: what ended, what was revoked, requests, candidates, counters. Returns the microseconds
 * until the next. */
uint32_t engine_turn(struct offload_engine *e);
/* Other values from now on; capacity needs a restart to grow beyond its first. */
void engine_configure(struct offload_engine *e, const struct offload_config *cfg);
/* Asks for a pass over all rules; its ticket. flush: none may stay. */
uint64_t engine_revalidate(struct offload_engine *e, bool flush);

static inline uint64_t engine_now_us(const struct offload_engine *e)
{
	return e->env.clock_us(e->env.arg);
}

static inline uint32_t engine_now_ms(const struct offload_engine *e)
{
	return e->env.now_ms(e->env.arg);
}

static inline uint32_t engine_word(
	const struct offload_engine *e, enum offload_state s, enum offload_reason r)
{
	return offload_word(s, r, engine_now_ms(e));
}
