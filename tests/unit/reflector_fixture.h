/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A reflector of "things" in front of a server that plays a script. What the receiver is told
 * becomes a line of text, waits are recorded and shortened. Case names carry the numbers of the
 * list/watch fault list: F framing, L lists, W watch life, E errors, S watch-list, O order.
 * Included by one test program each. */

#pragma once

#include <event2/event.h>
#include <stdarg.h>
#include <unistd.h>

#include "k8s-sync/http.h"
#include "k8s-sync/reflector.h"
#include "k8s-sync/strmap.h"
#include "tools/k8s_server.h"
#include "unit/harness.h"

#define OBJECT(name, value)                                                                    \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"resourceVersion\":\"3\"}," \
	"\"spec\":{\"v\":\"" value "\"}}"
#define LIST(rv, items)                                                                           \
	"{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"" rv "\"},\"items\":[" items \
	"]}\n"
#define PAGE(rv, token, items)                                                \
	"{\"metadata\":{\"resourceVersion\":\"" rv "\",\"continue\":\"" token \
	"\"},\"items\":[" items "]}"
#define EVENT(type, rv, name, value)                                                           \
	"{\"type\":\"" type "\",\"object\":{\"kind\":\"Thing\",\"metadata\":{\"name\":\"" name \
	"\",\"namespace\":\"n\",\"resourceVersion\":\"" rv "\"},\"spec\":{\"v\":\"" value      \
	"\"}}}\n"
#define BOOKMARK(rv)                                                                 \
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" rv \
	"\"},\"spec\":{}}}\n"
#define END_MARK(rv)                                                                       \
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" rv "\"," \
	"\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
#define STATUS(code, reason, extra)                                                          \
	"{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"m\",\"reason\":\"" reason \
	"\",\"code\":" #code extra "}"
#define ERROR_EVENT(code, reason) "{\"type\":\"ERROR\",\"object\":" STATUS(code, reason, "") "}\n"
#define TOO_LARGE                                                                      \
	STATUS(504, "Timeout",                                                         \
		",\"details\":{\"causes\":[{\"reason\":\"ResourceVersionTooLarge\"}]," \
		"\"retryAfterSeconds\":1}")

/* 64 bytes and a KiB, to make objects large. */
#define K  "0123456789012345678901234567890123456789012345678901234567890123"
#define KK K K K K K K K K K K K K K K K K

#define FIRST      "limit=500 resourceVersion=0 -watch"
#define RELIST(rv) "resourceVersion=" rv " -limit -watch=true"
#define NEWEST     "-resourceVersion= limit=500 -watch=true"
#define WATCH(rv)  "watch=true allowWatchBookmarks=true timeoutSeconds= resourceVersion=" rv " -send"
#define STREAM(rv)                                                    \
	"watch=true sendInitialEvents=true allowWatchBookmarks=true " \
	"resourceVersionMatch=NotOlderThan resourceVersion=" rv

#define HOLD .end = K8S_END_HOLD
#define CUT  .end = K8S_END_CUT

struct test {
	struct event_base *base;
	struct k8s_server *server;
	struct http_client *http;
	struct reflector *reflector;
	struct reflector_shared shared;
	struct k8s_timings timings;
	struct k8s_env env;
	struct strmap store;
	char ops[4096];   /* "+n/a=1 -n/b C", C: complete, !: refused, 404: absent */
	char waits[4096]; /* "backoff:800 rewatch:0" */
	char logs[16384];
	uint32_t max_backoff;
	char socket[64];
};

struct value {
	char *text;
	char key[128];
};

__attribute__((format(printf, 3, 4))) static void add(char *to, size_t size, const char *fmt, ...)
{
	size_t len = strlen(to);
	va_list args;

	if (len > 0 && len + 1 < size)
		to[len++] = ' ';
	va_start(args, fmt);
	vsnprintf(to + len, size - len, fmt, args);
	va_end(args);
}

static void *on_decode(void *arg, const char *ns, const char *name, const struct jv *object)
{
	const char *v = jv_string(jv_get(jv_get(object, "spec"), "v"));

	return strdup(v != NULL ? v : "?");
}

static void on_drop(void *arg, void *decoded)
{
	free(decoded);
}

static void value_free(struct value *value)
{
	if (value == NULL)
		return;
	free(value->text);
	free(value);
}

static void on_upsert(void *arg, const char *key, void *decoded)
{
	struct test *t = arg;
	struct value *value = calloc(1, sizeof(*value));

	value->text = decoded;
	snprintf(value->key, sizeof(value->key), "%s", key);
	value_free(strmap_del(&t->store, key));
	strmap_put(&t->store, value->key, value, NULL);
	add(t->ops, sizeof(t->ops), "+%s=%.8s", key, value->text);
}

static void on_remove(void *arg, const char *key)
{
	struct test *t = arg;

	add(t->ops, sizeof(t->ops), "-%s", key);
	value_free(strmap_del(&t->store, key));
}

