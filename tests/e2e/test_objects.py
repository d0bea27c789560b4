#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Bad objects are refused by name; everything else is applied."""

import copy
import json

from e2e import WEB, LabCase, main

SERVICE = {"apiVersion": "v1", "kind": "Service",
           "metadata": {"name": "x", "namespace": "default"},
           "spec": {"type": "ClusterIP", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"],
                    "ipFamilies": ["IPv4"],
                    "ports": [{"name": "http", "port": 80, "targetPort": 8080,
                               "protocol": "TCP"}]}}
SLICE = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
         "metadata": {"name": "x", "namespace": "default",
                      "labels": {"kubernetes.io/service-name": "x"}},
         "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
         "endpoints": [{"addresses": ["10.244.1.21"], "nodeName": "node-1",
                        "conditions": {"ready": True}}]}


def changed(base, name, **paths):
    """A copy with other values: a__b__0__c=value."""
    body = copy.deepcopy(base)
    body["metadata"]["name"] = name
    for path, value in paths.items():
        place, steps = body, [int(s) if s.isdigit() else s for s in path.split("__")]
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value
    return body


BAD_SERVICES = {
    "malformed-ip": changed(SERVICE, "malformed-ip", spec__clusterIP="10.96.1.999",
                            spec__clusterIPs=["10.96.1.999"]),
    "port-zero": changed(SERVICE, "port-zero", spec__ports__0__port=0),
    "port-70000": changed(SERVICE, "port-70000", spec__ports__0__port=70000),
    "duplicate-ports": changed(SERVICE, "duplicate-ports",
                               spec__ports=SERVICE["spec"]["ports"] +
                               [dict(SERVICE["spec"]["ports"][0], name="again")]),
    "wrong-types": changed(SERVICE, "wrong-types", spec__ports="eighty"),
    "wrong-port-type": changed(SERVICE, "wrong-port-type", spec__ports__0__port="80"),
    "five-megabytes": changed(SERVICE, "five-megabytes",
                              metadata__annotations={"big": "x" * (5 << 20)}),
}


class Objects(LabCase):
    PREFIX = "eo"

    def force(self, kind, body):
        """The stand-in takes what a real server would refuse."""
        target = self.lab.object_path(kind)
        status, answer = self.lab.apiserver.post(target, body)
        self.assertIn(status, (200, 201), answer)
        self.addCleanup(self.lab.delete, kind, body["metadata"]["name"])

    def refused(self):
        """{name: [(field, reason)]} of what sluiced refuses."""
        told = {}
        for item in self.lab.items("/api/v1/refusals"):
            told.setdefault(item["regarding"]["name"], []).append(
                (item["field"], item["reason"]))
        return told

    def test_bad_services_are_refused_by_name(self):
        for name, body in BAD_SERVICES.items():
            self.force("services", body)
        self.force("services", changed(SERVICE, "good-one", spec__clusterIP="10.96.1.2",
                                       spec__clusterIPs=["10.96.1.2"],
                                       spec__futureField={"deep": [1, {"x": None}]}))
        self.force("endpointslices", changed(
            SLICE, "good-one-a", metadata__labels={"kubernetes.io/service-name": "good-one"}))
        self.eventually(lambda: self.lab.backends("good-one"), "the good one to be applied")
        self.eventually(lambda: set(BAD_SERVICES) <= set(self.refused()),
                        "every bad one to be refused: %s" % self.refused())
        log = self.lab.log("sluiced")
        for name in BAD_SERVICES:
            with self.subTest(name):
                self.assertIn(name, log)
                for field, reason in self.refused()[name]:
                    self.assertTrue(reason)
                    print("%s: %s: %s" % (name, field, reason))
        status, metrics = self.lab.sluiced.get("/metrics")
        self.assertEqual(status, 200)
        self.assertRegex(metrics, r"(?m)^sluice_refused_objects(\{.*\})? [1-9]")
        result = self.lab.http("client-1", "10.96.1.2", 80, count=5)
        self.good(result, 5)
        for addr in WEB:
            self.good(self.lab.http("client-1", addr, 80, count=10), 10)

    def test_bad_endpoints_are_refused_one_by_one(self):
        bad = ["127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "10.244.1.300", ""]
        self.force("services", changed(SERVICE, "mixed", spec__clusterIP="10.96.1.3",
                                       spec__clusterIPs=["10.96.1.3"]))
        self.force("endpointslices", changed(
            SLICE, "mixed-a", metadata__labels={"kubernetes.io/service-name": "mixed"},
            endpoints=SLICE["endpoints"] + [
                {"addresses": [addr], "conditions": {"ready": True}} for addr in bad]))
        self.eventually(lambda: self.lab.backends("mixed") == {"10.244.1.21"},
                        "the good endpoint alone: %s" % self.lab.backends("mixed"))
        self.eventually(lambda: "mixed-a" in self.refused(), "the bad ones to be told")
        text = json.dumps(self.refused()["mixed-a"])
        self.assertIn("endpoints[1]", text)
        self.good(self.lab.http("client-1", "10.96.1.3", 80, count=20), 20)

    def test_refusal_ends_with_the_fault(self):
        self.force("services", changed(SERVICE, "healed", spec__clusterIP="10.96.1.4",
                                       spec__clusterIPs=["10.96.1.4"], spec__ports__0__port=0))
        self.eventually(lambda: "healed" in self.refused(), "the fault to be told")
        self.lab.edit("services", "healed",
                      lambda s: s["spec"]["ports"][0].update(port=80))
        self.eventually(lambda: "healed" not in self.refused(), "the fault to be forgotten")


if __name__ == "__main__":
    main()
