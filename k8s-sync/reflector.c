/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The server's side of a reflector: requests, waits, and what each kind of end means.
 *
 * Whatever goes wrong, the objects known stay; only the road back differs: watch again from the
 * last resourceVersion, list from it, or list whatever is newest. Control thread; waits are
 * timers, and every one of them is drawn with jitter. */

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "k8s-sync/reflector_int.h"

const struct k8s_timings k8s_timings_default = {
	.backoff_min = 800,
	.backoff_max = 30000,
	.backoff_reset = 120000,
	.auth_retry = 30000,
	.absent_retry = 180000,
	.rewatch_jitter = 200,
	.start_jitter = 0,
	.watch_seconds_min = 300,
	.watch_seconds_max = 600,
	.watchdog_slack = 30000,
	.bookmark_silence = 90000,
	.short_watch = 1000,
	.list_silence = 60000,
	.initial_total = 300000,
	.removal_guard = 30000,
};

static void begin_step(struct reflector *r, enum reflector_step step);

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t reflector_now_ms(void)
{
	return now_ns() / 1000000;
}

int64_t reflector_now_us(void)
{
	return now_ns() / 1000;
}

/* Uniform in 0 .. below - 1; 0 when below is 0. */
uint32_t reflector_random(struct reflector *r, uint32_t below)
{
	uint32_t value = 0;

	if (below == 0)
		return 0;
	if (r->config.env->random != NULL)
		value = r->config.env->random(r->config.env->arg);
	else if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		value = (uint32_t)now_ns() * 2654435761u;
	return (uint32_t)(((uint64_t)value * below) >> 32);
}

void reflector_changed(struct reflector *r)
{
	r->config.ops->changed(r->config.arg);
}

void reflector_set_phase(struct reflector *r, enum reflector_phase phase)
{
	r->report.phase = phase;
	reflector_changed(r);
}

void reflector_arm(struct event *timer, uint32_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(timer, &tv);
}

static void drop_token(struct reflector *r)
{
	free(r->continue_token);
	r->continue_token = NULL;
}

static void drop_request(struct reflector *r)
{
	if (r->request != NULL)
		http_cancel(r->request);
	r->request = NULL;
	event_del(r->watchdog);
}

/* Leaves what is going on and begins step after a wait. */
void reflector_wait(struct reflector *r, enum reflector_step step, const char *why, uint32_t ms)
{
	const struct k8s_env *env = r->config.env;

	drop_request(r);
	/* Half a list is no list; the next one begins with its first page. */
	reflector_shadow_clear(r);
	drop_token(r);
	r->step = STEP_NONE;
	r->next = step;
	if (env->delay != NULL)
		ms = env->delay(env->arg, r->config.path, why, ms);
	reflector_arm(r->wait_timer, ms);
}

/* --- requests -------------------------------------------------------------------------------- */

static int add_selectors(const struct reflector *r, char *target, size_t size)
{
	int rc = 0;

	if (r->config.label_selector != NULL)
		rc = http_query_add(target, size, "labelSelector", r->config.label_selector);
	if (rc == 0 && r->config.field_selector != NULL)
		rc = http_query_add(target, size, "fieldSelector", r->config.field_selector);
	return rc;
}

static int list_target(const struct reflector *r, char *target, size_t size)
{
	bool limit = r->rv_mode != RV_LAST && !r->no_limit;
	char text[16];
	int rc;

	snprintf(target, size, "%s", r->config.path);
	rc = add_selectors(r, target, size);
	if (rc == 0 && limit) {
		snprintf(text, sizeof(text), "%d", K8S_PAGE_SIZE);
		rc = http_query_add(target, size, "limit", text);
	}
	if (rc == 0 && r->continue_token != NULL)
		return http_query_add(target, size, "continue", r->continue_token);
	if (rc == 0 && r->rv_mode != RV_UNSET)
		rc = http_query_add(
			target, size, "resourceVersion", r->rv_mode == RV_ZERO ? "0" : r->rv);
	return rc;
}

static int watch_target(struct reflector *r, char *target, size_t size, bool initial)
{
	const struct k8s_timings *t = r->config.timings;
	char text[16];
	int rc;

	r->timeout_seconds = t->watch_seconds_min +
		reflector_random(r, t->watch_seconds_max - t->watch_seconds_min + 1);
	snprintf(text, sizeof(text), "%u", r->timeout_seconds);
	snprintf(target, size, "%s?watch=true", r->config.path);
	rc = add_selectors(r, target, size);
	if (rc == 0)
		rc = http_query_add(target, size, "allowWatchBookmarks", "true");
	if (rc == 0)
		rc = http_query_add(target, size, "timeoutSeconds", text);
	if (rc == 0 && initial)
		rc = http_query_add(target, size, "sendInitialEvents", "true");
	if (rc == 0 && initial)
		rc = http_query_add(target, size, "resourceVersionMatch", "NotOlderThan");
	if (rc == 0)
		rc = http_query_add(target, size, "resourceVersion",
			initial && r->rv_mode != RV_LAST ? "" : r->rv);
	return rc;
}

