/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Kubernetes sync as a whole against a server that plays a script: what the model is told, and in
 * which order, whatever order the server speaks in. */

#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "k8s-sync/sync.h"
#include "tools/k8s_model.h"
#include "tools/k8s_server.h"
#include "unit/harness.h"

#define SERVICES  "/api/v1/services"
#define SLICES    "/apis/discovery.k8s.io/v1/endpointslices"
#define ENDPOINTS "/api/v1/endpoints"
#define NODES     "/api/v1/nodes"
#define CIDRS     "/apis/networking.k8s.io/v1/servicecidrs"

#define LIST(rv, items)     "{\"metadata\":{\"resourceVersion\":\"" rv "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define EXPIRED \
	"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n"
#define META(name, rv) \
	"\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"resourceVersion\":\"" rv "\""
#define SERVICE(name, rv, ip, port)                                                     \
	"{" META(name, rv) "},\"spec\":{\"clusterIP\":\"" ip "\",\"clusterIPs\":[\"" ip \
			   "\"],\"ipFamilies\":[\"IPv4\"],\"ports\":[{\"port\":" #port "}]}}"
#define SLICE_OF(name, rv, service, endpoints)                                                                          \
	"{" META(name,                                                                                                  \
		rv) ",\"labels\":{\"kubernetes.io/service-name\":\"" service                                            \
		    "\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"\",\"port\":8080}],\"endpoints\":[" endpoints \
		    "]}"
#define EP(ip) "{\"addresses\":[\"" ip "\"]}"
#define EP_HINT(ip, zone) \
	"{\"addresses\":[\"" ip "\"],\"hints\":{\"forZones\":[{\"name\":\"" zone "\"}]}}"
#define NODE(name, rv, zone)                                                                     \
	"{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" rv "\",\"labels\":{"       \
	"\"topology.kubernetes.io/zone\":\"" zone "\"}},\"spec\":{\"podCIDR\":\"10.1.0.0/24\"}," \
	"\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"192.0.2.1\"}]}}"
#define CIDR(name, range) \
	"{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"cidrs\":[\"" range "\"]}}"

#define HOLD .end = K8S_END_HOLD
/* Watch-lists are refused once, by whichever resource asks first. */
#define NO_STREAMS                                                              \
	{.path = SERVICES, .expect = "sendInitialEvents", .status = 422},       \
		{.path = SLICES, .expect = "sendInitialEvents", .status = 422}, \
		{.path = NODES, .expect = "sendInitialEvents", .status = 422},  \
	{                                                                       \
		.path = CIDRS, .expect = "sendInitialEvents", .status = 422     \
	}

struct test {
	struct event_base *base;
	struct k8s_server *server;
	struct model *model;
	struct k8s_sync *sync;
	struct k8s_config config;
	char socket[64];
};

static uint32_t no_delay(void *arg, const char *path, const char *why, uint32_t ms)
{
	return 0;
}

static void begin(struct test *t)
{
	snprintf(t->socket, sizeof(t->socket), "/tmp/sluice-sync-%d.sock", (int)getpid());
	t->base = event_base_new();
	t->server = k8s_server_new(t->base, t->socket);
	t->model = model_new();
	k8s_config_defaults(&t->config);
	t->config.socket = t->socket;
	t->config.node_name = "n1";
	t->config.env.delay = no_delay;
}

static void run(struct test *t, const struct k8s_step *steps, size_t n)
{
	k8s_server_script(t->server, steps, n);
	CU_ASSERT_EQUAL_FATAL(k8s_sync_new(t->base, &t->config, t->model, &t->sync), 0);
	k8s_sync_start(t->sync);
}

#define RUN(t, ...)                                                    \
	do {                                                           \
		static const struct k8s_step steps_[] = {__VA_ARGS__}; \
                                                                       \
		run(t, steps_, sizeof(steps_) / sizeof(steps_[0]));    \
	} while (0)

