/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Entries of the flow table from allocation to reuse: pools, kill, sweep, reclaim, reading.
 *
 * A pool belongs to one worker, which alone gives and frees its entries. Anybody may kill. A death
 * has three steps, told by flow_meta.bury: the state turns DEAD (0), both keys are unlinked and
 * the grace stamp is written (BURIED), the owner has put the entry on its queue (QUEUED). The
 * second step of an entry that hardware may act on is flow_offload.c's. Nothing here allocates
 * after flow_table_init(). */

#include <errno.h>
#include <stdlib.h>

#include "core/flow_index.h"

/* How far ahead of its looks the sweep starts loads. */
#define SWEEP_AHEAD 8
/* Every call looks at so many at least, or a stopped clock would stop the sweep. */
#define SWEEP_MIN 4
/* Dead entries given back by one call. */
#define FREE_BATCH 64

/* The thread sanitizer knows no fences; what they order here it is told not to watch. */
#ifdef SIMD_TSAN
#define fence(order) atomic_signal_fence(order)
#else
#define fence(order) atomic_thread_fence(order)
#endif

/* One writer. */
static inline void count(_Atomic uint64_t *c)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline struct flow_pool *pool_of(struct flow_half *h, uint32_t entry)
{
	return &h->pools[entry / h->per_worker];
}

static void set_used(struct flow_pool *p, int32_t by)
{
	uint32_t used = atomic_load_explicit(&p->stats.used, memory_order_relaxed) + (uint32_t)by;

	atomic_store_explicit(&p->stats.used, used, memory_order_relaxed);
	if (used > atomic_load_explicit(&p->stats.high_water, memory_order_relaxed))
		atomic_store_explicit(&p->stats.high_water, used, memory_order_relaxed);
}

/* --- death ------------------------------------------------------------------------------------
 */

void flow_bury(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	struct flow_half *h = &t->half[f];
	struct flow_meta *m = flow_meta_of(h, f == IP_V6, entry);

	flow_unlink(t, f, entry, DIR_FORWARD);
	flow_unlink(t, f, entry, DIR_REPLY);
	h->cold[entry].dead_stamp = grace_stamp(t->grace);
	atomic_store_explicit(&m->bury, BURY_BURIED, memory_order_release);
}

/* Behind the store that made the entry dead. */
static inline void bury(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	if (flow_is_held(&t->half[f], entry))
		flow_bury_later(t, f, entry);
	else
		flow_bury(t, f, entry);
}

static bool kill_entry(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	struct flow_meta *m = flow_meta_of(&t->half[f], f == IP_V6, entry);
	uint8_t state = atomic_load_explicit(&m->state, memory_order_relaxed);

	do {
		if (state < FLOW_NEW)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->state, &state, FLOW_DEAD, memory_order_seq_cst, memory_order_relaxed));
	bury(t, f, entry);
	return true;
}

static void count_killed(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	atomic_fetch_add_explicit(
		&pool_of(&t->half[f], entry)->stats.killed, 1, memory_order_relaxed);
}

bool flow_kill(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	if (!kill_entry(t, f, entry))
		return false;
	count_killed(t, f, entry);
	return true;
}

bool flow_kill_id(struct flow_table *t, enum ip_family f, uint32_t entry, uint32_t generation)
{
	struct flow_meta *m;
	union flow_life old, new;

	if (entry >= t->half[f].capacity)
		return false;
	m = flow_meta_of(&t->half[f], f == IP_V6, entry);
	/* The creator released its keys by the state's own byte. */
	if (atomic_load_explicit(&m->state, memory_order_acquire) < FLOW_NEW)
		return false;
	old.word = atomic_load_explicit(&m->life, memory_order_acquire);
	do {
		if (old.generation != generation || old.state < FLOW_NEW)
			return false;
		new = old;
		new.state = FLOW_DEAD;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->life, &old.word, new.word, memory_order_seq_cst, memory_order_acquire));
	bury(t, f, entry);
	count_killed(t, f, entry);
	return true;
}

/* --- the owner's lists ------------------------------------------------------------------------
 */

