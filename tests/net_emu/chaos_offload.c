/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Invariants of offload under random faults and churn on the emulated NIC; results are emulated.
 *
 *	chaos_offload [--seconds N] [--seed N] [--profile NAME]
 *
 * Every kind of trouble comes once in random order, then all again in another, under traffic; see
 * chaos.h for the kinds and for what is checked. At the end: what happened, by kind. A kind that
 * did not happen and a check that was not made fail the run as a broken invariant does. The seed
 * decides what is done in which order; threads make the rest of it, so a seed is a hint and no
 * replay. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_ethdev.h>

#include "net_emu/chaos.h"

static const bool all_there[4] = {true, true, true, true};
static const bool all_ready[ENDPOINTS] = {true, true};

/* --- the NIC fails -----------------------------------------------------------------------------
 */

static void heal(struct chaos *c)
{
	static const char *const zero[] = {"ins_us", "del_us", "query_us", "fail_every", "fail_nth",
		"fail_next", "destroy_fail", "flush_fail", "query_fail", "stale_ms", "nohit",
		"lost_aged"};

	for (size_t i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
		chaos_set(c, zero[i], 0);
	chaos_set(c, "cap", 1000000);
	chaos_set(c, "counters", 1000000);
	chaos_set(c, "fail_errno", EIO);
	chaos_set(c, "destroy_errno", EIO);
}

static void inserts_fail(struct chaos *c, int error, long n)
{
	chaos_set(c, "fail_errno", error);
	chaos_set(c, "fail_next", n);
}

static int one_of(struct chaos *c, const int *errors, uint32_t n)
{
	return errors[chaos_below(c, n)];
}

#define ONE_OF(c, ...) \
	one_of((c), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* True: it was of that kind. */
static bool device_fails(struct chaos *c, enum chaos_kind kind)
{
	switch (kind) {
	case KIND_capacity:
		chaos_set(c, "cap", 10 + chaos_below(c, RULES));
		return true;
	case KIND_counters_out:
		chaos_set(c, "counters", 10 + chaos_below(c, RULES));
		return true;
	case KIND_latency:
		chaos_set(c, "ins_us", chaos_below(c, 2000));
		chaos_set(c, "del_us", chaos_below(c, 2000));
		chaos_set(c, "query_us", chaos_below(c, 200));
		return true;
	case KIND_insert_every:
		chaos_set(c, "fail_errno", ONE_OF(c, EIO, EBUSY, ETIMEDOUT, ENOMEM));
		chaos_set(c, "fail_every", 2 + chaos_below(c, 10));
		return true;
	case KIND_insert_shape:
		inserts_fail(c, ONE_OF(c, ENOTSUP, EINVAL, ENOSYS, EPERM), 1);
		return true;
	case KIND_insert_full:
		inserts_fail(c, ONE_OF(c, ENOSPC, ENOMEM, EAGAIN, ENOENT), 1 + chaos_below(c, 4));
		return true;
	case KIND_insert_exists:
		inserts_fail(c, EEXIST, 1);
		return true;
	case KIND_insert_device:
		inserts_fail(c, ONE_OF(c, EIO, EBUSY, ETIMEDOUT), 20);
		return true;
	case KIND_destroy_once:
		chaos_set(c, "destroy_errno", ONE_OF(c, EIO, EBUSY, ETIMEDOUT, EAGAIN));
		chaos_set(c, "destroy_fail", 1 + chaos_below(c, 2));
		return true;
	case KIND_destroy_more:
		chaos_set(c, "destroy_errno", ONE_OF(c, EIO, EBUSY, EINVAL, ENOENT));
		chaos_set(c, "destroy_fail", 3 + chaos_below(c, 4));
		return true;
	case KIND_flush_fails:
		chaos_set(c, "destroy_fail", 3);
		chaos_set(c, "flush_fail", 1);
		return true;
	case KIND_query_fails:
		chaos_set(c, "query_fail", 1 + chaos_below(c, 50));
		return true;
	case KIND_stale_counters:
		chaos_set(c, "stale_ms", 100 + chaos_below(c, 900));
		return true;
	case KIND_silent:
		chaos_set(c, "nohit", 1);
		return true;
	case KIND_lost_event:
		chaos_set(c, "lost_aged", 1 + chaos_below(c, 5));
		return true;
	default:
		return false;
	}
}

/* --- ports come and go -------------------------------------------------------------------------
 */

static void nic_again(struct chaos *c, bool polite)
{
	chaos_nic_down(c, polite);
	chaos_nic_up(c);
	chaos_publish_vports(c, all_there);
	chaos_ports_add(c);
}

static void pull_out(struct chaos *c)
{
	c->pulled = true;
	if (net_emu_command(c->nic, "remove", NULL, 0) != 0)
		chaos_die("the device cannot be pulled out");
	/* Workers and engine go on against nothing for a while. */
	chaos_traffic(c, 40);
	chaos_acknowledge(c, false);
	nic_again(c, false);
}

static void port_restart(struct chaos *c)
{
	unsigned vf = 1 + chaos_below(c, 2);

	if (rim_port_fence(c->rim, c->ethdev[vf], true) != 0 ||
		rte_eth_dev_stop(c->ethdev[vf]) != 0)
		chaos_die("port %u does not stop", vf);
	chaos_traffic(c, 10);
	if (rte_eth_dev_start(c->ethdev[vf]) != 0)
		chaos_die("port %u does not start", vf);
	rim_port_fence(c->rim, c->ethdev[vf], false);
}

static void link_flaps(struct chaos *c)
{
	unsigned port = chaos_below(c, PORTS);
	char line[32];

	snprintf(line, sizeof(line), "link %u down", port);
	net_emu_command(c->nic, line, NULL, 0);
	chaos_traffic(c, 10);
	snprintf(line, sizeof(line), "link %u up", port);
	net_emu_command(c->nic, line, NULL, 0);
}

static void port_again(struct chaos *c)
{
	unsigned port = chaos_below(c, PORTS);

	chaos_lock(c);
	ports_remove(c->e, c->index[port]);
	chaos_unlock(c);
	chaos_check(c);
	chaos_traffic(c, 5);
	chaos_ports_add(c);
}

static void killed(struct chaos *c, bool flush_fails)
{
	uint64_t left;

	chaos_engine_down(c, false);
	left = chaos_counters(c).rules;
	c->killed_at = c->frame;
	chaos_traffic(c, 10);
	if (flush_fails)
		chaos_set(c, "flush_fail", 1 + chaos_below(c, 2));
	chaos_engine_up(c);
	c->killed_at = c->frame;
	if (left != 0)
		chaos_check(c);
	c->checks[CHECK_stale_gone] += left != 0;
}

static bool ports_move(struct chaos *c, enum chaos_kind kind)
{
	switch (kind) {
	case KIND_link:
		link_flaps(c);
		return true;
	case KIND_port_restart:
		port_restart(c);
		return true;
	case KIND_port_again:
		port_again(c);
		return true;
	case KIND_unplugged:
		pull_out(c);
		return true;
	case KIND_replaced:
		heal(c);
		nic_again(c, true);
		return true;
	case KIND_killed:
	case KIND_killed_no_flush:
		killed(c, kind == KIND_killed_no_flush);
		return true;
	default:
		return false;
	}
}

/* --- the configuration moves -------------------------------------------------------------------
 */

static void neighbour_moves(struct chaos *c)
{
	uint16_t vport = (uint16_t)(1 + chaos_below(c, 3));

	c->truth.mac_since[vport] = 0;
	c->truth.mac[vport]++;
	chaos_publish_next_hop(c, vport, 1500);
	chaos_acknowledge(c, false);
	c->truth.mac_since[vport] = c->frame;
}

static void vport_leaves(struct chaos *c)
{
	uint16_t vport = (uint16_t)(1 + chaos_below(c, 2));
	bool there[4] = {true, true, true, true};

	there[vport] = false;
	chaos_vport(c, vport, false);
	chaos_publish_vports(c, there);
	chaos_acknowledge(c, false);
	c->truth.gone_vport[vport] = c->frame;
	chaos_traffic(c, 20);
	chaos_check(c);
	c->truth.gone_vport[vport] = 0;
	chaos_publish_vports(c, all_there);
	chaos_vport(c, vport, true);
}

static void route_leads_nowhere(struct chaos *c)
{
	chaos_publish_routes(c, true);
	chaos_acknowledge(c, false);
	c->truth.hole_since = c->frame;
	chaos_traffic(c, 20);
	chaos_check(c);
	c->truth.hole_since = 0;
	chaos_publish_routes(c, false);
}

static void endpoint_leaves(struct chaos *c)
{
	unsigned which = chaos_below(c, ENDPOINTS);
	bool ready[ENDPOINTS] = {true, true};

	ready[which] = false;
	chaos_publish_services(c, ready);
	chaos_acknowledge(c, false);
	c->truth.gone_since[which] = c->frame;
	chaos_traffic(c, 20);
	chaos_check(c);
	c->truth.gone_since[which] = 0;
	chaos_publish_services(c, all_ready);
}

static void mtu_shrinks(struct chaos *c)
{
	uint16_t vport = (uint16_t)(1 + chaos_below(c, 3));

	chaos_publish_next_hop(c, vport, 1300);
	chaos_acknowledge(c, false);
	chaos_traffic(c, 10);
	chaos_publish_next_hop(c, vport, 1500);
}

static void configure(struct chaos *c, bool enabled, uint32_t capacity)
{
	c->cfg.enabled = enabled;
	c->cfg.capacity = capacity;
	chaos_lock(c);
	engine_configure(c->e, &c->cfg);
	chaos_unlock(c);
}

static void flows_die(struct chaos *c)
{
	struct flow_view v;

	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t i = 0; i < FLOWS; i++)
			if (chaos_below(c, 4) == 0 &&
				flow_read(c->dp->flows, (enum ip_family)f, i, &v) == 0)
				flow_kill_id(c->dp->flows, (enum ip_family)f, i, v.meta.generation);
	c->killed_at = c->frame;
}

static bool control_moves(struct chaos *c, enum chaos_kind kind)
{
	switch (kind) {
	case KIND_all_off:
		chaos_acknowledge(c, true);
		return true;
	case KIND_disabled:
		configure(c, false, RULES);
		chaos_acknowledge(c, false);
		chaos_check(c);
		configure(c, true, RULES);
		return true;
	case KIND_smaller:
		configure(c, true, 16 + chaos_below(c, RULES - 16));
		return true;
	case KIND_neighbour:
		neighbour_moves(c);
		return true;
	case KIND_vport_gone:
		vport_leaves(c);
		return true;
	case KIND_blackhole:
		route_leads_nowhere(c);
		return true;
	case KIND_mtu:
		mtu_shrinks(c);
		return true;
	case KIND_endpoint:
		endpoint_leaves(c);
		return true;
	case KIND_flows_killed:
		flows_die(c);
		return true;
	default:
		return false;
	}
}

/* --- the run -----------------------------------------------------------------------------------
 */

static void shuffle(struct chaos *c, enum chaos_kind deck[KINDS])
{
	for (uint32_t i = 0; i < KINDS; i++)
		deck[i] = (enum chaos_kind)i;
	for (uint32_t i = KINDS; i > 1; i--) {
		uint32_t k = chaos_below(c, i);
		enum chaos_kind t = deck[i - 1];

		deck[i - 1] = deck[k];
		deck[k] = t;
	}
}

/* So long under traffic, compared all the time. */
static void run_for(struct chaos *c, double seconds)
{
	double end = chaos_now() + seconds;

	do {
		chaos_traffic(c, 4);
		chaos_check(c);
	} while (chaos_now() < end);
}

static void quiet(struct chaos *c)
{
	heal(c);
	configure(c, true, RULES);
	if (chaos_needs_nic(c))
		nic_again(c, false);
	chaos_calm(c);
	run_for(c, 0.3);
}

static void one(struct chaos *c, enum chaos_kind kind, double seconds)
{
	if (getenv("SLUICE_TEST_LOG") != NULL)
		fprintf(stderr, "  kind %d\n", kind);
	c->kinds[kind]++;
	if (!device_fails(c, kind) && !ports_move(c, kind) && !control_moves(c, kind))
		chaos_die("a kind that nobody does");
	run_for(c, seconds);
	/* Half of the faults stay while others come. */
	if (chaos_below(c, 2) != 0)
		heal(c);
	/* The last resort leaves a port stopped: an operator brings it back. */
	if (chaos_needs_nic(c))
		nic_again(c, false);
}

static void run(struct chaos *c, double seconds)
{
	enum chaos_kind deck[KINDS];
	double each = seconds / 2 / KINDS;
	uint32_t n = 0;

	c->end = chaos_now() + seconds;
	run_for(c, 0.5);
	quiet(c);
	/* All of them at least once, however slow the machine is. */
	for (; n < KINDS || chaos_now() < c->end; n++) {
		if (n % KINDS == 0)
			shuffle(c, deck);
		one(c, deck[n % KINDS], each < 0.4 ? each : 0.4);
		if (n % 8 == 7)
			quiet(c);
	}
	quiet(c);
}

/* --- the report --------------------------------------------------------------------------------
 */

static unsigned tell(const char *what, const uint64_t *counts, const char *const *names,
	const char *const *texts, unsigned n)
{
	unsigned never = 0;

	printf("== %s\n", what);
	for (unsigned i = 0; i < n; i++) {
		printf("%-16s %12" PRIu64 "  %s%s\n", names[i], counts[i], texts[i],
			counts[i] == 0 ? "   NEVER" : "");
		never += counts[i] == 0;
	}
	return never;
}

static unsigned report(struct chaos *c, double seconds)
{
#define X(name, text) #name,
	static const char *const kinds[] = {CHAOS_KINDS(X)}, *const checks[] = {CHAOS_CHECKS(X)};
#undef X
#define X(name, text) text,
	static const char *const kind_texts[] = {CHAOS_KINDS(X)};
	static const char *const check_texts[] = {CHAOS_CHECKS(X)};
#undef X
	const struct offload_stats *s = &c->before;
	const struct net_emu_counters *n = &c->nic_before;
	unsigned never = tell("trouble", c->kinds, kinds, kind_texts, KINDS);

	never += tell("checks", c->checks, checks, check_texts, CHECKS);
	printf("== emulated, profile %s, %.0f s\n", c->profile, seconds);
	printf("rules: %" PRIu64 " inserted, %" PRIu64 " removed (%" PRIu64 " revoked, %" PRIu64
	       " ended, %" PRIu64 " evicted, %" PRIu64 " demoted), %" PRIu64
	       " unconfirmed, %" PRIu64 " escalations, %" PRIu64 " passes, %u alarms\n",
		s->inserted, s->removed, s->revoked, s->ended, s->evicted, s->demoted,
		s->unconfirmed, s->escalations, s->passes, c->alarms);
	printf("NIC: %" PRIu64 " creates, %" PRIu64 " failed, %" PRIu64 " destroys, %" PRIu64
	       " failed\n",
		n->creates, n->creates_failed, n->destroys, n->destroys_failed);
	printf("frames: %" PRIu64 " in hardware, %" PRIu64 " in software, %" PRIu64
	       " answers seen\n",
		n->forwarded, n->to_cpu, chaos_answered());
	if (s->inserted == 0 || s->revoked == 0 || n->forwarded == 0 || n->to_cpu == 0)
		never++;
	printf("==\nseed %" PRIu64 ": %" PRIu64 " broken, %u never: %s\n", c->seed, c->broken,
		never, c->broken == 0 && never == 0 ? "OK" : "FAILED");
	return never;
}

static int usage(const char *program)
{
	fprintf(stderr, "usage: %s [--seconds N] [--seed N] [--profile NAME]\n", program);
	return 2;
}

int main(int argc, char **argv)
{
	static struct chaos c = {.profile = "mlx5-sws", .lock = PTHREAD_MUTEX_INITIALIZER};
	double seconds = 12, start;
	unsigned never;

	c.seed = (uint64_t)time(NULL);
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return usage(argv[0]);
		if (strcmp(argv[i], "--seconds") == 0)
			seconds = atof(argv[i + 1]);
		else if (strcmp(argv[i], "--seed") == 0)
			c.seed = strtoull(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--profile") == 0)
			c.profile = argv[i + 1];
		else
			return usage(argv[0]);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %" PRIu64 "\n", c.seed);
	c.random = c.seed;
	offload_config_default(&c.cfg);
	c.cfg.capacity = RULES;
	c.cfg.min_age_ms = 20;
	c.cfg.min_pps = 64;
	c.cfg.idle_demote_ms = 2000;
	c.cfg.revoke_deadline_ms = 1000;
	start = chaos_now();
	chaos_switch_up(&c);
	heal(&c);
	chaos_traffic_init(&c);
	chaos_engine_up(&c);
	run(&c, seconds);
	chaos_nic_down(&c, true);
	chaos_engine_down(&c, true);
	chaos_switch_down(&c);
	never = report(&c, chaos_now() - start);
	return c.broken == 0 && never == 0 ? 0 : 1;
}
