/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The NIC's ports: probed when they come, left alone while they fail, forgotten when they leave.
 *
 * What an error means is read together with the port's state, never alone: unsupported shapes go to
 * the matrix, a full table to the capacity, a failing device to the breaker. Nothing here costs a
 * packet. Offload thread. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "offload/engine.h"
#include "offload/failure.h"

#define FLUSH_TRIES 3
#define FAILURES    8
#define FAILURES_US 1000000
#define OPEN_MIN_MS 1000
#define OPEN_MAX_MS 64000
#define FULL_MIN_MS 100
#define FULL_MAX_MS 10000
#define RELEARN_US  60000000

static void alarm_port(struct offload_engine *e, const char *what, uint16_t ethdev)
{
	char text[32];

	if (e->env.alarm == NULL)
		return;
	snprintf(text, sizeof(text), "ethdev=%u", ethdev);
	e->env.alarm(e->env.arg, what, text);
}

static uint16_t index_of(const struct offload_engine *e, const struct engine_port *p)
{
	return (uint16_t)(p - e->port);
}

struct engine_port *ports_of(struct offload_engine *e, uint16_t ethdev)
{
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++)
		if (e->port[i].state != PORT_ABSENT && e->map.at[i].ethdev == ethdev)
			return &e->port[i];
	return NULL;
}

/* --- coming and going --------------------------------------------------------------------------
 */

/* Another port of the same domain, for rules that go from one to the other. */
static uint16_t peer_of(const struct offload_engine *e, uint16_t index)
{
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++)
		if (i != index && e->port[i].state == PORT_READY &&
			e->map.at[i].domain != OFFLOAD_NO_PORT &&
			e->map.at[i].domain == e->map.at[index].domain)
			return e->map.at[i].ethdev;
	return OFFLOAD_NO_PORT;
}

/* What tried and could not be removed goes with a flush, of where it may have been made. */
void ports_canaries(struct offload_engine *e)
{
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++) {
		struct engine_port *p = &e->port[i];

		if (p->caps == NULL || !offload_caps_left(p->caps) || p->state != PORT_READY)
			continue;
		ports_escalate(e, p->facts.proxy);
		if (p->facts.proxy != e->map.at[i].ethdev && p->state == PORT_READY)
			ports_escalate(e, e->map.at[i].ethdev);
	}
}

/* Ports that had nobody to send to are asked again when one comes. */
static void probe_all(struct offload_engine *e)
{
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX; i++) {
		struct engine_port *p = &e->port[i];
		uint16_t peer;

		if (p->state != PORT_READY || p->probed_with_peer)
			continue;
		peer = peer_of(e, i);
		/* Alone it can mark packets at most. */
		if (peer == OFFLOAD_NO_PORT && (p->probed || !p->facts.mark_in_buffers))
			continue;
		p->probed = true;
		p->probed_with_peer = peer != OFFLOAD_NO_PORT;
		if (offload_caps_probe(p->caps, peer, engine_now_ms(e)) == -ENODEV)
			ports_gone(e, p);
		else if (offload_caps_untrusted(p->caps))
			alarm_port(e, "port_untrusted", e->map.at[i].ethdev);
	}
	ports_canaries(e);
}

/* Under workers that run. */
static int stop_port(struct offload_engine *e, uint16_t ethdev)
{
	const struct offload_provider *provider = e->env.provider;
	struct engine_port *p = ports_of(e, ethdev);
	int ret = e->env.fence != NULL ? e->env.fence(e->env.arg, ethdev, true) : 0;

	if (ret != 0) {
		e->env.fence(e->env.arg, ethdev, false);
		return ret;
	}
	/* It stays fenced off although it refuses: ethdev has taken its bursts away first. */
	ret = provider->stop(provider->arg, ethdev);
	if (ret != 0)
		return ret;
	alarm_port(e, "port_stopped", ethdev);
	if (p != NULL) {
		p->stats.stops++;
		p->state = PORT_STOPPED;
		e->map.at[index_of(e, p)].gone = true;
	}
	return 0;
}