static void release_entry(struct flow_half *h, bool v6, struct flow_pool *p, uint32_t entry)
{
	struct flow_meta *m = flow_meta_of(h, v6, entry);
	uint32_t generation = atomic_load_explicit(&m->generation, memory_order_relaxed);
	union flow_life next = {.generation = generation + 1, .state = FLOW_FREE};

	/* One store: nobody sees the old generation with a live state again. */
	atomic_store_explicit(&m->life, next.word, memory_order_release);
	h->cold[entry].next_free = p->free_head;
	p->free_head = entry;
	p->free_count++;
	set_used(p, -1);
}

static void queue_dead(struct flow_half *h, bool v6, struct flow_pool *p, uint32_t entry)
{
	struct flow_meta *m = flow_meta_of(h, v6, entry);

	atomic_store_explicit(&m->bury, BURY_QUEUED, memory_order_relaxed);
	h->cold[entry].next_free = FLOW_NONE;
	if (p->dead_head == FLOW_NONE)
		p->dead_head = entry;
	else
		h->cold[p->dead_tail].next_free = entry;
	p->dead_tail = entry;
}

/* Dead by the owner's hand just now, or by another's before: on the queue as soon as it is buried.
 */
static inline void queue_buried(struct flow_half *h, bool v6, struct flow_pool *p, uint32_t entry)
{
	struct flow_meta *m = flow_meta_of(h, v6, entry);

	if (atomic_load_explicit(&m->bury, memory_order_acquire) == BURY_BURIED)
		queue_dead(h, v6, p, entry);
}

static void free_dead(struct flow_table *t, bool v6, struct flow_pool *p)
{
	struct flow_half *h = &t->half[v6];

	for (int n = 0; n < FREE_BATCH && p->dead_head != FLOW_NONE; n++) {
		uint32_t entry = p->dead_head;

		if (!grace_passed(t->grace, h->cold[entry].dead_stamp))
			return;
		p->dead_head = h->cold[entry].next_free;
		release_entry(h, v6, p, entry);
	}
}

/* --- allocation -------------------------------------------------------------------------------
 */

/* The pool is full: kills a few entries that never saw a reply, for later calls. */
static void reclaim(struct flow_table *t, enum ip_family f, struct flow_pool *p)
{
	struct flow_half *h = &t->half[f];
	uint32_t scan = p->size < FLOW_RECLAIM_SCAN ? p->size : FLOW_RECLAIM_SCAN;
	unsigned killed = 0;

	for (uint32_t n = 0; n < scan && killed < FLOW_RECLAIM_MAX; n++) {
		uint32_t entry = p->base + p->reclaim_at;
		struct flow_meta *m = flow_meta_of(h, f == IP_V6, entry);

		p->reclaim_at = p->reclaim_at + 1 < p->size ? p->reclaim_at + 1 : 0;
		if (atomic_load_explicit(&m->state, memory_order_relaxed) != FLOW_NEW ||
			!kill_entry(t, f, entry))
			continue;
		queue_buried(h, f == IP_V6, p, entry);
		count(&p->stats.reclaimed);
		killed++;
	}
}

static uint32_t take_entry(struct flow_half *h, struct flow_pool *p)
{
	uint32_t entry = p->free_head;

	if (entry != FLOW_NONE) {
		p->free_head = h->cold[entry].next_free;
		p->free_count--;
		return entry;
	}
	return p->given < p->size ? p->base + p->given++ : FLOW_NONE;
}

static void prefetch_next(struct flow_half *h, bool v6, struct flow_pool *p)
{
	uint32_t entry = p->free_head != FLOW_NONE ? p->free_head : p->base + p->given;
	const char *line;

	if (entry >= p->base + p->size)
		return;
	line = (const char *)flow_meta_of(h, v6, entry);
	__builtin_prefetch(line, 1);
	if (v6)
		__builtin_prefetch(line + 64, 1);
	__builtin_prefetch(&h->cold[entry], 1);
}

/* The offload thread may be reading the words, and takes back what it wrote for the life before
 * when it sees this one's generation. */
static void clear_cold(struct flow_cold *c, uint32_t now_ms)
{
	c->next_free = c->dead_stamp = 0;
	c->created_ms = now_ms;
	c->svc_port_id = 0;
	c->in_vport[0] = c->in_vport[1] = 0;
	atomic_store_explicit(&c->offload[0], 0, memory_order_relaxed);
	atomic_store_explicit(&c->offload[1], 0, memory_order_relaxed);
	c->held_next = 0;
}

