/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Any frame as an ARP or ND message: what is accepted names addresses that can be a host's, and the
 * answer to a question is an answer, in place too. */

#include "fuzz/fuzz_frames.h"

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 9};

static void check_answer(
	const uint8_t *frame, uint16_t len, const struct parsed *p, const struct neighbour_msg *msg)
{
	uint8_t *out = malloc(128), *place = malloc((size_t)len + 128);
	struct neighbour_msg again;
	struct parsed q;
	uint16_t n, m;

	FUZZ_CHECK(out != NULL && place != NULL);
	n = neighbour_answer(frame, len, p, msg, our_mac, out, 128);
	FUZZ_CHECK(n != 0 && n <= 128);
	memcpy(place, frame, len);
	m = neighbour_answer(place, len, p, msg, our_mac, place, (uint16_t)(len + 128));
	FUZZ_CHECK(m == n && memcmp(place, out, n) == 0);
	parse_frame(out, n, 0, &q);
	neighbour_parse(out, n, &q, &again);
	FUZZ_CHECK(again.kind == NEIGH_REPLY && again.has_mac);
	FUZZ_CHECK(ip_equal(&again.target, &msg->target));
	FUZZ_CHECK(memcmp(again.mac, our_mac, 6) == 0);
	free(place);
	free(out);
}

FUZZ_TARGET(data, size)
{
	struct fuzz_input in = {data, size};
	struct neighbour_msg msg;
	uint8_t *frame, mode;
	struct parsed p;
	uint16_t len;

	fuzz_take(&in, &mode, 1);
	frame = fuzz_frame(&in, mode & 1, &len);
	if (frame == NULL)
		return;
	parse_frame(frame, len, 0, &p);
	neighbour_parse(frame, len, &p, &msg);
	FUZZ_CHECK(msg.kind <= NEIGH_OTHER);
	if (msg.kind != NEIGH_INVALID)
		FUZZ_CHECK(p.kind == PARSE_NEIGHBOUR);
	if (msg.kind == NEIGH_REQUEST || msg.kind == NEIGH_REPLY) {
		FUZZ_CHECK(!ip_is_multicast(&msg.target) && !ip_is_multicast(&msg.sender));
		FUZZ_CHECK(!msg.has_mac || (msg.mac[0] & 1) == 0);
		FUZZ_CHECK(ip_family(&msg.target) == (p.flags & LANE_V6 ? IP_V6 : IP_V4));
	}
	if (msg.kind == NEIGH_REQUEST && p.l3 + 72 <= 128)
		check_answer(frame, len, &p, &msg);
	free(frame);
}
