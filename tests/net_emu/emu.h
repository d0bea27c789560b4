/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The emulated NIC from within: what its files share.
 *
 * A NIC is one vdev: port 0 is the uplink, the others are representors, each with a wire on its
 * outer side. A frame from a wire meets the transfer rules; one that no rule forwards goes to the
 * port's receive queues, through its ingress rules. What a program sends leaves on the port's wire.
 *
 * Writers / Readers: the program's threads fill transmit rings and empty receive rings; the
 * e-switch (a thread of its own, or whoever calls net_emu_step()) does all the rest of the packet
 * work; flow calls take nic->flow_lock. Publication: what the e-switch reads (rules, tables,
 * queues, wires) is unpublished first, then emu_quiesce() waits until the e-switch has finished the
 * round that may have seen it, then it is freed. So when a destroy returns, no frame uses the rule.
 */

#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/queue.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "compat.h"
#include "net_emu.h"

#define EMU_PORTS_MAX  16
#define EMU_QUEUES_MAX 16
#define EMU_BURST      32
#define EMU_NAME_MAX   64
#define EMU_RING_SIZE  4096
#define EMU_JUMPS_MAX  8
#define EMU_GROUPS_MAX UINT16_MAX

/* --- keys --------------------------------------------------------------------------------------
 */

/* What a rule can match in one stack of headers; multi-byte fields in network byte order. */
struct emu_layer {
	uint8_t eth_dst[6], eth_src[6];
	uint16_t eth_type; /* after the tags */
	uint16_t tci;      /* outermost tag */
	uint16_t tci2;
	uint8_t vlans; /* bit 0: a tag, bit 1: a second one */
	uint8_t l3;    /* 4, 6 or 0 */
	uint8_t l4;    /* protocol number, when its header was read: never for a fragment */
	uint8_t frag;
	uint8_t tcp_flags;
	uint8_t tos;
	uint8_t ttl;
	uint8_t proto;
	uint16_t sport; /* ICMP: type and code */
	uint16_t dport;
	uint8_t ihl;
	uint8_t zero;
	uint8_t src[16], dst[16]; /* IPv4 in the first four bytes */
};
_Static_assert(sizeof(struct emu_layer) == 64, "eight words");

enum emu_tunnel {
	EMU_TUNNEL_NONE,
	EMU_TUNNEL_VXLAN,
	EMU_TUNNEL_GENEVE
};

struct emu_key {
	uint16_t in_port; /* of the NIC */
	uint8_t tunnel;
	uint8_t zero;
	uint32_t vni; /* in the upper 24 bits, as in the header */
	struct emu_layer at[2];
};

#define EMU_KEY_WORDS (sizeof(struct emu_key) / 8)

struct emu_headers {
	uint16_t l2, l3, l4; /* offsets; l3 and l4 hold when the key says so */
};

struct emu_packet {
	struct rte_mbuf *m;
	struct emu_key key;
	struct emu_headers at[2];
};

/* Fills key and offsets, in_port excepted. */
void emu_parse(struct emu_packet *p);
uint32_t emu_flow_hash(const struct emu_key *key);

/* --- rules -------------------------------------------------------------------------------------
 */

enum emu_domain {
	EMU_TRANSFER,
	EMU_INGRESS
};

enum emu_fate {
	EMU_FATE_NONE,
	EMU_FATE_PORT, /* out on a port's wire */
	EMU_FATE_CPU,  /* into a port's receive queues */
	EMU_FATE_DROP,
	EMU_FATE_JUMP,
	EMU_FATE_QUEUES
};

/* What a rule does to a frame, in order; data follows each, padded to four bytes. */
enum emu_op_type {
	EMU_OP_SRC_IP,
	EMU_OP_DST_IP,
	EMU_OP_SRC_PORT,
	EMU_OP_DST_PORT,
	EMU_OP_SRC_MAC,
	EMU_OP_DST_MAC,
	EMU_OP_SET_TTL,
	EMU_OP_DEC_TTL,
	EMU_OP_POP_VLAN,
	EMU_OP_PUSH_VLAN,
	EMU_OP_VLAN_ID,
	EMU_OP_VLAN_PCP,
	EMU_OP_DECAP,     /* the tunnel's headers */
	EMU_OP_RAW_DECAP, /* that many bytes */
	EMU_OP_ENCAP,     /* those bytes in front; lengths and entropy are filled in */
	EMU_OP_MARK,
	EMU_OP_QUEUES
};

