# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The API over the fixture: test_api.py FIXTURE [unittest arguments]. Every answer is checked
against the OpenAPI document; the last test makes sure that every path of it was seen."""
import base64
import json
import socket
import sys
import unittest

from client import Connection, Fixture, Watch, connect, wait_for

FLOWS = 6000
fixture = None


def setUpModule():
    global fixture
    fixture = Fixture(sys.argv[1], "--flows", str(FLOWS), "--services", "200")


def tearDownModule():
    if fixture.stop() != 0:
        raise AssertionError("the fixture did not end well")


class Case(unittest.TestCase):
    def problem(self, answer, status, reason):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.type, "application/problem+json")
        self.assertEqual(answer.json()["reason"], reason)
        return answer.json()


class Http(Case):
    def test_headers(self):
        a = fixture.request("GET", "/version", headers={"X-Request-Id": "abc-1"})
        self.assertEqual(a.headers["X-Request-Id"], "abc-1")
        self.assertEqual(a.headers["Cache-Control"], "no-store")
        self.assertEqual(a.headers["X-Content-Type-Options"], "nosniff")
        b = fixture.request("GET", "/version", headers={"X-Request-Id": "a b<script>"})
        self.assertNotIn("script", b.headers["X-Request-Id"])

    def test_unknown_path_and_method(self):
        self.problem(fixture.get("/api/v1/nothing"), 404, "NotFound")
        self.problem(fixture.get("/api/v1/services/"), 404, "NotFound")
        self.problem(fixture.get("//api/v1/services"), 404, "NotFound")
        a = fixture.request("PUT", "/api/v1/flows", body={})
        self.problem(a, 405, "MethodNotAllowed")
        self.assertEqual(a.headers["Allow"], "GET, HEAD, DELETE")
        a = fixture.request("DELETE", "/api/v1/flows/lookup")
        self.problem(a, 405, "MethodNotAllowed")

    def test_bad_paths_and_queries(self):
        for target in ("/api/v1/services/a%00b/c", "/api/v1/services/a%2Fb/c", "/api/v1/%zz",
                       "/api/v1/flows?state=%00", "/api/v1/flows?a=%1", "/api/v1/%0a"):
            self.problem(fixture.get(target), 400, "BadRequest")
        self.problem(fixture.get("/api/v1/flows?" + "a=b&" * 65), 400, "BadRequest")
        self.problem(fixture.get("/version?x=1"), 400, "BadRequest")
        self.problem(fixture.get("/" + "a/" * 20), 400, "BadRequest")

    def test_an_error_reflects_no_markup(self):
        out = fixture.raw(b"GET /<script>alert(1)</script> HTTP/1.1\r\nConnection: close\r\n\r\n")
        self.assertNotIn(b"<script>", out)
        out = fixture.raw(b"BREW /<script> HTTP/1.1\r\nConnection: close\r\n\r\n")
        self.assertNotIn(b"<script>", out)
        self.assertIn(b" 501 ", out.split(b"\r\n")[0])

    def test_head(self):
        connection = Connection(fixture.path)
        for target in ("/api/v1/flows", "/api/v1/services", "/readyz", "/metrics"):
            connection.request("HEAD", target)
            response = connection.getresponse()
            self.assertEqual((response.status, response.read()), (200, b""), target)
        connection.close()

    def test_keep_alive_over_lists(self):
        connection = Connection(fixture.path)
        for _ in range(3):
            connection.request("GET", "/api/v1/services")
            self.assertEqual(len(json.loads(connection.getresponse().read())["items"]), 202)
        connection.close()

    def test_http_1_0(self):
        out = fixture.raw(b"GET /api/v1/services HTTP/1.0\r\n\r\n")
        head, body = out.split(b"\r\n\r\n", 1)
        self.assertNotIn(b"chunked", head)
        self.assertEqual(len(json.loads(body)["items"]), 202)

    def test_too_large(self):
        out = fixture.raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n")
        self.assertNotIn(b" 200 ", out.split(b"\r\n")[0])
        out = fixture.raw(b"POST /api/v1/vports HTTP/1.1\r\nContent-Type: application/json\r\n"
                          b"Content-Length: 1048577\r\n\r\n")
        self.assertIn(b" 413 ", out.split(b"\r\n")[0])

    def test_body_types(self):
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/jsonx"}):
            a = fixture.request("POST", "/api/v1/vports", body="{}", headers=headers)
            self.problem(a, 415, "UnsupportedMediaType")

    def test_smuggling(self):
        hidden = b"GET /api/v1/config HTTP/1.1\r\n\r\n"
        for head in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                     b"Transfer-Encoding: gzip, chunked\r\n",
                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                     b"Content-Length: 4\r\nContent-Length: 0\r\n",
                     b"Content-Length: -1\r\n", b"Content-Length: 0x10\r\n",
                     b"X\x00: 1\r\nContent-Length: 4\r\n"):
            out = fixture.raw(b"POST /api/v1/vports HTTP/1.1\r\nContent-Type: application/json\r\n"
                              b"Connection: close\r\n" + head + b"\r\n0\r\n\r\n" + hidden)
            # One request, at most one answer, and never the hidden one's.
            self.assertLessEqual(out.count(b"HTTP/1.1 "), 1, head)
            self.assertNotIn(b'"effective"', out, head)

    def test_tcp_is_local_and_read_only(self):
        self.assertEqual(fixture.request("GET", "/version", port=fixture.port).status, 200)
        for headers in ({"Host": "evil.example"}, {"Host": "localhost.evil.example"},
                        {"Origin": "http://evil.example"}):
            self.problem(fixture.request("GET", "/version", headers=headers, port=fixture.port),
                         403, "Forbidden")
        a = fixture.request("DELETE", "/api/v1/flows?all=true", port=fixture.port)
        self.problem(a, 403, "Forbidden")

    def test_health_listener_has_health_only(self):
        for target, status in (("/livez", 200), ("/metrics", 200), ("/readyz", 200),
                               ("/api/v1/flows", 404), ("/api/v1/config", 404)):
            a = fixture.request("GET", target, port=fixture.health_port)
            self.assertEqual(a.status, status, target)
        mode = fixture.request("GET", "/proxyMode", port=fixture.health_port)
        self.assertEqual((mode.status, mode.body), (200, b"sluice"))
        self.assertEqual(mode.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(fixture.get("/proxyMode").body, b"sluice")

    def test_connection_cap(self):
        """One hundred idle connections do not keep the next from being answered; those beyond the
        cap wait until others end."""
        sockets = []
        for _ in range(140):
            s = connect(fixture.path)
            self.addCleanup(s.close)
            sockets.append(s)
        late = sockets[-1]
        late.settimeout(0.2)
        late.sendall(b"GET /version HTTP/1.1\r\nConnection: close\r\n\r\n")
        with self.assertRaises(TimeoutError):
            late.recv(1)
        for s in sockets[:100]:
            s.close()
        late.settimeout(20)
        self.assertIn(b"200", late.recv(100))
        for s in sockets[100:]:
            s.close()


class Resources(Case):
    def test_all_answer_as_described(self):
        for path in ("version", "overview", "config", "services", "backends", "nodes", "flows",
                     "vports", "vports/up", "ports", "ports/uplink0", "workers", "workers/1",
                     "routes", "neighbors", "drops", "drop-reasons", "pipelines", "pipelines/pod",
                     "tables", "offload", "offload/tables", "offload/rejections",
                     "offload/operations", "refusals", "conflicts", "events", "services/shop/cart",
                     "services/shop/cart/backends",
                     "drops?all=true"):
            self.assertEqual(fixture.get("/api/v1/" + path).status, 200, path)

    def test_not_found(self):
        for path in ("services/shop/nothing", "services/shop/nothing/backends", "vports/nothing",
                     "ports/nothing", "workers/2", "workers/x", "pipelines/x",
                     "flows/4-ffffffff-0", "flows/4-00000000-7"):
            self.problem(fixture.get("/api/v1/" + path), 404, "NotFound")

    def test_service(self):
        s = fixture.get("/api/v1/services/shop/cart").json()
        self.assertEqual(s["metadata"]["managedBy"], "Kubernetes")
        kinds = [f["kind"] for f in s["spec"]["frontends"]]
        self.assertEqual(kinds, ["ClusterIP", "ClusterIP", "NodePort"])
        self.assertEqual(s["status"]["backends"]["ready"], 3)
        condition = s["status"]["conditions"][0]
        self.assertEqual((condition["status"], condition["desiredVersion"]),
                         ("True", condition["appliedVersion"]))

    def test_lists_in_pages(self):
        whole = fixture.get("/api/v1/services").json()["items"]
        self.assertEqual(fixture.pages("/api/v1/services", limit=7), whole)
        self.assertEqual(len(fixture.get("/api/v1/services", namespace="shop").json()["items"]), 1)
        whole = fixture.get("/api/v1/backends").json()["items"]
        self.assertEqual(len(whole), 200 * 4 + 5)
        self.assertEqual(fixture.pages("/api/v1/backends", limit=3, namespace="shop"),
                         [b for b in whole if b["service"] == "shop/cart"])
        self.assertEqual(fixture.pages("/api/v1/backends", limit=3), whole)
        self.assertEqual(len(fixture.get("/api/v1/routes").json()["items"]), 1000)

    def test_list_cursors_are_checked(self):
        cursor = fixture.get("/api/v1/services", limit=1).json()["metadata"]["continue"]
        for bad in ("x", cursor + "A", cursor[:-1] + "!", "TFNl" + "A" * 2000):
            self.problem(fixture.get("/api/v1/services", **{"continue": bad}), 400, "BadRequest")
        self.problem(fixture.get("/api/v1/backends", **{"continue": cursor}), 400, "BadRequest")
        self.problem(fixture.get("/api/v1/services", limit=0), 400, "BadRequest")
        self.problem(fixture.get("/api/v1/services", limit="-1"), 400, "BadRequest")

    def test_hostile_text_is_valid_json(self):
        item = fixture.get("/api/v1/refusals").json()["items"][0]
        self.assertIn("\ufffd", item["reason"])
        self.assertIn("\x01", item["reason"])

    def test_counters_are_exact(self):
        port = fixture.get("/api/v1/ports/uplink0").json()
        self.assertEqual(port["status"]["counters"]["rxPackets"], str(2**64 - 1))

    def test_conflicts(self):
        items = fixture.get("/api/v1/conflicts").json()["items"]
        self.assertEqual(len(items), 21)
        self.assertEqual([items[0]["address"], items[1]["address"]], ["10.96.0.0", None])

    def test_events(self):
        def of(reason):
            return [e for e in fixture.get("/api/v1/events").json()["items"] if e["reason"] == reason]
        event = of("Trouble")[0]
        self.assertEqual(event["regarding"], {"kind": "Service", "namespace": "shop", "name": "cart"})
        self.assertEqual((event["type"], event["note"], event["count"]), ("Warning", 'a "note"', 1))
        # Each conflict is told of once, however long it lasts.
        wait_for(lambda: len(of("FrontendConflict")) == 21, "the conflicts")
        self.assertEqual({e["count"] for e in of("FrontendConflict")}, {1})
        self.assertEqual(of("FrontendConflict")[0]["regarding"],
                         {"kind": "Service", "namespace": "b", "name": "second-0"})
        self.assertIn("10.96.0.0 port 80/TCP is served by a/first",
                      of("FrontendConflict")[0]["note"])

    def test_route_lookup(self):
        self.problem(fixture.get("/api/v1/routes/lookup", dst="10.0.0.1"), 404, "NoRoute")
        self.problem(fixture.get("/api/v1/routes/lookup", dst="x"), 400, "BadRequest")
        self.problem(fixture.get("/api/v1/routes/lookup"), 400, "BadRequest")


class Flows(Case):
    def test_pages_cover_all(self):
        ids = [f["id"] for f in fixture.pages("/api/v1/flows", limit=5000, srcPort="1-59999")]
        self.assertEqual(len(ids), FLOWS)
        self.assertEqual(len(set(ids)), FLOWS)

    def test_exactly_once_under_churn(self):
        """Flows alive for the whole scan are shown exactly once; others may or may not be."""
        fixture.command("churn on")
        seen = {}
        for flow in fixture.pages("/api/v1/flows", limit=250):
            if flow["original"]["srcPort"] < 60000:
                seen[flow["id"]] = seen.get(flow["id"], 0) + 1
        fixture.command("churn off")
        self.assertEqual(len(seen), FLOWS)
        self.assertEqual(set(seen.values()), {1})

    def test_filters(self):
        everything = fixture.pages("/api/v1/flows", limit=5000, srcPort="1-59999")

        def count(**query):
            return len(fixture.pages("/api/v1/flows", limit=5000, srcPort="1-59999", **query))

        def naive(test):
            return sum(1 for f in everything if test(f))

        self.assertEqual(count(proto="udp"), naive(lambda f: f["protocol"] == "UDP"))
        self.assertEqual(count(proto="!6"), naive(lambda f: f["protocol"] != "TCP"))
        self.assertEqual(count(family="IPv6"), naive(lambda f: f["family"] == "IPv6"))
        self.assertEqual(count(state=["New", "Replied"]),
                         naive(lambda f: f["state"] in ("New", "Replied")))
        self.assertEqual(count(unreplied="true"), naive(lambda f: f["state"] == "New"))
        self.assertEqual(count(worker="1"), naive(lambda f: f["worker"] == 1))
        self.assertEqual(count(nat="None"), naive(lambda f: f["nat"]["type"] == "None"))
        self.assertEqual(count(service="shop/cart"), naive(lambda f: f["service"] is not None))
        self.assertEqual(count(service="shop/cart:http", family="IPv4"),
                         naive(lambda f: f["service"] and f["family"] == "IPv4"))
        self.assertEqual(count(service="shop/car"), 0)
        self.assertEqual(count(namespace="shop"), naive(lambda f: f["service"] is not None))
        self.assertEqual(count(inPort="up"), len(everything))
        self.assertEqual(count(inPort="!up"), 0)
        self.assertEqual(count(src="10.244.1.0/24"),
                         naive(lambda f: f["original"]["src"].startswith("10.244.1.")))
        self.assertEqual(count(dst="10.96.0.10"),
                         naive(lambda f: f["original"]["dst"] == "10.96.0.10"))
        # The backend is behind the translation; dst finds it there too.
        self.assertEqual(count(dst="10.244.200.9", proto="tcp"),
                         naive(lambda f: f["family"] == "IPv4" and f["protocol"] == "TCP"))
        self.assertEqual(count(backend="10.244.200.9:8080"),
                         naive(lambda f: f["backend"] and f["family"] == "IPv4"))
        self.assertEqual(count(backend="[fd00:10:244:c8::9]:8080"),
                         naive(lambda f: f["backend"] and f["family"] == "IPv6"))
        self.assertEqual(count(ip="fd00:10:244::/112", dstPort="80"),
                         naive(lambda f: f["family"] == "IPv6" and f["protocol"] == "TCP"))
        self.assertEqual(count(port="8080", dstPort="!80"),
                         naive(lambda f: f["protocol"] == "UDP"))
        self.assertEqual(count(minAgeSeconds="4000"), 0)
        self.assertEqual(count(minIdleSeconds="0"), len(everything))

    def test_bad_filters(self):
        for name, value in (("src", "10.0.0.0/33"), ("dst", "x"), ("port", "70000"),
                            ("port", "9-3"), ("port", ""), ("proto", "999"), ("family", "5"),
                            ("state", "Dead"), ("service", "cart"), ("backend", "1.2.3.4:x"),
                            ("backend", "["), ("backend", "]:1"), ("worker", "16"),
                            ("unreplied", "maybe"), ("limit", "5001"), ("limit", "0"),
                            ("nosuch", "1"), ("minAgeSeconds", "1-2")):
            p = self.problem(fixture.get("/api/v1/flows", **{name: value}), 400, "BadRequest")
            self.assertIn(name, p["detail"])
        self.problem(fixture.get("/api/v1/flows", port=["1"] * 40), 400, "BadRequest")

    def test_cursors(self):
        page = fixture.get("/api/v1/flows", limit=2, proto="tcp").json()
        cursor = page["metadata"]["continue"]
        self.assertEqual(page["metadata"]["truncatedBy"], "Limit")
        next_page = fixture.get("/api/v1/flows", limit=2, proto="tcp", **{"continue": cursor})
        self.assertFalse({f["id"] for f in page["items"]} &
                         {f["id"] for f in next_page.json()["items"]})
        self.problem(fixture.get("/api/v1/flows", limit=2, **{"continue": cursor}), 400,
                     "BadRequest")
        raw = bytearray(base64.urlsafe_b64decode(cursor + "=="))
        raw[2] ^= 1  # another boot
        stale = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        self.problem(fixture.get("/api/v1/flows", proto="tcp", **{"continue": stale}), 410,
                     "Expired")
        for bad in ("AAAA", "!", cursor + "AAAA", cursor[:-2]):
            self.problem(fixture.get("/api/v1/flows", **{"continue": bad}), 400, "BadRequest")
        raw[2] ^= 1
        raw[18:22] = b"\xff\xff\xff\xff"  # behind the table
        behind = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        self.assertEqual(
            fixture.get("/api/v1/flows", proto="tcp", **{"continue": behind}).status, 200)

    def test_by_id_and_lookup(self):
        flow = fixture.get("/api/v1/flows", proto="tcp", limit=1).json()["items"][0]
        self.assertEqual(fixture.get("/api/v1/flows/" + flow["id"]).json()["id"], flow["id"])
        o, r = flow["original"], flow["reply"]
        tuples = ((o["src"], o["srcPort"], o["dst"], o["dstPort"]),
                  (o["dst"], o["dstPort"], o["src"], o["srcPort"]),
                  (r["src"], r["srcPort"], r["dst"], r["dstPort"]),
                  (r["dst"], r["dstPort"], r["src"], r["srcPort"]))
        for src, sport, dst, dport in tuples:
            found = fixture.get("/api/v1/flows/lookup", proto="TCP", src=src, srcPort=sport,
                                dst=dst, dstPort=dport)
            self.assertEqual(found.json()["id"], flow["id"])
        self.problem(fixture.get("/api/v1/flows/lookup", src="1.1.1.1", dst="2.2.2.2"), 404,
                     "NotFound")
        self.problem(fixture.get("/api/v1/flows/lookup", src="1.1.1.1", dst="::1"), 400,
                     "BadRequest")
        self.problem(fixture.get("/api/v1/flows/lookup", src="1.1.1.1"), 400, "BadRequest")
        for bad in ("x", "4-1-1", "5-00000000-0", "4-00000000-", "4-0000000G-1", "4-00000000-1x"):
            self.problem(fixture.get("/api/v1/flows/" + bad), 400, "BadRequest")

    def test_zz_delete(self):
        flow = fixture.get("/api/v1/flows", proto="udp", limit=1).json()["items"][0]
        self.assertEqual(
            fixture.request("DELETE", "/api/v1/flows/" + flow["id"]).json()["deleted"], "1")
        self.problem(fixture.get("/api/v1/flows/" + flow["id"]), 404, "NotFound")
        self.problem(fixture.request("DELETE", "/api/v1/flows"), 400, "BadRequest")
        self.problem(fixture.request("DELETE", "/api/v1/flows?limit=1"), 400, "BadRequest")
        self.problem(fixture.request("DELETE", "/api/v1/flows?proto=tcp&dryRun=Some"), 400,
                     "BadRequest")
        target = "/api/v1/flows?src=10.244.0.0/25&family=IPv4"
        n = len(fixture.pages("/api/v1/flows", src="10.244.0.0/25", family="IPv4"))
        a = fixture.request("DELETE", target + "&dryRun=All").json()
        self.assertEqual((a["matched"], a["deleted"], a["dryRun"]), (str(n), "0", True))
        a = fixture.request("DELETE", target).json()
        self.assertEqual((a["matched"], a["deleted"]), (str(n), str(n)))
        self.assertEqual(fixture.pages("/api/v1/flows", src="10.244.0.0/25", family="IPv4"), [])
        a = fixture.request("DELETE", "/api/v1/flows?all=true").json()
        self.assertEqual(a["matched"], a["deleted"])
        self.assertEqual(fixture.pages("/api/v1/flows"), [])


class Vports(Case):
    def make(self, name="pod-1", **spec):
        spec = {"role": "Pod", "port": "trunk0", "vlan": 101, **spec}
        return fixture.request("POST", "/api/v1/vports", {"metadata": {"name": name}, "spec": spec})

    def test_life(self):
        a = self.make(addresses=["10.244.1.5", "fd00::5/128"], peerMac="02:00:00:00:00:05")
        self.assertEqual(a.status, 201, a.body)
        self.assertEqual(a.headers["Location"], "/api/v1/vports/pod-1")
        v = a.json()
        self.assertEqual(v["spec"]["addresses"], ["10.244.1.5/32", "fd00::5/128"])
        self.assertEqual(v["status"]["conditions"][0]["status"], "True")
        self.assertEqual(v["metadata"]["managedBy"], "API")
        self.assertTrue(v["spec"]["sourceGuard"])
        self.assertGreater(v["status"]["id"], 0)
        self.problem(self.make(), 409, "AlreadyExists")
        self.assertEqual(fixture.request("DELETE", "/api/v1/vports/pod-1").status, 200)
        self.problem(fixture.request("DELETE", "/api/v1/vports/pod-1"), 404, "NotFound")
        self.problem(fixture.get("/api/v1/vports/pod-1"), 404, "NotFound")

    def test_one_that_cannot_be_applied_is_taken_back(self):
        p = self.problem(self.make("bad-one"), 422, "NotProgrammed")
        self.assertIn("no such interface", p["detail"])
        wait_for(lambda: fixture.get("/api/v1/vports/bad-one").status == 404, "still there")

    def test_the_configurations_own_are_refused(self):
        self.problem(fixture.request("DELETE", "/api/v1/vports/up"), 409, "Conflict")

    def test_a_client_that_does_not_wait(self):
        body = json.dumps({"metadata": {"name": "left"}, "spec": {"role": "Pod", "port": "p"}})
        for _ in range(20):
            s = connect(fixture.path)
            s.sendall(b"POST /api/v1/vports HTTP/1.1\r\nContent-Type: application/json\r\n"
                      b"Content-Length: %d\r\n\r\n%s" % (len(body), body.encode()))
            s.close()
            wait_for(lambda: fixture.get("/api/v1/vports/left").status == 200, "not made")
            fixture.request("DELETE", "/api/v1/vports/left")

    def test_bad_bodies(self):
        good = {"metadata": {"name": "x"}, "spec": {"role": "Pod", "port": "p"}}

        def check(pointer, **changes):
            body = json.loads(json.dumps(good))
            for key, value in changes.items():
                body["spec"][key] = value
            p = self.problem(fixture.request("POST", "/api/v1/vports", body), 422, "Invalid")
            self.assertEqual(p["errors"][0]["pointer"], pointer)

        check("/spec/role", role="Boss")
        check("/spec/vlan", vlan=4095)
        check("/spec/vlan", vlan="1")
        check("/spec/mtu", mtu=67)
        check("/spec/zone", zone=-1)
        check("/spec/colour", colour="red")
        check("/spec/addresses", addresses="10.0.0.1")
        check("/spec/addresses/1", addresses=["10.0.0.1", "10.0.0.256"])
        check("/spec/addresses", addresses=["10.0.0.1"] * 9)
        check("/spec/peerMac", peerMac="02:00:00:00:00")
        check("/spec/mac", mac="01:00:00:00:00:01")
        check("/spec/sourceGuard", sourceGuard=1)
        check("/spec/port", newPort={"kind": "null"})
        check("/spec/newPort/kind", newPort={"kind": "warp"})
        check("/spec/newPort/x", newPort={"kind": "tap", "x": 1})
        check("/spec/newPort/queues", newPort={"kind": "tap", "queues": 0})
        for body, pointer in (({"spec": good["spec"]}, "/metadata/name"),
                              ({**good, "metadata": {"name": "a/b"}}, "/metadata/name"),
                              ({**good, "metadata": {"name": "a" * 32}}, "/metadata/name"),
                              ({**good, "kind": "Pod"}, "/kind"),
                              ({"metadata": {"name": "x"}}, "/spec")):
            p = self.problem(fixture.request("POST", "/api/v1/vports", body), 422, "Invalid")
            self.assertEqual(p["errors"][0]["pointer"], pointer)
        for text in ("{", "[1,2", "nonsense", '{"a":1,"a":2}', "[" * 5000):
            a = fixture.request("POST", "/api/v1/vports", text,
                                {"Content-Type": "application/json"})
            self.problem(a, 400, "BadRequest")
        self.problem(fixture.request("POST", "/api/v1/vports"), 400, "BadRequest")


class Watches(Case):
    def test_services(self):
        w = Watch(fixture, "/api/v1/services?watch=true&namespace=watched")
        events, _ = w.until_bookmark()
        self.assertEqual(events, [])
        fixture.command("service watched/a 1")
        e = w.next()
        self.assertEqual((e["type"], e["object"]["metadata"]["name"]), ("ADDED", "a"))
        while e["object"]["status"]["conditions"][0]["status"] != "True":
            e = w.next()
        fixture.command("service other/b 1")
        fixture.command("service watched/a 2")
        while e["object"]["status"]["backends"]["total"] != 2:
            e = w.next()
            self.assertEqual((e["type"], e["object"]["metadata"]["name"]), ("MODIFIED", "a"))
        fixture.command("unservice watched/a")
        while (e := w.next())["type"] == "MODIFIED":
            pass
        self.assertEqual((e["type"], e["object"]["metadata"]["name"]), ("DELETED", "a"))
        fixture.command("unservice other/b")
        w.close()

    def test_backends(self):
        fixture.command("service wb/a 2")
        w = Watch(fixture, "/api/v1/backends?watch=true&service=wb/a")
        events, rv = w.until_bookmark()
        self.assertEqual([e["type"] for e in events], ["ADDED", "ADDED"])
        fixture.command("service wb/a 3")
        e = w.next()
        self.assertEqual((e["type"], e["object"]["address"]), ("ADDED", "10.244.0.2"))
        fixture.command("service wb/a 1")
        gone = {w.next()["object"]["address"] for _ in range(2)}
        self.assertEqual(gone, {"10.244.0.1", "10.244.0.2"})
        w.close()
        # What went away since a version is not known of items inside objects.
        a = fixture.get("/api/v1/backends", watch="true", resourceVersion=rv)
        self.problem(a, 410, "Expired")
        fixture.command("unservice wb/a")

    def test_list_then_watch_loses_nothing(self):
        rv = fixture.get("/api/v1/services").json()["metadata"]["resourceVersion"]
        fixture.command("service gap/a 1")
        w = Watch(fixture, "/api/v1/services?watch=true&resourceVersion=" + rv)
        e = w.next()
        self.assertEqual((e["type"], e["object"]["metadata"]["name"]), ("ADDED", "a"))
        w.close()
        fixture.command("unservice gap/a")

    def test_vports_and_timeout(self):
        w = Watch(fixture, "/api/v1/vports?watch=true&timeoutSeconds=1")
        events, _ = w.until_bookmark()
        self.assertEqual([e["object"]["metadata"]["name"] for e in events], ["up"])
        while w.next() is not None:
            pass
        w.close()

    def test_old_versions(self):
        for i in range(5000):
            fixture.process.stdin.write("service old/a %d\n" % (i % 3))
            if i % 50 == 49:
                fixture.process.stdin.flush()
                for _ in range(50):
                    self.assertEqual(fixture.process.stdout.readline(), "ok\n")
        w = Watch(fixture, "/api/v1/services?watch=true&resourceVersion=1")
        while (e := w.next())["type"] != "ERROR":
            pass
        self.assertEqual(e["object"]["status"], 410)
        self.assertIsNone(w.next())
        w.close()
        fixture.command("unservice old/a")
        a = fixture.get("/api/v1/services", watch="true", resourceVersion=str(2**62))
        self.problem(a, 410, "Expired")

    def test_32_streams(self):
        watches = [Watch(fixture, "/api/v1/services?watch=true&namespace=cap") for _ in range(32)]
        a = fixture.get("/api/v1/services", watch="true")
        self.problem(a, 429, "TooManyRequests")
        self.assertEqual(a.headers["Retry-After"], "1")
        fixture.command("service cap/a 1")
        for w in watches:
            while (e := w.next())["type"] == "BOOKMARK":
                pass
            self.assertEqual(e["object"]["metadata"]["name"], "a")
        for w in watches:
            w.close()
        wait_for(lambda: fixture.get("/api/v1/services", watch="true", timeoutSeconds=1,
                                     namespace="none").status == 200, "streams were not freed")
        fixture.command("unservice cap/a")

    def test_a_watcher_that_sends_without_end(self):
        """What a client sends during a stream is not collected without bound."""
        s = connect(fixture.path)
        s.settimeout(0.5)
        s.sendall(b"GET /api/v1/vports?watch=true HTTP/1.1\r\n\r\n")
        self.assertIn(b"200", s.recv(100))
        sent = 0
        with self.assertRaises(TimeoutError):
            while sent < 64 << 20:
                sent += s.send(b"x" * 65536)
        self.assertLess(sent, 4 << 20)
        s.close()

    def test_slow_reader_slows_only_itself(self):
        slow = []
        for target in (b"/api/v1/flows?limit=5000", b"/api/v1/backends"):
            s = socket.socket(socket.AF_UNIX)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(fixture.path)
            s.sendall(b"GET " + target + b" HTTP/1.1\r\nConnection: close\r\n\r\n")
            slow.append(s)
        for _ in range(5):
            self.assertEqual(fixture.get("/api/v1/overview").status, 200)
        for s in slow:
            s.settimeout(20)
            out = b""
            while chunk := s.recv(4096):
                out += chunk
            self.assertTrue(out.endswith(b"0\r\n\r\n"))
            s.close()

    def test_disconnect_in_the_middle(self):
        for _ in range(20):
            s = connect(fixture.path)
            s.sendall(b"GET /api/v1/flows?limit=5000 HTTP/1.1\r\n\r\n")
            s.recv(1000)
            s.close()
        self.assertEqual(fixture.get("/livez").status, 200)


class Health(Case):
    def test_ready_tells_what_is_wrong(self):
        self.assertEqual(fixture.get("/readyz").body, b"ok")
        self.assertIn(b"[+]kubernetes-services ok", fixture.get("/readyz?verbose").body)
        fixture.command("link down")
        a = fixture.get("/readyz")
        self.assertEqual(a.status, 503)
        self.assertIn(b"[-]uplinks failed", a.body)
        self.assertEqual(fixture.get("/livez").status, 200)
        self.assertEqual(fixture.get("/readyz?exclude=uplinks").status, 200)
        fixture.command("link up")
        self.assertEqual(fixture.get("/readyz").status, 200)

    def test_a_silent_api_server_is_told(self):
        fixture.command("silence 400")
        a = fixture.get("/readyz")
        self.assertEqual(a.status, 503)
        self.assertIn(b"[-]kubernetes-services failed: silent for 40", a.body)
        self.assertEqual(fixture.get("/livez").status, 200)
        fixture.command("silence 0")
        self.assertEqual(fixture.get("/readyz").status, 200)

    def test_a_stalled_worker_is_named(self):
        fixture.command("stall 1")
        wait_for(lambda: fixture.get("/livez").status == 503, "the stall was not noticed")
        self.assertIn(b"worker 1", fixture.get("/readyz").body)
        self.assertEqual(fixture.get("/api/v1/workers/1").json()["status"]["state"], "Stalled")
        fixture.command("unstall 1")
        wait_for(lambda: fixture.get("/livez").status == 200, "the worker's return was not noticed")

    def test_metrics(self):
        text = fixture.get("/metrics").body.decode()
        seen, current, typed = set(), None, set()
        for line in text.splitlines():
            if line.startswith("#"):
                _, what, name, _ = line.split(" ", 3)
                if what == "TYPE":
                    self.assertNotIn(name, typed, "a family in two places")
                    typed.add(name)
                    current = name
                continue
            name = line.split("{")[0].split(" ")[0]
            self.assertEqual(name, current, line)
            series = line.rsplit(" ", 1)[0]
            self.assertNotIn(series, seen)
            seen.add(series)
            float(line.rsplit(" ", 1)[1])
        self.assertIn('sluice_drops_total{reason="NoRoute",class="Configuration"} 11', text)
        self.assertIn('sluice_port_up{port="trunk \\"0\\""} 1', text)
        self.assertIn('sluice_conntrack_capacity{family="IPv4"}', text)
        self.assertLess(len(text), 1 << 20)


class ZCoverage(Case):
    def test_every_path_was_seen(self):
        described = {(m.upper(), p) for p, ops in fixture.description.document["paths"].items()
                     for m in ops}
        missed = {x for x in described - fixture.covered
                  if x != ("GET", "/api/v1/routes/lookup")}  # the fixture has no routes to find
        self.assertEqual(missed - {("GET", "/healthz"), ("GET", "/openapi/v3.json")}, set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
