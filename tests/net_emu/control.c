/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Commands of tests, called directly or read from a unix socket (devarg control=PATH).
 *
 * The socket has a thread of its own: one connection at a time, one line a command; the answer ends
 * with a line "ok" or "error TEXT". */

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "emu.h"

#define LINE_MAX_ 256

void net_emu_counters(struct emu_nic *nic, struct net_emu_counters *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < nic->n_ports; i++) {
		const struct emu_port *port = nic->port[i];

		if (port == NULL)
			continue;
		out->wire_rx += port->wire_rx;
		out->wire_tx += port->wire_tx;
		out->tx_lost += port->tx_lost;
		out->forwarded += port->hw_packets;
		out->forwarded_bytes += port->hw_bytes;
		for (unsigned q = 0; q < EMU_QUEUES_MAX; q++)
			out->rx_full += port->rxq[q].missed;
	}
	out->to_cpu = nic->sw.to_cpu;
	out->rule_drops = nic->sw.rule_drops;
	out->mtu_drops = nic->sw.mtu_drops;
	out->error_drops = nic->sw.error_drops;
	out->ttl_misses = nic->sw.ttl_misses;
	out->aged = nic->sw.aged;
	out->aged_lost = nic->sw.aged_lost;
	out->rules = nic->fc.rules;
	out->creates = nic->fc.creates;
	out->creates_failed = nic->fc.creates_failed;
	out->destroys = nic->fc.destroys;
	out->destroys_failed = nic->fc.destroys_failed;
	out->queries = nic->fc.queries;
	out->bad_handles = nic->fc.bad_handles;
	out->stops_with_rules = nic->fc.stops_with_rules;
	out->rules_leaked = nic->fc.rules_leaked;
	out->told_hits = nic->fc.told_hits;
	out->lost_hits = nic->fc.lost_hits;
}

/* --- commands -----------------------------------------------------------------------------------
 */

static void cmd_counters(struct emu_nic *nic, FILE *f)
{
	struct net_emu_counters c;

	net_emu_counters(nic, &c);
#define X(name) fprintf(f, #name " %" PRIu64 "\n", c.name)
	X(wire_rx);
	X(wire_tx);
	X(tx_lost);
	X(forwarded);
	X(forwarded_bytes);
	X(to_cpu);
	X(rx_full);
	X(rule_drops);
	X(mtu_drops);
	X(error_drops);
	X(ttl_misses);
	X(rules);
	X(creates);
	X(creates_failed);
	X(destroys);
	X(destroys_failed);
	X(queries);
	X(bad_handles);
	X(stops_with_rules);
	X(rules_leaked);
	X(told_hits);
	X(lost_hits);
	X(aged);
	X(aged_lost);
#undef X
}

static void cmd_ports(struct emu_nic *nic, FILE *f)
{
	for (unsigned i = 0; i < nic->n_ports; i++) {
		const struct emu_port *p = nic->port[i];

		if (p == NULL)
			continue;
		fprintf(f,
			"port %u ethdev %u %s started %d carrier %d mtu %u wire_rx %" PRIu64
			" wire_tx %" PRIu64 " forwarded %" PRIu64 "\n",
			i, p->ethdev, p->eth->data->name, p->started, p->carrier, p->mtu,
			(uint64_t)p->wire_rx, (uint64_t)p->wire_tx, (uint64_t)p->hw_packets);
	}
}

/* The device is gone, at once, whatever is going on: as if pulled out of its slot. */
static void cmd_remove(struct emu_nic *nic)
{
	atomic_store(&nic->removed, true);
	emu_quiesce(nic);
	for (unsigned i = 0; i < nic->n_ports; i++)
		if (nic->port[i] != NULL)
			rte_eth_dev_callback_process(
				nic->port[i]->eth, RTE_ETH_EVENT_INTR_RMV, NULL);
}

