//! A small invented campus whose probes export NetFlow: what a newcomer runs first, what tests send, and the load
//! generator of the benchmarks.
//!
//! [`Campus`] is the network: buildings, subnets in IPv4 and IPv6, routers, VLANs. [`run`] lets its probes export over
//! UDP what offices, dormitories, laboratories and servers do over a day, and among it a scan of hosts, a scan of
//! ports, an IRC bot, a beaconing host and a bulk transfer. The same seed gives the same flows in the same datagrams;
//! only their clocks differ. [`Summary`] says to the flow, packet and byte what was sent.
//!
//! No address of it is anybody's: inside is 10.0.0.0/8 and 2001:db8::/32, outside are the ranges that RFC 5737,
//! RFC 6598 and RFC 9637 set apart.
#![forbid(unsafe_code)]

mod exporter;
mod faults;
mod network;
mod outlet;
mod settings;
mod source;
mod summary;
mod traffic;
mod wire;

pub use faults::Faults;
pub use network::Campus;
pub use settings::{ExporterProfile, MAX_EXPORTERS, Rate, Settings, Version, VersionMix};
pub use source::run;
pub use summary::{ExporterSummary, Summary};
