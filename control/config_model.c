/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What the configuration asks of other parts: log levels, the model's vports and routes, the flow
 * timeouts. Control thread. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_private.h"
#include "core/dataplane.h"

void config_apply_log(const struct config *c)
{
	log_set_format((enum log_format)c->log.format);
	log_set_level(NULL, log_level_names[c->log.level]);
	for (uint32_t i = 0; i < c->log.n_modules; i++)
		log_set_level(c->log.modules[i].name, log_level_names[c->log.modules[i].level]);
}

static uint32_t ms(uint32_t seconds)
{
	return seconds * 1000;
}

void config_flow_timeouts(const struct config *c, struct flow_timeouts *out)
{
	const struct config_flow_timeouts *t = &c->flows.timeouts;

	flow_timeouts_default(out);
	out->ms[FLOW_CLASS_TCP][FLOW_NEW] = ms(t->tcp_new);
	out->ms[FLOW_CLASS_TCP][FLOW_REPLIED] = ms(t->tcp_replied);
	out->ms[FLOW_CLASS_TCP][FLOW_ESTABLISHED] = ms(t->tcp_established);
	out->ms[FLOW_CLASS_TCP][FLOW_FIN] = ms(t->tcp_fin);
	out->ms[FLOW_CLASS_TCP][FLOW_CLOSING] = ms(t->tcp_closing);
	out->ms[FLOW_CLASS_TCP][FLOW_RESET] = ms(t->tcp_closing);
	out->ms[FLOW_CLASS_UDP][FLOW_NEW] = ms(t->udp);
	out->ms[FLOW_CLASS_UDP][FLOW_REPLIED] = ms(t->udp_replied);
	out->ms[FLOW_CLASS_ICMP][FLOW_NEW] = ms(t->icmp);
	out->ms[FLOW_CLASS_ICMP][FLOW_REPLIED] = ms(t->icmp);
	out->ms[FLOW_CLASS_SCTP][FLOW_NEW] = ms(t->sctp_new);
	out->ms[FLOW_CLASS_SCTP][FLOW_REPLIED] = ms(t->sctp_established);
	out->ms[FLOW_CLASS_SCTP][FLOW_ESTABLISHED] = ms(t->sctp_established);
	out->ms[FLOW_CLASS_SCTP][FLOW_FIN] = ms(t->sctp_closing);
	out->ms[FLOW_CLASS_SCTP][FLOW_CLOSING] = ms(t->sctp_closing);
	out->ms[FLOW_CLASS_SCTP][FLOW_RESET] = ms(t->sctp_closing);
}

static bool copy_text(char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL;
}

struct model_port *config_model_port(const struct config_port *from, const char *name)
{
	struct model_port *p = model_port_new(name);

	if (p == NULL)
		return NULL;
	p->kind = (uint8_t)from->kind;
	p->promiscuous = from->promiscuous;
	p->server = from->server;
	p->memif_id = from->memif_id;
	p->queues = (uint16_t)from->queues;
	p->descriptors = (uint16_t)from->descriptors;
	p->mtu = (uint16_t)from->mtu;
	if (copy_text(&p->iface, from->iface) && copy_text(&p->path, from->path) &&
		copy_text(&p->tx_path, from->tx_path) && copy_text(&p->address, from->address) &&
		copy_text(&p->device, from->device) && copy_text(&p->args, from->args))
		return p;
	model_port_free(p);
	return NULL;
}

static struct model_vport *model_vport(const struct config *c, const struct config_vport *from)
{
	struct model_vport *v = model_vport_new(from->name);
	const struct config_mac *mac = &from->mac;

	if (v == NULL)
		return NULL;
	v->owner = OWNER_CONFIG;
	v->role = (uint8_t)from->role;
	v->vlan = (uint16_t)from->vlan;
	v->mtu = (uint16_t)from->mtu;
	v->source_guard = from->role == VPORT_POD && from->source_guard;
	if (!mac->set && from->role != VPORT_UPLINK)
		mac = &c->gateway.mac;
	v->has_mac = mac->set;
	memcpy(v->mac, mac->bytes, 6);
	v->has_peer_mac = from->peer_mac.set;
	memcpy(v->peer_mac, from->peer_mac.bytes, 6);
	if (from->addresses.n > 0) {
		v->addrs = calloc(from->addresses.n, sizeof(*v->addrs));
		if (v->addrs == NULL)
			goto fail;
		memcpy(v->addrs, from->addresses.at, from->addresses.n * sizeof(*v->addrs));
		v->n_addrs = from->addresses.n;
	}
	if (!copy_text(&v->port, from->port))
		goto fail;
	if (from->own_port.kind >= 0) {
		v->own_port = config_model_port(&from->own_port, from->name);
		if (v->own_port == NULL)
			goto fail;
		if (v->own_port->mtu == 0)
			v->own_port->mtu = v->mtu;
	}
	return v;
fail:
	model_vport_free(v);
	return NULL;
}

