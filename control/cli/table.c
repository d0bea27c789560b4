/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The table of everything sluicectl knows: types with their columns, options, verbs. Parser, help,
 * completion and manual page come from here. */

#include <string.h>

#include "control/cli/cells.h"
#include "control/cli/verbs.h"

#define END       \
	{         \
		0 \
	}
#define V(t, p)                       \
	{                             \
		.title = t, .path = p \
	}
#define C(t, c)                              \
	{                                    \
		.title = t, .cell = cell_##c \
	}
#define WV(t, p)                                    \
	{                                           \
		.title = t, .path = p, .wide = true \
	}
#define WC(t, c)                                           \
	{                                                  \
		.title = t, .cell = cell_##c, .wide = true \
	}

static const struct column service_columns[] = {V("NAMESPACE", "metadata.namespace"),
	V("NAME", "metadata.name"), V("TYPE", "spec.type"), C("CLUSTER-IP", cluster_ips),
	C("EXTERNAL-IP", external_ips), C("PORTS", service_ports), C("BACKENDS", ready),
	C("APPLIED", programmed), C("AGE", age), WC("POLICIES", policies),
	WV("AFFINITY", "spec.sessionAffinity"), WV("OWNER", "metadata.managedBy"),
	WC("MESSAGE", message), END};

static const struct column backend_columns[] = {V("SERVICE", "service"), V("PORT", "portName"),
	C("ADDRESS", address), V("PROTO", "protocol"), V("STATE", "state"), V("NODE", "node"),
	C("LISTS", lists), WV("POD", "pod"), WV("ZONE", "zone"), WV("LOCAL", "local"), END};

static const struct column flow_columns[] = {V("PROTO", "protocol"), C("SRC", flow_src),
	C("DST", flow_dst), C("BACKEND", flow_backend), V("STATE", "state"), C("IDLE", flow_idle),
	WC("AGE", flow_age), WV("NAT", "nat.type"), WC("REPLY-TO", flow_reply),
	C("OFFLOAD", flow_offload), WC("HW-PACKETS", flow_hw_packets), WC("WHY-NOT", flow_why),
	WC("SERVICE", flow_service), WV("IN", "ports.in"), WV("OUT", "ports.out"),
	WV("WORKER", "worker"), WV("ID", "id"), WC("LAST-ERROR", flow_last_error), END};

static const struct column vport_columns[] = {V("NAME", "metadata.name"), V("ROLE", "spec.role"),
	C("PORT", vport_port), V("VLAN", "spec.vlan"), V("ADDRESSES", "spec.addresses"),
	V("RX-PACKETS", "status.counters.rxPackets"), V("TX-PACKETS", "status.counters.txPackets"),
	V("DROPS", "status.counters.drops"), C("APPLIED", programmed), WV("ID", "status.id"),
	WV("MTU", "spec.mtu"), WV("PEER-MAC", "spec.peerMac"), WV("GUARD", "spec.sourceGuard"),
	WV("OWNER", "metadata.managedBy"), WC("MESSAGE", message), END};

static const struct column port_columns[] = {V("NAME", "metadata.name"), V("TYPE", "spec.type"),
	V("DRIVER", "status.driver"), V("LINK", "status.link.state"), C("QUEUES", queues),
	V("RX-PACKETS", "status.counters.rxPackets"), V("TX-PACKETS", "status.counters.txPackets"),
	V("MISSED", "status.counters.rxMissed"), WV("RX-BYTES", "status.counters.rxBytes"),
	WV("TX-BYTES", "status.counters.txBytes"), WV("NO-BUFFER", "status.counters.rxNoBuffer"),
	WV("MAC", "status.mac"), WV("MTU", "spec.mtu"), WV("VPORTS", "status.vports"),
	WV("WHERE", "spec.where"), END};

