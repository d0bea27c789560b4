/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Reads and checks the JSON of a vport, field by field (see vport_body.h). A field that is not
 * known is refused: a misspelt one must not become a default. */

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/api/query.h"
#include "control/api/vport_body.h"
#include "control/model.h"
#include "core/dataplane.h"
#include "core/limits.h"

#define MTU_MIN 68 /* RFC 791; a vport with IPv6 addresses needs 1280, which the model checks */
#define MTU_MAX 9216

static int fault(struct body_error *err, const char *pointer, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fault(struct body_error *err, const char *pointer, const char *fmt, ...)
{
	va_list ap;

	snprintf(err->pointer, sizeof(err->pointer), "%s", pointer);
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int check_keys(
	json_t *object, const char *at, const char *const *known, struct body_error *err)
{
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		const char *const *k = known;

		while (*k != NULL && strcmp(*k, key) != 0)
			k++;
		if (*k == NULL) {
			char pointer[64];

			snprintf(pointer, sizeof(pointer), "%s/%.40s", at, key);
			return fault(err, pointer, "no such field");
		}
	}
	return 0;
}

static int read_uint(json_t *spec, const char *at, const char *key, json_int_t min, json_int_t max,
	uint16_t *out, struct body_error *err)
{
	json_t *v = json_object_get(spec, key);
	char pointer[64];

	if (v == NULL)
		return 0;
	snprintf(pointer, sizeof(pointer), "%s/%s", at, key);
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return fault(
			err, pointer, "must be a whole number from %d to %d", (int)min, (int)max);
	*out = (uint16_t)json_integer_value(v);
	return 0;
}

static int read_bool(
	json_t *spec, const char *at, const char *key, bool *out, struct body_error *err)
{
	json_t *v = json_object_get(spec, key);
	char pointer[64];

	if (v == NULL)
		return 0;
	snprintf(pointer, sizeof(pointer), "%s/%s", at, key);
	if (!json_is_boolean(v))
		return fault(err, pointer, "must be true or false");
	*out = json_is_true(v);
	return 0;
}

static int read_text(json_t *spec, const char *at, const char *key, size_t max, char **out,
	struct body_error *err)
{
	json_t *v = json_object_get(spec, key);
	char pointer[64];

	if (v == NULL)
		return 0;
	snprintf(pointer, sizeof(pointer), "%s/%s", at, key);
	if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) > max)
		return fault(err, pointer, "must be a text of 1 to %zu bytes", max);
	free(*out);
	*out = strdup(json_string_value(v));
	return *out == NULL ? -ENOMEM : 0;
}

static int read_mac(
	json_t *spec, const char *key, bool *has, uint8_t mac[6], struct body_error *err)
{
	json_t *v = json_object_get(spec, key);
	char pointer[64], end;

	if (v == NULL)
		return 0;
	snprintf(pointer, sizeof(pointer), "/spec/%s", key);
	if (!json_is_string(v) || json_string_length(v) != 17 ||
		sscanf(json_string_value(v), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0],
			&mac[1], &mac[2], &mac[3], &mac[4], &mac[5], &end) != 6)
		return fault(err, pointer, "must be a MAC address like 02:00:00:00:00:01");
	if (mac[0] & 1)
		return fault(err, pointer, "is a multicast address");
	*has = true;
	return 0;
}

/* An address, alone or with a prefix length; host bits are kept. */
static int parse_address(const char *text, struct ip_prefix *out)
{
	const char *slash = strchr(text, '/');
	char host[IP_TEXT_MAX];
	uint64_t len, bits;
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);

	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (ip_parse(host, &out->addr) < 0)
		return -EINVAL;
	out->family = (uint8_t)ip_family(&out->addr);
	bits = out->family == IP_V4 ? 32 : 128;
	len = bits;
	if (slash != NULL && parse_uint(slash + 1, bits, &len) < 0)
		return -EINVAL;
	out->len = (uint8_t)len;
	return 0;
}

static int read_addresses(json_t *spec, struct model_vport *v, struct body_error *err)
{
	json_t *list = json_object_get(spec, "addresses"), *item;
	char pointer[64];
	size_t i;

	if (list == NULL)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > VPORT_ADDRS_MAX)
		return fault(err, "/spec/addresses", "must be a list of at most %d addresses",
			VPORT_ADDRS_MAX);
	v->addrs = calloc(json_array_size(list) + 1, sizeof(*v->addrs));
	if (v->addrs == NULL)
		return -ENOMEM;
	json_array_foreach (list, i, item) {
		if (json_is_string(item) &&
			parse_address(json_string_value(item), &v->addrs[v->n_addrs]) == 0) {
			v->n_addrs++;
			continue;
		}
		snprintf(pointer, sizeof(pointer), "/spec/addresses/%zu", i);
		return fault(err, pointer, "must be an address like 10.244.1.5 or 10.0.0.1/24");
	}
	return 0;
}

static int read_role(json_t *spec, struct model_vport *v, struct body_error *err)
{
	static const struct {
		const char *name;
		uint8_t role;
	} roles[] = {{"Pod", VPORT_POD}, {"Host", VPORT_HOST}, {"Uplink", VPORT_UPLINK}};
	const char *text = json_string_value(json_object_get(spec, "role"));

	for (size_t i = 0; text != NULL && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(text, roles[i].name) == 0) {
			v->role = roles[i].role;
			return 0;
		}
	return fault(err, "/spec/role", "must be Pod, Host or Uplink");
}

