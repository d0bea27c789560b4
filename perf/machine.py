# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What a figure depends on: the machine and the build."""

import glob
import hashlib
import json
import os
import platform
import subprocess
import time

CLOCK_MOVED = 0.02    # of the ticks of an addition: the core's clock
LOADS_MOVED = 0.25    # of the ticks of a load from 24 MiB: neighbours in the last level cache
# Units of what is counted and not timed: no machine's state changes it.
COUNTED = ("bytes", "instructions", "points", "% above", "of the oracle", "of the slots")


def read(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except OSError:
        return ""


def field(text, name):
    for row in text.splitlines():
        if row.split(":")[0].strip() == name:
            return row.split(":", 1)[1].strip()
    return "unknown"


def output(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def steal(before=None):
    """Without an argument: a mark. With one: percent of time stolen since it."""
    words = [int(w) for w in read("/proc/stat").splitlines()[0].split()[1:9]]
    if before is None:
        return words
    total = sum(words) - sum(before)
    return 100 * (words[7] - before[7]) / total if total else 0.0


def state(program):
    """Ticks of an addition and of a load, now (perf/bench_machine.c)."""
    return json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


def moved(before, after):
    """What was different after a program, or None."""
    if abs(after["addition"] / before["addition"] - 1) > CLOCK_MOVED:
        return "clock moved"
    if abs(after["load"] / before["load"] - 1) > LOADS_MOVED:
        return "cache of others"
    return None


def doctor(program):
    """[(what, value, complaint or None)] of this moment."""
    mark, states = steal(), []
    for _ in range(8):
        states.append(state(program))
        time.sleep(0.1)
    stolen = steal(mark)
    clock = [s["addition"] for s in states]
    loads = sorted(s["load"] for s in states)
    spread = max(clock) / min(clock) - 1
    load, mem = float(read("/proc/loadavg").split()[0]), read("/proc/meminfo")
    pages = int(field(mem, "HugePages_Free") or 0)
    memory = int(field(mem, "MemAvailable").split()[0]) >> 20
    governor = facts()["governor"]
    return [
        ("cores", str(os.cpu_count()), None if os.cpu_count() >= 2 else "two are needed"),
        ("load", f"{load:.2f}", None if load < 0.5 else "others are running"),
        ("steal", f"{stolen:.2f} %", None if stolen < 0.5 else "the hypervisor gives time to others"),
        ("clock", f"{min(clock):.3f} ticks an addition, +{100 * spread:.1f} %",
            None if spread < CLOCK_MOVED else "not steady"),
        ("a load from 24 MiB", f"{loads[0]:.0f} .. {loads[-1]:.0f} ticks",
            None if loads[-1] < loads[0] * (1 + LOADS_MOVED) else "others use the cache"),
        ("governor", governor, None if governor in ("none", "performance") else "the clock may change"),
        ("free hugepages", str(pages), None if pages >= 512 else "peers want 512 of 2 MiB"),
        ("memory available", f"{memory} GiB", None if memory >= 6 else "16M flows want 6 GiB"),
        ("root", "yes" if os.geteuid() == 0 else "no",
            None if os.geteuid() == 0 else "peers and churn will be absent"),
    ]


def facts():
    cpu, mem = read("/proc/cpuinfo"), read("/proc/meminfo")
    f = {
        "cpu": field(cpu, "model name"), "cores": os.cpu_count(), "mhz": field(cpu, "cpu MHz"),
        "cache": field(cpu, "cache size"), "memory": field(mem, "MemTotal"),
        "hugepages": field(mem, "HugePages_Total"),
        "transparent_hugepages": read("/sys/kernel/mm/transparent_hugepage/enabled").strip(),
        "kernel": platform.release(), "hypervisor": "hypervisor" in cpu,
        "dpdk": output("pkg-config", "--modversion", "libdpdk"),
        "ovs": output("ovs-vswitchd", "--version").partition("\n")[0],
        "nft": output("nft", "--version"), "valgrind": output("valgrind", "--version"),
        "numa_nodes": len(glob.glob("/sys/devices/system/node/node[0-9]*")),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "none",
        "mitigations": read("/sys/devices/system/cpu/vulnerabilities/spectre_v2").strip(),
    }
    key = [str(f[k]) for k in ("cpu", "cores", "cache", "memory", "kernel")]
    f["fingerprint"] = hashlib.sha256("|".join(key).encode()).hexdigest()[:12]
    f["load"] = read("/proc/loadavg").split()[:3]
    return f


def build_facts(build):
    facts_ = {"folder": build, "git": output("git", "describe", "--always", "--dirty")}
    try:
        options = json.loads(output("meson", "introspect", build, "--buildoptions") or "[]")
        wanted = ("buildtype", "b_lto", "cpu", "sanitize")
        facts_.update({o["name"]: o["value"] for o in options if o["name"] in wanted})
        compilers = json.loads(output("meson", "introspect", build, "--compilers") or "{}")
        facts_["compiler"] = compilers.get("host", {}).get("c", {}).get("full_version", "unknown")
    except json.JSONDecodeError:
        pass
    return facts_
