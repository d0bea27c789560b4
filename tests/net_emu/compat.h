/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What differs for a driver between the DPDK releases 22.11 and 24.11. Every test of a version is
 * in this file; the other files use the names of the newest release. Compile time only. Built
 * and run with 22.11; what 24.11 needs is from its release notes. */

#pragma once

#include <string.h>

#include <rte_version.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <rte_ethdev.h>
#include <rte_flow_driver.h>

/* Since 24.03 it fills an array and returns how many. */
static inline int emu_eth_devargs_parse(const char *args, struct rte_eth_devargs *out)
{
#if RTE_VERSION >= RTE_VERSION_NUM(24, 3, 0, 0)
	int n = rte_eth_devargs_parse(args, out, 1);

	return n < 0 ? n : 0;
#else
	return rte_eth_devargs_parse(args, out);
#endif
}

/* The addresses of items and of SET_IPV6 are uint8_t[16] before 24.11, struct rte_ipv6_addr since.
 */
#define EMU_IPV6_COPY(to, from)                                     \
	do {                                                        \
		_Static_assert(sizeof(from) == 16, "IPv6 address"); \
		memcpy((to), (const void *)&(from), 16);            \
	} while (0)
