/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Follows one Kubernetes resource: lists it, watches it, and keeps following whatever happens.
 *
 * The receiver sees single objects coming and going, never a list: a new list is collected aside
 * and compared with the keys known, so a relist, an outage or a half answer takes nothing away.
 * Runs on the thread of the event base; a long list is applied in slices of a few milliseconds.
 *
 *	list (or watch-list) --> apply --> watch --+
 *	  ^                        ^               | clean end, cut, silence: watch again
 *	  +--- 410, too large -----+---------------+ errors: wait, then one of the two
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "k8s-sync/json.h"

struct event_base;
struct http_client;
struct reflector;

/* Milliseconds unless the name says otherwise. Times are drawn with jitter. */
struct k8s_timings {
	uint32_t backoff_min; /* doubled up to backoff_max, plus up to as much again */
	uint32_t backoff_max;
	uint32_t backoff_reset;  /* this long without a failure: start small again */
	uint32_t auth_retry;     /* 401, 403 */
	uint32_t absent_retry;   /* 404 */
	uint32_t rewatch_jitter; /* behind a clean end: all nodes see it at once */
	uint32_t start_jitter;
	uint32_t watch_seconds_min; /* timeoutSeconds of a watch, drawn between the two */
	uint32_t watch_seconds_max;
	uint32_t watchdog_slack;   /* silence behind timeoutSeconds */
	uint32_t bookmark_silence; /* silence, once a bookmark was seen */
	uint32_t short_watch;      /* a watch that ends sooner and without an event has failed */
	uint32_t list_silence;     /* silence within a list */
	uint32_t initial_total;    /* for a watch-list to reach its end mark */
	/* A list that would remove more than half of the objects, and ten at least, must still
	 * say so this much later. 0: believe it at once. */
	uint32_t removal_guard;
};

extern const struct k8s_timings k8s_timings_default;

enum k8s_log_level {
	K8S_LOG_ERROR,
	K8S_LOG_WARNING,
	K8S_LOG_INFO,
	K8S_LOG_DEBUG
};

/* What the client needs of its surroundings; every function may be NULL. */
struct k8s_env {
	void *arg;
	void (*log)(void *arg, int level, const char *event, const char *fmt, ...)
		__attribute__((format(printf, 4, 5)));
	/* Uniform 32 bits. */
	uint32_t (*random)(void *arg);
	/* Sees each wait before it begins and returns the one to use; why is "backoff",
	 * "retry-after", "auth", "absent", "rewatch", "start" or "now". For tests. */
	uint32_t (*delay)(void *arg, const char *path, const char *why, uint32_t ms);
};

struct reflector_ops {
	/* An object as plain data. A bad object yields data that says so. NULL: no memory. */
	void *(*decode)(void *arg, const char *ns, const char *name, const struct jv *object);
	void (*drop)(void *arg, void *decoded);
	/* Takes decoded. key is "namespace/name", or "name" when there is no namespace. */
	void (*upsert)(void *arg, const char *key, void *decoded);
	void (*remove)(void *arg, const char *key);
	/* An object that is not even JSON, or too large, or has no name. */
	void (*refuse)(void *arg, const char *ns, const char *name, const char *reason);
	/* About n objects are to come; may be NULL. */
	void (*expect)(void *arg, uint32_t n);
	/* A list was applied wholly. */
	void (*complete)(void *arg);
	/* The server does not serve this resource (404), or not to us (401, 403). */
	void (*absent)(void *arg, int status);
	/* Something in reflector_status() is new. */
	void (*changed)(void *arg);
};

/* What reflectors of one server share. */
struct reflector_shared {
	bool no_watch_list; /* the server refused one; never asked again */
};

struct reflector_config {
	const char *path;                            /* "/api/v1/services" */
	const char *kind;                            /* "Service" */
	const char *label_selector, *field_selector; /* may be NULL */
	const char *const *skip;     /* members not worth decoding, NULL-terminated */
	size_t max_object, max_skip; /* 0: K8S_OBJECT_MAX, K8S_OBJECT_SKIP_MAX */
	const struct k8s_timings *timings;
	const struct k8s_env *env;
	struct reflector_shared *shared;
	const struct reflector_ops *ops;
	void *arg;
};

enum reflector_phase {
	REFLECTOR_DISABLED,
	REFLECTOR_LISTING,
	REFLECTOR_WATCHING,
	REFLECTOR_BACKOFF
};

struct reflector_status {
	enum reflector_phase phase;
	const char *rv;
	const char *last_error; /* NULL: none since the last success */
	uint64_t lists, watches, events, bookmarks, errors, unknown_events, refused;
	uint64_t removals_held;
	int64_t last_activity_ms;
	uint32_t objects;
	bool complete; /* was listed wholly at least once */
};

/* config's strings and pointers must outlive the reflector. 0 or -ENOMEM. */
int reflector_new(struct event_base *base, struct http_client *http,
	const struct reflector_config *config, struct reflector **out);
void reflector_free(struct reflector *r);
void reflector_start(struct reflector *r);
/* Ends requests and waits; keeps what is known. start() goes on from there. */
void reflector_stop(struct reflector *r);
/* Removes every object, by ops->remove, and forgets the resourceVersion. Only when stopped. */
void reflector_forget(struct reflector *r);
void reflector_status(const struct reflector *r, struct reflector_status *out);
const char *reflector_phase_name(enum reflector_phase phase);