/* All but generation and state, which others read at any time. */
static void clear_entry(struct flow_half *h, bool v6, uint32_t entry, uint32_t now_ms)
{
	struct flow_meta *m = flow_meta_of(h, v6, entry);
	size_t size = v6 ? sizeof(struct flow6) : sizeof(struct flow4);

	memset(m, 0, offsetof(struct flow_meta, life));
	memset((char *)m + sizeof(*m), 0, size - sizeof(*m));
	m->last_seen = now_ms;
	clear_cold(&h->cold[entry], now_ms);
}

uint32_t flow_alloc(struct flow_table *t, enum ip_family f, uint32_t worker, uint32_t now_ms)
{
	struct flow_half *h = &t->half[f];
	struct flow_pool *p = &h->pools[worker];
	uint32_t entry = take_entry(h, p);

	if (__builtin_expect(entry == FLOW_NONE, 0)) {
		free_dead(t, f == IP_V6, p);
		entry = take_entry(h, p);
		if (entry == FLOW_NONE) {
			reclaim(t, f, p);
			count(&p->stats.full);
			return FLOW_NONE;
		}
	}
	/* Who reads by copy and sees new contents must see the new generation too. */
	fence(memory_order_release);
	clear_entry(h, f == IP_V6, entry, now_ms);
	prefetch_next(h, f == IP_V6, p);
	count(&p->stats.created);
	set_used(p, 1);
	return entry;
}

void flow_unalloc(struct flow_table *t, enum ip_family f, uint32_t worker, uint32_t entry)
{
	struct flow_half *h = &t->half[f];
	struct flow_meta *m = flow_meta_of(h, f == IP_V6, entry);
	uint8_t state = atomic_load_explicit(&m->state, memory_order_relaxed);

	do {
		if (state == FLOW_DEAD)
			return;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->state, &state, FLOW_FREE, memory_order_acq_rel, memory_order_relaxed));
	release_entry(h, f == IP_V6, &h->pools[worker], entry);
}

/* --- sweep ------------------------------------------------------------------------------------
 */

static uint32_t sweep_budget(struct flow_pool *p, uint32_t now_ms)
{
	uint64_t earned = (uint64_t)(now_ms - p->sweep_ms) * p->given / FLOW_SWEEP_PASS_MS;
	uint32_t room = p->size - p->given + p->free_count;

	/* A fraction of an entry is left to the next call. */
	if (earned != 0) {
		earned += p->sweep_credit;
		p->sweep_credit = earned < p->given ? (uint32_t)earned : p->given;
		p->sweep_ms = now_ms;
	}
	if (p->given <= FLOW_SWEEP_BATCH)
		return p->given;
	if (room < p->size / 8 || p->sweep_credit >= FLOW_SWEEP_BATCH)
		return FLOW_SWEEP_BATCH;
	return p->sweep_credit > SWEEP_MIN ? p->sweep_credit : SWEEP_MIN;
}

/* Has it been idle too long? Dead entries of others' killing are taken over by the way. */
FLOW_INLINE bool sweep_look(struct flow_half *h, bool v6, struct flow_pool *p, uint32_t entry,
	uint32_t now_ms, const struct flow_timeouts *timeouts)
{
	struct flow_meta *m = flow_meta_of(h, v6, entry);
	uint8_t state = atomic_load_explicit(&m->state, memory_order_relaxed);
	int32_t idle;

	if (state == FLOW_FREE)
		return false;
	if (state == FLOW_DEAD) {
		queue_buried(h, v6, p, entry);
		return false;
	}
	/* Another worker's clock may be ahead of ours. */
	idle = (int32_t)(now_ms - atomic_load_explicit(&m->last_seen, memory_order_relaxed));
	return idle > 0 && (uint32_t)idle > timeouts->ms[m->class][state];
}

