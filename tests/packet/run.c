/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Packet in, packet out: text cases through the real compositions.
 *
 *   in VPORT PACKET          one frame; "in VPORT PACKET | PACKET ..." makes one burst
 *   out VPORT PACKET         the next output must look like this (only what is named is compared)
 *   none                     there is no further output
 *   drop REASON [N]          the reason's counter went up by N (1) since the last such line
 *   event resolve|neighbour ADDR
 *   time MS                  the clock moves, then one loop (sweep, tick, grace)
 *   loop                     one loop
 *   behind N|no              from now on the worker is behind, with room for N first packets
 *   flows N                  live flows, both families
 *   repeat N ... end         $i counts from 0 in packet ports and ids, as "$i" or "BASE+$i"
 *
 * After every case: no output left, buffers exactly back, and received + originated = sent +
 * dropped + held. A file is one case; its first comment line is its name. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/flow.h"
#include "packet/text.h"
#include "packet/world.h"

#define VARS_MAX 32

struct run {
	struct world *world;
	const char *file;
	unsigned line;
	uint32_t taken; /* outputs compared so far */
	uint64_t drops_seen[DROP_REASONS];
	struct {
		char name[16];
		uint16_t value;
	} vars[VARS_MAX];
	unsigned n_vars, failures;
};

static void complain(struct run *r, const char *what, const char *detail)
{
	printf("%s:%u: %s%s%s\n", r->file, r->line, what, detail[0] ? ": " : "", detail);
	r->failures++;
}

/* A variable that has no value yet gets this one. */
static uint16_t var_value(struct run *r, const char *name, uint16_t value)
{
	if (name[0] != '$')
		return value;
	for (unsigned i = 0; i < r->n_vars; i++)
		if (strcmp(r->vars[i].name, name) == 0)
			return r->vars[i].value;
	if (r->n_vars == VARS_MAX)
		abort();
	snprintf(r->vars[r->n_vars].name, sizeof(r->vars[0].name), "%s", name);
	r->vars[r->n_vars].value = value;
	return r->vars[r->n_vars++].value;
}

static void fill_vars(struct run *r, struct text_packet *p)
{
	bool echo = p->kind == TEXT_ECHO || p->kind == TEXT_ECHO_REPLY;

	if (p->sport_var[0] == '$')
		p->sport = var_value(r, p->sport_var, 0);
	if (p->dport_var[0] == '$')
		p->dport = var_value(r, p->dport_var, 0);
	if (echo)
		p->dport = p->sport;
	if (p->about != NULL)
		fill_vars(r, p->about);
}

static void step_in(struct run *r, char *rest)
{
	struct bench *t = world_bench(r->world);
	static uint8_t frames[BURST_MAX][4096];
	const uint8_t *at[BURST_MAX];
	uint16_t lens[BURST_MAX];
	char *save = NULL, *packet, err[200];
	uint32_t n = 0;
	uint16_t vport;
	const struct vport *v;

	vport = (uint16_t)strtoul(rest, &rest, 10);
	v = t->vports.at[vport];
	for (packet = strtok_r(rest, "|", &save); packet != NULL && n < BURST_MAX;
		packet = strtok_r(NULL, "|", &save)) {
		struct text_packet p;

		while (*packet == ' ')
			packet++;
		if (text_parse(packet, &p, err, sizeof(err)) < 0) {
			complain(r, err, "");
			return;
		}
		fill_vars(r, &p);
		if (v != NULL && (p.has & HAS_DMAC) == 0)
			memcpy(p.dmac, v->mac, 6);
		if (v != NULL && (p.has & HAS_SMAC) == 0)
			memcpy(p.smac, v->peer_mac, 6);
		lens[n] = text_build(&p, frames[n], sizeof(frames[0]));
		at[n] = frames[n];
		n++;
		text_free(&p);
	}
	bench_receive(t, vport, at, lens, n);
}

