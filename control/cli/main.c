/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* sluicectl's command line: options may stand anywhere, the first word is the verb. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"

static int bad(const char *fmt, const char *word)
{
	say_error(fmt, word);
	say_hint("sluicectl help lists verbs and options");
	return EXIT_USAGE;
}

static const struct option *option_find(const char *word, size_t len)
{
	for (const struct option *o = options; o->name != NULL; o++) {
		if (word[1] == '-' && strlen(o->name) == len && strncmp(o->name, word, len) == 0)
			return o;
		if (word[1] != '-' && word[1] != '\0' && word[1] == o->letter)
			return o;
	}
	return NULL;
}

static bool set_output(struct request *r, const char *value)
{
	static const char *const names[] = {
		[OUTPUT_TABLE] = "table",
		[OUTPUT_WIDE] = "wide",
		[OUTPUT_JSON] = "json",
		[OUTPUT_YAML] = "yaml",
		[OUTPUT_NAME] = "name",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(value, names[i]) == 0) {
			r->output = (enum output)i;
			return true;
		}
	return false;
}

static bool set_number(long *out, const char *value)
{
	char *end;

	*out = strtol(value, &end, 10);
	return *end == '\0' && end != value && *out > 0 && *out <= 1000000000;
}

static bool set_option(struct request *r, const char *name, const char *value, bool *help)
{
	if (strcmp(name, "--output") == 0)
		return set_output(r, value);
	if (strcmp(name, "--limit") == 0)
		return set_number(&r->limit, value);
	if (strcmp(name, "--timeout") == 0)
		return set_number(&r->timeout, value);
	if (strcmp(name, "--namespace") == 0)
		r->ns = value;
	else if (strcmp(name, "--socket") == 0)
		r->socket = value;
	else if (strcmp(name, "--server") == 0)
		r->server = value;
	else if (strcmp(name, "--filename") == 0)
		r->file = value;
	else if (strcmp(name, "--watch") == 0)
		r->watch = true;
	else if (strcmp(name, "--output-watch-events") == 0)
		r->watch_events = true;
	else if (strcmp(name, "--all-namespaces") == 0)
		r->ns = NULL;
	else if (strcmp(name, "--all") == 0)
		r->all = true;
	else if (strcmp(name, "--no-headers") == 0)
		r->headers = false;
	else if (strcmp(name, "--dry-run") == 0)
		r->dry_run = true;
	else if (strcmp(name, "--check") == 0)
		r->check = true;
	else if (strcmp(name, "--man") == 0)
		r->man = true;
	else if (strcmp(name, "--help") == 0)
		*help = true;
	return true;
}

/* --name VALUE, --name=VALUE, -n VALUE, -nVALUE */
static int take_option(struct request *r, int argc, char **argv, int *at, bool *help)
{
	const char *word = argv[*at];
	size_t len = word[1] == '-' ? strcspn(word, "=") : 2;
	const struct option *o = option_find(word, len);
	const char *value = NULL;

	if (o == NULL)
		return bad("no option '%s'", word);
	if (word[1] == '-' && word[len] == '=')
		value = word + len + 1;
	else if (word[1] != '-' && word[2] != '\0')
		value = word + 2;
	if (o->value == NULL && value != NULL)
		return bad("option %s takes no value", o->name);
	if (o->value != NULL && value == NULL) {
		if (*at + 1 == argc)
			return bad("option %s needs a value", o->name);
		value = argv[++*at];
	}
	if (!set_option(r, o->name, value, help))
		return bad("option %s does not know that value", o->name);
	return EXIT_OK;
}

static int run(struct request *r, bool help)
{
	const char *name = r->n_words > 0 ? r->words[0] : NULL;

	if (name == NULL || (help && name == NULL)) {
		help_all();
		return help ? EXIT_OK : EXIT_USAGE;
	}
	if (help)
		return help_verb(name);
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		if (strcmp(v->name, name) != 0)
			continue;
		r->words++;
		r->n_words--;
		return v->run(r);
	}
	return bad("no verb '%s'", name);
}

int main(int argc, char **argv)
{
	const char *socket = getenv("SLUICE_SOCKET");
	struct request r = {
		.socket = socket != NULL ? socket : DEFAULT_SOCKET,
		.server = getenv("SLUICE_SERVER"),
		.headers = true,
		.timeout = 15,
		.words = argv, /* compacted in place */
	};
	bool help = false, words_only = false;
	int rc = EXIT_OK;

	for (int i = 1; i < argc && rc == EXIT_OK; i++) {
		if (words_only || argv[i][0] != '-' || argv[i][1] == '\0')
			r.words[r.n_words++] = argv[i];
		else if (strcmp(argv[i], "--") == 0)
			words_only = true;
		else
			rc = take_option(&r, argc, argv, &i, &help);
	}
	if (rc == EXIT_OK)
		rc = run(&r, help);
	if (fflush(stdout) != 0 && rc == EXIT_OK)
		rc = EXIT_ERROR;
	return rc;
}
