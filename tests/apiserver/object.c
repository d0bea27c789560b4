/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Objects of the stand-in's store: made from JSON once, then immutable text with the few values
 * that selectors and writes need. Never validates beyond shape: tests push bad objects through.
 */
#include "store.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct packed {
	char *data;
	size_t len;
};

static void pack(struct packed *p, const char *s)
{
	size_t n = strlen(s) + 1;

	p->data = xrealloc(p->data, p->len + n);
	memcpy(p->data + p->len, s, n);
	p->len += n;
}

static char *pack_labels(const json_t *meta)
{
	struct packed p = {0};
	const char *key;
	json_t *value;

	json_object_foreach (json_object_get(meta, "labels"), key, value) {
		if (!*key || !json_is_string(value))
			continue;
		pack(&p, key);
		pack(&p, json_string_value(value));
	}
	pack(&p, "");
	return p.data;
}

static const char *path_value(const json_t *root, const char *path)
{
	char part[64];

	while (root) {
		const char *dot = strchrnul(path, '.');
		size_t n = (size_t)(dot - path);

		if (n >= sizeof(part))
			return "";
		memcpy(part, path, n);
		part[n] = '\0';
		root = json_object_get(root, part);
		if (!*dot)
			break;
		path = dot + 1;
	}
	return json_is_string(root) ? json_string_value(root) : "";
}

static char *pack_fields(const struct resource *res, const json_t *root)
{
	struct packed p = {0};

	for (int i = 0; i < RESOURCE_FIELDS_MAX && res->fields[i]; i++)
		pack(&p, path_value(root, res->fields[i]));
	pack(&p, "");
	return p.data;
}

char *object_key(const struct resource *res, const char *ns, const char *name)
{
	return res->namespaced ? xasprintf("%s/%s", ns, name) : xstrdup(name);
}

static struct object *object_new(const struct resource *res, const char *ns, const char *name)
{
	struct object *o = xcalloc(1, sizeof(*o));

	o->refs = 1;
	o->ns = xstrdup(res->namespaced ? ns : "");
	o->key = object_key(res, ns, name);
	o->name = o->key + strlen(o->key) - strlen(name);
	return o;
}

/* metadata (without its resource version) and the rest, joined to what follows the version */
static int make_tail(struct object *o, json_t *meta, const json_t *root)
{
	char *m = json_dumps(meta, JSON_COMPACT);
	char *r = json_dumps(root, JSON_COMPACT);

	if (m && r) {
		o->tail = xasprintf(",%s%s%s", m + 1, r[1] == '}' ? "" : ",", r + 1);
		o->tail_len = strlen(o->tail);
	}
	free(m);
	free(r);
	return o->tail ? 0 : -EINVAL;
}

int object_from_json(const struct resource *res, json_t *root, struct object **out)
{
	json_t *meta = json_object_get(root, "metadata");
	const char *name = jstr(meta, "name");
	struct object *o;
	int rc;

	if (!*name || strchr(name, '/') || strchr(jstr(meta, "namespace"), '/'))
		return -EINVAL;
	o = object_new(res, jstr(meta, "namespace"), name);
	o->uid = xstrdup(jstr(meta, "uid"));
	o->created = xstrdup(jstr(meta, "creationTimestamp"));
	o->labels = pack_labels(meta);
	o->fields = pack_fields(res, root);
	json_incref(meta);
	json_object_del(meta, "resourceVersion");
	json_object_del(root, "metadata");
	json_object_del(root, "kind");
	json_object_del(root, "apiVersion");
	rc = make_tail(o, meta, root);
	json_decref(meta);
	if (rc) {
		object_put(o);
		return rc;
	}
	*out = o;
	return 0;
}

struct object *object_from_text(const struct resource *res, const char *ns, const char *name,
	const char *labels, size_t labels_len, const char *fields, char *tail, size_t tail_len)
{
	struct object *o = object_new(res, ns, name);
	struct packed p = {0};

	o->uid = xstrdup("");
	o->created = xstrdup("");
	o->labels = xcalloc(labels_len, 1);
	memcpy(o->labels, labels, labels_len);
	for (int i = 0; i < RESOURCE_FIELDS_MAX && res->fields[i]; i++) {
		pack(&p, fields ? fields : "");
		if (fields)
			fields += strlen(fields) + 1;
	}
	pack(&p, "");
	o->fields = p.data;
	o->tail = tail;
	o->tail_len = tail_len;
	return o;
}

struct object *object_get(struct object *o)
{
	if (o)
		o->refs++;
	return o;
}

void object_put(struct object *o)
{
	if (!o || --o->refs)
		return;
	free(o->key);
	free(o->ns);
	free(o->uid);
	free(o->created);
	free(o->labels);
	free(o->fields);
	free(o->tail);
	free(o);
}

const char *object_label(const struct object *o, const char *key)
{
	for (const char *p = o->labels; *p;) {
		const char *value = p + strlen(p) + 1;

		if (!strcmp(p, key))
			return value;
		p = value + strlen(value) + 1;
	}
	return NULL;
}

const char *object_field(const struct object *o, int index)
{
	const char *p = o->fields;

	while (index-- > 0)
		p += strlen(p) + 1;
	return p;
}

void object_write(const struct object *o, const struct resource *res, uint64_t rv, bool typed,
	struct evbuffer *out)
{
	char version[64];

	if (typed)
		evbuffer_add_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",", res->kind,
			resource_api_version(res, version, sizeof(version)));
	else
		evbuffer_add(out, "{", 1);
	evbuffer_add_printf(
		out, "\"metadata\":{\"resourceVersion\":\"%llu\"", (unsigned long long)rv);
	evbuffer_add(out, o->tail, o->tail_len);
}

json_t *object_json(const struct object *o, const struct resource *res, bool typed)
{
	struct evbuffer *buf = evbuffer_new();
	json_t *root;
	size_t len;

	object_write(o, res, o->rv, typed, buf);
	len = evbuffer_get_length(buf);
	root = json_loadb((char *)evbuffer_pullup(buf, -1), len, JSON_ALLOW_NUL, NULL);
	evbuffer_free(buf);
	return root;
}