static void on_refuse(void *arg, const char *ns, const char *name, const char *reason)
{
	struct test *t = arg;

	add(t->ops, sizeof(t->ops), "!%s/%s", ns, name);
}

static void on_complete(void *arg)
{
	struct test *t = arg;

	add(t->ops, sizeof(t->ops), "C");
}

static void on_absent(void *arg, int status)
{
	struct test *t = arg;

	add(t->ops, sizeof(t->ops), "%d", status);
}

static void on_changed(void *arg)
{
}

static const struct reflector_ops ops = {
	.decode = on_decode,
	.drop = on_drop,
	.upsert = on_upsert,
	.remove = on_remove,
	.refuse = on_refuse,
	.complete = on_complete,
	.absent = on_absent,
	.changed = on_changed,
};

__attribute__((format(printf, 4, 5))) static void on_log(
	void *arg, int level, const char *event, const char *fmt, ...)
{
	struct test *t = arg;
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	add(t->logs, sizeof(t->logs), "%d:%s %s;", level, event, text);
}

/* Records the wait and shortens it: the order of events is tested, not patience. */
static uint32_t on_delay(void *arg, const char *path, const char *why, uint32_t ms)
{
	struct test *t = arg;

	if (strcmp(why, "start") != 0)
		add(t->waits, sizeof(t->waits), "%s:%u", why, ms);
	if (strcmp(why, "backoff") == 0 && ms > t->max_backoff)
		t->max_backoff = ms;
	return 0;
}

static uint32_t half(void *arg)
{
	return UINT32_MAX / 2 + 1;
}

static void begin(struct test *t, bool watch_list)
{
	struct http_config http = {.socket = t->socket};
	struct reflector_config config = {
		.path = "/api/v1/things",
		.kind = "Thing",
		.timings = &t->timings,
		.env = &t->env,
		.shared = &t->shared,
		.ops = &ops,
		.arg = t,
		.max_object = 4096,
		.max_skip = 16384,
	};

	snprintf(t->socket, sizeof(t->socket), "/tmp/sluice-test-%d.sock", (int)getpid());
	t->base = event_base_new();
	t->server = k8s_server_new(t->base, t->socket);
	t->shared.no_watch_list = !watch_list;
	t->timings = k8s_timings_default;
	t->env = (struct k8s_env){.arg = t, .log = on_log, .random = half, .delay = on_delay};
	strmap_init(&t->store, 1);
	CU_ASSERT_EQUAL_FATAL(http_client_new(t->base, &http, &t->http), 0);
	CU_ASSERT_EQUAL_FATAL(reflector_new(t->base, t->http, &config, &t->reflector), 0);
}

static void end(struct test *t)
{
	struct value *value;
	uint32_t cursor = 0;

	reflector_free(t->reflector);
	http_client_free(t->http);
	k8s_server_free(t->server);
	while ((value = strmap_next(&t->store, &cursor)) != NULL)
		value_free(value);
	strmap_fini(&t->store);
	event_base_free(t->base);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	*(bool *)arg = true;
}

/* Runs the loop until text is expected, and all steps are used. False after five seconds. */
static bool until(struct test *t, const char *text, const char *expected)
{
	struct timeval limit = {.tv_sec = 5};
	bool late = false;
	struct event *timer = evtimer_new(t->base, on_deadline, &late);

	event_add(timer, &limit);
	while (!late && (strcmp(text, expected) != 0 || k8s_server_unused(t->server) > 0))
		event_base_loop(t->base, EVLOOP_ONCE);
	event_free(timer);
	return !late;
}

static void settle(struct test *t)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(t->base, EVLOOP_NONBLOCK);
}

/* One script from start to end. waits may be NULL: not looked at. */
static void play(const char *name, bool watch_list, const struct k8s_step *steps, size_t n,
	const char *expected, const char *waits)
{
	struct test t = {0};

	begin(&t, watch_list);
	k8s_server_script(t.server, steps, n);
	reflector_start(t.reflector);
	until(&t, t.ops, expected);
	settle(&t);
	if (strcmp(t.ops, expected) != 0 || k8s_server_unused(t.server) != 0 ||
		k8s_server_faults(t.server)[0] != '\0' ||
		(waits != NULL && strcmp(t.waits, waits) != 0)) {
		fprintf(stderr,
			"%s\n  ops      %s\n  expected %s\n  waits %s\n  unused %zu faults %s\n  logs %s\n",
			name, t.ops, expected, t.waits, k8s_server_unused(t.server),
			k8s_server_faults(t.server), t.logs);
		CU_FAIL("the script went another way");
	}
	end(&t);
}

#define PLAY(name, watch_list, expected, waits, ...)                                         \
	do {                                                                                 \
		static const struct k8s_step steps_[] = {__VA_ARGS__};                       \
                                                                                             \
		play(name, watch_list, steps_, sizeof(steps_) / sizeof(steps_[0]), expected, \
			waits);                                                              \
	} while (0)

#define TWO     LIST("10", OBJECT("a", "1") "," OBJECT("b", "1"))
#define GOT_TWO "+n/a=1 +n/b=1 C"
