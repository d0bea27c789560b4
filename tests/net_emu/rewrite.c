/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What rules do to frames.
 *
 * The e-switch runs it. Checksums are changed by difference (RFC 1624), so a wrong one stays wrong;
 * a UDP checksum of zero over IPv4 stays zero, and one that becomes zero is sent as 0xffff. */

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "emu.h"

static uint8_t *data_at(const struct emu_packet *p, uint16_t offset)
{
	return rte_pktmbuf_mtod_offset(p->m, uint8_t *, offset);
}

/* One's complement sum over an even number of bytes. */
static uint32_t sum(const uint8_t *bytes, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i += 2)
		s += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	return s;
}

static uint16_t fold(uint32_t s)
{
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)(s + (s >> 16));
}

static void checksum_change(uint8_t *field, const uint8_t *before, const uint8_t *after, size_t len)
{
	uint32_t s = (uint16_t) ~(field[0] << 8 | field[1]);
	uint16_t out;

	for (size_t i = 0; i < len; i += 2) {
		s += (uint16_t) ~(before[i] << 8 | before[i + 1]);
		s += (uint32_t)(after[i] << 8 | after[i + 1]);
	}
	out = (uint16_t)~fold(s);
	field[0] = (uint8_t)(out >> 8);
	field[1] = (uint8_t)out;
}

static uint8_t *l4_checksum(const struct emu_packet *p)
{
	switch (p->key.at[0].l4) {
	case IPPROTO_TCP:
		return data_at(p, p->at[0].l4) + offsetof(struct rte_tcp_hdr, cksum);
	case IPPROTO_UDP:
		return data_at(p, p->at[0].l4) + offsetof(struct rte_udp_hdr, dgram_cksum);
	case IPPROTO_ICMPV6:
		return data_at(p, p->at[0].l4) + 2;
	default:
		return NULL;
	}
}

static void l4_change(struct emu_packet *p, const uint8_t *before, const uint8_t *after, size_t len)
{
	const struct emu_layer *l = &p->key.at[0];
	uint8_t *field = l4_checksum(p);

	if (field == NULL)
		return;
	if (l->l4 == IPPROTO_UDP && field[0] == 0 && field[1] == 0)
		return;
	checksum_change(field, before, after, len);
	if (l->l4 == IPPROTO_UDP && field[0] == 0 && field[1] == 0)
		field[0] = field[1] = 0xff;
}

static int set_ip(struct emu_packet *p, bool src, const uint8_t *to, size_t len)
{
	struct emu_layer *l = &p->key.at[0];
	uint8_t *ip = data_at(p, p->at[0].l3), *field;
	uint8_t before[16];

	if (l->l3 != (len == 4 ? 4 : 6))
		return -EINVAL;
	if (l->l3 == 4)
		field = ip + (src ? 12 : 16);
	else
		field = ip + (src ? 8 : 24);
	memcpy(before, field, len);
	memcpy(field, to, len);
	if (l->l3 == 4)
		checksum_change(ip + 10, before, to, len);
	l4_change(p, before, to, len);
	memcpy(src ? l->src : l->dst, to, len);
	return 0;
}

static int set_port(struct emu_packet *p, bool src, const uint8_t *to)
{
	struct emu_layer *l = &p->key.at[0];
	uint8_t *field = data_at(p, p->at[0].l4) + (src ? 0 : 2);
	uint8_t before[2];

	if (l->l4 != IPPROTO_TCP && l->l4 != IPPROTO_UDP)
		return -EINVAL;
	memcpy(before, field, 2);
	memcpy(field, to, 2);
	l4_change(p, before, to, 2);
	memcpy(src ? &l->sport : &l->dport, to, 2);
	return 0;
}

static int set_ttl(struct emu_packet *p, uint8_t ttl)
{
	uint8_t *ip = data_at(p, p->at[0].l3);
	uint8_t before[2];

	p->key.at[0].ttl = ttl;
	if (p->key.at[0].l3 == 6) {
		ip[7] = ttl;
		return 0;
	}
	if (p->key.at[0].l3 != 4)
		return -EINVAL;
	memcpy(before, ip + 8, 2);
	ip[8] = ttl;
	checksum_change(ip + 10, before, ip + 8, 2);
	return 0;
}

/* --- tags ---------------------------------------------------------------------------------------
 */

static int push_vlan(struct emu_packet *p, const uint8_t *ethertype)
{
	uint8_t *start = (uint8_t *)rte_pktmbuf_prepend(p->m, RTE_VLAN_HLEN);

	if (start == NULL)
		return -EINVAL;
	memmove(start, start + RTE_VLAN_HLEN, 12);
	memcpy(start + 12, ethertype, 2);
	memset(start + 14, 0, 2);
	emu_parse(p);
	return 0;
}

static int pop_vlan(struct emu_packet *p)
{
	uint8_t *start = data_at(p, 0);

	if (p->key.at[0].vlans == 0)
		return -EINVAL;
	memmove(start + RTE_VLAN_HLEN, start, 12);
	rte_pktmbuf_adj(p->m, RTE_VLAN_HLEN);
	emu_parse(p);
	return 0;
}

