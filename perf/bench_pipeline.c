/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The established path in one process: pod to ClusterIP, both directions, through the real
 * compositions, without EAL. Frames are written from a tuple array, so that the source costs
 * little; its own cost is measured by running it alone and shown beside.
 *
 *   bench_pipeline [--flows N] [--bursts N] [--v6] [--plain]
 *
 * Every 1024th packet is checked for the right translation; all must be forwarded. Under callgrind
 * (--toggle-collect=measured) instructions a packet are exact. One thread. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/dataplane.h"
#include "core/packet.h"
#include "pipelines/pipeline.h"

#define BURST      64 /* what a worker under load takes from a queue */
#define FRAME_MAX  128
#define BACKEND_AT 0x0a000000u /* 10.0.0.0/8 by flow: every flow has its own pair */

struct tuple {
	uint32_t client;
	uint16_t port;
	bool reply;
};

struct harness {
	struct dataplane dp;
	struct worker w;
	struct vport vports[3];
	struct vport_table table;
	struct next_hop hops[3];
	struct svc_domain services;
	struct route_domain routes;
	struct tunables tunables;
	struct svc_port svc;
	struct tuple *tuples;
	uint32_t n_flows;
	bool v6, plain;
	uint64_t forwarded, checked, wrong;
	uint8_t frames[BURST][FRAME_MAX + HEADROOM_MIN];
	uint8_t template[2][FRAME_MAX];
	uint16_t frame_len;
};

static struct harness h;

static uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
#endif
}

/* --- a rim that sends nowhere -------------------------------------------------------------------
 */

static void check(const struct burst *b, lanes_t i)
{
	const uint8_t *ip = b->data[i] + ETH_HLEN;
	const struct tuple *t = &h.tuples[(uintptr_t)b->buf[i]];
	uint16_t port;
	bool good;

	if (h.v6) {
		memcpy(&port, ip + 40 + (t->reply ? 0 : 2), 2);
		good = ip[t->reply ? 23 : 39] == (t->reply && !h.plain ? 0x10 : 2);
	} else {
		const struct ipv4_hdr *v4 = (const struct ipv4_hdr *)ip;
		uint32_t vip = htonl(0x0a60000au), backend = htonl(0x0af40102u);
		uint32_t want = h.plain ? backend : t->reply ? vip : backend;

		memcpy(&port, ip + 20 + (t->reply ? 0 : 2), 2);
		good = (t->reply ? v4->src : v4->dst) == want && v4->csum == ipv4_csum(v4);
	}
	good = good && port == htons(h.plain ? 8080 : t->reply ? 80 : 8080);
	h.checked++;
	h.wrong += !good;
}

static void io_transmit(struct worker *w, struct burst *b, lanes_t lanes)
{
	uint32_t n = (uint32_t)__builtin_popcountll(lanes);

	if ((h.forwarded & 1023) + n >= 1024)
		check(b, (lanes_t)__builtin_ctzll(lanes));
	h.forwarded += n;
	COUNT(w->counters.sent, n);
}

static void io_transmit_one(
	struct worker *w, void *buf, uint8_t *data, uint16_t len, uint16_t vport)
{
	abort();
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

/* --- the world: two pods, one service ------------------------------------------------------------
 */

static struct ip_addr addr(const char *v4, const char *v6)
{
	struct ip_addr a;

