/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The probe (see caps.h). A shape is supported when a driver validates it, then makes, counts and
 * removes a rule of it: validating reserves nothing and so proves nothing. The rules that try are
 * of addresses that nobody has (RFC 5737, RFC 3849) and of the discard port.
 *
 * Offload thread, but for offload_caps_rows(). The lock is never held over a call of a device. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offload/caps.h"
#include "offload/failure.h"

/* Validates that one probe of a port makes at most: with 5 ms of firmware a call this is a second.
 */
#define VALIDATES_MAX 200
#define RETRY_MS      (10 * 60 * 1000)
/* After an error of the device itself, which says nothing of the shape. */
#define RETRY_DEVICE_MS 1000
#define REMOVE_TRIES    3
#define CANDIDATES_MAX  64
#define PROTO_BITS      (OFFLOAD_SHAPE_V6 | OFFLOAD_SHAPE_UDP)

struct offload_caps {
	const struct offload_provider *provider;
	uint16_t port;
	struct offload_port_facts facts;
	uint32_t validates_left;
	bool group; /* rules go to group 1 */
	struct offload_dialect learned;
	pthread_mutex_t lock; /* what follows, against readers */
	bool untrusted;
	bool left; /* see offload_caps_left() */
	struct offload_caps_row row[OFFLOAD_SHAPES];
};

/* --- shapes ----------------------------------------------------------------------------------- */

unsigned offload_shape_of(const struct offload_rule *r)
{
	unsigned shape = 0;

	if (r->match.family == IP_V6)
		shape |= OFFLOAD_SHAPE_V6;
	if (r->match.proto == IP_PROTO_UDP)
		shape |= OFFLOAD_SHAPE_UDP;
	if (r->fate == OFFLOAD_FATE_MARK)
		return shape | OFFLOAD_SHAPE_MARK;
	if (r->match.vlan != 0 || r->to.vlan != 0)
		shape |= OFFLOAD_SHAPE_VLAN;
	if (r->to.set & (OFFLOAD_SET_SRC | OFFLOAD_SET_SPORT))
		shape |= OFFLOAD_SHAPE_NAT_SRC;
	if (r->to.set & (OFFLOAD_SET_DST | OFFLOAD_SET_DPORT))
		shape |= OFFLOAD_SHAPE_NAT_DST;
	if (r->to.set & OFFLOAD_DEC_TTL)
		shape |= OFFLOAD_SHAPE_TTL;
	if (r->to.tunnel.kind != OFFLOAD_TUNNEL_NONE)
		shape |= OFFLOAD_SHAPE_ENCAP;
	if (r->match.tunnel.kind != OFFLOAD_TUNNEL_NONE)
		shape |= OFFLOAD_SHAPE_DECAP;
	return shape;
}

static struct ip_addr sample_addr(unsigned shape, uint8_t last)
{
	static const uint8_t documentation[16] = {0x20, 0x01, 0x0d, 0xb8};
	struct ip_addr a = ip_from_v6(documentation);

	if (!(shape & OFFLOAD_SHAPE_V6))
		return ip_from_v4(htonl(0xc0000200u | last)); /* 192.0.2.0/24 */
	a.bytes[15] = last;
	return a;
}

static void sample_tunnel(unsigned shape, struct offload_tunnel *t)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 3};

	t->kind = OFFLOAD_TUNNEL_VXLAN;
	t->family = shape & OFFLOAD_SHAPE_V6 ? IP_V6 : IP_V4;
	t->vni = 0xfffffe;
	t->src = sample_addr(shape, 5);
	t->dst = sample_addr(shape, 6);
	t->dport = htons(4789);
	memcpy(t->smac, mac, 6);
	memcpy(t->dmac, mac, 6);
}

