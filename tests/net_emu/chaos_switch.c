/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The switch of the chaos program: rim, emulated NIC, and what control publishes.
 *
 * Pod 1 (vport 1, vf0) is the client of everything: of a Service whose endpoints are two ports of
 * pod 2 (vport 2, vf1), of pod 2 itself, and, masqueraded, of a server behind the uplink (vport 3).
 * Main thread; every publication waits for its grace period and frees what it replaced. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_bus_vdev.h>
#include <rte_ethdev.h>

#include "core/packet.h"
#include "net_emu/chaos.h"
#include "pipelines/pipeline.h"

#define NIC_NAME "net_emu0"
#define HOLE     4 /* next hops */
#define LOCAL    5

const char *const chaos_client[] = {"10.244.1.11", "fd00:10:244:1::11"};
const char *const chaos_server[] = {"10.244.1.12", "fd00:10:244:1::12"};
const char *const chaos_vip[] = {"10.96.0.10", "fd00:10:96::10"};
const char *const chaos_outside[] = {"203.0.113.9", "2001:db8:9::9"};
const char *const chaos_node[] = {"192.0.2.10", "2001:db8:1::10"};

static struct {
	struct vport_table *vports;
	struct vport *vport; /* [4] */
	struct next_hop *hop[6];
	struct fib *fib;
	struct route_domain *routes;
	uint32_t routes_generation;
	struct svc_table *table;
	struct backend_table *backends;
	struct svc_domain services;
	struct svc_list *none;
	backend_ref ref[2][IP_FAMILIES][ENDPOINTS];
	struct tunables tunables;
	struct ip_prefix cluster[4];
	struct ip_addr owned[IP_FAMILIES];
} sw;

double chaos_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void chaos_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

static void *zeroed(size_t size)
{
	void *mem = aligned_alloc(64, (size + 63) & ~(size_t)63);

	if (mem == NULL)
		chaos_die("no memory");
	return memset(mem, 0, size);
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	if (ip_parse(text, &a) < 0)
		chaos_die("%s is no address", text);
	return a;
}

void chaos_grace(struct chaos *c)
{
	static const struct timespec pause = {.tv_nsec = 20000};
	uint32_t stamp = grace_stamp(&c->dp->grace);
	double late = chaos_now() + 30;

	while (!grace_passed(&c->dp->grace, stamp)) {
		rim_grace_poll(c->rim);
		nanosleep(&pause, NULL);
		if (chaos_now() > late)
			chaos_die("a worker does not pass");
	}
}

/* --- what control publishes --------------------------------------------------------------------
 */

static void host_prefix(struct ip_prefix *p, const char *text)
{
	*p = (struct ip_prefix){.addr = addr(text)};
	p->family = (uint8_t)ip_family(&p->addr);
	p->len = p->family == IP_V4 ? 32 : 128;
}

void chaos_publish_vports(struct chaos *c, const bool there[4])
{
	struct vport_table *t = zeroed(sizeof(*t));
	struct vport *v = zeroed(4 * sizeof(*v));

	for (uint16_t id = 1; id <= 3; id++) {
		v[id] = (struct vport){.id = id,
			.role = id == 3 ? VPORT_UPLINK : VPORT_POD,
			.mtu = 1500,
			.port = c->index[chaos_place(id)],
			.up = true,
			.source_guard = id != 3,
			.mac = {2, 0, 0, 0, 0, (uint8_t)id}};
		for (int f = 0; f < IP_FAMILIES && id != 3; f++)
			host_prefix(&v[id].addrs[v[id].n_addrs++],
				id == 1 ? chaos_client[f] : chaos_server[f]);
		t->at[id] = there[id] ? &v[id] : NULL;
	}
	atomic_store(&c->dp->vports, t);
	chaos_grace(c);
	free(sw.vports);
	free(sw.vport);
	sw.vports = t;
	sw.vport = v;
}

void chaos_vport(struct chaos *c, uint16_t id, bool there)
{
	struct rim_vport vp = {.id = id, .port = c->index[chaos_place(id)]};
	struct rim_error err;

	if (!there)
		rim_vport_remove(c->rim, id);
	else if (rim_vport_add(c->rim, &vp, &err) != 0)
		chaos_die("%s", err.text);
	chaos_grace(c);
}

