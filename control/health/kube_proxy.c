/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The look of kube_proxy.h: one dump of nftables' chains, which are those of iptables-nft, too; the
 * blob of the legacy tables, if they are loaded; an interface's name. The thread belongs to the
 * watch. */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Behind the C library's, whose definitions they respect. */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/netlink.h>

#include "control/health/kube_proxy.h"
#include "control/log.h"
#include "control/notice.h"

#define CHAIN     "KUBE-SERVICES"
#define TABLE     "kube-proxy"
#define DUMP_SIZE 65536
/* A table of a large cluster has some ten megabytes. */
#define LEGACY_MAX (256u << 20)

/* --- nftables ----------------------------------------------------------------------------------
 */

static bool is_text(const struct nlattr *a, const char *text)
{
	size_t len = strlen(text) + 1;

	return a->nla_len == NLA_HDRLEN + len &&
		memcmp((const char *)a + NLA_HDRLEN, text, len) == 0;
}

static unsigned see_chain(const struct nlmsghdr *h)
{
	const char *at = (const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	const char *end = (const char *)h + h->nlmsg_len;
	unsigned signs = 0;

	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *a = (const struct nlattr *)(const void *)at;
		int type = a->nla_type & NLA_TYPE_MASK;

		if (a->nla_len < NLA_HDRLEN || at + a->nla_len > end)
			break;
		if (type == NFTA_CHAIN_TABLE && is_text(a, TABLE))
			signs |= KUBE_PROXY_NFTABLES;
		if (type == NFTA_CHAIN_NAME && is_text(a, CHAIN))
			signs |= KUBE_PROXY_IPTABLES;
		at += NLA_ALIGN(a->nla_len);
	}
	return signs;
}

/* A kernel without nftables has no table of kube-proxy's either; one that does not show them might.
 */
static void see_error(const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(*e)) && e->error == -EPERM)
		LOG_WARN(health, "kube_proxy_not_looked_for", "reason=%s",
			"nftables are shown to CAP_NET_ADMIN only");
}

/* True: more is to come. */
static bool see_dump(const char *data, ssize_t len, unsigned *signs)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)data;

	for (uint32_t left = (uint32_t)len; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_ERROR)
			see_error(h);
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
			return false;
		*signs |= see_chain(h);
	}
	return true;
}

static unsigned look_nftables(void)
{
	const struct timeval patience = {.tv_sec = 2};
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} ask = {.h = {.nlmsg_len = sizeof(ask),
			 .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	char *data = malloc(DUMP_SIZE);
	unsigned signs = 0;
	ssize_t n = 0;

	if (fd >= 0 && data != NULL) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		n = send(fd, &ask, sizeof(ask), 0);
	}
	while (n > 0) {
		n = recv(fd, data, DUMP_SIZE, 0);
		if (n <= 0 || !see_dump(data, n, &signs))
			break;
	}
	free(data);
	if (fd >= 0)
		close(fd);
	return signs;
}

/* --- iptables, legacy --------------------------------------------------------------------------
 */

/* Asking for a table loads it: only one that is there is asked for. */
static bool has_nat(const char *names)
{
	FILE *f = fopen(names, "re");
	char line[64];
	bool found = false;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		found |= strcmp(line, "nat\n") == 0;
	if (f != NULL)
		fclose(f);
	return found;
}

/* User-defined chains stand by their names in the table's blob. */
static bool blob_has_chain(const void *blob, size_t len)
{
	return memmem(blob, len, CHAIN, sizeof(CHAIN)) != NULL;
}

/* Both families' requests have the same numbers and shapes, under two names. */
_Static_assert(IPT_SO_GET_INFO == IP6T_SO_GET_INFO && IPT_SO_GET_ENTRIES == IP6T_SO_GET_ENTRIES,
	"one request");
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo) &&
		offsetof(struct ipt_getinfo, size) == offsetof(struct ip6t_getinfo, size),
	"one answer");
_Static_assert(sizeof(struct ipt_get_entries) == sizeof(struct ip6t_get_entries) &&
		offsetof(struct ipt_get_entries, size) == offsetof(struct ip6t_get_entries, size),
	"one header of the blob");

