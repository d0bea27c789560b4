/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The flow table: one shared index a family, lock-free readers, a writer lock per bucket.
 *
 * An entry holds both directions of a flow. A slot of the index names entry << 1 | direction, so
 * a hit touches one bucket line and one entry (one line for IPv4, two for IPv6). Nothing in the
 * index moves while it is linked: a reader cannot miss a key.
 *
 * Threads: any worker looks up, inserts and kills. Entries belong to the worker that allocated
 * them: only it frees them, from flow_sweep(), a grace period after they died. The API thread
 * reads entries by copy (flow_read). Nothing here allocates after flow_table_init().
 *
 * Memory: per family three arrays indexed by entry (hot, cold) or bucket (index), which a later
 * restart can map from a file: indices, never pointers. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/burst.h"
#include "core/flow_key.h"
#include "core/grace.h"
#include "core/ip.h"
#include "core/limits.h"

#define FLOW_NONE UINT32_MAX

enum flow_state {
	FLOW_FREE = 0,
	FLOW_DEAD, /* unlinked, waits for the grace period */
	/* Live states from here. */
	FLOW_NEW,         /* no reply seen: SYN sent, UDP or other unreplied */
	FLOW_REPLIED,     /* UDP, SCTP, ICMP both ways; TCP: SYN-ACK seen */
	FLOW_ESTABLISHED, /* TCP: handshake done, or picked up in mid-stream both ways */
	FLOW_FIN,         /* TCP: one side closed */
	FLOW_CLOSING,     /* TCP: both closed (TIME-WAIT); SCTP: SHUTDOWN or ABORT */
	FLOW_RESET,       /* TCP: RST seen */
	FLOW_STATES
};

const char *flow_state_name(enum flow_state s);

/* Idle timeouts in milliseconds, [class][state]. */
enum flow_class {
	FLOW_CLASS_TCP,
	FLOW_CLASS_UDP,
	FLOW_CLASS_ICMP,
	FLOW_CLASS_SCTP,
	FLOW_CLASSES
};

struct flow_timeouts {
	uint32_t ms[FLOW_CLASSES][FLOW_STATES];
};

/* TCP 30 s new, 60 s SYN-ACK, 24 h established, 1 h half closed, 10 s closing and reset; UDP 30 s
 * and 120 s; ICMP 30 s; SCTP 30 s, 210 s both ways, 10 s closing (Linux netfilter's defaults where
 * it has one). */
void flow_timeouts_default(struct flow_timeouts *t);

enum flow_flag {
	FLOW_F_DNAT = 1 << 0,
	FLOW_F_SNAT = 1 << 1,
	FLOW_F_CHECK_BACKEND = 1 << 2, /* re-select when the backend is gone (UDP) */
	FLOW_F_RESET_BACKEND = 1 << 3, /* reset TCP when the backend is gone */
	FLOW_F_FIN_FORWARD = 1 << 4,   /* FIN seen in this direction */
	FLOW_F_FIN_REPLY = 1 << 5,
};

/* What a hit needs besides the keys.
 * Writers: the creator until linked; then state, last_seen, fin flags by whichever worker sees the
 * packet, next_hop and config_gen by whoever revalidates. Everything else is constant. */
struct flow_meta {
	_Atomic uint32_t last_seen;   /* worker's now_ms, coarse */
	_Atomic uint32_t config_gen;  /* route and policy generation it was judged under */
	_Atomic uint16_t next_hop[2]; /* [DIR_FORWARD], [DIR_REPLY]; ids, 0 none */
	uint16_t l3_delta;            /* ones' complement sum to add to a checksum, forward; */
	uint16_t l4_delta;            /* for the reply direction take the complement */
	uint32_t backend;             /* backend_ref, 0 none */
	uint8_t class;                /* enum flow_class */
	/* The state in which a packet that opens and closes nothing cannot move the flow: TCP
	 * ESTABLISHED, others REPLIED. 0 (no hint) is right too, and slower. */
	uint8_t settled;
	uint8_t reserved[2];
	union {
		struct {
			/* Of this entry; the id shown to people = entry index - generation. */
			_Atomic uint32_t generation;
			_Atomic uint8_t state; /* enum flow_state */
			_Atomic uint8_t flags; /* enum flow_flag */
			_Atomic uint8_t bury;  /* of a dead entry: how far its burial is (flow.c) */
			uint8_t zero;
		};
		/* The same as one word, so that a kill by id is one compare-and-swap. */
		_Atomic uint64_t life;
	};
};

struct flow4 {
	struct flow_meta meta;
	struct flow_key4 key[2]; /* [DIR_FORWARD] as first received, [DIR_REPLY] as replies come */
} __attribute__((aligned(64)));

struct flow6 {
	struct flow_meta meta;
	struct flow_key6 key[2];
} __attribute__((aligned(128)));

