/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Notices: what operators should hear of besides the log. REST lists them (/api/v1/events), and
 * where Kubernetes is, main.c hands them to k8s-sync, which makes Events of them.
 *
 * A table of the latest NOTICES_MAX: what happens again only counts, and moves to the end. It is
 * the queue to the API server, too: whoever reads it keeps the version up to which it has read, so
 * a server that is away costs nothing but the oldest notices.
 *
 * Any thread but workers; a call holds a short lock and never waits for a reader. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A burst of trouble on a node, in lines that somebody will read. */
#define NOTICES_MAX      256
#define NOTICE_NAME_MAX  254 /* of a Kubernetes object, with its NUL */
#define NOTICE_NOTE_MAX  512
#define NOTICE_SHORT_MAX 64

struct notices;

struct notice {
	uint64_t id;      /* of this notice, for ever */
	uint64_t version; /* grows with each occurrence of any */
	bool warning;
	uint32_t count;
	int64_t first_ms, last_ms; /* since the epoch */
	/* What it is about; ns is "" of a Node. */
	char kind[NOTICE_SHORT_MAX], ns[NOTICE_SHORT_MAX], name[NOTICE_NAME_MAX];
	char reason[NOTICE_SHORT_MAX]; /* CamelCase, of a few */
	char note[NOTICE_NOTE_MAX];
};

int notices_new(struct notices **out);
void notices_free(struct notices *n);
/* fn runs on the thread that posts, without the lock; it must not post. Before others post. */
void notices_set_notify(struct notices *n, void (*fn)(void *arg), void *arg);

/* What is too long is cut. n may be NULL: nobody listens. */
__attribute__((format(printf, 7, 8))) void notice_post(struct notices *n, bool warning,
	const char *kind, const char *ns, const char *name, const char *reason, const char *fmt,
	...);

/* Copies those that happened behind version after, the earliest first, at most max. */
uint32_t notices_after(struct notices *n, uint64_t after, uint32_t max, struct notice *out);
/* Pushed out by newer ones, ever. */
uint64_t notices_lost(struct notices *n);
