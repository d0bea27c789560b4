/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The reconciler's step: what is dirty in the model, in slices; then the small records that
 * depend on it (see reconcile.h). Control thread; the readers at the end are for any. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "control/log.h"
#include "control/reconcile_private.h"

void reconcile_fault(struct reconciler *r, const char *fmt, ...)
{
	va_list ap;

	if (r->fault[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(r->fault, sizeof(r->fault), fmt, ap);
	va_end(ap);
}

uint64_t reconcile_now_ns(const struct reconciler *r)
{
	struct timespec ts;

	if (r->io.clock_ns != NULL)
		return r->io.clock_ns(r->io.arg);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* --- life ------------------------------------------------------------------------------------ */

int reconcile_init(struct dataplane *dp, struct model *m, struct neighbours *nb,
	struct retire *retire_queue, const struct config *cfg, const struct reconcile_io *io,
	struct reconciler **out)
{
	struct reconciler *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (r == NULL)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	r->dp = dp;
	r->model = m;
	r->nb = nb;
	r->retire = retire_queue;
	r->cfg = cfg;
	r->io = *io;
	r->first_services = atomic_load(&dp->services);
	r->first_tunables = atomic_load(&dp->tunables);
	r->first_routes = atomic_load(&dp->routes);
	r->first_vports = atomic_load(&dp->vports);
	if (getrandom(&r->salt, sizeof(r->salt), GRND_NONBLOCK) != sizeof(r->salt))
		r->salt = (uint64_t)(uintptr_t)r;
	r->domain_dirty = r->routes_dirty = r->tunables_dirty = r->vports_dirty = true;
	r->opening = true;
	TAILQ_INIT(&r->verify[false]);
	TAILQ_INIT(&r->verify[true]);
	r->empty = svc_list_new(NULL, 0);
	if (r->empty == NULL || claims_init(r) < 0)
		goto fail;
	err = svc_table_init(&dp->grace, 0, &r->table);
	if (err == 0)
		err = backend_table_init(cfg->services.backends, &r->backends);
	if (err < 0)
		goto fail;
	reconcile_node_addrs(r);
	*out = r;
	return 0;
fail:
	reconcile_fini(r);
	return err;
}

static void forget_service(void *arg, struct model_object *o)
{
	reconcile_service_drop(arg, o->applied);
	o->applied = NULL;
}

static void unpublish(struct reconciler *r)
{
	reconcile_vports_stop(r);
	atomic_store(&r->dp->services, r->first_services);
	atomic_store(&r->dp->tunables, r->first_tunables);
	atomic_store(&r->dp->routes, r->first_routes);
	atomic_store(&r->dp->vports, r->first_vports);
	if (r->io.synchronize != NULL)
		r->io.synchronize(r->io.arg);
}

void reconcile_fini(struct reconciler *r)
{
	if (r == NULL)
		return;
	reconcile_settle_fini(r);
	unpublish(r);
	retire_flush(r->retire);
	if (r->table != NULL && r->backends != NULL) {
		struct model_object *o;

		/* Removed ones that were not taken in yet are in the queue only. */
		while ((o = model_dirty_next(r->model, MODEL_SERVICE)) != NULL) {
			forget_service(r, o);
			model_applied(r->model, o, 0, NULL);
		}
		model_objects_each(r->model, MODEL_SERVICE, forget_service, r);
		reconcile_routes_fini(r);
		reconcile_domain_fini(r);
		reconcile_vports_fini(r);
	}
	retire_flush(r->retire);
	claims_fini(r);
	if (r->table != NULL)
		svc_table_fini(r->table);
	if (r->backends != NULL)
		backend_table_fini(r->backends);
	free(r->empty);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void reconcile_configure(struct reconciler *r, const struct config *cfg)
{
	r->cfg = cfg;
	r->domain_dirty = r->routes_dirty = r->tunables_dirty = r->vports_dirty = true;
	reconcile_node_addrs(r);
}

void reconcile_drain(struct reconciler *r, bool draining)
{
	r->draining = draining;
	r->tunables_dirty = true;
}

void reconcile_hosts_changed(void *reconciler)
{
	struct reconciler *r = reconciler;

	r->routes_dirty = true;
}

/* --- a step ---------------------------------------------------------------------------------- */

static void take_service(struct reconciler *r, struct model_object *o)
{
	uint64_t start = reconcile_now_ns(r), took;

	reconcile_service_take(r, o);
	took = reconcile_now_ns(r) - start;
	r->stats.events++;
	r->stats.last_event_ns = took;
	if (took > r->stats.max_event_ns)
		r->stats.max_event_ns = took;
}

/* Nodes, vports and routes mark what depends on them; that is rebuilt once for all of them. */
static void take_small(struct reconciler *r)
{
	struct model_object *o;

	while ((o = model_dirty_next(r->model, MODEL_NODE)) != NULL) {
		r->routes_dirty = r->tunables_dirty = r->domain_dirty = true;
		r->stats.events++;
		if (o->desired == NULL)
			reconcile_applied(r, o, o->version, NULL);
	}
	while ((o = model_dirty_next(r->model, MODEL_ROUTE)) != NULL) {
		r->routes_dirty = true;
		r->stats.events++;
		if (o->desired == NULL)
			reconcile_applied(r, o, o->version, NULL);
	}
	while ((o = model_dirty_next(r->model, MODEL_VPORT)) != NULL) {
		r->fault[0] = '\0';
		reconcile_vport_apply(r, o);
		r->stats.events++;
		if (o->desired == NULL || r->fault[0] != '\0')
			reconcile_applied(r, o, 0, r->fault[0] != '\0' ? r->fault : NULL);
	}
	reconcile_node_addrs(r);
}

/* True when services are left. */
static bool take_services(struct reconciler *r, uint64_t until_ns)
{
	struct model_object *o;

	if (!model_sources_complete(r->model))
		return false;
	while ((o = model_dirty_next(r->model, MODEL_SERVICE)) != NULL) {
		take_service(r, o);
		if (reconcile_now_ns(r) >= until_ns)
			return model_dirty_count(r->model, MODEL_SERVICE) != 0;
	}
	return false;
}

/* True when vports are left to be opened. */
static bool publish_small(struct reconciler *r, uint64_t now_ns)
{
	uint64_t now_ms = now_ns / 1000000;

	if (r->vports_dirty || now_ms >= r->vport_retry_ms) {
		r->vports_dirty = false;
		r->opening = reconcile_publish_vports(r);
		r->settle.touched = true;
		r->vports_dirty |= r->opening;
	}
	if (r->routes_dirty && (r->routes_ns == 0 || now_ns - r->routes_ns >= ROUTES_INTERVAL_NS)) {
		r->routes_dirty = false;
		r->settle.touched = true;
		r->routes_ns = now_ns;
		/* Also what the compilation itself changed: neighbours come and go with routes. */
		if (reconcile_publish_routes(r))
			reconcile_vports_settle(r);
		else
			r->routes_dirty = true;
	}
	r->settle.touched |= r->tunables_dirty || r->domain_dirty;
	if (r->tunables_dirty)
		r->tunables_dirty = !reconcile_publish_tunables(r);
	if (r->domain_dirty)
		r->domain_dirty = !reconcile_publish_domain(r);
	return r->opening;
}

/* Opens the doors once, behind everything that the first packets need. */
static void admit(struct reconciler *r, uint64_t now_ms)
{
	bool complete = reconcile_ready(r) && !r->opening && !r->routes_dirty;

	if (r->admit_by_ms == 0)
		r->admit_by_ms = now_ms + START_WAIT_MS;
	if (r->admitting || (!complete && now_ms < r->admit_by_ms))
		return;
	r->admitting = true;
	LOG_INFO(
		reconcile, "admitting", "services=%s", reconcile_ready(r) ? "complete" : "awaited");
	if (r->routes_dirty)
		return; /* their publication starts them */
	reconcile_vports_settle(r);
}

static void note_sync(struct reconciler *r, uint64_t took_ns)
{
	uint32_t b = 0;

	while (b < RECONCILE_STEP_BUCKETS && took_ns > UINT64_C(1000000) << b)
		b++;
	if (b < RECONCILE_STEP_BUCKETS)
		r->stats.sync_bucket[b]++;
	r->stats.syncs++;
	r->stats.sync_ns += took_ns;
}

static void note_stats(struct reconciler *r, uint64_t start_ns, uint64_t end_ns)
{
	pthread_mutex_lock(&r->lock);
	r->stats.steps++;
	r->stats.busy_ns += end_ns - start_ns;
	if (r->stats.events != r->published.events)
		note_sync(r, end_ns - start_ns);
	r->stats.ready = r->ready;
	r->stats.frontends = svc_table_used(r->table);
	r->stats.backends = backend_used(r->backends);
	r->stats.pending = 0;
	for (int k = 0; k < MODEL_KINDS; k++)
		r->stats.pending += model_dirty_count(r->model, (enum model_kind)k);
	if (r->stats.pending == 0)
		r->stats.last_applied_ms = end_ns / 1000000;
	r->published = r->stats;
	pthread_mutex_unlock(&r->lock);
}

bool reconcile_step(struct reconciler *r)
{
	uint64_t start = reconcile_now_ns(r);
	bool more;

	retire_poll(r->retire);
	svc_table_reclaim(r->table);
	if (!reconcile_settle_poll(r))
		return false;
	if (model_globals_changed(r->model))
		r->domain_dirty = true;
	take_small(r);
	more = take_services(r, start + RECONCILE_SLICE_NS);
	if (!r->ready && !more && model_sources_complete(r->model)) {
		r->ready = r->domain_dirty = true;
		LOG_INFO(reconcile, "ready", "services=%u frontends=%u backends=%u",
			r->stats.services, svc_table_used(r->table), backend_used(r->backends));
	}
	more |= publish_small(r, start);
	if (r->ready && !r->domain_dirty)
		atomic_store_explicit(&r->ready_published, true, memory_order_release);
	admit(r, start / 1000000);
	if (!more && r->ready)
		reconcile_verify(r, start / 1000000);
	reconcile_settle_begin(r);
	note_stats(r, start, reconcile_now_ns(r));
	return more;
}

/* --- readers --------------------------------------------------------------------------------- */

void reconcile_stats(struct reconciler *r, struct reconcile_stats *out)
{
	pthread_mutex_lock(&r->lock);
	*out = r->published;
	pthread_mutex_unlock(&r->lock);
}

bool reconcile_ready(const struct reconciler *r)
{
	return atomic_load_explicit(&r->ready_published, memory_order_acquire);
}
