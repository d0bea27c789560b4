/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The HTTP client of http.h: sockets and timers of libcurl's multi handle become libevent events.
 *
 * libcurl forbids removing a transfer inside its callbacks, so a cancelled request is only marked
 * there and is reaped when libcurl has returned. A body that takes more than a turn's budget is
 * paused and goes on in the next turn: the control thread has other things to do. */

#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#include "k8s-sync/http.h"
#include "k8s-sync/http_token.h"

#define KEEPALIVE_SECONDS 30L
#define USER_TIMEOUT_MS   60000

struct http_client {
	struct event_base *base;
	CURLM *multi;
	struct event *timer;
	struct event *reaper; /* runs what could not be done inside libcurl */
	struct http_request *requests;
	char *socket, *url, *ca_file, *cert_file, *key_file;
	struct http_token token;
	uint32_t connect_timeout_ms, turn_budget_us;
	struct http_answers *answers;
	int depth; /* > 0: inside libcurl */
	uint64_t turn_start_us;
};

struct http_request {
	struct http_client *client;
	struct http_request *next, **prev;
	CURL *easy;
	struct curl_slist *header_list;
	struct http_callbacks callbacks;
	void *arg;
	enum http_answer_method method;
	struct http_headers headers;
	char warning[256];
	bool in_headers, coded;
	bool dead;      /* cancelled inside libcurl */
	bool want_turn; /* to be continued in the next turn */
	bool go_now;    /* to be continued in this one */
	bool held;      /* paused by the receiver, until http_resume() */
	bool done;
	CURLcode result;
	char *rest; /* taken from libcurl, not yet by the receiver */
	size_t rest_len;
	char error[CURL_ERROR_SIZE];
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void poke(struct http_client *client)
{
	static const struct timeval zero;

	/* A timer of zero, not event_active(): other events get their turn in between. */
	event_add(client->reaper, &zero);
}

static void request_free(struct http_request *r)
{
	if (r->next != NULL)
		r->next->prev = r->prev;
	*r->prev = r->next;
	if (r->easy != NULL) {
		curl_multi_remove_handle(r->client->multi, r->easy);
		curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->header_list);
	free(r->rest);
	free(r);
}

static enum http_end classify(const struct http_request *r)
{
	switch (r->result) {
	case CURLE_OK:
		return r->coded ? HTTP_END_FAILED : HTTP_END_CLEAN;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
		return HTTP_END_CUT;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return HTTP_END_UNREACHED;
	default:
		return HTTP_END_FAILED;
	}
}

static void count(struct http_request *r, int status)
{
	struct http_answers *a = r->client->answers;

	if (a != NULL && status >= 0 && status < HTTP_STATUS_MAX)
		atomic_fetch_add_explicit(
			&a->by_status[r->method][status], 1, memory_order_relaxed);
}

static void finish(struct http_request *r)
{
	struct http_callbacks callbacks = r->callbacks;
	enum http_end how = classify(r);
	char error[CURL_ERROR_SIZE] = "";
	void *arg = r->arg;

	if (how != HTTP_END_CLEAN)
		snprintf(error, sizeof(error), "%s",
			r->coded                      ? "the body has a content coding"
				: r->error[0] != '\0' ? r->error
						      : curl_easy_strerror(r->result));
	if (r->in_headers)
		count(r, 0);
	request_free(r);
	callbacks.end(arg, how, how == HTTP_END_CLEAN ? NULL : error);
}

/* Hands the rest to the receiver; true when nothing of it is left. */
static bool deliver_rest(struct http_request *r)
{
	size_t taken;

	if (r->rest_len == 0)
		return true;
	taken = r->callbacks.body(r->arg, r->rest, r->rest_len);
	if (r->dead)
		return false;
	if (taken < r->rest_len) {
		memmove(r->rest, r->rest + taken, r->rest_len - taken);
		r->rest_len -= taken;
		r->held = true;
		return false;
	}
	r->rest_len = 0;
	return true;
}

static void go_on(struct http_request *r)
{
	struct http_client *client = r->client;

	if (!deliver_rest(r))
		return;
	if (r->done) {
		finish(r);
		return;
	}
	client->depth++;
	curl_easy_pause(r->easy, CURLPAUSE_CONT);
	client->depth--;
}

static void collect_done(struct http_client *client)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(client->multi, &left)) != NULL) {
		struct http_request *r;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		r->done = true;
		r->result = msg->data.result;
	}
}

