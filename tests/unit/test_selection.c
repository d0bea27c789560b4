/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Merging of slices and the two endpoint lists. An endpoint is written as
 * "address[:port] flags [node] [zone hints] [node hints]": r ready, s serving, t terminating. */

#include <jansson.h>

#include "k8s-sync/selection.h"
#include "unit/harness.h"

#define SLICES_MAX 4

/* Policies and frontends of the service under test. */
enum {
	ITP_LOCAL = 1,
	ETP_LOCAL = 2,
	NODE_PORT = 4,
	EXTERNAL_IP = 8,
	VIP = 16,
	V4_ONLY = 32
};

struct setup {
	struct model_service *service;
	struct k8s_endpoints *decoded[SLICES_MAX];
	const struct k8s_slice *parts[SLICES_MAX];
	uint32_t n_parts;
};

static json_t *names(const char *list)
{
	json_t *out = json_array();
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", list);
	for (char *w = strtok_r(copy, "+", &save); w != NULL; w = strtok_r(NULL, "+", &save))
		json_array_append_new(out, json_pack("{s:s}", "name", w));
	return out;
}

/* "10.0.0.1 rs n1 z=a+b n=n1" as a slice's endpoint. */
static json_t *endpoint(const char *text)
{
	char copy[256], *save = NULL, *word;
	json_t *hints = json_object(), *out = json_object();
	const char *flags;

	snprintf(copy, sizeof(copy), "%s", text);
	word = strtok_r(copy, " ", &save);
	json_object_set_new(out, "addresses", json_pack("[s]", word));
	flags = strtok_r(NULL, " ", &save);
	json_object_set_new(out, "conditions",
		json_pack("{s:b, s:b, s:b}", "ready", strchr(flags, 'r') != NULL, "serving",
			strchr(flags, 's') != NULL, "terminating", strchr(flags, 't') != NULL));
	while ((word = strtok_r(NULL, " ", &save)) != NULL) {
		if (strncmp(word, "z=", 2) == 0)
			json_object_set_new(hints, "forZones", names(word + 2));
		else if (strncmp(word, "n=", 2) == 0)
			json_object_set_new(hints, "forNodes", names(word + 2));
		else
			json_object_set_new(out, "nodeName", json_string(word));
	}
	json_object_set_new(out, "hints", hints);
	return out;
}

/* "[udp] port; endpoint; endpoint" as a decoded EndpointSlice; port names are "". */
static struct k8s_endpoints *slice(const char *text)
{
	json_t *list = json_array(), *object;
	struct k8s_endpoints *decoded;
	struct jv_doc doc = {0};
	char *json;
	char copy[2048], *save = NULL, *word;
	bool v6 = strchr(text, ':') != NULL;
	const char *proto = "TCP";
	int port;

	snprintf(copy, sizeof(copy), "%s", text);
	word = strtok_r(copy, ";", &save);
	if (strncmp(word, "udp ", 4) == 0) {
		proto = "UDP";
		word += 4;
	}
	port = atoi(word);
	while ((word = strtok_r(NULL, ";", &save)) != NULL)
		json_array_append_new(list, endpoint(word));
	object = json_pack("{s:{s:{s:s}}, s:s, s:[{s:s, s:i, s:s}], s:o}", "metadata", "labels",
		"kubernetes.io/service-name", "svc", "addressType", v6 ? "IPv6" : "IPv4", "ports",
		"name", "", "port", port, "protocol", proto, "endpoints", list);
	CU_ASSERT_PTR_NOT_NULL_FATAL(object);
	json = json_dumps(object, 0);
	decoded = k8s_slice_decode("ns", "s", jv_parse(&doc, json, strlen(json), NULL));
	CU_ASSERT_PTR_NOT_NULL_FATAL(decoded);
	jv_doc_fini(&doc);
	free(json);
	json_decref(object);
	return decoded;
}

static struct ip_addr *one_addr(const char *text)
{
	struct ip_addr *addr = malloc(sizeof(*addr));

	CU_ASSERT_EQUAL_FATAL(ip_parse(text, addr), 0);
	return addr;
}

