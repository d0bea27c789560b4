# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The Sluice authors
"""Frames of the job that every subject on the virtual devices does, as pcap files, and the check of
what came out. One service, VIP:80 to BACKEND:8080; clients on one port, the backend on the other."""

import ipaddress
import os
import random
import struct

VIP, BACKEND, CLIENTS = "10.96.0.10", "10.2.0.1", "10.1.0.0/16"
VIP_PORT, BACKEND_PORT = 80, 8080
GATEWAY_MAC = bytes.fromhex("eeeeeeeeeeee")
CLIENT_MAC, BACKEND_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
UDP, TCP = 17, 6
CLIENTS_MAX = 8 # a vport names each of its addresses
ports_a_client = 64


def use_clients_for(n_flows):
    """So many ports a client that there are not too many clients."""
    global ports_a_client
    ports_a_client = max(64, -(-n_flows // CLIENTS_MAX))
    if ports_a_client > 45000:
        raise SystemExit(f"frames: at most {45000 * CLIENTS_MAX} flows")


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(text):
    return ipaddress.IPv4Address(text).packed


def frame(src_mac, src, sport, dst, dport, proto=UDP, size=60, ttl=64, dst_mac=GATEWAY_MAC):
    """An Ethernet frame of that many bytes with right checksums."""
    rest = size - 34
    if proto == UDP:
        l4 = struct.pack("!HHHH", sport, dport, rest, 0) + bytes(rest - 8)
        at = 6
    else:
        l4 = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, 0x10, 8192, 0, 0)
        l4 += bytes(rest - 20)
        at = 16
    pseudo = src + dst + struct.pack("!BBH", 0, proto, len(l4))
    l4 = l4[:at] + struct.pack("!H", checksum(pseudo + l4) or 0xffff) + l4[at + 2:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(l4), 0, 0x4000, ttl, proto, 0, src, dst)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return dst_mac + src_mac + b"\x08\x00" + head + l4


def client(flow):
    """Address and port of a flow's client."""
    base = int(ipaddress.ip_network(CLIENTS)[1])
    return ipaddress.IPv4Address(base + flow // ports_a_client).packed, 20000 + flow % ports_a_client


def client_addresses(n_flows):
    return list(dict.fromkeys(str(ipaddress.IPv4Address(client(n)[0])) for n in range(n_flows)))


def requests(flows, **kw):
    return [frame(CLIENT_MAC, *client(n), ip(VIP), VIP_PORT, **kw) for n in flows]


def replies(flows, **kw):
    return [frame(BACKEND_MAC, ip(BACKEND), BACKEND_PORT, *client(n), **kw) for n in flows]


def write(path, frames):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            f.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    at, out = 24, []
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        if at + 16 + size > len(data):
            break
        out.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return out


def count(path):
    """Frames of a file whose frames are all as long as its first."""
    with open(path, "rb") as f:
        f.seek(32)
        size = struct.unpack("<I", f.read(4))[0]
    return (os.path.getsize(path) - 24) // (16 + size)


def write_both(folder, n_flows, proto=UDP, size=60, seed=1):
    """Requests and replies of all flows, each in an order of its own."""
    order = list(range(n_flows))
    paths = []
    for name, make in (("requests", requests), ("replies", replies)):
        random.Random(seed).shuffle(order)
        paths.append(f"{folder}/{name}.pcap")
        write(paths[-1], make(order, proto=proto, size=size))
        seed += 1
    return paths


def wrong(data, to_backend, proto=UDP):
    """What is wrong with a frame that should have been translated; None when it is right."""
    if len(data) < 42 or data[12:14] != b"\x08\x00":
        return "not IPv4"
    head, l4 = data[14:34], data[34:14 + struct.unpack_from("!H", data, 16)[0]]
    src, dst = head[12:16], head[16:20]
    sport, dport = struct.unpack_from("!HH", l4)
    if checksum(head) != 0:
        return "header checksum"
    if checksum(src + dst + struct.pack("!BBH", 0, proto, len(l4)) + l4) != 0:
        return "transport checksum"
    if head[8] != 63:
        return f"TTL {head[8]}"
    far = (dst, dport) if to_backend else (src, sport)
    want = (ip(BACKEND), BACKEND_PORT) if to_backend else (ip(VIP), VIP_PORT)
    near = src if to_backend else dst
    if far != want:
        return f"not translated: {far}"
    return None if ipaddress.IPv4Address(near) in ipaddress.ip_network(CLIENTS) else "client"