static const struct column worker_columns[] = {V("NAME", "metadata.name"),
	V("STATE", "status.state"), V("CPU", "status.cpu"), V("BUSY%", "status.busyPercent"),
	V("CYCLES/PKT", "status.cyclesPerPacket"), V("PKTS/BATCH", "status.packetsPerBatch"),
	V("RECEIVED", "status.counters.received"), V("SENT", "status.counters.sent"),
	WV("SLEEP%", "status.sleepPercent"), WV("RX-QUEUES", "status.rxQueues"),
	WV("LOOPS", "status.counters.loops"), WV("LONGEST-US", "status.longestLoopMicroseconds"),
	WV("BEAT-MS", "status.heartbeatAgeMilliseconds"), END};

static const struct column node_columns[] = {V("NAME", "metadata.name"), V("SELF", "spec.self"),
	V("ZONE", "spec.zone"), V("POD-CIDRS", "spec.podCIDRs"), V("ADDRESSES", "spec.internalIPs"),
	C("APPLIED", programmed), WV("EXTERNAL", "spec.externalIPs"),
	WV("DELETING", "spec.deleting"), END};

static const struct column route_columns[] = {V("PREFIX", "prefix"), V("TYPE", "type"),
	V("VIA", "via"), V("VPORT", "vport"), V("ORIGIN", "origin"), WV("NEXT-HOP", "nextHop"),
	END};

static const struct column neighbor_columns[] = {V("ADDRESS", "address"), V("MAC", "mac"),
	V("VPORT", "vport"), V("STATE", "state"), C("UPDATED", updated), WV("DYNAMIC", "dynamic"),
	WV("REQUESTS", "requests"), WV("NEXT-HOP", "nextHop"), END};

static const struct column drop_columns[] = {V("REASON", "reason"), V("CLASS", "class"),
	V("PACKETS", "packets"), WV("REMEDY", "remedy"), V("TEXT", "text"), END};

static const struct column reason_columns[] = {
	V("REASON", "name"), V("CLASS", "class"), WV("REMEDY", "remedy"), V("TEXT", "text"), END};

static const struct column stage_columns[] = {C("PIPELINE", parent_name), V("STAGE", "name"),
	V("PACKETS", "packets"), C("TABLES", stage_tables), WV("MATCH", "match"),
	WV("ACTIONS", "actions"), END};

static const struct column table_columns[] = {V("NAME", "name"), V("USED", "used"),
	C("CAPACITY", capacity), V("HIGH-WATER", "highWater"), V("FULL", "full"), END};

static const struct column offload_columns[] = {V("NAME", "name"), V("STATE", "state"),
	V("DRIVER", "driver"), V("RULES", "rules"), V("INSERTED", "inserts.ok"),
	V("HW-PACKETS", "hwPackets"), V("BREAKER", "breaker"), C("SHAPES", offload_shapes),
	WV("REPRESENTOR", "representor"), WV("DOMAIN", "switchDomain"),
	WV("UNTRUSTED", "untrusted"), WV("REFUSED", "inserts.shape"),
	WV("FULL", "inserts.capacity"), WV("FAILED", "inserts.device"), WV("FLUSHES", "flushes"),
	WV("QUARANTINED", "quarantined"), END};

static const struct column caps_columns[] = {C("PORT", parent_name), V("SHAPE", "shape"),
	V("SUPPORT", "support"), V("REASON", "reason"), WV("PORT-DIALECT", "dialect.port"),
	WV("NAT", "dialect.nat"), WV("TTL", "dialect.ttl"), WV("ENCAP", "dialect.encap"),
	WV("DECAP", "dialect.decap"), WV("ORDER", "dialect.order"), WV("GROUP", "dialect.group"),
	WV("ERRNO", "errno"), V("DRIVER-SAYS", "driverSays"), END};

static const struct column rejection_columns[] = {
	V("REASON", "reason"), V("COUNT", "count"), V("MEANING", "meaning"), END};

static const struct column operation_columns[] = {
	V("NUMBER", "number"), V("ANSWER", "answer"), V("CALL", "call"), END};

static const struct column refusal_columns[] = {V("KIND", "regarding.kind"),
	V("NAMESPACE", "regarding.namespace"), V("NAME", "regarding.name"), V("FIELD", "field"),
	V("REASON", "reason"), END};

