/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Values of the configuration by type: read with a reason when refused, set to their default,
 * freed. Pure but for allocation; any thread. */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_private.h"

__attribute__((format(printf, 2, 3))) static int refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONFIG_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* --- single values from text -------------------------------------------------------------------
 */

static int read_number(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (*text == '\0' || strlen(text) > 18)
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	*out = value;
	return value <= max ? 0 : -ERANGE;
}

static int read_uint(const struct config_key *k, const char *text, uint32_t *out, char *why)
{
	uint64_t v;

	if (read_number(text, UINT64_MAX, &v) < 0)
		return refuse(why, "'%.60s' is not an integer", text);
	if (v < k->min)
		return refuse(why, "%s is below %u", text, k->min);
	if (v > k->max)
		return refuse(why, "%s is above %u", text, k->max);
	*out = (uint32_t)v;
	return 0;
}

static int read_mode(const char *text, uint32_t *out, char *why)
{
	uint32_t v = 0;
	const char *p = text;

	if (strncmp(p, "0o", 2) == 0)
		p += 2;
	if (*p == '\0' || strlen(p) > 5)
		return refuse(why, "'%.60s' is not an octal mode such as 0660", text);
	for (; *p != '\0'; p++) {
		if (*p < '0' || *p > '7')
			return refuse(why, "'%.60s' is not an octal mode such as 0660", text);
		v = v * 8 + (uint32_t)(*p - '0');
	}
	if (v > 0777)
		return refuse(why, "'%.60s' is above 0777", text);
	*out = v;
	return 0;
}

static int read_bool(const char *text, bool *out, char *why)
{
	if (strcmp(text, "true") == 0)
		*out = true;
	else if (strcmp(text, "false") == 0)
		*out = false;
	else
		return refuse(why, "'%.60s' is neither true nor false", text);
	return 0;
}

static int read_enum(const struct config_key *k, const char *text, int *out, char *why)
{
	size_t used;

	for (int i = 0; k->names[i] != NULL; i++)
		if (strcmp(text, k->names[i]) == 0) {
			*out = i;
			return 0;
		}
	refuse(why, "'%.60s' is none of", text);
	used = strlen(why);
	for (int i = 0; k->names[i] != NULL && used < CONFIG_WHY_MAX; i++)
		used += (size_t)snprintf(
			why + used, CONFIG_WHY_MAX - used, "%s %s", i > 0 ? "," : "", k->names[i]);
	return -EINVAL;
}

static int read_addr(const struct config_key *k, const char *text, struct ip_addr *out, char *why)
{
	if (ip_parse(text, out) < 0)
		return refuse(why, "'%.60s' is not an IP address", text);
	if (k->type == TYPE_ADDR4 && ip_family(out) != IP_V4)
		return refuse(why, "%.60s is not an IPv4 address", text);
	if (k->type == TYPE_ADDR6 && ip_family(out) != IP_V6)
		return refuse(why, "%.60s is not an IPv6 address", text);
	if (ip_is_zero(out) || ip_is_multicast(out) || ip_is_loopback(out))
		return refuse(why, "%.60s cannot be a host's address", text);
	return 0;
}

static int read_prefix(const char *text, struct ip_prefix *out, char *why)
{
	char addr[IP_TEXT_MAX + 1];
	const char *slash = strchr(text, '/');
	struct ip_addr a;

	if (ip_prefix_parse(text, out) < 0 || slash == NULL ||
		(size_t)(slash - text) >= sizeof(addr))
		return refuse(why, "'%.60s' is not a prefix such as 10.0.0.0/8", text);
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (ip_parse(addr, &a) < 0 || !ip_equal(&a, &out->addr))
		return refuse(why, "%.60s has bits set behind its length", text);
	return 0;
}

