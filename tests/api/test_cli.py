# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""sluicectl against the fixture: test_cli.py FIXTURE SLUICECTL [unittest arguments]."""
import json
import os
import re
import subprocess
import sys
import unittest

from client import DEADLINE, Fixture

fixture = None


def setUpModule():
    global fixture
    fixture = Fixture(sys.argv[1], "--flows", "1200", "--services", "3")


def tearDownModule():
    if fixture.stop() != 0:
        raise AssertionError("the fixture did not end well")


class Cli(unittest.TestCase):
    def environment(self):
        return {**os.environ, "SLUICE_SOCKET": fixture.path}

    def run_cli(self, *words, status=0, stdin=None):
        done = subprocess.run([sys.argv[2], *words], env=self.environment(), input=stdin,
                              capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        if status == 0:
            self.assertNotIn("error:", done.stderr)
        elif status != 6:
            self.assertIn("error: ", done.stderr)
            self.assertEqual(done.stdout, "")
        return done.stdout

    def table(self, *words):
        lines = [line.split() for line in self.run_cli(*words).splitlines()]
        return [dict(zip(lines[0], row)) for row in lines[1:]]

    def types(self):
        text = self.run_cli("help").split("Types:")[1].split("Options:")[0]
        return re.findall(r"^  (\S+) ", text, re.MULTILINE)

    def test_every_type_in_every_format(self):
        self.assertGreater(len(self.types()), 10)
        for t in self.types():
            # The fixture has no NIC to be listed.
            for form in ("table", "wide") if t not in ("offload", "offload-caps", "offload-operations") else ():
                self.assertTrue(self.run_cli("get", t, "-o", form), t)
            self.assertIn("kind", json.loads(self.run_cli("get", t, "-ojson")))
            self.assertIn("kind: ", self.run_cli("get", t, "--output=yaml"))

    def test_tables(self):
        rows = self.table("get", "svc", "-n", "shop")
        self.assertEqual([r["NAME"] for r in rows], ["cart"])
        self.assertEqual(rows[0]["CLUSTER-IP"], "10.96.0.10,fd00:10:96::a")
        self.assertEqual(rows[0]["BACKENDS"], "3/3")
        self.assertEqual(self.table("get", "drops")[0]["PACKETS"], "11")
        rows = self.table("get", "flows", "proto=udp", "family=IPv6", "--all", "-o", "wide")
        self.assertTrue(rows)
        for r in rows:
            self.assertEqual(r["PROTO"], "UDP")
            self.assertTrue(r["SRC"].startswith("[fd00:"))
            self.assertTrue(r["ID"].startswith("6-"))
        self.assertFalse(self.run_cli("get", "flows", "--no-headers").startswith("PROTO"))
        self.assertIn("services/shop/cart\n", self.run_cli("get", "services", "-o", "name"))

    def test_limits_and_pages(self):
        for kind, n in (("flows", 7), ("services", 2), ("routes", 3)):
            out = json.loads(self.run_cli("get", kind, "--limit", str(n), "-o", "json"))
            self.assertEqual(len(out["items"]), n)
        self.assertEqual(len(self.table("get", "flows")), 500)
        self.assertEqual(len(self.table("get", "flows", "--all")), 1200)

    def test_one_object(self):
        for words in (("service/shop/cart",), ("services", "shop/cart"),
                      ("svc", "cart", "-n", "shop")):
            s = json.loads(self.run_cli("get", *words, "-o", "json"))
            self.assertEqual(s["metadata"]["name"], "cart")
        self.run_cli("get", "service/shop/none", status=3)
        self.run_cli("get", "worker/9", status=3)
        self.run_cli("get", "backends/x", status=2)

    def test_wrong_use(self):
        for words in ((), ("frobnicate",), ("get",), ("get", "nothing"), ("get", "flows", "-x"),
                      ("get", "flows", "--limit", "x"), ("get", "flows", "--limit"),
                      ("get", "svc", "-o", "xml"), ("get", "routes", "-w"), ("delete",),
                      ("delete", "flows"), ("delete", "services/a/b"), ("create", "service"),
                      ("create", "vport", "x", "colour=red"), ("raw", "GET", "livez"),
                      ("lookup", "flow"), ("get", "svc", "--watch=yes")):
            if words == ():
                continue
            self.run_cli(*words, status=2)
        self.run_cli("get", "flows", "port=x", status=1)

    def test_no_daemon(self):
        self.run_cli("status", "--socket", fixture.path + "-none", status=4)
        self.run_cli("status", "--server", "http://127.0.0.1:1", status=4)

    def test_over_tcp(self):
        server = "http://127.0.0.1:%d" % fixture.port
        self.assertIn("Ready", self.run_cli("status", "--server", server))
        self.run_cli("delete", "flows", "--all", "--server", server, status=1)

    def test_status(self):
        out = self.run_cli("status", "--check")
        for word in ("[+] workers", "2 of 2 turn", "NoRoute", "objects refused"):
            self.assertIn(word, out)
        fixture.command("link down")
        self.assertIn("[-] uplinks", self.run_cli("status", "--check", status=6))
        fixture.command("link up")

    def test_lookup_and_delete(self):
        flow = json.loads(self.run_cli("get", "flows", "proto=tcp", "--limit", "1", "-ojson"))
        o = flow["items"][0]["original"]
        words = ["%s=%s" % kv for kv in o.items()]
        found = json.loads(self.run_cli("lookup", "flow", *words, "-o", "json"))
        self.assertEqual(found["id"], flow["items"][0]["id"])
        self.run_cli("lookup", "flow", "src=1.1.1.1", "dst=2.2.2.2", status=3)
        self.run_cli("lookup", "route", "10.0.0.1", status=3)
        self.assertEqual(self.run_cli("delete", "flows/" + found["id"]), "1 flows deleted\n")
        self.run_cli("delete", "flows/" + found["id"], status=3)
        out = self.run_cli("delete", "flows", "src=203.0.113.0/24", "--dry-run")
        self.assertEqual(out, "0 flows match\n")

    def test_vports(self):
        out = self.run_cli("create", "vport", "pod-1", "role=pod", "port=trunk0", "vlan=7",
                           "address=10.244.1.5", "address=fd00::5", "peerMac=02:00:00:00:00:05")
        self.assertEqual(out, "vports/pod-1 created\n")
        row = [r for r in self.table("get", "vports") if r["NAME"] == "pod-1"][0]
        self.assertEqual((row["VLAN"], row["ADDRESSES"]), ("7", "10.244.1.5/32,fd00::5/128"))
        self.run_cli("create", "vport", "pod-1", "role=pod", "port=trunk0", status=5)
        self.run_cli("create", "vport", "pod-2", "role=pod", "vlan=x", "port=t", status=1)
        self.run_cli("create", "vport", "bad-2", "role=pod", "port=t", status=1)
        body = {"metadata": {"name": "pod-3"},
                "spec": {"role": "Pod", "newPort": {"kind": "af_packet", "interface": "veth0"}}}
        self.run_cli("create", "-f", "-", stdin=json.dumps(body))
        self.run_cli("create", "-f", "-", stdin="{", status=2)
        self.assertEqual(self.run_cli("delete", "vport", "pod-1"), "vports/pod-1 deleted\n")
        self.assertEqual(self.run_cli("delete", "vport/pod-3"), "vports/pod-3 deleted\n")
        self.run_cli("delete", "vport", "up", status=5)

    def test_watch(self):
        p = subprocess.Popen([sys.argv[2], "get", "svc", "-n", "cli", "-w",
                              "--output-watch-events"], env=self.environment(),
                             stdout=subprocess.PIPE, text=True)
        fixture.command("service cli/a 1")
        self.assertEqual(p.stdout.readline().split()[:2], ["EVENT", "NAMESPACE"])
        self.assertEqual(p.stdout.readline().split()[:3], ["ADDED", "cli", "a"])
        fixture.command("unservice cli/a")
        while (words := p.stdout.readline().split())[0] == "MODIFIED":
            pass
        self.assertEqual(words[:3], ["DELETED", "cli", "a"])
        p.terminate()
        p.communicate(timeout=DEADLINE)

    def test_help_manual_and_completion_know_everything(self):
        help_text, man = self.run_cli("help"), self.run_cli("help", "--man")
        completion = self.run_cli("completion", "bash")
        subprocess.run(["bash", "-n"], input=completion, text=True, check=True)
        verbs = re.findall(r"^  (\w+) ", help_text.split("Verbs:")[1].split("Types:")[0],
                           re.MULTILINE)
        self.assertIn("get", verbs)
        for word in verbs + self.types():
            self.assertIn(word, completion)
            self.assertIn(word.replace("-", "\\-"), man)
        for verb in verbs:
            self.assertIn("usage: sluicectl " + verb, self.run_cli("help", verb))
            self.assertIn("usage: sluicectl " + verb, self.run_cli(verb, "--help"))
        self.assertIn("sluiced", self.run_cli("version"))
        self.assertEqual(self.run_cli("raw", "GET", "/livez"), "ok")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
