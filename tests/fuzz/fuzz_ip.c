/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Addresses and prefixes from text: what is accepted prints as text that means the same. */

#include "core/ip.h"
#include "fuzz/fuzz.h"

FUZZ_TARGET(data, size)
{
	char *text = fuzz_string(data, size);
	char printed[IP_PREFIX_TEXT_MAX];
	struct ip_prefix p, q;
	struct ip_addr a, b;

	if (ip_parse(text, &a) == 0) {
		FUZZ_CHECK(strlen(ip_format(&a, printed)) < IP_TEXT_MAX);
		FUZZ_CHECK(ip_parse(printed, &b) == 0 && ip_equal(&a, &b));
	}
	if (ip_prefix_parse(text, &p) == 0) {
		FUZZ_CHECK(strlen(ip_prefix_format(&p, printed)) < IP_PREFIX_TEXT_MAX);
		FUZZ_CHECK(ip_prefix_parse(printed, &q) == 0);
		FUZZ_CHECK(ip_equal(&p.addr, &q.addr) && p.len == q.len && p.family == q.family);
		FUZZ_CHECK(ip_prefix_contains(&p, &p.addr));
	}
	ip_proto_parse(text);
	free(text);
}
