#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The Kubernetes client alone (k8s-dump) against the stand-in and its faults.

Needs no root: nothing is forwarded here. Waits of the client are shortened (--fast); each test
says what the model must hold in the end, and that nothing was taken away in between.
usage: test_sync.py K8S-DUMP APISERVER [unittest arguments]
"""
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apiserver"))
from standin import Standin, until  # noqa: E402

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
NODES = "/api/v1/nodes"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
COUNT = 6
DUMP, APISERVER = sys.argv[1:3]


def service(i, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web-%d" % i},
            "spec": dict({"clusterIP": "10.96.0.%d" % (i + 1), "ports": [{"port": 80}]}, **spec)}


def slice_of(i, addresses, name=None):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name or "web-%d-a" % i,
                         "labels": {"kubernetes.io/service-name": "web-%d" % i}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 8080}],
            "endpoints": [{"addresses": [a]} for a in addresses]}


class Client:
    """A running k8s-dump."""

    def __init__(self, *args):
        self.process = subprocess.Popen([DUMP, "--node", "node-a", "--fast", *args],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.log = []
        self.answers = queue.Queue()
        self.threads = [threading.Thread(target=self.read_log, daemon=True),
                        threading.Thread(target=self.read_answers, daemon=True)]
        for t in self.threads:
            t.start()

    def read_log(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    def read_answers(self):
        for line in self.process.stdout:
            self.answers.put(json.loads(line))

    def dump(self):
        self.process.stdin.write("dump\n")
        self.process.stdin.flush()
        return self.answers.get(timeout=10)

    def stop(self):
        self.process.stdin.close()
        code = self.process.wait(10)
        for t in self.threads:
            t.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        if code != 0:
            raise RuntimeError("exit code %d\n%s" % (code, "\n".join(self.log[-20:])))


def endpoints(model, name):
    """Addresses in the cluster list of a service's first port, or None."""
    s = model["services"].get("default/" + name)
    if s is None:
        return None
    return {b["addr"] for b in s["ports"][0]["backends"] if b["inCluster"]}


class Case(unittest.TestCase):
    standin_args = ("--bookmark-interval", "1", "--listen", "127.0.0.1:0")

    def setUp(self):
        self.s = Standin(APISERVER, *self.standin_args)
        self.addCleanup(self.s.stop)
        for i in range(COUNT):
            self.post(SERVICES, service(i))
            self.post(SLICES, slice_of(i, ["10.0.%d.1" % i, "10.0.%d.2" % i]))
        self.post(NODES, {"metadata": {"name": "node-a"}, "spec": {"podCIDR": "10.0.0.0/24"}})
        self.post(CIDRS, {"metadata": {"name": "all"}, "spec": {"cidrs": ["10.96.0.0/16"]}})

    def post(self, path, body):
        a = self.s.request("POST", path, body)
        self.assertEqual(a.status, 201, a.body)

    def put(self, path, body):
        a = self.s.request("PUT", "%s/%s" % (path, body["metadata"]["name"]), body)
        self.assertEqual(a.status, 200, a.body)

    def client(self, *args):
        c = Client(*(args or ("--socket", self.s.socket)))
        self.addCleanup(c.stop)
        return c

    def synced(self, client):
        def check():
            m = client.dump()
            return {"services", "endpoints", "node"} <= set(m["complete"]) and m
        return until(check, "the first sync")

    def whole(self, client):
        """Synced, with everything of setUp in place."""
        m = self.synced(client)
        self.assertEqual(len(m["services"]), COUNT)
        for i in range(COUNT):
            self.assertEqual(endpoints(m, "web-%d" % i), {"10.0.%d.1" % i, "10.0.%d.2" % i})
        return m


