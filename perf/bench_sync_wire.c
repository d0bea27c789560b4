/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The wire of bench_sync: relays between sync and stand-in, and takes the times. Its own thread. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/reconcile.h"
#include "perf/bench_sync.h"

#define LINKS_MAX  32
#define QUIET_MS   150 /* the server has said everything when it is silent for so long */
#define DEADLINE_S 120
#define CHUNK      (256u << 10)
#define ON_THE_WAY (8 << 20) /* bytes in the socket, so that control does not wait for the wire */

/* A connection of sync's and its other half. What the server says waits in bytes. */
struct link {
	int client, server;
	bool held;
	char *bytes;
	size_t len, room, sent;
};

static struct link links[LINKS_MAX];
static uint32_t n_links;
static int listener = -1;
static bool holding;

void bench_pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int dial(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		bench_die("cannot reach the stand-in");
	return fd;
}

void wire_open(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	unlink(bench.wire_path);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", bench.wire_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		listen(listener, LINKS_MAX) < 0)
		bench_die("cannot listen");
	bench.failed[0] = '\0';
	holding = true;
	n_links = 0;
}

static void link_close(struct link *l)
{
	if (l->client >= 0)
		close(l->client);
	if (l->server >= 0)
		close(l->server);
	l->client = l->server = -1;
}

/* Anonymous pages, so that the heap that control is measured by does not move. */
static void link_free(struct link *l)
{
	if (l->bytes != NULL)
		munmap(l->bytes, l->room);
	l->bytes = NULL;
	l->len = l->room = l->sent = 0;
}

void wire_close(void)
{
	for (uint32_t i = 0; i < n_links; i++) {
		link_close(&links[i]);
		link_free(&links[i]);
	}
	close(listener);
	unlink(bench.wire_path);
}

static void room_for(struct link *l, size_t n)
{
	size_t want = l->room == 0 ? 1u << 20 : l->room * 2;
	char *more;

	if (l->len + n <= l->room)
		return;
	more = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		-1, 0);
	if (more == MAP_FAILED)
		bench_die("memory");
	if (l->len != 0)
		memcpy(more, l->bytes, l->len);
	if (l->bytes != NULL)
		munmap(l->bytes, l->room);
	l->bytes = more;
	l->room = want;
}

static void accept_link(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), room = ON_THE_WAY;

	if (fd < 0)
		return;
	if (n_links == LINKS_MAX)
		bench_die("too many connections");
	/* Beyond the system's limit with CAP_NET_ADMIN, up to it without. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	links[n_links++] = (struct link){.client = fd, .server = dial(bench.server_path)};
	fcntl(links[n_links - 1].server, F_SETFL, O_NONBLOCK);
}

/* Requests go on at once. What a list or watch of services or slices brings is held. */
static void from_client(struct link *l)
{
	char request[16384];
	ssize_t n = recv(l->client, request, sizeof(request) - 1, 0);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			link_close(l);
		return;
	}
	request[n] = '\0';
	if (holding &&
		(strstr(request, "/services?") != NULL ||
			strstr(request, "/endpointslices?") != NULL))
		l->held = true;
	if (send(l->server, request, (size_t)n, MSG_NOSIGNAL) != n)
		bench_die("a request was cut");
}

/* Returns whether bytes came. */
static bool from_server(struct link *l)
{
	ssize_t n;

	room_for(l, CHUNK);
	n = recv(l->server, l->bytes + l->len, CHUNK, 0);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			link_close(l);
		return false;
	}
	l->len += (size_t)n;
	return true;
}

/* Hands on what is due; returns whether something is left. */
static bool to_client(struct link *l)
{
	while (l->client >= 0 && l->sent < l->len && !(l->held && holding)) {
		size_t left = l->len - l->sent;
		ssize_t n = send(l->client, l->bytes + l->sent, left < CHUNK ? left : CHUNK,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN;
		l->sent += (size_t)n;
	}
	if (l->sent == l->len)
		l->sent = l->len = 0;
	return false;
}

/* Waits for at most ms and relays once. Returns whether held bytes or a new request came. */
static bool relay(int ms)
{
	struct pollfd p[1 + 2 * LINKS_MAX] = {{.fd = listener, .events = POLLIN}};
	uint32_t n = n_links;
	bool news = false;

	for (uint32_t i = 0; i < n; i++) {
		bool due = links[i].sent < links[i].len && !(links[i].held && holding);

		p[1 + 2 * i] = (struct pollfd){
			.fd = links[i].client, .events = (short)(POLLIN | (due ? POLLOUT : 0))};
		p[2 + 2 * i] = (struct pollfd){.fd = links[i].server, .events = POLLIN};
	}
	if (poll(p, 1 + 2 * n, ms) <= 0)
		return false;
	if (p[0].revents != 0) {
		accept_link();
		news = true;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (links[i].client >= 0 && (p[1 + 2 * i].revents & ~POLLOUT) != 0) {
			from_client(&links[i]);
			news = true;
		}
		if (links[i].server >= 0 && p[2 + 2 * i].revents != 0)
			news |= from_server(&links[i]);
		to_client(&links[i]);
	}
	return news;
}

static bool both_lists_held(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_links; i++)
		n += links[i].held && links[i].len != 0;
	return n == 2;
}

/* --- the dataplane's view ----------------------------------------------------------------------
 */

static uint32_t endpoints_of(uint32_t service)
{
	const struct svc_domain *d;
	struct svc_frontend_key key = {
		.addr = ip_from_v4(htonl(0x0a600000u + 16 + service)),
		.port = htons(80),
		.proto = IP_PROTO_TCP,
		.family = IP_V4,
	};
	const struct svc_frontend *f;
	uint32_t n = 0;

	atomic_store(&bench.looking, true);
	d = atomic_load_explicit(&bench.dp->services, memory_order_acquire);
	f = d->ready ? svc_table_find(d->table, &key) : NULL;
	if (f != NULL && f->svc != NULL)
		n = f->svc->cluster->n;
	atomic_fetch_add(&bench.looks, 1);
	return n;
}

