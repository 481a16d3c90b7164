//! What the campus's hosts do, flow by flow.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is drawn is bounded by its table"
)]

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::network::{Campus, Kind, Net, OUTSIDE};

/// A flow as a probe sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) ends: Ends,
    pub(crate) next_hop: u32,
    pub(crate) source_port: u16,
    /// For ICMP its type × 256 + code.
    pub(crate) destination_port: u16,
    pub(crate) protocol: u8,
    pub(crate) type_of_service: u8,
    pub(crate) tcp_flags: u8,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    /// How long ago its last packet was when the flow was exported.
    pub(crate) age_ms: u32,
    pub(crate) duration_ms: u32,
    pub(crate) input: u16,
    pub(crate) output: u16,
    pub(crate) source_as: u32,
    pub(crate) destination_as: u32,
    pub(crate) vlan: u16,
}

impl Flow {
    pub(crate) fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMP_V6)
    }
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    V4 { source: u32, destination: u32 },
    V6 { source: u128, destination: u128 },
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
/// SYN alone, and all that a whole connection has: SYN, PSH, ACK, FIN.
const SYN: u8 = 0x02;
const WHOLE: u8 = 0x1b;

/// A service that ordinary hosts use.
struct Service {
    protocol: u8,
    port: u16,
    /// How often, in 256.
    share: u8,
    /// Fewest packets of a flow. A connection that works has more than three: fewer are what gives a scan away.
    min_packets: u32,
    /// Bytes of a packet to the server and back.
    request_bytes: u32,
    reply_bytes: u32,
}

const SERVICES: [Service; 10] = [
    service(TCP, 443, 112, 6, 120, 1100),
    service(UDP, 443, 44, 5, 140, 1200),
    service(UDP, 53, 46, 1, 72, 160),
    service(TCP, 80, 12, 5, 110, 1050),
    service(TCP, 993, 9, 8, 90, 600),
    service(UDP, 3478, 9, 20, 180, 180),
    service(TCP, 22, 6, 12, 110, 160),
    service(TCP, 5223, 7, 4, 90, 110),
    service(UDP, 123, 7, 1, 76, 76),
    service(ICMP, 8 << 8, 4, 1, 84, 84),
];

const fn service(
    protocol: u8,
    port: u16,
    share: u8,
    min_packets: u32,
    request_bytes: u32,
    reply_bytes: u32,
) -> Service {
    Service {
        protocol,
        port,
        share,
        min_packets,
        request_bytes,
        reply_bytes,
    }
}

/// Ranks below a count, the first ones far more often than the last (Zipf, exponent 1), without a logarithm a draw.
struct Zipf {
    /// The ranks at which each 1024th of the draws begins.
    bounds: Vec<u32>,
}

impl Zipf {
    const STEPS: usize = 1024;