/* What an earlier owner of the device left must not act: flushed, or the port is stopped. */
static int clean(struct offload_engine *e, struct engine_port *p, uint16_t ethdev)
{
	const struct offload_provider *provider = e->env.provider;
	struct offload_error err = {0};
	int ret = -EAGAIN;

	for (int try = 0; try < FLUSH_TRIES && ret != 0; try++)
		ret = provider->flush(provider->arg, ethdev, &err);
	if (ret == 0)
		p->stats.flushes++;
	else if (ports_is_gone(e, p, ret) || stop_port(e, ethdev) != 0)
		return ret;
	/* A proxy that comes back: others had rules on it meanwhile. */
	life_forget(e, ethdev, OFFLOAD_Backoff);
	return ret;
}

/* What has gone by of rules that are still being removed stays counted. */
static void port_reset(struct engine_port *p)
{
	uint32_t rules = p->stats.rules, partial = p->stats.partial;

	memset(p, 0, sizeof(*p));
	p->stats.rules = rules;
	p->stats.partial = partial;
}

int ports_add(struct offload_engine *e, uint16_t index, uint16_t ethdev,
	const uint16_t queue[WORKERS_MAX])
{
	const struct offload_provider *provider = e->env.provider;
	struct engine_port *p;
	int ret;

	if (index >= OFFLOAD_PORTS_MAX || provider == NULL || e->port[index].state != PORT_ABSENT)
		return -EINVAL;
	p = &e->port[index];
	port_reset(p);
	ret = provider->facts(provider->arg, ethdev, &p->facts);
	if (ret < 0)
		return ret;
	e->map.at[index].ethdev = ethdev;
	e->map.at[index].domain = p->facts.domain;
	e->map.at[index].gone = false;
	e->map.at[index].marks = p->facts.mark_in_buffers;
	memset(e->map.at[index].queue, 0, sizeof(e->map.at[index].queue));
	if (queue != NULL)
		memcpy(e->map.at[index].queue, queue, sizeof(e->map.at[index].queue));
	p->state = PORT_USELESS;
	if (p->facts.domain == OFFLOAD_NO_PORT && !p->facts.mark_in_buffers)
		return 0;
	ret = clean(e, p, ethdev);
	if (ret < 0)
		return ret;
	ret = offload_caps_new(provider, ethdev, &p->caps);
	if (ret < 0)
		return ret;
	p->state = PORT_READY;
	probe_all(e);
	return 0;
}

/* Rules that name the port in match or fate. */
static void revoke_port(struct offload_engine *e, uint16_t index)
{
	for (uint32_t slot = 0; slot < e->high; slot++) {
		struct resident *r = &e->at[slot];

		for (int d = 0; d < 2 && r->state != RESIDENT_FREE; d++)
			if (r->leg[d].handle != NULL &&
				(r->leg[d].path.in == index || r->leg[d].path.out == index)) {
				life_revoke(e, slot, OFFLOAD_PortGone, false);
				break;
			}
	}
}

void ports_remove(struct offload_engine *e, uint16_t index)
{
	const struct offload_provider *provider = e->env.provider;
	struct engine_port *p = &e->port[index];
	struct offload_error err = {0};
	uint16_t ethdev;

	if (index >= OFFLOAD_PORTS_MAX || p->state == PORT_ABSENT)
		return;
	ethdev = e->map.at[index].ethdev;
	e->map.at[index].gone = true;
	revoke_port(e, index);
	if (p->state == PORT_READY && provider->flush(provider->arg, ethdev, &err) == 0)
		p->stats.flushes++;
	life_forget(e, ethdev, OFFLOAD_PortGone);
	offload_caps_free(p->caps);
	port_reset(p);
	e->map.at[index].ethdev = OFFLOAD_NO_PORT;
	e->map.at[index].domain = OFFLOAD_NO_PORT;
	e->map.at[index].gone = e->map.at[index].marks = false;
}

