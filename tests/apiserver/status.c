/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Answers of the stand-in: objects, Status documents, and the plain text that a real server gives
 * for paths it does not know.
 */
#include "standin.h"
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char json_content[] = "application/json";

bool wants_pretty(const struct http_request *req)
{
	const char *pretty = http_query(req, "pretty");
	const char *agent = http_header(req, "User-Agent");

	if (pretty)
		return strcmp(pretty, "false") && strcmp(pretty, "0");
	return agent &&
		(!strncmp(agent, "curl", 4) || !strncmp(agent, "Wget", 4) ||
			!strncmp(agent, "Mozilla/5.0", 11));
}

static void append_dump(struct evbuffer *buf, const json_t *root, size_t flags)
{
	char *text = json_dumps(root, flags);

	if (text)
		evbuffer_add(buf, text, strlen(text));
	evbuffer_add(buf, "\n", 1);
	free(text);
}

void make_pretty(struct evbuffer *buf)
{
	size_t len = evbuffer_get_length(buf);
	json_t *root = json_loadb((char *)evbuffer_pullup(buf, -1), len, JSON_ALLOW_NUL, NULL);

	if (!root)
		return;
	evbuffer_drain(buf, len);
	append_dump(buf, root, JSON_INDENT(2));
	json_decref(root);
}

void reply_json(struct http_conn *c, int code, const json_t *body)
{
	struct evbuffer *buf = evbuffer_new();

	append_dump(buf, body, wants_pretty(http_conn_request(c)) ? JSON_INDENT(2) : JSON_COMPACT);
	http_reply_buffer(c, code, json_content, buf);
	evbuffer_free(buf);
}

void reply_object(struct http_conn *c, const struct http_request *req, int code,
	const struct object *o, const struct resource *res)
{
	struct evbuffer *buf = evbuffer_new();

	object_write(o, res, o->rv, true, buf);
	if (wants_pretty(req))
		make_pretty(buf);
	else
		evbuffer_add(buf, "\n", 1);
	http_reply_buffer(c, code, json_content, buf);
	evbuffer_free(buf);
}

const char *status_reason(int code)
{
	switch (code) {
	case 400:
		return "BadRequest";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "NotFound";
	case 405:
		return "MethodNotAllowed";
	case 406:
		return "NotAcceptable";
	case 409:
		return "Conflict";
	case 410:
		return "Expired";
	case 415:
		return "UnsupportedMediaType";
	case 422:
		return "Invalid";
	case 429:
		return "TooManyRequests";
	case 503:
		return "ServiceUnavailable";
	case 504:
		return "Timeout";
	default:
		return "InternalError";
	}
}

json_t *status_object(int code, const char *reason, const char *message)
{
	return json_pack("{s:s, s:s, s:{}, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion",
		"v1", "metadata", "status", "Failure", "message", message, "reason",
		reason && *reason ? reason : status_reason(code), "code", code);
}

void reply_status(struct http_conn *c, int code, const char *reason, const char *fmt, ...)
{
	char message[512];
	json_t *status;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	status = status_object(code, reason, message);
	if (!status)
		/* the message quotes bytes that are no UTF-8 */
		status = status_object(code, reason, "the request holds text that is not UTF-8");
	reply_json(c, code, status);
	json_decref(status);
}

void reply_not_found(struct http_conn *c, const struct resource *res, const char *name)
{
	char *message = xasprintf(
		"%s%s%s \"%s\" not found", res->plural, *res->group ? "." : "", res->group, name);
	json_t *status = status_object(404, "NotFound", message);

	if (status) {
		json_object_set_new(status, "details",
			json_pack("{s:s, s:s, s:s}", "name", name, "group", res->group, "kind",
				res->plural));
		reply_json(c, 404, status);
	} else {
		reply_plain_404(c);
	}
	json_decref(status);
	free(message);
}

void reply_plain_404(struct http_conn *c)
{
	static const char text[] = "404 page not found\n";

	http_reply(c, 404, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}
