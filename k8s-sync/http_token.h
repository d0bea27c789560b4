/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The bearer token of a file, as an Authorization header line.
 *
 * Service-account tokens are rotated under us: the file is looked at before each request and read
 * again when it changed. Control thread; the file is local and small. */

#pragma once

#include <sys/stat.h>

struct http_token {
	char *file; /* owned; NULL: no token */
	char *line; /* "Authorization: Bearer ...", NULL before the first refresh */
	struct stat stat;
};

/* 0, or why there is no usable token: -ENOENT, -EACCES, -EINVAL (not a token), -ENOMEM. Once a
 * token was read, a file that is away or empty for a moment leaves it in force. */
int http_token_refresh(struct http_token *token);
void http_token_fini(struct http_token *token);
