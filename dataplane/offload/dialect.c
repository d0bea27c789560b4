/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The names of a dialect's parts, as the API and the log show them. Any thread. */

#include "offload/provider.h"

const char *offload_port_dialect_name(enum offload_port_dialect d)
{
	static const char *const names[] = {
		[OFFLOAD_PORT_REPRESENTED] = "REPRESENTED_PORT",
		[OFFLOAD_PORT_ID] = "PORT_ID",
		[OFFLOAD_PORT_IMPLICIT] = "implicit+PORT_ID",
	};

	return (unsigned)d < OFFLOAD_PORT_DIALECTS ? names[d] : "?";
}

const char *offload_nat_dialect_name(enum offload_nat_dialect d)
{
	static const char *const names[] = {
		[OFFLOAD_NAT_SET] = "SET",
		[OFFLOAD_NAT_MODIFY] = "MODIFY_FIELD",
	};

	return (unsigned)d < OFFLOAD_NAT_DIALECTS ? names[d] : "?";
}

const char *offload_ttl_dialect_name(enum offload_ttl_dialect d)
{
	static const char *const names[] = {
		[OFFLOAD_TTL_SET] = "SET_TTL",
		[OFFLOAD_TTL_DEC] = "DEC_TTL",
	};

	return (unsigned)d < OFFLOAD_TTL_DIALECTS ? names[d] : "?";
}

const char *offload_encap_dialect_name(enum offload_encap_dialect d)
{
	static const char *const names[] = {
		[OFFLOAD_ENCAP_VXLAN] = "VXLAN_ENCAP",
		[OFFLOAD_ENCAP_RAW] = "RAW_ENCAP",
	};

	return (unsigned)d < OFFLOAD_ENCAP_DIALECTS ? names[d] : "?";
}

const char *offload_decap_dialect_name(enum offload_encap_dialect d)
{
	static const char *const names[] = {
		[OFFLOAD_ENCAP_VXLAN] = "VXLAN_DECAP",
		[OFFLOAD_ENCAP_RAW] = "RAW_DECAP",
	};

	return (unsigned)d < OFFLOAD_ENCAP_DIALECTS ? names[d] : "?";
}

const char *offload_order_dialect_name(enum offload_order_dialect d)
{
	static const char *const names[] = {
		[OFFLOAD_ORDER_PUSH_FIRST] = "push-first",
		[OFFLOAD_ORDER_PUSH_LAST] = "push-last",
	};

	return (unsigned)d < OFFLOAD_ORDER_DIALECTS ? names[d] : "?";
}
