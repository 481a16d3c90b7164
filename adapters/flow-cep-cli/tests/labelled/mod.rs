//! A seeded campus with labelled attacks, told as an exporter would tell it.
//!
//! What an exporter does to traffic matters to the statements: it tells of a flow that lasts every 60 seconds (active timeout), of one
//! that fell silent after 15 (idle timeout), of both directions apart, and of a connection's flags as far as it saw them in each piece.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const ACTIVE_TIMEOUT_MS: i64 = 60_000;
const IDLE_TIMEOUT_MS: i64 = 15_000;
const SYN: u16 = 2;
const RST_ACK: u16 = 20;
const SYN_ACK_PSH_FIN: u16 = 27;
const ACK_PSH: u16 = 24;
const ACK_PSH_FIN: u16 = 25;

/// Random numbers that are the same everywhere (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: i64) -> i64 {
        (self.next() % bound.unsigned_abs()).cast_signed()
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An interval of a Poisson process.
    fn wait(&mut self, mean_ms: f64) -> i64 {
        (-mean_ms * (1.0 - self.unit()).ln()) as i64 + 1
    }

    fn port(&mut self) -> u16 {
        self.between(32_768, 60_999) as u16
    }
}

/// One direction of a conversation, before an exporter cuts it.
#[derive(Clone, Debug)]
struct Talk {
    src: String,
    dst: String,
    src_port: u16,
    dst_port: u16,
    proto: u8,
    start_ms: i64,
    duration_ms: i64,
    packets: i64,
    bytes: i64,
    flags: u16,
}

/// The labelled recording.
pub(crate) struct Recording {
    rows: Vec<(i64, String)>,
    /// For each rule the hosts that it should report.
    pub(crate) labels: BTreeMap<&'static str, BTreeSet<String>>,
    random: Random,
    end_ms: i64,
    start_ms: i64,
}

/// The label of an inside address in the subnet file.
fn subnet(address: &str) -> Option<&'static str> {
    let third = address.strip_prefix("10.1.")?.split('.').next()?;
    Some(match third {
        "0" => "servers",
        "1" => "mail",
        "2" => "monitoring",
        "3" => "management",
        "4" => "backup",
        _ => "offices",
    })
}

impl Recording {
    /// A recording of some hours.
    pub(crate) fn new(seed: u64, hours: i64) -> Self {
        let start_ms = 1_700_000_000_000;
        let mut recording = Self {
            rows: Vec::new(),
            labels: BTreeMap::new(),
            random: Random::new(seed),
            start_ms,
            end_ms: start_ms + hours * 3_600_000,
        };
        recording.background();
        recording.attacks();
        recording.rows.sort();
        recording
    }

    /// The rows as CSV in the columns of the flow schema.
    pub(crate) fn csv(&self) -> String {
        let mut text = String::from(
            "time,flow_start,flow_end,src_addr,dst_addr,src_port,dst_port,proto,tcp_flags,bytes,packets,src_internal,src_subnet,dst_internal,dst_subnet\n",
        );
        for (time, row) in &self.rows {
            writeln!(text, "{time},{row}").unwrap();
        }
        text
    }

