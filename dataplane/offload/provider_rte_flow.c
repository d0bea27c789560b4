/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The provider of real devices: every rte_flow call of Sluice is here, stable API only.
 *
 * Offload thread; the ring of operations is read by any thread, by copy. Nothing is logged: the
 * ring keeps the last calls, and they are put into words when somebody reads them. */

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#include "offload/failure.h"
#include "offload/lower.h"
#include "offload/provider.h"

#define OPERATIONS 256 /* kept; a power of two */

struct offload_handle {
	struct rte_flow *flow;
	uint32_t id; /* in the ring of operations */
	uint16_t port;
};

struct operation {
	uint64_t number; /* from 1; 0: none */
	uint8_t call;    /* enum offload_call */
	uint16_t port;
	uint32_t id;
	int rc;
	struct offload_rule rule;
	struct offload_dialect dialect;
	struct offload_error error;
};

static struct {
	pthread_mutex_t lock; /* of the ring */
	struct operation ring[OPERATIONS];
	uint64_t last; /* number */
	uint32_t ids;
	_Atomic bool marks[RTE_MAX_ETHPORTS];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static alignas(16) uint8_t buffer[OFFLOAD_LOWER_BYTES];

/* --- the ring of operations ------------------------------------------------------------------- */

static void note(enum offload_call call, uint16_t port, uint32_t id,
	const struct offload_rule *rule, const struct offload_dialect *dialect, int rc,
	const struct offload_error *err)
{
	struct operation *op;

	pthread_mutex_lock(&state.lock);
	op = &state.ring[++state.last % OPERATIONS];
	op->number = state.last;
	op->call = (uint8_t)call;
	op->port = port;
	op->id = id;
	op->rc = rc;
	op->error = *err;
	if (rule != NULL) {
		op->rule = *rule;
		op->dialect = *dialect;
	}
	pthread_mutex_unlock(&state.lock);
}

static uint32_t add_rule_text(const struct operation *op, char *out, uint32_t size)
{
	alignas(16) uint8_t buf[OFFLOAD_LOWER_BYTES];
	char text[OFFLOAD_TEXT_MAX], *rule;
	struct offload_lowered l;
	struct offload_error err;

	if (offload_lower(&op->rule, &op->dialect, buf, sizeof(buf), &l, &err) != 0)
		return (uint32_t)snprintf(out, size, "# not compiled: %s\n", err.cause);
	offload_lowered_text(&l, text, sizeof(text));
	/* Commands that testpmd wants before stand on lines before. */
	rule = strrchr(text, '\n');
	if (rule == NULL)
		return (uint32_t)snprintf(out, size, "flow %s %u %s\n",
			op->call == OFFLOAD_CALL_VALIDATE ? "validate" : "create", op->port, text);
	*rule++ = '\0';
	return (uint32_t)snprintf(out, size, "%s\nflow %s %u %s\n", text,
		op->call == OFFLOAD_CALL_VALIDATE ? "validate" : "create", op->port, rule);
}

static uint32_t operation_text(const struct operation *op, char *out, uint32_t size)
{
	uint32_t len = 0;

	switch (op->call) {
	case OFFLOAD_CALL_VALIDATE:
	case OFFLOAD_CALL_INSERT:
		len = add_rule_text(op, out, size);
		break;
	case OFFLOAD_CALL_REMOVE:
		len = (uint32_t)snprintf(out, size, "flow destroy %u rule %u\n", op->port, op->id);
		break;
	case OFFLOAD_CALL_QUERY:
		len = (uint32_t)snprintf(out, size, "flow query %u %u count\n", op->port, op->id);
		break;
	case OFFLOAD_CALL_FLUSH:
		len = (uint32_t)snprintf(out, size, "flow flush %u\n", op->port);
		break;
	}
	if (len >= size)
		return len;
	if (op->rc == 0 && op->call == OFFLOAD_CALL_INSERT)
		return len + (uint32_t)snprintf(out + len, size - len, "# rule %u", op->id);
	if (op->rc == 0)
		return len + (uint32_t)snprintf(out + len, size - len, "# 0");
	return len +
		(uint32_t)snprintf(out + len, size - len, "# %d (%s), error type %u: %s", op->rc,
			rte_strerror(-op->rc), op->error.type, op->error.cause);
}

static uint32_t rte_operation(void *arg, uint64_t *cursor, char *out, uint32_t size)
{
	struct operation op = {0};

	pthread_mutex_lock(&state.lock);
	if (state.last > OPERATIONS && *cursor <= state.last - OPERATIONS)
		*cursor = state.last - OPERATIONS + 1;
	if (*cursor == 0)
		*cursor = 1;
	if (*cursor <= state.last)
		op = state.ring[(*cursor)++ % OPERATIONS];
	pthread_mutex_unlock(&state.lock);
	return op.number != 0 ? operation_text(&op, out, size) : 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

/* The driver's refusal, before anything else writes to its error. */
static int refused(int rc, const struct rte_flow_error *from, struct offload_error *err)
{
	if (rc >= 0)
		rc = rte_errno > 0 ? -rte_errno : -EIO;
	err->type = (uint8_t)from->type;
	snprintf(err->cause, sizeof(err->cause), "%s",
		from->message != NULL ? from->message : rte_strerror(-rc));
	return rc;
}

static uint16_t proxy_of(uint16_t port)
{
	struct rte_flow_error error;
	uint16_t proxy;

	return rte_flow_pick_transfer_proxy(port, &proxy, &error) == 0 ? proxy : port;
}

static int rte_facts(void *arg, uint16_t port, struct offload_port_facts *out)
{
	struct rte_eth_dev_info info;

	memset(out, 0, sizeof(*out));
	if (!rte_eth_dev_is_valid_port(port) || rte_eth_dev_is_removed(port) == 1 ||
		rte_eth_dev_info_get(port, &info) != 0)
		return -ENODEV;
	out->proxy = proxy_of(port);
	out->domain = info.switch_info.domain_id == RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID
		? OFFLOAD_NO_PORT
		: info.switch_info.domain_id;
	out->representor = (*info.dev_flags & RTE_ETH_DEV_REPRESENTOR) != 0;
	out->mark_in_buffers = atomic_load_explicit(&state.marks[port], memory_order_relaxed);
	snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
	return 0;
}

/* Compiled into buffer, and whom to tell. */
static int prepare(const struct offload_rule *rule, const struct offload_dialect *dialect,
	struct offload_lowered *l, uint16_t *told, struct offload_error *err)
{
	int rc = offload_lower(rule, dialect, buffer, sizeof(buffer), l, err);

	if (rc != 0)
		return rc;
	/* What a miss behind a jump does is undefined by rte_flow, and the rule that would say it
	 * (to the CPU's side of the port) is one that mlx5 does not have. */
	if (l->attr->group != 0) {
		err->type = RTE_FLOW_ERROR_TYPE_ATTR_GROUP;
		snprintf(err->cause, sizeof(err->cause), "a miss behind a jump is undefined");
		return -ENOTSUP;
	}
	*told = offload_lower_port(rule, dialect, proxy_of(rule->match.port));
	return rte_eth_dev_is_valid_port(*told) ? 0 : -ENODEV;
}

static int rte_validate(void *arg, const struct offload_rule *rule,
	const struct offload_dialect *dialect, struct offload_error *err)
{
	struct rte_flow_error error = {0};
	struct offload_lowered l;
	uint16_t port = 0;
	int rc = prepare(rule, dialect, &l, &port, err);

	if (rc != 0)
		return rc;
	rc = rte_flow_validate(port, l.attr, l.items, l.actions, &error);
	if (rc != 0)
		rc = refused(rc, &error, err);
	note(OFFLOAD_CALL_VALIDATE, port, 0, rule, dialect, rc, err);
	return rc;
}

static int rte_insert(void *arg, const struct offload_rule *rule,
	const struct offload_dialect *dialect, struct offload_handle **out,
	struct offload_error *err)
{
	struct rte_flow_error error = {0};
	struct offload_handle *handle;
	struct offload_lowered l;
	uint16_t port = 0;
	int rc = prepare(rule, dialect, &l, &port, err);

	if (rc != 0)
		return rc;
	handle = malloc(sizeof(*handle));
	if (handle == NULL)
		return -ENOMEM;
	handle->flow = rte_flow_create(port, l.attr, l.items, l.actions, &error);
	if (handle->flow == NULL) {
		free(handle);
		rc = refused(0, &error, err);
		note(OFFLOAD_CALL_INSERT, port, 0, rule, dialect, rc, err);
		return rc;
	}
	handle->port = port;
	handle->id = state.ids++;
	note(OFFLOAD_CALL_INSERT, port, handle->id, rule, dialect, 0, err);
	*out = handle;
	return 0;
}

static int rte_remove(void *arg, struct offload_handle *handle, struct offload_error *err)
{
	struct rte_flow_error error = {0};
	int rc = rte_flow_destroy(handle->port, handle->flow, &error);

	memset(err, 0, sizeof(*err));
	if (rc != 0)
		rc = refused(rc, &error, err);
	note(OFFLOAD_CALL_REMOVE, handle->port, handle->id, NULL, NULL, rc, err);
	if (rc == 0)
		free(handle);
	return rc;
}

/* Not kept in the ring: a hundred thousand polls would leave nothing else in it. A failed one is.
 */
static int rte_query(void *arg, struct offload_handle *handle, struct offload_count *out,
	struct offload_error *err)
{
	/* Drivers walk the list to its end. */
	const struct rte_flow_action count[] = {
		{.type = RTE_FLOW_ACTION_TYPE_COUNT}, {.type = RTE_FLOW_ACTION_TYPE_END}};
	struct rte_flow_query_count answer = {.reset = 0};
	struct rte_flow_error error = {0};
	int rc = rte_flow_query(handle->port, handle->flow, count, &answer, &error);

	memset(err, 0, sizeof(*err));
	if (rc != 0) {
		rc = refused(rc, &error, err);
		note(OFFLOAD_CALL_QUERY, handle->port, handle->id, NULL, NULL, rc, err);
		return rc;
	}
	out->packets = answer.hits_set ? answer.hits : 0;
	out->bytes = answer.bytes_set ? answer.bytes : 0;
	return 0;
}

static int rte_flush(void *arg, uint16_t port, struct offload_error *err)
{
	struct rte_flow_error error = {0};
	int rc = rte_flow_flush(port, &error);

	memset(err, 0, sizeof(*err));
	if (rc != 0)
		rc = refused(rc, &error, err);
	/* Without rules there is nothing to flush. */
	if (rc == -ENOSYS)
		rc = 0;
	note(OFFLOAD_CALL_FLUSH, port, 0, NULL, NULL, rc, err);
	return rc;
}

static int rte_stop(void *arg, uint16_t port)
{
	return rte_eth_dev_stop(port);
}

static void rte_forget(void *arg, struct offload_handle *handle)
{
	free(handle);
}

/* --- nonsense --------------------------------------------------------------------------------- */

/* An ethdev that no transfer rule of this port can reach. */
static uint16_t foreign_port(uint16_t port)
{
	struct rte_eth_dev_info here, there;
	uint16_t other;

	if (rte_eth_dev_info_get(port, &here) == 0)
		RTE_ETH_FOREACH_DEV (other)
			if (rte_eth_dev_info_get(other, &there) == 0 &&
				there.switch_info.domain_id != here.switch_info.domain_id)
				return other;
	return RTE_MAX_ETHPORTS;
}

static int rte_nonsense(void *arg, uint16_t port, unsigned which, struct offload_error *err)
{
	struct rte_flow_item_eth eth = {0}, eth_mask = {0};
	struct rte_flow_item_ipv4 ip = {0}, ip_mask = {0};
	struct rte_flow_item_tcp tcp = {0}, tcp_mask = {0};
	const struct rte_flow_item items[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = &eth, .mask = &eth_mask},
		{.type = RTE_FLOW_ITEM_TYPE_IPV4, .spec = &ip, .mask = &ip_mask},
		{.type = RTE_FLOW_ITEM_TYPE_TCP, .spec = &tcp, .mask = &tcp_mask},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	struct rte_flow_action_port_id out = {.id = port};
	struct rte_flow_action_queue queue = {.index = 0};
	struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_PORT_ID, .conf = &out},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};
	struct rte_flow_attr attr = {.transfer = 1};
	struct rte_flow_error error = {0};
	int rc;

