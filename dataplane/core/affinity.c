/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The affinity table (see affinity.h): sets of four records under a sequence lock. Workers; bounded
 * work: a reader that meets writers again and again gives up and takes what the hash says. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/affinity.h"
#include "core/simd.h"

#define WAYS        4
#define READ_TRIES  8
#define CLOCK_SLACK 10000 /* ms that workers' clocks may be apart */

/* Words are atomic because readers meet writers; the sequence number says which reads count. */
struct record {
	_Atomic uint64_t client[2];
	_Atomic uint64_t backend; /* svc_port id << 32 | backend_ref; 0: free */
	_Atomic uint32_t seen_ms;
	_Atomic uint32_t position; /* in the list that the backend was picked from; a hint */
};

struct set {
	_Atomic uint32_t sequence; /* odd: a writer is inside */
	struct record at[WAYS];
} __attribute__((aligned(64)));

struct affinity_table {
	uint64_t seed;
	uint32_t n_sets;
	_Atomic uint32_t used;
	struct set *sets;
};

/* What a reader copied. */
struct found {
	backend_ref ref;
	uint32_t seen_ms, position;
};

#ifdef SIMD_TSAN
#define fence(order) atomic_signal_fence(order)
#else
#define fence(order) atomic_thread_fence(order)
#endif

int affinity_init(uint32_t records, uint64_t seed, struct affinity_table **out)
{
	struct affinity_table *t = calloc(1, sizeof(*t));
	size_t size;

	if (t == NULL)
		return -ENOMEM;
	t->seed = seed;
	t->n_sets = records < WAYS ? 1 : (records - 1) / WAYS + 1;
	size = sizeof(struct set) * t->n_sets;
	t->sets = aligned_alloc(64, size);
	if (t->sets == NULL) {
		free(t);
		return -ENOMEM;
	}
	memset(t->sets, 0, size);
	*out = t;
	return 0;
}

void affinity_fini(struct affinity_table *t)
{
	if (t == NULL)
		return;
	free(t->sets);
	free(t);
}

static struct set *set_of(
	const struct affinity_table *t, uint32_t svc_id, const struct ip_addr *client)
{
	unsigned __int128 p = (unsigned __int128)(client->dwords[0] ^ t->seed) *
		(client->dwords[1] ^ UINT64_C(0xa0761d6478bd642f));
	uint64_t h = (uint64_t)p ^ (uint64_t)(p >> 64);

	p = (unsigned __int128)(h ^ svc_id) * (t->seed | 1);
	h = (uint64_t)p ^ (uint64_t)(p >> 64);
	return &t->sets[((h >> 32) * t->n_sets) >> 32];
}

static bool is_of(const struct record *r, uint32_t svc_id, const struct ip_addr *client)
{
	uint64_t backend = atomic_load_explicit(&r->backend, memory_order_relaxed);

	return backend != 0 && backend >> 32 == svc_id &&
		atomic_load_explicit(&r->client[0], memory_order_relaxed) == client->dwords[0] &&
		atomic_load_explicit(&r->client[1], memory_order_relaxed) == client->dwords[1];
}

static bool read_record(const struct affinity_table *t, uint32_t svc_id,
	const struct ip_addr *client, struct found *out)
{
	const struct set *s = set_of(t, svc_id, client);

	for (int try = 0; try < READ_TRIES; try++) {
		uint32_t before = atomic_load_explicit(&s->sequence, memory_order_acquire);
		bool there = false;

		for (int i = 0; i < WAYS && !there; i++) {
			const struct record *r = &s->at[i];

			there = is_of(r, svc_id, client);
			out->ref = (backend_ref)atomic_load_explicit(
				&r->backend, memory_order_relaxed);
			out->seen_ms = atomic_load_explicit(&r->seen_ms, memory_order_relaxed);
			out->position = atomic_load_explicit(&r->position, memory_order_relaxed);
		}
		fence(memory_order_acquire);
		if (!(before & 1) &&
			atomic_load_explicit(&s->sequence, memory_order_relaxed) == before)
			return there;
	}
	return false;
}

