/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Parsing and matching of flow filters, cursors and ids (see flow_filter.h). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "control/api/cursor.h"
#include "control/api/flow_filter.h"
#include "core/offload.h"

const char *const flow_field_names[FLOW_FIELDS + 1] = {
	[FLOW_FIELD_IP] = "ip",
	[FLOW_FIELD_SRC] = "src",
	[FLOW_FIELD_DST] = "dst",
	[FLOW_FIELD_PORT] = "port",
	[FLOW_FIELD_SRC_PORT] = "srcPort",
	[FLOW_FIELD_DST_PORT] = "dstPort",
	[FLOW_FIELD_PROTO] = "proto",
	[FLOW_FIELD_FAMILY] = "family",
	[FLOW_FIELD_SERVICE] = "service",
	[FLOW_FIELD_NAMESPACE] = "namespace",
	[FLOW_FIELD_BACKEND] = "backend",
	[FLOW_FIELD_STATE] = "state",
	[FLOW_FIELD_NAT] = "nat",
	[FLOW_FIELD_UNREPLIED] = "unreplied",
	[FLOW_FIELD_WORKER] = "worker",
	[FLOW_FIELD_IN_PORT] = "inPort",
	[FLOW_FIELD_MIN_AGE] = "minAgeSeconds",
	[FLOW_FIELD_MIN_IDLE] = "minIdleSeconds",
	[FLOW_FIELD_OFFLOAD] = "offload",
	[FLOW_FIELD_REASON] = "reason",
};

/* --- parsing --------------------------------------------------------------------------------- */

static int parse_prefix(const char *text, struct ip_prefix *out)
{
	if (strchr(text, '/') != NULL)
		return ip_prefix_parse(text, out);
	if (ip_parse(text, &out->addr) < 0)
		return -EINVAL;
	out->family = (uint8_t)ip_family(&out->addr);
	out->len = out->family == IP_V4 ? 32 : 128;
	return 0;
}

static int parse_range(const char *text, uint64_t max, struct flow_term *t)
{
	const char *dash = strchr(text, '-');
	char low[24];
	uint64_t a, b;

	if (dash == NULL) {
		if (parse_uint(text, max, &a) < 0)
			return -EINVAL;
		b = a;
	} else {
		if ((size_t)(dash - text) >= sizeof(low))
			return -EINVAL;
		memcpy(low, text, (size_t)(dash - text));
		low[dash - text] = '\0';
		if (parse_uint(low, max, &a) < 0 || parse_uint(dash + 1, max, &b) < 0 || a > b)
			return -EINVAL;
	}
	t->low = (uint32_t)a;
	t->high = (uint32_t)b;
	return 0;
}

int flow_proto_parse(const char *text, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} names[] = {
		{"tcp", IP_PROTO_TCP},
		{"udp", IP_PROTO_UDP},
		{"sctp", IP_PROTO_SCTP},
		{"icmp", IP_PROTO_ICMP},
		{"icmpv6", IP_PROTO_ICMPV6},
	};
	uint64_t number;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(text, names[i].name) != 0)
			continue;
		*out = names[i].proto;
		return 0;
	}
	if (parse_uint(text, UINT8_MAX, &number) < 0)
		return -EINVAL;
	*out = (uint8_t)number;
	return 0;
}

static int parse_proto(const char *text, struct flow_term *t)
{
	uint8_t proto;

	if (flow_proto_parse(text, &proto) < 0)
		return -EINVAL;
	t->low = t->high = proto;
	return 0;
}

/* ip, ip:port, [ip]:port; a bare IPv6 address has no port. */
static int parse_backend(const char *text, struct flow_term *t)
{
	const char *colon = strrchr(text, ':');
	char host[IP_TEXT_MAX + 2];
	size_t n;

	t->low = 0;
	t->high = UINT16_MAX;
	if (text[0] != '[' && (colon == NULL || strchr(text, ':') != colon))
		return strchr(text, '/') != NULL ? -EINVAL : parse_prefix(text, &t->prefix);
	if (colon == NULL || parse_range(colon + 1, UINT16_MAX, t) < 0)
		return -EINVAL;
	if (text[0] == '[') {
		if (colon == text || colon[-1] != ']')
			return -EINVAL;
		text++;
		n = (size_t)(colon - text) - 1;
	} else {
		n = (size_t)(colon - text);
	}
	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	return strchr(host, '/') != NULL ? -EINVAL : parse_prefix(host, &t->prefix);
}

static int parse_choice(const char *text, const char *const *names, uint32_t n, struct flow_term *t)
{
	for (uint32_t i = 0; i < n; i++) {
		if (names[i] == NULL || strcasecmp(text, names[i]) != 0)
			continue;
		t->low = t->high = i;
		return 0;
	}
	return -EINVAL;
}

