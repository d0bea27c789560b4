/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Serves the real API over the real model and a real flow table filled with synthetic flows; rim
 * and reconciler are fakes (fake.c). The main thread plays the control thread and takes commands
 * from standard input, one a line, answered by "ok" or "error …":
 *
 *	service NS/NAME N     create or replace, with N ready backends
 *	unservice NS/NAME
 *	churn on|off          a worker thread makes and kills flows all the time
 *	stall WORKER | unstall WORKER
 *	link up|down
 *	silence SECONDS       since the API server was heard
 *
 * usage: api_fixture --socket PATH [--flows N] [--services N]; prints "ready LISTEN HEALTH" with
 * the two TCP ports. Ends at the end of its input. */

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/fake.h"
#include "control/api/api.h"
#include "control/config.h"
#include "control/model.h"
#include "control/notice.h"
#include "core/dataplane.h"
#include "io/rim.h"

#define WORKERS 2
/* Flows of the churn thread have source ports from here. */
#define CHURN_PORT 60000

struct fixture {
	struct dataplane dp;
	struct worker *worker[WORKERS];
	struct model *model;
	struct api *api;
	struct event_base *base;
	struct grace grace;
	pthread_t thread;
	_Atomic bool stop, churn, stalled[WORKERS];
	char line[512];
	size_t used;
};

static struct fixture fx;

/* --- flows ----------------------------------------------------------------------------------- */

static struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	if (ip_parse(text, &a) < 0)
		abort();
	return a;
}

/* Client i of a family talks to a service, or every fourth to the outside, untranslated. */
static void keys_of(enum ip_family f, uint32_t i, uint16_t sport, struct flow_key6 key[2])
{
	struct ip_addr client = ip(f == IP_V4 ? "10.244.0.0" : "fd00:10:244::");
	struct ip_addr vip = ip(f == IP_V4 ? "10.96.0.10" : "fd00:10:96::a");
	struct ip_addr backend = ip(f == IP_V4 ? "10.244.200.9" : "fd00:10:244:c8::9");
	bool plain = i % 4 == 3;

	client.bytes[14] = (uint8_t)(i >> 8);
	client.bytes[15] = (uint8_t)i;
	client.bytes[13] = (uint8_t)(client.bytes[13] + (i >> 16));
	memset(key, 0, 2 * sizeof(*key));
	memcpy(key[0].src, client.bytes, 16);
	memcpy(key[0].dst, plain ? backend.bytes : vip.bytes, 16);
	key[0].sport = htons(sport);
	key[0].dport = htons(plain ? 8080 : 80);
	key[0].proto = plain ? IP_PROTO_UDP : IP_PROTO_TCP;
	memcpy(key[1].src, backend.bytes, 16);
	memcpy(key[1].dst, client.bytes, 16);
	key[1].sport = htons(8080);
	key[1].dport = htons(sport);
	key[1].proto = key[0].proto;
}

static void narrow(struct flow_key4 *to, const struct flow_key6 *from)
{
	memset(to, 0, sizeof(*to));
	memcpy(&to->src, from->src + 12, 4);
	memcpy(&to->dst, from->dst + 12, 4);
	to->sport = from->sport;
	to->dport = from->dport;
	to->proto = from->proto;
}

static uint32_t add_flow(enum ip_family f, uint32_t worker, uint32_t i, uint16_t sport)
{
	struct flow_table *t = fx.dp.flows;
	uint32_t now = rim_now_ms(NULL), entry = flow_alloc(t, f, worker, now), other;
	struct flow_key6 key[2];
	struct flow_cold *cold;
	struct flow_meta *m;

	if (entry == FLOW_NONE)
		return entry;
	keys_of(f, i, sport, key);
	for (int d = 0; d < 2; d++) {
		if (f == IP_V4)
			narrow(&flow_array4(t)[entry].key[d], &key[d]);
		else
			flow_array6(t)[entry].key[d] = key[d];
	}
	m = flow_meta(t, f, entry);
	m->class = key[0].proto == IP_PROTO_TCP ? FLOW_CLASS_TCP : FLOW_CLASS_UDP;
	atomic_store(&m->flags, key[0].proto == IP_PROTO_TCP ? FLOW_F_DNAT : 0);
	cold = &flow_cold_array(t, f)[entry];
	cold->svc_port_id = key[0].proto == IP_PROTO_TCP ? 1 : 0;
	cold->in_vport[0] = 1;
	atomic_store_explicit(&m->state,
		i % 3 == 0                             ? FLOW_NEW
			: key[0].proto == IP_PROTO_TCP ? FLOW_ESTABLISHED
						       : FLOW_REPLIED,
		memory_order_release);
	if (flow_link(t, f, entry, DIR_REPLY, &other) < 0 ||
		flow_link(t, f, entry, DIR_FORWARD, &other) < 0) {
		flow_kill(t, f, entry);
		return FLOW_NONE;
	}
	return entry;
}

