//! What a decoder knows of one exporter and observation domain.

use alloc::sync::Arc;
use core::net::SocketAddr;

use crate::cache::{HeldSets, TemplateCache};
use crate::header::{DomainId, Version};
use crate::sampling::Sampling;
use crate::sequence::Tracker;

/// A stream of messages: what template ids and sequence numbers are valid in.
///
/// RFC 7011 §8 scopes both to the transport session, so the exporter's port belongs to it: two exporters behind one
/// address do not clash. A stream whose data wait for a template takes over that of the same address, version and domain
/// at another port after five seconds, if records of it have not come from there since; see
/// [`TemplateChange::Adopted`](crate::TemplateChange::Adopted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StreamKey {
    /// The exporter's address and port.
    pub exporter: SocketAddr,
    /// The version.
    pub version: Version,
    /// The observation domain.
    pub domain: DomainId,
}

impl StreamKey {
    /// Whether the stream stands for an IPFIX exporter's whole process: observation domain 0 (RFC 7011 §3.1).
    pub(crate) fn is_process(&self) -> bool {
        self.version == Version::Ipfix && self.domain.0 == 0
    }
}

/// What is known of a stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    pub(crate) heard_ms: i64,
    /// When the first datagram came.
    pub(crate) since_ms: i64,
    /// When templates of neighbours were last looked for.
    pub(crate) looked_ms: i64,
    pub(crate) templates: TemplateCache,
    pub(crate) held: HeldSets,
    pub(crate) sampling: Arc<Sampling>,
    /// What is known with that of the exporter's whole process, and the two that it was made of.
    within: Option<[Arc<Sampling>; 3]>,
    pub(crate) sequence: Tracker,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, now_ms: i64) -> Self {
        Self {
            key,
            heard_ms: now_ms,
            since_ms: now_ms,
            looked_ms: i64::MIN,
            templates: TemplateCache::default(),
            held: HeldSets::default(),
            sampling: Arc::default(),
            within: None,
            sequence: Tracker::new(key.version),
        }
    }

    /// What is known of sampling, by what the exporter told for all its observation domains where this one is silent.
    pub(crate) fn sampling_within(&mut self, process: &Arc<Sampling>) -> &Arc<Sampling> {
        let made =
            |[_, own, other]: &[Arc<Sampling>; 3]| Arc::ptr_eq(own, &self.sampling) && Arc::ptr_eq(other, process);
        if !self.within.as_ref().is_some_and(made) {
            let both = Arc::new(self.sampling.within(process));
            self.within = Some([both, Arc::clone(&self.sampling), Arc::clone(process)]);
        }
        match &self.within {
            Some([both, ..]) => both,
            None => &self.sampling,
        }
    }
}
