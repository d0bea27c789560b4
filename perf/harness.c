/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The world and the traffic of the pipeline benchmarks (see harness.h). Main thread. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "perf/harness.h"

struct harness h;

uint64_t harness_random(void)
{
	static uint64_t s = 88172645463325252ULL;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "harness: %s\n", what);
	exit(1);
}

static struct ip_addr addr(const char *v4, const char *v6)
{
	struct ip_addr a;

	if (ip_parse(h.v6 ? v6 : v4, &a) < 0)
		die("address");
	return a;
}

static struct ip_addr vip(void)
{
	return addr("10.96.0.10", "fd00::10");
}

static struct ip_addr backend_addr(void)
{
	return addr("10.244.1.2", "fd00::2");
}

static struct ip_addr pod_addr(uint32_t client)
{
	struct ip_addr a = addr("172.16.0.0", "fc00::");

	memcpy(a.bytes + 12, &client, 4);
	return a;
}

static uint32_t pods(void)
{
	return (h.n_flows + FLOWS_PER_POD - 1) / FLOWS_PER_POD;
}

static uint32_t client_of(uint32_t pod)
{
	return htonl((h.v6 ? 0u : 0xac100000u) + pod + 1);
}

static uint8_t proto(void)
{
	return h.tcp ? IP_PROTO_TCP : IP_PROTO_UDP;
}

/* --- a rim that sends nowhere -------------------------------------------------------------------
 */

static void check(const struct burst *b, lanes_t i)
{
	const struct tuple *t = &h.tuples[(uintptr_t)b->buf[i]];
	bool dnat = h.traffic == TRAFFIC_DNAT;
	struct ip_addr far = t->reply && dnat ? vip() : backend_addr();
	struct ip_addr near = pod_addr(t->client);
	uint8_t *f = b->data[i], *ip = f + ETH_HLEN;
	uint16_t l4 = (uint16_t)(ETH_HLEN + (h.v6 ? 40 : 20)), sport, dport;
	uint16_t far_port = htons(t->reply && dnat ? 80 : 8080);
	uint32_t n = h.v6 ? 16 : 4, at = h.v6 ? 8 : 12;
	const struct ip_addr *src = t->reply ? &far : &near, *dst = t->reply ? &near : &far;
	bool good;

	memcpy(&sport, f + l4, 2);
	memcpy(&dport, f + l4 + 2, 2);
	good = memcmp(ip + at, src->bytes + 16 - n, n) == 0 &&
		memcmp(ip + at + n, dst->bytes + 16 - n, n) == 0;
	good = good && sport == (t->reply ? far_port : t->port) &&
		dport == (t->reply ? t->port : far_port);
	good = good && l4_csum_valid(f, ETH_HLEN, l4, (uint16_t)(h.frame_len - l4), h.v6, proto());
	good = good && (h.v6 || ((struct ipv4_hdr *)ip)->csum == ipv4_csum((void *)ip));
	good = good && ip[h.v6 ? 7 : 8] == 63;
	good = good && b->out_vport[i] == (t->reply ? t->pod + 1 : BACKEND_VPORT);
	h.checked++;
	h.wrong += !good;
}

