/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Items and actions to a rule (see offload_decode.h). */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_flow.h>

#include "lib/offload_decode.h"

struct decode {
	struct offload_rule rule;
	uint8_t ttl_to; /* SET_TTL's */
	bool ttl_set, ttl_dec, vlan_pushed;
	uint8_t decap; /* bytes; 1: VXLAN_DECAP */
	jmp_buf bad;
	char *why;
	size_t size;
};

static __attribute__((noreturn, format(printf, 2, 3))) void bad(
	struct decode *d, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->why, d->size, format, args);
	va_end(args);
	longjmp(d->bad, 1);
}

/* --- items ------------------------------------------------------------------------------------ */

static bool is(const void *p, uint8_t byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)p)[i] != byte)
			return false;
	return true;
}

/* Whole or nothing: true when the field is matched. */
static bool whole(struct decode *d, const void *mask, size_t n, const char *what)
{
	if (is(mask, 0xff, n))
		return true;
	if (!is(mask, 0, n))
		bad(d, "%s: mask is neither all nor nothing", what);
	return false;
}

static void must(struct decode *d, bool ok, const char *what)
{
	if (!ok)
		bad(d, "%s", what);
}

static const struct rte_flow_item *next(struct decode *d, const struct rte_flow_item **at,
	enum rte_flow_item_type type, size_t size)
{
	const struct rte_flow_item *i = (*at)++;
	const uint8_t *spec = i->spec, *mask = i->mask;

	if (i->type != type)
		bad(d, "item %d where %d belongs", (int)i->type, (int)type);
	must(d, spec != NULL && mask != NULL && i->last == NULL, "item without spec or mask");
	for (size_t n = 0; n < size; n++)
		if (spec[n] & ~mask[n])
			bad(d, "item %d: spec outside mask at byte %zu", (int)type, n);
	return i;
}

static void decode_in_port(struct decode *d, const struct rte_flow_item **at, uint16_t told)
{
	const struct rte_flow_item_ethdev *dev;
	const struct rte_flow_item_port_id *id;

	d->rule.match.port = told;
	if ((*at)->type == RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT) {
		dev = next(d, at, RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, sizeof(*dev))->spec;
		must(d, is((*at)[-1].mask, 0xff, 2), "port mask");
		d->rule.match.port = dev->port_id;
	} else if ((*at)->type == RTE_FLOW_ITEM_TYPE_PORT_ID) {
		id = next(d, at, RTE_FLOW_ITEM_TYPE_PORT_ID, sizeof(*id))->spec;
		must(d, is((*at)[-1].mask, 0xff, 4), "port mask");
		d->rule.match.port = (uint16_t)id->id;
	}
}

/* Returns the EtherType behind tags. */
static uint16_t decode_eth(struct decode *d, const struct rte_flow_item **at, uint8_t smac[6],
	uint8_t dmac[6], uint16_t *vlan)
{
	const struct rte_flow_item *i =
		next(d, at, RTE_FLOW_ITEM_TYPE_ETH, sizeof(struct rte_flow_item_eth));
	const struct rte_flow_item_eth *spec = i->spec, *mask = i->mask;
	const struct rte_flow_item_vlan *tag, *tag_mask;

	if (whole(d, &mask->hdr.src_addr, 6, "source MAC"))
		memcpy(smac, &spec->hdr.src_addr, 6);
	if (whole(d, &mask->hdr.dst_addr, 6, "destination MAC"))
		memcpy(dmac, &spec->hdr.dst_addr, 6);
	if ((*at)->type != RTE_FLOW_ITEM_TYPE_VLAN) {
		must(d, whole(d, &mask->hdr.ether_type, 2, "type"), "tagged frames would match");
		return rte_be_to_cpu_16(spec->hdr.ether_type);
	}
	must(d, mask->hdr.ether_type == 0, "type before a tag");
	i = next(d, at, RTE_FLOW_ITEM_TYPE_VLAN, sizeof(struct rte_flow_item_vlan));
	tag = i->spec;
	tag_mask = i->mask;
	must(d, tag_mask->hdr.vlan_tci == RTE_BE16(0x0fff), "tag mask");
	must(d, whole(d, &tag_mask->hdr.eth_proto, 2, "inner type"), "inner type");
	*vlan = rte_be_to_cpu_16(tag->hdr.vlan_tci);
	return rte_be_to_cpu_16(tag->hdr.eth_proto);
}