static int read_ifaddr(const char *text, struct ip_prefix *out, char *why)
{
	char addr[IP_TEXT_MAX + 1];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct ip_addr a;

	if (n < sizeof(addr)) {
		memcpy(addr, text, n);
		addr[n] = '\0';
		if (ip_parse(addr, &a) == 0 && (slash == NULL || ip_prefix_parse(text, out) == 0)) {
			if (slash == NULL) {
				out->family = ip_family(&a);
				out->len = out->family == IP_V4 ? 32 : 128;
			}
			out->addr = a;
			if (ip_is_zero(&a) || ip_is_multicast(&a) || ip_is_loopback(&a))
				return refuse(why, "%.60s cannot be a host's address", text);
			return 0;
		}
	}
	return refuse(why, "'%.60s' is not an address such as 192.0.2.10 or 192.0.2.10/24", text);
}

static int read_range(
	const struct config_key *k, const char *text, struct config_range *out, char *why)
{
	const char *dash = strchr(text, '-');
	char low[8];
	uint64_t a, b;

	if (dash == NULL || (size_t)(dash - text) >= sizeof(low))
		return refuse(why, "'%.60s' is not a range of ports such as 1024-65535", text);
	memcpy(low, text, (size_t)(dash - text));
	low[dash - text] = '\0';
	if (read_number(low, 65535, &a) < 0 || read_number(dash + 1, 65535, &b) < 0)
		return refuse(why, "'%.60s' is not a range of ports such as 1024-65535", text);
	if (a < k->min)
		return refuse(why, "port %u is below %u", (unsigned)a, k->min);
	if (a > b)
		return refuse(why, "%.60s is empty: its start is above its end", text);
	out->min = (uint16_t)a;
	out->max = (uint16_t)b;
	return 0;
}

static int read_mac(const char *text, struct config_mac *out, char *why)
{
	static const uint8_t zero[6];
	unsigned b[6];
	int end = 0;

	if (strlen(text) != 17 ||
		sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
			&end) != 6 ||
		end != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return refuse(why, "'%.60s' is not a MAC address such as 02:00:00:00:00:01", text);
	for (int i = 0; i < 6; i++)
		out->bytes[i] = (uint8_t)b[i];
	if ((out->bytes[0] & 1) != 0 || memcmp(out->bytes, zero, 6) == 0)
		return refuse(why, "%s is not a unicast address", text);
	out->set = true;
	return 0;
}

static bool only(const char *text, const char *also)
{
	for (; *text != '\0'; text++)
		if (!isalnum((unsigned char)*text) && strchr(also, *text) == NULL)
			return false;
	return true;
}

static bool is_pci(const char *t)
{
	unsigned d, b, s, f;
	int end = 0;

	return sscanf(t, "%4x:%2x:%2x.%1x%n", &d, &b, &s, &f, &end) == 4 && end == 12 &&
		strlen(t) == 12 && s < 32 && f < 8 && strspn(t, "0123456789abcdefABCDEF:.") == 12;
}

static bool is_listen(const char *t)
{
	const char *colon = strrchr(t, ':');
	char host[IP_TEXT_MAX + 2];
	struct ip_addr a;
	uint64_t port;
	size_t n;

	if (colon == NULL || read_number(colon + 1, 65535, &port) < 0 || port == 0)
		return false;
	n = (size_t)(colon - t);
	if (n >= sizeof(host))
		return false;
	memcpy(host, t, n);
	host[n] = '\0';
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		return ip_parse(host + 1, &a) == 0 && ip_family(&a) == IP_V6;
	}
	return ip_parse(host, &a) == 0 && ip_family(&a) == IP_V4;
}