static bool all_there(void)
{
	bool good = true;

	for (uint32_t s = 0; s < bench.services && good; s++)
		good = endpoints_of(s) == bench.endpoints;
	atomic_store(&bench.looking, false);
	return good;
}

/* --- a full sync --------------------------------------------------------------------------------
 */

/* CPU time of the control thread. */
static double control_cpu(void)
{
	struct timespec ts;
	clockid_t id;

	if (pthread_getcpuclockid(bench.control, &id) != 0 || clock_gettime(id, &ts) < 0)
		bench_die("no CPU clock");
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int full_sync(void)
{
	uint64_t end = bench_now_ns() + UINT64_C(1000000000) * DEADLINE_S, start;
	double cpu;

	while (relay(QUIET_MS) || !both_lists_held())
		if (bench_now_ns() > end)
			return -1;
	holding = false;
	cpu = control_cpu();
	start = bench_now_ns();
	while (!reconcile_ready(bench.reconciler)) {
		bool left = false;

		for (uint32_t i = 0; i < n_links; i++)
			left |= to_client(&links[i]);
		/* With nothing left to send, looking often is all there is to do. */
		relay(left ? 1 : 0);
		if (bench_now_ns() > end)
			return -1;
	}
	bench.sync_seconds = (double)(bench_now_ns() - start) / 1e9;
	bench.sync_cpu_seconds = control_cpu() - cpu;
	for (uint32_t i = 0; i < n_links; i++)
		link_free(&links[i]);
	return all_there() ? 0 : -1;
}

/* --- one event ----------------------------------------------------------------------------------
 */

static void print_endpoints(FILE *f, uint32_t service, uint32_t n)
{
	enum {
		NODES = 16 /* the stand-in's default */
	};

	fprintf(f, "{\"endpoints\":[");
	for (uint32_t e = 0; e < n; e++) {
		uint32_t i = service * bench.endpoints + e, host = i / NODES + 1;

		fprintf(f,
			"%s{\"addresses\":[\"10.%u.%u.%u\"],\"conditions\":{\"ready\":true,"
			"\"serving\":true,\"terminating\":false},\"nodeName\":\"node-%u\"}",
			e == 0 ? "" : ",", 128 + i % NODES, host >> 8, host & 255, i % NODES);
	}
	fprintf(f, "]}");
}

static void change_slice(int fd, uint32_t service, uint32_t n_endpoints)
{
	char *body = NULL, head[512];
	size_t len = 0;
	FILE *f = open_memstream(&body, &len);

	print_endpoints(f, service, n_endpoints);
	fclose(f);
	snprintf(head, sizeof(head),
		"PATCH /apis/discovery.k8s.io/v1/namespaces/synthetic/endpointslices/"
		"svc-%06u-v4-0 HTTP/1.1\r\nHost: bench\r\nContent-Type: "
		"application/merge-patch+json\r\nContent-Length: %zu\r\n\r\n",
		service, len);
	if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0 || send(fd, body, len, MSG_NOSIGNAL) < 0)
		bench_die("the stand-in went away");
	free(body);
}

/* The watch's bytes of one event: from the server, and then to sync. 0: the time they were sent. */
static uint64_t hand_event_on(void)
{
	uint64_t end = bench_now_ns() + 2000000000u;

	while (bench_now_ns() < end) {
		struct pollfd p[LINKS_MAX];

		for (uint32_t i = 0; i < n_links; i++)
			p[i] = (struct pollfd){.fd = links[i].server, .events = POLLIN};
		if (poll(p, n_links, 100) <= 0)
			continue;
		for (uint32_t i = 0; i < n_links; i++) {
			uint64_t start;

			if (p[i].revents == 0 || !from_server(&links[i]))
				continue;
			start = bench_now_ns();
			to_client(&links[i]);
			if (links[i].held)
				return start;
		}
	}
	return 0;
}

static int one_event(int fd, uint32_t service, uint32_t n_endpoints, double *us)
{
	char answer[16384];
	uint64_t start;

	change_slice(fd, service, n_endpoints);
	start = hand_event_on();
	if (start == 0)
		return -1;
	while (endpoints_of(service) != n_endpoints)
		if (bench_now_ns() - start > 1000000000u)
			return -1;
	*us = (double)(bench_now_ns() - start) / 1e3;
	atomic_store(&bench.looking, false);
	return recv(fd, answer, sizeof(answer), 0) > 0 ? 0 : -1;
}

static int events(void)
{
	int fd = dial(bench.server_path), rc = 0;

	for (uint32_t i = 0; i < bench.n_events && rc == 0; i++) {
		uint32_t service = (uint32_t)((uint64_t)(i / 2) * 2654435761u % bench.services);

		/* one endpoint away, and back */
		rc = one_event(fd, service, bench.endpoints - (i % 2 == 0), &bench.event_us[i]);
	}
	close(fd);
	return rc;
}

void *wire_main(void *arg)
{
	uint64_t one = 1;

	bench_pin(1);
	if (full_sync() < 0)
		snprintf(bench.failed, sizeof(bench.failed),
			"the full state did not come, or is not what the server has");
	else if (events() < 0)
		snprintf(bench.failed, sizeof(bench.failed), "an event did not show");
	atomic_store(&bench.looking, false);
	if (write(bench.done_fd, &one, sizeof(one)) != sizeof(one))
		bench_die("eventfd");
	return NULL;
}
