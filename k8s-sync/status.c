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

		to[n++] = c >= ' ' && c < 0x7f ? (char)c : ' ';
	}
	while (n > 0 && to[n - 1] == ' ')
		n--;
	to[n] = '\0';
}

static void copy_string(char *to, size_t size, const json_t *value)
{
	if (json_is_string(value))
		k8s_printable(to, size, json_string_value(value), json_string_length(value));
}

void k8s_status_from_object(const json_t *object, struct k8s_status *out)
{
	const json_t *details = json_object_get(object, "details");
	const json_t *causes = json_object_get(details, "causes");
	const json_t *code = json_object_get(object, "code");
	const json_t *retry = json_object_get(details, "retryAfterSeconds");
	const json_t *cause;
	size_t i;

	*out = (struct k8s_status){.is_status = true};
	if (json_is_integer(code) && json_integer_value(code) >= 100 &&
		json_integer_value(code) < 1000)
		out->code = (int)json_integer_value(code);
	if (json_is_integer(retry) && json_integer_value(retry) > 0)
		out->retry_after = json_integer_value(retry) > RETRY_AFTER_MAX
			? RETRY_AFTER_MAX
			: (int)json_integer_value(retry);
	copy_string(out->reason, sizeof(out->reason), json_object_get(object, "reason"));
	copy_string(out->message, sizeof(out->message), json_object_get(object, "message"));
	json_array_foreach (causes, i, cause) {
		const char *reason = json_string_value(json_object_get(cause, "reason"));

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
	json_t *object = len > 0 ? json_loadb(body, len, JSON_ALLOW_NUL, NULL) : NULL;
	const char *kind = json_string_value(json_object_get(object, "kind"));

	if (kind != NULL && strcmp(kind, "Status") == 0) {
		k8s_status_from_object(object, out);
	} else {
		*out = (struct k8s_status){0};
		k8s_printable(out->message, sizeof(out->message), body, len);
	}
	json_decref(object);
	out->code = code;
	if (retry_after > out->retry_after)
		out->retry_after = retry_after;
	if (out->message[0] == '\0')
		snprintf(out->message, sizeof(out->message), "HTTP status %d", code);
}
