# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The goals of the suite against a result. A row whose cases did not run has no verdict, and one with
a part that is missing cannot be met."""

import time

from stats import median

AT_MOST, AT_LEAST = "at most", "at least"


class Result:
    def __init__(self, result):
        self.cases = {(c["scenario"], c["name"]): c["result"] for c in result["cases"]}

    def value(self, scenario, name):
        """The median, or None."""
        r = self.cases.get((scenario, name))
        return median(r["samples"]) if r and r["status"] == "ok" and r["samples"] else None

    def ratio(self, a, b):
        x, y = self.value(*a), self.value(*b)
        return x / y if x is not None and y else None

    def rate(self, scenario, name):
        """Operations a second, in millions, of a case in ticks an operation."""
        r = self.cases.get((scenario, name), {})
        ticks = self.value(scenario, name)
        hz = r.get("ticks_per_second")
        return hz / ticks / 1e6 if ticks and hz else None

    def least(self, scenario, prefix):
        found = [self.value(*k) for k in self.cases if k[0] == scenario and k[1].startswith(prefix)]
        found = [v for v in found if v is not None]
        return min(found) if found else None

    def most(self, scenario, prefix):
        found = [self.value(*k) for k in self.cases if k[0] == scenario and k[1].startswith(prefix)]
        found = [v for v in found if v is not None]
        return max(found) if found else None


# Row, what it is about, and its parts: what, figure of a Result, bound, limit, unit. Ticks are those of
# the machine at hand; the limits in ticks were set for 2.45 GHz.
TEN_K = ("ratios", "ipv4 dnat 10k")
GOALS = [
    (1, "established ClusterIP DNAT on the devices of OVS-DPDK", [
        ("of OVS ct(nat)", lambda r: r.ratio(("peers", "sluiced dnat"), ("peers", "ovs ct(nat)")),
            AT_MOST, 1 / 6, "x"),
        ("of OVS port to port", lambda r: r.ratio(("peers", "sluiced dnat"), ("peers", "ovs plain")),
            AT_MOST, 1, "x")]),
    (2, "established ClusterIP DNAT in process, 10k flows", [
        ("IPv4", lambda r: r.value(*TEN_K), AT_MOST, 110, "ticks"),
        ("IPv4", lambda r: r.value("instructions", "ipv4 udp dnat"), AT_MOST, 260, "instructions"),
        ("IPv6 of IPv4", lambda r: r.ratio(("ratios", "ipv6 dnat 10k"), TEN_K), AT_MOST, 1.3, "x")]),
    (3, "250k, 1M, 4M flows, uniform random", [
        (f"{n}", lambda r, n=n: r.value("ratios", f"ipv4 dnat {n}"), AT_MOST, limit, "ticks")
        for n, limit in (("250k", 140), ("1M", 170), ("4M", 200))] + [
        (f"{n} of 10k", lambda r, n=n: r.ratio(("ratios", f"ipv4 dnat {n}"), TEN_K), AT_MOST, 1.9, "x")
        for n in ("250k", "1M", "4M")]),
    (4, "service NAT over plain forwarding", [
        ("10k flows", lambda r: r.ratio(TEN_K, ("ratios", "ipv4 plain 10k")), AT_MOST, 1.6, "x")]),
    (5, "new flows a second, both directions", [
        ("256k", lambda r: r.rate("new-flows", "ipv4 udp 256k"), AT_LEAST, 4, "M/s"),
        ("4M, with ageing", lambda r: r.rate("new-flows", "ipv4 udp 4M"), AT_LEAST, 2.5, "M/s"),
        ("of OVS", lambda r: r.ratio(("peers-new-flows", "ovs ct(commit,nat)"),
            ("peers-new-flows", "sluiced")), AT_LEAST, 5, "x")]),
    (6, "memory a connection, at 80 % load", [
        ("IPv4", lambda r: r.value("memory", "ipv4 1M"), AT_MOST, 160, "B"),
        ("IPv6", lambda r: r.value("memory", "ipv6 1M"), AT_MOST, 256, "B")]),
    (7, "two workers against one", [
        ("10k flows", lambda r: r.value("workers", "ipv4 udp dnat 10k"), AT_LEAST, 1.9, "x")]),
    (8, "first packet, 100k services against 1", [
        ("IPv4", lambda r: r.ratio(("first-packet", "100k services"), ("first-packet", "1 services")),
            AT_MOST, 1.15, "x")]),
    (9, "full sync, bytes to visible", [
        ("10k services", lambda r: r.value("sync", "full sync 10k"), AT_MOST, 0.3, "s"),
        ("100k services", lambda r: r.value("sync", "full sync 100k"), AT_MOST, 3, "s")]),
    (10, "one EndpointSlice event at 100k services", [
        ("p50", lambda r: r.value("sync", "event p50 100k"), AT_MOST, 200, "us"),
        ("p99", lambda r: r.value("sync", "event p99 100k"), AT_MOST, 2000, "us"),
        ("p50 of 1k's", lambda r: r.ratio(("sync", "event p50 100k"), ("sync", "event p50 1k")),
            AT_MOST, 1.5, "x")]),
    (11, "10,000 endpoint changes a second, none lost", [
        ("of the quiet rate", lambda r: r.value("churn", "10,000 changes a second"), AT_LEAST, 0.97,
            "x")]),
    (12, "choice of an endpoint", [
        ("build", lambda r: r.most("choice", "build"), AT_MOST, 10, "ns/slot"),
        ("imbalance", lambda r: r.most("choice", "imbalance"), AT_MOST, 1, "%"),
        ("disruption above the ideal", lambda r: r.most("choice", "disruption"), AT_MOST, 0.2,
            "points")]),
    (13, "SYN flood at ten times the rated new flows, none lost", [
        ("of the quiet rate", lambda r: r.least("flood", "tcp 100k flows, 10"), AT_LEAST, 0.9, "x"),
        ("1M flows", lambda r: r.least("flood", "tcp 1M flows, 10"), AT_LEAST, 0.9, "x"),
        ("the queue of first packets never empty", lambda r: r.least("flood", "tcp 100k flows, endless"),
            AT_LEAST, 0.9, "x")]),
    (14, "time in a worker at half load", [
        ("p50", lambda r: r.value("latency", "p50"), AT_MOST, 5, "us"),
        ("p99", lambda r: r.value("latency", "p99"), AT_MOST, 20, "us")]),
    (15, "idle worker", [
        ("CPU", lambda r: r.most("idle", "CPU, "), AT_MOST, 3, "% of a core"),
        ("wake-up p50", lambda r: r.most("idle", "wake-up p50, "), AT_MOST, 100, "us"),
        ("wake-up p99", lambda r: r.most("idle", "wake-up p99, "), AT_MOST, 100, "us")]),
]


def number(v):
    return f"{v:.3g}" if abs(v) < 1000 else f"{v:.0f}"


def met(value, bound, limit):
    return value <= limit if bound == AT_MOST else value >= limit


def judge(result):
    """[(row, what, [(text of figure and limit, met or None)], verdict)]"""
    r = Result(result)
    out = []
    for row, what, parts in GOALS:
        lines = []
        for label, figure, bound, limit, unit in parts:
            value = figure(r)
            sign = "<=" if bound == AT_MOST else ">="
            shown = "not run" if value is None else number(value)
            lines.append((f"{label} {shown} ({sign} {number(limit)} {unit})",
                None if value is None else met(value, bound, limit)))
        known = [ok for _, ok in lines]
        verdict = "not run" if all(ok is None for ok in known) else (
            "missed" if False in known else "incomplete" if None in known else "met")
        out.append((row, what, lines, verdict))
    return out


def markdown(result):
    """The table for a README, what was missed in bold."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result["started"]))
    m = result["machine"]
    out = [f"`perf/run {result['suite']}` of {when}, {result['seconds']} s; {m['cpu']}, {m['cores']} "
        f"cores, {float(m['mhz']):.0f} MHz counter, load {' '.join(m['load'])} at the start; "
        f"{result['build'].get('compiler', 'unknown compiler')}, {result['build']['git']}.", "",
        "| # | goal | figures | verdict |", "|---|---|---|---|"]
    for row, what, lines, verdict in judge(result):
        out.append(f"| {row} | {what} | " + "; ".join(
            "**" + text + "**" if ok is False else text for text, ok in lines) + f" | {verdict} |")
    return "\n".join(out) + "\n"


BEGIN, END = "<!-- goals: begin -->\n", "<!-- goals: end -->\n"


def write_into(result, path):
    """Replaces what stands between the two marks of a file."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"goals: {path} has no '{BEGIN.strip()}' and '{END.strip()}'")
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + markdown(result) + END + after)


def show(result):
    rows = judge(result)
    for row, what, lines, verdict in rows:
        print(f"{row:3} {what:58} {verdict}")
        for text, ok in lines:
            print(f"       {'-' if ok is None else ' ' if ok else '!'} {text}")
    count = sum(v == "met" for *_, v in rows)
    print(f"    {count} of {len(rows)} met")
