/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Opaque list cursors: base64url (RFC 4648, 5, without padding) of a few bytes. Pure; any thread.
 */

#pragma once

#include <stddef.h>

/* out holds 4/3 of len, rounded up, and a NUL. */
void cursor_encode(const void *data, size_t len, char *out);
/* The number of bytes; -EINVAL for another alphabet, more than size, or bits left over. */
int cursor_decode(const char *text, void *out, size_t size);
