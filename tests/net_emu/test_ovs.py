#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Open vSwitch with DPDK, as the distribution ships it, offloads flows to the emulated NIC.

    meson test net_emu_ovs

An independent user of rte_flow with its own idea of rules: transfer rules on the ingress port with no
port item, MARK and RSS where a rule cannot be offloaded wholly. Everything runs in a network and a
mount namespace of its own, with the daemons' files in one temporary folder.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import foreign
from foreign import check

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class Ovs:
    def __init__(self, folder, profile):
        self.folder = folder
        self.env = dict(os.environ, OVS_RUNDIR=folder, OVS_LOGDIR=folder, OVS_DBDIR=folder,
                        OVS_SYSCONFDIR=folder)
        self.processes = []
        self.profile = profile

    def run(self, *command, ok=True):
        out = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=60, check=False)
        if ok and out.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(command), out.stdout))
        return out.stdout

    def vsctl(self, *command):
        return self.run("ovs-vsctl", "--no-wait", "--db=unix:%s/db.sock" % self.folder, *command)

    def appctl(self, *command):
        return self.run("ovs-appctl", "-t", "%s/vswitchd.ctl" % self.folder, *command, ok=False)

    def spawn(self, *command):
        log = open(os.path.join(self.folder, os.path.basename(command[0]) + ".out"), "wb")
        self.processes.append(subprocess.Popen(command, env=self.env, stdout=log,
                                               stderr=subprocess.STDOUT, start_new_session=True))

    def start(self):
        first, second = foreign.cpus()
        db = os.path.join(self.folder, "conf.db")
        self.run("ovsdb-tool", "create", db, SCHEMA)
        self.spawn("ovsdb-server", db, "--remote=punix:%s/db.sock" % self.folder,
                   "--log-file=%s/ovsdb.log" % self.folder, "--unixctl=%s/ovsdb.ctl" % self.folder)
        wait(lambda: os.path.exists(self.folder + "/db.sock"), "ovsdb-server")
        self.vsctl("init")
        # --no-huge does not go with the --in-memory that OVS adds, unless it sees --legacy-mem.
        self.vsctl("set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                   "other_config:hw-offload=true", "other_config:pmd-cpu-mask=%x" % (1 << first),
                   "other_config:dpdk-lcore-mask=%x" % (1 << second),
                   "other_config:dpdk-extra=--no-huge --legacy-mem --no-shconf -m 1024 --no-pci "
                   "--no-telemetry -d %s --vdev=net_emu0,representor=vf[0-1],gen=500,stale_ms=0,"
                   "core=%d,profile=%s,control=%s/nic.sock" %
                   (foreign.PLUGIN, second, self.profile, self.folder))
        self.spawn(VSWITCHD, "unix:%s/db.sock" % self.folder, "--log-file=%s/vswitchd.log" %
                   self.folder, "--unixctl=%s/vswitchd.ctl" % self.folder)
        wait(lambda: "true" in self.vsctl("get", "Open_vSwitch", ".", "dpdk_initialized"), "DPDK")
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        self.vsctl("add-port", "br0", "up", "--", "set", "Interface", "up", "type=dpdk",
                   "options:dpdk-devargs=net_emu0")
        # A representor is found by its MAC address.
        self.vsctl("add-port", "br0", "vf0", "--", "set", "Interface", "vf0", "type=dpdk",
                   "options:dpdk-devargs=class=eth,mac=02:e0:00:00:00:01")
        wait(lambda: re.search(r"\bup\b.*\bdpdk\b", self.appctl("dpif/show")) and
             re.search(r"\bvf0\b.*\bdpdk\b", self.appctl("dpif/show")), "the ports")

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def flows(self, *rules):
        for number, rule in enumerate(("del",) + rules):
            if number == 0:
                self.run("ovs-ofctl", "del-flows", self.folder + "/br0.mgmt")
            else:
                self.run("ovs-ofctl", "add-flow", self.folder + "/br0.mgmt", rule)

    def rules(self):
        """The NIC's own table."""
        return self.nic("rules")

    def nic(self, command):
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(self.folder + "/nic.sock")
            s.sendall((command + "\n").encode())
            text = ""
            while not re.search(r"^(ok|error .*)\n\Z", text, re.M):
                data = s.recv(65536)
                if not data:
                    break
                text += data.decode()
        return text

    def count(self, name):
        found = re.search(r"^%s (\d+)$" % name, self.nic("counters"), re.M)
        return int(found.group(1))

    def received(self):
        found = re.search(r"packets received: (\d+)", self.appctl("dpif-netdev/pmd-stats-show"))
        return int(found.group(1)) if found else -1

    def marked(self):
        found = re.search(r"phwol hits: (\d+)", self.appctl("dpif-netdev/pmd-stats-show"))
        return int(found.group(1)) if found else -1


