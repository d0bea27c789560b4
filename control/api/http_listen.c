/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The server's life and its listeners: sockets, who may connect, how many (see http.h).
 * API thread. */

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/api/http_internal.h"
#include "core/ip.h"

/* --- how many --------------------------------------------------------------------------------
 */

static bool still_open(const struct http_connection *c)
{
	struct stat st;

	return fstat(c->fd, &st) == 0 && st.st_ino == c->inode;
}

static void forget_closed(struct http_server *s)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->n_connections; i++)
		if (still_open(&s->connection[i]))
			s->connection[kept++] = s->connection[i];
	s->n_connections = kept;
}

static void set_accepting(struct http_server *s, bool on)
{
	s->full = !on;
	for (uint32_t i = 0; i < s->n_listeners; i++) {
		if (on)
			evconnlistener_enable(s->listener[i].accept);
		else
			evconnlistener_disable(s->listener[i].accept);
	}
}

static void on_full(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval again = {.tv_usec = 100000};
	struct http_server *s = arg;

	forget_closed(s);
	if (s->n_connections + s->n_fresh < HTTP_CONNECTIONS_MAX)
		set_accepting(s, true);
	else
		event_add(s->full_event, &again);
}

/* Runs in the loop turn after accept, when evhttp has given the descriptors to the bufferevents
 * that new_connection() made. */
static void on_fresh(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;

	for (uint32_t i = 0; i < s->n_fresh; i++) {
		struct bufferevent *bev = s->fresh[i];
		struct http_connection *c = &s->connection[s->n_connections];
		struct stat st;

		c->fd = bufferevent_getfd(bev);
		if (c->fd >= 0 && fstat(c->fd, &st) == 0) {
			c->inode = st.st_ino;
			s->n_connections++;
			bufferevent_setwatermark(bev, EV_READ, 0, HTTP_HEADERS_MAX + HTTP_BODY_MAX);
		}
		bufferevent_decref(bev);
	}
	s->n_fresh = 0;
}

static struct bufferevent *new_connection(struct event_base *base, void *arg)
{
	struct http_server *s = arg;
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (bev == NULL)
		return NULL;
	if (s->n_connections + s->n_fresh + 1 >= HTTP_CONNECTIONS_MAX)
		forget_closed(s);
	if (s->n_connections + s->n_fresh < HTTP_CONNECTIONS_MAX) {
		bufferevent_incref(bev);
		s->fresh[s->n_fresh++] = bev;
		event_active(s->fresh_event, EV_TIMEOUT, 1);
	}
	if (s->n_connections + s->n_fresh >= HTTP_CONNECTIONS_MAX && !s->full) {
		set_accepting(s, false);
		event_active(s->full_event, EV_TIMEOUT, 1);
	}
	return bev;
}

/* --- where -----------------------------------------------------------------------------------
 */

static int start(struct http_server *s, int fd, enum http_listener_kind kind, bool tcp,
	struct http_listener **out)
{
	struct http_listener *l = &s->listener[s->n_listeners];
	int rc;

	memset(l, 0, sizeof(*l));
	l->server = s;
	l->kind = kind;
	l->tcp = tcp;
	rc = http_listener_start(l);
	if (rc < 0)
		return rc;
	evhttp_set_bevcb(l->http, new_connection, s);
	l->accept = evconnlistener_new(s->base, NULL, NULL,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, 0, fd);
	if (l->accept == NULL || evhttp_bind_listener(l->http, l->accept) == NULL) {
		if (l->accept != NULL)
			evconnlistener_free(l->accept);
		else
			close(fd);
		evhttp_free(l->http);
		return -ENOMEM;
	}
	s->n_listeners++;
	*out = l;
	return 0;
}

/* Removes a socket file that nobody listens on. */
static int clear_path(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, rc;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	if (rc == 0 || errno == EAGAIN)
		rc = -EADDRINUSE;
	else
		rc = unlink(sa->sun_path) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int set_owner(const char *path, uint32_t mode, const char *group)
{
	struct group *gr;

	/* Made with no rights for others; opened to the group only once that is the right one. */
	if (group != NULL) {
		gr = getgrnam(group);
		if (gr == NULL)
			return -ENOENT;
		if (chown(path, (uid_t)-1, gr->gr_gid) < 0)
			return -errno;
	}
	return chmod(path, mode) < 0 ? -errno : 0;
}

int http_listen_unix(struct http_server *s, const char *path, uint32_t mode, const char *group,
	enum http_listener_kind kind)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct http_listener *l;
	mode_t mask;
	int fd, rc;

	if (s->n_listeners == HTTP_LISTENERS_MAX)
		return -ENOSPC;
	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	rc = clear_path(&sa);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	umask(mask);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	rc = set_owner(path, mode, group);
	if (rc == 0 && listen(fd, SOMAXCONN) < 0)
		rc = -errno;
	if (rc == 0)
		rc = start(s, fd, kind, false, &l);
	else
		close(fd);
	if (rc < 0) {
		unlink(path);
		return rc;
	}
	l->path = strdup(path);
	return 0;
}

