/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* How far a JSON string goes on with bytes that mean themselves: what most of a list's bytes are.
 * Eight at a time in a register. Pure; any thread. */

#pragma once

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes from p on that are ASCII, no control character, no quote and no backslash. */
static inline size_t plain_run(const char *p, const char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const char *start = p;

	for (; end - p >= 8; p += 8) {
		uint64_t word, quote, backslash, other;

		memcpy(&word, p, sizeof(word));
		word = le64toh(word);
		quote = word ^ ones * '"';
		backslash = word ^ ones * '\\';
		/* A byte's upper bit: it is another one. Above the first of them a borrow may set
		 * more, which nobody looks at. */
		other = (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
				((word - ones * ' ') & ~word) | word) &
			ones * 0x80;
		if (other != 0)
			return (size_t)(p - start) + (size_t)__builtin_ctzll(other) / 8;
	}
	while (p < end && *p != '"' && *p != '\\' && (signed char)*p >= ' ')
		p++;
	return (size_t)(p - start);
}
