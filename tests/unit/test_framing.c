/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Framing of list and watch bodies: any cut gives the same objects, bounds hold, and what is no
 * JSON is told from what is. */

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/framing.h"
#include "unit/harness.h"

struct seen {
	char log[65536];
	size_t len;
	int stop_at; /* ask to stop behind the object of this number; 0: never */
	int n;
};

static int on_frame(void *arg, const struct frame *frame)
{
	struct seen *seen = arg;

	seen->len += (size_t)snprintf(seen->log + seen->len, sizeof(seen->log) - seen->len,
		"[%s|%s|%s|%s|%.*s]", frame->type, frame->ns, frame->name, frame->rv,
		frame->text != NULL ? (int)frame->len : 4,
		frame->text != NULL ? frame->text : "over");
	return ++seen->n == seen->stop_at ? 1 : 0;
}

static const char *const skip[] = {"managedFields", "junk", NULL};

static struct framer *start(enum framer_mode mode, struct seen *seen, size_t max_object)
{
	struct framer_config config = {.mode = mode,
		.max_object = max_object,
		.max_skip = 100000,
		.max_shell = 4096,
		.skip = skip,
		.fn = on_frame,
		.arg = seen};
	struct framer *f = NULL;

	memset(seen, 0, sizeof(*seen));
	CU_ASSERT_EQUAL_FATAL(framer_new(&config, &f), 0);
	return f;
}

/* Feeds text in two pieces, and the second one byte by byte when bytewise. */
static int feed(struct framer *f, const char *text, size_t cut, bool bytewise)
{
	size_t len = strlen(text), used, step;
	int rc = framer_feed(f, text, cut, &used);

	for (size_t at = cut; rc == 0 && at < len; at += step) {
		step = bytewise ? 1 : len - at;
		rc = framer_feed(f, text + at, step, &used);
	}
	return rc;
}

static const char watch_text[] =
	"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Service\",\"metadata\":{\"name\":\"a\\\"b\","
	"\"namespace\":\"n1\",\"managedFields\":[{\"x\":\"}]\\\\\"},{}],\"resourceVersion\":\"12\"},"
	"\"junk\" : {\"metadata\":{\"name\":\"no\"}} , \"s\":\"br{ace[s]} \\\\\"}}\n"
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"13\",\"junk\":7}}}\r\n"
	" {\"other\":{\"metadata\":{\"name\":\"wrong\"}},\"object\":{\"spec\":{\"metadata\":"
	"{\"name\":\"deep\"}},\"metadata\":{\"name\":\"\xc3\xa4\\u0000\"}},\"type\":\"DELETED\"}\n";

static const char watch_expected[] =
	"[ADDED|n1|a\\\"b|12|{\"type\":\"ADDED\",\"object\":{\"kind\":\"Service\",\"metadata\":"
	"{\"name\":\"a\\\"b\",\"namespace\":\"n1\",\"managedFields\":null,\"resourceVersion\":\"12\"},"
	"\"junk\" :null, \"s\":\"br{ace[s]} \\\\\"}}]"
	"[BOOKMARK|||13|{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"13\","
	"\"junk\":null}}}]"
	"[DELETED||\xc3\xa4\\u0000||{\"other\":{\"metadata\":{\"name\":\"wrong\"}},\"object\":"
	"{\"spec\":{\"metadata\":{\"name\":\"deep\"}},\"metadata\":{\"name\":\"\xc3\xa4\\u0000\"}},"
	"\"type\":\"DELETED\"}]";

static void watch_any_cut(void)
{
	for (size_t cut = 0; cut <= strlen(watch_text); cut++) {
		for (int bytewise = 0; bytewise < 2; bytewise++) {
			struct seen seen;
			struct framer *f = start(FRAMER_WATCH, &seen, 4096);

			CU_ASSERT_EQUAL(feed(f, watch_text, cut, bytewise != 0), 0);
			CU_ASSERT_STRING_EQUAL(seen.log, watch_expected);
			CU_ASSERT(framer_at_end(f));
			framer_free(f);
		}
	}
}

static void list_any_cut(void)
{
	static const char text[] =
		"{ \"kind\":\"ServiceList\",\"items\" : [ {\"metadata\":{\"name\":\"a\",\"namespace\":"
		"\"n\"}} ,\n {\"metadata\":{\"name\":\"b\",\"managedFields\":[]},\"items\":[{}]}, null, 5,"
		"[{\"x\":1}] ], \"metadata\":{\"resourceVersion\":\"7\",\"managedFields\":1}}\n";
	static const char expected[] =
		"[|n|a||{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"}}]"
		"[||b||{\"metadata\":{\"name\":\"b\",\"managedFields\":null},\"items\":[{}]}]";

	for (size_t cut = 0; cut <= strlen(text); cut++) {
		struct seen seen;
		struct framer *f = start(FRAMER_LIST, &seen, 4096);
		const char *text_out;
		json_t *shell;
		size_t len;

		CU_ASSERT_EQUAL(feed(f, text, cut, (cut & 1) != 0), 0);
		CU_ASSERT_STRING_EQUAL(seen.log, expected);
		CU_ASSERT_FATAL(framer_at_end(f));
		text_out = framer_shell(f, &len);
		shell = json_loadb(text_out, len, 0, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(shell);
		CU_ASSERT(json_is_null(json_object_get(shell, "items")));
		CU_ASSERT_STRING_EQUAL(
			json_string_value(json_object_get(
				json_object_get(shell, "metadata"), "resourceVersion")),
			"7");
		json_decref(shell);
		framer_free(f);
	}
}

