#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""ICMP errors about translated flows reach the right socket, and path MTUs are learned."""

import json
import re

from e2e import LabCase, main
from labkit import FAR, NODE1, NODE2, OUTSIDE, REMOTE_POD

# Sends one datagram that may not be fragmented; says what the socket then knows.
PROBE = """
import json, select, socket, sys
addr, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
six = ":" in addr
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
level, discover, mtu = (41, 23, 24) if six else (0, 10, 14)
s.setsockopt(level, discover, 2)
s.connect((addr, port))
s.settimeout(3)
told = {}
try:
    s.send(b"x" * size)
    told["answer"] = len(s.recv(65536))
except socket.timeout:
    told["error"] = "timeout"
except OSError as e:
    told["error"] = e.strerror
told["mtu"] = s.getsockopt(level, mtu)
print(json.dumps(told))
"""


def closed_service(number, family):
    """A Service whose pods do not listen on its port."""
    addr = {"IPv4": "10.96.0.%d", "IPv6": "fd00:10:96::%d"}[family] % number
    pod = {"IPv4": "10.244.1.22", "IPv6": "fd00:10:244:1::22"}[family]
    name = "closed-" + family.lower()
    ports = [{"name": "udp", "port": 9009, "protocol": "UDP"},
             {"name": "tcp", "port": 9009, "protocol": "TCP"}]
    service = {"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": name, "namespace": "default"},
               "spec": {"type": "NodePort", "clusterIP": addr, "clusterIPs": [addr],
                        "ipFamilies": [family], "ipFamilyPolicy": "SingleStack",
                        "ports": [dict(p, targetPort=9, nodePort=31000 + number) for p in ports]}}
    slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
              "metadata": {"name": name + "-a", "namespace": "default",
                           "labels": {"kubernetes.io/service-name": name}},
              "addressType": family, "ports": [dict(p, port=9) for p in ports],
              "endpoints": [{"addresses": [pod], "nodeName": "node-1",
                             "conditions": {"ready": True}}]}
    return addr, service, slice_


class Icmp(LabCase):
    PREFIX = "ei"

    def probe(self, node, addr, port, size):
        run = self.lab.run(node, "python3", "-c", PROBE, addr, str(port), str(size))
        self.assertEqual(run.stderr, "")
        return json.loads(run.stdout)

    def test_port_unreachable_of_a_backend_reaches_the_client(self):
        for number, family, node in ((90, "IPv4", NODE1[0]), (91, "IPv6", NODE1[1])):
            addr, service, slice_ = closed_service(number, family)
            self.lab.create("services", service)
            self.lab.create("endpointslices", slice_)
            self.eventually(lambda n=service["metadata"]["name"]: self.lab.backends(n),
                            "the service to be applied")
            with self.subTest(addr):
                told = self.probe("client-1", addr, 9009, 100)
                self.assertEqual(told.get("error"), "Connection refused")
            with self.subTest("node port %s" % node):
                # Twice translated: the error's inner packet as well.
                told = self.probe("outside", node, 31000 + number, 100)
                self.assertEqual(told.get("error"), "Connection refused")

    def test_path_mtu_behind_a_service(self):
        """pod-4's link is smaller: node-2 says so about the pod's address, the client sent to
        the Service's."""
        self.lab.ip("node-2", "link set pod-4 mtu 1300")
        self.lab.ip("pod-4", "link set eth0 mtu 1300")
        try:
            remote = {"apiVersion": "v1", "kind": "Service",
                      "metadata": {"name": "far-echo", "namespace": "default"},
                      "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.92",
                               "clusterIPs": ["10.96.0.92", "fd00:10:96::92"],
                               "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
                               "ports": [{"name": "echo", "port": 9000, "protocol": "UDP"}]}}
            self.lab.create("services", remote)
            for family, pod in zip(("IPv4", "IPv6"), REMOTE_POD):
                self.lab.create("endpointslices", {
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {"name": "far-echo-" + family.lower(), "namespace": "default",
                                 "labels": {"kubernetes.io/service-name": "far-echo"}},
                    "addressType": family,
                    "ports": [{"name": "echo", "port": 9000, "protocol": "UDP"}],
                    "endpoints": [{"addresses": [pod], "nodeName": "node-2",
                                   "conditions": {"ready": True}}]})
            self.eventually(lambda: len(self.lab.backends("far-echo")) == 2, "far-echo")
            for addr in ("10.96.0.92", "fd00:10:96::92"):
                with self.subTest(addr):
                    told = self.probe("client-1", addr, 9000, 1400)
                    self.assertEqual(told, {"error": "Message too long", "mtu": 1300})
                    told = self.probe("client-1", addr, 9000, 1200)
                    self.assertEqual(told.get("answer"), 1200)
        finally:
            self.lab.ip("node-2", "link set pod-4 mtu 1500")
            self.lab.ip("pod-4", "link set eth0 mtu 1500")

    def test_ping_everything(self):
        for node, addrs in (("client-1", REMOTE_POD + OUTSIDE + FAR + NODE1 + NODE2),
                            ("pod-4", ("10.244.1.11", "fd00:10:244:1::11")),
                            ("host", OUTSIDE + REMOTE_POD + ("10.244.1.21", "fd00:10:244:1::21")),
                            ("outside", NODE1)):
            for addr in addrs:
                with self.subTest(node=node, addr=addr):
                    run = self.lab.run(node, "ping", "-n", "-c", "3", "-i", "0.05", "-W", "2",
                                       "-s", "1000", addr)
                    self.assertIn(" 0% packet loss", run.stdout)
                    self.assertNotIn("DUP", run.stdout)

    def test_ping_larger_than_the_mtu(self):
        for addr in REMOTE_POD + OUTSIDE + ("10.244.1.21", "fd00:10:244:1::21"):
            run = self.lab.run("client-1", "ping", "-n", "-c", "3", "-i", "0.05", "-W", "2",
                               "-s", "5000", addr)
            self.assertIn(" 0% packet loss", run.stdout, addr)

    def test_traceroute_counts_sluice_as_a_hop(self):
        for addr, router in zip(REMOTE_POD, NODE2):
            for mode in ("-U", "-I", "-T"):
                with self.subTest(addr=addr, mode=mode):
                    run = self.lab.run("client-1", "traceroute", "-n", mode, "-q", "1", "-w", "2",
                                       "-m", "6", addr, *(["-p", "8080"] if mode == "-T" else []))
                    hops = re.findall(r"^\s*\d+\s+(\S+)", run.stdout, re.M)
                    self.assertEqual(hops[1:], [router, addr], run.stdout)
                    self.assertNotEqual(hops[0], "*")

    def test_traceroute_of_a_masqueraded_flow(self):
        for addr in FAR + OUTSIDE:
            run = self.lab.run("client-1", "traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", addr)
            hops = re.findall(r"^\s*\d+\s+(\S+)", run.stdout, re.M)
            self.assertEqual(len(hops), 2, run.stdout)
            self.assertEqual(hops[1], addr, run.stdout)


if __name__ == "__main__":
    main()