static void end(struct test *t)
{
	k8s_sync_free(t->sync);
	k8s_server_free(t->server);
	model_free(t->model);
	event_base_free(t->base);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	*(bool *)arg = true;
}

/* Services as "name ip>backend,backend(c)" joined by spaces, in the order of names given. */
static void describe(const struct test *t, char *out, size_t size)
{
	static const char *const keys[] = {"n/a", "n/b", "n/c"};
	char text[IP_TEXT_MAX];
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct model_service *s = k8s_model_service(t->model, keys[i]);

		if (s == NULL)
			continue;
		len += (size_t)snprintf(out + len, size - len, "%s%s:%u", len > 0 ? " " : "",
			s->name, s->ports[0].port);
		for (uint32_t j = 0; j < s->ports[0].n_backends; j++) {
			const struct model_backend *b = &s->ports[0].backends[j];

			if (b->in_cluster)
				len += (size_t)snprintf(out + len, size - len, ">%s",
					ip_format(&b->addr, text) + strlen("10.0.0."));
		}
	}
}

static bool complete(const struct test *t)
{
	return k8s_model_complete(t->model, SOURCE_SERVICES) &&
		k8s_model_complete(t->model, SOURCE_ENDPOINTS);
}

/* Until the complete model says so; five seconds at most. */
static void expect(struct test *t, const char *expected)
{
	struct timeval limit = {.tv_sec = 5};
	bool late = false;
	struct event *timer = evtimer_new(t->base, on_deadline, &late);
	char got[512];

	event_add(timer, &limit);
	describe(t, got, sizeof(got));
	while (!late && (!complete(t) || strcmp(got, expected) != 0)) {
		event_base_loop(t->base, EVLOOP_ONCE);
		describe(t, got, sizeof(got));
	}
	event_free(timer);
	CU_ASSERT(complete(t));
	CU_ASSERT_STRING_EQUAL(got, expected);
}

static void settle(struct test *t)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(t->base, EVLOOP_NONBLOCK);
}

/* --- cases ----------------------------------------------------------------------------------- */

static void nothing_before_both(void)
{
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS,
		{.path = SERVICES, .body = LIST("1", SERVICE("a", "1", "10.96.0.1", 80))},
		{.path = SERVICES, HOLD}, {.path = NODES, .body = LIST("1", NODE("n1", "1", "z1"))},
		{.path = NODES, HOLD},
		{.path = CIDRS, .body = LIST("1", CIDR("x", "10.96.0.0/16"))},
		{.path = CIDRS, HOLD}, {.path = SLICES, .end = K8S_END_STALL});
	while (k8s_server_unused(t.server) > 0 || k8s_model_node(t.model, "n1") == NULL)
		event_base_loop(t.base, EVLOOP_ONCE);
	settle(&t);
	/* O1: the services are known, their endpoints are not. */
	CU_ASSERT(!complete(&t));
	CU_ASSERT_EQUAL(k8s_model_services(t.model), 0);
	k8s_server_raw(t.server, SLICES,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
	k8s_server_push(t.server, SLICES, LIST("1", SLICE_OF("s1", "1", "a", EP("10.0.0.1"))));
	k8s_server_raw(t.server, SLICES, "0\r\n\r\n");
	expect(&t, "a:80>1");
	CU_ASSERT_EQUAL(k8s_model_counts(t.model).service_sets, 1);
	CU_ASSERT_EQUAL(k8s_model_counts(t.model).services_min, 1);
	end(&t);
}

