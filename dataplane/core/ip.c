/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Text forms and classes of IP addresses (see ip.h). Any thread, no state. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/ip.h"

/* inet_pton refuses leading zeros and inet_aton reads them as octal; Kubernetes means decimal. */
static int parse_v4(const char *text, uint32_t *out)
{
	uint32_t value = 0;
	int octets = 0;

	while (true) {
		uint32_t octet = 0;
		int digits = 0;

		while (*text >= '0' && *text <= '9') {
			octet = octet * 10 + (uint32_t)(*text++ - '0');
			if (++digits > 3 || octet > 255)
				return -EINVAL;
		}
		if (digits == 0)
			return -EINVAL;
		value = value << 8 | octet;
		octets++;
		if (*text == '\0')
			break;
		if (*text++ != '.' || octets == 4)
			return -EINVAL;
	}
	if (octets != 4)
		return -EINVAL;
	*out = htonl(value);
	return 0;
}

int ip_parse(const char *text, struct ip_addr *out)
{
	struct in6_addr v6;
	uint32_t v4;

	if (text == NULL)
		return -EINVAL;
	if (strchr(text, ':') == NULL) {
		if (parse_v4(text, &v4) < 0)
			return -EINVAL;
		*out = ip_from_v4(v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6) != 1)
		return -EINVAL;
	*out = ip_from_v6(&v6);
	return 0;
}

int ip_prefix_parse(const char *text, struct ip_prefix *out)
{
	char addr[IP_TEXT_MAX];
	const char *slash;
	unsigned long len;
	char *end;

	if (text == NULL)
		return -EINVAL;
	slash = strchr(text, '/');
	if (slash == NULL || (size_t)(slash - text) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (ip_parse(addr, &out->addr) < 0)
		return -EINVAL;
	if (slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	len = strtoul(slash + 1, &end, 10);
	out->family = (uint8_t)ip_family(&out->addr);
	if (*end != '\0' || len > (out->family == IP_V4 ? 32 : 128))
		return -EINVAL;
	out->len = (uint8_t)len;
	ip_prefix_mask(out);
	return 0;
}

char *ip_format(const struct ip_addr *a, char buf[IP_TEXT_MAX])
{
	if (ip_family(a) == IP_V4)
		inet_ntop(AF_INET, &a->words[3], buf, IP_TEXT_MAX);
	else
		inet_ntop(AF_INET6, a->bytes, buf, IP_TEXT_MAX);
	return buf;
}

char *ip_prefix_format(const struct ip_prefix *p, char buf[IP_PREFIX_TEXT_MAX])
{
	char addr[IP_TEXT_MAX];

	snprintf(buf, IP_PREFIX_TEXT_MAX, "%s/%u", ip_format(&p->addr, addr), p->len);
	return buf;
}

void ip_prefix_mask(struct ip_prefix *p)
{
	unsigned keep = p->len + (p->family == IP_V4 ? 96u : 0u);

	for (unsigned i = 0; i < 16; i++) {
		if (keep >= 8 * (i + 1))
			continue;
		p->addr.bytes[i] &= keep <= 8 * i ? 0 : (uint8_t)(0xff00u >> (keep - 8 * i));
	}
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
	struct ip_prefix masked = {.addr = *a, .len = p->len, .family = p->family};

	if ((uint8_t)ip_family(a) != p->family)
		return false;
	ip_prefix_mask(&masked);
	return ip_equal(&masked.addr, &p->addr);
}

bool ip_is_loopback(const struct ip_addr *a)
{
	if (ip_family(a) == IP_V4)
		return a->bytes[12] == 127;
	return a->dwords[0] == 0 && a->words[2] == 0 && a->words[3] == htonl(1);
}

bool ip_is_link_local(const struct ip_addr *a)
{
	if (ip_family(a) == IP_V4)
		return a->bytes[12] == 169 && a->bytes[13] == 254;
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

bool ip_is_multicast(const struct ip_addr *a)
{
	if (ip_family(a) == IP_V4)
		return (a->bytes[12] & 0xf0) == 0xe0;
	return a->bytes[0] == 0xff;
}

const char *ip_proto_name(uint8_t proto, char buf[12])
{
	switch (proto) {
	case IP_PROTO_TCP:
		return "TCP";
	case IP_PROTO_UDP:
		return "UDP";
	case IP_PROTO_SCTP:
		return "SCTP";
	case IP_PROTO_ICMP:
		return "ICMP";
	case IP_PROTO_ICMPV6:
		return "ICMPv6";
	}
	snprintf(buf, 12, "proto-%u", proto);
	return buf;
}

uint8_t ip_proto_parse(const char *text)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} names[] = {
		{"TCP", IP_PROTO_TCP},
		{"UDP", IP_PROTO_UDP},
		{"SCTP", IP_PROTO_SCTP},
		{"ICMP", IP_PROTO_ICMP},
		{"ICMPv6", IP_PROTO_ICMPV6},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i].name) == 0)
			return names[i].proto;
	return 0;
}
