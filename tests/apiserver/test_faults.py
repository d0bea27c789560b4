#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Every fault that the stand-in can be told to inject, seen from the client's side.

usage: test_faults.py PROGRAM [unittest arguments]
"""
import json
import socket
import time

from case import NS_SERVICES, SERVICES, Case, main, service


class RequestFaults(Case):
    """Faults that any request may get."""

    def test_unknown_is_refused(self):
        for body in ({"fault": "nonsense"}, {}, {"fault": "drop", "afterEvent": 1},
                     {"fault": "drop", "verb": "look"}, {"fault": "drop", "count": "1"}, []):
            self.assertEqual(self.s.request("POST", "/_fault", body).status, 400, body)

    def test_counting_and_matching(self):
        self.s.fault("status", resource="services", verb="list", code=403, count=2)
        self.assertEqual(self.s.get("/api/v1/nodes").status, 200)
        self.assertEqual(self.s.get(NS_SERVICES + "/a").status, 404)
        self.assertEqual([self.s.get(SERVICES).status for _ in range(3)], [403, 403, 200])
        self.assertEqual([(f["count"], f["hits"]) for f in self.s.request("GET", "/_fault").json()],
                         [(0, 2)])
        self.s.clear()
        self.assertEqual(self.s.request("GET", "/_fault").json(), [])

    def test_for_ever_until_removed(self):
        self.s.fault("error-text", count=-1)
        for _ in range(3):
            a = self.s.get(SERVICES)
            self.assertEqual((a.status, a.headers["content-type"][:10]), (500, "text/plain"))
            self.assertIn(b"dial tcp", a.body)
        self.s.clear()
        self.assertEqual(self.s.get(SERVICES).status, 200)

    def test_too_many_requests(self):
        self.s.fault("too-many-requests", retryAfterSeconds=5)
        a = self.s.get(SERVICES)
        self.assertEqual((a.status, a.headers["retry-after"]), (429, "5"))
        self.assertEqual((a.json()["reason"], a.json()["details"]["retryAfterSeconds"]),
                         ("TooManyRequests", 5))

    def test_gone(self):
        self.s.fault("gone", verb="list")
        a = self.s.get(SERVICES)
        self.assertEqual((a.status, a.json()["reason"]), (410, "Expired"))

    def test_status_with_cause(self):
        self.s.fault("status", code=504, cause="ResourceVersionTooLarge")
        a = self.s.get(SERVICES).json()
        self.assertEqual((a["reason"], a["details"]["causes"][0]["reason"]),
                         ("Timeout", "ResourceVersionTooLarge"))

    def test_gone_on_a_later_page(self):
        for name in "abc":
            self.make(name)
        for fresh in (False, True):
            self.s.fault("gone", **{"continue": True, "freshContinue": fresh})
            token = self.s.get(SERVICES, limit=2).json()["metadata"]["continue"]
            a = self.s.get(SERVICES, limit=2, **{"continue": token})
            self.assertEqual((a.status, "continue" in a.json()["metadata"]), (410, fresh))

    def test_drop_and_truncate(self):
        self.make("a")
        self.s.fault("drop")
        with self.s.connect() as c, self.assertRaises(EOFError):
            c.request("GET", SERVICES)
        self.s.fault("truncate")
        a = self.s.get(SERVICES)
        self.assertEqual((a.status, a.complete), (200, False))
        self.assertEqual(len(a.body), int(a.headers["content-length"]) // 2)

    def test_stall_until_removed(self):
        self.s.fault("stall")
        with self.s.connect() as c:
            c.send("GET", SERVICES)
            c.sock.settimeout(0.15)
            with self.assertRaises(socket.timeout):
                c.answer()
            c.sock.settimeout(10)
            self.s.clear()
            self.assertEqual(c.answer().status, 200)

    def test_stall_for_good(self):
        self.s.fault("stall", dead=True)
        with self.s.connect() as c:
            c.send("GET", SERVICES)
            self.assertEqual(self.s.get(SERVICES).status, 200)
            self.s.clear()
            c.sock.settimeout(0.15)
            with self.assertRaises(socket.timeout):
                c.answer()

    def test_shapes(self):
        self.make("a")
        plain = self.s.get(SERVICES)
        self.assertIn("content-length", plain.headers)
        for kind in ("chunked", "unframed", "split"):
            self.s.fault(kind)
            a = self.s.get(SERVICES)
            self.assertNotIn("content-length", a.headers)
            self.assertEqual(a.headers.get("transfer-encoding") == "chunked", kind != "unframed")
            self.assertEqual((a.body, a.complete), (plain.body, True))
            if kind == "split":
                self.assertEqual({len(c) for c in a.chunks}, {1})
        self.s.fault("warning", text='299 - "old"')
        self.assertEqual(self.s.get(SERVICES).headers["warning"], '299 - "old"')
        self.assertNotIn("warning", self.s.get(SERVICES).headers)

    def test_slow(self):
        self.make("a")
        size = len(self.s.get(SERVICES).body)
        self.s.fault("slow", bytesPerSecond=size * 4)
        start = time.monotonic()
        with self.s.connect() as c:
            self.assertEqual(len(c.request("GET", SERVICES).body), size)
            self.assertGreater(time.monotonic() - start, 0.2)
            start = time.monotonic()
            c.request("GET", SERVICES)
            self.assertLess(time.monotonic() - start, 0.2)

    def test_body_and_delay(self):
        self.s.fault("body", text='{"kind":"ServiceList","items":null}')
        self.assertIsNone(self.s.get(SERVICES).json()["items"])
        self.s.fault("delay-headers", verb="list", seconds=0.2)
        start = time.monotonic()
        self.assertEqual(self.s.get(SERVICES).status, 200)
        self.assertGreater(time.monotonic() - start, 0.19)

    def test_stale_list(self):
        self.make("a")
        old = self.rv()
        self.delete("a")
        self.s.fault("stale", resourceVersion=old)
        body = self.s.get(SERVICES, resourceVersion="0").json()
        self.assertEqual((len(body["items"]), body["metadata"]["resourceVersion"]), (1, old))


class Refuse(Case):
    args = ["--control", "@/control.sock"]

    def test_refuse(self):
        control = self.s.dir + "/control.sock"
        w = self.watch()
        w.begin()
        for unlink, error in ((False, ConnectionRefusedError), (True, FileNotFoundError)):
            self.s.fault("refuse", unlink=unlink, running=True, path=control)
            with self.assertRaises(error):
                self.s.get(SERVICES)
            self.assertEqual(self.s.request("DELETE", "/_fault", path=control).status, 200)
            self.assertEqual(self.s.get(SERVICES).status, 200)
        self.assertIsNone(w.next())
        self.assertEqual(w.ended, "cut")

    def test_refuse_for_a_time(self):
        self.s.fault("refuse", seconds=0.1)
        with self.assertRaises(ConnectionRefusedError):
            self.s.get(SERVICES)
        time.sleep(0.3)
        self.assertEqual(self.s.get(SERVICES).status, 200)


class WatchFaults(Case):
    """Faults in a stream of events."""
    args = ["--bookmark-interval", "0"]

    def faulty(self, fault, **body):
        self.s.fault(fault, verb="watch", **body)
        return self.watch(resourceVersion=self.rv())

    def ends(self, w, how):
        self.assertIsNone(w.next())
        self.assertEqual(w.ended, how)

    def test_drop(self):
        w = self.faulty("drop", afterEvents=1)
        self.make("a")
        self.make("b")
        self.event(w, "ADDED", "a")
        self.ends(w, "cut")

    def test_running_watches(self):
        watches = [self.watch(resourceVersion=self.rv()) for _ in range(3)]
        for w in watches:
            w.begin()
        self.assertEqual(self.s.fault("drop", running=True)["watches"], 3)
        for w in watches:
            self.ends(w, "cut")
        w = self.watch(resourceVersion=self.rv())
        self.make("a")
        self.event(w, "ADDED", "a")
        self.s.fault("truncate", running=True)
        self.ends(w, "cut")
        self.assertIn(b'{"type":"MODIFIED"', w.text)

    def test_truncate(self):
        w = self.faulty("truncate", afterEvents=1)
        self.make("a")
        self.make("b")
        self.event(w, "ADDED", "a")
        self.ends(w, "cut")
        self.assertIn(b'{"type":"ADDED"', w.text)
        self.assertRaises(ValueError, json.loads, w.text)

    def test_stall(self):
        w = self.faulty("stall", afterEvents=1)
        self.make("a")
        self.event(w, "ADDED", "a")
        self.make("b")
        self.assertTrue(w.quiet())
        self.s.clear()
        self.event(w, "ADDED", "b")

    def test_stalled_watch_left_behind(self):
        w = self.faulty("stall")
        self.make("a")
        self.s.request("POST", "/_compact")
        self.s.clear()
        self.assertEqual(self.event(w, "ERROR")["code"], 410)

    def test_errors(self):
        self.assertEqual(self.event(self.faulty("gone"), "ERROR")["code"], 410)
        self.assertEqual(self.faulty("gone", asHTTP=True).begin(), 410)
        w = self.faulty("error-event")
        self.assertEqual(self.event(w, "ERROR")["code"], 500)
        self.ends(w, "clean")
        self.assertEqual(self.faulty("error-text", code=502).begin(), 502)

    def test_close_at_once(self):
        self.ends(self.faulty("close"), "clean")

    def test_split(self):
        w = self.faulty("split")
        self.make("a", {"text": "ä\"\\"})
        self.assertEqual(self.event(w, "ADDED", "a")["metadata"]["labels"], {"text": "ä\"\\"})
        self.delete("a")
        w.begin()
        self.assertEqual([w.conn.chunk() for _ in range(3)], [b"{", b'"', b"t"])

    def chunks(self, w, n):
        w.begin()
        return [w.conn.chunk() for _ in range(n)]

    def test_coalesce(self):
        w = self.faulty("coalesce", events=3)
        for name in "abc":
            self.make(name)
        self.assertEqual(self.chunks(w, 1)[0].count(b'"type":"ADDED"'), 3)

    def test_coalesce_with_half_an_event(self):
        w = self.faulty("coalesce", events=2, half=True)
        self.make("a")
        self.make("b")
        first, second = self.chunks(w, 2)
        self.assertEqual((first.count(b"\n"), second.count(b"\n")), (1, 1))
        lines = (first + second).splitlines()
        self.assertEqual([json.loads(x)["object"]["metadata"]["name"] for x in lines], ["a", "b"])

    def test_odd_events(self):
        w = self.faulty("malformed")
        self.assertRaises(ValueError, json.loads, w.line())
        self.make("a")
        self.event(w, "ADDED", "a")
        w = self.faulty("unknown-event")
        self.assertNotIn(w.next()["type"], ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"))
        w = self.faulty("inject", text='{"type":"DELETED","object":{"metadata":{"name":"x"}}}')
        self.event(w, "DELETED", "x")

    def test_delayed_headers(self):
        w = self.faulty("delay-headers")
        self.assertTrue(w.quiet())
        self.make("a")
        self.event(w, "ADDED", "a")

    def test_slow(self):
        w = self.faulty("slow", bytesPerSecond=2000)
        start = time.monotonic()
        self.make("a", {"pad": "x" * 400})
        self.event(w, "ADDED", "a")
        self.assertGreater(time.monotonic() - start, 0.2)

    def test_no_end_mark(self):
        self.make("a")
        self.s.fault("no-bookmark", verb="watch")
        w = self.watch(sendInitialEvents="true", allowWatchBookmarks="true",
                       resourceVersionMatch="NotOlderThan")
        self.event(w, "ADDED", "a")
        self.make("b")
        self.event(w, "ADDED", "b")

    def test_large_event(self):
        w = self.watch(resourceVersion=self.rv())
        self.make("a", note="x" * 3000000)
        self.assertEqual(len(self.event(w, "ADDED", "a")["spec"]["note"]), 3000000)

    def test_slow_reader_misses_nothing(self):
        w = self.watch(resourceVersion=self.rv())
        w.begin()
        with self.s.connect() as c:
            for i in range(30):
                body = service("a", note="%d" % i + "x" * 200000)
                a = c.request("PUT" if i else "POST", NS_SERVICES + ("/a" if i else ""), body)
                self.assertIn(a.status, (200, 201))
        notes = [w.next()["object"]["spec"]["note"].rstrip("x") for _ in range(30)]
        self.assertEqual(notes, [str(i) for i in range(30)])


if __name__ == "__main__":
    main()
