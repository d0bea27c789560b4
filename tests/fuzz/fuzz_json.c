/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The Kubernetes client's JSON reader beside jansson: what one takes the other takes, and both see
 * the same values. Apart from what is meant to differ: integers beyond 64 bits are numbers here
 * and errors there, a NUL behind a word is skipped there, and the bounds of nesting. */

#include <jansson.h>

#include "fuzz/fuzz.h"
#include "k8s-sync/json.h"

static void same(const struct jv *v, const json_t *j);

static void same_object(const struct jv *v, const json_t *j)
{
	const struct jv *child = v + 1;

	/* Of equal names the last one counts. */
	FUZZ_CHECK(json_object_size(j) <= v->n);
	for (uint32_t i = 0; i < v->n; i++, child += child->span) {
		json_t *member;

		if (strlen(child->key) != child->key_len)
			continue;
		member = json_object_get(j, child->key);
		FUZZ_CHECK(member != NULL);
		same(jv_get(v, child->key), member);
	}
}

static void same(const struct jv *v, const json_t *j)
{
	const struct jv *child;
	size_t i;

	FUZZ_CHECK(v != NULL && v->span >= 1);
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		FUZZ_CHECK(jv_is(v, JV_OBJECT));
		same_object(v, j);
		break;
	case JSON_ARRAY:
		FUZZ_CHECK(jv_is(v, JV_ARRAY) && jv_count(v) == json_array_size(j));
		jv_foreach (v, i, child) {
			same(child, json_array_get(j, i));
			FUZZ_CHECK(i > 100 || jv_at(v, (uint32_t)i) == child);
		}
		break;
	case JSON_STRING:
		FUZZ_CHECK(jv_length(v) == json_string_length(j) && jv_is(v, JV_STRING));
		FUZZ_CHECK(memcmp(jv_string(v), json_string_value(j), jv_length(v) + 1) == 0);
		break;
	case JSON_INTEGER:
		FUZZ_CHECK(jv_is(v, JV_INTEGER) && v->integer == json_integer_value(j));
		break;
	case JSON_REAL:
		FUZZ_CHECK(jv_is(v, JV_REAL));
		break;
	default:
		FUZZ_CHECK(v->type ==
			(json_is_null(j)                  ? JV_NULL
					: json_is_true(j) ? JV_TRUE
							  : JV_FALSE));
		break;
	}
}

FUZZ_TARGET(data, size)
{
	struct jv_doc doc = {0};
	char *text = fuzz_string(data, size);
	json_error_t error;
	json_t *j = json_loadb((const char *)data, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
	const char *reason = NULL;
	const struct jv *v = jv_parse(&doc, text, size, &reason);

	FUZZ_CHECK((v == NULL) == (reason != NULL));
	if (v != NULL && j != NULL) {
		FUZZ_CHECK(v->span == doc.n);
		same(v, j);
	} else if (v != NULL) {
		FUZZ_CHECK(json_error_code(&error) == json_error_numeric_overflow ||
			json_error_code(&error) == json_error_null_byte_in_key);
	} else if (j != NULL) {
		FUZZ_CHECK(strcmp(reason, "nested too deep") == 0 || memchr(data, 0, size) != NULL);
	}
	json_decref(j);
	jv_doc_fini(&doc);
	free(text);
}
