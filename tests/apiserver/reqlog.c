/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The request log of the stand-in: kept in memory, read over the control path.
 */
#include "reqlog.h"

#include "util.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	LOG_SIZE = 8192
};

struct logged {
	uint64_t serial;
	double seconds; /* since the log was made */
	char *method, *target, *listener;
	struct http_pair *headers;
	size_t n_headers;
};

struct reqlog {
	struct logged ring[LOG_SIZE];
	uint64_t next; /* serial of the next request; the first is 1 */
	struct timespec start;
};

struct reqlog *reqlog_new(void)
{
	struct reqlog *log = xcalloc(1, sizeof(*log));

	log->next = 1;
	clock_gettime(CLOCK_MONOTONIC, &log->start);
	return log;
}

static void logged_fini(struct logged *l)
{
	for (size_t i = 0; i < l->n_headers; i++) {
		free(l->headers[i].name);
		free(l->headers[i].value);
	}
	free(l->headers);
	free(l->method);
	free(l->target);
	free(l->listener);
	memset(l, 0, sizeof(*l));
}

void reqlog_clear(struct reqlog *log)
{
	for (size_t i = 0; i < LOG_SIZE; i++)
		logged_fini(&log->ring[i]);
}

void reqlog_free(struct reqlog *log)
{
	if (!log)
		return;
	reqlog_clear(log);
	free(log);
}

void reqlog_add(struct reqlog *log, const struct http_request *req)
{
	struct logged *l = &log->ring[log->next % LOG_SIZE];
	struct timespec now;

	logged_fini(l);
	clock_gettime(CLOCK_MONOTONIC, &now);
	l->seconds = (double)(now.tv_sec - log->start.tv_sec) +
		(double)(now.tv_nsec - log->start.tv_nsec) / 1e9;
	l->serial = log->next++;
	l->method = xstrdup(req->method);
	l->target = xstrdup(req->target);
	l->listener = xstrdup(req->listener);
	l->headers = xcalloc(req->n_headers, sizeof(*l->headers));
	l->n_headers = req->n_headers;
	for (size_t i = 0; i < req->n_headers; i++) {
		l->headers[i].name = xstrdup(req->headers[i].name);
		l->headers[i].value = xstrdup(req->headers[i].value);
	}
}

static json_t *logged_json(const struct logged *l)
{
	json_t *headers = json_object();

	for (size_t i = 0; i < l->n_headers; i++)
		json_object_set_new(headers, l->headers[i].name, json_string(l->headers[i].value));
	return json_pack("{s:I, s:f, s:s, s:s, s:s, s:o}", "serial", (json_int_t)l->serial,
		"seconds", l->seconds, "method", l->method, "target", l->target, "listener",
		l->listener, "headers", headers);
}

json_t *reqlog_json(const struct reqlog *log, uint64_t since)
{
	json_t *list = json_array();
	uint64_t first = log->next > LOG_SIZE ? log->next - LOG_SIZE : 1;

	for (uint64_t s = since + 1 > first ? since + 1 : first; s < log->next; s++) {
		const struct logged *l = &log->ring[s % LOG_SIZE];

		if (l->serial == s)
			json_array_append_new(list, logged_json(l));
	}
	return list;
}

uint64_t reqlog_total(const struct reqlog *log)
{
	return log->next - 1;
}