_Static_assert(sizeof(struct flow_meta) == 32, "half a line");
_Static_assert(sizeof(struct flow4) == 64, "one line a hit");
_Static_assert(sizeof(struct flow6) == 128, "two lines a hit");

/* Read by people and by the creator, never by a hit. */
struct flow_cold {
	uint32_t next_free;  /* owner's free list */
	uint32_t dead_stamp; /* grace stamp of its death */
	uint32_t created_ms;
	uint32_t svc_port_id;        /* 0 none */
	uint16_t in_vport[2];        /* where each direction came from; [DIR_REPLY] 0 until seen */
	_Atomic uint32_t offload[2]; /* of each direction (offload.h); 0: software */
	uint32_t held_next;          /* list of the dead that hardware still knows, entry + 1 */
};

_Static_assert(sizeof(struct flow_cold) == 32, "two a line");

/* Statistics of one worker's pool. Writer: that worker. Readers: any, by relaxed loads. */
struct flow_pool_stats {
	_Atomic uint64_t created, expired, killed, reclaimed, full, index_full, races;
	_Atomic uint32_t used, high_water;
};

struct flow_config {
	uint32_t capacity[IP_FAMILIES]; /* entries, split evenly over the workers */
	uint32_t workers;
	uint64_t salt[2]; /* fixed by tests */
	/* Index buckets a family; 0: sized for a load of 0.7. Tests force collisions with 1. */
	uint32_t buckets;
	struct grace *grace;
	/* NULL: aligned_alloc. The rim gives hugepage memory. */
	void *(*alloc)(void *arg, size_t size, size_t align, const char *name);
	void (*free)(void *arg, void *mem);
	void *arg;
};

struct flow_table; /* both families */

int flow_table_init(const struct flow_config *cfg, struct flow_table **out);
void flow_table_fini(struct flow_table *t);

/* --- the hit path, bursts -------------------------------------------------------------------- */

/* The stages' loops use core/flow_probe.h. This is the same for who wants no more than the answer:
 * looks up b->key4 / b->key6 of lanes (b->v6 tells the family), hashing all, prefetching buckets,
 * then entries, then comparing. Sets b->flow of the hits and returns them. Live entries only. */
lanes_t flow_lookup_burst(struct flow_table *t, struct burst *b, lanes_t lanes);

/* One key, any thread inside a grace period; entry << 1 | direction, or FLOW_NONE. */
uint32_t flow_lookup4(struct flow_table *t, const struct flow_key4 *k);
uint32_t flow_lookup6(struct flow_table *t, const struct flow_key6 *k);

/* Arrays, for the stages: entry = flow4(t)[ref >> 1]. */
struct flow4 *flow_array4(struct flow_table *t);
struct flow6 *flow_array6(struct flow_table *t);
struct flow_cold *flow_cold_array(struct flow_table *t, enum ip_family f);

static inline struct flow_meta *flow_meta(struct flow_table *t, enum ip_family f, uint32_t entry)
{
	return f == IP_V4 ? &flow_array4(t)[entry].meta : &flow_array6(t)[entry].meta;
}

static inline void flow_touch(struct flow_meta *m, uint32_t now_ms)
{
	if (now_ms - atomic_load_explicit(&m->last_seen, memory_order_relaxed) >= FLOW_TOUCH_MS)
		atomic_store_explicit(&m->last_seen, now_ms, memory_order_relaxed);
}

/* Moves the state by what a TCP packet of direction dir carries (its flag bits as on the wire).
 * Stores only on a change, and never brings a dead flow back. */
void flow_tcp_advance(struct flow_meta *m, enum lane_dir dir, uint8_t tcp_flags);
/* Same for other protocols: a reply makes NEW to REPLIED. */
void flow_seen_reply(struct flow_meta *m);
/* The end of a conversation told by the protocol (SCTP SHUTDOWN, ABORT): CLOSING. */
void flow_close(struct flow_meta *m);

/* --- life ------------------------------------------------------------------------------------ */

/* A free entry of this worker's pool, or FLOW_NONE (counted full; unreplied entries were marked
 * for reclaim so that a later call succeeds). It is all zero but for last_seen, created_ms and
 * generation. The caller fills key[], meta and cold, state last, then links: reply key first, then
 * forward key. While the first link is refused (-EEXIST, -EBUSY), the key may be changed and tried
 * again.
 * After one key is linked flow_kill is the only way back. */
uint32_t flow_alloc(struct flow_table *t, enum ip_family f, uint32_t worker, uint32_t now_ms);
/* Gives back an entry that was never linked. Nothing happens if it was killed by its id
 * meanwhile: the sweep frees it. */
void flow_unalloc(struct flow_table *t, enum ip_family f, uint32_t worker, uint32_t entry);