static void any_order(void)
{
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS, {.path = SERVICES, .body = LIST("1", "")},
		{.path = SLICES, .body = LIST("1", SLICE_OF("s0", "1", "b", EP("10.0.0.9")))},
		{.path = SERVICES, HOLD}, {.path = SLICES, HOLD});
	expect(&t, "");
	settle(&t);
	/* O2: the service after its slice, and the other way round. */
	k8s_server_push(t.server, SERVICES, EVENT("ADDED", SERVICE("b", "2", "10.96.0.2", 80)));
	expect(&t, "b:80>9");
	k8s_server_push(t.server, SERVICES, EVENT("ADDED", SERVICE("a", "3", "10.96.0.1", 80)));
	expect(&t, "a:80 b:80>9");
	k8s_server_push(t.server, SLICES, EVENT("ADDED", SLICE_OF("s1", "4", "a", EP("10.0.0.1"))));
	expect(&t, "a:80>1 b:80>9");
	/* A slice that changes its label leaves the old service. */
	k8s_server_push(
		t.server, SLICES, EVENT("MODIFIED", SLICE_OF("s1", "5", "b", EP("10.0.0.1"))));
	expect(&t, "a:80 b:80>1>9");
	k8s_server_push(t.server, SERVICES, EVENT("DELETED", SERVICE("b", "6", "10.96.0.2", 80)));
	expect(&t, "a:80");
	k8s_server_push(t.server, SERVICES, EVENT("ADDED", SERVICE("b", "7", "10.96.0.3", 81)));
	expect(&t, "a:80 b:81>1>9");
	k8s_server_push(t.server, SLICES, EVENT("DELETED", SLICE_OF("s0", "8", "b", "")));
	expect(&t, "a:80 b:81>1");
	end(&t);
}

struct moving {
	struct test t;
	bool missing;
};

static void on_change(void *arg, const char *key, const struct model_service *s)
{
	struct moving *m = arg;
	bool found = false;

	for (uint32_t i = 0; s != NULL && i < s->ports[0].n_backends; i++)
		found = found || s->ports[0].backends[i].in_cluster;
	m->missing = m->missing || !found;
}

static void endpoint_moves(void)
{
	struct moving m = {{0}};
	struct test *t = &m.t;

	begin(t);
	RUN(t, NO_STREAMS,
		{.path = SERVICES, .body = LIST("1", SERVICE("a", "1", "10.96.0.1", 80))},
		{.path = SLICES,
			.body = LIST("1",
				SLICE_OF("s1", "1", "a", EP("10.0.0.1")) "," SLICE_OF(
					"s2", "1", "a", EP("10.0.0.2")))},
		{.path = SERVICES, HOLD}, {.path = SLICES, HOLD});
	expect(t, "a:80>1>2");
	settle(t);
	k8s_model_watch(t->model, on_change, &m);
	/* O3: .2 moves from s2 to s1: added first, then removed first but in one turn. */
	k8s_server_push(t->server, SLICES,
		EVENT("MODIFIED", SLICE_OF("s1", "2", "a", EP("10.0.0.1") "," EP("10.0.0.2"))));
	settle(t);
	k8s_server_push(
		t->server, SLICES, EVENT("MODIFIED", SLICE_OF("s2", "3", "a", EP("10.0.0.3"))));
	expect(t, "a:80>1>2>3");
	k8s_server_push(t->server, SLICES,
		EVENT("MODIFIED", SLICE_OF("s1", "4", "a", ""))
			EVENT("MODIFIED", SLICE_OF("s2", "5", "a", EP("10.0.0.2"))));
	expect(t, "a:80>2");
	CU_ASSERT(!m.missing);
	end(t);
}

