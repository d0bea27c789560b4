/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* The configuration file: values, defaults, every class of error with its line, the reference,
 * differences, and what reaches the model (control/config.h). */

#include <errno.h>
#include <unistd.h>

#include "control/config.h"
#include "core/dataplane.h"
#include "unit/harness.h"

static struct config *load(const char *text)
{
	struct config_errors errors;
	struct config *c;
	int err = config_load_text("t.yaml", text, strlen(text), &c, &errors);

	if (err < 0)
		printf("%s", errors.text);
	CHECK_EQ(err, 0);
	CHECK_EQ(errors.n, 0);
	config_errors_fini(&errors);
	return c;
}

static const char full[] =
	"apiVersion: sluice/v1\n"
	"kind: Config\n"
	"node: {name: worker-7, addresses: [192.0.2.10, 2001:db8::10]}\n"
	"kubernetes:\n"
	"  url: https://192.0.2.1:6443\n"
	"  ca-file: /etc/ca.pem\n"
	"  token-file: /etc/token\n"
	"  endpoints: slices\n"
	"workers: {lcores: \"2-3,5\", idle-sleep-max-us: 0}\n"
	"memory: {hugepages: off, eal-args: [--no-telemetry]}\n"
	"flows:\n"
	"  capacity-v4: 64\n"
	"  timeouts: {udp: 5}\n"
	"snat: {addresses: [192.0.2.10], ports: 2000-3000}\n"
	"services: {node-port-addresses: [192.0.2.0/24], cidrs: [10.96.0.0/16]}\n"
	"gateway: {mac: 02:00:00:00:00:01}\n"
	"ports:\n"
	"- {name: nic, kind: pci, address: \"0000:03:00.0\", queues: 2}\n"
	"vports:\n"
	"- name: up\n"
	"  role: uplink\n"
	"  port: nic\n"
	"  vlan: 12\n"
	"  addresses: [192.0.2.10/24]\n"
	"- {name: pod-1, role: pod, kind: af_packet, iface: veth1,\n"
	"   addresses: [10.244.1.5, 'fd00::5'], peer-mac: 02:00:00:00:00:05,\n"
	"   mtu: 1400}\n"
	"- {name: host, role: host, kind: tap, source-guard: false}\n"
	"routes:\n"
	"- {prefix: 0.0.0.0/0, via: 192.0.2.1}\n"
	"- {prefix: 198.51.100.0/24, vport: up}\n"
	"- {prefix: 203.0.113.0/24, type: blackhole}\n"
	"api: {socket: /tmp/a.sock, socket-mode: 0600, listen: '127.0.0.1:80'}\n"
	"log: {level: warn, modules: {k8s: debug}}\n";

static void reads_every_kind_of_value(void)
{
	struct config *c = load(full);
	char buf[IP_PREFIX_TEXT_MAX];

	REQUIRE(c != NULL);
	CHECK_STR(c->node.name, "worker-7");
	CHECK_EQ(c->node.addresses.n, 2);
	CHECK_STR(ip_format(&c->node.addresses.at[1], buf), "2001:db8::10");
	CHECK_STR(c->kubernetes.url, "https://192.0.2.1:6443");
	CHECK(c->kubernetes.socket == NULL);
	CHECK_EQ(c->kubernetes.endpoints, ENDPOINTS_SLICES);
	CHECK_EQ(c->workers.count, 3);
	CHECK_EQ(c->workers.lcores.at[2], 5);
	CHECK_EQ(c->workers.idle_sleep_max_us, 0);
	CHECK_EQ(c->memory.hugepages, CONFIG_OFF);
	CHECK_STR(c->memory.eal_args.at[0], "--no-telemetry");
	CHECK_EQ(c->flows.capacity[IP_V4], 64);
	CHECK_EQ(c->flows.capacity[IP_V6], FLOWS_DEFAULT);
	CHECK_EQ(c->flows.timeouts.udp, 5);
	CHECK_EQ(c->flows.timeouts.udp_replied, 120);
	CHECK_EQ(c->snat.ports.min, 2000);
	CHECK_EQ(c->snat.ports.max, 3000);
	CHECK(!c->services.node_port_primary);
	CHECK_STR(ip_prefix_format(&c->services.node_port_cidrs.at[0], buf), "192.0.2.0/24");
	CHECK_EQ(c->gateway.mac.bytes[0], 2);
	CHECK_STR(ip_format(&c->gateway.addr[IP_V6], buf), "fe80::ecee:eeff:feee:eeee");
	CHECK_EQ(c->n_ports, 1);
	CHECK_EQ(c->ports[0].kind, PORT_PCI);
	CHECK_EQ(c->ports[0].queues, 2);
	CHECK_EQ(c->n_vports, 3);
	CHECK_EQ(c->vports[0].vlan, 12);
	CHECK_EQ(c->vports[0].own_port.kind, -1);
	CHECK_EQ(c->vports[0].addresses.at[0].len, 24);
	CHECK_STR(ip_format(&c->vports[0].addresses.at[0].addr, buf), "192.0.2.10");
	CHECK_EQ(c->vports[1].own_port.kind, PORT_AF_PACKET);
	CHECK_STR(c->vports[1].own_port.iface, "veth1");
	CHECK_EQ(c->vports[1].addresses.at[1].len, 128);
	CHECK(c->vports[1].source_guard);
	CHECK(!c->vports[2].source_guard);
	CHECK_EQ(c->vports[2].line, 28);
	CHECK_EQ(c->n_routes, 3);
	CHECK_EQ(c->routes[2].kind, ROUTE_BLACKHOLE);
	CHECK_EQ(c->api.socket_mode, 0600);
	CHECK_EQ(c->log.level, LOG_LEVEL_WARN);
	CHECK_EQ(c->log.modules[0].level, LOG_LEVEL_DEBUG);
	config_free(c);
}