struct ip_match {
	uint8_t family, proto, ttl;
	bool not_fragment;
	struct ip_addr src, dst;
};

static void decode_ip4(struct decode *d, const struct rte_flow_item **at, struct ip_match *m)
{
	const struct rte_flow_item *i =
		next(d, at, RTE_FLOW_ITEM_TYPE_IPV4, sizeof(struct rte_flow_item_ipv4));
	const struct rte_flow_item_ipv4 *spec = i->spec, *mask = i->mask;

	m->family = IP_V4;
	must(d, whole(d, &mask->hdr.next_proto_id, 1, "protocol"), "protocol is not matched");
	m->proto = spec->hdr.next_proto_id;
	if (whole(d, &mask->hdr.time_to_live, 1, "TTL"))
		m->ttl = spec->hdr.time_to_live;
	if (whole(d, &mask->hdr.src_addr, 4, "source"))
		m->src = ip_from_v4(spec->hdr.src_addr);
	must(d, whole(d, &mask->hdr.dst_addr, 4, "destination"), "destination is not matched");
	m->dst = ip_from_v4(spec->hdr.dst_addr);
	m->not_fragment = mask->hdr.fragment_offset != 0;
	must(d,
		spec->hdr.fragment_offset == 0 &&
			(!m->not_fragment || mask->hdr.fragment_offset == RTE_BE16(0x3fff)),
		"fragment bits");
	must(d,
		mask->hdr.total_length == 0 && mask->hdr.hdr_checksum == 0 &&
			mask->hdr.version_ihl == 0 && mask->hdr.packet_id == 0,
		"a field that no rule has");
}

static void decode_ip6(struct decode *d, const struct rte_flow_item **at, struct ip_match *m)
{
	const struct rte_flow_item *i =
		next(d, at, RTE_FLOW_ITEM_TYPE_IPV6, sizeof(struct rte_flow_item_ipv6));
	const struct rte_flow_item_ipv6 *spec = i->spec, *mask = i->mask;

	m->family = IP_V6;
	must(d, whole(d, &mask->hdr.proto, 1, "next header"), "next header is not matched");
	m->proto = spec->hdr.proto;
	if (whole(d, &mask->hdr.hop_limits, 1, "hop limit"))
		m->ttl = spec->hdr.hop_limits;
	if (whole(d, &mask->hdr.src_addr, 16, "source"))
		memcpy(m->src.bytes, &spec->hdr.src_addr, 16);
	must(d, whole(d, &mask->hdr.dst_addr, 16, "destination"), "destination is not matched");
	memcpy(m->dst.bytes, &spec->hdr.dst_addr, 16);
	m->not_fragment = mask->has_frag_ext;
	must(d, !spec->has_frag_ext, "fragments are asked for");
	must(d, mask->hdr.vtc_flow == 0 && mask->hdr.payload_len == 0, "a field that no rule has");
}

static void decode_ip(
	struct decode *d, const struct rte_flow_item **at, uint16_t type, struct ip_match *m)
{
	memset(m, 0, sizeof(*m));
	if (type == RTE_ETHER_TYPE_IPV6)
		decode_ip6(d, at, m);
	else if (type == RTE_ETHER_TYPE_IPV4)
		decode_ip4(d, at, m);
	else
		bad(d, "EtherType %#x", type);
}

static bool decode_udp(
	struct decode *d, const struct rte_flow_item **at, uint16_t *sport, uint16_t *dport)
{
	const struct rte_flow_item *i =
		next(d, at, RTE_FLOW_ITEM_TYPE_UDP, sizeof(struct rte_flow_item_udp));
	const struct rte_flow_item_udp *spec = i->spec, *mask = i->mask;
	bool sport_matched = whole(d, &mask->hdr.src_port, 2, "source port");

