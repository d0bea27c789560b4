/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The desired state: ownership, equality, order and cursors, versions and changes, refusals,
 * sources, the reconciler's queue (control/model.h), and the ordered map under it. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "control/log.h"
#include "control/model.h"
#include "control/omap.h"
#include "core/dataplane.h"
#include "unit/harness.h"

static void quiet(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)line;
	(void)len;
}

static struct model_service *service(const char *name, uint16_t port)
{
	struct model_service *s = model_service_new("ns", name);

	s->owner = OWNER_KUBERNETES;
	s->n_ports = 1;
	s->ports = calloc(1, sizeof(*s->ports));
	s->ports[0].name = strdup("p");
	s->ports[0].proto = IP_PROTO_TCP;
	s->ports[0].port = port;
	return s;
}

static struct model_backend *backends(struct model_service *s, uint32_t n)
{
	struct model_backend *b = calloc(n, sizeof(*b));

	for (uint32_t i = 0; i < n; i++) {
		b[i].addr = ip_from_v4(htonl(0x0a000001 + i));
		b[i].port = 80;
	}
	s->ports[0].backends = b;
	s->ports[0].n_backends = n;
	return b;
}

static unsigned notified;

static void on_dirty(void *arg)
{
	(void)arg;
	notified++;
}

static void equal_objects_are_no_change(void)
{
	struct model *m = model_new();
	struct model_object *o;
	uint64_t v;

	notified = 0;
	model_set_notify(m, on_dirty, NULL);
	CHECK_EQ(model_service_set(m, service("a", 80)), 0);
	CHECK_EQ(notified, 1);
	v = model_version(m);
	CHECK_EQ(model_service_set(m, service("a", 80)), 0);
	CHECK_EQ(model_version(m), v);
	CHECK_EQ(model_service_set(m, service("a", 81)), 0);
	CHECK_GT(model_version(m), v);
	CHECK_EQ(notified, 1); /* it was dirty already */
	CHECK_EQ(model_dirty_count(m, MODEL_SERVICE), 1);
	o = model_dirty_next(m, MODEL_SERVICE);
	REQUIRE(o != NULL);
	CHECK_STR(o->key, "ns/a");
	CHECK(model_dirty_next(m, MODEL_SERVICE) == NULL);
	CHECK_EQ(model_service_set(m, service("a", 82)), 0);
	CHECK_EQ(notified, 2);
	model_free(m);
}

static void contradictions_are_refused(void)
{
	struct model *m = model_new();
	struct model_service *s;
	struct model_backend *b;
	struct model_vport *v;

	CHECK_EQ(model_service_set(m, service("a", 0)), -EINVAL);
	CHECK_EQ(model_service_set(m, service("", 80)), -EINVAL);
	s = service("a", 80);
	s->ports[0].proto = IP_PROTO_ICMP;
	CHECK_EQ(model_service_set(m, s), -EINVAL);
	s = service("a", 80);
	b = backends(s, 2);
	b[1] = b[0];
	CHECK_EQ(model_service_set(m, s), -EINVAL);
	s = service("a", 80);
	b = backends(s, 2);
	b[0].addr = ip_from_v4(htonl(0x0b000000));
	CHECK_EQ(model_service_set(m, s), -EINVAL); /* not sorted */
	s = service("a", 80);
	backends(s, 2)[1].port = 0;
	CHECK_EQ(model_service_set(m, s), -EINVAL);
	s = service("a", 80);
	s->cluster_ips = calloc(2, sizeof(*s->cluster_ips));
	s->n_cluster_ips = 2;
	CHECK_EQ(model_service_set(m, s), -EINVAL); /* two of one family */
	v = model_vport_new("v");
	CHECK_EQ(model_vport_set(m, v), -EINVAL); /* neither port nor own_port */
	CHECK_EQ(model_count(m, MODEL_SERVICE), 0);
	CHECK_EQ(model_version(m), 1);
	model_free(m);
}

