/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* YAML text to a tree with line numbers. Anchors, aliases, tags, duplicate keys, several documents
 * and deep nesting are errors: a configuration is to be read by people, and none of them is
 * needed. Depth and size are bounded, so hostile input ends early. */

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "control/config_private.h"

void config_tree_free(struct yaml_node *n)
{
	if (n == NULL)
		return;
	for (uint32_t i = 0; i < n->n; i++) {
		config_tree_free(n->at[i]);
		if (n->keys != NULL)
			free(n->keys[i]);
	}
	free(n->at);
	free(n->keys);
	free(n->key_lines);
	free(n->text);
	free(n);
}

static struct yaml_node *node_new(enum yaml_kind kind, int line)
{
	struct yaml_node *n = calloc(1, sizeof(*n));

	if (n != NULL) {
		n->kind = kind;
		n->line = line;
	}
	return n;
}

/* Grows by doubling at powers of two. Takes ownership of key and value, also on failure. */
static bool node_add(struct yaml_node *n, char *key, int key_line, struct yaml_node *value)
{
	if ((n->n & (n->n - 1)) == 0) {
		uint32_t room = n->n == 0 ? 1 : n->n * 2;
		void *at = realloc(n->at, room * sizeof(*n->at));
		void *keys = NULL, *lines = NULL;

		if (at != NULL)
			n->at = at;
		if (n->kind == YAML_MAP) {
			keys = realloc(n->keys, room * sizeof(*n->keys));
			if (keys != NULL)
				n->keys = keys;
			lines = realloc(n->key_lines, room * sizeof(*n->key_lines));
			if (lines != NULL)
				n->key_lines = lines;
		}
		if (at == NULL || (n->kind == YAML_MAP && (keys == NULL || lines == NULL))) {
			free(key);
			config_tree_free(value);
			return false;
		}
	}
	n->at[n->n] = value;
	if (n->kind == YAML_MAP) {
		n->keys[n->n] = key;
		n->key_lines[n->n] = key_line;
	}
	n->n++;
	return true;
}

static void parser_error(struct loader *l, const yaml_parser_t *p)
{
	if (p->error == YAML_MEMORY_ERROR)
		config_error(l, 0, "memory", "out of memory");
	else
		config_error(l, (int)p->problem_mark.line + 1, "syntax", "%s",
			p->problem != NULL ? p->problem : "not YAML");
}

/* The next event whose kind matters; false when the parser failed (said so). */
static bool next_event(struct loader *l, yaml_parser_t *p, yaml_event_t *ev)
{
	if (yaml_parser_parse(p, ev) != 0)
		return true;
	parser_error(l, p);
	return false;
}

static bool is_null(const yaml_event_t *ev)
{
	const char *v = (const char *)ev->data.scalar.value;

	return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		(v[0] == '\0' || strcmp(v, "~") == 0 || strcmp(v, "null") == 0);
}

static struct yaml_node *read_node(struct loader *l, yaml_parser_t *p, yaml_event_t *ev, int depth);

static struct yaml_node *read_scalar(struct loader *l, const yaml_event_t *ev, int line)
{
	struct yaml_node *n;

	if (ev->data.scalar.anchor != NULL || ev->data.scalar.tag != NULL) {
		config_error(l, line, "syntax", "anchors and tags are not allowed");
		return NULL;
	}
	if (strlen((const char *)ev->data.scalar.value) != ev->data.scalar.length) {
		config_error(l, line, "syntax", "a value holds a NUL character");
		return NULL;
	}
	n = node_new(is_null(ev) ? YAML_NULL : YAML_TEXT, line);
	if (n != NULL) {
		n->text = strdup((const char *)ev->data.scalar.value);
		if (n->text == NULL) {
			config_tree_free(n);
			n = NULL;
		}
	}
	if (n == NULL)
		config_error(l, line, "memory", "out of memory");
	return n;
}

