# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""One self-contained page of a result: tables and SVG plots, no script, no network."""

import html
import math
import time

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:left;
border-bottom:1px solid #8884}td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}
.grid{stroke:currentColor;opacity:.15}.bad{color:#c33}
:root{color-scheme:light dark}"""
COLOURS = ("#2a6fdb", "#d9622b", "#2c9a5a", "#9b4fc4", "#b58900", "#c0397b")
WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 720, 320, 60, 40, 190, 20


def short(v):
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if v >= limit:
            return f"{v / limit:.3g}{letter}"
    return f"{v:.3g}"


def plot(title, x_name, unit, better, series):
    """series: {name: [(x, samples)]}; every sample is a dot, medians are joined."""
    xs = [math.log10(x) for points in series.values() for x, _ in points]
    top = max(v for points in series.values() for _, samples in points for v in samples) * 1.05
    low, high = min(xs), max(xs)

    def px(x):
        return LEFT + (math.log10(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def py(y):
        return HEIGHT - BOTTOM - y / top * (HEIGHT - BOTTOM - TOP)

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">']
    for step in range(5):
        y = top * step / 4
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(y):.1f}" '
            f'y2="{py(y):.1f}" stroke="currentColor"/>'
            f'<text x="{LEFT - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{short(y)}</text>')
    for x in sorted({x for points in series.values() for x, _ in points}):
        out.append(f'<text x="{px(x):.1f}" y="{HEIGHT - BOTTOM + 16}" '
            f'text-anchor="middle">{short(x)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f'{html.escape(x_name)}, logarithmic</text>'
        f'<text x="4" y="12">{html.escape(unit)}, {better} is better</text>')
    for at, (name, points) in enumerate(series.items()):
        colour = COLOURS[at % len(COLOURS)]
        points = sorted(points)
        for x, samples in points:
            out += [f'<circle cx="{px(x):.1f}" cy="{py(v):.1f}" r="2" fill="{colour}" '
                'opacity=".4"/>' for v in samples]
        path = " ".join(f"{px(x):.1f},{py(sorted(s)[len(s) // 2]):.1f}" for x, s in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<rect x="{WIDTH - RIGHT + 14}" y="{TOP + at * 20}" width="12" height="12" '
            f'fill="{colour}"/><text x="{WIDTH - RIGHT + 32}" y="{TOP + at * 20 + 11}">'
            f'{html.escape(name)}</text>')
    out.append("</svg>")
    return "\n".join(out)


def table(cases):
    rows = ["<table><tr><th>case<th>median<th>least<th>most<th>n<th>unit<th>remark</tr>"]
    for c in cases:
        r = c["result"]
        if r["status"] != "ok":
            rows.append(f'<tr><td>{html.escape(c["name"])}<td colspan="6" class="bad">'
                f'{r["status"]}: {html.escape(r["message"])}</tr>')
            continue
        s = r["summary"]
        remark = "noisy" if s["spread_percent"] > 5 else ""
        rows.append(f'<tr><td>{html.escape(c["name"])}<td class="n">{s["median"]:.4g}'
            f'<td class="n">{s["min"]:.4g}<td class="n">{s["max"]:.4g}<td class="n">{s["n"]}'
            f'<td>{html.escape(c["unit"])}<td>{remark}</tr>')
    return "\n".join(rows + ["</table>"])


def facts_table(facts):
    return "<table>" + "".join(f"<tr><td>{html.escape(k)}<td>{html.escape(str(v))}</tr>"
        for k, v in facts.items()) + "</table>"


def write(result, path):
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result["started"]))
    out = ['<!doctype html><html lang="en"><meta charset="utf-8"><title>Sluice perf</title>',
        f"<style>{STYLE}</style><h1>Sluice perf, {result['suite']}</h1><p>{when}, "
        f"{result['seconds']} s. Every trial is shown; nothing is left out. Ticks are those of "
        "the constant-rate counter; compare ratios, not machines.</p>"]
    for name in dict.fromkeys(c["scenario"] for c in result["cases"]):
        cases = [c for c in result["cases"] if c["scenario"] == name]
        first = cases[0]
        out.append(f"<h2>{html.escape(first['title'])}</h2>")
        series = {}
        for c in cases:
            if "x" in c and c["result"]["status"] == "ok":
                series.setdefault(c["series"], []).append((c["x"], c["result"]["samples"]))
        if any(len(points) > 1 for points in series.values()):
            out.append(plot(first["title"], first.get("x_name", "flows"), first["unit"],
                first["better"], series))
        out.append(table(cases))
    out.append("<h2>Machine</h2>" + facts_table(result["machine"]))
    out.append("<h2>Build</h2>" + facts_table(result["build"]))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "</html>\n")
