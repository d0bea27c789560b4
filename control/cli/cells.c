/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Cells that are more than one value of a document (see table.c). Values have no spaces, except in
 * last columns, so that awk can take the output apart. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/cli/cells.h"

const json_t *at_path(const json_t *item, const char *path)
{
	char key[64];

	while (item != NULL && *path != '\0') {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		item = json_object_get(item, key);
		path += n + (path[n] == '.');
	}
	return item;
}

static void append(char *out, size_t size, const char *s)
{
	size_t used = strlen(out);

	if (used < size)
		snprintf(out + used, size - used, "%s%s", used > 0 ? "," : "", s);
}

void cell_value(const json_t *value, char *out, size_t size)
{
	char one[128];
	const json_t *item;
	size_t i;

	out[0] = '\0';
	switch (value != NULL ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		snprintf(out, size, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(out, size, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		snprintf(out, size, "%.1f", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		snprintf(out, size, "%s", json_is_true(value) ? "true" : "false");
		break;
	case JSON_ARRAY:
		json_array_foreach (value, i, item) {
			cell_value(item, one, sizeof(one));
			append(out, size, one);
		}
		break;
	default:
		break;
	}
	if (out[0] == '\0')
		snprintf(out, size, "<none>");
}

static const char *text_at(const json_t *item, const char *path)
{
	const char *s = json_string_value(at_path(item, path));

	return s != NULL ? s : "";
}

static void duration(long long seconds, char *out, size_t size)
{
	if (seconds < 120)
		snprintf(out, size, "%llds", seconds);
	else if (seconds < 7200)
		snprintf(out, size, "%lldm", seconds / 60);
	else if (seconds < 48 * 3600)
		snprintf(out, size, "%lldh", seconds / 3600);
	else
		snprintf(out, size, "%lldd", seconds / 86400);
}

static void cell_seconds(const json_t *item, const char *path, char *out, size_t size)
{
	const json_t *v = at_path(item, path);

	if (json_is_integer(v))
		duration((long long)json_integer_value(v), out, size);
	else
		snprintf(out, size, "<unknown>");
}

/* --- services -------------------------------------------------------------------------------- */

static void frontend_addresses(
	const json_t *item, const char *kind, const char *other, char *out, size_t size)
{
	const json_t *list = at_path(item, "spec.frontends"), *f;
	size_t i;

	out[0] = '\0';
	json_array_foreach (list, i, f) {
		const char *k = text_at(f, "kind"), *address = text_at(f, "address");

		if (strcmp(k, kind) != 0 && strcmp(k, other) != 0)
			continue;
		/* Once for each port; the addresses repeat. */
		if (strstr(out, address) == NULL)
			append(out, size, address);
	}
	if (out[0] == '\0')
		snprintf(out, size, "<none>");
}

void cell_cluster_ips(const json_t *item, const json_t *parent, char *out, size_t size)
{
	frontend_addresses(item, "ClusterIP", "ClusterIP", out, size);
}

void cell_external_ips(const json_t *item, const json_t *parent, char *out, size_t size)
{
	frontend_addresses(item, "LoadBalancer", "ExternalIP", out, size);
}

void cell_service_ports(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *list = at_path(item, "spec.frontends"), *f;
	char one[64];
	size_t i;

	out[0] = '\0';
	json_array_foreach (list, i, f) {
		bool node = strcmp(text_at(f, "kind"), "NodePort") == 0;

		snprintf(one, sizeof(one), "%s%lld/%s", node ? "node:" : "",
			(long long)json_integer_value(at_path(f, "port")), text_at(f, "protocol"));
		if (strstr(out, one) == NULL)
			append(out, size, one);
	}
	if (out[0] == '\0')
		snprintf(out, size, "<none>");
}

void cell_ready(const json_t *item, const json_t *parent, char *out, size_t size)
{
	snprintf(out, size, "%lld/%lld",
		(long long)json_integer_value(at_path(item, "status.backends.ready")),
		(long long)json_integer_value(at_path(item, "status.backends.total")));
}

void cell_programmed(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *c = json_array_get(at_path(item, "status.conditions"), 0);

	cell_value(json_object_get(c, "reason"), out, size);
}

void cell_message(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *c = json_array_get(at_path(item, "status.conditions"), 0);
	const char *message = text_at(c, "message");

	snprintf(out, size, "%s", message[0] != '\0' ? message : "<none>");
}

void cell_age(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const char *created = text_at(item, "metadata.creationTimestamp");
	struct tm tm;

	memset(&tm, 0, sizeof(tm));
	if (strptime(created, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
		snprintf(out, size, "<unknown>");
	else
		duration((long long)(time(NULL) - timegm(&tm)), out, size);
}

void cell_policies(const json_t *item, const json_t *parent, char *out, size_t size)
{
	snprintf(out, size, "internal:%s,external:%s", text_at(item, "spec.internalTrafficPolicy"),
		text_at(item, "spec.externalTrafficPolicy"));
}

/* --- addresses and ports --------------------------------------------------------------------- */

static void endpoint(const json_t *item, const char *addr, const char *port, char *out, size_t size)
{
	const char *a = text_at(item, addr);
	long long p = (long long)json_integer_value(at_path(item, port));

	if (a[0] == '\0')
		snprintf(out, size, "<none>");
	else
		snprintf(out, size, strchr(a, ':') != NULL ? "[%s]:%lld" : "%s:%lld", a, p);
}

void cell_address(const json_t *item, const json_t *parent, char *out, size_t size)
{
	endpoint(item, "address", "port", out, size);
}

void cell_lists(const json_t *item, const json_t *parent, char *out, size_t size)
{
	out[0] = '\0';
	if (json_is_true(at_path(item, "inClusterList")))
		append(out, size, "cluster");
	if (json_is_true(at_path(item, "inLocalList")))
		append(out, size, "local");
	if (out[0] == '\0')
		snprintf(out, size, "<none>");
}

void cell_flow_src(const json_t *item, const json_t *parent, char *out, size_t size)
{
	endpoint(item, "original.src", "original.srcPort", out, size);
}

void cell_flow_dst(const json_t *item, const json_t *parent, char *out, size_t size)
{
	endpoint(item, "original.dst", "original.dstPort", out, size);
}

void cell_flow_backend(const json_t *item, const json_t *parent, char *out, size_t size)
{
	endpoint(item, "backend.address", "backend.port", out, size);
}

/* What the replies go to: differs from the source when the source was translated. */
void cell_flow_reply(const json_t *item, const json_t *parent, char *out, size_t size)
{
	endpoint(item, "reply.dst", "reply.dstPort", out, size);
}

void cell_flow_service(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const char *port = text_at(item, "service.port");

	if (!json_is_object(at_path(item, "service")))
		snprintf(out, size, "<none>");
	else
		snprintf(out, size, "%s/%s%s%s", text_at(item, "service.namespace"),
			text_at(item, "service.name"), port[0] != '\0' ? ":" : "", port);
}

/* "hw", "pt" (hardware marks, a worker forwards) or "sw". */
static const char *place(const char *in)
{
	return in[0] == 'h' ? "hw" : in[0] == 'p' ? "pt" : "sw";
}

/* "hw/hw": forward and reply. */
void cell_flow_offload(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *o = json_object_get(item, "offload");
	const char *in[2] = {
		json_string_value(json_object_get(json_object_get(o, "forward"), "in")),
		json_string_value(json_object_get(json_object_get(o, "reply"), "in"))};

	if (in[0] == NULL || in[1] == NULL)
		return;
	snprintf(out, size, "%s/%s", place(in[0]), place(in[1]));
}

void cell_flow_hw_packets(const json_t *item, const json_t *parent, char *out, size_t size)
{
	static const char *const dirs[] = {"forward", "reply"};
	unsigned long long n = 0;

	for (int d = 0; d < 2; d++) {
		const json_t *leg = json_object_get(json_object_get(item, "offload"), dirs[d]);
		const char *text = json_string_value(json_object_get(leg, "hwPackets"));

		n += text != NULL ? strtoull(text, NULL, 10) : 0;
	}
	snprintf(out, size, "%llu", n);
}

void cell_flow_why(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *leg = json_object_get(json_object_get(item, "offload"), "forward");
	const char *why = json_string_value(json_object_get(leg, "reason"));

	snprintf(out, size, "%s", why != NULL ? why : "");
}

/* "shape: the driver's words", of the directions that have any. */
void cell_flow_last_error(const json_t *item, const json_t *parent, char *out, size_t size)
{
	static const char *const dirs[] = {"forward", "reply"};
	size_t at = 0;

	out[0] = '\0';
	for (int d = 0; d < 2; d++) {
		const json_t *leg = json_object_get(json_object_get(item, "offload"), dirs[d]);
		const json_t *e = json_object_get(leg, "lastError");

		if (e != NULL && at < size)
			at += (size_t)snprintf(out + at, size - at, "%s%s %s: %s",
				at != 0 ? "; " : "", dirs[d], text_at(e, "class"),
				text_at(e, "text"));
	}
}

/* Shapes that the port takes, of those that were asked for. */
void cell_offload_shapes(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *matrix = json_object_get(item, "matrix"), *row;
	size_t i, can = 0;

	json_array_foreach (matrix, i, row) {
		const char *support = json_string_value(json_object_get(row, "support"));

		can += support != NULL && strcmp(support, "Supported") == 0;
	}
	snprintf(out, size, "%zu/%zu", can, json_array_size(matrix));
}

void cell_flow_idle(const json_t *item, const json_t *parent, char *out, size_t size)
{
	cell_seconds(item, "idleSeconds", out, size);
}

void cell_flow_age(const json_t *item, const json_t *parent, char *out, size_t size)
{
	cell_seconds(item, "ageSeconds", out, size);
}

void cell_updated(const json_t *item, const json_t *parent, char *out, size_t size)
{
	cell_seconds(item, "updatedSeconds", out, size);
}

/* --- ports, workers, pipelines --------------------------------------------------------------- */

void cell_vport_port(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const char *port = text_at(item, "spec.port"), *kind = text_at(item, "spec.newPort.kind");

	if (port[0] != '\0')
		snprintf(out, size, "%s", port);
	else
		snprintf(out, size, "(%s)", kind);
}

void cell_queues(const json_t *item, const json_t *parent, char *out, size_t size)
{
	snprintf(out, size, "%lld/%lld",
		(long long)json_integer_value(at_path(item, "status.queues.rx")),
		(long long)json_integer_value(at_path(item, "status.queues.tx")));
}

void cell_parent_name(const json_t *item, const json_t *parent, char *out, size_t size)
{
	cell_value(at_path(parent, "metadata.name"), out, size);
}

void cell_stage_tables(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const json_t *list = at_path(item, "tables"), *t;
	char one[128];
	size_t i;

	out[0] = '\0';
	json_array_foreach (list, i, t) {
		const char *capacity = text_at(t, "capacity");

		snprintf(one, sizeof(one), "%s=%s%s%s", text_at(t, "name"), text_at(t, "used"),
			capacity[0] != '\0' ? "/" : "", capacity);
		append(out, size, one);
	}
	if (out[0] == '\0')
		snprintf(out, size, "<none>");
}

void cell_capacity(const json_t *item, const json_t *parent, char *out, size_t size)
{
	const char *capacity = text_at(item, "capacity");

	snprintf(out, size, "%s", capacity[0] != '\0' ? capacity : "<grows>");
}
