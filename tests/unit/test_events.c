/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The writer of Events (k8s-sync/events.h) in front of a server that plays a script: what it
 * sends, in which order, and what each answer leads to. */

#include <event2/event.h>
#include <jansson.h>
#include <unistd.h>

#include "k8s-sync/events.h"
#include "k8s-sync/limits.h"
#include "tools/k8s_server.h"
#include "unit/harness.h"

#define EVENTS_MAX 64

struct test {
	struct event_base *base;
	struct k8s_server *server;
	struct k8s_events *events;
	struct k8s_event list[EVENTS_MAX];
	uint32_t n;
	char waits[1024], logs[1024], socket[64];
	uint32_t timeout_ms; /* 0: as asked */
};

static struct test t;
static struct http_answers answers;

static bool next(void *arg, uint64_t after, struct k8s_event *out)
{
	const struct k8s_event *found = NULL;

	for (uint32_t i = 0; i < t.n; i++)
		if (t.list[i].version > after &&
			(found == NULL || t.list[i].version < found->version))
			found = &t.list[i];
	if (found != NULL)
		*out = *found;
	return found != NULL;
}

__attribute__((format(printf, 3, 4))) static void add(char *to, size_t size, const char *fmt, ...)
{
	size_t len = strlen(to);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + len, size - len, fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 4, 5))) static void on_log(
	void *arg, int level, const char *event, const char *fmt, ...)
{
	add(t.logs, sizeof(t.logs), "%s ", event);
}

/* Waits are recorded and shortened, but for what bounds the number of Events. */
static uint32_t on_delay(void *arg, const char *path, const char *why, uint32_t ms)
{
	if (strcmp(why, "timeout") == 0)
		return t.timeout_ms != 0 ? t.timeout_ms : ms;
	if (strcmp(why, "rate") == 0)
		add(t.waits, sizeof(t.waits), "rate ");
	else
		add(t.waits, sizeof(t.waits), "%s:%u ", why, ms);
	return strcmp(why, "rate") == 0 ? ms : 0;
}

static uint32_t boot(void *arg)
{
	return 0xb007;
}

static void begin(const struct k8s_step *steps, size_t n)
{
	struct k8s_events_config config = {
		.node_name = "node-1", .next = next, .env = {NULL, on_log, boot, on_delay}};

	memset(&t, 0, sizeof(t));
	snprintf(t.socket, sizeof(t.socket), "/tmp/sluice-events-%d.sock", (int)getpid());
	t.base = event_base_new();
	t.server = k8s_server_new(t.base, t.socket);
	k8s_server_script(t.server, steps, n);
	config.http.socket = t.socket;
	config.http.answers = &answers;
	memset(&answers, 0, sizeof(answers));
	REQUIRE_EQ(k8s_events_new(t.base, &config, &t.events), 0);
}

static void end(void)
{
	k8s_events_free(t.events);
	k8s_server_free(t.server);
	event_base_free(t.base);
}

static void happened(
	uint32_t id, const char *kind, const char *ns, const char *name, uint32_t count)
{
	struct k8s_event *v = &t.list[t.n++];

	*v = (struct k8s_event){.id = id,
		.version = t.n,
		.warning = true,
		.count = count,
		.first_ms = INT64_C(1700000000000),
		.last_ms = INT64_C(1700000100000),
		.kind = kind,
		.ns = ns,
		.name = name,
		.reason = "FailedToStartServiceHealthcheck",
		.note = "node \"node-1\" said\n\x07 caf\xc3\xa9 \\"};
	k8s_events_wake(t.events);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	*(bool *)arg = true;
}

/* Until so many requests have come, and whatever follows from their answers. */
static void run(size_t requests)
{
	struct timeval limit = {.tv_sec = 5};
	bool late = false;
	struct event *timer = evtimer_new(t.base, on_deadline, &late);

	event_add(timer, &limit);
	while (!late && k8s_server_requests(t.server) < requests)
		event_base_loop(t.base, EVLOOP_ONCE);
	event_free(timer);
	for (int i = 0; i < 200; i++)
		event_base_loop(t.base, EVLOOP_NONBLOCK);
	CHECK(!late);
	CHECK_EQ(k8s_server_requests(t.server), requests);
}

static bool starts(size_t i, const char *line)
{
	return strncmp(k8s_server_request(t.server, i), line, strlen(line)) == 0;
}

