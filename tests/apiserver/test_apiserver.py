#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Checks the API stand-in against the list/watch protocol.

usage: test_apiserver.py PROGRAM [unittest arguments]
"""
import json
import os
import socket
import ssl
import subprocess
import unittest

from case import NS_SERVICES, SERVICES, SLICES, Case, main, program, service
from standin import Standin, until, url


class Lists(Case):
    args = ["--rv-wait", "0.05"]

    def names(self, a):
        self.assertEqual(a.status, 200, a.body)
        return [i["metadata"]["name"] for i in a.json()["items"]]

    def test_items(self):
        for name in ("b", "a", "c"):
            self.make(name)
        body = self.s.get(SERVICES).json()
        self.assertEqual((body["kind"], body["apiVersion"]), ("ServiceList", "v1"))
        self.assertEqual([i["metadata"]["name"] for i in body["items"]], ["a", "b", "c"])
        self.assertFalse({"kind", "apiVersion"} & set(body["items"][0]))
        versions = [int(i["metadata"]["resourceVersion"]) for i in body["items"]]
        self.assertEqual(int(body["metadata"]["resourceVersion"]), max(versions))
        one = self.s.get(NS_SERVICES + "/a").json()
        self.assertEqual((one["kind"], one["apiVersion"]), ("Service", "v1"))
        self.assertEqual(self.s.get("/api/v1/namespaces/other/services").json()["items"], [])

    def test_pages_are_one_snapshot(self):
        for i in range(7):
            self.make("s%d" % i)
        first = self.s.get(SERVICES, limit=3).json()
        self.assertEqual(first["metadata"]["remainingItemCount"], 4)
        self.delete("s4")
        self.make("s9")
        self.put(service("s5", {"new": "yes"}))
        names, token = [i["metadata"]["name"] for i in first["items"]], first["metadata"]["continue"]
        while token:
            page = self.s.get(SERVICES, limit=3, **{"continue": token}).json()
            self.assertEqual(page["metadata"]["resourceVersion"],
                             first["metadata"]["resourceVersion"])
            names += [i["metadata"]["name"] for i in page["items"]]
            for i in page["items"]:
                self.assertNotIn("new", i["metadata"].get("labels", {}))
            token = page["metadata"].get("continue")
        self.assertEqual(names, ["s%d" % i for i in range(7)])

    def test_expired_token(self):
        for i in range(4):
            self.make("s%d" % i)
        token = self.s.get(SERVICES, limit=2).json()["metadata"]["continue"]
        self.make("s5")
        self.s.request("POST", "/_compact")
        a = self.s.get(SERVICES, limit=2, **{"continue": token})
        self.assertEqual((a.status, a.json()["reason"]), (410, "Expired"))
        fresh = a.json()["metadata"]["continue"]
        self.assertEqual(self.names(self.s.get(SERVICES, **{"continue": fresh})), ["s2", "s3", "s5"])

    def test_versions(self):
        self.make("a")
        old = self.rv()
        self.make("b")
        new = int(self.rv())
        self.assertEqual(self.names(self.s.get(SERVICES, resourceVersion=old)), ["a", "b"])
        self.assertEqual(self.names(self.s.get(SERVICES, resourceVersion="0", limit=1)), ["a", "b"])
        exact = {"resourceVersion": old, "resourceVersionMatch": "Exact"}
        self.assertEqual(self.names(self.s.get(SERVICES, **exact)), ["a"])
        self.assertEqual(self.names(self.s.get(SERVICES, resourceVersion=old, limit=5)), ["a"])
        a = self.s.get(SERVICES, resourceVersion=new + 100)
        self.assertEqual(a.status, 504)
        self.assertEqual(a.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge")
        self.s.request("POST", "/_compact")
        self.assertEqual(self.s.get(SERVICES, **exact).status, 410)

    def test_bad_parameters(self):
        for code, query in ((422, {"resourceVersionMatch": "Exact"}),
                            (422, {"resourceVersionMatch": "Exact", "resourceVersion": "0"}),
                            (422, {"sendInitialEvents": "true"}),
                            (400, {"resourceVersion": "1x"}),
                            (400, {"continue": "nonsense"}),
                            (400, {"fieldSelector": "spec.nonsense=1"}),
                            (400, {"labelSelector": "a in b"})):
            a = self.s.get(SERVICES, **query)
            self.assertEqual(a.status, code, (query, a.body))
            self.assertEqual(a.json()["kind"], "Status")

    def test_selectors(self):
        self.make("a", {"app": "web", "tier": "front"})
        self.make("b", {"app": "db"}, clusterIP="None")
        self.make("c", {}, type="NodePort")
        for selector, names in (("app", "ab"), ("!app", "c"), ("app=web", "a"), ("app==web", "a"),
                                ("app!=web", "bc"), ("app in (web, db)", "ab"),
                                ("app notin (web)", "bc"), ("app,tier!=front", "b"), ("", "abc")):
            self.assertEqual("".join(self.names(self.s.get(SERVICES, labelSelector=selector))),
                             names, selector)
        for selector, names in (("spec.clusterIP!=None", "ac"), ("metadata.name=b", "b"),
                                ("metadata.namespace!=default", ""), ("spec.type=NodePort", "c"),
                                ("spec.clusterIP=None,metadata.name==b", "b")):
            self.assertEqual("".join(self.names(self.s.get(SERVICES, fieldSelector=selector))),
                             names, selector)

    def test_pretty_for_people(self):
        self.make("a")
        self.assertNotIn(b"\n ", self.s.get(SERVICES).body)
        a = self.s.request("GET", SERVICES, headers={"User-Agent": "curl/8"})
        self.assertIn(b"\n ", a.body)
        self.assertEqual(self.names(a), ["a"])

    def test_paths(self):
        self.assertEqual(self.s.get("/api/v1/nothing").status, 404)
        self.assertEqual(self.s.get("/api/v1//services").status, 301)
        missing = self.s.get(NS_SERVICES + "/none")
        self.assertEqual((missing.status, missing.json()["reason"]), (404, "NotFound"))
        self.assertEqual(self.s.request("GET", SERVICES, headers={"Accept": "text/html"}).status, 406)
        self.assertEqual(self.s.get("/readyz").body, b"ok")
        self.assertEqual({g["name"] for g in self.s.get("/apis").json()["groups"]},
                         {"discovery.k8s.io", "networking.k8s.io"})


class Watches(Case):
    args = ["--bookmark-interval", "0.1", "--rv-wait", "0.05"]

    def test_life_of_an_object(self):
        w = self.watch(resourceVersion=self.rv())
        made = self.make("a")
        self.assertEqual(self.event(w, "ADDED", "a"), made)
        self.put(service("a", {"x": "1"}))
        self.assertEqual(self.event(w, "MODIFIED", "a")["metadata"]["labels"], {"x": "1"})
        before = int(self.rv())
        self.delete("a")
        gone = self.event(w, "DELETED", "a")
        self.assertEqual(gone["metadata"]["labels"], {"x": "1"})
        self.assertGreater(int(gone["metadata"]["resourceVersion"]), before)

    def test_history(self):
        start = self.rv()
        self.make("a")
        self.make("b")
        self.delete("a")
        w = self.watch(resourceVersion=start)
        for kind, name in (("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")):
            self.event(w, kind, name)

    def test_compacted(self):
        start = self.rv()
        self.make("a")
        self.s.request("POST", "/_compact?resource=services")
        w = self.watch(resourceVersion=start)
        self.assertEqual(w.begin(), 200)
        status = self.event(w, "ERROR")
        self.assertEqual((status["code"], status["reason"]), (410, "Expired"))
        self.assertIsNone(w.next())
        self.assertEqual(w.ended, "clean")

    def test_initial_state(self):
        self.make("a")
        for query in ({}, {"resourceVersion": "0"}):
            w = self.watch(**query)
            self.event(w, "ADDED", "a")
        self.make("b")
        self.event(w, "ADDED", "b")

    def test_selector_transitions(self):
        w = self.watch(resourceVersion=self.rv(), labelSelector="!skip", fieldSelector="spec.clusterIP!=None")
        self.make("a", {"n": "1"})
        self.event(w, "ADDED", "a")
        left = self.put(service("a", {"n": "2", "skip": "1"}))
        old = self.event(w, "DELETED", "a")
        self.assertEqual(old["metadata"]["labels"], {"n": "1"})
        self.assertEqual(old["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"])
        self.put(service("a", {"n": "3", "skip": "1"}))
        self.put(service("a", {"n": "4"}))
        self.assertEqual(self.event(w, "ADDED", "a")["metadata"]["labels"], {"n": "4"})

    def test_bookmarks(self):
        w = self.watch(resourceVersion=self.rv(), allowWatchBookmarks="true")
        mark = self.event(w, "BOOKMARK")
        self.assertEqual((mark["kind"], mark["spec"]), ("Service", {}))
        self.assertNotIn("name", mark["metadata"])
        self.s.request("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
        rv = self.rv()
        until(lambda: w.next()["object"]["metadata"]["resourceVersion"] == rv, "newer bookmark")

    def test_timeout(self):
        w = self.watch(resourceVersion=self.rv(), timeoutSeconds=1)
        self.assertIsNone(w.next())
        self.assertEqual(w.ended, "clean")

    def test_close_watches(self):
        w = self.watch(resourceVersion=self.rv())
        w.begin()
        self.s.request("POST", "/_closewatches")
        self.assertIsNone(w.next())
        self.assertEqual(w.ended, "clean")
        # the connection is still good for the next request
        self.assertEqual(w.conn.request("GET", SERVICES).status, 200)

    def watch_list(self, **query):
        return self.watch(sendInitialEvents="true", allowWatchBookmarks="true",
                          resourceVersionMatch="NotOlderThan", **query)

    def test_watch_list(self):
        self.make("a")
        self.make("b")
        w = self.watch_list()
        self.event(w, "ADDED", "a")
        self.event(w, "ADDED", "b")
        mark = self.event(w, "BOOKMARK")["metadata"]
        self.assertEqual(mark["annotations"], {"k8s.io/initial-events-end": "true"})
        self.assertEqual(mark["resourceVersion"], self.rv())
        self.delete("a")
        until(lambda: w.next()["type"] == "DELETED", "live events")
        self.assertEqual(self.watch_list(resourceVersion=10 ** 18).begin(), 504)
        self.assertEqual(self.watch(sendInitialEvents="true").begin(), 422)
        self.assertEqual(self.watch(resourceVersionMatch="NotOlderThan").begin(), 422)

    def test_future_version_waits(self):
        w = self.watch(resourceVersion=10 ** 18)
        self.assertEqual(w.begin(), 200)
        self.make("a")
        self.assertTrue(w.quiet())

    def test_one_object(self):
        self.make("a")
        self.make("b")
        w = self.watch(NS_SERVICES + "/b")
        self.event(w, "ADDED", "b")
        self.delete("a")
        self.delete("b")
        self.event(w, "DELETED", "b")


class Without(Case):
    args = ["--without", "endpointslices", "--without", "servicecidrs", "--no-watchlist"]

    def test_absent(self):
        self.assertEqual(self.s.get(SLICES).status, 404)
        self.assertEqual(self.s.get("/apis/discovery.k8s.io/v1").status, 404)
        names = {r["name"] for r in self.s.get("/apis/networking.k8s.io/v1").json()["resources"]}
        self.assertEqual(names, {"networkpolicies"})
        self.assertEqual(self.watch(sendInitialEvents="true", allowWatchBookmarks="true",
                                    resourceVersionMatch="NotOlderThan").begin(), 422)


class Writes(Case):
    def test_defaults(self):
        obj = self.make("a", type="NodePort", sessionAffinity="ClientIP",
                        ipFamilyPolicy="RequireDualStack")
        spec, port = obj["spec"], obj["spec"]["ports"][0]
        self.assertEqual((port["protocol"], port["targetPort"]), ("TCP", 80))
        self.assertTrue(30000 <= port["nodePort"] <= 32767)
        self.assertEqual(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800)
        self.assertEqual((spec["internalTrafficPolicy"], spec["externalTrafficPolicy"]), ("Cluster",) * 2)
        self.assertEqual(spec["ipFamilies"], ["IPv4", "IPv6"])
        self.assertEqual((len(spec["clusterIPs"]), spec["clusterIPs"][0]), (2, spec["clusterIP"]))
        self.assertTrue(obj["metadata"]["uid"] and obj["metadata"]["creationTimestamp"])
        again = self.put(service("a", type="NodePort"))
        self.assertEqual(again["spec"]["clusterIP"], spec["clusterIP"])
        self.assertEqual(again["spec"]["ports"][0]["nodePort"], port["nodePort"])
        self.assertEqual(again["metadata"]["uid"], obj["metadata"]["uid"])
        self.assertNotIn("nodePort", self.put(service("a"))["spec"]["ports"][0])
        self.assertEqual(self.make("b", clusterIP="10.96.0.9")["spec"]["clusterIPs"], ["10.96.0.9"])
        self.assertEqual(self.make("c", clusterIP="None")["spec"]["clusterIPs"], ["None"])

    def test_conflicts(self):
        obj = self.make("a")
        self.assertEqual(self.s.request("POST", NS_SERVICES, service("a")).json()["reason"], "AlreadyExists")
        self.put(service("a", {"x": "1"}))
        a = self.s.request("PUT", NS_SERVICES + "/a", obj)
        self.assertEqual((a.status, a.json()["reason"]), (409, "Conflict"))
        self.assertEqual(self.s.request("PUT", NS_SERVICES + "/b", service("b")).status, 404)
        self.assertEqual(self.s.request("PUT", NS_SERVICES + "/a", service("b")).status, 400)

    def test_no_change_no_event(self):
        obj = self.make("a")
        self.assertEqual(self.put(obj)["metadata"]["resourceVersion"], obj["metadata"]["resourceVersion"])

    def patch(self, kind, body, path=NS_SERVICES + "/a"):
        a = self.s.request("PATCH", path, body,
                           {"Content-Type": "application/%s+json" % kind})
        self.assertEqual(a.status, 200, a.body)
        return a.json()

    def test_merge_patch(self):
        self.make("a", {"x": "1", "y": "2"})
        obj = self.patch("merge-patch", {"metadata": {"labels": {"x": None, "z": "3"}},
                                         "spec": {"ports": [{"port": 81, "protocol": "UDP"}]}})
        self.assertEqual(obj["metadata"]["labels"], {"y": "2", "z": "3"})
        self.assertEqual([p["port"] for p in obj["spec"]["ports"]], [81])

    def test_strategic_patch(self):
        self.make("a", ports=[{"port": 80, "name": "http"}, {"port": 443, "name": "https"}])
        obj = self.patch("strategic-merge-patch", {"spec": {
            "$setElementOrder/ports": [{"port": 81}, {"port": 443}],
            "ports": [{"port": 443, "targetPort": 8443}, {"port": 81, "name": "alt"},
                      {"port": 80, "$patch": "delete"}]}})
        self.assertEqual([(p["port"], p["name"], p["targetPort"]) for p in obj["spec"]["ports"]],
                         [(81, "alt", 81), (443, "https", 8443)])

    def test_status(self):
        self.make("a", {"x": "1"})
        status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        obj = self.patch("merge-patch", {"status": status, "spec": {"type": "no"}},
                         NS_SERVICES + "/a/status")
        self.assertEqual(obj["status"]["loadBalancer"]["ingress"][0],
                         {"ip": "192.0.2.1", "ipMode": "VIP"})
        self.assertEqual(obj["spec"]["type"], "ClusterIP")
        self.assertEqual(self.put(service("a"))["status"], obj["status"])
        a = self.s.request("PUT", NS_SERVICES + "/a/status", dict(service("a"), status={}))
        self.assertEqual(a.json()["status"], {"loadBalancer": {}})

    def test_bad_objects_pass(self):
        bad = self.make("a", clusterIP="300.1.2.3", ports=[{"port": 70000, "protocol": 7}, "x"])
        self.assertEqual(bad["spec"]["clusterIP"], "300.1.2.3")
        self.assertEqual(bad["spec"]["ports"][0]["port"], 70000)
        self.make("b", ports="none", type=5)
        odd = {"metadata": {"name": "c", "labels": "none", "annotations": {"a": "}\"\\\u0000{"}},
               "endpoints": None, "ports": 3}
        a = self.s.request("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", odd)
        self.assertEqual(a.status, 201, a.body)
        item = self.s.get(SLICES).json()["items"][0]
        self.assertEqual((item["endpoints"], item["ports"]), (None, 3))
        self.assertEqual(item["metadata"]["annotations"], odd["metadata"]["annotations"])
        huge = self.make("d", {}, note="x" * 5000000)
        self.assertEqual(len(huge["spec"]["note"]), 5000000)

    def test_shape(self):
        for body in (b"{", b"[]", b'{"metadata":{}}', b'{"metadata":[]}', b'{"metadata":{"name":"a/b"}}',
                     b'{"kind":"Pod","metadata":{"name":"a"}}',
                     b'{"metadata":{"name":"a","namespace":"b"}}'):
            a = self.s.request("POST", NS_SERVICES, body)
            self.assertIn(a.status, (400, 422), body)
        self.assertEqual(self.s.request("PATCH", NS_SERVICES + "/a", b"{}").status, 404)
        protobuf = {"Content-Type": "application/vnd.kubernetes.protobuf"}
        self.assertEqual(self.s.request("POST", NS_SERVICES, b"k8s", protobuf).status, 415)
        self.make("a")
        self.assertEqual(self.s.request("PATCH", NS_SERVICES + "/a", b"{}").status, 415)

    def test_delete_collection(self):
        for name, labels in (("a", {}), ("b", {"x": "1"}), ("c", {"x": "2"})):
            self.make(name, labels)
        self.s.request("DELETE", url(NS_SERVICES, labelSelector="x"))
        self.assertEqual([i["metadata"]["name"] for i in self.s.get(SERVICES).json()["items"]], ["a"])

    def test_pipelined_and_chunked_requests(self):
        with self.s.connect() as c:
            c.send("GET", "/readyz")
            c.send("GET", SERVICES)
            self.assertEqual(c.answer().body, b"ok")
            self.assertEqual(c.answer().json()["items"], [])
            body = json.dumps(service("a")).encode()
            framed = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
            c.sock.sendall(b"POST %s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s"
                           % (NS_SERVICES.encode(), framed))
            self.assertEqual(c.answer().status, 201)


class Transport(unittest.TestCase):
    def test_tls_and_token(self):
        with_files = Standin(program())
        self.addCleanup(with_files.stop)
        cert, key, token = (os.path.join(with_files.dir, n) for n in ("cert", "key", "token"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                       check=True, stderr=subprocess.DEVNULL)
        with open(token, "w") as f:
            f.write("secret\n")
        s = Standin(program(), "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
                    "--token-file", token)
        self.addCleanup(s.stop)
        port = int(s.listeners[1].rsplit(":", 1)[1])
        context = ssl.create_default_context(cafile=cert)

        def ask(auth):
            with socket.create_connection(("127.0.0.1", port)) as raw:
                with context.wrap_socket(raw, server_hostname="localhost") as tls:
                    tls.sendall(("GET %s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n"
                                 % (SERVICES, auth)).encode())
                    data = b""
                    while chunk := tls.recv(65536):
                        data += chunk
            return int(data.split()[1])
        self.assertEqual(ask("X: y"), 401)
        self.assertEqual(ask("Authorization: Bearer wrong"), 401)
        self.assertEqual(ask("Authorization: Bearer secret"), 200)
        with open(token, "w") as f:
            f.write("rotated")
        self.assertEqual(ask("Authorization: Bearer secret"), 401)
        self.assertEqual(ask("Authorization: Bearer rotated"), 200)
        self.assertEqual(s.get(SERVICES).status, 200)

    def test_request_log(self):
        s = Standin(program())
        self.addCleanup(s.stop)
        s.get(SERVICES, labelSelector="!a")
        log = s.request("GET", "/_log").json()
        self.assertEqual([(e["method"], e["target"]) for e in log], [("GET", SERVICES + "?labelSelector=%21a")])
        self.assertEqual(log[0]["headers"]["Host"], "localhost")
        s.request("DELETE", "/_log")
        self.assertEqual(s.request("GET", "/_log").json(), [])

    def test_bad_command_lines(self):
        for args in ([], ["--nonsense"], ["--socket", "/nonexistent/dir/x"],
                     ["--socket", "x", "--without", "cars"], ["--socket", "x", "--tls-cert", "y"],
                     ["--socket", "x", "--synthetic", "services=0"],
                     ["--socket", "x", "--manifests", "/nonexistent"]):
            done = subprocess.run([program()] + args, capture_output=True, timeout=10)
            self.assertIn(done.returncode, (1, 2), args)
            self.assertTrue(done.stderr, args)


if __name__ == "__main__":
    main()
