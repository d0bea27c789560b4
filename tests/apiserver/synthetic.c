/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The generator. N Services of M endpoints each, spread over K Nodes; addresses follow from the
 * index alone, so a test can compute them. Text is written directly, without a JSON tree: a
 * hundred thousand Services are there in seconds.
 *
 * Churn changes one endpoint a step (remove, add, ready, not ready). Which one is decided by a
 * seeded generator and the number of steps by rate times seconds, so the end state does not depend
 * on timing.
 */
#include "synthetic.h"

#include "standin.h"
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SLICE_MAX = 100, /* endpoints a slice, as the real controller's default */
	NODES_MAX = 100,
	HOSTS_PER_NODE = 65000, /* each Node owns a /16 */
	TICK_MS = 5,
};

#define NAMESPACE "synthetic"
#define CREATED   "2026-01-01T00:00:00Z"

enum endpoint_state {
	ABSENT,
	READY,
	NOT_READY
};

struct churn {
	bool running;
	uint64_t steps, done;
	double rate;
	uint64_t random;
	struct timespec start;
	double took;
	struct event *tick;
	struct http_conn *waiter; /* gets the report at the end */
	bool detail;
};

struct synthetic {
	struct standin *si;
	struct table *services, *slices;
	unsigned int n_services, n_endpoints, n_nodes;
	unsigned int first; /* last part of the first service's addresses */
	bool dual;
	unsigned char *state; /* of endpoint s * n_endpoints + e */
	struct churn churn;
};

static void take_tail(struct evbuffer *buf, char **tail, size_t *len)
{
	*len = evbuffer_get_length(buf);
	*tail = xcalloc(*len + 1, 1);
	evbuffer_remove(buf, *tail, *len);
}

/* ---- addresses: endpoint e of service s is number i = s * M + e ---- */

static unsigned int node_of(const struct synthetic *syn, unsigned int i)
{
	return i % syn->n_nodes;
}

static void print_address(
	struct evbuffer *out, const struct synthetic *syn, unsigned int i, bool v6)
{
	unsigned int node = node_of(syn, i), host = i / syn->n_nodes + 1;

	if (v6)
		evbuffer_add_printf(out, "fd00:10:128:%x::%x", node, host);
	else
		evbuffer_add_printf(out, "10.%u.%u.%u", 128 + node, host >> 8, host & 255);
}

static void cluster_ip(
	const struct synthetic *syn, unsigned int service, bool v6, char *buf, size_t len)
{
	unsigned int host = service + syn->first;

	if (!v6)
		snprintf(buf, len, "10.%u.%u.%u", 96 + (host >> 16), (host >> 8) & 255, host & 255);
	else if (host >> 16)
		snprintf(buf, len, "fd00:10:96::%x:%x", host >> 16, host & 0xffff);
	else
		snprintf(buf, len, "fd00:10:96::%x", host);
}

/* ---- objects ---- */

static void set_service(struct synthetic *syn, unsigned int s)
{
	struct evbuffer *buf = evbuffer_new();
	char name[32], v4[32], v6[48] = "", labels[64], fields[64];
	char *tail;
	size_t len;
	int n;

	snprintf(name, sizeof(name), "svc-%06u", s);
	cluster_ip(syn, s, false, v4, sizeof(v4));
	if (syn->dual)
		cluster_ip(syn, s, true, v6, sizeof(v6));
	evbuffer_add_printf(buf,
		",\"name\":\"%s\",\"namespace\":\"" NAMESPACE "\",\"uid\":\"%08x-1000-4000-8000-"
		"000000000000\",\"creationTimestamp\":\"" CREATED "\",\"labels\":{\"app\":\"%s\"}}"
		",\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"%s\",\"clusterIPs\":[\"%s\"%s%s%s]"
		",\"ipFamilies\":[\"IPv4\"%s],\"ipFamilyPolicy\":\"%s\",\"ports\":[{\"name\":\"http\","
		"\"protocol\":\"TCP\",\"port\":80,\"targetPort\":8080}],\"selector\":{\"app\":\"%s\"},"
		"\"sessionAffinity\":\"None\",\"internalTrafficPolicy\":\"Cluster\"},"
		"\"status\":{\"loadBalancer\":{}}}",
		name, s, name, v4, v4, syn->dual ? ",\"" : "", v6, syn->dual ? "\"" : "",
		syn->dual ? ",\"IPv6\"" : "", syn->dual ? "RequireDualStack" : "SingleStack", name);
	take_tail(buf, &tail, &len);
	evbuffer_free(buf);
	n = snprintf(labels, sizeof(labels), "app%c%s%c", 0, name, 0) + 1;
	snprintf(fields, sizeof(fields), "%s%cClusterIP", v4, 0);
	store_set(&syn->si->store, syn->services,
		object_from_text(
			syn->services->res, NAMESPACE, name, labels, (size_t)n, fields, tail, len));
}

