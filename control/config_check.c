/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Rules between the keys of a configuration whose single values are right. Pure but for the
 * errors it adds; control thread. */

#include <string.h>

#include "control/config_private.h"
#include "core/dataplane.h"

static int line_of(const struct loader *l, const char *path)
{
	int row = config_row(path);

	return row >= 0 ? l->lines[row] : 0;
}

/* Says it at the key's line, or at the file when the key is not in it. */
#define COMPLAIN(l, path, ...) config_error(l, line_of(l, path), path, __VA_ARGS__)

static bool same_text(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* --- sections ------------------------------------------------------------------------------------
 */

static void check_kubernetes(struct loader *l)
{
	const struct config_kubernetes *k = &l->config->kubernetes;
	bool tls = k->url != NULL && strncmp(k->url, "https://", 8) == 0;

	if (k->socket != NULL && k->url != NULL)
		COMPLAIN(l, "kubernetes.url", "not together with kubernetes.socket");
	if (k->ca_file != NULL && !tls)
		COMPLAIN(l, "kubernetes.ca-file", "needs an https kubernetes.url");
	if (k->token_file != NULL && !tls)
		COMPLAIN(l, "kubernetes.token-file",
			"needs an https kubernetes.url: a token must not travel in the clear");
	if ((k->client_cert_file == NULL) != (k->client_key_file == NULL))
		COMPLAIN(l,
			k->client_cert_file != NULL ? "kubernetes.client-cert-file"
						    : "kubernetes.client-key-file",
			"certificate and key are needed together");
	else if (k->client_cert_file != NULL && !tls)
		COMPLAIN(l, "kubernetes.client-cert-file", "needs an https kubernetes.url");
}

static void check_workers(struct loader *l)
{
	struct config_workers *w = &l->config->workers;

	if (w->lcores.n != 0) {
		if (line_of(l, "workers.count") != 0 && w->count != w->lcores.n)
			COMPLAIN(l, "workers.count", "%u, but workers.lcores names %u CPUs",
				w->count, w->lcores.n);
		w->count = w->lcores.n;
	}
	if (w->idle_sleep_max_us != 0 && w->idle_sleep_max_us < w->idle_sleep_min_us)
		COMPLAIN(l, "workers.idle-sleep-max-us", "%u is below workers.idle-sleep-min-us %u",
			w->idle_sleep_max_us, w->idle_sleep_min_us);
}

static void check_addresses(struct loader *l)
{
	const struct config_addrs *snat = &l->config->snat.addresses;
	const struct config_addrs *node = &l->config->node.addresses;
	char buf[IP_TEXT_MAX];

	if (snat->n == 2 && ip_family(&snat->at[0]) == ip_family(&snat->at[1]))
		COMPLAIN(l, "snat.addresses", "both are of one family; one of each is possible");
	for (uint32_t i = 0; i < node->n; i++)
		for (uint32_t j = 0; j < i; j++)
			if (ip_equal(&node->at[i], &node->at[j]))
				COMPLAIN(l, "node.addresses", "%s is given twice",
					ip_format(&node->at[i], buf));
	if (!ip_is_link_local(&l->config->gateway.addr[IP_V6]))
		COMPLAIN(l, "gateway.ipv6", "%s is not link-local (fe80::/10), as a router must be",
			ip_format(&l->config->gateway.addr[IP_V6], buf));
}

static void check_ports_left(struct loader *l)
{
	const struct config_range *p = &l->config->snat.ports;
	const struct config_range *avoid = &l->config->services.node_port_range;

	if (p->min >= avoid->min && p->max <= avoid->max)
		COMPLAIN(l, "snat.ports",
			"%u-%u is inside services.node-port-range: no port is left", p->min,
			p->max);
}

/* --- ports ----------------------------------------------------------------------------------- */

enum port_needs {
	NEEDS_IFACE = 1 << 0,
	NEEDS_ADDRESS = 1 << 1,
	NEEDS_PATH = 1 << 2,
	MAY_IFACE = 1 << 3,
	MAY_TX_PATH = 1 << 4,
	MAY_SERVER = 1 << 5,
	MAY_MEMIF_ID = 1 << 6,
	NEEDS_DEVICE = 1 << 7,
};

static const unsigned port_rules[PORT_KINDS] = {
	[PORT_PCI] = NEEDS_ADDRESS,
	[PORT_AF_PACKET] = NEEDS_IFACE,
	[PORT_AF_XDP] = NEEDS_IFACE,
	[PORT_TAP] = MAY_IFACE,
	[PORT_MEMIF] = NEEDS_PATH | MAY_SERVER | MAY_MEMIF_ID,
	[PORT_VHOST_USER] = NEEDS_PATH | MAY_SERVER,
	[PORT_VIRTIO_USER] = NEEDS_PATH | MAY_SERVER,
	[PORT_PCAP] = NEEDS_PATH | MAY_TX_PATH,
	[PORT_NULL] = 0,
	[PORT_ETHDEV] = NEEDS_DEVICE,
};

static void check_port(struct loader *l, const char *key, const struct config_port *p, int line)
{
	const char *kind = port_kind_names[p->kind];
	unsigned rules = port_rules[p->kind];
	const struct {
		const char *name;
		bool given;
		unsigned needs, may;
	} parts[] = {
		{"iface", p->iface != NULL, NEEDS_IFACE, MAY_IFACE},
		{"address", p->address != NULL, NEEDS_ADDRESS, 0},
		{"device", p->device != NULL, NEEDS_DEVICE, 0},
		{"path", p->path != NULL, NEEDS_PATH, 0},
		{"tx-path", p->tx_path != NULL, 0, MAY_TX_PATH},
		{"server", p->server, 0, MAY_SERVER},
		{"memif-id", p->memif_id != 0, 0, MAY_MEMIF_ID},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if ((rules & parts[i].needs) != 0 && !parts[i].given)
			config_error(l, line, key, "kind %s needs %s", kind, parts[i].name);
		if (parts[i].given && (rules & (parts[i].needs | parts[i].may)) == 0)
			config_error(
				l, line, key, "%s has no meaning for kind %s", parts[i].name, kind);
	}
	if (p->mtu != 0 && p->mtu < 68)
		config_error(l, line, key, "mtu %u is below 68", p->mtu);
}

static bool same_device(const struct config_port *a, const struct config_port *b)
{
	if (a->kind == PORT_MEMIF && b->kind == PORT_MEMIF && a->memif_id != b->memif_id)
		return false;
	return same_text(a->address, b->address) || same_text(a->device, b->device) ||
		same_text(a->iface, b->iface) ||
		(a->kind != PORT_PCAP && same_text(a->path, b->path));
}

/* Number i counts the ports, then the vports that bring one; NULL behind the last. */
static const struct config_port *any_port(const struct config *c, uint32_t i)
{
	if (i < c->n_ports)
		return &c->ports[i];
	for (uint32_t v = 0, n = c->n_ports; v < c->n_vports; v++)
		if (c->vports[v].own_port.kind >= 0 && n++ == i)
			return &c->vports[v].own_port;
	return NULL;
}

static void check_ports(struct loader *l)
{
	const struct config *c = l->config;
	const struct config_port *p, *q;
	char key[32];

	for (uint32_t i = 0; i < c->n_ports; i++) {
		snprintf(key, sizeof(key), "ports[%u]", i);
		check_port(l, key, &c->ports[i], c->ports[i].line);
		for (uint32_t j = 0; j < i; j++)
			if (same_text(c->ports[i].name, c->ports[j].name))
				config_error(l, c->ports[i].line, key,
					"the name %s is used in line %d", c->ports[i].name,
					c->ports[j].line);
	}
	for (uint32_t i = 0; (p = any_port(c, i)) != NULL; i++)
		for (uint32_t j = 0; j < i && (q = any_port(c, j)) != NULL; j++)
			if (same_device(p, q))
				config_error(l, p->line, "kind",
					"the port of line %d is on the same device", q->line);
}

/* --- vports ---------------------------------------------------------------------------------- */

static bool has_inline_keys(const struct config_port *p)
{
	return p->iface != NULL || p->address != NULL || p->device != NULL || p->path != NULL ||
		p->tx_path != NULL || p->args != NULL || p->queues != 0 || p->descriptors != 0 ||
		p->server || p->memif_id != 0;
}

static void check_vport_port(struct loader *l, const char *key, const struct config_vport *v)
{
	const struct config *c = l->config;
	bool found = false;

	if ((v->port != NULL) == (v->own_port.kind >= 0)) {
		config_error(l, v->line, key,
			v->port != NULL ? "port and kind exclude each other"
					: "either port or kind is required");
		return;
	}
	if (v->port == NULL) {
		check_port(l, key, &v->own_port, v->line);
		if (v->vlan != 0)
			config_error(l, v->line, key, "vlan needs a port under ports");
		return;
	}
	if (has_inline_keys(&v->own_port))
		config_error(l, v->line, key, "keys of a port need kind instead of port");
	for (uint32_t i = 0; i < c->n_ports; i++)
		found |= same_text(c->ports[i].name, v->port);
	if (!found)
		config_error(l, v->line, key, "there is no port %s", v->port);
}

static void check_vport(struct loader *l, const char *key, const struct config_vport *v)
{
	check_vport_port(l, key, v);
	if (v->role == VPORT_POD && v->addresses.n == 0)
		config_error(l, v->line, key, "a pod needs addresses");
	if (v->role == VPORT_UPLINK && v->peer_mac.set)
		config_error(l, v->line, key, "peer-mac has no meaning for an uplink");
	if (v->mtu != 0 && v->mtu < 68)
		config_error(l, v->line, key, "mtu %u is below 68", v->mtu);
	if (v->mtu != 0 && v->mtu < 1280)
		for (uint32_t i = 0; i < v->addresses.n; i++)
			if (v->addresses.at[i].family == IP_V6) {
				config_error(l, v->line, key,
					"mtu %u is below 1280, which IPv6 needs", v->mtu);
				return;
			}
}

static void check_vport_pair(struct loader *l, const char *key, const struct config_vport *v,
	const struct config_vport *w)
{
	char buf[IP_TEXT_MAX];

	if (same_text(v->name, w->name))
		config_error(l, v->line, key, "the name %s is used in line %d", v->name, w->line);
	if (same_text(v->port, w->port) && v->vlan == w->vlan)
		config_error(l, v->line, key, "port %s with vlan %u is used in line %d", v->port,
			v->vlan, w->line);
	/* The host's addresses are those of the uplink, too. */
	if (v->role == VPORT_UPLINK || w->role == VPORT_UPLINK)
		return;
	for (uint32_t i = 0; i < v->addresses.n; i++)
		for (uint32_t j = 0; j < w->addresses.n; j++)
			if (v->addresses.at[i].len == w->addresses.at[j].len &&
				ip_equal(&v->addresses.at[i].addr, &w->addresses.at[j].addr))
				config_error(l, v->line, key, "the address %s is used in line %d",
					ip_format(&v->addresses.at[i].addr, buf), w->line);
}

static void check_vports(struct loader *l)
{
	const struct config *c = l->config;
	uint32_t hosts = 0;
	char key[32];

	for (uint32_t i = 0; i < c->n_vports; i++) {
		const struct config_vport *v = &c->vports[i];

		snprintf(key, sizeof(key), "vports[%u]", i);
		check_vport(l, key, v);
		if (v->role == VPORT_HOST && ++hosts == 2)
			config_error(l, v->line, key, "there is a second vport of role host");
		for (uint32_t j = 0; j < i; j++)
			check_vport_pair(l, key, v, &c->vports[j]);
	}
}

/* --- routes ---------------------------------------------------------------------------------- */

static void check_route(struct loader *l, const char *key, const struct config_route *r)
{
	const struct config *c = l->config;
	bool via = !ip_is_zero(&r->via), found = r->vport == NULL;

	if (r->kind != ROUTE_UNICAST && (via || r->vport != NULL))
		config_error(l, r->line, key, "a %s route has neither via nor vport",
			r->kind == ROUTE_BLACKHOLE ? "blackhole" : "prohibit");
	if (r->kind == ROUTE_UNICAST && !via && r->vport == NULL)
		config_error(l, r->line, key, "via or vport is required");
	if (via && ip_family(&r->via) != r->prefix.family)
		config_error(l, r->line, key, "via is not of the prefix's family");
	for (uint32_t i = 0; i < c->n_vports; i++)
		found |= same_text(c->vports[i].name, r->vport);
	if (!found)
		config_error(l, r->line, key, "there is no vport %s", r->vport);
}

static void check_routes(struct loader *l)
{
	const struct config *c = l->config;
	char key[32], buf[IP_PREFIX_TEXT_MAX];

	for (uint32_t i = 0; i < c->n_routes; i++) {
		const struct config_route *r = &c->routes[i];

		snprintf(key, sizeof(key), "routes[%u]", i);
		check_route(l, key, r);
		for (uint32_t j = 0; j < i; j++)
			if (r->prefix.len == c->routes[j].prefix.len &&
				r->prefix.family == c->routes[j].prefix.family &&
				ip_equal(&r->prefix.addr, &c->routes[j].prefix.addr))
				config_error(l, r->line, key, "%s is routed in line %d",
					ip_prefix_format(&r->prefix, buf), c->routes[j].line);
	}
}

void config_check(struct loader *l)
{
	check_kubernetes(l);
	check_workers(l);
	check_addresses(l);
	check_ports_left(l);
	check_ports(l);
	check_vports(l);
	check_routes(l);
}
