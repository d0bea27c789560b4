/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* kube-proxy's own options: the fields of a KubeProxyConfiguration (v1alpha1), under the key
 * kube-proxy or in the file that it names. One table says of each field what becomes of it: it is
 * given to a key of ours, which reads and checks it as if it stood there; it has no meaning here,
 * which is noted for the log; or it is refused, because what it asks for is not had. A field that
 * is empty, as most are in a document that kubeadm wrote, is as one that is not there.
 * Control thread. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config_private.h"

/* kube-proxy's own figures, for documents that give one of the two. */
#define CONNTRACK_PER_CORE 32768
#define CONNTRACK_MIN      131072
#define CONNTRACK_MAX      1048576

struct taking {
	struct loader *l;
	const struct loader *own;      /* whose lines are those of our keys */
	bool inline_;                  /* the fields stand in our file */
	const char *mode, *local_mode; /* "" when not given */
	int64_t per_core, at_least;    /* -1: not given */
	int conntrack_line;
};

struct field {
	const char *path;
	/* NULL with a key: the text as it is. NULL without: no meaning, or refused. */
	void (*take)(struct taking *t, const struct field *f, const struct yaml_node *n);
	const char *key; /* ours */
	bool refused;
	const char *text;
};

/* --- giving values to our keys --------------------------------------------------------------- */

static void full_path(const struct taking *t, const char *path, char out[CONFIG_WHY_MAX])
{
	snprintf(out, CONFIG_WHY_MAX, "%s%s", t->inline_ ? "kube-proxy." : "", path);
}

__attribute__((format(printf, 4, 5))) static void wrong(
	struct taking *t, int line, const char *path, const char *fmt, ...)
{
	char name[CONFIG_WHY_MAX], text[CONFIG_WHY_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	full_path(t, path, name);
	config_error(t->l, line, name, "%s", text);
}

__attribute__((format(printf, 3, 4))) static void note(
	struct taking *t, const char *path, const char *fmt, ...)
{
	struct config_strings *notes = &t->l->config->notes;
	char text[2 * CONFIG_WHY_MAX];
	char **grown = realloc(notes->at, (notes->n + 1) * sizeof(*grown));
	size_t used;
	va_list ap;

	if (grown == NULL)
		return;
	notes->at = grown;
	used = (size_t)snprintf(text, sizeof(text), "kube-proxy.%.100s: ", path);
	va_start(ap, fmt);
	vsnprintf(text + used, sizeof(text) - used, fmt, ap);
	va_end(ap);
	grown[notes->n] = strdup(text);
	notes->n += grown[notes->n] != NULL;
}

static void give(struct taking *t, const char *path, int line, const char *key,
	const struct yaml_node *value)
{
	int row = config_row(key), err;
	const struct config_key *k = &config_keys[row];
	char why[CONFIG_WHY_MAX];

	if (t->own->lines[row] != 0) {
		wrong(t, line, path, "is also given as %s, in line %d of %s", key,
			t->own->lines[row], t->own->path);
		return;
	}
	config_value_fini(k, t->l->config);
	err = config_value_read(k, value, t->l->config, why);
	if (err < 0)
		wrong(t, line, path, "as %s: %s", key, err == -ENOMEM ? "out of memory" : why);
}

static void give_text(struct taking *t, const struct field *f, int line, const char *text)
{
	struct yaml_node value = {.kind = YAML_TEXT, .line = line, .text = (char *)text};

	give(t, f->path, line, f->key, &value);
}

static void give_list(
	struct taking *t, const struct field *f, int line, char *const *items, uint32_t n)
{
	struct yaml_node list = {.kind = YAML_LIST, .line = line, .n = n};
	struct yaml_node *nodes = calloc(n + 1, sizeof(*nodes));
	struct yaml_node **at = calloc(n + 1, sizeof(*at));

	for (uint32_t i = 0; nodes != NULL && at != NULL && i < n; i++) {
		nodes[i] = (struct yaml_node){.kind = YAML_TEXT, .line = line, .text = items[i]};
		at[i] = &nodes[i];
	}
	list.at = at;
	if (nodes != NULL && at != NULL)
		give(t, f->path, line, f->key, &list);
	free(nodes);
	free(at);
}

/* --- what kube-proxy's values look like --------------------------------------------------------
 */

/* Go's durations: 1h30m, 500ms. -1 when it is none. */
static int64_t milliseconds(const char *text)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
	int64_t sum = 0;

