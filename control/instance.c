/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The claim on an API socket's path (see instance.h). Main thread; the only place of sluiced that
 * waits, and nothing runs yet that could be kept waiting. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "control/instance.h"
#include "control/log.h"

#define POLL_MS 10

/* Who holds it, for people; the file outlives its writers. */
static long holder(int fd)
{
	char text[24] = "";
	long pid = 0;

	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		sscanf(text, "%ld", &pid);
	return pid;
}

static void sign(int fd)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		LOG_WARN(main, "not_signed", "reason=%s", strerror(errno));
}

/* 0 when locked; -EINTR when a signal that ends the program came first. */
static int wait_for_lock(int fd, unsigned int seconds)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
	sigset_t ending, before;
	int rc = -EADDRINUSE;

	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigprocmask(SIG_BLOCK, &ending, &before);
	for (unsigned int ms = 0; rc == -EADDRINUSE && ms < seconds * 1000; ms += POLL_MS) {
		if (sigtimedwait(&ending, NULL, &pause) > 0)
			rc = -EINTR;
		else if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			rc = 0;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int instance_claim(const char *path, unsigned int seconds, int *out)
{
	char name[PATH_MAX];
	int fd, rc = 0;

	if ((size_t)snprintf(name, sizeof(name), "%s.lock", path) >= sizeof(name))
		return -ENAMETOOLONG;
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		rc = -errno;
		LOG_ERROR(main, "not_claimed", "file=%s reason=%s", name, strerror(-rc));
		return rc;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		LOG_WARN(main, "waiting", "for=%s pid=%ld file=%s", "another sluiced to end",
			holder(fd), name);
		rc = wait_for_lock(fd, seconds);
	}
	if (rc < 0) {
		if (rc == -EADDRINUSE)
			LOG_ERROR(main, "not_claimed", "file=%s reason=%s pid=%ld", name,
				"another sluiced runs", holder(fd));
		close(fd);
		return rc;
	}
	sign(fd);
	*out = fd;
	return 0;
}
