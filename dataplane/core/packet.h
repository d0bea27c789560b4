/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Headers on the wire and the checksums over them. Everything works on bytes of one buffer and
 * checks every length against the bytes held. Pure; any thread. Multi-byte fields are in network
 * order; loads and stores are unaligned-safe. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/burst.h"
#include "core/drop.h"
#include "core/flow_key.h"
#include "core/ip.h"
#include "core/unaligned.h"

#define ETH_HLEN      14
#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_ARP  0x0806
#define ETH_TYPE_VLAN 0x8100
#define ETH_TYPE_IPV6 0x86dd

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

/* IPv6 next headers that are not transports (RFC 8200). */
#define IPV6_HOP_BY_HOP     0
#define IPV6_ROUTING        43
#define IPV6_FRAGMENT       44
#define IPV6_NO_NEXT        59
#define IPV6_DESTINATION    60
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_DONT_FRAGMENT  0x4000
#define IPV4_OFFSET_MASK    0x1fff

/* --- wire layouts (packed by nature; access through these on unaligned-safe types) --- */

struct eth_hdr {
	uint8_t dst[6];
	uint8_t src[6];
	uint16_t type;
} __attribute__((packed));

struct ipv4_hdr {
	uint8_t vihl;
	uint8_t tos;
	uint16_t total_len;
	uint16_t id;
	uint16_t frag;
	uint8_t ttl;
	uint8_t proto;
	uint16_t csum;
	uint32_t src;
	uint32_t dst;
} __attribute__((packed));

struct ipv6_hdr {
	uint32_t vtc_flow;
	uint16_t payload_len;
	uint8_t next;
	uint8_t hop_limit;
	uint8_t src[16];
	uint8_t dst[16];
} __attribute__((packed));

struct l4_ports {
	uint16_t src;
	uint16_t dst;
} __attribute__((packed));

struct tcp_hdr {
	uint16_t src;
	uint16_t dst;
	uint32_t seq;
	uint32_t ack;
	uint8_t off;
	uint8_t flags;
	uint16_t window;
	uint16_t csum;
	uint16_t urg;
} __attribute__((packed));

struct udp_hdr {
	uint16_t src;
	uint16_t dst;
	uint16_t len;
	uint16_t csum;
} __attribute__((packed));

struct sctp_hdr {
	uint16_t src;
	uint16_t dst;
	uint32_t vtag;
	uint32_t csum; /* CRC32c, little endian on the wire */
} __attribute__((packed));

struct icmp_hdr { /* ICMPv6 too */
	uint8_t type;
	uint8_t code;
	uint16_t csum;
	uint16_t id;
	uint16_t seq;
} __attribute__((packed));

struct frag6_hdr {
	uint8_t next;
	uint8_t reserved;
	uint16_t off_m;
	uint32_t id;
} __attribute__((packed));

/* --- parsing ---------------------------------------------------------------------------------- */

enum parse_kind {
	PARSE_FLOW,           /* TCP, UDP, SCTP, ICMP echo; key filled */
	PARSE_FRAGMENT_LATER, /* key filled but for the ports; IPv6: proto may be a header to come
			       */
	PARSE_ICMP_ERROR,     /* key filled but for the ports; its ICMP checksum is right */
	PARSE_NEIGHBOUR,      /* ARP or ND */
	PARSE_DROP,           /* reason says why */
};

struct parsed {
	uint8_t kind;   /* enum parse_kind */
	uint8_t reason; /* enum drop_reason, for PARSE_DROP */
	uint8_t flags;  /* enum lane_flag; LANE_IP_OPTIONS for IPv6 extension headers too */
	uint16_t vlan;  /* 0: none */
	uint16_t len;   /* frame length without padding behind the IP packet */
	union {
		struct {                 /* struct lane_headers */
			uint16_t l3, l4; /* offsets from the frame's start */
			uint8_t proto;
			uint8_t tcp_flags;
		};
		uint64_t headers;
	};
	/* Fragments only (LANE_FRAGMENT). */
	uint32_t frag_id;  /* identification, network order */
	uint16_t frag_off; /* bytes */
	uint16_t frag_len; /* bytes of the datagram's payload that this fragment carries */
	union {
		struct flow_key4 key4;
		struct flow_key6 key6;
		uint64_t key_words[5]; /* as they are compared */
	};
};

