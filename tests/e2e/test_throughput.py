#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""iperf3 through a ClusterIP: no second without progress, both directions, both families."""

import json

from e2e import LabCase, main

SECONDS = 10


class Throughput(LabCase):
    PREFIX = "et"

    @classmethod
    def start(cls):
        super().start()
        cls.lab.spawn("pod-1", "iperf3", ["iperf3", "--server"])
        cls.lab.wait("iperf3", lambda: "5201" in cls.lab.run(
            "pod-1", "cat", "/proc/net/tcp6", "/proc/net/tcp").stdout.replace(":1451 ", "5201"),
            10, "iperf3 to listen")

    def measure(self, addr, *options):
        run = self.lab.run("client-1", "iperf3", "--client", addr, "--time", str(SECONDS),
                           "--json", *options, timeout=SECONDS + 20)
        answer = json.loads(run.stdout)
        self.assertNotIn("error", answer, answer.get("error"))
        self.assertEqual(run.returncode, 0)
        # The last interval may be a few milliseconds long and empty.
        stalls = [i["sum"]["start"] for i in answer["intervals"]
                  if i["sum"]["bytes"] == 0 and i["sum"]["seconds"] > 0.5]
        self.assertEqual(stalls, [], "seconds without progress")
        rate = answer["end"]["sum_received"]["bits_per_second"]
        print("%s %s: %.0f Mbit/s, %d retransmits" % (
            addr, " ".join(options), rate / 1e6, answer["end"]["sum_sent"].get("retransmits", 0)))
        self.assertGreater(answer["end"]["sum_received"]["bytes"], 1 << 20)

    def test_ipv4(self):
        self.measure("10.96.0.16")

    def test_ipv4_reverse(self):
        self.measure("10.96.0.16", "-R")

    def test_ipv6(self):
        self.measure("fd00:10:96::16")

    def test_ipv6_reverse(self):
        self.measure("fd00:10:96::16", "-R")

    def test_many_streams(self):
        self.measure("10.96.0.16", "-P", "8", "--bidir")


if __name__ == "__main__":
    main()
