# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The lab as a module: namespaces, the programs in them, and talking to those.

scripts/lab, scripts/quickstart and the end-to-end tests use it. Standard library only.

    with Lab("t1") as lab:
        lab.up()
        lab.start_apiserver()
        lab.start_sluiced()
        lab.http("client-1", "10.96.0.10", 80, count=10)["backends"]
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
GATEWAY4, GATEWAY6 = "169.254.1.1", "fe80::ecee:eeff:feee:eeee"
MTU = 1500

# name: (IPv4, IPv6, number that makes MACs and interface names); these hang on sluiced.
LOCAL = {
    "client-1": ("10.244.1.11", "fd00:10:244:1::11", 11),
    "client-2": ("10.244.1.12", "fd00:10:244:1::12", 12),
    "pod-1": ("10.244.1.21", "fd00:10:244:1::21", 21),
    "pod-2": ("10.244.1.22", "fd00:10:244:1::22", 22),
    "pod-3": ("10.244.1.23", "fd00:10:244:1::23", 23),
    "host": ("192.0.2.10", "2001:db8:1::10", 10),
}
REMOTE_POD = ("10.244.2.24", "fd00:10:244:2::24")
NODE1, NODE2 = ("192.0.2.10", "2001:db8:1::10"), ("192.0.2.11", "2001:db8:1::11")
OUTSIDE = ("192.0.2.100", "2001:db8:1::100")
# A host somewhere behind the outside: reached by the default route only.
FAR = ("198.51.100.10", "2001:db8:2::10")
PODS1, PODS2 = ("10.244.1.0/24", "fd00:10:244:1::/64"), ("10.244.2.0/24", "fd00:10:244:2::/64")
# What the outside routes to node-1 besides its addresses: externalIPs and load-balancer VIPs.
VIPS = ("203.0.113.0/24", "2001:db8:f::/64")
SERVICES = ("10.96.0.0/16", "fd00:10:96::/112")
SERVERS = ("pod-1", "pod-2", "pod-3", "pod-4", "outside")
NODES = ("sluiced", "lan", "outside", "node-2", "pod-4") + tuple(LOCAL)
OFFLOADS = "tx off rx off sg off tso off gso off gro off".split()
KINDS = {"client": "pod", "pod": "pod", "host": "host"}


def pod_mac(number):
    return "02:51:00:00:01:%02x" % number


def switch_mac(number):
    return "02:51:00:00:00:%02x" % number


UPLINK_MAC = switch_mac(1)


def iface(node):
    """Name of a node's interface in the sluiced namespace."""
    return "v-" + node


def run(*args, check=True, quiet=False):
    out = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                         check=False)
    if check and out.returncode != 0:
        raise LabError("%s: %s" % (" ".join(args), out.stderr.strip() or out.stdout))
    if out.stderr and not check and not quiet:
        sys.stderr.write(out.stderr)
    return out.stdout


class LabError(Exception):
    """What a person has to read, and nothing more."""


