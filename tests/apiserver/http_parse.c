/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Request parsing of the stand-in's HTTP server: head, query, body with a length or in chunks.
 * Bounded: a head of 64 kB, a body of 64 MB (far more than a real API server takes, so that
 * oversized objects can be stored and served to the client under test).
 */
#include "http_internal.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	HEAD_MAX = 64 << 10,
	BODY_MAX = 64 << 20,
};

void http_request_fini(struct http_request *req)
{
	for (size_t i = 0; i < req->n_headers; i++) {
		free(req->headers[i].name);
		free(req->headers[i].value);
	}
	for (size_t i = 0; i < req->n_query; i++) {
		free(req->query[i].name);
		free(req->query[i].value);
	}
	free(req->headers);
	free(req->query);
	free(req->method);
	free(req->target);
	free(req->path);
	free(req->body);
	memset(req, 0, sizeof(*req));
}

static const char *find(const struct http_pair *pairs, size_t n, const char *name, bool fold)
{
	for (size_t i = 0; i < n; i++)
		if (!(fold ? strcasecmp : strcmp)(pairs[i].name, name))
			return pairs[i].value;
	return NULL;
}

const char *http_header(const struct http_request *req, const char *name)
{
	return find(req->headers, req->n_headers, name, true);
}

const char *http_query(const struct http_request *req, const char *name)
{
	return find(req->query, req->n_query, name, false);
}

static void add_pair(struct http_pair **pairs, size_t *n, char *name, char *value)
{
	*pairs = xrealloc(*pairs, (*n + 1) * sizeof(**pairs));
	(*pairs)[*n].name = name;
	(*pairs)[*n].value = value;
	(*n)++;
}

static int hex_digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if ((ch | 32) >= 'a' && (ch | 32) <= 'f')
		return (ch | 32) - 'a' + 10;
	return -1;
}

static char *decode(const char *s, size_t n)
{
	char *out = xcalloc(n + 1, 1), *o = out;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '%' && i + 2 < n && hex_digit(s[i + 1]) >= 0 &&
			hex_digit(s[i + 2]) >= 0) {
			*o++ = (char)(hex_digit(s[i + 1]) * 16 + hex_digit(s[i + 2]));
			i += 2;
		} else {
			*o++ = s[i] == '+' ? ' ' : s[i];
		}
	}
	return out;
}

static void parse_query(struct http_request *req, const char *q)
{
	while (*q) {
		size_t n = strcspn(q, "&");
		const char *eq = memchr(q, '=', n);
		size_t name_len = eq ? (size_t)(eq - q) : n;

		if (n)
			add_pair(&req->query, &req->n_query, decode(q, name_len),
				eq ? decode(eq + 1, n - name_len - 1) : xstrdup(""));
		q += n;
		if (*q)
			q++;
	}
}

static int parse_request_line(struct http_conn *c, char *line)
{
	struct http_request *req = &c->req;
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;
	size_t path_len;

	if (!version)
		return -EINVAL;
	*target++ = '\0';
	*version++ = '\0';
	if (*target != '/' || strncmp(version, "HTTP/1.", 7))
		return -EINVAL;
	c->keep_alive = strcmp(version, "HTTP/1.0");
	req->method = xstrdup(line);
	req->target = xstrdup(target);
	path_len = strcspn(target, "?");
	req->path = xcalloc(path_len + 1, 1);
	memcpy(req->path, target, path_len);
	if (target[path_len])
		parse_query(req, target + path_len + 1);
	return 0;
}

static int parse_header(struct http_request *req, char *line)
{
	char *colon = strchr(line, ':');
	char *value, *end;

	if (!colon || colon == line)
		return -EINVAL;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	add_pair(&req->headers, &req->n_headers, xstrdup(line), xstrdup(value));
	return 0;
}

static int parse_lines(struct http_conn *c, char *head)
{
	char *save = NULL;
	char *line = strtok_r(head, "\r\n", &save);
	int rc = line ? parse_request_line(c, line) : -EINVAL;

	while (!rc && (line = strtok_r(NULL, "\r\n", &save)))
		rc = parse_header(&c->req, line);
	return rc;
}

static int body_framing(struct http_conn *c)
{
	const char *length = http_header(&c->req, "Content-Length");
	const char *coding = http_header(&c->req, "Transfer-Encoding");
	const char *connection = http_header(&c->req, "Connection");
	const char *expect = http_header(&c->req, "Expect");

	if (connection && !strcasecmp(connection, "close"))
		c->keep_alive = false;
	c->body_chunked = coding && !strcasecmp(coding, "chunked");
	c->body_done = false;
	c->body_left = 0;
	if (length && !c->body_chunked) {
		char *end;

		c->body_left = strtoul(length, &end, 10);
		if (*end || !*length)
			return -EINVAL;
		if (c->body_left > BODY_MAX)
			return -EMSGSIZE;
	}
	if (expect && !strcasecmp(expect, "100-continue")) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

		bufferevent_write(c->bev, go_on, sizeof(go_on) - 1);
	}
	return 0;
}

int http_parse_head(struct http_conn *c, struct evbuffer *in)
{
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	char *head;
	int rc;

	if (end.pos < 0)
		return evbuffer_get_length(in) > HEAD_MAX ? -EINVAL : -EAGAIN;
	http_request_fini(&c->req);
	c->keep_alive = true;
	head = xcalloc((size_t)end.pos + 1, 1);
	evbuffer_remove(in, head, (size_t)end.pos);
	evbuffer_drain(in, 4);
	rc = parse_lines(c, head);
	free(head);
	if (!rc)
		rc = body_framing(c);
	c->state = CONN_BODY;
	return rc;
}

static void append_body(struct http_request *req, struct evbuffer *in, size_t n)
{
	req->body = xrealloc(req->body, req->body_len + n + 1);
	evbuffer_remove(in, req->body + req->body_len, n);
	req->body_len += n;
	req->body[req->body_len] = '\0';
}

static int next_chunk(struct http_conn *c, struct evbuffer *in)
{
	char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF);
	char *end;
	unsigned long n;

	if (!line)
		return evbuffer_get_length(in) > HEAD_MAX ? -EINVAL : -EAGAIN;
	if (!*line && c->req.body_len) {
		/* the line end after the former chunk's data */
		free(line);
		return 0;
	}
	n = strtoul(line, &end, 16);
	if (end == line) {
		free(line);
		return -EINVAL;
	}
	free(line);
	if (n > BODY_MAX || c->req.body_len + n > BODY_MAX)
		return -EMSGSIZE;
	c->body_left = n;
	c->body_done = !n;
	if (c->body_done)
		evbuffer_drain(in, MIN2(evbuffer_get_length(in), 2));
	return 0;
}

int http_parse_body(struct http_conn *c, struct evbuffer *in)
{
	size_t have = evbuffer_get_length(in);

	if (c->body_chunked && !c->body_left)
		return next_chunk(c, in);
	if (c->body_left) {
		size_t n = MIN2(have, c->body_left);

		if (!n)
			return -EAGAIN;
		append_body(&c->req, in, n);
		c->body_left -= n;
	}
	c->body_done = !c->body_chunked && !c->body_left;
	return 0;
}

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {{200, "OK"}, {201, "Created"}, {202, "Accepted"}, {301, "Moved Permanently"},
		{400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {406, "Not Acceptable"}, {409, "Conflict"},
		{410, "Gone"}, {413, "Request Entity Too Large"}, {415, "Unsupported Media Type"},
		{422, "Unprocessable Entity"}, {429, "Too Many Requests"},
		{500, "Internal Server Error"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
		{504, "Gateway Timeout"}};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Status";
}
