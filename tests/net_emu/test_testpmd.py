#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""DPDK's own dpdk-testpmd, as the distribution ships it, drives the emulated NIC.

    meson test net_emu_testpmd
    tests/net_emu/test_testpmd.py --eal "-a 0000:03:00.0,representor=vf[0-1]"

The second form runs the same commands on a real NIC: which of them it takes, it prints.
"""

import argparse
import os
import re
import shlex
import sys
import tempfile
import time

import foreign
from foreign import check

RULE = ("%s transfer pattern represented_port ethdev_port_id is 0 / eth / ipv4 src is 10.0.0.1 dst is "
        "10.0.0.2 ttl is 64 / udp src is 1000 dst is 2000 / end actions count / set_ipv4_dst "
        "ipv4_addr 10.1.0.2 / set_ttl ttl_value 63 / represented_port ethdev_port_id 1 / end")


class Testpmd:
    def __init__(self, args, log, eal=None):
        command = ["dpdk-testpmd"]
        if eal:
            command += shlex.split(eal)
        else:
            command = [foreign.WITH_PLUGIN, foreign.LIBRARY] + command + foreign.eal_args(
                "net_emu0,representor=vf[0-1],stale_ms=0,profile=%s,core=%d" %
                (args, foreign.cpus()[1]))
        self.terminal = foreign.Terminal(
            command + ["--", "-i", "--total-num-mbufs=8192", "--nb-cores=1"], "testpmd> ", log)
        self.ready = self.terminal.read(60) is not None

    def run(self, command):
        return self.terminal.run(command)

    def close(self):
        return self.terminal.close("quit")


def expect(t, command, pattern, what=None):
    answer = t.run(command)
    check(re.search(pattern, answer) is not None, what or command[:70], "%s\n%s" % (command, answer))


def caught(kind, name, cause=""):
    return r"Caught PMD error type %d \(%s.*?\).*%s" % (kind, name, cause)


def test_rules(log):
    t = Testpmd("mlx5-sws", log)
    if not check(t.ready, "testpmd starts on mlx5-sws"):
        return
    expect(t, "show port summary all", r"(?s)net_emu0 .*net_emu0_vf0 .*net_emu0_vf1 ")
    expect(t, "show port 2 flow transfer proxy", r"Transfer proxy port ID: 0")
    expect(t, RULE % "flow validate 0", r"Flow rule validated")
    expect(t, RULE % "flow create 0", r"Flow rule #0 created")
    expect(t, RULE % "flow create 0", r"Flow rule #1 created", "the same match again is accepted")
    expect(t, "flow query 0 0 count", r"(?s)hits_set: 1.*hits: 0")
    expect(t, "flow list 0", r"(?s)0\s+0\s+0\s+--t\s+REPRESENTED_PORT ETH IPV4 UDP => COUNT "
           r"SET_IPV4_DST SET_TTL REPRESENTED_PORT")
    expect(t, "flow dump 0 all", r"(?s)transfer .*src 10.0.0.1 dst 10.0.0.2 .*actions count set_dst "
           r"10.1.0.2 set_ttl 63 represented_port 1")
    expect(t, "flow create 0 ingress pattern eth / ipv4 / udp / end actions mark id 7 / queue "
           "index 0 / end", r"Flow rule #2 created")
    expect(t, "flow destroy 0 rule 1", r"Flow rule #1 destroyed")
    expect(t, "flow validate 0 transfer pattern eth / end actions sample ratio 2 index 0 / end",
           caught(16, "specific action"), "an unsupported action: type 16")
    expect(t, "flow validate 0 transfer pattern eth / gtp / end actions drop / end",
           caught(13, "specific pattern item"), "an unsupported item: type 13")
    expect(t, "flow validate 0 transfer pattern eth / ipv4 packet_id is 5 / end actions drop / end",
           caught(12, "item specification mask"), "an unsupported mask: type 12")
    expect(t, "flow flush 0", r"^\s*$")
    expect(t, "flow dump 0 all", r"^\s*Flow dump finished", "nothing is left after the flush")
    expect(t, "port detach 0", r"Port not stopped|not stopped|Please close port first",
           "a started port is not detached")
    check(t.close() == 0, "testpmd ends with 0")


def test_refusals(log):
    t = Testpmd("mlx5-hws", log)
    if not check(t.ready, "testpmd starts on mlx5-hws"):
        return
    expect(t, RULE % "flow validate 1", caught(7, "transfer", "Operation not permitted"),
           "transfer on a representor: type 7 and EPERM")
    expect(t, RULE % "flow validate 1", r"(?i)proxy", "testpmd hints at the proxy")
    check(t.close() == 0, "testpmd ends with 0")
    t = Testpmd("nfp", log)
    if not check(t.ready, "testpmd starts on nfp"):
        return
    rule = ("flow create 0 transfer pattern port_id id is 0 / eth / ipv4 src is 10.0.0.1 / end "
            "actions count / port_id id 1 / end")
    expect(t, rule, r"Flow rule #0 created")
    expect(t, rule, caught(2, r"flow rule \(handle\)"), "the same match again: EEXIST, type 2")
    check(t.close() == 0, "testpmd ends with 0")


def test_forwarding(log):
    """Frames of a generator: up to the program until a rule takes them, and again after it."""
    t = Testpmd("mlx5-sws,gen=2000", log)
    if not check(t.ready, "testpmd starts with the generator"):
        return
    t.run("set fwd rxonly")
    t.run("start")

    def number(name, port=0):
        found = re.search(r"\b%s: (\d+)" % name, t.run("show port xstats %d" % port))
        return int(found.group(1)) if found else -1

    def grows(name):
        first, deadline = number(name), time.monotonic() + 20
        while time.monotonic() < deadline:
            if number(name) > first + 100:
                return True
        return False

    check(grows("rx_good_packets"), "without a rule the program receives")
    expect(t, "flow create 0 transfer pattern eth / ipv4 dst is 198.51.100.2 / udp / end actions "
           "count / set_ipv4_dst ipv4_addr 10.1.0.2 / dec_ttl / port_id id 1 / end",
           r"Flow rule #0 created")
    # What was in the receive queue still comes up.
    before, forwarded = -1, number("hw_packets")
    while number("rx_good_packets") != before and number("hw_packets") < forwarded + 10000:
        before = number("rx_good_packets")
    check(grows("hw_packets"), "with it the e-switch forwards")
    check(number("rx_good_packets") == before, "and the program receives nothing",
          "%d then %d" % (before, number("rx_good_packets")))
    hits = re.search(r"\bhits: (\d+)", t.run("flow query 0 0 count"))
    check(hits and int(hits.group(1)) > 0, "the rule counts its hits")
    check(number("wire_tx_packets", 1) > 0, "the frames leave on the representor's wire")
    expect(t, "flow destroy 0 rule 0", r"Flow rule #0 destroyed")
    check(grows("rx_good_packets"), "without it the program receives again")
    t.run("stop")
    check(t.close() == 0, "testpmd ends with 0")


def real_nic(eal, log):
    t = Testpmd("", log, eal)
    if not check(t.ready, "testpmd starts"):
        return
    for command in ("show port summary all", "show port 0 flow transfer proxy",
                    RULE % "flow validate 0", RULE % "flow create 0", RULE % "flow create 0",
                    "flow query 0 0 count", "flow list 0", "flow flush 0"):
        print("testpmd> %s\n%s" % (command, t.run(command)))
    t.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--eal", help="EAL arguments of a real NIC")
    args = parser.parse_args()
    log = os.path.join(tempfile.gettempdir(), "net_emu-testpmd-%d.log" % os.getpid())
    if args.eal:
        real_nic(args.eal, log)
    else:
        foreign.need("dpdk-testpmd")
        test_rules(log)
        test_refusals(log)
        test_forwarding(log)
    if foreign.failures == 0:
        os.unlink(log)
    else:
        print("last program's output: " + log)
    foreign.finish()


if __name__ == "__main__":
    sys.exit(main())