	must(d, whole(d, &mask->hdr.dst_port, 2, "port"), "destination port is not matched");
	must(d, mask->hdr.dgram_len == 0 && mask->hdr.dgram_cksum == 0, "UDP length or checksum");
	if (sport_matched)
		*sport = spec->hdr.src_port;
	*dport = spec->hdr.dst_port;
	return sport_matched;
}

static void decode_tcp(struct decode *d, const struct rte_flow_item **at)
{
	const struct rte_flow_item *i =
		next(d, at, RTE_FLOW_ITEM_TYPE_TCP, sizeof(struct rte_flow_item_tcp));
	const struct rte_flow_item_tcp *spec = i->spec, *mask = i->mask;

	must(d, is(&mask->hdr.src_port, 0xff, 4), "a port is not matched");
	d->rule.match.sport = spec->hdr.src_port;
	d->rule.match.dport = spec->hdr.dst_port;
	d->rule.match.no_tcp_control = mask->hdr.tcp_flags != 0;
	must(d,
		spec->hdr.tcp_flags == 0 &&
			(mask->hdr.tcp_flags == 0 || mask->hdr.tcp_flags == 0x07),
		"TCP flags");
	must(d, mask->hdr.data_off == 0 && mask->hdr.sent_seq == 0, "a field that no rule has");
}

static uint32_t decode_vni(struct decode *d, const struct rte_flow_item **at, uint8_t *kind)
{
	const struct rte_flow_item *i;

	if ((*at)->type == RTE_FLOW_ITEM_TYPE_VXLAN) {
		const struct rte_flow_item_vxlan *spec, *mask;

		i = next(d, at, RTE_FLOW_ITEM_TYPE_VXLAN, sizeof(*spec));
		spec = i->spec;
		mask = i->mask;
		must(d, mask->hdr.vx_vni == RTE_BE32(0xffffff00), "VNI mask");
		*kind = OFFLOAD_TUNNEL_VXLAN;
		return rte_be_to_cpu_32(spec->hdr.vx_vni) >> 8;
	} else {
		const struct rte_flow_item_geneve *spec, *mask;

		i = next(d, at, RTE_FLOW_ITEM_TYPE_GENEVE, sizeof(*spec));
		spec = i->spec;
		mask = i->mask;
		must(d, is(mask->vni, 0xff, 3) && mask->protocol == UINT16_MAX, "Geneve mask");
		must(d, spec->protocol == RTE_BE16(RTE_ETHER_TYPE_TEB), "Geneve protocol");
		must(d, mask->ver_opt_len_o_c_rsvd0 == RTE_BE16(0x3f00), "Geneve options");
		*kind = OFFLOAD_TUNNEL_GENEVE;
		return (uint32_t)spec->vni[0] << 16 | (uint32_t)spec->vni[1] << 8 | spec->vni[2];
	}
}

/* Outer headers, to the tunnel header and not behind it. */
static void decode_tunnel(struct decode *d, const struct rte_flow_item **at,
	struct offload_tunnel *t, uint16_t *vlan, bool *not_fragment)
{
	struct ip_match m;

	decode_ip(d, at, decode_eth(d, at, t->smac, t->dmac, vlan), &m);
	must(d, m.proto == 17, "a tunnel over UDP");
	t->family = m.family;
	t->ttl = m.ttl;
	t->src = m.src;
	t->dst = m.dst;
	*not_fragment = m.not_fragment;
	decode_udp(d, at, &t->sport, &t->dport);
	t->vni = decode_vni(d, at, &t->kind);
}

static bool has_tunnel(const struct rte_flow_item *i)
{
	for (; i->type != RTE_FLOW_ITEM_TYPE_END; i++)
		if (i->type == RTE_FLOW_ITEM_TYPE_VXLAN || i->type == RTE_FLOW_ITEM_TYPE_GENEVE)
			return true;
	return false;
}

