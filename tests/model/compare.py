#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Compares the dataplane with the reference model over random cluster states and packets.

	compare.py --harness PATH [--cases N] [--least N] [--seed N]... [--fresh] [--seconds N]
	[--world SEED]

Each world is a switch that goes through several states; each state is asked with single packets,
with bursts that have to reach every endpoint allowed, with packets of flows that began in an
earlier state, and with sequences that session affinity binds together. A difference is shown with
the state cut down to the services concerned, the packet and both answers; --world runs that one
again. Exit status 1 when anything differs."""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generate  # noqa: E402
import oracle  # noqa: E402
from oracle import show_ip  # noqa: E402

DROPS = {
    'ServiceNoLocalBackend': 'no-local',
    'ServiceUnknownAddress': 'unallocated',
    'ServiceSourceRange': 'source-range',
    'ServiceOutsideClient': 'outside',
}
FLOW_MS = 25000  # unanswered flows live for 30 s
HOST_VIPS = [generate.EXTERNAL[f][2] for f in ('IPv4', 'IPv6')]
UPLINK = {'IPv4': ('192.0.2.2/24', '192.0.2.1'), 'IPv6': ('2001:db8:1::2/64', '2001:db8:1::1')}


# --- the harness ------------------------------------------------------------------------------

class Harness:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1 << 20)

    def ask(self, command):
        self.process.stdin.write(json.dumps(command) + '\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit('the harness ended with status %s' % self.process.wait())
        answer = json.loads(line)
        if 'error' in answer:
            raise SystemExit('harness: ' + answer['error'])
        return answer

    def new(self, config):
        self.ask({'new': json.dumps(sluice_config(config)), 'node': config.node})

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise SystemExit('the harness ended with status %d' % self.process.returncode)


def sluice_config(config):
    """The switch's configuration for a model's."""
    vports = []
    for i in range(3):
        vports.append({'name': 'pod%d' % (i + 1), 'role': 'pod', 'kind': 'null',
                       'peer-mac': '02:00:00:00:01:0%d' % (i + 1),
                       'addresses': [generate.LOCAL_PODS[f][i] for f in ('IPv4', 'IPv6')]})
    vports.append({'name': 'host', 'role': 'host', 'kind': 'null', 'peer-mac': '02:00:00:00:01:09',
                   'addresses': config.host_addresses or [generate.NODE_ADDRS[f][0] for f in
                                                          ('IPv4', 'IPv6')]})
    vports.append({'name': 'uplink', 'role': 'uplink', 'kind': 'null', 'mac': '02:00:00:00:00:09',
                   'addresses': [UPLINK[f][0] for f in UPLINK]})
    doc = {
        'apiVersion': 'sluice/v1', 'kind': 'Config',
        'node': {'name': config.node},
        'flows': {'capacity-v4': 4096, 'capacity-v6': 4096},
        'kubernetes': {'external-ips': config.external_ips},
        'snat': {'egress-masquerade': False, 'masquerade-all': config.masquerade_all},
        'services': {'node-port-addresses': config.node_ports, 'cidrs': config.service_cidrs,
                     'cluster-ip-outside': config.cluster_ip_outside, 'backends': 4096},
        'vports': vports,
        'routes': [{'prefix': '0.0.0.0/0', 'via': UPLINK['IPv4'][1]},
                   {'prefix': '::/0', 'via': UPLINK['IPv6'][1]}],
    }
    if config.detect_local == 'node':
        doc['services']['detect-local-mode'] = 'NodeCIDR'
    elif config.detect_local != 'vport':
        doc['services'].update({'detect-local-mode': 'ClusterCIDR',
                                'detect-local-cidrs': config.detect_local})
    if config.node_addresses:
        doc['node']['addresses'] = config.node_addresses
    if config.proxy_name:
        doc['kubernetes']['service-proxy-name'] = config.proxy_name
    return doc


# --- what the switch did ----------------------------------------------------------------------

class Answer:
    def __init__(self, packet, outcome):
        self.kind, self.text = self._read(packet, outcome)

    def _read(self, p, o):
        self.backend, self.src, self.sport = None, None, None
        shown = json.dumps({k: v for k, v in o.items() if k != 'now'}, sort_keys=True)
        if 'broken' in o or 'outputs' in o:
            return 'broken', shown
        if 'type' in o:
            about = o.get('about', {})
            right = (o['type'], o['code']) in ((3, 3), (1, 4)) and o['out'] == p['in'] and \
                about.get('dst') == p['dst'] and about.get('src') == p['src']
            return ('reject' if right else 'error'), shown
        if 'dst' not in o:
            return 'drop', o.get('drop', 'nothing came out and nothing counted')
        if o.get('flags', 0) & 4 and o['out'] == p['in'] and \
                (o['src'], o['sport'], o['dst'], o['dport']) == \
                (p['dst'], p['dport'], p['src'], p['sport']):
            return 'reject', shown
        if o.get('reply'):
            return 'echo', shown
        self.src, self.sport = o['src'], o['sport']
        self.backend = (oracle.parse_ip(o['dst']), o['dport'])
        same = (o['src'], o['sport'], o['dst'], o['dport']) == \
            (p['src'], p['sport'], p['dst'], p['dport'])
        return ('pass' if same else 'dnat'), shown


def agree(verdict, answer, packet, state):
    """None, or why not."""
    if answer.kind == 'broken':
        return 'the switch lost count or sent nonsense'
    if verdict.kind == 'any':
        return None
    if verdict.kind == 'dnat':
        return agree_dnat(verdict, answer, packet, state)
    if verdict.kind == 'drop':
        if answer.kind == 'drop' and DROPS.get(answer.text) == verdict.why:
            return None
        return 'expected a drop'
    if verdict.kind == 'pass':
        if answer.kind in ('pass', 'error'):
            return None
        if answer.kind == 'drop' and not answer.text.startswith('Service'):
            return None
        return 'expected no interest'
    if verdict.kind == 'echo':
        return None if answer.kind in ('echo', 'drop') else 'an echo request left'
    return None if answer.kind == verdict.kind else 'expected a ' + verdict.kind


def agree_dnat(verdict, answer, packet, state):
    if answer.backend is None:
        return 'expected a translation'
    for addr, port, snat in verdict.to:
        if (addr, port) != answer.backend:
            continue
        family = addr[0]
        primary = [show_ip(a) for a in state.node_addrs if a[0] == family][:1]
        if snat and [answer.src] != primary:
            return 'the source address is not translated'
        if not snat and (answer.src, answer.sport) != (packet['src'], packet['sport']):
            return 'the source address is translated'
        return None
    return 'not an endpoint of the list in force'


# --- one world --------------------------------------------------------------------------------

class Difference:
    def __init__(self, why, world, step, packet, verdict, answer, objects):
        self.why, self.world, self.step = why, world, step
        self.packet, self.verdict, self.answer, self.objects = packet, verdict, answer, objects


def visible(world, o, rng):
    """Whether the server would show the object to a watch with kube-proxy's selectors; the client
    has to do without them, too, so half of the time they are not applied."""
    labels = o['metadata'].get('labels') or {}
    if o['kind'] == 'Service' and labels.get(oracle.PROXY_NAME) != world.config.proxy_name:
        return rng.random() < 0.5
    if o['kind'] == 'EndpointSlice' and oracle.HEADLESS in labels:
        return rng.random() < 0.5
    return True


def as_packet(p):
    return oracle.Packet(p['source'], p['src'], p['dst'], p['proto'], p['sport'], p['dport'])


class Run:
    """A world in progress: what was sent, what the flows are, what affinity remembers."""

    def __init__(self, harness, seed, stats, on_difference):
        self.harness, self.seed, self.stats = harness, seed, stats
        self.on_difference = on_difference
        self.world = generate.World(seed)
        self.rng = random.Random(seed ^ 0x5eed)
        self.shown = {}
        self.state = None
        self.flows = []
        self.now = 0
        self.affinity = oracle.Affinity()

    def go(self, steps, packets):
        self.harness.new(self.world.config)
        for i, (objects, singles) in enumerate(self.world.steps(steps, packets)):
            self.step, self.objects = i, objects
            self.state = oracle.State(self.world.config, objects, self.state)
            self.apply(objects)
            if i > 0:
                self.live_flows()
            self.single(singles)
            self.spread()
            self.affine()

    def apply(self, objects):
        now = {}
        for o in objects:
            if visible(self.world, o, self.rng):
                m = o['metadata']
                now[(o['kind'], m.get('namespace', ''), m['name'])] = o
        gone = [k for k in self.shown if k not in now]
        changed = [o for k, o in now.items() if self.shown.get(k) != o]
        self.rng.shuffle(changed)
        self.harness.ask({'set': changed, 'delete': [
            {'kind': k, 'ns': ns, 'name': name} for k, ns, name in gone]})
        self.shown = now

    def send(self, packets):
        outcomes = self.harness.ask({'packets': packets})['packets'] if packets else []
        if outcomes:
            self.now = outcomes[-1]['now']
        return outcomes

    def difference(self, why, p, verdict, answer):
        self.on_difference(Difference(why, self.seed, self.step, p, verdict, answer, self.objects))

    def check(self, p, outcome):
        """One packet that begins a flow. Returns (verdict, answer)."""
        packet = as_packet(p)
        verdict = self.state.decide(packet)
        answer = Answer(p, outcome)
        self.stats[verdict.kind if verdict.kind != 'drop' else 'drop ' + verdict.why] += 1
        self.stats['cases'] += 1
        now = outcome['now'] / 1000
        why = agree(verdict, answer, p, self.state)
        if why is None and verdict.kind == 'dnat':
            allowed = {(a, n) for a, n, _ in verdict.to}
            bound = self.affinity.expected(verdict.port, packet.src, allowed, now)
            if bound is not None and bound != answer.backend:
                why = 'affinity binds this client to %s port %d' % (show_ip(bound[0]), bound[1])
            self.affinity.chosen(verdict.port, packet.src, answer.backend, now)
        if why is not None:
            self.difference(why, p, verdict, answer)
        return verdict, answer

    def single(self, packets):
        for p, outcome in zip(packets, self.send(packets)):
            verdict, answer = self.check(p, outcome)
            if verdict.kind == 'dnat' and answer.backend and len(self.flows) < 60:
                self.flows.append((p, verdict.port, answer.backend, outcome['now']))

    def spread(self):
        """Every endpoint allowed is reached, and no other."""
        tried = 0
        destinations = self.world.frontends()
        self.rng.shuffle(destinations)
        for family, ip, proto, port in destinations:
            where, source, src = self.world.source(family)
            p = {'in': where, 'source': source, 'src': src, 'dst': ip, 'proto': proto,
                 'sport': 0, 'dport': port}
            verdict = self.state.decide(as_packet(p))
            if verdict.kind != 'dnat' or len(verdict.to) < 2 or verdict.port.service.affinity:
                continue
            tried += 1
            burst = [dict(p, sport=self.world.next_sport()) for _ in range(12 * len(verdict.to))]
            reached = set()
            for q, outcome in zip(burst, self.send(burst)):
                reached.add(self.check(q, outcome)[1].backend)
            if {(a, n) for a, n, _ in verdict.to} - reached:
                self.difference('some endpoints are never chosen: only %s' % sorted(
                    '%s port %d' % (show_ip(b[0]), b[1]) for b in reached if b),
                    p, verdict, Answer(q, outcome))
            if tried == 2:
                return

    def live_flows(self):
        """Packets of flows that an earlier state began and that did not end for lack of packets."""
        kept = []
        self.flows = [f for f in self.flows if self.now - f[3] < FLOW_MS]
        packets = [dict(f[0], flags='A') for f in self.flows]
        for (p, port, backend, _), outcome in zip(self.flows, self.send(packets)):
            packet, answer = as_packet(p), Answer(p, outcome)
            fate = self.state.flow_after(packet, port, backend)
            self.stats['cases'] += 1
            self.stats['flow ' + fate] += 1
            stayed = answer.backend == backend
            verdict = oracle.Verdict('flow', 'goes on to %s port %d' % (
                show_ip(backend[0]), backend[1]))
            if fate == 'keep' and not stayed:
                self.difference('a live flow was moved or cut', p, verdict, answer)
            elif fate == 'new' or (fate == 'either' and not stayed):
                verdict = self.state.decide(packet)
                why = agree(verdict, answer, p, self.state)
                if why is not None:
                    self.difference('flow without its backend: ' + why, p, verdict, answer)
                elif verdict.kind == 'dnat':
                    kept.append((p, verdict.port, answer.backend, outcome['now']))
                    self.affinity.chosen(verdict.port, packet.src, answer.backend,
                                         outcome['now'] / 1000)
            if stayed:
                kept.append((p, port, backend, outcome['now']))
        self.flows = kept

    def unbound(self, frontend, verdict):
        """A client that stays away longer than the timeout is free again: in many such turns it
        meets another endpoint."""
        family, ip, proto, number = frontend
        where, source, src = self.world.source(family)
        p = {'in': where, 'source': source, 'src': src, 'dst': ip, 'proto': proto,
             'dport': number, 'advance': 1000 * verdict.port.service.affinity + 100}
        turns = [dict(p, sport=self.world.next_sport()) for _ in range(14)]
        first = self.state.decide(as_packet(turns[0]))
        if first.kind != 'dnat' or len(first.to) < 3:
            return
        reached = set()
        for q, outcome in zip(turns, self.send(turns)):
            verdict, answer = self.check(q, outcome)
            reached.add(answer.backend)
        if len(reached) < 2:
            self.difference('affinity does not end', q, verdict, answer)

    def affine(self):
        """New connections of one client to one service port, by all its frontends and over time."""
        ports = {}
        for family, ip, proto, number in self.world.frontends():
            hit = self.state.frontend(oracle.Packet('pod', generate.LOCAL_PODS[family][0], ip,
                                                    proto, 1, number))
            if hit and hit[1].service.affinity and hit[1].has_any:
                ports.setdefault(hit[1].key(), []).append((family, ip, proto, number))
        for frontends in list(ports.values())[:2]:
            where, source, src = self.world.source(frontends[0][0])
            for _ in range(8):
                family, ip, proto, number = self.rng.choice(frontends)
                p = {'in': where, 'source': source, 'src': src, 'dst': ip, 'proto': proto,
                     'sport': self.world.next_sport(), 'dport': number,
                     'advance': self.rng.choice([0, 0, 100, 900, 1200, 29000, 31000])}
                verdict, _ = self.check(p, self.send([p])[0])
            if verdict.kind == 'dnat' and verdict.port.service.affinity <= 30:
                self.unbound((family, ip, proto, number), verdict)


# --- explaining -------------------------------------------------------------------------------

def concerned(objects, packet):
    """The objects that can matter for a packet."""
    dst = oracle.parse_ip(packet['dst'])
    names = set()
    for o in objects:
        if o['kind'] != 'Service':
            continue
        spec, status = o['spec'], o.get('status') or {}
        ips = list(spec.get('clusterIPs') or []) + [spec.get('clusterIP')]
        ips += list(spec.get('externalIPs') or [])
        ips += [(i or {}).get('ip') for i in (status.get('loadBalancer') or {}).get('ingress') or []]
        ports = [p for p in spec.get('ports') or [] if isinstance(p, dict)]
        if any(oracle.parse_ip(ip) == dst for ip in ips) or \
                any(p.get('nodePort') == packet['dport'] for p in ports):
            names.add((o['metadata']['namespace'], o['metadata']['name']))
    out = []
    for o in objects:
        m = o['metadata']
        if o['kind'] == 'Service' and (m['namespace'], m['name']) not in names:
            continue
        if o['kind'] == 'EndpointSlice' and \
                (m['namespace'], (m.get('labels') or {}).get(oracle.SERVICE_NAME)) not in names:
            continue
        out.append(o)
    return out


def explain(path, d):
    print('--- world %d, state %d: %s' % (d.world, d.step, d.why))
    print('packet:  %s' % json.dumps(d.packet, sort_keys=True))
    print('model:   %r' % d.verdict)
    print('switch:  %s: %s' % (d.answer.kind, d.answer.text))
    config = generate.World(d.world).config
    print('config:  %s' % json.dumps(vars(config)))
    objects = concerned(d.objects, d.packet)
    harness = Harness(path)
    harness.new(config)
    outcome = harness.ask({'set': objects, 'delete': [], 'packets': [d.packet]})['packets'][0]
    harness.close()
    state = oracle.State(config, objects)
    alone = agree(state.decide(as_packet(d.packet)), Answer(d.packet, outcome), d.packet, state)
    print('alone:   %s' % (alone or 'agrees: it takes the steps before to see it'))
    for o in objects:
        print('  ' + json.dumps(o, sort_keys=True))
    sys.stdout.flush()


# --- the program ------------------------------------------------------------------------------

def run(path, seeds, cases, seconds, stop, quiet=False):
    """Worlds from each seed in turn until there were enough cases. Returns (stats, differences)."""
    stats, differences = collections.Counter(), []
    harness = Harness(path)
    began = time.monotonic()

    def on_difference(d):
        differences.append(d)
        if not quiet and len(differences) <= 5:
            explain(path, d)

    worlds = [(seed * 1000003 + i) for i in range(1000000) for seed in seeds]
    for seed in worlds:
        if stats['cases'] >= cases or time.monotonic() - began > seconds:
            break
        if len(differences) >= stop:
            break
        Run(harness, seed, stats, on_difference).go(4, 30)
        stats['worlds'] += 1
    harness.close()
    stats['milliseconds'] = int((time.monotonic() - began) * 1000)
    return stats, differences


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--harness', required=True)
    args.add_argument('--cases', type=int, default=20000)
    args.add_argument('--least', type=int, help='cases without which it fails (default: all)')
    args.add_argument('--seconds', type=float, default=150)
    args.add_argument('--seed', type=int, action='append')
    args.add_argument('--fresh', action='store_true', help='and a seed of this moment')
    args.add_argument('--world', type=int, help='one world alone, as a difference names it')
    args.add_argument('--stop', type=int, default=50, help='after this many differences')
    a = args.parse_args()
    if a.world is not None:
        stats, found = collections.Counter(), []
        harness = Harness(a.harness)

        def on_difference(d):
            found.append(d)
            explain(a.harness, d)
        Run(harness, a.world, stats, on_difference).go(4, 30)
        harness.close()
        return 1 if found else 0
    seeds = a.seed or [1]
    if a.fresh:
        seeds.append(random.SystemRandom().randrange(1, 1 << 40))
    print('seeds: %s' % ' '.join(map(str, seeds)), flush=True)
    stats, differences = run(a.harness, seeds, a.cases, a.seconds, a.stop)
    print('== Model against dataplane, seeds %s' % ' '.join(map(str, seeds)))
    for name, n in sorted(stats.items()):
        print('%-24s %d' % (name, n))
    print('differences: %d' % len(differences))
    print('==')
    if differences:
        whys = collections.Counter(d.why for d in differences)
        for why, n in whys.most_common():
            print('%6d  %s' % (n, why))
    if stats['cases'] < (a.least or a.cases) and not differences:
        print('only %d of %d cases in %.0f s' % (stats['cases'], a.least or a.cases, a.seconds))
        return 1
    return 1 if differences else 0


if __name__ == '__main__':
    sys.exit(main())
