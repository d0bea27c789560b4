/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Sends small UDP packets by the kernel's sockets, for the peer that is the kernel itself.
 *
 *	kernel_send ADDRESS PORT [--flows N] [--rounds N] [--packets N]
 *
 * A veth hands a packet to the next namespace inside the sender's system call, so the call's ticks
 * hold everything up to the last namespace: sockets, both veths, forwarding, translation. That is
 * the peer's own input and output; it is told so beside the figure. Prints one line of JSON: ticks
 *a packet of every round's median call, and how many packets were sent. One thread. */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/ticks.h"

#define FLOWS_MAX  4096
#define BATCH      32 /* of one flow */
#define ROUNDS_MAX 100
#define CALLS_MAX  100000

static int sockets[FLOWS_MAX];
static uint64_t spent[CALLS_MAX];
static double samples[ROUNDS_MAX];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "kernel_send: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void open_flows(const struct sockaddr_in *to, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct sockaddr_in from = {
			.sin_family = AF_INET, .sin_port = htons((uint16_t)(20000 + i))};

		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0 ||
			bind(sockets[i], (struct sockaddr *)&from, sizeof(from)) < 0 ||
			connect(sockets[i], (const struct sockaddr *)to, sizeof(*to)) < 0)
			die("socket");
	}
}

static void send_batch(int fd)
{
	static char payload[18];
	static struct iovec iov = {.iov_base = payload, .iov_len = sizeof(payload)};
	static struct mmsghdr msgs[BATCH];

	for (uint32_t i = 0; i < BATCH; i++) {
		msgs[i].msg_hdr.msg_iov = &iov;
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	if (sendmmsg(fd, msgs, BATCH, 0) != BATCH)
		die("sendmmsg");
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint32_t flows = 256, rounds = 7, calls = 2000;
	uint64_t sent = 0;

	if (argc < 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr,
			"usage: kernel_send ADDRESS PORT [--flows N] [--rounds N] [--packets N]\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 0));
	for (int i = 3; i + 1 < argc; i += 2) {
		uint32_t v = (uint32_t)strtoul(argv[i + 1], NULL, 0);

		if (strcmp(argv[i], "--flows") == 0)
			flows = v;
		else if (strcmp(argv[i], "--rounds") == 0)
			rounds = v;
		else if (strcmp(argv[i], "--packets") == 0)
			calls = v / BATCH;
	}
	if (flows == 0 || flows > FLOWS_MAX || rounds == 0 || rounds > ROUNDS_MAX || calls == 0 ||
		calls > CALLS_MAX)
		return 2;
	open_flows(&to, flows);
	for (uint32_t i = 0; i < flows; i++, sent += BATCH)
		send_batch(sockets[i]);
	for (uint32_t r = 0; r < rounds; r++) {
		for (uint32_t c = 0; c < calls; c++, sent += BATCH) {
			uint64_t start = ticks();

			send_batch(sockets[c % flows]);
			spent[c] = ticks() - start;
		}
		qsort(spent, calls, sizeof(spent[0]), by_value);
		samples[r] = (double)spent[calls / 2] / BATCH;
	}
	printf("{\"sent\": %lu, \"samples\": [", sent);
	for (uint32_t r = 0; r < rounds; r++)
		printf("%s%.1f", r == 0 ? "" : ", ", samples[r]);
	printf("]}\n");
	return 0;
}
