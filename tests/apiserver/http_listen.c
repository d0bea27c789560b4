/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * Listeners of the stand-in's HTTP server: unix sockets, TCP, TLS; and the refusal of new
 * connections as a fault. A stale socket file is removed at start, any other file is not touched.
 */
#include "http_internal.h"
#include "util.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void on_accept(
	struct evconnlistener *evl, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct http_listener *l = arg;
	int one = 1;

	(void)evl;
	(void)sa;
	(void)len;
	if (l->tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	http_conn_new(l, fd);
}

static int bind_unix(struct http_listener *l)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;

	if (strlen(l->name) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, l->name, strlen(l->name) + 1);
	if (!lstat(l->name, &st) && S_ISSOCK(st.st_mode))
		unlink(l->name);
	l->evl = evconnlistener_new_bind(l->srv->base, on_accept, l,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, (struct sockaddr *)&sun,
		sizeof(sun));
	return l->evl ? 0 : -errno;
}

/* the port that the kernel chose for :0 becomes part of the name */
static void learn_name(struct http_listener *l)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(evconnlistener_get_fd(l->evl), (struct sockaddr *)&ss, &len) ||
		getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	free(l->name);
	l->name = xasprintf(ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* "host:port" or "[host]:port", numeric; port 0 is allowed */
static int parse_address(const char *text, struct addrinfo **out)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(text, ':');
	bool bracket = *text == '[';
	char host[64];
	size_t n;

	if (!colon)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (bracket && (n < 2 || text[n - 1] != ']'))
		return -EINVAL;
	n -= bracket ? 2 : 0;
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text + bracket, n);
	host[n] = '\0';
	return getaddrinfo(host, colon + 1, &hints, out) ? -EINVAL : 0;
}

static int bind_tcp(struct http_listener *l)
{
	struct addrinfo *ai;
	int rc = parse_address(l->name, &ai);

	if (rc)
		return rc;
	l->evl = evconnlistener_new_bind(l->srv->base, on_accept, l,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, -1, ai->ai_addr,
		(int)ai->ai_addrlen);
	rc = l->evl ? 0 : -errno;
	freeaddrinfo(ai);
	if (!rc)
		learn_name(l);
	return rc;
}

static int listener_open(struct http_listener *l)
{
	int rc = l->tcp ? bind_tcp(l) : bind_unix(l);

	if (rc)
		note("listen address=%s error=\"%s\"", l->name, strerror(-rc));
	return rc;
}

static int add_listener(
	struct http_server *srv, const char *name, bool tcp, bool control, SSL_CTX *tls)
{
	struct http_listener *l;
	int rc;

	if (srv->n_listeners == HTTP_LISTENERS_MAX) {
		note("listen address=%s error=\"more than %d listeners\"", name,
			HTTP_LISTENERS_MAX);
		return -E2BIG;
	}
	l = &srv->listeners[srv->n_listeners];
	*l = (struct http_listener){
		.srv = srv, .name = xstrdup(name), .tcp = tcp, .control = control, .tls = tls};
	rc = listener_open(l);
	if (rc) {
		free(l->name);
		return rc;
	}
	srv->n_listeners++;
	return 0;
}

int http_listen_unix(struct http_server *srv, const char *path, bool control)
{
	return add_listener(srv, path, false, control, NULL);
}

int http_listen_tcp(struct http_server *srv, const char *address, const char *cert, const char *key)
{
	SSL_CTX *tls = NULL;
	int rc;

	if (cert) {
		tls = SSL_CTX_new(TLS_server_method());
		if (!tls || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
			SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
			note("tls cert=%s key=%s error=\"%s\"", cert, key,
				ERR_reason_error_string(ERR_peek_last_error()));
			SSL_CTX_free(tls);
			return -EINVAL;
		}
	}
	rc = add_listener(srv, address, true, false, tls);
	if (rc)
		SSL_CTX_free(tls);
	return rc;
}

const char *http_listener_name(const struct http_server *srv, size_t i)
{
	return i < srv->n_listeners ? srv->listeners[i].name : NULL;
}

void http_refuse(struct http_server *srv, bool unlink_socket)
{
	for (size_t i = 0; i < srv->n_listeners; i++) {
		struct http_listener *l = &srv->listeners[i];

		if (!l->evl || l->control)
			continue;
		evconnlistener_free(l->evl);
		l->evl = NULL;
		if (unlink_socket && !l->tcp)
			unlink(l->name);
	}
}

int http_accept_again(struct http_server *srv)
{
	int rc = 0;

	for (size_t i = 0; i < srv->n_listeners; i++)
		if (!srv->listeners[i].evl)
			rc |= listener_open(&srv->listeners[i]);
	return rc ? -EIO : 0;
}

void http_listeners_fini(struct http_server *srv)
{
	for (size_t i = 0; i < srv->n_listeners; i++) {
		struct http_listener *l = &srv->listeners[i];

		if (l->evl)
			evconnlistener_free(l->evl);
		if (!l->tcp)
			unlink(l->name);
		SSL_CTX_free(l->tls);
		free(l->name);
	}
	srv->n_listeners = 0;
}
