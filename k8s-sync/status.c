/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Decoding of error answers (status.h). Decisions go by code, reason and causes; the message is
 * for people only. Control thread; no state. */

#include <stdio.h>
#include <string.h>

#include "k8s-sync/status.h"

#define RETRY_AFTER_MAX 3600

void k8s_printable(char *to, size_t size, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++) {
		unsigned char c = (unsigned char)text[i];

		/* A quote could end a quoted field of a log line. */
		to[n++] = c == '"' ? '\'' : c >= ' ' && c < 0x7f ? (char)c : ' ';
	}
	while (n > 0 && to[n - 1] == ' ')
		n--;
	to[n] = '\0';
}

static void copy_string(char *to, size_t size, const struct jv *value)
{
	if (jv_is(value, JV_STRING))
		k8s_printable(to, size, jv_string(value), jv_length(value));
}

void k8s_status_from_object(const struct jv *object, struct k8s_status *out)
{
	const struct jv *details = jv_get(object, "details");
	const struct jv *causes = jv_get(details, "causes");
	const struct jv *code = jv_get(object, "code");
	const struct jv *retry = jv_get(details, "retryAfterSeconds");
	const struct jv *cause;
	size_t i;

	*out = (struct k8s_status){.is_status = true};
	if (jv_is(code, JV_INTEGER) && code->integer >= 100 && code->integer < 1000)
		out->code = (int)code->integer;
	if (jv_is(retry, JV_INTEGER) && retry->integer > 0)
		out->retry_after =
			retry->integer > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : (int)retry->integer;
	copy_string(out->reason, sizeof(out->reason), jv_get(object, "reason"));
	copy_string(out->message, sizeof(out->message), jv_get(object, "message"));
	jv_foreach (causes, i, cause) {
		const char *reason = jv_string(jv_get(cause, "reason"));

		if (reason != NULL && strcmp(reason, "ResourceVersionTooLarge") == 0)
			out->too_large = true;
	}
	/* Old servers leave the code out of ERROR events. */
	if (out->code == 0 &&
		(strcmp(out->reason, "Expired") == 0 || strcmp(out->reason, "Gone") == 0))
		out->code = 410;
	else if (out->code == 0)
		out->code = 500;
}

void k8s_status_from_answer(
	int code, int retry_after, const char *body, size_t len, struct k8s_status *out)
{
	struct jv_doc doc = {0};
	const struct jv *object = len > 0 ? jv_parse_copy(&doc, body, len, NULL) : NULL;
	const char *kind = jv_string(jv_get(object, "kind"));

	if (kind != NULL && strcmp(kind, "Status") == 0) {
		k8s_status_from_object(object, out);
	} else {
		*out = (struct k8s_status){0};
		k8s_printable(out->message, sizeof(out->message), body, len);
	}
	jv_doc_fini(&doc);
	out->code = code;
	if (retry_after > out->retry_after)
		out->retry_after = retry_after;
	if (out->message[0] == '\0')
		snprintf(out->message, sizeof(out->message), "HTTP status %d", code);
}
