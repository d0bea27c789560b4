/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Log lines: fields, quoting, levels, formats, the limit of a call site (control/log.h). */

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>

#include "control/log.h"
#include "unit/harness.h"

static char last[8192];
static unsigned lines;

static void keep(void *arg, const char *line, size_t len)
{
	(void)arg;
	snprintf(last, sizeof(last), "%.*s", (int)len, line);
	lines++;
}

static void fresh(enum log_format format)
{
	log_set_sink(keep, NULL);
	log_set_format(format);
	CHECK_EQ(log_set_level(NULL, "info"), 0);
	last[0] = '\0';
	lines = 0;
}

static void writes_fields(void)
{
	fresh(LOG_TEXT);
	LOG_INFO(k8s, "watch_started", "path=%s n=%u", "/api/v1/services", 3u);
	CHECK_EQ(strncmp(last, "ts=20", 5), 0);
	CHECK_HAS(last, "Z level=info module=k8s event=watch_started path=/api/v1/services n=3");
	LOG_WARN(main, "bare");
	CHECK_HAS(last, " level=warn module=main event=bare");
	CHECK_EQ(last[strlen(last) - 1], 'e');
}

static void quotes_values(void)
{
	fresh(LOG_TEXT);
	LOG_INFO(model, "e", "a=%s b=%s c=%s", "x y", "", "k=v");
	CHECK_HAS(last, " a=\"x y\" b=\"\" c=\"k=v\"");
	LOG_INFO(model, "e", "name=%s", "a\nlevel=error b=\"q\"\\\x01");
	CHECK_HAS(last, " name=\"a\\nlevel=error b=\\\"q\\\"\\\\\\u0001\"");
	CHECK(strchr(last, '\n') == NULL);
	LOG_INFO(model, "e", "a=%s/%s:%u b=end", "ns", "the name", 80u);
	CHECK_HAS(last, " a=\"ns/the name:80\" b=end");
}

static void a_value_cannot_forge_a_field(void)
{
	fresh(LOG_JSON);
	LOG_INFO(model, "e", "a=%s b=%s",
		"1\x1f"
		"c=2",
		"3");
	json_t *o = json_loads(last, 0, NULL);

	REQUIRE(o != NULL);
	CHECK_STR(json_string_value(json_object_get(o, "a")),
		"1\x1f"
		"c=2");
	CHECK_STR(json_string_value(json_object_get(o, "b")), "3");
	CHECK(json_object_get(o, "c") == NULL);
	json_decref(o);
}

static void json_lines_parse_even_when_cut(void)
{
	static char big[6000];

	fresh(LOG_JSON);
	memset(big, '"', sizeof(big) - 1);
	for (size_t n = 1900; n < 2100; n++) {
		big[n] = '\0';
		LOG_INFO(api, "big", "x=%s tail=%s more=%d", big, "t", 1);
		json_t *o = json_loads(last, 0, NULL);

		CHECK(o != NULL);
		CHECK_STR(json_string_value(json_object_get(o, "event")), "big");
		json_decref(o);
		big[n] = '"';
		n += 4;
	}
	log_text(LOG_MODULE_rim, LOG_LEVEL_WARN, "eal", big);
	json_t *o = json_loads(last, 0, NULL);

	CHECK(o != NULL);
	json_decref(o);
}

static void levels_are_per_module(void)
{
	fresh(LOG_TEXT);
	LOG_DEBUG(k8s, "hidden", "n=%d", 1);
	CHECK_EQ(lines, 0);
	CHECK_EQ(log_set_level("k8s", "debug"), 0);
	LOG_DEBUG(k8s, "shown", "n=%d", 1);
	LOG_DEBUG(rim, "hidden", "n=%d", 1);
	CHECK_EQ(lines, 1);
	CHECK_EQ(log_set_level(NULL, "error"), 0);
	LOG_WARN(k8s, "hidden", "n=%d", 1);
	CHECK_EQ(lines, 1);
	CHECK_EQ(log_set_level("nosuch", "debug"), -EINVAL);
	CHECK_EQ(log_set_level("k8s", "loud"), -EINVAL);
}

static void a_call_site_is_limited(void)
{
	uint64_t before = log_suppressed();

	fresh(LOG_TEXT);
	for (int i = 0; i < 3 * LOG_SITE_BURST; i++)
		LOG_WARN(rim, "storm", "i=%d", i);
	CHECK_EQ(lines, LOG_SITE_BURST);
	CHECK_EQ(log_suppressed() - before, 2 * LOG_SITE_BURST);
	LOG_WARN(rim, "other_site", "i=%d", 1);
	CHECK_EQ(lines, LOG_SITE_BURST + 1);
}

static void the_next_window_tells_what_was_left_out(void)
{
	struct log_site site = {.window_ms = 1, .written = LOG_SITE_BURST, .suppressed = 7};

	fresh(LOG_TEXT);
	log_write(LOG_MODULE_rim, LOG_LEVEL_WARN, &site, "storm", " i=%d", 1);
	CHECK_HAS(last, "event=storm suppressed=7 i=1");
	CHECK_EQ(site.suppressed, 0);
}

TEST_SUITE("log", CASE(writes_fields), CASE(quotes_values), CASE(a_value_cannot_forge_a_field),
	CASE(json_lines_parse_even_when_cut), CASE(levels_are_per_module),
	CASE(a_call_site_is_limited), CASE(the_next_window_tells_what_was_left_out))
