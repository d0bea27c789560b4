/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rule compiler (see lower.h).
 *
 * Order of actions: MARK, decap, pop VLAN, COUNT, push VLAN, MACs (destination first), TTL, L3, L4,
 * encap, fate. mlx5 with hardware steering takes no other order of stages, sfc no other order of
 * rewrites; they differ about the place of the push alone, which is a dialect. Patterns are in
 * lower_items.c. Any thread; no state; no call to DPDK. */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/packet.h"
#include "offload/lower_private.h"

#define TUNNEL_MAX (14 + 4 + 40 + 8 + 8)
/* enic keeps 0xfffe and 0xffff for itself. */
#define MARK_MAX 0xfffd

static int refuse(struct offload_error *err, int rc, const char *field, const char *why)
{
	err->type = RTE_FLOW_ERROR_TYPE_NONE;
	snprintf(err->cause, sizeof(err->cause), "%s: %s", field, why);
	return rc;
}

/* --- what a rule may say ---------------------------------------------------------------------- */

static bool tunnel_sound(const struct offload_tunnel *t, bool encap)
{
	if (t->kind > OFFLOAD_TUNNEL_GENEVE || t->family >= IP_FAMILIES || t->vni >> 24 != 0 ||
		ip_family(&t->dst) != t->family)
		return false;
	if (encap && (t->ttl == 0 || t->dport == 0))
		return false;
	return ip_family(&t->src) == t->family || (!encap && ip_is_zero(&t->src));
}

static int check(const struct offload_rule *r, struct offload_error *err)
{
	uint8_t l4_sets = OFFLOAD_SET_SPORT | OFFLOAD_SET_DPORT;

	if (r->match.family >= IP_FAMILIES)
		return refuse(err, -EINVAL, "match.family", "neither IPv4 nor IPv6");
	if (r->match.proto != IP_PROTO_TCP && r->match.proto != IP_PROTO_UDP)
		return refuse(err, -EINVAL, "match.proto", "neither TCP nor UDP");
	if (ip_family(&r->match.src) != r->match.family)
		return refuse(err, -EINVAL, "match.src", "not of the rule's family");
	if (ip_family(&r->match.dst) != r->match.family)
		return refuse(err, -EINVAL, "match.dst", "not of the rule's family");
	if ((r->to.set & OFFLOAD_SET_SRC) && ip_family(&r->to.src) != r->match.family)
		return refuse(err, -EINVAL, "to.src", "not of the rule's family");
	if ((r->to.set & OFFLOAD_SET_DST) && ip_family(&r->to.dst) != r->match.family)
		return refuse(err, -EINVAL, "to.dst", "not of the rule's family");
	if (r->to.set &
		~(l4_sets | OFFLOAD_SET_SRC | OFFLOAD_SET_DST | OFFLOAD_SET_MAC | OFFLOAD_DEC_TTL))
		return refuse(err, -EINVAL, "to.set", "unknown bits");
	if (r->match.vlan > 4094)
		return refuse(err, -EINVAL, "match.vlan", "above 4094");
	if (r->to.vlan > 4094)
		return refuse(err, -EINVAL, "to.vlan", "above 4094");
	if (r->fate > OFFLOAD_FATE_DROP)
		return refuse(err, -EINVAL, "fate", "unknown");
	if (r->fate == OFFLOAD_FATE_PORT && r->port == OFFLOAD_NO_PORT)
		return refuse(err, -EINVAL, "port", "none given");
	if (r->match.port == OFFLOAD_NO_PORT)
		return refuse(err, -EINVAL, "match.port", "none given");
	if (r->fate == OFFLOAD_FATE_MARK && r->mark > MARK_MAX)
		return refuse(err, -EINVAL, "mark", "above 65533");
	/* A packet that may not be forwarded must miss. */
	if ((r->to.set & OFFLOAD_DEC_TTL) && r->match.ttl < 2)
		return refuse(err, -EINVAL, "match.ttl", "TTL is lowered, yet not matched above 1");
	if (r->match.tunnel.kind != OFFLOAD_TUNNEL_NONE && !tunnel_sound(&r->match.tunnel, false))
		return refuse(err, -EINVAL, "match.tunnel", "contradicts itself");
	if (r->to.tunnel.kind != OFFLOAD_TUNNEL_NONE && !tunnel_sound(&r->to.tunnel, true))
		return refuse(err, -EINVAL, "to.tunnel", "contradicts itself or misses a field");
	return 0;
}

