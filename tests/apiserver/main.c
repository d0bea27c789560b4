/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * sluice-apiserver, a stand-in for a Kubernetes API server: it serves the few resources that
 * Sluice reads, from manifests or generated, to one cooperative client, and breaks on command. It
 * validates nothing, stores nothing and protects nothing; it is for tests and the quick start.
 */
#include "manifest.h"
#include "reqlog.h"
#include "standin.h"
#include "synthetic.h"
#include "util.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	LISTEN_MAX = 4
};

struct arguments {
	const char *sockets[LISTEN_MAX];
	const char *addresses[LISTEN_MAX];
	const char *controls[LISTEN_MAX];
	const char *without[RESOURCE_COUNT];
	size_t n_sockets, n_addresses, n_controls, n_without;
	const char *cert, *key, *manifests, *synthetic;
	uint64_t first_rv, history;
	struct options opt;
};

static const char usage[] =
	"usage: sluice-apiserver (--socket PATH | --listen ADDR:PORT)... [options]\n"
	"A stand-in for a Kubernetes API server, for tests and the quick start.\n"
	"\n"
	"  --socket PATH            listen on a unix socket\n"
	"  --listen ADDR:PORT       listen on TCP; port 0 lets the kernel choose\n"
	"  --control PATH           a unix socket that stays open when connections are refused\n"
	"  --tls-cert F --tls-key F serve TLS on the TCP addresses\n"
	"  --token-file F           TCP requests must carry this bearer token\n"
	"  --manifests DIR          serve *.yaml, *.yml and *.json, and follow their changes\n"
	"  --manifest-defaults      fill defaults into manifests as into objects sent by REST\n"
	"  --synthetic SPEC         services=N,endpoints=M[,dual=1][,nodes=K][,first=A]\n"
	"  --without RESOURCE       do not serve a resource, e.g. endpointslices; may be repeated\n"
	"  --no-watchlist           refuse sendInitialEvents\n"
	"  --bookmark-interval S    seconds between bookmarks on a watch (60; 0: only at the end)\n"
	"  --rv-wait S              seconds before a version from the future is refused (3)\n"
	"  --initial-rv N           first resource version (from the clock, so that it grows over\n"
	"                           restarts)\n"
	"  --history N              changes kept per resource (102400)\n"
	"  --help\n";

enum option_id {
	OPT_SOCKET = 1,
	OPT_LISTEN,
	OPT_CONTROL,
	OPT_TLS_CERT,
	OPT_TLS_KEY,
	OPT_TOKEN_FILE,
	OPT_MANIFESTS,
	OPT_MANIFEST_DEFAULTS,
	OPT_SYNTHETIC,
	OPT_WITHOUT,
	OPT_NO_WATCHLIST,
	OPT_BOOKMARK_INTERVAL,
	OPT_RV_WAIT,
	OPT_INITIAL_RV,
	OPT_HISTORY,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"control", required_argument, NULL, OPT_CONTROL},
	{"tls-cert", required_argument, NULL, OPT_TLS_CERT},
	{"tls-key", required_argument, NULL, OPT_TLS_KEY},
	{"token-file", required_argument, NULL, OPT_TOKEN_FILE},
	{"manifests", required_argument, NULL, OPT_MANIFESTS},
	{"manifest-defaults", no_argument, NULL, OPT_MANIFEST_DEFAULTS},
	{"synthetic", required_argument, NULL, OPT_SYNTHETIC},
	{"without", required_argument, NULL, OPT_WITHOUT},
	{"no-watchlist", no_argument, NULL, OPT_NO_WATCHLIST},
	{"bookmark-interval", required_argument, NULL, OPT_BOOKMARK_INTERVAL},
	{"rv-wait", required_argument, NULL, OPT_RV_WAIT},
	{"initial-rv", required_argument, NULL, OPT_INITIAL_RV},
	{"history", required_argument, NULL, OPT_HISTORY},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static void wrong(const char *option, const char *value)
{
	fprintf(stderr, "sluice-apiserver: --%s: cannot use '%s'\n", option, value);
	exit(2);
}

static double seconds_arg(const char *option, const char *value)
{
	char *end;
	double v = strtod(value, &end);

	if (end == value || *end || v < 0)
		wrong(option, value);
	return v;
}

static uint64_t number_arg(const char *option, const char *value)
{
	uint64_t v;

	if (parse_rv(value, &v) || !v)
		wrong(option, value);
	return v;
}

static void add_arg(const char *option, const char **list, size_t max, size_t *n, const char *value)
{
	if (*n == max)
		wrong(option, value);
	list[(*n)++] = value;
}

