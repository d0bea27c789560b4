/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The frontend index: (address, port, protocol) to a service port's frontend (see service.h).
 *
 * Open addressing with linear probing over words that hold 16 bits of the hash and the pointer to
 * an immutable frontend of one line, so that a lookup touches two lines. One writer (control),
 * readers without locks. A frontend is published by the store of its word; a removed one leaves a
 * mark that keeps probes going. The index doubles, or is cleaned of marks, at a load of 0.7: a new
 * one is filled and published, the old one retired. Frontends come from chunks that live as long
 * as the table, and are given again a grace period after they were replaced. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "core/service.h"

#define INDEX_MIN 16

/* Of whole frontends, the first of which holds the link. */
#define CHUNK_MIN 16
#define CHUNK_MAX 32768
#define HUGE_PAGE ((size_t)2 << 20)

/* 0: never used; REMOVED: where a frontend was; else tag << 48 | address. */
typedef uint64_t place;

#define REMOVED UINT64_C(1)

struct index {
	uint32_t mask;
	uint32_t filled; /* places with a frontend or a mark; control's */
	_Atomic place at[] __attribute__((aligned(64)));
};

struct chunk {
	struct chunk *next;
	struct svc_frontend at[];
};

struct retired {
	struct retired *next;
	void *mem;
	uint32_t stamp;
	bool frontend; /* mem goes back to its chunk */
};

/* Writers: control. Readers: workers read index and salt. */
struct svc_table {
	_Atomic(struct index *) index;
	uint64_t salt;
	struct grace *grace;
	uint32_t used;
	uint32_t chunk_room; /* frontends of the newest chunk that were never given */
	uint32_t chunk_size;
	struct chunk *chunks;      /* newest first */
	struct svc_frontend *free; /* list through svc */
	struct retired *oldest, **newest;
};

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

static inline uint16_t tag_of(uint64_t hash)
{
	return (uint16_t)(hash >> 48 | 0x8000);
}

static inline place place_of(uint64_t hash, const struct svc_frontend *f)
{
	return (place)tag_of(hash) << 48 | (place)(uintptr_t)f;
}

static inline const struct svc_frontend *frontend_at(place p)
{
	return (const struct svc_frontend *)(uintptr_t)(p & ~UINT64_C(0) >> 16);
}

/* What first packets read at random is in large pages where the kernel has them. */
static void *lines_new(size_t size)
{
	size_t align = size >= HUGE_PAGE ? HUGE_PAGE : 64;
	void *p;

	if (posix_memalign(&p, align, size) != 0)
		return NULL;
	if (align == HUGE_PAGE)
		madvise(p, size, MADV_HUGEPAGE);
	return memset(p, 0, size);
}

static struct index *index_new(uint32_t places)
{
	struct index *x = lines_new(sizeof(*x) + sizeof(place) * places);

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

static void retired_free(struct retired *r)
{
	if (!r->frontend)
		free(r->mem);
	free(r);
}

void svc_table_fini(struct svc_table *t)
{
	if (t == NULL)
		return;
	while (t->oldest != NULL) {
		struct retired *next = t->oldest->next;

		retired_free(t->oldest);
		t->oldest = next;
	}
	while (t->chunks != NULL) {
		struct chunk *next = t->chunks->next;

		free(t->chunks);
		t->chunks = next;
	}
	free(atomic_load(&t->index));
	free(t);
}

/* --- reclamation ------------------------------------------------------------------------------
 */

static struct retired *retired_new(void *mem, uint32_t stamp, bool frontend)
{
	struct retired *r = malloc(sizeof(*r));