class Lab:
    def __init__(self, prefix, rundir=None):
        self.prefix = prefix
        self.run_dir = rundir or "/run/sluice-" + prefix
        self.api_socket = self.path("apiserver.sock")
        self.lock = None

    def ns(self, node):
        return "%s-%s" % (self.prefix, node)

    def enter(self, node):
        """The command in front of a command that runs in node."""
        return ["ip", "netns", "exec", self.ns(node)]

    def ip(self, node, commands):
        """Run lines of ip(8) in a node, in one process."""
        text = "\n".join(line.strip() for line in commands.strip().split("\n"))
        out = subprocess.run(["ip", "-n", self.ns(node), "-batch", "-"], input=text, text=True,
                             capture_output=True, check=False)
        if out.returncode != 0:
            raise LabError("ip in %s: %s\n%s" % (node, out.stderr.strip(), text))

    def sysctl(self, node, **values):
        pairs = ["%s=%s" % (k.replace("__", "."), v) for k, v in values.items()]
        run(*self.enter(node), "sysctl", "-q", "-w", *pairs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    def existing(self):
        names = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line]
        return [n for n in names if n in {self.ns(node) for node in NODES}]

    # --- raising ---------------------------------------------------------------------------

    def claim(self):
        """False when a living process has a lab of this prefix; else it is ours until we end,
        however we end. What its last owner left behind is removed by up()."""
        if self.lock is None:
            os.makedirs(self.run_dir, exist_ok=True)
            self.lock = open(self.path("lock"), "w", encoding="utf-8")
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.lock.close()
                self.lock = None
        return self.lock is not None

    def up(self):
        if not self.claim():
            raise LabError("the lab '%s' is in use; choose another prefix" % self.prefix)
        self.down()
        for node in NODES:
            run("ip", "netns", "add", self.ns(node))
            # Addresses are usable at once, and a node sends nothing that nobody asked for.
            self.sysctl(node, net__ipv6__conf__default__accept_dad=0,
                        net__ipv6__conf__default__router_solicitations=0,
                        net__ipv6__conf__default__accept_ra=0)
            self.ip(node, "link set lo up")
        # Sluice alone speaks on its interfaces: the kernel there has no address and no IPv6.
        self.sysctl("sluiced", net__ipv6__conf__all__disable_ipv6=1,
                    net__ipv6__conf__default__disable_ipv6=1)
        self.sysctl("lan", net__ipv6__conf__all__disable_ipv6=1,
                    net__ipv6__conf__default__disable_ipv6=1)
        self.raise_lan()
        for node, (v4, v6, number) in LOCAL.items():
            self.raise_local(node, v4, v6, number)
        self.raise_outside()
        self.raise_node2()
        for node in SERVERS:
            self.server(node)

    def raise_lan(self):
        self.ip("lan", """
            link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
            link set br0 up""")
        self.ip("sluiced", "link add up0 address %s mtu %d type veth peer name node-1 netns %s" %
                (UPLINK_MAC, MTU, self.ns("lan")))
        for node, number in (("outside", 100), ("node-2", 2)):
            self.ip(node, "link add eth0 address %s mtu %d type veth peer name %s netns %s" %
                    (pod_mac(number), MTU, node, self.ns("lan")))
        for port in ("node-1", "outside", "node-2"):
            self.ip("lan", "link set %s master br0 up" % port)
        self.ip("sluiced", "link set up0 arp off up")
        self.offloads("sluiced", "up0")
        self.offloads("outside", "eth0")
        self.offloads("node-2", "eth0")

    def raise_local(self, node, v4, v6, number):
        self.ip("sluiced", """
            link add %s address %s mtu %d type veth peer name eth0 address %s mtu %d netns %s
            link set %s arp off up""" % (iface(node), switch_mac(number), MTU, pod_mac(number),
                                         MTU, self.ns(node), iface(node)))
        self.offloads(node, "eth0")
        self.offloads("sluiced", iface(node))
        self.ip(node, """
            addr add %s/32 dev eth0
            addr add %s/128 dev eth0 nodad
            link set eth0 up
            route add default via %s dev eth0 onlink
            route add default via %s dev eth0""" % (v4, v6, GATEWAY4, GATEWAY6))

    def raise_outside(self):
        self.ip("outside", """
            addr add %s/24 dev eth0
            addr add %s/64 dev eth0 nodad
            addr add %s/32 dev lo
            addr add %s/128 dev lo
            link set eth0 up
            route add %s via %s
            route add %s via %s""" % (OUTSIDE + FAR + (VIPS[0], NODE1[0], VIPS[1], NODE1[1])))

    def raise_node2(self):
        self.sysctl("node-2", net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.ip("node-2", """
            addr add %s/24 dev eth0
            addr add %s/64 dev eth0 nodad
            link set eth0 up
            link add pod-4 address %s mtu %d type veth peer name eth0 address %s mtu %d netns %s
            addr add %s/32 dev pod-4
            addr add fe80::1/64 dev pod-4 nodad
            link set pod-4 up
            route add %s/32 dev pod-4
            route add %s/128 dev pod-4
            route add %s via %s
            route add default via %s
            route add %s via %s
            route add default via %s""" % (
            NODE2 + (switch_mac(24), MTU, pod_mac(24), MTU, self.ns("pod-4"), GATEWAY4) +
            REMOTE_POD + (PODS1[0], NODE1[0], OUTSIDE[0], PODS1[1], NODE1[1], OUTSIDE[1])))
        self.offloads("node-2", "pod-4")
        self.offloads("pod-4", "eth0")
        self.ip("pod-4", """
            addr add %s/32 dev eth0
            addr add %s/128 dev eth0 nodad
            link set eth0 up
            route add default via %s dev eth0 onlink
            route add default via fe80::1 dev eth0""" % (REMOTE_POD + (GATEWAY4,)))

    def offloads(self, node, name):
        """A veth hands over packets with unfinished checksums, or larger than the MTU, unless
        told not to."""
        run(*self.enter(node), "ethtool", "-K", name, *OFFLOADS)

    # --- servers ---------------------------------------------------------------------------

    def spawn(self, node, name, args):
        """Start a process in a node; down() ends it. Returns its pid."""
        log = open(os.path.join(self.run_dir, name + ".log"), "w", encoding="utf-8")
        process = subprocess.Popen(self.enter(node) + args, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        log.close()
        # "PID START": a pid that another process has by now is not ours to end.
        with open(os.path.join(self.run_dir, name + ".pid"), "w", encoding="utf-8") as f:
            f.write("%d %s\n" % (process.pid, start_time(process.pid)))
        process.returncode = 0  # stop() ends it by its pid; Popen need not mind it
        return process.pid

    def server(self, node):
        ready = os.path.join(self.run_dir, "server-%s.ready" % node)
        if os.path.exists(ready):
            os.unlink(ready)
        self.stop("server-" + node)
        self.spawn(node, "server-" + node, [sys.executable, os.path.join(ROOT, "scripts/lab-server"),
                                            "--name", node, "--ready", ready])
        wait_for(lambda: os.path.exists(ready), 10, "the servers of " + node)

    def stop(self, name, grace=5.0):
        path = os.path.join(self.run_dir, name + ".pid")
        try:
            with open(path, encoding="utf-8") as f:
                pid, started = f.read().split()
            pid = int(pid)
        except (OSError, ValueError):
            return
        deadline = time.monotonic() + grace
        sign = signal.SIGTERM
        while started != "gone" and start_time(pid) == started:
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                break
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
            sign = 0 if time.monotonic() < deadline else signal.SIGKILL
            time.sleep(0.01)
        os.unlink(path)

    def down(self):
        if os.path.isdir(self.run_dir):
            for name in os.listdir(self.run_dir):
                if name.endswith(".pid"):
                    self.stop(name[:-4])
        for name in self.existing():
            # Whatever still runs there holds the namespace's interfaces.
            for pid in run("ip", "netns", "pids", name).split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            run("ip", "netns", "del", name, check=False)
        if os.path.isdir(self.run_dir):
            for name in os.listdir(self.run_dir):
                if name.endswith((".pid", ".ready", ".sock")):
                    os.unlink(os.path.join(self.run_dir, name))

    # --- the programs under test -------------------------------------------------------------

    def binary(self, name):
        """A program of the build that SLUICE_BIN_BUILD names, build/release when not set."""
        build = os.environ.get("SLUICE_BIN_BUILD", os.path.join(ROOT, "build/release"))
        for folder in ("control", "control/cli", "tests/apiserver", ""):
            path = os.path.join(build, folder, name)
            if os.path.isfile(path):
                return path
        raise LabError("%s is not built in %s" % (name, build))

    def path(self, name):
        return os.path.join(self.run_dir, name)

    def start_apiserver(self, *args, manifests=os.path.join(ROOT, "scripts/manifests")):
        """The stand-in API server on apiserver.sock, serving a copy of the manifests."""
        self.stop("apiserver")
        shutil.rmtree(self.path("manifests"), ignore_errors=True)
        shutil.copytree(manifests, self.path("manifests"))
        self.spawn("lan", "apiserver", [self.binary("sluice-apiserver"),
                                        "--socket", self.path("apiserver.sock"),
                                        "--control", self.path("apiserver-control.sock"),
                                        "--manifests", self.path("manifests"), *args])
        self.wait("apiserver", lambda: self.apiserver.get("/version")[0] == 200, 10,
                  "the API server to answer")

    def start_sluiced(self, *overrides, ready=True, args=()):
        """sluiced in its namespace; overrides are those of config()."""
        self.stop("sluiced", grace=10)
        with open(self.path("sluice.yaml"), "w", encoding="utf-8") as f:
            f.write(self.config(overrides))
        self.spawn("sluiced", "sluiced", [self.binary("sluiced"), "--config",
                                          self.path("sluice.yaml"), *args])
        if ready:
            self.wait("sluiced", lambda: self.sluiced.get("/readyz")[0] == 200, 30,
                      "sluiced to be ready")

    @property
    def apiserver(self):
        return Rest(self.api_socket)

    @property
    def faults(self):
        return Rest(self.path("apiserver-control.sock"))

    @property
    def sluiced(self):
        return Rest(self.path("sluiced.sock"))

    def running(self, name):
        try:
            with open(self.path(name + ".pid"), encoding="utf-8") as f:
                pid, started = f.read().split()
        except (OSError, ValueError):
            return False
        return started != "gone" and start_time(int(pid)) == started

    def log(self, name):
        try:
            with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def wait(self, program, condition, seconds, what):
        """Wait for a condition that needs a program; its end ends the wait, with its log."""
        def met():
            if not self.running(program):
                raise LabError("%s ended; its log:\n%s" % (program,
                                                                  self.log(program)[-4000:]))
            try:
                return condition()
            except (OSError, http.client.HTTPException):
                return False
        try:
            wait_for(met, seconds, what)
        except LabError as error:
            raise LabError("%s\n--- %s.log\n%s" % (error, program,
                                                     self.log(program)[-4000:])) from None

    # --- what sluiced says ---------------------------------------------------------------------

    def items(self, target):
        """Every object of a list, over all of its pages."""
        found, more = [], ""
        while True:
            page = target + ("&" if "?" in target else "?") + "continue=" + more if more else target
            status, answer = self.sluiced.get(page)
            if status != 200:
                raise LabError("GET %s: %s %s" % (page, status, answer))
            found += answer["items"]
            more = (answer.get("metadata") or {}).get("continue")
            if not more:
                return found

    def drops(self):
        """Packets by reason, without the reasons that never came up."""
        return {item["reason"]: int(item["packets"]) for item in self.items("/api/v1/drops")
                if int(item["packets"])}

    def backends(self, service):
        """Addresses of the endpoints that new connections to a Service of default may get."""
        return {item["address"] for item in self.items("/api/v1/backends")
                if item["service"] == "default/" + service and item.get("inClusterList")}

    def counters(self):
        """Sums over all workers."""
        total = {}
        for worker in self.items("/api/v1/workers"):
            for name, value in worker["status"]["counters"].items():
                total[name] = total.get(name, 0) + int(value)
        return total

    # --- objects of the API server --------------------------------------------------------------

    @staticmethod
    def object_path(kind, name=""):
        group = {"services": "/api/v1", "nodes": "/api/v1", "endpoints": "/api/v1",
                 "endpointslices": "/apis/discovery.k8s.io/v1"}[kind]
        place = "" if kind == "nodes" else "/namespaces/default"
        return "%s%s/%s%s" % (group, place, kind, "/" + name if name else "")

    def edit(self, kind, name, change):
        """Read, change, put back, as a controller does. Returns what change returned."""
        target = self.object_path(kind, name)
        status, found = self.apiserver.get(target)
        if status != 200:
            raise LabError("GET %s: %s %s" % (target, status, found))
        told = change(found)
        status, answer = self.apiserver.put(target, found)
        if status != 200:
            raise LabError("PUT %s: %s %s" % (target, status, answer))
        return told

    def create(self, kind, body):
        status, answer = self.apiserver.post(self.object_path(kind), body)
        if status not in (200, 201):
            raise LabError("POST %s: %s %s" % (kind, status, answer))

    def delete(self, kind, name):
        return self.apiserver.delete(self.object_path(kind, name))[0]

    def remove_endpoint(self, service, pod):
        """Takes a pod out of both families' slices; returns what restore_endpoint wants."""
        def take(slice_):
            there = [e for e in slice_["endpoints"] if e["targetRef"]["name"] == pod]
            slice_["endpoints"] = [e for e in slice_["endpoints"] if e not in there]
            return there
        return [(name, self.edit("endpointslices", name, take))
                for name in (service + "-ipv4", service + "-ipv6")]

    def restore_endpoint(self, removed):
        for name, endpoints in removed:
            self.edit("endpointslices", name,
                      lambda slice_, back=endpoints: slice_["endpoints"].extend(back))

    # --- what a test does in a node -----------------------------------------------------------

    def run(self, node, *args, timeout=60, stdin=None):
        """Run a command in a node; never raises for its exit status."""
        try:
            return subprocess.run(self.enter(node) + list(args), capture_output=True, text=True,
                                  stdin=stdin or subprocess.DEVNULL, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(args, 124, "", "not done after %d s" % timeout)

    def start_client(self, node, kind, addr, port, stdin=subprocess.DEVNULL, **options):
        args = [sys.executable, os.path.join(ROOT, "scripts/lab-client"), kind, addr, str(port)]
        for key, value in options.items():
            args += ["--" + key] if value is True else ["--" + key, str(value)]
        return subprocess.Popen(self.enter(node) + args, text=True, stdin=stdin,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @staticmethod
    def result(client, timeout=120):
        """What a client printed last."""
        try:
            out, err = client.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            client.kill()
            out, err = client.communicate()
        try:
            return json.loads(out.strip().split("\n")[-1])
        except ValueError:
            return {"done": 0, "failed": 1, "backends": {}, "clients_seen": {}, "first": {},
                    "last": {}, "times": {}, "lines": 0, "error": err, "errors": {err: 1}, "slowest": 0}

    def http(self, node, addr, port, **options):
        return self.result(self.start_client(node, "http", addr, port, **options))

    def udp(self, node, addr, port, **options):
        return self.result(self.start_client(node, "udp", addr, port, **options))

    # --- what sluiced is told ----------------------------------------------------------------

    def config(self, overrides=()):
        """The configuration file; overrides are KEY=VALUE with dots, as workers.count=2."""
        doc = {
            "node": {"name": "node-1", "addresses": list(NODE1)},
            "kubernetes": {"socket": os.path.join(self.run_dir, "apiserver.sock")},
            "workers": {"count": 1},
            "memory": {"hugepages": "off"},
            "vports": [self.vport(node, *LOCAL[node]) for node in LOCAL] + [
                {"name": "uplink", "role": "uplink", "kind": "af_packet", "iface": "up0",
                 "addresses": [NODE1[0] + "/24", NODE1[1] + "/64"], "mac": UPLINK_MAC,
                 "mtu": MTU}],
            "routes": [
                {"prefix": "0.0.0.0/0", "via": OUTSIDE[0], "vport": "uplink"},
                {"prefix": "::/0", "via": OUTSIDE[1], "vport": "uplink"}],
            "api": {"socket": os.path.join(self.run_dir, "sluiced.sock")},
        }
        for override in overrides:
            key, _, value = override.partition("=")
            place = doc
            *path, last = key.split(".")
            for step in path:
                place = place.setdefault(step, {})
            place[last] = json.loads(value) if value[:1] in "[{0123456789tf\"" else value
        return "".join(yaml_lines(doc))

    @staticmethod
    def vport(node, v4, v6, number):
        return {"name": node, "role": KINDS[node.split("-")[0]], "kind": "af_packet",
                "iface": iface(node), "addresses": [v4, v6], "mac": switch_mac(number),
                "peer-mac": pod_mac(number), "mtu": MTU}

    def show(self):
        print("prefix %s, run directory %s" % (self.prefix, self.run_dir))
        print("%-10s %-18s %-16s %-22s %s" % ("node", "namespace", "IPv4", "IPv6", "at sluiced"))
        rows = {"outside": OUTSIDE, "node-2": NODE2, "pod-4": REMOTE_POD}
        rows.update({node: LOCAL[node][:2] for node in LOCAL})
        there = self.existing()
        for node in NODES:
            v4, v6 = rows.get(node, ("", ""))
            print("%-10s %-18s %-16s %-22s %s" % (
                node, self.ns(node) if self.ns(node) in there else "(down)", v4, v6,
                iface(node) if node in LOCAL else "up0" if node == "lan" else ""))


class Rest:
    """A REST API on a unix socket, a connection a request."""

    def __init__(self, path):
        self.path = path

    def request(self, method, target, body=None, content_type="application/json", timeout=10):
        """(status, body): parsed when it is JSON, text otherwise."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        connection = http.client.HTTPConnection("localhost")
        connection.sock = sock
        try:
            sock.connect(self.path)
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, target, data,
                               {"Content-Type": content_type} if data else {})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
            sock.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def get(self, target):
        return self.request("GET", target)

    def put(self, target, body):
        return self.request("PUT", target, body)

    def post(self, target, body):
        return self.request("POST", target, body)

    def delete(self, target):
        return self.request("DELETE", target)


def yaml_lines(doc, indent=""):
    """Block style for what has a name, flow style (which JSON is) for the rest."""
    for key, value in doc.items():
        if isinstance(value, dict) and value:
            yield "%s%s:\n" % (indent, key)
            yield from yaml_lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield "%s%s:\n" % (indent, key)
            for item in value:
                lines = list(yaml_lines(item, indent + "  "))
                yield indent + "- " + lines[0].lstrip()
                yield from lines[1:]
        elif value not in ({}, None):
            yield "%s%s: %s\n" % (indent, key, json.dumps(value))


def start_time(pid):
    """When a process started, in clock ticks; "gone" when it is none, or a zombie."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        # The first thread may be a zombie while others still hold the sockets.
        threads = len(os.listdir("/proc/%d/task" % pid))
    except (OSError, IndexError):
        return "gone"
    return "gone" if fields[0] in "ZX" and threads == 1 else fields[19]


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError("waited %d s for %s" % (seconds, what))
        time.sleep(0.02)
