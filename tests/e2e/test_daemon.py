#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The daemon itself: refuses bad configuration, waits for Kubernetes, restarts under load, stops."""

import grp
import os
import signal
import subprocess

from e2e import PODS, WEB, LabCase, main


class Daemon(LabCase):
    PREFIX = "ed"

    def check(self, text):
        path = self.lab.path("checked.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return subprocess.run([self.lab.binary("sluiced"), "--check-config", "--config", path],
                              capture_output=True, text=True, timeout=20, check=False)

    def test_check_config(self):
        run = self.check(self.lab.config())
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        for text, line, key in (("nodee: 1\n", 1, "nodee"),
                                ("workers:\n  count: many\n", 2, "workers.count"),
                                ("workers:\n  count: 0\n", 2, "workers.count"),
                                ("flows:\n  capacity-v4: 7\n", 2, "flows.capacity-v4"),
                                ("node: [\n", None, "")):
            with self.subTest(text):
                run = self.check(text)
                self.assertNotEqual(run.returncode, 0)
                if line:
                    self.assertIn("checked.yaml:%d: %s: " % (line, key), run.stderr)

    def test_the_group_of_the_socket(self):
        self.addCleanup(self.lab.start_sluiced)
        self.lab.start_sluiced("api.socket-group=daemon")
        self.assertEqual(os.stat(self.lab.path("sluiced.sock")).st_gid,
                         grp.getgrnam("daemon").gr_gid)
        self.lab.start_sluiced("api.socket-group=nobody-has-this", ready=False)
        self.eventually(lambda: not self.lab.running("sluiced"), "the refusal")
        self.assertIn("there is no group nobody-has-this for the api socket", self.lab.log("sluiced"))

    def test_events_can_be_off(self):
        self.addCleanup(self.lab.start_sluiced)
        self.lab.faults.delete("/_log")
        self.lab.start_sluiced("kubernetes.events=false")
        self.eventually(lambda: self.lab.items("/api/v1/events"), "the notice of the start")
        self.good(self.lab.http("client-1", WEB[0], 80, count=5), 5)
        self.assertEqual([r for r in self.lab.faults.get("/_log")[1] if r["method"] == "POST"], [])

    def test_a_bad_reload_is_refused_and_told(self):
        with open(self.lab.path("sluice.yaml"), encoding="utf-8") as f:
            good = f.read()
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            pid = int(f.read().split()[0])
        try:
            with open(self.lab.path("sluice.yaml"), "a", encoding="utf-8") as f:
                f.write("kube-proxy: {clusterCidr: 10.0.0.0/8}\n")
            os.kill(pid, signal.SIGHUP)
            self.eventually(lambda: [e for e in self.lab.items("/api/v1/events")
                                     if e["reason"] == "ConfigRejected"], "the notice")
            self.assertIn("clusterCidr: is no field", self.lab.items("/api/v1/events")[-1]["note"])
        finally:
            with open(self.lab.path("sluice.yaml"), "w", encoding="utf-8") as f:
                f.write(good)
        self.good(self.lab.http("client-1", WEB[0], 80, count=5), 5)

    def test_nothing_is_programmed_before_the_first_state(self):
        self.lab.stop("sluiced", grace=10)
        self.lab.stop("apiserver")
        self.addCleanup(lambda: self.lab.running("apiserver") or self.lab.start_apiserver())
        self.lab.start_sluiced(ready=False)
        self.lab.wait("sluiced", lambda: self.lab.sluiced.get("/livez")[0] == 200, 20, "livez")
        status, text = self.lab.sluiced.get("/readyz?verbose")
        self.assertNotEqual(status, 200, text)
        self.assertEqual(self.lab.http("client-1", WEB[0], 80, count=1)["failed"], 1)
        # Pod to pod needs no API server, only the ports, which are opened one after the other.
        self.eventually(lambda: " 0% packet loss" in self.lab.run(
            "client-1", "ping", "-c", "2", "-i", "0.1", "-W", "2", "10.244.1.21").stdout,
            "pod to pod")
        self.lab.start_apiserver()
        self.eventually(lambda: self.lab.sluiced.get("/readyz")[0] == 200, "readyz", 60)
        self.good(self.lab.http("client-1", WEB[0], 80, count=10), 10)

    def test_restart_keeps_connections(self):
        """The new process chooses the same backend: equal tables on every start."""
        held = [self.lab.start_client("client-1", "hold", addr, 9001, stdin=subprocess.PIPE)
                for addr in WEB for _ in range(4)]
        for client in held:
            self.assertTrue(client.stdout.readline().startswith("connected"))
        self.lab.start_sluiced()
        for client in held:
            client.stdin.write("end\n")
            result = self.lab.result(client)
            self.assertEqual(result["error"], "", result)

    def test_terminate_and_kill(self):
        self.lab.stop("sluiced", grace=10)
        self.assertFalse(os.path.exists(self.lab.path("sluiced.sock")), "socket left behind")
        self.lab.start_sluiced()
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            pid = int(f.read().split()[0])
        os.kill(pid, signal.SIGKILL)
        # Until its last thread has closed its sockets, as whoever restarts services waits too.
        os.waitpid(pid, 0)
        self.lab.start_sluiced()
        result = self.lab.http("client-1", WEB[0], 80, count=60, clients=4)
        self.good(result, 60)
        self.assertEqual(set(result["backends"]), set(PODS))

    def test_a_second_one_is_refused(self):
        """Both would forward every packet."""
        load = self.lab.start_client("client-1", "http", WEB[0], 80, seconds=12, pause=0.01)
        run = self.lab.run("sluiced", self.lab.binary("sluiced"), "--config",
                           self.lab.path("sluice.yaml"), timeout=60)
        self.assertEqual(run.returncode, 1)
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            pid = f.read().split()[0]
        self.assertIn('reason="another sluiced runs" pid=' + pid, run.stdout + run.stderr)
        self.good(self.lab.result(load))

    def test_ctl(self):
        for args in (["status"], ["get", "services"], ["get", "backends"], ["get", "flows"],
                     ["get", "ports"], ["get", "workers"], ["get", "routes"], ["get", "drops"],
                     ["get", "pipelines"], ["get", "services", "-o", "json"],
                     ["get", "services", "-o", "wide"]):
            with self.subTest(args):
                run = subprocess.run([self.lab.binary("sluicectl"), "--socket",
                                      self.lab.path("sluiced.sock"), *args],
                                     capture_output=True, text=True, timeout=20, check=False)
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertTrue((run.stdout + run.stderr).strip())


if __name__ == "__main__":
    main()
