/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See hardware.h. */

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "control/hardware.h"
#include "control/log.h"
#include "offload/offload.h"
#include "offload/provider.h"

#define WAIT_MS 2000

struct hardware {
	struct rim *rim;
	struct offload *offload;
	struct offload_config cfg;
	bool rings; /* workers have theirs */
};

/* --- what the offload thread asks ---------------------------------------------------------------
 */

static void enter(void *arg)
{
	struct hardware *h = arg;

	rim_reader_enter(h->rim);
}

static void leave(void *arg)
{
	struct hardware *h = arg;

	rim_reader_leave(h->rim);
}

static uint32_t worker_clock(void *arg)
{
	const struct hardware *h = arg;

	return rim_now_ms(h->rim);
}

static uint64_t clock_us(void *arg)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int fence(void *arg, uint16_t ethdev, bool on)
{
	struct hardware *h = arg;

	return rim_port_fence(h->rim, ethdev, on);
}

static void alarm_raised(void *arg, const char *what, const char *text)
{
	LOG_WARN(port, "offload", "what=%s %s", what, text);
}

/* --- life --------------------------------------------------------------------------------------
 */

static void config_take(struct offload_config *to, const struct config *cfg)
{
	const struct config_offload *from = &cfg->offload;

	offload_config_default(to);
	to->enabled = from->mode != CONFIG_OFF;
	to->capacity = from->capacity;
	to->min_age_ms = from->min_age_ms;
	to->min_pps = from->min_pps;
	to->insert_share = from->insert_share;
	to->inserts_max = from->inserts_max;
	to->idle_demote_ms = from->idle_demote * 1000;
	to->revoke_deadline_ms = from->revoke_deadline_ms;
}

/* On the worker: its ring from the next burst on, or none. */
static void take_ring(struct worker *w, void *arg)
{
	w->offload = arg;
}

static void set_rings(struct hardware *h, bool on)
{
	uint32_t n = rim_dataplane(h->rim)->n_workers;

	if (h->rings == on)
		return;
	h->rings = on;
	for (uint32_t w = 0; w < n; w++)
		while (rim_call(h->rim, w, take_ring, on ? offload_ring(h->offload, w) : NULL) ==
			-EAGAIN)
			;
}

static void pause_ms(void)
{
	static const struct timespec ms = {.tv_nsec = 1000000};

	nanosleep(&ms, NULL);
}

/* Every worker has passed: none uses what it was told to let go. */
static void wait_for_workers(struct hardware *h)
{
	struct grace *g = &rim_dataplane(h->rim)->grace;
	uint32_t stamp = grace_stamp(g);

	for (int i = 0; i < WAIT_MS && !grace_passed(g, stamp); i++) {
		rim_grace_poll(h->rim);
		pause_ms();
	}
}

int hardware_start(struct rim *rim, const struct config *cfg,
	const struct offload_provider *provider, struct hardware **out)
{
	struct offload_env env = {.dp = rim_dataplane(rim),
		.provider = provider,
		.enter = enter,
		.leave = leave,
		.now_ms = worker_clock,
		.clock_us = clock_us,
		.fence = fence,
		.alarm = alarm_raised};
	struct hardware *h = calloc(1, sizeof(*h));
	int ret;

	if (h == NULL)
		return -ENOMEM;
	h->rim = rim;
	config_take(&h->cfg, cfg);
	env.arg = h;
	ret = offload_start(&h->cfg, &env, &h->offload);
	if (ret < 0) {
		free(h);
		return ret;
	}
	*out = h;
	return 0;
}

void hardware_drain(struct hardware *h)
{
	uint64_t ticket;

	if (h == NULL)
		return;
	h->cfg.enabled = false;
	offload_configure(h->offload, &h->cfg);
	ticket = offload_flush(h->offload);
	for (uint32_t i = 0; i < 2 * h->cfg.revoke_deadline_ms; i++) {
		if (offload_settled(h->offload, ticket))
			return;
		pause_ms();
	}
	LOG_ERROR(port, "offload_not_drained", "see=/api/v1/offload");
}

void hardware_stop(struct hardware *h)
{
	if (h == NULL)
		return;
	set_rings(h, false);
	wait_for_workers(h);
	if (!offload_stop(h->offload))
		LOG_ERROR(port, "offload_left_rules", "remedy=reset the NIC");
	free(h);
}

void hardware_configure(struct hardware *h, const struct config *cfg)
{
	config_take(&h->cfg, cfg);
	offload_configure(h->offload, &h->cfg);
}

/* One queue of each worker: what a rule gives it stays with it. */
static void queues_of(const struct rim_port_info *info, uint16_t queue[WORKERS_MAX])
{
	for (uint32_t w = 0; w < WORKERS_MAX; w++)
		queue[w] = UINT16_MAX;
	for (uint16_t q = info->rx_queues; q-- > 0;)
		queue[info->rx_worker[q]] = q;
}

void hardware_port_added(struct hardware *h, uint16_t index)
{
	struct rim_port_info info[RIM_PORTS_MAX];
	uint32_t n;

	if (h == NULL)
		return;
	n = rim_port_list(h->rim, info, RIM_PORTS_MAX);
	for (uint32_t i = 0; i < n && i < RIM_PORTS_MAX; i++)
		if (info[i].index == index &&
			(info[i].kind == RIM_PORT_PCI || info[i].kind == RIM_PORT_ETHDEV)) {
			uint16_t queue[WORKERS_MAX];

			queues_of(&info[i], queue);
			offload_provider_rte_flow_marks(info[i].ethdev, info[i].marks);
			/* Workers sample only where there is a port that may profit. */
			if (offload_port_add(h->offload, index, info[i].ethdev, queue))
				set_rings(h, true);
		}
}

void hardware_port_leaves(struct hardware *h, uint16_t index)
{
	if (h != NULL)
		offload_port_remove(h->offload, index);
}

bool hardware_present(void *hardware)
{
	const struct hardware *h = hardware;

	return h->rings;
}

uint64_t hardware_revalidate(void *hardware)
{
	struct hardware *h = hardware;

	return offload_revalidate(h->offload);
}

bool hardware_settled(void *hardware, uint64_t ticket)
{
	const struct hardware *h = hardware;

	return offload_settled(h->offload, ticket);
}

struct offload *hardware_offload(struct hardware *h)
{
	return h != NULL ? h->offload : NULL;
}
