/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* sluiced: reads its command line and its configuration; then start, run, stop. */

#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/log.h"
#include "control/sluiced.h"

static int run(struct sluiced *s)
{
	config_apply_log(s->cfg);
	config_log_notes(s->cfg);
	LOG_INFO(main, "starting", "version=%s node=%s", SLUICE_VERSION, s->cfg->node.name);
	if (sluiced_start(s) < 0)
		return sluiced_stop(s, EXIT_FAILURE);
	event_base_dispatch(s->base);
	return sluiced_stop(s, EXIT_SUCCESS);
}

static void usage(FILE *f)
{
	fputs("usage: sluiced [--config FILE] [--check-config]\n"
	      "       sluiced --print-config-reference | --print-kube-proxy-options | --version | "
	      "--help\n\n"
	      "  --config FILE            default " CONFIG_DEFAULT_PATH "\n"
	      "  --check-config           read the file, say what is wrong with it, and end\n"
	      "  --print-config-reference every key with its default, as YAML\n"
	      "  --print-kube-proxy-options\n"
	      "                           what becomes of kube-proxy's options, as Markdown\n\n"
	      "SIGHUP reads the file again, SIGTERM drains and ends.\n",
		f);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'n'},
		{"print-config-reference", no_argument, NULL, 'p'},
		{"print-kube-proxy-options", no_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct sluiced s = {.path = CONFIG_DEFAULT_PATH, .claim = -1, .notice_fd = -1};
	struct config_errors errors = {0};
	bool check = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			s.path = optarg;
			break;
		case 'n':
			check = true;
			break;
		case 'p':
			return config_print_reference(stdout) < 0;
		case 'k':
			return config_print_kube_proxy(stdout) < 0;
		case 'v':
			printf("sluiced %s (%s)\n", SLUICE_VERSION, rim_dpdk_version());
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc) {
		usage(stderr);
		return 2;
	}
	if (config_load(s.path, &s.cfg, &errors) < 0) {
		fputs(errors.text, stderr);
		config_errors_fini(&errors);
		return 1;
	}
	if (check) {
		for (uint32_t i = 0; i < s.cfg->notes.n; i++)
			printf("%s: %s\n", s.path, s.cfg->notes.at[i]);
		printf("%s: good\n", s.path);
		config_free(s.cfg);
		return 0;
	}
	signal(SIGPIPE, SIG_IGN);
	return run(&s);
}
