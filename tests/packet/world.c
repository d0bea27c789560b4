/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* See world.h. One thread. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "packet/text.h"
#include "packet/world.h"

#define MANY 64

struct named_backend {
	char name[64];
	backend_ref ref;
};

struct world {
	struct bench bench;
	bool started;
	uint32_t flows, buckets;
	struct vport vports[MANY];
	struct next_hop *hops[MANY];
	struct route routes[MANY];
	uint32_t n_routes, n_owned, n_cluster, n_cidrs, n_np, n_backends, n_garbage;
	struct ip_addr owned[MANY], np[MANY];
	struct ip_prefix cluster[MANY], cidrs[MANY];
	struct route_domain routes_domain;
	struct svc_domain services;
	struct tunables tunables;
	struct svc_table *table;
	struct backend_table *backends;
	struct named_backend named[MANY];
	void *garbage[256]; /* freed at the end: replaced while packets could still be held */
	uint32_t next_svc_id;
};

static void *keep(struct world *w, void *mem)
{
	if (mem == NULL || w->n_garbage == sizeof(w->garbage) / sizeof(w->garbage[0]))
		abort();
	w->garbage[w->n_garbage++] = mem;
	return mem;
}

struct bench *world_bench(struct world *w)
{
	return &w->bench;
}

int world_new(struct world **out)
{
	*out = calloc(1, sizeof(**out));
	if (*out == NULL)
		return -ENOMEM;
	(*out)->flows = 64;
	return 0;
}

static int start(struct world *w)
{
	struct dataplane *dp = &w->bench.dp;
	int rc;

	if (w->started)
		return 0;
	rc = bench_init(&w->bench, w->flows, w->flows, w->buckets);
	if (rc < 0)
		return rc;
	w->started = true;
	w->tunables = *atomic_load(&dp->tunables);
	w->tunables.snat.port_min = 1024;
	w->tunables.snat.port_max = 65535;
	w->tunables.tcp_pick_up = true;
	rc = svc_table_init(&dp->grace, 64, &w->table);
	if (rc < 0)
		return rc;
	rc = backend_table_init(256, &w->backends);
	if (rc < 0)
		return rc;
	w->services.ready = true;
	w->services.cluster_ip_outside = true;
	return 0;
}

static void publish(struct world *w)
{
	struct dataplane *dp = &w->bench.dp;
	struct route_domain *r = keep(w, calloc(1, sizeof(*r)));
	struct svc_domain *s = keep(w, calloc(1, sizeof(*s)));
	struct tunables *t = keep(w, calloc(1, sizeof(*t)));
	struct fib *fib;

	if (fib_new(w->routes, w->n_routes, &fib) < 0)
		abort();
	w->routes_domain.generation++;
	dataplane_frontends_changed(dp);
	*r = w->routes_domain;
	r->fib = fib;
	r->owned = w->owned;
	r->n_owned = w->n_owned;
	if (atomic_load(&dp->routes) != NULL && w->routes_domain.fib != NULL)
		fib_free((struct fib *)w->routes_domain.fib);
	w->routes_domain.fib = fib;
	atomic_store(&dp->routes, r);
	*s = w->services;
	s->table = w->table;
	s->backends = w->backends;
	s->service_cidrs = w->cidrs;
	s->n_service_cidrs = w->n_cidrs;
	s->node_port_addrs = w->np;
	s->n_node_port_addrs = w->n_np;
	atomic_store(&dp->services, s);
	*t = w->tunables;
	t->snat.cluster = w->cluster;
	t->snat.n_cluster = w->n_cluster;
	atomic_store(&dp->tunables, t);
}

void world_free(struct world *w)
{
	if (w->started) {
		bench_fini(&w->bench);
		svc_table_fini(w->table);
		backend_table_fini(w->backends);
		fib_free((struct fib *)w->routes_domain.fib);
	}
	for (uint32_t i = 0; i < w->n_garbage; i++)
		free(w->garbage[i]);
	free(w);
}

