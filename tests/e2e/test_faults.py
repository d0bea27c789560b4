#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""A Kubernetes API server that misbehaves: forwarding goes on, and the state converges after."""

import time

from e2e import WEB, LabCase, main
from labkit import LOCAL

POD3 = set(LOCAL["pod-3"][:2])

# What the stand-in is told while an endpoint leaves. CUT makes the client ask anew.
CUT = {"fault": "drop", "verb": "watch", "running": True, "count": 1}
FAULTS = {
    "drop": [{"fault": "drop", "verb": "watch", "running": True, "count": -1}],
    "truncate": [{"fault": "truncate", "verb": "watch", "running": True, "count": -1}],
    "gone on the watch": [{"fault": "gone", "verb": "watch", "running": True, "count": 3}],
    "gone on the list": [CUT, {"fault": "gone", "verb": "watch", "count": 2},
                         {"fault": "gone", "verb": "list", "count": 3}],
    "too many requests": [CUT, {"fault": "too-many-requests", "retryAfterSeconds": 1,
                                "verb": "watch", "count": -1},
                          {"fault": "too-many-requests", "retryAfterSeconds": 1, "verb": "list",
                           "count": -1}],
    "error text": [CUT, {"fault": "error-text", "verb": "watch", "count": -1},
                   {"fault": "error-text", "verb": "list", "count": -1}],
    "error event": [{"fault": "error-event", "verb": "watch", "running": True, "count": 3}],
    "malformed": [{"fault": "malformed", "verb": "watch", "running": True, "count": 3}],
    "slow bytes": [CUT, {"fault": "slow", "verb": "watch", "bytesPerSecond": 4000, "count": -1}],
    "split bytes": [CUT, {"fault": "split", "verb": "watch", "count": -1}],
    "unknown event": [{"fault": "unknown-event", "verb": "watch", "running": True, "count": 3}],
}


class Faults(LabCase):
    PREFIX = "ef"
    APISERVER = ("--bookmark-interval", "2")

    def setUp(self):
        super().setUp()
        # The client waits longer after every failure, up to a minute: each test meets one that
        # has not failed yet.
        self.start()
        self.addCleanup(self.clear)

    def fault(self, **body):
        status, answer = self.lab.faults.post("/_fault", body)
        self.assertEqual(status, 200, answer)

    def clear(self):
        self.assertEqual(self.lab.faults.delete("/_fault")[0], 200)

    def gone(self):
        return not self.lab.backends("web") & POD3

    def there(self):
        return POD3 <= self.lab.backends("web")

    def test_each_fault_leaves_forwarding_and_converges(self):
        for name, bodies in FAULTS.items():
            with self.subTest(name):
                self.start()
                loads = [self.lab.start_client("client-1", "http", addr, 80, seconds=4, clients=4)
                         for addr in WEB]
                for body in bodies:
                    self.fault(**body)
                removed = self.lab.remove_endpoint("web", "pod-3")
                time.sleep(2)
                self.clear()
                self.eventually(self.gone, "pod-3 to be removed after " + name, 40)
                self.lab.restore_endpoint(removed)
                self.eventually(self.there, "pod-3 to be back after " + name, 40)
                for load in loads:
                    self.good(self.lab.result(load))

    def test_silent_stall_is_noticed(self):
        """Nothing arrives and the connection stands: only silence tells."""
        self.fault(fault="stall", verb="watch", running=True, dead=True, count=-1)
        removed = self.lab.remove_endpoint("web", "pod-3")
        load = self.lab.start_client("client-1", "http", WEB[0], 80, seconds=5, clients=4)
        self.good(self.lab.result(load))
        self.clear()
        self.eventually(self.gone, "a watch that hangs to be given up", 120)
        self.lab.restore_endpoint(removed)
        self.eventually(self.there, "pod-3 to be back", 40)

    def test_history_compacted_while_away(self):
        """The change happens while no watch runs and its version is compacted away: 410."""
        self.fault(fault="refuse", seconds=3, running=True)
        removed = self.lab_change_while_refusing()
        self.assertEqual(self.lab.faults.post("/_compact", {})[0], 200)
        self.eventually(self.gone, "pod-3 to be removed after a new list", 40)
        self.lab.restore_endpoint(removed)
        self.eventually(self.there, "pod-3 to be back", 40)

    def lab_change_while_refusing(self):
        """The control socket serves the API too, and stays open."""
        sock = self.lab.path("apiserver.sock")
        self.lab.api_socket = self.lab.path("apiserver-control.sock")
        try:
            return self.lab.remove_endpoint("web", "pod-3")
        finally:
            self.lab.api_socket = sock

    def test_server_away_for_a_minute(self):
        loads = [self.lab.start_client("client-1", "http", WEB[0], 80, seconds=60, clients=5),
                 self.lab.start_client("client-2", "http", WEB[1], 80, seconds=60, clients=5)]
        udp = self.lab.start_client("client-2", "udp", "10.96.0.13", 9000, seconds=60, clients=2,
                                    pause=0.02)
        self.lab.stop("apiserver")
        for load in loads + [udp]:
            self.good(self.lab.result(load))
        self.assertEqual(self.lab.sluiced.get("/livez")[0], 200)
        self.lab.start_apiserver(*self.APISERVER)
        removed = self.lab.remove_endpoint("web", "pod-3")
        self.eventually(self.gone, "the new server's state to be followed", 120)
        self.lab.restore_endpoint(removed)
        self.eventually(self.there, "pod-3 to be back", 40)


if __name__ == "__main__":
    main()
