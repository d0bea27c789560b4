/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The list/watch client where all goes well, or nearly so: framing, lists, the life of a watch,
 * watch-lists, and what it asks. */

#include "unit/reflector_fixture.h"

/* --- framing --------------------------------------------------------------------------------- */

#define OPEN    "{\"k\":["
#define CLOSE   "]}"
#define TEN(x)  x x x x x x x x x x
#define DEEP(x) TEN(TEN(x))

static void framing(void)
{
	PLAY("F2 several events in one chunk", false, GOT_TWO " +n/a=2 +n/c=1 -n/b", "",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = EVENT("MODIFIED", "11", "a", "2") EVENT("ADDED", "12", "c", "1")
				EVENT("DELETED", "13", "b", "1"),
			HOLD});
	PLAY("F5 braces and escapes in strings", false, GOT_TWO " +n/a=x}{][\",\\", "",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":"
				"\"n\",\"resourceVersion\":\"11\",\"annotations\":{\"x\":\"}}\\\\\\\"{\\u0000\"}},"
				"\"spec\":{\"v\":\"x}{][\\\",\\\\\"}}}",
			HOLD});
	PLAY("F6 unknown type, bookmark", false, GOT_TWO, "rewatch:100",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = "{\"type\":\"NEW\",\"object\":{\"metadata\":{\"name\":\"z\"}}}" BOOKMARK(
				"20")},
		{.expect = WATCH("20"), HOLD});
	PLAY("F4 an object larger than the bound is refused by name", false, GOT_TWO " !n/a +n/b=2",
		"", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.piece = 1000,
			.body = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":"
				"\"n\",\"resourceVersion\":\"11\",\"annotations\":{\"x\":\"" KK KK
					KK KK KK "\"}}}}" EVENT("MODIFIED", "12", "b", "2"),
			HOLD});
	PLAY("F4 an object without end ends the watch", false, GOT_TWO " +n/a=3 -n/b C",
		"backoff:1200", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.piece = 3000,
			.body = "{\"type\":\"MODIFIED\",\"object\":{\"x\":\"" KK KK KK KK KK KK KK
				KK KK KK KK KK KK KK KK KK KK KK KK KK,
			HOLD},
		{.expect = RELIST("10"), .body = LIST("30", OBJECT("a", "3"))},
		{.expect = WATCH("30"), HOLD});
	PLAY("an event that cannot be parsed is refused by name", false, GOT_TWO " !n/a +n/b=2",
		"rewatch:100", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":"
				"\"n\",\"resourceVersion\":\"11\"},\"spec\":nonsense}}" EVENT(
					"MODIFIED", "12", "b", "2")},
		{.expect = WATCH("12"), HOLD});
	PLAY("nesting without end is refused by name, the stream goes on", false,
		GOT_TWO " !n/a +n/b=2", "", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.piece = 100,
			.body = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":"
				"\"n\",\"resourceVersion\":\"11\"},\"x\":" DEEP(OPEN) "1" DEEP(
					CLOSE) "}}" EVENT("MODIFIED", "12", "b", "2"),
			HOLD});
	PLAY("a nameless broken event makes a relist", false, GOT_TWO " +n/a=3 +n/b=3 C",
		"backoff:1200", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = "{\"type\":\"MODIFIED\",\"object\":nonsense}",
			HOLD},
		{.expect = RELIST("10"), .body = LIST("30", OBJECT("a", "3") "," OBJECT("b", "3"))},
		{.expect = WATCH("30"), HOLD});
}

static void framing_any_cut(void)
{
	static const char body[] = EVENT("MODIFIED", "11", "a", "\\\"\xc3\xa4}")
		EVENT("DELETED", "12", "b", "1") BOOKMARK("13");

	for (size_t piece = 1; piece < 40; piece += piece < 8 ? 1 : 7) {
		const struct k8s_step steps[] = {
			{.expect = FIRST, .body = TWO, .piece = piece},
			{.expect = WATCH("10"), .body = body, .piece = piece},
			{.expect = WATCH("13"), HOLD},
		};

		play("F1 any cut", false, steps, 3, GOT_TWO " +n/a=\"\xc3\xa4} -n/b",
			"rewatch:100");
	}
}

