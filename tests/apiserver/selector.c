/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Selector grammar as the Kubernetes API documents it: labels know =, ==, !=, in, notin, key and
 * !key; fields know =, == and != over a fixed list of paths. != and notin also match objects
 * that lack the key. No I/O, no state.
 */
#include "selector.h"

#include "store.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct scan {
	const char *p;
};

static void skip_space(struct scan *s)
{
	while (*s->p == ' ' || *s->p == '\t')
		s->p++;
}

/* a key or value: everything up to a delimiter */
static char *take_word(struct scan *s)
{
	size_t n;
	char *w;

	skip_space(s);
	n = strcspn(s->p, " \t,=!()");
	w = xcalloc(n + 1, 1);
	memcpy(w, s->p, n);
	s->p += n;
	skip_space(s);
	return w;
}

static bool take_token(struct scan *s, const char *token)
{
	size_t n = strlen(token);

	if (strncmp(s->p, token, n))
		return false;
	s->p += n;
	return true;
}

static struct requirement *add_requirement(struct selector *sel)
{
	sel->reqs = xrealloc(sel->reqs, (sel->n + 1) * sizeof(*sel->reqs));
	memset(&sel->reqs[sel->n], 0, sizeof(*sel->reqs));
	return &sel->reqs[sel->n++];
}

static void add_value(struct requirement *r, char *value)
{
	r->values = xrealloc(r->values, (r->n_values + 1) * sizeof(*r->values));
	r->values[r->n_values++] = value;
}

static int parse_set(struct scan *s, struct requirement *r)
{
	if (!take_token(s, "("))
		return -EINVAL;
	do {
		add_value(r, take_word(s));
	} while (take_token(s, ","));
	if (!take_token(s, ")"))
		return -EINVAL;
	skip_space(s);
	return 0;
}

static int parse_label_requirement(struct scan *s, struct requirement *r)
{
	skip_space(s);
	if (take_token(s, "!")) {
		r->op = OP_NOT_EXISTS;
		r->key = take_word(s);
		return *r->key ? 0 : -EINVAL;
	}
	r->key = take_word(s);
	if (!*r->key)
		return -EINVAL;
	if (!*s->p || *s->p == ',') {
		r->op = OP_EXISTS;
		return 0;
	}
	if (take_token(s, "!=")) {
		r->op = OP_NOT_EQUAL;
	} else if (take_token(s, "==") || take_token(s, "=")) {
		r->op = OP_EQUAL;
	} else {
		char *word = take_word(s);

		r->op = !strcmp(word, "in") ? OP_IN : OP_NOT_IN;
		if (r->op == OP_NOT_IN && strcmp(word, "notin")) {
			free(word);
			return -EINVAL;
		}
		free(word);
		return parse_set(s, r);
	}
	add_value(r, take_word(s));
	return 0;
}

static int find_field(const struct resource *res, const char *key, int *field)
{
	if (!strcmp(key, "metadata.name")) {
		*field = FIELD_NAME;
		return 0;
	}
	if (!strcmp(key, "metadata.namespace")) {
		*field = FIELD_NAMESPACE;
		return 0;
	}
	for (int i = 0; i < RESOURCE_FIELDS_MAX && res->fields[i]; i++) {
		if (!strcmp(res->fields[i], key)) {
			*field = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_field_requirement(
	struct scan *s, const struct resource *res, struct requirement *r, char **error)
{
	r->key = take_word(s);
	if (take_token(s, "!="))
		r->op = OP_NOT_EQUAL;
	else if (take_token(s, "==") || take_token(s, "="))
		r->op = OP_EQUAL;
	else
		return -EINVAL;
	add_value(r, take_word(s));
	if (find_field(res, r->key, &r->field)) {
		*error = xasprintf("field label not supported: %s", r->key);
		return -EINVAL;
	}
	return 0;
}

static int parse(const char *text, const struct resource *res, struct selector *sel, char **error)
{
	struct scan s = {.p = text ? text : ""};
	int rc = 0;

	memset(sel, 0, sizeof(*sel));
	skip_space(&s);
	while (*s.p && !rc) {
		struct requirement *r = add_requirement(sel);

		rc = res ? parse_field_requirement(&s, res, r, error)
			 : parse_label_requirement(&s, r);
		if (!rc && *s.p && !take_token(&s, ","))
			rc = -EINVAL;
	}
	if (rc) {
		if (!*error)
			*error = xasprintf("unable to parse requirement near %zu in selector '%s'",
				(size_t)(s.p - text), text);
		selector_fini(sel);
	}
	return rc;
}

int selector_parse_labels(const char *text, struct selector *sel, char **error)
{
	return parse(text, NULL, sel, error);
}

int selector_parse_fields(
	const char *text, const struct resource *res, struct selector *sel, char **error)
{
	return parse(text, res, sel, error);
}

void selector_fini(struct selector *sel)
{
	for (size_t i = 0; i < sel->n; i++) {
		struct requirement *r = &sel->reqs[i];

		for (size_t j = 0; j < r->n_values; j++)
			free(r->values[j]);
		free(r->values);
		free(r->key);
	}
	free(sel->reqs);
	memset(sel, 0, sizeof(*sel));
}

void filter_fini(struct filter *f)
{
	free(f->ns);
	free(f->name);
	selector_fini(&f->labels);
	selector_fini(&f->fields);
	memset(f, 0, sizeof(*f));
}

static bool in_values(const struct requirement *r, const char *value)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (!strcmp(r->values[i], value))
			return true;
	return false;
}

static bool label_match(const struct requirement *r, const struct object *obj)
{
	const char *value = object_label(obj, r->key);

	switch (r->op) {
	case OP_EXISTS:
		return value;
	case OP_NOT_EXISTS:
		return !value;
	case OP_EQUAL:
	case OP_IN:
		return value && in_values(r, value);
	case OP_NOT_EQUAL:
	case OP_NOT_IN:
		return !value || !in_values(r, value);
	}
	return false;
}

static bool field_match(const struct requirement *r, const struct object *obj)
{
	const char *value;

	if (r->field == FIELD_NAME)
		value = obj->name;
	else if (r->field == FIELD_NAMESPACE)
		value = obj->ns;
	else
		value = object_field(obj, r->field);
	return in_values(r, value) == (r->op == OP_EQUAL);
}

bool filter_match(const struct filter *f, const struct object *obj)
{
	if (f->ns && strcmp(f->ns, obj->ns))
		return false;
	if (f->name && strcmp(f->name, obj->name))
		return false;
	for (size_t i = 0; i < f->labels.n; i++)
		if (!label_match(&f->labels.reqs[i], obj))
			return false;
	for (size_t i = 0; i < f->fields.n; i++)
		if (!field_match(&f->fields.reqs[i], obj))
			return false;
	return true;
}