/* A map's key; NULL when it is none (said so). */
static char *read_key(struct loader *l, const struct yaml_node *map, const yaml_event_t *ev)
{
	int line = (int)ev->start_mark.line + 1;
	const char *text;
	char *key;

	if (ev->type != YAML_SCALAR_EVENT || ev->data.scalar.anchor != NULL ||
		ev->data.scalar.tag != NULL) {
		config_error(l, line, "syntax", "a key must be plain text");
		return NULL;
	}
	text = (const char *)ev->data.scalar.value;
	for (uint32_t i = 0; i < map->n; i++)
		if (strcmp(map->keys[i], text) == 0) {
			config_error(l, line, text, "duplicate key, first in line %d",
				map->key_lines[i]);
			return NULL;
		}
	key = strdup(text);
	if (key == NULL)
		config_error(l, line, "memory", "out of memory");
	return key;
}

static struct yaml_node *read_collection(
	struct loader *l, yaml_parser_t *p, enum yaml_kind kind, int line, int depth)
{
	const yaml_event_type_t end =
		kind == YAML_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
	struct yaml_node *n = node_new(kind, line);
	yaml_event_t ev;

	if (n == NULL) {
		config_error(l, line, "memory", "out of memory");
		return NULL;
	}
	while (next_event(l, p, &ev)) {
		struct yaml_node *value;
		int key_line = (int)ev.start_mark.line + 1;
		char *key = NULL;

		if (ev.type == end) {
			yaml_event_delete(&ev);
			return n;
		}
		if (kind == YAML_MAP) {
			key = read_key(l, n, &ev);
			yaml_event_delete(&ev);
			if (key == NULL || !next_event(l, p, &ev)) {
				free(key);
				break;
			}
		}
		value = read_node(l, p, &ev, depth + 1);
		yaml_event_delete(&ev);
		if (value == NULL) {
			free(key);
			break;
		}
		if (!node_add(n, key, key_line, value)) {
			config_error(l, line, "memory", "out of memory");
			break;
		}
	}
	config_tree_free(n);
	return NULL;
}

static struct yaml_node *read_node(struct loader *l, yaml_parser_t *p, yaml_event_t *ev, int depth)
{
	int line = (int)ev->start_mark.line + 1;

	if (depth > CONFIG_DEPTH_MAX) {
		config_error(l, line, "syntax", "nested deeper than %d", CONFIG_DEPTH_MAX);
		return NULL;
	}
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(l, ev, line);
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		if (ev->type == YAML_MAPPING_START_EVENT ? ev->data.mapping_start.anchor != NULL ||
					ev->data.mapping_start.tag != NULL
							 : ev->data.sequence_start.anchor != NULL ||
					ev->data.sequence_start.tag != NULL) {
			config_error(l, line, "syntax", "anchors and tags are not allowed");
			return NULL;
		}
		return read_collection(l, p,
			ev->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST, line, depth);
	case YAML_ALIAS_EVENT:
		config_error(l, line, "syntax", "aliases are not allowed");
		return NULL;
	default:
		config_error(l, line, "syntax", "unexpected structure");
		return NULL;
	}
}

/* Up to the document's content, and behind it to the end of the stream. */
static struct yaml_node *read_document(struct loader *l, yaml_parser_t *p)
{
	struct yaml_node *root = NULL;
	yaml_event_t ev;

	while (next_event(l, p, &ev)) {
		yaml_event_type_t type = ev.type;
		int line = (int)ev.start_mark.line + 1;
		bool stop = false;

		if (type == YAML_STREAM_END_EVENT) {
			yaml_event_delete(&ev);
			return root != NULL ? root : node_new(YAML_NULL, 1);
		}
		if (type == YAML_DOCUMENT_START_EVENT && root != NULL) {
			config_error(l, line, "syntax", "more than one document");
			stop = true;
		} else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
			type != YAML_DOCUMENT_END_EVENT) {
			root = read_node(l, p, &ev, 0);
			stop = root == NULL;
		}
		yaml_event_delete(&ev);
		if (stop)
			break;
	}
	config_tree_free(root);
	return NULL;
}

struct yaml_node *config_tree_read(struct loader *l, const char *text, size_t len)
{
	struct yaml_node *root;
	yaml_parser_t p;

	if (yaml_parser_initialize(&p) == 0) {
		config_error(l, 0, "memory", "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)text, len);
	root = read_document(l, &p);
	yaml_parser_delete(&p);
	return root;
}
