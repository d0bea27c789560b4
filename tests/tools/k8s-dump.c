/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* k8s-dump: the Kubernetes client alone, following an API server into a model that only remembers.
 * Each line on standard input asks: "dump" answers with the whole model as one line of JSON,
 * "quit" or the end of input ends it. Logs go to standard error, and are kept out of answers.
 *
 *	k8s-dump (--socket PATH | --url URL [--ca F] [--token F]) --node NAME
 *		[--endpoints auto|slices|endpoints] [--fast]
 *
 * --fast shortens every wait, so that tests of faults need no patience. */

#include <event2/event.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "k8s-sync/sync.h"
#include "tools/k8s_model.h"

struct dump {
	struct event_base *base;
	struct model *model;
	bool first_complete;
	struct timespec start;
};

__attribute__((format(printf, 4, 5))) static void log_line(
	void *arg, int level, const char *event, const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "level=%d event=%s ", level, event);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static void answer(struct dump *d)
{
	json_t *json = k8s_model_json(d->model);
	struct k8s_model_counts c = k8s_model_counts(d->model);

	json_object_set_new(json, "counts",
		json_pack("{s:I, s:I, s:I, s:I, s:I}", "serviceSets", (json_int_t)c.service_sets,
			"serviceChanges", (json_int_t)c.service_changes, "serviceRemoves",
			(json_int_t)c.service_removes, "refusals", (json_int_t)c.refusals,
			"servicesMin", (json_int_t)c.services_min));
	json_dumpf(json, stdout, JSON_COMPACT | JSON_SORT_KEYS);
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
	static char line[256];
	static size_t len;
	struct dump *d = arg;
	ssize_t n = read(fd, line + len, sizeof(line) - 1 - len);
	char *end;

	if (n <= 0) {
		event_base_loopbreak(d->base);
		return;
	}
	len += (size_t)n;
	line[len] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		if (strcmp(line, "quit") == 0)
			event_base_loopbreak(d->base);
		else if (strcmp(line, "dump") == 0)
			answer(d);
		len -= (size_t)(end + 1 - line);
		memmove(line, end + 1, len + 1);
	}
}

static void fast(struct k8s_timings *t)
{
	t->backoff_min = 20;
	t->backoff_max = 200;
	t->backoff_reset = 2000;
	t->auth_retry = 200;
	t->absent_retry = 300;
	t->rewatch_jitter = 10;
	t->watch_seconds_min = 2;
	t->watch_seconds_max = 3;
	t->watchdog_slack = 500;
	t->bookmark_silence = 1500;
	t->short_watch = 100;
	t->list_silence = 1000;
	t->initial_total = 5000;
	t->removal_guard = 500;
}

static int parse(int argc, char **argv, struct k8s_config *config)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"url", required_argument, NULL, 'u'},
		{"ca", required_argument, NULL, 'c'},
		{"token", required_argument, NULL, 't'},
		{"node", required_argument, NULL, 'n'},
		{"endpoints", required_argument, NULL, 'e'},
		{"fast", no_argument, NULL, 'f'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			config->socket = optarg;
			break;
		case 'u':
			config->url = optarg;
			break;
		case 'c':
			config->ca_file = optarg;
			break;
		case 't':
			config->token_file = optarg;
			break;
		case 'n':
			config->node_name = optarg;
			break;
		case 'e':
			config->endpoints = strcmp(optarg, "slices") == 0 ? K8S_ENDPOINTS_SLICES
				: strcmp(optarg, "endpoints") == 0        ? K8S_ENDPOINTS_OBJECTS
									  : K8S_ENDPOINTS_AUTO;
			break;
		case 'f':
			fast(&config->timings);
			break;
		default:
			return -1;
		}
	}
	return 0;
}

static void on_service(void *arg, const char *key, const struct model_service *s)
{
	struct dump *d = arg;
	struct timespec now;

	if (d->first_complete || !k8s_model_complete(d->model, SOURCE_SERVICES))
		return;
	d->first_complete = true;
	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(stderr, "event=first_change_after_sync seconds=%.3f\n",
		(double)(now.tv_sec - d->start.tv_sec) +
			(double)(now.tv_nsec - d->start.tv_nsec) / 1e9);
}

int main(int argc, char **argv)
{
	struct k8s_config config;
	struct k8s_sync *sync = NULL;
	struct event *input;
	struct dump d = {0};
	int rc;

	k8s_config_defaults(&config);
	config.env.log = log_line;
	if (parse(argc, argv, &config) != 0)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &d.start);
	d.base = event_base_new();
	d.model = model_new();
	k8s_model_watch(d.model, on_service, &d);
	input = event_new(d.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &d);
	event_add(input, NULL);
	rc = k8s_sync_new(d.base, &config, d.model, &sync);
	if (rc == 0) {
		k8s_sync_start(sync);
		event_base_dispatch(d.base);
		k8s_sync_free(sync);
	} else {
		fprintf(stderr, "k8s-dump: %s\n", strerror(-rc));
	}
	event_free(input);
	model_free(d.model);
	event_base_free(d.base);
	return rc == 0 ? 0 : 1;
}