    fn new(count: u32) -> Self {
        let bound = |step: usize| (f64::from(count).powf(step as f64 / Self::STEPS as f64) as u32).min(count) - 1;
        Self {
            bounds: (0..=Self::STEPS).map(bound).collect(),
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> u32 {
        let word = random.next_u64();
        let step = word as usize % Self::STEPS;
        let (from, to) = (self.bounds[step], self.bounds[step + 1]);
        from + below(word >> 32, to - from)
    }
}

/// A number below `count` from 32 random bits; 0 if `count` is.
fn below(bits: u64, count: u32) -> u32 {
    (((bits & 0xffff_ffff) * u64::from(count)) >> 32) as u32
}

/// Someone who does the same over and over.
struct Actor {
    role: Role,
    due_ms: f64,
    interval_ms: f64,
    count: u32,
    host: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Tries one port on host after host outside.
    HostScanner,
    /// Tries port after port of one host.
    PortScanner,
    /// Keeps in touch with many IRC servers.
    IrcBot,
    /// Calls one host outside, always alike.
    Beacon,
    /// Moves a data set to a partner at a gigabit.
    BulkTransfer,
}

/// Roles and their flows a second.
const ROLES: [(Role, f64); 5] = [
    (Role::HostScanner, 60.0),
    (Role::IrcBot, 2.0),
    (Role::PortScanner, 45.0),
    (Role::Beacon, 0.2),
    (Role::BulkTransfer, 1.0),
];
/// IRC servers that the bot talks to, and the ports they listen on.
const IRC_SERVERS: u32 = 28;
const IRC_PORTS: [u16; 4] = [6667, 6668, 6669, 6697];
/// Most of an exporter's flows that are one actor's.
const MAX_ACTOR_SHARE: f64 = 0.8;

/// External hosts beyond the named networks: 100.64.0.0/10 has room for four million.
const OUTSIDE_HOSTS: u32 = 1 << 20;
/// External hosts, most visited first, that are of the named networks.
const NAMED_HOSTS: u32 = OUTSIDE.len() as u32 * 60;

/// The traffic of one probe's area.
pub(crate) struct Traffic {
    random: ChaCha8Rng,
    /// The networks of the area by [`Kind`], with a rank to draw from for each.
    nets: [(Vec<Net>, Zipf); 5],
    /// The busiest hosts of a network.
    hosts: Zipf,
    outside: Zipf,
    /// The service of each of 256 draws.
    services: [u8; 256],
    /// Multiples of the fewest packets, heavy-tailed (Pareto, exponent 1.1).
    sizes: Vec<u32>,
    actors: Vec<Actor>,
    /// Whether IPv6 can be told.
    has_v6: bool,
    /// How often each kind is drawn, in 65,536, summed up; as of the hour.
    kind_bounds: [u32; 5],
    hour: u32,
}

impl Traffic {
    /// The traffic of one exporter of so many. `flows_per_second` is its own rate, from which follows how many flows
    /// its scanners may have.
    pub(crate) fn new(
        campus: &Campus,
        exporter: usize,
        exporters: usize,
        seed: u64,
        flows_per_second: f64,
        profile: &crate::settings::ExporterProfile,
    ) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(exporter as u64 + 1);
        let nets = Kind::ALL.map(|kind| {
            let nets: Vec<Net> = campus
                .area(exporter, exporters)
                .filter(|net| net.kind == kind)
                .cloned()
                .collect();
            let ranks = Zipf::new((nets.len() as u32).max(1));
            (nets, ranks)
        });
        let mut services = [0; 256];
        let mut next = 0;
        for (index, service) in SERVICES.iter().enumerate() {
            services[next..next + usize::from(service.share)].fill(index as u8);
            next += usize::from(service.share);
        }
        let quantile = |index: u32| (1.0 - (f64::from(index) + 0.5) / 4096.0).powf(-1.0 / 1.1) as u32;
        // What one packet in many shows of a scan is not a scan: whoever samples has no actors.
        let is_stage = profile.sampling_interval == 1;
        let is_mine = |number: usize| number % exporters.min(4) == exporter;
        let actors = ROLES
            .iter()
            .enumerate()
            .filter(|&(number, _)| is_stage && is_mine(number));
        let actors = actors.map(|(_, &(role, per_second))| Actor {
            role,
            due_ms: 500.0,
            interval_ms: 1000.0 / per_second.min(flows_per_second * MAX_ACTOR_SHARE),
            count: 0,
            host: random.next_u32(),
        });
        let actors = actors.collect();
        Self {
            random,
            nets,
            hosts: Zipf::new(64),
            outside: Zipf::new(OUTSIDE_HOSTS),
            services,
            sizes: (0..4096).map(quantile).collect(),
            actors,
            has_v6: profile.version != crate::settings::Version::V5,
            kind_bounds: [0; 5],
            hour: u32::MAX,
        }
    }

    /// The flow that is exported at a time since the start, at an hour of the day.
    pub(crate) fn next(&mut self, at_ms: f64, hour: f64) -> Flow {
        if self.hour != hour as u32 {
            self.hour = hour as u32;
            self.kind_bounds = self.bounds_of_hour(hour);
        }
        if let Some(due) = self.actors.iter().position(|actor| actor.due_ms <= at_ms) {
            return self.act(due);
        }
        self.ordinary()
    }

    /// Offices and laboratories work by day, dormitories live in the evening, servers never sleep.
    fn bounds_of_hour(&self, hour: f64) -> [u32; 5] {
        // A bell around an hour, six hours wide, across midnight.
        let bell = |peak: f64| {
            let distance = (hour - peak).abs().min(24.0 - (hour - peak).abs());
            (-distance * distance / 18.0).exp()
        };
        let weight = |kind: Kind| match kind {
            Kind::Office => 0.05 + bell(13.0),
            Kind::Dormitory => 0.15 + 1.2 * bell(21.0),
            Kind::Laboratory => 0.15 + 0.5 * bell(14.0),
            Kind::Server => 0.3,
            Kind::Wireless => 0.05 + 0.7 * bell(12.0),
        };
        let weights = Kind::ALL.map(weight);
        let present: Vec<f64> = weights
            .iter()
            .zip(&self.nets)
            .map(|(weight, (nets, _))| if nets.is_empty() { 0.0 } else { *weight })
            .collect();
        let total: f64 = present.iter().sum();
        let mut sum = 0.0;
        let mut bounds = [0; 5];
        for (bound, weight) in bounds.iter_mut().zip(present) {
            sum += weight;
            *bound = (sum / total * 65_536.0).round() as u32;
        }
        bounds
    }

    fn net(&mut self) -> Net {
        let drawn = self.random.next_u32() & 0xffff;
        let kind = self.kind_bounds.iter().position(|&bound| drawn < bound).unwrap_or(4);
        let (nets, ranks) = &self.nets[kind];
        nets[ranks.draw(&mut self.random) as usize % nets.len()].clone()
    }

    /// The net of an actor: one that every area has.
    fn stage(&self, host: u32) -> &Net {
        let (nets, _) = &self.nets[Kind::Wireless as usize];
        &nets[host as usize % nets.len()]
    }

    fn ordinary(&mut self) -> Flow {
        let net = self.net();
        let host = self.hosts.draw(&mut self.random);
        let word = self.random.next_u64();
        let service = &SERVICES[usize::from(self.services[word as usize & 0xff])];
        let is_reply = word >> 8 & 1 == 1;
        let is_v6 = self.has_v6 && word >> 9 & 3 == 0;
        let is_inside = word >> 11 & 3 == 0;
        let (peer, peer_as) = if is_inside {
            let (servers, ranks) = &self.nets[Kind::Server as usize];
            let server = &servers[ranks.draw(&mut self.random) as usize % servers.len()];
            let host = self.hosts.draw(&mut self.random);
            (
                if is_v6 {
                    Host::V6(server.v6_host(host))
                } else {
                    Host::V4(server.v4_host(host))
                },
                0,
            )
        } else {
            outside_host(self.outside.draw(&mut self.random), is_v6)
        };
        let own = if is_v6 {
            Host::V6(net.v6_host(host))
        } else {
            Host::V4(net.v4_host(host))
        };

        let size = self.sizes[word as usize >> 13 & 0xfff];
        let packets = (service.min_packets * size).min(100_000);
        let per_packet = if is_reply {
            service.reply_bytes
        } else {
            service.request_bytes
        };
        let spread = below(word >> 25, per_packet / 2);
        let octets = packets * (per_packet - per_packet / 4 + spread).clamp(40, 1500);
        let more = self.random.next_u64();
        // From nothing for a single packet to a minute for a long flow.
        let duration_ms = if packets == 1 {
            0
        } else {
            below(more, (packets * 150).min(60_000)) + 1
        };
        let ephemeral = 32_768 + below(more >> 16, 28_000) as u16;
        let is_icmp = service.protocol == ICMP;
        let protocol = if is_icmp && is_v6 { ICMP_V6 } else { service.protocol };
        let (mut source_port, mut destination_port) = (ephemeral, service.port);
        if is_icmp {
            source_port = 0;
            // Echo request and reply, in IPv4 and IPv6.
            destination_port = [[8, 0], [128, 129]][usize::from(is_v6)][usize::from(is_reply)] << 8;
        } else if is_reply {
            (source_port, destination_port) = (destination_port, source_port);
        }
        let flow = Flow {
            ends: if is_reply { peer.to(own) } else { own.to(peer) },
            next_hop: 0x0a00_0001,
            source_port,
            destination_port,
            protocol,
            type_of_service: 0,
            tcp_flags: if protocol == TCP { WHOLE } else { 0 },
            packets,
            octets,
            age_ms: below(more >> 32, 2000),
            duration_ms,
            input: u16::from(net.number) + 1,
            output: 1,
            source_as: 0,
            destination_as: peer_as,
            vlan: net.vlan,
        };
        if is_reply {
            Flow {
                input: flow.output,
                output: flow.input,
                source_as: peer_as,
                destination_as: 0,
                ..flow
            }
        } else {
            flow
        }
    }

    fn act(&mut self, index: usize) -> Flow {
        let actor = &mut self.actors[index];
        actor.due_ms += actor.interval_ms;
        actor.count = actor.count.wrapping_add(1);
        let (role, count, host) = (actor.role, actor.count, actor.host);
        let net = self.stage(host);
        let own = Host::V4(net.v4_host(host));
        let (net_number, vlan) = (net.number, net.vlan);
        let word = self.random.next_u64();
        let ephemeral = 32_768 + below(word, 28_000) as u16;
        let fixed_peer = outside_host(NAMED_HOSTS + 5000 + host % 1000, false).0;
        let (peer, port, packets, octets, tcp_flags, duration_ms) = match role {
            Role::HostScanner => (outside_host(count % OUTSIDE_HOSTS, false).0, 445, 1, 44, SYN, 0),
            Role::PortScanner => (fixed_peer, (count % 65_535 + 1) as u16, 1, 44, SYN, 0),
            Role::IrcBot => {
                let server = count % IRC_SERVERS;
                let packets = 6 + below(word >> 32, 20);
                let port = IRC_PORTS[server as usize % IRC_PORTS.len()];
                (
                    outside_host(NAMED_HOSTS + 9000 + server, false).0,
                    port,
                    packets,
                    packets * 96,
                    WHOLE,
                    20_000,
                )
            }
            Role::Beacon => (fixed_peer, 8443, 9, 1214, WHOLE, 412),
            // RFC 5737's partner: 125 MB in a second of 1460-byte segments.
            Role::BulkTransfer => (outside_host(5, false).0, 873, 85_000, 125_000_000, WHOLE, 1000),
        };
        Flow {
            ends: own.to(peer),
            next_hop: 0x0a00_0001,
            // A transfer is one connection: the parts that it is exported in are of one port.
            source_port: if role == Role::BulkTransfer { 48_123 } else { ephemeral },
            destination_port: port,
            protocol: TCP,
            type_of_service: 0,
            tcp_flags,
            packets,
            octets,
            age_ms: 10,
            duration_ms,
            input: u16::from(net_number) + 1,
            output: 1,
            source_as: 0,
            destination_as: 0,
            vlan,
        }
    }
}

#[derive(Clone, Copy)]
enum Host {
    V4(u32),
    V6(u128),
}

impl Host {
    fn to(self, destination: Self) -> Ends {
        match (self, destination) {
            (Self::V4(source), Self::V4(destination)) => Ends::V4 { source, destination },
            (source, destination) => Ends::V6 {
                source: source.v6(),
                destination: destination.v6(),
            },
        }
    }

