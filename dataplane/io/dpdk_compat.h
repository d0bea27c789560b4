/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What differs between the DPDK releases that Sluice builds against: 22.11, 23.11 and 24.11. Every
 * test of a DPDK version is in this file; the rest of io/ uses the names of the newest release.
 * Compile time only. */

#pragma once

#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "Sluice needs DPDK 22.11 or newer"
#endif

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_thread.h>

/* rte_thread_set_name() is stable since 23.11; before it, glibc's own call does the same. */
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
static inline void dpdk_thread_name(const char *name)
{
	rte_thread_set_name(rte_thread_self(), name);
}
#else
#include <pthread.h>
static inline void dpdk_thread_name(const char *name)
{
	(void)pthread_setname_np(pthread_self(), name);
}
#endif
