/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which flows are worth a place in hardware: from nominations to candidates, fastest first.
 *
 * Workers nominate one packet in OFFLOAD_SAMPLE, so a flow's nominations in a second tell its rate.
 * A flow is judged as soon as it has those of an elephant, else one second after its first: then
 * by how many others with as much are there for the room that is left. Nothing here knows a rule, a
 * flow's key or a device. Offload thread; time is passed in, in microseconds, and starts above 0.
 *
 * One record per flow entry: its index is the entry's. Pages of entries that were never nominated
 * are never touched. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/ip.h"
#include "offload/derive.h"

#define CHOICE_CLASSES 10 /* of rate, by powers of two */
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
	NOMINEE_COUNTED, /* its second runs */
	NOMINEE_WAITING, /* a candidate */
	NOMINEE_RESIDENT /* in hardware, or on its way in or out */
};

struct nominee {
	uint32_t generation;       /* of the entry, as nominated */
	_Atomic uint32_t resident; /* NOMINEE_RESIDENT: the owner's number of it */
	uint32_t next;             /* of the calendar's list, id + 1 */
	uint32_t next_waiting;     /* of the candidates' list, id + 1 */
	uint32_t not_before;       /* ms: after a refusal */
	struct offload_seen seen[2];
	uint16_t count; /* nominations in its second; of a candidate: what it was judged by */
	_Atomic uint8_t state;
	uint8_t backoff; /* refusals in a row */
	bool listed;     /* in the calendar */
};

struct choice_config {
	uint32_t flows[IP_FAMILIES]; /* entries */
	uint32_t min_count;          /* fewer nominations a second are not worth a place */
	uint32_t elephant;           /* as many are worth it at once */
};

struct choice_stats {
	uint64_t nominations, judged, too_slow, candidates;
	uint32_t waiting;
};

struct choice;

int choice_new(const struct choice_config *cfg, struct choice **out);
void choice_free(struct choice *c);
void choice_configure(struct choice *c, uint32_t min_count, uint32_t elephant);

/* NULL when the entry is out of range. */
struct nominee *choice_at(struct choice *c, uint32_t id);
/* A nomination of a packet of direction dir. Returns the record. */
struct nominee *choice_nominate(struct choice *c, uint32_t id, uint32_t generation,
	enum lane_dir dir, const struct offload_seen *seen, uint64_t now_us);
/* Judges those whose second is over. room: flows that still fit. */
void choice_tick(struct choice *c, uint32_t room, uint64_t now_us);

/* The fastest candidate, taken off the list; CHOICE_NONE. */
uint32_t choice_take(struct choice *c);
/* What the next one would have been judged by, 0 when there is none. */
uint32_t choice_best(const struct choice *c);
/* Becomes a candidate (again) without being counted: its rate is known. */
void choice_offer(struct choice *c, uint32_t id, uint32_t count);
/* Back to idle; the next nomination starts a new second. */
void choice_release(struct choice *c, uint32_t id);
/* The same, and no nomination counts for a while: 1 s, doubling to 64 s. */
void choice_refuse(struct choice *c, uint32_t id, uint64_t now_us);
const struct choice_stats *choice_stats(const struct choice *c);