static void print_endpoint(
	struct evbuffer *buf, const struct synthetic *syn, unsigned int i, bool v6)
{
	const char *ready = syn->state[i] == READY ? "true" : "false";

	evbuffer_add_printf(buf, "{\"addresses\":[\"");
	print_address(buf, syn, i, v6);
	evbuffer_add_printf(buf,
		"\"],\"conditions\":{\"ready\":%s,\"serving\":%s,\"terminating\":false},"
		"\"nodeName\":\"node-%u\",\"zone\":\"zone-%u\"}",
		ready, ready, node_of(syn, i), node_of(syn, i) % 3);
}

/* slice number part of service s */
static void set_slice(struct synthetic *syn, unsigned int s, unsigned int part, bool v6)
{
	struct evbuffer *buf = evbuffer_new();
	unsigned int first = part * SLICE_MAX;
	unsigned int end = MIN2(first + SLICE_MAX, syn->n_endpoints);
	char service[32], name[48], labels[160];
	const char *comma = "";
	char *tail;
	size_t len;
	int n;

	snprintf(service, sizeof(service), "svc-%06u", s);
	snprintf(name, sizeof(name), "%s-%s-%u", service, v6 ? "v6" : "v4", part);
	evbuffer_add_printf(buf,
		",\"name\":\"%s\",\"namespace\":\"" NAMESPACE "\",\"uid\":\"%08x-2000-4000-8000-"
		"%08x%04x\",\"creationTimestamp\":\"" CREATED "\",\"labels\":{"
		"\"kubernetes.io/service-name\":\"%s\","
		"\"endpointslice.kubernetes.io/managed-by\":\"endpointslice-controller.k8s.io\"}}"
		",\"addressType\":\"%s\",\"endpoints\":[",
		name, s, part, v6, service, v6 ? "IPv6" : "IPv4");
	for (unsigned int e = first; e < end; e++) {
		unsigned int i = s * syn->n_endpoints + e;

		if (syn->state[i] == ABSENT)
			continue;
		evbuffer_add_printf(buf, "%s", comma);
		comma = ",";
		print_endpoint(buf, syn, i, v6);
	}
	evbuffer_add_printf(
		buf, "],\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}]}");
	take_tail(buf, &tail, &len);
	evbuffer_free(buf);
	n = snprintf(labels, sizeof(labels),
		    "kubernetes.io/service-name%c%s%c"
		    "endpointslice.kubernetes.io/managed-by%cendpointslice-controller.k8s.io%c",
		    0, service, 0, 0, 0) +
		1;
	store_set(&syn->si->store, syn->slices,
		object_from_text(
			syn->slices->res, NAMESPACE, name, labels, (size_t)n, NULL, tail, len));
}

static void set_json(struct synthetic *syn, const char *plural, json_t *root)
{
	struct table *t = &syn->si->store.tables[resource_by_name(plural)];
	struct object *o;

	defaults_metadata(syn->si, t, root, NULL);
	if (!object_from_json(t->res, root, &o))
		store_set(&syn->si->store, t, o);
	json_decref(root);
}

static void set_node(struct synthetic *syn, unsigned int node)
{
	char name[32], address[32], v4[32], v6[48];

	snprintf(name, sizeof(name), "node-%u", node);
	snprintf(address, sizeof(address), "172.30.0.%u", node + 1);
	snprintf(v4, sizeof(v4), "10.%u.0.0/16", 128 + node);
	snprintf(v6, sizeof(v6), "fd00:10:128:%x::/64", node);
	set_json(syn, "nodes",
		json_pack("{s:{s:s, s:{s:s}}, s:{s:s, s:[s,s]}, s:{s:[{s:s, s:s}]}}", "metadata",
			"name", name, "labels", "kubernetes.io/hostname", name, "spec", "podCIDR",
			v4, "podCIDRs", v4, v6, "status", "addresses", "type", "InternalIP",
			"address", address));
}

