/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The flow index: lookups of one key and of bursts, link and unlink, overflow buckets.
 *
 * Any worker. Readers never wait; writers hold one bucket's lock for one walk of a chain that is
 * at most FLOW_CHAIN_MAX + 1 buckets long. Nothing here allocates after flow_index_init(). */

#include <errno.h>

#include "core/flow_index.h"
#include "core/flow_probe.h"

#if defined(__x86_64__)
#define cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define cpu_relax() __asm__ volatile("yield")
#else
#define cpu_relax() ((void)0)
#endif

static inline void lock(_Atomic uint32_t *l)
{
	while (atomic_exchange_explicit(l, 1, memory_order_acquire) != 0)
		while (atomic_load_explicit(l, memory_order_relaxed) != 0)
			cpu_relax();
}

static inline void unlock(_Atomic uint32_t *l)
{
	atomic_store_explicit(l, 0, memory_order_release);
}

/* --- overflow buckets ------------------------------------------------------------------------- */

static struct flow_bucket *overflow_take(struct flow_table *t, struct flow_half *h)
{
	struct overflow_pool *p = &h->pool;
	struct flow_bucket *b = NULL;

	lock(&p->lock);
	if (p->free != 0) {
		b = &h->overflow[p->free - 1];
		p->free = b->pool_next;
	} else if (p->retired != 0 && grace_passed(t->grace, h->overflow[p->retired - 1].stamp)) {
		b = &h->overflow[p->retired - 1];
		p->retired = b->pool_next;
	}
	if (b != NULL)
		atomic_fetch_add_explicit(&p->used, 1, memory_order_relaxed);
	unlock(&p->lock);
	return b;
}

/* Unlinked already; readers may still be inside. */
static void overflow_retire(struct flow_table *t, struct flow_half *h, struct flow_bucket *b)
{
	struct overflow_pool *p = &h->pool;
	uint32_t id = (uint32_t)(b - h->overflow) + 1;

	lock(&p->lock);
	b->stamp = grace_stamp(t->grace);
	b->pool_next = 0;
	if (p->retired == 0)
		p->retired = id;
	else
		h->overflow[p->retired_tail - 1].pool_next = id;
	p->retired_tail = id;
	atomic_fetch_sub_explicit(&p->used, 1, memory_order_relaxed);
	unlock(&p->lock);
}

/* --- link and unlink --------------------------------------------------------------------------
 */

static void place(struct flow_bucket *b, unsigned at, uint16_t tag, uint32_t slot)
{
	atomic_store_explicit(&b->slots[at], slot, memory_order_release);
	atomic_store_explicit(&b->tags[at], tag, memory_order_release);
}

/* In a locked chain: the place of key, dead or alive; else the first free place and the last
 * bucket. */
struct chain_walk {
	struct flow_bucket *found, *free, *last;
	unsigned found_at, free_at, length;
	uint32_t slot;
};

FLOW_INLINE void chain_walk(struct flow_half *h, bool v6, struct flow_bucket *b, uint16_t tag,
	const void *key, struct chain_walk *w)
{
	*w = (struct chain_walk){0};
	for (; b != NULL; b = flow_bucket_next(h, b)) {
		for (uint32_t mask = flow_match(b, tag); mask != 0; mask &= mask - 1) {
			unsigned at = (unsigned)__builtin_ctz(mask);
			uint32_t slot = atomic_load_explicit(&b->slots[at], memory_order_relaxed);

			if (flow_key_is(h, v6, slot, key)) {
				w->found = b;
				w->found_at = at;
				w->slot = slot;
				return;
			}
		}
		if (w->free == NULL) {
			uint32_t mask = flow_match(b, 0);

			if (mask != 0) {
				w->free = b;
				w->free_at = (unsigned)__builtin_ctz(mask);
			}
		}
		w->last = b;
		w->length++;
	}
}

FLOW_INLINE int link_locked(struct flow_table *t, struct flow_half *h, bool v6,
	struct flow_bucket *head, uint16_t tag, uint32_t slot, uint32_t *other)
{
	const struct flow_meta *m = flow_meta_of(h, v6, slot >> 1);
	struct flow_bucket *fresh;
	struct chain_walk w;

