/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Notices a kube-proxy that runs beside us, or what one left in the kernel: its rules translate
 * the host's own Service traffic before it gets here, and two proxies must not serve one node.
 *
 * A thread of its own looks at the start, because a kernel with many rules takes long to list
 * them; it ends when there is nothing, and looks again every KUBE_PROXY_LOOK_S while there is.
 * It says so in the log and as a notice; nothing depends on it. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#define KUBE_PROXY_LOOK_S 5

struct kube_proxy_watch;
struct notices;

enum kube_proxy_sign {
	KUBE_PROXY_NFTABLES = 1 << 0, /* a table kube-proxy */
	KUBE_PROXY_IPTABLES = 1 << 1, /* a chain KUBE-SERVICES, by either iptables */
	KUBE_PROXY_IPVS = 1 << 2,     /* the interface kube-ipvs0 */
};

/* What there is now in the calling thread's network namespace. Reads the kernel: may take long. */
unsigned kube_proxy_look(void);
/* "table kube-proxy of nftables, …"; "" for none. */
void kube_proxy_text(unsigned signs, char *out, size_t size);

/* netns: the file of the namespace to look into, NULL: ours. Both strings are copied. */
int kube_proxy_watch_start(const char *netns, const char *node, struct notices *notices,
	struct kube_proxy_watch **out);
/* Accepts NULL. */
void kube_proxy_watch_stop(struct kube_proxy_watch *w);
/* Any thread: what was seen last; 0 of NULL. */
unsigned kube_proxy_signs(const struct kube_proxy_watch *w);
