# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Scenarios of endpoints, readiness, and kinds of services with their policies (see scenarios.py)."""

import copy

import compare
import oracle
from cluster import NODE, PUBLISHED, READY, TERMINATED, TERMINATING, UNREADY, same, scenario

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
