/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The claim on an API socket: one at a time, waits for one that ends (control/instance.h). */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/instance.h"
#include "control/log.h"
#include "unit/harness.h"

static char path[] = "/tmp/sluice-instance-XXXXXX", last[512];
static pid_t ends_when_waited_for;

static void keep(void *arg, const char *line, size_t len)
{
	(void)arg;
	snprintf(last, sizeof(last), "%.*s", (int)len, line);
	if (ends_when_waited_for == 0 || strstr(last, "event=waiting") == NULL)
		return;
	kill(ends_when_waited_for, SIGKILL);
	waitpid(ends_when_waited_for, NULL, 0);
	ends_when_waited_for = 0;
}

static void begin(void)
{
	static bool made;

	log_set_sink(keep, NULL);
	CHECK_EQ(log_set_level(NULL, "info"), 0);
	last[0] = '\0';
	if (!made)
		close(mkstemp(path));
	made = true;
}

/* Another process that claims and then waits for a signal. */
static pid_t other(void)
{
	int claimed[2], fd;
	char ok = 'n';
	pid_t pid;

	if (pipe(claimed) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		ok = instance_claim(path, 0, &fd) == 0 ? 'y' : 'n';
		if (write(claimed[1], &ok, 1) == 1)
			pause();
		_exit(0);
	}
	CHECK_EQ(read(claimed[0], &ok, 1), 1);
	CHECK_EQ(ok, 'y');
	close(claimed[0]);
	close(claimed[1]);
	return pid;
}

static void one_at_a_time(void)
{
	char who[64];
	int fd = -1;
	pid_t pid;

	begin();
	pid = other();
	CHECK_EQ(instance_claim(path, 0, &fd), -EADDRINUSE);
	CHECK_EQ(fd, -1);
	snprintf(who, sizeof(who), "event=not_claimed file=%s.lock", path);
	CHECK_HAS(last, who);
	snprintf(who, sizeof(who), "reason=\"another sluiced runs\" pid=%d", (int)pid);
	CHECK_HAS(last, who);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_EQ(instance_claim(path, 0, &fd), 0);
	close(fd);
}

static void waits_for_one_that_ends(void)
{
	int fd = -1;

	begin();
	ends_when_waited_for = other();
	CHECK_EQ(instance_claim(path, 30, &fd), 0);
	CHECK_HAS(last, "event=waiting");
	CHECK_EQ(ends_when_waited_for, 0);
	close(fd);
}

static void a_signal_ends_the_wait(void)
{
	sigset_t term, before;
	int fd = -1;
	pid_t pid;

	begin();
	pid = other();
	/* Blocked, so that it is pending whenever it comes. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	kill(getpid(), SIGTERM);
	CHECK_EQ(instance_claim(path, 30, &fd), -EINTR);
	sigprocmask(SIG_SETMASK, &before, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void a_file_that_cannot_be_made(void)
{
	char lock[64];
	int fd = -1;

	begin();
	CHECK_EQ(instance_claim("/nonexistent/api.sock", 0, &fd), -ENOENT);
	CHECK_HAS(last, "event=not_claimed file=/nonexistent/api.sock.lock");
	snprintf(lock, sizeof(lock), "%s.lock", path);
	unlink(lock);
	unlink(path);
}

TEST_SUITE("instance", CASE(one_at_a_time), CASE(waits_for_one_that_ends),
	CASE(a_signal_ends_the_wait), CASE(a_file_that_cannot_be_made))
