/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Clients and servers on the NIC's wires, and a judge of every frame that leaves it.
 *
 * A frame carries whose it is and its number, so that whoever gets it, by the e-switch or by a
 * worker, tells whether it came to the right place, rightly rewritten, and whether it was sent
 * before or behind a change that was acknowledged. TCP shakes hands and ends by FIN or RST. Main
 * thread. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "net_emu/chaos.h"

#define SLOTS    120
#define PORTS_OF 64 /* source ports of a slot */
#define PORT_MIN 10000
#define MAGIC    0x5a17c4a0u
#define SILENCE  400 /* rounds without an answer */
/* Frames that may be on their way, in rings and queues, when a flow is killed. */
#define ON_ITS_WAY 20000

enum talk {
	TALK_SERVICE,
	TALK_PLAIN,
	TALK_OUTSIDE, /* masqueraded */
	TALKS
};

enum conn {
	CLOSED,
	OPENING,
	OPEN
};

/* In every frame. */
struct note {
	uint32_t magic;
	uint16_t slot;
	uint16_t sport; /* the client's, host order */
	uint8_t back;
	uint8_t zero[3];
	uint32_t life;
	uint64_t number;
};

static struct slot {
	enum talk talk;
	bool v6, tcp;
	enum conn conn;
	uint16_t sport;
	uint32_t life, quiet;
} slots[SLOTS];

static uint64_t answered;

uint64_t chaos_answered(void)
{
	return answered;
}

static void slot_again(struct chaos *c, struct slot *s, bool same_port)
{
	s->life++;
	s->conn = s->tcp ? CLOSED : OPEN;
	s->quiet = 0;
	if (!same_port)
		s->sport = (uint16_t)(PORT_MIN + (s - slots) * PORTS_OF + chaos_below(c, PORTS_OF));
}

void chaos_traffic_init(struct chaos *c)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[i] = (struct slot){.talk = (enum talk)(i % TALKS),
			.v6 = i / TALKS % 2 != 0,
			.tcp = i / TALKS / 2 % 2 != 0};
		slot_again(c, &slots[i], false);
	}
}

void chaos_traffic_reset(struct chaos *c)
{
	for (unsigned i = 0; i < SLOTS; i++)
		slot_again(c, &slots[i], chaos_below(c, 2) != 0);
}

/* --- frames ------------------------------------------------------------------------------------
 */

static const char *server_of(const struct slot *s)
{
	return s->talk == TALK_SERVICE  ? chaos_vip[s->v6]
		: s->talk == TALK_PLAIN ? chaos_server[s->v6]
					: chaos_outside[s->v6];
}

static uint16_t port_of(const struct slot *s)
{
	return s->talk == TALK_SERVICE ? VIP_PORT : PLAIN_PORT;
}

static uint8_t *note_at(struct frame *f)
{
	return f->data + f->len - sizeof(struct note);
}

static void macs(struct chaos *c, struct frame *f, uint16_t vport)
{
	const uint8_t to[6] = {2, 0, 0, 0, 0, (uint8_t)vport};
	const uint8_t from[6] = {2, 0, 0, 0, c->truth.mac[vport], (uint8_t)(0x10 + vport)};

	memcpy(f->data, to, 6);
	memcpy(f->data + 6, from, 6);
}

static void send_frame(struct chaos *c, uint16_t vport, struct frame *f, struct note *n)
{
	n->number = ++c->frame;
	memcpy(note_at(f), n, sizeof(*n));
	macs(c, f, vport);
	frame_fix(f->data, f->len, 14);
	/* A ring that is full, or a port that is stopped, loses it. */
	(void)net_emu_wire_send(c->nic, chaos_place(vport), f->data, f->len);
}