static bool same_packet(
	struct run *r, const struct text_packet *want, const struct text_packet *got)
{
	bool echo = want->kind == TEXT_ECHO || want->kind == TEXT_ECHO_REPLY;
	uint16_t sport = want->sport, dport = want->dport;

	if (want->kind != got->kind &&
		!(got->kind == TEXT_FRAGMENT && (want->has & HAS_FRAG) != 0 && want->frag_off != 0))
		return false;
	if (want->sport_var[0] != '\0')
		sport = want->sport_var[0] == '*' ? got->sport
						  : var_value(r, want->sport_var, got->sport);
	if (want->dport_var[0] != '\0')
		dport = want->dport_var[0] == '*' ? got->dport
						  : var_value(r, want->dport_var, got->dport);
	if (echo)
		dport = sport;
	if (got->kind <= TEXT_ECHO_REPLY && (sport != got->sport || dport != got->dport))
		return false;
	if (want->kind == TEXT_ERROR && (want->type != got->type || want->code != got->code))
		return false;
	if (want->about != NULL)
		return got->about != NULL && same_packet(r, want->about, got->about) &&
			((want->has & HAS_SRC) == 0 || ip_equal(&want->src, &got->src)) &&
			((want->has & HAS_MTU) == 0 || want->mtu == got->mtu);
	if (want->kind >= TEXT_ARP_REQUEST && want->kind <= TEXT_ADVERTISE &&
		!ip_equal(&want->dst, &got->dst))
		return false;
	return ((want->has & HAS_SRC) == 0 || ip_equal(&want->src, &got->src)) &&
		((want->has & HAS_DST) == 0 || ip_equal(&want->dst, &got->dst)) &&
		((want->has & HAS_TTL) == 0 || want->ttl == got->ttl) &&
		((want->has & HAS_LEN) == 0 || want->len == got->len) &&
		((want->has & HAS_FLAGS) == 0 || want->flags == got->flags) &&
		((want->has & HAS_MTU) == 0 || want->mtu == got->mtu) &&
		((want->has & HAS_ID) == 0 || want->ip_id == got->ip_id) &&
		((want->has & HAS_FRAG) == 0 ||
			(want->frag_off == got->frag_off && want->more == got->more)) &&
		((want->has & HAS_NOCSUM) == 0 || got->nocsum) &&
		((want->has & HAS_MAC) == 0 || memcmp(want->mac, got->mac, 6) == 0) &&
		((want->has & HAS_SMAC) == 0 || memcmp(want->smac, got->smac, 6) == 0) &&
		((want->has & HAS_DMAC) == 0 || memcmp(want->dmac, got->dmac, 6) == 0);
}

static void step_out(struct run *r, char *rest)
{
	struct bench *t = world_bench(r->world);
	struct text_packet want, got;
	struct bench_packet *out;
	char err[200], detail[900];
	uint16_t vport;

	vport = (uint16_t)strtoul(rest, &rest, 10);
	while (*rest == ' ')
		rest++;
	if (text_parse(rest, &want, err, sizeof(err)) < 0) {
		complain(r, err, "");
		return;
	}
	if (r->taken == t->n_out) {
		complain(r, "no output", rest);
		text_free(&want);
		return;
	}
	out = &t->out[r->taken++];
	if (text_read(out->data, out->len, &got, err, sizeof(err)) < 0) {
		complain(r, "bad output", err);
	} else if (out->vport != vport || !same_packet(r, &want, &got)) {
		int n = snprintf(detail, sizeof(detail), "vport %u ", out->vport);

		text_show(&got, detail + n, sizeof(detail) - (size_t)n);
		complain(r, "another output", detail);
	}
	text_free(&want);
	text_free(&got);
	bench_packet_free(t, out);
	if (r->taken == t->n_out)
		r->taken = t->n_out = 0;
}

