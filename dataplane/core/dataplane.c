/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Birth and end of what workers share and of a worker's own part (see dataplane.h). Control thread,
 * before the worker runs and after it has stopped. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/dataplane.h"
#include "core/frag.h"

/* Events to control that may wait: a resolve for each next hop of a burst, several times. */
#define EVENTS_MAX 1024

const char *const stage_names[STAGES] = {
#define STAGE(name, text) [STAGE_##name] = #name,
#include "core/stages.def"
#undef STAGE
};

const char *const stage_texts[STAGES] = {
#define STAGE(name, text) [STAGE_##name] = text,
#include "core/stages.def"
#undef STAGE
};

/* The empty switch. Constant, so that there is always a record to load and nobody to free it. */
static const struct vport_table no_vports;
static const struct svc_domain no_services = {.cluster_ip_outside = true};
static const struct route_domain no_routes;
static const struct next_hop no_next_hop = {.kind = NEXT_HOP_NONE};
static struct tunables default_tunables = {
	.snat = {.port_min = 1024,
		.port_max = 65535,
		.avoid_min = 30000,
		.avoid_max = 32767,
		.egress = true},
	.tcp_pick_up = true,
};

int dataplane_init(struct dataplane *dp, struct flow_table *flows)
{
	uint64_t seed;

	memset(dp, 0, sizeof(*dp));
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t)(uintptr_t)dp;
	dp->next_hops = malloc(sizeof(*dp->next_hops));
	if (dp->next_hops == NULL || affinity_init(AFFINITY_RECORDS, seed, &dp->affinity) < 0) {
		free(dp->next_hops);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < NEXT_HOPS_MAX; i++)
		atomic_init(&dp->next_hops->at[i], &no_next_hop);
	atomic_init(&dp->next_hops->generation, 0);
	flow_timeouts_default(&default_tunables.timeouts);
	atomic_init(&dp->vports, &no_vports);
	atomic_init(&dp->services, &no_services);
	atomic_init(&dp->routes, &no_routes);
	atomic_init(&dp->tunables, &default_tunables);
	atomic_init(&dp->offload_shift, OFFLOAD_SHIFT_MAX);
	dp->flows = flows;
	return 0;
}

void dataplane_fini(struct dataplane *dp)
{
	free(dp->next_hops);
	affinity_fini(dp->affinity);
	dp->next_hops = NULL;
	dp->affinity = NULL;
}

int worker_init(struct worker *w, struct dataplane *dp, uint32_t id, const struct worker_io *io)
{
	uint64_t salt;

	if (id >= WORKERS_MAX)
		return -EINVAL;
	memset(w, 0, sizeof(*w));
	w->id = id;
	w->dp = dp;
	w->io = io;
	w->random = UINT32_C(0x9e3779b9) * (id + 1);
	w->offload_shift = OFFLOAD_SHIFT_MAX;
	w->reject_tokens = REJECT_BURST;
	w->admission.quiet = FLOW_QUIET_BURSTS;
	if (getrandom(&salt, sizeof(salt), GRND_NONBLOCK) != sizeof(salt))
		salt = (uint64_t)(uintptr_t)w;
	w->frags = frag_table_new(FRAG_ENTRIES, FRAG_HELD_MAX, salt);
	w->events = spsc_new(EVENTS_MAX, sizeof(struct worker_event));
	if (w->frags == NULL || w->events == NULL) {
		worker_fini(w);
		return -ENOMEM;
	}
	dp->workers[id] = w;
	if (dp->n_workers <= id)
		dp->n_workers = id + 1;
	worker_load_snapshot(w);
	return 0;
}

void worker_fini(struct worker *w)
{
	if (w->frags != NULL)
		frag_table_free(w->frags);
	free(w->events);
	w->frags = NULL;
	w->events = NULL;
	if (w->dp != NULL && w->dp->workers[w->id] == w)
		w->dp->workers[w->id] = NULL;
}