static void an_empty_file_is_all_defaults(void)
{
	static const char *const empty[] = {"", "\n# nothing\n", "---\n", "flows:\n",
		"flows:\n  timeouts: ~\nsnat:\n  addresses: null\n"};
	char host[256];

	gethostname(host, sizeof(host));
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		struct config *c = load(empty[i]), *d = config_default();
		struct config_diff diff;

		REQUIRE(c != NULL && d != NULL);
		CHECK_EQ(config_diff(c, d, &diff), 0);
		CHECK_EQ(diff.n, 0);
		CHECK_STR(c->node.name, host);
		CHECK_STR(c->api.socket, "/run/sluice/api.sock");
		CHECK(c->services.node_port_primary);
		config_diff_fini(&diff);
		config_free(c);
		config_free(d);
	}
}

static const struct {
	const char *text, *error;
} bad[] = {
	/* YAML itself */
	{"a: [1\n", "t.yaml:2: syntax: "},
	{"node: {name: a}\nnode: {name: b}\n", "t.yaml:2: node: duplicate key, first in line 1"},
	{"node: &x {name: a}\n", "t.yaml:1: syntax: anchors and tags are not allowed"},
	{"node: *x\n", "t.yaml:1: syntax: aliases are not allowed"},
	{"node: !!map {name: a}\n", "t.yaml:1: syntax: anchors and tags are not allowed"},
	{"{}\n---\n{}\n", "t.yaml:2: syntax: more than one document"},
	{"- 1\n", "t.yaml:1: document: is not a map"},
	{"? [a]\n: 1\n", "t.yaml:1: syntax: a key must be plain text"},
	{"a: [[[[[[[[[[1]]]]]]]]]]\n", "t.yaml:1: syntax: nested deeper than 8"},
	{"node: {name: \"a\\0b\"}\n", "t.yaml:1: syntax: a value holds a NUL"},
	/* keys */
	{"\nflow: {}\n", "t.yaml:2: flow: unknown key; did you mean flows?"},
	{"flows:\n  capacity-v5: 1\n",
		"t.yaml:2: flows.capacity-v5: unknown key; did you mean capacity-v4?"},
	{"zzzzzzzzzz: 1\n", "t.yaml:1: zzzzzzzzzz: unknown key\n"},
	{"flows.capacity-v4: 64\n", "t.yaml:1: flows.capacity-v4: unknown key"},
	{"vports:\n- {name: a, role: host, kind: tap, colour: 1}\n",
		"t.yaml:2: vports[0].colour: unknown key"},
	{"ports:\n- {kind: null}\n", "t.yaml:2: ports[0]: name is required"},
	{"ports:\n- {name: a}\n", "t.yaml:2: ports[0]: kind is required"},
	/* types */
	{"flows: 3\n", "t.yaml:1: flows: is not a map"},
	{"flows: {capacity-v4: many}\n", "flows.capacity-v4: 'many' is not an integer"},
	{"flows: {capacity-v4: -1}\n", "flows.capacity-v4: '-1' is not an integer"},
	{"flows: {capacity-v4: [1]}\n", "flows.capacity-v4: is a list, not a single value"},
	{"flows: {tcp-pick-up: yes}\n", "'yes' is neither true nor false"},
	{"memory: {hugepages: maybe}\n", "'maybe' is none of auto, on, off"},
	{"node: {addresses: 192.0.2.1}\n", "node.addresses: is a value, not a list"},
	{"node: {addresses: [192.0.2.300]}\n", "'192.0.2.300' is not an IP address"},
	{"node: {addresses: [{a: 1}]}\n", "node.addresses: entry 1 is not a value"},
	{"node: {addresses: [127.0.0.1]}\n", "127.0.0.1 cannot be a host's address"},
	{"node: {name: 'a b'}\n", "'a b' is not a name"},
	{"node: {name: ''}\n", "node.name: is empty"},
	{"services: {cidrs: [10.96.0.1/16]}\n", "10.96.0.1/16 has bits set behind its length"},
	{"services: {cidrs: [10.96.0.0]}\n", "'10.96.0.0' is not a prefix"},
	{"services: {node-port-addresses: secondary}\n",
		"'secondary' is neither primary nor a list"},
	{"snat: {ports: 5}\n", "'5' is not a range of ports"},
	{"snat: {ports: 9-5}\n", "9-5 is empty"},
	{"snat: {ports: 0-5}\n", "port 0 is below 1"},
	{"snat: {ports: 1-70000}\n", "'1-70000' is not a range"},
	{"gateway: {mac: 01:00:00:00:00:00}\n", "is not a unicast address"},
	{"gateway: {mac: 2:0:0:0:0:0}\n", "is not a MAC address"},
	{"gateway: {ipv4: 'fd00::1'}\n", "fd00::1 is not an IPv4 address"},
	{"gateway: {ipv6: 10.0.0.1}\n", "10.0.0.1 is not an IPv6 address"},
	{"workers: {lcores: 5-2}\n", "'5-2' is not a list of CPUs"},
	{"workers: {lcores: [1, 1]}\n", "CPU 1 is given twice"},
	{"workers: {lcores: 0-4000}\n", "more than 16 CPUs"},
	{"api: {socket: run/a}\n", "'run/a' is not an absolute path"},
	{"api: {socket-mode: 888}\n", "'888' is not an octal mode"},
	{"api: {listen: 'host:80'}\n", "'host:80' is not address:port"},
	{"api: {listen: '1.2.3.4:0'}\n", "is not address:port"},
	{"kubernetes: {url: 'ftp://a'}\n", "starts with neither http:// nor https://"},
	{"log: {modules: {nosuch: info}}\n", "there is no module 'nosuch'"},
	{"log: {modules: {k8s: loud}}\n", "the level of k8s is none of"},
	{"log: {modules: [k8s]}\n", "log.modules: is a list, not a map"},
	{"ports:\n- {name: a, kind: pci, address: 3:0}\n", "ports[0].address: '3:0' is not a PCI"},
	{"ports: {}\n", "t.yaml:1: ports: is not a list"},
	{"ports: [1]\n", "ports[0]: is not a map"},
	{"ports:\n- {name: a, kind: af_packet, iface: a/b}\n", "'a/b' is not the name of"},
	/* ranges */
	{"flows: {capacity-v4: 63}\n", "flows.capacity-v4: 63 is below 64"},
	{"flows: {capacity-v4: 999999999999}\n", "999999999999 is above 134217728"},
	{"workers: {count: 17}\n", "17 is above 16"},
	{"workers: {count: 0}\n", "0 is below 1"},
	{"flows: {timeouts: {udp: 0}}\n", "flows.timeouts.udp: 0 is below 1"},
	{"snat: {addresses: [192.0.2.1, 192.0.2.2, 192.0.2.3]}\n", "has 3 entries; at most 2"},
	/* between keys */
	{"kubernetes:\n  socket: /a\n  url: http://b\n",
		"t.yaml:3: kubernetes.url: not together with kubernetes.socket"},
	{"kubernetes: {url: 'http://a', token-file: /t}\n",
		"kubernetes.token-file: needs an https"},
	{"kubernetes: {socket: /a, ca-file: /t}\n", "kubernetes.ca-file: needs an https"},
	{"kubernetes: {url: 'https://a', client-key-file: /t}\n",
		"certificate and key are needed together"},
	{"workers: {count: 3, lcores: 2-3}\n", "workers.count: 3, but workers.lcores names 2"},
	{"workers: {idle-sleep-min-us: 10, idle-sleep-max-us: 5}\n", "5 is below"},
	{"snat: {addresses: [192.0.2.1, 192.0.2.2]}\n", "both are of one family"},
	{"snat: {ports: 30000-30005}\n", "no port is left"},
	{"node: {addresses: [192.0.2.1, 192.0.2.1]}\n", "192.0.2.1 is given twice"},
	{"gateway: {ipv6: 'fd00::1'}\n", "fd00::1 is not link-local"},
	{"ports:\n- {name: a, kind: 'null'}\n- {name: a, kind: 'null'}\n",
		"t.yaml:3: ports[1]: the name a is used in line 2"},
	{"ports:\n- {name: a, kind: af_packet}\n", "ports[0]: kind af_packet needs iface"},
	{"ports:\n- {name: a, kind: pci}\n", "kind pci needs address"},
	{"ports:\n- {name: a, kind: memif}\n", "kind memif needs path"},
	{"ports:\n- {name: a, kind: ethdev}\n", "kind ethdev needs device"},
	{"ports:\n- {name: a, kind: 'null', device: x}\n", "device has no meaning for kind null"},
	{"ports:\n- {name: a, kind: ethdev, device: x}\n- {name: b, kind: ethdev, device: x}\n",
		"t.yaml:3: kind: the port of line 2 is on the same device"},
	{"ports:\n- {name: a, kind: 'null', iface: x}\n", "iface has no meaning for kind null"},
	{"ports:\n- {name: a, kind: tap, server: true}\n", "server has no meaning for kind tap"},
	{"ports:\n- {name: a, kind: tap, iface: x}\n- {name: b, kind: af_packet, iface: x}\n",
		"t.yaml:3: kind: the port of line 2 is on the same device"},
	{"vports:\n- {name: a, role: host}\n", "vports[0]: either port or kind is required"},
	{"vports:\n- {name: a, role: host, port: p, kind: tap}\n",
		"port and kind exclude each other"},
	{"vports:\n- {name: a, role: host, port: p}\n", "there is no port p"},
	{"vports:\n- {name: a, role: pod, kind: tap}\n", "a pod needs addresses"},
	{"vports:\n- {name: a, role: host, kind: tap, vlan: 3}\n", "vlan needs a port"},
	{"vports:\n- {name: a, role: host, kind: tap}\n- {name: b, role: host, kind: tap}\n",
		"t.yaml:3: vports[1]: there is a second vport of role host"},
	{"vports:\n- {name: a, role: uplink, kind: tap, peer-mac: 02:00:00:00:00:01}\n",
		"peer-mac has no meaning for an uplink"},
	{"vports:\n- {name: a, role: pod, kind: tap, addresses: ['fd00::1'], mtu: 1000}\n",
		"below 1280"},
	{"vports:\n- {name: a, role: pod, kind: tap, addresses: [10.0.0.1]}\n"
	 "- {name: b, role: pod, kind: tap, addresses: [10.0.0.1]}\n",
		"t.yaml:3: vports[1]: the address 10.0.0.1 is used in line 2"},
	{"ports: [{name: p, kind: 'null'}]\nvports:\n- {name: a, role: uplink, port: p}\n"
	 "- {name: b, role: uplink, port: p}\n",
		"t.yaml:4: vports[1]: port p with vlan 0 is used in line 3"},
	{"routes:\n- {prefix: 10.0.0.0/8}\n", "routes[0]: via or vport is required"},
	{"routes:\n- {via: 10.0.0.1}\n", "routes[0]: prefix is required"},
	{"routes:\n- {prefix: 10.0.0.0/8, via: 'fd00::1'}\n", "not of the prefix's family"},
	{"routes:\n- {prefix: 10.0.0.0/8, vport: x}\n", "there is no vport x"},
	{"routes:\n- {prefix: 10.0.0.0/8, via: 10.1.1.1, type: prohibit}\n",
		"a prohibit route has neither via nor vport"},
	{"routes:\n- {prefix: 10.0.0.0/8, via: 10.1.1.1}\n- {prefix: 10.0.0.0/8, type: prohibit}\n",
		"t.yaml:3: routes[1]: 10.0.0.0/8 is routed in line 2"},
};