/* "127.0.0.1:80" or "[::1]:80" */
static int parse_address(
	const char *text, struct sockaddr_storage *out, socklen_t *len, bool *loopback)
{
	const char *colon = strrchr(text, ':');
	char host[IP_TEXT_MAX];
	struct ip_addr addr;
	uint64_t port;
	size_t n;

	if (colon == NULL || parse_uint(colon + 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (text[0] == '[' && n >= 2 && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (ip_parse(host, &addr) < 0)
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	*loopback = ip_is_loopback(&addr);
	if (ip_family(&addr) == IP_V4) {
		struct sockaddr_in *sin = (struct sockaddr_in *)out;

		sin->sin_family = AF_INET;
		sin->sin_port = htons((uint16_t)port);
		sin->sin_addr.s_addr = ip_v4(&addr);
		*len = sizeof(*sin);
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;

		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons((uint16_t)port);
		memcpy(&sin6->sin6_addr, addr.bytes, 16);
		*len = sizeof(*sin6);
	}
	return 0;
}

/* A namespace is a thread's: this one visits the other and comes back. */
static int socket_in(const char *netns, int domain)
{
	int here, there, fd = -1, rc = 0;

	if (netns == NULL) {
		fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		return fd < 0 ? -errno : fd;
	}
	here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	there = open(netns, O_RDONLY | O_CLOEXEC);
	if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0) {
		rc = -errno;
	} else {
		fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		rc = fd < 0 ? -errno : fd;
		if (setns(here, CLONE_NEWNET) < 0) {
			rc = -errno;
			close(fd);
		}
	}
	if (here >= 0)
		close(here);
	if (there >= 0)
		close(there);
	return rc;
}

/* 0.0.0.0 becomes ::, which takes IPv4, too. */
static void widen(struct sockaddr_storage *sa, socklen_t *len)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)sa;
	in_port_t port = ((struct sockaddr_in *)sa)->sin_port;

	memset(sa, 0, sizeof(*sa));
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = port;
	*len = sizeof(*sin6);
}

static int bind_tcp(struct sockaddr_storage *sa, socklen_t *len, enum http_listener_kind kind,
	const char *netns)
{
	const int on = 1, one_family = kind == HTTP_PROBE;
	int fd = socket_in(netns, sa->ss_family), rc;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (sa->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one_family, sizeof(one_family));
	if (kind == HTTP_PROBE)
		setsockopt(fd, sa->ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			sa->ss_family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)sa, *len) < 0 || listen(fd, SOMAXCONN) < 0 ||
		getsockname(fd, (struct sockaddr *)sa, len) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int http_listen_tcp(struct http_server *s, const char *address, enum http_listener_kind kind,
	const char *netns, uint16_t *bound)
{
	struct sockaddr_storage given, sa;
	struct http_listener *l;
	socklen_t given_len, len;
	bool loopback, wide;
	int fd, rc;

	if (s->n_listeners == HTTP_LISTENERS_MAX)
		return -ENOSPC;
	rc = parse_address(address, &given, &given_len, &loopback);
	if (rc < 0)
		return rc;
	if (!loopback && kind != HTTP_HEALTH && kind != HTTP_PROBE)
		return -EPERM;
	sa = given;
	len = given_len;
	wide = kind == HTTP_HEALTH && sa.ss_family == AF_INET &&
		((struct sockaddr_in *)&sa)->sin_addr.s_addr == INADDR_ANY;
	if (wide)
		widen(&sa, &len);
	fd = bind_tcp(&sa, &len, kind, netns);
	/* A kernel without IPv6. */
	if (wide && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
		sa = given;
		len = given_len;
		fd = bind_tcp(&sa, &len, kind, netns);
	}
	if (fd < 0)
		return fd;
	if (bound != NULL)
		*bound = ntohs(sa.ss_family == AF_INET ? ((struct sockaddr_in *)&sa)->sin_port
						       : ((struct sockaddr_in6 *)&sa)->sin6_port);
	return start(s, fd, kind, true, &l);
}

/* --- life ------------------------------------------------------------------------------------
 */

int http_server_new(struct event_base *base, const struct http_route *routes, void *arg,
	struct http_server **out)
{
	struct http_server *s = calloc(1, sizeof(*s));
	uint32_t n = 0;

	if (s == NULL)
		return -ENOMEM;
	while (routes[n].pattern != NULL)
		n++;
	s->base = base;
	s->routes = routes;
	s->arg = arg;
	s->stats = calloc(n + 1, sizeof(*s->stats));
	s->fresh_event = event_new(base, -1, 0, on_fresh, s);
	s->full_event = event_new(base, -1, 0, on_full, s);
	if (s->stats == NULL || s->fresh_event == NULL || s->full_event == NULL ||
		getrandom(&s->boot, sizeof(s->boot), 0) != sizeof(s->boot)) {
		http_server_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void http_server_free(struct http_server *s)
{
	if (s == NULL)
		return;
	http_streams_end(s);
	on_fresh(-1, 0, s);
	for (uint32_t i = 0; i < s->n_listeners; i++) {
		/* First the name: once nobody listens it may be another's. */
		if (s->listener[i].path != NULL)
			unlink(s->listener[i].path);
		evhttp_free(s->listener[i].http); /* the accept listener too */
		free(s->listener[i].path);
	}
	/* Requests whose answer somebody still owed. */
	while (s->requests != NULL)
		http_request_finish(s->requests);
	if (s->fresh_event != NULL)
		event_free(s->fresh_event);
	if (s->full_event != NULL)
		event_free(s->full_event);
	free(s->stats);
	free(s);
}
