/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* What events have done is looked at again: the service verified longest ago is compared with the
 * model and with the table that workers read, a few a step while nothing else is to do. A
 * difference would be an error of ours; it is mended, counted and logged. A service that could not
 * be applied wholly is tried again soon, as what it lacked may be there by now. Control thread. */

#include "control/log.h"
#include "control/reconcile_private.h"

#define VERIFY_EVERY_MS 3600000 /* kube-proxy's full rebuild */
#define VERIFY_RETRY_MS 30000   /* kube-proxy's sync period */
#define VERIFY_PER_STEP 8

void reconcile_verify_later(struct reconciler *r, struct applied_service *a, bool failed)
{
	reconcile_verify_forget(r, a);
	a->failed = failed;
	a->verified_ms = reconcile_now_ns(r) / 1000000;
	TAILQ_INSERT_TAIL(&r->verify[failed], a, of_verify);
}

void reconcile_verify_forget(struct reconciler *r, struct applied_service *a)
{
	if (a->verified_ms != 0)
		TAILQ_REMOVE(&r->verify[a->failed], a, of_verify);
	a->verified_ms = 0;
}

static uint32_t claims_repair(struct reconciler *r, struct claim_list *list)
{
	uint32_t n = 0;
	struct claim *c;

	LIST_FOREACH (c, list, of_owner)
		n += claim_repair(r, c);
	return n;
}

static void verify(struct reconciler *r, struct applied_service *a)
{
	struct reconcile_stats *s = &r->stats;
	uint64_t before = s->ports_replaced + s->frontends_set + s->frontends_removed;
	struct model_object *o = a->object;
	bool failed = a->failed;
	struct applied_port *p;
	uint64_t changed;

	if (o->desired == NULL) {
		reconcile_verify_forget(r, a); /* its removal is on its way */
		return;
	}
	reconcile_service_take(r, o);
	s->verified++;
	a = o->applied;
	if (a == NULL)
		return;
	claims_repair(r, &a->addresses);
	LIST_FOREACH (p, &a->ports, of_service)
		claims_repair(r, &p->claims);
	changed = s->ports_replaced + s->frontends_set + s->frontends_removed - before;
	if (changed == 0 || failed)
		return;
	s->repairs++;
	LOG_ERROR(
		reconcile, "repaired", "name=%s changes=%llu", o->key, (unsigned long long)changed);
}

void reconcile_verify(struct reconciler *r, uint64_t now_ms)
{
	static const uint64_t every_ms[] = {[false] = VERIFY_EVERY_MS, [true] = VERIFY_RETRY_MS};

	for (int failed = 0; failed < 2; failed++)
		for (int n = 0; n < VERIFY_PER_STEP; n++) {
			struct applied_service *a = TAILQ_FIRST(&r->verify[failed]);

			if (a == NULL || now_ms - a->verified_ms < every_ms[failed])
				break;
			verify(r, a);
		}
}