void offload_caps_sample(unsigned shape, uint16_t port, uint16_t peer, struct offload_rule *r)
{
	static const uint8_t smac[6] = {0x02, 0, 0, 0, 0, 1}, dmac[6] = {0x02, 0, 0, 0, 0, 2};
	static const uint8_t from[6] = {0x02, 0, 0, 0, 0, 4}, own[6] = {0x02, 0, 0, 0, 0, 5};

	memset(r, 0, sizeof(*r));
	r->match.port = port;
	r->match.family = shape & OFFLOAD_SHAPE_V6 ? IP_V6 : IP_V4;
	r->match.proto = shape & OFFLOAD_SHAPE_UDP ? IP_PROTO_UDP : IP_PROTO_TCP;
	r->match.src = sample_addr(shape, 1);
	r->match.dst = sample_addr(shape, 2);
	r->match.sport = r->match.dport = htons(9);
	/* Packets of a partial rule come to a worker, which counts them. */
	r->count = !(shape & OFFLOAD_SHAPE_MARK);
	if (shape & OFFLOAD_SHAPE_MARK) {
		r->fate = OFFLOAD_FATE_MARK;
		r->mark = 1;
		return;
	}
	r->fate = OFFLOAD_FATE_PORT;
	r->port = peer;
	memcpy(r->match.smac, from, 6);
	memcpy(r->match.dmac, own, 6);
	r->match.not_fragment = true;
	r->match.no_tcp_control = r->match.proto == IP_PROTO_TCP;
	r->match.ttl = 64;
	r->to.set = OFFLOAD_SET_MAC;
	memcpy(r->to.smac, smac, 6);
	memcpy(r->to.dmac, dmac, 6);
	if (shape & OFFLOAD_SHAPE_TTL)
		r->to.set |= OFFLOAD_DEC_TTL;
	if (shape & OFFLOAD_SHAPE_NAT_SRC) {
		r->to.set |= OFFLOAD_SET_SRC | OFFLOAD_SET_SPORT;
		r->to.src = sample_addr(shape, 3);
		r->to.sport = htons(10);
	}
	if (shape & OFFLOAD_SHAPE_NAT_DST) {
		r->to.set |= OFFLOAD_SET_DST | OFFLOAD_SET_DPORT;
		r->to.dst = sample_addr(shape, 4);
		r->to.dport = htons(11);
	}
	if (shape & OFFLOAD_SHAPE_VLAN) {
		r->match.vlan = 4093;
		r->to.vlan = 4094;
	}
	if (shape & OFFLOAD_SHAPE_DECAP)
		sample_tunnel(shape, &r->match.tunnel);
	if (shape & OFFLOAD_SHAPE_ENCAP) {
		sample_tunnel(shape, &r->to.tunnel);
		r->to.tunnel.ttl = 64;
		r->to.tunnel.sport = htons(49152);
	}
}

/* --- the ladder of dialects ------------------------------------------------------------------- */

static bool same_dialect(const struct offload_dialect *a, const struct offload_dialect *b)
{
	return a->port == b->port && a->nat == b->nat && a->ttl == b->ttl && a->encap == b->encap &&
		a->order == b->order;
}

/* All that differ in something the shape needs, best first. */
static unsigned ladder(unsigned shape, struct offload_dialect out[CANDIDATES_MAX])
{
	unsigned ttls = shape & OFFLOAD_SHAPE_TTL ? OFFLOAD_TTL_DIALECTS : 1;
	unsigned encaps =
		shape & (OFFLOAD_SHAPE_ENCAP | OFFLOAD_SHAPE_DECAP) ? OFFLOAD_ENCAP_DIALECTS : 1;
	unsigned orders = shape & OFFLOAD_SHAPE_VLAN ? OFFLOAD_ORDER_DIALECTS : 1;
	unsigned n_port = ttls * encaps * orders * OFFLOAD_NAT_DIALECTS, n;

	if (shape & OFFLOAD_SHAPE_MARK) {
		memset(&out[0], 0, sizeof(out[0]));
		return 1;
	}
	for (n = 0; n < OFFLOAD_PORT_DIALECTS * n_port; n++) {
		unsigned rest = n % n_port;

		out[n] = (struct offload_dialect){.port = (uint8_t)(n / n_port)};
		out[n].nat = (uint8_t)(rest % OFFLOAD_NAT_DIALECTS);
		rest /= OFFLOAD_NAT_DIALECTS;
		out[n].ttl = (uint8_t)(rest % ttls);
		rest /= ttls;
		out[n].order = (uint8_t)(rest % orders);
		out[n].encap = (uint8_t)(rest / orders);
	}
	return n;
}

