/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* commit: a decision becomes a flow entry. The entry is filled wholly, then the reply key is
 * linked, then the forward key: linking the reply key without overwrite is what reserves a source
 * port, and what tells apart two flows that would look the same to a backend. */

#include <errno.h>

#include "core/flow_probe.h"
#include "pipelines/stage.h"

static enum flow_class class_of(uint8_t proto)
{
	switch (proto) {
	case IP_PROTO_TCP:
		return FLOW_CLASS_TCP;
	case IP_PROTO_SCTP:
		return FLOW_CLASS_SCTP;
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMPV6:
		return FLOW_CLASS_ICMP;
	}
	return FLOW_CLASS_UDP;
}

/* As the far end will answer, with the source address that it will see. */
static struct flow_key4 reply_key4(const struct burst *b, lanes_t i, const struct ip_addr *snat)
{
	const struct svc_backend *backend = b->decision[i].backend;
	struct flow_key4 k = flow_key4_mirror(&b->key4[i]);

	if (backend != NULL) {
		k.src = ip_v4(&backend->addr);
		k.sport = backend->port;
	}
	if (snat != NULL)
		k.dst = ip_v4(snat);
	return k;
}

static struct flow_key6 reply_key6(const struct burst *b, lanes_t i, const struct ip_addr *snat)
{
	const struct svc_backend *backend = b->decision[i].backend;
	struct flow_key6 k = flow_key6_mirror(&b->key6[i]);

	if (backend != NULL) {
		memcpy(k.src, backend->addr.bytes, 16);
		k.sport = backend->port;
	}
	if (snat != NULL)
		memcpy(k.dst, snat->bytes, 16);
	return k;
}

/* Both keys of the entry: the forward one as the lane has it. */
static void fill_keys(struct worker *w, const struct burst *b, lanes_t i, uint32_t entry,
	const struct ip_addr *snat)
{
	if (lane_family(b, i) == IP_V6) {
		struct flow6 *e = &flow_array6(w->dp->flows)[entry];

		e->key[DIR_FORWARD] = b->key6[i];
		e->key[DIR_REPLY] = reply_key6(b, i, snat);
	} else {
		struct flow4 *e = &flow_array4(w->dp->flows)[entry];

		e->key[DIR_FORWARD] = b->key4[i];
		e->key[DIR_REPLY] = reply_key4(b, i, snat);
	}
}

/* The port that the far end answers to; echo has one identifier in both places. */
static void set_reply_port(struct worker *w, enum ip_family f, uint32_t entry, uint16_t port)
{
	if (f == IP_V6) {
		struct flow6 *e = &flow_array6(w->dp->flows)[entry];

		e->key[DIR_REPLY].dport = port;
		if (e->meta.class == FLOW_CLASS_ICMP)
			e->key[DIR_REPLY].sport = port;
	} else {
		struct flow4 *e = &flow_array4(w->dp->flows)[entry];

		e->key[DIR_REPLY].dport = port;
		if (e->meta.class == FLOW_CLASS_ICMP)
			e->key[DIR_REPLY].sport = port;
	}
}

static void fill_meta(struct worker *w, const struct burst *b, lanes_t i, uint32_t entry, bool snat)
{
	const struct lane_decision *d = &b->decision[i];
	enum ip_family f = lane_family(b, i);
	struct flow_meta *m = flow_meta(w->dp->flows, f, entry);
	struct flow_cold *cold = &flow_cold_array(w->dp->flows, f)[entry];
	uint8_t flags = snat ? FLOW_F_SNAT : 0;

	m->class = (uint8_t)class_of(b->hdr[i].proto);
	m->settled = m->class == FLOW_CLASS_TCP ? FLOW_ESTABLISHED : FLOW_REPLIED;
	m->backend = 0;
	cold->svc_port_id = 0;
	if (d->backend != NULL) {
		flags |= FLOW_F_DNAT;
		if (m->class == FLOW_CLASS_UDP)
			flags |= FLOW_F_CHECK_BACKEND;
		if (m->class == FLOW_CLASS_TCP && (d->svc_flags & SVC_RESET_REMOVED) != 0)
			flags |= FLOW_F_RESET_BACKEND;
		m->backend = d->backend->ref;
		cold->svc_port_id = d->svc_id;
	}
	atomic_store_explicit(&m->flags, flags, memory_order_relaxed);
	atomic_store_explicit(&m->last_seen, w->now_ms, memory_order_relaxed);
	atomic_store_explicit(&m->config_gen, w->snap.generation, memory_order_relaxed);
	for (int dir = 0; dir < 2; dir++)
		atomic_store_explicit(&m->next_hop[dir], d->next_hop[dir], memory_order_relaxed);
	cold->created_ms = w->now_ms;
	cold->in_vport[DIR_FORWARD] = b->in_vport[i];
	cold->in_vport[DIR_REPLY] = 0;
}

