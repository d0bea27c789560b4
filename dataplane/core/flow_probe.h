/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The hit path of the flow table in steps, inline for the stages' loops, so that what each step
 * waits for arrives while other packets are worked on:
 *
 *	aim      where a lane's key becomes known: hash it, start the load of its bucket
 *	probe    some packets later: the slot that the tag names, start the load of its entry
 *	compare  some packets later, by the caller, as the first touch of the entry
 *
 * Any worker. A probe tells only where to look: what the comparison refutes is looked up alone
 * (flow_lookup4, flow_lookup6). Nothing here writes to the table. */

#pragma once

#include "core/flow_index.h"

/* What aiming needs of one family, by value: stores to the burst could change what a pointer leads
 * to, for all that the compiler knows. */
struct flow_aim {
	const struct flow_bucket *buckets;
	uint64_t n_buckets;
	struct flow_salt salt;
};

FLOW_INLINE struct flow_aim flow_aim_of(const struct flow_table *t, bool v6)
{
	const struct flow_half *h = &t->half[v6];

	return (struct flow_aim){.buckets = h->buckets, .n_buckets = h->n_buckets, .salt = t->salt};
}

FLOW_INLINE void flow_aim_hash(const struct flow_aim *a, struct burst *b, lanes_t i, uint64_t hash)
{
	const struct flow_bucket *bucket = &a->buckets[((hash >> 32) * a->n_buckets) >> 32];

	__builtin_prefetch(bucket);
	b->bucket[i] = bucket;
	b->tag[i] = flow_tag_of(hash);
}

/* The same of a lane's key, for who has not got its words at hand. */
FLOW_INLINE void flow_aim_lane(const struct flow_aim *a, bool v6, struct burst *b, lanes_t i)
{
	flow_aim_hash(a, b, i,
		v6 ? flow_hash6(&a->salt, &b->key6[i]) : flow_hash4(&a->salt, &b->key4[i]));
}

FLOW_INLINE const char *flow_entry_at(const void *entries, const bool v6, uint32_t slot)
{
	return (const char *)entries +
		(size_t)(slot >> 1) * (v6 ? sizeof(struct flow6) : sizeof(struct flow4));
}

/* The load of an entry that a probe of far ones left in the second-level cache. */
FLOW_INLINE void flow_approach(const void *entries, const bool v6, uint32_t slot)
{
	const char *line = flow_entry_at(entries, v6, slot);

	__builtin_prefetch(line);
	if (v6)
		__builtin_prefetch(line + 64);
}

/* The slot of the first tag that fits, its entry on the way. False: none in the first bucket. Of
 * far entries, which come from memory, more loads can be under way to the second-level cache than
 * to the first. */
FLOW_INLINE bool flow_probe(const struct burst *b, lanes_t i, const void *entries, const bool v6,
	const bool far, uint32_t *slot)
{
	const struct flow_bucket *bucket = b->bucket[i];
	const char *line;
	uint32_t place;

	if (!simd_first8_u16((const uint16_t *)(const void *)bucket->tags, b->tag[i], &place))
		return false;
	/* The slot's address depends on the match, which orders the two loads in the machine. */
	atomic_signal_fence(memory_order_acquire);
	*slot = atomic_load_explicit(&bucket->slots[place], memory_order_acquire);
	if (!far) {
		flow_approach(entries, v6, *slot);
		return true;
	}
	line = flow_entry_at(entries, v6, *slot);
	__builtin_prefetch(line, 0, 2);
	if (v6)
		__builtin_prefetch(line + 64, 0, 2);
	return true;
}

/* Of a lane whose probe failed: can a lookup not find it either? */
FLOW_INLINE bool flow_probe_final(const struct burst *b, lanes_t i)
{
	return atomic_load_explicit(&b->bucket[i]->next, memory_order_relaxed) == 0;
}

/* --- marks (flow.h) ---------------------------------------------------------------------------
 */

/* What a mark stands for. False: nothing. */
FLOW_INLINE bool flow_mark_read(
	const struct flow_table *t, bool v6, uint16_t mark, uint32_t *slot, uint32_t *generation)
{
	uint64_t word = atomic_load_explicit(&t->marks[v6][mark], memory_order_acquire);

	*slot = (uint32_t)word - 1;
	*generation = (uint32_t)(word >> 32);
	return word != 0;
}

/* Starts the load of the entry that the lane's mark names. */
FLOW_INLINE void flow_mark_aim(const struct flow_table *t, bool v6, uint16_t mark)
{
	uint32_t slot, generation;
	const char *line;

	if (!flow_mark_read(t, v6, mark, &slot, &generation))
		return;
	line = (const char *)flow_meta_of(&t->half[v6], v6, slot >> 1);
	__builtin_prefetch(line);
	if (v6)
		__builtin_prefetch(line + 64);
}

/* A lookup of the lane's key alone. */
FLOW_INLINE uint32_t flow_lookup_aimed(
	const struct flow_table *t, const struct burst *b, lanes_t i, bool v6)
{
	const void *key = v6 ? (const void *)&b->key6[i] : (const void *)&b->key4[i];

	return flow_find(&t->half[v6], v6, b->bucket[i], b->tag[i], key);
}