/* What worked for another shape comes first, and its way of naming ports is the only one. */
static unsigned shortened(
	const struct offload_caps *c, unsigned shape, struct offload_dialect list[CANDIDATES_MAX])
{
	struct offload_dialect all[CANDIDATES_MAX];
	unsigned n_all = ladder(shape, all), n = 0;

	for (int pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < n_all; i++) {
			const struct offload_dialect *d = &all[i];
			bool alike = d->nat == c->learned.nat &&
				(!(shape & OFFLOAD_SHAPE_TTL) || d->ttl == c->learned.ttl);

			if (d->port == c->learned.port && alike == (pass == 0))
				list[n++] = *d;
		}
	return n;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct answer {
	enum offload_failure failure; /* of the dialect that came furthest */
	int error;
	struct offload_error refusal;
	struct offload_dialect dialect;
};

static enum offload_failure failure_of(
	struct offload_caps *c, int error, enum offload_call call, bool fresh)
{
	struct offload_failure_context ctx = {.call = call, .fresh = fresh};
	struct offload_port_facts facts;

	if (error == -EIO)
		ctx.gone = c->provider->facts(c->provider->arg, c->port, &facts) == -ENODEV;
	return offload_failure_of(error, &ctx);
}

/* Drivers check attributes, then items, then actions, and number their error types so: the highest
 * is of the dialect that came furthest, and the most telling. */
static void note_refusal(struct answer *a, int error, const struct offload_error *err)
{
	if (a->error != 0 && err->type <= a->refusal.type)
		return;
	a->error = error;
	a->refusal = *err;
	a->refusal.cause[sizeof(a->refusal.cause) - 1] = '\0';
}

/* The canary: made, counted, removed. */
static enum offload_failure try_rule(struct offload_caps *c, const struct offload_rule *rule,
	const struct offload_dialect *d, struct answer *a)
{
	const struct offload_provider *p = c->provider;
	enum offload_failure failure;
	struct offload_handle *handle;
	struct offload_error err = {0}, counting = {0};
	struct offload_count count;
	int rc, counted, removed = -EIO;

	rc = p->insert(p->arg, rule, d, &handle, &err);
	failure = failure_of(c, rc, OFFLOAD_CALL_INSERT, true);
	/* Full says nothing against the shape. */
	if (failure == OFFLOAD_FAILURE_CAPACITY)
		return OFFLOAD_FAILURE_NONE;
	if (failure != OFFLOAD_FAILURE_NONE) {
		note_refusal(a, rc, &err);
		return failure;
	}
	counted = rule->count ? p->query(p->arg, handle, &count, &counting) : 0;
	for (int try = 0; try < REMOVE_TRIES && removed != 0; try++)
		removed = p->remove(p->arg, handle, &err);
	if (removed != 0) {
		/* What cannot be taken back must not be given. */
		failure = failure_of(c, removed, OFFLOAD_CALL_REMOVE, false);
		p->forget(p->arg, handle);
		note_refusal(a, removed, &err);
		if (failure != OFFLOAD_FAILURE_GONE) {
			c->left = true;
			pthread_mutex_lock(&c->lock);
			c->untrusted = true;
			pthread_mutex_unlock(&c->lock);
		}
		return failure;
	}
	if (counted == 0)
		return OFFLOAD_FAILURE_NONE;
	/* A rule that does not count can neither age nor be billed. */
	note_refusal(a, counted, &counting);
	failure = failure_of(c, counted, OFFLOAD_CALL_QUERY, false);
	return failure == OFFLOAD_FAILURE_GONE ? failure : OFFLOAD_FAILURE_SHAPE;
}

/* Down a list of dialects until one is taken. -EBUSY: the probe has no validate left. */
static int ask(struct offload_caps *c, const struct offload_rule *rule,
	const struct offload_dialect *list, unsigned n, struct answer *a)
{
	memset(a, 0, sizeof(*a));
	a->failure = OFFLOAD_FAILURE_SHAPE;
	for (unsigned i = 0; i < n; i++) {
		struct offload_error err = {0};
		enum offload_failure failure;
		int rc;

		if (c->validates_left == 0)
			return -EBUSY;
		c->validates_left--;
		rc = c->provider->validate(c->provider->arg, rule, &list[i], &err);
		failure = failure_of(c, rc, OFFLOAD_CALL_VALIDATE, true);
		/* A full table may show in a validate, too. */
		if (failure == OFFLOAD_FAILURE_CAPACITY)
			failure = OFFLOAD_FAILURE_NONE;
		if (failure != OFFLOAD_FAILURE_NONE)
			note_refusal(a, rc, &err);
		else
			failure = try_rule(c, rule, &list[i], a);
		a->dialect = list[i];
		if (failure == OFFLOAD_FAILURE_SHAPE)
			continue;
		a->failure = failure;
		return 0;
	}
	return 0;
}

/* Which part of the shape is to blame: would it pass without? */
static enum offload_reason blame(struct offload_caps *c, unsigned shape,
	const struct offload_rule *rule, const struct offload_dialect *list, unsigned n)
{
	struct offload_rule less = *rule;
	struct answer a;

	if (shape & OFFLOAD_SHAPE_MARK)
		return OFFLOAD_ShapeUnsupported;
	if (rule->match.no_tcp_control) {
		less.match.no_tcp_control = false;
		if (ask(c, &less, list, n, &a) == 0 && a.failure == OFFLOAD_FAILURE_NONE)
			return OFFLOAD_NoTcpFlagMatch;
		less = *rule;
	}
	memset(less.match.dmac, 0, 6);
	memset(less.match.smac, 0, 6);
	if (ask(c, &less, list, n, &a) == 0 && a.failure == OFFLOAD_FAILURE_NONE)
		return OFFLOAD_NoMacMatch;
	less = *rule;
	if (shape & OFFLOAD_SHAPE_TTL) {
		less.to.set &= (uint8_t)~OFFLOAD_DEC_TTL;
		if (ask(c, &less, list, n, &a) == 0 && a.failure == OFFLOAD_FAILURE_NONE)
			return OFFLOAD_NoTtlDialect;
	}
	return OFFLOAD_ShapeUnsupported;
}

static void put_row(struct offload_caps *c, unsigned shape, const struct offload_caps_row *row)
{
	pthread_mutex_lock(&c->lock);
	c->row[shape] = *row;
	c->row[shape].shape = (uint16_t)shape;
	pthread_mutex_unlock(&c->lock);
}

/* Asks for one shape and enters the answer. plain_works: what it shares with others is not to
 * blame. 0, -ENODEV, or -EBUSY. */
static int ask_shape(struct offload_caps *c, unsigned shape, uint16_t peer, uint32_t now_ms,
	const struct offload_dialect *list, unsigned n, bool plain_works)
{
	struct offload_caps_row row = {0};
	struct offload_rule rule;
	struct answer a;
	int rc;

	offload_caps_sample(shape, c->port, peer, &rule);
	rc = ask(c, &rule, list, n, &a);
	if (rc != 0)
		return rc;
	row.dialect = a.dialect;
	row.error = a.error;
	row.refusal = a.refusal;
	switch (a.failure) {
	case OFFLOAD_FAILURE_GONE:
		return -ENODEV;
	case OFFLOAD_FAILURE_NONE:
		row.support = OFFLOAD_SUPPORTED;
		row.dialect.group = c->group && !(shape & OFFLOAD_SHAPE_MARK);
		row.error = 0;
		memset(&row.refusal, 0, sizeof(row.refusal));
		c->learned = shape & OFFLOAD_SHAPE_MARK ? c->learned : a.dialect;
		break;
	case OFFLOAD_FAILURE_SHAPE:
		row.support = OFFLOAD_UNSUPPORTED;
		row.reason = plain_works ? OFFLOAD_ShapeUnsupported
					 : (uint8_t)blame(c, shape, &rule, list, n);
		row.retry_ms = now_ms + RETRY_MS;
		break;
	default:
		row.support = OFFLOAD_UNKNOWN;
		row.reason = OFFLOAD_Backoff;
		row.retry_ms = now_ms + RETRY_DEVICE_MS;
		break;
	}
	put_row(c, shape, &row);
	return 0;
}

/* --- the probe -------------------------------------------------------------------------------- */

/* A part that this shape consists of and that is not supported, or NULL. */
static const struct offload_caps_row *missing_part(
	const struct offload_caps *c, unsigned plain, unsigned more)
{
	if (c->row[plain].support != OFFLOAD_SUPPORTED)
		return &c->row[plain];
	for (unsigned bit = 1; bit < more; bit <<= 1)
		if ((more & bit) && more != bit && c->row[plain | bit].support != OFFLOAD_SUPPORTED)
			return &c->row[plain | bit];
	return NULL;
}

/* What a plain rule cannot do, no other of its family and protocol can; what a part cannot, no
 * combination. */
static int probe_kind(struct offload_caps *c, unsigned kind, uint16_t peer, uint32_t now_ms)
{
	static const unsigned more[] = {
		OFFLOAD_SHAPE_NAT_DST,
		OFFLOAD_SHAPE_NAT_SRC,
		OFFLOAD_SHAPE_NAT_SRC | OFFLOAD_SHAPE_NAT_DST,
		OFFLOAD_SHAPE_VLAN,
		OFFLOAD_SHAPE_VLAN | OFFLOAD_SHAPE_NAT_DST,
		OFFLOAD_SHAPE_ENCAP,
		OFFLOAD_SHAPE_DECAP,
	};
	unsigned plain = kind | OFFLOAD_SHAPE_TTL, n;
	struct offload_dialect list[CANDIDATES_MAX];
	int rc;

	n = ladder(plain, list);
	rc = ask_shape(c, plain, peer, now_ms, list, n, false);
	for (unsigned i = 0; rc == 0 && i < sizeof(more) / sizeof(more[0]); i++) {
		const struct offload_caps_row *part = missing_part(c, plain, more[i]);
		struct offload_caps_row row;

		/* Tunnels once a family: they do not know what is inside. */
		if ((more[i] & (OFFLOAD_SHAPE_ENCAP | OFFLOAD_SHAPE_DECAP)) &&
			(kind & OFFLOAD_SHAPE_UDP))
			continue;
		if (part != NULL) {
			row = *part;
			put_row(c, plain | more[i], &row);
			continue;
		}
		n = shortened(c, plain | more[i], list);
		rc = ask_shape(c, plain | more[i], peer, now_ms, list, n, true);
	}
	return rc;
}

/* A table of its own is larger than group 0 on some devices. */
static void probe_group(struct offload_caps *c, uint16_t peer)
{
	unsigned shape = OFFLOAD_SHAPE_UDP | OFFLOAD_SHAPE_TTL;
	struct offload_dialect d = c->row[shape].dialect;
	struct offload_rule rule;
	struct answer a;

	if (c->row[shape].support != OFFLOAD_SUPPORTED)
		return;
	offload_caps_sample(shape, c->port, peer, &rule);
	d.group = 1;
	if (ask(c, &rule, &d, 1, &a) != 0 || a.failure != OFFLOAD_FAILURE_NONE)
		return;
	c->group = true;
	pthread_mutex_lock(&c->lock);
	for (unsigned s = 0; s < OFFLOAD_SHAPE_MARK; s++)
		if (c->row[s].support == OFFLOAD_SUPPORTED)
			c->row[s].dialect.group = 1;
	pthread_mutex_unlock(&c->lock);
}

/* A driver that takes what makes no sense does not look at what it is told. */
static int probe_nonsense(struct offload_caps *c)
{
	bool accepted = false;

	for (unsigned which = 0; which < OFFLOAD_NONSENSE; which++) {
		struct offload_error err = {0};
		int rc = c->provider->validate_nonsense(c->provider->arg, c->port, which, &err);

		if (failure_of(c, rc, OFFLOAD_CALL_VALIDATE, true) == OFFLOAD_FAILURE_GONE)
			return -ENODEV;
		accepted |= rc == 0;
	}
	pthread_mutex_lock(&c->lock);
	c->untrusted |= accepted;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int offload_caps_probe(struct offload_caps *c, uint16_t peer, uint32_t now_ms)
{
	struct offload_dialect partial = {0};
	int rc;

	rc = c->provider->facts(c->provider->arg, c->port, &c->facts);
	if (rc != 0)
		return rc == -ENODEV ? rc : 0;
	pthread_mutex_lock(&c->lock);
	memset(c->row, 0, sizeof(c->row));
	c->untrusted = false;
	pthread_mutex_unlock(&c->lock);
	c->group = false;
	memset(&c->learned, 0, sizeof(c->learned));
	c->validates_left = VALIDATES_MAX - OFFLOAD_NONSENSE;
	rc = probe_nonsense(c);
	for (unsigned kind = 0; rc == 0 && kind <= PROTO_BITS; kind++)
		if (c->facts.mark_in_buffers)
			rc = ask_shape(
				c, kind | OFFLOAD_SHAPE_MARK, peer, now_ms, &partial, 1, false);
	for (unsigned kind = 0; rc == 0 && peer != OFFLOAD_NO_PORT && kind <= PROTO_BITS; kind++)
		rc = probe_kind(c, kind, peer, now_ms);
	if (rc == 0 && peer != OFFLOAD_NO_PORT)
		probe_group(c, peer);
	return rc == -EBUSY ? 0 : rc;
}

/* --- while flows come ------------------------------------------------------------------------- */

static bool due(const struct offload_caps_row *row, uint32_t now_ms)
{
	if (row->support == OFFLOAD_SUPPORTED || row->support == OFFLOAD_QUARANTINED)
		return false;
	return (row->support == OFFLOAD_UNKNOWN && row->error == 0) ||
		(int32_t)(now_ms - row->retry_ms) >= 0;
}

int offload_caps_find(struct offload_caps *c, const struct offload_rule *rule, uint32_t now_ms,
	struct offload_dialect *out)
{
	unsigned shape = offload_shape_of(rule), n;
	const struct offload_caps_row *row = &c->row[shape];
	struct offload_dialect list[CANDIDATES_MAX];

	if (rule->fate != OFFLOAD_FATE_MARK && c->untrusted)
		return OFFLOAD_PortUntrusted;
	if (due(row, now_ms)) {
		c->validates_left = VALIDATES_MAX;
		n = ladder(shape, list);
		if (ask_shape(c, shape, rule->port, now_ms, list, n, false) == -ENODEV)
			return OFFLOAD_PortGone;
	}
	switch (row->support) {
	case OFFLOAD_SUPPORTED:
		*out = row->dialect;
		return 0;
	case OFFLOAD_QUARANTINED:
		return OFFLOAD_ShapeQuarantined;
	case OFFLOAD_UNSUPPORTED:
		return row->reason;
	}
	return OFFLOAD_Backoff;
}

const struct offload_error *offload_caps_refusal(
	const struct offload_caps *c, const struct offload_rule *rule, int *error)
{
	const struct offload_caps_row *row = &c->row[offload_shape_of(rule)];

	*error = row->error;
	return row->error != 0 ? &row->refusal : NULL;
}

void offload_caps_refused(struct offload_caps *c, const struct offload_rule *rule, int error,
	const struct offload_error *err, uint32_t now_ms)
{
	unsigned shape = offload_shape_of(rule), n, at = 0;
	struct offload_caps_row row = c->row[shape];
	struct offload_dialect list[CANDIDATES_MAX];
	struct offload_rule canary;
	struct answer a = {0};

	note_refusal(&a, error, err);
	row.error = a.error;
	row.refusal = a.refusal;
	if (row.support == OFFLOAD_QUARANTINED)
		return;
	/* The table of its own first: the words are the same. */
	if (row.dialect.group != 0) {
		row.dialect.group = 0;
		put_row(c, shape, &row);
		return;
	}
	n = ladder(shape, list);
	while (at < n && !same_dialect(&list[at], &row.dialect))
		at++;
	c->validates_left = VALIDATES_MAX;
	offload_caps_sample(
		shape, c->port, rule->port, &canary); /* not the flow's own: it would act */
	if (at + 1 < n && ask(c, &canary, &list[at + 1], n - at - 1, &a) == 0 &&
		a.failure == OFFLOAD_FAILURE_NONE) {
		row.support = OFFLOAD_SUPPORTED;
		row.dialect = a.dialect;
	} else {
		row.support = OFFLOAD_UNSUPPORTED;
		row.reason = OFFLOAD_ShapeUnsupported;
		row.retry_ms = now_ms + RETRY_MS;
	}
	put_row(c, shape, &row);
}

void offload_caps_quarantine(struct offload_caps *c, unsigned shape)
{
	pthread_mutex_lock(&c->lock);
	c->row[shape].shape = (uint16_t)shape;
	c->row[shape].support = OFFLOAD_QUARANTINED;
	c->row[shape].reason = OFFLOAD_ShapeQuarantined;
	pthread_mutex_unlock(&c->lock);
}

/* --- of one port ------------------------------------------------------------------------------ */

int offload_caps_new(
	const struct offload_provider *provider, uint16_t port, struct offload_caps **out)
{
	struct offload_caps *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->provider = provider;
	c->port = port;
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void offload_caps_free(struct offload_caps *c)
{
	if (c == NULL)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c);
}

const struct offload_port_facts *offload_caps_facts(const struct offload_caps *c)
{
	return &c->facts;
}

bool offload_caps_left(struct offload_caps *c)
{
	bool left = c->left;

	c->left = false;
	return left;
}

bool offload_caps_untrusted(const struct offload_caps *c)
{
	return c->untrusted;
}

uint32_t offload_caps_rows(struct offload_caps *c, struct offload_caps_row *out, uint32_t n)
{
	uint32_t found = 0;

	pthread_mutex_lock(&c->lock);
	for (unsigned s = 0; s < OFFLOAD_SHAPES; s++) {
		if (c->row[s].support == OFFLOAD_UNKNOWN && c->row[s].error == 0)
			continue;
		if (found < n)
			out[found] = c->row[s];
		found++;
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}
