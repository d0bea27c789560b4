/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Checked reading of JSON members (decode_util.h). Any thread, no state, no I/O. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "k8s-sync/decode_util.h"

void k8s_faults_free(struct k8s_faults *faults)
{
	if (faults == NULL)
		return;
	for (uint32_t i = 0; i < faults->n && i < K8S_FAULTS_MAX; i++) {
		free(faults->list[i].field);
		free(faults->list[i].reason);
	}
	free(faults);
}

static void add_fault(
	struct k8s_faults **faults, const char *reason, const char *path, va_list args)
{
	struct k8s_fault *fault;

	if (*faults == NULL)
		*faults = calloc(1, sizeof(**faults));
	if (*faults == NULL || (*faults)->n++ >= K8S_FAULTS_MAX)
		return;
	fault = &(*faults)->list[(*faults)->n - 1];
	if (vasprintf(&fault->field, path, args) < 0)
		fault->field = NULL;
	fault->reason = strdup(reason);
}

void k8s_fault(struct k8s_faults **faults, const char *reason, const char *path, ...)
{
	va_list args;

	va_start(args, path);
	add_fault(faults, reason, path, args);
	va_end(args);
}

/* An embedded NUL would let two readers see two values. */
static const char *text_of(
	struct k8s_faults **faults, const struct jv *value, const char *path, va_list args)
{
	if (jv_absent(value))
		return NULL;
	if (!jv_is(value, JV_STRING)) {
		add_fault(faults, "not a string", path, args);
		return NULL;
	}
	if (strlen(jv_string(value)) != jv_length(value)) {
		add_fault(faults, "contains a NUL", path, args);
		return NULL;
	}
	return jv_string(value);
}

const char *k8s_string(struct k8s_faults **faults, const struct jv *object, const char *member,
	const char *path, ...)
{
	const char *text;
	va_list args;

	va_start(args, path);
	text = text_of(faults, jv_get(object, member), path, args);
	va_end(args);
	return text;
}

const char *k8s_text(struct k8s_faults **faults, const struct jv *value, const char *path, ...)
{
	const char *text;
	va_list args;

	va_start(args, path);
	text = text_of(faults, value, path, args);
	va_end(args);
	return text;
}

const struct jv *k8s_array(struct k8s_faults **faults, const struct jv *object, const char *member,
	const char *path, ...)
{
	const struct jv *value = jv_get(object, member);
	va_list args;

	if (jv_absent(value))
		return NULL;
	if (jv_is(value, JV_ARRAY))
		return value;
	va_start(args, path);
	add_fault(faults, "not an array", path, args);
	va_end(args);
	return NULL;
}

const struct jv *k8s_object(struct k8s_faults **faults, const struct jv *object, const char *member,
	const char *path, ...)
{
	const struct jv *value = jv_get(object, member);
	va_list args;

	if (jv_absent(value))
		return NULL;
	if (jv_is(value, JV_OBJECT))
		return value;
	va_start(args, path);
	add_fault(faults, "not an object", path, args);
	va_end(args);
	return NULL;
}

int k8s_int(struct k8s_faults **faults, const struct jv *object, const char *member, int64_t min,
	int64_t max, int64_t *out, const char *path, ...)
{
	const struct jv *value = jv_get(object, member);
	char reason[96];
	va_list args;

	if (jv_absent(value))
		return 0;
	if (jv_is(value, JV_INTEGER) && value->integer >= min && value->integer <= max) {
		*out = value->integer;
		return 1;
	}
	if (jv_is(value, JV_INTEGER))
		snprintf(reason, sizeof(reason), "%lld is not within %lld..%lld",
			(long long)value->integer, (long long)min, (long long)max);
	else
		snprintf(reason, sizeof(reason), "not an integer");
	va_start(args, path);
	add_fault(faults, reason, path, args);
	va_end(args);
	return -1;
}

int k8s_bool(struct k8s_faults **faults, const struct jv *object, const char *member, bool *out,
	const char *path, ...)
{
	const struct jv *value = jv_get(object, member);
	va_list args;

	if (jv_absent(value))
		return 0;
	if ((jv_is(value, JV_TRUE) || jv_is(value, JV_FALSE))) {
		*out = jv_is(value, JV_TRUE);
		return 1;
	}
	va_start(args, path);
	add_fault(faults, "not a boolean", path, args);
	va_end(args);
	return -1;
}

const char *k8s_unicast(const char *text, struct ip_addr *out)
{
	if (ip_parse(text, out) != 0)
		return "not an IP address";
	if (ip_is_zero(out))
		return "the unspecified address";
	if (ip_is_loopback(out))
		return "a loopback address";
	if (ip_is_link_local(out))
		return "a link-local address";
	if (ip_is_multicast(out))
		return "a multicast address";
	if (ip_family(out) == IP_V4 &&
		(ntohl(ip_v4(out)) >> 24 == 0 || ntohl(ip_v4(out)) >> 28 == 15))
		return "not a unicast address";
	return NULL;
}

const char *k8s_range(const char *text, struct ip_prefix *out)
{
	if (ip_prefix_parse(text, out) != 0)
		return "not an IP range";
	if (out->len == 0)
		return "covers every address";
	if (ip_is_loopback(&out->addr))
		return "a loopback range";
	if (ip_is_link_local(&out->addr))
		return "a link-local range";
	if (ip_is_multicast(&out->addr))
		return "a multicast range";
	return NULL;
}

int k8s_time(const char *text, int64_t *ns)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t fraction = 0, scale = 100000000, offset = 0;
	int hours, minutes;

	if (p == NULL)
		return -EINVAL;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			fraction += (*p - '0') * scale;
	}
	if (*p == '+' || *p == '-') {
		if (sscanf(p + 1, "%2d:%2d", &hours, &minutes) != 2 || strlen(p) != 6)
			return -EINVAL;
		offset = (hours * 60 + minutes) * 60 * (*p == '-' ? -1 : 1);
	} else if (strcmp(p, "Z") != 0) {
		return -EINVAL;
	}
	/* Nanoseconds end in the year 2262. */
	if (__builtin_mul_overflow((int64_t)timegm(&tm) - offset, INT64_C(1000000000), ns) ||
		__builtin_add_overflow(*ns, fraction, ns))
		return -EINVAL;
	return 0;
}
