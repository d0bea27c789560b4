/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The device of rules in memory (see offload_fake.h): slots in an array, found by a hash of what
 * they match, oldest first as a device of Mellanox' acts on duplicates. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/offload_fake.h"

#define NIL UINT32_MAX

/* A handle outlives its rule after a flush or an unplugged port: until it is forgotten. */
struct offload_handle {
	struct offload_rule rule;
	struct offload_count count;
	uint16_t port; /* where it was made */
	bool held;     /* the provider's user has it */
	bool rule_in;  /* the device has it */
	uint32_t next; /* in the bucket, or in the list of free slots */
};

struct fault {
	uint32_t nth, times;
	int error;
};

struct offload_fake {
	struct offload_provider provider;
	pthread_mutex_t lock;
	struct offload_fake_port port[OFFLOAD_FAKE_PORTS];
	uint32_t capacity, n_slots, n_rules, n_handles, free, mask;
	uint32_t *bucket;
	struct offload_handle *slot;
	struct fault fault[OFFLOAD_FAKE_CALLS];
	uint32_t latency_us[OFFLOAD_FAKE_CALLS];
	uint64_t calls[OFFLOAD_FAKE_CALLS];
	uint64_t now_us;
};

static int refuse(struct offload_error *err, int error, uint8_t type, const char *cause)
{
	if (err != NULL) {
		err->type = type;
		snprintf(err->cause, sizeof(err->cause), "%s", cause);
	}
	return error;
}

/* What every call does first: takes time, is counted, may fail. */
static int enter(struct offload_fake *f, enum offload_fake_call call, struct offload_error *err)
{
	struct fault *fault = &f->fault[call];

	if (err != NULL)
		memset(err, 0, sizeof(*err));
	f->calls[call]++;
	f->now_us += f->latency_us[call];
	if (fault->nth == 0)
		return 0;
	if (fault->nth > 1) {
		fault->nth--;
		return 0;
	}
	if (--fault->times == 0)
		fault->nth = 0;
	return refuse(err, fault->error, 1, "fault asked for");
}

static struct offload_fake_port *port_of(struct offload_fake *f, uint16_t port)
{
	return port < OFFLOAD_FAKE_PORTS && f->port[port].present ? &f->port[port] : NULL;
}

/* --- rules by what they match ----------------------------------------------------------------- */

struct key {
	uint16_t port, vlan;
	uint8_t family, proto, tunnel, zero;
	uint32_t vni;
	uint16_t sport, dport;
	struct ip_addr src, dst;
};

static struct key key_of(const struct offload_rule *r)
{
	struct key k;

	memset(&k, 0, sizeof(k));
	k.port = r->match.port;
	k.vlan = r->match.vlan;
	k.family = r->match.family;
	k.proto = r->match.proto;
	k.tunnel = r->match.tunnel.kind;
	k.vni = r->match.tunnel.kind != OFFLOAD_TUNNEL_NONE ? r->match.tunnel.vni : 0;
	k.sport = r->match.sport;
	k.dport = r->match.dport;
	k.src = r->match.src;
	k.dst = r->match.dst;
	return k;
}

static uint32_t bucket_of(const struct offload_fake *f, const struct key *k)
{
	const uint8_t *p = (const uint8_t *)k;
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < sizeof(*k); i += 4) {
		uint32_t w;

		memcpy(&w, p + i, 4);
		h = (h ^ w) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	return (uint32_t)h & f->mask;
}

static struct offload_handle *find(struct offload_fake *f, const struct offload_rule *like)
{
	struct key want = key_of(like), k;

	for (uint32_t i = f->bucket[bucket_of(f, &want)]; i != NIL; i = f->slot[i].next) {
		k = key_of(&f->slot[i].rule);
		if (memcmp(&k, &want, sizeof(k)) == 0)
			return &f->slot[i];
	}
	return NULL;
}

/* Behind those that are there, so that the oldest is found first. */
static void link_rule(struct offload_fake *f, struct offload_handle *h)
{
	struct key k = key_of(&h->rule);
	uint32_t *at = &f->bucket[bucket_of(f, &k)];

	while (*at != NIL)
		at = &f->slot[*at].next;
	*at = (uint32_t)(h - f->slot);
	h->next = NIL;
	h->rule_in = true;
	f->n_rules++;
}

static void unlink_rule(struct offload_fake *f, struct offload_handle *h)
{
	struct key k = key_of(&h->rule);
	uint32_t *at = &f->bucket[bucket_of(f, &k)];

	while (*at != (uint32_t)(h - f->slot))
		at = &f->slot[*at].next;
	*at = h->next;
	h->rule_in = false;
	f->n_rules--;
}

