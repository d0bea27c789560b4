# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""sluiced and dpdk-testpmd on the virtual devices: two pcap ports that play a file for ever and drop
what is sent to them. Each object is one fresh process; ticks() gives ticks a packet over an interval, by
the CPU time of the polling thread, which does not count what other processes took from it, and by the
subject's own account.

Every subject polls on the last processor and has its other threads on the first."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import frames

CONTROL_CPU, WORKER_CPU = 0, os.cpu_count() - 1
DEADLINE = 30


class Absent(Exception):
    """The subject cannot run here; its text says why."""


class Failed(Exception):
    """The subject ran and did not do what it should."""


def build_folder():
    """Where the programs under test are; perf/run says so."""
    folder = os.environ.get("SLUICE_BUILD")
    if not folder:
        raise SystemExit("SLUICE_BUILD must name a build folder (perf/run sets it)")
    return folder


def until(what, seconds, text):
    """Polls what() until it is true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.01)
    raise Failed(f"{text}: not within {seconds} s")


def stop(process, sig=signal.SIGTERM):
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Source:
    """The virtual devices: net_pcap, which also writes down what it is sent, or the build's own plug-in
    net_tuples, which has room for many flows. EAL loads no plug-in from below a folder that anybody
    may write to, so it lies in one of its own meanwhile."""

    def __init__(self, build=None):
        self.folder, self.eal = None, []
        if build is None:
            return
        library = os.path.join(build, "perf/source/librte_net_tuples.so")
        if not os.path.exists(library):
            raise Absent("perf/source is not built: scripts/fetch-driver-headers, then meson setup")
        self.folder = tempfile.mkdtemp(prefix="sluice-perf-", dir="/run")
        os.chmod(self.folder, 0o755)
        self.eal = ["-d", shutil.copy(library, self.folder)]

    def devargs(self, n, path, capture=None):
        if self.eal:
            return f"net_tuples{n},file={path}"
        return f"net_pcap{n},rx_pcap={path},infinite_rx=1" + (f",tx_pcap={capture}" if capture else "")

    def vport(self, n, name, addresses, peer, path, capture=None):
        if not self.eal:
            return vport(name, addresses, peer, path, capture)
        return (f"  - name: {name}\n    role: pod\n    kind: ethdev\n    device: net_tuples{n}\n"
            f"    addresses: [{', '.join(addresses)}]\n    peer-mac: {mac(peer)}\n")

    def close(self):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


_hz = {}


def ticks_per_second(build):
    """Of the constant-rate counter, as a program of the build tells it."""
    if build not in _hz:
        done = subprocess.run([os.path.join(build, "perf/bench_pipeline"), "--rounds", "5"],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed("bench_pipeline: " + done.stderr.strip())
        _hz[build] = json.loads(done.stdout)["ticks_per_second"]
    return _hz[build]


class Thread:
    """A thread of a process by the beginning of its name, and the CPU time it had."""

    def __init__(self, pid, name):
        self.path = until(lambda: self.find(pid, name), DEADLINE, f"a thread {name} of {pid}")

    @staticmethod
    def find(pid, name):
        for tid in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as f:
                    if f.read().startswith(name):
                        return f"/proc/{pid}/task/{tid}/schedstat"
            except FileNotFoundError:
                pass
        return None

    def seconds(self):
        with open(self.path, encoding="utf-8") as f:
            return int(f.read().split()[0]) / 1e9


class Testpmd:
    """The floor: what the devices and mbufs cost without a pipeline."""

    def __init__(self, build, mode, folder, files, source, sink="same"):
        self.program, self.hz = shutil.which("dpdk-testpmd"), ticks_per_second(build)
        if self.program is None:
            raise Absent("dpdk-testpmd is not installed (Debian: dpdk-dev)")
        self.mode, self.files, self.folder, self.sink, self.source = mode, files, folder, sink, source

    def ticks(self, seconds):
        args = [self.program, "-l", f"{CONTROL_CPU},{WORKER_CPU}", "--no-pci", "--in-memory",
            f"--file-prefix=perf{os.getpid()}", *self.source.eal]
        for n, path in enumerate(self.files):
            args.append("--vdev=" + self.source.devargs(n, path))
            if self.sink == "null":
                args.append(f"--vdev=net_null{n},no-rx=1")
        args += ["--", f"--forward-mode={self.mode}", "--nb-cores=1", "--record-core-cycles",
            "--burst=64", "--total-num-mbufs=32768", "--no-flush-rx", "--stats-period=0"]
        if self.sink == "null": # each source is paired with a sink
            args += ["--port-topology=paired"]
        with open(f"{self.folder}/testpmd.log", "w", encoding="utf-8") as log:
            p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=log, stderr=log)
            try:
                thread = Thread(p.pid, ("rte-worker", "lcore-worker"))
                time.sleep(1.0 + seconds)
                spent = thread.seconds()
                p.stdin.write(b"\n")
                p.stdin.close()
                p.wait(DEADLINE)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                raise Failed("testpmd did not end") from None
            finally:
                stop(p, signal.SIGKILL)
        with open(f"{self.folder}/testpmd.log", encoding="utf-8") as f:
            text = f.read()
        own = re.search(r"CPU cycles/packet=([0-9.]+)", text)
        total_ = re.search(r"for all ports\D+RX-packets: (\d+)\s+RX-dropped: (\d+)"
            r".*?TX-packets: (\d+)\s+TX-dropped: (\d+)", text, re.S)
        if not own or not total_:
            raise Failed("testpmd: " + text[-300:])
        if int(total_.group(1)) != int(total_.group(3)):
            raise Failed("testpmd did not forward every packet")
        return spent * self.hz / int(total_.group(1)), float(own.group(1))

    def close(self):
        pass


class Hook:
    """A peer that somebody added: a program that is told the files and prints {"ticks": N}."""

    def __init__(self, program, folder, files):
        self.program, self.folder, self.files = program, folder, files

    def ticks(self, seconds):
        if self.program is None:
            raise Absent("no program of this name in SLUICE_PEERS (perf/peers/README.md)")
        try:
            done = subprocess.run([self.program, self.folder, *self.files, str(seconds)], text=True,
                capture_output=True, timeout=60 + seconds, check=False, env={**os.environ,
                "PEER_CONTROL_CPU": str(CONTROL_CPU), "PEER_WORKER_CPU": str(WORKER_CPU)})
        except subprocess.TimeoutExpired:
            raise Failed("longer than a minute") from None
        if done.returncode == 77:
            raise Absent(done.stdout.strip() or done.stderr.strip())
        if done.returncode != 0:
            raise Failed(done.stderr.strip()[-300:])
        ticks = float(json.loads(done.stdout.strip().splitlines()[-1])["ticks"])
        return ticks, ticks

    def close(self):
        pass


def hooks():
    """Names and programs in the folder that SLUICE_PEERS names; those that readers look for are there
    without a program too."""
    folder = os.environ.get("SLUICE_PEERS", "")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {**dict.fromkeys(("vpp", "grout")), **{n: os.path.join(folder, n) for n in names
        if os.access(os.path.join(folder, n), os.X_OK)}}


class Rim:
    """The daemon's worker loop that only swaps MACs: the rim's own floor."""

    def __init__(self, build, files):
        self.program, self.files = os.path.join(build, "perf/bench_rim"), files
        if not os.access(self.program, os.X_OK):
            raise Absent(f"{self.program} is not built (-Ddataplane)")

    def ticks(self, seconds):
        done = subprocess.run([self.program, "floor", *self.files, "--seconds", str(seconds)],
            capture_output=True, text=True, timeout=DEADLINE, check=False)
        if done.returncode != 0:
            raise Failed(done.stderr.strip())
        got = json.loads(done.stdout)
        return got["cpu_ticks"], sorted(got["samples"])[len(got["samples"]) // 2]

    def close(self):
        pass


MANIFEST = f"""apiVersion: v1
kind: Node
metadata: {{name: node-1}}
spec: {{podCIDR: 10.1.0.0/16, podCIDRs: [10.1.0.0/16]}}
status: {{addresses: [{{type: InternalIP, address: 192.0.2.10}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec:
  type: ClusterIP
  clusterIP: {frames.VIP}
  clusterIPs: [{frames.VIP}]
  ipFamilies: [IPv4]
  ports: [{{name: u, port: 80, targetPort: 8080, protocol: UDP}},
    {{name: t, port: 80, targetPort: 8080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: default, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: u, port: 8080, protocol: UDP}}, {{name: t, port: 8080, protocol: TCP}}]
endpoints:
- addresses: ["{frames.BACKEND}"]
  nodeName: node-1
  conditions: {{ready: true, serving: true, terminating: false}}
"""


def mac(data):
    return ":".join(f"{b:02x}" for b in data)


def vport(name, addresses, peer, path=None, capture=None):
    """A pod's vport that plays a file for ever and drops what is sent to it, or writes it down;
    without a file one that only drops."""
    if path:
        port = f"kind: pcap\n    path: {path}\n    args: infinite_rx=1\n"
        port += f"    tx-path: {capture}\n" if capture else ""
    else:
        port = "kind: 'null'\n    args: no-rx=1\n"
    return (f"  - name: {name}\n    role: pod\n    {port}    addresses: [{', '.join(addresses)}]\n"
        f"    peer-mac: {mac(peer)}\n")


def service_vports(source, files, n_flows, capture=(None, None)):
    """The clients on the first file, the backend on the second."""
    return [source.vport(0, "clients", frames.client_addresses(n_flows), frames.CLIENT_MAC, files[0],
        capture[0]), source.vport(1, "backends", [frames.BACKEND], frames.BACKEND_MAC, files[1], capture[1])]


class Standin:
    """The stand-in for the API server."""

    def __init__(self, build, folder, *args, manifest=None):
        program = os.path.join(build, "tests/apiserver/sluice-apiserver")
        if not os.access(program, os.X_OK):
            raise Absent(f"{program} is not built")
        self.socket = f"{folder}/api-server.sock"
        if manifest is not None:
            os.makedirs(f"{folder}/manifests")
            with open(f"{folder}/manifests/all.yaml", "w", encoding="utf-8") as f:
                f.write(manifest)
            args += ("--manifests", f"{folder}/manifests")
        self.log = open(f"{folder}/api-server.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(["taskset", "-c", str(CONTROL_CPU), program, "--socket",
            self.socket, *args], stdout=self.log, stderr=self.log)
        until(lambda: "ready" in open(f"{folder}/api-server.log", encoding="utf-8").read(), DEADLINE,
            "the stand-in's start")

    def close(self):
        stop(self.process)
        self.log.close()


def http(path, target, method="GET", body=""):
    """One request over a unix socket: the body of the answer."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(DEADLINE)
        s.connect(path)
        s.sendall((f"{method} {target} HTTP/1.1\r\nHost: perf\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
        out = b""
        while True:
            part = s.recv(1 << 16)
            if not part:
                break
            out += part
    head, _, out = out.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        whole = b""
        while out:
            size, _, out = out.partition(b"\r\n")
            n = int(size, 16)
            whole, out = whole + out[:n], out[n + 2:]
        out = whole
    return out.decode()


class Sluiced:
    """The daemon itself, its services from the stand-in, its ports on the same devices."""

    def __init__(self, build, folder, vports, workers=1, flows=131072, services=1, standin=(),
            manifest=MANIFEST, node="node-1", replies_after=0, watch=False, buffers=65536,
            eal=()):
        """vports: text from vport(). replies_after: the backend's frames wait for so many flows.
        watch: return as soon as the daemon answers."""
        program = os.path.join(build, "sluiced")
        if not os.access(program, os.X_OK):
            raise Absent(f"{program} is not built (-Ddataplane)")
        self.folder, self.process, self.standin = folder, None, None
        self.hz = ticks_per_second(build)
        self.api = f"{folder}/sluiced.sock"
        self.standin = Standin(build, folder, *standin, manifest=manifest)
        self.config = f"""apiVersion: sluice/v1
kind: Config
node: {{name: {node}, addresses: [192.0.2.10]}}
kubernetes: {{socket: {self.standin.socket}}}
workers: {{count: {workers}, lcores: {[WORKER_CPU - n for n in range(workers)]}}}
memory: {{buffers: {buffers}, eal-args: {json.dumps(list(eal))}}}
flows: {{capacity-v4: {flows}, capacity-v6: 1024}}
api: {{socket: {self.api}}}
health: {{bind-address: null}}
vports:
""" + "".join(vports)
        # Replies without a flow would be flows of their own. Until the requests have made theirs,
        # the backend's frames have the wrong address for its vport.
        self.write_config(wrong_mac=replies_after > 0)
        self.log = open(f"{folder}/sluiced.log", "w", encoding="utf-8")
        # Workers pin themselves; what is not pinned stays off their processors.
        self.process = subprocess.Popen(["taskset", "-c", str(CONTROL_CPU), program, "--config",
            f"{folder}/sluiced.yaml"], stdout=self.log, stderr=self.log)
        try:
            until(lambda: self.ready(0 if watch else services), DEADLINE, "sluiced's start")
            self.workers = [Thread(self.process.pid, f"sluice-w{n}") for n in range(workers)]
            if replies_after:
                self.let_replies_in(replies_after)
        except Failed as e:
            self.close()
            with open(f"{folder}/sluiced.log", encoding="utf-8") as f:
                raise Failed(f"{e}: {f.read()[-400:]}") from None

    def write_config(self, wrong_mac):
        right = mac(frames.BACKEND_MAC)
        with open(f"{self.folder}/sluiced.yaml", "w", encoding="utf-8") as f:
            f.write(self.config.replace(right, right[:-2] + "99") if wrong_mac else self.config)

    def let_replies_in(self, flows_sent):
        until(lambda: self.metric("conntrack_created_total") >= flows_sent, DEADLINE, "the flows")
        self.write_config(wrong_mac=False)
        self.process.send_signal(signal.SIGHUP)
        until(self.lossless, DEADLINE, "replies")

    def lossless(self):
        """Nothing is dropped for a while."""
        before = self.metrics()
        time.sleep(0.05)
        after = self.metrics()
        return (total(before, "drops_total") == total(after, "drops_total") and
            total(before, "worker_packets_total") < total(after, "worker_packets_total"))

    def ready(self, services):
        if self.process.poll() is not None:
            raise Failed("sluiced ended")
        if not os.path.exists(self.api):
            return False
        try:
            return self.metric("services_programmed") >= services
        except (OSError, ValueError, KeyError):
            return False

    def metrics(self):
        out = {}
        for line in http(self.api, "/metrics").splitlines():
            if line and line[0] != "#":
                name, _, value = line.rpartition(" ")
                out[name] = float(value)
        return out

    def metric(self, name):
        return total(self.metrics(), name)

    def look(self):
        """Metrics, and the CPU time of all workers."""
        return self.metrics(), sum(w.seconds() for w in self.workers)

    def between(self, before, after):
        """Ticks a packet between two looks: by CPU time, and by the workers' own count of busy
        ticks. Nothing may have been dropped."""
        (m0, cpu0), (m1, cpu1) = before, after
        lost = dropped(m0, m1)
        if lost:
            raise Failed(f"dropped: {lost}")
        packets = total(m1, "worker_packets_total") - total(m0, "worker_packets_total")
        if packets <= 0:
            raise Failed("no packets")
        busy = total(m1, "worker_cycles_total", 'state="busy"') - total(m0, "worker_cycles_total",
            'state="busy"')
        return (cpu1 - cpu0) * self.hz / packets, busy / packets

    def ticks(self, seconds):
        before = self.look()
        time.sleep(seconds)
        return self.between(before, self.look())

    def close(self):
        stop(self.process)
        if self.standin:
            self.standin.close()
        self.log.close()


def total(metrics, name, match=""):
    """The sum of a family's samples whose labels contain match."""
    return sum(v for k, v in metrics.items()
        if k.partition("{")[0] == "sluice_" + name and match in k)


def dropped(before, after):
    """Drops by reason between two scrapes."""
    return {k.split('"')[1]: after[k] - before.get(k, 0) for k in after
        if k.startswith("sluice_drops_total") and after[k] != before.get(k, 0)}


def scratch():
    return tempfile.mkdtemp(prefix="sluice-perf-")