static void prepare(struct setup *s, int policy, const char *const slices[SLICES_MAX])
{
	struct model_service *m = model_service_new("ns", "svc");

	*s = (struct setup){.service = m};
	m->cluster_ips = calloc(2, sizeof(*m->cluster_ips));
	m->n_cluster_ips = policy & V4_ONLY ? 1 : 2;
	CU_ASSERT_EQUAL(ip_parse("10.96.0.1", &m->cluster_ips[0]), 0);
	CU_ASSERT_EQUAL(ip_parse("fd00::1", &m->cluster_ips[1]), 0);
	m->itp_local = (policy & ITP_LOCAL) != 0;
	m->etp_local = (policy & ETP_LOCAL) != 0;
	if (policy & EXTERNAL_IP) {
		m->external_ips = one_addr("192.0.2.1");
		m->n_external_ips = 1;
	}
	if (policy & VIP) {
		m->lb_vips = one_addr("192.0.2.2");
		m->n_lb_vips = 1;
	}
	m->ports = calloc(1, sizeof(*m->ports));
	m->n_ports = 1;
	m->ports[0].name = strdup("");
	m->ports[0].proto = IP_PROTO_TCP;
	m->ports[0].port = 80;
	m->ports[0].node_port = policy & NODE_PORT ? 30080 : 0;
	for (int i = 0; i < SLICES_MAX && slices[i] != NULL; i++) {
		s->decoded[i] = slice(slices[i]);
		CU_ASSERT_PTR_NULL(s->decoded[i]->faults);
		if (s->decoded[i]->parts != NULL)
			s->parts[s->n_parts++] = s->decoded[i]->parts;
	}
}

static void release(struct setup *s)
{
	for (int i = 0; i < SLICES_MAX; i++)
		k8s_endpoints_free(s->decoded[i]);
	model_service_free(s->service);
}

static void render(const struct model_service_port *port, char *out, size_t size)
{
	size_t len = (size_t)snprintf(out, size, "any%s%s", port->has_any[IP_V4] ? "4" : "",
		port->has_any[IP_V6] ? "6" : "");
	char text[IP_TEXT_MAX];

	for (uint32_t i = 0; i < port->n_backends; i++) {
		const struct model_backend *b = &port->backends[i];

		len += (size_t)snprintf(out + len, size - len, " %s:%u%s%s%s%s",
			ip_format(&b->addr, text), b->port, b->in_cluster || b->in_local ? "=" : "",
			b->in_cluster ? "c" : "", b->in_local ? "l" : "", b->local ? "." : "");
	}
}

/* "=c" in the cluster list, "=l" in the local list, "." on our node. */
static void check(const char *what, int policy, const char *zone, const char *expected,
	const char *const slices[SLICES_MAX])
{
	const struct selection_self self = {.node = "n1", .zone = zone};
	char got[1024];
	struct setup s;

	prepare(&s, policy, slices);
	CU_ASSERT_EQUAL(
		selection_build(s.service, &s.service->ports[0], s.parts, s.n_parts, &self), 0);
	render(&s.service->ports[0], got, sizeof(got));
	if (strcmp(got, expected) != 0)
		fprintf(stderr, "%s\n  got      %s\n  expected %s\n", what, got, expected);
	CU_ASSERT_STRING_EQUAL(got, expected);
	release(&s);
}

#define CHECK_SELECTION(what, policy, zone, expected, ...)                    \
	do {                                                                  \
		static const char *const slices_[SLICES_MAX] = {__VA_ARGS__}; \
                                                                              \
		check(what, policy, zone, expected, slices_);                 \
	} while (0)

