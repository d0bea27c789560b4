/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The frontend index: (address, port, protocol) to service port (see service.h).
 *
 * Open addressing with linear probing over pairs of hash and pointer to an immutable record. One
 * writer (control), readers without locks. A record is published by the store of its pointer; a
 * removed one leaves a mark that keeps probes going, and a place given to another key shows the
 * new hash before the new record. The index doubles, or is cleaned of marks, at a load of 0.7:
 * a new one is filled and published, the old one retired. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/service.h"

#define INDEX_MIN 16
/* At fewer places everything that lookups read is in the first-level cache. */
#define INDEX_SMALL 64

struct record {
	struct svc_frontend_key key;
	enum svc_frontend_kind kind;
	const struct svc_port *svc;
};

struct place {
	_Atomic uint64_t hash; /* hint: may be another record's for a moment */
	_Atomic(const struct record *) record;
};

struct index {
	uint32_t mask;
	uint32_t filled; /* places with a record or a mark; control's */
	struct place at[];
};

struct retired {
	struct retired *next;
	void *mem;
	uint32_t stamp;
};

/* Writers: control. Readers: workers read index and salt. */
struct svc_table {
	_Atomic(struct index *) index;
	uint64_t salt;
	struct grace *grace;
	uint32_t used;
	struct retired *oldest, **newest;
};

/* Where a record was. */
static const struct record removed;

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t hash_of(const struct svc_table *t, const struct svc_frontend_key *k)
{
	uint64_t tail = (uint64_t)k->port << 16 | (uint64_t)k->proto << 8 | k->family;

	return fold(fold(k->addr.dwords[0] ^ t->salt,
			    k->addr.dwords[1] ^ UINT64_C(0xa0761d6478bd642f)) ^
			tail,
		t->salt ^ UINT64_C(0xe7037ed1a0b428db));
}

static inline bool key_equal(const struct svc_frontend_key *a, const struct svc_frontend_key *b)
{
	return ip_equal(&a->addr, &b->addr) && a->port == b->port && a->proto == b->proto &&
		a->family == b->family;
}

static struct index *index_new(uint32_t places)
{
	struct index *x = calloc(1, sizeof(*x) + sizeof(struct place) * places);

	if (x != NULL)
		x->mask = places - 1;
	return x;
}

int svc_table_init(struct grace *g, uint32_t capacity_hint, struct svc_table **out)
{
	struct svc_table *t = calloc(1, sizeof(*t));
	uint32_t places = INDEX_MIN;

	if (t == NULL)
		return -ENOMEM;
	while (places < (1u << 30) && places / 10 * 7 < capacity_hint)
		places *= 2;
	t->index = index_new(places);
	if (t->index == NULL) {
		free(t);
		return -ENOMEM;
	}
	if (getrandom(&t->salt, sizeof(t->salt), GRND_NONBLOCK) != sizeof(t->salt))
		t->salt = (uint64_t)(uintptr_t)t;
	t->grace = g;
	t->newest = &t->oldest;
	*out = t;
	return 0;
}

void svc_table_fini(struct svc_table *t)
{
	struct index *x;

	if (t == NULL)
		return;
	x = atomic_load(&t->index);
	for (uint32_t i = 0; i <= x->mask; i++) {
		const struct record *r = atomic_load(&x->at[i].record);

		if (r != &removed)
			free((void *)(uintptr_t)r);
	}
	free(x);
	while (t->oldest != NULL) {
		struct retired *next = t->oldest->next;

		free(t->oldest->mem);
		free(t->oldest);
		t->oldest = next;
	}
	free(t);
}

/* --- reclamation ------------------------------------------------------------------------------
 */

static struct retired *retired_new(void *mem, uint32_t stamp)
{
	struct retired *r = malloc(sizeof(*r));

	if (r != NULL)
		*r = (struct retired){.mem = mem, .stamp = stamp};
	return r;
}

void svc_table_retire(struct svc_table *t, void *mem)
{
	struct retired *r;

	if (mem == NULL)
		return;
	r = retired_new(mem, grace_stamp(t->grace));
	/* Out of memory: better to keep mem for ever than to free it under a reader. */
	if (r == NULL)
		return;
	*t->newest = r;
	t->newest = &r->next;
}

void svc_table_reclaim(struct svc_table *t)
{
	while (t->oldest != NULL && grace_passed(t->grace, t->oldest->stamp)) {
		struct retired *r = t->oldest;

		t->oldest = r->next;
		if (t->oldest == NULL)
			t->newest = &t->oldest;
		free(r->mem);
		free(r);
	}
}

/* --- the writer -------------------------------------------------------------------------------
 */

static void put(struct place *p, uint64_t hash, const struct record *r)
{
	atomic_store_explicit(&p->hash, hash, memory_order_relaxed);
	atomic_store_explicit(&p->record, r, memory_order_release);
}

/* The place of the key, or NULL and in *vacant the first that can take it. */
static struct place *find_place(const struct svc_table *t, struct index *x,
	const struct svc_frontend_key *k, uint64_t hash, struct place **vacant)
{
	*vacant = NULL;
	for (uint32_t i = (uint32_t)hash & x->mask;; i = (i + 1) & x->mask) {
		struct place *p = &x->at[i];
		const struct record *r = atomic_load_explicit(&p->record, memory_order_relaxed);

		if (r == NULL || r == &removed) {
			if (*vacant == NULL)
				*vacant = p;
			if (r == NULL)
				return NULL;
		} else if (atomic_load_explicit(&p->hash, memory_order_relaxed) == hash &&
			key_equal(&r->key, k)) {
			return p;
		}
	}
}

