#!/usr/bin/env python3
"""Has an exporter tell of a recording, and writes the flows as CSV in the columns of the flow schema.

    statements/measure/export.py IN.pcap OUT.csv [--exporter FORM] [--speed X] [--bare]

Active timeout 60 s, idle timeout 15 s. A flow's `time` is that of its export datagram's header: when a collector would have had it.

softflowd (NetFlow v9) reads the file at once; from a file it gives flows out only when its table is full, so that its times are minutes late.
fprobe (v5) knows only the machine's clock: it runs under `faketime`, whose clock goes X times as fast, and gets the packets at their times,
which needs an idle machine. The other forms follow the two exporters' rules in this script: softflowd-rule and softflowd-burst (looks for what
is due every second, every minute), fprobe-rule (every five seconds, each direction apart), joined (one record for both directions, cut
after an hour, as Argus writes them). `--bare` leaves the columns out that come from the subnet list.
Needed for the real ones: softflowd, fprobe, faketime (Debian has them all).
"""
import argparse
import csv
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

SUBNETS = {0: "servers", 1: "mail", 2: "monitoring", 3: "management", 4: "backup", 5: "guests"}
COLUMNS = ("time", "flow_start", "flow_end", "src_addr", "dst_addr", "src_port", "dst_port", "proto", "tcp_flags", "bytes", "packets")
# NetFlow v9 field types, RFC 3954 §8.
IN_BYTES, IN_PKTS, PROTOCOL, FLAGS, L4_SRC, V4_SRC, L4_DST, V4_DST, LAST, FIRST, ICMP = 1, 2, 4, 6, 7, 8, 11, 12, 21, 22, 32


