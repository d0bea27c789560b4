/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* How hardware holds a flow entry, so that neither its keys nor its memory are given again while a
 * rule may act on them (see flow.h).
 *
 * Who kills and who offloads meet without a lock. The offload thread makes the word busy and then
 * looks whether the entry lives; a killer makes it dead and then looks whether it is busy; all four
 * are sequentially consistent, so at least one sees the other. A killer that finds it busy puts the
 * entry on a list which only the offload thread empties, and from then on the burial is that
 * thread's alone.
 *
 * The offload thread, but for flow_bury_later(). Nothing here allocates or waits. */

#include "core/flow_index.h"

const char *const offload_reason_names[OFFLOAD_REASONS] = {
	[OFFLOAD_REASON_NONE] = "",
#define OFFLOAD_REASON(name, text) [OFFLOAD_##name] = #name,
#include "core/offload_reasons.def"
#undef OFFLOAD_REASON
};

const char *const offload_reason_texts[OFFLOAD_REASONS] = {
	[OFFLOAD_REASON_NONE] = "",
#define OFFLOAD_REASON(name, text) [OFFLOAD_##name] = text,
#include "core/offload_reasons.def"
#undef OFFLOAD_REASON
};

/* Generation and state in one look. */
static bool lives(const struct flow_meta *m, uint32_t generation)
{
	union flow_life life = {.word = atomic_load_explicit(&m->life, memory_order_seq_cst)};

	return life.generation == generation && life.state >= FLOW_NEW;
}

void flow_bury_later(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	struct flow_half *h = &t->half[f];
	struct flow_meta *m = flow_meta_of(h, f == IP_V6, entry);
	uint32_t head = atomic_load_explicit(&h->held, memory_order_relaxed);

	atomic_store_explicit(&m->bury, BURY_HELD, memory_order_relaxed);
	do {
		h->cold[entry].held_next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&h->held, &head, entry + 1, memory_order_release, memory_order_relaxed));
}

/* Entries are taken by this thread alone, and pushed again only after it buried them: a head that
 * is the same is the same list. */
uint32_t flow_held_take(struct flow_table *t, enum ip_family f)
{
	struct flow_half *h = &t->half[f];
	uint32_t head = atomic_load_explicit(&h->held, memory_order_acquire), entry;

	do {
		if (head == 0)
			return FLOW_NONE;
		entry = head - 1;
	} while (!atomic_compare_exchange_weak_explicit(&h->held, &head, h->cold[entry].held_next,
		memory_order_acquire, memory_order_acquire));
	if (flow_is_held(h, entry))
		atomic_store_explicit(&flow_meta_of(h, f == IP_V6, entry)->bury, BURY_TAKEN,
			memory_order_relaxed);
	else
		flow_bury(t, f, entry);
	return entry;
}

bool flow_hold(struct flow_table *t, enum ip_family f, uint32_t entry, uint32_t generation,
	enum lane_dir dir, uint32_t word)
{
	struct flow_half *h = &t->half[f];
	_Atomic uint32_t *at = &h->cold[entry].offload[dir];

	if (!lives(flow_meta_of(h, f == IP_V6, entry), generation))
		return false;
	atomic_store_explicit(at, word, memory_order_seq_cst);
	if (lives(flow_meta_of(h, f == IP_V6, entry), generation))
		return true;
	/* A killer that saw the word left the burial to flow_held_take(). */
	atomic_store_explicit(at, 0, memory_order_seq_cst);
	return false;
}

void flow_hold_word(
	struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t word)
{
	atomic_store_explicit(&t->half[f].cold[entry].offload[dir], word, memory_order_relaxed);
}

void flow_let_go(
	struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t word)
{
	struct flow_half *h = &t->half[f];
	struct flow_meta *m = flow_meta_of(h, f == IP_V6, entry);

	atomic_store_explicit(&h->cold[entry].offload[dir], word, memory_order_seq_cst);
	if (atomic_load_explicit(&m->bury, memory_order_relaxed) == BURY_TAKEN &&
		!flow_is_held(h, entry))
		flow_bury(t, f, entry);
}

void flow_mark_set(struct flow_table *t, enum ip_family f, uint32_t mark, uint32_t entry,
	enum lane_dir dir, uint32_t generation)
{
	uint64_t slot = (uint64_t)entry << 1 | dir;

	atomic_store_explicit(
		&t->marks[f][mark], (uint64_t)generation << 32 | (slot + 1), memory_order_release);
	atomic_fetch_add_explicit(&t->marks_used, 1, memory_order_relaxed);
}

void flow_mark_clear(struct flow_table *t, enum ip_family f, uint32_t mark)
{
	atomic_store_explicit(&t->marks[f][mark], 0, memory_order_relaxed);
	atomic_fetch_sub_explicit(&t->marks_used, 1, memory_order_relaxed);
}

bool flow_marks_used(const struct flow_table *t)
{
	return atomic_load_explicit(&t->marks_used, memory_order_relaxed) != 0;
}

void flow_note(struct flow_table *t, enum ip_family f, uint32_t entry, uint32_t generation,
	enum lane_dir dir, uint32_t word)
{
	struct flow_half *h = &t->half[f];
	_Atomic uint32_t *at = &h->cold[entry].offload[dir];

	if (!lives(flow_meta_of(h, f == IP_V6, entry), generation))
		return;
	atomic_store_explicit(at, word, memory_order_relaxed);
	if (!lives(flow_meta_of(h, f == IP_V6, entry), generation))
		atomic_store_explicit(at, 0, memory_order_relaxed);
}