/* One frame of len bytes. Zone is the vport's. IPv4 header checksum is verified; L4 checksums are
 * not (a wrong one stays wrong through incremental update, as in any router), but for ICMP errors
 * (RFC 5508 REQ-3). Key and fragment fields are set only where the kind says so.
 *
 * The hot path calls parse_fast4() of core/packet_fast.h first, which is inline and knows the
 * common packets only. */
void parse_frame(const uint8_t *frame, uint16_t len, uint16_t zone, struct parsed *out);

/* Why a packet between these addresses must not start a flow: multicast, martians (RFC 1812 5.3.7);
 * DROP_REASONS: it may. parse_frame() has asked, parse_fast4() and parse_fast6() have not. */
enum drop_reason packet_address_fault4(const struct flow_key4 *k);
enum drop_reason packet_address_fault6(const struct flow_key6 *k);

/* ::, ::1 and IPv4-mapped addresses, which every table would take for IPv4's: never on the wire,
 * but for :: as the source of duplicate address detection. */
bool ipv6_is_martian(const uint8_t addr[16]);

/* The packet quoted by an ICMP or ICMPv6 error that starts at l4: fills the key of the quoted
 * packet as quoted (source is the one who sent it), false if too short or not trackable.
 * out->l3 and out->l4 are offsets from frame; 8 bytes of transport header are inside len. */
bool parse_icmp_quoted(const uint8_t *frame, uint16_t len, uint16_t l4, bool v6, uint16_t zone,
	struct parsed *out);

/* --- checksums (RFC 1071, RFC 1624 eqn. 3) ---------------------------------------------------- */

/* Ones' complement sum of len bytes added to sum, not folded. Pieces of one message have even
 * lengths, but for the last. */
uint64_t csum_partial(const void *data, uint32_t len, uint64_t sum);
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}
/* new checksum = csum_update(old checksum, delta), delta = sum(~old field) + sum(new field) folded.
 * A checksum as everybody computes it (never 0xffff) gives one of the same form. */