struct emu_op {
	uint8_t type;
	uint8_t zero;
	uint16_t len; /* of data */
	uint8_t data[];
};

#define EMU_OPS_MAX 512 /* bytes */

static inline const struct emu_op *emu_op_next(const struct emu_op *op)
{
	return (const void *)((const uint8_t *)op + sizeof(*op) + RTE_ALIGN_CEIL(op->len, 4));
}

/* What the flow call asks for, translated and checked: made by items.c and actions.c. */
struct emu_rule_spec {
	const struct emu_profile *profile;
	const struct emu_port *port; /* the call's */
	enum emu_domain domain;
	uint16_t group;
	uint16_t priority;
	struct emu_key key, mask;
	bool stray_spec; /* a bit of a spec outside of its mask */
	uint8_t layers;  /* 2: the pattern has a tunnel */
	uint8_t inner;   /* the layer that items now go to */
	uint8_t fate;
	bool count, has_age;
	bool marks;
	uint16_t out_port; /* of the NIC */
	uint16_t jump;
	uint32_t age_s;
	void *age_context;
	uint16_t ops_len;
	uint8_t ops[EMU_OPS_MAX] __attribute__((aligned(4)));
};

#define EMU_RULE_MAGIC 0x656d752d72756c65ull

struct rte_flow {
	uint64_t magic;
	/* Written by the e-switch. */
	_Atomic uint64_t hits, bytes;
	_Atomic uint64_t shown_hits, shown_bytes; /* at the start of period */
	_Atomic uint64_t period;
	_Atomic uint64_t last_hit;
	/* Written by flow calls, under the lock. */
	struct emu_set *set;
	uint64_t hash;
	uint64_t born;
	uint64_t base_hits, base_bytes;       /* reset by a query */
	uint64_t told_hits;                   /* by the last query */
	_Atomic(struct rte_flow *) next_same; /* same match: acts when this one is gone */
	TAILQ_ENTRY(rte_flow) of_port, aging;
	void *age_context;
	uint64_t age_ns;
	uint32_t id;
	uint16_t port;
	uint16_t out_port, jump;
	uint8_t fate;
	bool count, never_hits, has_age, age_reported, age_ready;
	uint16_t ops_len;
	uint64_t data[]; /* the key's words that the set compares, then the actions */
};

TAILQ_HEAD(emu_rules, rte_flow);

const struct emu_op *emu_rule_ops(const struct rte_flow *rule);
static inline const struct emu_op *emu_rule_ops_end(const struct rte_flow *rule)
{
	return (const void *)((const uint8_t *)emu_rule_ops(rule) + rule->ops_len);
}

/* --- match tables (match.c) --- */

/* All rules of one domain, group, priority and mask: one hash table. */
struct emu_set {
	enum emu_domain domain;
	uint16_t group, priority;
	uint8_t words;
	uint8_t word[EMU_KEY_WORDS];
	uint64_t mask[EMU_KEY_WORDS];
	_Atomic uint32_t rules; /* table entries; same matches share one */
	_Atomic(struct emu_slots *) slots;
};

struct emu_sets; /* published array of sets, in the order of priority */

int emu_match_init(struct emu_nic *nic);
void emu_match_fini(struct emu_nic *nic);
struct emu_set *emu_match_set(struct emu_nic *nic, const struct emu_rule_spec *spec);
/* The rule with exactly this match, or NULL. */
struct rte_flow *emu_match_exact(struct emu_set *set, const uint64_t *key, uint64_t hash);
void emu_match_key(const struct emu_set *set, const struct emu_key *key, uint64_t *out);
uint64_t emu_match_hash(const struct emu_set *set, const uint64_t *key);
/* newest: it takes the place of one with the same match; else it waits behind it. */
int emu_match_insert(struct emu_nic *nic, struct rte_flow *rule, bool newest);
/* Unpublishes only; the caller waits for the e-switch. */
void emu_match_remove(struct emu_nic *nic, struct rte_flow *rule);
struct rte_flow *emu_match_lookup(
	struct emu_nic *nic, enum emu_domain domain, uint16_t group, const struct emu_key *key);
/* Is there a set of this domain with other masks for that L3 and L4 that holds rules? */
bool emu_match_conflict(struct emu_nic *nic, const struct emu_rule_spec *spec);

/* --- profiles (profile.c) ----------------------------------------------------------------------
 */