	if (ip_parse(h.v6 ? v6 : v4, &a) < 0)
		abort();
	return a;
}

static void add_service(void)
{
	struct svc_backend backend = {.addr = addr("10.244.1.2", "fd00::2"), .port = htons(8080)};
	struct svc_frontend_key key = {
		.addr = addr("10.96.0.10", "fd00::10"),
		.port = htons(80),
		.proto = IP_PROTO_UDP,
		.family = h.v6 ? IP_V6 : IP_V4,
	};
	struct backend_table *backends;
	struct svc_table *table;

	if (backend_table_init(16, &backends) < 0 || svc_table_init(&h.dp.grace, 16, &table) < 0)
		abort();
	backend.ref = backend_alloc(backends);
	backend_set(backends, backend.ref, BACKEND_READY);
	h.svc.id = 1;
	h.svc.proto = IP_PROTO_UDP;
	h.svc.flags = SVC_HAS_ANY;
	h.svc.port = htons(80);
	h.svc.cluster = svc_list_new(&backend, 1);
	h.svc.local = svc_list_new(&backend, 0);
	if (svc_table_set(table, &key, SVC_CLUSTER_IP, &h.svc) < 0)
		abort();
	h.services.ready = true;
	h.services.table = table;
	h.services.backends = backends;
}

static void add_world(void)
{
	static struct route routes[4];
	struct fib *fib;
	uint32_t n = 0;

	for (uint16_t id = 1; id <= 2; id++) {
		struct vport *v = &h.vports[id];
		struct next_hop *nh = &h.hops[id];

		*v = (struct vport){.id = id, .role = VPORT_POD, .mtu = 1500, .up = true};
		v->mac[5] = (uint8_t)id;
		h.table.at[id] = v;
		*nh = (struct next_hop){
			.kind = NEXT_HOP_FORWARD, .l2_len = 14, .vport = id, .mtu = 1500, .id = id};
		nh->l2[12] = 0x08;
		atomic_store(&h.dp.next_hops->at[id], nh);
	}
	ip_prefix_parse(h.v6 ? "fc00::/8" : "172.16.0.0/12", &routes[n].prefix);
	routes[n++].next_hop = 1;
	ip_prefix_parse(h.v6 ? "fd00::2/128" : "10.244.1.2/32", &routes[n].prefix);
	routes[n++].next_hop = 2;
	if (fib_new(routes, n, &fib) < 0)
		abort();
	h.routes.generation = 1;
	h.routes.fib = fib;
	add_service();
	h.tunables = *atomic_load(&h.dp.tunables);
	h.tunables.snat.egress = false;
	atomic_store(&h.dp.vports, &h.table);
	atomic_store(&h.dp.routes, &h.routes);
	atomic_store(&h.dp.services, &h.services);
	atomic_store(&h.dp.tunables, &h.tunables);
}

/* --- the source
 * ----------------------------------------------------------------------------------- */

static void make_templates(void)
{
	for (int reply = 0; reply < 2; reply++) {
		uint8_t *f = h.template[reply], *ip = f + ETH_HLEN, *udp;
		struct ip_addr vip = addr("10.96.0.10", "fd00::10");
		struct ip_addr backend = addr("10.244.1.2", "fd00::2");
		struct ip_addr *server = reply || h.plain ? &backend : &vip;

		f[5] = reply ? 2 : 1;
		if (h.v6) {
			f[12] = 0x86;
			f[13] = 0xdd;
			ip[0] = 0x60;
			ip[5] = 18;
			ip[6] = IP_PROTO_UDP;
			ip[7] = 64;
			ip[reply ? 24 : 8] = 0xfc;
			memcpy(ip + (reply ? 8 : 24), server->bytes, 16);
			udp = ip + 40;
			h.frame_len = 14 + 40 + 18;
		} else {
			f[12] = 0x08;
			ip[0] = 0x45;
			ip[3] = 46;
			ip[8] = 64;
			ip[9] = IP_PROTO_UDP;
			memcpy(ip + (reply ? 12 : 16), server->bytes + 12, 4);
			udp = ip + 20;
			h.frame_len = 60;
		}
		udp[reply ? 0 : 2] = (uint8_t)((reply || h.plain ? 8080 : 80) >> 8);
		udp[reply ? 1 : 3] = (uint8_t)(reply || h.plain ? 8080 : 80);
		udp[5] = h.v6 ? 18 : 26;
		udp[6] = 0x12;
		udp[7] = 0x34;
	}
}

static inline void write_frame(uint8_t *f, const struct tuple *t)
{
	uint8_t *ip = f + ETH_HLEN;

	memcpy(f, h.template[t->reply], h.v6 ? 80 : 64);
	if (h.v6) {
		memcpy(ip + (t->reply ? 36 : 20), &t->client, 4);
		memcpy(ip + 40 + (t->reply ? 2 : 0), &t->port, 2);
	} else {
		struct ipv4_hdr *v4 = (struct ipv4_hdr *)ip;
		uint32_t sum = 0x4500 + 46 + 0x4011;

		memcpy(ip + (t->reply ? 16 : 12), &t->client, 4);
		memcpy(ip + 20 + (t->reply ? 2 : 0), &t->port, 2);
		sum += ntohs(v4->src & 0xffff) + ntohs(v4->src >> 16) + ntohs(v4->dst & 0xffff) +
			ntohs(v4->dst >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		v4->csum = htons((uint16_t) ~((sum & 0xffff) + (sum >> 16)));
	}
}

static inline void fill(struct burst *b, uint32_t from)
{
	for (uint32_t i = 0; i < BURST; i++) {
		uint32_t n = from + i;
		const struct tuple *t = &h.tuples[n];
		uint8_t *f = h.frames[i] + HEADROOM_MIN;

		write_frame(f, t);
		b->buf[i] = (void *)(uintptr_t)n;
		b->data[i] = f;
		b->len[i] = h.frame_len;
		b->in_vport[i] = t->reply ? 2 : 1;
		b->flags[i] = 0;
	}
	b->count = BURST;
	b->to.classify = ~UINT64_C(0) >> (64 - BURST);
}

/* Under this name for callgrind: noipa keeps the compiler from cloning it under another. */
__attribute__((noipa)) static void measured(struct burst *b)
{
	pipeline_run(&h.w, b);
}

__attribute__((noipa)) static void warm_up(struct burst *b)
{
	pipeline_run(&h.w, b);
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void make_tuples(void)
{
	h.tuples = calloc((size_t)h.n_flows * 2 + BURST, sizeof(*h.tuples));
	if (h.tuples == NULL)
		abort();
	for (uint32_t n = 0; n < h.n_flows; n++) {
		struct tuple *t = &h.tuples[n];

		t->client = h.v6 ? htonl(n) : htonl(0xac100000u + (n >> 6));
		t->port = htons((uint16_t)(1024 + (n & 63) * 1000));
		h.tuples[h.n_flows + n] = *t;
		h.tuples[h.n_flows + n].reply = true;
	}
}

static void swap(uint32_t a, uint32_t b)
{
	struct tuple t = h.tuples[a];

	h.tuples[a] = h.tuples[b];
	h.tuples[b] = t;
}

/* Random order, but a burst comes from one queue of one port: bursts of forward packets and bursts
 * of replies alternate. */
static void shuffle(void)
{
	uint64_t seed = 88172645463325252ULL;

	for (uint32_t n = h.n_flows - 1; n > 0; n--) {
		swap(n, (uint32_t)(next_random(&seed) % (n + 1)));
		swap(h.n_flows + n, h.n_flows + (uint32_t)(next_random(&seed) % (n + 1)));
	}
}

static uint32_t burst_at(uint32_t i)
{
	uint32_t half = h.n_flows / BURST;

	return ((i & 1) * half + (i >> 1) % half) * BURST;
}

static void run_all(uint32_t bursts, uint64_t *spent)
{
	struct burst *b = &h.w.burst;

	for (uint32_t i = 0; i < bursts; i++) {
		uint64_t t0;

		fill(b, burst_at(i));
		t0 = ticks();
		measured(b);
		*spent += ticks() - t0;
	}
}

/* Forward packets first, so that every reply finds its flow. */
static void run_first(void)
{
	struct burst *b = &h.w.burst;

	for (uint32_t at = 0; at < h.n_flows * 2; at += BURST) {
		fill(b, at);
		warm_up(b);
	}
	for (uint32_t i = 0; i < h.n_flows * 2 / BURST; i++) {
		fill(b, burst_at(i));
		warm_up(b);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"flows", required_argument, NULL, 'f'},
		{"bursts", required_argument, NULL, 'b'},
		{"v6", no_argument, NULL, '6'},
		{"plain", no_argument, NULL, 'p'},
		{0},
	};
	struct flow_config cfg = {.workers = 1, .salt = {3, 5}, .grace = &h.dp.grace};
	uint64_t spent = 0, created;
	uint32_t bursts = 100000;
	struct flow_table *flows;
	int opt;

	h.n_flows = 10000;
	while ((opt = getopt_long(argc, argv, "f:b:6p", options, NULL)) != -1) {
		if (opt == 'f')
			h.n_flows = (uint32_t)strtoul(optarg, NULL, 0);
		else if (opt == 'b')
			bursts = (uint32_t)strtoul(optarg, NULL, 0);
		else if (opt == '6')
			h.v6 = true;
		else if (opt == 'p')
			h.plain = true;
		else
			return 2;
	}
	h.n_flows = (h.n_flows + BURST - 1) / BURST * BURST;
	cfg.capacity[h.v6 ? IP_V6 : IP_V4] = h.n_flows + h.n_flows / 4;
	cfg.capacity[h.v6 ? IP_V4 : IP_V6] = 64;
	if (flow_table_init(&cfg, &flows) < 0 || dataplane_init(&h.dp, flows) < 0 ||
		worker_init(&h.w, &h.dp, 0, &io) < 0)
		return 1;
	add_world();
	worker_load_snapshot(&h.w);
	h.w.now_ms = 5000;
	make_templates();
	make_tuples();
	shuffle();
	run_first();
	created = atomic_load(&flow_stats(flows, h.v6 ? IP_V6 : IP_V4, 0)->created);
	h.forwarded = h.checked = h.wrong = 0;
	spent = 0;
	run_all(bursts, &spent);
	if (h.forwarded != (uint64_t)bursts * BURST || h.wrong != 0 || created != h.n_flows ||
		created != atomic_load(&flow_stats(flows, h.v6 ? IP_V6 : IP_V4, 0)->created)) {
		fprintf(stderr, "forwarded %llu of %llu, wrong %llu of %llu, flows %llu of %u\n",
			(unsigned long long)h.forwarded, (unsigned long long)bursts * BURST,
			(unsigned long long)h.wrong, (unsigned long long)h.checked,
			(unsigned long long)created, h.n_flows);
		for (int r = 0; r < DROP_REASONS; r++)
			if (h.w.counters.drops[r] != 0)
				fprintf(stderr, "  dropped %llu: %s\n",
					(unsigned long long)h.w.counters.drops[r],
					drop_reasons[r].name);
		return 1;
	}
	printf("%s %s flows=%u ticks/packet=%.1f checked=%llu\n", h.v6 ? "ipv6" : "ipv4",
		h.plain ? "plain" : "dnat", h.n_flows, (double)spent / ((double)bursts * BURST),
		(unsigned long long)h.checked);
	return 0;
}
