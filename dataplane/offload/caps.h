/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What each port can do: a matrix of shapes, found by asking the driver, and never believed
 * without a try.
 *
 * A shape is what of a rule decides whether a driver takes it: L3, L4, VLAN, NAT, TTL, tunnel,
 * fate. Written by the offload thread (caps_probe, caps_refused); the matrix is read by others by
 * copy under the lock inside. */

#pragma once

#include <stdint.h>

#include "core/offload.h"
#include "offload/provider.h"

/* Index of a rule's shape in the matrix; bits, so that a shape prints itself. */
enum offload_shape {
	OFFLOAD_SHAPE_V6 = 1 << 0,
	OFFLOAD_SHAPE_UDP = 1 << 1, /* else TCP */
	OFFLOAD_SHAPE_VLAN = 1 << 2,
	OFFLOAD_SHAPE_NAT_SRC = 1 << 3,
	OFFLOAD_SHAPE_NAT_DST = 1 << 4,
	OFFLOAD_SHAPE_TTL = 1 << 5,
	OFFLOAD_SHAPE_ENCAP = 1 << 6,
	OFFLOAD_SHAPE_DECAP = 1 << 7,
	OFFLOAD_SHAPE_MARK = 1 << 8, /* partial */
	OFFLOAD_SHAPES = 1 << 9
};

unsigned offload_shape_of(const struct offload_rule *rule);
/* "ipv4 tcp dnat ttl full", for people. */
void offload_shape_text(unsigned shape, char *out, uint32_t size);
#define OFFLOAD_SHAPE_TEXT_MAX 64

enum offload_support {
	OFFLOAD_UNKNOWN, /* not asked yet */
	OFFLOAD_SUPPORTED,
	OFFLOAD_UNSUPPORTED,
	OFFLOAD_QUARANTINED, /* accepted, yet packets did not hit */
};

struct offload_caps_row {
	uint16_t shape;
	uint8_t support; /* enum offload_support */
	uint8_t reason;  /* enum offload_reason when not supported */
	struct offload_dialect dialect;
	uint32_t retry_ms; /* when an unsupported shape is asked again */
	int error;         /* the driver's last refusal: -errno and its words */
	struct offload_error refusal;
};

/* "ipv4 udp dnat ttl full  yes REPRESENTED_PORT SET SET_TTL", or no, why, and the driver's words.
 * The length needed. */
uint32_t offload_caps_row_text(const struct offload_caps_row *row, char *out, uint32_t size);
#define OFFLOAD_ROW_TEXT_MAX 320

struct offload_caps; /* of one port */

int offload_caps_new(
	const struct offload_provider *provider, uint16_t port, struct offload_caps **out);
void offload_caps_free(struct offload_caps *c);
const struct offload_port_facts *offload_caps_facts(const struct offload_caps *c);
/* Asks for every shape that flows can have here: validates down the ladder of dialects, nonsense
 * that must be refused, one rule made, queried and destroyed. peer: another port of the same
 * domain, OFFLOAD_NO_PORT when there is none. At most 200 validates. 0 or -ENODEV. */
int offload_caps_probe(struct offload_caps *c, uint16_t peer, uint32_t now_ms);
/* The driver accepts nonsense: only partial rules may be made. */
bool offload_caps_untrusted(const struct offload_caps *c);
/* Is a rule that tried something still in the device, because it could not be removed? Told once:
 * who asks flushes. Offload thread. */
bool offload_caps_left(struct offload_caps *c);
/* How to say this rule to this port: 0, or a reason of enum offload_reason (positive). */
int offload_caps_find(struct offload_caps *c, const struct offload_rule *rule, uint32_t now_ms,
	struct offload_dialect *out);
/* Why the last probe of the rule's shape said no; NULL: it did not, or the driver said nothing. */
const struct offload_error *offload_caps_refusal(
	const struct offload_caps *c, const struct offload_rule *rule, int *error);
/* An insert was refused as unsupported (-ENOTSUP, -EINVAL, -ENOSYS): the shape's next dialect is
 * taken, or the shape given up for ten minutes. */
void offload_caps_refused(struct offload_caps *c, const struct offload_rule *rule, int error,
	const struct offload_error *err, uint32_t now_ms);
/* Packets of the shape reached a worker although a rule was in place. */
void offload_caps_quarantine(struct offload_caps *c, unsigned shape);
/* The rule that is tried for a shape: of addresses that nobody has, with a TTL of 64, and with new
 * MACs, as whatever is routed gets. */
void offload_caps_sample(unsigned shape, uint16_t port, uint16_t peer, struct offload_rule *out);
/* Copies the rows that were asked for, returns how many there are. Any thread. */
uint32_t offload_caps_rows(struct offload_caps *c, struct offload_caps_row *out, uint32_t n);
