/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* offload-probe: what a NIC's ports can take into hardware, tried out, as a report to send.
 *
 *	offload-probe [--wire PORT=DEVICE]... -- EAL-ARGUMENTS
 *
 * For every ethdev that EAL finds: facts, the matrix of the same probe that sluiced makes, with
 * the driver's words, and the calls in testpmd's syntax. With --wire, canary traffic: what DEVICE
 * sends must arrive at PORT from outside, and the other way round (a cabled port, the VF behind a
 * representor, the other end of a veth pair). Rules and frames are of addresses that nobody has.
 * One thread. It takes the devices for itself: nothing else may use them meanwhile. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>
#include <rte_version.h>

#include "offload/caps.h"
#include "offload/lower.h"
#include "offload/provider.h"

#define PORTS_MAX   RTE_MAX_ETHPORTS
#define ROWS_MAX    OFFLOAD_SHAPES
#define FRAMES      32
#define FRAME_BYTES 128
#define WAIT_MS     3000

struct port {
	uint16_t id;
	char name[RTE_ETH_NAME_MAX_LEN];
	struct offload_port_facts facts;
	struct offload_caps *caps;
	int wire; /* index of the port at its outer side; -1: none */
	bool is_wire;
	bool taken; /* by another driver */
};

static struct port ports[PORTS_MAX];
static unsigned n_ports;
static struct rte_mempool *pool;
static const struct offload_provider *provider;
static unsigned failures;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- ports ------------------------------------------------------------------------------------ */

static struct port *port_named(const char *name, size_t len)
{
	for (unsigned i = 0; i < n_ports; i++)
		if (strlen(ports[i].name) == len && memcmp(ports[i].name, name, len) == 0)
			return &ports[i];
	return NULL;
}

static int port_start(struct port *p)
{
	uint64_t features = RTE_ETH_RX_METADATA_USER_MARK;
	struct rte_eth_conf conf = {0};
	int rc = rte_eth_rx_metadata_negotiate(p->id, &features);

	/* A driver that has no answer (ice, i40e) does what it always did. */
	if (rc == 0 || rc == -ENOTSUP)
		offload_provider_rte_flow_marks(
			p->id, (features & RTE_ETH_RX_METADATA_USER_MARK) != 0);
	rc = rte_eth_dev_configure(p->id, 1, 1, &conf);
	if (rc == 0)
		rc = rte_eth_rx_queue_setup(p->id, 0, 512, SOCKET_ID_ANY, NULL, pool);
	if (rc == 0)
		rc = rte_eth_tx_queue_setup(p->id, 0, 512, SOCKET_ID_ANY, NULL);
	if (rc == 0)
		rc = rte_eth_dev_start(p->id);
	if (rc == 0)
		(void)rte_eth_promiscuous_enable(p->id);
	return rc;
}

/* When a port starts: proxies first (mlx5 with hardware steering wants it), then what they serve,
 * then all that is in no switch domain and so may be part of one of them. */
static int turn_of(const struct port *p)
{
	if (p->facts.domain == OFFLOAD_NO_PORT)
		return 2;
	return p->facts.proxy != p->id;
}

/* A driver may use a port for itself (a bond's members, failsafe's, the emulated NIC's wires). */
static bool taken(const struct port *p)
{
	struct rte_eth_dev_owner owner;

	return rte_eth_dev_owner_get(p->id, &owner) == 0 && owner.id != RTE_ETH_DEV_NO_OWNER;
}

static int ports_start(void)
{
	for (int turn = 0; turn < 3; turn++)
		for (unsigned i = 0; i < n_ports; i++) {
			int rc;

			if (turn_of(&ports[i]) != turn)
				continue;
			ports[i].taken = taken(&ports[i]);
			if (ports[i].taken)
				continue;
			rc = port_start(&ports[i]);
			if (rc != 0) {
				fprintf(stderr, "offload-probe: %s does not start: %s\n",
					ports[i].name, rte_strerror(-rc));
				return rc;
			}
		}
	return 0;
}

/* Representors first, proxies last. */
static void ports_stop(void)
{
	for (int turn = 2; turn >= 0; turn--)
		for (unsigned i = 0; i < n_ports; i++)
			if (turn_of(&ports[i]) == turn && !ports[i].taken)
				(void)rte_eth_dev_stop(ports[i].id);
}