static void client_send(struct chaos *c, struct slot *s, uint8_t flags)
{
	struct note n = {
		.magic = MAGIC, .slot = (uint16_t)(s - slots), .sport = s->sport, .life = s->life};
	struct frame_spec spec = {.v6 = s->v6,
		.proto = s->tcp ? IPPROTO_TCP : IPPROTO_UDP,
		.src = chaos_client[s->v6],
		.dst = server_of(s),
		.sport = s->sport,
		.dport = port_of(s),
		.tcp_flags = flags,
		.payload = sizeof(n)};
	struct frame f;
	const struct chaos_truth *t = &c->truth;

	/* A check of what is denied is one that is tried. */
	c->checks[CHECK_denied] += t->gone_vport[1] != 0 || t->gone_vport[2] != 0 ||
		(t->hole_since != 0 && s->talk != TALK_OUTSIDE);
	frame_build(&f, &spec);
	send_frame(c, 1, &f, &n);
}

#define TCP_FIN_ 0x01
#define TCP_SYN_ 0x02
#define TCP_RST_ 0x04
#define TCP_PSH_ 0x08
#define TCP_ACK_ 0x10

static void client_turn(struct chaos *c, struct slot *s)
{
	if (++s->quiet > SILENCE)
		slot_again(c, s, chaos_below(c, 2) != 0);
	if (!s->tcp) {
		/* Another conversation now and then. */
		if (chaos_below(c, 4000) == 0)
			slot_again(c, s, false);
		client_send(c, s, 0);
		return;
	}
	switch (s->conn) {
	case CLOSED:
		client_send(c, s, TCP_SYN_);
		s->conn = OPENING;
		return;
	case OPENING:
		if (s->quiet % 16 == 0)
			client_send(c, s, TCP_SYN_);
		return;
	case OPEN:
		if (chaos_below(c, 4000) == 0) {
			client_send(c, s, chaos_below(c, 2) ? TCP_RST_ : TCP_FIN_ | TCP_ACK_);
			slot_again(c, s, chaos_below(c, 2) != 0);
			return;
		}
		client_send(c, s, TCP_PSH_ | TCP_ACK_);
		return;
	}
}

/* --- what comes out ----------------------------------------------------------------------------
 */