static int check_dialect(const struct offload_dialect *d, struct offload_error *err)
{
	if (d->port >= OFFLOAD_PORT_DIALECTS || d->nat >= OFFLOAD_NAT_DIALECTS ||
		d->ttl >= OFFLOAD_TTL_DIALECTS || d->encap >= OFFLOAD_ENCAP_DIALECTS ||
		d->order >= OFFLOAD_ORDER_DIALECTS || d->group > 1)
		return refuse(err, -EINVAL, "dialect", "unknown");
	return 0;
}

/* Fields in the order in which they are named when nothing has said them. */
#define FIELD(f)                                                                            \
	{                                                                                   \
#f, offsetof(struct offload_rule, f), sizeof(((struct offload_rule *)0)->f) \
	}
static const struct {
	const char *name;
	uint16_t at, size;
} fields[] = {
	FIELD(match.port),
	FIELD(match.vlan),
	FIELD(match.family),
	FIELD(match.proto),
	FIELD(match.ttl),
	FIELD(match.no_tcp_control),
	FIELD(match.not_fragment),
	FIELD(match.smac),
	FIELD(match.dmac),
	FIELD(match.src),
	FIELD(match.dst),
	FIELD(match.sport),
	FIELD(match.dport),
	FIELD(match.tunnel.kind),
	FIELD(match.tunnel.family),
	FIELD(match.tunnel.ttl),
	FIELD(match.tunnel.vni),
	FIELD(match.tunnel.src),
	FIELD(match.tunnel.dst),
	FIELD(match.tunnel.sport),
	FIELD(match.tunnel.dport),
	FIELD(match.tunnel.smac),
	FIELD(match.tunnel.dmac),
	FIELD(to.set),
	FIELD(to.vlan),
	FIELD(to.sport),
	FIELD(to.dport),
	FIELD(to.src),
	FIELD(to.dst),
	FIELD(to.smac),
	FIELD(to.dmac),
	FIELD(to.tunnel.kind),
	FIELD(to.tunnel.family),
	FIELD(to.tunnel.ttl),
	FIELD(to.tunnel.vni),
	FIELD(to.tunnel.src),
	FIELD(to.tunnel.dst),
	FIELD(to.tunnel.sport),
	FIELD(to.tunnel.dport),
	FIELD(to.tunnel.smac),
	FIELD(to.tunnel.dmac),
	FIELD(fate),
	FIELD(port),
	FIELD(queue),
	FIELD(mark),
	FIELD(count),
};

static int check_all_said(struct build *b)
{
	const uint8_t *left = (const uint8_t *)&b->left;

	for (unsigned i = 0; i < RTE_DIM(fields); i++)
		for (unsigned n = 0; n < fields[i].size; n++)
			if (left[fields[i].at + n] != 0)
				return refuse(b->err, -ENOTSUP, fields[i].name,
					"the dialect has no words for it");
	return 0;
}

/* --- actions ---------------------------------------------------------------------------------- */

static void *add_action(struct build *b, enum rte_flow_action_type type, size_t size)
{
	void *conf = size > 0 ? lower_bytes(b, size) : NULL;

	if (b->n_actions == ACTIONS_MAX - 1) {
		b->full = true;
		return conf;
	}
	b->actions[b->n_actions++] = (struct rte_flow_action){.type = type, .conf = conf};
	return conf;
}

