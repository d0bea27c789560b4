/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The configuration as people see it: JSON of what is in force, the differences of two, and the
 * reference with every key. All of it is read off the schema. Control and API threads; pure but
 * for allocation and the file printed to. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_private.h"

#define WRAP_COLUMNS 78

/* --- as JSON --------------------------------------------------------------------------------- */

static json_t *list_json(const struct config_key *k, const void *field)
{
	const struct config_strings *list = field;
	json_t *a = json_array();

	for (uint32_t i = 0; a != NULL && i < list->n; i++) {
		const struct config_addrs *addrs = field;
		const struct config_prefixes *prefixes = field;
		const struct config_cpus *cpus = field;
		char buf[IP_PREFIX_TEXT_MAX];

		if (k->type == TYPE_STRINGS)
			json_array_append_new(a, json_string(list->at[i]));
		else if (k->type == TYPE_CPUS)
			json_array_append_new(a, json_integer(cpus->at[i]));
		else if (k->type == TYPE_ADDRS)
			json_array_append_new(a, json_string(ip_format(&addrs->at[i], buf)));
		else
			json_array_append_new(
				a, json_string(ip_prefix_format(&prefixes->at[i], buf)));
	}
	return a;
}

static json_t *levels_json(const struct config_log *log)
{
	json_t *o = json_object();

	for (uint32_t i = 0; i < log->n_modules; i++)
		json_object_set_new(o, log->modules[i].name,
			json_string(log_level_names[log->modules[i].level]));
	return o;
}

/* The entries of ports, vports or routes. Keys that are not set are left out. */
static json_t *entries_json(const struct config_key *k, const void *base)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < config_list_count(k, base); i++) {
		const void *entry = config_list_entry(k, base, i);
		json_t *o = json_object();

		for (uint32_t j = 0; j < k->list->n_keys; j++) {
			json_t *v = config_value_json(&k->list->keys[j], entry);

			if (json_is_null(v))
				json_decref(v);
			else
				json_object_set_new(o, k->list->keys[j].path, v);
		}
		json_array_append_new(a, o);
	}
	return a;
}

json_t *config_value_json(const struct config_key *k, const void *base)
{
	const void *field = (const char *)base + k->offset;
	const struct config_range *range = field;
	const struct config_mac *mac = field;
	const struct ip_prefix *prefix = field;
	char buf[IP_PREFIX_TEXT_MAX];

	switch (k->type) {
	case TYPE_BOOL:
		return json_boolean(*(const bool *)field);
	case TYPE_UINT:
		return json_integer(*(const uint32_t *)field);
	case TYPE_MODE:
		return json_sprintf("%04o", *(const uint32_t *)field);
	case TYPE_ENUM:
		return *(const int *)field < 0 ? json_null()
					       : json_string(k->names[*(const int *)field]);
	case TYPE_ADDR:
	case TYPE_ADDR4:
	case TYPE_ADDR6:
		return ip_is_zero(field) ? json_null() : json_string(ip_format(field, buf));
	case TYPE_PREFIX:
		return prefix->family == PREFIX_NONE ? json_null()
						     : json_string(ip_prefix_format(prefix, buf));
	case TYPE_RANGE:
		return json_sprintf("%u-%u", range->min, range->max);
	case TYPE_MAC:
		return !mac->set ? json_null()
				 : json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac->bytes[0],
					   mac->bytes[1], mac->bytes[2], mac->bytes[3],
					   mac->bytes[4], mac->bytes[5]);
	case TYPE_ADDRS:
	case TYPE_PREFIXES:
	case TYPE_IFADDRS:
	case TYPE_STRINGS:
	case TYPE_CPUS:
		return list_json(k, field);
	case TYPE_NODEPORT:
		return *(const bool *)field ? json_string("primary")
					    : list_json(k, (const char *)base + k->offset2);
	case TYPE_FIELDS:
		/* They are shown as the keys they were given to. */
		return json_null();
	case TYPE_LEVELS:
		return levels_json(field);
	case TYPE_LIST:
		return entries_json(k, base);
	default:
		return *(char *const *)field == NULL ? json_null()
						     : json_string(*(char *const *)field);
	}
}

