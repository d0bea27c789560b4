/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* One sluiced a node: two that serve the same API socket would answer each packet twice.
 *
 * The claim is a lock on the file PATH.lock, which the kernel gives back when the last thread of
 * its holder is gone: whoever starts beside one that is ending waits until that has closed its
 * ports, and takes over. Main thread, before anything else is started. */

#pragma once

/* Claims path, waiting up to seconds for one that is ending; a SIGTERM or SIGINT ends the wait.
 * *fd holds the claim until it is closed. 0, -EADDRINUSE: the other one lives on, -EINTR, or
 * -errno of the file. Logs what it waits for and why it failed. */
int instance_claim(const char *path, unsigned int seconds, int *fd);
