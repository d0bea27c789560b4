/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Log lines: an event name plus key=value fields.
 *
 *	LOG_WARN(k8s, "watch_ended", "path=%s status=%d", path, status);
 *	LOG_INFO(main, "ready");
 *
 * The format is key=value pairs with one space between them, as a string literal; values that
 * need it are quoted by the writer, so a hostile string cannot forge a field or a line. Levels
 * are per module and settable at run time. A call site writes at most LOG_SITE_BURST lines in
 * LOG_SITE_WINDOW_MS and then counts; its next line says how many were suppressed.
 *
 * Any thread but workers, which never log. One write() a line. Errors of the output are ignored:
 * logging never fails its caller. */

#pragma once

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_SITE_BURST     50
#define LOG_SITE_WINDOW_MS 10000

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVELS
};

#define LOG_MODULE_LIST(M) \
	M(main)            \
	M(config)          \
	M(model)           \
	M(reconcile)       \
	M(neighbour)       \
	M(k8s)             \
	M(api)             \
	M(health)          \
	M(rim)             \
	M(port)            \
	M(worker)          \
	M(offload)         \
	M(cni)

enum log_module {
#define LOG_MODULE_ID_(name) LOG_MODULE_##name,
	LOG_MODULE_LIST(LOG_MODULE_ID_)
#undef LOG_MODULE_ID_
	LOG_MODULES
};

enum log_format {
	LOG_TEXT, /* ts=… level=… module=… event=… key=value … */
	LOG_JSON, /* one object a line; every value is a string */
};

/* State of one call site. Writers: any thread that logs there. */
struct log_site {
	_Atomic uint64_t window_ms; /* start of the current window */
	_Atomic uint32_t written;
	_Atomic uint32_t suppressed;
};

extern const char *const log_level_names[LOG_LEVELS]; /* "error", "warn", "info", "debug" */
extern const char *const log_module_names[LOG_MODULES];
extern _Atomic uint8_t log_levels[LOG_MODULES]; /* enum log_level; start: info */

void log_set_format(enum log_format format);
/* 0 or -EINVAL. module NULL means all of them. */
int log_set_level(const char *module, const char *level);
int log_level_parse(const char *text, enum log_level *out);
/* Lines without their newline go to fn instead of stderr; NULL: back to stderr. fn must be
 * thread-safe. */
void log_set_sink(void (*fn)(void *arg, const char *line, size_t len), void *arg);
/* Lines suppressed at all call sites since the start. */
uint64_t log_suppressed(void);

static inline bool log_on(enum log_module module, enum log_level level)
{
	return level <= atomic_load_explicit(&log_levels[module], memory_order_relaxed);
}

__attribute__((format(printf, 5, 6))) void log_write(enum log_module module, enum log_level level,
	struct log_site *site, const char *event, const char *fmt, ...);
/* For messages of libraries: one value behind "msg=". */
void log_text(enum log_module module, enum log_level level, const char *event, const char *text);

/* The leading space keeps an event without fields from being an empty format. */
#define LOG_AT(module, level, event, ...)                                                          \
	do {                                                                                       \
		static struct log_site log_site_;                                                  \
                                                                                                   \
		if (log_on(LOG_MODULE_##module, level))                                            \
			log_write(LOG_MODULE_##module, level, &log_site_, event, " " __VA_ARGS__); \
	} while (0)

#define LOG_ERROR(module, event, ...) LOG_AT(module, LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define LOG_WARN(module, event, ...)  LOG_AT(module, LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_INFO(module, event, ...)  LOG_AT(module, LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_DEBUG(module, event, ...) LOG_AT(module, LOG_LEVEL_DEBUG, event, __VA_ARGS__)