static void relist_takes_nothing_away(void)
{
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS,
		{.path = SERVICES,
			.body = LIST("1",
				SERVICE("a", "1", "10.96.0.1", 80) "," SERVICE(
					"b", "1", "10.96.0.2", 80))},
		{.path = SLICES, .body = LIST("1", SLICE_OF("s1", "1", "a", EP("10.0.0.1")))},
		{.path = SERVICES, .body = EXPIRED, HOLD}, {.path = SLICES, .body = EXPIRED, HOLD},
		{.path = SERVICES,
			.body = LIST("9",
				SERVICE("a", "1", "10.96.0.1", 80) "," SERVICE(
					"c", "8", "10.96.0.3", 80))},
		{.path = SLICES,
			.body = LIST("9",
				SLICE_OF("s1", "1", "a", EP("10.0.0.1")) "," SLICE_OF(
					"s3", "8", "c", EP("10.0.0.3")))},
		{.path = SERVICES, .expect = "resourceVersion=9", HOLD},
		{.path = SLICES, .expect = "resourceVersion=9", HOLD});
	expect(&t, "a:80>1 c:80>3");
	CU_ASSERT(k8s_model_counts(t.model).services_min >= 2);
	/* Of the three, "a" did not change and was not touched. */
	CU_ASSERT_EQUAL(k8s_model_counts(t.model).service_removes, 1);
	CU_ASSERT_STRING_EQUAL(k8s_server_faults(t.server), "");
	end(&t);
}

static void one_event_one_service(void)
{
	struct k8s_model_counts before;
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS,
		{.path = SERVICES,
			.body = LIST("1",
				SERVICE("a", "1", "10.96.0.1", 80) "," SERVICE(
					"b", "1", "10.96.0.2", 80))},
		{.path = SLICES,
			.body = LIST("1",
				SLICE_OF("s1", "1", "a", EP("10.0.0.1")) "," SLICE_OF(
					"s2", "1", "b", EP("10.0.0.2")))},
		{.path = SERVICES, HOLD}, {.path = SLICES, HOLD});
	expect(&t, "a:80>1 b:80>2");
	settle(&t);
	before = k8s_model_counts(t.model);
	CU_ASSERT_EQUAL(before.service_sets, 2);
	/* Three events of one turn are one change. */
	k8s_server_push(t.server, SLICES,
		EVENT("MODIFIED", SLICE_OF("s2", "2", "b", EP("10.0.0.3")))
			EVENT("MODIFIED", SLICE_OF("s2", "3", "b", EP("10.0.0.4")))
				EVENT("MODIFIED", SLICE_OF("s2", "4", "b", EP("10.0.0.5"))));
	expect(&t, "a:80>1 b:80>5");
	CU_ASSERT_EQUAL(k8s_model_counts(t.model).service_sets, before.service_sets + 1);
	end(&t);
}

static void zone_change(void)
{
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS,
		{.path = SERVICES,
			.body = LIST("1",
				SERVICE("a", "1", "10.96.0.1", 80) "," SERVICE(
					"b", "1", "10.96.0.2", 80))},
		{.path = SLICES,
			.body = LIST("1",
				SLICE_OF("s1", "1", "a",
					EP_HINT("10.0.0.1", "z1") "," EP_HINT(
						"10.0.0.2", "z2")) "," SLICE_OF("s2", "1", "b",
					EP("10.0.0.3")))},
		{.path = NODES, .body = LIST("1", NODE("n1", "1", "z1") "," NODE("n2", "1", "z2"))},
		{.path = SERVICES, HOLD}, {.path = SLICES, HOLD}, {.path = NODES, HOLD});
	expect(&t, "a:80>1 b:80>3");
	settle(&t);
	k8s_server_push(t.server, NODES, EVENT("MODIFIED", NODE("n2", "2", "z1")));
	settle(&t);
	expect(&t, "a:80>1 b:80>3");
	k8s_server_push(t.server, NODES, EVENT("MODIFIED", NODE("n1", "3", "z2")));
	expect(&t, "a:80>2 b:80>3");
	CU_ASSERT(k8s_model_node(t.model, "n1")->is_self);
	CU_ASSERT(!k8s_model_node(t.model, "n2")->is_self);
	CU_ASSERT(k8s_model_complete(t.model, SOURCE_NODE));
	/* An own Node that vanishes for a moment leaves the zone as it was. */
	k8s_server_push(t.server, NODES, EVENT("DELETED", NODE("n1", "4", "z2")));
	settle(&t);
	expect(&t, "a:80>2 b:80>3");
	CU_ASSERT_PTR_NULL(k8s_model_node(t.model, "n1"));
	end(&t);
}

