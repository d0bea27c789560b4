/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Frames for tests: built from a description, checked and corrected by the plainest code there is.
 * It shares the wire layouts with core, and none of its functions, so that both cannot be wrong
 * together. Any thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_ROOM 4096

struct frame {
	uint8_t data[FRAME_ROOM];
	uint16_t len;
	uint16_t l3, l4;
	uint16_t end; /* of the IP packet: len without padding */
};

struct frame_spec {
	bool v6;
	uint8_t proto;       /* the transport */
	const char *src;     /* NULL: 10.1.0.1 or fd00:1::1 */
	const char *dst;     /* NULL: 10.2.0.2 or fd00:2::2 */
	uint16_t sport;      /* host order; ICMP: the identifier */
	uint16_t dport;      /* ICMP: the sequence number */
	uint8_t tcp_flags;   /* 0: ACK */
	uint8_t tcp_options; /* bytes, in fours */
	uint8_t icmp_type;
	uint8_t icmp_code;
	uint16_t payload;   /* bytes behind the transport header, from a counter */
	bool no_csum;       /* UDP: send none */
	uint8_t ttl;        /* 0: 64 */
	uint8_t ip_options; /* IPv4: bytes, in fours */
	const char *ext;    /* IPv6: h hop-by-hop, r routing, d destination, f fragment, in order */
	bool dont_fragment; /* IPv4 */
	uint16_t frag_off;  /* bytes; then no transport header is written */
	bool more;
	uint32_t id;
	bool tagged;
	uint16_t vlan;
	uint16_t pad; /* bytes behind the packet */
};

void frame_build(struct frame *f, const struct frame_spec *s);
/* An ICMP error from src to the sender of the frame, quoting n bytes of its packet. */
void frame_error(struct frame *f, const struct frame *about, uint8_t type, uint8_t code,
	const uint8_t *src, uint16_t n);

/* Sets IPv4 header and transport checksums right. A later fragment's or cut packet's is left; a
 * UDP checksum of none stays. l3 is where the IP header is. */
void frame_fix(uint8_t *data, uint16_t len, uint16_t l3);
/* Are they right? UDP's none is over IPv4. */
bool frame_right(const uint8_t *data, uint16_t len, uint16_t l3);

/* RFC 1071 by 16-bit words, and CRC32c by bits. */
uint16_t naive_csum(const uint8_t *p, size_t n, uint32_t sum);
uint32_t naive_crc32c(const uint8_t *p, size_t n);
