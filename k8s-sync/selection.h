/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Which endpoints a service port uses on this node.
 *
 * All slices of the service are merged into one list by address and port; of it the cluster list
 * and the local list are chosen, each with its own fallback to endpoints that terminate but still
 * serve. Hints (zone, node) narrow the cluster list while ready endpoints exist. Families never
 * mix. As kube-proxy chooses (KEP-1669, KEP-2433, KEP-3015). Pure functions; equal input gives an
 * equal result whatever the order of events was. */

#pragma once

#include "control/model.h"
#include "k8s-sync/decode.h"

struct selection_self {
	const char *node; /* our node's name */
	const char *zone; /* NULL: unknown, then zone hints do not count */
};

/* Fills backends and has_any of port, a port of service, whose addresses and policies must be
 * set. Slices come in a fixed order, by their names: of two entries for one address a later one
 * wins unless it terminates. 0 or -ENOMEM, with an empty list. */
int selection_build(const struct model_service *service, struct model_service_port *port,
	const struct k8s_slice *const *slices, uint32_t n_slices,
	const struct selection_self *self);

/* A zone label of our node matters to these slices. */
bool selection_has_zone_hints(const struct k8s_slice *slice);
