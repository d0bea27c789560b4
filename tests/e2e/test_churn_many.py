#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""200 services of 20 endpoints, both families, and 2,000 endpoint changes a second for 20 s, while
clients use services whose endpoints stay; and the same of 16 services of 250 endpoints.

No request of theirs fails; what is applied at the end is the API server's last list; memory returns;
no service is built more often than it changed. The numbers that depend on the machine
are printed, not judged."""

import ipaddress
import os
import subprocess
import threading
import time

from e2e import WEB, LabCase, main, report
from labkit import LOCAL, LabError, wait_for

RATE = 2000
WARM_UP = 4  # seconds of the same churn before memory is taken as its base line
# The smallest allocation, lost with each of the 80,000 changes of a family, would be more; what
# malloc keeps for itself does not grow with the number of changes.
GROWTH_KB = 4 << 10
PROBED = "node-port"  # no client uses it: its endpoint comes and goes to measure how late we are
GONE = set(LOCAL["pod-2"][:2])


class Lateness(threading.Thread):
    """Takes an endpoint away and puts it back by the server, again and again, and measures until
    sluiced shows it: it waits in the same watch behind all the other changes."""

    def __init__(self, lab):
        super().__init__()
        self.lab, self.seconds, self.error, self.end = lab, [], None, threading.Event()

    def chosen(self):
        status, answer = self.lab.sluiced.get("/api/v1/services/default/%s/backends" % PROBED)
        if status != 200:
            raise AssertionError("backends of %s: %s" % (PROBED, answer))
        return {b["address"] for b in answer["items"] if b.get("inClusterList")}

    def until(self, there):
        began = time.monotonic()
        while (GONE <= self.chosen()) != there:
            if time.monotonic() - began > 60:
                raise AssertionError("a change was not applied within 60 s")
            time.sleep(0.005)
        self.seconds.append(time.monotonic() - began)

    def run(self):
        try:
            while not self.end.wait(0.2):
                removed = self.lab.remove_endpoint(PROBED, "pod-2")
                self.until(False)
                self.lab.restore_endpoint(removed)
                self.until(True)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def finish(self):
        self.end.set()
        self.join()
        if self.error:
            raise self.error
        return sorted(self.seconds)


class ChurnMany(LabCase):
    PREFIX = "em"
    SERVICES, ENDPOINTS, SECONDS = 200, 20, 20

    @classmethod
    def setUpClass(cls):
        # Their ClusterIPs are behind those of the lab's own services.
        cls.APISERVER = ("--synthetic", "services=%d,endpoints=%d,dual=1,first=4096" % (
            cls.SERVICES, cls.ENDPOINTS))
        super().setUpClass()

    # --- what is measured ----------------------------------------------------------------------

    def metrics(self):
        values = {}
        for line in self.lab.sluiced.get("/metrics")[1].splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    def pid(self, program):
        with open(self.lab.path(program + ".pid"), encoding="utf-8") as f:
            return int(f.read().split()[0])

    def cpu(self, program):
        """Seconds by thread name."""
        used, tasks = {}, "/proc/%d/task" % self.pid(program)
        for task in os.listdir(tasks):
            with open("%s/%s/stat" % (tasks, task), encoding="utf-8") as f:
                name, fields = f.read().split("(", 1)[1].rsplit(")", 1)
            ticks = sum(map(int, fields.split()[11:13]))
            used[name] = used.get(name, 0) + ticks / os.sysconf("SC_CLK_TCK")
        return used

    def rss_kb(self):
        with open("/proc/%d/status" % self.pid("sluiced"), encoding="utf-8") as f:
            return int(next(line for line in f if line.startswith("VmRSS:")).split()[1])

    def churn(self, seconds, seed):
        status, churned = self.lab.faults.request(
            "POST", "/_churn", {"rate": RATE, "seconds": seconds, "seed": seed},
            timeout=seconds * 5 + 60)
        self.assertEqual((status, churned["changes"]), (200, RATE * seconds))
        return churned

    # --- what must be applied ------------------------------------------------------------------

    def wanted(self):
        """(service, address, port) of every endpoint that the server says is ready."""
        status, answer = self.lab.apiserver.get("/apis/discovery.k8s.io/v1/endpointslices")
        self.assertEqual(status, 200)
        return {("%s/%s" % (s["metadata"]["namespace"],
                            s["metadata"]["labels"]["kubernetes.io/service-name"]),
                 str(ipaddress.ip_address(a)), p["port"])
                for s in answer["items"] if s["metadata"]["namespace"] == "synthetic"
                for e in s["endpoints"] or [] if e["conditions"]["ready"]
                for a in e["addresses"] for p in s["ports"]}

    def applied(self):
        return {(b["service"], b["address"], b["port"])
                for b in self.lab.items("/api/v1/backends?limit=1000")
                if b["service"].startswith("synthetic/") and b.get("inClusterList")}

    def settled(self, version):
        """The server's version has come, and every service is programmed as it is now known."""
        sources = self.lab.sluiced.get("/api/v1/overview")[1]["kubernetes"]
        come = next(int(s["resourceVersion"]) for s in sources
                    if s["path"].endswith("/endpointslices"))
        services = [s["status"]["conditions"][0]
                    for s in self.lab.items("/api/v1/services?limit=1000")]
        return come >= version and self.metrics()["sluice_sync_pending"] == 0 and all(
            c["status"] == "True" and c["appliedVersion"] == c["desiredVersion"] for c in services)

    def agree(self, churned):
        """Waits until the last change is applied; returns how long that took."""
        began = time.monotonic()
        last = max(int(s["metadata"]["resourceVersion"]) for s in self.lab.apiserver.get(
            "/apis/discovery.k8s.io/v1/endpointslices")[1]["items"])
        self.eventually(lambda: self.settled(last), "the last change to be applied", 60)
        took = time.monotonic() - began
        wanted, applied = self.wanted(), self.applied()
        self.assertEqual((wanted - applied, applied - wanted), (set(), set()))
        self.assertEqual(len(wanted), 2 * churned["ready"])
        return took

    def clients(self):
        """Every kind of client, of services that nobody changes."""
        lab, calm = self.lab, {"seconds": self.SECONDS + 1, "clients": 2, "pause": 0.01}
        loads = [lab.start_client("client-1", "http", addr, 80, **calm) for addr in WEB]
        loads += [lab.start_client("client-2", "udp", addr, 9000, **calm)
                  for addr in ("10.96.0.13", "fd00:10:96::13")]
        held = [lab.start_client("client-2", "hold", addr, 9001, stdin=subprocess.PIPE)
                for addr in WEB]
        for client in held:
            self.assertTrue(client.stdout.readline().startswith("connected"))
        return loads, held

    def test_two_thousand_changes_a_second(self):
        self.agree(self.churn(WARM_UP, seed=1))
        rss, metrics, cpu = self.rss_kb(), self.metrics(), self.cpu("sluiced")
        loads, held = self.clients()
        lateness = Lateness(self.lab)
        lateness.start()
        churned = self.churn(self.SECONDS, seed=2)
        late = lateness.finish()
        for load in loads:
            self.good(self.lab.result(load))
        for client in held:
            client.stdin.write("end\n")
            result = self.lab.result(client)
            self.assertEqual(result["error"], "", result)
        tail = self.agree(churned)
        used = {name: seconds - cpu.get(name, 0) for name, seconds in self.cpu("sluiced").items()}
        self.memory_returned(rss, metrics)
        now = self.metrics()
        built = int(now["sluice_sync_events_total"] - metrics["sluice_sync_events_total"])
        # One change is one event in each family, which come together as a rule.
        self.assertLess(built, 2 * churned["changes"] + 1000)
        events = 'sluice_k8s_events_total{resource="endpoints"}'
        report("Churn: %d services x %d endpoints, both families" % (
            self.SERVICES, self.ENDPOINTS), {
            "changes a second": round(churned["changes"] / churned["seconds"]),
            "events a second": round((now[events] - metrics[events]) / churned["seconds"]),
            "services built": built,
            "late, median s": round(late[len(late) // 2], 3), "late, worst s": round(late[-1], 3),
            "behind at the end s": round(tail, 3),
            "RSS kB before, after": [rss, self.rss_kb()],
            "CPU % by thread": {name: round(100 * s / churned["seconds"], 1)
                                for name, s in used.items() if s > 0.05},
        })

    def memory_returned(self, rss, before):
        """Tables hold what the last list asks for, buffers are back, and RSS has not grown by
        what 40,000 changes would have left behind."""
        # One backend an endpoint in force; those that are neither ready nor serving have none.
        lab = [b for b in self.lab.items("/api/v1/backends?limit=1000")
               if not b["service"].startswith("synthetic/")]
        wanted = {name: before[name] for name in (
            "sluice_services", "sluice_services_programmed", "sluice_service_frontends",
            'sluice_mempool_objects{pool="packets",state="used"}')}
        wanted["sluice_backends"] = len(self.applied()) + len(lab)

        def differ():
            now = self.metrics()
            return {name: (now[name], value) for name, value in wanted.items()
                    if now[name] != value}
        try:
            wait_for(lambda: not differ(), 20, "tables and buffers to return")
        except LabError as error:
            self.fail("%s: %s" % (error, differ()))
        self.eventually(lambda: self.rss_kb() - rss < GROWTH_KB, "RSS to return: %d kB before, "
                        "%d kB after" % (rss, self.rss_kb()), 20)


class ChurnLarge(ChurnMany):
    """As many endpoints a service as Kubernetes is made for."""
    PREFIX = "el"
    SERVICES, ENDPOINTS, SECONDS = 16, 250, 10


if __name__ == "__main__":
    main()