static void io_transmit(struct worker *w, struct burst *b, lanes_t lanes)
{
	uint32_t n = lanes_count(lanes);

	if ((h.forwarded & 1023) + n >= 1024)
		check(b, lanes_first(lanes));
	h.forwarded += n;
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

static void add_service(void)
{
	struct svc_backend backend = {.addr = backend_addr(), .port = htons(8080)};
	struct svc_frontend_key key = {
		.addr = vip(),
		.port = htons(80),
		.proto = proto(),
		.family = h.v6 ? IP_V6 : IP_V4,
	};
	struct backend_table *backends;
	struct svc_table *table;

	if (backend_table_init(16, &backends) < 0 || svc_table_init(&h.dp.grace, 16, &table) < 0)
		die("service tables");
	backend.ref = backend_alloc(backends);
	backend_set(backends, backend.ref, BACKEND_READY);
	h.svc.id = 1;
	h.svc.proto = proto();
	h.svc.flags = SVC_HAS_ANY;
	h.svc.port = htons(80);
	h.svc.cluster = svc_list_new(&backend, 1);
	h.svc.local = svc_list_new(&backend, 0);
	if (svc_table_set(table, &key, SVC_CLUSTER_IP, &h.svc) < 0)
		die("service");
	h.services.ready = true;
	h.services.table = table;
	h.services.backends = backends;
}

static struct route add_pod(uint16_t id, struct ip_addr a)
{
	struct vport *v = &h.vports[id];
	struct next_hop *nh = &h.hops[id];
	struct ip_prefix p = {.addr = a, .len = h.v6 ? 128 : 32, .family = h.v6 ? IP_V6 : IP_V4};

	*v = (struct vport){.id = id, .role = VPORT_POD, .mtu = 1500, .up = true};
	v->source_guard = v->peer_mac_known = true;
	v->mac[0] = v->peer_mac[0] = 2;
	v->mac[5] = 1;
	v->peer_mac[5] = 2;
	v->addrs[v->n_addrs++] = p;
	h.table.at[id] = v;
	*nh = (struct next_hop){
		.kind = NEXT_HOP_FORWARD, .l2_len = 14, .vport = id, .mtu = 1500, .id = id};
	nh->l2[12] = 0x08;
	atomic_store(&h.dp.next_hops->at[id], nh);
	return (struct route){.prefix = p, .next_hop = id};
}

static void add_world(void)
{
	static struct route routes[VPORTS_MAX];
	struct fib *fib;
	uint32_t n = 0;

	if (pods() >= BACKEND_VPORT)
		die("more flows than there are pods for");
	for (uint32_t pod = 0; pod < pods(); pod++)
		routes[n++] = add_pod((uint16_t)(pod + 1), pod_addr(client_of(pod)));
	routes[n++] = add_pod(BACKEND_VPORT, backend_addr());
	if (fib_new(routes, n, &fib) < 0)
		die("routes");
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

/* --- frames ------------------------------------------------------------------------------------
 */

static uint16_t l4_at(void)
{
	return (uint16_t)(ETH_HLEN + (h.v6 ? 40 : 20));
}

static void make_template(bool reply)
{
	uint8_t *f = h.template[reply], *ip = f + ETH_HLEN, *l4 = f + l4_at();
	struct ip_addr far = reply || h.traffic == TRAFFIC_PLAIN ? backend_addr() : vip();
	uint16_t port = htons(reply || h.traffic == TRAFFIC_PLAIN ? 8080 : 80);
	uint16_t l4_len = h.v6 ? 28 : 26;

	f[0] = f[6] = 2;
	f[5] = 1;
	f[11] = 2;
	h.frame_len = (uint16_t)(l4_at() + l4_len);
	if (h.v6) {
		f[12] = 0x86;
		f[13] = 0xdd;
		ip[0] = 0x60;
		ip[5] = (uint8_t)l4_len;
		ip[6] = proto();
		ip[7] = 64;
		ip[reply ? 24 : 8] = 0xfc;
		memcpy(ip + (reply ? 8 : 24), far.bytes, 16);
	} else {
		f[12] = 0x08;
		ip[0] = 0x45;
		ip[3] = (uint8_t)(20 + l4_len);
		ip[8] = 64;
		ip[9] = proto();
		memcpy(ip + (reply ? 12 : 16), far.bytes + 12, 4);
	}
	memcpy(l4 + (reply ? 0 : 2), &port, 2);
	if (h.tcp) {
		l4[12] = 0x50;
		l4[13] = TCP_ACK;
	} else {
		l4[5] = (uint8_t)l4_len;
	}
}

static inline uint8_t *write_frame(uint8_t *f, const struct tuple *t)
{
	uint8_t *ip = f + ETH_HLEN, *l4;

	memcpy(f, h.template[t->reply], h.v6 ? 96 : 64);
	if (h.v6) {
		memcpy(ip + (t->reply ? 36 : 20), &t->client, 4);
		l4 = ip + 40;
	} else {
		memcpy(ip + (t->reply ? 16 : 12), &t->client, 4);
		memcpy(ip + 10, &t->ip_csum, 2);
		l4 = ip + 20;
	}
	memcpy(l4 + (t->reply ? 2 : 0), &t->port, 2);
	memcpy(l4 + (h.tcp ? 16 : 6), &t->l4_csum, 2);
	return l4;
}

/* The template has ACK; the checksum follows. */
static void set_tcp_flags(uint8_t *l4, uint8_t flags)
{
	uint16_t had = load_u16(l4 + 12);

	l4[13] = flags;
	csum_adjust(l4 + 16, csum_fold((uint64_t)(uint16_t)~had + load_u16(l4 + 12)));
}

static void make_tuple(struct tuple *t, uint32_t flow, bool reply, uint16_t first_port)
{
	uint8_t f[192];

	*t = (struct tuple){
		.pod = (uint16_t)(flow / FLOWS_PER_POD),
		.client = client_of(flow / FLOWS_PER_POD),
		.port = htons((uint16_t)(first_port + flow % FLOWS_PER_POD)),
		.reply = reply,
	};
	write_frame(f, t);
	t->l4_csum =
		l4_csum(f, ETH_HLEN, l4_at(), (uint16_t)(h.frame_len - l4_at()), h.v6, proto());
	if (!h.v6)
		t->ip_csum = ipv4_csum((struct ipv4_hdr *)(f + ETH_HLEN));
}

static void make_tuples(void)
{
	h.tuples = calloc((size_t)h.n_flows * 3, sizeof(*h.tuples));
	if (h.tuples == NULL)
		die("memory");
	make_template(false);
	make_template(true);
	for (uint32_t n = 0; n < h.n_flows; n++) {
		make_tuple(&h.tuples[n], n, false, 32768);
		make_tuple(&h.tuples[h.n_flows + n], n, true, 32768);
		make_tuple(&h.tuples[2 * h.n_flows + n], n, false, 4096);
	}
}

static void fill(const uint32_t *order)
{
	struct burst *b = &h.w.burst;

	for (uint32_t i = 0; i < BURST; i++) {
		uint32_t n = order[i];
		const struct tuple *t = &h.tuples[n];
		uint8_t *f = h.frames[i] + HEADROOM_MIN;
		uint8_t *l4 = write_frame(f, t);

		if (__builtin_expect(h.tcp_flags != 0, 0))
			set_tcp_flags(l4, h.tcp_flags);
		b->buf[i] = (void *)(uintptr_t)n;
		b->data[i] = f;
		b->len[i] = h.frame_len;
		b->in_vport[i] = t->reply ? BACKEND_VPORT : (uint16_t)(t->pod + 1);
		b->flags[i] = 0;
	}
	b->count = BURST;
	b->to.classify = ~UINT64_C(0) >> (64 - BURST);
}

void harness_fill(uint32_t at)
{
	fill(h.order + at);
}

void harness_fill_strangers(uint32_t at)
{
	uint32_t order[BURST];

	for (uint32_t i = 0; i < BURST; i++)
		order[i] = 2 * h.n_flows + (at + i) % h.n_flows;
	h.tcp_flags = h.tcp ? TCP_SYN : 0;
	fill(order);
	h.tcp_flags = 0;
}

/* --- order -------------------------------------------------------------------------------------
 */

static void order_room(uint32_t packets)
{
	free(h.order);
	h.order = malloc(sizeof(*h.order) * (packets + 2 * BURST));
	if (h.order == NULL)
		die("memory");
	h.n_order = 0;
}

/* Rank of a draw by the inverse of the integral of x^-s; ranks are spread over the flows. */
static uint32_t draw(double zipf)
{
	double u = (double)(harness_random() >> 11) / 9007199254740992.0, x;
	uint32_t rank;

	if (zipf == 0)
		return (uint32_t)(harness_random() % h.n_flows);
	x = pow(1 + u * (pow(h.n_flows, 1 - zipf) - 1), 1 / (1 - zipf));
	rank = (uint32_t)x - 1 < h.n_flows ? (uint32_t)x - 1 : h.n_flows - 1;
	return (uint32_t)((uint64_t)rank * 2654435761u % h.n_flows);
}

/* Draws wait at their pod until they fill a burst; bursts of replies come in between. */
void harness_order(double zipf, uint32_t packets)
{
	uint32_t *waiting = malloc(sizeof(*waiting) * BURST * pods());
	uint8_t *n_waiting = calloc(pods(), 1);

	order_room(packets);
	if (waiting == NULL || n_waiting == NULL)
		die("memory");
	while (h.n_order < packets) {
		uint32_t flow = draw(zipf), pod = flow / FLOWS_PER_POD;

		waiting[pod * BURST + n_waiting[pod]++] = flow;
		if (n_waiting[pod] < BURST)
			continue;
		memcpy(h.order + h.n_order, waiting + pod * BURST, BURST * sizeof(*waiting));
		h.n_order += BURST;
		for (uint32_t i = 0; i < BURST; i++)
			h.order[h.n_order++] = h.n_flows + draw(zipf);
		n_waiting[pod] = 0;
	}
	free(waiting);
	free(n_waiting);
}

static void shuffle(uint32_t *a, uint32_t n)
{
	while (n > 1) {
		uint32_t k = (uint32_t)(harness_random() % n--), t = a[n];

		a[n] = a[k];
		a[k] = t;
	}
}

void harness_order_first(void)
{
	uint32_t bursts = h.n_flows / BURST;

	order_room(h.n_flows);
	for (uint32_t n = 0; n < bursts; n++)
		h.order[n] = n;
	shuffle(h.order, bursts);
	/* From the back, so that a burst's number is read before its place is written. */
	for (uint32_t n = bursts; n-- > 0;) {
		uint32_t base = h.order[n] * BURST;

		for (uint32_t i = 0; i < BURST; i++)
			h.order[n * BURST + i] = base + i;
	}
	h.n_order = bursts * BURST;
}

static void run_order(uint8_t tcp_flags)
{
	h.tcp_flags = tcp_flags;
	for (uint32_t at = 0; at < h.n_order; at += BURST) {
		harness_fill(at);
		pipeline_run(&h.w, &h.w.burst);
	}
	h.tcp_flags = 0;
}

static void flip_order(void)
{
	for (uint32_t n = 0; n < h.n_order; n++)
		h.order[n] =
			h.order[n] < h.n_flows ? h.order[n] + h.n_flows : h.order[n] - h.n_flows;
}

void harness_establish(void)
{
	harness_order_first();
	run_order(h.tcp ? TCP_SYN : 0);
	flip_order();
	run_order(h.tcp ? TCP_SYN | TCP_ACK : 0);
	flip_order();
	run_order(0);
	h.forwarded = h.checked = h.wrong = 0;
}

uint64_t harness_created(void)
{
	return atomic_load(&flow_stats(h.dp.flows, h.v6 ? IP_V6 : IP_V4, 0)->created);
}

void harness_complain(uint64_t sent)
{
	fprintf(stderr, "forwarded %llu of %llu, wrong %llu of %llu, flows %llu of %u\n",
		(unsigned long long)h.forwarded, (unsigned long long)sent,
		(unsigned long long)h.wrong, (unsigned long long)h.checked,
		(unsigned long long)harness_created(), h.n_flows);
	for (int r = 0; r < DROP_REASONS; r++)
		if (h.w.counters.drops[r] != 0)
			fprintf(stderr, "  dropped %llu: %s\n",
				(unsigned long long)h.w.counters.drops[r], drop_reasons[r].name);
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

int harness_init(uint32_t capacity)
{
	struct flow_config cfg = {.workers = 1, .salt = {3, 5}, .grace = &h.dp.grace};
	struct flow_table *flows;

	h.n_flows = (h.n_flows + BURST - 1) / BURST * BURST;
	if (capacity < h.n_flows)
		capacity = h.n_flows + h.n_flows / 4;
	cfg.capacity[h.v6 ? IP_V6 : IP_V4] = capacity;
	cfg.capacity[h.v6 ? IP_V4 : IP_V6] = 64;
	cfg.alloc = alloc_table;
	cfg.free = free_table;
	h.capacity = capacity;
	if (flow_table_init(&cfg, &flows) < 0 || dataplane_init(&h.dp, flows) < 0 ||
		worker_init(&h.w, &h.dp, 0, &io) < 0)
		return -1;
	add_world();
	worker_load_snapshot(&h.w);
	h.w.now_ms = 5000;
	make_tuples();
	return 0;
}
