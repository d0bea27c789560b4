/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which flows a request means, and where a listing of them stands.
 *
 * Filters come from query parameters: repeated ones are alternatives, different ones must all
 * hold, a leading '!' excludes. Addresses may be prefixes, ports may be ranges. src, dst and their
 * ports hold for either side of a translation. Pure, but for the two names that the caller resolves
 * (services and vports); any thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/api/query.h"
#include "core/flow.h"

#define FLOW_FILTER_TERMS_MAX 32

enum flow_field {
	FLOW_FIELD_IP,
	FLOW_FIELD_SRC,
	FLOW_FIELD_DST,
	FLOW_FIELD_PORT,
	FLOW_FIELD_SRC_PORT,
	FLOW_FIELD_DST_PORT,
	FLOW_FIELD_PROTO,
	FLOW_FIELD_FAMILY,
	FLOW_FIELD_SERVICE,
	FLOW_FIELD_NAMESPACE,
	FLOW_FIELD_BACKEND,
	FLOW_FIELD_STATE,
	FLOW_FIELD_NAT,
	FLOW_FIELD_UNREPLIED,
	FLOW_FIELD_WORKER,
	FLOW_FIELD_IN_PORT,
	FLOW_FIELD_MIN_AGE,
	FLOW_FIELD_MIN_IDLE,
	FLOW_FIELD_OFFLOAD, /* hardware or software: either direction */
	FLOW_FIELD_REASON,  /* why not in hardware: either direction */
	FLOW_FIELDS
};

extern const char *const flow_field_names[FLOW_FIELDS + 1]; /* the last is NULL */

struct flow_term {
	enum flow_field field;
	bool negate;
	struct ip_prefix prefix;
	uint32_t low, high;
	const char *text; /* of the query; names */
};

struct flow_filter {
	uint32_t n;
	struct flow_term term[FLOW_FILTER_TERMS_MAX];
	uint64_t hash; /* of what was asked; in cursors */
	/* "namespace/name:port" of a service port, the name of a vport; NULL when unknown. */
	const char *(*service_name)(void *arg, uint32_t svc_port_id);
	const char *(*vport_name)(void *arg, uint16_t vport);
	/* A bit per direction in hardware, two more for those marked there; why the others are not
	 * (enum offload_reason). */
	unsigned (*offload)(void *arg, const struct flow_view *v, uint32_t now_ms, uint8_t why[2]);
	void *arg;
};

/* Reads the parameters that are fields; leaves others alone. q must outlive f. 0 or -EINVAL. */
int flow_filter_parse(const struct query *q, struct flow_filter *f, struct query_error *err);
bool flow_filter_match(const struct flow_filter *f, const struct flow_view *v, uint32_t now_ms);
/* False when no flow of that family can match: the scan skips its half. */
bool flow_filter_family(const struct flow_filter *f, enum ip_family family);

#define FLOW_CURSOR_TEXT_MAX 48

struct flow_cursor {
	uint64_t boot; /* of the table; another: expired */
	uint64_t filter;
	uint32_t entry;
	uint8_t family;
};

void flow_cursor_encode(const struct flow_cursor *c, char out[FLOW_CURSOR_TEXT_MAX]);
/* 0 or -EINVAL. */
int flow_cursor_decode(const char *text, struct flow_cursor *out);

#define FLOW_ID_MAX 32

/* "4-0001f3a9-7": family, entry in hexadecimal, generation. */
void flow_id_format(
	enum ip_family family, uint32_t entry, uint32_t generation, char out[FLOW_ID_MAX]);
int flow_id_parse(const char *text, enum ip_family *family, uint32_t *entry, uint32_t *generation);

/* "TCP", "udp", "47". 0 or -EINVAL. */
int flow_proto_parse(const char *text, uint8_t *out);
const char *flow_nat_name(const struct flow_view *v);