	if (strcmp(text, "0") == 0)
		return 0;
	if (*text == '\0')
		return -1;
	while (*text != '\0') {
		int64_t n = 0;
		size_t u = 0, digits = strspn(text, "0123456789");

		if (digits == 0 || digits > 9)
			return -1;
		for (size_t i = 0; i < digits; i++)
			n = n * 10 + (*text++ - '0');
		while (u < 4 && strncmp(text, units[u].unit, strlen(units[u].unit)) != 0)
			u++;
		if (u == 4)
			return -1;
		text += strlen(units[u].unit);
		sum += n * units[u].ms;
	}
	return sum;
}

/* What a document says when nobody has said anything. */
static bool is_empty(const struct yaml_node *n)
{
	return n->kind == YAML_NULL || (n->kind == YAML_TEXT && n->text[0] == '\0') ||
		((n->kind == YAML_LIST || n->kind == YAML_MAP) && n->n == 0);
}

static bool is_off(const struct yaml_node *n)
{
	return n->kind == YAML_TEXT &&
		(strcmp(n->text, "false") == 0 || milliseconds(n->text) == 0);
}

static void take_seconds(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	int64_t ms = milliseconds(n->text);
	char text[24];

	if (ms < 0) {
		wrong(t, n->line, f->path, "'%.60s' is not a duration such as 1h30m", n->text);
	} else if (ms % 1000 != 0) {
		wrong(t, n->line, f->path, "'%.60s' is not in whole seconds", n->text);
	} else if (ms > 0) {
		snprintf(text, sizeof(text), "%lld", (long long)ms / 1000);
		give_text(t, f, n->line, text);
	}
}

/* "", an address, or an address and a port. */
static void take_listen(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	const char *port = strcmp(f->path, "metricsBindAddress") == 0 ? "10249" : "10256";
	const char *colon = strchr(n->text, ':');
	char text[100];

	if (colon == NULL)
		snprintf(text, sizeof(text), "%.60s:%s", n->text, port);
	else if (n->text[0] != '[' && strchr(colon + 1, ':') != NULL)
		snprintf(text, sizeof(text), "[%.60s]:%s", n->text, port);
	else
		snprintf(text, sizeof(text), "%.90s", n->text);
	give_text(t, f, n->line, text);
}

static void take_name(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	const char *from = n->text + strspn(n->text, " \t");
	size_t len = strlen(from);
	char name[256];

	while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\t'))
		len--;
	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	for (size_t i = 0; i < len; i++)
		name[i] = (char)tolower((unsigned char)from[i]);
	name[len] = '\0';
	give_text(t, f, n->line, name);
}

static void take_cidrs(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	char text[200], *save = NULL, *items[4];
	uint32_t count = 0;

	if (strcmp(t->local_mode, "") != 0 && strcmp(t->local_mode, "ClusterCIDR") != 0) {
		note(t, f->path, "no meaning with detectLocalMode %.40s", t->local_mode);
		return;
	}
	if (strlen(n->text) >= sizeof(text)) {
		wrong(t, n->line, f->path, "is longer than two prefixes can be");
		return;
	}
	strcpy(text, n->text);
	for (char *p = strtok_r(text, ", ", &save); p != NULL && count < 4;
		p = strtok_r(NULL, ", ", &save))
		items[count++] = p;
	give_list(t, f, n->line, items, count);
	if (t->local_mode[0] == '\0') {
		const struct field mode = {.path = f->path, .key = "services.detect-local-mode"};

		give_text(t, &mode, n->line, "ClusterCIDR");
	}
}

static void take_local_name(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	const char *mode = strcmp(f->path, "detectLocal.bridgeInterface") == 0
		? "BridgeInterface"
		: "InterfaceNamePrefix";

	if (strcmp(t->local_mode, mode) == 0)
		give_text(t, f, n->line, n->text);
	else
		note(t, f->path, "no meaning without detectLocalMode %s", mode);
}

