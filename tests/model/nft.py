#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The kernel as a second opinion: random cluster states rendered as nftables rules in the layout
of kube-proxy's nftables mode, in network namespaces; the same packets by kernel sockets there,
through the dataplane, and by the model. All three have to mean the same.

	nft.py --harness PATH [--worlds N] [--seed N]          (root)

Compared is what clients can see: which endpoint answered, whether it saw the client's address, a
refusal, silence, or that nobody interfered. Left out is what the kernel cannot express in this
layout or the namespaces cannot carry: SCTP, session affinity, ClusterIPs closed to the outside,
other ways to tell local clients, a host that reaches itself, and an outside client whose endpoint
is outside, too, without source NAT."""

import argparse
import collections
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import generate  # noqa: E402
import oracle  # noqa: E402
from oracle import V4, V6, show_ip  # noqa: E402

FAMILIES = (V4, V6)
PORTS = sorted(set(generate.TARGETS + generate.SERVICE_PORTS + generate.NODE_PORTS))
# Seconds without an answer. A refusal that comes while connect() still holds the socket is lost,
# and comes again with the second SYN, a second later.
SILENCE = {'TCP': 1.5, 'UDP': 0.3}
# What lies behind the uplink and answers for any address inside.
FAR = {f: sorted(set(a + ('/32' if f == V4 else '/128')
                     for a in generate.REMOTE[f] + generate.OUTSIDE[f])) for f in FAMILIES}
MARK = '0x4000'


# --- in a namespace: servers on every port, and a client that does as it is told ----------------

def serve():
    selector = selectors.DefaultSelector()
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for port in PORTS:
                s = socket.socket(family, kind)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                elif kind == socket.SOCK_DGRAM:
                    s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
                s.bind(('::' if family == socket.AF_INET6 else '0.0.0.0', port))
                if kind == socket.SOCK_STREAM:
                    s.listen(64)
                selector.register(s, selectors.EVENT_READ, port)
    while True:
        for key, _ in selector.select():
            try:
                answer(key.fileobj, key.data)
            except OSError:
                pass  # the client has gone


def answer(s, port):
    if s.type == socket.SOCK_STREAM:
        c, peer = s.accept()
        c.sendall(json.dumps([c.getsockname()[0], port, peer[0]]).encode())
        c.close()
        return
    _, control, _, peer = s.recvmsg(100, 200)
    level, kind, data = control[0]
    if s.family == socket.AF_INET:
        local = socket.inet_ntop(socket.AF_INET, data[8:12])
        back = struct.pack('=i4s4s', 0, data[8:12], data[8:12])
    else:
        local = socket.inet_ntop(socket.AF_INET6, data[:16])
        back = data[:16] + struct.pack('=i', 0)
    s.sendmsg([json.dumps([local, port, peer[0]]).encode()], [(level, kind, back)], 0, peer)


def connect(p):
    family = socket.AF_INET6 if ':' in p['dst'] else socket.AF_INET
    tcp = p['proto'] == 'TCP'
    s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(SILENCE[p['proto']])
    try:
        s.bind((p['src'], p['sport']))
        s.connect((p['dst'], p['dport']))
        if not tcp:
            s.send(b'?')
        return {'answer': json.loads(s.recv(200))}
    except ConnectionRefusedError:
        return {'refused': True}
    except (TimeoutError, socket.timeout):
        return {'silence': True}
    except PermissionError:
        return {'denied': True}  # the output hook refused or dropped: one error for both
    except (OSError, ValueError) as e:
        return {'failed': str(e)}
    finally:
        s.close()


def agent():
    threading.Thread(target=serve, daemon=True).start()
    print('{}', flush=True)
    for line in sys.stdin:
        print(json.dumps(connect(json.loads(line))), flush=True)


# --- the namespaces ---------------------------------------------------------------------------

def sh(*commands):
    for c in commands:
        r = subprocess.run(c.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if r.returncode != 0:
            raise SystemExit('%s: %s' % (c, r.stdout.strip()))


class Lab:
    def __init__(self):
        self.prefix = 'slm%d-' % os.getpid()
        self.names, self.agents = [], {}

    def ns(self, name):
        return self.prefix + name

    def inside(self, name, *commands):
        sh(*['ip netns exec %s %s' % (self.ns(name), c) for c in commands])

    def up(self):
        for name in ('node', 'out', 'pod1', 'pod2', 'pod3'):
            sh('ip netns add ' + self.ns(name))
            self.names.append(name)
            self.inside(name, 'ip link set lo up', *['sysctl -qw ' + s for s in (
                'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0',
                'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0',
                'net.ipv4.ip_nonlocal_bind=1', 'net.ipv6.ip_nonlocal_bind=1',
                'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0',
                'net.ipv4.conf.all.accept_local=1', 'net.ipv4.conf.default.accept_local=1')])
        self.inside('node', 'sysctl -qw net.ipv4.ip_forward=1',
                    'sysctl -qw net.ipv6.conf.all.forwarding=1')
        self.link('out', 'uplink')
        for i in range(3):
            self.pod(i)
        for family in FAMILIES:
            first, second, third = generate.NODE_ADDRS[family]
            near = '192.0.2.1' if family == V4 else '2001:db8:1::1'
            bits = 24 if family == V4 else 64
            six = ' -6' if family == V6 else ''
            nodad = ' nodad' if family == V6 else ''
            self.inside('node', 'ip addr add %s/%d dev uplink%s' % (first, bits, nodad),
                        'ip addr add %s/%d dev uplink%s' % (second, bits, nodad),
                        'ip addr add %s dev lo' % third)
            self.inside('node', 'ip%s route add default via %s' % (six, near))
            self.inside('out', 'ip addr add %s/%d dev eth0%s' % (near, bits, nodad),
                        'ip%s route add default via %s' % (six, first),
                        *['ip%s route add local %s dev lo' % (six, c) for c in FAR[family]])
        for name in self.names:
            self.agents[name] = subprocess.Popen(
                ['ip', 'netns', 'exec', self.ns(name), sys.executable, os.path.abspath(__file__),
                 '--agent'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.agents[name].stdout.readline()

    def link(self, name, peer):
        sh('ip link add %s netns %s type veth peer name eth0 netns %s' % (
            peer, self.ns('node'), self.ns(name)))
        self.inside('node', 'ip link set %s up' % peer)
        self.inside(name, 'ip link set eth0 up')

    def pod(self, i):
        name = 'pod%d' % (i + 1)
        v4, v6 = generate.LOCAL_PODS[V4][i], generate.LOCAL_PODS[V6][i]
        self.link(name, name)
        self.inside('node', 'ip addr add 169.254.1.1/32 dev ' + name,
                    'ip addr add fe80::1/64 dev %s nodad' % name,
                    'ip route add %s dev %s' % (v4, name), 'ip -6 route add %s dev %s' % (v6, name))
        self.inside(name, 'ip addr add %s/32 dev eth0' % v4,
                    'ip addr add %s/128 dev eth0 nodad' % v6,
                    'ip route add 169.254.1.1 dev eth0', 'ip route add default via 169.254.1.1',
                    'ip -6 route add default via fe80::1 dev eth0')

    def rules(self, text):
        r = subprocess.run(['ip', 'netns', 'exec', self.ns('node'), 'nft', '-f', '-'], input=text,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if r.returncode != 0:
            raise SystemExit('nft: %s\n%s' % (r.stdout, text))

    def connect(self, p):
        where = {'host': 'node', 'uplink': 'out'}.get(p['in'], p['in'])
        a = self.agents[where]
        a.stdin.write(json.dumps(p) + '\n')
        a.stdin.flush()
        return json.loads(a.stdout.readline())

    def down(self):
        for a in self.agents.values():
            a.kill()
            a.wait()
        for name in self.names:
            subprocess.run(['ip', 'netns', 'del', self.ns(name)], check=False)


# --- a state as rules ---------------------------------------------------------------------------

class Rules:
    """One family's table, in kube-proxy's layout: maps from frontends to chains, a chain a service
    port and list, a chain an endpoint, marks for masquerading, refusals behind the NAT."""

    def __init__(self, state, family):
        self.state, self.family = state, family
        self.ip = 'ip' if family == V4 else 'ip6'
        self.chains, self.number = [], 0
        self.service_ips, self.node_ports, self.firewall = [], [], []
        self.no_endpoints, self.no_node_ports = [], []

    def chain(self, rules):
        self.number += 1
        name = 'c%d' % self.number
        self.chains.append('\tchain %s {\n%s\t}' % (name, ''.join('\t\t%s\n' % r for r in rules)))
        return name

    def balance(self, port, endpoints):
        """A chain that sends to one of the endpoints."""
        targets = []
        for e in endpoints:
            ip = show_ip(e.addr)
            to = '%s:%d' % (ip if self.family == V4 else '[%s]' % ip, e.port)
            targets.append(self.chain([
                '%s saddr %s meta mark set %s' % (self.ip, ip, MARK),
                'meta l4proto %s dnat to %s' % (port.proto.lower(), to)]))
        if not targets:
            return self.chain([])
        return self.chain(['numgen random mod %d vmap { %s }' % (len(targets), ', '.join(
            '%d : goto %s' % (i, t) for i, t in enumerate(targets)))])

    def pods(self):
        return ', '.join(generate.LOCAL_PODS[self.family])

    def internal(self, port):
        state = self.state
        masquerade = 'meta mark set ' + MARK
        if not state.config.masquerade_all:
            masquerade = '%s saddr != { %s } %s' % (self.ip, self.pods(), masquerade)
        chosen = port.local if port.service.itp_local else port.cluster
        return self.chain([masquerade, 'goto ' + self.balance(port, chosen)]), chosen

    def external(self, port):
        cluster = self.balance(port, port.cluster)
        if not port.service.etp_local:
            return self.chain(['meta mark set ' + MARK, 'goto ' + cluster]), port.cluster
        local = self.balance(port, port.local)
        return self.chain([
            '%s saddr { %s } goto %s' % (self.ip, self.pods(), cluster),
            'fib saddr type local meta mark set ' + MARK,
            'fib saddr type local goto ' + cluster,
            'goto ' + local]), port.local

    def frontend(self, key, chain, chosen, port, maps):
        where, refusals = maps
        if port.has_any:
            where.append('%s : goto %s' % (key, chain))
        if not chosen:
            refusals.append('%s : %s' % (key, 'drop' if port.has_any else 'goto reject-it'))

    def add(self, port):
        service, family = port.service, self.family
        proto = port.proto.lower()
        vips, externals = service.vips(family), service.externals(family)
        for ip in dict.fromkeys([service.cluster_ip(family)] + vips + externals):
            hit = self.state.frontend(oracle.Packet('pod', show_ip(ip), show_ip(ip), port.proto, 1,
                                                    port.port))
            if hit is None or hit[1] is not port:
                continue  # another service has it
            chain, chosen = (self.internal if hit[0] == 'ClusterIP' else self.external)(port)
            key = '%s . %s . %d' % (show_ip(ip), proto, port.port)
            self.frontend(key, chain, chosen, port, (self.service_ips, self.no_endpoints))
            ranges = [c for c in map(oracle.parse_cidr, oracle.seq(
                service.spec.get('loadBalancerSourceRanges'))) if c and c[0] == family]
            if hit[0] == 'LoadBalancerVIP' and ranges and not any(c[2] == 0 for c in ranges):
                allowed = ', '.join('%s/%d' % (show_ip((f, n)), length) for f, n, length in ranges)
                self.firewall.append('%s : goto %s' % (key, self.chain(
                    ['%s saddr != { %s } drop' % (self.ip, allowed)])))
        if port.node_port and not any(
                p.node_port == port.node_port and p.proto == port.proto
                for p in self.state.all_ports(family)[:self.state.all_ports(family).index(port)]):
            chain, chosen = self.external(port)
            self.frontend('%s . %d' % (proto, port.node_port), chain, chosen, port,
                          (self.node_ports, self.no_node_ports))

    def text(self):
        for port in self.state.all_ports(self.family):
            if port.proto != 'SCTP':
                self.add(port)
        ip = self.ip
        key = '%s daddr . meta l4proto . th dport' % ip
        node = ', '.join(show_ip(a) for a in self.state.node_port_addresses(self.family))
        used = ', '.join(sorted({show_ip(s.cluster_ip(self.family)) for s in self.state.services
                                 if s.ports[self.family]}))
        ranges = [c for c in self.state.cidrs if c[0] == self.family]

        def vmap(what, entries):
            return ['\t\t%s vmap { %s }' % (what, ', '.join(entries))] if entries else []
        at_node = '%s daddr { %s } ' % (ip, node)
        services = vmap(key, self.service_ips)
        refusals = vmap(key, self.no_endpoints)
        if node:
            services += vmap(at_node + 'meta l4proto . th dport', self.node_ports)
            refusals += vmap(at_node + 'meta l4proto . th dport', self.no_node_ports)
        if used:
            refusals.append('\t\t%s daddr { %s } goto reject-it' % (ip, used))
        refusals += ['\t\t%s daddr %s/%d drop' % (ip, show_ip((f, n)), length)
                     for f, n, length in ranges]

        def hook(name, kind, where, priority, rules):
            return ['\tchain %s {' % name,
                    '\t\ttype %s hook %s priority %s;' % (kind, where, priority)] + \
                ['\t\t' + r for r in rules] + ['\t}']
        out = ['table %s kube-proxy {' % ip, '\tchain reject-it {', '\t\treject', '\t}']
        out += self.chains
        out += ['\tchain services {'] + services + ['\t}']
        out += ['\tchain refusals {'] + refusals + ['\t}']
        out += ['\tchain firewall {'] + vmap(key, self.firewall) + ['\t}']
        for where in ('prerouting', 'output'):
            out += hook('firewall-' + where, 'filter', where, '-110', ['ct state new jump firewall'])
            out += hook('nat-' + where, 'nat', where, '-100', ['jump services'])
        for where in ('input', 'forward', 'output'):
            out += hook('filter-' + where, 'filter', where, '-1', ['ct state new jump refusals'])
        out += hook('nat-postrouting', 'nat', 'postrouting', '100',
                    ['meta mark %s masquerade fully-random' % MARK])
        return '\n'.join(out + ['}']) + '\n'


def ruleset(state):
    return 'flush ruleset\n' + ''.join(Rules(state, f).text() for f in FAMILIES)


# --- comparing ------------------------------------------------------------------------------------

def expressible(p, verdict):
    if p['proto'] == 'SCTP' or verdict.kind in ('any', 'echo'):
        return False
    if p['src'] in compare.HOST_VIPS:
        return False
    mine = {oracle.parse_ip(a) for f in FAMILIES for a in generate.NODE_ADDRS[f]}
    far = [oracle.parse_cidr(c) for f in FAMILIES for c in FAR[f]]
    if verdict.kind == 'pass':
        dst = oracle.parse_ip(p['dst'])
        return p['source'] != 'outside' and p['dport'] in PORTS and \
            any(oracle.inside(dst, c) for c in far)
    if verdict.kind == 'reject' and p['source'] == 'host' and oracle.parse_ip(p['dst']) in mine:
        return False  # a host that reaches itself
    if verdict.kind != 'dnat':
        return True
    if verdict.port.service.affinity:
        return False
    for addr, _, snat in verdict.to:
        if p['source'] == 'host' and addr in mine:
            return False
        if p['source'] == 'outside' and not snat and any(oracle.inside(addr, c) for c in far):
            return False
    return True


def seen_by_kernel(p, result):
    if 'answer' in result:
        local, port, peer = result['answer']
        if (local, port) == (p['dst'], p['dport']):
            return 'pass'
        # Nothing is masqueraded on its way to the node itself.
        unknown = p['source'] == 'host' or local in sum(generate.NODE_ADDRS.values(), [])
        return ('dnat', oracle.parse_ip(local), port, None if unknown else peer != p['src'])
    if 'denied' in result:
        return 'reject or drop'
    if 'refused' in result:
        return 'reject'
    return 'drop' if 'silence' in result else 'failed: ' + result.get('failed', '')


def agrees(got, verdict, p):
    if isinstance(got, tuple):
        return verdict.kind == 'dnat' and any(
            (a, n) == got[1:3] and got[3] in (None, s) for a, n, s in verdict.to)
    if got == 'reject or drop':
        return verdict.kind in ('reject', 'drop')
    return got == verdict.kind


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--agent', action='store_true')
    args.add_argument('--harness')
    args.add_argument('--worlds', type=int, default=25)
    args.add_argument('--seed', type=int, default=1)
    args.add_argument('--show-rules', action='store_true')
    a = args.parse_args()
    if a.agent:
        agent()
        return 0
    lab, harness = Lab(), compare.Harness(a.harness)
    counts, wrong = collections.Counter(), 0
    try:
        lab.up()
        for i in range(a.worlds):
            wrong += world(lab, harness, a.seed * 7919 + i, counts, a.show_rules)
    finally:
        lab.down()
        harness.close()
    for what, n in sorted(counts.items()):
        print('%-20s %d' % (what, n))
    print('%d differences' % wrong)
    return 1 if wrong or counts['dnat'] < 20 * a.worlds / 10 else 0


def world(lab, harness, seed, counts, show_rules):
    w = generate.World(seed)
    w.config.detect_local, w.config.cluster_ip_outside = 'vport', True
    harness.new(w.config)
    wrong = 0
    shown, state = set(), None
    for objects, packets in w.steps(2, 40):
        state = oracle.State(w.config, objects, state)
        keys = {(o['kind'], o['metadata'].get('namespace', ''), o['metadata']['name'])
                for o in objects}
        harness.ask({'set': objects, 'delete': [
            {'kind': k, 'ns': ns, 'name': n} for k, ns, n in shown - keys]})
        shown = keys
        lab.rules(ruleset(state))
        for p in packets:
            verdict = state.decide(compare.as_packet(p))
            if not expressible(p, verdict):
                counts['not expressible'] += 1
                continue
            kernel = seen_by_kernel(p, lab.connect(p))
            switch = compare.Answer(p, harness.ask({'packets': [p]})['packets'][0])
            counts[verdict.kind] += 1
            other = compare.agree(verdict, switch, p, state)
            if agrees(kernel, verdict, p) and other is None:
                continue
            wrong += 1
            print('world %d: %s\n  model:  %r\n  kernel: %s\n  switch: %s %s' % (
                seed, json.dumps(p), verdict, kernel, switch.kind, switch.text))
            if show_rules:
                print(ruleset(state))
    return wrong


if __name__ == '__main__':
    sys.exit(main())
