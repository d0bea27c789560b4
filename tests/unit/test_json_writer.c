/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The streaming JSON writer: what it writes is read back by jansson, which refuses what is not
 * JSON (control/api/json_writer.h). */

#include <errno.h>
#include <event2/buffer.h>
#include <jansson.h>

#include "control/api/json_writer.h"
#include "unit/harness.h"

static struct evbuffer *out;
static struct jw w;
static char text[65536];

static void begin(void)
{
	out = evbuffer_new();
	jw_init(&w, out);
}

static const char *finish(void)
{
	int n;

	CHECK_EQ(jw_finish(&w), 0);
	n = evbuffer_remove(out, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	evbuffer_free(out);
	return text;
}

static void nests_and_puts_commas(void)
{
	begin();
	jw_object(&w, NULL);
	jw_array(&w, "empty");
	jw_array_end(&w);
	jw_object(&w, "none");
	jw_object_end(&w);
	jw_array(&w, "list");
	jw_int(&w, NULL, -1);
	jw_object(&w, NULL);
	jw_bool(&w, "yes", true);
	jw_bool(&w, "no", false);
	jw_object_end(&w);
	jw_null(&w, NULL);
	jw_array(&w, NULL);
	jw_string(&w, NULL, "x");
	jw_string(&w, NULL, NULL);
	jw_array_end(&w);
	jw_array_end(&w);
	jw_number(&w, "half", 0.5, 1);
	jw_raw(&w, "raw", "[1,2]", 5);
	jw_object_end(&w);
	CHECK_STR(finish(),
		"{\"empty\":[],\"none\":{},\"list\":[-1,{\"yes\":true,\"no\":false},null,"
		"[\"x\",null]],\"half\":0.5,\"raw\":[1,2]}");
}

static void counters_are_exact_strings(void)
{
	begin();
	jw_array(&w, NULL);
	jw_counter(&w, NULL, UINT64_MAX);
	jw_counter(&w, NULL, 0);
	jw_int(&w, NULL, INT64_MIN);
	jw_int(&w, NULL, INT64_MAX);
	jw_array_end(&w);
	CHECK_STR(finish(),
		"[\"18446744073709551615\",\"0\",-9223372036854775808,"
		"9223372036854775807]");
}

static void numbers_that_json_has_not_are_null(void)
{
	begin();
	jw_array(&w, NULL);
	jw_number(&w, NULL, 0.0 / 0.0, 1);
	jw_number(&w, NULL, 1.0 / 0.0, 1);
	jw_number(&w, NULL, 1e300, 1);
	jw_array_end(&w);
	CHECK_STR(finish(), "[null,null,null]");
}

static void escapes(void)
{
	begin();
	jw_string(&w, NULL, "\"\\/\b\n\t\x01\x1f\x7f</script>");
	CHECK_STR(finish(), "\"\\\"\\\\/\\u0008\\u000a\\u0009\\u0001\\u001f\\u007f</script>\"");
}

/* RFC 3629: overlong forms, surrogates, what is above U+10FFFF, cut and lone bytes. */
static void replaces_what_is_not_utf8(void)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"a\xc3\xa4z", "\"a\xc3\xa4z\""},
		{"\xe2\x82\xac", "\"\xe2\x82\xac\""},
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
		{"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xe0\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\x80x", "\"\xef\xbf\xbdx\""},
		{"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		jw_string(&w, NULL, cases[i].in);
		CHECK_STR(finish(), cases[i].out);
	}
}

static void random_bytes_are_always_json(void)
{
	for (int round = 0; round < 5000; round++) {
		char bytes[64];
		json_t *read;
		size_t n = test_rand_below(sizeof(bytes));

		for (size_t i = 0; i < n; i++)
			bytes[i] = (char)(1 + test_rand_below(255));
		bytes[n] = '\0';
		begin();
		jw_object(&w, NULL);
		jw_string(&w, bytes, bytes);
		jw_object_end(&w);
		read = json_loads(finish(), 0, NULL);
		CHECK(read != NULL);
		json_decref(read);
	}
}

static void long_texts_pass_through_the_buffer(void)
{
	static char big[20000];
	json_t *read;

	memset(big, 'x', sizeof(big) - 1);
	begin();
	jw_array(&w, NULL);
	for (int i = 0; i < 3; i++)
		jw_string(&w, NULL, big);
	jw_raw(&w, NULL, "7", 1);
	jw_array_end(&w);
	read = json_loads(finish(), 0, NULL);
	REQUIRE(read != NULL);
	CHECK_EQ(json_array_size(read), 4);
	CHECK_STR(json_string_value(json_array_get(read, 2)), big);
	json_decref(read);
}

static void unpaired_is_told(void)
{
	begin();
	jw_object(&w, NULL);
	CHECK_EQ(jw_finish(&w), -EINVAL);
	jw_array(&w, NULL);
	jw_array_end(&w);
	jw_array_end(&w);
	CHECK_EQ(jw_finish(&w), -ENOMEM);
	for (int i = 0; i < JW_DEPTH_MAX + 1; i++)
		jw_array(&w, NULL);
	for (int i = 0; i < JW_DEPTH_MAX; i++)
		jw_array_end(&w);
	CHECK(jw_finish(&w) < 0);
	evbuffer_free(out);
}

static void writes_addresses_and_times(void)
{
	static const uint8_t mac[6] = {2, 0, 0, 0xab, 0, 1};
	struct ip_prefix p;
	struct ip_addr a;

	ip_parse("fd00::1", &a);
	ip_prefix_parse("10.1.2.3/8", &p);
	begin();
	jw_array(&w, NULL);
	jw_ip(&w, NULL, &a);
	jw_prefix(&w, NULL, &p);
	jw_mac(&w, NULL, mac);
	jw_time_ms(&w, NULL, INT64_C(1700000000123));
	jw_time_ms(&w, NULL, -1);
	jw_array_end(&w);
	CHECK_STR(finish(),
		"[\"fd00::1\",\"10.0.0.0/8\",\"02:00:00:ab:00:01\","
		"\"2023-11-14T22:13:20.123Z\",null]");
}

TEST_SUITE("json_writer", CASE(nests_and_puts_commas), CASE(counters_are_exact_strings),
	CASE(numbers_that_json_has_not_are_null), CASE(escapes), CASE(replaces_what_is_not_utf8),
	CASE(random_bytes_are_always_json), CASE(long_texts_pass_through_the_buffer),
	CASE(unpaired_is_told), CASE(writes_addresses_and_times))
