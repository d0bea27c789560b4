/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Vports: opened through the rim, put into the published table, started when routes lead to them;
 * and the same steps backwards. An id is given again only when no worker can know it any more.
 * Control thread; the reader lock guards names and ids. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/log.h"
#include "control/reconcile_private.h"

static const char *text(const char *s)
{
	return s != NULL ? s : "";
}

/* What a change of cannot be done in place. */
static char *device_of(const struct model_vport *m)
{
	const struct model_port *p = m->own_port;
	char *out = NULL;
	int n;

	if (p == NULL)
		n = asprintf(&out, "port %s vlan %u role %u", m->port, m->vlan, m->role);
	else
		n = asprintf(&out, "%u %s %s %s %s %s %d %d %u %u %u %u vlan %u role %u", p->kind,
			text(p->iface), text(p->path), text(p->tx_path), text(p->address),
			text(p->args), p->promiscuous, p->server, p->memif_id, p->queues,
			p->descriptors, p->mtu, m->vlan, m->role);
	return n >= 0 ? out : NULL;
}

struct applied_vport *reconcile_vport_find(struct reconciler *r, const char *name)
{
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		if (vport_present(r->vports[id]) && strcmp(r->vports[id]->name, name) == 0)
			return r->vports[id];
	return NULL;
}

uint16_t reconcile_vport_id(struct reconciler *r, const char *name)
{
	struct applied_vport *v;
	uint16_t id;

	pthread_mutex_lock(&r->lock);
	v = reconcile_vport_find(r, name);
	id = v != NULL ? v->id : 0;
	pthread_mutex_unlock(&r->lock);
	return id;
}

/* --- records --------------------------------------------------------------------------------- */

static void fill_addrs(struct reconciler *r, struct applied_vport *v, const struct model_vport *m)
{
	struct vport *rec = &v->record;

	v->n_links = 0;
	memset(v->links, 0, sizeof(v->links));
	if (m->role == VPORT_UPLINK) {
		v->n_links = m->n_addrs;
		if (m->n_addrs != 0)
			memcpy(v->links, m->addrs, m->n_addrs * sizeof(*m->addrs));
		return;
	}
	for (uint32_t i = 0; i < m->n_addrs; i++) {
		prefix_set(&rec->addrs[rec->n_addrs], &m->addrs[i]);
		ip_prefix_mask(&rec->addrs[rec->n_addrs++]);
	}
	if (m->role != VPORT_HOST || m->n_addrs != 0)
		return;
	for (uint32_t i = 0; i < r->node.n && i < VPORT_ADDRS_MAX; i++) {
		struct ip_prefix *p = &rec->addrs[rec->n_addrs++];

		p->addr = r->node.at[i];
		p->family = (uint8_t)ip_family(&p->addr);
		p->len = p->family == IP_V4 ? 32 : 128;
	}
}

static bool has_local_clients(const struct config_services *s, const char *name)
{
	const char *wanted = s->detect_local_interface;

	if (wanted == NULL)
		return false;
	if (s->detect_local_mode == DETECT_LOCAL_BRIDGE)
		return strcmp(name, wanted) == 0;
	return s->detect_local_mode == DETECT_LOCAL_PREFIX &&
		strncmp(name, wanted, strlen(wanted)) == 0;
}

static void fill_record(struct reconciler *r, struct applied_vport *v)
{
	const struct model_vport *m = v->object->desired;
	struct vport *rec = &v->record;

	memset(rec, 0, sizeof(*rec));
	rec->id = v->id;
	rec->role = m->role;
	rec->zone = m->zone;
	rec->vlan = m->vlan;
	rec->up = true;
	rec->source_guard = m->source_guard;
	rec->local_clients = has_local_clients(&r->cfg->services, m->name);
	rec->peer_mac_known = m->has_peer_mac;
	memcpy(rec->peer_mac, m->peer_mac, 6);
	snprintf(rec->name, sizeof(rec->name), "%s", m->name);
	rec->port = v->opened.port;
	rec->mtu = m->mtu != 0 ? m->mtu : v->opened.mtu;
	if (m->has_mac)
		memcpy(rec->mac, m->mac, 6);
	else if (m->role != VPORT_UPLINK)
		memcpy(rec->mac, r->cfg->gateway.mac.bytes, 6);
	else
		memcpy(rec->mac, v->opened.mac, 6);
	fill_addrs(r, v, m);
}

