/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The verbs that change: create, delete, raw (see verbs.h). What is right and wrong is the
 * daemon's to say. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/verbs.h"

static int usage(const char *what)
{
	say_error("%s", what);
	say_hint("sluicectl help tells more");
	return EXIT_USAGE;
}

/* --- create ---------------------------------------------------------------------------------- */

/* Which key=value word goes where in the body, and as what. */
static const struct field {
	const char *word;
	const char *key;
	char kind; /* s text, n number, b truth, a list of texts */
	bool port; /* inside newPort */
} fields[] = {
	{"role", "role", 's', false},
	{"port", "port", 's', false},
	{"vlan", "vlan", 'n', false},
	{"mtu", "mtu", 'n', false},
	{"zone", "zone", 'n', false},
	{"sourceGuard", "sourceGuard", 'b', false},
	{"mac", "mac", 's', false},
	{"peerMac", "peerMac", 's', false},
	{"address", "addresses", 'a', false},
	{"kind", "kind", 's', true},
	{"interface", "interface", 's', true},
	{"path", "path", 's', true},
	{"pci", "pci", 's', true},
	{"server", "server", 'b', true},
	{"memifId", "memifId", 'n', true},
	{"queues", "queues", 'n', true},
};

/* What is no number or truth goes as text: the daemon names the fault. */
static json_t *value_of(char kind, const char *text)
{
	char *end;
	long n;

	if (kind == 'n') {
		errno = 0;
		n = strtol(text, &end, 10);
		if (errno == 0 && *end == '\0' && end != text)
			return json_integer(n);
	}
	if (kind == 'b' && strcmp(text, "true") == 0)
		return json_true();
	if (kind == 'b' && strcmp(text, "false") == 0)
		return json_false();
	return json_string(text);
}

static int set_field(json_t *spec, const char *word)
{
	const char *equals = strchr(word, '=');
	json_t *object = spec, *list;

	for (size_t i = 0; equals != NULL && i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *f = &fields[i];

		if (strlen(f->word) != (size_t)(equals - word) ||
			strncmp(f->word, word, (size_t)(equals - word)) != 0)
			continue;
		if (f->port) {
			object = json_object_get(spec, "newPort");
			if (object == NULL) {
				object = json_object();
				json_object_set_new(spec, "newPort", object);
			}
		}
		if (f->kind != 'a')
			return json_object_set_new(object, f->key, value_of(f->kind, equals + 1));
		list = json_object_get(object, f->key);
		if (list == NULL) {
			list = json_array();
			json_object_set_new(object, f->key, list);
		}
		return json_array_append_new(list, json_string(equals + 1));
	}
	say_error("'%s' is no field of a vport", word);
	return -1;
}

/* "pod" is "Pod" to people. */
static void capitalize_role(json_t *spec)
{
	const char *role = json_string_value(json_object_get(spec, "role"));
	char text[16];

	if (role == NULL || strlen(role) >= sizeof(text) || role[0] < 'a' || role[0] > 'z')
		return;
	strcpy(text, role);
	text[0] = (char)(text[0] - 'a' + 'A');
	json_object_set_new(spec, "role", json_string(text));
}

static json_t *body_of_words(const struct request *r)
{
	json_t *spec = json_object();

	for (int i = 2; i < r->n_words; i++)
		if (set_field(spec, r->words[i]) != 0) {
			json_decref(spec);
			return NULL;
		}
	capitalize_role(spec);
	return json_pack("{s:s, s:{s:s}, s:o}", "kind", "VPort", "metadata", "name", r->words[1],
		"spec", spec);
}

static json_t *body_of_file(const char *path)
{
	json_error_t err;
	json_t *body =
		strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &err) : json_load_file(path, 0, &err);

	if (body == NULL)
		say_error("%s:%d: %s", path, err.line, err.text);
	return body;
}

