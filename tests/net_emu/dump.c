/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The rules as text, one line each: what the NIC holds, for comparison with what a program
 * believes.
 *
 * Under the flow lock, on the caller's thread. */

#include <arpa/inet.h>
#include <inttypes.h>

#include "emu.h"

static void bytes_print(FILE *f, const char *name, const void *key, const void *mask, size_t len)
{
	const uint8_t *k = key, *m = mask;
	bool any = false, all = true;

	for (size_t i = 0; i < len; i++) {
		any |= m[i] != 0;
		all &= m[i] == 0xff;
	}
	if (!any)
		return;
	fprintf(f, " %s ", name);
	for (size_t i = 0; i < len; i++)
		fprintf(f, "%02x", k[i]);
	for (size_t i = 0; i < len && !all; i++)
		fprintf(f, "%s%02x", i == 0 ? "/" : "", m[i]);
}

static void number_print(FILE *f, const char *name, uint32_t key, uint32_t mask, uint32_t full)
{
	if (mask == 0)
		return;
	if (mask == full)
		fprintf(f, " %s %u", name, key);
	else
		fprintf(f, " %s 0x%x/0x%x", name, key, mask);
}

static void ip_print(FILE *f, const char *name, uint8_t l3, const uint8_t *key, const uint8_t *mask)
{
	static const uint8_t full[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	size_t len = l3 == 4 ? 4 : 16;
	char text[INET6_ADDRSTRLEN];

	if (memcmp(mask, full, len) != 0) {
		bytes_print(f, name, key, mask, len);
		return;
	}
	fprintf(f, " %s %s", name,
		inet_ntop(l3 == 4 ? AF_INET : AF_INET6, key, text, sizeof(text)));
}

static void layer_print(FILE *f, const struct emu_layer *k, const struct emu_layer *m)
{
	bytes_print(f, "eth_dst", k->eth_dst, m->eth_dst, 6);
	bytes_print(f, "eth_src", k->eth_src, m->eth_src, 6);
	number_print(f, "eth_type", ntohs(k->eth_type), ntohs(m->eth_type), 0);
	number_print(f, "vlans", k->vlans, m->vlans, 0);
	number_print(f, "tci", ntohs(k->tci), ntohs(m->tci), 0);
	number_print(f, "tci2", ntohs(k->tci2), ntohs(m->tci2), 0);
	number_print(f, "ip", k->l3, m->l3, 0xff);
	ip_print(f, "src", k->l3, k->src, m->src);
	ip_print(f, "dst", k->l3, k->dst, m->dst);
	number_print(f, "proto", k->proto, m->proto, 0xff);
	number_print(f, "ttl", k->ttl, m->ttl, 0xff);
	number_print(f, "tos", k->tos, m->tos, 0);
	number_print(f, "ihl", k->ihl, m->ihl, 0);
	number_print(f, "frag", k->frag, m->frag, 0xff);
	number_print(f, "l4", k->l4, m->l4, 0xff);
	number_print(f, "sport", ntohs(k->sport), ntohs(m->sport), 0xffff);
	number_print(f, "dport", ntohs(k->dport), ntohs(m->dport), 0xffff);
	number_print(f, "tcp_flags", k->tcp_flags, m->tcp_flags, 0);
}

static void op_print(FILE *f, const struct emu_op *op)
{
	static const char *const names[] = {
		[EMU_OP_SRC_IP] = "set_src",
		[EMU_OP_DST_IP] = "set_dst",
		[EMU_OP_SRC_PORT] = "set_sport",
		[EMU_OP_DST_PORT] = "set_dport",
		[EMU_OP_SRC_MAC] = "set_eth_src",
		[EMU_OP_DST_MAC] = "set_eth_dst",
		[EMU_OP_SET_TTL] = "set_ttl",
		[EMU_OP_DEC_TTL] = "dec_ttl",
		[EMU_OP_POP_VLAN] = "pop_vlan",
		[EMU_OP_PUSH_VLAN] = "push_vlan",
		[EMU_OP_VLAN_ID] = "vlan_id",
		[EMU_OP_VLAN_PCP] = "vlan_pcp",
		[EMU_OP_DECAP] = "decap",
		[EMU_OP_RAW_DECAP] = "raw_decap",
		[EMU_OP_ENCAP] = "encap",
		[EMU_OP_MARK] = "mark",
		[EMU_OP_QUEUES] = "queues",
	};
	char text[INET6_ADDRSTRLEN];
	uint16_t half[EMU_QUEUES_MAX];
	uint32_t word;

	fprintf(f, " %s", names[op->type]);
	switch (op->type) {
	case EMU_OP_SRC_IP:
	case EMU_OP_DST_IP:
		fprintf(f, " %s",
			inet_ntop(op->len == 4 ? AF_INET : AF_INET6, op->data, text, sizeof(text)));
		break;
	case EMU_OP_SRC_PORT:
	case EMU_OP_DST_PORT:
	case EMU_OP_VLAN_ID:
		fprintf(f, " %u", op->data[0] << 8 | op->data[1]);
		break;
	case EMU_OP_SET_TTL:
		fprintf(f, " %u", op->data[0]);
		break;
	case EMU_OP_MARK:
		memcpy(&word, op->data, 4);
		fprintf(f, " %u", word);
		break;
	case EMU_OP_RAW_DECAP:
	case EMU_OP_QUEUES:
		memcpy(half, op->data, op->len);
		for (unsigned i = 0; i < op->len / 2u; i++)
			fprintf(f, "%c%u", i == 0 ? ' ' : ',', half[i]);
		break;
	default:
		for (unsigned i = 0; i < op->len; i++)
			fprintf(f, "%s%02x", i == 0 ? " " : "", op->data[i]);
		break;
	}
}

static void fate_print(struct emu_nic *nic, const struct rte_flow *rule, FILE *f)
{
	struct emu_port *out = nic->port[rule->out_port];
	int ethdev = out != NULL ? out->ethdev : -1;

	switch (rule->fate) {
	case EMU_FATE_PORT:
		fprintf(f, " represented_port %d", ethdev);
		break;
	case EMU_FATE_CPU:
		fprintf(f, " port_representor %d", ethdev);
		break;
	case EMU_FATE_DROP:
		fputs(" drop", f);
		break;
	case EMU_FATE_JUMP:
		fprintf(f, " jump %u", rule->jump);
		break;
	default:
		break;
	}
}

void emu_rule_print(struct emu_nic *nic, const struct rte_flow *rule, FILE *f)
{
	const struct emu_set *set = rule->set;
	const struct emu_port *in;
	struct emu_key key, mask;

	memset(&key, 0, sizeof(key));
	memset(&mask, 0, sizeof(mask));
	for (unsigned i = 0; i < set->words; i++) {
		memcpy((uint8_t *)&key + set->word[i] * 8u, &rule->data[i], 8);
		memcpy((uint8_t *)&mask + set->word[i] * 8u, &set->mask[i], 8);
	}
	fprintf(f, "rule %u port %u %s group %u priority %u match", rule->id,
		nic->port[rule->port]->ethdev, set->domain == EMU_TRANSFER ? "transfer" : "ingress",
		set->group, set->priority);
	in = mask.in_port != 0 ? nic->port[key.in_port] : NULL;
	if (in != NULL)
		fprintf(f, " in %u", in->ethdev);
	layer_print(f, &key.at[0], &mask.at[0]);
	if (mask.tunnel != 0) {
		fprintf(f, " %s", key.tunnel == EMU_TUNNEL_VXLAN ? "vxlan" : "geneve");
		number_print(f, "vni", ntohl(key.vni) >> 8, ntohl(mask.vni) >> 8, 0xffffff);
		layer_print(f, &key.at[1], &mask.at[1]);
	}
	fprintf(f, " actions%s%s", rule->count ? " count" : "", rule->has_age ? " age" : "");
	for (const struct emu_op *op = emu_rule_ops(rule); op < emu_rule_ops_end(rule);
		op = emu_op_next(op))
		op_print(f, op);
	fate_print(nic, rule, f);
	fprintf(f, " hits %" PRIu64 " bytes %" PRIu64 "%s\n", (uint64_t)rule->hits,
		(uint64_t)rule->bytes, rule->never_hits ? " never_hits" : "");
}

void emu_rules_print(struct emu_nic *nic, FILE *f)
{
	const struct rte_flow *rule;

	for (unsigned i = 0; i < nic->n_ports; i++)
		if (nic->port[i] != NULL)
			TAILQ_FOREACH (rule, &nic->port[i]->rules, of_port)
				emu_rule_print(nic, rule, f);
}
