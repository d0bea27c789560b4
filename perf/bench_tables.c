/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The flow table beside what else could have held flows: DPDK's rte_hash with lock-free readers,
 *and a table a worker with packets of the wrong worker handed over by a ring.
 *
 *	bench_tables [--flows N] [--rounds N]
 *
 * Keys are drawn uniformly at random from both directions of all flows and lie in frames of a line
 * each, as a packet's do. A lookup is done when its entry's line has been read and compared; all in
 * bursts of 64. Every lookup has to find its flow. With hand-over, half of the packets belong to
 *the other worker: replies of flows that it made. Ticks a lookup are those of a worker: two workers
 *with the same figure as one are twice as fast. One line of JSON. Two threads, pinned. Ends with 77
 *on a machine with one processor. */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_ring.h>

#include "core/flow.h"
#include "perf/flow_keys.h"
#include "perf/ticks.h"

#define BURST      64
#define FRAMES     (512u << 10)
#define CHUNK      16 /* turns that are timed together */
#define CHUNKS     400
#define ROUNDS_MAX 101
#define ABSENT     77

struct frame {
	struct flow_key4 key;
	uint32_t number;
	uint8_t rest[64 - sizeof(struct flow_key4) - 4];
} __attribute__((aligned(64)));

struct side {
	uint32_t id;
	struct frame *frames;
	uint32_t at;
	struct burst burst;
	struct rte_ring *to_other, *from_other;
	uint64_t wrong, lookups;
	uint64_t chunk[CHUNKS]; /* hundredths of ticks a lookup */
};

typedef uint32_t (*turn_fn)(struct side *s); /* returns lookups done */

static uint32_t n_flows = 1000000, rounds = 15;
static struct flow_table *shared, *split[2];
static struct rte_hash *hash;
static struct grace grace;
/* What a value of rte_hash leads to: an entry of one line, its two keys first. */
struct entry {
	struct flow_key4 key[2];
	uint8_t rest[64 - 2 * sizeof(struct flow_key4)];
} __attribute__((aligned(64)));
static struct entry *entries;
static struct side sides[2];
static pthread_barrier_t barrier;
static turn_fn current;
static bool again;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench_tables: %s\n", what);
	exit(1);
}

static uint64_t next_random(void)
{
	static uint64_t s = 88172645463325252ULL;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s;
}

/* number: twice the flow, and one more for its reply. */
static void key_of(uint32_t number, struct flow_key4 *k)
{
	flow_keys_at(number / 2, number % 2 == 0 ? DIR_FORWARD : DIR_REPLY, k);
}

static void *huge_alloc(void *arg, size_t size, size_t align, const char *name)
{
	size_t huge = 2u << 20;
	void *mem = aligned_alloc(huge, (size + huge - 1) & ~(huge - 1));

	if (mem != NULL)
		madvise(mem, size, MADV_HUGEPAGE);
	return mem;
}

static void huge_free(void *arg, void *mem)
{
	free(mem);
}

/* --- filling ------------------------------------------------------------------------------------
 */

static struct flow_table *new_table(uint32_t capacity)
{
	struct flow_config cfg = {.workers = 1,
		.salt = {3, 4},
		.grace = &grace,
		.alloc = huge_alloc,
		.free = huge_free,
		.capacity = {capacity + capacity / 4, 64}};
	struct flow_table *t;

	if (flow_table_init(&cfg, &t) < 0)
		die("no memory");
	return t;
}

static void add_flow(struct flow_table *t, uint32_t n)
{
	uint32_t e = flow_alloc(t, IP_V4, 0, 0), other;

	if (e == FLOW_NONE)
		die("the table is full");
	key_of(2 * n, &flow_array4(t)[e].key[DIR_FORWARD]);
	key_of(2 * n + 1, &flow_array4(t)[e].key[DIR_REPLY]);
	flow_meta(t, IP_V4, e)->class = FLOW_CLASS_TCP;
	if (flow_link(t, IP_V4, e, DIR_REPLY, &other) != 0)
		die("link");
	atomic_store(&flow_meta(t, IP_V4, e)->state, FLOW_ESTABLISHED);
	if (flow_link(t, IP_V4, e, DIR_FORWARD, &other) != 0)
		die("link");
}

