# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What the stand-in's test files share: a fresh server for each test, and steps on Services."""
import sys
import unittest

from standin import Standin

SERVICES = "/api/v1/services"
NS_SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


def service(name, labels=None, **spec):
    spec.setdefault("ports", [{"port": 80}])
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def program():
    return sys.argv[1]


def main():
    """usage: TEST_FILE PROGRAM [unittest arguments]"""
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])


class Case(unittest.TestCase):
    args = []
    manifests = False

    def setUp(self):
        self.s = Standin(program(), *self.args, manifests=self.manifests)
        self.addCleanup(self.s.stop)
        self.watches = []
        self.addCleanup(lambda: [w.close() for w in self.watches])

    def watch(self, target=SERVICES, **query):
        w = self.s.watch(target, **query)
        self.watches.append(w)
        return w

    def make(self, name, labels=None, **spec):
        a = self.s.request("POST", NS_SERVICES, service(name, labels, **spec))
        self.assertEqual(a.status, 201, a.body)
        return a.json()

    def put(self, obj):
        name = obj["metadata"]["name"]
        a = self.s.request("PUT", "%s/%s" % (NS_SERVICES, name), obj)
        self.assertEqual(a.status, 200, a.body)
        return a.json()

    def delete(self, name):
        self.assertEqual(self.s.request("DELETE", "%s/%s" % (NS_SERVICES, name)).status, 200)

    def rv(self):
        return self.s.get(SERVICES).json()["metadata"]["resourceVersion"]

    def event(self, w, kind, name=None):
        e = w.next()
        self.assertIsNotNone(e, "the watch ended: %s" % w.ended)
        self.assertEqual(e["type"], kind, e)
        if name:
            self.assertEqual(e["object"]["metadata"]["name"], name)
        return e["object"]
