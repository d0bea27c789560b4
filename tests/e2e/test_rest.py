#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""REST and sluicectl against the running switch: real flows, real endpoints, vports made and
removed under load. Every answer is checked against the OpenAPI document."""

import json
import os
import subprocess
import sys

from e2e import WEB, LabCase, main

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../api"))

from client import Api, Watch  # noqa: E402


class Rest(LabCase):
    PREFIX = "er"

    def setUp(self):
        super().setUp()
        self.api = Api(self.lab.path("sluiced.sock"))

    def cli(self, *words, status=0):
        out = subprocess.run([self.lab.binary("sluicectl"), "--socket", self.api.path, *words],
                             capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(out.returncode, status, out.stderr)
        return out.stdout

    def test_every_path_answers_as_described(self):
        self.good(self.lab.http("client-1", WEB[0], 80, count=20, clients=2))
        self.good(self.lab.http("client-1", WEB[1], 80, count=20, clients=2))
        values = {"{namespace}": "default", "{name}": None, "{id}": None}
        names = {"services": "web", "vports": self.lab.items("/api/v1/vports")[0]["metadata"]["name"],
                 "ports": self.lab.items("/api/v1/ports")[0]["metadata"]["name"],
                 "pipelines": "pod", "workers": "0",
                 "flows": self.api.get("/api/v1/flows").json()["items"][0]["id"]}
        flow = self.api.get("/api/v1/flows").json()["items"][0]
        queries = {"/api/v1/routes/lookup": "?dst=" + WEB[0],
                   "/api/v1/flows/lookup": "?proto=%s&src=%s&srcPort=%d&dst=%s&dstPort=%d" % (
                       flow["protocol"], flow["original"]["src"], flow["original"]["srcPort"],
                       flow["original"]["dst"], flow["original"]["dstPort"])}
        for path, operations in self.api.description.document["paths"].items():
            if "get" not in operations:
                continue
            kind = path.split("/")[3] if path.startswith("/api/v1/") else ""
            values["{name}"] = values["{id}"] = names.get(kind, "")
            target = path
            for placeholder, value in values.items():
                target = target.replace(placeholder, value)
            answer = self.api.get(target + queries.get(path, ""))
            self.assertIn(answer.status, (200, 404) if "lookup" in path else (200,), target)

    def test_flows_of_real_traffic(self):
        for vip in WEB:
            self.good(self.lab.http("client-1", vip, 80, count=30, clients=3))
            flows = self.api.pages("/api/v1/flows", dst=vip, dstPort=80, proto="tcp")
            self.assertTrue(flows, "no flow of the requests is shown")
            for f in flows:
                self.assertEqual((f["service"]["namespace"], f["service"]["name"]),
                                 ("default", "web"))
                self.assertIn(f["nat"]["type"], ("Dnat", "Full"))
                self.assertIn(f["backend"]["address"], self.lab.backends("web"))
            self.assertEqual({f["id"] for f in flows},
                             {f["id"] for f in self.api.pages("/api/v1/flows", dst=vip,
                                                              service="default/web")})
        gone = self.api.request("DELETE", "/api/v1/flows?service=default/web").json()
        self.assertGreaterEqual(int(gone["deleted"]), 2)
        self.assertEqual(self.api.pages("/api/v1/flows", service="default/web"), [])
        self.good(self.lab.http("client-1", WEB[0], 80, count=30, clients=3), 30)

    def test_a_watch_tells_of_an_endpoint(self):
        w = Watch(self.api, "/api/v1/backends?watch=true&service=default/web")
        events, _ = w.until_bookmark()
        before = {e["object"]["address"] for e in events}
        self.assertEqual(len(before), 6)
        # Once for each port of the service.
        mine = [e["object"]["address"] for e in events if e["object"]["pod"] == "default/pod-2"]
        removed = self.lab.remove_endpoint("web", "pod-2")
        gone = [w.next() for _ in mine]
        self.assertEqual({e["type"] for e in gone}, {"DELETED"})
        self.assertEqual(sorted(e["object"]["address"] for e in gone), sorted(mine))
        self.lab.restore_endpoint(removed)
        back = [w.next() for _ in mine]
        self.assertEqual({e["type"] for e in back}, {"ADDED"})
        self.assertEqual(sorted(e["object"]["address"] for e in back), sorted(mine))
        w.close()
        self.eventually(lambda: len(self.lab.backends("web")) == 6, "the endpoint to be back")

    def test_vports_come_and_go_under_load(self):
        load = self.lab.start_client("client-1", "http", WEB[0], 80, seconds=6, clients=10)
        for i in range(20):
            name = "extra-%d" % i
            self.cli("create", "vport", name, "role=pod", "kind=null",
                     "address=10.244.1.%d" % (200 + i), "address=fd00:10:244:1::%x" % (200 + i))
            status, found = self.lab.sluiced.get("/api/v1/routes/lookup?dst=10.244.1.%d" % (200 + i))
            self.assertEqual((status, found["prefix"]), (200, "10.244.1.%d/32" % (200 + i)))
            self.assertEqual(self.cli("delete", "vport", name), "vports/%s deleted\n" % name)
        self.good(self.lab.result(load))

    def test_sluicectl(self):
        self.assertIn("Ready", self.cli("status", "--check"))
        web = [line.split() for line in self.cli("get", "services", "-n", "default").splitlines()
               if line.split()[1] == "web"][0]
        self.assertIn(WEB[0], web[3])
        self.assertIn("Applied", web)
        for kind in ("backends", "flows", "vports", "ports", "workers", "nodes", "routes",
                     "neighbors", "drops", "pipelines", "tables", "refusals", "config"):
            self.assertIn("kind", json.loads(self.cli("get", kind, "-o", "json")))
            self.cli("get", kind, "-o", "wide")
        self.assertIn("prefix", self.cli("lookup", "route", "10.244.1.1"))

    def test_metrics_follow_the_traffic(self):
        def metric(name):
            for line in self.api.get("/metrics").body.decode().splitlines():
                if line.startswith("sluice_" + name + " "):
                    return float(line.rsplit(" ", 1)[1])
            return None

        series = 'conntrack_created_total{family="IPv4"}'
        before = metric(series)
        self.good(self.lab.http("client-1", WEB[0], 80, count=50, clients=5), 50)
        self.assertGreaterEqual(metric(series) - before, 50)
        self.assertEqual(metric('ready{check="workers"}'), 1)
        self.assertGreater(metric('k8s_objects{resource="services"}'), 0)


if __name__ == "__main__":
    main()
