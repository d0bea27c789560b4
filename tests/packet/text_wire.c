/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The bytes of text packets: an independent builder and reader (see text.h). Sums are computed
 * naively, over everything, on purpose. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/text.h"

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint16_t sum16(const uint8_t *p, unsigned len, uint32_t sum)
{
	for (unsigned i = 0; i + 1 < len; i += 2)
		sum += get16(p + i);
	if ((len & 1) != 0)
		sum += (uint32_t)p[len - 1] << 8;
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint32_t crc32c_bitwise(const uint8_t *p, unsigned len, unsigned skip_at)
{
	uint32_t crc = 0xffffffff;

	for (unsigned i = 0; i < len; i++) {
		crc ^= i >= skip_at && i < skip_at + 4 ? 0 : p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static bool is_v6(const struct text_packet *p)
{
	return ip_family(&p->dst) == IP_V6;
}

/* Pseudo header and L4 bytes; the checksum field counts as it stands. */
static uint16_t l4_sum(const uint8_t *ip, bool v6, const uint8_t *l4, unsigned len, uint8_t proto)
{
	uint32_t sum = proto + len;

	sum += v6 ? sum16(ip + 8, 32, 0) : sum16(ip + 12, 8, 0);
	return sum16(l4, len, sum);
}

static uint8_t proto_of(const struct text_packet *p)
{
	switch (p->kind) {
	case TEXT_TCP:
		return IP_PROTO_TCP;
	case TEXT_UDP:
		return IP_PROTO_UDP;
	case TEXT_SCTP:
		return IP_PROTO_SCTP;
	default:
		return is_v6(p) ? IP_PROTO_ICMPV6 : IP_PROTO_ICMP;
	}
}

static unsigned build_l4(const struct text_packet *p, const uint8_t *ip, uint8_t *l4)
{
	uint8_t proto = proto_of(p);
	bool v6 = is_v6(p);
	unsigned len, csum_at = 0;

	memset(l4, 0, 64);
	put16(l4, p->sport);
	put16(l4 + 2, p->dport);
	switch (p->kind) {
	case TEXT_TCP:
		put32(l4 + 4, 1000);
		put32(l4 + 8, (p->flags & 0x10) != 0 ? 2000 : 0);
		l4[12] = 5 << 4;
		l4[13] = p->flags;
		put16(l4 + 14, 8192);
		csum_at = 16;
		len = 20;
		break;
	case TEXT_UDP:
		put16(l4 + 4, 8u + p->len);
		csum_at = 6;
		len = 8;
		break;
	case TEXT_SCTP:
		put32(l4 + 4, 0xabcd);
		l4[12] = 1; /* INIT chunk */
		put16(l4 + 14, 4);
		len = 16;
		break;
	case TEXT_ERROR:
		l4[0] = p->type;
		l4[1] = p->code;
		put16(l4 + 2, 0);
		put32(l4 + 4, p->mtu);
		csum_at = 2;
		len = 8;
		break;
	default:
		l4[0] = p->kind == TEXT_ECHO ? (v6 ? 128 : 8) : (v6 ? 129 : 0);
		l4[1] = 0;
		put16(l4 + 2, 0);
		put16(l4 + 4, p->sport);
		put16(l4 + 6, 1);
		csum_at = 2;
		len = 8;
		break;
	}
	if (p->about != NULL) {
		uint8_t quoted[2048];
		unsigned n = text_build(p->about, quoted, sizeof(quoted)) - 14u;

		/* IPv4 hosts quote as little as the header and 8 bytes. */
		if (!v6 && n > 28)
			n = 28;
		memcpy(l4 + len, quoted + 14, n);
		len += n;
	} else {
		for (unsigned i = 0; i < p->len; i++)
			l4[len + i] = (uint8_t)(i * 7 + 3);
		len += p->len;
	}
	if (p->kind == TEXT_SCTP) {
		uint32_t crc = crc32c_bitwise(l4, len, 8);

		memcpy(l4 + 8, &crc, 4); /* little endian on the wire, as on this machine */
	} else if (!p->nocsum) {
		uint16_t sum =
			proto == IP_PROTO_ICMP ? sum16(l4, len, 0) : l4_sum(ip, v6, l4, len, proto);

		sum = (uint16_t)~sum;
		put16(l4 + csum_at, sum == 0 && proto == IP_PROTO_UDP ? 0xffff : sum);
	}
	return len;
}

static uint16_t build_arp(const struct text_packet *p, uint8_t *frame)
{
	bool request = p->kind == TEXT_ARP_REQUEST;
	uint8_t *arp = frame + 14;

	put16(frame + 12, 0x0806);
	put16(arp, 1);
	put16(arp + 2, 0x0800);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, request ? 1 : 2);
	memcpy(arp + 8, request ? p->smac : p->mac, 6);
	memcpy(arp + 14, request ? p->src.bytes + 12 : p->dst.bytes + 12, 4);
	memset(arp + 18, 0, 6);
	memcpy(arp + 24, request ? p->dst.bytes + 12 : p->src.bytes + 12, 4);
	if (request)
		memset(frame, 0xff, 6);
	return 14 + 28;
}

static uint16_t build_nd(const struct text_packet *p, uint8_t *frame)
{
	bool request = p->kind == TEXT_SOLICIT;
	uint8_t *ip = frame + 14, *icmp = ip + 40;
	unsigned len = 32;

	put16(frame + 12, 0x86dd);
	memset(ip, 0, 40 + len);
	ip[0] = 0x60;
	put16(ip + 4, len);
	ip[6] = IP_PROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, request ? p->src.bytes : p->dst.bytes, 16);
	if (request) {
		static const uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};

		memcpy(ip + 24, prefix, 13);
		memcpy(ip + 37, p->dst.bytes + 13, 3);
		frame[0] = frame[1] = 0x33;
		memcpy(frame + 2, ip + 36, 4);
	} else {
		memcpy(ip + 24, p->src.bytes, 16);
		icmp[4] = 0x60; /* solicited, override */
	}
	icmp[0] = request ? 135 : 136;
	memcpy(icmp + 8, p->dst.bytes, 16);
	icmp[24] = request ? 1 : 2;
	icmp[25] = 1;
	memcpy(icmp + 26, request ? p->smac : p->mac, 6);
	put16(icmp + 2, (uint16_t)~l4_sum(ip, true, icmp, len, IP_PROTO_ICMPV6));
	return (uint16_t)(14 + 40 + len);
}

