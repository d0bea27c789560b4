/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The API's dependencies as fixed answers (see fake.h). */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/fake.h"
#include "control/neighbours.h"
#include "control/reconcile.h"
#include "io/rim.h"

_Atomic bool fake_ready = true;
_Atomic bool fake_link_up = true;

/* --- the reconciler -------------------------------------------------------------------------- */

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static char names[VPORTS_MAX][VPORT_NAME_MAX]; /* by vport id */

static uint16_t id_of(const char *name)
{
	for (uint16_t id = 1; id < VPORTS_MAX; id++)
		if (strcmp(names[id], name) == 0)
			return id;
	return 0;
}

static void vport_take(const struct model_object *o)
{
	uint16_t id;

	pthread_mutex_lock(&names_lock);
	id = id_of(o->key);
	if (o->desired == NULL) {
		if (id != 0)
			names[id][0] = '\0';
	} else if (id == 0) {
		for (id = 1; names[id][0] != '\0'; id++)
			;
		snprintf(names[id], VPORT_NAME_MAX, "%s", o->key);
	}
	pthread_mutex_unlock(&names_lock);
}

void fake_reconcile(struct model *m)
{
	struct model_object *o;

	for (int kind = 0; kind < MODEL_KINDS; kind++)
		while ((o = model_dirty_next(m, (enum model_kind)kind)) != NULL) {
			bool bad = kind == MODEL_VPORT && strncmp(o->key, "bad", 3) == 0;

			if (kind == MODEL_VPORT && !bad)
				vport_take(o);
			model_applied(m, o, o->version,
				bad && o->desired != NULL ? "no such interface: bad" : NULL);
		}
}

void reconcile_stats(struct reconciler *r, struct reconcile_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->ready = fake_ready;
	out->services = 3;
	out->frontends = 9;
	out->backends = 7;
	out->conflicts = 21;
}

uint32_t reconcile_conflicts(
	struct reconciler *r, uint32_t from, uint32_t max, struct reconcile_conflict *out)
{
	uint32_t n;

	/* The odd ones are NodePorts. */
	for (n = 0; n < max && from + n < 21; n++) {
		memset(&out[n], 0, sizeof(out[n]));
		if ((from + n) % 2 == 0)
			out[n].addr = ip_from_v4(htonl(0x0a600000 + from + n));
		out[n].port = 80;
		out[n].proto = IP_PROTO_TCP;
		snprintf(out[n].winner, sizeof(out[n].winner), "a/first");
		snprintf(out[n].loser, sizeof(out[n].loser), "b/second-%u", from + n);
	}
	return n;
}

bool reconcile_ready(const struct reconciler *r)
{
	return fake_ready;
}

bool reconcile_service_name(struct reconciler *r, uint32_t svc_port_id, char *out, size_t size)
{
	static const char *const known[] = {NULL, "shop/cart:http", "kube-system/dns:dns"};

	if (svc_port_id == 0 || svc_port_id >= sizeof(known) / sizeof(known[0]))
		return false;
	snprintf(out, size, "%s", known[svc_port_id]);
	return true;
}

uint16_t reconcile_vport_id(struct reconciler *r, const char *name)
{
	uint16_t id;

	pthread_mutex_lock(&names_lock);
	id = id_of(name);
	pthread_mutex_unlock(&names_lock);
	return id;
}

const char *const reconcile_route_source_names[] = {
	"Config", "Link", "Vport", "Node", "Local", "PodCidr", "Neighbour"};

#define ROUTES 1000

uint32_t reconcile_routes_each(struct reconciler *r, const struct ip_prefix *after, uint32_t max,
	struct reconcile_route *out)
{
	uint32_t first = 0, n;

	if (after != NULL)
		first = (uint32_t)(after->addr.bytes[13] << 8 | after->addr.bytes[14]) + 1;
	for (n = 0; n < max && first + n < ROUTES; n++) {
		memset(&out[n], 0, sizeof(out[n]));
		out[n].prefix.addr = ip_from_v4(htonl(0x0a000000 | (first + n) << 8));
		out[n].prefix.len = 24;
		out[n].prefix.family = IP_V4;
		out[n].kind = NEXT_HOP_FORWARD;
		out[n].source = ROUTE_FROM_NODE;
		out[n].next_hop = 7;
		out[n].vport = 1;
		ip_parse("192.0.2.9", &out[n].via);
	}
	return n;
}

/* --- neighbours ------------------------------------------------------------------------------ */

const char *const neighbour_state_names[NEIGHBOUR_STATES] = {
	"Incomplete", "Reachable", "Stale", "Probe", "Failed", "Static"};

uint32_t neighbours_each(struct neighbours *nb, const struct neighbour_view *after, uint32_t max,
	struct neighbour_view *out)
{
	if (after != NULL || max < 2)
		return 0;
	memset(out, 0, 2 * sizeof(*out));
	ip_parse("192.0.2.9", &out[0].addr);
	out[0].vport = 1;
	out[0].state = NEIGHBOUR_REACHABLE;
	out[0].has_mac = true;
	memcpy(out[0].mac, "\x02\0\0\0\0\x09", 6);
	ip_parse("2001:db8::9", &out[1].addr);
	out[1].vport = 1;
	out[1].state = NEIGHBOUR_INCOMPLETE;
	out[1].requests = 2;
	return 2;
}

void neighbours_stats(struct neighbours *nb, struct neighbours_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->neighbours = 2;
}

/* --- the rim --------------------------------------------------------------------------------- */

uint32_t rim_now_ms(const struct rim *rim)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint32_t)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

uint64_t rim_ticks_per_second(const struct rim *rim)
{
	return UINT64_C(2000000000);
}

const char *rim_port_kind_name(enum rim_port_kind kind)
{
	return kind == RIM_PORT_AF_PACKET ? "af_packet" : "null";
}

uint32_t rim_port_list(struct rim *rim, struct rim_port_info *info, uint32_t n)
{
	static const struct rim_port_info ports[] = {
		{.index = 0,
			.kind = RIM_PORT_AF_PACKET,
			.name = "uplink0",
			.where = "eth0",
			.driver = "net_af_packet",
			.mac = {2, 0, 0, 0, 0, 1},
			.speed_mbps = 10000,
			.mtu = 1500,
			.rx_queues = 2,
			.tx_queues = 2,
			.rx_worker = {0, 1},
			.vports = 1},
		{.index = 1,
			.kind = RIM_PORT_NULL,
			.name = "trunk \"0\"",
			.where = "",
			.driver = "net_null",
			.up = true,
			.mtu = 9000,
			.rx_queues = 1,
			.tx_queues = 1},
	};

	for (uint32_t i = 0; i < n && i < 2; i++)
		info[i] = ports[i];
	if (n > 0)
		info[0].up = fake_link_up;
	return 2;
}

int rim_port_stats(struct rim *rim, uint16_t index, struct rim_port_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->rx_packets = UINT64_MAX - index;
	return 0;
}

int rim_worker_info(struct rim *rim, uint32_t worker, struct rim_worker_info *out)
{
	memset(out, 0, sizeof(*out));
	out->id = worker;
	out->cpu = worker == 0 ? 3 : RIM_CPU_ANY;
	out->rx_queues = 1;
	return 0;
}

void rim_buffers(const struct rim *rim, uint32_t *in_use, uint32_t *total)
{
	*in_use = 17;
	*total = 8192;
}

bool rim_hugepages_used(const struct rim *rim)
{
	return false;
}

const char *rim_dpdk_version(void)
{
	return "DPDK 0 (fake)";
}