void chaos_publish_next_hop(struct chaos *c, uint16_t vport, uint16_t mtu)
{
	struct next_hop *nh = zeroed(sizeof(*nh)), *old = sw.hop[vport];

	*nh = (struct next_hop){.kind = NEXT_HOP_FORWARD,
		.l2_len = ETH_HLEN,
		.vport = vport,
		.mtu = mtu,
		.id = vport,
		.l2 = {2, 0, 0, 0, c->truth.mac[vport], (uint8_t)(0x10 + vport), 2, 0, 0, 0, 0,
			(uint8_t)vport, 8, 0}};
	next_hop_seal(nh);
	atomic_store(&c->dp->next_hops->at[vport], nh);
	atomic_fetch_add(&c->dp->next_hops->generation, 1);
	sw.hop[vport] = nh;
	chaos_grace(c);
	free(old);
}

void chaos_publish_routes(struct chaos *c, bool hole)
{
	struct route routes[8];
	struct route_domain *d = zeroed(sizeof(*d)), *old = sw.routes;
	struct fib *fib, *old_fib = sw.fib;

	for (int f = 0; f < IP_FAMILIES; f++) {
		host_prefix(&routes[f].prefix, chaos_client[f]);
		routes[f].next_hop = 1;
		host_prefix(&routes[2 + f].prefix, chaos_server[f]);
		routes[2 + f].next_hop = hole ? HOLE : 2;
		host_prefix(&routes[6 + f].prefix, chaos_node[f]);
		routes[6 + f].next_hop = LOCAL;
		memset(&routes[4 + f], 0, sizeof(routes[0]));
		if (f == IP_V4)
			routes[4 + f].prefix.addr = ip_from_v4(0);
		routes[4 + f].prefix.family = (uint8_t)f;
		routes[4 + f].next_hop = 3;
	}
	if (fib_new(routes, 8, &fib) < 0)
		chaos_die("no memory");
	*d = (struct route_domain){.generation = ++sw.routes_generation,
		.fib = fib,
		.n_owned = IP_FAMILIES,
		.owned = sw.owned};
	atomic_store(&c->dp->routes, d);
	chaos_grace(c);
	if (old_fib != NULL)
		fib_free(old_fib);
	free(old);
	sw.routes = d;
	sw.fib = fib;
}

static void publish_service(
	struct chaos *c, unsigned tcp, enum ip_family f, const bool ready[ENDPOINTS])
{
	struct svc_port *p = zeroed(sizeof(*p));
	struct svc_backend b[ENDPOINTS] = {0};
	struct svc_frontend_key key = {.addr = addr(chaos_vip[f]),
		.port = htons(VIP_PORT),
		.proto = tcp ? IP_PROTO_TCP : IP_PROTO_UDP,
		.family = (uint8_t)f};
	const struct svc_frontend *found = svc_table_find(sw.table, &key);
	const struct svc_port *old = found != NULL ? found->svc : NULL;
	struct svc_list *list;
	uint32_t n = 0;

	for (unsigned i = 0; i < ENDPOINTS; i++) {
		backend_ref *ref = &sw.ref[tcp][f][i];

		if (ready[i] && *ref == 0) {
			*ref = backend_alloc(sw.backends);
			backend_set(sw.backends, *ref, BACKEND_READY);
		}
		if (ready[i])
			b[n++] = (struct svc_backend){.addr = addr(chaos_server[f]),
				.port = htons((uint16_t)(ENDPOINT_PORT + i)),
				.flags = SVC_BACKEND_LOCAL,
				.ref = *ref};
	}
	list = svc_list_new(b, n);
	*p = (struct svc_port){.id = 1 + tcp * 2 + (uint32_t)f,
		.proto = key.proto,
		.flags = n != 0 ? SVC_HAS_ANY : 0,
		.port = key.port,
		.cluster = list,
		.local = sw.none,
		.name = "chaos/web"};
	if (list == NULL || svc_table_set(sw.table, &key, SVC_CLUSTER_IP, p) < 0)
		chaos_die("no memory");
	if (old != NULL) {
		svc_table_retire(sw.table, (void *)(uintptr_t)old->cluster);
		svc_table_retire(sw.table, (void *)(uintptr_t)old);
	}
	for (unsigned i = 0; i < ENDPOINTS; i++)
		if (!ready[i] && sw.ref[tcp][f][i] != 0) {
			backend_release(sw.backends, sw.ref[tcp][f][i]);
			sw.ref[tcp][f][i] = 0;
		}
}