	memset(err, 0, sizeof(*err));
	if (!rte_eth_dev_is_valid_port(port))
		return -ENODEV;
	eth.hdr.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
	eth_mask.hdr.ether_type = UINT16_MAX;
	ip.hdr.dst_addr = RTE_BE32(UINT32_C(0xc0000202)); /* 192.0.2.2 */
	ip_mask.hdr.dst_addr = UINT32_MAX;
	switch (which) {
	case 0:
		out.id = foreign_port(port);
		break;
	case 1: /* bits that TCP keeps for later */
		tcp.hdr.data_off = tcp_mask.hdr.data_off = 0x0e;
		break;
	case 2:
		attr.group = UINT32_MAX;
		break;
	default: /* a queue of which port? Who takes it does not look at transfer */
		actions[0] = (struct rte_flow_action){
			.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue};
		break;
	}
	rc = rte_flow_validate(proxy_of(port), &attr, items, actions, &error);
	return rc != 0 ? refused(rc, &error, err) : 0;
}

const struct offload_provider *offload_provider_rte_flow(void)
{
	static const struct offload_provider provider = {
		.name = "rte_flow",
		.facts = rte_facts,
		.validate = rte_validate,
		.validate_nonsense = rte_nonsense,
		.insert = rte_insert,
		.remove = rte_remove,
		.query = rte_query,
		.flush = rte_flush,
		.stop = rte_stop,
		.forget = rte_forget,
		.operation = rte_operation,
	};

	return &provider;
}

void offload_provider_rte_flow_marks(uint16_t port, bool reach)
{
	if (port < RTE_MAX_ETHPORTS)
		atomic_store_explicit(&state.marks[port], reach, memory_order_relaxed);
}
