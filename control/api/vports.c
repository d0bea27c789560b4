/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Vports: list, watch, create, delete. A creation is answered when the reconciler has applied it;
 * one that could not be applied is taken back, and its caller is told why. API thread, but for the
 * functions that run as jobs on the control thread. */

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/api_internal.h"
#include "control/api/vport_body.h"
#include "control/reconcile.h"

const char *const api_role_names[] = {
	[VPORT_POD] = "Pod",
	[VPORT_HOST] = "Host",
	[VPORT_UPLINK] = "Uplink",
};

/* --- names by id ----------------------------------------------------------------------------- */

static bool name_vport(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	struct api *a = arg;
	uint16_t id = reconcile_vport_id(a->deps.reconciler, key);

	if (id != 0 && id < VPORTS_MAX)
		snprintf(a->vport_name[id], VPORT_NAME_MAX, "%s", key);
	return true;
}

const char *api_vport_name(struct api *a, uint16_t id)
{
	struct model *m = a->deps.model;
	uint64_t version;

	if (id == 0 || id >= VPORTS_MAX)
		return "";
	model_read_lock(m);
	version = model_version(m);
	if (version != a->vport_names_version) {
		memset(a->vport_name, 0, sizeof(a->vport_name));
		model_each(m, MODEL_VPORT, NULL, 0, name_vport, a);
		a->vport_names_version = version;
	}
	model_read_unlock(m);
	return a->vport_name[id];
}

/* --- documents ------------------------------------------------------------------------------- */

static void write_port_spec(struct jw *w, const struct model_port *p)
{
	jw_object(w, "newPort");
	jw_string(w, "kind", port_kind_names[p->kind]);
	if (p->iface != NULL)
		jw_string(w, "interface", p->iface);
	if (p->path != NULL)
		jw_string(w, "path", p->path);
	if (p->address != NULL)
		jw_string(w, "pci", p->address);
	if (p->device != NULL)
		jw_string(w, "device", p->device);
	jw_object_end(w);
}

static void write_counters(struct api *a, struct jw *w, uint16_t id)
{
	struct vport_counters sum = {0};

	for (uint32_t n = 0; id != 0 && n < a->deps.dp->n_workers; n++) {
		const struct vport_counters *c = &a->deps.dp->workers[n]->counters.vport[id];

		sum.rx_packets += counter_load(&c->rx_packets);
		sum.rx_bytes += counter_load(&c->rx_bytes);
		sum.tx_packets += counter_load(&c->tx_packets);
		sum.tx_bytes += counter_load(&c->tx_bytes);
		sum.drops += counter_load(&c->drops);
	}
	jw_object(w, "counters");
	jw_counter(w, "rxPackets", sum.rx_packets);
	jw_counter(w, "rxBytes", sum.rx_bytes);
	jw_counter(w, "txPackets", sum.tx_packets);
	jw_counter(w, "txBytes", sum.tx_bytes);
	jw_counter(w, "drops", sum.drops);
	jw_object_end(w);
}

/* Host bits are shown: on an uplink the address is ours. */
static void write_address(struct jw *w, const struct ip_prefix *p)
{
	char text[IP_TEXT_MAX];

	jw_stringf(w, NULL, "%s/%u", ip_format(&p->addr, text), p->len);
}

static void render_vport(struct api *a, struct jw *w, const char *key, const void *object,
	const struct model_status *status, uint64_t rv)
{
	const struct model_vport *v = object;
	uint16_t id = reconcile_vport_id(a->deps.reconciler, v->name);

	jw_object(w, NULL);
	jw_string(w, "kind", "VPort");
	jw_string(w, "apiVersion", API_VERSION);
	api_write_metadata(w, NULL, v->name, v->owner, rv, 0);
	jw_object(w, "spec");
	jw_string(w, "role", api_role_names[v->role]);
	if (v->port != NULL)
		jw_string(w, "port", v->port);
	if (v->own_port != NULL)
		write_port_spec(w, v->own_port);
	jw_int(w, "vlan", v->vlan);
	jw_int(w, "mtu", v->mtu);
	jw_int(w, "zone", v->zone);
	jw_bool(w, "sourceGuard", v->source_guard);
	if (v->has_mac)
		jw_mac(w, "mac", v->mac);
	if (v->has_peer_mac)
		jw_mac(w, "peerMac", v->peer_mac);
	jw_array(w, "addresses");
	for (uint32_t i = 0; i < v->n_addrs; i++)
		write_address(w, &v->addrs[i]);
	jw_array_end(w);
	jw_object_end(w);
	jw_object(w, "status");
	jw_int(w, "id", id);
	write_counters(a, w, id);
	api_write_conditions(w, status);
	jw_object_end(w);
	jw_object_end(w);
}

