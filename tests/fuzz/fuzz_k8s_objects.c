/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Kubernetes objects through decoding and endpoint selection. The first byte chooses the resource,
 * the rest is its JSON; a slice is offered to a fixed service twice. What comes out is sound
 * whatever went in: addresses can be sent to, ports are not 0, lists hold usable endpoints only. */

#include <stdbool.h>

#include "fuzz/fuzz.h"
#include "k8s-sync/decode.h"
#include "k8s-sync/selection.h"

static void check_addr(const struct ip_addr *addr)
{
	FUZZ_CHECK(!ip_is_zero(addr));
	FUZZ_CHECK(!ip_is_loopback(addr));
	FUZZ_CHECK(!ip_is_link_local(addr));
	FUZZ_CHECK(!ip_is_multicast(addr));
}

static void check_addrs(const struct ip_addr *addrs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		check_addr(&addrs[i]);
}

static void check_faults(const struct k8s_faults *faults, bool refused)
{
	FUZZ_CHECK(!refused || faults != NULL);
	for (uint32_t i = 0; faults != NULL && i < faults->n && i < K8S_FAULTS_MAX; i++) {
		FUZZ_CHECK(faults->list[i].field != NULL);
		FUZZ_CHECK(faults->list[i].reason != NULL);
	}
}

static void try_service(const struct jv *object, bool external_ips)
{
	const struct k8s_decode_config config = {.external_ips = external_ips};
	struct k8s_service *s = k8s_service_decode(&config, "ns", "svc", object);

	FUZZ_CHECK(s != NULL);
	check_faults(s->faults, s->refused);
	FUZZ_CHECK(!s->refused || s->spec == NULL);
	if (s->spec != NULL) {
		FUZZ_CHECK(s->spec->n_cluster_ips >= 1 && s->spec->n_cluster_ips <= IP_FAMILIES);
		FUZZ_CHECK(s->spec->n_ports >= 1 && s->spec->n_ports <= K8S_SERVICE_PORTS_MAX);
		check_addrs(s->spec->cluster_ips, s->spec->n_cluster_ips);
		check_addrs(s->spec->external_ips, s->spec->n_external_ips);
		check_addrs(s->spec->lb_vips, s->spec->n_lb_vips);
		FUZZ_CHECK(s->spec->affinity_seconds <= 86400);
		for (uint32_t i = 0; i < s->spec->n_ports; i++) {
			FUZZ_CHECK(s->spec->ports[i].port != 0);
			for (uint32_t j = 0; j < i; j++)
				FUZZ_CHECK(s->spec->ports[i].port != s->spec->ports[j].port ||
					s->spec->ports[i].proto != s->spec->ports[j].proto);
		}
	}
	k8s_service_free(s);
}

static void select_from(const struct k8s_slice *const *slices, uint32_t n, bool local)
{
	const struct selection_self self = {.node = "n1", .zone = "z1"};
	struct model_service *m = model_service_new("ns", "svc");
	struct model_service_port *port;

	FUZZ_CHECK(m != NULL);
	m->cluster_ips = calloc(2, sizeof(*m->cluster_ips));
	m->ports = calloc(1, sizeof(*m->ports));
	FUZZ_CHECK(m->cluster_ips != NULL && m->ports != NULL);
	FUZZ_CHECK(ip_parse("10.96.0.1", &m->cluster_ips[0]) == 0);
	FUZZ_CHECK(ip_parse("fd00::1", &m->cluster_ips[1]) == 0);
	m->n_cluster_ips = 2;
	m->itp_local = m->etp_local = local;
	m->n_ports = 1;
	port = &m->ports[0];
	port->name = strdup("p");
	port->proto = IP_PROTO_TCP;
	port->port = 80;
	port->node_port = 30080;
	FUZZ_CHECK(selection_build(m, port, slices, n, &self) == 0);
	for (uint32_t i = 0; i < port->n_backends; i++) {
		const struct model_backend *b = &port->backends[i];

		check_addr(&b->addr);
		FUZZ_CHECK(b->port != 0);
		FUZZ_CHECK(!(b->in_cluster || b->in_local) || b->ready ||
			(b->serving && b->terminating));
		FUZZ_CHECK(!b->in_local || b->local);
		FUZZ_CHECK(!(b->in_cluster || b->in_local) || port->has_any[ip_family(&b->addr)]);
		if (i > 0) {
			int order = ip_compare(&b[-1].addr, &b->addr);

			FUZZ_CHECK(order < 0 || (order == 0 && b[-1].port < b->port));
		}
	}
	model_service_free(m);
}

static void try_endpoints(struct k8s_endpoints *e)
{
	const struct k8s_slice *slices[64];
	uint32_t n = 0;

	FUZZ_CHECK(e != NULL);
	check_faults(e->faults, e->refused);
	FUZZ_CHECK(e->parts == NULL || e->service != NULL);
	for (const struct k8s_slice *part = e->parts; part != NULL; part = part->next) {
		FUZZ_CHECK(part->n_endpoints > 0 && part->n_ports > 0);
		for (uint32_t i = 0; i < part->n_endpoints; i++) {
			const struct k8s_endpoint *ep = &part->endpoints[i];

			check_addr(&ep->addr);
			FUZZ_CHECK(ip_family(&ep->addr) == part->family);
			FUZZ_CHECK(ep->node < part->strings_len && ep->zone < part->strings_len &&
				ep->target < part->strings_len);
			FUZZ_CHECK(ep->first_hint + ep->n_zone_hints + ep->n_node_hints <=
				part->n_hints);
		}
		if (n < 32) {
			slices[n] = part;
			slices[n++ + 32] = part;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		slices[n + i] = slices[32 + i];
	select_from(slices, 2 * n, false);
	select_from(slices, 2 * n, true);
	k8s_endpoints_free(e);
}

static void try_node(const struct jv *object)
{
	struct k8s_node *n = k8s_node_decode("n1", object);
	struct k8s_cidrs *c = k8s_cidrs_decode(object);

	FUZZ_CHECK(n != NULL && c != NULL);
	check_faults(n->faults, n->refused);
	check_faults(c->faults, c->refused);
	FUZZ_CHECK(n->refused == (n->node == NULL));
	if (n->node != NULL) {
		check_addrs(n->node->internal_ips, n->node->n_internal_ips);
		check_addrs(n->node->external_ips, n->node->n_external_ips);
		for (uint32_t i = 0; i < n->node->n_pod_cidrs; i++)
			FUZZ_CHECK(n->node->pod_cidrs[i].len > 0);
	}
	for (uint32_t i = 0; i < c->n; i++)
		FUZZ_CHECK(c->cidrs[i].len > 0);
	k8s_node_free(n);
	k8s_cidrs_free(c);
}

FUZZ_TARGET(data, size)
{
	struct jv_doc doc = {0};
	const struct jv *object;

	if (size < 1)
		return;
	object = jv_parse_copy(&doc, (const char *)data + 1, size - 1, NULL);
	if (jv_is(object, JV_OBJECT)) {
		switch (data[0] % 5) {
		case 0:
			try_service(object, true);
			break;
		case 1:
			try_service(object, false);
			break;
		case 2:
			try_endpoints(k8s_slice_decode("ns", "obj", object));
			break;
		case 3:
			try_endpoints(k8s_endpoints_decode("ns", "obj", object));
			break;
		default:
			try_node(object);
			break;
		}
	}
	jv_doc_fini(&doc);
}
