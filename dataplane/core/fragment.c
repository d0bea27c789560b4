/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which ports belong to a fragment (see frag.h): a table of datagrams by source, destination,
 * identification and protocol, and a pool of fragments that came before their first one. One
 * worker owns a table; nothing here allocates after frag_table_new, and every walk is bounded.
 *
 * An entry lives until all bytes of its datagram have passed, its time is over, or a newer one
 * needs its place. It waits (fragments held, ports unknown) or knows its ports; each kind is in a
 * list by age, so that what is oldest is found without a search. Waiting entries are never pushed
 * out: they are as few as the fragments held. */

#include <stdlib.h>

#include "core/frag.h"
#include "core/limits.h"
#include "core/unaligned.h"

#define NONE UINT32_MAX

/* Entries with known ports that one call of frag_expire clears away. */
#define EXPIRE_BATCH 16

struct frag_key {
	uint8_t addrs[32]; /* IPv4: the first 8, the rest zero */
	uint32_t id;
	uint16_t zone;
	uint8_t proto; /* IPv4 only: RFC 8200 4.5 has no protocol in the key */
	uint8_t v6;
};

struct frag_entry {
	struct frag_key key;
	uint32_t chain; /* next in the hash bucket, or next free */
	uint32_t older, newer;
	uint32_t held; /* first of its fragments that wait, NONE: it knows its ports */
	uint32_t held_last;
	uint32_t since_ms;
	uint32_t seen;  /* bytes of the datagram that passed */
	uint32_t whole; /* its length, 0: the last fragment did not come yet */
	uint16_t first_len;
	uint16_t sport, dport;
	uint8_t held_count;
	uint8_t proto;
};

struct frag_held {
	struct frag_packet pkt;
	uint32_t next;
};

struct age_list {
	uint32_t oldest, newest;
};

struct frag_table {
	uint32_t entries, held_max, mask;
	uint64_t salt;
	uint32_t *buckets;
	struct frag_entry *entry;
	struct frag_held *held;
	uint32_t free_entry, free_held;
	uint32_t released, released_last; /* wait for frag_take */
	struct age_list waiting, known;
	struct frag_stats stats;
};

/* --- life ------------------------------------------------------------------------------------- */

struct frag_table *frag_table_new(uint32_t entries, uint32_t held, uint64_t salt)
{
	struct frag_table *t;
	uint32_t buckets = 1;

	if (entries == 0 || entries > FRAG_ENTRIES || held > FRAG_HELD_MAX)
		return NULL;
	while (buckets < entries)
		buckets *= 2;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->buckets = malloc(buckets * sizeof(*t->buckets));
	t->entry = calloc(entries, sizeof(*t->entry));
	t->held = calloc(held + 1, sizeof(*t->held));
	if (t->buckets == NULL || t->entry == NULL || t->held == NULL) {
		frag_table_free(t);
		return NULL;
	}
	t->entries = entries;
	t->held_max = held;
	t->mask = buckets - 1;
	t->salt = salt;
	memset(t->buckets, 0xff, buckets * sizeof(*t->buckets));
	for (uint32_t i = 0; i < entries; i++)
		t->entry[i].chain = i + 1 < entries ? i + 1 : NONE;
	for (uint32_t i = 0; i < held; i++)
		t->held[i].next = i + 1 < held ? i + 1 : NONE;
	t->free_held = held != 0 ? 0 : NONE;
	t->released = t->released_last = NONE;
	t->waiting = t->known = (struct age_list){NONE, NONE};
	return t;
}