static void framing_large_event(void)
{
	static char body[1600000];
	struct k8s_step steps[] = {
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = body, HOLD},
	};
	struct test t = {0};
	struct reflector_config config;
	size_t len;

	len = (size_t)snprintf(
		body, sizeof(body), "{\"type\":\"MODIFIED\",\"object\":{\"spec\":{\"w\":\"");
	memset(body + len, 'w', 1500000);
	snprintf(body + len + 1500000, 200,
		"\",\"v\":\"9\"},\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"resourceVersion\":"
		"\"11\"}}}\n");
	begin(&t, false);
	reflector_free(t.reflector);
	config = (struct reflector_config){
		.path = "/api/v1/things",
		.kind = "Thing",
		.timings = &t.timings,
		.env = &t.env,
		.shared = &t.shared,
		.ops = &ops,
		.arg = &t,
	};
	CU_ASSERT_EQUAL_FATAL(reflector_new(t.base, t.http, &config, &t.reflector), 0);
	k8s_server_script(t.server, steps, 2);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO " +n/a=9"));
	end(&t);
}

/* --- lists ----------------------------------------------------------------------------------- */

static void lists(void)
{
	PLAY("L1 items null", false, "C", "",
		{.expect = FIRST,
			.body = "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":null}"},
		{.expect = WATCH("5"), HOLD});
	PLAY("L1 items missing", false, "C", "",
		{.expect = FIRST, .body = "{\"metadata\":{\"resourceVersion\":\"5\"}}"},
		{.expect = WATCH("5"), HOLD});
	PLAY("L2 pages", false, "+n/a=1 +n/b=1 +n/c=1 C", "",
		{.expect = FIRST, .body = PAGE("8", "tok/1", OBJECT("a", "1"))},
		{.expect = "limit=500 continue=tok%2F1 -resourceVersion",
			.body = PAGE("8", "tok2", OBJECT("b", "1"))},
		{.expect = "continue=tok2", .body = LIST("8", OBJECT("c", "1"))},
		{.expect = WATCH("8"), HOLD});
	PLAY("L3 410 on the second page", false, "+n/a=2 C", "now:0",
		{.expect = FIRST, .body = PAGE("8", "t", OBJECT("a", "1"))},
		{.expect = "continue=t", .status = 410, .body = STATUS(410, "Expired", "")},
		{.expect = "-limit -continue", .body = LIST("9", OBJECT("a", "2"))},
		{.expect = WATCH("9"), HOLD});
	PLAY("pages of two snapshots are thrown away", false, "+n/a=2 C", "backoff:1200",
		{.expect = FIRST, .body = PAGE("8", "t", OBJECT("a", "1"))},
		{.expect = "continue=t", .body = LIST("9", OBJECT("b", "1"))},
		{.expect = "-limit -continue", .body = LIST("9", OBJECT("a", "2"))},
		{.expect = WATCH("9"), HOLD});
	PLAY("L4 indented body", false, GOT_TWO, "",
		{.expect = FIRST,
			.body = "{\n  \"metadata\" : {\n \"resourceVersion\" : \"10\"\n},\n"
				"\"items\" : [\n " OBJECT("a", "1") " ,\n " OBJECT(
					"b", "1") "\n ]\n}\n"},
		{.expect = WATCH("10"), HOLD});
	PLAY("L5 with length", false, GOT_TWO, "",
		{.expect = FIRST, .body = TWO, .framing = K8S_LENGTH},
		{.expect = WATCH("10"), HOLD});
	PLAY("L5 until close", false, GOT_TWO, "",
		{.expect = FIRST, .body = TWO, .framing = K8S_UNTIL_CLOSE},
		{.expect = WATCH("10"), HOLD});
	PLAY("half a list is no list", false, GOT_TWO, "backoff:1200 backoff:2400 backoff:4800",
		{.expect = FIRST,
			.body = "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[" OBJECT(
				"z", "1"),
			CUT},
		{.expect = FIRST, .body = LIST("9", OBJECT("z", "1")), .framing = K8S_LENGTH, CUT},
		{.expect = FIRST,
			.body = "{\"items\":[" OBJECT("z", "1"),
			.framing = K8S_UNTIL_CLOSE},
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10"), HOLD});
	PLAY("what is no list of this resource is refused", false, GOT_TWO, NULL,
		{.expect = FIRST,
			.body = "{\"kind\":\"OtherList\",\"metadata\":{\"resourceVersion\":\"9\"},"
				"\"items\":[]}"},
		{.expect = FIRST, .body = "{\"message\":\"welcome\"}"},
		{.expect = FIRST, .body = "<html>"},
		{.expect = FIRST,
			.body = "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":{}}"},
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10"), HOLD});
	PLAY("bad items are named, the rest is taken", false, "!/ !n/bad !/ !n/kind +n/a=1 C", "",
		{.expect = FIRST,
			.body = LIST("9",
				"{\"metadata\":{}},{\"metadata\":{\"name\":\"bad\",\"namespace\":"
				"\"n\"},\"x\":tru},{\"metadata\":{\"name\":\"UP/per\"}},{\"kind\":\"Other\","
				"\"metadata\":{\"name\":\"kind\",\"namespace\":\"n\"}}," OBJECT(
					"a", "1"))},
		{.expect = WATCH("9"), HOLD});
	PLAY("a refused item keeps its last good state", false, GOT_TWO " +n/a=3 !n/b C", NULL,
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .status = 410, .body = STATUS(410, "Expired", "")},
		{.expect = RELIST("10"),
			.body = LIST("30",
				OBJECT("a", "3") ",{\"metadata\":{\"name\":"
						 "\"b\",\"namespace\":\"n\"},\"x\":tru}")},
		{.expect = WATCH("30"), HOLD});
}

/* --- the life of a watch --------------------------------------------------------------------- */

static void watch_life(void)
{
	PLAY("W1 clean end", false, GOT_TWO " +n/a=2", "rewatch:100",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = EVENT("MODIFIED", "11", "a", "2")},
		{.expect = WATCH("11"), HOLD});
	PLAY("W2 cut within an event", false, GOT_TWO " +n/a=2", "backoff:1200",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = EVENT("MODIFIED", "11", "a", "2") "{\"type\":\"DEL",
			CUT},
		{.expect = WATCH("11"), HOLD});
	PLAY("W2 clean end within an event", false, GOT_TWO, "backoff:1200",
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10"), .body = "{\"type\":\"DEL"},
		{.expect = WATCH("10"), HOLD});
	PLAY("W3 ends at once, repeated", false, GOT_TWO,
		"backoff:1200 backoff:2400 backoff:4800 backoff:9600 backoff:19200 backoff:38400 "
		"backoff:45000 backoff:45000",
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10")}, {.expect = WATCH("10")},
		{.expect = WATCH("10")}, {.expect = WATCH("10")}, {.expect = WATCH("10")},
		{.expect = WATCH("10")}, {.expect = WATCH("10")}, {.expect = WATCH("10")},
		{.expect = WATCH("10"), HOLD});
	PLAY("W6 idempotent", false, GOT_TWO " +n/a=2 +n/c=1 +n/c=2", "",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = EVENT("ADDED", "11", "a", "2") EVENT("MODIFIED", "12", "c", "1")
				EVENT("DELETED", "13", "x", "1") EVENT("ADDED", "14", "c", "2"),
			HOLD});
	PLAY("W7 out of the selector and back", false, GOT_TWO " -n/a +n/a=1", "",
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"),
			.body = EVENT("DELETED", "11", "a", "old") EVENT("ADDED", "12", "a", "1"),
			HOLD});
	PLAY("W8 and L6 other content and missing keys after a relist", false,
		GOT_TWO " +n/b=new +n/c=1 -n/a C", "now:0", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = ERROR_EVENT(410, "Expired"), HOLD},
		{.expect = RELIST("10"),
			.body = LIST("40", OBJECT("b", "new") "," OBJECT("c", "1"))},
		{.expect = WATCH("40"), HOLD});
	PLAY("a watch that answers with something else makes a relist", false,
		GOT_TWO " +n/a=1 +n/b=1 C", "backoff:1200", {.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = TWO}, {.expect = RELIST("10"), .body = TWO},
		{.expect = WATCH("10"), HOLD});
}

