/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Shapes and rows of the matrix (see caps.h) as people read them. Any thread; no state. */

#include <stdio.h>

#include "offload/caps.h"

void offload_shape_text(unsigned shape, char *out, uint32_t size)
{
	snprintf(out, size, "%s %s%s%s%s%s%s%s%s", shape & OFFLOAD_SHAPE_V6 ? "ipv6" : "ipv4",
		shape & OFFLOAD_SHAPE_UDP ? "udp" : "tcp",
		shape & OFFLOAD_SHAPE_VLAN ? " vlan" : "",
		shape & OFFLOAD_SHAPE_DECAP ? " decap" : "",
		shape & OFFLOAD_SHAPE_NAT_SRC ? " snat" : "",
		shape & OFFLOAD_SHAPE_NAT_DST ? " dnat" : "",
		shape & OFFLOAD_SHAPE_TTL ? " ttl" : "",
		shape & OFFLOAD_SHAPE_ENCAP ? " encap" : "",
		shape & OFFLOAD_SHAPE_MARK ? " partial" : " full");
}

/* Of a dialect what the shape uses. */
static int dialect_text(const struct offload_caps_row *row, char *out, uint32_t size)
{
	const struct offload_dialect *d = &row->dialect;
	const char *tunnel = "";

	if (row->shape & OFFLOAD_SHAPE_MARK)
		return snprintf(out, size, "MARK QUEUE");
	if (row->shape & OFFLOAD_SHAPE_ENCAP)
		tunnel = offload_encap_dialect_name(d->encap);
	else if (row->shape & OFFLOAD_SHAPE_DECAP)
		tunnel = offload_decap_dialect_name(d->encap);
	return snprintf(out, size, "%s %s%s%s%s%s%s%s%s", offload_port_dialect_name(d->port),
		offload_nat_dialect_name(d->nat), row->shape & OFFLOAD_SHAPE_TTL ? " " : "",
		row->shape & OFFLOAD_SHAPE_TTL ? offload_ttl_dialect_name(d->ttl) : "",
		tunnel[0] != '\0' ? " " : "", tunnel, row->shape & OFFLOAD_SHAPE_VLAN ? " " : "",
		row->shape & OFFLOAD_SHAPE_VLAN ? offload_order_dialect_name(d->order) : "",
		d->group != 0 ? " group 1" : "");
}

uint32_t offload_caps_row_text(const struct offload_caps_row *row, char *out, uint32_t size)
{
	char shape[OFFLOAD_SHAPE_TEXT_MAX], dialect[128];

	offload_shape_text(row->shape, shape, sizeof(shape));
	switch (row->support) {
	case OFFLOAD_SUPPORTED:
		dialect_text(row, dialect, sizeof(dialect));
		return (uint32_t)snprintf(out, size, "%-28s yes %s", shape, dialect);
	case OFFLOAD_UNSUPPORTED:
		return (uint32_t)snprintf(out, size, "%-28s no  %s (%d, type %u: %s)", shape,
			offload_reason_names[row->reason], row->error, row->refusal.type,
			row->refusal.cause);
	case OFFLOAD_QUARANTINED:
		return (uint32_t)snprintf(out, size, "%-28s no  %s", shape,
			offload_reason_names[OFFLOAD_ShapeQuarantined]);
	}
	return (uint32_t)snprintf(out, size, "%-28s ?   (%d, type %u: %s)", shape, row->error,
		row->refusal.type, row->refusal.cause);
}
