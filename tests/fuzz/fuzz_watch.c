/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A watch stream or a watch-list as the client reads it, from bytes to what the receiver is told:
 * the pieces in which the bytes arrive change nothing, and objects are only removed that were
 * there. The first byte chooses kind and pieces. */

#include <event2/event.h>
#include <stdbool.h>

#include "fuzz/fuzz.h"
#include "k8s-sync/reflector_int.h"

struct seen {
	uint64_t hash;
	unsigned calls;
	struct strmap keys;
};

static void mix(struct seen *s, char what, const char *text)
{
	s->hash = (s->hash ^ (uint8_t)what) * UINT64_C(0x100000001b3);
	for (; *text != '\0'; text++)
		s->hash = (s->hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	s->calls++;
}

static void *on_decode(void *arg, const char *ns, const char *name, const struct jv *object)
{
	char *text = malloc(32);
	uint64_t hash = 0;

	FUZZ_CHECK(text != NULL);
	for (uint32_t i = 0; i < object->span; i++) {
		const struct jv *v = object + i;

		hash = hash * 31 + v->type + v->n + v->key_len;
		for (uint32_t j = 0; v->type == JV_STRING && j < v->n; j++)
			hash = hash * 31 + (uint8_t)v->text[j];
		for (uint32_t j = 0; j < v->key_len; j++)
			hash = hash * 31 + (uint8_t)v->key[j];
	}
	snprintf(text, 32, "%016llx", (unsigned long long)hash);
	return text;
}

static void on_drop(void *arg, void *decoded)
{
	free(decoded);
}

static void on_upsert(void *arg, const char *key, void *decoded)
{
	struct seen *s = arg;
	char *copy;

	mix(s, '+', key);
	mix(s, '=', decoded);
	free(decoded);
	if (strmap_get(&s->keys, key) != NULL)
		return;
	copy = strdup(key);
	FUZZ_CHECK(copy != NULL && strmap_put(&s->keys, copy, copy, NULL) == 0);
}

static void on_remove(void *arg, const char *key)
{
	struct seen *s = arg;
	char *copy = strmap_del(&s->keys, key);

	FUZZ_CHECK(copy != NULL);
	free(copy);
	mix(s, '-', key);
}

static void on_refuse(void *arg, const char *ns, const char *name, const char *reason)
{
	struct seen *s = arg;

	for (const char *p = ns; *p != '\0'; p++)
		FUZZ_CHECK(*p >= ' ' && *p < 0x7f);
	for (const char *p = name; *p != '\0'; p++)
		FUZZ_CHECK(*p >= ' ' && *p < 0x7f);
	mix(s, '!', ns);
	mix(s, '/', name);
}

static void on_complete(void *arg)
{
	mix(arg, 'C', "");
}

static void on_absent(void *arg, int status)
{
	mix(arg, 'A', "");
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

static uint32_t no_random(void *arg)
{
	return 0;
}

static struct seen run(const uint8_t *data, size_t size, enum reflector_step step, size_t piece)
{
	static const char *const skip[] = {"managedFields", NULL};
	static const struct k8s_env env = {.random = no_random};
	static struct event_base *base;
	struct reflector_shared shared = {0};
	struct seen seen = {0};
	struct reflector_config config = {
		.path = "/x",
		.kind = "Thing",
		.skip = skip,
		.max_object = 4096,
		.max_skip = 16384,
		.timings = &k8s_timings_default,
		.env = &env,
		.shared = &shared,
		.ops = &ops,
		.arg = &seen,
	};
	struct reflector *r;
	uint32_t cursor = 0;
	char *key;

	if (base == NULL)
		base = event_base_new();
	FUZZ_CHECK(reflector_new(base, NULL, &config, &r) == 0);
	r->step = step;
	for (size_t at = 0; at < size && r->step == step;) {
		size_t n = size - at < piece ? size - at : piece, used = 0;

		if (framer_feed(r->watch_framer, (const char *)data + at, n, &used) != 0)
			break;
		FUZZ_CHECK(used == n || r->step == STEP_APPLY);
		at += n;
	}
	/* The end mark came: the shadow is applied in turns, by hand here. */
	while (r->step == STEP_APPLY && !reflector_apply_slice(r))
		continue;
	mix(&seen, 'v', r->rv);
	seen.calls += (unsigned)r->step << 16;
	reflector_free(r);
	while ((key = strmap_next(&seen.keys, &cursor)) != NULL)
		free(key);
	strmap_fini(&seen.keys);
	return seen;
}

FUZZ_TARGET(data, size)
{
	enum reflector_step step;
	struct seen whole, pieces;

	if (size < 1)
		return;
	step = data[0] & 1 ? STEP_WATCH : STEP_INITIAL;
	whole = run(data + 1, size - 1, step, size);
	pieces = run(data + 1, size - 1, step, 1 + (data[0] >> 1) % 32);
	FUZZ_CHECK(whole.hash == pieces.hash);
	FUZZ_CHECK(whole.calls == pieces.calls);
}