/* --- coming and going ------------------------------------------------------------------------ */

/* Readers of other threads look for vports by name, those that are present only. */
static void phase_set(struct reconciler *r, struct applied_vport *v, enum vport_phase phase)
{
	pthread_mutex_lock(&r->lock);
	v->phase = phase;
	pthread_mutex_unlock(&r->lock);
}

static void vport_free(struct reconciler *r, struct applied_vport *v)
{
	pthread_mutex_lock(&r->lock);
	r->vports[v->id] = NULL;
	pthread_mutex_unlock(&r->lock);
	free(v->published);
	free(v->device);
	free(v);
	/* Somebody may wait for what it stood on. */
	r->vport_retry_ms = 0;
	r->vports_dirty = true;
}

static void vport_closed(void *arg, void *mem)
{
	struct reconciler *r = arg;
	struct applied_vport *v = mem;

	if (r->io.vport_close != NULL)
		r->io.vport_close(r->io.arg, v->id);
	vport_free(r, v);
}

static void vport_leave(struct reconciler *r, struct applied_vport *v)
{
	v->object = NULL;
	if (v->phase == VPORT_WAITING) {
		vport_free(r, v);
		return;
	}
	if (v->phase == VPORT_OPEN) {
		vport_closed(r, v);
		return;
	}
	if (r->io.vport_stop != NULL)
		r->io.vport_stop(r->io.arg, v->id);
	phase_set(r, v, VPORT_LEAVING);
	r->routes_dirty = true;
}

/* Ids go round, so that one is met again as late as can be. */
static struct applied_vport *vport_new(struct reconciler *r, struct model_object *o)
{
	struct applied_vport *v;
	uint16_t id = r->last_vport_id;

	for (uint32_t i = 0; i < VPORTS_MAX; i++) {
		id = (uint16_t)(id + 1 < VPORTS_MAX ? id + 1 : 1);
		if (r->vports[id] == NULL)
			break;
	}
	if (r->vports[id] != NULL) {
		reconcile_fault(r, "all %u vports are taken", VPORTS_MAX - 1);
		return NULL;
	}
	v = calloc(1, sizeof(*v));
	if (v != NULL)
		v->device = device_of(o->desired);
	if (v == NULL || v->device == NULL) {
		free(v);
		reconcile_fault(r, "out of memory");
		return NULL;
	}
	v->id = id;
	phase_set(r, v, VPORT_WAITING);
	v->object = o;
	snprintf(v->name, sizeof(v->name), "%s", o->key);
	pthread_mutex_lock(&r->lock);
	r->vports[id] = v;
	pthread_mutex_unlock(&r->lock);
	r->last_vport_id = id;
	return v;
}

void reconcile_vport_apply(struct reconciler *r, struct model_object *o)
{
	struct applied_vport *v = o->applied;
	char *device;

	r->vports_dirty = r->routes_dirty = r->tunables_dirty = r->domain_dirty = true;
	if (o->desired != NULL && v != NULL) {
		device = device_of(o->desired);
		if (device == NULL) {
			reconcile_fault(r, "out of memory");
			return;
		}
		if (strcmp(device, v->device) != 0) {
			vport_leave(r, v);
			o->applied = v = NULL;
		}
		free(device);
	}
	if (o->desired == NULL && v != NULL) {
		vport_leave(r, v);
		o->applied = NULL;
	} else if (o->desired != NULL && v == NULL) {
		o->applied = vport_new(r, o);
		r->vport_retry_ms = 0;
	}
}

/* --- publication ----------------------------------------------------------------------------- */

static bool name_is_leaving(const struct reconciler *r, const char *name)
{
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		const struct applied_vport *v = r->vports[id];

		if (v != NULL && (v->phase == VPORT_LEAVING || v->phase == VPORT_CLOSING) &&
			strcmp(v->name, name) == 0)
			return true;
	}
	return false;
}