static void take_node_ports(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	static char all4[] = "0.0.0.0/0", all6[] = "::/0";
	char *items[66];
	uint32_t count = 0;

	if (n->kind != YAML_LIST) {
		wrong(t, n->line, f->path, "is not a list");
		return;
	}
	for (uint32_t i = 0; i < n->n && count < 64; i++) {
		const char *text = n->at[i]->kind == YAML_TEXT ? n->at[i]->text : "";

		if (strcmp(text, "primary") == 0 && n->n == 1) {
			give_text(t, f, n->line, "primary");
			return;
		}
		if (strcmp(text, "primary") == 0 || strcmp(text, "localhost") == 0) {
			wrong(t, n->at[i]->line, f->path, "%s",
				text[0] == 'p'
					? "primary cannot be together with others"
					: "localhost is not served: what the host sends to its own "
					  "loopback address never reaches Sluice");
			return;
		}
		if (strcmp(text, "all") == 0) {
			items[count++] = all4;
			items[count++] = all6;
		} else {
			items[count++] = (char *)text;
		}
	}
	give_list(t, f, n->line, items, count);
}

/* iptables' for the modes iptables and ipvs, nftables' for nftables. */
static void take_of_mode(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	bool nftables = strcmp(t->mode, "nftables") == 0;

	if (nftables == (strncmp(f->path, "nftables.", 9) == 0))
		give_text(t, f, n->line, n->text);
	else if (!is_off(n))
		note(t, f->path, "no meaning with mode %s", nftables ? "nftables" : "iptables");
}

static void take_count(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	int64_t *to = strcmp(f->path, "conntrack.min") == 0 ? &t->at_least : &t->per_core;
	char *end;

	*to = strtoll(n->text, &end, 10);
	if (*end != '\0' || *to < 0 || *to > INT32_MAX) {
		wrong(t, n->line, f->path, "'%.60s' is not a number from 0 to %d", n->text,
			INT32_MAX);
		*to = -1;
	}
	t->conntrack_line = n->line;
}

static void take_gates(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	if (n->kind != YAML_MAP) {
		wrong(t, n->line, f->path, "is not a map of gates");
		return;
	}
	for (uint32_t i = 0; i < n->n; i++) {
		char path[CONFIG_WHY_MAX];

		snprintf(path, sizeof(path), "%s.%.100s", f->path, n->keys[i]);
		if (strcmp(n->keys[i], "AllowServiceExternalIPs") == 0)
			give(t, path, n->at[i]->line, f->key, n->at[i]);
		else
			note(t, path, "no meaning here");
	}
}

static void take_verbosity(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	size_t digits = strspn(n->text, "0123456789");

	if (digits == 0 || digits > 3 || n->text[digits] != '\0')
		wrong(t, n->line, f->path, "'%.60s' is not a number", n->text);
	else
		give_text(t, f, n->line, atoi(n->text) >= 4 ? "debug" : "info");
}

static void take_type(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	if (strcmp(n->text, f->key) != 0)
		wrong(t, n->line, f->path, "'%.60s' is not %s", n->text, f->key);
}

static void take_mode(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	if (strcmp(n->text, "iptables") != 0 && strcmp(n->text, "ipvs") != 0 &&
		strcmp(n->text, "nftables") != 0)
		wrong(t, n->line, f->path, "'%.60s' is none of iptables, ipvs, nftables", n->text);
	else
		note(t, f->path,
			"the data path is Sluice's own; %s says which of the other fields "
			"count",
			n->text);
}

static void take_bind(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	if (strcmp(n->text, "0.0.0.0") != 0 && strcmp(n->text, "::") != 0)
		wrong(t, n->line, f->path,
			"%.60s as the node's primary address is to be named in "
			"node.addresses, together with that of the other family",
			n->text);
}

/* --- the table ---------------------------------------------------------------------------------
 */

#define NOTHING(path_, text_)                \
	{                                    \
		.path = path_, .text = text_ \
	}
#define REFUSED(path_, text_)                                 \
	{                                                     \
		.path = path_, .refused = true, .text = text_ \
	}
#define GIVEN(path_, take_, key_, text_)                                 \
	{                                                                \
		.path = path_, .take = take_, .key = key_, .text = text_ \
	}

#define API_SERVER "the API server is named by kubernetes.socket or kubernetes.url"
#define NO_RULES   "there are no rules in the kernel: each change is programmed at once"
#define NO_IPVS    "the data path is Sluice's own"
#define WINDOWS    "Windows"

