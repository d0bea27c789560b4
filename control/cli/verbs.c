/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The verbs that look (see verbs.h). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/cli/verbs.h"

static int usage(const char *what)
{
	say_error("%s", what);
	say_hint("sluicectl help tells more");
	return EXIT_USAGE;
}

/* --- paths ----------------------------------------------------------------------------------- */

static void add_pair(struct text *t, const char *name, size_t len, const char *value)
{
	char key[64];

	snprintf(key, sizeof(key), "%.*s", (int)len, name);
	text_add(t, strchr(t->at, '?') != NULL ? "&" : "?", 1);
	text_escape(t, key, "");
	text_add(t, "=", 1);
	text_escape(t, value, "!,:/[]");
}

/* Words of the form key=value become the query. False when one is not. */
bool add_filters(struct text *t, const struct request *r, int from)
{
	for (int i = from; i < r->n_words; i++) {
		const char *equals = strchr(r->words[i], '=');

		if (equals == NULL)
			return false;
		add_pair(t, r->words[i], (size_t)(equals - r->words[i]), equals + 1);
	}
	return true;
}

static void add_number(struct text *t, const char *name, long value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%ld", value);
	add_pair(t, name, strlen(name), digits);
}

/* --- get ------------------------------------------------------------------------------------- */

struct listing {
	const struct request *r;
	const struct type *type;
	struct table table;
	json_t *all; /* collected for JSON and YAML */
	long shown;
};

static int show_one(struct listing *l, const char *path)
{
	json_t *doc, *items;
	int rc = client_call(l->r, "GET", path, NULL, &doc);

	if (rc != EXIT_OK)
		return rc;
	items = json_pack("[O]", doc);
	if (l->r->output == OUTPUT_JSON || l->r->output == OUTPUT_YAML)
		show_document(l->r, doc);
	else if (l->r->output == OUTPUT_NAME)
		show_names(l->type, items);
	else
		table_show(&l->table, items, NULL);
	json_decref(items);
	json_decref(doc);
	return EXIT_OK;
}

/* What belongs to these rows and is a table of its own. */
static void show_also(const struct listing *l, const json_t *items)
{
	const struct type *also = type_find(l->type->also, strlen(l->type->also));
	struct table t;

	table_init(&t, also, l->r);
	putchar('\n');
	table_show(&t, items, NULL);
}

static void show_page(struct listing *l, json_t *doc)
{
	json_t *items = json_object_get(doc, "items");

	/* Lists that come whole are cut here. */
	while (l->r->limit > 0 && l->shown + (long)json_array_size(items) > l->r->limit)
		json_array_remove(items, json_array_size(items) - 1);
	l->shown += (long)json_array_size(items);
	if (l->r->output == OUTPUT_NAME) {
		show_names(l->type, items);
	} else if (l->r->output == OUTPUT_TABLE || l->r->output == OUTPUT_WIDE) {
		table_show(&l->table, items, NULL);
		if (l->type->also != NULL && l->r->output == OUTPUT_WIDE &&
			json_array_size(items) != 0)
			show_also(l, items);
	} else if (l->all == NULL) {
		l->all = json_incref(doc);
	} else {
		json_array_extend(json_object_get(l->all, "items"), items);
		json_object_set(l->all, "metadata", json_object_get(doc, "metadata"));
	}
}

/* Says on standard error that there is more: output for programs stays clean. */
static void say_rest(const json_t *doc)
{
	const char *scanned = json_string_value(at_path(doc, "metadata.scanned"));

	fflush(stdout);
	fprintf(stderr, "(there is more%s%s%s; --all shows it)\n", scanned != NULL ? ": " : "",
		scanned != NULL ? scanned : "", scanned != NULL ? " entries looked at" : "");
}