static void release(struct offload_fake *f, struct offload_handle *h)
{
	h->held = false;
	h->next = f->free;
	f->free = (uint32_t)(h - f->slot);
	f->n_handles--;
}

static void drop_rules(struct offload_fake *f, uint16_t port)
{
	for (uint32_t i = 0; i < f->n_slots; i++)
		if (f->slot[i].rule_in && f->slot[i].port == port)
			unlink_rule(f, &f->slot[i]);
}

/* --- what a port takes ------------------------------------------------------------------------ */

static int check_full(const struct offload_fake_port *p, const struct offload_rule *r,
	const struct offload_dialect *d, struct offload_error *err)
{
	static const uint8_t none[6];

	if (p->no_full)
		return refuse(err, -ENOTSUP, 6, "transfer is not supported");
	if (!(p->port_dialects & 1u << d->port))
		return refuse(err, -ENOTSUP, 13, "port item is not supported");
	if (r->match.no_tcp_control && p->no_tcp_flags)
		return refuse(err, -ENOTSUP, 12, "TCP flags mask is not supported");
	if (p->no_mac_match &&
		(memcmp(r->match.dmac, none, 6) != 0 || memcmp(r->match.smac, none, 6) != 0))
		return refuse(err, -ENOTSUP, 12, "Ethernet address mask is not supported");
	if (r->to.set &
		(OFFLOAD_SET_SRC | OFFLOAD_SET_DST | OFFLOAD_SET_SPORT | OFFLOAD_SET_DPORT)) {
		if (!(p->nat_dialects & 1u << d->nat))
			return refuse(err, -ENOTSUP, 16, "rewrite is not supported");
		if (p->no_ipv6_nat && r->match.family == IP_V6)
			return refuse(err, -ENOTSUP, 16, "IPv6 rewrite is not supported");
	}
	if ((r->to.set & OFFLOAD_DEC_TTL) && !(p->ttl_dialects & 1u << d->ttl))
		return refuse(err, -ENOTSUP, 16, "TTL action is not supported");
	if (r->to.tunnel.kind != OFFLOAD_TUNNEL_NONE && !(p->encap_dialects & 1u << d->encap))
		return refuse(err, -ENOTSUP, 16, "encapsulation is not supported");
	return 0;
}

static int check(struct offload_fake *f, const struct offload_rule *r,
	const struct offload_dialect *d, bool validate, struct offload_error *err)
{
	struct offload_fake_port *p = port_of(f, r->match.port);

	if (p == NULL)
		return refuse(err, -ENODEV, 1, "no such port");
	if (validate && p->validate_lies)
		return 0;
	if (d->group != 0 && p->no_group_jump)
		return refuse(err, -ENOTSUP, 3, "group is not supported");
	if (r->fate == OFFLOAD_FATE_MARK)
		return p->no_partial ? refuse(err, -ENOTSUP, 16, "MARK is not supported") : 0;
	if (r->fate == OFFLOAD_FATE_PORT && port_of(f, r->port) == NULL)
		return refuse(err, -EINVAL, 17, "no such port to go to");
	return check_full(p, r, d, err);
}

/* --- the provider ----------------------------------------------------------------------------- */

