/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* An API server that plays a script, byte for byte, on a unix socket of the test's own event base.
 *
 * Each request takes the first unused step of its path. A request without a step is held open
 * without an answer and counted. Single thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct k8s_server;

enum k8s_step_end {
	K8S_END_CLEAN, /* the body is finished */
	K8S_END_HOLD,  /* chunked: no final chunk, the connection stays */
	K8S_END_CUT,   /* the connection closes in the middle */
	K8S_END_STALL, /* not even headers */
};

enum k8s_step_framing {
	K8S_CHUNKED,
	K8S_LENGTH,
	K8S_UNTIL_CLOSE
};

struct k8s_step {
	const char *path;    /* the target's path; NULL: any */
	const char *expect;  /* words that the target must have; "-word": must not have */
	int status;          /* 0: 200 */
	const char *headers; /* whole lines, "\r\n" at their ends; may be NULL */
	const char *body;
	enum k8s_step_framing framing;
	enum k8s_step_end end;
	size_t piece; /* bytes a chunk, each written alone; 0: all at once */
};

/* The socket file is made anew; free removes it. */
struct k8s_server *k8s_server_new(struct event_base *base, const char *path);
void k8s_server_free(struct k8s_server *server);
/* steps are borrowed. Continues behind the steps of earlier calls when they are used up. */
void k8s_server_script(struct k8s_server *server, const struct k8s_step *steps, size_t n);
/* Closes every connection. */
void k8s_server_drop(struct k8s_server *server);
size_t k8s_server_unused(const struct k8s_server *server);
size_t k8s_server_requests(const struct k8s_server *server);
/* A request as it came, its body behind the head. */
const char *k8s_server_request(const struct k8s_server *server, size_t i);
/* Words that were missing or too many, "" when every request was as expected. */
const char *k8s_server_faults(const struct k8s_server *server);
/* Bytes as they are on the connections that wait for an answer from path. */
void k8s_server_raw(struct k8s_server *server, const char *path, const char *text);
/* More bytes on the connections that are held open, as one chunk. */
void k8s_server_push(struct k8s_server *server, const char *path, const char *text);