static void another_owner_is_refused(void)
{
	struct model *m = model_new();
	struct model_service *s = service("a", 81);

	CHECK_EQ(model_service_set(m, service("a", 80)), 0);
	s->owner = OWNER_API;
	CHECK_EQ(model_service_set(m, s), -EPERM);
	CHECK_EQ(model_service_remove(m, "ns", "a", OWNER_API), -EPERM);
	CHECK_EQ(model_service_find(m, "ns", "a", NULL)->ports[0].port, 80);
	CHECK_EQ(model_service_remove(m, "ns", "a", OWNER_KUBERNETES), 0);
	CHECK_EQ(model_service_remove(m, "ns", "a", OWNER_KUBERNETES), -ENOENT);
	s = service("a", 81);
	s->owner = OWNER_API;
	CHECK_EQ(model_service_set(m, s), 0);
	model_free(m);
}

/* The reconciler sees a removed object once more, and then it is gone. */
static void a_removed_object_waits_for_the_reconciler(void)
{
	struct model *m = model_new();
	struct model_object *o;
	struct model_status st;
	int applied;

	CHECK_EQ(model_service_set(m, service("a", 80)), 0);
	o = model_dirty_next(m, MODEL_SERVICE);
	o->applied = &applied;
	model_applied(m, o, o->version, NULL);
	CHECK(model_service_find(m, "ns", "a", &st) != NULL);
	CHECK_EQ(st.state, MODEL_APPLIED);
	CHECK_EQ(st.applied_version, st.version);
	CHECK_EQ(model_service_remove(m, "ns", "a", OWNER_KUBERNETES), 0);
	CHECK(model_service_find(m, "ns", "a", NULL) == NULL);
	CHECK_EQ(model_count(m, MODEL_SERVICE), 0);
	o = model_dirty_next(m, MODEL_SERVICE);
	REQUIRE(o != NULL);
	CHECK(o->desired == NULL);
	CHECK(o->applied == &applied);
	/* It comes back before that: the reconciler goes on with what it had. */
	CHECK_EQ(model_service_set(m, service("a", 81)), 0);
	CHECK(model_dirty_next(m, MODEL_SERVICE) == o);
	CHECK(o->desired != NULL && o->applied == &applied);
	CHECK_EQ(model_service_remove(m, "ns", "a", OWNER_KUBERNETES), 0);
	o = model_dirty_next(m, MODEL_SERVICE);
	o->applied = NULL;
	model_applied(m, o, 0, NULL);
	CHECK(model_dirty_next(m, MODEL_SERVICE) == NULL);
	model_free(m);
}

struct page {
	unsigned n;
	char last[64];
	bool ordered;
};

static bool on_object(
	void *arg, const char *key, const void *object, const struct model_status *status)
{
	const struct model_service *s = object;
	struct page *p = arg;

	CHECK_EQ(strcmp(key + 3, s->name), 0);
	CHECK_GT(status->version, 0);
	p->ordered &= strcmp(key, p->last) > 0;
	snprintf(p->last, sizeof(p->last), "%s", key);
	p->n++;
	return true;
}

static void lists_are_ordered_and_a_cursor_survives_change(void)
{
	struct page p = {.ordered = true};
	struct model *m = model_new();
	char name[16];

	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%02u", (i * 37) % 100);
		CHECK_EQ(model_service_set(m, service(name, 80)), 0);
	}
	CHECK_EQ(model_each(m, MODEL_SERVICE, NULL, 30, on_object, &p), 30);
	CHECK_STR(p.last, "ns/s29");
	/* The one the cursor names goes, and others around it. */
	model_service_remove(m, "ns", "s29", OWNER_KUBERNETES);
	model_service_remove(m, "ns", "s30", OWNER_KUBERNETES);
	model_service_remove(m, "ns", "s05", OWNER_KUBERNETES);
	while (model_each(m, MODEL_SERVICE, p.last, 30, on_object, &p) == 30)
		;
	CHECK(p.ordered);
	CHECK_EQ(p.n, 30 + 69);
	CHECK_STR(p.last, "ns/s99");
	model_free(m);
}

struct seen {
	unsigned n, deleted;
	uint64_t last;
};

static void on_change(
	void *arg, uint64_t version, enum model_kind kind, const char *key, bool deleted)
{
	struct seen *s = arg;

	CHECK_GT(version, s->last);
	CHECK_EQ(kind, MODEL_SERVICE);
	CHECK_EQ(strncmp(key, "ns/", 3), 0);
	s->last = version;
	s->deleted += deleted;
	s->n++;
}

