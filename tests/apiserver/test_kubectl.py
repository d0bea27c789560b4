#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The real kubectl against the stand-in: get, create, apply, replace, delete, watch, proxy.

Fails when there is no kubectl; KUBECTL names another one than that of the path.
usage: test_kubectl.py PROGRAM [unittest arguments]
"""
import json
import os
import shutil
import subprocess

import yaml

from case import NS_SERVICES, SERVICES, Case, main, service
from standin import Watch, until, url

SLICE = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
         "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
         "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
         "ports": [{"port": 8080}]}


class Kubectl(Case):
    args = ["--listen", "127.0.0.1:0"]

    def setUp(self):
        super().setUp()
        self.program = os.environ.get("KUBECTL") or shutil.which("kubectl")
        self.assertTrue(self.program, "kubectl is not installed (Debian: kubernetes-client)")
        self.config = self.s.dir + "/kubeconfig"
        with open(self.config, "w") as f:
            yaml.safe_dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "s",
                "clusters": [{"name": "s", "cluster": {"server": "http://" + self.s.listeners[1]}}],
                "contexts": [{"name": "s", "context": {"cluster": "s", "user": "s"}}],
                "users": [{"name": "s", "user": {}}]}, f)

    def command(self, *args):
        return [self.program, "--kubeconfig", self.config, "--cache-dir", self.s.dir + "/cache",
                *args]

    def kubectl(self, *args, give=None):
        done = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=30,
                              input=json.dumps(give) if give else None)
        self.assertEqual(done.returncode, 0, (args, done.stdout, done.stderr))
        return done.stdout

    def test_read(self):
        self.make("web")
        self.s.request("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", SLICE)
        self.s.request("POST", "/api/v1/nodes", {"metadata": {"name": "node-a"}})
        self.assertRegex(self.kubectl("get", "services", "-A"), r"default +web ")
        self.assertIn("node-a", self.kubectl("get", "nodes"))
        items = yaml.safe_load(self.kubectl("get", "endpointslices", "-o", "yaml"))["items"]
        self.assertEqual(items[0]["endpoints"], SLICE["endpoints"])
        self.assertEqual(items[0]["kind"], "EndpointSlice")
        self.assertEqual(self.kubectl("get", "svc", "-l", "!x", "-o", "name").split(), ["service/web"])
        self.assertEqual(self.kubectl("get", "svc", "--chunk-size=1", "-o", "name").split(),
                         ["service/web"])
        self.assertIn("v1.33", self.kubectl("version"))
        self.assertEqual(self.kubectl("get", "--raw", "/readyz"), "ok")
        self.kubectl("describe", "service", "web")

    def ports(self):
        return [(p["port"], p["name"], p["targetPort"])
                for p in self.s.get(NS_SERVICES + "/web").json()["spec"]["ports"]]

    def test_apply(self):
        obj = service("web", ports=[{"port": 80, "name": "http"}, {"port": 443, "name": "https"}])
        self.assertIn("created", self.kubectl("apply", "-f", "-", give=obj))
        ip = self.s.get(NS_SERVICES + "/web").json()["spec"]["clusterIP"]
        self.assertIn("unchanged", self.kubectl("apply", "-f", "-", give=obj))
        obj["spec"]["ports"] = [{"port": 443, "name": "https", "targetPort": 8443},
                                {"port": 81, "name": "alt"}]
        self.assertIn("configured", self.kubectl("apply", "-f", "-", give=obj))
        self.assertEqual(self.ports(), [(443, "https", 8443), (81, "alt", 81)])
        self.kubectl("label", "service", "web", "a=b")
        self.kubectl("annotate", "service", "web", "c=d")
        now = self.s.get(NS_SERVICES + "/web").json()
        self.assertEqual((now["metadata"]["labels"]["a"], now["metadata"]["annotations"]["c"]),
                         ("b", "d"))
        self.assertEqual(now["spec"]["clusterIP"], ip)
        self.assertIn("deleted", self.kubectl("delete", "service", "web"))
        self.assertEqual(self.s.get(NS_SERVICES + "/web").status, 404)

    def test_create_replace_delete(self):
        obj = service("web")
        self.kubectl("create", "--validate=false", "-f", "-", give=obj)
        self.kubectl("create", "-f", "-", give=SLICE)
        obj["spec"]["ports"] = [{"port": 81, "name": "b"}]
        self.assertIn("replaced", self.kubectl("replace", "-f", "-", give=obj))
        self.assertEqual(self.ports(), [(81, "b", 81)])
        self.kubectl("delete", "-f", "-", give=obj)
        self.kubectl("delete", "endpointslices", "--all")
        self.assertEqual(self.s.stats()["resources"]["endpointslices"]["objects"], 0)

    def test_watch(self):
        self.make("a")
        process = subprocess.Popen(self.command("get", "services", "-w", "-o", "name"),
                                   stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(process.stdout.readline().strip(), "service/a")
            until(lambda: self.s.stats()["resources"]["services"]["watches"], "the watch")
            self.make("b")
            self.assertEqual(process.stdout.readline().strip(), "service/b")
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()

    def test_proxy(self):
        path = self.s.dir + "/proxy.sock"
        process = subprocess.Popen(self.command("proxy", "--unix-socket=" + path),
                                   stdout=subprocess.PIPE, text=True)
        try:
            self.assertIn("Starting to serve", process.stdout.readline())
            self.make("a")
            body = self.s.request("GET", SERVICES, path=path).json()
            self.assertEqual([i["metadata"]["name"] for i in body["items"]], ["a"])
            w = Watch(path, url(SERVICES, watch=1, labelSelector="!x",
                                resourceVersion=body["metadata"]["resourceVersion"]))
            self.watches.append(w)
            self.make("b")
            self.event(w, "ADDED", "b")
            self.s.fault("drop", running=True)
            self.assertIsNone(w.next())
            self.s.fault("too-many-requests", retryAfterSeconds=7, count=-1)
            a = self.s.request("GET", SERVICES, path=path)
            self.assertEqual((a.status, a.headers["retry-after"]), (429, "7"))
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


if __name__ == "__main__":
    main()
