#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""An endpoint leaves and comes back under load."""

import subprocess
import time

from e2e import PODS, WEB, LabCase, main
from labkit import LOCAL

POD3 = set(LOCAL["pod-3"][:2])


class Churn(LabCase):
    PREFIX = "ec"

    def applied(self, gone):
        if gone:
            self.eventually(lambda: not self.lab.backends("web") & POD3, "pod-3 to be removed")
        else:
            self.eventually(lambda: POD3 <= self.lab.backends("web"), "pod-3 to be back")
        return time.time()

    def hold_pod3(self):
        """An open connection to pod-3, by trying."""
        for _ in range(40):
            client = self.lab.start_client("client-2", "hold", WEB[0], 9001,
                                           stdin=subprocess.PIPE)
            if client.stdout.readline().split()[-1:] == ["pod-3"]:
                return client
            client.stdin.write("end\n")
            self.lab.result(client)
        self.fail("40 connections and none to pod-3")

    def test_endpoint_leaves_and_returns_under_load(self):
        held = self.hold_pod3()
        loads = [self.lab.start_client("client-1", "http", addr, 80, seconds=20, clients=25,
                                       times=True) for addr in WEB]
        time.sleep(4)
        removed = self.lab.remove_endpoint("web", "pod-3")
        gone = self.applied(True)
        time.sleep(6)
        back = time.time()
        self.lab.restore_endpoint(removed)
        self.applied(False)
        for load in loads:
            result = self.lab.result(load)
            self.good(result)
            times = result["times"]["pod-3"]
            self.assertEqual([t for t in times if t[0] > gone and t[1] < back], [])
            self.assertTrue(any(t[1] < gone for t in times), "pod-3 had nothing before")
            self.assertTrue(any(t[0] > back for t in times), "pod-3 got nothing afterwards")
        held.stdin.write("end\n")
        result = self.lab.result(held)
        self.assertEqual((result["backend"], result["error"]), ("pod-3", ""))
        self.assertGreater(result["lines"], 100)
        self.assertLess(result["slowest"], 1.0)

    def test_udp_moves_at_once(self):
        """One socket a client: the flow is old, the backend is gone, the next datagram moves."""
        for service, addr in (("echo", "10.96.0.13"), ("echo", "fd00:10:96::13")):
            clients = [self.lab.start_client("client-1", "udp", addr, 9000, seconds=6, clients=12,
                                             who=True, pause=0.02, times=True)]
            time.sleep(2)
            removed = self.lab.remove_endpoint(service, "pod-3")
            self.eventually(lambda: not self.lab.backends("echo") & POD3, "pod-3 to be removed")
            gone = time.time()
            result = self.lab.result(clients[0])
            self.good(result)
            self.assertTrue(any(t[1] < gone for t in result["times"].get("pod-3", [])))
            self.assertEqual([t for t in result["times"]["pod-3"] if t[0] > gone], [])
            self.lab.restore_endpoint(removed)
            self.eventually(lambda: POD3 <= self.lab.backends("echo"), "pod-3 to be back")

    def test_every_endpoint_leaves_and_one_returns(self):
        removed = [self.lab.remove_endpoint("node-port", pod) for pod in PODS]
        self.eventually(lambda: not self.lab.backends("node-port"), "no endpoint to be left")
        for addr in ("10.96.0.20", "fd00:10:96::20"):
            result = self.lab.http("client-1", addr, 80, count=2)
            self.assertTrue(all("refused" in e for e in result["errors"]), result)
            self.assertEqual(result["failed"], 2)
        self.lab.restore_endpoint(removed[1])
        self.eventually(lambda: len(self.lab.backends("node-port")) == 2, "pod-2 to be back")
        for addr in ("10.96.0.20", "fd00:10:96::20"):
            result = self.lab.http("client-1", addr, 80, count=20)
            self.good(result, 20)
            self.assertEqual(set(result["backends"]), {"pod-2"})
        self.lab.restore_endpoint(removed[0])
        self.lab.restore_endpoint(removed[2])


if __name__ == "__main__":
    main()