/* How long ago, by clocks that are not quite one. */
static uint32_t age(uint32_t now_ms, uint32_t seen_ms)
{
	uint32_t ms = now_ms - seen_ms;

	return ms > UINT32_MAX - CLOCK_SLACK ? 0 : ms;
}

static const struct svc_backend *in_list(const struct svc_list *l, const struct found *f)
{
	if (f->position < l->n && l->backends[f->position].ref == f->ref)
		return &l->backends[f->position];
	for (uint32_t i = 0; i < l->n; i++)
		if (l->backends[i].ref == f->ref)
			return &l->backends[i];
	return NULL;
}

static bool has_affinity(const struct svc_verdict *v)
{
	return v->kind == SVC_TRANSLATE && v->list != NULL && v->svc->affinity_seconds != 0;
}

void affinity_apply(const struct affinity_table *t, const struct svc_query *q, uint32_t now_ms,
	struct svc_verdict *v)
{
	const struct svc_backend *b;
	struct found f;

	if (!has_affinity(v) || !read_record(t, v->svc->id, &q->src, &f) ||
		age(now_ms, f.seen_ms) > (uint64_t)v->svc->affinity_seconds * 1000)
		return;
	b = in_list(v->list, &f);
	if (b != NULL)
		svc_verdict_use(v, q, b);
}

/* The client's own record, else a free one, else the oldest. */
static struct record *choose(
	struct set *s, uint32_t svc_id, const struct ip_addr *client, uint32_t now_ms)
{
	struct record *best = NULL;
	uint64_t best_age = 0;

	for (int i = 0; i < WAYS; i++) {
		struct record *r = &s->at[i];
		uint64_t a = UINT64_MAX;

		if (is_of(r, svc_id, client))
			return r;
		if (atomic_load_explicit(&r->backend, memory_order_relaxed) != 0)
			a = age(now_ms, atomic_load_explicit(&r->seen_ms, memory_order_relaxed));
		if (best == NULL || a > best_age) {
			best = r;
			best_age = a;
		}
	}
	return best;
}

void affinity_record(struct affinity_table *t, const struct svc_query *q, uint32_t now_ms,
	const struct svc_verdict *v)
{
	uint32_t sequence;
	struct record *r;
	struct set *s;

	if (!has_affinity(v))
		return;
	s = set_of(t, v->svc->id, &q->src);
	sequence = atomic_load_explicit(&s->sequence, memory_order_relaxed);
	/* Another worker is inside: it holds a set of four for a few stores. */
	do
		sequence &= ~1u;
	while (!atomic_compare_exchange_weak_explicit(
		&s->sequence, &sequence, sequence + 1, memory_order_acquire, memory_order_relaxed));
	fence(memory_order_release);
	r = choose(s, v->svc->id, &q->src, now_ms);
	if (atomic_load_explicit(&r->backend, memory_order_relaxed) == 0)
		atomic_fetch_add_explicit(&t->used, 1, memory_order_relaxed);
	for (int i = 0; i < 2; i++)
		atomic_store_explicit(&r->client[i], q->src.dwords[i], memory_order_relaxed);
	atomic_store_explicit(
		&r->backend, (uint64_t)v->svc->id << 32 | v->backend->ref, memory_order_relaxed);
	atomic_store_explicit(&r->seen_ms, now_ms, memory_order_relaxed);
	atomic_store_explicit(
		&r->position, (uint32_t)(v->backend - v->list->backends), memory_order_relaxed);
	atomic_store_explicit(&s->sequence, sequence + 2, memory_order_release);
}

uint32_t affinity_used(const struct affinity_table *t)
{
	return atomic_load_explicit(&t->used, memory_order_relaxed);
}

uint32_t affinity_capacity(const struct affinity_table *t)
{
	return t->n_sets * WAYS;
}
