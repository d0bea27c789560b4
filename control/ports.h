/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The ports that vports stand on: those of the configuration, shared, and those that a vport brings
 * with it, which end with it. Between the model's words and the rim's.
 *
 * Control thread. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "control/config.h"
#include "control/model.h"
#include "core/dataplane.h"
#include "io/rim.h"

struct hardware;
struct ports;

/* Opens the configured ports; a port that does not open is an error by name in *err. */
int ports_init(struct rim *rim, struct hardware *hw, const struct config *cfg, struct ports **out,
	struct rim_error *err);
void ports_fini(struct ports *p);

/* The reconciler's side of the rim (struct reconcile_io): the port is opened before the vport is
 * published and closed a grace period after; frames come in between start and stop only. */
int ports_vport_open(
	void *ports, const struct model_vport *want, struct vport *v, char *why, size_t size);
int ports_vport_start(void *ports, const struct vport *v, char *why, size_t size);
void ports_vport_stop(void *ports, uint16_t id);
void ports_vport_close(void *ports, uint16_t id);
/* Waits until every worker passed a grace period. */
void ports_synchronize(void *ports);
