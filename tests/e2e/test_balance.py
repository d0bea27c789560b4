#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Who answers, and whom the answering pod sees: every way to a Service, both families."""

from e2e import PODS, WEB, LabCase, main

NODE, OUTSIDE = ("192.0.2.10", "2001:db8:1::10"), ("192.0.2.100", "2001:db8:1::100")
CLIENT = ("10.244.1.11", "fd00:10:244:1::11")


class Balance(LabCase):
    PREFIX = "eb"

    def reach(self, node, addr, port=80, count=30):
        result = self.lab.http(node, addr, port, count=count, clients=3)
        self.good(result, count)
        return set(result["backends"]), set(result["clients_seen"])

    def test_thousand_connections_spread(self):
        for addr in WEB:
            with self.subTest(addr):
                result = self.lab.http("client-1", addr, 80, count=1000, clients=10)
                self.good(result, 1000)
                for pod in PODS:
                    self.assertGreaterEqual(result["backends"].get(pod, 0), 250, result["backends"])
                    self.assertLessEqual(result["backends"][pod], 420, result["backends"])

    def test_pods_see_the_client(self):
        for addr, client in zip(WEB, CLIENT):
            self.assertEqual(self.reach("client-1", addr), (set(PODS), {client}))

    def test_host_is_a_client(self):
        for addr, node in zip(WEB, NODE):
            self.assertEqual(self.reach("host", addr), (set(PODS), {node}))

    def test_endpoints_on_both_nodes(self):
        for addr in ("10.96.0.11", "fd00:10:96::11"):
            self.assertEqual(self.reach("client-1", addr, count=80)[0], set(PODS) | {"pod-4"})

    def test_node_port(self):
        for i, node in enumerate(NODE):
            self.assertEqual(self.reach("outside", node, 30080), (set(PODS), {NODE[i]}))
            self.assertEqual(self.reach("outside", node, 30082), (set(PODS), {OUTSIDE[i]}))
            self.assertEqual(self.reach("client-1", node, 30080)[0], set(PODS))

    def test_vips_from_outside_and_inside(self):
        for vip in ("203.0.113.20", "203.0.113.10", "2001:db8:f::20", "2001:db8:f::10"):
            for node in ("outside", "client-1", "host"):
                with self.subTest(vip=vip, node=node):
                    self.assertEqual(self.reach(node, vip)[0], set(PODS))

    def test_hairpin(self):
        for addr in ("10.96.0.15", "fd00:10:96::15"):
            self.assertEqual(self.reach("pod-1", addr)[0], {"pod-1"})
        for addr in WEB:
            self.assertEqual(self.reach("pod-1", addr, count=60)[0], set(PODS))

    def test_affinity(self):
        for addr in ("10.96.0.23", "fd00:10:96::23"):
            for node in ("client-1", "client-2", "host"):
                self.assertEqual(len(self.reach(node, addr)[0]), 1)

    def test_udp_of_any_size(self):
        for addr in ("10.96.0.13", "fd00:10:96::13"):
            for size in (16, 1400, 1472, 1473, 2000, 8000):
                with self.subTest(addr=addr, size=size):
                    self.good(self.lab.udp("client-1", addr, 9000, count=20, size=size), 20)
        for node in NODE:
            self.good(self.lab.udp("outside", node, 30900, count=20, size=2000), 20)

    def test_large_bodies(self):
        for addr in WEB:
            host = "[%s]" % addr if ":" in addr else addr
            run = self.lab.run("client-1", "curl", "-sS", "--max-time", "20", "-o", "/dev/null",
                               "-w", "%{size_download}", "http://%s/bytes/20000000" % host)
            self.assertEqual((run.stdout, run.stderr), ("20000000", ""))

    def test_no_endpoint_refuses_at_once(self):
        for addr in ("10.96.0.14", "fd00:10:96::14"):
            result = self.lab.http("client-1", addr, 80, count=3)
            self.assertEqual(result["failed"], 3)
            self.assertTrue(all("refused" in e for e in result["errors"]), result["errors"])
            result = self.lab.udp("client-1", addr, 9000, count=1)
            self.assertTrue(all("refused" in e for e in result["errors"]), result["errors"])

    def test_egress_is_masqueraded(self):
        for i, addr in enumerate(OUTSIDE):
            result = self.lab.http("client-2", addr, 8080, count=10)
            self.good(result, 10)
            self.assertEqual(set(result["clients_seen"]), {NODE[i]})


if __name__ == "__main__":
    main()
