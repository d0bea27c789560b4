/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a worker and a flow entry know of hardware offload, and no more: a request ring and a word
 * per direction.
 *
 * A worker only writes a request; the offload thread (dataplane/offload/) decides and is the only
 * one that moves a direction's state, but for the two moves named below. Hardware is a cache of
 * software's decisions: losing every request costs speed, never a packet. */

#pragma once

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

/* Of one direction. Software and dead directions hold nothing in hardware; an entry with any
 * other is not freed, nor its keys reused. */
enum offload_state {
	OFFLOAD_SOFTWARE,
	OFFLOAD_QUEUED,   /* worker's move: a request is on its way */
	OFFLOAD_PENDING,  /* the insert runs */
	OFFLOAD_HARDWARE, /* a rule carries it */
	OFFLOAD_REVOKING, /* the rule may still act */
	OFFLOAD_DEAD, /* the rule is gone; owner's move back to SOFTWARE, or the entry is freed */
	OFFLOAD_STATES
};

const char *offload_state_name(enum offload_state s);

enum offload_request_kind {
	OFFLOAD_NOMINATE, /* a packet of the flow went through a worker */
	OFFLOAD_ENDING,   /* FIN or RST was seen, or the entry is dead: no rule may outlive this */
};

/* A worker asks with ids only: the flow is read again when its turn comes. */
struct offload_request {
	uint32_t entry;
	uint32_t generation; /* of the entry */
	uint16_t len;        /* NOMINATE: of the packet, IP header and all that follows */
	uint8_t ttl;         /* NOMINATE: as received */
	uint8_t kind;        /* enum offload_request_kind */
	uint8_t family;
	uint8_t dir; /* enum lane_dir */
	uint16_t in_vport;
};

_Static_assert(sizeof(struct offload_request) == 16, "four a line");
