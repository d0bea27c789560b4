/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What must hold whatever happens, compared between two turns of the engine: the NIC's own list of
 * rules, the engine's table, the flow entries, and everybody's sums.
 *
 * A rule is compared by what it matches and what it makes of it: the NIC's by its dump, ours by
 * the keys of the flow entry. Main thread. */

#include <arpa/inet.h>
#include <dirent.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>

#include "net_emu/chaos.h"

#define DUMP_MAX  (256 * 1024)
#define TOLD_MAX  20
#define SLACK     (512 * 1024) /* of memory: arenas of threads that come and go */
#define RULES_MAX 4096

void chaos_broken(struct chaos *c, enum chaos_check check, const char *format, ...)
{
	static const char *const texts[CHECKS] = {
#define X(name, text) [CHECK_##name] = text,
		CHAOS_CHECKS(X)
#undef X
	};
	va_list args;

	if (++c->broken > TOLD_MAX)
		return;
	fprintf(stderr, "BROKEN (%s), seed %llu, %.1f s before the end: ", texts[check],
		(unsigned long long)c->seed, c->end - chaos_now());
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* --- rules, one form for both sides ------------------------------------------------------------
 */

struct side {
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
};

/* Zeroed before it is filled: compared as bytes. */
struct plain_rule {
	uint16_t in, out;
	uint8_t v6, proto;
	struct side match, to;
};

static struct plain_rule nic_rules[RULES_MAX], our_rules[RULES_MAX];
static char dump[DUMP_MAX];

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct plain_rule));
}

static const char *rule_text(const struct plain_rule *r)
{
	static char text[256];
	char a[4][INET6_ADDRSTRLEN];
	int af = r->v6 ? AF_INET6 : AF_INET;

	inet_ntop(af, r->match.src, a[0], sizeof(a[0]));
	inet_ntop(af, r->match.dst, a[1], sizeof(a[1]));
	inet_ntop(af, r->to.src, a[2], sizeof(a[2]));
	inet_ntop(af, r->to.dst, a[3], sizeof(a[3]));
	snprintf(text, sizeof(text), "proto %u in %u %s %u > %s %u becomes %s %u > %s %u out %u",
		r->proto, r->in, a[0], r->match.sport, a[1], r->match.dport, a[2], r->to.sport,
		a[3], r->to.dport, r->out);
	return text;
}

/* Any of the words that a rule needs; the rest of the dump is not looked at. */
static void word_read(struct plain_rule *r, const char *word, const char *value)
{
	int af = strchr(value, ':') != NULL ? AF_INET6 : AF_INET;

	if (strcmp(word, "in") == 0)
		r->in = (uint16_t)atoi(value);
	else if (strcmp(word, "ip") == 0)
		r->v6 = atoi(value) == 6;
	else if (strcmp(word, "l4") == 0 || strcmp(word, "proto") == 0)
		r->proto = (uint8_t)atoi(value);
	else if (strcmp(word, "src") == 0)
		inet_pton(af, value, r->match.src);
	else if (strcmp(word, "dst") == 0)
		inet_pton(af, value, r->match.dst);
	else if (strcmp(word, "sport") == 0)
		r->match.sport = (uint16_t)atoi(value);
	else if (strcmp(word, "dport") == 0)
		r->match.dport = (uint16_t)atoi(value);
	else if (strcmp(word, "set_src") == 0)
		inet_pton(af, value, r->to.src);
	else if (strcmp(word, "set_dst") == 0)
		inet_pton(af, value, r->to.dst);
	else if (strcmp(word, "set_sport") == 0)
		r->to.sport = (uint16_t)atoi(value);
	else if (strcmp(word, "set_dport") == 0)
		r->to.dport = (uint16_t)atoi(value);
	else if (strcmp(word, "represented_port") == 0)
		r->out = (uint16_t)atoi(value);
}