static void step_none(struct run *r)
{
	struct bench *t = world_bench(r->world);

	while (r->taken < t->n_out) {
		struct bench_packet *out = &t->out[r->taken++];
		struct text_packet got;
		char err[200], detail[600];

		snprintf(detail, sizeof(detail), "unreadable");
		if (text_read(out->data, out->len, &got, err, sizeof(err)) == 0)
			text_show(&got, detail, sizeof(detail));
		complain(r, "unexpected output", detail);
		text_free(&got);
		bench_packet_free(t, out);
	}
	r->taken = t->n_out = 0;
}

static void step_drop(struct run *r, char *rest)
{
	const uint64_t *drops = world_bench(r->world)->w->counters.drops;
	unsigned n = 1;
	char name[40];

	if (sscanf(rest, "%39s %u", name, &n) < 1)
		name[0] = '\0';
	for (int d = 0; d < DROP_REASONS; d++) {
		uint64_t more = drops[d] - r->drops_seen[d];
		bool named = strcmp(drop_reasons[d].name, name) == 0;
		char detail[80];

		if (named && more != n) {
			snprintf(detail, sizeof(detail), "%s went up by %llu", name,
				(unsigned long long)more);
			complain(r, "drops", detail);
		}
		if (named) {
			r->drops_seen[d] = drops[d];
			return;
		}
	}
	complain(r, "no such drop reason", name);
}

static void step_event(struct run *r, char *rest)
{
	struct bench *t = world_bench(r->world);
	struct worker_event e;
	char kind[16], addr[64];
	struct ip_addr a;

	if (sscanf(rest, "%15s %63s", kind, addr) != 2 || ip_parse(addr, &a) < 0)
		complain(r, "cannot read", rest);
	else if (!spsc_get(t->w->events, &e))
		complain(r, "no event", rest);
	else if ((e.kind == EVENT_RESOLVE) != (kind[0] == 'r') || !ip_equal(&a, &e.addr))
		complain(r, "another event", ip_format(&e.addr, addr));
}

static void step_flows(struct run *r, unsigned want)
{
	struct flow_table *t = world_bench(r->world)->dp.flows;
	char detail[40];
	unsigned n = 0;

	for (int f = 0; f < IP_FAMILIES; f++) {
		struct flow_view v;

		for (uint32_t e = 0; e < flow_capacity(t, f); e++)
			n += flow_read(t, f, e, &v) == 0;
	}
	snprintf(detail, sizeof(detail), "%u, not %u", n, want);
	if (n != want)
		complain(r, "live flows", detail);
}

static void step(struct run *r, char *line)
{
	struct bench *t = world_bench(r->world);
	char *rest = strchr(line, ' '), err[300];
	int rc;

	rest = rest == NULL ? line + strlen(line) : rest + 1;
	rc = strncmp(line, "flows ", 6) == 0 && t->w != NULL
		? 0
		: world_statement(r->world, line, err, sizeof(err));
	if (rc < 0)
		complain(r, err, "");
	if (rc != 0)
		return;
	if (strncmp(line, "in ", 3) == 0) {
		step_in(r, rest);
	} else if (strncmp(line, "out ", 4) == 0) {
		step_out(r, rest);
	} else if (strcmp(line, "none") == 0) {
		step_none(r);
	} else if (strncmp(line, "drop ", 5) == 0) {
		step_drop(r, rest);
	} else if (strncmp(line, "event ", 6) == 0) {
		step_event(r, rest);
	} else if (strncmp(line, "time ", 5) == 0) {
		t->w->now_ms += (uint32_t)strtoul(rest, NULL, 10);
		bench_loop(t);
		bench_loop(t);
	} else if (strncmp(line, "behind ", 7) == 0) {
		t->w->admission.behind = strcmp(rest, "no") != 0;
		t->w->admission.credit = (uint32_t)atoi(rest) * FLOW_NEW_PER_HITS;
	} else if (strcmp(line, "loop") == 0) {
		bench_loop(t);
	} else if (strncmp(line, "flows ", 6) == 0) {
		step_flows(r, (unsigned)atoi(rest));
	} else {
		complain(r, "unknown step", line);
	}
}

