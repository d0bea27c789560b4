/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The objects' side of a reflector: frames become keys and decoded data, lists a log that is
 * compared with the known keys when it is complete, events calls of the receiver at once.
 * Control thread; never talks to the server. */

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/reflector_int.h"

/* Fewer are never held back: small clusters empty themselves. */
#define GUARD_MIN_REMOVED 10

static const char *string_at(const struct jv *object, const char *name)
{
	const char *text = jv_string(jv_get(object, name));

	return text != NULL ? text : "";
}

/* NULL when out of memory. */
static char *make_key(const char *ns, const char *name)
{
	size_t ns_len = strlen(ns), name_len = strlen(name);
	char *key = malloc(ns_len + 1 + name_len + 1);

	if (key == NULL || ns_len == 0)
		return key != NULL ? memcpy(key, name, name_len + 1) : NULL;
	memcpy(key, ns, ns_len);
	key[ns_len] = '/';
	memcpy(key + ns_len + 1, name, name_len + 1);
	return key;
}

static void split_key(const char *key, char *ns, size_t size, const char **name)
{
	const char *slash = strchr(key, '/');

	ns[0] = '\0';
	*name = key;
	if (slash != NULL) {
		snprintf(ns, size, "%.*s", (int)(slash - key), key);
		*name = slash + 1;
	}
}

/* --- the known keys -------------------------------------------------------------------------- */

static void mark(struct reflector *r, struct known *known)
{
	if (known->generation != r->generation) {
		known->generation = r->generation;
		r->fresh++;
	}
}

static struct known *known_add(struct reflector *r, const char *key)
{
	struct known *known = strmap_get(&r->known, key);
	size_t len = strlen(key);

	if (known == NULL) {
		known = malloc(sizeof(*known) + len + 1);
		if (known == NULL)
			return NULL;
		memcpy(known->key, key, len + 1);
		known->generation = r->generation - 1;
		if (strmap_put(&r->known, known->key, known, NULL) != 0) {
			free(known);
			return NULL;
		}
	}
	mark(r, known);
	return known;
}

static void known_removed(struct reflector *r, struct known *known)
{
	if (known->generation == r->generation)
		r->fresh--;
	r->config.ops->remove(r->config.arg, known->key);
	free(known);
}

static int do_upsert(struct reflector *r, const char *key, void *decoded)
{
	struct known *known = known_add(r, key);

	if (known == NULL) {
		r->config.ops->drop(r->config.arg, decoded);
		return -ENOMEM;
	}
	r->config.ops->upsert(r->config.arg, known->key, decoded);
	return 0;
}

static void do_remove(struct reflector *r, const char *key)
{
	struct known *known = strmap_del(&r->known, key);

	if (known != NULL)
		known_removed(r, known);
}

/* The last good state of a refused object stays: its key counts as present. */
static void do_refuse(struct reflector *r, const char *key, const char *reason)
{
	char ns[FRAME_NAME_MAX] = "", printable[FRAME_NAME_MAX] = "";
	struct known *known;
	const char *name = "";

	r->report.refused++;
	if (key != NULL) {
		known = strmap_get(&r->known, key);
		if (known != NULL)
			mark(r, known);
		split_key(key, ns, sizeof(ns), &name);
		k8s_printable(ns, sizeof(ns), ns, strlen(ns));
		k8s_printable(printable, sizeof(printable), name, strlen(name));
	}
	REFLECTOR_LOG(r, K8S_LOG_WARNING, "object_refused",
		"kind=%s namespace=%s name=%s reason=\"%s\"", r->config.kind, ns, printable,
		reason);
	r->config.ops->refuse(r->config.arg, ns, printable, reason);
}

/* --- the shadow of a list -------------------------------------------------------------------- */

void reflector_shadow_clear(struct reflector *r)
{
	for (size_t i = 0; i < r->n_shadow; i++) {
		struct shadow_op *op = &r->shadow[i];

		if (op->decoded != NULL)
			r->config.ops->drop(r->config.arg, op->decoded);
		free(op->key);
		free(op->reason);
	}
	free(r->shadow);
	r->shadow = NULL;
	r->n_shadow = r->shadow_capacity = r->applied = 0;
}

/* Takes key and decoded, also on error. */
static int shadow_add(
	struct reflector *r, enum shadow_what what, char *key, void *decoded, const char *reason)
{
	struct shadow_op *op;

	if (r->n_shadow == r->shadow_capacity) {
		size_t capacity = r->shadow_capacity != 0 ? r->shadow_capacity * 2 : 256;
		struct shadow_op *grown = realloc(r->shadow, capacity * sizeof(*grown));

		if (grown == NULL) {
			if (decoded != NULL)
				r->config.ops->drop(r->config.arg, decoded);
			free(key);
			return -ENOMEM;
		}
		r->shadow = grown;
		r->shadow_capacity = capacity;
	}
	op = &r->shadow[r->n_shadow++];
	*op = (struct shadow_op){.what = what, .key = key, .decoded = decoded};
	if (reason != NULL)
		op->reason = strdup(reason);
	return 0;
}

