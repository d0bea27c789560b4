/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a worker and a flow entry know of hardware offload, and no more: a request ring and a word
 * per direction.
 *
 * A worker only writes a request; the offload thread (dataplane/offload/) decides and is the only
 * one that moves a direction's state. Hardware is a cache of software's decisions: losing every
 * request costs speed, never a packet. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

enum offload_reason {
	OFFLOAD_REASON_NONE,
#define OFFLOAD_REASON(name, text) OFFLOAD_##name,
#include "core/offload_reasons.def"
#undef OFFLOAD_REASON
	OFFLOAD_REASONS
};

extern const char *const offload_reason_names[OFFLOAD_REASONS];
extern const char *const offload_reason_texts[OFFLOAD_REASONS];

/* Of one direction. From PENDING on hardware may act: the entry is held, neither freed nor its
 * keys given again (flow_hold() in flow.h). */
enum offload_state {
	OFFLOAD_SOFTWARE,
	OFFLOAD_QUEUED,   /* chosen, waits for its turn */
	OFFLOAD_PENDING,  /* the insert runs */
	OFFLOAD_HARDWARE, /* a rule carries it */
	OFFLOAD_REVOKING, /* the rule may still act */
	OFFLOAD_PARTIAL,  /* a rule marks its packets for the worker; the reason is why no more */
	OFFLOAD_STATES
};

/* The word of a direction: state, why it is not in hardware, since when. All bits 0: software,
 * and nobody asked for more. */
static inline uint32_t offload_word(
	enum offload_state state, enum offload_reason reason, uint32_t now_ms)
{
	return (uint32_t)state | (uint32_t)reason << 3 | (now_ms & ~UINT32_C(0xff));
}

static inline enum offload_state offload_word_state(uint32_t word)
{
	return (enum offload_state)(word & 7);
}

static inline enum offload_reason offload_word_reason(uint32_t word)
{
	return (enum offload_reason)(word >> 3 & 31);
}

/* Of the worker's clock, to a quarter of a second. */
static inline uint32_t offload_word_since(uint32_t word)
{
	return word & ~UINT32_C(0xff);
}

static inline bool offload_busy(uint32_t word)
{
	return (word & 7) >= OFFLOAD_PENDING;
}

_Static_assert(OFFLOAD_STATES <= 8 && OFFLOAD_REASONS <= 32, "one byte of the word");

enum offload_request_kind {
	OFFLOAD_NOMINATE, /* a packet of the flow went through a worker */
	OFFLOAD_EXCLUDE,  /* one that hardware could not have carried; len: enum offload_reason */
	OFFLOAD_ENDING, /* FIN, RST or SYN was seen: the rules must go. A death needs no request */
};

/* Requests that may wait. At one packet in 64, a worker of 16 million packets a second fills this
 * in 65 ms; the offload thread looks every 10, every 2 while it asks for more. */
#define OFFLOAD_REQUESTS_MAX 16384
/* A worker nominates one packet in 2^shift: dataplane.offload_shift, which the offload thread
 * lowers while hardware has places to fill and nominations fill them. */
#define OFFLOAD_SHIFT_MIN 3
#define OFFLOAD_SHIFT_MAX 6

/* A worker asks with ids only: the flow is read again when its turn comes. */
struct offload_request {
	uint32_t entry;
	uint32_t generation; /* of the entry */
	uint16_t len;        /* NOMINATE: of the packet, IP header and all that follows */
	uint8_t ttl;         /* NOMINATE: as received */
	uint8_t kind;        /* enum offload_request_kind */
	uint8_t family;
	uint8_t dir : 1;    /* enum lane_dir */
	uint8_t marked : 1; /* NOMINATE: the NIC had marked the packet */
	uint8_t shift : 4;  /* NOMINATE: it stands for 2^shift packets */
	uint16_t in_vport;
};

_Static_assert(sizeof(struct offload_request) == 16, "four a line");
