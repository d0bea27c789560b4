/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The resources that the stand-in serves: names, groups, which fields a fieldSelector may name.
 * Constant data; switched off one by one on the command line.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	RESOURCE_FIELDS_MAX = 6
};

struct resource {
	const char *group; /* "" is the core group */
	const char *version;
	const char *plural;
	const char *singular;
	const char *kind;
	const char *short_name; /* NULL: none */
	bool namespaced;
	bool has_status;
	/* dotted paths of string fields, besides metadata.name and metadata.namespace */
	const char *fields[RESOURCE_FIELDS_MAX];
	/* what an empty object of this kind carries after its metadata, as bookmarks do */
	const char *empty;
};

enum {
	RESOURCE_COUNT = 9
};
extern const struct resource resources[RESOURCE_COUNT];

/* -1 when there is none */
int resource_by_plural(const char *group, const char *version, const char *plural);
int resource_by_kind(const char *api_version, const char *kind);
int resource_by_name(const char *plural);

/* "v1" or "group/version"; the buffer is the caller's */
const char *resource_api_version(const struct resource *r, char *buf, size_t len);