static int show_list(struct listing *l, const char *base)
{
	bool flows = strcmp(l->type->name, "flows") == 0;
	char *cursor = NULL;
	bool more = true;
	int rc = EXIT_OK;

	while (more && rc == EXIT_OK) {
		long left = l->r->limit > 0 ? l->r->limit - l->shown : 0;
		struct text path = {0};
		const char *next;
		json_t *doc;

		text_add(&path, base, strlen(base));
		if (flows)
			add_number(&path, "limit",
				left > 0 && left < 5000         ? left
					: l->r->all || left > 0 ? 5000
								: 500);
		else if (left > 0 && l->type->watch)
			add_number(&path, "limit", left);
		if (cursor != NULL)
			add_pair(&path, "continue", 8, cursor);
		rc = client_call(l->r, "GET", path.at, NULL, &doc);
		text_free(&path);
		free(cursor);
		cursor = NULL;
		if (rc != EXIT_OK)
			break;
		show_page(l, doc);
		next = json_string_value(at_path(doc, "metadata.continue"));
		/* A page that ended early is not what was asked for: go on. */
		more = next != NULL &&
			(l->r->all || (l->r->limit > 0 && l->shown < l->r->limit) ||
				(l->r->limit == 0 && l->shown == 0));
		if (more)
			cursor = strdup(next);
		else if (next != NULL)
			say_rest(doc);
		json_decref(doc);
	}
	free(cursor);
	if (l->all != NULL)
		show_document(l->r, l->all);
	else if (rc == EXIT_OK && l->shown == 0 && l->r->output != OUTPUT_NAME)
		fprintf(stderr, "(no %s)\n", l->type->name);
	json_decref(l->all);
	return rc;
}