static const struct field fields[] = {
	GIVEN("apiVersion", take_type, "kubeproxy.config.k8s.io/v1alpha1",
		"must be that, when given"),
	GIVEN("kind", take_type, "KubeProxyConfiguration", "must be that, when given"),
	GIVEN("bindAddress", take_bind, NULL,
		"0.0.0.0 and :: as here; another one is refused: node.addresses names the node's "
		"addresses, the primary one of each family first"),
	NOTHING("bindAddressHardFail", "a port that is taken is tried again and told as an Event"),
	NOTHING("clientConnection.kubeconfig", API_SERVER),
	NOTHING("clientConnection.acceptContentTypes", API_SERVER ", and speaks JSON"),
	NOTHING("clientConnection.contentType", API_SERVER ", and speaks JSON"),
	NOTHING("clientConnection.qps", "four watches and few Events need no limit"),
	NOTHING("clientConnection.burst", "four watches and few Events need no limit"),
	GIVEN("clusterCIDR", take_cidrs, "services.detect-local-cidrs",
		"with detectLocalMode ClusterCIDR or none, which makes it ClusterCIDR"),
	NOTHING("configSyncPeriod", "a lost change is found by lists and bookmarks, not by time"),
	GIVEN("conntrack.maxPerCore", take_count, "flows.capacity-v4",
		"and flows.capacity-v6: times the processors, at least conntrack.min, at most "
		"1048576; 0 leaves them"),
	GIVEN("conntrack.min", take_count, "flows.capacity-v4", "see conntrack.maxPerCore"),
	GIVEN("conntrack.tcpEstablishedTimeout", take_seconds, "flows.timeouts.tcp-established",
		"0 leaves it"),
	GIVEN("conntrack.tcpCloseWaitTimeout", take_seconds, "flows.timeouts.tcp-fin",
		"0 leaves it; one side has closed"),
	NOTHING("conntrack.tcpBeLiberal", "sequence numbers are never judged, always translated"),
	GIVEN("conntrack.udpTimeout", take_seconds, "flows.timeouts.udp", "0 leaves it"),
	GIVEN("conntrack.udpStreamTimeout", take_seconds, "flows.timeouts.udp-replied",
		"0 leaves it"),
	GIVEN("detectLocalMode", NULL, "services.detect-local-mode",
		"without it and without clusterCIDR a pod's vport is what is local"),
	GIVEN("detectLocal.bridgeInterface", take_local_name, "services.detect-local-interface",
		"a vport's name; with detectLocalMode BridgeInterface"),
	GIVEN("detectLocal.interfaceNamePrefix", take_local_name, "services.detect-local-interface",
		"the beginning of vports' names; with detectLocalMode InterfaceNamePrefix"),
	NOTHING("enableProfiling", "there is no profiler over HTTP"),
	GIVEN("featureGates", take_gates, "kubernetes.external-ips",
		"AllowServiceExternalIPs; the others have no meaning here"),
	GIVEN("healthzBindAddress", take_listen, "health.bind-address",
		"port 10256 unless given; 0.0.0.0 is both families"),
	GIVEN("hostnameOverride", take_name, "node.name", "trimmed and in lower case, as there"),
	REFUSED("iptables.localhostNodePorts",
		"what the host sends to its own loopback address never reaches Sluice"),
	GIVEN("iptables.masqueradeAll", take_of_mode, "snat.masquerade-all",
		"with mode iptables, ipvs or none"),
	REFUSED("iptables.masqueradeBit",
		"packets are not marked; what else relies on that mark would not work"),
	NOTHING("iptables.minSyncPeriod", NO_RULES),
	NOTHING("iptables.snatNodeInternalIP", "always so, unless snat.addresses says otherwise"),
	NOTHING("iptables.syncPeriod", NO_RULES),
	NOTHING("ipvs.excludeCIDRs", NO_IPVS),
	NOTHING("ipvs.minSyncPeriod", NO_RULES),
	NOTHING("ipvs.scheduler", "endpoints are chosen by a consistent hash of the connection"),
	NOTHING("ipvs.strictARP", "ARP is answered for no Service address in any case"),
	NOTHING("ipvs.syncPeriod", NO_RULES),
	NOTHING("ipvs.tcpFinTimeout", "see conntrack.tcpCloseWaitTimeout"),
	NOTHING("ipvs.tcpTimeout", "see conntrack.tcpEstablishedTimeout"),
	NOTHING("ipvs.udpTimeout", "see conntrack.udpStreamTimeout"),
	NOTHING("logging.flushFrequency", "lines are written at once"),
	GIVEN("logging.format", NULL, "log.format", "text or json"),
	NOTHING("logging.options", "lines are written at once"),
	GIVEN("logging.verbosity", take_verbosity, "log.level", "info up to 3, debug from 4"),
	NOTHING("logging.vmodule", "log.modules has levels of single modules"),
	GIVEN("metricsBindAddress", take_listen, "metrics.bind-address",
		"port 10249 unless given; nowhere without the field"),
	GIVEN("mode", take_mode, NULL, "says whether iptables.* or nftables.* counts"),
	GIVEN("nftables.masqueradeAll", take_of_mode, "snat.masquerade-all", "with mode nftables"),
	REFUSED("nftables.masqueradeBit",
		"packets are not marked; what else relies on that mark would not work"),
	NOTHING("nftables.minSyncPeriod", NO_RULES),
	NOTHING("nftables.syncPeriod", NO_RULES),
	GIVEN("nodePortAddresses", take_node_ports, "services.node-port-addresses",
		"prefixes, all, or primary alone; localhost is refused. Without it primary, as in "
		"kube-proxy's mode nftables; its other modes have all"),
	NOTHING("oomScoreAdj", "the unit or the pod sets it"),
	NOTHING("portRange", "unused by kube-proxy, too"),
	NOTHING("showHiddenMetricsForVersion", "no metric is hidden"),
	REFUSED("windowsRunAsService", WINDOWS),
	REFUSED("winkernel.enableDSR", WINDOWS),
	REFUSED("winkernel.forwardHealthCheckVip", WINDOWS),
	REFUSED("winkernel.networkName", WINDOWS),
	REFUSED("winkernel.rootHnsEndpointName", WINDOWS),
	REFUSED("winkernel.sourceVip", WINDOWS),
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* --- walking -----------------------------------------------------------------------------------
 */

static const struct field *find(const char *path)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		if (strcmp(fields[i].path, path) == 0)
			return &fields[i];
	return NULL;
}

