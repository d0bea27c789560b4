/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Writes JSON into an evbuffer as it goes, so that a list of ten million flows needs the memory of
 * one chunk. Escapes, puts commas, replaces bytes that are not UTF-8 by U+FFFD, and writes 64-bit
 * counters as decimal strings (a JSON number is exact to 2^53 only). The caller keeps begin and
 * end paired; jw_finish() tells whether it did.
 *
 * One writer belongs to one thread. It never blocks and never holds a document. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/ip.h"

struct evbuffer;

#define JW_DEPTH_MAX 32

struct jw {
	struct evbuffer *out;
	uint32_t depth;
	uint32_t has_items; /* one bit a depth: a comma is due */
	bool failed;        /* out of memory, or unpaired */
	uint16_t used;
	char buf[1020];
};

void jw_init(struct jw *w, struct evbuffer *out);
/* Flushes. 0; -ENOMEM, or -EINVAL when a begin has no end. The writer can be used again. */
int jw_finish(struct jw *w);
/* Flushes inside a document, which a later call continues. */
void jw_flush(struct jw *w);

/* key is NULL inside arrays and at the top. */
void jw_object(struct jw *w, const char *key);
void jw_object_end(struct jw *w);
void jw_array(struct jw *w, const char *key);
void jw_array_end(struct jw *w);

void jw_string(struct jw *w, const char *key, const char *value); /* NULL is written as null */
void jw_stringf(struct jw *w, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void jw_int(struct jw *w, const char *key, int64_t value);
void jw_counter(struct jw *w, const char *key, uint64_t value); /* "18446744073709551615" */
void jw_number(struct jw *w, const char *key, double value, int decimals);
void jw_bool(struct jw *w, const char *key, bool value);
void jw_null(struct jw *w, const char *key);
/* A finished JSON value, taken as it is. */
void jw_raw(struct jw *w, const char *key, const char *json, size_t len);

void jw_ip(struct jw *w, const char *key, const struct ip_addr *a);
void jw_prefix(struct jw *w, const char *key, const struct ip_prefix *p);
void jw_mac(struct jw *w, const char *key, const uint8_t mac[6]);
/* RFC 3339 in UTC; milliseconds since the epoch. */
void jw_time_ms(struct jw *w, const char *key, int64_t ms);
