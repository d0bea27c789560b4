/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Loading: the tree is walked beside the schema, every error is collected with its line, then the
 * rules between keys are checked (config_check.c). Control thread. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config_private.h"

#define PATH_BYTES 200

/* --- errors ------------------------------------------------------------------------------------
 */

void config_error(struct loader *l, int line, const char *key, const char *fmt, ...)
{
	char reason[CONFIG_WHY_MAX + 100], text[CONFIG_WHY_MAX + 600], at[16] = "";
	struct config_errors *e = l->errors;
	va_list ap;
	char *grown;
	int n;

	if (e->n++ >= CONFIG_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	if (line > 0)
		snprintf(at, sizeof(at), "%d: ", line);
	n = snprintf(text, sizeof(text), "%.300s:%s%s%.150s: %s\n", l->path, at,
		line > 0 ? "" : " ", key, reason);
	if (n >= (int)sizeof(text)) {
		n = (int)sizeof(text) - 1;
		text[n - 1] = '\n';
	}
	/* Keys and values of the file are shown; what could disturb a terminal is not. */
	for (char *p = text; p < text + n - 1; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	grown = realloc(e->text, l->used + (size_t)n + 1);
	if (grown == NULL)
		return;
	e->text = grown;
	memcpy(grown + l->used, text, (size_t)n + 1);
	l->used += (size_t)n;
}

void config_errors_fini(struct config_errors *e)
{
	free(e->text);
	memset(e, 0, sizeof(*e));
}

/* --- defaults and freeing ------------------------------------------------------------------------
 */

static int defaults(const struct config_key *keys, uint32_t n, void *base)
{
	for (uint32_t i = 0; i < n; i++) {
		int err = config_value_default(&keys[i], base);

		if (err < 0)
			return err;
	}
	return 0;
}

void config_free(struct config *c)
{
	if (c == NULL)
		return;
	for (uint32_t i = 0; i < config_n_keys; i++) {
		const struct config_key *k = &config_keys[i];

		if (k->type != TYPE_LIST) {
			config_value_fini(k, c);
			continue;
		}
		for (uint32_t j = 0; j < config_list_count(k, c); j++)
			for (uint32_t m = 0; m < k->list->n_keys; m++)
				config_value_fini(
					&k->list->keys[m], (void *)config_list_entry(k, c, j));
		free(*(void **)(void *)((char *)c + k->offset2));
	}
	for (uint32_t i = 0; i < c->notes.n; i++)
		free(c->notes.at[i]);
	free(c->notes.at);
	free(c->path);
	free(c);
}

static struct config *config_new(const char *path)
{
	struct config *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->path = strdup(path);
	if (c->path == NULL || defaults(config_keys, config_n_keys, c) < 0) {
		config_free(c);
		return NULL;
	}
	return c;
}

/* --- unknown keys --------------------------------------------------------------------------------
 */

/* Changes, insertions and removals of a character that lead from a to b. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[64], n = (unsigned)strlen(b);

	if (n >= 64)
		return 64;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 1; *a != '\0'; a++, i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= n; j++) {
			unsigned up = row[j], best = diagonal + (*a != b[j - 1]);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = up;
			row[j] = best;
		}
	}
	return row[n];
}

/* Compares one part of each known path behind prefix. */
static void unknown_key(struct loader *l, int line, const char *prefix, const char *key,
	const struct config_key *keys, uint32_t n)
{
	char path[PATH_BYTES], part[64], best[64] = "";
	unsigned nearest = 4;
	size_t skip = strlen(prefix);

	for (uint32_t i = 0; i < n && strlen(key) < 64; i++) {
		const char *rest = keys[i].path + skip;
		unsigned d;

		if (strncmp(keys[i].path, prefix, skip) != 0)
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)strcspn(rest, "."), rest);
		d = distance(key, part);
		if (d < nearest && d < strlen(part)) {
			nearest = d;
			strcpy(best, part);
		}
	}
	snprintf(path, sizeof(path), "%s%.100s", prefix, key);
	if (best[0] != '\0')
		config_error(l, line, path, "unknown key; did you mean %s?", best);
	else
		config_error(l, line, path, "unknown key");
}

/* --- lists of entries ------------------------------------------------------------------------ */

