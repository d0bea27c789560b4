/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The table of notice.h: a ring of slots in the order of their last occurrence. Any thread but
 * workers. */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "control/notice.h"

struct slot {
	struct notice notice;
	TAILQ_ENTRY(slot) link;
};

TAILQ_HEAD(slot_list, slot);

struct notices {
	pthread_mutex_t lock;
	struct slot_list used; /* the latest last */
	uint32_t n_used;
	uint64_t version, ids, lost;
	void (*notify)(void *arg);
	void *arg;
	struct slot slots[NOTICES_MAX];
};

int notices_new(struct notices **out)
{
	struct notices *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return -ENOMEM;
	pthread_mutex_init(&n->lock, NULL);
	TAILQ_INIT(&n->used);
	*out = n;
	return 0;
}

void notices_free(struct notices *n)
{
	if (n == NULL)
		return;
	pthread_mutex_destroy(&n->lock);
	free(n);
}

void notices_set_notify(struct notices *n, void (*fn)(void *arg), void *arg)
{
	n->notify = fn;
	n->arg = arg;
}

static bool same(const struct notice *a, const struct notice *b)
{
	return a->warning == b->warning && strcmp(a->kind, b->kind) == 0 &&
		strcmp(a->ns, b->ns) == 0 && strcmp(a->name, b->name) == 0 &&
		strcmp(a->reason, b->reason) == 0 && strcmp(a->note, b->note) == 0;
}

/* The slot of an equal notice, a free one, or that of the oldest; out of the list. */
static struct slot *take(struct notices *n, const struct notice *what)
{
	struct slot *s;

	TAILQ_FOREACH (s, &n->used, link)
		if (same(&s->notice, what))
			break;
	if (s == NULL && n->n_used < NOTICES_MAX)
		return &n->slots[n->n_used++];
	if (s == NULL) {
		s = TAILQ_FIRST(&n->used);
		s->notice.count = 0;
		n->lost++;
	}
	TAILQ_REMOVE(&n->used, s, link);
	return s;
}

static void keep(struct notices *n, struct notice *what)
{
	struct slot *s = take(n, what);

	if (s->notice.count != 0) {
		s->notice.count++;
		s->notice.last_ms = what->last_ms;
	} else {
		what->id = ++n->ids;
		what->count = 1;
		s->notice = *what;
	}
	s->notice.version = ++n->version;
	TAILQ_INSERT_TAIL(&n->used, s, link);
}

void notice_post(struct notices *n, bool warning, const char *kind, const char *ns,
	const char *name, const char *reason, const char *fmt, ...)
{
	struct notice what = {.warning = warning};
	struct timespec now;
	va_list ap;

	if (n == NULL)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	what.first_ms = what.last_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	snprintf(what.kind, sizeof(what.kind), "%s", kind);
	snprintf(what.ns, sizeof(what.ns), "%s", ns);
	snprintf(what.name, sizeof(what.name), "%s", name);
	snprintf(what.reason, sizeof(what.reason), "%s", reason);
	va_start(ap, fmt);
	vsnprintf(what.note, sizeof(what.note), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&n->lock);
	keep(n, &what);
	pthread_mutex_unlock(&n->lock);
	if (n->notify != NULL)
		n->notify(n->arg);
}

uint32_t notices_after(struct notices *n, uint64_t after, uint32_t max, struct notice *out)
{
	uint32_t found = 0;
	struct slot *s;

	pthread_mutex_lock(&n->lock);
	TAILQ_FOREACH (s, &n->used, link)
		if (s->notice.version > after && found < max)
			out[found++] = s->notice;
	pthread_mutex_unlock(&n->lock);
	return found;
}

uint64_t notices_lost(struct notices *n)
{
	uint64_t lost;

	pthread_mutex_lock(&n->lock);
	lost = n->lost;
	pthread_mutex_unlock(&n->lock);
	return lost;
}