static void every_class_of_error_names_its_place(void)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config_errors errors;
		struct config *c;

		CHECK_EQ(config_load_text("t.yaml", bad[i].text, strlen(bad[i].text), &c, &errors),
			-EINVAL);
		CHECK(c == NULL);
		CHECK_GE(errors.n, 1);
		CHECK_EQ(strncmp(errors.text, "t.yaml:", 7), 0);
		CHECK_HAS(errors.text, bad[i].error);
		config_errors_fini(&errors);
	}
}

static void all_errors_are_listed(void)
{
	static const char text[] = "flows: {capacity-v4: 1}\nnonsense: 1\nworkers:\n  count: no\n";
	struct config_errors errors;
	struct config *c;

	CHECK_EQ(config_load_text("t.yaml", text, strlen(text), &c, &errors), -EINVAL);
	CHECK_EQ(errors.n, 3);
	CHECK_HAS(errors.text, "t.yaml:1: flows.capacity-v4: ");
	CHECK_HAS(errors.text, "t.yaml:2: nonsense: ");
	CHECK_HAS(errors.text, "t.yaml:4: workers.count: ");
	config_errors_fini(&errors);
}

static void errors_are_bounded_and_printable(void)
{
	struct config_errors errors;
	struct config *c;
	char *text = malloc(1 << 20);
	size_t n = 0;

	for (int i = 0; i < 10000; i++)
		n += (size_t)sprintf(text + n, "\"\\e[31mx%d\": 1\n", i);
	CHECK_EQ(config_load_text("t.yaml", text, n, &c, &errors), -EINVAL);
	CHECK_EQ(errors.n, 10000);
	CHECK_LT(strlen(errors.text), 100 * CONFIG_ERRORS_MAX);
	CHECK(strchr(errors.text, '\x1b') == NULL);
	config_errors_fini(&errors);
	free(text);
}

