/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The vdev driver "net_emu": device arguments, the NIC and its ports, and taking them down.
 *
 * Probe and remove run on the program's control thread. The driver is built with the headers of one
 * DPDK release and refuses to work in another. */

#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_kvargs.h>
#include <rte_malloc.h>

#include "emu.h"

#define VF_NAME "%s_vf%u"

int emu_logtype;

static TAILQ_HEAD(, emu_nic) nics = TAILQ_HEAD_INITIALIZER(nics);
static pthread_mutex_t nics_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned nic_count;

struct emu_nic *net_emu_find(const char *name)
{
	struct emu_nic *nic;

	pthread_mutex_lock(&nics_lock);
	TAILQ_FOREACH (nic, &nics, next)
		if (strcmp(nic->name, name) == 0)
			break;
	pthread_mutex_unlock(&nics_lock);
	return nic;
}

int net_emu_ethdev(struct emu_nic *nic, unsigned port)
{
	if (port >= nic->n_ports || nic->port[port] == NULL)
		return -ENODEV;
	return nic->port[port]->ethdev;
}

uint64_t net_emu_now(struct emu_nic *nic)
{
	return emu_clock(nic);
}

void net_emu_hook(struct emu_nic *nic, void (*hook)(void *arg, enum net_emu_point point), void *arg)
{
	nic->hook_arg = arg;
	nic->hook = hook;
}

/* --- device arguments ---------------------------------------------------------------------------
 */

static int number(const char *text, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 0);
	return errno != 0 || end == text || *end != '\0' ? -EINVAL : 0;
}

static int arg_wire(struct emu_nic *nic, const char *which, const char *value)
{
	int64_t port;

	if (strlen(value) >= EMU_NAME_MAX)
		return -EINVAL;
	if (*which == '\0') {
		for (unsigned i = 0; i < EMU_PORTS_MAX; i++)
			if (nic->wire[i][0] == '\0')
				snprintf(nic->wire[i], EMU_NAME_MAX, "%s", value);
		return 0;
	}
	if (number(which, &port) != 0 || port < 0 || port >= EMU_PORTS_MAX)
		return -EINVAL;
	snprintf(nic->wire[port], EMU_NAME_MAX, "%s", value);
	return 0;
}

static int arg_one(const char *key, const char *value, void *opaque)
{
	struct emu_nic *nic = opaque;
	int64_t n = 0;
	int rc = 0;

	if (value == NULL)
		rc = -EINVAL;
	else if (strcmp(key, "representor") == 0)
		return 0;
	else if (strcmp(key, "profile") == 0)
		rc = (nic->profile = emu_profile_find(value)) == NULL ? -EINVAL : 0;
	else if (strncmp(key, "wire", 4) == 0)
		rc = arg_wire(nic, key + 4, value);
	else if (strcmp(key, "control") == 0)
		rc = snprintf(nic->control_path, sizeof(nic->control_path), "%s", value) >=
				(int)sizeof(nic->control_path)
			? -ENAMETOOLONG
			: 0;
	else if (number(value, &n) != 0)
		rc = -EINVAL;
	else if (strcmp(key, "core") == 0)
		nic->core = (int)n;
	else if (strcmp(key, "step") == 0)
		nic->step = n != 0;
	else
		rc = emu_knob_set(&nic->knobs, key, n);
	if (rc != 0)
		EMU_LOG(ERR, "%s: bad device argument %s=%s", nic->name, key,
			value != NULL ? value : "");
	return rc;
}

static int args_parse(struct emu_nic *nic, const char *args, struct rte_eth_devargs *da)
{
	struct rte_kvargs *kv;
	int rc;

	memset(da, 0, sizeof(*da));
	if (args == NULL || args[0] == '\0')
		return 0;
	rc = emu_eth_devargs_parse(args, da);
	if (rc != 0)
		return rc;
	kv = rte_kvargs_parse(args, NULL);
	if (kv == NULL)
		return -EINVAL;
	rc = rte_kvargs_process(kv, NULL, arg_one, nic);
	rte_kvargs_free(kv);
	return rc;
}

