#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""A flow table of 64: who is in stays in, who comes late is counted, room comes back."""

import subprocess

from e2e import LabCase, main

CAPACITY = 64


class FullTable(LabCase):
    PREFIX = "eu"
    CONFIG = ("flows.capacity-v4=%d" % CAPACITY, "flows.capacity-v6=%d" % CAPACITY,
              'flows.timeouts.tcp-closing=1', 'flows.timeouts.tcp-new=2')
    EXPECTED_DROPS = {"FlowTableFull"}

    def fill(self, addr):
        """Connections that stay open, until one is refused."""
        held = []
        for _ in range(CAPACITY + 1):
            client = self.lab.start_client("client-1", "hold", addr, 9001, stdin=subprocess.PIPE,
                                           pause=0.5)
            held.append(client)
        alive = [c for c in held if c.stdout.readline().startswith("connected")]
        dead = [c for c in held if c not in alive]
        return alive, dead

    def test_full_table(self):
        for addr in ("10.96.0.10", "fd00:10:96::10"):
            with self.subTest(addr):
                before = self.lab.drops().get("FlowTableFull", 0)
                alive, dead = self.fill(addr)
                self.assertGreater(len(alive), CAPACITY // 2)
                self.assertLessEqual(len(alive), CAPACITY)
                self.assertGreaterEqual(len(dead), 1)
                self.assertGreater(self.lab.drops().get("FlowTableFull", 0), before)
                # New ones are refused while those that are in go on.
                late = self.lab.http("client-2", addr, 80, count=2)
                self.assertEqual(late["failed"], 2, late)
                for client in alive:
                    client.stdin.write("end\n")
                for client in alive:
                    result = self.lab.result(client)
                    self.assertEqual(result["error"], "", result)
                    self.assertGreater(result["lines"], 2)
                for client in dead:
                    self.lab.result(client)
                self.eventually(lambda a=addr: self.lab.http(
                    "client-2", a, 80, count=1)["failed"] == 0, "room in the table", 20)
                self.good(self.lab.http("client-2", addr, 80, count=20), 20)


if __name__ == "__main__":
    main()
