/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * labelSelector and fieldSelector: parsing, and matching against stored objects. Pure functions.
 */
#pragma once

#include "resource.h"

#include <stdbool.h>
#include <stddef.h>

struct object;

enum selector_op {
	OP_EQUAL,
	OP_NOT_EQUAL,
	OP_IN,
	OP_NOT_IN,
	OP_EXISTS,
	OP_NOT_EXISTS
};

struct requirement {
	enum selector_op op;
	char *key;
	int field; /* field selectors: index into resource.fields, or FIELD_NAME, FIELD_NAMESPACE */
	char **values;
	size_t n_values;
};

enum {
	FIELD_NAME = -1,
	FIELD_NAMESPACE = -2
};

struct selector {
	struct requirement *reqs;
	size_t n;
};

/* what a list, watch or collection delete asks for */
struct filter {
	char *ns;   /* NULL: all namespaces */
	char *name; /* NULL: all names */
	struct selector labels;
	struct selector fields;
};

/* 0 or -EINVAL with *error set to a message that the caller frees; text may be NULL */
int selector_parse_labels(const char *text, struct selector *sel, char **error);
int selector_parse_fields(
	const char *text, const struct resource *res, struct selector *sel, char **error);
void selector_fini(struct selector *sel);

void filter_fini(struct filter *f);
bool filter_match(const struct filter *f, const struct object *obj);