void chaos_publish_services(struct chaos *c, const bool ready[ENDPOINTS])
{
	for (unsigned tcp = 0; tcp < 2; tcp++)
		for (int f = 0; f < IP_FAMILIES; f++)
			publish_service(c, tcp, (enum ip_family)f, ready);
	chaos_grace(c);
	svc_table_reclaim(sw.table);
}

static void publish_all(struct chaos *c)
{
	static const char *const inside[] = {
		"10.244.0.0/16", "10.96.0.0/16", "fd00:10:244::/48", "fd00:10:96::/64"};
	static const bool there[4] = {true, true, true, true}, ready[ENDPOINTS] = {true, true};
	struct tunables *t = &sw.tunables;

	*t = *atomic_load(&c->dp->tunables);
	for (unsigned i = 0; i < 4; i++)
		if (ip_prefix_parse(inside[i], &sw.cluster[i]) < 0)
			chaos_die("%s is no prefix", inside[i]);
	t->tcp_pick_up = true;
	t->timeouts.ms[FLOW_CLASS_UDP][FLOW_NEW] = 2000;
	t->timeouts.ms[FLOW_CLASS_UDP][FLOW_REPLIED] = 4000;
	/* What is on its way when a flow ends finds it: last_seen is a second old at most. */
	t->timeouts.ms[FLOW_CLASS_TCP][FLOW_RESET] = 3000;
	t->timeouts.ms[FLOW_CLASS_TCP][FLOW_CLOSING] = 3000;
	t->snat = (struct snat_config){.port_min = SNAT_MIN,
		.port_max = SNAT_MAX,
		.egress = true,
		.n_cluster = 4,
		.cluster = sw.cluster};
	for (int f = 0; f < IP_FAMILIES; f++)
		t->snat.addr[f] = sw.owned[f] = addr(chaos_node[f]);
	atomic_store(&c->dp->tunables, t);
	for (uint16_t id = HOLE; id <= LOCAL; id++) {
		sw.hop[id] = zeroed(sizeof(*sw.hop[id]));
		sw.hop[id]->kind = id == HOLE ? NEXT_HOP_BLACKHOLE : NEXT_HOP_LOCAL;
		sw.hop[id]->id = id;
		atomic_store(&c->dp->next_hops->at[id], sw.hop[id]);
	}
	sw.none = svc_list_new(NULL, 0);
	if (sw.none == NULL || svc_table_init(&c->dp->grace, 16, &sw.table) < 0 ||
		backend_table_init(64, &sw.backends) < 0)
		chaos_die("no memory");
	sw.services = (struct svc_domain){.ready = true,
		.table = sw.table,
		.backends = sw.backends,
		.cluster_ip_outside = true};
	chaos_publish_services(c, ready);
	atomic_store(&c->dp->services, &sw.services);
	dataplane_frontends_changed(c->dp);
	for (uint16_t id = 1; id <= 3; id++)
		chaos_publish_next_hop(c, id, 1500);
	chaos_publish_routes(c, false);
	chaos_publish_vports(c, there);
}

/* --- the NIC -----------------------------------------------------------------------------------
 */

void chaos_set(struct chaos *c, const char *knob, long value)
{
	char line[64];

	snprintf(line, sizeof(line), "set %s %ld", knob, value);
	if (net_emu_command(c->nic, line, NULL, 0) != 0)
		chaos_die("net_emu: %s", line);
}

struct net_emu_counters chaos_counters(struct chaos *c)
{
	struct net_emu_counters n;

	net_emu_counters(c->nic, &n);
	return n;
}