enum emu_item {
	EMU_ITEM_ETH,
	EMU_ITEM_VLAN,
	EMU_ITEM_IPV4,
	EMU_ITEM_IPV6,
	EMU_ITEM_IPV6_FRAG_EXT,
	EMU_ITEM_TCP,
	EMU_ITEM_UDP,
	EMU_ITEM_SCTP,
	EMU_ITEM_ICMP,
	EMU_ITEM_ICMP6,
	EMU_ITEM_VXLAN,
	EMU_ITEM_GENEVE,
	EMU_ITEM_PORT_ID,
	EMU_ITEM_REPRESENTED_PORT
};

enum emu_action {
	EMU_ACTION_COUNT,
	EMU_ACTION_AGE,
	EMU_ACTION_JUMP,
	EMU_ACTION_DROP,
	EMU_ACTION_QUEUE,
	EMU_ACTION_RSS,
	EMU_ACTION_MARK,
	EMU_ACTION_FLAG,
	EMU_ACTION_PORT_ID,
	EMU_ACTION_REPRESENTED_PORT,
	EMU_ACTION_PORT_REPRESENTOR,
	EMU_ACTION_SET_IPV4_SRC,
	EMU_ACTION_SET_IPV4_DST,
	EMU_ACTION_SET_IPV6_SRC,
	EMU_ACTION_SET_IPV6_DST,
	EMU_ACTION_SET_TP_SRC,
	EMU_ACTION_SET_TP_DST,
	EMU_ACTION_SET_MAC_SRC,
	EMU_ACTION_SET_MAC_DST,
	EMU_ACTION_SET_TTL,
	EMU_ACTION_DEC_TTL,
	EMU_ACTION_MODIFY_FIELD,
	EMU_ACTION_VXLAN_ENCAP,
	EMU_ACTION_VXLAN_DECAP,
	EMU_ACTION_RAW_ENCAP,
	EMU_ACTION_RAW_DECAP,
	EMU_ACTION_OF_PUSH_VLAN,
	EMU_ACTION_OF_POP_VLAN,
	EMU_ACTION_OF_SET_VLAN_VID,
	EMU_ACTION_OF_SET_VLAN_PCP
};

#define EMU_I(name) (1ull << EMU_ITEM_##name)
#define EMU_A(name) (1ull << EMU_ACTION_##name)

enum emu_same_match {
	EMU_SAME_EEXIST,
	EMU_SAME_OLDEST, /* accepted; the oldest acts */
	EMU_SAME_NEWEST
};

enum emu_at_stop {
	EMU_STOP_INERT,  /* rules wait for the port to start again */
	EMU_STOP_KEEP,   /* the same, and the capability says so */
	EMU_STOP_VANISH, /* rules are gone, their handles invalid */
};

enum emu_order {
	EMU_ORDER_FREE,
	EMU_ORDER_STAGES, /* mlx5 HWS: one fixed order of stages */
	EMU_ORDER_SFC     /* efx_mae's: MACs, destination first, and TTL before VLAN push */
};

struct emu_profile {
	const char *name;
	const char *driver;            /* what it stands for */
	uint64_t items[2], actions[2]; /* by domain; no items: the domain is refused */
	enum emu_same_match same;
	enum emu_at_stop at_stop;
	uint8_t tcp_flags; /* which may be masked */
	uint16_t priorities, groups;
	uint32_t stale_ms; /* counters are that old at most */
	uint32_t mark_max;
	int no_counter; /* errno when there is none left */
	bool no_rte_flow;
	bool transfer_ignored;      /* a transfer rule becomes an ingress rule of the port */
	bool proxy_only;            /* transfer on a representor: EPERM */
	bool proxy_all_ports;       /* no port item on the proxy: all ports */
	bool proxy_first;           /* the proxy starts first and stops last */
	bool stray_spec_never_hits; /* a spec bit outside of the mask */
	bool items_complete;        /* a SET_* wants the item of its header */
	enum emu_order order;
	bool modify_before_encap;
	bool ihl_match;
	bool one_input_set;         /* one mask per class of packets */
	bool expressible_is_eexist; /* every rule that could be: EEXIST */
	bool tunnel_only_on_pf;     /* no encap or decap in ingress rules of representors */
	bool thread_safe;
	bool counter_cycle; /* freed counters come back with the next cycle of stale_ms: EAGAIN */
};

const struct emu_profile *emu_profile_find(const char *name);
/* The i-th profile, or NULL past the last. */
const struct emu_profile *emu_profile_at(unsigned i);