static const struct list_kind vport_kind = {
	.name = "VPort",
	.model = MODEL_VPORT,
	.render = render_vport,
};

/* --- changes --------------------------------------------------------------------------------- */

enum change_phase {
	CHANGE_ASKED,    /* with the control thread */
	CHANGE_APPLYING, /* in the model; the reconciler is at work */
	CHANGE_UNDOING,  /* it failed and is being taken back */
};

struct change {
	struct job job;
	struct api *api;
	struct http_request *req;
	struct change *next, **prev;
	enum change_phase phase;
	bool create;
	char name[VPORT_NAME_MAX];
	struct model_vport *vport; /* to create; the model's once it was set */
	int rc;
	uint64_t version;
	int64_t deadline_ms;
	char error[256];
};

static void change_free(struct change *c)
{
	if (c->prev != NULL) {
		*c->prev = c->next;
		if (c->next != NULL)
			c->next->prev = c->prev;
	}
	model_vport_free(c->vport);
	free(c);
}

/* Control thread. */
static void change_run(struct job *j)
{
	struct change *c = (struct change *)j;
	struct model *m = c->api->deps.model;
	struct model_status status;

	if (c->phase == CHANGE_UNDOING || !c->create) {
		c->rc = model_vport_remove(m, c->name, OWNER_API);
	} else if (model_find(m, MODEL_VPORT, c->name, NULL) != NULL) {
		c->rc = -EEXIST;
	} else {
		c->rc = model_vport_set(m, c->vport);
		c->vport = NULL;
		if (c->rc == 0 && model_find(m, MODEL_VPORT, c->name, &status) != NULL)
			c->version = status.version;
	}
}

static void change_refused(struct change *c)
{
	switch (c->rc) {
	case -EEXIST:
		http_problem_field(c->req, 409, "AlreadyExists", "/metadata/name",
			"a vport of that name exists");
		break;
	case -EPERM:
		http_problem(c->req, 409, "Conflict",
			"the vport belongs to the configuration file: change it there");
		break;
	case -ENOENT:
		http_problem(c->req, 404, "NotFound", "no VPort of that name");
		break;
	default:
		http_problem(c->req, 422, "Invalid", "the model refuses the vport: %s",
			strerror(-c->rc));
	}
}

static void change_done(struct job *j, bool cancelled)
{
	struct change *c = (struct change *)j;

	if (cancelled) {
		http_problem(c->req, 503, "NotReady", "the daemon is stopping");
		change_free(c);
	} else if (c->phase == CHANGE_UNDOING) {
		http_problem(c->req, 422, "NotProgrammed", "%s", c->error);
		change_free(c);
	} else if (c->rc < 0) {
		change_refused(c);
		change_free(c);
	} else {
		c->phase = CHANGE_APPLYING;
		c->next = c->api->changes;
		c->prev = &c->api->changes;
		if (c->next != NULL)
			c->next->prev = &c->next;
		c->api->changes = c;
	}
}