static bool show_event(void *arg, const char *line, size_t len)
{
	struct listing *l = arg;
	json_t *event = json_loadb(line, len, 0, NULL), *items;
	const char *kind = json_string_value(json_object_get(event, "type"));
	json_t *object = json_object_get(event, "object");

	if (kind == NULL || strcmp(kind, "BOOKMARK") == 0) {
		json_decref(event);
		return true;
	}
	if (strcmp(kind, "ERROR") == 0) {
		say_error("%s", json_string_value(json_object_get(object, "detail")));
		json_decref(event);
		return false;
	}
	items = json_pack("[O]", object);
	if (l->r->output == OUTPUT_JSON) {
		json_dumpf(l->r->watch_events ? event : object, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
	} else if (l->r->output == OUTPUT_NAME) {
		show_names(l->type, items);
	} else {
		table_show(&l->table, items, kind);
	}
	json_decref(items);
	json_decref(event);
	return true;
}

/* TYPE, TYPE/NAME or TYPE NAME; sets where the filters begin. */
static const struct type *parse_type(struct request *r, const char **name, int *filters)
{
	const char *word = r->words[0];
	size_t n = strcspn(word, "/");
	const struct type *t = type_find(word, n);

	*name = word[n] == '/' ? word + n + 1 : NULL;
	*filters = 1;
	if (*name == NULL && r->n_words > 1 && strchr(r->words[1], '=') == NULL) {
		*name = r->words[1];
		*filters = 2;
	}
	return t;
}

static int get_path(
	struct request *r, const struct type *t, const char *name, int filters, struct text *path)
{
	text_add(path, t->list, strlen(t->list));
	if (name != NULL) {
		if (!t->has_one)
			return usage("this type has no single objects: leave out the name");
		text_add(path, "/", 1);
		if (r->ns != NULL && strcmp(t->name, "services") == 0 &&
			strchr(name, '/') == NULL) {
			text_escape(path, r->ns, "");
			text_add(path, "/", 1);
		}
		text_escape(path, name, strcmp(t->name, "services") == 0 ? "/" : "");
	} else if (r->ns != NULL) {
		add_pair(path, "namespace", 9, r->ns);
	}
	if (!add_filters(path, r, filters))
		return usage("filters look like key=value");
	return EXIT_OK;
}

int verb_get(struct request *r)
{
	struct listing l = {.r = r};
	struct text path = {0};
	const char *name;
	int filters, rc;

	if (r->n_words == 0)
		return usage("get what? name a type");
	l.type = parse_type(r, &name, &filters);
	if (l.type == NULL)
		return usage("no such type");
	if (r->watch && (!l.type->watch || name != NULL))
		return usage("this cannot be watched");
	table_init(&l.table, l.type, r);
	rc = get_path(r, l.type, name, filters, &path);
	if (rc == EXIT_OK && r->watch) {
		add_pair(&path, "watch", 5, "true");
		rc = client_watch(r, path.at, show_event, &l);
	} else if (rc == EXIT_OK && (name != NULL || strcmp(l.type->name, "config") == 0)) {
		rc = show_one(&l, path.at);
	} else if (rc == EXIT_OK) {
		rc = show_list(&l, path.at);
	}
	text_free(&path);
	return rc;
}

/* "offload caps" is short for "get offload-caps". */
int verb_offload(struct request *r)
{
	static char caps[] = "offload-caps", rejections[] = "offload-rejections";

	if (r->n_words != 1)
		return usage("offload what? caps or rejections");
	if (strcmp(r->words[0], "caps") == 0)
		r->words[0] = caps;
	else if (strcmp(r->words[0], "rejections") == 0)
		r->words[0] = rejections;
	else
		return usage("offload what? caps or rejections");
	return verb_get(r);
}

/* --- status, lookup, version ----------------------------------------------------------------- */

int verb_status(struct request *r)
{
	json_t *doc;
	const char *status;
	int rc;

	if (r->n_words > 0)
		return usage("status takes no words");
	rc = client_call(r, "GET", "/api/v1/overview", NULL, &doc);
	if (rc != EXIT_OK)
		return rc;
	if (r->output == OUTPUT_JSON || r->output == OUTPUT_YAML)
		show_document(r, doc);
	else
		show_overview(doc);
	status = json_string_value(json_object_get(doc, "status"));
	if (r->check && (status == NULL || strcmp(status, "Ready") != 0))
		rc = EXIT_CONDITION;
	json_decref(doc);
	return rc;
}

int verb_lookup(struct request *r)
{
	struct listing l = {.r = r};
	struct text path = {0};
	json_t *doc;
	int rc;

	if (r->n_words < 2)
		return usage("lookup flow src=… dst=…, or lookup route ADDRESS");
	if (strcmp(r->words[0], "flow") == 0) {
		text_add(&path, "/api/v1/flows/lookup", 20);
		l.type = type_find("flows", 5);
		table_init(&l.table, l.type, r);
		rc = add_filters(&path, r, 1) ? show_one(&l, path.at)
					      : usage("name the tuple by key=value");
	} else if (strcmp(r->words[0], "route") == 0 && r->n_words == 2) {
		text_add(&path, "/api/v1/routes/lookup", 21);
		add_pair(&path, "dst", 3, r->words[1]);
		rc = client_call(r, "GET", path.at, NULL, &doc);
		if (rc == EXIT_OK) {
			struct request yaml = *r;

			yaml.output = r->output == OUTPUT_JSON ? OUTPUT_JSON : OUTPUT_YAML;
			show_document(&yaml, doc);
			json_decref(doc);
		}
	} else {
		rc = usage("lookup flow src=… dst=…, or lookup route ADDRESS");
	}
	text_free(&path);
	return rc;
}

int verb_version(struct request *r)
{
	json_t *doc;
	int rc;

	printf("sluicectl %s\n", SLUICE_VERSION);
	fflush(stdout);
	rc = client_call(r, "GET", "/version", NULL, &doc);
	if (rc != EXIT_OK)
		return rc;
	printf("sluiced   %s (%s, API %s)\n", json_string_value(json_object_get(doc, "version")),
		json_string_value(json_object_get(doc, "dpdk")),
		json_string_value(json_object_get(doc, "apiVersion")));
	json_decref(doc);
	return EXIT_OK;
}

int verb_completion(struct request *r)
{
	return help_completion(r->n_words > 0 ? r->words[0] : "bash");
}

int verb_help(struct request *r)
{
	if (r->man)
		help_man();
	else if (r->n_words > 0)
		return help_verb(r->words[0]);
	else
		help_all();
	return EXIT_OK;
}