bool ports_is_gone(struct offload_engine *e, struct engine_port *p, int error)
{
	struct offload_port_facts facts;

	if (p->state == PORT_ABSENT)
		return false;
	if (error == -ENODEV)
		return true;
	return error == -EIO &&
		e->env.provider->facts(
			e->env.provider->arg, e->map.at[index_of(e, p)].ethdev, &facts) == -ENODEV;
}

void ports_gone(struct offload_engine *e, struct engine_port *p)
{
	uint16_t ethdev = e->map.at[index_of(e, p)].ethdev;

	if (p->state == PORT_GONE) {
		life_forget(e, ethdev, OFFLOAD_PortGone);
		return;
	}
	p->state = PORT_GONE;
	e->map.at[index_of(e, p)].gone = true;
	alarm_port(e, "port_gone", ethdev);
	life_forget(e, ethdev, OFFLOAD_PortGone);
	/* What others send to it would be lost in the NIC. */
	revoke_port(e, index_of(e, p));
}

/* --- what an insert tells ----------------------------------------------------------------------
 */

int ports_may_ask(struct offload_engine *e, const struct engine_port *p)
{
	const struct engine_port *proxy = ports_of(e, p->facts.proxy);
	uint64_t now = engine_now_us(e);

	if (p->state != PORT_READY || (proxy != NULL && proxy->state != PORT_READY))
		return OFFLOAD_PortGone;
	if (now < p->full_until_us)
		return OFFLOAD_TableFull;
	if (p->breaker.open_ms != 0 && (now < p->breaker.open_until_us || p->breaker.trying))
		return OFFLOAD_BreakerOpen;
	return 0;
}

int ports_may_insert(struct offload_engine *e, struct engine_port *p)
{
	int why = ports_may_ask(e, p);

	if (why == 0 && p->breaker.open_ms != 0)
		p->breaker.trying = true;
	return why;
}

void ports_inserted(struct offload_engine *e, struct engine_port *p)
{
	p->stats.inserts[OFFLOAD_INSERT_OK]++;
	p->full_ms = 0;
	if (p->breaker.trying)
		memset(&p->breaker, 0, sizeof(p->breaker));
}

static void breaker_open(struct offload_engine *e, struct engine_port *p)
{
	struct breaker *b = &p->breaker;

	b->open_ms = b->open_ms == 0           ? OPEN_MIN_MS
		: 2 * b->open_ms < OPEN_MAX_MS ? 2 * b->open_ms
					       : OPEN_MAX_MS;
	b->open_until_us = engine_now_us(e) + (uint64_t)b->open_ms * 1000;
	b->trying = false;
	b->failures = 0;
	p->stats.breaker_opened++;
	alarm_port(e, "breaker_open", e->map.at[index_of(e, p)].ethdev);
}

void ports_failed(struct offload_engine *e, struct engine_port *p)
{
	struct breaker *b = &p->breaker;
	uint64_t now = engine_now_us(e);

	if (b->trying) {
		breaker_open(e, p);
		return;
	}
	if (b->failures == 0 || now - b->window_us > FAILURES_US) {
		b->window_us = now;
		b->failures = 0;
	}
	if (++b->failures >= FAILURES)
		breaker_open(e, p);
}

/* The device takes no more: the table is as large as what it has now, at most. */
static void full(struct offload_engine *e, struct engine_port *p)
{
	uint32_t seen = (uint32_t)((uint64_t)e->cap.used * 95 / 100);

	if (seen < e->cap.learned)
		e->cap.learned = seen;
	e->cap.raised_us = engine_now_us(e);
	p->full_ms = p->full_ms == 0           ? FULL_MIN_MS
		: 2 * p->full_ms < FULL_MAX_MS ? 2 * p->full_ms
					       : FULL_MAX_MS;
	p->full_until_us = engine_now_us(e) + (uint64_t)p->full_ms * 1000;
}

