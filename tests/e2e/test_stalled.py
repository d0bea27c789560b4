#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Something stands still: the API server's watches, the control thread, a worker. What health and
metrics say of it, and that they say so no longer when it goes on.

A server that is silent is no reason to take this node out of load balancers: the last state goes on
forwarding. A change that is not programmed for a minute is, and so is a worker that does not turn."""

import ctypes
import json
import os
import sys

from e2e import PODS, WEB, LabCase, main
from labkit import LOCAL

HEALTH_PORT = 32110
POD3 = set(LOCAL["pod-3"][:2])
STATUS = """
import http.client, json, sys
said = []
for ask in sys.argv[1:]:
    port, path = ask.split("/", 1)
    c = http.client.HTTPConnection("192.0.2.10", int(port), timeout=3)
    try:
        c.request("GET", "/" + path)
        a = c.getresponse()
        said.append([a.status, a.read().decode()])
    except OSError as e:
        said.append([0, str(e)])
print(json.dumps(said))
"""
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


class Stopped:
    """One thread of a process stands still, the others go on; as a debugger does it."""

    def __init__(self, pid, thread):
        self.libc, self.tid = ctypes.CDLL(None, use_errno=True), None
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/comm" % (pid, task), encoding="utf-8") as f:
                if f.read().strip() == thread:
                    self.tid = int(task)
        self.libc.ptrace.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 3

    def request(self, what):
        if self.libc.ptrace(what, self.tid, None, None) < 0:
            raise OSError(ctypes.get_errno(), "ptrace %d" % what)

    def __enter__(self):
        self.request(PTRACE_SEIZE)
        self.request(PTRACE_INTERRUPT)
        os.waitpid(self.tid, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self.request(PTRACE_DETACH)


class Stalled(LabCase):
    PREFIX = "et"
    APISERVER = ("--bookmark-interval", "2")

    @classmethod
    def start(cls):
        # Probes stay in the node's namespace: they need no worker.
        cls.CONFIG = ("health.network-namespace=/run/netns/" + cls.lab.ns("host"),)
        cls.lab.create("services", {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "probed", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.91",
                     "clusterIPs": ["10.96.0.91"], "ipFamilies": ["IPv4"],
                     "externalTrafficPolicy": "Local", "healthCheckNodePort": HEALTH_PORT,
                     "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30091}]}})
        cls.lab.create("endpointslices", {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "probed-ipv4", "namespace": "default",
                         "labels": {"kubernetes.io/service-name": "probed"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [LOCAL["pod-1"][0]], "nodeName": "node-1",
                           "conditions": {"ready": True}}]})
        super().start()

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.lab.faults.delete("/_fault"))
        self.eventually(lambda: self.statuses() == (200, 200, 200), "a healthy node", 30)

    def pid(self):
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            return int(f.read().split()[0])

    def ask(self):
        """/healthz and /livez of port 10256, and the service's own port: (status, text) each."""
        out = self.lab.run("host", sys.executable, "-c", STATUS, "10256/healthz",
                           "10256/livez", "%d/" % HEALTH_PORT)
        self.assertEqual(out.returncode, 0, out.stderr)
        return json.loads(out.stdout)

    def statuses(self):
        return tuple(status for status, _ in self.ask())

    def check(self, name):
        """(status, detail) of a check of the overview."""
        checks = self.lab.sluiced.get("/api/v1/overview")[1]["checks"]
        return next((c["status"], c["detail"]) for c in checks if c["name"] == name)

    def metric(self, name):
        for line in self.lab.sluiced.get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return self.fail("no metric " + name)

    def test_a_server_that_sends_nothing(self):
        silence = 'sluice_k8s_silence_seconds{resource="endpoints"}'
        self.eventually(lambda: self.metric(silence) < 2.5, "bookmarks")
        self.lab.faults.post("/_fault", {"fault": "stall", "verb": "watch", "running": True,
                                         "count": -1})
        removed = self.lab.remove_endpoint("web", "pod-3")
        self.addCleanup(self.lab.restore_endpoint, removed)
        self.eventually(lambda: self.metric(silence) > 6, "the silence to be counted", 30)
        # What is not known cannot be overdue: the node stays in every load balancer.
        self.assertEqual(self.statuses(), (200, 200, 200))
        self.assertEqual(self.lab.sluiced.get("/readyz")[0], 200)
        self.assertEqual(self.metric("sluice_sync_pending"), 0)
        result = self.lab.http("client-1", WEB[0], 80, count=60)
        self.good(result, 60)
        self.assertEqual(set(result["backends"]), set(PODS))
        self.lab.faults.delete("/_fault")
        self.eventually(lambda: self.metric(silence) < 2.5, "bookmarks again")
        self.eventually(lambda: not self.lab.backends("web") & POD3, "what was missed", 30)

    def test_a_control_thread_that_stands_still(self):
        """The only thing that keeps a change from being programmed."""
        with Stopped(self.pid(), "sluiced"):
            removed = self.lab.remove_endpoint("web", "pod-3")
            self.addCleanup(self.lab.restore_endpoint, removed)
            self.eventually(lambda: self.lab.sluiced.get("/livez")[0] == 503, "503 of /livez", 20)
            self.assertEqual(self.check("control")[0], "Failed")
            # Not yet overdue: kube-proxy's rule is twice its sync period.
            self.assertEqual(self.statuses(), (200, 200, 200))
            self.good(self.lab.http("client-1", WEB[0], 80, count=20), 20)
            self.eventually(lambda: self.statuses() == (503, 503, 503), "overdue", 90)
            for _, text in self.ask()[:2]:
                body = json.loads(text)
                self.assertFalse(body["healthy"])
                self.assertEqual({f: s["healthy"] for f, s in body["status"].items()},
                                 {"IPv4": False, "IPv6": False})
                self.assertLess(body["lastUpdated"], body["currentTime"])
            self.assertFalse(json.loads(self.ask()[2][1])["serviceProxyHealthy"])
            self.good(self.lab.http("client-1", WEB[1], 80, count=20), 20)
        self.eventually(lambda: self.statuses() == (200, 200, 200), "health again", 20)
        self.eventually(lambda: not self.lab.backends("web") & POD3, "the change", 20)

    def test_a_worker_that_stands_still(self):
        with Stopped(self.pid(), "sluice-w0"):
            self.eventually(lambda: self.statuses() == (503, 503, 503), "503", 20)
            self.assertEqual(self.lab.sluiced.get("/livez")[0], 503)
            self.assertEqual(self.check("workers")[0], "Failed")
            self.assertIn("worker 0", self.check("workers")[1])
            self.assertGreater(self.metric('sluice_worker_heartbeat_age_seconds{worker="0"}'), 1.9)
        self.eventually(lambda: self.statuses() == (200, 200, 200), "health again", 20)
        self.good(self.lab.http("client-1", WEB[0], 80, count=20), 20)


if __name__ == "__main__":
    main()
