/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Jobs between the API thread and the control thread (see handoff.h). */

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/api/handoff.h"

struct job_queue {
	struct job *head, **tail;
	int fd;
};

struct handoff {
	pthread_mutex_t lock;
	struct job_queue todo, done;
};

static void queue_put(struct handoff *h, struct job_queue *q, struct job *j)
{
	const uint64_t one = 1;

	j->next = NULL;
	pthread_mutex_lock(&h->lock);
	*q->tail = j;
	q->tail = &j->next;
	pthread_mutex_unlock(&h->lock);
	/* Fails only when the counter is at its end, and then the other side is awake anyway. */
	if (write(q->fd, &one, sizeof(one)) < 0)
		return;
}

static struct job *queue_take(struct handoff *h, struct job_queue *q)
{
	struct job *j;

	pthread_mutex_lock(&h->lock);
	j = q->head;
	if (j != NULL) {
		q->head = j->next;
		if (q->head == NULL)
			q->tail = &q->head;
	}
	pthread_mutex_unlock(&h->lock);
	return j;
}

static void queue_clear(struct job_queue *q)
{
	uint64_t n;

	if (read(q->fd, &n, sizeof(n)) < 0)
		return;
}

static int queue_init(struct job_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
	q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return q->fd < 0 ? -errno : 0;
}

int handoff_new(struct handoff **out)
{
	struct handoff *h = calloc(1, sizeof(*h));
	int rc;

	if (h == NULL)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->done.fd = -1;
	rc = queue_init(&h->todo);
	if (rc == 0)
		rc = queue_init(&h->done);
	if (rc < 0) {
		handoff_free(h);
		return rc;
	}
	*out = h;
	return 0;
}

void handoff_free(struct handoff *h)
{
	struct job *j;

	if (h == NULL)
		return;
	while (h->done.fd >= 0 && (j = queue_take(h, &h->done)) != NULL)
		j->done(j, false);
	while (h->todo.fd >= 0 && (j = queue_take(h, &h->todo)) != NULL)
		j->done(j, true);
	if (h->todo.fd >= 0)
		close(h->todo.fd);
	if (h->done.fd >= 0)
		close(h->done.fd);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void handoff_submit(struct handoff *h, struct job *j)
{
	queue_put(h, &h->todo, j);
}

int handoff_control_fd(const struct handoff *h)
{
	return h->todo.fd;
}

int handoff_done_fd(const struct handoff *h)
{
	return h->done.fd;
}

void handoff_run(struct handoff *h, unsigned max)
{
	const uint64_t one = 1;
	struct job *j = NULL;

	queue_clear(&h->todo);
	while (max-- > 0 && (j = queue_take(h, &h->todo)) != NULL) {
		j->run(j);
		queue_put(h, &h->done, j);
	}
	if (j != NULL && write(h->todo.fd, &one, sizeof(one)) < 0)
		return;
}

void handoff_reap(struct handoff *h)
{
	struct job *j;

	queue_clear(&h->done);
	while ((j = queue_take(h, &h->done)) != NULL)
		j->done(j, false);
}
