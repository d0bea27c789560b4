/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* From a flow's entry to a rule (see derive.h): the same decisions as the flow, rewrite and
 * transmit stages take for its next packet. */

#include <string.h>

#include "core/packet.h"
#include "offload/derive.h"

#define DNS_PORT 53

static struct ip_addr key_addr(const uint8_t bytes[16])
{
	return ip_from_v6(bytes);
}

static const struct vport *vport_at(const struct vport_table *t, uint16_t id)
{
	return id < VPORTS_MAX ? t->at[id] : NULL;
}

int offload_flow_allows(
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v)
{
	const struct flow_key6 *k = &v->key[DIR_FORWARD];

	if (k->proto != IP_PROTO_TCP && k->proto != IP_PROTO_UDP)
		return OFFLOAD_ProtocolExcluded;
	for (int d = 0; d < 2; d++)
		if (k->proto == IP_PROTO_UDP &&
			(v->key[d].sport == htons(DNS_PORT) || v->key[d].dport == htons(DNS_PORT)))
			return OFFLOAD_ProtocolExcluded;
	if (v->meta.state != v->meta.settled)
		return OFFLOAD_NotEstablished;
	if ((int32_t)(now_ms - v->cold.created_ms) < (int32_t)limits->min_age_ms)
		return OFFLOAD_TooYoung;
	return 0;
}

/* The address that a UDP sender asked for is another service's now: software chooses anew. */
static bool changed_hands(
	const struct svc_domain *services, const struct flow_view *v, const struct vport *in)
{
	const struct flow_key6 *k = &v->key[DIR_FORWARD];
	struct svc_query q = {
		.src = key_addr(k->src),
		.dst = key_addr(k->dst),
		.sport = k->sport,
		.dport = k->dport,
		.proto = k->proto,
		.source = (uint8_t)vport_svc_source(in),
		.local_vport = in->local_clients,
	};
	struct svc_verdict verdict;

	if (k->proto != IP_PROTO_UDP)
		return false;
	svc_decide(services, &q, &verdict);
	if ((v->meta.flags & FLOW_F_DNAT) == 0)
		return verdict.kind != SVC_PASS;
	return verdict.svc != NULL && verdict.svc->id != v->cold.svc_port_id;
}

static bool backend_left(const struct svc_domain *services, const struct flow_view *v)
{
	return (v->meta.flags & (FLOW_F_CHECK_BACKEND | FLOW_F_RESET_BACKEND)) != 0 &&
		backend_state(services->backends, v->meta.backend) == BACKEND_GONE;
}

static bool guard_passes(const struct vport *in, const struct ip_addr *src)
{
	if (!in->source_guard)
		return true;
	for (uint32_t n = 0; n < in->n_addrs; n++)
		if (ip_prefix_contains(&in->addrs[n], src))
			return true;
	return false;
}

/* The rim's port of a vport, as one that can take part. */
static int port_of(const struct offload_ports *ports, const struct vport *v)
{
	if (v == NULL || !v->up)
		return OFFLOAD_PortGone;
	if (v->port >= OFFLOAD_PORTS_MAX || ports->at[v->port].ethdev == OFFLOAD_NO_PORT)
		return OFFLOAD_PortNotEthdev;
	return ports->at[v->port].gone ? OFFLOAD_PortGone : 0;
}

static void fill_match(struct offload_rule *r, const struct flow_view *v, enum lane_dir dir,
	const struct vport *in, uint8_t ttl)
{
	const struct flow_key6 *k = &v->key[dir];

	r->match.vlan = in->vlan;
	memcpy(r->match.dmac, in->mac, 6);
	if (in->source_guard && in->peer_mac_known)
		memcpy(r->match.smac, in->peer_mac, 6);
	r->match.family = (uint8_t)v->family;
	r->match.proto = k->proto;
	r->match.ttl = ttl;
	r->match.no_tcp_control = k->proto == IP_PROTO_TCP;
	r->match.not_fragment = true;
	r->match.src = key_addr(k->src);
	r->match.dst = key_addr(k->dst);
	r->match.sport = k->sport;
	r->match.dport = k->dport;
}

/* What leaves is the mirror of the other direction's key, behind the next hop's header. */
static void fill_rewrite(struct offload_rule *r, const struct flow_view *v, enum lane_dir dir,
	const struct next_hop *nh)
{
	const struct flow_key6 *from = &v->key[!dir];

	r->to.src = key_addr(from->dst);
	r->to.dst = key_addr(from->src);
	r->to.sport = from->dport;
	r->to.dport = from->sport;
	r->to.set = OFFLOAD_SET_MAC | OFFLOAD_DEC_TTL;
	if (!ip_equal(&r->to.src, &r->match.src))
		r->to.set |= OFFLOAD_SET_SRC;
	if (!ip_equal(&r->to.dst, &r->match.dst))
		r->to.set |= OFFLOAD_SET_DST;
	if (r->to.sport != r->match.sport)
		r->to.set |= OFFLOAD_SET_SPORT;
	if (r->to.dport != r->match.dport)
		r->to.set |= OFFLOAD_SET_DPORT;
	memcpy(r->to.dmac, nh->l2, 6);
	memcpy(r->to.smac, nh->l2 + 6, 6);
	if (nh->l2_len == ETH_HLEN + 4)
		r->to.vlan = (uint16_t)((nh->l2[14] & 0x0f) << 8 | nh->l2[15]);
}

