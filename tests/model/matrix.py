#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The verdict matrix as a table: every kind of frontend, policy and source class, with every state
of the endpoints, in both families and all protocols, through the real dataplane.

	matrix.py --harness PATH

The expectations are written out here and come from no code; the reference model is held against
them, too. A cell shows the endpoints that may be chosen (L local, R on another node), + when the
source address is translated, or reject or drop. Exit status 1 when a cell differs."""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import generate  # noqa: E402
import oracle  # noqa: E402

READY = {'ready': True, 'serving': True, 'terminating': False}
TERMINATING = {'ready': False, 'serving': True, 'terminating': True}
UNREADY = {'ready': False, 'serving': False, 'terminating': False}

# name: (local endpoint, remote endpoint), cluster list, local list
STATES = [
    ('both ready', READY, READY, 'LR', 'L'),
    ('local ready', READY, None, 'L', 'L'),
    ('remote ready', None, READY, 'R', 'drop'),
    ('local terminating', TERMINATING, None, 'L', 'L'),
    ('remote terminating', None, TERMINATING, 'R', 'drop'),
    ('remote ready, local term.', TERMINATING, READY, 'R', 'L'),
    ('local ready, remote term.', READY, TERMINATING, 'L', 'L'),
    ('local unready, remote term.', UNREADY, TERMINATING, 'R', 'drop'),
    ('both unready', UNREADY, UNREADY, 'reject', 'reject'),
    ('none', None, None, 'reject', 'reject'),
]

# frontend, policy, source: the list, and whether the source is translated
ROWS = [
    ('ClusterIP', 'Cluster', 'pod', 'cluster', False),
    ('ClusterIP', 'Cluster', 'host', 'cluster', True),
    ('ClusterIP', 'Cluster', 'outside', 'cluster', True),
    ('ClusterIP', 'Local', 'pod', 'local', False),
    ('ClusterIP', 'Local', 'host', 'local', True),
    ('ClusterIP', 'Local', 'outside', 'local', True),
]
for kind in ('NodePort', 'LoadBalancer VIP', 'externalIP'):
    ROWS += [
        (kind, 'Cluster', 'pod', 'cluster', True),
        (kind, 'Cluster', 'host', 'cluster', True),
        (kind, 'Cluster', 'outside', 'cluster', True),
        (kind, 'Local', 'pod', 'cluster', False),
        (kind, 'Local', 'host', 'cluster', True),
        (kind, 'Local', 'outside', 'local', False),
    ]

FAMILIES = ('IPv4', 'IPv6')
CLUSTER_IP = {'IPv4': '10.96.0.10', 'IPv6': 'fd00:10:96::10'}
EXTERNAL_IP = {'IPv4': '203.0.113.250', 'IPv6': '2001:db8:250::1'}
VIP = {'IPv4': '203.0.113.251', 'IPv6': '2001:db8:250::2'}
ENDPOINT = {'L': {f: generate.LOCAL_PODS[f][1] for f in FAMILIES},
            'R': {f: generate.REMOTE[f][0] for f in FAMILIES}}
SOURCE = {
    'pod': ('pod1', {f: generate.LOCAL_PODS[f][0] for f in FAMILIES}),
    'host': ('host', {f: generate.NODE_ADDRS[f][0] for f in FAMILIES}),
    'outside': ('uplink', {f: generate.OUTSIDE[f][0] for f in FAMILIES}),
}


def objects(policy, local, remote):
    ports = [{'name': proto.lower(), 'port': 80, 'protocol': proto, 'nodePort': 30080}
             for proto in generate.PROTOCOLS]
    out = [{'kind': 'Node', 'metadata': {'name': generate.NODE}, 'status': {'addresses': [
        {'type': 'InternalIP', 'address': generate.NODE_ADDRS[f][0]} for f in FAMILIES]}},
        {'kind': 'ServiceCIDR', 'metadata': {'name': 'kubernetes'},
         'spec': {'cidrs': ['10.96.0.0/16', 'fd00:10:96::/112']}},
        {'kind': 'Service', 'metadata': {'namespace': 'ns', 'name': 'web',
                                         'creationTimestamp': '2026-01-01T00:00:00Z'},
         'spec': {'type': 'LoadBalancer', 'clusterIP': CLUSTER_IP['IPv4'],
                  'clusterIPs': list(CLUSTER_IP.values()), 'ipFamilies': list(FAMILIES),
                  'externalIPs': list(EXTERNAL_IP.values()), 'ports': ports,
                  'internalTrafficPolicy': policy, 'externalTrafficPolicy': policy},
         'status': {'loadBalancer': {'ingress': [{'ip': ip, 'ipMode': 'VIP'}
                                                 for ip in VIP.values()]}}}]
    for family in FAMILIES:
        endpoints = []
        for side, conditions, node in (('L', local, generate.NODE), ('R', remote, 'node-b')):
            if conditions is not None:
                endpoints.append({'addresses': [ENDPOINT[side][family]], 'conditions': conditions,
                                  'nodeName': node})
        out.append({'kind': 'EndpointSlice', 'metadata': {
            'namespace': 'ns', 'name': 'web-' + family.lower(),
            'labels': {oracle.SERVICE_NAME: 'web'}},
            'addressType': family, 'endpoints': endpoints,
            'ports': [{'name': p['name'], 'protocol': p['protocol'], 'port': 8080}
                      for p in ports]})
    return out


def destination(kind, family):
    if kind == 'ClusterIP':
        return CLUSTER_IP[family], 80
    if kind == 'NodePort':
        return generate.NODE_ADDRS[family][0], 30080
    return (VIP if kind == 'LoadBalancer VIP' else EXTERNAL_IP)[family], 80


def seen(answers, family):
    """What came of several new connections, in the words of the table."""
    chosen = set()
    snat = None
    for p, a in answers:
        if a.backend is None:
            if a.kind == 'reject':
                return 'reject'
            return 'drop' if a.text == 'ServiceNoLocalBackend' else a.kind + ' ' + a.text
        side = [s for s in 'LR' if oracle.parse_ip(ENDPOINT[s][family]) == a.backend[0]]
        chosen.add(side[0] if side and a.backend[1] == 8080 else '?')
        # The host's own address is what it is translated to.
        snat = (a.src == generate.NODE_ADDRS[family][0]) if snat is None or snat else snat
    return ''.join(sorted(chosen)) + ('+' if snat else '')


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--harness', required=True)
    harness = compare.Harness(args.parse_args().harness)
    config = oracle.Config()
    sport, cells, wrong = 20000, 0, []
    table = {}
    for policy in ('Cluster', 'Local'):
        harness.new(config)
        for name, local, remote, cluster_list, local_list in STATES:
            state_objects = objects(policy, local, remote)
            model = oracle.State(config, state_objects)
            harness.ask({'set': state_objects, 'delete': []})
            for row in [r for r in ROWS if r[1] == policy]:
                kind, _, source, which, snat = row
                expected = cluster_list if which == 'cluster' else local_list
                expected += '+' if snat and expected not in ('reject', 'drop') else ''
                for family in FAMILIES:
                    for proto in generate.PROTOCOLS:
                        dst, dport = destination(kind, family)
                        packets = []
                        for _ in range(16):
                            sport = sport + 1 if sport < 29999 else 20000
                            packets.append({'in': SOURCE[source][0], 'source': source,
                                            'src': SOURCE[source][1][family], 'dst': dst,
                                            'proto': proto, 'sport': sport, 'dport': dport})
                        outcomes = harness.ask({'packets': packets})['packets']
                        answers = [(p, compare.Answer(p, o)) for p, o in zip(packets, outcomes)]
                        got = seen(answers, family)
                        verdict = model.decide(compare.as_packet(packets[0]))
                        said = ''.join(sorted(
                            s for s in 'LR' for a, _, _ in verdict.to
                            if oracle.parse_ip(ENDPOINT[s][family]) == a))
                        said = said + ('+' if verdict.to and all(s for _, _, s in verdict.to)
                                       else '') if verdict.to else verdict.kind
                        cells += 1
                        if got != expected or said != expected:
                            wrong.append('%s %s from %s, %s, %s %s: expected %s, the switch: %s, '
                                         'the model: %s' % (kind, policy, source, name, family,
                                                            proto, expected, got, said))
                        table[row, name] = expected if got == expected else 'WRONG'
    harness.close()
    print('== Verdict matrix')
    print_table(table)
    print('%d cells (%d rows, %d endpoint states, 2 families, 3 protocols), %d wrong' % (
        cells, len(ROWS), len(STATES), len(wrong)))
    print('==')
    for line in wrong[:40]:
        print(line)
    return 1 if wrong else 0


def print_table(table):
    print('L: the local endpoint, R: the one on another node, +: the source is translated.\nEach cell holds for IPv4 and IPv6, TCP, UDP and SCTP.\n')
    for i, s in enumerate(STATES):
        print('  %2d  %s' % (i + 1, s[0]))
    print('\n%-17s %-8s %-8s' % ('frontend', 'policy', 'source') +
          ''.join('%8d' % (i + 1) for i in range(len(STATES))))
    for row in ROWS:
        print('%-17s %-8s %-8s' % row[:3] + ''.join('%8s' % table[row, s[0]] for s in STATES))
    print()


if __name__ == '__main__':
    sys.exit(main())