/* The match comes first: at "actions" what is not set stays as it was. */
static void line_read(struct plain_rule *r, char *line)
{
	char *save, *word = strtok_r(line, " ", &save), *next;

	memset(r, 0, sizeof(*r));
	for (; word != NULL; word = next) {
		next = strtok_r(NULL, " ", &save);
		if (strcmp(word, "actions") == 0)
			r->to = r->match;
		else if (next != NULL)
			word_read(r, word, next);
	}
}

/* Without those of ports that were stopped as the last resort: they do not act. */
static bool of_stopped_port(struct chaos *c, const char *line)
{
	unsigned id, ethdev;

	if (sscanf(line, "rule %u port %u", &id, &ethdev) != 2)
		return false;
	for (unsigned i = 0; i < PORTS; i++)
		if (c->ethdev[i] == ethdev)
			return c->e->port[c->index[i]].state == PORT_STOPPED;
	return false;
}

static unsigned nic_rules_read(struct chaos *c)
{
	unsigned n = 0;
	char *save, *line;

	if (net_emu_command(c->nic, "rules", dump, sizeof(dump)) != 0)
		chaos_die("the NIC's rules do not fit");
	for (line = strtok_r(dump, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (of_stopped_port(c, line))
			continue;
		line_read(&nic_rules[n++], line);
	}
	return n;
}

static void side_of(struct side *to, const struct flow_key6 *k, bool v6, bool mirror)
{
	const uint8_t *src = mirror ? k->dst : k->src, *dst = mirror ? k->src : k->dst;

	memcpy(to->src, v6 ? src : src + 12, v6 ? 16 : 4);
	memcpy(to->dst, v6 ? dst : dst + 12, v6 ? 16 : 4);
	to->sport = ntohs(mirror ? k->dport : k->sport);
	to->dport = ntohs(mirror ? k->sport : k->dport);
}

static void entry_keys(
	struct flow_table *t, enum ip_family f, uint32_t entry, struct flow_key6 k[2])
{
	for (int d = 0; d < 2; d++) {
		const struct flow_key4 *k4 = &flow_array4(t)[entry].key[d];

		if (f == IP_V6) {
			k[d] = flow_array6(t)[entry].key[d];
			continue;
		}
		memset(&k[d], 0, sizeof(k[d]));
		memcpy(k[d].src + 12, &k4->src, 4);
		memcpy(k[d].dst + 12, &k4->dst, 4);
		k[d].sport = k4->sport;
		k[d].dport = k4->dport;
		k[d].proto = k4->proto;
	}
}

/* The entry is busy with this rule, and nobody else has its tuple. */
static void check_entry(struct chaos *c, const struct resident *r, int d)
{
	uint32_t id = atomic_load(&r->id), entry = choice_entry(id), ref;
	enum ip_family f = choice_family(id);
	struct flow_table *t = c->dp->flows;
	const struct flow_meta *m = flow_meta(t, f, entry);
	uint32_t word = atomic_load(&flow_cold_array(t, f)[entry].offload[d]);

	CHAOS_CHECK(c, rule_has_flow,
		atomic_load(&m->generation) == atomic_load(&r->generation) && offload_busy(word),
		"entry %u: generation %u, the rule's is %u, word %x", entry,
		atomic_load(&m->generation), atomic_load(&r->generation), word);
	ref = f == IP_V4 ? flow_lookup4(t, &flow_array4(t)[entry].key[d])
			 : flow_lookup6(t, &flow_array6(t)[entry].key[d]);
	CHAOS_CHECK(c, key_is_its_own, ref == FLOW_NONE || ref == (entry << 1 | (uint32_t)d),
		"the tuple of entry %u, direction %d, is entry %u's", entry, d, ref >> 1);
}

static unsigned our_rules_read(struct chaos *c)
{
	unsigned n = 0;

	rim_reader_enter(c->rim);
	for (uint32_t slot = 0; slot < c->e->high; slot++)
		for (int d = 0; d < 2; d++) {
			const struct resident *r = &c->e->at[slot];
			uint32_t id = atomic_load(&r->id);
			struct plain_rule *p = &our_rules[n];
			struct flow_key6 k[2];

			if (r->state == RESIDENT_FREE || r->leg[d].handle == NULL)
				continue;
			n++;
			check_entry(c, r, d);
			entry_keys(c->dp->flows, choice_family(id), choice_entry(id), k);
			memset(p, 0, sizeof(*p));
			p->in = c->e->map.at[r->leg[d].path.in].ethdev;
			p->out = c->e->map.at[r->leg[d].path.out].ethdev;
			p->v6 = choice_family(id) == IP_V6;
			p->proto = k[d].proto;
			side_of(&p->match, &k[d], p->v6, false);
			side_of(&p->to, &k[!d], p->v6, true);
		}
	rim_reader_leave(c->rim);
	return n;
}

static void check_rules(struct chaos *c, unsigned ours)
{
	unsigned theirs = nic_rules_read(c), i = 0, k = 0;

	qsort(nic_rules, theirs, sizeof(nic_rules[0]), compare);
	qsort(our_rules, ours, sizeof(our_rules[0]), compare);
	c->checks[CHECK_rules_same]++;
	while (i < theirs || k < ours) {
		int which = i == theirs ? 1
			: k == ours     ? -1
					: compare(&nic_rules[i], &our_rules[k]);

		if (which < 0)
			chaos_broken(c, CHECK_rules_same, "only the NIC has %s",
				rule_text(&nic_rules[i]));
		if (which > 0)
			chaos_broken(c, CHECK_rules_same, "the NIC has not %s",
				rule_text(&our_rules[k]));
		i += which <= 0;
		k += which >= 0;
	}
}

/* --- sums --------------------------------------------------------------------------------------
 */

static void check_sums(struct chaos *c, unsigned legs)
{
	const struct offload_engine *e = c->e;
	uint32_t busy = 0, residents = 0, of_ports = 0;

	for (uint32_t slot = 0; slot < e->high; slot++)
		residents += e->at[slot].state != RESIDENT_FREE;
	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t i = 0; i < FLOWS; i++)
			for (int d = 0; d < 2; d++)
				busy += offload_busy(
					flow_cold_array(c->dp->flows, (enum ip_family)f)[i]
						.offload[d]);
	for (unsigned i = 0; i < OFFLOAD_PORTS_MAX; i++)
		of_ports += e->port[i].stats.rules;
	CHAOS_CHECK(c, sums,
		e->cap.used == legs && busy == legs && of_ports == legs &&
			e->n_in + e->n_leaving == residents &&
			e->stats.inserted - e->stats.removed == legs,
		"%u rules: used %u, %u busy words, %u of ports, inserted %llu - removed %llu; %u flows: "
		"%u in, %u leaving",
		legs, e->cap.used, busy, of_ports, (unsigned long long)e->stats.inserted,
		(unsigned long long)e->stats.removed, residents, e->n_in, e->n_leaving);
}

