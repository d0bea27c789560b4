# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What the quick start shows once everything is built: raises the lab, runs the checks, reports.

Every check is ordinary traffic of kernel tools in the lab's namespaces; nothing is simulated.
"""

import os
import re
import signal
import subprocess
import sys
import time

from labkit import FAR, LOCAL, NODE1, NODE2, OUTSIDE, REMOTE_POD, ROOT, Lab, LabError, wait_for

WEB = ("10.96.0.10", "fd00:10:96::10")


class Report:
    def __init__(self):
        self.failed = []
        self.passed = 0

    def section(self, title):
        print("\n" + title, flush=True)

    def check(self, what, good, told):
        """One line: what was done, what came of it."""
        print("  %-4s %-50s %s" % ("ok" if good else "FAIL", what, told), flush=True)
        if good:
            self.passed += 1
        else:
            self.failed.append(what)


def url(addr, port=80):
    return "http://[%s]:%d/" % (addr, port) if ":" in addr else "http://%s:%d/" % (addr, port)


def show(counter):
    return "  ".join("%s %s" % (k, v) for k, v in sorted(counter.items())) or "nothing"


def first_error(result):
    return ", ".join(result["errors"]) or "no error"


def curl(lab, node, addr, port=80):
    """(backend, address it saw) or (None, curl's message)."""
    run = lab.run(node, "curl", "-sS", "--max-time", "3", url(addr, port))
    answer = run.stdout.split()
    return (answer[0], answer[1]) if run.returncode == 0 and len(answer) == 2 else (
        None, run.stderr.strip() or "exit %d" % run.returncode)


def check_curl(lab, report, what, node, addr, port=80, backends=None, seen=None):
    backend, client = curl(lab, node, addr, port)
    good = backend is not None and (backends is None or backend in backends) and (
        seen is None or client in seen)
    report.check(what, good, "%s answered, saw client %s" % (backend, client) if backend
                 else client)


def cluster_ip(lab, report):
    report.section("ClusterIP: client-1 -> web (3 endpoints on this node)")
    for name, addr in zip(("IPv4", "IPv6"), WEB):
        check_curl(lab, report, "curl %s" % url(addr), "client-1", addr,
                   backends=("pod-1", "pod-2", "pod-3"), seen=LOCAL["client-1"][:2])
        result = lab.http("client-1", addr, 80, count=1000, clients=10)
        shares = [result["backends"].get(pod, 0) / 10 for pod in ("pod-1", "pod-2", "pod-3")]
        good = result["done"] == 1000 and all(25 <= share <= 42 for share in shares)
        report.check("1000 connections, %s" % name, good,
                     show(result["backends"]) if result["done"] == 1000 else first_error(result))
    for addr in ("10.96.0.13", "fd00:10:96::13"):
        result = lab.udp("client-1", addr, 9000, count=50, size=2000)
        report.check("UDP echo, 50 datagrams of 2000 bytes", result["done"] == 50,
                     "%d came back unchanged (%s)" % (result["done"], addr)
                     if result["done"] == 50 else first_error(result))
    for addr in ("10.96.0.12", "fd00:10:96::12"):
        check_curl(lab, report, "an endpoint behind node-2 (%s)" % addr, "client-1", addr,
                   backends=("pod-4",), seen=LOCAL["client-1"][:2])
    for addr in WEB:
        check_curl(lab, report, "the host as a client (%s)" % addr, "host", addr, seen=NODE1)


def plain_paths(lab, report):
    report.section("Pod to pod, to the other node, to the outside")
    for what, addr in (("pod to pod", LOCAL["pod-2"][0]), ("pod to pod", LOCAL["pod-2"][1]),
                       ("pod to pod of node-2", REMOTE_POD[0]),
                       ("pod to pod of node-2", REMOTE_POD[1]),
                       ("pod to outside", OUTSIDE[0]), ("pod to outside", OUTSIDE[1]),
                       ("pod to far outside", FAR[0]), ("pod to far outside", FAR[1])):
        run = lab.run("client-1", "ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", addr)
        rtt = re.search(r"= [\d.]+/([\d.]+)/", run.stdout)
        report.check("ping %s (%s)" % (what, addr), run.returncode == 0 and rtt is not None,
                     "3 of 3, %s ms" % rtt.group(1) if rtt else run.stdout[-120:].strip())
    for addr, node in zip(OUTSIDE, NODE1):
        check_curl(lab, report, "client-2 -> outside is masqueraded", "client-2", addr, 8080,
                   seen=(node,))
    for addr, router in zip(REMOTE_POD, NODE2):
        run = lab.run("client-1", "traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", addr)
        hops = re.findall(r"^\s*\d+\s+(\S+)", run.stdout, re.M)
        report.check("traceroute to pod-4", len(hops) == 3 and hops[1:] == [router, addr],
                     " -> ".join(hops))
    for addr in OUTSIDE:
        run = lab.run("client-1", "traceroute", "-n", "-q", "1", "-w", "2", "-m", "6", addr)
        hops = re.findall(r"^\s*\d+\s+(\S+)", run.stdout, re.M)
        report.check("traceroute to the outside", len(hops) == 2 and hops[-1] == addr,
                     " -> ".join(hops))


def from_outside(lab, report):
    report.section("From outside")
    for node in NODE1:
        check_curl(lab, report, "NodePort %s" % url(node, 30080), "outside", node, 30080,
                   seen=NODE1)
    for node in NODE1:
        check_curl(lab, report, "NodePort 30082, policy Local keeps the client", "outside", node,
                   30082, backends=("pod-1", "pod-2", "pod-3"), seen=OUTSIDE)
    for vip in ("203.0.113.20", "2001:db8:f::20"):
        check_curl(lab, report, "load-balancer VIP %s" % vip, "outside", vip)
    for vip in ("203.0.113.10", "2001:db8:f::10"):
        check_curl(lab, report, "external IP %s" % vip, "outside", vip)
    check_curl(lab, report, "a pod uses the load-balancer VIP", "client-1", "203.0.113.20",
               backends=("pod-1", "pod-2", "pod-3"))


def corners(lab, report):
    report.section("Corners")
    for addr in ("10.96.0.15", "fd00:10:96::15"):
        check_curl(lab, report, "hairpin: pod-1 reaches itself by its Service", "pod-1", addr,
                   backends=("pod-1",))
    for addr in ("10.96.0.14", "fd00:10:96::14"):
        began = time.monotonic()
        run = lab.run("client-1", "curl", "-sS", "--max-time", "5", url(addr))
        took = time.monotonic() - began
        report.check("no endpoint: refused at once (%s)" % addr, run.returncode == 7 and took < 1,
                     "%s, %d ms" % ("connection refused" if run.returncode == 7
                                    else run.stderr.strip(), took * 1000))
        result = lab.udp("client-1", addr, 9000, count=1)
        report.check("no endpoint: UDP is told by ICMP", "refused" in first_error(result),
                     first_error(result))


def under_load(lab, report):
    report.section("pod-3 leaves and comes back while 50 clients loop for 12 s")
    held = []
    while len(held) < 12 and not any(name == "pod-3" for _, name in held):
        client = lab.start_client("client-2", "hold", WEB[0], 9001, stdin=subprocess.PIPE)
        held.append((client, client.stdout.readline().split()[-1:] == ["pod-3"] and "pod-3"))
    load = lab.start_client("client-1", "http", WEB[0], 80, seconds=12, clients=50, times=True)
    load6 = lab.start_client("client-2", "http", WEB[1], 80, seconds=12, clients=5)
    time.sleep(3)
    removed = lab.remove_endpoint("web", "pod-3")
    began = time.monotonic()
    wait_for(lambda: not lab.backends("web") & set(LOCAL["pod-3"][:2]), 5,
             "sluiced to apply the removal")
    applied = time.time()
    lag = time.monotonic() - began
    time.sleep(4)
    back = time.time()
    lab.restore_endpoint(removed)
    for name, client in (("IPv4", load), ("IPv6", load6)):
        result = lab.result(client)
        report.check("requests, %s" % name, result["done"] > 0 and result["failed"] == 0,
                     "%d done, %d failed; %s" % (result["done"], result["failed"],
                                                 show(result["backends"])))
        if name == "IPv4":
            times = result["times"].get("pod-3", [])
            again = min((stood for _, stood in times if stood > back), default=0)
            late = [asked for asked, stood in times if asked > applied and stood < back]
            report.check("no new connection to pod-3 while it was away", not late,
                         "%d in %.1f s" % (len(late), back - applied))
            report.check("pod-3 got new connections again", again > 0,
                         "the first %.0f ms after it was back" % (1000 * (again - back))
                         if again else "none")
    report.check("the removal was applied", True, "%.0f ms after the API said so" % (lag * 1000))
    for client, name in held:
        client.stdin.write("end\n")
        result = lab.result(client)
        if name == "pod-3":
            report.check("an open TCP connection to pod-3 lived on", not result["error"],
                         "%d lines echoed, the slowest %.0f ms" % (result["lines"],
                                                                   result["slowest"] * 1000))


def translations(lab):
    print("\nSome flows as sluiced holds them (sluicectl get flows)")
    run = subprocess.run([lab.binary("sluicectl"), "--socket", lab.path("sluiced.sock"), "get",
                          "flows", "--limit", "6"], capture_output=True, text=True, timeout=20,
                         check=False)
    for line in run.stdout.splitlines()[:7]:
        print("  " + line)


def accounts(lab, report):
    report.section("What sluiced counted")
    drops = lab.drops()
    for name in sorted(drops, key=drops.get, reverse=True):
        print("       drop %-28s %d" % (name, drops[name]))
    bad = [name for name in drops if name in ("Internal", "NoHeadroom", "NoBuffer", "TxQueueFull",
                                              "FlowTableFull", "FlowIndexFull")]
    report.check("no drop that should not be", not bad, ", ".join(bad) or
                 "%d reasons, all of them expected" % len(drops))


def look_further(lab):
    ctl = "sudo %s --socket %s" % (os.path.relpath(lab.binary("sluicectl")),
                                   lab.path("sluiced.sock"))
    print("""
How to look further
  %s status
  %s get services
  %s get flows --limit 10
  %s get drops
  sudo scripts/lab exec client-1 curl http://10.96.0.10/
  sudo curl --unix-socket %s http://localhost/metrics
  edit %s/manifests/10-web.yaml: the stand-in sees the change at once
  logs: %s/*.log""" % (ctl, ctl, ctl, ctl, lab.path("sluiced.sock"), lab.run_dir, lab.run_dir))


def run(lab, report):
    began = time.monotonic()
    lab.up()
    lab.start_apiserver()
    lab.start_sluiced()
    print("lab up in %.1f s: 9 kernel stacks around sluiced, API on a unix socket" %
          (time.monotonic() - began))
    cluster_ip(lab, report)
    plain_paths(lab, report)
    from_outside(lab, report)
    corners(lab, report)
    under_load(lab, report)
    translations(lab)
    accounts(lab, report)


def main():
    once = "--once" in sys.argv[1:]
    os.chdir(ROOT)
    lab, report = Lab(os.environ.get("SLUICE_LAB", "sl")), Report()
    if not lab.claim():
        sys.exit("a quick start, or a lab of that name, is up already (%s)" % lab.run_dir)
    # A shell that starts us in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        run(lab, report)
        print("\n%d of %d checks passed%s" % (
            report.passed, report.passed + len(report.failed),
            "" if not report.failed else "; failed: " + "; ".join(report.failed)))
        if not once:
            look_further(lab)
            print("\nThe lab is up. Ctrl-C removes it.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print()
    except LabError as error:
        print("quickstart: %s" % error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lab.down()
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