static int parse_state(const char *text, struct flow_term *t)
{
	for (uint32_t s = FLOW_NEW; s < FLOW_STATES; s++) {
		if (strcasecmp(text, flow_state_name((enum flow_state)s)) != 0)
			continue;
		t->low = t->high = s;
		return 0;
	}
	return -EINVAL;
}

static const char *const nat_names[] = {"None", "Dnat", "Snat", "Full"};
static const char *const family_names[] = {"IPv4", "IPv6"};
static const char *const place_names[] = {"hardware", "software", "partial"};
static const char *const truth_names[] = {"false", "true"};

static int parse_value(const char *text, struct flow_term *t)
{
	switch (t->field) {
	case FLOW_FIELD_IP:
	case FLOW_FIELD_SRC:
	case FLOW_FIELD_DST:
		return parse_prefix(text, &t->prefix);
	case FLOW_FIELD_PORT:
	case FLOW_FIELD_SRC_PORT:
	case FLOW_FIELD_DST_PORT:
		return parse_range(text, UINT16_MAX, t);
	case FLOW_FIELD_PROTO:
		return parse_proto(text, t);
	case FLOW_FIELD_FAMILY:
		return parse_choice(text, family_names, 2, t);
	case FLOW_FIELD_SERVICE:
		return strchr(text, '/') != NULL ? 0 : -EINVAL;
	case FLOW_FIELD_NAMESPACE:
	case FLOW_FIELD_IN_PORT:
		return text[0] != '\0' ? 0 : -EINVAL;
	case FLOW_FIELD_BACKEND:
		return parse_backend(text, t);
	case FLOW_FIELD_STATE:
		return parse_state(text, t);
	case FLOW_FIELD_NAT:
		return parse_choice(text, nat_names, 4, t);
	case FLOW_FIELD_OFFLOAD:
		return parse_choice(text, place_names, 3, t);
	case FLOW_FIELD_REASON:
		return parse_choice(text, offload_reason_names, OFFLOAD_REASONS, t);
	case FLOW_FIELD_UNREPLIED:
		return parse_choice(text, truth_names, 2, t);
	case FLOW_FIELD_WORKER:
		return parse_range(text, WORKERS_MAX - 1, t);
	case FLOW_FIELD_MIN_AGE:
	case FLOW_FIELD_MIN_IDLE:
		if (strchr(text, '-') != NULL || parse_range(text, 4000000, t) < 0)
			return -EINVAL;
		return 0;
	case FLOW_FIELDS:
		break;
	}
	return -EINVAL;
}

static const char *what_is_wanted(enum flow_field f)
{
	switch (f) {
	case FLOW_FIELD_IP:
	case FLOW_FIELD_SRC:
	case FLOW_FIELD_DST:
		return "an IP address or a prefix";
	case FLOW_FIELD_PORT:
	case FLOW_FIELD_SRC_PORT:
	case FLOW_FIELD_DST_PORT:
		return "a port or a range like 1000-2000";
	case FLOW_FIELD_PROTO:
		return "TCP, UDP, SCTP, ICMP, ICMPv6 or a protocol number";
	case FLOW_FIELD_FAMILY:
		return "IPv4 or IPv6";
	case FLOW_FIELD_SERVICE:
		return "namespace/name or namespace/name:port";
	case FLOW_FIELD_BACKEND:
		return "an address, address:port or [address]:port";
	case FLOW_FIELD_STATE:
		return "New, Replied, Established, Fin, Closing or Reset";
	case FLOW_FIELD_NAT:
		return "None, Dnat, Snat or Full";
	case FLOW_FIELD_OFFLOAD:
		return "hardware, partial or software";
	case FLOW_FIELD_REASON:
		return "a reason of /api/v1/offload/rejections";
	case FLOW_FIELD_UNREPLIED:
		return "true or false";
	case FLOW_FIELD_WORKER:
		return "a worker's number";
	case FLOW_FIELD_MIN_AGE:
	case FLOW_FIELD_MIN_IDLE:
		return "a number of seconds";
	default:
		return "a name";
	}
}

/* FNV-1a; only to tell one filter's cursor from another's. */
static uint64_t hash_text(uint64_t h, const char *s)
{
	do
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	while (*s++ != '\0');
	return h;
}

