#!/usr/bin/env python3
"""Writes a labelled recording, packet by packet: hours of a campus' ordinary traffic, and attacks of many kinds.

    statements/measure/traffic.py OUT.pcap LABELS.json [--seed N] [--hours H] [--hosts N] [--only-background]

The recording is the same for the same arguments. Of each packet the pcap holds the headers; its original length is told. The labels name,
for each rule of the catalogue, the hosts that it should report (`found_by`), and all hosts that take part in an attack
(`guilty`): to accuse one of these by another rule is no false alarm.

What is ordinary here is what makes detectors fail elsewhere: clients that poll by the clock, a mail server that delivers to hundreds,
resolvers and their answers, backups, calls, downloads over UDP, monitoring, jump hosts, scripts that open a connection for each command,
file sharers whose peers are gone, servers that answer scans, a network that is cut off for a minute; and, in no subnet that says so, monitoring that
opens ports and closes them, a relay that only sends, a reader of news, a gateway that polls mail for many, a file server with its backups.
"""
import argparse
import json
import random
import struct
from collections import defaultdict

START_US = 1_700_000_000_000_000
TCP, UDP, ICMP = 6, 17, 1
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MINUTE = 60.0


def address(text):
    a, b, c, d = text.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


class Recording:
    """Packets as (time in µs, source, destination, protocol, two ports, flags, bytes of IP)."""

    def __init__(self, seed, hours, hosts):
        self.random = random.Random(seed)
        self.end = hours * 3600.0
        self.hosts = hosts
        self.packets = []
        self.found_by = defaultdict(set)
        self.guilty = set()
        self.cut_off = []
        self.last_port = defaultdict(lambda: self.random.randint(32768, 60999))

    # Packets and conversations.

    def add(self, at, src, dst, proto, sport, dport, flags, size):
        if 0 <= at < self.end:
            self.packets.append((int(at * 1e6), src, dst, proto, sport, dport, flags, size))

    def port(self, host):
        """Ephemeral ports as hosts choose them: mostly one after the other."""
        port = self.last_port[host] + self.random.choice((1, 1, 1, 2, 7))
        self.last_port[host] = port = port if port <= 60999 else 32768
        return port

    def tcp(self, src, dst, dport, at, turns, close="fin", rtt=0.02, sport=None, mss=1448):
        """A connection that is accepted. A turn is (bytes sent, bytes received, pause after it)."""
        sport = sport or self.port(src)
        up = lambda t, flags, size=0: self.add(t, src, dst, TCP, sport, dport, flags, 52 + size)
        down = lambda t, flags, size=0: self.add(t, dst, src, TCP, dport, sport, flags, 52 + size)
        up(at, SYN, 8)
        down(at + rtt / 2, SYN | ACK, 8)
        up(at + rtt, ACK)
        at += rtt
        for sent, received, pause in turns:
            for one, other, size in ((up, down, sent), (down, up, received)):
                number = 0
                while size > 0:
                    one(at, PSH | ACK if size <= mss else ACK, min(size, mss))
                    size -= mss
                    number += 1
                    at += 0.0006
                    if number % 2 == 0:
                        other(at + rtt / 4, ACK)
                if number % 2:
                    other(at + rtt / 2, ACK)
                at += rtt / 2
            at += pause
        if close == "fin":
            up(at, FIN | ACK)
            down(at + rtt / 2, FIN | ACK)
            up(at + rtt, ACK)
        elif close == "server":
            down(at, FIN | ACK)
            up(at + rtt / 2, FIN | ACK)
            down(at + rtt, ACK)
        elif close == "rst":
            up(at, RST | ACK)
        return at + rtt

    def attempt(self, src, dst, dport, at, answer="none", tries=(0, 1, 3), sport=None, rtt=0.01):
        """A connection that does not come to be: no answer, a refusal, or (half-open scans) an answer that is reset."""
        sport = sport or self.port(src)
        if answer == "none":
            for wait in tries:
                self.add(at + wait, src, dst, TCP, sport, dport, SYN, 60)
        elif answer == "refused":
            self.add(at, src, dst, TCP, sport, dport, SYN, 60)
            self.add(at + rtt, dst, src, TCP, dport, sport, RST | ACK, 40)
        elif answer == "reset":
            self.add(at, src, dst, TCP, sport, dport, SYN, 44)
            self.add(at + rtt, dst, src, TCP, dport, sport, SYN | ACK, 44)
            self.add(at + 2 * rtt, src, dst, TCP, sport, dport, RST, 40)

    def ask(self, src, dst, dport, at, question, answer, sport=None, rtt=0.01):
        sport = sport or self.random.randint(1025, 65535)
        self.add(at, src, dst, UDP, sport, dport, 0, 28 + question)
        if answer:
            self.add(at + rtt, dst, src, UDP, dport, sport, 0, 28 + answer)

    def stream(self, src, dst, proto, ports, at, seconds, rate, size):
        step, number = 1.0 / rate, int(seconds * rate)
        for index in range(number):
            self.add(at + index * step, src, dst, proto, ports[0], ports[1], 0, size)

    def ping(self, src, dst, at, count=1, answered=True, size=84, gap=1.0):
        for index in range(count):
            self.add(at + index * gap, src, dst, ICMP, 8, 0, 0, size)
            if answered:
                self.add(at + index * gap + 0.003, dst, src, ICMP, 0, 0, 0, size)

    def stranger(self):
        r = self.random
        return f"{r.choice((31, 45, 62, 78, 89, 94, 109, 151, 178, 185, 188, 193, 212))}.{r.randint(1, 250)}.{r.randint(1, 250)}.{r.randint(1, 250)}"

    def server(self):
        """One of some hundred web servers, the first visited most."""
        rank = int(400 * self.random.random() ** 2.5)
        return f"{23 + rank % 120}.{7 + rank * 13 % 200}.{rank * 7 % 250}.{10 + rank % 200}"

    def times(self, mean, start=0.0, end=None):
        at = start + self.random.expovariate(1 / mean)
        while at < (end or self.end):
            yield at
            at += self.random.expovariate(1 / mean)

    def clock(self, period, jitter=0.0, start=None, end=None):
        """By the clock; each wait differs from the period by at most the jitter's part of it."""
        at = self.random.uniform(0, period) if start is None else start
        while at < (end or self.end):
            yield at
            at += period * (1 + self.random.uniform(-jitter, jitter))

    # What is ordinary.

    def background(self):
        r = self.random
        offices = [f"10.1.{10 + host // 20}.{20 + host % 20}" for host in range(self.hosts)]
        resolver = "10.1.0.2"
        popular = [f"20.42.{index}.{index + 9}" for index in range(4)]
        for host in offices:
            busy = r.uniform(40, 240)
            for at in self.times(busy):
                for _ in range(r.randint(1, 4)):
                    self.ask(host, resolver, 53, at, r.randint(30, 52), r.randint(60, 380))
                    if r.random() < 0.4:
                        self.ask(resolver, self.stranger(), 53, at + 0.002, r.randint(40, 62), r.choice((120, 300, 900, 1300)), rtt=0.04)
                    turns = [(r.randint(300, 900), int(r.paretovariate(1.2) * 2500) % 400_000, r.random() * 0.4) for _ in range(r.randint(1, 4))]
                    # Kept open for the next page; pauses are longer than an idle timeout now and then.
                    turns += [(r.randint(300, 700), r.randint(500, 9000), r.choice((3, 8, 20, 55))) for _ in range(r.choice((0, 0, 1, 2, 3)))]
                    self.tcp(host, self.server(), r.choice((443, 443, 443, 443, 80)), at + r.random(), turns, r.choice(("fin", "fin", "server", "rst")), r.uniform(0.008, 0.12))
                if r.random() < 0.02:
                    self.attempt(host, self.stranger(), r.choice((443, 80)), at, r.choice(("none", "refused")))
            # Mail, time, telemetry (all the same few servers), push, files.
            for at in self.clock(300, 0.01):
                self.tcp(host, "10.1.1.10", 993, at, [(400, 2200, 0.1), (300, 900, 0.1)], rtt=0.002)
            period = r.choice((64, 256, 1024))
            for at in self.clock(period, 0.02):
                self.ask(host, r.choice(("10.1.0.3", "10.1.0.3", "162.159.200.1")), 123, at, 48, 48, sport=123)
            if r.random() < 0.5:
                for at in self.clock(r.choice((300, 600, 900)), 0.02):
                    self.tcp(host, r.choice(popular), 443, at, [(r.randint(600, 2500), r.randint(300, 4000), 0.1)], rtt=0.03)
            if r.random() < 0.5:
                # One connection for hours with a sign of life each minute.
                self.tcp(host, "17.57.144.20", 5223, r.uniform(5, 900), [(90, 90, r.uniform(55, 65)) for _ in range(int(self.end / 60) - 20)], rtt=0.05)
            for at in self.times(1500):
                self.tcp(host, "10.1.0.10", 445, at, [(r.randint(500, 20_000), r.randint(500, 200_000), 1.0) for _ in range(4)], rtt=0.001)
        # Updates: everybody within some minutes, from two servers.
        for host in offices:
            self.tcp(host, "151.101.3.7", 80, 3600 + r.uniform(0, 900), [(300, r.randint(100_000, 600_000), 0)])
        # A widget that asks for the weather, each time anew; it has no fixed clock. An uptime service outside looks at the web server.
        for at in self.times(240):
            self.tcp(offices[5], "104.16.9.9", 443, at, [(500, 1200, 0.1)])
        for at in self.clock(60, 0.0):
            self.tcp("69.162.124.226", "10.1.0.80", 443, at, [(400, 9000, 0.05)])
        # The web server and its clients; some are scanners' single shots and the answers to forged packets of others.
        for at in self.times(2.5):
            client = self.stranger()
            for _ in range(r.randint(1, 3)):
                self.tcp(client, "10.1.0.80", r.choice((80, 443)), at + r.random() * 3, [(r.randint(300, 900), r.randint(800, 30_000), r.choice((0.1, 4, 16)))], r.choice(("fin", "server", "rst")), r.uniform(0.01, 0.2))
        for at in self.times(4):
            target = f"10.1.{r.randint(0, 20)}.{r.randint(1, 254)}"
            if r.random() < 0.6:
                self.attempt(self.stranger(), target, r.choice((22, 23, 80, 445, 3389, 8080, 5555)), at, tries=(0,), sport=r.randint(1024, 65000))
            else:
                self.add(at, self.stranger(), target, TCP, r.choice((80, 443)), r.randint(1024, 65000), r.choice((RST | ACK, SYN | ACK)), 44)
        # The mail server sends, receives, and asks block lists.
        for at in self.times(9):
            self.tcp("10.1.1.25", self.stranger(), 25, at, [(300, 300, 0.2), (r.randint(2000, 60_000), 200, 0.3)], rtt=0.05)
        for at in self.times(12):
            client = self.stranger()
            self.tcp(client, "10.1.1.25", 25, at, [(300, 300, 0.2), (r.randint(2000, 60_000), 200, 0.3)], rtt=0.05)
            for _ in range(4):
                self.ask("10.1.1.25", resolver, 53, at, r.randint(45, 75), r.randint(90, 160))
        # Monitoring: pings, and connections by the clock. Management: a shell on every server; a build host fetches from one.
        servers = [f"10.1.0.{20 + index}" for index in range(15)]
        for at in self.clock(60, 0.0):
            for index, target in enumerate(servers + ["10.1.0.2", "10.1.0.10", "10.1.0.80"]):
                self.ping("10.1.2.5", target, at + index * 0.01)
                self.tcp("10.1.2.5", target, 22 if index % 2 else 443, at + 5 + index * 0.02, [(40, 60, 0.01)], rtt=0.001)
        for at in self.clock(900, 0.1):
            for index, target in enumerate(servers):
                for command in range(3):
                    self.tcp("10.1.3.9", target, 22, at + index * 0.3 + command * 2, [(1500, 2200, 0.3), (r.randint(300, 9000), r.randint(300, 40_000), 0.5)], rtt=0.001)
        for at in self.times(45):
            self.tcp(offices[7], "10.1.0.22", 22, at, [(1800, 2400, 0.1), (900, int(r.paretovariate(1.1) * 3000) % 2_000_000, 0.1)], rtt=0.002)
        # A script that copies twenty files, a connection for each.
        for at in (2000.0, 6200.0):
            for number in range(20):
                self.tcp(offices[8], "10.1.0.23", 22, at + number * 1.7, [(1800, 2400, 0.1), (int(r.paretovariate(0.9) * 20_000) % 900_000, 600, 0.2)], rtt=0.002)
        # Shells and remote desktops of people, a database, file transfer, a proxy.
        for number in range(6):
            self.tcp(offices[10 + number], servers[number], 22, r.uniform(60, 3000), [(60, 200, r.choice((1, 4, 30))) for _ in range(300)], rtt=0.002)
            self.tcp(offices[20 + number], servers[6 + number], 3389, r.uniform(60, 3000), [(200, 3000, 1.0) for _ in range(900)], rtt=0.002)
            for attempt in range(3):
                self.tcp(offices[20 + number], servers[6 + number], 3389, r.uniform(3000, 8000), [(1300, 1900, 0.3), (400, 300, 0.2)], rtt=0.002)
        for at in self.times(3):
            self.tcp("10.1.0.80", "10.1.0.30", 5432, at, [(r.randint(100, 700), r.randint(100, 9000), r.random())], rtt=0.0005)
        # A backup to a cloud, from the subnet for it; a video that somebody sends, another that somebody watches.
        self.tcp("10.1.4.8", "52.10.20.30", 443, 1200, [(9_000_000, 300, 0.1)] * 5, rtt=0.02)
        self.tcp(offices[30], "34.120.8.8", 443, 2500, [(3_000_000, 500, 0.1)], rtt=0.02)
        self.tcp(offices[31], "45.57.9.9", 443, 2600, [(900, 1_500_000, 4.0)] * 12, rtt=0.02)
        self.stream("142.250.3.8", offices[32], UDP, (443, 50_123), 1500, 90, 600, 1278)
        self.stream(offices[32], "142.250.3.8", UDP, (50_123, 443), 1500, 90, 60, 80)
        # A call, both ways; a conference whose picture comes from a relay; a tunnel for work.
        for src, dst, ports in ((offices[33], "198.51.100.7", (50_000, 16_400)), ("198.51.100.7", offices[33], (16_400, 50_000))):
            self.stream(src, dst, UDP, ports, 4000, 500, 50, 200)
        self.stream("52.114.7.7", offices[34], UDP, (3479, 50_020), 4100, 240, 260, 1050)
        self.stream(offices[34], "52.114.7.7", UDP, (50_020, 3479), 4100, 240, 120, 700)
        for src, dst in ((offices[35], "91.5.5.5"), ("91.5.5.5", offices[35])):
            self.stream(src, dst, UDP, (51_820, 51_820), 5000, 120, 250, 900)
        # A file sharer: many peers, many ports, often gone; over UDP as well.
        sharer = offices[36]
        for at in self.times(3, 600, min(self.end, 8000)):
            peer, port = self.stranger(), r.choice((6881, 51_413, 16_881)) if r.random() < 0.2 else r.randint(10_000, 65_000)
            if r.random() < 0.35:
                self.tcp(sharer, peer, port, at, [(r.randint(100, 9000), r.randint(100, 60_000), r.choice((0.2, 10, 30)))], rtt=0.08)
            else:
                self.attempt(sharer, peer, port, at, r.choice(("none", "none", "refused")))
        for at in self.times(0.7, 600, min(self.end, 8000)):
            self.ask(sharer, self.stranger(), r.randint(6000, 65_000), at, r.randint(90, 320), r.choice((0, 0, 0, 120, 300)), sport=6881)
        # Somebody traces a way for some minutes; pings of a person.
        for at in self.clock(1.0, 0.01, 5200, 5500):
            for hop in range(10):
                self.add(at + hop * 0.05, offices[37], "173.194.70.104", ICMP, 8, 0, 0, 84)
                self.add(at + hop * 0.05 + 0.02, f"80.5.{hop}.1", offices[37], ICMP, 11, 0, 0, 96)
        self.ping(offices[38], "8.8.8.8", 3000, 120)
        # For a minute the way out is cut: everybody's attempts fail.
        for host in offices:
            for at in self.times(2.5, 7000, 7045):
                self.attempt(host, self.server(), 443, at, tries=(0, 1, 3, 7))
        # A guest network behind one address: as busy as a floor of offices.
        for at in self.times(4):
            self.tcp("10.1.5.1", self.server(), 443, at, [(r.randint(300, 900), r.randint(500, 30_000), r.random())], rtt=0.03)
            if r.random() < 0.1:
                self.attempt("10.1.5.1", self.stranger(), 443, at)
        self.offices = offices

    def unnamed(self):
        """Ordinary hosts that no subnet's name excepts."""
        r = self.random
        # Monitoring every five minutes: pings, ports that are opened and closed, switches that are asked.
        for at in self.clock(300, 0.0, 20):
            for index in range(60):
                self.ping("10.1.0.6", self.offices[index % self.hosts], at + index, 5, gap=0.2)
                self.tcp("10.1.0.6", f"10.1.{10 + index // 20}.{20 + index % 20}", (22, 22, 3389, 80)[index % 4], at + index + 0.5, [], rtt=0.002)
                self.ask("10.1.0.6", f"10.1.{18 + index // 30}.{100 + index % 30}", 161, at + index * 0.5, 60, 90)
        # A relay that only sends, to servers of which some are gone; twenty feeds every ten minutes, and a partner's page every five.
        for at in self.times(7):
            if r.random() < 0.12:
                self.attempt("10.1.0.26", self.stranger(), 25, at, r.choice(("none", "refused")))
            else:
                self.tcp("10.1.0.26", self.stranger(), 25, at, [(120, 300, 0.3), (int(r.paretovariate(1.0) * 2500) % 3_000_000, 60, 0.3)], rtt=0.08)
        feeds = [self.stranger() for _ in range(20)]
        for at in self.clock(600, 0.01):
            for feed in feeds:
                self.tcp(self.offices[40], feed, 443, at + r.random() * 5, [(300, r.randint(300, 30_000), 0.1)])
        # The gateway of the guests polls mail for two hundred; a crawler's addresses are often dead.
        for at in self.clock(1.5, 0.5):
            self.tcp("10.1.5.1", "10.1.1.10", 110, at, [(30, 60, 0.02), (25, 50, 0.02), (6, 20, 0.02), (6, 20, 0.01)], rtt=0.003)
        for at in self.times(0.7, 7000, 9000):
            if r.random() < 0.06:
                self.attempt(self.offices[41], self.stranger(), 80, at, r.choice(("none", "refused")))
            else:
                self.tcp(self.offices[41], self.stranger(), 80, at, [(r.randint(180, 260), int(r.paretovariate(1.1) * 4000) % 300_000, 0.1)])
        # The file server copies to another, and that to a third.
        for at in self.clock(900, 0.05):
            for source, target in (("10.1.0.10", "10.1.0.38"), ("10.1.0.38", "10.1.0.39")):
                self.tcp(source, target, 22, at + (60 if target.endswith("39") else 0), [(1800, 2400, 0.1), (r.randint(100_000, 900_000), 3000, 0.1)], rtt=0.001)

    # Attacks.

    def blame(self, rules, host):
        for rule in rules.split():
            self.found_by[rule].add(host)
        self.guilty.add(host)

    def attacks(self):
        self.scans()
        self.guesses()
        self.calls_home()
        self.floods()
        self.theft()

    def scans(self):
        r = self.random
        inside = lambda index: f"10.1.{index // 250 % 21}.{1 + index % 250}"
        answer = lambda: r.choices(("none", "refused", "reset"), (8, 3, 1))[0]
        # Worms and sweeps of one port: fast, at nmap's -T2, as masscan does it.
        for scanner, port, gap, count, at in (("10.1.10.27", 445, 0.05, 1200, 900), ("203.0.113.9", 23, 0.8, 300, 1500), ("203.0.113.10", 22, 0.4, 250, 2400),
                                              ("203.0.113.11", 3389, 0.002, 4000, 3300), ("10.1.11.31", 80, 0.4, 120, 4200), ("203.0.113.12", 5900, 3.0, 200, 4300)):
            for index in range(count):
                self.attempt(scanner, inside(index), port, at + index * gap, answer(), (0,) if gap < 0.01 else (0, 1), 61_000 if gap < 0.01 else None)
            self.blame("scan_horizontal", scanner)
        # Ports of one host: nmap as it is (1,000 ports, one source port), with connections, politely, by an insider.
        for scanner, target, gap, count, at, style in (("203.0.113.20", "10.1.0.80", 0.002, 1000, 700, "syn"), ("203.0.113.21", "10.1.0.10", 0.004, 1000, 1800, "connect"),
                                                       ("198.51.100.66", "10.1.0.24", 0.4, 400, 2700, "syn"), ("10.1.11.28", "10.1.0.25", 0.02, 2000, 3600, "connect"),
                                                       ("198.51.100.67", "10.1.0.81", 0.01, 300, 5100, "fin"), ("198.51.100.68", "10.1.0.22", 0.05, 200, 2900, "ack")):
            ports = r.sample(range(1, 10_000), count)
            for index, port in enumerate(ports):
                when = at + index * gap
                if style in ("fin", "ack"):
                    self.add(when, scanner, target, TCP, 41_000, port, FIN | PSH | 32 if style == "fin" else ACK, 40)
                    self.add(when + 0.002, target, scanner, TCP, port, 41_000, RST | ACK if style == "fin" else RST, 40)
                elif index % 200 == 7 and style == "connect":
                    self.tcp(scanner, target, port, when, [], "rst", 0.002)
                else:
                    self.attempt(scanner, target, port, when, "reset" if index % 200 == 7 else "refused", sport=43_210 if style == "syn" else None)
            self.blame("scan_vertical", scanner)
        # UDP: closed ports say so, some of the time.
        for scanner, target, gap, at in (("203.0.113.30", "10.1.0.26", 0.05, 2000), ("10.1.12.33", "10.1.0.27", 0.3, 4800)):
            for index, port in enumerate(r.sample(range(1, 40_000), 600)):
                self.ask(scanner, target, port, at + index * gap, r.choice((0, 12, 40)), 0, sport=r.randint(40_000, 60_000))
                if index % 10 == 0:
                    self.add(at + index * gap + 0.001, target, scanner, ICMP, 3, 3, 0, 56)
            self.blame("scan_udp", scanner)
        # Slow: an attempt in many seconds.
        for scanner, gap, vertical in (("192.0.2.77", 18, False), ("192.0.2.78", 22, True), ("10.1.12.34", 25, False)):
            for index in range(260):
                at = 1200 + index * gap * r.uniform(0.8, 1.2)
                self.attempt(scanner, "10.1.0.80" if vertical else inside(index * 3), 1 + index * 7 if vertical else 3389, at, answer(), (0,))
            self.blame("scan_slow", scanner)
        for scanner, gap, count, at in (("10.1.12.26", 0.05, 500, 4200), ("203.0.113.40", 0.3, 250, 5600)):
            for index in range(count):
                self.ping(scanner, inside(index), at + index * gap, answered=r.random() < 0.3)
            self.blame("sweep_icmp", scanner)

    def guesses(self):
        r = self.random

        def login(guesser, target, port, at, count, parallel, seconds, up, down):
            threads = [at + r.random() for _ in range(parallel)]
            for _ in range(count):
                thread = min(range(parallel), key=threads.__getitem__)
                turns = [(int(up * r.uniform(0.9, 1.1)) // 3, int(down * r.uniform(0.95, 1.05)) // 3, seconds / 3 * r.uniform(0.7, 1.3)) for _ in range(3)]
                threads[thread] = self.tcp(guesser, target, port, threads[thread], turns, r.choice(("fin", "server")), 0.02) + 0.05

        for rule, guesser, target, port, at, count, parallel, seconds, up, down in (
                ("brute_force_ssh", "203.0.113.50", "10.1.0.20", 22, 1300, 400, 4, 2.5, 1700, 2300),
                ("brute_force_ssh", "203.0.113.51", "10.1.0.21", 22, 2900, 600, 16, 3.0, 1500, 2100),
                ("brute_force_ssh", "10.1.13.25", "10.1.0.28", 22, 5000, 60, 1, 8.0, 2100, 2800),
                ("brute_force_ssh", "203.0.113.52", "10.1.0.29", 22, 6000, 12, 1, 5.0, 1800, 2200),
                ("brute_force_rdp", "203.0.113.53", "10.1.0.31", 3389, 1700, 200, 4, 1.5, 1400, 1900),
                ("brute_force_rdp", "203.0.113.54", "10.1.0.32", 3389, 5200, 30, 1, 4.0, 1100, 1700),
                ("brute_force_login", "203.0.113.55", "10.1.0.33", 21, 2200, 250, 8, 3.0, 90, 240),
                ("brute_force_login", "203.0.113.56", "10.1.0.34", 23, 3100, 150, 2, 4.0, 120, 300),
                ("brute_force_login", "203.0.113.57", "10.1.0.35", 5900, 3500, 120, 1, 1.0, 60, 90),
                ("brute_force_login", "203.0.113.58", "10.1.0.36", 1433, 3900, 200, 4, 0.3, 400, 300),
                ("brute_force_login", "203.0.113.59", "10.1.1.10", 143, 4400, 180, 4, 2.0, 120, 400),
                ("brute_force_web", "203.0.113.60", "10.1.0.37", 80, 5900, 900, 16, 0.2, 500, 1800)):
            login(guesser, target, port, at, count, parallel, seconds, up, down)
            self.blame(rule, guesser)
        # One password for many hosts.
        for index in range(80):
            self.tcp("203.0.113.61", f"10.1.0.{20 + index}", 22, 6500 + index * 1.5, [(1500, 2300, 1.2)], rtt=0.03)
        self.blame("brute_force_ssh_hosts", "203.0.113.61")

    def calls_home(self):
        r = self.random
        for number, (period, jitter, port) in enumerate(((10, 0.0, 80), (30, 0.1, 443), (60, 0.0, 8080), (60, 0.3, 443), (300, 0.1, 80), (300, 0.25, 443),
                                                         (120, 0.5, 443), (600, 0.1, 4444), (900, 0.2, 443))):
            bot, master = f"10.1.14.{20 + number}", f"185.20.30.{40 + number}"
            start = 200 + 37 * number
            for at in self.clock(period, jitter, start):
                self.tcp(bot, master, port, at, [(r.randint(280, 340), r.choice((180, 180, 180, 900)), 0.05)], rtt=0.06)
            self.blame("beacon", bot)
            self.guilty.add(master)
        # Nobody answers; a bot that speaks UDP.
        for at in self.clock(45, 0.05, 300):
            self.attempt("10.1.14.40", "185.20.31.1", 443, at)
        for at in self.clock(90, 0.1, 400):
            self.ask("10.1.14.41", "185.20.31.2", 16_464, at, 32, 48)
        for bot in ("10.1.14.40", "10.1.14.41"):
            self.blame("beacon", bot)
        # Mail to everybody, with the look-ups for it; a bot that tries mail servers whose port is closed.
        for at in self.times(1.5, 5000, 5900):
            self.tcp("10.1.13.29", self.stranger(), 25, at, [(200, 300, 0.3), (r.randint(900, 9000), 200, 0.3)], rtt=0.08)
        for at in self.times(1.0, 2000, 2600):
            self.attempt("10.1.13.30", self.stranger(), 25, at)
        self.blame("spam bot", "10.1.13.29")
        self.blame("bot", "10.1.13.30")
        for at in self.times(2.0, 3000, 3400):
            self.attempt("10.1.13.31", self.stranger(), r.choice((6667, 6697)), at, r.choice(("none", "refused")))
        self.blame("bot", "10.1.13.31")

    def floods(self):
        r = self.random
        for index in range(20_000):
            self.attempt(self.stranger(), "10.1.0.82", 80, 4600 + index * 0.003, "none", (0,), r.randint(1024, 65_000))
        self.blame("flood_syn", "10.1.0.82")
        for index in range(15_000):
            self.add(6100 + index * 0.004, "10.1.13.33", "77.75.76.70", TCP, r.randint(1024, 65_000), 80, SYN, 40)
        self.stream("10.1.13.34", "77.75.76.71", TCP, (1234, 443), 3000, 0, 1, 40)
        for index in range(24_000):
            self.add(3000 + index * 0.005, "10.1.13.34", "77.75.76.71", TCP, 1234, 443, SYN, 40)
        for bot, victim in (("10.1.13.33", "77.75.76.70"), ("10.1.13.34", "77.75.76.71")):
            self.blame("flood_syn_source", bot)
            self.found_by["flood_syn"].add(victim)
            self.guilty.add(victim)
        # UDP: one flow of very many packets; many ports; few hundred packets a second for minutes.
        self.stream("10.1.13.35", "77.75.76.77", UDP, (40_000, 80), 5100, 100, 900, 1052)
        for index in range(40_000):
            self.add(2300 + index * 0.001, "10.1.13.36", "77.75.76.78", UDP, r.randint(1024, 65_000), r.randint(1, 65_000), 0, 540)
        self.stream("10.1.13.37", "77.75.76.79", UDP, (5000, 27_015), 6300, 180, 300, 96)
        for bot in ("10.1.13.35", "10.1.13.36", "10.1.13.37"):
            self.blame("flood_udp", bot)
        # ICMP: large and fast; few hundred a second.
        self.ping("10.1.13.38", "77.75.76.80", 4700, 30_000, False, 1092, 0.003)
        self.ping("10.1.13.39", "77.75.76.81", 6700, 12_000, False, 1092, 0.01)
        for bot in ("10.1.13.38", "10.1.13.39"):
            self.blame("flood_icmp", bot)
        # Web: a page asked for thousands of times.
        for index in range(6000):
            self.tcp("203.0.113.70", "10.1.0.83", 80, 6500 + index * 0.02, [(300, 1200, 0.01)], "server", 0.01)
        self.blame("flood_connections", "203.0.113.70")
        # Reflection.
        for reflector in range(80):
            server, port = f"91.10.{reflector}.53", (53, 123, 389, 11_211)[reflector % 4]
            self.stream(server, "10.1.0.84", UDP, (port, 3333), 5500, 40, 12, 1440)
            self.guilty.add(server)
        self.blame("amplification", "10.1.0.84")

    def theft(self):
        r = self.random
        for at in self.times(0.3, 3600, 4200):
            self.ask("10.1.12.24", "10.1.0.2", 53, at, r.randint(160, 230), r.randint(180, 400))
        for at in self.times(1.0, 4500, 6500):
            self.ask("10.1.12.25", "185.66.1.1", 53, at, r.randint(140, 200), r.randint(120, 300))
        for host in ("10.1.12.24", "10.1.12.25"):
            self.blame("dns_tunnel", host)
        self.tcp("10.1.13.22", "93.184.5.5", 443, 3700, [(12_000_000, 300, 0.1)] * 10, rtt=0.02)
        self.tcp("10.1.13.23", "93.184.5.6", 21, 6000, [(110_000_000, 300, 0.1)], rtt=0.02)
        for host in ("10.1.13.22", "10.1.13.23"):
            self.blame("exfiltration", host)
        for step, (src, dst, port) in enumerate((("10.1.10.22", "10.1.11.21", 3389), ("10.1.11.21", "10.1.12.21", 445), ("10.1.12.21", "10.1.0.25", 22))):
            self.tcp(src, dst, port, 5400 + 240 * step, [(600, 2000, 1.5) for _ in range(60)], rtt=0.002)
            self.guilty.update((src, dst))
        self.found_by["lateral_movement"].add("10.1.10.22")

    def patient(self):
        """Attacks that spare their target, or stop and begin again."""
        r = self.random
        for index in range(110):
            self.tcp("203.0.113.80", "10.1.0.41", 22, 1500 + index * r.uniform(24, 26), [(560, 760, 0.5)] * 3, rtt=0.03)
            self.tcp("203.0.113.81", "10.1.0.42", 3389, 2500 + index * r.uniform(19, 21), [(480, 640, 0.4)] * 3, rtt=0.03)
        for guesser in ("203.0.113.80", "203.0.113.81"):
            self.blame("brute_force_slow", guesser)
        # Five bots of one master; one that sleeps, one that is given work now and then.
        for bot, master, period, busy in [(f"10.1.15.{20 + number}", "185.20.32.1", 10, 0.0) for number in range(5)] + [
                ("10.1.15.30", "185.20.32.2", 60, 0.0), ("10.1.15.31", "185.20.32.3", 30, 0.04)]:
            for at in self.clock(period, 0.05, r.uniform(100, 200)):
                if bot != "10.1.15.30" or not 1500 < at < 5000:
                    self.tcp(bot, master, 8080, at, [(310, r.randint(20_000, 400_000) if r.random() < busy else 250, 0.1)], "server", 0.1)
            self.blame("beacon", bot)
            self.guilty.add(master)
        # A tunnel whose questions the resolver passes on.
        for at in self.times(0.3, 7500, 8400):
            self.ask("10.1.15.32", "10.1.0.2", 53, at, 180, 240)
            self.ask("10.1.0.2", "185.66.1.2", 53, at + 0.002, 190, 240, rtt=0.005)
        self.blame("dns_tunnel", "10.1.15.32")
        # SYNs that are refused, thirty a second.
        for index in range(6000):
            self.attempt("203.0.113.82", "10.1.0.43", 21, 8500 + index / 30, "refused")
        self.blame("flood_syn_source", "203.0.113.82")

    # Output.

    def write(self, path):
        self.packets.sort()
        cache = {}
        with open(path, "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1))
            ethernet = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0"
            for time_us, src, dst, proto, sport, dport, flags, size in self.packets:
                src = cache.get(src) or cache.setdefault(src, address(src))
                dst = cache.get(dst) or cache.setdefault(dst, address(dst))
                if proto == TCP:
                    rest = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 65_535, 0, 0)
                elif proto == UDP:
                    rest = struct.pack("!HHHH", sport, dport, size - 20, 0)
                else:
                    rest = struct.pack("!BBHHH", sport, dport, 0, 77, 1)
                packet = ethernet + struct.pack("!BBHHHBBHII", 0x45, 0, size, 1, 0x4000, 60, proto, 0, src, dst) + rest
                time_us += START_US
                out.write(struct.pack("<IIII", time_us // 1_000_000, time_us % 1_000_000, len(packet), 14 + size) + packet)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pcap")
    parser.add_argument("labels")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--hosts", type=int, default=60)
    parser.add_argument("--only-background", action="store_true")
    arguments = parser.parse_args()
    recording = Recording(arguments.seed, arguments.hours, arguments.hosts)
    recording.background()
    if not arguments.only_background:
        recording.attacks()
    recording.unnamed()
    if not arguments.only_background:
        recording.patient()
    recording.write(arguments.pcap)
    with open(arguments.labels, "w") as out:
        json.dump({"found_by": {rule: sorted(hosts) for rule, hosts in sorted(recording.found_by.items())}, "guilty": sorted(recording.guilty)}, out, indent=1)
    print(f"{len(recording.packets)} packets")


if __name__ == "__main__":
    main()