static void silence(void)
{
	static const struct k8s_step steps[] = {
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .end = K8S_END_STALL},
		{.expect = WATCH("10"), .body = BOOKMARK("12"), HOLD},
		{.expect = WATCH("12"), HOLD},
	};
	struct test t = {0};

	begin(&t, false);
	t.timings.watch_seconds_min = t.timings.watch_seconds_max = 0;
	t.timings.watchdog_slack = 50;
	t.timings.bookmark_silence = 20;
	k8s_server_script(t.server, steps, 4);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO));
	CU_ASSERT_STRING_EQUAL(k8s_server_faults(t.server), "");
	CU_ASSERT(strncmp(t.waits, "backoff:1200 backoff:2400", 25) == 0);
	end(&t);
}

static void late_headers(void)
{
	static const struct k8s_step steps[] = {
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .end = K8S_END_STALL},
	};
	struct test t = {0};

	begin(&t, false);
	k8s_server_script(t.server, steps, 2);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO));
	/* W5: the head comes together with the first event. */
	k8s_server_raw(t.server, "/api/v1/things",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	k8s_server_push(t.server, "/api/v1/things", EVENT("DELETED", "11", "a", "1"));
	CU_ASSERT(until(&t, t.ops, GOT_TWO " -n/a"));
	CU_ASSERT_STRING_EQUAL(t.waits, "");
	end(&t);
}

