#!/usr/bin/env python3
"""Writes a small pcap of made-up traffic, the same on every run: input for exporters.

    scripts/make-traffic.py OUT.pcap [--vlan ID] [--mpls LABELS] [--seconds S]

Hosts are from the documentation ranges (RFC 5737, RFC 3849). There are TCP connections with their flags, UDP queries,
ICMP echoes and an ICMP error, over IPv4 and IPv6, with several TOS values. What an exporter must report is printed:
flows (both directions apart), packets, and bytes at the IP layer.
"""
import argparse
import struct
from collections import Counter

START = 1_700_000_000
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(text):
    return bytes(int(part) for part in text.split("."))


def ip6(last):
    return bytes.fromhex("20010db8") + bytes(11) + bytes([last])


def packet(source, destination, protocol, payload, tos=0):
    """An IP packet; the length of the addresses tells the version. Transport checksums are left zero or wrong."""
    if len(source) == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), 1, 0x4000, 64, protocol, 0, source, destination)
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload
    return struct.pack("!IHBB16s16s", 6 << 28 | tos << 20, len(payload), protocol, 64, source, destination) + payload


def tcp(source_port, destination_port, flags, data=b""):
    return struct.pack("!HHIIBBHHH", source_port, destination_port, 1000, 2000, 5 << 4, flags, 65535, 0, 0) + data


def udp(source_port, destination_port, data):
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(data), 0) + data


def icmp(kind, code, data=b"\0" * 56):
    body = struct.pack("!BBHHH", kind, code, 0, 77, 1) + data
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def traffic():
    """(time in ms, packet) of all flows, not in order."""
    for number in range(12):  # TCP connections, IPv4
        client, server = ip4("192.0.2.%d" % (10 + number % 5)), ip4("198.51.100.%d" % (20 + number % 3))
        port, service, tos = 40000 + number, (80, 443, 22)[number % 3], (0, 0, 0x28, 0xB8)[number % 4]
        at = number * 130
        steps = [(0, SYN, b""), (1, SYN | ACK, b""), (0, ACK, b"")]
        steps += [(0, PSH | ACK, b"q" * (100 + 37 * number)), (1, ACK, b""), (1, PSH | ACK, b"a" * (300 + 211 * number % 1100))] * (1 + number % 4)
        steps += [(0, FIN | ACK, b""), (1, FIN | ACK, b""), (0, ACK, b"")] if number % 5 else [(1, RST, b"")]
        for step, (back, flags, data) in enumerate(steps):
            ends = (server, client, service, port) if back else (client, server, port, service)
            yield at + 7 * step, packet(ends[0], ends[1], TCP, tcp(ends[2], ends[3], flags, data), tos)
    for number in range(8):  # UDP queries, IPv4
        client, server = ip4("192.0.2.%d" % (30 + number)), ip4("203.0.113.53")
        yield 50 + 90 * number, packet(client, server, UDP, udp(50000 + number, 53, b"d" * (30 + number)))
        yield 55 + 90 * number, packet(server, client, UDP, udp(53, 50000 + number, b"r" * (90 + 5 * number)))
    for number in range(5):  # echoes and an error
        yield 20 + 200 * number, packet(ip4("192.0.2.50"), ip4("198.51.100.1"), ICMP, icmp(8, 0))
        yield 23 + 200 * number, packet(ip4("198.51.100.1"), ip4("192.0.2.50"), ICMP, icmp(0, 0))
    yield 300, packet(ip4("198.51.100.254"), ip4("192.0.2.51"), ICMP, icmp(3, 3))
    for number in range(4):  # IPv6
        client, server = ip6(16 + number), ip6(250)
        for step, (back, flags, data) in enumerate([(0, SYN, b""), (1, SYN | ACK, b""), (0, PSH | ACK, b"6" * 200), (1, PSH | ACK, b"6" * 900), (0, RST, b"")]):
            ends = (server, client, 443, 41000 + number) if back else (client, server, 41000 + number, 443)
            yield 400 + 150 * number + 9 * step, packet(ends[0], ends[1], TCP, tcp(ends[2], ends[3], flags, data))
        yield 700 + number, packet(client, server, ICMP6, icmp(128, 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--vlan", type=int)
    parser.add_argument("--mpls", type=int, default=0, metavar="LABELS")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long the traffic lasts")
    options = parser.parse_args()
    packets = sorted(traffic(), key=lambda item: item[0])
    longest = packets[-1][0]
    flows, octets = Counter(), Counter()
    with open(options.out, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at, data in packets:
            version = data[0] >> 4
            kind = b"\x08\x00" if version == 4 else b"\x86\xdd"
            link = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01"
            if options.vlan is not None:
                link += struct.pack("!HH", 0x8100, options.vlan)
            if options.mpls:
                kind = b"\x88\x47" + b"".join(
                    struct.pack("!I", (16000 + label) << 12 | (label == options.mpls - 1) << 8 | 64)
                    for label in range(options.mpls))
            frame = link + kind + data
            microseconds = int(at / longest * options.seconds * 1_000_000)
            out.write(struct.pack("<IIII", START + microseconds // 1_000_000, microseconds % 1_000_000, len(frame), len(frame)))
            out.write(frame)
            start = 20 if version == 4 else 40
            protocol = data[9] if version == 4 else data[6]
            addresses = data[12:20] if version == 4 else data[8:40]
            ports = data[start:start + 4] if protocol in (TCP, UDP) else b""
            flows[(addresses, protocol, ports)] += 1
            octets[version] += len(data)
    for version, length in ((4, 8), (6, 32)):
        keys = [key for key in flows if len(key[0]) == length]
        print("IPv%d: %d flows, %d packets, %d bytes" % (version, len(keys), sum(flows[key] for key in keys), octets[version]))


if __name__ == "__main__":
    main()
