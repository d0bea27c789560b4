#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Two workers: the reply of most flows arrives on the other one."""

from e2e import PODS, WEB, LabCase, main


class Workers(LabCase):
    PREFIX = "ew"
    CONFIG = ("workers.count=2",)

    def test_both_workers_carry_both_directions(self):
        loads = [self.lab.start_client(node, "http", addr, 80, seconds=8, clients=10)
                 for node in ("client-1", "client-2") for addr in WEB]
        udp = [self.lab.start_client("client-1", "udp", addr, 9000, seconds=8, clients=3, size=2000)
               for addr in ("10.96.0.13", "fd00:10:96::13")]
        for load in loads:
            result = self.lab.result(load)
            self.good(result)
            self.assertEqual(set(result["backends"]), set(PODS))
        for load in udp:
            self.good(self.lab.result(load))
        received = [int(w["status"]["counters"]["received"])
                    for w in self.lab.items("/api/v1/workers")]
        self.assertEqual(len(received), 2)
        self.assertGreater(min(received), 1000, "a worker had nothing to do: %s" % received)

    def test_masqueraded_replies_on_the_other_worker(self):
        for addr in ("192.0.2.100", "2001:db8:1::100"):
            for node in ("client-1", "client-2", "pod-1", "pod-2"):
                result = self.lab.http(node, addr, 8080, count=200, clients=8)
                self.good(result, 200)


if __name__ == "__main__":
    main()