static void decode_items(struct decode *d, const struct rte_flow_item *at, uint16_t told)
{
	struct offload_rule *r = &d->rule;
	bool tunnel = has_tunnel(at), outer_whole = false;
	uint16_t inner_vlan = 0;
	struct ip_match m;

	decode_in_port(d, &at, told);
	if (tunnel)
		decode_tunnel(d, &at, &r->match.tunnel, &r->match.vlan, &outer_whole);
	decode_ip(d, &at,
		decode_eth(d, &at, r->match.smac, r->match.dmac,
			tunnel ? &inner_vlan : &r->match.vlan),
		&m);
	must(d, inner_vlan == 0, "an inner tag no rule has");
	r->match.family = m.family;
	r->match.proto = m.proto;
	r->match.ttl = m.ttl;
	r->match.src = m.src;
	r->match.dst = m.dst;
	r->match.not_fragment = m.not_fragment;
	must(d, !tunnel || outer_whole == m.not_fragment, "outer fragments");
	if (m.proto == 6)
		decode_tcp(d, &at);
	else if (m.proto == 17)
		must(d, decode_udp(d, &at, &r->match.sport, &r->match.dport), "source port");
	else
		bad(d, "protocol %u", m.proto);
	must(d, at->type == RTE_FLOW_ITEM_TYPE_END, "items behind the last");
}

/* --- actions ---------------------------------------------------------------------------------- */

/* The order that mlx5's hardware steering wants, and inside of it sfc's; each rank at most once,
 * but for rewrites of one layer. A push may come last, as sfc wants it. */
enum rank {
	RANK_MARK,
	RANK_DECAP,
	RANK_POP,
	RANK_COUNT,
	RANK_PUSH,
	RANK_VID,
	RANK_MAC_DST,
	RANK_MAC_SRC,
	RANK_TTL,
	RANK_NAT,
	RANK_PUSH_LAST,
	RANK_VID_LAST,
	RANK_ENCAP,
	RANK_FATE
};

static void set_field(struct decode *d, int field, const uint8_t *v, bool sub)
{
	struct offload_rule *r = &d->rule;
	uint8_t bit = 0;

	switch (field) {
	case RTE_FLOW_FIELD_MAC_SRC:
		memcpy(r->to.smac, v, 6);
		return;
	case RTE_FLOW_FIELD_MAC_DST:
		memcpy(r->to.dmac, v, 6);
		bit = OFFLOAD_SET_MAC;
		break;
	case RTE_FLOW_FIELD_IPV4_SRC:
	case RTE_FLOW_FIELD_IPV6_SRC:
		must(d, (field == RTE_FLOW_FIELD_IPV6_SRC) == (r->match.family == IP_V6), "family");
		if (r->match.family == IP_V6)
			memcpy(r->to.src.bytes, v, 16);
		else
			r->to.src = (struct ip_addr){.words = {0, 0, htonl(0xffff)}},
			memcpy(&r->to.src.words[3], v, 4);
		bit = OFFLOAD_SET_SRC;
		break;
	case RTE_FLOW_FIELD_IPV4_DST:
	case RTE_FLOW_FIELD_IPV6_DST:
		must(d, (field == RTE_FLOW_FIELD_IPV6_DST) == (r->match.family == IP_V6), "family");
		if (r->match.family == IP_V6)
			memcpy(r->to.dst.bytes, v, 16);
		else
			r->to.dst = (struct ip_addr){.words = {0, 0, htonl(0xffff)}},
			memcpy(&r->to.dst.words[3], v, 4);
		bit = OFFLOAD_SET_DST;
		break;
	case RTE_FLOW_FIELD_TCP_PORT_SRC:
	case RTE_FLOW_FIELD_UDP_PORT_SRC:
		memcpy(&r->to.sport, v, 2);
		bit = OFFLOAD_SET_SPORT;
		break;
	case RTE_FLOW_FIELD_TCP_PORT_DST:
	case RTE_FLOW_FIELD_UDP_PORT_DST:
		memcpy(&r->to.dport, v, 2);
		bit = OFFLOAD_SET_DPORT;
		break;
	case RTE_FLOW_FIELD_IPV4_TTL:
	case RTE_FLOW_FIELD_IPV6_HOPLIMIT:
		must(d, (field == RTE_FLOW_FIELD_IPV6_HOPLIMIT) == (r->match.family == IP_V6),
			"family");
		must(d, r->match.ttl >= 2, "the TTL is lowered and not matched");
		must(d, sub ? *v == 1 : *v == r->match.ttl - 1, "TTL's value");
		bit = OFFLOAD_DEC_TTL;
		break;
	default:
		bad(d, "field %d", field);
	}
	must(d, !(r->to.set & bit), "a field is set twice");
	r->to.set |= bit;
}

