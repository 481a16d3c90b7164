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
            sequence: Tracker::new(key.version),
        }
    }
}