    fn v6(self) -> u128 {
        match self {
            Self::V4(address) => 0xffff_0000_0000 | u128::from(address),
            Self::V6(address) => address,
        }
    }
}

/// The host outside of a rank, and its autonomous system: first those of the named networks, then all over
/// 100.64.0.0/10 or 3fff::/20.
fn outside_host(rank: u32, is_v6: bool) -> (Host, u32) {
    if rank < NAMED_HOSTS {
        let network = &OUTSIDE[rank as usize % OUTSIDE.len()];
        let host = rank / OUTSIDE.len() as u32 + 1;
        let address = if is_v6 {
            Host::V6(network.v6.to_bits() + u128::from(host))
        } else {
            Host::V4(network.v4.to_bits() + host)
        };
        return (address, network.autonomous_system);
    }
    let scattered = rank.wrapping_mul(0x9e37_79b1);
    if is_v6 {
        // Above 3fff:100::, where none of the named networks is.
        (Host::V6(0x3fff_0200 << 96 | u128::from(scattered) << 48 | 1), 0)
    } else {
        (Host::V4(0x6440_0000 | scattered >> 10), 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::settings::{ExporterProfile, Version};

    fn profile(version: Version) -> ExporterProfile {
        ExporterProfile {
            name: "north".to_owned(),
            area: String::new(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            version,
            domain: 1,
            sampling_interval: 1,
        }
    }

    /// A minute of one exporter at 500 flows a second.
    fn minute(version: Version) -> Vec<Flow> {
        let mut traffic = Traffic::new(&Campus::new(7), 0, 1, 7, 500.0, &profile(version));
        (0..30_000)
            .map(|number| traffic.next(f64::from(number) * 2.0, 9.0))
            .collect()
    }

    fn v4(flow: &Flow) -> Option<(u32, u32)> {
        match flow.ends {
            Ends::V4 { source, destination } => Some((source, destination)),
            Ends::V6 { .. } => None,
        }
    }

    #[test]
    fn one_host_scans_hosts_and_one_scans_ports() {
        let (mut hosts, mut ports) = (HashMap::<_, HashSet<_>>::new(), HashMap::<_, HashSet<_>>::new());
        for flow in minute(Version::V5)
            .iter()
            .filter(|flow| flow.protocol == TCP && flow.packets <= 3)
        {
            let (source, destination) = v4(flow).unwrap();
            hosts.entry(source).or_default().insert(destination);
            ports.entry(source).or_default().insert(flow.destination_port);
        }
        assert_eq!(hosts.values().filter(|hosts| hosts.len() > 1500).count(), 1);
        assert_eq!(ports.values().filter(|ports| ports.len() > 1500).count(), 1);
    }

    #[test]
    fn one_host_is_a_bot() {
        let mut peers = HashMap::<_, HashSet<_>>::new();
        for flow in minute(Version::V5)
            .iter()
            .filter(|flow| [25, 6667, 6668, 6669, 6697].contains(&flow.destination_port))
        {
            let (source, destination) = v4(flow).unwrap();
            if source >> 24 == 10 && flow.packets > 3 {
                peers.entry(source).or_default().insert(destination);
            }
        }
        assert_eq!(peers.values().filter(|peers| peers.len() >= 20).count(), 1);
        assert_eq!(peers.len(), 1);
    }

    #[test]
    fn version_5_is_given_no_ipv6() {
        assert!(minute(Version::V5).iter().all(|flow| v4(flow).is_some()));
        assert!(minute(Version::Ipfix).iter().any(|flow| v4(flow).is_none()));
    }

    #[test]
    fn the_hour_decides_who_is_awake() {
        let traffic = Traffic::new(&Campus::new(7), 0, 1, 7, 500.0, &profile(Version::V5));
        let share = |hour, kind: usize| {
            let bounds = traffic.bounds_of_hour(hour);
            bounds[kind] - kind.checked_sub(1).map_or(0, |before| bounds[before])
        };
        let (office, dormitory) = (Kind::Office as usize, Kind::Dormitory as usize);
        assert!(share(13.0, office) > 3 * share(13.0, dormitory));
        assert!(share(22.0, dormitory) > 3 * share(22.0, office));
        assert_eq!(traffic.bounds_of_hour(3.0)[4], 65_536);
    }

    #[test]
    fn ranks_are_heavy_tailed_and_reach_the_end() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let zipf = Zipf::new(1000);
        let drawn: Vec<u32> = (0..100_000).map(|_| zipf.draw(&mut random)).collect();
        assert!(drawn.iter().all(|&rank| rank < 1000));
        let share = |range: std::ops::Range<u32>| drawn.iter().filter(|rank| range.contains(rank)).count();
        // A third each for the first ten, the next ninety, and the rest.
        for range in [0..10, 10..100, 100..1000] {
            let found = share(range.clone());
            assert!((25_000..42_000).contains(&found), "{range:?}: {found}");
        }
        assert!(share(990..1000) > 0);
    }
}
