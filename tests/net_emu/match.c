/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The match tables: one hash table for each distinct (domain, group, priority, mask).
 *
 * The e-switch looks up without a lock; flow calls change the tables under the flow lock. A slot is
 * one word, written once and atomically; a table that grows is copied, published, and the old one
 * freed when the e-switch has moved on. The lowest priority number wins; between equal ones the
 * profile says whether the oldest or the newest rule does. */

#include <stdlib.h>

#include "emu.h"

#define SLOTS_MIN  64
#define TAG_SHIFT  48 /* user addresses leave these bits free */
#define TOMBSTONE  1ull
#define ADDRESS(s) ((struct rte_flow *)((s) & ((1ull << TAG_SHIFT) - 1)))

struct emu_slots {
	uint64_t mask;
	uint64_t used; /* tombstones included; flow calls only */
	_Atomic uint64_t at[];
};

struct emu_sets {
	unsigned n;
	struct emu_set *at[];
};

static struct emu_slots *slots_new(uint64_t n)
{
	struct emu_slots *s = calloc(1, sizeof(*s) + n * sizeof(s->at[0]));

	if (s != NULL)
		s->mask = n - 1;
	return s;
}

static uint64_t slot_of(const struct rte_flow *rule)
{
	return (uint64_t)(uintptr_t)rule | rule->hash >> TAG_SHIFT << TAG_SHIFT;
}

void emu_match_key(const struct emu_set *set, const struct emu_key *key, uint64_t *out)
{
	const uint8_t *bytes = (const uint8_t *)key;

	for (unsigned i = 0; i < set->words; i++) {
		uint64_t word;

		memcpy(&word, bytes + set->word[i] * 8u, 8);
		out[i] = word & set->mask[i];
	}
}

