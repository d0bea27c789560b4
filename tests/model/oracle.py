#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""The reference model: what a service proxy has to do with a packet.

Written from the rules of the Kubernetes service proxy and from nothing else: no line of the
dataplane, of the decoder or of the reconciler was its source, so that a misreading has to be made
twice to go unseen. It is slow and plain on purpose: no index, no state but what is given.

	State(config, objects).decide(packet) -> Verdict

Objects are API objects as JSON values; config is described at Config. Verdicts:

	dnat      to one of .to, a set of (address, port, snat)
	reject    answered by a reset or an ICMP port unreachable
	drop      silently; .why tells the class
	pass      not a service's business, unchanged
	echo      an echo request to a ClusterIP: answered or dropped, never forwarded
	any       the rules leave it open
"""

import re

V4, V6 = 'IPv4', 'IPv6'
PROTOCOLS = ('TCP', 'UDP', 'SCTP')
PROXY_NAME = 'service.kubernetes.io/service-proxy-name'
HEADLESS = 'service.kubernetes.io/headless'
SERVICE_NAME = 'kubernetes.io/service-name'
ZONE = 'topology.kubernetes.io/zone'

# --- addresses: (family, integer) -------------------------------------------------------------

BITS = {V4: 32, V6: 128}


def _v4(text):
    parts = text.split('.')
    if len(parts) != 4 or not all(re.fullmatch(r'[0-9]{1,3}', p) for p in parts):
        return None
    # Old objects hold leading zeros; they are decimal.
    values = [int(p) for p in parts]
    if any(v > 255 for v in values):
        return None
    return values[0] << 24 | values[1] << 16 | values[2] << 8 | values[3]


def _v6(text):
    if '.' in text:
        head, _, tail = text.rpartition(':')
        quad = _v4(tail)
        if quad is None or not head:
            return None
        text = '%s:%x:%x' % (head, quad >> 16, quad & 0xffff)
    if text.count('::') > 1 or ':::' in text:
        return None
    if '::' in text:
        left, right = text.split('::')
        a = left.split(':') if left else []
        b = right.split(':') if right else []
        if len(a) + len(b) > 7:
            return None
        groups = a + ['0'] * (8 - len(a) - len(b)) + b
    else:
        groups = text.split(':')
    if len(groups) != 8 or not all(re.fullmatch(r'[0-9a-fA-F]{1,4}', g) for g in groups):
        return None
    value = 0
    for g in groups:
        value = value << 16 | int(g, 16)
    return value


def parse_ip(text):
    """The canonical address, or None. An IPv4-mapped IPv6 address is the IPv4 address."""
    if not isinstance(text, str):
        return None
    if ':' in text:
        value = _v6(text)
        if value is None:
            return None
        if value >> 32 == 0xffff:
            return (V4, value & 0xffffffff)
        return (V6, value)
    value = _v4(text)
    return None if value is None else (V4, value)


def show_ip(addr):
    family, value = addr
    if family == V4:
        return '.'.join(str(value >> s & 255) for s in (24, 16, 8, 0))
    import ipaddress
    return str(ipaddress.IPv6Address(value))


def parse_cidr(text):
    """(family, network, length), host bits cleared; or None."""
    if not isinstance(text, str):
        return None
    ip, slash, length = text.strip().partition('/')
    addr = parse_ip(ip)
    if addr is None or not slash or not re.fullmatch(r'[0-9]+', length):
        return None
    bits, length = BITS[addr[0]], int(length)
    if length > bits:
        return None
    return (addr[0], addr[1] >> (bits - length) << (bits - length), length)


def inside(addr, cidr):
    if addr[0] != cidr[0]:
        return False
    shift = BITS[addr[0]] - cidr[2]
    return addr[1] >> shift == cidr[1] >> shift


NEVER = [parse_cidr(c) for c in ('0.0.0.0/32', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/24',
                                 '::/128', '::1/128', 'fe80::/10', 'ff02::/16')]


def usable(addr):
    """Not unspecified, loopback, link-local or link-local multicast."""
    return addr is not None and not any(inside(addr, c) for c in NEVER)


# --- JSON values that may be anything ---------------------------------------------------------

def obj(value):
    return value if isinstance(value, dict) else {}


def seq(value):
    return value if isinstance(value, list) else []


def text(value, default=''):
    return value if isinstance(value, str) else default


def port_number(value):
    """1..65535 or None."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        return None
    return value


def flag(value, default):
    return default if value is None else value is True


# --- configuration ----------------------------------------------------------------------------

