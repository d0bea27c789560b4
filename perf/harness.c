/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The world of the pipeline benchmarks (see harness.h): pods, services, routes, workers, and a rim
 * that checks and counts what it is given. Set up by the main thread; the rim's calls run on the
 * thread of their worker. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "perf/harness_private.h"

struct harness h;

_Noreturn void die(const char *what)
{
	fprintf(stderr, "harness: %s\n", what);
	exit(1);
}

uint64_t harness_random(void)
{
	static uint64_t s = 88172645463325252ULL;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s;
}

static struct ip_addr addr(const char *v4, const char *v6)
{
	struct ip_addr a;

	if (ip_parse(h.v6 ? v6 : v4, &a) < 0)
		die("address");
	return a;
}

static struct ip_addr with_last(struct ip_addr a, uint32_t last)
{
	memcpy(a.bytes + 12, &last, 4);
	return a;
}

/* Flows are spread over services so that neighbours in order are none in memory. */
uint32_t service_of(uint32_t flow)
{
	return (uint32_t)((uint64_t)flow * 2654435761u % h.n_services);
}

struct ip_addr vip(uint32_t service)
{
	if (h.traffic == TRAFFIC_NODEPORT)
		return h.node_addr;
	return with_last(
		addr("10.96.0.0", "fd00::"), htonl((h.v6 ? 0 : 0x0a600000u) + 16 + service));
}

struct ip_addr backend_addr(void)
{
	return addr("10.244.1.2", "fd00:1::2");
}

struct ip_addr pod_addr(uint32_t client)
{
	return with_last(addr("172.16.0.0", "fc00::"), client);
}

uint32_t pods(void)
{
	return (h.n_flows + FLOWS_PER_POD - 1) / FLOWS_PER_POD;
}

uint32_t client_of(uint32_t pod)
{
	return htonl((h.v6 ? 0u : 0xac100000u) + pod + 1);
}

uint8_t proto(void)
{
	return h.tcp ? IP_PROTO_TCP : IP_PROTO_UDP;
}

/* --- a rim that sends nowhere -------------------------------------------------------------------
 */

static void io_transmit(struct worker *w, struct burst *b, lanes_t lanes)
{
	struct core *c = (struct core *)w;
	uint32_t n = lanes_count(lanes);

	if ((c->forwarded & 1023) + n >= 1024) {
		lanes_t i = lanes_first(lanes);

		c->checked++;
		c->wrong += !frame_is_right((uint32_t)(uintptr_t)b->buf[i], b->data[i],
			b->out_vport[i], h.fragments && i % 2 == 1);
	}
	c->forwarded += n;
	COUNT(w->counters.sent, n);
}

static void io_transmit_one(
	struct worker *w, void *buf, uint8_t *data, uint16_t len, uint16_t vport)
{
	die("a packet that the worker made");
}

static void *io_alloc(struct worker *w, uint16_t len, uint8_t **data)
{
	return NULL;
}

static void io_free_lanes(struct worker *w, struct burst *b, lanes_t lanes)
{
}

static void io_free_one(struct worker *w, void *buf)
{
}

static const struct worker_io io = {
	.alloc = io_alloc,
	.free_lanes = io_free_lanes,
	.transmit = io_transmit,
	.transmit_one = io_transmit_one,
	.free_one = io_free_one,
};

/* --- the world ----------------------------------------------------------------------------------
 */

static void add_service(struct svc_table *table, struct backend_table *backends,
	const struct svc_list *none, uint32_t n)
{
	struct svc_backend backend = {.addr = backend_addr(), .port = htons(8080)};
	bool node_port = h.traffic == TRAFFIC_NODEPORT;
	struct svc_port *svc = &h.svcs[n];
	struct svc_frontend_key key = {
		.port = htons(80),
		.proto = proto(),
		.family = h.v6 ? IP_V6 : IP_V4,
	};

	backend.ref = backend_alloc(backends);
	backend_set(backends, backend.ref, BACKEND_READY);
	svc->id = n + 1;
	svc->proto = proto();
	svc->flags = SVC_HAS_ANY;
	svc->port = htons(80);
	svc->cluster = svc_list_new(&backend, 1);
	svc->local = none;
	if (node_port)
		key.port = htons(NODE_PORT);
	else
		key.addr = vip(n);
	if (svc->cluster == NULL ||
		svc_table_set(table, &key, node_port ? SVC_NODE_PORT : SVC_CLUSTER_IP, svc) < 0)
		die("service");
}

