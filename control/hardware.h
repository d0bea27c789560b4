/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Control's side of hardware offload: between the configuration, the rim and the offload thread
 * (dataplane/offload/offload.h), and the barrier that the reconciler waits behind.
 *
 * Control thread. Calls about ports take as long as the device takes. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/config.h"
#include "io/rim.h"

struct hardware;
struct offload;
struct offload_provider;

/* The thread runs and every worker has its ring. provider NULL: nothing can be offloaded. */
int hardware_start(struct rim *rim, const struct config *cfg,
	const struct offload_provider *provider, struct hardware **out);
/* Everything out of hardware, without ending: before packets stop, so that none passes that
 * software no longer sees. Waits for the devices, at most two deadlines. */
void hardware_drain(struct hardware *h);
/* Ports may be closed and workers ended behind this. Accepts NULL. */
void hardware_stop(struct hardware *h);
void hardware_configure(struct hardware *h, const struct config *cfg);

/* A port of the rim came, or is about to leave. NULL: nothing. */
void hardware_port_added(struct hardware *h, uint16_t index);
void hardware_port_leaves(struct hardware *h, uint16_t index);

/* Has there ever been a port that can carry flows? */
bool hardware_present(void *hardware);
/* struct reconcile_io: what is in hardware by an older configuration, out. */
uint64_t hardware_revalidate(void *hardware);
bool hardware_settled(void *hardware, uint64_t ticket);

struct offload *hardware_offload(struct hardware *h);