/* Everything that must happen outside libcurl, one request at a time: callbacks may free or start
 * requests, so the walk begins again after each. */
static void reap(struct http_client *client)
{
	struct http_request *r;

	if (client->depth > 0) {
		poke(client);
		return;
	}
	client->depth++;
	collect_done(client);
	client->depth--;
	for (r = client->requests; r != NULL; r = r->next) {
		r->go_now = r->want_turn;
		r->want_turn = false;
	}
again:
	for (r = client->requests; r != NULL; r = r->next) {
		if (r->dead) {
			request_free(r);
			goto again;
		}
		if (r->held)
			continue;
		if (r->done && r->rest_len == 0) {
			finish(r);
			goto again;
		}
		if (r->go_now) {
			r->go_now = false;
			go_on(r);
			goto again;
		}
	}
}

static void on_reaper(evutil_socket_t fd, short what, void *arg)
{
	struct http_client *client = arg;

	client->turn_start_us = now_us();
	reap(client);
}

static void act(struct http_client *client, curl_socket_t fd, int flags)
{
	int running;

	client->turn_start_us = now_us();
	client->depth++;
	curl_multi_socket_action(client->multi, fd, flags, &running);
	client->depth--;
	reap(client);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	int flags =
		(what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

	act(arg, (curl_socket_t)fd, flags);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_client *client = arg;
	struct event *event = socket_arg;
	short flags;

	if (event != NULL)
		event_free(event);
	event = NULL;
	if (what != CURL_POLL_REMOVE) {
		flags = EV_PERSIST;
		if (what & CURL_POLL_IN)
			flags |= EV_READ;
		if (what & CURL_POLL_OUT)
			flags |= EV_WRITE;
		event = event_new(client->base, fd, flags, on_socket, client);
		if (event != NULL)
			event_add(event, NULL);
	}
	curl_multi_assign(client->multi, fd, event);
	return 0;
}

static int timer_cb(CURLM *multi, long ms, void *arg)
{
	struct http_client *client = arg;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (ms < 0)
		event_del(client->timer);
	else
		event_add(client->timer, &tv);
	return 0;
}

/* A dead peer must not hold a request for the kernel's quarter of an hour. */
static int sockopt_cb(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	unsigned int ms = USER_TIMEOUT_MS;

	/* Fails on unix sockets, which need no such timeout. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return CURL_SOCKOPT_OK;
}

static bool header_value(const char *line, size_t len, const char *name, char *value, size_t size)
{
	size_t n = strlen(name);

	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	line += n + 1;
	len -= n + 1;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(value, line, len);
	value[len] = '\0';
	return true;
}

static void end_of_headers(struct http_request *r)
{
	long status = 0;
	curl_off_t retry_after = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return;
	curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry_after);
	r->headers.status = (int)status;
	r->headers.retry_after = retry_after > 3600 ? 3600 : (int)retry_after;
	r->headers.warning = r->warning[0] != '\0' ? r->warning : NULL;
	r->in_headers = false;
	count(r, (int)status);
	r->callbacks.headers(r->arg, &r->headers);
}

static size_t header_cb(char *line, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;
	size_t len = size * n;
	char value[256];

	if (r->dead)
		return 0;
	/* Trailers of a chunked body come this way too. */
	if (!r->in_headers)
		return len;
	if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) {
		r->headers.json = false;
		r->warning[0] = '\0';
	} else if (header_value(line, len, "Content-Type", value, sizeof(value))) {
		r->headers.json = strncasecmp(value, "application/json", 16) == 0;
	} else if (header_value(line, len, "Content-Encoding", value, sizeof(value))) {
		r->coded = value[0] != '\0' && strcasecmp(value, "identity") != 0;
	} else if (header_value(line, len, "Warning", value, sizeof(value))) {
		snprintf(r->warning, sizeof(r->warning), "%s", value);
	} else if (len <= 2) {
		end_of_headers(r);
	}
	return r->dead ? 0 : len;
}