static void jitter_spreads(void)
{
	static const struct k8s_step steps[] = {
		{.expect = FIRST, .body = TWO},
		{.body = EVENT("MODIFIED", "11", "a", "2")},
		{.body = EVENT("MODIFIED", "12", "a", "2")},
		{.body = EVENT("MODIFIED", "13", "a", "2")},
		{.body = EVENT("MODIFIED", "14", "a", "2"), CUT},
	};
	unsigned int a, b, c;
	struct test t = {0};

	begin(&t, false);
	t.env.random = NULL;
	k8s_server_script(t.server, steps, 5);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO " +n/a=2 +n/a=2 +n/a=2 +n/a=2"));
	CU_ASSERT_EQUAL_FATAL(sscanf(t.waits, "rewatch:%u rewatch:%u rewatch:%u", &a, &b, &c), 3);
	/* W9: three equal draws of 201 are a chance of 1 in 40401. */
	CU_ASSERT(a != b || b != c);
	CU_ASSERT(a <= 200 && b <= 200 && c <= 200);
	end(&t);
}

/* --- watch-list ------------------------------------------------------------------------------ */

#define ADD_AB EVENT("ADDED", "3", "a", "1") EVENT("ADDED", "2", "b", "1")

static void watch_list(void)
{
	PLAY("S1 swap at the mark, then live events", true, GOT_TWO " -n/a +n/c=1", "rewatch:100",
		{.expect = STREAM(""),
			.body = ADD_AB BOOKMARK("9") END_MARK("10") EVENT("DELETED", "11", "a", "1")
				EVENT("ADDED", "12", "c", "1")},
		{.expect = WATCH("12"), HOLD});
	PLAY("S1 in pieces", true, GOT_TWO " -n/a +n/c=1", "rewatch:100",
		{.expect = STREAM(""),
			.piece = 7,
			.body = ADD_AB END_MARK("10") EVENT("DELETED", "11", "a", "1")
				EVENT("ADDED", "12", "c", "1")},
		{.expect = WATCH("12"), HOLD});
	PLAY("S2 broken before the mark", true, "+n/c=1 C", "backoff:1200 backoff:2400",
		{.expect = STREAM(""), .body = ADD_AB, CUT}, {.expect = STREAM(""), .body = ADD_AB},
		{.expect = STREAM(""), .body = EVENT("ADDED", "3", "c", "1") END_MARK("10"), HOLD});
	PLAY("S4 422", true, GOT_TWO " +n/a=2 -n/b C", "now:0 now:0",
		{.expect = STREAM(""), .status = 422, .body = STATUS(422, "Invalid", "")},
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), .body = ERROR_EVENT(410, "Expired"), HOLD},
		{.expect = RELIST("10"), .body = LIST("20", OBJECT("a", "2"))},
		{.expect = WATCH("20"), HOLD});
	PLAY("S4 Invalid as event", true, GOT_TWO, "now:0",
		{.expect = STREAM(""), .body = ERROR_EVENT(422, "Invalid"), HOLD},
		{.expect = FIRST, .body = TWO}, {.expect = WATCH("10"), HOLD});
	PLAY("S5 missing keys go at the swap, changes before the mark count", true,
		GOT_TWO " +n/b=1 +n/d=1 -n/d -n/a C", "now:0",
		{.expect = STREAM(""),
			.body = ADD_AB END_MARK("10") ERROR_EVENT(410, "Expired"),
			HOLD},
		{.expect = STREAM("10"),
			.body = EVENT("ADDED", "3", "b", "1") EVENT("ADDED", "3", "d", "1")
				EVENT("DELETED", "21", "d", "1") END_MARK("30"),
			HOLD});
	PLAY("E3 too large on a watch-list", true, GOT_TWO " +n/a=1 +n/b=1 C", "now:0 now:0",
		{.expect = STREAM(""),
			.body = ADD_AB END_MARK("10") ERROR_EVENT(410, "Expired"),
			HOLD},
		{.expect = STREAM("10"), .status = 504, .body = TOO_LARGE},
		{.expect = STREAM(""), .body = ADD_AB END_MARK("8"), HOLD});
}