static uint32_t tunnel_header_size(const struct offload_tunnel *t, uint16_t vlan)
{
	return 14 + (vlan != 0 ? 4 : 0) + (t->family == IP_V6 ? 40 : 20) + 8 + 8;
}

static void action_decap(struct build *b)
{
	const struct offload_tunnel *t = &b->rule->match.tunnel;
	struct rte_flow_action_raw_decap *raw;

	if (t->kind == OFFLOAD_TUNNEL_VXLAN && b->dialect->encap == OFFLOAD_ENCAP_VXLAN) {
		add_action(b, RTE_FLOW_ACTION_TYPE_VXLAN_DECAP, 0);
		return;
	}
	raw = add_action(b, RTE_FLOW_ACTION_TYPE_RAW_DECAP, sizeof(*raw));
	raw->size = tunnel_header_size(t, b->rule->match.vlan);
	raw->data = lower_bytes(b, TUNNEL_MAX);
}

static void action_push_vlan(struct build *b)
{
	struct rte_flow_action_of_push_vlan *push;
	struct rte_flow_action_of_set_vlan_vid *vid;

	push = add_action(b, RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, sizeof(*push));
	push->ethertype = RTE_BE16(RTE_ETHER_TYPE_VLAN);
	vid = add_action(b, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, sizeof(*vid));
	vid->vlan_vid = rte_cpu_to_be_16(b->rule->to.vlan);
	TAKE(b, to.vlan);
}

static void modify(struct build *b, enum rte_flow_modify_op op, enum rte_flow_field_id field,
	const void *value, unsigned bytes)
{
	struct rte_flow_action_modify_field *m =
		add_action(b, RTE_FLOW_ACTION_TYPE_MODIFY_FIELD, sizeof(*m));

	m->operation = op;
	m->dst.field = field;
	m->src.field = RTE_FLOW_FIELD_VALUE;
	memcpy(m->src.value, value, bytes);
	m->width = bytes * 8;
}

/* One header field to one value, in either dialect: the SET_ actions' configurations are the
 * value and nothing else. */
static void rewrite(struct build *b, enum rte_flow_action_type set, enum rte_flow_field_id field,
	const void *value, unsigned bytes)
{
	if (b->dialect->nat == OFFLOAD_NAT_MODIFY)
		modify(b, RTE_FLOW_MODIFY_SET, field, value, bytes);
	else
		memcpy(add_action(b, set, bytes), value, bytes);
}

_Static_assert(sizeof(struct rte_flow_action_set_mac) == 6, "the value alone");
_Static_assert(sizeof(struct rte_flow_action_set_ipv4) == 4, "the value alone");
_Static_assert(sizeof(struct rte_flow_action_set_ipv6) == 16, "the value alone");
_Static_assert(sizeof(struct rte_flow_action_set_tp) == 2, "the value alone");
_Static_assert(sizeof(struct rte_flow_action_set_ttl) == 1, "the value alone");

static void action_macs(struct build *b)
{
	rewrite(b, RTE_FLOW_ACTION_TYPE_SET_MAC_DST, RTE_FLOW_FIELD_MAC_DST, b->rule->to.dmac, 6);
	rewrite(b, RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, RTE_FLOW_FIELD_MAC_SRC, b->rule->to.smac, 6);
	TAKE(b, to.smac);
	TAKE(b, to.dmac);
}

/* Values that stay what they were need no word. */
static void take_unchanged(struct build *b)
{
	const struct offload_rule *r = b->rule;

	if (!(r->to.set & OFFLOAD_SET_SRC) && ip_equal(&r->to.src, &r->match.src))
		TAKE(b, to.src);
	if (!(r->to.set & OFFLOAD_SET_DST) && ip_equal(&r->to.dst, &r->match.dst))
		TAKE(b, to.dst);
	if (!(r->to.set & OFFLOAD_SET_SPORT) && r->to.sport == r->match.sport)
		TAKE(b, to.sport);
	if (!(r->to.set & OFFLOAD_SET_DPORT) && r->to.dport == r->match.dport)
		TAKE(b, to.dport);
}

