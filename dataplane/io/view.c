/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* How ports and vports reach workers: copy the view, change the copy, swap the pointer, free the
 * old one when no worker can see it. Also the vport calls, which are exactly that.
 *
 * Control thread; rim_grace_poll() any. A worker is never waited for, but in rim_grace_wait(),
 * which port removal uses before a driver's memory goes away. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/rim_internal.h"

void rim_grace_poll(struct rim *rim)
{
	if (!rte_spinlock_trylock(&rim->grace_lock))
		return;
	if (rim->grace_open && rte_rcu_qsbr_check(rim->qsbr, rim->grace_token, false) == 1) {
		grace_complete(&rim->dp.grace, rim->grace_ended);
		rim->grace_open = false;
	}
	if (!rim->grace_open) {
		rim->grace_ended = grace_open(&rim->dp.grace);
		rim->grace_token = rte_rcu_qsbr_start(rim->qsbr);
		rim->grace_open = true;
	}
	rte_spinlock_unlock(&rim->grace_lock);
}

void rim_reader_enter(struct rim *rim)
{
	rte_rcu_qsbr_thread_online(rim->qsbr, RIM_READER);
}

void rim_reader_leave(struct rim *rim)
{
	rte_rcu_qsbr_thread_offline(rim->qsbr, RIM_READER);
}

static uint32_t bit_of(struct rim *rim, uint16_t ethdev)
{
	uint32_t bit = 0;

	pthread_mutex_lock(&rim->lock);
	for (uint32_t n = 0; n < RIM_PORTS_MAX; n++)
		if (rim->port[n] != NULL && rim->port[n]->eth == ethdev)
			bit = 1u << n;
	pthread_mutex_unlock(&rim->lock);
	return bit;
}

int rim_port_fence(struct rim *rim, uint16_t ethdev, bool on)
{
	uint32_t bit = bit_of(rim, ethdev);

	if (!on) {
		atomic_fetch_and_explicit(&rim->fenced, ~bit, memory_order_relaxed);
		return 0;
	}
	atomic_fetch_or_explicit(&rim->fenced, bit, memory_order_relaxed);
	return rim_grace_wait(rim);
}

