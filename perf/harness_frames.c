/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The traffic of the pipeline benchmarks: frames from a tuple array, the order they are sent in,
 * and the check of what comes out (see harness.h). Main thread, but for harness_fill(), the check
 * and what they call, which run on their core's. */

#include <math.h>
#include <stdlib.h>

#include "perf/harness_private.h"

#define ROOM       (HEADROOM_MIN + 128)
#define LARGE_ROOM 1664
#define FRAG_BYTES 24 /* of the transport's 48 in each fragment */

static uint16_t l4_at(void)
{
	return (uint16_t)(ETH_HLEN + (h.v6 ? 40 : 20) + (h.fragments && h.v6 ? 8 : 0));
}

/* Of the whole datagram. */
static uint16_t l4_len(uint32_t size)
{
	if (h.fragments)
		return 2 * FRAG_BYTES;
	if (h.sizes[size] != 0)
		return (uint16_t)(h.sizes[size] - l4_at());
	return h.v6 ? 28 : 26;
}

/* --- the check ---------------------------------------------------------------------------------
 */

static bool sums_are_right(uint8_t *f, uint16_t l4, uint16_t len)
{
	const struct ipv4_hdr *ip = (const struct ipv4_hdr *)(f + ETH_HLEN);

	return l4_csum_valid(f, ETH_HLEN, l4, len, h.v6, proto()) &&
		(h.v6 || ip->csum == ipv4_csum(ip));
}

/* The payload is zeros, so the first fragment with as many behind it is the datagram. */
static bool datagram_is_right(const uint8_t *f, uint16_t l4)
{
	uint8_t whole[192] = {0};

	memcpy(whole, f, l4 + FRAG_BYTES);
	return l4_csum_valid(whole, ETH_HLEN, l4, 2 * FRAG_BYTES, h.v6, proto()) &&
		(h.v6 ||
			((const struct ipv4_hdr *)(f + ETH_HLEN))->csum ==
				ipv4_csum((const struct ipv4_hdr *)(f + ETH_HLEN)));
}

bool frame_is_right(uint32_t number, uint8_t *f, uint16_t out_vport, bool later)
{
	const struct tuple *t = &h.tuples[number];
	bool back = t->reply && h.traffic != TRAFFIC_PLAIN;
	bool snat = h.traffic == TRAFFIC_NODEPORT && !t->reply;
	struct ip_addr far = back ? vip(service_of(number % h.n_flows)) : backend_addr();
	struct ip_addr near = snat ? h.node_addr : pod_addr(client_of(t->pod));
	uint8_t *ip = f + ETH_HLEN;
	uint16_t l4 = l4_at(), sport, dport;
	uint16_t vip_port = h.traffic == TRAFFIC_NODEPORT ? NODE_PORT : 80;
	uint16_t far_port = htons(back ? vip_port : 8080);
	uint32_t n = h.v6 ? 16 : 4, at = h.v6 ? 8 : 12;
	const struct ip_addr *src = t->reply ? &far : &near, *dst = t->reply ? &near : &far;
	bool good;

	good = memcmp(ip + at, src->bytes + 16 - n, n) == 0 &&
		memcmp(ip + at + n, dst->bytes + 16 - n, n) == 0;
	good = good && ip[h.v6 ? 7 : 8] == 63;
	good = good && out_vport == (t->reply ? t->pod + 1 : BACKEND_VPORT);
	if (later)
		return good; /* neither ports nor a sum */
	memcpy(&sport, f + l4, 2);
	memcpy(&dport, f + l4 + 2, 2);
	good = good && sport == (t->reply ? far_port : t->port) &&
		dport == (t->reply ? t->port : far_port);
	return good &&
		(h.fragments ? datagram_is_right(f, l4) : sums_are_right(f, l4, l4_len(t->size)));
}

/* --- frames ------------------------------------------------------------------------------------
 */

static void ip_template(uint8_t *ip, bool reply, uint32_t size)
{
	struct ip_addr far = reply || h.traffic == TRAFFIC_PLAIN ? backend_addr() : vip(0);
	uint16_t len = (uint16_t)(l4_len(size) + (h.v6 ? 0 : 20));

	if (h.v6) {
		ip[0] = 0x60;
		ip[4] = (uint8_t)(len >> 8);
		ip[5] = (uint8_t)len;
		ip[6] = proto();
		ip[7] = 64;
		memcpy(ip + (reply ? 24 : 8), pod_addr(0).bytes, 16);
		memcpy(ip + (reply ? 8 : 24), far.bytes, 16);
		/* The node's own address is what replies to a NodePort's clients go to. */
		if (reply && h.traffic == TRAFFIC_NODEPORT)
			memcpy(ip + 24, h.node_addr.bytes, 16);
	} else {
		ip[0] = 0x45;
		ip[2] = (uint8_t)(len >> 8);
		ip[3] = (uint8_t)len;
		ip[8] = 64;
		ip[9] = proto();
		memcpy(ip + (reply ? 12 : 16), far.bytes + 12, 4);
	}
}