/* --- faults (fault.c) --------------------------------------------------------------------------
 */

/* Numbers that tests set by devargs and at run time: X(name, default, what). */
#define EMU_KNOBS(X)                                                        \
	X(cap, 4194304, "rules at most; ENOSPC")                            \
	X(counters, 4194304, "COUNT actions at most; the profile's errno")  \
	X(ins_us, 0, "a create takes that long")                            \
	X(del_us, 0, "a destroy takes that long")                           \
	X(query_us, 0, "a query takes that long")                           \
	X(fail_every, 0, "each n-th create fails")                          \
	X(fail_nth, 0, "the n-th create from now fails, once")              \
	X(fail_next, 0, "the next n creates fail; -1: until set to 0")      \
	X(fail_errno, EIO, "with this errno")                               \
	X(destroy_fail, 0, "the next n destroys fail; -1: until set to 0")  \
	X(destroy_errno, EIO, "with this errno")                            \
	X(flush_fail, 0, "the next n flushes fail; -1: until set to 0")     \
	X(query_fail, 0, "the next n queries fail; -1: until set to 0")     \
	X(stale_ms, -1, "counters are that old; -1: the profile's")         \
	X(nohit, 0, "rules created while it is 1 never hit")                \
	X(lost_aged, 0, "the next n aged events are lost; -1: all")         \
	X(tcp_flags, -1, "TCP flags that may be masked; -1: the profile's") \
	X(gen, 0, "frames a second that arrive by themselves at the uplink")

struct emu_knobs {
#define X(name, value, what) _Atomic int64_t name;
	EMU_KNOBS(X)
#undef X
};

void emu_knobs_init(struct emu_knobs *knobs);
int emu_knob_set(struct emu_knobs *knobs, const char *name, int64_t value);
int emu_knobs_print(const struct emu_knobs *knobs, char *out, size_t size);
/* Takes one from a count of failures to come; true when this call is to fail. */
bool emu_knob_take(_Atomic int64_t *knob);
/* The errno that this create is to fail with, or 0. Under the flow lock. */
int emu_fault_create(struct emu_nic *nic);
/* Lets time pass: virtual in step mode. */
void emu_delay(struct emu_nic *nic, int64_t us);

/* --- ports and NIC -----------------------------------------------------------------------------
 */

struct emu_rxq {
	struct emu_port *port;
	struct rte_mempool *pool;
	_Atomic(struct rte_ring *) ring;
	uint16_t index;
	/* Written by the thread that receives. */
	_Atomic uint64_t packets, bytes;
	/* Written by the e-switch. */
	_Atomic uint64_t missed;
};

struct emu_txq {
	struct emu_port *port;
	_Atomic uint64_t packets, bytes, full;
};

enum emu_wire_kind {
	EMU_WIRE_NONE,
	EMU_WIRE_RING,
	EMU_WIRE_ETHDEV
};

struct emu_wire {
	enum emu_wire_kind kind;
	char dev[EMU_NAME_MAX];
	struct rte_ring *in, *out;
	uint16_t ethdev;
	uint64_t owner;
	bool open;
};

struct emu_port {
	struct emu_nic *nic;
	struct rte_eth_dev *eth;
	uint16_t index, ethdev;
	_Atomic uint16_t mtu;
	_Atomic bool started, carrier;
	_Atomic uint16_t n_rxq;
	struct emu_wire wire;
	struct rte_ring *tx_ring;
	struct emu_rxq rxq[EMU_QUEUES_MAX];
	struct emu_txq txq[EMU_QUEUES_MAX];
	struct emu_rules rules; /* made by calls on this port; under the flow lock */
	uint64_t rx_metadata;
	bool metadata_negotiated;
	/* Written by the e-switch. */
	_Atomic uint64_t wire_rx, wire_tx, tx_lost, hw_packets, hw_bytes;
};

struct emu_eswitch_counters {
	_Atomic uint64_t rule_drops, mtu_drops, error_drops, ttl_misses, to_cpu, aged, aged_lost;
};

struct emu_flow_counters {
	_Atomic uint64_t rules, counters, creates, creates_failed, destroys, destroys_failed;
	_Atomic uint64_t queries, bad_handles, stops_with_rules, rules_leaked;
	_Atomic uint64_t told_hits, lost_hits;
	_Atomic uint64_t domain_rules[2];
};