/* Links key[dir] of the entry. 0; -EEXIST: the key is there, *other = its entry << 1 | direction;
 * -EBUSY: its flow has ended, but hardware may still act on it; -ENOSPC: the chain is at its bound
 * or overflow buckets are out; -ECANCELED: the entry was killed by its id meanwhile. The insert
 * without overwrite is the reservation of a source-NAT port. */
int flow_link(
	struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t *other);
void flow_unlink(struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir);
/* Starts the load of the bucket that a link or lookup of this key will need. */
void flow_prefetch4(const struct flow_table *t, const struct flow_key4 *k);
void flow_prefetch6(const struct flow_table *t, const struct flow_key6 *k);

/* Any thread: the caller whose compare-and-swap turns the state to DEAD unlinks both keys and
 * stamps the entry, or leaves both to the offload thread when hardware may still act on the flow.
 * False if somebody else did. Callers that hold only an id pass its generation
 * through flow_kill_id. */
bool flow_kill(struct flow_table *t, enum ip_family f, uint32_t entry);
bool flow_kill_id(struct flow_table *t, enum ip_family f, uint32_t entry, uint32_t generation);

/* The owner, once a loop: looks at up to FLOW_SWEEP_BATCH entries of each family from where it
 * stopped, kills what is idle too long, and frees what is dead long enough. It looks at no more
 * than it needs to pass the pool once in FLOW_SWEEP_PASS_MS, unless the pool is nearly full: a
 * line read for nothing costs as much as a packet. Returns entries killed. */
uint32_t flow_sweep(struct flow_table *t, uint32_t worker, uint32_t now_ms,
	const struct flow_timeouts *timeouts);

/* --- hardware (flow_offload.c) --------------------------------------------------------------
 *
 * The offload thread is the only writer of the words in flow_cold.offload, but for the creator of
 * an entry, who clears them. While one says that hardware may act (offload_busy()), the entry is
 * held: whoever kills it leaves both keys linked, so that neither the tuple nor a source-NAT port
 * is given again, and puts it on a list for the offload thread, which buries it when the rules are
 * gone. */

/* Makes a direction busy with word. False when the entry is not this generation's or not live:
 * then nothing is held. */
bool flow_hold(struct flow_table *t, enum ip_family f, uint32_t entry, uint32_t generation,
	enum lane_dir dir, uint32_t word);
/* From one busy word to another. */
void flow_hold_word(
	struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t word);
/* From a busy word to one that is not. A dead entry that flow_held_take() gave is buried with its
 * last direction. */
void flow_let_go(
	struct flow_table *t, enum ip_family f, uint32_t entry, enum lane_dir dir, uint32_t word);
/* Writes a word that is not busy over another such one, while the entry is this generation's. */
void flow_note(struct flow_table *t, enum ip_family f, uint32_t entry, uint32_t generation,
	enum lane_dir dir, uint32_t word);
/* Marks: a NIC that recognises a flow's packets writes a number into their buffers, and the number
 * leads to the entry without a hash and without a bucket. It is a hint: a packet that was marked
 * before its mark was given to another flow is no danger, because readers compare generation and
 * key. Numbers are as large as every NIC can carry that has marks; 0 is none. */
#define FLOW_MARKS 0xfffe

void flow_mark_set(struct flow_table *t, enum ip_family f, uint32_t mark, uint32_t entry,
	enum lane_dir dir, uint32_t generation);
void flow_mark_clear(struct flow_table *t, enum ip_family f, uint32_t mark);
/* Is any mark set? Any thread. */
bool flow_marks_used(const struct flow_table *t);
/* One entry that died while it was held, or FLOW_NONE. When nothing holds it any more, it is
 * buried by this call; otherwise by the flow_let_go() that ends it. */
uint32_t flow_held_take(struct flow_table *t, enum ip_family f);

/* --- reading by other threads ----------------------------------------------------------------- */

struct flow_view {
	enum ip_family family;
	uint32_t entry;
	struct flow_key6 key[2]; /* IPv4 in mapped form */
	struct flow_meta meta;
	struct flow_cold cold;
	uint32_t worker;
};

/* Copies a live entry; -ENOENT if it is not live, or changed hands while it was copied. */
int flow_read(struct flow_table *t, enum ip_family f, uint32_t entry, struct flow_view *out);
uint32_t flow_capacity(const struct flow_table *t, enum ip_family f);
uint32_t flow_owner(const struct flow_table *t, enum ip_family f, uint32_t entry);
const struct flow_pool_stats *flow_stats(
	const struct flow_table *t, enum ip_family f, uint32_t worker);
/* Buckets and overflow buckets in use, for the table's description. */
void flow_index_usage(const struct flow_table *t, enum ip_family f, uint32_t *buckets,
	uint32_t *overflow_used, uint32_t *overflow_total);
