/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* List and watch bodies cut into objects: the pieces in which the bytes arrive change nothing of
 * what comes out. The first byte chooses mode and pieces, the rest is the body. */

#include <stdbool.h>

#include "fuzz/fuzz.h"
#include "k8s-sync/framing.h"

struct outcome {
	uint64_t hash;
	unsigned frames;
	int error;
	bool at_end;
};

static void mix(struct outcome *o, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		o->hash = (o->hash ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
	o->hash = (o->hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static int take(void *arg, const struct frame *f)
{
	struct outcome *o = arg;

	o->frames++;
	FUZZ_CHECK(f->text == NULL || f->len <= 4096);
	if (f->text != NULL)
		mix(o, f->text, f->len);
	mix(o, f->type, strlen(f->type));
	mix(o, f->ns, strlen(f->ns));
	mix(o, f->name, strlen(f->name));
	mix(o, f->rv, strlen(f->rv));
	return 0;
}

static struct outcome run(const uint8_t *data, size_t size, enum framer_mode mode, size_t piece)
{
	static const char *const skip[] = {"managedFields", NULL};
	struct outcome o = {0};
	const struct framer_config config = {
		.mode = mode,
		.max_object = 4096,
		.max_skip = 16384,
		.max_shell = 1024,
		.skip = skip,
		.fn = take,
		.arg = &o,
	};
	struct framer *framer;

	FUZZ_CHECK(framer_new(&config, &framer) == 0);
	for (size_t at = 0; at < size && o.error == 0;) {
		size_t n = size - at < piece ? size - at : piece, used = 0;
		/* A copy of the exact size, so that a read behind the piece is seen. */
		char *copy = malloc(n);

		FUZZ_CHECK(copy != NULL);
		memcpy(copy, data + at, n);
		o.error = framer_feed(framer, copy, n, &used);
		FUZZ_CHECK(o.error != 0 || used == n);
		free(copy);
		at += n;
	}
	if (o.error == 0) {
		o.at_end = framer_at_end(framer);
		if (o.at_end && mode == FRAMER_LIST) {
			size_t len;
			const char *shell = framer_shell(framer, &len);

			mix(&o, shell, len);
		}
	}
	framer_free(framer);
	return o;
}

FUZZ_TARGET(data, size)
{
	struct outcome whole, pieces;
	enum framer_mode mode;
	size_t piece;

	if (size < 1)
		return;
	mode = data[0] & 1 ? FRAMER_WATCH : FRAMER_LIST;
	piece = 1 + (data[0] >> 1) % 32;
	whole = run(data + 1, size - 1, mode, size);
	pieces = run(data + 1, size - 1, mode, piece);
	FUZZ_CHECK(whole.error == pieces.error);
	FUZZ_CHECK(whole.frames == pieces.frames);
	FUZZ_CHECK(whole.hash == pieces.hash);
	FUZZ_CHECK(whole.at_end == pieces.at_end);
}
