/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Every capacity and bound of the dataplane, each with its reason. Configuration can lower or
 * raise those marked (config) inside the given range. */

#pragma once

/* A burst's lanes are the bits of one 64-bit mask; larger bursts cost L1 misses (see
 * performance notes in dataplane/README.md). */
#define BURST_MAX 64

/* Debian's DPDK knows 32 ethdevs; vports are above them and a node has 250 pods. */
#define VPORTS_MAX      1024
#define VPORT_ADDRS_MAX 8
#define VPORT_NAME_MAX  32
#define WORKERS_MAX     16

/* 16-bit ids live in the flow entry's hot line. 0 means "no route". */
#define NEXT_HOPS_MAX 65536

/* Flow entries a family, all workers together (config). The slot in a bucket holds 31 bits. */
#define FLOWS_DEFAULT 131072
#define FLOWS_MAX     (1u << 27)
/* Lookups of one chain: a bucket plus this many overflow buckets, then the insert is refused. */
#define FLOW_CHAIN_MAX 8
/* Entries of its own pool that a worker looks at in one loop. */
#define FLOW_SWEEP_BATCH 64
/* One pass over a pool takes at least this long: timeouts are seconds and more. */
#define FLOW_SWEEP_PASS_MS 1000
/* Unreplied entries looked for when the pool is empty, one search an insert. */
#define FLOW_RECLAIM_SCAN 32
/* Entries that one such search kills: more than one, so that a flood's refused inserts make room
 * faster than they come, and few, so that one burst does not empty the pool. */
#define FLOW_RECLAIM_MAX 4
/* Overflow buckets: a part of the buckets, and a floor for small tables. At a load of 0.7, 12 % of
 * the buckets of 8 overflow (Poisson). */
#define FLOW_OVERFLOW_SHARE 4
#define FLOW_OVERFLOW_MIN   16
/* From so many flows on, a hit's entry is looked for in memory rather than in a cache near by: 4 MB
 * of IPv4 entries alone. */
#define FLOW_FAR 65536
/* last_seen is written only when it is this old: no shared store in steady state. */
#define FLOW_TOUCH_MS 1000

/* A worker that is behind (more waits in a queue than a burst takes) lets flows that exist go
 * first. A first packet costs as much as a dozen later ones; for each 512 of these it takes one
 * more. */
#define FLOW_NEW_PER_HITS 512
/* It takes so many at once that a moment's burst of connections is not refused, and that even with
 * as many the queues of other ports (1024 and more) do not overflow meanwhile: 60 us. */
#define FLOW_NEW_CREDIT 256
/* And so many of each burst in any case: nobody is shut out for good. */
#define FLOW_NEW_BURST_MIN 4
/* Bursts without a packet of a flow that exists, after which there is nobody to be protected. */
#define FLOW_QUIET_BURSTS 64
/* Loops in which a queue whose first packets were refused is not polled: a burst of refusals takes
 * longer than a burst of hits, and would halve what other queues have. What is too much for the
 * queue its port drops, for nothing. */
#define FLOW_SIT_OUT 96

/* Ports tried for one new flow that needs source NAT. */
#define SNAT_PROBES_MAX 32

/* Endpoints of a service port: the table of a long list holds 16-bit indices. */
#define SVC_BACKENDS_MAX 65535
/* Backend slots (service port x endpoint): 24 bits beside an 8-bit generation. */
#define BACKEND_SLOTS_MAX     (1u << 24)
#define SVC_SOURCE_RANGES_MAX 64

/* Extension headers in front of a transport: RFC 8200 names six, only destination options come
 * twice. Longer chains are attacks on parsers. */
#define IPV6_EXT_HEADERS_MAX 8

/* Clients whose endpoint is remembered, all services together; a full set forgets its oldest. At
 * 40 bytes a record this bounds what spoofed clients can take. */
#define AFFINITY_RECORDS 65536

/* Datagrams whose first fragment is remembered, and stray fragments held, a worker. */
#define FRAG_ENTRIES           1024
#define FRAG_HELD_MAX          128
#define FRAG_HELD_PER_DATAGRAM 8
#define FRAG_TIMEOUT_MS        5000

/* Packets a worker holds while a neighbour is resolved; a few for one next hop are enough,
 * since TCP sends one SYN and UDP senders repeat. */
#define HOLD_MAX        256
#define HOLD_PER_TARGET 16
#define HOLD_TIMEOUT_MS 1000

/* ICMP errors and TCP resets made by us, a worker (RFC 1812 4.3.2.8, RFC 4443 2.4 f). */
#define REJECT_PER_SECOND 1000
#define REJECT_BURST      200

/* Room in front of a received frame for an outer header. */
#define HEADROOM_MIN 64
