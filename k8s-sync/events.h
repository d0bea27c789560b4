/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Tells the API server what happened: core v1 Events, so that kubectl describes them with the
 * object they are about.
 *
 * What there is to tell is asked for, one after the other; what happens again while it waits is
 * one Event with a count. One request at a time, a bounded number of Events in any time, and a
 * server that refuses (403) is not asked again. Nothing else waits for any of it. Control thread.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "k8s-sync/http.h"
#include "k8s-sync/reflector.h"

struct event_base;
struct k8s_events;

struct k8s_event {
	uint64_t id;      /* the same when it happens again */
	uint64_t version; /* greater each time */
	bool warning;
	uint32_t count;
	int64_t first_ms, last_ms;    /* since the epoch */
	const char *kind, *ns, *name; /* what it is about, of core v1; ns is "" of a Node */
	const char *reason, *note;
};

struct k8s_events_config {
	struct http_config http;
	const char *node_name; /* copied */
	/* What happened next behind that version; false: nothing. Strings stay valid until the
	 * next call. */
	bool (*next)(void *arg, uint64_t after, struct k8s_event *out);
	void *arg;
	struct k8s_env env;
};

/* 0, -EINVAL when the endpoint is contradictory, -ENOMEM. */
int k8s_events_new(
	struct event_base *base, const struct k8s_events_config *config, struct k8s_events **out);
/* What was not told is forgotten. Accepts NULL. */
void k8s_events_free(struct k8s_events *e);
/* next() has something. */
void k8s_events_wake(struct k8s_events *e);