static void actions_l3(struct build *b)
{
	const struct offload_rule *r = b->rule;
	bool v6 = r->match.family == IP_V6;

	if (r->to.set & OFFLOAD_SET_SRC) {
		if (v6)
			rewrite(b, RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, RTE_FLOW_FIELD_IPV6_SRC,
				r->to.src.bytes, 16);
		else
			rewrite(b, RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, RTE_FLOW_FIELD_IPV4_SRC,
				&r->to.src.words[3], 4);
		TAKE(b, to.src);
	}
	if (r->to.set & OFFLOAD_SET_DST) {
		if (v6)
			rewrite(b, RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, RTE_FLOW_FIELD_IPV6_DST,
				r->to.dst.bytes, 16);
		else
			rewrite(b, RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, RTE_FLOW_FIELD_IPV4_DST,
				&r->to.dst.words[3], 4);
		TAKE(b, to.dst);
	}
}

static void actions_l4(struct build *b)
{
	const struct offload_rule *r = b->rule;
	bool tcp = r->match.proto == IP_PROTO_TCP;

	if (r->to.set & OFFLOAD_SET_SPORT) {
		rewrite(b, RTE_FLOW_ACTION_TYPE_SET_TP_SRC,
			tcp ? RTE_FLOW_FIELD_TCP_PORT_SRC : RTE_FLOW_FIELD_UDP_PORT_SRC,
			&r->to.sport, 2);
		TAKE(b, to.sport);
	}
	if (r->to.set & OFFLOAD_SET_DPORT) {
		rewrite(b, RTE_FLOW_ACTION_TYPE_SET_TP_DST,
			tcp ? RTE_FLOW_FIELD_TCP_PORT_DST : RTE_FLOW_FIELD_UDP_PORT_DST,
			&r->to.dport, 2);
		TAKE(b, to.dport);
	}
}

static void action_ttl(struct build *b)
{
	const struct offload_rule *r = b->rule;
	enum rte_flow_field_id field =
		r->match.family == IP_V6 ? RTE_FLOW_FIELD_IPV6_HOPLIMIT : RTE_FLOW_FIELD_IPV4_TTL;
	uint8_t less = (uint8_t)(r->match.ttl - 1), one = 1;

	if (b->dialect->ttl == OFFLOAD_TTL_SET)
		rewrite(b, RTE_FLOW_ACTION_TYPE_SET_TTL, field, &less, 1);
	else if (b->dialect->nat == OFFLOAD_NAT_MODIFY)
		modify(b, RTE_FLOW_MODIFY_SUB, field, &one, 1);
	else
		add_action(b, RTE_FLOW_ACTION_TYPE_DEC_TTL, 0);
}

/* The definition of VXLAN_ENCAP: items of their own, complete, with a mask each. */
static int action_vxlan_encap(struct build *b)
{
	const struct offload_tunnel *t = &b->rule->to.tunnel;
	struct rte_flow_action_vxlan_encap *encap;
	struct rte_flow_item *outer = lower_bytes(b, 7 * sizeof(*outer));
	struct build sub = *b;

	if (t->kind != OFFLOAD_TUNNEL_VXLAN)
		return refuse(b->err, -ENOTSUP, "to.tunnel.kind", "VXLAN_ENCAP makes VXLAN only");
	if (outer == NULL)
		return 0; /* no room; refused at the end */
	sub.items = outer;
	sub.n_items = 0;
	lower_items_encap(&sub);
	lower_mask_specs(&sub);
	outer[sub.n_items].type = RTE_FLOW_ITEM_TYPE_END;
	b->at = sub.at;
	b->full = sub.full;
	encap = add_action(b, RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, sizeof(*encap));
	encap->definition = outer;
	return 0;
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}