static const struct column conflict_columns[] = {V("ADDRESS", "address"), V("PORT", "port"),
	V("PROTO", "protocol"), V("WINNER", "winner"), V("LOSER", "loser"), END};

static const struct column event_columns[] = {V("LAST", "lastAt"), V("TYPE", "type"),
	V("REASON", "reason"), V("KIND", "regarding.kind"), WV("NAMESPACE", "regarding.namespace"),
	V("NAME", "regarding.name"), V("COUNT", "count"), WV("FIRST", "firstAt"), V("NOTE", "note"),
	END};

static const struct column config_columns[] = {V("KEY", "key"), V("RELOADABLE", "reloadable"),
	V("DEFAULT", "default"), V("VALUE", "value"), END};

#define FLOW_FILTERS                                                                        \
	"ip src dst port srcPort dstPort proto family service namespace backend state nat " \
	"unreplied worker inPort minAgeSeconds minIdleSeconds offload reason"

const struct type types[] = {
	{.name = "services",
		.aliases = "service svc",
		.text = "Services, their frontends and whether the dataplane follows them",
		.list = "/api/v1/services",
		.filters = "namespace",
		.has_one = true,
		.watch = true,
		.columns = service_columns},
	{.name = "backends",
		.aliases = "backend",
		.text = "endpoints of Services and their state",
		.list = "/api/v1/backends",
		.filters = "namespace service state node zone pod",
		.watch = true,
		.columns = backend_columns},
	{.name = "flows",
		.aliases = "flow",
		.text = "tracked flows; repeated filters are alternatives, '!' in front excludes",
		.list = "/api/v1/flows",
		.filters = FLOW_FILTERS,
		.has_one = true,
		.columns = flow_columns},
	{.name = "vports",
		.aliases = "vport",
		.text = "virtual ports: pods, host, uplinks",
		.list = "/api/v1/vports",
		.has_one = true,
		.watch = true,
		.columns = vport_columns},
	{.name = "ports",
		.aliases = "port",
		.text = "ports under the vports, with their counters",
		.list = "/api/v1/ports",
		.has_one = true,
		.columns = port_columns},
	{.name = "workers",
		.aliases = "worker",
		.text = "poll-mode workers and how busy they are",
		.list = "/api/v1/workers",
		.has_one = true,
		.columns = worker_columns},
	{.name = "nodes",
		.aliases = "node",
		.text = "nodes of the cluster as routes know them",
		.list = "/api/v1/nodes",
		.watch = true,
		.columns = node_columns},
	{.name = "routes",
		.aliases = "route",
		.text = "routes in force",
		.list = "/api/v1/routes",
		.columns = route_columns},
	{.name = "neighbors",
		.aliases = "neighbor neighbours neighbour",
		.text = "neighbours by ARP and ND",
		.list = "/api/v1/neighbors",
		.columns = neighbor_columns},
	{.name = "drops",
		.aliases = "drop",
		.text = "dropped packets by reason",
		.list = "/api/v1/drops",
		.filters = "all",
		.columns = drop_columns},
	{.name = "drop-reasons",
		.aliases = "drop-reason",
		.text = "every reason to drop a packet and what to do about it",
		.list = "/api/v1/drop-reasons",
		.columns = reason_columns},
	{.name = "pipelines",
		.aliases = "pipeline",
		.text = "stages in their order, and the tables they match on",
		.list = "/api/v1/pipelines",
		.parts = "stages",
		.has_one = true,
		.columns = stage_columns},
	{.name = "tables",
		.aliases = "table",
		.text = "every table and how full it is",
		.list = "/api/v1/tables",
		.columns = table_columns},
	{.name = "offload",
		.aliases = "offloads hardware",
		.text = "NIC ports that carry flows in hardware",
		.list = "/api/v1/offload",
		.also = "offload-caps",
		.columns = offload_columns},
	{.name = "offload-caps",
		.aliases = "offload-cap",
		.text = "what each NIC port can do, in its driver's own words where it cannot",
		.list = "/api/v1/offload",
		.parts = "matrix",
		.columns = caps_columns},
	{.name = "offload-rejections",
		.aliases = "offload-rejection",
		.text = "why flows stayed in software",
		.list = "/api/v1/offload/rejections",
		.columns = rejection_columns},
	{.name = "offload-operations",
		.aliases = "offload-operation",
		.text = "the last calls of NICs' drivers, as testpmd takes them",
		.list = "/api/v1/offload/operations",
		.columns = operation_columns},
	{.name = "refusals",
		.aliases = "refusal",
		.text = "objects refused, wholly or in part, by field",
		.list = "/api/v1/refusals",
		.columns = refusal_columns},
	{.name = "conflicts",
		.aliases = "conflict",
		.text = "frontends that several services claim, and which one has them",
		.list = "/api/v1/conflicts",
		.columns = conflict_columns},
	{.name = "events",
		.aliases = "event ev",
		.text = "what happened lately that somebody should know",
		.list = "/api/v1/events",
		.columns = event_columns},
	{.name = "config",
		.aliases = "configuration",
		.text = "configuration that differs from the defaults; -o yaml shows all of it",
		.list = "/api/v1/config",
		.parts = "changed",
		.columns = config_columns},
	{0},
};