class Config:
    """node: own node name. node_ports: 'primary' or a list of CIDRs. detect_local: 'vport' (what
    came from a pod's port), 'node' (the Node's podCIDRs) or a list of CIDRs. host_addresses: what
    the host's interfaces have, whatever the Node object says."""

    def __init__(self, **kw):
        self.node = kw.get('node', 'node-a')
        self.node_ports = kw.get('node_ports', 'primary')
        self.masquerade_all = kw.get('masquerade_all', False)
        self.cluster_ip_outside = kw.get('cluster_ip_outside', True)
        self.external_ips = kw.get('external_ips', True)
        self.proxy_name = kw.get('proxy_name', None)
        self.detect_local = kw.get('detect_local', 'vport')
        self.service_cidrs = kw.get('service_cidrs', [])
        self.node_addresses = kw.get('node_addresses', [])
        self.host_addresses = kw.get('host_addresses', [])


class Packet:
    def __init__(self, source, src, dst, proto, sport=0, dport=0):
        self.source = source  # 'pod', 'host' or 'outside'
        self.src, self.dst = parse_ip(src), parse_ip(dst)
        self.proto, self.sport, self.dport = proto, sport, dport


class Verdict:
    def __init__(self, kind, why='', to=(), port=None, frontend=None, endpoints=None):
        self.kind, self.why, self.to = kind, why, frozenset(to)
        self.port, self.frontend = port, frontend  # the ServicePort, and how it was reached

    def __repr__(self):
        if self.kind == 'dnat':
            to = ', '.join(sorted('%s port %d%s' % (show_ip(a), p, ' snat' if s else '')
                                  for a, p, s in self.to))
            return 'dnat to one of {%s} (%s)' % (to, self.why)
        return '%s (%s)' % (self.kind, self.why)


# --- endpoints --------------------------------------------------------------------------------

class Endpoint:
    def __init__(self, raw, addr, port, own_node):
        cond = obj(raw.get('conditions'))
        self.addr, self.port = addr, port
        self.ready = flag(cond.get('ready'), True)
        self.serving = flag(cond.get('serving'), True)
        self.terminating = flag(cond.get('terminating'), False)
        self.local = raw.get('nodeName') == own_node
        hints = obj(raw.get('hints'))
        self.zones = [text(obj(h).get('name')) for h in seq(hints.get('forZones'))]
        self.nodes = [text(obj(h).get('name')) for h in seq(hints.get('forNodes'))]

    def key(self):
        return (self.addr, self.port)

    def fallback(self):
        return self.serving and self.terminating

    def keeps_udp(self):
        """Its UDP flows live on."""
        return self.ready or self.serving


def slice_service(s):
    """(namespace, name) of the service that owns a slice, or None."""
    labels = obj(s['metadata'].get('labels'))
    name = labels.get(SERVICE_NAME)
    if not isinstance(name, str) or name == '' or HEADLESS in labels:
        return None
    return (s['metadata']['namespace'], name)


def slice_endpoints(s, port_name, proto, own_node):
    """The endpoints that one slice offers for a service port."""
    family = s.get('addressType')
    for p in seq(s.get('ports')):
        p = obj(p)
        if not isinstance(p.get('name'), str) or p['name'] != port_name:
            continue
        if (p.get('protocol') or 'TCP') != proto:
            continue
        number = port_number(p.get('port'))
        if number is None:
            continue
        for e in seq(s.get('endpoints')):
            addresses = seq(obj(e).get('addresses'))
            addr = parse_ip(addresses[0]) if addresses else None
            if usable(addr) and addr[0] == family:
                yield Endpoint(e, addr, number, own_node)


def merge(candidates):
    """One endpoint an address and port: a later one replaces an earlier one unless the later one
    is terminating."""
    merged = {}
    for e in candidates:
        if e.key() not in merged or not e.terminating:
            merged[e.key()] = e
    return list(merged.values())


# --- services ---------------------------------------------------------------------------------

