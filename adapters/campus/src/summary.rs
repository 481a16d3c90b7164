use std::net::SocketAddr;

use serde::Serialize;

use crate::settings::Version;

/// What a run sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The sums over all exporters.
    pub flows: u64,
    /// Packets of these flows, as a collector has to understand them: times the sampling interval.
    pub packets: u64,
    /// Bytes of these flows, likewise.
    pub bytes: u64,
    /// Datagrams that left, doubled ones counted twice.
    pub datagrams: u64,
    /// Flows in datagrams that were withheld.
    pub lost_flows: u64,
    /// How long sending took.
    pub seconds: f64,
    /// One by one.
    pub exporters: Vec<ExporterSummary>,
}

/// What one exporter sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExporterSummary {
    /// The probe's name.
    pub name: String,
    /// Where it sent from.
    pub address: SocketAddr,
    /// In which protocol.
    pub version: Version,
    /// Its observation domain.
    pub domain: u32,
    /// One packet in so many was seen.
    pub sampling_interval: u32,
    /// Flows that left, each once, however often the network doubled it.
    pub flows: u64,
    /// Their packets, times the sampling interval.
    pub packets: u64,
    /// Their bytes, times the sampling interval.
    pub bytes: u64,
    /// Datagrams that left, doubled ones counted twice.
    pub datagrams: u64,
    /// Those of them that hold templates and options.
    pub template_datagrams: u64,
    /// Datagrams that were withheld.
    pub lost_datagrams: u64,
    /// Flows in them.
    pub lost_flows: u64,
    /// Datagrams that left twice.
    pub doubled_datagrams: u64,
    /// Datagrams that left behind their successor.
    pub late_datagrams: u64,
    /// Datagrams that were refused as nothing listened; they are counted as sent.
    pub refused_datagrams: u64,
}

impl Summary {
    pub(crate) fn new(exporters: Vec<ExporterSummary>, seconds: f64) -> Self {
        let sum = |of: fn(&ExporterSummary) -> u64| exporters.iter().map(of).sum();
        Self {
            flows: sum(|exporter| exporter.flows),
            packets: sum(|exporter| exporter.packets),
            bytes: sum(|exporter| exporter.bytes),
            datagrams: sum(|exporter| exporter.datagrams),
            lost_flows: sum(|exporter| exporter.lost_flows),
            seconds,
            exporters,
        }
    }
}