static json_t *body(size_t i)
{
	const char *text = strstr(k8s_server_request(t.server, i), "\r\n\r\n");
	json_error_t error;
	json_t *root = json_loads(text != NULL ? text : "", 0, &error);

	if (root == NULL)
		printf("%s in: %s\n", error.text, text);
	CHECK(root != NULL);
	return root;
}

#define SERVICE "/api/v1/namespaces/shop/services"
#define ONE     "fieldSelector=metadata.name%3Dcart"
#define EVENTS  "/api/v1/namespaces/shop/events"
#define NAME    "cart.0000b00700000007"
#define OF_NODE "/api/v1/namespaces/default/events"
#define FOUND   "{\"items\":[{\"metadata\":{\"name\":\"cart\",\"uid\":\"u-1\"}}]}"

static void an_event_is_about_the_object_that_is(void)
{
	static const struct k8s_step steps[] = {
		{.path = SERVICE, .body = FOUND},
		{.path = EVENTS, .status = 201, .body = "{}"},
		{.path = OF_NODE, .status = 201, .body = "{}"},
	};
	const char *uid, *ns, *message;
	json_t *b;

	begin(steps, 3);
	happened(7, "Service", "shop", "cart", 1);
	happened(8, "Node", "", "node-1", 1);
	run(3);
	CHECK(starts(0, "GET " SERVICE "?" ONE " "));
	CHECK(starts(1, "POST " EVENTS " "));
	CHECK(strstr(k8s_server_request(t.server, 1), "Content-Type: application/json\r\n") !=
		NULL);
	b = body(1);
	uid = ns = message = "";
	json_unpack(b, "{s:{s:s, s:s}, s:s}", "involvedObject", "uid", &uid, "namespace", &ns,
		"message", &message);
	CHECK_STR(uid, "u-1");
	CHECK_STR(ns, "shop");
	CHECK_STR(message, "node \"node-1\" said\n\x07 caf?? \\");
	CHECK_STR(json_string_value(json_object_get(json_object_get(b, "metadata"), "name")), NAME);
	CHECK_STR(json_string_value(json_object_get(b, "type")), "Warning");
	CHECK_STR(json_string_value(json_object_get(b, "firstTimestamp")), "2023-11-14T22:13:20Z");
	CHECK_EQ(json_integer_value(json_object_get(b, "count")), 1);
	json_decref(b);
	CHECK(starts(2, "POST " OF_NODE " "));
	b = body(2);
	CHECK_STR(json_string_value(json_object_get(json_object_get(b, "involvedObject"), "uid")),
		"node-1");
	CHECK(json_object_get(json_object_get(b, "involvedObject"), "namespace") == NULL);
	json_decref(b);
	CHECK_STR(t.logs, "");
	end();
}

static void what_happens_again_is_patched_or_made_anew(void)
{
	static const struct k8s_step steps[] = {
		{.path = EVENTS "/" NAME, .body = "{}"},
		{.path = EVENTS "/" NAME, .status = 404, .body = "{}"},
		{.path = SERVICE, .status = 403, .body = "{}"},
		{.path = EVENTS, .status = 201, .body = "{}"},
	};
	json_t *b;

	begin(steps, 4);
	happened(7, "Service", "shop", "cart", 2);
	run(1);
	CHECK(starts(0, "PATCH " EVENTS "/" NAME " "));
	CHECK(strstr(k8s_server_request(t.server, 0), "application/merge-patch+json") != NULL);
	b = body(0);
	CHECK_EQ(json_integer_value(json_object_get(b, "count")), 2);
	CHECK_STR(json_string_value(json_object_get(b, "lastTimestamp")), "2023-11-14T22:15:00Z");
	CHECK_EQ(json_object_size(b), 2);
	json_decref(b);
	happened(7, "Service", "shop", "cart", 3);
	run(4);
	CHECK(starts(3, "POST " EVENTS " "));
	b = body(3);
	CHECK_EQ(json_integer_value(json_object_get(b, "count")), 3);
	CHECK(json_object_get(json_object_get(b, "involvedObject"), "uid") == NULL);
	json_decref(b);
	end();
}

static void a_403_ends_it_with_one_line(void)
{
	static const struct k8s_step steps[] = {
		{.path = OF_NODE, .status = 403, .body = "{}"},
	};

	begin(steps, 1);
	happened(1, "Node", "", "node-1", 1);
	happened(2, "Node", "", "node-1", 1);
	run(1);
	happened(3, "Node", "", "node-1", 1);
	run(1);
	CHECK_STR(t.logs, "events_off ");
	CHECK_EQ(answers.by_status[HTTP_ANSWER_POST][403], 1);
	end();
}