/* Two passes: a death touches two buckets and the cold part, all far away. */
FLOW_INLINE uint32_t sweep_pool(struct flow_table *t, bool v6, struct flow_pool *p, uint32_t now_ms,
	const struct flow_timeouts *timeouts)
{
	struct flow_half *h = &t->half[v6];
	uint32_t budget = sweep_budget(p, now_ms), n_expired = 0, killed = 0;
	uint32_t expired[FLOW_SWEEP_BATCH];

	for (uint32_t n = 0; n < budget; n++) {
		uint32_t at = p->sweep_at, entry = p->base + at;

		if (at + SWEEP_AHEAD < p->given)
			__builtin_prefetch(flow_meta_of(h, v6, entry + SWEEP_AHEAD));
		p->sweep_at = at + 1 < p->given ? at + 1 : 0;
		if (__builtin_expect(!sweep_look(h, v6, p, entry, now_ms, timeouts), 1))
			continue;
		expired[n_expired++] = entry;
		for (uint32_t dir = 0; dir < 2; dir++) {
			const void *key = flow_key_of(h, v6, entry << 1 | dir);

			__builtin_prefetch(flow_bucket_of(h, flow_hash_of(t, v6, key)), 1);
		}
		__builtin_prefetch(&h->cold[entry], 1);
	}
	for (uint32_t n = 0; n < n_expired; n++) {
		if (!kill_entry(t, v6 ? IP_V6 : IP_V4, expired[n]))
			continue;
		queue_buried(h, v6, p, expired[n]);
		count(&p->stats.expired);
		killed++;
	}
	p->sweep_credit -= budget < p->sweep_credit ? budget : p->sweep_credit;
	free_dead(t, v6, p);
	return killed;
}

uint32_t flow_sweep(struct flow_table *t, uint32_t worker, uint32_t now_ms,
	const struct flow_timeouts *timeouts)
{
	struct flow_pool *p4 = &t->half[IP_V4].pools[worker];
	struct flow_pool *p6 = &t->half[IP_V6].pools[worker];
	uint32_t killed = 0;

	if (p4->stats.used != 0)
		killed += sweep_pool(t, false, p4, now_ms, timeouts);
	if (p6->stats.used != 0)
		killed += sweep_pool(t, true, p6, now_ms, timeouts);
	return killed;
}

/* --- reading ----------------------------------------------------------------------------------
 */

struct flow4 *flow_array4(struct flow_table *t)
{
	return t->half[IP_V4].hot;
}

struct flow6 *flow_array6(struct flow_table *t)
{
	return t->half[IP_V6].hot;
}

struct flow_cold *flow_cold_array(struct flow_table *t, enum ip_family f)
{
	return t->half[f].cold;
}

uint32_t flow_capacity(const struct flow_table *t, enum ip_family f)
{
	return t->half[f].capacity;
}

uint32_t flow_owner(const struct flow_table *t, enum ip_family f, uint32_t entry)
{
	return entry / t->half[f].per_worker;
}

const struct flow_pool_stats *flow_stats(
	const struct flow_table *t, enum ip_family f, uint32_t worker)
{
	return &t->half[f].pools[worker].stats;
}

/* A reader outside the grace periods meets plain stores of the entry's next owner; the generation
 * tells afterwards, so the race is meant, and the thread sanitizer is kept from reporting it. */
__attribute__((no_sanitize("thread"), noinline)) static void copy_words(
	void *to, const void *from, size_t size)
{
	uint64_t *d = to;
	const uint64_t *s = from;

	for (size_t i = 0; i < size / 8; i++)
		d[i] = __atomic_load_n(&s[i], __ATOMIC_RELAXED);
}

static struct flow_key6 widen(const struct flow_key4 *k)
{
	struct ip_addr src = ip_from_v4(k->src), dst = ip_from_v4(k->dst);
	struct flow_key6 w = {.sport = k->sport,
		.dport = k->dport,
		.zone = k->zone,
		.proto = k->proto,
		.zero = k->zero};

	memcpy(w.src, src.bytes, 16);
	memcpy(w.dst, dst.bytes, 16);
	return w;
}

int flow_read(struct flow_table *t, enum ip_family f, uint32_t entry, struct flow_view *out)
{
	struct flow_half *h = &t->half[f];
	struct flow6 copy6;
	struct flow4 copy4;
	union flow_life before, after;
	struct flow_meta *m;

	if (entry >= h->capacity)
		return -ENOENT;
	m = flow_meta_of(h, f == IP_V6, entry);
	before.word = atomic_load_explicit(&m->life, memory_order_acquire);
	if (before.state < FLOW_NEW)
		return -ENOENT;
	if (f == IP_V4) {
		copy_words(&copy4, m, sizeof(copy4));
		out->key[0] = widen(&copy4.key[0]);
		out->key[1] = widen(&copy4.key[1]);
		memcpy(&out->meta, &copy4.meta, sizeof(out->meta));
	} else {
		copy_words(&copy6, m, sizeof(copy6));
		memcpy(out->key, copy6.key, sizeof(out->key));
		memcpy(&out->meta, &copy6.meta, sizeof(out->meta));
	}
	copy_words(&out->cold, &h->cold[entry], sizeof(out->cold));
	fence(memory_order_acquire);
	after.word = atomic_load_explicit(&m->life, memory_order_relaxed);
	if (after.generation != before.generation || after.state < FLOW_NEW)
		return -ENOENT;
	out->family = f;
	out->entry = entry;
	out->worker = flow_owner(t, f, entry);
	return 0;
}

