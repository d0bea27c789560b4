/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The list/watch client against a server in trouble: error answers, absence, and lists that take
 * too much away. */

#include "unit/reflector_fixture.h"

/* --- errors ---------------------------------------------------------------------------------- */

static void errors(void)
{
	PLAY("E1 410 as status", false, GOT_TWO " +n/a=2 -n/b C", "now:0",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .status = 410, .body = STATUS(410, "Expired", "")},
		{.expect = RELIST("10"), .body = LIST("40", OBJECT("a", "2"))},
		{.expect = WATCH("40"), HOLD});
	PLAY("E1 410 as event without code", false, GOT_TWO " +n/a=2 -n/b C", "now:0",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\","
				"\"reason\":\"Gone\"}}",
			HOLD},
		{.expect = RELIST("10"), .body = LIST("40", OBJECT("a", "2"))},
		{.expect = WATCH("40"), HOLD});
	PLAY("E2 410 again, and for ever", false, GOT_TWO " +n/a=2 -n/b C",
		"now:0 now:0 backoff:1200 backoff:2400", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = ERROR_EVENT(410, "Expired"), HOLD},
		{.expect = RELIST("10"), .status = 410, .body = STATUS(410, "Expired", "")},
		{.expect = NEWEST, .status = 410, .body = STATUS(410, "Expired", "")},
		{.expect = NEWEST, .body = LIST("40", OBJECT("a", "2"))},
		{.expect = WATCH("40"), .body = ERROR_EVENT(410, "Expired"), HOLD},
		{.expect = RELIST("40"), HOLD});
	PLAY("E3 too large", false, GOT_TWO " +n/a=2 -n/b C", "now:0 now:0",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = ERROR_EVENT(410, "Expired"), HOLD},
		{.expect = RELIST("10"), .status = 504, .body = TOO_LARGE},
		{.expect = NEWEST, .body = LIST("40", OBJECT("a", "2"))},
		{.expect = WATCH("40"), HOLD});
	PLAY("E4 429 with Retry-After", false, GOT_TWO " -n/a", "retry-after:6251 retry-after:8751",
		{.expect = FIRST,
			.status = 429,
			.headers = "Retry-After: 5\r\n",
			.body = STATUS(429, "TooManyRequests", "")},
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .status = 429, .headers = "Retry-After: 7\r\n"},
		{.expect = WATCH("10"), .body = EVENT("DELETED", "11", "a", "1"), HOLD});
	PLAY("E5 500 as event", false, GOT_TWO " -n/a", "backoff:1200",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = BOOKMARK("20") ERROR_EVENT(500, "InternalError"),
			HOLD},
		{.expect = WATCH("20"), .body = EVENT("DELETED", "21", "a", "1"), HOLD});
	PLAY("E6 proxies in trouble", false, GOT_TWO " -n/a",
		"backoff:1200 backoff:2400 backoff:4800 backoff:9600",
		{.expect = FIRST, .status = 502, .body = "bad gateway"},
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.status = 500,
			.headers = "Content-Type: text/plain\r\n",
			.body = "dial tcp 10.0.0.1:6443: connect: connection refused"},
		{.expect = WATCH("10"), .status = 502},
		{.expect = WATCH("10"), .status = 503, .body = "{\"kind\":\"Status\"}"},
		{.expect = WATCH("10"), .body = EVENT("DELETED", "11", "a", "1"), HOLD});
	PLAY("E8 404, later there", false, "404 404 +n/a=1 +n/b=1 C", "absent:202500 absent:202500",
		{.expect = FIRST, .status = 404, .body = "404 page not found"},
		{.expect = FIRST, .status = 404, .body = STATUS(404, "NotFound", "")},
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10"), HOLD});
	PLAY("a redirect or an unknown answer is not followed", false, GOT_TWO,
		"backoff:1200 backoff:2400",
		{.expect = FIRST, .status = 301, .headers = "Location: /other\r\n"},
		{.expect = FIRST, .status = 406}, {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), HOLD});
	PLAY("a coded body is not taken", false, GOT_TWO, "backoff:1200",
		{.expect = FIRST, .headers = "Content-Encoding: gzip\r\n", .body = TWO},
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10"), HOLD});
}

static void not_allowed(void)
{
	static const struct k8s_step steps[] = {
		{.status = 401, .body = STATUS(401, "Unauthorized", "")},
		{.status = 403, .body = STATUS(403, "Forbidden", "")},
		{.status = 403, .headers = "Content-Type: text/plain\r\n", .body = "Forbidden"},
		{.body = TWO},
		{.expect = WATCH("10"), .status = 403, .body = STATUS(403, "Forbidden", "")},
		{.expect = WATCH("10"), HOLD},
	};
	struct test t = {0};

	begin(&t, false);
	k8s_server_script(t.server, steps, 6);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, "401 403 403 " GOT_TWO));
	/* E7: long waits, an error each, and the proxy's filter is told from missing rights. */
	CU_ASSERT_STRING_EQUAL(t.waits, "auth:45000 auth:45000 auth:45000 auth:45000");
	CU_ASSERT(strstr(t.logs, "0:api_not_allowed") != NULL);
	CU_ASSERT(strstr(t.logs, "0:api_proxy_refuses") != NULL);
	end(&t);
}