static void a_missing_or_large_file_is_an_error(void)
{
	struct config_errors errors;
	struct config *c;
	char *text = malloc(CONFIG_BYTES_MAX + 1);

	CHECK_EQ(config_load("/nonexistent/sluice.yaml", &c, &errors), -ENOENT);
	CHECK_HAS(errors.text, "/nonexistent/sluice.yaml: file: No such file");
	config_errors_fini(&errors);
	CHECK_EQ(config_load("/", &c, &errors), -EISDIR);
	config_errors_fini(&errors);
	memset(text, '#', CONFIG_BYTES_MAX + 1);
	CHECK_EQ(config_load_text("t.yaml", text, CONFIG_BYTES_MAX + 1, &c, &errors), -EINVAL);
	CHECK_HAS(errors.text, "is larger than 1048576 bytes");
	config_errors_fini(&errors);
	free(text);
}

/* A start may have nothing to say, a reload may not; to want no vport can be said. */
static void a_reload_of_nothing_is_refused(void)
{
	static const struct {
		const char *text;
		bool refused;
	} files[] = {{"", true}, {"{}\n", true}, {"# gone\n", true}, {"vports:\n", true},
		{"apiVersion: sluice/v1\nkind: Config\n", true}, {"vports: []\n", false},
		{"log: {level: info}\n", false}};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[] = "/tmp/sluice-config-XXXXXX";
		struct config_errors errors;
		struct config *c;
		int fd = mkstemp(path);

		REQUIRE(fd >= 0);
		CHECK_EQ(write(fd, files[i].text, strlen(files[i].text)), strlen(files[i].text));
		close(fd);
		CHECK_EQ(config_load(path, &c, &errors), 0);
		config_free(c);
		config_errors_fini(&errors);
		CHECK_EQ(config_reload(path, &c, &errors), files[i].refused ? -EINVAL : 0);
		if (files[i].refused)
			CHECK_HAS(errors.text, ": document: sets nothing");
		config_free(c);
		config_errors_fini(&errors);
		unlink(path);
	}
}