static void check_counted(struct chaos *c)
{
	uint64_t told = c->nic_before.told_hits + chaos_counters(c).told_hits;
	uint64_t counted = c->packets_before + c->e->stats.packets;

	CHAOS_CHECK(c, counted, told == counted, "the NIC told of %llu hits, counted are %llu",
		(unsigned long long)told, (unsigned long long)counted);
}

void chaos_check(struct chaos *c)
{
	unsigned legs;

	/* Nobody knows yet what the device took with it. */
	if (c->pulled)
		return;
	chaos_lock(c);
	legs = our_rules_read(c);
	check_rules(c, legs);
	check_sums(c, legs);
	check_counted(c);
	CHAOS_CHECK(c, handles, chaos_counters(c).bad_handles == 0, "%llu calls",
		(unsigned long long)chaos_counters(c).bad_handles);
	chaos_unlock(c);
}

/* --- a quiet moment ----------------------------------------------------------------------------
 */

static void check_balances(struct chaos *c)
{
	const volatile struct worker *w = c->dp->workers[0];
	struct net_emu_counters n = chaos_counters(c);
	uint64_t in = w->counters.received + w->counters.originated;
	uint64_t out = w->counters.sent + w->held_count;

	for (int r = 0; r < DROP_REASONS; r++)
		out += w->counters.drops[r];
	CHAOS_CHECK(c, switch_balance, in == out, "%llu in, %llu out", (unsigned long long)in,
		(unsigned long long)out);
	in = n.wire_rx;
	out = n.to_cpu + n.forwarded + n.rule_drops + n.mtu_drops + n.error_drops + n.rx_full;
	CHAOS_CHECK(c, nic_balance, in == out, "%llu in, %llu out", (unsigned long long)in,
		(unsigned long long)out);
}