class ServicePort:
    """One port of one service in one family: endpoints and the lists in force."""

    def __init__(self, service, family, raw, endpoints, zone, node):
        self.service, self.family = service, family
        self.name = text(raw.get('name'))
        self.proto = raw.get('protocol') or 'TCP'
        self.port = raw['port']
        self.node_port = port_number(raw.get('nodePort')) or 0
        self.endpoints = endpoints
        self.zone, self.node = zone, node
        self.cluster, self.mode = self._cluster_list()
        self.local = self._local_list()
        self.has_any = any(e.ready or e.fallback() for e in endpoints)

    def topology(self, ready):
        if not ready:
            return 'none'
        if all(e.nodes for e in ready) and any(self.node in e.nodes for e in ready):
            return 'node'
        if self.zone and all(e.zones for e in ready) and any(self.zone in e.zones for e in ready):
            return 'zone'
        return 'none'

    def _cluster_list(self):
        ready = [e for e in self.endpoints if e.ready]
        mode = self.topology(ready)
        if mode == 'node':
            ready = [e for e in ready if self.node in e.nodes]
        elif mode == 'zone':
            ready = [e for e in ready if self.zone in e.zones]
        if ready:
            return ready, mode
        return [e for e in self.endpoints if e.fallback()], 'terminating'

    def _local_list(self):
        local = [e for e in self.endpoints if e.local]
        return [e for e in local if e.ready] or [e for e in local if e.fallback()]

    def udp_backends(self):
        return {e.key() for e in self.endpoints if e.keeps_udp()}

    def key(self):
        return '%s:%s/%s/%s' % (self.service.key, self.name, self.proto, self.family)


class Service:
    def __init__(self, raw, config):
        meta, spec, status = obj(raw.get('metadata')), obj(raw.get('spec')), obj(raw.get('status'))
        self.raw = raw
        self.ns, self.name = meta['namespace'], meta['name']
        self.key = self.ns + '/' + self.name
        self.created = text(meta.get('creationTimestamp'))
        self.spec, self.status = spec, status
        self.itp_local = spec.get('internalTrafficPolicy') == 'Local'
        self.external_ips = config.external_ips
        # Without a way in from outside the policy means nothing.
        self.etp_local = spec.get('externalTrafficPolicy') == 'Local' and (
            spec.get('type') in ('NodePort', 'LoadBalancer') or
            bool(self.externals(V4) or self.externals(V6)))
        self.affinity = 0
        if spec.get('sessionAffinity') == 'ClientIP':
            client = obj(obj(spec.get('sessionAffinityConfig')).get('clientIP'))
            self.affinity = client.get('timeoutSeconds') or 10800
        self.ports = {V4: [], V6: []}

    def exists(self, config):
        labels = obj(obj(self.raw.get('metadata')).get('labels'))
        if labels.get(PROXY_NAME) != config.proxy_name:
            return False
        if self.spec.get('type') == 'ExternalName':
            return False
        return self.spec.get('clusterIP') not in (None, '', 'None')

    def cluster_ip(self, family):
        families = seq(self.spec.get('ipFamilies'))
        if not families:
            addr = parse_ip(self.spec.get('clusterIP'))
            return addr if usable(addr) and addr[0] == family else None
        for f, ip in zip(families, seq(self.spec.get('clusterIPs'))):
            if f == family:
                addr = parse_ip(ip)
                return addr if usable(addr) and addr[0] == family else None
        return None

    def externals(self, family):
        if not self.external_ips:
            return []
        addrs = [parse_ip(ip) for ip in seq(self.spec.get('externalIPs'))]
        return [a for a in addrs if usable(a) and a[0] == family]

    def vips(self, family):
        out = []
        for ingress in seq(obj(self.status.get('loadBalancer')).get('ingress')):
            ingress = obj(ingress)
            addr = parse_ip(ingress.get('ip'))
            if ingress.get('ipMode') in (None, 'VIP') and usable(addr) and addr[0] == family:
                out.append(addr)
        return out

    def raw_ports(self):
        """Ports that are sound; of two with the same name, or number and protocol, the first."""
        names, numbers = set(), set()
        for p in seq(self.spec.get('ports')):
            p = obj(p)
            proto = p.get('protocol') or 'TCP'
            if proto not in PROTOCOLS or port_number(p.get('port')) is None:
                continue
            if text(p.get('name')) in names or (proto, p['port']) in numbers:
                continue
            names.add(text(p.get('name')))
            numbers.add((proto, p['port']))
            yield p

    def source_allowed(self, src, family, node_addrs):
        ranges = [parse_cidr(r) for r in seq(self.spec.get('loadBalancerSourceRanges'))]
        ranges = [r for r in ranges if r is not None and r[0] == family]
        if not ranges or any(r[2] == 0 for r in ranges):
            return True
        if any(inside(src, r) for r in ranges):
            return True
        # The host that talks to a VIP bound on itself has the VIP as its source.
        primary = [a for a in node_addrs if a[0] == family][:1]
        if any(inside(n, r) for n in primary for r in ranges):
            return src in self.vips(family)
        return False


