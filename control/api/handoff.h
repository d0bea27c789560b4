/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Jobs that the API thread asks of the control thread, and their way back.
 *
 * Two queues and two event descriptors. A job is run() on the control thread and then done() on
 * the API thread, exactly once each, or done() alone with cancelled set when the API ends first.
 * Queues are short, so one mutex guards both; it is held for a few instructions. */

#pragma once

#include <stdbool.h>

struct job {
	void (*run)(struct job *j);                  /* control thread */
	void (*done)(struct job *j, bool cancelled); /* API thread; owns j from here */
	struct job *next;
};

struct handoff;

int handoff_new(struct handoff **out);
/* Both threads have stopped using it; what is queued is cancelled. Accepts NULL. */
void handoff_free(struct handoff *h);

void handoff_submit(struct handoff *h, struct job *j); /* API thread */
int handoff_control_fd(const struct handoff *h);
int handoff_done_fd(const struct handoff *h);
/* Runs at most max jobs; the descriptor stays readable while others wait. */
void handoff_run(struct handoff *h, unsigned max); /* control thread */
void handoff_reap(struct handoff *h);              /* API thread */