static char *reference(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	CHECK_EQ(config_print_reference(f), 0);
	fclose(f);
	return text;
}

static void the_reference_loads_as_the_defaults(void)
{
	char *text = reference();
	struct config *c = load(text), *d = config_default();
	struct config_diff diff;

	REQUIRE(c != NULL);
	CHECK_EQ(config_diff(c, d, &diff), 0);
	CHECK_EQ(diff.n, 0);
	config_diff_fini(&diff);
	config_free(c);
	config_free(d);
	free(text);
}

static void a_listener_that_is_on_by_default_can_be_turned_off(void)
{
	struct config *on = load("workers: {count: 1}\n");
	struct config *off = load("health: {bind-address: null}\n");
	struct config *other = load("health: {bind-address: '[::]:10256'}\n");

	REQUIRE(on != NULL && off != NULL && other != NULL);
	CHECK_STR(on->health.bind_address, "0.0.0.0:10256");
	CHECK(off->health.bind_address == NULL);
	CHECK_STR(other->health.bind_address, "[::]:10256");
	config_free(on);
	config_free(off);
	config_free(other);
}

/* control/config-reference.yaml is this text: sluiced --print-config-reference. */
static void the_reference_in_the_tree_is_current(void)
{
	char *text = reference(), *there = calloc(1, 1 << 20);
	FILE *f = fopen(CONFIG_REFERENCE, "r");

	REQUIRE(f != NULL);
	CHECK_GT(fread(there, 1, (1 << 20) - 1, f), 1000);
	CHECK_STR(there, text);
	fclose(f);
	free(there);
	free(text);
}