/* Known once the reply key is final; nothing can hit the forward key before it is linked, and a
 * reply cannot come before its request. */
static void fill_deltas(struct worker *w, enum ip_family f, uint32_t entry)
{
	struct flow_meta *m = flow_meta(w->dp->flows, f, entry);

	m->l3_delta = 0;
	if (f == IP_V6) {
		struct flow6 *e = &flow_array6(w->dp->flows)[entry];
		struct flow_key6 to = flow_key6_mirror(&e->key[DIR_REPLY]);

		nat_deltas6(&e->key[DIR_FORWARD], &to, &m->l4_delta);
	} else {
		struct flow4 *e = &flow_array4(w->dp->flows)[entry];
		struct flow_key4 to = flow_key4_mirror(&e->key[DIR_REPLY]);

		nat_deltas4(&e->key[DIR_FORWARD], &to, &m->l3_delta, &m->l4_delta);
	}
}

static bool port_allowed(const struct snat_config *s, uint32_t port)
{
	return port >= s->port_min && port <= s->port_max &&
		(port < s->avoid_min || port > s->avoid_max);
}

/* Original port first if it is allowed, then a start hashed from the tuple (the same after a
 * restart), then its neighbours among the allowed ones: a port to avoid is no try. Host order; this
 * is what comes after the original, from try 1 on. */
static uint32_t port_candidate(
	const struct snat_config *s, uint16_t original, uint32_t hash, uint32_t try)
{
	uint32_t min = s->port_min, range = (uint32_t)s->port_max - min + 1;
	uint32_t hole = s->avoid_min > min ? s->avoid_min : min;
	uint32_t end = s->avoid_max < s->port_max ? s->avoid_max : s->port_max;
	uint32_t skip = end >= hole ? end - hole + 1 : 0, port;

	if (skip >= range)
		return original;
	range -= skip;
	port = min + ((uint32_t)((uint64_t)hash * range >> 32) + try - 1) % range;
	return port >= hole ? port + skip : port;
}

/* Links the reply key, moving the port until a place is free. 0; -EEXIST: *other is the entry of
 * the same flow, made meanwhile; -EBUSY: hardware still has it; -ENOSPC; -EADDRINUSE. */
static int link_reply(struct worker *w, const struct burst *b, lanes_t i, uint32_t entry,
	bool *snat, uint32_t *other)
{
	const struct snat_config *s = &w->snap.tunables->snat;
	enum ip_family f = lane_family(b, i);
	bool echo = class_of(b->hdr[i].proto) == FLOW_CLASS_ICMP;
	uint16_t original = ntohs(lane_sport(b, i));

	for (uint32_t try = 0; try <= SNAT_PROBES_MAX; try++) {
		uint32_t port = try == 0 ? original
					 : port_candidate(s, original, lane_tuple_hash(b, i), try);
		int rc;

		if (*snat && !echo && !port_allowed(s, port))
			continue;
		if (*snat || try > 0) {
			COUNT(w->counters.snat_ports_tried, 1);
			set_reply_port(w, f, entry, htons((uint16_t)port));
		}
		fill_deltas(w, f, entry);
		rc = flow_link(w->dp->flows, f, entry, DIR_REPLY, other);
		if (rc == 0) {
			if (try == 0)
				COUNT(w->counters.snat_port_kept, *snat);
			else
				*snat = true;
			return 0;
		}
		/* Another port would do for a translated flow; a plain one is to keep its own. */
		if (rc == -EBUSY && *snat)
			continue;
		if (rc != -EEXIST)
			return rc;
		/* The same flow by another worker, or by an earlier lane. */
		if ((*other & 1) == DIR_REPLY) {
			uint32_t theirs = *other >> 1;
			bool same = f == IP_V6
				? flow_key6_equal(
					  &flow_array6(w->dp->flows)[theirs].key[0], &b->key6[i])
				: flow_key4_equal(
					  &flow_array4(w->dp->flows)[theirs].key[0], &b->key4[i]);

			if (same)
				return -EEXIST;
		}
	}
	return -EADDRINUSE;
}

