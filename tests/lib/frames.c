/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Frames built and corrected byte by byte (see frames.h). */

#include <arpa/inet.h>
#include <string.h>

#include "lib/frames.h"

enum {
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	ICMPV6 = 58,
	SCTP = 132
};

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint16_t naive_csum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++) {
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
		if (sum > 0xffff)
			sum = (sum & 0xffff) + 1;
	}
	return (uint16_t)~sum;
}

uint32_t naive_crc32c(const uint8_t *p, size_t n)
{
	uint32_t reg = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		reg ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			reg = reg & 1 ? reg >> 1 ^ UINT32_C(0x82f63b78) : reg >> 1;
	}
	return ~reg;
}

/* --- where things are ------------------------------------------------------------------------- */

struct walk {
	uint16_t l4, end;
	uint8_t proto;
	bool v6;
};

/* False: no transport whose checksum could be known. */
static bool walk(const uint8_t *data, uint16_t len, uint16_t l3, struct walk *w)
{
	const uint8_t *ip = data + l3;

	memset(w, 0, sizeof(*w));
	w->v6 = ip[0] >> 4 == 6;
	if (!w->v6) {
		w->l4 = (uint16_t)(l3 + (ip[0] & 15) * 4);
		w->end = (uint16_t)(l3 + get16(ip + 2));
		w->proto = ip[9];
		if ((get16(ip + 6) & 0x3fff) != 0)
			return false;
	} else {
		w->l4 = (uint16_t)(l3 + 40);
		w->end = (uint16_t)(l3 + 40 + get16(ip + 4));
		w->proto = ip[6];
		while (w->proto == 0 || w->proto == 43 || w->proto == 60 || w->proto == 44) {
			const uint8_t *ext = data + w->l4;

			if (w->l4 + 8 > len)
				return false;
			if (w->proto == 44 && (get16(ext + 2) & 0xfff9) != 0)
				return false;
			w->l4 = (uint16_t)(w->l4 + (w->proto == 44 ? 8 : (ext[1] + 1) * 8));
			w->proto = ext[0];
		}
	}
	return w->l4 <= w->end && w->end <= len;
}

static uint32_t pseudo(const uint8_t *data, uint16_t l3, const struct walk *w)
{
	uint32_t n = (uint32_t)(w->end - w->l4);
	uint32_t sum = 0;

	if (w->proto == ICMP)
		return 0;
	sum = n + w->proto;
	if (w->v6)
		return sum + (uint16_t)~naive_csum(data + l3 + 8, 32, 0);
	return sum + (uint16_t)~naive_csum(data + l3 + 12, 8, 0);
}

static uint16_t transport_csum(const uint8_t *data, uint16_t l3, const struct walk *w)
{
	uint32_t sum = pseudo(data, l3, w);

	return naive_csum(data + w->l4, (size_t)(w->end - w->l4), (sum & 0xffff) + (sum >> 16));
}

/* --- checksums -------------------------------------------------------------------------------- */

static void fix_transport(uint8_t *data, uint16_t l3, const struct walk *w)
{
	uint8_t *l4 = data + w->l4;
	uint16_t csum;
	uint32_t crc;

	switch (w->proto) {
	case TCP:
		put16(l4 + 16, 0);
		put16(l4 + 16, transport_csum(data, l3, w));
		break;
	case UDP:
		if (get16(l4 + 6) == 0)
			break;
		put16(l4 + 6, 0);
		csum = transport_csum(data, l3, w);
		put16(l4 + 6, csum == 0 ? 0xffff : csum);
		break;
	case ICMP:
	case ICMPV6:
		put16(l4 + 2, 0);
		put16(l4 + 2, transport_csum(data, l3, w));
		break;
	case SCTP:
		memset(l4 + 8, 0, 4);
		crc = naive_crc32c(l4, (size_t)(w->end - w->l4));
		for (int i = 0; i < 4; i++)
			l4[8 + i] = (uint8_t)(crc >> 8 * i);
		break;
	}
}

