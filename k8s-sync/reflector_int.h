/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The inside of a reflector, shared by its two files: reflector.c talks to the server and decides
 * what comes next, reflector_apply.c turns objects into calls of the receiver. Control thread. */

#pragma once

#include "k8s-sync/framing.h"
#include "k8s-sync/http.h"
#include "k8s-sync/json.h"
#include "k8s-sync/limits.h"
#include "k8s-sync/reflector.h"
#include "k8s-sync/status.h"
#include "k8s-sync/strmap.h"

struct event;

/* A key the receiver knows. */
struct known {
	uint32_t generation; /* the last list that had it */
	char key[];
};

/* A list is a log of these until it is applied; the order of a watch-list matters. */
struct shadow_op {
	enum shadow_what {
		SHADOW_UPSERT,
		SHADOW_REMOVE,
		SHADOW_REFUSE
	} what;
	char *key;     /* NULL: a refused object without a usable name */
	void *decoded; /* SHADOW_UPSERT */
	char *reason;  /* SHADOW_REFUSE */
};

enum reflector_step {
	STEP_NONE,
	STEP_LIST,    /* pages, then a watch */
	STEP_INITIAL, /* watch-list up to its end mark */
	STEP_WATCH,
	STEP_APPLY, /* a list is being applied */
};

enum rv_mode {
	RV_ZERO,
	RV_LAST,
	RV_UNSET
};

struct reflector {
	struct reflector_config config;
	struct http_client *http;
	struct event *wait_timer, *watchdog, *apply_timer, *guard_timer;
	struct http_request *request;
	struct framer *list_framer, *watch_framer;
	struct jv_doc doc; /* the object at hand */

	enum reflector_step step; /* what is going on */
	enum reflector_step next; /* what the wait timer starts */
	bool running;

	/* The next list. */
	enum rv_mode rv_mode;
	bool no_limit;       /* pages went wrong */
	bool plain_list;     /* a watch-list went wrong: once without */
	char rv[K8S_RV_MAX]; /* last seen */
	char list_rv[K8S_RV_MAX];
	char *continue_token; /* of the page before, NULL on the first */

	/* The request under way. */
	int status; /* 0: no headers yet */
	int retry_after;
	char *error_body;
	size_t error_len;
	uint32_t timeout_seconds;
	int64_t started_ms, activity_ms;
	uint64_t request_events;
	bool bookmark_seen;

	/* Failure and pace. */
	uint32_t backoff; /* ms of the next step, without jitter */
	int64_t last_failure_ms, last_expired_ms;
	bool warned;

	/* Objects. */
	struct strmap known;
	uint32_t generation;
	struct shadow_op *shadow;
	size_t n_shadow, shadow_capacity;
	size_t applied;  /* shadow operations applied */
	uint32_t before; /* objects known before this list */
	uint32_t fresh;  /* known keys with the present generation */
	uint32_t sweep;  /* cursor over known */
	bool sweeping, hold_removals;
	int64_t guard_since_ms; /* 0: no removal is held */

	struct reflector_status report;
	char last_error[320];
};

int64_t reflector_now_ms(void);
int64_t reflector_now_us(void);
uint32_t reflector_random(struct reflector *r, uint32_t below);
void reflector_changed(struct reflector *r);

/* reflector_apply.c. The frame functions return what framer wants; -ECANCELED when an ERROR event
 * or a broken stream was dealt with. */
int reflector_on_item(void *arg, const struct frame *frame);
int reflector_on_event(void *arg, const struct frame *frame);
void reflector_shadow_clear(struct reflector *r);
void reflector_apply_start(struct reflector *r);
bool reflector_apply_slice(struct reflector *r);

/* reflector.c */
void reflector_set_phase(struct reflector *r, enum reflector_phase phase);
void reflector_arm(struct event *timer, uint32_t ms);
/* Leaves what is going on and begins step after a wait; why is for the test hook. */
void reflector_wait(struct reflector *r, enum reflector_step step, const char *why, uint32_t ms);

/* reflector_errors.c */
/* STEP_LIST or STEP_INITIAL. */
enum reflector_step reflector_list_step(const struct reflector *r);
void reflector_succeeded(struct reflector *r);
/* Backs off, then begins step. */
void reflector_fail(struct reflector *r, enum reflector_step step, const char *error);
/* An error answer to step. */
void reflector_error_answer(
	struct reflector *r, enum reflector_step step, const struct k8s_status *status);
void reflector_error_event(struct reflector *r, const struct k8s_status *status);
void reflector_stream_broken(struct reflector *r, const char *error);
/* Absent objects are kept until a second list says the same. */
void reflector_guard(struct reflector *r, uint32_t absent);

#define REFLECTOR_LOG(r, level, event, ...)                                                    \
	do {                                                                                   \
		if ((r)->config.env->log != NULL)                                              \
			(r)->config.env->log((r)->config.env->arg, level, event, __VA_ARGS__); \
	} while (0)
