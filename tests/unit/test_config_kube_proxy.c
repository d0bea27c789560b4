/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* kube-proxy's own options in the configuration (control/config_kube_proxy.c): what each becomes,
 * what is said of those without a meaning, what is refused, and the table for people. */

#include <unistd.h>

#include "control/config_private.h"
#include "unit/harness.h"

static struct config *load(const char *text, struct config_errors *errors)
{
	struct config *c = NULL;

	config_load_text("t.yaml", text, strlen(text), &c, errors);
	return c;
}

/* The value of a key as JSON. */
static char *value(const struct config *c, const char *key)
{
	json_t *v = config_value_json(&config_keys[config_row(key)], c);
	char *text = json_dumps(v, JSON_ENCODE_ANY);

	json_decref(v);
	return text;
}

static const struct {
	const char *fields, *key, *value;
} given[] = {
	{"clusterCIDR: 10.244.0.0/16", "services.detect-local-cidrs", "[\"10.244.0.0/16\"]"},
	{"clusterCIDR: 10.244.0.0/16", "services.detect-local-mode", "\"ClusterCIDR\""},
	{"clusterCIDR: \"10.244.0.0/16,fd00:10:244::/56\"", "services.detect-local-cidrs",
		"[\"10.244.0.0/16\", \"fd00:10:244::/56\"]"},
	{"detectLocalMode: NodeCIDR", "services.detect-local-mode", "\"NodeCIDR\""},
	{"{detectLocalMode: NodeCIDR, clusterCIDR: 10.0.0.0/8}", "services.detect-local-cidrs",
		"[]"},
	{"{detectLocalMode: BridgeInterface, detectLocal: {bridgeInterface: cbr0}}",
		"services.detect-local-interface", "\"cbr0\""},
	{"{detectLocalMode: InterfaceNamePrefix, detectLocal: {interfaceNamePrefix: pod-, "
	 "bridgeInterface: x}}",
		"services.detect-local-interface", "\"pod-\""},
	{"nodePortAddresses: [primary]", "services.node-port-addresses", "\"primary\""},
	{"nodePortAddresses: [192.0.2.0/24, 2001:db8::/64]", "services.node-port-addresses",
		"[\"192.0.2.0/24\", \"2001:db8::/64\"]"},
	{"nodePortAddresses: [all]", "services.node-port-addresses", "[\"0.0.0.0/0\", \"::/0\"]"},
	{"healthzBindAddress: 192.0.2.1", "health.bind-address", "\"192.0.2.1:10256\""},
	{"healthzBindAddress: \"[2001:db8::1]:7\"", "health.bind-address", "\"[2001:db8::1]:7\""},
	{"healthzBindAddress: \"::\"", "health.bind-address", "\"[::]:10256\""},
	{"healthzBindAddress: \"\"", "health.bind-address", "\"0.0.0.0:10256\""},
	{"metricsBindAddress: 0.0.0.0:9", "metrics.bind-address", "\"0.0.0.0:9\""},
	{"metricsBindAddress: \"\"", "metrics.bind-address", "\"127.0.0.1:10249\""},
	{"hostnameOverride: ' Worker-7 '", "node.name", "\"worker-7\""},
	{"iptables: {masqueradeAll: true}", "snat.masquerade-all", "true"},
	{"{mode: ipvs, iptables: {masqueradeAll: true}}", "snat.masquerade-all", "true"},
	{"{mode: nftables, iptables: {masqueradeAll: true}}", "snat.masquerade-all", "false"},
	{"{mode: nftables, nftables: {masqueradeAll: true}}", "snat.masquerade-all", "true"},
	{"conntrack: {tcpEstablishedTimeout: 24h0m0s}", "flows.timeouts.tcp-established", "86400"},
	{"conntrack: {tcpEstablishedTimeout: 1h30m}", "flows.timeouts.tcp-established", "5400"},
	{"conntrack: {tcpEstablishedTimeout: 0s}", "flows.timeouts.tcp-established", "86400"},
	{"conntrack: {tcpCloseWaitTimeout: 60s}", "flows.timeouts.tcp-fin", "60"},
	{"conntrack: {udpTimeout: 31000ms}", "flows.timeouts.udp", "31"},
	{"conntrack: {udpStreamTimeout: 5m}", "flows.timeouts.udp-replied", "300"},
	{"conntrack: {maxPerCore: 1, min: 200000}", "flows.capacity-v4", "200000"},
	{"conntrack: {maxPerCore: 1, min: 200000}", "flows.capacity-v6", "200000"},
	{"conntrack: {maxPerCore: 1}", "flows.capacity-v4", "131072"},
	{"conntrack: {maxPerCore: 2000000}", "flows.capacity-v4", "1048576"},
	{"featureGates: {AllowServiceExternalIPs: false}", "kubernetes.external-ips", "false"},
	{"logging: {format: json}", "log.format", "\"json\""},
	{"logging: {verbosity: 4}", "log.level", "\"debug\""},
	{"logging: {verbosity: 2}", "log.level", "\"info\""},
};