static void use_flow(struct worker *w, struct burst *b, lanes_t i, uint32_t ref)
{
	const struct flow_meta *m = flow_meta(w->dp->flows, lane_family(b, i), ref >> 1);

	b->flow[i] = ref;
	b->next_hop[i] = atomic_load_explicit(&m->next_hop[ref & 1], memory_order_relaxed);
	b->to.rewrite |= LANE(i);
}

static enum drop_reason refusal(int rc)
{
	if (rc == -ENOSPC)
		return DROP_FlowIndexFull;
	if (rc == -EBUSY)
		return DROP_FlowInHardware;
	/* An operator ended the flow by its id before it had begun. */
	return rc == -ECANCELED ? DROP_FlowInvalidState : DROP_SnatPortExhausted;
}

/* The entry, linked both ways, or the winner of a race; a negative refusal. */
static int commit_flow(struct worker *w, struct burst *b, lanes_t i, uint32_t *ref)
{
	struct flow_table *t = w->dp->flows;
	enum ip_family f = lane_family(b, i);
	const struct ip_addr *snat_addr = &w->snap.tunables->snat.addr[f];
	uint32_t entry, other = FLOW_NONE;
	bool snat = b->decision[i].snat;
	struct flow_meta *m;
	int rc;

	entry = flow_alloc(t, f, w->id, w->now_ms);
	if (entry == FLOW_NONE)
		return -ENOMEM;
	m = flow_meta(t, f, entry);
	fill_keys(w, b, i, entry, snat ? snat_addr : NULL);
	fill_meta(w, b, i, entry, snat);
	rc = link_reply(w, b, i, entry, &snat, &other);
	if (rc < 0) {
		flow_unalloc(t, f, w->id, entry);
		*ref = other & ~1u;
		return rc == -EEXIST ? 0 : rc;
	}
	if (snat)
		atomic_fetch_or_explicit(&m->flags, FLOW_F_SNAT, memory_order_relaxed);
	/* Last: whoever sees the state sees the keys it was linked with. */
	atomic_store_explicit(&m->state, FLOW_NEW, memory_order_release);
	*ref = entry << 1 | DIR_FORWARD;
	rc = flow_link(t, f, entry, DIR_FORWARD, &other);
	if (rc < 0) {
		/* Readers may have seen the reply key: the entry dies as any other does. */
		flow_kill(t, f, entry);
		*ref = other;
	}
	return rc == -EEXIST ? 0 : rc;
}

static void commit_lane(struct worker *w, struct burst *b, lanes_t i)
{
	struct flow_table *t = w->dp->flows;
	enum ip_family f = lane_family(b, i);
	uint32_t ref;
	int rc = 0;

	/* An earlier lane of this burst may have made it. */
	ref = flow_lookup_aimed(t, b, i, f == IP_V6);
	if (ref == FLOW_NONE) {
		if (b->decision[i].snat && ip_is_zero(&w->snap.tunables->snat.addr[f])) {
			lane_drop(b, i, DROP_SnatNoAddress);
			return;
		}
		rc = commit_flow(w, b, i, &ref);
	}
	if (rc < 0)
		lane_drop(b, i, rc == -ENOMEM ? DROP_FlowTableFull : refusal(rc));
	else
		use_flow(w, b, i, ref);
}

/* The bucket that the reply key will be linked in, with the port that is tried first; the forward
 * key's came with the lookup. */
static void prefetch_reply(struct worker *w, const struct burst *b, lanes_t i)
{
	enum ip_family f = lane_family(b, i);
	const struct ip_addr *snat = b->decision[i].snat ? &w->snap.tunables->snat.addr[f] : NULL;

	if (f == IP_V6) {
		struct flow_key6 k = reply_key6(b, i, snat);

		flow_prefetch6(w->dp->flows, &k);
	} else {
		struct flow_key4 k = reply_key4(b, i, snat);

		flow_prefetch4(w->dp->flows, &k);
	}
}

void stage_commit(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_commit, &b->to.commit);

	lanes_foreach (i, in)
		prefetch_reply(w, b, i);
	lanes_foreach (i, in)
		commit_lane(w, b, i);
}
