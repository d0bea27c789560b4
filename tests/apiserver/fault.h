/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The faults that were ordered over the control path, and which request gets which. What a fault
 * does to a list or a watch is in list.c and watch.c; what it does to any request is in api.c.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define FAULT_KINDS(X)                            \
	X(DROP, "drop")                           \
	X(STALL, "stall")                         \
	X(TRUNCATE, "truncate")                   \
	X(GONE, "gone")                           \
	X(TOO_MANY_REQUESTS, "too-many-requests") \
	X(ERROR_TEXT, "error-text")               \
	X(ERROR_EVENT, "error-event")             \
	X(STATUS, "status")                       \
	X(SLOW, "slow")                           \
	X(SPLIT, "split")                         \
	X(UNFRAMED, "unframed")                   \
	X(CHUNKED, "chunked")                     \
	X(COALESCE, "coalesce")                   \
	X(MALFORMED, "malformed")                 \
	X(UNKNOWN_EVENT, "unknown-event")         \
	X(INJECT, "inject")                       \
	X(BODY, "body")                           \
	X(CLOSE, "close")                         \
	X(DELAY_HEADERS, "delay-headers")         \
	X(NO_BOOKMARK, "no-bookmark")             \
	X(WARNING, "warning")                     \
	X(STALE, "stale")                         \
	X(REFUSE, "refuse")

enum fault_kind {
#define FAULT_ENUM(id, name) FAULT_##id,
	FAULT_KINDS(FAULT_ENUM)
#undef FAULT_ENUM
	FAULT_KIND_COUNT
};

struct fault {
	STAILQ_ENTRY(fault) link;
	unsigned int refs;
	enum fault_kind kind;
	char *resource; /* plural, or "*" */
	char *verb;     /* list, watch, get, create, update, patch, delete, or "*" */
	int count;      /* requests left; -1: for ever */
	uint64_t hits;

	unsigned int after_events; /* watch: acts after that many events */
	unsigned int events;       /* coalesce: events a chunk */
	bool running;              /* acts on running watches too */
	bool on_continue;          /* list: only on a request for a later page */
	bool as_http;              /* gone on a watch: HTTP status instead of an event */
	bool fresh_continue;       /* gone on a page: offer a token that goes on */
	bool half;                 /* coalesce: the last event is cut in two chunks */
	bool dead;                 /* stall: not released when the fault is removed */
	bool unlink;               /* refuse: remove the socket file */
	int code;
	unsigned int retry_after;
	unsigned int bytes_per_second;
	double seconds; /* delay of headers, length of a refusal */
	uint64_t rv;
	char *reason, *cause;
	char *text;
};

STAILQ_HEAD(fault_list, fault);

struct faults {
	struct fault_list list;
};

void faults_init(struct faults *f);
void faults_fini(struct faults *f);

/* 0, or -EINVAL with *error set to a message that the caller frees */
int fault_from_json(const json_t *body, struct fault **out, char **error);
void faults_add(struct faults *f, struct fault *fault); /* takes the reference */
void faults_clear(struct faults *f);
json_t *faults_json(const struct faults *f);

/* the first fault for such a request, counted down; NULL or a reference */
struct fault *faults_take(
	struct faults *f, const char *resource, const char *verb, bool is_continue);
bool fault_matches(const struct fault *f, const char *resource, const char *verb);
struct fault *fault_get(struct fault *f);
void fault_put(struct fault *f);
