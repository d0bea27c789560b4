/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the translation of packets and that of packets quoted by ICMP errors share. Internal to
 * core; workers only. */

#pragma once

#include <stdint.h>

/* The CRC32c at field of an SCTP packet of sctp_len bytes whose ports changed. The packet's bytes
 * are not read: a quoted packet has few of them. */
void sctp_csum_adjust(uint8_t *field, uint32_t old_ports, uint32_t new_ports, uint32_t sctp_len);

/* A message of zeros, which ICMPv4's echo reply can be, has no sum but zero: only its checksum is
 * all ones, and an incremental update cannot know (RFC 1624 3). Sets it where len bytes say so. */
void icmp_csum_of_zeros(uint8_t *icmp, uint32_t len);