static void add_services(void)
{
	const struct svc_list *none = svc_list_new(NULL, 0);
	struct backend_table *backends;
	struct svc_table *table;

	h.svcs = calloc(h.n_services, sizeof(*h.svcs));
	if (h.svcs == NULL || none == NULL || backend_table_init(h.n_services + 1, &backends) < 0 ||
		svc_table_init(&h.dp->grace, h.n_services, &table) < 0)
		die("service tables");
	for (uint32_t n = 0; n < h.n_services; n++)
		add_service(table, backends, none, n);
	h.services.ready = true;
	h.services.table = table;
	h.services.backends = backends;
	h.services.n_node_port_addrs = 1;
	h.services.node_port_addrs = &h.node_addr;
	h.services.node_addr[h.v6 ? IP_V6 : IP_V4] = h.node_addr;
}

static struct route add_pod(uint16_t id, struct ip_addr a)
{
	struct vport *v = &h.vports[id];
	struct next_hop *nh = &h.hops[id];
	struct ip_prefix p = {.addr = a, .len = h.v6 ? 128 : 32, .family = h.v6 ? IP_V6 : IP_V4};

	*v = (struct vport){.id = id, .role = VPORT_POD, .mtu = 1500, .up = true};
	if (h.traffic == TRAFFIC_NODEPORT && id != BACKEND_VPORT)
		v->role = VPORT_UPLINK;
	v->source_guard = v->peer_mac_known = true;
	v->mac[0] = v->peer_mac[0] = 2;
	v->mac[5] = 1;
	v->peer_mac[5] = 2;
	v->addrs[v->n_addrs++] = p;
	h.table.at[id] = v;
	*nh = (struct next_hop){
		.kind = NEXT_HOP_FORWARD, .l2_len = 14, .vport = id, .mtu = 1500, .id = id};
	nh->l2[12] = 0x08;
	next_hop_seal(nh);
	atomic_store(&h.dp->next_hops->at[id], nh);
	return (struct route){.prefix = p, .next_hop = id};
}

static void add_world(void)
{
	static struct route routes[VPORTS_MAX];
	struct fib *fib;
	uint32_t n = 0;

	if (pods() >= BACKEND_VPORT || h.n_services > SERVICES_MAX)
		die("more flows or services than there is room for");
	if (h.traffic == TRAFFIC_NODEPORT && (pods() > 1 || h.n_services > 1))
		die("the NodePort has one client and one service");
	for (uint32_t pod = 0; pod < pods(); pod++)
		routes[n++] = add_pod((uint16_t)(pod + 1), pod_addr(client_of(pod)));
	routes[n++] = add_pod(BACKEND_VPORT, backend_addr());
	if (fib_new(routes, n, &fib) < 0)
		die("routes");
	h.routes.generation = 1;
	h.routes.fib = fib;
	h.node_addr = addr("192.0.2.10", "2001:db8::10");
	add_services();
	h.tunables = *atomic_load(&h.dp->tunables);
	h.tunables.snat.egress = false;
	h.tunables.snat.addr[h.v6 ? IP_V6 : IP_V4] = h.node_addr;
	atomic_store(&h.dp->vports, &h.table);
	atomic_store(&h.dp->routes, &h.routes);
	atomic_store(&h.dp->services, &h.services);
	atomic_store(&h.dp->tunables, &h.tunables);
}

/* --- what came of it ----------------------------------------------------------------------------
 */

