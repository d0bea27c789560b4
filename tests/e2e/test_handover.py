#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""A node moves from kube-proxy to Sluice and back, by the steps of the README.

kube-proxy is played by what it leaves to be seen: its table of nftables in the node's namespace,
and a server on port 10256.
"""

import subprocess
import sys

from e2e import PODS, WEB, LabCase, main

NODE, NODE6 = "192.0.2.10", "2001:db8:1::10"
# As kubeadm writes it into the ConfigMap kube-proxy, with what its operator has set.
DOCUMENT = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16,fd00:10:244::/48
conntrack: {maxPerCore: null, min: null, tcpEstablishedTimeout: 2h0m0s}
healthzBindAddress: ""
iptables: {masqueradeAll: false, masqueradeBit: null, syncPeriod: 0s}
metricsBindAddress: ""
mode: nftables
nodePortAddresses: null
winkernel: {enableDSR: false, networkName: ""}
"""
PROXY = """
import http.server, socket
class Old(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"kube-proxy")
    def log_message(self, *args):
        pass
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6
s = Server(("::", 10256), Old)
print("ready", flush=True)
s.serve_forever()
"""
GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


class Handover(LabCase):
    PREFIX = "eo"

    @classmethod
    def start(cls):
        """Nothing yet: the node is kube-proxy's."""
        cls.document = cls.lab.path("kube-proxy.conf")
        with open(cls.document, "w", encoding="utf-8") as f:
            f.write(DOCUMENT)
        cls.config = ("kube-proxy=" + cls.document,
                      "health.network-namespace=/run/netns/" + cls.lab.ns("host"))

    def setUp(self):
        """Not that of LabCase, which wants sluiced to run."""

    @classmethod
    def tearDownClass(cls):
        cls.lab.down()

    def get(self, url, by="outside"):
        return self.lab.run(by, sys.executable, "-c", GET, url).stdout.strip()

    def start_kube_proxy(self):
        self.nft("add", "table", "ip", "kube-proxy")
        self.nft("add", "chain", "ip", "kube-proxy", "services")
        process = subprocess.Popen(self.lab.enter("host") + [sys.executable, "-c", PROXY],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline().strip(), "ready")
        return process

    def nft(self, *words):
        done = self.lab.run("host", "nft", *words)
        self.assertEqual(done.returncode, 0, done.stderr)

    def condition(self):
        return self.lab.sluiced.get("/api/v1/overview")[1]["conditions"][0]["status"]

    def reasons(self):
        events = self.lab.apiserver.get("/api/v1/namespaces/default/events")[1]["items"]
        return {e["reason"] for e in events}

    def test_over_and_back(self):
        old = self.start_kube_proxy()

        # The document is read before anything is touched.
        with open(self.lab.path("sluice.yaml"), "w", encoding="utf-8") as f:
            f.write(self.lab.config(self.config))
        checked = subprocess.run(
            [self.lab.binary("sluiced"), "--check-config", "--config", self.lab.path("sluice.yaml")],
            capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        self.assertIn("kube-proxy.clientConnection.kubeconfig: no meaning here", checked.stdout)

        # Started beside the old one it works, and says that it is not alone.
        self.lab.start_sluiced(*self.config)
        self.eventually(lambda: self.condition() == "True", "the condition")
        self.assertIn("FailedToStartProxierHealthcheck", self.lab.log("sluiced"))
        for addr in WEB:
            result = self.lab.http("client-1", addr, 80, count=20)
            self.good(result, 20)
            self.assertLessEqual(set(result["backends"]), set(PODS))
        effective = self.lab.sluiced.get("/api/v1/config")[1]["effective"]
        self.assertEqual(effective["services"]["detect-local-mode"], "ClusterCIDR")
        self.assertEqual(effective["flows"]["timeouts"]["tcp-established"], 7200)
        self.assertEqual(self.get("http://%s:10256/healthz" % NODE), "kube-proxy")

        # The old one goes, and takes its rules along: its port is answered from here.
        old.kill()
        old.wait()
        self.nft("delete", "table", "ip", "kube-proxy")
        for url in ("http://%s:10256/healthz" % NODE, "http://[%s]:10256/healthz" % NODE6):
            self.eventually(lambda u=url: '"nodeEligible":true' in
                            self.get(u).replace(" ", ""), "our answer on " + url)
        self.eventually(lambda: self.condition() == "False", "the condition to end", 30)
        self.assertEqual(self.get("http://127.0.0.1:10249/proxyMode", by="host"), "sluice")
        self.eventually(lambda: {"Starting", "KubeProxyPresent", "KubeProxyGone"} <= self.reasons(),
                        "the Events")

        # And back.
        self.accounts()
        self.ends_well()
        old = self.start_kube_proxy()
        self.assertEqual(self.get("http://%s:10256/healthz" % NODE, by="host"), "kube-proxy")


if __name__ == "__main__":
    main()