int verb_create(struct request *r)
{
	json_t *body, *doc;
	int rc;

	if (r->file == NULL && (r->n_words < 2 || strcmp(r->words[0], "vport") != 0))
		return usage("create vport NAME role=ROLE port=PORT …, or create -f FILE");
	body = r->file != NULL ? body_of_file(r->file) : body_of_words(r);
	if (body == NULL)
		return EXIT_USAGE;
	rc = client_call(r, "POST", "/api/v1/vports", body, &doc);
	json_decref(body);
	if (rc != EXIT_OK)
		return rc;
	if (r->output == OUTPUT_JSON || r->output == OUTPUT_YAML)
		show_document(r, doc);
	else
		printf("vports/%s created\n", json_string_value(at_path(doc, "metadata.name")));
	json_decref(doc);
	return EXIT_OK;
}

/* --- delete ---------------------------------------------------------------------------------- */

static int delete_path(const struct request *r, const char *path)
{
	json_t *doc;
	int rc = client_call(r, "DELETE", path, NULL, &doc);

	if (rc != EXIT_OK)
		return rc;
	if (r->output == OUTPUT_JSON || r->output == OUTPUT_YAML)
		show_document(r, doc);
	else if (json_is_true(json_object_get(doc, "dryRun")))
		printf("%s flows match\n", json_string_value(json_object_get(doc, "matched")));
	else if (json_object_get(doc, "deleted") != NULL)
		printf("%s flows deleted\n", json_string_value(json_object_get(doc, "deleted")));
	else
		printf("vports/%s deleted\n", json_string_value(json_object_get(doc, "name")));
	json_decref(doc);
	return EXIT_OK;
}

static int delete_flows(const struct request *r, struct text *path)
{
	text_add(path, "/api/v1/flows", 13);
	if (r->n_words == 1 && !r->all)
		return usage("name a filter like src=10.244.1.7, or --all for every flow");
	if (!add_filters(path, r, 1))
		return usage("filters look like key=value");
	if (r->all)
		text_add(path, strchr(path->at, '?') != NULL ? "&all=true" : "?all=true", 9);
	if (r->dry_run)
		text_add(path, strchr(path->at, '?') != NULL ? "&dryRun=All" : "?dryRun=All", 11);
	return EXIT_OK;
}

int verb_delete(struct request *r)
{
	const char *slash = r->n_words > 0 ? strchr(r->words[0], '/') : NULL;
	size_t n = r->n_words > 0 ? strcspn(r->words[0], "/") : 0;
	const struct type *t = r->n_words > 0 ? type_find(r->words[0], n) : NULL;
	const char *name = slash != NULL ? slash + 1 : NULL;
	struct text path = {0};
	int rc = EXIT_OK;

	if (t == NULL || (strcmp(t->name, "flows") != 0 && strcmp(t->name, "vports") != 0))
		return usage("flows and vports can be deleted");
	if (name == NULL && strcmp(t->name, "vports") == 0 && r->n_words == 2)
		name = r->words[1];
	if (name != NULL) {
		text_add(&path, t->list, strlen(t->list));
		text_add(&path, "/", 1);
		text_escape(&path, name, "");
	} else if (strcmp(t->name, "flows") == 0) {
		rc = delete_flows(r, &path);
	} else {
		rc = usage("delete vport NAME");
	}
	if (rc == EXIT_OK)
		rc = delete_path(r, path.at);
	text_free(&path);
	return rc;
}

/* --- raw ------------------------------------------------------------------------------------- */

static int read_all(const char *path, struct text *out)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char buf[4096];
	size_t n;

	if (f == NULL) {
		say_error("%s: %s", path, strerror(errno));
		return EXIT_USAGE;
	}
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add(out, buf, n);
	if (f != stdin)
		fclose(f);
	return EXIT_OK;
}

int verb_raw(struct request *r)
{
	struct text body = {0};
	int rc = EXIT_OK;

	if (r->n_words != 2 || r->words[1][0] != '/')
		return usage("raw GET /path");
	if (r->file != NULL)
		rc = read_all(r->file, &body);
	if (rc == EXIT_OK)
		rc = client_raw(r, r->words[0], r->words[1], body.at);
	text_free(&body);
	return rc;
}