static void populate(struct synthetic *syn)
{
	unsigned int parts = (syn->n_endpoints + SLICE_MAX - 1) / SLICE_MAX;

	set_json(syn, "namespaces", json_pack("{s:{s:s}}", "metadata", "name", NAMESPACE));
	for (unsigned int node = 0; node < syn->n_nodes; node++)
		set_node(syn, node);
	for (unsigned int s = 0; s < syn->n_services; s++) {
		set_service(syn, s);
		for (unsigned int part = 0; part < parts; part++)
			set_slice(syn, s, part, false);
		for (unsigned int part = 0; syn->dual && part < parts; part++)
			set_slice(syn, s, part, true);
	}
}

/* ---- churn ---- */

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void step(struct synthetic *syn)
{
	unsigned int total = syn->n_services * syn->n_endpoints;
	unsigned int i = (unsigned int)(next_random(&syn->churn.random) % total);
	unsigned int s = i / syn->n_endpoints, part = i % syn->n_endpoints / SLICE_MAX;
	bool remove = next_random(&syn->churn.random) & 1;

	if (syn->state[i] == ABSENT || (syn->state[i] == NOT_READY && !remove))
		syn->state[i] = READY;
	else
		syn->state[i] = remove ? ABSENT : NOT_READY;
	set_slice(syn, s, part, false);
	if (syn->dual)
		set_slice(syn, s, part, true);
	syn->churn.done++;
}

static double elapsed(const struct churn *ch)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - ch->start.tv_sec) +
		(double)(now.tv_nsec - ch->start.tv_nsec) / 1e9;
}

static json_t *service_detail(const struct synthetic *syn, unsigned int s)
{
	json_t *ready = json_array(), *not_ready = json_array();
	struct evbuffer *buf = evbuffer_new();

	for (unsigned int e = 0; e < syn->n_endpoints; e++) {
		unsigned int i = s * syn->n_endpoints + e;

		if (syn->state[i] == ABSENT)
			continue;
		print_address(buf, syn, i, false);
		json_array_append_new(syn->state[i] == READY ? ready : not_ready,
			json_stringn((char *)evbuffer_pullup(buf, -1), evbuffer_get_length(buf)));
		evbuffer_drain(buf, evbuffer_get_length(buf));
	}
	evbuffer_free(buf);
	return json_pack("{s:o, s:o}", "ready", ready, "notReady", not_ready);
}

static json_t *report(const struct synthetic *syn, bool detail)
{
	size_t counts[3] = {0};
	char name[48], rv[24];
	json_t *body, *services;

	for (unsigned int i = 0; i < syn->n_services * syn->n_endpoints; i++)
		counts[syn->state[i]]++;
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)syn->si->store.rv);
	body = json_pack("{s:b, s:I, s:f, s:I, s:I, s:I, s:s}", "running", syn->churn.running,
		"changes", (json_int_t)syn->churn.done, "seconds", syn->churn.took, "ready",
		(json_int_t)counts[READY], "notReady", (json_int_t)counts[NOT_READY], "absent",
		(json_int_t)counts[ABSENT], "resourceVersion", rv);
	if (!detail)
		return body;
	services = json_object();
	for (unsigned int s = 0; s < syn->n_services; s++) {
		snprintf(name, sizeof(name), NAMESPACE "/svc-%06u", s);
		json_object_set_new(services, name, service_detail(syn, s));
	}
	json_object_set_new(body, "services", services);
	return body;
}

static void reply_report(const struct synthetic *syn, struct http_conn *c, int code, bool detail)
{
	json_t *body = report(syn, detail);

	reply_json(c, code, body);
	json_decref(body);
}

static void churn_end(struct synthetic *syn)
{
	struct churn *ch = &syn->churn;
	struct http_conn *waiter = ch->waiter;

	ch->running = false;
	ch->took = elapsed(ch);
	ch->waiter = NULL;
	event_del(ch->tick);
	if (!waiter)
		return;
	http_watch_conn(waiter, NULL, NULL, NULL);
	reply_report(syn, waiter, 200, ch->detail);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct synthetic *syn = arg;
	struct churn *ch = &syn->churn;
	double due = elapsed(ch) * ch->rate;

	(void)fd;
	(void)what;
	while (ch->done < ch->steps && (double)ch->done < due)
		step(syn);
	if (ch->done == ch->steps)
		churn_end(syn);
}

static void waiter_closed(void *arg)
{
	struct synthetic *syn = arg;

	syn->churn.waiter = NULL;
}

