/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Cursors as text (see cursor.h). */

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "control/api/cursor.h"

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cursor_encode(const void *data, size_t len, char *out)
{
	const unsigned char *in = data;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0) |
			(i + 2 < len ? in[i + 2] : 0);

		*out++ = base64url[v >> 18];
		*out++ = base64url[v >> 12 & 63];
		if (i + 1 < len)
			*out++ = base64url[v >> 6 & 63];
		if (i + 2 < len)
			*out++ = base64url[v & 63];
	}
	*out = '\0';
}

int cursor_decode(const char *text, void *out, size_t size)
{
	unsigned char *to = out;
	uint32_t v = 0, bits = 0;
	size_t n = 0;

	for (; *text != '\0'; text++) {
		const char *at = strchr(base64url, *text);

		if (at == NULL)
			return -EINVAL;
		v = v << 6 | (uint32_t)(at - base64url);
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (n == size)
			return -EINVAL;
		to[n++] = (unsigned char)(v >> bits);
		v &= (1u << bits) - 1;
	}
	/* What is left over must be nothing: one text a cursor. */
	return bits >= 6 || v != 0 ? -EINVAL : (int)n;
}