static int fake_facts(void *arg, uint16_t port, struct offload_port_facts *out)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_FACTS, NULL);
	if (rc == 0 && port_of(f, port) == NULL)
		rc = -ENODEV;
	if (rc == 0)
		*out = f->port[port].facts;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fake_validate(void *arg, const struct offload_rule *rule,
	const struct offload_dialect *dialect, struct offload_error *err)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_VALIDATE, err);
	if (rc == 0)
		rc = check(f, rule, dialect, true, err);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fake_nonsense(void *arg, uint16_t port, unsigned which, struct offload_error *err)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_NONSENSE, err);
	if (rc == 0 && port_of(f, port) == NULL)
		rc = refuse(err, -ENODEV, 1, "no such port");
	else if (rc == 0 && !f->port[port].nonsense)
		rc = refuse(err, -EINVAL, 1, "nonsense");
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fake_insert(void *arg, const struct offload_rule *rule,
	const struct offload_dialect *dialect, struct offload_handle **out,
	struct offload_error *err)
{
	struct offload_fake *f = arg;
	struct offload_handle *h;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_INSERT, err);
	if (rc == 0)
		rc = check(f, rule, dialect, false, err);
	if (rc == 0 && !f->port[rule->match.port].duplicates && find(f, rule) != NULL)
		rc = refuse(err, -EEXIST, 2, "such a rule exists");
	if (rc == 0 && (f->n_rules >= f->capacity || f->free == NIL))
		rc = refuse(err, -ENOSPC, 1, "table is full");
	if (rc == 0) {
		h = &f->slot[f->free];
		f->free = h->next;
		memset(&h->count, 0, sizeof(h->count));
		h->rule = *rule;
		h->port = rule->fate == OFFLOAD_FATE_MARK || dialect->port == OFFLOAD_PORT_IMPLICIT
			? rule->match.port
			: f->port[rule->match.port].facts.proxy;
		h->held = true;
		f->n_handles++;
		link_rule(f, h);
		*out = h;
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

/* A handle whose rule went with its port: drivers answer -EIO then. */
static int gone(struct offload_error *err)
{
	return refuse(err, -EIO, 1, "device was removed");
}

static int fake_remove(void *arg, struct offload_handle *handle, struct offload_error *err)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_REMOVE, err);
	if (rc == 0 && !handle->held)
		abort(); /* used after it was given back */
	if (rc == 0 && !handle->rule_in)
		rc = gone(err);
	if (rc == 0) {
		unlink_rule(f, handle);
		release(f, handle);
	}
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fake_query(void *arg, struct offload_handle *handle, struct offload_count *out,
	struct offload_error *err)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_QUERY, err);
	if (rc == 0 && !handle->held)
		abort();
	if (rc == 0 && !handle->rule_in)
		rc = gone(err);
	if (rc == 0 && !handle->rule.count)
		rc = refuse(err, -ENOTSUP, 16, "the rule does not count");
	if (rc == 0)
		*out = handle->count;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fake_flush(void *arg, uint16_t port, struct offload_error *err)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_FLUSH, err);
	if (rc == 0 && port_of(f, port) == NULL)
		rc = refuse(err, -ENODEV, 1, "no such port");
	if (rc == 0)
		drop_rules(f, port);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fake_stop(void *arg, uint16_t port)
{
	struct offload_fake *f = arg;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = enter(f, OFFLOAD_FAKE_STOP, NULL);
	if (rc == 0 && port_of(f, port) == NULL)
		rc = -ENODEV;
	if (rc == 0)
		f->port[port].stopped = true;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static void fake_forget(void *arg, struct offload_handle *handle)
{
	struct offload_fake *f = arg;

	pthread_mutex_lock(&f->lock);
	(void)enter(f, OFFLOAD_FAKE_FORGET, NULL);
	if (!handle->held)
		abort();
	if (handle->rule_in)
		unlink_rule(f, handle);
	release(f, handle);
	pthread_mutex_unlock(&f->lock);
}

/* --- the test's side -------------------------------------------------------------------------- */

static void port_init(struct offload_fake_port *p)
{
	p->present = true;
	p->port_dialects = (1 << OFFLOAD_PORT_DIALECTS) - 1;
	p->nat_dialects = (1 << OFFLOAD_NAT_DIALECTS) - 1;
	p->ttl_dialects = (1 << OFFLOAD_TTL_DIALECTS) - 1;
	p->encap_dialects = (1 << OFFLOAD_ENCAP_DIALECTS) - 1;
	p->facts.mark_in_buffers = true;
	snprintf(p->facts.driver, sizeof(p->facts.driver), "fake");
}

struct offload_fake *offload_fake_new(uint32_t capacity, unsigned n_ports)
{
	struct offload_fake *f = calloc(1, sizeof(*f));
	uint32_t buckets = 16;

	if (f == NULL)
		return NULL;
	while (buckets < capacity)
		buckets *= 2;
	pthread_mutex_init(&f->lock, NULL);
	f->provider = (struct offload_provider){.name = "fake",
		.arg = f,
		.facts = fake_facts,
		.validate = fake_validate,
		.validate_nonsense = fake_nonsense,
		.insert = fake_insert,
		.remove = fake_remove,
		.query = fake_query,
		.flush = fake_flush,
		.stop = fake_stop,
		.forget = fake_forget};
	for (unsigned i = 0; i < n_ports && i < OFFLOAD_FAKE_PORTS; i++) {
		port_init(&f->port[i]);
		f->port[i].facts.representor = i != 0;
	}
	f->capacity = f->n_slots = capacity;
	f->mask = buckets - 1;
	f->bucket = malloc(buckets * sizeof(*f->bucket));
	f->slot = calloc(capacity + 1, sizeof(*f->slot));
	if (f->bucket == NULL || f->slot == NULL) {
		offload_fake_free(f);
		return NULL;
	}
	memset(f->bucket, 0xff, buckets * sizeof(*f->bucket));
	for (uint32_t i = 0; i < capacity; i++)
		f->slot[i].next = i + 1 < capacity ? i + 1 : NIL;
	f->free = capacity > 0 ? 0 : NIL;
	return f;
}

void offload_fake_free(struct offload_fake *f)
{
	if (f == NULL)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f->bucket);
	free(f->slot);
	free(f);
}