uint16_t text_build(const struct text_packet *p, uint8_t *frame, uint16_t room)
{
	uint8_t l4[4096], *ip = frame + 14;
	bool v6 = is_v6(p), frag = (p->has & HAS_FRAG) != 0;
	unsigned len, hlen = v6 ? 40 : 20, total;
	const uint8_t *payload = l4;

	memcpy(frame, p->dmac, 6);
	memcpy(frame + 6, p->smac, 6);
	if (p->kind == TEXT_ARP_REQUEST || p->kind == TEXT_ARP_REPLY)
		return build_arp(p, frame);
	if (p->kind == TEXT_SOLICIT || p->kind == TEXT_ADVERTISE)
		return build_nd(p, frame);
	memset(ip, 0, 60);
	if (v6) {
		put16(frame + 12, 0x86dd);
		ip[0] = 0x60;
		ip[6] = proto_of(p);
		ip[7] = (p->has & HAS_TTL) != 0 ? p->ttl : 64;
		memcpy(ip + 8, p->src.bytes, 16);
		memcpy(ip + 24, p->dst.bytes, 16);
	} else {
		put16(frame + 12, 0x0800);
		ip[0] = 0x45;
		put16(ip + 4, p->ip_id);
		put16(ip + 6, (p->df ? 0x4000u : 0) | (p->more ? 0x2000u : 0) | p->frag_off / 8u);
		ip[8] = (p->has & HAS_TTL) != 0 ? p->ttl : 64;
		ip[9] = proto_of(p);
		memcpy(ip + 12, p->src.bytes + 12, 4);
		memcpy(ip + 16, p->dst.bytes + 12, 4);
	}
	/* A fragment is cut from a whole datagram of 1400 bytes more than its end, so that the
	 * checksum in the first one is of the whole. */
	if (frag) {
		struct text_packet whole = *p;

		whole.len = 2000;
		len = build_l4(&whole, ip, l4);
		payload = l4 + p->frag_off;
		len = p->more ? (p->len != 0 ? p->len : 1000u) : len - p->frag_off;
		if (v6) {
			uint8_t *fh = ip + 40;

			fh[0] = ip[6];
			fh[1] = 0;
			put16(fh + 2, p->frag_off | (p->more ? 1u : 0));
			put32(fh + 4, p->ip_id);
			ip[6] = 44;
			hlen = 48;
		}
	} else {
		len = build_l4(p, ip, l4);
	}
	total = hlen + len;
	if (total + 14 > room)
		return 0;
	if (v6) {
		put16(ip + 4, total - 40);
	} else {
		put16(ip + 2, total);
		put16(ip + 10, (uint16_t)~sum16(ip, 20, 0));
	}
	memcpy(ip + hlen, payload, len);
	return (uint16_t)(total + 14);
}

