#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Where objects come from besides REST: manifests in a directory, and the generator.

usage: test_sources.py PROGRAM [unittest arguments]
"""
import json
import os
import time

import yaml

from case import NS_SERVICES, SERVICES, SLICES, Case, main, service
from standin import until


class Manifests(Case):
    manifests = True

    def write(self, name, text):
        # as editors and kubelet do: a new file takes the place of the old one
        path = os.path.join(self.s.manifests, name)
        with open(path + "~", "w") as f:
            f.write(text)
        os.rename(path + "~", path)

    def names(self):
        return [i["metadata"]["name"] for i in self.s.get(SERVICES).json()["items"]]

    def test_follows_changes(self):
        w = self.watch()
        self.write("a.yaml", yaml.safe_dump_all([service("a"), service("b")]))
        self.event(w, "ADDED", "a")
        added = self.event(w, "ADDED", "b")
        self.assertEqual(added["metadata"]["namespace"], "default")
        self.write("a.yaml", yaml.safe_dump_all([service("b", {"x": "1"}), service("c")]))
        self.event(w, "DELETED", "a")
        changed = self.event(w, "MODIFIED", "b")
        self.assertEqual(changed["metadata"]["uid"], added["metadata"]["uid"])
        self.event(w, "ADDED", "c")
        os.unlink(os.path.join(self.s.manifests, "a.yaml"))
        self.event(w, "DELETED", "b")
        self.event(w, "DELETED", "c")

    def test_kinds_of_files(self):
        everything = {"apiVersion": "v1", "kind": "List", "items": [
            service("a"), {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                           "metadata": {"name": "a-1", "namespace": "x"}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}]}
        self.write("all.json", json.dumps(everything))
        until(lambda: self.names() == ["a"], "objects of the list")
        self.assertEqual(self.s.get(SLICES).json()["items"][0]["metadata"]["namespace"], "x")
        self.assertIn("kind=Deployment", self.s.read_log())
        self.write("notes.txt", "kind: Service")
        with open(os.path.join(self.s.manifests, "in-place.yml"), "w") as f:
            f.write("# comment only\n---\n" + yaml.safe_dump(service("b")))
        until(lambda: self.names() == ["a", "b"], "a file written in place")

    def test_served_as_they_are(self):
        self.write("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
                   "spec: {clusterIP: 10.96.0.10, ports: &p [{port: 0x50, name: on}], more: *p,\n"
                   "  t: '80', f: 1.5, n: ~, b: yes, s: 1.2.3.4, v: 080x}\n")
        until(lambda: self.names() == ["a"], "the service")
        spec = self.s.get(SERVICES).json()["items"][0]["spec"]
        self.assertEqual(spec, {"clusterIP": "10.96.0.10", "ports": [{"port": 80, "name": True}],
                                "more": [{"port": 80, "name": True}], "t": "80", "f": 1.5,
                                "n": None, "b": True, "s": "1.2.3.4", "v": "080x"})

    def test_broken_file_keeps_the_last_good_state(self):
        good = yaml.safe_dump_all([service("a"), service("b")])
        self.write("a.yaml", good)
        until(lambda: self.names() == ["a", "b"], "the good file")
        for line, text in ((3, "kind: Service\nmetadata:\n\tname: x\n"),
                           (2, "kind: Service\nkind: Service\n"),
                           (1, "just: a map\n"),
                           (1, "{apiVersion: v1, kind: Service, metadata: {name: a/b}}"),
                           (2, "---\n" + yaml.safe_dump({"apiVersion": "v1", "kind": "Service"}))):
            self.write("a.yaml", text)
            until(lambda: "a.yaml error=\"line %d:" % line in self.s.read_log(), (line, text))
            self.assertEqual(self.s.stats()["brokenManifests"], 1)
            self.assertEqual(self.names(), ["a", "b"])
        self.write("b.yaml", yaml.safe_dump(service("a")))
        until(lambda: "is in a.yaml already" in self.s.read_log(), "the second owner")
        self.write("c.json", "{\n\n,}")
        until(lambda: "c.json error=\"line 3" in self.s.read_log(), "the JSON error")
        os.unlink(os.path.join(self.s.manifests, "b.yaml"))
        os.unlink(os.path.join(self.s.manifests, "c.json"))
        self.write("a.yaml", good)
        until(lambda: self.s.stats()["brokenManifests"] == 0, "the repaired file")

    def test_rest_and_manifests_together(self):
        self.write("a.yaml", yaml.safe_dump(service("a")))
        until(lambda: self.names() == ["a"], "the service")
        self.put(service("a", {"by": "rest"}))
        self.write("b.yaml", yaml.safe_dump(service("b")))
        self.write("a.yaml", "# equal\n" + yaml.safe_dump(service("a")))
        until(lambda: self.s.read_log().count("a.yaml objects=1") == 2, "the second reading")
        self.assertEqual(self.s.get(NS_SERVICES + "/a").json()["metadata"]["labels"], {"by": "rest"})
        self.write("a.yaml", yaml.safe_dump(service("a", {"by": "file"})))
        until(lambda: self.s.get(NS_SERVICES + "/a").json()["metadata"]["labels"] == {"by": "file"},
              "the manifest's change")


class Defaults(Case):
    manifests = True
    args = ["--manifest-defaults"]

    def test_defaults(self):
        with open(os.path.join(self.s.manifests, "a.yaml"), "w") as f:
            yaml.safe_dump(service("a", clusterIP="fd00::1"), f)
        until(lambda: self.s.get(SERVICES).json()["items"], "the service")
        spec = self.s.get(SERVICES).json()["items"][0]["spec"]
        self.assertEqual((spec["clusterIPs"], spec["ipFamilies"]), (["fd00::1"], ["IPv6"]))
        self.assertEqual(spec["ports"][0]["protocol"], "TCP")


class Synthetic(Case):
    args = ["--synthetic", "services=300,endpoints=130,dual=1,nodes=4"]

    def ready(self):
        found = {}
        for s in self.s.get(SLICES).json()["items"]:
            if s["addressType"] == "IPv4":
                key = "synthetic/" + s["metadata"]["labels"]["kubernetes.io/service-name"]
                found.setdefault(key, []).extend(e["addresses"][0] for e in s["endpoints"]
                                                 if e["conditions"]["ready"])
        return {k: sorted(v) for k, v in found.items()}

    def test_objects(self):
        services = self.s.get(SERVICES).json()["items"]
        slices = self.s.get(SLICES).json()["items"]
        self.assertEqual((len(services), len(slices)), (300, 1200))
        self.assertEqual({len(s["endpoints"]) for s in slices}, {100, 30})
        ips = {ip for s in services for ip in s["spec"]["clusterIPs"]}
        self.assertEqual(len(ips), 600)
        addresses = {e["addresses"][0] for s in slices for e in s["endpoints"]}
        self.assertEqual(len(addresses), 300 * 130 * 2)
        self.assertEqual(len(self.s.get("/api/v1/nodes").json()["items"]), 4)
        one = self.s.get(SERVICES, fieldSelector="spec.clusterIP=" + services[7]["spec"]["clusterIP"],
                         labelSelector="app=svc-000007")
        self.assertEqual(len(one.json()["items"]), 1)

    def churn(self, **order):
        a = self.s.request("POST", "/_churn", order)
        self.assertEqual(a.status, 200, a.body)
        return a.json()

    def test_churn(self):
        w = self.watch(SLICES, resourceVersion=self.rv())
        report = self.churn(rate=1000, seconds=0.3, seed=7, detail=True)
        self.assertEqual(report["changes"], 300)
        self.assertEqual(report["ready"] + report["notReady"] + report["absent"], 300 * 130)
        self.assertGreater(report["absent"] * report["notReady"], 0)
        self.assertEqual({k: sorted(v["ready"]) for k, v in report["services"].items()}, self.ready())
        for _ in range(600):
            last = self.event(w, "MODIFIED")
        self.assertEqual(last["metadata"]["resourceVersion"], report["resourceVersion"])

    def test_churn_is_determined_by_its_seed(self):
        self.churn(rate=2000, seconds=0.1, seed=3)
        first = self.ready()
        self.s.stop()
        self.setUp()
        self.churn(rate=700, seconds=0.2857, seed=3)
        self.assertEqual(self.ready(), first)
        self.assertEqual(self.s.request("POST", "/_churn", {"rate": 0}).status, 400)


class Speed(Case):
    """Not a benchmark: an order of magnitude below what tests of scale rely on fails here."""
    args = ["--synthetic", "services=10000,endpoints=4"]

    def test_lists_and_updates(self):
        start = time.monotonic()
        for target in (SERVICES, SLICES):
            self.assertEqual(self.s.get(target).body.count(b'"resourceVersion"'), 10001)
        self.assertLess(time.monotonic() - start, 5)
        watches = [self.watch(SLICES, resourceVersion=self.rv()) for _ in range(3)]
        target = "/apis/discovery.k8s.io/v1/namespaces/synthetic/endpointslices/svc-000001-v4-0"
        obj = self.s.get(target).json()
        del obj["metadata"]["resourceVersion"]
        start = time.monotonic()
        with self.s.connect() as c:
            for i in range(500):
                obj["endpoints"][0]["conditions"]["ready"] = bool(i & 1)
                self.assertEqual(c.request("PUT", target, obj).status, 200)
        self.assertLess(time.monotonic() - start, 2.5)
        for w in watches:
            for _ in range(500):
                self.event(w, "MODIFIED")


if __name__ == "__main__":
    main()
