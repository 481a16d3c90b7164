//! NetFlow collector: UDP datagrams to sealed bundles in the log.
//!
//! One thread receives in batches, decodes and gathers flows in columns, one open bundle a probe; a second one encodes
//! what is sealed and appends it to the log, so that a slow disk does not keep the sockets waiting. What is noticed on
//! the way (loss, restarts, datagrams that are something else) is counted and told in the probe's log entries.
//!
//! Start with [`Collector::start`].

mod clock;
mod collector;
mod counters;
mod entries;
mod exporters;
mod folder;
mod logger;
mod probes;
mod sealer;
mod socket;
mod state;

pub use collector::{BUNDLE_FLOWS, Collector, Config, unit_name};
pub use counters::Counters;
pub use exporters::{ExporterCounts, ExporterKey};
pub use folder::FolderLock;
pub use probes::{DEFAULT_PROBE, Probe, ProbeId, Probes};
pub use socket::ReceiveBuffer;