    /// How many flows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn label(&mut self, rule: &'static str, host: &str) {
        self.labels.entry(rule).or_default().insert(host.to_owned());
    }

    /// Tells of a conversation's direction in the pieces that an exporter makes.
    fn tell(&mut self, talk: &Talk) {
        let pieces = talk.duration_ms / ACTIVE_TIMEOUT_MS + 1;
        for piece in 0..pieces {
            let start_ms = talk.start_ms + piece * ACTIVE_TIMEOUT_MS;
            let end_ms = (start_ms + ACTIVE_TIMEOUT_MS - 1).min(talk.start_ms + talk.duration_ms);
            let last = piece == pieces - 1;
            let flags = match (talk.proto, piece, last) {
                (6, 0, true) => talk.flags,
                (6, 0, false) => talk.flags & !1,
                (6, _, false) => ACK_PSH,
                (6, _, true) => ACK_PSH_FIN,
                _ => 0,
            };
            let closed = last && talk.proto == 6 && flags & 5 != 0;
            let told_ms = end_ms
                + if last && !closed {
                    IDLE_TIMEOUT_MS
                } else {
                    self.random.below(900)
                };
            let share = |of: i64| (of / pieces).max(1);
            let (src, dst) = (subnet(&talk.src), subnet(&talk.dst));
            let row = format!(
                "{start_ms},{end_ms},{},{},{},{},{},{flags},{},{},{},{},{},{}",
                talk.src,
                talk.dst,
                talk.src_port,
                talk.dst_port,
                talk.proto,
                share(talk.bytes),
                share(talk.packets),
                src.is_some(),
                src.unwrap_or_default(),
                dst.is_some(),
                dst.unwrap_or_default(),
            );
            if told_ms < self.end_ms {
                self.rows.push((told_ms, row));
            }
        }
    }

    /// A TCP connection that was accepted, both directions.
    fn connection(&mut self, src: &str, dst: &str, dst_port: u16, start_ms: i64, duration_ms: i64, up: i64, down: i64) {
        let src_port = self.random.port();
        let (sent, received) = (up / 900 + down / 2_800 + 4, down / 1_400 + up / 2_800 + 4);
        let talk = Talk {
            src: src.to_owned(),
            dst: dst.to_owned(),
            src_port,
            dst_port,
            proto: 6,
            start_ms,
            duration_ms,
            packets: sent,
            bytes: up + sent * 52,
            flags: SYN_ACK_PSH_FIN,
        };
        self.tell(&talk);
        self.tell(&Talk {
            src: talk.dst.clone(),
            dst: talk.src.clone(),
            src_port: dst_port,
            dst_port: src_port,
            start_ms: start_ms + 10,
            packets: received,
            bytes: down + received * 52,
            ..talk
        });
    }

    /// A connection that nobody accepts; a closed port says so, a dead host does not.
    fn attempt(&mut self, src: &str, dst: &str, dst_port: u16, start_ms: i64, refused: bool) {
        let src_port = self.random.port();
        let packets = if refused { 1 } else { self.random.between(1, 3) };
        let talk = Talk {
            src: src.to_owned(),
            dst: dst.to_owned(),
            src_port,
            dst_port,
            proto: 6,
            start_ms,
            duration_ms: (packets - 1) * 1_000,
            packets,
            bytes: packets * 60,
            flags: SYN,
        };
        self.tell(&talk);
        if refused {
            let (src, dst) = (talk.dst.clone(), talk.src.clone());
            let flags = RST_ACK;
            self.tell(&Talk {
                src,
                dst,
                src_port: dst_port,
                dst_port: src_port,
                bytes: 40,
                flags,
                ..talk
            });
        }
    }

    /// Packets without a connection, in one direction.
    fn packets(
        &mut self,
        src: &str,
        dst: &str,
        proto: u8,
        ports: (u16, u16),
        start_ms: i64,
        duration_ms: i64,
        packets: i64,
        bytes: i64,
    ) {
        self.tell(&Talk {
            src: src.to_owned(),
            dst: dst.to_owned(),
            src_port: ports.0,
            dst_port: ports.1,
            proto,
            start_ms,
            duration_ms,
            packets,
            bytes,
            flags: 0,
        });
    }

    fn outside(&mut self) -> String {
        // A few hundred servers, the first of them visited most.
        let rank = (300.0 * self.random.unit().powi(3)) as i64;
        format!(
            "{}.{}.{}.{}",
            23 + rank % 150,
            7 + rank * 13 % 200,
            rank * 7 % 250,
            10 + rank % 200
        )
    }

    fn stranger(&mut self) -> String {
        let random = &mut self.random;
        format!(
            "{}.{}.{}.{}",
            random.between(180, 220),
            random.below(256),
            random.below(256),
            random.between(1, 254)
        )
    }

    fn background(&mut self) {
        let offices: Vec<String> = (0..40)
            .map(|host| format!("10.1.{}.{}", 10 + host / 10, 20 + host % 10))
            .collect();
        let (resolver, files, mail) = ("10.1.0.2", "10.1.0.10", "10.1.1.25");
        for host in &offices {
            let mut now = self.start_ms + self.random.below(60_000);
            while now < self.end_ms {
                // A page: names, some servers, pictures.
                for _ in 0..self.random.between(1, 4) {
                    let port = self.random.port();
                    let (question, answer) = (self.random.between(58, 84), self.random.between(90, 420));
                    self.packets(host, resolver, 17, (port, 53), now, 0, 1, question);
                    self.packets(resolver, host, 17, (53, port), now + 3, 0, 1, answer);
                    if self.random.unit() < 0.3 {
                        let (port, server) = (self.random.port(), self.outside());
                        self.packets(resolver, &server, 17, (port, 53), now, 0, 1, question);
                        self.packets(
                            &server,
                            resolver,
                            17,
                            (53, port),
                            now + 20,
                            0,
                            1,
                            self.random.0 as i64 % 400 + 500,
                        );
                    }
                    let server = self.outside();
                    let (up, down) = (self.random.between(400, 6_000), self.random.between(2_000, 900_000));
                    let (gap, lasts) = (self.random.below(800), self.random.between(200, 40_000));
                    self.connection(host, &server, 443, now + gap, lasts, up, down);
                }
                if self.random.unit() < 0.02 {
                    let dead = self.stranger();
                    self.attempt(host, &dead, 443, now, false);
                }
                now += self.random.wait(60_000.0);
            }
            // Mail every five minutes, time every quarter of an hour, files now and then.
            let mut now = self.start_ms + self.random.below(300_000);
            while now < self.end_ms {
                self.connection(host, "10.1.1.10", 993, now, 900, 1_500, 4_000);
                now += 300_000;
            }
            let mut now = self.start_ms + self.random.below(900_000);
            while now < self.end_ms {
                self.packets(host, "10.1.0.3", 17, (123, 123), now, 0, 1, 76);
                now += 900_000;
            }
            let mut now = self.start_ms + self.random.wait(600_000.0);
            while now < self.end_ms {
                let (up, down) = (
                    self.random.between(2_000, 400_000),
                    self.random.between(2_000, 8_000_000),
                );
                self.connection(host, files, 445, now, 20_000, up, down);
                now += self.random.wait(1_500_000.0);
            }
        }
        // One connection that stays: the exporter tells of it every minute.
        self.connection(
            "10.1.10.21",
            "151.101.1.9",
            443,
            self.start_ms + 5_000,
            self.end_ms - self.start_ms - 90_000,
            900_000,
            2_000_000,
        );
        // A shell all day, a download over QUIC, a call.
        self.connection(
            "10.1.11.22",
            "10.1.0.11",
            22,
            self.start_ms + 9_000,
            5_000_000,
            90_000,
            900_000,
        );
        let later = self.start_ms + 1_800_000;
        self.packets(
            "142.250.3.8",
            "10.1.12.23",
            17,
            (443, 50_123),
            later,
            240_000,
            500_000,
            600_000_000,
        );
        self.packets(
            "10.1.13.24",
            "198.51.100.7",
            17,
            (50_000, 3_478),
            later,
            1_500_000,
            75_000,
            15_000_000,
        );
        self.packets(
            "198.51.100.7",
            "10.1.13.24",
            17,
            (3_478, 50_000),
            later,
            1_500_000,
            75_000,
            60_000_000,
        );
        // The mail server sends; monitoring pings; management opens shells; a server sends its backup out.
        let mut now = self.start_ms;
        while now < self.end_ms {
            let relay = self.stranger();
            self.connection(mail, &relay, 25, now, 3_000, 20_000, 900);
            now += self.random.wait(20_000.0);
        }
        let mut now = self.start_ms + 30_000;
        while now < self.end_ms {
            for host in &offices {
                self.packets("10.1.2.5", host, 1, (0, 2_048), now, 4_000, 5, 420);
                self.packets(host, "10.1.2.5", 1, (0, 0), now, 4_000, 5, 420);
            }
            for host in 0..15 {
                self.connection(
                    "10.1.3.9",
                    &format!("10.1.0.{}", 20 + host),
                    22,
                    now,
                    4_000,
                    3_000,
                    5_000,
                );
            }
            now += 300_000;
        }
        self.connection(
            "10.1.4.8",
            "52.10.20.30",
            443,
            self.start_ms + 600_000,
            500_000,
            900_000_000,
            1_000_000,
        );
        // A program that asks for news whenever it likes, and one file sharer whose peers are often gone.
        let mut now = self.start_ms;
        while now < self.end_ms {
            self.connection("10.1.10.25", "104.16.9.9", 443, now, 500, 700, 1_200);
            now += self.random.wait(120_000.0);
        }
        let mut now = self.start_ms;
        while now < self.end_ms {
            let (peer, port) = (self.stranger(), self.random.between(10_000, 65_000) as u16);
            self.attempt("10.1.13.29", &peer, port, now, false);
            now += self.random.wait(90_000.0);
        }
    }

    fn attacks(&mut self) {
        let minute = 60_000;
        let at = |recording: &Self, minutes: i64| recording.start_ms + minutes * minute;

        // A worm on one port, and nmap on one host; both are also slow scanners over half an hour.
        for (scanner, port, hosts, gap_ms) in [("10.1.10.27", 445, 400, 120), ("203.0.113.9", 23, 150, 900)] {
            let mut now = at(self, 40);
            for host in 0..hosts {
                let target = format!("10.1.{}.{}", 5 + host / 200, 1 + host % 200);
                self.attempt(scanner, &target, port, now, host % 3 == 0);
                now += gap_ms;
            }
            self.label("scan_horizontal", scanner);
            self.label("scan_slow", scanner);
        }
        for (scanner, target, ports, gap_ms) in [
            ("10.1.11.28", "10.1.0.10", 1_000, 10),
            ("198.51.100.66", "10.1.0.11", 300, 400),
        ] {
            let mut now = at(self, 55);
            for port in 1..=ports {
                self.attempt(scanner, target, port, now, true);
                now += gap_ms;
            }
            self.label("scan_vertical", scanner);
            self.label("scan_slow", scanner);
        }
        let start = at(self, 50);
        for port in 1..=200_u16 {
            let try_ms = start + i64::from(port) * 300;
            self.packets("203.0.113.30", "10.1.0.26", 17, (50_000, port * 7), try_ms, 0, 1, 40);
        }
        self.label("scan_udp", "203.0.113.30");
        let mut now = at(self, 20);
        for host in 0..200 {
            let target = format!("10.1.0.{}", 1 + host);
            self.attempt("192.0.2.77", &target, 3_389, now, false);
            now += 17_000 + self.random.below(6_000);
        }
        self.label("scan_slow", "192.0.2.77");
        for host in 0..120 {
            let target = format!("10.1.0.{}", 1 + host);
            let start = at(self, 70) + host * 200;
            self.packets("10.1.12.26", &target, 1, (0, 2_048), start, 0, 1, 84);
        }
        self.label("sweep_icmp", "10.1.12.26");

        // Guessers, fast and slow, inside and out.
        for (guesser, target, port, gap_ms, rule) in [
            ("203.0.113.50", "10.1.0.11", 22, 1_500, "brute_force_ssh"),
            ("10.1.13.25", "10.1.0.12", 22, 8_000, "brute_force_ssh"),
            ("203.0.113.51", "10.1.0.20", 3_389, 3_000, "brute_force_rdp"),
            ("203.0.113.52", "10.1.0.21", 21, 1_200, "brute_force_login"),
        ] {
            let mut now = at(self, 30);
            for _ in 0..150 {
                let (up, down) = (self.random.between(900, 1_800), self.random.between(1_200, 2_600));
                let lasts = self.random.between(1_500, 4_000);
                self.connection(guesser, target, port, now, lasts, up, down);
                now += gap_ms + self.random.below(gap_ms / 4);
            }
            self.label(rule, guesser);
        }

        // One password for many hosts; a page of the web, asked for with many passwords; then as many pages as it can give. All in the time in
        // which services are learned.
        for host in 0..40 {
            let target = format!("10.1.0.{}", 20 + host % 15 + 100 * (host / 15));
            self.connection(
                "203.0.113.61",
                &target,
                22,
                at(self, 25) + host * 2_000,
                1_500,
                1_500,
                2_300,
            );
        }
        self.label("brute_force_ssh_hosts", "203.0.113.61");
        for (guesser, connections, gap_ms, rule) in [
            ("203.0.113.60", 300, 250, "brute_force_web"),
            ("203.0.113.70", 3_000, 20, "flood_connections"),
        ] {
            for connection in 0..connections {
                let start = at(self, 35) + connection * gap_ms;
                self.connection(guesser, "10.1.0.83", 80, start, 200, 1_000, 3_000);
            }
            self.label(rule, guesser);
        }

        // Malware that calls home: by the clock, with a tenth and with a quarter of jitter.
        for (bot, master, period_ms, jitter) in [
            ("10.1.10.23", "185.20.30.40", 60_000, 0.02),
            ("10.1.11.25", "185.20.30.41", 300_000, 0.1),
            ("10.1.12.29", "185.20.30.42", 120_000, 0.25),
        ] {
            let mut now = at(self, 3);
            while now < self.end_ms {
                let up = self.random.between(280, 340);
                self.connection(bot, master, 8_080, now, 400, up, 500);
                let spread = (period_ms as f64 * jitter) as i64;
                now += period_ms + self.random.between(-spread, spread);
            }
            self.label("beacon", bot);
        }

        // Floods.
        let now = at(self, 80);
        for flow in 0..6_000 {
            let forged = self.stranger();
            self.attempt(&forged, "10.1.0.80", 80, now + flow * 4, false);
        }
        self.label("flood_syn", "10.1.0.80");
        for flow in 0..2_000 {
            self.attempt("10.1.12.27", "77.75.76.70", 80, now + flow * 10, true);
        }
        self.label("flood_syn_source", "10.1.12.27");
        let now = at(self, 85);
        self.packets(
            "10.1.10.28",
            "77.75.76.77",
            17,
            (40_000, 80),
            now,
            100_000,
            400_000,
            400_000_000,
        );
        self.label("flood_udp", "10.1.10.28");
        self.packets(
            "10.1.11.29",
            "77.75.76.78",
            1,
            (0, 2_048),
            now,
            180_000,
            90_000,
            95_000_000,
        );
        self.label("flood_icmp", "10.1.11.29");
        for reflector in 0..60 {
            let server = format!("91.10.{}.53", reflector);
            self.packets(
                &server,
                "10.1.0.81",
                17,
                (if reflector % 2 == 0 { 53 } else { 123 }, 3_333),
                now,
                20_000,
                400,
                480_000,
            );
        }
        self.label("amplification", "10.1.0.81");

        // Data carried out.
        let now = at(self, 60);
        for question in 0..2_000 {
            let (port, bytes) = (self.random.port(), self.random.between(180, 250));
            self.packets(
                "10.1.12.24",
                "10.1.0.2",
                17,
                (port, 53),
                now + question * 200,
                0,
                1,
                bytes,
            );
            self.packets(
                "10.1.0.2",
                "10.1.12.24",
                17,
                (53, port),
                now + question * 200 + 9,
                0,
                1,
                300,
            );
        }
        self.label("dns_tunnel", "10.1.12.24");
        let start = at(self, 62);
        self.connection("10.1.13.22", "93.184.5.5", 443, start, 250_000, 220_000_000, 300_000);
        self.label("exfiltration", "10.1.13.22");

        // What was not there before.
        let start = at(self, 100);
        self.connection("172.20.1.1", "10.1.10.24", 8_080, start, 3_000, 5_000, 50_000);
        self.label("new_service", "10.1.10.24");
        let server = self.outside();
        self.connection("10.1.14.40", &server, 443, at(self, 1), 2_000, 900, 9_000);
        self.connection(
            "10.1.14.40",
            "185.33.3.3",
            443,
            self.end_ms - 10 * minute,
            2_000,
            900,
            9_000,
        );
        self.label("awakened", "10.1.14.40");

        // Mail to everybody, and an intruder who goes from host to host.
        for server in 0..60 {
            let target = self.stranger();
            let start = at(self, 90) + server * 4_000;
            self.connection("10.1.10.29", &target, 25, start, 2_500, 9_000, 800);
        }
        self.label("spam", "10.1.10.29");
        self.label("bot", "10.1.10.29");
        for (step, (from, to, port)) in [
            ("10.1.10.22", "10.1.11.21", 3_389),
            ("10.1.11.21", "10.1.12.21", 445),
            ("10.1.12.21", "10.1.0.12", 22),
        ]
        .into_iter()
        .enumerate()
        {
            let start = at(self, 110 + 4 * step as i64);
            self.connection(from, to, port, start, 90_000, 60_000, 200_000);
        }
        self.label("lateral_movement", "10.1.10.22");
        // Nobody had asked these for a desktop or a file before.
        self.label("new_service", "10.1.11.21");
        self.label("new_service", "10.1.12.21");
    }
}