const struct option options[] = {
	{"--output", 'o', "FORMAT", "table, wide, json, yaml or name"},
	{"--watch", 'w', NULL, "show what is there, then every change"},
	{"--output-watch-events", 0, NULL, "with --watch: what happened in the first column"},
	{"--namespace", 'n', "NAME", "only this namespace"},
	{"--all-namespaces", 'A', NULL, "all namespaces (the default)"},
	{"--limit", 0, "N", "stop after so many"},
	{"--all", 0, NULL, "flows: every page; delete: without a filter"},
	{"--no-headers", 0, NULL, "no titles above the columns"},
	{"--filename", 'f', "FILE", "create: the object as JSON, - for standard input"},
	{"--dry-run", 0, NULL, "delete flows: only count"},
	{"--check", 0, NULL, "status: exit 6 when not ready"},
	{"--man", 0, NULL, "help: the manual page, as roff"},
	{"--socket", 0, "PATH", "the daemon's socket (SLUICE_SOCKET; " DEFAULT_SOCKET ")"},
	{"--server", 0, "URL", "the daemon over TCP instead (SLUICE_SERVER)"},
	{"--timeout", 0, "SECONDS", "how long to wait for an answer (15)"},
	{"--help", 'h', NULL, "help, or that of the verb"},
	{0},
};

const struct verb verbs[] = {
	{"get", "TYPE[/NAME] [FILTER=VALUE]...", "show objects", "@types", verb_get},
	{"status", "", "the node on one screen", "", verb_status},
	{"lookup", "flow src=A srcPort=N dst=B dstPort=N [proto=P] | route ADDRESS",
		"find what a packet meets", "flow route", verb_lookup},
	{"create", "vport NAME role=ROLE port=PORT [FIELD=VALUE]... | -f FILE",
		"make a vport and wait until it is programmed", "vport", verb_create},
	{"delete", "flows FILTER=VALUE... | flows/ID | vport NAME", "end flows, remove a vport",
		"flows vport", verb_delete},
	{"offload", "caps | rejections", "what NICs can do, and why flows stay in software",
		"caps rejections", verb_offload},
	{"raw", "GET|POST|DELETE PATH", "one request, the answer as it is", "GET POST DELETE",
		verb_raw},
	{"version", "", "versions of this program and of the daemon", "", verb_version},
	{"completion", "bash", "a completion script to source", "bash", verb_completion},
	{"help", "[VERB]", "this text", "@verbs", verb_help},
	{0},
};

static bool word_in(const char *list, const char *name, size_t len)
{
	while (list != NULL && *list != '\0') {
		size_t n = strcspn(list, " ");

		if (n == len && strncmp(list, name, len) == 0)
			return true;
		list += n + (list[n] == ' ');
	}
	return false;
}

const struct type *type_find(const char *name, size_t len)
{
	for (const struct type *t = types; t->name != NULL; t++)
		if (word_in(t->name, name, len) || word_in(t->aliases, name, len))
			return t;
	return NULL;
}
