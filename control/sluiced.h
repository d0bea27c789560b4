/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The daemon: its parts, in the order in which they start, and what its three files call of each
 * other. main.c reads the command line, wiring.c starts, connects and ends the parts, turn.c is
 * what the control thread does when an event comes. Control thread, but where a callback says
 * otherwise.
 */

#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/config.h"
#include "control/notice.h"
#include "io/rim.h"
#include "k8s-sync/sync.h"

struct sluiced {
	const char *path;
	struct config *cfg;
	struct event_base *base;
	struct rim *rim;
	struct hardware *hardware;
	struct model *model;
	struct retire *retire;
	struct neighbours *neighbours;
	struct ports *ports;
	struct reconciler *reconciler;
	struct k8s_sync *sync;
	struct notices *notices;
	struct k8s_events *events;
	struct notice telling; /* the one that events is about to tell */
	int notice_fd;
	struct event *notice_ready;
	struct kube_proxy_watch *kube_proxy;
	struct http_answers answers;
	struct api *api;
	const struct svc_domain *domain_told;
	struct event *step, *neighbour_timer, *rim_timer, *api_ready, *term, *interrupt, *hangup;
	int claim; /* on the API socket; -1: none */
	bool announced;
	uint64_t worked_us; /* since something was left to do */
	uint32_t rest_ms;   /* 0: a step may follow at once */
	bool link_lost[RIM_PORTS_MAX];
};

/* About this node. */
#define NOTICE(s, warning, reason, ...) \
	notice_post((s)->notices, warning, "Node", "", (s)->cfg->node.name, reason, __VA_ARGS__)

/* libevent's own takes no NULL. */
static inline void free_event(struct event *ev)
{
	if (ev != NULL)
		event_free(ev);
}

/* wiring.c. 0, or -errno, said in the log; both accept a daemon that is half started. */
int sluiced_start(struct sluiced *s);
/* Returns the exit status: the one given, unless something was lost. */
int sluiced_stop(struct sluiced *s, int status);

/* turn.c. Timers and signals, on a new event base. */
int turn_start(struct sluiced *s);
void turn_stop(struct sluiced *s);
/* A step of the reconciler as soon as the last one has been rested from. */
void turn_wake(struct sluiced *s);
