/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The inside of the flow table: buckets, pools, and how readers walk a chain. For the flow_*.c
 * files alone.
 *
 * A bucket is a line: eight 16-bit tags (0: free place), eight slots, the writers' lock and the
 * link to an overflow bucket. The place of a key never changes while it is linked. A writer holds
 * the lock of the chain's first bucket. It stores the slot, then the tag; it takes a key away by
 * clearing the tag. A reader takes no lock: it may meet a slot that was given to another key after
 * the tag matched, so it compares the key in the entry, which stays as it was until a grace period
 * after its death.
 *
 * Overflow buckets come from a bounded pool, are unlinked when empty and keep their link until
 * they are given again a grace period later, so that a reader inside one finds its way on. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/flow.h"
#include "core/flow_hash.h"
#include "core/offload.h"
#include "core/simd.h"

#define BUCKET_SLOTS 8

struct flow_bucket {
	_Atomic uint32_t lock;
	_Atomic uint32_t next; /* overflow bucket + 1; 0: the chain ends */
	uint32_t pool_next;    /* overflow pool's list, same form */
	uint32_t stamp;        /* grace stamp of the unlinking */
	_Atomic uint16_t tags[BUCKET_SLOTS];
	_Atomic uint32_t slots[BUCKET_SLOTS]; /* entry << 1 | direction */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct flow_bucket) == 64, "one line a bucket");
_Static_assert(offsetof(struct flow_bucket, tags) == 16, "tags are one aligned vector");

/* Overflow buckets that no chain has. Writers/Readers: whoever holds lock. */
struct overflow_pool {
	_Atomic uint32_t lock;
	uint32_t free;                  /* list of buckets, + 1 */
	uint32_t retired, retired_tail; /* first in, first out; wait for their grace period */
	_Atomic uint32_t used;
	uint32_t total;
};

/* Writers: the first group the owning worker alone; stats see flow.h. */
struct flow_pool {
	uint32_t base, size; /* entries base .. base + size - 1 */
	uint32_t given;      /* the first so many were given at least once */
	uint32_t free_head;  /* list through cold.next_free, FLOW_NONE ends */
	uint32_t free_count; /* on that list */
	uint32_t dead_head;  /* first in, first out; same link */
	uint32_t dead_tail;
	uint32_t sweep_at;     /* offset from base */
	uint32_t sweep_ms;     /* when credit was last given */
	uint32_t sweep_credit; /* entries that may be looked at */
	uint32_t reclaim_at;   /* offset from base */
	struct flow_pool_stats stats __attribute__((aligned(64)));
} __attribute__((aligned(64)));

/* One family's half of the table. Constant after init but for what the pointers lead to. */
struct flow_half {
	struct flow_bucket *buckets;
	struct flow_bucket *overflow;
	void *hot; /* struct flow4[] or flow6[] */
	struct flow_cold *cold;
	uint32_t n_buckets;
	uint32_t capacity;
	uint32_t per_worker;
	struct flow_pool *pools; /* [workers] */
	_Atomic uint32_t held;   /* list through cold.held_next, entry + 1 */
	struct overflow_pool pool __attribute__((aligned(64)));
};

struct flow_table {
	struct flow_half half[IP_FAMILIES];
	struct flow_salt salt;
	/* What a NIC's marks stand for, by mark: entry << 1 | direction, + 1, and above it the
	 * entry's generation; 0: nothing. Writer: the offload thread. */
	_Atomic uint64_t *marks[IP_FAMILIES];
	_Atomic uint32_t marks_used;
	struct grace *grace;
	uint32_t workers;
	void *(*alloc)(void *arg, size_t size, size_t align, const char *name);
	void (*free)(void *arg, void *mem);
	void *arg;
} __attribute__((aligned(64)));

#define FLOW_INLINE static inline __attribute__((always_inline))

/* The bucket comes from the hash's upper word, the tag from 15 bits of the lower; 0 is a free
 * place's. */
FLOW_INLINE struct flow_bucket *flow_bucket_of(const struct flow_half *h, uint64_t hash)
{
	return &h->buckets[((hash >> 32) * h->n_buckets) >> 32];
}

FLOW_INLINE uint16_t flow_tag_of(uint64_t hash)
{
	return (uint16_t)(hash | 0x8000);
}

