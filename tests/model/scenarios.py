#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""What Kubernetes' e2e and conformance tests for Services ask of a proxy, replayed on the real
decoder, reconciler and pipelines: the objects that such a test makes the API server hold, step by
step, and connections as its clients open them.

	scenarios.py --harness PATH [--only NAME]

tests/CONFORMANCE.md maps the upstream names to the scenarios; this program checks that every
scenario it names exists. Each runs for IPv4 and for IPv6. Exit status 1 when one fails."""

import argparse
import copy
import os
import re
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


# --- endpoints and ports ----------------------------------------------------------------------

@scenario
def basic_endpoints(c):
    c.service('web', 1)
    c.slice('web', {})
    c.apply()
    c.expect('refused', 'p1', 1, 80)
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.slice('web', {'p2': READY, 'r1': READY})
    c.apply()
    c.expect('p2:8080 r1:8080', 'p1', 1, 80)
    c.slice('web', {'r1': READY})
    c.apply()
    c.expect('r1:8080', 'p1', 1, 80)
    c.delete('EndpointSlice', 'web-1')
    c.apply()
    c.expect('refused', 'p1', 1, 80)


@scenario
def multiport_endpoints(c):
    c.service('web', 1, 'tcp 80 one,tcp 81 two')
    c.slice('web', {'p2': READY}, 'tcp 100 one', 'web-a')
    c.slice('web', {'r1': READY}, 'tcp 101 two', 'web-b')
    c.apply()
    c.expect('p2:100', 'p1', 1, 80)
    c.expect('r1:101', 'p1', 1, 81)
    c.delete('EndpointSlice', 'web-a')
    c.apply()
    c.expect('refused', 'p1', 1, 80)
    c.expect('r1:101', 'p1', 1, 81)


@scenario
def ports_come_and_go(c):
    c.service('web', 1, 'tcp 80 one')
    c.slice('web', {'p2': READY}, 'tcp 100 one')
    c.apply()
    c.service('web', 1, 'tcp 80 one,tcp 81 two')
    c.slice('web', {'p2': READY}, 'tcp 100 one,tcp 101 two')
    c.apply()
    c.expect('p2:100', 'p1', 1, 80)
    c.expect('p2:101', 'p1', 1, 81)
    c.service('web', 1, 'tcp 81 two')
    c.apply()
    c.expect('refused', 'p1', 1, 80)
    c.expect('p2:101', 'p1', 1, 81)


@scenario
def two_slices_same_address(c):
    c.service('web', 1, 'tcp 80 one,tcp 81 two')
    c.slice('web', {'p2': READY}, 'tcp 3000 one', 'web-a')
    c.slice('web', {'p2': READY}, 'tcp 3001 two', 'web-b')
    c.apply()
    c.expect('p2:3000', 'p1', 1, 80)
    c.expect('p2:3001', 'p1', 1, 81)


@scenario
def two_slices_other_addresses(c):
    c.service('web', 1, 'tcp 80 one')
    c.slice('web', {'p2': READY}, 'tcp 3000 one', 'web-a')
    c.slice('web', {'r1': READY}, 'tcp 3001 one', 'web-b')
    c.apply()
    c.expect('p2:3000 r1:3001', 'p1', 1, 80)


@scenario
def named_ports_that_differ(c):
    two_slices_other_addresses(c)
    c.delete('EndpointSlice', 'web-a')
    c.slice('web', {'r1': READY, 'r2': READY}, 'tcp 3001 one', 'web-b')
    c.apply()
    c.expect('r1:3001 r2:3001', 'p1', 1, 80)


@scenario
def same_port_other_protocols(c):
    for kind in ('ClusterIP', 'LoadBalancer'):
        ingress = [{'ip': c.balancer}] if kind == 'LoadBalancer' else []
        c.service('web', 1, 'tcp 80 t,udp 80 u', kind, ingress=ingress)
        c.slice('web', {'p2': READY}, 'tcp 8080 t,udp 8081 u')
        c.apply()
        addresses = [c.vip % 1] + [i['ip'] for i in ingress]
        for a in addresses:
            c.expect('p2:8080', 'p1', a, 80)
            c.expect('p2:8081', 'p1', a, 80, 'udp')
        c.service('web', 1, 'udp 80 u', kind, ingress=ingress)
        c.apply()
        c.expect('refused', 'p1', 1, 80)
        c.expect('p2:8081', 'p1', 1, 80, 'udp')
        c.service('web', 1, 'tcp 80 t', kind, ingress=ingress)
        c.apply()
        c.expect('p2:8080', 'p1', 1, 80)
        c.expect('refused', 'p1', 1, 80, 'udp')


@scenario
def up_and_down(c):
    for i in (1, 2):
        c.service('s%d' % i, i)
        c.slice('s%d' % i, {'p2': READY, 'r%d' % i: READY})
    c.apply()
    c.delete('Service', 's1')
    c.apply()
    c.expect('silence', 'p1', 1, 80)
    c.expect('p2:8080 r2:8080', 'p1', 2, 80)
    c.service('s3', 3)
    c.slice('s3', {'r3': READY})
    c.apply()
    c.expect('r3:8080', 'p1', 3, 80)


@scenario
def recreated(c):
    c.service('web', 1)
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.delete('Service', 'web')
    c.apply()
    c.expect('silence', 'p1', 1, 80)
    c.service('web', 1)
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)


@scenario
def collection_deleted(c):
    for i in range(1, 6):
        c.service('s%d' % i, i)
        c.slice('s%d' % i, {'p2': READY})
    c.apply()
    for i in range(1, 5):
        c.delete('Service', 's%d' % i)
    c.apply()
    for i in range(1, 5):
        c.expect('silence', 'p1', i, 80)
    c.expect('p2:8080', 'p1', 5, 80)


@scenario
def all_namespaces(c):
    c.service('web', 1)
    c.slice('web', {'p2': READY})
    for kind in ('Service', 'EndpointSlice'):
        for (k, ns, n), o in list(c.objects.items()):
            if k == kind:
                other = copy.deepcopy(o)
                other['metadata']['namespace'] = 'other'
                if kind == 'Service':
                    other['spec']['clusterIP'] = c.vip % 2
                    other['spec']['clusterIPs'] = [c.vip % 2]
                else:
                    other['endpoints'][0]['addresses'] = [c.ip('r1')]
                c.put(other)
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.expect('r1:8080', 'p1', 2, 80)


@scenario
def status_changes(c):
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer')
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('untouched', 'outside', c.balancer, 80)
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.balancer}])
    c.apply()
    c.expect('p2:8080', 'outside', c.balancer, 80)
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.external}])
    c.apply()
    c.expect('untouched', 'outside', c.balancer, 80)
    c.expect('p2:8080', 'outside', c.external, 80)


@scenario
def kubernetes_service(c):
    c.service('kubernetes', 1, 'tcp 443 https')
    c.slice('kubernetes', {'outside': READY}, 'tcp 6443 https')
    c.apply()
    same('endpoint', c.reached('p1', c.vip % 1, 443), '%s:6443' % c.ip('outside'))


@scenario
def mirrored_slices(c):
    c.service('web', 1, 'tcp 80 one,tcp 81 two')
    c.slice('web', {'p2': {'ready': True}, 'r1': {'ready': False}}, 'tcp 8080 one,tcp 8081 two')
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.expect('p2:8081', 'p1', 1, 81)


@scenario
def another_service_range(c):
    vip = '10.97.0.3' if c.family == 'IPv4' else 'fd00:10:97::3'
    unused = '10.97.0.4' if c.family == 'IPv4' else 'fd00:10:97::4'
    c.service('web', 1, clusterIP=vip, clusterIPs=[vip])
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', vip, 80)
    c.expect('untouched', 'p1', unused, 80)
    c.put({'kind': 'ServiceCIDR', 'metadata': {'name': 'more'},
           'spec': {'cidrs': ['10.97.0.0/24', 'fd00:10:97::/112']}})
    c.apply()
    c.expect('p2:8080', 'p1', vip, 80)
    c.expect('silence', 'p1', unused, 80)


# --- readiness --------------------------------------------------------------------------------

@scenario
def no_endpoints_refuse(c):
    c.service('web', 1, 'tcp 80 30080', 'NodePort')
    c.slice('web', {'p2': TERMINATED, 'r1': UNREADY})
    c.apply()
    for place in ('p1', 'host', 'outside'):
        c.expect('refused', place, 1, 80)
        c.expect('refused', place, c.node_ip, 30080)


@scenario
def publish_not_ready(c):
    c.service('web', 1, 'tcp 80 30080', 'NodePort', publishNotReadyAddresses=True)
    c.slice('web', {'p2': PUBLISHED, 'r1': dict(PUBLISHED, terminating=False)})
    c.apply()
    c.expect('p2:8080 r1:8080', 'p1', 1, 80)
    c.expect('p2:8080 r1:8080', 'outside', c.node_ip, 30080)
    c.service('web', 1, 'tcp 80 30080', 'NodePort')
    c.slice('web', {'p2': TERMINATED, 'r1': UNREADY})
    c.apply()
    c.expect('refused', 'p1', 1, 80)
    c.expect('refused', 'outside', c.node_ip, 30080)


@scenario
def terminating_fallback(c):
    for policy in ('Cluster', 'Local'):
        c.service('web', 1, 'tcp 80 30080', 'NodePort', internalTrafficPolicy=policy,
                  externalTrafficPolicy=policy)
        c.slice('web', {'p2': TERMINATING})
        c.apply()
        c.expect('p2:8080', 'p1', 1, 80)
        c.expect('p2:8080', 'outside', c.node_ip, 30080)
        c.slice('web', {'r1': TERMINATING})
        c.apply()
        c.expect('r1:8080' if policy == 'Cluster' else 'silence', 'p1', 1, 80)
        c.expect('r1:8080' if policy == 'Cluster' else 'silence', 'outside', c.node_ip, 30080)
    c.service('web', 1)
    c.slice('web', {'r1': TERMINATING, 'r2': READY})
    c.apply()
    c.expect('r2:8080', 'p1', 1, 80)


# --- kinds of services and policies -----------------------------------------------------------

@scenario
def node_port(c):
    c.service('web', 1, 'tcp 80 30080', 'NodePort')
    c.slice('web', {'p2': READY, 'r1': READY})
    c.apply()
    for place in ('p1', 'host', 'outside'):
        c.expect('p2:8080 r1:8080', place, 1, 80)
        c.expect('p2:8080 r1:8080', place, c.node_ip, 30080)
    c.delete('Service', 'web')
    c.apply()
    c.expect('untouched', 'outside', c.node_ip, 30080)


@scenario
def node_object_goes(c):
    """NodePorts and source NAT go on while a kubelet makes its Node object anew."""
    c.service('web', 1, 'tcp 80 30080', 'NodePort')
    c.slice('web', {'r1': READY})
    for change in (lambda: c.delete('Node', NODE),
                   lambda: c.put({'kind': 'Node', 'metadata': {'name': NODE}, 'status': {}}),
                   lambda: c.node(zone='zone-1')):
        c.apply()
        change()
        c.apply()
        c.expect('r1:8080', 'outside', c.node_ip, 30080)
        same('source', c.source_seen('outside', c.node_ip, 30080), c.node_ip)


@scenario
def type_changes(c):
    for target in ('ClusterIP', 'NodePort'):
        c.service('web', 1, kind='ExternalName', externalName='a.example', clusterIP='',
                  clusterIPs=[])
        c.slice('web', {'p2': READY})
        c.apply()
        c.expect('silence', 'p1', 1, 80)
        c.service('web', 1, 'tcp 80 30080' if target == 'NodePort' else 'tcp 80', target)
        c.apply()
        c.expect('p2:8080', 'p1', 1, 80)
        c.expect('p2:8080' if target == 'NodePort' else 'untouched', 'p1', c.node_ip, 30080)
        c.service('web', 1, kind='ExternalName', externalName='a.example', clusterIP='',
                  clusterIPs=[])
        c.apply()
        c.expect('silence', 'p1', 1, 80)
        c.expect('untouched', 'p1', c.node_ip, 30080)
    c.service('web', 1)
    c.apply()
    c.service('web', 1, 'tcp 80 30080 t,udp 80 30080 u', 'NodePort')
    c.slice('web', {'p2': READY}, 'tcp 8080 t,udp 8081 u')
    c.apply()
    c.expect('p2:8080', 'p1', c.node_ip, 30080)
    c.expect('p2:8081', 'p1', c.node_ip, 30080, 'udp')
    c.service('web', 1, 'tcp 80 30081 t', 'LoadBalancer', ingress=[{'ip': c.balancer}])
    c.apply()
    c.expect('untouched', 'p1', c.node_ip, 30080)
    c.expect('p2:8080', 'p1', c.node_ip, 30081)
    c.expect('p2:8080', 'outside', c.balancer, 80)
    c.service('web', 1, 'tcp 80 t')
    c.apply()
    c.expect('untouched', 'outside', c.balancer, 80)
    c.expect('p2:8080', 'p1', 1, 80)


@scenario
def balancer_without_node_port(c):
    c.service('web', 1, kind='LoadBalancer', allocateLoadBalancerNodePorts=False,
              ingress=[{'ip': c.balancer}])
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'outside', c.balancer, 80)
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.balancer}])
    c.apply()
    c.expect('p2:8080', 'outside', c.node_ip, 30080)


@scenario
def external_ip(c):
    c.service('web', 1, externalIPs=[c.external])
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', c.external, 80)
    c.expect('untouched', 'p1', c.external, 22)


@scenario
def source_address_kept(c):
    c.service('web', 1)
    c.slice('web', {'r1': READY})
    c.apply()
    same('source', c.source_seen('p1', 1, 80), c.ip('p1'))
    same('pod to pod', c.source_seen('p1', c.ip('r1'), 8080), c.ip('p1'))


@scenario
def hairpin(c):
    c.service('web', 1, 'tcp 80 30080', 'NodePort', externalTrafficPolicy='Local')
    c.slice('web', {'p1': READY})
    c.apply()
    c.expect('p1:8080', 'p1', 1, 80)
    same('source', c.source_seen('p1', 1, 80), c.node_ip)
    same('source', c.source_seen('p1', c.node_ip, 30080), c.node_ip)


@scenario
def internal_policy_local(c):
    c.service('web', 1, internalTrafficPolicy='Local')
    c.slice('web', {'p2': READY, 'r1': READY})
    c.apply()
    for place in ('p1', 'host'):
        c.expect('p2:8080', place, 1, 80)
    c.slice('web', {'r1': READY})
    c.apply()
    for place in ('p1', 'host'):
        c.expect('silence', place, 1, 80)
    c.slice('web', {'host': READY, 'r1': READY})
    c.apply()
    for place in ('p1', 'host'):
        c.expect('host:8080', place, 1, 80)


@scenario
def external_policy_local(c):
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', externalTrafficPolicy='Local',
              ingress=[{'ip': c.balancer}])
    c.slice('web', {'p2': READY, 'r1': READY})
    c.apply()
    for dst, port in ((c.node_ip, 30080), (c.balancer, 80)):
        for place in ('outside', 'other host'):
            c.expect('p2:8080', place, dst, port)
            same('source', c.source_seen(place, dst, port), c.ip(place))
        c.expect('p2:8080 r1:8080', 'p1', dst, port)
        same('source', c.source_seen('p1', dst, port), c.ip('p1'))
        c.expect('p2:8080 r1:8080', 'host', dst, port)
    c.slice('web', {'r1': READY})
    c.apply()
    for dst, port in ((c.node_ip, 30080), (c.balancer, 80)):
        c.expect('silence', 'outside', dst, port)
        c.expect('r1:8080', 'p1', dst, port)
        c.expect('r1:8080', 'host', dst, port)
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', externalTrafficPolicy='Cluster',
              ingress=[{'ip': c.balancer}])
    c.apply()
    c.expect('r1:8080', 'outside', c.node_ip, 30080)
    c.expect('r1:8080', 'outside', c.balancer, 80)


@scenario
def source_ranges(c):
    def ranges(*which):
        spec = {'loadBalancerSourceRanges': list(which)} if which else {}
        c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.balancer}], **spec)
        c.apply()
    one = '/32' if c.family == 'IPv4' else '/128'
    other = '2001:db8::/32' if c.family == 'IPv4' else '10.0.0.0/8'
    c.slice('web', {'p2': READY})
    ranges()
    c.expect('p2:8080', 'p1', c.balancer, 80)
    ranges(c.ip('p1') + one)
    c.expect('p2:8080', 'p1', c.balancer, 80)
    c.expect('silence', 'p3', c.balancer, 80)
    c.expect('silence', 'outside', c.balancer, 80)
    c.expect('p2:8080', 'p3', 1, 80)
    c.expect('p2:8080', 'outside', c.node_ip, 30080)
    ranges('0.0.0.0/0' if c.family == 'IPv4' else '::/0')
    c.expect('p2:8080', 'outside', c.balancer, 80)
    ranges(c.ip('r9') + one)
    c.expect('silence', 'p1', c.balancer, 80)
    ranges(other)
    c.expect('p2:8080', 'outside', c.balancer, 80)
    ranges()
    c.expect('p2:8080', 'p3', c.balancer, 80)


@scenario
def mode_proxy_is_left_alone(c):
    c.service('web', 1, kind='LoadBalancer', ingress=[{'ip': c.balancer, 'ipMode': 'Proxy'}])
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('untouched', 'p1', c.balancer, 80)


@scenario
def proxy_name_label(c):
    c.service('web', 1)
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.service('web', 1, labels={oracle.PROXY_NAME: 'other'})
    c.apply()
    c.expect('silence', 'p1', 1, 80)
    c.service('web', 1)
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)


@scenario
def headless_label(c):
    c.service('web', 1)
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.objects[('EndpointSlice', 'ns', 'web-1')]['metadata']['labels'][oracle.HEADLESS] = ''
    c.apply()
    c.expect('refused', 'p1', 1, 80)


@scenario
def sctp(c):
    c.service('web', 1, 'sctp 5060 30060', 'NodePort')
    c.slice('web', {'p2': READY}, 'sctp 5062')
    c.apply()
    for place in ('p1', 'host', 'p2'):
        c.expect('p2:5062', place, 1, 5060, 'sctp')
        c.expect('p2:5062', place, c.node_ip, 30060, 'sctp')


@scenario
def detect_local(c):
    c.service('web', 1)
    c.slice('web', {'r1': READY})
    objects = dict(c.objects)

    def sees(place, translated, **services):
        doc = compare.sluice_config(c.config)
        doc['services'].update(services)
        c.harness.ask({'new': compare.json.dumps(doc), 'node': NODE})
        c.objects, c.shown = dict(objects), {}
        c.apply()
        same('%s %s' % (place, services), c.source_seen(place, 1, 80),
             c.node_ip if translated else c.ip(place))
    sees('p1', False)
    sees('outside', True)
    cidr = '10.244.1.0/24' if c.family == 'IPv4' else 'fd00:10:244:1::/64'
    for place, translated in (('p1', False), ('outside', True)):
        sees(place, translated, **{'detect-local-mode': 'ClusterCIDR',
                                   'detect-local-cidrs': [cidr]})
        sees(place, translated, **{'detect-local-mode': 'InterfaceNamePrefix',
                                   'detect-local-interface': 'pod'})
        sees(place, False, **{'detect-local-mode': 'ClusterCIDR'})
    sees('outside', False, **{'detect-local-mode': 'BridgeInterface',
                              'detect-local-interface': 'uplink'})
    sees('p1', True, **{'detect-local-mode': 'BridgeInterface',
                        'detect-local-interface': 'uplink'})


# --- affinity ---------------------------------------------------------------------------------

STICKY = {'sessionAffinity': 'ClientIP',
          'sessionAffinityConfig': {'clientIP': {'timeoutSeconds': 125}}}
MANY = {'p2': READY, 'p3': READY, 'r1': READY, 'r2': READY, 'r3': READY, 'r4': READY}


def frontends(c):
    return [(c.vip % 1, 80), (c.node_ip, 30080), (c.balancer, 80)]


def sticky(c, policy, place='p1'):
    spec = {'externalTrafficPolicy': policy}
    c.slice('web', MANY)
    for dst, port in frontends(c):
        c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.balancer}],
                  **dict(spec, **STICKY))
        c.apply()
        if len(c.reached(place, dst, port, n=20).split()) != 1:
            raise Wrong('not sticky at %s' % dst)
        c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.balancer}], **spec)
        c.apply()
        if len(c.reached(place, dst, port, n=40).split()) < 2:
            raise Wrong('still sticky at %s' % dst)


@scenario
def affinity_works_and_switches(c):
    sticky(c, 'Cluster')
    sticky(c, 'Cluster', 'outside')


@scenario
def affinity_local_policy(c):
    sticky(c, 'Local')


@scenario
def affinity_spans_frontends(c):
    c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', ingress=[{'ip': c.balancer}], **STICKY)
    c.slice('web', MANY)
    c.apply()
    got = {c.reached('p1', dst, port, n=5) for dst, port in frontends(c)}
    if len(got) != 1 or len(got.pop().split()) != 1:
        raise Wrong('a client has several endpoints')


@scenario
def affinity_timeout(c):
    c.service('web', 1, 'tcp 80 30080', 'NodePort', **STICKY)
    c.slice('web', MANY)
    c.apply()
    for dst, port in frontends(c)[:2]:
        first = c.reached('p1', dst, port, n=1)
        for _ in range(5):
            same('while it is used', c.reached('p1', dst, port, n=1, advance=100000), first)
        got = set()
        for _ in range(40):
            got.add(c.reached('p1', dst, port, n=1, advance=130000))
        if len(got) < 2:
            raise Wrong('never moves')


@scenario
def affinity_endpoint_goes(c):
    c.service('web', 1, **STICKY)
    c.slice('web', MANY)
    c.apply()
    first = c.reached('p1', c.vip % 1, 80, n=5)
    rest = dict(MANY)
    rest[first.split(':')[0]] = TERMINATING
    c.slice('web', rest)
    c.apply()
    second = c.reached('p1', c.vip % 1, 80, n=5)
    if second == first or len(second.split()) != 1:
        raise Wrong('from %s to %s' % (first, second))


# --- live flows -------------------------------------------------------------------------------

def udp_moves(c, place, dst, port, **spec):
    c.service('web', 1, 'udp 53 30053', 'NodePort', **spec)
    c.slice('web', {'p2': READY}, 'udp 5300')
    c.apply()
    c.expect('p2:5300', place, dst, port, 'udp', n=3, sport=4000)
    c.slice('web', {'p2': TERMINATED, 'p3': READY}, 'udp 5300')
    c.apply()
    c.expect('p3:5300', place, dst, port, 'udp', n=3, sport=4000)
    c.slice('web', {'p3': READY}, 'udp 5300')
    c.apply()
    c.expect('p3:5300', place, dst, port, 'udp', n=3, sport=4000)
    c.slice('web', {'p3': READY}, 'udp 5301')
    c.apply()
    c.expect('p3:5301', place, dst, port, 'udp', n=3, sport=4000)
    c.slice('web', {'p3': TERMINATING}, 'udp 5301')
    c.apply()
    c.expect('p3:5301', place, dst, port, 'udp', n=3, sport=4000)
    c.slice('web', {}, 'udp 5301')
    c.apply()
    c.expect('refused', place, dst, port, 'udp', n=3, sport=4000)
    c.slice('web', {'p2': READY}, 'udp 5301')
    c.apply()
    c.expect('p2:5301', place, dst, port, 'udp', n=3, sport=4000)


@scenario
def udp_cluster_ip(c):
    udp_moves(c, 'p1', 1, 53)


@scenario
def udp_node_port(c):
    udp_moves(c, 'outside', c.node_ip, 30053)


@scenario
def udp_internal_policy_local(c):
    udp_moves(c, 'p1', 1, 53, internalTrafficPolicy='Local')


@scenario
def udp_host_client(c):
    udp_moves(c, 'host', 1, 53)


@scenario
def udp_balancer(c):
    udp_moves(c, 'outside', c.balancer, 53, type='LoadBalancer', ingress=[{'ip': c.balancer}])


@scenario
def udp_before_ready(c):
    c.service('web', 1, 'udp 53')
    c.slice('web', {'p2': UNREADY}, 'udp 5300')
    c.apply()
    c.expect('refused', 'p1', 1, 53, 'udp', sport=4000)
    c.slice('web', {'p2': READY}, 'udp 5300')
    c.apply()
    c.expect('p2:5300', 'p1', 1, 53, 'udp', sport=4000)


@scenario
def udp_before_the_service(c):
    c.apply()
    c.expect('untouched', 'outside', c.balancer, 53, 'udp', sport=4000)
    c.service('web', 1, 'udp 53', 'LoadBalancer', ingress=[{'ip': c.balancer}])
    c.slice('web', {'p2': READY}, 'udp 5300')
    c.apply()
    c.expect('p2:5300', 'outside', c.balancer, 53, 'udp', sport=4000)
    c.delete('Service', 'web')
    c.apply()
    c.expect('untouched', 'outside', c.balancer, 53, 'udp', sport=4000)


@scenario
def udp_frontend_changes_hands(c):
    c.service('one', 1, 'udp 53', externalIPs=[c.external])
    c.slice('one', {'p2': READY}, 'udp 5300')
    c.apply()
    c.expect('p2:5300', 'outside', c.external, 53, 'udp', sport=4000)
    c.service('one', 1, 'udp 53')
    c.service('two', 2, 'udp 53', externalIPs=[c.external])
    c.slice('two', {'p3': READY}, 'udp 5300')
    c.apply()
    c.expect('p3:5300', 'outside', c.external, 53, 'udp', sport=4000)


@scenario
def tcp_stays(c):
    c.service('web', 1)
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80, n=1, sport=4000)
    for endpoints in ({'p2': TERMINATING, 'p3': READY}, {'p3': READY}, {}):
        c.slice('web', endpoints)
        c.apply()
        c.expect('p2:8080', 'p1', 1, 80, n=3, sport=4000, flags='A')
    c.delete('Service', 'web')
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80, n=3, sport=4000, flags='A')


@scenario
def tcp_reset_when_asked(c):
    for asked, wanted in (('true', 'refused'), ('false', 'p2:8080')):
        c.service('web', 1)['metadata']['annotations'] = {'sluice.io/reset-removed-endpoints': asked}
        c.slice('web', {'p2': READY})
        c.apply()
        c.sport += 1
        sport = c.sport
        c.expect('p2:8080', 'p1', 1, 80, n=1, sport=sport)
        c.slice('web', {'p2': TERMINATING, 'p3': READY})
        c.apply()
        c.expect('p2:8080', 'p1', 1, 80, n=1, sport=sport, flags='A')
        c.slice('web', {'p3': READY})
        c.apply()
        c.expect(wanted, 'p1', 1, 80, n=1, sport=sport, flags='A')
        c.delete('EndpointSlice', 'web-1')
        c.apply()


@scenario
def syn_selects_anew(c):
    c.service('web', 1)
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80, n=1, sport=4000)
    c.slice('web', {'p3': READY})
    c.apply()
    c.expect('p3:8080', 'p1', 1, 80, n=1, sport=4000)


@scenario
def rolling_update(c):
    for policy in ('Cluster', 'Local'):
        c.service('web', 1, 'tcp 80 30080', 'LoadBalancer', externalTrafficPolicy=policy,
                  ingress=[{'ip': c.balancer}])
        for endpoints, wanted in (({'p2': READY}, 'p2:8080'),
                                  ({'p2': TERMINATING}, 'p2:8080'),
                                  ({'p2': TERMINATING, 'p3': UNREADY}, 'p2:8080'),
                                  ({'p2': TERMINATING, 'p3': READY}, 'p3:8080'),
                                  ({'p3': READY}, 'p3:8080')):
            c.slice('web', endpoints)
            c.apply()
            c.expect(wanted, 'outside', c.balancer, 80)


# --- topology ---------------------------------------------------------------------------------

@scenario
def same_zone(c):
    def hint(zone):
        return {'forZones': [{'name': zone}]}
    c.service('web', 1, trafficDistribution='PreferSameZone')
    endpoints = {'p2': READY, 'r1': READY, 'r2': READY}
    c.slice('web', endpoints, hints={'p2': hint('zone-2'), 'r1': hint('zone-1'),
                                     'r2': hint('zone-1')})
    c.apply()
    c.expect('r1:8080 r2:8080', 'p1', 1, 80)
    c.node(zone='zone-2')
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.node(zone='zone-3')
    c.apply()
    c.expect('p2:8080 r1:8080 r2:8080', 'p1', 1, 80)
    c.node(zone='zone-1')
    c.slice('web', endpoints, hints={'r1': hint('zone-1'), 'r2': hint('zone-1')})
    c.apply()
    c.expect('p2:8080 r1:8080 r2:8080', 'p1', 1, 80)


@scenario
def same_node(c):
    def hint(zone, node):
        return {'forZones': [{'name': zone}], 'forNodes': [{'name': node}]}
    hints = {'p2': hint('zone-1', NODE), 'r1': hint('zone-1', 'node-b'),
             'r2': hint('zone-2', 'node-c')}
    c.service('web', 1, trafficDistribution='PreferSameNode')
    c.slice('web', {'p2': READY, 'r1': READY, 'r2': READY}, hints=hints)
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.slice('web', {'p2': UNREADY, 'r1': READY, 'r2': READY}, hints=hints)
    c.apply()
    c.expect('r1:8080', 'p1', 1, 80)
    c.slice('web', {'r2': READY}, hints=hints)
    c.apply()
    c.expect('r2:8080', 'p1', 1, 80)
    c.slice('web', {'p2': READY, 'r1': READY, 'r2': READY}, hints=hints)
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)


# --- dual stack -------------------------------------------------------------------------------

@scenario
def one_sided_dual_stack(c):
    other = 'IPv6' if c.family == 'IPv4' else 'IPv4'
    vip = 'fd00:10:96::1' if c.family == 'IPv4' else '10.96.0.1'
    c.service('web', 1, clusterIPs=[c.vip % 1, vip], ipFamilies=[c.family, other])
    c.slice('web', {'p2': READY})
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    mine, c.family = c.family, other
    c.expect('refused', 'p1', vip, 80)
    c.slice('web', {'p3': READY}, name='web-2')
    c.apply()
    c.expect('p3:8080', 'p1', vip, 80)
    c.family = mine
    c.service('web', 1)
    c.apply()
    c.expect('p2:8080', 'p1', 1, 80)
    c.family = other
    c.expect('silence', 'p1', vip, 80)


# --- the program ------------------------------------------------------------------------------

def missing_from(path):
    """What the table names and nobody has."""
    tests = os.path.dirname(path)
    with open(path) as f:
        text = f.read()
    files = ['packet/cases/' + name for name in re.findall(r'packet case `([a-z_]+\.case)`', text)]
    files += ['e2e/test_%s.py' % name for name in re.findall(r'e2e `([a-z_]+)`', text)]
    files += [name[6:] if name.startswith('tests/') else name
              for name in re.findall(r'`([a-z_0-9/]+/[a-z_0-9]+\.(?:py|c))`', text)]
    return ['scenario ' + name for name in re.findall(r'scenario `([a-z_]+)`', text)
            if name not in SCENARIOS] + \
        [name for name in files if not os.path.exists(os.path.join(tests, name))]


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--harness', required=True)
    args.add_argument('--only')
    a = args.parse_args()
    harness = compare.Harness(a.harness)
    failed = 0
    for name, function in SCENARIOS.items():
        if a.only not in (None, name):
            continue
        for family in ('IPv4', 'IPv6'):
            try:
                function(Cluster(harness, family))
                print('ok      %s %s' % (family, name))
            except Wrong as e:
                failed += 1
                print('FAILED  %s %s: %s' % (family, name, e))
    harness.close()
    table = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'CONFORMANCE.md')
    for name in missing_from(table):
        failed += 1
        print('FAILED  CONFORMANCE.md names %s, which does not exist' % name)
    print('%d scenarios, %d failures' % (len(SCENARIOS), failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