struct heads {
	bool v6;
	uint8_t proto, ttl, flags;
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
	uint16_t l4;
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool heads_read(const struct frame *f, struct heads *h)
{
	const uint8_t *ip = f->data + 14;

	memset(h, 0, sizeof(*h));
	if (f->len < 14 + 40 + sizeof(struct note))
		return false;
	h->v6 = be16(f->data + 12) == 0x86dd;
	if (!h->v6 && be16(f->data + 12) != 0x0800)
		return false;
	h->l4 = (uint16_t)(14 + (h->v6 ? 40 : 20));
	h->proto = h->v6 ? ip[6] : ip[9];
	h->ttl = h->v6 ? ip[7] : ip[8];
	memcpy(h->src, ip + (h->v6 ? 8 : 12), h->v6 ? 16 : 4);
	memcpy(h->dst, ip + (h->v6 ? 24 : 16), h->v6 ? 16 : 4);
	h->sport = be16(f->data + h->l4);
	h->dport = be16(f->data + h->l4 + 2);
	h->flags = h->proto == IPPROTO_TCP ? f->data[h->l4 + 13] : 0;
	return h->proto == IPPROTO_TCP || h->proto == IPPROTO_UDP;
}

static bool is(const uint8_t bytes[16], const char *text, bool v6)
{
	uint8_t want[16];

	return inet_pton(v6 ? AF_INET6 : AF_INET, text, want) == 1 &&
		memcmp(bytes, want, v6 ? 16 : 4) == 0;
}

/* Sent behind the acknowledgement of since. */
static bool behind(uint64_t number, uint64_t since)
{
	return since != 0 && number > since;
}

static void judge_denials(struct chaos *c, uint16_t vport, const struct slot *s,
	const struct heads *h, const struct note *n)
{
	const struct chaos_truth *t = &c->truth;

	for (uint16_t v = 1; v <= 2; v++)
		if ((v == 1 || s->talk != TALK_OUTSIDE) && behind(n->number, t->gone_vport[v]))
			chaos_broken(c, CHECK_denied, "slot %u: a frame of vport %u, which is gone",
				n->slot, v);
	if (vport == 2 && behind(n->number, t->hole_since))
		chaos_broken(c, CHECK_denied, "slot %u: a frame by a route that is none", n->slot);
	for (unsigned i = 0; i < ENDPOINTS; i++)
		if (vport == 2 && s->talk == TALK_SERVICE && !s->tcp &&
			h->dport == ENDPOINT_PORT + i && behind(n->number, t->gone_since[i]))
			chaos_broken(c, CHECK_denied, "slot %u: endpoint %u is gone", n->slot, i);
}

static void judge_macs(struct chaos *c, uint16_t vport, const struct frame *f, const struct note *n)
{
	const uint8_t from[6] = {2, 0, 0, 0, 0, (uint8_t)vport};
	const uint8_t to[6] = {2, 0, 0, 0, c->truth.mac[vport], (uint8_t)(0x10 + vport)};
	bool same = memcmp(f->data, to, 6) == 0;

	if (memcmp(f->data + 6, from, 6) != 0 || f->data[5] != to[5])
		chaos_broken(c, CHECK_delivered_right, "slot %u: of other MACs", n->slot);
	if (!same && behind(n->number, c->truth.mac_since[vport]))
		chaos_broken(c, CHECK_denied, "slot %u: to the neighbour's former MAC", n->slot);
}

/* An answer whose flow was killed, or is of the daemon's life before: pod 2 speaks to pod 1. */
static bool is_stray(const struct slot *s, const struct heads *h)
{
	return s->talk == TALK_SERVICE && is(h->src, chaos_server[s->v6], s->v6) &&
		h->sport >= ENDPOINT_PORT && h->sport < ENDPOINT_PORT + ENDPOINTS;
}

/* Is it what the client's frame, or the server's, has to become? */
static bool rewritten_right(
	const struct slot *s, uint16_t vport, const struct heads *h, const struct note *n)
{
	bool v6 = s->v6;

	if (h->v6 != v6 || h->ttl != 63 || (h->proto == IPPROTO_TCP) != s->tcp)
		return false;
	if (n->back)
		return vport == 1 && is(h->dst, chaos_client[v6], v6) &&
			((h->dport == n->sport && is(h->src, server_of(s), v6) &&
				 h->sport == port_of(s)) ||
				is_stray(s, h));
	if (s->talk == TALK_OUTSIDE)
		return vport == 3 && is(h->src, chaos_node[v6], v6) && h->sport >= SNAT_MIN &&
			h->sport <= SNAT_MAX && is(h->dst, chaos_outside[v6], v6) &&
			h->dport == PLAIN_PORT;
	/* Beside a stray's flow the client's gets another source port, of the node. */
	return vport == 2 &&
		((is(h->src, chaos_client[v6], v6) && h->sport == n->sport) ||
			(s->talk == TALK_SERVICE && h->sport >= SNAT_MIN &&
				h->sport <= SNAT_MAX)) &&
		is(h->dst, chaos_server[v6], v6) &&
		(s->talk == TALK_PLAIN ? h->dport == PLAIN_PORT
				       : h->dport >= ENDPOINT_PORT &&
					h->dport < ENDPOINT_PORT + ENDPOINTS);
}

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
	uint8_t t[16];

	memcpy(t, a, n);
	memcpy(a, b, n);
	memcpy(b, t, n);
}

