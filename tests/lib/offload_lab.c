/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See offload_lab.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/packet.h"
#include "lib/offload_lab.h"

static uint64_t clock_us(void *arg)
{
	struct lab *lab = arg;

	return offload_fake_now_us(lab->fake);
}

static uint32_t now_ms(void *arg)
{
	return (uint32_t)(clock_us(arg) / 1000);
}

static void alarm_seen(void *arg, const char *what, const char *text)
{
	struct lab *lab = arg;

	lab->alarms++;
}

uint32_t lab_now_ms(struct lab *lab)
{
	return now_ms(lab);
}

void lab_config_default(struct lab_config *cfg)
{
	*cfg = (struct lab_config){.flows = 256, .capacity = 256};
	offload_config_default(&cfg->offload);
}

static void vports_init(struct lab *lab)
{
	for (uint16_t id = 1; id <= 3; id++) {
		struct vport *v = &lab->vport[id];

		*v = (struct vport){.id = id,
			.role = VPORT_POD,
			.mtu = 1500,
			.port = id - 1,
			.up = true,
			.mac = {2, 0, 0, 0, 0, (uint8_t)id}};
		lab->vports.at[id] = v;
		lab->hop[id] = (struct next_hop){.kind = NEXT_HOP_FORWARD,
			.l2_len = ETH_HLEN,
			.vport = id,
			.mtu = 1500,
			.id = id,
			.l2 = {4, 0, 0, 0, 0, (uint8_t)id, 2, 0, 0, 0, 0, (uint8_t)id, 8, 0}};
		atomic_store(&lab->dp.next_hops->at[id], &lab->hop[id]);
	}
	atomic_store(&lab->dp.vports, &lab->vports);
}

static int routes_init(struct lab *lab)
{
	struct route routes[6];

	for (uint16_t id = 1; id <= 3; id++) {
		uint8_t v6[16] = {0xfd, (uint8_t)id};

		routes[2 * id - 2] = (struct route){
			.prefix = {.addr = ip_from_v4(htonl(10u << 24 | (uint32_t)id << 16)),
				.len = 16,
				.family = IP_V4},
			.next_hop = id};
		routes[2 * id - 1] = (struct route){
			.prefix = {.addr = ip_from_v6(v6), .len = 16, .family = IP_V6},
			.next_hop = id};
	}
	if (fib_new(routes, 6, &lab->fib) < 0)
		return -ENOMEM;
	lab->routes.fib = lab->fib;
	lab->routes.generation = 1;
	atomic_store(&lab->dp.routes, &lab->routes);
	return 0;
}

int lab_init(struct lab *lab, const struct lab_config *cfg)
{
	struct flow_config fc = {.capacity = {cfg->flows, cfg->flows},
		.workers = 1,
		.salt = {1, 2},
		.grace = &lab->dp.grace};
	struct offload_config oc = cfg->offload;
	struct offload_env env = {.dp = &lab->dp,
		.now_ms = now_ms,
		.clock_us = clock_us,
		.alarm = alarm_seen,
		.arg = lab};
	int ret;

	memset(lab, 0, sizeof(*lab));
	if (flow_table_init(&fc, &lab->flows) < 0)
		return -ENOMEM;
	ret = dataplane_init(&lab->dp, lab->flows);
	if (ret < 0)
		return ret;
	lab->dp.n_workers = 1;
	vports_init(lab);
	lab->tunables = *atomic_load(&lab->dp.tunables);
	atomic_store(&lab->dp.tunables, &lab->tunables);
	lab->fake = offload_fake_new(cfg->capacity, 3);
	if (lab->fake == NULL || routes_init(lab) < 0)
		return -ENOMEM;
	offload_fake_advance_us(lab->fake, 10000000);
	oc.capacity = cfg->capacity;
	env.provider = offload_fake_provider(lab->fake);
	ret = engine_new(&oc, &env, &lab->e);
	for (uint16_t port = 0; port < 3; port++)
		offload_fake_port(lab->fake, port)->facts.mark_in_buffers = cfg->marks;
	for (uint16_t port = 0; port < 2 && ret == 0; port++)
		ret = ports_add(lab->e, port, port, NULL);
	return ret;
}

bool lab_fini(struct lab *lab)
{
	bool empty = engine_stop(lab->e);

	engine_free(lab->e);
	offload_fake_free(lab->fake);
	dataplane_fini(&lab->dp);
	fib_free(lab->fib);
	flow_table_fini(lab->flows);
	return empty;
}

/* --- flows -------------------------------------------------------------------------------------
 */

static void addr4(uint8_t out[16], uint32_t host)
{
	struct ip_addr a = ip_from_v4(htonl(host));

	memcpy(out, a.bytes, 16);
}

