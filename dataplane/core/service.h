/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Services as the workers see them: frontends, service ports, endpoint lists, backends.
 *
 * Publication: svc_port, svc_list and their arrays are immutable once a frontend points to them;
 * the frontend index is a hash with one writer (control) and lock-free readers: a change of one
 * service touches its own frontends only. What was replaced is freed a grace period later
 * (svc_table_reclaim, control). Ports in network order, as in packets; counts in host order.
 *
 * The rules are those of Kubernetes' service proxy (KEP-1669, KEP-2086, kube-proxy). */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/choice.h"
#include "core/drop.h"
#include "core/grace.h"
#include "core/ip.h"
#include "core/limits.h"

/* --- backends: stable slots and one byte of state each ------------------------------------------
 */

enum backend_state {
	BACKEND_UNUSED,
	BACKEND_READY,
	BACKEND_DRAINING,
	BACKEND_GONE
};

/* turn << 24 | slot; 0 is "none" (slot 0 is never given). A slot's turn grows by 4 each time it is
 * given, and its byte in the dense array is turn | state: an old reference sees another turn. */
typedef uint32_t backend_ref;

/* Here for backend_state() alone, which runs for every packet of a UDP flow. */
struct backend_table {
	uint32_t capacity; /* slots 1 .. capacity */
	uint32_t used;
	uint32_t head, tail;    /* free slots: ring[head % capacity] ..., counts never wrap back */
	uint32_t *ring;         /* control's own */
	uint8_t *turn;          /* [slot], control's own */
	_Atomic uint8_t byte[]; /* [slot] */
};

int backend_table_init(uint32_t capacity, struct backend_table **out);
void backend_table_fini(struct backend_table *t);
/* Control thread. 0 when full. Slots are given again first-in first-out. */
backend_ref backend_alloc(struct backend_table *t);
void backend_set(struct backend_table *t, backend_ref ref, enum backend_state s);
/* Marks GONE and gives the slot back. */
void backend_release(struct backend_table *t, backend_ref ref);
uint32_t backend_used(const struct backend_table *t);
/* Any thread; GONE for an old reference, and for none. One load. */
static inline enum backend_state backend_state(const struct backend_table *t, backend_ref ref)
{
	uint32_t slot = ref & (BACKEND_SLOTS_MAX - 1), state;

	if (__builtin_expect(slot > t->capacity, 0))
		return BACKEND_GONE;
	state = atomic_load_explicit(&t->byte[slot], memory_order_acquire) ^ ref >> 24;
	return state < BACKEND_GONE ? (enum backend_state)state : BACKEND_GONE;
}

/* --- endpoint lists
 * -------------------------------------------------------------------------------- */

struct svc_backend {
	struct ip_addr addr;
	uint16_t port;  /* network order */
	uint16_t flags; /* enum svc_backend_flag */
	backend_ref ref;
};

enum svc_backend_flag {
	SVC_BACKEND_LOCAL = 1 << 0,
	SVC_BACKEND_TERMINATING = 1 << 1
};

/* Endpoints of one family, and what a hash chooses one of them by. One block of memory, of which a
 * choice among a few reads the first line. */
struct svc_list {
	uint32_t n;
	const struct svc_backend *backends; /* [n], sorted by address, port */
	uint32_t choice[];                  /* core/choice.h */
};

/* One allocation (free with free()); NULL when out of memory or n > SVC_BACKENDS_MAX. Input order
 * does not matter, an endpoint given twice counts once; the choice comes from addresses and ports
 * alone: the same on every node and after every restart. */
struct svc_list *svc_list_new(const struct svc_backend *backends, uint32_t n);

static inline const struct svc_backend *svc_list_pick(const struct svc_list *l, uint32_t hash)
{
	return &l->backends[choice_pick(l->choice, l->n, hash)];
}

/* --- service ports and frontends
 * --------------------------------------------------------------------- */

enum svc_flag {
	SVC_ETP_LOCAL = 1 << 0,
	SVC_ITP_LOCAL = 1 << 1,
	SVC_HAS_ANY = 1 << 2,       /* some endpoint anywhere can serve */
	SVC_RESET_REMOVED = 1 << 3, /* reset TCP of removed endpoints */
};

