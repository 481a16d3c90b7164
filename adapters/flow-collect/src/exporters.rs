//! What came from each exporter, and what is missing of it.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::quality::RandomState;
use netflow_codec::sequence::Unit;
use netflow_codec::{DomainId, StreamStatus, Version};

use crate::probes::ProbeId;

/// An exporter's stream as it is reported: exporters behind one address, told apart by port only, are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExporterKey {
    /// The probe that it belongs to.
    pub probe: ProbeId,
    /// Its address.
    pub address: IpAddr,
    /// The version.
    pub version: Version,
    /// The observation domain.
    pub domain: DomainId,
}

/// The counts of an exporter's stream since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExporterCounts {
    /// Datagrams decoded.
    pub datagrams: u64,
    /// Flows in sealed bundles.
    pub flows: u64,
    /// Octets of these.
    pub bytes: u64,
    /// Packets of these.
    pub packets: u64,
    /// What is missing by the sequence numbers.
    pub lost: u64,
    /// What these count, once known.
    pub lost_unit: Option<Unit>,
    /// Datagrams that the network doubled.
    pub duplicates: u64,
    /// Restarts of the exporter.
    pub restarts: u64,
    /// Templates known.
    pub templates: usize,
    /// When a datagram came last, ms since 1970.
    pub last_seen_ms: i64,
}

/// Streams past which those that were silent for [`SILENT_MS`] are forgotten: forged addresses must not fill the memory. The
/// decoder refuses further ones at the same number and after the same time.
const MAX_STREAMS: usize = 65_536;
/// An hour.
const SILENT_MS: i64 = 3_600_000;

/// The counts of all exporters. As many as the decoder has streams, and those that it forgot within the hour.
#[derive(Debug, Default)]
pub(crate) struct Exporters {
    places: HashMap<ExporterKey, usize, RandomState>,
    counts: Vec<(ExporterKey, ExporterCounts)>,
}

impl Exporters {
    /// The place of a stream in the counts. It is good until streams are forgotten.
    pub(crate) fn place(&mut self, key: ExporterKey) -> usize {
        *self.places.entry(key).or_insert_with(|| {
            self.counts.push((key, ExporterCounts::default()));
            self.counts.len() - 1
        })
    }

    pub(crate) fn at(&mut self, place: usize) -> Option<&mut ExporterCounts> {
        self.counts.get_mut(place).map(|(_, counts)| counts)
    }

    /// Whether there are so many streams that the silent ones are to go.
    pub(crate) fn are_many(&self) -> bool {
        self.counts.len() > MAX_STREAMS
    }

    /// Forgets the streams that have long been silent. Places known before mean nothing afterwards.
    pub(crate) fn forget_silent(&mut self, now_ms: i64) {
        self.counts
            .retain(|(_, counts)| now_ms.saturating_sub(counts.last_seen_ms) < SILENT_MS);
        self.places = self
            .counts
            .iter()
            .enumerate()
            .map(|(place, (key, _))| (*key, place))
            .collect();
    }

    /// Takes over what the decoder knows of its streams.
    pub(crate) fn take_over(&mut self, streams: impl Iterator<Item = (ProbeId, StreamStatus)>) {
        for (_, counts) in &mut self.counts {
            (counts.lost, counts.duplicates, counts.restarts, counts.templates) = (0, 0, 0, 0);
        }
        for (probe, status) in streams {
            let key = ExporterKey {
                probe,
                address: status.key.exporter.ip(),
                version: status.key.version,
                domain: status.key.domain,
            };
            let place = self.place(key);
            if let Some(counts) = self.at(place) {
                counts.lost += status.tally.lost;
                counts.duplicates += status.tally.duplicates;
                counts.restarts += status.tally.restarts;
                counts.templates += status.templates;
                counts.lost_unit = (status.key.version != Version::V1).then_some(status.unit);
            }
        }
    }

    /// A copy, by probe, address, version and domain.
    pub(crate) fn snapshot(&self) -> Vec<(ExporterKey, ExporterCounts)> {
        let mut counts = self.counts.clone();
        counts.sort_unstable_by_key(|(key, _)| *key);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_streams_make_room() {
        let mut exporters = Exporters::default();
        let key = |number: u32| ExporterKey {
            probe: ProbeId(0),
            address: IpAddr::V4(number.into()),
            version: Version::V5,
            domain: DomainId(0),
        };
        for number in 0..=u32::try_from(MAX_STREAMS).unwrap() {
            let place = exporters.place(key(number));
            exporters.at(place).unwrap().last_seen_ms = if number.is_multiple_of(2) { 1 } else { SILENT_MS };
        }
        assert!(exporters.are_many());
        exporters.forget_silent(SILENT_MS + 1);
        assert_eq!(exporters.snapshot().len(), MAX_STREAMS / 2);
        let place = exporters.place(key(7));
        assert_eq!(exporters.at(place).unwrap().last_seen_ms, SILENT_MS);
    }
}