static void addr6(uint8_t out[16], uint8_t net, uint32_t host)
{
	memset(out, 0, 16);
	out[0] = 0xfd;
	out[1] = net;
	memcpy(out + 12, &host, 4);
}

/* As they are in a view: IPv4 mapped. */
static void keys(enum ip_family f, uint8_t proto, uint32_t n, struct flow_key6 k[2])
{
	uint16_t port = htons((uint16_t)(1024 + n % 60000));
	bool plain = n >= LAB_PLAIN;

	memset(k, 0, 2 * sizeof(*k));
	for (int d = 0; d < 2; d++)
		k[d].proto = proto;
	if (f == IP_V4) {
		addr4(k[0].src, 10u << 24 | 1 << 16 | (n / 60000 & 0xffff));
		addr4(k[0].dst, plain ? 10u << 24 | 2 << 16 | 1 : 10u << 24 | 96 << 16 | 1);
		addr4(k[1].src, 10u << 24 | 2 << 16 | 1);
	} else {
		addr6(k[0].src, 1, n / 60000);
		addr6(k[0].dst, plain ? 2 : 96, 1);
		addr6(k[1].src, 2, 1);
	}
	memcpy(k[1].dst, k[0].src, 16);
	k[0].sport = k[1].dport = port;
	k[0].dport = plain ? htons(8080) : htons(80);
	k[1].sport = htons(8080);
}

static void store_keys(struct lab *lab, enum ip_family f, uint32_t entry, const struct flow_key6 *k)
{
	for (int d = 0; d < 2; d++) {
		struct flow_key4 *k4 = &flow_array4(lab->flows)[entry].key[d];

		if (f == IP_V6) {
			flow_array6(lab->flows)[entry].key[d] = k[d];
			continue;
		}
		*k4 = (struct flow_key4){
			.sport = k[d].sport, .dport = k[d].dport, .proto = k[d].proto};
		memcpy(&k4->src, k[d].src + 12, 4);
		memcpy(&k4->dst, k[d].dst + 12, 4);
	}
}

uint32_t lab_flow(struct lab *lab, enum ip_family f, uint8_t proto, uint32_t n)
{
	uint32_t entry = flow_alloc(lab->flows, f, 0, now_ms(lab)), other;
	struct flow_key6 k[2];
	struct flow_meta *m;

	if (entry == FLOW_NONE)
		return entry;
	keys(f, proto, n, k);
	store_keys(lab, f, entry, k);
	m = flow_meta(lab->flows, f, entry);
	m->class = proto == IP_PROTO_TCP ? FLOW_CLASS_TCP : FLOW_CLASS_UDP;
	m->settled = proto == IP_PROTO_TCP ? FLOW_ESTABLISHED : FLOW_REPLIED;
	m->flags = n >= LAB_PLAIN ? 0 : FLOW_F_DNAT;
	flow_cold_array(lab->flows, f)[entry].created_ms = now_ms(lab) - 2000;
	if (flow_link(lab->flows, f, entry, DIR_REPLY, &other) < 0) {
		flow_unalloc(lab->flows, f, 0, entry);
		return FLOW_NONE;
	}
	atomic_store(&m->state, m->settled);
	if (flow_link(lab->flows, f, entry, DIR_FORWARD, &other) < 0) {
		flow_kill(lab->flows, f, entry);
		return FLOW_NONE;
	}
	return entry;
}

void lab_request(struct lab *lab, enum offload_request_kind kind, enum ip_family f, uint32_t entry,
	enum lane_dir dir, uint16_t len, uint8_t ttl)
{
	struct offload_request q = {
		.entry = entry,
		.generation = flow_meta(lab->flows, f, entry)->generation,
		.len = len,
		.ttl = ttl,
		.kind = (uint8_t)kind,
		.family = (uint8_t)f,
		.dir = dir == DIR_REPLY,
		.shift = atomic_load(&lab->dp.offload_shift) & 15,
		.marked = !lab->unmarked &&
			offload_word_state(lab_word(lab, f, entry, dir)) == OFFLOAD_PARTIAL,
		.in_vport = dir == DIR_FORWARD ? 1 : 2,
	};

	spsc_put(lab->e->ring[0], &q);
}

void lab_nominate(struct lab *lab, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t n)
{
	while (n-- > 0)
		lab_request(lab, OFFLOAD_NOMINATE, f, entry, dir, 1400, LAB_TTL);
}

void lab_offload(struct lab *lab, enum ip_family f, uint32_t entry)
{
	lab_nominate(lab, f, entry, DIR_REPLY, 2);
	lab_nominate(lab, f, entry, DIR_FORWARD, 8);
	lab_run_ms(lab, 30);
}