/* Workers' thread: heartbeats, and flows that come and go while lists are read. */
static void *work(void *arg)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct flow_timeouts timeouts;
	uint32_t made[64], n = 0;

	/* Nothing ends by itself while a test looks. */
	memset(&timeouts, 0x7f, sizeof(timeouts));
	memset(made, 0xff, sizeof(made));
	while (!fx.stop) {
		for (int w = 0; w < WORKERS; w++)
			if (!fx.stalled[w])
				atomic_fetch_add(&fx.worker[w]->heartbeat, 1);
		for (int i = 0; fx.churn && i < 20; i++, n++) {
			if (made[n % 64] != FLOW_NONE)
				flow_kill(fx.dp.flows, IP_V4, made[n % 64]);
			made[n % 64] =
				add_flow(IP_V4, 0, n % 1000, (uint16_t)(CHURN_PORT + n % 4000));
		}
		grace_complete(&fx.grace, grace_open(&fx.grace));
		flow_sweep(fx.dp.flows, 0, rim_now_ms(NULL), &timeouts);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* --- the model ------------------------------------------------------------------------------- */

static void set_service(const char *ns, const char *name, uint32_t n, uint32_t serial)
{
	struct model_service *s = model_service_new(ns, name);
	char pod[64];

	s->owner = OWNER_KUBERNETES;
	s->type = SERVICE_LOAD_BALANCER;
	s->created = 1700000000;
	s->n_cluster_ips = 2;
	s->cluster_ips = calloc(2, sizeof(struct ip_addr));
	s->cluster_ips[0] = ip_from_v4(htonl(0x0a600000 + serial));
	s->cluster_ips[1] = ip("fd00:10:96::");
	s->cluster_ips[1].bytes[14] = (uint8_t)(serial >> 8);
	s->cluster_ips[1].bytes[15] = (uint8_t)serial;
	s->n_ports = 1;
	s->ports = calloc(1, sizeof(*s->ports));
	s->ports[0].name = strdup("http");
	s->ports[0].proto = IP_PROTO_TCP;
	s->ports[0].port = 80;
	s->ports[0].node_port = (uint16_t)(30000 + serial % 2768);
	s->ports[0].n_backends = n;
	s->ports[0].backends = calloc(n + 1, sizeof(struct model_backend));
	for (uint32_t i = 0; i < n; i++) {
		struct model_backend *b = &s->ports[0].backends[i];

		b->addr = ip_from_v4(htonl(0x0af40000 + i));
		b->port = 8080;
		b->ready = b->serving = b->in_cluster = true;
		b->node = strdup(i % 2 ? "node-a" : "node-b");
		snprintf(pod, sizeof(pod), "%.30s/pod-%u", ns, i);
		b->target = strdup(pod);
	}
	if (model_service_set(fx.model, s) < 0)
		abort();
	fake_reconcile(fx.model);
}

static void report_source(int64_t silent_seconds)
{
	const struct model_source_status watching = {
		.path = "/api/v1/services",
		.phase = "Watching",
		.rv = "4711",
		.events = 12,
		.objects = 3,
		.last_activity_ms = (int64_t)rim_now_ms(NULL) - silent_seconds * 1000,
	};

	model_source_report(fx.model, SOURCE_SERVICES, &watching);
}

static void fill_model(uint32_t services)
{
	struct model_vport *v = model_vport_new("up");
	struct model_node *node = model_node_new("node-a");
	char name[32];

	v->role = 2; /* VPORT_UPLINK */
	v->port = strdup("uplink0");
	v->n_addrs = 1;
	v->addrs = calloc(1, sizeof(*v->addrs));
	v->addrs[0].addr = ip("192.0.2.7");
	v->addrs[0].len = 24;
	v->addrs[0].family = IP_V4;
	if (model_vport_set(fx.model, v) < 0)
		abort();
	node->is_self = true;
	node->n_internal_ips = 1;
	node->internal_ips = calloc(1, sizeof(struct ip_addr));
	node->internal_ips[0] = ip("192.0.2.7");
	if (model_node_set(fx.model, node) < 0)
		abort();
	set_service("shop", "cart", 3, 10);
	set_service("kube-system", "dns", 2, 11);
	for (uint32_t i = 0; i < services; i++) {
		snprintf(name, sizeof(name), "svc-%05u", i);
		set_service("many", name, 4, 100 + i);
	}
	model_refuse(fx.model, "Service", "shop", "broken", "spec.ports[0].port",
		"70000 is not a port; the text \"\x01\xff\" is hostile");
	model_source_await(fx.model, SOURCE_SERVICES);
	report_source(0);
	model_source_complete(fx.model, SOURCE_SERVICES);
	fake_reconcile(fx.model);
}

/* --- commands -------------------------------------------------------------------------------- */

static bool split(char *word, char **name)
{
	*name = strchr(word, '/');
	if (*name == NULL)
		return false;
	*(*name)++ = '\0';
	return true;
}

static bool command(char *line)
{
	static uint32_t serial = 40000;
	char verb[16], word[300] = "", *name;
	unsigned n = 0;

	if (sscanf(line, "%15s %299s %u", verb, word, &n) < 2)
		return false;
	if (strcmp(verb, "service") == 0 && split(word, &name)) {
		set_service(word, name, n, serial++);
	} else if (strcmp(verb, "unservice") == 0 && split(word, &name)) {
		if (model_service_remove(fx.model, word, name, OWNER_KUBERNETES) < 0)
			return false;
		fake_reconcile(fx.model);
	} else if (strcmp(verb, "churn") == 0) {
		fx.churn = strcmp(word, "on") == 0;
	} else if (strcmp(verb, "stall") == 0 || strcmp(verb, "unstall") == 0) {
		fx.stalled[atoi(word) % WORKERS] = verb[0] == 's';
	} else if (strcmp(verb, "link") == 0) {
		fake_link_up = strcmp(word, "up") == 0;
	} else if (strcmp(verb, "silence") == 0) {
		report_source(atoi(word));
	} else {
		return false;
	}
	return true;
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
	ssize_t n = read(fd, fx.line + fx.used, sizeof(fx.line) - fx.used - 1);
	char *end;

	if (n <= 0) {
		event_base_loopbreak(fx.base);
		return;
	}
	fx.used += (size_t)n;
	fx.line[fx.used] = '\0';
	while ((end = strchr(fx.line, '\n')) != NULL) {
		*end = '\0';
		puts(command(fx.line) ? "ok" : "error: not understood");
		fflush(stdout);
		fx.used -= (size_t)(end + 1 - fx.line);
		memmove(fx.line, end + 1, fx.used + 1);
	}
}

static void on_jobs(evutil_socket_t fd, short what, void *arg)
{
	api_control_run(fx.api);
	fake_reconcile(fx.model);
}

/* --- start ----------------------------------------------------------------------------------- */

static void start_dataplane(uint32_t flows)
{
	struct flow_config cfg = {
		.capacity = {flows + 65536, flows},
		.workers = WORKERS,
		.salt = {1, 2},
		.grace = &fx.grace,
	};
	struct flow_table *t;

	if (flow_table_init(&cfg, &t) < 0 || dataplane_init(&fx.dp, t) < 0)
		abort();
	for (uint32_t w = 0; w < WORKERS; w++) {
		fx.worker[w] = calloc(1, sizeof(*fx.worker[w]));
		if (worker_init(fx.worker[w], &fx.dp, w, NULL) < 0)
			abort();
		fx.worker[w]->counters.drops[DROP_NoRoute] = 5 + w;
		fx.worker[w]->counters.received = 1000;
		fx.worker[w]->counters.vport[1].rx_packets = 100;
	}
	for (uint32_t i = 0; i < flows; i++)
		if (add_flow(i % 5 == 4 ? IP_V6 : IP_V4, i % WORKERS, i,
			    (uint16_t)(1024 + i % 50000)) == FLOW_NONE)
			abort();
}

int main(int argc, char **argv)
{
	uint32_t flows = 20000, services = 200;
	struct api_config cfg = {.listen = "127.0.0.1:0", .health = "127.0.0.1:0"};
	struct config *config = config_default();
	struct api_deps deps = {.dp = &fx.dp};
	struct event *input, *jobs;
	struct api_error err;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--socket") == 0)
			cfg.socket = argv[i + 1];
		else if (strcmp(argv[i], "--flows") == 0)
			flows = (uint32_t)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--services") == 0)
			services = (uint32_t)atoi(argv[i + 1]);
		else
			return 2;
	}
	fx.model = deps.model = model_new();
	if (notices_new(&deps.notices) < 0)
		return 1;
	notice_post(deps.notices, true, "Service", "shop", "cart", "Trouble", "a \"note\"");
	fx.base = event_base_new();
	start_dataplane(flows);
	fill_model(services);
	if (api_start(&deps, &cfg, &fx.api, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	api_set_config(fx.api, config);
	pthread_create(&fx.thread, NULL, work, NULL);
	input = event_new(fx.base, 0, EV_READ | EV_PERSIST, on_input, NULL);
	jobs = event_new(fx.base, api_control_fd(fx.api), EV_READ | EV_PERSIST, on_jobs, NULL);
	event_add(input, NULL);
	event_add(jobs, NULL);
	printf("ready %u %u\n", api_listen_port(fx.api), api_health_port(fx.api));
	fflush(stdout);
	event_base_dispatch(fx.base);

	api_stop(fx.api);
	fx.stop = true;
	pthread_join(fx.thread, NULL);
	event_free(input);
	event_free(jobs);
	event_base_free(fx.base);
	for (uint32_t w = 0; w < WORKERS; w++) {
		worker_fini(fx.worker[w]);
		free(fx.worker[w]);
	}
	flow_table_fini(fx.dp.flows);
	dataplane_fini(&fx.dp);
	model_free(fx.model);
	notices_free(deps.notices);
	config_free(config);
	return 0;
}