static int set_tci(struct emu_packet *p, const uint8_t *value, uint16_t mask)
{
	uint8_t *tci = data_at(p, 14);
	uint16_t v;

	if (p->key.at[0].vlans == 0)
		return -EINVAL;
	v = (uint16_t)(tci[0] << 8 | tci[1]);
	v = (uint16_t)((v & ~mask) | ((value[0] << 8 | value[1]) & mask));
	tci[0] = (uint8_t)(v >> 8);
	tci[1] = (uint8_t)v;
	memcpy(&p->key.at[0].tci, tci, 2);
	return 0;
}

/* --- tunnels ------------------------------------------------------------------------------------
 */

static int decap(struct emu_packet *p)
{
	if (p->key.tunnel == EMU_TUNNEL_NONE || p->at[1].l2 == 0)
		return -EINVAL;
	if (rte_pktmbuf_adj(p->m, p->at[1].l2) == NULL)
		return -EINVAL;
	emu_parse(p);
	return 0;
}

static int raw_decap(struct emu_packet *p, const uint8_t *size)
{
	uint16_t n;

	memcpy(&n, size, 2);
	if (rte_pktmbuf_adj(p->m, n) == NULL)
		return -EINVAL;
	emu_parse(p);
	return 0;
}

/* Lengths, the IPv4 checksum, and where the template has no source port, one from the inner flow.
 */
static void finish_outer(struct emu_packet *p, uint32_t entropy)
{
	const struct emu_layer *l = &p->key.at[0];
	uint8_t *ip = data_at(p, p->at[0].l3);
	uint32_t len = rte_pktmbuf_data_len(p->m) - p->at[0].l3;
	struct rte_udp_hdr *udp;
	uint16_t csum;

	if (l->l3 == 4) {
		ip[2] = (uint8_t)(len >> 8);
		ip[3] = (uint8_t)len;
		ip[10] = ip[11] = 0;
		csum = (uint16_t)~fold(sum(ip, l->ihl * 4u));
		ip[10] = (uint8_t)(csum >> 8);
		ip[11] = (uint8_t)csum;
	} else if (l->l3 == 6) {
		len -= (uint32_t)sizeof(struct rte_ipv6_hdr);
		ip[4] = (uint8_t)(len >> 8);
		ip[5] = (uint8_t)len;
	}
	if (l->l4 != IPPROTO_UDP)
		return;
	udp = (void *)data_at(p, p->at[0].l4);
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)(rte_pktmbuf_data_len(p->m) - p->at[0].l4));
	udp->dgram_cksum = 0;
	if (udp->src_port == 0)
		udp->src_port = rte_cpu_to_be_16((uint16_t)(0xc000 | (entropy & 0x3fff)));
}

static int encap(struct emu_packet *p, const uint8_t *header, uint16_t len)
{
	uint32_t entropy = emu_flow_hash(&p->key);
	uint8_t *start = (uint8_t *)rte_pktmbuf_prepend(p->m, len);

	if (start == NULL)
		return -EINVAL;
	memcpy(start, header, len);
	emu_parse(p);
	finish_outer(p, entropy);
	emu_parse(p);
	return 0;
}

static int rewrite_one(struct emu_packet *p, const struct emu_op *op)
{
	switch (op->type) {
	case EMU_OP_SRC_IP:
	case EMU_OP_DST_IP:
		return set_ip(p, op->type == EMU_OP_SRC_IP, op->data, op->len);
	case EMU_OP_SRC_PORT:
	case EMU_OP_DST_PORT:
		return set_port(p, op->type == EMU_OP_SRC_PORT, op->data);
	case EMU_OP_SRC_MAC:
		memcpy(p->key.at[0].eth_src, op->data, 6);
		memcpy(data_at(p, 6), op->data, 6);
		return 0;
	case EMU_OP_DST_MAC:
		memcpy(p->key.at[0].eth_dst, op->data, 6);
		memcpy(data_at(p, 0), op->data, 6);
		return 0;
	case EMU_OP_SET_TTL:
		return set_ttl(p, op->data[0]);
	case EMU_OP_DEC_TTL:
		return set_ttl(p, (uint8_t)(p->key.at[0].ttl - 1));
	case EMU_OP_POP_VLAN:
		return pop_vlan(p);
	case EMU_OP_PUSH_VLAN:
		return push_vlan(p, op->data);
	case EMU_OP_VLAN_ID:
		return set_tci(p, op->data, 0x0fff);
	case EMU_OP_VLAN_PCP:
		return set_tci(p, op->data, 0xe000);
	case EMU_OP_DECAP:
		return decap(p);
	case EMU_OP_RAW_DECAP:
		return raw_decap(p, op->data);
	case EMU_OP_ENCAP:
		return encap(p, op->data, op->len);
	case EMU_OP_MARK:
		memcpy(&p->m->hash.fdir.hi, op->data, 4);
		p->m->ol_flags |= RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID;
		return 0;
	default:
		return 0;
	}
}

int emu_rewrite(struct emu_packet *p, const struct emu_op *op, const struct emu_op *end)
{
	for (; op < end; op = emu_op_next(op)) {
		int rc = rewrite_one(p, op);

		if (rc != 0)
			return rc;
	}
	return 0;
}

bool emu_ttl_passes(const struct emu_packet *p, const struct emu_op *op, const struct emu_op *end)
{
	unsigned layer = 0;

	for (; op < end; op = emu_op_next(op)) {
		if (op->type == EMU_OP_DECAP)
			layer = 1;
		if (op->type == EMU_OP_DEC_TTL && p->key.at[layer].ttl <= 1)
			return false;
	}
	return true;
}