static void watchers_see_changes_or_are_told_to_start_over(void)
{
	struct model *m = model_new();
	struct seen s = {0};
	uint64_t since = model_version(m);

	CHECK_EQ(model_changes_each(m, since, 0, on_change, &s), 0);
	model_service_set(m, service("a", 80));
	model_service_set(m, service("b", 80));
	model_service_remove(m, "ns", "a", OWNER_KUBERNETES);
	CHECK_EQ(model_changes_each(m, since, 0, on_change, &s), 3);
	CHECK_EQ(s.deleted, 1);
	CHECK_EQ(s.last, model_version(m));
	s = (struct seen){0};
	CHECK_EQ(model_changes_each(m, since, 2, on_change, &s), 2);
	CHECK_EQ(model_changes_each(m, s.last, 2, on_change, &s), 1);
	for (unsigned i = 0; i < 20000; i++)
		model_service_set(m, service("b", (uint16_t)(i % 2 + 1)));
	CHECK_EQ(model_changes_each(m, since, 0, on_change, &s), -ESTALE);
	s = (struct seen){0};
	CHECK_EQ(model_changes_each(m, model_version(m) - 10, 0, on_change, &s), 10);
	model_free(m);
}

struct fault {
	unsigned n;
	char text[256];
};

static bool on_refusal(void *arg, const char *key, const char *kind, const char *ns,
	const char *name, const char *field, const char *reason)
{
	struct fault *f = arg;

	(void)key;
	snprintf(f->text, sizeof(f->text), "%s %s/%s %s: %s", kind, ns, name, field, reason);
	f->n++;
	return true;
}

static void refusals_are_kept_by_object_and_bounded(void)
{
	struct model *m = model_new();
	struct fault f = {0};
	char field[32];

	log_set_sink(quiet, NULL);
	model_refuse(m, "Service", "ns", "a", "spec.ports[0].port", "70000 is above 65535");
	model_refuse(m, "Service", "ns", "a", "spec.ports[0].port", "70000 is above 65535");
	model_refuse(m, "Service", "ns", "a", "spec.clusterIP", "not an address");
	model_refuse(m, "Node", NULL, "n1", "status", "missing");
	CHECK_EQ(model_refusals_count(m), 2);
	CHECK_EQ(model_refusals_total(m), 3);
	CHECK_EQ(model_refusals_each(m, NULL, 0, on_refusal, &f), 2);
	CHECK_EQ(f.n, 3);
	CHECK_STR(f.text, "Service ns/a spec.clusterIP: not an address");
	model_refuse(m, "Service", "ns", "a", NULL, NULL);
	CHECK_EQ(model_refusals_count(m), 1);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(field, sizeof(field), "f%u", i);
		model_refuse(m, "Service", "ns", "b", field, "wrong");
	}
	f.n = 0;
	model_refusals_each(m, "Service/", 0, on_refusal, &f);
	CHECK_EQ(f.n, 32);
	model_free(m);
}

static void sources_gate(void)
{
	struct model_source_status st = {
		.path = "/api/v1/services", .phase = "Listing", .lists = 3};
	struct model_source_state out;
	struct model *m = model_new();

	notified = 0;
	model_set_notify(m, on_dirty, NULL);
	CHECK(model_sources_complete(m));
	model_source_await(m, SOURCE_SERVICES);
	CHECK_EQ(notified, 1);
	CHECK(!model_sources_complete(m));
	model_source_complete(m, SOURCE_NODE); /* not awaited: no matter */
	CHECK(!model_sources_complete(m));
	CHECK(model_globals_changed(m));
	CHECK(!model_globals_changed(m));
	/* Who was told of this service left it alone, and is told when it can be taken. */
	CHECK_EQ(model_service_set(m, service("a", 80)), 0);
	notified = 0;
	model_source_complete(m, SOURCE_SERVICES);
	CHECK(model_sources_complete(m));
	CHECK_EQ(notified, 1);
	model_source_complete(m, SOURCE_SERVICES);
	CHECK_EQ(notified, 1);
	model_source_report(m, SOURCE_SERVICES, &st);
	st.phase = "Watching";
	st.last_error = "cut";
	model_source_report(m, SOURCE_SERVICES, &st);
	model_source_get(m, SOURCE_SERVICES, &out);
	CHECK(out.awaited && out.complete);
	CHECK_STR(out.status.phase, "Watching");
	CHECK_STR(out.status.last_error, "cut");
	CHECK_STR(out.status.path, "/api/v1/services");
	CHECK_EQ(out.status.lists, 3);
	model_free(m);
}

