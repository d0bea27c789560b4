/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Packets as text, both ways, with nothing of the dataplane's own code: an independent builder and
 * reader, so that a mistake in the parser cannot hide in its test.
 *
 *   tcp SRC:PORT > DST:PORT [FLAGS] [ttl=N] [len=N] [df] [id=N] [frag=OFFSET[+]] [smac=] [dmac=]
 *   udp ... [nocsum]     sctp ...     echo SRC > DST id=N     echo-reply SRC > DST id=N
 *   error TYPE/CODE SRC > DST [mtu=N] about (PACKET)
 *   arp-request TARGET from SRC      arp-reply ADDR at MAC to DST
 *   solicit TARGET from SRC          advertise ADDR at MAC to DST
 *
 * IPv6 addresses with a port stand in brackets. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ip.h"

enum text_kind {
	TEXT_TCP,
	TEXT_UDP,
	TEXT_SCTP,
	TEXT_ECHO,
	TEXT_ECHO_REPLY,
	TEXT_ERROR,
	TEXT_ARP_REQUEST,
	TEXT_ARP_REPLY,
	TEXT_SOLICIT,
	TEXT_ADVERTISE,
	TEXT_FRAGMENT, /* a later fragment; proto tells whose */
	TEXT_KINDS
};

/* has: bits of what the text named; a reader sets all that apply. */
enum text_has {
	HAS_TTL = 1 << 0,
	HAS_LEN = 1 << 1,
	HAS_FLAGS = 1 << 2,
	HAS_DF = 1 << 3,
	HAS_FRAG = 1 << 4,
	HAS_MTU = 1 << 5,
	HAS_SMAC = 1 << 6,
	HAS_DMAC = 1 << 7,
	HAS_ID = 1 << 8,
	HAS_SRC = 1 << 9,
	HAS_DST = 1 << 10,
	HAS_PORTS = 1 << 11,
	HAS_MAC = 1 << 12,
	HAS_NOCSUM = 1 << 13,
};

struct text_packet {
	enum text_kind kind;
	uint32_t has;
	uint8_t proto;
	struct ip_addr src, dst;
	uint16_t sport, dport;             /* host order; echo: id in both */
	char sport_var[16], dport_var[16]; /* "$name": bound or compared by the caller */
	uint8_t flags, ttl;
	uint16_t len; /* payload behind the transport header */
	uint32_t ip_id;
	uint16_t frag_off;
	bool df, more, nocsum;
	uint16_t mtu;
	uint8_t type, code;
	uint8_t smac[6], dmac[6], mac[6];
	bool quoted; /* about[] holds the quoted packet */
	struct text_packet *about;
};

/* 0, or -EINVAL with a message in err. The result may own about: free with text_free. */
int text_parse(const char *line, struct text_packet *out, char *err, size_t room);
void text_free(struct text_packet *p);
/* Writes the frame with right checksums, returns its length. */
uint16_t text_build(const struct text_packet *p, uint8_t *frame, uint16_t room);
/* Reads a frame and checks every checksum in it by full computation; -EINVAL with err. */
int text_read(const uint8_t *frame, uint16_t len, struct text_packet *out, char *err, size_t room);
int text_read_quoted(const uint8_t *ip, uint16_t len, struct text_packet *out);
/* For messages. */
void text_show(const struct text_packet *p, char *buf, size_t room);
bool text_mac(const char *text, uint8_t mac[6]);
