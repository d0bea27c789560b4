/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Help, manual page and completion, all out of the table (see cli.h). */

#include <stdio.h>
#include <string.h>

#include "control/cli/cli.h"

static void print_options(void)
{
	printf("\nOptions:\n");
	for (const struct option *o = options; o->name != NULL; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%c%s%s%s%s", o->letter != 0 ? "-" : "",
			o->letter != 0 ? o->letter : ' ', o->letter != 0 ? ", " : "   ", o->name,
			o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
		printf("  %-30s %s\n", left, o->text);
	}
}

static void print_types(bool filters)
{
	printf("\nTypes:\n");
	for (const struct type *t = types; t->name != NULL; t++) {
		printf("  %-14s %s%s%s\n", t->name, t->text, t->has_one ? "; TYPE/NAME" : "",
			t->watch ? "; -w" : "");
		if (filters && t->filters != NULL)
			printf("  %-14s filters: %s\n", "", t->filters);
	}
}

void help_all(void)
{
	printf("sluicectl looks at a node's Sluice switch and changes it.\n\n"
	       "usage: sluicectl VERB [WORD]... [OPTION]...\n\nVerbs:\n");
	for (const struct verb *v = verbs; v->name != NULL; v++)
		printf("  %-11s %s\n", v->name, v->text);
	print_types(false);
	print_options();
	printf("\nExit status: 0 done, 1 error, 2 wrong use, 3 not found, 4 no connection or timeout,\n"
	       "5 conflict, 6 condition false. 'sluicectl help VERB' tells more.\n");
}

int help_verb(const char *name)
{
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		if (strcmp(v->name, name) != 0)
			continue;
		printf("usage: sluicectl %s %s\n\n%s.\n", v->name, v->usage, v->text);
		if (strcmp(v->words, "@types") == 0)
			print_types(true);
		print_options();
		return EXIT_OK;
	}
	say_error("no verb '%s'", name);
	return EXIT_USAGE;
}

/* roff takes a dash for a hyphen and a leading dot for a request. */
static void roff(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '-')
			printf("\\-");
		else if (*s == '\\')
			printf("\\e");
		else
			putchar(*s);
	}
}

void help_man(void)
{
	printf(".TH SLUICECTL 1 \"\" \"Sluice " SLUICE_VERSION
	       "\"\n.SH NAME\nsluicectl \\- look at a "
	       "node's Sluice switch and change it\n.SH SYNOPSIS\n.B sluicectl\n.I VERB\n"
	       "[\\fIWORD\\fR]... [\\fIOPTION\\fR]...\n.SH VERBS\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		printf(".TP\n.B %s\n.RI \"", v->name);
		roff(v->usage);
		printf("\"\n.br\n");
		roff(v->text);
		printf(".\n");
	}
	printf(".SH TYPES\n");
	for (const struct type *t = types; t->name != NULL; t++) {
		printf(".TP\n.B ");
		roff(t->name);
		printf("\n");
		roff(t->text);
		printf(".\n");
		if (t->aliases != NULL)
			printf(".br\nAlso: %s.\n", t->aliases);
		if (t->filters != NULL)
			printf(".br\nFilters: %s.\n", t->filters);
	}
	printf(".SH OPTIONS\n");
	for (const struct option *o = options; o->name != NULL; o++) {
		printf(".TP\n.B ");
		if (o->letter != 0)
			printf("\\-%c, ", o->letter);
		roff(o->name);
		if (o->value != NULL)
			printf(" \\fI%s\\fR", o->value);
		printf("\n");
		roff(o->text);
		printf(".\n");
	}
	printf(".SH EXIT STATUS\n0 done; 1 error; 2 wrong use; 3 not found; 4 no connection or "
	       "timeout; 5 conflict; 6 condition false (status \\-\\-check).\n");
}

int help_completion(const char *shell)
{
	if (strcmp(shell, "bash") != 0) {
		say_error("no completion for '%s'; bash is there", shell);
		return EXIT_USAGE;
	}
	printf("_sluicectl() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=\n"
	       "\tcase ${COMP_CWORD} in\n\t1) words=\"");
	for (const struct verb *v = verbs; v->name != NULL; v++)
		printf("%s ", v->name);
	printf("\" ;;\n\t2)\n\t\tcase ${COMP_WORDS[1]} in\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		printf("\t\t%s) words=\"", v->name);
		if (strcmp(v->words, "@types") == 0)
			for (const struct type *t = types; t->name != NULL; t++)
				printf("%s ", t->name);
		else if (strcmp(v->words, "@verbs") == 0)
			for (const struct verb *o = verbs; o->name != NULL; o++)
				printf("%s ", o->name);
		else
			printf("%s", v->words);
		printf("\" ;;\n");
	}
	printf("\t\tesac ;;\n\t*)\n\t\tcase ${COMP_WORDS[1]}:${COMP_WORDS[2]} in\n");
	for (const struct type *t = types; t->name != NULL; t++) {
		const char *f = t->filters;

		if (f == NULL)
			continue;
		printf("\t\tget:%s%s) words=\"", t->name,
			strcmp(t->name, "flows") == 0 ? "|delete:flows" : "");
		while (*f != '\0') {
			size_t n = strcspn(f, " ");

			printf("%.*s= ", (int)n, f);
			f += n + (f[n] == ' ');
		}
		printf("\" ;;\n");
	}
	printf("\t\tesac ;;\n\tesac\n\tif [[ $cur == -* ]]; then words=\"");
	for (const struct option *o = options; o->name != NULL; o++)
		printf("%s ", o->name);
	printf("\"; fi\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	       "\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n}\n"
	       "complete -F _sluicectl sluicectl\n");
	return EXIT_OK;
}