static void take_option(struct arguments *a, int id)
{
	switch (id) {
	case OPT_SOCKET:
		add_arg("socket", a->sockets, LISTEN_MAX, &a->n_sockets, optarg);
		break;
	case OPT_LISTEN:
		add_arg("listen", a->addresses, LISTEN_MAX, &a->n_addresses, optarg);
		break;
	case OPT_CONTROL:
		add_arg("control", a->controls, LISTEN_MAX, &a->n_controls, optarg);
		break;
	case OPT_WITHOUT:
		add_arg("without", a->without, RESOURCE_COUNT, &a->n_without, optarg);
		break;
	case OPT_TLS_CERT:
		a->cert = optarg;
		break;
	case OPT_TLS_KEY:
		a->key = optarg;
		break;
	case OPT_TOKEN_FILE:
		a->opt.token_file = optarg;
		break;
	case OPT_MANIFESTS:
		a->manifests = optarg;
		break;
	case OPT_MANIFEST_DEFAULTS:
		a->opt.manifest_defaults = true;
		break;
	case OPT_SYNTHETIC:
		a->synthetic = optarg;
		break;
	case OPT_NO_WATCHLIST:
		a->opt.no_watchlist = true;
		break;
	case OPT_BOOKMARK_INTERVAL:
		a->opt.bookmark_interval = seconds_arg("bookmark-interval", optarg);
		break;
	case OPT_RV_WAIT:
		a->opt.rv_wait = seconds_arg("rv-wait", optarg);
		break;
	case OPT_INITIAL_RV:
		a->first_rv = number_arg("initial-rv", optarg);
		break;
	case OPT_HISTORY:
		a->history = number_arg("history", optarg);
		break;
	case OPT_HELP:
		fputs(usage, stdout);
		exit(0);
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static void parse_arguments(struct arguments *a, int argc, char **argv)
{
	int id;

	a->opt.bookmark_interval = 60;
	a->opt.rv_wait = 3;
	/* ten thousand versions a second pass before a restart could reuse one */
	a->first_rv = (uint64_t)time(NULL) * 10000;
	a->history = 102400;
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(a, id);
	if (optind < argc)
		wrong("", argv[optind]);
	if ((!a->n_sockets && !a->n_addresses) || !a->cert != !a->key) {
		fputs(usage, stderr);
		exit(2);
	}
}

static void on_request(void *arg, struct http_conn *c, const struct http_request *req)
{
	struct standin *si = arg;

	if (!strncmp(req->path, "/_", 2)) {
		control_request(si, c, req);
		return;
	}
	reqlog_add(si->log, req);
	api_request(si, c, req);
}

static void on_change(void *arg, struct table *t)
{
	(void)arg;
	watch_changed(t);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static int listen_all(struct standin *si, const struct arguments *a)
{
	int rc = 0;

	for (size_t i = 0; i < a->n_sockets && !rc; i++)
		rc = http_listen_unix(si->http, a->sockets[i], false);
	for (size_t i = 0; i < a->n_controls && !rc; i++)
		rc = http_listen_unix(si->http, a->controls[i], true);
	for (size_t i = 0; i < a->n_addresses && !rc; i++)
		rc = http_listen_tcp(si->http, a->addresses[i], a->cert, a->key);
	return rc;
}

static int disable_resources(struct standin *si, const struct arguments *a)
{
	for (size_t i = 0; i < a->n_without; i++) {
		int index = resource_by_name(a->without[i]);

		if (index < 0) {
			note("without resource=%s error=\"unknown resource\"", a->without[i]);
			return -1;
		}
		si->store.tables[index].served = false;
	}
	return 0;
}

/* whoever started the program reads these lines to know that it is ready, and where */
static void announce(const struct standin *si)
{
	const char *name;

	for (size_t i = 0; (name = http_listener_name(si->http, i)); i++)
		printf("listening %s\n", name);
	printf("ready\n");
	fflush(stdout);
}

static int start(struct standin *si, const struct arguments *a)
{
	int rc;

	if (disable_resources(si, a))
		return -1;
	if (a->synthetic) {
		rc = synthetic_open(si, a->synthetic, &si->synthetic);
		if (rc)
			return rc;
	}
	if (a->manifests) {
		rc = manifests_open(si, a->manifests, &si->manifests);
		if (rc)
			return rc;
	}
	rc = listen_all(si, a);
	if (!rc)
		announce(si);
	return rc;
}

int main(int argc, char **argv)
{
	struct arguments args = {0};
	struct standin si = {0};
	struct event *on_int, *on_term;
	int rc;

	parse_arguments(&args, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	si.base = event_base_new();
	si.opt = args.opt;
	si.log = reqlog_new();
	LIST_INIT(&si.held);
	faults_init(&si.faults);
	store_init(&si.store, args.first_rv, args.history);
	si.store.changed = on_change;
	on_int = evsignal_new(si.base, SIGINT, on_signal, si.base);
	on_term = evsignal_new(si.base, SIGTERM, on_signal, si.base);
	evsignal_add(on_int, NULL);
	evsignal_add(on_term, NULL);
	http_server_new(si.base, on_request, &si, &si.http);

	rc = start(&si, &args);
	if (!rc)
		event_base_dispatch(si.base);

	http_server_free(si.http);
	manifests_close(si.manifests);
	synthetic_close(si.synthetic);
	faults_fini(&si.faults);
	store_fini(&si.store);
	reqlog_free(si.log);
	event_free(on_int);
	event_free(on_term);
	event_base_free(si.base);
	return rc ? 1 : 0;
}
