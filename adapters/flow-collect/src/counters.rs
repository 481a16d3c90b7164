//! What the collector counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::exporters::{ExporterCounts, ExporterKey};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams: AtomicU64,
    /// Bytes of these, without IP and UDP headers.
    pub datagram_bytes: AtomicU64,
    /// Datagrams that the kernel dropped for want of room in a receive buffer.
    pub kernel_drops: AtomicU64,
    /// Datagrams of exporters that are not allowed.
    pub not_allowed: AtomicU64,
    /// Datagrams and parts of them that could not be decoded.
    pub malformed: AtomicU64,
    /// Datagrams that the network doubled.
    pub duplicates: AtomicU64,
    /// Sets that came before their template.
    pub sets_without_template: AtomicU64,
    /// Options records.
    pub options_records: AtomicU64,
    /// Flows decoded.
    pub flows: AtomicU64,
    /// Flows in bundles that were logged.
    pub logged_flows: AtomicU64,
    /// Bundles logged.
    pub logged_bundles: AtomicU64,
    /// Bytes logged.
    pub logged_bytes: AtomicU64,
    /// Flows dropped as the log had no room.
    pub dropped_flows: AtomicU64,
    not_netflow: Mutex<BTreeMap<&'static str, u64>>,
    exporters: Mutex<Vec<(ExporterKey, ExporterCounts)>>,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn count_not_netflow(&self, looks_like: &'static str) {
        *self
            .not_netflow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(looks_like)
            .or_default() += 1;
    }

    /// Datagrams that were not NetFlow, by what they looked like.
    #[must_use]
    pub fn not_netflow(&self) -> BTreeMap<&'static str, u64> {
        self.not_netflow.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn publish(&self, exporters: Vec<(ExporterKey, ExporterCounts)>) {
        *self.exporters.lock().unwrap_or_else(PoisonError::into_inner) = exporters;
    }

    /// What came from each exporter, up to a quarter of a second ago.
    #[must_use]
    pub fn exporters(&self) -> Vec<(ExporterKey, ExporterCounts)> {
        self.exporters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