/* --- set-up -----------------------------------------------------------------------------------
 */

static void *default_alloc(void *arg, size_t size, size_t align, const char *name)
{
	return aligned_alloc(align, (size + align - 1) & ~(align - 1));
}

static void default_free(void *arg, void *mem)
{
	free(mem);
}

static int half_init(struct flow_table *t, enum ip_family f, const struct flow_config *cfg)
{
	static const char *const hot_names[IP_FAMILIES] = {"flow4", "flow6"};
	static const char *const cold_names[IP_FAMILIES] = {"flow_cold4", "flow_cold6"};
	size_t hot_size = f == IP_V4 ? sizeof(struct flow4) : sizeof(struct flow6);
	struct flow_half *h = &t->half[f];

	h->per_worker = cfg->capacity[f] / cfg->workers;
	if (h->per_worker == 0)
		h->per_worker = 1;
	h->capacity = h->per_worker * cfg->workers;
	h->hot = t->alloc(t->arg, hot_size * h->capacity, hot_size, hot_names[f]);
	h->cold = t->alloc(t->arg, sizeof(struct flow_cold) * h->capacity, 64, cold_names[f]);
	h->pools = t->alloc(t->arg, sizeof(struct flow_pool) * cfg->workers, 64, "flow_pools");
	if (h->hot == NULL || h->cold == NULL || h->pools == NULL)
		return -ENOMEM;
	memset(h->hot, 0, hot_size * h->capacity);
	memset(h->cold, 0, sizeof(struct flow_cold) * h->capacity);
	memset(h->pools, 0, sizeof(struct flow_pool) * cfg->workers);
	for (uint32_t w = 0; w < cfg->workers; w++) {
		struct flow_pool *p = &h->pools[w];

		p->base = w * h->per_worker;
		p->size = h->per_worker;
		p->free_head = FLOW_NONE;
		p->dead_head = FLOW_NONE;
	}
	return flow_index_init(t, f, cfg->buckets);
}

int flow_table_init(const struct flow_config *cfg, struct flow_table **out)
{
	struct flow_table *t;
	int ret = 0;

	if (cfg->workers == 0 || cfg->workers > WORKERS_MAX || cfg->grace == NULL ||
		cfg->capacity[IP_V4] > FLOWS_MAX || cfg->capacity[IP_V6] > FLOWS_MAX)
		return -EINVAL;
	t = aligned_alloc(64, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->grace = cfg->grace;
	t->workers = cfg->workers;
	t->alloc = cfg->alloc != NULL ? cfg->alloc : default_alloc;
	t->free = cfg->alloc != NULL ? cfg->free : default_free;
	t->arg = cfg->arg;
	flow_salt_init(&t->salt, cfg->salt);
	/* From the heap, which gives pages when they are first written: most never use a mark. */
	for (int f = 0; f < IP_FAMILIES; f++) {
		t->marks[f] = calloc(FLOW_MARKS, sizeof(*t->marks[f]));
		if (t->marks[f] == NULL)
			ret = -ENOMEM;
	}
	for (int f = 0; f < IP_FAMILIES && ret == 0; f++)
		ret = half_init(t, (enum ip_family)f, cfg);
	if (ret < 0) {
		flow_table_fini(t);
		return ret;
	}
	*out = t;
	return 0;
}

void flow_table_fini(struct flow_table *t)
{
	if (t == NULL)
		return;
	for (int f = 0; f < IP_FAMILIES; f++) {
		struct flow_half *h = &t->half[f];

		free(t->marks[f]);
		flow_index_fini(t, (enum ip_family)f);
		if (h->hot != NULL)
			t->free(t->arg, h->hot);
		if (h->cold != NULL)
			t->free(t->arg, h->cold);
		if (h->pools != NULL)
			t->free(t->arg, h->pools);
	}
	free(t);
}