static void servers_without_slices(void)
{
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS,
		{.path = SERVICES, .body = LIST("1", SERVICE("a", "1", "10.96.0.1", 80))},
		{.path = SLICES, .status = 404, .body = "404 page not found"},
		{.path = CIDRS, .status = 404, .body = "404 page not found"},
		{.path = NODES, .status = 403, .body = "{\"kind\":\"Status\",\"code\":403}"},
		{.path = ENDPOINTS,
			.body = LIST("1",
				"{" META("a",
					"1") "},\"subsets\":[{\"addresses\":[{"
					     "\"ip\":\"10.0.0.7\"}],\"ports\":[{\"port\":8080}]}]}")},
		{.path = SERVICES, HOLD},
		/* A later look finds them. */
		{.path = SLICES, .body = LIST("5", SLICE_OF("s1", "1", "a", EP("10.0.0.8")))},
		{.path = SLICES, HOLD});
	expect(&t, "a:80>8");
	while (k8s_server_unused(t.server) > 0)
		event_base_loop(t.base, EVLOOP_ONCE);
	CU_ASSERT(k8s_model_complete(t.model, SOURCE_NODE));
	CU_ASSERT(k8s_model_complete(t.model, SOURCE_SERVICE_CIDRS));
	end(&t);
}

static void endpoints_by_choice(void)
{
	struct test t = {0};

	begin(&t);
	t.config.endpoints = K8S_ENDPOINTS_OBJECTS;
	RUN(&t,
		{.path = SERVICES,
			.expect = "labelSelector=%21service.kubernetes.io%2Fservice-proxy-name "
				  "fieldSelector=spec.clusterIP%21%3DNone",
			.status = 422},
		{.path = SERVICES, .body = LIST("1", SERVICE("a", "1", "10.96.0.1", 80))},
		{.path = ENDPOINTS,
			.expect = "labelSelector=%21service.kubernetes.io%2Fheadless",
			.status = 422},
		{.path = ENDPOINTS,
			.body = LIST("1",
				"{" META("a",
					"1") "},\"subsets\":[{\"addresses\":[{"
					     "\"ip\":\"10.0.0.7\"}],\"notReadyAddresses\":[{\"ip\":\"10.0.0.8\"}],\"ports\":[{"
					     "\"port\":8080}]}]}")},
		{.path = SERVICES, HOLD}, {.path = ENDPOINTS, HOLD});
	expect(&t, "a:80>7");
	for (size_t i = 0; i < k8s_server_requests(t.server); i++)
		CU_ASSERT_PTR_NULL(strstr(k8s_server_request(t.server, i), "endpointslices"));
	CU_ASSERT_STRING_EQUAL(k8s_server_faults(t.server), "");
	end(&t);
}