/* The rules of text types; 0 or -EINVAL. */
static int check_text(const struct config_key *k, const char *t, char *why)
{
	size_t n = strlen(t);

	if (n == 0)
		return refuse(why, "is empty; leave the key out instead");
	switch (k->type) {
	case TYPE_NAME:
		if (n > k->max)
			return refuse(why, "'%.40s…' is longer than %u characters", t, k->max);
		if (!only(t, "-_."))
			return refuse(why,
				"'%.60s' is not a name: letters, digits, '-', '_' and '.' only", t);
		return 0;
	case TYPE_IFACE:
		if (n > 15 || strpbrk(t, "/ \t\n:") != NULL)
			return refuse(why, "'%.60s' is not the name of an interface", t);
		return 0;
	case TYPE_FILE:
	case TYPE_SOCKET:
		if (t[0] != '/')
			return refuse(why, "'%.60s' is not an absolute path", t);
		if (n > (k->type == TYPE_SOCKET ? 107 : 4095))
			return refuse(why, "the path is longer than %d bytes",
				k->type == TYPE_SOCKET ? 107 : 4095);
		return 0;
	case TYPE_URL:
		if (strncmp(t, "http://", 7) != 0 && strncmp(t, "https://", 8) != 0)
			return refuse(why, "'%.60s' starts with neither http:// nor https://", t);
		if (strpbrk(t, " \t\n\"@") != NULL || strchr(t, ':')[3] == '\0')
			return refuse(
				why, "'%.60s' is not an address such as https://host:6443", t);
		return 0;
	case TYPE_LISTEN:
		if (!is_listen(t))
			return refuse(why,
				"'%.60s' is not address:port, such as 127.0.0.1:9585 or [::1]:9585",
				t);
		return 0;
	case TYPE_PCI:
		if (!is_pci(t))
			return refuse(why, "'%.60s' is not a PCI address such as 0000:03:00.0", t);
		return 0;
	default:
		if (n > 1023)
			return refuse(why, "is longer than 1023 bytes");
		return 0;
	}
}

static int read_cpus_text(
	const struct config_key *k, const char *text, struct config_cpus *c, char *why)
{
	while (true) {
		size_t n = strcspn(text, ",");
		char part[16];
		char *dash;
		uint64_t a, b;

		if (n == 0 || n >= sizeof(part))
			return refuse(why, "'%.60s' is not a list of CPUs such as 2-5", text);
		memcpy(part, text, n);
		part[n] = '\0';
		dash = strchr(part, '-');
		if (dash != NULL)
			*dash++ = '\0';
		if (read_number(part, 4095, &a) < 0 ||
			read_number(dash != NULL ? dash : part, 4095, &b) < 0 || a > b)
			return refuse(why, "'%.60s' is not a list of CPUs such as 2-5", text);
		for (uint64_t cpu = a; cpu <= b; cpu++) {
			for (uint32_t i = 0; i < c->n; i++)
				if (c->at[i] == cpu)
					return refuse(why, "CPU %u is given twice", (unsigned)cpu);
			if (c->n == k->max)
				return refuse(why, "more than %u CPUs", k->max);
			c->at[c->n++] = (uint16_t)cpu;
		}
		text += n;
		if (*text++ == '\0')
			return 0;
	}
}

/* --- from the tree -------------------------------------------------------------------------------
 */

static const char *kind_text(const struct yaml_node *n)
{
	return n->kind == YAML_MAP ? "a map" : n->kind == YAML_LIST ? "a list" : "a value";
}

static int read_list(
	const struct config_key *k, const struct yaml_node *node, void *field, char *why)
{
	static const size_t sizes[] = {
		[TYPE_ADDRS] = sizeof(struct ip_addr),
		[TYPE_PREFIXES] = sizeof(struct ip_prefix),
		[TYPE_IFADDRS] = sizeof(struct ip_prefix),
		[TYPE_NODEPORT] = sizeof(struct ip_prefix),
		[TYPE_STRINGS] = sizeof(char *),
	};
	struct config_strings *list = field; /* all lists are a count and a pointer */
	char *at;

	if (node->kind != YAML_LIST)
		return refuse(why, "is %s, not a list", kind_text(node));
	if (k->max != 0 && node->n > k->max)
		return refuse(why, "has %u entries; at most %u are allowed", node->n, k->max);
	if (node->n == 0)
		return 0;
	at = calloc(node->n, sizes[k->type]);
	if (at == NULL)
		return -ENOMEM;
	list->at = (void *)at;
	for (uint32_t i = 0; i < node->n; i++, list->n++, at += sizes[k->type]) {
		const struct yaml_node *e = node->at[i];
		int err = 0;

		if (e->kind != YAML_TEXT)
			return refuse(why, "entry %u is not a value", i + 1);
		if (k->type == TYPE_ADDRS)
			err = read_addr(k, e->text, (struct ip_addr *)(void *)at, why);
		else if (k->type == TYPE_IFADDRS)
			err = read_ifaddr(e->text, (struct ip_prefix *)(void *)at, why);
		else if (k->type == TYPE_STRINGS)
			err = (*(char **)(void *)at = strdup(e->text)) != NULL ? 0 : -ENOMEM;
		else
			err = read_prefix(e->text, (struct ip_prefix *)(void *)at, why);
		if (err < 0)
			return err;
	}
	return 0;
}

