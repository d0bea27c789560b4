/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See ports.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/hardware.h"
#include "control/log.h"
#include "control/ports.h"

#define NO_PORT        UINT16_MAX
#define SYNCHRONIZE_MS 1000

struct ports {
	struct rim *rim;
	struct hardware *hw;      /* NULL: nothing is offloaded */
	bool marks;               /* NICs may mark packets */
	uint16_t own[VPORTS_MAX]; /* port made for the vport of that id, or NO_PORT */
};

static void put(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text == NULL ? "" : text);
}

static int from_model(const struct model_port *p, const char *name, struct rim_port_config *out)
{
	int kind = rim_port_kind_parse(port_kind_names[p->kind]);

	memset(out, 0, sizeof(*out));
	if (kind < 0)
		return kind;
	out->kind = (enum rim_port_kind)kind;
	put(out->name, sizeof(out->name), name);
	put(out->pci, sizeof(out->pci), p->kind == PORT_ETHDEV ? p->device : p->address);
	put(out->iface, sizeof(out->iface), p->iface);
	put(out->path, sizeof(out->path), p->path);
	put(out->tx_path, sizeof(out->tx_path), p->tx_path);
	put(out->devargs, sizeof(out->devargs), p->args);
	out->server = p->server;
	out->not_promiscuous = !p->promiscuous;
	out->id = (uint16_t)p->memif_id;
	out->queues = p->queues;
	out->descriptors = p->descriptors;
	out->mtu = p->mtu;
	return 0;
}

int ports_init(struct rim *rim, struct hardware *hw, const struct config *cfg, struct ports **out,
	struct rim_error *err)
{
	struct ports *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->rim = rim;
	p->hw = hw;
	p->marks = cfg->offload.partial;
	for (uint32_t i = 0; i < VPORTS_MAX; i++)
		p->own[i] = NO_PORT;
	for (uint32_t i = 0; i < cfg->n_ports; i++) {
		struct model_port *port = config_model_port(&cfg->ports[i], cfg->ports[i].name);
		struct rim_port_config rc;
		uint16_t index;
		int ret;

		ret = port != NULL ? from_model(port, port->name, &rc) : -ENOMEM;
		model_port_free(port);
		rc.marks = p->marks;
		if (ret == 0)
			ret = rim_port_add(rim, &rc, &index, err);
		if (ret < 0) {
			free(p);
			return ret;
		}
		hardware_port_added(hw, index);
		LOG_INFO(port, "open", "name=%s kind=%s", rc.name, rim_port_kind_name(rc.kind));
	}
	*out = p;
	return 0;
}

void ports_fini(struct ports *p)
{
	free(p);
}

static void take_defaults(struct ports *p, uint16_t index, struct vport *v)
{
	static const uint8_t none[6];
	struct rim_port_info info[RIM_PORTS_MAX];
	uint32_t n = rim_port_list(p->rim, info, RIM_PORTS_MAX);

	for (uint32_t i = 0; i < n && i < RIM_PORTS_MAX; i++) {
		if (info[i].index != index)
			continue;
		if (memcmp(v->mac, none, sizeof(none)) == 0)
			memcpy(v->mac, info[i].mac, sizeof(none));
		if (v->mtu == 0)
			v->mtu = info[i].mtu;
	}
}

int ports_vport_open(
	void *ports, const struct model_vport *want, struct vport *v, char *why, size_t size)
{
	struct ports *p = ports;
	struct rim_error err = {""};
	uint16_t index = 0;
	int ret;

	if (want->own_port != NULL) {
		struct rim_port_config rc;

		ret = from_model(want->own_port, want->name, &rc);
		rc.marks = p->marks;
		if (ret == 0)
			ret = rim_port_add(p->rim, &rc, &index, &err);
		if (ret < 0)
			goto fail;
		p->own[v->id] = index;
		hardware_port_added(p->hw, index);
	} else {
		ret = rim_port_find(p->rim, want->port);
		if (ret < 0) {
			snprintf(err.text, sizeof(err.text), "no port is named %s", want->port);
			goto fail;
		}
		index = (uint16_t)ret;
	}
	v->port = index;
	take_defaults(p, index, v);
	return 0;

fail:
	put(why, size, err.text[0] != '\0' ? err.text : strerror(-ret));
	return ret;
}

int ports_vport_start(void *ports, const struct vport *v, char *why, size_t size)
{
	struct ports *p = ports;
	struct rim_vport rv = {.id = v->id, .port = v->port, .vlan = v->vlan};
	struct rim_error err = {""};
	int ret = rim_vport_add(p->rim, &rv, &err);

	if (ret < 0)
		put(why, size, err.text[0] != '\0' ? err.text : strerror(-ret));
	return ret;
}

void ports_vport_stop(void *ports, uint16_t id)
{
	struct ports *p = ports;

	rim_vport_remove(p->rim, id);
}

/* At the end only: workers turn at least every idle sleep, so this takes milliseconds. */
void ports_synchronize(void *ports)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	struct ports *p = ports;
	struct grace *g = &rim_dataplane(p->rim)->grace;
	uint32_t stamp = grace_stamp(g);

	for (int i = 0; i < SYNCHRONIZE_MS && !grace_passed(g, stamp); i++) {
		rim_grace_poll(p->rim);
		nanosleep(&pause, NULL);
	}
}

void ports_vport_close(void *ports, uint16_t id)
{
	struct ports *p = ports;
	struct rim_error err;

	if (p->own[id] == NO_PORT)
		return;
	hardware_port_leaves(p->hw, p->own[id]);
	if (rim_port_remove(p->rim, p->own[id], &err) < 0)
		LOG_WARN(port, "close_failed", "reason=%s", err.text);
	p->own[id] = NO_PORT;
}