class Faults(Case):
    FAULTS = {
        "drop": [dict(fault="drop", verb="watch", running=True, count=-1)],
        "stall": [dict(fault="stall", verb="watch", running=True, count=4)],
        "truncate": [dict(fault="truncate", verb="watch", running=True, count=-1)],
        "gone event": [dict(fault="gone", verb="watch", running=True, count=4)],
        "gone as status": [dict(fault="gone", verb="watch", asHTTP=True, count=4),
                           dict(fault="drop", verb="watch", running=True, count=4)],
        "gone on the list too": [dict(fault="gone", verb="list", count=4),
                                 dict(fault="gone", verb="watch", running=True, count=4)],
        "too many requests": [dict(fault="too-many-requests", retryAfterSeconds=1, count=4),
                              dict(fault="drop", verb="watch", running=True, count=4)],
        "error text": [dict(fault="error-text", count=12),
                       dict(fault="drop", verb="watch", running=True, count=4)],
        "error event": [dict(fault="error-event", verb="watch", running=True, count=4)],
        "malformed": [dict(fault="malformed", verb="watch", running=True, count=4)],
        "unknown event": [dict(fault="unknown-event", verb="watch", running=True, count=4)],
        "slow bytes": [dict(fault="slow", bytesPerSecond=8000, running=True, count=-1)],
        "split bytes": [dict(fault="split", running=True, count=-1)],
        "unframed": [dict(fault="unframed", verb="watch", running=True, count=4),
                     dict(fault="drop", verb="watch", running=True, count=4)],
        "closed": [dict(fault="close", verb="watch", running=True, count=8)],
        "no bookmarks": [dict(fault="no-bookmark", verb="watch", running=True, count=-1),
                         dict(fault="drop", verb="watch", running=True, count=4)],
        "warning": [dict(fault="warning", count=-1),
                    dict(fault="drop", verb="watch", running=True, count=4)],
        "refused": [dict(fault="refuse", seconds=0.3),
                    dict(fault="drop", running=True, count=-1)],
        "refused, socket gone": [dict(fault="refuse", seconds=0.3, unlink=True),
                                 dict(fault="drop", running=True, count=-1)],
    }
    standin_args = ("--bookmark-interval", "1", "--control", "@/control.sock")

    def control(self, method, body=None):
        path = os.path.join(self.s.dir, "control.sock")
        a = self.s.request(method, "/_fault", body, path=path)
        self.assertEqual(a.status, 200, a.body)

    def order(self, body):
        """Of reads only, so that the tests' own changes go through."""
        if "verb" in body or body["fault"] == "refuse":
            self.control("POST", body)
            return
        for verb in ("list", "watch"):
            self.control("POST", dict(body, verb=verb))

    def test_each_fault_converges_and_takes_nothing_away(self):
        c = self.client()
        self.whole(c)
        path = os.path.join(self.s.dir, "control.sock")
        for turn, (name, bodies) in enumerate(self.FAULTS.items()):
            with self.subTest(name):
                for body in bodies:
                    self.order(body)
                address = "10.1.%d.1" % turn
                a = self.s.request("PUT", SLICES + "/web-0-a", slice_of(0, [address]), path=path)
                self.assertEqual(a.status, 200, a.body)
                time.sleep(0.3)
                m = c.dump()
                self.assertEqual(len(m["services"]), COUNT)
                self.control("DELETE")
                until(lambda: endpoints(c.dump(), "web-0") == {address}, "the change after " + name)
        m = c.dump()
        self.assertEqual(m["counts"]["servicesMin"], COUNT)
        self.assertEqual(m["counts"]["serviceRemoves"], 0)
        warnings = [line for line in c.log if "api_warning" in line]
        self.assertTrue(warnings)
        self.assertEqual(len(warnings), len(set(warnings)))

    def test_changes_while_away(self):
        c = self.client()
        self.whole(c)
        path = os.path.join(self.s.dir, "control.sock")
        self.order(dict(fault="stall", verb="watch", running=True, count=-1))
        for method, target, body in (
                ("DELETE", SERVICES + "/web-1", None),
                ("POST", SERVICES, service(COUNT)),
                ("PUT", SLICES + "/web-2-a", slice_of(2, [])),
                ("POST", SLICES, slice_of(3, ["10.3.3.3"], name="web-3-b")),
                ("DELETE", SLICES + "/web-4-a", None)):
            self.assertIn(self.s.request(method, target, body, path=path).status, (200, 201))
        self.control("POST", dict(fault="gone", verb="watch", running=True, count=4))
        self.control("DELETE")

        def check():
            m = c.dump()
            return (endpoints(m, "web-1") is None and endpoints(m, "web-%d" % COUNT) == set() and
                    endpoints(m, "web-2") == set() and endpoints(m, "web-4") == set() and
                    endpoints(m, "web-3") == {"10.0.3.1", "10.0.3.2", "10.3.3.3"})
        until(check, "what changed meanwhile")
        self.assertGreaterEqual(c.dump()["counts"]["servicesMin"], COUNT - 1)

    def test_first_sync_through_faults(self):
        for name in ("gone on the list too", "too many requests", "error text", "split bytes"):
            with self.subTest(name):
                for body in self.FAULTS[name]:
                    self.order(dict(body, running=False))
                c = self.client()
                self.whole(c)
                self.control("DELETE")


