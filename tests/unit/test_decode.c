/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The Sluice authors */

/* Kubernetes objects, good and hostile, decoded: each case is an object, what remains of it as one
 * line, and the faults that must be named. JSON is written with single quotes. */

#include <errno.h>
#include <stdarg.h>

#include "k8s-sync/decode.h"
#include "k8s-sync/decode_util.h"
#include "unit/harness.h"

struct line {
	char text[4096];
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	size_t len = strlen(l->text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(l->text + len, sizeof(l->text) - len, fmt, args);
	va_end(args);
}

static struct jv_doc doc;

static const struct jv *parse(const char *quoted)
{
	char *text = strdup(quoted);
	const char *error = "";
	const struct jv *json;

	for (char *p = text; *p != '\0'; p++)
		*p = *p == '\'' ? '"' : *p;
	json = jv_parse_copy(&doc, text, strlen(text), &error);
	if (json == NULL)
		fprintf(stderr, "%s: %s\n", error, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(json);
	free(text);
	return json;
}

static void add_faults(struct line *l, const struct k8s_faults *faults)
{
	for (uint32_t i = 0; faults != NULL && i < faults->n && i < K8S_FAULTS_MAX; i++)
		add(l, " !%s", faults->list[i].field);
}

static void add_addrs(struct line *l, const char *name, const struct ip_addr *addrs, uint32_t n)
{
	char text[IP_TEXT_MAX];

	for (uint32_t i = 0; i < n; i++)
		add(l, " %s=%s", name, ip_format(&addrs[i], text));
}

static void add_ranges(struct line *l, const char *name, const struct ip_prefix *ranges, uint32_t n)
{
	char text[IP_PREFIX_TEXT_MAX];

	for (uint32_t i = 0; i < n; i++)
		add(l, " %s=%s", name, ip_prefix_format(&ranges[i], text));
}

static void expect(const char *object, const struct line *l, const char *expected)
{
	if (strcmp(l->text, expected) != 0)
		fprintf(stderr, "%s\n  got      %s\n  expected %s\n", object, l->text, expected);
	CU_ASSERT_STRING_EQUAL(l->text, expected);
}

/* --- Service --------------------------------------------------------------------------------- */

static void add_service(struct line *l, const struct model_service *m)
{
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer"};
	char proto[12];

	add(l, "%s", types[m->type]);
	add_addrs(l, "ip", m->cluster_ips, m->n_cluster_ips);
	for (uint32_t i = 0; i < m->n_ports; i++) {
		add(l, " %s:%u/%s", m->ports[i].name, m->ports[i].port,
			ip_proto_name(m->ports[i].proto, proto));
		if (m->ports[i].node_port != 0)
			add(l, "@%u", m->ports[i].node_port);
	}
	add_addrs(l, "ext", m->external_ips, m->n_external_ips);
	add_addrs(l, "vip", m->lb_vips, m->n_lb_vips);
	add_ranges(l, "range", m->source_ranges, m->n_source_ranges);
	add(l, "%s%s", m->etp_local ? " etp" : "", m->itp_local ? " itp" : "");
	if (m->affinity_seconds != 0)
		add(l, " affinity=%u", m->affinity_seconds);
	if (m->health_check_node_port != 0)
		add(l, " hc=%u", m->health_check_node_port);
	if (m->created != 0)
		add(l, " created=%lld", (long long)m->created);
	if (m->reset_removed)
		add(l, " reset");
}

static void service_with(
	const struct k8s_decode_config *config, const char *object, const char *expected)
{
	const struct jv *json = parse(object);
	struct k8s_service *s = k8s_service_decode(config, "ns", "svc", json);
	struct line l = {""};

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	if (s->spec != NULL)
		add_service(&l, s->spec);
	else
		add(&l, "%s", s->refused ? "refused" : "unserved");
	add_faults(&l, s->faults);
	expect(object, &l, expected);
	k8s_service_free(s);
}

static void service(const char *object, const char *expected)
{
	static const struct k8s_decode_config config = {.external_ips = true};

	service_with(&config, object, expected);
}

#define P80 "'ports':[{'port':80}]"
#define IP4 "'clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1'],'ipFamilies':['IPv4']"
#define DUAL                                                            \
	"'clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1','fd00::1']," \
	"'ipFamilies':['IPv4','IPv6']"
#define SPEC(...) "{'spec':{" __VA_ARGS__ "}}"

static void service_addresses(void)
{
	service(SPEC("'clusterIP':'10.96.0.1'," P80), "ClusterIP ip=10.96.0.1 :80/TCP");
	service(SPEC(DUAL "," P80), "ClusterIP ip=10.96.0.1 ip=fd00::1 :80/TCP");
	service(SPEC("'clusterIP':'fd00::1','clusterIPs':['fd00::1','10.96.0.1'],'ipFamilies':['IPv6',"
		     "'IPv4']," P80),
		"ClusterIP ip=fd00::1 ip=10.96.0.1 :80/TCP");
	service(SPEC("'clusterIP':'010.096.000.001'," P80), "ClusterIP ip=10.96.0.1 :80/TCP");
	service(SPEC("'clusterIP':'::ffff:10.96.0.1'," P80), "ClusterIP ip=10.96.0.1 :80/TCP");
	/* A bad address costs itself; the last one the object. */
	service(SPEC("'clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1','fd00::zz'],'ipFamilies':["
		     "'IPv4','IPv6']," P80),
		"ClusterIP ip=10.96.0.1 :80/TCP !spec.clusterIPs[1]");
	service(SPEC("'clusterIP':'10.96.0.1','clusterIPs':['10.96.0.1','10.96.0.2'],'ipFamilies':["
		     "'IPv4','IPv6']," P80),
		"ClusterIP ip=10.96.0.1 :80/TCP !spec.clusterIPs[1]");
	service(SPEC("'clusterIP':'10.96.0.300'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'127.0.0.1'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'169.254.169.254'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'224.0.0.1'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'0.0.0.0'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'255.255.255.255'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'::1'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'fe80::1'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':'10.96.0.1\\u0000x'," P80), "refused !spec.clusterIP");
	service(SPEC("'clusterIP':5," P80), "refused !spec.clusterIP");
}

static void service_kinds(void)
{
	static const struct k8s_decode_config named = {.service_proxy_name = "sluice"};

	service(SPEC("'clusterIP':'None'," P80), "unserved");
	service(SPEC("'clusterIP':''," P80), "unserved");
	service(SPEC(P80), "unserved");
	service(SPEC("'type':'ExternalName','externalName':'x.example','clusterIP':'10.96.0.1'," P80),
		"unserved");
	service(SPEC("'type':'NodePort'," IP4 ",'ports':[{'port':80,'nodePort':30080}]"),
		"NodePort ip=10.96.0.1 :80/TCP@30080");
	service(SPEC("'type':'Future'," IP4 "," P80), "refused !spec.type");
	service(SPEC("'type':7," IP4 "," P80), "refused !spec.type");
	service("{'spec':'text'}", "refused !spec");
	service("{}", "refused !spec");
	service("{'metadata':{'labels':{'service.kubernetes.io/service-proxy-name':'other'}},'spec':{" IP4
		"," P80 "}}",
		"unserved");
	service_with(&named, SPEC(IP4 "," P80), "unserved");
	service_with(&named,
		"{'metadata':{'labels':{'service.kubernetes.io/service-proxy-name':'sluice'}},'spec':{" IP4
		"," P80 "}}",
		"ClusterIP ip=10.96.0.1 :80/TCP");
	service("{'metadata':{'creationTimestamp':'1970-01-02T00:00:00Z','annotations':{"
		"'sluice.io/reset-removed-endpoints':'true'}},'spec':{" IP4 "," P80 "}}",
		"ClusterIP ip=10.96.0.1 :80/TCP created=86400 reset");
}

static void service_ports(void)
{
#define PORTS(list) SPEC(IP4 ",'ports':[" list "]")
#define OK80        "{'name':'a','port':80}"
	service(PORTS("{'name':'d','port':53,'protocol':'UDP'},{'name':'t','port':53},{'name':'s',"
		      "'port':9,'protocol':'SCTP','targetPort':'text','appProtocol':'x','new':{}}"),
		"ClusterIP ip=10.96.0.1 d:53/UDP t:53/TCP s:9/SCTP");
	service(PORTS(OK80 ",{'name':'b','port':0}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",{'name':'b','port':70000}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",{'name':'b','port':-1}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",{'name':'b','port':'81'}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",{'name':'b','port':81.5}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",{'name':'b'}"), "ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",7,null"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1] !spec.ports[2]");
	service(PORTS(OK80 ",{'name':'b','port':80}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].port");
	service(PORTS(OK80 ",{'name':'a','port':81}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].name");
	service(PORTS(OK80 ",{'name':'b','port':81,'protocol':'ICMP'}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[1].protocol");
	/* A bad node port costs the node port, not the port. */
	service(PORTS("{'name':'a','port':80,'nodePort':70000}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP !spec.ports[0].nodePort");
	service(PORTS("{'name':'a','port':80,'nodePort':30000},{'name':'b','port':81,'nodePort':30000},"
		      "{'name':'c','port':81,'nodePort':30000,'protocol':'UDP'}"),
		"ClusterIP ip=10.96.0.1 a:80/TCP@30000 b:81/TCP c:81/UDP@30000 !spec.ports[1].nodePort");
	service(PORTS("{'port':0}"), "refused !spec.ports[0].port");
	service(SPEC(IP4 ",'ports':null"), "unserved");
	service(SPEC(IP4), "unserved");
	service(SPEC(IP4 ",'ports':{}"), "refused !spec.ports");
}

static void service_external(void)
{
	static const struct k8s_decode_config without = {.external_ips = false};

	service(SPEC(IP4 "," P80 ",'externalIPs':['192.0.2.1','2001:db8::1','192.0.2.1']"),
		"ClusterIP ip=10.96.0.1 :80/TCP ext=192.0.2.1");
	service(SPEC(DUAL "," P80 ",'externalIPs':['192.0.2.1','2001:db8::1','127.0.0.1','x',7]"),
		"ClusterIP ip=10.96.0.1 ip=fd00::1 :80/TCP ext=192.0.2.1 ext=2001:db8::1 "
		"!spec.externalIPs[2] !spec.externalIPs[3] !spec.externalIPs[4]");
	service_with(&without, SPEC(IP4 "," P80 ",'externalIPs':['192.0.2.1']"),
		"ClusterIP ip=10.96.0.1 :80/TCP");
#define LB(ingress, more)                                                                 \
	"{'spec':{'type':'LoadBalancer'," DUAL "," P80 more "},'status':{'loadBalancer':" \
	"{'ingress':[" ingress "]}}}"
#define LB_IS "LoadBalancer ip=10.96.0.1 ip=fd00::1 :80/TCP"
	service(LB("{'ip':'192.0.2.9'},{'ip':'2001:db8::9','ipMode':'VIP'},{'ip':'192.0.2.10','ipMode':"
		   "'Proxy'},{'hostname':'lb.example'}",
			""),
		LB_IS " vip=192.0.2.9 vip=2001:db8::9");
	service(LB("{'ip':'192.0.2.9','ipMode':'New'},{'ip':'169.254.0.1'},{'ip':8}", ""),
		LB_IS " !status.loadBalancer.ingress[0].ipMode !status.loadBalancer.ingress[1].ip "
		      "!status.loadBalancer.ingress[2].ip");
	service("{'spec':{" IP4 "," P80 "},'status':{'loadBalancer':{'ingress':null}}}",
		"ClusterIP ip=10.96.0.1 :80/TCP");
#define VIPS "{'ip':'192.0.2.9'},{'ip':'2001:db8::9'}"
	service(LB(VIPS, ",'loadBalancerSourceRanges':[' 192.0.2.0/24 ','2001:db8::/32']"),
		LB_IS " vip=192.0.2.9 vip=2001:db8::9 range=192.0.2.0/24 range=2001:db8::/32");
	/* Unreadable ranges must never mean "anybody". */
	service(LB(VIPS, ",'loadBalancerSourceRanges':['192.0.2.0/33']"),
		LB_IS
		" vip=2001:db8::9 !spec.loadBalancerSourceRanges[0] !status.loadBalancer.ingress");
	service(LB(VIPS, ",'loadBalancerSourceRanges':['192.0.2.0/33','192.0.2.0/24']"),
		LB_IS " vip=192.0.2.9 vip=2001:db8::9 range=192.0.2.0/24 "
		      "!spec.loadBalancerSourceRanges[0]");
	service(LB(VIPS, ",'loadBalancerSourceRanges':{}"),
		LB_IS " !spec.loadBalancerSourceRanges !status.loadBalancer.ingress "
		      "!status.loadBalancer.ingress");
}

static void service_policies(void)
{
	service(SPEC(IP4 "," P80 ",'externalTrafficPolicy':'Local'"),
		"ClusterIP ip=10.96.0.1 :80/TCP");
	service(SPEC(IP4 "," P80 ",'externalTrafficPolicy':'Local','externalIPs':['192.0.2.1']"),
		"ClusterIP ip=10.96.0.1 :80/TCP ext=192.0.2.1 etp");
	service(SPEC("'type':'LoadBalancer'," IP4 "," P80 ",'externalTrafficPolicy':'Local',"
		     "'internalTrafficPolicy':'Local','healthCheckNodePort':31000"),
		"LoadBalancer ip=10.96.0.1 :80/TCP etp itp hc=31000");
	service(SPEC("'type':'LoadBalancer'," IP4 "," P80 ",'healthCheckNodePort':31000"),
		"LoadBalancer ip=10.96.0.1 :80/TCP");
	service(SPEC(IP4 "," P80 ",'internalTrafficPolicy':'Near','externalTrafficPolicy':1"),
		"ClusterIP ip=10.96.0.1 :80/TCP !spec.externalTrafficPolicy !spec.internalTrafficPolicy");
	service(SPEC(IP4 "," P80 ",'sessionAffinity':'ClientIP'"),
		"ClusterIP ip=10.96.0.1 :80/TCP affinity=10800");
	service(SPEC(IP4 "," P80
			 ",'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{"
			 "'timeoutSeconds':86400}}"),
		"ClusterIP ip=10.96.0.1 :80/TCP affinity=86400");
	service(SPEC(IP4 "," P80
			 ",'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{"
			 "'timeoutSeconds':86401}}"),
		"ClusterIP ip=10.96.0.1 :80/TCP affinity=10800 "
		"!spec.sessionAffinityConfig.clientIP.timeoutSeconds");
	service(SPEC(IP4 "," P80 ",'sessionAffinity':'Magic'"),
		"ClusterIP ip=10.96.0.1 :80/TCP !spec.sessionAffinity");
}

/* --- endpoints ------------------------------------------------------------------------------- */

static void add_part(struct line *l, const struct k8s_slice *part)
{
	char text[IP_TEXT_MAX], proto[12];

	add(l, " [");
	for (uint32_t i = 0; i < part->n_ports; i++)
		add(l, "%s%s:%u/%s", i > 0 ? " " : "", k8s_slice_string(part, part->ports[i].name),
			part->ports[i].port, ip_proto_name(part->ports[i].proto, proto));
	for (uint32_t i = 0; i < part->n_endpoints; i++) {
		const struct k8s_endpoint *e = &part->endpoints[i];

		add(l, " %s%s%s%s", ip_format(&e->addr, text), e->ready ? "+r" : "",
			e->serving ? "+s" : "", e->terminating ? "+t" : "");
		if (e->node != 0)
			add(l, "@%s", k8s_slice_string(part, e->node));
		if (e->zone != 0)
			add(l, "/%s", k8s_slice_string(part, e->zone));
		if (e->target != 0)
			add(l, "=%s", k8s_slice_string(part, e->target));
		for (uint32_t h = 0; h < (uint32_t)e->n_zone_hints + e->n_node_hints; h++)
			add(l, "%s%s", h < e->n_zone_hints ? " z:" : " n:",
				k8s_slice_string(part, part->hints[e->first_hint + h]));
	}
	add(l, "]");
}

static void endpoints(const char *object, const char *expected,
	struct k8s_endpoints *(*decode)(const char *, const char *, const struct jv *))
{
	const struct jv *json = parse(object);
	struct k8s_endpoints *e = decode("ns", "obj", json);
	struct line l = {""};

	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	add(&l, "%s", e->refused ? "refused" : e->service != NULL ? e->service : "none");
	for (const struct k8s_slice *part = e->parts; part != NULL; part = part->next)
		add_part(&l, part);
	if (e->trigger_time_ns != 0)
		add(&l, " t=%lld", (long long)e->trigger_time_ns);
	add_faults(&l, e->faults);
	expect(object, &l, expected);
	k8s_endpoints_free(e);
}

#define META       "'metadata':{'labels':{'kubernetes.io/service-name':'svc'}}"
#define SLICE(...) "{" META ",'addressType':'IPv4'," __VA_ARGS__ "}"
#define HTTP       "'ports':[{'name':'http','port':8080,'protocol':'TCP'}]"
#define EPS(list)  SLICE(HTTP ",'endpoints':[" list "]")

static void slice(const char *object, const char *expected)
{
	endpoints(object, expected, k8s_slice_decode);
}

static void slices(void)
{
	slice(EPS("{'addresses':['10.0.0.1','10.0.0.9'],'nodeName':'n1','zone':'z1','targetRef':{'kind':"
		  "'Pod','name':'p','namespace':'x'},'hints':{'forZones':[{'name':'z1'},{'name':'z2'}],"
		  "'forNodes':[{'name':'n1'}]}}"),
		"ns/svc [http:8080/TCP 10.0.0.1+r+s@n1/z1=x/p z:z1 z:z2 n:n1]");
	slice(EPS("{'addresses':['10.0.0.1'],'conditions':{'ready':null}},{'addresses':['10.0.0.2'],"
		  "'conditions':{'ready':false,'serving':true,'terminating':true}},{'addresses':["
		  "'10.0.0.3'],'conditions':{'ready':'yes'}}"),
		"ns/svc [http:8080/TCP 10.0.0.1+r+s 10.0.0.2+s+t 10.0.0.3+s] "
		"!endpoints[2].conditions.ready");
	slice(EPS("{'addresses':['127.0.0.1']},{'addresses':['169.254.1.1']},{'addresses':['0.0.0.0']},"
		  "{'addresses':['239.1.1.1']},{'addresses':['10.0.0.256']},{'addresses':['fd00::1']},"
		  "{'addresses':[7]},{'addresses':[]},{'addresses':null},{},5,{'addresses':['10.0.0.1']}"),
		"ns/svc [http:8080/TCP 10.0.0.1+r+s] !endpoints[0].addresses[0] "
		"!endpoints[1].addresses[0] !endpoints[2].addresses[0] !endpoints[3].addresses[0] "
		"!endpoints[4].addresses[0] !endpoints[5].addresses[0] !endpoints[6].addresses[0] "
		"!endpoints[10]");
	slice("{" META ",'addressType':'IPv6'," HTTP
	      ",'endpoints':[{'addresses':['fe80::1']},{'addresses':"
	      "['::1']},{'addresses':['ff02::1']},{'addresses':['::ffff:10.0.0.1']},{'addresses':["
	      "'FD00:0::1']}]}",
		"ns/svc [http:8080/TCP fd00::1+r+s] !endpoints[0].addresses[0] !endpoints[1].addresses[0] "
		"!endpoints[2].addresses[0] !endpoints[3].addresses[0]");
	slice(SLICE("'endpoints':null,'ports':null"), "ns/svc");
	slice(SLICE(HTTP), "ns/svc");
	slice(SLICE("'endpoints':{}," HTTP), "refused !endpoints");
	slice(SLICE("'endpoints':[],'ports':'all'"), "refused !ports");
	slice(SLICE("'ports':[{'port':null},{'port':0},{'port':65536},{'name':'u','port':53,'protocol':"
		    "'UDP'},{'name':'x','port':1,'protocol':'GRE'},{'name':3,'port':4},{'port':5},"
		    "{'name':null,'port':6},{'name':'','port':7}],"
		    "'endpoints':[{'addresses':['10.0.0.1']}]"),
		"ns/svc [u:53/UDP :7/TCP 10.0.0.1+r+s] !ports[1].port !ports[2].port !ports[4].protocol "
		"!ports[5].name");
	slice("{" META ",'addressType':'FQDN'," HTTP ",'endpoints':[{'addresses':['a.example']}]}",
		"ns/svc");
	slice("{" META "," HTTP "}", "ns/svc !addressType");
	slice("{'metadata':{},'addressType':'IPv4'}", "none");
	slice("{'metadata':{'labels':{'kubernetes.io/service-name':'svc','service.kubernetes.io/headless':"
	      "''}},'addressType':'IPv4'}",
		"none");
	slice("{'metadata':{'labels':{'kubernetes.io/service-name':5}},'addressType':'IPv4'}",
		"refused !metadata.labels[\"kubernetes.io/service-name\"]");
	slice("{'metadata':{'labels':{'kubernetes.io/service-name':'svc'},'annotations':{"
	      "'endpoints.kubernetes.io/last-change-trigger-time':'1970-01-01T00:00:01.5Z'}},'addressType':"
	      "'IPv4'}",
		"ns/svc t=1500000000");
}

static void many_faults_are_counted(void)
{
	static char list[64000];
	struct k8s_endpoints *e;
	size_t len = (size_t)snprintf(
		list, sizeof(list), "{" META ",'addressType':'IPv4'," HTTP ",'endpoints':[{}");

	for (int i = 0; i < 1500; i++)
		len += (size_t)snprintf(
			list + len, sizeof(list) - len, ",{'addresses':['127.0.0.1']}");
	snprintf(list + len, sizeof(list) - len, "]}");
	e = k8s_slice_decode("ns", "obj", parse(list));
	CU_ASSERT_PTR_NOT_NULL_FATAL(e);
	CU_ASSERT_PTR_NULL(e->parts);
	/* Those within the API's limit, and that it was passed. */
	CU_ASSERT_EQUAL(e->faults->n, K8S_SLICE_ENDPOINTS_MAX);
	k8s_endpoints_free(e);
}

static void endpoints_v1(void)
{
	endpoints(
		"{'subsets':[{'addresses':[{'ip':'10.0.0.1','nodeName':'n1','targetRef':{'kind':'Pod',"
		"'name':'p'}},{'ip':'fd00::1'}],'notReadyAddresses':[{'ip':'10.0.0.2'}],'ports':[{'name':"
		"'http','port':80}]},{'addresses':[{'ip':'10.0.0.3'}],'ports':[{'port':81,'protocol':"
		"'UDP'}]}]}",
		"ns/obj [:81/UDP 10.0.0.3+r+s] [http:80/TCP fd00::1+r+s] "
		"[http:80/TCP 10.0.0.1+r+s@n1=ns/p 10.0.0.2]",
		k8s_endpoints_decode);
	endpoints("{'subsets':null}", "ns/obj", k8s_endpoints_decode);
	endpoints(
		"{'subsets':[5,{'addresses':[{'ip':'127.0.0.1'},{},{'ip':'10.0.0.1'}],'ports':[{'port':"
		"0},{'port':1}]},{'addresses':{},'ports':[{'port':2}]}]}",
		"ns/obj [:1/TCP 10.0.0.1+r+s] !subsets[0] !subsets[1].ports[0].port "
		"!subsets[1].addresses[0].ip !subsets[1].addresses[1].ip !subsets[2].addresses",
		k8s_endpoints_decode);
	endpoints("{'subsets':7}", "refused !subsets", k8s_endpoints_decode);
	endpoints("{'metadata':{'labels':{'service.kubernetes.io/headless':''}},'subsets':[]}",
		"none", k8s_endpoints_decode);
}

/* --- Node and ServiceCIDR -------------------------------------------------------------------- */

static void node(const char *object, const char *expected)
{
	const struct jv *json = parse(object);
	struct k8s_node *n = k8s_node_decode("n1", json);
	struct line l = {""};

	CU_ASSERT_PTR_NOT_NULL_FATAL(n);
	add(&l, "%s", n->refused ? "refused" : n->node->name);
	if (n->node != NULL) {
		add_addrs(&l, "int", n->node->internal_ips, n->node->n_internal_ips);
		add_addrs(&l, "ext", n->node->external_ips, n->node->n_external_ips);
		add_ranges(&l, "pods", n->node->pod_cidrs, n->node->n_pod_cidrs);
		add(&l, "%s%s", n->node->zone != NULL ? " zone=" : "",
			n->node->zone != NULL ? n->node->zone : "");
		add(&l, "%s%s", n->node->deleting ? " deleting" : "",
			n->node->to_be_deleted ? " drain" : "");
	}
	add_faults(&l, n->faults);
	expect(object, &l, expected);
	k8s_node_free(n);
}

static void nodes(void)
{
	node("{'metadata':{'labels':{'topology.kubernetes.io/zone':'east'}},'spec':{'podCIDR':'10.1.0.0/24',"
	     "'podCIDRs':['10.1.0.0/24','fd00:1::/64'],'taints':[{'key':'x'}]},'status':{'addresses':[{"
	     "'type':'InternalIP','address':'192.0.2.1'},{'type':'InternalIP','address':'2001:db8::1'},{"
	     "'type':'ExternalIP','address':'198.51.100.1'},{'type':'Hostname','address':'n1'}]}}",
		"n1 int=192.0.2.1 int=2001:db8::1 ext=198.51.100.1 pods=10.1.0.0/24 pods=fd00:1::/64 "
		"zone=east");
	node("{'metadata':{'deletionTimestamp':'2026-01-01T00:00:00Z'},'spec':{'podCIDR':'10.1.0.0/24',"
	     "'taints':[{'key':'ToBeDeletedByClusterAutoscaler'}]}}",
		"n1 pods=10.1.0.0/24 deleting drain");
	node("{'spec':{'podCIDRs':['0.0.0.0/0','127.0.0.0/8','x','10.1.0.0/24',5]},'status':{'addresses':[{"
	     "'type':'InternalIP','address':'127.0.0.1'},{'type':'InternalIP','address':'1.2.3'}]}}",
		"n1 pods=10.1.0.0/24 !status.addresses[0].address !status.addresses[1].address "
		"!spec.podCIDRs[0] !spec.podCIDRs[1] !spec.podCIDRs[2] !spec.podCIDRs[4]");
	node("{}", "n1");
	node("{'spec':[],'metadata':{'labels':1}}", "refused !spec !metadata.labels");
}

static void cidrs(const char *object, const char *expected)
{
	const struct jv *json = parse(object);
	struct k8s_cidrs *c = k8s_cidrs_decode(json);
	struct line l = {""};

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	add(&l, "%s", c->refused ? "refused" : "ok");
	add_ranges(&l, "r", c->cidrs, c->n);
	add_faults(&l, c->faults);
	expect(object, &l, expected);
	k8s_cidrs_free(c);
}

static void service_cidrs(void)
{
	cidrs("{'spec':{'cidrs':['10.96.0.0/12','fd00:10:96::/112']}}",
		"ok r=10.96.0.0/12 r=fd00:10:96::/112");
	cidrs("{'spec':{'cidrs':['10.96.0.0/12','::/0']}}", "ok r=10.96.0.0/12 !spec.cidrs[1]");
	cidrs("{'spec':{'cidrs':['nonsense']}}", "refused !spec.cidrs[0]");
	cidrs("{'spec':{'cidrs':null}}", "ok");
	cidrs("{'spec':7}", "refused !spec");
}

static void times(void)
{
	int64_t ns;

	CU_ASSERT_EQUAL(k8s_time("2026-11-22T15:30:00Z", &ns), 0);
	CU_ASSERT_EQUAL(ns, INT64_C(1795361400000000000));
	CU_ASSERT_EQUAL(k8s_time("1970-01-01T01:00:00.000000001+01:00", &ns), 0);
	CU_ASSERT_EQUAL(ns, 1);
	CU_ASSERT_EQUAL(k8s_time("1969-12-31T23:30:00-00:30", &ns), 0);
	CU_ASSERT_EQUAL(ns, 0);
	CU_ASSERT_EQUAL(k8s_time("yesterday", &ns), -EINVAL);
	CU_ASSERT_EQUAL(k8s_time("4052-01-01T00:00:00.5Z", &ns), -EINVAL);
	CU_ASSERT_EQUAL(k8s_time("2026-11-22T15:30:00", &ns), -EINVAL);
	CU_ASSERT_EQUAL(k8s_time("2026-11-22T15:30:00+1", &ns), -EINVAL);
}

static void finish(void)
{
	jv_doc_fini(&doc);
	CU_ASSERT_EQUAL(doc.capacity, 0);
}

TEST_SUITE("decode", CASE(service_addresses), CASE(service_kinds), CASE(service_ports),
	CASE(service_external), CASE(service_policies), CASE(slices), CASE(many_faults_are_counted),
	CASE(endpoints_v1), CASE(nodes), CASE(service_cidrs), CASE(times), CASE(finish))
