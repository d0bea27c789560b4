/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What a request's first line can hold: path, query, flow filter, cursor, flow id. Decoded texts
 * hold no control character; what decodes as a cursor or an id encodes to the same text; a filter
 * that was taken can be matched. */

#include "control/api/cursor.h"
#include "control/api/flow_filter.h"
#include "fuzz/fuzz.h"

static void check_text(const char *s)
{
	for (; *s != '\0'; s++)
		FUZZ_CHECK((unsigned char)*s >= 0x20 && *s != 0x7f);
}

static void try_filter(const struct query *q)
{
	struct query_error err = {""};
	struct flow_filter f;
	struct flow_view v;

	if (flow_filter_parse(q, &f, &err) < 0) {
		FUZZ_CHECK(err.text[0] != '\0');
		return;
	}
	FUZZ_CHECK(f.n <= FLOW_FILTER_TERMS_MAX);
	memset(&v, 0, sizeof(v));
	v.cold.svc_port_id = 1;
	flow_filter_match(&f, &v, 1000);
	memset(&v.key, 0xff, sizeof(v.key));
	v.family = IP_V6;
	flow_filter_match(&f, &v, 1000);
	flow_filter_family(&f, IP_V4);
}

static void try_words(const char *text)
{
	char again[FLOW_CURSOR_TEXT_MAX];
	uint32_t entry, generation;
	enum ip_family family;
	struct flow_cursor c;
	char bytes[64];
	uint8_t proto;

	if (flow_cursor_decode(text, &c) == 0) {
		flow_cursor_encode(&c, again);
		FUZZ_CHECK(strcmp(text, again) == 0);
	}
	if (flow_id_parse(text, &family, &entry, &generation) == 0) {
		flow_id_format(family, entry, generation, again);
		FUZZ_CHECK(strncmp(text, again, 11) == 0);
	}
	FUZZ_CHECK(cursor_decode(text, bytes, sizeof(bytes)) <= (int)sizeof(bytes));
	flow_proto_parse(text, &proto);
}

FUZZ_TARGET(data, size)
{
	char *text = fuzz_string(data, size);
	struct query_error err = {""};
	struct query q;
	struct path p;

	if (query_parse(text, &q, &err) == 0) {
		for (uint32_t i = 0; i < q.n; i++) {
			check_text(q.at[i].name);
			check_text(q.at[i].value);
			try_words(q.at[i].value);
		}
		try_filter(&q);
	}
	query_fini(&q);
	if (path_parse(text, &p, &err) == 0)
		for (uint32_t i = 0; i < p.n; i++) {
			check_text(p.segment[i]);
			FUZZ_CHECK(strchr(p.segment[i], '/') == NULL);
		}
	path_fini(&p);
	try_words(text);
	free(text);
}