static int read_cpus(
	const struct config_key *k, const struct yaml_node *node, struct config_cpus *c, char *why)
{
	if (node->kind == YAML_MAP)
		return refuse(why, "is a map, not a list of CPUs");
	c->at = calloc(k->max, sizeof(*c->at));
	if (c->at == NULL)
		return -ENOMEM;
	if (node->kind == YAML_TEXT)
		return read_cpus_text(k, node->text, c, why);
	for (uint32_t i = 0; i < node->n; i++) {
		int err;

		if (node->at[i]->kind != YAML_TEXT)
			return refuse(why, "entry %u is not a value", i + 1);
		err = read_cpus_text(k, node->at[i]->text, c, why);
		if (err < 0)
			return err;
	}
	return 0;
}

static int read_levels(const struct yaml_node *node, struct config_log *log, char *why)
{
	if (node->kind != YAML_MAP)
		return refuse(why, "is %s, not a map of modules and levels", kind_text(node));
	log->modules = calloc(node->n + 1, sizeof(*log->modules));
	if (log->modules == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < node->n; i++) {
		struct config_log_module *m = &log->modules[i];
		enum log_level level;
		int known = 0;

		while (known < LOG_MODULES && strcmp(log_module_names[known], node->keys[i]) != 0)
			known++;
		if (known == LOG_MODULES)
			return refuse(why, "there is no module '%.40s'", node->keys[i]);
		if (node->at[i]->kind != YAML_TEXT ||
			log_level_parse(node->at[i]->text, &level) < 0)
			return refuse(why, "the level of %s is none of error, warn, info, debug",
				node->keys[i]);
		m->name = strdup(node->keys[i]);
		if (m->name == NULL)
			return -ENOMEM;
		m->level = (int)level;
		log->n_modules++;
	}
	return 0;
}

static int read_node_port(
	const struct config_key *k, const struct yaml_node *node, void *base, char *why)
{
	bool *primary = (void *)((char *)base + k->offset);

	*primary = node->kind == YAML_TEXT && strcmp(node->text, "primary") == 0;
	if (*primary)
		return 0;
	if (node->kind == YAML_TEXT)
		return refuse(why, "'%.60s' is neither primary nor a list of prefixes", node->text);
	return read_list(k, node, (char *)base + k->offset2, why);
}

static int read_text_value(const struct config_key *k, const char *text, void *field, char *why)
{
	int err;

	switch (k->type) {
	case TYPE_BOOL:
		return read_bool(text, field, why);
	case TYPE_UINT:
		return read_uint(k, text, field, why);
	case TYPE_MODE:
		return read_mode(text, field, why);
	case TYPE_ENUM:
		return read_enum(k, text, field, why);
	case TYPE_ADDR:
	case TYPE_ADDR4:
	case TYPE_ADDR6:
		return read_addr(k, text, field, why);
	case TYPE_PREFIX:
		return read_prefix(text, field, why);
	case TYPE_RANGE:
		return read_range(k, text, field, why);
	case TYPE_MAC:
		return read_mac(text, field, why);
	default:
		err = check_text(k, text, why);
		if (err == 0 && (*(char **)field = strdup(text)) == NULL)
			err = -ENOMEM;
		return err;
	}
}