static void lists_show_the_entries_that_differ(void)
{
	struct config *a = load("ports:\n- {name: x, kind: tap}\n- {name: y, kind: tap}\n");
	struct config *b = load("ports:\n- {name: y, kind: tap}\n- {name: z, kind: tap}\n");
	struct config_diff d;

	REQUIRE(a != NULL && b != NULL);
	CHECK_EQ(config_diff(a, b, &d), 0);
	REQUIRE_EQ(d.n, 1);
	CHECK_HAS(d.changes[0].before, "\"name\":\"x\"");
	CHECK(strstr(d.changes[0].before, "\"y\"") == NULL);
	CHECK_HAS(d.changes[0].after, "\"name\":\"z\"");
	CHECK(strstr(d.changes[0].after, "\"y\"") == NULL);
	config_diff_fini(&d);
	config_free(a);
	config_free(b);
}

static void differences_tell_what_needs_a_restart(void)
{
	struct config *a = load("flows: {capacity-v4: 64, timeouts: {udp: 5}}\n");
	struct config *b = load("flows: {capacity-v4: 128, timeouts: {udp: 6}}\n"
				"vports:\n- {name: h, role: host, kind: tap}\n");
	struct config_diff d;

	REQUIRE(a != NULL && b != NULL);
	CHECK_EQ(config_diff(a, b, &d), 0);
	REQUIRE_EQ(d.n, 3);
	CHECK_STR(d.changes[0].key, "flows.capacity-v4");
	CHECK_STR(d.changes[0].before, "64");
	CHECK_STR(d.changes[0].after, "128");
	CHECK(!d.changes[0].applied);
	CHECK_STR(d.changes[1].key, "flows.timeouts.udp");
	CHECK(d.changes[1].applied);
	CHECK_STR(d.changes[2].key, "vports");
	CHECK_STR(d.changes[2].before, "[]");
	CHECK_HAS(d.changes[2].after, "\"kind\":\"tap\"");
	config_diff_fini(&d);
	config_free(a);
	config_free(b);
}

/* After a reload, the keys that need a restart show what is in force. */
static void a_reload_keeps_what_needs_a_restart(void)
{
	struct config *running = load(full);
	struct config *fresh = load("flows: {capacity-v4: 128, timeouts: {udp: 6}}\n");
	struct config_diff d;

	REQUIRE(running != NULL && fresh != NULL);
	config_keep_running(fresh, running);
	config_free(running);
	CHECK_EQ(fresh->flows.capacity[IP_V4], 64);
	CHECK_EQ(fresh->flows.timeouts.udp, 6);
	CHECK_STR(fresh->node.name, "worker-7");
	CHECK_STR(fresh->kubernetes.url, "https://192.0.2.1:6443");
	CHECK_EQ(fresh->workers.lcores.n, 3);
	CHECK_STR(fresh->memory.eal_args.at[0], "--no-telemetry");
	CHECK_EQ(fresh->gateway.mac.bytes[0], 2);
	CHECK_EQ(fresh->n_ports, 1);
	CHECK_STR(fresh->ports[0].name, "nic");
	CHECK_EQ(fresh->n_vports, 0);
	running = load(full);
	CHECK_EQ(config_diff(running, fresh, &d), 0);
	for (uint32_t i = 0; i < d.n; i++)
		CHECK(d.changes[i].applied);
	CHECK_GT(d.n, 3);
	config_diff_fini(&d);
	config_free(running);
	config_free(fresh);
}