/* --- ports --------------------------------------------------------------------------------------
 */

static void wire_choose(struct emu_wire *wire, const char *value)
{
	if (strcmp(value, "none") == 0) {
		wire->kind = EMU_WIRE_NONE;
	} else if (value[0] == '\0' || strcmp(value, "ring") == 0) {
		wire->kind = EMU_WIRE_RING;
	} else {
		wire->kind = EMU_WIRE_ETHDEV;
		snprintf(wire->dev, sizeof(wire->dev), "%s", value);
	}
}

static int tx_ring_new(struct emu_port *port)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "emu%u_%u_tx", port->nic->number, port->index);
	port->tx_ring = rte_ring_create(name, EMU_RING_SIZE, SOCKET_ID_ANY, RING_F_SC_DEQ);
	return port->tx_ring != NULL ? 0 : -rte_errno;
}

static int port_new(struct emu_nic *nic, uint16_t index, uint16_t vf)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_eth_dev *eth;
	struct emu_port *port;

	snprintf(name, sizeof(name), index == 0 ? "%s" : VF_NAME, nic->name, vf);
	eth = rte_eth_dev_allocate(name);
	if (eth == NULL)
		return -ENOMEM;
	port = rte_zmalloc("net_emu_port", sizeof(*port), RTE_CACHE_LINE_SIZE);
	eth->data->dev_private = port;
	eth->data->mac_addrs = rte_zmalloc("net_emu_mac", sizeof(struct rte_ether_addr), 0);
	if (port == NULL || eth->data->mac_addrs == NULL)
		goto fail;
	port->nic = nic;
	port->eth = eth;
	port->index = index;
	port->ethdev = eth->data->port_id;
	port->mtu = RTE_ETHER_MTU;
	port->carrier = true;
	TAILQ_INIT(&port->rules);
	wire_choose(&port->wire, nic->wire[index]);
	if (tx_ring_new(port) != 0)
		goto fail;
	*eth->data->mac_addrs =
		(struct rte_ether_addr){{0x02, 0xe0, 0, (uint8_t)nic->number, 0, (uint8_t)index}};
	eth->device = &nic->vdev->device;
	eth->data->numa_node = nic->vdev->device.numa_node;
	eth->data->dev_flags = RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS;
	if (nic->profile->thread_safe)
		eth->data->dev_flags |= RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE;
	if (index != 0) {
		eth->data->dev_flags |= RTE_ETH_DEV_REPRESENTOR;
		eth->data->representor_id = vf;
		eth->data->backer_port_id = nic->port[0]->ethdev;
	}
	eth->dev_ops = nic->profile->no_rte_flow ? &emu_port_ops_no_flow : &emu_port_ops;
	eth->rx_pkt_burst = emu_rx_burst;
	eth->tx_pkt_burst = emu_tx_burst;
	atomic_store_explicit(&nic->port[index], port, memory_order_release);
	nic->n_ports = RTE_MAX(nic->n_ports, (uint16_t)(index + 1));
	rte_eth_dev_probing_finish(eth);
	return 0;
fail:
	rte_eth_dev_release_port(eth);
	return -ENOMEM;
}

static int ports_new(struct emu_nic *nic, const struct rte_eth_devargs *da)
{
	int rc;

	if (da->type != RTE_ETH_REPRESENTOR_NONE && da->type != RTE_ETH_REPRESENTOR_VF) {
		EMU_LOG(ERR, "%s: representors are vf[...]", nic->name);
		return -EINVAL;
	}
	if (da->nb_representor_ports >= EMU_PORTS_MAX) {
		EMU_LOG(ERR, "%s: at most %d representors", nic->name, EMU_PORTS_MAX - 1);
		return -E2BIG;
	}
	rc = port_new(nic, 0, 0);
	for (uint16_t i = 0; rc == 0 && i < da->nb_representor_ports; i++)
		rc = port_new(nic, (uint16_t)(i + 1), da->representor_ports[i]);
	return rc;
}

