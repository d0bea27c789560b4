/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a reflector does about each kind of failure: which step comes next and after which wait.
 * Nothing here touches the objects; control thread, no I/O. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/reflector_int.h"

static void note_error(struct reflector *r, const char *text)
{
	r->report.errors++;
	k8s_printable(r->last_error, sizeof(r->last_error), text, strlen(text));
	r->report.last_error = r->last_error;
}

void reflector_succeeded(struct reflector *r)
{
	r->report.last_error = NULL;
}

/* The next wait of the exponential series, full jitter on top. */
static uint32_t backoff_ms(struct reflector *r)
{
	const struct k8s_timings *t = r->config.timings;
	int64_t now = reflector_now_ms();
	uint32_t ms;

	if (r->backoff == 0 || now - r->last_failure_ms > t->backoff_reset)
		r->backoff = t->backoff_min;
	r->last_failure_ms = now;
	ms = r->backoff + reflector_random(r, r->backoff);
	r->backoff = r->backoff > t->backoff_max / 2 ? t->backoff_max : r->backoff * 2;
	return ms;
}

void reflector_fail(struct reflector *r, enum reflector_step step, const char *error)
{
	uint32_t ms = backoff_ms(r);

	note_error(r, error);
	REFLECTOR_LOG(r, K8S_LOG_WARNING, "api_retry", "resource=%s wait_ms=%u error=\"%s\"",
		r->config.path, ms, r->last_error);
	reflector_set_phase(r, REFLECTOR_BACKOFF);
	reflector_wait(r, step, "backoff", ms);
}

enum reflector_step reflector_list_step(const struct reflector *r)
{
	return r->config.shared->no_watch_list || r->plain_list ? STEP_LIST : STEP_INITIAL;
}

/* A list that must not be repeated as it was. The first such answer in a while is followed at
 * once; a server that keeps on answering so is not asked in a hot loop. */
static void list_again(struct reflector *r, enum rv_mode mode, const char *error)
{
	int64_t now = reflector_now_ms();
	bool first = r->last_expired_ms == 0 ||
		now - r->last_expired_ms > r->config.timings->backoff_reset;

	/* From "not older than" to "whatever is newest" is a step forward, not a repetition. */
	first = first || (mode == RV_UNSET && r->rv_mode == RV_LAST);
	r->rv_mode = mode;
	r->last_expired_ms = now;
	if (!first) {
		reflector_fail(r, reflector_list_step(r), error);
		return;
	}
	note_error(r, error);
	REFLECTOR_LOG(r, K8S_LOG_INFO, "api_relist", "resource=%s reason=\"%s\"", r->config.path,
		r->last_error);
	reflector_wait(r, reflector_list_step(r), "now", 0);
}

static void retry_after(
	struct reflector *r, enum reflector_step step, const struct k8s_status *status)
{
	uint32_t ms = (uint32_t)status->retry_after * 1000;

	ms += 1 + reflector_random(r, ms / 2);
	note_error(r, status->message);
	REFLECTOR_LOG(r, K8S_LOG_WARNING, "api_busy", "resource=%s code=%d wait_ms=%u",
		r->config.path, status->code, ms);
	reflector_set_phase(r, REFLECTOR_BACKOFF);
	reflector_wait(r, step, "retry-after", ms);
}

static void not_allowed(
	struct reflector *r, enum reflector_step step, const struct k8s_status *status)
{
	uint32_t ms = r->config.timings->auth_retry;

	note_error(r, status->message);
	if (status->is_status)
		REFLECTOR_LOG(r, K8S_LOG_ERROR, "api_not_allowed",
			"resource=%s code=%d needs=\"get, list and watch\" message=\"%s\"",
			r->config.path, status->code, status->message);
	else
		REFLECTOR_LOG(r, K8S_LOG_ERROR, "api_proxy_refuses",
			"resource=%s code=%d hint=\"configuration of the proxy: hosts, paths, "
			"methods\" message=\"%s\"",
			r->config.path, status->code, status->message);
	reflector_set_phase(r, REFLECTOR_BACKOFF);
	reflector_wait(r, step, "auth", ms + reflector_random(r, ms));
	if (!r->report.complete)
		r->config.ops->absent(r->config.arg, status->code);
}

static void not_served(struct reflector *r, const struct k8s_status *status)
{
	uint32_t ms = r->config.timings->absent_retry;

	note_error(r, status->message);
	REFLECTOR_LOG(r, K8S_LOG_WARNING, "api_not_served", "resource=%s retry_ms=%u",
		r->config.path, ms);
	reflector_set_phase(r, REFLECTOR_DISABLED);
	reflector_wait(r, reflector_list_step(r), "absent", ms + reflector_random(r, ms / 4));
	if (!r->report.complete)
		r->config.ops->absent(r->config.arg, status->code);
}

/* 410: the history asked for is gone. */
static void expired(struct reflector *r, enum reflector_step step, const struct k8s_status *status)
{
	if (step == STEP_LIST && r->continue_token != NULL) {
		r->no_limit = true;
		list_again(r, r->rv_mode, status->message);
	} else if (step == STEP_WATCH) {
		list_again(r, RV_LAST, status->message);
	} else {
		list_again(r, RV_UNSET, status->message);
	}
}

/* What an error answer to step, or an ERROR event within it, leads to. */
void reflector_error_answer(
	struct reflector *r, enum reflector_step step, const struct k8s_status *status)
{
	char text[sizeof(status->message) + sizeof(status->reason) + 32];

	snprintf(text, sizeof(text), "%d %s: %s", status->code, status->reason, status->message);
	if (status->too_large) {
		list_again(r, RV_UNSET, text);
		return;
	}
	switch (status->code) {
	case 410:
		expired(r, step, status);
		return;
	case 429:
		if (status->retry_after > 0)
			retry_after(r, step, status);
		else
			reflector_fail(r, step, text);
		return;
	case 401:
	case 403:
		not_allowed(r, step, status);
		return;
	case 404:
		not_served(r, status);
		return;
	case 400:
	case 422:
		if (step == STEP_INITIAL) {
			r->config.shared->no_watch_list = true;
			REFLECTOR_LOG(r, K8S_LOG_INFO, "watch_list_unavailable", "resource=%s",
				r->config.path);
			reflector_wait(r, STEP_LIST, "now", 0);
			return;
		}
		reflector_fail(r, reflector_list_step(r), text);
		return;
	default:
		/* A server or proxy in trouble: the same again, later. */
		if (status->retry_after > 0)
			retry_after(r, step, status);
		else
			reflector_fail(
				r, status->code >= 500 ? step : reflector_list_step(r), text);
	}
}

void reflector_error_event(struct reflector *r, const struct k8s_status *status)
{
	reflector_error_answer(r, r->step, status);
}

void reflector_stream_broken(struct reflector *r, const char *error)
{
	enum reflector_step step = r->step;

	/* What was lost is unknown, so the state must be compared. */
	if (step == STEP_INITIAL)
		r->plain_list = true;
	r->rv_mode = r->report.complete ? RV_LAST : r->rv_mode;
	reflector_fail(r, reflector_list_step(r), error);
}

void reflector_guard(struct reflector *r, uint32_t absent)
{
	uint32_t ms = r->config.timings->removal_guard;

	REFLECTOR_LOG(r, K8S_LOG_WARNING, "removals_held",
		"resource=%s objects=%u absent=%u recheck_ms=%u", r->config.path, r->before, absent,
		ms);
	if (r->guard_since_ms == 0)
		r->guard_since_ms = reflector_now_ms();
	reflector_arm(r->guard_timer, ms + 1);
}
