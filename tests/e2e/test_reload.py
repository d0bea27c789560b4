#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""SIGHUP: a good file is applied while traffic runs, what needs a restart is named, and a bad file
changes nothing."""

import os
import signal

from e2e import WEB, LabCase, main
from labkit import LOCAL, NODE1

CLIENT = LOCAL["client-1"][:2]


class Reload(LabCase):
    PREFIX = "eo"

    def setUp(self):
        super().setUp()
        self.addCleanup(self.reload)

    def hang_up(self, text):
        """Gives it a file and the signal; returns what it logged until it was done with that."""
        with open(self.lab.path("sluice.yaml"), "w", encoding="utf-8") as f:
            f.write(text)
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            pid = int(f.read().split()[0])
        before = len(self.lab.log("sluiced"))
        os.kill(pid, signal.SIGHUP)
        self.eventually(lambda: "event=reload_" in self.lab.log("sluiced")[before:], "the reload")
        return self.lab.log("sluiced")[before:]

    def reload(self, *overrides):
        return self.hang_up(self.lab.config(overrides))

    def seen(self, addr):
        """The address that the pods see of client-1; nothing fails meanwhile."""
        result = self.lab.http("client-1", addr, 80, count=5)
        self.good(result, 5)
        return set(result["clients_seen"])

    def in_force(self, section, key):
        return self.lab.sluiced.get("/api/v1/config")[1]["effective"][section][key]

    def test_a_good_file_is_applied_under_load(self):
        loads = [self.lab.start_client("client-2", "http", addr, 80, seconds=6, clients=2,
                                       pause=0.01) for addr in WEB]
        for addr, client, node in zip(WEB, CLIENT, NODE1):
            self.assertEqual(self.seen(addr), {client})
            log = self.reload("snat.masquerade-all=true")
            self.assertIn("event=reloaded key=snat.masquerade-all from=false to=true", log)
            self.eventually(lambda a=addr, n=node: self.seen(a) == {n}, "masquerade-all")
            self.eventually(lambda: self.in_force("snat", "masquerade-all"), "the API to show it")
            self.reload()
            self.eventually(lambda a=addr, c=client: self.seen(a) == {c}, "the default again")
        for load in loads:
            self.good(self.lab.result(load))

    def test_what_needs_a_restart_is_named_and_the_rest_applied(self):
        log = self.reload("workers.count=2", "snat.masquerade-all=true")
        self.assertIn("event=needs_restart key=workers.count from=1 to=2", log)
        self.assertIn("event=reloaded key=snat.masquerade-all", log)
        self.eventually(lambda: self.seen(WEB[0]) == {NODE1[0]}, "masquerade-all")
        self.assertEqual(self.in_force("workers", "count"), 1)
        self.assertEqual(len(self.lab.items("/api/v1/workers")), 1)

    def test_a_bad_file_changes_nothing(self):
        before = self.lab.sluiced.get("/api/v1/config")[1]
        for text, says in (("snat:\n  masquerade-all: perhaps\n", ":2: snat.masquerade-all: "),
                           ("nodee: 1\n", ":1: nodee: "), ("node: [\n", "sluice.yaml:"),
                           ("", "sluice.yaml: document: sets nothing"),
                           ("{}", "sluice.yaml: document: sets nothing")):
            with self.subTest(text):
                log = self.hang_up(text)
                self.assertIn("event=reload_refused", log)
                self.assertIn(says, log)
                self.assertEqual(self.lab.sluiced.get("/api/v1/config")[1], before)
                self.assertEqual(self.seen(WEB[0]), {CLIENT[0]})

    def test_a_file_that_is_gone(self):
        os.unlink(self.lab.path("sluice.yaml"))
        before = len(self.lab.log("sluiced"))
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            os.kill(int(f.read().split()[0]), signal.SIGHUP)
        self.eventually(lambda: "event=reload_refused" in self.lab.log("sluiced")[before:],
                        "the refusal")
        self.assertEqual(self.seen(WEB[1]), {CLIENT[1]})

    def test_a_vport_comes_and_goes(self):
        """The list of vports is applied as differences: who stays is not touched."""
        load = self.lab.start_client("client-2", "http", WEB[0], 80, seconds=5, clients=2,
                                     pause=0.01)
        config = self.lab.config()
        without = config.replace(self.vport_text(config, "client-1"), "")
        self.assertNotEqual(config, without)
        self.hang_up(without)
        self.eventually(lambda: "client-1" not in self.vports(), "client-1 to be gone")
        self.hang_up(config)
        self.eventually(lambda: "client-1" in self.vports(), "client-1 to be back")
        self.eventually(lambda: self.lab.http("client-1", WEB[0], 80, count=1)["done"] == 1,
                        "client-1 to be served", 20)
        self.good(self.lab.result(load))

    def vports(self):
        return {v["metadata"]["name"] for v in self.lab.items("/api/v1/vports")}

    @staticmethod
    def vport_text(config, name):
        """The lines of one vport of the file."""
        start = config.index('- name: "%s"' % name)
        return config[start:config.index("\n- name:", start) + 1]


if __name__ == "__main__":
    main()