static uint8_t *put16(uint8_t *p, uint16_t be)
{
	return put(p, &be, 2);
}

/* Lengths and checksums are zero: the device knows them when a packet is there. */
static uint8_t *put_outer_ip(uint8_t *p, const struct offload_tunnel *t)
{
	if (t->family == IP_V6) {
		p[0] = 0x60;
		p[6] = IP_PROTO_UDP;
		p[7] = t->ttl;
		memcpy(p + 8, t->src.bytes, 16);
		memcpy(p + 24, t->dst.bytes, 16);
		return p + 40;
	}
	p[0] = 0x45;
	p[8] = t->ttl;
	p[9] = IP_PROTO_UDP;
	memcpy(p + 12, &t->src.words[3], 4);
	memcpy(p + 16, &t->dst.words[3], 4);
	return p + 20;
}

static void action_raw_encap(struct build *b)
{
	const struct offload_tunnel *t = &b->rule->to.tunnel;
	struct rte_flow_action_raw_encap *raw =
		add_action(b, RTE_FLOW_ACTION_TYPE_RAW_ENCAP, sizeof(*raw));
	uint8_t *p = lower_bytes(b, TUNNEL_MAX);
	uint16_t type = RTE_BE16(t->family == IP_V6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);

	raw->data = p;
	raw->size = tunnel_header_size(t, b->rule->to.vlan);
	p = put(p, t->dmac, 6);
	p = put(p, t->smac, 6);
	if (b->rule->to.vlan != 0) {
		p = put16(p, RTE_BE16(RTE_ETHER_TYPE_VLAN));
		p = put16(p, rte_cpu_to_be_16(b->rule->to.vlan));
	}
	p = put16(p, type);
	p = put_outer_ip(p, t);
	p = put16(p, t->sport);
	p = put16(p, t->dport);
	p += 4;
	if (t->kind == OFFLOAD_TUNNEL_VXLAN)
		p[0] = 0x08;
	else
		put16(p + 2, RTE_BE16(RTE_ETHER_TYPE_TEB));
	p[4] = (uint8_t)(t->vni >> 16);
	p[5] = (uint8_t)(t->vni >> 8);
	p[6] = (uint8_t)t->vni;
}

static int action_encap(struct build *b)
{
	int rc = 0;

	if (b->dialect->encap == OFFLOAD_ENCAP_VXLAN)
		rc = action_vxlan_encap(b);
	else
		action_raw_encap(b);
	TAKE(b, to.tunnel);
	TAKE(b, to.vlan); /* the outer header's */
	return rc;
}

static void action_port(struct build *b)
{
	struct rte_flow_action_ethdev *dev;
	struct rte_flow_action_port_id *id;

	if (b->dialect->port == OFFLOAD_PORT_REPRESENTED) {
		dev = add_action(b, RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, sizeof(*dev));
		dev->port_id = b->rule->port;
	} else {
		id = add_action(b, RTE_FLOW_ACTION_TYPE_PORT_ID, sizeof(*id));
		id->id = b->rule->port;
	}
	TAKE(b, port);
}

static void action_count(struct build *b)
{
	if (b->rule->count)
		add_action(b, RTE_FLOW_ACTION_TYPE_COUNT, sizeof(struct rte_flow_action_count));
	TAKE(b, count);
}

/* Partial: nothing is rewritten, and a fate to a worker's queue. */
static void actions_mark(struct build *b)
{
	struct rte_flow_action_mark *mark = add_action(b, RTE_FLOW_ACTION_TYPE_MARK, sizeof(*mark));
	struct rte_flow_action_queue *queue;

	mark->id = b->rule->mark;
	action_count(b);
	queue = add_action(b, RTE_FLOW_ACTION_TYPE_QUEUE, sizeof(*queue));
	queue->index = b->rule->queue;
	TAKE(b, mark);
	TAKE(b, queue);
}