static struct model_route *model_route(const struct config_route *from)
{
	struct model_route *r = model_route_new(&from->prefix);

	if (r == NULL)
		return NULL;
	r->owner = OWNER_CONFIG;
	r->kind = (uint8_t)from->kind;
	r->has_via = !ip_is_zero(&from->via);
	r->via = from->via;
	if (!copy_text(&r->vport, from->vport)) {
		model_route_free(r);
		return NULL;
	}
	return r;
}

/* --- removing what is no longer in the file -------------------------------------------------- */

struct stale {
	const struct config *config;
	uint32_t n;
	char **vports;
	struct ip_prefix *routes;
};

static bool stale_vport(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	const struct model_vport *v = object;
	struct stale *s = arg;
	char **grown;

	(void)status;
	if (v->owner != OWNER_CONFIG)
		return true;
	for (uint32_t i = 0; i < s->config->n_vports; i++)
		if (strcmp(s->config->vports[i].name, key) == 0)
			return true;
	grown = realloc(s->vports, (s->n + 1) * sizeof(*grown));
	if (grown == NULL)
		return false;
	s->vports = grown;
	s->vports[s->n] = strdup(key);
	if (s->vports[s->n] != NULL)
		s->n++;
	return true;
}

static bool stale_route(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	const struct model_route *r = object;
	struct stale *s = arg;
	struct ip_prefix *grown;

	(void)key;
	(void)status;
	if (r->owner != OWNER_CONFIG)
		return true;
	for (uint32_t i = 0; i < s->config->n_routes; i++) {
		const struct ip_prefix *p = &s->config->routes[i].prefix;

		if (p->len == r->prefix.len && p->family == r->prefix.family &&
			ip_equal(&p->addr, &r->prefix.addr))
			return true;
	}
	grown = realloc(s->routes, (s->n + 1) * sizeof(*grown));
	if (grown == NULL)
		return false;
	s->routes = grown;
	s->routes[s->n++] = r->prefix;
	return true;
}

static void remove_stale(const struct config *c, struct model *m)
{
	struct stale s = {.config = c};

	model_each(m, MODEL_ROUTE, NULL, 0, stale_route, &s);
	for (uint32_t i = 0; i < s.n; i++)
		model_route_remove(m, &s.routes[i], OWNER_CONFIG);
	free(s.routes);
	s.n = 0;
	model_each(m, MODEL_VPORT, NULL, 0, stale_vport, &s);
	for (uint32_t i = 0; i < s.n; i++) {
		model_vport_remove(m, s.vports[i], OWNER_CONFIG);
		free(s.vports[i]);
	}
	free(s.vports);
}

int config_apply_model(const struct config *c, struct model *m)
{
	int first = 0, err;

	remove_stale(c, m);
	for (uint32_t i = 0; i < c->n_vports; i++) {
		struct model_vport *v = model_vport(c, &c->vports[i]);

		err = v != NULL ? model_vport_set(m, v) : -ENOMEM;
		if (err < 0)
			LOG_ERROR(config, "vport_refused", "name=%s reason=%s", c->vports[i].name,
				err == -EPERM ? "another owner has this name" : strerror(-err));
		first = first < 0 ? first : err;
	}
	for (uint32_t i = 0; i < c->n_routes; i++) {
		struct model_route *r = model_route(&c->routes[i]);
		char buf[IP_PREFIX_TEXT_MAX];

		err = r != NULL ? model_route_set(m, r) : -ENOMEM;
		if (err < 0)
			LOG_ERROR(config, "route_refused", "prefix=%s reason=%s",
				ip_prefix_format(&c->routes[i].prefix, buf),
				err == -EPERM ? "another owner has this route" : strerror(-err));
		first = first < 0 ? first : err;
	}
	return first;
}

void config_log_notes(const struct config *c)
{
	for (uint32_t i = 0; i < c->notes.n; i++)
		LOG_INFO(config, "kube_proxy_option", "what=%s", c->notes.at[i]);
}

bool config_node_ports_any(const struct config *c, enum ip_family f)
{
	const struct config_prefixes *cidrs = &c->services.node_port_cidrs;
	bool some = false;

	for (uint32_t i = 0; i < cidrs->n; i++) {
		if (cidrs->at[i].family != f)
			continue;
		if (cidrs->at[i].len == 0)
			return true;
		some = true;
	}
	return !c->services.node_port_primary && !some;
}
