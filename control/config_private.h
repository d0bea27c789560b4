/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Inside of the configuration: the YAML tree, the schema table and the value types. Included by
 * config*.c only; control thread. */

#pragma once

#include "control/config.h"

/* --- YAML tree (config_yaml.c) --------------------------------------------------------------- */

enum yaml_kind {
	YAML_NULL, /* empty, ~ or null */
	YAML_TEXT,
	YAML_MAP,
	YAML_LIST,
};

struct yaml_node {
	enum yaml_kind kind;
	int line;
	char *text; /* YAML_TEXT, YAML_NULL */
	uint32_t n;
	struct yaml_node **at; /* values of a map or list */
	char **keys;           /* YAML_MAP */
	int *key_lines;
};

struct loader {
	const char *path;
	struct config_errors *errors;
	size_t used; /* bytes of errors->text */
	int *lines;  /* by row of the schema; 0: not in the file */
	struct config *config;
	const struct yaml_node *kube_proxy; /* what the file has under that key; may be NULL */
	bool running;                       /* replaces what a daemon has in force */
};

/* The document, or NULL when it cannot be read at all; errors are in the loader. */
struct yaml_node *config_tree_read(struct loader *l, const char *text, size_t len);
void config_tree_free(struct yaml_node *n);

__attribute__((format(printf, 4, 5))) void config_error(
	struct loader *l, int line, const char *key, const char *fmt, ...);

/* --- schema (config_schema.c) ---------------------------------------------------------------- */

enum config_type {
	TYPE_BOOL,     /* bool */
	TYPE_UINT,     /* uint32_t, min..max */
	TYPE_MODE,     /* uint32_t, octal file mode */
	TYPE_TEXT,     /* char *, NULL when not set */
	TYPE_NAME,     /* char *: letters, digits, '-', '_', '.' */
	TYPE_IFACE,    /* char *: name of a kernel interface */
	TYPE_FILE,     /* char *: absolute path */
	TYPE_SOCKET,   /* char *: absolute path of a unix socket */
	TYPE_URL,      /* char *: http:// or https:// */
	TYPE_LISTEN,   /* char *: address:port */
	TYPE_PCI,      /* char *: domain:bus:device.function */
	TYPE_ENUM,     /* int, index in names */
	TYPE_ADDR,     /* struct ip_addr, zero when not set */
	TYPE_ADDR4,    /* the same, IPv4 only */
	TYPE_ADDR6,    /* the same, IPv6 only */
	TYPE_ADDRS,    /* struct config_addrs */
	TYPE_PREFIX,   /* struct ip_prefix */
	TYPE_PREFIXES, /* struct config_prefixes */
	TYPE_IFADDRS,  /* struct config_prefixes, host bits kept */
	TYPE_RANGE,    /* struct config_range */
	TYPE_MAC,      /* struct config_mac */
	TYPE_CPUS,     /* struct config_cpus */
	TYPE_STRINGS,  /* struct config_strings */
	TYPE_NODEPORT, /* bool and struct config_prefixes: "primary" or a list */
	TYPE_LEVELS,   /* struct config_log: n_modules and modules */
	TYPE_FIELDS,   /* nothing: a KubeProxyConfiguration, given to other keys */
	TYPE_LIST,     /* uint32_t and pointer to entries of list */
};

struct config_list {
	const struct config_key *keys;
	uint32_t n_keys;
	size_t entry_size;
	size_t line_offset; /* of an int: the entry's line */
};

struct config_key {
	const char *path; /* "flows.timeouts.udp"; in a list: the key inside an entry */
	enum config_type type;
	size_t offset, offset2;   /* in struct config or the entry; TYPE_LIST: n and pointer */
	const char *def;          /* NULL: not set */
	uint32_t min, max;        /* TYPE_UINT: value; lists: number of entries (max 0: any) */
	const char *const *names; /* TYPE_ENUM, NULL-terminated */
	const struct config_list *list;
	bool reload;
	bool required;
	const char *help;
};

extern const struct config_key config_keys[];
extern const uint32_t config_n_keys;

/* The row of a path, or -1. */
int config_row(const char *path);

#define PREFIX_NONE 0xff /* family of a prefix that is not set */

/* --- values (config_value.c) ----------------------------------------------------------------- */

/* Reads node into base. 0, or -EINVAL with the reason in why; -ENOMEM. */
#define CONFIG_WHY_MAX 200
int config_value_read(const struct config_key *k, const struct yaml_node *node, void *base,
	char why[CONFIG_WHY_MAX]);
/* Bytes at offset. */
size_t config_value_size(const struct config_key *k);
/* Reads the default. 0 or -ENOMEM. */
int config_value_default(const struct config_key *k, void *base);
void config_value_fini(const struct config_key *k, void *base);

/* --- as people see them (config_print.c) ----------------------------------------------------- */

/* The canonical value; null when not set; whole entries for TYPE_LIST. */
json_t *config_value_json(const struct config_key *k, const void *base);
/* "integer 64..134217728", "list of prefixes", … */
void config_type_text(const struct config_key *k, char *buf, size_t size);

static inline const void *config_list_entry(
	const struct config_key *k, const void *base, uint32_t i)
{
	const char *entries = *(char *const *)((const char *)base + k->offset2);

	return entries + (size_t)i * k->list->entry_size;
}

static inline uint32_t config_list_count(const struct config_key *k, const void *base)
{
	return *(const uint32_t *)((const char *)base + k->offset);
}

/* --- kube-proxy's options (config_kube_proxy.c) ---------------------------------------------- */

/* Gives the fields to our keys; errors are in the loader, what has no meaning in config->notes. */
void config_kube_proxy(struct loader *l, const struct yaml_node *given);
/* The file's bytes, one more than CONFIG_BYTES_MAX at most; NULL with errno. */
char *config_read_file(const char *path, size_t *len);

/* --- rules between keys (config_check.c) ----------------------------------------------------- */

void config_check(struct loader *l);
