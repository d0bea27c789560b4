/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * libyaml documents to jansson trees: anchors, block and flow styles, several documents a file.
 * Bounded against documents that grow by aliases. No I/O.
 */
#include "yaml_json.h"

#include "util.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

enum {
	DEPTH_MAX = 200,
	NODES_MAX = 2000000, /* after aliases are followed */
};

struct convert {
	yaml_document_t *doc;
	size_t nodes;
	char **error;
};

static json_t *convert_node(struct convert *cv, int index, int depth);

static json_t *fail(struct convert *cv, const yaml_node_t *node, const char *what)
{
	if (!*cv->error)
		*cv->error = xasprintf("line %zu: %s", node->start_mark.line + 1, what);
	return NULL;
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (!strcasecmp(s, *words))
			return true;
	return false;
}

static json_t *number(const char *s)
{
	const char *digits = s + (*s == '-' || *s == '+');
	char *end;
	long long v;
	double d;

	if (!((*digits >= '0' && *digits <= '9') || *digits == '.'))
		return NULL;
	errno = 0;
	if (!strncmp(digits, "0o", 2))
		v = strtoll(digits + 2, &end, 8) * (*s == '-' ? -1 : 1);
	else
		v = strtoll(s, &end, 0);
	if (end != s && !*end && !errno)
		return json_integer(v);
	if (digits[strspn(digits, "0123456789.eE+-")])
		return NULL;
	d = strtod(s, &end);
	return *end || !isfinite(d) ? NULL : json_real(d);
}

/* the words of YAML 1.1, which Kubernetes' own tools still follow */
static json_t *plain_scalar(const char *s)
{
	static const char *const yes[] = {"true", "yes", "on", NULL};
	static const char *const no[] = {"false", "no", "off", NULL};
	json_t *v;

	if (!*s || !strcmp(s, "~") || !strcasecmp(s, "null"))
		return json_null();
	if (one_of(s, yes))
		return json_true();
	if (one_of(s, no))
		return json_false();
	v = number(s);
	return v ? v : json_string(s);
}

static json_t *convert_scalar(struct convert *cv, const yaml_node_t *node)
{
	const char *s = (const char *)node->data.scalar.value;
	json_t *v;

	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		strlen(s) == node->data.scalar.length)
		v = plain_scalar(s);
	else
		v = json_stringn(s, node->data.scalar.length);
	return v ? v : fail(cv, node, "text that is not UTF-8");
}

static json_t *convert_sequence(struct convert *cv, const yaml_node_t *node, int depth)
{
	json_t *list = json_array();
	yaml_node_item_t *item;

	for (item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		json_t *v = convert_node(cv, *item, depth + 1);

		if (!v) {
			json_decref(list);
			return NULL;
		}
		json_array_append_new(list, v);
	}
	return list;
}

static json_t *convert_mapping(struct convert *cv, const yaml_node_t *node, int depth)
{
	json_t *map = json_object();
	yaml_node_pair_t *pair;

	for (pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(cv->doc, pair->key);
		json_t *v;

		if (!key || key->type != YAML_SCALAR_NODE) {
			fail(cv, key ? key : node, "a key must be a scalar");
			break;
		}
		if (json_object_get(map, (const char *)key->data.scalar.value)) {
			fail(cv, key, "the key is there twice");
			break;
		}
		v = convert_node(cv, pair->value, depth + 1);
		if (!v)
			break;
		if (json_object_set_new(map, (const char *)key->data.scalar.value, v)) {
			fail(cv, key, "text that is not UTF-8");
			break;
		}
	}
	if (pair < node->data.mapping.pairs.top) {
		json_decref(map);
		return NULL;
	}
	return map;
}

static json_t *convert_node(struct convert *cv, int index, int depth)
{
	const yaml_node_t *node = yaml_document_get_node(cv->doc, index);

	if (!node)
		return json_null();
	if (depth > DEPTH_MAX || ++cv->nodes > NODES_MAX)
		return fail(cv, node, "the document is too deep or too large");
	switch (node->type) {
	case YAML_SCALAR_NODE:
		return convert_scalar(cv, node);
	case YAML_SEQUENCE_NODE:
		return convert_sequence(cv, node, depth);
	case YAML_MAPPING_NODE:
		return convert_mapping(cv, node, depth);
	default:
		return json_null();
	}
}

static int one_document(yaml_document_t *doc, yaml_document_fn fn, void *arg, char **error)
{
	const yaml_node_t *top = yaml_document_get_root_node(doc);
	struct convert cv = {.doc = doc, .error = error};
	json_t *root = convert_node(&cv, 1, 0);
	int rc;

	if (!root)
		return -EINVAL;
	/* a separator with nothing behind it is no document */
	rc = json_is_null(root) ? 0 : fn(arg, root, top->start_mark.line + 1, error);
	json_decref(root);
	return rc;
}

int yaml_each_document(const char *text, size_t len, yaml_document_fn fn, void *arg, char **error)
{
	yaml_parser_t parser;
	int rc = 0;
	bool end = false;

	yaml_parser_initialize(&parser);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (!rc && !end) {
		yaml_document_t doc;

		if (!yaml_parser_load(&parser, &doc)) {
			*error = xasprintf("line %zu: %s", parser.problem_mark.line + 1,
				parser.problem ? parser.problem : "not YAML");
			rc = -EINVAL;
			break;
		}
		end = !yaml_document_get_root_node(&doc);
		if (!end)
			rc = one_document(&doc, fn, arg, error);
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
	return rc;
}