static void no_end_mark(void)
{
	static const struct k8s_step steps[] = {
		{.expect = STREAM(""), .body = ADD_AB, HOLD},
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), HOLD},
	};
	struct test t = {0};

	begin(&t, true);
	t.timings.list_silence = 30;
	k8s_server_script(t.server, steps, 3);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO));
	/* S3: a server that does not know watch-lists ignores that it was asked for one. */
	CU_ASSERT_STRING_EQUAL(k8s_server_faults(t.server), "");
	CU_ASSERT_STRING_EQUAL(t.waits, "backoff:1200");
	end(&t);
}

static void requests_are_proper(void)
{
	static const struct k8s_step steps[] = {
		{.expect = FIRST, .body = TWO},
		{.expect = WATCH("10"), HOLD},
	};
	struct test t = {0};
	const char *timeout;
	int seconds;

	begin(&t, false);
	k8s_server_script(t.server, steps, 2);
	reflector_start(t.reflector);
	CU_ASSERT(until(&t, t.ops, GOT_TWO));
	for (size_t i = 0; i < k8s_server_requests(t.server); i++) {
		const char *head = k8s_server_request(t.server, i);

		CU_ASSERT(strncmp(head, "GET /api/v1/things?", 19) == 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(head, " HTTP/1.1\r\nHost: localhost\r\n"));
		CU_ASSERT_PTR_NOT_NULL(
			strstr(head, "\r\nUser-Agent: sluice/" SLUICE_VERSION "\r\n"));
		CU_ASSERT_PTR_NOT_NULL(strstr(head, "\r\nAccept: application/json\r\n"));
		CU_ASSERT_PTR_NULL(strstr(head, "Authorization"));
		CU_ASSERT_PTR_NULL(strstr(head, "Accept-Encoding"));
	}
	timeout = strstr(k8s_server_request(t.server, 1), "timeoutSeconds=");
	CU_ASSERT_PTR_NOT_NULL_FATAL(timeout);
	seconds = atoi(timeout + strlen("timeoutSeconds="));
	CU_ASSERT(seconds >= 300 && seconds <= 600);
	end(&t);
}

static void query_is_encoded(void)
{
	char target[128] = "/api/v1/services";

	CU_ASSERT_EQUAL(http_query_add(target, sizeof(target), "labelSelector",
				"!service.kubernetes.io/headless"),
		0);
	CU_ASSERT_EQUAL(http_query_add(target, sizeof(target), "fieldSelector", "a!=b,c=d e"), 0);
	CU_ASSERT_STRING_EQUAL(target,
		"/api/v1/services?labelSelector=%21service.kubernetes.io%2Fheadless"
		"&fieldSelector=a%21%3Db%2Cc%3Dd%20e");
	CU_ASSERT(http_query_add(target, sizeof(target), "x", "too long for what is left of it") !=
		0);
}

TEST_SUITE("reflector", CASE(framing), CASE(framing_any_cut), CASE(framing_large_event),
	CASE(lists), CASE(watch_life), CASE(silence), CASE(late_headers), CASE(jitter_spreads),
	CASE(watch_list), CASE(no_end_mark), CASE(requests_are_proper), CASE(query_is_encoded))