static void load_entry_key(struct loader *l, const struct config_key *list, uint32_t index,
	void *entry, const struct yaml_node *map, uint32_t i, uint64_t *seen)
{
	const struct config_list *schema = list->list;
	char path[PATH_BYTES], why[CONFIG_WHY_MAX];
	int err;

	for (uint32_t j = 0; j < schema->n_keys; j++) {
		const struct config_key *k = &schema->keys[j];

		if (strcmp(k->path, map->keys[i]) != 0)
			continue;
		/* The port kind null is written like YAML's null. */
		if (map->at[i]->kind == YAML_NULL && k->type == TYPE_ENUM &&
			strcmp(map->at[i]->text, "null") == 0)
			map->at[i]->kind = YAML_TEXT;
		if (map->at[i]->kind == YAML_NULL)
			return;
		*seen |= UINT64_C(1) << j;
		config_value_fini(k, entry);
		err = config_value_read(k, map->at[i], entry, why);
		if (err < 0) {
			snprintf(path, sizeof(path), "%s[%u].%s", list->path, index, k->path);
			config_error(l, map->at[i]->line, path, "%s",
				err == -ENOMEM ? "out of memory" : why);
		}
		return;
	}
	snprintf(path, sizeof(path), "%s[%u].%.100s", list->path, index, map->keys[i]);
	config_error(l, map->key_lines[i], path, "unknown key");
}

static void load_entry(struct loader *l, const struct config_key *list, uint32_t index, void *entry,
	const struct yaml_node *node)
{
	char path[PATH_BYTES];
	uint64_t seen = 0;

	*(int *)(void *)((char *)entry + list->list->line_offset) = node->line;
	snprintf(path, sizeof(path), "%s[%u]", list->path, index);
	if (node->kind != YAML_MAP) {
		config_error(l, node->line, path, "is not a map of keys and values");
		return;
	}
	for (uint32_t i = 0; i < node->n; i++)
		load_entry_key(l, list, index, entry, node, i, &seen);
	for (uint32_t j = 0; j < list->list->n_keys; j++)
		if (list->list->keys[j].required && (seen & UINT64_C(1) << j) == 0)
			config_error(
				l, node->line, path, "%s is required", list->list->keys[j].path);
}

static void load_list(struct loader *l, const struct config_key *k, const struct yaml_node *node)
{
	const struct config_list *schema = k->list;
	uint32_t *n = (void *)((char *)l->config + k->offset);
	void **entries = (void *)((char *)l->config + k->offset2);

	if (node->kind != YAML_LIST) {
		config_error(l, node->line, k->path, "is not a list");
		return;
	}
	if (node->n > k->max) {
		config_error(l, node->line, k->path, "has %u entries; at most %u are allowed",
			node->n, k->max);
		return;
	}
	*entries = calloc(node->n + 1, schema->entry_size);
	if (*entries == NULL) {
		config_error(l, node->line, k->path, "out of memory");
		return;
	}
	for (uint32_t i = 0; i < node->n; i++) {
		char *entry = (char *)*entries + (size_t)i * schema->entry_size;

		(*n)++;
		if (defaults(schema->keys, schema->n_keys, entry) < 0)
			config_error(l, node->line, k->path, "out of memory");
		load_entry(l, k, i, entry, node->at[i]);
	}
}

/* --- maps ------------------------------------------------------------------------------------ */

static bool is_section(const char *path)
{
	size_t n = strlen(path);

	for (uint32_t i = 0; i < config_n_keys; i++)
		if (strncmp(config_keys[i].path, path, n) == 0 && config_keys[i].path[n] == '.')
			return true;
	return false;
}

static void load_value(struct loader *l, int row, const struct yaml_node *node)
{
	const struct config_key *k = &config_keys[row];
	char why[CONFIG_WHY_MAX];
	int err;

	if (node->kind == YAML_NULL) {
		/* A listener that is on by default is turned off so. */
		if (k->type == TYPE_LISTEN)
			config_value_fini(k, l->config);
		return;
	}
	l->lines[row] = node->line;
	if (k->type == TYPE_FIELDS) {
		l->kube_proxy = node;
		return;
	}
	if (k->type == TYPE_LIST) {
		load_list(l, k, node);
		return;
	}
	config_value_fini(k, l->config);
	err = config_value_read(k, node, l->config, why);
	if (err < 0)
		config_error(l, node->line, k->path, "%s", err == -ENOMEM ? "out of memory" : why);
}

static void load_map(struct loader *l, const char *prefix, const struct yaml_node *map)
{
	for (uint32_t i = 0; i < map->n; i++) {
		const struct yaml_node *v = map->at[i];
		char path[PATH_BYTES];
		bool whole;
		int row;

		whole = snprintf(path, sizeof(path) - 1, "%s%s", prefix, map->keys[i]) <
			(int)sizeof(path) - 1;
		row = whole && strchr(map->keys[i], '.') == NULL ? config_row(path) : -1;
		if (row >= 0) {
			load_value(l, row, v);
		} else if (whole && strchr(map->keys[i], '.') == NULL && is_section(path)) {
			if (v->kind == YAML_MAP) {
				strcat(path, ".");
				load_map(l, path, v);
			} else if (v->kind != YAML_NULL) {
				config_error(l, v->line, path, "is not a map of keys and values");
			}
		} else {
			unknown_key(l, map->key_lines[i], prefix, map->keys[i], config_keys,
				config_n_keys);
		}
	}
}