static uint32_t flows_used(struct chaos *c)
{
	return flow_stats(c->dp->flows, IP_V4, 0)->used + flow_stats(c->dp->flows, IP_V6, 0)->used;
}

static void check_flows(struct chaos *c)
{
	double late = chaos_now() + 20;

	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t i = 0; i < FLOWS; i++)
			flow_kill(c->dp->flows, (enum ip_family)f, i);
	while (flows_used(c) != 0 && chaos_now() < late)
		chaos_grace(c);
	CHAOS_CHECK(c, flows_back, flows_used(c) == 0, "%u entries are kept", flows_used(c));
}

static uint32_t descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

/* The first quiet moment that has everything in it is the measure. */
static void check_growth(struct chaos *c)
{
	struct rte_malloc_socket_stats heap = {0};
	uint32_t fds = descriptors();
	struct mallinfo2 m = mallinfo2();
	/* A large piece is now mapped, now in the heap. */
	size_t memory = m.uordblks + m.hblkhd;

	rte_malloc_get_socket_stats(0, &heap);
	if (c->baseline.fds == 0) {
		c->baseline.heap = heap.heap_allocsz_bytes;
		c->baseline.memory = memory;
		c->baseline.fds = fds;
		return;
	}
	CHAOS_CHECK(c, no_growth,
		fds <= c->baseline.fds && heap.heap_allocsz_bytes <= c->baseline.heap + SLACK &&
			memory <= c->baseline.memory + SLACK,
		"%u descriptors, were %u; %zu bytes of EAL's, were %llu; %zu of malloc's, were %llu",
		fds, c->baseline.fds, heap.heap_allocsz_bytes, (unsigned long long)c->baseline.heap,
		memory, (unsigned long long)c->baseline.memory);
}

/* Rules out one by one while no frame is on its way: each hit is told before its rule goes. */
static void check_removal(struct chaos *c)
{
	uint64_t lost = chaos_counters(c).lost_hits, errors, flushes;

	chaos_lock(c);
	errors = c->e->stats.query_errors;
	flushes = c->e->stats.escalations;
	chaos_unlock(c);
	c->cfg.enabled = false;
	chaos_lock(c);
	engine_configure(c->e, &c->cfg);
	chaos_unlock(c);
	{
		uint64_t ticket = engine_revalidate(c->e, true);
		double late = chaos_now() + 30;
		bool done = false;

		while (!done && chaos_now() < late) {
			chaos_lock(c);
			done = c->e->pass_done >= ticket;
			chaos_unlock(c);
		}
		CHAOS_CHECK(c, acknowledged, done, "a quiet removal is not acknowledged");
	}
	chaos_lock(c);
	if (errors == c->e->stats.query_errors && flushes == c->e->stats.escalations)
		CHAOS_CHECK(c, counted_all, chaos_counters(c).lost_hits == lost,
			"%llu hits were of rules that nobody asked before they went",
			(unsigned long long)(chaos_counters(c).lost_hits - lost));
	chaos_unlock(c);
	CHAOS_CHECK(c, rules_same, chaos_counters(c).rules == 0, "%llu rules are left",
		(unsigned long long)chaos_counters(c).rules);
}

void chaos_calm(struct chaos *c)
{
	chaos_drain(c);
	chaos_check(c);
	check_removal(c);
	check_flows(c);
	chaos_drain(c);
	check_balances(c);
	check_growth(c);
	chaos_traffic_reset(c);
	c->cfg.enabled = true;
	chaos_lock(c);
	engine_configure(c->e, &c->cfg);
	chaos_unlock(c);
}
