#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The suite's own judgement: verdicts, goals, the check of frames, scenario files. No measurement.

usage: test_suite.py BENCH_PIPELINE [unittest arguments]"""

import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "peers")]
import frames  # noqa: E402
import goals   # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402
import stats   # noqa: E402
import subjects  # noqa: E402

BENCH = sys.argv.pop(1)


def case(scenario, name, samples, **result):
    return {"scenario": scenario, "name": name, "title": scenario, "unit": "ticks/packet",
        "better": "lower", "result": {"status": "ok", "samples": samples,
        "summary": stats.summary(samples), **result}}


def result(*cases):
    return {"suite": "full", "started": 0, "seconds": 1, "cases": list(cases),
        "machine": {"cpu": "x", "cores": 2, "mhz": "2450", "load": ["0"]}, "build": {"git": "y"}}


class Verdicts(unittest.TestCase):
    def test_a_change_beyond_noise_is_told(self):
        base = [100 + n / 10 for n in range(15)]
        self.assertEqual(stats.verdict(base, [v * 1.1 for v in base], "lower")[0], "regression")
        self.assertEqual(stats.verdict(base, [v * 1.1 for v in base], "higher")[0], "ok, better")
        self.assertEqual(stats.verdict(base, [v * 1.02 for v in base], "lower")[0], "ok")

    def test_noise_is_no_verdict(self):
        wild = [100, 200, 90, 300, 150, 80, 250, 110, 95, 400, 120]
        self.assertEqual(stats.verdict(wild, [v * 1.1 for v in wild], "lower")[0], "inconclusive")

    def test_pairs_have_to_agree(self):
        a = [100.0] * 10
        self.assertEqual(stats.verdict_pairs(a, [110.0] * 10, "lower")[0], "regression")
        self.assertEqual(stats.verdict_pairs(a, [110.0] * 6 + [95.0] * 4, "lower")[0], "inconclusive")


class Goals(unittest.TestCase):
    def verdict(self, row, *cases):
        return next(v for n, _, _, v in goals.judge(result(*cases)) if n == row)

    def test_met_missed_and_not_run(self):
        self.assertEqual(self.verdict(4), "not run")
        plain = case("ratios", "ipv4 plain 10k", [50.0])
        self.assertEqual(self.verdict(4, plain, case("ratios", "ipv4 dnat 10k", [80.0])), "met")
        self.assertEqual(self.verdict(4, plain, case("ratios", "ipv4 dnat 10k", [81.0])), "missed")

    def test_a_missing_part_is_not_met(self):
        self.assertEqual(self.verdict(6, case("memory", "ipv4 1M", [150.0])), "incomplete")

    def test_rates_need_the_clock(self):
        new = case("new-flows", "ipv4 udp 256k", [500.0])
        self.assertIsNone(goals.Result(result(new)).rate("new-flows", "ipv4 udp 256k"))
        new["result"]["ticks_per_second"] = 2.5e9
        self.assertEqual(goals.Result(result(new)).rate("new-flows", "ipv4 udp 256k"), 5)

    def test_every_goal_names_a_case_that_is_there(self):
        known = set()
        for path in glob.glob(os.path.join(HERE, "scenarios", "*.json")):
            with open(path, encoding="utf-8") as f:
                known |= {(os.path.basename(path)[:-5], c["name"]) for c in json.load(f)["cases"]}
        everything = result(*[case(s, n, [1.0], ticks_per_second=1e9) for s, n in known])
        for row, _, lines, _ in goals.judge(everything):
            self.assertNotIn(None, [ok for _, ok in lines], f"goal {row}")

    def test_the_table_is_written_between_its_marks(self):
        with tempfile.NamedTemporaryFile("w+", suffix=".md") as f:
            f.write("a\n" + goals.BEGIN + "old\n" + goals.END + "b\n")
            f.flush()
            goals.write_into(result(case("memory", "ipv4 1M", [150.0])), f.name)
            with open(f.name, encoding="utf-8") as g:
                text = g.read()
        self.assertTrue(text.startswith("a\n") and text.endswith("b\n"))
        self.assertIn("IPv4 150", text)
        self.assertNotIn("old", text)


class Frames(unittest.TestCase):
    """What a subject sends is right, or found out."""

    def sent(self, to_backend):
        src, sport = frames.client(5)
        if to_backend:
            return frames.frame(frames.GATEWAY_MAC, src, sport, frames.ip(frames.BACKEND), 8080, ttl=63)
        return frames.frame(frames.GATEWAY_MAC, frames.ip(frames.VIP), 80, src, sport, ttl=63)

    def test_right_frames(self):
        self.assertIsNone(frames.wrong(self.sent(True), True))
        self.assertIsNone(frames.wrong(self.sent(False), False))

    def test_every_flipped_byte_behind_the_macs_is_found(self):
        good = self.sent(True)
        for at in range(12, len(good)):
            bad = good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1:]
            self.assertIsNotNone(frames.wrong(bad, True), f"byte {at}")

    def test_untranslated_frames_are_found(self):
        self.assertIsNotNone(frames.wrong(frames.requests([5])[0], True))
        self.assertIsNotNone(frames.wrong(self.sent(True), False))

    def test_files_come_back(self):
        with tempfile.TemporaryDirectory() as folder:
            one, two = frames.write_both(folder, 64)
            self.assertEqual(sorted(frames.read(one)), sorted(frames.requests(range(64))))
            self.assertEqual(len(frames.read(two)), 64)


class Scenarios(unittest.TestCase):
    def test_files_are_whole(self):
        for path in glob.glob(os.path.join(HERE, "scenarios", "*.json")):
            with open(path, encoding="utf-8") as f:
                s = json.load(f)
            self.assertIn(s["better"], ("lower", "higher"), path)
            names = [c["name"] for c in s["cases"]]
            self.assertEqual(len(names), len(set(names)), path)
            for c in s["cases"]:
                self.assertEqual("command" in c, "command" not in s, f"{path}: {c['name']}")

    def test_the_page_is_written(self):
        with tempfile.NamedTemporaryFile(suffix=".html") as f:
            one = case("ipv4", "udp 1k", [50.0, 51.0], ticks_per_second=2.5e9)
            two = case("ipv4", "udp 1M", [150.0, 90000.0])
            one.update(series="udp", x=1000)
            two.update(series="udp", x=1000000)
            bad = case("ipv4", "udp 4M", [1.0])
            bad["result"] = {"status": "failed", "message": "a <reason>"}
            report.write(result(one, two, bad), f.name)
            page = f.read().decode()
        self.assertIn("<svg", page)
        self.assertIn("failed: a &lt;reason&gt;", page)
        self.assertNotIn("<script", page)


class Hooks(unittest.TestCase):
    """A program of somebody else's becomes a row, and tells when it cannot run."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.environ["SLUICE_PEERS"] = self.folder.name
        self.addCleanup(os.environ.pop, "SLUICE_PEERS")

    def hook(self, name, script):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return subjects.Hook(subjects.hooks()[name], "/scratch", ("a.pcap", "b.pcap"))

    def test_a_program_is_told_files_and_processors(self):
        hook = self.hook("vpp", '[ "$*" = "/scratch a.pcap b.pcap 0.5" ] || exit 1\n'
            '[ "$PEER_WORKER_CPU" -ne "$PEER_CONTROL_CPU" ] && echo \'{"ticks": 81.5}\'\n')
        self.assertEqual(hook.ticks(0.5), (81.5, 81.5))

    def test_absent_and_failed_are_told_apart(self):
        with self.assertRaisesRegex(subjects.Absent, "no huge pages"):
            self.hook("other", "echo no huge pages; exit 77\n").ticks(1)
        with self.assertRaisesRegex(subjects.Failed, "crashed"):
            self.hook("other", "echo crashed >&2; exit 3\n").ticks(1)

    def test_those_that_readers_look_for_are_absent_by_name(self):
        self.assertEqual(set(subjects.hooks()), {"vpp", "grout"})
        with self.assertRaises(subjects.Absent):
            subjects.Hook(subjects.hooks()["grout"], "/scratch", ()).ticks(1)


