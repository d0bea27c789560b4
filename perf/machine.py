# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What a figure depends on: the machine and the build."""

import glob
import hashlib
import json
import os
import platform
import subprocess


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