static void each_field_has_the_same_meaning(void)
{
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
		struct config_errors errors;
		char text[400], *v;
		struct config *c;

		snprintf(text, sizeof(text),
			given[i].fields[0] == '{' ? "kube-proxy: %s\n" : "kube-proxy: {%s}\n",
			given[i].fields);
		c = load(text, &errors);
		if (c == NULL) {
			printf("%s: %s", given[i].fields, errors.text);
			CHECK(false);
			config_errors_fini(&errors);
			continue;
		}
		v = value(c, given[i].key);
		if (strcmp(v, given[i].value) != 0)
			printf("%s\n", given[i].fields);
		CHECK_STR(v, given[i].value);
		free(v);
		config_free(c);
	}
}

/* A zero leaves the table as it is, whatever min says. */
static void a_zero_leaves_the_flow_table(void)
{
	struct config *defaults = config_default(), *c;
	struct config_errors errors;

	c = load("kube-proxy: {conntrack: {maxPerCore: 0, min: 999999}}\n", &errors);
	REQUIRE(c != NULL);
	CHECK_EQ(c->flows.capacity[IP_V4], defaults->flows.capacity[IP_V4]);
	config_free(c);
	config_free(defaults);
}

static const struct {
	const char *text, *error;
} bad[] = {
	{"kube-proxy: 1\n",
		"t.yaml:1: kube-proxy: is neither a map of fields nor the absolute path"},
	{"kube-proxy: /nowhere/at.all\n", "t.yaml:1: kube-proxy: /nowhere/at.all: No such file"},
	{"kube-proxy:\n  clusterCidr: x\n",
		"t.yaml:2: kube-proxy.clusterCidr: is no field of a KubeProxyConfiguration"},
	{"kube-proxy:\n  conntrack: {udp: 1s}\n",
		"t.yaml:2: kube-proxy.conntrack.udp: is no field of a KubeProxyConfiguration"},
	{"kube-proxy: {conntrack: 7}\n", "kube-proxy.conntrack: is not a map of fields"},
	{"kube-proxy: {conntrack: {udpTimeout: 5}}\n", "'5' is not a duration such as 1h30m"},
	{"kube-proxy: {conntrack: {udpTimeout: 1500ms}}\n", "'1500ms' is not in whole seconds"},
	{"kube-proxy: {conntrack: {udpTimeout: 9000h}}\n",
		"kube-proxy.conntrack.udpTimeout: as flows.timeouts.udp: 32400000 is above 604800"},
	{"kube-proxy: {conntrack: {maxPerCore: -1}}\n", "'-1' is not a number from 0 to"},
	{"kube-proxy: {conntrack: {maxPerCore: [1]}}\n", "maxPerCore: is not a single value"},
	{"kube-proxy: {clusterCIDR: 10.244.0.1/16}\n",
		"as services.detect-local-cidrs: 10.244.0.1/16"},
	{"kube-proxy: {nodePortAddresses: localhost}\n", "nodePortAddresses: is not a list"},
	{"kube-proxy: {nodePortAddresses: [localhost]}\n", "localhost is not served"},
	{"kube-proxy: {nodePortAddresses: [primary, 10.0.0.0/8]}\n", "together with others"},
	{"kube-proxy: {healthzBindAddress: nowhere}\n", "as health.bind-address: 'nowhere:10256'"},
	{"kube-proxy: {bindAddress: 192.0.2.7}\n",
		"kube-proxy.bindAddress: 192.0.2.7 as the node's"},
	{"kube-proxy: {mode: kernelspace}\n", "'kernelspace' is none of iptables, ipvs, nftables"},
	{"kube-proxy: {detectLocalMode: Guess}\n",
		"as services.detect-local-mode: 'Guess' is none of"},
	{"kube-proxy: {kind: Config}\n", "'Config' is not KubeProxyConfiguration"},
	{"kube-proxy: {apiVersion: v2}\n", "'v2' is not kubeproxy.config.k8s.io/v1alpha1"},
	{"kube-proxy: {featureGates: yes}\n", "featureGates: is not a map of gates"},
	{"kube-proxy: {logging: {verbosity: many}}\n", "'many' is not a number"},
	{"kube-proxy: {iptables: {masqueradeBit: 14}}\n",
		"kube-proxy.iptables.masqueradeBit: is refused: packets are not marked"},
	{"kube-proxy: {nftables: {masqueradeBit: 0}}\n", "masqueradeBit: is refused"},
	{"kube-proxy: {iptables: {localhostNodePorts: true}}\n", "is refused: what the host sends"},
	{"kube-proxy: {winkernel: {networkName: l2}}\n", "networkName: is refused: Windows"},
	{"node: {name: a}\nkube-proxy:\n  hostnameOverride: b\n",
		"t.yaml:3: kube-proxy.hostnameOverride: is also given as node.name, in line 1 of t.yaml"},
};