void config_type_text(const struct config_key *k, char *buf, size_t size)
{
	static const char *const texts[] = {
		[TYPE_BOOL] = "true or false",
		[TYPE_MODE] = "octal mode",
		[TYPE_TEXT] = "text",
		[TYPE_NAME] = "name",
		[TYPE_IFACE] = "interface name",
		[TYPE_FILE] = "path",
		[TYPE_SOCKET] = "path",
		[TYPE_URL] = "URL",
		[TYPE_LISTEN] = "address:port",
		[TYPE_PCI] = "PCI address",
		[TYPE_ADDR] = "IP address",
		[TYPE_ADDR4] = "IPv4 address",
		[TYPE_ADDR6] = "IPv6 address",
		[TYPE_ADDRS] = "list of IP addresses",
		[TYPE_PREFIX] = "IP prefix",
		[TYPE_PREFIXES] = "list of IP prefixes",
		[TYPE_IFADDRS] = "list of addresses, each with or without a prefix length",
		[TYPE_RANGE] = "range of ports, first-last",
		[TYPE_MAC] = "MAC address",
		[TYPE_CPUS] = "list of CPUs",
		[TYPE_STRINGS] = "list of texts",
		[TYPE_NODEPORT] = "primary, or list of IP prefixes",
		[TYPE_LEVELS] = "map of module to level",
		[TYPE_FIELDS] = "map of fields, or path",
		[TYPE_LIST] = "list",
	};
	size_t used = 0;

	if (k->type == TYPE_UINT) {
		snprintf(buf, size, "integer, %u to %u", k->min, k->max);
		return;
	}
	if (k->type != TYPE_ENUM) {
		snprintf(buf, size, "%s", texts[k->type]);
		return;
	}
	buf[0] = '\0';
	for (int i = 0; k->names[i] != NULL && used < size; i++)
		used += (size_t)snprintf(
			buf + used, size - used, "%s%s", i > 0 ? " | " : "", k->names[i]);
}

/* --- the whole configuration ----------------------------------------------------------------- */

/* Puts v where the dotted path leads, making the objects on the way. */
static int json_place(json_t *root, const char *path, json_t *v)
{
	const char *dot;
	char part[64];

	while ((dot = strchr(path, '.')) != NULL) {
		json_t *next;

		snprintf(part, sizeof(part), "%.*s", (int)(dot - path), path);
		next = json_object_get(root, part);
		if (next == NULL) {
			next = json_object();
			if (json_object_set_new(root, part, next) < 0) {
				json_decref(v);
				return -ENOMEM;
			}
		}
		root = next;
		path = dot + 1;
	}
	return json_object_set_new(root, path, v) < 0 ? -ENOMEM : 0;
}

json_t *config_to_json(const struct config *c)
{
	json_t *root = json_object();

	for (uint32_t i = 0; root != NULL && i < config_n_keys; i++) {
		json_t *v = config_value_json(&config_keys[i], c);

		if (json_place(root, config_keys[i].path, v) < 0) {
			json_decref(root);
			return NULL;
		}
	}
	return root;
}

/* Of two lists of entries only what the other does not have. */
static void drop_common(json_t *a, json_t *b)
{
	for (size_t i = json_array_size(a); i > 0; i--)
		for (size_t j = json_array_size(b); j > 0; j--)
			if (json_equal(json_array_get(a, i - 1), json_array_get(b, j - 1))) {
				json_array_remove(a, i - 1);
				json_array_remove(b, j - 1);
				break;
			}
}

int config_diff(const struct config *before, const struct config *after, struct config_diff *out)
{
	memset(out, 0, sizeof(*out));
	out->changes = calloc(config_n_keys, sizeof(*out->changes));
	if (out->changes == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		json_t *a = config_value_json(k, before), *b = config_value_json(k, after);

		if (!json_equal(a, b)) {
			struct config_change *c = &out->changes[out->n++];

			if (k->type == TYPE_LIST)
				drop_common(a, b);
			c->key = k->path;
			c->applied = k->reload;
			c->before = json_dumps(a, JSON_ENCODE_ANY | JSON_COMPACT);
			c->after = json_dumps(b, JSON_ENCODE_ANY | JSON_COMPACT);
			if (c->before == NULL || c->after == NULL) {
				json_decref(a);
				json_decref(b);
				config_diff_fini(out);
				return -ENOMEM;
			}
		}
		json_decref(a);
		json_decref(b);
	}
	return 0;
}

static void exchange(void *a, void *b, size_t size)
{
	char t[64];

	memcpy(t, a, size);
	memcpy(a, b, size);
	memcpy(b, t, size);
}