static void list_without_items(void)
{
	static const char *const texts[] = {
		"{}", "{\"items\":null}", "{\"items\":[]}", "{\"kind\":\"Status\",\"code\":410}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct seen seen;
		struct framer *f = start(FRAMER_LIST, &seen, 4096);

		CU_ASSERT_EQUAL(feed(f, texts[i], 1, true), 0);
		CU_ASSERT(framer_at_end(f));
		CU_ASSERT_EQUAL(seen.n, 0);
		framer_free(f);
	}
}

static void unfinished_is_not_at_end(void)
{
	struct seen seen;
	struct framer *f = start(FRAMER_LIST, &seen, 4096);

	CU_ASSERT_EQUAL(feed(f, "{\"items\":[{\"metadata\":{}}", 3, false), 0);
	CU_ASSERT(!framer_at_end(f));
	framer_free(f);
	f = start(FRAMER_WATCH, &seen, 4096);
	CU_ASSERT(framer_at_end(f));
	CU_ASSERT_EQUAL(feed(f, "{\"type\":\"AD", 3, false), 0);
	CU_ASSERT(!framer_at_end(f));
	framer_reset(f);
	CU_ASSERT(framer_at_end(f));
	CU_ASSERT_EQUAL(feed(f, watch_text, 5, false), 0);
	CU_ASSERT_STRING_EQUAL(seen.log, watch_expected);
	framer_free(f);
}

/* A large object goes by without its text but with its name; the next one is whole again. */
static void large_object_is_named(void)
{
	static char text[60000];
	struct seen seen;
	struct framer *f = start(FRAMER_WATCH, &seen, 1000);
	size_t len = (size_t)snprintf(
		text, sizeof(text), "{\"type\":\"MODIFIED\",\"object\":{\"spec\":{\"pad\":\"");

	memset(text + len, 'x', 50000);
	len += 50000;
	snprintf(text + len, sizeof(text) - len,
		"\"},\"metadata\":{\"name\":\"big\",\"namespace\":\"n\",\"resourceVersion\":\"5\"}}}\n"
		"{\"type\":\"ADDED\",\"object\":{}}");
	CU_ASSERT_EQUAL(feed(f, text, 700, false), 0);
	CU_ASSERT_STRING_EQUAL(
		seen.log, "[MODIFIED|n|big|5|over][ADDED||||{\"type\":\"ADDED\",\"object\":{}}]");
	framer_free(f);
}

static void endless_object_ends_the_stream(void)
{
	struct seen seen;
	struct framer *f = start(FRAMER_WATCH, &seen, 1000);
	size_t used, total = 0;
	char block[1000];
	int rc;

	memset(block, '[', sizeof(block));
	rc = framer_feed(f, "{\"a\":", 5, &used);
	while (rc == 0 && total < 1000000) {
		rc = framer_feed(f, block, sizeof(block), &used);
		total += used;
	}
	CU_ASSERT_EQUAL(rc, -EMSGSIZE);
	CU_ASSERT(total < 102000);
	framer_free(f);
	f = start(FRAMER_LIST, &seen, 1000);
	rc = framer_feed(f, "{\"a\":\"", 6, &used);
	for (total = 0; rc == 0 && total < 100000; total += used)
		rc = framer_feed(f, block, sizeof(block), &used);
	CU_ASSERT_EQUAL(rc, -EMSGSIZE);
	framer_free(f);
}

static void skipped_values_do_not_count(void)
{
	static char text[60000];
	struct seen seen;
	struct framer *f = start(FRAMER_WATCH, &seen, 100);
	size_t len = (size_t)snprintf(text, sizeof(text), "{\"junk\":[\"");

	memset(text + len, 'y', 40000);
	snprintf(text + len + 40000, 100, "\"],\"type\":\"ADDED\"}");
	CU_ASSERT_EQUAL(feed(f, text, 5000, false), 0);
	CU_ASSERT_STRING_EQUAL(seen.log, "[ADDED||||{\"junk\":null,\"type\":\"ADDED\"}]");
	framer_free(f);
}

static void not_json(void)
{
	static const struct {
		enum framer_mode mode;
		const char *text;
	} cases[] = {
		{FRAMER_WATCH, "dial tcp: refused"},
		{FRAMER_WATCH, "{\"a\":1}]"},
		{FRAMER_WATCH, "{\"a\":[}]"},
		{FRAMER_WATCH, "[{}]"},
		{FRAMER_WATCH, "{} 5"},
		{FRAMER_LIST, "<html>"},
		{FRAMER_LIST, "[]"},
		{FRAMER_LIST, "{} {}"},
		{FRAMER_LIST, "{\"items\":[}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct seen seen;
		struct framer *f = start(cases[i].mode, &seen, 4096);

		CU_ASSERT_EQUAL(feed(f, cases[i].text, 2, true), -EPROTO);
		framer_free(f);
	}
}

static void stops_when_asked(void)
{
	struct seen seen;
	struct framer *f = start(FRAMER_WATCH, &seen, 4096);
	size_t len = strlen(watch_text), used, rest;

	seen.stop_at = 2;
	CU_ASSERT_EQUAL(framer_feed(f, watch_text, len, &used), 0);
	CU_ASSERT_EQUAL(seen.n, 2);
	CU_ASSERT(used < len);
	CU_ASSERT_EQUAL(framer_feed(f, watch_text + used, len - used, &rest), 0);
	CU_ASSERT_EQUAL(used + rest, len);
	CU_ASSERT_STRING_EQUAL(seen.log, watch_expected);
	framer_free(f);
}

TEST_SUITE("framing", CASE(watch_any_cut), CASE(list_any_cut), CASE(list_without_items),
	CASE(unfinished_is_not_at_end), CASE(large_object_is_named),
	CASE(endless_object_ends_the_stream), CASE(skipped_values_do_not_count), CASE(not_json),
	CASE(stops_when_asked))
