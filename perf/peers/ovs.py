# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""OVS-DPDK on the same virtual devices, in a run folder, a database and a network namespace of its own.

Rungs: "plain" (port to port), "stateless" (the rewriting without state), "ct" (ct(nat): the first
packet of a flow commits, then both directions are established)."""

import os
import re
import shutil
import subprocess
import time

import frames
from subjects import (Absent, CONTROL_CPU, DEADLINE, Failed, Thread, WORKER_CPU, mac, stop,
    ticks_per_second, until)

PROGRAMS = ("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk",)
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
TO_BACKEND = (f"mod_dl_src:{mac(frames.GATEWAY_MAC)},mod_dl_dst:{mac(frames.BACKEND_MAC)},dec_ttl")
TO_CLIENT = (f"mod_dl_src:{mac(frames.GATEWAY_MAC)},mod_dl_dst:{mac(frames.CLIENT_MAC)},dec_ttl")

RULES = {
    "drop": ["actions=drop"],
    "plain": ["in_port=1 actions=output:2", "in_port=2 actions=output:1"],
    "stateless": [
        f"in_port=1,udp,nw_dst={frames.VIP},tp_dst=80 actions=mod_nw_dst:{frames.BACKEND},"
        f"mod_tp_dst:8080,{TO_BACKEND},output:2",
        f"in_port=2,udp,nw_src={frames.BACKEND},tp_src=8080 actions=mod_nw_src:{frames.VIP},"
        f"mod_tp_src:80,{TO_CLIENT},output:1"],
    "ct": [
        f"table=0,in_port=1,udp,nw_dst={frames.VIP},tp_dst=80 actions=ct(zone=1,nat,table=1)",
        "table=0,in_port=2,udp actions=ct(zone=1,nat,table=1)",
        "table=1,in_port=1,ct_state=+trk+new,udp actions="
        f"ct(commit,zone=1,nat(dst={frames.BACKEND}:8080)),{TO_BACKEND},output:2",
        f"table=1,in_port=1,ct_state=+trk+est,udp actions={TO_BACKEND},output:2",
        f"table=1,in_port=2,ct_state=+trk+est,udp actions={TO_CLIENT},output:1"],
}


class Ovs:
    def __init__(self, build, rung, folder, files, source, capture=None, smc=False):
        self.source, self.flows = source, frames.count(files[0])
        self.hz = ticks_per_second(build)
        self.program = next((p for p in PROGRAMS if os.access(p, os.X_OK)), None)
        if self.program is None or shutil.which("ovsdb-server") is None:
            raise Absent("OVS-DPDK is not installed (Debian: openvswitch-switch-dpdk)")
        if os.geteuid() != 0:
            raise Absent("OVS-DPDK needs root")
        self.rung, self.folder, self.processes = rung, folder, []
        self.env = {**os.environ, "OVS_RUNDIR": folder, "OVS_DBDIR": folder, "OVS_LOGDIR": folder}
        self.log = open(f"{folder}/ovs.log", "w", encoding="utf-8")
        try:
            self.start(smc)
            self.add_ports(files, capture)
        except Exception:
            self.close()
            raise

    def run(self, *words):
        done = subprocess.run(words, capture_output=True, text=True, env=self.env, check=False,
            timeout=DEADLINE)
        if done.returncode != 0:
            raise Failed(f"{' '.join(words[:3])}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def vsctl(self, *words):
        return self.run("ovs-vsctl", "--timeout=20", f"--db=unix:{self.folder}/db.sock", *words)

    def appctl(self, *words):
        return self.run("ovs-appctl", "-t", f"{self.folder}/vswitchd.ctl", *words)

    def start(self, smc):
        f = self.folder
        self.run("ovsdb-tool", "create", f"{f}/conf.db", SCHEMA)
        self.processes.append(subprocess.Popen(["taskset", "-c", str(CONTROL_CPU), "ovsdb-server",
            f"{f}/conf.db", f"--remote=punix:{f}/db.sock", f"--unixctl={f}/ovsdb.ctl"],
            env=self.env, stdout=self.log, stderr=self.log))
        until(lambda: os.path.exists(f"{f}/db.sock"), DEADLINE, "ovsdb-server")
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
            f"other_config:pmd-cpu-mask={1 << WORKER_CPU:#x}",
            f"other_config:dpdk-lcore-mask={1 << CONTROL_CPU:#x}",
            f"other_config:dpdk-extra=--no-pci --in-memory --file-prefix=ovs{os.getpid()} "
            + " ".join(self.source.eal),
            f"other_config:smc-enable={'true' if smc else 'false'}")
        self.processes.append(subprocess.Popen(["unshare", "--net", self.program,
            f"unix:{f}/db.sock", f"--unixctl={f}/vswitchd.ctl", f"--pidfile={f}/vswitchd.pid"],
            env=self.env, stdout=self.log, stderr=self.log))
        until(lambda: os.path.exists(f"{f}/vswitchd.ctl"), DEADLINE, "ovs-vswitchd")

    def add_ports(self, files, capture):
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
            "fail-mode=secure")
        self.rules(self.rung)
        for n, path in enumerate(files):
            args = self.source.devargs(n, path, capture[n] if capture else None)
            self.vsctl("add-port", "br0", f"p{n}", "--", "set", "interface", f"p{n}", "type=dpdk",
                f"options:dpdk-devargs={args}", f"ofport_request={n + 1}")
            error = self.vsctl("get", "interface", f"p{n}", "error").strip()
            if error != "[]":
                raise Failed(f"port {path}: {error}")

    def ofctl(self, verb, *words):
        return self.run("ovs-ofctl", verb, f"unix:{self.folder}/br0.mgmt", *words)

    def rules(self, rung):
        with open(f"{self.folder}/rules", "w", encoding="utf-8") as f:
            f.write("\n".join(RULES[rung]) + "\n")
        self.ofctl("del-flows")
        self.ofctl("add-flows", f"{self.folder}/rules")

    def ticks(self, seconds):
        """Ticks a packet of the polling thread, once every flow is there."""
        if self.rung == "ct":
            until(lambda: int(self.appctl("dpctl/ct-get-nconns")) >= self.flows, 2 * DEADLINE,
                "connections")
        time.sleep(1.0)
        thread = self.polling_thread()
        self.appctl("dpif-netdev/pmd-stats-clear")
        before, cpu = self.ports(), thread.seconds()
        time.sleep(seconds)
        after, cpu = self.ports(), thread.seconds() - cpu
        text = self.appctl("dpif-netdev/pmd-stats-show")
        found = re.search(r"avg cycles per packet: ([0-9.]+)", text)
        if not found:
            raise Failed("pmd-stats-show: " + text[-300:])
        received, sent = (after[k] - before[k] for k in ("rx_packets", "tx_packets"))
        if received <= 0 or abs(sent - received) > received * 0.02 + 5000:
            raise Failed(f"{received} packets received, {sent} sent")
        return cpu * self.hz / received, float(found.group(1))

    def polling_thread(self):
        return Thread(int(self.appctl_pid()), "pmd-c")

    def appctl_pid(self):
        with open(f"{self.folder}/vswitchd.pid", encoding="utf-8") as f:
            return f.read()

    def ports(self):
        """Packets in and out of the two ports, now (the database's figures are seconds old)."""
        text = self.ofctl("dump-ports")
        rx = re.findall(r"port +\d+: rx pkts=(\d+)", text)
        tx = re.findall(r"tx pkts=(\d+)", text)
        return {"rx_packets": sum(map(int, rx)), "tx_packets": sum(map(int, tx[-len(rx):]))}

    def close(self):
        for p in reversed(self.processes):
            stop(p)
        self.log.close()