/* Fills a new index of a size that fits one more and publishes it. */
static int rebuild(struct svc_table *t)
{
	struct index *old = atomic_load_explicit(&t->index, memory_order_relaxed);
	struct index *x;
	uint32_t places = INDEX_MIN;

	while (places / 2 < t->used + 1)
		places *= 2;
	x = index_new(places);
	if (x == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i <= old->mask; i++) {
		const struct record *r =
			atomic_load_explicit(&old->at[i].record, memory_order_relaxed);
		uint64_t hash = atomic_load_explicit(&old->at[i].hash, memory_order_relaxed);
		uint32_t to = (uint32_t)hash & x->mask;

		if (r == NULL || r == &removed)
			continue;
		while (atomic_load_explicit(&x->at[to].record, memory_order_relaxed) != NULL)
			to = (to + 1) & x->mask;
		put(&x->at[to], hash, r);
		x->filled++;
	}
	atomic_store_explicit(&t->index, x, memory_order_release);
	svc_table_retire(t, old);
	return 0;
}

static struct record *record_new(
	const struct svc_frontend_key *k, enum svc_frontend_kind kind, const struct svc_port *svc)
{
	struct record *r = malloc(sizeof(*r));

	if (r != NULL)
		*r = (struct record){.key = *k, .kind = kind, .svc = svc};
	return r;
}

static void record_free(struct record *r)
{
	free(r);
}

/* Fills the vacant place of a key that is not in the index. */
static int add(struct svc_table *t, uint64_t hash, struct place *vacant, const struct record *r)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);

	if (atomic_load_explicit(&vacant->record, memory_order_relaxed) == NULL) {
		if ((uint64_t)(x->filled + 1) * 10 > ((uint64_t)x->mask + 1) * 7) {
			if (rebuild(t) < 0)
				return -ENOMEM;
			x = atomic_load_explicit(&t->index, memory_order_relaxed);
			find_place(t, x, &r->key, hash, &vacant);
		}
		x->filled++;
	}
	put(vacant, hash, r);
	t->used++;
	return 0;
}

int svc_table_set(struct svc_table *t, const struct svc_frontend_key *k,
	enum svc_frontend_kind kind, const struct svc_port *svc)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	uint64_t hash = hash_of(t, k);
	struct place *vacant, *p = find_place(t, x, k, hash, &vacant);
	struct record *r = record_new(k, kind, svc);
	const struct record *old;

	if (r == NULL)
		return -ENOMEM;
	if (p == NULL) {
		int ret = add(t, hash, vacant, r);

		if (ret < 0)
			record_free(r);
		return ret;
	}
	old = atomic_load_explicit(&p->record, memory_order_relaxed);
	atomic_store_explicit(&p->record, r, memory_order_release);
	svc_table_retire(t, (void *)(uintptr_t)old);
	return 0;
}

int svc_table_remove(struct svc_table *t, const struct svc_frontend_key *k)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	struct place *p, *vacant;
	const struct record *old;

	p = find_place(t, x, k, hash_of(t, k), &vacant);
	if (p == NULL)
		return -ENOENT;
	old = atomic_load_explicit(&p->record, memory_order_relaxed);
	atomic_store_explicit(&p->record, &removed, memory_order_release);
	svc_table_retire(t, (void *)(uintptr_t)old);
	t->used--;
	return 0;
}

uint32_t svc_table_used(const struct svc_table *t)
{
	return t->used;
}

/* --- readers ----------------------------------------------------------------------------------
 */

bool svc_table_find(
	const struct svc_table *t, const struct svc_frontend_key *k, struct svc_hit *out)
{
	const struct index *x;
	uint64_t hash;

	if (t == NULL)
		return false;
	x = atomic_load_explicit(&t->index, memory_order_acquire);
	hash = hash_of(t, k);
	for (uint32_t i = (uint32_t)hash & x->mask;; i = (i + 1) & x->mask) {
		const struct place *p = &x->at[i];
		const struct record *r = atomic_load_explicit(&p->record, memory_order_acquire);

		if (r == NULL)
			return false;
		if (atomic_load_explicit(&p->hash, memory_order_relaxed) != hash || r == &removed ||
			!key_equal(&r->key, k))
			continue;
		out->svc = r->svc;
		out->kind = r->kind;
		return true;
	}
}

bool svc_table_is_small(const struct svc_table *t)
{
	return t == NULL ||
		atomic_load_explicit(&t->index, memory_order_acquire)->mask < INDEX_SMALL;
}

void svc_prefetch_place(const struct svc_table *t, const struct svc_frontend_key *k)
{
	const struct index *x = atomic_load_explicit(&t->index, memory_order_acquire);

	__builtin_prefetch(&x->at[(uint32_t)hash_of(t, k) & x->mask]);
}

void svc_prefetch_record(const struct svc_table *t, const struct svc_frontend_key *k)
{
	const struct index *x = atomic_load_explicit(&t->index, memory_order_acquire);
	const struct place *p = &x->at[(uint32_t)hash_of(t, k) & x->mask];

	const struct record *r = atomic_load_explicit(&p->record, memory_order_relaxed);

	/* A guess: the key may lie some places further on. */
	__builtin_prefetch(r);
	__builtin_prefetch((const char *)(r + 1) - 1);
}

const struct svc_port *svc_prefetch_port(
	const struct svc_table *t, const struct svc_frontend_key *k)
{
	struct svc_hit hit;

	if (!svc_table_find(t, k, &hit))
		return NULL;
	/* NULL for an address without a port. Allocations are not aligned to lines. */
	if (hit.svc != NULL) {
		__builtin_prefetch(hit.svc);
		__builtin_prefetch((const char *)(hit.svc + 1) - 1);
	}
	return hit.svc;
}
