/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the translation of packets and that of packets quoted by ICMP errors share. Internal to
 * core; workers only. */

#pragma once

#include <stdint.h>

/* The CRC32c at field of an SCTP packet of sctp_len bytes whose ports changed. The packet's bytes
 * are not read: a quoted packet has few of them. */
void sctp_csum_adjust(uint8_t *field, uint32_t old_ports, uint32_t new_ports, uint32_t sctp_len);
