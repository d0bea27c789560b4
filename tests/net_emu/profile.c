/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The vendors' dialects: what each driver of DPDK 22.11 (and sfc of 25.x) accepts and refuses, from
 * its feature list and its sources. Constant; README.md tells how they differ. */

#include "emu.h"

#define L2    (EMU_I(ETH) | EMU_I(VLAN))
#define L3    (EMU_I(IPV4) | EMU_I(IPV6))
#define L4    (EMU_I(TCP) | EMU_I(UDP))
#define ICMPS (EMU_I(ICMP) | EMU_I(ICMP6))

#define SET_V4   (EMU_A(SET_IPV4_SRC) | EMU_A(SET_IPV4_DST))
#define SET_V6   (EMU_A(SET_IPV6_SRC) | EMU_A(SET_IPV6_DST))
#define SET_L4   (EMU_A(SET_TP_SRC) | EMU_A(SET_TP_DST))
#define SET_MACS (EMU_A(SET_MAC_SRC) | EMU_A(SET_MAC_DST))
#define VLANS \
	(EMU_A(OF_PUSH_VLAN) | EMU_A(OF_POP_VLAN) | EMU_A(OF_SET_VLAN_VID) | EMU_A(OF_SET_VLAN_PCP))
#define VXLANS (EMU_A(VXLAN_ENCAP) | EMU_A(VXLAN_DECAP))
#define RAWS   (EMU_A(RAW_ENCAP) | EMU_A(RAW_DECAP))
#define STEER  (EMU_A(QUEUE) | EMU_A(RSS) | EMU_A(DROP))
#define MARKS  (EMU_A(MARK) | EMU_A(FLAG))

#define MLX5_ITEMS (L2 | L3 | L4 | ICMPS | EMU_I(IPV6_FRAG_EXT) | EMU_I(VXLAN) | EMU_I(GENEVE))
#define MLX5_SETS                                                                \
	(SET_V4 | SET_V6 | SET_L4 | SET_MACS | EMU_A(SET_TTL) | EMU_A(DEC_TTL) | \
		EMU_A(MODIFY_FIELD) | EMU_A(COUNT) | EMU_A(AGE) | EMU_A(JUMP) | EMU_A(DROP))
#define MLX5_TRANSFER (MLX5_SETS | VLANS | VXLANS | RAWS | EMU_A(PORT_ID) | EMU_A(REPRESENTED_PORT))
#define MLX5_INGRESS  (MLX5_SETS | VLANS | VXLANS | RAWS | STEER | MARKS)

#define SFC_ITEMS (L2 | L3 | L4 | EMU_I(VXLAN) | EMU_I(GENEVE))
#define SFC_TRANSFER                                                               \
	(SET_MACS | EMU_A(DEC_TTL) | VLANS | VXLANS | EMU_A(COUNT) | EMU_A(DROP) | \
		EMU_A(PORT_ID) | EMU_A(REPRESENTED_PORT) | EMU_A(PORT_REPRESENTOR) | MARKS)

/* nfp masks FIN, SYN, RST, PSH and URG. */
#define NFP_TCP_FLAGS 0x2f