static void on_headers(void *arg, const struct http_headers *headers)
{
	struct reflector *r = arg;

	r->status = headers->status;
	r->retry_after = headers->retry_after;
	r->activity_ms = reflector_now_ms();
	if (headers->status == 200)
		reflector_succeeded(r);
	if (headers->warning != NULL && !r->warned) {
		r->warned = true;
		REFLECTOR_LOG(r, K8S_LOG_WARNING, "api_warning", "resource=%s text=\"%s\"",
			r->config.path, headers->warning);
	}
}

static void keep_error_body(struct reflector *r, const char *data, size_t len)
{
	char *grown;

	if (len > K8S_ERROR_BODY_MAX - r->error_len)
		len = K8S_ERROR_BODY_MAX - r->error_len;
	if (len == 0)
		return;
	grown = realloc(r->error_body, r->error_len + len);
	if (grown == NULL)
		return;
	memcpy(grown + r->error_len, data, len);
	r->error_body = grown;
	r->error_len += len;
}

static size_t on_body(void *arg, const char *data, size_t len)
{
	struct reflector *r = arg;
	struct framer *framer = r->step == STEP_LIST ? r->list_framer : r->watch_framer;
	char text[64];
	size_t used;
	int rc;

	r->activity_ms = reflector_now_ms();
	if (r->step == STEP_APPLY)
		return 0;
	if (r->status != 200) {
		keep_error_body(r, data, len);
		return len;
	}
	rc = framer_feed(framer, data, len, &used);
	if (rc == -ECANCELED)
		return len;
	if (rc != 0) {
		snprintf(text, sizeof(text), "bad body: %s", strerror(-rc));
		reflector_stream_broken(r, text);
		return len;
	}
	if (r->step == STEP_WATCH)
		reflector_changed(r);
	return used;
}

/* true when the page is the last one and the shadow is complete. */
static int read_shell(struct reflector *r, bool *last)
{
	size_t len;
	const char *text = framer_shell(r->list_framer, &len);
	const struct jv *shell = text != NULL ? jv_parse_copy(&r->doc, text, len, NULL) : NULL;
	const struct jv *metadata = jv_get(shell, "metadata");
	const char *kind = jv_string(jv_get(shell, "kind"));
	const char *rv = jv_string(jv_get(metadata, "resourceVersion"));
	const char *token = jv_string(jv_get(metadata, "continue"));
	const struct jv *items = jv_get(shell, "items");
	size_t kind_len = strlen(r->config.kind);
	int rc = -EPROTO;

	if (rv == NULL || rv[0] == '\0' || strlen(rv) >= sizeof(r->list_rv))
		goto out;
	if (kind != NULL &&
		(strncmp(kind, r->config.kind, kind_len) != 0 ||
			strcmp(kind + kind_len, "List") != 0))
		goto out;
	if (!jv_absent(items))
		goto out;
	/* All pages are of one snapshot. */
	if (r->continue_token != NULL && strcmp(rv, r->list_rv) != 0)
		goto out;
	strcpy(r->list_rv, rv);
	drop_token(r);
	*last = token == NULL || token[0] == '\0';
	rc = 0;
	if (!*last) {
		rc = strlen(token) > K8S_CONTINUE_MAX ? -EPROTO : 0;
		r->continue_token = rc == 0 ? strdup(token) : NULL;
		if (rc == 0 && r->continue_token == NULL)
			rc = -ENOMEM;
	}
out:
	return rc;
}

static void list_page_end(struct reflector *r)
{
	bool paged = r->continue_token != NULL;
	bool last = true;

	if (read_shell(r, &last) != 0) {
		r->no_limit = r->no_limit || paged;
		reflector_fail(r, STEP_LIST, "the answer is not a whole list of this resource");
		return;
	}
	if (last)
		reflector_apply_start(r);
	else
		begin_step(r, STEP_LIST);
}

static void list_end(struct reflector *r, enum http_end how, const char *error)
{
	if (how == HTTP_END_CLEAN && framer_at_end(r->list_framer)) {
		list_page_end(r);
		return;
	}
	reflector_fail(r, STEP_LIST, error != NULL ? error : "the list ended in the middle");
}

