#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Random cluster states and packets for the model's comparison. Everything follows from the seed.

A world is a configuration and a list of steps; a step is a list of API objects that come, change
or go, and packets to be sent then. Addresses are drawn from small sets, so that services, slices
and packets meet often."""

import copy
import random

import oracle
from oracle import show_ip

NODE = 'node-a'
NODES = ['node-a', 'node-b', 'node-c']
ZONES = ['zone-1', 'zone-2']
PROTOCOLS = ['TCP', 'UDP', 'SCTP']

LOCAL_PODS = {
    'IPv4': ['10.244.1.11', '10.244.1.12', '10.244.1.13'],
    'IPv6': ['fd00:10:244:1::11', 'fd00:10:244:1::12', 'fd00:10:244:1::13'],
}
NODE_ADDRS = {
    'IPv4': ['192.0.2.10', '192.0.2.12', '198.18.7.10'],
    'IPv6': ['2001:db8:1::10', '2001:db8:1::12', '2001:db8:7::10'],
}
REMOTE = {
    'IPv4': ['10.244.2.%d' % i for i in range(20, 30)] + ['198.51.100.7'],
    'IPv6': ['fd00:10:244:2::%d' % i for i in range(20, 30)] + ['2001:db8:51::7'],
}
OUTSIDE = {
    'IPv4': ['203.0.113.5', '203.0.113.77', '198.51.100.200', '10.244.2.21'],
    'IPv6': ['2001:db8:113::5', '2001:db8:113::77', '2001:db8:51::200', 'fd00:10:244:2::21'],
}
# External addresses that services may claim. The host may send from the third of each family,
# as a host to which a load balancer's address is bound does.
EXTERNAL = {
    'IPv4': ['203.0.113.250', '203.0.113.251', '198.18.9.9', '192.0.2.10', '10.96.7.7'],
    'IPv6': ['2001:db8:250::1', '2001:db8:250::2', '2001:db8:9::9', '2001:db8:1::10',
             'fd00:10:96::7'],
}
CLUSTER_IPS = {
    'IPv4': ['10.96.0.%d' % i for i in range(1, 30)] + ['10.97.0.3', '172.20.0.5'],
    'IPv6': ['fd00:10:96::%x' % i for i in range(0x10, 0x30)] + ['fd00:10:97::3', 'fd00:172::5'],
}
UNUSED = {
    'IPv4': ['10.96.200.200', '10.97.0.200', '172.20.0.200', '203.0.113.199'],
    'IPv6': ['fd00:10:96::ff00', 'fd00:10:97::ff00', 'fd00:172::ff', '2001:db8:250::ff'],
}
BAD_IPS = ['127.0.0.1', '169.254.1.9', '0.0.0.0', '224.0.0.5', '::1', '::', 'fe80::1', 'ff02::5',
           '', 'banana', '10.0.0.256', '10.0.0', '1::2::3', '10.96.0.1/32', ' 10.96.0.9',
           'fe80::1%eth0', None, 7, {'ip': '10.96.0.1'}, '127.0.0.0053']
BAD_PORTS = [0, -1, 65536, 70000, None, '80', 80.5, True, [80], 2 ** 40]
SERVICE_PORTS = [80, 443, 53, 8080, 30001]
TARGETS = [8080, 9090, 53, 80]
# The range is the API server's choice, not ours.
NODE_PORTS = list(range(30000, 30012)) + [9443, 61000]


def maybe_zeros(rng, ip):
    """Old objects have leading zeros and IPv4-mapped addresses; they mean the same."""
    if ':' in ip:
        return ip.upper() if rng.random() < 0.2 else ip
    roll = rng.random()
    if roll < 0.1:
        return '.'.join(p.zfill(rng.choice([1, 2, 3])) for p in ip.split('.'))
    if roll < 0.15:
        return '::ffff:' + ip
    return ip


class World:
    def __init__(self, seed, hostile=0.15):
        self.rng = rng = random.Random(seed)
        self.seed = seed
        self.hostile = hostile
        self.config = self.make_config()
        self.objects = {}  # (kind, ns, name) -> object
        self.state = None
        self.used_cluster_ips = set()
        self.used_node_ports = set()
        self.names = [('ns-%s' % rng.choice('ab'), 'svc-%d' % i) for i in range(rng.randrange(3, 8))]
        self.names = list(dict.fromkeys(self.names))
        self.touched = set()  # services of which one field changed in this step
        self.counter = 20000

    # --- helpers ---

    def chance(self, p):
        return self.rng.random() < p

    def bad(self, p=None):
        return self.chance(self.hostile if p is None else p)

    def make_config(self):
        rng = self.rng
        node_ports = rng.choices(['primary', ['192.0.2.0/24'], ['192.0.2.12/32', '2001:db8:7::/48'],
                                  ['0.0.0.0/0', '::/0'], ['2001:db8:1::12/128']],
                                 [6, 1, 1, 1, 1])[0]
        return oracle.Config(node=NODE, node_ports=node_ports, host_addresses=sum(
                                 NODE_ADDRS.values(), []) + [EXTERNAL[f][2] for f in EXTERNAL],
                             masquerade_all=rng.random() < 0.15,
                             detect_local=rng.choices(
                                 ['vport', 'node', ['10.244.0.0/16', 'fd00:10:244::/48'],
                                  ['10.244.0.0/16'], []], [6, 1, 1, 1, 1])[0],
                             cluster_ip_outside=rng.random() < 0.8,
                             external_ips=rng.random() < 0.9,
                             proxy_name='ours' if rng.random() < 0.1 else None,
                             service_cidrs=['172.20.0.0/24'] if rng.random() < 0.2 else [])

    def put(self, o):
        m = o['metadata']
        self.objects[(o['kind'], m.get('namespace', ''), m['name'])] = o
        return o

    # --- objects ---

    def node(self):
        rng = self.rng
        addresses = []
        for family in ('IPv4', 'IPv6'):
            addrs = NODE_ADDRS[family]
            addresses.append({'type': 'InternalIP', 'address': addrs[0]})
            if self.chance(0.5):
                addresses.append({'type': 'InternalIP', 'address': addrs[1]})
            if self.chance(0.5):
                addresses.insert(0, {'type': 'ExternalIP', 'address': addrs[2]})
        addresses.append({'type': 'Hostname', 'address': NODE})
        if self.bad():
            addresses.insert(0, {'type': 'InternalIP', 'address': rng.choice(BAD_IPS)})
        labels = {'kubernetes.io/hostname': NODE}
        if self.chance(0.8):
            labels[oracle.ZONE] = rng.choice(ZONES)
        return self.put({'apiVersion': 'v1', 'kind': 'Node',
                         'metadata': {'name': NODE, 'labels': labels},
                         'spec': {'podCIDR': '10.244.1.0/24',
                                  'podCIDRs': ['10.244.1.0/24', 'fd00:10:244:1::/64']},
                         'status': {'addresses': addresses}})

    def service_cidrs(self):
        self.put({'apiVersion': 'networking.k8s.io/v1', 'kind': 'ServiceCIDR',
                  'metadata': {'name': 'kubernetes'},
                  'spec': {'cidrs': ['10.96.0.0/16', 'fd00:10:96::/112']}})
        if self.chance(0.5):
            self.put({'apiVersion': 'networking.k8s.io/v1', 'kind': 'ServiceCIDR',
                      'metadata': {'name': 'more'},
                      'spec': {'cidrs': ['10.97.0.0/24', 'fd00:10:97::/112']}})

    def pick_cluster_ip(self, family, name):
        free = [ip for ip in CLUSTER_IPS[family] if ip not in self.used_cluster_ips]
        ip = self.rng.choice(free)
        self.used_cluster_ips.add(ip)
        return ip

    def service_ports(self, name, node_ports):
        rng = self.rng
        ports, numbers = [], set()
        for i in range(rng.choices([1, 2, 3], [5, 3, 1])[0]):
            proto = rng.choices(PROTOCOLS, [5, 4, 1])[0]
            number = rng.choice(SERVICE_PORTS)
            if (proto, number) in numbers:
                continue
            numbers.add((proto, number))
            p = {'name': 'p%d' % i, 'port': number, 'targetPort': rng.choice([8080, 'http']),
                 'protocol': proto}
            if proto == 'TCP' and self.chance(0.2):
                del p['protocol']
            if node_ports:
                free = [n for n in NODE_PORTS if (proto, n) not in self.used_node_ports]
                if free:
                    p['nodePort'] = rng.choice(free)
                    self.used_node_ports.add((proto, p['nodePort']))
            if self.chance(0.1):
                p['appProtocol'] = 'kubernetes.io/h2c'
            ports.append(p)
        if len(ports) == 1 and self.chance(0.5):
            ports[0]['name'] = ''
            if self.chance(0.5):
                del ports[0]['name']
        return ports

    def service(self, ns, name):
        rng = self.rng
        old = self.objects.get(('Service', ns, name))
        for p in (old or {}).get('spec', {}).get('ports') or []:
            if isinstance(p, dict) and isinstance(p.get('nodePort'), int):
                self.used_node_ports.discard((p.get('protocol', 'TCP'), p['nodePort']))
        kind = rng.choices(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'],
                           [4, 3, 4, 0.4])[0]
        families = rng.choice([['IPv4'], ['IPv6'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4'],
                               ['IPv4', 'IPv6']])
        spec = {'type': kind, 'ipFamilies': families, 'ipFamilyPolicy': 'PreferDualStack',
                'selector': {'app': name}}
        if old and self.chance(0.7) and old['spec'].get('clusterIPs') and \
                all(oracle.parse_ip(ip) for ip in old['spec']['clusterIPs']):
            spec['clusterIPs'] = list(old['spec']['clusterIPs'])
            spec['ipFamilies'] = [oracle.parse_ip(ip)[0] for ip in spec['clusterIPs']]
        else:
            for ip in (old or {}).get('spec', {}).get('clusterIPs') or []:
                if isinstance(ip, str):
                    self.used_cluster_ips.discard(ip)
            spec['clusterIPs'] = [self.pick_cluster_ip(f, name) for f in families]
        spec['clusterIP'] = spec['clusterIPs'][0]
        if self.chance(0.06):
            spec['clusterIP'] = rng.choice(['None', ''])
            spec['clusterIPs'] = [spec['clusterIP']]
        elif self.chance(0.1):  # an older server
            del spec['ipFamilies'], spec['ipFamilyPolicy']
            if self.chance(0.5):
                del spec['clusterIPs']
        node_ports = kind == 'NodePort' or (kind == 'LoadBalancer' and self.chance(0.7))
        spec['ports'] = self.service_ports(name, node_ports)
        if self.chance(0.3):
            spec['internalTrafficPolicy'] = rng.choice(['Local', 'Cluster'])
        if self.chance(0.6):
            spec['externalTrafficPolicy'] = rng.choice(['Local', 'Cluster'])
        if self.chance(0.3):
            spec['externalIPs'] = [maybe_zeros(rng, rng.choice(EXTERNAL[f]))
                                   for f in rng.choices(['IPv4', 'IPv6'], k=rng.randrange(1, 4))]
        if self.chance(0.2):
            spec['sessionAffinity'] = 'ClientIP'
            if self.chance(0.8):
                spec['sessionAffinityConfig'] = {'clientIP':
                                                 {'timeoutSeconds': rng.choice([1, 30, 86400])}}
        elif self.chance(0.3):
            spec['sessionAffinity'] = 'None'
        if self.chance(0.3):
            spec['trafficDistribution'] = rng.choice(['PreferClose', 'PreferSameNode'])
        if self.chance(0.2):
            spec['publishNotReadyAddresses'] = True
        o = {'apiVersion': 'v1', 'kind': 'Service',
             'metadata': {'namespace': ns, 'name': name, 'uid': 'u-%s' % name,
                          'creationTimestamp': '2026-01-0%dT00:00:00Z' % rng.randrange(1, 5)},
             'spec': spec, 'status': {'loadBalancer': {}}}
        if kind == 'LoadBalancer' or self.chance(0.03):
            self.load_balancer(o)
        if self.chance(0.05):
            o['metadata']['labels'] = {oracle.PROXY_NAME: rng.choice(['other', 'ours', ''])}
        elif self.config.proxy_name and self.chance(0.8):
            o['metadata']['labels'] = {oracle.PROXY_NAME: 'ours'}
        if self.chance(0.1):
            self.not_for_a_proxy(o)
        if self.chance(0.05):
            o['metadata']['deletionTimestamp'] = '2026-02-01T00:00:00Z'
        if self.bad():
            self.spoil_service(o)
        return self.put(o)

    def not_for_a_proxy(self, o):
        """What others read, and what must change nothing here."""
        o['spec'].update({'loadBalancerIP': EXTERNAL['IPv4'][0], 'loadBalancerClass': 'some/class',
                          'allocateLoadBalancerNodePorts': False,
                          'topologyKeys': ['kubernetes.io/hostname']})
        o['metadata']['annotations'] = {
            'service.beta.kubernetes.io/load-balancer-source-ranges': '203.0.113.77/32',
            'service.kubernetes.io/topology-mode': 'Auto',
            'service.kubernetes.io/topology-aware-hints': 'auto'}

    def load_balancer(self, o):
        rng, spec = self.rng, o['spec']
        ingress = []
        for _ in range(rng.randrange(1, 4)):
            family = rng.choice(['IPv4', 'IPv6'])
            entry = {'ip': maybe_zeros(rng, rng.choice(EXTERNAL[family]))}
            mode = rng.choices(['VIP', 'Proxy', None, 'absent'], [5, 2, 1, 3])[0]
            if mode != 'absent':
                entry['ipMode'] = mode
            ingress.append(entry)
        if self.chance(0.1):
            ingress.append({'hostname': 'lb.example.com'})
        o['status'] = {'loadBalancer': {'ingress': ingress}}
        if self.chance(0.5):
            spec['loadBalancerSourceRanges'] = rng.choice([
                ['192.0.2.8/29', '2001:db8:1::/64'],
                ['203.0.113.0/24'], ['203.0.113.5/32', '2001:db8:113::/48'],
                ['10.244.1.11/32'], [' 10.244.0.0/16 '], ['0.0.0.0/0'], ['2001:db8:113::5/128'],
                ['192.0.2.0/24'], ['::/0'], ['192.0.2.10/32', '2001:db8:1::10/128'],
                ['203.0.113.77/24'], ['192.0.2.99/32', '::/0'], [],
            ])
        elif self.chance(0.2):
            # Ranges that name the node alone, and a VIP that is bound to it: the one case in which
            # a source outside of the ranges is let in.
            spec['loadBalancerSourceRanges'] = ['192.0.2.8/29', '2001:db8:1::10/128']
            ingress.append({'ip': EXTERNAL[rng.choice(['IPv4', 'IPv6'])][2]})

    def spoil_service(self, o):
        rng, spec = self.rng, o['spec']
        for _ in range(rng.randrange(1, 3)):
            kind = rng.randrange(9)
            if kind == 0:
                spec['externalIPs'] = (spec.get('externalIPs') or []) + [rng.choice(BAD_IPS)]
                rng.shuffle(spec['externalIPs'])
            elif kind == 1:
                ingress = o['status'].setdefault('loadBalancer', {}).setdefault('ingress', [])
                ingress.append({'ip': rng.choice(BAD_IPS)})
            elif kind == 2 and spec['ports']:
                spec['ports'].append({'name': 'bad', 'port': rng.choice(BAD_PORTS),
                                      'protocol': 'TCP'})
            elif kind == 3 and spec['ports']:
                spec['ports'].append({'name': 'odd', 'port': 4444,
                                      'protocol': rng.choice(['tcp', 'ICMP', 'QUIC'])})
            elif kind == 4:
                spec['ports'].append(None)
            elif kind == 5:
                spec['futureField'] = {'a': [1, {'b': None}]}
                o['metadata']['annotations'] = {'x': 'y' * 100}
            elif kind == 6:
                spec['loadBalancerSourceRanges'] = ['203.0.113.0/24', '2001:db8:113::/48',
                                                    rng.choice(['10.0.0.0/33', 'x'])]
            elif kind == 7:
                for field in ('sessionAffinityConfig', 'externalIPs', 'trafficDistribution',
                              'externalTrafficPolicy', 'loadBalancerSourceRanges'):
                    if self.chance(0.5):
                        spec[field] = None
            elif kind == 8 and spec['ports']:
                spec['ports'].append(copy.deepcopy(spec['ports'][0]))

    def conditions(self):
        rng = self.rng
        roll = rng.random()
        if roll < 0.08:
            return rng.choice([None, {}, {'ready': None}, {'serving': True}, {'ready': True},
                               {'ready': False}, {'terminating': True},
                               {'terminating': True, 'ready': False}])
        return rng.choices([
            {'ready': True, 'serving': True, 'terminating': False},
            {'ready': False, 'serving': False, 'terminating': False},
            {'ready': False, 'serving': True, 'terminating': True},
            {'ready': False, 'serving': False, 'terminating': True},
            {'ready': True, 'serving': True, 'terminating': True},
            {'ready': True, 'serving': False, 'terminating': False},
            {'ready': False, 'serving': True, 'terminating': False},
        ], self.mix)[0]

    def endpoint(self, family, ip=None):
        rng = self.rng
        if ip is None:
            ip = rng.choice(rng.choice([LOCAL_PODS, REMOTE, REMOTE, NODE_ADDRS])[family])
        e = {'addresses': [maybe_zeros(rng, ip) if family == 'IPv4' else ip],
             'conditions': self.conditions()}
        if e['conditions'] is None and self.chance(0.5):
            del e['conditions']
        if self.chance(0.9):
            e['nodeName'] = rng.choice([NODE] * 2 + NODES) if self.favour_local else \
                rng.choice(NODES[1:] * 2 + NODES)
        if self.chance(0.7):
            e['zone'] = rng.choice(ZONES)
        hints = {}
        if self.chance(self.zone_hints):
            hints['forZones'] = [{'name': z} for z in
                                 rng.sample(ZONES + ['zone-9'], rng.randrange(1, 3))]
        if self.chance(self.node_hints):
            hints['forNodes'] = [{'name': n} for n in rng.sample(NODES, rng.randrange(1, 3))]
        if hints or self.chance(0.05):
            e['hints'] = hints
        if self.chance(0.05):
            e['addresses'].append('10.244.9.9')
        if self.chance(0.3):
            e['targetRef'] = {'kind': 'Pod', 'namespace': 'x', 'name': 'pod-1'}
        return e

    def slices(self, ns, name):
        """All slices of a service anew."""
        rng = self.rng
        for key in [k for k in self.objects if k[0] == 'EndpointSlice' and k[1] == ns and
                    k[2].startswith(name + '-')]:
            del self.objects[key]
        service = self.objects.get(('Service', ns, name))
        ports = []
        for p in (service or {}).get('spec', {}).get('ports') or [{'name': 'p0', 'port': 80}]:
            if isinstance(p, dict):
                ports.append((p.get('name', ''), p.get('protocol', 'TCP')))
        self.mix = rng.choice([
            [8, 1, 1, 0.5, 0.3, 0.3, 0.3], [0, 1, 3, 1, 0, 0, 1], [1, 3, 1, 1, 0.2, 0.2, 1],
            [0, 1, 0, 1, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
        self.zone_hints = rng.choice([0, 0, 1, 1, 0.8])
        self.node_hints = rng.choice([0, 0, 0, 1, 1, 0.8])
        self.favour_local = self.chance(0.5)
        families = rng.choice([['IPv4', 'IPv6'], ['IPv4', 'IPv6'], ['IPv4', 'IPv6'],
                               ['IPv4', 'IPv6'], ['IPv4'], ['IPv6'], []])
        known = []
        for i in range(rng.choices([0, 1, 2, 3], [0.5, 4, 4, 2])[0]):
            for family in families:
                offered = [{'name': n, 'protocol': proto, 'port': rng.choice(TARGETS)}
                           for n, proto in ports if self.chance(0.92)]
                endpoints = [self.endpoint(family) for _ in range(rng.choice([0, 1, 2, 3, 4, 5]))]
                # The same address again: an endpoint that moves, or an address used anew.
                for e in rng.sample(known, min(len(known), rng.choice([0, 0, 1, 2]))):
                    ip = oracle.parse_ip(e['addresses'][0])
                    if ip and ip[0] == family:
                        endpoints.append(self.endpoint(family, show_ip(ip)))
                known += [e for e in endpoints if e['addresses']]
                s = {'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice',
                     'metadata': {'namespace': ns, 'name': '%s-%s%d' % (name, family[-1], i),
                                  'labels': {oracle.SERVICE_NAME: name}},
                     'addressType': family, 'endpoints': endpoints, 'ports': offered}
                if self.bad():
                    self.spoil_slice(s)
                self.put(s)
        if self.chance(0.05):
            self.put({'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice',
                      'metadata': {'namespace': ns, 'name': name + '-fqdn',
                                   'labels': {oracle.SERVICE_NAME: name}},
                      'addressType': 'FQDN', 'endpoints': [{'addresses': ['a.example.com']}],
                      'ports': [{'name': n, 'protocol': p, 'port': 80} for n, p in ports]})

    def spoil_slice(self, s):
        rng = self.rng
        kind = rng.randrange(13)
        if kind == 0:
            s['metadata']['labels'][oracle.HEADLESS] = ''
        elif kind == 1:
            s['metadata']['labels'] = rng.choice([{}, {oracle.SERVICE_NAME: ''},
                                                  {'app': 'x'}])
        elif kind == 2:
            s['endpoints'].append({'addresses': [rng.choice(BAD_IPS)],
                                   'conditions': {'ready': True}})
        elif kind == 3:
            s['endpoints'].append({'addresses': rng.choice([[], None])})
        elif kind == 4:
            s['ports'].append({'name': 'p0', 'protocol': 'TCP', 'port': rng.choice(BAD_PORTS[:5])})
            if self.chance(0.5):
                s['ports'].reverse()
        elif kind == 5:
            s['endpoints'] = rng.choice([None, []])
        elif kind == 6:
            s['ports'] = rng.choice([None, []])
        elif kind == 7:
            s['endpoints'].append(None)
        elif kind == 8:  # the other family's address
            other = 'IPv6' if s['addressType'] == 'IPv4' else 'IPv4'
            s['endpoints'].append({'addresses': [REMOTE[other][0]], 'conditions': {'ready': True}})
        elif kind == 9:
            s['futureField'] = [{'deep': {'er': []}}]
            for e in s['endpoints']:
                e['newThing'] = {'x': 1}
        elif kind == 10:
            s['metadata']['labels'][oracle.SERVICE_NAME] = rng.choice(self.names)[1]
        elif kind == 12 and s['ports']:
            s['ports'][0]['name'] = None
            if self.chance(0.5):
                del s['ports'][0]['name']
        elif kind == 11:
            for e in s['endpoints']:
                e['hints'] = rng.choice([None, {'forZones': None}, {'forZones': []},
                                         {'forNodes': [{'name': NODE}]}])

    # --- steps ---

    def first_objects(self):
        self.node()
        if self.chance(0.95):
            self.service_cidrs()
        for ns, name in self.names:
            if self.chance(0.93):
                self.service(ns, name)
            if self.chance(0.95):
                self.slices(ns, name)

    def change(self):
        rng = self.rng
        for _ in range(rng.randrange(1, 4)):
            ns, name = rng.choice(self.names)
            kind = rng.choices(range(7), [4, 5, 1, 1, 1, 1, 3])[0]
            if kind == 0:
                self.service(ns, name)
            elif kind == 1:
                self.slices(ns, name)
            elif kind == 2:
                self.objects.pop(('Service', ns, name), None)
            elif kind == 3:
                for key in [k for k in self.objects if k[0] == 'EndpointSlice' and k[1] == ns]:
                    if self.chance(0.5):
                        del self.objects[key]
            elif kind == 4 and self.chance(0.9):
                self.node()
            elif kind == 4:
                self.objects.pop(('Node', '', NODE), None)
            elif kind == 5:
                key = ('ServiceCIDR', '', 'more')
                if self.objects.pop(key, None) is None:
                    self.service_cidrs()
            elif kind == 6:
                self.touch(ns, name)

    def touch_families(self, spec, name):
        """The second family comes or goes; the first cannot change."""
        ips = spec.get('clusterIPs') or []
        if not ips or any(oracle.parse_ip(ip) is None for ip in ips):
            return
        families = [oracle.parse_ip(ip)[0] for ip in ips]
        if len(ips) == 2:
            self.used_cluster_ips.discard(ips.pop())
            families.pop()
        else:
            families.append('IPv6' if families[0] == 'IPv4' else 'IPv4')
            ips.append(self.pick_cluster_ip(families[1], name))
        if 'ipFamilies' in spec:
            spec['ipFamilies'] = families

    def touch(self, ns, name):
        """One field of a service."""
        rng = self.rng
        old = self.objects.get(('Service', ns, name))
        if old is None:
            return
        o = copy.deepcopy(old)
        spec = o['spec']
        kind = rng.randrange(5)
        if kind == 0:
            spec['externalTrafficPolicy'] = rng.choice(['Local', 'Cluster'])
        elif kind == 1:
            spec['internalTrafficPolicy'] = rng.choice(['Local', 'Cluster'])
        elif kind == 2:
            spec['type'] = rng.choice(['ClusterIP', 'ExternalName', 'LoadBalancer'])
        elif kind == 3:
            self.touch_families(spec, name)
        else:
            o['metadata']['labels'] = {} if o['metadata'].get('labels') else \
                {oracle.PROXY_NAME: 'other'}
        self.put(o)
        self.touched.add((ns, name))

    # --- packets ---

    def next_sport(self):
        self.counter += 1
        if self.counter > 29990:
            self.counter = 20000
        return self.counter

    def source(self, family):
        """(input port, class, address)"""
        rng = self.rng
        kind = rng.choices(['pod', 'host', 'outside'], [4, 2, 4])[0]
        if kind == 'pod':
            i = rng.randrange(3)
            return ('pod%d' % (i + 1), kind, LOCAL_PODS[family][i])
        if kind == 'host':
            addrs = [show_ip(a) for a in self.state.node_addrs if a[0] == family]
            if self.chance(0.15):
                addrs = [EXTERNAL[family][2]]
            return ('host', kind, rng.choice(addrs or NODE_ADDRS[family][:1]))
        return ('uplink', kind, rng.choice(OUTSIDE[family]))

    def destinations(self):
        """Everything that might be a frontend: (family, address, protocol, port)."""
        out = []
        for o in self.objects.values():
            if o['kind'] != 'Service':
                continue
            spec = o['spec']
            addrs = list(spec.get('clusterIPs') or [spec.get('clusterIP')])
            extra = list(spec.get('externalIPs') or [])
            for i in (o['status'].get('loadBalancer') or {}).get('ingress') or []:
                extra.append(i.get('ip'))
            for p in spec.get('ports') or []:
                if not isinstance(p, dict):
                    continue
                proto = p.get('protocol', 'TCP')
                if proto not in PROTOCOLS:
                    proto = 'TCP'
                number = oracle.port_number(p.get('port')) or 80
                for ip in addrs * 2 + extra * 2:
                    addr = oracle.parse_ip(ip)
                    if oracle.usable(addr):
                        out.append((addr[0], show_ip(addr), proto, number))
                if oracle.port_number(p.get('nodePort')):
                    for family in ('IPv4', 'IPv6'):
                        ips = [show_ip(a) for a in self.state.node_addrs
                               if a[0] == family][:1] * 2 + NODE_ADDRS[family]
                        for ip in ips:
                            out.append((family, ip, proto, p['nodePort']))
        return out

    def frontends(self, only=None):
        """What the model holds for frontends, those with endpoints three times."""
        out = []
        for family in ('IPv4', 'IPv6'):
            node_ports = self.state.node_port_addresses(family)
            for p in self.state.all_ports(family):
                service = p.service
                if only is not None and (service.ns, service.name) not in only:
                    continue
                addrs = [service.cluster_ip(family)] + service.externals(family) + \
                    service.vips(family)
                found = [(family, show_ip(a), p.proto, p.port) for a in addrs]
                if p.node_port:
                    found += [(family, show_ip(a), p.proto, p.node_port) for a in node_ports]
                out += found * (3 if p.has_any else 1)
        return out

    def packet(self, destinations, frontends):
        rng = self.rng
        if destinations and self.chance(0.9):
            known = frontends if frontends and self.chance(0.75) else destinations
            if self.changed and self.chance(0.4):
                known = self.changed
            family, ip, proto, port = rng.choice(known)
            roll = rng.random()
            if roll < 0.06:
                port = rng.choice([1, 81, 30011, 65535])
            elif roll < 0.09:
                proto = rng.choice(PROTOCOLS)
        else:
            family = rng.choice(['IPv4', 'IPv6'])
            ip = rng.choice(rng.choice([UNUSED, LOCAL_PODS, REMOTE, NODE_ADDRS, CLUSTER_IPS,
                                        EXTERNAL])[family])
            proto, port = rng.choice(PROTOCOLS), rng.choice(SERVICE_PORTS + NODE_PORTS)
        port_in, source, src = self.source(family)
        if ip == EXTERNAL[family][2] and self.chance(0.4):
            port_in, source, src = 'host', 'host', ip  # bound to the host itself
        return {'in': port_in, 'source': source, 'src': src, 'dst': ip, 'proto': proto,
                'sport': self.next_sport(), 'dport': port}

    def steps(self, count, packets):
        """Yields (objects now: a fresh list, packets)."""
        for i in range(count):
            self.touched.clear()
            if i == 0:
                self.first_objects()
            else:
                self.change()
            self.state = oracle.State(self.config, self.objects.values(), self.state)
            self.changed = self.frontends(self.touched)
            destinations, frontends = self.destinations(), self.frontends()
            yield copy.deepcopy(list(self.objects.values())), \
                [self.packet(destinations, frontends) for _ in range(packets)]