static void modify_field(struct decode *d, const struct rte_flow_action_modify_field *m)
{
	static const struct {
		int field;
		uint32_t width;
		uint8_t proto;
	} widths[] = {
		{RTE_FLOW_FIELD_MAC_SRC, 48, 0},
		{RTE_FLOW_FIELD_MAC_DST, 48, 0},
		{RTE_FLOW_FIELD_IPV4_SRC, 32, 0},
		{RTE_FLOW_FIELD_IPV4_DST, 32, 0},
		{RTE_FLOW_FIELD_IPV6_SRC, 128, 0},
		{RTE_FLOW_FIELD_IPV6_DST, 128, 0},
		{RTE_FLOW_FIELD_TCP_PORT_SRC, 16, 6},
		{RTE_FLOW_FIELD_TCP_PORT_DST, 16, 6},
		{RTE_FLOW_FIELD_UDP_PORT_SRC, 16, 17},
		{RTE_FLOW_FIELD_UDP_PORT_DST, 16, 17},
		{RTE_FLOW_FIELD_IPV4_TTL, 8, 0},
		{RTE_FLOW_FIELD_IPV6_HOPLIMIT, 8, 0},
	};
	bool sub = m->operation == RTE_FLOW_MODIFY_SUB;

	must(d, m->src.field == RTE_FLOW_FIELD_VALUE && (sub || m->operation == 0), "modify");
	for (unsigned i = 0; i < RTE_DIM(widths); i++) {
		if (widths[i].field != (int)m->dst.field)
			continue;
		must(d, widths[i].width == m->width, "width");
		must(d, widths[i].proto == 0 || widths[i].proto == d->rule.match.proto, "protocol");
		set_field(d, widths[i].field, m->src.value, sub);
		return;
	}
	bad(d, "modified field %d", (int)m->dst.field);
}

static void raw_encap(struct decode *d, const struct rte_flow_action_raw_encap *raw)
{
	struct offload_tunnel *t = &d->rule.to.tunnel;
	const uint8_t *p = raw->data;

	memcpy(t->dmac, p, 6);
	memcpy(t->smac, p + 6, 6);
	p += 12;
	if (p[0] == 0x81 && p[1] == 0) {
		d->rule.to.vlan = (uint16_t)(p[2] << 8 | p[3]);
		p += 4;
	}
	t->family = p[0] == 0x86 ? IP_V6 : IP_V4;
	must(d, (p[0] == 0x86 && p[1] == 0xdd) || (p[0] == 0x08 && p[1] == 0), "outer type");
	p += 2;
	if (t->family == IP_V6) {
		must(d, p[0] == 0x60 && p[6] == 17, "outer IPv6");
		t->ttl = p[7];
		t->src = ip_from_v6(p + 8);
		t->dst = ip_from_v6(p + 24);
		p += 40;
	} else {
		uint32_t addr;

		must(d, p[0] == 0x45 && p[9] == 17, "outer IPv4");
		t->ttl = p[8];
		memcpy(&addr, p + 12, 4);
		t->src = ip_from_v4(addr);
		memcpy(&addr, p + 16, 4);
		t->dst = ip_from_v4(addr);
		p += 20;
	}
	memcpy(&t->sport, p, 2);
	memcpy(&t->dport, p + 2, 2);
	p += 8;
	t->kind = p[0] == 0x08 ? OFFLOAD_TUNNEL_VXLAN : OFFLOAD_TUNNEL_GENEVE;
	must(d, t->kind == OFFLOAD_TUNNEL_VXLAN || (p[2] == 0x65 && p[3] == 0x58), "Geneve");
	t->vni = (uint32_t)p[4] << 16 | (uint32_t)p[5] << 8 | p[6];
	p += 8;
	must(d, (size_t)(p - raw->data) == raw->size, "raw size");
}

