#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""DPDK's own dpdk-test-flow-perf inserts and deletes rules on the emulated NIC.

    meson test net_emu_flow_perf
    tests/net_emu/test_flow_perf.py --eal "-a 0000:03:00.0,representor=vf[0-1]"

It makes partial masks (only the source address counts up), transfer and ingress, from one and from
two threads. What it prints of the emulated NIC is the emulator's speed, of no meaning; the second form
prints a real NIC's, which is the figure to publish for a driver.
"""

import argparse
import re
import shlex
import subprocess

import foreign
from foreign import check

RULES, BATCH = 20000, 10000
FORMS = (
    ("transfer", ["--transfer", "--ether", "--ipv4", "--tcp", "--count", "--port-id=1"]),
    ("ingress", ["--ingress", "--ether", "--ipv4", "--udp", "--queue"]),
    ("two threads", ["--transfer", "--ether", "--ipv4", "--tcp", "--count", "--port-id=1",
                     "--cores=2"]),
)


def rates(text, what):
    return [float(r) for r in re.findall(r"Total (?:flows )?%s rate -> ([0-9.]+) K" % what, text)]


def run(name, form, eal):
    first, second = foreign.cpus()
    command = ["dpdk-test-flow-perf"]
    if eal:
        command += shlex.split(eal)
    else:
        args = foreign.eal_args("net_emu0,representor=vf[0-1],cap=200000,core=%d" % second, 768)
        args[0] = "--lcores=0@%d,1@%d,2@%d" % (first, second, first)
        command = [foreign.WITH_PLUGIN, foreign.LIBRARY] + command + args
    command += ["--"] + form + ["--portmask=0x1", "--rules-count=%d" % RULES,
                                "--rules-batch=%d" % BATCH, "--deletion-rate"]
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=90, check=False)
    except subprocess.TimeoutExpired as error:
        check(False, name, "no end after 90 s\n%s" % error.stdout)
        return
    inserted, deleted = rates(out.stdout, "insertion"), rates(out.stdout, "deletion")
    # A line for each thread.
    made = sum(map(int, re.findall(r"Core \d+ :: The time for creating (\d+) in rules", out.stdout)))
    gone = sum(map(int, re.findall(r"Core \d+ :: The time for deleting (\d+) rules", out.stdout)))
    check(out.returncode == 0 and inserted and deleted and made == gone == RULES,
          "%s: %d rules made and deleted" % (name, RULES), out.stdout)
    for line in re.findall(r"First flow installed in .*|rte_flow size in DPDK layer: .*", out.stdout):
        print("     " + line)
    if inserted and deleted:
        print("     %s%.0f k inserts/s, %.0f k deletes/s" %
              ("" if eal else "emulated: ", inserted[0], deleted[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--eal", help="EAL arguments of a real NIC")
    args = parser.parse_args()
    if not args.eal:
        foreign.need("dpdk-test-flow-perf")
    for name, form in FORMS:
        run(name, form, args.eal)
    foreign.finish()


if __name__ == "__main__":
    main()
