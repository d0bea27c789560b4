/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Paths and queries of a request, decoded piece by piece and with suspicion: an escape that hides
 * a NUL, a slash in a name, a control character or a broken escape is refused. Values are read by
 * typed getters that name the parameter in their error.
 *
 * Pure functions over the caller's memory; any thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUERY_PARAMS_MAX  64
#define PATH_SEGMENTS_MAX 12

struct query_param {
	const char *name;
	const char *value; /* "" when the parameter has no '=' */
};

struct query {
	uint32_t n;
	struct query_param at[QUERY_PARAMS_MAX];
	char *storage;
};

struct path {
	uint32_t n;
	const char *segment[PATH_SEGMENTS_MAX];
	char *storage;
};

/* What is wrong, for the client. */
struct query_error {
	char text[256];
};

void query_error_set(struct query_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* raw: what follows '?', or NULL. 0; -EINVAL with err; -ENOMEM. fini accepts a failed one. */
int query_parse(const char *raw, struct query *out, struct query_error *err);
void query_fini(struct query *q);

/* raw: "/api/v1/services/a/b". Empty segments are kept, so that "//" matches no route. */
int path_parse(const char *raw, struct path *out, struct query_error *err);
void path_fini(struct path *p);

/* First value of a name, NULL when absent. */
const char *query_get(const struct query *q, const char *name);
/* The first parameter whose name is not in names (which ends in NULL), NULL when all are. */
const char *query_unknown(const struct query *q, const char *const *names);
/* Each: 0 and *out (dflt when absent), or -EINVAL with err. A parameter given twice is refused. */
int query_uint(const struct query *q, const char *name, uint64_t min, uint64_t max, uint64_t dflt,
	uint64_t *out, struct query_error *err);
/* "true" or "false"; a bare name means true. */
int query_bool(
	const struct query *q, const char *name, bool dflt, bool *out, struct query_error *err);

/* Digits only. 0 or -EINVAL. */
int parse_uint(const char *text, uint64_t max, uint64_t *out);