	/* Who kills an entry unlinks it under this lock after the state is DEAD: what is linked
	 * here before is found there, and what comes after sees DEAD here. */
	if (atomic_load_explicit(&m->state, memory_order_relaxed) == FLOW_DEAD)
		return -ECANCELED;
	chain_walk(h, v6, head, tag, flow_key_of(h, v6, slot), &w);
	if (w.found != NULL) {
		const struct flow_meta *have = flow_meta_of(h, v6, w.slot >> 1);

		if (atomic_load_explicit(&have->state, memory_order_acquire) != FLOW_DEAD) {
			*other = w.slot;
			return -EEXIST;
		}
		if (flow_is_held(h, w.slot >> 1))
			return -EBUSY;
		/* Its killer is about to unlink it and looks for its own slot only. */
		place(w.found, w.found_at, tag, slot);
		return 0;
	}
	if (w.free != NULL) {
		place(w.free, w.free_at, tag, slot);
		return 0;
	}
	if (w.length > FLOW_CHAIN_MAX)
		return -ENOSPC;
	fresh = overflow_take(t, h);
	if (fresh == NULL)
		return -ENOSPC;
	atomic_store_explicit(&fresh->next, 0, memory_order_relaxed);
	place(fresh, 0, tag, slot);
	atomic_store_explicit(
		&w.last->next, (uint32_t)(fresh - h->overflow) + 1, memory_order_release);
	return 0;
}

FLOW_INLINE int link_one(
	struct flow_table *t, bool v6, uint32_t entry, enum lane_dir dir, uint32_t *other)
{
	struct flow_half *h = &t->half[v6];
	uint32_t slot = entry << 1 | (uint32_t)dir;
	uint64_t hash = flow_hash_of(t, v6, flow_key_of(h, v6, slot));
	struct flow_bucket *head = flow_bucket_of(h, hash);
	int ret;

	lock(&head->lock);
	ret = link_locked(t, h, v6, head, flow_tag_of(hash), slot, other);
	unlock(&head->lock);
	return ret;
}

static void count_refusal(struct flow_table *t, enum ip_family f, uint32_t entry, int err)
{
	struct flow_half *h = &t->half[f];
	struct flow_pool_stats *s = &h->pools[entry / h->per_worker].stats;

	if (err == -EEXIST)
		atomic_fetch_add_explicit(&s->races, 1, memory_order_relaxed);
	else if (err == -ENOSPC)
		atomic_fetch_add_explicit(&s->index_full, 1, memory_order_relaxed);
}

int flow_link(
	struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t *other)
{
	int ret = f == IP_V4 ? link_one(t, false, entry, dir, other)
			     : link_one(t, true, entry, dir, other);

	if (__builtin_expect(ret != 0, 0))
		count_refusal(t, f, entry, ret);
	return ret;
}

/* Takes the bucket out of the chain if nothing is left in it. The first bucket stays. */
static void drop_if_empty(
	struct flow_table *t, struct flow_half *h, struct flow_bucket *prev, struct flow_bucket *b)
{
	if (prev == NULL || flow_match(b, 0) != 0xff)
		return;
	atomic_store_explicit(&prev->next, atomic_load_explicit(&b->next, memory_order_relaxed),
		memory_order_release);
	overflow_retire(t, h, b);
}

void flow_unlink(struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir)
{
	struct flow_half *h = &t->half[f];
	bool v6 = f == IP_V6;
	uint32_t slot = entry << 1 | (uint32_t)dir;
	uint64_t hash = flow_hash_of(t, v6, flow_key_of(h, v6, slot));
	struct flow_bucket *head = flow_bucket_of(h, hash), *prev = NULL;
	uint16_t tag = flow_tag_of(hash);

	lock(&head->lock);
	for (struct flow_bucket *b = head; b != NULL; prev = b, b = flow_bucket_next(h, b)) {
		for (uint32_t mask = flow_match(b, tag); mask != 0; mask &= mask - 1) {
			unsigned at = (unsigned)__builtin_ctz(mask);

			if (atomic_load_explicit(&b->slots[at], memory_order_relaxed) != slot)
				continue;
			atomic_store_explicit(&b->tags[at], 0, memory_order_release);
			drop_if_empty(t, h, prev, b);
			unlock(&head->lock);
			return;
		}
	}
	unlock(&head->lock);
}

/* --- lookup -----------------------------------------------------------------------------------
 */

uint32_t flow_lookup4(struct flow_table *t, const struct flow_key4 *k)
{
	uint64_t hash = flow_hash4(&t->salt, k);
	const struct flow_half *h = &t->half[IP_V4];

	return flow_find(h, false, flow_bucket_of(h, hash), flow_tag_of(hash), k);
}

uint32_t flow_lookup6(struct flow_table *t, const struct flow_key6 *k)
{
	uint64_t hash = flow_hash6(&t->salt, k);
	const struct flow_half *h = &t->half[IP_V6];

	return flow_find(h, true, flow_bucket_of(h, hash), flow_tag_of(hash), k);
}