/* The device has a rule that we do not know of: begin anew, but not for ever. */
static void relearn(struct offload_engine *e, struct engine_port *p, uint16_t ethdev)
{
	struct offload_error err = {0};

	p->relearned_us = engine_now_us(e);
	alarm_port(e, "port_drifted", ethdev);
	if (e->env.provider->flush(e->env.provider->arg, ethdev, &err) != 0)
		return;
	p->stats.flushes++;
	life_forget(e, ethdev, OFFLOAD_Backoff);
}

static enum offload_insert_result class_of(enum offload_failure failure, int error)
{
	switch (failure) {
	case OFFLOAD_FAILURE_SHAPE:
		return error == -EEXIST ? OFFLOAD_INSERT_DRIFT : OFFLOAD_INSERT_SHAPE;
	case OFFLOAD_FAILURE_CAPACITY:
		return OFFLOAD_INSERT_CAPACITY;
	case OFFLOAD_FAILURE_DRIFT:
		return OFFLOAD_INSERT_DRIFT;
	case OFFLOAD_FAILURE_GONE:
		return OFFLOAD_INSERT_GONE;
	default:
		return OFFLOAD_INSERT_DEVICE;
	}
}

enum offload_reason ports_refused(struct offload_engine *e, struct engine_port *p,
	const struct offload_rule *rule, int error, const struct offload_error *err,
	enum offload_insert_result *class)
{
	uint64_t now = engine_now_us(e);
	struct offload_failure_context ctx = {
		.call = OFFLOAD_CALL_INSERT,
		.gone = ports_is_gone(e, p, error),
		.fresh = p->stats.rules == 0 ||
			(p->relearned_us != 0 && now - p->relearned_us < RELEARN_US),
	};
	enum offload_failure failure = offload_failure_of(error, &ctx);

	/* One that tried behind an open breaker learned nothing of the device by another error. */
	if (failure != OFFLOAD_FAILURE_DEVICE && failure != OFFLOAD_FAILURE_GONE)
		p->breaker.trying = false;
	*class = class_of(failure, error);
	p->stats.inserts[*class]++;
	switch (failure) {
	case OFFLOAD_FAILURE_SHAPE:
		offload_caps_refused(p->caps, rule, error, err, engine_now_ms(e));
		return OFFLOAD_ShapeUnsupported;
	case OFFLOAD_FAILURE_CAPACITY:
		full(e, p);
		return OFFLOAD_TableFull;
	case OFFLOAD_FAILURE_DRIFT:
		relearn(e, p, rule->fate == OFFLOAD_FATE_MARK ? rule->match.port : p->facts.proxy);
		return OFFLOAD_Backoff;
	case OFFLOAD_FAILURE_GONE:
		ports_gone(e, p);
		return OFFLOAD_PortGone;
	default:
		ports_failed(e, p);
		return OFFLOAD_Backoff;
	}
}

bool ports_escalate(struct offload_engine *e, uint16_t ethdev)
{
	const struct offload_provider *provider = e->env.provider;
	struct engine_port *p = ports_of(e, ethdev);
	struct offload_error err = {0};
	int ret = provider->flush(provider->arg, ethdev, &err);

	e->stats.escalations++;
	alarm_port(e, "rules_flushed", ethdev);
	if (ret == 0) {
		if (p != NULL)
			p->stats.flushes++;
		life_forget(e, ethdev, OFFLOAD_Backoff);
		return true;
	}
	if (p != NULL && ports_is_gone(e, p, ret)) {
		ports_gone(e, p);
		return true;
	}
	ret = stop_port(e, ethdev);
	/* A proxy stops last. */
	for (uint16_t i = 0; i < OFFLOAD_PORTS_MAX && ret == -EBUSY; i++)
		if (e->port[i].state == PORT_READY && e->port[i].facts.proxy == ethdev &&
			e->map.at[i].ethdev != ethdev)
			stop_port(e, e->map.at[i].ethdev);
	if (ret == -EBUSY)
		ret = stop_port(e, ethdev);
	if (ret != 0) {
		alarm_port(e, "port_not_stopped", ethdev);
		return false;
	}
	life_forget(e, ethdev, OFFLOAD_PortGone);
	return true;
}
