use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::faults::Faults;
use crate::network::Campus;

/// Most exporters: each needs buildings of its own to watch.
pub const MAX_EXPORTERS: usize = 32;
/// One packet in so many is seen by the exporter that samples.
pub(crate) const SAMPLING_INTERVAL: u32 = 64;

/// An export protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// NetFlow version 5.
    V5,
    /// NetFlow version 9, RFC 3954.
    V9,
    /// IPFIX, RFC 7011.
    Ipfix,
}

impl From<Version> for netflow_codec::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::V5 => Self::V5,
            Version::V9 => Self::V9,
            Version::Ipfix => Self::Ipfix,
        }
    }
}

/// Which protocols the exporters speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum VersionMix {
    /// Each in turn.
    Mix,
    /// All version 5.
    V5,
    /// All version 9.
    V9,
    /// All IPFIX.
    Ipfix,
}

impl VersionMix {
    fn version(self, exporter: usize) -> Version {
        match self {
            Self::Mix => [Version::V5, Version::V9, Version::Ipfix][exporter % 3],
            Self::V5 => Version::V5,
            Self::V9 => Version::V9,
            Self::Ipfix => Version::Ipfix,
        }
    }
}

/// How fast to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many flows a second, of all exporters together.
    FlowsPerSecond(f64),
    /// As fast as the machine sends.
    Unlimited,
}

/// What to send, and where to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector.
    pub to: SocketAddr,
    /// How fast.
    pub rate: Rate,
    /// For how long; without end if `None`.
    pub duration: Option<Duration>,
    /// What the campus and its flows are drawn from.
    pub seed: u64,
    /// The protocols.
    pub versions: VersionMix,
    /// How many exporters, from 1 to [`MAX_EXPORTERS`].
    pub exporters: usize,
    /// How long a day of the campus lasts, if its load is to rise and fall with the hour: `rate` is then the mean. The
    /// run starts at nine in the morning. If `None` the rate is even, and the hour that of a day of 24 hours.
    pub day: Option<Duration>,
    /// Flows to draw before the start and to send over and over, with fresh clocks and sequence numbers: sending is
    /// then cheap. 0 draws every flow when it is due.
    pub pool_flows: usize,
    /// Whether the kernel may cut one send into many datagrams (UDP generic segmentation offload).
    pub segmentation_offload: bool,
    /// What goes wrong on the way.
    pub faults: Faults,
}

/// An exporter of the campus, for whoever names probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterProfile {
    /// What to call its probe.
    pub name: String,
    /// Where its probe watches.
    pub area: String,
    /// The address that it sends from.
    pub address: IpAddr,
    /// The protocol that it speaks.
    pub version: Version,
    /// Its observation domain: v5 engine type × 256 + id, v9 source id.
    pub domain: u32,
    /// One packet in so many is seen; 1 if all are.
    pub sampling_interval: u32,
}

/// The quarters of the campus, one a probe.
const QUARTERS: [&str; 16] = [
    "north", "east", "south", "west", "hill", "river", "market", "harbour", "orchard", "mill", "park", "bridge",
    "cloister", "station", "garden", "quarry",
];

impl Settings {
    /// The exporters that a run with these settings has.
    #[must_use]
    pub fn profiles(&self) -> Vec<ExporterProfile> {
        let campus = Campus::new(self.seed);
        let count = self.exporters.clamp(1, MAX_EXPORTERS);
        let sampled = (count >= 3)
            .then(|| {
                (0..count)
                    .rev()
                    .find(|&index| self.versions.version(index) != Version::V5)
            })
            .flatten();
        (0_u8..)
            .zip(0..count)
            .map(|(number, index)| ExporterProfile {
                name: match index / QUARTERS.len() {
                    0 => QUARTERS[index].to_owned(),
                    round => format!("{}-{}", QUARTERS[index % QUARTERS.len()], round + 1),
                },
                area: campus.area_name(index, count),
                address: self.source_address(number),
                version: self.versions.version(index),
                domain: u32::from(number) + 1,
                sampling_interval: if sampled == Some(index) { SAMPLING_INTERVAL } else { 1 },
            })
            .collect()
    }

    /// On the loopback network each exporter has an address of its own; elsewhere they are told apart by port.
    fn source_address(&self, number: u8) -> IpAddr {
        match self.to.ip() {
            IpAddr::V4(address) if address.is_loopback() => IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10 + number)),
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(address) if address.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}