static bool is_section(const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < N_FIELDS; i++)
		if (strncmp(fields[i].path, path, n) == 0 && fields[i].path[n] == '.')
			return true;
	return false;
}

static void take_field(struct taking *t, const struct field *f, const struct yaml_node *n)
{
	struct yaml_node given = *n;

	if (is_empty(n)) {
		/* An address that is empty is kube-proxy's default. */
		if (n->kind != YAML_TEXT || f->take != take_listen)
			return;
		given.text = strcmp(f->path, "metricsBindAddress") == 0 ? (char *)"127.0.0.1"
									: (char *)"0.0.0.0";
	}
	if (f->refused) {
		if (!is_off(n) || strstr(f->path, "Bit") != NULL)
			wrong(t, n->line, f->path, "is refused: %s", f->text);
	} else if (f->take == NULL && f->key == NULL) {
		if (!is_off(n))
			note(t, f->path, "no meaning here: %s", f->text);
	} else if (n->kind != YAML_TEXT && f->take != take_gates && f->take != take_node_ports) {
		wrong(t, n->line, f->path, "is not a single value");
	} else if (f->take == NULL) {
		give_text(t, f, n->line, n->text);
	} else {
		f->take(t, f, &given);
	}
}

static void take_map(struct taking *t, const char *prefix, const struct yaml_node *map)
{
	for (uint32_t i = 0; i < map->n; i++) {
		const struct yaml_node *n = map->at[i];
		const struct field *f;
		char path[CONFIG_WHY_MAX];

		snprintf(path, sizeof(path), "%s%.100s", prefix, map->keys[i]);
		f = strchr(map->keys[i], '.') == NULL ? find(path) : NULL;
		if (f != NULL) {
			take_field(t, f, n);
		} else if (strchr(map->keys[i], '.') != NULL || !is_section(path)) {
			wrong(t, map->key_lines[i], path,
				"is no field of a KubeProxyConfiguration");
		} else if (n->kind == YAML_MAP) {
			strcat(path, ".");
			take_map(t, path, n);
		} else if (!is_empty(n)) {
			wrong(t, n->line, path, "is not a map of fields");
		}
	}
}