static void merging(void)
{
	CHECK_SELECTION("no slice", 0, NULL, "any", NULL);
	CHECK_SELECTION("two slices, two target ports", 0, NULL,
		"any4 10.0.0.1:8080=c 10.0.0.2:9090=c 10.0.0.3:8080=c",
		"8080;10.0.0.3 rs;10.0.0.1 rs", "9090;10.0.0.2 rs");
	CHECK_SELECTION("one address, two ports", 0, NULL, "any4 10.0.0.1:80=c 10.0.0.1:90=c",
		"90;10.0.0.1 rs", "80;10.0.0.1 rs");
	CHECK_SELECTION("another protocol is another port", 0, NULL, "any4 10.0.0.1:80=c",
		"80;10.0.0.1 rs", "udp 80;10.0.0.2 rs");
	CHECK_SELECTION("moving between slices", 0, NULL, "any4 10.0.0.1:80=c.",
		"80;10.0.0.1 rs n2", "80;10.0.0.1 rs n1");
	CHECK_SELECTION("a terminating duplicate loses behind", 0, NULL, "any4 10.0.0.1:80=c.",
		"80;10.0.0.1 rs n1", "80;10.0.0.1 st n2");
	CHECK_SELECTION("and before", 0, NULL, "any4 10.0.0.1:80=c.", "80;10.0.0.1 st n2",
		"80;10.0.0.1 rs n1");
	CHECK_SELECTION("families apart", 0, NULL, "any6 10.0.0.1:80 fd00::9:80=c", "80;10.0.0.1 s",
		"80;fd00::9 rs");
	CHECK_SELECTION("a family without ClusterIP is not served", V4_ONLY, NULL,
		"any4 10.0.0.1:80=c", "80;10.0.0.1 rs", "80;fd00::9 rs");
}

static void cluster_list(void)
{
	CHECK_SELECTION("ready only", 0, NULL, "any4 10.0.0.1:80=c 10.0.0.2:80 10.0.0.3:80",
		"80;10.0.0.1 rs;10.0.0.2 st;10.0.0.3 s");
	CHECK_SELECTION("fallback to serving and terminating", 0, NULL,
		"any4 10.0.0.1:80=c 10.0.0.2:80 10.0.0.3:80",
		"80;10.0.0.1 st z=b;10.0.0.2 t;10.0.0.3 s");
	CHECK_SELECTION("nothing usable", 0, NULL, "any 10.0.0.1:80 10.0.0.2:80",
		"80;10.0.0.1 s;10.0.0.2 t");
	CHECK_SELECTION("published although terminating and not serving", 0, NULL,
		"any4 10.0.0.1:80=c", "80;10.0.0.1 rt");
	CHECK_SELECTION("not needed", ITP_LOCAL, NULL, "any4 10.0.0.1:80", "80;10.0.0.1 rs n2");
	CHECK_SELECTION("needed for what comes from outside", ITP_LOCAL | NODE_PORT, NULL,
		"any4 10.0.0.1:80=c", "80;10.0.0.1 rs n2");
}

static void local_list(void)
{
	CHECK_SELECTION("ETP Local without an outside is nothing", ETP_LOCAL, NULL,
		"any4 10.0.0.1:80=c.", "80;10.0.0.1 rs n1");
	for (int policy = NODE_PORT; policy <= VIP; policy *= 2)
		CHECK_SELECTION("ETP Local", ETP_LOCAL | policy, NULL,
			"any4 10.0.0.1:80=cl. 10.0.0.2:80=c 10.0.0.3:80=c",
			"80;10.0.0.1 rs n1;10.0.0.2 rs n2;10.0.0.3 rs");
	CHECK_SELECTION("ITP Local", ITP_LOCAL, NULL, "any4 10.0.0.1:80=l. 10.0.0.2:80",
		"80;10.0.0.1 rs n1;10.0.0.2 rs n2");
	CHECK_SELECTION("no local one is not none at all", ITP_LOCAL, NULL, "any4 10.0.0.2:80",
		"80;10.0.0.2 rs n2");
	CHECK_SELECTION("fallbacks are independent", ETP_LOCAL | NODE_PORT, NULL,
		"any4 10.0.0.1:80=l. 10.0.0.2:80=c", "80;10.0.0.1 st n1;10.0.0.2 rs n2");
	CHECK_SELECTION("both in fallback", ETP_LOCAL | NODE_PORT, NULL,
		"any4 10.0.0.1:80=cl. 10.0.0.2:80=c 10.0.0.3:80.",
		"80;10.0.0.1 st n1;10.0.0.2 st n2;10.0.0.3 s n1");
	CHECK_SELECTION("hints do not touch it", ETP_LOCAL | NODE_PORT, "z1",
		"any4 10.0.0.1:80=l. 10.0.0.2:80=c", "80;10.0.0.1 rs n1 z=z2;10.0.0.2 rs n2 z=z1");
}

