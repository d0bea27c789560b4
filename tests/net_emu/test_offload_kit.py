#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""scripts/offload-kit on the emulated NIC, as an owner of a NIC runs it on a real one.

Canary traffic goes over veth pairs in a network namespace of its own. What the report says of the
calls is then typed into dpdk-testpmd on a NIC of the same make: it takes every line.
"""

import os
import re
import subprocess
import sys
import tempfile

import foreign
from foreign import check

ROOT = os.path.dirname(os.path.dirname(foreign.HERE))
KIT = os.path.join(ROOT, "scripts", "offload-kit")
LINKS = "".join(
    "ip link add kit-w%d type veth peer name kit-x%d; ip link set kit-w%d up; ip link set kit-x%d up; "
    % (n, n, n, n) for n in (0, 1))


def run_kit(profile, report, wires=True):
    devices = ["net_emu0,representor=vf[0],step=0,core=%d,profile=%s" % (foreign.cpus()[1], profile)]
    args = []
    if wires:
        devices[0] += ",wire0=net_af_packet0,wire1=net_af_packet1"
        devices = ["net_af_packet%d,iface=%s" % (n, name) for n, name in
                   enumerate(("kit-w0", "kit-w1", "kit-x0", "kit-x1"))] + devices
        args = ["--wire", "net_emu0=net_af_packet2", "--wire", "net_emu0_vf0=net_af_packet3"]
    command = ["unshare", "--net", "sh", "-c",
               "sysctl -qw net.ipv6.conf.default.disable_ipv6=1; " + LINKS + 'exec "$@"', "sh",
               foreign.WITH_PLUGIN, foreign.LIBRARY, KIT, "--report", report, "--plugin",
               foreign.PLUGIN] + args + devices
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200,
                          check=False, text=True)
    return done.returncode, done.stdout


def golden(profile):
    with open(os.path.join(foreign.HERE, "golden", profile + ".caps"), encoding="utf-8") as f:
        return f.read()


def test_report(profile, folder, carried):
    report = os.path.join(folder, profile + ".txt")
    status, text = run_kit(profile, report)
    check(status == 0, "%s: the kit ends with 0" % profile, text)
    with open(report, encoding="utf-8") as f:
        check(f.read() in text, "%s: the report is what was shown" % profile)
    for line in golden(profile).splitlines():
        if " partial " in line and "MARK reaches buffers" not in text:
            continue  # not asked for
        if "  " + line not in text:
            check(False, "%s: the matrix is golden" % profile, line + "\n" + text)
            break
    else:
        check(True, "%s: the matrix is golden" % profile)
    good = re.findall(r" carried: 32 sent, 32 counted, 32 came out right, 0 to the CPU; after "
                      r"removal 32 of 32 to the CPU", text)
    check(len(good) == carried and "NOT CARRIED" not in text,
          "%s: %d kinds of canaries are carried and come out right" % (profile, carried), text)
    return text


def test_silent_no_hit(folder):
    """A NIC that takes rules and does not act by them is told."""
    status, text = run_kit("mlx5-sws,nohit=1", os.path.join(folder, "nohit.txt"))
    check(status == 1 and "NOT CARRIED" in text and "32 to the CPU" in text,
          "rules that never hit are told", text)


def test_replay(text, folder):
    """testpmd takes the calls as they stand in the report."""
    lines = text[text.index("the last calls, as testpmd takes them"):].splitlines()
    # testpmd of 22.11 reads lines of up to 511 bytes: the longest rules, with both MACs, are left out.
    commands = [line for line in lines if line.startswith(("set ", "flow validate ")) and
                len(line) < 512]
    kinds = {}
    for command in commands:  # one of each kind is enough: by its actions and the items
        kinds.setdefault(re.sub(r"(?<= )[0-9a-fx.:]*\d[0-9a-fx.:]*", "N", command), command)
    log = os.path.join(folder, "testpmd.log")
    t = foreign.Terminal(
        [foreign.WITH_PLUGIN, foreign.LIBRARY, "dpdk-testpmd"] +
        foreign.eal_args("net_emu0,representor=vf[0],profile=mlx5-sws,core=%d" % foreign.cpus()[1]) +
        ["--", "-i", "--total-num-mbufs=8192", "--nb-cores=1"], "testpmd> ", log)
    if not check(t.read(60) is not None, "testpmd starts"):
        return
    t.run("port stop all")
    t.run("port start all")
    refused = []
    for command in commands:
        if command not in kinds.values():
            continue
        answer = t.run(command)
        if command.startswith("flow ") and "Flow rule validated" not in answer or \
                "Bad arguments" in answer:
            refused.append(command + "\n" + answer)
    check(len(kinds) > 15 and not refused, "testpmd takes %d kinds of calls" % len(kinds),
          "\n".join(refused))
    t.close("quit")


def main():
    foreign.need("dpdk-testpmd", "unshare", "ip",
                 os.environ.get("SLUICE_OFFLOAD_PROBE", "SLUICE_OFFLOAD_PROBE"))
    with tempfile.TemporaryDirectory(prefix="sluice-kit-") as folder:
        test_report("mlx5-sws", folder, 32)
        test_report("nfp", folder, 32)
        test_report("sfc-25", folder, 20)
        test_report("none", folder, 0)
        test_silent_no_hit(folder)
        # Without wires the NIC's ports have the numbers that they have in testpmd.
        _, text = run_kit("mlx5-sws", os.path.join(folder, "replay.txt"), wires=False)
        test_replay(text, folder)
    foreign.finish()


if __name__ == "__main__":
    sys.exit(main())