static void shadow_apply(struct reflector *r, struct shadow_op *op)
{
	switch (op->what) {
	case SHADOW_UPSERT:
		/* Without memory the object waits for the next list. */
		(void)do_upsert(r, op->key, op->decoded);
		op->decoded = NULL;
		break;
	case SHADOW_REMOVE:
		do_remove(r, op->key);
		break;
	case SHADOW_REFUSE:
		do_refuse(r, op->key, op->reason != NULL ? op->reason : "not readable");
		break;
	}
	free(op->key);
	free(op->reason);
	op->key = op->reason = NULL;
}

/* --- frames ---------------------------------------------------------------------------------- */

static int refuse(
	struct reflector *r, bool shadow, const char *ns, const char *name, const char *reason)
{
	char *key = NULL;
	int rc = 0;

	if (name[0] != '\0') {
		key = make_key(ns, name);
		if (key == NULL)
			return -ENOMEM;
	}
	if (shadow)
		return shadow_add(r, SHADOW_REFUSE, key, NULL, reason);
	do_refuse(r, key, reason);
	free(key);
	return rc;
}

/* A DNS subdomain, as the API requires: it ends up in keys, logs and answers. */
static bool valid_name(const struct jv *metadata, const char *member, size_t max)
{
	const struct jv *value = jv_get(metadata, member);
	size_t len = jv_length(value);

	return len > 0 && len <= max &&
		strspn(jv_string(value), "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}

static const char *bad_name(const char *name, char *buf, size_t size)
{
	char printable[128];

	k8s_printable(printable, sizeof(printable), name, strlen(name));
	snprintf(buf, size, "no valid metadata.name or namespace: %s", printable);
	return buf;
}

/* A complete object from a list or an event. */
static int take_object(struct reflector *r, const struct jv *object, bool shadow)
{
	const struct jv *metadata = jv_get(object, "metadata");
	const char *ns = string_at(metadata, "namespace");
	const char *name = string_at(metadata, "name");
	const char *kind = string_at(object, "kind");
	char reason[192];
	void *decoded;
	char *key;
	int rc;

	if (!jv_is(object, JV_OBJECT))
		return refuse(r, shadow, "", "", "not a JSON object");
	if (!valid_name(metadata, "name", 253) ||
		(jv_get(metadata, "namespace") != NULL && !valid_name(metadata, "namespace", 63)))
		return refuse(r, shadow, "", "", bad_name(name, reason, sizeof(reason)));
	/* Items of a list carry no kind; what carries another one is not ours. */
	if (kind[0] != '\0' && strcmp(kind, r->config.kind) != 0)
		return refuse(r, shadow, ns, name, "kind is not the resource's");
	decoded = r->config.ops->decode(r->config.arg, ns, name, object);
	if (decoded == NULL)
		return -ENOMEM;
	key = make_key(ns, name);
	if (key == NULL) {
		r->config.ops->drop(r->config.arg, decoded);
		return -ENOMEM;
	}
	if (shadow)
		return shadow_add(r, SHADOW_UPSERT, key, decoded, NULL);
	rc = do_upsert(r, key, decoded);
	free(key);
	return rc;
}

static int take_removal(struct reflector *r, const char *ns, const char *name, bool shadow)
{
	char *key = make_key(ns, name);

	if (key == NULL)
		return -ENOMEM;
	if (shadow)
		return shadow_add(r, SHADOW_REMOVE, key, NULL, NULL);
	do_remove(r, key);
	free(key);
	return 0;
}

static const char *too_bad(const struct reflector *r, const struct frame *frame, const char *error,
	char *buf, size_t size)
{
	if (frame->text == NULL)
		snprintf(
			buf, size, "larger than %zu bytes: %zu", r->config.max_object, frame->size);
	else
		snprintf(buf, size, "not JSON: %s", error);
	return buf;
}

int reflector_on_item(void *arg, const struct frame *frame)
{
	struct reflector *r = arg;
	const char *error = "";
	char reason[96];
	const struct jv *object = NULL;
	int rc;

	if (frame->text != NULL)
		object = jv_parse(&r->doc, frame->text, frame->len, &error);
	if (object == NULL)
		return refuse(r, true, frame->ns, frame->name,
			too_bad(r, frame, error, reason, sizeof(reason)));
	rc = take_object(r, object, true);
	return rc;
}

static void advance(struct reflector *r, const char *rv)
{
	if (rv[0] != '\0' && strlen(rv) < sizeof(r->rv))
		strcpy(r->rv, rv);
}

/* An event that cannot be parsed. With its name it can be dealt with; without, the state of some
 * object is unknown and only a list can tell. */
static int bad_event(struct reflector *r, const struct frame *frame, const char *error)
{
	bool shadow = r->step == STEP_INITIAL;
	char reason[96];
	int rc;

	too_bad(r, frame, error, reason, sizeof(reason));
	if (frame->name[0] == '\0') {
		reflector_stream_broken(r, reason);
		return -ECANCELED;
	}
	if (strcmp(frame->type, "DELETED") == 0)
		rc = take_removal(r, frame->ns, frame->name, shadow);
	else
		rc = refuse(r, shadow, frame->ns, frame->name, reason);
	if (!shadow)
		advance(r, frame->rv);
	return rc;
}

static int bookmark(struct reflector *r, const struct jv *metadata)
{
	const char *rv = string_at(metadata, "resourceVersion");
	const char *end = string_at(jv_get(metadata, "annotations"), "k8s.io/initial-events-end");

	r->report.bookmarks++;
	r->bookmark_seen = true;
	if (r->step != STEP_INITIAL) {
		advance(r, rv);
		return 0;
	}
	if (strcmp(end, "true") != 0)
		return 0;
	if (rv[0] == '\0' || strlen(rv) >= sizeof(r->list_rv)) {
		reflector_stream_broken(r, "end mark without resourceVersion");
		return -ECANCELED;
	}
	strcpy(r->list_rv, rv);
	reflector_apply_start(r);
	/* Live events wait until the list is applied. */
	return 1;
}

static int event(struct reflector *r, const struct frame *frame, const struct jv *json)
{
	const char *type = string_at(json, "type");
	const struct jv *object = jv_get(json, "object");
	const struct jv *metadata = jv_get(object, "metadata");
	bool shadow = r->step == STEP_INITIAL;
	struct k8s_status status;
	int rc;

	if (strcmp(type, "BOOKMARK") == 0)
		return bookmark(r, metadata);
	if (strcmp(type, "ERROR") == 0) {
		k8s_status_from_object(object, &status);
		reflector_error_event(r, &status);
		return -ECANCELED;
	}
	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0) {
		rc = take_object(r, object, shadow);
	} else if (strcmp(type, "DELETED") == 0) {
		/* Whatever the old content was, the key is gone. */
		rc = string_at(metadata, "name")[0] == '\0'
			? refuse(r, shadow, "", "", "metadata.name is missing")
			: take_removal(r, string_at(metadata, "namespace"),
				  string_at(metadata, "name"), shadow);
	} else if (type[0] == '\0') {
		reflector_stream_broken(r, "an event without a type");
		return -ECANCELED;
	} else {
		r->report.unknown_events++;
		return 0;
	}
	r->report.events++;
	if (rc == 0 && !shadow)
		advance(r, string_at(metadata, "resourceVersion"));
	return rc;
}

int reflector_on_event(void *arg, const struct frame *frame)
{
	struct reflector *r = arg;
	const char *error = "";
	const struct jv *json = NULL;
	int rc;

	r->request_events++;
	if (frame->text != NULL)
		json = jv_parse(&r->doc, frame->text, frame->len, &error);
	if (json == NULL)
		return bad_event(r, frame, error);
	rc = event(r, frame, json);
	return rc;
}

/* --- applying a list -------------------------------------------------------------------------- */

void reflector_apply_start(struct reflector *r)
{
	static const struct timeval zero;

	r->step = STEP_APPLY;
	r->generation++;
	r->fresh = 0;
	r->before = r->known.count;
	/* Growing in the middle would move everything at once; without memory that is what happens.
	 */
	(void)strmap_reserve(&r->known, (uint32_t)r->n_shadow);
	if (r->config.ops->expect != NULL)
		r->config.ops->expect(r->config.arg, (uint32_t)r->n_shadow);
	r->applied = 0;
	r->sweeping = false;
	event_add(r->apply_timer, &zero);
}

static bool too_many_absent(const struct reflector *r, uint32_t absent)
{
	return absent >= GUARD_MIN_REMOVED && absent > r->before / 2;
}

static void sweep_start(struct reflector *r)
{
	uint32_t absent = r->known.count - r->fresh;

	r->sweeping = true;
	r->sweep = 0;
	r->hold_removals = false;
	if (r->config.timings->removal_guard == 0 || !too_many_absent(r, absent)) {
		r->guard_since_ms = 0;
		return;
	}
	if (r->guard_since_ms != 0 &&
		reflector_now_ms() - r->guard_since_ms >= r->config.timings->removal_guard) {
		r->guard_since_ms = 0;
		return;
	}
	r->hold_removals = true;
	r->report.removals_held++;
	reflector_guard(r, absent);
}

/* A list is applied a few milliseconds at a time: first what it has, then what it lacks. True:
 * all of it is. */
bool reflector_apply_slice(struct reflector *r)
{
	int64_t start = reflector_now_us();
	struct known *known;
	unsigned int n = 0;

	while (r->applied < r->n_shadow) {
		shadow_apply(r, &r->shadow[r->applied++]);
		if ((++n & 15) == 0 && reflector_now_us() - start > K8S_TURN_BUDGET_US)
			return false;
	}
	if (!r->sweeping) {
		reflector_shadow_clear(r);
		sweep_start(r);
	}
	while (!r->hold_removals && (known = strmap_next(&r->known, &r->sweep)) != NULL) {
		if (known->generation != r->generation) {
			strmap_del_at(&r->known, &r->sweep);
			known_removed(r, known);
		}
		if ((++n & 15) == 0 && reflector_now_us() - start > K8S_TURN_BUDGET_US)
			return false;
	}
	strcpy(r->rv, r->list_rv);
	return true;
}