static uint8_t outer_bytes(const struct offload_rule *r)
{
	return (uint8_t)(14 + (r->match.vlan ? 4 : 0) +
		(r->match.tunnel.family == IP_V6 ? 40 : 20) + 16);
}

/* The field that a rewrite changes. */
static int rewritten(const struct rte_flow_action *a)
{
	switch ((int)a->type) {
	case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD:
		return (int)((const struct rte_flow_action_modify_field *)a->conf)->dst.field;
	case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
		return RTE_FLOW_FIELD_MAC_SRC;
	case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
		return RTE_FLOW_FIELD_MAC_DST;
	case RTE_FLOW_ACTION_TYPE_SET_TTL:
	case RTE_FLOW_ACTION_TYPE_DEC_TTL:
		return RTE_FLOW_FIELD_IPV4_TTL;
	}
	return RTE_FLOW_FIELD_IPV4_SRC;
}

static enum rank rank_of_field(int field)
{
	switch (field) {
	case RTE_FLOW_FIELD_MAC_DST:
		return RANK_MAC_DST;
	case RTE_FLOW_FIELD_MAC_SRC:
		return RANK_MAC_SRC;
	case RTE_FLOW_FIELD_IPV4_TTL:
	case RTE_FLOW_FIELD_IPV6_HOPLIMIT:
		return RANK_TTL;
	}
	return RANK_NAT;
}

static bool is_rewrite(enum rank rank)
{
	return rank >= RANK_MAC_DST && rank <= RANK_NAT;
}

/* Returns the action's rank. */
static enum rank decode_structure(struct decode *d, const struct rte_flow_action *a)
{
	struct offload_rule *r = &d->rule;
	const struct rte_flow_item *outer;
	bool whole_only;

	switch ((int)a->type) {
	case RTE_FLOW_ACTION_TYPE_MARK:
		r->mark = ((const struct rte_flow_action_mark *)a->conf)->id;
		return RANK_MARK;
	case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
		must(d, r->match.tunnel.kind == OFFLOAD_TUNNEL_VXLAN, "decap of what?");
		d->decap = 1;
		return RANK_DECAP;
	case RTE_FLOW_ACTION_TYPE_RAW_DECAP:
		d->decap = (uint8_t)((const struct rte_flow_action_raw_decap *)a->conf)->size;
		must(d, d->decap == outer_bytes(r), "bytes to take off");
		return RANK_DECAP;
	case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
		must(d, r->match.vlan != 0 && d->decap == 0, "pop of what?");
		return RANK_POP;
	case RTE_FLOW_ACTION_TYPE_COUNT:
		r->count = true;
		return RANK_COUNT;
	case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
		must(d,
			((const struct rte_flow_action_of_push_vlan *)a->conf)->ethertype ==
				RTE_BE16(RTE_ETHER_TYPE_VLAN),
			"tag's type");
		d->vlan_pushed = true;
		return RANK_PUSH;
	case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
		must(d, d->vlan_pushed, "a tag is set and not pushed");
		r->to.vlan = rte_be_to_cpu_16(
			((const struct rte_flow_action_of_set_vlan_vid *)a->conf)->vlan_vid);
		return RANK_VID;
	case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP:
		outer = ((const struct rte_flow_action_vxlan_encap *)a->conf)->definition;
		decode_tunnel(d, &outer, &r->to.tunnel, &r->to.vlan, &whole_only);
		must(d, outer->type == RTE_FLOW_ITEM_TYPE_END, "definition's end");
		return RANK_ENCAP;
	case RTE_FLOW_ACTION_TYPE_RAW_ENCAP:
		raw_encap(d, a->conf);
		return RANK_ENCAP;
	case RTE_FLOW_ACTION_TYPE_QUEUE:
		r->fate = OFFLOAD_FATE_MARK;
		r->queue = ((const struct rte_flow_action_queue *)a->conf)->index;
		return RANK_FATE;
	case RTE_FLOW_ACTION_TYPE_DROP:
		r->fate = OFFLOAD_FATE_DROP;
		return RANK_FATE;
	case RTE_FLOW_ACTION_TYPE_PORT_ID:
		r->port = (uint16_t)((const struct rte_flow_action_port_id *)a->conf)->id;
		return RANK_FATE;
	case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
		r->port = ((const struct rte_flow_action_ethdev *)a->conf)->port_id;
		return RANK_FATE;
	}
	return rank_of_field(rewritten(a));
}

