# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Scenarios of what is remembered: affinity and live flows; and of topology and families, which
change what is remembered (see scenarios.py)."""

from cluster import NODE, READY, TERMINATED, TERMINATING, UNREADY, Wrong, same, scenario

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