static int run(struct emu_nic *nic, const char *line, FILE *f)
{
	char word[LINE_MAX_];
	unsigned port;
	int64_t value, ns = 0;

	if (strcmp(line, "counters") == 0) {
		cmd_counters(nic, f);
	} else if (strcmp(line, "ports") == 0) {
		cmd_ports(nic, f);
	} else if (strcmp(line, "profile") == 0) {
		fprintf(f, "%s # %s\n", nic->profile->name, nic->profile->driver);
	} else if (strcmp(line, "rules") == 0) {
		pthread_mutex_lock(&nic->flow_lock);
		emu_rules_print(nic, f);
		pthread_mutex_unlock(&nic->flow_lock);
	} else if (strcmp(line, "get") == 0) {
		char text[4096];

		if (emu_knobs_print(&nic->knobs, text, sizeof(text)) != 0)
			return -ENOSPC;
		fputs(text, f);
	} else if (strcmp(line, "remove") == 0) {
		cmd_remove(nic);
	} else if (sscanf(line, "link %u %255s", &port, word) == 2) {
		if (port >= nic->n_ports || nic->port[port] == NULL)
			return -ENODEV;
		emu_port_link(nic->port[port], strcmp(word, "up") == 0);
	} else if (sscanf(line, "step %" SCNd64 " %" SCNd64, &value, &ns) >= 1) {
		int n = net_emu_step(nic, (unsigned)value, (uint64_t)ns);

		if (n < 0)
			return n;
		fprintf(f, "%d\n", n);
	} else if (sscanf(line, "set %255s %" SCNd64, word, &value) == 2) {
		return emu_knob_set(&nic->knobs, word, value);
	} else {
		return -EINVAL;
	}
	return 0;
}

int net_emu_command(struct emu_nic *nic, const char *line, char *out, size_t size)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (f == NULL)
		return -ENOMEM;
	rc = run(nic, line, f);
	fclose(f);
	if (size != 0)
		snprintf(out, size, "%s", rc == 0 ? text : strerror(-rc));
	if (rc == 0 && len >= size && size != 0)
		rc = -ENOSPC;
	free(text);
	return rc;
}

/* --- the socket ---------------------------------------------------------------------------------
 */

static bool readable(struct emu_nic *nic, int fd)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = POLLIN}, {.fd = nic->control_wake, .events = POLLIN}};

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return fds[1].revents == 0;
}

static bool answer(struct emu_nic *nic, const char *line, FILE *out)
{
	int rc;

	rc = run(nic, line, out);
	if (rc == 0)
		fputs("ok\n", out);
	else
		fprintf(out, "error %s\n", strerror(-rc));
	return fflush(out) == 0;
}

static void serve(struct emu_nic *nic, int fd)
{
	FILE *out = fdopen(dup(fd), "w");
	char line[LINE_MAX_];
	size_t have = 0;

	while (out != NULL && readable(nic, fd)) {
		ssize_t n = recv(fd, line + have, sizeof(line) - 1 - have, 0);
		char *end;

		if (n <= 0)
			break;
		have += (size_t)n;
		line[have] = '\0';
		while ((end = strchr(line, '\n')) != NULL) {
			*end = '\0';
			if (!answer(nic, line, out))
				goto out;
			have -= (size_t)(end + 1 - line);
			memmove(line, end + 1, have + 1);
		}
		if (have == sizeof(line) - 1)
			break;
	}
out:
	if (out != NULL)
		fclose(out);
	close(fd);
}

static void *control_main(void *arg)
{
	struct emu_nic *nic = arg;

	pthread_setname_np(pthread_self(), "net_emu_ctl");
	while (readable(nic, nic->control_fd)) {
		int fd = accept4(nic->control_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			serve(nic, fd);
	}
	return NULL;
}

int emu_control_start(struct emu_nic *nic)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int rc;

	if (nic->control_path[0] == '\0')
		return 0;
	memcpy(sa.sun_path, nic->control_path, sizeof(sa.sun_path));
	unlink(nic->control_path);
	nic->control_wake = eventfd(0, EFD_CLOEXEC);
	nic->control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (nic->control_wake < 0 || nic->control_fd < 0 ||
		bind(nic->control_fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
		listen(nic->control_fd, 4) != 0) {
		rc = -errno;
		EMU_LOG(ERR, "%s: control=%s: %s", nic->name, nic->control_path, strerror(errno));
		goto fail;
	}
	rc = -pthread_create(&nic->control_thread, NULL, control_main, nic);
	if (rc == 0)
		return 0;
fail:
	if (nic->control_wake >= 0)
		close(nic->control_wake);
	if (nic->control_fd >= 0)
		close(nic->control_fd);
	nic->control_fd = nic->control_wake = -1;
	return rc;
}

void emu_control_stop(struct emu_nic *nic)
{
	uint64_t one = 1;

	if (nic->control_fd < 0)
		return;
	if (write(nic->control_wake, &one, sizeof(one)) == sizeof(one))
		pthread_join(nic->control_thread, NULL);
	close(nic->control_fd);
	close(nic->control_wake);
	unlink(nic->control_path);
	nic->control_fd = -1;
}
