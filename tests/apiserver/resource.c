/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */
/*
 * The table of served resources. Nothing in it changes after start.
 */
#include "resource.h"

#include <stdio.h>
#include <string.h>

const struct resource resources[RESOURCE_COUNT] = {
	{.group = "",
		.version = "v1",
		.plural = "services",
		.singular = "service",
		.kind = "Service",
		.short_name = "svc",
		.namespaced = true,
		.has_status = true,
		.fields = {"spec.clusterIP", "spec.type"},
		.empty = ",\"spec\":{},\"status\":{\"loadBalancer\":{}}"},
	{.group = "",
		.version = "v1",
		.plural = "endpoints",
		.singular = "endpoints",
		.kind = "Endpoints",
		.short_name = "ep",
		.namespaced = true,
		.empty = ""},
	{.group = "",
		.version = "v1",
		.plural = "nodes",
		.singular = "node",
		.kind = "Node",
		.short_name = "no",
		.has_status = true,
		.empty = ",\"spec\":{},\"status\":{\"daemonEndpoints\":{\"kubeletEndpoint\":"
			 "{\"Port\":0}},\"nodeInfo\":{}}"},
	{.group = "",
		.version = "v1",
		.plural = "pods",
		.singular = "pod",
		.kind = "Pod",
		.short_name = "po",
		.namespaced = true,
		.has_status = true,
		.fields = {"spec.nodeName", "status.phase", "status.podIP", "spec.restartPolicy"},
		.empty = ",\"spec\":{\"containers\":null},\"status\":{}"},
	{.group = "",
		.version = "v1",
		.plural = "namespaces",
		.singular = "namespace",
		.kind = "Namespace",
		.short_name = "ns",
		.has_status = true,
		.fields = {"status.phase"},
		.empty = ",\"spec\":{},\"status\":{}"},
	{.group = "",
		.version = "v1",
		.plural = "events",
		.singular = "event",
		.kind = "Event",
		.short_name = "ev",
		.namespaced = true,
		.fields = {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
			"involvedObject.uid", "reason", "type"},
		.empty = ",\"involvedObject\":{},\"source\":{}"},
	{.group = "discovery.k8s.io",
		.version = "v1",
		.plural = "endpointslices",
		.singular = "endpointslice",
		.kind = "EndpointSlice",
		.namespaced = true,
		.empty = ",\"addressType\":\"\",\"endpoints\":null,\"ports\":null"},
	{.group = "networking.k8s.io",
		.version = "v1",
		.plural = "servicecidrs",
		.singular = "servicecidr",
		.kind = "ServiceCIDR",
		.has_status = true,
		.empty = ",\"spec\":{},\"status\":{}"},
	{.group = "networking.k8s.io",
		.version = "v1",
		.plural = "networkpolicies",
		.singular = "networkpolicy",
		.kind = "NetworkPolicy",
		.short_name = "netpol",
		.namespaced = true,
		.empty = ",\"spec\":{\"podSelector\":{}}"},
};

int resource_by_plural(const char *group, const char *version, const char *plural)
{
	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (!strcmp(resources[i].plural, plural) && !strcmp(resources[i].group, group) &&
			!strcmp(resources[i].version, version))
			return i;
	return -1;
}

int resource_by_kind(const char *api_version, const char *kind)
{
	char buf[64];

	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (!strcmp(resources[i].kind, kind) &&
			!strcmp(resource_api_version(&resources[i], buf, sizeof(buf)), api_version))
			return i;
	return -1;
}

int resource_by_name(const char *plural)
{
	for (int i = 0; i < RESOURCE_COUNT; i++)
		if (!strcmp(resources[i].plural, plural))
			return i;
	return -1;
}

const char *resource_api_version(const struct resource *r, char *buf, size_t len)
{
	snprintf(buf, len, "%s%s%s", r->group, *r->group ? "/" : "", r->version);
	return buf;
}
