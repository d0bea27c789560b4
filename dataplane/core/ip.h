/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* IP addresses and prefixes as every part of Sluice holds them.
 *
 * One 16-byte form for both families: IPv6 as it is, IPv4 mapped (::ffff:a.b.c.d, RFC 4291
 * 2.5.5.2). Bytes are in network order. Text is parsed and printed here only, so that every
 * part agrees on the canonical form (RFC 5952). Any thread; no state. */

#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum ip_family {
	IP_V4 = 0,
	IP_V6 = 1,
	IP_FAMILIES = 2
};

#define IP_PROTO_ICMP   1
#define IP_PROTO_TCP    6
#define IP_PROTO_UDP    17
#define IP_PROTO_ICMPV6 58
#define IP_PROTO_SCTP   132

struct ip_addr {
	union {
		uint8_t bytes[16];
		uint32_t words[4];
		uint64_t dwords[2];
	};
};

/* length counts bits in the family's own space: 0..32 or 0..128. */
struct ip_prefix {
	struct ip_addr addr;
	uint8_t len;
	uint8_t family;
};

#define IP_TEXT_MAX        46 /* INET6_ADDRSTRLEN */
#define IP_PREFIX_TEXT_MAX (IP_TEXT_MAX + 4)

static inline struct ip_addr ip_from_v4(uint32_t be)
{
	struct ip_addr a = {.words = {0, 0, htonl(0xffff), be}};

	return a;
}

static inline struct ip_addr ip_from_v6(const void *bytes)
{
	struct ip_addr a;

	memcpy(a.bytes, bytes, 16);
	return a;
}

static inline enum ip_family ip_family(const struct ip_addr *a)
{
	return a->dwords[0] == 0 && a->words[2] == htonl(0xffff) ? IP_V4 : IP_V6;
}

/* The IPv4 address in network order; only for IP_V4. */
static inline uint32_t ip_v4(const struct ip_addr *a)
{
	return a->words[3];
}

static inline bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->dwords[0] == b->dwords[0] && a->dwords[1] == b->dwords[1];
}

/* Byte order, so IPv4 (mapped) sorts together. */
static inline int ip_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->bytes, b->bytes, 16);
}

static inline bool ip_is_zero(const struct ip_addr *a)
{
	return a->dwords[0] == 0 && (a->dwords[1] == 0 || a->dwords[1] == ip_from_v4(0).dwords[1]);
}

/* 0 or -EINVAL. IPv4 with leading zeros is read as decimal, as old Kubernetes objects mean it;
 * IPv4-mapped IPv6 becomes IPv4. */
int ip_parse(const char *text, struct ip_addr *out);
/* "addr/len"; host bits are masked away. 0 or -EINVAL. */
int ip_prefix_parse(const char *text, struct ip_prefix *out);
/* Both return buf, canonical (RFC 5952; IPv4 dotted). */
char *ip_format(const struct ip_addr *a, char buf[IP_TEXT_MAX]);
char *ip_prefix_format(const struct ip_prefix *p, char buf[IP_PREFIX_TEXT_MAX]);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
/* Clears the bits of addr behind len. */
void ip_prefix_mask(struct ip_prefix *p);

bool ip_is_loopback(const struct ip_addr *a);
bool ip_is_link_local(const struct ip_addr *a);
bool ip_is_multicast(const struct ip_addr *a);

/* "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", or "proto-N" in buf. */
const char *ip_proto_name(uint8_t proto, char buf[12]);
/* Kubernetes' spelling; 0 when unknown. */
uint8_t ip_proto_parse(const char *text);