class Objects(Case):
    def test_bad_objects_are_refused_by_name(self):
        c = self.client()
        self.whole(c)
        bad = {"spec.clusterIPs[0]": service(20, clusterIP="10.96.0.400"),
               "spec.ports[0].port": service(21, ports=[{"port": 70000}]),
               "spec.ports[1].port": service(22, ports=[{"name": "a", "port": 80},
                                                        {"name": "b", "port": 80}]),
               "spec.type": service(23, type="Telepathy")}
        for body in bad.values():
            self.s.request("POST", SERVICES, body)
        large = service(24)
        large["metadata"]["annotations"] = {"x": "y" * (5 << 20)}
        self.s.request("POST", SERVICES, large)
        self.s.request("POST", SLICES, slice_of(
            5, ["127.0.0.1", "169.254.0.1", "224.0.0.1", "0.0.0.0", "10.5.5.5"], name="web-5-b"))
        self.post(SERVICES, service(30, futureField={"deep": [1, 2, {"x": None}]}))
        until(lambda: endpoints(c.dump(), "web-30") == set(), "the sound object behind them")
        m = c.dump()
        stored = {i["metadata"]["name"] for i in self.s.get("/api/v1/services").json()["items"]}
        for field, body in bad.items():
            if body["metadata"]["name"] in stored:
                self.assertIn(field, m["faults"]["Service default/" + body["metadata"]["name"]])
        if "web-24" in stored:
            self.assertIn("", m["faults"]["Service default/web-24"])
            self.assertNotIn("default/web-24", m["services"])
        self.assertEqual(len(m["faults"]["EndpointSlice default/web-5-b"]), 4)
        self.assertEqual(endpoints(m, "web-5"), {"10.0.5.1", "10.0.5.2", "10.5.5.5"})


class Sources(Case):
    def test_endpoints_where_slices_are_missing(self):
        s = Standin(APISERVER, "--without", "endpointslices", "--without", "servicecidrs")
        self.addCleanup(s.stop)
        s.request("POST", SERVICES, service(0))
        s.request("POST", "/api/v1/namespaces/default/endpoints", {
            "metadata": {"name": "web-0"},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 8080}]}]})
        m = self.synced(self.client("--socket", s.socket))
        self.assertEqual(endpoints(m, "web-0"), {"10.0.0.1"})
        self.assertEqual(m["sources"]["endpoints"]["path"], "/api/v1/endpoints")

    def test_tcp(self):
        self.whole(self.client("--url", "http://" + self.s.listeners[1] + "/"))

    def test_without_watch_lists(self):
        s = Standin(APISERVER, "--no-watchlist")
        self.addCleanup(s.stop)
        for i in range(COUNT):
            s.request("POST", SERVICES, service(i))
        m = self.synced(self.client("--socket", s.socket))
        self.assertEqual(len(m["services"]), COUNT)

    @unittest.skipUnless(shutil.which("openssl"), "makes its certificates with openssl")
    def test_tls_and_token(self):
        cert, key = (os.path.join(self.s.dir, n) for n in ("cert.pem", "key.pem"))
        token = os.path.join(self.s.dir, "token")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days",
                        "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        with open(token, "w") as f:
            f.write("first\n")
        s = Standin(APISERVER, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
                    "--token-file", token)
        self.addCleanup(s.stop)
        s.request("POST", SERVICES, service(0))
        address = next(a for a in s.listeners if a.startswith("127."))
        url = "https://" + address
        wrong = os.path.join(self.s.dir, "wrong")
        with open(wrong, "w") as f:
            f.write("stale\n")
        c = self.client("--url", url, "--ca", cert, "--token", wrong)
        until(lambda: any("api_not_allowed" in line for line in c.log), "the refusal")
        self.assertEqual(c.dump()["complete"].count("services"), 0)
        # A rotated token is read without a restart.
        with open(wrong + ".new", "w") as f:
            f.write("first\n")
        os.rename(wrong + ".new", wrong)
        self.assertIn("default/web-0", self.synced(c)["services"])
        # An unknown authority is not believed.
        other = self.client("--url", url, "--token", token)
        until(lambda: any("api_retry" in line for line in other.log), "the failed handshake")
        self.assertEqual(other.dump()["complete"], [])

    @unittest.skipUnless(shutil.which("kubectl"), "needs Debian's kubernetes-client")
    def test_behind_kubectl_proxy(self):
        config = os.path.join(self.s.dir, "kubeconfig")
        sock = os.path.join(self.s.dir, "proxy.sock")
        with open(config, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "s",
                       "clusters": [{"name": "s",
                                     "cluster": {"server": "http://" + self.s.listeners[1]}}],
                       "contexts": [{"name": "s", "context": {"cluster": "s", "user": "s"}}],
                       "users": [{"name": "s", "user": {}}]}, f)
        command = ["kubectl", "--kubeconfig", config, "proxy", "--unix-socket", sock]
        proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        c = self.client("--socket", sock)
        try:
            self.whole(c)
            self.put(SLICES, slice_of(0, ["10.7.7.7"]))
            until(lambda: endpoints(c.dump(), "web-0") == {"10.7.7.7"}, "a change by the proxy")
            proxy.kill()
            proxy.wait(10)
            self.put(SLICES, slice_of(0, ["10.8.8.8"]))
            until(lambda: c.dump()["sources"]["services"]["phase"] == "BackOff", "the loss")
            self.assertEqual(len(c.dump()["services"]), COUNT)
            proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            until(lambda: endpoints(c.dump(), "web-0") == {"10.8.8.8"}, "the return")
        finally:
            proxy.kill()
            proxy.wait(10)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
