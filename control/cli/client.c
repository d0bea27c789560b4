/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* HTTP by libcurl, over the unix socket or TCP, and errors as people read them (see cli.h). */

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"

void say_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("error: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void say_hint(const char *fmt, ...)
{
	va_list ap;

	fputs("hint: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* --- texts ----------------------------------------------------------------------------------- */

void text_add(struct text *t, const char *s, size_t n)
{
	if (t->len + n + 1 > t->size) {
		t->size = 2 * (t->len + n + 64);
		t->at = realloc(t->at, t->size);
		if (t->at == NULL) {
			say_error("out of memory");
			exit(EXIT_ERROR);
		}
	}
	memcpy(t->at + t->len, s, n);
	t->len += n;
	t->at[t->len] = '\0';
}

void text_escape(struct text *t, const char *s, const char *ok)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";
	char hex[4];

	for (; *s != '\0'; s++) {
		if (strchr(plain, *s) != NULL || strchr(ok, *s) != NULL) {
			text_add(t, s, 1);
			continue;
		}
		snprintf(hex, sizeof(hex), "%%%02X", (unsigned char)*s);
		text_add(t, hex, 3);
	}
}

void text_free(struct text *t)
{
	free(t->at);
	memset(t, 0, sizeof(*t));
}

/* --- one call -------------------------------------------------------------------------------- */

struct call {
	CURL *curl;
	struct curl_slist *headers;
	char *sent;
	struct text body;
	/* Of a stream: lines are taken out of body as they come. */
	bool (*line)(void *arg, const char *line, size_t len);
	void *arg;
	bool ended;
};

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t from = 0;
	long status = 0;
	char *end;

	text_add(&c->body, data, size * n);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	if (c->line == NULL || status != 200)
		return size * n;
	while (!c->ended && (end = memchr(c->body.at + from, '\n', c->body.len - from)) != NULL) {
		c->ended = !c->line(c->arg, c->body.at + from, (size_t)(end - c->body.at) - from);
		from = (size_t)(end - c->body.at) + 1;
	}
	memmove(c->body.at, c->body.at + from, c->body.len - from);
	c->body.len -= from;
	return c->ended ? 0 : size * n;
}

static int begin(struct call *c, const struct request *r, const char *method, const char *path,
	const char *body)
{
	struct text url = {0};
	const char *base = r->server != NULL ? r->server : "http://localhost";

	memset(c, 0, sizeof(*c));
	c->curl = curl_easy_init();
	if (c->curl == NULL) {
		say_error("libcurl does not start");
		return EXIT_ERROR;
	}
	text_add(&url, base, strlen(base));
	text_add(&url, path, strlen(path));
	curl_easy_setopt(c->curl, CURLOPT_URL, url.at);
	text_free(&url);
	if (r->server == NULL)
		curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, r->socket);
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, r->timeout);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
	if (body != NULL) {
		c->headers = curl_slist_append(NULL, "Content-Type: application/json");
		curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
		curl_easy_setopt(c->curl, CURLOPT_COPYPOSTFIELDS, body);
	}
	return EXIT_OK;
}

static void end(struct call *c)
{
	curl_slist_free_all(c->headers);
	curl_easy_cleanup(c->curl);
	text_free(&c->body);
}

static int transport_error(const struct request *r, CURLcode rc)
{
	const char *where = r->server != NULL ? r->server : r->socket;

	if (rc == CURLE_OPERATION_TIMEDOUT) {
		say_error("%s did not answer within %ld s", where, r->timeout);
		say_hint(
			"the daemon may be busy or stopped: look at its log; --timeout waits longer");
		return EXIT_CONNECT;
	}
	if (rc == CURLE_COULDNT_CONNECT) {
		say_error("cannot connect to %s", where);
		if (r->server == NULL)
			say_hint(
				"is sluiced running, and may you use its socket? --socket names another");
		return EXIT_CONNECT;
	}
	say_error("%s: %s", where, curl_easy_strerror(rc));
	return rc == CURLE_COULDNT_RESOLVE_HOST ? EXIT_CONNECT : EXIT_ERROR;
}

/* From a problem document, or whatever else came. */
static int http_error(long status, const struct text *body)
{
	static const struct {
		const char *reason, *hint;
	} hints[] = {
		{"TooManyRequests", "try again in a moment"},
		{"Expired", "begin again without the cursor or version"},
		{"Forbidden", "changes go through the unix socket"},
		{"NotReady", "sluicectl status shows what is missing"},
		{"NotProgrammed", "the vport was taken back; correct it and create it again"},
		{"AlreadyExists", "delete it first, or choose another name"},
	};
	json_t *doc = body->at != NULL ? json_loads(body->at, 0, NULL) : NULL;
	const char *detail = json_string_value(json_object_get(doc, "detail"));
	const char *reason = json_string_value(json_object_get(doc, "reason"));

	if (detail != NULL)
		say_error("%s", detail);
	else
		say_error("the server answered %ld", status);
	for (size_t i = 0; reason != NULL && i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strcmp(reason, hints[i].reason) == 0)
			say_hint("%s", hints[i].hint);
	json_decref(doc);
	if (status == 404)
		return EXIT_NOT_FOUND;
	if (status == 504)
		return EXIT_CONNECT;
	return status == 409 || status == 412 ? EXIT_CONFLICT : EXIT_ERROR;
}

static int perform(struct call *c, const struct request *r, bool stream)
{
	CURLcode rc;
	long status = 0;

	if (!stream)
		curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, r->timeout);
	rc = curl_easy_perform(c->curl);
	if (rc != CURLE_OK && !(c->ended && rc == CURLE_WRITE_ERROR))
		return transport_error(r, rc);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300 ? EXIT_OK : http_error(status, &c->body);
}

int client_call(
	const struct request *r, const char *method, const char *path, json_t *body, json_t **out)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	struct call c;
	int rc = begin(&c, r, method, path, text);

	*out = NULL;
	free(text);
	if (rc != EXIT_OK)
		return rc;
	rc = perform(&c, r, false);
	if (rc == EXIT_OK) {
		*out = json_loads(c.body.at != NULL ? c.body.at : "", 0, NULL);
		if (*out == NULL) {
			say_error("the answer is not JSON");
			rc = EXIT_ERROR;
		}
	}
	end(&c);
	return rc;
}

int client_raw(const struct request *r, const char *method, const char *path, const char *body)
{
	struct call c;
	int rc = begin(&c, r, method, path, body);

	if (rc != EXIT_OK)
		return rc;
	rc = perform(&c, r, false);
	if (rc == EXIT_OK && c.body.len > 0)
		fwrite(c.body.at, 1, c.body.len, stdout);
	end(&c);
	return rc;
}

int client_watch(const struct request *r, const char *path,
	bool (*fn)(void *arg, const char *line, size_t len), void *arg)
{
	struct call c;
	int rc = begin(&c, r, "GET", path, NULL);

	if (rc != EXIT_OK)
		return rc;
	c.line = fn;
	c.arg = arg;
	rc = perform(&c, r, true);
	end(&c);
	return rc;
}