static size_t body_cb(char *data, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;
	struct http_client *client = r->client;
	size_t len = size * n, taken;

	if (r->dead || r->coded)
		return 0;
	/* What came earlier goes first. */
	if (r->held || r->rest_len > 0)
		return CURL_WRITEFUNC_PAUSE;
	if (now_us() - client->turn_start_us > client->turn_budget_us) {
		r->want_turn = true;
		poke(client);
		return CURL_WRITEFUNC_PAUSE;
	}
	taken = r->callbacks.body(r->arg, data, len);
	if (r->dead)
		return 0;
	if (taken >= len)
		return len;
	r->rest = realloc(r->rest, len - taken);
	if (r->rest == NULL)
		return 0;
	memcpy(r->rest, data + taken, len - taken);
	r->rest_len = len - taken;
	r->held = true;
	return len;
}

static void set_options(struct http_request *r, const char *url)
{
	const struct http_client *client = r->client;
	CURL *easy = r->easy;

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->header_list);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_cb);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_cb);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_SECONDS);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_SECONDS / 3);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, sockopt_cb);
	if (client->socket != NULL)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	if (client->ca_file != NULL) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (client->cert_file != NULL) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, client->cert_file);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, client->key_file);
	}
}

static int add_header(struct http_request *r, const char *line)
{
	struct curl_slist *list = curl_slist_append(r->header_list, line);

	if (list == NULL)
		return -ENOMEM;
	r->header_list = list;
	return 0;
}

static int set_body(
	struct http_request *r, const char *method, const char *content_type, const char *body)
{
	char line[128];

	if ((size_t)snprintf(line, sizeof(line), "Content-Type: %s", content_type) >= sizeof(line))
		return -EINVAL;
	if (curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, method) != CURLE_OK ||
		curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK)
		return -ENOMEM;
	return add_header(r, line);
}

int http_send(struct http_client *client, const char *method, const char *target,
	const char *content_type, const char *body, const struct http_callbacks *callbacks,
	void *arg, struct http_request **out)
{
	const char *base = client->socket != NULL ? "http://localhost" : client->url;
	struct http_request *r;
	char url[8192];
	int rc;

	if ((size_t)snprintf(url, sizeof(url), "%s%s", base, target) >= sizeof(url))
		return -ENAMETOOLONG;
	rc = http_token_refresh(&client->token);
	if (rc != 0)
		return rc;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	r->client = client;
	r->callbacks = *callbacks;
	r->arg = arg;
	r->in_headers = true;
	if (method != NULL)
		r->method = strcmp(method, "POST") == 0 ? HTTP_ANSWER_POST : HTTP_ANSWER_PATCH;
	r->next = client->requests;
	r->prev = &client->requests;
	if (r->next != NULL)
		r->next->prev = &r->next;
	client->requests = r;
	rc = add_header(r, "Accept: application/json");
	if (rc == 0)
		rc = add_header(r, "User-Agent: sluice/" SLUICE_VERSION);
	if (rc == 0 && client->token.line != NULL)
		rc = add_header(r, client->token.line);
	if (rc == 0) {
		r->easy = curl_easy_init();
		rc = r->easy != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0 && method != NULL)
		rc = set_body(r, method, content_type, body);
	if (rc == 0) {
		set_options(r, url);
		if (curl_multi_add_handle(client->multi, r->easy) != CURLM_OK)
			rc = -ENOMEM;
	}
	if (rc != 0) {
		request_free(r);
		return rc;
	}
	*out = r;
	return 0;
}

