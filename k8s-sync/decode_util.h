/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* How the decoders read members: type, range and content are checked, and what is wrong becomes a
 * fault that names the field. Paths are printf formats, written out only for a fault. Absent and
 * null give the default. Any thread; no state. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "k8s-sync/json.h"

#include "k8s-sync/decode.h"

/* Adds a fault; path is "format, arguments". Faults behind the limit are only counted. */
void k8s_fault(struct k8s_faults **faults, const char *reason, const char *path, ...)
	__attribute__((format(printf, 3, 4)));

/* NULL when absent or faulty. */
const char *k8s_string(struct k8s_faults **faults, const struct jv *object, const char *member,
	const char *path, ...) __attribute__((format(printf, 4, 5)));
const struct jv *k8s_array(struct k8s_faults **faults, const struct jv *object, const char *member,
	const char *path, ...) __attribute__((format(printf, 4, 5)));
const struct jv *k8s_object(struct k8s_faults **faults, const struct jv *object, const char *member,
	const char *path, ...) __attribute__((format(printf, 4, 5)));
/* The text of a string value itself (an array's element). */
const char *k8s_text(struct k8s_faults **faults, const struct jv *value, const char *path, ...)
	__attribute__((format(printf, 3, 4)));
/* 1: *out is set; 0: absent, *out untouched; -1: faulty. */
int k8s_int(struct k8s_faults **faults, const struct jv *object, const char *member, int64_t min,
	int64_t max, int64_t *out, const char *path, ...) __attribute__((format(printf, 7, 8)));
int k8s_bool(struct k8s_faults **faults, const struct jv *object, const char *member, bool *out,
	const char *path, ...) __attribute__((format(printf, 5, 6)));

/* An address that traffic may be sent to: no loopback, link-local, unspecified, multicast or
 * broadcast. NULL, or what is wrong with it. */
const char *k8s_unicast(const char *text, struct ip_addr *out);
/* A range of such addresses: not everything, not loopback or multicast. Same answer. */
const char *k8s_range(const char *text, struct ip_prefix *out);

/* RFC 3339 in UTC or with an offset, fractions allowed. 0 or -EINVAL. */
int k8s_time(const char *text, int64_t *ns);
