/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Memory that workers may still see, waiting for its grace period.
 *
 * First in, first out; retire_poll() gives back what has passed and never waits. Control thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/grace.h"

struct retire;

typedef void (*retire_fn)(void *arg, void *mem);

int retire_init(const struct grace *g, struct retire **out);
void retire_fini(struct retire *r);
/* Gives back everything at once: no worker may run any more. */
void retire_flush(struct retire *r);
/* Call behind the store that unlinked mem. fn NULL means free(mem). When no memory is left for
 * the queue the object is leaked: the one thing that is always safe. */
void retire(struct retire *r, retire_fn fn, void *arg, void *mem);
/* Returns how many were given back. */
uint32_t retire_poll(struct retire *r);
uint32_t retire_pending(const struct retire *r);