/* --- the NIC ------------------------------------------------------------------------------------
 */

static void nic_free(struct emu_nic *nic)
{
	emu_control_stop(nic);
	emu_eswitch_stop(nic);
	for (unsigned i = EMU_PORTS_MAX; i-- > 0;) {
		struct emu_port *port = nic->port[i];
		struct rte_eth_dev *eth;

		if (port == NULL)
			continue;
		eth = port->eth;
		emu_port_close(eth);
		rte_eth_dev_release_port(eth);
	}
	emu_match_fini(nic);
	if (nic->switch_domain != RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID)
		rte_eth_switch_domain_free(nic->switch_domain);
	pthread_mutex_destroy(&nic->flow_lock);
	pthread_mutex_destroy(&nic->step_lock);
	free(nic);
}

static int emu_probe(struct rte_vdev_device *vdev)
{
	struct rte_eth_devargs da;
	struct emu_nic *nic;
	int rc;

	if (strcmp(rte_version(), EMU_BUILT_FOR) != 0) {
		EMU_LOG(ERR, "built for %s, this is %s", EMU_BUILT_FOR, rte_version());
		return -EINVAL;
	}
	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return -ENOTSUP;
	nic = calloc(1, sizeof(*nic));
	if (nic == NULL)
		return -ENOMEM;
	snprintf(nic->name, sizeof(nic->name), "%s", rte_vdev_device_name(vdev));
	nic->vdev = vdev;
	nic->core = -1;
	nic->control_fd = nic->control_wake = -1;
	nic->profile = emu_profile_at(0);
	nic->switch_domain = RTE_ETH_DEV_SWITCH_DOMAIN_ID_INVALID;
	nic->number = nic_count++;
	pthread_mutex_init(&nic->flow_lock, NULL);
	pthread_mutex_init(&nic->step_lock, NULL);
	TAILQ_INIT(&nic->aging);
	emu_knobs_init(&nic->knobs);
	rc = args_parse(nic, rte_vdev_device_args(vdev), &da);
	if (rc == 0)
		rc = rte_eth_switch_domain_alloc(&nic->switch_domain);
	if (rc == 0)
		rc = emu_match_init(nic);
	if (rc == 0)
		rc = ports_new(nic, &da);
	if (rc == 0)
		rc = emu_eswitch_start(nic);
	if (rc == 0)
		rc = emu_control_start(nic);
	if (rc != 0) {
		nic_free(nic);
		return rc;
	}
	pthread_mutex_lock(&nics_lock);
	TAILQ_INSERT_TAIL(&nics, nic, next);
	pthread_mutex_unlock(&nics_lock);
	EMU_LOG(INFO, "%s: profile %s, %u ports, switch domain %u", nic->name, nic->profile->name,
		nic->n_ports, nic->switch_domain);
	return 0;
}

static int emu_remove(struct rte_vdev_device *vdev)
{
	struct emu_nic *nic = net_emu_find(rte_vdev_device_name(vdev));

	if (nic == NULL)
		return 0;
	pthread_mutex_lock(&nics_lock);
	TAILQ_REMOVE(&nics, nic, next);
	pthread_mutex_unlock(&nics_lock);
	nic_free(nic);
	return 0;
}

static struct rte_vdev_driver emu_driver = {.probe = emu_probe, .remove = emu_remove};

RTE_PMD_REGISTER_VDEV(net_emu, emu_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_emu,
	"representor=vf[<n>-<m>] profile=<name> wire=ring|none|<ethdev> wire<n>=... core=<n> step=1 "
	"control=<path> cap=<n> gen=<n> ins_us=<n> fail_every=<n> ...");
RTE_LOG_REGISTER(emu_logtype, pmd.net.emu, NOTICE)