static void bad_input_is_named(void)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct config_errors errors;
		struct config *c = load(bad[i].text, &errors);

		CHECK(c == NULL);
		if (c == NULL) {
			CHECK_EQ(errors.n, 1);
			CHECK_HAS(errors.text, bad[i].error);
		} else {
			printf("taken: %s", bad[i].text);
		}
		config_errors_fini(&errors);
		config_free(c);
	}
}

/* What kubeadm writes into the ConfigMap kube-proxy. */
static const char kubeadm[] =
	"apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
	"bindAddress: 0.0.0.0\n"
	"bindAddressHardFail: false\n"
	"clientConnection:\n"
	"  acceptContentTypes: \"\"\n"
	"  burst: 0\n"
	"  contentType: \"\"\n"
	"  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n"
	"  qps: 0\n"
	"clusterCIDR: 10.244.0.0/16\n"
	"configSyncPeriod: 0s\n"
	"conntrack: {maxPerCore: null, min: null, tcpBeLiberal: false, tcpCloseWaitTimeout: null,\n"
	"  tcpEstablishedTimeout: null, udpStreamTimeout: 0s, udpTimeout: 0s}\n"
	"detectLocal: {bridgeInterface: \"\", interfaceNamePrefix: \"\"}\n"
	"detectLocalMode: \"\"\n"
	"enableProfiling: false\n"
	"healthzBindAddress: \"\"\n"
	"hostnameOverride: \"\"\n"
	"iptables: {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null,\n"
	"  minSyncPeriod: 0s, syncPeriod: 0s}\n"
	"ipvs: {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: \"\", strictARP: false,\n"
	"  syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s, udpTimeout: 0s}\n"
	"kind: KubeProxyConfiguration\n"
	"logging: {flushFrequency: 0, options: {json: {infoBufferSize: \"0\"}, text: {infoBufferSize: \"0\"}},\n"
	"  verbosity: 0}\n"
	"metricsBindAddress: \"\"\n"
	"mode: \"\"\n"
	"nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}\n"
	"nodePortAddresses: null\n"
	"oomScoreAdj: null\n"
	"portRange: \"\"\n"
	"showHiddenMetricsForVersion: \"\"\n"
	"winkernel: {enableDSR: false, forwardHealthCheckVip: false, networkName: \"\",\n"
	"  rootHnsEndpointName: \"\", sourceVip: \"\"}\n";

static struct config *load_file(
	const char *document, const char *more, struct config_errors *errors)
{
	char path[] = "/tmp/sluice-kube-proxy-XXXXXX", text[200];
	struct config *c;
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, document, strlen(document)) != (ssize_t)strlen(document))
		abort();
	close(fd);
	snprintf(text, sizeof(text), "kube-proxy: %s\n%s", path, more);
	c = load(text, errors);
	unlink(path);
	return c;
}