static struct port *peer_of(const struct port *p)
{
	for (unsigned i = 0; i < n_ports; i++)
		if (&ports[i] != p && !ports[i].is_wire && p->facts.domain != OFFLOAD_NO_PORT &&
			ports[i].facts.domain == p->facts.domain)
			return &ports[i];
	return NULL;
}

/* --- frames ----------------------------------------------------------------------------------- */

/* The packet that a rule matches, or what it becomes. */
static uint16_t frame_of(const struct offload_rule *r, bool after, uint8_t *f)
{
	const struct ip_addr *src =
		after && (r->to.set & OFFLOAD_SET_SRC) ? &r->to.src : &r->match.src;
	const struct ip_addr *dst =
		after && (r->to.set & OFFLOAD_SET_DST) ? &r->to.dst : &r->match.dst;
	struct rte_ipv4_hdr *ip4 = (void *)(f + 14);
	struct rte_ipv6_hdr *ip6 = (void *)(f + 14);
	bool v6 = r->match.family == IP_V6, tcp = r->match.proto == IP_PROTO_TCP;
	uint16_t l4_at = (uint16_t)(14 + (v6 ? 40 : 20)), l4_len = FRAME_BYTES - l4_at, csum;
	uint16_t sport = after && (r->to.set & OFFLOAD_SET_SPORT) ? r->to.sport : r->match.sport;
	uint16_t dport = after && (r->to.set & OFFLOAD_SET_DPORT) ? r->to.dport : r->match.dport;
	uint8_t ttl = (uint8_t)(r->match.ttl - (after && (r->to.set & OFFLOAD_DEC_TTL)));
	uint8_t *l4 = f + l4_at;

	memset(f, 0, FRAME_BYTES);
	memcpy(f, after ? r->to.dmac : r->match.dmac, 6);
	memcpy(f + 6, after ? r->to.smac : r->match.smac, 6);
	f[12] = v6 ? 0x86 : 0x08;
	f[13] = v6 ? 0xdd : 0x00;
	memcpy(l4, &sport, 2);
	memcpy(l4 + 2, &dport, 2);
	if (tcp) {
		l4[12] = 5 << 4;
		l4[13] = RTE_TCP_ACK_FLAG;
	} else {
		l4[4] = (uint8_t)(l4_len >> 8);
		l4[5] = (uint8_t)l4_len;
	}
	if (v6) {
		ip6->vtc_flow = RTE_BE32(6u << 28);
		ip6->payload_len = rte_cpu_to_be_16(l4_len);
		ip6->proto = r->match.proto;
		ip6->hop_limits = ttl;
		memcpy(&ip6->src_addr, src->bytes, 16);
		memcpy(&ip6->dst_addr, dst->bytes, 16);
		csum = rte_ipv6_udptcp_cksum(ip6, l4);
	} else {
		ip4->version_ihl = 0x45;
		ip4->total_length = rte_cpu_to_be_16((uint16_t)(FRAME_BYTES - 14));
		ip4->time_to_live = ttl;
		ip4->next_proto_id = r->match.proto;
		ip4->src_addr = ip_v4(src);
		ip4->dst_addr = ip_v4(dst);
		ip4->hdr_checksum = rte_ipv4_cksum(ip4);
		csum = rte_ipv4_udptcp_cksum(ip4, l4);
	}
	memcpy(l4 + (tcp ? 16 : 6), &csum, 2);
	return FRAME_BYTES;
}

static unsigned send_frames(const struct port *wire, const struct offload_rule *r)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < FRAMES; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		if (m == NULL)
			break;
		frame_of(r, false, (uint8_t *)rte_pktmbuf_append(m, FRAME_BYTES));
		if (rte_eth_tx_burst(wire->id, 0, &m, 1) == 1)
			sent++;
		else
			rte_pktmbuf_free(m);
	}
	return sent;
}

/* Frames that wait at a port; right: those that are exactly like that one. Others' are let go. */
static void drain(const struct port *p, const uint8_t *like, unsigned *right)
{
	struct rte_mbuf *m[FRAMES];
	uint16_t n = rte_eth_rx_burst(p->id, 0, m, FRAMES);

	for (uint16_t i = 0; i < n; i++) {
		*right += like != NULL && rte_pktmbuf_data_len(m[i]) >= FRAME_BYTES &&
			memcmp(rte_pktmbuf_mtod(m[i], void *), like, FRAME_BYTES) == 0;
		rte_pktmbuf_free(m[i]);
	}
}

/* --- the report ------------------------------------------------------------------------------- */