def wait(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    raise RuntimeError("waited in vain for " + what)


def grows(value, what, by=100):
    first = value()
    try:
        return wait(lambda: value() > first + by, what, 30)
    except RuntimeError:
        return False


def appears(ovs, pattern):
    try:
        return wait(lambda: re.search(pattern, ovs.rules(), re.S), pattern, 30)
    except RuntimeError:
        return False


MATCH = "priority=10,udp,nw_dst=198.51.100.2,actions="
MARKED = r"ingress [^\n]* actions mark \d+ queues "


def full(ovs, name, rule, pattern):
    ovs.flows(MATCH + rule)
    check(appears(ovs, pattern), name + ": one transfer rule", ovs.rules())
    check(grows(lambda: ovs.count("forwarded"), "forwarded"), name + ": the e-switch forwards")
    before = ovs.received()
    check(grows(lambda: ovs.count("forwarded"), "forwarded", 500) and
          ovs.received() - before < 50, name + ": its PMD thread receives nothing meanwhile",
          "%d then %d" % (before, ovs.received()))
    dump = ovs.appctl("dpctl/dump-flows", "-m", "type=dpdk")
    check("offloaded:yes" in dump and "dp:dpdk" in dump, name + ": OVS says offloaded", dump)


def partial(ovs, name, rules):
    ovs.flows(*rules)
    check(appears(ovs, MARKED), name + ": MARK and RSS", ovs.rules())
    check(grows(ovs.marked, "phwol hits"), name + ": phwol hits grow")
    check(" transfer " not in ovs.rules(), name + ": no transfer rule", ovs.rules())


def inside(profile, folder):
    ovs = Ovs(folder, profile)
    try:
        ovs.start()
        check(True, "ovs-vswitchd takes the emulated NIC as " + profile)
        partial(ovs, "NORMAL", ["actions=NORMAL"])
        if profile == "mlx5-sws":
            full(ovs, "rewrite", "mod_nw_dst:10.1.0.2,output:vf0",
                 r"transfer [^\n]* actions count set_dst 10.1.0.2 represented_port")
            full(ovs, "rewrite and TTL", "mod_nw_dst:10.1.0.2,dec_ttl,output:vf0",
                 r"transfer [^\n]* ttl 64 [^\n]*actions count set_dst 10.1.0.2 set_ttl 63 ")
            partial(ovs, "conntrack", ["table=0,udp,actions=ct(table=1)",
                                       "table=1,actions=output:vf0"])
        else:
            # No SET_TTL in this dialect: OVS falls back by itself.
            partial(ovs, "rewrite and TTL", [MATCH + "mod_nw_dst:10.1.0.2,dec_ttl,output:vf0"])
        check(ovs.count("bad_handles") == 0, "OVS used no handle twice")
    except RuntimeError as error:
        check(False, "OVS on " + profile, error)
        for log in ("vswitchd.log", "ovs-vswitchd-dpdk.out"):
            path = os.path.join(folder, log)
            if os.path.exists(path):
                print(open(path, encoding="utf-8", errors="replace").read()[-6000:])
    finally:
        ovs.stop()
    foreign.finish()


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--inside":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        inside(sys.argv[2], sys.argv[3])
    foreign.need(VSWITCHD, "ovsdb-server", "ovs-vsctl", "ip", "unshare")
    status = 0
    for profile in ("mlx5-sws", "bnxt"):
        folder = tempfile.mkdtemp(prefix="net_emu-ovs-")
        try:
            run = subprocess.run(["unshare", "--net", "--", foreign.WITH_PLUGIN, foreign.LIBRARY,
                                  sys.executable, os.path.abspath(__file__), "--inside", profile,
                                  folder], timeout=240, check=False)
            status = status or run.returncode
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