class Machine(unittest.TestCase):
    def test_a_moved_clock_is_told_and_makes_no_verdict_but_ok(self):
        still = {"addition": 0.75, "load": 200}
        self.assertIsNone(machine.moved(still, {"addition": 0.751, "load": 210}))
        self.assertEqual(machine.moved(still, {"addition": 0.9, "load": 200}), "clock moved")
        self.assertEqual(machine.moved(still, {"addition": 0.75, "load": 300}), "cache of others")
        doubtful = case("ipv4", "udp 1k", [50.0, 51.0], machine={"moved": "clock moved"})
        self.assertIn("clock moved", stats.remark(doubtful["result"]))


    def test_units_that_are_counted_are_in_scenarios(self):
        units = set()
        for path in glob.glob(os.path.join(HERE, "scenarios", "*.json")):
            with open(path, encoding="utf-8") as f:
                s = json.load(f)
            units |= {s["unit"], *(c["unit"] for c in s["cases"] if "unit" in c)}
        for start in machine.COUNTED:
            self.assertTrue(any(u.startswith(start) for u in units), start)


class Bench(unittest.TestCase):
    """The benchmark's own check is alive: every mode checks packets, and none of them is wrong."""

    def run_bench(self, *args):
        done = subprocess.run([BENCH, "--rounds", "1", "--bursts", "20", "--flows", "1024", *args],
            capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"{args}: {done.stderr}")
        return json.loads(done.stdout)

    def test_every_kind_of_traffic(self):
        for args in (["--plain"], ["--tcp"], ["--v6"], ["--nodeport"], ["--nodeport", "--v6", "--tcp"],
                ["--fragments"], ["--fragments", "--v6"], ["--size", "60,576,1514"], ["--policy"],
                ["--services", "100"], ["--services", "100", "--v6"], ["--hot", "1"], ["--zipf", "1.1"],
                ["--floor"]):
            out = self.run_bench(*args)
            self.assertEqual(out["packets"], 1280, args)
            self.assertGreater(out["checked"], 0, args)

    def test_new_flows(self):
        for args in ([], ["--tcp", "--v6"], ["--services", "100"], ["--policy"]):
            self.assertEqual(self.run_bench("--new", *args)["packets"], 1024 + 1280, args)

    def test_flood_and_memory(self):
        self.assertGreater(self.run_bench("--flood", "3", "--tcp")["samples"][0], 0)
        self.assertGreater(self.run_bench("--memory")["samples"][0], 64)

    def test_bad_arguments_are_refused(self):
        for args in (["--size", "20"], ["--workers", "3"], ["--flood", "0"], ["--hot", "5000"]):
            self.assertEqual(subprocess.run([BENCH, "--flows", "1024", *args], capture_output=True,
                check=False).returncode, 2, args)


if __name__ == "__main__":
    unittest.main()
