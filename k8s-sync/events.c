/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The writer of events.h: one event at a time through at most three requests. An event that has
 * happened before is patched; a new one, or one that is gone, is created, behind a look at the
 * Service it is about, because kubectl finds Events by uid. Requests end in a note of what came
 * back, and a timer goes on from there. Control thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "k8s-sync/events.h"
#include "k8s-sync/json.h"
#include "k8s-sync/limits.h"

#define COMPONENT  "sluice"
#define TARGET_MAX 1024

enum doing {
	IDLE,
	LOOKING, /* GET of what it is about */
	PATCHING,
	CREATING
};

struct k8s_events {
	struct k8s_events_config config;
	char *node_name;
	struct http_client *http;
	struct event *timer;
	uint32_t boot; /* in names: two nodes may tell of one Service */
	bool off;
	uint64_t told; /* everything up to this version */

	enum doing doing;
	struct http_request *request; /* NULL once it has ended */
	struct k8s_event now;
	enum http_end how;
	int status, retry_after;
	char *body;
	size_t body_len;
	char uid[64], error[128];

	uint32_t tokens;
	int64_t tokens_ms;
	uint32_t backoff_ms;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#define EVENTS_LOG(e, level, event, ...)                                                     \
	do {                                                                                 \
		if ((e)->config.env.log != NULL)                                             \
			(e)->config.env.log((e)->config.env.arg, level, event, __VA_ARGS__); \
	} while (0)

static void go_on_in(struct k8s_events *e, const char *why, uint32_t ms)
{
	struct timeval tv;

	if (e->config.env.delay != NULL && ms > 0)
		ms = e->config.env.delay(e->config.env.arg, "events", why, ms);
	tv.tv_sec = ms / 1000;
	tv.tv_usec = ms % 1000 * 1000;
	event_add(e->timer, &tv);
}

/* --- requests -------------------------------------------------------------------------------- */

/* Appends "/segment", percent-encoded. */
static void add_segment(char *target, const char *segment)
{
	size_t len = strlen(target);

	target[len++] = '/';
	for (; *segment != '\0' && len + 4 < TARGET_MAX; segment++) {
		unsigned char c = (unsigned char)*segment;
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';

		len += (size_t)sprintf(target + len, plain ? "%c" : "%%%02X", c);
	}
	target[len] = '\0';
}

static void add_string(struct evbuffer *out, const char *text)
{
	evbuffer_add(out, "\"", 1);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			evbuffer_add_printf(out, "\\%c", c);
		else if (c < ' ')
			evbuffer_add_printf(out, "\\u%04x", c);
		else
			/* Cluster names are ASCII; what is not might be no UTF-8. */
			evbuffer_add(out, c < 0x7f ? text : "?", 1);
	}
	evbuffer_add(out, "\"", 1);
}

static void add_member(struct evbuffer *out, const char *name, const char *text)
{
	evbuffer_add_printf(out, ",\"%s\":", name);
	add_string(out, text);
}

static const char *time_text(int64_t ms, char buf[32])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}

/* A Node is in no namespace; its Events are in the default one, as the API demands. */
static const char *namespace_of(const struct k8s_event *v)
{
	return v->ns[0] != '\0' ? v->ns : "default";
}

static void name_of(const struct k8s_events *e, char name[300])
{
	snprintf(name, 300, "%.230s.%08x%08x", e->now.name, e->boot, (uint32_t)e->now.id);
}

