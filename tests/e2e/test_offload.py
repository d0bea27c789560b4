#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Flows in hardware, end to end: sluiced on the emulated NIC (tests/net_emu), whose ports are wired
to the lab's interfaces, between the kernels of clients and pods.

What workers no longer see, the NIC's e-switch forwards; what ends in software ends there too; what
the configuration takes away is out of the NIC when it is acknowledged. Results are emulated.
"""

import json
import os
import socket
import subprocess
import sys
import time

from e2e import WEB, LabCase, main
from labkit import LOCAL, ROOT, iface

PLUGIN = "tests/net_emu/librte_net_emu.so"
ECHO, ECHO6 = "10.96.0.13", "fd00:10:96::13"
NODES = ("client-1", "client-2", "pod-1", "pod-2", "pod-3")  # on the NIC


def plugin():
    build = os.environ.get("SLUICE_BIN_BUILD", os.path.join(ROOT, "build/release"))
    return os.path.join(build, PLUGIN)


class Offload(LabCase):
    PREFIX = "eo"

    @classmethod
    def start(cls):
        lab = cls.lab
        wires = ["--vdev=net_af_packet%d,iface=%s" % (i + 100, iface(node))
                 for i, node in enumerate(NODES)]
        nic = ("--vdev=net_emu0,representor=vf[0-%d],profile=mlx5-sws,stale_ms=0,control=%s,"
               "wire0=none" % (len(NODES) - 1, lab.path("nic.sock")))
        for i in range(len(NODES)):
            nic += ",wire%d=net_af_packet%d" % (i + 1, i + 100)
        vports = []
        for node, (v4, v6, number) in LOCAL.items():
            vport = lab.vport(node, v4, v6, number)
            if node in NODES:
                vport.update(kind="ethdev", device="net_emu0_vf%d" % NODES.index(node))
                del vport["iface"]
            vports.append(vport)
        vports.append({"name": "uplink", "role": "uplink", "kind": "af_packet", "iface": "up0",
                       "addresses": ["192.0.2.10/24", "2001:db8:1::10/64"],
                       "mac": "02:51:00:00:00:01", "mtu": 1500})
        # The NIC itself: the proxy that takes the representors' rules.
        ports = [{"name": "nic", "kind": "ethdev", "device": "net_emu0"}]
        overrides = ["vports=" + json.dumps(vports), "ports=" + json.dumps(ports),
                     "memory.eal-args=" + json.dumps(["-d", "/mnt/librte_net_emu.so", *wires, nic])]
        def spawn(node, name, args, real=type(lab).spawn):
            if name == "sluiced":
                args = [os.path.join(ROOT, "tests/net_emu/with-plugin"), plugin()] + args
            return real(lab, node, name, args)
        lab.spawn = spawn
        lab.start_sluiced(*overrides)

    # --- what is seen from outside ---------------------------------------------------------

    def offload(self):
        status, answer = self.lab.sluiced.get("/api/v1/offload")
        self.assertEqual(status, 200, answer)
        return answer

    def flows(self, query):
        return self.lab.items("/api/v1/flows?" + query)

    def in_hardware(self, query):
        """The flow of that query when both of its directions are in hardware."""
        found = [f for f in self.flows(query + "&offload=hardware")
                 if all(f["offload"][d]["in"] == "hardware" for d in ("forward", "reply"))]
        return found[0] if found else None

    def received(self):
        return self.lab.counters()["received"]

    def nic(self, command):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(self.lab.path("nic.sock"))
            sock.sendall((command + "\n").encode())
            text = b""
            while not (text.endswith(b"ok\n") or b"error" in text):
                piece = sock.recv(65536)
                if not piece:
                    break
                text += piece
        return text.decode()

    def rules(self):
        return [line for line in self.nic("rules").splitlines() if line and line != "ok"]

    def test_1_ports_can(self):
        ports = {p["name"]: p for p in self.offload()["items"]}
        for node in NODES:
            self.assertEqual(ports[node]["state"], "Ready", ports[node])
            self.assertTrue(any(row["support"] == "Supported" for row in ports[node]["matrix"]))

    def bypassed(self, addr):
        """A UDP elephant through a ClusterIP: its packets leave the workers, and it keeps going."""
        client = self.lab.start_client("client-1", "udp", addr, 9000, seconds=12, pause=0.0005)
        query = "proto=UDP&dst=" + addr
        self.eventually(lambda: self.in_hardware(query), "the flow in hardware", 8)
        flow = self.in_hardware(query)
        first = int(flow["offload"]["forward"]["hwPackets"])
        before = self.received()
        time.sleep(2)
        seen = self.received() - before
        self.eventually(lambda: int(self.in_hardware(query)["offload"]["forward"]["hwPackets"])
                        > first + 200, "hwPackets to grow", 12)
        result = self.lab.result(client)
        self.assertEqual(result["failed"], 0, result)
        self.assertGreater(result["done"], 1000)
        # What else the lab says meanwhile: neighbours and the like.
        self.assertLess(seen, 50, "workers still see the flow's packets")

    def test_2_udp_elephant_bypasses_workers(self):
        for addr in (ECHO, ECHO6):
            with self.subTest(addr):
                self.bypassed(addr)

    def gone(self, query, addr):
        """No flow of that query is in hardware, and the NIC has no rule with that address."""
        return not (self.flows(query + "&offload=hardware")
                    or [rule for rule in self.rules() if addr in rule])

    def test_3_fin_ends_it_everywhere(self):
        for addr in WEB:
            with self.subTest(addr):
                source = LOCAL["client-2"][":" in addr]
                client = self.lab.start_client("client-2", "hold", addr, 9001, pause=0.0005,
                                               stdin=subprocess.PIPE)
                self.assertIn("connected", client.stdout.readline())
                query = "proto=TCP&dstPort=9001&src=" + source
                self.eventually(lambda: self.in_hardware(query), "the connection in hardware", 15)
                before = self.received()
                time.sleep(1)
                seen = self.received() - before
                self.assertTrue([rule for rule in self.rules() if source in rule])
                # Its end is a line on standard input; the client closes.
                out, _ = client.communicate("end\n", timeout=20)
                result = json.loads(out.strip().split("\n")[-1])
                self.assertEqual(result["error"], "")
                self.assertGreater(result["lines"], 500)
                self.assertLess(seen, 50, "workers still see the connection")
                self.eventually(lambda: self.gone(query, source), "no rule to outlive the FIN", 10)
                states = {f["state"] for f in self.flows(query)}
                self.assertLessEqual(states, {"Closing", "Fin", "Reset"}, states)

    def datagrams(self, pod):
        """UDP datagrams that the kernel of a pod was given so far."""
        text = self.lab.run(pod, "cat", "/proc/net/snmp").stdout
        names, values = [line.split() for line in text.splitlines() if line.startswith("Udp:")]
        return int(values[names.index("InDatagrams")])

    def acknowledged(self, service, pod_addr):
        """The endpoint is no longer wanted, and what is wanted is applied."""
        status, answer = self.lab.sluiced.get("/api/v1/services/default/" + service)
        applied = status == 200 and answer["status"]["conditions"][0]
        return (applied and applied["status"] == "True"
                and applied["desiredVersion"] == applied["appliedVersion"]
                and pod_addr not in self.lab.backends(service))

    def test_4_removed_endpoint_gets_nothing_more(self):
        """Not one packet after the acknowledgement, while its client goes on sending."""
        client = self.lab.start_client("client-1", "udp", ECHO, 9000, seconds=14, pause=0.0005)
        query = "proto=UDP&dstPort=9000&src=" + LOCAL["client-1"][0]
        self.eventually(lambda: self.in_hardware(query), "the flow in hardware", 8)
        backend = self.in_hardware(query)["backend"]["address"]
        pod = [name for name in LOCAL if LOCAL[name][0] == backend][0]
        self.assertGreater(self.datagrams(pod), 100)
        self.assertTrue([rule for rule in self.rules() if backend in rule], self.rules())
        # The device takes its time: so does the acknowledgement.
        self.nic("set del_us 200000")
        removed = self.lab.remove_endpoint("echo", pod)
        try:
            self.eventually(lambda: self.acknowledged("echo", backend), "the acknowledgement")
            self.assertFalse([rule for rule in self.rules() if backend in rule])
            # What was on its way through the pod's own interface has arrived.
            time.sleep(0.2)
            after = self.datagrams(pod)
            time.sleep(2)
            self.assertEqual(self.datagrams(pod), after)
            # Its client has another endpoint, and that is in hardware soon.
            self.eventually(lambda: (self.in_hardware(query) or {"backend": {"address": backend}})
                            ["backend"]["address"] != backend, "another endpoint in hardware")
            result = self.lab.result(client)
            self.assertLessEqual(result["failed"], 2, result)
        finally:
            self.nic("set del_us 0")
            self.lab.restore_endpoint(removed)

    def test_5_ends_with_flows_in_hardware(self):
        """SIGTERM takes them out before the ports close."""
        client = self.lab.start_client("client-1", "udp", ECHO6, 9000, seconds=8, pause=0.0005)
        self.eventually(lambda: self.in_hardware("proto=UDP&dst=" + ECHO6), "the flow in hardware")
        self.lab.stop("sluiced", grace=10)
        self.assertNotIn("offload_left_rules", self.lab.log("sluiced"))
        client.kill()
        client.communicate()
        type(self).start()


if __name__ == "__main__":
    if not os.path.exists(plugin()):
        print("skipped: %s is not built (tests/net_emu/README.md)" % plugin())
        sys.exit(77)
    main()
