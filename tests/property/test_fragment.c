/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The fragment table beside a naive model: an unsorted array, searched from end to end, with the
 * same rules. Random fragments of a few datagrams in any order, over tables of a few entries;
 * after each step verdict, ports, counts and every buffer's whereabouts agree. */

#include "core/frag.h"
#include "unit/harness.h"

#define STEPS   20000
#define BUFFERS 4096
#define HELD    16

struct datagram {
	bool used, known, v6;
	uint32_t id, since, seen, whole;
	uint64_t order; /* of its last first fragment, or of its creation */
	uint16_t sport, first_len;
	uintptr_t held[HELD];
	unsigned held_count;
};

struct model {
	struct datagram d[8];
	unsigned entries, held_max, held_now;
	uint64_t clock;
	uintptr_t released[64];
	unsigned released_count;
};

static bool is_over(const struct datagram *d, uint32_t now)
{
	return now - d->since >= FRAG_TIMEOUT_MS;
}

static struct datagram *find(struct model *m, bool v6, uint32_t id, uint32_t now)
{
	for (unsigned i = 0; i < m->entries; i++) {
		struct datagram *d = &m->d[i];

		if (!d->used || d->id != id || d->v6 != v6)
			continue;
		if (d->known && is_over(d, now)) {
			d->used = false;
			return NULL;
		}
		return d;
	}
	return NULL;
}

static struct datagram *oldest(struct model *m, bool known)
{
	struct datagram *best = NULL;

	for (unsigned i = 0; i < m->entries; i++)
		if (m->d[i].used && m->d[i].known == known &&
			(best == NULL || m->d[i].order < best->order))
			best = &m->d[i];
	return best;
}

static struct datagram *add(struct model *m, bool v6, uint32_t id, uint32_t now)
{
	struct datagram *d = NULL;

	for (unsigned i = 0; i < m->entries && d == NULL; i++)
		if (!m->d[i].used)
			d = &m->d[i];
	if (d == NULL)
		d = oldest(m, true);
	if (d != NULL)
		*d = (struct datagram){
			.used = true, .v6 = v6, .id = id, .since = now, .order = m->clock++};
	return d;
}

static void pass(struct datagram *d, const struct parsed *p)
{
	d->seen += p->frag_len;
	if ((p->flags & LANE_MORE_FRAGMENTS) == 0)
		d->whole = (uint32_t)p->frag_off + p->frag_len;
	if (d->whole != 0 && d->seen >= d->whole)
		d->used = false;
}

static unsigned model_first(struct model *m, const struct parsed *p, uint16_t sport, uint32_t now)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	struct datagram *d = find(m, v6, p->frag_id, now);
	unsigned n;

	if (d == NULL)
		d = add(m, v6, p->frag_id, now);
	if (d == NULL)
		return 0;
	n = d->held_count;
	for (unsigned i = 0; i < n; i++)
		m->released[m->released_count++] = d->held[i];
	d->held_count = 0;
	d->known = true;
	d->order = m->clock++;
	d->since = now;
	d->seen = d->whole = 0;
	d->sport = sport;
	d->first_len = p->frag_len;
	pass(d, p);
	return n;
}

static enum frag_verdict model_later(
	struct model *m, const struct parsed *p, uintptr_t buf, uint32_t now, uint16_t *sport)
{
	bool v6 = (p->flags & LANE_V6) != 0;
	struct datagram *d = find(m, v6, p->frag_id, now);

	if (d == NULL || !d->known) {
		if (m->held_now >= m->held_max ||
			(d != NULL && d->held_count >= FRAG_HELD_PER_DATAGRAM))
			return FRAG_DROP;
		if (d == NULL)
			d = add(m, v6, p->frag_id, now);
		if (d == NULL)
			return FRAG_DROP;
		d->held[d->held_count++] = buf;
		m->held_now++;
		return FRAG_HELD;
	}
	if (p->frag_off < d->first_len)
		return FRAG_DROP;
	*sport = d->sport;
	pass(d, p);
	return FRAG_PASS;
}

static bool model_take(struct model *m, uintptr_t *buf)
{
	if (m->released_count == 0)
		return false;
	*buf = m->released[0];
	m->released_count--;
	memmove(m->released, m->released + 1, m->released_count * sizeof(m->released[0]));
	m->held_now--;
	return true;
}

static bool model_expire(struct model *m, uint32_t now, bool all, uintptr_t *buf)
{
	struct datagram *d;

	for (unsigned i = 0; i < m->entries; i++)
		if (m->d[i].used && m->d[i].known && (all || is_over(&m->d[i], now)))
			m->d[i].used = false;
	if (all && model_take(m, buf))
		return true;
	d = oldest(m, false);
	if (d == NULL || (!all && !is_over(d, now)))
		return false;
	*buf = d->held[0];
	d->held_count--;
	memmove(d->held, d->held + 1, d->held_count * sizeof(d->held[0]));
	d->used = d->held_count != 0;
	m->held_now--;
	return true;
}

/* --- the walk --------------------------------------------------------------------------------- */

struct walk {
	struct frag_table *t;
	struct model m;
	bool inside[BUFFERS]; /* the table has it */
	uint32_t now;
};

