/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * What a client asks before it asks for objects: version, groups, resources, health, OpenAPI.
 */
#include "standin.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* the resource table is ordered by group; so is what discovery says */
static bool group_served(const struct standin *si, const char *group)
{
	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (si->store.tables[i].served && !strcmp(resources[i].group, group))
			return true;
	return false;
}

static json_t *group_json(const char *group)
{
	char version[160];

	snprintf(version, sizeof(version), "%s/v1", group);
	return json_pack("{s:s, s:[{s:s, s:s}], s:{s:s, s:s}}", "name", group, "versions",
		"groupVersion", version, "version", "v1", "preferredVersion", "groupVersion",
		version, "version", "v1");
}

static json_t *groups(const struct standin *si)
{
	json_t *list = json_array();

	for (int i = 0; i < RESOURCE_COUNT; i++) {
		const char *group = resources[i].group;

		if (!*group || (i && !strcmp(resources[i - 1].group, group)))
			continue;
		if (group_served(si, group))
			json_array_append_new(list, group_json(group));
	}
	return json_pack(
		"{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", list);
}

static void append_resource(json_t *list, const struct resource *r)
{
	json_t *one = json_pack("{s:s, s:s, s:b, s:s, s:[s,s,s,s,s,s,s,s]}", "name", r->plural,
		"singularName", r->singular, "namespaced", r->namespaced, "kind", r->kind, "verbs",
		"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch");
	char name[160];

	if (r->short_name)
		json_object_set_new(one, "shortNames", json_pack("[s]", r->short_name));
	json_array_append_new(list, one);
	if (!r->has_status)
		return;
	snprintf(name, sizeof(name), "%s/status", r->plural);
	json_array_append_new(list,
		json_pack("{s:s, s:s, s:b, s:s, s:[s,s,s]}", "name", name, "singularName", "",
			"namespaced", r->namespaced, "kind", r->kind, "verbs", "get", "patch",
			"update"));
}

static json_t *group_resources(const struct standin *si, const char *group)
{
	json_t *list = json_array();
	char version[160];

	snprintf(version, sizeof(version), "%s%sv1", group, *group ? "/" : "");
	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (si->store.tables[i].served && !strcmp(resources[i].group, group))
			append_resource(list, &resources[i]);
	return json_pack("{s:s, s:s, s:s, s:o}", "kind", "APIResourceList", "apiVersion", "v1",
		"groupVersion", version, "resources", list);
}

static bool reply_and_free(struct http_conn *c, json_t *body)
{
	reply_json(c, 200, body);
	json_decref(body);
	return true;
}

/*
 * kubectl wants the OpenAPI document as protobuf: an openapi.v2.Document that names no types, so
 * that it validates nothing.
 */
static bool openapi(struct http_conn *c, const struct http_request *req)
{
	static const char document[] = "\x0a\x03"
				       "2.0"
				       "\x12\x0e\x0a\x07"
				       "standin"
				       "\x12\x03"
				       "1.0";
	const char *accept = http_header(req, "Accept");

	if (accept && strstr(accept, "protobuf")) {
		http_reply(c, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
			document, sizeof(document) - 1);
		return true;
	}
	return reply_and_free(c,
		json_pack("{s:s, s:{s:s, s:s}, s:{}, s:{}}", "swagger", "2.0", "info", "title",
			"standin", "version", "1.0", "paths", "definitions"));
}

static bool group_path(struct standin *si, struct http_conn *c, const char *path)
{
	char group[128];
	const char *slash = strchrnul(path, '/');

	if ((size_t)(slash - path) >= sizeof(group))
		return false;
	memcpy(group, path, (size_t)(slash - path));
	group[slash - path] = '\0';
	if (!*group || !group_served(si, group))
		return false;
	if (!*slash) {
		json_t *body = group_json(group);

		json_object_set_new(body, "kind", json_string("APIGroup"));
		json_object_set_new(body, "apiVersion", json_string("v1"));
		return reply_and_free(c, body);
	}
	return !strcmp(slash, "/v1") && reply_and_free(c, group_resources(si, group));
}

static bool is_health(const char *path)
{
	return !strcmp(path, "/healthz") || !strcmp(path, "/livez") || !strcmp(path, "/readyz");
}

bool discovery_request(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	const char *path = req->path;

	if (strcmp(req->method, "GET"))
		return false;
	if (is_health(path)) {
		http_reply(c, 200, "text/plain; charset=utf-8", "ok", 2);
		return true;
	}
	if (!strcmp(path, "/version") || !strcmp(path, "/version/"))
		return reply_and_free(c,
			json_pack("{s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", "33",
				"gitVersion", "v1.33.0+sluice-standin", "gitTreeState", "clean",
				"platform", "linux/amd64"));
	if (!strcmp(path, "/api"))
		return reply_and_free(c,
			json_pack("{s:s, s:[s], s:[]}", "kind", "APIVersions", "versions", "v1",
				"serverAddressByClientCIDRs"));
	if (!strcmp(path, "/apis"))
		return reply_and_free(c, groups(si));
	if (!strcmp(path, "/api/v1"))
		return reply_and_free(c, group_resources(si, ""));
	if (!strcmp(path, "/openapi/v2"))
		return openapi(c, req);
	return !strncmp(path, "/apis/", 6) && group_path(si, c, path + 6);
}