static void service_ranges_are_copied_and_compared(void)
{
	struct ip_prefix p[2];
	const struct ip_prefix *out;
	struct model *m = model_new();

	memset(p, 0, sizeof(p));
	CHECK_EQ(ip_prefix_parse("10.96.0.0/16", &p[0]), 0);
	CHECK_EQ(ip_prefix_parse("fd00:96::/112", &p[1]), 0);
	CHECK_EQ(model_service_cidrs_set(m, p, 2), 0);
	CHECK(model_globals_changed(m));
	CHECK_EQ(model_service_cidrs_set(m, p, 2), 0);
	CHECK(!model_globals_changed(m));
	p[0].len = 17;
	CHECK_EQ(model_service_cidrs(m, &out), 2);
	CHECK_EQ(out[0].len, 16);
	CHECK_EQ(model_service_cidrs_set(m, NULL, 0), 0);
	CHECK_EQ(model_service_cidrs(m, &out), 0);
	model_free(m);
}

static struct model *shared;
static _Atomic bool stop;

static void *reader(void *arg)
{
	unsigned *reads = arg;

	while (!atomic_load(&stop) || *reads == 0) {
		struct page p = {.ordered = true};

		model_read_lock(shared);
		model_each(shared, MODEL_SERVICE, NULL, 50, on_object, &p);
		model_read_unlock(shared);
		(*reads)++;
	}
	return NULL;
}

/* CUnit takes no lock: the reader's checks run while this thread makes none. */
static void another_thread_reads_while_this_one_writes(void)
{
	unsigned reads = 0, bad = 0;
	pthread_t thread;
	char name[16];

	shared = model_new();
	atomic_store(&stop, false);
	REQUIRE_EQ(pthread_create(&thread, NULL, reader, &reads), 0);
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "s%u", i % 50);
		if (i % 3 == 0)
			model_service_remove(shared, "ns", name, OWNER_KUBERNETES);
		else
			bad += model_service_set(shared, service(name, (uint16_t)(i % 7 + 1))) < 0;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	CHECK_EQ(bad, 0);
	CHECK_GT(reads, 0);
	model_free(shared);
}

/* Against a plain array of flags. */
static void the_ordered_map_agrees_with_a_naive_one(void)
{
	bool there[300] = {false};
	struct omap m;
	char key[16];

	omap_init(&m);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned k = test_rand_below(300);
		struct omap_node *n;

		snprintf(key, sizeof(key), "%03u", k);
		switch (test_rand_below(4)) {
		case 0:
			CHECK_EQ(omap_remove(&m, key) != NULL, there[k]);
			there[k] = false;
			break;
		case 1:
			CHECK_EQ(omap_find(&m, key) != NULL, there[k]);
			break;
		case 2:
			n = omap_after(&m, key);
			do
				k++;
			while (k < 300 && !there[k]);
			CHECK_EQ(n != NULL, k < 300);
			if (n != NULL)
				CHECK_EQ((unsigned)atoi(n->key), k);
			break;
		default:
			n = omap_put(&m, key);
			n->value = &m;
			there[k] = true;
		}
	}
	unsigned count = 0;

	for (unsigned k = 0; k < 300; k++)
		count += there[k];
	CHECK_EQ(m.count, count);
	omap_fini(&m);
}

TEST_SUITE("model", CASE(equal_objects_are_no_change), CASE(contradictions_are_refused),
	CASE(another_owner_is_refused), CASE(a_removed_object_waits_for_the_reconciler),
	CASE(lists_are_ordered_and_a_cursor_survives_change),
	CASE(watchers_see_changes_or_are_told_to_start_over),
	CASE(refusals_are_kept_by_object_and_bounded), CASE(sources_gate),
	CASE(service_ranges_are_copied_and_compared),
	CASE(another_thread_reads_while_this_one_writes),
	CASE(the_ordered_map_agrees_with_a_naive_one))