static void churn_start(struct synthetic *syn, struct http_conn *c, const json_t *order)
{
	struct churn *ch = &syn->churn;
	struct timeval tv = {.tv_usec = TICK_MS * 1000};
	bool wait = !json_is_false(json_object_get(order, "wait"));

	ch->rate = jnum(order, "rate", 100);
	ch->steps = (uint64_t)(ch->rate * jnum(order, "seconds", 1) + 0.5);
	ch->random = (uint64_t)jnum(order, "seed", 1);
	ch->detail = jbool(order, "detail");
	ch->done = 0;
	ch->took = 0;
	ch->running = true;
	clock_gettime(CLOCK_MONOTONIC, &ch->start);
	event_add(ch->tick, &tv);
	if (wait) {
		ch->waiter = c;
		http_watch_conn(c, NULL, waiter_closed, syn);
	} else {
		reply_report(syn, c, 202, false);
	}
}

void synthetic_request(struct standin *si, struct http_conn *c, const struct http_request *req)
{
	struct synthetic *syn = si->synthetic;
	json_t *order;

	if (!syn) {
		reply_status(c, 409, NULL, "there is nothing to churn: start with --synthetic");
		return;
	}
	if (strcmp(req->method, "POST")) {
		reply_report(syn, c, 200, http_query(req, "detail"));
		return;
	}
	order = json_loadb(req->body ? req->body : "", req->body_len, 0, NULL);
	if (syn->churn.running)
		reply_status(c, 409, NULL, "a churn is running");
	else if (!json_is_object(order) || jnum(order, "rate", 100) <= 0 ||
		jnum(order, "seconds", 1) < 0)
		reply_status(c, 400, NULL, "the body must be {\"rate\": > 0, \"seconds\": >= 0}");
	else
		churn_start(syn, c, order);
	json_decref(order);
}

/* ---- start ---- */

static int parse_spec(struct synthetic *syn, const char *spec)
{
	char *copy = xstrdup(spec), *save = NULL;
	unsigned int dual = 0;
	int rc = 0;

	for (char *p = strtok_r(copy, ",", &save); p && !rc; p = strtok_r(NULL, ",", &save))
		if (sscanf(p, "services=%u", &syn->n_services) != 1 &&
			sscanf(p, "endpoints=%u", &syn->n_endpoints) != 1 &&
			sscanf(p, "nodes=%u", &syn->n_nodes) != 1 &&
			sscanf(p, "first=%u", &syn->first) != 1 &&
			sscanf(p, "dual=%u", &dual) != 1) {
			note("synthetic spec=%s error=\"unknown part '%s'\"", spec, p);
			rc = -EINVAL;
		}
	free(copy);
	syn->dual = dual;
	if (!rc &&
		(!syn->n_services || syn->n_services > 1000000 || !syn->n_endpoints ||
			!syn->n_nodes || syn->n_nodes > NODES_MAX || syn->first > 1000000 ||
			(uint64_t)syn->n_services * syn->n_endpoints >
				(uint64_t)syn->n_nodes * HOSTS_PER_NODE)) {
		note("synthetic spec=%s error=\"needs 1..1000000 services, 1..%d nodes, at most "
		     "%d endpoints a node, and a first address up to 1000000\"",
			spec, NODES_MAX, HOSTS_PER_NODE);
		rc = -EINVAL;
	}
	return rc;
}

int synthetic_open(struct standin *si, const char *spec, struct synthetic **out)
{
	struct synthetic *syn = xcalloc(1, sizeof(*syn));

	syn->si = si;
	syn->n_endpoints = 3;
	syn->n_nodes = 16;
	syn->first = 16;
	syn->services = &si->store.tables[resource_by_name("services")];
	syn->slices = &si->store.tables[resource_by_name("endpointslices")];
	if (parse_spec(syn, spec)) {
		free(syn);
		return -EINVAL;
	}
	syn->state = xcalloc((size_t)syn->n_services * syn->n_endpoints, 1);
	memset(syn->state, READY, (size_t)syn->n_services * syn->n_endpoints);
	syn->churn.tick = event_new(si->base, -1, EV_PERSIST, on_tick, syn);
	populate(syn);
	*out = syn;
	return 0;
}

void synthetic_close(struct synthetic *syn)
{
	if (!syn)
		return;
	event_free(syn->churn.tick);
	free(syn->state);
	free(syn);
}