uint64_t emu_match_hash(const struct emu_set *set, const uint64_t *key)
{
	uint64_t h = 0x51ed270b;

	for (unsigned i = 0; i < set->words; i++) {
		h = (h ^ key[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	return h;
}

static struct rte_flow *slots_find(
	const struct emu_slots *s, const struct emu_set *set, const uint64_t *key, uint64_t hash)
{
	for (uint64_t i = hash & s->mask;; i = (i + 1) & s->mask) {
		uint64_t slot = atomic_load_explicit(&s->at[i], memory_order_acquire);

		if (slot == 0)
			return NULL;
		if (slot != TOMBSTONE && slot >> TAG_SHIFT == hash >> TAG_SHIFT &&
			memcmp(ADDRESS(slot)->data, key, set->words * sizeof(*key)) == 0)
			return ADDRESS(slot);
	}
}

static void slots_put(struct emu_slots *s, const struct rte_flow *rule)
{
	uint64_t i = rule->hash & s->mask;

	while (s->at[i] > TOMBSTONE)
		i = (i + 1) & s->mask;
	s->used += s->at[i] == 0;
	atomic_store_explicit(&s->at[i], slot_of(rule), memory_order_release);
}

static _Atomic uint64_t *slots_slot(struct emu_slots *s, const struct rte_flow *rule)
{
	uint64_t i = rule->hash & s->mask;

	while (s->at[i] != slot_of(rule))
		i = (i + 1) & s->mask;
	return &s->at[i];
}

/* Room for one more at a load of at most one half. */
static int set_reserve(struct emu_nic *nic, struct emu_set *set)
{
	struct emu_slots *old = set->slots, *grown;

	if ((old->used + 1) * 2 <= old->mask + 1)
		return 0;
	grown = slots_new(
		(set->rules + 1) * 4 <= old->mask + 1 ? old->mask + 1 : (old->mask + 1) * 2);
	if (grown == NULL)
		return -ENOMEM;
	for (uint64_t i = 0; i <= old->mask; i++)
		if (old->at[i] > TOMBSTONE)
			slots_put(grown, ADDRESS(old->at[i]));
	atomic_store_explicit(&set->slots, grown, memory_order_release);
	emu_quiesce(nic);
	free(old);
	return 0;
}

int emu_match_init(struct emu_nic *nic)
{
	struct emu_sets *sets = calloc(1, sizeof(*sets));

	nic->sets = sets;
	return sets == NULL ? -ENOMEM : 0;
}

void emu_match_fini(struct emu_nic *nic)
{
	struct emu_sets *sets = nic->sets;

	if (sets == NULL)
		return;
	for (unsigned i = 0; i < sets->n; i++) {
		free(sets->at[i]->slots);
		free(sets->at[i]);
	}
	free(sets);
	nic->sets = NULL;
}

static void set_describe(struct emu_set *set, const struct emu_rule_spec *spec)
{
	const uint8_t *mask = (const uint8_t *)&spec->mask;

	*set = (struct emu_set){
		.domain = spec->domain, .group = spec->group, .priority = spec->priority};
	for (unsigned i = 0; i < EMU_KEY_WORDS; i++) {
		uint64_t word;

		memcpy(&word, mask + i * 8, 8);
		if (word == 0)
			continue;
		set->word[set->words] = (uint8_t)i;
		set->mask[set->words++] = word;
	}
}

static bool set_equal(const struct emu_set *a, const struct emu_set *b)
{
	return a->domain == b->domain && a->group == b->group && a->priority == b->priority &&
		a->words == b->words && memcmp(a->word, b->word, a->words) == 0 &&
		memcmp(a->mask, b->mask, a->words * sizeof(a->mask[0])) == 0;
}

struct emu_set *emu_match_set(struct emu_nic *nic, const struct emu_rule_spec *spec)
{
	struct emu_sets *old = nic->sets, *grown;
	struct emu_set *set, want;
	unsigned at = 0;

	set_describe(&want, spec);
	for (unsigned i = 0; i < old->n; i++)
		if (set_equal(old->at[i], &want))
			return old->at[i];
	grown = malloc(sizeof(*grown) + (old->n + 1) * sizeof(grown->at[0]));
	set = malloc(sizeof(*set));
	if (grown == NULL || set == NULL)
		goto fail;
	*set = want;
	set->slots = slots_new(SLOTS_MIN);
	if (set->slots == NULL)
		goto fail;
	while (at < old->n && old->at[at]->priority <= want.priority)
		at++;
	memcpy(grown->at, old->at, at * sizeof(old->at[0]));
	grown->at[at] = set;
	memcpy(grown->at + at + 1, old->at + at, (old->n - at) * sizeof(old->at[0]));
	grown->n = old->n + 1;
	atomic_store_explicit(&nic->sets, grown, memory_order_release);
	emu_quiesce(nic);
	free(old);
	return set;
fail:
	free(grown);
	free(set);
	return NULL;
}

struct rte_flow *emu_match_exact(struct emu_set *set, const uint64_t *key, uint64_t hash)
{
	return slots_find(set->slots, set, key, hash);
}

int emu_match_insert(struct emu_nic *nic, struct rte_flow *rule, bool newest)
{
	struct emu_set *set = rule->set;
	struct rte_flow *same = emu_match_exact(set, rule->data, rule->hash);
	int rc;

	if (same != NULL && newest) {
		atomic_store(&rule->next_same, same);
		atomic_store_explicit(
			slots_slot(set->slots, same), slot_of(rule), memory_order_release);
		return 0;
	}
	if (same != NULL) {
		while (same->next_same != NULL)
			same = same->next_same;
		atomic_store_explicit(&same->next_same, rule, memory_order_release);
		return 0;
	}
	rc = set_reserve(nic, set);
	if (rc != 0)
		return rc;
	slots_put(set->slots, rule);
	set->rules++;
	return 0;
}

void emu_match_remove(struct emu_nic *nic, struct rte_flow *rule)
{
	struct emu_set *set = rule->set;
	struct rte_flow *same = emu_match_exact(set, rule->data, rule->hash);
	_Atomic uint64_t *slot;

	if (same != rule) {
		while (same->next_same != rule)
			same = same->next_same;
		atomic_store_explicit(&same->next_same, rule->next_same, memory_order_release);
		return;
	}
	slot = slots_slot(set->slots, rule);
	if (rule->next_same != NULL) {
		atomic_store_explicit(slot, slot_of(rule->next_same), memory_order_release);
		return;
	}
	atomic_store_explicit(slot, TOMBSTONE, memory_order_release);
	set->rules--;
}

/* Rules of a port that is stopped wait for it to start again. */
static bool acts(struct emu_nic *nic, const struct rte_flow *rule)
{
	const struct emu_port *port =
		atomic_load_explicit(&nic->port[rule->port], memory_order_acquire);

	return !rule->never_hits && port != NULL &&
		atomic_load_explicit(&port->started, memory_order_relaxed);
}

struct rte_flow *emu_match_lookup(
	struct emu_nic *nic, enum emu_domain domain, uint16_t group, const struct emu_key *key)
{
	const struct emu_sets *sets = atomic_load_explicit(&nic->sets, memory_order_acquire);
	bool newest = nic->profile->same == EMU_SAME_NEWEST;
	struct rte_flow *best = NULL;
	uint64_t words[EMU_KEY_WORDS];

	for (unsigned i = 0; i < sets->n; i++) {
		const struct emu_set *set = sets->at[i];
		struct rte_flow *rule;

		if (set->domain != domain || set->group != group || set->rules == 0)
			continue;
		if (best != NULL && set->priority > best->set->priority)
			break;
		emu_match_key(set, key, words);
		rule = slots_find(atomic_load_explicit(&set->slots, memory_order_acquire), set,
			words, emu_match_hash(set, words));
		while (rule != NULL && !acts(nic, rule))
			rule = atomic_load_explicit(&rule->next_same, memory_order_acquire);
		if (rule != NULL && (best == NULL || (rule->id > best->id) == newest))
			best = rule;
	}
	return best;
}

bool emu_match_conflict(struct emu_nic *nic, const struct emu_rule_spec *spec)
{
	const struct emu_sets *sets = nic->sets;
	const size_t class_word = offsetof(struct emu_key, at[0].vlans) / 8;
	struct emu_set want;
	struct emu_key key;

	set_describe(&want, spec);
	for (unsigned i = 0; i < sets->n; i++) {
		struct emu_set *set = sets->at[i];
		struct emu_slots *slots = set->slots;
		struct rte_flow *rule = NULL;

		if (set->domain != spec->domain || set->rules == 0 || set_equal(set, &want))
			continue;
		for (uint64_t s = 0; s <= slots->mask && rule == NULL; s++)
			if (slots->at[s] > TOMBSTONE)
				rule = ADDRESS(slots->at[s]);
		memset(&key, 0, sizeof(key));
		for (unsigned w = 0; rule != NULL && w < set->words; w++)
			if (set->word[w] == class_word)
				memcpy((uint8_t *)&key + class_word * 8, &rule->data[w], 8);
		if (key.at[0].l3 == spec->key.at[0].l3 && key.at[0].l4 == spec->key.at[0].l4)
			return true;
	}
	return false;
}