static void the_document_of_kubeadm_is_taken_as_it_is(void)
{
	struct config_errors errors;
	struct config *c = load_file(kubeadm, "", &errors);
	char *v;

	if (c == NULL)
		printf("%s", errors.text);
	REQUIRE(c != NULL);
	v = value(c, "services.detect-local-cidrs");
	CHECK_STR(v, "[\"10.244.0.0/16\"]");
	free(v);
	CHECK_STR(c->metrics.bind_address, "127.0.0.1:10249");
	CHECK_STR(c->health.bind_address, "0.0.0.0:10256");
	/* What it sets and has no meaning is said; what it leaves empty is not. */
	REQUIRE_EQ(c->notes.n, 2);
	CHECK_HAS(c->notes.at[0], "kube-proxy.clientConnection.kubeconfig: no meaning here: ");
	CHECK_HAS(c->notes.at[1], "kube-proxy.logging.options: no meaning here: ");
	config_free(c);
}

static void a_mode_with_other_node_ports_is_said(void)
{
	struct config_errors errors;
	struct config *c = load("kube-proxy: {mode: iptables}\n", &errors);

	REQUIRE(c != NULL);
	REQUIRE_EQ(c->notes.n, 2);
	CHECK_HAS(c->notes.at[0], "the data path is Sluice's own");
	CHECK_HAS(c->notes.at[1], "NodePorts are on the node's primary addresses, not on all");
	config_free(c);
	c = load("kube-proxy: {mode: iptables, nodePortAddresses: [all]}\n", &errors);
	REQUIRE(c != NULL);
	CHECK_EQ(c->notes.n, 1);
	config_free(c);
}

static void faults_of_the_file_are_at_its_lines(void)
{
	struct config_errors errors;
	struct config *c =
		load_file("mode: x\nconntrack:\n  min: y\n", "flows: {capacity-v4: 1}\n", &errors);

	CHECK(c == NULL);
	CHECK_EQ(errors.n, 3);
	CHECK_HAS(
		errors.text, "t.yaml:2: flows.capacity-v4: 1 is below 64\n/tmp/sluice-kube-proxy-");
	CHECK_HAS(errors.text, ":1: mode: 'x' is none of");
	CHECK_HAS(errors.text, ":3: conntrack.min: 'y' is not a number");
	config_errors_fini(&errors);
	c = load_file("conntrack: {min: 200000}\n", "flows: {capacity-v6: 100}\n", &errors);
	CHECK(c == NULL);
	CHECK_HAS(errors.text, "is also given as flows.capacity-v6, in line 2 of t.yaml");
	config_errors_fini(&errors);
	c = load_file("- 1\n", "", &errors);
	CHECK(c == NULL);
	CHECK_HAS(errors.text, ":1: document: is not a map");
	config_errors_fini(&errors);
}

static void the_table_in_the_tree_is_current(void)
{
	char *text = NULL, *there = calloc(1, 1 << 16);
	size_t len = 0;
	FILE *f = open_memstream(&text, &len), *tree = fopen(KUBE_PROXY_OPTIONS, "r");

	REQUIRE(tree != NULL);
	CHECK_EQ(config_print_kube_proxy(f), 0);
	fclose(f);
	CHECK_GT(fread(there, 1, (1 << 16) - 1, tree), 1000);
	CHECK_STR(there, text);
	fclose(tree);
	/* Every row that names a key of ours names one that exists. */
	for (char *at = text; (at = strstr(at, "` | `")) != NULL; at += 5) {
		char key[100];

		snprintf(key, sizeof(key), "%.*s", (int)strcspn(at + 5, "`"), at + 5);
		if (config_row(key) < 0)
			printf("no key %s\n", key);
		CHECK(config_row(key) >= 0);
	}
	free(text);
	free(there);
}

TEST_SUITE("config_kube_proxy", CASE(each_field_has_the_same_meaning),
	CASE(a_zero_leaves_the_flow_table), CASE(bad_input_is_named),
	CASE(the_document_of_kubeadm_is_taken_as_it_is), CASE(a_mode_with_other_node_ports_is_said),
	CASE(faults_of_the_file_are_at_its_lines), CASE(the_table_in_the_tree_is_current))
