/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Streaming HTTP/1.1 for the Kubernetes API: unix socket, TCP or TLS. Bodies are read as they come;
 * what is sent is small and sent whole.
 *
 * libcurl's multi interface on a libevent base; everything, callbacks included, runs on the
 * thread of that base and nothing blocks. Bodies are handed over as they arrive and are never
 * collected here. No redirects, no proxies from the environment, no content codings. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct http_client;
struct http_request;

enum http_answer_method {
	HTTP_ANSWER_GET,
	HTTP_ANSWER_POST,
	HTTP_ANSWER_PATCH,
	HTTP_ANSWER_METHODS
};

#define HTTP_STATUS_MAX 600

/* Requests by method and by the status of the answer; 0: none came. Writers: the thread of the
 * clients that share it. Readers: any. */
struct http_answers {
	_Atomic uint64_t by_status[HTTP_ANSWER_METHODS][HTTP_STATUS_MAX];
};

struct http_config {
	const char *socket;     /* path of a unix socket, or NULL */
	const char *url;        /* "http[s]://host[:port][/prefix]" when there is no socket */
	const char *ca_file;    /* PEM; NULL: the system's */
	const char *token_file; /* bearer token, read again when it changes; needs https */
	const char *cert_file;  /* client certificate and key, PEM; may be NULL */
	const char *key_file;
	uint32_t connect_timeout_ms;  /* 0: 10 s */
	uint32_t turn_budget_us;      /* time for bodies in one turn of the loop; 0: 2 ms */
	struct http_answers *answers; /* counted there; may be NULL */
};

struct http_headers {
	int status;
	bool json;           /* Content-Type is application/json */
	int retry_after;     /* seconds, 0: none; at most an hour */
	const char *warning; /* text of a Warning header, or NULL */
};

enum http_end {
	HTTP_END_CLEAN, /* the body is complete, or ended in a way that cannot be told from it */
	HTTP_END_CUT,   /* connection lost after it was made */
	HTTP_END_UNREACHED, /* no connection: refused, no socket, no name, TLS refused */
	HTTP_END_FAILED,    /* anything else; see the text */
};

struct http_callbacks {
	/* Once a response, before any body. */
	void (*headers)(void *arg, const struct http_headers *headers);
	/* Returns how much was taken. Less than len pauses the transfer until http_resume(); the
	 * rest is kept and handed over then. */
	size_t (*body)(void *arg, const char *data, size_t len);
	/* Exactly once; the request is gone when it returns. error is NULL for a clean end. */
	void (*end)(void *arg, enum http_end how, const char *error);
};

/* 0, -EINVAL when the configuration contradicts itself, -ENOMEM. Strings are copied. */
int http_client_new(
	struct event_base *base, const struct http_config *config, struct http_client **out);
/* Cancels what is still running; no callback is called any more. */
void http_client_free(struct http_client *client);

/* target is "/path?query", already percent-encoded. end() may be called later only, never from
 * within. 0 or a negative errno (-EACCES, -ENOENT: the token file). */
int http_get(struct http_client *client, const char *target, const struct http_callbacks *callbacks,
	void *arg, struct http_request **out);
/* The same with POST or PATCH and a body, which is copied. */
int http_send(struct http_client *client, const char *method, const char *target,
	const char *content_type, const char *body, const struct http_callbacks *callbacks,
	void *arg, struct http_request **out);
/* No callback follows. Allowed in callbacks, except in end(). */
void http_cancel(struct http_request *request);
void http_resume(struct http_request *request);

/* Appends name=value to a query ("?" or "&" first), the value percent-encoded (RFC 3986). 0 or
 * -ENAMETOOLONG. */
int http_query_add(char *target, size_t size, const char *name, const char *value);