static void trouble_is_waited_out(void)
{
	static const struct k8s_step steps[] = {
		{.path = OF_NODE, .status = 500, .body = "{}"},
		{.path = OF_NODE, .end = K8S_END_CUT, .framing = K8S_LENGTH, .body = "{"},
		{.path = OF_NODE, .status = 429, .headers = "Retry-After: 7\r\n", .body = "{}"},
		{.path = OF_NODE, .status = 401, .body = "{}"},
		{.path = OF_NODE, .status = 201, .body = "{}"},
		{.path = OF_NODE, .status = 503, .body = "{}"},
		{.path = OF_NODE, .status = 201, .body = "{}"},
	};

	begin(steps, 7);
	happened(1, "Node", "", "node-1", 1);
	run(5);
	CHECK_STR(t.waits, "backoff:1000 backoff:2000 backoff:7000 backoff:8000 ");
	CHECK_STR(t.logs, "events_wait ");
	happened(2, "Node", "", "node-1", 1);
	run(7);
	CHECK(strstr(t.waits, "backoff:8000 backoff:1000 ") != NULL);
	CHECK_EQ(answers.by_status[HTTP_ANSWER_POST][201], 2);
	CHECK_EQ(answers.by_status[HTTP_ANSWER_POST][500], 1);
	/* Cut off behind the status: that came. */
	CHECK_EQ(answers.by_status[HTTP_ANSWER_POST][200], 1);
	CHECK_EQ(answers.by_status[HTTP_ANSWER_POST][0], 0);
	end();
}

static void a_server_that_does_not_answer_is_asked_again(void)
{
	static const struct k8s_step steps[] = {
		{.path = SERVICE, .end = K8S_END_STALL},
		{.path = SERVICE, .body = FOUND},
		{.path = EVENTS, .status = 201, .body = "{}"},
	};

	begin(steps, 3);
	t.timeout_ms = 1500; /* long for a script, short for a person */
	happened(7, "Service", "shop", "cart", 1);
	run(3);
	CHECK_STR(t.waits, "backoff:1000 ");
	CHECK(starts(2, "POST " EVENTS " "));
	end();
}

static void one_that_is_refused_does_not_hold_up_the_next(void)
{
	static const struct k8s_step steps[] = {
		{.path = OF_NODE, .status = 422, .body = "{}"},
		{.path = OF_NODE, .status = 409, .body = "{}"},
		{.path = OF_NODE, .status = 404, .body = "{}"},
		{.path = OF_NODE, .status = 201, .body = "{}"},
	};

	begin(steps, 4);
	for (uint32_t i = 1; i <= 4; i++)
		happened(i, "Node", "", "node-1", 1);
	run(4);
	CHECK_STR(t.logs, "event_refused ");
	CHECK_STR(t.waits, "");
	end();
}

static void a_burst_is_bounded(void)
{
	static struct k8s_step steps[EVENTS_MAX];

	for (int i = 0; i < EVENTS_MAX; i++)
		steps[i] = (struct k8s_step){.status = 201, .body = "{}"};
	begin(steps, EVENTS_MAX);
	for (uint32_t i = 1; i <= K8S_EVENT_BURST + 10; i++)
		happened(i, "Node", "", "node-1", 1);
	run(K8S_EVENT_BURST);
	CHECK_STR(t.waits, "rate ");
	/* Waiting is not asked for twice. */
	k8s_events_wake(t.events);
	run(K8S_EVENT_BURST);
	CHECK_STR(t.waits, "rate ");
	end();
}

static void names_cannot_leave_their_place(void)
{
	static const struct k8s_step steps[] = {
		{.status = 404, .body = "{}"},
		{.status = 201, .body = "{}"},
	};

	begin(steps, 2);
	happened(7, "Service", "a/b", "c?d e", 1);
	run(2);
	CHECK(starts(0,
		"GET /api/v1/namespaces/a%2Fb/services?fieldSelector=metadata.name%3Dc%3Fd%20e "));
	CHECK(starts(1, "POST /api/v1/namespaces/a%2Fb/events "));
	end();
}

TEST_SUITE("events", CASE(an_event_is_about_the_object_that_is),
	CASE(what_happens_again_is_patched_or_made_anew), CASE(a_403_ends_it_with_one_line),
	CASE(trouble_is_waited_out), CASE(a_server_that_does_not_answer_is_asked_again),
	CASE(one_that_is_refused_does_not_hold_up_the_next), CASE(a_burst_is_bounded),
	CASE(names_cannot_leave_their_place))