static void fill_hash(void)
{
	struct rte_hash_parameters p = {.name = "flows",
		.entries = n_flows * 2 + n_flows / 2,
		.key_len = sizeof(struct flow_key4),
		.hash_func = rte_hash_crc,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF};

	hash = rte_hash_create(&p);
	entries = huge_alloc(NULL, (size_t)n_flows * sizeof(*entries), 64, "entries");
	if (hash == NULL || entries == NULL)
		die("no memory for rte_hash");
	for (uint32_t n = 0; n < n_flows; n++)
		for (uint32_t dir = 0; dir < 2; dir++) {
			key_of(2 * n + dir, &entries[n].key[dir]);
			if (rte_hash_add_key_data(hash, &entries[n].key[dir],
				    (void *)(uintptr_t)(2 * n + dir + 1)) < 0)
				die("rte_hash is full");
		}
}

static void fill(void)
{
	shared = new_table(n_flows);
	split[0] = new_table(n_flows / 2 + 1);
	split[1] = new_table(n_flows / 2 + 1);
	for (uint32_t n = 0; n < n_flows; n++) {
		add_flow(shared, n);
		add_flow(split[n % 2], n);
	}
	fill_hash();
}

/* --- turns --------------------------------------------------------------------------------------
 */

static const struct frame *next_frame(struct side *s)
{
	s->at = s->at + 1 == FRAMES ? 0 : s->at + 1;
	return &s->frames[s->at];
}

static void look_up(struct side *s, struct flow_table *t, const struct frame **f, uint32_t n)
{
	lanes_t lanes = n == BURST ? ~(lanes_t)0 : LANE(n) - 1;

	for (uint32_t i = 0; i < n; i++)
		s->burst.key4[i] = f[i]->key;
	s->burst.v6 = 0;
	s->wrong += flow_lookup_burst(t, &s->burst, lanes) != lanes;
}

static uint32_t turn_shared(struct side *s)
{
	const struct frame *f[BURST];

	for (uint32_t i = 0; i < BURST; i++)
		f[i] = next_frame(s);
	look_up(s, shared, f, BURST);
	return BURST;
}

static uint32_t turn_hash(struct side *s)
{
	const void *keys[BURST];
	void *values[BURST];
	uint64_t hits;

	for (uint32_t i = 0; i < BURST; i++)
		keys[i] = &next_frame(s)->key;
	if (rte_hash_lookup_bulk_data(hash, keys, BURST, &hits, values) != BURST)
		s->wrong++;
	for (uint32_t i = 0; i < BURST; i++)
		__builtin_prefetch(&entries[((uintptr_t)values[i] - 1) / 2]);
	for (uint32_t i = 0; i < BURST; i++) {
		uint32_t v = (uint32_t)(uintptr_t)values[i] - 1;

		s->wrong +=
			memcmp(&entries[v / 2].key[v % 2], keys[i], sizeof(struct flow_key4)) != 0;
	}
	return BURST;
}

/* Packets of flows that the other worker made go to it; what it sent is looked up here. */
static uint32_t turn_hand_over(struct side *s)
{
	const struct frame *own[BURST], *others[BURST];
	uint32_t n_own = 0, n_others = 0, n;

	for (uint32_t i = 0; i < BURST; i++) {
		const struct frame *f = next_frame(s);

		if ((f->number / 2 + s->id) % 2 == 0)
			own[n_own++] = f;
		else
			others[n_others++] = f;
	}
	/* What a full ring does not take is not counted: the other side is slower. */
	rte_ring_sp_enqueue_burst(s->to_other, (void *const *)(uintptr_t)others, n_others, NULL);
	if (n_own != 0)
		look_up(s, split[s->id], own, n_own);
	n = rte_ring_sc_dequeue_burst(s->from_other, (void **)others, BURST, NULL);
	if (n != 0)
		look_up(s, split[s->id], others, n);
	return n_own + n;
}

/* --- rounds -------------------------------------------------------------------------------------
 */

static void pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Ticks a lookup of the median chunk. */
static double round_of(struct side *s, turn_fn turn)
{
	for (uint32_t c = 0; c < CHUNKS; c++) {
		uint64_t start = ticks(), done = 0;

		for (uint32_t k = 0; k < CHUNK; k++)
			done += turn(s);
		s->chunk[c] = (ticks() - start) * 100 / (done + !done);
		s->lookups += done;
	}
	qsort(s->chunk, CHUNKS, sizeof(s->chunk[0]), by_value);
	return (double)s->chunk[CHUNKS / 2] / 100;
}

static double second_ticks;