const struct offload_provider *offload_fake_provider(struct offload_fake *f)
{
	return &f->provider;
}

struct offload_fake_port *offload_fake_port(struct offload_fake *f, uint16_t port)
{
	return &f->port[port];
}

void offload_fake_set_capacity(struct offload_fake *f, uint32_t rules)
{
	pthread_mutex_lock(&f->lock);
	f->capacity = rules < f->n_slots ? rules : f->n_slots;
	pthread_mutex_unlock(&f->lock);
}

void offload_fake_set_latency(struct offload_fake *f, enum offload_fake_call call, uint32_t us)
{
	pthread_mutex_lock(&f->lock);
	f->latency_us[call] = us;
	pthread_mutex_unlock(&f->lock);
}

void offload_fake_set_fault(struct offload_fake *f, enum offload_fake_call call, uint32_t nth,
	uint32_t times, int error)
{
	pthread_mutex_lock(&f->lock);
	f->fault[call] = (struct fault){.nth = nth, .times = times, .error = error};
	pthread_mutex_unlock(&f->lock);
}

void offload_fake_unplug(struct offload_fake *f, uint16_t port)
{
	pthread_mutex_lock(&f->lock);
	drop_rules(f, port);
	f->port[port].present = false;
	pthread_mutex_unlock(&f->lock);
}

uint64_t offload_fake_calls(struct offload_fake *f, enum offload_fake_call call)
{
	uint64_t n;

	pthread_mutex_lock(&f->lock);
	n = f->calls[call];
	pthread_mutex_unlock(&f->lock);
	return n;
}

uint64_t offload_fake_now_us(struct offload_fake *f)
{
	uint64_t now;

	pthread_mutex_lock(&f->lock);
	now = f->now_us;
	pthread_mutex_unlock(&f->lock);
	return now;
}

void offload_fake_advance_us(struct offload_fake *f, uint64_t us)
{
	pthread_mutex_lock(&f->lock);
	f->now_us += us;
	pthread_mutex_unlock(&f->lock);
}

bool offload_fake_packet(struct offload_fake *f, const struct offload_rule *like, uint8_t ttl,
	uint8_t tcp_flags, uint32_t packets, uint64_t bytes)
{
	struct offload_fake_port *p;
	struct offload_handle *h;
	bool hit;

	pthread_mutex_lock(&f->lock);
	p = port_of(f, like->match.port);
	h = p != NULL && !p->stopped && !p->no_hit ? find(f, like) : NULL;
	hit = h != NULL && (h->rule.match.ttl == 0 || h->rule.match.ttl == ttl) &&
		!(h->rule.match.no_tcp_control && (tcp_flags & 0x07) != 0) &&
		h->rule.fate != OFFLOAD_FATE_MARK;
	if (hit) {
		h->count.packets += packets;
		h->count.bytes += bytes;
	}
	pthread_mutex_unlock(&f->lock);
	return hit;
}

bool offload_fake_find(
	struct offload_fake *f, const struct offload_rule *like, struct offload_rule *out)
{
	struct offload_handle *h;

	pthread_mutex_lock(&f->lock);
	h = find(f, like);
	if (h != NULL && out != NULL)
		*out = h->rule;
	pthread_mutex_unlock(&f->lock);
	return h != NULL;
}

uint32_t offload_fake_rules(struct offload_fake *f, uint16_t port)
{
	uint32_t n = 0;

	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n_slots && port != OFFLOAD_NO_PORT; i++)
		n += f->slot[i].rule_in && f->slot[i].port == port;
	if (port == OFFLOAD_NO_PORT)
		n = f->n_rules;
	pthread_mutex_unlock(&f->lock);
	return n;
}

void offload_fake_foreach(
	struct offload_fake *f, void (*fn)(void *arg, const struct offload_rule *rule), void *arg)
{
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n_slots; i++)
		if (f->slot[i].rule_in)
			fn(arg, &f->slot[i].rule);
	pthread_mutex_unlock(&f->lock);
}

uint32_t offload_fake_handles(struct offload_fake *f)
{
	uint32_t n;

	pthread_mutex_lock(&f->lock);
	n = f->n_handles;
	pthread_mutex_unlock(&f->lock);
	return n;
}
