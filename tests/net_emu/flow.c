/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rte_flow calls: validate, create, destroy, flush, query, dump, transfer proxy.
 *
 * Run on the caller's thread; tables change under nic->flow_lock. A destroy returns when the
 * e-switch can no longer act by the rule. No message is logged for a rule. */

#include <stdlib.h>

#include <rte_malloc.h>

#include "emu.h"

#define REFUSE(err, rc, kind, what, text) \
	rte_flow_error_set(err, rc, RTE_FLOW_ERROR_TYPE_##kind, what, text)

int emu_port_by_ethdev(const struct emu_nic *nic, uint32_t ethdev)
{
	for (uint16_t i = 0; i < nic->n_ports; i++)
		if (nic->port[i] != NULL && nic->port[i]->ethdev == ethdev)
			return i;
	return -EINVAL;
}

const struct emu_op *emu_rule_ops(const struct rte_flow *rule)
{
	return (const void *)(rule->data + rule->set->words);
}

/* Number of the interval after which counters are shown anew; 0: always shown as they are. */
uint64_t emu_period(struct emu_nic *nic, uint64_t now)
{
	int64_t ms = nic->knobs.stale_ms;

	if (ms < 0)
		ms = nic->profile->stale_ms;
	return ms == 0 ? 0 : now / ((uint64_t)ms * 1000000) + 1;
}

/* Every call to a device that was pulled out. */
static bool gone(const struct emu_nic *nic, struct rte_flow_error *err)
{
	if (!nic->removed)
		return false;
	REFUSE(err, EIO, UNSPECIFIED, NULL, "the device is removed");
	return true;
}

/* --- checks -------------------------------------------------------------------------------------
 */

static int attr_check(const struct emu_port *port, const struct rte_flow_attr *attr,
	struct emu_rule_spec *s, struct rte_flow_error *err)
{
	const struct emu_profile *pf = port->nic->profile;

	if (attr->egress)
		return REFUSE(err, ENOTSUP, ATTR_EGRESS, attr, "egress is not supported");
	if (pf->transfer_ignored) {
		s->domain = EMU_INGRESS;
	} else if (pf->items[EMU_TRANSFER] == 0) {
		/* Such drivers do not look at transfer: they miss ingress. */
		if (!attr->ingress)
			return REFUSE(err, pf->expressible_is_eexist ? ENOTSUP : EINVAL,
				ATTR_INGRESS, attr, "only ingress is supported");
		if (attr->transfer)
			return REFUSE(err, ENOTSUP, ATTR_TRANSFER, attr, "no transfer rules");
		s->domain = EMU_INGRESS;
	} else {
		if (attr->transfer == attr->ingress)
			return REFUSE(err, EINVAL, ATTR, attr, "either transfer or ingress");
		s->domain = attr->transfer ? EMU_TRANSFER : EMU_INGRESS;
	}
	if (s->domain == EMU_TRANSFER && pf->proxy_only && port->index != 0)
		return REFUSE(err, EPERM, ATTR_TRANSFER, attr,
			"transfer rules are made on the transfer proxy");
	if (attr->group >= pf->groups)
		return REFUSE(err, ENOTSUP, ATTR_GROUP, attr, "there is no such group");
	if (attr->priority >= pf->priorities)
		return REFUSE(err, ENOTSUP, ATTR_PRIORITY, attr, "there is no such priority");
	s->group = (uint16_t)attr->group;
	s->priority = (uint16_t)attr->priority;
	return 0;
}

static int translate(struct emu_port *port, const struct rte_flow_attr *attr,
	const struct rte_flow_item *items, const struct rte_flow_action *actions,
	struct emu_rule_spec *s, struct rte_flow_error *err)
{
	struct emu_nic *nic = port->nic;
	int rc;

	if (gone(nic, err))
		return -EIO;
	memset(s, 0, offsetof(struct emu_rule_spec, ops));
	s->profile = nic->profile;
	s->port = port;
	rc = attr_check(port, attr, s, err);
	if (rc == 0)
		rc = emu_items_parse(s, items, err);
	if (rc == 0)
		rc = emu_actions_parse(s, actions, err);
	if (rc != 0)
		return rc;
	if (nic->profile->expressible_is_eexist)
		return REFUSE(err, EEXIST, UNSPECIFIED, NULL,
			"overlapping rules or Kernel too old for flower support");
	return 0;
}

static int flow_validate(struct rte_eth_dev *eth, const struct rte_flow_attr *attr,
	const struct rte_flow_item *items, const struct rte_flow_action *actions,
	struct rte_flow_error *err)
{
	struct emu_port *port = emu_port_of(eth);
	struct emu_rule_spec s;
	int rc = translate(port, attr, items, actions, &s, err);
	bool conflict;

	if (rc != 0 || !port->nic->profile->one_input_set)
		return rc;
	pthread_mutex_lock(&port->nic->flow_lock);
	conflict = emu_match_conflict(port->nic, &s);
	pthread_mutex_unlock(&port->nic->flow_lock);
	return conflict ? REFUSE(err, EINVAL, ITEM_MASK, items, "conflicting input set") : 0;
}

/* --- create -------------------------------------------------------------------------------------
 */

/* Freed counters of some firmware come back with its next cycle only. */
static int counter_take(struct emu_nic *nic, struct rte_flow_error *err)
{
	uint64_t cycle = emu_period(nic, emu_clock(nic));

	if (nic->freed_counters_cycle != cycle)
		nic->freed_counters = 0;
	if (nic->fc.counters + (nic->profile->counter_cycle ? nic->freed_counters : 0) <
		(uint64_t)nic->knobs.counters) {
		nic->fc.counters++;
		return 0;
	}
	if (nic->fc.counters < (uint64_t)nic->knobs.counters)
		return REFUSE(err, EAGAIN, ACTION, NULL, "freed counters are not ready yet");
	return REFUSE(err, nic->profile->no_counter, ACTION, NULL, "no counter is left");
}

static void counter_give(struct emu_nic *nic)
{
	uint64_t cycle = emu_period(nic, emu_clock(nic));

	if (nic->freed_counters_cycle != cycle)
		nic->freed_counters = 0;
	nic->freed_counters_cycle = cycle;
	nic->freed_counters++;
	nic->fc.counters--;
}

/* From the NIC's memory; where a sanitizer looks on, from memory that it understands. */
#ifdef EMU_RULES_FROM_LIBC
static void *rule_alloc(size_t size)
{
	return calloc(1, size);
}

static void rule_free(struct rte_flow *rule)
{
	free(rule);
}
#else
static void *rule_alloc(size_t size)
{
	return rte_zmalloc("net_emu_rule", size, 0);
}

static void rule_free(struct rte_flow *rule)
{
	rte_free(rule);
}
#endif

static struct rte_flow *rule_new(struct emu_nic *nic, struct emu_set *set,
	const struct emu_rule_spec *s, const uint64_t *key, uint64_t hash)
{
	size_t key_size = set->words * sizeof(*key);
	struct rte_flow *rule;

	rule = rule_alloc(sizeof(*rule) + key_size + s->ops_len);
	if (rule == NULL)
		return NULL;
	rule->magic = EMU_RULE_MAGIC;
	rule->set = set;
	rule->hash = hash;
	rule->born = emu_clock(nic);
	rule->last_hit = rule->born;
	rule->id = nic->next_rule++;
	rule->port = s->port->index;
	rule->out_port = s->out_port;
	rule->jump = s->jump;
	rule->fate = s->fate;
	rule->count = s->count;
	rule->has_age = s->has_age;
	rule->age_ns = s->age_s * 1000000000ull;
	rule->age_context = s->age_context;
	rule->never_hits =
		nic->knobs.nohit != 0 || (s->stray_spec && nic->profile->stray_spec_never_hits);
	rule->ops_len = s->ops_len;
	memcpy(rule->data, key, key_size);
	memcpy((uint8_t *)rule->data + key_size, s->ops, s->ops_len);
	return rule;
}

static struct rte_flow *create_locked(
	struct emu_port *port, const struct emu_rule_spec *s, struct rte_flow_error *err)
{
	struct emu_nic *nic = port->nic;
	uint64_t key[EMU_KEY_WORDS], hash;
	struct rte_flow *rule;
	struct emu_set *set;
	int rc;

	rc = emu_fault_create(nic);
	if (rc != 0) {
		REFUSE(err, rc, UNSPECIFIED, NULL, "the device failed (injected)");
		return NULL;
	}
	if (nic->profile->proxy_first && !nic->port[0]->started) {
		REFUSE(err, EAGAIN, UNSPECIFIED, NULL, "the transfer proxy is not started");
		return NULL;
	}
	if (nic->profile->one_input_set && emu_match_conflict(nic, s)) {
		REFUSE(err, EINVAL, ITEM_MASK, NULL, "conflicting input set");
		return NULL;
	}
	if (nic->fc.rules >= (uint64_t)nic->knobs.cap) {
		REFUSE(err, ENOSPC, UNSPECIFIED, NULL, "the flow table is full");
		return NULL;
	}
	set = emu_match_set(nic, s);
	if (set == NULL) {
		REFUSE(err, ENOMEM, UNSPECIFIED, NULL, "no memory for a match table");
		return NULL;
	}
	emu_match_key(set, &s->key, key);
	hash = emu_match_hash(set, key);
	if (nic->profile->same == EMU_SAME_EEXIST && emu_match_exact(set, key, hash) != NULL) {
		REFUSE(err, EEXIST, HANDLE, NULL, "the same match exists");
		return NULL;
	}
	if (s->count && counter_take(nic, err) != 0)
		return NULL;
	rule = rule_new(nic, set, s, key, hash);
	rc = rule == NULL ? -ENOMEM
			  : emu_match_insert(nic, rule, nic->profile->same == EMU_SAME_NEWEST);
	if (rc != 0) {
		rule_free(rule);
		if (s->count)
			nic->fc.counters--;
		REFUSE(err, ENOMEM, UNSPECIFIED, NULL, "no memory for the rule");
		return NULL;
	}
	TAILQ_INSERT_TAIL(&port->rules, rule, of_port);
	if (rule->has_age)
		TAILQ_INSERT_TAIL(&nic->aging, rule, aging);
	nic->fc.rules++;
	nic->fc.domain_rules[s->domain]++;
	return rule;
}

static struct rte_flow *flow_create(struct rte_eth_dev *eth, const struct rte_flow_attr *attr,
	const struct rte_flow_item *items, const struct rte_flow_action *actions,
	struct rte_flow_error *err)
{
	struct emu_port *port = emu_port_of(eth);
	struct emu_nic *nic = port->nic;
	struct rte_flow *rule = NULL;
	struct emu_rule_spec s;

	if (translate(port, attr, items, actions, &s, err) == 0) {
		emu_delay(nic, nic->knobs.ins_us);
		pthread_mutex_lock(&nic->flow_lock);
		rule = create_locked(port, &s, err);
		pthread_mutex_unlock(&nic->flow_lock);
	}
	if (rule == NULL) {
		nic->fc.creates_failed++;
		return NULL;
	}
	nic->fc.creates++;
	if (nic->hook != NULL)
		nic->hook(nic->hook_arg, NET_EMU_CREATED);
	return rule;
}

/* --- destroy ------------------------------------------------------------------------------------
 */

/* Out of the tables; the memory stays until the e-switch has moved on. Under the lock. */
static void rule_unlink(struct emu_nic *nic, struct rte_flow *rule)
{
	emu_match_remove(nic, rule);
	TAILQ_REMOVE(&nic->port[rule->port]->rules, rule, of_port);
	if (rule->has_age)
		TAILQ_REMOVE(&nic->aging, rule, aging);
	if (rule->count)
		counter_give(nic);
	rule->magic = 0;
	nic->fc.rules--;
	nic->fc.domain_rules[rule->set->domain]--;
}

/* The e-switch has moved on: what it counted is final. */
static void rule_gone(struct emu_nic *nic, struct rte_flow *rule)
{
	if (rule->count)
		nic->fc.lost_hits += rule->hits - rule->told_hits;
	rule_free(rule);
}

/* A handle that was never given out, or is gone: the caller's error, counted. */
static bool rule_alive(struct emu_nic *nic, const struct rte_flow *rule)
{
	if (rule != NULL && rule->magic == EMU_RULE_MAGIC)
		return true;
	nic->fc.bad_handles++;
	return false;
}

static int flow_destroy(struct rte_eth_dev *eth, struct rte_flow *rule, struct rte_flow_error *err)
{
	struct emu_nic *nic = emu_port_of(eth)->nic;
	int rc = 0;

	if (gone(nic, err))
		return -EIO;
	emu_delay(nic, nic->knobs.del_us);
	pthread_mutex_lock(&nic->flow_lock);
	if (!rule_alive(nic, rule)) {
		rc = ENOENT;
	} else if (emu_knob_take(&nic->knobs.destroy_fail)) {
		rc = (int)nic->knobs.destroy_errno;
	} else {
		rule_unlink(nic, rule);
	}
	pthread_mutex_unlock(&nic->flow_lock);
	if (rc != 0) {
		nic->fc.destroys_failed++;
		return REFUSE(err, rc, HANDLE, rule,
			rc == ENOENT ? "there is no such rule" : "the device failed (injected)");
	}
	emu_quiesce(nic);
	rule_gone(nic, rule);
	nic->fc.destroys++;
	if (nic->hook != NULL)
		nic->hook(nic->hook_arg, NET_EMU_DESTROYED);
	return 0;
}

void emu_flow_drop_all(struct emu_port *port)
{
	struct emu_nic *nic = port->nic;
	struct emu_rules gone = TAILQ_HEAD_INITIALIZER(gone);
	struct rte_flow *rule;

	pthread_mutex_lock(&nic->flow_lock);
	while ((rule = TAILQ_FIRST(&port->rules)) != NULL) {
		rule_unlink(nic, rule);
		TAILQ_INSERT_TAIL(&gone, rule, of_port);
	}
	pthread_mutex_unlock(&nic->flow_lock);
	emu_quiesce(nic);
	while ((rule = TAILQ_FIRST(&gone)) != NULL) {
		TAILQ_REMOVE(&gone, rule, of_port);
		rule_gone(nic, rule);
	}
}

static int flow_flush(struct rte_eth_dev *eth, struct rte_flow_error *err)
{
	struct emu_port *port = emu_port_of(eth);

	if (gone(port->nic, err))
		return -EIO;
	if (emu_knob_take(&port->nic->knobs.flush_fail))
		return REFUSE(err, (int)port->nic->knobs.destroy_errno, UNSPECIFIED, NULL,
			"the device failed (injected)");
	emu_flow_drop_all(port);
	return 0;
}

/* --- query --------------------------------------------------------------------------------------
 */

/* The live value is read before the period: the e-switch moves the period on before it counts, so
 * what is returned never runs ahead of the interval and never falls. */
static void counters_shown(
	struct emu_nic *nic, const struct rte_flow *rule, uint64_t *hits, uint64_t *bytes)
{
	uint64_t period = emu_period(nic, emu_clock(nic));

	*bytes = atomic_load_explicit(&rule->bytes, memory_order_acquire);
	*hits = atomic_load_explicit(&rule->hits, memory_order_acquire);
	if (period == 0 || atomic_load_explicit(&rule->period, memory_order_acquire) != period)
		return;
	*hits = atomic_load_explicit(&rule->shown_hits, memory_order_relaxed);
	*bytes = atomic_load_explicit(&rule->shown_bytes, memory_order_relaxed);
}

static int query_one(struct emu_nic *nic, struct rte_flow *rule,
	const struct rte_flow_action *action, void *data, struct rte_flow_error *err)
{
	struct rte_flow_query_count *count = data;
	struct rte_flow_query_age *age = data;
	uint64_t hits, bytes, idle;

	if (action->type == RTE_FLOW_ACTION_TYPE_COUNT && rule->count) {
		counters_shown(nic, rule, &hits, &bytes);
		count->hits_set = count->bytes_set = 1;
		count->hits = hits - rule->base_hits;
		count->bytes = bytes - rule->base_bytes;
		nic->fc.told_hits += hits - rule->told_hits;
		rule->told_hits = hits;
		if (count->reset) {
			rule->base_hits = hits;
			rule->base_bytes = bytes;
		}
		return 0;
	}
	if (action->type == RTE_FLOW_ACTION_TYPE_AGE && rule->has_age) {
		idle = emu_clock(nic) - rule->last_hit;
		age->aged = idle >= rule->age_ns;
		age->sec_since_last_hit_valid = 1;
		age->sec_since_last_hit = (uint32_t)(idle / 1000000000) & 0xffffff;
		return 0;
	}
	return REFUSE(err, ENOTSUP, ACTION, action, "the rule has no such action to query");
}

static int flow_query(struct rte_eth_dev *eth, struct rte_flow *rule,
	const struct rte_flow_action *actions, void *data, struct rte_flow_error *err)
{
	struct emu_nic *nic = emu_port_of(eth)->nic;
	int rc = 0;

	if (gone(nic, err))
		return -EIO;
	emu_delay(nic, nic->knobs.query_us);
	nic->fc.queries++;
	pthread_mutex_lock(&nic->flow_lock);
	if (!rule_alive(nic, rule))
		rc = REFUSE(err, ENOENT, HANDLE, rule, "there is no such rule");
	else if (emu_knob_take(&nic->knobs.query_fail))
		rc = REFUSE(err, EIO, HANDLE, rule, "the device failed (injected)");
	for (; rc == 0 && actions->type != RTE_FLOW_ACTION_TYPE_END; actions++)
		if (actions->type != RTE_FLOW_ACTION_TYPE_VOID)
			rc = query_one(nic, rule, actions, data, err);
	pthread_mutex_unlock(&nic->flow_lock);
	return rc;
}

/* --- the rest -----------------------------------------------------------------------------------
 */

static int flow_dump(
	struct rte_eth_dev *eth, struct rte_flow *rule, FILE *f, struct rte_flow_error *err)
{
	struct emu_nic *nic = emu_port_of(eth)->nic;
	int rc = 0;

	pthread_mutex_lock(&nic->flow_lock);
	if (rule == NULL)
		emu_rules_print(nic, f);
	else if (rule_alive(nic, rule))
		emu_rule_print(nic, rule, f);
	else
		rc = REFUSE(err, ENOENT, HANDLE, rule, "there is no such rule");
	pthread_mutex_unlock(&nic->flow_lock);
	return rc;
}

static int flow_proxy(struct rte_eth_dev *eth, uint16_t *proxy, struct rte_flow_error *err)
{
	const struct emu_port *uplink = emu_port_of(eth)->nic->port[0];

	if (emu_port_of(eth)->nic->profile->items[EMU_TRANSFER] == 0)
		return REFUSE(err, ENOTSUP, UNSPECIFIED, NULL, "no transfer rules, no proxy");
	if (uplink == NULL)
		return REFUSE(err, ENODEV, UNSPECIFIED, NULL, "the uplink is closed");
	*proxy = uplink->ethdev;
	return 0;
}

const struct rte_flow_ops emu_flow_ops = {
	.validate = flow_validate,
	.create = flow_create,
	.destroy = flow_destroy,
	.flush = flow_flush,
	.query = flow_query,
	.dev_dump = flow_dump,
	.get_aged_flows = emu_aged_get,
	.pick_transfer_proxy = flow_proxy,
};