int http_get(struct http_client *client, const char *target, const struct http_callbacks *callbacks,
	void *arg, struct http_request **out)
{
	return http_send(client, NULL, target, NULL, NULL, callbacks, arg, out);
}

void http_cancel(struct http_request *r)
{
	r->dead = true;
	poke(r->client);
}

void http_resume(struct http_request *r)
{
	if (!r->held)
		return;
	r->held = false;
	r->want_turn = true;
	poke(r->client);
}

static int copy(char **to, const char *from)
{
	if (from == NULL)
		return 0;
	*to = strdup(from);
	return *to != NULL ? 0 : -ENOMEM;
}

static int check_config(const struct http_config *config)
{
	bool tls = config->url != NULL && strncmp(config->url, "https://", 8) == 0;

	if ((config->socket == NULL) == (config->url == NULL))
		return -EINVAL;
	if (config->url != NULL && !tls && strncmp(config->url, "http://", 7) != 0)
		return -EINVAL;
	/* Credentials go through TLS or not at all. */
	if (!tls && (config->token_file != NULL || config->cert_file != NULL))
		return -EINVAL;
	return (config->cert_file == NULL) == (config->key_file == NULL) ? 0 : -EINVAL;
}

static int client_init(struct http_client *client, const struct http_config *config)
{
	size_t len;

	if (copy(&client->socket, config->socket) != 0 || copy(&client->url, config->url) != 0 ||
		copy(&client->ca_file, config->ca_file) != 0 ||
		copy(&client->token.file, config->token_file) != 0 ||
		copy(&client->cert_file, config->cert_file) != 0 ||
		copy(&client->key_file, config->key_file) != 0)
		return -ENOMEM;
	if (client->url != NULL) {
		len = strlen(client->url);
		while (len > 0 && client->url[len - 1] == '/')
			client->url[--len] = '\0';
	}
	client->connect_timeout_ms =
		config->connect_timeout_ms != 0 ? config->connect_timeout_ms : 10000;
	client->turn_budget_us = config->turn_budget_us != 0 ? config->turn_budget_us : 2000;
	client->multi = curl_multi_init();
	client->timer = evtimer_new(client->base, on_timer, client);
	client->reaper = evtimer_new(client->base, on_reaper, client);
	if (client->multi == NULL || client->timer == NULL || client->reaper == NULL)
		return -ENOMEM;
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timer_cb);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return 0;
}

int http_client_new(
	struct event_base *base, const struct http_config *config, struct http_client **out)
{
	struct http_client *client;
	int rc = check_config(config);

	if (rc != 0)
		return rc;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return -ENOMEM;
	client->base = base;
	client->answers = config->answers;
	rc = client_init(client, config);
	if (rc != 0) {
		http_client_free(client);
		return rc;
	}
	*out = client;
	return 0;
}

void http_client_free(struct http_client *client)
{
	if (client == NULL)
		return;
	while (client->requests != NULL)
		request_free(client->requests);
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	if (client->timer != NULL)
		event_free(client->timer);
	if (client->reaper != NULL)
		event_free(client->reaper);
	free(client->socket);
	free(client->url);
	free(client->ca_file);
	free(client->cert_file);
	free(client->key_file);
	http_token_fini(&client->token);
	free(client);
}

int http_query_add(char *target, size_t size, const char *name, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t len = strlen(target);
	int n = snprintf(
		target + len, size - len, "%c%s=", strchr(target, '?') != NULL ? '&' : '?', name);

	if (n < 0 || (size_t)n >= size - len)
		return -ENAMETOOLONG;
	len += (size_t)n;
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || strchr("-._~", c) != NULL;

		if (len + 4 > size)
			return -ENAMETOOLONG;
		if (plain) {
			target[len++] = (char)c;
		} else {
			target[len++] = '%';
			target[len++] = hex[c >> 4];
			target[len++] = hex[c & 15];
		}
	}
	target[len] = '\0';
	return 0;
}