static void decode_rewrite(struct decode *d, const struct rte_flow_action *a)
{
	static const struct {
		int action, field, proto_udp;
	} sets[] = {
		{RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, RTE_FLOW_FIELD_MAC_SRC, 0},
		{RTE_FLOW_ACTION_TYPE_SET_MAC_DST, RTE_FLOW_FIELD_MAC_DST, 0},
		{RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, RTE_FLOW_FIELD_IPV4_SRC, 0},
		{RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, RTE_FLOW_FIELD_IPV4_DST, 0},
		{RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, RTE_FLOW_FIELD_IPV6_SRC, 0},
		{RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, RTE_FLOW_FIELD_IPV6_DST, 0},
		{RTE_FLOW_ACTION_TYPE_SET_TP_SRC, RTE_FLOW_FIELD_TCP_PORT_SRC, 0},
		{RTE_FLOW_ACTION_TYPE_SET_TP_DST, RTE_FLOW_FIELD_TCP_PORT_DST, 0},
	};
	uint8_t one = 1;
	int ttl = d->rule.match.family == IP_V6 ? RTE_FLOW_FIELD_IPV6_HOPLIMIT
						: RTE_FLOW_FIELD_IPV4_TTL;

	for (unsigned i = 0; i < RTE_DIM(sets); i++)
		if (sets[i].action == (int)a->type) {
			set_field(d, sets[i].field, a->conf, false);
			return;
		}
	if (a->type == RTE_FLOW_ACTION_TYPE_SET_TTL)
		set_field(d, ttl, a->conf, false);
	else if (a->type == RTE_FLOW_ACTION_TYPE_DEC_TTL)
		set_field(d, ttl, &one, true);
	else if (a->type == RTE_FLOW_ACTION_TYPE_MODIFY_FIELD)
		modify_field(d, a->conf);
	else
		bad(d, "action %d", (int)a->type);
}

static void decode_actions(struct decode *d, const struct rte_flow_action *a)
{
	int last = -1;
	bool fate = false, popped = false;

	for (; a->type != RTE_FLOW_ACTION_TYPE_END; a++) {
		enum rank rank = decode_structure(d, a);

		must(d, !fate, "actions behind the fate");
		if (last > (int)RANK_VID && (rank == RANK_PUSH || rank == RANK_VID))
			rank = (enum rank)(rank + (RANK_PUSH_LAST - RANK_PUSH));
		must(d, (int)rank > last || (rank == RANK_NAT && last == RANK_NAT),
			"order of actions");
		last = (int)rank;
		fate = rank == RANK_FATE;
		popped |= rank == RANK_POP;
		if (is_rewrite(rank))
			decode_rewrite(d, a);
	}
	must(d, fate, "no fate");
	if (d->rule.fate != OFFLOAD_FATE_PORT)
		return;
	must(d, (d->rule.match.tunnel.kind != 0) == (d->decap != 0), "decap");
	must(d, popped == (d->rule.match.vlan != 0 && d->decap == 0), "the tag stays");
	must(d, !d->vlan_pushed || d->rule.to.vlan != 0, "tag without number");
}

int offload_decode(const struct offload_lowered *l, uint16_t told, struct offload_rule *out,
	char *why, size_t size)
{
	struct decode d;

	memset(&d, 0, sizeof(d));
	d.why = why;
	d.size = size;
	if (setjmp(d.bad) != 0)
		return -1;
	decode_items(&d, l->items, told);
	decode_actions(&d, l->actions);
	must(&d, l->attr->priority == 0 && !l->attr->egress, "attributes");
	must(&d, l->attr->transfer != l->attr->ingress, "transfer and ingress");
	must(&d, l->attr->ingress == (d.rule.fate == OFFLOAD_FATE_MARK), "direction");
	*out = d.rule;
	return 0;
}

/* --- rules of bytes --------------------------------------------------------------------------- */

struct bytes {
	const uint8_t *at;
};

