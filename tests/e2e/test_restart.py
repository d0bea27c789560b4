#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""sluiced restarted under load, politely and by force.

New connections work again within two seconds of the start, and a UDP socket stays with its backend:
tables are equal on every start. What became of open TCP connections is printed: nobody promises
them to live."""

import os
import signal
import subprocess
import time

from e2e import PODS, LabCase, main, report
from labkit import LOCAL, NODE1

WITHIN = 2.0  # seconds from the start of the new process, on a machine that has time for it
ATTEMPTS = 3  # one that is busy with something else delays any one of them
CLUSTER_IP = ("10.96.0.70", "fd00:10:96::70")
HTTP, LINES, ECHO = (80, 30970), (9001, 30971), (9000, 30972)  # port, NodePort
FAMILIES = ("IPv4", "IPv6")


def way(kind, family):
    """(client, address, index into a pair of ports) of a way to the service."""
    v6 = family == "IPv6"
    return ("client-1", CLUSTER_IP[v6], 0) if kind == "ClusterIP" else ("outside", NODE1[v6], 1)


WAYS = [(kind, family) for kind in ("ClusterIP", "NodePort") for family in FAMILIES]


def waiting():
    """How many times longer than its work anything takes now; 1 where a core is free."""
    began, worked = time.monotonic(), time.process_time()
    while time.process_time() - worked < 0.2:
        pass
    return max(1.0, (time.monotonic() - began) / 0.2)


class Restart(LabCase):
    PREFIX = "es"

    @classmethod
    def start(cls):
        ports = [("http", "TCP", HTTP, 8080), ("lines", "TCP", LINES, 9001),
                 ("echo", "UDP", ECHO, 9000)]
        cls.lab.create("services", {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "restarted", "namespace": "default"},
            "spec": {"type": "NodePort", "clusterIP": CLUSTER_IP[0],
                     "clusterIPs": list(CLUSTER_IP), "ipFamilies": list(FAMILIES),
                     "ports": [{"name": name, "protocol": proto, "port": port, "targetPort": to,
                                "nodePort": node_port}
                               for name, proto, (port, node_port), to in ports]}})
        for i, family in enumerate(FAMILIES):
            cls.lab.create("endpointslices", {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "restarted-" + family.lower(), "namespace": "default",
                             "labels": {"kubernetes.io/service-name": "restarted"}},
                "addressType": family,
                "ports": [{"name": name, "protocol": proto, "port": to}
                          for name, proto, _, to in ports],
                "endpoints": [{"addresses": [LOCAL[pod][i]], "nodeName": "node-1",
                               "conditions": {"ready": True, "serving": True,
                                              "terminating": False}} for pod in PODS]})
        super().start()

    # --- the load ------------------------------------------------------------------------------

    def load(self):
        """Clients of every kind, of both families, by the ClusterIP and by the NodePort."""
        clients, short = {}, {"pause": 0.02, "timeout": 0.2, "times": True, "seconds": 60}
        for kind, family in WAYS:
            node, addr, i = way(kind, family)
            clients["new TCP", kind, family] = self.lab.start_client(
                node, "http", addr, HTTP[i], **short)
            clients["new UDP", kind, family] = self.lab.start_client(
                node, "udp", addr, ECHO[i], who=True, new=True, **short)
            clients["live UDP", kind, family] = self.lab.start_client(
                node, "udp", addr, ECHO[i], who=True, **short)
            clients["live TCP", kind, family] = self.lab.start_client(
                node, "hold", addr, LINES[i], stdin=subprocess.PIPE, pause=0.02)
        for (what, kind, family), client in clients.items():
            if what == "live TCP":
                self.assertTrue(client.stdout.readline().startswith("connected"), (kind, family))
        return clients

    def answered(self):
        """Both families, both ways: all of it was seen to work once more."""
        for kind, family in WAYS:
            node, addr, i = way(kind, family)
            for start in (lambda **o: self.lab.http(node, addr, HTTP[i], **o),
                          lambda **o: self.lab.udp(node, addr, ECHO[i], who=True, **o)):
                self.eventually(lambda: start(count=1, timeout=0.5)["done"] == 1,
                                "%s %s" % (kind, family), 20)

    def end(self, clients):
        """Results by kind: (times of answers, failures) or what hold() says."""
        for (what, _, _), client in clients.items():
            if what == "live TCP":
                try:
                    client.stdin.write("end\n")
                    client.stdin.flush()
                except BrokenPipeError:
                    pass  # it has ended, and says why
            else:
                client.send_signal(signal.SIGINT)
        return {key: self.lab.result(client) for key, client in clients.items()}

    # --- the restart ---------------------------------------------------------------------------

    def pid(self):
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            return int(f.read().split()[0])

    def start_beside(self):
        """Starts a new one without looking whether the old one has gone."""
        self.lab.spawn("sluiced", "sluiced", [self.lab.binary("sluiced"), "--config",
                                              self.lab.path("sluice.yaml")])

    def by_term(self):
        self.lab.stop("sluiced", grace=10)
        began = time.time()
        self.start_beside()
        return began

    def by_kill(self):
        old = self.pid()
        os.kill(old, signal.SIGKILL)
        began = time.time()
        self.start_beside()
        os.waitpid(old, 0)
        return began

    def restart(self, how):
        """(results of the clients, when the old one was told to end, when the new one started, how
        busy the machine was)."""
        self.answered()
        clients = self.load()
        time.sleep(1)
        busy = waiting()
        told = time.time()
        began = how()
        self.lab.wait("sluiced", lambda: self.lab.sluiced.get("/readyz")[0] == 200, 30, "readyz")
        self.answered()
        time.sleep(2)  # a TCP that lost segments tries again after a while
        return self.end(clients), told, began, busy

    @staticmethod
    def after(result, told, began):
        """Seconds from the start to the first answer to a request that was made after the old
        one had been told to end."""
        answers = sorted(t[1] for times in result["times"].values() for t in times
                         if t[0] >= told and t[1] >= began)
        return answers[0] - began if answers else float("inf")

    @staticmethod
    def fate(what, result, told):
        """In a few words, what an open connection or a socket in use met."""
        if what == "live TCP":
            if result["error"]:
                return "lost: " + result["error"]
            return "goes on, %.2f s without an answer" % result["slowest"]
        answers = sorted((t[1], pod) for pod, times in result["times"].items() for t in times)
        gaps = [(later[0] - before[0], before[1], later[1])
                for before, later in zip(answers, answers[1:]) if later[0] > told]
        if not gaps:
            return "lost"
        silent, before, later = max(gaps)
        return "%s, %.2f s without an answer" % (
            "goes on" if before == later else "another backend", silent)

    def measure(self, name, how):
        for _ in range(ATTEMPTS):
            results, told, began, busy = self.restart(how)
            took, rows = {}, {}
            for key, result in results.items():
                label = "%-8s  %-9s %s" % key
                if key[0].startswith("new"):
                    took[key] = self.after(result, told, began)
                    rows[label] = "%.2f s after the start" % took[key]
                else:
                    rows[label] = self.fate(key[0], result, told)
                if key[0] == "live UDP":
                    self.assertTrue(rows[label].startswith("goes on"), rows)
            if max(took.values()) < WITHIN * busy:
                break
        report("Restart by %s" % name, dict(sorted(rows.items(), reverse=True)))
        self.assertLess(max(took.values()), WITHIN * busy, took)

    def test_terminated(self):
        self.measure("SIGTERM, then a start", self.by_term)

    def test_killed(self):
        self.measure("SIGKILL, and a start at once", self.by_kill)


if __name__ == "__main__":
    main()