class Collector(threading.Thread):
    """Keeps what comes to a socket until nothing more does."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.5)
        self.port = self.socket.getsockname()[1]
        self.datagrams = []
        self.is_over = False

    def run(self):
        while True:
            try:
                self.datagrams.append(self.socket.recv(9000))
            except TimeoutError:
                if self.is_over:
                    return

    def finish(self):
        self.is_over = True
        self.join()
        return self.datagrams


def flow(export_ms, boot_ms, values):
    proto = values.get(PROTOCOL, 0)
    sport, dport = values.get(L4_SRC, 0), values.get(L4_DST, 0)
    if proto == 1 and ICMP in values:
        sport, dport = 0, values[ICMP]
    quad = lambda of: ".".join(map(str, of.to_bytes(4, "big")))
    return (export_ms, boot_ms + values[FIRST], boot_ms + values[LAST], quad(values[V4_SRC]), quad(values[V4_DST]), sport, dport, proto,
            values.get(FLAGS, 0), values[IN_BYTES], values[IN_PKTS])


def decode_v9(datagrams):
    templates, lost, expected = {}, 0, None
    for data in datagrams:
        _, _, uptime, seconds, sequence, domain = struct.unpack_from("!HHIIII", data)
        if expected is not None:
            lost += max(0, sequence - expected)
        expected = sequence + 1
        at = 20
        while at + 4 <= len(data):
            kind, length = struct.unpack_from("!HH", data, at)
            end, at = at + max(length, 4), at + 4
            if kind == 0:
                while at + 4 <= end:
                    template, count = struct.unpack_from("!HH", data, at)
                    templates[template] = [struct.unpack_from("!HH", data, at + 4 + 4 * field) for field in range(count)]
                    at += 4 + 4 * count
            elif kind in templates:
                fields = templates[kind]
                size = sum(length for _, length in fields)
                while at + size <= end:
                    values = {}
                    for field, width in fields:
                        values[field] = int.from_bytes(data[at:at + width], "big")
                        at += width
                    if V4_SRC in values:
                        yield flow(seconds * 1000, seconds * 1000 - uptime, values)
            at = end
    if lost:
        raise SystemExit(f"{lost} datagrams were lost")


def decode_v5(datagrams):
    expected = None
    for data in datagrams:
        _, count, uptime, seconds, nanoseconds, sequence = struct.unpack_from("!HHIIII", data)
        if expected not in (None, sequence):
            raise SystemExit(f"flows were lost: {expected} was expected, {sequence} came")
        expected = sequence + count
        export_ms = seconds * 1000 + nanoseconds // 1_000_000
        for record in range(count):
            src, dst, _, _, _, packets, octets, first, last, sport, dport, _, flags, proto = struct.unpack_from("!IIIHHIIIIHHBBB", data, 24 + 48 * record)
            yield flow(export_ms, export_ms - uptime, {V4_SRC: src, V4_DST: dst, IN_PKTS: packets, IN_BYTES: octets, FIRST: first, LAST: last,
                                                      L4_SRC: sport, L4_DST: dport, FLAGS: flags, PROTOCOL: proto})


def softflowd(pcap, collector, _):
    timeouts = ["maxlife=60", "expint=1"] + [f"{name}=15" for name in ("general", "tcp", "tcp.rst", "tcp.fin", "udp", "icmp")]
    with tempfile.TemporaryDirectory() as folder:
        arguments = [option for timeout in timeouts for option in ("-t", timeout)]
        subprocess.run(["softflowd", "-a", "-r", pcap, "-d", "-v", "9", "-m", "8192", "-n", f"127.0.0.1:{collector.port}", "-p", folder + "/pid", "-c", "none"]
                       + arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return decode_v9(collector.finish())


def fprobe(pcap, collector, speed):
    """The machine's clock as fprobe sees it is the recording's."""
    with open(pcap, "rb") as packets:
        header = packets.read(24)
        begin = struct.unpack("<II", packets.read(8))
        packets.seek(24)
        begin = begin[0] + begin[1] / 1e6
        clock = time.strftime("@%Y-%m-%d %H:%M:%S", time.localtime(int(begin))) + f" x{speed}"
        probe = subprocess.Popen(["fprobe", "-i", "-", "-l", "2", "-q", "100000", "-d", "15", "-e", "60", "-s", "5", f"127.0.0.1:{collector.port}"],
                                 env=os.environ | {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "FAKETIME": clock, "FAKETIME_NO_CACHE": "0"},
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started = time.monotonic()
        probe.stdin.write(header)
        while head := packets.read(16):
            seconds, micros, length, _ = struct.unpack("<IIII", head)
            early = (seconds + micros / 1e6 - begin) / speed - (time.monotonic() - started)
            if early > 0.002:
                probe.stdin.flush()
                time.sleep(early)
            probe.stdin.write(head + packets.read(length))
        probe.stdin.flush()
        time.sleep(90 / speed + 1)
        probe.send_signal(signal.SIGTERM)
        time.sleep(20 / speed + 1)
        probe.kill()
    return decode_v5(collector.finish())


def packets(pcap):
    """(time in ms, source, destination, protocol, ports, flags, bytes of IP) of each packet."""
    with open(pcap, "rb") as source:
        source.read(24)
        while head := source.read(16):
            seconds, micros, length, wire = struct.unpack("<IIII", head)
            data = source.read(length)
            proto = data[23]
            if proto == 1:
                sport, dport, flags = data[34], data[35], 0
            else:
                sport, dport = struct.unpack_from("!HH", data, 34)
                flags = data[47] if proto == 6 else 0
            yield seconds * 1000 + micros // 1000, data[26:30], data[30:34], proto, sport, dport, flags, wire - 14


def by_rule(pcap, both_ways, scan_ms, idle_ms=15_000, active_ms=60_000, joined=False):
    """What an exporter tells by its rules alone. Every `scan_ms` it gives out what has been silent for long or lasts long.

    softflowd keeps one entry for both directions, with one first and one last time; fprobe one for each, and it gives an ICMP message's type
    for the source port and its code for the destination's, where others have type × 256 + code in the latter. `joined` is for records as
    Argus makes them: both directions in one, from the host that spoke first, with the time at which it did.
    """
    table, due, out = {}, None, []

    def give_out(now_ms, entries):
        for key, entry in entries:
            if joined and len(entry[2]) == 2:
                (forth, told), (_, back) = entry[2].items()
                entry[2] = {forth: (told[0] | back[0], told[1] + back[1], told[2] + back[2])}
            for (src, dst, sport, dport), (flags, octets, count) in entry[2].items():
                quad = ".".join
                told_ms = entry[0] if joined else now_ms // 1000 * 1000 if both_ways else now_ms
                out.append((told_ms, entry[0], entry[1], quad(map(str, src)), quad(map(str, dst)), sport, dport,
                            key[0], flags, octets, count))

    for now, src, dst, proto, sport, dport, flags, size in packets(pcap):
        while due is not None and now >= due:
            gone = [(key, entry) for key, entry in table.items() if due - entry[1] > idle_ms or due - entry[0] > active_ms]
            gone.sort(key=lambda of: of[1][1])
            give_out(due, gone)
            for key, _ in gone:
                del table[key]
            due += scan_ms
        due = due or now + scan_ms
        if proto == 1 and both_ways:
            sport, dport = 0, sport << 8 | dport
        forth = (src, dst, sport, dport)
        back = proto != 1 and both_ways and (dst, src, dport, sport)
        key = (proto, min(forth, back) if back else forth)
        entry = table.get(key)
        if entry is None:
            entry = table[key] = [now, now, {}]
        entry[1] = now
        told = entry[2].get(forth)
        entry[2][forth] = (flags, size, 1) if told is None else (told[0] | flags, told[1] + size, told[2] + 1)
    for _ in range(2):
        due += 60_000
        give_out(due, sorted(table.items(), key=lambda of: of[1][1]))
        table.clear()
    return out


RULES = {"softflowd-rule": (True, 1_000), "softflowd-burst": (True, 60_000), "fprobe-rule": (False, 5_000),
         "joined": (True, 1_000, 60_000, 3_600_000, True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pcap")
    parser.add_argument("csv")
    parser.add_argument("--exporter", choices=("softflowd", "fprobe", *RULES), default="softflowd-rule")
    parser.add_argument("--speed", type=float, default=60)
    parser.add_argument("--bare", action="store_true")
    arguments = parser.parse_args()
    if arguments.exporter in RULES:
        flows = by_rule(arguments.pcap, *RULES[arguments.exporter])
    else:
        collector = Collector()
        collector.start()
        flows = list({"softflowd": softflowd, "fprobe": fprobe}[arguments.exporter](arguments.pcap, collector, arguments.speed))
    if arguments.exporter in RULES:
        flows.sort(key=lambda of: of[0])
    clock = 0
    with open(arguments.csv, "w", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS if arguments.bare else COLUMNS + ("src_internal", "src_subnet", "dst_internal", "dst_subnet"))
        for row in flows:
            clock = max(clock, row[0])
            row = (clock, *row[1:])
            if not arguments.bare:
                for host in row[3:5]:
                    inside = host.startswith("10.1.")
                    row += ("true" if inside else "false", SUBNETS.get(int(host.split(".")[2]), "offices") if inside else "")
            rows.writerow(row)
    print(f"{len(flows)} flows")


if __name__ == "__main__":
    main()
