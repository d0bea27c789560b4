/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A fuzz target: one function over the bytes of an input.
 *
 *	FUZZ_TARGET(data, size) { ... FUZZ_CHECK(condition); }
 *
 * It keeps no state between inputs and ends the program by FUZZ_CHECK when what must hold does
 * not; the sanitizers see the rest. Single thread. */

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void fuzz_one(const uint8_t *data, size_t size);

#define FUZZ_TARGET(data, size)                                        \
	int LLVMFuzzerTestOneInput(const uint8_t *data_, size_t size_) \
	{                                                              \
		fuzz_one(data_, size_);                                \
		return 0;                                              \
	}                                                              \
	static void fuzz_one(const uint8_t *data, size_t size)

#define FUZZ_CHECK(cond)                                                                         \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

/* The input as a string on the heap, so that a read behind it is seen. The caller frees it. */
__attribute__((unused)) static char *fuzz_string(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL)
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}
