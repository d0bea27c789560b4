/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Route tables: longest prefix match for both families (see route.h). Control builds, workers
 * look up; immutable.
 *
 * One hash table of masked prefixes and a list of the lengths in use, longest first. A node's
 * table has few lengths (hosts, node ranges, default), so a lookup is a few probes, which is what
 * a first packet can pay; a directory of 2^24 entries would be 32 MB a snapshot for nothing. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/flow_hash.h"
#include "core/route.h"

struct fib_entry {
	struct ip_addr addr;
	uint16_t next_hop;
	uint8_t len;
	uint8_t family;
	bool used;
};

/* A prefix length that some route has. */
struct fib_length {
	uint64_t mask[2]; /* of the address as struct ip_addr has it */
	uint8_t len;
};

struct fib {
	uint32_t count[IP_FAMILIES];
	uint32_t n_lengths[IP_FAMILIES];
	struct fib_length lengths[IP_FAMILIES][129]; /* longest first */
	uint32_t mask;
	struct fib_entry at[];
};

/* The first len bits of a 64-bit word in network order. */
static inline uint64_t keep_bits(unsigned len)
{
	return len == 0 ? 0 : len >= 64 ? UINT64_MAX : htobe64(~(UINT64_MAX >> len));
}

static struct fib_length length_of(enum ip_family f, unsigned len)
{
	unsigned bits = f == IP_V4 ? len + 96 : len;

	return (struct fib_length){
		.mask = {keep_bits(bits), keep_bits(bits > 64 ? bits - 64 : 0)},
		.len = (uint8_t)len,
	};
}

static inline struct ip_addr mask_addr(const struct ip_addr *a, const struct fib_length *l)
{
	struct ip_addr m;

	m.dwords[0] = a->dwords[0] & l->mask[0];
	m.dwords[1] = a->dwords[1] & l->mask[1];
	return m;
}

/* Folded products: the addresses of pods that follow each other differ in the highest bits of a
 * word alone, which a plain product would leave there. */
static inline uint32_t hash_prefix(const struct ip_addr *a, unsigned len)
{
	uint64_t h = flow_mum(a->dwords[0] ^ UINT64_C(0x9e3779b97f4a7c15),
		a->dwords[1] ^ UINT64_C(0xbf58476d1ce4e5b9));

	return (uint32_t)flow_mum(h ^ len, UINT64_C(0x94d049bb133111eb));
}

/* The entry of the prefix, or the free one where it belongs. */
static uint32_t find(
	const struct fib *f, const struct ip_addr *addr, enum ip_family family, unsigned len)
{
	uint32_t i = hash_prefix(addr, len) & f->mask;

	while (f->at[i].used &&
		(f->at[i].len != len || f->at[i].family != family ||
			!ip_equal(&f->at[i].addr, addr)))
		i = (i + 1) & f->mask;
	return i;
}

int fib_new(const struct route *routes, uint32_t n, struct fib **out)
{
	bool seen[IP_FAMILIES][129] = {{false}};
	uint32_t places = 16;
	struct fib *f;

	while (places < (1u << 30) && places / 2 < n + 1)
		places *= 2;
	f = calloc(1, sizeof(*f) + sizeof(struct fib_entry) * places);
	if (f == NULL)
		return -ENOMEM;
	f->mask = places - 1;
	for (uint32_t r = 0; r < n; r++) {
		const struct ip_prefix *p = &routes[r].prefix;
		struct fib_length length;
		struct ip_addr addr;
		struct fib_entry *e;

		if (p->family >= IP_FAMILIES || p->len > (p->family == IP_V4 ? 32 : 128) ||
			p->family != (uint8_t)ip_family(&p->addr)) {
			free(f);
			return -EINVAL;
		}
		length = length_of((enum ip_family)p->family, p->len);
		addr = mask_addr(&p->addr, &length);
		e = &f->at[find(f, &addr, (enum ip_family)p->family, p->len)];
		f->count[p->family] += !e->used;
		seen[p->family][p->len] = true;
		*e = (struct fib_entry){.addr = addr,
			.next_hop = routes[r].next_hop,
			.len = p->len,
			.family = p->family,
			.used = true};
	}
	for (int family = 0; family < IP_FAMILIES; family++)
		for (unsigned len = 129; len-- > 0;)
			if (seen[family][len])
				f->lengths[family][f->n_lengths[family]++] =
					length_of((enum ip_family)family, len);
	*out = f;
	return 0;
}

void fib_free(struct fib *f)
{
	free(f);
}

static const struct fib_entry *longest(const struct fib *f, const struct ip_addr *dst)
{
	enum ip_family family = ip_family(dst);

	for (uint32_t l = 0; f != NULL && l < f->n_lengths[family]; l++) {
		const struct fib_length *length = &f->lengths[family][l];
		struct ip_addr addr = mask_addr(dst, length);
		const struct fib_entry *e = &f->at[find(f, &addr, family, length->len)];

		if (e->used)
			return e;
	}
	return NULL;
}

uint16_t fib_lookup(const struct fib *f, const struct ip_addr *dst)
{
	const struct fib_entry *e = longest(f, dst);

	return e != NULL ? e->next_hop : 0;
}

uint16_t fib_explain(const struct fib *f, const struct ip_addr *dst, struct ip_prefix *matched)
{
	const struct fib_entry *e = longest(f, dst);

	*matched = (struct ip_prefix){.family = (uint8_t)ip_family(dst)};
	if (e == NULL)
		return 0;
	matched->addr = e->addr;
	matched->len = e->len;
	return e->next_hop;
}

uint32_t fib_longest_probe(const struct fib *f)
{
	uint32_t longest = 0, run = 0;

	/* Twice round, for a run that goes over the end. */
	for (uint32_t i = 0; i <= 2 * f->mask + 1 && run <= f->mask; i++) {
		run = f->at[i & f->mask].used ? run + 1 : 0;
		longest = run > longest ? run : longest;
	}
	return longest;
}

uint32_t fib_count(const struct fib *f, enum ip_family family)
{
	return f != NULL ? f->count[family] : 0;
}
