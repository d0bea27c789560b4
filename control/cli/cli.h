/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* sluicectl: a thin client of the REST API. It parses words, asks, and lays out what came back;
 * what is decided is decided in the daemon.
 *
 * One table (table.c) of verbs, types, options and columns drives the parser, the help, the
 * completion and the manual page. One thread, blocking. */

#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEFAULT_SOCKET "/run/sluice/api.sock"

enum exit_code {
	EXIT_OK = 0,
	EXIT_ERROR = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,
	EXIT_CONNECT = 4, /* or a timeout */
	EXIT_CONFLICT = 5,
	EXIT_CONDITION = 6, /* status --check: not ready */
};

/* --- the table ------------------------------------------------------------------------------- */

/* Writes the cell of an item; parent is the item around it where a type lists parts of items. */
typedef void (*cell_fn)(const json_t *item, const json_t *parent, char *out, size_t size);

struct column {
	const char *title;
	const char *path; /* of the value in the item, with dots; or */
	cell_fn cell;
	bool wide; /* in -o wide only */
};

struct type {
	const char *name;    /* "services" */
	const char *aliases; /* "service svc" */
	const char *text;
	const char *list;    /* path of the list */
	const char *parts;   /* NULL, or the array inside an item whose members are the rows */
	const char *also;    /* NULL, or a type of the same document to show below in -o wide */
	const char *filters; /* key=value words that the server knows */
	bool has_one;        /* TYPE/NAME exists */
	bool watch;          /* the server gives such lists in pages, too */
	const struct column *columns;
};

struct option {
	const char *name; /* "--output" */
	char letter;
	const char *value; /* what it takes, NULL: nothing */
	const char *text;
};

struct request;

struct verb {
	const char *name;
	const char *usage; /* behind the name */
	const char *text;
	const char *words; /* for completion: first words, or "@types" */
	int (*run)(struct request *r);
};

extern const struct type types[]; /* a NULL name ends */
extern const struct option options[];
extern const struct verb verbs[];

const struct type *type_find(const char *name, size_t len);

/* --- what was asked -------------------------------------------------------------------------- */

enum output {
	OUTPUT_TABLE,
	OUTPUT_WIDE,
	OUTPUT_JSON,
	OUTPUT_YAML,
	OUTPUT_NAME,
};

struct request {
	const char *socket, *server;
	enum output output;
	bool watch, all, headers, watch_events, dry_run, check, man;
	const char *ns, *file;
	long limit, timeout;
	int n_words; /* behind the verb */
	char **words;
};

/* --- asking ---------------------------------------------------------------------------------- */

/* A method on a path; *out is the parsed body. An enum exit_code; errors have been said. */
int client_call(
	const struct request *r, const char *method, const char *path, json_t *body, json_t **out);
/* The body as it is, to standard output. */
int client_raw(const struct request *r, const char *method, const char *path, const char *body);
/* Lines of a stream, each to fn, until it returns false. */
int client_watch(const struct request *r, const char *path,
	bool (*fn)(void *arg, const char *line, size_t len), void *arg);

struct text {
	char *at;
	size_t len, size;
};

void text_add(struct text *t, const char *s, size_t n);
/* Percent-encoded; ok are bytes to keep beside the unreserved ones. */
void text_escape(struct text *t, const char *s, const char *ok);
void text_free(struct text *t);

void say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- showing --------------------------------------------------------------------------------- */

struct table {
	const struct type *type;
	bool wide, header_due, event;
	int widths[24];
};

void table_init(struct table *t, const struct type *type, const struct request *r);
/* Rows of items (an array); the widths are those of the first call. */
void table_show(struct table *t, const json_t *items, const char *event);
void show_document(const struct request *r, const json_t *doc);
void show_names(const struct type *type, const json_t *items);
void show_overview(const json_t *overview);

void help_all(void);
int help_verb(const char *name);
void help_man(void);
int help_completion(const char *shell);

/* Value at a dotted path; NULL when absent. */
const json_t *at_path(const json_t *item, const char *path);
void cell_value(const json_t *value, char *out, size_t size);