/* "4000+$i" and "$i" become numbers. */
static void expand(const char *line, unsigned i, char *out, size_t room)
{
	size_t n = 0;

	while (*line != '\0' && n + 12 < room) {
		char *end;
		unsigned long base = strtoul(line, &end, 10);

		if (*line >= '0' && *line <= '9' && strncmp(end, "+$i", 3) == 0) {
			n += (size_t)sprintf(out + n, "%lu", base + i);
			line = end + 3;
		} else if (strncmp(line, "$i", 2) == 0) {
			n += (size_t)sprintf(out + n, "%u", i);
			line += 2;
		} else {
			out[n++] = *line++;
		}
	}
	out[n] = '\0';
}

static void finish(struct run *r)
{
	struct bench *t = world_bench(r->world);
	char why[200];

	step_none(r);
	if (t->w == NULL) {
		complain(r, "the case did nothing", "");
		return;
	}
	if (!bench_balanced(t, why, sizeof(why)))
		complain(r, "balance", why);
	bench_stop(t);
	if (!bench_balanced(t, why, sizeof(why)))
		complain(r, "balance after stop", why);
	if (t->buffers != 0)
		complain(r, "buffers were lost", "");
	if (t->w->counters.drops[DROP_Internal] != 0)
		complain(r, "a stage lost lanes", "");
}

static void feed(struct run *r, const char *file);

/* "include FILE" beside the including one. */
static void include(struct run *r, const char *name)
{
	const char *slash = strrchr(r->file, '/');
	const char *outer = r->file;
	unsigned line = r->line;
	char path[400];

	snprintf(path, sizeof(path), "%.*s%s", slash == NULL ? 0 : (int)(slash - r->file + 1),
		r->file, name);
	feed(r, path);
	r->file = outer;
	r->line = line;
}

static void feed(struct run *r, const char *file)
{
	char line[600], body[32][600], text[700];
	unsigned times = 0, n_body = 0, first = 0;
	FILE *f = fopen(file, "r");

	r->file = file;
	r->line = 0;
	if (f == NULL) {
		complain(r, strerror(errno), "");
		return;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		char *start = line + strspn(line, " \t");

		r->line++;
		start[strcspn(start, "\n")] = '\0';
		if (start[0] == '#' || start[0] == '\0')
			continue;
		if (strncmp(start, "include ", 8) == 0) {
			include(r, start + 8);
		} else if (strncmp(start, "repeat ", 7) == 0) {
			times = (unsigned)atoi(start + 7);
			n_body = 0;
			first = r->line;
		} else if (strcmp(start, "end") == 0) {
			unsigned here = r->line;

			for (unsigned i = 0; i < times; i++) {
				for (unsigned k = 0; k < n_body; k++) {
					expand(body[k], i, text, sizeof(text));
					r->line = first + 1 + k;
					step(r, text);
				}
			}
			r->line = here;
			times = 0;
		} else if (times > 0 && n_body < 32) {
			snprintf(body[n_body++], sizeof(body[0]), "%s", start);
		} else {
			step(r, start);
		}
	}
	fclose(f);
}

static unsigned run_file(const char *file)
{
	struct run r = {.file = file};

	if (world_new(&r.world) < 0) {
		printf("%s: %s\n", file, strerror(errno));
		return 1;
	}
	feed(&r, file);
	finish(&r);
	world_free(r.world);
	return r.failures;
}

int main(int argc, char **argv)
{
	unsigned failed = 0;

	for (int i = 1; i < argc; i++) {
		unsigned n = run_file(argv[i]);

		if (n != 0)
			printf("%s: %u failures\n", argv[i], n);
		failed += n != 0;
	}
	printf("%d passed, %u failed\n", argc - 1 - (int)failed, failed);
	return failed != 0 || argc < 2;
}
