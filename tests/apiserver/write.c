/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * POST, PUT, PATCH and DELETE. Checks only the shape (a JSON object with a name that fits the
 * path), the resource version, and existence; everything else a real server would validate passes,
 * since serving bad objects to the client under test is what this program is for. More lenient
 * than a real server in one point: status written through the main path is kept.
 */
#include "standin.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *ns_of(const struct route *r)
{
	return r->ns ? r->ns : "";
}

static bool is_dry_run(const struct http_request *req)
{
	const char *dry = http_query(req, "dryRun");

	return dry && !strcmp(dry, "All");
}

static bool content_is(const struct http_request *req, const char *type)
{
	const char *have = http_header(req, "Content-Type");

	return have && !strncmp(have, type, strlen(type));
}

/* NULL when an answer was sent */
static json_t *parse_body(struct http_conn *c, const struct http_request *req)
{
	json_error_t error;
	json_t *root;

	if (content_is(req, "application/vnd.kubernetes.protobuf") ||
		content_is(req, "application/yaml")) {
		reply_status(c, 415, NULL, "only JSON is understood here");
		return NULL;
	}
	root = json_loadb(req->body ? req->body : "", req->body_len, JSON_ALLOW_NUL, &error);
	if (!root) {
		reply_status(c, 400, NULL, "body line %d: %s", error.line, error.text);
	} else if (!json_is_object(root)) {
		json_decref(root);
		root = NULL;
		reply_status(c, 400, NULL, "the body must be a JSON object");
	}
	return root;
}

/* the object must be of the kind and at the place that the path says; -EINVAL: answered */
static int check_place(struct http_conn *c, const struct route *r, const char *name, json_t *root)
{
	json_t *meta = json_object_get(root, "metadata");
	const char *kind = jstr(root, "kind");
	const char *ns = jstr(meta, "namespace");

	if (*kind && strcmp(kind, r->table->res->kind)) {
		reply_status(c, 400, NULL, "the object is a %s, the path takes %s", kind,
			r->table->res->kind);
		return -EINVAL;
	}
	if (!json_is_object(meta)) {
		reply_status(c, 422, NULL, "metadata: must be an object");
		return -EINVAL;
	}
	if (r->ns && *ns && strcmp(ns, r->ns)) {
		reply_status(c, 400, NULL,
			"the namespace of the provided object does not match the namespace sent on "
			"the request");
		return -EINVAL;
	}
	if (r->ns)
		json_object_set_new(meta, "namespace", json_string(r->ns));
	if (name && strcmp(jstr(meta, "name"), name)) {
		reply_status(c, 400, NULL,
			"the name of the object (%s) does not match the name on the URL (%s)",
			jstr(meta, "name"), name);
		return -EINVAL;
	}
	return 0;
}

static bool conflicts(
	struct http_conn *c, const struct route *r, const json_t *root, const struct object *former)
{
	const char *rv = jstr(json_object_get(root, "metadata"), "resourceVersion");
	uint64_t want;

	if (!*rv || (!parse_rv(rv, &want) && want == former->rv))
		return false;
	reply_status(c, 409, NULL,
		"Operation cannot be fulfilled on %s \"%s\": the object has been modified; please "
		"apply your changes to the latest version and try again",
		r->table->res->plural, former->name);
	return true;
}

/* stores what was written and answers; takes root */
static void commit(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r, json_t *root, const struct object *former)
{
	struct object *o;
	int code = former ? 200 : 201;

	defaults_metadata(si, r->table, root, former);
	defaults_spec(r->table, root, former);
	if (object_from_json(r->table->res, root, &o)) {
		reply_status(c, 422, NULL, "metadata.name: must be a non-empty string without '/'");
		json_decref(root);
		return;
	}
	json_decref(root);
	if (is_dry_run(req)) {
		o->rv = former ? former->rv : 0;
		reply_object(c, req, code, o, r->table->res);
		object_put(o);
	} else if (former && former->tail_len == o->tail_len &&
		!memcmp(former->tail, o->tail, o->tail_len)) {
		/* nothing changed: no new version, no event */
		reply_object(c, req, code, former, r->table->res);
		object_put(o);
	} else {
		object_get(o);
		store_set(&si->store, r->table, o);
		reply_object(c, req, code, o, r->table->res);
		object_put(o);
	}
}

static void name_generated(struct standin *si, json_t *meta)
{
	const char *prefix = jstr(meta, "generateName");
	char *name;

	if (*jstr(meta, "name") || !*prefix)
		return;
	name = xasprintf("%s%llx", prefix, (unsigned long long)si->store.rv + 1);
	json_object_set_new(meta, "name", json_string(name));
	free(name);
}

static void create(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r)
{
	json_t *root, *meta;
	const struct object *former;

	if (r->name) {
		reply_status(c, 405, NULL, "the server does not allow this method");
		return;
	}
	root = parse_body(c, req);
	if (!root)
		return;
	if (check_place(c, r, NULL, root))
		goto out;
	meta = json_object_get(root, "metadata");
	name_generated(si, meta);
	if (r->table->res->namespaced && !*jstr(meta, "namespace"))
		json_object_set_new(meta, "namespace", json_string("default"));
	former = store_find(r->table, jstr(meta, "namespace"), jstr(meta, "name"));
	if (former) {
		reply_status(c, 409, "AlreadyExists", "%s \"%s\" already exists",
			r->table->res->plural, former->name);
		goto out;
	}
	commit(si, c, req, r, root, NULL);
	return;
out:
	json_decref(root);
}