static void say_facts(const struct port *p)
{
	printf("\nport %u %s: driver %s, switch domain ", p->id, p->name, p->facts.driver);
	if (p->facts.domain == OFFLOAD_NO_PORT)
		printf("none");
	else
		printf("%u", p->facts.domain);
	printf(", proxy %u%s%s\n", p->facts.proxy, p->facts.representor ? ", representor" : "",
		p->facts.mark_in_buffers ? ", MARK reaches buffers"
					 : ", MARK reaches no buffer: no partial offload");
}

static void probe(struct port *p)
{
	static struct offload_caps_row rows[ROWS_MAX];
	const struct port *peer = peer_of(p);
	struct offload_error err;
	char line[OFFLOAD_ROW_TEXT_MAX];
	uint32_t n;
	int rc;

	(void)provider->facts(provider->arg, p->id, &p->facts);
	say_facts(p);
	rc = provider->flush(provider->arg, p->id, &err);
	if (rc != 0)
		printf("  flush: %d (%s)\n", rc, err.cause);
	rc = offload_caps_new(provider, p->id, &p->caps);
	if (rc == 0)
		rc = offload_caps_probe(p->caps, peer != NULL ? peer->id : OFFLOAD_NO_PORT, 0);
	if (rc != 0) {
		printf("  the probe failed: %s\n", rte_strerror(-rc));
		failures++;
		return;
	}
	if (peer == NULL)
		printf("  no other port in its switch domain: full offload has nowhere to go\n");
	else
		printf("  to port %u\n", peer->id);
	if (offload_caps_untrusted(p->caps))
		printf("  untrusted: accepts rules that make no sense; partial offload only\n");
	n = offload_caps_rows(p->caps, rows, ROWS_MAX);
	for (uint32_t i = 0; i < n && i < ROWS_MAX; i++) {
		offload_caps_row_text(&rows[i], line, sizeof(line));
		printf("  %s\n", line);
	}
}

struct canary {
	unsigned sent, out_right, to_cpu;
	uint64_t counted;
};

/* Sends and waits until all is accounted for, or time is up. */
static void canary_pass(const struct port *in, const struct port *out, struct offload_handle *h,
	const struct offload_rule *r, struct canary *c)
{
	uint8_t before[FRAME_BYTES], after[FRAME_BYTES];
	const struct port *out_wire = out->wire >= 0 ? &ports[out->wire] : NULL;
	struct offload_count count = {0};
	uint64_t until = now_ms() + WAIT_MS;
	struct offload_error err;

	frame_of(r, false, before);
	frame_of(r, true, after);
	memset(c, 0, sizeof(*c));
	c->sent = send_frames(&ports[in->wire], r);
	do {
		drain(in, before, &c->to_cpu);
		if (out_wire != NULL)
			drain(out_wire, after, &c->out_right);
		if (h != NULL && provider->query(provider->arg, h, &count, &err) == 0)
			c->counted = count.packets;
	} while (now_ms() < until &&
		(h != NULL ? c->counted < c->sent || (out_wire != NULL && c->out_right < c->sent)
			   : c->to_cpu < c->sent));
}

static void canary(const struct port *in, const struct port *out, unsigned shape)
{
	char text[OFFLOAD_SHAPE_TEXT_MAX];
	struct canary with, without;
	struct offload_dialect dialect;
	struct offload_handle *h;
	struct offload_error err;
	struct offload_rule rule;
	bool good;

	offload_caps_sample(shape, in->id, out->id, &rule);
	if (offload_caps_find(in->caps, &rule, 0, &dialect) != 0)
		return;
	offload_shape_text(shape, text, sizeof(text));
	if (provider->insert(provider->arg, &rule, &dialect, &h, &err) != 0) {
		printf("  %-28s not inserted: %s\n", text, err.cause);
		failures++;
		return;
	}
	canary_pass(in, out, h, &rule, &with);
	if (provider->remove(provider->arg, h, &err) != 0) {
		printf("  %-28s not removed: %s\n", text, err.cause);
		failures++;
		return;
	}
	canary_pass(in, out, NULL, &rule, &without);
	good = with.counted == with.sent && with.to_cpu == 0 && without.to_cpu == without.sent &&
		(out->wire < 0 || with.out_right == with.sent);
	failures += !good;
	printf("  %-28s %s: %u sent, %" PRIu64
	       " counted, %u came out right%s, %u to the CPU; after "
	       "removal %u of %u to the CPU\n",
		text, good ? "carried" : "NOT CARRIED", with.sent, with.counted, with.out_right,
		out->wire < 0 ? " (nobody looks)" : "", with.to_cpu, without.to_cpu, without.sent);
}