/* The server's answer, out of what it got. */
static void answer(struct chaos *c, uint16_t vport, struct frame *f, const struct heads *h,
	const struct note *n)
{
	size_t len = h->v6 ? 16 : 4;
	uint8_t *ip = f->data + 14;
	struct note back = *n;

	if ((h->flags & TCP_RST_) != 0)
		return;
	swap(ip + (h->v6 ? 8 : 12), ip + (h->v6 ? 24 : 16), len);
	swap(f->data + h->l4, f->data + h->l4 + 2, 2);
	ip[h->v6 ? 7 : 8] = 64;
	if (h->proto == IPPROTO_TCP)
		f->data[h->l4 + 13] = h->flags & TCP_SYN_ ? TCP_SYN_ | TCP_ACK_
			: h->flags & TCP_FIN_             ? TCP_FIN_ | TCP_ACK_
							  : TCP_PSH_ | TCP_ACK_;
	back.back = 1;
	send_frame(c, vport, f, &back);
}

static void answer_seen(struct chaos *c, const struct heads *h, const struct note *n)
{
	struct slot *s = &slots[n->slot];

	answered++;
	if (n->life != s->life)
		return;
	s->quiet = 0;
	if (s->conn == OPENING && (h->flags & TCP_SYN_) != 0) {
		s->conn = OPEN;
		client_send(c, s, TCP_ACK_);
	}
}

static void judge(struct chaos *c, uint16_t vport, struct frame *f, bool answers)
{
	struct heads h;
	struct note n;
	const struct slot *s;

	if (!heads_read(f, &h))
		return;
	memcpy(&n, note_at(f), sizeof(n));
	/* A reset, an ICMP error or a question for a neighbour. */
	if (n.magic != MAGIC || n.slot >= SLOTS)
		return;
	s = &slots[n.slot];
	/* A flow that was killed, or began anew by a SYN, gave its port: what the server said to it
	 * before comes to whom has the port now. */
	if (n.back && s->talk == TALK_OUTSIDE &&
		(n.life != s->life ||
			(c->killed_at != 0 && n.number < c->killed_at + ON_ITS_WAY)) &&
		!rewritten_right(s, vport, &h, &n))
		return;
	CHAOS_CHECK(c, delivered_right,
		rewritten_right(s, vport, &h, &n) && frame_right(f->data, f->len, 14),
		"slot %u, %s, of life %u, now %u, %llu frames ago, last kill %llu frames ago: vport %u "
		"got sport %u dport %u ttl %u, sums %s",
		n.slot, n.back ? "reply" : "forward", n.life, s->life,
		(unsigned long long)(c->frame - n.number),
		(unsigned long long)(c->frame - c->killed_at), vport, h.sport, h.dport, h.ttl,
		frame_right(f->data, f->len, 14) ? "right" : "wrong");
	judge_denials(c, vport, s, &h, &n);
	judge_macs(c, vport, f, &n);
	if (!answers)
		return;
	if (n.back)
		answer_seen(c, &h, &n);
	else
		answer(c, vport, f, &h, &n);
}

static unsigned receive(struct chaos *c, bool answers)
{
	unsigned all = 0;

	for (uint16_t vport = 1; vport <= 3; vport++)
		for (unsigned n = 0; n < 256; n++) {
			struct frame f;

			f.len = (uint16_t)net_emu_wire_recv(
				c->nic, chaos_place(vport), f.data, sizeof(f.data));
			if (f.len == 0)
				break;
			all++;
			judge(c, vport, &f, answers);
		}
	return all;
}

void chaos_traffic(struct chaos *c, unsigned rounds)
{
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < SLOTS; i++)
			/* Every second one is eight times as fast. */
			if (i % 2 == 0 || (c->frame + i) % 8 == 0)
				client_turn(c, &slots[i]);
		receive(c, true);
	}
	rim_poll(c->rim);
}

void chaos_drain(struct chaos *c)
{
	static const struct timespec pause = {.tv_nsec = 200000};
	double late = chaos_now() + 30;
	uint32_t in_use, total;

	do {
		while (receive(c, false) != 0)
			;
		nanosleep(&pause, NULL);
		rim_poll(c->rim);
		rim_buffers(c->rim, &in_use, &total);
	} while (in_use != 0 && chaos_now() < late);
	CHAOS_CHECK(
		c, buffers_back, in_use == 0, "%u of %u buffers do not come back", in_use, total);
}