static const struct emu_profile profiles[] = {
	{
		.name = "mlx5-sws",
		.driver = "mlx5 with dv_flow_en=1",
		.items = {MLX5_ITEMS | EMU_I(PORT_ID) | EMU_I(REPRESENTED_PORT), MLX5_ITEMS},
		.actions = {MLX5_TRANSFER, MLX5_INGRESS},
		.same = EMU_SAME_OLDEST,
		.tcp_flags = 0xff,
		.priorities = 16,
		.groups = EMU_GROUPS_MAX,
		.stale_ms = 1000,
		.mark_max = 0xfffff0,
		.no_counter = ENOENT,
		.items_complete = true,
		.modify_before_encap = true,
		.ihl_match = true,
		.tunnel_only_on_pf = true,
		.thread_safe = true,
	},
	{
		.name = "mlx5-hws",
		.driver = "mlx5 with dv_flow_en=2",
		.items = {MLX5_ITEMS | EMU_I(PORT_ID) | EMU_I(REPRESENTED_PORT), MLX5_ITEMS},
		.actions = {MLX5_TRANSFER | MARKS, MLX5_INGRESS},
		.same = EMU_SAME_NEWEST,
		.tcp_flags = 0xff,
		.priorities = 16,
		.groups = EMU_GROUPS_MAX,
		.stale_ms = 500,
		.mark_max = 0xfffff0,
		.no_counter = ENOENT,
		.proxy_only = true,
		.proxy_all_ports = true,
		.proxy_first = true,
		.stray_spec_never_hits = true,
		.items_complete = true,
		.order = EMU_ORDER_STAGES,
		.modify_before_encap = true,
		.ihl_match = true,
		.tunnel_only_on_pf = true,
		.thread_safe = true,
		.counter_cycle = true,
	},
	{
		.name = "nfp",
		.driver = "nfp with flower firmware",
		.items = {L2 | L3 | L4 | EMU_I(SCTP) | EMU_I(VXLAN) | EMU_I(GENEVE) |
				EMU_I(PORT_ID),
			L2 | L3 | L4 | EMU_I(SCTP) | EMU_I(VXLAN) | EMU_I(GENEVE) | EMU_I(PORT_ID)},
		.actions = {SET_V4 | SET_V6 | SET_L4 | SET_MACS | EMU_A(SET_TTL) | VXLANS | RAWS |
				VLANS | EMU_A(COUNT) | EMU_A(DROP) | EMU_A(JUMP) | EMU_A(PORT_ID),
			EMU_A(COUNT) | EMU_A(DROP)},
		.tcp_flags = NFP_TCP_FLAGS,
		.priorities = 16,
		.groups = 16,
		.no_counter = ENOMEM,
	},
	{
		.name = "bnxt",
		.driver = "bnxt with TruFlow",
		.items = {L2 | L3 | L4 | ICMPS | EMU_I(VXLAN) | EMU_I(PORT_ID) |
				EMU_I(REPRESENTED_PORT),
			L2 | L3 | L4 | ICMPS | EMU_I(VXLAN)},
		.actions = {SET_V4 | SET_L4 | EMU_A(DEC_TTL) | VXLANS | VLANS | EMU_A(COUNT) |
				EMU_A(DROP) | EMU_A(JUMP) | EMU_A(PORT_ID) |
				EMU_A(REPRESENTED_PORT) | EMU_A(PORT_REPRESENTOR),
			EMU_A(COUNT) | EMU_A(MARK) | EMU_A(RSS) | EMU_A(DROP) | SET_V4 | SET_L4 |
				EMU_A(DEC_TTL) | EMU_A(JUMP)},
		.at_stop = EMU_STOP_VANISH,
		.tcp_flags = 0xff,
		.priorities = 16,
		.groups = 256,
		.mark_max = UINT32_MAX,
		.no_counter = ENOMEM,
		.thread_safe = true,
	},
	{
		.name = "sfc-22",
		.driver = "sfc EF100 of 22.11: switching without NAT",
		.items = {SFC_ITEMS | EMU_I(PORT_ID) | EMU_I(REPRESENTED_PORT), SFC_ITEMS},
		.actions = {SFC_TRANSFER, STEER | MARKS},
		.tcp_flags = 0xff,
		.priorities = 1,
		.groups = 1,
		.stale_ms = 1000,
		.mark_max = 0xffffff,
		.no_counter = ENOSPC,
		.order = EMU_ORDER_SFC,
		.modify_before_encap = true,
		.thread_safe = true,
	},
	{
		.name = "sfc-25",
		.driver = "sfc EF100 of 25.11: IPv4 NAT",
		.items = {SFC_ITEMS | EMU_I(PORT_ID) | EMU_I(REPRESENTED_PORT), SFC_ITEMS},
		.actions = {SFC_TRANSFER | SET_V4 | SET_L4, STEER | MARKS},
		.tcp_flags = 0xff,
		.priorities = 1,
		.groups = 1,
		.stale_ms = 1000,
		.mark_max = 0xffffff,
		.no_counter = ENOSPC,
		.order = EMU_ORDER_SFC,
		.modify_before_encap = true,
		.thread_safe = true,
	},
	{
		.name = "cnxk",
		.driver = "cnxk",
		.items = {L2 | L3 | L4 | ICMPS | EMU_I(PORT_ID) | EMU_I(REPRESENTED_PORT),
			L2 | L3 | L4 | ICMPS | EMU_I(SCTP) | EMU_I(VXLAN) | EMU_I(GENEVE)},
		.actions = {EMU_A(COUNT) | EMU_A(DROP) | EMU_A(PORT_ID) | EMU_A(REPRESENTED_PORT) |
				VLANS,
			STEER | MARKS | EMU_A(COUNT) | VLANS},
		.at_stop = EMU_STOP_KEEP,
		.priorities = 3,
		.groups = 1,
		.mark_max = 0xfffe,
		.no_counter = ENOSPC,
	},
	{
		.name = "ice",
		.driver = "ice",
		.items = {0, EMU_I(ETH) | EMU_I(VLAN) | L3 | L4 | EMU_I(SCTP) | EMU_I(VXLAN)},
		.actions = {0, STEER | MARKS | EMU_A(COUNT)},
		.priorities = 2,
		.groups = 1,
		.mark_max = UINT32_MAX,
		.no_counter = ENOMEM,
		.one_input_set = true,
	},
	{
		.name = "i40e",
		.driver = "i40e",
		.items = {0, EMU_I(ETH) | EMU_I(VLAN) | L3 | L4 | EMU_I(SCTP) | EMU_I(VXLAN)},
		.actions = {0, STEER | MARKS},
		.priorities = 1,
		.groups = 1,
		.mark_max = UINT32_MAX,
		.one_input_set = true,
	},
	{
		.name = "cxgbe-like",
		.driver = "cxgbe: ignores the transfer attribute",
		.items = {0, EMU_I(ETH) | EMU_I(VLAN) | L3 | L4},
		.actions = {0,
			SET_V4 | SET_V6 | SET_L4 | SET_MACS | EMU_A(OF_PUSH_VLAN) |
				EMU_A(OF_POP_VLAN) | EMU_A(OF_SET_VLAN_VID) | EMU_A(COUNT) |
				EMU_A(QUEUE) | EMU_A(DROP)},
		.priorities = UINT16_MAX,
		.groups = 1,
		.no_counter = ENOMEM,
		.transfer_ignored = true,
	},
	{
		.name = "tap-like",
		.driver = "tap on a kernel without flower",
		.items = {0, EMU_I(ETH) | EMU_I(VLAN) | L3 | L4},
		.actions = {0, STEER},
		.priorities = 256,
		.groups = 1,
		.expressible_is_eexist = true,
	},
	{
		.name = "none",
		.driver = "any driver without rte_flow",
		.no_rte_flow = true,
	},
};

const struct emu_profile *emu_profile_at(unsigned i)
{
	return i < RTE_DIM(profiles) ? &profiles[i] : NULL;
}

const struct emu_profile *emu_profile_find(const char *name)
{
	for (unsigned i = 0; i < RTE_DIM(profiles); i++)
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	return NULL;
}