static void created(struct change *c)
{
	struct api *a = c->api;
	struct evbuffer *out = evbuffer_new();
	struct model_status status;
	const void *object;
	char where[VPORT_NAME_MAX + 32];
	struct jw w;

	if (out == NULL) {
		http_problem(c->req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	jw_init(&w, out);
	model_read_lock(a->deps.model);
	object = model_find(a->deps.model, MODEL_VPORT, c->name, &status);
	if (object != NULL)
		render_vport(a, &w, c->name, object, &status, status.resource_version);
	model_read_unlock(a->deps.model);
	jw_finish(&w);
	if (object == NULL) {
		http_problem(c->req, 409, "Conflict", "the vport was removed meanwhile");
	} else {
		snprintf(where, sizeof(where), "/api/v1/vports/%s", c->name);
		http_header(c->req, "Location", where);
		evbuffer_add(out, "\n", 1);
		http_reply(c->req, 201, "application/json", out);
	}
	evbuffer_free(out);
}

static void deleted(struct change *c)
{
	struct doc d;

	if (!doc_begin(&d, c->req))
		return;
	jw_string(&d.w, "kind", "Deletion");
	jw_string(&d.w, "name", c->name);
	doc_send(&d, 200);
}

/* True when the request is answered. */
static bool change_check(struct change *c, int64_t now)
{
	struct model *m = c->api->deps.model;
	struct model_status status = {0};
	bool there, failed;

	model_read_lock(m);
	there = model_find(m, MODEL_VPORT, c->name, &status) != NULL;
	failed = there && status.state == MODEL_ERROR && status.version >= c->version;
	if (failed)
		snprintf(c->error, sizeof(c->error), "%s",
			status.error != NULL ? status.error : "the dataplane refuses it");
	model_read_unlock(m);

	if (c->create && failed) {
		c->phase = CHANGE_UNDOING;
		*c->prev = c->next;
		if (c->next != NULL)
			c->next->prev = c->prev;
		c->prev = NULL;
		handoff_submit(c->api->handoff, &c->job);
		return false;
	}
	if (c->create &&
		(!there ||
			(status.state == MODEL_APPLIED && status.applied_version >= c->version))) {
		created(c);
		return true;
	}
	if (!c->create && !there && reconcile_vport_id(c->api->deps.reconciler, c->name) == 0) {
		deleted(c);
		return true;
	}
	if (now < c->deadline_ms)
		return false;
	http_problem(c->req, 504, "Timeout", "accepted, but not yet applied; look at the vport");
	return true;
}

void api_changes_tick(struct api *a)
{
	int64_t now = api_now_ms();
	struct change *next;

	for (struct change *c = a->changes; c != NULL; c = next) {
		next = c->next;
		if (change_check(c, now))
			change_free(c);
	}
}

void api_changes_fini(struct api *a)
{
	while (a->changes != NULL)
		change_free(a->changes);
}

static struct change *change_new(struct http_request *req)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return NULL;
	}
	c->job.run = change_run;
	c->job.done = change_done;
	c->api = api_of(req);
	c->req = req;
	c->deadline_ms = api_now_ms() + API_CHANGE_TIMEOUT_MS;
	return c;
}

static void create_vport(struct http_request *req)
{
	static const char *const none[] = {NULL};
	struct model_vport *v;
	struct body_error err;
	struct change *c;
	int rc;

	if (!api_check_query(req, none))
		return;
	if (req->body_len == 0) {
		http_problem(req, 400, "BadRequest", "a body is needed: the vport");
		return;
	}
	rc = vport_body_parse(req->body, req->body_len, &v, &err);
	if (rc == -EINVAL && err.pointer[0] == '\0') {
		http_problem(req, 400, "BadRequest", "the body is %s", err.text);
		return;
	}
	if (rc == -EINVAL) {
		http_problem_field(
			req, 422, "Invalid", err.pointer, "%s: %s", err.pointer, err.text);
		return;
	}
	if (rc < 0) {
		http_problem(req, 503, "ResourceExhausted", "out of memory");
		return;
	}
	c = change_new(req);
	if (c == NULL) {
		model_vport_free(v);
		return;
	}
	c->create = true;
	c->vport = v;
	snprintf(c->name, sizeof(c->name), "%s", v->name);
	handoff_submit(c->api->handoff, &c->job);
}

static void delete_vport(struct http_request *req)
{
	static const char *const none[] = {NULL};
	struct change *c;

	if (!api_check_query(req, none))
		return;
	if (strlen(req->param[0]) >= VPORT_NAME_MAX) {
		http_problem(req, 404, "NotFound", "no VPort of that name");
		return;
	}
	c = change_new(req);
	if (c == NULL)
		return;
	strcpy(c->name, req->param[0]);
	handoff_submit(c->api->handoff, &c->job);
}

void api_vports(struct http_request *req)
{
	if (req->method == HTTP_POST)
		create_vport(req);
	else
		api_list(req, &vport_kind);
}

void api_vport(struct http_request *req)
{
	if (req->method == HTTP_DELETE)
		delete_vport(req);
	else
		api_get_one(req, &vport_kind, req->param[0]);
}