/* --- the file -------------------------------------------------------------------------------- */

static int host_name(struct config *c)
{
	char name[256];

	if (c->node.name != NULL)
		return 0;
	if (gethostname(name, sizeof(name)) < 0)
		return -errno;
	name[sizeof(name) - 1] = '\0';
	c->node.name = strdup(name);
	return c->node.name != NULL ? 0 : -ENOMEM;
}

struct config *config_default(void)
{
	struct config *c = config_new("(defaults)");

	if (c != NULL && host_name(c) < 0) {
		config_free(c);
		return NULL;
	}
	return c;
}

static bool sets_anything(const struct loader *l)
{
	for (uint32_t i = 0; i < config_n_keys; i++)
		if (l->lines[i] != 0 && i != (uint32_t)config_row("apiVersion") &&
			i != (uint32_t)config_row("kind"))
			return true;
	return false;
}

static void load(struct loader *l, const char *text, size_t len)
{
	struct yaml_node *root = config_tree_read(l, text, len);

	if (root == NULL)
		return;
	if (root->kind == YAML_MAP)
		load_map(l, "", root);
	else if (root->kind != YAML_NULL)
		config_error(l, root->line, "document", "is not a map of keys and values");
	if (l->kube_proxy != NULL)
		config_kube_proxy(l, l->kube_proxy);
	config_tree_free(root);
	if (host_name(l->config) < 0)
		config_error(l, 0, "node.name", "the machine's host name is not to be had");
	/* What could not be read would only give errors that are none. */
	if (l->errors->n == 0)
		config_check(l);
	if (l->errors->n == 0 && l->running && !sets_anything(l))
		config_error(l, 0, "document",
			"sets nothing: every vport would go; what is in force stays");
}

static int load_text(const char *path, bool running, const char *text, size_t len,
	struct config **out, struct config_errors *errors)
{
	struct loader l = {.path = path, .errors = errors, .running = running};

	memset(errors, 0, sizeof(*errors));
	*out = NULL;
	l.config = config_new(path);
	l.lines = calloc(config_n_keys, sizeof(*l.lines));
	if (l.config == NULL || l.lines == NULL)
		config_error(&l, 0, "memory", "out of memory");
	else if (len > CONFIG_BYTES_MAX)
		config_error(&l, 0, "file", "is larger than %u bytes", CONFIG_BYTES_MAX);
	else
		load(&l, text, len);
	free(l.lines);
	if (errors->n != 0) {
		config_free(l.config);
		return -EINVAL;
	}
	*out = l.config;
	return 0;
}

int config_load_text(const char *path, const char *text, size_t len, struct config **out,
	struct config_errors *errors)
{
	return load_text(path, false, text, len, out, errors);
}

char *config_read_file(const char *path, size_t *len)
{
	size_t room = CONFIG_BYTES_MAX + 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat st;
	char *text;

	if (fd < 0)
		return NULL;
	text = malloc(room);
	*len = 0;
	if (text == NULL || fstat(fd, &st) < 0)
		err = errno;
	else if (S_ISDIR(st.st_mode))
		err = EISDIR;
	while (err == 0 && *len < room) {
		ssize_t n = read(fd, text + *len, room - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = errno;
		if (n <= 0)
			break;
		*len += (size_t)n;
	}
	close(fd);
	if (err != 0) {
		free(text);
		errno = err;
		return NULL;
	}
	return text;
}

static int load_file(
	const char *path, bool running, struct config **out, struct config_errors *errors)
{
	size_t len;
	char *text = config_read_file(path, &len);
	int err;

	if (text == NULL) {
		struct loader l = {.path = path, .errors = errors};

		err = -errno;
		memset(errors, 0, sizeof(*errors));
		*out = NULL;
		config_error(&l, 0, "file", "%s", strerror(-err));
		return err;
	}
	err = load_text(path, running, text, len, out, errors);
	free(text);
	return err;
}

int config_load(const char *path, struct config **out, struct config_errors *errors)
{
	return load_file(path, false, out, errors);
}

int config_reload(const char *path, struct config **out, struct config_errors *errors)
{
	return load_file(path, true, out, errors);
}
