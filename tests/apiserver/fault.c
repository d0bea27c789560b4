/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Faults as data: read from JSON, counted, matched to requests. An unknown key or kind is refused
 * by name, so that a test cannot pass because its fault was never injected.
 */
#include "fault.h"

#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
#define FAULT_NAME(id, name) [FAULT_##id] = name,
	FAULT_KINDS(FAULT_NAME)
#undef FAULT_NAME
};

static const char *const verbs[] = {
	"*", "list", "watch", "get", "create", "update", "patch", "delete", NULL};

enum key_type {
	KEY_STRING,
	KEY_NUMBER,
	KEY_BOOL
};

static const struct {
	const char *name;
	enum key_type type;
} known_keys[] = {{"fault", KEY_STRING}, {"resource", KEY_STRING}, {"verb", KEY_STRING},
	{"count", KEY_NUMBER}, {"afterEvents", KEY_NUMBER}, {"events", KEY_NUMBER},
	{"running", KEY_BOOL}, {"continue", KEY_BOOL}, {"asHTTP", KEY_BOOL},
	{"freshContinue", KEY_BOOL}, {"half", KEY_BOOL}, {"dead", KEY_BOOL}, {"unlink", KEY_BOOL},
	{"code", KEY_NUMBER}, {"retryAfterSeconds", KEY_NUMBER}, {"bytesPerSecond", KEY_NUMBER},
	{"seconds", KEY_NUMBER}, {"resourceVersion", KEY_STRING}, {"reason", KEY_STRING},
	{"cause", KEY_STRING}, {"text", KEY_STRING}};

void faults_init(struct faults *f)
{
	STAILQ_INIT(&f->list);
}

void faults_fini(struct faults *f)
{
	faults_clear(f);
}

struct fault *fault_get(struct fault *f)
{
	if (f)
		f->refs++;
	return f;
}

void fault_put(struct fault *f)
{
	if (!f || --f->refs)
		return;
	free(f->resource);
	free(f->verb);
	free(f->reason);
	free(f->cause);
	free(f->text);
	free(f);
}

static bool type_is_right(enum key_type type, const json_t *value)
{
	if (type == KEY_STRING)
		return json_is_string(value);
	return type == KEY_NUMBER ? json_is_number(value) : json_is_boolean(value);
}

static int check_keys(const json_t *body, char **error)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)body, key, value) {
		size_t n = sizeof(known_keys) / sizeof(known_keys[0]), i = 0;

		while (i < n && strcmp(known_keys[i].name, key))
			i++;
		if (i == n || !type_is_right(known_keys[i].type, value)) {
			*error = xasprintf("%s: %s", key, i == n ? "unknown key" : "wrong type");
			return -EINVAL;
		}
	}
	return 0;
}

static int parse_kind(const char *name, enum fault_kind *kind)
{
	for (int i = 0; i < FAULT_KIND_COUNT; i++) {
		if (!strcmp(kind_names[i], name)) {
			*kind = (enum fault_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool is_verb(const char *verb)
{
	for (int i = 0; verbs[i]; i++)
		if (!strcmp(verbs[i], verb))
			return true;
	return false;
}

static char *string_or(const json_t *body, const char *key, const char *fallback)
{
	const char *s = jstr(body, key);

	return xstrdup(*s ? s : fallback);
}

static unsigned int count_of(const json_t *body, const char *key, unsigned int fallback)
{
	double v = jnum(body, key, fallback);

	return v < 0 ? 0 : (unsigned int)v;
}

static int default_code(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_GONE:
		return 410;
	case FAULT_TOO_MANY_REQUESTS:
		return 429;
	case FAULT_BODY:
		return 200;
	default:
		return 500;
	}
}

int fault_from_json(const json_t *body, struct fault **out, char **error)
{
	enum fault_kind kind;
	struct fault *f;
	uint64_t rv = 0;

	if (!json_is_object(body)) {
		*error = xstrdup("the body must be a JSON object");
		return -EINVAL;
	}
	if (check_keys(body, error))
		return -EINVAL;
	if (parse_kind(jstr(body, "fault"), &kind)) {
		*error = xasprintf("fault: unknown kind '%s'", jstr(body, "fault"));
		return -EINVAL;
	}
	if (*jstr(body, "verb") && !is_verb(jstr(body, "verb"))) {
		*error = xasprintf("verb: unknown verb '%s'", jstr(body, "verb"));
		return -EINVAL;
	}
	if (*jstr(body, "resourceVersion") && parse_rv(jstr(body, "resourceVersion"), &rv)) {
		*error = xstrdup("resourceVersion: not a decimal number");
		return -EINVAL;
	}
	f = xcalloc(1, sizeof(*f));
	f->refs = 1;
	f->kind = kind;
	f->resource = string_or(body, "resource", "*");
	f->verb = string_or(body, "verb", "*");
	/* a fault for what runs now is not one for what comes, unless that is said too */
	f->count = (int)jnum(body, "count", jbool(body, "running") ? 0 : 1);
	f->after_events = count_of(body, "afterEvents", 0);
	f->events = count_of(body, "events", 2);
	f->running = jbool(body, "running");
	f->on_continue = jbool(body, "continue");
	f->as_http = jbool(body, "asHTTP");
	f->fresh_continue = jbool(body, "freshContinue");
	f->half = jbool(body, "half");
	f->dead = jbool(body, "dead");
	f->unlink = jbool(body, "unlink");
	f->code = (int)jnum(body, "code", default_code(kind));
	f->retry_after = count_of(body, "retryAfterSeconds", 1);
	f->bytes_per_second = count_of(body, "bytesPerSecond", 1000);
	f->seconds = jnum(body, "seconds", 0);
	f->rv = rv;
	f->reason = string_or(body, "reason", "");
	f->cause = string_or(body, "cause", "");
	f->text = string_or(body, "text", "");
	*out = f;
	return 0;
}

void faults_add(struct faults *f, struct fault *fault)
{
	STAILQ_INSERT_TAIL(&f->list, fault, link);
}

void faults_clear(struct faults *f)
{
	struct fault *fault;

	while ((fault = STAILQ_FIRST(&f->list))) {
		STAILQ_REMOVE_HEAD(&f->list, link);
		fault_put(fault);
	}
}

json_t *faults_json(const struct faults *f)
{
	json_t *list = json_array();
	const struct fault *fault;

	STAILQ_FOREACH (fault, &f->list, link)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:i, s:I}", "fault", kind_names[fault->kind],
				"resource", fault->resource, "verb", fault->verb, "count",
				fault->count, "hits", (json_int_t)fault->hits));
	return list;
}

static bool is_or_star(const char *pattern, const char *value)
{
	return !strcmp(pattern, "*") || !strcmp(pattern, value);
}

bool fault_matches(const struct fault *f, const char *resource, const char *verb)
{
	return is_or_star(f->resource, resource) && is_or_star(f->verb, verb);
}

struct fault *faults_take(
	struct faults *f, const char *resource, const char *verb, bool is_continue)
{
	struct fault *fault;

	STAILQ_FOREACH (fault, &f->list, link) {
		if (!fault->count || !fault_matches(fault, resource, verb))
			continue;
		if (fault->on_continue && !is_continue)
			continue;
		if (fault->count > 0)
			fault->count--;
		fault->hits++;
		return fault_get(fault);
	}
	return NULL;
}
