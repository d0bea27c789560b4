# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""One self-contained page of a result: tables and SVG plots, no script, no network."""

import html
import math
import time

import goals
import stats

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:left;
border-bottom:1px solid #8884}td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}
.grid{stroke:currentColor;opacity:.15}.bad{color:#c33}
:root{color-scheme:light dark}"""
COLOURS = ("#2a6fdb", "#d9622b", "#2c9a5a", "#9b4fc4", "#b58900", "#c0397b")
LABEL_ROOM = 38    # pixels between the middles of two labels below an axis
WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 720, 320, 60, 40, 190, 20


def short(v):
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if v >= limit:
            return f"{v / limit:.3g}{letter}"
    return f"{v:.3g}"


def nearly_log(values):
    """A logarithmic axis where a linear one would hide the small values."""
    low = min(values)
    return low > 0 and max(values) / low > 50


def round_step(v):
    """The smallest 1, 2 or 5 times a power of ten that is not less."""
    power = 10 ** math.floor(math.log10(v))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= v * 0.999)


class Axis:
    """Values to pixels."""

    def __init__(self, low, high, start, end, logarithmic):
        self.log = logarithmic
        self.low, self.high = (math.log10(low), math.log10(high)) if logarithmic else (low, high)
        self.start, self.end = start, end

    def at(self, v):
        v = math.log10(v) if self.log else v
        return self.start + (v - self.low) / ((self.high - self.low) or 1) * (self.end - self.start)

    def ticks(self):
        if not self.log:
            step = round_step((self.high - self.low) / 5)
            return [n * step for n in range(math.ceil(self.low / step),
                math.floor(self.high / step) + 1)]
        return [10 ** e for e in range(math.ceil(self.low), math.floor(self.high) + 1)]


def value_axis(values, start, end):
    if nearly_log(values):
        return Axis(min(values) / 1.2, max(values) * 1.2, start, end, True)
    return Axis(0, max(values) * 1.05 or 1, start, end, False)


def plot(title, x_name, unit, better, series):
    """series: {name: [(x, samples)]}; every sample is a dot, medians are joined."""
    xs = [x for points in series.values() for x, _ in points]
    x = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, True)
    y = value_axis([v for points in series.values() for _, samples in points for v in samples],
        HEIGHT - BOTTOM, TOP)
    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">']
    for v in y.ticks():
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(v):.1f}" '
            f'y2="{y.at(v):.1f}" stroke="currentColor"/>'
            f'<text x="{LEFT - 6}" y="{y.at(v) + 4:.1f}" text-anchor="end">{short(v)}</text>')
    last = -LABEL_ROOM
    for v in sorted(set(xs)):
        if x.at(v) - last < LABEL_ROOM:
            continue
        last = x.at(v)
        out.append(f'<text x="{x.at(v):.1f}" y="{HEIGHT - BOTTOM + 16}" '
            f'text-anchor="middle">{short(v)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f'{html.escape(x_name)}, logarithmic</text>'
        f'<text x="4" y="12">{html.escape(unit)}{", logarithmic" if y.log else ""}, '
        f'{better} is better</text>')
    for at, (name, points) in enumerate(series.items()):
        colour = COLOURS[at % len(COLOURS)]
        points = sorted(points)
        for px, samples in points:
            out += [f'<circle cx="{x.at(px):.1f}" cy="{y.at(v):.1f}" r="2" fill="{colour}" '
                'opacity=".4"/>' for v in samples]
        path = " ".join(f"{x.at(px):.1f},{y.at(stats.median(s)):.1f}" for px, s in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<rect x="{WIDTH - RIGHT + 14}" y="{TOP + at * 20}" width="12" height="12" '
            f'fill="{colour}"/><text x="{WIDTH - RIGHT + 32}" y="{TOP + at * 20 + 11}">'
            f'{html.escape(name)}</text>')
    out.append("</svg>")
    return "\n".join(out)


def strips(title, unit, better, rows):
    """rows: [(name, samples)]: a line each, every sample a dot, the median a bar."""
    height = TOP + 22 * len(rows) + BOTTOM
    x = value_axis([v for _, samples in rows for v in samples], 260, WIDTH - 20)
    out = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">']
    for v in x.ticks():
        out.append(f'<line class="grid" x1="{x.at(v):.1f}" x2="{x.at(v):.1f}" y1="{TOP - 4}" '
            f'y2="{height - BOTTOM}" stroke="currentColor"/><text x="{x.at(v):.1f}" '
            f'y="{height - BOTTOM + 16}" text-anchor="middle">{short(v)}</text>')
    for at, (name, samples) in enumerate(rows):
        y = TOP + 22 * at + 10
        colour = COLOURS[at % len(COLOURS)]
        out.append(f'<text x="250" y="{y + 4}" text-anchor="end">{html.escape(name)}</text>')
        out += [f'<circle cx="{x.at(v):.1f}" cy="{y}" r="3" fill="{colour}" opacity=".4"/>'
            for v in samples]
        m = x.at(stats.median(samples))
        out.append(f'<line x1="{m:.1f}" x2="{m:.1f}" y1="{y - 8}" y2="{y + 8}" stroke="{colour}" '
            'stroke-width="3"/>')
    out.append(f'<text x="4" y="{height - 6}">{html.escape(unit)}'
        f'{", logarithmic" if x.log else ""}, {better} is better</text></svg>')
    return "\n".join(out)


def plots_of(cases):
    """The plots of a scenario: against x where its cases have one, else a strip a case; a unit each."""
    first, out = cases[0], []
    good = [c for c in cases if c["result"]["status"] == "ok" and c["result"]["samples"]]
    for unit in dict.fromkeys(c["unit"] for c in good):
        series = {}
        same = [c for c in good if c["unit"] == unit]
        for c in same:
            if "x" in c:
                x = 1 / (1 - c["x"] / 100) if first["scenario"] == "latency" else c["x"]
                series.setdefault(c["series"], []).append((x, c["result"]["samples"]))
        if first["scenario"] == "workers":
            series = {c["name"]: [(1, [1.0]), (2, c["result"]["samples"])] for c in same}
        if any(len(points) > 1 for points in series.values()):
            name = {"latency": "one packet in", "workers": "workers"}.get(first["scenario"],
                first.get("x_name", "flows"))
            out.append(plot(first["title"], name, unit, first["better"], series))
            out += rate_plot(first, same) if unit in ("ticks/packet", "ticks/flow") else []
        elif len(same) > 1:
            out.append(strips(first["title"], unit, first["better"],
                [(c["name"], c["result"]["samples"]) for c in same]))
    return "\n".join(out)


def rate_plot(first, cases):
    """The same as a rate of one core, where the program told the clock."""
    series = {}
    for c in cases:
        hz = c["result"].get("ticks_per_second")
        if "x" in c and hz:
            series.setdefault(c["series"], []).append(
                (c["x"], [hz / v / 1e6 for v in c["result"]["samples"]]))
    if not any(len(points) > 1 for points in series.values()):
        return []
    return [plot(first["title"] + ", rate", first.get("x_name", "flows"),
        "millions a second on one core", "higher", series)]


def goals_table(result):
    rows = ["<table><tr><th>#<th>goal<th>figures<th>verdict</tr>"]
    for row, what, lines, verdict in goals.judge(result):
        parts = "<br>".join(f'<span class="bad">{html.escape(text)}</span>' if ok is False
            else html.escape(text) for text, ok in lines)
        rows.append(f"<tr><td>{row}<td>{html.escape(what)}<td>{parts}<td>{verdict}</tr>")
    return "\n".join(rows + ["</table>"])


def table(cases):
    rows = ["<table><tr><th>case<th>median<th>least<th>most<th>n<th>unit<th>remark</tr>"]
    for c in cases:
        r = c["result"]
        if r["status"] != "ok":
            rows.append(f'<tr><td>{html.escape(c["name"])}<td colspan="6" class="bad">'
                f'{r["status"]}: {html.escape(r["message"])}</tr>')
            continue
        s = r["summary"]
        rows.append(f'<tr><td>{html.escape(c["name"])}<td class="n">{s["median"]:.4g}'
            f'<td class="n">{s["min"]:.4g}<td class="n">{s["max"]:.4g}<td class="n">{s["n"]}'
            f'<td>{html.escape(c["unit"])}<td>{stats.remark(r)}</tr>')
    return "\n".join(rows + ["</table>"])


def facts_table(facts):
    return "<table>" + "".join(f"<tr><td>{html.escape(k)}<td>{html.escape(str(v))}</tr>"
        for k, v in facts.items()) + "</table>"


def write(result, path):
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result["started"]))
    out = ['<!doctype html><html lang="en"><meta charset="utf-8"><title>Sluice perf</title>',
        f"<style>{STYLE}</style><h1>Sluice perf, {result['suite']}</h1><p>{when}, "
        f"{result['seconds']} s. Every trial is shown; nothing is left out. Ticks are those of "
        "the constant-rate counter; compare ratios, not machines.</p>", "<h2>Goals</h2>",
        goals_table(result)]
    for name in dict.fromkeys(c["scenario"] for c in result["cases"]):
        cases = [c for c in result["cases"] if c["scenario"] == name]
        out.append(f"<h2>{html.escape(cases[0]['title'])}</h2>")
        out.append(plots_of(cases))
        out.append(table(cases))
    out.append("<h2>Machine</h2>" + facts_table(result["machine"]))
    out.append("<h2>Build</h2>" + facts_table(result["build"]))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "</html>\n")
