#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What load balancers ask: port 10256 and healthCheckNodePorts, while services and the node change.

sluiced has a namespace of its own here; its health ports are in the node's, so that probes go from
the outside through the dataplane to the node's addresses, as a load balancer's do.
"""

import datetime
import json
import os
import signal
import subprocess
import sys
import time

from e2e import LabCase, main

PORT, NODE_PORT = 32100, 30090
NODE, NODE6 = "192.0.2.10", "2001:db8:1::10"
PROBE = """
import http.client, json, sys
c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=3)
try:
    c.request(sys.argv[4], sys.argv[3], body=sys.argv[5] or None)
    a = c.getresponse()
    print(json.dumps([a.status, dict(a.getheaders()), a.read().decode()]))
except OSError as e:
    print(json.dumps([0, {}, str(e)]))
"""
HOLD = """
import socket, sys
s = socket.socket()
%s
s.bind(("0.0.0.0", int(sys.argv[1])))
s.listen()
print("held", flush=True)
sys.stdin.read()
"""


class Health(LabCase):
    PREFIX = "eh"
    @classmethod
    def start(cls):
        cls.CONFIG = ('metrics.bind-address="127.0.0.1:10249"',
                      "health.network-namespace=/run/netns/" + cls.lab.ns("host"))
        super().start()
        cls.lab.create("services", {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "probed", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.90",
                     "clusterIPs": ["10.96.0.90"], "ipFamilies": ["IPv4"],
                     "externalTrafficPolicy": "Local", "healthCheckNodePort": PORT,
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080,
                                "nodePort": NODE_PORT, "protocol": "TCP"}]}})
        cls.lab.create("endpointslices", {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "probed-ipv4", "namespace": "default",
                         "labels": {"kubernetes.io/service-name": "probed"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": cls.endpoints("pod-1", "pod-2")})

    @classmethod
    def endpoints(cls, *pods, terminating=False):
        address = {"pod-1": "10.244.1.21", "pod-2": "10.244.1.22"}
        return [{"addresses": [address[p]], "nodeName": "node-1",
                 "conditions": {"ready": not terminating, "serving": True,
                                "terminating": terminating},
                 "targetRef": {"kind": "Pod", "namespace": "default", "name": p}} for p in pods]

    def setUp(self):
        super().setUp()
        self.set_endpoints("pod-1", "pod-2")
        self.set_policy("Local")
        self.eventually(lambda: self.status(PORT) == 200, "the probed service to be healthy")

    def set_endpoints(self, *pods, **how):
        self.lab.edit("endpointslices", "probed-ipv4",
                      lambda s: s.update(endpoints=self.endpoints(*pods, **how)))

    def set_policy(self, policy, port=PORT):
        def change(service):
            service["spec"]["externalTrafficPolicy"] = policy
            service["spec"].pop("healthCheckNodePort", None)
            if policy == "Local":
                service["spec"]["healthCheckNodePort"] = port
        self.lab.edit("services", "probed", change)

    def set_taints(self, *keys):
        def change(node):
            node["spec"]["taints"] = [{"key": k, "effect": "NoSchedule"} for k in keys]
        self.lab.edit("nodes", "node-1", change)

    def probe(self, port, path="/", method="GET", body="", to=NODE, by="outside"):
        """(status, headers, text); status 0 when nobody listens."""
        out = self.lab.run(by, sys.executable, "-c", PROBE, to, str(port), path, method, body)
        self.assertEqual(out.returncode, 0, out.stderr)
        return json.loads(out.stdout)

    def status(self, port, path="/", **where):
        return self.probe(port, path, **where)[0]

    def body(self, port, path="/"):
        return json.loads(self.probe(port, path)[2])

    def reload(self, *overrides):
        with open(self.lab.path("sluice.yaml"), "w", encoding="utf-8") as f:
            f.write(self.lab.config(self.CONFIG + overrides))
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            os.kill(int(f.read().split()[0]), signal.SIGHUP)

    def events(self, reason, namespace="default"):
        """What the API server was told."""
        status, answer = self.lab.apiserver.get("/api/v1/namespaces/%s/events" % namespace)
        self.assertEqual(status, 200)
        return [e for e in answer["items"] if e["reason"] == reason]

    def test_events_are_not_asked_for_again_when_refused(self):
        self.addCleanup(self.lab.start_sluiced, *self.CONFIG)
        self.addCleanup(self.lab.faults.delete, "/_fault")
        self.lab.faults.post("/_fault", {"fault": "status", "code": 403, "reason": "Forbidden",
                                         "resource": "events", "verb": "*", "count": -1})
        self.lab.faults.delete("/_log")
        self.lab.start_sluiced(*self.CONFIG)
        self.eventually(lambda: "events_off" in self.lab.log("sluiced"), "the refusal in the log")
        self.assertEqual(self.metric('rest_client_requests_total{code="403",method="POST"}'), 1)
        said, release = self.hold(
            PORT + 5, "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
        self.assertEqual(said, "held")
        self.set_policy("Local", PORT + 5)
        self.eventually(lambda: [e for e in self.lab.items("/api/v1/events")
                                 if e["reason"] == "FailedToStartServiceHealthcheck"],
                        "the notice that stays here")
        release()
        self.eventually(lambda: self.status(PORT + 5) == 200, "the port")
        self.assertEqual(self.lab.log("sluiced").count("events_off"), 1)
        self.assertEqual(len([r for r in self.lab.faults.get("/_log")[1]
                              if r["method"] == "POST" and "/events" in r["target"]]), 1)

    def hold(self, port, option=""):
        holder = subprocess.Popen(self.lab.enter("host") + [sys.executable, "-c", HOLD % option,
                                                               str(port)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        said = holder.stdout.readline().strip()

        def release():
            if holder.poll() is None:
                holder.communicate(timeout=10)
        self.addCleanup(release)
        return said, release

    def test_the_answer_of_a_service(self):
        for path, method, body in (("/", "GET", ""), ("/any/where?x=%zz", "GET", ""),
                                   ("/", "POST", "not json")):
            status, headers, text = self.probe(PORT, path, method, body)
            self.assertEqual(status, 200, (path, method, text))
            self.assertEqual(headers["Content-Type"], "application/json")
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(headers["X-Load-Balancing-Endpoint-Weight"], "2")
            self.assertEqual(text.rstrip("\n"), json.dumps({
                "service": {"namespace": "default", "name": "probed"},
                "localEndpoints": 2, "serviceProxyHealthy": True}, indent="\t"))
        # A service of IPv4 alone has no server for the other family.
        self.assertEqual(self.status(PORT, to=NODE6), 0)
        # Another one on the same port of another address is left alone.
        self.assertEqual(self.status(PORT, to="127.0.0.1", by="host"), 0)

    def test_the_addresses_are_those_of_nodeports(self):
        self.addCleanup(self.eventually, lambda: self.status(PORT, to="127.0.0.1", by="host") == 0,
                        "the loopback address to be left")
        self.addCleanup(self.reload)
        self.reload('services.node-port-addresses=["0.0.0.0/0", "::/0"]')
        self.eventually(lambda: self.status(PORT, to="127.0.0.1", by="host") == 200,
                        "every address to be served")
        self.assertEqual(self.status(PORT), 200)
        self.reload('services.node-port-addresses=["198.51.100.0/24", "2001:db8:1::/64"]')
        self.eventually(lambda: self.status(PORT) == 0, "an address without NodePorts to be left")

    def test_a_service_of_ipv6(self):
        self.lab.create("services", {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "probed-6", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "clusterIP": "fd00:10:96::90",
                     "clusterIPs": ["fd00:10:96::90"], "ipFamilies": ["IPv6"],
                     "externalTrafficPolicy": "Local", "healthCheckNodePort": PORT + 2,
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080,
                                "nodePort": NODE_PORT + 2, "protocol": "TCP"}]}})
        self.addCleanup(self.lab.delete, "services", "probed-6")
        self.eventually(lambda: self.status(PORT + 2, to=NODE6) == 503, "the answer")
        self.assertEqual(self.status(PORT + 2), 0)
        self.lab.delete("services", "probed-6")
        self.eventually(lambda: self.status(PORT + 2, to=NODE6) == 0, "the port to be closed")

    def test_a_port_that_is_taken_does_not_keep_it_from_starting(self):
        self.lab.stop("sluiced", grace=10)
        free = []
        for port in (10256, 10249):
            said, release = self.hold(
                port, "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
            self.assertEqual(said, "held")
            free.append(release)
        self.lab.start_sluiced(*self.CONFIG)
        self.good(self.lab.http("outside", "192.0.2.10", NODE_PORT, count=5), 5)
        for reason in ("FailedToStartProxierHealthcheck", "FailedToStartMetricServer"):
            self.eventually(lambda r=reason: r in self.lab.log("sluiced"), reason + " in the log")
        for reason in ("FailedToStartProxierHealthcheck", "FailedToStartMetricServer"):
            self.eventually(lambda r=reason: self.events(r), "the event " + reason)
            self.assertEqual(self.events(reason)[0]["involvedObject"]["name"], "node-1")
        for release in free:
            release()
        self.eventually(lambda: self.status(10256, "/healthz") == 200, "port 10256")
        self.eventually(lambda: self.on_metrics_port("/healthz")[0] == 200, "port 10249")

    def test_terminating_endpoints_fail_the_probe_while_traffic_flows(self):
        self.set_endpoints("pod-1", terminating=True)
        self.eventually(lambda: self.status(PORT) == 503, "503")
        _, headers, text = self.probe(PORT)
        self.assertEqual(headers["X-Load-Balancing-Endpoint-Weight"], "0")
        self.assertEqual(json.loads(text)["localEndpoints"], 0)
        answer = self.lab.http("outside", "192.0.2.10", NODE_PORT, count=10)
        self.good(answer, 10)
        self.assertEqual(set(answer["backends"]), {"pod-1"})

    def test_policy_cluster_closes_the_port_at_once(self):
        for times in (1, 2):
            self.set_policy("Cluster")
            self.eventually(lambda: self.status(PORT) == 0, "the port to be closed")
            said, release = self.hold(
                PORT, "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
            self.assertEqual(said, "held")
            # Back again while somebody has the port: served as soon as it is free.
            self.set_policy("Local")
            self.eventually(lambda n=times: [
                e["count"] for e in self.events("FailedToStartServiceHealthcheck")] == [n],
                "the event, a second time by its count")
            release()
            self.eventually(lambda: self.status(PORT) == 200, "the port to be served again")
        self.assertIn("FailedToStartServiceHealthcheck", self.lab.log("sluiced"))
        event = self.events("FailedToStartServiceHealthcheck")[0]
        self.assertEqual((event["type"], event["involvedObject"]["name"], event["source"]["host"]),
                         ("Warning", "probed", "node-1"))
        self.assertTrue(event["involvedObject"]["uid"])
        self.assertIn("%s:%d: Address already in use" % (NODE, PORT), event["message"])

    def test_the_port_can_change(self):
        self.set_policy("Local", PORT + 1)
        self.eventually(lambda: self.status(PORT + 1) == 200, "the new port")
        self.assertEqual(self.status(PORT), 0)

    def test_a_port_can_move_to_another_service(self):
        def claim(service):
            service["metadata"] = {"name": "second", "namespace": "default"}
            service["spec"].update(clusterIP="10.96.0.91", clusterIPs=["10.96.0.91"],
                                   ports=[dict(service["spec"]["ports"][0], nodePort=NODE_PORT + 3)])
            return service
        status, found = self.lab.apiserver.get(self.lab.object_path("services", "probed"))
        self.assertEqual(status, 200)
        self.set_policy("Cluster")
        self.lab.create("services", claim(found))
        self.addCleanup(self.lab.delete, "services", "second")
        self.eventually(lambda: self.status(PORT) == 503, "the answer of the other service")
        self.assertEqual(self.body(PORT)["service"], {"namespace": "default", "name": "second"})

    def test_healthz_and_livez(self):
        status, headers, text = self.probe(10256, "/healthz")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertNotIn("X-Load-Balancing-Endpoint-Weight", headers)
        # The default, 0.0.0.0:10256, is both families'.
        self.assertEqual(self.status(10256, "/healthz", to=NODE6), 200)
        body = json.loads(text)
        self.assertEqual((body["healthy"], body["nodeEligible"]), (True, True))
        self.assertEqual(body["lastUpdated"], body["currentTime"])
        self.assertEqual({f: s["healthy"] for f, s in body["status"].items()},
                         {"IPv4": True, "IPv6": True})
        self.assertEqual(set(body["status"]["IPv4"]), {"lastUpdated", "healthy"})
        status, headers, text = self.probe(10256, "/livez")
        self.assertEqual((status, headers["X-Content-Type-Options"]), (200, "nosniff"))
        self.assertEqual(set(json.loads(text)), {"lastUpdated", "currentTime", "healthy", "status"})
        self.assertEqual(self.status(10256, "/"), 404)
        self.assertEqual(self.status(10256, "/healthz/more"), 404)

    def test_a_node_that_is_to_be_deleted(self):
        self.addCleanup(self.set_taints)
        self.set_taints("ToBeDeletedByClusterAutoscaler")
        self.eventually(lambda: self.status(10256, "/healthz") == 503, "503 of /healthz")
        body = json.loads(self.probe(10256, "/healthz")[2])
        self.assertEqual((body["healthy"], body["nodeEligible"]), (True, False))
        self.assertEqual(self.status(10256, "/livez"), 200)
        self.assertEqual(self.status(PORT), 200)
        self.set_taints("somebody.else/taint")
        self.eventually(lambda: self.status(10256, "/healthz") == 200, "200 of /healthz")

    def set_deletion(self, when):
        def change(node):
            node["metadata"].pop("deletionTimestamp", None)
            if when:
                node["metadata"]["deletionTimestamp"] = when
        self.lab.edit("nodes", "node-1", change)

    def test_a_node_that_is_deleted(self):
        self.addCleanup(self.set_deletion, None)
        self.set_deletion("2026-01-01T00:00:00Z")
        self.eventually(lambda: self.status(10256, "/healthz") == 503, "503 of /healthz")
        self.assertEqual((self.status(10256, "/livez"), self.status(PORT)), (200, 200))
        self.set_deletion(None)
        self.eventually(lambda: self.status(10256, "/healthz") == 200, "200 of /healthz")

    def test_a_node_that_is_not_known(self):
        status, node = self.lab.apiserver.get(self.lab.object_path("nodes", "node-1"))
        self.assertEqual(status, 200)
        for key in ("resourceVersion", "uid", "creationTimestamp"):
            node["metadata"].pop(key, None)
        self.lab.delete("nodes", "node-1")
        try:
            self.eventually(lambda: self.status(10256, "/healthz") == 503, "503 of /healthz")
            self.assertFalse(self.body(10256, "/healthz")["nodeEligible"])
            self.assertEqual((self.status(10256, "/livez"), self.status(PORT)), (200, 200))
        finally:
            self.lab.create("nodes", node)
        self.eventually(lambda: self.status(10256, "/healthz") == 200, "200 of /healthz")

    def test_the_api_server_away_is_no_fault_of_the_node(self):
        self.addCleanup(self.lab.faults.delete, "/_fault")
        self.lab.faults.post("/_fault", {"fault": "refuse", "running": True})
        self.eventually(lambda: any("BackOff" == s["phase"] for s in
                                    self.lab.sluiced.get("/api/v1/overview")[1]["kubernetes"]),
                        "the connections to be lost")
        self.assertEqual([self.status(10256, "/healthz"), self.status(10256, "/livez"),
                          self.status(PORT)], [200, 200, 200])
        self.assertGreater(self.metric('rest_client_requests_total{code="<error>",method="GET"}'), 0)

    def present(self):
        for condition in self.lab.sluiced.get("/api/v1/overview")[1]["conditions"]:
            if condition["type"] == "KubeProxyPresent":
                return condition["status"] == "True" and condition["message"]
        return self.fail("no such condition")

    def test_a_kube_proxy_beside_us_is_told(self):
        def nft(*words):
            done = self.lab.run("host", "nft", *words)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(self.present())
        nft("add", "table", "ip", "kube-proxy")
        nft("add", "chain", "ip", "kube-proxy", "services")
        nft("add", "table", "ip6", "nat")
        nft("add", "chain", "ip6", "nat", "KUBE-SERVICES")
        self.lab.ip("host", "link add kube-ipvs0 type veth peer name kube-peer")
        self.addCleanup(self.lab.run, "host", "nft", "flush", "ruleset")
        self.lab.start_sluiced(*self.CONFIG)
        self.eventually(self.present, "the condition")
        self.assertEqual(self.present(), "nftables' table kube-proxy, iptables' chain KUBE-SERVICES, "
                         "the interface kube-ipvs0")
        self.assertIn("event=kube_proxy_present", self.lab.log("sluiced"))
        self.assertIn("sluice_kube_proxy_present 1", self.metrics())
        self.eventually(lambda: self.events("KubeProxyPresent"), "the event")
        self.lab.ip("host", "link del kube-ipvs0")
        nft("flush", "ruleset")
        self.eventually(lambda: not self.present(), "the end of it to be seen", 30)
        # What the kubelet makes for itself is no kube-proxy.
        nft("add", "table", "ip", "mangle")
        nft("add", "chain", "ip", "mangle", "KUBE-KUBELET-CANARY")
        self.lab.start_sluiced(*self.CONFIG)
        self.assertFalse(self.present())

    def test_healthy_while_starting(self):
        """Nothing is programmed yet; a kubelet must not restart it for that."""
        self.addCleanup(self.eventually, lambda: self.status(PORT) == 200, "the service again")
        self.addCleanup(self.lab.faults.delete, "/_fault")
        self.lab.faults.post("/_fault", {"fault": "refuse", "running": True})
        self.lab.start_sluiced(*self.CONFIG, ready=False)
        self.eventually(lambda: self.status(10256, "/livez", by="host") == 200, "200 of /livez")
        self.assertEqual(self.status(10256, "/healthz", by="host"), 503)  # no Node object yet

    def test_an_uplink_that_is_down(self):
        self.addCleanup(self.eventually, lambda: self.status(10256, "/healthz") == 200, "200 again")
        self.addCleanup(self.lab.ip, "lan", "link set node-1 up")
        self.lab.ip("lan", "link set node-1 down")
        self.eventually(lambda: self.status(10256, "/healthz", by="host") == 503, "503 of /healthz")
        self.assertEqual(self.status(10256, "/livez", by="host"), 200)
        self.eventually(lambda: self.events("PortDown"), "the event")
        self.assertIn("up0", self.events("PortDown")[0]["message"])
        self.lab.ip("lan", "link set node-1 up")
        self.eventually(lambda: self.events("PortUp"), "the event that ends it")

    def on_metrics_port(self, path):
        return self.probe(10249, path, to="127.0.0.1", by="host")

    def metrics(self):
        return self.on_metrics_port("/metrics")[2]

    def test_the_metrics_port_of_kube_proxy(self):
        self.assertEqual(self.on_metrics_port("/healthz")[::2], [200, "ok"])
        status, headers, text = self.on_metrics_port("/proxyMode")
        self.assertEqual((status, text), (200, "sluice"))
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(self.on_metrics_port("/api/v1/config")[0], 404)
        self.assertEqual(self.status(10249, "/metrics"), 0)  # of the loopback address alone

    def test_metrics_under_the_names_of_kube_proxy(self):
        self.assertEqual(self.status(10256, "/healthz"), 200)
        self.assertEqual(self.status(10256, "/livez"), 200)
        self.set_endpoints()
        self.eventually(lambda: 'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv6"}'
                        in self.metrics(), "the time of the last sync")
        text = self.metrics()
        for name in ('sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.001"}',
                     'sync_proxy_rules_duration_seconds_bucket{ip_family="IPv6",le="16.384"}',
                     "sync_proxy_rules_service_changes_total",
                     "sync_proxy_rules_endpoint_changes_total",
                     'sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"}',
                     'sync_proxy_rules_no_local_endpoints_total{traffic_policy="external",'
                     'ip_family="IPv4"}',
                     'network_programming_duration_seconds_bucket{ip_family="IPv4",le="0.25"}',
                     'proxy_healthz_total{code="200"}', 'proxy_livez_total{code="200"}'):
            self.assertIn("kubeproxy_" + name + " ", text)
        for line in text.splitlines():
            if line.startswith(("kubeproxy_sync_proxy_rules_service_changes_total",
                                "kubeproxy_sync_proxy_rules_endpoint_changes_total")):
                self.assertGreater(int(line.split()[-1]), 0, line)


    def metric(self, name):
        """The value of a series that is there, else None."""
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return None

    def test_metrics_tell_what_happened(self):
        count = 'kubeproxy_%s_count{ip_family="IPv4"}'
        before = {name: self.metric(count % name) for name in (
            "sync_proxy_rules_duration_seconds", "network_programming_duration_seconds")}

        # An endpoint on another node alone: a Local policy has none to send to.
        def elsewhere(slice_):
            slice_["endpoints"] = self.endpoints("pod-1")
            slice_["endpoints"][0]["nodeName"] = "node-2"
            slice_["metadata"].setdefault("annotations", {})[
                "endpoints.kubernetes.io/last-change-trigger-time"] = datetime.datetime.now(
                    datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.lab.edit("endpointslices", "probed-ipv4", elsewhere)
        none = ('kubeproxy_sync_proxy_rules_no_local_endpoints_total'
                '{traffic_policy="external",ip_family="%s"}')
        self.eventually(lambda: self.metric(none % "IPv4") == 1, "the port without an endpoint")
        self.assertEqual(self.metric(none % "IPv6"), 0)
        for name, was in before.items():
            self.eventually(lambda n=name, w=was: self.metric(count % n) > w, "one more of " + name)
        self.set_endpoints("pod-1")
        self.eventually(lambda: self.metric(none % "IPv4") == 0, "the local endpoint")
        self.assertEqual(self.metric("kubeproxy_sync_proxy_rules_service_changes_pending"), 0)
        self.assertGreaterEqual(self.metric('rest_client_requests_total{code="200",method="GET"}'), 4)
        last, queued = (self.metric('kubeproxy_sync_proxy_rules_last%s_timestamp_seconds'
                                    '{ip_family="IPv4"}' % which) for which in ("", "_queued"))
        self.assertLess(abs(time.time() - last), 30)
        self.assertLess(abs(time.time() - queued), 30)

    def test_answers_are_counted(self):
        def counted(which, code):
            return self.metric('kubeproxy_proxy_%s_total{code="%d"}' % (which, code)) or 0
        self.addCleanup(self.eventually, lambda: self.status(10256, "/healthz") == 200, "200 again")
        self.addCleanup(self.set_taints)
        self.set_taints("ToBeDeletedByClusterAutoscaler")
        self.eventually(lambda: self.status(10256, "/healthz") == 503, "503 of /healthz")
        before = counted("healthz", 503), counted("livez", 200), counted("livez", 503)
        self.assertEqual((self.status(10256, "/healthz"), self.status(10256, "/livez")), (503, 200))
        self.assertEqual((counted("healthz", 503), counted("livez", 200), counted("livez", 503)),
                         (before[0] + 1, before[1] + 1, before[2]))


if __name__ == "__main__":
    main()