static int read_new_port(json_t *spec, struct model_vport *v, struct body_error *err)
{
	static const char *const known[] = {"kind", "interface", "path", "pci", "device", "server",
		"memifId", "queues", "descriptors", "mtu", NULL};
	static const char at[] = "/spec/newPort";
	json_t *port = json_object_get(spec, "newPort");
	struct model_port *p;
	uint16_t memif_id = 0;
	const char *kind;
	int rc;

	if (port == NULL)
		return 0;
	if (!json_is_object(port))
		return fault(err, at, "must be an object");
	v->own_port = p = model_port_new(v->name);
	if (p == NULL)
		return -ENOMEM;
	rc = check_keys(port, at, known, err);
	if (rc < 0)
		return rc;
	kind = json_string_value(json_object_get(port, "kind"));
	p->kind = 0;
	while (kind != NULL && p->kind < PORT_KINDS &&
		strcasecmp(kind, port_kind_names[p->kind]) != 0)
		p->kind++;
	if (kind == NULL || p->kind == PORT_KINDS)
		return fault(err, "/spec/newPort/kind", "is not a kind of port");
	rc = read_text(port, at, "interface", 15, &p->iface, err);
	if (rc == 0)
		rc = read_text(port, at, "path", 107, &p->path, err);
	if (rc == 0)
		rc = read_text(port, at, "pci", 31, &p->address, err);
	if (rc == 0)
		rc = read_text(port, at, "device", 31, &p->device, err);
	if (rc == 0)
		rc = read_bool(port, at, "server", &p->server, err);
	if (rc == 0)
		rc = read_uint(port, at, "memifId", 0, UINT16_MAX, &memif_id, err);
	if (rc == 0)
		rc = read_uint(port, at, "queues", 1, WORKERS_MAX, &p->queues, err);
	if (rc == 0)
		rc = read_uint(port, at, "descriptors", 32, 32768, &p->descriptors, err);
	if (rc == 0)
		rc = read_uint(port, at, "mtu", MTU_MIN, MTU_MAX, &p->mtu, err);
	p->memif_id = memif_id;
	return rc;
}

static int read_spec(json_t *spec, struct model_vport *v, struct body_error *err)
{
	static const char *const known[] = {"role", "port", "newPort", "vlan", "mtu", "zone",
		"sourceGuard", "mac", "peerMac", "addresses", NULL};
	int rc = check_keys(spec, "/spec", known, err);

	if (rc == 0)
		rc = read_role(spec, v, err);
	if (rc < 0)
		return rc;
	v->source_guard = v->role == VPORT_POD;
	rc = read_text(spec, "/spec", "port", VPORT_NAME_MAX - 1, &v->port, err);
	if (rc == 0)
		rc = read_new_port(spec, v, err);
	if (rc == 0 && (v->port == NULL) == (v->own_port == NULL))
		rc = fault(err, "/spec/port", "name a configured port, or describe newPort");
	if (rc == 0)
		rc = read_uint(spec, "/spec", "vlan", 0, 4094, &v->vlan, err);
	if (rc == 0)
		rc = read_uint(spec, "/spec", "mtu", MTU_MIN, MTU_MAX, &v->mtu, err);
	if (rc == 0)
		rc = read_uint(spec, "/spec", "zone", 0, UINT16_MAX, &v->zone, err);
	if (rc == 0)
		rc = read_bool(spec, "/spec", "sourceGuard", &v->source_guard, err);
	if (rc == 0)
		rc = read_mac(spec, "mac", &v->has_mac, v->mac, err);
	if (rc == 0)
		rc = read_mac(spec, "peerMac", &v->has_peer_mac, v->peer_mac, err);
	if (rc == 0)
		rc = read_addresses(spec, v, err);
	return rc;
}

static bool name_is_good(const char *name)
{
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.");

	return n > 0 && n < VPORT_NAME_MAX && name[n] == '\0' && name[0] != '-' && name[0] != '.';
}

static int read_root(json_t *root, struct model_vport **out, struct body_error *err)
{
	static const char *const known[] = {"kind", "apiVersion", "metadata", "spec", NULL};
	json_t *metadata = json_object_get(root, "metadata");
	json_t *spec = json_object_get(root, "spec");
	const char *kind = json_string_value(json_object_get(root, "kind"));
	const char *name = json_string_value(json_object_get(metadata, "name"));
	int rc;

	if (!json_is_object(root))
		return fault(err, "", "must be an object");
	rc = check_keys(root, "", known, err);
	if (rc < 0)
		return rc;
	if (json_object_get(root, "kind") != NULL && (kind == NULL || strcmp(kind, "VPort") != 0))
		return fault(err, "/kind", "must be VPort");
	if (name == NULL || !name_is_good(name))
		return fault(err, "/metadata/name",
			"must be 1 to %d letters, digits, '-', '_' or '.'", VPORT_NAME_MAX - 1);
	if (!json_is_object(spec))
		return fault(err, "/spec", "must be an object");
	*out = model_vport_new(name);
	if (*out == NULL)
		return -ENOMEM;
	(*out)->owner = OWNER_API;
	return read_spec(spec, *out, err);
}

int vport_body_parse(const char *text, size_t len, struct model_vport **out, struct body_error *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	int rc;

	*out = NULL;
	if (root == NULL)
		return fault(err, "", "not JSON: line %d, column %d", why.line, why.column);
	rc = read_root(root, out, err);
	json_decref(root);
	if (rc < 0) {
		model_vport_free(*out);
		*out = NULL;
	}
	return rc;
}