static struct parsed random_fragment(uint16_t *sport)
{
	struct parsed p = {.kind = PARSE_FLOW, .proto = 17, .flags = LANE_FRAGMENT};
	bool first = test_rand_below(3) == 0;

	if (test_rand_below(2) != 0)
		p.flags |= LANE_V6;
	p.frag_id = test_rand_below(5);
	p.frag_len = 8 * (1 + (uint16_t)test_rand_below(2));
	if (!first) {
		p.kind = PARSE_FRAGMENT_LATER;
		p.flags |= LANE_FRAGMENT_LATER;
		p.frag_off = 8 * (1 + (uint16_t)test_rand_below(5));
	}
	if (first || test_rand_below(3) != 0)
		p.flags |= LANE_MORE_FRAGMENTS;
	*sport = (uint16_t)test_rand();
	if (p.flags & LANE_V6) {
		p.key6.src[0] = 0xfd;
		p.key6.sport = first ? *sport : 0;
	} else {
		p.key4.src = 1;
		p.key4.sport = first ? *sport : 0;
	}
	return p;
}

static uintptr_t free_buffer(struct walk *w)
{
	uintptr_t n;

	do {
		n = test_rand_below(BUFFERS);
	} while (w->inside[n]);
	return n;
}

static void came_out(struct walk *w, const struct frag_packet *pkt, uintptr_t expected)
{
	uintptr_t n = (uintptr_t)pkt->buf;

	CHECK_EQ(n, expected);
	CHECK(w->inside[n]);
	w->inside[n] = false;
}

static void step(struct walk *w)
{
	uint16_t sport, expected_sport = 0;
	struct parsed p = random_fragment(&sport);
	enum drop_reason reason = DROP_Internal;
	enum frag_verdict verdict, expected;
	struct frag_packet pkt = {0};
	uintptr_t n = 0;
	bool got;

	switch (test_rand_below(10)) {
	case 0:
		w->now += test_rand_below(FRAG_TIMEOUT_MS / 2);
		break;
	case 1:
		got = frag_expire(w->t, w->now, false, &pkt);
		CHECK_EQ(got, model_expire(&w->m, w->now, false, &n));
		if (got)
			came_out(w, &pkt, n);
		break;
	case 2:
	case 3:
		got = frag_take(w->t, &pkt);
		CHECK_EQ(got, model_take(&w->m, &n));
		if (got)
			came_out(w, &pkt, n);
		break;
	default:
		if (p.kind == PARSE_FLOW) {
			CHECK_EQ(frag_first(w->t, &p, w->now),
				model_first(&w->m, &p, sport, w->now));
			break;
		}
		n = free_buffer(w);
		pkt.buf = (void *)n;
		expected = model_later(&w->m, &p, n, w->now, &expected_sport);
		verdict = frag_later(w->t, &p, &pkt, w->now, &reason);
		CHECK_EQ(verdict, expected);
		if (verdict == FRAG_PASS)
			CHECK_EQ(p.flags & LANE_V6 ? p.key6.sport : p.key4.sport, expected_sport);
		w->inside[n] = verdict == FRAG_HELD;
	}
}

static void counts_agree(const struct walk *w)
{
	unsigned used = 0, inside = 0;
	struct frag_stats s;

	frag_stats(w->t, &s);
	for (unsigned i = 0; i < w->m.entries; i++)
		used += w->m.d[i].used;
	for (unsigned i = 0; i < BUFFERS; i++)
		inside += w->inside[i];
	CHECK_EQ(s.entries, used);
	CHECK_EQ(s.held_now, w->m.held_now);
	CHECK_EQ(s.held_now, inside);
}

static void drain(struct walk *w)
{
	struct frag_packet pkt;
	uintptr_t n = 0;

	while (frag_expire(w->t, w->now, true, &pkt)) {
		CHECK(model_expire(&w->m, w->now, true, &n));
		came_out(w, &pkt, n);
	}
	CHECK(!model_expire(&w->m, w->now, true, &n));
	counts_agree(w);
	for (unsigned i = 0; i < BUFFERS; i++)
		CHECK(!w->inside[i]);
}

static void agrees_with_the_model(void)
{
	static const unsigned capacities[][2] = {{1, 1}, {2, 1}, {2, 8}, {4, 4}, {8, HELD}};

	for (unsigned c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++) {
		static struct walk w;

		memset(&w, 0, sizeof(w));
		w.m.entries = capacities[c][0];
		w.m.held_max = capacities[c][1];
		w.now = UINT32_MAX - 20000;
		w.t = frag_table_new(w.m.entries, w.m.held_max, test_seed() + c);
		REQUIRE(w.t != NULL);
		for (unsigned i = 0; i < STEPS; i++) {
			step(&w);
			if (i % 50 == 0)
				counts_agree(&w);
			if (CU_get_number_of_failures() != 0) {
				printf("capacity %u, %u held: step %u\n", w.m.entries, w.m.held_max,
					i);
				break;
			}
		}
		drain(&w);
		frag_table_free(w.t);
	}
}

TEST_SUITE("fragment", CASE(agrees_with_the_model))