static void make_template(bool reply, uint32_t size)
{
	uint8_t *f = h.template[reply][size], *l4 = f + l4_at();
	bool direct = reply || h.traffic == TRAFFIC_PLAIN;
	uint16_t port = htons(direct ? 8080 : h.traffic == TRAFFIC_NODEPORT ? NODE_PORT : 80);
	uint16_t len = l4_len(size);

	f[0] = f[6] = 2;
	f[5] = 1;
	f[11] = 2;
	f[12] = h.v6 ? 0x86 : 0x08;
	f[13] = h.v6 ? 0xdd : 0;
	ip_template(f + ETH_HLEN, reply, size);
	memcpy(l4 + (reply ? 0 : 2), &port, 2);
	if (h.tcp) {
		l4[12] = 0x50;
		l4[13] = TCP_ACK;
	} else {
		l4[4] = (uint8_t)(len >> 8);
		l4[5] = (uint8_t)len;
	}
}

/* Returns the transport's header. number: which tuple it is. */
static inline uint8_t *write_frame(uint8_t *f, const struct tuple *t, uint32_t number)
{
	uint8_t *ip = f + ETH_HLEN, *l4 = f + l4_at();

	memcpy(f, h.template[t->reply][t->size], h.v6 ? 96 : 64);
	memcpy(ip + (h.v6 ? (t->reply ? 36 : 20) : (t->reply ? 16 : 12)), &t->client, 4);
	if (h.n_services > 1 && !t->reply) {
		uint32_t last =
			htonl((h.v6 ? 0 : 0x0a600000u) + 16 + service_of(number % h.n_flows));

		memcpy(ip + (h.v6 ? 36 : 16), &last, 4);
	}
	if (!h.v6)
		memcpy(ip + 10, &t->ip_csum, 2);
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

static void make_tuple(uint32_t number, uint32_t flow, bool reply, uint16_t first_port)
{
	uint8_t f[LARGE_ROOM] = {0};
	struct tuple *t = &h.tuples[number];

	*t = (struct tuple){
		.pod = (uint16_t)(flow / FLOWS_PER_POD),
		.client = client_of(flow / FLOWS_PER_POD),
		.port = htons((uint16_t)(first_port + flow % FLOWS_PER_POD)),
		.reply = reply,
		.size = (uint8_t)(flow % h.n_sizes),
	};
	if (reply && h.traffic == TRAFFIC_NODEPORT)
		memcpy(&t->client, h.node_addr.bytes + 12, 4);
	write_frame(f, t, number);
	t->l4_csum = l4_csum(f, ETH_HLEN, l4_at(), l4_len(t->size), h.v6, proto());
	if (!h.v6)
		t->ip_csum = ipv4_csum((struct ipv4_hdr *)(f + ETH_HLEN));
}

void frames_init(void)
{
	h.stride = ROOM;
	for (uint32_t size = 0; size < h.n_sizes; size++) {
		if (h.sizes[size] + HEADROOM_MIN > ROOM)
			h.stride = LARGE_ROOM;
		make_template(false, size);
		make_template(true, size);
	}
	h.tuples = calloc((size_t)h.n_flows * 3, sizeof(*h.tuples));
	if (h.tuples == NULL)
		die("memory");
	for (uint32_t c = 0; c < h.n_cores; c++) {
		h.cores[c].frames = aligned_alloc(64, (size_t)BURST * h.stride);
		if (h.cores[c].frames == NULL)
			die("memory");
		memset(h.cores[c].frames, 0, (size_t)BURST * h.stride);
	}
	for (uint32_t n = 0; n < h.n_flows; n++) {
		make_tuple(n, n, false, 32768);
		make_tuple(h.n_flows + n, n, true, 32768);
		make_tuple(2 * h.n_flows + n, n, false, 4096);
	}
}

uint16_t harness_write(uint8_t *f, uint32_t n)
{
	const struct tuple *t = &h.tuples[n];

	write_frame(f, t, n);
	return (uint16_t)(l4_at() + l4_len(t->size));
}

bool harness_right(uint32_t n, uint8_t *f, uint16_t out_vport)
{
	return frame_is_right(n, f, out_vport, false);
}

/* Makes the frame the first or the later half of its datagram. */
static void cut(uint8_t *f, uint32_t datagram, bool later)
{
	uint8_t *ip = f + ETH_HLEN;
	uint32_t id = htonl(datagram);

	if (later)
		memset(f + l4_at(), 0, FRAG_BYTES);
	if (h.v6) {
		ip[5] = 8 + FRAG_BYTES;
		ip[6] = IPV6_FRAGMENT;
		memset(ip + 40, 0, 8);
		ip[40] = proto();
		ip[43] = later ? FRAG_BYTES : 1;
		memcpy(ip + 44, &id, 4);
	} else {
		struct ipv4_hdr *v4 = (struct ipv4_hdr *)ip;

		v4->total_len = htons(20 + FRAG_BYTES);
		v4->id = htons((uint16_t)datagram);
		v4->frag = htons(later ? FRAG_BYTES / 8 : IPV4_MORE_FRAGMENTS);
		v4->csum = 0;
		v4->csum = ipv4_csum(v4);
	}
}

static uint16_t frame_len(const struct tuple *t)
{
	return (uint16_t)(l4_at() + (h.fragments ? FRAG_BYTES : l4_len(t->size)));
}

/* Of a tuple's number: forward ones are numbered from 0, replies from n_flows. */
static uint16_t mark_of(uint32_t n)
{
	return (uint16_t)(1 + (n < h.n_flows ? n : h.n_hot + n - h.n_flows));
}

void harness_mark(void)
{
	uint8_t frame[128];

	for (uint32_t k = 0; k < 2 * h.n_hot; k++) {
		uint32_t n = k < h.n_hot ? k : h.n_flows + k - h.n_hot, slot;
		struct parsed p;

		parse_frame(frame, harness_write(frame, n), 0, &p);
		slot = h.v6 ? flow_lookup6(h.dp->flows, &p.key6)
			    : flow_lookup4(h.dp->flows, &p.key4);
		if (slot == FLOW_NONE)
			die("a flow to mark");
		flow_mark_set(h.dp->flows, h.v6, mark_of(n), slot >> 1, slot & 1,
			flow_meta(h.dp->flows, h.v6, slot >> 1)->generation);
	}
}

static void fill(struct core *c, const uint32_t *order)
{
	struct burst *b = &c->w.burst;

	for (uint32_t i = 0; i < BURST; i++) {
		uint32_t n = order[h.fragments ? i / 2 : i];
		const struct tuple *t = &h.tuples[n];
		uint8_t *f = c->frames + i * h.stride + HEADROOM_MIN;
		uint8_t *l4 = write_frame(f, t, n);

		if (__builtin_expect(c->tcp_flags != 0, 0))
			set_tcp_flags(l4, c->tcp_flags);
		if (h.fragments) {
			c->datagrams += i % 2 == 0;
			cut(f, c->datagrams, i % 2 == 1);
		}
		b->buf[i] = (void *)(uintptr_t)n;
		b->data[i] = f;
		b->len[i] = frame_len(t);
		b->in_vport[i] = t->reply ? BACKEND_VPORT : (uint16_t)(t->pod + 1);
		b->flags[i] = 0;
		b->mark[i] = h.marks ? mark_of(n) : 0;
	}
	b->marked = h.marks ? ~UINT64_C(0) >> (64 - BURST) : 0;
	b->count = BURST;
	b->to.classify = ~UINT64_C(0) >> (64 - BURST);
}

void harness_fill(struct core *c, uint32_t *at)
{
	fill(c, h.order + *at);
	*at = *at + h.step >= h.n_order ? 0 : *at + h.step;
}

void harness_fill_strangers(struct core *c, uint32_t at)
{
	uint32_t order[BURST];

	for (uint32_t i = 0; i < BURST; i++)
		order[i] = 2 * h.n_flows + (at + i) % h.n_flows;
	c->tcp_flags = h.tcp ? TCP_SYN : 0;
	fill(c, order);
	c->tcp_flags = 0;
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
		return (uint32_t)(harness_random() % (h.n_hot != 0 ? h.n_hot : h.n_flows));
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

/* shift: which core starts. */
static void run_order(uint32_t shift, uint8_t tcp_flags)
{
	for (uint32_t at = 0, n = shift; n == shift || at != 0; n++) {
		struct core *c = &h.cores[n % h.n_cores];

		c->tcp_flags = tcp_flags;
		harness_fill(c, &at);
		pipeline_run(&c->w, &c->w.burst);
		c->tcp_flags = 0;
	}
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
	run_order(0, h.tcp ? TCP_SYN : 0);
	flip_order();
	run_order(1, h.tcp ? TCP_SYN | TCP_ACK : 0);
	flip_order();
	run_order(0, 0);
	for (uint32_t c = 0; c < h.n_cores; c++)
		h.cores[c].forwarded = h.cores[c].checked = h.cores[c].wrong = 0;
}
