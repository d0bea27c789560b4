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
import signal
import socket
import subprocess
import sys
import time

from e2e import WEB, LabCase, main
from labkit import LOCAL, ROOT, iface

PLUGIN = "tests/net_emu/librte_net_emu.so"
ECHO, ECHO6 = "10.96.0.13", "fd00:10:96::13"
GUARDED = "203.0.113.77"
NODES = ("client-1", "client-2", "pod-1", "pod-2", "pod-3")  # on the NIC


def plugin():
    build = os.environ.get("SLUICE_BIN_BUILD", os.path.join(ROOT, "build/release"))
    return os.path.join(build, PLUGIN)


class NicCase(LabCase):
    """The lab with an emulated NIC of some profile."""
    PREFIX = "eo"
    PROFILE = "mlx5-sws"

    @classmethod
    def start(cls):
        lab = cls.lab
        wires = ["--vdev=net_af_packet%d,iface=%s" % (i + 100, iface(node))
                 for i, node in enumerate(NODES)]
        nic = ("--vdev=net_emu0,representor=vf[0-%d],profile=%s,stale_ms=0,control=%s,"
               "wire0=none" % (len(NODES) - 1, cls.PROFILE, lab.path("nic.sock")))
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
        cls.vports, cls.overrides = vports, overrides
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

    def datagrams(self, pod):
        """UDP datagrams that the kernel of a pod was given so far."""
        text = self.lab.run(pod, "cat", "/proc/net/snmp").stdout
        names, values = [line.split() for line in text.splitlines() if line.startswith("Udp:")]
        return int(values[names.index("InDatagrams")])

    def silent(self, pod):
        """Not one datagram more; what was on its way through the pod's interface has arrived."""
        time.sleep(0.2)
        after = self.datagrams(pod)
        time.sleep(2)
        self.assertEqual(self.datagrams(pod), after)

    def gone(self, query, addr):
        """No flow of that query is in hardware, and the NIC has no rule with that address."""
        return not (self.flows(query + "&offload=hardware") + self.flows(query + "&offload=partial")
                    or [rule for rule in self.rules() if addr in rule])