	if (r != NULL)
		*r = (struct retired){.mem = mem, .stamp = stamp, .frontend = frontend};
	return r;
}

static void retire(struct svc_table *t, void *mem, bool frontend)
{
	struct retired *r = retired_new(mem, grace_stamp(t->grace), frontend);

	/* Out of memory: better to keep mem for ever than to free it under a reader. */
	if (r == NULL)
		return;
	*t->newest = r;
	t->newest = &r->next;
}

void svc_table_retire(struct svc_table *t, void *mem)
{
	if (mem != NULL)
		retire(t, mem, false);
}

static void frontend_free(struct svc_table *t, struct svc_frontend *f)
{
	f->svc = (const void *)t->free;
	t->free = f;
}

void svc_table_reclaim(struct svc_table *t)
{
	while (t->oldest != NULL && grace_passed(t->grace, t->oldest->stamp)) {
		struct retired *r = t->oldest;

		t->oldest = r->next;
		if (t->oldest == NULL)
			t->newest = &t->oldest;
		if (r->frontend)
			frontend_free(t, r->mem);
		retired_free(r);
	}
}

/* --- the writer -------------------------------------------------------------------------------
 */

static struct svc_frontend *frontend_alloc(struct svc_table *t)
{
	struct svc_frontend *f = t->free;
	struct chunk *c;

	if (f != NULL) {
		t->free = (struct svc_frontend *)(uintptr_t)f->svc;
		return f;
	}
	if (t->chunk_room == 0) {
		uint32_t size = t->chunk_size == 0  ? CHUNK_MIN
			: t->chunk_size < CHUNK_MAX ? t->chunk_size * 2
						    : CHUNK_MAX;

		c = lines_new(sizeof(struct svc_frontend) * size);
		if (c == NULL)
			return NULL;
		c->next = t->chunks;
		t->chunks = c;
		t->chunk_size = size;
		t->chunk_room = size - 1;
	}
	return &t->chunks->at[--t->chunk_room];
}

/* The list that most clients of such a frontend get; others are led to theirs by svc. */
static bool usually_local(enum svc_frontend_kind kind, const struct svc_port *svc)
{
	return (svc->flags & (kind == SVC_CLUSTER_IP ? SVC_ITP_LOCAL : SVC_ETP_LOCAL)) != 0;
}

static struct svc_frontend *frontend_new(struct svc_table *t, const struct svc_frontend_key *k,
	enum svc_frontend_kind kind, const struct svc_port *svc)
{
	struct svc_frontend *f = frontend_alloc(t);
	const struct svc_list *list;

	if (f == NULL)
		return NULL;
	*f = (struct svc_frontend){.key = *k, .kind = (uint8_t)kind, .svc = svc};
	if (svc == NULL)
		return f;
	f->svc_id = svc->id;
	f->flags = svc->flags;
	list = svc->cluster;
	if (usually_local(kind, svc)) {
		f->flags |= SVC_FRONTEND_LOCAL;
		list = svc->local;
	}
	if (list->n == 1 && svc->affinity_seconds == 0) {
		f->flags |= SVC_FRONTEND_ONLY;
		f->only = list->backends[0];
	} else {
		f->list = list;
		f->n = list->n;
	}
	return f;
}

/* The place of the key, or NULL and in *vacant the first that can take it. */
static _Atomic place *find_place(const struct svc_table *t, struct index *x,
	const struct svc_frontend_key *k, uint64_t hash, _Atomic place **vacant)
{
	*vacant = NULL;
	for (uint32_t i = (uint32_t)hash & x->mask;; i = (i + 1) & x->mask) {
		place p = atomic_load_explicit(&x->at[i], memory_order_relaxed);

		if (p == 0 || p == REMOVED) {
			if (*vacant == NULL)
				*vacant = &x->at[i];
			if (p == 0)
				return NULL;
		} else if (p >> 48 == tag_of(hash) && key_equal(&frontend_at(p)->key, k)) {
			return &x->at[i];
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
		place p = atomic_load_explicit(&old->at[i], memory_order_relaxed);
		uint32_t to;

		if (p == 0 || p == REMOVED)
			continue;
		to = (uint32_t)hash_of(t, &frontend_at(p)->key) & x->mask;
		while (atomic_load_explicit(&x->at[to], memory_order_relaxed) != 0)
			to = (to + 1) & x->mask;
		atomic_store_explicit(&x->at[to], p, memory_order_relaxed);
		x->filled++;
	}
	atomic_store_explicit(&t->index, x, memory_order_release);
	svc_table_retire(t, old);
	return 0;
}

/* Fills the vacant place of a key that is not in the index. */
static int add(
	struct svc_table *t, uint64_t hash, _Atomic place *vacant, const struct svc_frontend *f)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);

