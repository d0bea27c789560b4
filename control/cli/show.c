/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Documents as tables, JSON, YAML, names, and the status screen (see cli.h). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"

#define CELL_MAX 512

/* --- tables ---------------------------------------------------------------------------------- */

void table_init(struct table *t, const struct type *type, const struct request *r)
{
	memset(t, 0, sizeof(*t));
	t->type = type;
	t->wide = r->output == OUTPUT_WIDE;
	t->header_due = r->headers;
	t->event = r->watch_events;
}

static void cell_text(const struct column *c, const json_t *item, const json_t *parent, char *out)
{
	if (c->cell != NULL)
		c->cell(item, parent, out, CELL_MAX);
	else
		cell_value(at_path(item, c->path), out, CELL_MAX);
	/* Names come from a cluster: nothing of them may move the cursor. */
	for (char *s = out; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* Calls fn for each row: an item, or each member of its parts. */
static void each_row(const struct table *t, const json_t *items,
	void (*fn)(struct table *t, const json_t *item, const json_t *parent))
{
	const json_t *item, *part;
	size_t i, k;

	json_array_foreach (items, i, item) {
		if (t->type->parts == NULL) {
			fn((struct table *)t, item, NULL);
			continue;
		}
		json_array_foreach (json_object_get(item, t->type->parts), k, part)
			fn((struct table *)t, part, item);
	}
}

static void measure(struct table *t, const json_t *item, const json_t *parent)
{
	char text[CELL_MAX];
	int i = 0;

	for (const struct column *c = t->type->columns; c->title != NULL; c++, i++) {
		cell_text(c, item, parent, text);
		if ((int)strlen(text) > t->widths[i])
			t->widths[i] = (int)strlen(text);
	}
}

static bool last_shown(const struct table *t, const struct column *c)
{
	for (c++; c->title != NULL; c++)
		if (t->wide || !c->wide)
			return false;
	return true;
}

static const char *row_event;

static void print_row(struct table *t, const json_t *item, const json_t *parent)
{
	char text[CELL_MAX];
	int i = 0;

	if (t->event)
		printf("%-9s ", row_event != NULL ? row_event : "");
	for (const struct column *c = t->type->columns; c->title != NULL; c++, i++) {
		if (c->wide && !t->wide)
			continue;
		cell_text(c, item, parent, text);
		if (last_shown(t, c))
			printf("%s\n", text);
		else
			printf("%-*s ", t->widths[i], text);
	}
}

static void print_header(const struct table *t)
{
	int i = 0;

	if (t->event)
		printf("%-9s ", "EVENT");
	for (const struct column *c = t->type->columns; c->title != NULL; c++, i++) {
		if (c->wide && !t->wide)
			continue;
		if (last_shown(t, c))
			printf("%s\n", c->title);
		else
			printf("%-*s ", t->widths[i], c->title);
	}
}

void table_show(struct table *t, const json_t *items, const char *event)
{
	int i = 0;

	/* The first rows decide; a later one that is wider pushes its own line only. */
	if (t->widths[0] == 0) {
		for (const struct column *c = t->type->columns; c->title != NULL; c++, i++)
			t->widths[i] = (int)strlen(c->title);
		each_row(t, items, measure);
	}
	if (t->header_due && json_array_size(items) > 0) {
		print_header(t);
		t->header_due = false;
	}
	row_event = event;
	each_row(t, items, print_row);
	fflush(stdout);
}

/* --- names ----------------------------------------------------------------------------------- */

void show_names(const struct type *type, const json_t *items)
{
	static const char *const paths[] = {
		"metadata.name", "id", "name", "reason", "prefix", "address", "regarding.name"};
	const json_t *item;
	size_t i;

	json_array_foreach (items, i, item) {
		const char *ns = json_string_value(at_path(item, "metadata.namespace"));
		const char *name = NULL;

		for (size_t p = 0; name == NULL && p < sizeof(paths) / sizeof(paths[0]); p++)
			name = json_string_value(at_path(item, paths[p]));
		printf("%s/%s%s%s\n", type->name, ns != NULL ? ns : "", ns != NULL ? "/" : "",
			name != NULL ? name : "");
	}
}

/* --- YAML ------------------------------------------------------------------------------------ */

/* A scalar as JSON writes it is YAML too; keys of ours need no quotes. */
static void yaml_value(const json_t *v, int indent, bool in_list);

static void yaml_scalar(const json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

	printf(" %s\n", text != NULL ? text : "null");
	free(text);
}

static bool is_leaf(const json_t *v)
{
	return !(json_is_object(v) && json_object_size(v) > 0) &&
		!(json_is_array(v) && json_array_size(v) > 0);
}

static void yaml_child(const json_t *v, int indent)
{
	if (is_leaf(v)) {
		yaml_scalar(v);
		return;
	}
	putchar('\n');
	yaml_value(v, indent, false);
}

static void yaml_value(const json_t *v, int indent, bool in_list)
{
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach (v, i, child) {
			printf("%*s-", indent, "");
			if (is_leaf(child)) {
				yaml_scalar(child);
			} else if (json_is_object(child)) {
				putchar(' ');
				yaml_value(child, indent + 2, true);
			} else {
				putchar('\n');
				yaml_value(child, indent + 2, false);
			}
		}
		return;
	}
	json_object_foreach ((json_t *)v, key, child) {
		printf("%*s%s:", in_list ? 0 : indent, "", key);
		in_list = false;
		yaml_child(child, json_is_array(child) ? indent : indent + 2);
	}
}

void show_document(const struct request *r, const json_t *doc)
{
	if (r->output == OUTPUT_YAML) {
		if (is_leaf(doc))
			yaml_scalar(doc);
		else
			yaml_value(doc, 0, false);
		return;
	}
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* --- the status screen ----------------------------------------------------------------------- */

static const char *text(const json_t *doc, const char *path)
{
	static char ring[8][CELL_MAX];
	static int at;
	char *out = ring[at++ % 8];

	cell_value(at_path(doc, path), out, CELL_MAX);
	return out;
}

static void show_flows(const json_t *doc)
{
	static const char *const families[] = {"IPv4", "IPv6"};

	for (int f = 0; f < 2; f++) {
		const json_t *use = json_object_get(at_path(doc, "flows"), families[f]);

		printf("%-11s %s of %s %s, high water %s, refused %s\n", f == 0 ? "Flows" : "",
			text(use, "used"), text(use, "capacity"), families[f],
			text(use, "highWater"), text(use, "full"));
	}
}

static void show_sources(const json_t *doc)
{
	const json_t *list = at_path(doc, "kubernetes"), *s;
	size_t i;

	if (json_array_size(list) == 0)
		printf("Kubernetes  not configured\n");
	json_array_foreach (list, i, s) {
		printf("%-11s %s: %s, %s objects, heard %ss ago", i == 0 ? "Kubernetes" : "",
			text(s, "source"), text(s, "phase"), text(s, "objects"),
			text(s, "lastActivitySeconds"));
		if (json_is_string(at_path(s, "lastError")))
			printf(", %s", text(s, "lastError"));
		putchar('\n');
	}
}

static void show_drops(const json_t *doc)
{
	const json_t *list = at_path(doc, "drops.top"), *d;
	size_t i;

	printf("Drops       %s\n", text(doc, "drops.packets"));
	json_array_foreach (list, i, d)
		printf("            %s %s (%s)\n", text(d, "packets"), text(d, "reason"),
			text(d, "class"));
}

void show_overview(const json_t *doc)
{
	const json_t *list = at_path(doc, "checks"), *c;
	size_t i;

	printf("Node        %s, %s, sluiced %s, %s, up %ss\n", text(doc, "node"),
		text(doc, "status"), text(doc, "version"), text(doc, "dpdk"),
		text(doc, "uptimeSeconds"));
	json_array_foreach (list, i, c)
		printf("%-11s [%c] %s: %s\n", i == 0 ? "Checks" : "",
			strcmp(text(c, "status"), "Ok") == 0 ? '+' : '-', text(c, "name"),
			text(c, "detail"));
	json_array_foreach (at_path(doc, "conditions"), i, c)
		if (strcmp(text(c, "status"), "True") == 0)
			printf("            [!] %s: %s\n", text(c, "type"), text(c, "message"));
	printf("Workers     %s of %s turn\n", text(doc, "workers.running"),
		text(doc, "workers.total"));
	printf("Ports       %s of %s up, %s vports\n", text(doc, "ports.up"),
		text(doc, "ports.total"), text(doc, "vports"));
	printf("Packets     %s received, %s sent, %s made here\n", text(doc, "packets.received"),
		text(doc, "packets.sent"), text(doc, "packets.originated"));
	show_flows(doc);
	printf("Services    %s known, %s programmed, %s frontends, %s backends, %s pending\n",
		text(doc, "services.known"), text(doc, "services.programmed"),
		text(doc, "services.frontends"), text(doc, "services.backends"),
		text(doc, "services.pending"));
	if (strcmp(text(doc, "services.refusedObjects"), "0") != 0)
		printf("            %s objects refused: sluicectl get refusals\n",
			text(doc, "services.refusedObjects"));
	if (strcmp(text(doc, "services.conflicts"), "0") != 0)
		printf("            %s frontends claimed by several services: sluicectl get conflicts\n",
			text(doc, "services.conflicts"));
	show_sources(doc);
	printf("Buffers     %s of %s in use, hugepages: %s\n", text(doc, "buffers.used"),
		text(doc, "buffers.total"), text(doc, "buffers.hugepages"));
	show_drops(doc);
}