void flow_prefetch4(const struct flow_table *t, const struct flow_key4 *k)
{
	__builtin_prefetch(flow_bucket_of(&t->half[IP_V4], flow_hash4(&t->salt, k)));
}

void flow_prefetch6(const struct flow_table *t, const struct flow_key6 *k)
{
	__builtin_prefetch(flow_bucket_of(&t->half[IP_V6], flow_hash6(&t->salt, k)));
}

/* Three passes, so that the cache misses of all lanes run at once: buckets, entries, keys. Tags lie
 * about one key in 6000, and then the whole chain is walked. */
FLOW_INLINE lanes_t lookup_lanes(
	const struct flow_table *t, struct burst *b, lanes_t lanes, const bool v6)
{
	const struct flow_half *h = &t->half[v6];
	struct flow_aim aim = flow_aim_of(t, v6);
	lanes_t hits = 0;

	lanes_foreach (i, lanes)
		flow_aim_lane(&aim, v6, b, i);
	lanes_foreach (i, lanes)
		if (!flow_probe(b, i, h->hot, v6, false, &b->flow[i]))
			b->flow[i] = FLOW_NONE;
	lanes_foreach (i, lanes) {
		const void *key = v6 ? (const void *)&b->key6[i] : (const void *)&b->key4[i];
		uint32_t slot = b->flow[i];

		if (slot == FLOW_NONE && flow_probe_final(b, i))
			continue;
		if (slot == FLOW_NONE || !flow_key_is(h, v6, slot, key) ||
			!flow_is_live(flow_meta_of(h, v6, slot >> 1)))
			slot = flow_lookup_aimed(t, b, i, v6);
		b->flow[i] = slot;
		if (slot != FLOW_NONE)
			hits |= LANE(i);
	}
	return hits;
}

lanes_t flow_lookup_burst(struct flow_table *t, struct burst *b, lanes_t lanes)
{
	lanes_t v6 = lanes & b->v6, v4 = lanes & ~b->v6, hits = 0;

	if (v4 != 0)
		hits = lookup_lanes(t, b, v4, false);
	if (v6 != 0)
		hits |= lookup_lanes(t, b, v6, true);
	return hits;
}

/* --- set-up -----------------------------------------------------------------------------------
 */

int flow_index_init(struct flow_table *t, enum ip_family f, uint32_t buckets)
{
	static const char *const names[IP_FAMILIES] = {"flow_index4", "flow_index6"};
	static const char *const overflow_names[IP_FAMILIES] = {"flow_overflow4", "flow_overflow6"};
	struct flow_half *h = &t->half[f];
	uint32_t overflow;

	/* Two slots an entry, 8 places a bucket, load 0.7. */
	if (buckets == 0)
		buckets = (uint32_t)(((uint64_t)h->capacity * 20 + 55) / 56);
	overflow = buckets / FLOW_OVERFLOW_SHARE;
	if (overflow < FLOW_OVERFLOW_MIN)
		overflow = FLOW_OVERFLOW_MIN;
	h->n_buckets = buckets;
	h->buckets = t->alloc(t->arg, sizeof(struct flow_bucket) * buckets, 64, names[f]);
	h->overflow =
		t->alloc(t->arg, sizeof(struct flow_bucket) * overflow, 64, overflow_names[f]);
	if (h->buckets == NULL || h->overflow == NULL)
		return -ENOMEM;
	memset(h->buckets, 0, sizeof(struct flow_bucket) * buckets);
	memset(h->overflow, 0, sizeof(struct flow_bucket) * overflow);
	for (uint32_t i = 0; i + 1 < overflow; i++)
		h->overflow[i].pool_next = i + 2;
	h->pool.free = 1;
	h->pool.total = overflow;
	return 0;
}

void flow_index_fini(struct flow_table *t, enum ip_family f)
{
	struct flow_half *h = &t->half[f];

	if (h->buckets != NULL)
		t->free(t->arg, h->buckets);
	if (h->overflow != NULL)
		t->free(t->arg, h->overflow);
}

void flow_index_usage(const struct flow_table *t, enum ip_family f, uint32_t *buckets,
	uint32_t *overflow_used, uint32_t *overflow_total)
{
	const struct flow_half *h = &t->half[f];

	*buckets = h->n_buckets;
	*overflow_used = atomic_load_explicit(&h->pool.used, memory_order_relaxed);
	*overflow_total = h->pool.total;
}
