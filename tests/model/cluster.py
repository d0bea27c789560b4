# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""A cluster for a scenario: the objects that its API server holds, seen from one node through the
real decoder, reconciler and pipelines, and clients that open connections to it."""

import copy
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import generate  # noqa: E402
import oracle  # noqa: E402
from oracle import show_ip  # noqa: E402

SCENARIOS = {}
NODE = generate.NODE
READY = {'ready': True, 'serving': True, 'terminating': False}
UNREADY = {'ready': False, 'serving': False, 'terminating': False}
TERMINATING = {'ready': False, 'serving': True, 'terminating': True}
TERMINATED = {'ready': False, 'serving': False, 'terminating': True}
PUBLISHED = {'ready': True, 'serving': False, 'terminating': True}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class Wrong(Exception):
    pass


class Cluster:
    """The objects of a cluster seen from node-a, and clients. Names of places: p1, p2, p3 are pods
    of this node, r0… pods of others, host is this node's own stack, outside a client elsewhere."""

    def __init__(self, harness, family, **config):
        self.harness, self.family = harness, family
        self.config = oracle.Config(**config)
        harness.new(self.config)
        self.objects, self.shown, self.sport, self.now = {}, {}, 20000, 0
        v4 = family == 'IPv4'
        self.vip = '10.96.0.%d' if v4 else 'fd00:10:96::%d'
        self.external = generate.EXTERNAL[family][0]
        self.balancer = generate.EXTERNAL[family][1]
        self.node_ip = generate.NODE_ADDRS[family][0]
        self.node(zone='zone-1')
        self.put({'kind': 'ServiceCIDR', 'metadata': {'name': 'kubernetes'},
                  'spec': {'cidrs': ['10.96.0.0/16', 'fd00:10:96::/112']}})

    def ip(self, place):
        if place == 'host':
            return self.node_ip
        if place == 'outside':
            return generate.OUTSIDE[self.family][0]
        if place == 'other host':  # another node's own stack
            return '192.0.2.77' if self.family == 'IPv4' else '2001:db8:1::77'
        kind, index = place[0], int(place[1:])
        return generate.LOCAL_PODS[self.family][index - 1] if kind == 'p' else \
            generate.REMOTE[self.family][index]

    # --- objects ---

    def put(self, o):
        m = o['metadata']
        self.objects[(o['kind'], m.get('namespace', ''), m['name'])] = o
        return o

    def delete(self, kind, name):
        ns = '' if kind in ('Node', 'ServiceCIDR') else 'ns'
        del self.objects[(kind, ns, name)]

    def node(self, zone=None):
        self.put({'kind': 'Node', 'metadata': {'name': NODE, 'labels': {oracle.ZONE: zone}
                                               if zone else {}},
                  'status': {'addresses': [{'type': 'InternalIP', 'address': a[0]}
                                           for a in generate.NODE_ADDRS.values()]}})

    def service(self, name, number, ports='tcp 80', kind='ClusterIP', **spec):
        """ports: 'proto port [nodePort] [name]', comma-separated."""
        out = []
        for p in ports.split(','):
            words = p.split()
            port = {'protocol': words[0].upper(), 'port': int(words[1]), 'name': ''}
            for w in words[2:]:
                if w.isdigit():
                    port['nodePort'] = int(w)
                else:
                    port['name'] = w
            out.append(port)
        vip = self.vip % number
        full = {'type': kind, 'clusterIP': vip, 'clusterIPs': [vip], 'ipFamilies': [self.family],
                'ports': out}
        ingress = spec.pop('ingress', None)
        labels = spec.pop('labels', {})
        full.update(spec)
        return self.put({'kind': 'Service', 'metadata': {
            'namespace': 'ns', 'name': name, 'labels': labels,
            'creationTimestamp': '2026-01-01T00:00:00Z'}, 'spec': full,
            'status': {'loadBalancer': {'ingress': ingress or []}}})

    def slice(self, service, endpoints, ports='tcp 8080', name=None, hints=None):
        """endpoints: place: conditions (with a node, from the place)."""
        listed = []
        for place, conditions in endpoints.items():
            e = {'addresses': [self.ip(place)], 'conditions': conditions,
                 'nodeName': NODE if place[0] == 'p' or place == 'host' else 'node-b'}
            if hints and place in hints:
                e['hints'] = hints[place]
            listed.append(e)
        out = []
        for p in ports.split(','):
            words = p.split()
            out.append({'protocol': words[0].upper(), 'port': int(words[1]),
                        'name': words[2] if len(words) > 2 else ''})
        return self.put({'kind': 'EndpointSlice', 'metadata': {
            'namespace': 'ns', 'name': name or service + '-1',
            'labels': {oracle.SERVICE_NAME: service}},
            'addressType': self.family, 'endpoints': listed, 'ports': out})

    def apply(self):
        now = copy.deepcopy(self.objects)
        gone = [{'kind': k, 'ns': ns, 'name': n} for k, ns, n in self.shown
                if (k, ns, n) not in now]
        self.harness.ask({'set': [o for k, o in now.items() if self.shown.get(k) != o],
                          'delete': gone})
        self.shown = now

    # --- clients ---

    def connect(self, place, dst, port, proto='tcp', n=1, sport=None, flags='S', advance=0):
        packets = []
        for _ in range(n):
            if sport is None:
                self.sport += 1
            packets.append({
                'in': {'p': 'pod' + place[1:], 'h': 'host'}.get(place[0], 'uplink'),
                'source': {'p': 'pod', 'h': 'host'}.get(place[0], 'outside'),
                'src': self.ip(place), 'dst': dst, 'proto': proto.upper(),
                'sport': sport or self.sport, 'dport': port, 'flags': flags, 'advance': advance})
        outcomes = self.harness.ask({'packets': packets})['packets']
        self.now = outcomes[-1]['now']
        return [compare.Answer(p, o) for p, o in zip(packets, outcomes)]

    def reached(self, place, dst, port, proto='tcp', n=24, **kw):
        """Places and ports that answered, or 'refused', 'silence', 'untouched'."""
        names = {oracle.parse_ip(self.ip(w)): w for w in
                 ['p1', 'p2', 'p3', 'host'] + ['r%d' % i for i in range(10)]}
        got = set()
        for a in self.connect(place, dst, port, proto, n, **kw):
            if a.backend is not None and a.kind == 'dnat':
                got.add('%s:%d' % (names.get(a.backend[0], show_ip(a.backend[0])), a.backend[1]))
            else:
                got.add({'reject': 'refused', 'drop': 'silence', 'pass': 'untouched'}.get(
                    a.kind, a.kind + ' ' + a.text))
        return ' '.join(sorted(got))

    def expect(self, wanted, place, dst, port, proto='tcp', **kw):
        if isinstance(dst, int):
            dst = self.vip % dst
        got = self.reached(place, dst, port, proto, **kw)
        if got != wanted:
            raise Wrong('%s to %s port %d/%s: expected %s, got %s' % (
                place, dst, port, proto, wanted, got))

    def source_seen(self, place, dst, port):
        """The address that the endpoint sees."""
        a = self.connect(place, self.vip % dst if isinstance(dst, int) else dst, port)[0]
        return a.src


def same(what, got, wanted):
    if got != wanted:
        raise Wrong('%s: expected %s, got %s' % (what, wanted, got))