/* a write to /status changes nothing else */
static json_t *only_status(const struct route *r, json_t *root, const struct object *former)
{
	json_t *whole = object_json(former, r->table->res, true);
	json_t *status = json_object_get(root, "status");

	if (status)
		json_object_set(whole, "status", status);
	json_decref(root);
	return whole;
}

static void replace(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r, struct object *former)
{
	json_t *root = parse_body(c, req);
	json_t *old;

	if (!root)
		return;
	if (check_place(c, r, r->name, root) || conflicts(c, r, root, former)) {
		json_decref(root);
		return;
	}
	if (r->status) {
		root = only_status(r, root, former);
	} else if (r->table->res->has_status && !json_object_get(root, "status")) {
		old = object_json(former, r->table->res, true);
		if (json_object_get(old, "status"))
			json_object_set(root, "status", json_object_get(old, "status"));
		json_decref(old);
	}
	commit(si, c, req, r, root, former);
}

static void patch(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r, struct object *former)
{
	bool strategic = content_is(req, "application/strategic-merge-patch+json");
	json_t *change, *root;

	if (!strategic && !content_is(req, "application/merge-patch+json")) {
		reply_status(c, 415, NULL,
			"a patch must be application/merge-patch+json or "
			"application/strategic-merge-patch+json");
		return;
	}
	change = parse_body(c, req);
	if (!change)
		return;
	if (conflicts(c, r, change, former)) {
		json_decref(change);
		return;
	}
	root = object_json(former, r->table->res, true);
	if (strategic)
		patch_strategic(r->table->res, root, change);
	else
		patch_merge(root, change);
	json_decref(change);
	if (r->status)
		root = only_status(r, root, former);
	if (check_place(c, r, r->name, root)) {
		json_decref(root);
		return;
	}
	commit(si, c, req, r, root, former);
}

static void reply_deleted(struct http_conn *c, const struct resource *res, const struct object *o)
{
	json_t *status = json_pack("{s:s, s:s, s:{}, s:s, s:{s:s, s:s, s:s, s:s}}", "kind",
		"Status", "apiVersion", "v1", "metadata", "status", "Success", "details", "name",
		o->name, "group", res->group, "kind", res->plural, "uid", o->uid);

	reply_json(c, 200, status);
	json_decref(status);
}

static bool precondition_fails(
	struct http_conn *c, const struct http_request *req, const struct object *o)
{
	json_t *options = json_loadb(req->body ? req->body : "", req->body_len, 0, NULL);
	const json_t *pre = json_object_get(options, "preconditions");
	const char *uid = jstr(pre, "uid"), *rv = jstr(pre, "resourceVersion");
	uint64_t want = 0;
	bool fails =
		(*uid && strcmp(uid, o->uid)) || (*rv && (parse_rv(rv, &want) || want != o->rv));

	json_decref(options);
	if (fails)
		reply_status(c, 409, NULL, "Precondition failed on \"%s\"", o->name);
	return fails;
}

static void delete_one(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r, struct object *o)
{
	if (precondition_fails(c, req, o))
		return;
	if (!is_dry_run(req))
		store_delete(&si->store, r->table, o->ns, o->name, NULL);
	reply_deleted(c, r->table->res, o);
}

static void delete_collection(struct standin *si, struct http_conn *c,
	const struct http_request *req, const struct route *r)
{
	struct filter f;
	struct snapshot *snap;
	json_t *status;

	if (filter_from_request(c, req, r, &f))
		return;
	/* the present version is always there */
	if (!store_snapshot(&si->store, r->table, si->store.rv, &snap)) {
		/* from the end: each removal moves little */
		for (size_t i = snap->n; i-- > 0;)
			if (filter_match(&f, snap->items[i]) && !is_dry_run(req))
				store_delete(&si->store, r->table, snap->items[i]->ns,
					snap->items[i]->name, NULL);
		snapshot_put(snap);
	}
	filter_fini(&f);
	status = json_pack("{s:s, s:s, s:{}, s:s}", "kind", "Status", "apiVersion", "v1",
		"metadata", "status", "Success");
	reply_json(c, 200, status);
	json_decref(status);
}

void write_request(struct standin *si, struct http_conn *c, const struct http_request *req,
	const struct route *r)
{
	struct object *former;

	if (!strcmp(req->method, "POST")) {
		create(si, c, req, r);
		return;
	}
	if (!r->name) {
		if (!strcmp(req->method, "DELETE"))
			delete_collection(si, c, req, r);
		else
			reply_status(c, 405, NULL, "the server does not allow this method");
		return;
	}
	former = object_get(store_find(r->table, ns_of(r), r->name));
	if (!former)
		reply_not_found(c, r->table->res, r->name);
	else if (!strcmp(req->method, "PUT"))
		replace(si, c, req, r, former);
	else if (!strcmp(req->method, "PATCH"))
		patch(si, c, req, r, former);
	else
		delete_one(si, c, req, r, former);
	object_put(former);
}
