/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* service: the first packet of a flow to a service address gets its endpoint, its refusal, or
 * passes as nobody's business. The decision itself is svc_decide() of core. */

#include "core/service.h"
#include "pipelines/stage.h"

uint32_t lane_tuple_hash(const struct burst *b, lanes_t i)
{
	uint64_t h = b->hdr[i].proto;

	if (lane_family(b, i) == IP_V6) {
		uint64_t words[5];

		memcpy(words, &b->key6[i], sizeof(words));
		for (int n = 0; n < 4; n++)
			h = (h ^ words[n]) * UINT64_C(0x9e3779b97f4a7c15);
		/* ports; the zone is a node's own business */
		h = (h ^ (words[4] & htobe64(UINT64_C(0xffffffff00000000)))) *
			UINT64_C(0x9e3779b97f4a7c15);
	} else {
		uint64_t addrs, ports = 0;

		memcpy(&addrs, &b->key4[i].src, 8);
		memcpy(&ports, &b->key4[i].sport, 4);
		h = (h ^ addrs) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
		h = (h ^ ports) * UINT64_C(0x9e3779b97f4a7c15);
	}
	h ^= h >> 29;
	h *= UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(h >> 32);
}

void lane_service_query(
	const struct worker *w, const struct burst *b, lanes_t i, struct svc_query *out)
{
	*out = (struct svc_query){
		.src = lane_src(b, i),
		.dst = lane_dst(b, i),
		.sport = lane_sport(b, i),
		.dport = lane_dport(b, i),
		.proto = b->hdr[i].proto,
		.source = vport_svc_source(stage_in_vport(w, b, i)),
		.local_vport = stage_in_vport(w, b, i)->local_clients,
		.hash = lane_tuple_hash(b, i),
	};
}

/* f: the frontend of the lane's destination, NULL if it has none. */
static void service_lane(struct worker *w, struct burst *b, lanes_t i, const struct svc_frontend *f)
{
	struct lane_decision *d = &b->decision[i];
	struct svc_verdict v;
	struct svc_query q;

	lane_service_query(w, b, i, &q);
	svc_decide_at(w->snap.services, &q, f, &v);
	/* Recorded with the decision, so that the next lane of this burst keeps to it. */
	affinity_apply(w->dp->affinity, &q, w->now_ms, &v);
	affinity_record(w->dp->affinity, &q, w->now_ms, &v);
	*d = (struct lane_decision){0};
	switch (v.kind) {
	case SVC_TRANSLATE:
		d->svc_id = v.svc_id;
		d->svc_flags = v.svc_flags;
		d->backend = v.backend;
		d->snat = v.snat;
		/* fall through */
	case SVC_PASS:
		b->to.source_nat |= LANE(i);
		return;
	case SVC_REJECT:
		lane_reject(b, i,
			b->hdr[i].proto == IP_PROTO_TCP ? REJECT_TCP_RESET
							: REJECT_PORT_UNREACHABLE,
			v.reason);
		return;
	case SVC_DROP:
		lane_drop(b, i, v.reason);
		return;
	case SVC_ECHO:
		b->to.local |= LANE(i);
		return;
	}
}

static struct svc_frontend_key lane_frontend(const struct burst *b, lanes_t i)
{
	return (struct svc_frontend_key){
		.addr = lane_dst(b, i),
		.port = lane_dport(b, i),
		.proto = b->hdr[i].proto,
		.family = (uint8_t)lane_family(b, i),
	};
}

/* Step by step over the burst, so that what one step waits for is on the way for all lanes. */
void stage_service(struct worker *w, struct burst *b)
{
	lanes_t in = stage_take(w, STAGE_service, &b->to.service), chosen = 0;
	const struct svc_table *t = w->snap.services->table;
	const struct svc_frontend *frontend[BURST_MAX];
	struct svc_frontend_key key[BURST_MAX];
	uint64_t hash[BURST_MAX];

	lanes_foreach (i, in) {
		key[i] = lane_frontend(b, i);
		hash[i] = svc_table_aim(t, &key[i]);
	}
	lanes_foreach (i, in)
		frontend[i] = svc_table_probe(t, hash[i]);
	lanes_foreach (i, in) {
		frontend[i] = svc_table_confirm(t, &key[i], hash[i], frontend[i]);
		if (frontend[i] != NULL && svc_prefetch_choice(frontend[i]))
			chosen |= LANE(i);
	}
	lanes_foreach (i, chosen)
		svc_prefetch_backend(frontend[i], lane_tuple_hash(b, i));
	lanes_foreach (i, in)
		service_lane(w, b, i, frontend[i]);
}