void lab_run_ms(struct lab *lab, uint32_t ms)
{
	uint64_t end = clock_us(lab) + (uint64_t)ms * 1000;
	uint64_t beside = 0;

	while (clock_us(lab) < end) {
		/* A turn that found nothing to wait for took some time all the same. */
		uint64_t wait = engine_turn(lab->e), left;

		if (wait == 0)
			wait = 100;
		left = end > clock_us(lab) ? end - clock_us(lab) : 0;
		offload_fake_advance_us(lab->fake, wait < left ? wait : left);
		if (clock_us(lab) < beside)
			continue;
		beside = clock_us(lab) + 10000;
		grace_complete(&lab->dp.grace, grace_open(&lab->dp.grace));
		flow_sweep(lab->flows, 0, now_ms(lab), &lab->tunables.timeouts);
	}
}

bool lab_packet(struct lab *lab, enum ip_family f, uint32_t entry, enum lane_dir dir,
	uint8_t tcp_flags, uint32_t packets)
{
	struct offload_rule like;
	struct flow_key6 k;

	if (f == IP_V6) {
		k = flow_array6(lab->flows)[entry].key[dir];
	} else {
		const struct flow_key4 *k4 = &flow_array4(lab->flows)[entry].key[dir];

		memset(&k, 0, sizeof(k));
		addr4(k.src, ntohl(k4->src));
		addr4(k.dst, ntohl(k4->dst));
		k.sport = k4->sport;
		k.dport = k4->dport;
		k.proto = k4->proto;
	}
	memset(&like, 0, sizeof(like));
	like.match.port = dir == DIR_FORWARD ? 0 : 1;
	like.match.family = (uint8_t)f;
	like.match.proto = k.proto;
	memcpy(like.match.src.bytes, k.src, 16);
	memcpy(like.match.dst.bytes, k.dst, 16);
	like.match.sport = k.sport;
	like.match.dport = k.dport;
	return offload_fake_packet(
		lab->fake, &like, LAB_TTL, tcp_flags, packets, (uint64_t)packets * 1400);
}

uint32_t lab_word(struct lab *lab, enum ip_family f, uint32_t entry, enum lane_dir dir)
{
	return flow_cold_array(lab->flows, f)[entry].offload[dir];
}

bool lab_in_hardware(struct lab *lab, enum ip_family f, uint32_t entry)
{
	return offload_word_state(lab_word(lab, f, entry, DIR_FORWARD)) == OFFLOAD_HARDWARE &&
		offload_word_state(lab_word(lab, f, entry, DIR_REPLY)) == OFFLOAD_HARDWARE;
}

bool lab_revalidate(struct lab *lab)
{
	uint64_t ticket = engine_revalidate(lab->e, false);

	for (int i = 0; i < 6000 && lab->e->pass_done < ticket; i++)
		lab_run_ms(lab, 10);
	return lab->e->pass_done >= ticket;
}

/* --- the same set everywhere -------------------------------------------------------------------
 */

struct census {
	struct lab *lab;
	uint32_t rules, strangers;
};

static bool same_rule(
	const struct lab *lab, const struct resident *r, int d, const struct offload_rule *rule)
{
	return r->state != RESIDENT_FREE && r->leg[d].handle != NULL &&
		r->leg[d].fingerprint == offload_fingerprint(rule);
}

static void count_rule(void *arg, const struct offload_rule *rule)
{
	struct census *c = arg;

	c->rules++;
	for (uint32_t slot = 0; slot < c->lab->e->high; slot++)
		for (int d = 0; d < 2; d++)
			if (same_rule(c->lab, &c->lab->e->at[slot], d, rule))
				return;
	c->strangers++;
}

int lab_check(struct lab *lab)
{
	uint32_t legs = 0, busy = 0, residents = 0;
	struct census c = {.lab = lab};

	offload_fake_foreach(lab->fake, count_rule, &c);
	for (uint32_t slot = 0; slot < lab->e->high; slot++) {
		const struct resident *r = &lab->e->at[slot];

		residents += r->state != RESIDENT_FREE;
		for (int d = 0; d < 2 && r->state != RESIDENT_FREE; d++)
			legs += r->leg[d].handle != NULL;
	}
	for (int f = 0; f < IP_FAMILIES; f++)
		for (uint32_t e = 0; e < flow_capacity(lab->flows, f); e++)
			for (int d = 0; d < 2; d++)
				busy += offload_busy(lab_word(lab, f, e, d));
	if (c.rules == legs && legs == busy && c.strangers == 0 && lab->e->cap.used == legs &&
		lab->e->n_in + lab->e->n_leaving == residents &&
		offload_fake_handles(lab->fake) == legs)
		return 0;
	fprintf(stderr,
		"device %u rules (%u strangers, %u handles), engine %u rules (used %u) of %u "
		"flows (%u in, %u leaving), %u busy words\n",
		c.rules, c.strangers, offload_fake_handles(lab->fake), legs, lab->e->cap.used,
		residents, lab->e->n_in, lab->e->n_leaving, busy);
	return -EINVAL;
}