static void add_whole(struct k8s_events *e, struct evbuffer *out)
{
	const struct k8s_event *v = &e->now;
	char name[300], when[32];

	name_of(e, name);
	evbuffer_add_printf(
		out, "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":");
	add_string(out, name);
	add_member(out, "namespace", namespace_of(v));
	evbuffer_add_printf(out, "},\"involvedObject\":{\"apiVersion\":\"v1\"");
	add_member(out, "kind", v->kind);
	if (v->ns[0] != '\0')
		add_member(out, "namespace", v->ns);
	add_member(out, "name", v->name);
	if (e->uid[0] != '\0')
		add_member(out, "uid", e->uid);
	evbuffer_add_printf(out, "},\"type\":\"%s\"", v->warning ? "Warning" : "Normal");
	add_member(out, "reason", v->reason);
	add_member(out, "message", v->note);
	evbuffer_add_printf(out, ",\"count\":%u", v->count);
	add_member(out, "firstTimestamp", time_text(v->first_ms, when));
	add_member(out, "lastTimestamp", time_text(v->last_ms, when));
	evbuffer_add_printf(out, ",\"source\":{\"component\":\"" COMPONENT "\"");
	add_member(out, "host", e->node_name);
	evbuffer_add_printf(out, "},\"reportingComponent\":\"" COMPONENT "\"");
	add_member(out, "reportingInstance", e->node_name);
	evbuffer_add_printf(out, "}");
}

static void add_patch(const struct k8s_events *e, struct evbuffer *out)
{
	char when[32];

	evbuffer_add_printf(out, "{\"count\":%u", e->now.count);
	add_member(out, "lastTimestamp", time_text(e->now.last_ms, when));
	evbuffer_add_printf(out, "}");
}

/* --- answers --------------------------------------------------------------------------------- */

static void on_headers(void *arg, const struct http_headers *headers)
{
	struct k8s_events *e = arg;

	e->status = headers->status;
	e->retry_after = headers->retry_after;
}

static size_t on_body(void *arg, const char *data, size_t len)
{
	struct k8s_events *e = arg;
	char *grown;

	/* Of what else is answered the status says enough. */
	if (e->doing != LOOKING || e->body_len + len > K8S_OBJECT_MAX)
		return len;
	grown = realloc(e->body, e->body_len + len);
	if (grown == NULL)
		return len;
	memcpy(grown + e->body_len, data, len);
	e->body = grown;
	e->body_len += len;
	return len;
}

static void on_end(void *arg, enum http_end how, const char *error)
{
	struct k8s_events *e = arg;

	e->request = NULL;
	e->how = how;
	snprintf(e->error, sizeof(e->error), "%s", error != NULL ? error : "");
	go_on_in(e, "now", 0);
}

static const struct http_callbacks callbacks = {on_headers, on_body, on_end};

static void start(struct k8s_events *e, enum doing doing)
{
	char target[TARGET_MAX + 8] = "/api/v1/namespaces", name[300];
	struct evbuffer *body = evbuffer_new();
	int rc = -ENOMEM;

	e->doing = doing;
	e->status = e->retry_after = 0;
	free(e->body);
	e->body = NULL;
	e->body_len = 0;
	add_segment(target, namespace_of(&e->now));
	if (doing == LOOKING) {
		/* A list of one: that is what we may ask for anyway. */
		add_segment(target, "services");
		snprintf(name, sizeof(name), "metadata.name=%s", e->now.name);
		rc = http_query_add(target, sizeof(target), "fieldSelector", name);
		if (rc == 0)
			rc = http_get(e->http, target, &callbacks, e, &e->request);
	} else if (body != NULL) {
		add_segment(target, "events");
		name_of(e, name);
		if (doing == PATCHING) {
			add_segment(target, name);
			add_patch(e, body);
		} else {
			add_whole(e, body);
		}
		if (evbuffer_add(body, "", 1) == 0)
			rc = http_send(e->http, doing == PATCHING ? "PATCH" : "POST", target,
				doing == PATCHING ? "application/merge-patch+json"
						  : "application/json",
				(const char *)evbuffer_pullup(body, -1), &callbacks, e,
				&e->request);
	}
	if (body != NULL)
		evbuffer_free(body);
	if (rc < 0) {
		e->request = NULL;
		e->how = HTTP_END_FAILED;
		snprintf(e->error, sizeof(e->error), "%s", strerror(-rc));
		go_on_in(e, "now", 0);
		return;
	}
	go_on_in(e, "timeout", K8S_EVENT_TIMEOUT_MS);
}

static void create(struct k8s_events *e)
{
	bool service = strcmp(e->now.kind, "Service") == 0;

	/* A Node's uid in Events is its name, by custom. */
	snprintf(e->uid, sizeof(e->uid), "%s", service ? "" : e->now.name);
	start(e, service ? LOOKING : CREATING);
}

static void done(struct k8s_events *e)
{
	e->doing = IDLE;
	e->told = e->now.version;
	e->backoff_ms = 0;
	go_on_in(e, "now", 0);
}

static void try_again(struct k8s_events *e, const char *why)
{
	uint32_t ms = e->backoff_ms * 2;

	if (ms < K8S_EVENT_BACKOFF_MIN_MS)
		ms = K8S_EVENT_BACKOFF_MIN_MS;
	if (ms > K8S_EVENT_BACKOFF_MAX_MS)
		ms = K8S_EVENT_BACKOFF_MAX_MS;
	if (e->backoff_ms == 0)
		EVENTS_LOG(
			e, K8S_LOG_WARNING, "events_wait", "reason=%s status=%d", why, e->status);
	e->backoff_ms = ms;
	e->doing = IDLE;
	if ((uint32_t)e->retry_after * 1000 > ms)
		ms = (uint32_t)e->retry_after * 1000;
	go_on_in(e, "backoff", ms);
}

static void take_uid(struct k8s_events *e)
{
	struct jv_doc doc = {0};
	const char *error, *uid;
	const struct jv *items;

	if (e->status != 200 || e->body == NULL)
		return;
	items = jv_get(jv_parse(&doc, e->body, e->body_len, &error), "items");
	uid = items == NULL ? NULL : jv_string(jv_get(jv_get(jv_at(items, 0), "metadata"), "uid"));
	snprintf(e->uid, sizeof(e->uid), "%s", uid != NULL ? uid : "");
	jv_doc_fini(&doc);
}

static void judge(struct k8s_events *e)
{
	if (e->how != HTTP_END_CLEAN) {
		try_again(e, e->error);
	} else if (e->status == 401 || e->status == 429 || e->status >= 500) {
		try_again(e, "refused for now");
	} else if (e->doing == LOOKING) {
		take_uid(e);
		start(e, CREATING);
	} else if (e->status == 403) {
		e->off = true;
		e->doing = IDLE;
		EVENTS_LOG(e, K8S_LOG_WARNING, "events_off", "reason=%s status=403",
			"create and patch of events is not allowed");
	} else if (e->status == 404 && e->doing == PATCHING) {
		create(e);
	} else {
		/* 409: an answer was lost, and it is there. 404: its namespace is gone. */
		if (e->status >= 300 && e->status != 409 && e->status != 404)
			EVENTS_LOG(e, K8S_LOG_WARNING, "event_refused",
				"kind=%s ns=%s name=%s reason=%s status=%d", e->now.kind, e->now.ns,
				e->now.name, e->now.reason, e->status);
		done(e);
	}
}

/* --- one after the other --------------------------------------------------------------------- */

/* False: the time has not come; the timer runs. */
static bool take_token(struct k8s_events *e)
{
	int64_t now = now_ms(), n = (now - e->tokens_ms) / K8S_EVENT_EVERY_MS;

	e->tokens_ms += n * K8S_EVENT_EVERY_MS;
	e->tokens = n + e->tokens > K8S_EVENT_BURST ? K8S_EVENT_BURST : e->tokens + (uint32_t)n;
	if (e->tokens > 0) {
		e->tokens--;
		return true;
	}
	go_on_in(e, "rate", (uint32_t)(e->tokens_ms + K8S_EVENT_EVERY_MS - now));
	return false;
}

static void begin(struct k8s_events *e)
{
	if (e->off || !e->config.next(e->config.arg, e->told, &e->now))
		return;
	/* What failed has paid already. */
	if (e->backoff_ms == 0 && !take_token(e))
		return;
	if (e->now.count > 1)
		start(e, PATCHING);
	else
		create(e);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct k8s_events *e = arg;

	if (e->doing == IDLE) {
		begin(e);
	} else if (e->request != NULL) {
		http_cancel(e->request);
		e->request = NULL;
		try_again(e, "no answer");
	} else {
		judge(e);
	}
}

void k8s_events_wake(struct k8s_events *e)
{
	if (e->doing == IDLE && !e->off && !event_pending(e->timer, EV_TIMEOUT, NULL))
		go_on_in(e, "now", 0);
}

/* --- life ------------------------------------------------------------------------------------ */

int k8s_events_new(
	struct event_base *base, const struct k8s_events_config *config, struct k8s_events **out)
{
	struct k8s_events *e = calloc(1, sizeof(*e));
	int rc = -ENOMEM;

	if (e == NULL)
		return -ENOMEM;
	e->config = *config;
	e->node_name = strdup(config->node_name);
	e->timer = evtimer_new(base, on_timer, e);
	e->tokens = K8S_EVENT_BURST;
	e->tokens_ms = now_ms();
	if (config->env.random != NULL)
		e->boot = config->env.random(config->env.arg);
	else if (getrandom(&e->boot, sizeof(e->boot), 0) != sizeof(e->boot))
		goto fail;
	if (e->node_name == NULL || e->timer == NULL)
		goto fail;
	rc = http_client_new(base, &config->http, &e->http);
	if (rc < 0)
		goto fail;
	*out = e;
	return 0;
fail:
	k8s_events_free(e);
	return rc;
}

void k8s_events_free(struct k8s_events *e)
{
	if (e == NULL)
		return;
	http_client_free(e->http);
	if (e->timer != NULL)
		event_free(e->timer);
	free(e->node_name);
	free(e->body);
	free(e);
}
