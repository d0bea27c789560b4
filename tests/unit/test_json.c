/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The Kubernetes client's JSON reader: what it takes, what it refuses, and how values are found.
 * The fuzz target of the same name compares it with jansson. */

#include "k8s-sync/json.h"
#include "k8s-sync/plain_run.h"
#include "unit/harness.h"

static struct jv_doc doc;

static const struct jv *parse(const char *text)
{
	return jv_parse_copy(&doc, text, strlen(text), NULL);
}

static void finds_members(void)
{
	const struct jv *v =
		parse("{\"a\":1,\"b\":{\"c\":[10,{\"d\":\"x\"},[],12]},\"a\":2,\"e\":null}");
	const struct jv *list, *element;
	size_t i, n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	CU_ASSERT_EQUAL(jv_get(v, "a")->integer, 2);
	list = jv_get(jv_get(v, "b"), "c");
	CU_ASSERT_EQUAL(jv_count(list), 4);
	CU_ASSERT_STRING_EQUAL(jv_string(jv_get(jv_at(list, 1), "d")), "x");
	CU_ASSERT_EQUAL(jv_at(list, 3)->integer, 12);
	CU_ASSERT_PTR_NULL(jv_at(list, 4));
	jv_foreach (list, i, element)
		n += element->span;
	CU_ASSERT_EQUAL(n, 5);
	CU_ASSERT(jv_absent(jv_get(v, "e")) && jv_absent(jv_get(v, "f")));
	CU_ASSERT(!jv_absent(jv_get(v, "b")));
	/* Asking a value of another type, or none, finds nothing. */
	CU_ASSERT_PTR_NULL(jv_get(list, "a"));
	CU_ASSERT_PTR_NULL(jv_get(NULL, "a"));
	CU_ASSERT_PTR_NULL(jv_string(list));
	CU_ASSERT_EQUAL(jv_count(v), 0);
	CU_ASSERT_EQUAL(jv_length(v), 0);
	jv_foreach (v, i, element)
		CU_FAIL("an object is no array");
}

static void reads_strings(void)
{
	const struct jv *v = parse(
		"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\u00e4\\u20ac\\ud83d\\ude00\",\"a\\u0000b\","
		"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\",\"\"]");

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	CU_ASSERT_STRING_EQUAL(jv_string(jv_at(v, 0)), "\"\\/\b\f\n\r\t");
	CU_ASSERT_STRING_EQUAL(jv_string(jv_at(v, 1)), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	CU_ASSERT_EQUAL(jv_length(jv_at(v, 2)), 3);
	CU_ASSERT_EQUAL(memcmp(jv_string(jv_at(v, 2)), "a\0b", 4), 0);
	CU_ASSERT_STRING_EQUAL(jv_string(jv_at(v, 3)), jv_string(jv_at(v, 1)));
	CU_ASSERT_STRING_EQUAL(jv_string(jv_at(v, 4)), "");
}

static void reads_numbers(void)
{
	const struct jv *v =
		parse("[0,-0,9223372036854775807,-9223372036854775808,9223372036854775808,"
		      "-9223372036854775809,1.5,1e3,-2E-7]");

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	CU_ASSERT_EQUAL(jv_at(v, 1)->integer, 0);
	CU_ASSERT_EQUAL(jv_at(v, 2)->integer, INT64_MAX);
	CU_ASSERT_EQUAL(jv_at(v, 3)->integer, INT64_MIN);
	for (uint32_t i = 4; i < 9; i++)
		CU_ASSERT(jv_is(jv_at(v, i), JV_REAL));
}

static void refuses(void)
{
	static const char *const texts[] = {"", " ", "{", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]",
		"{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{1:2}", "[}", "{]",
		"[1]]", "{} {}", "tru", "nul", "True", "NaN", "01", "-", "+1", "1.", ".5", "1e",
		"1e+", "0x1", "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"",
		"\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"", "\"\x01\"",
		"\"\x80\"", "\"\xc0\xaf\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
		"\"\xe0\x80\x80\"", "'a'", "[1]//", "\xef\xbb\xbf[]"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const char *error = NULL;

		if (jv_parse_copy(&doc, texts[i], strlen(texts[i]), &error) != NULL)
			fprintf(stderr, "taken: %s\n", texts[i]);
		CU_ASSERT_PTR_NOT_NULL(error);
	}
}

static void nesting_is_bounded(void)
{
	char text[2 * JV_DEPTH_MAX + 3];

	memset(text, '[', JV_DEPTH_MAX);
	memset(text + JV_DEPTH_MAX, ']', JV_DEPTH_MAX);
	text[2 * JV_DEPTH_MAX] = '\0';
	CU_ASSERT_PTR_NOT_NULL(parse(text));
	memset(text, '[', JV_DEPTH_MAX + 1);
	memset(text + JV_DEPTH_MAX + 1, ']', JV_DEPTH_MAX + 1);
	text[2 * JV_DEPTH_MAX + 2] = '\0';
	CU_ASSERT_PTR_NULL(parse(text));
}

/* Every byte value at every place of runs of every length that a register sees differently. */
static void plain_runs_end_where_they_must(void)
{
	char text[24];

	for (unsigned c = 0; c < 256; c++)
		for (size_t len = 0; len <= sizeof(text); len++)
			for (size_t at = 0; at <= len; at++) {
				bool plain = c >= ' ' && c < 0x80 && c != '"' && c != '\\';
				size_t want = at < len && !plain ? at : len;

				memset(text, '!', sizeof(text)); /* next to the quote */
				if (at < len)
					text[at] = (char)c;
				if (plain_run(text, text + len) != want) {
					CHECK_EQ(plain_run(text, text + len), want);
					return;
				}
			}
}

static void finish(void)
{
	jv_doc_fini(&doc);
	CU_ASSERT_EQUAL(doc.capacity, 0);
}

TEST_SUITE("json", CASE(finds_members), CASE(reads_strings), CASE(reads_numbers), CASE(refuses),
	CASE(nesting_is_bounded), CASE(plain_runs_end_where_they_must), CASE(finish))
