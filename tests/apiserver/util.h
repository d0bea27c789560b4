/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Small helpers of the API stand-in: allocation that ends the program when memory is out (it is
 * a test tool with one thread and nothing to save), JSON access that tolerates wrong types, and
 * log lines on stderr.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIN2(a, b) ((a) < (b) ? (a) : (b))

void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* event name plus key=value, one line on stderr */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "" when the key is missing or no string: objects are hostile input even here */
const char *jstr(const json_t *obj, const char *key);
/* fallback when the key is missing or no number */
double jnum(const json_t *obj, const char *key, double fallback);
bool jbool(const json_t *obj, const char *key);

/* decimal without sign or leading zero, as resource versions are; 0 or -EINVAL */
int parse_rv(const char *s, uint64_t *rv);

/* FNV-1a; seed with FNV_START, continue with the former result */
#define FNV_START 0xcbf29ce484222325ull
uint64_t fnv1a(uint64_t h, const void *data, size_t len);
