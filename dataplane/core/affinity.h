/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Session affinity (Kubernetes' sessionAffinity ClientIP): which backend a client address had last
 * on a service port.
 *
 * One bounded table for all workers and both families. Readers take no lock: a bucket has a
 * sequence number that is odd while a writer is in it. A full bucket gives up its oldest record.
 * Records are a matter of new connections: nothing here is touched by an established flow.
 *
 * Threads: any worker. Explanations read only. Nothing allocates after affinity_init(). */

#pragma once

#include <stdint.h>

#include "core/service.h"

struct affinity_table;

/* About so many records, rounded up; at least 4. seed is secret, so that clients cannot choose
 * addresses that push each other out. */
int affinity_init(uint32_t records, uint64_t seed, struct affinity_table **out);
void affinity_fini(struct affinity_table *t);

/* If the verdict translates to a service port with affinity, and the client has a record that is
 * not older than the service's timeout and whose backend is in the list the verdict was made from,
 * the verdict takes that backend; source NAT follows (hairpin). Changes nothing else. */
void affinity_apply(const struct affinity_table *t, const struct svc_query *q, uint32_t now_ms,
	struct svc_verdict *v);

/* After a new flow was made from the verdict: remembers or refreshes. Nothing for verdicts
 * without affinity. */
void affinity_record(struct affinity_table *t, const struct svc_query *q, uint32_t now_ms,
	const struct svc_verdict *v);

/* Records in use, expired ones included. */
uint32_t affinity_used(const struct affinity_table *t);
uint32_t affinity_capacity(const struct affinity_table *t);