void chaos_nic_up(struct chaos *c)
{
	static const char *const names[PORTS] = {NIC_NAME, NIC_NAME "_vf0", NIC_NAME "_vf1"};
	char args[128];

	/* The last CPU: workers and the main thread are on the first ones. */
	snprintf(args, sizeof(args), "representor=vf[0-1],stale_ms=0,profile=%s,core=%ld",
		c->profile, sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (rte_vdev_init(NIC_NAME, args) != 0)
		chaos_die("no NIC with %s", args);
	c->nic = net_emu_find(NIC_NAME);
	for (unsigned i = 0; i < PORTS; i++) {
		struct rim_port_config cfg = {.kind = RIM_PORT_ETHDEV, .queues = 1};
		struct rim_error err;

		snprintf(cfg.name, sizeof(cfg.name), "p%u", i);
		snprintf(cfg.pci, sizeof(cfg.pci), "%s", names[i]);
		if (rim_port_add(c->rim, &cfg, &c->index[i], &err) != 0)
			chaos_die("%s", err.text);
		c->ethdev[i] = (uint16_t)net_emu_ethdev(c->nic, i);
		/* What index a port has is constant: the uplink comes first. */
		if (c->index[i] != i)
			chaos_die("port %u has index %u", i, c->index[i]);
		chaos_vport(c, i == 0 ? 3 : (uint16_t)i, true);
	}
}

static void counters_keep(struct chaos *c)
{
	struct net_emu_counters n = chaos_counters(c), *to = &c->nic_before;

	to->forwarded += n.forwarded;
	to->to_cpu += n.to_cpu;
	to->creates += n.creates;
	to->creates_failed += n.creates_failed;
	to->destroys += n.destroys;
	to->destroys_failed += n.destroys_failed;
	to->told_hits += n.told_hits;
	to->lost_hits += n.lost_hits;
	to->bad_handles += n.bad_handles;
}

void chaos_nic_down(struct chaos *c, bool polite)
{
	struct net_emu_counters n;
	struct rim_error err;

	for (unsigned i = PORTS; i-- > 0;) {
		chaos_lock(c);
		ports_remove(c->e, c->index[i]);
		chaos_unlock(c);
	}
	n = chaos_counters(c);
	if (polite)
		CHAOS_CHECK(c, polite, n.rules == 0, "%llu rules are left behind a port that left",
			(unsigned long long)n.rules);
	counters_keep(c);
	for (unsigned i = PORTS; i-- > 0;) {
		chaos_vport(c, i == 0 ? 3 : (uint16_t)i, false);
		if (rim_port_remove(c->rim, c->index[i], &err) != 0)
			chaos_die("%s", err.text);
	}
	if (rte_vdev_uninit(NIC_NAME) != 0)
		chaos_die("the NIC does not leave");
	c->nic = NULL;
	c->pulled = false;
}

/* --- up and down -------------------------------------------------------------------------------
 */

static void log_line(void *arg, enum rim_log_level level, const char *text)
{
	if (level <= RIM_LOG_ERROR && getenv("SLUICE_TEST_LOG") != NULL)
		fprintf(stderr, "  %s\n", text);
}

void chaos_switch_up(struct chaos *c)
{
	struct rim_config cfg;
	struct rim_error err;

	rim_config_default(&cfg);
	cfg.hugepages = RIM_HUGEPAGES_OFF;
	cfg.memory_mb = 256;
	cfg.buffers = 32768;
	cfg.n_workers = 1;
	cfg.flows[IP_V4] = cfg.flows[IP_V6] = FLOWS;
	cfg.run = pipeline_run;
	cfg.tick = pipeline_tick;
	cfg.drain = pipeline_stop;
	cfg.log = log_line;
	if (rim_start(&cfg, &c->rim, &err) != 0)
		chaos_die("%s", err.text);
	c->dp = rim_dataplane(c->rim);
	chaos_nic_up(c);
	publish_all(c);
}

void chaos_switch_down(struct chaos *c)
{
	uint32_t left;

	rim_drain(c->rim, 5000);
	left = rim_stop(c->rim);
	CHAOS_CHECK(c, buffers_back, left == 0, "%u buffers did not come back", left);
	free(sw.vports);
	free(sw.vport);
	for (unsigned i = 1; i <= LOCAL; i++)
		free(sw.hop[i]);
	fib_free(sw.fib);
	free(sw.routes);
}