/* One port of one service in one family. */
struct svc_port {
	uint32_t id; /* stable over changes; control maps it to names */
	uint8_t proto;
	uint8_t flags;                  /* enum svc_flag */
	uint16_t port;                  /* network order */
	uint32_t affinity_seconds;      /* 0: none */
	const struct svc_list *cluster; /* never NULL */
	const struct svc_list *local;   /* never NULL */
	uint32_t n_source_ranges;       /* of this family; 0: unrestricted */
	const struct ip_prefix *source_ranges;
	const char *name; /* "ns/name:port", for explanations */
};

enum svc_frontend_kind {
	SVC_CLUSTER_IP,
	SVC_EXTERNAL_IP,
	SVC_LB_VIP,
	SVC_NODE_PORT, /* addr is zero: any NodePort address */
	SVC_ADDRESS,   /* port 0, proto 0: a ClusterIP is in use; svc is NULL */
	SVC_FRONTEND_KINDS
};

struct svc_frontend_key {
	struct ip_addr addr;
	uint16_t port; /* network order */
	uint8_t proto;
	uint8_t family; /* tells IPv4 from IPv6 NodePorts, whose addr is zero */
};

/* A frontend as the index has it: the key, and what the decision needs of its service in the same
 * line, so that first packets cost as much with many services as with one. It is a copy made by
 * svc_table_set(), of a service port that never changes. */
struct svc_frontend {
	struct svc_frontend_key key;
	uint8_t kind;  /* enum svc_frontend_kind */
	uint8_t flags; /* enum svc_flag of svc, enum svc_frontend_flag */
	uint16_t zero;
	uint32_t svc_id;
	const struct svc_port *svc; /* NULL for SVC_ADDRESS */
	/* The list that most of its clients get: local ones if a traffic policy says so. */
	union {
		struct svc_backend only; /* SVC_FRONTEND_ONLY */
		struct {
			const struct svc_list *list;
			uint32_t n; /* of list; 0: no endpoint */
		};
	};
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct svc_frontend) == 64, "one line a decision");

enum svc_frontend_flag {
	SVC_FRONTEND_LOCAL = 1 << 6, /* the list above is the service's local one */
	/* One endpoint, which most services have, and no affinity: nothing is to be chosen. */
	SVC_FRONTEND_ONLY = 1 << 7,
};

struct svc_table;

int svc_table_init(struct grace *g, uint32_t capacity_hint, struct svc_table **out);
void svc_table_fini(struct svc_table *t);
/* Control thread. Replaces an equal key. Grows by itself (new index, old one retired). */
int svc_table_set(struct svc_table *t, const struct svc_frontend_key *k,
	enum svc_frontend_kind kind, const struct svc_port *svc);
int svc_table_remove(struct svc_table *t, const struct svc_frontend_key *k);
/* Control thread: hands memory to free() once the grace period passed. */
void svc_table_retire(struct svc_table *t, void *mem);
void svc_table_reclaim(struct svc_table *t);
uint32_t svc_table_used(const struct svc_table *t);

/* Any worker; NULL when there is none. Valid until the end of the grace period. */
const struct svc_frontend *svc_table_find(
	const struct svc_table *t, const struct svc_frontend_key *k);
/* The same in steps for a burst of first packets, so that each step's cache misses run at once:
 * svc_table_aim() for all keys, then svc_table_probe() for all, then svc_table_confirm() for all,
 * then svc_prefetch_backend() for all. */
/* The key's hash; starts the load of its place in the index. */
uint64_t svc_table_aim(const struct svc_table *t, const struct svc_frontend_key *k);
/* What is probably the key's frontend, whose load is started; NULL: there is none. */
const struct svc_frontend *svc_table_probe(const struct svc_table *t, uint64_t hash);
/* What svc_table_find() says, after the probe. */
const struct svc_frontend *svc_table_confirm(const struct svc_table *t,
	const struct svc_frontend_key *k, uint64_t hash, const struct svc_frontend *probed);

/* Of the frontend's own list, which is not empty. */
static inline const struct svc_backend *svc_frontend_pick(
	const struct svc_frontend *f, uint32_t hash)
{
	if (__builtin_expect((f->flags & SVC_FRONTEND_ONLY) != 0, 1))
		return &f->only;
	return svc_list_pick(f->list, hash);
}

