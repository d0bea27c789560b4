/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Reads one JSON object of Kubernetes, without an allocation a value.
 *
 * A document is one array of values in the order of the text; strings are unescaped where they
 * stand, in the caller's buffer. The array is kept for the next document, so a steady stream of
 * events allocates nothing. RFC 8259 without exceptions: UTF-8 is checked, nothing may follow the
 * value; nesting is bounded. General JSON work is jansson's (control/, tests/): this reader exists
 * because a list of 100,000 Services spent two thirds of its time in allocating trees.
 *
 * Any thread, one document each; no I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum jv_type {
	JV_NULL,
	JV_FALSE,
	JV_TRUE,
	JV_INTEGER,
	JV_REAL,
	JV_STRING,
	JV_ARRAY,
	JV_OBJECT
};

/* A value. An array's or object's first child follows it directly; a child's next sibling is span
 * values behind it. Valid until the document is parsed anew or freed, and as long as the text. */
struct jv {
	const char *key; /* of an object's member, else NULL; ended by a NUL */
	union {
		const char *text; /* JV_STRING, ended by a NUL; may contain others */
		int64_t integer;  /* JV_INTEGER: fits; one that does not is JV_REAL */
	};
	uint32_t key_len;
	uint32_t n;    /* bytes of a string, or children */
	uint32_t span; /* values of the subtree, itself included */
	enum jv_type type;
};

struct jv_doc {
	struct jv *values;
	uint32_t n, capacity;
	char *copy; /* of jv_parse_copy() */
};

#define JV_DEPTH_MAX 128

/* Parses text, which is changed and must live as long as the values. Returns the root, or NULL
 * with the reason in *error. doc starts zeroed. */
const struct jv *jv_parse(struct jv_doc *doc, char *text, size_t len, const char **error);
/* The same on a copy that doc owns. */
const struct jv *jv_parse_copy(
	struct jv_doc *doc, const char *text, size_t len, const char **error);
void jv_doc_fini(struct jv_doc *doc);

/* Member of that name, the last one when there are several; NULL when there is none or object is
 * no object (or NULL). */
const struct jv *jv_get_len(const struct jv *object, const char *name, size_t len);
/* Inline, so that the length of a literal costs nothing. */
static inline const struct jv *jv_get(const struct jv *object, const char *name)
{
	return jv_get_len(object, name, strlen(name));
}

static inline bool jv_is(const struct jv *v, enum jv_type type)
{
	return v != NULL && v->type == type;
}

/* Absent and null are the same. */
static inline bool jv_absent(const struct jv *v)
{
	return v == NULL || v->type == JV_NULL;
}

/* NULL when v is no string. */
static inline const char *jv_string(const struct jv *v)
{
	return jv_is(v, JV_STRING) ? v->text : NULL;
}

static inline size_t jv_length(const struct jv *v)
{
	return jv_is(v, JV_STRING) ? v->n : 0;
}

/* Elements of an array; 0 when v is none. */
static inline uint32_t jv_count(const struct jv *v)
{
	return jv_is(v, JV_ARRAY) ? v->n : 0;
}

/* An element, NULL behind the end. Walks: jv_foreach is for loops. */
static inline const struct jv *jv_at(const struct jv *array, uint32_t i)
{
	const struct jv *v = array + 1;

	if (i >= jv_count(array))
		return NULL;
	while (i-- > 0)
		v += v->span;
	return v;
}

/* The elements v of an array (or of no array: none), numbered by the size_t i. */
#define jv_foreach(array, i, v)                                                          \
	for ((i) = 0, (v) = (array) != NULL ? (array) + 1 : NULL; (i) < jv_count(array); \
		(i)++, (v) += (v)->span)