void config_keep_running(struct config *fresh, struct config *running)
{
	for (uint32_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];
		char *a = (char *)fresh, *b = (char *)running;

		if (k->reload)
			continue;
		exchange(a + k->offset, b + k->offset, config_value_size(k));
		if (k->type == TYPE_LIST)
			exchange(a + k->offset2, b + k->offset2, sizeof(void *));
	}
}

void config_diff_fini(struct config_diff *d)
{
	for (uint32_t i = 0; i < d->n; i++) {
		free(d->changes[i].before);
		free(d->changes[i].after);
	}
	free(d->changes);
	memset(d, 0, sizeof(*d));
}

/* --- the reference --------------------------------------------------------------------------- */

/* Wrapped; hang: the text is an item of a list, its later lines stand behind its first. */
static void print_comment(FILE *f, int indent, bool hang, const char *text)
{
	int column = 0;
	bool first = true;

	while (*text != '\0') {
		int n = (int)strcspn(text, " ");

		if (column > 0 && column + 1 + n > WRAP_COLUMNS) {
			fputc('\n', f);
			column = 0;
		}
		if (column == 0) {
			column = fprintf(f, "%*s#%s", indent, "", !hang ? "" : first ? " -" : "  ");
			first = false;
		}
		column += fprintf(f, " %.*s", n, text);
		text += n;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

static void print_key_comment(FILE *f, int indent, const char *name, const struct config_key *k)
{
	const char *def = name != NULL ? k->def : NULL;
	const char *reload = k->reload ? "; applied on reload" : "; needs a restart";
	char text[1024], type[256];

	config_type_text(k, type, sizeof(type));
	snprintf(text, sizeof(text), "%s%s%s (%s%s%s%s%s)", name != NULL ? name : "",
		name != NULL ? ": " : "", k->help, type, k->required ? "; required" : "",
		def != NULL ? "; default " : "", def != NULL ? def : "",
		name != NULL ? "" : reload);
	print_comment(f, indent, name != NULL, text);
}

/* The maps on the way to path that the previous key was not in. Returns the depth. */
static int print_sections(FILE *f, const char *path, const char *previous)
{
	const char *dot;
	int depth = 0;
	size_t upto;

	for (const char *at = path; (dot = strchr(at, '.')) != NULL; at = dot + 1, depth++) {
		upto = (size_t)(dot - path) + 1;
		if (strncmp(path, previous, upto) == 0)
			continue;
		if (depth == 0)
			fputc('\n', f);
		fprintf(f, "%*s%.*s:\n", depth * 2, "", (int)(dot - at), at);
	}
	return depth;
}

static int print_value(FILE *f, int indent, const char *name, const struct config_key *k,
	const struct config *defaults)
{
	json_t *v = config_value_json(k, defaults);
	char *text = json_dumps(v, JSON_ENCODE_ANY);

	json_decref(v);
	if (text == NULL)
		return -ENOMEM;
	fprintf(f, "%*s%s: %s\n", indent, "", name, text);
	free(text);
	return 0;
}

int config_print_reference(FILE *f)
{
	struct config *defaults = config_default();
	const char *previous = "";
	int err = 0;

	if (defaults == NULL)
		return -ENOMEM;
	/* The machine's name is no part of the reference. */
	free(defaults->node.name);
	defaults->node.name = NULL;
	print_comment(f, 0, false,
		"Configuration of sluiced: every key with its default. A file holds what differs "
		"from it. sluiced --check-config names every error of a file; SIGHUP applies the "
		"keys marked so and tells which others changed.");
	for (uint32_t i = 0; i < config_n_keys && err == 0; i++) {
		const struct config_key *k = &config_keys[i];
		int depth = print_sections(f, k->path, previous);
		const char *name = strrchr(k->path, '.');

		name = name != NULL ? name + 1 : k->path;
		if (depth == 0)
			fputc('\n', f);
		print_key_comment(f, depth * 2, NULL, k);
		for (uint32_t j = 0; k->type == TYPE_LIST && j < k->list->n_keys; j++)
			print_key_comment(f, depth * 2, k->list->keys[j].path, &k->list->keys[j]);
		err = print_value(f, depth * 2, name, k, defaults);
		previous = k->path;
	}
	config_free(defaults);
	return err < 0 ? err : ferror(f) ? -EIO : 0;
}