static const char *value_of(const char *word, const char *key)
{
	size_t n = strlen(key);

	return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static bool range(const char *text, uint16_t *min, uint16_t *max)
{
	return sscanf(text, "%hu-%hu", min, max) == 2;
}

static bool add_vport(struct world *w, char **save)
{
	char *id = strtok_r(NULL, " ", save), *role = strtok_r(NULL, " ", save), *word;
	struct vport *v;

	if (id == NULL || role == NULL || atoi(id) >= MANY)
		return false;
	v = &w->vports[atoi(id)];
	*v = (struct vport){.id = (uint16_t)atoi(id), .mtu = 1500, .up = true};
	snprintf(v->name, sizeof(v->name), "v%s", id);
	v->role = role[0] == 'p' ? VPORT_POD : role[0] == 'h' ? VPORT_HOST : VPORT_UPLINK;
	while ((word = strtok_r(NULL, " ", save)) != NULL) {
		const char *value;

		if ((value = value_of(word, "mac")) != NULL) {
			text_mac(value, v->mac);
		} else if ((value = value_of(word, "peer")) != NULL) {
			v->peer_mac_known = text_mac(value, v->peer_mac);
		} else if ((value = value_of(word, "mtu")) != NULL) {
			v->mtu = (uint16_t)atoi(value);
		} else if ((value = value_of(word, "addr")) != NULL) {
			struct ip_prefix *p = &v->addrs[v->n_addrs++];

			if (strchr(value, '/') != NULL) {
				if (ip_prefix_parse(value, p) != 0)
					return false;
				continue;
			}
			if (ip_parse(value, &p->addr) < 0)
				return false;
			p->family = (uint8_t)ip_family(&p->addr);
			p->len = p->family == IP_V4 ? 32 : 128;
		} else if (strcmp(word, "guard") == 0) {
			v->source_guard = true;
		} else {
			return false;
		}
	}
	w->bench.vports.at[v->id] = v;
	return true;
}

static bool add_next_hop(struct world *w, char **save)
{
	static const char *const kinds[NEXT_HOP_KINDS] = {
		"none", "forward", "unresolved", "glean", "local", "blackhole", "prohibit"};
	char *id = strtok_r(NULL, " ", save), *kind = strtok_r(NULL, " ", save), *word;
	struct next_hop *nh = keep(w, aligned_alloc(64, sizeof(*nh)));

	if (id == NULL || kind == NULL)
		return false;
	memset(nh, 0, sizeof(*nh));
	nh->id = (uint16_t)atoi(id);
	nh->l2_len = 14;
	nh->mtu = 1500;
	nh->kind = NEXT_HOP_KINDS;
	for (int k = 0; k < NEXT_HOP_KINDS; k++)
		if (strcmp(kind, kinds[k]) == 0)
			nh->kind = (uint8_t)k;
	while ((word = strtok_r(NULL, " ", save)) != NULL) {
		const char *value;

		if ((value = value_of(word, "vport")) != NULL)
			nh->vport = (uint16_t)atoi(value);
		else if ((value = value_of(word, "dmac")) != NULL)
			text_mac(value, nh->l2);
		else if ((value = value_of(word, "mtu")) != NULL)
			nh->mtu = (uint16_t)atoi(value);
		else if ((value = value_of(word, "via")) != NULL)
			ip_parse(value, &nh->gateway);
		else
			return false;
	}
	memcpy(nh->l2 + 6, w->vports[nh->vport].mac, 6);
	nh->l2[12] = 0x08;
	next_hop_seal(nh);
	atomic_store(&w->bench.dp.next_hops->at[nh->id], nh);
	return nh->kind < NEXT_HOP_KINDS;
}

static bool parse_backend(char *text, struct svc_backend *out)
{
	char *at = strchr(text, '@'), *colon;

	if (at != NULL) {
		*at = '\0';
		out->flags = SVC_BACKEND_LOCAL;
	}
	colon = strrchr(text, ':');
	if (colon == NULL)
		return false;
	*colon = '\0';
	out->port = htons((uint16_t)atoi(colon + 1));
	if (text[0] == '[') {
		text++;
		text[strlen(text) - 1] = '\0';
	}
	return ip_parse(text, &out->addr) == 0;
}

static bool service_option(
	struct world *w, const char *word, struct svc_port *p, enum svc_frontend_kind *kind)
{
	const char *value;

	if ((value = value_of(word, "kind")) != NULL)
		*kind = value[0] == 'c'   ? SVC_CLUSTER_IP
			: value[0] == 'e' ? SVC_EXTERNAL_IP
			: value[0] == 'l' ? SVC_LB_VIP
					  : SVC_NODE_PORT;
	else if (strcmp(word, "etp=local") == 0)
		p->flags |= SVC_ETP_LOCAL;
	else if (strcmp(word, "itp=local") == 0)
		p->flags |= SVC_ITP_LOCAL;
	else if (strcmp(word, "reset") == 0)
		p->flags |= SVC_RESET_REMOVED;
	else if ((value = value_of(word, "affinity")) != NULL)
		p->affinity_seconds = (uint32_t)atoi(value);
	else if ((value = value_of(word, "source")) != NULL) {
		struct ip_prefix *prefix = keep(w, calloc(1, sizeof(*prefix)));

		if (ip_prefix_parse(value, prefix) < 0)
			return false;
		p->source_ranges = prefix;
		p->n_source_ranges = 1;
	} else {
		return false;
	}
	return true;
}

static bool add_service(struct world *w, char **save)
{
	char *proto = strtok_r(NULL, " ", save), *front = strtok_r(NULL, " ", save), *word;
	struct svc_port *p = keep(w, calloc(1, sizeof(*p)));
	struct svc_backend all[MANY], local[MANY], frontend = {0};
	enum svc_frontend_kind kind = SVC_CLUSTER_IP;
	struct svc_frontend_key key = {0};
	uint32_t n = 0, n_local = 0;
	bool arrow = false;

	if (proto == NULL || front == NULL || !parse_backend(front, &frontend))
		return false;
	p->id = ++w->next_svc_id;
	p->proto = ip_proto_parse(proto);
	p->port = frontend.port;
	p->name = "test/service";
	p->flags = SVC_HAS_ANY;
	while ((word = strtok_r(NULL, " ", save)) != NULL) {
		struct named_backend *named = &w->named[w->n_backends];

		if (strcmp(word, "->") == 0) {
			arrow = true;
			continue;
		}
		if (!arrow) {
			if (strcmp(word, "none-anywhere") == 0)
				p->flags &= (uint8_t)~SVC_HAS_ANY;
			else if (!service_option(w, word, p, &kind))
				return false;
			continue;
		}
		memset(&all[n], 0, sizeof(all[n]));
		snprintf(named->name, sizeof(named->name), "%s", word);
		if (strchr(named->name, '@') != NULL)
			*strchr(named->name, '@') = '\0';
		if (!parse_backend(word, &all[n]))
			return false;
		all[n].ref = named->ref = backend_alloc(w->backends);
		backend_set(w->backends, all[n].ref, BACKEND_READY);
		w->n_backends++;
		if ((all[n].flags & SVC_BACKEND_LOCAL) != 0)
			local[n_local++] = all[n];
		n++;
	}
	if (n == 0)
		p->flags &= (uint8_t)~SVC_HAS_ANY;
	p->cluster = keep(w, svc_list_new(all, n));
	p->local = keep(w, svc_list_new(local, n_local));
	key.family = (uint8_t)ip_family(&frontend.addr);
	if (kind != SVC_NODE_PORT)
		key.addr = frontend.addr;
	key.port = p->port;
	key.proto = p->proto;
	if (svc_table_set(w->table, &key, kind, p) < 0)
		return false;
	if (kind == SVC_CLUSTER_IP) {
		key.port = 0;
		key.proto = 0;
		return svc_table_set(w->table, &key, SVC_ADDRESS, NULL) == 0;
	}
	return true;
}

static bool backend_gone(struct world *w, const char *name)
{
	for (uint32_t i = 0; name != NULL && i < w->n_backends; i++) {
		if (strcmp(w->named[i].name, name) == 0) {
			backend_release(w->backends, w->named[i].ref);
			w->named[i].name[0] = '\0';
			return true;
		}
	}
	return false;
}

static bool set_option(struct world *w, const char *word)
{
	const char *value;

	if (word == NULL)
		return false;
	if ((value = value_of(word, "pick-up")) != NULL)
		w->tunables.tcp_pick_up = atoi(value) != 0;
	else if ((value = value_of(word, "masquerade-all")) != NULL)
		w->services.masquerade_all = atoi(value) != 0;
	else if ((value = value_of(word, "services-ready")) != NULL)
		w->services.ready = atoi(value) != 0;
	else if ((value = value_of(word, "tx-full")) != NULL)
		w->bench.tx_full = atoi(value) != 0;
	else
		return false;
	return true;
}

static bool set_snat(struct world *w, char **save)
{
	char *addr = strtok_r(NULL, " ", save), *word;
	struct ip_addr a;

	if (addr == NULL || ip_parse(addr, &a) < 0)
		return false;
	w->tunables.snat.addr[ip_family(&a)] = a;
	while ((word = strtok_r(NULL, " ", save)) != NULL) {
		const char *value;

		if ((value = value_of(word, "ports")) != NULL) {
			if (!range(value, &w->tunables.snat.port_min, &w->tunables.snat.port_max))
				return false;
		} else if ((value = value_of(word, "avoid")) != NULL) {
			if (!range(value, &w->tunables.snat.avoid_min, &w->tunables.snat.avoid_max))
				return false;
		} else {
			return false;
		}
	}
	return true;
}

static int compare_addrs(const void *a, const void *b)
{
	return ip_compare(a, b);
}

static bool statement(struct world *w, const char *verb, char **save)
{
	char *word;
	struct ip_addr a;

	if (strcmp(verb, "vport") == 0)
		return add_vport(w, save);
	if (strcmp(verb, "nexthop") == 0)
		return add_next_hop(w, save);
	if (strcmp(verb, "service") == 0)
		return add_service(w, save);
	if (strcmp(verb, "snat") == 0)
		return set_snat(w, save);
	word = strtok_r(NULL, " ", save);
	if (strcmp(verb, "option") == 0)
		return set_option(w, word);
	if (strcmp(verb, "backend-gone") == 0)
		return backend_gone(w, word);
	if (strcmp(verb, "service-cidr") == 0)
		return ip_prefix_parse(word, &w->cidrs[w->n_cidrs++]) == 0;
	if (strcmp(verb, "egress") == 0) {
		w->tunables.snat.egress = true;
		for (; word != NULL; word = strtok_r(NULL, " ", save))
			if (ip_prefix_parse(word, &w->cluster[w->n_cluster++]) < 0)
				return false;
		return true;
	}
	if (strcmp(verb, "route") == 0) {
		struct route *r = &w->routes[w->n_routes++];
		char *id = strtok_r(NULL, " ", save);

		r->next_hop = id == NULL ? 0 : (uint16_t)atoi(id);
		return id != NULL && ip_prefix_parse(word, &r->prefix) == 0;
	}
	if (word == NULL || ip_parse(word, &a) < 0)
		return false;
	if (strcmp(verb, "owned") == 0) {
		w->owned[w->n_owned++] = a;
		qsort(w->owned, w->n_owned, sizeof(a), compare_addrs);
	} else if (strcmp(verb, "icmp-source") == 0) {
		w->routes_domain.icmp_source[ip_family(&a)] = a;
	} else if (strcmp(verb, "gateway") == 0) {
		w->routes_domain.gateway[ip_family(&a)] = a;
	} else if (strcmp(verb, "node-port-addr") == 0) {
		w->np[w->n_np++] = a;
	} else {
		return false;
	}
	return true;
}

int world_statement(struct world *w, char *line, char *err, size_t room)
{
	static const char *const verbs[] = {"flows", "vport", "nexthop", "route", "owned",
		"icmp-source", "gateway", "snat", "egress", "service", "service-cidr",
		"node-port-addr", "backend-gone", "option"};
	char copy[512], *save = NULL, *verb;
	bool known = false;

	snprintf(copy, sizeof(copy), "%s", line);
	verb = strtok_r(copy, " ", &save);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		known |= strcmp(verb, verbs[i]) == 0;
	if (strcmp(verb, "flows") == 0 && !w->started) {
		char *n = strtok_r(NULL, " ", &save), *buckets = strtok_r(NULL, " ", &save);

		w->flows = (uint32_t)atoi(n);
		w->buckets = buckets == NULL ? 0 : (uint32_t)atoi(value_of(buckets, "buckets"));
		return start(w) < 0 ? -ENOMEM : 1;
	}
	if (start(w) < 0)
		return -ENOMEM;
	if (!known)
		return 0;
	if (!statement(w, verb, &save)) {
		snprintf(err, room, "cannot read: %s", line);
		return -EINVAL;
	}
	publish(w);
	return 1;
}