static int actions_forward(struct build *b)
{
	const struct offload_rule *r = b->rule;
	bool decap = r->match.tunnel.kind != OFFLOAD_TUNNEL_NONE;
	bool encap = r->to.tunnel.kind != OFFLOAD_TUNNEL_NONE;
	bool push = r->to.vlan != 0 && !encap; /* an outer header brings its own */
	int rc = 0;

	if (decap)
		action_decap(b);
	/* A tag of the same number is made anew as well: software clears its priority, too. */
	else if (r->match.vlan != 0)
		add_action(b, RTE_FLOW_ACTION_TYPE_OF_POP_VLAN, 0);
	action_count(b);
	if (push && b->dialect->order == OFFLOAD_ORDER_PUSH_FIRST)
		action_push_vlan(b);
	if (r->to.set & OFFLOAD_SET_MAC)
		action_macs(b);
	if (r->to.set & OFFLOAD_DEC_TTL)
		action_ttl(b);
	actions_l3(b);
	actions_l4(b);
	take_unchanged(b);
	TAKE(b, to.set);
	if (push && b->dialect->order == OFFLOAD_ORDER_PUSH_LAST)
		action_push_vlan(b);
	if (encap)
		rc = action_encap(b);
	action_port(b);
	return rc;
}

static int build_actions(struct build *b)
{
	int rc = 0;

	switch (b->rule->fate) {
	case OFFLOAD_FATE_PORT:
		rc = actions_forward(b);
		break;
	case OFFLOAD_FATE_MARK:
		actions_mark(b);
		break;
	case OFFLOAD_FATE_DROP:
		action_count(b);
		add_action(b, RTE_FLOW_ACTION_TYPE_DROP, 0);
		break;
	}
	TAKE(b, fate);
	return rc;
}

/* --- the whole -------------------------------------------------------------------------------- */

int offload_lower(const struct offload_rule *rule, const struct offload_dialect *dialect, void *buf,
	uint32_t size, struct offload_lowered *out, struct offload_error *err)
{
	struct build b = {.rule = rule, .dialect = dialect, .left = *rule, .err = err, .at = buf};
	struct rte_flow_attr *attr;
	int rc;

	memset(err, 0, sizeof(*err));
	rc = check(rule, err);
	if (rc == 0)
		rc = check_dialect(dialect, err);
	if (rc != 0)
		return rc;
	b.end = b.at + size;
	attr = lower_bytes(&b, sizeof(*attr));
	b.items = lower_bytes(&b, ITEMS_MAX * sizeof(*b.items));
	b.actions = lower_bytes(&b, ACTIONS_MAX * sizeof(*b.actions));
	if (b.full)
		return refuse(err, -ENOBUFS, "buffer", "too small");
	if (rule->fate == OFFLOAD_FATE_MARK)
		attr->ingress = 1;
	else
		attr->transfer = 1;
	attr->group = rule->fate == OFFLOAD_FATE_MARK ? 0 : dialect->group;
	lower_items(&b);
	rc = build_actions(&b);
	if (rc != 0)
		return rc;
	if (b.full)
		return refuse(err, -ENOBUFS, "buffer", "too small");
	rc = check_all_said(&b);
	if (rc != 0)
		return rc;
	lower_mask_specs(&b);
	b.items[b.n_items].type = RTE_FLOW_ITEM_TYPE_END;
	b.actions[b.n_actions].type = RTE_FLOW_ACTION_TYPE_END;
	*out = (struct offload_lowered){.attr = attr, .items = b.items, .actions = b.actions};
	return 0;
}

uint16_t offload_lower_port(
	const struct offload_rule *rule, const struct offload_dialect *dialect, uint16_t proxy)
{
	return rule->fate == OFFLOAD_FATE_MARK || dialect->port == OFFLOAD_PORT_IMPLICIT
		? rule->match.port
		: proxy;
}