static void canaries(const struct port *in)
{
	const struct port *out = peer_of(in);

	if (in->wire < 0 || out == NULL)
		return;
	printf("\ncanary traffic: %s sends, port %u to port %u\n", ports[in->wire].name, in->id,
		out->id);
	for (unsigned kind = 0; kind <= (OFFLOAD_SHAPE_V6 | OFFLOAD_SHAPE_UDP); kind++) {
		unsigned plain = kind | OFFLOAD_SHAPE_TTL;

		canary(in, out, plain);
		canary(in, out, plain | OFFLOAD_SHAPE_NAT_DST);
		canary(in, out, plain | OFFLOAD_SHAPE_NAT_SRC);
		canary(in, out, plain | OFFLOAD_SHAPE_NAT_SRC | OFFLOAD_SHAPE_NAT_DST);
	}
}

static void say_operations(void)
{
	static char text[OFFLOAD_TEXT_MAX * 2];
	uint64_t cursor = 0;

	printf("\nthe last calls, as testpmd takes them\n");
	while (provider->operation(provider->arg, &cursor, text, sizeof(text)) != 0)
		printf("%s\n", text);
}

/* --- main ------------------------------------------------------------------------------------- */

static int add_wire(const char *arg)
{
	const char *equals = strchr(arg, '=');
	struct port *p = equals != NULL ? port_named(arg, (size_t)(equals - arg)) : NULL;
	struct port *wire = equals != NULL ? port_named(equals + 1, strlen(equals + 1)) : NULL;

	if (p == NULL || wire == NULL || p == wire) {
		fprintf(stderr, "offload-probe: --wire %s: PORT=DEVICE, two ports by name\n", arg);
		return -EINVAL;
	}
	p->wire = (int)(wire - ports);
	wire->is_wire = true;
	return 0;
}

static int find_ports(void)
{
	uint16_t id;

	RTE_ETH_FOREACH_DEV (id) {
		struct port *p = &ports[n_ports];

		if (rte_eth_dev_get_name_by_port(id, p->name) != 0)
			continue;
		p->id = id;
		p->wire = -1;
		(void)provider->facts(provider->arg, id, &p->facts);
		n_ports++;
	}
	if (n_ports == 0)
		fprintf(stderr, "offload-probe: EAL found no port\n");
	return n_ports > 0 ? 0 : -ENODEV;
}

static int run(int n_wires, char **wires)
{
	pool = rte_pktmbuf_pool_create(
		"probe", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL || find_ports() != 0)
		return 1;
	for (int i = 0; i < n_wires; i++)
		if (add_wire(wires[i]) != 0)
			return 2;
	if (ports_start() != 0)
		return 1;
	printf("Sluice %s offload report, %s\n", SLUICE_VERSION, rte_version());
	for (unsigned i = 0; i < n_ports; i++)
		if (!ports[i].is_wire && !ports[i].taken)
			probe(&ports[i]);
	for (unsigned i = 0; i < n_ports; i++)
		if (!ports[i].is_wire && ports[i].caps != NULL)
			canaries(&ports[i]);
	say_operations();
	for (unsigned i = 0; i < n_ports; i++)
		offload_caps_free(ports[i].caps);
	ports_stop();
	printf("\n%s\n", failures == 0 ? "OK" : "something did not do what it said, see above");
	return failures == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	char *wires[PORTS_MAX];
	int n_wires = 0, at = 1, rc;

	while (at + 1 < argc && strcmp(argv[at], "--wire") == 0 && n_wires < PORTS_MAX) {
		wires[n_wires++] = argv[at + 1];
		at += 2;
	}
	if (at >= argc || strcmp(argv[at], "--") != 0) {
		fprintf(stderr, "usage: offload-probe [--wire PORT=DEVICE]... -- EAL-ARGUMENTS\n");
		return 2;
	}
	argv[at] = argv[0];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (rte_eal_init(argc - at, argv + at) < 0) {
		fprintf(stderr, "offload-probe: DPDK does not start: %s\n",
			rte_strerror(rte_errno));
		return 1;
	}
	provider = offload_provider_rte_flow();
	rc = run(n_wires, wires);
	(void)rte_eal_cleanup();
	return rc;
}
