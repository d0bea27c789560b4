/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Cuts Kubernetes list and watch bodies into single JSON objects while they arrive.
 *
 * A byte scanner follows depth, strings and escapes; it never looks at how the bytes were cut
 * into pieces. A list hands over each item, a watch stream each {"type":..,"object":..} event.
 * Values of unwanted members ("managedFields", ...) are replaced by null before the JSON parser
 * sees them. No I/O, no threads, no clock; memory is bounded by max_object. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum framer_mode {
	FRAMER_LIST,
	FRAMER_WATCH
};

#define FRAME_NAME_MAX 256

/* One object. The names are what the scanner saw on the way, so that an object which cannot be
 * parsed can still be refused by name: raw JSON text, "" when absent or too long. */
struct frame {
	char *text; /* may be written to; NULL when the object was larger than max_object */
	size_t len;
	size_t size; /* bytes on the wire */
	char type[16];
	char ns[FRAME_NAME_MAX];
	char name[FRAME_NAME_MAX];
	char rv[FRAME_NAME_MAX];
};

/* 0: go on. 1: stop reading behind this object. Negative: give up with that error. */
typedef int (*frame_fn)(void *arg, const struct frame *frame);

struct framer_config {
	enum framer_mode mode;
	size_t max_object;       /* a larger object is handed over without its text */
	size_t max_skip;         /* an object larger than this ends the stream */
	size_t max_shell;        /* what a list may have around its items */
	const char *const *skip; /* NULL-terminated member names whose values are dropped */
	frame_fn fn;
	void *arg;
};

struct framer;

/* 0 or -ENOMEM. The configuration is copied, the skip names are not. */
int framer_new(const struct framer_config *config, struct framer **out);
void framer_free(struct framer *f);
/* Back to the start of a document. */
void framer_reset(struct framer *f);
/* Reads data; *used < len only when fn asked to stop. 0, -EPROTO when this cannot be JSON,
 * -EMSGSIZE behind max_skip or max_shell, -ENOMEM, or the error of fn. After an error only
 * framer_reset() and framer_free() are allowed. */
int framer_feed(struct framer *f, const char *data, size_t len, size_t *used);
/* The stream may end here: between two events, or behind the whole list. */
bool framer_at_end(const struct framer *f);
/* The list's document with null in place of its items; only when framer_at_end(). */
const char *framer_shell(const struct framer *f, size_t *len);