FLOW_INLINE uint32_t flow_match(const struct flow_bucket *b, uint16_t tag)
{
	uint32_t mask = simd_match8_u16((const uint16_t *)(const void *)b->tags, tag);

	/* The slot's address depends on the mask, which orders the two loads in the machine. */
	atomic_signal_fence(memory_order_acquire);
	return mask;
}

FLOW_INLINE struct flow_meta *flow_meta_of(const struct flow_half *h, bool v6, uint32_t entry)
{
	return v6 ? &((struct flow6 *)h->hot)[entry].meta : &((struct flow4 *)h->hot)[entry].meta;
}

FLOW_INLINE const void *flow_key_of(const struct flow_half *h, bool v6, uint32_t slot)
{
	return v6 ? (const void *)&((struct flow6 *)h->hot)[slot >> 1].key[slot & 1]
		  : (const void *)&((struct flow4 *)h->hot)[slot >> 1].key[slot & 1];
}

FLOW_INLINE bool flow_key_is(const struct flow_half *h, bool v6, uint32_t slot, const void *key)
{
	const void *have = flow_key_of(h, v6, slot);

	return v6 ? flow_key6_equal(have, key) : flow_key4_equal(have, key);
}

FLOW_INLINE uint64_t flow_hash_of(const struct flow_table *t, bool v6, const void *key)
{
	return v6 ? flow_hash6(&t->salt, key) : flow_hash4(&t->salt, key);
}

FLOW_INLINE bool flow_is_live(const struct flow_meta *m)
{
	return atomic_load_explicit(&m->state, memory_order_relaxed) >= FLOW_NEW;
}

FLOW_INLINE struct flow_bucket *flow_bucket_next(
	const struct flow_half *h, const struct flow_bucket *b)
{
	uint32_t next = atomic_load_explicit(&b->next, memory_order_acquire);

	return next == 0 ? NULL : &h->overflow[next - 1];
}

/* May hardware act on this entry? Asked by whoever found it dead: sequentially consistent with
 * flow_hold(), which makes it busy first and looks whether it lives second. */
FLOW_INLINE bool flow_is_held(const struct flow_half *h, uint32_t entry)
{
	struct flow_cold *c = &h->cold[entry];
	uint32_t forward = atomic_load_explicit(&c->offload[0], memory_order_seq_cst);

	return __builtin_expect(offload_busy(forward) ||
			offload_busy(atomic_load_explicit(&c->offload[1], memory_order_seq_cst)),
		0);
}

/* The live slot with this key, or FLOW_NONE; lock-free. */
FLOW_INLINE uint32_t flow_find(const struct flow_half *h, bool v6, const struct flow_bucket *b,
	uint16_t tag, const void *key)
{
	for (; b != NULL; b = flow_bucket_next(h, b)) {
		for (uint32_t mask = flow_match(b, tag); mask != 0; mask &= mask - 1) {
			uint32_t slot = atomic_load_explicit(
				&b->slots[__builtin_ctz(mask)], memory_order_acquire);

			if (flow_key_is(h, v6, slot, key) &&
				flow_is_live(flow_meta_of(h, v6, slot >> 1)))
				return slot;
		}
	}
	return FLOW_NONE;
}

/* The four last fields of flow_meta as they lie in its word. */
union flow_life {
	struct {
		uint32_t generation;
		uint8_t state, flags, bury, zero;
	};
	uint64_t word;
};

/* How far the death of an entry is (flow_meta.bury). */
enum flow_bury {
	BURY_NOT,
	BURY_HELD,   /* hardware may act on it: keys linked, on the list of the held */
	BURY_TAKEN,  /* from that list by the offload thread, which will bury it */
	BURY_BURIED, /* keys unlinked, grace stamp written */
	BURY_QUEUED, /* on the owner's queue */
};

/* Unlinks both keys of a dead entry and stamps it. */
void flow_bury(struct flow_table *t, enum ip_family f, uint32_t entry);
/* Puts a dead entry that hardware may act on onto the list of the held. */
void flow_bury_later(struct flow_table *t, enum ip_family f, uint32_t entry);

int flow_index_init(struct flow_table *t, enum ip_family f, uint32_t buckets);
void flow_index_fini(struct flow_table *t, enum ip_family f);