int flow_filter_parse(const struct query *q, struct flow_filter *f, struct query_error *err)
{
	memset(f, 0, sizeof(*f));
	f->hash = UINT64_C(0xcbf29ce484222325);
	for (uint32_t i = 0; i < q->n; i++) {
		const char *value = q->at[i].value;
		struct flow_term t;
		uint32_t field = 0;

		while (field < FLOW_FIELDS && strcmp(flow_field_names[field], q->at[i].name) != 0)
			field++;
		if (field == FLOW_FIELDS)
			continue;
		if (f->n == FLOW_FILTER_TERMS_MAX) {
			query_error_set(err, "more than %d filters", FLOW_FILTER_TERMS_MAX);
			return -EINVAL;
		}
		memset(&t, 0, sizeof(t));
		t.field = (enum flow_field)field;
		t.negate = value[0] == '!';
		t.text = value + t.negate;
		if (parse_value(t.text, &t) < 0) {
			query_error_set(err, "parameter %s must be %s", flow_field_names[field],
				what_is_wanted(t.field));
			return -EINVAL;
		}
		f->hash = hash_text(hash_text(f->hash, flow_field_names[field]), value);
		f->term[f->n++] = t;
	}
	return 0;
}

/* --- matching -------------------------------------------------------------------------------- */

static bool inside(const struct ip_prefix *p, const uint8_t addr[16])
{
	struct ip_addr a = ip_from_v6(addr);

	return ip_prefix_contains(p, &a);
}

static bool between(const struct flow_term *t, uint16_t port_be)
{
	uint16_t port = ntohs(port_be);

	return port >= t->low && port <= t->high;
}

static uint32_t nat_of(const struct flow_view *v)
{
	uint8_t flags = atomic_load_explicit(&v->meta.flags, memory_order_relaxed);

	return (flags & FLOW_F_DNAT ? 1 : 0) + (flags & FLOW_F_SNAT ? 2 : 0);
}

const char *flow_nat_name(const struct flow_view *v)
{
	return nat_names[nat_of(v)];
}

/* want "ns/name" fits every port of it, "ns/name:port" that one. */
static bool service_fits(const char *want, const char *have)
{
	size_t n = strlen(want);

	if (have == NULL || strncmp(want, have, n) != 0)
		return false;
	return have[n] == '\0' || (have[n] == ':' && strchr(want, ':') == NULL);
}

static bool namespace_fits(const char *want, const char *have)
{
	size_t n = strlen(want);

	return have != NULL && strncmp(want, have, n) == 0 && have[n] == '/';
}

/* Hardware, partial: one direction at least. Software: neither. */
static bool offload_fits(const struct flow_filter *f, const struct flow_term *t,
	const struct flow_view *v, uint32_t now_ms)
{
	uint8_t why[2] = {0, 0};
	unsigned in = f->offload != NULL ? f->offload(f->arg, v, now_ms, why) : 0;

	if (t->field == FLOW_FIELD_OFFLOAD)
		return t->low == 0 ? (in & 3) != 0 : t->low == 1 ? in == 0 : (in >> 2) != 0;
	return t->low != 0 && (why[0] == t->low || why[1] == t->low);
}

static bool term_match(const struct flow_filter *f, const struct flow_term *t,
	const struct flow_view *v, uint32_t now_ms)
{
	const struct flow_key6 *fwd = &v->key[DIR_FORWARD], *rep = &v->key[DIR_REPLY];
	uint32_t state = atomic_load_explicit(&v->meta.state, memory_order_relaxed);
	uint32_t seen = atomic_load_explicit(&v->meta.last_seen, memory_order_relaxed);
	const char *name;

	switch (t->field) {
	case FLOW_FIELD_IP:
		return inside(&t->prefix, fwd->src) || inside(&t->prefix, fwd->dst) ||
			inside(&t->prefix, rep->src) || inside(&t->prefix, rep->dst);
	case FLOW_FIELD_SRC:
		return inside(&t->prefix, fwd->src) || inside(&t->prefix, rep->dst);
	case FLOW_FIELD_DST:
		return inside(&t->prefix, fwd->dst) || inside(&t->prefix, rep->src);
	case FLOW_FIELD_PORT:
		return between(t, fwd->sport) || between(t, fwd->dport) || between(t, rep->sport) ||
			between(t, rep->dport);
	case FLOW_FIELD_SRC_PORT:
		return between(t, fwd->sport) || between(t, rep->dport);
	case FLOW_FIELD_DST_PORT:
		return between(t, fwd->dport) || between(t, rep->sport);
	case FLOW_FIELD_PROTO:
		return fwd->proto >= t->low && fwd->proto <= t->high;
	case FLOW_FIELD_FAMILY:
		return v->family == t->low;
	case FLOW_FIELD_SERVICE:
	case FLOW_FIELD_NAMESPACE:
		if (v->cold.svc_port_id == 0 || f->service_name == NULL)
			return false;
		name = f->service_name(f->arg, v->cold.svc_port_id);
		return t->field == FLOW_FIELD_SERVICE ? service_fits(t->text, name)
						      : namespace_fits(t->text, name);
	case FLOW_FIELD_BACKEND:
		return (nat_of(v) & 1) != 0 && inside(&t->prefix, rep->src) &&
			between(t, rep->sport);
	case FLOW_FIELD_STATE:
		return state == t->low;
	case FLOW_FIELD_NAT:
		return nat_of(v) == t->low;
	case FLOW_FIELD_UNREPLIED:
		return (state == FLOW_NEW) == (t->low == 1);
	case FLOW_FIELD_WORKER:
		return v->worker >= t->low && v->worker <= t->high;
	case FLOW_FIELD_IN_PORT:
		if (f->vport_name == NULL)
			return false;
		name = f->vport_name(f->arg, v->cold.in_vport[DIR_FORWARD]);
		return name != NULL && strcmp(name, t->text) == 0;
	case FLOW_FIELD_OFFLOAD:
	case FLOW_FIELD_REASON:
		return offload_fits(f, t, v, now_ms);
	case FLOW_FIELD_MIN_AGE:
		return (now_ms - v->cold.created_ms) / 1000 >= t->low;
	case FLOW_FIELD_MIN_IDLE:
		return (int32_t)(now_ms - seen) >= 0 && (now_ms - seen) / 1000 >= t->low;
	case FLOW_FIELDS:
		break;
	}
	return false;
}