/* Does it choose among several? Then the load of what it chooses by is started. */
static inline bool svc_prefetch_choice(const struct svc_frontend *f)
{
	if ((f->flags & SVC_FRONTEND_ONLY) != 0 || f->n == 0)
		return false;
	__builtin_prefetch(f->list);
	choice_prefetch(f->list->choice, f->n);
	return true;
}

/* Behind a svc_prefetch_choice() that was true. */
static inline void svc_prefetch_backend(const struct svc_frontend *f, uint32_t hash)
{
	__builtin_prefetch(svc_frontend_pick(f, hash));
}

/* --- the decision
 * --------------------------------------------------------------------------------------- */

/* Published as a whole; the tables inside change underneath (see top). */
struct svc_domain {
	bool ready; /* first full state applied; before it every service address is dropped */
	const struct svc_table *table;
	const struct backend_table *backends;
	uint32_t n_service_cidrs;
	const struct ip_prefix *service_cidrs;
	uint32_t n_node_port_addrs;
	const struct ip_addr *node_port_addrs;
	bool masquerade_all;
	bool cluster_ip_outside; /* ClusterIPs answer clients outside the cluster */
	uint8_t detect_local;    /* enum svc_detect_local */
	uint32_t n_local_cidrs;
	const struct ip_prefix *local_cidrs;
	struct ip_addr node_addr[IP_FAMILIES]; /* the node's primary ones; zero: none */
};

/* Where the packet came from, judged before any translation (service-proxy verdict matrix). */
enum svc_source {
	SVC_FROM_POD,
	SVC_FROM_HOST,
	SVC_FROM_OUTSIDE
};

/* Whose address need not be translated towards a ClusterIP's endpoints: the reply comes back here
 * without it. Only source NAT of ClusterIPs asks this; the matrix's pods are always ours. */
enum svc_detect_local {
	SVC_LOCAL_POD,  /* what came from a pod of this node */
	SVC_LOCAL_NAME, /* what came from a vport that the configuration names */
	SVC_LOCAL_CIDR, /* addresses inside local_cidrs; all of a family that has none of them */
};

struct svc_query {
	struct ip_addr src, dst;
	uint16_t sport, dport; /* network order */
	uint8_t proto;
	uint8_t source;   /* enum svc_source */
	bool local_vport; /* the configuration names the vport it came from */
	uint32_t hash;    /* of the 5-tuple; picks the endpoint */
};

enum svc_verdict_kind {
	SVC_PASS,      /* no service's business: route it */
	SVC_TRANSLATE, /* to backend, with source NAT if snat */
	SVC_REJECT,    /* reset or ICMP port unreachable */
	SVC_DROP,      /* silently, for reason */
	SVC_ECHO,      /* ICMP echo to a ClusterIP: we own the range and answer */
};

struct svc_verdict {
	enum svc_verdict_kind kind;
	enum drop_reason reason;
	bool snat;
	bool snat_by_matrix; /* without regard to hairpin */
	enum svc_frontend_kind frontend;
	uint8_t svc_flags; /* the frontend's */
	uint32_t svc_id;   /* 0: no service */
	const struct svc_port *svc;
	const struct svc_backend *backend;
	/* That backend was picked from; NULL: it is the service's only one, without affinity. */
	const struct svc_list *list;
};

/* Makes backend, which is in v->list, the translation's target, with source NAT if the matrix or a
 * hairpin wants it. */
void svc_verdict_use(
	struct svc_verdict *v, const struct svc_query *q, const struct svc_backend *backend);
/* Pure: same answer for a packet and for "why". */
void svc_decide(const struct svc_domain *d, const struct svc_query *q, struct svc_verdict *out);
/* The same for who has looked the destination up: f is the query's frontend, NULL if it has none.
 */
void svc_decide_at(const struct svc_domain *d, const struct svc_query *q,
	const struct svc_frontend *f, struct svc_verdict *out);
/* The frontend that a query is for. */
static inline struct svc_frontend_key svc_query_key(const struct svc_query *q)
{
	return (struct svc_frontend_key){.addr = q->dst,
		.port = q->dport,
		.proto = q->proto,
		.family = (uint8_t)ip_family(&q->dst)};
}