class State:
    """What the objects say. before is the state until now: of our own node the last word stays,
    also while there is no Node object, as when a kubelet makes it anew."""

    def __init__(self, config, objects, before=None):
        self.config = config
        by_kind = {}
        for o in objects:
            by_kind.setdefault(o['kind'], []).append(o)
        self.node = next((obj(n) for n in by_kind.get('Node', [])
                          if n['metadata']['name'] == config.node),
                         before.node if before else {})
        self.zone = text(obj(obj(self.node.get('metadata')).get('labels')).get(ZONE))
        self.node_addrs = self._node_addresses() or (before.node_addrs if before else [])
        self.cidrs = [parse_cidr(c) for c in config.service_cidrs]
        for s in by_kind.get('ServiceCIDR', []):
            self.cidrs += [parse_cidr(c) for c in seq(obj(s.get('spec')).get('cidrs'))]
        self.cidrs = [c for c in self.cidrs if c is not None]
        slices = {}
        for s in sorted(by_kind.get('EndpointSlice', []), key=lambda s: s['metadata']['name']):
            owner = slice_service(s)
            if owner is not None:
                slices.setdefault(owner, []).append(s)
        self.services = []
        for raw in by_kind.get('Service', []):
            service = Service(raw, config)
            if service.exists(config):
                self._add(service, slices.get((service.ns, service.name), []))
        # Of several claims on one address and port: the oldest service, then the name.
        self.services.sort(key=lambda s: (s.created, s.key))

    def _add(self, service, slices):
        for family in (V4, V6):
            if service.cluster_ip(family) is None:
                continue
            for raw in service.raw_ports():
                name, proto = text(raw.get('name')), raw.get('protocol') or 'TCP'
                endpoints = merge(e for s in slices if s.get('addressType') == family
                                  for e in slice_endpoints(s, name, proto, self.config.node))
                service.ports[family].append(ServicePort(service, family, raw, endpoints,
                                                         self.zone, self.config.node))
        self.services.append(service)

    def _node_addresses(self):
        if self.config.node_addresses:
            return [parse_ip(a) for a in self.config.node_addresses]
        listed = [obj(a) for a in seq(obj(self.node.get('status')).get('addresses'))]
        out = []
        for kind in ('InternalIP', 'ExternalIP'):
            for a in listed:
                addr = parse_ip(a.get('address'))
                if a.get('type') == kind and usable(addr) and addr not in out:
                    out.append(addr)
        return out

    def node_port_addresses(self, family):
        mine = [a for a in self.node_addrs if a[0] == family]
        if self.config.node_ports == 'primary':
            return mine[:1]
        mine += [a for a in map(parse_ip, self.config.host_addresses)
                 if a[0] == family and a not in mine]
        cidrs = [parse_cidr(c) for c in self.config.node_ports]
        cidrs = [c for c in cidrs if c is not None and c[0] == family]
        if not cidrs:
            return mine
        return [a for a in mine if any(inside(a, c) for c in cidrs)]

    def all_ports(self, family):
        return [p for s in self.services for p in s.ports[family]]

    # --- which frontend a packet hits ---

    def frontend(self, packet):
        """(kind, ServicePort) or None."""
        family = packet.dst[0]
        ports = [p for p in self.all_ports(family) if p.proto == packet.proto]
        by_number = [p for p in ports if p.port == packet.dport]
        for p in by_number:
            if p.service.cluster_ip(family) == packet.dst:
                return ('ClusterIP', p)
        for p in by_number:
            # The load balancer's rules (source ranges) hold for an address that is both.
            if packet.dst in p.service.vips(family):
                return ('LoadBalancerVIP', p)
            if packet.dst in p.service.externals(family):
                return ('ExternalIP', p)
        if packet.dst in self.node_port_addresses(family):
            for p in ports:
                if p.node_port == packet.dport and p.node_port != 0:
                    return ('NodePort', p)
        return None

    def cluster_ip_in_use(self, addr):
        return any(s.cluster_ip(addr[0]) == addr and s.ports[addr[0]] for s in self.services)

    # --- the source ---

    def is_local(self, packet):
        """The client is a pod, so that its address needs no translation towards a pod."""
        detect = self.config.detect_local
        if detect == 'vport':
            return packet.source == 'pod'
        if detect == 'node':
            detect = seq(obj(self.node.get('spec')).get('podCIDRs'))
        cidrs = [c for c in map(parse_cidr, detect) if c is not None and c[0] == packet.src[0]]
        # Not configured: nobody is translated.
        return not cidrs or any(inside(packet.src, c) for c in cidrs)

    def source_class(self, packet):
        if packet.source == 'pod':
            return 'P'
        return 'H' if packet.source == 'host' or packet.src in self.node_addrs else 'X'

    # --- the verdict ---

    def decide(self, packet):
        if packet.src is None or packet.dst is None or packet.src[0] != packet.dst[0]:
            return Verdict('any', 'not a packet')
        if packet.proto == 'ICMP':
            return self._not_a_port(packet)
        hit = self.frontend(packet)
        if hit is None:
            return self._not_a_port(packet)
        kind, port = hit
        if kind == 'ClusterIP':
            return self._cluster_ip(packet, port)
        return self._external(packet, kind, port)

    def _not_a_port(self, packet):
        if self.cluster_ip_in_use(packet.dst):
            if packet.proto == 'ICMP':
                return Verdict('echo', 'echo to a ClusterIP')
            if self.source_class(packet) == 'X' and not self.config.cluster_ip_outside:
                return Verdict('drop', 'outside')
            return Verdict('reject', 'no such port on the ClusterIP')
        if any(inside(packet.dst, c) for c in self.cidrs):
            return Verdict('drop', 'unallocated')
        return Verdict('pass', 'no frontend')

    def _cluster_ip(self, packet, port):
        source = self.source_class(packet)
        if source == 'X' and not self.config.cluster_ip_outside:
            return Verdict('drop', 'outside')
        snat = self.config.masquerade_all or not self.is_local(packet)
        if port.service.itp_local:
            return self._choose(packet, 'ClusterIP', port, port.local, snat, 'internal')
        return self._choose(packet, 'ClusterIP', port, port.cluster, snat, None)

    def _external(self, packet, kind, port):
        service, source = port.service, self.source_class(packet)
        if kind == 'LoadBalancerVIP' and packet.src in service.vips(port.family):
            # A VIP of the service that another service won: the rules do not say whose it is.
            own = self.frontend(Packet(packet.source, show_ip(packet.src), show_ip(packet.src),
                                       packet.proto, packet.sport, packet.dport))
            if own is None or own[1].service is not service:
                return Verdict('any', 'source is a VIP that another service has')
        if kind == 'LoadBalancerVIP' and \
                not service.source_allowed(packet.src, port.family, self.node_addrs):
            return Verdict('drop', 'source-range')
        if not service.etp_local:
            return self._choose(packet, kind, port, port.cluster, True, None)
        if source == 'P':
            return self._choose(packet, kind, port, port.cluster, False, None)
        if source == 'H':
            return self._choose(packet, kind, port, port.cluster, True, None)
        return self._choose(packet, kind, port, port.local, False, 'external')

    def _choose(self, packet, kind, port, endpoints, snat, local_policy):
        if not port.has_any:
            return Verdict('reject', 'no endpoint anywhere', port=port, frontend=kind)
        if not endpoints:
            return Verdict('drop', 'no-local', port=port, frontend=kind)
        to = [(e.addr, e.port, snat or e.addr == packet.src) for e in endpoints]
        return Verdict('dnat', '%s of %s, %s list' % (
            kind, port.key(), 'local' if local_policy else 'cluster'), to, port, kind)

    # --- what live flows do after a change ---

    def flow_after(self, packet, old, backend):
        """A packet of a live flow, which old (its ServicePort in an earlier state) sent to backend
        (address, port). 'keep': it goes on to the same backend. 'new': judged as a first packet.
        'either': the rules leave it open."""
        if packet.proto != 'UDP':
            return 'keep'
        hit = self.frontend(packet)
        if hit is None:
            # A port may be known by its name or by its number.
            same = [p for p in self.all_ports(old.family) if p.proto == old.proto and
                    p.service.key == old.service.key and
                    (p.name == old.name or p.port == old.port)]
            if any(backend in p.udp_backends() for p in same):
                return 'either'  # an address was taken away from a service that goes on
            return 'new'
        if hit[1].service.key == old.service.key and hit[1].port != old.port:
            return 'either'
        return 'keep' if backend in hit[1].udp_backends() else 'new'


# --- session affinity: a property of a sequence -----------------------------------------------

class Affinity:
    """Client address to endpoint, by service port, as new connections come."""

    def __init__(self):
        self.records = {}

    def expected(self, port, client, allowed, now):
        """The endpoint (address, port) that a new connection has to go to, or None: any of
        allowed."""
        record = self.records.get((port.key(), port.port, client))
        if not port.service.affinity or record is None:
            return None
        backend, at = record
        if now - at > port.service.affinity or backend not in allowed:
            return None
        return backend

    def chosen(self, port, client, backend, now):
        if port.service.affinity:
            self.records[(port.key(), port.port, client)] = (backend, now)