bool flow_filter_match(const struct flow_filter *f, const struct flow_view *v, uint32_t now_ms)
{
	uint32_t asked = 0, met = 0;

	for (uint32_t i = 0; i < f->n; i++) {
		const struct flow_term *t = &f->term[i];
		uint32_t bit = 1u << t->field;

		if (!t->negate && (met & bit))
			continue;
		if (t->negate) {
			if (term_match(f, t, v, now_ms))
				return false;
			continue;
		}
		asked |= bit;
		if (term_match(f, t, v, now_ms))
			met |= bit;
	}
	return asked == met;
}

bool flow_filter_family(const struct flow_filter *f, enum ip_family family)
{
	bool asked = false;

	for (uint32_t i = 0; i < f->n; i++) {
		const struct flow_term *t = &f->term[i];

		if (t->field != FLOW_FIELD_FAMILY)
			continue;
		if (t->negate && t->low == (uint32_t)family)
			return false;
		if (t->negate)
			continue;
		if (t->low == (uint32_t)family)
			return true;
		asked = true;
	}
	return !asked;
}

/* --- cursors and ids ------------------------------------------------------------------------- */

#define CURSOR_FORMAT 1
#define CURSOR_BYTES  22

void flow_cursor_encode(const struct flow_cursor *c, char out[FLOW_CURSOR_TEXT_MAX])
{
	uint8_t b[CURSOR_BYTES] = {CURSOR_FORMAT, c->family};

	for (unsigned i = 0; i < 8; i++) {
		b[2 + i] = (uint8_t)(c->boot >> (8 * i));
		b[10 + i] = (uint8_t)(c->filter >> (8 * i));
	}
	for (unsigned i = 0; i < 4; i++)
		b[18 + i] = (uint8_t)(c->entry >> (8 * i));
	cursor_encode(b, sizeof(b), out);
}

int flow_cursor_decode(const char *text, struct flow_cursor *out)
{
	uint8_t b[CURSOR_BYTES];

	memset(out, 0, sizeof(*out));
	if (cursor_decode(text, b, sizeof(b)) != CURSOR_BYTES || b[0] != CURSOR_FORMAT ||
		b[1] >= IP_FAMILIES)
		return -EINVAL;
	out->family = b[1];
	for (unsigned i = 0; i < 8; i++) {
		out->boot |= (uint64_t)b[2 + i] << (8 * i);
		out->filter |= (uint64_t)b[10 + i] << (8 * i);
	}
	for (unsigned i = 0; i < 4; i++)
		out->entry |= (uint32_t)b[18 + i] << (8 * i);
	return 0;
}

void flow_id_format(
	enum ip_family family, uint32_t entry, uint32_t generation, char out[FLOW_ID_MAX])
{
	snprintf(out, FLOW_ID_MAX, "%c-%08x-%u", family == IP_V4 ? '4' : '6', entry, generation);
}

int flow_id_parse(const char *text, enum ip_family *family, uint32_t *entry, uint32_t *generation)
{
	uint64_t value = 0, gen;

	if ((text[0] != '4' && text[0] != '6') || text[1] != '-')
		return -EINVAL;
	*family = text[0] == '4' ? IP_V4 : IP_V6;
	for (int i = 2; i < 10; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = text[i] != '\0' ? strchr(digits, text[i]) : NULL;

		if (at == NULL)
			return -EINVAL;
		value = value << 4 | (uint64_t)(at - digits);
	}
	if (text[10] != '-' || parse_uint(text + 11, UINT32_MAX, &gen) < 0)
		return -EINVAL;
	*entry = (uint32_t)value;
	*generation = (uint32_t)gen;
	return 0;
}
