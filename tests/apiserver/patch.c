/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * JSON merge patch (RFC 7396), and as much of the strategic merge patch as kubectl's apply, label,
 * annotate, scale and edit produce: maps merge, lists with a merge key merge by it, directives
 * ($patch, $retainKeys, $setElementOrder, $deleteFromPrimitiveList) are obeyed.
 */
#include "standin.h"
#include "util.h"

#include <stdlib.h>
#include <string.h>

void patch_merge(json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)patch, key, value) {
		json_t *old = json_object_get(target, key);

		if (json_is_null(value)) {
			json_object_del(target, key);
		} else if (json_is_object(value)) {
			if (!json_is_object(old)) {
				json_object_set_new(target, key, json_object());
				old = json_object_get(target, key);
			}
			patch_merge(old, value);
		} else {
			json_object_set(target, key, value);
		}
	}
}

/* lists whose elements merge; every other list is replaced whole. key "" merges plain values. */
static const struct {
	const char *plural; /* "*": any */
	const char *path;
	const char *key;
} merge_lists[] = {
	{"services", ".spec.ports", "port"},
	{"services", ".status.conditions", "type"},
	{"nodes", ".status.addresses", "type"},
	{"nodes", ".status.conditions", "type"},
	{"nodes", ".spec.podCIDRs", ""},
	{"pods", ".spec.containers", "name"},
	{"pods", ".spec.initContainers", "name"},
	{"pods", ".spec.volumes", "name"},
	{"pods", ".spec.containers.ports", "containerPort"},
	{"pods", ".status.podIPs", "ip"},
	{"pods", ".status.conditions", "type"},
	{"namespaces", ".status.conditions", "type"},
	{"*", ".metadata.ownerReferences", "uid"},
	{"*", ".metadata.finalizers", ""},
};

static const char *merge_key(const struct resource *res, const char *path)
{
	for (size_t i = 0; i < sizeof(merge_lists) / sizeof(merge_lists[0]); i++)
		if (!strcmp(merge_lists[i].path, path) &&
			(*merge_lists[i].plural == '*' ||
				!strcmp(merge_lists[i].plural, res->plural)))
			return merge_lists[i].key;
	return NULL;
}

static void merge_map(
	const struct resource *res, json_t *target, const json_t *patch, const char *path);

/* whether two elements are the same one by the merge key, "" comparing plain values */
static bool same_element(const json_t *a, const json_t *b, const char *key)
{
	if (!*key)
		return json_equal(a, b);
	a = json_object_get(a, key);
	b = json_object_get(b, key);
	return a && b && json_equal(a, b);
}

static size_t find_element(const json_t *list, const json_t *like, const char *key)
{
	size_t n = json_array_size(list), i = 0;

	while (i < n && !same_element(json_array_get(list, i), like, key))
		i++;
	return i;
}

static void merge_list(const struct resource *res, json_t *list, const json_t *patch,
	const char *key, const char *path)
{
	json_t *value;
	size_t i;

	json_array_foreach (patch, i, value) {
		size_t at = find_element(list, value, key);
		bool known = at < json_array_size(list);

		if (!strcmp(jstr(value, "$patch"), "delete")) {
			if (known)
				json_array_remove(list, at);
		} else if (known && *key) {
			merge_map(res, json_array_get(list, at), value, path);
		} else if (!known) {
			json_array_append_new(list, json_deep_copy(value));
		}
	}
}

/* the elements that the patch names come in its order, the others behind them */
static void set_order(json_t *target, const char *name, const json_t *order, const char *key)
{
	json_t *list = json_object_get(target, name);
	json_t *sorted, *value;
	size_t i;

	if (!json_is_array(list) || !json_is_array(order) || !key)
		return;
	sorted = json_array();
	json_array_foreach (order, i, value) {
		size_t at = find_element(list, value, key);

		if (at < json_array_size(list)) {
			json_array_append(sorted, json_array_get(list, at));
			json_array_remove(list, at);
		}
	}
	json_array_extend(sorted, list);
	json_object_set_new(target, name, sorted);
}

static void delete_values(json_t *target, const char *name, const json_t *values)
{
	json_t *list = json_object_get(target, name);
	json_t *value;
	size_t i;

	json_array_foreach (values, i, value) {
		size_t at = find_element(list, value, "");

		if (at < json_array_size(list))
			json_array_remove(list, at);
	}
}

static void retain_keys(json_t *target, const json_t *keys)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(target, next, key, value)
	{
		json_t *name = json_string(key);

		if (find_element(keys, name, "") == json_array_size(keys))
			json_object_del(target, key);
		json_decref(name);
	}
}

static bool has_prefix(const char *s, const char *prefix, const char **rest)
{
	size_t n = strlen(prefix);

	*rest = s + n;
	return !strncmp(s, prefix, n);
}

static void merge_value(const struct resource *res, json_t *target, const char *key, json_t *value,
	const char *path)
{
	char *sub = xasprintf("%s.%s", path, key);
	const char *list_key = merge_key(res, sub);
	json_t *old = json_object_get(target, key);

	if (json_is_null(value)) {
		json_object_del(target, key);
	} else if (json_is_object(value)) {
		if (!json_is_object(old)) {
			json_object_set_new(target, key, json_object());
			old = json_object_get(target, key);
		}
		merge_map(res, old, value, sub);
	} else if (json_is_array(value) && list_key) {
		if (!json_is_array(old)) {
			json_object_set_new(target, key, json_array());
			old = json_object_get(target, key);
		}
		merge_list(res, old, value, list_key, sub);
	} else {
		json_object_set(target, key, value);
	}
	free(sub);
}

static void merge_map(
	const struct resource *res, json_t *target, const json_t *patch, const char *path)
{
	const char *key, *name;
	json_t *value;

	if (!strcmp(jstr(patch, "$patch"), "replace"))
		json_object_clear(target);
	json_object_foreach ((json_t *)patch, key, value) {
		if (*key != '$')
			merge_value(res, target, key, value, path);
	}
	json_object_foreach ((json_t *)patch, key, value) {
		if (has_prefix(key, "$setElementOrder/", &name)) {
			char *sub = xasprintf("%s.%s", path, name);

			set_order(target, name, value, merge_key(res, sub));
			free(sub);
		} else if (has_prefix(key, "$deleteFromPrimitiveList/", &name)) {
			delete_values(target, name, value);
		} else if (!strcmp(key, "$retainKeys")) {
			retain_keys(target, value);
		}
	}
}

void patch_strategic(const struct resource *res, json_t *target, const json_t *patch)
{
	merge_map(res, target, patch, "");
}
