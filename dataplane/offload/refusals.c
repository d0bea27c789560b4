/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What drivers answered, once each: a flow keeps the number of the last answer that it got, and so
 * two bytes tell millions of flows why, in the driver's own words.
 *
 * An answer is written before its number is given away and never changes, so others read it
 * without a lock. Offload thread, but for refusal_read(). */

#include <stdio.h>
#include <string.h>

#include "offload/engine.h"

/* Drivers have a few dozen; behind these come addresses or handles in texts. */
static const struct offload_refusal more = {.class = "other",
	.text = "(more kinds of answers than are kept: see the log of operations)"};

uint8_t refusal_number(struct offload_engine *e, enum offload_insert_result class, int error,
	const struct offload_error *err)
{
	const char *name = offload_insert_result_names[class];
	struct offload_refusal *r;

	for (uint8_t n = 0; n < e->n_refusals; n++) {
		r = &e->refusal[n];
		if (r->error == error && r->type == err->type && r->class == name &&
			strncmp(r->text, err->cause, sizeof(r->text) - 1) == 0)
			return (uint8_t)(n + 1);
	}
	if (e->n_refusals == REFUSALS_MAX)
		return REFUSALS_MAX + 1;
	r = &e->refusal[e->n_refusals++];
	r->class = name;
	r->error = error;
	r->type = err->type;
	snprintf(r->text, sizeof(r->text), "%s", err->cause);
	return e->n_refusals;
}

const struct offload_refusal *refusal_read(const struct offload_engine *e, uint8_t number)
{
	if (number == 0)
		return NULL;
	return number <= REFUSALS_MAX ? &e->refusal[number - 1] : &more;
}
