/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Decoding of paths and queries (see query.h). */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/query.h"

void query_error_set(struct query_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decodes [from, to) into out (never longer) and ends it with NUL. The text of the error repeats
 * nothing of the input: an answer must not reflect it. */
static int decode(
	const char *from, const char *to, bool slash_ok, char *out, struct query_error *err)
{
	while (from < to) {
		unsigned char c = (unsigned char)*from++;

		if (c == '%') {
			if (to - from < 2 || hex(from[0]) < 0 || hex(from[1]) < 0) {
				query_error_set(
					err, "an escape (%%) without two hexadecimal digits");
				return -EINVAL;
			}
			c = (unsigned char)(hex(from[0]) << 4 | hex(from[1]));
			from += 2;
			if (c == '/' && !slash_ok) {
				query_error_set(err, "an escaped slash (%%2F) in a name");
				return -EINVAL;
			}
		}
		if (c < 0x20 || c == 0x7f) {
			query_error_set(err, "a control character");
			return -EINVAL;
		}
		*out++ = (char)c;
	}
	*out = '\0';
	return 0;
}

int query_parse(const char *raw, struct query *out, struct query_error *err)
{
	const char *at = raw, *end, *equals;
	char *store;
	int rc;

	memset(out, 0, sizeof(*out));
	if (raw == NULL || raw[0] == '\0')
		return 0;
	/* Every piece shrinks or keeps its length, and gains one NUL where '=', '&' or the end
	 * was; a bare name gains one more. */
	out->storage = malloc(2 * strlen(raw) + 4);
	if (out->storage == NULL)
		return -ENOMEM;
	store = out->storage;
	while (true) {
		end = strchrnul(at, '&');
		if (end > at) {
			if (out->n == QUERY_PARAMS_MAX) {
				query_error_set(
					err, "more than %d query parameters", QUERY_PARAMS_MAX);
				return -EINVAL;
			}
			equals = memchr(at, '=', (size_t)(end - at));
			rc = decode(at, equals != NULL ? equals : end, true, store, err);
			if (rc < 0)
				return rc;
			out->at[out->n].name = store;
			store += strlen(store) + 1;
			rc = decode(equals != NULL ? equals + 1 : end, end, true, store, err);
			if (rc < 0)
				return rc;
			out->at[out->n].value = store;
			store += strlen(store) + 1;
			out->n++;
		}
		if (*end == '\0')
			return 0;
		at = end + 1;
	}
}

void query_fini(struct query *q)
{
	free(q->storage);
	memset(q, 0, sizeof(*q));
}

int path_parse(const char *raw, struct path *out, struct query_error *err)
{
	const char *at, *end;
	char *store;
	int rc;

	memset(out, 0, sizeof(*out));
	if (raw == NULL || raw[0] != '/') {
		query_error_set(err, "the path does not begin with a slash");
		return -EINVAL;
	}
	out->storage = malloc(strlen(raw) + 1);
	if (out->storage == NULL)
		return -ENOMEM;
	store = out->storage;
	at = raw + 1;
	while (true) {
		end = strchrnul(at, '/');
		if (out->n == PATH_SEGMENTS_MAX) {
			query_error_set(err, "more than %d path segments", PATH_SEGMENTS_MAX);
			return -EINVAL;
		}
		rc = decode(at, end, false, store, err);
		if (rc < 0)
			return rc;
		out->segment[out->n++] = store;
		store += strlen(store) + 1;
		if (*end == '\0')
			return 0;
		at = end + 1;
	}
}

void path_fini(struct path *p)
{
	free(p->storage);
	memset(p, 0, sizeof(*p));
}

const char *query_get(const struct query *q, const char *name)
{
	for (uint32_t i = 0; i < q->n; i++)
		if (strcmp(q->at[i].name, name) == 0)
			return q->at[i].value;
	return NULL;
}

const char *query_unknown(const struct query *q, const char *const *names)
{
	for (uint32_t i = 0; i < q->n; i++) {
		const char *const *n = names;

		while (*n != NULL && strcmp(*n, q->at[i].name) != 0)
			n++;
		if (*n == NULL)
			return q->at[i].name;
	}
	return NULL;
}

int parse_uint(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (text[0] == '\0')
		return -EINVAL;
	for (const char *c = text; *c != '\0'; c++) {
		uint64_t digit = (uint64_t)(*c - '0');

		if (*c < '0' || *c > '9' || v > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	if (v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

static int query_single(
	const struct query *q, const char *name, const char **value, struct query_error *err)
{
	*value = NULL;
	for (uint32_t i = 0; i < q->n; i++) {
		if (strcmp(q->at[i].name, name) != 0)
			continue;
		if (*value != NULL) {
			query_error_set(err, "parameter %s is given twice", name);
			return -EINVAL;
		}
		*value = q->at[i].value;
	}
	return 0;
}

int query_uint(const struct query *q, const char *name, uint64_t min, uint64_t max, uint64_t dflt,
	uint64_t *out, struct query_error *err)
{
	const char *value;

	if (query_single(q, name, &value, err) < 0)
		return -EINVAL;
	*out = dflt;
	if (value == NULL)
		return 0;
	if (parse_uint(value, max, out) == 0 && *out >= min)
		return 0;
	query_error_set(err, "parameter %s must be a whole number from %llu to %llu", name,
		(unsigned long long)min, (unsigned long long)max);
	return -EINVAL;
}

int query_bool(
	const struct query *q, const char *name, bool dflt, bool *out, struct query_error *err)
{
	const char *value;

	if (query_single(q, name, &value, err) < 0)
		return -EINVAL;
	*out = dflt;
	if (value == NULL)
		return 0;
	if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || value[0] == '\0') {
		*out = true;
		return 0;
	}
	if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0) {
		*out = false;
		return 0;
	}
	query_error_set(err, "parameter %s must be true or false", name);
	return -EINVAL;
}