static void vport_open(struct reconciler *r, struct applied_vport *v)
{
	char why[200] = "";
	int err;

	if (name_is_leaving(r, v->name))
		return;
	memset(&v->opened, 0, sizeof(v->opened));
	fill_record(r, v);
	v->opened = v->record;
	err = r->io.vport_open == NULL
		? 0
		: r->io.vport_open(r->io.arg, v->object->desired, &v->opened, why, sizeof(why));
	if (err < 0) {
		if (why[0] == '\0')
			snprintf(why, sizeof(why), "%s", strerror(-err));
		LOG_WARN(reconcile, "vport_not_opened", "name=%s reason=%s", v->name, why);
		reconcile_applied(r, v->object, 0, why);
		r->stats.errors++;
		return;
	}
	phase_set(r, v, VPORT_OPEN);
	LOG_INFO(
		reconcile, "vport_opened", "name=%s id=%u port=%u", v->name, v->id, v->opened.port);
}

/* Opening takes what the driver takes, tens of milliseconds: the slice ends behind the first that
 * goes over it, and the rest waits for the next step. True when some do. */
static bool open_waiting(struct reconciler *r)
{
	uint64_t start = reconcile_now_ns(r);
	bool failed = false;

	if (start / 1000000 < r->vport_retry_ms)
		return false;
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		struct applied_vport *v = r->vports[id];

		if (v == NULL || v->tried)
			continue;
		if (v->phase == VPORT_WAITING) {
			if (reconcile_now_ns(r) - start >= RECONCILE_SLICE_NS)
				return true;
			vport_open(r, v);
			v->tried = v->phase == VPORT_WAITING;
		} else if (v->starting) {
			/* Tried again behind the routes. */
			r->routes_dirty = true;
		}
	}
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		if (r->vports[id] != NULL && r->vports[id]->tried) {
			r->vports[id]->tried = false;
			failed = true;
		}
	r->vport_retry_ms = failed ? start / 1000000 + VPORT_RETRY_MS : UINT64_MAX;
	return false;
}

/* A table with what every vport has published; the old one is retired. */
static bool table_publish(struct reconciler *r)
{
	const struct vport_table *old = atomic_load_explicit(&r->dp->vports, memory_order_relaxed);
	struct vport_table *t = calloc(1, sizeof(*t));
	uint32_t n = 0;

	if (t == NULL)
		return false;
	for (uint32_t id = 1; id < VPORTS_MAX; id++)
		if (r->vports[id] != NULL && r->vports[id]->phase != VPORT_CLOSING) {
			t->at[id] = r->vports[id]->published;
			n += t->at[id] != NULL;
		}
	atomic_store_explicit(&r->dp->vports, t, memory_order_release);
	if (r->vports_mine == old)
		retire(r->retire, NULL, NULL, (void *)old);
	r->vports_mine = t;
	r->stats.vports = n;
	return true;
}

bool reconcile_publish_vports(struct reconciler *r)
{
	struct vport *replaced[VPORTS_MAX];
	bool more = open_waiting(r), changed = false;
	uint32_t n = 0;

	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		struct applied_vport *v = r->vports[id];
		struct vport *copy;

		if (!vport_present(v))
			continue;
		fill_record(r, v);
		if (v->published != NULL &&
			memcmp(v->published, &v->record, sizeof(v->record)) == 0)
			continue;
		copy = malloc(sizeof(*copy));
		if (copy == NULL)
			continue;
		*copy = v->record;
		if (v->published != NULL)
			replaced[n++] = v->published;
		v->published = copy;
		v->starting |= v->phase == VPORT_OPEN;
		phase_set(r, v, VPORT_RUNNING);
		changed = true;
		r->routes_dirty = r->tunables_dirty = r->domain_dirty = true;
	}
	/* Out of memory: the old table goes on with the old records, which then are never freed. */
	if (changed && table_publish(r))
		for (uint32_t i = 0; i < n; i++)
			retire(r->retire, NULL, NULL, replaced[i]);
	return more;
}

void reconcile_vport_neighbours(
	struct reconciler *r, const struct applied_vport *v, const struct route_set *set)
{
	struct neighbour_vport n;