static void watch_end(struct reflector *r, enum http_end how, const char *error)
{
	const struct k8s_timings *t = r->config.timings;
	enum reflector_step step = r->step;
	bool empty = r->request_events == 0 && reflector_now_ms() - r->started_ms < t->short_watch;

	if (step == STEP_INITIAL) {
		reflector_fail(r, reflector_list_step(r),
			error != NULL ? error : "ended before the end mark");
	} else if (how != HTTP_END_CLEAN || !framer_at_end(r->watch_framer)) {
		reflector_fail(r, STEP_WATCH, error != NULL ? error : "ended within an event");
	} else if (empty) {
		reflector_fail(r, STEP_WATCH, "ended at once without an event");
	} else {
		reflector_wait(
			r, STEP_WATCH, "rewatch", reflector_random(r, t->rewatch_jitter + 1));
	}
}

static void on_end(void *arg, enum http_end how, const char *error)
{
	struct reflector *r = arg;
	struct k8s_status status;

	r->request = NULL;
	event_del(r->watchdog);
	/* The connection ended while its objects are applied; the watch follows anyway. */
	if (r->step == STEP_APPLY)
		return;
	if (r->status == 200) {
		if (r->step == STEP_LIST)
			list_end(r, how, error);
		else
			watch_end(r, how, error);
	} else if (r->status == 0) {
		reflector_fail(r, r->step, error != NULL ? error : "no answer");
	} else {
		k8s_status_from_answer(
			r->status, r->retry_after, r->error_body, r->error_len, &status);
		reflector_error_answer(r, r->step, &status);
	}
}

static const struct http_callbacks callbacks = {
	.headers = on_headers,
	.body = on_body,
	.end = on_end,
};

static uint32_t silence_limit(const struct reflector *r)
{
	const struct k8s_timings *t = r->config.timings;

	if (r->step != STEP_WATCH)
		return t->list_silence;
	if (r->bookmark_seen)
		return t->bookmark_silence;
	return r->timeout_seconds * 1000 + t->watchdog_slack;
}

/* Looks at the time of the last byte instead of being armed anew by each. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct reflector *r = arg;
	int64_t now = reflector_now_ms();
	int64_t quiet = now - r->activity_ms;
	uint32_t limit = silence_limit(r);

	if (r->step == STEP_INITIAL && now - r->started_ms >= r->config.timings->initial_total)
		quiet = limit;
	if (r->step != STEP_APPLY && quiet >= limit) {
		/* A server that cannot do watch-lists may just ignore that it was asked. */
		if (r->step == STEP_INITIAL)
			r->plain_list = true;
		reflector_fail(
			r, r->step == STEP_WATCH ? STEP_WATCH : reflector_list_step(r), "silence");
		return;
	}
	reflector_arm(r->watchdog, quiet >= limit ? limit : (uint32_t)(limit - quiet));
}

static void begin_step(struct reflector *r, enum reflector_step step)
{
	char target[K8S_CONTINUE_MAX * 3 + 1024];
	int rc;

	r->step = step;
	r->status = 0;
	r->error_len = 0;
	r->request_events = 0;
	r->bookmark_seen = false;
	r->started_ms = r->activity_ms = reflector_now_ms();
	if (step == STEP_LIST)
		rc = list_target(r, target, sizeof(target));
	else
		rc = watch_target(r, target, sizeof(target), step == STEP_INITIAL);
	framer_reset(step == STEP_LIST ? r->list_framer : r->watch_framer);
	if (step == STEP_WATCH)
		r->report.watches++;
	else if (r->continue_token == NULL)
		r->report.lists++;
	if (rc == 0)
		rc = http_get(r->http, target, &callbacks, r, &r->request);
	if (rc != 0) {
		reflector_fail(r, step, strerror(-rc));
		return;
	}
	reflector_arm(r->watchdog, silence_limit(r));
	reflector_set_phase(r, step == STEP_WATCH ? REFLECTOR_WATCHING : REFLECTOR_LISTING);
}

static void on_wait(evutil_socket_t fd, short what, void *arg)
{
	struct reflector *r = arg;

	begin_step(r, r->next);
}

static void apply_done(struct reflector *r)
{
	bool first = !r->report.complete;

	r->report.complete = true;
	r->rv_mode = RV_LAST;
	r->no_limit = r->plain_list = false;
	if (r->guard_since_ms == 0)
		event_del(r->guard_timer);
	REFLECTOR_LOG(r, first ? K8S_LOG_INFO : K8S_LOG_DEBUG, "list_complete",
		"resource=%s objects=%u rv=%s", r->config.path, r->known.count, r->rv);
	r->config.ops->complete(r->config.arg);
	if (r->request == NULL) {
		begin_step(r, STEP_WATCH);
		return;
	}
	/* A watch-list goes on as a watch on the same stream. */
	r->step = STEP_WATCH;
	r->activity_ms = reflector_now_ms();
	r->report.watches++;
	reflector_set_phase(r, REFLECTOR_WATCHING);
	http_resume(r->request);
}

