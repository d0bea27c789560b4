/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Ageing: rules with AGE that were not hit for their time, and the event that says so.
 *
 * The e-switch scans between its rounds; the list is collected by a flow call. Both take the flow
 * lock; the event is raised without it. Each rule is reported once. */

#include "emu.h"

#define REFUSE(err, rc, kind, what, text) \
	rte_flow_error_set(err, rc, RTE_FLOW_ERROR_TYPE_##kind, what, text)

void emu_age_scan(struct emu_nic *nic)
{
	uint32_t raise = 0; /* bit per port */
	struct rte_flow *rule;

	pthread_mutex_lock(&nic->flow_lock);
	TAILQ_FOREACH (rule, &nic->aging, aging) {
		if (rule->age_reported || nic->now < rule->last_hit ||
			nic->now - rule->last_hit < rule->age_ns)
			continue;
		rule->age_reported = true;
		if (emu_knob_take(&nic->knobs.lost_aged)) {
			nic->sw.aged_lost++;
			continue;
		}
		rule->age_ready = true;
		nic->sw.aged++;
		raise |= 1u << rule->port;
	}
	pthread_mutex_unlock(&nic->flow_lock);
	for (unsigned i = 0; i < nic->n_ports; i++)
		if (raise & 1u << i && nic->port[i] != NULL)
			rte_eth_dev_callback_process(
				nic->port[i]->eth, RTE_ETH_EVENT_FLOW_AGED, NULL);
}

int emu_aged_get(struct rte_eth_dev *eth, void **contexts, uint32_t n, struct rte_flow_error *err)
{
	struct emu_port *port = emu_port_of(eth);
	struct emu_nic *nic = port->nic;
	struct rte_flow *rule;
	uint32_t found = 0;

	if (n != 0 && contexts == NULL)
		return REFUSE(err, EINVAL, UNSPECIFIED, NULL, "no room for contexts");
	pthread_mutex_lock(&nic->flow_lock);
	TAILQ_FOREACH (rule, &nic->aging, aging) {
		if (rule->port != port->index || !rule->age_ready || (n != 0 && found == n))
			continue;
		if (n != 0) {
			contexts[found] = rule->age_context != NULL ? rule->age_context : rule;
			rule->age_ready = false;
		}
		found++;
	}
	pthread_mutex_unlock(&nic->flow_lock);
	return (int)found;
}