class Offload(NicCase):
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

    def acknowledged(self, service, pod_addr):
        """The endpoint is no longer wanted, and what is wanted is applied."""
        status, answer = self.lab.sluiced.get("/api/v1/services/default/" + service)
        applied = status == 200 and answer["status"]["conditions"][0]
        return (applied and applied["status"] == "True"
                and applied["desiredVersion"] == applied["appliedVersion"]
                and not (pod_addr and pod_addr in self.lab.backends(service)))

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
            self.silent(pod)
            # Its client has another endpoint, and that is in hardware soon.
            self.eventually(lambda: (self.in_hardware(query) or {"backend": {"address": backend}})
                            ["backend"]["address"] != backend, "another endpoint in hardware")
            result = self.lab.result(client)
            self.assertLessEqual(result["failed"], 2, result)
        finally:
            self.nic("set del_us 0")
            self.lab.restore_endpoint(removed)

    def test_5_deny_by_source_range(self):
        """A narrower range is for new connections, as in Kubernetes. Who means now ends the flows
        of then: when that is answered, not one packet more."""
        self.lab.create("services", {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "guarded", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.77",
                     "clusterIPs": ["10.96.0.77"], "ipFamilies": ["IPv4"],
                     "ports": [{"name": "echo", "port": 9000, "protocol": "UDP"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": GUARDED, "ipMode": "VIP"}]}}})
        self.lab.create("endpointslices", {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "guarded-ipv4", "namespace": "default",
                         "labels": {"kubernetes.io/service-name": "guarded"}},
            "addressType": "IPv4", "ports": [{"name": "echo", "port": 9000, "protocol": "UDP"}],
            "endpoints": [{"addresses": [LOCAL["pod-2"][0]], "nodeName": "node-1",
                           "conditions": {"ready": True, "serving": True, "terminating": False},
                           "targetRef": {"kind": "Pod", "namespace": "default", "name": "pod-2"}}]})
        self.eventually(lambda: self.lab.backends("guarded"), "the guarded service")
        client = self.lab.start_client("client-2", "udp", GUARDED, 9000, seconds=30, pause=0.0005)
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        query = "proto=UDP&dst=" + GUARDED
        self.eventually(lambda: self.in_hardware(query), "the flow in hardware", 12)
        self.lab.edit("services", "guarded", lambda s: s["spec"].update(
            loadBalancerSourceRanges=["198.51.100.0/24"]))
        self.eventually(lambda: self.acknowledged("guarded", ""), "the range")
        before = self.datagrams("pod-2")
        self.eventually(lambda: self.datagrams("pod-2") > before + 200, "the old flow to go on")
        # The device takes its time: so does the answer.
        self.nic("set del_us 200000")
        status, answer = self.lab.sluiced.delete("/api/v1/flows?" + query)
        self.nic("set del_us 0")
        self.assertEqual((status, answer["deleted"], answer["settled"]), (200, "1", True))
        self.assertFalse([rule for rule in self.rules() if GUARDED in rule], self.rules())
        self.silent("pod-2")

    def applied(self, vport, address):
        """The vport has that address, and what is wanted of it is in force."""
        status, found = self.lab.sluiced.get("/api/v1/vports/" + vport)
        conditions = status == 200 and found["status"]["conditions"][0]
        return (conditions and address + "/32" in found["spec"]["addresses"]
                and conditions["desiredVersion"] == conditions["appliedVersion"])

    def reload(self, vports):
        with open(self.lab.path("sluice.yaml"), "w", encoding="utf-8") as f:
            f.write(self.lab.config(["vports=" + json.dumps(vports)] + self.overrides[1:]))
        with open(self.lab.path("sluiced.pid"), encoding="utf-8") as f:
            os.kill(int(f.read().split()[0]), signal.SIGHUP)

    def test_6_pod_that_loses_its_address_gets_nothing_more(self):
        """The configuration file takes a pod's address away."""
        client = self.lab.start_client("client-1", "udp", LOCAL["pod-3"][0], 9000, seconds=30,
                                       pause=0.0005)
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        query = "proto=UDP&dst=" + LOCAL["pod-3"][0]
        self.eventually(lambda: self.in_hardware(query), "the flow in hardware", 12)
        self.assertTrue([rule for rule in self.rules() if LOCAL["pod-3"][0] in rule])
        vports = [dict(v, addresses=["10.244.1.99/32"]) if v["name"] == "pod-3" else v
                  for v in self.vports]
        self.nic("set del_us 200000")
        self.reload(vports)
        self.eventually(lambda: self.applied("pod-3", "10.244.1.99"), "the acknowledgement")
        self.assertFalse([rule for rule in self.rules() if LOCAL["pod-3"][0] in rule])
        self.nic("set del_us 0")
        self.silent("pod-3")
        self.reload(self.vports)
        self.eventually(lambda: self.applied("pod-3", LOCAL["pod-3"][0]), "its address again")

    def test_7_ends_with_flows_in_hardware(self):
        """SIGTERM takes them out before the ports close."""
        client = self.lab.start_client("client-1", "udp", ECHO6, 9000, seconds=8, pause=0.0005)
        self.eventually(lambda: self.in_hardware("proto=UDP&dst=" + ECHO6), "the flow in hardware")
        self.lab.stop("sluiced", grace=10)
        self.assertNotIn("offload_left_rules", self.lab.log("sluiced"))
        client.kill()
        client.communicate()
        type(self).start()


class Partial(NicCase):
    """A NIC that cannot forward, and can mark: workers follow the marks."""
    PROFILE = "ice"

    def partial(self, query):
        found = [f for f in self.flows(query + "&offload=partial")
                 if all(f["offload"][d]["in"] == "partial" for d in ("forward", "reply"))]
        return found[0] if found else None

    def test_1_marks_lead_to_the_flow(self):
        for addr in (ECHO, ECHO6):
            with self.subTest(addr):
                client = self.lab.start_client("client-1", "udp", addr, 9000, seconds=8,
                                               pause=0.0005)
                query = "proto=UDP&dst=" + addr
                self.eventually(lambda q=query: self.partial(q), "marks for the flow")
                flow = self.partial(query)
                for leg in flow["offload"].values():
                    self.assertEqual((leg["state"], leg["reason"], leg["hwPackets"]),
                                     ("Partial", "ShapeUnsupported", "0"), leg)
                    self.assertIn(leg["lastError"]["class"], ("shape", "other"), leg)
                    self.assertTrue(leg["lastError"]["text"], leg)
                before = int(self.offload()["marksFollowed"])
                self.eventually(lambda b=before: int(self.offload()["marksFollowed"]) > b + 500,
                                "workers to follow marks")
                result = self.lab.result(client)
                self.assertEqual(result["failed"], 0, result)
                self.assertGreater(result["done"], 1000)

    def test_2_fin_takes_the_marks_away(self):
        source = LOCAL["client-2"][0]
        client = self.lab.start_client("client-2", "hold", WEB[0], 9001, pause=0.0005,
                                       stdin=subprocess.PIPE)
        self.assertIn("connected", client.stdout.readline())
        query = "proto=TCP&dstPort=9001&src=" + source
        self.eventually(lambda: self.partial(query), "marks for the connection", 15)
        self.assertTrue([rule for rule in self.rules() if source in rule])
        out, _ = client.communicate("end\n", timeout=20)
        result = json.loads(out.strip().split("\n")[-1])
        self.assertEqual(result["error"], "")
        self.eventually(lambda: self.gone(query, source), "no rule to outlive the FIN")

    def test_3_flush_is_behind_the_barrier(self):
        """Deleted flows have no marks when that is answered; who goes on sending has a new flow."""
        client = self.lab.start_client("client-1", "udp", ECHO, 9000, seconds=10, pause=0.0005)
        query = "proto=UDP&dstPort=9000&src=" + LOCAL["client-1"][0]
        self.eventually(lambda: self.partial(query), "marks for the flow")
        old = self.partial(query)["id"]
        status, answer = self.lab.sluiced.delete("/api/v1/flows/" + old)
        self.assertEqual((status, answer["deleted"], answer["settled"]), (200, "1", True))
        self.eventually(lambda: (self.partial(query) or {"id": old})["id"] != old,
                        "marks for the new flow")
        self.assertLessEqual(self.lab.result(client)["failed"], 2)


if __name__ == "__main__":
    if not os.path.exists(plugin()):
        print("skipped: %s is not built (tests/net_emu/README.md)" % plugin())
        sys.exit(77)
    main()
