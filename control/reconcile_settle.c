/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* A change is acknowledged when nothing acts by what was before it: behind its publication comes a
 * grace period, so that no worker does, then the hardware's ticket, so that no rule does.
 *
 * While that runs, no further object is taken, so each object's acknowledgement is the one of what
 * was published. Without hardware everything is acknowledged at once. Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/reconcile_private.h"

#define ALARM_MS 10000

static void give(struct reconciler *r, const struct settle_ack *a)
{
	model_applied(r->model, a->object, a->version, a->error);
}

/* A removed object is gone with its acknowledgement, which must be one. */
static bool waits(const struct settle *s, const struct model_object *o)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->acks[i].object == o)
			return true;
	return false;
}

void reconcile_applied(
	struct reconciler *r, struct model_object *o, uint64_t version, const char *error)
{
	struct settle *s = &r->settle;
	struct settle_ack ack = {.object = o, .version = version};

	if (r->io.revalidate == NULL) {
		model_applied(r->model, o, version, error);
		return;
	}
	if (o->desired == NULL && waits(s, o))
		return;
	if (s->n == s->room) {
		uint32_t room = s->room != 0 ? 2 * s->room : 64;
		struct settle_ack *acks = realloc(s->acks, room * sizeof(*acks));

		if (acks == NULL) {
			/* Not acknowledged by this version; its next change is. */
			r->stats.errors++;
			return;
		}
		s->acks = acks;
		s->room = room;
	}
	ack.error = error != NULL ? strdup(error) : NULL;
	s->acks[s->n++] = ack;
	s->touched = true;
}

static void give_all(struct reconciler *r)
{
	struct settle *s = &r->settle;

	for (uint32_t i = 0; i < s->n; i++) {
		give(r, &s->acks[i]);
		free(s->acks[i].error);
	}
	s->n = 0;
}

void reconcile_settle_begin(struct reconciler *r)
{
	struct settle *s = &r->settle;

	if (r->io.revalidate == NULL || !s->touched)
		return;
	s->touched = false;
	if (!r->io.hardware_present(r->io.arg_hardware)) {
		give_all(r);
		return;
	}
	s->phase = SETTLE_GRACE;
	s->stamp = grace_stamp(&r->dp->grace);
	s->since_ms = reconcile_now_ns(r) / 1000000;
}

bool reconcile_settle_poll(struct reconciler *r)
{
	struct settle *s = &r->settle;
	uint64_t now_ms;

	if (s->phase == SETTLE_GRACE) {
		if (!grace_passed(&r->dp->grace, s->stamp))
			return false;
		s->ticket = r->io.revalidate(r->io.arg_hardware);
		s->phase = SETTLE_HARDWARE;
	}
	if (s->phase == SETTLE_HARDWARE) {
		now_ms = reconcile_now_ns(r) / 1000000;
		if (!r->io.settled(r->io.arg_hardware, s->ticket)) {
			if (now_ms - s->since_ms >= ALARM_MS) {
				s->since_ms = now_ms;
				LOG_ERROR(reconcile, "hardware_unconfirmed",
					"waiting=%u see=/api/v1/offload", s->n);
			}
			return false;
		}
		s->phase = SETTLE_DONE;
		give_all(r);
	}
	return true;
}

bool reconcile_settling(const struct reconciler *r)
{
	return r->settle.phase != SETTLE_DONE;
}

void reconcile_settle_fini(struct reconciler *r)
{
	give_all(r);
	free(r->settle.acks);
	r->settle = (struct settle){0};
	r->io.revalidate = NULL;
}
