/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Actions to a fate and a list of operations on the frame.
 *
 * Runs in flow calls, on the caller's thread. SET_* and MODIFY_FIELD become the same operations.
 * What a profile does not have, or not in this order, is refused; nothing is ignored. */

#include <rte_ip.h>
#include <rte_udp.h>
#include <rte_vxlan.h>

#include "emu.h"

#define REFUSE(err, rc, kind, what, text) \
	rte_flow_error_set(err, rc, RTE_FLOW_ERROR_TYPE_##kind, what, text)

/* The stages of NICs that execute actions in one fixed order. */
enum stage {
	STAGE_MARK,
	STAGE_DECAP,
	STAGE_POP_VLAN,
	STAGE_COUNT,
	STAGE_PUSH_VLAN,
	STAGE_MODIFY,
	STAGE_ENCAP,
	STAGE_FATE
};

struct parse {
	struct emu_rule_spec *s;
	const struct rte_flow_action *action;
	struct rte_flow_error *err;
	int rank; /* the highest so far */
	unsigned encaps, decaps, modifies, fates;
	bool raw; /* a RAW_DECAP: which headers are left is not known */
};

static int op_add(struct parse *p, enum emu_op_type type, const void *data, size_t len)
{
	struct emu_rule_spec *s = p->s;
	size_t need = sizeof(struct emu_op) + RTE_ALIGN_CEIL(len, 4);
	struct emu_op *op = (void *)(s->ops + s->ops_len);

	if (s->ops_len + need > EMU_OPS_MAX)
		return REFUSE(p->err, E2BIG, ACTION, p->action, "too many actions in one rule");
	memset(op, 0, need);
	op->type = (uint8_t)type;
	op->len = (uint16_t)len;
	if (len != 0)
		memcpy(op->data, data, len);
	s->ops_len = (uint16_t)(s->ops_len + need);
	return 0;
}

static int fate(struct parse *p, enum emu_fate kind)
{
	if (p->fates++ != 0)
		return REFUSE(p->err, EINVAL, ACTION, p->action, "a second fate");
	p->s->fate = (uint8_t)kind;
	return 0;
}

/* --- changing headers ---------------------------------------------------------------------------
 */

static int modify(
	struct parse *p, uint8_t l3, bool l4, enum emu_op_type type, const void *data, size_t len)
{
	const struct emu_rule_spec *s = p->s;
	unsigned layer = p->decaps != 0;
	const struct emu_layer *mask = &s->mask.at[layer], *key = &s->key.at[layer];

	if (s->profile->modify_before_encap && p->encaps != 0)
		return REFUSE(p->err, EINVAL, ACTION, p->action, "no change after encapsulation");
	if (s->profile->items_complete && !p->raw) {
		if (l3 != 0 && (mask->l3 == 0 || (l3 != 1 && key->l3 != l3)))
			return REFUSE(p->err, EINVAL, ACTION, p->action,
				"the pattern has no such IP item");
		if (l4 && (mask->l4 == 0 || (key->l4 != IPPROTO_TCP && key->l4 != IPPROTO_UDP)))
			return REFUSE(p->err, EINVAL, ACTION, p->action,
				"the pattern has no TCP or UDP item");
	}
	p->modifies++;
	return op_add(p, type, data, len);
}

static int modify_field(struct parse *p)
{
	const struct rte_flow_action_modify_field *conf = p->action->conf;
	static const struct {
		enum rte_flow_field_id field;
		uint8_t op, bits, l3;
		bool l4;
	} fields[] = {
		{RTE_FLOW_FIELD_IPV4_SRC, EMU_OP_SRC_IP, 32, 4, false},
		{RTE_FLOW_FIELD_IPV4_DST, EMU_OP_DST_IP, 32, 4, false},
		{RTE_FLOW_FIELD_IPV6_SRC, EMU_OP_SRC_IP, 128, 6, false},
		{RTE_FLOW_FIELD_IPV6_DST, EMU_OP_DST_IP, 128, 6, false},
		{RTE_FLOW_FIELD_TCP_PORT_SRC, EMU_OP_SRC_PORT, 16, 0, true},
		{RTE_FLOW_FIELD_TCP_PORT_DST, EMU_OP_DST_PORT, 16, 0, true},
		{RTE_FLOW_FIELD_UDP_PORT_SRC, EMU_OP_SRC_PORT, 16, 0, true},
		{RTE_FLOW_FIELD_UDP_PORT_DST, EMU_OP_DST_PORT, 16, 0, true},
		{RTE_FLOW_FIELD_MAC_SRC, EMU_OP_SRC_MAC, 48, 0, false},
		{RTE_FLOW_FIELD_MAC_DST, EMU_OP_DST_MAC, 48, 0, false},
		{RTE_FLOW_FIELD_IPV4_TTL, EMU_OP_SET_TTL, 8, 4, false},
		{RTE_FLOW_FIELD_IPV6_HOPLIMIT, EMU_OP_SET_TTL, 8, 6, false},
	};
	const uint8_t *value;

	if (conf->src.field == RTE_FLOW_FIELD_VALUE)
		value = conf->src.value;
	else if (conf->src.field == RTE_FLOW_FIELD_POINTER)
		value = conf->src.pvalue;
	else
		return REFUSE(p->err, ENOTSUP, ACTION_CONF, conf, "the source is not a value");
	for (unsigned i = 0; i < RTE_DIM(fields); i++) {
		if (fields[i].field != conf->dst.field)
			continue;
		if (conf->width != fields[i].bits || conf->dst.offset != 0)
			break;
		if (conf->operation == RTE_FLOW_MODIFY_SET)
			return modify(p, fields[i].l3, fields[i].l4, fields[i].op, value,
				fields[i].bits / 8);
		if (conf->operation == RTE_FLOW_MODIFY_SUB && fields[i].bits == 8 && value[0] == 1)
			return modify(p, fields[i].l3, false, EMU_OP_DEC_TTL, NULL, 0);
		break;
	}
	return REFUSE(p->err, ENOTSUP, ACTION_CONF, conf,
		"field, width, offset or operation not supported");
}

/* --- tunnels ------------------------------------------------------------------------------------
 */

static int encap_add(struct parse *p, const uint8_t *header, size_t len)
{
	if (p->encaps++ != 0)
		return REFUSE(p->err, EINVAL, ACTION, p->action, "a second encapsulation");
	return op_add(p, EMU_OP_ENCAP, header, len);
}

/* Fields that a definition leaves at zero are filled in as drivers do. */
static void header_defaults(enum rte_flow_item_type type, uint8_t *header, uint8_t *ip,
	uint8_t *udp, uint8_t **ethertype)
{
	switch (type) {
	case RTE_FLOW_ITEM_TYPE_ETH:
		*ethertype = header + 12;
		break;
	case RTE_FLOW_ITEM_TYPE_VLAN:
		memcpy(*ethertype, (const uint8_t[]){0x81, 0x00}, 2);
		*ethertype = header + 2;
		break;
	case RTE_FLOW_ITEM_TYPE_IPV4:
		memcpy(*ethertype, (const uint8_t[]){0x08, 0x00}, 2);
		ip[0] = 0x45;
		ip[8] = ip[8] != 0 ? ip[8] : 64;
		ip[9] = IPPROTO_UDP;
		break;
	case RTE_FLOW_ITEM_TYPE_IPV6:
		memcpy(*ethertype, (const uint8_t[]){0x86, 0xdd}, 2);
		ip[0] = (uint8_t)(0x60 | (ip[0] & 0x0f));
		ip[6] = IPPROTO_UDP;
		ip[7] = ip[7] != 0 ? ip[7] : 64;
		break;
	case RTE_FLOW_ITEM_TYPE_UDP:
		if (udp[2] == 0 && udp[3] == 0)
			memcpy(udp + 2, (const uint8_t[]){0x12, 0xb5}, 2); /* 4789 */
		break;
	case RTE_FLOW_ITEM_TYPE_VXLAN:
		header[0] = 0x08;
		break;
	default:
		break;
	}
}

static int vxlan_encap(struct parse *p)
{
	const struct rte_flow_action_vxlan_encap *conf = p->action->conf;
	const struct rte_flow_item *item = conf->definition;
	uint8_t header[128], *ethertype = header + 12;
	bool complete = false;
	size_t len = 0;

	memset(header, 0, sizeof(header));
	for (; item->type != RTE_FLOW_ITEM_TYPE_END; item++) {
		uint8_t *at = header + len;
		size_t size;

		switch (item->type) {
		case RTE_FLOW_ITEM_TYPE_VOID:
			continue;
		case RTE_FLOW_ITEM_TYPE_ETH:
			size = sizeof(struct rte_ether_hdr);
			break;
		case RTE_FLOW_ITEM_TYPE_VLAN:
			size = sizeof(struct rte_vlan_hdr);
			break;
		case RTE_FLOW_ITEM_TYPE_IPV4:
			size = sizeof(struct rte_ipv4_hdr);
			break;
		case RTE_FLOW_ITEM_TYPE_IPV6:
			size = sizeof(struct rte_ipv6_hdr);
			break;
		case RTE_FLOW_ITEM_TYPE_UDP:
			size = sizeof(struct rte_udp_hdr);
			break;
		case RTE_FLOW_ITEM_TYPE_VXLAN:
			size = sizeof(struct rte_vxlan_hdr);
			complete = true;
			break;
		default:
			return REFUSE(p->err, ENOTSUP, ACTION_CONF, conf,
				"an item that VXLAN headers do not have");
		}
		if (item->spec == NULL || len + size > sizeof(header))
			return REFUSE(p->err, EINVAL, ACTION_CONF, conf, "an item without spec");
		/* The items' structs start with the header as it is sent. */
		memcpy(at, item->spec, size);
		header_defaults(item->type, at, at, at, &ethertype);
		len += size;
	}
	if (!complete)
		return REFUSE(p->err, EINVAL, ACTION_CONF, conf, "no VXLAN item");
	return encap_add(p, header, len);
}

static int raw_encap(struct parse *p)
{
	const struct rte_flow_action_raw_encap *conf = p->action->conf;

	if (conf->data == NULL || conf->size < RTE_ETHER_HDR_LEN || conf->size > 128)
		return REFUSE(p->err, EINVAL, ACTION_CONF, conf, "14 to 128 bytes of headers");
	return encap_add(p, conf->data, conf->size);
}

static int decap(struct parse *p, bool raw)
{
	const struct rte_flow_action_raw_decap *conf = p->action->conf;
	uint16_t size;

	if (p->s->profile->modify_before_encap && p->modifies != 0)
		return REFUSE(p->err, EINVAL, ACTION, p->action, "no decapsulation after a change");
	if (p->decaps != 0 || p->encaps != 0)
		return REFUSE(
			p->err, EINVAL, ACTION, p->action, "one decapsulation, before the encap");
	if (raw) {
		p->raw = true;
		if (conf == NULL || conf->size < RTE_ETHER_HDR_LEN || conf->size > 128)
			return REFUSE(p->err, EINVAL, ACTION_CONF, conf, "14 to 128 bytes");
		size = (uint16_t)conf->size;
		return op_add(p, EMU_OP_RAW_DECAP, &size, sizeof(size));
	}
	p->decaps++;
	if (p->s->layers != 2)
		return REFUSE(p->err, EINVAL, ACTION, p->action, "the pattern has no tunnel item");
	return op_add(p, EMU_OP_DECAP, NULL, 0);
}

/* --- fates --------------------------------------------------------------------------------------
 */

static int port_fate(struct parse *p, uint32_t ethdev, enum emu_fate kind)
{
	int port = emu_port_by_ethdev(p->s->port->nic, ethdev);

	if (port < 0)
		return REFUSE(p->err, EINVAL, ACTION_CONF, p->action->conf,
			"the port is not of this switch domain");
	p->s->out_port = (uint16_t)port;
	return fate(p, kind);
}

static int queues(struct parse *p, const uint16_t *list, uint32_t n)
{
	uint16_t n_rxq = p->s->port->eth->data->nb_rx_queues;

	if (n == 0 || n > EMU_QUEUES_MAX)
		return REFUSE(p->err, EINVAL, ACTION_CONF, p->action->conf, "how many queues?");
	for (uint32_t i = 0; i < n; i++)
		if (list[i] >= n_rxq)
			return REFUSE(p->err, EINVAL, ACTION_CONF, p->action->conf,
				"there is no such queue");
	if (fate(p, EMU_FATE_QUEUES) != 0)
		return -rte_errno;
	return op_add(p, EMU_OP_QUEUES, list, n * sizeof(*list));
}

static int mark(struct parse *p, uint32_t id)
{
	if (id > p->s->profile->mark_max)
		return REFUSE(
			p->err, EINVAL, ACTION_CONF, p->action->conf, "the mark is too large");
	p->s->marks = true;
	return op_add(p, EMU_OP_MARK, &id, sizeof(id));
}

/* --- one action ---------------------------------------------------------------------------------
 */

static int parse_set(struct parse *p)
{
	const void *conf = p->action->conf;

	switch (p->action->type) {
	case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
		return modify(p, 4, false, EMU_OP_SRC_IP, conf, 4);
	case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
		return modify(p, 4, false, EMU_OP_DST_IP, conf, 4);
	case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
		return modify(p, 6, false, EMU_OP_SRC_IP, conf, 16);
	case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
		return modify(p, 6, false, EMU_OP_DST_IP, conf, 16);
	case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
		return modify(p, 0, true, EMU_OP_SRC_PORT, conf, 2);
	case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
		return modify(p, 0, true, EMU_OP_DST_PORT, conf, 2);
	case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
		return modify(p, 0, false, EMU_OP_SRC_MAC, conf, 6);
	case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
		return modify(p, 0, false, EMU_OP_DST_MAC, conf, 6);
	case RTE_FLOW_ACTION_TYPE_SET_TTL:
		return modify(p, 1, false, EMU_OP_SET_TTL, conf, 1);
	case RTE_FLOW_ACTION_TYPE_DEC_TTL:
		return modify(p, 1, false, EMU_OP_DEC_TTL, NULL, 0);
	case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
		return op_add(p, EMU_OP_POP_VLAN, NULL, 0);
	case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
		return op_add(p, EMU_OP_PUSH_VLAN, conf, 2);
	case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
		return op_add(p, EMU_OP_VLAN_ID, conf, 2);
	case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP: {
		const struct rte_flow_action_of_set_vlan_pcp *pcp = conf;
		uint8_t tci[2] = {(uint8_t)(pcp->vlan_pcp << 5), 0};

		return op_add(p, EMU_OP_VLAN_PCP, tci, 2);
	}
	default:
		return modify_field(p);
	}
}

static int parse_other(struct parse *p)
{
	const struct rte_flow_action_rss *rss = p->action->conf;
	const struct rte_flow_action_age *age = p->action->conf;
	struct emu_rule_spec *s = p->s;

	switch (p->action->type) {
	case RTE_FLOW_ACTION_TYPE_COUNT:
		s->count = true;
		return 0;
	case RTE_FLOW_ACTION_TYPE_AGE:
		s->has_age = true;
		s->age_s = age->timeout;
		s->age_context = age->context;
		return 0;
	case RTE_FLOW_ACTION_TYPE_MARK:
		return mark(p, ((const struct rte_flow_action_mark *)p->action->conf)->id);
	case RTE_FLOW_ACTION_TYPE_FLAG:
		return mark(p, 0);
	case RTE_FLOW_ACTION_TYPE_DROP:
		return fate(p, EMU_FATE_DROP);
	case RTE_FLOW_ACTION_TYPE_JUMP: {
		uint32_t group = ((const struct rte_flow_action_jump *)p->action->conf)->group;

		if (group >= s->profile->groups || group <= s->group)
			return REFUSE(p->err, ENOTSUP, ACTION_CONF, p->action->conf,
				"a jump leads to a higher group that exists");
		s->jump = (uint16_t)group;
		return fate(p, EMU_FATE_JUMP);
	}
	case RTE_FLOW_ACTION_TYPE_QUEUE:
		return queues(
			p, &((const struct rte_flow_action_queue *)p->action->conf)->index, 1);
	case RTE_FLOW_ACTION_TYPE_RSS:
		return queues(p, rss->queue, rss->queue_num);
	case RTE_FLOW_ACTION_TYPE_PORT_ID: {
		const struct rte_flow_action_port_id *id = p->action->conf;

		return port_fate(p, id->original ? s->port->ethdev : id->id, EMU_FATE_PORT);
	}
	case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
		return port_fate(p,
			((const struct rte_flow_action_ethdev *)p->action->conf)->port_id,
			EMU_FATE_PORT);
	case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
		return port_fate(p,
			((const struct rte_flow_action_ethdev *)p->action->conf)->port_id,
			EMU_FATE_CPU);
	case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP:
		return vxlan_encap(p);
	case RTE_FLOW_ACTION_TYPE_RAW_ENCAP:
		return raw_encap(p);
	case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
		return decap(p, false);
	default:
		return decap(p, true);
	}
}

/* conf: the action needs one. */
static const struct action_kind {
	enum rte_flow_action_type type;
	enum emu_action action;
	enum stage stage;
	int (*parse)(struct parse *p);
	bool conf;
} kinds[] = {
#define KIND(NAME, stage, parse, conf)                                                     \
	{                                                                                  \
		RTE_FLOW_ACTION_TYPE_##NAME, EMU_ACTION_##NAME, STAGE_##stage, parse, conf \
	}
	KIND(COUNT, COUNT, parse_other, false),
	KIND(AGE, COUNT, parse_other, true),
	KIND(JUMP, FATE, parse_other, true),
	KIND(DROP, FATE, parse_other, false),
	KIND(QUEUE, FATE, parse_other, true),
	KIND(RSS, FATE, parse_other, true),
	KIND(MARK, MARK, parse_other, true),
	KIND(FLAG, MARK, parse_other, false),
	KIND(PORT_ID, FATE, parse_other, true),
	KIND(REPRESENTED_PORT, FATE, parse_other, true),
	KIND(PORT_REPRESENTOR, FATE, parse_other, true),
	KIND(SET_IPV4_SRC, MODIFY, parse_set, true),
	KIND(SET_IPV4_DST, MODIFY, parse_set, true),
	KIND(SET_IPV6_SRC, MODIFY, parse_set, true),
	KIND(SET_IPV6_DST, MODIFY, parse_set, true),
	KIND(SET_TP_SRC, MODIFY, parse_set, true),
	KIND(SET_TP_DST, MODIFY, parse_set, true),
	KIND(SET_MAC_SRC, MODIFY, parse_set, true),
	KIND(SET_MAC_DST, MODIFY, parse_set, true),
	KIND(SET_TTL, MODIFY, parse_set, true),
	KIND(DEC_TTL, MODIFY, parse_set, false),
	KIND(MODIFY_FIELD, MODIFY, parse_set, true),
	KIND(VXLAN_ENCAP, ENCAP, parse_other, true),
	KIND(VXLAN_DECAP, DECAP, parse_other, false),
	KIND(RAW_ENCAP, ENCAP, parse_other, true),
	KIND(RAW_DECAP, DECAP, parse_other, true),
	KIND(OF_PUSH_VLAN, PUSH_VLAN, parse_set, true),
	KIND(OF_POP_VLAN, POP_VLAN, parse_set, false),
	KIND(OF_SET_VLAN_VID, PUSH_VLAN, parse_set, true),
	KIND(OF_SET_VLAN_PCP, PUSH_VLAN, parse_set, true),
#undef KIND
};

/* The place of an action in the profile's order, or -1: anywhere. */
static int rank_of(enum emu_order order, const struct action_kind *kind)
{
	if (order == EMU_ORDER_FREE)
		return -1;
	if (order == EMU_ORDER_STAGES)
		return kind->stage;
	switch (kind->action) {
	case EMU_ACTION_COUNT:
	case EMU_ACTION_MARK:
	case EMU_ACTION_FLAG:
		return -1;
	case EMU_ACTION_VXLAN_DECAP:
		return 0;
	case EMU_ACTION_OF_POP_VLAN:
		return 1;
	case EMU_ACTION_SET_MAC_DST:
		return 2;
	case EMU_ACTION_SET_MAC_SRC:
		return 3;
	case EMU_ACTION_DEC_TTL:
		return 4;
	case EMU_ACTION_OF_PUSH_VLAN:
	case EMU_ACTION_OF_SET_VLAN_VID:
	case EMU_ACTION_OF_SET_VLAN_PCP:
		return 6;
	case EMU_ACTION_VXLAN_ENCAP:
		return 7;
	default:
		return kind->stage == STAGE_FATE ? 8 : 5; /* the NAT of later releases */
	}
}

static int parse_one(struct parse *p)
{
	const struct emu_rule_spec *s = p->s;
	const struct action_kind *kind = NULL;
	int rank;

	for (unsigned i = 0; i < RTE_DIM(kinds); i++)
		if (kinds[i].type == p->action->type)
			kind = &kinds[i];
	if (kind == NULL || (s->profile->actions[s->domain] & 1ull << kind->action) == 0)
		return REFUSE(p->err, ENOTSUP, ACTION, p->action, "action not supported");
	if (s->profile->tunnel_only_on_pf && s->domain == EMU_INGRESS && s->port->index != 0 &&
		(kind->stage == STAGE_ENCAP || kind->stage == STAGE_DECAP))
		return REFUSE(p->err, ENOTSUP, ACTION, p->action,
			"no encap or decap in ingress rules of a representor");
	if (kind->conf && p->action->conf == NULL)
		return REFUSE(p->err, EINVAL, ACTION_CONF, p->action, "no configuration");
	rank = rank_of(s->profile->order, kind);
	if (rank >= 0 && rank < p->rank)
		return REFUSE(p->err, s->profile->order == EMU_ORDER_SFC ? ENOTSUP : EINVAL, ACTION,
			p->action, "wrong order of actions");
	p->rank = RTE_MAX(rank, p->rank);
	return kind->parse(p);
}

int emu_actions_parse(
	struct emu_rule_spec *s, const struct rte_flow_action *actions, struct rte_flow_error *err)
{
	struct parse p = {.s = s, .action = actions, .err = err};

	for (; p.action->type != RTE_FLOW_ACTION_TYPE_END; p.action++) {
		int rc;

		if (p.action->type == RTE_FLOW_ACTION_TYPE_VOID)
			continue;
		rc = parse_one(&p);
		if (rc != 0)
			return rc;
	}
	if (p.fates == 0)
		return REFUSE(err, EINVAL, ACTION, actions, "no fate: where shall the frame go?");
	return 0;
}