static uint8_t byte(struct bytes *b)
{
	return *b->at++;
}

static uint16_t short_of(struct bytes *b)
{
	uint16_t v;

	memcpy(&v, b->at, 2);
	b->at += 2;
	return v;
}

static struct ip_addr addr_of(struct bytes *b, uint8_t family)
{
	struct ip_addr a = ip_from_v6(b->at);

	b->at += 16;
	a.bytes[0] = 0xfd; /* not the mapped range */
	return family == IP_V6 ? a : ip_from_v4(a.words[3] | htonl(1));
}

static void mac_of(struct bytes *b, uint8_t mac[6])
{
	memcpy(mac, b->at, 6);
	mac[0] = (uint8_t)((mac[0] & 0xfe) | 2);
	b->at += 6;
}

static void tunnel_of(struct bytes *b, struct offload_tunnel *t)
{
	t->kind = byte(b) & 1 ? OFFLOAD_TUNNEL_VXLAN : OFFLOAD_TUNNEL_GENEVE;
	t->family = byte(b) & 1;
	t->ttl = byte(b) | 1;
	t->vni = (uint32_t)short_of(b) << 8 | byte(b);
	t->src = addr_of(b, t->family);
	t->dst = addr_of(b, t->family);
	t->sport = short_of(b) | htons(1);
	t->dport = htons(t->kind == OFFLOAD_TUNNEL_VXLAN ? 4789 : 6081);
	mac_of(b, t->smac);
	mac_of(b, t->dmac);
}

static void to_of(struct bytes *b, uint8_t kind, struct offload_rule *r)
{
	struct bytes tunnel = {b->at + 1};

	r->to.set = byte(b) & 0x3f;
	if (kind & 0x20)
		r->to.vlan = (uint16_t)(1 + short_of(b) % 4094);
	if (kind & 0x40)
		tunnel_of(&tunnel, &r->to.tunnel);
	if (r->to.set & OFFLOAD_SET_SRC)
		r->to.src = addr_of(b, r->match.family);
	if (r->to.set & OFFLOAD_SET_DST)
		r->to.dst = addr_of(b, r->match.family);
	if (r->to.set & OFFLOAD_SET_SPORT)
		r->to.sport = short_of(b);
	if (r->to.set & OFFLOAD_SET_DPORT)
		r->to.dport = short_of(b);
	if (r->to.set & OFFLOAD_SET_MAC) {
		mac_of(b, r->to.smac);
		mac_of(b, r->to.dmac);
	}
	if ((r->to.set & OFFLOAD_DEC_TTL) && r->match.ttl < 2)
		r->match.ttl = 64;
}

void offload_rule_of_bytes(const uint8_t bytes[OFFLOAD_RULE_BYTES], struct offload_rule *r)
{
	struct bytes b = {bytes};
	uint8_t kind = byte(&b), flags = byte(&b);

	memset(r, 0, sizeof(*r));
	r->match.port = byte(&b) % 32;
	r->match.family = flags & 1;
	r->match.proto = flags & 2 ? IP_PROTO_TCP : IP_PROTO_UDP;
	r->match.no_tcp_control = (flags & 6) == 6;
	r->match.not_fragment = (flags & 8) != 0;
	r->match.ttl = byte(&b);
	r->count = (flags & 16) != 0;
	if (flags & 32)
		r->match.vlan = (uint16_t)(1 + short_of(&b) % 4094);
	r->match.src = addr_of(&b, r->match.family);
	r->match.dst = addr_of(&b, r->match.family);
	r->match.sport = short_of(&b);
	r->match.dport = short_of(&b);
	if (flags & 128) {
		mac_of(&b, r->match.smac);
		mac_of(&b, r->match.dmac);
	}
	if (flags & 64)
		tunnel_of(&b, &r->match.tunnel);
	switch (kind & 7) {
	case 0:
		r->fate = OFFLOAD_FATE_DROP;
		break;
	case 1:
		r->fate = OFFLOAD_FATE_MARK;
		r->mark = short_of(&b) % 0xfffe;
		r->queue = byte(&b);
		break;
	default:
		r->port = byte(&b) % 32;
		to_of(&b, kind, r);
	}
}