/* What the JSON view shows loads as the same configuration: JSON is YAML. */
static void the_json_view_round_trips(void)
{
	struct config *a = load(full), *b;
	struct config_diff d;
	json_t *j;
	char *text;

	REQUIRE(a != NULL);
	j = config_to_json(a);
	text = json_dumps(j, JSON_INDENT(1));
	b = load(text);
	REQUIRE(b != NULL);
	CHECK_EQ(config_diff(a, b, &d), 0);
	CHECK_EQ(d.n, 0);
	config_diff_fini(&d);
	config_free(a);
	config_free(b);
	json_decref(j);
	free(text);
}

static void vports_and_routes_reach_the_model(void)
{
	struct model *m = model_new();
	struct config *c = load(full), *less;
	const struct model_vport *v;
	const struct model_route *r;

	REQUIRE(c != NULL);
	CHECK_EQ(config_apply_model(c, m), 0);
	CHECK_EQ(model_count(m, MODEL_VPORT), 3);
	CHECK_EQ(model_count(m, MODEL_ROUTE), 3);
	v = model_find(m, MODEL_VPORT, "pod-1", NULL);
	REQUIRE(v != NULL);
	CHECK_EQ(v->owner, OWNER_CONFIG);
	CHECK(v->source_guard && v->has_mac && v->has_peer_mac);
	CHECK_EQ(v->mac[5], 1);
	CHECK_EQ(v->n_addrs, 2);
	REQUIRE(v->own_port != NULL);
	CHECK_STR(v->own_port->iface, "veth1");
	CHECK_EQ(v->own_port->mtu, 1400);
	v = model_find(m, MODEL_VPORT, "up", NULL);
	CHECK(v != NULL && !v->has_mac && !v->source_guard);
	r = model_find(m, MODEL_ROUTE, "0.0.0.0/0", NULL);
	CHECK(r != NULL && r->has_via);

	less = load("vports:\n- {name: host, role: host, kind: tap, source-guard: false}\n"
		    "gateway: {mac: 02:00:00:00:00:01}\n");
	uint64_t before = model_version(m);

	CHECK_EQ(config_apply_model(less, m), 0);
	CHECK_EQ(model_count(m, MODEL_VPORT), 1);
	CHECK_EQ(model_count(m, MODEL_ROUTE), 0);
	/* Two vports and three routes went, host is equal. */
	CHECK_EQ(model_version(m) - before, 5);
	config_free(c);
	config_free(less);
	model_free(m);
}

static void timeouts_reach_the_flow_table(void)
{
	struct config *c = load("flows: {timeouts: {udp: 7, tcp-established: 100}}\n");
	struct flow_timeouts t;

	REQUIRE(c != NULL);
	config_flow_timeouts(c, &t);
	CHECK_EQ(t.ms[FLOW_CLASS_UDP][FLOW_NEW], 7000);
	CHECK_EQ(t.ms[FLOW_CLASS_TCP][FLOW_ESTABLISHED], 100000);
	config_free(c);
}

static void defaults_are_those_of_the_flow_table(void)
{
	struct config *c = config_default();
	struct flow_timeouts a, b;

	config_flow_timeouts(c, &a);
	flow_timeouts_default(&b);
	CHECK_MEM(&a, &b, sizeof(a));
	config_free(c);
}

TEST_SUITE("config", CASE(reads_every_kind_of_value), CASE(an_empty_file_is_all_defaults),
	CASE(every_class_of_error_names_its_place), CASE(all_errors_are_listed),
	CASE(errors_are_bounded_and_printable), CASE(a_missing_or_large_file_is_an_error),
	CASE(a_reload_of_nothing_is_refused), CASE(the_reference_loads_as_the_defaults),
	CASE(the_reference_in_the_tree_is_current),
	CASE(a_listener_that_is_on_by_default_can_be_turned_off),
	CASE(lists_show_the_entries_that_differ), CASE(differences_tell_what_needs_a_restart),
	CASE(a_reload_keeps_what_needs_a_restart), CASE(the_json_view_round_trips),
	CASE(vports_and_routes_reach_the_model), CASE(timeouts_reach_the_flow_table),
	CASE(defaults_are_those_of_the_flow_table))
