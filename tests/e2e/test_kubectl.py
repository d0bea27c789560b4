#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""sluiced behind a real kubectl proxy on a unix socket, in front of the stand-in."""

import os
import time

from e2e import PODS, WEB, LabCase, main
from labkit import LOCAL

KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "http://127.0.0.1:8001"}}]
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
users: [{name: lab, user: {}}]
current-context: lab
"""


class Kubectl(LabCase):
    PREFIX = "ek"
    APISERVER = ("--listen", "127.0.0.1:8001")

    @classmethod
    def start(cls):
        """The stand-in and the proxy share the lan namespace; sluiced sees the proxy's socket."""
        cls.kubeconfig = cls.lab.path("kubeconfig")
        with open(cls.kubeconfig, "w", encoding="utf-8") as f:
            f.write(KUBECONFIG)
        proxy = cls.lab.path("kubectl.sock")
        if os.path.exists(proxy):
            os.unlink(proxy)
        cls.lab.spawn("lan", "kubectl", ["kubectl", "--kubeconfig", cls.kubeconfig, "proxy",
                                         "--unix-socket", proxy])
        cls.lab.wait("kubectl", lambda: os.path.exists(proxy), 20, "kubectl proxy")
        cls.lab.start_sluiced("kubernetes.socket=" + proxy)

    def kubectl(self, *args, stdin=None):
        run = self.lab.run("lan", "kubectl", "--kubeconfig", self.kubeconfig, *args, stdin=stdin)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_kubectl_reads_the_stand_in(self):
        self.assertIn("node-port", self.kubectl("get", "services"))
        self.assertIn("web-ipv6", self.kubectl("get", "endpointslices"))
        self.assertIn("node-2", self.kubectl("get", "nodes"))

    def test_events_are_seen_with_what_they_are_about(self):
        def claim(name, vip):
            return {"apiVersion": "v1", "kind": "Service",
                    "metadata": {"name": name, "namespace": "default"},
                    "spec": {"clusterIP": vip, "clusterIPs": [vip], "ipFamilies": ["IPv4"],
                             "externalIPs": ["203.0.113.77"],
                             "ports": [{"name": "x", "port": 7, "protocol": "TCP"}]}}
        for name, vip in (("first", "10.96.0.71"), ("second", "10.96.0.72")):
            self.lab.create("services", claim(name, vip))
            self.addCleanup(self.lab.delete, "services", name)
        self.eventually(lambda: "FrontendConflict" in self.kubectl("describe", "service", "second"),
                        "the event to be described with its service")
        said = self.kubectl("describe", "service", "second")
        self.assertRegex(said, "Warning +FrontendConflict .* sluice +node node-1: 203.0.113.77 port "
                         "7/TCP is served by default/first")
        self.assertNotIn("FrontendConflict", self.kubectl("describe", "service", "first"))
        events = self.kubectl("get", "events", "-o", "custom-columns=R:.reason,K:.involvedObject.kind,"
                              "N:.involvedObject.name,H:.source.host", "--no-headers")
        self.assertIn("FrontendConflict Service second node-1".split(),
                      [line.split() for line in events.splitlines()])
        self.eventually(lambda: "Starting" in self.kubectl("describe", "node", "node-1"),
                        "the start to be described with the node")

    def test_services_work_through_the_proxy(self):
        for addr in WEB:
            result = self.lab.http("client-1", addr, 80, count=60, clients=4)
            self.good(result, 60)
            self.assertEqual(set(result["backends"]), set(PODS))

    def test_changes_and_a_proxy_that_restarts(self):
        pod3 = set(LOCAL["pod-3"][:2])
        removed = self.lab.remove_endpoint("web", "pod-3")
        self.eventually(lambda: not self.lab.backends("web") & pod3, "the removal, by kubectl")
        load = self.lab.start_client("client-1", "http", WEB[0], 80, seconds=5, clients=4)
        self.lab.stop("kubectl")
        time.sleep(1)
        self.start_proxy_again()
        self.lab.restore_endpoint(removed)
        self.eventually(lambda: pod3 <= self.lab.backends("web"), "the new proxy to be used", 60)
        self.good(self.lab.result(load))

    def start_proxy_again(self):
        proxy = self.lab.path("kubectl.sock")
        if os.path.exists(proxy):
            os.unlink(proxy)
        self.lab.spawn("lan", "kubectl", ["kubectl", "--kubeconfig", self.kubeconfig, "proxy",
                                          "--unix-socket", proxy])
        self.lab.wait("kubectl", lambda: os.path.exists(proxy), 20, "kubectl proxy")


if __name__ == "__main__":
    main()
