/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The streaming JSON writer (see json_writer.h). */

#include <errno.h>
#include <event2/buffer.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/api/json_writer.h"

void jw_init(struct jw *w, struct evbuffer *out)
{
	w->out = out;
	w->depth = 0;
	w->has_items = 0;
	w->failed = false;
	w->used = 0;
}

void jw_flush(struct jw *w)
{
	if (w->used > 0 && evbuffer_add(w->out, w->buf, w->used) < 0)
		w->failed = true;
	w->used = 0;
}

int jw_finish(struct jw *w)
{
	bool open = w->depth != 0;
	int rc;

	jw_flush(w);
	rc = w->failed ? -ENOMEM : open ? -EINVAL : 0;
	jw_init(w, w->out);
	return rc;
}

static void put(struct jw *w, const char *s, size_t n)
{
	if (n > sizeof(w->buf) - w->used)
		jw_flush(w);
	if (n > sizeof(w->buf)) {
		if (evbuffer_add(w->out, s, n) < 0)
			w->failed = true;
		return;
	}
	memcpy(w->buf + w->used, s, n);
	w->used = (uint16_t)(w->used + n);
}

static void put_char(struct jw *w, char c)
{
	if (w->used == sizeof(w->buf))
		jw_flush(w);
	w->buf[w->used++] = c;
}

/* Length of the UTF-8 sequence at s (RFC 3629: no surrogates, nothing overlong), 0 when broken.
 * s ends in a NUL, which is no continuation byte. */
static size_t utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		unsigned char low = s[0] == 0xe0 ? 0xa0 : 0x80, high = s[0] == 0xed ? 0x9f : 0xbf;

		return s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 ? 3 : 0;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		unsigned char low = s[0] == 0xf0 ? 0x90 : 0x80, high = s[0] == 0xf4 ? 0x8f : 0xbf;

		return s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80
			? 4
			: 0;
	}
	return 0;
}

static void put_string(struct jw *w, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	char esc[8];

	put_char(w, '"');
	while (*s != '\0') {
		size_t n = utf8_length(s);

		if (n == 0) {
			put(w, "\xef\xbf\xbd", 3);
			s++;
			continue;
		}
		if (*s == '"' || *s == '\\') {
			put_char(w, '\\');
			put_char(w, (char)*s);
		} else if (*s < 0x20 || *s == 0x7f) {
			snprintf(esc, sizeof(esc), "\\u%04x", *s);
			put(w, esc, 6);
		} else {
			put(w, (const char *)s, n);
		}
		s += n;
	}
	put_char(w, '"');
}

static void begin_value(struct jw *w, const char *key)
{
	if (w->depth > 0) {
		if (w->has_items & (1u << (w->depth - 1)))
			put_char(w, ',');
		w->has_items |= 1u << (w->depth - 1);
	}
	if (key != NULL) {
		put_string(w, key);
		put_char(w, ':');
	}
}

static void open_scope(struct jw *w, const char *key, char c)
{
	begin_value(w, key);
	put_char(w, c);
	if (w->depth == JW_DEPTH_MAX) {
		w->failed = true;
		return;
	}
	w->has_items &= ~(1u << w->depth);
	w->depth++;
}

static void close_scope(struct jw *w, char c)
{
	if (w->depth == 0) {
		w->failed = true;
		return;
	}
	w->depth--;
	put_char(w, c);
}

void jw_object(struct jw *w, const char *key)
{
	open_scope(w, key, '{');
}

void jw_object_end(struct jw *w)
{
	close_scope(w, '}');
}

void jw_array(struct jw *w, const char *key)
{
	open_scope(w, key, '[');
}

void jw_array_end(struct jw *w)
{
	close_scope(w, ']');
}

void jw_null(struct jw *w, const char *key)
{
	begin_value(w, key);
	put(w, "null", 4);
}

void jw_string(struct jw *w, const char *key, const char *value)
{
	if (value == NULL) {
		jw_null(w, key);
		return;
	}
	begin_value(w, key);
	put_string(w, value);
}

void jw_stringf(struct jw *w, const char *key, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	jw_string(w, key, text);
}

static void put_format(struct jw *w, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void put_format(struct jw *w, const char *key, const char *fmt, ...)
{
	char text[64];
	va_list ap;
	int n;

	begin_value(w, key);
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		w->failed = true;
	else
		put(w, text, (size_t)n);
}

void jw_int(struct jw *w, const char *key, int64_t value)
{
	put_format(w, key, "%lld", (long long)value);
}

void jw_counter(struct jw *w, const char *key, uint64_t value)
{
	put_format(w, key, "\"%llu\"", (unsigned long long)value);
}

void jw_number(struct jw *w, const char *key, double value, int decimals)
{
	if (!isfinite(value) || fabs(value) > 1e15)
		jw_null(w, key);
	else
		put_format(w, key, "%.*f", decimals, value);
}

void jw_bool(struct jw *w, const char *key, bool value)
{
	begin_value(w, key);
	put(w, value ? "true" : "false", value ? 4 : 5);
}

void jw_raw(struct jw *w, const char *key, const char *json, size_t len)
{
	begin_value(w, key);
	put(w, json, len);
}

void jw_ip(struct jw *w, const char *key, const struct ip_addr *a)
{
	char text[IP_TEXT_MAX];

	jw_string(w, key, ip_format(a, text));
}

void jw_prefix(struct jw *w, const char *key, const struct ip_prefix *p)
{
	char text[IP_PREFIX_TEXT_MAX];

	jw_string(w, key, ip_prefix_format(p, text));
}

void jw_mac(struct jw *w, const char *key, const uint8_t mac[6])
{
	jw_stringf(w, key, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		mac[5]);
}

void jw_time_ms(struct jw *w, const char *key, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[40];
	struct tm tm;

	if (ms < 0 || gmtime_r(&seconds, &tm) == NULL) {
		jw_null(w, key);
		return;
	}
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	jw_stringf(w, key, "%s.%03dZ", text, (int)(ms % 1000));
}