	if (atomic_load_explicit(vacant, memory_order_relaxed) == 0) {
		if ((uint64_t)(x->filled + 1) * 10 > ((uint64_t)x->mask + 1) * 7) {
			if (rebuild(t) < 0)
				return -ENOMEM;
			x = atomic_load_explicit(&t->index, memory_order_relaxed);
			find_place(t, x, &f->key, hash, &vacant);
		}
		x->filled++;
	}
	atomic_store_explicit(vacant, place_of(hash, f), memory_order_release);
	t->used++;
	return 0;
}

int svc_table_set(struct svc_table *t, const struct svc_frontend_key *k,
	enum svc_frontend_kind kind, const struct svc_port *svc)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	uint64_t hash = hash_of(t, k);
	_Atomic place *vacant, *at = find_place(t, x, k, hash, &vacant);
	struct svc_frontend *f = frontend_new(t, k, kind, svc);
	place old;

	if (f == NULL)
		return -ENOMEM;
	if (at == NULL) {
		int ret = add(t, hash, vacant, f);

		if (ret < 0)
			frontend_free(t, f);
		return ret;
	}
	old = atomic_load_explicit(at, memory_order_relaxed);
	atomic_store_explicit(at, place_of(hash, f), memory_order_release);
	retire(t, (void *)(uintptr_t)frontend_at(old), true);
	return 0;
}

int svc_table_remove(struct svc_table *t, const struct svc_frontend_key *k)
{
	struct index *x = atomic_load_explicit(&t->index, memory_order_relaxed);
	_Atomic place *at, *vacant;
	place old;

	at = find_place(t, x, k, hash_of(t, k), &vacant);
	if (at == NULL)
		return -ENOENT;
	old = atomic_load_explicit(at, memory_order_relaxed);
	atomic_store_explicit(at, REMOVED, memory_order_release);
	retire(t, (void *)(uintptr_t)frontend_at(old), true);
	t->used--;
	return 0;
}

uint32_t svc_table_used(const struct svc_table *t)
{
	return t->used;
}

/* --- readers ----------------------------------------------------------------------------------
 */

static inline const struct svc_frontend *find_hashed(
	const struct svc_table *t, const struct svc_frontend_key *k, uint64_t hash)
{
	const struct index *x = atomic_load_explicit(&t->index, memory_order_acquire);

	for (uint32_t i = (uint32_t)hash & x->mask;; i = (i + 1) & x->mask) {
		place p = atomic_load_explicit(&x->at[i], memory_order_acquire);

		if (p == 0)
			return NULL;
		if (p >> 48 == tag_of(hash) && key_equal(&frontend_at(p)->key, k))
			return frontend_at(p);
	}
}

const struct svc_frontend *svc_table_find(
	const struct svc_table *t, const struct svc_frontend_key *k)
{
	return t != NULL ? find_hashed(t, k, hash_of(t, k)) : NULL;
}

uint64_t svc_table_aim(const struct svc_table *t, const struct svc_frontend_key *k)
{
	const struct index *x;
	uint64_t hash;

	if (t == NULL)
		return 0;
	x = atomic_load_explicit(&t->index, memory_order_acquire);
	hash = hash_of(t, k);
	__builtin_prefetch(&x->at[(uint32_t)hash & x->mask]);
	return hash;
}

const struct svc_frontend *svc_table_probe(const struct svc_table *t, uint64_t hash)
{
	const struct index *x;

	if (t == NULL)
		return NULL;
	x = atomic_load_explicit(&t->index, memory_order_acquire);
	for (uint32_t i = (uint32_t)hash & x->mask;; i = (i + 1) & x->mask) {
		place p = atomic_load_explicit(&x->at[i], memory_order_acquire);

		if (p == 0)
			return NULL;
		if (p >> 48 == tag_of(hash)) {
			__builtin_prefetch(frontend_at(p));
			return frontend_at(p);
		}
	}
}

const struct svc_frontend *svc_table_confirm(const struct svc_table *t,
	const struct svc_frontend_key *k, uint64_t hash, const struct svc_frontend *probed)
{
	if (probed == NULL || key_equal(&probed->key, k))
		return probed;
	return find_hashed(t, k, hash);
}