	memset(&n, 0, sizeof(n));
	n.id = v->id;
	n.vlan = v->record.vlan;
	n.mtu = v->record.mtu;
	n.role = v->record.role;
	memcpy(n.mac, v->record.mac, 6);
	n.has_peer_mac = v->record.peer_mac_known;
	memcpy(n.peer_mac, v->record.peer_mac, 6);
	for (int f = 0; f < IP_FAMILIES; f++)
		if (v->record.role != VPORT_UPLINK)
			n.source[f] = r->cfg->gateway.addr[f];
	for (uint32_t i = r->node.n; v->record.role == VPORT_UPLINK && i > 0; i--)
		n.source[ip_family(&r->node.at[i - 1])] = r->node.at[i - 1];
	/* An address of the link itself is better. */
	for (uint32_t i = v->n_links; i > 0; i--)
		n.source[v->links[i - 1].family] = v->links[i - 1].addr;
	for (uint32_t i = 0; i < set->n_links && n.n_links < VPORT_ADDRS_MAX; i++)
		if (set->links[i].vport == v->id)
			prefix_set(&n.links[n.n_links++], &set->links[i].prefix);
	neighbours_vport_set(r->nb, &n);
}

void reconcile_announce(struct reconciler *r, const struct applied_vport *v)
{
	const struct route_domain *d = atomic_load_explicit(&r->dp->routes, memory_order_relaxed);

	for (uint32_t i = 0; v->record.role == VPORT_UPLINK && i < d->n_owned; i++)
		neighbours_announce(r->nb, v->id, &d->owned[i]);
}

static void vport_start(struct reconciler *r, struct applied_vport *v)
{
	char why[200] = "";
	int err = 0;

	if (r->io.vport_start != NULL)
		err = r->io.vport_start(r->io.arg, v->published, why, sizeof(why));
	if (err < 0) {
		if (why[0] == '\0')
			snprintf(why, sizeof(why), "%s", strerror(-err));
		LOG_WARN(reconcile, "vport_not_started", "name=%s reason=%s", v->name, why);
		reconcile_applied(r, v->object, 0, why);
		r->stats.errors++;
		r->vport_retry_ms = reconcile_now_ns(r) / 1000000 + VPORT_RETRY_MS;
		return;
	}
	v->starting = false;
	reconcile_announce(r, v);
}

void reconcile_vports_settle(struct reconciler *r)
{
	struct applied_vport *gone[VPORTS_MAX];
	uint32_t n = 0;

	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		struct applied_vport *v = r->vports[id];

		if (v == NULL)
			continue;
		if (v->phase == VPORT_RUNNING) {
			if (v->starting && r->admitting)
				vport_start(r, v);
			if (!v->starting)
				reconcile_applied(r, v->object, v->object->version, NULL);
		} else if (v->phase == VPORT_LEAVING) {
			neighbours_vport_remove(r->nb, v->id);
			phase_set(r, v, VPORT_CLOSING);
			gone[n++] = v;
		}
	}
	if (n == 0)
		return;
	if (!table_publish(r)) {
		for (uint32_t i = 0; i < n; i++)
			phase_set(r, gone[i], VPORT_LEAVING);
		r->routes_dirty = true;
		return;
	}
	neighbours_hosts_published(r->nb);
	for (uint32_t i = 0; i < n; i++)
		retire(r->retire, vport_closed, r, gone[i]);
}

void reconcile_vports_stop(struct reconciler *r)
{
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		struct applied_vport *v = r->vports[id];

		if (v == NULL || v->phase != VPORT_RUNNING)
			continue;
		if (r->io.vport_stop != NULL)
			r->io.vport_stop(r->io.arg, v->id);
		phase_set(r, v, VPORT_LEAVING);
	}
}

void reconcile_vports_fini(struct reconciler *r)
{
	for (uint32_t id = 1; id < VPORTS_MAX; id++) {
		struct applied_vport *v = r->vports[id];

		if (v == NULL)
			continue;
		if (v->object != NULL)
			v->object->applied = NULL;
		if (v->phase != VPORT_WAITING)
			vport_closed(r, v);
		else
			vport_free(r, v);
	}
	free((void *)r->vports_mine);
	r->vports_mine = NULL;
}
