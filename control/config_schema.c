/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The schema: every key of the configuration file, once. Reading, checking, comparing, the JSON
 * view and the printed reference walk this table; its order is the order of the reference.
 * Constant data; any thread. */

#include <stddef.h>
#include <string.h>

#include "control/config_private.h"
#include "core/dataplane.h"

#define AT(field)   offsetof(struct config, field)
#define PORT(field) offsetof(struct config_port, field)
#define VP(field)   offsetof(struct config_vport, field)
#define RT(field)   offsetof(struct config_route, field)
#define ROWS(table) ((uint32_t)(sizeof(table) / sizeof((table)[0])))

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

static const char *const api_versions[] = {"sluice/v1", NULL};
static const char *const kinds[] = {"Config", NULL};
static const char *const autos[] = {"auto", "on", "off", NULL};
static const char *const detect_local_modes[] = {
	"PodVport", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix", NULL};
static const char *const endpoint_kinds[] = {"auto", "slices", "endpoints", NULL};
static const char *const roles[] = {"pod", "host", "uplink", NULL};
static const char *const route_kinds[] = {"unicast", "blackhole", "prohibit", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

/* What a port is, for ports and for vports that bring their own. at() gives the offset. */
#define PORT_ROWS(at, required_)                                                                   \
	{.path = "kind",                                                                           \
		.type = TYPE_ENUM,                                                                 \
		.offset = at(kind),                                                                \
		.names = port_kind_names,                                                          \
		.required = required_,                                                             \
		.help = "What the port stands on."},                                               \
		{.path = "iface",                                                                  \
			.type = TYPE_IFACE,                                                        \
			.offset = at(iface),                                                       \
			.help = "The kernel interface (af_packet, af_xdp), or the name of the "    \
				"one to make (tap)."},                                             \
		{.path = "address",                                                                \
			.type = TYPE_PCI,                                                          \
			.offset = at(address),                                                     \
			.help = "The PCI address (pci), as 0000:03:00.0."},                        \
		{.path = "device",                                                                 \
			.type = TYPE_TEXT,                                                         \
			.offset = at(device),                                                      \
			.help = "DPDK's name of a port that memory.eal-args made (ethdev): a "     \
				"representor, a plug-in driver's."},                               \
		{.path = "path",                                                                   \
			.type = TYPE_SOCKET,                                                       \
			.offset = at(path),                                                        \
			.help = "The unix socket (memif, vhost-user, virtio-user) or the file to " \
				"read packets from (pcap)."},                                      \
		{.path = "tx-path",                                                                \
			.type = TYPE_SOCKET,                                                       \
			.offset = at(tx_path),                                                     \
			.help = "The file to write packets to (pcap)."},                           \
		{.path = "server",                                                                 \
			.type = TYPE_BOOL,                                                         \
			.offset = at(server),                                                      \
			.def = "false",                                                            \
			.help = "Make the socket instead of connecting to it (memif, "             \
				"vhost-user, virtio-user)."},                                      \
		{.path = "memif-id",                                                               \
			.type = TYPE_UINT,                                                         \
			.offset = at(memif_id),                                                    \
			.def = "0",                                                                \
			.max = 65535,                                                              \
			.help = "Number of the connection on a memif socket."},                    \
		{.path = "queues",                                                                 \
			.type = TYPE_UINT,                                                         \
			.offset = at(queues),                                                      \
			.def = "0",                                                                \
			.max = WORKERS_MAX,                                                        \
			.help = "Receive queues, spread over the workers. 0: one."},               \
		{.path = "descriptors",                                                            \
			.type = TYPE_UINT,                                                         \
			.offset = at(descriptors),                                                 \
			.def = "0",                                                                \
			.max = 32768,                                                              \
			.help = "Descriptors of a queue. 0: the driver's choice."},                \
		{.path = "promiscuous",                                                            \
			.type = TYPE_BOOL,                                                         \
			.offset = at(promiscuous),                                                 \
			.def = "true",                                                             \
			.help = "Receive frames for MAC addresses other than the port's own, as "  \
				"several vports on one port need it."},                            \
	{                                                                                          \
		.path = "args", .type = TYPE_TEXT, .offset = at(args),                             \
		.help = "Further arguments of the DPDK driver: key=value,key=value."               \
	}

static const struct config_key port_keys[] = {
	{.path = "name",
		.type = TYPE_NAME,
		.offset = PORT(name),
		.max = 31,
		.required = true,
		.help = "Unique name of the port; vports refer to it."},
	PORT_ROWS(PORT, true),
	{.path = "mtu",
		.type = TYPE_UINT,
		.offset = PORT(mtu),
		.def = "0",
		.max = 9600,
		.help = "Largest IP packet. 0: the interface's own, or 1500."},
};

#define VP_PORT(field) (offsetof(struct config_vport, own_port) + PORT(field))

static const struct config_key vport_keys[] = {
	{.path = "name",
		.type = TYPE_NAME,
		.offset = VP(name),
		.max = VPORT_NAME_MAX - 1,
		.required = true,
		.help = "Unique name of the vport."},
	{.path = "role",
		.type = TYPE_ENUM,
		.offset = VP(role),
		.names = roles,
		.required = true,
		.help = "pod: one pod behind it, which may send from its own addresses only. host: "
			"the node's own network stack. uplink: other nodes and the outside."},
	{.path = "port",
		.type = TYPE_NAME,
		.offset = VP(port),
		.max = 31,
		.help = "The port it is on, by name. A vport that has a port of its own gives the "
			"keys of that port here instead, from kind on."},
	{.path = "vlan",
		.type = TYPE_UINT,
		.offset = VP(vlan),
		.def = "0",
		.max = 4094,
		.help = "VLAN id of its frames on the port. 0: untagged."},
	{.path = "addresses",
		.type = TYPE_IFADDRS,
		.offset = VP(addresses),
		.def = "[]",
		.max = VPORT_ADDRS_MAX,
		.help = "pod: its addresses, or prefixes routed to it. host: the node's addresses, "
			"when they are not those of the node. uplink: our own addresses on that "
			"link with the length of its prefix, as 192.0.2.10/24; hosts inside the "
			"prefix are reached directly."},
	{.path = "mac",
		.type = TYPE_MAC,
		.offset = VP(mac),
		.help = "Our MAC address on it. Default: gateway.mac for pod and host, the port's "
			"own for uplink."},
	{.path = "peer-mac",
		.type = TYPE_MAC,
		.offset = VP(peer_mac),
		.help = "The other side's MAC address (pod, host). Without it, it is learned by "
			"ARP and ND and frames are not checked against it."},
	{.path = "mtu",
		.type = TYPE_UINT,
		.offset = VP(mtu),
		.def = "0",
		.max = 9600,
		.help = "Largest IP packet. 0: the port's."},
	{.path = "source-guard",
		.type = TYPE_BOOL,
		.offset = VP(source_guard),
		.def = "true",
		.help = "Drop what a pod sends from addresses that are not its own."},
	PORT_ROWS(VP_PORT, false),
};

static const struct config_key route_keys[] = {
	{.path = "prefix",
		.type = TYPE_PREFIX,
		.offset = RT(prefix),
		.required = true,
		.help = "The destination; 0.0.0.0/0 and ::/0 are the default routes."},
	{.path = "via",
		.type = TYPE_ADDR,
		.offset = RT(via),
		.help = "The router, which is on the link of an uplink."},
	{.path = "vport",
		.type = TYPE_NAME,
		.offset = RT(vport),
		.max = VPORT_NAME_MAX - 1,
		.help = "The vport the router is on. Without via: the prefix is on that link."},
	{.path = "type",
		.type = TYPE_ENUM,
		.offset = RT(kind),
		.def = "unicast",
		.names = route_kinds,
		.help = "unicast forwards, blackhole drops silently, prohibit answers with an ICMP "
			"error."},
};

static const struct config_list port_list = {
	port_keys, ROWS(port_keys), sizeof(struct config_port), PORT(line)};
static const struct config_list vport_list = {
	vport_keys, ROWS(vport_keys), sizeof(struct config_vport), VP(line)};
static const struct config_list route_list = {
	route_keys, ROWS(route_keys), sizeof(struct config_route), RT(line)};

/* Seconds; zero would end flows at once. */
#define TIMEOUT(name_, field_, def_, help_)                                                \
	{                                                                                  \
		.path = "flows.timeouts." name_, .type = TYPE_UINT,                        \
		.offset = AT(flows.timeouts.field_), .def = def_, .min = 1, .max = 604800, \
		.reload = true, .help = help_                                              \
	}

const struct config_key config_keys[] = {
	{.path = "apiVersion",
		.type = TYPE_ENUM,
		.offset = AT(api_version),
		.def = "sluice/v1",
		.names = api_versions,
		.help = "Version of this format."},
	{.path = "kind",
		.type = TYPE_ENUM,
		.offset = AT(kind),
		.def = "Config",
		.names = kinds,
		.help = "What this document is."},

	{.path = "node.name",
		.type = TYPE_NAME,
		.offset = AT(node.name),
		.max = 253,
		.help = "Name of this node's Node object. Default: the machine's host name, which "
			"on a DPU is not the node's."},
	{.path = "node.addresses",
		.type = TYPE_ADDRS,
		.offset = AT(node.addresses),
		.def = "[]",
		.max = 16,
		.reload = true,
		.help = "The node's own addresses, the first of each family being the primary one. "
			"Default: those of the Node object."},

	{.path = "kubernetes.socket",
		.type = TYPE_SOCKET,
		.offset = AT(kubernetes.socket),
		.help = "Unix socket of the API, as served by kubectl proxy --unix-socket. With "
			"neither socket nor url there is no Kubernetes."},
	{.path = "kubernetes.url",
		.type = TYPE_URL,
		.offset = AT(kubernetes.url),
		.help = "Address of the API server, as https://192.0.2.1:6443. Not a Service "
			"address: that one works only once Sluice runs."},
	{.path = "kubernetes.ca-file",
		.type = TYPE_FILE,
		.offset = AT(kubernetes.ca_file),
		.help = "Certificates (PEM) that the server's is checked against. Default: the "
			"system's."},
	{.path = "kubernetes.token-file",
		.type = TYPE_FILE,
		.offset = AT(kubernetes.token_file),
		.help = "Bearer token, read again when the file changes. Needs an https url."},
	{.path = "kubernetes.client-cert-file",
		.type = TYPE_FILE,
		.offset = AT(kubernetes.client_cert_file),
		.help = "Client certificate (PEM)."},
	{.path = "kubernetes.client-key-file",
		.type = TYPE_FILE,
		.offset = AT(kubernetes.client_key_file),
		.help = "Key of the client certificate (PEM)."},
	{.path = "kubernetes.endpoints",
		.type = TYPE_ENUM,
		.offset = AT(kubernetes.endpoints),
		.def = "auto",
		.names = endpoint_kinds,
		.help = "Where endpoints come from: EndpointSlices, the older Endpoints, or slices "
			"where the server has them."},
	{.path = "kubernetes.service-proxy-name",
		.type = TYPE_TEXT,
		.offset = AT(kubernetes.service_proxy_name),
		.help = "Take the Services whose label service.kubernetes.io/service-proxy-name "
			"has this value. Default: those without the label."},
	{.path = "kubernetes.external-ips",
		.type = TYPE_BOOL,
		.offset = AT(kubernetes.external_ips),
		.def = "true",
		.help = "Serve spec.externalIPs of Services."},
	{.path = "kubernetes.events",
		.type = TYPE_BOOL,
		.offset = AT(kubernetes.events),
		.def = "true",
		.help = "Make Events of what goes wrong with a Service or this node; needs create "
			"and patch on events, and is off for good where those are refused. They "
			"are at /api/v1/events in any case."},

	{.path = "workers.count",
		.type = TYPE_UINT,
		.offset = AT(workers.count),
		.def = "1",
		.min = 1,
		.max = WORKERS_MAX,
		.help = "Threads that move packets."},
	{.path = "workers.lcores",
		.type = TYPE_CPUS,
		.offset = AT(workers.lcores),
		.def = "[]",
		.max = WORKERS_MAX,
		.help = "CPUs of the workers, one each, as 2-5 or [2, 4]. Default: not pinned."},
	{.path = "workers.idle-spin-us",
		.type = TYPE_UINT,
		.offset = AT(workers.idle_spin_us),
		.def = "50",
		.max = 1000000,
		.help = "How long a worker polls behind its last packet before it sleeps until one of "
			"its ports wakes it, microseconds. More: less delay where packets come "
			"seldom, for more of the CPU."},
	{.path = "workers.idle-sleep-min-us",
		.type = TYPE_UINT,
		.offset = AT(workers.idle_sleep_min_us),
		.def = "5",
		.min = 1,
		.max = 1000000,
		.help = "First sleep of an idle worker that has a port which cannot wake it (memif, "
			"pcap, null), microseconds; it doubles from there."},
	{.path = "workers.idle-sleep-max-us",
		.type = TYPE_UINT,
		.offset = AT(workers.idle_sleep_max_us),
		.def = "250",
		.max = 1000000,
		.help = "Longest sleep of such a worker, microseconds; what a first packet may "
			"wait. 0: no worker ever sleeps."},

	{.path = "memory.hugepages",
		.type = TYPE_ENUM,
		.offset = AT(memory.hugepages),
		.def = "auto",
		.names = autos,
		.help = "auto: use hugepages when enough are free. on: refuse to start without."},
	{.path = "memory.size-mb",
		.type = TYPE_UINT,
		.offset = AT(memory.size_mb),
		.def = "0",
		.max = 1048576,
		.help = "Memory for DPDK, MiB. 0: what the buffers need."},
	{.path = "memory.buffers",
		.type = TYPE_UINT,
		.offset = AT(memory.buffers),
		.def = "16384",
		.min = 1024,
		.max = 16777216,
		.help = "Packet buffers of all ports and workers together."},
	{.path = "memory.buffer-size",
		.type = TYPE_UINT,
		.offset = AT(memory.buffer_size),
		.def = "2048",
		.min = 2048,
		.max = 16384,
		.help = "Bytes of the largest frame that a buffer holds."},
	{.path = "memory.eal-args",
		.type = TYPE_STRINGS,
		.offset = AT(memory.eal_args),
		.def = "[]",
		.max = 64,
		.help = "Further arguments of DPDK's environment abstraction layer."},

	{.path = "flows.capacity-v4",
		.type = TYPE_UINT,
		.offset = AT(flows.capacity[IP_V4]),
		.def = TEXT_OF(FLOWS_DEFAULT),
		.min = 64,
		.max = FLOWS_MAX,
		.help = "IPv4 flows that can be tracked, all workers together."},
	{.path = "flows.capacity-v6",
		.type = TYPE_UINT,
		.offset = AT(flows.capacity[IP_V6]),
		.def = TEXT_OF(FLOWS_DEFAULT),
		.min = 64,
		.max = FLOWS_MAX,
		.help = "IPv6 flows that can be tracked, all workers together."},
	{.path = "flows.tcp-pick-up",
		.type = TYPE_BOOL,
		.offset = AT(flows.tcp_pick_up),
		.def = "true",
		.reload = true,
		.help = "Track TCP connections that were open before the start."},
	TIMEOUT("tcp-new", tcp_new, "30", "Seconds: SYN seen, no answer."),
	TIMEOUT("tcp-replied", tcp_replied, "60", "Seconds: SYN-ACK seen."),
	TIMEOUT("tcp-established", tcp_established, "86400", "Seconds: idle connection."),
	TIMEOUT("tcp-fin", tcp_fin, "3600", "Seconds: one side has closed."),
	TIMEOUT("tcp-closing", tcp_closing, "10", "Seconds: both sides have closed, or a reset."),
	TIMEOUT("udp", udp, "30", "Seconds: no answer seen."),
	TIMEOUT("udp-replied", udp_replied, "120", "Seconds: answered."),
	TIMEOUT("icmp", icmp, "30", "Seconds: echo."),
	TIMEOUT("sctp-new", sctp_new, "30", "Seconds: INIT seen, no answer."),
	TIMEOUT("sctp-established", sctp_established, "210", "Seconds: idle association."),
	TIMEOUT("sctp-closing", sctp_closing, "10", "Seconds: shutdown or abort."),

	{.path = "offload.mode",
		.type = TYPE_ENUM,
		.offset = AT(offload.mode),
		.names = autos,
		.def = "auto",
		.reload = true,
		.help = "Established flows in the NIC's hardware, where both of their ports are a "
			"NIC's that can. off: what is there leaves."},
	{.path = "offload.partial",
		.type = TYPE_BOOL,
		.offset = AT(offload.partial),
		.def = "true",
		.help = "Where a NIC cannot forward a flow, let it mark the flow's packets, so that a "
			"worker finds their entry without a lookup."},
	{.path = "offload.capacity",
		.type = TYPE_UINT,
		.offset = AT(offload.capacity),
		.def = "65536",
		.min = 2,
		.max = 8388608,
		.reload = true,
		.help = "Rules in all NICs together; a flow takes two. What a NIC holds less is "
			"found out. A reload can only lower what was there at the start."},
	{.path = "offload.min-age-ms",
		.type = TYPE_UINT,
		.offset = AT(offload.min_age_ms),
		.def = "200",
		.max = 60000,
		.reload = true,
		.help = "Flows younger than this stay in software."},
	{.path = "offload.min-pps",
		.type = TYPE_UINT,
		.offset = AT(offload.min_pps),
		.def = "8",
		.min = 8,
		.max = 65535,
		.reload = true,
		.help = "Flows with fewer packets a second stay in software, however much room is "
			"left. Counted by samples."},
	{.path = "offload.insert-share",
		.type = TYPE_UINT,
		.offset = AT(offload.insert_share),
		.def = "50",
		.min = 1,
		.max = 90,
		.reload = true,
		.help = "Percent of the offload thread's time that inserts may take while "
			"counters are due; all of it when none are."},
	{.path = "offload.inserts-per-tick",
		.type = TYPE_UINT,
		.offset = AT(offload.inserts_max),
		.def = "8192",
		.min = 1,
		.max = 65536,
		.reload = true,
		.help = "Rules inserted in 10 ms, at most."},
	{.path = "offload.idle-demote",
		.type = TYPE_UINT,
		.offset = AT(offload.idle_demote),
		.def = "30",
		.min = 1,
		.max = 86400,
		.reload = true,
		.help = "Seconds without a hit after which a flow's place in hardware is given up."},
	{.path = "offload.revoke-deadline-ms",
		.type = TYPE_UINT,
		.offset = AT(offload.revoke_deadline_ms),
		.def = "5000",
		.min = 10,
		.max = 600000,
		.reload = true,
		.help = "A change of the configuration whose rules are not out of the NIC by then "
			"flushes the NIC's rules."},

	{.path = "snat.addresses",
		.type = TYPE_ADDRS,
		.offset = AT(snat.addresses),
		.def = "[]",
		.max = 2,
		.reload = true,
		.help = "Source address of masqueraded flows, one a family; must be routed to this "
			"node. Default: the node's primary addresses."},
	{.path = "snat.ports",
		.type = TYPE_RANGE,
		.offset = AT(snat.ports),
		.def = "1024-65535",
		.min = 1,
		.reload = true,
		.help = "Source ports of masqueraded flows. services.node-port-range is left out."},
	{.path = "snat.egress-masquerade",
		.type = TYPE_BOOL,
		.offset = AT(snat.egress_masquerade),
		.def = "true",
		.reload = true,
		.help = "Masquerade what pods send to destinations outside the cluster."},
	{.path = "snat.masquerade-all",
		.type = TYPE_BOOL,
		.offset = AT(snat.masquerade_all),
		.def = "false",
		.reload = true,
		.help = "Masquerade all traffic to ClusterIPs, pods' included."},
	{.path = "snat.cluster-cidrs",
		.type = TYPE_PREFIXES,
		.offset = AT(snat.cluster_cidrs),
		.def = "[]",
		.max = 1024,
		.reload = true,
		.help = "Destinations that are never masqueraded for being outside. Default: pod "
			"ranges and addresses of all nodes that are known."},

	{.path = "services.node-port-addresses",
		.type = TYPE_NODEPORT,
		.offset = AT(services.node_port_primary),
		.offset2 = AT(services.node_port_cidrs),
		.def = "primary",
		.max = 64,
		.reload = true,
		.help = "Where NodePorts are served: primary (the node's primary addresses) or a "
			"list of prefixes its addresses have to be in. A family without a prefix "
			"is served on all."},
	{.path = "services.node-port-range",
		.type = TYPE_RANGE,
		.offset = AT(services.node_port_range),
		.def = "30000-32767",
		.min = 1,
		.reload = true,
		.help = "The API server's NodePort range; source NAT takes no port inside it."},
	{.path = "services.cluster-ip-outside",
		.type = TYPE_BOOL,
		.offset = AT(services.cluster_ip_outside),
		.def = "true",
		.reload = true,
		.help = "Serve ClusterIPs to clients outside the cluster, as kube-proxy does."},
	{.path = "services.detect-local-mode",
		.type = TYPE_ENUM,
		.offset = AT(services.detect_local_mode),
		.def = "PodVport",
		.names = detect_local_modes,
		.reload = true,
		.help = "Which clients of ClusterIPs keep their address: what came from a pod's "
			"vport, or as kube-proxy's --detect-local-mode says: addresses inside "
			"detect-local-cidrs (ClusterCIDR) or inside the Node's podCIDRs "
			"(NodeCIDR), what came from the vport named detect-local-interface "
			"(BridgeInterface) or from those whose names begin so "
			"(InterfaceNamePrefix)."},
	{.path = "services.detect-local-cidrs",
		.type = TYPE_PREFIXES,
		.offset = AT(services.detect_local_cidrs),
		.def = "[]",
		.max = 64,
		.reload = true,
		.help = "The cluster's pod addresses, for ClusterCIDR. In a family without a "
			"prefix no client is masqueraded."},
	{.path = "services.detect-local-interface",
		.type = TYPE_TEXT,
		.offset = AT(services.detect_local_interface),
		.reload = true,
		.help = "The vport, or the beginning of vports' names, for BridgeInterface and "
			"InterfaceNamePrefix."},
	{.path = "services.cidrs",
		.type = TYPE_PREFIXES,
		.offset = AT(services.cidrs),
		.def = "[]",
		.max = 64,
		.reload = true,
		.help = "Service address ranges, besides those the API server tells. Unknown "
			"addresses inside are dropped instead of being routed."},
	{.path = "services.backends",
		.type = TYPE_UINT,
		.offset = AT(services.backends),
		.def = "262144",
		.min = 16,
		.max = BACKEND_SLOTS_MAX - 1,
		.help = "Endpoints of all service ports together."},

	{.path = "gateway.ipv4",
		.type = TYPE_ADDR4,
		.offset = AT(gateway.addr[IP_V4]),
		.def = "169.254.1.1",
		.help = "The router that pods and the host have for IPv4."},
	{.path = "gateway.ipv6",
		.type = TYPE_ADDR6,
		.offset = AT(gateway.addr[IP_V6]),
		.def = "fe80::ecee:eeff:feee:eeee",
		.help = "The router that pods and the host have for IPv6."},
	{.path = "gateway.mac",
		.type = TYPE_MAC,
		.offset = AT(gateway.mac),
		.def = "ee:ee:ee:ee:ee:ee",
		.help = "Its MAC address on vports that do not give another."},

	{.path = "ports",
		.type = TYPE_LIST,
		.offset = AT(n_ports),
		.offset2 = AT(ports),
		.max = 32,
		.list = &port_list,
		.help = "What packets come from and go to. A port can carry several vports by "
			"VLAN."},
	{.path = "vports",
		.type = TYPE_LIST,
		.offset = AT(n_vports),
		.offset2 = AT(vports),
		.max = VPORTS_MAX - 1,
		.list = &vport_list,
		.reload = true,
		.help = "Pods, the host and uplinks."},
	{.path = "routes",
		.type = TYPE_LIST,
		.offset = AT(n_routes),
		.offset2 = AT(routes),
		.max = 4096,
		.list = &route_list,
		.reload = true,
		.help = "Static routes. Addresses behind vports, the prefixes of uplink addresses "
			"and the pods of other nodes need none."},

	{.path = "api.socket",
		.type = TYPE_SOCKET,
		.offset = AT(api.socket),
		.def = "/run/sluice/api.sock",
		.help = "Unix socket of the REST API."},
	{.path = "api.socket-mode",
		.type = TYPE_MODE,
		.offset = AT(api.socket_mode),
		.def = "0660",
		.help = "Access mode of the socket, octal."},
	{.path = "api.socket-group",
		.type = TYPE_NAME,
		.offset = AT(api.socket_group),
		.max = 32,
		.help = "Group of the socket, which may use it besides the owner. Default: the "
			"process's."},
	{.path = "api.listen",
		.type = TYPE_LISTEN,
		.offset = AT(api.listen),
		.help = "Address and port of the REST API over TCP, as 127.0.0.1:9585. Default: "
			"none."},
	{.path = "api.tcp-writable",
		.type = TYPE_BOOL,
		.offset = AT(api.tcp_writable),
		.def = "false",
		.help = "Allow changes over TCP, too; there is no authentication on it."},

	{.path = "health.bind-address",
		.type = TYPE_LISTEN,
		.offset = AT(health.bind_address),
		.def = "0.0.0.0:10256",
		.help = "Where /healthz and /livez answer as kube-proxy's do, for load balancers "
			"and the kubelet; 0.0.0.0 is every address of both families. An address "
			"that is taken is tried again. null: nowhere."},
	{.path = "health.network-namespace",
		.type = TYPE_FILE,
		.offset = AT(health.netns),
		.help = "The network namespace whose addresses this port, healthCheckNodePorts and "
			"metrics.bind-address are on, as /run/netns/host; needs CAP_SYS_ADMIN. "
			"Default: the process's own."},
	{.path = "metrics.bind-address",
		.type = TYPE_LISTEN,
		.offset = AT(metrics.bind_address),
		.help = "Where /metrics (with kube-proxy's names), /healthz, /livez, /readyz and "
			"/proxyMode answer over TCP, without authentication; kube-proxy has "
			"127.0.0.1:10249. An address that is taken is tried again. Default: none; "
			"they are on the API's socket in any case."},
	{.path = "metrics.kube-proxy-names",
		.type = TYPE_BOOL,
		.offset = AT(metrics.kube_proxy_names),
		.def = "false",
		.help = "Give the metrics of kube-proxy that exist here under its names, too; also "
			"given when metrics.bind-address is set."},

	{.path = "kube-proxy",
		.type = TYPE_FIELDS,
		.reload = true,
		.help = "Options in kube-proxy's own words: fields of a KubeProxyConfiguration, or "
			"the path of a file that holds one. Each is given to the key of the same "
			"meaning, is accepted without one, or is refused; kube-proxy-options.md "
			"and sluiced --print-kube-proxy-options have the table."},

	{.path = "log.level",
		.type = TYPE_ENUM,
		.offset = AT(log.level),
		.def = "info",
		.names = levels,
		.reload = true,
		.help = "Level of all modules that log.modules does not name."},
	{.path = "log.format",
		.type = TYPE_ENUM,
		.offset = AT(log.format),
		.def = "text",
		.names = formats,
		.reload = true,
		.help = "text: key=value pairs. json: one object a line."},
	{.path = "log.modules",
		.type = TYPE_LEVELS,
		.offset = AT(log),
		.def = "{}",
		.max = LOG_MODULES,
		.reload = true,
		.help = "Levels of single modules, as {k8s: debug}."},
};

const uint32_t config_n_keys = ROWS(config_keys);

int config_row(const char *path)
{
	for (uint32_t i = 0; i < config_n_keys; i++)
		if (strcmp(config_keys[i].path, path) == 0)
			return (int)i;
	return -1;
}