static inline uint16_t csum_update(uint16_t csum, uint16_t delta)
{
	uint32_t sum = (uint16_t)~csum + (uint32_t)delta;

	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
uint16_t ipv4_csum(const struct ipv4_hdr *ip); /* of the header as it is, csum field ignored */
/* Full L4 checksum (TCP, UDP, ICMP, ICMPv6) of a packet at l3/l4 with l4_len bytes, as it is to be
 * stored; csum field ignored. UDP's 0 comes as 0xffff (RFC 768). */
uint16_t l4_csum(
	const uint8_t *frame, uint16_t l3, uint16_t l4, uint16_t l4_len, bool v6, uint8_t proto);
/* Is the checksum that the packet carries right? (UDP's "none" is not.) */
bool l4_csum_valid(
	const uint8_t *frame, uint16_t l3, uint16_t l4, uint16_t l4_len, bool v6, uint8_t proto);
/* CRC32c of len bytes after those whose CRC is crc (0 for none): chains over pieces. */
uint32_t crc32c(const void *data, uint32_t len, uint32_t crc);

/* --- translation ------------------------------------------------------------------------------ */

/* What changes when a packet with key "from" becomes one whose key is "to": deltas for the IPv4
 * header checksum and for the L4 checksum (pseudo header and ports; ICMP: identifier only,
 * ICMPv6: with pseudo header). The reverse translation's deltas are the complements. */
void nat_deltas4(
	const struct flow_key4 *from, const struct flow_key4 *to, uint16_t *l3, uint16_t *l4);
void nat_deltas6(const struct flow_key6 *from, const struct flow_key6 *to, uint16_t *l4);

/* nat_rewrite4, nat_rewrite6 and ttl_decrement are inline in core/packet_fast.h, which is included
 * below. */

/* An ICMP error of a flow: the quoted packet becomes "quoted" (what its sender had sent), the
 * outer addresses become src and dst; checksums of the quoted header, the outer header and the
 * ICMP message are right afterwards. The quoted transport checksum is adjusted when it is there. */
void icmp_error_rewrite4(uint8_t *frame, uint16_t len, const struct parsed *outer,
	const struct parsed *inner, const struct flow_key4 *quoted, uint32_t src, uint32_t dst);
void icmp_error_rewrite6(uint8_t *frame, uint16_t len, const struct parsed *outer,
	const struct parsed *inner, const struct flow_key6 *quoted, const uint8_t src[16],
	const uint8_t dst[16]);

/* --- answers built by us ---------------------------------------------------------------------- */

enum reject_kind {
	REJECT_NONE,
	REJECT_TCP_RESET,        /* RFC 9293 3.10.7.1 */
	REJECT_PORT_UNREACHABLE, /* v4 3/3, v6 1/4 */
	REJECT_HOST_UNREACHABLE, /* v4 3/1, v6 1/3 */
	REJECT_NO_ROUTE,         /* v4 3/0, v6 1/0 */
	REJECT_PROHIBITED,       /* v4 3/13, v6 1/1 */
	REJECT_TTL,              /* v4 11/0, v6 3/0 */
	REJECT_TOO_BIG,          /* v4 3/4 with next-hop MTU, v6 2/0 */
};

/* May an error be sent about this packet (RFC 1122 3.2.2, RFC 4443 2.4 e): not about ICMP errors,
 * later fragments, multicast, broadcast, or unspecified sources; a reset not about a reset. */
bool reject_allowed(
	const uint8_t *frame, uint16_t len, const struct parsed *p, enum reject_kind kind);
/* Writes the answer as a whole frame to out (room bytes); returns its length, 0 if not possible.
 * It goes back to the sender: MACs swapped, source icmp_source (a reset comes from the packet's
 * destination), quoting the packet as received. */
uint16_t reject_build(const uint8_t *frame, uint16_t len, const struct parsed *p,
	enum reject_kind kind, uint16_t mtu, const struct ip_addr *icmp_source, uint8_t *out,
	uint16_t room);

/* Turns an echo request into its reply in place (MACs, addresses, type, checksum, TTL 64); false
 * if it is none or its checksum is wrong. */
bool echo_reply(uint8_t *frame, uint16_t len, uint16_t l3, uint16_t l4, bool v6);

/* --- neighbours: ARP (RFC 826) and ND (RFC 4861) ---------------------------------------------- */

enum neighbour_kind {
	NEIGH_INVALID,
	NEIGH_REQUEST, /* ARP request or neighbour solicitation for target */
	NEIGH_REPLY,   /* ARP reply or neighbour advertisement */
	NEIGH_ROUTER_SOLICIT,
	NEIGH_OTHER, /* router advertisement, redirect: ignored */
};

struct neighbour_msg {
	uint8_t kind; /* enum neighbour_kind */
	bool probe;   /* duplicate address detection: no sender address */
	bool solicited, override;
	bool has_mac;
	uint8_t mac[6]; /* of sender (request) or target (reply) */
	struct ip_addr sender;
	struct ip_addr target;
};

/* Validates (hop limit 255, lengths, checksum, option walk) and reads. */
void neighbour_parse(
	const uint8_t *frame, uint16_t len, const struct parsed *p, struct neighbour_msg *out);
/* Turns a request into the answer "target is at mac", in place or into out (room bytes; ND answers
 * can be longer than the question). Returns the length. */
uint16_t neighbour_answer(const uint8_t *frame, uint16_t len, const struct parsed *p,
	const struct neighbour_msg *msg, const uint8_t mac[6], uint8_t *out, uint16_t room);
/* A request for target from source at mac, broadcast or solicited-node multicast; returns length.
 */
uint16_t neighbour_request(const struct ip_addr *target, const struct ip_addr *source,
	const uint8_t mac[6], uint16_t vlan, uint8_t *out, uint16_t room);
/* An unasked announcement (gratuitous ARP, unsolicited NA) of addr at mac. */
uint16_t neighbour_announce(const struct ip_addr *addr, const uint8_t mac[6], uint16_t vlan,
	uint8_t *out, uint16_t room);

/* --- fragmentation of what is too big and may be cut (IPv4 without DF) ------------------------ */

/* Writes fragment number n (0...) of an IPv4 packet for mtu into out; returns its frame length, 0
 * when there is no such fragment. The Ethernet header is copied. */
uint16_t ipv4_fragment(const uint8_t *frame, uint16_t len, uint16_t l3, uint16_t mtu, uint16_t n,
	uint8_t *out, uint16_t room);

#include "core/packet_fast.h"