void frame_fix(uint8_t *data, uint16_t len, uint16_t l3)
{
	uint8_t *ip = data + l3;
	struct walk w;

	if (ip[0] >> 4 == 4) {
		put16(ip + 10, 0);
		put16(ip + 10, naive_csum(ip, (ip[0] & 15) * 4u, 0));
	}
	if (walk(data, len, l3, &w))
		fix_transport(data, l3, &w);
}

bool frame_right(const uint8_t *data, uint16_t len, uint16_t l3)
{
	const uint8_t *ip = data + l3;
	const uint8_t *l4;
	uint8_t copy[65536];
	struct walk w;

	if (ip[0] >> 4 == 4 && naive_csum(ip, (ip[0] & 15) * 4u, 0) != 0)
		return false;
	if (!walk(data, len, l3, &w))
		return true;
	l4 = data + w.l4;
	if (w.proto == UDP && get16(l4 + 6) == 0)
		return !w.v6;
	if (w.proto != SCTP)
		return transport_csum(data, l3, &w) == 0;
	memcpy(copy, data, w.end);
	fix_transport(copy, l3, &w);
	return memcmp(copy, data, w.end) == 0;
}

/* --- building --------------------------------------------------------------------------------- */

static uint16_t put_eth(uint8_t *p, const struct frame_spec *s)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	uint16_t at = 12;

	memcpy(p, macs, 12);
	if (s->tagged) {
		put16(p + at, 0x8100);
		put16(p + at + 2, s->vlan);
		at += 4;
	}
	put16(p + at, s->v6 ? 0x86dd : 0x0800);
	return (uint16_t)(at + 2);
}

/* Returns its length. */
static uint16_t put_transport(uint8_t *p, const struct frame_spec *s)
{
	uint16_t n = 0;

	switch (s->proto) {
	case TCP:
		put16(p, s->sport);
		put16(p + 2, s->dport);
		put16(p + 4, 0x1234);
		put16(p + 10, 0x4321);
		p[12] = (uint8_t)((20 + s->tcp_options) / 4 << 4);
		p[13] = s->tcp_flags != 0 ? s->tcp_flags : 0x10;
		put16(p + 14, 64240);
		memset(p + 20, 1, s->tcp_options);
		n = 20 + s->tcp_options;
		break;
	case UDP:
		put16(p, s->sport);
		put16(p + 2, s->dport);
		put16(p + 4, 8u + s->payload);
		put16(p + 6, s->no_csum ? 0 : 0xaaaa);
		n = 8;
		break;
	case SCTP:
		put16(p, s->sport);
		put16(p + 2, s->dport);
		put16(p + 4, 0xbeef);
		n = 12;
		break;
	case ICMP:
	case ICMPV6:
		p[0] = s->icmp_type;
		p[1] = s->icmp_code;
		put16(p + 4, s->sport);
		put16(p + 6, s->dport);
		n = 8;
		break;
	}
	return n;
}

static void put_ipv4(uint8_t *ip, const struct frame_spec *s, uint16_t body)
{
	uint16_t header = (uint16_t)(20 + s->ip_options);

	ip[0] = (uint8_t)(0x40 | header / 4);
	put16(ip + 2, (uint32_t)header + body);
	put16(ip + 4, s->id);
	put16(ip + 6, s->frag_off / 8u | (s->more ? 0x2000 : 0) | (s->dont_fragment ? 0x4000 : 0));
	ip[8] = s->ttl != 0 ? s->ttl : 64;
	ip[9] = s->proto;
	inet_pton(AF_INET, s->src != NULL ? s->src : "10.1.0.1", ip + 12);
	inet_pton(AF_INET, s->dst != NULL ? s->dst : "10.2.0.2", ip + 16);
	memset(ip + 20, 1, s->ip_options);
}