int rim_grace_wait(struct rim *rim)
{
	uint32_t stamp = grace_stamp(&rim->dp.grace);
	uint32_t start = rim_now_ms(rim);
	struct timespec pause = {.tv_nsec = 50000};

	for (;;) {
		rim_grace_poll(rim);
		if (grace_passed(&rim->dp.grace, stamp))
			return 0;
		if (rim_now_ms(rim) - start > RIM_GRACE_WAIT_MS)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

void rim_retire(struct rim *rim, void *mem)
{
	struct rim_retired *r;

	if (mem == NULL)
		return;
	r = malloc(sizeof(*r));
	if (r == NULL) {
		/* Leaked when a worker hangs: better than freed under it. */
		if (rim_grace_wait(rim) == 0)
			free(mem);
		return;
	}
	r->mem = mem;
	r->stamp = grace_stamp(&rim->dp.grace);
	r->next = rim->retired;
	rim->retired = r;
}

void rim_reap(struct rim *rim, bool all)
{
	struct rim_retired **at = &rim->retired;

	while (*at != NULL) {
		struct rim_retired *r = *at;

		if (!all && !grace_passed(&rim->dp.grace, r->stamp)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		free(r->mem);
		free(r);
	}
}

int rim_view_edit(struct rim *rim, struct rim_view **out)
{
	const struct rim_view *now = atomic_load_explicit(&rim->view, memory_order_relaxed);
	struct rim_view *v = malloc(sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	*v = *now;
	*out = v;
	return 0;
}

void rim_view_publish(struct rim *rim, struct rim_view *view)
{
	void *old = (void *)(uintptr_t)atomic_load_explicit(&rim->view, memory_order_relaxed);

	atomic_store_explicit(&rim->view, view, memory_order_release);
	rim_wake_all(rim);
	rim_retire(rim, old);
}

/* A copy of the port's table with one VLAN id changed; NULL without memory. */
static uint16_t *vlans_with(const uint16_t *now, uint16_t vlan, uint16_t vport)
{
	uint16_t *t = calloc(RIM_VLANS, sizeof(*t));

	if (t == NULL)
		return NULL;
	if (now != NULL)
		memcpy(t, now, RIM_VLANS * sizeof(*t));
	t[vlan] = vport;
	return t;
}

static bool vlans_empty(const uint16_t *t)
{
	for (uint32_t n = 0; n < RIM_VLANS; n++)
		if (t[n] != 0)
			return false;
	return true;
}

/* Makes (port, vlan) lead to vport (0: to none) in the copy v. *retire is what the old view alone
 * still needs. */
static int view_map(struct rim_view *v, uint16_t port, uint16_t vlan, uint16_t vport, void **retire)
{
	uint16_t *t;

	*retire = NULL;
	if (vlan == 0) {
		v->untagged[port] = vport;
		return 0;
	}
	t = vlans_with(v->vlans[port], vlan, vport);
	if (t == NULL)
		return -ENOMEM;
	if (vlans_empty(t)) {
		free(t);
		t = NULL;
	}
	*retire = (void *)(uintptr_t)v->vlans[port];
	v->vlans[port] = t;
	return 0;
}

int rim_vport_add(struct rim *rim, const struct rim_vport *vp, struct rim_error *err)
{
	struct rim_view *v;
	uint16_t taken;
	void *old;

	if (vp->id == 0 || vp->id >= VPORTS_MAX)
		return rim_fail(err, -EINVAL, "vport id %u is not in 1-%u", vp->id, VPORTS_MAX - 1);
	if (vp->port >= RIM_PORTS_MAX || rim->port[vp->port] == NULL)
		return rim_fail(err, -ENOENT, "vport %u: no port %u", vp->id, vp->port);
	if (vp->vlan >= RIM_VLANS - 1)
		return rim_fail(
			err, -EINVAL, "vport %u: VLAN id %u is not in 0-4094", vp->id, vp->vlan);
	if (rim_view_edit(rim, &v) != 0)
		return rim_fail(err, -ENOMEM, "vport %u: no memory", vp->id);
	if (v->vport_port[vp->id] != RIM_NO_PORT) {
		free(v);
		return rim_fail(err, -EEXIST, "vport %u exists", vp->id);
	}
	taken = v->untagged[vp->port];
	if (vp->vlan != 0)
		taken = v->vlans[vp->port] != NULL ? v->vlans[vp->port][vp->vlan] : 0;
	if (taken != 0) {
		free(v);
		return rim_fail(err, -EEXIST, "port %s: VLAN id %u is vport %u's",
			rim->port[vp->port]->cfg.name, vp->vlan, taken);
	}
	if (view_map(v, vp->port, vp->vlan, vp->id, &old) != 0) {
		free(v);
		return rim_fail(err, -ENOMEM, "vport %u: no memory", vp->id);
	}
	v->vport_port[vp->id] = (uint8_t)vp->port;
	v->vport_vlan[vp->id] = vp->vlan;
	rim_view_publish(rim, v);
	rim_retire(rim, old);
	pthread_mutex_lock(&rim->lock);
	rim->port[vp->port]->n_vports++;
	pthread_mutex_unlock(&rim->lock);
	return 0;
}

int rim_vport_remove(struct rim *rim, uint16_t id)
{
	struct rim_view *v;
	uint8_t port;
	void *old;

	if (id == 0 || id >= VPORTS_MAX)
		return -EINVAL;
	if (rim_view_edit(rim, &v) != 0)
		return -ENOMEM;
	port = v->vport_port[id];
	if (port == RIM_NO_PORT) {
		free(v);
		return -ENOENT;
	}
	if (view_map(v, port, v->vport_vlan[id], 0, &old) != 0) {
		free(v);
		return -ENOMEM;
	}
	v->vport_port[id] = RIM_NO_PORT;
	v->vport_vlan[id] = 0;
	rim_view_publish(rim, v);
	rim_retire(rim, old);
	pthread_mutex_lock(&rim->lock);
	rim->port[port]->n_vports--;
	pthread_mutex_unlock(&rim->lock);
	return 0;
}