static void *second(void *arg)
{
	pin(1);
	for (;;) {
		pthread_barrier_wait(&barrier);
		if (current == NULL)
			return NULL;
		second_ticks = round_of(&sides[1], current);
		pthread_barrier_wait(&barrier);
	}
}

static double both(turn_fn turn)
{
	double first;

	current = turn;
	pthread_barrier_wait(&barrier);
	first = round_of(&sides[0], turn);
	pthread_barrier_wait(&barrier);
	return 2 / (1 / first + 1 / second_ticks);
}

static void print(const char *name, const double *v)
{
	printf("%s\"%s\": {\"status\": \"ok\", \"samples\": [", again ? ", " : "", name);
	for (uint32_t r = 0; r < rounds; r++)
		printf("%s%.2f", r == 0 ? "" : ", ", v[r]);
	printf("]}");
	again = true;
}

static void measure(void)
{
	static double one[ROUNDS_MAX], two[ROUNDS_MAX], hash_one[ROUNDS_MAX], hash_two[ROUNDS_MAX],
		handed[ROUNDS_MAX];
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, second, NULL) != 0)
		die("thread");
	pin(0);
	for (uint32_t r = 0; r < rounds; r++) {
		one[r] = round_of(&sides[0], turn_shared);
		hash_one[r] = round_of(&sides[0], turn_hash);
		two[r] = both(turn_shared);
		hash_two[r] = both(turn_hash);
		handed[r] = both(turn_hand_over);
	}
	current = NULL;
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	if (sides[0].wrong + sides[1].wrong != 0)
		die("a lookup has the wrong answer");
	printf("{\"results\": {");
	print("shared table, one worker", one);
	print("shared table, two workers", two);
	print("rte_hash lock-free, one worker", hash_one);
	print("rte_hash lock-free, two workers", hash_two);
	print("a table a worker and hand-over, two workers", handed);
	printf("}, \"flows\": %u, \"lookups\": %lu}\n", n_flows,
		sides[0].lookups + sides[1].lookups);
}

static void make_sides(void)
{
	struct rte_ring *a =
		rte_ring_create("a", 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	struct rte_ring *b =
		rte_ring_create("b", 1024, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);

	if (a == NULL || b == NULL)
		die("no ring");
	for (uint32_t id = 0; id < 2; id++) {
		struct side *s = &sides[id];

		s->id = id;
		s->to_other = id == 0 ? a : b;
		s->from_other = id == 0 ? b : a;
		s->frames = aligned_alloc(64, FRAMES * sizeof(*s->frames));
		if (s->frames == NULL)
			die("no memory");
		for (uint32_t i = 0; i < FRAMES; i++) {
			s->frames[i].number = (uint32_t)(next_random() % (2 * (uint64_t)n_flows));
			key_of(s->frames[i].number, &s->frames[i].key);
		}
	}
}

static bool hugepages_are_free(uint32_t needed)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	uint32_t n = 0;

	if (f == NULL || fscanf(f, "%u", &n) != 1)
		n = 0;
	if (f != NULL)
		fclose(f);
	return n >= needed;
}

int main(int argc, char **argv)
{
	static char words[][16] = {"bench_tables", "-l", "0", "--no-pci", "--log-level=3",
		"--in-memory", "--no-huge", "-m", "1024", "--no-shconf"};
	char *with[] = {words[0], words[1], words[2], words[3], words[4], words[5], NULL};
	char *without[] = {words[0], words[1], words[2], words[3], words[4], words[6], words[7],
		words[8], words[9], NULL};
	bool huge;

	for (int i = 1; i + 1 < argc; i += 2) {
		uint32_t v = (uint32_t)strtoul(argv[i + 1], NULL, 0);

		if (strcmp(argv[i], "--flows") == 0)
			n_flows = v;
		else if (strcmp(argv[i], "--rounds") == 0)
			rounds = v;
		else
			die("usage: bench_tables [--flows N] [--rounds N]");
	}
	if (n_flows < 2 || n_flows > 10000000 || rounds == 0 || rounds > ROUNDS_MAX)
		die("2 to 10000000 flows, 1 to 101 rounds");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("one processor\n");
		return ABSENT;
	}
	huge = hugepages_are_free(n_flows / 8000 + 32);
	if ((huge ? rte_eal_init(6, with) : rte_eal_init(9, without)) < 0)
		die("EAL does not start");
	if (!huge)
		fprintf(stderr, "rte_hash has no hugepages here: its figures are too high\n");
	fill();
	make_sides();
	measure();
	fflush(stdout);
	_exit(0);
}