static void faults_are_named(void)
{
	struct test t = {0};

	begin(&t);
	RUN(&t, NO_STREAMS,
		{.path = SERVICES,
			.body = LIST("1",
				SERVICE("a", "1", "10.96.0.1", 80) "," SERVICE("b", "1",
					"10.96.0.999",
					80) "," SERVICE("c", "1", "10.96.0.3", 70000))},
		{.path = SLICES,
			.body = LIST(
				"1", SLICE_OF("s1", "1", "a", EP("10.0.0.1") "," EP("127.0.0.1")))},
		{.path = SERVICES, HOLD}, {.path = SLICES, HOLD});
	expect(&t, "a:80>1");
	settle(&t);
	CU_ASSERT_PTR_NOT_NULL(k8s_model_fault(t.model, "Service n/b", "spec.clusterIPs[0]"));
	CU_ASSERT_PTR_NOT_NULL(k8s_model_fault(t.model, "Service n/c", "spec.ports[0].port"));
	CU_ASSERT_PTR_NOT_NULL(
		k8s_model_fault(t.model, "EndpointSlice n/s1", "endpoints[1].addresses[0]"));
	/* A refused change keeps the last good state; a sound one, or the end, clears the fault. */
	k8s_server_push(t.server, SERVICES,
		EVENT("MODIFIED", SERVICE("a", "2", "127.0.0.1", 81))
			EVENT("MODIFIED", SERVICE("b", "3", "10.96.0.2", 82))
				EVENT("DELETED", SERVICE("c", "4", "10.96.0.3", 70000)));
	expect(&t, "a:80>1 b:82");
	CU_ASSERT_PTR_NOT_NULL(k8s_model_fault(t.model, "Service n/a", "spec.clusterIPs[0]"));
	CU_ASSERT_PTR_NULL(k8s_model_fault(t.model, "Service n/b", "spec.clusterIPs[0]"));
	CU_ASSERT_PTR_NULL(k8s_model_fault(t.model, "Service n/c", "spec.ports[0].port"));
	k8s_server_push(t.server, SERVICES, EVENT("MODIFIED", SERVICE("a", "5", "10.96.0.1", 81)));
	expect(&t, "a:81>1 b:82");
	CU_ASSERT_PTR_NULL(k8s_model_fault(t.model, "Service n/a", "spec.clusterIPs[0]"));
	end(&t);
}

static void service_ranges(void)
{
	struct test t = {0};
	json_t *json, *expected = json_pack("[s, s]", "10.96.0.0/16", "10.97.0.0/16");
	bool same = false;

	begin(&t);
	RUN(&t, NO_STREAMS, {.path = SERVICES, .body = LIST("1", "")},
		{.path = SLICES, .body = LIST("1", "")}, {.path = SERVICES, HOLD},
		{.path = SLICES, HOLD},
		{.path = CIDRS,
			.body = LIST("1",
				CIDR("y", "10.97.0.0/16") "," CIDR("x", "10.96.0.0/16") "," CIDR(
					"z", "10.96.0.0/16"))},
		{.path = CIDRS, HOLD});
	expect(&t, "");
	while (!same) {
		event_base_loop(t.base, EVLOOP_ONCE);
		json = k8s_model_json(t.model);
		same = json_equal(json_object_get(json, "cidrs"), expected) != 0;
		json_decref(json);
	}
	CU_ASSERT_EQUAL(k8s_model_counts(t.model).cidr_sets, 1);
	json_decref(expected);
	end(&t);
}

static void configuration_is_checked(void)
{
	struct test t = {0};
	struct k8s_config c;

	begin(&t);
	c = t.config;
	c.node_name = NULL;
	CU_ASSERT_EQUAL(k8s_sync_new(t.base, &c, t.model, &t.sync), -EINVAL);
	c = t.config;
	c.url = "http://localhost";
	CU_ASSERT_EQUAL(k8s_sync_new(t.base, &c, t.model, &t.sync), -EINVAL);
	c = t.config;
	c.socket = NULL;
	CU_ASSERT_EQUAL(k8s_sync_new(t.base, &c, t.model, &t.sync), -EINVAL);
	c.url = "ftp://localhost";
	CU_ASSERT_EQUAL(k8s_sync_new(t.base, &c, t.model, &t.sync), -EINVAL);
	/* A token never travels in the clear. */
	c.url = "http://localhost";
	c.token_file = "/dev/null";
	CU_ASSERT_EQUAL(k8s_sync_new(t.base, &c, t.model, &t.sync), -EINVAL);
	c.token_file = NULL;
	CU_ASSERT_EQUAL(k8s_sync_new(t.base, &c, t.model, &t.sync), 0);
	end(&t);
}

TEST_SUITE("sync", CASE(nothing_before_both), CASE(any_order), CASE(endpoint_moves),
	CASE(relist_takes_nothing_away), CASE(one_event_one_service), CASE(zone_change),
	CASE(servers_without_slices), CASE(endpoints_by_choice), CASE(faults_are_named),
	CASE(service_ranges), CASE(configuration_is_checked))