struct emu_nic {
	TAILQ_ENTRY(emu_nic) next;
	char name[EMU_NAME_MAX];
	struct rte_vdev_device *vdev;
	const struct emu_profile *profile;
	uint16_t switch_domain;
	uint16_t n_ports;
	unsigned number;
	int core; /* -1: anywhere */
	bool step;
	_Atomic bool removed;
	char wire[EMU_PORTS_MAX][EMU_NAME_MAX];
	char control_path[108];
	_Atomic(struct emu_port *) port[EMU_PORTS_MAX];
	struct emu_knobs knobs;

	/* The e-switch. */
	pthread_t thread;
	bool thread_runs;
	_Atomic bool stop;
	_Atomic uint64_t round; /* odd: inside of one */
	_Atomic uint64_t clock; /* virtual nanoseconds */
	pthread_mutex_t step_lock;
	uint64_t now; /* of this round */
	uint64_t next_age_scan, next_gen;
	struct rte_mbuf *out[EMU_PORTS_MAX][EMU_BURST];
	uint16_t out_n[EMU_PORTS_MAX];
	struct emu_eswitch_counters sw;

	/* Rules. */
	pthread_mutex_t flow_lock;
	_Atomic(struct emu_sets *) sets;
	struct emu_rules aging;
	uint64_t freed_counters, freed_counters_cycle;
	uint32_t next_rule;
	struct emu_flow_counters fc;
	void (*hook)(void *arg, enum net_emu_point point);
	void *hook_arg;

	/* The control socket. */
	pthread_t control_thread;
	int control_fd;
	int control_wake;
};

/* device.c */
extern int emu_logtype;
#define EMU_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_##level, emu_logtype, "net_emu: " fmt "\n", ##__VA_ARGS__)

/* port.c */
extern const struct eth_dev_ops emu_port_ops;
extern const struct eth_dev_ops emu_port_ops_no_flow;
uint16_t emu_rx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t emu_tx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n);
int emu_port_close(struct rte_eth_dev *eth);
void emu_port_link(struct emu_port *port, bool up);
static inline struct emu_port *emu_port_of(const struct rte_eth_dev *eth)
{
	return eth->data->dev_private;
}

/* wire.c */
int emu_wire_open(struct emu_port *port);
void emu_wire_close(struct emu_port *port);
uint16_t emu_wire_rx(struct emu_port *port, struct rte_mbuf **pkts, uint16_t n);
/* Takes all; what the wire does not take is freed and counted. */
void emu_wire_tx(struct emu_port *port, struct rte_mbuf **pkts, uint16_t n);

/* rewrite.c: -EINVAL when an action does not fit the frame, -EHOSTUNREACH for TTL <= 1. */
int emu_rewrite(struct emu_packet *p, const struct emu_op *op, const struct emu_op *end);
/* Does the frame survive the rule's TTL action? Asked before anything is changed. */
bool emu_ttl_passes(const struct emu_packet *p, const struct emu_op *op, const struct emu_op *end);

/* eswitch.c */
int emu_eswitch_start(struct emu_nic *nic);
void emu_eswitch_stop(struct emu_nic *nic);
void emu_quiesce(struct emu_nic *nic);
uint64_t emu_clock(struct emu_nic *nic);

/* items.c, actions.c: 0 or -errno with err filled. */
int emu_items_parse(
	struct emu_rule_spec *spec, const struct rte_flow_item *items, struct rte_flow_error *err);
int emu_actions_parse(struct emu_rule_spec *spec, const struct rte_flow_action *actions,
	struct rte_flow_error *err);
/* The NIC's port behind a DPDK port id, or -EINVAL when it is not of this NIC. */
int emu_port_by_ethdev(const struct emu_nic *nic, uint32_t ethdev);

/* flow.c */
extern const struct rte_flow_ops emu_flow_ops;
void emu_flow_drop_all(struct emu_port *port);
uint64_t emu_period(struct emu_nic *nic, uint64_t now);

/* dump.c */
void emu_rule_print(struct emu_nic *nic, const struct rte_flow *rule, FILE *f);
void emu_rules_print(struct emu_nic *nic, FILE *f);

/* age.c */
void emu_age_scan(struct emu_nic *nic);
int emu_aged_get(struct rte_eth_dev *eth, void **contexts, uint32_t n, struct rte_flow_error *err);

/* control.c */
int emu_control_start(struct emu_nic *nic);
void emu_control_stop(struct emu_nic *nic);
