/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Stands in for the rim, the reconciler and the neighbours, by their own headers: fixed answers
 * that a test knows, and a few switches. One fake a process; the API thread and the fixture's main
 * thread use it at once. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/model.h"

extern _Atomic bool fake_ready;   /* reconcile_ready() */
extern _Atomic bool fake_link_up; /* of port "uplink0" */

/* Applies what is dirty in the model: vports whose name begins with "bad" are refused, others get
 * an id. Control thread. */
void fake_reconcile(struct model *m);
