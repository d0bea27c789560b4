# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Medians and verdicts of the perf suite. No sample is ever left out."""

import math

THRESHOLD = 0.03  # smaller changes are not called changes


def median(values):
    s = sorted(values)
    n = len(s)
    return s[n // 2] if n % 2 else (s[n // 2 - 1] + s[n // 2]) / 2


def mad(values):
    m = median(values)
    return median([abs(v - m) for v in values])


def summary(samples):
    m = median(samples)
    return {"n": len(samples), "median": m, "min": min(samples), "max": max(samples),
        "mad": mad(samples), "spread_percent": round(100 * mad(samples) / m, 2) if m else 0}


def remark(result):
    """What makes a result doubtful."""
    words = ["noisy"] if result["summary"]["spread_percent"] > 5 else []
    words += [result["machine"]["moved"]] if result.get("machine", {}).get("moved") else []
    return ", ".join(words)


def mann_whitney(a, b):
    """Two-sided p by the normal approximation, ties by mid ranks."""
    both = sorted((v, side) for side, values in ((0, a), (1, b)) for v in values)
    rank, at = 0.0, 0
    while at < len(both):
        end = at
        while end < len(both) and both[end][0] == both[at][0]:
            end += 1
        rank += (at + end + 1) / 2 * sum(side == 0 for _, side in both[at:end])
        at = end
    n, m = len(a), len(b)
    u = rank - n * (n + 1) / 2
    sigma = math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(u - n * m / 2) / sigma / math.sqrt(2)) if sigma else 1.0


def judge(ratio, noisy, certain, better):
    worse = ratio - 1 if better == "lower" else 1 / ratio - 1
    if abs(ratio - 1) <= THRESHOLD:
        return "inconclusive" if noisy else "ok"
    if not certain:
        return "inconclusive"
    return "regression" if worse > 0 else "ok, better"


def verdict(a, b, better):
    """Of two sets of samples: (verdict, ratio of medians b to a)."""
    ratio = median(b) / median(a)
    noise = max(mad(a) / median(a), mad(b) / median(b))
    certain = mann_whitney(a, b) < 0.01 and abs(ratio - 1) > 3 * noise
    return judge(ratio, noise > 0.05, certain, better), ratio


def verdict_pairs(a, b, better):
    """Of interleaved runs: the median of the pairs' ratios, certain if nine in ten agree."""
    ratios = [y / x for x, y in zip(a, b)]
    ratio = median(ratios)
    agree = sum((r > 1) == (ratio > 1) for r in ratios)
    return judge(ratio, mad(ratios) > 0.05, agree >= 0.9 * len(ratios), better), ratio