static void on_apply(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval zero;
	struct reflector *r = arg;

	if (reflector_apply_slice(r))
		apply_done(r);
	else
		event_add(r->apply_timer, &zero);
}

/* The second look at a list that lacked too much. */
static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	struct reflector *r = arg;

	if (r->step != STEP_WATCH) {
		reflector_arm(r->guard_timer, r->config.timings->removal_guard);
		return;
	}
	r->rv_mode = RV_LAST;
	reflector_wait(r, reflector_list_step(r), "now", 0);
}

/* --- life ------------------------------------------------------------------------------------ */

static int reflector_init(struct reflector *r, struct event_base *base)
{
	struct framer_config framer = {
		.mode = FRAMER_LIST,
		.max_object = r->config.max_object,
		.max_skip = r->config.max_skip,
		.max_shell = K8S_LIST_SHELL_MAX,
		.skip = r->config.skip,
		.fn = reflector_on_item,
		.arg = r,
	};

	if (framer_new(&framer, &r->list_framer) != 0)
		return -ENOMEM;
	framer.mode = FRAMER_WATCH;
	framer.fn = reflector_on_event;
	if (framer_new(&framer, &r->watch_framer) != 0)
		return -ENOMEM;
	strmap_init(&r->known, reflector_random(r, UINT32_MAX));
	r->wait_timer = evtimer_new(base, on_wait, r);
	r->watchdog = evtimer_new(base, on_watchdog, r);
	r->apply_timer = evtimer_new(base, on_apply, r);
	r->guard_timer = evtimer_new(base, on_guard, r);
	if (r->wait_timer == NULL || r->watchdog == NULL || r->apply_timer == NULL ||
		r->guard_timer == NULL)
		return -ENOMEM;
	return 0;
}

int reflector_new(struct event_base *base, struct http_client *http,
	const struct reflector_config *config, struct reflector **out)
{
	struct reflector *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->config = *config;
	r->http = http;
	r->generation = 1;
	if (r->config.max_object == 0)
		r->config.max_object = K8S_OBJECT_MAX;
	if (r->config.max_skip == 0)
		r->config.max_skip = K8S_OBJECT_SKIP_MAX;
	if (reflector_init(r, base) != 0) {
		reflector_free(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

static void free_timer(struct event *timer)
{
	if (timer != NULL)
		event_free(timer);
}

void reflector_free(struct reflector *r)
{
	uint32_t cursor = 0;
	struct known *known;

	if (r == NULL)
		return;
	if (r->request != NULL)
		http_cancel(r->request);
	reflector_shadow_clear(r);
	while ((known = strmap_next(&r->known, &cursor)) != NULL)
		free(known);
	strmap_fini(&r->known);
	free_timer(r->wait_timer);
	free_timer(r->watchdog);
	free_timer(r->apply_timer);
	free_timer(r->guard_timer);
	framer_free(r->list_framer);
	framer_free(r->watch_framer);
	jv_doc_fini(&r->doc);
	free(r->continue_token);
	free(r->error_body);
	free(r);
}

void reflector_start(struct reflector *r)
{
	if (r->running)
		return;
	r->running = true;
	reflector_wait(r, reflector_list_step(r), "start",
		reflector_random(r, r->config.timings->start_jitter));
}

void reflector_stop(struct reflector *r)
{
	if (!r->running)
		return;
	r->running = false;
	drop_request(r);
	event_del(r->wait_timer);
	event_del(r->apply_timer);
	event_del(r->guard_timer);
	reflector_shadow_clear(r);
	drop_token(r);
	r->step = STEP_NONE;
	reflector_set_phase(r, REFLECTOR_DISABLED);
}

void reflector_forget(struct reflector *r)
{
	uint32_t cursor = 0;
	struct known *known;

	while ((known = strmap_next(&r->known, &cursor)) != NULL) {
		strmap_del_at(&r->known, &cursor);
		r->config.ops->remove(r->config.arg, known->key);
		free(known);
	}
	r->rv[0] = '\0';
	r->rv_mode = RV_ZERO;
	r->guard_since_ms = 0;
	r->report.complete = false;
}

void reflector_status(const struct reflector *r, struct reflector_status *out)
{
	*out = r->report;
	out->rv = r->rv;
	out->last_activity_ms = r->activity_ms;
	out->objects = r->known.count;
}

const char *reflector_phase_name(enum reflector_phase phase)
{
	static const char *const names[] = {"Disabled", "Listing", "Watching", "BackOff"};

	return names[phase];
}