/* --- reading --------------------------------------------------------------------------------- */

static int fail(char *err, size_t room, const char *why)
{
	if (err != NULL)
		snprintf(err, room, "%s", why);
	return -EINVAL;
}

static int read_icmp(
	const uint8_t *l4, unsigned len, bool v6, struct text_packet *p, char *err, size_t room)
{
	unsigned type = l4[0];

	if (type == (v6 ? 128 : 8) || type == (v6 ? 129 : 0)) {
		p->kind = type == (v6 ? 128 : 8) ? TEXT_ECHO : TEXT_ECHO_REPLY;
		p->sport = p->dport = (uint16_t)get16(l4 + 4);
		p->len = (uint16_t)(len - 8);
		return 0;
	}
	if (v6 && (type == 135 || type == 136)) {
		p->kind = type == 135 ? TEXT_SOLICIT : TEXT_ADVERTISE;
		p->src = p->dst;
		p->dst = ip_from_v6(l4 + 8);
		if (len >= 32)
			memcpy(p->mac, l4 + 26, 6);
		p->has |= HAS_MAC;
		return 0;
	}
	p->kind = TEXT_ERROR;
	p->type = l4[0];
	p->code = l4[1];
	p->mtu = (uint16_t)(v6 ? get32(l4 + 4) : get16(l4 + 6));
	p->about = calloc(1, sizeof(*p->about));
	if (p->about == NULL || text_read_quoted(l4 + 8, (uint16_t)(len - 8), p->about) < 0)
		return fail(err, room, "the quoted packet cannot be read");
	p->quoted = true;
	return 0;
}

static int read_l4(const uint8_t *ip, bool v6, const uint8_t *l4, unsigned len, uint8_t proto,
	bool whole, struct text_packet *p, char *err, size_t room)
{
	unsigned need = proto == IP_PROTO_TCP ? 20 : proto == IP_PROTO_SCTP ? 12 : 8;

	if (len < need)
		return fail(err, room, "cut transport header");
	p->sport = (uint16_t)get16(l4);
	p->dport = (uint16_t)get16(l4 + 2);
	p->has |= HAS_PORTS;
	if (proto == IP_PROTO_SCTP) {
		uint32_t crc;

		memcpy(&crc, l4 + 8, 4);
		p->kind = TEXT_SCTP;
		p->len = (uint16_t)(len - 16);
		if (whole && crc != crc32c_bitwise(l4, len, 8))
			return fail(err, room, "wrong SCTP checksum");
		return 0;
	}
	if (proto == IP_PROTO_UDP && !v6 && get16(l4 + 6) == 0)
		p->nocsum = true;
	else if (whole &&
		(proto == IP_PROTO_ICMP ? sum16(l4, len, 0) : l4_sum(ip, v6, l4, len, proto)) !=
			0xffff)
		return fail(err, room, "wrong transport checksum");
	if (proto == IP_PROTO_TCP) {
		p->kind = TEXT_TCP;
		p->flags = l4[13];
		p->len = (uint16_t)(len - 20);
	} else if (proto == IP_PROTO_UDP) {
		p->kind = TEXT_UDP;
		p->len = (uint16_t)(len - 8);
	} else {
		return read_icmp(l4, len, v6, p, err, room);
	}
	return 0;
}

