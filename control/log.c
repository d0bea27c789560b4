/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Renders and writes log lines (see log.h). Any thread but workers; the only state shared by
 * callers are atomics and the sink under a lock. Never allocates, never fails its caller. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/log.h"

#define LINE_MAX_BYTES 4096
#define BODY_MAX_BYTES 2048
#define KEY_MAX_BYTES  64

const char *const log_level_names[LOG_LEVELS] = {"error", "warn", "info", "debug"};
const char *const log_module_names[LOG_MODULES] = {
#define LOG_MODULE_NAME_(name) #name,
	LOG_MODULE_LIST(LOG_MODULE_NAME_)
#undef LOG_MODULE_NAME_
};
_Atomic uint8_t log_levels[LOG_MODULES] = {
#define LOG_MODULE_LEVEL_(name) LOG_LEVEL_INFO,
	LOG_MODULE_LIST(LOG_MODULE_LEVEL_)
#undef LOG_MODULE_LEVEL_
};

static _Atomic int log_format_now = LOG_TEXT;
static _Atomic uint64_t suppressed_total;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink_fn)(void *arg, const char *line, size_t len);
static void *sink_arg;

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
	bool json;
};

void log_set_format(enum log_format format)
{
	atomic_store(&log_format_now, format);
}

int log_level_parse(const char *text, enum log_level *out)
{
	for (int i = 0; i < LOG_LEVELS; i++)
		if (strcmp(text, log_level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

int log_set_level(const char *module, const char *level)
{
	enum log_level l;
	bool found = false;

	if (log_level_parse(level, &l) < 0)
		return -EINVAL;
	for (int i = 0; i < LOG_MODULES; i++)
		if (module == NULL || strcmp(module, log_module_names[i]) == 0) {
			atomic_store(&log_levels[i], (uint8_t)l);
			found = true;
		}
	return found ? 0 : -EINVAL;
}

void log_set_sink(void (*fn)(void *arg, const char *line, size_t len), void *arg)
{
	pthread_mutex_lock(&sink_lock);
	sink_fn = fn;
	sink_arg = arg;
	pthread_mutex_unlock(&sink_lock);
}

uint64_t log_suppressed(void)
{
	return atomic_load(&suppressed_total);
}

static uint64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* True when this line may be written; *suppressed tells what was left out before it. Two threads
 * at the turn of a window may both start it: a few lines too many, which is harmless. */
static bool site_admits(struct log_site *site, uint32_t *suppressed)
{
	uint64_t now = monotonic_ms(), start = atomic_load(&site->window_ms);

	*suppressed = 0;
	if (start == 0 || now - start >= LOG_SITE_WINDOW_MS) {
		atomic_store(&site->window_ms, now);
		atomic_store(&site->written, 0);
		*suppressed = atomic_exchange(&site->suppressed, 0);
	}
	if (atomic_fetch_add(&site->written, 1) < LOG_SITE_BURST)
		return true;
	atomic_fetch_add(&site->suppressed, 1);
	atomic_fetch_add(&suppressed_total, 1);
	return false;
}

/* Room is kept for the newline and, in JSON, the closing quote and brace. */
static void put(struct line *l, const char *bytes, size_t n)
{
	size_t room = sizeof(l->text) - 4 - l->len;

	if (n > room)
		n = room;
	memcpy(l->text + l->len, bytes, n);
	l->len += n;
}

/* An escape is written whole or not at all. */
static void put_escaped(struct line *l, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		char esc[8];

		if (sizeof(l->text) - 4 - l->len < sizeof(esc))
			return;
		if (c == '"' || c == '\\') {
			esc[0] = '\\';
			esc[1] = (char)c;
			put(l, esc, 2);
		} else if (c == '\n') {
			put(l, "\\n", 2);
		} else if (c < 0x20 || c == 0x7f) {
			snprintf(esc, sizeof(esc), "\\u%04x", c);
			put(l, esc, 6);
		} else {
			put(l, s + i, 1);
		}
	}
}

static bool needs_quotes(const char *s, size_t n)
{
	if (n == 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f)
			return true;
	}
	return false;
}

static void put_field(struct line *l, const char *key, size_t key_len, const char *value, size_t n)
{
	/* No room for the key, some value and the quotes: the field is left out whole, so that a
	 * line cut at its bound is still well-formed. */
	if (sizeof(l->text) - l->len < key_len + 32)
		return;
	if (l->json) {
		put(l, l->len == 0 ? "{\"" : ",\"", 2);
		put_escaped(l, key, key_len);
		put(l, "\":\"", 3);
		put_escaped(l, value, n);
		put(l, "\"", 1);
		return;
	}
	if (l->len != 0)
		put(l, " ", 1);
	put(l, key, key_len);
	put(l, "=", 1);
	if (!needs_quotes(value, n)) {
		put(l, value, n);
		return;
	}
	put(l, "\"", 1);
	put_escaped(l, value, n);
	put(l, "\"", 1);
}

/* The next key of the format: "key=" at its start or behind a space. */
static const char *next_key(const char *fmt, const char **key, size_t *key_len)
{
	while (*fmt != '\0') {
		const char *start;

		while (*fmt == ' ')
			fmt++;
		start = fmt;
		while (*fmt != '\0' && *fmt != ' ' && *fmt != '=')
			fmt++;
		if (*fmt == '=' && fmt != start && fmt - start < KEY_MAX_BYTES) {
			*key = start;
			*key_len = (size_t)(fmt - start);
			while (*fmt != '\0' && *fmt != ' ')
				fmt++;
			return fmt;
		}
		while (*fmt != '\0' && *fmt != ' ')
			fmt++;
	}
	return NULL;
}

/* Where the value ends: in front of the separator and key that the format has next. */
static const char *value_end(const char *value, const char *key, size_t key_len)
{
	const char *p = value;

	if (key == NULL)
		return value + strlen(value);
	while ((p = strchr(p, '\x1f')) != NULL) {
		if (strncmp(p + 1, key, key_len) == 0 && p[1 + key_len] == '=')
			return p;
		p++;
	}
	return value + strlen(value);
}

/* Renders fmt with a separator that text does not hold in place of the spaces in front of keys,
 * then cuts the result at the keys that fmt names. */
static void put_body(struct line *l, const char *fmt, va_list ap)
{
	char marked[BODY_MAX_BYTES], body[BODY_MAX_BYTES];
	const char *key, *at = fmt, *value;
	size_t key_len;

	if (strlen(fmt) >= sizeof(marked))
		return;
	strcpy(marked, fmt);
	while ((at = next_key(at, &key, &key_len)) != NULL)
		marked[key - fmt - (key > fmt ? 1 : 0)] = '\x1f';
	vsnprintf(body, sizeof(body), marked, ap);

	at = next_key(fmt, &key, &key_len);
	value = strchr(body, '=');
	while (at != NULL && value != NULL) {
		const char *next = NULL, *end;
		size_t next_len = 0;
		const char *after = next_key(at, &next, &next_len);

		value++;
		end = value_end(value, next, next_len);
		put_field(l, key, key_len, value, (size_t)(end - value));
		if (*end == '\0')
			break;
		value = end + 1 + next_len;
		at = after;
		key = next;
		key_len = next_len;
	}
}

static void put_head(
	struct line *l, enum log_module module, enum log_level level, const char *event)
{
	struct timespec ts;
	struct tm tm;
	char when[40];
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(
		when + n, sizeof(when) - n, ".%03dZ", (int)(ts.tv_nsec / 1000000) % 1000);
	l->len = 0;
	l->json = atomic_load(&log_format_now) == LOG_JSON;
	put_field(l, "ts", 2, when, n);
	put_field(l, "level", 5, log_level_names[level], strlen(log_level_names[level]));
	put_field(l, "module", 6, log_module_names[module], strlen(log_module_names[module]));
	put_field(l, "event", 5, event, strlen(event));
}

static void line_finish(struct line *l)
{
	ssize_t done;

	if (l->json)
		l->text[l->len++] = '}';
	pthread_mutex_lock(&sink_lock);
	if (sink_fn != NULL) {
		l->text[l->len] = '\0';
		sink_fn(sink_arg, l->text, l->len);
	} else {
		l->text[l->len++] = '\n';
		done = write(STDERR_FILENO, l->text, l->len);
		(void)done;
	}
	pthread_mutex_unlock(&sink_lock);
}

void log_write(enum log_module module, enum log_level level, struct log_site *site,
	const char *event, const char *fmt, ...)
{
	uint32_t suppressed;
	struct line l;
	char n[16];
	va_list ap;

	if (!site_admits(site, &suppressed))
		return;
	put_head(&l, module, level, event);
	if (suppressed != 0) {
		snprintf(n, sizeof(n), "%u", suppressed);
		put_field(&l, "suppressed", 10, n, strlen(n));
	}
	va_start(ap, fmt);
	put_body(&l, fmt, ap);
	va_end(ap);
	line_finish(&l);
}

void log_text(enum log_module module, enum log_level level, const char *event, const char *text)
{
	struct line l;

	if (!log_on(module, level))
		return;
	put_head(&l, module, level, event);
	put_field(&l, "msg", 3, text, strlen(text));
	line_finish(&l);
}