/* What is asked of the flow and the side that it comes from. */
static int derive_in(const struct dataplane *dp, const struct offload_ports *ports,
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v,
	enum lane_dir dir, const struct offload_seen *seen, const struct vport **in)
{
	const struct svc_domain *services =
		atomic_load_explicit(&dp->services, memory_order_acquire);
	struct ip_addr src = key_addr(v->key[dir].src);
	int reason = offload_flow_allows(limits, now_ms, v);

	*in = vport_at(atomic_load_explicit(&dp->vports, memory_order_acquire), seen->vport);
	if (reason == 0)
		reason = port_of(ports, *in);
	if (reason != 0)
		return reason;
	if (seen->ttl <= 1 || backend_left(services, v) || !guard_passes(*in, &src) ||
		(dir == DIR_FORWARD && changed_hands(services, v, *in)))
		return OFFLOAD_NotEstablished;
	return 0;
}

int offload_derive(const struct dataplane *dp, const struct offload_ports *ports,
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v,
	enum lane_dir dir, const struct offload_seen *seen, struct offload_rule *out,
	struct offload_path *path)
{
	const struct vport_table *vports = atomic_load_explicit(&dp->vports, memory_order_acquire);
	const struct route_domain *routes = atomic_load_explicit(&dp->routes, memory_order_acquire);
	struct ip_addr dst = key_addr(v->key[!dir].src);
	const struct vport *in, *to;
	const struct next_hop *nh;
	int reason = derive_in(dp, ports, limits, now_ms, v, dir, seen, &in);

	if (reason != 0)
		return reason;
	nh = next_hop_get(dp->next_hops, fib_lookup(routes->fib, &dst));
	if (nh->kind != NEXT_HOP_FORWARD)
		return OFFLOAD_NextHopUnresolved;
	to = vport_at(vports, nh->vport);
	reason = port_of(ports, to);
	if (reason != 0)
		return reason;
	if (nh->mtu != 0 && nh->mtu < in->mtu)
		return OFFLOAD_MtuShrinks;
	if (ports->at[in->port].domain == OFFLOAD_NO_PORT ||
		ports->at[in->port].domain != ports->at[to->port].domain)
		return OFFLOAD_OtherSwitchDomain;
	if (in->port == to->port)
		return OFFLOAD_ShapeUnsupported;
	memset(out, 0, sizeof(*out));
	fill_match(out, v, dir, in, seen->ttl);
	fill_rewrite(out, v, dir, nh);
	out->match.port = ports->at[in->port].ethdev;
	out->port = ports->at[to->port].ethdev;
	out->fate = OFFLOAD_FATE_PORT;
	out->count = true;
	*path = (struct offload_path){.in = (uint8_t)in->port,
		.out = (uint8_t)to->port,
		.in_vport = in->id,
		.out_vport = to->id};
	return 0;
}

bool offload_is_path_reason(int reason)
{
	switch (reason) {
	case OFFLOAD_PortNotEthdev:
	case OFFLOAD_OtherSwitchDomain:
	case OFFLOAD_MtuShrinks:
	case OFFLOAD_ShapeUnsupported:
	case OFFLOAD_ShapeQuarantined:
	case OFFLOAD_NoTtlDialect:
	case OFFLOAD_NoTcpFlagMatch:
	case OFFLOAD_NoMacMatch:
	case OFFLOAD_PortUntrusted:
		return true;
	default:
		return false;
	}
}

/* The 5-tuple and no more: a worker sees the packet and judges it, FIN and TTL and all. */
int offload_derive_partial(const struct dataplane *dp, const struct offload_ports *ports,
	const struct offload_limits *limits, uint32_t now_ms, const struct flow_view *v,
	enum lane_dir dir, const struct offload_seen *seen, uint32_t mark, struct offload_rule *out,
	struct offload_path *path)
{
	const struct vport *in;
	int reason = derive_in(dp, ports, limits, now_ms, v, dir, seen, &in);

	if (reason != 0)
		return reason;
	/* Behind a tag, few drivers find the ports. */
	if (!ports->at[in->port].marks || in->vlan != 0 ||
		ports->at[in->port].queue[seen->worker] == OFFLOAD_NO_PORT)
		return OFFLOAD_ShapeUnsupported;
	if (mark == 0)
		return OFFLOAD_TableFull;
	memset(out, 0, sizeof(*out));
	fill_match(out, v, dir, in, 0);
	memset(out->match.smac, 0, sizeof(out->match.smac));
	memset(out->match.dmac, 0, sizeof(out->match.dmac));
	out->match.no_tcp_control = out->match.not_fragment = false;
	out->match.port = ports->at[in->port].ethdev;
	out->fate = OFFLOAD_FATE_MARK;
	out->mark = mark;
	out->queue = ports->at[in->port].queue[seen->worker];
	*path = (struct offload_path){.in = (uint8_t)in->port,
		.out = (uint8_t)in->port,
		.in_vport = in->id,
		.out_vport = in->id};
	return 0;
}

/* Multiply and fold, a word at a time. */
uint64_t offload_fingerprint(const struct offload_rule *rule)
{
	const uint8_t *p = (const uint8_t *)rule;
	uint64_t h = UINT64_C(0x9e3779b97f4a7c15), w;

	for (size_t at = 0; at < sizeof(*rule); at += sizeof(w)) {
		size_t n = sizeof(*rule) - at < sizeof(w) ? sizeof(*rule) - at : sizeof(w);
		unsigned __int128 m;

		w = 0;
		memcpy(&w, p + at, n);
		m = (unsigned __int128)(h ^ w) * UINT64_C(0xd6e8feb86659fd93);
		h = (uint64_t)m ^ (uint64_t)(m >> 64);
		h ^= h >> 29;
	}
	return h;
}