static int read_ip(
	const uint8_t *ip, unsigned len, bool quoted, struct text_packet *p, char *err, size_t room)
{
	bool v6 = ip[0] >> 4 == 6;
	unsigned hlen = v6 ? 40 : (ip[0] & 15u) * 4, total;
	uint8_t proto = v6 ? ip[6] : ip[9];

	if (len < (v6 ? 40u : 20u))
		return fail(err, room, "cut IP header");
	total = v6 ? 40 + get16(ip + 4) : get16(ip + 2);
	if (!quoted && total != len)
		return fail(err, room, "IP length and frame length differ");
	p->ttl = v6 ? ip[7] : ip[8];
	if (v6) {
		p->src = ip_from_v6(ip + 8);
		p->dst = ip_from_v6(ip + 24);
		if (proto == 44) {
			p->has |= HAS_FRAG;
			p->frag_off = get16(ip + 42) & 0xfff8;
			p->more = (get16(ip + 42) & 1) != 0;
			p->ip_id = get32(ip + 44);
			proto = ip[40];
			hlen = 48;
		}
	} else {
		uint32_t src, dst;

		memcpy(&src, ip + 12, 4);
		memcpy(&dst, ip + 16, 4);
		p->src = ip_from_v4(src);
		p->dst = ip_from_v4(dst);
		p->ip_id = get16(ip + 4);
		p->df = (ip[6] & 0x40) != 0;
		p->more = (ip[6] & 0x20) != 0;
		p->frag_off = (uint16_t)((get16(ip + 6) & 0x1fff) * 8);
		if (sum16(ip, hlen, 0) != 0xffff)
			return fail(err, room, "wrong IP checksum");
		if (p->more || p->frag_off != 0)
			p->has |= HAS_FRAG;
	}
	p->proto = proto;
	if (p->frag_off != 0) {
		p->kind = TEXT_FRAGMENT;
		p->len = (uint16_t)(len - hlen);
		return 0;
	}
	if (quoted && proto == IP_PROTO_TCP && len - hlen < 20) {
		p->kind = TEXT_TCP;
		p->sport = (uint16_t)get16(ip + hlen);
		p->dport = (uint16_t)get16(ip + hlen + 2);
		return 0;
	}
	return read_l4(ip, v6, ip + hlen, len - hlen, proto,
		(p->has & HAS_FRAG) == 0 && (!quoted || len >= total), p, err, room);
}

int text_read_quoted(const uint8_t *ip, uint16_t len, struct text_packet *out)
{
	memset(out, 0, sizeof(*out));
	if (len < 28)
		return -EINVAL;
	return read_ip(ip, len, true, out, NULL, 0);
}

int text_read(const uint8_t *frame, uint16_t len, struct text_packet *out, char *err, size_t room)
{
	unsigned type;

	memset(out, 0, sizeof(*out));
	if (len < 34)
		return fail(err, room, "short frame");
	memcpy(out->dmac, frame, 6);
	memcpy(out->smac, frame + 6, 6);
	type = get16(frame + 12);
	if (type == 0x0806) {
		uint32_t sender, target;

		memcpy(&sender, frame + 28, 4);
		memcpy(&target, frame + 38, 4);
		memcpy(out->mac, frame + 22, 6);
		out->has |= HAS_MAC;
		if (get16(frame + 20) == 1) {
			out->kind = TEXT_ARP_REQUEST;
			out->src = ip_from_v4(sender);
			out->dst = ip_from_v4(target);
		} else {
			out->kind = TEXT_ARP_REPLY;
			out->src = ip_from_v4(target);
			out->dst = ip_from_v4(sender);
		}
		return 0;
	}
	if ((type == 0x0800) != (frame[14] >> 4 == 4) || (type == 0x86dd) != (frame[14] >> 4 == 6))
		return fail(err, room, "EtherType and IP version differ");
	return read_ip(frame + 14, len - 14u, false, out, err, room);
}