int config_value_read(const struct config_key *k, const struct yaml_node *node, void *base,
	char why[CONFIG_WHY_MAX])
{
	void *field = (char *)base + k->offset;

	why[0] = '\0';
	switch (k->type) {
	case TYPE_ADDRS:
	case TYPE_PREFIXES:
	case TYPE_IFADDRS:
	case TYPE_STRINGS:
		return read_list(k, node, field, why);
	case TYPE_NODEPORT:
		return read_node_port(k, node, base, why);
	case TYPE_CPUS:
		return read_cpus(k, node, field, why);
	case TYPE_LEVELS:
		return read_levels(node, field, why);
	default:
		break;
	}
	if (node->kind != YAML_TEXT)
		return refuse(why, "is %s, not a single value", kind_text(node));
	return read_text_value(k, node->text, field, why);
}

size_t config_value_size(const struct config_key *k)
{
	switch (k->type) {
	case TYPE_BOOL:
	case TYPE_NODEPORT:
		return sizeof(bool);
	case TYPE_UINT:
	case TYPE_MODE:
	case TYPE_LIST:
		return sizeof(uint32_t);
	case TYPE_ENUM:
		return sizeof(int);
	case TYPE_ADDR:
	case TYPE_ADDR4:
	case TYPE_ADDR6:
		return sizeof(struct ip_addr);
	case TYPE_PREFIX:
		return sizeof(struct ip_prefix);
	case TYPE_RANGE:
		return sizeof(struct config_range);
	case TYPE_MAC:
		return sizeof(struct config_mac);
	case TYPE_ADDRS:
	case TYPE_PREFIXES:
	case TYPE_IFADDRS:
	case TYPE_CPUS:
	case TYPE_STRINGS:
		return sizeof(struct config_strings);
	case TYPE_LEVELS:
		return sizeof(struct config_log);
	default:
		return sizeof(char *);
	}
}

int config_value_default(const struct config_key *k, void *base)
{
	struct yaml_node text = {.kind = YAML_TEXT, .text = (char *)k->def};
	char why[CONFIG_WHY_MAX];

	/* A kind or a prefix that is not given must not look like the first one. */
	if (k->type == TYPE_ENUM && k->def == NULL)
		*(int *)(void *)((char *)base + k->offset) = -1;
	if (k->type == TYPE_PREFIX)
		((struct ip_prefix *)(void *)((char *)base + k->offset))->family = PREFIX_NONE;
	if (k->def == NULL || k->type == TYPE_LIST || strcmp(k->def, "[]") == 0 ||
		strcmp(k->def, "{}") == 0)
		return 0;
	return config_value_read(k, &text, base, why);
}

void config_value_fini(const struct config_key *k, void *base)
{
	size_t offset = k->type == TYPE_NODEPORT ? k->offset2 : k->offset;
	void *field = (char *)base + offset;
	struct config_strings *list = field;
	struct config_log *log = field;

	switch (k->type) {
	case TYPE_TEXT:
	case TYPE_NAME:
	case TYPE_IFACE:
	case TYPE_FILE:
	case TYPE_SOCKET:
	case TYPE_URL:
	case TYPE_LISTEN:
	case TYPE_PCI:
		free(*(char **)field);
		*(char **)field = NULL;
		break;
	case TYPE_STRINGS:
		for (uint32_t i = 0; i < list->n; i++)
			free(list->at[i]);
		/* fall through */
	case TYPE_ADDRS:
	case TYPE_PREFIXES:
	case TYPE_IFADDRS:
	case TYPE_NODEPORT:
	case TYPE_CPUS:
		free(list->at);
		list->at = NULL;
		list->n = 0;
		break;
	case TYPE_LEVELS:
		for (uint32_t i = 0; i < log->n_modules; i++)
			free(log->modules[i].name);
		free(log->modules);
		log->modules = NULL;
		log->n_modules = 0;
		break;
	default:
		break;
	}
}