static void server_away(void)
{
	static const struct k8s_step before[] = {{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = BOOKMARK("15"), HOLD}};
	static const struct k8s_step after[] = {
		{.expect = WATCH("15"), .body = EVENT("DELETED", "16", "a", "1"), HOLD}};
	struct reflector_status st;
	struct test t = {0};

	begin(&t, false);
	k8s_server_script(t.server, before, 2);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO));
	do {
		event_base_loop(t.base, EVLOOP_ONCE);
		reflector_status(t.reflector, &st);
	} while (strcmp(st.rv, "15") != 0);
	k8s_server_free(t.server);
	while (strlen(t.waits) < 200)
		event_base_loop(t.base, EVLOOP_ONCE);
	/* E9: nothing is taken away, the pace falls to the limit and stays there. */
	CU_ASSERT_STRING_EQUAL(t.ops, GOT_TWO);
	CU_ASSERT(strncmp(t.waits, "backoff:1200 backoff:2400 backoff:4800 ", 39) == 0);
	CU_ASSERT_EQUAL(t.max_backoff, 45000);
	reflector_status(t.reflector, &st);
	CU_ASSERT_EQUAL(st.objects, 2);
	CU_ASSERT_PTR_NOT_NULL(st.last_error);
	t.server = k8s_server_new(t.base, t.socket);
	k8s_server_script(t.server, after, 1);
	CU_ASSERT(until(&t, t.ops, GOT_TWO " -n/a"));
	reflector_status(t.reflector, &st);
	CU_ASSERT_PTR_NULL(st.last_error);
	CU_ASSERT_STRING_EQUAL(k8s_server_faults(t.server), "");
	end(&t);
}

static void warning_once(void)
{
#define WARNING .headers = "Warning: 299 - \"deprecated\"\r\n"
	static const struct k8s_step steps[] = {
		{.expect = FIRST, .body = TWO, WARNING},
		{.expect = WATCH("10"), .body = BOOKMARK("11"), WARNING},
		{.expect = WATCH("11"), .body = EVENT("DELETED", "12", "a", "1"), WARNING, HOLD},
	};
	struct test t = {0};
	const char *first;

	begin(&t, false);
	k8s_server_script(t.server, steps, 3);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO " -n/a"));
	first = strstr(t.logs, "api_warning");
	CU_ASSERT_PTR_NOT_NULL_FATAL(first);
	CU_ASSERT_PTR_NULL(strstr(first + 1, "api_warning"));
	end(&t);
}

/* --- order and removal ----------------------------------------------------------------------- */

static void no_rollback(void)
{
	/* O4: the first list may be old; no later one may be older than what was seen. */
	PLAY("O4 relist from what was seen", false, GOT_TWO " +n/a=2 +n/a=2 -n/b C", "now:0",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = EVENT("MODIFIED", "77", "a", "2") ERROR_EVENT(410, "Expired"),
			HOLD},
		{.expect = RELIST("77"), .body = LIST("78", OBJECT("a", "2"))},
		{.expect = WATCH("78"), HOLD});
}

static char many[8192];

static void suddenly_empty(void)
{
	const struct k8s_step steps[] = {
		{.expect = FIRST, .body = many},
		{.expect = WATCH("5"), .body = ERROR_EVENT(410, "Expired"), HOLD},
		{.expect = RELIST("5"), .body = LIST("6", "")},
		{.expect = WATCH("6"), HOLD},
		{.expect = RELIST("6"), .body = LIST("7", OBJECT("o0", "1"))},
		{.expect = WATCH("7"), HOLD},
	};
	struct reflector_status st;
	struct test t = {0};
	size_t len = (size_t)snprintf(
		many, sizeof(many), "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[");

	for (int i = 0; i < 20; i++)
		len += (size_t)snprintf(many + len, sizeof(many) - len,
			"%s{\"metadata\":{\"name\":\"o%d\",\"namespace\":\"n\"},\"spec\":{\"v\":\"1\"}}",
			i > 0 ? "," : "", i);
	snprintf(many + len, sizeof(many) - len, "]}");
	begin(&t, false);
	t.timings.removal_guard = 40;
	k8s_server_script(t.server, steps, 6);
	reflector_start(t.reflector);
	while (k8s_server_unused(t.server) > 2)
		event_base_loop(t.base, EVLOOP_ONCE);
	settle(&t);
	/* The first empty list is not believed; the second, a while later, is. */
	reflector_status(t.reflector, &st);
	CU_ASSERT_EQUAL(st.objects, 20);
	CU_ASSERT_EQUAL(st.removals_held, 1);
	CU_ASSERT_PTR_NULL(strchr(t.ops, '-'));
	while (k8s_server_unused(t.server) > 0)
		event_base_loop(t.base, EVLOOP_ONCE);
	reflector_status(t.reflector, &st);
	CU_ASSERT_EQUAL(st.objects, 1);
	CU_ASSERT_STRING_EQUAL(k8s_server_faults(t.server), "");
	end(&t);
}

TEST_SUITE("reflector_errors", CASE(errors), CASE(not_allowed), CASE(server_away),
	CASE(warning_once), CASE(no_rollback), CASE(suddenly_empty))