/* family, level: AF_INET and IPPROTO_IP, AF_INET6 and IPPROTO_IPV6. */
static bool look_legacy(int family, int level)
{
	struct ipt_getinfo info = {.name = "nat"};
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct ipt_get_entries *e = NULL;
	socklen_t len = sizeof(info);
	bool found = false;

	if (fd >= 0 && getsockopt(fd, level, IPT_SO_GET_INFO, &info, &len) == 0 &&
		info.size < LEGACY_MAX)
		e = calloc(1, sizeof(*e) + info.size);
	if (e != NULL) {
		strcpy(e->name, info.name);
		e->size = info.size;
		len = (socklen_t)(sizeof(*e) + info.size);
		found = getsockopt(fd, level, IPT_SO_GET_ENTRIES, e, &len) == 0 &&
			blob_has_chain(e, len);
	}
	free(e);
	if (fd >= 0)
		close(fd);
	return found;
}

unsigned kube_proxy_look(void)
{
	unsigned signs = look_nftables();

	if (has_nat("/proc/thread-self/net/ip_tables_names") && look_legacy(AF_INET, IPPROTO_IP))
		signs |= KUBE_PROXY_IPTABLES;
	if (has_nat("/proc/thread-self/net/ip6_tables_names") &&
		look_legacy(AF_INET6, IPPROTO_IPV6))
		signs |= KUBE_PROXY_IPTABLES;
	if (if_nametoindex("kube-ipvs0") != 0)
		signs |= KUBE_PROXY_IPVS;
	return signs;
}

void kube_proxy_text(unsigned signs, char *out, size_t size)
{
	static const char *const texts[] = {
		"nftables' table " TABLE, "iptables' chain " CHAIN, "the interface kube-ipvs0"};
	size_t used = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < 3 && used < size; i++)
		if (signs & 1u << i)
			used += (size_t)snprintf(
				out + used, size - used, "%s%s", used > 0 ? ", " : "", texts[i]);
}

/* --- the watch ---------------------------------------------------------------------------------
 */

struct kube_proxy_watch {
	char *netns, *node;
	struct notices *notices;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop; /* under lock */
	_Atomic unsigned signs;
};

static void tell(struct kube_proxy_watch *w, unsigned signs)
{
	char text[120];

	kube_proxy_text(signs, text, sizeof(text));
	if (signs != 0) {
		LOG_WARN(health, "kube_proxy_present", "signs=%s", text);
		notice_post(w->notices, true, "Node", "", w->node, "KubeProxyPresent",
			"there is %s: a kube-proxy serves this node, too, or left its rules; end it, "
			"then kube-proxy --cleanup",
			text);
	} else {
		LOG_INFO(health, "kube_proxy_gone");
		notice_post(w->notices, false, "Node", "", w->node, "KubeProxyGone",
			"no trace of a kube-proxy is left");
	}
}

/* True: told to stop. */
static bool wait_a_while(struct kube_proxy_watch *w)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += KUBE_PROXY_LOOK_S;
	pthread_mutex_lock(&w->lock);
	while (!w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
		;
	stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return stop;
}

static void *watch(void *arg)
{
	struct kube_proxy_watch *w = arg;
	unsigned before = 0, signs;
	int fd;

	pthread_setname_np(pthread_self(), "sluice-rival");
	if (w->netns != NULL) {
		/* The thread goes there and ends there. */
		fd = open(w->netns, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
			LOG_WARN(health, "kube_proxy_not_looked_for", "netns=%s error=%s", w->netns,
				strerror(errno));
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		close(fd);
	}
	do {
		signs = kube_proxy_look();
		atomic_store_explicit(&w->signs, signs, memory_order_relaxed);
		if (signs != before)
			tell(w, signs);
		before = signs;
	} while (signs != 0 && !wait_a_while(w));
	return NULL;
}

int kube_proxy_watch_start(
	const char *netns, const char *node, struct notices *notices, struct kube_proxy_watch **out)
{
	struct kube_proxy_watch *w = calloc(1, sizeof(*w));
	sigset_t all, before;
	pthread_condattr_t attr;
	int rc;

	if (w == NULL)
		return -ENOMEM;
	w->notices = notices;
	w->node = strdup(node);
	w->netns = netns != NULL ? strdup(netns) : NULL;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	/* Signals are the control thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = w->node == NULL || (netns != NULL && w->netns == NULL)
		? -ENOMEM
		: -pthread_create(&w->thread, NULL, watch, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc < 0) {
		free(w->node);
		free(w->netns);
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void kube_proxy_watch_stop(struct kube_proxy_watch *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w->node);
	free(w->netns);
	free(w);
}

unsigned kube_proxy_signs(const struct kube_proxy_watch *w)
{
	return w != NULL ? atomic_load_explicit(&w->signs, memory_order_relaxed) : 0;
}