static uint8_t ext_number(char c)
{
	switch (c) {
	case 'h':
		return 0;
	case 'r':
		return 43;
	case 'd':
		return 60;
	default:
		return 44;
	}
}

/* Returns the length of header and chain; the payload length is left to the caller. */
static uint16_t put_ipv6(uint8_t *ip, const struct frame_spec *s)
{
	const char *ext = s->ext != NULL ? s->ext : "";
	uint16_t at = 40;

	ip[0] = 0x60;
	ip[6] = *ext != '\0' ? ext_number(*ext) : s->proto;
	ip[7] = s->ttl != 0 ? s->ttl : 64;
	inet_pton(AF_INET6, s->src != NULL ? s->src : "fd00:1::1", ip + 8);
	inet_pton(AF_INET6, s->dst != NULL ? s->dst : "fd00:2::2", ip + 24);
	for (; *ext != '\0'; ext++) {
		uint8_t *h = ip + at;

		h[0] = ext[1] != '\0' ? ext_number(ext[1]) : s->proto;
		if (*ext == 'f') {
			put16(h + 2, s->frag_off | (s->more ? 1u : 0u));
			put16(h + 4, s->id >> 16);
			put16(h + 6, s->id);
		} else if (*ext == 'd') {
			h[1] = 1; /* 16 bytes: PadN */
			h[2] = 1;
			h[3] = 12;
			at += 8;
		} else if (*ext == 'h') {
			h[2] = 5; /* router alert, PadN */
			h[3] = 2;
			h[6] = 1;
		}
		at += 8;
	}
	return at;
}

void frame_build(struct frame *f, const struct frame_spec *s)
{
	uint16_t n = 0;

	memset(f, 0, sizeof(*f));
	f->l3 = put_eth(f->data, s);
	f->l4 = (uint16_t)(f->l3 + (s->v6 ? put_ipv6(f->data + f->l3, s) : 20 + s->ip_options));
	if (s->frag_off == 0)
		n = put_transport(f->data + f->l4, s);
	for (uint16_t i = 0; i < s->payload; i++)
		f->data[f->l4 + n + i] = (uint8_t)(i * 7 + s->payload);
	f->end = (uint16_t)(f->l4 + n + s->payload);
	if (s->v6)
		put16(f->data + f->l3 + 4, f->end - f->l3 - 40u);
	else
		put_ipv4(f->data + f->l3, s, (uint16_t)(n + s->payload));
	f->len = (uint16_t)(f->end + s->pad);
	frame_fix(f->data, f->len, f->l3);
}

void frame_error(struct frame *f, const struct frame *about, uint8_t type, uint8_t code,
	const uint8_t *src, uint16_t n)
{
	const uint8_t *quoted = about->data + about->l3;
	uint8_t *ip;
	bool v6 = quoted[0] >> 4 == 6;

	memset(f, 0, sizeof(*f));
	memcpy(f->data, about->data, about->l3);
	f->l3 = about->l3;
	f->l4 = (uint16_t)(f->l3 + (v6 ? 40 : 20));
	ip = f->data + f->l3;
	ip[0] = v6 ? 0x60 : 0x45;
	if (v6) {
		put16(ip + 4, 8u + n);
		ip[6] = ICMPV6;
		ip[7] = 64;
		memcpy(ip + 8, src, 16);
		memcpy(ip + 24, quoted + 8, 16);
	} else {
		put16(ip + 2, 28u + n);
		ip[8] = 64;
		ip[9] = ICMP;
		memcpy(ip + 12, src, 4);
		memcpy(ip + 16, quoted + 12, 4);
	}
	f->data[f->l4] = type;
	f->data[f->l4 + 1] = code;
	memcpy(f->data + f->l4 + 8, quoted, n);
	f->len = f->end = (uint16_t)(f->l4 + 8 + n);
	frame_fix(f->data, f->len, f->l3);
}