static void hints(void)
{
	CHECK_SELECTION("same zone", 0, "z1", "any4 10.0.0.1:80=c 10.0.0.2:80 10.0.0.3:80=c",
		"80;10.0.0.1 rs z=z1;10.0.0.2 rs z=z2;10.0.0.3 rs z=z2+z1");
	CHECK_SELECTION("one endpoint without a hint switches them off", 0, "z1",
		"any4 10.0.0.1:80=c 10.0.0.2:80=c", "80;10.0.0.1 rs z=z2;10.0.0.2 rs");
	CHECK_SELECTION("an endpoint that is not ready has no say", 0, "z1",
		"any4 10.0.0.1:80=c 10.0.0.2:80", "80;10.0.0.1 rs z=z1;10.0.0.2 s");
	CHECK_SELECTION("nobody names our zone", 0, "z9", "any4 10.0.0.1:80=c 10.0.0.2:80=c",
		"80;10.0.0.1 rs z=z1;10.0.0.2 rs z=z2");
	CHECK_SELECTION("we have no zone", 0, NULL, "any4 10.0.0.1:80=c 10.0.0.2:80=c",
		"80;10.0.0.1 rs z=z1;10.0.0.2 rs z=z2");
	CHECK_SELECTION("same node before same zone", 0, "z1", "any4 10.0.0.1:80=c. 10.0.0.2:80",
		"80;10.0.0.1 rs n1 z=z1 n=n1;10.0.0.2 rs n2 z=z1 n=n2");
	CHECK_SELECTION("no endpoint for our node: zone", 0, "z1", "any4 10.0.0.1:80=c 10.0.0.2:80",
		"80;10.0.0.1 rs n3 z=z1 n=n3;10.0.0.2 rs n2 z=z2 n=n2");
	CHECK_SELECTION("node hints partly missing: zone", 0, "z1",
		"any4 10.0.0.1:80=c. 10.0.0.2:80",
		"80;10.0.0.1 rs n1 z=z1 n=n1;10.0.0.2 rs n2 z=z2");
	CHECK_SELECTION("each family by itself", 0, "z1",
		"any46 10.0.0.1:80=c 10.0.0.2:80 fd00::1:80=c fd00::2:80=c",
		"80;10.0.0.1 rs z=z1;10.0.0.2 rs z=z2", "80;fd00::1 rs z=z1;fd00::2 rs");
}

/* Whatever order endpoints stand in within their slices, the result is the same. */
static void stable(void)
{
	CHECK_SELECTION("one order", 0, NULL, "any4 10.0.0.1:80=c 10.0.0.2:80=c 10.0.0.10:80=c",
		"80;10.0.0.1 rs;10.0.0.2 rs;10.0.0.10 rs");
	CHECK_SELECTION("another", 0, NULL, "any4 10.0.0.1:80=c 10.0.0.2:80=c 10.0.0.10:80=c",
		"80;10.0.0.10 rs", "80;10.0.0.2 rs;10.0.0.1 rs");
}

static void zone_hints_are_known(void)
{
	struct k8s_endpoints *with = slice("80;10.0.0.1 rs;10.0.0.2 rs z=z1");
	struct k8s_endpoints *without = slice("80;10.0.0.1 rs n=n1");

	CU_ASSERT(selection_has_zone_hints(with->parts));
	CU_ASSERT(!selection_has_zone_hints(without->parts));
	k8s_endpoints_free(with);
	k8s_endpoints_free(without);
}

TEST_SUITE("selection", CASE(merging), CASE(cluster_list), CASE(local_list), CASE(hints),
	CASE(stable), CASE(zone_hints_are_known))
