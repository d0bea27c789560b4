/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Reading the token file of http_token.h. Projected tokens are replaced by rename, so inode, size
 * and time tell a new one. Control thread only; never logs the content. */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "k8s-sync/http_token.h"

#define TOKEN_MAX 65536

static const char prefix[] = "Authorization: Bearer ";

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Cuts white space at the end; false when a byte could not stand in a header. */
static bool trim(char *text)
{
	char *end = text + strcspn(text, " \t\r\n");

	if (end == text || end[strspn(end, " \t\r\n")] != '\0')
		return false;
	*end = '\0';
	for (; *text != '\0'; text++) {
		if (*text < '!' || *text > '~')
			return false;
	}
	return true;
}

static int read_line(const char *path, char **out)
{
	char *line;
	size_t len;
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return -errno;
	line = malloc(sizeof(prefix) + TOKEN_MAX);
	if (line == NULL) {
		fclose(file);
		return -ENOMEM;
	}
	memcpy(line, prefix, sizeof(prefix));
	len = fread(line + sizeof(prefix) - 1, 1, TOKEN_MAX, file);
	fclose(file);
	line[sizeof(prefix) - 1 + len] = '\0';
	if (!trim(line + sizeof(prefix) - 1)) {
		free(line);
		return -EINVAL;
	}
	*out = line;
	return 0;
}

int http_token_refresh(struct http_token *token)
{
	struct stat st;
	char *line = NULL;
	int rc;

	if (token->file == NULL)
		return 0;
	if (stat(token->file, &st) != 0)
		return token->line != NULL ? 0 : -errno;
	if (token->line != NULL && same_file(&st, &token->stat))
		return 0;
	rc = read_line(token->file, &line);
	if (rc != 0)
		return token->line != NULL ? 0 : rc;
	free(token->line);
	token->line = line;
	token->stat = st;
	return 0;
}

void http_token_fini(struct http_token *token)
{
	free(token->file);
	free(token->line);
	*token = (struct http_token){0};
}
