/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which flows are worth a place in hardware: from nominations to candidates, fastest first.
 *
 * Workers nominate one packet in 2^shift, so the packets that a flow's nominations stand for,
 * halved every second, tell its rate. Every nominated flow is a candidate at once, in a queue by
 * that count; one that was seen only once waits for others that come again, the longer the fewer
 * places are left. Nothing here knows a rule, a flow's key or a device. Offload thread; time is
 * passed in, in microseconds, and starts above 0.
 *
 * One record per flow entry: its index is the entry's. Pages of entries that were never nominated
 * are never touched. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/ip.h"
#include "offload/derive.h"

#define CHOICE_CLASSES 64 /* of counts, four an octave */
#define CHOICE_NONE    UINT32_MAX

/* A flow entry of either family. */
static inline uint32_t choice_id(enum ip_family f, uint32_t entry)
{
	return entry << 1 | (uint32_t)f;
}

static inline enum ip_family choice_family(uint32_t id)
{
	return (enum ip_family)(id & 1);
}

static inline uint32_t choice_entry(uint32_t id)
{
	return id >> 1;
}

enum nominee_state {
	NOMINEE_IDLE,
	NOMINEE_SEEN,    /* a candidate, by one nomination so far */
	NOMINEE_WAITING, /* a candidate, by more */
	NOMINEE_RESIDENT /* in hardware, or on its way in or out */
};

struct nominee {
	uint32_t generation;       /* of the entry, as nominated */
	_Atomic uint32_t resident; /* NOMINEE_RESIDENT: the owner's number of it */
	uint32_t next_second;      /* of the calendar's list, id + 1 */
	uint32_t prev, next;       /* of its class, id + 1 */
	uint32_t since;            /* ms: a candidate since */
	uint32_t not_before;       /* ms: after a refusal */
	struct offload_seen seen[2];
	uint16_t count; /* packets: about those of its last second */
	uint8_t class;
	_Atomic uint8_t state;
	uint8_t backoff; /* refusals in a row */
	bool listed;     /* in the calendar */
	bool known;      /* its count was measured, and stays while there is room */
	/* The owner's number of the last answer of a driver, by direction; 0: none. */
	_Atomic uint8_t refusal[2];
};

struct choice_config {
	uint32_t flows[IP_FAMILIES]; /* entries */
	uint32_t min_pps;            /* slower ones are not worth a place */
};

struct choice_stats {
	uint64_t nominations, judged, too_slow, candidates;
	uint32_t waiting;
};

struct choice;

int choice_new(const struct choice_config *cfg, struct choice **out);
void choice_free(struct choice *c);
void choice_configure(struct choice *c, uint32_t min_pps);

/* NULL when the entry is out of range. */
struct nominee *choice_at(struct choice *c, uint32_t id);
/* A nomination of a packet of direction dir, which stands for so many. */
void choice_nominate(struct choice *c, uint32_t id, uint32_t generation, enum lane_dir dir,
	const struct offload_seen *seen, uint32_t packets, uint64_t now_us);
/* Halves the counts of those whose second is over. room: are there places that nobody has? */
void choice_tick(struct choice *c, bool room, uint64_t now_us);

/* The fastest candidate, CHOICE_NONE when there is none. One that was nominated only once is none
 * for its first patience_ms. */
uint32_t choice_best(struct choice *c, uint32_t patience_ms, uint64_t now_us);
/* Off the queue; its count stays readable. */
void choice_take(struct choice *c, uint32_t id);
/* Becomes a candidate (again) without being counted: its rate is known. */
void choice_offer(struct choice *c, uint32_t id, uint32_t pps, uint64_t now_us);
/* Back to idle; the next nomination counts from 0. */
void choice_release(struct choice *c, uint32_t id);
/* The same, and no nomination counts for a while: 1 s, doubling to 64 s. */
void choice_refuse(struct choice *c, uint32_t id, uint64_t now_us);
const struct choice_stats *choice_stats(const struct choice *c);