void frag_table_free(struct frag_table *t)
{
	if (t == NULL)
		return;
	free(t->held);
	free(t->entry);
	free(t->buckets);
	free(t);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void age_append(struct frag_table *t, struct age_list *list, uint32_t i)
{
	struct frag_entry *e = &t->entry[i];

	e->older = list->newest;
	e->newer = NONE;
	if (list->newest != NONE)
		t->entry[list->newest].newer = i;
	else
		list->oldest = i;
	list->newest = i;
}

static void age_remove(struct frag_table *t, struct age_list *list, uint32_t i)
{
	struct frag_entry *e = &t->entry[i];

	if (e->older != NONE)
		t->entry[e->older].newer = e->newer;
	else
		list->oldest = e->newer;
	if (e->newer != NONE)
		t->entry[e->newer].older = e->older;
	else
		list->newest = e->older;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

/* Salted after each word: senders choose addresses and identifications. */
static uint32_t *bucket_of(struct frag_table *t, const struct frag_key *key)
{
	uint64_t h = t->salt;

	for (unsigned i = 0; i < sizeof(*key); i += 8)
		h = mix(h ^ load_u64((const uint8_t *)key + i)) + t->salt;
	return &t->buckets[h & t->mask];
}

static void key_of(const struct parsed *p, struct frag_key *key)
{
	_Static_assert(sizeof(*key) == 40, "hashed and compared as words");

	memset(key, 0, sizeof(*key));
	key->id = p->frag_id;
	key->v6 = (p->flags & LANE_V6) != 0;
	if (key->v6) {
		memcpy(key->addrs, p->key6.src, 32);
		key->zone = p->key6.zone;
	} else {
		memcpy(key->addrs, &p->key4.src, 8);
		key->zone = p->key4.zone;
		key->proto = p->proto;
	}
}

static bool is_over(const struct frag_entry *e, uint32_t now_ms)
{
	return now_ms - e->since_ms >= FRAG_TIMEOUT_MS;
}

/* --- entries ---------------------------------------------------------------------------------- */

/* Out of the index and the list it is in. */
static void entry_free(struct frag_table *t, struct age_list *list, uint32_t i)
{
	struct frag_entry *e = &t->entry[i];
	uint32_t *at = bucket_of(t, &e->key);

	while (*at != i)
		at = &t->entry[*at].chain;
	*at = e->chain;
	age_remove(t, list, i);
	e->chain = t->free_entry;
	t->free_entry = i;
	t->stats.entries--;
}

/* One that knows its ports and is over is no answer: identifications are used again. One that
 * waits is, until frag_expire() has emptied it: its fragments are in good time for their first. */
static uint32_t entry_find(struct frag_table *t, const struct frag_key *key, uint32_t now_ms)
{
	uint32_t i = *bucket_of(t, key);

	while (i != NONE && memcmp(&t->entry[i].key, key, sizeof(*key)) != 0)
		i = t->entry[i].chain;
	if (i != NONE && t->entry[i].held == NONE && is_over(&t->entry[i], now_ms)) {
		entry_free(t, &t->known, i);
		i = NONE;
	}
	return i;
}

/* A new entry, in neither age list; NONE when all wait. */
static uint32_t entry_new(struct frag_table *t, const struct frag_key *key, uint32_t now_ms)
{
	struct frag_entry *e;
	uint32_t i, *bucket;

	if (t->free_entry == NONE && t->known.oldest != NONE) {
		entry_free(t, &t->known, t->known.oldest);
		t->stats.full++;
	}
	i = t->free_entry;
	if (i == NONE) {
		t->stats.full++;
		return NONE;
	}
	e = &t->entry[i];
	t->free_entry = e->chain;
	bucket = bucket_of(t, key);
	*e = (struct frag_entry){
		.key = *key,
		.chain = *bucket,
		.held = NONE,
		.held_last = NONE,
		.since_ms = now_ms,
	};
	*bucket = i;
	t->stats.entries++;
	t->stats.datagrams++;
	return i;
}

/* A fragment of the datagram passes; the last one of all ends the entry. */
static void entry_pass(struct frag_table *t, uint32_t i, const struct parsed *p)
{
	struct frag_entry *e = &t->entry[i];

	e->seen += p->frag_len;
	if ((p->flags & LANE_MORE_FRAGMENTS) == 0)
		e->whole = (uint32_t)p->frag_off + p->frag_len;
	if (e->whole != 0 && e->seen >= e->whole)
		entry_free(t, &t->known, i);
}

static void release_held(struct frag_table *t, struct frag_entry *e)
{
	if (t->released == NONE)
		t->released = e->held;
	else
		t->held[t->released_last].next = e->held;
	t->released_last = e->held_last;
	e->held = e->held_last = NONE;
	e->held_count = 0;
}

/* --- packets ---------------------------------------------------------------------------------- */

uint32_t frag_first(struct frag_table *t, const struct parsed *p, uint32_t now_ms)
{
	struct frag_key key;
	struct frag_entry *e;
	uint32_t i, released = 0;

	key_of(p, &key);
	i = entry_find(t, &key, now_ms);
	if (i == NONE) {
		i = entry_new(t, &key, now_ms);
		if (i == NONE)
			return 0;
		age_append(t, &t->known, i);
	} else if (t->entry[i].held != NONE) {
		released = t->entry[i].held_count;
		release_held(t, &t->entry[i]);
		age_remove(t, &t->waiting, i);
		age_append(t, &t->known, i);
	} else {
		/* The identification is used again, or a duplicate: the newest first one counts. */
		age_remove(t, &t->known, i);
		age_append(t, &t->known, i);
	}
	e = &t->entry[i];
	e->since_ms = now_ms;
	e->seen = 0;
	e->whole = 0;
	e->first_len = p->frag_len;
	e->proto = p->proto;
	if (key.v6) {
		e->sport = p->key6.sport;
		e->dport = p->key6.dport;
	} else {
		e->sport = p->key4.sport;
		e->dport = p->key4.dport;
	}
	t->stats.released += released;
	entry_pass(t, i, p);
	return released;
}

static struct frag_packet held_pop(struct frag_table *t, uint32_t *list)
{
	uint32_t i = *list;
	struct frag_held *h = &t->held[i];

	*list = h->next;
	h->next = t->free_held;
	t->free_held = i;
	t->stats.held_now--;
	return h->pkt;
}

bool frag_take(struct frag_table *t, struct frag_packet *out)
{
	if (t->released == NONE)
		return false;
	*out = held_pop(t, &t->released);
	if (t->released == NONE)
		t->released_last = NONE;
	return true;
}

static enum frag_verdict hold(struct frag_table *t, uint32_t i, const struct frag_key *key,
	const struct frag_packet *pkt, uint32_t now_ms, enum drop_reason *reason)
{
	struct frag_entry *e;
	uint32_t h = t->free_held;

	*reason = DROP_FragmentTableFull;
	if (h == NONE || (i != NONE && t->entry[i].held_count >= FRAG_HELD_PER_DATAGRAM)) {
		t->stats.full++;
		return FRAG_DROP;
	}
	if (i == NONE) {
		i = entry_new(t, key, now_ms);
		if (i == NONE)
			return FRAG_DROP;
		age_append(t, &t->waiting, i);
	}
	e = &t->entry[i];
	t->free_held = t->held[h].next;
	t->held[h] = (struct frag_held){.pkt = *pkt, .next = NONE};
	if (e->held == NONE)
		e->held = h;
	else
		t->held[e->held_last].next = h;
	e->held_last = h;
	e->held_count++;
	t->stats.held++;
	t->stats.held_now++;
	return FRAG_HELD;
}

enum frag_verdict frag_later(struct frag_table *t, struct parsed *p, const struct frag_packet *pkt,
	uint32_t now_ms, enum drop_reason *reason)
{
	struct frag_key key;
	struct frag_entry *e;
	uint32_t i;

	key_of(p, &key);
	i = entry_find(t, &key, now_ms);
	if (i == NONE || t->entry[i].held != NONE)
		return hold(t, i, &key, pkt, now_ms, reason);
	e = &t->entry[i];
	/* It would rewrite bytes of the first one, on which the verdict was made (RFC 1858 3). */
	if (p->frag_off < e->first_len) {
		*reason = DROP_FragmentInvalid;
		return FRAG_DROP;
	}
	p->proto = e->proto;
	if (key.v6) {
		p->key6.sport = e->sport;
		p->key6.dport = e->dport;
		p->key6.proto = e->proto;
	} else {
		p->key4.sport = e->sport;
		p->key4.dport = e->dport;
	}
	entry_pass(t, i, p);
	return FRAG_PASS;
}

bool frag_expire(struct frag_table *t, uint32_t now_ms, bool all, struct frag_packet *out)
{
	uint32_t i = t->waiting.oldest;
	struct frag_entry *e;

	for (unsigned n = 0; n < EXPIRE_BATCH && t->known.oldest != NONE; n++) {
		if (!all && !is_over(&t->entry[t->known.oldest], now_ms))
			break;
		entry_free(t, &t->known, t->known.oldest);
	}
	if (all && frag_take(t, out))
		return true;
	if (i == NONE || (!all && !is_over(&t->entry[i], now_ms)))
		return false;
	e = &t->entry[i];
	*out = held_pop(t, &e->held);
	e->held_count--;
	t->stats.timeouts++;
	if (e->held == NONE)
		entry_free(t, &t->waiting, i);
	return true;
}

void frag_stats(const struct frag_table *t, struct frag_stats *out)
{
	*out = t->stats;
}