static const char *text_of(const struct yaml_node *map, const char *key)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (strcmp(map->keys[i], key) == 0 && map->at[i]->kind == YAML_TEXT)
			return map->at[i]->text;
	return "";
}

static void take_conntrack(struct taking *t)
{
	static const struct field v4 = {.path = "conntrack.maxPerCore", .key = "flows.capacity-v4"};
	static const struct field v6 = {.path = "conntrack.maxPerCore", .key = "flows.capacity-v6"};
	int64_t cores = sysconf(_SC_NPROCESSORS_ONLN), n;
	char text[24];

	if ((t->per_core < 0 && t->at_least < 0) || t->per_core == 0)
		return;
	n = (t->per_core < 0 ? CONNTRACK_PER_CORE : t->per_core) * (cores > 0 ? cores : 1);
	if (n < (t->at_least < 0 ? CONNTRACK_MIN : t->at_least))
		n = t->at_least < 0 ? CONNTRACK_MIN : t->at_least;
	if (n > CONNTRACK_MAX)
		n = CONNTRACK_MAX;
	snprintf(text, sizeof(text), "%lld", (long long)n);
	give_text(t, &v4, t->conntrack_line, text);
	give_text(t, &v6, t->conntrack_line, text);
}

static void take_all(struct loader *l, const struct loader *own, const struct yaml_node *root)
{
	struct taking t = {.l = l,
		.own = own,
		.inline_ = l == own,
		.mode = text_of(root, "mode"),
		.local_mode = text_of(root, "detectLocalMode"),
		.per_core = -1,
		.at_least = -1};

	take_map(&t, "", root);
	take_conntrack(&t);
	if ((strcmp(t.mode, "iptables") == 0 || strcmp(t.mode, "ipvs") == 0) &&
		own->lines[config_row("services.node-port-addresses")] == 0 &&
		l->config->services.node_port_primary)
		note(&t, "nodePortAddresses",
			"not given: NodePorts are on the node's primary addresses, not on all as "
			"with mode %s",
			t.mode);
}

void config_kube_proxy(struct loader *l, const struct yaml_node *given)
{
	struct loader file = {.errors = l->errors, .used = l->used, .config = l->config};
	struct yaml_node *root;
	size_t len;
	char *text;

	if (given->kind == YAML_MAP) {
		take_all(l, l, given);
		return;
	}
	if (given->kind != YAML_TEXT || given->text[0] != '/') {
		config_error(l, given->line, "kube-proxy",
			"is neither a map of fields nor the absolute path of a file");
		return;
	}
	text = config_read_file(given->text, &len);
	if (text == NULL || len > CONFIG_BYTES_MAX) {
		config_error(l, given->line, "kube-proxy", "%s: %s", given->text,
			text == NULL ? strerror(errno) : "is too large");
		free(text);
		return;
	}
	file.path = given->text;
	root = config_tree_read(&file, text, len);
	if (root != NULL && root->kind == YAML_MAP)
		take_all(&file, l, root);
	else if (root != NULL)
		config_error(&file, root->line, "document", "is not a map of keys and values");
	l->used = file.used;
	config_tree_free(root);
	free(text);
}

/* --- for people --------------------------------------------------------------------------------
 */

int config_print_kube_proxy(FILE *f)
{
	fputs("# kube-proxy's options here\n\n"
	      "What becomes of each field of a KubeProxyConfiguration under the key `kube-proxy` of "
	      "the\nconfiguration, or in the file it names; printed by `sluiced "
	      "--print-kube-proxy-options`. An empty\nfield is as one that is not there, and so is "
	      "a `false` or a zero where there is no key.\n\n"
	      "| field | becomes | |\n|---|---|---|\n",
		f);
	for (size_t i = 0; i < N_FIELDS; i++) {
		const struct field *e = &fields[i];

		if (e->take == take_type)
			fprintf(f, "| `%s` | checked | `%s`: %s |\n", e->path, e->key, e->text);
		else if (e->key != NULL)
			fprintf(f, "| `%s` | `%s` | %s |\n", e->path, e->key, e->text);
		else
			fprintf(f, "| `%s` | %s | %s |\n", e->path,
				e->refused                ? "refused"
					: e->take != NULL ? "checked"
							  : "no meaning",
				e->text);
	}
	return ferror(f) ? -EIO : 0;
}