uint64_t harness_forwarded(void)
{
	uint64_t sum = 0;

	for (uint32_t c = 0; c < h.n_cores; c++)
		sum += h.cores[c].forwarded;
	return sum;
}

uint64_t harness_checked(void)
{
	uint64_t sum = 0;

	for (uint32_t c = 0; c < h.n_cores; c++)
		sum += h.cores[c].checked;
	return sum;
}

uint64_t harness_wrong(void)
{
	uint64_t sum = 0;

	for (uint32_t c = 0; c < h.n_cores; c++)
		sum += h.cores[c].wrong;
	return sum;
}

uint64_t harness_created(void)
{
	uint64_t sum = 0;

	for (uint32_t c = 0; c < h.n_cores; c++)
		sum += atomic_load(&flow_stats(h.dp->flows, h.v6 ? IP_V6 : IP_V4, c)->created);
	return sum;
}

void harness_complain(uint64_t sent)
{
	fprintf(stderr, "forwarded %llu of %llu, wrong %llu of %llu, flows %llu of %u\n",
		(unsigned long long)harness_forwarded(), (unsigned long long)sent,
		(unsigned long long)harness_wrong(), (unsigned long long)harness_checked(),
		(unsigned long long)harness_created(), h.n_flows);
	for (int r = 0; r < DROP_REASONS; r++) {
		uint64_t n = 0;

		for (uint32_t c = 0; c < h.n_cores; c++)
			n += h.cores[c].w.counters.drops[r];
		if (n != 0)
			fprintf(stderr, "  dropped %llu: %s\n", (unsigned long long)n,
				drop_reasons[r].name);
	}
}

/* --- set-up ------------------------------------------------------------------------------------
 */

/* Whole 2 MiB pages where the kernel gives them: what hugepages do in the daemon. */
static void *alloc_table(void *arg, size_t size, size_t align, const char *name)
{
	size_t page = 2u << 20;
	void *p = aligned_alloc(page, (size + page - 1) & ~(page - 1));

	h.table_bytes += size;
	if (p != NULL && h.huge)
		madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static void free_table(void *arg, void *p)
{
	free(p);
}

static void defaults(uint32_t capacity)
{
	h.n_flows = (h.n_flows + BURST - 1) / BURST * BURST;
	h.capacity = capacity < h.n_flows ? h.n_flows + h.n_flows / 4 : capacity;
	if (h.n_services == 0)
		h.n_services = 1;
	if (h.n_cores == 0)
		h.n_cores = 1;
	if (h.n_sizes == 0)
		h.n_sizes = 1;
	h.step = h.fragments ? BURST / 2 : BURST;
}

int harness_init(uint32_t capacity)
{
	struct flow_config cfg = {.salt = {3, 5}, .grace = &h.own.grace};
	struct flow_table *flows;

	h.dp = &h.own;
	defaults(capacity);
	cfg.workers = h.n_cores;
	cfg.capacity[h.v6 ? IP_V6 : IP_V4] = h.capacity;
	cfg.capacity[h.v6 ? IP_V4 : IP_V6] = 64;
	cfg.alloc = alloc_table;
	cfg.free = free_table;
	h.cores = aligned_alloc(4096, (sizeof(*h.cores) * CORES_MAX + 4095) & ~4095ul);
	if (h.cores == NULL)
		return -1;
	memset(h.cores, 0, sizeof(*h.cores) * CORES_MAX);
	if (flow_table_init(&cfg, &flows) < 0 || dataplane_init(h.dp, flows) < 0)
		return -1;
	for (uint32_t c = 0; c < h.n_cores; c++)
		if (worker_init(&h.cores[c].w, h.dp, c, &io) < 0)
			return -1;
	add_world();
	frames_init();
	for (uint32_t c = 0; c < h.n_cores; c++) {
		worker_load_snapshot(&h.cores[c].w);
		h.cores[c].w.now_ms = 5000;
	}
	return 0;
}

void harness_init_in(struct dataplane *dp)
{
	h.dp = dp;
	defaults(0);
	h.n_cores = 0;
	add_world();
	frames_init();
}
