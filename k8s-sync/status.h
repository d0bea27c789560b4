/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What an error answer of the Kubernetes API says: a Status object, in the body of an HTTP error
 * or in an ERROR event, or the bare HTTP status with the text of a proxy. No state, no I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "k8s-sync/json.h"

struct k8s_status {
	int code;          /* HTTP status, or the Status object's code */
	bool is_status;    /* the API server itself has spoken */
	bool too_large;    /* cause ResourceVersionTooLarge: this server is behind */
	int retry_after;   /* seconds, 0: none */
	char reason[64];   /* "Expired", "" when unknown */
	char message[256]; /* for people; printable, cut */
};

/* From the "object" of an ERROR event. */
void k8s_status_from_object(const struct jv *object, struct k8s_status *out);
/* From an HTTP error: code and Retry-After of its head, body as far as it was kept. */
void k8s_status_from_answer(
	int code, int retry_after, const char *body, size_t len, struct k8s_status *out);
/* Copies text as one printable line, cut to size. */
void k8s_printable(char *to, size_t size, const char *text, size_t len);
